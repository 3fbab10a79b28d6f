//! What a flush commits: everything since the one before. To take it out of a processor takes no time to speak of, since the
//! rows are sorted by whoever commits them.

use core::sync::atomic::Ordering::Relaxed;
use std::collections::HashSet;

use super::publish::{add_difference, publish_refusals};
use super::room::Weight;
use super::{Expired, ExporterNames, StreamProcessor};
use crate::ids::ExporterId;
use crate::meter::Rows;
use crate::usage::{FlushTotals, Loss, Remembered, UsageRows};

/// What a flush commits of one processor.
#[derive(Debug, Default)]
pub struct Drained {
    /// Usage, sorted; the exporters are the process's own numbers.
    pub usage: UsageRows,
    /// Who they are.
    pub exporters: ExporterNames,
    /// Usage from before a reload that gave exporters other names, with who they were.
    pub former: Vec<(ExporterNames, UsageRows)>,
    /// What it was made from.
    pub totals: FlushTotals,
    /// The same by exporter, as far as it says what was lost.
    pub losses: Vec<Loss>,
    /// Exporter's address and what is remembered of it, of exporters whose state changed.
    pub checkpoints: Vec<(String, Remembered)>,
}

/// The same with its rows as they lay in the meter.
#[derive(Debug)]
pub struct Unsorted {
    /// All but the usage.
    drained: Drained,
    former: Vec<(ExporterNames, Rows)>,
    rows: Rows,
}

impl Unsorted {
    /// Sorts the rows, which a million of them make take tenths of a second.
    #[must_use]
    pub fn sorted(self) -> Drained {
        let former = self.former.into_iter().map(|(exporters, rows)| (exporters, rows.sorted())).collect();
        Drained { usage: self.rows.sorted(), former, ..self.drained }
    }
}

impl StreamProcessor {
    /// Takes out everything since the last drain. The caller commits it, all or nothing.
    pub fn drain(&mut self) -> Drained {
        self.drain_unsorted().sorted()
    }

    /// The same for a thread that has no time for the rows: however many there are, they change hands in no time.
    pub fn drain_unsorted(&mut self) -> Unsorted {
        self.each_holder(|state, released| {
            state.memory.sampling.settle(&state.entry.policy, released);
            state.dirty |= !released.is_empty();
        });
        self.settle();
        self.part_with_formers();
        // Tables are at their fullest now, and would be seen by chance only on their way here.
        self.publish_gauges();
        let mut drained = Drained {
            checkpoints: core::mem::take(&mut self.parted),
            exporters: self.names(),
            ..Drained::default()
        };
        self.own().usage.set_current(self.usage_rows() as u64);
        let former = core::mem::take(&mut self.former);
        let rows = self.take_rows();
        if self.named.len() > self.states.len() {
            let present: HashSet<ExporterId> = self.states.values().map(|state| state.entry.id).collect();
            self.named.retain(|id, _| present.contains(id));
        }
        let own = &self.counters.processors[self.index];
        for (address, state) in &mut self.states {
            if !state.dirty {
                continue;
            }
            let counts = *state.memory.decoder.counts();
            let expired = Expired::of(&state.memory.sampling);
            add_difference(&mut self.totals, &counts, &state.drained, expired, state.drained_expired);
            self.losses.book(state);
            publish_refusals(own, &counts, &state.drained);
            state.publish();
            state.drained = counts;
            state.drained_expired = expired;
            state.drained_taken_up = state.memory.sampling.taken_up();
            state.drained_rounded = state.memory.sampling.rounded();
            state.dirty = false;
            let before = Weight::of(&state.memory);
            drained.checkpoints.push((address.to_string(), state.memory.take_changes()));
            // Chunks that are complete now have given back what they do not need.
            self.weight.change(before, Weight::of(&state.memory));
        }
        drained.losses = self.losses.take();
        let own = &self.counters.processors[self.index];
        own.held_records.failures.fetch_add(core::mem::take(&mut self.crowded_out), Relaxed);
        let refused = self.meter.refused_records();
        own.implausible.fetch_add(refused - self.refused, Relaxed);
        self.totals.not_volume += refused - self.refused;
        self.refused = refused;
        drained.totals = core::mem::take(&mut self.totals);
        self.publish(&drained.totals);
        Unsorted { drained, former, rows }
    }
}
