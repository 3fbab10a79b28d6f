//! Configuration: one TOML file, and the customer files that it names, become typed sections and a network.
//!
//! All files are read to their end and every error in them is told at once, with file, line and caret; nothing of a
//! configuration with an error is used. Unknown keys are errors: a misspelt option must not silently leave its default.
//! Each section belongs to the module that it configures; functions take their section, never the whole.
//!
//! What is checked here is not checked again: names are unique and printable, prefixes have no host bits, references
//! to exporters hold, no two customers claim the same prefix, AS number or interface at one time, and no interface
//! lies on two links.

mod agent;
mod claims;
mod csv;
mod network;
mod pieces;
mod polling;
mod reader;
pub mod sections;
mod value;

use core::fmt;
use core::net::SocketAddr;
use core::ops::Range;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use self::reader::Report;
pub use self::sections::{AtPeriodEnd, Contact};
use self::sections::{Billing, Invoice, Ledger, Receive, UnknownExporters};
use crate::classify::rules::Network;
use crate::decode::Limits;
use crate::diagnostic::{FileProblems, Problem};
use crate::exporter::Exporter;
use crate::invoice::language::Language;
use crate::{journal, meter, poll, reconcile, sampling, snmp};

pub use self::csv::customers_from_csv;
pub use self::polling::warn_of_readers;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The files it was read from, the main one first.
    pub files: Vec<PathBuf>,
    /// `[receive]`.
    pub receive: Receive,
    /// `[journal]`.
    pub journal: journal::Config,
    /// `[decode]`.
    pub decode: Limits,
    /// `[sampling]`.
    pub sampling: sampling::Config,
    /// `[meter]`.
    pub meter: meter::Config,
    /// `[ledger]`.
    pub ledger: Ledger,
    /// `[snmp]`; `None`: no agent.
    pub snmp: Option<snmp::Config>,
    /// `[metrics] listen`: where Prometheus finds `/metrics`; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// `[poll]`.
    pub poll: poll::Config,
    /// `[reconcile]`, with what links say of it.
    pub reconcile: reconcile::Config,
    /// Exporters that are asked over SNMP (`snmp` of `[[exporter]]`).
    pub targets: Vec<poll::Target>,
    /// `[invoice]`.
    pub invoice: Invoice,
    /// `[billing]`.
    pub billing: Billing,
    /// What electronic invoices say of customers (`einvoice` of `[[customer]]`), by name; those without are not here.
    pub contacts: BTreeMap<String, Contact>,
    /// In which language customers get their invoices (`language` of `[[customer]]`), by name; those without are not here.
    pub languages: BTreeMap<String, Language>,
    /// `[tariffs] directory`, relative paths already joined to the directory of the main file.
    pub tariffs: PathBuf,
    /// `[[exporter]]`.
    pub exporters: Vec<Exporter>,
    /// Exporters, links, traffic classes and customers, for the classifier and the ledger.
    pub network: Network,
}

/// Cuts a text into what is not read in pieces, and these.
type Cut<'a> = &'a dyn Fn(&str) -> (String, Vec<Range<usize>>);

/// Where datagrams come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Intake {
    /// A capture that is replayed.
    Capture,
    /// The sockets of the daemon, which anybody can send to.
    Network,
}

/// Everything that is wrong with a configuration, over all its files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems(pub Vec<FileProblems>);

impl Problems {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().map(|file| file.problems.len()).sum()
    }

    /// All of them, a block each, and the count at the end; with ANSI colours or as plain text.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for file in &self.0 {
            out.push_str(&file.render(color));
            out.push('\n');
        }
        let count = self.count();
        out.push_str(&format!("{count} {}\n", if count == 1 { "error" } else { "errors" }));
        out
    }

    fn unreadable(file: &str, error: &std::io::Error) -> Self {
        let problem =
            Problem { message: format!("cannot read `{file}`: {error}"), span: 0..0, label: String::new() };
        Self(vec![FileProblems { file: file.to_owned(), text: String::new(), problems: vec![problem] }])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

impl Config {
    /// The configuration of no file at all: every default, no exporters, no links, no customers.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            files: Vec::new(),
            receive: Receive::default(),
            journal: journal::Config::default(),
            decode: Limits::default(),
            sampling: sampling::Config::default(),
            meter: meter::Config::default(),
            ledger: Ledger::default(),
            snmp: None,
            metrics: None,
            poll: poll::Config::default(),
            reconcile: reconcile::Config::default(),
            targets: Vec::new(),
            invoice: Invoice::default(),
            billing: Billing::default(),
            contacts: BTreeMap::new(),
            languages: BTreeMap::new(),
            tariffs: PathBuf::from("tariffs"),
            exporters: Vec::new(),
            network: Network::default(),
        }
    }

    /// Whether datagrams of an address that no exporter has are taken from `intake`: as the file says. Where it does
    /// not say, from a capture always, since somebody named it by hand; from the network only while no exporter is
    /// configured at all, when there are no links either and nothing can be billed.
    #[must_use]
    pub fn accepts_unknown_exporters(&self, intake: Intake) -> bool {
        match (self.receive.unknown_exporters, intake) {
            (Some(choice), _) => choice == UnknownExporters::Accept,
            (None, Intake::Capture) => true,
            (None, Intake::Network) => self.exporters.is_empty(),
        }
    }

    /// Whether no datagram at all is taken from `intake`: no exporter is configured, and unknown ones are rejected.
    #[must_use]
    pub fn rejects_everything(&self, intake: Intake) -> bool {
        self.exporters.is_empty() && !self.accepts_unknown_exporters(intake)
    }

    /// Reads the configuration in `path` and the customer files that it names.
    ///
    /// # Errors
    /// All that is wrong in any of the files, or that one cannot be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Problems::unreadable(&name, &error))?;
        Self::read(&text.into(), &name, path.parent().unwrap_or_else(|| Path::new("")))
    }

    /// Reads the configuration in `text`, which people know as `name`. The files that it names are relative to
    /// `base_dir`.
    ///
    /// # Errors
    /// All that is wrong in any of the files.
    pub fn parse(text: &str, name: &str, base_dir: &Path) -> Result<Self, Problems> {
        Self::read(&text.into(), name, base_dir)
    }

    fn read(text: &Rc<str>, name: &str, base_dir: &Path) -> Result<Self, Problems> {
        // In pieces it takes less memory; what is wrong, only the whole tells.
        match Self::read_by(text, name, base_dir, &pieces::split_large) {
            Err(_) => Self::read_by(text, name, base_dir, &|text| (text.to_owned(), Vec::new())),
            good => good,
        }
    }

    /// Reads a configuration whose files are cut into what is no customer and pieces of customers.
    fn read_by(text: &Rc<str>, name: &str, base_dir: &Path, cut: Cut<'_>) -> Result<Self, Problems> {
        let report = Report::default();
        let mut config = Self { files: vec![PathBuf::from(name)], ..Self::builtin() };
        config.tariffs = base_dir.join(&config.tariffs);
        let mut network = network::Builder::default();
        let mut files = Vec::new();
        let (rest, pieces) = cut(text);
        reader::document(&report, report.file(name, text), &rest, |root| {
            config.read_sections(root, base_dir);
            config.exporters = network.exporters(root, base_dir);
            network.links(root);
            network.classes(root);
            network.customers_beside(root, &pieces);
            files = root.section("customers", network::customer_files);
        });
        drop(rest);
        network.customers_in(&report, name, text, &pieces);
        for file in files {
            let path = base_dir.join(&file.name);
            let shown = path.display().to_string();
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    let text: Rc<str> = text.into();
                    let (rest, pieces) = cut(&text);
                    reader::document(&report, report.file(&shown, &text), &rest, |root| {
                        network.customers_beside(root, &pieces);
                    });
                    network.customers_in(&report, &shown, &text, &pieces);
                    config.files.push(path);
                }
                Err(error) => report.problem(&file.place, format!("cannot read `{shown}`: {error}"), ""),
            }
        }
        config.contacts = core::mem::take(&mut network.contacts);
        config.languages = core::mem::take(&mut network.languages);
        config.targets = core::mem::take(&mut network.targets);
        // With a million prefixes the document is larger than what was read of it, so it is gone by now.
        config.network = network.finish(&report);
        let problems = report.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }

    fn read_sections(&mut self, root: &reader::Table<'_>, base_dir: &Path) {
        let mut listening = BTreeMap::new();
        self.receive = root.section("receive", |table| sections::receive(table, &mut listening));
        self.journal = root.section("journal", sections::journal);
        self.decode = root.section("decode", sections::decode);
        self.sampling = root.section("sampling", sections::sampling);
        self.meter = root.section("meter", sections::meter);
        self.ledger = root.section("ledger", sections::ledger);
        // The agent listens on UDP as well, so its address may collide with those above.
        self.snmp = root.section("snmp", |table| Some(agent::snmp(table, &mut listening, base_dir)));
        self.metrics = root.section("metrics", |table| sections::metrics(table, &mut listening));
        self.poll = root.section("poll", polling::poll);
        self.reconcile = root.section("reconcile", polling::reconcile);
        self.invoice = root.section("invoice", |table| sections::invoice(table, base_dir));
        self.billing = root.section("billing", sections::billing);
        let directory = root.section("tariffs", |table| {
            table.get("directory").and_then(|value| value.string("a directory")).map(str::to_owned)
        });
        if let Some(directory) = directory {
            self.tariffs = base_dir.join(directory);
        }
    }
}

#[cfg(test)]
mod tests;
