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
use crate::flow::Direction;
use crate::ids::{CustomerId, ExporterId};
use crate::ledger::records::{Advance, Checkpoint, CheckpointScope, Flush, NameKind};
use crate::ledger::{self, Ledger};
use crate::processor::Drained;
use crate::setup::InForce;
use crate::units::SamplingRate;
use crate::usage::{BucketStart, Scaled, UsageRow};

/// Flushes on their way to the ledger, at most. When it is full, usage waits in the processors' tables.
pub const FLUSH_QUEUE: usize = 64;

/// Longest pause between two attempts to commit.
const RETRY_MS_MAX: u64 = 1000;

/// Waits of a flush for others who write the ledger, from which they count as contention. Beginning a transaction takes
/// no such time by itself.
const LOCK_WAIT_COUNTED: Duration = Duration::from_millis(5);

/// How long a daemon that is to stop waits for a busy ledger. What it has not taken then stays in the journal.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

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

/// An exporter's name, and the ledger's number of it. The name is empty where it has none yet.
#[derive(Clone, Debug, Default)]
struct Numbered {
    name: String,
    number: u32,
}

/// The one who writes the ledger.
pub struct Committer {
    ledger: Ledger,
    counters: Arc<Counters>,
    /// The ledger's number of each exporter, by the process's number.
    exporters: Vec<Numbered>,
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
        Self { ledger, counters, exporters: Vec::new(), patience: None, volumes: None }
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
        for exporter in self.counters.exporters() {
            if let Some(at) = names.iter().position(|name| *name == exporter.name) {
                exporter.ledger_id.store(numbers[at], Relaxed);
            }
        }
        self.publish()
    }

    /// Commits what was drained, waiting for a ledger that is busy. `stop` ends the waiting.
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
        let mut mapped = false;
        let mut flush = Flush { advances, usage: drained.usage, checkpoints };
        loop {
            let attempt =
                (if mapped { Ok(()) } else { self.number_exporters(&flush.usage) }).and_then(|()| {
                    if !mapped {
                        self.map_exporters(&mut flush.usage);
                        mapped = true;
                    }
                    self.ledger.commit_flush(&flush)
                });
            match attempt {
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
                    warn!(%error, "The ledger is busy; usage waits.");
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
            warn!(%error, "The committed volumes could not be published.");
        }
        Ok(())
    }

    /// Numbers for the exporters of `usage` that have none in the ledger yet. One that nothing is metered of gets none:
    /// numbers are never used again, and a stranger must not be able to use them up with a datagram each.
    fn number_exporters(&mut self, usage: &[UsageRow]) -> Result<(), ledger::Error> {
        let known = self.counters.exporters();
        self.exporters.resize(known.len(), Numbered::default());
        let mut wanted: Vec<usize> = usage.iter().map(|row| usize::from(row.key.exporter.0)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|&at| self.exporters[at].name != known[at].name);
        if wanted.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = wanted.iter().map(|&at| known[at].name.as_str()).collect();
        let numbers = self.ledger.intern(NameKind::Exporter, &names)?;
        for (at, number) in wanted.into_iter().zip(numbers) {
            known[at].ledger_id.store(number, Relaxed);
            self.exporters[at] = Numbered { name: known[at].name.clone(), number };
        }
        Ok(())
    }

    fn map_exporters(&self, usage: &mut Vec<UsageRow>) {
        let mut sorted = true;
        let mut last = None;
        for row in usage.iter_mut() {
            let number = self.exporters[usize::from(row.key.exporter.0)].number;
            row.key.exporter =
                ExporterId(u16::try_from(number).expect("the ledger numbers at most 65535 exporters"));
            sorted &= last.is_none_or(|last| last < row.key);
            last = Some(row.key);
        }
        if sorted {
            return;
        }
        // Two of the process's exporters may be one in the ledger: the same name, at an address that changed.
        usage.sort_unstable_by_key(|row| row.key);
        usage.dedup_by(|row, kept| row.key == kept.key && kept.sums.try_add(&row.sums));
    }

    fn publish(&mut self) -> Result<(), ledger::Error> {
        if let Some(volumes) = &mut self.volumes {
            let shown = volumes.publish(&mut self.ledger)?;
            self.counters.volumes.store(Arc::new(shown));
        }
        Ok(())
    }
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

    fn add(&mut self, usage: &[UsageRow], now_seconds: i64) {
        if now_seconds >= self.month_to {
            self.month.clear();
            (self.month_from, self.month_to) = month_of(now_seconds);
        }
        for UsageRow { key, sums } in usage {
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

    /// The same name at an address that changed: two numbers in the process, one in the ledger.
    #[test]
    fn rows_of_one_exporter_at_two_addresses_become_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = ledger::Url::parse("sqlite:ledger.sqlite", directory.path()).expect("a place");
        let mut ledger = Ledger::open(&url).expect("a new ledger");
        let source = ledger.source(ledger::records::SourceKind::Capture, "00").expect("a source").id;
        let counters = Arc::new(Counters::new(1, 0));
        for n in 1..=2 {
            let address = core::net::IpAddr::from([127, 0, 0, n]);
            let exporter = crate::counters::Exporter::new("r1".to_owned(), address);
            counters.exporters.write().expect("ours").push(Arc::new(exporter));
        }
        let mut committer = Committer::new(ledger, counters, 0).expect("a committer");
        let row = |exporter| UsageRow {
            key: crate::usage::UsageKey {
                bucket: BucketStart(300),
                customer: CustomerId::LOCAL,
                link: crate::ids::LinkId::NONE,
                direction: Direction::None,
                class: crate::ids::ClassId::DEFAULT,
                family: crate::flow::Family::V4,
                exporter: ExporterId(exporter),
                rate: SamplingRate::NOT_ANNOUNCED,
            },
            sums: crate::usage::UsageSums { octets: 100, packets: 1, flows: 1, ..Default::default() },
        };
        let totals =
            crate::usage::FlushTotals { metered_octets: 200, metered_packets: 2, ..Default::default() };
        let drained = Drained { usage: vec![row(0), row(1)], totals, checkpoints: Vec::new() };
        let (from, to) = (crate::ids::Position(0), crate::ids::Position(1));
        let advance = Advance { source, from, to, complete: false, totals };
        let stop = AtomicBool::new(false);
        committer.commit(CheckpointScope::Live, vec![advance], drained, 0, &stop).expect("commits");
        let mut rows = Vec::new();
        committer.ledger().for_each_usage(&Default::default(), &mut |row| rows.push(row)).expect("reads");
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].sums.octets, rows[0].sums.flows), (200, 2));
    }

    #[test]
    fn sums_beyond_64_bits_are_split_without_loss() {
        let parts = chunks(i128::from(u64::MAX) + 7, 3);
        assert_eq!(parts, [(u64::MAX, 3), (7, 0)]);
    }
}
