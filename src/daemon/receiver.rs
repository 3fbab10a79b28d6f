//! The thread of a stream processor: from its sockets to drained usage.
//!
//! It journals every datagram of an allowed exporter, and every message of its TCP connections, which it polls along
//! with the sockets. In which way it meters them is its [`Mode`]: at first it only journals
//! (until the journals' tails of the last run are committed), then it reads back what it journalled meanwhile, and
//! then it meters datagrams as they come. It falls back to a backlog when the ledger takes no usage and the usage table
//! is full, or when more comes than it meters: the journal then holds what the table, or the kernel's buffer, cannot.
//!
//! However many usage rows an exporter makes, and however fast it sends, nothing of that keeps this thread from its
//! sockets for more than some milliseconds: it is done in slices, or by the ledger's writer.

use core::net::IpAddr;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use tracing::{info, warn};

use super::backlog::{Backlog, Step};
use super::intake::{Intake, Mode, QUEUE_WAIT, bad_checkpoint};
use super::writer::Request;
use super::{Event, Shared, now_ms};
use crate::ids::{Position, SourceId};
use crate::journal::{self, Durable};
use crate::ledger::records::Advance;
use crate::processor::StreamProcessor;
use crate::processor::exporters::Exporters;
use crate::receive::socket::{self, Datagram, Others, Sockets};
use crate::receive::tcp::Streams;
use crate::units::UnixMillis;
use crate::usage::FlushTotals;

/// How long a receive waits for a datagram: also how soon a flush or a stop is noticed.
const RECEIVE_WAIT: Duration = Duration::from_millis(20);
/// How long the backlog is metered between two looks at the sockets, and the sockets are emptied between two looks at it.
const BACKLOG_SLICE: Duration = Duration::from_millis(2);
/// Receives in one go while there is a backlog.
const BACKLOG_ROUNDS: usize = 1000;
/// Octets of a backlog that is long, and receives in one go then.
const BACKLOG_LONG: u64 = 4 << 30;
const BACKLOG_ROUNDS_LONG: usize = 8;
/// So many full batches, one after the other, say that more comes than is metered: some milliseconds' worth of it.
const FULL_BATCHES: u32 = 16;
/// Receives in one go when a flush or a stop wants all that has arrived.
const EMPTY_ROUNDS: usize = 20_000;
/// And for so long at most: connections may bring more than that many datagrams would.
const EMPTY_WAIT: Duration = Duration::from_secs(5);
/// Between two looks at whether the disk has what is to be read back.
const DISK_WAIT: Duration = Duration::from_millis(1);
/// How long a stop waits for room for what connections have brought.
const STREAMS_WAIT: Duration = Duration::from_secs(5);
/// Flushes of one processor on their way to the ledger, at most.
const IN_FLIGHT_MAX: u64 = 2;
/// Sources remembered as allowed or not, at most.
const VERDICTS_MAX: usize = 65_536;
/// How often gauges are published and holds aged.
const TICK: Duration = Duration::from_millis(500);

/// What a receiver is made of.
pub(super) struct Parts {
    pub(super) index: usize,
    pub(super) writer: journal::Writer,
    pub(super) directory: PathBuf,
    pub(super) durable: Arc<Durable>,
    pub(super) source: SourceId,
    /// Where the journal ended when it was opened.
    pub(super) from: Position,
    pub(super) processor: StreamProcessor,
    pub(super) registry: Arc<Exporters>,
    pub(super) flush_ms: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) requests: SyncSender<Request>,
    pub(super) events: SyncSender<Event>,
}

pub(super) struct Receiver {
    intake: Intake,
    sockets: Sockets,
    streams: Streams,
    /// What is polled beside the sockets.
    others: Others,
    /// Everything before it is drained into a flush.
    drained: Position,
    verdicts: Verdicts,
    /// The generation by which connections were looked through.
    kept_by: u64,
    last_flush: Instant,
    last_tick: Instant,
    flush_done: u64,
    /// True while a backlog can be metered without waiting for anything.
    is_reading: bool,
    /// Batches that the sockets had more of than fits, one after the other.
    full_batches: u32,
}

/// Whether sources are allowed, by the configuration of a generation.
struct Verdicts {
    registry: Arc<Exporters>,
    generation: u64,
    by_source: HashMap<IpAddr, bool, foldhash::fast::RandomState>,
}

impl Verdicts {
    fn new(registry: Arc<Exporters>) -> Self {
        Self { generation: registry.generation(), registry, by_source: HashMap::default() }
    }

    fn admits(&mut self, source: IpAddr) -> bool {
        *self.by_source.entry(source).or_insert_with(|| self.registry.admit(source).is_some())
    }

    /// Takes up who may send, and how that is read and scaled, where it has changed: for all that is taken in from now on.
    /// Whoever waits for that is told.
    fn renew(&mut self, intake: &mut Intake) {
        let generation = self.registry.generation();
        if generation == self.generation && self.by_source.len() <= VERDICTS_MAX {
            return;
        }
        self.generation = generation;
        self.by_source.clear();
        intake.take_configuration();
        let parts = &intake.parts;
        parts.shared.configured[parts.index].store(generation, Relaxed);
    }
}

/// Why the thread ends before it is told to.
type Outcome = Result<(), String>;

impl Receiver {
    pub(super) fn new(parts: Parts, sockets: Sockets, streams: Streams) -> Self {
        let from = parts.from;
        // Limits are known before anything comes.
        let own = &parts.shared.counters.processors[parts.index];
        own.connections.limit.store(streams.limits().connections as u64, Relaxed);
        parts.durable.publish(&own.journal_queue);
        Self {
            verdicts: Verdicts::new(Arc::clone(&parts.registry)),
            kept_by: parts.registry.generation(),
            intake: Intake::new(parts),
            sockets,
            streams,
            others: Others::default(),
            drained: from,
            last_flush: Instant::now(),
            last_tick: Instant::now(),
            flush_done: 0,
            is_reading: false,
            full_batches: 0,
        }
    }

    /// Receives and meters until the daemon stops.
    ///
    /// Gives the sockets and listeners back, to be closed when all receivers have ended: without them the kernel would
    /// hand this receiver's exporters to another one, which would begin a memory of them anew and commit it over theirs.
    pub(super) fn run(mut self) -> (Sockets, Streams) {
        if let Err(message) = self.work() {
            let _ = self.intake.parts.events.send(Event::Fatal(message));
        }
        (self.sockets, self.streams)
    }

    fn work(&mut self) -> Outcome {
        while !self.intake.parts.shared.stopping.load(Relaxed) {
            self.receive(if self.is_reading { Duration::ZERO } else { RECEIVE_WAIT })?;
            match self.intake.mode {
                // To journal takes less time than to meter, and only what is not journalled can get lost.
                Mode::Direct if self.full_batches >= FULL_BATCHES => self.intake.put_off(),
                Mode::Backlog(_) => self.empty_sockets(self.backlog_rounds(), BACKLOG_SLICE)?,
                _ => {}
            }
            self.intake.parts.writer.tick(Instant::now());
            self.change_mode()?;
            self.read_back()?;
            self.tick();
            self.flush_if_due()?;
        }
        self.empty_sockets(EMPTY_ROUNDS, EMPTY_WAIT)?;
        self.end_streams()?;
        self.intake.parts.writer.hand_over();
        self.end_short_backlog()?;
        self.flush_at_the_end();
        Ok(())
    }

    /// Meters what is left of a short backlog. What is left of a long one waits in the journal for the next start.
    fn end_short_backlog(&mut self) -> Outcome {
        let begun = Instant::now();
        self.change_mode()?;
        while self.intake.has_short_backlog()
            && begun.elapsed() < EMPTY_WAIT
            && self.intake.parts.processor.has_room()
        {
            self.read_back()?;
            if !self.is_reading {
                std::thread::sleep(DISK_WAIT);
            }
        }
        Ok(())
    }

    /// Takes what the sockets and connections have. True: there was something.
    fn receive(&mut self, wait: Duration) -> Result<bool, String> {
        let Self { intake, sockets, streams, others, verdicts, .. } = self;
        verdicts.renew(intake);
        if core::mem::replace(&mut self.kept_by, verdicts.generation) != verdicts.generation {
            streams.keep_only(|address| verdicts.admits(address));
        }
        streams.watch(others, Instant::now());
        let batch = match sockets.receive_beside(others, wait) {
            Ok(batch) => batch,
            Err(error) => return Err(format!("receiving failed: {error}")),
        };
        // Again: a reload that ended while nothing came holds for what came then.
        verdicts.renew(intake);
        self.full_batches = if batch.is_full() { self.full_batches + 1 } else { 0 };
        intake.received = UnixMillis(now_ms());
        for Datagram { source, payload } in batch.iter() {
            if verdicts.admits(source.ip()) {
                intake.datagram(source, payload)?;
            } else {
                intake.reject(payload);
            }
        }
        let (index, processors) = (intake.parts.index, intake.parts.shared.committed.len());
        let is_ours = |address| socket::owner(address, processors) == index && verdicts.admits(address);
        let came = streams.take(others, Instant::now(), is_ours, |session, source, message| {
            intake.message(session, source, message)
        })?;
        intake.publish();
        if came {
            intake.own().connections.set_current(streams.len() as u64);
        }
        Ok(came || !batch.is_empty())
    }

    fn change_mode(&mut self) -> Outcome {
        if matches!(self.intake.mode, Mode::JournalOnly) && self.intake.parts.shared.caught_up.load(Relaxed) {
            let parts = &mut self.intake.parts;
            let (index, processors) = (parts.index, parts.shared.committed.len());
            let taken =
                parts.processor.take_up_waiting(move |address| socket::owner(address, processors) == index);
            taken.map_err(|e| bad_checkpoint(&e))?;
            self.intake.mode = Mode::Backlog(Backlog::default());
        }
        Ok(())
    }

    /// Receives in one go. Where the disk is slow, or the backlog is long already although there is room, the kernel keeps
    /// what comes, and drops what is too much, before the disk is full.
    fn backlog_rounds(&self) -> usize {
        let Intake { parts, metered, .. } = &self.intake;
        let is_long = parts.writer.end().0.saturating_sub(metered.0) > BACKLOG_LONG;
        let is_full = is_long && parts.processor.has_room() || !self.intake.has_quick_journal();
        if is_full { BACKLOG_ROUNDS_LONG } else { BACKLOG_ROUNDS }
    }

    /// Meters some of the backlog; at its end, datagrams are metered as they come.
    fn read_back(&mut self) -> Outcome {
        self.is_reading = false;
        if !matches!(self.intake.mode, Mode::Backlog(_)) {
            return Ok(());
        }
        let begun = Instant::now();
        while self.intake.parts.processor.has_room() {
            match self.intake.read_back()? {
                Step::Metered => {}
                Step::Waits => return Ok(()),
                Step::End => {
                    if !self.intake.is_passing() {
                        info!(processor = self.intake.parts.index, "Metering as datagrams come.");
                    }
                    self.full_batches = 0;
                    self.intake.metered = self.intake.parts.writer.end();
                    if self.intake.account_for_lost() {
                        self.streams.restart();
                    }
                    self.intake.go_direct();
                    return Ok(());
                }
            }
            if begun.elapsed() > BACKLOG_SLICE {
                self.is_reading = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Publishes gauges, lets holds age, and accounts for what the journal lost.
    fn tick(&mut self) {
        if self.last_tick.elapsed() < TICK {
            return;
        }
        self.last_tick = Instant::now();
        self.streams.expire(self.last_tick);
        let own = self.intake.own();
        own.kernel_drops.store(self.sockets.kernel_drops(), Relaxed);
        own.backlog.store(self.intake.parts.writer.end().0.saturating_sub(self.intake.metered.0), Relaxed);
        let (durable, journal) = (&self.intake.parts.durable, &own.journal);
        durable.publish(&own.journal_queue);
        journal.end.store(self.intake.parts.writer.end().0, Relaxed);
        journal.durable.store(durable.position().0, Relaxed);
        let lost = durable.lost();
        journal.lost_frames.store(lost.frames, Relaxed);
        journal.lost_octets.store(lost.octets, Relaxed);
        journal.is_failing.store(durable.failed(), Relaxed);
        let counts = self.streams.counts();
        own.connections.set_current(self.streams.len() as u64);
        own.connections.failures.store(counts.crowded, Relaxed);
        own.connections_accepted.store(counts.accepted, Relaxed);
        own.connections_refused.store(counts.refused, Relaxed);
        own.connections_broken.store(counts.broken, Relaxed);
        own.connections_idle.store(counts.idle, Relaxed);
        let is_direct = matches!(self.intake.mode, Mode::Direct);
        if self.intake.account_for_lost() {
            // A template may be among it, and over TCP it comes once.
            self.streams.restart();
        }
        let parts = &mut self.intake.parts;
        if is_direct {
            parts.processor.expire(UnixMillis(now_ms()));
        }
        parts.processor.publish_gauges();
    }

    fn flush_if_due(&mut self) -> Outcome {
        let wanted = self.intake.parts.shared.flush_wanted.load(Relaxed);
        let is_wanted = wanted > self.flush_done && matches!(self.intake.mode, Mode::Direct);
        if is_wanted {
            self.empty_sockets(EMPTY_ROUNDS, EMPTY_WAIT)?;
        }
        let is_due = self.last_flush.elapsed() >= Duration::from_millis(self.intake.parts.flush_ms);
        // Before the table is full, so that what comes need not wait for the ledger.
        let is_due = is_due || !self.intake.parts.processor.has_much_room();
        if !(is_wanted || is_due) || !self.may_flush() {
            return Ok(());
        }
        self.flush()?;
        // A socket emptied just now may have filled the table, or a mode changed: then the request waits.
        if is_wanted && matches!(self.intake.mode, Mode::Direct) {
            self.flush_done = wanted;
            let barrier = Request::Barrier { index: self.intake.parts.index, generation: wanted };
            self.intake
                .parts
                .requests
                .send(barrier)
                .map_err(|_| "the ledger's writer has stopped".to_owned())?;
        }
        Ok(())
    }

    fn may_flush(&self) -> bool {
        self.intake.parts.shared.in_flight[self.intake.parts.index].load(Relaxed) < IN_FLIGHT_MAX
    }

    /// Drains the processor into a flush. The caller has seen that there is room for one.
    fn flush(&mut self) -> Outcome {
        self.last_flush = Instant::now();
        let parts = &mut self.intake.parts;
        if matches!(self.intake.mode, Mode::JournalOnly)
            || (!parts.processor.has_news() && self.intake.metered == self.drained)
        {
            return Ok(());
        }
        let drained_at = now_ms();
        let drained = parts.processor.drain_unsorted();
        parts.writer.hand_over();
        let own = &parts.shared.counters.processors[parts.index];
        own.flushed_at.store(drained_at, Relaxed);
        let advance = Advance {
            source: parts.source,
            from: self.drained,
            to: self.intake.metered,
            complete: false,
            totals: FlushTotals::default(),
        };
        self.drained = self.intake.metered;
        parts.shared.in_flight[parts.index].fetch_add(1, Relaxed);
        let request = Request::Flush { index: parts.index, advance, drained, drained_at };
        parts.requests.send(request).map_err(|_| "the ledger's writer has stopped".to_owned())
    }

    /// Takes what had arrived: until the sockets have nothing, in so many receives and about so long at most.
    fn empty_sockets(&mut self, rounds: usize, most: Duration) -> Outcome {
        let begun = Instant::now();
        for _ in 0..rounds {
            if !self.receive(Duration::ZERO)? || begun.elapsed() > most {
                break;
            }
        }
        Ok(())
    }

    /// Closes the connections, whose peers take what has come for delivered: so it is taken, even if the disk is slow.
    fn end_streams(&mut self) -> Outcome {
        let begun = Instant::now();
        while self.streams.is_held_up() && begun.elapsed() < STREAMS_WAIT {
            let parts = &mut self.intake.parts;
            parts.writer.hand_over();
            parts.durable.wait_until(parts.writer.end(), QUEUE_WAIT);
            self.receive(Duration::ZERO)?;
        }
        let intake = &mut self.intake;
        intake.received = UnixMillis(now_ms());
        self.streams
            .end(Instant::now(), |session, source, message| intake.message(session, source, message))?;
        intake.publish();
        Ok(())
    }

    /// The last flush. What cannot be flushed any more stays in the journal for the next start.
    fn flush_at_the_end(&mut self) {
        let begun = Instant::now();
        while !self.may_flush() {
            let writer_ended = self.intake.parts.shared.writer_ended.load(Relaxed);
            if writer_ended || begun.elapsed() > Duration::from_secs(30) {
                warn!(
                    processor = self.intake.parts.index,
                    writer_ended, "The ledger takes nothing; what it has not taken stays in the journal."
                );
                return;
            }
            std::thread::yield_now();
            self.intake.parts.durable.wait_until(Position(u64::MAX), Duration::from_millis(10));
        }
        if self.flush().is_err() {
            warn!(
                processor = self.intake.parts.index,
                "The ledger's writer has stopped; usage stays in the journal."
            );
        }
    }
}
