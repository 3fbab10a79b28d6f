//! `reconcile`: flows against the interface counters of links.

use std::io::Write;

use clap::Args;
use jiff::Timestamp;

use super::output::{self, Cell, Format};
use super::{Cli, Failure, parse_instant};
use crate::ledger::records::interfaces::BUCKET_MS;
use crate::period::rfc3339;
use crate::reconcile::{self, Row};
use crate::units::UnixMillis;
use crate::usage::{BUCKET_SECONDS, BucketStart, millionths};

/// Compare flows with the interface counters of links, five minutes by five minutes.
#[derive(Args, Debug)]
pub struct ReconcileArgs {
    /// First instant: RFC 3339, or a date (UTC)
    #[arg(long, value_parser = parse_instant)]
    from: Timestamp,
    /// First instant after it
    #[arg(long, value_parser = parse_instant)]
    to: Timestamp,
    /// Only this link
    #[arg(long)]
    link: Option<String>,
    /// Only the sums over all buckets
    #[arg(long)]
    totals: bool,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Prints a row for each link, direction and bucket, and the sums at the end.
///
/// # Errors
/// When the ledger cannot be read, and where flows and counters contradict each other.
pub(super) fn run(args: &ReconcileArgs, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    if args.from >= args.to {
        return Err(Failure::Usage("error: `--to` is not after `--from`".to_owned()));
    }
    let config = cli.config()?;
    let mut ledger = cli.ledger()?;
    // Whole buckets only: of a part there is nothing to compare.
    let up = |instant: Timestamp| {
        let bucket = BucketStart::of(UnixMillis(instant.as_millisecond()));
        let is_start = bucket.start().0 == instant.as_millisecond();
        if is_start { bucket } else { BucketStart(bucket.0 + BUCKET_SECONDS) }
    };
    let to = BucketStart::of(UnixMillis(args.to.as_millisecond()));
    let mut rows =
        reconcile::rows(&mut ledger, &config.reconcile, config.meter.packet_octets_max, up(args.from), to)?;
    rows.retain(|row| args.link.as_ref().is_none_or(|link| *link == row.name));
    let differences = rows.iter().filter(|row| row.verdict.is_difference()).count();
    let printed: Vec<Vec<Cell>> =
        rows.iter().filter(|row| !args.totals || row.bucket.is_none()).map(cells).collect();
    let columns = [
        "bucket",
        "link",
        "direction",
        "flow_bytes",
        "interface_bytes_least",
        "interface_bytes",
        "through_bytes",
        "ratio",
        "standard_error",
        "tolerance",
        "coverage",
        "verdict",
    ];
    output::rows(out, args.format, &columns, &printed)?;
    if differences > 0 {
        out.flush()?;
        return Err(Failure::Difference(format!("{differences} rows are out of tolerance")));
    }
    Ok(())
}

fn cells(row: &Row) -> Vec<Cell> {
    let number = |n: u128| Cell::Integer(i128::try_from(n).unwrap_or(i128::MAX));
    let least = row.interface.map_or(Cell::Missing, |(least, _)| number(least));
    let most = row.interface.map_or(Cell::Missing, |(_, most)| number(most));
    let ratio = row.interface.filter(|(_, most)| *most > 0).map_or(Cell::Missing, |(_, most)| {
        Cell::Decimal(millionths((row.flows.saturating_mul(1_000_000) + most / 2) / most))
    });
    // Over all buckets, those that were compared.
    let coverage = match row.bucket {
        Some(_) => {
            let covered = u128::from(row.covered_ms.unsigned_abs()) * 1_000_000;
            Cell::Decimal(millionths(covered / u128::from(BUCKET_MS.unsigned_abs())))
        }
        None => Cell::Decimal(millionths(1_000_000)),
    };
    vec![
        row.bucket.map_or_else(|| Cell::from("total"), |bucket| Cell::Text(rfc3339(bucket.start()))),
        Cell::Text(row.name.clone()),
        row.direction.as_str().into(),
        number(row.flows),
        least,
        most,
        number(row.through),
        ratio,
        number(row.standard_error),
        number(row.tolerance),
        coverage,
        row.verdict.as_str().into(),
    ]
}
