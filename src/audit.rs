//! The audit: the invariants of the books, each by name with its figures, proved on what a ledger holds.
//!
//! It reads everything and changes nothing. What it compares was written apart from each other: totals of flushes against
//! usage rows, usage against postings, documents against postings, hashes against what they are of. All is read as of one
//! moment, so that what a daemon or a command commits meanwhile makes no difference.
//!
//! Two invariants are not seen in a ledger: that the parts of a flow sum to the flow (the totals of octets and packets
//! that a flush states are those of its records, so a lost part shows there), and that no input makes a decoder fail.

mod documents;
mod fates;
mod late;
mod reconciled;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fates::{Memories, Metered};

use crate::diagnostic;
use crate::ids::CustomerId;
use crate::ledger::records::Asset;
use crate::ledger::records::books::{
    AccountKind, Closure, DecisionKind, Entry, EntryKind, GENESIS, Posting, RAW_OCTETS, digest,
};
use crate::ledger::{Error, Ledger, Part};
use crate::units::UnixMillis;
use crate::usage::BucketStart;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// Differences of a check that are told one by one.
const DIFFERENCES_MAX: usize = 100;

/// What became of one invariant.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What was counted or added up.
    pub figures: Vec<(&'static str, i128)>,
    /// What differs, in words; empty where it holds.
    pub differences: Vec<String>,
    /// How many more differ.
    pub more: usize,
}

impl Check {
    fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    fn figure(&mut self, name: &'static str, value: impl Into<i128>) {
        self.figures.push((name, value.into()));
    }

    fn differs(&mut self, what: String) {
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(what);
        } else {
            self.more += 1;
        }
    }

    /// Tells where two numbers that should be the same are not.
    fn same(&mut self, what: &str, found: i128, expected: i128) {
        if found != expected {
            self.differs(format!("{what}: {found}, expected {expected}"));
        }
    }

    /// True where nothing differs.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.differences.is_empty()
    }
}

/// All checks, in the order of the invariants.
///
/// # Errors
/// What the ledger says. What in it cannot be read because it was changed is a difference.
pub fn run(ledger: &mut Ledger) -> Result<Vec<Check>, Error> {
    run_told(ledger, &mut |_| {})
}

/// What takes time, in its order: what `progress` of [`run_told`] is told.
pub const STEPS: [&str; 5] = ["usage", "entries", "octets", "closed periods", "documents"];

/// The same; `progress` is told what is read next.
///
/// # Errors
/// As [`run`].
pub fn run_told(ledger: &mut Ledger, progress: &mut dyn FnMut(&'static str)) -> Result<Vec<Check>, Error> {
    ledger.at_one_moment(|ledger| all(ledger, progress))
}

fn all(ledger: &mut Ledger, progress: &mut dyn FnMut(&'static str)) -> Result<Vec<Check>, Error> {
    let [usage_step, entries_step, octets_step, closed_step, documents_step] = STEPS;
    let [mut records, mut used, mut octets, mut balance, mut documents, mut closed, mut carried, mut tariffs] =
        ["records", "usage", "octets", "balance", "invoices", "closed", "late", "tariffs"].map(Check::new);
    let [mut configurations, mut numbers, mut chain, mut guards, mut tables] =
        ["configurations", "numbers", "chain", "guards", "flow_tables"].map(Check::new);
    let [mut corrections, mut quoted, mut registers] =
        ["corrections", "reconciled", "registers"].map(Check::new);
    progress(usage_step);
    let raw = readable(usage(ledger, &mut records, &mut used), &mut used)?;
    progress(entries_step);
    let mut books = Books::default();
    readable(entries(ledger, &mut books, &mut chain, &mut balance), &mut balance)?;
    progress(octets_step);
    readable(conservation(ledger, &books, raw, &mut octets), &mut octets)?;
    progress(closed_step);
    readable(self::closed(ledger, &books, &mut closed), &mut closed)?;
    readable(bounds(ledger, &mut closed), &mut closed)?;
    progress(documents_step);
    let invoices = readable(ledger.invoices(None, None), &mut documents)?;
    let issues = readable(ledger.issues(), &mut numbers)?;
    let read = documents::documents(ledger, (&invoices, &issues), &books, &mut documents, &mut tariffs);
    let known = readable(read, &mut documents)?;
    documents::numbers(&invoices, &issues, &books, &mut numbers);
    readable(late::check(ledger, &known, &mut carried), &mut carried)?;
    readable(self::corrections(ledger, &mut corrections), &mut corrections)?;
    readable(reconciled::quoted(ledger, &invoices, &mut quoted), &mut quoted)?;
    readable(configuration_versions(ledger, &mut configurations), &mut configurations)?;
    readable(self::registers(ledger, &mut registers), &mut registers)?;
    let (triggers, missing) = ledger.guards()?;
    guards.figure("triggers", triggers as i128);
    missing.into_iter().for_each(|what| guards.differs(what));
    readable(flow_tables(ledger, &mut tables), &mut tables)?;
    Ok(vec![
        records,
        used,
        octets,
        balance,
        documents,
        closed,
        carried,
        corrections,
        tariffs,
        configurations,
        registers,
        numbers,
        chain,
        guards,
        quoted,
        tables,
    ])
}

/// What was read. Where the ledger holds what no program of this kind writes, a reference to what is not there, say, that is
/// a difference, and the checks go on with what there is.
fn readable<T: Default>(read: Result<T, Error>, check: &mut Check) -> Result<T, Error> {
    match read {
        Err(error) if error.is_damage() => {
            check.differs(diagnostic::with_causes(&error));
            Ok(T::default())
        }
        read => read,
    }
}

/// Each configuration version has its hash: who a customer is and of what kind a link was decides what is billed.
fn configuration_versions(ledger: &mut Ledger, check: &mut Check) -> Result<(), Error> {
    let mut changed = Vec::new();
    let mut number = 0;
    ledger.for_each_config_version(&mut |version| {
        number += 1;
        if digest(&version.text) != version.sha256 {
            changed.push(number);
        }
    })?;
    check.figure("versions", number);
    for number in changed {
        check.differs(format!("configuration version {number} has been changed"));
    }
    Ok(())
}

/// Rows of registers are what their witnesses say, and the files of documents what their names say.
fn registers(ledger: &mut Ledger, check: &mut Check) -> Result<(), Error> {
    let (witnesses, wrong) = ledger.witnessed()?;
    check.figure("witnesses", witnesses as i128);
    wrong.into_iter().for_each(|what| check.differs(what));
    let assets = ledger.assets()?;
    check.figure("files", assets.len() as i128);
    for Asset { sha256, media, content } in assets {
        if Asset::new(&media, content).sha256 != sha256 {
            check.differs(format!("the file of documents {sha256} has been changed"));
        }
    }
    Ok(())
}

/// Flows that found no place in the routers' tables. No invariant of ours is broken by them, but their volume is in no
/// account.
fn flow_tables(ledger: &mut Ledger, check: &mut Check) -> Result<(), Error> {
    let rows = ledger.card_failures(UnixMillis(i64::MIN + 1), UnixMillis(i64::MAX))?;
    let exporters: BTreeSet<u32> = rows.iter().map(|row| row.exporter).collect();
    check.figure("exporters_without_room", exporters.len() as i128);
    check.figure("flows_without_room", rows.iter().map(|row| i128::from(row.failures)).sum::<i128>());
    Ok(())
}

/// Records and raw octets by their fate; usage against what flushes said. The result is all raw octets that were metered.
fn usage(ledger: &mut Ledger, records: &mut Check, check: &mut Check) -> Result<i128, Error> {
    let sources = ledger.sources()?;
    let mut used = Metered::default();
    for total in ledger.usage_totals(None, None)? {
        used.octets += total.octets;
        used.packets += total.packets;
    }
    let mut late = 0_i128;
    ledger.for_each_late_usage(BucketStart(i64::MIN), BucketStart(i64::MAX), &mut |_, row| {
        late += i128::from(row.sums.octets);
    })?;
    let memories = Memories::read(ledger)?;
    let metered = fates::check(&sources, &memories, records);
    check.figure("octets", used.octets);
    check.figure("late_octets", late);
    check.figure("octets_of_flushes", metered.octets);
    check.figure("packets_of_flushes", metered.packets);
    // A sum that has reached the end of its range says nothing more.
    let most = i128::from(i64::MAX);
    if sources.iter().all(|source| i128::from(source.totals.metered_octets) < most) {
        check.same("octets of usage", used.octets, metered.octets);
        check.same("packets of usage", used.packets, metered.packets);
    }
    Ok(metered.octets)
}

/// What the books say, as far as other checks ask for it.
#[derive(Default)]
struct Books {
    /// Kind, reference, digest and day of each entry that is no entry of octets, with its postings.
    entries: HashMap<u64, Entry>,
    /// Raw octets by exporter.
    exporters: BTreeMap<String, i128>,
}

/// The chain of hashes, and the balance of each entry and of all.
fn entries(
    ledger: &mut Ledger,
    books: &mut Books,
    chain: &mut Check,
    balance: &mut Check,
) -> Result<(), Error> {
    let mut prev = GENESIS.to_owned();
    let mut next = 1;
    let mut legs = 0_i128;
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    ledger.for_each_entry(&mut |entry| {
        let seq = entry.seq;
        if seq != next {
            chain.differs(format!("entry {next} is missing"));
        }
        next = seq + 1;
        if entry.prev != prev {
            chain.differs(format!("entry {seq} does not go on from the one before"));
        }
        if entry.entry.hash(seq, &entry.prev) != entry.hash {
            chain.differs(format!("entry {seq} has been changed: its hash is another"));
        }
        prev.clone_from(&entry.hash);
        if entry.legs != entry.entry.postings.len() as u64 {
            let there = entry.entry.postings.len();
            chain.differs(format!("entry {seq} has {there} postings, and says that it has {}", entry.legs));
        }
        let mut own: BTreeMap<&str, i128> = BTreeMap::new();
        for Posting { account, commodity, amount } in &entry.entry.postings {
            *own.entry(commodity).or_default() += i128::from(*amount);
            legs += 1;
            if account.kind == AccountKind::Exporter && commodity == RAW_OCTETS {
                *books.exporters.entry(account.name.clone()).or_default() -= i128::from(*amount);
            }
        }
        for (commodity, sum) in own {
            if sum != 0 {
                balance.differs(format!("entry {seq} does not balance: {sum} {commodity} too much"));
            }
            *sums.entry(commodity.to_owned()).or_default() += sum;
        }
        if !matches!(entry.entry.kind, EntryKind::Octets | EntryKind::Late) {
            books.entries.insert(seq, entry);
        }
        Ok(())
    })?;
    for entry in ledger.misnumbered_postings()? {
        chain.differs(format!("the postings of entry {entry} are not numbered without gaps"));
    }
    chain.figure("entries", i128::from(next) - 1);
    balance.figure("postings", legs);
    balance.figure("commodities", sums.len() as i128);
    let unsealed = ledger.unsealed_postings()?;
    if unsealed > 0 {
        balance.differs(format!("{unsealed} postings belong to no entry"));
    }
    Ok(())
}

/// Octets: what exporters reported is what the books have of them, but for days that are not entered yet; and never less.
fn conservation(ledger: &mut Ledger, books: &Books, metered: i128, check: &mut Check) -> Result<(), Error> {
    let entered: i128 = books.exporters.values().sum();
    check.figure("exporters", books.exporters.len() as i128);
    check.figure("entered", entered);
    check.figure("not_entered_yet", metered - entered);
    if entered > metered {
        check.differs(format!("the books have {} octets more than were metered", entered - metered));
    }
    // What is sealed for the reserved names is entered, of everybody, each day by itself.
    let mut sealed: BTreeMap<u32, i64> =
        CustomerId::RESERVED.iter().map(|(id, _)| (id.0, i64::MIN)).collect();
    for (_, closure) in ledger.closures(None)? {
        if let Some(until) = sealed.get_mut(&closure.customer) {
            *until = closure.until.0.max(*until);
        }
    }
    let sealed = sealed.into_values().min().unwrap_or(i64::MIN);
    let sealed = sealed.min(ledger.closed()?.everybody().map_or(i64::MIN, |until| until.0));
    let (mut days, mut from) = (0_i128, 0);
    while let Some(bucket) = ledger.next_bucket(EntryKind::Octets, from)? {
        let day = bucket.div_euclid(DAY_SECONDS) * DAY_SECONDS;
        from = day + DAY_SECONDS;
        if from > sealed {
            break;
        }
        days += 1;
        for (exporter, octets) in ledger.octets_not_entered(EntryKind::Octets, day)? {
            let day = crate::period::rfc3339(BucketStart(day).start());
            check.differs(format!(
                "the books of {day} are not what `{exporter}` reported: {octets} octets are missing"
            ));
        }
    }
    check.figure("days", days);
    Ok(())
}

/// Closed periods: their usage has the hash that it had; their entry has theirs.
fn closed(ledger: &mut Ledger, books: &Books, check: &mut Check) -> Result<(), Error> {
    let closures = ledger.closures(None)?;
    let mut periods: BTreeMap<&str, Vec<&Closure>> = BTreeMap::new();
    let mut by_entry: BTreeMap<u64, String> = BTreeMap::new();
    for (entry, closure) in &closures {
        periods.entry(&closure.period).or_default().push(closure);
        by_entry.entry(*entry).or_default().push_str(&closure.line());
    }
    for (period, closures) in &periods {
        let parts: Vec<Part> = closures
            .iter()
            .map(|closure| Part { customer: closure.customer, from: closure.from, until: closure.until })
            .collect();
        let roots = ledger.usage_roots(&parts, &mut |_| {})?;
        for (closure, root) in closures.iter().zip(roots) {
            if closure.root != root {
                check.differs(format!(
                    "usage of customer {} in {period} has changed since it was closed",
                    closure.customer
                ));
            }
        }
    }
    for anchor in ledger.anchors()? {
        by_entry.entry(anchor.entry).or_default().push_str(&anchor.line);
        anchor.gone.into_iter().for_each(|what| check.differs(what));
    }
    for (seq, lines) in by_entry {
        if books.entries.get(&seq).is_none_or(|entry| entry.entry.digest != digest(&lines)) {
            check.differs(format!("entry {seq} closed other periods than those that name it"));
        }
    }
    let closing = books.entries.values().filter(|entry| entry.entry.kind == EntryKind::Close);
    let named: BTreeSet<u64> = closures.iter().map(|(entry, _)| *entry).collect();
    for entry in closing.filter(|entry| !named.contains(&entry.seq)) {
        check.differs(format!("what entry {} closed is gone", entry.seq));
    }
    check.figure("periods", periods.len() as i128);
    check.figure("customers_periods", closures.len() as i128);
    Ok(())
}

/// Corrections of usage: they and their rows have the hashes that they had, none changes what an exporter reported, and
/// nobody has less than nothing by them.
fn corrections(ledger: &mut Ledger, check: &mut Check) -> Result<(), Error> {
    let (corrections, wrong) = ledger.corrections()?;
    wrong.into_iter().for_each(|what| check.differs(what));
    let versions: BTreeSet<String> =
        ledger.config_beginnings()?.into_iter().map(|version| version.sha256).collect();
    for correction in corrections.iter().filter(|correction| !versions.contains(&correction.config)) {
        check.differs(format!("the configuration version of correction {} is gone", correction.seq));
    }
    check.figure("corrections", corrections.len() as i128);
    check.figure("rows", corrections.iter().map(|correction| i128::from(correction.changes)).sum::<i128>());
    Ok(())
}

/// Up to where usage is closed is what was decided, and decisions are as they were.
fn bounds(ledger: &mut Ledger, check: &mut Check) -> Result<(), Error> {
    let (decisions, wrong) = ledger.decisions()?;
    let closed = ledger.closed()?;
    wrong.into_iter().for_each(|what| check.differs(what));
    let mut decided: BTreeMap<u32, i64> = BTreeMap::new();
    let mut closings = 0_i128;
    for decision in decisions.iter().filter(|decision| decision.kind == DecisionKind::Close) {
        decided.insert(decision.customer, decision.bucket.0);
        closings += 1;
    }
    let own = closed.customers().chain(closed.others().map(|until| (0, until)));
    let found: BTreeMap<u32, i64> = own.map(|(customer, until)| (customer, until.0)).collect();
    check.figure("closings", closings);
    for customer in decided.keys().chain(found.keys()).copied().collect::<BTreeSet<u32>>() {
        let (decided, found) = (decided.get(&customer).copied(), found.get(&customer).copied());
        if decided != found {
            let instant = |until: Option<i64>| {
                let shown = until.map(|until| crate::period::rfc3339(BucketStart(until).start()));
                shown.unwrap_or_else(|| "nothing".to_owned())
            };
            let of = if customer == 0 { "everybody else".to_owned() } else { format!("customer {customer}") };
            check.differs(format!(
                "usage of {of} is closed up to {}, and what was decided is {}",
                instant(found),
                instant(decided)
            ));
        }
    }
    Ok(())
}
