//! `replay`: captures of export datagrams and files of IPFIX messages, through the same path as live ones.

use core::net::{IpAddr, Ipv4Addr};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use super::output::{self, Cell, Format};
use crate::config::Config;
use crate::daemon;
use crate::receive::Capture;
use crate::replay::{Report, Session};

/// Put captures of export datagrams, or files of IPFIX messages, into the ledger.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// pcap or pcapng captures, or files of IPFIX messages, in order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whose messages files of IPFIX messages hold: an exporter's name or an address [default: the only exporter
    /// configured; 0.0.0.0 where there is none]
    #[arg(long, value_name = "NAME-OR-ADDRESS")]
    exporter: Option<String>,
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
    let exporter = exporter(args, config)?;
    let ledger = super::open_created(config, state_dir)?;
    let mut session = Session::open(config, ledger, daemon::now_ms())?.exporter(exporter);
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
        for warning in warnings(&report) {
            eprintln!("{}: {warning}", path.display());
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

/// The exporter of files that hold messages and no addresses. What is not said is not guessed: it is told where there is
/// no choice, and asked for where there is one.
fn exporter(args: &ReplayArgs, config: &Config) -> Result<IpAddr, Failure> {
    const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut nameless = Vec::new();
    for path in &args.files {
        // What cannot be opened is told in its turn, when what comes before it is in the ledger.
        if let Ok(capture) = Capture::open(path)
            && capture.exporter().is_some()
        {
            nameless.push(path.display());
        }
    }
    if let Some(named) = &args.exporter {
        if nameless.is_empty() {
            return Err(Failure::Usage(
                "error: --exporter says whose files of IPFIX messages are, and there is none; captures hold addresses"
                    .to_owned(),
            ));
        }
        let configured = config.exporters.iter().find(|exporter| exporter.name == *named);
        let address = configured.map(|exporter| exporter.address).or_else(|| named.parse().ok());
        return address.map(|address| address.to_canonical()).ok_or_else(|| {
            Failure::Usage(format!(
                "error: --exporter: `{named}` is neither a configured exporter nor an address"
            ))
        });
    }
    let Some(first) = nameless.first() else { return Ok(NOBODY) };
    match &config.exporters[..] {
        [] => {
            eprintln!(
                "{first}: IPFIX messages without an address, taken for those of {NOBODY} (see --exporter)"
            );
            Ok(NOBODY)
        }
        [only] => {
            eprintln!(
                "{first}: IPFIX messages without an address, taken for those of {} (see --exporter)",
                only.name
            );
            Ok(only.address)
        }
        _ => Err(Failure::Usage(format!(
            "error: {first} holds IPFIX messages without an address; say with --exporter whose they are"
        ))),
    }
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

/// What of a file is in no row, and why; packets that are no export datagrams at all are not worth a word.
fn warnings(report: &Report) -> Vec<String> {
    let Report { totals, held, skipped, implausible, unclear_total_octets, grown, noted, .. } = report;
    let mut warnings = Vec::new();
    for (packets, why) in [
        (skipped.cut, "the capture kept only a part of them; capture with a greater snap length"),
        (skipped.malformed, "their lengths contradict each other"),
        (skipped.unknown_link, "their link layer is not known"),
        (
            skipped.timeless,
            "the capture does not say when they came; write it with times (pcapng's enhanced packets)",
        ),
        (
            skipped.fragments_refused + skipped.incomplete,
            "they are fragments of which others are missing or overlap",
        ),
    ] {
        if packets > 0 {
            warnings.push(format!("{packets} packets were left out: {why}"));
        }
    }
    if totals.expired_records > 0 {
        warnings.push(format!(
            "{} flows ({} octets before scaling) waited for a template or a sampling rate until there was no room for \
             them; they are in no row",
            totals.expired_records, totals.expired_octets
        ));
    }
    if totals.expired_sets > 0 {
        warnings.push(format!(
            "{} data sets ({} octets as they came) waited for a template until they were given up; how many records they had \
             nobody knows, and they are in no row",
            totals.expired_sets, totals.expired_set_octets
        ));
    }
    if held.records + held.sets > 0 {
        warnings.push(format!(
            "{} flows and {} data sets still wait for a sampling rate or a template, which this file does not have; they are \
             in no row. Files are decoded each by itself: join the parts of one capture before they are replayed",
            held.records, held.sets
        ));
    }
    if *grown > 0 {
        warnings.push(
            "somebody wrote to the file while it was read; what came behind is in no row. A file is known by its content, so \
             the whole of it is another one, and would be counted once more: replay files that are complete"
                .to_owned(),
        );
    }
    if noted.torn_records > 0 {
        warnings.push(format!(
            "{} records that the headers of datagrams count are not in them whole; nothing of these datagrams ({} octets) is in \
             any row. The capture has the datagrams as they were sent: what a snap length cut is told apart",
            noted.torn_records, noted.torn_octets
        ));
    }
    if noted.pool_contradictions + noted.packets_unpaid > 0 {
        warnings.push(format!(
            "sFlow samples were scaled as their agents state, though {} times the sample pool said something else; {} packets \
             that dropped samples stood for were made up for by none (see `pool_contradictions` in docs/OPERATION.md)",
            noted.pool_contradictions, noted.packets_unpaid
        ));
    }
    if *implausible > 0 {
        warnings.push(format!("{implausible} records claim more than any flow can have; they are in no row"));
    }
    if *unclear_total_octets > 0 {
        warnings.push(format!(
            "{unclear_total_octets} octets of running totals (before scaling) are told of flows that agree in all fields and \
             times with others: they are the same flows, told twice, or others that the exporter keeps apart without saying \
             how. They are in no row"
        ));
    }
    warnings
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
        "expired",
        "not_volume",
        "implausible",
        "skipped",
        "expired_sets",
        "rates_taken_up",
        "packets_unpaid",
        "pool_contradictions",
        "unknown_observations",
        "torn_records",
        "torn_octets",
        "held_sets",
    ];
    let row = [
        Cell::from(totals.datagrams),
        Cell::from(totals.records),
        Cell::from(totals.options_records),
        Cell::from(totals.malformed),
        Cell::from(totals.duplicates),
        Cell::from(report.held_records() + report.held.sets),
        Cell::from(totals.lost.max(0)),
        Cell::from(totals.raw_packets),
        Cell::from(totals.raw_octets),
        Cell::Integer(report.packets.rounded()),
        Cell::Integer(report.octets.rounded()),
        Cell::Decimal(format!("{}.{:03}", took.as_secs(), took.subsec_millis())),
        Cell::from(report.expired_records()),
        Cell::from(totals.not_volume),
        Cell::from(report.implausible),
        Cell::from(report.skipped.doubtful()),
        Cell::from(totals.expired_sets),
        Cell::from(report.noted.rates_taken_up),
        Cell::from(report.noted.packets_unpaid),
        Cell::from(report.noted.pool_contradictions),
        Cell::from(report.noted.unknown_observations),
        Cell::from(report.noted.torn_records),
        Cell::from(report.noted.torn_octets),
        Cell::from(report.held.sets),
    ];
    output::summary(out, format, &columns, &row)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::Held;
    use crate::replay::Noted;
    use crate::usage::FlushTotals;

    #[test]
    fn what_counters_note_is_told() {
        let noted = Noted {
            rates_taken_up: 1,
            packets_unpaid: 2000,
            pool_contradictions: 3,
            unknown_observations: 4,
            torn_records: 5,
            torn_octets: 600,
        };
        let report = Report { noted, ..Report::default() };
        let told = warnings(&report);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("5 records that") && told[0].contains("(600 octets)"), "{told:?}");
        assert!(told[1].contains("though 3 times") && told[1].contains("2000 packets"), "{told:?}");
        let mut out = Vec::new();
        summary(&report, Duration::ZERO, Format::Json, &mut out).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        for (key, value) in [
            ("rates_taken_up", 1),
            ("packets_unpaid", 2000),
            ("pool_contradictions", 3),
            ("unknown_observations", 4),
            ("torn_records", 5),
            ("torn_octets", 600),
        ] {
            assert_eq!(json[key], value, "{key}");
        }
    }

    /// A file whose sets never met their template says so twice: in words, and in the last column.
    #[test]
    fn sets_that_were_given_up_are_told() {
        let totals = FlushTotals {
            datagrams: 9,
            expired_records: 5,
            expired_second_flows: 2,
            expired_octets: 7000,
            expired_sets: 2,
            expired_set_octets: 304,
            ..FlushTotals::default()
        };
        let mut report = Report { totals, ..Report::default() };
        let told = warnings(&report);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("5 flows (7000 octets before scaling) waited for"), "{told:?}");
        assert!(
            told[1].starts_with("2 data sets (304 octets as they came) waited for a template"),
            "{told:?}"
        );
        report.held = Held { records: 7, seconds: 3, sets: 3, ..Held::default() };
        let mut out = Vec::new();
        summary(&report, Duration::from_millis(1500), Format::Csv, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.trim_end().split(',').collect()).collect();
        let of = |name: &str| lines[1][lines[0].iter().position(|column| *column == name).unwrap()];
        // A record of two directions is one; a set, whose records nobody has counted, is one, too.
        let figures = ["datagrams", "held", "held_sets", "expired", "expired_sets"];
        assert_eq!(figures.map(of), ["9", "7", "3", "3", "2"], "{text}");
        // The columns of the contract come first, what was added later behind them.
        assert_eq!(lines[0][..3], ["datagrams", "records", "options_records"]);
        assert_eq!(lines[0].len(), lines[1].len());
        assert_eq!(warnings(&Report::default()), Vec::<String>::new());
    }
}
