//! Records that wait for their sampling rate, oldest first.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::flow::FlowRecord;
use crate::ids::ExporterId;
use crate::units::UnixMillis;

/// What a record waits for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Waiting {
    /// The end of its domain's grace time, or an announcement before.
    Grace,
    /// A description: of the sampler that it names, of an ambiguous domain, or of any kind where the operator insists.
    Described,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Held {
    record: FlowRecord,
    since: UnixMillis,
    waiting: Waiting,
}

/// All waiting records of one exporter.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Hold {
    records: VecDeque<Held>,
    octets: u64,
    expired_records: u64,
    expired_octets: u64,
}

impl Hold {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn adopt(&mut self, exporter: ExporterId) {
        for held in &mut self.records {
            held.record.exporter = exporter;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    pub(super) const fn expired_records(&self) -> u64 {
        self.expired_records
    }

    pub(super) const fn expired_octets(&self) -> u64 {
        self.expired_octets
    }

    pub(super) fn keep(&mut self, record: FlowRecord, waiting: Waiting, since: UnixMillis) {
        // The decoder lets no record of 2^48 octets through, so this takes 65536 of the greatest to overflow.
        self.octets = self.octets.saturating_add(record.octets.as_u64());
        self.records.push_back(Held { record, since, waiting });
    }

    /// Asks about each record, in order: `Some` keeps it, waiting for that.
    pub(super) fn retain(&mut self, mut ask: impl FnMut(&FlowRecord) -> Option<Waiting>) {
        let mut gone = 0_u64;
        self.records.retain_mut(|held| match ask(&held.record) {
            Some(waiting) => {
                held.waiting = waiting;
                true
            }
            None => {
                gone = gone.saturating_add(held.record.octets.as_u64());
                false
            }
        });
        self.octets = self.octets.saturating_sub(gone);
    }

    pub(super) fn pop_oldest(&mut self) -> Option<(FlowRecord, Waiting)> {
        let held = self.records.pop_front()?;
        self.octets = self.octets.saturating_sub(held.record.octets.as_u64());
        Some((held.record, held.waiting))
    }

    pub(super) fn count_expired(&mut self, record: &FlowRecord) {
        self.expired_records += 1;
        self.expired_octets = self.expired_octets.saturating_add(record.octets.as_u64());
    }

    /// Drops and counts what has waited `hold_ms` for a description. Records in their grace time end with that.
    pub(super) fn expire(&mut self, now: UnixMillis, hold_ms: i64) {
        let is_over = |held: &Held| held.waiting == Waiting::Described && now.since(held.since) >= hold_ms;
        let (mut records, mut octets) = (0_u64, 0_u64);
        self.records.retain(|held| {
            let over = is_over(held);
            records += u64::from(over);
            octets = octets.saturating_add(if over { held.record.octets.as_u64() } else { 0 });
            !over
        });
        self.octets = self.octets.saturating_sub(octets);
        self.expired_records += records;
        self.expired_octets = self.expired_octets.saturating_add(octets);
    }
}
