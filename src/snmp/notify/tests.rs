//! What is an event, when it is told again, and what is held back.

use core::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::super::access::{Scope, ViewRules};
use super::super::engine::Engine;
use super::super::snapshot::{Here, Lists};
use super::super::{Config, Now, Statistics, tree};
use super::*;
use crate::counters::{Counters, Exporter};

const START: i64 = 1_795_000_000_000;

/// Looks at the counters so many milliseconds after the start.
fn look(watch: &mut Watch, counters: &Counters, at_ms: u64) -> Vec<(Kind, u32)> {
    let (config, tree, statistics) = (Config::default(), tree(), Statistics::default());
    let scope = Scope::new(ViewRules::standard(), &tree);
    let engine = Engine::new(vec![0x80, 0, 0, 0, 1], 1);
    let mut lists = Lists::default();
    let uptime = Duration::from_millis(at_ms);
    lists.refresh(counters, uptime);
    let here = Here { config: &config, counters, statistics: &statistics, engine: &engine, told: None };
    let now = Now { wall: UnixMillis(START + i64::try_from(at_ms).unwrap()), uptime };
    let view = View::new(now, here, &scope, &lists);
    watch.look(&view).into_iter().map(|event| (event.kind, event.row)).collect()
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
    let expected =
        [(Kind::HoldExpired, 1), (Kind::Backlog, 1), (Kind::Contention, 3), (Kind::LedgerRefused, 0)];
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
}
