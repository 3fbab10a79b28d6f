//! Correcting usage from the journal: what is read by the configuration that is in force, less what the ledger has.
//!
//! Ledger and journal are read side by side, in the order of time, so that only what differs is kept in memory. What an
//! exporter reported must be the same in both, in each bucket and sampling rate: octets, packets, flows and the bounds of the
//! error. Classification gives them to somebody and makes none; where they differ, the journal lacks something, or was read
//! otherwise than then, and nothing is corrected.
//!
//! What differs goes in as one correction, in one transaction. A second run finds nothing more to correct, and goes on with
//! the invoices of those who were, and of those whose shares of a link's total that may have moved: whose they are is read from the corrections that there are, so that a run which ended
//! between the two is made good by the next.

mod shares;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use crate::cli::period::{Spans, progress_bar};
use crate::cli::{Cli, Failure, late};
use crate::config::Config;
use crate::daemon;
use crate::ids::{CustomerId, ExporterId};
use crate::ledger::Ledger;
use crate::ledger::records::books::Actor;
use crate::ledger::records::corrections::{Change, Difference, NewCorrection};
use crate::ledger::records::{NameKind, UsageFilter};
use crate::period::{Period, rfc3339};
use crate::reclassify::{ReadPart, Stages, Wanting};
use crate::units::UnixMillis;
use crate::usage::{BUCKET_SECONDS, BucketStart, UsageKey};

/// Buckets of the last seconds are left as they are: flows of that time may still be on their way. Who they are is decided by
/// the configuration in force anyway.
const UNSETTLED_SECONDS: i64 = 7200;

/// How often the two are compared again where a daemon commits meanwhile.
const ATTEMPTS: u32 = 5;

/// A customer whose invoices are to be rated again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::cli) struct Concerned {
    /// Its name.
    pub(in crate::cli) customer: String,
    /// The first period.
    pub(in crate::cli) first: Period,
    /// The last one.
    pub(in crate::cli) last: Period,
    /// Periods that charge late usage of these, some of which was somebody else's.
    pub(in crate::cli) carried: BTreeSet<Period>,
    /// Only the usage is another: prices stay those of the invoice that stands.
    pub(in crate::cli) keeps_price: bool,
    /// This very run has corrected its usage.
    pub(in crate::cli) is_corrected: bool,
    /// Its own usage is what it was; shares of the totals of links may have moved with that of others.
    pub(in crate::cli) is_beside: bool,
}

impl Concerned {
    /// The periods of a customer from the first to the last.
    pub(in crate::cli) fn plain(customer: &str, (first, last): (Period, Period)) -> Self {
        Self {
            customer: customer.to_owned(),
            first,
            last,
            carried: BTreeSet::new(),
            keeps_price: false,
            is_corrected: false,
            is_beside: false,
        }
    }
}

/// Differences by key; those that are none are not kept.
#[derive(Default)]
struct Differences(hashbrown::HashMap<UsageKey, Difference, FixedState>);

impl Differences {
    fn add(&mut self, key: UsageKey, difference: &Difference) {
        if difference.is_zero() {
            return;
        }
        let sum = self.0.entry(key).or_default();
        sum.add(difference);
        if sum.is_zero() {
            self.0.remove(&key);
        }
    }

    /// What exporters reported otherwise, by bucket, exporter and rate.
    fn reported(&self) -> BTreeMap<(BucketStart, ExporterId, [u32; 3]), Difference> {
        let mut sums: BTreeMap<_, Difference> = BTreeMap::new();
        for (key, difference) in &self.0 {
            let rate = [key.rate.numerator(), key.rate.denominator(), u32::from(key.rate.source() as u8)];
            sums.entry((key.bucket, key.exporter, rate)).or_default().add(difference);
        }
        sums.retain(|_, sum| !sum.is_zero());
        sums
    }
}

/// What the ledger has of keys of which something came late.
#[derive(Default)]
struct Late {
    /// By key, in the order of the periods that it is carried into.
    of: HashMap<UsageKey, Vec<Carried>>,
    /// What came in time of the same keys.
    in_time: HashMap<UsageKey, Difference>,
}

/// Usage of a key that came late and is carried into one period.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    /// The first bucket of that period.
    into: BucketStart,
    /// What there is of it, as corrected.
    has: Difference,
    /// What corrections took off it.
    taken: Difference,
}

impl Late {
    /// The changes that make up a difference: what is less is taken off usage in time as long as there is some, then off what
    /// came late, the latest first. What is more comes back in the opposite order: what a correction once took off late usage
    /// is late again, so that a correction there and another one back leave everything as it was; the rest has come in time.
    fn changes(&self, key: UsageKey, difference: &Difference) -> Vec<Change> {
        let Some(late) = self.of.get(&key) else {
            return vec![Change { key, carried: None, difference: *difference }];
        };
        let none = Difference::default();
        let in_time = (None, self.in_time.get(&key).copied().unwrap_or_default(), none);
        let carried = late.iter().rev().map(|carried| (Some(carried.into), carried.has, carried.taken));
        let sources: Vec<(Option<BucketStart>, Difference, Difference)> =
            core::iter::once(in_time).chain(carried).collect();
        let mut changes: Vec<Change> =
            sources.iter().map(|(carried, ..)| Change { key, carried: *carried, difference: none }).collect();
        for (sum, &wanted) in difference.0.iter().enumerate() {
            let mut left = wanted.abs();
            if wanted > 0 {
                for (change, (.., taken)) in changes.iter_mut().zip(&sources).rev() {
                    let part = left.min(taken.0[sum].max(0));
                    change.difference.0[sum] = part;
                    left -= part;
                }
                changes[0].difference.0[sum] += left;
                continue;
            }
            for (change, (_, has, _)) in changes.iter_mut().zip(&sources) {
                let part = left.min(has.0[sum]);
                change.difference.0[sum] = -part;
                left -= part;
            }
        }
        changes.retain(|change| !change.difference.is_zero());
        changes
    }
}

/// Corrects the usage of a customer's periods, which may mean that of others; whose invoices it concerns, the customer itself
/// among them.
///
/// # Errors
/// When the configuration is not in force, the journal does not have all that the ledger has of that time, or the ledger
/// cannot be used. Nothing is corrected then.
pub(in crate::cli) fn apply(
    asked: &Concerned,
    reason: &str,
    config: &Config,
    cli: &Cli,
    ledger: &mut Ledger,
    actor: Actor<'_>,
) -> Result<Vec<Concerned>, Failure> {
    let now = UnixMillis(actor.at);
    let (stages, sha256) = Stages::in_force(config, ledger, now)?;
    let spans = Spans::load(ledger, config, now)?;
    let from = spans.of(&asked.customer, asked.first).0.buckets().0;
    let end = spans.of(&asked.customer, asked.last).0.buckets().1;
    let to = end.min(BucketStart::of(UnixMillis::from_seconds(now.seconds() - UNSETTLED_SECONDS)));
    if to <= from {
        return Err(Failure::said(format!("{} has only begun; it is too early to correct it", asked.first)));
    }
    if to < end {
        eprintln!(
            "note: usage is corrected up to {}; what is later goes on as configured",
            rfc3339(to.start())
        );
    }
    let after = ledger.last_correction()?;
    let compare = |ledger: &mut Ledger| -> Result<(Comparison, Wanting), Failure> {
        let mut comparison = Comparison::begin(ledger, (from, to))?;
        let wanting = comparison.read(config, cli, ledger, &stages, now)?;
        Ok((comparison, wanting))
    };
    let is_unlike = |(comparison, _): &(Comparison, Wanting)| !comparison.differences.reported().is_empty();
    let version = |ledger: &mut Ledger| Ok(ledger.data_version()?);
    let (Comparison { differences, late, .. }, wanting) = compared(ledger, version, compare, is_unlike)?;
    let unlike = differences.reported();
    if let Some((place, difference)) = unlike.first_key_value() {
        return Err(Failure::said(unlike_text(ledger, place, difference, &unlike, wanting)?));
    }
    let changes: Vec<Change> =
        differences.0.iter().flat_map(|(key, difference)| late.changes(*key, difference)).collect();
    let touched: BTreeSet<u32> = changes.iter().map(|change| change.key.customer.0).collect();
    if changes.is_empty() {
        eprintln!("note: nothing is left to correct: the journal says what the ledger says");
    } else {
        if spans.calibrates() {
            shares::refuse_late(ledger, &changes, &late, (from, to), &sha256)?;
        }
        let rows = changes.len();
        let new = NewCorrection { from, until: to, config: &sha256, reason, after, changes };
        let number = ledger.correct(&new, actor)?;
        eprintln!(
            "note: correction {number}: {rows} differences of usage, by configuration {}",
            &sha256[..12]
        );
    }
    concerned(asked, &spans, (from, to), &touched, ledger)
}

/// Compares, and once more where they are unlike and something was committed meanwhile: a flush may have added to what was
/// read already. After so many attempts it stays at what was found.
fn compared<L, C>(
    ledger: &mut L,
    version: impl Fn(&mut L) -> Result<u64, Failure>,
    mut compare: impl FnMut(&mut L) -> Result<C, Failure>,
    is_unlike: impl Fn(&C) -> bool,
) -> Result<C, Failure> {
    let mut attempts = 1..ATTEMPTS;
    loop {
        let before = version(ledger)?;
        let comparison = compare(ledger)?;
        if !is_unlike(&comparison) || version(ledger)? == before || attempts.next().is_none() {
            return Ok(comparison);
        }
    }
}

/// The ledger and the journal side by side.
struct Comparison {
    /// What the journal has more than the ledger has.
    differences: Differences,
    /// What came late.
    late: Late,
    from: BucketStart,
    to: BucketStart,
    /// Up to where usage in time has been read.
    read: BucketStart,
}

impl Comparison {
    /// Begins with what came late.
    fn begin(ledger: &mut Ledger, (from, to): (BucketStart, BucketStart)) -> Result<Self, Failure> {
        let mut own =
            Self { differences: Differences::default(), late: Late::default(), from, to, read: from };
        let all = (BucketStart(i64::MIN), BucketStart(i64::MAX));
        let mut late: BTreeMap<(BucketStart, UsageKey), Carried> = BTreeMap::new();
        // As it was metered, to begin with: what comes in between is not taken for something that was taken off.
        ledger.for_each_late_usage_as_of(0, all, &mut |into, row| {
            if from <= row.key.bucket && row.key.bucket < to {
                late.entry((into, row.key)).or_insert_with(|| Carried { into, ..Carried::default() }).taken =
                    Difference::of(&row.sums);
            }
        })?;
        ledger.for_each_late_usage(all.0, all.1, &mut |into, row| {
            if from <= row.key.bucket && row.key.bucket < to {
                let sums = Difference::of(&row.sums);
                own.differences.add(row.key, &sums.negated());
                late.entry((into, row.key)).or_insert_with(|| Carried { into, ..Carried::default() }).has =
                    sums;
            }
        })?;
        for ((_, key), mut carried) in late {
            carried.taken.add(&carried.has.negated());
            own.late.of.entry(key).or_default().push(carried);
        }
        Ok(own)
    }

    /// Takes off what the ledger has in time up to a bucket.
    fn read_ledger(&mut self, ledger: &mut Ledger, until: BucketStart) -> Result<(), crate::ledger::Error> {
        let until = until.min(self.to);
        if until <= self.read {
            return Ok(());
        }
        let filter = UsageFilter { from: Some(self.read), to: Some(until), customer: None };
        self.read = until;
        ledger.for_each_usage(&filter, &mut |row| {
            let sums = Difference::of(&row.sums);
            if self.late.of.contains_key(&row.key) {
                self.late.in_time.insert(row.key, sums);
            }
            self.differences.add(row.key, &sums.negated());
        })
    }

    /// Reads both to their ends.
    fn read(
        &mut self,
        config: &Config,
        cli: &Cli,
        ledger: &mut Ledger,
        stages: &Stages,
        now: UnixMillis,
    ) -> Result<Wanting, Failure> {
        let numbers: HashMap<String, u16> = ledger
            .names(NameKind::Exporter)?
            .into_iter()
            .filter_map(|(number, name)| Some((name, u16::try_from(number).ok()?)))
            .collect();
        let bar = progress_bar(self.to.0.abs_diff(self.from.0), "seconds of the journal");
        let (mut waited, mut result) = (Differences::default(), Ok(()));
        let journal = cli.state_dir.join("journal");
        let ends = daemon::committed(&journal, ledger)?;
        let wanting = stages.read(config, &journal, &ends, (self.from, Some(now)), &mut |part| {
            let seconds = part.received.seconds().saturating_sub(self.from.0);
            bar.set_position(seconds.max(0).unsigned_abs());
            let into = if part.waited { &mut waited } else { &mut self.differences };
            take(&part, &numbers, (self.from, self.to), into);
            if result.is_ok() {
                result = self.read_ledger(ledger, BucketStart::of(part.received));
            }
        })?;
        result?;
        self.read_ledger(ledger, self.to)?;
        bar.finish_and_clear();
        if !self.differences.reported().is_empty() {
            // Those that a daemon metered after they had waited long enough.
            waited.0.iter().for_each(|(key, difference)| self.differences.add(*key, difference));
        }
        Ok(wanting)
    }
}

/// Adds what was read of the buckets in `[from, to)`, under the ledger's numbers of exporters.
fn take(
    part: &ReadPart<'_>,
    numbers: &HashMap<String, u16>,
    (from, to): (BucketStart, BucketStart),
    into: &mut Differences,
) {
    let number = |name: &str| numbers.get(name).copied().map_or(ExporterId::OTHERS, ExporterId);
    let exporters: HashMap<ExporterId, ExporterId> =
        part.exporters.iter().map(|(id, exporter)| (*id, number(&exporter.name))).collect();
    for row in part.usage.iter().filter(|row| from <= row.key.bucket && row.key.bucket < to) {
        let exporter = exporters.get(&row.key.exporter).copied().unwrap_or(ExporterId::OTHERS);
        into.add(UsageKey { exporter, ..row.key }, &Difference::of(&row.sums));
    }
}

/// Why nothing can be said by the journal.
fn unlike_text(
    ledger: &mut Ledger,
    (bucket, exporter, _): &(BucketStart, ExporterId, [u32; 3]),
    difference: &Difference,
    unlike: &BTreeMap<(BucketStart, ExporterId, [u32; 3]), Difference>,
    wanting: Wanting,
) -> Result<String, Failure> {
    let names = ledger.names(NameKind::Exporter)?;
    let name = names.into_iter().find(|(number, _)| *number == u32::from(exporter.0));
    let name = name.map_or_else(|| ExporterId::OTHERS_NAME.to_owned(), |(_, name)| name);
    let at = rfc3339(bucket.start());
    let own = unlike.range((*bucket, *exporter, [0; 3])..=(*bucket, *exporter, [u32::MAX; 3]));
    let octets: i128 = own.map(|(_, difference)| difference.0[0]).sum();
    if octets == 0 && difference.0[0] != 0 {
        return Ok(format!(
            "by the journal, what `{name}` reported at {at} has other sampling rates than the ledger has; nothing is \
             corrected by rates that are not those of then"
        ));
    }
    if octets == 0 {
        return Ok(format!(
            "by the journal, what `{name}` reported at {at} has other packets, flows or packet sizes than the ledger \
             has; `[meter]` is another than it was"
        ));
    }
    let mut text = format!(
        "the journal does not have what the ledger has: of `{name}` at {at}, {} octets {}; a part of it is gone or not \
         committed yet, or something was replayed from captures",
        octets.abs(),
        if octets < 0 { "are missing" } else { "are too many" }
    );
    let waiting = wanting.held + wanting.expired;
    if waiting > 0 {
        text += &format!(
            "; {waiting} records or sets lack a template or a sampling rate, which may have come before"
        );
    }
    Ok(text)
}

/// Whose invoices of which periods are to be rated again: those of all whose usage in these buckets was ever corrected.
fn concerned(
    asked: &Concerned,
    spans: &Spans,
    (from, to): (BucketStart, BucketStart),
    touched: &BTreeSet<u32>,
    ledger: &mut Ledger,
) -> Result<Vec<Concerned>, Failure> {
    let names: HashMap<u32, String> = ledger.names(NameKind::Customer)?.into_iter().collect();
    let mut all = BTreeMap::from([(asked.customer.clone(), asked.clone())]);
    let corrected = ledger.corrected(from, to)?;
    // A correction says of all that it read which links there were, so that totals may be others where no usage is.
    let read = |(begins, ends, _): (BucketStart, BucketStart, String)| {
        let (first, until) = (begins.max(from), ends.min(to));
        (first < until).then_some((first, BucketStart(until.0 - BUCKET_SECONDS)))
    };
    let read =
        ledger.corrected_by()?.into_iter().filter_map(read).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let buckets = read.filter(|_| !corrected.is_empty() && spans.calibrates());
    for corrected in corrected {
        let Some(name) = names.get(&corrected.customer) else { continue };
        if CustomerId(corrected.customer) < CustomerId::FIRST {
            continue;
        }
        let period_of = |bucket| {
            late::period_of(bucket, |period| spans.of(name, period).0)
                .ok_or_else(|| Failure::said(format!("usage of `{name}` is of no period")))
        };
        let (first, last) = (period_of(corrected.first)?, period_of(corrected.last)?);
        let other = || Concerned { keeps_price: true, ..Concerned::plain(name, (first, last)) };
        let own = all.entry(name.clone()).or_insert_with(other);
        own.is_corrected = touched.contains(&corrected.customer);
        for carried in ledger.corrected_late(corrected.customer, (from, to))? {
            own.carried.insert(period_of(carried)?);
        }
    }
    if let Some(buckets) = buckets {
        for beside in shares::beside(ledger, buckets)? {
            let own = all.entry(beside.customer.clone()).or_insert_with(|| beside.clone());
            if !own.is_beside {
                // What it is rated again for is more than its own usage was corrected in.
                own.first = own.first.min(beside.first);
                own.last = own.last.max(beside.last);
                own.carried.extend(beside.carried);
            }
        }
    }
    // They come last: nobody whose own usage was corrected waits for them.
    let mut all: Vec<Concerned> = all.into_values().collect();
    all.sort_by_key(|one| one.is_beside);
    Ok(all)
}

#[cfg(test)]
mod tests;
