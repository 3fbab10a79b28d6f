//! `generate`: export traffic of known totals, for tests and for trying a configuration.

use core::net::SocketAddr;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::{Failure, parse_instant};
use crate::config::Config;
use crate::generate::{self, Error, Generated, Options, Protocol};
use crate::units::UnixMillis;

/// Write or send export traffic for the configuration's exporters, links and customers, with its true usage.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["out", "send"]))]
pub struct GenerateArgs {
    /// Flow records
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    records: u64,
    /// What the traffic is derived from: the same seed gives the same octets
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Export protocol of all exporters: v5, v9, ipfix or sflow
    #[arg(long, value_name = "PROTOCOL", default_value = "v9")]
    proto: Protocol,
    /// Sampling rate that the exporters announce: 0 none (in sFlow: 1), 1 unsampled, N one of N packets
    #[arg(long, value_name = "N", default_value_t = 0)]
    sampling: u32,
    /// When the first record is exported: RFC 3339, or a date (UTC) [default: 2026-01-15]. A daemon that is sent to
    /// believes dates that are no older than its `[decode] clock_skew`
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    start: Option<Timestamp>,
    /// Seconds that the export goes over, by the clocks of the exporters
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    span: u32,
    /// Capture to write
    #[arg(long, value_name = "FILE.pcap")]
    out: Option<PathBuf>,
    /// Collector to send to; each exporter's datagrams leave from its own address, so use 127.x.y.z for exporters
    #[arg(long, value_name = "HOST:PORT")]
    send: Option<String>,
    /// Records to send a second; 0: as fast as it goes
    #[arg(long, value_name = "R", default_value_t = 0, conflicts_with = "out")]
    rate: u64,
    /// Where to write the true usage, as `usage --by customer,link,direction,bucket --format csv` must print it. sFlow
    /// states no times: what is sent is used when it is received, so only a capture of it has these buckets
    #[arg(long, value_name = "FILE.csv")]
    truth: Option<PathBuf>,
}

impl GenerateArgs {
    fn options(&self) -> Options {
        let default = Options::default();
        Options {
            records: self.records,
            seed: self.seed,
            protocol: self.proto,
            start: self.start.map_or(default.start, |start| UnixMillis(start.as_millisecond())),
            span_seconds: self.span,
            sampling: self.sampling,
        }
    }
}

/// Generates, and says what was left out.
///
/// # Errors
/// When the configuration allows no such traffic, or a file or datagram cannot be written.
pub(super) fn run(args: &GenerateArgs, config: &Config) -> Result<(), Failure> {
    let bar = progress_bar(args.records);
    let mut progress = |records| bar.set_position(records);
    let generated = match (&args.out, &args.send) {
        (Some(path), _) => generate::to_capture(config, &args.options(), path, &mut progress),
        (None, Some(target)) => {
            let target = resolve(target)?;
            generate::to_network(config, &args.options(), target, args.rate, &mut progress)
        }
        (None, None) => return Err(Failure::Usage("error: neither --out nor --send".to_owned())),
    };
    bar.finish_and_clear();
    let generated = generated.map_err(refused)?;
    if let Some(path) = &args.truth {
        write_truth(&generated, path)
            .map_err(|error| Failure::said(format!("cannot write `{}`: {error}", path.display())))?;
    }
    if !generated.skipped.is_empty() {
        eprintln!("no flow could be made for {}", generated.skipped.join(", "));
    }
    let truth = &generated.truth;
    eprintln!(
        "{} records in {} datagrams: {} packets, {} octets, before scaling",
        truth.records(),
        generated.datagrams,
        truth.raw_packets(),
        truth.raw_octets()
    );
    Ok(())
}

/// What the configuration or the arguments forbid is wrong usage; the rest went wrong on the way.
fn refused(error: Error) -> Failure {
    match error {
        Error::Io(_) => Failure::from(error),
        _ => Failure::Usage(format!("error: {error}")),
    }
}

fn write_truth(generated: &Generated, path: &Path) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    generated.truth.write_csv(&mut out)?;
    out.flush()
}

/// The first address that a name stands for.
fn resolve(target: &str) -> Result<SocketAddr, Failure> {
    let wrong = |why: String| Failure::Usage(format!("error: --send {target}: {why}"));
    let mut addresses = target.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    addresses.next().ok_or_else(|| wrong("this name has no address".to_owned()))
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(records: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} records {eta}")
        .expect("the template is well-formed");
    ProgressBar::new(records).with_style(style)
}
