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
use crate::invoice::{Invoice, ReconciledLine, Seller, State, stored};
use crate::ledger::records::{Asset, NameKind, StoredInvoice, TariffVersion};
use crate::ledger::{self, Ledger};
use crate::period::{AnchorDay, Period, Zone};
use crate::rate::percentile::{Count, Sample};
use crate::rate::tariff::Tariff;
use crate::rate::version;
use crate::reconcile;
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
    let holds_on = |period, days| {
        version::parts(&versions, &new.id, period, days, None)
            .is_ok_and(|parts| parts.iter().any(|(tariff, _)| tariff.version == new.version))
    };
    let holds = |period| holds_on(period, version::Days::default());
    let names = names(ledger)?;
    let kinds = stored_kinds(ledger)?.0;
    let mut found: BTreeMap<(Period, String), Option<String>> = BTreeMap::new();
    let mut periods: BTreeMap<Period, bool> = BTreeMap::new();
    for (_, closure) in ledger.closures(None)? {
        let period: Period = closure.period.parse()?;
        let is_held = *periods.entry(period).or_insert_with(|| holds(period));
        if !is_held || closure.tariff.is_empty() {
            continue;
        }
        let name = names.customers.get(&closure.customer).cloned().unwrap_or_default();
        // A closing names only the last tariff of a period that has several.
        let assigned = kinds.assignments().of(&name, closure.until.start());
        let is_assigned = assigned.iter().any(|one| one.tariff == new.id && holds_on(period, one.days));
        if closure.tariff == new.id || is_assigned {
            found.insert((period, name), None);
        }
    }
    for period in periods.into_iter().filter_map(|(period, holds)| holds.then_some(period)) {
        for stored in ledger.invoices(Some(&period.to_string()), None)? {
            let Some(Pin::Billed(parts)) = pins::standing(&stored)? else { continue };
            let key = (period, stored.customer.clone());
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
    /// How links are held against their interface counters, and the greatest packet in octets; `None`: they are not.
    pub reconcile: Option<(&'a reconcile::Config, u32)>,
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
    /// Late usage that nobody is charged for, in words.
    pub uncharged: Vec<String>,
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
    let Wanted { network, seller, period, customer, contacts, now, reconcile } = wanted;
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
        late: &[],
    };
    let span_of = |name: &str, period| covered(&kinds, &tariffs, name, period).0;
    let before = late::before(ledger, &inputs, span_of)?;
    let inputs = Inputs { late: &before, ..inputs };
    let mut bucket = BucketStart(i64::MIN);
    let mut outcome = run(&inputs, |filter, each| {
        ahead::for_each_usage(ledger, filter, &mut |row| {
            if row.key.bucket != bucket {
                bucket = row.key.bucket;
                progress(bucket);
            }
            each(row);
        })
    })?;
    let late::Left { failed, uncharged } = late::adjust(ledger, &inputs, &mut outcome, supposed, span_of)?;
    seams::refuse(ledger, &inputs, &mut outcome)?;
    let (mut losses, nobody) = (BTreeMap::new(), BTreeSet::new());
    let mut reconciled = Reconciled { settings: *reconcile, spans: BTreeMap::new() };
    for invoice in &mut outcome.invoices {
        invoice.quality.provisional = invoice.span.to > *now;
        let day = |instant: UnixMillis| instant.0.div_euclid(86_400_000);
        let (from, to) = (day(invoice.span.from), day(UnixMillis(invoice.span.to.0 - 1)) + 1);
        let lost = match losses.entry((from, to)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(ledger.losses(from, to)?),
        };
        invoice.quality.set_loss(outcome.seen_by.get(&invoice.customer.name).unwrap_or(&nobody), lost);
        reconciled.quote(ledger, invoice)?;
        invoice.issuance.seller = contacts.seller.clone();
        invoice.issuance.buyer = contacts.customers.get(&invoice.customer.name).cloned().unwrap_or_default();
        invoice.presentation.clone_from(&contacts.presentation);
        if let Some(language) = contacts.languages.get(&invoice.customer.name) {
            invoice.presentation.language = *language;
        }
    }
    Ok(Made { outcome, failed, uncharged })
}

/// How links stand against their interface counters, by first and last bucket: customers of one period have few spans.
struct Reconciled<'a> {
    settings: Option<(&'a reconcile::Config, u32)>,
    spans: BTreeMap<(BucketStart, BucketStart), BTreeMap<String, reconcile::Quality>>,
}

impl Reconciled<'_> {
    /// Quotes in an invoice those links that its volumes crossed.
    fn quote(&mut self, ledger: &mut Ledger, invoice: &mut Invoice) -> anyhow::Result<()> {
        let Some((config, packet_max)) = self.settings else { return Ok(()) };
        let (from, to) = invoice.span.buckets();
        let found = match self.spans.entry((from, to)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(reconcile::quality_of(ledger, config, packet_max, from, to)?),
        };
        let links: BTreeSet<&str> = invoice.volumes.iter().map(|volume| volume.link.as_str()).collect();
        let line = |link: &str| {
            let reconcile::Quality { link, buckets, compared, differences } = found.get(link)?.clone();
            Some(ReconciledLine { link, buckets, compared, differences })
        };
        invoice.quality.reconciled = links.into_iter().filter_map(line).collect();
        Ok(())
    }
}

/// Reads what the interfaces of links counted, where a tariff has a percentile of that, and how it is shared out, where a
/// volume is calibrated.
pub(super) fn count_links(
    ledger: &mut Ledger,
    kinds: &mut LinkKinds,
    tariffs: &[Tariff],
    period: Period,
) -> anyhow::Result<()> {
    // A period begins in its local month, whatever the zone, and is no longer than a month.
    let day = |period: Period, days: i64| -> anyhow::Result<BucketStart> {
        let month = jiff::civil::date(period.year(), period.month(), 1);
        let date = month.checked_add(jiff::Span::new().days(days))?;
        let at = date.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp();
        Ok(BucketStart::of(UnixMillis(at.as_millisecond())))
    };
    if tariffs.iter().any(Tariff::calibrates) {
        // What is left of an allowance is what was not used of it in the period before, calibrated as it was.
        let rolls_over = tariffs.iter().any(|tariff| tariff.calibrates() && tariff.rolls_over());
        let first = period.preceding().filter(|_| rolls_over).unwrap_or(period);
        kinds.share_out(reconcile::calibration::totals(ledger, day(first, -2)?, day(period, 64)?)?);
    }
    if !tariffs.iter().any(Tariff::ranks_counters) {
        return Ok(());
    }
    let counted = reconcile::link_octets(ledger, day(period, -2)?, day(period, 64)?)?;
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
    Ok(documents::export(&invoices, &ledger.issues()?, formats, &assets, dir)?)
}

/// What the configuration versions say of links and of customers' tariffs. A configuration that no daemon has stored yet is the newest of them,
/// in force from now on.
pub(super) fn link_kinds(
    ledger: &mut Ledger,
    network: &Network,
    now: UnixMillis,
) -> anyhow::Result<LinkKinds> {
    let (mut kinds, newest) = stored_kinds(ledger)?;
    match newest {
        Some((stored, _)) if bills_alike(&stored, network) => {}
        Some((_, valid_from)) => kinds.push(UnixMillis(now.0.max(valid_from)), network),
        None => kinds.push(now, network),
    }
    Ok(kinds)
}

/// Whether two configurations say the same of links and tariffs: whose which address is does not matter to that.
fn bills_alike(one: &Network, other: &Network) -> bool {
    let customers = |network: &Network| -> Vec<(String, Option<String>)> {
        network.customers.iter().map(|rule| (rule.name.clone(), rule.tariff.clone())).collect()
    };
    one.links == other.links && one.assignments == other.assignments && customers(one) == customers(other)
}

/// What the stored configuration versions say, and the newest of them, without prefixes, with the instant from which it
/// holds.
fn stored_kinds(ledger: &mut Ledger) -> anyhow::Result<(LinkKinds, Option<(Network, i64)>)> {
    let mut kinds = LinkKinds::default();
    let mut newest = None;
    let mut wrong = None;
    ledger.for_each_config_version(&mut |version| match Network::outline_of(&version.text) {
        Ok(stored) => {
            kinds.push(UnixMillis(version.valid_from), &stored);
            newest = Some((stored, version.valid_from));
        }
        Err(error) => wrong = wrong.take().or(Some((version.sha256, error))),
    })?;
    if let Some((sha256, error)) = wrong {
        return Err(error)
            .with_context(|| format!("configuration version {sha256} in the ledger is not understood"));
    }
    Ok((kinds, newest))
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
mod tests;
