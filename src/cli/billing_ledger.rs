//! Tariffs and invoices between the ledger and the logic of [`super::tariff`] and [`super::invoice`]: thin functions,
//! one a verb, on an open ledger.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::invoice::{self as documents, Format};
use super::period::progress_bar;
use super::pins::{Reader, Supposed};
use super::tariff::{self as tariffs, Activation, Touched};
use super::{ahead, late, pins, seams};
use crate::classify::rules::Network;
use crate::invoice::collect::Names;
use crate::invoice::issue::Contact;
use crate::invoice::kinds::LinkKinds;
use crate::invoice::language::Language;
use crate::invoice::pins::{Pin, Pins};
use crate::invoice::plan::covered;
use crate::invoice::presentation::{Assets, Presentation};
use crate::invoice::run::{Inputs, Outcome, run};
use crate::invoice::{Invoice, Seller, State, stored};
use crate::ledger::records::{Asset, NameKind, StoredInvoice, TariffVersion};
use crate::ledger::{self, Ledger};
use crate::period::{AnchorDay, Period, Zone};
use crate::rate::percentile::{Count, Sample, SampleSource};
use crate::rate::tariff::{ChargeKind, Tariff};
use crate::rate::version;
use crate::units::UnixMillis;
use crate::usage::BucketStart;

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
/// [`tariffs::Error::NoTariff`] where there is none of that id, or what the ledger says.
pub fn tariff_history(ledger: &mut Ledger, id: Option<&str>) -> anyhow::Result<Vec<TariffVersion>> {
    let versions = ledger.tariff_versions(id)?;
    match id {
        Some(id) if versions.is_empty() => Err(tariffs::Error::NoTariff(id.to_owned()).into()),
        _ => Ok(versions),
    }
}

/// `tariff show ID [VERSION]`: one version, the newest unless said otherwise.
///
/// # Errors
/// [`tariffs::Error::NoTariff`], [`tariffs::Error::NoVersion`], or what the ledger says.
pub fn tariff_show(ledger: &mut Ledger, id: &str, version: Option<i64>) -> anyhow::Result<TariffVersion> {
    let versions = ledger.tariff_versions(Some(id))?;
    Ok(tariffs::find(&versions, id, version)?.clone())
}

/// `tariff activate FILE`. A version that is already there with the same content stays as it is. One that would hold in
/// periods that are closed is refused, unless it is meant to be `retroactive`.
///
/// # Errors
/// As [`tariffs::activation`]; [`tariffs::Error::Touches`]; or what the ledger says.
pub fn tariff_activate(
    ledger: &mut Ledger,
    path: &Path,
    who: &str,
    now: UnixMillis,
    retroactive: bool,
) -> anyhow::Result<Activation> {
    let activation = tariffs::activation(&ledger.tariff_versions(None)?, path, who, now)?;
    if let Activation::New(version) = &activation {
        let touched = touched(ledger, version)?;
        if !touched.is_empty() && !retroactive {
            return Err(tariffs::Error::Touches { version: Box::new(version.clone()), touched }.into());
        }
        ledger.put_tariff_version(version)?;
    }
    Ok(activation)
}

/// The closed periods in which a version would hold, had they not been closed before it.
///
/// # Errors
/// A stored tariff or document that is not understood, or what the ledger says.
pub fn touched(ledger: &mut Ledger, new: &TariffVersion) -> anyhow::Result<Vec<Touched>> {
    let mut stored = ledger.tariff_versions(Some(&new.id))?;
    stored.retain(|version| version.version != new.version);
    stored.push(new.clone());
    let versions = tariffs::understand(&stored)?;
    let holds = |period| {
        version::parts(&versions, &new.id, period, version::Days::default(), None)
            .is_ok_and(|parts| parts.iter().any(|(tariff, _)| tariff.version == new.version))
    };
    let names = names(ledger)?;
    let mut found: BTreeMap<(Period, String), Option<String>> = BTreeMap::new();
    let mut periods: BTreeMap<Period, bool> = BTreeMap::new();
    for (_, closure) in ledger.closures(None)? {
        let period: Period = closure.period.parse()?;
        let is_held = *periods.entry(period).or_insert_with(|| holds(period));
        if is_held && closure.tariff == new.id {
            let name = names.customers.get(&closure.customer).cloned().unwrap_or_default();
            found.insert((period, name), None);
        }
    }
    for period in periods.into_iter().filter_map(|(period, holds)| holds.then_some(period)) {
        for stored in ledger.invoices(Some(&period.to_string()), None)? {
            let Some(Pin::Billed(parts)) = pins::standing(&stored)? else { continue };
            let key = (period, stored.customer.clone());
            // A closing names only the last tariff of a period that has two.
            if found.contains_key(&key) || parts.iter().any(|part| part.tariff.id == new.id) {
                found.insert(key, Some(stored.number));
            }
        }
    }
    Ok(found.into_iter().map(|((period, customer), invoice)| Touched { period, customer, invoice }).collect())
}

/// What is to be said of a version that became active and does not begin after all others: which periods it takes
/// over, and of which of them there are drafts, which come out otherwise when they are made again. `None` for others.
///
/// # Errors
/// A stored tariff that is not understood, or what the ledger says.
pub fn retroactive_warning(ledger: &mut Ledger, activated: &TariffVersion) -> anyhow::Result<Option<String>> {
    let versions = tariffs::understand(&ledger.tariff_versions(Some(&activated.id))?)?;
    let Some(new) = versions.iter().find(|tariff| tariff.version == activated.version) else {
        return Ok(None);
    };
    let Some(taken) = version::retroactive(&versions, new) else { return Ok(None) };
    let holds = |period| {
        version::parts(&versions, &new.id, period, version::Days::default(), None)
            .is_ok_and(|parts| parts.iter().any(|(tariff, _)| tariff.version == new.version))
    };
    let mut periods = BTreeSet::new();
    for draft in ledger.invoices(None, None)?.iter().filter(|stored| stored.state == State::Draft.as_str()) {
        // One that was tampered with cannot be read, and is told of where it is shown.
        let Ok(invoice) = documents::open(draft) else { continue };
        if invoice.tariff.id == new.id && holds(invoice.period) {
            periods.insert(invoice.period);
        }
    }
    let until = taken.until.map_or_else(|| "on".to_owned(), |until| format!("up to {until}"));
    let drafts = if periods.is_empty() {
        "there are no drafts of them".to_owned()
    } else {
        let names: Vec<String> = periods.iter().map(ToString::to_string).collect();
        format!("drafts that change when they are run again: {}", names.join(", "))
    };
    Ok(Some(format!(
        "version {} of tariff `{}` does not begin after version {} ({}): it takes over the periods from {} {until}; \
         {drafts}",
        new.version, new.id, taken.newest, taken.newest_effective, taken.from
    )))
}

/// What invoices are made of.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The configuration of `now`; what the ledger keeps of former ones still says of what kind a link was.
    pub network: &'a Network,
    /// Who sends the invoices.
    pub seller: Option<Seller>,
    /// The period.
    pub period: Period,
    /// Only this customer.
    pub customer: Option<&'a str>,
    /// What electronic invoices say of the seller and of customers.
    pub contacts: Contacts,
    /// The instant of the making.
    pub now: UnixMillis,
}

/// What electronic invoices say of parties.
#[derive(Clone, Debug, Default)]
pub struct Contacts {
    /// Of the seller.
    pub seller: Contact,
    /// Of customers, by name.
    pub customers: BTreeMap<String, Contact>,
    /// How invoices look: of those that nothing is said of below.
    pub presentation: Presentation,
    /// The language of customers, by name.
    pub languages: BTreeMap<String, Language>,
    /// The files that `presentation` names.
    pub assets: Vec<Asset>,
}

/// What was made.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Drafts, and customers that could not be invoiced.
    pub outcome: Outcome,
    /// Late usage that could not be charged, in words; its customer has no draft.
    pub failed: Vec<String>,
}

/// The drafts of a period, with what came late and is carried into it. Keeps nothing.
///
/// # Errors
/// A customer that nobody knows, a stored tariff that is not understood, or what the ledger says.
pub fn invoice_make(ledger: &mut Ledger, wanted: &Wanted<'_>) -> anyhow::Result<Made> {
    make(ledger, wanted, &Supposed::new(), &mut |_| {})
}

/// The same; `progress` is told the bucket that is being read.
///
/// # Errors
/// As [`invoice_make`].
pub fn invoice_make_told(
    ledger: &mut Ledger,
    wanted: &Wanted<'_>,
    progress: &mut dyn FnMut(BucketStart),
) -> anyhow::Result<Made> {
    make(ledger, wanted, &Supposed::new(), progress)
}

/// As [`invoice_make`], where of the one customer that is `wanted` other invoices are supposed to stand; where one of the
/// period itself is among them, the period is rated as that one was.
///
/// # Errors
/// As [`invoice_make`].
pub fn invoice_make_supposing(
    ledger: &mut Ledger,
    wanted: &Wanted<'_>,
    supposed: &Supposed,
) -> anyhow::Result<Made> {
    make(ledger, wanted, supposed, &mut |_| {})
}

fn make(
    ledger: &mut Ledger,
    wanted: &Wanted<'_>,
    supposed: &Supposed,
    progress: &mut dyn FnMut(BucketStart),
) -> anyhow::Result<Made> {
    let Wanted { network, seller, period, customer, contacts, now } = wanted;
    let tariffs = tariffs::understand(&ledger.tariff_versions(None)?)?;
    let names = names(ledger)?;
    let mut pins = Pins::default();
    let mut reader = Reader::default();
    if let Some(before) = period.preceding().filter(|_| tariffs.iter().any(Tariff::rolls_over)) {
        reader.of_past(ledger, (before, *customer), &names, &mut pins)?;
    }
    reader.of_drafts(ledger, (*period, *customer), &names, &mut pins)?;
    for (period, pin) in supposed {
        pins.set(*period, customer.unwrap_or_default(), pin.clone());
    }
    let mut kinds = link_kinds(ledger, network, *now)?.keeping(pins);
    count_links(ledger, &mut kinds, &tariffs, *period)?;
    let seller = seller.as_ref();
    let inputs = Inputs {
        network,
        kinds: &kinds,
        tariffs: &tariffs,
        names: &names,
        seller,
        period: *period,
        customer: *customer,
    };
    let span_of = |name: &str, period| covered(&kinds, &tariffs, name, period).0;
    let before = late::before(ledger, &inputs, span_of)?;
    let mut bucket = BucketStart(i64::MIN);
    let mut outcome = run(&inputs, |filter, each| {
        ahead::merged(ledger, filter, before, &mut |row| {
            if row.key.bucket != bucket {
                bucket = row.key.bucket;
                progress(bucket);
            }
            each(row);
        })
    })?;
    let failed = late::adjust(ledger, &inputs, &mut outcome, supposed, span_of)?;
    seams::refuse(ledger, &inputs, &mut outcome)?;
    let (mut losses, nobody) = (BTreeMap::new(), BTreeSet::new());
    for invoice in &mut outcome.invoices {
        invoice.quality.provisional = invoice.span.to > *now;
        let day = |instant: UnixMillis| instant.0.div_euclid(86_400_000);
        let (from, to) = (day(invoice.span.from), day(UnixMillis(invoice.span.to.0 - 1)) + 1);
        let lost = match losses.entry((from, to)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(ledger.losses(from, to)?),
        };
        invoice.quality.set_loss(outcome.seen_by.get(&invoice.customer.name).unwrap_or(&nobody), lost);
        invoice.issuance.seller = contacts.seller.clone();
        invoice.issuance.buyer = contacts.customers.get(&invoice.customer.name).cloned().unwrap_or_default();
        invoice.presentation.clone_from(&contacts.presentation);
        if let Some(language) = contacts.languages.get(&invoice.customer.name) {
            invoice.presentation.language = *language;
        }
    }
    Ok(Made { outcome, failed })
}

/// Reads what the interfaces of links counted, where a tariff has a percentile of that.
fn count_links(
    ledger: &mut Ledger,
    kinds: &mut LinkKinds,
    tariffs: &[Tariff],
    period: Period,
) -> anyhow::Result<()> {
    let of_counters =
        |kind: &ChargeKind| matches!(kind, ChargeKind::Percentile(rule) if rule.source == SampleSource::Snmp);
    if !tariffs.iter().flat_map(|tariff| &tariff.charges).any(|rule| of_counters(&rule.kind)) {
        return Ok(());
    }
    // A period begins in its local month, whatever the zone, and is no longer than a month.
    let month = jiff::civil::date(period.year(), period.month(), 1);
    let day = |days: i64| -> anyhow::Result<BucketStart> {
        let date = month.checked_add(jiff::Span::new().days(days))?;
        let at = date.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp();
        Ok(BucketStart::of(UnixMillis(at.as_millisecond())))
    };
    let counted = crate::reconcile::link_octets(ledger, day(-2)?, day(64)?)?;
    let sample =
        |(inward, outward)| Sample { inward: Count::octets(inward), outward: Count::octets(outward) };
    let of_link = |(link, buckets): (String, BTreeMap<BucketStart, (u64, u64)>)| {
        (link, buckets.into_iter().map(|(bucket, octets)| (bucket, sample(octets))).collect())
    };
    kinds.count(counted.into_iter().map(of_link).collect());
    Ok(())
}

/// `invoice run`: the drafts of a period, kept in the ledger unless it is a dry run, and what could not be invoiced.
/// Drafts of former runs that are not made again are gone; a run that fails leaves them. A customer whose invoice of the
/// period is final has no draft.
///
/// # Errors
/// As [`invoice_make`].
pub fn invoice_run(ledger: &mut Ledger, wanted: &Wanted<'_>, dry_run: bool) -> anyhow::Result<Made> {
    let from = wanted.period.span(&Zone::named("UTC")?, AnchorDay::FIRST);
    let bar = progress_bar(from.to.seconds().abs_diff(from.from.seconds()), "seconds of usage");
    let mut made = invoice_make_told(ledger, wanted, &mut |bucket| {
        bar.set_position(bucket.0.saturating_sub(from.from.seconds()).max(0).unsigned_abs());
    })?;
    bar.finish_and_clear();
    let (period, customer) = (wanted.period.to_string(), wanted.customer);
    let credits: BTreeSet<String> =
        ledger.issues()?.into_iter().filter(|issue| issue.is_credit).map(|issue| issue.number).collect();
    let finals: BTreeSet<String> = ledger
        .invoices(Some(&period), customer)?
        .into_iter()
        .filter(|stored| stored.state == State::Final.as_str() && !credits.contains(&stored.number))
        .map(|stored| stored.customer)
        .collect();
    made.outcome.invoices.retain(|invoice| !finals.contains(&invoice.customer.name));
    if !dry_run {
        ledger.put_assets(&wanted.contacts.assets)?;
        let drafts: Vec<StoredInvoice> = made.outcome.invoices.iter().map(stored).collect();
        ledger.replace_drafts(&period, customer, &drafts)?;
    }
    Ok(made)
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

/// `invoice export`: the files that were written, in order; none where the period has no invoices.
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
    if invoices.is_empty() {
        return Ok(Vec::new());
    }
    let assets = Assets::of(ledger.assets()?);
    Ok(documents::export(&invoices, formats, &assets, dir)?)
}

/// What the configuration versions say of links and of customers' tariffs. A configuration that no daemon has stored yet is the newest of them,
/// in force from now on.
pub(super) fn link_kinds(
    ledger: &mut Ledger,
    network: &Network,
    now: UnixMillis,
) -> anyhow::Result<LinkKinds> {
    let mut kinds = LinkKinds::default();
    let mut newest = None;
    for version in ledger.config_versions()? {
        let stored: Network = serde_json::from_str(&version.text).with_context(|| {
            format!("configuration version {} in the ledger is not understood", version.sha256)
        })?;
        kinds.push(UnixMillis(version.valid_from), &stored);
        newest = Some((stored, version.valid_from));
    }
    match newest {
        Some((stored, _)) if stored == *network => {}
        Some((_, valid_from)) => kinds.push(UnixMillis(now.0.max(valid_from)), network),
        None => kinds.push(now, network),
    }
    Ok(kinds)
}

pub(super) fn names(ledger: &mut Ledger) -> Result<Names, ledger::Error> {
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
    use crate::ledger::records::books::Actor;
    use crate::ledger::records::{Advance, ConfigVersion, Flush, FlushTotals, SourceKind, UsageFilter};
    use crate::units::SamplingRate;
    use crate::usage::{UsageKey, UsageRow, UsageSums};

    fn example() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/regional-isp.toml")
    }

    const MARCH: &str = "2026-03";

    fn march() -> Period {
        MARCH.parse().expect("a month")
    }

    fn network() -> Network {
        Network {
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
        }
    }

    /// The run of March at `now`, in the seconds of the epoch.
    fn made(ledger: &mut Ledger, network: &Network, now: i64) -> anyhow::Result<Outcome> {
        run_of(ledger, network, None, false, UnixMillis::from_seconds(now))
    }

    fn run_of(
        ledger: &mut Ledger,
        network: &Network,
        customer: Option<&str>,
        dry_run: bool,
        now: UnixMillis,
    ) -> anyhow::Result<Outcome> {
        let contacts = Contacts::default();
        let wanted = Wanted { network, seller: None, period: march(), customer, contacts, now };
        Ok(invoice_run(ledger, &wanted, dry_run)?.outcome)
    }

    /// A ledger in which campus has 12000 GB of March.
    fn metered(dir: &Path) -> Ledger {
        let url = Url::parse("sqlite:ledger.sqlite", dir).expect("a URL");
        let mut ledger = Ledger::open(&url).expect("opens");
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
        let flush = Flush {
            advances: vec![advance],
            usage: vec![UsageRow { key, sums }],
            checkpoints: vec![],
            losses: vec![],
        };
        ledger.commit_flush(&flush).expect("commits");
        ledger
    }

    /// 10000 GB at 0.0430, 2000 GB at 0.0310 and the port: 430 + 62 + 150 = 642.00; 21 % are 134.82.
    #[test]
    fn from_usage_in_the_ledger_to_exported_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut ledger, file, network) = (metered(dir.path()), example(), network());
        assert!(matches!(
            tariff_activate(&mut ledger, &file, "ann", UnixMillis(0), false),
            Ok(Activation::New(_))
        ));
        let again = tariff_activate(&mut ledger, &file, "bob", UnixMillis(9), false).expect("the same");
        let Activation::AlreadyActive(first) = again else { panic!("{again:?}") };
        assert_eq!(first.activated_by, "ann");
        assert_eq!(tariff_list(&mut ledger).expect("lists").len(), 1);
        assert_eq!(tariff_show(&mut ledger, "regional-isp", Some(1)).expect("there").sha256, first.sha256);

        let march = march();
        let mut made = |only: Option<&str>, dry_run| {
            run_of(&mut ledger, &network, only, dry_run, UnixMillis(0)).expect("runs")
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

    /// 12000 GB: 642.00 by the regional tariff; with its first tier at 0.0500 712.00; at 0.05 a GB 600.00.
    #[test]
    fn what_other_tariffs_would_cost_on_real_usage() {
        use crate::cli::tariff_money::{Ground, named, rows};
        let dir = tempfile::tempdir().expect("a directory");
        let (mut ledger, network) = (metered(dir.path()), network());
        tariff_activate(&mut ledger, &example(), "ann", UnixMillis(0), false).expect("activates");
        made(&mut ledger, &network, 0).expect("runs");
        let before = drafts(&mut ledger);
        let text = std::fs::read_to_string(example()).expect("reads");
        let file = dir.path().join("next.toml");
        std::fs::write(&file, text.replace("version = 1", "version = 2").replace("0.0430", "0.0500"))
            .expect("writes");
        let mut tariff = |text: &str| {
            named(text, |id| -> anyhow::Result<Vec<TariffVersion>> { Ok(ledger.tariff_versions(Some(id))?) })
        };
        let next = tariff(file.to_str().expect("UTF-8")).expect("a file");
        let active = tariff("regional-isp@1").expect("active");
        assert_eq!((next.version, active.version), (2, 1));
        assert_eq!(tariff("regional-isp").expect("the newest"), active);
        for wrong in ["regional-isp@2", "regional-isp@x", "other", "absent.toml"] {
            assert!(tariff(wrong).is_err(), "{wrong}");
        }
        let per_gb = Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/transit-per-gb.toml");
        let per_gb = tariff(per_gb.to_str().expect("UTF-8")).expect("a file");

        let mut ground = Ground {
            ledger: &mut ledger,
            network: &network,
            period: march(),
            customer: None,
            now: UnixMillis(0),
        };
        let row = |before: &str, after: &str, difference: &str| {
            vec![["campus", "EUR", before, after, difference].map(str::to_owned)]
        };
        let simulated = ground.simulate(&next).expect("runs");
        assert_eq!(rows(&simulated.priced), row("642.00", "712.00", "70.00"));
        assert_eq!(simulated.problems, [""; 0]);
        assert_eq!(
            rows(&ground.replay(&active, &per_gb).expect("runs").priced),
            row("642.00", "600.00", "-42.00")
        );
        assert_eq!(ground.simulate(&per_gb).expect("runs").priced, [], "nobody has it");
        assert_eq!(ground.standings().expect("runs"), [], "nothing is included");
        ground.customer = Some("campus");
        assert_eq!(rows(&ground.simulate(&per_gb).expect("runs").priced), row("642.00", "600.00", "-42.00"));
        assert_eq!(drafts(&mut ledger), before, "nothing is kept");

        // 1000 GB that come late for March: 31.00 more by the one, 31.00 by the other, and 50.00 by the third.
        come_late(&mut ledger, "01", APRIL, 1_772_319_600 + 864_000, 1_000);
        let mut ground = Ground {
            ledger: &mut ledger,
            network: &network,
            period: march(),
            customer: None,
            now: UnixMillis(0),
        };
        let simulated = ground.simulate(&next).expect("runs");
        assert_eq!(rows(&simulated.priced), row("673.00", "743.00", "70.00"));
        let replayed = ground.replay(&active, &per_gb).expect("runs");
        assert_eq!(rows(&replayed.priced), row("673.00", "650.00", "-23.00"));
    }

    fn drafts(ledger: &mut Ledger) -> Vec<(String, String)> {
        let listed = invoice_list(ledger, None, None).expect("lists");
        listed.into_iter().map(|stored| (stored.number, stored.sha256)).collect()
    }

    #[test]
    fn a_run_leaves_no_draft_of_a_former_one_and_a_failed_run_leaves_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = metered(dir.path());
        tariff_activate(&mut ledger, &example(), "ann", UnixMillis(0), false).expect("activates");
        made(&mut ledger, &network(), 0).expect("runs");
        let before = drafts(&mut ledger);
        assert_eq!(before.len(), 1);

        let unknown = run_of(&mut ledger, &network(), Some("nobody"), false, UnixMillis(0));
        assert!(unknown.is_err());
        assert_eq!(drafts(&mut ledger), before, "a failed run");
        let mut without = network();
        without.customers[0].tariff = None;
        let dry = run_of(&mut ledger, &without, None, true, UnixMillis(0));
        assert!(dry.expect("runs").invoices.is_empty());
        assert_eq!(drafts(&mut ledger), before, "a dry run");

        assert!(made(&mut ledger, &without, 0).expect("runs").invoices.is_empty());
        assert_eq!(drafts(&mut ledger), []);
        let out = dir.path().join("out");
        assert!(invoice_export(&mut ledger, march(), &Format::ALL, &out).expect("nothing").is_empty());
        assert!(!out.exists(), "nothing to write, and no directory for it");
    }

    #[test]
    fn a_retroactive_version_names_the_drafts_that_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = metered(dir.path());
        let text = std::fs::read_to_string(example()).expect("reads");
        let activate = |ledger: &mut Ledger, version: i64, effective: &str| {
            let text = text.replace("version = 1", &format!("version = {version}"));
            let file = dir.path().join("tariff.toml");
            std::fs::write(&file, text.replace("2026-01-01", effective)).expect("writes");
            let activation = tariff_activate(ledger, &file, "ann", UnixMillis(0), false).expect("activates");
            let Activation::New(version) = activation else { panic!("new") };
            retroactive_warning(ledger, &version).expect("understood")
        };
        assert_eq!(activate(&mut ledger, 1, "2026-01-01"), None);
        made(&mut ledger, &network(), 0).expect("runs");
        assert_eq!(activate(&mut ledger, 2, "2026-04-01"), None);
        let begins = |version: i64, of: &str| {
            format!(
                "version {version} of tariff `regional-isp` does not begin after version {of}: it takes over "
            )
        };
        let april = "the periods from 2026-04-01 on; there are no drafts of them";
        assert_eq!(activate(&mut ledger, 3, "2026-04-01"), Some(begins(3, "2 (2026-04-01)") + april));
        let march = "the periods from 2026-02-01 up to 2026-04-01; drafts that change when they are run again: 2026-03";
        assert_eq!(activate(&mut ledger, 4, "2026-02-01"), Some(begins(4, "3 (2026-04-01)") + march));
        let january = "the periods from 2026-01-01 up to 2026-02-01; there are no drafts of them";
        assert_eq!(activate(&mut ledger, 5, "2026-01-01"), Some(begins(5, "3 (2026-04-01)") + january));
    }

    #[test]
    fn the_history_of_an_unknown_tariff_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = metered(dir.path());
        assert_eq!(tariff_history(&mut ledger, None).expect("empty"), []);
        tariff_activate(&mut ledger, &example(), "ann", UnixMillis(0), false).expect("activates");
        assert_eq!(tariff_history(&mut ledger, Some("regional-isp")).expect("there").len(), 1);
        let error = tariff_history(&mut ledger, Some("nope")).expect_err("unknown");
        assert_eq!(error.to_string(), "there is no active tariff `nope`");
    }

    /// 2026-04-01T00:00 in Amsterdam.
    const APRIL: i64 = 1_774_994_400;

    #[test]
    fn the_kind_of_a_link_is_that_of_the_ledger_s_configuration() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = metered(dir.path());
        tariff_activate(&mut ledger, &example(), "ann", UnixMillis(0), false).expect("activates");
        let mut gross = |network: &Network, now: i64, stored: bool| {
            if stored {
                let text = serde_json::to_string(network).expect("JSON");
                let sha256 = crate::rate::parse::sha256_hex(text.as_bytes());
                let version = ConfigVersion { sha256, text, valid_from: now * 1000 };
                assert!(ledger.put_config_version(&version).expect("stores"));
            }
            let outcome = made(&mut ledger, network, now).expect("runs");
            assert_eq!(outcome.problems, []);
            outcome.invoices[0].gross.to_string()
        };
        let mut peering = network();
        peering.links[0].kind = "peering".into();
        let mut removed = network();
        removed.links.clear();
        // 150.00 and 21 % of it: peering is free.
        assert_eq!(gross(&peering, APRIL + 9, false), "181.50", "nothing stored: what there is holds always");
        assert_eq!(gross(&network(), APRIL - 9000, true), "776.82");
        assert_eq!(gross(&peering, APRIL, false), "776.82", "not stored yet, and later than March");
        assert_eq!(gross(&peering, APRIL - 1, false), "181.50", "not stored yet, and in March");
        assert_eq!(gross(&peering, APRIL, true), "776.82");
        assert_eq!(gross(&removed, APRIL + 1, true), "776.82");
        assert_eq!(gross(&removed, APRIL + 2, false), "776.82");
    }

    /// The usage of campus in Amsterdam's first hour of March is in no period of the new tariff, and `idle` has none.
    #[test]
    fn a_seam_between_periods_is_a_problem_where_something_would_be_lost() {
        use crate::invoice::run::Reason;
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = metered(dir.path());
        let text = std::fs::read_to_string(example()).expect("reads");
        let changed = [("anchor_day = 1", "anchor_day = 15"), ("Europe/Amsterdam", "America/New_York")];
        for (id, (old, new)) in [("regional-isp", ("", "")), ("m15", changed[0]), ("ny", changed[1])] {
            let file = dir.path().join("tariff.toml");
            let text = text.replace("\"regional-isp\"", &format!("\"{id}\""));
            std::fs::write(&file, if old.is_empty() { text } else { text.replace(old, new) })
                .expect("writes");
            tariff_activate(&mut ledger, &file, "ann", UnixMillis(0), false).expect("activates");
        }
        let with = |tariff: &str| {
            let mut network = network();
            network.customers.push(CustomerRule { name: "idle".into(), ..network.customers[0].clone() });
            network.customers.iter_mut().for_each(|rule| rule.tariff = Some(tariff.into()));
            network
        };
        let text = serde_json::to_string(&with("regional-isp")).expect("JSON");
        let version = ConfigVersion { sha256: "00".into(), text, valid_from: 0 };
        assert!(ledger.put_config_version(&version).expect("stores"));
        let mut of = |tariff: &str| {
            let outcome = made(&mut ledger, &with(tariff), APRIL - 9000).expect("runs");
            assert!(outcome.problems.iter().all(|problem| matches!(problem.reason, Reason::Seam(_))));
            let problems: Vec<String> =
                outcome.problems.into_iter().map(|problem| problem.customer).collect();
            let drafts: Vec<String> =
                outcome.invoices.into_iter().map(|invoice| invoice.customer.name).collect();
            (drafts.join(" "), problems.join(" "))
        };
        assert_eq!(of("regional-isp"), ("campus idle".into(), String::new()));
        assert_eq!(of("ny"), ("idle".into(), "campus".into()), "hours are lost only where they are used");
        assert_eq!(of("m15"), (String::new(), "campus idle".into()));

        // An operator accepts that of campus, and says why.
        let network = with("m15");
        let kinds = link_kinds(&mut ledger, &network, UnixMillis::from_seconds(APRIL - 9000)).expect("kinds");
        let all = tariffs::understand(&ledger.tariff_versions(None).expect("reads")).expect("understood");
        let found = seams::of(&mut ledger, (&kinds, &all), "campus", march()).expect("reads");
        let (number, seam) = found.expect("a seam");
        let ann = Actor { by: "ann", at: 7 };
        ledger.accept_seam(number, (seam.ends, seam.begins), "agreed by letter", ann).expect("keeps");
        let outcome = made(&mut ledger, &network, APRIL - 9000).expect("runs");
        assert_eq!(outcome.invoices.len(), 1);
        assert_eq!((&*outcome.invoices[0].customer.name, &*outcome.problems[0].customer), ("campus", "idle"));
        let decisions = ledger.decisions().expect("reads").0;
        assert_eq!((&*decisions[0].reason, &*decisions[0].by), ("agreed by letter", "ann"));
    }

    /// Usage of campus that comes after the buckets before `closed` were closed.
    fn come_late(ledger: &mut Ledger, source: &str, closed: i64, bucket: i64, gigabytes: u64) {
        let mut row = None;
        ledger.for_each_usage(&UsageFilter::default(), &mut |any| row = Some(any)).expect("reads");
        let mut row = row.expect("campus has usage");
        let ann = Actor { by: "ann", at: 0 };
        ledger.close(&[(Some(row.key.customer.0), BucketStart(closed))], ann).expect("closes");
        row.key.bucket = BucketStart(bucket);
        row.sums.octets = gigabytes * 1_000_000_000;
        let source = ledger.source(SourceKind::Capture, source).expect("a source");
        let totals = FlushTotals {
            datagrams: 1,
            records: 1,
            raw_octets: row.sums.octets,
            metered_records: 1,
            metered_octets: row.sums.octets,
            metered_packets: row.sums.packets,
            ..FlushTotals::default()
        };
        let advance =
            Advance { source: source.id, from: Position(0), to: Position(1), complete: true, totals };
        let flush = Flush { advances: vec![advance], usage: vec![row], checkpoints: vec![], losses: vec![] };
        ledger.commit_flush(&flush).expect("commits");
    }

    const ROLLING: &str = r#"
[tariff]
id = "regional-isp"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "Europe/Amsterdam"
unit = "GB"
[[class]]
name = "all"
match = {}
[[charge]]
id = "vol"
kind = "volume"
class = ["all"]
direction = "in"
allowance = { quantity = "10000", rollover = "next-period" }
price = "1.00"
[tax]
category = "Z"
percent = "0"
"#;

    /// March has 12000 GB and 10000 of its own. February left 10000; with 9000 that came late for it, 1000.
    #[test]
    fn late_usage_takes_from_what_rolls_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = metered(dir.path());
        let file = dir.path().join("rolling.toml");
        std::fs::write(&file, ROLLING).expect("writes");
        tariff_activate(&mut ledger, &file, "ann", UnixMillis(0), false).expect("activates");
        let network = network();
        let net = |ledger: &mut Ledger, month: &str| {
            let (contacts, period) = (Contacts::default(), month.parse().expect("a month"));
            let now = UnixMillis(0);
            let wanted = Wanted { network: &network, seller: None, period, customer: None, contacts, now };
            let made = invoice_make(ledger, &wanted).expect("runs");
            assert_eq!((made.outcome.problems, made.failed), (vec![], vec![]));
            made.outcome.invoices[0].net.to_string()
        };
        assert_eq!(net(&mut ledger, MARCH), "0.00");
        // 2026-03-01T00:00 in Amsterdam; ten days before.
        let march = 1_772_319_600;
        come_late(&mut ledger, "01", march, march - 864_000, 9_000);
        assert_eq!(net(&mut ledger, MARCH), "1000.00", "12000 - 10000 - 1000");
        // March has nothing left when 500 more come for it.
        come_late(&mut ledger, "02", APRIL, march + 864_000, 500);
        assert_eq!(net(&mut ledger, MARCH), "1000.00");
        assert_eq!(net(&mut ledger, "2026-04"), "500.00");
    }
}
