//! The objects of FLUXOSCOPE-MIB: `mibs/FLUXOSCOPE-MIB` says what they mean.

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use jiff::Timestamp;
use jiff::tz::Offset;

use super::ages::Stamped;
use super::snapshot::{CONTENTION, View};
use super::tree::{Branch, Rows, counter32, counter64, gauge32, gauge64, integer, object_id, octets, text};
use crate::counters::Exporter;

mod tables;

pub(super) use tables::BRANCHES as TABLES;

/// Where FLUXOSCOPE-MIB is: the only place in the code that knows the enterprise number. 32473 is reserved for
/// documentation (RFC 5612) and stands in until Fluxoscope has a number of its own.
pub(super) const ROOT: &[u32] = &[1, 3, 6, 1, 4, 1, 32473, 2055];

/// `fluxoscope`, the value of `sysObjectID`, under [`ROOT`].
pub(super) const PRODUCT: &[u32] = &[3, 1];

const SYSTEM: &[u32] = &[1, 1];
const PROCESSOR_ENTRY: &[u32] = &[1, 2, 1];
const EXPORTER_ENTRY: &[u32] = &[1, 3, 1];
const LINK_ENTRY: &[u32] = &[1, 4, 1];
const CUSTOMER_ENTRY: &[u32] = &[1, 5, 1];
const CONTENTION_ENTRY: &[u32] = &[1, 6, 1];
pub(super) const AGENT: &[u32] = &[1, 7];
const HISTORY_ENTRY: &[u32] = &[1, 8, 1];

/// `fluxNotifications`.
pub(super) const NOTIFICATIONS: &[u32] = &[0];

/// Branches of the tree, ascending. Column 1 of every table is its index, which is in the instances' names.
pub(super) const BRANCHES: &[Branch] = &[
    Branch {
        parent: &[ROOT, SYSTEM],
        rows: Rows::Scalar,
        objects: &[
            text(1, "fluxVersion", |_, _| env!("CARGO_PKG_VERSION").into()),
            octets(2, "fluxStarted", |view, _| date_and_time(view.counters.started_at)),
            gauge32(3, "fluxProcessors", |view, _| view.counters.processors.len() as u64),
            gauge32(4, "fluxExporters", |view, _| view.len(Rows::Exporters) as u64),
            gauge32(5, "fluxLinks", |view, _| view.len(Rows::Links) as u64),
            gauge32(6, "fluxCustomers", |view, _| view.len(Rows::Customers) as u64),
            counter64(7, "fluxTotalDatagrams", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.datagrams)).sum()
            }),
            counter64(8, "fluxTotalRecords", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.records)).sum()
            }),
            counter64(9, "fluxTotalOctets", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.octets)).sum()
            }),
            counter64(10, "fluxTotalMalformed", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.malformed)).sum()
            }),
            gauge32(11, "fluxTotalHeld", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.held)).sum()
            }),
            counter64(12, "fluxTotalRejected", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.rejected)).sum()
            }),
            counter64(13, "fluxTotalKernelDrops", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.kernel_drops)).sum()
            }),
            counter64(14, "fluxTotalUnjournalled", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.unjournalled)).sum()
            }),
            counter64(15, "fluxTotalDropped", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.dropped)).sum()
            }),
            counter64(16, "fluxTotalDuplicates", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.duplicates)).sum()
            }),
            counter64(17, "fluxTotalMeteredRecords", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.metered_records)).sum()
            }),
            counter64(18, "fluxTotalMeteredOctets", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.metered_octets)).sum()
            }),
            counter64(19, "fluxTotalExpiredRecords", |view, _| {
                view.counters.processors.iter().map(|one| load(&one.expired_records)).sum()
            }),
            counter64(20, "fluxTotalLost", |view, _| view.counted_by_all(|one| &one.lost_told)),
            counter64(21, "fluxCommits", |view, _| load(&view.counters.commits)),
            counter64(22, "fluxCommitFailures", |view, _| load(&view.counters.commit_failures)),
            gauge32(23, "fluxLastCommitMicros", |view, _| load(&view.counters.commit_micros)),
            counter64(24, "fluxReloads", |view, _| load(&view.counters.reloads)),
            counter64(25, "fluxReloadFailures", |view, _| load(&view.counters.reload_failures)),
        ],
    },
    Branch {
        parent: &[ROOT, PROCESSOR_ENTRY],
        rows: Rows::Processors,
        objects: &[
            text(2, "fluxProcessorName", |_, row| format!("processor {row}").into()),
            counter64(3, "fluxProcessorDatagrams", |view, row| load(&view.processor(row).datagrams)),
            counter64(4, "fluxProcessorRecords", |view, row| load(&view.processor(row).records)),
            counter64(5, "fluxProcessorOctets", |view, row| load(&view.processor(row).octets)),
            counter64(6, "fluxProcessorMalformed", |view, row| load(&view.processor(row).malformed)),
            gauge32(7, "fluxProcessorHeld", |view, row| load(&view.processor(row).held)),
            gauge32(8, "fluxProcessorFlushLagMs", |view, row| {
                age_ms(view, Stamped::Uncommitted(row), load_time(&view.processor(row).uncommitted_since))
            }),
            gauge32(9, "fluxProcessorQueue", |view, row| load(&view.processor(row).journal_queue.current)),
            counter64(10, "fluxProcessorRejected", |view, row| load(&view.processor(row).rejected)),
            counter64(11, "fluxProcessorKernelDrops", |view, row| load(&view.processor(row).kernel_drops)),
            counter64(12, "fluxProcessorJournalled", |view, row| load(&view.processor(row).journalled)),
            counter64(13, "fluxProcessorUnjournalled", |view, row| load(&view.processor(row).unjournalled)),
            counter64(14, "fluxProcessorDropped", |view, row| load(&view.processor(row).dropped)),
            counter64(15, "fluxProcessorDecoded", |view, row| load(&view.processor(row).decoded)),
            counter64(16, "fluxProcessorDuplicates", |view, row| load(&view.processor(row).duplicates)),
            counter64(17, "fluxProcessorRawOctets", |view, row| load(&view.processor(row).raw_octets)),
            counter64(18, "fluxProcessorMeteredRecords", |view, row| {
                load(&view.processor(row).metered_records)
            }),
            counter64(19, "fluxProcessorMeteredOctets", |view, row| {
                load(&view.processor(row).metered_octets)
            }),
            counter64(20, "fluxProcessorExpiredRecords", |view, row| {
                load(&view.processor(row).expired_records)
            }),
            counter64(21, "fluxProcessorExpiredOctets", |view, row| {
                load(&view.processor(row).expired_octets)
            }),
            counter64(22, "fluxProcessorNotVolume", |view, row| load(&view.processor(row).not_volume)),
            counter64(23, "fluxProcessorDuplicateObservations", |view, row| {
                load(&view.processor(row).duplicate_observations)
            }),
            counter64(24, "fluxProcessorDuplicateObservationOctets", |view, row| {
                load(&view.processor(row).duplicate_observation_octets)
            }),
            gauge32(25, "fluxProcessorFlushAgeMs", |view, row| {
                age_ms(view, Stamped::Flushed(row), load_time(&view.processor(row).flushed_at))
            }),
            gauge64(26, "fluxProcessorBacklog", |view, row| load(&view.processor(row).backlog)),
            counter64(27, "fluxProcessorImplausible", |view, row| load(&view.processor(row).implausible)),
            counter64(28, "fluxProcessorUnknownObservations", |view, row| {
                load(&view.processor(row).unknown_observations)
            }),
        ],
    },
    Branch {
        parent: &[ROOT, EXPORTER_ENTRY],
        rows: Rows::Exporters,
        objects: &[
            text(2, "fluxExporterName", |view, row| view.exporter(row).name.as_str().into()),
            counter64(3, "fluxExporterDatagrams", |view, row| view.counted(row, |one| &one.datagrams)),
            counter64(4, "fluxExporterRecords", |view, row| view.counted(row, |one| &one.records)),
            counter64(5, "fluxExporterLost", |view, row| view.counted(row, |one| &one.lost_told)),
            gauge32(6, "fluxExporterSamplingRate", |view, row| sampling_rate(view.exporter(row))),
            octets(7, "fluxExporterLastSeen", |view, row| date_and_time(view.lists.heard(row))),
            gauge32(8, "fluxExporterSilentSeconds", silent_seconds),
            text(9, "fluxExporterAddress", |view, row| view.exporter(row).address.to_string().into()),
            counter64(10, "fluxExporterOctets", |view, row| view.counted(row, |one| &one.octets)),
            counter64(11, "fluxExporterRawOctets", |view, row| view.counted(row, |one| &one.raw_octets)),
            counter64(12, "fluxExporterMalformed", |view, row| view.counted(row, |one| &one.malformed)),
            counter64(13, "fluxExporterDuplicates", |view, row| view.counted(row, |one| &one.duplicates)),
            counter64(14, "fluxExporterOptionsRecords", |view, row| {
                view.counted(row, |one| &one.options_records)
            }),
            gauge32(15, "fluxExporterHeld", |view, row| load(&view.exporter(row).held)),
            counter64(16, "fluxExporterExpiredRecords", |view, row| {
                view.counted(row, |one| &one.expired_records)
            }),
            gauge32(17, "fluxExporterRateNumerator", |view, row| {
                view.exporter(row).rate_numerator.load(Relaxed).into()
            }),
            gauge32(18, "fluxExporterRateDenominator", |view, row| {
                view.exporter(row).rate_denominator.load(Relaxed).into()
            }),
            counter64(19, "fluxExporterClockAhead", |view, row| view.counted(row, |one| &one.clock_ahead)),
            counter64(20, "fluxExporterClockBehind", |view, row| view.counted(row, |one| &one.clock_behind)),
            counter64(21, "fluxExporterClockShifted", |view, row| {
                view.counted(row, |one| &one.clock_shifted)
            }),
            counter64(22, "fluxExporterRestarts", |view, row| view.counted(row, |one| &one.restarts)),
            counter64(23, "fluxExporterSharedDomains", |view, row| {
                view.counted(row, |one| &one.shared_domains)
            }),
            counter64(24, "fluxExporterRatesTakenUp", |view, row| {
                view.counted(row, |one| &one.rates_taken_up)
            }),
            counter64(25, "fluxExporterUnknownObservations", |view, row| {
                view.counted(row, |one| &one.unknown_observations)
            }),
            counter64(26, "fluxExporterTornRecords", |view, row| view.counted(row, |one| &one.torn_records)),
            counter64(27, "fluxExporterTornOctets", |view, row| view.counted(row, |one| &one.torn_octets)),
            counter64(28, "fluxExporterSamplesDropped", |view, row| {
                view.counted(row, |one| &one.sflow.samples_dropped)
            }),
            counter64(29, "fluxExporterPoolContradictions", |view, row| {
                view.counted(row, |one| &one.sflow.pool_contradictions)
            }),
            counter64(30, "fluxExporterPacketsUnpaid", |view, row| {
                view.counted(row, |one| &one.sflow.packets_unpaid)
            }),
            counter64(31, "fluxExporterRatesRounded", |view, row| {
                view.counted(row, |one| &one.rates_rounded)
            }),
        ],
    },
    Branch {
        parent: &[ROOT, LINK_ENTRY],
        rows: Rows::Links,
        objects: &[
            text(2, "fluxLinkName", |view, row| view.link(row).name.as_str().into()),
            counter64(3, "fluxLinkInOctets", |view, row| view.link(row).volume.in_octets),
            counter64(4, "fluxLinkOutOctets", |view, row| view.link(row).volume.out_octets),
            counter64(5, "fluxLinkInPackets", |view, row| view.link(row).volume.in_packets),
            counter64(6, "fluxLinkOutPackets", |view, row| view.link(row).volume.out_packets),
            text(7, "fluxLinkKind", |view, row| view.link(row).kind.as_str().into()),
        ],
    },
    Branch {
        parent: &[ROOT, CUSTOMER_ENTRY],
        rows: Rows::Customers,
        objects: &[
            text(2, "fluxCustomerName", |view, row| view.customer(row).name.as_str().into()),
            counter64(3, "fluxCustomerInOctets", |view, row| view.customer(row).volume.in_octets),
            counter64(4, "fluxCustomerOutOctets", |view, row| view.customer(row).volume.out_octets),
            counter64(5, "fluxCustomerInPackets", |view, row| view.customer(row).volume.in_packets),
            counter64(6, "fluxCustomerOutPackets", |view, row| view.customer(row).volume.out_packets),
            gauge64(7, "fluxCustomerMonthInOctets", |view, row| view.customer(row).month_in_octets),
            gauge64(8, "fluxCustomerMonthOutOctets", |view, row| view.customer(row).month_out_octets),
        ],
    },
    Branch {
        parent: &[ROOT, CONTENTION_ENTRY],
        rows: Rows::Contention,
        objects: &[
            text(2, "fluxContentionName", |view, row| match view.card(row) {
                Some(card) => format!("{}: {}", card.exporter, card.name).into(),
                None => CONTENTION[row].into(),
            }),
            gauge32(3, "fluxContentionLimit", |view, row| match view.card(row) {
                Some(card) => told(card.limit),
                None => view.contended(row).map(|table| load(&table.limit)).sum(),
            }),
            gauge32(4, "fluxContentionCurrent", |view, row| match view.card(row) {
                Some(card) => told(card.current),
                None => view.contended(row).map(|table| load(&table.current)).sum(),
            }),
            gauge32(5, "fluxContentionHighWater", |view, row| match view.card(row) {
                Some(card) => told(card.high_water),
                None => view.contended(row).map(|table| load(&table.high_water)).sum(),
            }),
            counter64(6, "fluxContentionFailures", |view, row| view.contention_failures(row)),
            counter64(7, "fluxContentionWaits", |view, row| {
                view.contended(row).map(|table| load(&table.waits)).sum()
            }),
            counter64(8, "fluxContentionWaitMicros", |view, row| {
                view.contended(row).map(|table| load(&table.wait_micros)).sum()
            }),
            gauge32(9, "fluxContentionPercent", percent),
            gauge32(10, "fluxContentionExporter", |view, row| {
                view.card(row).map_or(0, |card| card.exporter_id.into())
            }),
        ],
    },
    Branch {
        parent: &[ROOT, AGENT],
        rows: Rows::Scalar,
        objects: &[
            counter32(1, "fluxAgentRefusedSources", |view, _| view.statistics.refused_sources),
            counter32(2, "fluxAgentLimited", |view, _| view.statistics.limited),
            counter32(3, "fluxAgentResponses", |view, _| view.statistics.responses),
            counter32(4, "fluxAgentReports", |view, _| view.statistics.reports),
            counter32(5, "fluxAgentNotifications", |view, _| view.told.map_or(0, |told| told.sender.sent)),
            counter32(6, "fluxAgentAcknowledged", |view, _| {
                view.told.map_or(0, |told| told.sender.acknowledged)
            }),
            counter32(7, "fluxAgentNotificationFailures", |view, _| {
                view.told.map_or(0, |told| told.sender.failed)
            }),
            counter32(8, "fluxAgentHeldBack", |view, _| view.told.map_or(0, |told| told.watch.throttled)),
        ],
    },
    Branch {
        parent: &[ROOT, HISTORY_ENTRY],
        rows: Rows::History,
        objects: &[
            text(2, "fluxHistoryName", |view, row| {
                view.event(row).map_or("", |event| event.kind.name()).into()
            }),
            text(3, "fluxHistorySubject", |view, row| {
                view.event(row).map_or("", |event| event.subject.as_str()).into()
            }),
            octets(4, "fluxHistoryTime", |view, row| {
                date_and_time(view.event(row).map_or(0, |event| event.at.0))
            }),
            object_id(5, "fluxHistoryNotification", |view, row| {
                let number = view.event(row).map_or(0, |event| event.kind as u32);
                [ROOT, NOTIFICATIONS, &[number]].concat().into()
            }),
            // TruthValue: true(1), false(2).
            integer(6, "fluxHistoryHeldBack", |view, row| {
                if view.event(row).is_some_and(|event| event.throttled) { 1 } else { 2 }
            }),
        ],
    },
];

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

fn load_time(time: &AtomicI64) -> i64 {
    time.load(Relaxed)
}

/// Milliseconds since `stamp`; 0 where it is 0 ("never").
fn age_ms(view: &View<'_>, what: Stamped, stamp: i64) -> u64 {
    if stamp == 0 {
        return 0;
    }
    u64::try_from(view.age(what, stamp).as_millis()).unwrap_or(u64::MAX)
}

fn silent_seconds(view: &View<'_>, row: usize) -> u64 {
    view.silence(row).as_secs()
}

/// To the nearest whole number, halves up; 0 where there is no rate yet.
fn sampling_rate(exporter: &Exporter) -> u64 {
    let numerator = u64::from(exporter.rate_numerator.load(Relaxed));
    let denominator = u64::from(exporter.rate_denominator.load(Relaxed));
    (2 * numerator + denominator).checked_div(2 * denominator).unwrap_or(0)
}

/// What a router did not tell is 0.
fn told(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn percent(view: &View<'_>, row: usize) -> u64 {
    if let Some(card) = view.card(row) {
        let worked_out = || (100 * u128::from(told(card.current))).checked_div(told(card.limit).into());
        let percent = u64::try_from(card.utilisation).ok();
        return percent.or_else(|| u64::try_from(worked_out()?).ok()).unwrap_or(0);
    }
    let sum = |column: fn(&crate::counters::Table) -> &AtomicU64| {
        view.contended(row).map(|table| u128::from(load(column(table)))).sum::<u128>()
    };
    let percent = (100 * sum(|table| &table.current)).checked_div(sum(|table| &table.limit)).unwrap_or(0);
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// `DateAndTime` (RFC 2579) in UTC; its customary zero for 0 and for what no calendar has.
pub(super) fn date_and_time(millis: i64) -> Vec<u8> {
    let time = Timestamp::from_millisecond(millis).ok().filter(|_| millis != 0);
    let Some(time) = time.map(|time| Offset::UTC.to_datetime(time)) else { return vec![0; 8] };
    let mut octets = Vec::with_capacity(11);
    octets.extend_from_slice(&time.year().to_be_bytes());
    for part in [time.month(), time.day(), time.hour(), time.minute(), time.second()] {
        octets.extend_from_slice(&part.to_be_bytes());
    }
    octets.extend_from_slice(&(time.millisecond() / 100).to_be_bytes()[1..]);
    octets.extend_from_slice(b"+\0\0");
    octets
}

#[cfg(test)]
mod tests;
