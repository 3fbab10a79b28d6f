//! Rating: what a period's usage costs by a tariff. Pure: no I/O, no clock, no rounding but the one of each line.
//!
//! A period is rated in [`Part`]s: one where one tariff version holds for all of it, more where the tariff or its
//! version changes inside ([`term`]). Every charge of a part's tariff becomes at least one line, every tier (and band)
//! that the volume reaches a line of its own. A line's amount is its exact quantity times its price, rounded once; the
//! net amount is the sum of the lines as they stand, tax is rounded once for its category and rate, and gross is net
//! plus tax. So the amounts printed on an invoice always add up, to the cent. A line's printed quantity times its price
//! gives its amount too, unless the exact quantity has more than the nine digits after the point that are printed: the
//! amount then comes from the exact quantity, and can be the rounding next to that of the product.
//!
//! Rating by flat, graduated and package tiers of one price in all bands is monotone: more volume never costs less. Lower
//! bounds of sampled volume are not (a few large packets make an estimate less sure), nor are volume tiers, and contracts that have them mean it so: all of the volume at the price of the tier that it reaches. Nor are
//! prices by band under common tiers: more cheap volume moves dear volume into later tiers.
#![deny(clippy::float_arithmetic)]

pub mod band;
pub mod calibrate;
pub mod class;
pub mod error_bound;
mod fixed;
pub mod line;
pub mod parse;
pub mod percentile;
pub mod saying;
pub mod standing;
pub mod tariff;
pub mod term;
pub mod tier;
pub mod usage;
pub mod version;
pub mod volume;
pub mod words;
pub mod working;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rust_decimal::Decimal;

pub use self::line::{Basis, Calibration, Charge, Estimate, LineKind};
use self::tariff::{ChargeKind, Tariff};
pub use self::term::{Presence, Term};
use self::usage::PeriodUsage;
use crate::money::{Currency, Exact, Money};

/// A part of a period: the tariff that holds in it, as it is for the customer ([`Tariff::for_customer`]), what was
/// used, and when.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The tariff.
    pub tariff: &'a Tariff,
    /// The usage.
    pub usage: &'a PeriodUsage,
    /// The time.
    pub term: Term,
}

/// Tax of one category and rate.
#[derive(Clone, Debug, PartialEq)]
pub struct TaxAmount {
    /// The category.
    pub category: String,
    /// Percent.
    pub percent: Decimal,
    /// Why there is none; may be empty.
    pub exemption_reason: String,
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
    /// Tax by category and rate.
    pub taxes: Vec<TaxAmount>,
    /// All tax.
    pub tax: Money,
    /// Net and tax.
    pub gross: Money,
}

/// A rated period.
#[derive(Clone, Debug, PartialEq)]
pub struct Rated {
    /// The lines, in the order of parts and, in each, of the tariff's charges.
    pub charges: Vec<Charge>,
    /// What they come to.
    pub totals: Totals,
}

/// Why usage cannot be rated.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// An amount has no room in 64 bits.
    #[error("charge `{charge}` of tariff `{tariff}` cannot be rated")]
    Amount {
        /// The tariff's id.
        tariff: String,
        /// The charge's id, or `total`.
        charge: String,
        /// Why.
        source: crate::money::Error,
    },
    /// The volume is known less surely than the tariff asks for.
    #[error(
        "charge `{charge}` of tariff `{tariff}`: the volume was estimated with a relative standard error of \
         {relative_error}, so that its interval is wider than the {most} to either side that `max_half_width` allows"
    )]
    TooUncertain {
        /// The tariff's id.
        tariff: String,
        /// The charge's id.
        charge: String,
        /// Standard error over estimate, six places.
        relative_error: String,
        /// The widest interval, as a share of the estimate.
        most: Decimal,
    },
    /// A percentile of flows that were sampled.
    #[error(
        "charge `{charge}` of tariff `{tariff}`: the flows were sampled, and a percentile of sampled flows is too high; \
         take it from interface counters (source = \"snmp\")"
    )]
    SampledPercentile {
        /// The tariff's id.
        tariff: String,
        /// The charge's id.
        charge: String,
    },
    /// A percentile of nothing.
    #[error(
        "charge `{charge}` of tariff `{tariff}`: there are no samples of interface counters in the period"
    )]
    NoSamples {
        /// The tariff's id.
        tariff: String,
        /// The charge's id.
        charge: String,
    },
    /// Too many samples are missing.
    #[error(
        "charge `{charge}` of tariff `{tariff}`: a share of {coverage} of the samples is there, less than the \
         {least} of `min_coverage`"
    )]
    Coverage {
        /// The tariff's id.
        tariff: String,
        /// The charge's id.
        charge: String,
        /// The share, six places.
        coverage: String,
        /// What the tariff asks for.
        least: Decimal,
    },
    /// The parts of a period are in two currencies.
    #[error("the tariff changes from {0} to {1} inside the period; an invoice has one currency")]
    Currencies(Currency, Currency),
    /// There is no part.
    #[error("no tariff holds in the period")]
    Nothing,
}

impl Error {
    fn amount(tariff: &Tariff, charge: &str, source: crate::money::Error) -> Self {
        Self::Amount { tariff: tariff.id.clone(), charge: charge.to_owned(), source }
    }
}

/// The charge id of the line that lifts an invoice to the tariff's minimum; no charge of a tariff may have it.
pub const MINIMUM: &str = "minimum";

/// Rates the parts of a period and adds them up.
///
/// # Errors
/// [`Error`].
pub fn rate_period(parts: &[Part<'_>]) -> Result<Rated, Error> {
    let currency = parts.first().ok_or(Error::Nothing)?.tariff.currency;
    let mut charges = Vec::new();
    let mut bases: Vec<(&tariff::Tax, Money)> = Vec::new();
    let granted = volume::granted(parts)?;
    for (part, granted) in parts.iter().zip(&granted) {
        if part.tariff.currency != currency {
            return Err(Error::Currencies(currency, part.tariff.currency));
        }
        let rated = rate_granted(part, granted)?;
        let net = sum(part.tariff, currency, rated.iter().map(|line| line.amount))?;
        let tax = &part.tariff.tax;
        match bases.iter_mut().find(|(known, _)| *known == tax) {
            Some((_, base)) => *base = sum(part.tariff, currency, [*base, net])?,
            None => bases.push((tax, net)),
        }
        charges.extend(rated);
    }
    let tariff = parts[0].tariff;
    let taxes: Vec<TaxAmount> =
        bases.into_iter().map(|(tax, base)| tax_of(tariff, tax, base)).collect::<Result<_, _>>()?;
    let net = sum(tariff, currency, charges.iter().map(|line| line.amount))?;
    let tax = sum(tariff, currency, taxes.iter().map(|tax| tax.amount))?;
    let gross = sum(tariff, currency, [net, tax])?;
    Ok(Rated { charges, totals: Totals { net, taxes, tax, gross } })
}

/// Rates one part that is all there is of its period. The lines come in the order of the tariff's charges.
///
/// # Errors
/// [`Error`].
pub fn rate(part: &Part<'_>) -> Result<Vec<Charge>, Error> {
    let granted = volume::granted(core::slice::from_ref(part))?;
    rate_granted(part, &granted.into_iter().next().unwrap_or_default())
}

/// Rates one part, with what it may use of the allowances of others.
fn rate_granted(part: &Part<'_>, granted: &volume::Granted) -> Result<Vec<Charge>, Error> {
    let mut charges = Vec::new();
    for rule in &part.tariff.charges {
        match &rule.kind {
            ChargeKind::Volume(of) => charges.extend(volume::charge(part, rule, of, granted)?),
            ChargeKind::Percentile(of) => charges.extend(percentile::charge(part, rule, of)?),
            ChargeKind::Recurring { amount, quantity, proration } => {
                charges.extend(fixed::recurring(part, rule, (*quantity, *amount), *proration)?);
            }
            ChargeKind::OneOff { amount, quantity, when } => {
                charges.extend(fixed::one_off(part, rule, (*quantity, *amount), *when)?);
            }
        }
    }
    fixed::finish(part, &mut charges)?;
    Ok(charges)
}

/// What is left of the allowances of a period's parts and rolls over into the next period, in units by charge.
///
/// # Errors
/// [`Error::TooUncertain`].
pub fn left_over(parts: &[Part<'_>]) -> Result<BTreeMap<String, Exact>, Error> {
    let present: Vec<Part<'_>> = parts.iter().filter(|part| part.term.is_present()).copied().collect();
    volume::left_over(&present)
}

fn tax_of(tariff: &Tariff, tax: &tariff::Tax, base: Money) -> Result<TaxAmount, Error> {
    let exact = base.exact().times(&Exact::from(tax.percent)).over(100);
    let amount =
        Money::round(&exact, base.currency()).map_err(|source| Error::amount(tariff, "total", source))?;
    Ok(TaxAmount {
        category: tax.category.clone(),
        percent: tax.percent,
        exemption_reason: tax.exemption_reason.clone(),
        base,
        amount,
    })
}

fn sum(
    tariff: &Tariff,
    currency: Currency,
    amounts: impl IntoIterator<Item = Money>,
) -> Result<Money, Error> {
    Money::sum(currency, amounts).map_err(|source| Error::amount(tariff, "total", source))
}
