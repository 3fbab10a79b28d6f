//! Replay: captures of export datagrams, and files of IPFIX messages, through the same path to a committed ledger.
//!
//! The capture is its own journal: a position is an offset in the file, the source is its SHA-256. A capture read to
//! its end is not read again, an interrupted one goes on where its last flush ended. The decoder's memory is apart from that of the
//! live exporters.

use core::net::{IpAddr, Ipv4Addr};
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::commit::{self, Committer};
use crate::counters::Counters;
use crate::ids::Position;
use crate::ledger::records::{Advance, CheckpointScope, Source, SourceKind};
use crate::ledger::{self, Ledger};
use crate::processor::checkpoint::{self, Unreadable};
use crate::processor::exporters::Exporters;
use crate::processor::{BadCheckpoint, Config, Drained, Held, StreamProcessor, Taken};
use crate::receive::pcap::{self, Capture, Skipped};
use crate::units::{SamplingRate, UnixMillis};
use crate::usage::{FlushTotals, Remembered, Scaled, UsageRows};
use crate::{config as configuration, setup};

/// Datagrams between two flushes, at most, where nobody says otherwise.
const FLUSH_DATAGRAMS: u64 = 1 << 20;

/// Datagrams after which holds age and progress is told.
const EXPIRE_DATAGRAMS: u64 = 4096;

/// Usage rows that a flush may have, where the operator does not say fewer: a row that two flushes write costs more than
/// two rows. Two million unsampled ones take a replay 147 MiB in all.
const FLUSH_ROWS: usize = 9 << 18;

/// How long a ledger that another process writes is waited for.
const LEDGER_PATIENCE: Duration = Duration::from_secs(60);

/// The checkpoint of a capture's half-assembled IP fragments stands under this name, which is no address.
const FRAGMENTS: &str = "fragments";

/// Why a capture was not replayed to its end. What was committed stays; the next replay of it goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The capture cannot be read.
    #[error(transparent)]
    Capture(#[from] pcap::Error),
    /// The ledger refused something.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// A flush was not committed.
    #[error(transparent)]
    Commit(#[from] commit::Error),
    /// The configuration cannot be put in force.
    #[error(transparent)]
    Setup(#[from] setup::Error),
    /// An interrupted replay cannot go on.
    #[error(transparent)]
    Checkpoint(#[from] BadCheckpoint),
    /// Links have interfaces by name, and the ledger does not know what they mean: what is held until it does would be in
    /// no row when the capture has been read.
    #[error(
        "links name interfaces of {exporters}, which no reading over SNMP has told yet; let `run` poll it first, or give `ifindex`"
    )]
    NamesUnknown {
        /// Their names.
        exporters: String,
    },
    /// An interrupted replay was begun with another exporter.
    #[error("the replay of `{}` was begun with its messages as those of {begun}; go on with the same exporter", path.display())]
    OtherExporter {
        /// The file.
        path: PathBuf,
        /// Whose they were.
        begun: IpAddr,
    },
    /// Another process put the file into the ledger meanwhile, or a part of it.
    #[error(
        "another `replay` put `{}` into the ledger at the same time: {found} of {octets} octets are in it. Nothing is counted \
         twice. When the other one is done, run this one again: it goes on where the ledger stands, or finds nothing to do",
        path.display()
    )]
    Overtaken {
        /// The file.
        path: PathBuf,
        /// How far the ledger has it.
        found: u64,
        /// How long it is.
        octets: u64,
    },
    /// An interrupted replay cannot go on: half-assembled IP fragments are part of where it stands.
    #[error("the checkpoint of the capture's IP fragments {0}")]
    Fragments(Unreadable),
}

/// What a replay did.
#[derive(Debug, Default)]
pub struct Report {
    /// True when the capture had been replayed before; nothing was done.
    pub already_complete: bool,
    /// Counts of this run.
    pub totals: FlushTotals,
    /// Still held at the end.
    pub held: Held,
    /// Datagrams of exporters that are not allowed.
    pub rejected: u64,
    /// Packets of the capture that gave no datagram.
    pub skipped: Skipped,
    /// Records with more octets or packets than any flow can have; they are in no row.
    pub implausible: u64,
    /// Octets of running totals that may be of flows of their own, which no field tells from another one; they are in no row.
    pub unclear_total_octets: u64,
    /// Scaled packets metered.
    pub packets: Scaled,
    /// Scaled octets metered.
    pub octets: Scaled,
    /// What else the exporters' counters say.
    pub noted: Noted,
    /// Captures that grew while they were read; what came behind is in no row.
    pub grown: u64,
}

/// What exporters' counters say of a run that changes no row by itself, and that an operator may want to mend.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Noted {
    /// Times that sampling rates of before a restart were used again.
    pub rates_taken_up: u64,
    /// Packets that dropped sFlow samples stood for and that no sample made up for.
    pub packets_unpaid: u64,
    /// Spans in which an sFlow sample pool contradicted the rate.
    pub pool_contradictions: u64,
    /// Records of exporters that observe both sides and do not say which.
    pub unknown_observations: u64,
    /// Records that torn datagrams claim.
    pub torn_records: u64,
    /// Octets of these datagrams.
    pub torn_octets: u64,
}

impl Noted {
    /// Of all exporters so far.
    fn so_far(counters: &Counters) -> Self {
        let mut sum = Self::default();
        for one in counters.exporters().iter() {
            sum.rates_taken_up += one.rates_taken_up.load(Relaxed);
            sum.packets_unpaid += one.sflow.packets_unpaid.load(Relaxed);
            sum.pool_contradictions += one.sflow.pool_contradictions.load(Relaxed);
            sum.unknown_observations += one.unknown_observations.load(Relaxed);
            sum.torn_records += one.torn_records.load(Relaxed);
            sum.torn_octets += one.torn_octets.load(Relaxed);
        }
        sum
    }

    fn each(&mut self, other: &Self, then: impl Fn(&mut u64, u64)) {
        then(&mut self.rates_taken_up, other.rates_taken_up);
        then(&mut self.packets_unpaid, other.packets_unpaid);
        then(&mut self.pool_contradictions, other.pool_contradictions);
        then(&mut self.unknown_observations, other.unknown_observations);
        then(&mut self.torn_records, other.torn_records);
        then(&mut self.torn_octets, other.torn_octets);
    }
}

impl Report {
    /// Records of which something is still held at the end: one of two directions is one, as in `totals.records`.
    #[must_use]
    pub const fn held_records(&self) -> u64 {
        self.held.records.saturating_sub(self.held.seconds)
    }

    /// The same of those that waited in vain.
    #[must_use]
    pub const fn expired_records(&self) -> u64 {
        self.totals.expired_records.saturating_sub(self.totals.expired_second_flows)
    }

    /// Adds what was metered.
    fn add(&mut self, usage: &UsageRows) {
        let (mut packets, mut octets, mut rate) = (0, 0, SamplingRate::NOT_ANNOUNCED);
        // Rows of one rate stand side by side as a rule, so a sum is kept for as long as it stays.
        for row in usage.iter() {
            if row.key.rate != rate {
                self.packets.add_sum(core::mem::take(&mut packets), rate);
                self.octets.add_sum(core::mem::take(&mut octets), rate);
                rate = row.key.rate;
            }
            packets += u128::from(row.sums.packets);
            octets += u128::from(row.sums.octets);
        }
        self.packets.add_sum(packets, rate);
        self.octets.add_sum(octets, rate);
    }

    /// Adds the figures of another capture.
    pub fn merge(&mut self, other: &Self) {
        self.already_complete &= other.already_complete;
        self.totals.add(&other.totals);
        self.held.records += other.held.records;
        self.held.seconds += other.held.seconds;
        self.held.sets += other.held.sets;
        self.held.set_octets += other.held.set_octets;
        self.held.record_octets += other.held.record_octets;
        self.rejected += other.rejected;
        self.skipped.add(&other.skipped);
        self.implausible += other.implausible;
        self.unclear_total_octets = self.unclear_total_octets.saturating_add(other.unclear_total_octets);
        self.packets.merge(&other.packets);
        self.octets.merge(&other.octets);
        self.noted.each(&other.noted, |own, other| *own = own.saturating_add(other));
        self.grown += other.grown;
    }
}

/// A ledger and a configuration, ready to replay captures.
pub struct Session {
    config: Config,
    counters: Arc<Counters>,
    registry: Arc<Exporters>,
    committer: Committer,
    flush_datagrams: u64,
    exporter: IpAddr,
}

impl Session {
    /// Puts `config` in force in `ledger`. Unknown exporters are accepted unless the operator says `reject`
    /// (see [`configuration::Config::accepts_unknown_exporters`]).
    ///
    /// # Errors
    /// When the ledger refuses it.
    pub fn open(config: &configuration::Config, ledger: Ledger, now_ms: i64) -> Result<Self, Error> {
        Self::start(config, ledger, now_ms, |ledger, counters| {
            Ok(Committer::without_volumes(ledger, counters))
        })
    }

    /// As [`Session::open`], and the counters show the ledger's volumes: all usage that is there is read once.
    ///
    /// # Errors
    /// When the ledger refuses it.
    pub fn open_with_volumes(
        config: &configuration::Config,
        ledger: Ledger,
        now_ms: i64,
    ) -> Result<Self, Error> {
        Self::start(config, ledger, now_ms, |ledger, counters| {
            Committer::new(ledger, counters, now_ms / 1000)
        })
    }

    fn start(
        config: &configuration::Config,
        mut ledger: Ledger,
        now_ms: i64,
        take_over: impl FnOnce(Ledger, Arc<Counters>) -> Result<Committer, ledger::Error>,
    ) -> Result<Self, Error> {
        let counters = Arc::new(Counters::new(1, now_ms));
        let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
        let accept = config.accepts_unknown_exporters(configuration::Intake::Capture);
        let in_force = setup::put_in_force(config, accept, &mut ledger, &registry, now_ms)?;
        if !in_force.waiting.is_empty() {
            return Err(Error::NamesUnknown { exporters: in_force.waiting.join(", ") });
        }
        let mut committer = take_over(ledger, Arc::clone(&counters))?;
        committer.set_patience(LEDGER_PATIENCE);
        committer.show(&in_force)?;
        let mut stages = setup::stages(config);
        if stages.meter.rows_max >= Config::default().meter.rows_max {
            stages.meter.rows_max = stages.meter.rows_max.max(FLUSH_ROWS);
        }
        if stages.sampling.grace_ms > 0 {
            // A file is read at once, so what is announced at its end may as well be waited for.
            stages.sampling.grace_ms = i64::MAX;
        }
        Ok(Self {
            config: stages,
            counters,
            registry,
            committer,
            flush_datagrams: FLUSH_DATAGRAMS,
            exporter: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        })
    }

    /// Commits after so many datagrams at most, so that less is read again after an interruption. What is metered does
    /// not depend on it.
    #[must_use]
    pub fn flush_after(mut self, datagrams: u64) -> Self {
        self.flush_datagrams = datagrams.max(1);
        self
    }

    /// Says whose messages files hold that cannot say it themselves ([`Capture::exporter`]).
    #[must_use]
    pub fn exporter(mut self, address: IpAddr) -> Self {
        self.exporter = address;
        self
    }

    /// The counters of all captures replayed so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The ledger.
    pub fn ledger(&mut self) -> &mut Ledger {
        self.committer.ledger()
    }

    /// Replays the capture at `path`. `progress` is told now and then how many octets of how many are read.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn replay(
        &mut self,
        path: &Path,
        now_seconds: i64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Report, Error> {
        let mut capture = Capture::open_as(path, self.exporter)?;
        let (registry, counters) = (Arc::clone(&self.registry), Arc::clone(&self.counters));
        let mut source = None;
        // To know a file is to read all of it. One that the ledger cannot have is read once, and known at its end.
        if self.committer.ledger().may_know_capture(capture.len())? {
            let known = self.committer.ledger().source(SourceKind::Capture, &capture.sha256()?)?;
            if known.complete {
                return Ok(Report { already_complete: true, ..Report::default() });
            }
            if let Some(begun) = resume(&mut capture, &registry, &mut self.committer, &known)? {
                return Err(Error::OtherExporter { path: path.to_owned(), begun });
            }
            source = Some(known);
        }
        let from = source.as_ref().map_or(Position(0), |source| source.position);
        let source = source.map(|source| source.id);
        let refused = |counters: &Counters| {
            let own = &counters.processors[0];
            (own.implausible.load(Relaxed), own.unclear_total_octets.load(Relaxed))
        };
        let before = refused(&self.counters);
        let noted_before = Noted::so_far(&self.counters);
        let mut processor = StreamProcessor::new(0, self.config, registry, counters);
        processor.take_up_waiting(|_| true)?;

        let flush_datagrams = self.flush_datagrams;
        let stop = AtomicBool::new(false);
        let (flushes, waiting) = sync_channel::<Flush>(0);
        let (idle, is_idle) = sync_channel::<()>(1);
        let committer = &mut self.committer;
        let octets = capture.len();
        std::thread::scope(|threads| {
            // The ledger is written while the capture is read on.
            let writer = threads.spawn(move || -> Result<(), commit::Error> {
                // Nobody listens once the capture has been read.
                while idle.send(()).is_ok()
                    && let Ok(Flush { capture, from, to, complete, drained }) = waiting.recv()
                {
                    let source = match source {
                        Some(known) => known,
                        // Where somebody else has replayed it meanwhile, it does not stand at `from`.
                        None => committer.ledger().source(SourceKind::Capture, &capture)?.id,
                    };
                    let advance = Advance { source, from, to, complete, totals: FlushTotals::default() };
                    let scope = CheckpointScope::Capture(source);
                    committer.commit(scope, vec![advance], drained, now_seconds, &stop)?;
                }
                Ok(())
            });
            let handover = Handover { flushes, is_idle };
            let read = read(&mut capture, &mut processor, from, &handover, flush_datagrams, progress);
            drop(handover);
            let committed = writer.join().expect("the writer does not panic");
            committed.map_err(|error| match error {
                commit::Error::Ledger(ledger::Error::Position { found, .. }) => {
                    Error::Overtaken { path: path.to_owned(), found: found.0, octets }
                }
                error => error.into(),
            })?;
            read
        })
        .map(|report| {
            let now = refused(&self.counters);
            let mut noted = Noted::so_far(&self.counters);
            noted.each(&noted_before, |now, before| *now = now.saturating_sub(before));
            Report { implausible: now.0 - before.0, unclear_total_octets: now.1 - before.1, noted, ..report }
        })
    }
}

/// Takes up an interrupted replay. An address: the file's messages were taken for those of that exporter, and would no
/// longer be.
fn resume(
    capture: &mut Capture,
    registry: &Exporters,
    committer: &mut Committer,
    source: &Source,
) -> Result<Option<IpAddr>, Error> {
    let mut states = Vec::new();
    let mut fragments = None;
    for left in committer.ledger().checkpoints(CheckpointScope::Capture(source.id))? {
        if left.exporter == FRAGMENTS {
            fragments = Some(checkpoint::read(&left.remembered.state).map_err(Error::Fragments)?);
        } else if let Ok(address) = left.exporter.parse::<IpAddr>() {
            states.push((address, left.remembered));
        }
    }
    if let Some(exporter) = capture.exporter()
        && let Some(&(begun, _)) = states.iter().find(|&&(address, _)| address != exporter)
    {
        return Ok(Some(begun));
    }
    registry.leave_states(states);
    if source.position > Position(0) {
        capture.resume(source.position.0, fragments.unwrap_or_default())?;
    }
    Ok(None)
}

/// What was read since the flush before.
struct Flush {
    /// The capture's SHA-256.
    capture: String,
    from: Position,
    to: Position,
    complete: bool,
    drained: Drained,
}

/// The way to the thread that writes the ledger.
struct Handover {
    flushes: SyncSender<Flush>,
    /// One for each flush that it could take.
    is_idle: Receiver<()>,
}

/// Reads the capture to its end, handing a flush over now and then.
fn read(
    capture: &mut Capture,
    processor: &mut StreamProcessor,
    mut from: Position,
    handover: &Handover,
    flush_datagrams: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, Error> {
    let mut report = Report::default();
    let (mut since_flush, mut since_expire) = (0, 0);
    let mut to = from;
    let mut clock = UnixMillis(0);
    // Only such a file has one exporter.
    processor.read_messages(capture.exporter().is_some());
    // False: the writer has given up; its error is the one to report.
    let mut flush =
        |capture: &mut Capture, processor: &mut StreamProcessor, to, complete, report: &mut Report| {
            // A flush is large: it is not made before the one before it is out of memory.
            if handover.is_idle.recv().is_err() {
                return Ok(false);
            }
            let mut drained = processor.drain();
            report.totals.add(&drained.totals);
            report.add(&drained.usage);
            let state = checkpoint::write(capture.fragments());
            let fragments = Remembered { state, ..Remembered::default() };
            drained.checkpoints.push((FRAGMENTS.to_owned(), fragments));
            let flush = Flush { capture: capture.sha256()?, from, to, complete, drained };
            from = to;
            Ok::<_, Error>(handover.flushes.send(flush).is_ok())
        };
    while let Some(packet) = capture.next()? {
        clock = clock.max(packet.time);
        to = Position(packet.offset);
        match processor.feed(packet.time, packet.source.ip().to_canonical(), packet.payload)? {
            Taken::Yes => {}
            Taken::Rejected => report.rejected += 1,
        }
        since_flush += 1;
        since_expire += 1;
        if since_expire >= EXPIRE_DATAGRAMS {
            since_expire = 0;
            progress(to.0, capture.len());
            processor.expire(clock);
        }
        if since_flush >= flush_datagrams || !processor.has_room() {
            since_flush = 0;
            if !flush(capture, processor, to, false, &mut report)? {
                return Ok(report);
            }
        }
    }
    processor.expire(clock);
    processor.finish();
    report.held = processor.held();
    report.skipped = *capture.skipped();
    report.skipped.incomplete += capture.fragments().waiting();
    report.grown = u64::from(capture.has_grown()?);
    flush(capture, processor, Position(capture.len().max(to.0)), true, &mut report)?;
    progress(capture.len(), capture.len());
    Ok(report)
}

#[cfg(test)]
mod tests;
