//! The objects of FLUXOSCOPE-MIB about what exporters announced, the ledger, journals, allowances, and routers.

use core::sync::atomic::Ordering::Relaxed;

use super::super::snapshot::View;
use super::super::tree::{Branch, Rows, counter64, gauge32, gauge64, integer, octets, text};
use super::{ROOT, date_and_time, load};
use crate::counters::{AllowanceRow, Journal, PeriodRow, PolledRow, Reconciled, Sampled, Sampler, TariffRow};

const SAMPLER_ENTRY: &[u32] = &[1, 9, 1];
const TARIFF_ENTRY: &[u32] = &[1, 10, 1];
const PERIOD_ENTRY: &[u32] = &[1, 11, 1];
const LEDGER: &[u32] = &[1, 12];
const JOURNAL_ENTRY: &[u32] = &[1, 13, 1];
const ALLOWANCE_ENTRY: &[u32] = &[1, 14, 1];
const POLLED_ENTRY: &[u32] = &[1, 15, 1];
const RECONCILE_ENTRY: &[u32] = &[1, 20, 1];

/// Branches of the tree, ascending.
pub(in super::super) const BRANCHES: &[Branch] = &[
    Branch {
        parent: &[ROOT, SAMPLER_ENTRY],
        rows: Rows::Samplers,
        objects: &[
            text(2, "fluxSamplerName", |view, row| sampler_name(sampler(view, row)).into()),
            gauge32(5, "fluxSamplerNumerator", |view, row| sampler(view, row).rate.0.into()),
            gauge32(6, "fluxSamplerDenominator", |view, row| sampler(view, row).rate.1.into()),
        ],
    },
    Branch {
        parent: &[ROOT, TARIFF_ENTRY],
        rows: Rows::Tariffs,
        objects: &[
            text(2, "fluxTariffName", |view, row| tariff(view, row).id.as_str().into()),
            gauge32(3, "fluxTariffVersion", |view, row| tariff(view, row).version),
            text(4, "fluxTariffEffective", |view, row| tariff(view, row).effective.as_str().into()),
            octets(5, "fluxTariffActivated", |view, row| date_and_time(tariff(view, row).activated_at)),
            text(6, "fluxTariffActivatedBy", |view, row| tariff(view, row).activated_by.as_str().into()),
            text(7, "fluxTariffDigest", |view, row| tariff(view, row).sha256.as_str().into()),
        ],
    },
    Branch {
        parent: &[ROOT, PERIOD_ENTRY],
        rows: Rows::Periods,
        objects: &[
            text(2, "fluxPeriodName", |view, row| period_name(view, period(view, row)).into()),
            integer(3, "fluxPeriodClosed", |view, row| truth(period(view, row).is_closed)),
            integer(4, "fluxPeriodInvoice", |view, row| period(view, row).invoice as i32),
            text(5, "fluxPeriodInvoiceNumber", |view, row| period(view, row).number.as_str().into()),
            text(6, "fluxPeriodTariff", |view, row| period(view, row).tariff.as_str().into()),
            gauge32(7, "fluxPeriodTariffVersion", |view, row| period(view, row).tariff_version),
        ],
    },
    Branch {
        parent: &[ROOT, LEDGER],
        rows: Rows::Scalar,
        objects: &[
            octets(1, "fluxLedgerRead", |view, _| date_and_time(view.lists.books.read_at)),
            counter64(2, "fluxLedgerFlushes", |view, _| view.lists.books.flushes),
            gauge32(3, "fluxLedgerConfigVersions", |view, _| view.lists.books.config_versions),
            gauge32(4, "fluxLedgerTariffVersions", |view, _| view.lists.books.tariffs.len() as u64),
            octets(5, "fluxLedgerBillingLooked", |view, _| {
                date_and_time(view.counters.billing.looked_at.load(Relaxed))
            }),
            gauge32(6, "fluxLedgerBillingDue", |view, _| load(&view.counters.billing.due)),
            counter64(7, "fluxLedgerBillingDrafts", |view, _| load(&view.counters.billing.drafts)),
            counter64(8, "fluxLedgerBillingFinals", |view, _| load(&view.counters.billing.finals)),
            counter64(9, "fluxLedgerBillingFailures", |view, _| load(&view.counters.billing.failures)),
            text(10, "fluxLedgerBillingProblem", |view, _| {
                view.counters.billing.problem.load().as_str().to_owned().into()
            }),
            counter64(11, "fluxLedgerAlerts", |view, _| load(&view.counters.billing.alerts)),
            counter64(12, "fluxLedgerAlertsTold", |view, _| load(&view.counters.billing.alerts_told)),
            counter64(13, "fluxLedgerAlertFailures", |view, _| load(&view.counters.billing.alert_failures)),
        ],
    },
    Branch {
        parent: &[ROOT, JOURNAL_ENTRY],
        rows: Rows::Processors,
        objects: &[
            text(2, "fluxJournalName", |_, row| format!("processor {row}").into()),
            counter64(3, "fluxJournalEnd", |view, row| load(&journal(view, row).end)),
            counter64(4, "fluxJournalDurable", |view, row| load(&journal(view, row).durable)),
            counter64(5, "fluxJournalCommitted", |view, row| load(&journal(view, row).committed)),
            gauge32(6, "fluxJournalSegments", |view, row| load(&journal(view, row).segments)),
            gauge64(7, "fluxJournalOctets", |view, row| load(&journal(view, row).octets)),
            counter64(8, "fluxJournalLostDatagrams", |view, row| load(&journal(view, row).lost_frames)),
            counter64(9, "fluxJournalLostOctets", |view, row| load(&journal(view, row).lost_octets)),
            integer(10, "fluxJournalFailing", |view, row| truth(journal(view, row).is_failing.load(Relaxed))),
        ],
    },
    Branch {
        parent: &[ROOT, ALLOWANCE_ENTRY],
        rows: Rows::Allowances,
        objects: &[
            text(2, "fluxAllowanceName", |view, row| {
                let AllowanceRow { customer, charge, .. } = allowance(view, row);
                format!("{customer}: {charge}").into()
            }),
            text(3, "fluxAllowancePeriod", |view, row| allowance(view, row).period.as_str().into()),
            gauge32(4, "fluxAllowancePercent", |view, row| allowance(view, row).used_percent),
            gauge32(5, "fluxAllowanceProjected", |view, row| {
                allowance(view, row).projected_percent.unwrap_or(0)
            }),
            text(6, "fluxAllowanceAlert", |view, row| allowance(view, row).alert.as_str().into()),
        ],
    },
    Branch {
        parent: &[ROOT, POLLED_ENTRY],
        rows: Rows::Polled,
        objects: &[
            text(2, "fluxPolledName", |view, row| polled(view, row).exporter.as_str().into()),
            counter64(3, "fluxPolledPolls", |view, row| polled(view, row).polls),
            counter64(4, "fluxPolledFailures", |view, row| polled(view, row).failures),
            octets(5, "fluxPolledAnswered", |view, row| date_and_time(polled(view, row).answered_at)),
            text(6, "fluxPolledProblem", |view, row| polled(view, row).failure.as_str().into()),
            gauge32(7, "fluxPolledInterfaces", |view, row| polled(view, row).interfaces),
            counter64(8, "fluxPolledGaps", |view, row| polled(view, row).gaps),
        ],
    },
    Branch {
        parent: &[ROOT, RECONCILE_ENTRY],
        rows: Rows::Reconciled,
        objects: &[
            text(2, "fluxReconcileName", |view, row| view.lists.reconciled.row(row).0.as_str().into()),
            octets(3, "fluxReconcileTime", |view, row| {
                date_and_time(view.lists.reconciled.row(row).1.saturating_mul(1000))
            }),
            gauge64(4, "fluxReconcileFlowOctets", |view, row| reconciled(view, row).flow_octets),
            gauge64(5, "fluxReconcileInterfaceOctets", |view, row| reconciled(view, row).interface_octets),
            gauge64(6, "fluxReconcileTolerance", |view, row| reconciled(view, row).tolerance),
            gauge32(7, "fluxReconcileCoverage", |view, row| reconciled(view, row).coverage.into()),
            integer(8, "fluxReconcileVerdict", |view, row| {
                i32::try_from(reconciled(view, row).verdict).unwrap_or(0)
            }),
            counter64(9, "fluxReconcileDifferences", |view, row| reconciled(view, row).differences),
        ],
    },
];

fn sampler<'a>(view: &'a View<'_>, row: usize) -> &'a Sampler {
    view.lists.samplers.row(row)
}

fn tariff<'a>(view: &'a View<'_>, row: usize) -> &'a TariffRow {
    &view.lists.books.tariffs[row]
}

fn period<'a>(view: &'a View<'_>, row: usize) -> &'a PeriodRow {
    view.lists.periods.row(row)
}

fn journal<'a>(view: &'a View<'_>, row: usize) -> &'a Journal {
    &view.processor(row).journal
}

fn allowance<'a>(view: &'a View<'_>, row: usize) -> &'a AllowanceRow {
    view.lists.allowances.row(row)
}

fn polled<'a>(view: &'a View<'_>, row: usize) -> &'a PolledRow {
    view.lists.polled.row(row)
}

fn reconciled<'a>(view: &'a View<'_>, row: usize) -> &'a Reconciled {
    &view.lists.reconciled.row(row).2
}

fn sampler_name(sampler: &Sampler) -> String {
    let Sampler { domain, kind, number, .. } = sampler;
    match kind {
        Sampled::Domain => format!("domain {domain}"),
        Sampled::Sampler => format!("domain {domain}, sampler {number}"),
        Sampled::Ingress => format!("domain {domain}, in by interface {number}"),
        Sampled::Egress => format!("domain {domain}, out by interface {number}"),
        Sampled::Interface => format!("domain {domain}, interface {number}"),
        Sampled::Other => format!("domain {domain}, part {number}"),
    }
}

fn period_name(view: &View<'_>, period: &PeriodRow) -> String {
    let customers = &view.lists.volumes.customers;
    let at = customers.binary_search_by_key(&period.customer, |row| row.id);
    let name = at.map_or("", |at| customers[at].name.as_str());
    format!("{name} {:04}-{:02}", period.month / 100, period.month % 100)
}

/// TruthValue (RFC 2579): true(1), false(2).
fn truth(is_so: bool) -> i32 {
    if is_so { 1 } else { 2 }
}
