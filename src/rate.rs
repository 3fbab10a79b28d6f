//! Rating: what a period's usage costs by a tariff. Pure: no I/O, no clock, no rounding but the one of each line.
//!
//! Every charge of the tariff becomes at least one line, every tier that the volume reaches a line of its own. A
//! line's amount is its exact quantity times its price, rounded once; the net amount is the sum of the lines as they
//! stand, tax is rounded once for its category, and gross is net plus tax. So the amounts printed on an invoice always
//! add up, to the cent. A line's printed quantity times its price gives its amount too, unless the exact quantity has
//! more than the nine digits after the point that are printed (GiB; sampling rates that are not whole numbers): the
//! amount then comes from the exact quantity, and can be the rounding next to that of the product.
//!
//! Rating is monotone: more volume never costs less, because prices are not negative and each tier's part of the
//! volume only grows.
#![deny(clippy::float_arithmetic)]

pub mod parse;
pub mod tariff;
pub mod tier;
pub mod usage;
pub mod version;

#[cfg(test)]
mod tests;

use rust_decimal::Decimal;

use self::tariff::{ChargeKind, ChargeRule, Tariff, VolumeRule};
use self::usage::{PeriodUsage, Volume};
use crate::money::{Exact, Money};

/// A rated charge: what becomes a line of an invoice.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// The id of the tariff's charge.
    pub charge: String,
    /// What it is, in words.
    pub description: String,
    /// How much, in units; exact.
    pub quantity: Exact,
    /// The unit.
    pub unit: &'static str,
    /// The price of a unit.
    pub price: Decimal,
    /// Quantity times price, rounded once.
    pub amount: Money,
    /// Standard error over estimate of the whole volume that the charge is about, in millionths; the lines of its
    /// tiers share it. 0 where nothing was sampled.
    pub relative_error: u128,
}

/// Tax of one category.
#[derive(Clone, Debug, PartialEq)]
pub struct TaxAmount {
    /// The category.
    pub category: String,
    /// Percent.
    pub percent: Decimal,
    /// What it is a percentage of.
    pub base: Money,
    /// How much, rounded once.
    pub amount: Money,
}

/// What the charges come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals {
    /// The sum of the charges.
    pub net: Money,
    /// Tax by category.
    pub taxes: Vec<TaxAmount>,
    /// All tax.
    pub tax: Money,
    /// Net and tax.
    pub gross: Money,
}

/// Why usage cannot be rated: only because an amount has no room in 64 bits.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("charge `{charge}` of tariff `{tariff}` cannot be rated")]
pub struct Error {
    /// The tariff's id.
    pub tariff: String,
    /// The charge's id, or `total`.
    pub charge: String,
    /// Why.
    pub source: crate::money::Error,
}

/// Rates a period's usage. The lines come in the order of the tariff's charges.
///
/// # Errors
/// An amount beyond 64 bits of minor units.
pub fn rate(tariff: &Tariff, usage: &PeriodUsage) -> Result<Vec<Charge>, Error> {
    let mut charges = Vec::new();
    for rule in &tariff.charges {
        match &rule.kind {
            ChargeKind::Volume(volume) => rate_volume(tariff, rule, volume, usage, &mut charges)?,
            ChargeKind::Recurring { amount } => charges.push(once(&rule.id, &rule.description, *amount)),
        }
    }
    if let Some(minimum) = tariff.minimum {
        let net = net(tariff, &charges)?;
        if net.minor() < minimum.minor() {
            let missing = minimum.checked_sub(net).map_err(|source| failed(tariff, MINIMUM, source))?;
            let description = format!("Minimum charge of {minimum} {}", minimum.currency());
            charges.push(once(MINIMUM, &description, missing));
        }
    }
    Ok(charges)
}

/// The charge id of the line that lifts an invoice to the tariff's minimum; no charge of a tariff may have it.
pub const MINIMUM: &str = "minimum";

/// Adds the charges up.
///
/// # Errors
/// A sum beyond 64 bits of minor units.
pub fn total(tariff: &Tariff, charges: &[Charge]) -> Result<Totals, Error> {
    let net = net(tariff, charges)?;
    let out_of_range = |source| failed(tariff, "total", source);
    let percent = Exact::from(tariff.tax.percent);
    let tax = Money::round(&net.exact().times(&percent).over(100), tariff.currency).map_err(out_of_range)?;
    let gross = net.checked_add(tax).map_err(out_of_range)?;
    let taxes = vec![TaxAmount {
        category: tariff.tax.category.clone(),
        percent: tariff.tax.percent,
        base: net,
        amount: tax,
    }];
    Ok(Totals { net, taxes, tax, gross })
}

fn net(tariff: &Tariff, charges: &[Charge]) -> Result<Money, Error> {
    Money::sum(tariff.currency, charges.iter().map(|charge| charge.amount))
        .map_err(|source| failed(tariff, "total", source))
}

fn failed(tariff: &Tariff, charge: &str, source: crate::money::Error) -> Error {
    Error { tariff: tariff.id.clone(), charge: charge.to_owned(), source }
}

/// The line of something that is charged once.
fn once(id: &str, description: &str, amount: Money) -> Charge {
    let price = Decimal::from_i128_with_scale(amount.minor().into(), amount.currency().exponent().into());
    Charge {
        charge: id.to_owned(),
        description: description.to_owned(),
        quantity: Exact::whole(1),
        unit: "period",
        price,
        amount,
        relative_error: 0,
    }
}

/// The volume that a charge is about.
#[must_use]
pub fn volume_of(tariff: &Tariff, rule: &VolumeRule, usage: &PeriodUsage) -> Volume {
    usage.volume(|key| rule.direction.includes(key.direction) && rule.classes.contains(&tariff.class_of(key)))
}

fn rate_volume(
    tariff: &Tariff,
    rule: &ChargeRule,
    volume_rule: &VolumeRule,
    usage: &PeriodUsage,
    charges: &mut Vec<Charge>,
) -> Result<(), Error> {
    let volume = volume_of(tariff, volume_rule, usage);
    let relative_error = volume.relative_error_millionths();
    let mut quantity = tariff.unit.of_octets(&volume.exact_octets());
    let mut push = |description: String, quantity: Exact, price: Decimal| -> Result<(), Error> {
        let amount = Money::round(&quantity.times(&Exact::from(price)), tariff.currency)
            .map_err(|source| failed(tariff, &rule.id, source))?;
        charges.push(Charge {
            charge: rule.id.clone(),
            description,
            quantity,
            unit: tariff.unit.as_str(),
            price,
            amount,
            relative_error,
        });
        Ok(())
    };
    if let Some(allowance) = volume_rule.allowance {
        let free = quantity.clone().least(Exact::from(allowance));
        quantity = quantity.minus(&free);
        let description = format!("{}: {allowance} {} included", rule.description, tariff.unit.as_str());
        push(description, free, Decimal::ZERO)?;
    }
    let tiered = volume_rule.tiers.len() > 1;
    for slice in tier::slices(&quantity, &volume_rule.tiers) {
        let description = if tiered {
            format!("{}: {}", rule.description, tier_in_words(&slice, tariff.unit.as_str()))
        } else {
            rule.description.clone()
        };
        push(description, slice.quantity, slice.price)?;
    }
    Ok(())
}

fn tier_in_words(slice: &tier::Slice, unit: &str) -> String {
    match (slice.from.is_zero(), slice.up_to) {
        (true, Some(up_to)) => format!("up to {up_to} {unit}"),
        (false, Some(up_to)) => format!("{} to {up_to} {unit}", slice.from),
        (true, None) => "all".to_owned(),
        (false, None) => format!("above {} {unit}", slice.from),
    }
}
