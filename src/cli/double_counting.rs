//! `check --double-counting`: flows that two billing points claim.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use super::output::{self, Cell, Format};
use super::{Cli, Failure};
use crate::claims::{Check, Finding, Flow};
use crate::config::Intake;
use crate::flow::Direction;
use crate::units::UnixMillis;

/// Check the configuration, the customers and the tariffs.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Instead, report flows that two billing points claim: in these captures of export datagrams, or, without any, in
    /// what the journals of the state directory retain; exit 3 where there are some
    #[arg(long, num_args = 0.., value_name = "CAPTURE")]
    pub(super) double_counting: Option<Vec<PathBuf>>,
    /// How those flows are printed
    #[arg(long, value_enum, default_value_t, requires = "double_counting")]
    format: Format,
}

const COLUMNS: [&str; 12] = [
    "exporter",
    "link",
    "customer",
    "other_exporter",
    "other_link",
    "other_customer",
    "direction",
    "flows",
    "packets",
    "bytes",
    "looked_at",
    "example",
];

/// Prints what is claimed twice.
///
/// # Errors
/// [`Failure::Difference`] where something is.
pub(super) fn run(
    args: &CheckArgs,
    captures: &[PathBuf],
    cli: &Cli,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let config = cli.config()?;
    let intake = if captures.is_empty() { Intake::Network } else { Intake::Capture };
    let mut check = Check::new(&config, intake)?;
    if captures.is_empty() {
        check.journals(&cli.state_dir.join("journal"))?;
    }
    for path in captures {
        let bar = super::replay::progress_bar(path);
        let is_new = check.capture(path, &mut |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        if !is_new {
            eprintln!("{}: the same as another one, left out", path.display());
        }
    }
    let report = check.report();
    let looked_at = format!("1/{}", report.one_in);
    let rows: Vec<Vec<Cell>> =
        report.findings.iter().map(|finding| row(&check, finding, &looked_at)).collect();
    output::rows(out, args.format, &COLUMNS, &rows)?;
    eprintln!("{} datagrams; looked at {} billed flows, {looked_at} of all", check.datagrams(), report.flows);
    match report.findings.len() {
        0 => Ok(()),
        n => Err(Failure::Difference(format!(
            "{n} pairs of billing points claim the same flows; docs/OPERATION.md says what to do"
        ))),
    }
}

fn row(check: &Check, finding: &Finding, looked_at: &str) -> Vec<Cell> {
    let [one, other] = finding.points.map(|point| check.named(&point));
    vec![
        one.exporter.into(),
        one.link.into(),
        one.customer.into(),
        other.exporter.into(),
        other.link.into(),
        other.customer.into(),
        Direction::as_str(finding.points[0].direction).into(),
        finding.flows.into(),
        finding.packets.into(),
        finding.octets.into(),
        looked_at.into(),
        example(&finding.example.0, finding.example.1).into(),
    ]
}

fn example(flow: &Flow, at: UnixMillis) -> String {
    let end = |address: crate::flow::Address, port: u16| match address.to_ip(flow.family) {
        Some(ip) => std::net::SocketAddr::new(ip, port).to_string(),
        None => String::new(),
    };
    let (from, to) = (end(flow.source, flow.source_port), end(flow.destination, flow.destination_port));
    let at = Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |at| at.to_string());
    format!("{from} > {to} protocol {} at {at}", flow.protocol)
}
