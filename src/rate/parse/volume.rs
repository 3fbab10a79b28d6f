//! `[[charge]]` of kind `volume`: direction, bands, prices and tiers, allowance, what holds for samples.

use core::ops::Range;

use rust_decimal::Decimal;
use toml::de::DeValue;

use super::charge::{Context, amount_of, read_band_list, read_class_list};
use super::section::{Problems, Section, Value, decimal, expected, one_of};
use crate::money::Money;
use crate::rate::error_bound::Confidence;
use crate::rate::tariff::{
    Allowance, Calibrate, ChargeDirection, Price, SampledRule, Tier, TierMode, VolumeRule,
};

/// Keys of a charge by volume.
pub(super) const KEYS: [&str; 14] = [
    "id",
    "kind",
    "description",
    "customer",
    "class",
    "direction",
    "band",
    "price",
    "tiers",
    "allowance",
    "sampled",
    "calibrate",
    "cap",
    "alerts",
];

/// The rule.
pub(super) fn read_volume(
    section: &Section<'_>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<VolumeRule> {
    let chosen = read_class_list(section, context, problems);
    let all = [ChargeDirection::In, ChargeDirection::Out, ChargeDirection::Sum, ChargeDirection::Max];
    let direction = section
        .need_text("direction", problems)
        .and_then(|found| one_of(found, "a direction", &all, ChargeDirection::as_str, problems));
    let bands = read_band_list(section, context, problems);
    let tiers = read_prices(section, context, bands.as_deref(), problems);
    let is_by_band = tiers
        .as_ref()
        .is_some_and(|(_, tiers)| tiers.iter().any(|tier| matches!(tier.price, Price::ByBand(_))));
    let of_charge = (context, bands.as_deref(), is_by_band);
    let allowance = section.get("allowance").map(|value| read_allowance(value, of_charge, problems));
    let sampled = match section.get("sampled") {
        Some(value) => read_sampled(value, problems),
        None => Some(SampledRule::default()),
    };
    let calibrate = match section.get("calibrate") {
        None => Some(None),
        Some(value) => read_calibrate(value, problems),
    };
    if calibrate.flatten().is_some() {
        check_links(section, context, problems);
    }
    let cap: Option<Option<Money>> =
        section.get("cap").map(|value| amount_of(value, "cap", context.currency, problems));
    let alerts = read_alerts(section, problems);
    let (mode, tiers) = tiers?;
    Some(VolumeRule {
        classes: chosen?,
        direction: direction?,
        bands: bands?,
        allowance: match allowance {
            Some(allowance) => Some(allowance?),
            None => None,
        },
        mode,
        tiers,
        sampled: sampled?,
        calibrate: calibrate?,
        cap: match cap {
            Some(cap) => Some(cap?),
            None => None,
        },
        alerts: alerts?,
    })
}

/// Percentages of the allowance.
fn read_alerts(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<Decimal>> {
    let Some(value) = section.get("alerts") else { return Some(Vec::new()) };
    if section.get("allowance").is_none() {
        problems.add(value.span(), "`alerts` are percentages of an `allowance`, and there is none", "");
        return None;
    }
    let Some(array) = value.get_ref().as_array() else {
        expected("alerts", "an array of percentages", value.get_ref(), value.span(), problems);
        return None;
    };
    let mut alerts: Vec<Decimal> = Vec::new();
    for item in array.iter() {
        let percent = decimal(item, "alerts", problems)?;
        if alerts.last().is_some_and(|last| *last >= percent) {
            problems.add(item.span(), "`alerts` ascend", "");
            return None;
        }
        alerts.push(percent);
    }
    Some(alerts)
}

fn read_prices(
    section: &Section<'_>,
    context: &Context<'_>,
    bands: Option<&[usize]>,
    problems: &mut Problems,
) -> Option<(TierMode, Vec<Tier>)> {
    match (section.get("price"), section.get("tiers")) {
        (Some(price), None) => {
            let price = read_price(price, context, bands, problems)?;
            Some((TierMode::Flat, vec![Tier { up_to: None, price, block: None, fee: None }]))
        }
        (None, Some(tiers)) => read_tiers(tiers, context, bands, problems),
        (Some(_), Some(tiers)) => {
            problems.add(tiers.span(), "a charge has `price` or `tiers`, not both", "");
            None
        }
        (None, None) => {
            problems.add(section.span.clone(), "`price` or `tiers` is missing in [[charge]]", "");
            None
        }
    }
}

/// A price, or one for each band of the charge. `bands` is `None` where the list of bands is wrong.
fn read_price(
    value: &Value<'_>,
    context: &Context<'_>,
    bands: Option<&[usize]>,
    problems: &mut Problems,
) -> Option<Price> {
    if !value.get_ref().is_table() {
        return decimal(value, "price", problems).map(Price::All);
    }
    let section = Section::of(value, "`price`", problems)?;
    let names: Vec<&str> = context.bands.iter().flatten().map(String::as_str).collect();
    if !context.has_bands {
        problems.add(value.span(), "there is no [[band]], so that a price cannot be by band", "");
        return None;
    }
    section.only(&names, problems);
    let bands = bands?;
    let (mut prices, mut right) = (vec![Decimal::ZERO; context.bands.len()], true);
    for (at, name) in context.bands.iter().enumerate() {
        let Some(name) = name else {
            right = false;
            continue;
        };
        let is_of_charge = bands.is_empty() || bands.contains(&at);
        match section.get(name) {
            Some(value) if is_of_charge => match decimal(value, name, problems) {
                Some(price) => prices[at] = price,
                None => right = false,
            },
            Some(value) => {
                problems.add(value.span(), format!("the charge is not about band `{name}`"), "");
                right = false;
            }
            None if is_of_charge => {
                problems.add(value.span(), format!("there is no price for band `{name}`"), "");
                right = false;
            }
            None => {}
        }
    }
    right.then_some(Price::ByBand(prices))
}

fn read_tiers(
    value: &Value<'_>,
    context: &Context<'_>,
    bands: Option<&[usize]>,
    problems: &mut Problems,
) -> Option<(TierMode, Vec<Tier>)> {
    let section = Section::of(value, "`tiers`", problems)?;
    section.only(&["mode", "rows"], problems);
    let mode = section
        .need_text("mode", problems)
        .and_then(|found| one_of(found, "a mode of tiers", &TierMode::ALL, TierMode::as_str, problems));
    section.need("rows", problems)?;
    let rows = section.tables("rows", "a row of `tiers`", problems);
    if rows.is_empty() {
        problems.add(section.span.clone(), "`tiers` has no rows", "");
    }
    if mode == Some(TierMode::Flat)
        && let Some(second) = rows.get(1)
    {
        let message = "flat is one price for all of the volume, so it has one row; see `graduated`";
        problems.add(second.span.clone(), message, "second row");
    }
    let mut reached = Decimal::ZERO;
    let mut tiers = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let last = at + 1 == rows.len();
        tiers.push(read_tier(row, (mode?, last), &mut reached, (context, bands), problems));
    }
    let tiers = tiers.into_iter().collect::<Option<Vec<_>>>().filter(|tiers| !tiers.is_empty())?;
    Some((mode?, tiers))
}

/// One row. `reached` is where the tier before it ends.
fn read_tier(
    row: &Section<'_>,
    (mode, last): (TierMode, bool),
    reached: &mut Decimal,
    (context, bands): (&Context<'_>, Option<&[usize]>),
    problems: &mut Problems,
) -> Option<Tier> {
    let known: &[&str] = match mode {
        TierMode::Flat => &["up_to", "price"],
        TierMode::Graduated | TierMode::Volume => &["up_to", "price", "fee"],
        TierMode::Package => &["up_to", "price", "block"],
    };
    row.only(known, problems);
    let fee = row.get("fee").map(|value| amount_of(value, "fee", context.currency, problems));
    let price = match row.get("price") {
        None if fee.is_some() => Some(Price::All(Decimal::ZERO)),
        _ => row.need("price", problems).and_then(|value| read_price(value, context, bands, problems)),
    };
    let block = read_block(row, mode, price.as_ref(), problems);
    let up_to = match row.get("up_to") {
        None if last => None,
        None => {
            problems.add(
                row.span.clone(),
                "only the last row may be without `up_to`",
                "rows after it are never reached",
            );
            return None;
        }
        Some(value) => {
            let up_to = decimal(value, "up_to", problems)?;
            if last {
                let message = "the last row must be without `up_to`, or volume above it would have no price";
                problems.add(value.span(), message, "leave it out, or add a row after it");
            }
            if up_to <= *reached {
                let message = format!("`up_to` must be above {reached}, where the row before it ends");
                problems.add(value.span(), message, "");
            }
            *reached = (*reached).max(up_to);
            Some(up_to)
        }
    };
    let fee = match fee {
        Some(fee) => Some(fee?),
        None => None,
    };
    Some(Tier { up_to, price: price?, block: block?, fee })
}

/// The block of a row; outside of packages there is none.
fn read_block(
    row: &Section<'_>,
    mode: TierMode,
    price: Option<&Price>,
    problems: &mut Problems,
) -> Option<Option<Decimal>> {
    if mode != TierMode::Package {
        return Some(None);
    }
    if matches!(price, Some(Price::ByBand(_))) {
        problems.add(row.span.clone(), "a package has one price: it holds volume of all bands", "");
        return None;
    }
    let value = row.need("block", problems)?;
    let block = decimal(value, "block", problems)?;
    if block.is_zero() {
        problems.add(value.span(), "`block` must be above 0", "");
        return None;
    }
    Some(Some(block))
}

fn read_allowance(
    value: &Value<'_>,
    (context, bands, is_by_band): (&Context<'_>, Option<&[usize]>, bool),
    problems: &mut Problems,
) -> Option<Allowance> {
    let section = Section::of(value, "`allowance`", problems)?;
    section.only(&["quantity", "rollover", "spend_order"], problems);
    let quantity = section.need("quantity", problems).and_then(|value| decimal(value, "quantity", problems));
    let rollover = match section.text("rollover", problems) {
        None => section.get("rollover").is_none().then_some(false),
        Some(found) => one_of(
            found,
            "a rollover",
            &[false, true],
            |rolls| if rolls { "next-period" } else { "none" },
            problems,
        ),
    };
    let of_charge: Vec<usize> = match bands? {
        [] => (0..context.bands.len()).collect(),
        chosen => chosen.to_vec(),
    };
    let spend_order = match section.get("spend_order") {
        Some(value) => read_order(&section, value.span(), context, &of_charge, problems),
        None if is_by_band && of_charge.len() > 1 => {
            let message =
                "`spend_order` is missing: prices differ by band, so that it matters which is free first";
            problems.add(section.span.clone(), message, "name all bands of the charge in order");
            None
        }
        None => Some(of_charge),
    };
    Some(Allowance { quantity: quantity?, rollover: rollover?, spend_order: spend_order? })
}

fn read_order(
    section: &Section<'_>,
    place: Range<usize>,
    context: &Context<'_>,
    of_charge: &[usize],
    problems: &mut Problems,
) -> Option<Vec<usize>> {
    let before = problems.0.len();
    let mut order = Vec::new();
    for (name, span) in section.texts("spend_order", problems) {
        match context.bands.iter().position(|band| band.as_deref() == Some(name)) {
            Some(at) if order.contains(&at) => {
                problems.add(span, format!("band `{name}` is there twice"), "")
            }
            Some(at) if of_charge.contains(&at) => order.push(at),
            _ if context.bands.contains(&None) => return None,
            _ => problems.add(span, format!("the charge has no band `{name}`"), ""),
        }
    }
    if problems.0.len() == before
        && let Some(missing) = of_charge.iter().find(|at| !order.contains(at))
    {
        let name = context.bands.get(*missing).cloned().flatten().unwrap_or_default();
        problems.add(
            place,
            format!("`spend_order` leaves out band `{name}`"),
            "name all bands of the charge",
        );
    }
    (problems.0.len() == before).then_some(order)
}

fn read_sampled(value: &Value<'_>, problems: &mut Problems) -> Option<SampledRule> {
    let section = Section::of(value, "`sampled`", problems)?;
    section.only(&["basis", "confidence", "insensitive_below", "max_half_width"], problems);
    let before = problems.0.len();
    let basis = section.text("basis", problems).and_then(|found| {
        one_of(found, "a basis", &[false, true], |lower| if lower { "lower" } else { "estimate" }, problems)
    });
    let confidence = section.text("confidence", problems).and_then(|found| {
        one_of(found, "a known confidence", &Confidence::ALL, Confidence::as_str, problems)
    });
    let mut number = |key: &str| section.get(key).and_then(|value| decimal(value, key, problems));
    let (insensitive_below, max_half_width) = (number("insensitive_below"), number("max_half_width"));
    (problems.0.len() == before).then(|| SampledRule {
        lower: basis.unwrap_or(false),
        confidence: confidence.unwrap_or_default(),
        insensitive_below,
        max_half_width,
    })
}

/// `true`, `false`, or a table of how.
fn read_calibrate(value: &Value<'_>, problems: &mut Problems) -> Option<Option<Calibrate>> {
    match value.get_ref() {
        DeValue::Boolean(false) => return Some(None),
        DeValue::Boolean(true) => return Some(Some(Calibrate::default())),
        DeValue::Table(_) => {}
        other => {
            expected("calibrate", "true, false or a table", other, value.span(), problems);
            return None;
        }
    }
    let section = Section::of(value, "`calibrate`", problems)?;
    section.only(&["max_difference"], problems);
    let Some(value) = section.get("max_difference") else { return Some(Some(Calibrate::default())) };
    let share = decimal(value, "max_difference", problems)?;
    let millionths = share.checked_mul(Decimal::from(1_000_000)).filter(Decimal::is_integer);
    let found = millionths.and_then(|millionths| u32::try_from(millionths).ok());
    let Some(max_difference) = found.filter(|found| (1..=Calibrate::MOST).contains(found)) else {
        let message = "`max_difference` is a share of what interfaces counted: above 0, at most 0.5, with at most 6 digits \
                       after the point";
        problems.add(
            value.span(),
            message,
            "beyond half of it, flows and interfaces are not about the same traffic",
        );
        return None;
    };
    Some(Some(Calibrate { max_difference }))
}

/// Only links have interfaces: every class of a charge that is calibrated asks for them.
fn check_links(section: &Section<'_>, context: &Context<'_>, problems: &mut Problems) {
    for (name, span) in section.texts("class", problems) {
        let class = context.classes.iter().flatten().find(|class| class.name == name);
        if class.is_some_and(|class| class.matches.link.is_empty() && class.matches.link_kind.is_empty()) {
            let message = format!(
                "class `{name}` is not about links, so that there are no interfaces to calibrate it by"
            );
            problems.add(span, message, "let it ask for `link` or `link_kind`, or leave `calibrate` out");
        }
    }
}
