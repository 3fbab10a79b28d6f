//! What came of each exporter in a day, and what is missing of it: for the loss that invoices print.
//!
//! Counts grow with each datagram, days are those of the source's clock, so what has grown is booked when a day ends,
//! when an exporter leaves or gets another name, and with each flush. Every record is booked once, with one of them.

use super::{ExporterState, StreamProcessor};
use crate::decode;
use crate::units::UnixMillis;
use crate::usage::Loss;

/// Milliseconds of a day (UTC, as POSIX counts).
const DAY_MS: i64 = 86_400_000;

/// What is booked and not committed.
#[derive(Debug, Default)]
pub(super) struct Losses {
    booked: Vec<Loss>,
    /// The day that has not ended, since the epoch.
    day: i64,
}

impl Losses {
    pub(super) fn take(&mut self) -> Vec<Loss> {
        core::mem::take(&mut self.booked)
    }

    /// Books what came of an exporter, and was lost, since this was asked last.
    pub(super) fn book(&mut self, state: &mut ExporterState) {
        let (now, then) = (Booked::of(state.memory.decoder.counts()), state.booked);
        state.booked = now;
        // A late datagram takes its loss back: then less is missing than before.
        let (records, lost) = (now.records - then.records, now.lost.cast_signed() - then.lost.cast_signed());
        if records > 0 || lost != 0 {
            let exporter = state.entry.counters.name.clone();
            self.booked.push(Loss { exporter, day: self.day, records, lost });
        }
    }
}

/// An exporter's counts as far as they are booked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Booked {
    records: u64,
    lost: u64,
}

impl Booked {
    pub(super) fn of(counts: &decode::Counts) -> Self {
        Self { records: counts.records, lost: counts.lost }
    }
}

impl StreamProcessor {
    /// The clock of the source has come to `now`, if it was not there before.
    pub(super) fn pass_time(&mut self, now: UnixMillis) {
        self.now = self.now.max(now);
        let day = self.now.0.div_euclid(DAY_MS);
        if day != self.losses.day {
            for state in self.states.values_mut().filter(|state| state.dirty) {
                self.losses.book(state);
            }
            self.losses.day = day;
        }
    }
}
