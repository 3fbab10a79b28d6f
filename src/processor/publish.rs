//! What a processor tells of itself: counters grow by what happened since the last drain, gauges say what there is.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use std::sync::Arc;

use tracing::warn;

use super::checkpoint::{self, Unreadable};
use super::{Expired, ExporterState, Memory, StreamProcessor};
use crate::flow::{FlowRecord, Observed};
use crate::usage::{FlushTotals, Remembered};
use crate::{counters, decode};

impl StreamProcessor {
    /// Our row of the counters.
    pub(super) fn own(&self) -> &counters::Processor {
        &self.counters.processors[self.index]
    }

    /// Exporters that are said to observe both sides, but do not say which: their flows may count twice. The log names each
    /// of them once; their counters go on.
    pub(super) fn report_unknown_observations(&self, records: u64) {
        self.own().unknown_observations.fetch_add(records, Relaxed);
        for run in self.decoded.records.chunk_by(|a, b| a.exporter == b.exporter) {
            let is_unknown = |record: &&FlowRecord| {
                record.observed == Observed::Unknown
                    && self.versions.at(record.end).observes_both(record.exporter)
            };
            let unknown = run.iter().filter(is_unknown).count() as u64;
            let Some(exporter) = self.named.get(&run[0].exporter).filter(|_| unknown > 0) else { continue };
            if exporter.unknown_observations.fetch_add(unknown, Relaxed) == 0 {
                warn!(
                    exporter = %exporter.name,
                    address = %exporter.address,
                    "`observes = \"both\"` needs element 61 (flowDirection) in every record; this exporter's lack it, and its \
                     flows may count twice. Let it send flowDirection (Cisco: `collect flow direction`), or export on one \
                     side only and say which: `observes = \"ingress\"` or \"egress\". This is said once; \
                     `unknown_observations` in `ctl status` counts on."
                );
            }
        }
    }

    /// Adds what happened since the last drain to the processor's counters.
    pub(super) fn publish(&self, totals: &FlushTotals) {
        let own = &self.counters.processors[self.index];
        own.decoded.fetch_add(totals.datagrams - totals.malformed - totals.duplicates, Relaxed);
        own.malformed.fetch_add(totals.malformed, Relaxed);
        own.duplicates.fetch_add(totals.duplicates, Relaxed);
        own.records.fetch_add(totals.records, Relaxed);
        own.raw_octets.fetch_add(totals.raw_octets, Relaxed);
        own.metered_records.fetch_add(totals.metered_records, Relaxed);
        own.metered_octets.fetch_add(totals.metered_octets, Relaxed);
        // A set that waited in vain counts as one: nobody knows how many records it held.
        own.expired_records.fetch_add(totals.expired_records + totals.expired_sets, Relaxed);
        let expired_octets = totals.expired_octets.saturating_add(totals.expired_set_octets);
        own.expired_octets.fetch_add(expired_octets, Relaxed);
        own.expired_sets.fetch_add(totals.expired_sets, Relaxed);
        own.duplicate_observations.fetch_add(totals.duplicate_observations, Relaxed);
        own.duplicate_observation_octets.fetch_add(totals.duplicate_observation_octets, Relaxed);
        self.publish_gauges();
    }

    /// Says how full the tables are. Cheap enough for once a second.
    pub fn publish_gauges(&self) {
        let own = &self.counters.processors[self.index];
        let held = self.held();
        own.held.store(held.records + held.sets, Relaxed);
        let exporters = self.states.len() as u64;
        let limits = &self.config.decode;
        own.templates.limit.store(exporters.saturating_mul(limits.templates as u64), Relaxed);
        own.templates.set_current(self.states.values().map(|s| s.memory.decoder.templates() as u64).sum());
        self.publish_weight();
        own.usage.set_current(self.usage_rows() as u64);
    }
}

/// What a checkpoint remembers of an exporter, for those who watch. Counts begin with a process, so they are 0.
///
/// # Errors
/// See [`Unreadable`].
pub fn remembered(left: &Remembered) -> Result<counters::Memory, Unreadable> {
    let memory = checkpoint::read::<Memory>(&left.state)?;
    let (transports, templates) = memory.decoder.remembered();
    Ok(counters::Memory { samplers: memory.sampling.announced(), transports, templates })
}

/// What decoding has seen of an exporter since it began to remember it, and what of that waits for a sampling rate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Kept {
    /// Records decoded.
    pub records: u64,
    /// Records, or flows of records of two directions, that wait.
    pub held_records: u64,
    /// Their octets, not scaled.
    pub held_octets: u64,
}

/// What a checkpoint's state says of the exporter's records, for those who prove that none is lost.
///
/// # Errors
/// See [`Unreadable`].
pub fn kept(state: &[u8]) -> Result<Kept, Unreadable> {
    let memory = checkpoint::read::<Memory>(state)?;
    Ok(Kept {
        records: memory.decoder.counts().records,
        held_records: memory.sampling.held_records() as u64,
        held_octets: memory.sampling.held_octets(),
    })
}

impl ExporterState {
    /// Publishes the exporter's counters: what happened since the last drain. The memory counts on over restarts, but
    /// a counter that jumps by a lifetime with the first datagram after one is a peak on every graph.
    pub(super) fn publish(&self) {
        let (now, then) = (self.memory.decoder.counts(), &self.drained);
        let to = &self.entry.counters;
        let add = |to: &AtomicU64, now: u64, then: u64| to.fetch_add(now.saturating_sub(then), Relaxed);
        add(&to.records, now.records, then.records);
        add(&to.options_records, now.options_records, then.options_records);
        add(&to.raw_octets, now.raw_octets, then.raw_octets);
        add(&to.malformed, now.malformed, then.malformed);
        const { assert!(counters::MALFORMED_KINDS_MAX >= decode::ErrorKind::COUNT) };
        let kinds = now.malformed_by_kind.iter().zip(then.malformed_by_kind);
        for (to, (&now, then)) in to.malformed_by_kind.iter().zip(kinds) {
            add(to, now, then);
        }
        add(&to.torn_records, now.torn_records, then.torn_records);
        add(&to.torn_octets, now.torn_octets, then.torn_octets);
        add(&to.duplicates, now.duplicates, then.duplicates);
        add(&to.clock_ahead, now.clock_ahead, then.clock_ahead);
        add(&to.clock_behind, now.clock_behind, then.clock_behind);
        add(&to.clock_shifted, now.clock_shifted, then.clock_shifted);
        add(&to.shared_domains, now.shared_domains, then.shared_domains);
        add(&to.unclear_totals, now.totals_unclear, then.totals_unclear);
        add(&to.unclear_total_octets, now.totals_unclear_octets, then.totals_unclear_octets);
        if now.shared_domains > then.shared_domains {
            warn!(
                exporter = %to.name,
                address = %to.address,
                "Two exporters send from this address with one observation domain; neither loss nor restarts are told there."
            );
        }
        to.lost.store(now.lost, Relaxed);
        // What late datagrams take back is not taken off: managers take a counter that falls for one that wrapped.
        add(&to.lost_told, now.lost, then.lost);
        add(&to.expired_records, self.memory.sampling.expired_records(), self.drained_expired.records);
        let taken_up = self.memory.sampling.taken_up();
        add(&to.rates_taken_up, taken_up, self.drained_taken_up);
        if taken_up > self.drained_taken_up {
            tracing::warn!(
                exporter = %to.name,
                address = %to.address,
                "This exporter has started anew and did not announce its sampling rates again; those of before are used."
            );
        }
        let rounded = self.memory.sampling.rounded();
        if rounded > self.drained_rounded
            && to.rates_rounded.fetch_add(rounded - self.drained_rounded, Relaxed) == 0
        {
            warn!(
                exporter = %to.name,
                address = %to.address,
                "This exporter states hundreds of different sampling rates an hour. Those beyond are rounded, so that volume is right in the mean."
            );
        }
        self.publish_memory();
        let (now, then, to) = (&now.sflow, &then.sflow, &to.sflow);
        add(&to.flow_samples, now.flow_samples, then.flow_samples);
        add(&to.counter_samples, now.counter_samples, then.counter_samples);
        add(&to.discard_notifications, now.discard_notifications, then.discard_notifications);
        add(&to.skipped_formats, now.skipped_formats, then.skipped_formats);
        // Late samples take it back, also after a drain.
        to.samples_lost.store(now.samples_lost, Relaxed);
        add(&to.samples_dropped, now.samples_dropped, then.samples_dropped);
        add(&to.pool_contradictions, now.pool_contradictions, then.pool_contradictions);
        add(&to.packets_unpaid, now.packets_unpaid, then.packets_unpaid);
        add(&to.other_agents, now.other_agents, then.other_agents);
    }
}

impl ExporterState {
    /// Publishes what is remembered of the exporter and what waits of it; also where it was left by an earlier run.
    pub(super) fn publish_memory(&self) {
        let to = &self.entry.counters;
        let (transports, templates) = self.memory.decoder.remembered();
        let samplers = self.memory.sampling.announced();
        to.memory.store(Arc::new(counters::Memory { samplers, transports, templates }));
        let held = self.memory.sampling.held_records() + self.memory.decoder.held_sets();
        to.held.store(held as u64, Relaxed);
    }
}

/// Publishes what decoding refused of one exporter since the last drain. Its memory counts on over restarts and leaves
/// with a reload, so a sum over memories would jump and fall.
pub(super) fn publish_refusals(own: &counters::Processor, now: &decode::Counts, then: &decode::Counts) {
    own.not_volume.fetch_add(now.not_volume - then.not_volume, Relaxed);
    own.implausible.fetch_add(now.implausible - then.implausible, Relaxed);
    own.unclear_total_octets.fetch_add(now.totals_unclear_octets - then.totals_unclear_octets, Relaxed);
    own.templates.failures.fetch_add(now.template_refusals - then.template_refusals, Relaxed);
    own.holds.failures.fetch_add(now.crowded_sets - then.crowded_sets, Relaxed);
    own.running_totals.failures.fetch_add(now.totals_forgotten - then.totals_forgotten, Relaxed);
}

pub(super) fn add_difference(
    totals: &mut FlushTotals,
    now: &decode::Counts,
    then: &decode::Counts,
    expired_now: Expired,
    expired_then: Expired,
) {
    totals.records += now.records - then.records;
    totals.options_records += now.options_records - then.options_records;
    // What several exporters claim may exceed what any one of them can.
    totals.raw_octets = totals.raw_octets.saturating_add(now.raw_octets - then.raw_octets);
    totals.raw_packets = totals.raw_packets.saturating_add(now.raw_packets - then.raw_packets);
    // Whose counters nobody can believe has no volume: the octets of such flows are not among the raw ones either.
    totals.not_volume += now.not_volume - then.not_volume + (now.implausible - then.implausible);
    totals.second_flows += second_flows(now).saturating_sub(second_flows(then));
    totals.expired_sets += now.expired_sets - then.expired_sets;
    totals.expired_set_octets =
        totals.expired_set_octets.saturating_add(now.expired_octets - then.expired_octets);
    totals.expired_records += expired_now.records - expired_then.records;
    totals.expired_second_flows += expired_now.seconds - expired_then.seconds;
    totals.expired_octets = totals.expired_octets.saturating_add(expired_now.octets - expired_then.octets);
    // A late datagram takes its loss back, so this may fall between two drains; the sum over drains stays right.
    totals.lost += now.lost.cast_signed() - then.lost.cast_signed();
}

/// Flows that records brought besides their first one: each record is at least one flow, or no volume.
const fn second_flows(counts: &decode::Counts) -> u64 {
    (counts.flows_emitted + counts.not_volume + counts.implausible).saturating_sub(counts.records)
}
