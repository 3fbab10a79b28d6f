//! The logic of `fluxoscope invoice ...`, on plain data: rows to print, an invoice as text, exported files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::invoice::presentation::Assets;
use crate::invoice::{self, Invoice, State, csv, html, json, ubl};
use crate::ledger::records::StoredInvoice;
use crate::ledger::records::books::Issue;
use crate::money::{Currency, Money};
use crate::rate::parse::sha256_hex;

/// Why an invoice cannot be shown or exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of that number.
    #[error("there is no invoice `{0}`")]
    NoInvoice(String),
    /// The stored document is not what its hash says.
    #[error("the document of invoice `{0}` has been changed: its SHA-256 is not the stored one")]
    Changed(String),
    /// The stored document is not an invoice.
    #[error("the document of invoice `{number}` cannot be used")]
    Document {
        /// The invoice's number.
        number: String,
        /// Why.
        source: json::Error,
    },
    /// It has no form as an electronic invoice.
    #[error(transparent)]
    Ubl(#[from] ubl::Error),
    /// Its page cannot be made.
    #[error("there is no page of invoice `{number}`")]
    Html {
        /// The invoice's number.
        number: String,
        /// Why.
        source: html::Error,
    },
    /// Its PDF cannot be made.
    #[cfg(feature = "pdf")]
    #[error("there is no PDF of invoice `{number}`")]
    Pdf {
        /// The invoice's number.
        number: String,
        /// Why.
        source: invoice::pdf::Error,
    },
    /// This program makes none.
    #[cfg(not(feature = "pdf"))]
    #[error(
        "this program was built without PDF: build it with the cargo feature `pdf`, or export html and print it"
    )]
    NoPdf,
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// True where a document is not what was stored.
    pub(super) const fn is_damage(&self) -> bool {
        matches!(self, Self::Changed(_) | Self::Document { .. })
    }
}

/// What an invoice is exported as.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Format {
    /// The canonical document itself, byte by byte.
    Json,
    /// One row a line.
    Csv,
    /// A page for reading and printing.
    Html,
    /// The same, as PDF.
    Pdf,
    /// An electronic invoice.
    Ubl,
}

impl Format {
    /// Those that every invoice has.
    pub const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Html];

    /// Its name on the command line, and the files' extension.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Html => "html",
            Self::Pdf => "pdf",
            Self::Ubl => "xml",
        }
    }

    /// The format of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }
}

/// Columns of `invoice list`.
pub const COLUMNS: [&str; 7] = ["number", "state", "period", "customer", "currency", "gross", "sha256"];

/// A row an invoice.
#[must_use]
pub fn rows(invoices: &[StoredInvoice]) -> Vec<[String; 7]> {
    let row = |stored: &StoredInvoice| {
        let gross = match Currency::from_code(&stored.currency) {
            Some(currency) => Money::new(stored.gross_minor, currency).to_string(),
            None => stored.gross_minor.to_string(),
        };
        [
            stored.number.clone(),
            stored.state.clone(),
            stored.period.clone(),
            stored.customer.clone(),
            stored.currency.clone(),
            gross,
            stored.sha256.clone(),
        ]
    };
    invoices.iter().map(row).collect()
}

/// The invoice in a stored document, after its hash and its sums have been checked.
///
/// # Errors
/// [`Error::Changed`] and [`Error::Document`].
pub fn open(stored: &StoredInvoice) -> Result<Invoice, Error> {
    if sha256_hex(stored.document.as_bytes()) != stored.sha256 {
        return Err(Error::Changed(stored.number.clone()));
    }
    let mut invoice = json::read(&stored.document)
        .map_err(|source| Error::Document { number: stored.number.clone(), source })?;
    // What became of it since it was issued stands beside the document, which does not change.
    if let Some(state) = State::ALL.into_iter().find(|state| state.as_str() == stored.state) {
        invoice.state = state;
    }
    Ok(invoice)
}

/// The canonical document: as it is stored; of one that was credited or made void since, with that state in it.
#[must_use]
pub fn document(stored: &StoredInvoice, invoice: &Invoice) -> String {
    match invoice.state {
        State::Draft | State::Final => stored.document.clone(),
        State::Credited | State::Void => json::write(invoice),
    }
}

/// The content of an exported file.
///
/// # Errors
/// As [`open`], and what concerns the format.
pub fn render(stored: &StoredInvoice, format: Format, assets: &Assets) -> Result<Vec<u8>, Error> {
    let invoice = open(stored)?;
    let number = || invoice.number.clone();
    Ok(match format {
        Format::Json => document(stored, &invoice).into_bytes(),
        Format::Ubl => ubl::write(&invoice)?.into_bytes(),
        Format::Csv => csv::write(&invoice).into_bytes(),
        Format::Html => html::write(&invoice, assets)
            .map_err(|source| Error::Html { number: number(), source })?
            .into_bytes(),
        #[cfg(feature = "pdf")]
        Format::Pdf => {
            invoice::pdf::write(&invoice, assets).map_err(|source| Error::Pdf { number: number(), source })?
        }
        #[cfg(not(feature = "pdf"))]
        Format::Pdf => return Err(Error::NoPdf),
    })
}

/// Writes `DIR/YYYY-MM-CUSTOMER.EXT` for each invoice and format (see [`invoice::file_name`]); the files, in order. Of a
/// customer's several documents of a period only the first has that name, the others have their numbers in theirs
/// ([`invoice::file_name_of`]): what was written once is never overwritten by another document, whatever is issued later.
/// `issues` says in which order they were. A file that is there is replaced whole or not at all. Of void invoices there is no electronic one, which is said.
///
/// # Errors
/// As [`open`]; [`Error::Write`].
pub fn export(
    invoices: &[StoredInvoice],
    issues: &[Issue],
    formats: &[Format],
    assets: &Assets,
    dir: &Path,
) -> Result<Vec<PathBuf>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let mut files = Vec::new();
    let foremost = foremost(invoices, issues);
    for (at, stored) in invoices.iter().enumerate() {
        for &format in formats {
            let content = match render(stored, format, assets) {
                // It stays in the period for ever, and must not keep the others from leaving.
                Err(Error::Ubl(void @ ubl::Error::Void(_))) => {
                    eprintln!("warning: {void}");
                    continue;
                }
                rendered => rendered?,
            };
            let name = if foremost.contains(&at) {
                invoice::file_name(&stored.period, &stored.customer, format.as_str())
            } else {
                invoice::file_name_of(&stored.period, &stored.customer, &stored.number, format.as_str())
            };
            let path = dir.join(name);
            let mut partial = path.clone().into_os_string();
            partial.push(".partial");
            std::fs::write(&partial, content).map_err(failed(&path))?;
            std::fs::rename(&partial, &path).map_err(failed(&path))?;
            files.push(path);
        }
    }
    Ok(files)
}

/// Of each customer's documents of a period, the position of the one whose file has the plain name: the invoice that was
/// issued first, whatever became of it since; before there is one, the draft, which that invoice takes the place of. What was
/// void is passed over, since it has never left the house, and credit notes are.
fn foremost(invoices: &[StoredInvoice], issues: &[Issue]) -> BTreeSet<usize> {
    let issued: HashMap<&str, &Issue> = issues.iter().map(|issue| (issue.number.as_str(), issue)).collect();
    let mut best: BTreeMap<(&str, &str), (u8, u64, usize)> = BTreeMap::new();
    for (at, stored) in invoices.iter().enumerate() {
        let rank = match issued.get(stored.number.as_str()) {
            Some(issue) if issue.is_credit => (3, issue.entry, at),
            Some(issue) if stored.state == State::Void.as_str() => (2, issue.entry, at),
            Some(issue) => (0, issue.entry, at),
            None => (1, 0, at),
        };
        let known = best.entry((&stored.period, &stored.customer)).or_insert(rank);
        *known = (*known).min(rank);
    }
    // Where all are void or credit notes, each has its number.
    best.into_values().filter(|(kind, ..)| *kind < 2).map(|(.., at)| at).collect()
}

/// `invoice show NUMBER`: the invoice for a terminal.
///
/// # Errors
/// The writer's.
pub fn print(invoice: &Invoice, out: &mut dyn Write) -> std::io::Result<()> {
    let (first, end) = (invoice.span.first_day, invoice.span.end_day);
    let provisional =
        if invoice.quality.provisional { ", provisional: the period has not ended" } else { "" };
    writeln!(out, "{} ({}{provisional})", invoice.number, invoice.state.as_str())?;
    writeln!(out, "customer  {}", invoice.customer.name)?;
    writeln!(out, "period    {} ({first} up to {end}, {})", invoice.period, invoice.zone)?;
    writeln!(out, "tariff    {} version {}", invoice.tariff.id, invoice.tariff.version)?;
    writeln!(out)?;
    let header = ["", "quantity", "", "price", invoice.currency.code(), "std. error"].map(str::to_owned);
    let mut rows = vec![header];
    for line in &invoice.lines {
        rows.push([
            line.description.clone(),
            line.quantity.clone(),
            line.unit.clone(),
            line.price.clone(),
            line.amount.to_string(),
            line.relative_error.clone(),
        ]);
    }
    let total = |name: String, amount: Money| {
        [name, String::new(), String::new(), String::new(), amount.to_string(), String::new()]
    };
    rows.push(total("net".to_owned(), invoice.net));
    for tax in &invoice.taxes {
        rows.push(total(format!("tax {} % ({})", tax.percent, tax.category), tax.amount));
    }
    rows.push(total("gross".to_owned(), invoice.gross));
    print_aligned(&rows, out)
}

/// Columns of equal width: the first and third to the left, the others to the right.
fn print_aligned(rows: &[[String; 6]], out: &mut dyn Write) -> std::io::Result<()> {
    let mut widths = [0; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(at, (cell, width))| {
            if matches!(at, 0 | 2) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let text: Vec<String> = cells.collect();
        writeln!(out, "{}", text.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoice::{Party, draft, stored};
    use crate::period::Period;
    use crate::rate::parse::parse;
    use crate::rate::usage::PeriodUsage;

    fn sample(customer: &str) -> StoredInvoice {
        let tariff = parse("t", include_str!("../../tariffs/regional-isp.toml")).expect("good");
        let period = Period::new(2026, 3).expect("a month");
        let party = Party { name: customer.to_owned(), address: vec![] };
        stored(&draft(party, None, period, &tariff, &PeriodUsage::default(), "0".repeat(64)).expect("rates"))
    }

    #[test]
    fn exported_files_have_safe_names_and_the_document_byte_by_byte() {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("new/out");
        let invoices = [sample("campus"), sample("../../evil")];
        let files = export(&invoices, &[], &Format::ALL, &Assets::default(), &out).expect("exports");
        let mut names: Vec<String> = std::fs::read_dir(&out)
            .expect("there")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "2026-03-..%2F..%2Fevil.csv",
                "2026-03-..%2F..%2Fevil.html",
                "2026-03-..%2F..%2Fevil.json",
                "2026-03-campus.csv",
                "2026-03-campus.html",
                "2026-03-campus.json"
            ]
        );
        assert_eq!(files.len(), 6);
        let document = std::fs::read_to_string(out.join("2026-03-campus.json")).expect("reads");
        assert_eq!(
            (document.as_str(), sha256_hex(document.as_bytes())),
            (invoices[0].document.as_str(), invoices[0].sha256.clone())
        );
        assert_eq!(export(&invoices, &[], &Format::ALL, &Assets::default(), &out).expect("again"), files);
    }

    #[test]
    fn a_document_that_somebody_changed_is_not_exported() {
        let mut stored = sample("campus");
        stored.document = stored.document.replace("150.00", "15.00");
        assert!(matches!(render(&stored, Format::Json, &Assets::default()), Err(Error::Changed(_))));
        stored.sha256 = sha256_hex(stored.document.as_bytes());
        assert!(matches!(render(&stored, Format::Json, &Assets::default()), Err(Error::Document { .. })));
    }

    #[cfg(not(feature = "pdf"))]
    #[test]
    fn a_program_without_pdf_names_the_feature() {
        let refused = render(&sample("campus"), Format::Pdf, &Assets::default()).expect_err("refused");
        assert!(refused.to_string().contains("the cargo feature `pdf`"), "{refused}");
    }

    #[test]
    fn an_invoice_prints_as_a_table() {
        let mut out = Vec::new();
        print(&open(&sample("campus")).expect("opens"), &mut out).expect("prints");
        // 21 % of 150.00 are 31.50.
        let expected = "\
DRAFT-2026-03-campus (draft)
customer  campus
period    2026-03 (2026-03-01 up to 2026-04-01, Europe/Amsterdam)
tariff    regional-isp version 1

                                     quantity           price     EUR  std. error
Port, 10 Gbit/s, one month                  1  period  150.00  150.00    0.000000
Transit, in and out: up to 10000 GB         0  GB      0.0430    0.00    0.000000
net                                                            150.00
tax 21 % (S)                                                    31.50
gross                                                          181.50
";
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn rows_show_amounts_at_the_currency_s_digits() {
        let row = &rows(&[sample("campus")])[0];
        assert_eq!(row[..6], ["DRAFT-2026-03-campus", "draft", "2026-03", "campus", "EUR", "181.50"]);
        assert_eq!(Format::from_name("html"), Some(Format::Html));
        assert_eq!(Format::from_name("pdf"), None);
    }
}
