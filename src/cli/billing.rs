//! The verbs `tariff` and `invoice`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use super::output::{self, Cell, Format};
use super::tariff::Activation;
use super::{Cli, Failure, billing_ledger, invoice, tariff};
use crate::config::Config;
use crate::daemon;
use crate::invoice::Party;
use crate::invoice::run::Reason;
use crate::ledger::Ledger;
use crate::period::Period;
use crate::units::UnixMillis;

/// Tariffs.
#[derive(Debug, Subcommand)]
pub enum TariffVerb {
    /// Say what a tariff file charges, or everything that is wrong with it
    Check {
        /// The file
        file: PathBuf,
    },
    /// The newest active version of each tariff
    List {
        /// How rows are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// The text of an active version
    Show {
        /// The tariff's id
        id: String,
        /// The version [default: the newest]
        version: Option<i64>,
    },
    /// Make a version active: from then on it never changes
    Activate {
        /// The file
        file: PathBuf,
        /// Who does it [default: the user's name]
        #[arg(long)]
        by: Option<String>,
    },
    /// All active versions, who activated them and when
    History {
        /// Only of this tariff
        id: Option<String>,
        /// How rows are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// Invoices.
#[derive(Debug, Subcommand)]
pub enum InvoiceVerb {
    /// Make the drafts of a period from usage and tariffs; made again, they are replaced
    Run {
        /// The month in which the period begins, YYYY-MM
        #[arg(long)]
        period: Period,
        /// Only this customer's
        #[arg(long)]
        customer: Option<String>,
        /// Keep nothing
        #[arg(long)]
        dry_run: bool,
        /// How rows are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Invoices in the ledger
    List {
        /// Only of this period, YYYY-MM
        #[arg(long)]
        period: Option<Period>,
        /// Only this customer's
        #[arg(long)]
        customer: Option<String>,
        /// How rows are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// One invoice
    Show {
        /// Its number
        number: String,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Write DIR/YYYY-MM-CUSTOMER.EXT for every invoice of a period
    Export {
        /// The month in which the period begins, YYYY-MM
        #[arg(long)]
        period: Period,
        /// As what; may be repeated [default: all]
        #[arg(long, value_enum, value_delimiter = ',')]
        format: Vec<Document>,
        /// The directory, made where it is not there
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// What an invoice is exported as.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Document {
    /// The canonical document
    Json,
    /// One row a line
    Csv,
    /// A page for reading and printing
    Html,
}

impl From<Document> for invoice::Format {
    fn from(document: Document) -> Self {
        match document {
            Document::Json => Self::Json,
            Document::Csv => Self::Csv,
            Document::Html => Self::Html,
        }
    }
}

/// What is wrong in a tariff file is a matter of usage; the rest is a failure.
fn failure(error: anyhow::Error) -> Failure {
    match error.downcast_ref::<tariff::Error>() {
        Some(tariff::Error::Wrong(problems)) => Failure::Usage(problems.render(super::color_on_stderr())),
        Some(tariff::Error::Version(_)) => Failure::Usage(format!("error: {error:#}")),
        _ => Failure::Failed(error),
    }
}

/// Does what a tariff verb says.
///
/// # Errors
/// When a file is wrong, or the ledger cannot be used.
pub(super) fn tariffs(verb: &TariffVerb, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        TariffVerb::Check { file } => tariff::check(file, out).map(|_| ()).map_err(failure),
        TariffVerb::List { format } => {
            let versions = billing_ledger::tariff_list(&mut cli.ledger()?)?;
            texts(out, *format, &tariff::COLUMNS, tariff::rows(&versions))
        }
        TariffVerb::Show { id, version } => {
            let shown = billing_ledger::tariff_show(&mut cli.ledger()?, id, *version).map_err(failure)?;
            Ok(out.write_all(shown.toml.as_bytes())?)
        }
        TariffVerb::Activate { file, by } => {
            let (_, mut ledger) = cli.ledger_created()?;
            let who = by.clone().unwrap_or_else(user);
            activate(&mut ledger, file, &who, out)
        }
        TariffVerb::History { id, format } => {
            let versions = billing_ledger::tariff_history(&mut cli.ledger()?, id.as_deref())?;
            texts(out, *format, &tariff::COLUMNS, tariff::rows(&versions))
        }
    }
}

/// The name of who runs the command.
fn user() -> String {
    #[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    named.unwrap_or_else(|| "unknown".to_owned())
}

/// Activates a tariff and says so.
///
/// # Errors
/// When the file is wrong, contradicts an active version, or the ledger cannot be used.
pub(super) fn activate(
    ledger: &mut Ledger,
    file: &Path,
    who: &str,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let now = UnixMillis(daemon::now_ms());
    let (version, word) = match billing_ledger::tariff_activate(ledger, file, who, now).map_err(failure)? {
        Activation::New(version) => (version, "activated"),
        Activation::AlreadyActive(version) => (version, "was active already"),
    };
    let short = &version.sha256[..12];
    writeln!(
        out,
        "{} version {}, effective {}: {word} ({short})",
        version.id, version.version, version.effective
    )?;
    Ok(())
}

/// Does what an invoice verb says.
///
/// # Errors
/// When a customer cannot be invoiced, or the ledger cannot be used.
pub(super) fn invoices(verb: &InvoiceVerb, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        InvoiceVerb::Run { period, customer, dry_run, format } => {
            let (config, mut ledger) = (cli.config()?, cli.ledger()?);
            let made = make(&mut ledger, &config, *period, customer.as_deref(), *dry_run)?;
            texts(out, *format, &invoice::COLUMNS, invoice::rows(&made.invoices))?;
            made.failed.map_or(Ok(()), |problems| Err(Failure::said(problems)))
        }
        InvoiceVerb::List { period, customer, format } => {
            let listed = billing_ledger::invoice_list(&mut cli.ledger()?, *period, customer.as_deref())?;
            texts(out, *format, &invoice::COLUMNS, invoice::rows(&listed))
        }
        InvoiceVerb::Show { number, format } => print(&mut cli.ledger()?, number, *format, out),
        InvoiceVerb::Export { period, format, out: directory } => {
            let formats: Vec<invoice::Format> = if format.is_empty() {
                invoice::Format::ALL.to_vec()
            } else {
                format.iter().map(|&document| document.into()).collect()
            };
            let files = billing_ledger::invoice_export(&mut cli.ledger()?, *period, &formats, directory)
                .map_err(failure)?;
            for file in &files {
                writeln!(out, "{}", file.display())?;
            }
            if files.is_empty() {
                eprintln!(
                    "no invoices of {period}; make them with `fluxoscope invoice run --period {period}`"
                );
            }
            Ok(())
        }
    }
}

/// What a run made.
pub(super) struct Made {
    /// The drafts, as stored.
    pub(super) invoices: Vec<crate::ledger::records::StoredInvoice>,
    /// What could not be done, in words.
    failed: Option<String>,
}

/// Makes the drafts of a period. A customer for whom the configuration names no tariff is only mentioned.
///
/// # Errors
/// When nothing could be made at all.
pub(super) fn make(
    ledger: &mut Ledger,
    config: &Config,
    period: Period,
    customer: Option<&str>,
    dry_run: bool,
) -> Result<Made, Failure> {
    let seller = seller(config);
    let outcome =
        billing_ledger::invoice_run(ledger, &config.network, seller.as_ref(), period, customer, dry_run)
            .map_err(failure)?;
    let mut failed = Vec::new();
    for problem in &outcome.problems {
        match problem.reason {
            Reason::NoTariff { .. } => eprintln!("warning: {problem}"),
            _ => failed.push(problem.to_string()),
        }
    }
    Ok(Made {
        invoices: outcome.invoices.iter().map(crate::invoice::stored).collect(),
        failed: (!failed.is_empty()).then(|| failed.join("\n")),
    })
}

/// Who invoices, as configured; nobody where the section is empty.
fn seller(config: &Config) -> Option<Party> {
    let section = &config.invoice;
    if section.seller.is_empty() {
        return None;
    }
    let mut address = section.address.clone();
    if !section.tax_number.is_empty() {
        address.push(section.tax_number.clone());
    }
    address.extend(section.footer.iter().cloned());
    Some(Party { name: section.seller.clone(), address })
}

/// Prints one invoice: for people, as its lines, or as the canonical document.
///
/// # Errors
/// When there is none of that number, or its document was changed.
pub(super) fn print(
    ledger: &mut Ledger,
    number: &str,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (stored, shown) = billing_ledger::invoice_show(ledger, number).map_err(failure)?;
    match format {
        Format::Table => invoice::print(&shown, out)?,
        Format::Csv => out.write_all(crate::invoice::csv::write(&shown).as_bytes())?,
        Format::Json => writeln!(out, "{}", stored.document.trim_end())?,
    }
    Ok(())
}

/// Checks all tariff files of the configured directory: each by itself, that no two say different things of one version,
/// and that each customer's tariff is among them. The result is everything that is wrong, empty where nothing is.
///
/// # Errors
/// When `out` cannot be written to.
pub(super) fn check_all(config: &Config, out: &mut dyn Write) -> Result<String, Failure> {
    let directory = config.tariffs.display();
    let customers = config.network.customers.iter();
    let mut named = customers.filter_map(|customer| Some((&customer.name, customer.tariff.as_ref()?)));
    let entries = match std::fs::read_dir(&config.tariffs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // No error: what is active is in the ledger, and files may be kept elsewhere.
            if let Some((customer, id)) = named.next() {
                eprintln!(
                    "warning: there is no {directory} to look for tariff `{id}` of customer `{customer}`"
                );
            }
            return Ok(String::new());
        }
        Err(error) => return Ok(format!("error: {directory}: {error}\n")),
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let (mut wrong, mut broken) = (String::new(), String::new());
    let mut versions: BTreeMap<(String, i64), (&Path, String)> = BTreeMap::new();
    for file in &files {
        let (tariff, text) = match tariff::load(file) {
            Ok(loaded) => loaded,
            Err(tariff::Error::Wrong(problems)) => {
                wrong += &problems.render(super::color_on_stderr());
                broken += &problems.text;
                continue;
            }
            Err(error) => {
                wrong += &format!("error: {:#}\n", anyhow::Error::from(error));
                continue;
            }
        };
        writeln!(out, "{}: {} version {}", file.display(), tariff.id, tariff.version)?;
        match versions.entry((tariff.id, tariff.version)) {
            Entry::Vacant(free) => _ = free.insert((file, text)),
            Entry::Occupied(taken) if taken.get().1 != text => {
                let ((id, version), (other, _)) = (taken.key(), taken.get());
                let (file, other) = (file.display(), other.display());
                wrong += &format!(
                    "error: version {version} of tariff `{id}` is in {other} and, different, in {file}\n"
                );
            }
            Entry::Occupied(_) => {}
        }
    }
    for (customer, id) in named {
        let is_there = versions.keys().any(|(known, _)| known == id);
        // A file with errors may be the one; its errors are told already.
        if !is_there && !broken.contains(&format!("\"{id}\"")) {
            wrong += &format!("error: tariff `{id}` of customer `{customer}` is in no file of {directory}\n");
        }
    }
    Ok(wrong)
}

/// Rows that are texts already.
fn texts<const N: usize>(
    out: &mut dyn Write,
    format: Format,
    columns: &[&str; N],
    rows: Vec<[String; N]>,
) -> Result<(), Failure> {
    let rows: Vec<Vec<Cell>> =
        rows.into_iter().map(|row| row.into_iter().map(Cell::Text).collect()).collect();
    Ok(output::rows(out, format, columns, &rows)?)
}
