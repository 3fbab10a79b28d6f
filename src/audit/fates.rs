//! What became of records and of their octets: each has one fate, and none has two.
//!
//! Records that wait go with the state of their exporter. When the daemon starts anew, another processor may own it, and
//! what catches up reads all journals at once: records decoded from one journal are then metered in the account of
//! another. So all journals are one account, and each capture, whose state is apart, is one of its own. (That the
//! totals of each source are those of its flushes is another check: they are sealed source by source.)
//!
//! What is decoded and has no fate yet must wait, and what waits is in the checkpoints, which are written by other code
//! and committed in the same transactions. So a record that is lost is found, and not taken for one that waits. There is
//! one exception: an operator may let decoding forget (docs/OPERATION.md), and what waited then has no fate. Checkpoints
//! show it, because they remember how many records they have seen: where those are fewer than were decoded, the
//! difference is told as `forgotten`.

use core::net::IpAddr;
use std::collections::HashMap;

use super::Check;
use crate::ledger::records::{CheckpointScope, Source, SourceKind};
use crate::ledger::{Error, Ledger};
use crate::processor::{Kept, kept};
use crate::usage::FlushTotals;

/// Octets and packets, raw.
#[derive(Default)]
pub(super) struct Metered {
    pub(super) octets: i128,
    pub(super) packets: i128,
}

/// What the checkpoints of one scope remember.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) records: i128,
    pub(super) held_records: i128,
    pub(super) held_octets: i128,
    /// All of them can be read.
    pub(super) whole: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self { records: 0, held_records: 0, held_octets: 0, whole: true }
    }
}

/// What checkpoints remember, by their scope.
#[derive(Debug, Default)]
pub(super) struct Memories(pub(super) HashMap<CheckpointScope, Memory>);

impl Memories {
    pub(super) fn read(ledger: &mut Ledger) -> Result<Self, Error> {
        let mut memories = Self::default();
        for (scope, exporter, state) in ledger.checkpoint_states()? {
            // A capture's half-assembled fragments stand under a name that is no address.
            if exporter.parse::<IpAddr>().is_err() {
                continue;
            }
            let memory = memories.0.entry(scope).or_default();
            match kept(&state) {
                Ok(Kept { records, held_records, held_octets }) => {
                    memory.records += i128::from(records);
                    memory.held_records += i128::from(held_records);
                    memory.held_octets += i128::from(held_octets);
                }
                // Of another version, or damaged: that is for the daemon to tell, which does not start with it.
                Err(_) => memory.whole = false,
            }
        }
        Ok(memories)
    }
}

/// The sums of the sources that share a state.
#[derive(Default)]
struct Account {
    decoded: i128,
    /// Flows decoded, less those that have a fate; the same of octets.
    open: i128,
    open_octets: i128,
    /// A sum has come near the end of its range, where it stops, and octets say nothing more. Nor do they where the
    /// meter refused a record because its row would have.
    is_bounded: bool,
}

impl Account {
    fn add(&mut self, t: &FlushTotals) {
        let rest = |all: i128, fates: &[u64]| all - fates.iter().map(|n| i128::from(*n)).sum::<i128>();
        self.decoded += i128::from(t.records);
        self.open += rest(
            i128::from(t.records) + i128::from(t.second_flows),
            &[t.metered_records, t.expired_records, t.not_volume, t.duplicate_observations],
        );
        self.open_octets +=
            rest(t.raw_octets.into(), &[t.metered_octets, t.expired_octets, t.duplicate_observation_octets]);
        let near = i64::MAX.unsigned_abs() / 2;
        self.is_bounded |= t.raw_octets > near || t.metered_packets > near;
    }

    /// Compares with what waits. The result is what was forgotten.
    fn compare(&self, who: &str, memory: Memory, records: &mut Check) -> i128 {
        // All records that were decoded are remembered, so that all that wait are, too.
        let is_told = memory.whole && memory.records == self.decoded;
        let mut compare = |what, open: i128, held: i128| {
            if open < held {
                records.differs(format!("{who}: {} {what} more than were decoded", held - open));
            } else if open > held && is_told {
                records.differs(format!("{who}: {} {what} were decoded and have no fate", open - held));
            }
        };
        compare("records", self.open, memory.held_records);
        if !self.is_bounded {
            compare("octets", self.open_octets, memory.held_octets);
        }
        if memory.whole && !is_told { (self.open - memory.held_records).max(0) } else { 0 }
    }
}

/// Each record has one fate, and so has each of its octets. The result is what was metered.
pub(super) fn check(sources: &[Source], memories: &Memories, records: &mut Check) -> Metered {
    let mut accounts: Vec<(CheckpointScope, Account)> = Vec::new();
    let mut live = Account::default();
    let mut aged = [0_i128; 4];
    let mut metered = Metered::default();
    for source in sources {
        let t = &source.totals;
        match source.kind {
            SourceKind::Journal => live.add(t),
            SourceKind::Capture => {
                let mut own = Account::default();
                own.add(t);
                accounts.push((CheckpointScope::Capture(source.id), own));
            }
        }
        if t.malformed + t.duplicates > t.datagrams {
            records
                .differs(format!("source {}: more malformed and duplicate datagrams than came", source.id.0));
        }
        for (sum, more) in
            aged.iter_mut().zip([t.expired_records, t.expired_octets, t.expired_sets, t.expired_set_octets])
        {
            *sum += i128::from(more);
        }
        metered.octets += i128::from(t.metered_octets);
        metered.packets += i128::from(t.metered_packets);
    }
    accounts.push((CheckpointScope::Live, live));
    let (mut decoded, mut open, mut forgotten) = (0, 0, 0);
    for (scope, account) in &accounts {
        let who = match scope {
            CheckpointScope::Live => "journals".to_owned(),
            CheckpointScope::Capture(source) => format!("source {}", source.0),
        };
        let memory = memories.0.get(scope).copied().unwrap_or_default();
        forgotten += account.compare(&who, memory, records);
        decoded += account.decoded;
        open += account.open;
    }
    records.figure("sources", sources.len() as i128);
    records.figure("decoded", decoded);
    records.figure("held", open - forgotten);
    records.figure("forgotten", forgotten);
    // Sets were never decoded, so they are no part of the sum: nobody knows how many records they held.
    let names = ["expired", "expired_octets", "expired_sets", "expired_set_octets"];
    for (name, sum) in names.into_iter().zip(aged) {
        records.figure(name, sum);
    }
    metered
}
