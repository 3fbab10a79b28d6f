//! What samples are owed that come late, when the span is over in which they were made.
//!
//! A late sample is owed the same share of what was dropped in its span as those that came in time, if its own statement
//! bears that out. For that the last spans are remembered, by the numbers of their samples; so what never comes is forgotten
//! with its span, and is no part of what others are owed.
//!
//! Two exporters that number their samples alike look like one whose samples are late: the difference of their drop counts
//! looks like drops, and the samples of the one that is behind like those that were made meanwhile. But from one of these to
//! the next nothing was dropped.

use serde::{Deserialize, Serialize};

use super::{PACKETS_MAX, SPAN, Statement, bounded};

/// Stretches of samples that are remembered.
const STRETCHES: usize = 16;

/// A stretch is one span, or several until so many samples were made: all of them are some two thousand, and a datagram of
/// seven samples may be late by three hundred others.
const STRETCH: u32 = 1 << 7;

/// Drops are not spread evenly: so many times what late samples state themselves is believed.
const TIMES: u128 = 2;

/// Samples that have not arrived, what all of them would be owed, and by how much the pool would be ahead of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Owed {
    pub(super) samples: u64,
    pub(super) packets: i64,
    pub(super) ahead: i64,
}

/// Ended spans, one behind the other.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Stretch {
    /// The last number, how many there are, and their rate.
    last: u32,
    made: u32,
    rate: u32,
    owed: Owed,
}

/// Samples of ended spans that have not arrived, and may be late.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Late {
    stretches: [Stretch; STRETCHES],
    /// The newest one.
    newest: u8,
    /// What the last one stated that came late.
    pub(super) last: Option<Statement>,
    /// Packets that late ones may be owed by what they stated.
    borne_out: i64,
}

impl Late {
    /// A span has ended with the sample `last`, of so many made.
    pub(super) fn add(&mut self, last: Statement, made: u64, owed: Owed) {
        // A gap is shorter than the range of the numbers.
        let made = u32::try_from(made).unwrap_or(u32::MAX);
        let at = usize::from(self.newest) % STRETCHES;
        let newest = &mut self.stretches[at];
        let goes_on = last.sequence.wrapping_sub(made) == newest.last && last.rate == newest.rate;
        if goes_on && newest.made < STRETCH {
            newest.last = last.sequence;
            newest.made = newest.made.saturating_add(made);
            newest.owed.samples += owed.samples;
            newest.owed.packets = bounded(i128::from(newest.owed.packets) + i128::from(owed.packets));
            newest.owed.ahead = bounded(i128::from(newest.owed.ahead) + i128::from(owed.ahead));
            return;
        }
        let at = (at + 1) % STRETCHES;
        self.newest = u8::try_from(at).unwrap_or(0);
        self.stretches[at] = Stretch { last: last.sequence, made, rate: last.rate, owed };
    }

    /// The share of one that arrives after all: what it is owed, and how far ahead the pool is of it.
    pub(super) fn take(&mut self, next: Statement) -> (i64, i64) {
        let dropped = self.last.replace(next).map_or(0, |last| dropped_between(last, next));
        let some = i64::try_from(SPAN * u64::from(next.rate)).unwrap_or(i64::MAX);
        self.borne_out = (self.borne_out + dropped).min(dropped.max(some));
        let holds = |stretch: &&mut Stretch| stretch.last.wrapping_sub(next.sequence) < stretch.made;
        let Some(Stretch { owed, .. }) = self.stretches.iter_mut().find(holds) else { return (0, 0) };
        let Some(left) = owed.samples.checked_sub(1) else { return (0, 0) };
        let share = |packets: i64| packets / i64::try_from(owed.samples).unwrap_or(i64::MAX);
        let (packets, ahead) = (share(owed.packets).min(self.borne_out), share(owed.ahead));
        self.borne_out -= packets;
        *owed = Owed { samples: left, packets: owed.packets - packets, ahead: owed.ahead - ahead };
        (packets, ahead)
    }
}

/// Packets that one sample may be owed by the drop counts of two, whichever was made first.
fn dropped_between(one: Statement, other: Statement) -> i64 {
    let apart = |one: u32, other: u32| one.wrapping_sub(other).min(other.wrapping_sub(one));
    let drops = u128::from(apart(one.drops, other.drops)) * u128::from(one.rate.min(other.rate));
    let packets = TIMES * drops / u128::from(apart(one.sequence, other.sequence).max(1));
    i64::try_from(packets.min(PACKETS_MAX.unsigned_abs())).expect("48 bits fit into 64")
}
