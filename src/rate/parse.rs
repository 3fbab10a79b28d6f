//! Tariff files: TOML to [`Tariff`], with everything that is wrong in one answer.
//!
//! What the language knows is written in the functions below, a section each. Keys that it does not know are
//! refused, and so are those that belong to it but are not there yet: a tariff is a contract, and a clause that is
//! silently left out would be a wrong bill.

mod section;

#[cfg(test)]
mod tests;

use core::ops::Range;

use jiff::civil::Date;
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use toml::de::{DeTable, DeValue};

use self::section::{Problems, Section, Value, decimal, expected, integer};
use super::MINIMUM;
use super::tariff::{
    ChargeDirection, ChargeKind, ChargeRule, Class, ClassMatch, Tariff, Tax, Tier, Unit, VolumeRule,
};
use crate::diagnostic::FileProblems;
use crate::flow::Family;
use crate::money::{Currency, Money};
use crate::period::{AnchorDay, Period, Zone};

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

fn read(root: &Section<'_>, text: &str, problems: &mut Problems) -> Option<Tariff> {
    root.only(
        &["tariff", "period", "class", "charge", "minimum", "tax"],
        &["band", "holidays", "discount", "credit", "exempt", "override", "cap", "alert"],
        problems,
    );
    let head = table(root, "tariff", problems).and_then(|head| read_head(&head, problems));
    let anchor = read_period(root, problems);
    let classes = read_classes(root, problems);
    let currency = head.as_ref().and_then(|head| head.currency);
    let names: Vec<Option<&str>> =
        classes.iter().map(|class| class.as_ref().map(|class| class.name.as_str())).collect();
    let charges = read_charges(root, &names, currency, problems);
    let minimum = match root.get("minimum") {
        Some(value) => Section::of(value, "[minimum]", problems).map(|section| {
            section.only(&["amount"], &[], problems);
            read_amount(&section, currency, problems)
        }),
        None => None,
    };
    let tax = table(root, "tax", problems).and_then(|section| read_tax(&section, problems));

    let head = head?;
    let (effective, at) = head.effective?;
    let anchor = anchor?;
    check_effective(effective, anchor, at, problems);
    Some(Tariff {
        id: head.id?,
        version: head.version?,
        effective,
        currency: head.currency?,
        zone: head.zone?,
        unit: head.unit?,
        anchor,
        classes: classes.into_iter().collect::<Option<_>>()?,
        charges: charges.into_iter().collect::<Option<_>>()?,
        minimum: match minimum {
            Some(amount) => Some(amount?),
            None => None,
        },
        tax: tax?,
        sha256: sha256_hex(text.as_bytes()),
    })
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

/// `[tariff]`: each part is there if it was right.
struct Head {
    id: Option<String>,
    version: Option<i64>,
    effective: Option<(Date, Range<usize>)>,
    currency: Option<Currency>,
    zone: Option<Zone>,
    unit: Option<Unit>,
}

fn read_head(head: &Section<'_>, problems: &mut Problems) -> Option<Head> {
    let known = ["id", "version", "effective", "currency", "timezone", "unit", "rounding"];
    head.only(&known, &[], problems);
    if let Some(value) = head.get("rounding")
        && let Some(rounding) = Section::of(value, "`rounding`", problems)
    {
        rounding.only(&["line", "tax_scope"], &[], problems);
        only_value(&rounding, "line", "half-up", problems);
        only_value(&rounding, "tax_scope", "category", problems);
    }
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
        effective: head
            .need("effective", problems)
            .and_then(|value| read_date(value, problems).map(|date| (date, value.span()))),
        currency: head.need_text("currency", problems).and_then(|(code, span)| {
            let currency = Currency::from_code(code);
            if currency.is_none() {
                let label = "expected a code of ISO 4217 in capitals, such as EUR";
                problems.add(span, format!("`{code}` is not a currency"), label);
            }
            currency
        }),
        zone: head.need_text("timezone", problems).and_then(|(name, span)| {
            Zone::named(name).map_err(|error| problems.add(span, error.to_string(), "")).ok()
        }),
        unit: head.need_text("unit", problems).and_then(|(name, span)| {
            let unit = Unit::ALL.into_iter().find(|unit| unit.as_str() == name);
            if unit.is_none() {
                let label = "expected \"GB\" (10^9 octets) or \"GiB\" (2^30 octets)";
                problems.add(span, format!("`{name}` is not a unit of volume"), label);
            }
            unit
        }),
    })
}

/// A key whose only value is `value` for now.
fn only_value(section: &Section<'_>, key: &str, value: &str, problems: &mut Problems) {
    if let Some((found, span)) = section.text(key, problems)
        && found != value
    {
        let message = format!("`{key} = \"{found}\"` in {} is not supported yet", section.name);
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

fn read_date(value: &Value<'_>, problems: &mut Problems) -> Option<Date> {
    let written = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        other => {
            expected("effective", "a date", other, value.span(), problems);
            return None;
        }
    };
    let date = (written.len() == 10).then(|| written.parse::<Date>().ok()).flatten();
    let date = date.filter(|date| Period::new(date.year(), date.month()).is_some());
    if date.is_none() {
        problems.add(value.span(), "`effective` is not a local date", "expected YYYY-MM-DD, 1970 to 9998");
    }
    date
}

/// A version holds for whole periods; see [`super::version`].
fn check_effective(effective: Date, anchor: AnchorDay, span: Range<usize>, problems: &mut Problems) {
    let Some(period) = Period::new(effective.year(), effective.month()) else { return };
    let first = period.first_day(anchor);
    if first != effective {
        let message = format!(
            "`effective` must be the first day of a period (of {effective}'s month: {first}); \
             splitting a period between versions is not supported yet"
        );
        problems.add(span, message, "inside a period");
    }
}

fn read_period(root: &Section<'_>, problems: &mut Problems) -> Option<AnchorDay> {
    let Some(value) = root.get("period") else { return Some(AnchorDay::FIRST) };
    let section = Section::of(value, "[period]", problems)?;
    section.only(&["anchor_day"], &["grace", "proration"], problems);
    let Some(value) = section.get("anchor_day") else { return Some(AnchorDay::FIRST) };
    let day = integer(value, "anchor_day", problems)?;
    AnchorDay::new(day).map_err(|error| problems.add(value.span(), error.to_string(), "")).ok()
}

fn read_classes(root: &Section<'_>, problems: &mut Problems) -> Vec<Option<Class>> {
    let sections = root.tables("class", "[[class]]", problems);
    let mut classes: Vec<Option<Class>> = Vec::new();
    for (at, section) in sections.iter().enumerate() {
        section.only(&["name", "match"], &[], problems);
        let name = section.need_text("name", problems).and_then(|(name, span)| {
            if classes.iter().flatten().any(|class| class.name == name) {
                problems.add(span.clone(), format!("class `{name}` is there twice"), "");
            }
            word((name, span), "name", problems)
        });
        let matches = section.need("match", problems).and_then(|value| read_match(value, problems));
        let last = at + 1 == sections.len();
        if let Some(matches) = &matches {
            if last && !matches.is_catch_all() {
                let message = "the last class must match everything, so that no usage is without a class";
                problems.add(section.span.clone(), message, "add a class with `match = {}` after it");
            }
            if !last && matches.is_catch_all() {
                let message = "the classes after this one are never reached, because it matches everything";
                problems.add(section.span.clone(), message, "must be the last");
            }
        }
        classes.push(name.zip(matches).map(|(name, matches)| Class { name, matches }));
    }
    if root.get("class").is_none_or(is_empty_list) {
        let message = "there is no [[class]]: at least one with `match = {}` is needed";
        problems.add(0..0, message, "");
    }
    classes
}

fn read_match(value: &Value<'_>, problems: &mut Problems) -> Option<ClassMatch> {
    let section = Section::of(value, "`match`", problems)?;
    let before = problems.0.len();
    section.only(&["link", "link_kind", "traffic_class", "family", "exporter"], &[], problems);
    let mut patterns = |key: &str| -> Vec<String> {
        section.texts(key, problems).into_iter().map(|(text, _)| text.to_owned()).collect()
    };
    let (link, link_kind) = (patterns("link"), patterns("link_kind"));
    let (traffic_class, exporter) = (patterns("traffic_class"), patterns("exporter"));
    let mut family = Vec::new();
    for (name, span) in section.texts("family", problems) {
        let known =
            [Family::V4, Family::V6, Family::Other].into_iter().find(|family| family.as_str() == name);
        match known {
            Some(known) => family.push(known),
            None => problems.add(
                span,
                format!("`{name}` is not an address family"),
                "expected ipv4, ipv6 or other",
            ),
        }
    }
    // A broken match must not pass for a narrower or wider one in the checks that follow.
    (problems.0.len() == before).then_some(ClassMatch { link, link_kind, traffic_class, family, exporter })
}

fn read_charges(
    root: &Section<'_>,
    classes: &[Option<&str>],
    currency: Option<Currency>,
    problems: &mut Problems,
) -> Vec<Option<ChargeRule>> {
    let sections = root.tables("charge", "[[charge]]", problems);
    if root.get("charge").is_none_or(is_empty_list) {
        problems.add(0..0, "there is no [[charge]]: nothing would ever be billed", "");
    }
    let mut ids: Vec<&str> = Vec::new();
    let mut charges = Vec::new();
    for section in &sections {
        let id = section.need_text("id", problems).and_then(|(id, span)| {
            if ids.contains(&id) {
                problems.add(span.clone(), format!("charge `{id}` is there twice"), "");
            } else if id == MINIMUM {
                problems.add(span.clone(), format!("`{id}` is the id of the line that [minimum] makes"), "");
            }
            ids.push(id);
            word((id, span), "id", problems)
        });
        let kind = read_kind(section, classes, currency, problems);
        let description = match section.text("description", problems) {
            Some((text, _)) => Some(text.to_owned()),
            None => match &kind {
                Some(ChargeKind::Volume(rule)) => Some(describe(rule, classes)),
                _ => id.clone(),
            },
        };
        charges.push(id.zip(kind).zip(description).map(|((id, kind), description)| ChargeRule {
            id,
            description,
            kind,
        }));
    }
    charges
}

fn is_empty_list(value: &Value<'_>) -> bool {
    value.get_ref().as_array().is_some_and(|array| array.is_empty())
}

/// The description of a volume charge that has none of its own.
fn describe(rule: &VolumeRule, classes: &[Option<&str>]) -> String {
    let names: Vec<&str> = rule.classes.iter().filter_map(|&at| *classes.get(at)?).collect();
    format!("Traffic {}, {}", rule.direction.describe(), names.join(", "))
}

fn read_kind(
    section: &Section<'_>,
    classes: &[Option<&str>],
    currency: Option<Currency>,
    problems: &mut Problems,
) -> Option<ChargeKind> {
    let (kind, span) = section.need_text("kind", problems)?;
    match kind {
        "volume" => {
            let known = ["id", "kind", "description", "class", "direction", "price", "tiers", "allowance"];
            section.only(&known, &["sampled", "cap", "customer"], problems);
            read_volume(section, classes, problems).map(ChargeKind::Volume)
        }
        "recurring" => {
            section.only(&["id", "kind", "description", "amount"], &["proration", "quantity"], problems);
            read_amount(section, currency, problems).map(|amount| ChargeKind::Recurring { amount })
        }
        "percentile" | "one-off" => {
            problems.later(span, &format!("`kind = \"{kind}\"`"));
            None
        }
        _ => {
            problems.add(span, format!("`{kind}` is not a kind of charge"), "expected volume or recurring");
            None
        }
    }
}

fn read_amount(section: &Section<'_>, currency: Option<Currency>, problems: &mut Problems) -> Option<Money> {
    let value = section.need("amount", problems)?;
    decimal(value, "amount", problems)?;
    let money = Money::parse(value.get_ref().as_str()?, currency?);
    money.map_err(|error| problems.add(value.span(), format!("`amount`: {error}"), "")).ok()
}

fn read_volume(
    section: &Section<'_>,
    classes: &[Option<&str>],
    problems: &mut Problems,
) -> Option<VolumeRule> {
    let chosen = read_class_list(section, classes, problems);
    let direction = section.need_text("direction", problems).and_then(|(name, span)| match name {
        "in" => Some(ChargeDirection::In),
        "out" => Some(ChargeDirection::Out),
        "sum" => Some(ChargeDirection::Sum),
        "max" => {
            problems.later(span, "`direction = \"max\"`");
            None
        }
        _ => {
            problems.add(span, format!("`{name}` is not a direction"), "expected in, out or sum");
            None
        }
    });
    let allowance = section.get("allowance").map(|value| read_allowance(value, problems));
    let tiers = match (section.get("price"), section.get("tiers")) {
        (Some(price), None) => read_price(price, problems).map(|price| vec![Tier { up_to: None, price }]),
        (None, Some(tiers)) => read_tiers(tiers, problems),
        (Some(_), Some(tiers)) => {
            problems.add(tiers.span(), "a charge has `price` or `tiers`, not both", "");
            None
        }
        (None, None) => {
            problems.add(section.span.clone(), "`price` or `tiers` is missing in [[charge]]", "");
            None
        }
    };
    let allowance = match allowance {
        Some(allowance) => Some(allowance?),
        None => None,
    };
    Some(VolumeRule { classes: chosen?, direction: direction?, allowance, tiers: tiers? })
}

fn read_class_list(
    section: &Section<'_>,
    classes: &[Option<&str>],
    problems: &mut Problems,
) -> Option<Vec<usize>> {
    section.need("class", problems)?;
    let mut chosen = Vec::new();
    let mut right = true;
    for (name, span) in section.texts("class", problems) {
        let at = classes.iter().position(|&class| class == Some(name));
        match at {
            Some(at) if chosen.contains(&at) => {
                problems.add(span, format!("class `{name}` is in the list twice"), "");
            }
            Some(at) => chosen.push(at),
            None => {
                // A class that is there but broken has its own problem; this one would only mislead.
                if !classes.contains(&None) {
                    problems.add(span, format!("there is no [[class]] `{name}`"), "");
                }
                right = false;
            }
        }
    }
    (right && !chosen.is_empty()).then_some(chosen)
}

fn read_allowance(value: &Value<'_>, problems: &mut Problems) -> Option<Decimal> {
    let section = Section::of(value, "`allowance`", problems)?;
    section.only(&["quantity", "rollover"], &["spend_order"], problems);
    only_value(&section, "rollover", "none", problems);
    let value = section.need("quantity", problems)?;
    decimal(value, "quantity", problems)
}

fn read_price(value: &Value<'_>, problems: &mut Problems) -> Option<Decimal> {
    if value.get_ref().is_table() {
        problems.later(value.span(), "a price by band");
        return None;
    }
    decimal(value, "price", problems)
}

fn read_tiers(value: &Value<'_>, problems: &mut Problems) -> Option<Vec<Tier>> {
    let section = Section::of(value, "`tiers`", problems)?;
    section.only(&["mode", "rows"], &[], problems);
    let mode = section.need_text("mode", problems).and_then(|(mode, span)| match mode {
        "graduated" | "flat" => Some(mode),
        "volume" | "package" => {
            problems.later(span, &format!("`mode = \"{mode}\"`"));
            None
        }
        _ => {
            problems.add(span, format!("`{mode}` is not a mode of tiers"), "expected graduated or flat");
            None
        }
    });
    section.need("rows", problems)?;
    let rows = section.tables("rows", "a row of `tiers`", problems);
    if rows.is_empty() {
        problems.add(section.span.clone(), "`tiers` has no rows", "");
    }
    if mode == Some("flat")
        && let Some(second) = rows.get(1)
    {
        let message = "flat is one price for all of the volume, so it has one row; see `graduated`";
        problems.add(second.span.clone(), message, "second row");
    }
    let mut tiers = Vec::new();
    let mut reached = Decimal::ZERO;
    for (at, row) in rows.iter().enumerate() {
        let tier = read_tier(row, at + 1 == rows.len(), &mut reached, problems);
        tiers.push(tier);
    }
    mode?;
    tiers.into_iter().collect::<Option<Vec<_>>>().filter(|tiers| !tiers.is_empty())
}

/// One row. `reached` is where the tier before it ends.
fn read_tier(row: &Section<'_>, last: bool, reached: &mut Decimal, problems: &mut Problems) -> Option<Tier> {
    row.only(&["up_to", "price"], &["fee", "block"], problems);
    let price = row.need("price", problems).and_then(|value| read_price(value, problems));
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
    Some(Tier { up_to, price: price? })
}

fn read_tax(section: &Section<'_>, problems: &mut Problems) -> Option<Tax> {
    section.only(&["category", "percent"], &["exemption_reason"], problems);
    let category = section.need_text("category", problems).and_then(|(category, span)| {
        let known = ["S", "Z", "E", "AE", "K", "G", "O", "L", "M"].contains(&category);
        if !known {
            let label = "expected S, Z, E, AE, K, G, O, L or M (UNCL 5305)";
            problems.add(span, format!("`{category}` is not a category of tax"), label);
        }
        known.then(|| category.to_owned())
    });
    let percent = section.need("percent", problems).and_then(|value| {
        let percent = decimal(value, "percent", problems)?;
        if percent > Decimal::ONE_HUNDRED {
            problems.add(value.span(), "`percent` is above 100", "");
            return None;
        }
        let standard = matches!(category.as_deref(), Some("S"));
        let taxed = matches!(category.as_deref(), Some("S" | "L" | "M") | None);
        if standard && percent.is_zero() {
            problems.add(value.span(), "category S (standard) needs a rate above 0; Z is the zero rate", "");
        } else if !taxed && !percent.is_zero() {
            let message =
                format!("category {} has no rate: percent must be \"0\"", category.as_deref().unwrap_or(""));
            problems.add(value.span(), message, "");
        }
        Some(percent)
    });
    Some(Tax { category: category?, percent: percent? })
}
