//! `/metrics` for Prometheus: FLUXOSCOPE-MIB's counters and gauges as text, over HTTP on an address of its own.
//!
//! What is exposed is the object tree itself: `fluxExporterLost` of exporter `ce1` is
//! `fluxoscope_exporter_lost_total{exporter="ce1",index="7"}`. So nothing is there twice in the program, and what the
//! agent shows is what Prometheus sees; but for the agent's own counters, which its thread keeps to itself.
//!
//! The server looks after some connections at a time and waits for none of them: who connects and says nothing, goes on
//! after a refusal, or reads slowly keeps nobody waiting, and is let go after a time. Answers are made one by one, and end
//! their connections; what of them waits for its readers is bounded, too. What of HTTP it knows is in `http`. It knows no
//! authentication: it belongs on loopback, or behind something that does.

use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use tracing::debug;

use super::access::{Scope, ViewRules};
use super::engine::Engine;
use super::snapshot::{Here, Lists, View};
use super::tree::{Found, Kind, Leaf, Rows, Tree, Value};
use super::{Config, Now, Statistics, objects};
use crate::counters::Counters;
use crate::units::UnixMillis;
use http::{Connection, Method, Refused, Step, is_passing};

mod http;

/// Connections at most; then the oldest to which no answer is on its way has to go.
const CONNECTIONS_MAX: usize = 64;
/// Answers that wait for their readers, at most; then the oldest has to go: who reads at all is done by then.
const TELLING_MAX: usize = 8;
/// How often those are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// How often it is looked whether to stop.
const IDLE: Duration = Duration::from_millis(200);

/// Serves the counters as text.
#[derive(Debug)]
pub struct Exposition {
    counters: Arc<Counters>,
    tree: Tree,
    config: Config,
    engine: Engine,
    scope: Scope,
    lists: Lists,
    started: Instant,
}

impl Exposition {
    /// An exposition of `counters`.
    #[must_use]
    pub fn new(counters: Arc<Counters>) -> Self {
        let (config, tree) = (Config::default(), super::tree());
        let scope = Scope::new(ViewRules::standard(), &tree);
        let (engine, lists) = (Engine::new(Vec::new(), 0), Lists::default());
        Self { counters, tree, config, engine, scope, lists, started: Instant::now() }
    }

    /// Answers until `stop` is true; looks at it at least five times a second. `clock` tells the time of day.
    ///
    /// # Errors
    /// Where the listener fails for good.
    pub fn run(
        &mut self,
        listener: &TcpListener,
        stop: &AtomicBool,
        clock: impl Fn() -> UnixMillis,
    ) -> io::Result<()> {
        let mut waiting: Vec<Connection> = Vec::new();
        while !stop.load(Relaxed) {
            // On Linux, accepting ends with it, too.
            let wait = if waiting.is_empty() { IDLE } else { LOOK };
            socket2::SockRef::from(listener).set_read_timeout(Some(wait))?;
            match listener.accept() {
                Ok((stream, _)) => {
                    if waiting.len() == CONNECTIONS_MAX {
                        let gone = waiting.iter().position(|one| !one.is_telling()).unwrap_or(0);
                        waiting.remove(gone);
                    }
                    waiting.extend(Connection::new(stream));
                }
                Err(error) if is_passing(error.kind()) => {}
                Err(error) => return Err(error),
            }
            waiting.retain_mut(|connection| match self.look_after(connection, &clock) {
                Ok(is_open) => is_open,
                Err(error) => {
                    debug!(%error, "A request for metrics was not answered.");
                    false
                }
            });
            while waiting.iter().filter(|one| one.is_telling()).count() > TELLING_MAX {
                let oldest = waiting.iter().position(Connection::is_telling).unwrap_or(0);
                waiting.remove(oldest);
            }
        }
        Ok(())
    }

    /// Does what can be done for a connection without waiting; false where it is over.
    fn look_after(
        &mut self,
        connection: &mut Connection,
        clock: &impl Fn() -> UnixMillis,
    ) -> io::Result<bool> {
        loop {
            match connection.step()? {
                Step::Answer(head) => {
                    let answer = self.answer(head.as_deref().map_err(|refused| *refused), clock);
                    connection.answer(answer);
                }
                Step::Later => return Ok(true),
                Step::Over => return Ok(false),
            }
        }
    }

    /// The answer to a request.
    fn answer(&mut self, head: Result<&[u8], Refused>, clock: &impl Fn() -> UnixMillis) -> Vec<u8> {
        let asked = head.and_then(http::parse);
        let (status, kind, body) = match &asked {
            Ok((_, "/metrics")) => {
                let now = Now { wall: clock(), uptime: self.started.elapsed() };
                ("200 OK", "text/plain; version=0.0.4; charset=utf-8", self.render(now))
            }
            Ok(_) => ("404 Not Found", "text/plain", "See /metrics.\n".to_owned()),
            Err(refused) => (refused.status(), "text/plain", refused.reason().to_owned()),
        };
        let allow = if matches!(asked, Err(Refused::Method)) { "Allow: GET, HEAD\r\n" } else { "" };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\n{allow}Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if !matches!(asked, Ok((Method::Head, _))) {
            answer.push_str(&body);
        }
        answer.into_bytes()
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&mut self, now: Now) -> String {
        self.lists.refresh(&self.counters, now);
        let here = Here {
            config: &self.config,
            counters: &self.counters,
            statistics: &Statistics::default(),
            engine: &self.engine,
            told: None,
        };
        let view = View::new(now, here, &self.scope, &self.lists);
        let mut out = String::new();
        for leaf in self.tree.leaves().iter().filter(|leaf| is_exposed(leaf)) {
            self.family(&view, leaf, &mut out);
        }
        out
    }

    /// One metric with all its rows.
    fn family(&self, view: &View<'_>, leaf: &Leaf, out: &mut String) {
        let is_counter = leaf.get.is_counter();
        let name = format!("{}{}", snake(leaf.name), if is_counter { "_total" } else { "" });
        // Writing into a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {} of FLUXOSCOPE-MIB", leaf.name);
        let _ = writeln!(out, "# TYPE {name} {}", if is_counter { "counter" } else { "gauge" });
        for row in 0..view.len(leaf.rows) {
            let mut oid = leaf.oid.clone();
            view.push_index(leaf.rows, row, &mut oid);
            let value = match self.tree.get(view, &oid) {
                Found::Value(Value::Counter32(value) | Value::Gauge32(value)) => value.into(),
                Found::Value(Value::Counter64(value)) => value,
                Found::Value(Value::Integer(value)) => u64::try_from(value).unwrap_or(0),
                _ => continue,
            };
            let _ = match label(leaf.rows) {
                None => writeln!(out, "{name} {value}"),
                Some(label) => {
                    let index =
                        oid[leaf.oid.len()..].iter().map(u32::to_string).collect::<Vec<_>>().join(".");
                    let row_name = escaped(&self.row_name(view, leaf, row));
                    writeln!(out, "{name}{{{label}=\"{row_name}\",index=\"{index}\"}} {value}")
                }
            };
        }
    }

    /// Column 2 of every table is the row's name.
    fn row_name(&self, view: &View<'_>, leaf: &Leaf, row: usize) -> String {
        let mut oid = leaf.oid.clone();
        oid.pop();
        oid.push(2);
        view.push_index(leaf.rows, row, &mut oid);
        match self.tree.get(view, &oid) {
            Found::Value(Value::Octets(name)) => String::from_utf8_lossy(&name).into_owned(),
            _ => String::new(),
        }
    }
}

/// Numbers of FLUXOSCOPE-MIB, enumerations among them, without the agent's own.
fn is_exposed(leaf: &Leaf) -> bool {
    let is_number =
        matches!(leaf.get.kind(), Kind::Counter32 | Kind::Counter64 | Kind::Gauge32 | Kind::Integer);
    let is_shown = leaf.rows == Rows::Scalar || label(leaf.rows).is_some();
    let is_agents = leaf.oid.starts_with(&[objects::ROOT, objects::AGENT].concat());
    leaf.oid.starts_with(objects::ROOT) && is_number && is_shown && !is_agents
}

/// What rows of a table are.
fn label(rows: Rows) -> Option<&'static str> {
    match rows {
        Rows::Allowances => Some("allowance"),
        Rows::Contention => Some("table"),
        Rows::Customers => Some("customer"),
        Rows::Exporters => Some("exporter"),
        Rows::Links => Some("link"),
        Rows::Periods => Some("period"),
        Rows::Polled => Some("exporter"),
        Rows::Processors => Some("processor"),
        Rows::Reconciled => Some("link"),
        Rows::Samplers => Some("sampler"),
        Rows::Tariffs => Some("tariff"),
        _ => None,
    }
}

/// `fluxExporterLost` is `fluxoscope_exporter_lost`.
fn snake(name: &str) -> String {
    let mut out = String::from("fluxoscope");
    for c in name.trim_start_matches("flux").chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{CustomerRow, Exporter, Volume, Volumes};

    #[test]
    fn counters_become_metrics() {
        let counters = Counters::new(2, 1_000);
        counters.processors[1].records.store(12, Relaxed);
        let exporter = Exporter::new("a \"b\"\\".into(), [192, 0, 2, 1].into());
        exporter.ledger_id.store(7, Relaxed);
        exporter.lost_told.store(5, Relaxed);
        counters.exporters.write().unwrap().push(Arc::new(exporter));
        let volume = Volume { in_octets: u64::MAX, ..Volume::default() };
        let customer =
            CustomerRow { id: 16, name: "campus".into(), volume, month_in_octets: 3, month_out_octets: 4 };
        counters.volumes.store(Arc::new(Volumes { links: Vec::new(), customers: vec![customer] }));
        let now = Now { wall: UnixMillis(4_000), uptime: Duration::from_secs(3) };
        let text = Exposition::new(Arc::new(counters)).render(now);
        for line in [
            "# TYPE fluxoscope_processor_records_total counter",
            "fluxoscope_processor_records_total{processor=\"processor 1\",index=\"2\"} 12",
            "fluxoscope_exporter_lost_total{exporter=\"a \\\"b\\\"\\\\\",index=\"7\"} 5",
            "fluxoscope_customer_in_octets_total{customer=\"campus\",index=\"16\"} 18446744073709551615",
            "# TYPE fluxoscope_customer_month_in_octets gauge",
            "fluxoscope_customer_month_in_octets{customer=\"campus\",index=\"16\"} 3",
            "fluxoscope_exporter_silent_seconds{exporter=\"a \\\"b\\\"\\\\\",index=\"7\"} 3",
            "fluxoscope_processors 2",
            "fluxoscope_total_records_total 12",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("agent"));
        // Each name once, and of the characters that Prometheus takes.
        let mut names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert!(names.iter().all(|name| {
            name.split(' ')
                .next()
                .unwrap()
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
        }));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
