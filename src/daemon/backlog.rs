//! What is journalled and not metered yet: a processor's backlog.
//!
//! It is read back from the journal, in its order, up to a place behind which all that was journalled is in memory, too:
//! its *tail*. So the last part of it need not wait for the disk, and reception goes on all the while. Where the usage
//! table was full for a moment only, the tail is all there is. A tail that grows too long is given up: it is in the
//! journal, and another one begins where the reader has nearly caught up.

use core::net::IpAddr;
use core::sync::atomic::Ordering::Relaxed;
use std::collections::VecDeque;

use tracing::error;

use super::intake::{Intake, Mode};
use crate::ids::{Position, Session};
use crate::journal::Reader;
use crate::units::UnixMillis;

/// Octets of payload that a tail holds, and the most frames: as much as may be on its way to the disk.
const TAIL_OCTETS: usize = 16 << 20;
const TAIL_FRAMES: usize = 1 << 16;

/// What the reader has left when a tail is begun.
const SHORT_OCTETS: u64 = 4 << 20;

/// What a frame of the journal says beside its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) session: Option<Session>,
    pub(super) received: UnixMillis,
    pub(super) source: IpAddr,
    /// The position behind it.
    pub(super) end: Position,
}

/// The frames from a position to the journal's end.
#[derive(Debug)]
struct Tail {
    from: Position,
    /// With the lengths of their payloads.
    frames: VecDeque<(Frame, usize)>,
    /// Payloads, one after the other; the first so many octets of them were taken.
    payloads: Vec<u8>,
    taken: usize,
}

impl Tail {
    fn beginning_at(from: Position) -> Self {
        Self { from, frames: VecDeque::new(), payloads: Vec::new(), taken: 0 }
    }

    /// False: it is too long.
    fn push(&mut self, frame: Frame, payload: &[u8]) -> bool {
        if self.payloads.len() - self.taken + payload.len() > TAIL_OCTETS || self.frames.len() >= TAIL_FRAMES
        {
            return false;
        }
        if self.taken > TAIL_OCTETS / 4 || self.frames.is_empty() {
            self.payloads.drain(..self.taken);
            self.taken = 0;
        }
        self.payloads.extend_from_slice(payload);
        self.frames.push_back((frame, payload.len()));
        true
    }
}

/// Where the processor is in it.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Where it is not at what is metered, there is none.
    reader: Option<Reader>,
    tail: Option<Tail>,
    /// Where the journal could not be read, last.
    damaged_at: Option<Position>,
    /// It is short-lived and comes and goes, which nobody need be told.
    is_passing: bool,
}

impl Backlog {
    /// Nothing is journalled behind `from`.
    pub(super) fn beginning_at(from: Position) -> Self {
        Self { tail: Some(Tail::beginning_at(from)), ..Self::default() }
    }

    /// Takes note of a frame that was journalled. Everything before `metered` is metered.
    pub(super) fn keep(&mut self, frame: Frame, payload: &[u8], metered: Position) {
        if let Some(tail) = &mut self.tail
            && !tail.push(frame, payload)
        {
            self.forget(metered);
        }
    }

    /// Gives up what is in memory.
    pub(super) fn forget(&mut self, metered: Position) {
        self.is_passing = false;
        if self.tail.take().is_some_and(|tail| metered >= tail.from) {
            self.reader = None;
        }
    }
}

/// What came of metering a frame of the backlog.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// It is metered; there may be more.
    Metered,
    /// The next one has not reached the disk yet.
    Waits,
    /// There is none: the backlog is at its end.
    End,
}

impl Intake {
    /// From here on datagrams are only journalled, and metered when there is time; unless the disk is slow, too, since
    /// what the journal does not take can only be metered as it comes.
    pub(super) fn put_off(&mut self) {
        if !self.has_quick_journal() {
            return;
        }
        self.account_for_lost();
        self.metered_frames = self.appended;
        self.metered = self.parts.writer.end();
        self.mode = Mode::Backlog(Backlog { is_passing: true, ..Backlog::beginning_at(self.metered) });
    }

    /// True while less than half of what may wait for the disk does.
    pub(super) fn has_quick_journal(&self) -> bool {
        let queue = self.parts.durable.queue();
        queue.current.load(Relaxed) < queue.limit.load(Relaxed) / 2
    }

    /// True where there is a backlog that is read back in no time to speak of.
    pub(super) fn has_short_backlog(&self) -> bool {
        let left = self.parts.writer.end().0.saturating_sub(self.metered.0);
        match &self.mode {
            Mode::Backlog(backlog) => left <= SHORT_OCTETS || backlog.is_passing && backlog.tail.is_some(),
            _ => false,
        }
    }

    /// True where the backlog is in memory, and came of a moment in which more came than was metered.
    pub(super) fn is_passing(&self) -> bool {
        matches!(&self.mode, Mode::Backlog(backlog) if backlog.is_passing && backlog.tail.is_some())
    }

    /// Meters the next frame of the backlog, for which the processor has room.
    pub(super) fn read_back(&mut self) -> Result<Step, String> {
        let Mode::Backlog(backlog) = &mut self.mode else { return Ok(Step::Waits) };
        // Taken out while the rest of it is at work.
        let mut backlog = core::mem::take(backlog);
        let step = match &mut backlog.tail {
            Some(tail) if self.metered >= tail.from => self.meter_tail(tail),
            _ => self.meter_journal(&mut backlog),
        };
        self.mode = Mode::Backlog(backlog);
        step
    }

    fn meter_tail(&mut self, tail: &mut Tail) -> Result<Step, String> {
        let Some((frame, octets)) = tail.frames.pop_front() else { return Ok(Step::End) };
        let payload = &tail.payloads[tail.taken..tail.taken + octets];
        self.meter_frame(&frame, payload)?;
        tail.taken += octets;
        Ok(Step::Metered)
    }

    fn meter_journal(&mut self, backlog: &mut Backlog) -> Result<Step, String> {
        let Backlog { reader, tail, damaged_at, .. } = backlog;
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(
                Reader::open(&self.parts.directory, self.metered).map_err(|error| error.to_string())?,
            ),
        };
        let writer = &mut self.parts.writer;
        if tail.is_none() && writer.end().0.saturating_sub(reader.position().0) <= SHORT_OCTETS {
            writer.hand_over();
            *tail = Some(Tail::beginning_at(writer.end()));
        }
        let until = tail.as_ref().map_or(Position(u64::MAX), |tail| tail.from);
        // Asked before the reader looks: what reaches the disk after it looked has not been read.
        let durable = self.parts.durable.position();
        let is_all = durable >= until || self.parts.durable.failed();
        let processor = self.parts.index;
        match reader.next() {
            Ok(Some(frame)) if frame.end <= until => {
                let source = frame.source.ip().to_canonical();
                let head = Frame { session: frame.session, received: frame.received, source, end: frame.end };
                self.meter_frame(&head, frame.payload)?;
                Ok(Step::Metered)
            }
            Ok(None) if !is_all => Ok(Step::Waits),
            Ok(beyond) => {
                // A frame behind the beginning of the tail: what is before it was lost, and is accounted for.
                let is_cut = beyond.is_none() && reader.position() < durable.min(until);
                if is_cut {
                    let (read, durable) = (reader.position().0, durable.0);
                    error!(processor, read, durable, "The end of the journal cannot be read; it is lost.");
                }
                if self.parts.durable.failed() {
                    // What it could not write is accounted for as lost, also where it is in memory.
                    backlog.forget(self.metered);
                }
                self.go_on_in_memory(backlog);
                Ok(Step::Metered)
            }
            Err(error) => {
                error!(processor, %error, "A part of the journal cannot be read; it is lost.");
                if damaged_at.replace(reader.position()) == Some(reader.position()) {
                    // Nothing behind it can be found either.
                    self.go_on_in_memory(backlog);
                }
                Ok(Step::Metered)
            }
        }
    }

    /// The journal has nothing more before the tail; where there is none, nothing at all.
    fn go_on_in_memory(&mut self, backlog: &mut Backlog) {
        let end = self.parts.writer.end();
        let tail = backlog.tail.get_or_insert_with(|| Tail::beginning_at(end));
        self.metered = self.metered.max(tail.from);
        backlog.reader = None;
    }
}
