//! Committing: what a processor drained becomes a flush in the ledger, exactly once.
//!
//! Used by the daemon's writer thread and by `replay`. It maps the process's numbers of exporters to the ledger's,
//! waits for a ledger that is locked or unreachable (counted as contention: no usage is lost by waiting), and
//! publishes the committed volumes for the agent.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tracing::{info, warn};

use crate::counters::{Counters, CustomerRow, LinkRow, Volume, Volumes};
use crate::diagnostic;
use crate::flow::Direction;
use crate::ids::{CustomerId, ExporterId};
use crate::ledger::records::{Advance, Checkpoint, CheckpointScope, Flush, NameKind};
use crate::ledger::{self, Ledger};
use crate::processor::{Drained, ExporterNames};
use crate::setup::InForce;
use crate::units::SamplingRate;
use crate::usage::{BucketStart, Scaled, UsageRow, UsageRows};

/// Flushes on their way to the ledger, at most. When it is full, usage waits in the processors' tables.
pub const FLUSH_QUEUE: usize = 64;

/// Longest pause between two attempts to commit.
const RETRY_MS_MAX: u64 = 1000;

/// Waits of a flush for others who write the ledger, from which they count as contention. Beginning a transaction takes
/// no such time by itself.
const LOCK_WAIT_COUNTED: Duration = Duration::from_millis(5);

/// How long a daemon that is to stop waits for a busy ledger. What it has not taken then stays in the journal.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Numbers of exporters that the ledger keeps for those that somebody configures.
const SPARE_EXPORTERS: u32 = 4096;

/// The greatest sum that the ledger holds.
const SUM_MAX: u64 = i64::MAX.unsigned_abs();

/// Usage under the process's numbers of exporters, with who they are.
type Part = (ExporterNames, UsageRows);

/// Why a flush was not committed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger refused it; trying again would not help.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// Asked to stop while the ledger could not be written; the flush is not committed.
    #[error(
        "stopped while the ledger could not take usage; what is journalled will be read again at the next start"
    )]
    Stopped,
}

/// The one who writes the ledger.
pub struct Committer {
    ledger: Ledger,
    counters: Arc<Counters>,
    /// The ledger's numbers of exporters, by name.
    numbers: HashMap<String, u16>,
    /// Numbers of exporters that stay for those that somebody configures.
    spare_exporters: u32,
    /// How long a busy ledger is waited for; without it, for ever.
    patience: Option<Duration>,
    /// What the agent shows; without it, nobody looks.
    volumes: Option<VolumeSums>,
}

impl Committer {
    /// Takes over the ledger, and publishes its volumes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(mut ledger: Ledger, counters: Arc<Counters>, now_seconds: i64) -> Result<Self, ledger::Error> {
        let volumes = VolumeSums::load(&mut ledger, now_seconds)?;
        let mut committer = Self { volumes: Some(volumes), ..Self::without_volumes(ledger, counters) };
        committer.publish()?;
        Ok(committer)
    }

    /// Takes over the ledger where nobody looks at the volumes: to add up those that are there, all usage is read.
    #[must_use]
    pub fn without_volumes(ledger: Ledger, counters: Arc<Counters>) -> Self {
        counters.ledger_writer.limit.store(FLUSH_QUEUE as u64, Relaxed);
        Self {
            ledger,
            counters,
            numbers: HashMap::new(),
            spare_exporters: SPARE_EXPORTERS,
            patience: None,
            volumes: None,
        }
    }

    /// The ledger, for what is not a flush.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Gives up on a ledger that is busy for longer than `patience`. A daemon does not: its usage waits.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// Shows what a configuration names, also before anything was committed for it: links with their kinds, customers,
    /// the reserved names, and exporters under the numbers that the ledger gives them.
    ///
    /// # Errors
    /// When the ledger cannot be used.
    pub fn show(&mut self, in_force: &InForce) -> Result<(), ledger::Error> {
        if let Some(volumes) = &mut self.volumes {
            volumes.kinds = in_force.kinds.clone();
            volumes.know(&in_force.links, &in_force.customers);
        }
        let names: Vec<&str> = in_force.exporters.iter().map(String::as_str).collect();
        let numbers = self.ledger.intern(NameKind::Exporter, &names)?;
        let known = names.iter().zip(&numbers);
        self.numbers.extend(known.map(|(name, number)| ((*name).to_owned(), ledger_number(*number))));
        for exporter in self.counters.exporters() {
            if let Some(at) = names.iter().position(|name| *name == exporter.name) {
                exporter.ledger_id.store(numbers[at], Relaxed);
            }
        }
        self.publish()
    }

    /// Commits what was drained, waiting for a ledger that is busy. `stop` ends the waiting. All totals are those of the
    /// first of `advances`: what was drained is not told apart by source.
    ///
    /// # Errors
    /// See [`Error`]. Nothing is committed then.
    pub fn commit(
        &mut self,
        scope: CheckpointScope,
        mut advances: Vec<Advance>,
        mut drained: Drained,
        now_seconds: i64,
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        if let Some(first) = advances.first_mut() {
            first.totals = drained.totals;
        }
        let checkpoints = drained
            .checkpoints
            .drain(..)
            .map(|(exporter, remembered)| Checkpoint { scope, exporter, remembered })
            .collect();
        let started = Instant::now();
        let mut pause = 10;
        let mut parts = drained.former;
        parts.push((drained.exporters, drained.usage));
        let losses = core::mem::take(&mut drained.losses);
        let mut flush = Flush { advances, usage: UsageRows::default(), checkpoints, losses };
        loop {
            let numbered = parts.iter().try_for_each(|part| self.number_exporters(part));
            match numbered.and_then(|()| {
                if !parts.is_empty() {
                    flush.usage = self.map_exporters(core::mem::take(&mut parts));
                }
                self.ledger.commit_flush(&flush)
            }) {
                Ok(()) => break,
                Err(ledger::Error::Position { found, .. })
                    if pause > 10 && flush.advances.iter().all(|advance| advance.to == found) =>
                {
                    // The connection broke after the ledger had committed.
                    break;
                }
                Err(error)
                    if error.is_transient() && self.patience.is_none_or(|most| started.elapsed() < most) =>
                {
                    self.counters.commit_failures.fetch_add(1, Relaxed);
                    self.counters.ledger_writer.failures.fetch_add(1, Relaxed);
                    warn!(error = diagnostic::with_causes(&error), "The ledger is busy; usage waits.");
                    if stop.load(Relaxed) && started.elapsed() > STOP_PATIENCE {
                        return Err(Error::Stopped);
                    }
                    // The writer's own thread has nothing else to do.
                    thread::sleep(Duration::from_millis(pause));
                    pause = (pause * 2).min(RETRY_MS_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        if pause > 10 {
            self.counters.ledger_writer.waited(micros);
            info!(waited_ms = micros / 1000, "The ledger takes usage again.");
        } else if self.ledger.lock_wait() >= LOCK_WAIT_COUNTED {
            let micros = self.ledger.lock_wait().as_micros();
            self.counters.ledger_writer.waited(u64::try_from(micros).unwrap_or(u64::MAX));
        }
        self.counters.commits.fetch_add(1, Relaxed);
        self.counters.commit_micros.store(micros, Relaxed);
        if let Some(volumes) = &mut self.volumes {
            volumes.add(&flush.usage, now_seconds);
        }
        if let Err(error) = self.publish() {
            // The flush is committed; the agent shows it after the next one.
            warn!(error = diagnostic::with_causes(&error), "The committed volumes could not be published.");
        }
        Ok(())
    }

    /// Numbers for the exporters of usage that have none in the ledger yet. One that nothing is metered of gets none:
    /// numbers are never used again, and a stranger must not be able to use them up with a datagram each. Nor with a
    /// record each: what is configured has its number already, so whoever needs one here is unknown, and leaves some.
    /// Beyond that, usage is booked under [`ExporterId::OTHERS`].
    fn number_exporters(&mut self, (exporters, usage): &Part) -> Result<(), ledger::Error> {
        if exporters.iter().all(|(_, exporter)| self.numbers.contains_key(&exporter.name)) {
            return Ok(());
        }
        let mut is_metered = vec![false; usize::from(u16::MAX) + 1];
        for row in usage.iter() {
            is_metered[usize::from(row.key.exporter.0)] = true;
        }
        let metered = exporters.iter().filter(|(id, _)| is_metered[usize::from(id.0)]).map(|part| &part.1);
        let new: Vec<_> = metered.filter(|exporter| !self.numbers.contains_key(&exporter.name)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = new.iter().map(|exporter| exporter.name.as_str()).collect();
        let numbers = self.ledger.intern_sparing(NameKind::Exporter, &names, self.spare_exporters)?;
        let unnumbered = numbers.iter().filter(|number| number.is_none()).count();
        if unnumbered > 0 {
            self.counters.exporter_table.failures.fetch_add(unnumbered as u64, Relaxed);
            warn!(
                exporters = unnumbered,
                "The ledger has no number left for unknown exporters; their usage is booked under `{}`.",
                ExporterId::OTHERS_NAME
            );
        }
        for (exporter, number) in new.into_iter().zip(numbers) {
            let number = number.unwrap_or_else(|| u32::from(ExporterId::OTHERS.0));
            self.numbers.insert(exporter.name.clone(), ledger_number(number));
        }
        Ok(())
    }

    /// The rows of all parts under the ledger's numbers, sorted by key, none twice.
    fn map_exporters(&self, mut parts: Vec<Part>) -> UsageRows {
        for (exporters, usage) in &mut parts {
            let mut numbers = vec![ExporterId::default(); usize::from(u16::MAX) + 1];
            for (id, exporter) in exporters {
                if let Some(&number) = self.numbers.get(&exporter.name) {
                    exporter.ledger_id.store(u32::from(number), Relaxed);
                    numbers[usize::from(id.0)] = ExporterId(number);
                }
            }
            usage.renumber_exporters(|id| numbers[usize::from(id.0)]);
        }
        parts.retain(|(_, usage)| !usage.is_empty());
        match &mut parts[..] {
            [(_, usage)] if usage.is_sorted() => core::mem::take(usage),
            _ => merged(parts.into_iter().flat_map(|(_, usage)| usage).collect()).into(),
        }
    }

    fn publish(&mut self) -> Result<(), ledger::Error> {
        if let Some(volumes) = &mut self.volumes {
            let shown = volumes.publish(&mut self.ledger)?;
            self.counters.volumes.store(Arc::new(shown));
        }
        Ok(())
    }
}

/// The rows sorted by key, none twice. Two of the process's exporters may be one in the ledger: the same name, at an address
/// that changed.
fn merged(mut rows: Vec<UsageRow>) -> Vec<UsageRow> {
    rows.sort_unstable_by_key(|row| row.key);
    rows.dedup_by(|row, kept| {
        let is_same = row.key == kept.key;
        if is_same {
            kept.sums.add(&row.sums);
            // The ledger counts in 63 bits. Only exporters that lie get there, and what they claim must not keep the
            // flush of all others from being committed.
            kept.sums.octets = kept.sums.octets.min(SUM_MAX);
            kept.sums.packets = kept.sums.packets.min(SUM_MAX);
        }
        is_same
    });
    rows
}

fn ledger_number(number: u32) -> u16 {
    u16::try_from(number).expect("the ledger numbers at most 65535 exporters")
}

/// Scaled volume of one link or customer.
#[derive(Clone, Default)]
struct Sums {
    in_octets: Scaled,
    out_octets: Scaled,
    in_packets: Scaled,
    out_packets: Scaled,
}

impl Sums {
    fn add(&mut self, direction: Direction, rate: SamplingRate, octets: u64, packets: u64) {
        match direction {
            // What has no direction shows on the side of what comes in, so that nothing is invisible.
            Direction::In | Direction::None => {
                self.in_octets.add(octets, rate);
                self.in_packets.add(packets, rate);
            }
            Direction::Out => {
                self.out_octets.add(octets, rate);
                self.out_packets.add(packets, rate);
            }
        }
    }

    fn volume(&self) -> Volume {
        // SNMP counters wrap at 2^64 (RFC 2578 7.1.10).
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "Counter64 wraps")]
        let wrapped = |sum: &Scaled| sum.rounded() as u64;
        Volume {
            in_octets: wrapped(&self.in_octets),
            out_octets: wrapped(&self.out_octets),
            in_packets: wrapped(&self.in_packets),
            out_packets: wrapped(&self.out_packets),
        }
    }
}

/// Committed volumes by link and customer, and by customer for the current UTC month.
#[derive(Default)]
struct VolumeSums {
    links: BTreeMap<u32, Sums>,
    customers: BTreeMap<u32, Sums>,
    month: BTreeMap<u32, Sums>,
    month_from: i64,
    month_to: i64,
    names: HashMap<(NameKind, u32), String>,
    kinds: HashMap<String, String>,
}

impl VolumeSums {
    fn load(ledger: &mut Ledger, now_seconds: i64) -> Result<Self, ledger::Error> {
        let mut sums = Self::default();
        // Every name has a row, also before there is volume: graphs are made of names.
        sums.links.extend(ledger.names(NameKind::Link)?.into_iter().map(|(id, _)| (id, Sums::default())));
        sums.customers
            .extend(ledger.names(NameKind::Customer)?.into_iter().map(|(id, _)| (id, Sums::default())));
        for total in ledger.usage_totals(None, None)? {
            let (octets, packets) = (total.octets, total.packets);
            for (octets, packets) in chunks(octets, packets) {
                sums.customers.entry(total.customer.0).or_default().add(
                    total.direction,
                    total.rate,
                    octets,
                    packets,
                );
                if total.link.0 != 0 {
                    let link = sums.links.entry(u32::from(total.link.0)).or_default();
                    link.add(total.direction, total.rate, octets, packets);
                }
            }
        }
        (sums.month_from, sums.month_to) = month_of(now_seconds);
        let (from, to) = (BucketStart(sums.month_from), BucketStart(sums.month_to));
        for total in ledger.usage_totals(Some(from), Some(to))? {
            for (octets, packets) in chunks(total.octets, total.packets) {
                sums.month.entry(total.customer.0).or_default().add(
                    total.direction,
                    total.rate,
                    octets,
                    packets,
                );
            }
        }
        Ok(sums)
    }

    fn add(&mut self, usage: &UsageRows, now_seconds: i64) {
        if now_seconds >= self.month_to {
            self.month.clear();
            (self.month_from, self.month_to) = month_of(now_seconds);
        }
        for UsageRow { key, sums } in usage.iter() {
            let customer = self.customers.entry(key.customer.0).or_default();
            customer.add(key.direction, key.rate, sums.octets, sums.packets);
            if key.link.0 != 0 {
                let link = self.links.entry(u32::from(key.link.0)).or_default();
                link.add(key.direction, key.rate, sums.octets, sums.packets);
            }
            if (self.month_from..self.month_to).contains(&key.bucket.0) {
                let month = self.month.entry(key.customer.0).or_default();
                month.add(key.direction, key.rate, sums.octets, sums.packets);
            }
        }
    }

    fn publish(&mut self, ledger: &mut Ledger) -> Result<Volumes, ledger::Error> {
        let nameless = |kind, ids: &BTreeMap<u32, Sums>, names: &HashMap<(NameKind, u32), String>| {
            ids.keys().any(|id| !names.contains_key(&(kind, *id)))
        };
        if nameless(NameKind::Link, &self.links, &self.names)
            || nameless(NameKind::Customer, &self.customers, &self.names)
        {
            for kind in [NameKind::Link, NameKind::Customer] {
                self.names.extend(ledger.names(kind)?.into_iter().map(|(id, name)| ((kind, id), name)));
            }
        }
        let name = |kind, id: u32| self.names.get(&(kind, id)).cloned().unwrap_or_else(|| format!("#{id}"));
        let links = self.links.iter().map(|(&id, sums)| {
            let name = name(NameKind::Link, id);
            LinkRow {
                id,
                kind: self.kinds.get(&name).cloned().unwrap_or_default(),
                name,
                volume: sums.volume(),
            }
        });
        let customers = self.customers.iter().map(|(&id, sums)| {
            let month = self.month.get(&id).map(Sums::volume).unwrap_or_default();
            CustomerRow {
                id,
                name: name(NameKind::Customer, id),
                volume: sums.volume(),
                month_in_octets: month.in_octets,
                month_out_octets: month.out_octets,
            }
        });
        Ok(Volumes { links: links.collect(), customers: customers.collect() })
    }

    /// Shows configured links and customers also before anything was committed for them.
    fn know(&mut self, links: &[u32], customers: &[CustomerId]) {
        for &id in links {
            self.links.entry(id).or_default();
        }
        let reserved = CustomerId::RESERVED.iter().map(|(id, _)| id);
        for id in customers.iter().chain(reserved) {
            self.customers.entry(id.0).or_default();
        }
    }
}

/// A sum beyond 64 bits, in parts that fit.
fn chunks(mut octets: i128, mut packets: i128) -> Vec<(u64, u64)> {
    let mut parts = Vec::new();
    loop {
        let part = |n: i128| u64::try_from(n.max(0)).unwrap_or(u64::MAX);
        let (o, p) = (part(octets), part(packets));
        parts.push((o, p));
        octets -= i128::from(o);
        packets -= i128::from(p);
        if octets <= 0 && packets <= 0 {
            return parts;
        }
    }
}

/// First second of the UTC month that holds `seconds`, and of the next.
fn month_of(seconds: i64) -> (i64, i64) {
    let utc = jiff::tz::TimeZone::UTC;
    let date = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_zoned(utc.clone()).date();
    let second =
        |date: jiff::civil::Date| date.to_zoned(utc.clone()).map_or(0, |z| z.timestamp().as_second());
    (second(date.first_of_month()), second(date.last_of_month()) + 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_half_open() {
        // 2026-02: 1769904000 .. 1772323200
        assert_eq!(month_of(1_772_323_199), (1_769_904_000, 1_772_323_200));
        assert_eq!(month_of(1_772_323_200).0, 1_772_323_200);
    }

    fn committed(octets: &[u64]) -> Vec<UsageRow> {
        committed_of(|_| "r1".to_owned(), octets, &["r1"]).0
    }

    /// Commits rows of these octets, each of an exporter at an address of its own, into a ledger that has numbered
    /// `known` and has one number left for strangers; returns what it has then, and what the counter of exporters without a place says.
    fn committed_of(name: impl Fn(u32) -> String, octets: &[u64], known: &[&str]) -> (Vec<UsageRow>, u64) {
        let directory = tempfile::tempdir().expect("a directory");
        let url = ledger::Url::parse("sqlite:ledger.sqlite", directory.path()).expect("a place");
        let mut ledger = Ledger::open(&url).expect("a new ledger");
        ledger.intern(NameKind::Exporter, known).expect("there is room");
        let source = ledger.source(ledger::records::SourceKind::Capture, "00").expect("a source").id;
        let counters = Arc::new(Counters::new(1, 0));
        let (mut usage, mut exporters) = (Vec::new(), Vec::new());
        for (n, &octets) in (0..).zip(octets) {
            let address = core::net::IpAddr::from(core::net::Ipv4Addr::from_bits(0x7f00_0001 + n));
            let exporter = crate::counters::Exporter::new(name(n), address);
            let id = ExporterId(u16::try_from(n).expect("few"));
            exporters.push((id, Arc::new(exporter)));
            usage.push(row(id, octets));
        }
        let mut committer = Committer::new(ledger, Arc::clone(&counters), 0).expect("a committer");
        committer.spare_exporters = u32::from(u16::MAX) - 2;
        let metered_octets = octets.iter().fold(0, |sum: u64, n| sum.saturating_add(*n)).min(SUM_MAX);
        let metered_packets = octets.len() as u64;
        let totals = crate::usage::FlushTotals { metered_octets, metered_packets, ..Default::default() };
        let drained = Drained { usage: usage.into(), exporters, totals, ..Drained::default() };
        let (from, to) = (crate::ids::Position(0), crate::ids::Position(1));
        let advance = Advance { source, from, to, complete: false, totals };
        let stop = AtomicBool::new(false);
        committer.commit(CheckpointScope::Live, vec![advance], drained, 0, &stop).expect("commits");
        let mut rows = Vec::new();
        committer.ledger().for_each_usage(&Default::default(), &mut |row| rows.push(row)).expect("reads");
        (rows, counters.exporter_table.failures.load(Relaxed))
    }

    /// One packet of `octets` octets.
    fn row(exporter: ExporterId, octets: u64) -> UsageRow {
        UsageRow {
            key: crate::usage::UsageKey {
                bucket: BucketStart(300),
                customer: CustomerId::LOCAL,
                link: crate::ids::LinkId::NONE,
                direction: Direction::None,
                class: crate::ids::ClassId::DEFAULT,
                family: crate::flow::Family::V4,
                exporter,
                rate: SamplingRate::NOT_ANNOUNCED,
            },
            sums: crate::usage::UsageSums { octets, packets: 1, flows: 1, ..Default::default() },
        }
    }

    /// The same name at an address that changed: two numbers in the process, one in the ledger.
    #[test]
    fn rows_of_one_exporter_at_two_addresses_become_one() {
        let rows = committed(&[100, 100]);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].sums.octets, rows[0].sums.flows), (200, 2));
    }

    /// Sums that nobody can have seen stop at the end of the ledger's range; they do not keep the flush out.
    #[test]
    fn claims_of_one_exporter_at_several_addresses_are_committed_however_large() {
        for (claims, expected) in [
            (&[(1 << 62) - 1, 7][..], (1 << 62) + 6),
            (&[(1 << 62) - 1; 2], (1 << 63) - 2),
            (&[(1 << 62) - 1; 5], (1 << 63) - 1),
        ] {
            let rows = committed(claims);
            assert_eq!(rows.len(), 1, "{claims:?}");
            assert_eq!((rows[0].sums.octets, rows[0].sums.flows), (expected, claims.len() as u64));
        }
    }

    /// Strangers cannot use up the numbers: the last ones stay for who is configured, and nothing that is metered of
    /// strangers is lost for it.
    #[test]
    fn exporters_without_a_number_are_booked_together() {
        let name = |n: u32| if n == 3 { "e7".to_owned() } else { format!("127.0.0.{}", n + 1) };
        let (rows, failures) = committed_of(name, &[1, 20, 300, 4000], &["e7"]);
        let found: Vec<(u16, u64)> = rows.iter().map(|row| (row.key.exporter.0, row.sums.octets)).collect();
        // The names come in the order of the process's numbers: the first gets the number, the known one has its own.
        assert_eq!((found, failures), (vec![(0, 320), (1, 4000), (2, 1)], 2));
    }

    #[test]
    fn sums_beyond_64_bits_are_split_without_loss() {
        let parts = chunks(i128::from(u64::MAX) + 7, 3);
        assert_eq!(parts, [(u64::MAX, 3), (7, 0)]);
    }
}
