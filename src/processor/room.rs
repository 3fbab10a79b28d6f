//! What all exporters of a processor together may take: records that wait for a rate, sets that wait for a template, and
//! running totals; and templates. Again and again the exporter that has most gives way, so one that has no more than its share never
//! does, whatever others send. Templates of exporters that somebody configured are forgotten only when no other one has any.

use core::net::IpAddr;
use core::sync::atomic::Ordering::Relaxed;
use std::collections::{BinaryHeap, HashMap};

use super::{ExporterState, Memory, StreamProcessor};

/// When something takes too much room, one part in so many of it is made free at once, so that the exporters are not
/// looked through for every datagram.
const ROOM_AT_ONCE: usize = 64;

/// What is bounded over all exporters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Weight {
    /// Octets of memory that records waiting for a rate take.
    pub(super) records: usize,
    /// Octets of memory that sets waiting for a template take.
    pub(super) sets: usize,
    /// Flows whose running total is remembered.
    pub(super) totals: usize,
    /// Octets of memory that templates take.
    pub(super) templates: usize,
}

impl Weight {
    /// Of one exporter.
    pub(super) fn of(memory: &Memory) -> Self {
        Self {
            records: memory.sampling.held_memory(),
            sets: memory.decoder.held_memory(),
            totals: memory.decoder.running_totals(),
            templates: memory.decoder.template_octets(),
        }
    }

    /// One exporter's weight has changed.
    pub(super) const fn change(&mut self, before: Self, after: Self) {
        self.records = self.records + after.records - before.records;
        self.sets = self.sets + after.sets - before.sets;
        self.totals = self.totals + after.totals - before.totals;
        self.templates = self.templates + after.templates - before.templates;
    }
}

type States = HashMap<IpAddr, ExporterState, foldhash::fast::RandomState>;

/// Who gives way before whom: the greatest one does first.
type Rank = (bool, usize, IpAddr);

/// Lets the exporter that has most `give_way`, until all have no more than `limit` and some room is free; what they have
/// then is in `total`. Those that are `first` do so before all others, as long as they have anything.
fn relieve(
    states: &mut States,
    total: &mut Weight,
    limit: usize,
    of: fn(&Weight) -> usize,
    first: fn(&ExporterState) -> bool,
    mut give_way: impl FnMut(&mut ExporterState) -> bool,
) {
    let enough = limit - limit / ROOM_AT_ONCE;
    let rank = |address: IpAddr, state: &ExporterState| {
        let octets = of(&Weight::of(&state.memory));
        (octets > 0 && first(state), octets, address)
    };
    let mut all: BinaryHeap<Rank> = states.iter().map(|(address, state)| rank(*address, state)).collect();
    while of(total) > enough
        && let Some((.., address)) = all.pop()
    {
        let state = states.get_mut(&address).expect("its address was just read");
        let before = Weight::of(&state.memory);
        if !give_way(state) {
            break;
        }
        state.dirty = true;
        total.change(before, Weight::of(&state.memory));
        all.push(rank(address, state));
    }
}

impl StreamProcessor {
    /// Brings what is over its bound within it.
    pub(super) fn make_room(&mut self) {
        let decode = &self.config.decode;
        let limits = Weight {
            records: self.config.sampling.hold_octets,
            sets: decode.hold_octets_all,
            totals: decode.running_totals_all,
            templates: decode.template_octets_all,
        };
        let Weight { records, sets, totals, templates } = self.weight;
        if records <= limits.records
            && sets <= limits.sets
            && totals <= limits.totals
            && templates <= limits.templates
        {
            return;
        }
        let Self { states, weight, decoded, crowded_out, now, .. } = self;
        if records > limits.records {
            relieve(
                states,
                weight,
                limits.records,
                |weight| weight.records,
                |_| false,
                |state| {
                    let sampling = &mut state.memory.sampling;
                    let from = decoded.records.len();
                    let gave = sampling.give_way(&state.entry.policy, &mut decoded.records);
                    sampling.make_few(&mut decoded.records[from..], *now);
                    *crowded_out += sampling.take_crowded_out();
                    gave
                },
            );
        }
        if sets > limits.sets {
            relieve(
                states,
                weight,
                limits.sets,
                |weight| weight.sets,
                |_| false,
                |state| state.memory.decoder.let_oldest_set_go(),
            );
        }
        if totals > limits.totals {
            relieve(
                states,
                weight,
                limits.totals,
                |weight| weight.totals,
                |_| false,
                |state| state.memory.decoder.forget_totals(),
            );
        }
        if templates > limits.templates {
            relieve(
                states,
                weight,
                limits.templates,
                |weight| weight.templates,
                // Who was not asked for comes after those that somebody bills by.
                |state| state.entry.is_stranger,
                |state| state.memory.decoder.forget_templates(),
            );
        }
        self.publish_weight();
    }

    /// Says how much of it there is.
    pub(super) fn publish_weight(&self) {
        let own = &self.counters.processors[self.index];
        own.held_records.set_current(self.weight.records as u64);
        own.holds.set_current(self.weight.sets as u64);
        own.running_totals.set_current(self.weight.totals as u64);
        let decode = &self.config.decode;
        let holds = self.states.len().saturating_mul(decode.hold_octets).min(decode.hold_octets_all);
        own.holds.limit.store(holds as u64, Relaxed);
    }
}
