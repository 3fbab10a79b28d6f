//! `audit`, and `ledger export`: the books, proved and handed on.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::output::{self, Cell, Format};
use super::{Cli, Failure};
use crate::audit::{self, Check};
use crate::invoice::plaintext_accounting::{Declared, Program};
use crate::ledger::Ledger;
use crate::ledger::records::books::Entry;
use crate::period::rfc3339;
use crate::units::UnixMillis;

/// `audit`.
#[derive(Args, Debug)]
pub struct AuditArgs {
    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerVerb {
    /// Corrections of whose usage it was: who made them, when, why, and by which configuration version
    Corrections {
        /// How rows are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// The books as text for a program of plain-text accounting
    Export {
        /// For which program; several need --out
        #[arg(long, value_enum, value_delimiter = ',', required = true)]
        format: Vec<Books>,
        /// The directory, made where it is not there: `DIR/ledger.journal`, `DIR/ledger.beancount`
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// A program of plain-text accounting.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Books {
    /// hledger, and ledger
    Hledger,
    /// beancount
    Beancount,
}

impl Books {
    const fn program(self) -> Program {
        match self {
            Self::Hledger => Program::Hledger,
            Self::Beancount => Program::Beancount,
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::Hledger => "ledger.journal",
            Self::Beancount => "ledger.beancount",
        }
    }
}

/// Checks every invariant; a row each, and what differs on standard error.
///
/// # Errors
/// [`Failure::Difference`] where one does not hold; when the ledger cannot be read.
pub(super) fn run(args: &AuditArgs, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let bar = super::period::progress_bar(audit::STEPS.len() as u64, "readings");
    let checks = audit::run_told(&mut cli.ledger()?, &mut |_| bar.inc(1))?;
    bar.finish_and_clear();
    let figures = |check: &Check| {
        let figures: Vec<String> = check.figures.iter().map(|(name, n)| format!("{name}={n}")).collect();
        figures.join(" ")
    };
    let rows: Vec<Vec<Cell>> = checks
        .iter()
        .map(|check| {
            let result = if check.holds() { "holds" } else { "differs" };
            let differences = i128::try_from(check.differences.len() + check.more).unwrap_or(i128::MAX);
            vec![check.name.into(), result.into(), Cell::Integer(differences), Cell::Text(figures(check))]
        })
        .collect();
    match args.format {
        Format::Json => writeln!(out, "{:#}", json(&checks))?,
        format => output::rows(out, format, &["invariant", "result", "differences", "figures"], &rows)?,
    }
    let mut text = String::new();
    for check in checks.iter().filter(|check| !check.holds()) {
        for difference in &check.differences {
            text += &format!("{}: {difference}\n", check.name);
        }
        if check.more > 0 {
            text += &format!("{}: and {} more\n", check.name, check.more);
        }
    }
    if text.is_empty() { Ok(()) } else { Err(Failure::Difference(text)) }
}

/// The checks with their figures as numbers (as text beyond 64 bits), and what differs.
fn json(checks: &[Check]) -> Value {
    let number = |n: i128| i64::try_from(n).map_or_else(|_| Value::from(n.to_string()), Value::from);
    let check = |check: &Check| {
        let figures = check.figures.iter().map(|(name, n)| ((*name).to_owned(), number(*n)));
        serde_json::json!({
            "invariant": check.name,
            "result": if check.holds() { "holds" } else { "differs" },
            "figures": figures.collect::<serde_json::Map<_, _>>(),
            "differences": check.differences,
            "more_differences": check.more,
        })
    };
    checks.iter().map(check).collect()
}

/// Does what the verb says.
///
/// # Errors
/// When the ledger cannot be read, or a file not written.
pub(super) fn ledger(verb: &LedgerVerb, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let mut ledger = cli.ledger()?;
    let (format, directory) = match verb {
        LedgerVerb::Corrections { format } => return corrections(&mut ledger, *format, out),
        LedgerVerb::Export { format, out } => (format, out),
    };
    match (directory, &format[..]) {
        (None, [format]) => write(&mut ledger, format.program(), out),
        (None, _) => Err(Failure::Usage("error: several formats need --out DIR".to_owned())),
        (Some(directory), formats) => {
            let failed = |path: &Path| {
                let path = path.display().to_string();
                move |error: std::io::Error| Failure::said(format!("cannot write `{path}`: {error}"))
            };
            std::fs::create_dir_all(directory).map_err(failed(directory))?;
            for format in formats {
                let path = directory.join(format.file());
                let partial = path.with_extension("partial");
                let mut file = BufWriter::new(File::create(&partial).map_err(failed(&path))?);
                write(&mut ledger, format.program(), &mut file)?;
                file.flush().and_then(|()| std::fs::rename(&partial, &path)).map_err(failed(&path))?;
                writeln!(out, "{}", path.display())?;
            }
            Ok(())
        }
    }
}

/// `ledger corrections`.
fn corrections(ledger: &mut Ledger, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let rows = ledger.corrections()?.0.into_iter().map(|one| {
        let [at, from, until] = [UnixMillis(one.at), one.from.start(), one.until.start()].map(rfc3339);
        vec![
            Cell::Integer(one.seq.into()),
            Cell::Text(at),
            Cell::Text(one.by),
            Cell::Text(from),
            Cell::Text(until),
            Cell::Text(one.config),
            Cell::Integer(one.changes.into()),
            Cell::Text(one.reason),
        ]
    });
    let columns = ["correction", "made", "by", "from", "until", "configuration", "rows", "reason"];
    Ok(output::rows(out, format, &columns, &rows.collect::<Vec<_>>())?)
}

/// Writes the books: declarations after a first reading, entries in a second. What is entered between the two is left out.
fn write(ledger: &mut Ledger, program: Program, out: &mut dyn Write) -> Result<(), Failure> {
    let mut declared = Declared::default();
    let mut last = 0;
    ledger.for_each_entry(&mut |entry| {
        declared.see(&entry);
        last = entry.seq;
        Ok(())
    })?;
    program.head(&declared, out)?;
    let mut written = Ok(());
    let mut each = |entry: &Entry| {
        if written.is_ok() && entry.seq <= last {
            written = program.entry(entry, out);
        }
    };
    ledger.for_each_entry(&mut |entry| {
        each(&entry);
        Ok(())
    })?;
    Ok(written?)
}
