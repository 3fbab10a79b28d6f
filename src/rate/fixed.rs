//! What is charged regardless of usage, and what changes the sum: recurring and one-off charges, discounts, the
//! minimum, credits; in this order after the charges.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::line::{Charge, LineKind};
use super::saying::{COMMA, Piece, Said, named};
use super::tariff::{ChargeRule, Minimum, Off, Proration, When};
use super::working::{How, Working};
use super::{Error, MINIMUM, Part};
use crate::money::{Exact, Money};

/// The line of a recurring charge; none where the customer was not one.
pub(super) fn recurring(
    part: &Part<'_>,
    rule: &ChargeRule,
    (quantity, amount): (Decimal, Money),
    proration: Option<Proration>,
) -> Result<Option<Charge>, Error> {
    let share = part.term.share(proration.unwrap_or(part.tariff.proration));
    if !share.is_positive() {
        return Ok(None);
    }
    let mut working = Working::default();
    let quantity = part.term.shared(&mut working, "quantity", Exact::from(quantity), &share, "period");
    let mut line = Charge::of_amount(part, LineKind::Recurring, &rule.id, (quantity, amount))?;
    line.working = working;
    line.says(vec![Piece::Own(rule.description.clone())]);
    line.clause = rule.line;
    Ok(Some(line))
}

/// The line of a one-off charge; none where its day is not in the part, or the customer was not one on it.
pub(super) fn one_off(
    part: &Part<'_>,
    rule: &ChargeRule,
    (quantity, amount): (Decimal, Money),
    when: When,
) -> Result<Option<Charge>, Error> {
    let is_due = match when {
        When::On(day) => part.term.has_day(day, &part.tariff.zone),
        When::Start => part.term.has_start(),
    };
    if !is_due {
        return Ok(None);
    }
    let mut line = Charge::of_amount(part, LineKind::OneOff, &rule.id, (Exact::from(quantity), amount))?;
    line.says(vec![Piece::Own(rule.description.clone())]);
    line.unit = "piece".to_owned();
    line.clause = rule.line;
    Ok(Some(line))
}

/// Adds discounts, the minimum and credits to the lines of a part's charges.
pub(super) fn finish(part: &Part<'_>, charges: &mut Vec<Charge>) -> Result<(), Error> {
    let undiscounted = charges.clone();
    let mut left = Left::of(&undiscounted);
    for discount in &part.tariff.discounts {
        let wrong = |source| Error::amount(part.tariff, &discount.id, source);
        let mut working = Working::default();
        let mut said = vec![named(&discount.description, discount.said.as_ref())];
        let amount = match discount.off {
            Off::Percent(percent) => {
                let sum = sum_of(part, &undiscounted, &discount.on, (&discount.id, &mut working))?;
                let factors = vec![sum.exact(), Exact::from(percent).over(100)];
                let exact = working.step(format!("{percent} % of it"), How::Times(factors), "");
                let amount = Money::round(&exact, sum.currency()).map_err(wrong)?;
                working.money("discount", exact, amount);
                said.push(Piece::Own(COMMA.to_owned()));
                let with = [percent.to_string(), sum.to_string(), sum.currency().to_string()];
                said.push(Piece::said(Said::PercentOf, with));
                amount
            }
            Off::Amount(amount) => {
                let share = part.term.share(part.tariff.proration);
                prorated(part, &mut working, "discount", (amount, &share)).map_err(wrong)?
            }
        };
        let taken = left.take(amount, &discount.on);
        if taken.minor() < amount.minor() {
            let least = How::Least(amount.exact(), taken.exact());
            working.step("as far as the charges go", least, taken.currency().code());
            said.extend([Piece::Own(COMMA.to_owned()), Piece::said(Said::AsFarAsItGoes, [])]);
        }
        if taken.minor() > 0 {
            let mut line = taken_off(part, LineKind::Discount, &discount.id, (taken, said, discount.line))?;
            line.working = working;
            charges.push(line);
        }
    }
    if let Some(minimum) = &part.tariff.minimum
        && let Some(line) = up_to_minimum(part, charges, minimum)?
    {
        charges.push(line);
    }
    for credit in
        part.tariff.credits.iter().filter(|credit| part.term.has_day(credit.date, &part.tariff.zone))
    {
        let of = (credit.amount, vec![named(&credit.description, credit.said.as_ref())], credit.line);
        charges.push(taken_off(part, LineKind::Credit, &credit.id, of)?);
    }
    Ok(())
}

/// What the discounts so far have left of each charge, in minor units.
struct Left(BTreeMap<String, i128>);

impl Left {
    fn of(charges: &[Charge]) -> Self {
        let mut left = BTreeMap::new();
        for line in charges {
            *left.entry(line.charge.clone()).or_default() += i128::from(line.amount.minor());
        }
        left.retain(|_, minor| *minor > 0);
        Self(left)
    }

    /// Takes an amount off these charges (all where none is named), or what is left of them if that is less; of each as
    /// much as it has in what is left of all of them. How much was taken.
    fn take(&mut self, amount: Money, on: &[String]) -> Money {
        let is_chosen = |id: &String| on.is_empty() || on.contains(id);
        let mut whole: i128 = self.0.iter().filter(|(id, _)| is_chosen(id)).map(|(_, minor)| minor).sum();
        let taken = i128::from(amount.minor()).clamp(0, whole);
        // What is to be taken is never more than what is left of the charges that are still to come.
        let mut rest = taken;
        for (_, minor) in self.0.iter_mut().filter(|(id, minor)| is_chosen(id) && **minor > 0) {
            let own = rest * *minor / whole;
            whole -= *minor;
            *minor -= own;
            rest -= own;
        }
        Money::new(i64::try_from(taken).unwrap_or(i64::MAX), amount.currency())
    }
}

/// A line of minus one amount.
fn taken_off(
    part: &Part<'_>,
    kind: LineKind,
    id: &str,
    (amount, said, clause): (Money, Vec<Piece>, usize),
) -> Result<Charge, Error> {
    let mut line = Charge::of_amount(part, kind, id, (Exact::whole(-1), amount))?;
    line.says(said);
    line.unit = "piece".to_owned();
    line.clause = clause;
    Ok(line)
}

fn up_to_minimum(part: &Part<'_>, charges: &[Charge], minimum: &Minimum) -> Result<Option<Charge>, Error> {
    let wrong = |source| Error::amount(part.tariff, MINIMUM, source);
    let mut working = Working::default();
    let share = part.term.share(part.tariff.proration);
    let least = prorated(part, &mut working, "minimum", (minimum.amount, &share)).map_err(wrong)?;
    let sum = sum_of(part, charges, &minimum.on, (MINIMUM, &mut working))?;
    let missing = least.checked_sub(sum).map_err(wrong)?;
    if missing.minor() <= 0 {
        return Ok(None);
    }
    let unit = missing.currency().code();
    working.step("missing to the minimum", How::Minus(least.exact(), sum.exact()), unit);
    let mut line = Charge::of_amount(part, LineKind::Minimum, MINIMUM, (Exact::whole(1), missing))?;
    line.says(vec![Piece::money(Said::Minimum, least)]);
    line.clause = minimum.line;
    line.working = working;
    Ok(Some(line))
}

/// An amount of a period as it is for the part, rounded.
fn prorated(
    part: &Part<'_>,
    working: &mut Working,
    what: &'static str,
    (amount, share): (Money, &Exact),
) -> Result<Money, crate::money::Error> {
    let unit = amount.currency().code();
    let exact = part.term.shared(working, what, amount.exact(), share, unit);
    let rounded = Money::round(&exact, amount.currency())?;
    if rounded.exact() != exact {
        working.money(what, exact, rounded);
    }
    Ok(rounded)
}

/// The sum of the lines of these charges; of all where none is named.
fn sum_of(
    part: &Part<'_>,
    charges: &[Charge],
    on: &[String],
    (id, working): (&str, &mut Working),
) -> Result<Money, Error> {
    let chosen = || charges.iter().filter(|line| on.is_empty() || on.contains(&line.charge));
    let what = if on.is_empty() { "all lines".to_owned() } else { format!("lines of {}", on.join(", ")) };
    let parts = chosen().map(|line| line.amount.exact()).collect();
    working.step(what, How::Sum(parts), part.tariff.currency.code());
    Money::sum(part.tariff.currency, chosen().map(|line| line.amount))
        .map_err(|source| Error::amount(part.tariff, id, source))
}
