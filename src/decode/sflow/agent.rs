//! The agents of an exporter: usually one, or one for each line card. Each has its datagrams' sequence, and the sample
//! pools of its data sources.

use serde::{Deserialize, Serialize};

use super::pool::{Interface, Pool, Statement, Verdict};
use crate::decode::DOMAIN_IDLE_MS;
use crate::decode::recent::Recent;
use crate::decode::sequence::Sequence;
use crate::flow::{Address, Family, Observed};
use crate::units::UnixMillis;

/// Data sources of one exporter, over all agents. The greatest chassis have some hundred.
const SOURCES_MAX: usize = 4096;

/// How often room is looked for when there is none.
const SWEEP_MS: i64 = 60_000;

/// Agent address and sub-agent.
type Key = ((Family, Address), u32);

#[derive(Debug, Deserialize, Serialize)]
struct Known {
    key: Key,
    last_seen: UnixMillis,
    sequence: Sequence,
    recent: Recent,
    /// The last datagram.
    datagram: u32,
    /// Sorted by class and index.
    pools: Vec<Pool>,
}

/// The agents of an exporter, sorted.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(in crate::decode) struct Agents {
    known: Vec<Known>,
    /// The address of the first one.
    first: Option<(Family, Address)>,
    /// Pools over all agents.
    pools: usize,
    /// Packets that sources owed when they were forgotten, not told yet.
    unpaid: u64,
    swept: Option<UnixMillis>,
}

/// One agent, and the room that all of them share.
pub(super) struct Agent<'a> {
    pub(super) sequence: &'a mut Sequence,
    pub(super) recent: &'a mut Recent,
    datagram: u32,
    pools: &'a mut Vec<Pool>,
    total: &'a mut usize,
    is_first: bool,
    /// True while the samples of a datagram are read that others have overtaken: its samples are late, too.
    pub(super) is_late: bool,
}

impl Agents {
    pub(in crate::decode) const fn len(&self) -> usize {
        self.known.len()
    }

    /// Packets that sources owed which are forgotten since the last call.
    pub(super) fn take_unpaid(&mut self) -> u64 {
        core::mem::take(&mut self.unpaid)
    }

    /// The agent `key`, which is made if fewer than `room` are known; one that was long silent gives way.
    pub(super) fn find_or_add(&mut self, key: Key, room: usize, now: UnixMillis) -> Option<Agent<'_>> {
        if self.pools >= SOURCES_MAX {
            self.sweep(now);
        }
        let search = |known: &[Known]| known.binary_search_by_key(&key, |known| known.key);
        let mut place = search(&self.known);
        if place.is_err() && self.known.len() >= room {
            let idlest = (0..self.known.len()).min_by_key(|&at| self.known[at].last_seen)?;
            if now.since(self.known[idlest].last_seen) < DOMAIN_IDLE_MS {
                return None;
            }
            let gone = self.known.remove(idlest);
            self.pools -= gone.pools.len();
            let unpaid = gone.pools.iter().map(Pool::unpaid);
            self.unpaid = unpaid.fold(self.unpaid, u64::saturating_add);
            place = search(&self.known);
        }
        let at = place.unwrap_or_else(|at| {
            let (sequence, recent) = (Sequence::default(), Recent::default());
            self.known
                .insert(at, Known { key, last_seen: now, sequence, recent, datagram: 0, pools: Vec::new() });
            at
        });
        let is_first = *self.first.get_or_insert(key.0) == key.0;
        let Known { last_seen, sequence, recent, datagram, pools, .. } = &mut self.known[at];
        *last_seen = now;
        *datagram = datagram.wrapping_add(1);
        Some(Agent {
            sequence,
            recent,
            datagram: *datagram,
            pools,
            total: &mut self.pools,
            is_first,
            is_late: false,
        })
    }

    /// Forgets sources that were long silent.
    fn sweep(&mut self, now: UnixMillis) {
        if self.swept.is_some_and(|swept| now.since(swept) < SWEEP_MS) {
            return;
        }
        self.swept = Some(now);
        for agent in &mut self.known {
            let unpaid = &mut self.unpaid;
            agent.pools.retain(|pool| {
                let stays = now.since(pool.last_seen) < DOMAIN_IDLE_MS;
                *unpaid = unpaid.saturating_add(if stays { 0 } else { pool.unpaid() });
                stays
            });
        }
        self.pools = self.known.iter().map(|agent| agent.pools.len()).sum();
    }
}

impl Agent<'_> {
    /// True where it has the address of the exporter's first agent.
    pub(super) const fn is_first(&self) -> bool {
        self.is_first
    }

    /// The agent has started anew, so its sources count from the beginning: the packets that they still owed.
    pub(super) fn forget_sources(&mut self) -> u64 {
        *self.total -= self.pools.len();
        self.pools.drain(..).map(|pool| pool.unpaid()).fold(0, u64::saturating_add)
    }

    /// What follows from a flow sample of the data source `(class, index)`; `None` where there is no room for it.
    pub(super) fn sample(
        &mut self,
        source: (u32, u32),
        statement: Statement,
        observed: Observed,
        now: UnixMillis,
    ) -> Option<Verdict> {
        if self.sequence.is_shared() {
            // Of two agents that nobody can tell apart, the pool of one says nothing of the samples of the other.
            return Some(Verdict::STATED);
        }
        match self.pools.binary_search_by_key(&source, |pool| (pool.class, pool.index)) {
            Ok(at) => {
                let pool = &mut self.pools[at];
                pool.last_seen = now;
                let is_with_last = core::mem::replace(&mut pool.datagram, self.datagram) == self.datagram;
                Some(pool.see(statement, observed, (self.is_late, is_with_last)))
            }
            Err(_) if *self.total >= SOURCES_MAX => None,
            Err(at) => {
                let mut pool = Pool::new(source, statement, now);
                pool.datagram = self.datagram;
                self.pools.insert(at, pool);
                *self.total += 1;
                Some(Verdict::STATED)
            }
        }
    }

    /// What a counter sample says of the interface that is the data source `(class, index)`. Only where flow samples of it
    /// came before is there anything to compare.
    pub(super) fn counters(&mut self, source: (u32, u32), interface: Interface) {
        if let Ok(at) = self.pools.binary_search_by_key(&source, |pool| (pool.class, pool.index)) {
            self.pools[at].see_counters(interface);
        }
    }
}
