//! Tariff files: TOML to [`Tariff`], with everything that is wrong in one answer.
//!
//! What the language knows is written in the functions below and beside, a section each; `docs/TARIFFS.md` explains it
//! to people. Keys that it does not know are refused: a tariff is a contract, and a clause that is silently left out
//! would be a wrong bill. What is read is proved total: every usage falls into one class, every five minutes into one
//! band, every volume into one tier.

mod adjust;
mod band;
mod charge;
mod class;
mod percentile;
mod section;
mod volume;

#[cfg(test)]
mod tests;

use core::ops::Range;

use jiff::civil::Date;
use sha2::{Digest, Sha256};
use toml::de::{DeTable, DeValue};

use self::charge::Context;
use self::section::{Problems, Section, Value, expected, integer};
use super::tariff::{ChargeKind, ChargeRule, Proration, Tariff, Unit, When};
use crate::diagnostic::FileProblems;
use crate::money::Currency;
use crate::period::{AnchorDay, Period, Zone, rfc3339};

/// Reads a tariff. `file` is its name in messages.
///
/// # Errors
/// All that is wrong, by place.
pub fn parse(file: &str, text: &str) -> Result<Tariff, FileProblems> {
    let mut problems = Problems::default();
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        problems.add(error.span().unwrap_or(0..0), error.message(), "");
    }
    // Where the text is no TOML, what it seems to say is not worth judging.
    let tariff = if errors.is_empty() { read(&Section::root(&root), text, &mut problems) } else { None };
    match tariff {
        Some(tariff) if problems.0.is_empty() => Ok(tariff),
        _ => {
            problems.0.sort_by_key(|problem| (problem.span.start, problem.span.end));
            problems.0.dedup();
            Err(FileProblems { file: file.to_owned(), text: text.to_owned(), problems: problems.0 })
        }
    }
}

/// SHA-256 in hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string does not fail");
        hex
    })
}

const SECTIONS: [&str; 12] = [
    "tariff", "period", "class", "exempt", "band", "holidays", "charge", "minimum", "discount", "credit",
    "tax", "override",
];

fn read(root: &Section<'_>, text: &str, problems: &mut Problems) -> Option<Tariff> {
    root.only(&SECTIONS, problems);
    let head = table(root, "tariff", problems).and_then(|head| read_head(&head, problems));
    let period = read_period(root, problems);
    let classes = class::read_classes(root, problems);
    let (bands, band_names) = band::read_bands(root, problems);
    let context = Context {
        currency: head.as_ref().and_then(|head| head.currency),
        classes: &classes,
        bands: &band_names,
        has_bands: root.get("band").is_some(),
        text,
    };
    let mut ids = Vec::new();
    let charges = charge::read_charges(root, &context, &mut ids, problems);
    let effective = head.as_ref().and_then(|head| head.effective);
    for (section, rule) in &charges {
        check_one_off(section, rule.as_ref(), effective, problems);
    }
    let charge_ids: Vec<String> = ids.clone();
    let charge_ids: Vec<&str> = charge_ids.iter().map(String::as_str).collect();
    let of_usage = |rule: &ChargeRule| matches!(rule.kind, ChargeKind::Volume(_) | ChargeKind::Percentile(_));
    let usage_ids: Vec<&str> = charges
        .iter()
        .zip(&charge_ids)
        .filter(|((_, rule), _)| rule.as_ref().is_none_or(of_usage))
        .map(|(_, &id)| id)
        .collect();
    let exemptions = class::read_exemptions(root, &usage_ids, problems);
    let minimum =
        root.get("minimum").map(|value| adjust::read_minimum(value, &context, &charge_ids, problems));
    let discounts = adjust::read_discounts(root, &context, &charge_ids, &mut ids, problems);
    let credits = adjust::read_credits(root, &context, effective, &mut ids, problems);
    let overrides = adjust::read_overrides(root, &context, &charges, problems);
    let tax = table(root, "tax", problems).and_then(|section| adjust::read_tax(&section, problems));

    let head = head?;
    let period = period?;
    Some(Tariff {
        id: head.id?,
        version: head.version?,
        effective: head.effective?,
        currency: head.currency?,
        zone: head.zone?,
        unit: head.unit?,
        anchor: period.anchor,
        grace_days: period.grace_days,
        proration: period.proration,
        charges: charges.into_iter().map(|(_, rule)| rule).collect::<Option<_>>()?,
        classes: classes.into_iter().collect::<Option<_>>()?,
        exemptions: exemptions.into_iter().collect::<Option<_>>()?,
        bands: bands?,
        minimum: match minimum {
            Some(minimum) => Some(minimum?),
            None => None,
        },
        discounts: discounts.into_iter().collect::<Option<_>>()?,
        credits: credits.into_iter().collect::<Option<_>>()?,
        tax: tax?,
        overrides: overrides.into_iter().collect::<Option<_>>()?,
        sha256: sha256_hex(text.as_bytes()),
    })
}

/// A one-off charge of a date before the tariff begins would never be due.
fn check_one_off(
    section: &Section<'_>,
    rule: Option<&ChargeRule>,
    effective: Option<Date>,
    problems: &mut Problems,
) {
    if let Some(ChargeKind::OneOff { when: When::On(date), .. }) = rule.map(|rule| &rule.kind) {
        let span = section.get("date").map_or_else(|| section.span.clone(), Value::span);
        charge::check_due(*date, effective, span, problems);
    }
}

/// A section of the file that must be there.
fn table<'a>(root: &Section<'a>, key: &str, problems: &mut Problems) -> Option<Section<'a>> {
    match root.get(key) {
        Some(value) => Section::of(value, &format!("[{key}]"), problems),
        None => {
            problems.add(0..0, format!("section [{key}] is missing"), "");
            None
        }
    }
}

fn is_empty_list(value: &Value<'_>) -> bool {
    value.get_ref().as_array().is_some_and(|array| array.is_empty())
}

/// `[tariff]`: each part is there if it was right.
struct Head {
    id: Option<String>,
    version: Option<i64>,
    effective: Option<Date>,
    currency: Option<Currency>,
    zone: Option<Zone>,
    unit: Option<Unit>,
}

fn read_head(head: &Section<'_>, problems: &mut Problems) -> Option<Head> {
    head.only(&["id", "version", "effective", "currency", "timezone", "unit", "rounding"], problems);
    if let Some(value) = head.get("rounding")
        && let Some(rounding) = Section::of(value, "`rounding`", problems)
    {
        rounding.only(&["line", "tax_scope"], problems);
        only_value(&rounding, "line", "half-up", problems);
        only_value(&rounding, "tax_scope", "category", problems);
    }
    let effective =
        head.need("effective", problems).and_then(|value| read_date(value, "effective", problems));
    let zone = head.need_text("timezone", problems).and_then(|(name, span)| {
        let zone = Zone::named(name).map_err(|error| problems.add(span.clone(), error.to_string(), "")).ok()?;
        if let Some(instant) = effective.and_then(|day| zone.uneven_from(day)) {
            let message = format!(
                "from {} on, `{}` is at an offset that is no multiple of five minutes, so that its hours would cut buckets",
                rfc3339(instant),
                zone.name()
            );
            problems.add(span, message, "");
        }
        Some(zone)
    });
    Some(Head {
        id: head.need_text("id", problems).and_then(|id| word(id, "id", problems)),
        version: head.need("version", problems).and_then(|value| {
            let version = integer(value, "version", problems)?;
            if version < 1 {
                problems.add(value.span(), "`version` must be 1 or more", "");
                return None;
            }
            Some(version)
        }),
        effective,
        currency: head.need_text("currency", problems).and_then(|(code, span)| {
            let currency = Currency::from_code(code);
            if currency.is_none() {
                let label = "expected a code of ISO 4217 in capitals, such as EUR";
                problems.add(span, format!("`{code}` is not a currency"), label);
            }
            currency
        }),
        zone,
        unit: head.need_text("unit", problems).and_then(|(name, span)| {
            let unit = Unit::ALL.into_iter().find(|unit| unit.as_str() == name);
            if unit.is_none() {
                let label = "expected \"GB\" (10^9 octets), \"GiB\" (2^30), \"TB\" (10^12) or \"TiB\" (2^40)";
                problems.add(span, format!("`{name}` is not a unit of volume"), label);
            }
            unit
        }),
    })
}

/// A key that has one value: it is in the language so that contracts can say it.
fn only_value(section: &Section<'_>, key: &str, value: &str, problems: &mut Problems) {
    if let Some((found, span)) = section.text(key, problems)
        && found != value
    {
        let message = format!("`{key} = \"{found}\"` in {} is not what this program does", section.name);
        problems.add(span, message, format!("only \"{value}\" is"));
    }
}

/// An id: goes into commands, documents and file names.
fn word((text, span): (&str, Range<usize>), key: &str, problems: &mut Problems) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
        let label = "expected 1 to 64 letters, digits, `-`, `_` or `.`";
        problems.add(span, format!("`{key}` is not a name"), label);
        return None;
    }
    Some(text.to_owned())
}

fn read_date(value: &Value<'_>, key: &str, problems: &mut Problems) -> Option<Date> {
    let written = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        other => {
            expected(key, "a date", other, value.span(), problems);
            return None;
        }
    };
    let date = (written.len() == 10).then(|| written.parse::<Date>().ok()).flatten();
    let date = date.filter(|date| Period::new(date.year(), date.month()).is_some());
    if date.is_none() {
        problems.add(
            value.span(),
            format!("`{key}` is not a local date"),
            "expected YYYY-MM-DD, 1970 to 9998",
        );
    }
    date
}

/// `[period]`.
struct PeriodRules {
    anchor: AnchorDay,
    grace_days: u32,
    proration: Proration,
}

fn read_period(root: &Section<'_>, problems: &mut Problems) -> Option<PeriodRules> {
    let mut rules = PeriodRules { anchor: AnchorDay::FIRST, grace_days: 0, proration: Proration::None };
    let Some(value) = root.get("period") else { return Some(rules) };
    let section = Section::of(value, "[period]", problems)?;
    section.only(&["anchor_day", "grace", "proration"], problems);
    let before = problems.0.len();
    if let Some(value) = section.get("anchor_day")
        && let Some(day) = integer(value, "anchor_day", problems)
    {
        match AnchorDay::new(day) {
            Ok(anchor) => rules.anchor = anchor,
            Err(error) => problems.add(value.span(), error.to_string(), ""),
        }
    }
    if let Some((text, span)) = section.text("grace", problems) {
        let days = text.strip_prefix('P').and_then(|rest| rest.strip_suffix('D'));
        let digits = days.filter(|days| days.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|days| days.parse::<u32>().ok()).filter(|&days| days <= 366) {
            Some(days) => rules.grace_days = days,
            None => problems.add(span, "`grace` is not a number of days", "expected \"P3D\", at most P366D"),
        }
    }
    if section.get("proration").is_some()
        && let Some(proration) = charge::read_proration(&section, problems)
    {
        rules.proration = proration;
    }
    (problems.0.len() == before).then_some(rules)
}
