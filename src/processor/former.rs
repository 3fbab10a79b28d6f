//! Exporters that are no longer allowed, and were when they sent: what is journalled of them is metered all the same, and
//! what waits comes to its end as if they still were.

use core::net::IpAddr;

use super::publish::{add_difference, publish_refusals};
use super::room::Weight;
use super::{Expired, ExporterState, StreamProcessor};
use crate::usage::Remembered;

impl ExporterState {
    /// True where something waits for a template or a rate.
    fn waits(&self) -> bool {
        self.memory.decoder.held_octets() > 0 || self.memory.sampling.held_records() > 0
    }
}

impl StreamProcessor {
    /// Says that whoever feeds this one has asked the registry who may send, when that was sent.
    pub const fn trust_feeder(&mut self) {
        self.trusts = true;
    }

    /// Keeps the states for which `goes_on` says so, and of which something waits; the others are left.
    pub(super) fn part_with_those(
        &mut self,
        goes_on: impl Fn(&mut Self, IpAddr, &mut ExporterState) -> bool,
    ) {
        let mut states = core::mem::take(&mut self.states);
        states.retain(|address, state| {
            if goes_on(self, *address, state) {
                return true;
            }
            if !core::mem::replace(&mut state.is_former, true)
                && let Some(entry) = self.registry.admit_former(*address, self.policies.as_ref())
            {
                // The operator's word goes with it, now as after a restart.
                state.entry = entry;
            }
            if !state.waits() {
                self.part_with(*address, state);
            }
            state.waits()
        });
        self.states = states;
    }

    /// Parts with exporters that are no longer allowed, where nothing waits any more.
    pub(super) fn part_with_formers(&mut self) {
        if self.states.values().any(|state| state.is_former) {
            self.part_with_those(|_, _, state| !state.is_former);
        }
    }

    /// Accounts for a state, and leaves it in case its exporter is allowed again, or was when it sent what is yet to come.
    fn part_with(&mut self, address: IpAddr, state: &mut ExporterState) {
        let (counts, expired) = (*state.memory.decoder.counts(), Expired::of(&state.memory.sampling));
        add_difference(&mut self.totals, &counts, &state.drained, expired, state.drained_expired);
        publish_refusals(&self.counters.processors[self.index], &counts, &state.drained);
        self.losses.book(state);
        state.publish();
        self.weight.change(Weight::of(&state.memory), Weight::default());
        let changed = state.memory.take_changes();
        let chunks = state.memory.sampling.chunks();
        self.registry.leave_state(address, Remembered { state: changed.state.clone(), chunks });
        self.parted.push((address.to_string(), changed));
    }
}
