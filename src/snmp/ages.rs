//! How long ago something happened, by a clock that never jumps.
//!
//! The stages stamp what they do with the time of day, which an operator or a time server may set. A stamp that is new
//! was made since the last look, so its age is between nothing and the time since then, whatever the clock of the day
//! says; from there on it grows with the agent's own clock.

use core::time::Duration;
use std::collections::HashMap;

use super::snapshot::Now;

/// What is stamped.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Stamped {
    /// The last datagram of an exporter, by its index.
    Exporter(u32),
    /// The last message of a transport session, by its index.
    Transport(u32),
    /// The oldest drain of a processor that is not committed, by its place.
    Uncommitted(usize),
    /// The last drain of a processor.
    Flushed(usize),
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    stamp: i64,
    /// When that was, on the agent's own clock.
    at: Duration,
}

/// Stamps, and when they were made.
#[derive(Debug, Default)]
pub(super) struct Ages {
    marks: HashMap<Stamped, Mark>,
    looked: Option<Duration>,
}

impl Ages {
    /// Looks at all stamps (milliseconds since the epoch). One of 0 was made when it was first seen, or with the agent.
    pub(super) fn look(&mut self, now: Now, stamps: impl Iterator<Item = (Stamped, i64)>) {
        let marks = stamps.map(|(what, stamp)| {
            let at = now.uptime.saturating_sub(self.age(what, stamp, now));
            (what, Mark { stamp, at })
        });
        self.marks = marks.collect();
        self.looked = Some(now.uptime);
    }

    /// How old a stamp is.
    pub(super) fn age(&self, what: Stamped, stamp: i64, now: Now) -> Duration {
        if let Some(mark) = self.marks.get(&what).filter(|mark| mark.stamp == stamp) {
            return now.uptime.saturating_sub(mark.at);
        }
        let told = u64::try_from(now.wall.0.saturating_sub(stamp)).unwrap_or(0);
        // Before the first look nobody knows better than the clock of the day; but nothing is older than the agent.
        let since = now.uptime.saturating_sub(self.looked.unwrap_or_default());
        Duration::from_millis(told).min(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::UnixMillis;

    const WHAT: Stamped = Stamped::Exporter(7);

    fn now(wall: i64, uptime_ms: u64) -> Now {
        Now { wall: UnixMillis(wall), uptime: Duration::from_millis(uptime_ms) }
    }

    #[test]
    fn a_clock_that_is_set_changes_no_age() {
        let mut ages = Ages::default();
        let mut look = |stamp, now: Now| {
            ages.look(now, [(WHAT, stamp)].into_iter());
            u64::try_from(ages.age(WHAT, stamp, now).as_millis()).unwrap()
        };
        // Heard 400 ms before the look.
        assert_eq!(look(1_000_600, now(1_001_000, 10_000)), 400);
        assert_eq!(look(1_000_600, now(1_061_000, 70_000)), 60_400);
        // An hour back, an hour forward: silent for as long as it is.
        assert_eq!(look(1_000_600, now(1_062_000 - 3_600_000, 71_000)), 61_400);
        assert_eq!(look(1_000_600, now(1_063_000 + 3_600_000, 72_000)), 62_400);
        // Heard before the clock went an hour forward, seen after it: within the second between two looks.
        assert_eq!(look(1_063_500, now(1_064_000 + 3_600_000, 73_000)), 1_000);
        // And before it went back.
        assert_eq!(look(4_664_900, now(1_065_000, 74_000)), 0);
        assert_eq!(look(4_664_900, now(1_095_000, 104_000)), 30_000);
    }

    #[test]
    fn what_never_was_is_as_old_as_the_agent_or_its_row() {
        let mut ages = Ages::default();
        let other = Stamped::Exporter(8);
        ages.look(now(1_000_000, 2_000), [(WHAT, 0)].into_iter());
        assert_eq!(ages.age(WHAT, 0, now(1_000_000, 5_000)), Duration::from_secs(5));
        // A row that came with a reload, in the second before the look.
        ages.look(now(1_060_000, 62_000), [(WHAT, 0), (other, 0)].into_iter());
        ages.look(now(1_061_000, 63_000), [(WHAT, 0), (other, 0)].into_iter());
        assert_eq!(ages.age(WHAT, 0, now(1_061_000, 63_000)), Duration::from_secs(63));
        assert_eq!(ages.age(other, 0, now(1_061_000, 63_000)), Duration::from_secs(61));
    }
}
