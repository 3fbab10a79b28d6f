//! Late usage in an invoice run: what came for closed periods is charged with the period that was open then.

use std::collections::{BTreeMap, BTreeSet};

use super::pins::{Reader, Supposed};
use super::{billing_ledger, seams};
use crate::invoice::adjust;
use crate::invoice::kinds::LinkKinds;
use crate::invoice::pins::Pins;
use crate::invoice::run::{Inputs, Outcome, Reason, run};
use crate::ledger::Ledger;
use crate::ledger::records::books::{digest, push_usage_line};
use crate::period::{Period, Span};
use crate::rate::saying;
use crate::rate::tariff::Tariff;
use crate::rate::version;
use crate::usage::{BucketStart, Scaled, UsageRow};

/// What was not added.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// What keeps a customer from having a draft, in words.
    pub failed: Vec<String>,
    /// Late usage that nobody is charged for, since there is no price for its time, in words. It keeps nobody from having a
    /// draft; the audit counts it (`not_charged`).
    pub uncharged: Vec<String>,
}

/// A customer's late rows, with the first bucket of the period that each is carried into.
type Rows = Vec<(BucketStart, UsageRow)>;

/// Adds to the drafts of `outcome` what came late and is carried into their period, rated as the invoices that stand of
/// the former periods were (or those that are `supposed` to). What cannot be added is the result.
///
/// # Errors
/// What the ledger says.
pub fn adjust(
    ledger: &mut Ledger,
    inputs: &Inputs<'_>,
    outcome: &mut Outcome,
    supposed: &Supposed,
    span_of: impl Fn(&str, Period) -> Span,
) -> anyhow::Result<Left> {
    let mut left = Left::default();
    let mut past = Past { reader: Reader::default(), supposed, kinds: BTreeMap::new() };
    for (number, rows) in carried(ledger, inputs, &span_of)? {
        let Some(name) = inputs.names.customers.get(&number) else { continue };
        let span = span_of(name, inputs.period);
        let position = outcome.invoices.iter().position(|invoice| invoice.customer.name == *name);
        let draft = position.map(|at| outcome.invoices.remove(at));
        let of = (number, name.as_str(), span);
        match customer(ledger, inputs, of, draft, &rows, &mut past, &mut left.uncharged, &span_of)? {
            Ok(None) => {}
            Ok(Some(draft)) => {
                let at = position.unwrap_or_else(|| {
                    outcome.invoices.partition_point(|invoice| invoice.customer.name < *name)
                });
                outcome.invoices.insert(at, draft);
            }
            Err(why) => left.failed.push(format!("customer `{name}`: {why}")),
        }
    }
    Ok(left)
}

/// The late rows of those customers that have some carried into this period; those of former periods too.
fn carried(
    ledger: &mut Ledger,
    inputs: &Inputs<'_>,
    span_of: &impl Fn(&str, Period) -> Span,
) -> anyhow::Result<BTreeMap<u32, Rows>> {
    let all = (BucketStart(i64::MIN), BucketStart(i64::MAX));
    let mut wanted = BTreeSet::new();
    let mut bounds = BTreeMap::new();
    ledger.for_each_late_usage(all.0, all.1, &mut |carried, row| {
        let number = row.key.customer.0;
        let Some(name) = inputs.names.customers.get(&number) else { return };
        if number < crate::ids::CustomerId::FIRST.0 || inputs.customer.is_some_and(|only| only != name) {
            return;
        }
        let (from, to) = *bounds.entry(number).or_insert_with(|| span_of(name, inputs.period).buckets());
        if (from..to).contains(&carried) {
            wanted.insert(number);
        }
    })?;
    let mut found: BTreeMap<u32, Rows> = BTreeMap::new();
    if !wanted.is_empty() {
        ledger.for_each_late_usage(all.0, all.1, &mut |carried, row| {
            if wanted.contains(&row.key.customer.0) {
                found.entry(row.key.customer.0).or_default().push((carried, row));
            }
        })?;
    }
    Ok(found)
}

/// Late rows of the period before that came while this one was open: what they used of an allowance does not roll over.
///
/// # Errors
/// What the ledger says.
pub fn before(
    ledger: &mut Ledger,
    inputs: &Inputs<'_>,
    span_of: impl Fn(&str, Period) -> Span,
) -> anyhow::Result<Vec<UsageRow>> {
    let mut rows = Vec::new();
    let Some(preceding) = inputs.period.preceding() else { return Ok(rows) };
    if !inputs.tariffs.iter().any(Tariff::rolls_over) {
        return Ok(rows);
    }
    let mut bounds = BTreeMap::new();
    ledger.for_each_late_usage(BucketStart(i64::MIN), BucketStart(i64::MAX), &mut |carried, row| {
        let number = row.key.customer.0;
        let Some(name) = inputs.names.customers.get(&number) else { return };
        if number < crate::ids::CustomerId::FIRST.0 || inputs.customer.is_some_and(|only| only != name) {
            return;
        }
        let (first, (from, to)) = *bounds.entry(number).or_insert_with(|| {
            (span_of(name, preceding).buckets().0, span_of(name, inputs.period).buckets())
        });
        if carried < to && (first..from).contains(&row.key.bucket) {
            rows.push(row);
        }
    })?;
    Ok(rows)
}

/// What former periods keep to.
struct Past<'a> {
    reader: Reader,
    supposed: &'a Supposed,
    /// With what the interfaces of links counted then.
    kinds: BTreeMap<Period, LinkKinds>,
}

impl Past<'_> {
    /// What links are and counted in a period.
    fn kinds(
        &mut self,
        ledger: &mut Ledger,
        inputs: &Inputs<'_>,
        period: Period,
    ) -> anyhow::Result<LinkKinds> {
        if let Some(known) = self.kinds.get(&period) {
            return Ok(known.clone());
        }
        let mut kinds = inputs.kinds.clone();
        billing_ledger::count_links(ledger, &mut kinds, inputs.tariffs, period)?;
        self.kinds.insert(period, kinds.clone());
        Ok(kinds)
    }

    /// The pins of a customer's period, and of the one before where something may roll over from it.
    fn pins(
        &mut self,
        ledger: &mut Ledger,
        inputs: &Inputs<'_>,
        name: &str,
        period: Period,
    ) -> anyhow::Result<Pins> {
        let mut pins = Pins::default();
        let rolls_over = inputs.tariffs.iter().any(Tariff::rolls_over);
        for period in period.preceding().filter(|_| rolls_over).into_iter().chain([period]) {
            self.reader.of_past(ledger, (period, Some(name)), inputs.names, &mut pins)?;
            if let Some(pin) = self.supposed.get(&period) {
                pins.set(period, name, pin.clone());
            }
        }
        Ok(pins)
    }
}

/// One customer's draft with its adjustments.
#[expect(clippy::too_many_arguments, reason = "all of it is of one run")]
fn customer(
    ledger: &mut Ledger,
    inputs: &Inputs<'_>,
    (number, name, span): (u32, &str, Span),
    mut draft: Option<crate::invoice::Invoice>,
    rows: &Rows,
    past: &mut Past<'_>,
    uncharged: &mut Vec<String>,
    span_of: &impl Fn(&str, Period) -> Span,
) -> anyhow::Result<Result<Option<crate::invoice::Invoice>, String>> {
    let (from, to) = span.buckets();
    let mut periods: BTreeMap<Period, Vec<UsageRow>> = BTreeMap::new();
    let mut between: Vec<UsageRow> = Vec::new();
    for (_, row) in rows.iter().filter(|(carried, _)| (from..to).contains(carried)) {
        match period_of(row.key.bucket, |period| span_of(name, period)) {
            Some(period) => periods.entry(period).or_default().push(*row),
            None => between.push(*row),
        }
    }
    if !between.is_empty() {
        let accepted = seams::accepted(ledger, number)?;
        let is_accepted =
            |row: &UsageRow| accepted.iter().any(|(ends, begins)| (*ends..*begins).contains(&row.key.bucket));
        if let Some(row) = between.iter().find(|row| !is_accepted(row)) {
            return Ok(Err(format!(
                "late usage at {} is of no period, and nobody has accepted a seam there",
                crate::period::rfc3339(row.key.bucket.start())
            )));
        }
        let why = "it lies in a seam that was accepted, between two periods";
        uncharged.push(not_charged(name, None, &between, why));
    }
    for (period, late) in periods {
        let bounds = span_of(name, period).buckets();
        let is_of = |row: &UsageRow| (bounds.0..bounds.1).contains(&row.key.bucket);
        let before: Vec<UsageRow> =
            rows.iter().filter(|(carried, row)| *carried < from && is_of(row)).map(|(_, row)| *row).collect();
        // As when the period was rated: what had come late for the one before it took from what rolled over.
        let rolled = rows.iter().filter(|(carried, row)| *carried < bounds.1 && row.key.bucket < bounds.0);
        let before: Vec<UsageRow> = rolled.map(|(_, row)| *row).chain(before).collect();
        let both: Vec<UsageRow> = before.iter().chain(&late).copied().collect();
        let kinds = past.kinds(ledger, inputs, period)?.keeping(past.pins(ledger, inputs, name, period)?);
        let mut rated = |late: &[UsageRow]| {
            let inputs = Inputs { period, customer: Some(name), kinds: &kinds, late, ..*inputs };
            run(&inputs, |filter, each| ledger.for_each_usage(filter, each))
        };
        let (mut without, mut with) = (rated(&before)?, rated(&both)?);
        if let Some(problem) = with.problems.first().or_else(|| without.problems.first()) {
            // Had it come in time, it would be that period that could not be billed; this one is not held up by it.
            if matches!(
                problem.reason,
                Reason::NoTariff { .. } | Reason::Tariff(version::Error::TooEarly { .. })
            ) {
                uncharged.push(not_charged(name, Some(period), &late, &problem.reason.in_full()));
                continue;
            }
            return Ok(Err(format!("late usage of {period}: {}", problem.reason.in_full())));
        }
        let Some(with) = with.invoices.pop() else {
            // Who would have had no invoice in time has none late.
            uncharged.push(not_charged(name, Some(period), &late, "there would be no invoice of it"));
            continue;
        };
        let draft = draft.get_or_insert_with(|| adjust::empty(&with, inputs.period, span));
        if with.currency != draft.currency {
            return Ok(Err(format!(
                "late usage of {period} is in {}, not {}",
                with.currency, draft.currency
            )));
        }
        let mut lines = String::new();
        late.iter().for_each(|row| push_usage_line(&mut lines, row));
        let root = digest(&lines);
        let by = inputs
            .tariffs
            .iter()
            .find(|tariff| tariff.id == with.tariff.id && tariff.version == with.tariff.version)
            .map(|tariff| tariff.for_customer(name));
        let named = |charge: &str| {
            let rule = by.as_ref()?.charges.iter().find(|rule| rule.id == charge)?;
            Some(saying::named(&rule.description, rule.said.as_ref()))
        };
        if let Err(error) = adjust::apply(draft, period, without.invoices.pop().as_ref(), &with, &root, named)
        {
            return Ok(Err(format!("late usage of {period}: {error}")));
        }
    }
    Ok(Ok(draft))
}

/// Late usage that nobody is charged for, in words, with its octets as they would be billed.
fn not_charged(name: &str, period: Option<Period>, rows: &[UsageRow], why: &str) -> String {
    let mut octets = Scaled::default();
    rows.iter().for_each(|row| octets.add(row.sums.octets, row.key.rate));
    let of = period.map_or_else(String::new, |period| format!(" of {period}"));
    format!("customer `{name}`: late usage{of}, {} octets, is not charged: {why}", octets.rounded())
}

/// The period that a bucket belongs to: that of its month, or one beside it.
pub(super) fn period_of(bucket: BucketStart, span_of: impl Fn(Period) -> Span) -> Option<Period> {
    let date = jiff::Timestamp::from_second(bucket.0).ok()?;
    let date = jiff::tz::Offset::UTC.to_datetime(date).date().first_of_month();
    let months = [-1, 0, 1].map(|n| date.checked_add(jiff::Span::new().months(n)).ok());
    months.into_iter().flatten().find_map(|date| {
        let period = Period::new(date.year(), date.month())?;
        let (from, to) = span_of(period).buckets();
        (from..to).contains(&bucket).then_some(period)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::{AnchorDay, Zone};

    #[test]
    fn a_bucket_is_of_the_period_whose_local_days_have_it() {
        let zone = Zone::named("Europe/Amsterdam").expect("a zone");
        let of = |text: &str, anchor: i64| {
            let at: jiff::Timestamp = text.parse().expect("an instant");
            let anchor = AnchorDay::new(anchor).expect("a day");
            let period = period_of(BucketStart(at.as_second()), |period| period.span(&zone, anchor));
            period.map(|period| period.to_string())
        };
        // Midnight in Amsterdam is 23:00 UTC in winter.
        assert_eq!(of("2026-02-28T22:55:00Z", 1).as_deref(), Some("2026-02"));
        assert_eq!(of("2026-02-28T23:00:00Z", 1).as_deref(), Some("2026-03"));
        assert_eq!(of("2026-03-30T12:00:00Z", 31).as_deref(), Some("2026-02"));
        assert_eq!(of("2026-03-31T12:00:00Z", 31).as_deref(), Some("2026-03"));
    }
}
