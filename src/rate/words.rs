//! What a tariff says, in words: one line a clause, for `tariff check` and for the difference of two versions.

use super::tariff::{
    Allowance, ChargeKind, ChargeRule, Off, PercentileRule, Price, Proration, Tariff, Tier, TierMode,
    VolumeRule, When,
};

/// The clauses of a tariff that cost or spare money, in the order of the file.
#[must_use]
pub fn clauses(tariff: &Tariff) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if tariff.bands.are_there() {
        lines.push(format!("bands: {}", tariff.bands.names().join(", ")));
    }
    for exemption in &tariff.exemptions {
        let from =
            if exemption.charges.is_empty() { "all charges".into() } else { exemption.charges.join(", ") };
        lines.push(format!("exempt from {from}: {}", exemption.name));
    }
    lines.extend(tariff.charges.iter().map(|rule| charge(tariff, rule)));
    for discount in &tariff.discounts {
        let off = match discount.off {
            Off::Percent(percent) => format!("{percent} %"),
            Off::Amount(amount) => amount.to_string(),
        };
        let on = if discount.on.is_empty() { "all charges".into() } else { discount.on.join(", ") };
        lines.push(format!("{}: {off} off {on}{}", discount.id, only(&discount.customers)));
    }
    if let Some(minimum) = &tariff.minimum {
        let on =
            if minimum.on.is_empty() { String::new() } else { format!(", of {}", minimum.on.join(", ")) };
        lines.push(format!("minimum: {} a period{on}", minimum.amount));
    }
    for credit in &tariff.credits {
        lines.push(format!(
            "{}: {} back on {}{}",
            credit.id,
            credit.amount,
            credit.date,
            only(&credit.customers)
        ));
    }
    for own in &tariff.overrides {
        let whose = own.customers.join(", ");
        if let Some(rule) = &own.charge {
            lines.push(format!("for {whose}: {}", charge(tariff, rule)));
        }
        if let Some(minimum) = &own.minimum {
            lines.push(format!("for {whose}: minimum: {} a period", minimum.amount));
        }
        if let Some(tax) = &own.tax {
            lines.push(format!("for {whose}: tax: {} % ({})", tax.percent, tax.category));
        }
    }
    lines
}

fn only(customers: &[String]) -> String {
    if customers.is_empty() { String::new() } else { format!(", only for {}", customers.join(", ")) }
}

/// One charge.
#[must_use]
pub fn charge(tariff: &Tariff, rule: &ChargeRule) -> String {
    let what = match &rule.kind {
        ChargeKind::Volume(volume) => of_volume(tariff, volume),
        ChargeKind::Percentile(percentile) => of_percentile(tariff, percentile),
        ChargeKind::Recurring { amount, quantity, proration } => {
            let times = if quantity.is_integer() && *quantity == 1.into() {
                String::new()
            } else {
                format!("{quantity} x ")
            };
            let share = match proration {
                None => "",
                Some(Proration::None) => ", in full",
                Some(Proration::Seconds) => ", by seconds",
            };
            format!("{times}{amount} a period{share}")
        }
        ChargeKind::OneOff { amount, quantity, when } => {
            let times = if *quantity == 1.into() { String::new() } else { format!("{quantity} x ") };
            match when {
                When::On(date) => format!("{times}{amount} once, on {date}"),
                When::Start => format!("{times}{amount} once, when the customer begins"),
            }
        }
    };
    format!("{}: {what}{}", rule.id, only(&rule.customers))
}

fn names(tariff: &Tariff, classes: &[usize]) -> String {
    let names: Vec<&str> =
        classes.iter().filter_map(|&at| tariff.classes.get(at)).map(|class| class.name.as_str()).collect();
    names.join(", ")
}

fn band_names(tariff: &Tariff, bands: &[usize]) -> String {
    let names: Vec<&str> = bands.iter().map(|&at| tariff.bands.name(at)).collect();
    names.join(", ")
}

fn of_volume(tariff: &Tariff, rule: &VolumeRule) -> String {
    let unit = tariff.unit.as_str();
    let prices: Vec<String> = rule.tiers.iter().map(|tier| price(tariff, rule, tier)).collect();
    let mut words = match rule.mode {
        TierMode::Flat | TierMode::Graduated if rule.tiers.iter().all(|tier| tier.fee.is_none()) => {
            format!("{} a {unit}", prices.join(" then "))
        }
        TierMode::Volume => format!("by all of the volume: {}", prices.join(", ")),
        _ => prices.join(" then "),
    };
    words += &format!(", {}, of {}", rule.direction.describe(), names(tariff, &rule.classes));
    if !rule.bands.is_empty() {
        words += &format!(", in {}", band_names(tariff, &rule.bands));
    }
    if let Some(allowance) = &rule.allowance {
        words += &of_allowance(tariff, rule, allowance);
    }
    if let Some(cap) = rule.cap {
        words += &format!(", at most {cap}");
    }
    let sampled = &rule.sampled;
    if sampled.lower {
        words += &format!(", the {} lower bound where sampled", sampled.confidence.as_str());
    }
    if let Some(below) = sampled.insensitive_below {
        words += &format!(", at least {below} {unit} where sampled");
    }
    if let Some(most) = sampled.max_half_width {
        words += &format!(", held where sampled with more than {most} to either side");
    }
    words
}

fn of_allowance(tariff: &Tariff, rule: &VolumeRule, allowance: &Allowance) -> String {
    let mut words = format!(", {} {} included", allowance.quantity, tariff.unit.as_str());
    if rule.is_by_band() {
        words += &format!(" ({} first)", band_names(tariff, &allowance.spend_order));
    }
    if allowance.rollover {
        words += " and kept for one period";
    }
    words
}

fn price(tariff: &Tariff, rule: &VolumeRule, tier: &Tier) -> String {
    let mut words = match &tier.price {
        Price::All(price) => price.to_string(),
        Price::ByBand(prices) => {
            let each = prices
                .iter()
                .enumerate()
                .filter(|(band, _)| rule.has_band(*band))
                .map(|(band, price)| format!("{price} ({})", tariff.bands.name(band)));
            each.collect::<Vec<_>>().join(" or ")
        }
    };
    let unit = tariff.unit.as_str();
    if let Some(block) = tier.block {
        words += &format!(" a package of {block} {unit}");
    }
    if let Some(fee) = tier.fee {
        words = if matches!(&tier.price, Price::All(price) if price.is_zero()) {
            fee.to_string()
        } else {
            format!("{fee} and {words} a {unit}")
        };
    }
    if let Some(up_to) = tier.up_to {
        words += &format!(" up to {up_to} {unit}");
    }
    words
}

fn of_percentile(tariff: &Tariff, rule: &PercentileRule) -> String {
    let unit = rule.unit.as_str();
    let money = match rule.commit {
        Some((quantity, price)) => format!("{quantity} {unit} at {price}, above at {}", rule.price),
        None => format!("{} a {unit}", rule.price),
    };
    let mut words = format!(
        "{money}, of the {} % percentile ({}, {}, {}) of {}",
        rule.percent,
        rule.combine.as_str(),
        rule.rank.as_str(),
        rule.source.as_str(),
        names(tariff, &rule.classes)
    );
    if !rule.bands.is_empty() {
        words += &format!(", in {}", band_names(tariff, &rule.bands));
    }
    words
}
