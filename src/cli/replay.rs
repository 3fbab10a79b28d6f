//! `replay`: captures of export datagrams, through the same path as live ones.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use super::output::{self, Cell, Format};
use crate::config::Config;
use crate::daemon;
use crate::replay::{Report, Session};

/// Put captures of export datagrams into the ledger.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// pcap or pcapng files, in order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Commit after so many datagrams at most
    #[arg(long, value_name = "N", hide = true)]
    flush_datagrams: Option<u64>,
}

/// Replays the files and prints what was done.
///
/// # Errors
/// At the first capture that cannot be read to its end; what was committed stays.
pub(super) fn run(
    args: &ReplayArgs,
    config: &Config,
    state_dir: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let ledger = super::open_created(config, state_dir)?;
    let mut session = Session::open(config, ledger, daemon::now_ms())?;
    if let Some(datagrams) = args.flush_datagrams {
        session = session.flush_after(datagrams);
    }
    let mut sum: Option<Report> = None;
    for path in &args.files {
        let bar = progress_bar(path);
        let report = session.replay(path, daemon::now_ms() / 1000, &mut |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        if report.already_complete {
            eprintln!("{}: replayed before, nothing to do", path.display());
        }
        match &mut sum {
            Some(sum) => sum.merge(&report),
            None => sum = Some(report),
        }
    }
    let report = sum.unwrap_or_default();
    if report.rejected > 0 {
        eprintln!(
            "{} datagrams of exporters that the configuration does not allow were left out",
            report.rejected
        );
    }
    summary(&report, begun.elapsed(), args.format, out)
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn progress_bar(path: &Path) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}")
        .expect("the template is well-formed");
    ProgressBar::new(0).with_style(style).with_message(path.display().to_string())
}

/// Prints the figures of this run.
fn summary(report: &Report, took: Duration, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let totals = &report.totals;
    let columns = [
        "datagrams",
        "records",
        "options_records",
        "malformed",
        "duplicates",
        "held",
        "lost",
        "raw_packets",
        "raw_bytes",
        "packets",
        "bytes",
        "seconds",
    ];
    let row = [
        Cell::from(totals.datagrams),
        Cell::from(totals.records),
        Cell::from(totals.options_records),
        Cell::from(totals.malformed),
        Cell::from(totals.duplicates),
        Cell::from(report.held.records + report.held.sets),
        Cell::from(totals.lost.max(0)),
        Cell::from(totals.raw_packets),
        Cell::from(totals.raw_octets),
        Cell::Integer(report.packets.rounded()),
        Cell::Integer(report.octets.rounded()),
        Cell::Decimal(format!("{}.{:03}", took.as_secs(), took.subsec_millis())),
    ];
    output::summary(out, format, &columns, &row)?;
    Ok(())
}
