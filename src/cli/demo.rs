//! `demo`: the whole way on a shipped capture, without any configuration.
//!
//! The capture was made by softflowd as two routers (NetFlow v5 and v9, and IPFIX with sampling); everything is
//! written to a temporary directory, which is removed in the end: with `--serve`, when the agent is told to stop.
//! `--keep DIR` writes to DIR instead, which must be empty or not there, and leaves it.

use core::sync::atomic::AtomicBool;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::output::Format;
use super::{Failure, billing, usage};
use crate::counters::Counters;
use crate::daemon;
use crate::replay::Session;
use crate::snmp;
use crate::units::UnixMillis;

/// The export datagrams of two routers.
const CAPTURE: &[u8] = include_bytes!("../../ops/demo/capture.pcap");
/// What the routers, links and customers are.
const CONFIGURATION: &str = include_str!("../../ops/demo/fluxoscope.toml");
/// The tariffs that the customers have.
const TARIFFS: [(&str, &str); 2] = [
    ("regional-isp.toml", include_str!("../../tariffs/regional-isp.toml")),
    ("transit-per-gb.toml", include_str!("../../tariffs/transit-per-gb.toml")),
];
/// The month in which the capture was made.
const PERIOD: &str = "2026-11";

/// Show the whole way on a shipped capture.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Stay up with the SNMP agent afterwards
    #[arg(long)]
    serve: bool,
    /// Keep the ledger and the files, in this directory, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Where the agent listens, with --serve
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1161")]
    snmp: std::net::SocketAddr,
}

/// A directory that is removed with everything in it, unless it is to be kept.
struct Place {
    path: PathBuf,
    keep: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

impl Place {
    fn new(args: &DemoArgs) -> Result<Self, Failure> {
        let place = match &args.keep {
            Some(path) => Self { path: empty(path)?, keep: true },
            None => Self { path: temporary()?, keep: false },
        };
        std::fs::create_dir(place.path.join("tariffs"))?;
        Ok(place)
    }
}

/// The directory, made where it is not there; what somebody has in it is not overwritten.
fn empty(path: &Path) -> Result<PathBuf, Failure> {
    let failure = |error| Failure::said(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(path).map_err(failure)?;
    if std::fs::read_dir(path).map_err(failure)?.next().is_some() {
        return Err(Failure::said(format!("{} is not empty; name another directory", path.display())));
    }
    Ok(std::path::absolute(path)?)
}

/// A new directory that only this user can enter. One that is there already is somebody else's.
fn temporary() -> Result<PathBuf, Failure> {
    let mut maker = std::fs::DirBuilder::new();
    maker.mode(0o700);
    let mut attempt = 0_u32;
    loop {
        let path = std::env::temp_dir().join(format!("fluxoscope-demo-{}-{attempt}", std::process::id()));
        match maker.create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
            Err(error) => return Err(Failure::said(format!("{}: {error}", path.display()))),
        }
    }
}

/// Runs the demonstration.
///
/// # Errors
/// When a step fails, which it should not.
pub(super) fn run(args: &DemoArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let place = Place::new(args)?;
    let files = write_files(&place.path)?;
    let config = super::load(&files.configuration)?;
    let ledger = super::open_created(&config, &place.path)?;
    let mut session = Session::open_with_volumes(&config, ledger, daemon::now_ms())?;

    writeln!(out, "1. Two routers' export datagrams, replayed into a ledger\n")?;
    let report = session.replay(&files.capture, daemon::now_ms() / 1000, &mut |_, _| {})?;
    writeln!(
        out,
        "   {} datagrams, {} flow records, {} options records; {} malformed, {} held, {} lost\n",
        report.totals.datagrams,
        report.totals.records,
        report.totals.options_records,
        report.totals.malformed,
        report.held_records(),
        report.totals.lost,
    )?;

    writeln!(out, "2. Whose it was, which link it crossed, how sure that is\n")?;
    usage::by_default_keys(session.ledger(), Format::Table, out)?;

    writeln!(out, "\n3. Tariffs activated, the month's invoices made\n")?;
    for path in &files.tariffs {
        billing::activate(session.ledger(), path, "demo", false, out)?;
    }
    let period = PERIOD.parse().expect("a month");
    let made = billing::make(session.ledger(), &config, period, None, false)?;
    for invoice in &made.invoices {
        writeln!(out)?;
        billing::print(session.ledger(), &invoice.number, Format::Table, out)?;
    }

    writeln!(out, "\n4. The counters that the SNMP agent shows\n")?;
    let counters = Arc::clone(session.counters());
    print_counters(&counters, out)?;
    hints(&place, args, out)?;
    out.flush()?;
    if args.serve { serve(args, counters, out) } else { Ok(()) }
}

/// Where the demonstration's files are.
struct Files {
    configuration: PathBuf,
    capture: PathBuf,
    tariffs: Vec<PathBuf>,
}

fn write_files(directory: &Path) -> Result<Files, Failure> {
    let files = Files {
        configuration: directory.join("fluxoscope.toml"),
        capture: directory.join("capture.pcap"),
        tariffs: TARIFFS.iter().map(|(name, _)| directory.join("tariffs").join(name)).collect(),
    };
    std::fs::write(&files.configuration, CONFIGURATION)?;
    std::fs::write(&files.capture, CAPTURE)?;
    for (path, (_, text)) in files.tariffs.iter().zip(TARIFFS) {
        std::fs::write(path, text)?;
    }
    Ok(files)
}

fn print_counters(counters: &Counters, out: &mut dyn Write) -> Result<(), Failure> {
    use super::output::{Cell, rows};
    let volumes = counters.volumes.load();
    let links = volumes.links.iter().map(|row| ("link", row.id, row.name.as_str(), row.volume));
    let customers = volumes.customers.iter().map(|row| ("customer", row.id, row.name.as_str(), row.volume));
    let table: Vec<Vec<Cell>> = links
        .chain(customers)
        .map(|(kind, id, name, volume)| {
            vec![
                Cell::from(kind),
                Cell::from(id),
                Cell::from(name),
                Cell::from(volume.in_octets),
                Cell::from(volume.out_octets),
                Cell::from(volume.in_packets),
                Cell::from(volume.out_packets),
            ]
        })
        .collect();
    let columns = ["table", "index", "name", "in_octets", "out_octets", "in_packets", "out_packets"];
    Ok(rows(out, Format::Table, &columns, &table)?)
}

/// Lines that work as they stand, wherever this program is and whether or not it is on the path.
fn hints(place: &Place, args: &DemoArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let program = quoted(&std::env::current_exe()?);
    if place.keep {
        let here = |name: &str| quoted(&place.path.join(name));
        let (configuration, state) = (here("fluxoscope.toml"), quoted(&place.path));
        let base = format!("{program} --config {configuration} --state-dir {state}");
        writeln!(out, "\nTo try next:\n")?;
        writeln!(out, "   {base} usage --by customer,link,direction,class")?;
        writeln!(out, "   {base} usage --by hour,family --format csv")?;
        writeln!(out, "   {base} invoice export --period {PERIOD} --format html --out {}", here("invoices"))?;
        writeln!(out, "   {base} run")?;
    } else if !args.serve {
        writeln!(out, "\nTo try next:\n")?;
        writeln!(
            out,
            "   {program} demo --keep fluxoscope-demo   # leaves the ledger there, for other commands"
        )?;
        writeln!(out, "   {program} demo --serve   # stays up with the SNMP agent")?;
    }
    Ok(())
}

/// A path as one word of the shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Answers SNMP until the process is told to stop.
fn serve(args: &DemoArgs, counters: Arc<Counters>, out: &mut dyn Write) -> Result<(), Failure> {
    let config =
        snmp::Config { listen: args.snmp, communities: vec!["public".to_owned()], ..snmp::Config::default() };
    let socket = snmp::Agent::bind(&config)
        .map_err(|error| Failure::said(format!("the agent cannot listen on {}: {error}", config.listen)))?;
    let address = socket.local_addr()?;
    writeln!(out, "\nThe SNMP agent answers (end it with ctrl-C):\n")?;
    writeln!(out, "   snmpwalk -v2c -c public -On {address} {}", snmp::ENTERPRISE)?;
    out.flush()?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    snmp::Agent::new(config, counters)?.run(&socket, &stop, || UnixMillis(daemon::now_ms()))?;
    Ok(())
}
