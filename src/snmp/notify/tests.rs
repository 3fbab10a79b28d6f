//! What is an event, when it is told again, and what is held back.

use core::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::super::access::{Scope, ViewRules};
use super::super::engine::Engine;
use super::super::snapshot::{Here, Lists};
use super::super::{Config, MIB, Now, Statistics, tree};
use super::*;
use crate::counters::{
    AllowanceRow, CardRow, Counters, CustomerRow, Exporter, Managed, Reconciled, ReconciledRow, Volume,
    Volumes,
};

const START: i64 = 1_795_000_000_000;

/// Looks at the counters so many milliseconds after the start.
fn look(watch: &mut Watch, counters: &Counters, at_ms: u64) -> Vec<(Kind, u32)> {
    look_again(watch, &mut Lists::default(), counters, at_ms, 0)
}

/// With the lists of an earlier look, and a clock that was set by so many milliseconds.
fn look_again(
    watch: &mut Watch,
    lists: &mut Lists,
    counters: &Counters,
    at_ms: u64,
    set_by: i64,
) -> Vec<(Kind, u32)> {
    let (config, tree, statistics) = (Config::default(), tree(), Statistics::default());
    let scope = Scope::new(ViewRules::standard(), &tree);
    let engine = Engine::new(vec![0x80, 0, 0, 0, 1], 1);
    let wall = UnixMillis(START + i64::try_from(at_ms).unwrap() + set_by);
    let now = Now { wall, uptime: Duration::from_millis(at_ms) };
    lists.refresh(counters, now);
    let here = Here { config: &config, counters, statistics: &statistics, engine: &engine, told: None };
    let view = View::new(now, here, &scope, lists);
    watch.look(&view).into_iter().map(|event| (event.kind, event.row[0])).collect()
}

fn counters() -> (Counters, Arc<Exporter>) {
    let counters = Counters::new(1, START);
    let exporter = Exporter::new("ce1".into(), [192, 0, 2, 1].into());
    exporter.ledger_id.store(7, Relaxed);
    let exporter = Arc::new(exporter);
    counters.exporters.write().unwrap().push(Arc::clone(&exporter));
    (counters, exporter)
}

#[test]
fn an_exporter_falls_silent_once() {
    let (counters, exporter) = counters();
    let mut watch = Watch::new(Alarms::default());
    // Never heard of: no news, however long.
    assert_eq!(look(&mut watch, &counters, 900_000), []);
    exporter.last_seen.store(START + 1_000_000, Relaxed);
    assert_eq!(look(&mut watch, &counters, 1_299_999), []);
    assert_eq!(look(&mut watch, &counters, 1_300_000), [(Kind::ExporterSilent, 7)]);
    assert_eq!(look(&mut watch, &counters, 1_900_000), []);
    // Heard again, and silent again: 300 s and more since it was told.
    exporter.last_seen.store(START + 1_900_000, Relaxed);
    assert_eq!(look(&mut watch, &counters, 1_901_000), []);
    assert_eq!(look(&mut watch, &counters, 2_200_000), [(Kind::ExporterSilent, 7)]);
    let history: Vec<_> = watch.history.iter().map(|event| (event.number, event.subject.as_str())).collect();
    assert_eq!(history, [(1, "ce1"), (2, "ce1")]);
}

#[test]
fn who_was_heard_before_the_start_and_says_nothing_is_told() {
    let (counters, exporter) = counters();
    let mut watch = Watch::new(Alarms::default());
    // A checkpoint is there: 300 s from the start of the process on.
    exporter.was_heard.store(true, Relaxed);
    assert_eq!(look(&mut watch, &counters, 299_999), []);
    assert_eq!(look(&mut watch, &counters, 300_999), [(Kind::ExporterSilent, 7)]);
}

#[test]
fn whom_the_operator_took_out_is_no_news() {
    let (counters, exporter) = counters();
    let mut watch = Watch::new(Alarms::default());
    exporter.last_seen.store(START, Relaxed);
    assert_eq!(look(&mut watch, &counters, 1_000), []);
    exporter.is_taken_out.store(true, Relaxed);
    assert_eq!(look(&mut watch, &counters, 900_000), []);
    // Its name at another address is waited for.
    let moved = Exporter::new("ce1".into(), [192, 0, 2, 2].into());
    moved.ledger_id.store(7, Relaxed);
    counters.exporters.write().unwrap().push(Arc::new(moved));
    assert_eq!(look(&mut watch, &counters, 901_000), [(Kind::ExporterSilent, 7)]);
    // What waits of somebody who is taken out is not told.
    exporter.last_seen.store(START + 902_000, Relaxed);
    assert_eq!(look(&mut watch, &counters, 902_000), []);
    assert_eq!(look(&mut watch, &counters, 1_200_999), []);
}

#[test]
fn a_clock_that_is_set_hides_nobody_and_blames_nobody() {
    let (counters, exporter) = counters();
    let (mut watch, mut lists) = (Watch::new(Alarms::default()), Lists::default());
    let hour = 3_600_000;
    exporter.last_seen.store(START + 999_500, Relaxed);
    assert_eq!(look_again(&mut watch, &mut lists, &counters, 1_000_000, 0), []);
    // Forward by an hour: no false alarm. Back by an hour: told all the same, 300 s after it was heard.
    assert_eq!(look_again(&mut watch, &mut lists, &counters, 1_001_000, hour), []);
    assert_eq!(look_again(&mut watch, &mut lists, &counters, 1_299_000, -hour), []);
    let told = look_again(&mut watch, &mut lists, &counters, 1_300_000, -hour);
    assert_eq!(told, [(Kind::ExporterSilent, 7)]);
    // Heard and silent again: `alarm_repeat` after it was told, whatever the clock says.
    exporter.last_seen.store(START + 1_300_500 - hour, Relaxed);
    assert_eq!(look_again(&mut watch, &mut lists, &counters, 1_301_000, -hour), []);
    watch.alarms.silent_ms = 1_000;
    assert_eq!(look_again(&mut watch, &mut lists, &counters, 1_599_000, hour), []);
    let told = look_again(&mut watch, &mut lists, &counters, 1_600_000, -2 * hour);
    assert_eq!(told, [(Kind::ExporterSilent, 7)]);
}

#[test]
fn loss_counts_from_its_share_on() {
    let (counters, exporter) = counters();
    let mut watch = Watch::new(Alarms { loss_percent: 2, ..Alarms::default() });
    // What was there before the start is no news.
    exporter.lost_told.store(1000, Relaxed);
    assert_eq!(look(&mut watch, &counters, 0), []);
    // 19 of 1000 are less than 2 %, 20 are not.
    exporter.records.store(980, Relaxed);
    exporter.lost_told.store(1019, Relaxed);
    assert_eq!(look(&mut watch, &counters, 10_000), []);
    exporter.lost_told.store(1020, Relaxed);
    assert_eq!(look(&mut watch, &counters, 20_000), [(Kind::ExporterLoss, 7)]);
    assert_eq!(look(&mut watch, &counters, 30_000), []);
    // A minute later the window begins anew, and what was lost before is over.
    assert_eq!(look(&mut watch, &counters, 61_000), []);
    assert_eq!(look(&mut watch, &counters, 62_000), []);
    assert!(watch.holding.is_empty());
}

#[test]
fn failures_are_told_and_not_repeated_too_soon() {
    let (counters, _) = counters();
    let mut watch = Watch::new(Alarms::default());
    counters.commit_failures.store(5, Relaxed);
    counters.processors[0].holds.failures.store(3, Relaxed);
    assert_eq!(look(&mut watch, &counters, 0), []);
    counters.commit_failures.store(6, Relaxed);
    counters.processors[0].holds.failures.store(4, Relaxed);
    counters.processors[0].expired_records.store(1, Relaxed);
    counters.processors[0].backlog.store(64 << 20, Relaxed);
    // Of the process first.
    let expected =
        [(Kind::Backlog, 1), (Kind::Contention, 3), (Kind::LedgerRefused, 0), (Kind::HoldExpired, 1)];
    assert_eq!(look(&mut watch, &counters, 1_000), expected);
    counters.commit_failures.store(7, Relaxed);
    assert_eq!(look(&mut watch, &counters, 2_000), []);
    assert_eq!((watch.throttled, watch.history.len()), (1, 4));
    counters.commit_failures.store(8, Relaxed);
    assert_eq!(look(&mut watch, &counters, 301_000), [(Kind::LedgerRefused, 0)]);
}

#[test]
fn many_at_once_are_held_back_and_the_history_is_bounded() {
    let counters = Counters::new(1, START);
    for id in 1..=200 {
        let exporter = Exporter::new(format!("ce{id}"), [192, 0, 2, 1].into());
        exporter.ledger_id.store(id, Relaxed);
        exporter.last_seen.store(START, Relaxed);
        counters.exporters.write().unwrap().push(Arc::new(exporter));
    }
    let mut watch = Watch::new(Alarms::default());
    assert_eq!(look(&mut watch, &counters, 300_000).len(), 30);
    assert_eq!((watch.throttled, watch.history.len()), (170, HISTORY_MAX));
    assert!(watch.history.iter().zip(73..).all(|(event, number)| event.number == number && event.throttled));

    // What was held back is told as soon as there is room, one a second, in its order; what ended meanwhile is not.
    let heard = Arc::clone(&counters.exporters.read().unwrap()[30]);
    heard.last_seen.store(START + 300_000, Relaxed);
    assert_eq!(look(&mut watch, &counters, 301_000), [(Kind::ExporterSilent, 32)]);
    let told: Vec<_> = (302..470).flat_map(|second| look(&mut watch, &counters, second * 1000)).collect();
    let expected: Vec<_> = (33..=200).map(|row| (Kind::ExporterSilent, row)).collect();
    assert_eq!(told, expected);
    assert!(watch.history.iter().all(|event| !event.throttled) && watch.waiting.is_empty());
    // Nothing was counted or numbered twice.
    assert_eq!((watch.throttled, watch.number), (170, 200));
    assert_eq!(look(&mut watch, &counters, 471_000), []);
}

#[test]
fn what_is_wrong_with_the_process_is_told_first() {
    let counters = Counters::new(1, START);
    for id in 1..=200 {
        let exporter = Exporter::new(format!("ce{id}"), [192, 0, 2, 1].into());
        exporter.ledger_id.store(id, Relaxed);
        exporter.last_seen.store(START, Relaxed);
        counters.exporters.write().unwrap().push(Arc::new(exporter));
    }
    let card = |failures| {
        let card = CardRow { exporter_id: 1, card: 1, failures, ..CardRow::default() };
        counters.managed.store(Arc::new(Managed { cards: vec![card], ..Managed::default() }));
    };
    card(0);
    let mut watch = Watch::new(Alarms::default());
    assert_eq!(look(&mut watch, &counters, 300_000).len(), 30);
    // 170 wait, one a second; the ledger does not, nor does the journal. A router's table waits in its place.
    card(1);
    assert_eq!(look(&mut watch, &counters, 301_000), [(Kind::ExporterSilent, 31)]);
    counters.processors[0].backlog.store(64 << 20, Relaxed);
    counters.commit_failures.store(1, Relaxed);
    assert_eq!(look(&mut watch, &counters, 302_000), [(Kind::Backlog, 1)]);
    assert_eq!(look(&mut watch, &counters, 303_000), [(Kind::LedgerRefused, 0)]);
    assert_eq!(look(&mut watch, &counters, 304_000), [(Kind::ExporterSilent, 32)]);
    // Held back: 170 exporters, the card, and the ledger for the second in which the backlog was told.
    assert_eq!((watch.throttled, watch.waiting.len()), (172, 169));
    assert_eq!(watch.waiting.back().map(|one| one.kind), Some(Kind::Contention));
}

#[test]
fn what_must_not_be_repeated_yet_is_told_when_it_may_be() {
    let (counters, exporter) = counters();
    // Silent again, less than five minutes after it was told: told when those are over.
    let mut watch = Watch::new(Alarms { silent_ms: 1_000, ..Alarms::default() });
    exporter.last_seen.store(START, Relaxed);
    assert_eq!(look(&mut watch, &counters, 1_000), [(Kind::ExporterSilent, 7)]);
    exporter.last_seen.store(START + 1_500, Relaxed);
    assert_eq!(look(&mut watch, &counters, 2_000), []);
    assert_eq!(look(&mut watch, &counters, 3_000), []);
    assert_eq!((watch.throttled, watch.history.len()), (1, 1));
    assert_eq!(look(&mut watch, &counters, 300_999), []);
    assert_eq!(look(&mut watch, &counters, 301_000), [(Kind::ExporterSilent, 7)]);
    // And failures, though no more came.
    counters.commit_failures.store(1, Relaxed);
    assert_eq!(look(&mut watch, &counters, 302_000), [(Kind::LedgerRefused, 0)]);
    counters.commit_failures.store(2, Relaxed);
    assert_eq!(look(&mut watch, &counters, 303_000), []);
    assert_eq!(look(&mut watch, &counters, 602_000), [(Kind::LedgerRefused, 0)]);
    assert_eq!(look(&mut watch, &counters, 1_202_000), []);
}

#[test]
fn links_out_of_tolerance_and_allowances_that_are_reached() {
    let counters = Counters::new(1, START);
    let mut watch = Watch::new(Alarms::default());
    let reconciled = |differences| {
        let outward = Reconciled { differences, verdict: 2, ..Reconciled::default() };
        let row = ReconciledRow { link: 3, name: "transit-a".into(), outward, ..ReconciledRow::default() };
        counters.managed.store(Arc::new(Managed { reconciled: vec![row], ..Managed::default() }));
    };
    let allowance = |period: &str, alert: &str| {
        let row = AllowanceRow {
            customer_id: 17,
            customer: "campus".into(),
            charge: "volume".into(),
            period: period.into(),
            alert: alert.into(),
            ..AllowanceRow::default()
        };
        counters.billing.allowances.store(Arc::new(vec![row]));
    };
    assert_eq!(look(&mut watch, &counters, 0), []);
    // The first comparison that is shown may be one out of tolerance.
    reconciled(1);
    allowance("2026-11", "");
    assert_eq!(look(&mut watch, &counters, 1_000), [(Kind::Reconciliation, 3)]);
    assert_eq!(watch.history[0].row, [3, 2]);
    allowance("2026-11", "80");
    assert_eq!(look(&mut watch, &counters, 2_000), [(Kind::Allowance, 17)]);
    assert_eq!(look(&mut watch, &counters, 3_000), []);
    // The next alert of the same allowance is told at once; the next period begins anew.
    allowance("2026-11", "100");
    assert_eq!(look(&mut watch, &counters, 4_000), [(Kind::Allowance, 17)]);
    allowance("2026-12", "");
    reconciled(2);
    assert_eq!(look(&mut watch, &counters, 5_000), []);
    allowance("2026-12", "80");
    assert_eq!(look(&mut watch, &counters, 301_000), [(Kind::Reconciliation, 3), (Kind::Allowance, 17)]);
    let subjects: Vec<_> = watch.history.iter().map(|event| event.subject.as_str()).collect();
    let campus = ["campus: volume 80%", "campus: volume 100%"];
    assert_eq!(subjects, ["transit-a out", campus[0], campus[1], "transit-a out", campus[0]]);
}

#[test]
fn notifications_carry_what_the_module_says() {
    // Every object of a notification is there, in the module's order.
    let (counters, _) = counters();
    counters.processors[0].backlog.store(1, Relaxed);
    let customer = CustomerRow {
        id: 17,
        name: "campus".into(),
        volume: Volume::default(),
        month_in_octets: 0,
        month_out_octets: 0,
    };
    counters.volumes.store(Arc::new(Volumes { links: Vec::new(), customers: vec![customer] }));
    let row = ReconciledRow { link: 3, name: "transit-a".into(), ..ReconciledRow::default() };
    counters.managed.store(Arc::new(Managed { reconciled: vec![row], ..Managed::default() }));
    let row = AllowanceRow { customer_id: 17, alert: "80".into(), ..AllowanceRow::default() };
    counters.billing.allowances.store(Arc::new(vec![row]));
    let (config, tree, statistics) = (Config::default(), tree(), Statistics::default());
    let scope = Scope::new(ViewRules::standard(), &tree);
    let engine = Engine::new(vec![0x80, 0, 0, 0, 1], 1);
    let mut lists = Lists::default();
    let now = Now { wall: UnixMillis(START), uptime: Duration::ZERO };
    lists.refresh(&counters, now);
    let here =
        Here { config: &config, counters: &counters, statistics: &statistics, engine: &engine, told: None };
    let view = View::new(now, here, &scope, &lists);
    for (kind, row) in [
        (Kind::ExporterSilent, vec![7]),
        (Kind::ExporterLoss, vec![7]),
        (Kind::HoldExpired, vec![1]),
        (Kind::Backlog, vec![1]),
        (Kind::Contention, vec![9]),
        (Kind::LedgerRefused, vec![0]),
        (Kind::Reconciliation, vec![3, 1]),
        (Kind::Allowance, vec![17, 1]),
    ] {
        let event =
            Event { number: 1, kind, row, subject: String::new(), at: UnixMillis(0), throttled: false };
        let (name, objects) = tree.notification(&view, &event);
        assert_eq!(name.last(), Some(&(kind as u32)));
        let declared = MIB.split("NOTIFICATION-TYPE").nth(kind as usize + 1).unwrap();
        let declared = declared.split(['{', '}']).nth(1).unwrap().split([',', '\n', ' ']).map(str::trim);
        let declared: Vec<_> = declared.filter(|word| !word.is_empty()).collect();
        let sent: Vec<_> = objects
            .iter()
            .map(|bound| tree.leaves().iter().find(|leaf| bound.0.starts_with(&leaf.oid)).unwrap().name)
            .collect();
        assert_eq!(sent, declared, "{kind:?}");
    }
}
