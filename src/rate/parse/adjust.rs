//! `[minimum]`, `[[discount]]`, `[[credit]]`, `[tax]` and `[[override]]`: what changes the sum of the charges, and for
//! whom.

use jiff::civil::Date;
use rust_decimal::Decimal;

use super::charge::{Context, amount_of, check_due, read_amount, read_charge, read_customers, read_id};
use super::read_date;
use super::section::{Problems, Section, Value, decimal};
use crate::diagnostic::line_number;
use crate::rate::saying::{Piece, Said};
use crate::rate::tariff::{ChargeRule, Credit, Discount, Minimum, Off, Override, Tax};

/// `[minimum]`.
pub(super) fn read_minimum(
    value: &Value<'_>,
    context: &Context<'_>,
    charges: &[&str],
    problems: &mut Problems,
) -> Option<Minimum> {
    let section = Section::of(value, "[minimum]", problems)?;
    section.only(&["amount", "on"], problems);
    let on = read_on(&section, charges, problems);
    let amount = read_amount(&section, context.currency, problems)?;
    let line = line_number(context.text, section.span.start);
    Some(Minimum { amount, on: on?, line })
}

/// `on`: ids of charges; empty for all.
fn read_on(section: &Section<'_>, charges: &[&str], problems: &mut Problems) -> Option<Vec<String>> {
    let mut on: Vec<String> = Vec::new();
    let before = problems.0.len();
    for (id, span) in section.texts("on", problems) {
        if !charges.contains(&id) {
            problems.add(span, format!("there is no [[charge]] `{id}`"), "");
        } else if on.iter().any(|known| known == id) {
            problems.add(span, format!("charge `{id}` is in the list twice"), "");
        }
        on.push(id.to_owned());
    }
    (problems.0.len() == before).then_some(on)
}

/// `[[discount]]`.
pub(super) fn read_discounts(
    root: &Section<'_>,
    context: &Context<'_>,
    charges: &[&str],
    ids: &mut Vec<String>,
    problems: &mut Problems,
) -> Vec<Option<Discount>> {
    let mut discounts: Vec<Option<Discount>> = Vec::new();
    for section in root.tables("discount", "[[discount]]", problems) {
        section.only(&["id", "description", "percent", "amount", "on", "customer"], problems);
        let id = read_id(&section, "discount", ids, problems);
        let off = read_off(&section, context, problems);
        let on = read_on(&section, charges, problems);
        let customers = read_customers(&section, problems);
        let line = line_number(context.text, section.span.start);
        let description = section.text("description", problems).map(|(text, _)| text.to_owned());
        let made = id.zip(off).zip(on).map(|((id, off), on)| Discount {
            said: description.is_none().then(|| Piece::said(Said::Discount, [id.clone()])),
            description: description.unwrap_or_else(|| format!("Discount {id}")),
            id,
            off,
            on,
            customers,
            line,
        });
        if let Some(made) = &made {
            check_sum(made, &discounts, charges, &section, problems);
        }
        discounts.push(made);
    }
    discounts
}

/// No charge may be discounted by more than all of it.
fn check_sum(
    new: &Discount,
    before: &[Option<Discount>],
    charges: &[&str],
    section: &Section<'_>,
    problems: &mut Problems,
) {
    let percent = |discount: &Discount, charge: &str| match discount.off {
        Off::Percent(percent) if discount.on.is_empty() || discount.on.iter().any(|id| id == charge) => {
            percent
        }
        _ => Decimal::ZERO,
    };
    for charge in charges {
        let own = percent(new, charge);
        let others: Decimal = before.iter().flatten().map(|discount| percent(discount, charge)).sum();
        if !own.is_zero() && own + others > Decimal::ONE_HUNDRED {
            let message = format!("with this, charge `{charge}` is discounted by {} %", own + others);
            problems.add(section.span.clone(), message, "more than all of it");
            return;
        }
    }
}

fn read_off(section: &Section<'_>, context: &Context<'_>, problems: &mut Problems) -> Option<Off> {
    match (section.get("percent"), section.get("amount")) {
        (Some(value), None) => {
            let percent = decimal(value, "percent", problems)?;
            if percent > Decimal::ONE_HUNDRED {
                problems.add(value.span(), "`percent` is above 100", "");
                return None;
            }
            Some(Off::Percent(percent))
        }
        (None, Some(value)) => amount_of(value, "amount", context.currency, problems).map(Off::Amount),
        (Some(_), Some(value)) => {
            problems.add(value.span(), "a discount has `percent` or `amount`, not both", "");
            None
        }
        (None, None) => {
            problems.add(section.span.clone(), "`percent` or `amount` is missing in [[discount]]", "");
            None
        }
    }
}

/// `[[credit]]`.
pub(super) fn read_credits(
    root: &Section<'_>,
    context: &Context<'_>,
    effective: Option<Date>,
    ids: &mut Vec<String>,
    problems: &mut Problems,
) -> Vec<Option<Credit>> {
    let mut credits = Vec::new();
    for section in root.tables("credit", "[[credit]]", problems) {
        section.only(&["id", "description", "amount", "date", "customer"], problems);
        let id = read_id(&section, "credit", ids, problems);
        let amount = read_amount(&section, context.currency, problems);
        let date = section.need("date", problems).and_then(|value| {
            let date = read_date(value, "date", problems)?;
            check_due(date, effective, value.span(), problems);
            Some(date)
        });
        let customers = read_customers(&section, problems);
        let line = line_number(context.text, section.span.start);
        let description = section.text("description", problems).map(|(text, _)| text.to_owned());
        credits.push(id.zip(amount).zip(date).map(|((id, amount), date)| Credit {
            said: description.is_none().then(|| Piece::said(Said::Credit, [id.clone()])),
            description: description.unwrap_or_else(|| format!("Credit {id}")),
            id,
            amount,
            date,
            customers,
            line,
        }));
    }
    credits
}

/// `[tax]`.
pub(super) fn read_tax(section: &Section<'_>, problems: &mut Problems) -> Option<Tax> {
    section.only(&["category", "percent", "exemption_reason"], problems);
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
    let exemption_reason =
        section.text("exemption_reason", problems).map(|(text, _)| text.to_owned()).unwrap_or_default();
    Some(Tax { category: category?, percent: percent?, exemption_reason })
}

/// `[[override]]`: a charge with some keys changed, or a minimum, or a tax.
pub(super) fn read_overrides(
    root: &Section<'_>,
    context: &Context<'_>,
    charges: &[(Section<'_>, Option<ChargeRule>)],
    problems: &mut Problems,
) -> Vec<Option<Override>> {
    let ids: Vec<&str> = charges.iter().flat_map(|(_, rule)| rule).map(|rule| rule.id.as_str()).collect();
    let mut overrides = Vec::new();
    for section in root.tables("override", "[[override]]", problems) {
        let customers = read_customers(&section, problems);
        section.need("customer", problems);
        if section.get("charge").is_some() {
            let charge = read_changed(&section, context, charges, problems);
            overrides.push(charge.map(|charge| Override {
                customers,
                charge: Some(charge),
                minimum: None,
                tax: None,
            }));
            continue;
        }
        section.only(&["customer", "charge", "minimum", "tax"], problems);
        if section.get("minimum").is_none() && section.get("tax").is_none() {
            let message = "an override changes a `charge`, the `minimum` or the `tax`";
            problems.add(section.span.clone(), message, "");
        }
        let minimum = section.get("minimum").map(|value| read_minimum(value, context, &ids, problems));
        let tax = section.get("tax").map(|value| {
            let section = Section::of(value, "`tax`", problems)?;
            read_tax(&section, problems)
        });
        let wrong = matches!(minimum, Some(None)) || matches!(tax, Some(None));
        overrides.push((!wrong).then(|| Override {
            customers,
            charge: None,
            minimum: minimum.flatten(),
            tax: tax.flatten(),
        }));
    }
    overrides
}

/// The charge that an override changes, as it is for its customers.
fn read_changed(
    section: &Section<'_>,
    context: &Context<'_>,
    charges: &[(Section<'_>, Option<ChargeRule>)],
    problems: &mut Problems,
) -> Option<ChargeRule> {
    let (id, span) = section.text("charge", problems)?;
    let named = |base: &Section<'_>| {
        base.get("id").and_then(|value| value.get_ref().as_str().map(|text| text == id)).unwrap_or(false)
    };
    let Some((base, _)) = charges.iter().find(|(base, _)| named(base)) else {
        problems.add(span, format!("there is no [[charge]] `{id}`"), "");
        return None;
    };
    for key in ["id", "kind"] {
        if let Some(value) = section.get(key) {
            problems.add(value.span(), format!("an override cannot change the `{key}` of a charge"), "");
            return None;
        }
    }
    read_charge(&section.over(base), Some(id.to_owned()), context, problems)
}
