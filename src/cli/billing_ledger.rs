//! Tariffs and invoices between the ledger and the logic of [`super::tariff`] and [`super::invoice`]: thin functions,
//! one a verb, on an open ledger.

use std::path::{Path, PathBuf};

use super::invoice::{self as documents, Format};
use super::tariff::{self as tariffs, Activation};
use crate::classify::rules::Network;
use crate::invoice::collect::Names;
use crate::invoice::run::{Inputs, Outcome, run};
use crate::invoice::{Invoice, Party, stored};
use crate::ledger::records::{NameKind, StoredInvoice, TariffVersion};
use crate::ledger::{self, Ledger};
use crate::period::Period;
use crate::units::UnixMillis;

/// `tariff list`: the newest version of each tariff.
///
/// # Errors
/// What the ledger says.
pub fn tariff_list(ledger: &mut Ledger) -> Result<Vec<TariffVersion>, ledger::Error> {
    Ok(tariffs::newest(&ledger.tariff_versions(None)?))
}

/// `tariff history [ID]`: all versions.
///
/// # Errors
/// What the ledger says.
pub fn tariff_history(ledger: &mut Ledger, id: Option<&str>) -> Result<Vec<TariffVersion>, ledger::Error> {
    ledger.tariff_versions(id)
}

/// `tariff show ID [VERSION]`: one version, the newest unless said otherwise.
///
/// # Errors
/// [`tariffs::Error::NoTariff`], [`tariffs::Error::NoVersion`], or what the ledger says.
pub fn tariff_show(ledger: &mut Ledger, id: &str, version: Option<i64>) -> anyhow::Result<TariffVersion> {
    let versions = ledger.tariff_versions(Some(id))?;
    Ok(tariffs::find(&versions, id, version)?.clone())
}

/// `tariff activate FILE`. A version that is already there with the same content stays as it is.
///
/// # Errors
/// As [`tariffs::activation`], or what the ledger says.
pub fn tariff_activate(
    ledger: &mut Ledger,
    path: &Path,
    who: &str,
    now: UnixMillis,
) -> anyhow::Result<Activation> {
    let activation = tariffs::activation(&ledger.tariff_versions(None)?, path, who, now)?;
    if let Activation::New(version) = &activation {
        ledger.put_tariff_version(version)?;
    }
    Ok(activation)
}

/// `invoice run`: the drafts of a period, kept in the ledger unless it is a dry run, and what could not be invoiced.
///
/// # Errors
/// A customer that nobody knows, a stored tariff that is not understood, or what the ledger says.
pub fn invoice_run(
    ledger: &mut Ledger,
    network: &Network,
    seller: Option<&Party>,
    period: Period,
    customer: Option<&str>,
    dry_run: bool,
) -> anyhow::Result<Outcome> {
    let tariffs = tariffs::understand(&ledger.tariff_versions(None)?)?;
    let names = names(ledger)?;
    let inputs = Inputs { network, tariffs: &tariffs, names: &names, seller, period, customer };
    let outcome = run(&inputs, |filter, each| ledger.for_each_usage(filter, each))?;
    if !dry_run {
        for invoice in &outcome.invoices {
            ledger.put_invoice(&stored(invoice))?;
        }
    }
    Ok(outcome)
}

/// `invoice list`: by period, customer and number.
///
/// # Errors
/// What the ledger says.
pub fn invoice_list(
    ledger: &mut Ledger,
    period: Option<Period>,
    customer: Option<&str>,
) -> Result<Vec<StoredInvoice>, ledger::Error> {
    ledger.invoices(period.map(|period| period.to_string()).as_deref(), customer)
}

/// `invoice show NUMBER`: the document as stored, and the invoice in it.
///
/// # Errors
/// [`documents::Error::NoInvoice`] and those of [`documents::open`], or what the ledger says.
pub fn invoice_show(ledger: &mut Ledger, number: &str) -> anyhow::Result<(StoredInvoice, Invoice)> {
    let stored = ledger.invoice(number)?.ok_or_else(|| documents::Error::NoInvoice(number.to_owned()))?;
    let invoice = documents::open(&stored)?;
    Ok((stored, invoice))
}

/// `invoice export`: the files that were written, in order.
///
/// # Errors
/// As [`documents::export`], or what the ledger says.
pub fn invoice_export(
    ledger: &mut Ledger,
    period: Period,
    formats: &[Format],
    dir: &Path,
) -> anyhow::Result<Vec<PathBuf>> {
    let invoices = ledger.invoices(Some(&period.to_string()), None)?;
    Ok(documents::export(&invoices, formats, dir)?)
}

fn names(ledger: &mut Ledger) -> Result<Names, ledger::Error> {
    Ok(Names {
        customers: ledger.names(NameKind::Customer)?.into_iter().collect(),
        links: ledger.names(NameKind::Link)?.into_iter().collect(),
        classes: ledger.names(NameKind::Class)?.into_iter().collect(),
        exporters: ledger.names(NameKind::Exporter)?.into_iter().collect(),
    })
}
