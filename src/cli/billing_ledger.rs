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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::rules::{CustomerRule, LinkRule, Validity};
    use crate::flow::{Direction, Family};
    use crate::ids::{ClassId, CustomerId, ExporterId, LinkId, Position};
    use crate::ledger::Url;
    use crate::ledger::records::{Advance, Flush, FlushTotals, SourceKind};
    use crate::units::SamplingRate;
    use crate::usage::{BucketStart, UsageKey, UsageRow, UsageSums};

    /// 10000 GB at 0.0430, 2000 GB at 0.0310 and the port: 430 + 62 + 150 = 642.00; 21 % are 134.82.
    #[test]
    fn from_usage_in_the_ledger_to_exported_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let url = Url::parse("sqlite:ledger.sqlite", dir.path()).expect("a URL");
        let mut ledger = Ledger::open(&url).expect("opens");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/regional-isp.toml");
        assert!(matches!(tariff_activate(&mut ledger, &file, "ann", UnixMillis(0)), Ok(Activation::New(_))));
        let again = tariff_activate(&mut ledger, &file, "bob", UnixMillis(9)).expect("the same");
        let Activation::AlreadyActive(first) = again else { panic!("{again:?}") };
        assert_eq!(first.activated_by, "ann");
        assert_eq!(tariff_list(&mut ledger).expect("lists").len(), 1);
        assert_eq!(tariff_show(&mut ledger, "regional-isp", Some(1)).expect("there").sha256, first.sha256);

        let customer = ledger.intern(NameKind::Customer, &["campus"]).expect("interns")[0];
        let link = ledger.intern(NameKind::Link, &["transit-a"]).expect("interns")[0];
        let exporter = ledger.intern(NameKind::Exporter, &["ce1"]).expect("interns")[0];
        let source = ledger.source(SourceKind::Capture, "00").expect("a source");
        let sums =
            UsageSums { octets: 12_000_000_000_000, packets: 9, flows: 1, squares_low: 1, squares_high: 1 };
        let key = UsageKey {
            bucket: BucketStart(1_772_319_600),
            customer: CustomerId(customer),
            link: LinkId(link.try_into().expect("small")),
            direction: Direction::In,
            class: ClassId::DEFAULT,
            family: Family::V4,
            exporter: ExporterId(exporter.try_into().expect("small")),
            rate: SamplingRate::NOT_ANNOUNCED,
        };
        let totals = FlushTotals {
            datagrams: 1,
            records: 1,
            raw_octets: sums.octets,
            metered_records: 1,
            metered_octets: sums.octets,
            metered_packets: sums.packets,
            ..FlushTotals::default()
        };
        let advance =
            Advance { source: source.id, from: Position(0), to: Position(1), complete: true, totals };
        let flush =
            Flush { advances: vec![advance], usage: vec![UsageRow { key, sums }], checkpoints: vec![] };
        ledger.commit_flush(&flush).expect("commits");

        let network = Network {
            links: vec![LinkRule { name: "transit-a".into(), kind: "upstream".into(), points: vec![] }],
            customers: vec![CustomerRule {
                name: "campus".into(),
                prefixes: vec![],
                asns: vec![],
                interfaces: vec![],
                validity: Validity::default(),
                tariff: Some("regional-isp".into()),
                address: vec![],
            }],
            ..Network::default()
        };
        let march = Period::new(2026, 3).expect("a month");
        let mut made = |only: Option<&str>, dry_run| {
            invoice_run(&mut ledger, &network, None, march, only, dry_run).expect("runs")
        };
        let outcome = made(None, true);
        assert_eq!(outcome, made(Some("campus"), false));
        assert_eq!(outcome, made(None, false), "again: the draft is replaced by itself");
        assert_eq!(outcome.problems, []);
        assert_eq!(outcome.invoices[0].gross.to_string(), "776.82");
        assert_eq!(invoice_list(&mut ledger, Some(march), None).expect("lists").len(), 1);
        let (_, shown) = invoice_show(&mut ledger, "DRAFT-2026-03-campus").expect("there");
        assert_eq!(shown, outcome.invoices[0]);
        assert!(invoice_show(&mut ledger, "DRAFT-2026-03-nobody").is_err());
        let files = invoice_export(&mut ledger, march, &Format::ALL, dir.path()).expect("exports");
        assert!(files.iter().all(|file| file.is_file()) && files.len() == 3);
    }
}
