//! `[[charge]]`, and `[[override]]` of a charge: what is charged.

use core::ops::Range;

use jiff::civil::Date;
use rust_decimal::Decimal;

use super::section::{Problems, Section, Value, decimal, one_of};
use super::{is_empty_list, percentile, read_date, volume, word};
use crate::diagnostic::line_number;
use crate::money::{Currency, Money};
use crate::rate::MINIMUM;
use crate::rate::class::Class;
use crate::rate::saying::{Piece, Said, english};
use crate::rate::tariff::{
    ChargeDirection, ChargeKind, ChargeRule, PercentileRule, Proration, VolumeRule, When,
};

/// What reading a charge needs of the rest of the file.
pub(super) struct Context<'a> {
    /// The tariff's currency, where it was right.
    pub(super) currency: Option<Currency>,
    /// The classes; `None` for those that are wrong.
    pub(super) classes: &'a [Option<Class>],
    /// Names of the bands; `None` for those that are wrong.
    pub(super) bands: &'a [Option<String>],
    /// True where the tariff has bands.
    pub(super) has_bands: bool,
    /// The file.
    pub(super) text: &'a str,
}

/// All charges, with their sections, for overrides.
pub(super) fn read_charges<'a>(
    root: &Section<'a>,
    context: &Context<'_>,
    ids: &mut Vec<String>,
    problems: &mut Problems,
) -> Vec<(Section<'a>, Option<ChargeRule>)> {
    let sections = root.tables("charge", "[[charge]]", problems);
    if root.get("charge").is_none_or(is_empty_list) {
        problems.add(0..0, "there is no [[charge]]: nothing would ever be billed", "");
    }
    let mut charges = Vec::new();
    for section in sections {
        let id = read_id(&section, "charge", ids, problems);
        let rule = read_charge(&section, id, context, problems);
        charges.push((section, rule));
    }
    charges
}

/// The id of a charge, discount or credit; no two of a tariff may have the same.
pub(super) fn read_id(
    section: &Section<'_>,
    what: &str,
    ids: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<String> {
    let (id, span) = section.need_text("id", problems)?;
    if ids.iter().any(|known| known == id) {
        problems.add(span.clone(), format!("{what} `{id}` is there twice"), "");
    } else if id == MINIMUM {
        problems.add(span.clone(), format!("`{id}` is the id of the line that [minimum] makes"), "");
    }
    ids.push(id.to_owned());
    word((id, span), "id", problems)
}

/// One charge.
pub(super) fn read_charge(
    section: &Section<'_>,
    id: Option<String>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<ChargeRule> {
    let kind = read_kind(section, context, problems);
    let customers = read_customers(section, problems);
    let own = section.text("description", problems).map(|(text, _)| text.to_owned());
    let said = match &kind {
        _ if own.is_some() => None,
        Some(ChargeKind::Volume(rule)) => Some(describe_volume(rule, context)),
        Some(ChargeKind::Percentile(rule)) => Some(describe_percentile(rule, context)),
        _ => None,
    };
    let english = || said.as_ref().map(|said| english(core::slice::from_ref(said)));
    let description = own.or_else(english).or_else(|| id.clone());
    let line = line_number(context.text, section.span.start);
    Some(ChargeRule { id: id?, description: description?, said, customers, kind: kind?, line })
}

/// Patterns of customers' names; empty where there is no such key.
pub(super) fn read_customers(section: &Section<'_>, problems: &mut Problems) -> Vec<String> {
    section.texts("customer", problems).into_iter().map(|(name, _)| name.to_owned()).collect()
}

fn class_names(chosen: &[usize], context: &Context<'_>) -> String {
    let names: Vec<&str> =
        chosen.iter().filter_map(|&at| Some(context.classes.get(at)?.as_ref()?.name.as_str())).collect();
    names.join(", ")
}

/// The description of a volume charge that has none of its own.
fn describe_volume(rule: &VolumeRule, context: &Context<'_>) -> Piece {
    let said = match rule.direction {
        ChargeDirection::In => Said::TrafficIn,
        ChargeDirection::Out => Said::TrafficOut,
        ChargeDirection::Sum => Said::TrafficSum,
        ChargeDirection::Max => Said::TrafficMax,
    };
    Piece::said(said, [class_names(&rule.classes, context)])
}

/// The description of a percentile charge that has none of its own.
fn describe_percentile(rule: &PercentileRule, context: &Context<'_>) -> Piece {
    let classes = class_names(&rule.classes, context);
    Piece::said(Said::Percentile, [rule.percent.to_string(), rule.combine.as_str().to_owned(), classes])
}

fn read_kind(section: &Section<'_>, context: &Context<'_>, problems: &mut Problems) -> Option<ChargeKind> {
    let (kind, span) = section.need_text("kind", problems)?;
    match kind {
        "volume" => {
            section.only(&volume::KEYS, problems);
            volume::read_volume(section, context, problems).map(ChargeKind::Volume)
        }
        "percentile" => {
            section.only(&percentile::KEYS, problems);
            percentile::read_percentile(section, context, problems).map(ChargeKind::Percentile)
        }
        "recurring" => {
            let known = ["id", "kind", "description", "customer", "amount", "quantity", "proration"];
            section.only(&known, problems);
            let amount = read_amount(section, context.currency, problems);
            let quantity = read_quantity(section, problems);
            let proration = match section.get("proration") {
                Some(_) => Some(read_proration(section, problems)?),
                None => None,
            };
            Some(ChargeKind::Recurring { amount: amount?, quantity: quantity?, proration })
        }
        "one-off" => {
            section.only(
                &["id", "kind", "description", "customer", "amount", "quantity", "date", "at"],
                problems,
            );
            let amount = read_amount(section, context.currency, problems);
            let quantity = read_quantity(section, problems);
            let when = read_when(section, problems);
            Some(ChargeKind::OneOff { amount: amount?, quantity: quantity?, when: when? })
        }
        _ => {
            let label = "expected volume, percentile, recurring or one-off";
            problems.add(span, format!("`{kind}` is not a kind of charge"), label);
            None
        }
    }
}

/// `proration`, in a charge or in `[period]`.
pub(super) fn read_proration(section: &Section<'_>, problems: &mut Problems) -> Option<Proration> {
    let found = section.text("proration", problems)?;
    one_of(
        found,
        "a proration",
        &[Proration::None, Proration::Seconds],
        |one| if one == Proration::None { "none" } else { "seconds" },
        problems,
    )
}

fn read_when(section: &Section<'_>, problems: &mut Problems) -> Option<When> {
    match (section.get("date"), section.text("at", problems)) {
        (Some(value), None) => read_date(value, "date", problems).map(When::On),
        (None, Some(("start", _))) => Some(When::Start),
        (None, Some((_, span))) => {
            problems.add(span, "`at` is \"start\": the day on which the customer begins to be one", "");
            None
        }
        (Some(value), Some(_)) => {
            problems.add(value.span(), "a one-off charge has `date` or `at`, not both", "");
            None
        }
        (None, None) => {
            if section.get("at").is_none() {
                let message = "`date`, or `at = \"start\"`, is missing in [[charge]]";
                problems.add(section.span.clone(), message, "when is it due?");
            }
            None
        }
    }
}

fn read_quantity(section: &Section<'_>, problems: &mut Problems) -> Option<Decimal> {
    match section.get("quantity") {
        None => Some(Decimal::ONE),
        Some(value) => decimal(value, "quantity", problems),
    }
}

/// The `amount` of a section, in the tariff's currency.
pub(super) fn read_amount(
    section: &Section<'_>,
    currency: Option<Currency>,
    problems: &mut Problems,
) -> Option<Money> {
    let value = section.need("amount", problems)?;
    amount_of(value, "amount", currency, problems)
}

/// An amount of money.
pub(super) fn amount_of(
    value: &Value<'_>,
    key: &str,
    currency: Option<Currency>,
    problems: &mut Problems,
) -> Option<Money> {
    decimal(value, key, problems)?;
    let money = Money::parse(value.get_ref().as_str()?, currency?);
    money.map_err(|error| problems.add(value.span(), format!("`{key}`: {error}"), "")).ok()
}

/// A local date that a charge or credit is due on, which must not be before the tariff begins.
pub(super) fn check_due(date: Date, effective: Option<Date>, span: Range<usize>, problems: &mut Problems) {
    if let Some(effective) = effective.filter(|effective| date < *effective) {
        let message =
            format!("{date} is before the tariff begins ({effective}), so that it would never be due");
        problems.add(span, message, "");
    }
}

/// `class`: positions of the classes.
pub(super) fn read_class_list(
    section: &Section<'_>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<Vec<usize>> {
    section.need("class", problems)?;
    let mut chosen = Vec::new();
    let mut right = true;
    for (name, span) in section.texts("class", problems) {
        let at =
            context.classes.iter().position(|class| class.as_ref().is_some_and(|class| class.name == name));
        match at {
            Some(at) if chosen.contains(&at) => {
                problems.add(span, format!("class `{name}` is in the list twice"), "");
            }
            Some(at) => chosen.push(at),
            None => {
                // A class that is there but broken has its own problem; this one would only mislead.
                if context.classes.iter().all(Option::is_some) {
                    problems.add(span, format!("there is no [[class]] `{name}`"), "");
                }
                right = false;
            }
        }
    }
    (right && !chosen.is_empty()).then_some(chosen)
}

/// `band`: positions of the bands; empty for all of them.
pub(super) fn read_band_list(
    section: &Section<'_>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<Vec<usize>> {
    if section.get("band").is_none() {
        return Some(Vec::new());
    }
    let mut chosen = Vec::new();
    for (name, span) in section.texts("band", problems) {
        match context.bands.iter().position(|band| band.as_deref() == Some(name)) {
            Some(at) if context.has_bands && !chosen.contains(&at) => chosen.push(at),
            Some(_) if context.has_bands => {
                problems.add(span, format!("band `{name}` is in the list twice"), "");
            }
            _ => {
                if context.bands.iter().all(Option::is_some) {
                    problems.add(span, format!("there is no [[band]] `{name}`"), "");
                }
                return None;
            }
        }
    }
    (!chosen.is_empty()).then_some(chosen)
}
