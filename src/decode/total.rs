//! Running totals (elements 85 and 86): a flow's octets since it began, sent again and again. What counts is the
//! difference from the last record of the same flow.
//!
//! The first sight of a flow counts whole; so does a total that is smaller than before, because the exporter must have
//! started to count anew; and so does that of a flow that began when the last one on its key was over: exporters that
//! end a flow at the active timeout (YAF) count what follows from 0, also where it comes to more than before. But a
//! smaller total of no later time was overtaken on the way, and counts nothing. When a record says that its flow is over
//! (elements 136, 233), the flow is forgotten. The table is bounded: it has two generations, and when the younger one is full the older one is forgotten, so a flow
//! that is still reported survives.
//!
//! What was forgotten for want of room must not be counted whole a second time. So the first sight of a flow that is old
//! enough to be one of those counts nothing, as a beginning to take differences from; it is counted as forgotten, which is
//! an alarm. It errs in favour of who has to pay.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::flow::{Address, FlowRecord};
use crate::units::UnixMillis;

/// What the whole seconds of export times and the rounding of starts explain.
const JITTER_MS: i64 = 2000;

/// What makes a flow the same flow.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(super) struct Key {
    source: Address,
    destination: Address,
    flow_id: u64,
    domain: u32,
    input: u32,
    version: u16,
    source_port: u16,
    destination_port: u16,
    vlan: u16,
    family: u8,
    protocol: u8,
    tos: u8,
    /// 0 forward, 1 reverse; plus 2 or 4 where the record tells its observation side.
    side: u8,
}

impl Key {
    pub(super) fn new(version: u16, flow: &FlowRecord, flow_id: u64, reverse: bool) -> Self {
        Self {
            source: flow.source,
            destination: flow.destination,
            flow_id,
            domain: flow.domain,
            input: flow.input.0,
            version,
            source_port: flow.source_port,
            destination_port: flow.destination_port,
            vlan: flow.vlan,
            family: flow.family as u8,
            protocol: flow.protocol,
            tos: flow.tos,
            side: u8::from(reverse) | (flow.observed as u8) << 1,
        }
    }
}

/// Octets and packets of a flow since it began.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Total {
    octets: u64,
    packets: u64,
    /// When the flow began, if the record said so.
    start: Option<UnixMillis>,
    /// End of the flow as of that record.
    end: UnixMillis,
}

impl Total {
    /// True where a flow that began at `start` is another one, which began when this one was over.
    fn is_before(&self, start: Option<UnixMillis>) -> bool {
        self.start
            .zip(start)
            .is_some_and(|(own, start)| start.since(own) > JITTER_MS && start.since(self.end) >= -JITTER_MS)
    }
}

/// What a record says of when its flow was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When it began, if that is known.
    pub(super) start: Option<UnixMillis>,
    /// An instant at which it had begun, if one is known: also of a flow that is so long that its start was moved.
    pub(super) begun_by: Option<UnixMillis>,
    pub(super) end: UnixMillis,
}

/// The totals of all flows of one exporter.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Totals {
    young: HashMap<Key, Total, RandomState>,
    old: HashMap<Key, Total, RandomState>,
    /// Flows forgotten because the table was full, and flows that could be one of those.
    forgotten: u64,
    /// No flow that began later was forgotten.
    forgotten_until: Option<UnixMillis>,
}

impl Totals {
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets the older generation, or the only one there is, because the flows of all exporters are too many. False:
    /// there is none.
    pub(super) fn give_way(&mut self) -> bool {
        if self.old.is_empty() {
            core::mem::swap(&mut self.old, &mut self.young);
        }
        let went = self.forget_old();
        self.old = HashMap::default();
        went
    }

    /// Forgets the older generation, and until when its flows were seen. False: it was empty.
    fn forget_old(&mut self) -> bool {
        let newest = self.old.values().map(|total| total.end).max();
        self.forgotten_until = self.forgotten_until.max(newest);
        self.forgotten += self.old.len() as u64;
        self.old.clear();
        newest.is_some()
    }

    /// Octets and packets since the last record of the flow. `over`: this is its last record.
    pub(super) fn advance(
        &mut self,
        key: Key,
        (octets, packets): (u64, u64),
        Times { start, begun_by, end }: Times,
        over: bool,
        limit: usize,
    ) -> (u64, u64) {
        let known = self.young.get(&key).copied().or_else(|| self.old.remove(&key));
        let before = known.filter(|known| !known.is_before(start));
        let may_be_forgotten = known.is_none()
            && begun_by.zip(self.forgotten_until).is_some_and(|(begun, until)| begun <= until);
        if let Some(newer) = before
            && end <= newer.end
            && (octets < newer.octets || packets < newer.packets)
        {
            // Overtaken on the way: a newer record has counted this one's octets.
            self.keep(key, newer, limit);
            return (0, 0);
        }
        if over {
            self.young.remove(&key);
        } else {
            self.keep(key, Total { octets, packets, start, end }, limit);
        }
        match before {
            None if may_be_forgotten => {
                self.forgotten += 1;
                (0, 0)
            }
            Some(before) if before.octets <= octets && before.packets <= packets => {
                (octets - before.octets, packets - before.packets)
            }
            _ => (octets, packets),
        }
    }

    /// Makes a flow one of the younger generation; where that is full it becomes the older one.
    fn keep(&mut self, key: Key, total: Total, limit: usize) {
        if !self.young.contains_key(&key) && self.young.len() >= (limit / 2).max(1) {
            self.forget_old();
            core::mem::swap(&mut self.old, &mut self.young);
        }
        self.young.insert(key, total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(start: Option<i64>, end: i64) -> Times {
        let start = start.map(UnixMillis);
        Times { start, begun_by: start, end: UnixMillis(end) }
    }

    /// More flows than there is room for, each reported again and again.
    #[test]
    fn a_flow_that_may_have_been_forgotten_is_not_counted_whole_again() {
        const LIMIT: usize = 8;
        let mut totals = Totals::default();
        let key = |n: u64| Key::new(10, &FlowRecord::default(), n, false);
        let mut counted = 0;
        for round in 1..=10_i64 {
            for n in 0..16 {
                let total = (100 * round.unsigned_abs(), round.unsigned_abs());
                counted += totals.advance(key(n), total, times(Some(0), round * 60_000), false, LIMIT).0;
            }
        }
        assert!(counted <= 16 * 1000, "{counted} of 16 flows of 1000 octets");
        assert!(totals.forgotten() > 0);
        // One that began after all of those that were forgotten is new.
        let new = times(Some(600_001), 660_000);
        assert_eq!(totals.advance(key(99), (70, 1), new, false, LIMIT), (70, 1));
        assert_eq!(totals.advance(key(99), (90, 2), new, false, LIMIT), (20, 1));
        // Without a start nothing can be told.
        assert_eq!(totals.advance(key(98), (70, 1), times(None, 660_000), false, LIMIT), (70, 1));
    }

    /// Room that other exporters need is no reason to bill a flow twice, either.
    #[test]
    fn a_flow_that_gave_way_is_not_counted_whole_again() {
        const LIMIT: usize = 8;
        let mut totals = Totals::default();
        let key = |n: u64| Key::new(10, &FlowRecord::default(), n, false);
        let at = |end: i64| times(Some(0), end);
        // Five flows: the first four are the older generation.
        for n in 0..5 {
            assert_eq!(totals.advance(key(n), (1000, 10), at(60_000), false, LIMIT), (1000, 10));
        }
        assert!(totals.give_way());
        assert_eq!(totals.advance(key(0), (1500, 15), at(120_000), false, LIMIT), (0, 0));
        assert_eq!(totals.advance(key(0), (1700, 17), at(180_000), false, LIMIT), (200, 2));
        assert_eq!(totals.advance(key(4), (1100, 11), at(180_000), false, LIMIT), (100, 1));
        // Then there is only one.
        assert!(totals.give_way());
        assert_eq!((totals.len(), totals.give_way()), (0, false));
        assert_eq!(totals.advance(key(4), (1200, 12), at(240_000), false, LIMIT), (0, 0));
        let new = times(Some(180_001), 240_000);
        assert_eq!(totals.advance(key(9), (70, 1), new, false, LIMIT), (70, 1));
    }

    /// Totals that were overtaken keep their flow as any others do, and take no more room: an exporter that repeats old
    /// ones must not make the table grow.
    #[test]
    fn overtaken_totals_stay_within_the_limit() {
        const LIMIT: usize = 8;
        let mut totals = Totals::default();
        let key = |n: u64| Key::new(10, &FlowRecord::default(), n, false);
        for round in 0..50 {
            for n in 0..16 {
                totals.advance(key(n), (1000, 10), times(None, round), false, LIMIT);
                assert!(totals.len() <= LIMIT, "{}", totals.len());
            }
            for n in 0..16 {
                // Fewer octets at an earlier time.
                totals.advance(key(n), (500, 5), times(None, round - 1), false, LIMIT);
                assert!(totals.len() <= LIMIT, "{}", totals.len());
            }
        }
    }
}
