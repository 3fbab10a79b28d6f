//! Late usage: what became of it, and that what was charged is what the invoices say.

use std::collections::{BTreeMap, HashMap};

use super::Check;
use super::documents::Known;
use crate::ids::CustomerId;
use crate::invoice::issue::Adjustment;
use crate::ledger::records::NameKind;
use crate::ledger::records::books::{digest, push_usage_line};
use crate::ledger::{Error, Ledger};
use crate::period::{AnchorDay, Zone};
use crate::usage::{BucketStart, UsageRow};

/// From one bucket up to another.
type Buckets = (BucketStart, BucketStart);

/// What the ledger says of a customer's periods.
#[derive(Default)]
struct Customer<'a> {
    /// Late rows with the first bucket of the period that each is carried into, in the ledger's order.
    rows: Vec<(BucketStart, UsageRow)>,
    /// Periods that were sealed.
    sealed: Vec<(String, Buckets)>,
    documents: Vec<&'a Known>,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Unknown,
    /// A draft has it.
    Drafted,
    /// An invoice that stands has it.
    Charged,
}

/// A document that names other late usage than there is, and what it says of it.
type Unlike<'a> = (&'a Known, &'a Adjustment);

/// Each issued document names its late usage by a hash: as it is, or as it was before some correction. That may be why the
/// document was credited; one that stands all the same has the amounts that the correction led to again, and is told by
/// `before_corrections`. Raw octets are told by what became of them: `charged` by an invoice
/// that stands; `waiting` for the end of the period that they are carried into, or in a draft; `not_charged`, because nobody
/// had a tariff for them, or they lie in a seam that was accepted, or their period has been closed and its invoice is not
/// made; `of_nobody`, under one of the reserved names.
pub(super) fn check(ledger: &mut Ledger, documents: &[Known], check: &mut Check) -> Result<(), Error> {
    let names: HashMap<u32, String> = ledger.names(NameKind::Customer)?.into_iter().collect();
    let mut customers: BTreeMap<u32, Customer<'_>> = BTreeMap::new();
    let mut of_nobody = 0_i128;
    let all = (BucketStart(i64::MIN), BucketStart(i64::MAX));
    ledger.for_each_late_usage(all.0, all.1, &mut |carried, row| {
        if row.key.customer < CustomerId::FIRST {
            of_nobody += i128::from(row.sums.octets);
        } else {
            customers.entry(row.key.customer.0).or_default().rows.push((carried, row));
        }
    })?;
    let by_name: HashMap<&str, u32> = names.iter().map(|(number, name)| (name.as_str(), *number)).collect();
    for known in documents {
        let Some(number) = by_name.get(known.customer.as_str()) else { continue };
        // Of somebody without late rows only a document that names some is of interest.
        if !known.adjustments.is_empty() || customers.contains_key(number) {
            customers.entry(*number).or_default().documents.push(known);
        }
    }
    for (_, closure) in ledger.closures(None)? {
        if let Some(customer) = customers.get_mut(&closure.customer) {
            customer.sealed.push((closure.period, (closure.from, closure.until)));
        }
    }
    let (mut charged, mut waiting, mut not_charged) = (0_i128, 0_i128, 0_i128);
    let mut unlike: Vec<(u32, Unlike<'_>)> = Vec::new();
    for (number, customer) in &customers {
        let (fates, others) = customer.fates();
        unlike.extend(others.into_iter().map(|other| (*number, other)));
        for ((carried, row), fate) in customer.rows.iter().zip(fates) {
            let is_closed = customer.sealed.iter().any(|(_, (from, until))| (from..until).contains(&carried));
            let sum = match fate {
                Fate::Charged => &mut charged,
                Fate::Unknown if is_closed => &mut not_charged,
                Fate::Drafted | Fate::Unknown => &mut waiting,
            };
            *sum += i128::from(row.sums.octets);
        }
    }
    check.figure("charged", charged);
    check.figure("waiting", waiting);
    check.figure("not_charged", not_charged);
    check.figure("of_nobody", of_nobody);
    check.figure("before_corrections", drop_corrected(ledger, &customers, &mut unlike)? as i128);
    for (_, (known, adjustment)) in unlike {
        let (name, number) = (adjustment.period, &known.number);
        check.differs(format!("late usage of {name} is not what {number} charged: it has been changed"));
    }
    Ok(())
}

/// Leaves only those that are not of what there was before any correction either. The result is how many of the others
/// stand.
fn drop_corrected(
    ledger: &mut Ledger,
    customers: &BTreeMap<u32, Customer<'_>>,
    unlike: &mut Vec<(u32, Unlike<'_>)>,
) -> Result<usize, Error> {
    let all = (BucketStart(i64::MIN), BucketStart(i64::MAX));
    let standing =
        |unlike: &[(u32, Unlike<'_>)]| unlike.iter().filter(|(_, (known, _))| known.stands).count();
    let before = standing(unlike);
    for last in (0..ledger.last_correction()?).rev() {
        if unlike.is_empty() {
            break;
        }
        let mut rows: BTreeMap<u32, Vec<(BucketStart, UsageRow)>> =
            unlike.iter().map(|(number, _)| (*number, Vec::new())).collect();
        ledger.for_each_late_usage_as_of(last, all, &mut |carried, row| {
            if let Some(rows) = rows.get_mut(&row.key.customer.0) {
                rows.push((carried, row));
            }
        })?;
        unlike.retain(|(number, (known, adjustment))| {
            let was = customers[number].candidates(&rows[number], known, adjustment);
            was.found.is_none()
        });
    }
    Ok(before - standing(unlike))
}

/// Which rows an adjustment may be about, and which of these sets has its hash.
struct Candidates {
    sets: Vec<Vec<usize>>,
    found: Option<usize>,
    is_sure: bool,
}

impl Customer<'_> {
    /// What becomes of each row, by the documents that charge late usage; and those that name other usage.
    fn fates(&self) -> (Vec<Fate>, Vec<Unlike<'_>>) {
        let (mut fates, mut unlike) = (vec![Fate::Unknown; self.rows.len()], Vec::new());
        for known in &self.documents {
            // Several lines may be about the same usage.
            let mut periods: Vec<&Adjustment> = known.adjustments.iter().collect();
            periods.dedup_by_key(|adjustment| adjustment.period);
            for adjustment in periods {
                let Candidates { mut sets, found, is_sure } = self.candidates(&self.rows, known, adjustment);
                // A draft is made again, with what came meanwhile.
                if found.is_none() && is_sure && !known.is_draft {
                    unlike.push((*known, adjustment));
                }
                if !known.is_draft && !known.stands || sets.is_empty() {
                    continue;
                }
                for at in sets.swap_remove(found.unwrap_or(0)) {
                    match known.is_draft {
                        true if fates[at] == Fate::Unknown => fates[at] = Fate::Drafted,
                        true => {}
                        false => fates[at] = Fate::Charged,
                    }
                }
            }
        }
        (fates, unlike)
    }

    /// The rows that an adjustment may be about, among these.
    fn candidates(
        &self,
        rows: &[(BucketStart, UsageRow)],
        known: &Known,
        adjustment: &Adjustment,
    ) -> Candidates {
        let (spans, is_sure) = self.spans(adjustment);
        let of = |span: &Buckets| -> Vec<usize> {
            let is_it = |(carried, row): &(BucketStart, UsageRow)| {
                (known.buckets.0..known.buckets.1).contains(carried)
                    && (span.0..span.1).contains(&row.key.bucket)
            };
            (0..rows.len()).filter(|&at| is_it(&rows[at])).collect()
        };
        let has_its_hash = |places: &Vec<usize>| {
            let mut lines = String::new();
            places.iter().for_each(|&at| push_usage_line(&mut lines, &rows[at].1));
            digest(&lines) == adjustment.usage_root
        };
        let sets: Vec<Vec<usize>> = spans.iter().map(of).collect();
        let found = sets.iter().position(has_its_hash);
        Candidates { sets, found, is_sure }
    }

    /// What the period of an adjustment covers: as it was sealed, or as documents of it say. Where there is neither, the
    /// month in UTC, which is not sure.
    fn spans(&self, adjustment: &Adjustment) -> (Vec<Buckets>, bool) {
        let name = adjustment.period.to_string();
        let sealed = self.sealed.iter().filter(|(period, _)| *period == name).map(|(_, span)| *span);
        let billed = self.documents.iter().filter(|known| known.period == name).map(|known| known.buckets);
        let mut spans: Vec<Buckets> = sealed.chain(billed).collect();
        spans.dedup();
        let is_sure = !spans.is_empty();
        if !is_sure && let Ok(utc) = Zone::named("UTC") {
            spans.push(adjustment.period.span(&utc, AnchorDay::FIRST).buckets());
        }
        (spans, is_sure)
    }
}
