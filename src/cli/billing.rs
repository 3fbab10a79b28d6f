//! The verbs `tariff` and `invoice`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use super::output::{self, Cell, Format};
use super::tariff::Activation;
use super::{Cli, Failure, billing_ledger, explain, invoice, issue, tariff, tariff_check, tariff_money};
use crate::config::Config;
use crate::daemon;
use crate::invoice::Seller;
use crate::invoice::issue::Contact;
use crate::invoice::presentation::Presentation;
use crate::invoice::run::Reason;
use crate::ledger::Ledger;
use crate::ledger::records::{Asset, TariffVersion};
use crate::period::Period;
use crate::rate::tariff::Tariff;
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
    /// What differs between two tariffs, in words and, on the usage of a period, in money
    Diff {
        /// The first: a file, or ID or ID@VERSION of an active one
        before: String,
        /// The second
        after: String,
        /// Rate the usage of this period by both, YYYY-MM
        #[arg(long, value_name = "PERIOD")]
        replay: Option<Period>,
        /// Only this customer's, whatever tariff it has
        #[arg(long, requires = "replay")]
        customer: Option<String>,
        /// How rows of money are printed; others than the table leave the words out
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// What those who have a tariff would pay by another version of it; nothing is kept
    Simulate {
        /// The version: a file, or ID or ID@VERSION of an active one
        tariff: String,
        /// The month in which the period begins, YYYY-MM
        #[arg(long)]
        period: Period,
        /// Only this customer, whatever tariff it has
        #[arg(long)]
        customer: Option<String>,
        /// How rows are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Where customers stand with what is included: used, alerts reached, and projected to the period's end
    Standing {
        /// The month in which the period begins, YYYY-MM
        #[arg(long)]
        period: Period,
        /// Only this customer
        #[arg(long)]
        customer: Option<String>,
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
        /// Also where it would hold in periods that are closed: they keep their version until they are rated again
        #[arg(long)]
        retroactive: bool,
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
    /// What a line is made of: usage down to its buckets, the tariff's clause, the arithmetic
    Explain {
        /// The invoice's number
        number: String,
        /// The line, from 1
        line: usize,
        /// How it is printed; csv: only the usage
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Make drafts final: numbered, in the books, never changed again. Closes their period first
    Finalize(issue::FinalizeArgs),
    /// Withdraw a final invoice that was not delivered; its number stays
    Void {
        /// Its number
        number: String,
        /// Who does it, and of which date
        #[command(flatten)]
        doing: issue::Doing,
    },
    /// Take a final invoice back with a credit note
    Credit {
        /// Its number
        number: String,
        /// Who does it, and of which date
        #[command(flatten)]
        doing: issue::Doing,
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
    /// The same as PDF; only where it is asked for, by a program that was built with the feature `pdf`
    Pdf,
    /// An electronic invoice (EN 16931, Peppol BIS 3), of what is issued; only where it is asked for
    Ubl,
}

impl From<Document> for invoice::Format {
    fn from(document: Document) -> Self {
        match document {
            Document::Json => Self::Json,
            Document::Csv => Self::Csv,
            Document::Html => Self::Html,
            Document::Pdf => Self::Pdf,
            Document::Ubl => Self::Ubl,
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
            versions_table(out, *format, &versions)
        }
        TariffVerb::Show { id, version } => {
            let shown = billing_ledger::tariff_show(&mut cli.ledger()?, id, *version).map_err(failure)?;
            Ok(out.write_all(shown.toml.as_bytes())?)
        }
        TariffVerb::Diff { before, after, replay, customer, format } => {
            let (before, after) = (named(before, cli)?, named(after, cli)?);
            if matches!(format, Format::Table) {
                for line in crate::rate::words::difference(&before, &after) {
                    writeln!(out, "{line}")?;
                }
            }
            let Some(period) = replay else { return Ok(()) };
            let (config, mut ledger) = (cli.config()?, cli.ledger()?);
            let mut ground = ground(&mut ledger, &config, *period, customer.as_deref());
            let compared = ground.replay(&before, &after).map_err(failure)?;
            print_compared(out, *format, &compared)
        }
        TariffVerb::Simulate { tariff, period, customer, format } => {
            let supposed = named(tariff, cli)?;
            let (config, mut ledger) = (cli.config()?, cli.ledger()?);
            let mut ground = ground(&mut ledger, &config, *period, customer.as_deref());
            let compared = ground.simulate(&supposed).map_err(failure)?;
            print_compared(out, *format, &compared)
        }
        TariffVerb::Standing { period, customer, format } => {
            let (config, mut ledger) = (cli.config()?, cli.ledger()?);
            let mut ground = ground(&mut ledger, &config, *period, customer.as_deref());
            let standings = ground.standings().map_err(failure)?;
            texts(out, *format, &tariff_money::STANDING_COLUMNS, tariff_money::standing_rows(&standings))
        }
        TariffVerb::Activate { file, retroactive, by } => {
            let (_, mut ledger) = cli.ledger_created()?;
            let who = by.clone().unwrap_or_else(user);
            activate(&mut ledger, file, &who, *retroactive, out)
        }
        TariffVerb::History { id, format } => {
            let versions =
                billing_ledger::tariff_history(&mut cli.ledger()?, id.as_deref()).map_err(failure)?;
            versions_table(out, *format, &versions)
        }
    }
}

/// A tariff by file, or by `ID` or `ID@VERSION` in the ledger.
fn named(text: &str, cli: &Cli) -> Result<Tariff, Failure> {
    let active =
        |id: &str| -> Result<Vec<TariffVersion>, Failure> { Ok(cli.ledger()?.tariff_versions(Some(id))?) };
    tariff_money::named(text, active).map_err(|refused| match refused {
        Failure::Failed(error) => failure(error),
        other => other,
    })
}

fn ground<'a>(
    ledger: &'a mut Ledger,
    config: &'a Config,
    period: Period,
    customer: Option<&'a str>,
) -> tariff_money::Ground<'a> {
    let now = UnixMillis(daemon::now_ms());
    tariff_money::Ground { ledger, network: &config.network, period, customer, now }
}

/// What could not be rated goes to stderr and is a failure.
fn print_compared(
    out: &mut dyn Write,
    format: Format,
    compared: &tariff_money::Compared,
) -> Result<(), Failure> {
    texts(out, format, &tariff_money::COLUMNS, tariff_money::rows(&compared.priced))?;
    if compared.problems.is_empty() { Ok(()) } else { Err(Failure::said(compared.problems.join("\n"))) }
}

/// A row a version; the version is a number.
fn versions_table(out: &mut dyn Write, format: Format, versions: &[TariffVersion]) -> Result<(), Failure> {
    let rows = tariff::rows(versions).into_iter().map(|row| {
        let cells = row.into_iter().zip(tariff::COLUMNS);
        cells
            .map(|(text, column)| if column == "version" { Cell::Decimal(text) } else { text.into() })
            .collect()
    });
    Ok(output::rows(out, format, &tariff::COLUMNS, &rows.collect::<Vec<Vec<Cell>>>())?)
}

/// The name of who runs the command.
pub(super) fn user() -> String {
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
    retroactive: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let now = UnixMillis(daemon::now_ms());
    let activation = billing_ledger::tariff_activate(ledger, file, who, now, retroactive).map_err(failure)?;
    let (version, word, warning, touched) = match activation {
        Activation::New(version) => {
            let warning = billing_ledger::retroactive_warning(ledger, &version).map_err(failure)?;
            let touched = billing_ledger::touched(ledger, &version).map_err(failure)?;
            (version, "activated", warning, touched)
        }
        Activation::AlreadyActive(version) => (version, "was active already", None, Vec::new()),
    };
    let short = &version.sha256[..12];
    writeln!(
        out,
        "{} version {}, effective {}: {word} ({short})",
        version.id, version.version, version.effective
    )?;
    if let Some(warning) = warning {
        eprintln!("warning: {warning}");
    }
    if !touched.is_empty() {
        let (closed, way_out) = (tariff::in_words(&touched), tariff::way_out(&touched));
        eprintln!(
            "warning: these are closed and keep their version:\n{closed}rate them again with {way_out}"
        );
    }
    Ok(())
}

/// Does what an invoice verb says.
///
/// # Errors
/// When a customer cannot be invoiced, there is nothing to export, or the ledger cannot be used.
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
        InvoiceVerb::Explain { number, line, format } => {
            explain::run(number, *line, *format, cli, out).map_err(Failure::telling_damage)
        }
        InvoiceVerb::Finalize(args) => issue::finalize(args, cli, out),
        InvoiceVerb::Void { number, doing } => issue::void(number, doing, cli, out),
        InvoiceVerb::Credit { number, doing } => issue::credit(number, doing, cli, out),
        InvoiceVerb::Show { number, format } => {
            print(&mut cli.ledger()?, number, *format, out).map_err(Failure::telling_damage)
        }
        InvoiceVerb::Export { period, format, out: directory } => {
            let formats: Vec<invoice::Format> = if format.is_empty() {
                invoice::Format::ALL.to_vec()
            } else {
                format.iter().map(|&document| document.into()).collect()
            };
            let mut ledger = cli.ledger()?;
            // Before there are files: one that was written may have been sent.
            issue::delivered(&mut ledger, *period)?;
            let files =
                billing_ledger::invoice_export(&mut ledger, *period, &formats, directory).map_err(failure)?;
            for file in &files {
                writeln!(out, "{}", file.display())?;
            }
            if files.is_empty() {
                return Err(Failure::said(format!(
                    "no invoices of {period}; make them with `fluxoscope invoice run --period {period}`"
                )));
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
    let (network, now) = (&config.network, UnixMillis(daemon::now_ms()));
    let wanted = billing_ledger::Wanted {
        network,
        seller: seller(config),
        period,
        customer,
        contacts: contacts(config),
        now,
        reconcile: Some((&config.reconcile, config.meter.packet_octets_max)),
    };
    let billing_ledger::Made { outcome, mut failed, uncharged } =
        billing_ledger::invoice_run(ledger, &wanted, dry_run).map_err(failure)?;
    uncharged.iter().for_each(|what| eprintln!("warning: {what}"));
    for problem in &outcome.problems {
        match problem.reason {
            Reason::NoTariff { .. } => eprintln!("warning: {problem}"),
            _ => failed.push(problem.to_string()),
        }
    }
    let provisional: Vec<&crate::invoice::Invoice> =
        outcome.invoices.iter().filter(|invoice| invoice.quality.provisional).collect();
    if let Some(end) = provisional.iter().map(|invoice| invoice.span.to).max() {
        eprintln!(
            "warning: {} drafts are provisional: {period} ends at {}; make them again then",
            provisional.len(),
            crate::period::rfc3339(end)
        );
    }
    Ok(Made {
        invoices: outcome.invoices.iter().map(crate::invoice::stored).collect(),
        failed: (!failed.is_empty()).then(|| failed.join("\n")),
    })
}

/// What electronic invoices say of the parties, as configured.
pub(super) fn contacts(config: &Config) -> billing_ledger::Contacts {
    let contact = |of: &crate::config::Contact| Contact {
        city: of.city.clone(),
        postcode: of.postcode.clone(),
        country: of.country.clone(),
        tax_number: of.tax_number.clone(),
        endpoint: of.endpoint.clone(),
        reference: of.reference.clone(),
        iban: of.iban.clone(),
    };
    let customers = config.contacts.iter().map(|(name, of)| (name.clone(), contact(of)));
    let section = &config.invoice;
    let hash = |asset: &Option<Asset>| asset.as_ref().map(|asset| asset.sha256.clone());
    billing_ledger::Contacts {
        seller: contact(&section.einvoice),
        customers: customers.collect(),
        presentation: Presentation {
            language: section.language,
            logo: hash(&section.logo),
            template: hash(&section.template),
        },
        languages: config.languages.clone(),
        assets: section.logo.iter().chain(&section.template).cloned().collect(),
    }
}

/// Who invoices, as configured; nobody where the section is empty.
pub(super) fn seller(config: &Config) -> Option<Seller> {
    let section = &config.invoice;
    if section.seller.is_empty() {
        return None;
    }
    Some(Seller {
        name: section.seller.clone(),
        address: section.address.clone(),
        tax_number: section.tax_number.clone(),
        footer: section.footer.clone(),
    })
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
        Format::Json => write!(out, "{}", invoice::document(&stored, &shown))?,
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
    let (mut wrong, mut broken, mut tariffs) = (String::new(), String::new(), Vec::new());
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
        tariffs.push(tariff.clone());
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
    for gap in tariff_check::gaps(&config.network, &tariffs) {
        wrong += &format!("error: {gap}\n");
    }
    Ok(wrong)
}

/// Rows that are texts already.
pub(super) fn texts<const N: usize>(
    out: &mut dyn Write,
    format: Format,
    columns: &[&str; N],
    rows: Vec<[String; N]>,
) -> Result<(), Failure> {
    let rows: Vec<Vec<Cell>> =
        rows.into_iter().map(|row| row.into_iter().map(Cell::Text).collect()).collect();
    Ok(output::rows(out, format, columns, &rows)?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// What a command line prints, or why it fails.
    fn said(dir: &Path, arguments: &[&str]) -> Result<String, Failure> {
        let config = dir.join("fluxoscope.toml");
        std::fs::write(&config, "").expect("writes");
        let fixed = ["fluxoscope".as_ref(), "--config".as_ref(), config.as_os_str()];
        let state = ["--state-dir".as_ref(), dir.as_os_str()];
        let all = fixed.into_iter().chain(state).chain(arguments.iter().map(AsRef::as_ref));
        let cli = Cli::try_parse_from(all).expect("arguments");
        let mut out = Vec::new();
        super::super::dispatch(&cli, &mut out)?;
        Ok(String::from_utf8(out).expect("UTF-8"))
    }

    /// The message of a failure with exit code 1.
    fn failed(dir: &Path, arguments: &[&str]) -> String {
        match said(dir, arguments) {
            Err(Failure::Failed(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_there_is_not_fails_and_a_version_is_a_number() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/regional-isp.toml");
        let file = file.to_str().expect("UTF-8");
        said(dir.path(), &["tariff", "activate", file]).expect("activates");
        for verb in ["list", "history"] {
            let rows = said(dir.path(), &["tariff", verb, "--format", "json"]).expect("lists");
            let rows: serde_json::Value = serde_json::from_str(&rows).expect("JSON");
            assert_eq!(rows[0]["version"], 1, "{verb}");
            assert_eq!(rows[0]["id"], "regional-isp");
        }
        assert_eq!(failed(dir.path(), &["tariff", "history", "nope"]), "there is no active tariff `nope`");
        let out = dir.path().join("out");
        let export = ["invoice", "export", "--period", "2026-03", "--out", out.to_str().expect("UTF-8")];
        assert_eq!(
            failed(dir.path(), &export),
            "no invoices of 2026-03; make them with `fluxoscope invoice run --period 2026-03`"
        );
    }

    #[test]
    fn the_seller_s_tax_number_and_footer_stay_apart_from_its_address() {
        let mut config = Config::builtin();
        assert_eq!(seller(&config), None);
        config.invoice.seller = "Net".into();
        config.invoice.address = vec!["1 Exchange".into()];
        config.invoice.tax_number = "NL1".into();
        config.invoice.footer = vec!["IBAN".into()];
        let expected = Seller {
            name: "Net".into(),
            address: vec!["1 Exchange".into()],
            tax_number: "NL1".into(),
            footer: vec!["IBAN".into()],
        };
        assert_eq!(seller(&config), Some(expected));
    }
}
