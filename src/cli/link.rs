//! `link`: where links are, and what routers called their interfaces when.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::output::{self, Cell, Format};
use super::{Cli, Failure, parse_instant};
use crate::classify::named::History;
use crate::classify::rules::{LinkPoint, LinkRule, NamedBy};
use crate::daemon;
use crate::ledger::Ledger;
use crate::ledger::records::NameKind;
use crate::ledger::records::interfaces::{Interface, InterfaceEntry};
use crate::period::rfc3339;
use crate::units::{IfIndex, UnixMillis};

/// Verbs about links.
#[derive(Debug, Subcommand)]
pub enum LinkVerb {
    /// The interfaces of each link at an instant, those that it has by name with their numbers
    List(ListArgs),
    /// What routers said over SNMP of their interfaces, and since when: also those that have other numbers now
    Interfaces(InterfacesArgs),
}

/// When.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// At which instant: RFC 3339, or a date (UTC) [default: now]
    #[arg(long, value_parser = parse_instant)]
    at: Option<Timestamp>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Whose.
#[derive(Args, Debug)]
pub struct InterfacesArgs {
    /// One exporter only
    #[arg(long)]
    exporter: Option<String>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Does what the verb says.
///
/// # Errors
/// When the configuration is wrong, or the ledger cannot be used.
pub(super) fn run(verb: &LinkVerb, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        LinkVerb::List(args) => list(args, cli, out),
        LinkVerb::Interfaces(args) => interfaces(args, cli, out),
    }
}

fn told(ledger: &mut Ledger) -> Result<(Vec<InterfaceEntry>, HashMap<u32, String>), Failure> {
    let names = ledger.names(NameKind::Exporter)?.into_iter().collect();
    Ok((ledger.interfaces()?, names))
}

fn list(args: &ListArgs, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let config = cli.config()?;
    let (entries, names) = told(&mut cli.ledger()?)?;
    let history = History::new(&entries, |number| names.get(&number).cloned());
    let at = UnixMillis(args.at.map_or_else(daemon::now_ms, Timestamp::as_millisecond));
    let resolved = history.resolve(&config.network, at);
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for (place, link) in config.network.links.iter().enumerate() {
        for point in &link.points {
            match point {
                LinkPoint::WholeExporter(exporter) => {
                    rows.push(row(link, exporter, "all of it", None, None, ""));
                }
                LinkPoint::Interface(own) => {
                    let known = history.interfaces(&own.exporter, at).unwrap_or_default();
                    let known = known.iter().find(|one| one.ifindex == own.ifindex);
                    rows.push(row(link, &own.exporter, "ifindex", Some(own.ifindex), known, ""));
                }
                LinkPoint::Named(name) => {
                    let known = history.interfaces(&name.exporter, at);
                    let by = format!("{} {}", word(name.by), name.pattern);
                    let mut matching =
                        known.unwrap_or_default().iter().filter(|one| name.matches(one)).peekable();
                    if matching.peek().is_none() {
                        let why = if known.is_none() { "waits for the router" } else { "no such interface" };
                        rows.push(row(link, &name.exporter, &by, None, None, why));
                    }
                    for one in matching {
                        let own = resolved
                            .of(place)
                            .any(|at| at.exporter == name.exporter && at.ifindex == one.ifindex);
                        let why = if own { "" } else { "another link has it" };
                        rows.push(row(link, &name.exporter, &by, Some(one.ifindex), Some(one), why));
                    }
                }
            }
        }
    }
    let columns = ["link", "kind", "exporter", "by", "ifindex", "name", "alias", "remark"];
    output::rows(out, args.format, &columns, &rows)?;
    Ok(())
}

const fn word(by: NamedBy) -> &'static str {
    match by {
        NamedBy::Name => "ifname",
        NamedBy::Alias => "ifalias",
        NamedBy::Description => "ifdescr",
    }
}

fn row(
    link: &LinkRule,
    exporter: &str,
    by: &str,
    ifindex: Option<IfIndex>,
    known: Option<&Interface>,
    remark: &str,
) -> Vec<Cell> {
    let text = |text: Option<&String>| text.map_or(Cell::Missing, |text| text.as_str().into());
    vec![
        link.name.as_str().into(),
        link.kind.as_str().into(),
        exporter.into(),
        by.into(),
        ifindex.map_or(Cell::Missing, |ifindex| ifindex.0.into()),
        text(known.map(|known| &known.name)),
        text(known.map(|known| &known.alias)),
        remark.into(),
    ]
}

fn interfaces(args: &InterfacesArgs, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let (entries, names) = told(&mut cli.ledger()?)?;
    // An entry holds until the next one of its interface.
    let mut until: BTreeMap<(u32, IfIndex), UnixMillis> = BTreeMap::new();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for InterfaceEntry { exporter, valid_from, interface, present } in entries.iter().rev() {
        let to = until.insert((*exporter, interface.ifindex), *valid_from);
        let name = names.get(exporter).map_or("", String::as_str);
        let is_asked_for = args.exporter.as_ref().is_none_or(|wanted| wanted == name);
        if *present && interface.ifindex != IfIndex(0) && is_asked_for {
            rows.push(vec![
                name.into(),
                interface.ifindex.0.into(),
                interface.name.as_str().into(),
                interface.alias.as_str().into(),
                interface.description.as_str().into(),
                interface.speed.into(),
                rfc3339(*valid_from).into(),
                to.map_or(Cell::Missing, |to| rfc3339(to).into()),
            ]);
        }
    }
    rows.reverse();
    let columns = ["exporter", "ifindex", "name", "alias", "description", "bits_a_second", "from", "to"];
    output::rows(out, args.format, &columns, &rows)?;
    Ok(())
}
