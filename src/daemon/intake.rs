//! What becomes of a datagram, or of a message that came over TCP: it goes into the journal, and, where things as they
//! come are metered, on into the meter.
//!
//! A datagram that the journal has no room for waits a little and is then metered without it, or dropped. A message of
//! a TCP connection is left where it is instead, and TCP holds up its sender: so none is ever dropped.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use tracing::{error, warn};

use super::backlog::{Backlog, Frame};
use super::receiver::Parts;
use crate::counters;
use crate::exporter::Policies;
use crate::ids::{Position, Session};
use crate::journal::{self, Durable, Refused};
use crate::processor::{BadCheckpoint, Taken};
use crate::receive::tcp::Offer;
use crate::units::UnixMillis;

/// How long datagrams wait for room in the journal's queue before they are metered without it. Meanwhile the
/// kernel's socket buffer holds what comes.
pub(super) const QUEUE_WAIT: Duration = Duration::from_millis(200);

/// How datagrams get from the journal into the meter.
#[expect(clippy::large_enum_variant, reason = "a processor has one")]
pub(super) enum Mode {
    /// Not yet: the journals' tails are being committed.
    JournalOnly,
    /// Later, from the journal or from memory.
    Backlog(Backlog),
    /// As they come.
    Direct,
}

/// The journal and the processor, and how far each is.
pub(super) struct Intake {
    pub(super) parts: Parts,
    pub(super) mode: Mode,
    /// Everything before it is metered.
    pub(super) metered: Position,
    /// Frames that the journal has taken, since the start, but for the boundaries of sessions ...
    pub(super) appended: u64,
    /// ... the first so many of which were metered or are gone, while they are read back ...
    pub(super) metered_frames: u64,
    /// ... and those that it lost again and that are accounted for.
    lost_frames: u64,
    /// The instant of reception of what is taken in now.
    pub(super) received: UnixMillis,
    /// By what it is read and scaled ...
    policies: Arc<Policies>,
    /// ... and from which position on others are that hold there, where what is journalled is not metered yet.
    switches: VecDeque<(Position, Arc<Policies>)>,
    tally: Tally,
}

/// Datagrams and messages by what became of them, since they were last added to the counters.
#[derive(Default)]
struct Tally {
    datagrams: u64,
    octets: u64,
    rejected: u64,
    journalled: u64,
    unjournalled: u64,
    dropped: u64,
}

impl Intake {
    pub(super) fn new(mut parts: Parts) -> Self {
        let policies = parts.registry.policies();
        parts.writer.set_version(policies.version());
        parts.processor.go_by(&policies);
        Self {
            policies,
            switches: VecDeque::new(),
            mode: Mode::JournalOnly,
            metered: parts.from,
            appended: 0,
            metered_frames: 0,
            lost_frames: 0,
            received: UnixMillis(0),
            tally: Tally::default(),
            parts,
        }
    }

    /// This processor's counters.
    pub(super) fn own(&self) -> &counters::Processor {
        &self.parts.shared.counters.processors[self.parts.index]
    }

    /// What is taken in from now on goes by what is in force now.
    pub(super) fn take_configuration(&mut self) {
        let policies = self.parts.registry.policies();
        let is_direct = matches!(self.mode, Mode::Direct);
        if !Arc::ptr_eq(&policies, &self.policies) {
            self.parts.writer.set_version(policies.version());
            if is_direct {
                self.parts.processor.go_by(&policies);
            } else {
                self.switches.push_back((self.parts.writer.end(), Arc::clone(&policies)));
            }
            self.policies = policies;
        }
        if is_direct {
            self.parts.processor.take_up_configuration();
        }
    }

    /// The backlog is at its end: from here on things are metered as they come.
    pub(super) fn go_direct(&mut self) {
        self.mode = Mode::Direct;
        self.switches.clear();
        self.parts.processor.go_by(&self.policies);
    }

    /// Counts a datagram of somebody who is not allowed.
    pub(super) fn reject(&mut self, payload: &[u8]) {
        self.tally.datagrams += 1;
        self.tally.octets += payload.len() as u64;
        self.tally.rejected += 1;
    }

    /// Takes in a datagram.
    pub(super) fn datagram(&mut self, source: SocketAddr, payload: &[u8]) -> Result<(), String> {
        let before = self.parts.writer.end();
        let kept = self.journal(source, payload).is_ok();
        self.meter(None, source, payload, before, kept)
    }

    /// Takes in a message of a session, or the session's boundary, unless it has to wait.
    pub(super) fn message(
        &mut self,
        session: Session,
        source: SocketAddr,
        payload: &[u8],
    ) -> Result<Offer, String> {
        let before = self.parts.writer.end();
        let kept = match self.parts.writer.append_in(Some(session), self.received, source, payload) {
            Ok(_) => true,
            Err(Refused::Full) => {
                self.parts.writer.hand_over();
                return Ok(Offer::Later);
            }
            // Without the journal it must be metered at once.
            Err(_) if matches!(self.mode, Mode::Direct) && self.parts.processor.has_room() => false,
            Err(_) => return Ok(Offer::Later),
        };
        self.meter(Some(session), source, payload, before, kept)?;
        Ok(Offer::Taken)
    }

    /// Meters what was journalled (`kept`) from `before` on, where things are metered as they come.
    fn meter(
        &mut self,
        session: Option<Session>,
        source: SocketAddr,
        payload: &[u8],
        before: Position,
        kept: bool,
    ) -> Result<(), String> {
        // A session's boundary is no datagram.
        let one = u64::from(session.is_none() || !payload.is_empty());
        let Self { parts, mode, tally, .. } = self;
        self.appended += one * u64::from(kept);
        tally.datagrams += one;
        tally.octets += payload.len() as u64;
        tally.journalled += one * u64::from(kept);
        let frame = Frame { session, received: self.received, source: source.ip(), end: parts.writer.end() };
        let meter_now = matches!(mode, Mode::Direct);
        if meter_now && parts.processor.has_room() {
            let taken = parts.processor.feed_in(session, self.received, source.ip(), payload);
            match taken.map_err(|e| bad_checkpoint(&e))? {
                Taken::Yes => tally.unjournalled += one * u64::from(!kept),
                Taken::Rejected => {
                    // A reload took its exporter away in the middle of the batch, and it has no number yet.
                    tally.rejected += one;
                    tally.journalled -= one * u64::from(kept);
                }
            }
            self.metered = frame.end;
        } else if !kept {
            tally.dropped += one;
        } else if let Mode::Backlog(backlog) = mode {
            backlog.keep(frame, payload, self.metered);
        } else if meter_now {
            // The usage table is full: the journal holds the rest until the ledger takes usage again.
            warn!(processor = parts.index, "The usage table is full; datagrams wait in the journal.");
            parts.processor.publish_gauges();
            self.own().usage.failures.fetch_add(1, Relaxed);
            self.account_for_lost();
            // All but this one.
            self.metered_frames = self.appended - one;
            self.metered = before;
            let mut backlog = Backlog::beginning_at(before);
            backlog.keep(frame, payload, before);
            self.mode = Mode::Backlog(backlog);
        }
        Ok(())
    }

    /// Meters a frame that waited.
    pub(super) fn meter_frame(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), String> {
        let one = u64::from(frame.session.is_none() || !payload.is_empty());
        while let Some((_, policies)) = self.switches.pop_front_if(|(from, _)| *from < frame.end) {
            self.parts.processor.go_by(&policies);
        }
        let taken = self
            .parts
            .processor
            .feed_in(frame.session, frame.received, frame.source, payload)
            .map_err(|e| bad_checkpoint(&e))?;
        if taken == Taken::Rejected {
            // A reload took its exporter away while it waited in the journal, and there is no number left for it.
            let own = self.own();
            own.rejected.fetch_add(one, Relaxed);
            own.journalled.fetch_sub(one, Relaxed);
        }
        self.metered = frame.end;
        self.metered_frames += one;
        Ok(())
    }

    /// Adds what became of things to the counters.
    pub(super) fn publish(&mut self) {
        let tally = core::mem::take(&mut self.tally);
        let own = self.own();
        let pairs: [(&AtomicU64, u64); 6] = [
            (&own.datagrams, tally.datagrams),
            (&own.octets, tally.octets),
            (&own.rejected, tally.rejected),
            (&own.journalled, tally.journalled),
            (&own.unjournalled, tally.unjournalled),
            (&own.dropped, tally.dropped),
        ];
        for (counter, n) in pairs {
            if n > 0 {
                counter.fetch_add(n, Relaxed);
            }
        }
    }

    /// Counts the frames that the journal lost since the last call: metered all the same, or gone. To be called before
    /// the mode changes, since that decides which. True: some are gone.
    pub(super) fn account_for_lost(&mut self) -> bool {
        let frames = self.parts.durable.lost().frames - self.lost_frames;
        if frames == 0 {
            return false;
        }
        let metered = match self.mode {
            Mode::Direct => frames,
            Mode::JournalOnly | Mode::Backlog(_) => {
                let before = self.parts.durable.frames() + self.lost_frames;
                metered_of_lost(self.metered_frames, before, frames)
            }
        };
        let gone = frames - metered;
        if let Mode::Backlog(backlog) = &mut self.mode {
            // Of what waits in memory, too, nobody could tell any more what is in the journal.
            backlog.forget(self.metered);
        }
        self.lost_frames += frames;
        self.metered_frames += gone;
        let own = self.own();
        own.journalled.fetch_sub(frames, Relaxed);
        own.unjournalled.fetch_add(metered, Relaxed);
        own.dropped.fetch_add(gone, Relaxed);
        if metered > 0 {
            error!(
                frames = metered,
                "The journal could not be written; these datagrams have no replay protection."
            );
        }
        if gone > 0 {
            error!(frames = gone, "The journal could not be written; these datagrams are lost.");
        }
        gone > 0
    }

    /// Puts a datagram into the journal, waiting a little for room.
    fn journal(&mut self, source: SocketAddr, payload: &[u8]) -> Result<(), Refused> {
        let (writer, durable): (&mut journal::Writer, &Durable) =
            (&mut self.parts.writer, &self.parts.durable);
        match writer.append(self.received, source, payload) {
            Ok(_) => Ok(()),
            Err(Refused::Full) => {
                writer.hand_over();
                durable.wait_until(writer.end(), QUEUE_WAIT);
                writer.append(self.received, source, payload).map(|_| ())
            }
            Err(refused) => Err(refused),
        }
    }
}

/// Of the `frames` frames that the journal lost behind the first `before`, how many are among the first `metered`. What
/// it loses is what it took last, and it takes nothing more before it has told.
const fn metered_of_lost(metered: u64, before: u64, frames: u64) -> u64 {
    let beyond = metered.saturating_sub(before);
    if beyond < frames { beyond } else { frames }
}

pub(super) fn bad_checkpoint(error: &BadCheckpoint) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::metered_of_lost;

    /// The table was full after 100 datagrams, of which 90 had reached the disk; of 30 in all, ten are lost that count.
    #[test]
    fn what_was_metered_before_it_was_lost_is_not_gone() {
        assert_eq!(metered_of_lost(100, 90, 30), 10);
        // Told in two parts.
        assert_eq!((metered_of_lost(100, 90, 4), metered_of_lost(100, 94, 26)), (4, 6));
        assert_eq!(metered_of_lost(100, 100, 30), 0);
        assert_eq!(metered_of_lost(100, 120, 30), 0);
        assert_eq!(metered_of_lost(200, 90, 30), 30);
    }
}
