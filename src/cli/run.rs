//! `run`, `ctl` and `mrtg`: the daemon, and what talks to it.

use core::net::{IpAddr, Ipv4Addr};
use core::sync::atomic::Ordering::Relaxed;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Cli, Failure};
use crate::config::Config;
use crate::counters::{
    CardRow, Counters, CustomerRow, Exporter, LinkRow, Managed, PolledRow, ReconciledRow, Volume, Volumes,
};
use crate::daemon;
use crate::ledger::Ledger;
use crate::ledger::records::NameKind;
use crate::snmp;
use crate::units::UnixMillis;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it cannot start, or cannot go on.
pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    let Some(path) = cli.config_file() else {
        return Err(Failure::Usage(
            "error: no configuration\n\nhint: begin with ops/fluxoscope.example.toml, or try `fluxoscope demo`".to_owned(),
        ));
    };
    let config = super::load(&path)?;
    super::ledger_url(&config, &cli.state_dir)?;
    // Without colours: it goes to the log and over the control socket.
    let load = || Config::load(&path).map_err(|problems| problems.render(false));
    let ready = |listening: daemon::Listening<'_>| {
        for address in listening.udp {
            eprintln!("listening on {address}/udp");
        }
        for address in listening.tcp {
            eprintln!("listening on {address}/tcp");
        }
        if let Some(address) = listening.snmp {
            eprintln!("SNMP agent on {address}/udp");
        }
    };
    let biller = Box::new(super::scheduled::Scheduled::default());
    daemon::run(config, &cli.state_dir, &load, &ready, biller)?;
    Ok(())
}

/// What the daemon can be asked.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Request {
    /// All counters, as JSON
    Status,
    /// Read the configuration again
    Reload,
    /// Put everything received so far into the ledger, and wait for it
    Flush,
}

/// Ask the running daemon.
#[derive(Args, Debug)]
pub struct CtlArgs {
    /// What to ask
    request: Request,
}

/// Asks the daemon over its control socket and prints the answer.
///
/// # Errors
/// When no daemon answers, or it says no.
pub(super) fn ctl(args: &CtlArgs, state_dir: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let path = state_dir.join("control.sock");
    let mut stream = UnixStream::connect(&path)
        .map_err(|error| Failure::said(format!("no daemon answers at {}: {error}", path.display())))?;
    stream.set_read_timeout(Some(Duration::from_secs(90)))?;
    let request = args.request.to_possible_value().expect("no request is hidden");
    writeln!(stream, "{}", request.get_name())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    let value: serde_json::Value = serde_json::from_str(&answer)?;
    if value["ok"] != true {
        let said = value["error"].as_str().unwrap_or("the daemon gave no answer").trim_end();
        return Err(Failure::said(said.strip_prefix("error: ").unwrap_or(said)));
    }
    out.write_all(answer.as_bytes())?;
    Ok(())
}

/// Print an MRTG configuration for this agent.
#[derive(Args, Debug)]
pub struct MrtgArgs {
    /// Directory for MRTG's graphs and pages
    #[arg(long, value_name = "DIR", default_value = "/var/www/mrtg/fluxoscope")]
    work_dir: PathBuf,
    /// Where MRTG reaches the agent [default: the address of `[snmp] listen`]
    #[arg(long)]
    host: Option<String>,
}

/// Prints the configuration for the rows that the configuration and the ledger know, which has what the daemon remembered
/// when it flushed last; and says on standard error what only the running daemon knows.
///
/// # Errors
/// When there is no agent in the configuration, or the ledger cannot be read.
pub(super) fn mrtg(
    args: &MrtgArgs,
    config: &Config,
    ledger: &mut Option<Ledger>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Some(agent) = &config.snmp else {
        return Err(Failure::Usage(
            "error: the configuration has no [snmp] section, so there is no agent".to_owned(),
        ));
    };
    let counters = Counters::new(config.receive.processors, 0);
    if let Some(ledger) = ledger {
        show_rows(ledger, &counters)?;
        show_others(config, ledger, &counters)?;
        show_remembered(config, ledger, &counters);
    }
    for unknown in unknown(config, &counters) {
        eprintln!("note: {unknown}");
    }
    let host = match &args.host {
        Some(host) => host.clone(),
        None if agent.listen.ip().is_unspecified() => {
            return Err(Failure::Usage(format!(
                "error: the agent listens on {}, which is no address to ask it at\n\n\
                 hint: --host NAME, by which MRTG reaches this machine",
                agent.listen.ip()
            )));
        }
        None => agent.listen.ip().to_string(),
    };
    // MRTG takes a relative one from wherever its file is.
    let work_dir = std::path::absolute(&args.work_dir)?.display().to_string();
    let text = snmp::mrtg::configuration(agent, &counters, &host, &work_dir)
        .map_err(|unwritable| Failure::Usage(format!("error: {unwritable}")))?;
    out.write_all(text.as_bytes())?;
    Ok(())
}

/// Puts rows of polled routers, of links with interfaces of theirs, and of allowances into `counters`, without values.
fn show_others(config: &Config, ledger: &mut Ledger, counters: &Counters) -> Result<(), Failure> {
    let polled: Vec<_> = config
        .targets
        .iter()
        .map(|target| PolledRow { exporter: target.exporter.clone(), ..PolledRow::default() })
        .collect();
    let volumes = counters.volumes.load();
    let number = |name: &str| volumes.links.iter().find(|row| row.name == name).map(|row| row.id);
    let reconciled = daemon::compared_links(config).filter_map(|link| {
        Some(ReconciledRow { link: number(&link.name)?, name: link.name.clone(), ..ReconciledRow::default() })
    });
    let reconciled = reconciled.collect();
    let cards = known_cards(ledger, counters)?;
    counters.managed.store(Arc::new(Managed { polled, reconciled, cards }));
    let standings = super::scheduled::allowances(config, ledger, UnixMillis(daemon::now_ms()));
    let standings = standings.map_err(Failure::Failed)?;
    counters.billing.allowances.store(Arc::new(standings.rows));
    Ok(())
}

/// Flow tables of routers that lacked room at some time: those are in the ledger.
fn known_cards(ledger: &mut Ledger, counters: &Counters) -> Result<Vec<CardRow>, Failure> {
    let names: BTreeMap<u32, String> = counters
        .exporters()
        .iter()
        .map(|exporter| (exporter.ledger_id.load(Relaxed), exporter.name.clone()))
        .collect();
    let mut cards = BTreeMap::new();
    for found in ledger.card_failures(UnixMillis(i64::MIN + 1), UnixMillis(i64::MAX))? {
        let Some(exporter) = names.get(&found.exporter) else { continue };
        let row = CardRow {
            exporter: exporter.clone(),
            exporter_id: found.exporter,
            card: found.card,
            name: found.state.name,
            ..CardRow::default()
        };
        // The newest name is the one that the agent shows.
        cards.insert((found.exporter, found.card), row);
    }
    Ok(cards.into_values().collect())
}

/// Puts samplers and sessions into `counters` as the daemon remembered them. Those over TCP ended with their connections.
fn show_remembered(config: &Config, ledger: &mut Ledger, counters: &Counters) {
    let remembered = match daemon::remembered(ledger) {
        Ok(remembered) => remembered,
        Err(error) => {
            eprintln!("note: no samplers and sessions: {error}");
            return;
        }
    };
    let exporters = counters.exporters();
    for (address, mut memory) in remembered {
        let configured = config.network.exporters.iter().find(|exporter| exporter.address == address);
        // Who is not configured is called by its address.
        let name = configured.map_or_else(|| address.to_string(), |exporter| exporter.name.clone());
        memory.transports.retain(|transport| transport.session.is_none());
        if let Some(exporter) = exporters.iter().find(|exporter| exporter.name == name) {
            let shown = Exporter::new(name, address);
            shown.ledger_id.store(exporter.ledger_id.load(Relaxed), Relaxed);
            shown.memory.store(Arc::new(memory));
            let mut all = counters.exporters.write().expect("nobody else has these counters");
            all.push(Arc::new(shown));
        }
    }
}

/// What has no graphs though the running agent may show it.
fn unknown(config: &Config, counters: &Counters) -> Vec<String> {
    let (network, exporters, volumes) = (&config.network, counters.exporters(), counters.volumes.load());
    let missing = |what: &str, all: &mut dyn Iterator<Item = (&str, bool)>| {
        let names: Vec<&str> = all.filter(|(_, known)| !known).map(|(name, _)| name).take(11).collect();
        let more = if names.len() > 10 { " and others" } else { "" };
        let names = names.iter().take(10).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| {
            format!("no graphs of {what} {names}{more}: the daemon has not run with this configuration yet")
        })
    };
    let known = |name: &str| exporters.iter().any(|one| one.name == name);
    let of_exporters = &mut network.exporters.iter().map(|one| (one.name.as_str(), known(&one.name)));
    let known = |name: &str| volumes.links.iter().any(|one| one.name == name);
    let of_links = &mut network.links.iter().map(|one| (one.name.as_str(), known(&one.name)));
    let customers: BTreeSet<&str> = volumes.customers.iter().map(|one| one.name.as_str()).collect();
    let of_customers =
        &mut network.customers.iter().map(|one| (one.name.as_str(), customers.contains(one.name.as_str())));
    let mut notes: Vec<String> =
        [missing("exporters", of_exporters), missing("links", of_links), missing("customers", of_customers)]
            .into_iter()
            .flatten()
            .collect();
    if !config.receive.tcp.is_empty() {
        notes.push("no graphs of sessions over TCP: they last as long as their connections".to_owned());
    }
    if !config.targets.is_empty() {
        notes.push("flow tables of routers have graphs once they have lacked room".to_owned());
    }
    notes
}

/// Puts the rows that the ledger knows into `counters`, without their values.
fn show_rows(ledger: &mut Ledger, counters: &Counters) -> Result<(), Failure> {
    let volume = Volume::default();
    let links = ledger.names(NameKind::Link)?.into_iter();
    let customers = ledger.names(NameKind::Customer)?.into_iter();
    counters.volumes.store(Arc::new(Volumes {
        links: links.map(|(id, name)| LinkRow { id, name, kind: String::new(), volume }).collect(),
        customers: customers
            .map(|(id, name)| CustomerRow { id, name, volume, month_in_octets: 0, month_out_octets: 0 })
            .collect(),
    }));
    let mut exporters = counters.exporters.write().expect("nobody else has these counters");
    for (id, name) in ledger.names(NameKind::Exporter)? {
        let exporter = Exporter::new(name, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        exporter.ledger_id.store(id, Relaxed);
        exporters.push(Arc::new(exporter));
    }
    Ok(())
}
