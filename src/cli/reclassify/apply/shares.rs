//! What a correction means where totals of links are shared out: the shares of those whose own usage is what it was may move
//! with it, and usage that came late has no part in a total, so that where both meet nothing is corrected.

use std::collections::{BTreeMap, BTreeSet};

use super::{Carried, Concerned, Late};
use crate::cli::{Failure, invoice as documents};
use crate::flow::Direction;
use crate::ids::{ClassId, CustomerId, LinkId};
use crate::invoice::State;
use crate::ledger::Ledger;
use crate::ledger::records::corrections::{Change, Difference};
use crate::ledger::records::{NameKind, StoredInvoice};
use crate::period::{Period, rfc3339};
use crate::rate::calibrate::Totals;
use crate::reconcile::calibration::Place;
use crate::reconcile::{self, calibration};
use crate::usage::{BucketStart, UsageKey};

/// Who has standing invoices with shares of the totals of links in buckets from the first to the last that something was
/// corrected in: their shares may have moved with it, though their own usage is what it was.
pub(super) fn beside(
    ledger: &mut Ledger,
    (first, last): (BucketStart, BucketStart),
) -> Result<Vec<Concerned>, Failure> {
    let credits: BTreeSet<String> =
        ledger.issues()?.into_iter().filter(|issue| issue.is_credit).map(|issue| issue.number).collect();
    let is_standing =
        |stored: &StoredInvoice| stored.state == State::Final.as_str() && !credits.contains(&stored.number);
    let mut found: BTreeMap<String, Concerned> = BTreeMap::new();
    for period in months(first, last) {
        for stored in ledger.invoices(Some(&period.to_string()), None)?.iter().filter(|one| is_standing(one))
        {
            let invoice = documents::open(stored)?;
            let (begins, ends) = invoice.span.buckets();
            let has_shares = invoice.lines.iter().any(|line| line.detail.calibration.is_some());
            if has_shares && begins <= last && first < ends {
                let name = &invoice.customer.name;
                let plain = || Concerned {
                    keeps_price: true,
                    is_beside: true,
                    ..Concerned::plain(name, (period, period))
                };
                found.entry(name.clone()).or_insert_with(plain).last = period;
            }
        }
    }
    for own in found.values_mut() {
        // Their late usage of these periods, where it was charged later.
        for stored in ledger.invoices(None, Some(&own.customer))?.iter().filter(|one| is_standing(one)) {
            let invoice = documents::open(stored)?;
            if invoice.issuance.adjustments.iter().any(|late| (own.first..=own.last).contains(&late.period)) {
                own.carried.insert(invoice.period);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The months of which a period may have buckets from the first to the last: those that they are in, and one beside them.
fn months(first: BucketStart, last: BucketStart) -> Vec<Period> {
    let month = |bucket: BucketStart| {
        let at = jiff::Timestamp::from_second(bucket.0).ok()?;
        let date = jiff::tz::Offset::UTC.to_datetime(at).date();
        Period::new(date.year(), date.month())
    };
    let Some((first, last)) = month(first).zip(month(last)) else { return Vec::new() };
    let (first, last) = (first.preceding().unwrap_or(first), last.following());
    core::iter::successors(Some(first), |period| Some(period.following()))
        .take_while(|period| *period <= last)
        .collect()
}

/// Refuses changes in intervals of which totals are shared out, now or as corrected by the configuration version `sha256`,
/// where those whose usage changes have late usage: that has no part in a total, and who had which part of it in time is not
/// to be told from the journal.
pub(super) fn refuse_late(
    ledger: &mut Ledger,
    changes: &[Change],
    late: &Late,
    (from, to): (BucketStart, BucketStart),
    sha256: &str,
) -> Result<(), Failure> {
    let totals = |places| -> Result<[Totals; 2], reconcile::Error> {
        let now = calibration::totals(ledger, from, to)?;
        Ok([now, calibration::totals_supposing(ledger, (from, to), sha256, places)?])
    };
    let Some((key, at)) = first_among_shares(changes, late, totals)? else { return Ok(()) };
    let name = |names: Vec<(u32, String)>, number: u32| {
        let found = names.into_iter().find(|(id, _)| *id == number);
        found.map_or_else(|| number.to_string(), |(_, name)| name)
    };
    let customer = name(ledger.names(NameKind::Customer)?, key.customer.0);
    let links = ledger.names(NameKind::Link)?;
    let link = name(links.clone(), at.1.0.into());
    let came = if place(&key) == at {
        format!("usage of `{customer}` came late there, which has no part in it")
    } else {
        let from = if key.link == LinkId::NONE {
            "no link".to_owned()
        } else {
            format!("link `{}` ({})", name(links, key.link.0.into()), key.direction.as_str())
        };
        format!(
            "usage goes there or comes from there, of what `{customer}` has on {from} among others, some of which came late and \
             would have no part in it"
        )
    };
    Err(Failure::Usage(format!(
        "error: nothing is corrected: at {} the total of link `{link}` ({}) is shared out, and {came}; whose was late and \
         whose in time cannot be told from the journal. Credit by hand what was wrong from there on \
         (`fluxoscope invoice credit`)",
        rfc3339(key.bucket.start()),
        at.2.as_str(),
    )))
}

/// The interval of a key.
fn place(key: &UsageKey) -> Place {
    (key.bucket, key.link, key.direction)
}

/// What classification cannot change of usage: only among keys of one of these it moves.
fn reported(key: &UsageKey) -> UsageKey {
    UsageKey { link: LinkId::NONE, direction: Direction::None, ..of_nobody(key) }
}

/// The key whoever has it.
fn of_nobody(key: &UsageKey) -> UsageKey {
    UsageKey { customer: CustomerId::UNASSIGNED, class: ClassId::DEFAULT, ..*key }
}

/// What moves from link to link, or from one direction to another, by [`reported`]: usage that only becomes somebody else's
/// adds nothing to its link.
fn between_links(changes: &[Change]) -> BTreeSet<UsageKey> {
    let mut sums: BTreeMap<UsageKey, Difference> = BTreeMap::new();
    for change in changes {
        sums.entry(of_nobody(&change.key)).or_default().add(&change.difference);
    }
    sums.iter().filter(|(_, sum)| !sum.is_zero()).map(|(key, _)| reported(key)).collect()
}

/// The first change of usage of somebody who has late usage in the same interval, where that interval has a total or could
/// have one; or another does, that usage moves to from link to link or comes from, of the same exporter in the same bucket.
/// And the interval with the total.
fn first_among_shares(
    changes: &[Change],
    late: &Late,
    totals: impl FnOnce(BTreeSet<Place>) -> Result<[Totals; 2], reconcile::Error>,
) -> Result<Option<(UsageKey, Place)>, reconcile::Error> {
    let is_any = |carried: &Carried| !carried.has.is_zero() || !carried.taken.is_zero();
    let came_late: BTreeSet<(Place, u32)> = late
        .of
        .iter()
        .filter(|(_, carried)| carried.iter().any(is_any))
        .map(|(key, _)| (place(key), key.customer.0))
        .collect();
    let keys = changes.iter().map(|change| change.key);
    let suspects: BTreeSet<UsageKey> =
        keys.clone().filter(|key| came_late.contains(&(place(key), key.customer.0))).collect();
    if suspects.is_empty() {
        return Ok(None);
    }
    let totals = totals(keys.clone().map(|key| place(&key)).filter(|at| at.1 != LinkId::NONE).collect())?;
    let has_total = |at: &Place| totals.iter().any(|totals| totals.get(at.0, at.1, at.2).is_some());
    let moving = between_links(changes);
    let mut shared: BTreeMap<UsageKey, Place> = BTreeMap::new();
    for key in keys.filter(|key| moving.contains(&reported(key)) && has_total(&place(key))) {
        let first = shared.entry(reported(&key)).or_insert_with(|| place(&key));
        *first = place(&key).min(*first);
    }
    let of = |key: &UsageKey| {
        let own = Some(place(key)).filter(has_total);
        Some((*key, own.or_else(|| shared.get(&reported(key)).copied())?))
    };
    Ok(suspects.iter().find_map(of))
}

#[cfg(test)]
mod tests;
