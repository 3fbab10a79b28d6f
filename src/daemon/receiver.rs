//! The thread of a stream processor: from its sockets to drained usage.
//!
//! It journals every datagram of an allowed exporter. In which way it meters them is its [`Mode`]: at first it only journals
//! (until the journals' tails of the last run are committed), then it reads back what it journalled meanwhile, and
//! then it meters datagrams as they come. It falls back to reading when the ledger takes no usage and the usage table
//! is full: the journal then holds what the table cannot.

use core::net::IpAddr;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use tracing::{error, info, warn};

use super::writer::Request;
use super::{Event, Shared, now_ms};
use crate::counters;
use crate::ids::{Position, SourceId};
use crate::journal::{self, Durable, Reader, Refused};
use crate::ledger::records::Advance;
use crate::processor::exporters::Exporters;
use crate::processor::{BadCheckpoint, StreamProcessor, Taken};
use crate::receive::socket::{self, Datagram, Sockets};
use crate::units::UnixMillis;
use crate::usage::FlushTotals;

/// How long a receive waits for a datagram: also how soon a flush or a stop is noticed.
const RECEIVE_WAIT: Duration = Duration::from_millis(20);
/// How long datagrams wait for room in the journal's queue before they are metered without it. Meanwhile the
/// kernel's socket buffer holds what comes.
const QUEUE_WAIT: Duration = Duration::from_millis(200);
/// Frames read back between two looks at the sockets.
const BACKLOG_FRAMES: usize = 2048;
/// A backlog so short that reading it to its end, with the sockets left alone, takes no time that matters.
const BACKLOG_SHORT: u64 = 4 << 20;
/// Receives in one go when a flush or a stop wants all that has arrived.
const EMPTY_ROUNDS: usize = 20_000;
/// Flushes of one processor on their way to the ledger, at most.
const IN_FLIGHT_MAX: u64 = 2;
/// Sources remembered as allowed or not, at most.
const VERDICTS_MAX: usize = 65_536;
/// How often gauges are published and holds aged.
const TICK: Duration = Duration::from_millis(500);

/// How datagrams get from the journal into the meter.
enum Mode {
    /// Not yet: the journals' tails are being committed.
    JournalOnly,
    /// Read back from the journal.
    Backlog(Reader),
    /// As they come.
    Direct,
}

/// What a receiver is made of.
pub(super) struct Parts {
    pub(super) index: usize,
    pub(super) sockets: Sockets,
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
    parts: Parts,
    mode: Mode,
    /// Everything before it is metered ...
    metered: Position,
    /// ... and everything before it is drained into a flush.
    drained: Position,
    /// Whether a source is allowed, as of `generation`.
    verdicts: HashMap<IpAddr, bool, foldhash::fast::RandomState>,
    generation: u64,
    last_flush: Instant,
    last_tick: Instant,
    /// Frames lost by the journal that are accounted for.
    lost_frames: u64,
    flush_done: u64,
    /// Where the journal could not be read, last.
    damaged_at: Option<Position>,
}

/// Why the thread ends before it is told to.
type Outcome = Result<(), String>;

impl Receiver {
    pub(super) fn new(parts: Parts) -> Self {
        let from = parts.from;
        // Limits are known before anything comes.
        parts.durable.publish(&parts.shared.counters.processors[parts.index].journal_queue);
        Self {
            generation: parts.registry.generation(),
            parts,
            mode: Mode::JournalOnly,
            metered: from,
            drained: from,
            verdicts: HashMap::default(),
            last_flush: Instant::now(),
            last_tick: Instant::now(),
            lost_frames: 0,
            flush_done: 0,
            damaged_at: None,
        }
    }

    /// Receives and meters until the daemon stops.
    ///
    /// Gives the sockets back, to be closed when all receivers have ended: without them the kernel would hand this
    /// receiver's exporters to another one, which would begin a memory of them anew and commit it over theirs.
    pub(super) fn run(mut self) -> Sockets {
        if let Err(message) = self.work() {
            let _ = self.parts.events.send(Event::Fatal(message));
        }
        self.parts.sockets
    }

    fn work(&mut self) -> Outcome {
        while !self.parts.shared.stopping.load(Relaxed) {
            // While the usage table is full, there is nothing to be done but to receive.
            let is_reading = matches!(self.mode, Mode::Backlog(_)) && self.parts.processor.has_room();
            let wait = if is_reading { Duration::ZERO } else { RECEIVE_WAIT };
            self.receive(wait)?;
            self.parts.writer.tick(Instant::now());
            self.change_mode()?;
            self.read_back()?;
            self.tick();
            self.flush_if_due()?;
        }
        self.empty_sockets()?;
        self.parts.writer.hand_over();
        self.flush_at_the_end();
        Ok(())
    }

    /// Takes what the sockets have; returns how many datagrams that was.
    fn receive(&mut self, wait: Duration) -> Result<usize, String> {
        let parts = &mut self.parts;
        let own = &parts.shared.counters.processors[parts.index];
        if parts.registry.generation() != self.generation || self.verdicts.len() > VERDICTS_MAX {
            self.generation = parts.registry.generation();
            self.verdicts.clear();
        }
        let batch = match parts.sockets.receive(wait) {
            Ok(batch) => batch,
            Err(error) => return Err(format!("receiving failed: {error}")),
        };
        let received = UnixMillis(now_ms());
        let (mut datagrams, mut octets, mut rejected, mut journalled, mut unjournalled, mut dropped) =
            (0_u64, 0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
        for Datagram { source, payload } in batch.iter() {
            datagrams += 1;
            octets += payload.len() as u64;
            let address = source.ip();
            let allowed =
                *self.verdicts.entry(address).or_insert_with(|| parts.registry.admit(address).is_some());
            if !allowed {
                rejected += 1;
                continue;
            }
            let before = parts.writer.end();
            let kept = journal(&mut parts.writer, &parts.durable, received, source, payload).is_ok();
            if kept {
                journalled += 1;
            }
            let meter_now = matches!(self.mode, Mode::Direct);
            if meter_now && parts.processor.has_room() {
                match parts.processor.feed(received, address, payload).map_err(|e| bad_checkpoint(&e))? {
                    Taken::Yes => unjournalled += u64::from(!kept),
                    Taken::Rejected => {
                        // A reload took its exporter away in the middle of the batch.
                        rejected += 1;
                        journalled -= u64::from(kept);
                    }
                }
                self.metered = parts.writer.end();
            } else if !kept {
                dropped += 1;
            } else if meter_now {
                // The usage table is full: the journal holds the rest until the ledger takes usage again.
                warn!(processor = parts.index, "The usage table is full; datagrams wait in the journal.");
                parts.processor.publish_gauges();
                own.usage.failures.fetch_add(1, Relaxed);
                account_for_lost(own, &parts.durable, &mut self.lost_frames, true);
                let reader = Reader::open(&parts.directory, before).map_err(|e| e.to_string())?;
                self.mode = Mode::Backlog(reader);
            }
        }
        for (counter, n) in [
            (&own.datagrams, datagrams),
            (&own.octets, octets),
            (&own.rejected, rejected),
            (&own.journalled, journalled),
            (&own.unjournalled, unjournalled),
            (&own.dropped, dropped),
        ] {
            if n > 0 {
                counter.fetch_add(n, Relaxed);
            }
        }
        Ok(usize::try_from(datagrams).unwrap_or(usize::MAX))
    }

    fn change_mode(&mut self) -> Outcome {
        if matches!(self.mode, Mode::JournalOnly) && self.parts.shared.caught_up.load(Relaxed) {
            let parts = &mut self.parts;
            let (index, processors) = (parts.index, parts.shared.committed.len());
            let taken =
                parts.processor.take_up_waiting(|address| socket::owner(address, processors) == index);
            taken.map_err(|e| bad_checkpoint(&e))?;
            let reader = Reader::open(&parts.directory, self.metered).map_err(|e| e.to_string())?;
            self.mode = Mode::Backlog(reader);
        }
        Ok(())
    }

    /// Meters some of the backlog; at its end, datagrams are metered as they come.
    fn read_back(&mut self) -> Outcome {
        let parts = &mut self.parts;
        let Mode::Backlog(reader) = &mut self.mode else { return Ok(()) };
        if !parts.processor.has_room() {
            return Ok(());
        }
        let left = parts.writer.end().0.saturating_sub(reader.position().0);
        let to_the_end = left <= BACKLOG_SHORT;
        if to_the_end {
            parts.writer.hand_over();
            parts.durable.wait_until(parts.writer.end(), Duration::from_secs(2));
        }
        let mut frames = 0;
        while parts.processor.has_room() && (to_the_end || frames < BACKLOG_FRAMES) {
            match reader.next() {
                Ok(Some(frame)) => {
                    let source = frame.source.ip().to_canonical();
                    let taken = parts
                        .processor
                        .feed(frame.received, source, frame.payload)
                        .map_err(|e| bad_checkpoint(&e))?;
                    if taken == Taken::Rejected {
                        // A reload took its exporter away while it waited in the journal.
                        let own = &parts.shared.counters.processors[parts.index];
                        own.rejected.fetch_add(1, Relaxed);
                        own.journalled.fetch_sub(1, Relaxed);
                    }
                    self.metered = frame.end;
                    frames += 1;
                }
                Ok(None) => {
                    if parts.durable.position() >= parts.writer.end() || parts.durable.failed() {
                        let own = &parts.shared.counters.processors[parts.index];
                        account_for_lost(own, &parts.durable, &mut self.lost_frames, false);
                        self.metered = parts.writer.end();
                        self.mode = Mode::Direct;
                        info!(processor = parts.index, "Metering as datagrams come.");
                    }
                    return Ok(());
                }
                Err(error) => {
                    error!(processor = parts.index, %error, "A part of the journal cannot be read; it is lost.");
                    if self.damaged_at.replace(reader.position()) == Some(reader.position()) {
                        // Nothing behind it can be found either.
                        self.metered = parts.writer.end();
                        self.mode = Mode::Direct;
                    }
                    return Ok(());
                }
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
        let parts = &mut self.parts;
        let own = &parts.shared.counters.processors[parts.index];
        own.kernel_drops.store(parts.sockets.kernel_drops(), Relaxed);
        own.backlog.store(parts.writer.end().0.saturating_sub(self.metered.0), Relaxed);
        parts.durable.publish(&own.journal_queue);
        let is_direct = matches!(self.mode, Mode::Direct);
        account_for_lost(own, &parts.durable, &mut self.lost_frames, is_direct);
        if matches!(self.mode, Mode::Direct) {
            parts.processor.expire(UnixMillis(now_ms()));
        }
        parts.processor.publish_gauges();
    }

    fn flush_if_due(&mut self) -> Outcome {
        let wanted = self.parts.shared.flush_wanted.load(Relaxed);
        let is_wanted = wanted > self.flush_done && matches!(self.mode, Mode::Direct);
        if is_wanted {
            self.empty_sockets()?;
        }
        let is_due = self.last_flush.elapsed() >= Duration::from_millis(self.parts.flush_ms);
        if !(is_wanted || is_due || !self.parts.processor.has_room()) || !self.may_flush() {
            return Ok(());
        }
        self.flush()?;
        // A socket emptied just now may have filled the table, or a mode changed: then the request waits.
        if is_wanted && matches!(self.mode, Mode::Direct) {
            self.flush_done = wanted;
            let barrier = Request::Barrier { index: self.parts.index, generation: wanted };
            self.parts.requests.send(barrier).map_err(|_| "the ledger's writer has stopped".to_owned())?;
        }
        Ok(())
    }

    fn may_flush(&self) -> bool {
        self.parts.shared.in_flight[self.parts.index].load(Relaxed) < IN_FLIGHT_MAX
    }

    /// Drains the processor into a flush. The caller has seen that there is room for one.
    fn flush(&mut self) -> Outcome {
        self.last_flush = Instant::now();
        let parts = &mut self.parts;
        if matches!(self.mode, Mode::JournalOnly)
            || (!parts.processor.has_news() && self.metered == self.drained)
        {
            return Ok(());
        }
        let drained_at = now_ms();
        let drained = parts.processor.drain();
        parts.writer.hand_over();
        let own = &parts.shared.counters.processors[parts.index];
        own.flushed_at.store(drained_at, Relaxed);
        let advance = Advance {
            source: parts.source,
            from: self.drained,
            to: self.metered,
            complete: false,
            totals: FlushTotals::default(),
        };
        self.drained = self.metered;
        parts.shared.in_flight[parts.index].fetch_add(1, Relaxed);
        let request = Request::Flush { index: parts.index, advance, drained, drained_at };
        parts.requests.send(request).map_err(|_| "the ledger's writer has stopped".to_owned())
    }

    /// Takes all that had arrived: until the sockets have nothing.
    fn empty_sockets(&mut self) -> Outcome {
        for _ in 0..EMPTY_ROUNDS {
            if self.receive(Duration::ZERO)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The last flush. What cannot be flushed any more stays in the journal for the next start.
    fn flush_at_the_end(&mut self) {
        let begun = Instant::now();
        while !self.may_flush() {
            if begun.elapsed() > Duration::from_secs(30) {
                warn!(
                    processor = self.parts.index,
                    "The ledger is busy; what it has not taken stays in the journal."
                );
                return;
            }
            std::thread::yield_now();
            self.parts.durable.wait_until(Position(u64::MAX), Duration::from_millis(10));
        }
        if self.flush().is_err() {
            warn!(
                processor = self.parts.index,
                "The ledger's writer has stopped; usage stays in the journal."
            );
        }
    }
}

/// Counts the frames that the journal lost since the last call: metered all the same, or gone. To be called before the
/// mode changes, since that decides which.
fn account_for_lost(own: &counters::Processor, durable: &Durable, accounted: &mut u64, were_metered: bool) {
    let frames = durable.lost().frames - *accounted;
    if frames == 0 {
        return;
    }
    *accounted += frames;
    own.journalled.fetch_sub(frames, Relaxed);
    let counter = if were_metered { &own.unjournalled } else { &own.dropped };
    counter.fetch_add(frames, Relaxed);
    if were_metered {
        error!(frames, "The journal could not be written; these datagrams have no replay protection.");
    } else {
        error!(frames, "The journal could not be written; these datagrams are lost.");
    }
}

/// Puts a datagram into the journal, waiting a little for room.
fn journal(
    writer: &mut journal::Writer,
    durable: &Durable,
    received: UnixMillis,
    source: SocketAddr,
    payload: &[u8],
) -> Result<(), Refused> {
    match writer.append(received, source, payload) {
        Ok(_) => Ok(()),
        Err(Refused::Full) => {
            writer.hand_over();
            durable.wait_until(writer.end(), QUEUE_WAIT);
            writer.append(received, source, payload).map(|_| ())
        }
        Err(refused) => Err(refused),
    }
}

fn bad_checkpoint(error: &BadCheckpoint) -> String {
    error.to_string()
}
