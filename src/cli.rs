//! The command line: `fluxoscope [--config FILE] [--state-dir DIR] VERB`.
//!
//! Data goes to standard output, talk to standard error. Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 a check
//! found a difference.

pub mod ahead;
pub mod audit;
pub mod billing;
pub mod billing_ledger;
pub mod contention;
pub mod customer;
pub mod demo;
pub mod double_counting;
pub mod explain;
pub mod generate;
mod heap;
pub mod invoice;
pub mod issue;
pub mod late;
pub mod link;
pub mod output;
pub mod period;
pub mod pins;
pub mod reclassify;
pub mod reconcile;
pub mod replay;
pub mod run;
pub mod scheduled;
pub mod seams;
pub mod snmp;
pub mod tariff;
pub mod tariff_check;
pub mod tariff_money;
pub mod usage;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::config::Config;
use crate::ledger::{self, Ledger};

/// Configuration files that are looked for, in this order, when none is named.
const CONFIG_FILES: [&str; 2] = ["fluxoscope.toml", "/etc/fluxoscope/fluxoscope.toml"];

/// Flow-based accounting and billing, watched over SNMP.
#[derive(Debug, Parser)]
#[command(name = "fluxoscope", version, max_term_width = 100)]
pub struct Cli {
    /// Configuration file [default: ./fluxoscope.toml, then /etc/fluxoscope/fluxoscope.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the ledger, the journal and the control socket
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/fluxoscope")]
    state_dir: PathBuf,
    /// What to do
    #[command(subcommand)]
    verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon: receive, meter, keep the ledger, answer SNMP
    Run,
    /// Ask the running daemon: status, reload or flush
    Ctl(run::CtlArgs),
    /// Show the whole way on a shipped capture, in a temporary ledger
    Demo(demo::DemoArgs),
    /// Check the configuration, the customers and the tariffs; say everything that is wrong
    Check(double_counting::CheckArgs),
    /// Put captures of export datagrams through the same path, into the ledger
    Replay(replay::ReplayArgs),
    /// Volume by customer, link, time and more
    Usage(usage::UsageArgs),
    /// Compare flows with the interface counters of links; exit 3 where they contradict each other
    Reconcile(reconcile::ReconcileArgs),
    /// Flow tables of routers that had no room: list, or import what a router printed
    #[command(subcommand)]
    Contention(contention::ContentionVerb),
    /// Links: their interfaces, and what routers called them when
    #[command(subcommand)]
    Link(link::LinkVerb),
    /// Customers: list them, find one by address, import from CSV
    #[command(subcommand)]
    Customer(customer::CustomerVerb),
    /// Tariffs: check a file, activate a version, show what is in force
    #[command(subcommand)]
    Tariff(billing::TariffVerb),
    /// Invoices: make a month's, list, show and export them
    #[command(subcommand)]
    Invoice(billing::InvoiceVerb),
    /// Periods: close one, so that its usage does not change any more
    #[command(subcommand)]
    Period(period::PeriodVerb),
    /// Prove the invariants of the books on this ledger; exit 3 where one does not hold
    Audit(audit::AuditArgs),
    /// The books: export them
    #[command(subcommand)]
    Ledger(audit::LedgerVerb),
    /// Rate a customer's final invoices again: credit notes, and others in their place
    Rerate(issue::RerateArgs),
    /// Write export traffic of known totals for this configuration
    Generate(generate::GenerateArgs),
    /// SNMPv3: users and their keys
    #[command(subcommand)]
    Snmp(snmp::SnmpVerb),
    /// Print an MRTG configuration for this agent
    Mrtg(run::MrtgArgs),
    /// Print the MIB module
    Mib,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// Shells that completions can be printed for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    /// Bourne-again shell
    Bash,
    /// Elvish
    Elvish,
    /// Friendly interactive shell
    Fish,
    /// PowerShell
    #[value(name = "powershell")]
    Power,
    /// Z shell
    Zsh,
}

/// Why a command failed, which decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// It could not be done: exit 1.
    Failed(anyhow::Error),
    /// Wrong usage or configuration: exit 2. The text is complete, with every error in it.
    Usage(String),
    /// A check found a difference: exit 3.
    Difference(String),
    /// Standard output was closed by its reader, which is not our failure: exit 0.
    BrokenPipe,
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = anyhow::Error::from(error);
        match error.downcast_ref::<io::Error>() {
            Some(io) if io.kind() == io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Failed(error),
        }
    }
}

impl Failure {
    /// The same; a difference where what the ledger holds was changed, so that it cannot be shown as it was.
    fn telling_damage(self) -> Self {
        let Self::Failed(error) = self else { return self };
        let is_damage = error.chain().any(|cause| {
            cause.downcast_ref::<ledger::Error>().is_some_and(ledger::Error::is_damage)
                || cause.downcast_ref::<invoice::Error>().is_some_and(invoice::Error::is_damage)
        });
        if is_damage { Self::Difference(format!("error: {error:#}")) } else { Self::Failed(error) }
    }

    /// A failure that is only words.
    #[must_use]
    pub fn said(message: impl Into<String>) -> Self {
        Self::Failed(anyhow::Error::msg(message.into()))
    }
}

/// Parses the arguments, does what they say, and tells how it went.
#[must_use]
pub fn main() -> ExitCode {
    heap::give_back_great_blocks();
    let cli = Cli::parse();
    start_log(matches!(cli.verb, Verb::Run));
    let mut out = io::BufWriter::new(io::stdout().lock());
    let outcome = dispatch(&cli, &mut out).and_then(|()| out.flush().map_err(Failure::from));
    match outcome {
        Ok(()) | Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => {
            let _ = out.flush();
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
        Err(Failure::Usage(text)) => {
            let _ = out.flush();
            eprintln!("{}", text.trim_end());
            ExitCode::from(2)
        }
        Err(Failure::Difference(text)) => {
            let _ = out.flush();
            eprintln!("{}", text.trim_end());
            ExitCode::from(3)
        }
    }
}

/// The daemon tells what an operator may care about; a command only warnings. `FLUXOSCOPE_LOG` changes that.
fn start_log(is_daemon: bool) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("FLUXOSCOPE_LOG")
        // The library that asks routers tells each failed attempt as an error; what follows from it is told here.
        .unwrap_or_else(|_| EnvFilter::new(if is_daemon { "info,async_snmp=off" } else { "warn" }));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let log = log.with_ansi(color_on_stderr());
    log.with_target(false).init();
}

fn dispatch(cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match &cli.verb {
        Verb::Run => run::run(cli),
        Verb::Ctl(args) => run::ctl(args, &cli.state_dir, out),
        Verb::Demo(args) => demo::run(args, out),
        Verb::Check(args) => match &args.double_counting {
            None => check(cli, out),
            Some(captures) => double_counting::run(args, captures, cli, out),
        },
        Verb::Replay(args) => replay::run(args, &cli.config()?, &cli.state_dir, out),
        Verb::Usage(args) => {
            args.check()?;
            usage::run(args, &mut cli.ledger()?, out)
        }
        Verb::Reconcile(args) => reconcile::run(args, cli, out),
        Verb::Contention(verb) => contention::run(verb, cli, out),
        Verb::Link(verb) => link::run(verb, cli, out),
        Verb::Customer(verb) => customer::run(verb, cli, out),
        Verb::Tariff(verb) => billing::tariffs(verb, cli, out),
        Verb::Invoice(verb) => billing::invoices(verb, cli, out),
        Verb::Period(verb) => period::run(verb, cli, out),
        Verb::Audit(args) => audit::run(args, cli, out),
        Verb::Ledger(verb) => audit::ledger(verb, cli, out),
        Verb::Rerate(args) => issue::rerate(args, cli, out),
        Verb::Generate(args) => generate::run(args, &cli.config()?),
        Verb::Mrtg(args) => run::mrtg(args, &cli.config()?, &mut cli.ledger_if_any()?, out),
        Verb::Snmp(verb) => snmp::run(verb, cli, out),
        Verb::Mib => Ok(out.write_all(crate::snmp::MIB.as_bytes())?),
        Verb::Completions { shell } => completions(*shell, out),
        Verb::Man => manual(out),
    }
}

impl Cli {
    /// The configuration file: the one named, or the first that exists.
    fn config_file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| CONFIG_FILES.iter().map(PathBuf::from).find(|path| path.exists()))
    }

    /// The configuration; built-in defaults where there is no file.
    fn config(&self) -> Result<Config, Failure> {
        match self.config_file() {
            Some(path) => load(&path),
            None => Ok(Config::builtin()),
        }
    }

    /// The ledger, which must be there.
    fn ledger(&self) -> Result<Ledger, Failure> {
        let config = self.config()?;
        Ok(Ledger::open_existing(&ledger_url(&config, &self.state_dir)?)?)
    }

    /// The ledger, created where it is not there yet.
    fn ledger_created(&self) -> Result<(Config, Ledger), Failure> {
        let config = self.config()?;
        let ledger = open_created(&config, &self.state_dir)?;
        Ok((config, ledger))
    }

    /// The ledger, or nothing.
    fn ledger_if_any(&self) -> Result<Option<Ledger>, Failure> {
        let config = self.config()?;
        let url = ledger_url(&config, &self.state_dir)?;
        if url.path().is_some_and(|path| !path.exists()) {
            return Ok(None);
        }
        Ok(Some(Ledger::open_existing(&url)?))
    }
}

/// Reads a configuration file; all its errors make one failure.
fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|problems| Failure::Usage(problems.render(color_on_stderr())))
}

/// Where the configuration has the ledger.
fn ledger_url(config: &Config, state_dir: &Path) -> Result<ledger::Url, Failure> {
    ledger::Url::parse(&config.ledger.url, state_dir)
        .map_err(|error| Failure::Usage(format!("error: {error}")))
}

/// Opens the ledger, and creates it with its directory where it is not there yet.
fn open_created(config: &Config, state_dir: &Path) -> Result<Ledger, Failure> {
    let url = ledger_url(config, state_dir)?;
    if let Some(directory) = url.path().and_then(Path::parent) {
        std::fs::create_dir_all(directory)
            .map_err(|error| Failure::said(format!("{}: {error}", directory.display())))?;
    }
    Ok(Ledger::open(&url)?)
}

/// Colours are for terminals, unless `NO_COLOR` is there and not empty.
fn color_on_stderr() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !plain
}

/// `check`: configuration and tariffs.
fn check(cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let Some(path) = cli.config_file() else {
        return Err(Failure::Usage(format!(
            "error: no configuration: looked for {}",
            CONFIG_FILES.join(" and ")
        )));
    };
    let mut problems = String::new();
    let config = match Config::load(&path) {
        Ok(config) => {
            let network = &config.network;
            writeln!(
                out,
                "{}: {} exporters, {} links, {} traffic classes, {} customers",
                path.display(),
                network.exporters.len(),
                network.links.len(),
                network.classes.len(),
                network.customers.len()
            )?;
            if let Err(error) = ledger::Url::parse(&config.ledger.url, &cli.state_dir) {
                problems += &format!("error: {error}\n");
            }
            snmp::note_unknown_senders(&config, &cli.state_dir);
            config
        }
        Err(found) => {
            problems += &found.render(color_on_stderr());
            // Tariffs are looked for where they are unless a configuration says otherwise; it names no customers here.
            let beside = path.parent().unwrap_or_else(|| Path::new(""));
            let builtin = Config::builtin();
            Config { tariffs: beside.join(&builtin.tariffs), ..builtin }
        }
    };
    problems += &billing::check_all(&config, out)?;
    if problems.is_empty() { Ok(()) } else { Err(Failure::Usage(problems)) }
}

/// Into memory first, since the generators panic where they cannot write.
fn completions(shell: Shell, out: &mut dyn Write) -> Result<(), Failure> {
    use clap_complete::{generate, shells};
    let mut command = Cli::command();
    let name = "fluxoscope";
    let mut text = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, name, &mut text),
        Shell::Elvish => generate(shells::Elvish, &mut command, name, &mut text),
        Shell::Fish => generate(shells::Fish, &mut command, name, &mut text),
        Shell::Power => generate(shells::PowerShell, &mut command, name, &mut text),
        Shell::Zsh => generate(shells::Zsh, &mut command, name, &mut text),
    }
    Ok(out.write_all(&text)?)
}

/// One page with all verbs.
fn manual(out: &mut dyn Write) -> Result<(), Failure> {
    let command = Cli::command();
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    for verb in command.get_subcommands() {
        manual_of(verb, "fluxoscope", out)?;
    }
    Ok(())
}

/// A section for one verb, or one for each verb below it.
fn manual_of(verb: &clap::Command, above: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let name = format!("{above} {}", verb.get_name());
    if verb.has_subcommands() {
        return verb.get_subcommands().try_for_each(|below| manual_of(below, &name, out));
    }
    let man = clap_mangen::Man::new(verb.clone().bin_name(&name));
    let mut parts = Vec::new();
    man.render_synopsis_section(&mut parts)?;
    man.render_description_section(&mut parts)?;
    man.render_options_section(&mut parts)?;
    writeln!(out, ".SH \"{}\"", name.to_uppercase())?;
    out.write_all(String::from_utf8_lossy(&parts).replace(".SH ", ".SS ").as_bytes())?;
    Ok(())
}

/// An instant as people write it: RFC 3339, or a date, which is its first instant in UTC.
///
/// # Errors
/// When it is neither.
pub fn parse_instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    // With its zone in brackets, which the next form would pass over.
    if let Ok(zoned) = text.parse::<jiff::Zoned>() {
        return Ok(zoned.timestamp());
    }
    let utc = jiff::tz::TimeZone::UTC;
    if !text.contains('[')
        && let Ok(date) = text.parse::<jiff::civil::DateTime>()
        && let Ok(zoned) = date.to_zoned(utc)
    {
        return Ok(zoned.timestamp());
    }
    Err("an instant is written like 2026-11-01T00:00:00Z, or as a date".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn instants_and_dates() {
        assert_eq!(parse_instant("2026-11-01").map(|t| t.as_second()), Ok(1_793_491_200));
        assert_eq!(parse_instant("2026-11-01T01:00:00+01:00").map(|t| t.as_second()), Ok(1_793_491_200));
        let zoned = parse_instant("2026-11-01T01:00[Europe/Amsterdam]").map(|t| t.as_second());
        assert_eq!(zoned, Ok(1_793_491_200));
        assert!(parse_instant("2026-11-01T01:00[Europe/Nowhere]").is_err());
        assert!(parse_instant("november").is_err());
    }
}
