//! What samples are owed that come late, when the span is over in which they were made.
//!
//! Nobody knows which of the missing samples will come, so all those of ended spans are alike. Each is owed the same share of
//! what was dropped while they were made, if its own statement bears that out. Two exporters that number their samples alike
//! look like one whose samples are late: the difference of their drop counts looks like drops, and the samples of the one that
//! is behind like those that were made meanwhile. But from one of these to the next nothing was dropped.

use serde::{Deserialize, Serialize};

use super::{PACKETS_MAX, SPAN, Statement, bounded};

/// More samples that have not arrived are lost.
const SAMPLES_MAX: u64 = 1 << 11;

/// Drops are not spread evenly: so many times what late samples state themselves is believed.
const TIMES: u128 = 2;

/// Samples of ended spans that have not arrived, and may be late.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Late {
    samples: u64,
    /// What all of them would be owed, and by how much the pool would be ahead of them.
    owed: i64,
    ahead: i64,
    /// What the last one stated that came late.
    pub(super) last: Option<Statement>,
    /// Packets that late ones may be owed by what they stated.
    borne_out: i64,
}

impl Late {
    /// Samples of a span that has ended have not arrived.
    pub(super) fn add(&mut self, samples: u64, owed: i128, ahead: i128) {
        self.samples = self.samples.saturating_add(samples);
        self.owed = bounded(i128::from(self.owed) + owed);
        self.ahead = bounded(i128::from(self.ahead) + ahead);
        if self.samples > SAMPLES_MAX {
            let part = |packets: i64| {
                bounded(i128::from(packets) * i128::from(SAMPLES_MAX) / i128::from(self.samples))
            };
            (self.samples, self.owed, self.ahead) = (SAMPLES_MAX, part(self.owed), part(self.ahead));
        }
    }

    /// The share of one that arrives after all: what it is owed, and how far ahead the pool is of it.
    pub(super) fn take(&mut self, next: Statement) -> (i64, i64) {
        let dropped = self.last.replace(next).map_or(0, |last| dropped_between(last, next));
        let some = i64::try_from(SPAN * u64::from(next.rate)).unwrap_or(i64::MAX);
        self.borne_out = (self.borne_out + dropped).min(dropped.max(some));
        let Some(left) = self.samples.checked_sub(1) else { return (0, 0) };
        let share = |packets: i64| packets / i64::try_from(self.samples).unwrap_or(i64::MAX);
        let (owed, ahead) = (share(self.owed).min(self.borne_out), share(self.ahead));
        self.borne_out -= owed;
        (self.samples, self.owed, self.ahead) = (left, self.owed - owed, self.ahead - ahead);
        (owed, ahead)
    }
}

/// Packets that one sample may be owed by the drop counts of two, whichever was made first.
fn dropped_between(one: Statement, other: Statement) -> i64 {
    let apart = |one: u32, other: u32| one.wrapping_sub(other).min(other.wrapping_sub(one));
    let drops = u128::from(apart(one.drops, other.drops)) * u128::from(one.rate.min(other.rate));
    let packets = TIMES * drops / u128::from(apart(one.sequence, other.sequence).max(1));
    i64::try_from(packets.min(PACKETS_MAX.unsigned_abs())).expect("48 bits fit into 64")
}
