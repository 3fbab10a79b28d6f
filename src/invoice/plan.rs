//! What an invoice run has to read and rate for each customer: its parts of the period, and where an allowance rolls
//! over, those of the period before.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::PartRef;
use super::assign::Assigned;
use super::collect::Slot;
use super::kinds::LinkKinds;
use super::pins::{self, Pin};
use super::run::Inputs;
use crate::classify::rules::{CustomerRule, Validity};
use crate::ids::CustomerId;
use crate::period::{AnchorDay, Period, Span, Zone, rfc3339, utc_date};
use crate::rate::tariff::{Tariff, Unit};
use crate::rate::usage::PeriodUsage;
use crate::rate::version::{self, Days};
use crate::rate::{Part, Presence, Term};
use crate::units::UnixMillis;
use crate::usage::BucketStart;

/// What is planned for a customer.
pub(super) struct Planned<'a> {
    /// Its number, if it ever had usage.
    pub(super) id: Option<CustomerId>,
    /// `None`: the configuration does not know it.
    pub(super) rule: Option<&'a CustomerRule>,
    /// Whether its tariff is to be had; `None`: it has none.
    pub(super) tariff: Option<Result<(), version::Error>>,
    /// True where it was a customer at any time of the period.
    pub(super) is_present: bool,
    /// What is rated.
    parts: Vec<PlannedPart<'a>>,
    /// What may leave something of allowances.
    pub(super) before: Vec<PlannedPart<'a>>,
    /// What is counted where nothing is rated.
    otherwise: Span,
}

/// A part: the tariff as it is for the customer, and the time.
pub(super) struct PlannedPart<'a> {
    tariff: Cow<'a, Tariff>,
    term: Term,
    bands: Arc<[u8]>,
}

impl Planned<'_> {
    /// What is to be collected: first the parts of the period before, then those of the period.
    pub(super) fn slots(&self) -> Vec<Slot<'_>> {
        let mut slots = Vec::new();
        for (parts, is_before) in [(&self.before, true), (&self.parts, false)] {
            for part in parts {
                let (from, to) = part.term.span.buckets();
                let (bands, tariff) = (Arc::clone(&part.bands), Some(part.tariff.as_ref()));
                slots.push(Slot { from, to, bands, tariff, is_before });
            }
        }
        if self.parts.is_empty() {
            let (from, to) = self.otherwise.buckets();
            slots.push(Slot { from, to, bands: Arc::default(), tariff: None, is_before: false });
        }
        slots
    }

    /// The units of the last part of the period before, and of the first of the period.
    pub(super) fn units(&self) -> Option<(Unit, Unit)> {
        Some((self.before.last()?.tariff.unit, self.parts.first()?.tariff.unit))
    }

    /// The parts of the period, with what was used in them.
    pub(super) fn rated_parts<'p>(&'p self, usage: &'p [PeriodUsage]) -> Vec<Part<'p>> {
        with_usage(&self.parts, usage)
    }

    /// The parts of the period before, with what was used in them.
    pub(super) fn before_parts<'p>(&'p self, usage: &'p [PeriodUsage]) -> Vec<Part<'p>> {
        with_usage(&self.before, usage)
    }
}

fn with_usage<'p>(parts: &'p [PlannedPart<'_>], usage: &'p [PeriodUsage]) -> Vec<Part<'p>> {
    let part = |(part, usage): (&'p PlannedPart<'_>, &'p PeriodUsage)| Part {
        tariff: part.tariff.as_ref(),
        usage,
        term: part.term,
    };
    parts.iter().zip(usage).map(part).collect()
}

/// Bands of buckets, by tariff version and first and last bucket: worked out once for all customers.
type Bands = HashMap<(String, BucketStart, BucketStart), Arc<[u8]>>;

/// The customers of the configuration, and those that only the ledger knows, by name.
pub(super) fn plan<'a>(inputs: &Inputs<'a>) -> BTreeMap<&'a str, Planned<'a>> {
    let utc = Zone::named("UTC").expect("UTC is in every database");
    // Usage that belongs to no tariff is looked for in the UTC month.
    let month = inputs.period.span(&utc, AnchorDay::FIRST);
    let wanted = |name: &str| inputs.customer.is_none_or(|only| only == name);
    let ids: BTreeMap<&str, CustomerId> =
        inputs.names.customers.iter().map(|(&id, name)| (name.as_str(), CustomerId(id))).collect();
    let mut bands = Bands::new();
    let mut plan = BTreeMap::new();
    for rule in inputs.network.customers.iter().filter(|rule| wanted(&rule.name)) {
        let id = ids.get(rule.name.as_str()).copied();
        plan.insert(rule.name.as_str(), planned(inputs, (id, rule), month, &mut bands));
    }
    let known: HashSet<&str> = inputs.network.customers.iter().map(|rule| rule.name.as_str()).collect();
    for (&name, &id) in
        ids.iter().filter(|&(name, id)| wanted(name) && !known.contains(name) && *id >= CustomerId::FIRST)
    {
        let unknown = Planned {
            id: Some(id),
            rule: None,
            tariff: None,
            is_present: false,
            parts: Vec::new(),
            before: Vec::new(),
            otherwise: month,
        };
        plan.insert(name, unknown);
    }
    plan
}

fn planned<'a>(
    inputs: &Inputs<'a>,
    (id, rule): (Option<CustomerId>, &'a CustomerRule),
    month: Span,
    bands: &mut Bands,
) -> Planned<'a> {
    let mut planned = Planned {
        id,
        rule: Some(rule),
        tariff: None,
        is_present: overlaps(rule.validity, &month),
        parts: Vec::new(),
        before: Vec::new(),
        otherwise: month,
    };
    // The period ends where that of its tariff does; which tariff it has hangs on that only by hours.
    let assigned = assigned_in(inputs, &rule.name, inputs.period, month);
    let is_billed = matches!(inputs.kinds.pins().get(inputs.period, &rule.name), Some(Pin::Billed(_)));
    if assigned.is_empty() && !is_billed {
        return planned;
    }
    match parts_of(inputs, rule, assigned, inputs.period, bands) {
        Err(error) => planned.tariff = Some(Err(error)),
        Ok(parts) => {
            planned.is_present = parts.iter().any(|part| part.term.is_present());
            let rolls_over = parts.iter().any(|part| part.tariff.rolls_over());
            planned.parts = parts;
            planned.tariff = Some(Ok(()));
            if let Some(before) = inputs.period.preceding().filter(|_| rolls_over) {
                let span =
                    before.span(&Zone::named("UTC").expect("UTC is in every database"), AnchorDay::FIRST);
                let assigned = assigned_in(inputs, &rule.name, before, span);
                // Before its tariff began, nothing can be left of it.
                planned.before = parts_of(inputs, rule, assigned, before, bands).unwrap_or_default();
                // What is left of another tariff's allowance is not this one's.
                let own = planned.parts.first().map(|part| part.tariff.id.clone());
                planned.before.retain(|part| Some(&part.tariff.id) == own.as_ref());
            }
        }
    }
    planned
}

/// The tariffs that a customer has for a period: by the configuration versions in force before the period ends.
fn assigned_in<'a>(inputs: &Inputs<'a>, customer: &str, period: Period, month: Span) -> &'a [Assigned] {
    assigned(inputs.kinds, inputs.tariffs, customer, period, month)
}

fn assigned<'a>(
    kinds: &'a LinkKinds,
    tariffs: &[Tariff],
    customer: &str,
    period: Period,
    month: Span,
) -> &'a [Assigned] {
    let assignments = kinds.assignments();
    let first = assignments.of(customer, month.to);
    let ends = first.iter().filter_map(|one| {
        let any = tariffs.iter().find(|tariff| tariff.id == one.tariff)?;
        Some(any.span(period).to)
    });
    ends.max().map_or(first, |end| assignments.of(customer, end))
}

/// What a period covers for a customer, whole, and the tariff version that holds on its last day; the month in UTC where
/// the customer has no tariff.
#[must_use]
pub fn covered<'a>(
    kinds: &LinkKinds,
    tariffs: &'a [Tariff],
    customer: &str,
    period: Period,
) -> (Span, Option<&'a Tariff>) {
    let Some((span, _, last)) = whole(kinds, tariffs, customer, period) else {
        return (period.span(&Zone::named("UTC").expect("UTC is in every database"), AnchorDay::FIRST), None);
    };
    let day = span.end_day.yesterday().unwrap_or(span.end_day);
    (span, version::on_day(tariffs, &last.tariff, day))
}

/// What a period covers, and the first and the last tariff in it; `None` where the customer has none.
fn whole<'k>(
    kinds: &'k LinkKinds,
    tariffs: &[Tariff],
    customer: &str,
    period: Period,
) -> Option<(Span, &'k Assigned, &'k Assigned)> {
    let month = period.span(&Zone::named("UTC").expect("UTC is in every database"), AnchorDay::FIRST);
    let mut whole: Option<(Span, &Assigned, &Assigned)> = None;
    for (at, one) in assigned(kinds, tariffs, customer, period, month).iter().enumerate() {
        let Some(any) = tariffs.iter().find(|tariff| tariff.id == one.tariff) else { continue };
        let mut span = any.span(period);
        if one.days.from.is_some_and(|day| day >= span.end_day)
            || one.days.to.is_some_and(|day| day <= span.first_day)
        {
            continue;
        }
        // What is beyond its days belongs to the tariff beside it, if there is one: in a period of that one.
        if let Some(day) = one.days.from.filter(|day| at > 0 && *day > span.first_day) {
            (span.first_day, span.from) = (day, any.zone.start_of(day));
        }
        if let Some(day) = one.days.to.filter(|day| *day < span.end_day) {
            (span.end_day, span.to) = (day, any.zone.start_of(day));
        }
        whole = Some(match whole {
            None => (span, one, one),
            Some((before, first, _)) => (Span { end_day: span.end_day, to: span.to, ..before }, first, one),
        });
    }
    whole
}

/// A customer's period that does not begin where the one before it ends, because its tariff became one of another time
/// zone or anchor day.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "by tariff `{before}` the period before ends at {}, and by `{after}` this one begins at {}: what lies between would be \
     billed {}; before this period ends, let `tariff` be `{before}` again and give the change a date in `tariffs`, on a day \
     on which periods of both begin, between tariffs of one time zone; or let it be so with `fluxoscope period accept-seam`",
    rfc3339(.ends.start()), rfc3339(.begins.start()), times(.ends, .begins)
)]
pub struct Seam {
    /// The tariff that the period before ends with.
    pub before: String,
    /// The tariff that the period begins with.
    pub after: String,
    /// The first bucket after the period before.
    pub ends: BucketStart,
    /// The first bucket of the period.
    pub begins: BucketStart,
    /// The local days follow each other, and only the zones do not: what is charged by the day is charged once.
    pub is_of_hours: bool,
}

/// How often what lies between is billed.
fn times(ends: &BucketStart, begins: &BucketStart) -> &'static str {
    if ends < begins { "never" } else { "twice" }
}

/// Where a customer's period does not begin at the end of the one before: as that one was sealed (`sealed`: the first
/// bucket after it), or as it stands by the tariffs of its time. A customer that had no tariff then has no seam.
#[must_use]
pub fn seam(
    kinds: &LinkKinds,
    tariffs: &[Tariff],
    customer: &str,
    period: Period,
    sealed: Option<BucketStart>,
) -> Option<Seam> {
    let (own, after, _) = whole(kinds, tariffs, customer, period)?;
    let (past, _, before) = whole(kinds, tariffs, customer, period.preceding()?)?;
    let (begins, stands) = (own.buckets().0, past.buckets().1);
    let ends = sealed.unwrap_or(stands);
    let is_of_hours = ends == stands && past.end_day == own.first_day;
    let (before, after) = (before.tariff.clone(), after.tariff.clone());
    (ends != begins).then_some(Seam { before, after, ends, begins, is_of_hours })
}

fn parts_of<'a>(
    inputs: &Inputs<'a>,
    rule: &CustomerRule,
    assigned: &[Assigned],
    period: Period,
    bands: &mut Bands,
) -> Result<Vec<PlannedPart<'a>>, version::Error> {
    let pin = inputs.kinds.pins().get(period, &rule.name);
    if let Some(Pin::Billed(billed)) = pin {
        return billed_parts(inputs, rule, billed, period, bands);
    }
    let may = |tariff: &Tariff| pin.is_none_or(|pin| pin.allows(tariff));
    let needed_from = rule.validity.from.map(day_of);
    let mut parts: Vec<PlannedPart<'a>> = Vec::new();
    for one in assigned {
        // Days outside a customer's own are nobody's; usage at their edges still has the tariff beside.
        let days = Days { from: one.days.from, to: one.days.to };
        for (tariff, span) in
            version::parts_among(inputs.tariffs, &one.tariff, period, days, needed_from, may)?
        {
            if let Some(last) = parts.last() {
                follows(last, tariff, span)?;
            }
            parts.push(part_of(tariff, rule, (period, span, parts.len()), bands));
        }
    }
    Ok(parts)
}

/// The parts that an invoice names, each by its own version.
fn billed_parts<'a>(
    inputs: &Inputs<'a>,
    rule: &CustomerRule,
    billed: &[PartRef],
    period: Period,
    bands: &mut Bands,
) -> Result<Vec<PlannedPart<'a>>, version::Error> {
    let part = |(number, part): (usize, &PartRef)| {
        let tariff = inputs.tariffs.iter().find(|tariff| pins::names(part, tariff));
        let tariff = tariff.ok_or_else(|| version::Error::Unknown(part.tariff.id.clone()))?;
        Ok(part_of(tariff, rule, (period, part.span, number), bands))
    };
    billed.iter().enumerate().map(part).collect()
}

fn part_of<'a>(
    tariff: &'a Tariff,
    rule: &CustomerRule,
    (period, span, number): (Period, Span, usize),
    bands: &mut Bands,
) -> PlannedPart<'a> {
    let (from, to) = span.buckets();
    let key = (tariff.sha256.clone(), from, to);
    let known = bands.entry(key).or_insert_with(|| tariff.bands.of_buckets(&tariff.zone, from, to).into());
    let presence = Presence::of_dates(rule.validity.from, rule.validity.to, &tariff.zone);
    let term = Term { span, period: tariff.span(period), number, presence };
    PlannedPart { tariff: tariff.for_customer(&rule.name), term, bands: Arc::clone(known) }
}

/// A part must begin where the one before it ends.
fn follows(last: &PlannedPart<'_>, tariff: &Tariff, span: Span) -> Result<(), version::Error> {
    if last.term.span.to == span.from {
        return Ok(());
    }
    let (before, after) = (last.tariff.id.clone(), tariff.id.clone());
    Err(if last.tariff.zone == tariff.zone {
        version::Error::Anchors { before, after, on: span.first_day }
    } else {
        version::Error::Zones { before, after }
    })
}

/// The day of a date of the configuration (a midnight in UTC), or of any other instant, in UTC.
fn day_of(instant: UnixMillis) -> jiff::civil::Date {
    utc_date(instant)
        .unwrap_or_else(|| Zone::named("UTC").expect("UTC is in every database").local(instant).date())
}

/// True where a customer is one at any time of the span; its dates are days of the span's zone.
fn overlaps(validity: Validity, span: &Span) -> bool {
    let begins = validity.from.is_none_or(|from| match utc_date(from) {
        Some(day) => day < span.end_day,
        None => from < span.to,
    });
    let ends_later = validity.to.is_none_or(|to| match utc_date(to) {
        Some(day) => day > span.first_day,
        None => to > span.from,
    });
    begins && ends_later
}

#[cfg(test)]
mod tests;
