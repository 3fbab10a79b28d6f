//! A configuration for MRTG that graphs this agent: every table that has something to graph.
//!
//! Objects are given by number, so MRTG needs no MIB. Targets are named by index, which the ledger keeps, so that
//! graphs survive restarts and new customers. A target asks for SNMPv2c in its last field,
//! `OID&OID:community@host:port:timeout:retries:backoff:version`, with the middle three left to their defaults:
//! Counter64 does not exist in version 1.
//!
//! MRTG takes a target for Perl: what stands between backticks in it is a command that it runs, and what its expressions do
//! not match it evaluates. So a community or a host goes into a target only where MRTG takes it as it is written.

use core::fmt::Write as _;
use core::sync::atomic::Ordering::Relaxed;

use super::lists::Lists;
use super::snapshot::CONTENTION;
use super::{Config, tree};
use crate::counters::Counters;

/// Why there can be no configuration. The community itself is not told: it is a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unwritable {
    /// The community has a character that MRTG would not take literally.
    #[error(
        "the first of `[snmp] communities` cannot be written into an MRTG target: MRTG takes printable ASCII \
         without backticks, colons and backslashes; put another community first"
    )]
    Community,
    /// The host is neither a name nor an address.
    #[error(
        "the host of an MRTG target has to be a name of letters, digits, `-`, `_` and dots, or an IP address without a zone"
    )]
    Host,
}

/// The configuration: for MRTG on a machine that reaches the agent as `host` (a name or an address), with its files
/// in `work_dir`. It has what `counters` shows now; write it again when links or customers were added.
///
/// # Errors
/// Where the community or the host would be something else to MRTG than what it is.
pub fn configuration(
    config: &Config,
    counters: &Counters,
    host: &str,
    work_dir: &str,
) -> Result<String, Unwritable> {
    let mut writer =
        Writer { tree: tree(), agent: agent(config, host)?, out: heading(config, host, work_dir) };
    for row in 0..counters.processors.len() {
        let index = &[number(row + 1)];
        let target_of = row + 1;
        let target = format!("fluxoscope-processor-{target_of}");
        let title = format!("Stream processor {row}");
        let objects = ["fluxProcessorRecords", "fluxProcessorMeteredRecords"];
        writer.graph(&target, &format!("{title}: flow records"), objects, index, &RECORDS);
        let objects = ["fluxProcessorHeld", "fluxProcessorQueue"];
        writer.graph(&format!("{target}-held"), &format!("{title}: waiting"), objects, index, &WAITING);
        let target = format!("fluxoscope-journal-{target_of}");
        let objects = ["fluxJournalEnd", "fluxJournalCommitted"];
        writer.graph(&target, &format!("Journal of processor {row}"), objects, index, &JOURNAL);
    }
    let mut exporters: Vec<_> = counters
        .exporters()
        .into_iter()
        .map(|exporter| (exporter.ledger_id.load(Relaxed), exporter))
        .collect();
    exporters.retain(|&(id, _)| id != 0);
    exporters.sort_by_key(|&(id, _)| id);
    exporters.dedup_by_key(|&mut (id, _)| id);
    for (id, exporter) in exporters {
        let title = format!("Exporter {}: flow records and loss", exporter.name);
        let objects = ["fluxExporterRecords", "fluxExporterLost"];
        writer.graph(&format!("fluxoscope-exporter-{id}"), &title, objects, &[id], &LOSS);
    }
    let volumes = counters.volumes.load();
    for link in &volumes.links {
        let target = format!("fluxoscope-link-{}", link.id);
        let objects = ["fluxLinkInOctets", "fluxLinkOutOctets"];
        writer.graph(&target, &format!("Link {}", link.name), objects, &[link.id], &VOLUME);
    }
    for customer in &volumes.customers {
        let target = format!("fluxoscope-customer-{}", customer.id);
        let objects = ["fluxCustomerInOctets", "fluxCustomerOutOctets"];
        writer.graph(&target, &format!("Customer {}", customer.name), objects, &[customer.id], &VOLUME);
        let objects = ["fluxCustomerMonthInOctets", "fluxCustomerMonthOutOctets"];
        let title = format!("Customer {}: the month so far", customer.name);
        writer.graph(&format!("{target}-month"), &title, objects, &[customer.id], &MONTH);
    }
    for (row, name) in CONTENTION.iter().enumerate() {
        let index = &[number(row + 1)];
        let target = format!("fluxoscope-table-{}", row + 1);
        let objects = ["fluxContentionCurrent", "fluxContentionLimit"];
        writer.graph(&target, &format!("Table {name}: in use, and the limit"), objects, index, &LEVEL);
        let objects = ["fluxContentionFailures", "fluxContentionWaits"];
        let title = format!("Table {name}: failures and waits");
        writer.graph(&format!("{target}-waits"), &title, objects, index, &EVENTS);
    }
    let objects = ["fluxCommits", "fluxCommitFailures"];
    writer.graph("fluxoscope-ledger", "Ledger: commits, and attempts that failed", objects, &[0], &COMMITS);
    let objects = ["fluxLedgerBillingDrafts", "fluxLedgerBillingFailures"];
    writer.graph("fluxoscope-billing", "Billing: drafts made, and failures", objects, &[0], &BILLING);
    writer.others(counters);
    Ok(writer.out)
}

fn number(row: usize) -> u32 {
    u32::try_from(row).expect("few rows are numbered from 1")
}

/// How a graph looks.
struct Style {
    legends: [&'static str; 2],
    /// At most 16 letters: MRTG leaves out what is longer than its graph is high.
    unit: &'static str,
    options: &'static str,
    /// Greater values are taken for errors by MRTG; per second where the object is a counter.
    value_max: u64,
}

const RECORDS: Style = Style {
    legends: ["decoded", "metered"],
    unit: "records/s",
    options: "nopercent,growright",
    value_max: 1_000_000_000,
};
const LOSS: Style = Style { legends: ["records", "lost"], ..RECORDS };
/// Octets, shown as bits; up to 10 Tbit/s, so that a commit after a pause still counts.
const VOLUME: Style = Style {
    legends: ["in", "out"],
    unit: "bits/s",
    options: "bits,nopercent,growright",
    value_max: 1_250_000_000_000,
};
const WAITING: Style = Style {
    legends: ["held", "queue"],
    unit: "records, octets",
    options: "gauge,nopercent,growright",
    value_max: u32::MAX as u64,
};
const LEVEL: Style = Style { legends: ["in use", "limit"], unit: "entries, octets", ..WAITING };
/// Octets that came into the journal, and got from there into the ledger.
const JOURNAL: Style = Style {
    legends: ["written", "committed"],
    unit: "octets/s",
    options: "nopercent,growright",
    value_max: 1_250_000_000_000,
};
const COMMITS: Style = Style { legends: ["commits", "failures"], ..EVENTS };
const BILLING: Style = Style { legends: ["drafts", "failures"], ..EVENTS };
/// Octets, up to an exabyte.
const MONTH: Style =
    Style { legends: ["in", "out"], unit: "octets", value_max: 1_000_000_000_000_000_000, ..WAITING };
const POLLS: Style = Style { legends: ["polls", "failures"], ..EVENTS };
const CARD: Style = Style { legends: ["in use", "limit"], unit: "flows", ..WAITING };
const CARD_FAILURES: Style = Style { legends: ["failures", "waits"], unit: "flows/min", ..EVENTS };
const ALLOWANCE: Style = Style { legends: ["used", "projected"], unit: "percent", ..WAITING };
const SAMPLING: Style = Style { legends: ["packets", "looked at"], unit: "packets", ..WAITING };
/// Octets of five minutes.
const RECONCILED: Style = Style {
    legends: ["flows", "interfaces"],
    unit: "octets in 5 min",
    options: "gauge,nopercent,growright",
    value_max: 375_000_000_000_000,
};
const SESSION: Style = Style {
    legends: ["octets", "records"],
    unit: "octets, rec/s",
    options: "nopercent,growright",
    value_max: 1_250_000_000_000,
};
const EVENTS: Style = Style {
    legends: ["failures", "waits"],
    unit: "events/min",
    options: "perminute,nopercent,growright",
    value_max: 1_000_000_000,
};

struct Writer {
    tree: tree::Tree,
    /// `community@host:port::::2`.
    agent: String,
    out: String,
}

impl Writer {
    /// Adds what exporters, routers and billing bring: rows that are there where `counters` has them.
    fn others(&mut self, counters: &Counters) {
        let mut lists = Lists::default();
        // Graphs are of rows: how old anything is does not matter.
        let now = super::Now { wall: crate::units::UnixMillis(0), uptime: core::time::Duration::ZERO };
        lists.refresh(counters, now);
        for row in 0..lists.cards.len() {
            let (index, card) = (lists.cards.key(row), lists.cards.row(row));
            let target = format!("fluxoscope-card-{}", dashed(&index));
            let title = format!("Router {}, {}", card.exporter, card.name);
            let objects = ["fluxContentionCurrent", "fluxContentionLimit"];
            self.graph(&target, &format!("{title}: in use, and the limit"), objects, &index, &CARD);
            let objects = ["fluxContentionFailures", "fluxContentionWaits"];
            let target = format!("{target}-failures");
            self.graph(&target, &format!("{title}: flows without a place"), objects, &index, &CARD_FAILURES);
        }
        for row in 0..lists.samplers.len() {
            let index = lists.samplers.key(row);
            let [exporter, domain, ..] = index;
            let title = format!("Sampling of exporter {exporter}, domain {domain}");
            let objects = ["fluxSamplerNumerator", "fluxSamplerDenominator"];
            self.graph(&format!("fluxoscope-sampler-{}", dashed(&index)), &title, objects, &index, &SAMPLING);
        }
        for row in 0..lists.transports.len() {
            let (index, session) = (lists.transports.key(row), lists.transports.row(row));
            let title = format!("Session of {}, version {}", session.address, session.transport.version);
            let objects = ["ipfixTransportSessionBytes", "ipfixTransportSessionRecords"];
            self.graph(&format!("fluxoscope-session-{}", dashed(&index)), &title, objects, &index, &SESSION);
        }
        for row in 0..lists.allowances.len() {
            let (index, allowance) = (lists.allowances.key(row), lists.allowances.row(row));
            let title = format!("Allowance of {}: {}", allowance.customer, allowance.charge);
            let objects = ["fluxAllowancePercent", "fluxAllowanceProjected"];
            self.graph(
                &format!("fluxoscope-allowance-{}", dashed(&index)),
                &title,
                objects,
                &index,
                &ALLOWANCE,
            );
        }
        for row in 0..lists.polled.len() {
            let (index, polled) = (lists.polled.key(row), lists.polled.row(row));
            let title = format!("Polls of {}", polled.exporter);
            let objects = ["fluxPolledPolls", "fluxPolledFailures"];
            self.graph(&format!("fluxoscope-poll-{}", dashed(&index)), &title, objects, &index, &POLLS);
        }
        for row in 0..lists.reconciled.len() {
            let (index, (name, ..)) = (lists.reconciled.key(row), lists.reconciled.row(row));
            let title = format!("Link {name}: flows and interface counters");
            let objects = ["fluxReconcileFlowOctets", "fluxReconcileInterfaceOctets"];
            self.graph(
                &format!("fluxoscope-reconcile-{}", dashed(&index)),
                &title,
                objects,
                &index,
                &RECONCILED,
            );
        }
    }

    /// Adds a graph of two objects of one row.
    fn graph(&mut self, target: &str, title: &str, objects: [&str; 2], index: &[u32], style: &Style) {
        let Style { legends: [first, second], unit, options, value_max } = style;
        let title = html(title);
        let objects = objects.map(|name| self.oid(name, index)).join("&");
        // Writing into a String cannot fail.
        let _ = write!(
            self.out,
            "\n\
             Target[{target}]: {objects}:{agent}\n\
             Title[{target}]: {title}\n\
             PageTop[{target}]: <h1>{title}</h1>\n\
             MaxBytes[{target}]: {value_max}\n\
             Options[{target}]: {options}\n\
             YLegend[{target}]: {unit}\n\
             ShortLegend[{target}]: &nbsp;\n\
             LegendI[{target}]: {first}:\n\
             LegendO[{target}]: {second}:\n\
             Legend1[{target}]: {first}, {unit}\n\
             Legend2[{target}]: {second}, {unit}\n",
            agent = self.agent,
        );
    }

    /// An instance by number.
    fn oid(&self, name: &str, index: &[u32]) -> String {
        let leaf = self.tree.named(name).expect("a test asks for the object of every graph");
        joined(&[&leaf.oid, index].concat(), ".")
    }
}

fn dashed(index: &[u32]) -> String {
    joined(index, "-")
}

fn joined(numbers: &[u32], by: &str) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(by)
}

fn heading(config: &Config, host: &str, work_dir: &str) -> String {
    let work_dir = one_line(work_dir);
    let mut out =
        String::from("# MRTG configuration for Fluxoscope: env LANG=C mrtg FILE, every five minutes.\n");
    let quoted = work_dir.replace('\'', "'\\''");
    let _ = writeln!(out, "# MRTG does not make its directory: mkdir -p '{quoted}'");
    if config.communities.is_empty() {
        out.push_str("# The agent has no community yet ([snmp] communities), so it answers nobody: `public` is a guess.\n");
    }
    let _ = writeln!(out, "WorkDir: {work_dir}");
    if host.contains(':') {
        out.push_str("EnableIPv6: yes\n");
    }
    out
}

/// Whom to ask, and how: four colons after the port leave timeout, retries and backoff alone.
fn agent(config: &Config, host: &str) -> Result<String, Unwritable> {
    let community = config.communities.first().map_or("public", String::as_str);
    let community = community_as_written(community).ok_or(Unwritable::Community)?;
    let host = host_as_written(host).ok_or(Unwritable::Host)?;
    // A master agent is where agents are.
    let port = if config.agentx.is_some() { 161 } else { config.listen.port() };
    Ok(format!("{community}@{host}:{port}::::2"))
}

/// A community in a target: MRTG has an escape for `@` and for blanks, and for nothing else.
fn community_as_written(community: &str) -> Option<String> {
    let is_literal = |c: char| matches!(c, ' '..='~') && !matches!(c, '`' | ':' | '\\');
    let can_be_written = !community.is_empty() && community.chars().all(is_literal);
    can_be_written.then(|| community.replace('@', "\\@").replace(' ', "\\ "))
}

/// A host in a target: a name, or an address, of which those of IPv6 stand in brackets.
fn host_as_written(host: &str) -> Option<String> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare.parse::<core::net::Ipv6Addr>().is_ok() {
        // MRTG knows no dotted ending of IPv6 addresses.
        return (!bare.contains('.')).then(|| format!("[{bare}]"));
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    host.split('.').all(is_label).then(|| host.to_owned())
}

/// A line of the configuration ends where a line ends.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn html(text: &str) -> String {
    one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::counters::{LinkRow, Volume, Volumes};

    #[test]
    fn targets_name_objects_by_number() {
        let counters = Counters::new(1, 0);
        let link =
            LinkRow { id: 7, name: "a <b>\n& c".into(), kind: String::new(), volume: Volume::default() };
        counters.volumes.store(Arc::new(Volumes { links: vec![link], customers: Vec::new() }));
        let config = Config { communities: vec!["p@ss word".into()], ..Config::default() };
        let text = configuration(&config, &counters, "2001:db8::1", "/var/www/mrtg").unwrap();
        let lines: Vec<_> = text.lines().collect();
        let target = "Target[fluxoscope-link-7]: \
                      1.3.6.1.4.1.32473.2055.1.4.1.3.7&1.3.6.1.4.1.32473.2055.1.4.1.4.7:p\\@ss\\ word@[2001:db8::1]:1161::::2";
        assert!(lines.contains(&target), "{text}");
        assert!(lines.contains(&"Title[fluxoscope-link-7]: Link a &lt;b&gt; &amp; c"));
        assert!(lines.contains(&"# MRTG does not make its directory: mkdir -p '/var/www/mrtg'"));
        assert!(lines.contains(&"WorkDir: /var/www/mrtg") && lines.contains(&"EnableIPv6: yes"));
        assert!(lines.contains(&"Options[fluxoscope-table-2]: gauge,nopercent,growright"));
        let units = lines.iter().filter_map(|line| line.strip_prefix("YLegend[")?.split_once("]: "));
        assert!(units.map(|(_, unit)| unit.len()).max().is_some_and(|longest| longest <= 16), "{text}");
        // One of a link, of the ledger, of billing and of a journal, two of the processor and of each of the nine tables.
        assert_eq!(lines.iter().filter(|line| line.starts_with("Target[")).count(), 4 + 2 + 18);
    }

    /// What MRTG's own expression for a target takes by the letter, and what it would run, evaluate or cut.
    #[test]
    fn what_mrtg_would_not_take_literally_is_refused() {
        let written = |community: &str, host: &str| {
            let config = Config { communities: vec![community.into()], ..Config::default() };
            configuration(&config, &Counters::new(1, 0), host, "/tmp").map(|text| {
                let target = text.lines().find(|line| line.starts_with("Target[fluxoscope-ledger]")).unwrap();
                target.rsplit_once(".22.0:").unwrap().1.to_owned()
            })
        };
        assert_eq!(
            written("public", "router-1.example_.net").unwrap(),
            "public@router-1.example_.net:1161::::2"
        );
        assert_eq!(written("a&b$c%d\"e'f|g;h", "192.0.2.1").unwrap(), "a&b$c%d\"e'f|g;h@192.0.2.1:1161::::2");
        assert_eq!(written("p@s s", "[2001:db8::1]").unwrap(), "p\\@s\\ s@[2001:db8::1]:1161::::2");
        for community in
            ["x`id`", "`", "a:b", "a\\", "\\@b", "", "a\tb", "a\nb", "a\u{a0}b", "p\u{e4}ss", "a\u{7f}"]
        {
            assert_eq!(written(community, "192.0.2.1"), Err(Unwritable::Community), "{community:?}");
        }
        for host in [
            "",
            "`id`",
            "a b",
            "a@b",
            "a:b",
            "a..b",
            ".",
            "fe80::1%eth0",
            "[::1",
            "::ffff:192.0.2.1",
            "a|b",
            "a;b",
        ] {
            assert_eq!(written("public", host), Err(Unwritable::Host), "{host:?}");
        }
        let told = Unwritable::Community.to_string();
        assert!(told.contains("backticks") && told.contains("[snmp] communities"), "{told}");
    }
}
