//! What a tariff says, in words: one line a clause, for `tariff check` and for the difference of two versions.

use super::percentile::{Links, Missing};
use super::tariff::{
    Allowance, ChargeKind, ChargeRule, ClassMatch, Off, PercentileRule, Price, Proration, Tariff, Tier,
    TierMode, VolumeRule, When,
};

/// Everything that a tariff says, by what it is about: for the difference of two versions. Id, version and effective
/// date are not in it.
#[must_use]
pub fn everything(tariff: &Tariff) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut say = |what: &str, text: String| all.push((what.to_owned(), text));
    say("currency", tariff.currency.to_string());
    say("timezone", tariff.zone.name().to_owned());
    say("unit", tariff.unit.as_str().to_owned());
    say("anchor day", tariff.anchor.day().to_string());
    say("grace", format!("{} days", tariff.grace_days));
    say("proration", if tariff.proration == Proration::None { "none" } else { "by seconds" }.to_owned());
    for (at, class) in tariff.classes.iter().enumerate() {
        say(&format!("class {}", class.name), format!("{} {}", at + 1, matches(&class.matches)));
    }
    for exemption in &tariff.exemptions {
        let from =
            if exemption.charges.is_empty() { "all charges".into() } else { exemption.charges.join(", ") };
        say(&format!("exempt {}", exemption.name), format!("from {from}: {}", matches(&exemption.matches)));
    }
    if tariff.bands.are_there() {
        for (band, name) in tariff.bands.names().iter().enumerate() {
            say(&format!("band {name}"), tariff.bands.when(band));
        }
        let holidays = tariff.bands.holidays();
        let yearly = holidays.yearly.iter().map(|(month, day)| format!("{month:02}-{day:02}"));
        let once = holidays.dates.iter().map(ToString::to_string);
        say("holidays", yearly.chain(once).collect::<Vec<_>>().join(", "));
    }
    for (n, clause) in clauses(tariff).into_iter().enumerate() {
        let (what, text) = clause.split_once(": ").unwrap_or(("", &clause));
        if !what.starts_with("bands") && !what.starts_with("exempt") {
            // Two overrides may be for the same customer: the position tells them apart.
            let what = if what.starts_with("for ") { format!("{what} ({n})") } else { what.to_owned() };
            say(&what, text.to_owned());
        }
    }
    let of_charges = tariff.charges.iter().map(|rule| (&rule.id, &rule.description));
    let of_discounts = tariff.discounts.iter().map(|discount| (&discount.id, &discount.description));
    let of_credits = tariff.credits.iter().map(|credit| (&credit.id, &credit.description));
    for (id, description) in of_charges.chain(of_discounts).chain(of_credits) {
        say(&format!("description of {id}"), description.clone());
    }
    let tax = &tariff.tax;
    say(
        "tax",
        format!("{} % ({}) {}", tax.percent, tax.category, tax.exemption_reason).trim_end().to_owned(),
    );
    all
}

/// What differs between two tariffs: lines that begin with `-` are the first's, with `+` the second's. Empty where
/// they say the same.
#[must_use]
pub fn difference(before: &Tariff, after: &Tariff) -> Vec<String> {
    let (old, new) = (everything(before), everything(after));
    let text = |of: &[(String, String)], what: &str| {
        of.iter().find(|(known, _)| known == what).map(|(_, text)| text.clone())
    };
    let mut lines = Vec::new();
    for (what, was) in &old {
        let is = text(&new, what);
        if is.as_ref() != Some(was) {
            lines.push(format!("- {what}: {was}"));
            lines.extend(is.map(|is| format!("+ {what}: {is}")));
        }
    }
    let added = new.iter().filter(|(what, _)| text(&old, what).is_none());
    lines.extend(added.map(|(what, is)| format!("+ {what}: {is}")));
    if lines.is_empty() && bare(before) != bare(after) {
        lines.push(
            "the tariffs differ in something that is not told in words; compare their texts".to_owned(),
        );
    }
    lines
}

/// A tariff without what tells its versions apart, and without places in its file.
fn bare(tariff: &Tariff) -> Tariff {
    let mut bare = tariff.clone();
    (bare.id, bare.version, bare.effective) = (String::new(), 0, jiff::civil::date(1970, 1, 1));
    bare.sha256.clear();
    bare.charges.iter_mut().for_each(|rule| rule.line = 0);
    bare.overrides.iter_mut().filter_map(|own| own.charge.as_mut()).for_each(|rule| rule.line = 0);
    bare.discounts.iter_mut().for_each(|discount| discount.line = 0);
    bare.credits.iter_mut().for_each(|credit| credit.line = 0);
    bare
}

fn matches(of: &ClassMatch) -> String {
    let families: Vec<String> = of.family.iter().map(|family| family.as_str().to_owned()).collect();
    let parts = [
        ("link", &of.link),
        ("link kind", &of.link_kind),
        ("traffic class", &of.traffic_class),
        ("family", &families),
        ("exporter", &of.exporter),
    ];
    let said = parts.iter().filter(|(_, patterns)| !patterns.is_empty());
    let said: Vec<String> =
        said.map(|(what, patterns)| format!("{what} {}", patterns.join(" or "))).collect();
    if said.is_empty() { "everything".to_owned() } else { said.join(", ") }
}

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
    if let Some(calibrate) = rule.calibrate {
        words += &format!(", calibrated by interface counters up to {} apart", calibrate.share());
    }
    if let Some(cap) = rule.cap {
        words += &format!(", at most {cap}");
    }
    let sampled = &rule.sampled;
    if sampled.lower {
        words += &format!(", the {} lower bound where sampled", sampled.confidence.as_str());
    }
    if let Some(below) = sampled.insensitive_below {
        words += &format!(", at least {below} {unit} a period");
    }
    if let Some(most) = sampled.max_half_width {
        let sure = sampled.confidence.as_str();
        words += &format!(", held where sampled with more than {most} to either side at {sure}");
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
    if !rule.alerts.is_empty() {
        let percent: Vec<String> = rule.alerts.iter().map(ToString::to_string).collect();
        words += &format!(", alerts at {} %", percent.join(", "));
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
        "{money}, of the {} % percentile ({}, {}, {}, {}, missing samples {}) of {}",
        rule.percent,
        rule.combine.as_str(),
        rule.rank.as_str(),
        if rule.links == Links::SumThenRank { "links summed" } else { "each link ranked" },
        rule.source.as_str(),
        if rule.missing == Missing::Zero { "zero" } else { "left out" },
        names(tariff, &rule.classes)
    );
    if let Some(least) = rule.min_coverage {
        words += &format!(", held with less than {least} of the samples");
    }
    if !rule.bands.is_empty() {
        words += &format!(", in {}", band_names(tariff, &rule.bands));
    }
    words
}
