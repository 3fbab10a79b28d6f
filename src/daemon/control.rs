//! The control socket: `status`, `reload` and `flush` over a Unix socket in the state directory.
//!
//! A request is a line with one word; the answer is one line of JSON, then the connection closes. Runs on the only
//! tokio runtime, on a thread of its own, so that a slow client cannot hold up anything that counts.

use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tracing::warn;

use super::{Event, Shared};
use crate::counters::{CardRow, Counters, PolledRow, Reconciled, ReconciledRow, Sflow, Table};
use crate::decode::ErrorKind;

/// Allowances in the status, at most.
const ALLOWANCES_SHOWN: usize = 20;
/// Longest request line.
const LINE_OCTETS_MAX: u64 = 256;
/// A client that says nothing for so long is sent away.
const PATIENCE: Duration = Duration::from_secs(5);
/// A flush that has not reached the ledger by then is reported as pending.
const FLUSH_PATIENCE: Duration = Duration::from_secs(60);

/// Tells a client what became of its reload: the new version's hash, or the errors.
pub(super) struct Answer(oneshot::Sender<Result<String, String>>);

impl Answer {
    /// Sends it. The client may be gone; nobody else is interested.
    pub(super) fn send(self, outcome: Result<String, String>) {
        let _ = self.0.send(outcome);
    }
}

/// Binds the socket, which only the daemon's user and group may use. A left-over of a dead daemon is replaced.
pub(super) fn bind(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers there"));
    }
    let _ = std::fs::remove_file(path);
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until the daemon stops.
pub(super) fn run(
    listener: std::os::unix::net::UnixListener,
    shared: &Arc<Shared>,
    events: &SyncSender<Event>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let listener = UnixListener::from_std(listener)?;
        let mut stop = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (shared, events) = (Arc::clone(shared), events.clone());
                        tokio::spawn(async move { serve(stream, &shared, &events).await });
                    }
                    Err(error) => {
                        warn!(%error, "The control socket could not accept.");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                _ = stop.tick() => if shared.closed.load(Relaxed) { return Ok(()) },
            }
        }
    })
}

async fn serve(stream: UnixStream, shared: &Shared, events: &SyncSender<Event>) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(LINE_OCTETS_MAX));
    let answer = match tokio::time::timeout(PATIENCE, read.read_line(&mut line)).await {
        Ok(Ok(_)) => match line.trim() {
            "status" => status(shared),
            "flush" => flush(shared).await,
            "reload" => reload(events).await,
            other => {
                json!({ "ok": false, "error": format!("unknown request {other:?}; known: status, reload, flush") })
            }
        },
        _ => json!({ "ok": false, "error": "no request line" }),
    };
    // The client may be gone; it asked, nobody else is interested.
    let _ = write.write_all(format!("{answer}\n").as_bytes()).await;
}

/// Asks all processors to flush and waits until the ledger has it.
async fn flush(shared: &Shared) -> Value {
    let generation = shared.flush_wanted.fetch_add(1, Relaxed) + 1;
    let done = async {
        while shared.flushed.iter().any(|done| done.load(Relaxed) < generation) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(FLUSH_PATIENCE, done).await {
        Ok(()) => json!({ "ok": true }),
        Err(_) => json!({ "ok": false, "error": "the ledger has not taken the usage yet; see status" }),
    }
}

async fn reload(events: &SyncSender<Event>) -> Value {
    let (answer, answered) = oneshot::channel();
    if events.try_send(Event::Reload(Some(Answer(answer)))).is_err() {
        return json!({ "ok": false, "error": "busy" });
    }
    match answered.await {
        Ok(Ok(sha256)) => json!({ "ok": true, "configuration": sha256 }),
        Ok(Err(error)) => json!({ "ok": false, "error": error }),
        Err(_) => json!({ "ok": false, "error": "the daemon is stopping" }),
    }
}

fn table(table: &Table) -> Value {
    json!({
        "limit": table.limit.load(Relaxed),
        "current": table.current.load(Relaxed),
        "high_water": table.high_water.load(Relaxed),
        "failures": table.failures.load(Relaxed),
        "waits": table.waits.load(Relaxed),
        "wait_micros": table.wait_micros.load(Relaxed),
    })
}

fn sflow(sflow: &Sflow) -> Value {
    let n = |counter: &core::sync::atomic::AtomicU64| counter.load(Relaxed);
    json!({
        "flow_samples": n(&sflow.flow_samples), "counter_samples": n(&sflow.counter_samples),
        "discard_notifications": n(&sflow.discard_notifications), "skipped_formats": n(&sflow.skipped_formats),
        "samples_lost": n(&sflow.samples_lost), "samples_dropped": n(&sflow.samples_dropped),
        "pool_contradictions": n(&sflow.pool_contradictions), "packets_unpaid": n(&sflow.packets_unpaid),
        "other_agents": n(&sflow.other_agents),
    })
}

/// What the daemon bills by itself, and the allowances that are used up furthest.
fn billing(shared: &Shared) -> Value {
    let counters = &shared.counters.billing;
    let section = &shared.config.load().billing;
    let allowances = counters.allowances.load();
    let mut shown: Vec<_> = allowances.iter().collect();
    shown.sort_by_key(|row| core::cmp::Reverse(row.used_percent));
    let rows = shown.iter().take(ALLOWANCES_SHOWN).map(|row| {
        json!({
            "customer": row.customer, "charge": row.charge, "period": row.period, "used_percent": row.used_percent,
            "projected_percent": row.projected_percent, "alert": row.alert,
        })
    });
    json!({
        "from": section.from.map(|period| period.to_string()),
        "looked_at": counters.looked_at.load(Relaxed), "due": counters.due.load(Relaxed),
        "drafts": counters.drafts.load(Relaxed), "finals": counters.finals.load(Relaxed),
        "failures": counters.failures.load(Relaxed), "problem": counters.problem.load().as_str(),
        "alerts": counters.alerts.load(Relaxed), "alerts_told": counters.alerts_told.load(Relaxed),
        "alert_failures": counters.alert_failures.load(Relaxed),
        "allowances": rows.collect::<Vec<_>>(),
    })
}

/// Routers that are polled.
fn polled(counters: &Counters) -> Value {
    let managed = counters.managed.load();
    let row = |row: &PolledRow| {
        json!({
            "exporter": row.exporter, "polls": row.polls, "failures": row.failures, "answered_at": row.answered_at,
            "failure": row.failure, "interfaces": row.interfaces, "gaps": row.gaps,
        })
    };
    managed.polled.iter().map(row).collect()
}

/// Their flow tables.
fn cards(counters: &Counters) -> Value {
    let managed = counters.managed.load();
    let row = |row: &CardRow| {
        json!({
            "exporter": row.exporter, "card": row.card, "name": row.name, "utilisation": row.utilisation,
            "current": row.current, "limit": row.limit, "high_water": row.high_water, "failures": row.failures,
            "read_at": row.read_at,
        })
    };
    managed.cards.iter().map(row).collect()
}

/// Flows against counters, by link.
fn reconciled(counters: &Counters) -> Value {
    let managed = counters.managed.load();
    let side = |side: &Reconciled| {
        json!({
            "flow_octets": side.flow_octets, "interface_octets": side.interface_octets, "tolerance": side.tolerance,
            "coverage": side.coverage, "verdict": side.verdict, "differences": side.differences,
        })
    };
    let row = |row: &ReconciledRow| json!({ "link": row.name, "bucket": row.bucket, "in": side(&row.inward), "out": side(&row.outward) });
    managed.reconciled.iter().map(row).collect()
}

/// Everything that the counters say.
fn status(shared: &Shared) -> Value {
    let counters = &shared.counters;
    let processors: Vec<Value> = counters
        .processors
        .iter()
        .enumerate()
        .map(|(index, p)| {
            let n = |counter: &core::sync::atomic::AtomicU64| counter.load(Relaxed);
            json!({
                "datagrams": n(&p.datagrams), "octets": n(&p.octets), "rejected": n(&p.rejected),
                "kernel_drops": n(&p.kernel_drops), "journalled": n(&p.journalled),
                "unjournalled": n(&p.unjournalled), "dropped": n(&p.dropped), "decoded": n(&p.decoded),
                "malformed": n(&p.malformed), "duplicates": n(&p.duplicates), "records": n(&p.records),
                "raw_octets": n(&p.raw_octets), "metered_records": n(&p.metered_records),
                "metered_octets": n(&p.metered_octets), "held": n(&p.held),
                "expired_records": n(&p.expired_records), "expired_octets": n(&p.expired_octets),
                "expired_sets": n(&p.expired_sets),
                "not_volume": n(&p.not_volume), "implausible": n(&p.implausible), "duplicate_observations": n(&p.duplicate_observations),
                "unclear_total_octets": n(&p.unclear_total_octets),
                "unknown_observations": n(&p.unknown_observations),
                "by_other_version": n(&p.by_other_version),
                "backlog": n(&p.backlog), "committed": shared.committed[index].load(Relaxed),
                "templates": table(&p.templates), "usage": table(&p.usage), "holds": table(&p.holds),
                "held_records": table(&p.held_records), "running_totals": table(&p.running_totals),
                "journal_queue": table(&p.journal_queue),
                "connections": table(&p.connections),
                "connections_accepted": n(&p.connections_accepted),
                "connections_refused": n(&p.connections_refused),
                "connections_broken": n(&p.connections_broken),
                "connections_idle": n(&p.connections_idle),
            })
        })
        .collect();
    let exporters: Vec<Value> = counters
        .exporters()
        .iter()
        .map(|e| {
            let n = |counter: &core::sync::atomic::AtomicU64| counter.load(Relaxed);
            let kinds: serde_json::Map<String, Value> = ErrorKind::ALL
                .iter()
                .zip(&e.malformed_by_kind)
                .filter(|(_, count)| n(count) > 0)
                .map(|(kind, count)| (kind.as_str().to_owned(), n(count).into()))
                .collect();
            json!({
                "name": e.name, "address": e.address.to_string(), "datagrams": n(&e.datagrams),
                "records": n(&e.records), "options_records": n(&e.options_records),
                "raw_octets": n(&e.raw_octets), "malformed": n(&e.malformed), "malformed_by_kind": kinds,
                "torn_records": n(&e.torn_records), "torn_octets": n(&e.torn_octets),
                "duplicates": n(&e.duplicates), "lost": n(&e.lost), "held": n(&e.held), "expired_records": n(&e.expired_records),
                "clock_ahead": n(&e.clock_ahead), "clock_behind": n(&e.clock_behind),
                "clock_shifted": n(&e.clock_shifted),
                "restarts": n(&e.restarts), "rates_taken_up": n(&e.rates_taken_up),
                "rates_rounded": n(&e.rates_rounded),
                "shared_domains": n(&e.shared_domains), "unknown_observations": n(&e.unknown_observations),
                "unclear_totals": n(&e.unclear_totals), "unclear_total_octets": n(&e.unclear_total_octets),
                "last_seen": e.last_seen.load(Relaxed), "sflow": sflow(&e.sflow),
            })
        })
        .collect();
    json!({
        "ok": true,
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": counters.started_at,
        "caught_up": shared.caught_up.load(Relaxed),
        "listening": shared.listening,
        "listening_tcp": shared.listening_tcp,
        "snmp": shared.snmp,
        "metrics": shared.metrics,
        "processors": processors,
        "exporters": exporters,
        "polled": polled(counters),
        "cards": cards(counters),
        "reconciled": reconciled(counters),
        "ledger_writer": table(&counters.ledger_writer),
        "billing": billing(shared),
        "commits": counters.commits.load(Relaxed),
        "commit_failures": counters.commit_failures.load(Relaxed),
        "reloads": counters.reloads.load(Relaxed),
        "reload_failures": counters.reload_failures.load(Relaxed),
    })
}
