//! Running totals (elements 85 and 86): a flow's octets since it began, sent again and again. What counts is the
//! difference from the last record of the same flow.
//!
//! The first sight of a flow counts whole; so does a total that is smaller than before, because the exporter must have
//! started to count anew. But a smaller total of no later time was overtaken on the way, and counts nothing. When a record says that its flow is over (elements 136, 233), the flow is forgotten. The
//! table is bounded: it has two generations, and when the younger one is full the older one is forgotten, so a flow
//! that is still reported survives.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::flow::{Address, FlowRecord};
use crate::units::UnixMillis;

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
    /// End of the flow as of that record.
    end: UnixMillis,
}

/// The totals of all flows of one exporter.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Totals {
    young: HashMap<Key, Total, RandomState>,
    old: HashMap<Key, Total, RandomState>,
    /// Flows forgotten because the table was full.
    forgotten: u64,
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
        let gone = core::mem::take(&mut self.old).len();
        self.forgotten += gone as u64;
        gone > 0
    }

    /// Octets and packets since the last record of the flow. `over`: this is its last record.
    pub(super) fn advance(
        &mut self,
        key: Key,
        (octets, packets): (u64, u64),
        end: UnixMillis,
        over: bool,
        limit: usize,
    ) -> (u64, u64) {
        let before = self.young.get(&key).copied().or_else(|| self.old.remove(&key));
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
            self.keep(key, Total { octets, packets, end }, limit);
        }
        match before {
            Some(before) if before.octets <= octets && before.packets <= packets => {
                (octets - before.octets, packets - before.packets)
            }
            _ => (octets, packets),
        }
    }

    /// Makes a flow one of the younger generation; where that is full it becomes the older one.
    fn keep(&mut self, key: Key, total: Total, limit: usize) {
        if !self.young.contains_key(&key) && self.young.len() >= (limit / 2).max(1) {
            self.forgotten += self.old.len() as u64;
            core::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        self.young.insert(key, total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Totals that were overtaken keep their flow as any others do, and take no more room: an exporter that repeats old
    /// ones must not make the table grow.
    #[test]
    fn overtaken_totals_stay_within_the_limit() {
        const LIMIT: usize = 8;
        let mut totals = Totals::default();
        let key = |n: u64| Key::new(10, &FlowRecord::default(), n, false);
        for round in 0..50 {
            for n in 0..16 {
                totals.advance(key(n), (1000, 10), UnixMillis(round), false, LIMIT);
                assert!(totals.len() <= LIMIT, "{}", totals.len());
            }
            for n in 0..16 {
                // Fewer octets at an earlier time.
                totals.advance(key(n), (500, 5), UnixMillis(round - 1), false, LIMIT);
                assert!(totals.len() <= LIMIT, "{}", totals.len());
            }
        }
    }
}
