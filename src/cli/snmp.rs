//! `snmp user`: the users of SNMPv3 and their keys. Passphrases come from a file or a terminal, never from the command
//! line, where others see them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rustix::termios::{self, LocalModes, OptionalActions};

use super::output::{self, Cell, Format};
use super::{Cli, Failure};
use crate::config;
use crate::snmp::{self, Authentication, Privacy, Users};

/// The verbs of `snmp`.
#[derive(Debug, Subcommand)]
pub enum SnmpVerb {
    /// Users of SNMPv3: add one, list them, remove one
    #[command(subcommand)]
    User(UserVerb),
}

/// The verbs of `snmp user`.
#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Add a user, or give one new keys
    Add(AddArgs),
    /// List users and their protocols
    List {
        /// How to print rows
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Remove a user
    Remove {
        /// The user
        name: String,
    },
}

/// Add a user.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// The user
    name: String,
    /// Authentication: SHA-224, SHA-256, SHA-384, SHA-512; MD5 and SHA where the configuration allows them
    #[arg(long, value_name = "PROTOCOL", value_parser = authentication, default_value = "SHA-256")]
    auth: Authentication,
    /// Privacy: AES-128, AES-256, AES-256-C; DES where the configuration allows it; none: messages are authenticated, but
    /// not encrypted
    #[arg(long = "priv", value_name = "PROTOCOL", value_parser = privacy)]
    privacy: Option<Privacy>,
    /// File with the passphrases, a line each: authentication, privacy. Asked for at the terminal if left out
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

fn authentication(text: &str) -> Result<Authentication, String> {
    Authentication::named(text).ok_or_else(|| known(Authentication::ALL.map(|(name, _)| name).as_slice()))
}

fn privacy(text: &str) -> Result<Privacy, String> {
    Privacy::named(text).ok_or_else(|| known(Privacy::ALL.map(|(name, _)| name).as_slice()))
}

fn known(names: &[&str]) -> String {
    format!("known: {}", names.join(", "))
}

/// Runs a verb.
///
/// # Errors
/// When passphrases or files will not do.
pub(super) fn run(verb: &SnmpVerb, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let SnmpVerb::User(verb) = verb;
    match verb {
        UserVerb::Add(args) => add(args, cli),
        UserVerb::List { format } => list(*format, &cli.state_dir, out),
        UserVerb::Remove { name } => {
            let _lock = lock(&cli.state_dir)?;
            if !open(&cli.state_dir)?.remove(name)? {
                return Err(Failure::said(format!("there is no SNMP user `{name}`")));
            }
            eprintln!("{name} removed; a running daemon knows it until `fluxoscope ctl reload`");
            warn_of_owners(&cli.state_dir);
            Ok(())
        }
    }
}

/// One command at a time changes users.
fn lock(state_dir: &Path) -> Result<File, Failure> {
    std::fs::create_dir_all(state_dir)
        .and_then(|()| snmp::lock(state_dir))
        .map_err(|error| Failure::said(format!("{}: {error}", state_dir.display())))
}

/// Says what a daemon of the state directory's owner cannot use, left by root before.
fn warn_of_owners(state_dir: &Path) {
    if let Some(whose) = snmp::misplaced(state_dir) {
        eprintln!("warning: a daemon of the state directory's owner cannot use the SNMP users: {whose}");
    }
}

fn open(state_dir: &Path) -> Result<Users, Failure> {
    std::fs::create_dir_all(state_dir)
        .and_then(|()| Users::open(state_dir))
        .map_err(|error| Failure::said(format!("{}: {error}", state_dir.display())))
}

fn add(args: &AddArgs, cli: &Cli) -> Result<(), Failure> {
    let config = cli.config()?;
    let agent = config.snmp.as_ref();
    if args.auth.is_legacy() && !agent.is_some_and(|agent| agent.legacy_authentication) {
        return Err(legacy(args.auth.name(), "authentication", "SHA-256"));
    }
    if let Some(protocol) = args.privacy.filter(|protocol| protocol.is_legacy())
        && !agent.is_some_and(|agent| agent.legacy_privacy)
    {
        return Err(legacy(protocol.name(), "privacy", "AES-128"));
    }
    let [authentication, privacy] = match &args.secrets {
        Some(path) => from_file(path, args.privacy.is_some()),
        None => from_terminal(args.privacy.is_some()),
    }?;
    let privacy = args.privacy.map(|protocol| (protocol, privacy.as_bytes()));
    let _lock = lock(&cli.state_dir)?;
    let was = open(&cli.state_dir)?
        .add(&args.name, (args.auth, authentication.as_bytes()), privacy)
        .map_err(|error| Failure::said(error.to_string()))?;
    let done = if was { "has new keys" } else { "added" };
    eprintln!("{} {done}; a running daemon takes them in with `fluxoscope ctl reload`", args.name);
    warn_of_owners(&cli.state_dir);
    if config.snmp.is_none() {
        eprintln!("\nhint: the configuration has no [snmp] section, so there is no agent");
    }
    Ok(())
}

fn legacy(protocol: &str, what: &str, better: &str) -> Failure {
    Failure::Usage(format!(
        "error: {protocol} is legacy {what}, which the configuration does not allow\n\n\
         hint: better {better}; or `legacy_{what} = true` in [snmp]"
    ))
}

type Secret = zeroize::Zeroizing<String>;

/// Two lines; the second may be missing where there is no privacy.
fn from_file(path: &Path, privacy: bool) -> Result<[Secret; 2], Failure> {
    let failed = |problem: String| Failure::said(format!("{}: {problem}", path.display()));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    config::warn_of_readers(path);
    let mut lines = BufReader::new(file.take(4096)).lines();
    let mut next = || -> Result<Option<Secret>, Failure> {
        lines.next().transpose().map(|line| line.map(Into::into)).map_err(|error| failed(error.to_string()))
    };
    let authentication = next()?.ok_or_else(|| failed("no passphrase".to_owned()))?;
    match next()? {
        None if privacy => Err(failed("no second line with the privacy passphrase".to_owned())),
        second => Ok([authentication, second.unwrap_or_default()]),
    }
}

fn from_terminal(privacy: bool) -> Result<[Secret; 2], Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "error: no terminal to ask for passphrases; use --secrets FILE".to_owned(),
        ));
    }
    let authentication = ask("Authentication passphrase")?;
    let privacy = if privacy { ask("Privacy passphrase")? } else { Secret::default() };
    Ok([authentication, privacy])
}

/// Asks twice, without echo.
fn ask(what: &str) -> Result<Secret, Failure> {
    let first = ask_once(what)?;
    let second = ask_once(&format!("{what} again"))?;
    if *first != *second {
        return Err(Failure::said("the two are not the same".to_owned()));
    }
    Ok(first)
}

fn ask_once(what: &str) -> Result<Secret, Failure> {
    let terminal = io::stdin();
    eprint!("{what}: ");
    let before = termios::tcgetattr(&terminal).map_err(io::Error::from)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    termios::tcsetattr(&terminal, OptionalActions::Flush, &quiet).map_err(io::Error::from)?;
    let mut line = Secret::default();
    let read = terminal.lock().read_line(&mut line);
    termios::tcsetattr(&terminal, OptionalActions::Flush, &before).map_err(io::Error::from)?;
    eprintln!();
    read?;
    while line.ends_with(['\n', '\r']) {
        line.pop();
    }
    Ok(line)
}

fn list(format: Format, state_dir: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let row = |user: snmp::Listed| {
        let privacy = user.privacy.map_or(Cell::Missing, |protocol| Cell::from(protocol.name()));
        vec![Cell::from(user.name), Cell::from(user.authentication.name()), privacy]
    };
    let rows: Vec<_> = open(state_dir)?.list().into_iter().map(row).collect();
    Ok(output::rows(out, format, &["name", "auth", "priv"], &rows)?)
}

/// Says whose keys for traps are not there. That is no error: they may be elsewhere, or come later.
pub(super) fn note_unknown_senders(config: &config::Config, state_dir: &Path) {
    let Some(agent) = &config.snmp else { return };
    let keyed = Users::names(state_dir).unwrap_or_else(|error| {
        eprintln!("note: {}: {error}", state_dir.display());
        Vec::new()
    });
    let plain = agent.users.iter().filter(|user| user.security == Some(snmp::Level::NoAuthNoPriv));
    let known: Vec<&str> =
        keyed.iter().map(String::as_str).chain(plain.map(|user| user.name.as_str())).collect();
    for user in agent.unknown_senders(&known) {
        eprintln!(
            "note: [[snmp.notify]] is to be sent by `{user}`, who is no SNMP user in {}: add it with `fluxoscope snmp user add`",
            state_dir.display()
        );
    }
}
