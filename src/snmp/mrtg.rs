//! A configuration for MRTG that graphs this agent: processors, links, customers and table contention.
//!
//! Objects are given by number, so MRTG needs no MIB. Targets are named by index, which the ledger keeps, so that
//! graphs survive restarts and new customers. A target asks for SNMPv2c in its last field,
//! `OID&OID:community@host:port:timeout:retries:backoff:version`, with the middle three left to their defaults:
//! Counter64 does not exist in version 1.

use core::fmt::Write as _;
use core::sync::atomic::Ordering::Relaxed;

use super::snapshot::CONTENTION;
use super::{Config, tree};
use crate::counters::Counters;

/// The configuration: for MRTG on a machine that reaches the agent as `host` (a name or an address), with its files
/// in `work_dir`. It has what `counters` shows now; write it again when links or customers were added.
#[must_use]
pub fn configuration(config: &Config, counters: &Counters, host: &str, work_dir: &str) -> String {
    let writer = Writer { tree: tree(), agent: agent(config, host) };
    let mut out = heading(config, host, work_dir);
    for (row, _) in counters.processors.iter().enumerate() {
        let index = row + 1;
        writer.section(
            &mut out,
            &Section {
                target: format!("fluxoscope-processor-{index}"),
                title: format!("Stream processor {row}: flow records"),
                objects: ["fluxProcessorRecords", "fluxProcessorMeteredRecords"],
                index,
                ..Section::RATE
            },
        );
        writer.section(
            &mut out,
            &Section {
                target: format!("fluxoscope-processor-{index}-held"),
                title: format!("Stream processor {row}: records held and octets on the way to the journal"),
                objects: ["fluxProcessorHeld", "fluxProcessorQueue"],
                index,
                legends: ["held", "queue"],
                ..Section::LEVEL
            },
        );
    }
    for exporter in counters.exporters().iter() {
        let index = exporter.ledger_id.load(Relaxed) as usize;
        if index != 0 {
            writer.section(
                &mut out,
                &Section {
                    target: format!("fluxoscope-exporter-{index}"),
                    title: format!("Exporter {}: flow records, and what was lost", exporter.name),
                    objects: ["fluxExporterRecords", "fluxExporterLost"],
                    index,
                    legends: ["records", "lost"],
                    ..Section::RATE
                },
            );
        }
    }
    let volumes = counters.volumes.load();
    for link in &volumes.links {
        writer.section(
            &mut out,
            &Section {
                target: format!("fluxoscope-link-{}", link.id),
                title: format!("Link {}", link.name),
                objects: ["fluxLinkInOctets", "fluxLinkOutOctets"],
                index: link.id as usize,
                ..Section::VOLUME
            },
        );
    }
    for customer in &volumes.customers {
        writer.section(
            &mut out,
            &Section {
                target: format!("fluxoscope-customer-{}", customer.id),
                title: format!("Customer {}", customer.name),
                objects: ["fluxCustomerInOctets", "fluxCustomerOutOctets"],
                index: customer.id as usize,
                ..Section::VOLUME
            },
        );
    }
    for (row, name) in CONTENTION.iter().enumerate() {
        let index = row + 1;
        writer.section(
            &mut out,
            &Section {
                target: format!("fluxoscope-table-{index}"),
                title: format!("Table {name}: in use, and the limit"),
                objects: ["fluxContentionCurrent", "fluxContentionLimit"],
                index,
                legends: ["in use", "limit"],
                ..Section::LEVEL
            },
        );
        writer.section(
            &mut out,
            &Section {
                target: format!("fluxoscope-table-{index}-waits"),
                title: format!("Table {name}: failures and waits"),
                objects: ["fluxContentionFailures", "fluxContentionWaits"],
                index,
                legends: ["failures", "waits"],
                unit: "events per minute",
                options: "perminute,nopercent,growright",
                ..Section::RATE
            },
        );
    }
    out
}

/// One graph of two objects.
struct Section {
    target: String,
    title: String,
    objects: [&'static str; 2],
    index: usize,
    legends: [&'static str; 2],
    unit: &'static str,
    options: &'static str,
    /// Greater values are taken for errors by MRTG; per second where the object is a counter.
    value_max: u64,
}

impl Section {
    /// Records per second.
    const RATE: Self = Self {
        target: String::new(),
        title: String::new(),
        objects: ["", ""],
        index: 0,
        legends: ["decoded", "metered"],
        unit: "records per second",
        options: "nopercent,growright",
        value_max: 1_000_000_000,
    };
    /// Gauges.
    const LEVEL: Self = Self {
        unit: "entries or octets",
        options: "gauge,nopercent,growright",
        value_max: u32::MAX as u64,
        ..Self::RATE
    };
    /// Octets, shown as bits; up to 10 Tbit/s, so that a commit after a pause still counts.
    const VOLUME: Self = Self {
        legends: ["in", "out"],
        unit: "bits per second",
        options: "bits,nopercent,growright",
        value_max: 1_250_000_000_000,
        ..Self::RATE
    };
}

struct Writer {
    tree: tree::Tree,
    /// `community@host:port::::2`.
    agent: String,
}

impl Writer {
    fn section(&self, out: &mut String, section: &Section) {
        let Section { target, index, legends: [first, second], unit, options, value_max, .. } = section;
        let title = html(&section.title);
        let objects = section.objects.map(|name| self.oid(name, *index)).join("&");
        // Writing into a String cannot fail.
        let _ = write!(
            out,
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
    fn oid(&self, name: &str, index: usize) -> String {
        let leaf = self.tree.named(name).expect("a test asks for the object of every graph");
        let mut oid = String::new();
        for arc in &leaf.oid {
            let _ = write!(oid, "{arc}.");
        }
        let _ = write!(oid, "{index}");
        oid
    }
}

fn heading(config: &Config, host: &str, work_dir: &str) -> String {
    let mut out =
        String::from("# MRTG configuration for Fluxoscope: env LANG=C mrtg FILE, every five minutes.\n");
    if config.communities.is_empty() {
        out.push_str("# The agent has no community yet ([snmp] communities), so it answers nobody: `public` is a guess.\n");
    }
    let _ = writeln!(out, "WorkDir: {}", one_line(work_dir));
    if host.contains(':') {
        out.push_str("EnableIPv6: yes\n");
    }
    out
}

/// Whom to ask, and how: four colons after the port leave timeout, retries and backoff alone.
fn agent(config: &Config, host: &str) -> String {
    let community = config.communities.first().map_or("public", String::as_str);
    // In MRTG's community, `@` and blanks are escaped.
    let community = one_line(community).replace('@', "\\@").replace(' ', "\\ ");
    let host = one_line(host);
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    format!("{community}@{host}:{port}::::2", port = config.listen.port())
}

/// A line of the configuration ends where a line ends.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn html(text: &str) -> String {
    one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
