//! Loss between exporter and us, from sequence numbers; and datagrams that arrive twice.
//!
//! NetFlow v5 counts flows, v9 datagrams, IPFIX data records (options records too, templates not; RFC 7011 3.1).
//! A number ahead of the expected one is a loss, until the missing datagrams arrive late and take it back. A number far
//! ahead or far behind, or an uptime that went back, is an exporter that started anew: no loss.
//!
//! A number that is behind, but fills no known gap, changes nothing by itself; when the next number continues it, the
//! exporter started anew.

use serde::{Deserialize, Serialize};

/// Gaps remembered for late datagrams.
const GAPS_MAX: usize = 16;

/// Datagrams in which a duplicate is recognised.
const RECENT: usize = 16;

/// An uptime that goes back by more than this is a restart; by less, a late datagram.
const UPTIME_BACK_MS: i32 = 60_000;

/// What a sequence number counts, and so what a plausible step is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    /// A greater step ahead is a restart.
    restart: u32,
    /// A greater step back is a restart.
    reorder: u32,
}

impl Unit {
    /// Flows or records.
    pub(super) const RECORDS: Self = Self { restart: 1 << 20, reorder: 1 << 13 };
    /// Datagrams.
    pub(super) const DATAGRAMS: Self = Self { restart: 1 << 16, reorder: 1 << 8 };
}

/// Missing numbers: from `start`, so many.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
struct Gap {
    start: u32,
    len: u32,
}

/// What a sequence number told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Told {
    /// Newly missing.
    pub(super) lost: u32,
    /// No longer missing.
    pub(super) found: u32,
    /// The exporter started anew.
    pub(super) restarted: bool,
}

/// The sequence of one observation domain.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Sequence {
    /// The number expected next; none at first, and after a datagram whose records could not be counted.
    next: Option<u32>,
    /// What would follow a number that was behind without filling a gap.
    odd: Option<u32>,
    uptime: Option<u32>,
    gaps: Vec<Gap>,
}

impl Sequence {
    /// Takes in the number of a datagram that has `count` units; `None` where they could not be counted, in which case
    /// the next datagram is believed without a check.
    pub(super) fn see(&mut self, number: u32, count: Option<u32>, uptime: Option<u32>, unit: Unit) -> Told {
        let went_back = match (self.uptime, uptime) {
            (Some(before), Some(now)) => now.wrapping_sub(before).cast_signed() < -UPTIME_BACK_MS,
            _ => false,
        };
        let after = count.map(|count| number.wrapping_add(count));
        let Some(expected) = self.next.filter(|_| !went_back) else {
            let restarted = went_back;
            self.begin(after, uptime);
            return Told { restarted, ..Told::default() };
        };
        let ahead = number.wrapping_sub(expected);
        let behind = expected.wrapping_sub(number);
        if ahead <= unit.restart {
            if ahead > 0 {
                if self.gaps.len() == GAPS_MAX {
                    self.gaps.remove(0);
                }
                self.gaps.push(Gap { start: expected, len: ahead });
            }
            (self.next, self.odd, self.uptime) = (after, None, uptime);
            return Told { lost: ahead, ..Told::default() };
        }
        if behind <= unit.reorder && self.odd != Some(number) {
            // A late IPFIX message with templates only fills nothing, and what follows it is no new beginning.
            let Some(count) = count.filter(|&count| count > 0) else { return Told::default() };
            let found = self.fill(number, count);
            self.odd = if found == 0 { after } else { None };
            return Told { found, ..Told::default() };
        }
        self.begin(after, uptime);
        Told { restarted: true, ..Told::default() }
    }

    fn begin(&mut self, next: Option<u32>, uptime: Option<u32>) {
        *self = Self { next, odd: None, uptime, gaps: Vec::new() };
    }

    /// Takes `count` numbers from `number` out of the gap they lie in; how many there were.
    fn fill(&mut self, number: u32, count: u32) -> u32 {
        let Some(at) = self.gaps.iter().position(|gap| number.wrapping_sub(gap.start) < gap.len) else {
            return 0;
        };
        let Gap { start, len } = self.gaps.remove(at);
        let before = number.wrapping_sub(start);
        let found = count.min(len - before);
        let behind = Gap { start: number.wrapping_add(found), len: len - before - found };
        for part in [behind, Gap { start, len: before }] {
            if part.len > 0 && self.gaps.len() < GAPS_MAX {
                self.gaps.insert(at, part);
            }
        }
        found
    }
}

/// The last datagrams of a domain, by number and checksum.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Recent {
    seen: [(u32, u32); RECENT],
    at: u8,
}

impl Recent {
    /// True where the very datagram is among the last ones; otherwise it is one of them now.
    pub(super) fn contains_or_add(&mut self, number: u32, checksum: u32) -> bool {
        if self.seen.contains(&(number, checksum)) {
            return true;
        }
        self.seen[usize::from(self.at) % RECENT] = (number, checksum);
        self.at = (self.at + 1) % 16;
        false
    }
}
