//! What closed and billed periods keep to, read from the ledger (see [`crate::invoice::pins`]).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::invoice as documents;
use crate::invoice::State;
use crate::invoice::collect::Names;
use crate::invoice::pins::{Pin, Pins};
use crate::ledger::Ledger;
use crate::ledger::records::books::DecisionKind;
use crate::ledger::records::corrections::Corrected;
use crate::ledger::records::{StoredInvoice, TariffVersion};
use crate::period::Period;
use crate::usage::BucketStart;

/// Invoices of one customer that are supposed to stand, by period: for a re-rating that is only tried.
pub type Supposed = BTreeMap<Period, Pin>;

/// What the runs of a command keep to; reads each closed period once.
#[derive(Default)]
pub struct Reader {
    closures: HashMap<Period, HashMap<u32, Pin>>,
    /// When usage was closed, and the tariff versions by when they became active.
    closings: Option<(Closings, Vec<TariffVersion>)>,
}

/// When usage was closed, by customer and the first bucket that was not.
type Closings = HashMap<(u32, BucketStart), i64>;

/// The newest versions of all tariffs that were active at an instant.
fn newest_at(versions: &[TariffVersion], at: i64) -> BTreeMap<String, i64> {
    let mut newest = BTreeMap::new();
    for one in versions.iter().filter(|one| one.activated_at <= at) {
        let known = newest.entry(one.id.clone()).or_insert(one.version);
        *known = one.version.max(*known);
    }
    newest
}

impl Reader {
    /// By what a period was closed, by customer's number; those that had no tariff are left out.
    fn closures(&mut self, ledger: &mut Ledger, period: Period) -> anyhow::Result<&HashMap<u32, Pin>> {
        let free = match self.closures.entry(period) {
            Entry::Occupied(known) => return Ok(known.into_mut()),
            Entry::Vacant(free) => free,
        };
        let closures = ledger.closures(Some(&period.to_string()))?;
        if self.closings.is_none() && !closures.is_empty() {
            let (decisions, _) = ledger.decisions()?;
            let closings = decisions.into_iter().filter(|one| one.kind == DecisionKind::Close);
            let closings = closings.map(|one| ((one.customer, one.bucket), one.at)).collect();
            self.closings = Some((closings, ledger.tariff_versions(None)?));
        }
        let (mut found, mut known) = (HashMap::new(), HashMap::new());
        for (_, closure) in closures.into_iter().filter(|(_, closure)| closure.tariff_version > 0) {
            let of = (closure.customer, closure.until);
            let closing = self.closings.as_ref().and_then(|(at, versions)| Some((*at.get(&of)?, versions)));
            let at = closing.map(|(at, _)| at);
            // Many customers are closed together, with the same tariff.
            let versions = known.entry((at, closure.tariff, closure.tariff_version)).or_insert_with_key(
                |(_, tariff, version)| {
                    // Before decisions were kept, only the last tariff is known.
                    let mut newest = closing.map_or_else(BTreeMap::new, |(at, all)| newest_at(all, at));
                    newest.insert(tariff.clone(), *version);
                    Arc::new(newest)
                },
            );
            found.insert(closure.customer, Pin::Closed(Arc::clone(versions)));
        }
        Ok(free.insert(found))
    }

    /// What drafts of a period keep to: one that was closed to the version that it was closed with, unless an invoice of it
    /// was issued and taken back since, or is to be rated again; one whose usage was corrected, and whose last invoice was
    /// credited with nothing in its place, to that invoice.
    ///
    /// # Errors
    /// A document that was changed, or what the ledger says.
    pub fn of_drafts(
        &mut self,
        ledger: &mut Ledger,
        (period, customer): (Period, Option<&str>),
        names: &Names,
        pins: &mut Pins,
    ) -> anyhow::Result<()> {
        if self.closures(ledger, period)?.is_empty() {
            return Ok(());
        }
        let invoices = ledger.invoices(Some(&period.to_string()), customer)?;
        let issued: HashSet<&str> = invoices
            .iter()
            .filter(|stored| stored.state != State::Draft.as_str())
            .map(|stored| stored.customer.as_str())
            .collect();
        for (number, pin) in self.closures(ledger, period)? {
            let Some(name) = names.customers.get(number) else { continue };
            if customer.is_none_or(|only| only == name) && !issued.contains(name.as_str()) {
                pins.set(period, name, pin.clone());
            }
        }
        for (name, pin) in left_nothing(ledger, names, &invoices)? {
            pins.set(period, &name, pin);
        }
        Ok(())
    }

    /// What a former period keeps to: to the invoice that stands, else to the one of which a correction left nothing, else to
    /// the version that it was closed with.
    ///
    /// # Errors
    /// A document that was changed, or what the ledger says.
    pub fn of_past(
        &mut self,
        ledger: &mut Ledger,
        (period, customer): (Period, Option<&str>),
        names: &Names,
        pins: &mut Pins,
    ) -> anyhow::Result<()> {
        for (number, pin) in self.closures(ledger, period)? {
            let Some(name) = names.customers.get(number) else { continue };
            if customer.is_none_or(|only| only == name) {
                pins.set(period, name, pin.clone());
            }
        }
        let invoices = ledger.invoices(Some(&period.to_string()), customer)?;
        for (name, pin) in left_nothing(ledger, names, &invoices)? {
            pins.set(period, &name, pin);
        }
        for stored in invoices {
            if let Some(pin) = standing(&stored)? {
                pins.set(period, &stored.customer, pin);
            }
        }
        Ok(())
    }
}

/// Of the documents of a period, the pins of customers whose last invoice was credited with nothing in its place, and whose
/// usage of it was corrected: what another correction gives them again has the price that it had.
///
/// # Errors
/// A document that was changed, or what the ledger says.
fn left_nothing(
    ledger: &mut Ledger,
    names: &Names,
    invoices: &[StoredInvoice],
) -> anyhow::Result<Vec<(String, Pin)>> {
    let mut found = Vec::new();
    if !invoices.iter().any(is_credited) || ledger.last_correction()? == 0 {
        return Ok(found);
    }
    let issues = ledger.issues()?.into_iter().filter(|issue| !issue.is_credit);
    let entries: HashMap<String, u64> = issues.map(|issue| (issue.number, issue.entry)).collect();
    let mut last: BTreeMap<&str, (u64, &StoredInvoice)> = BTreeMap::new();
    for stored in invoices {
        // Drafts and credit notes are left out.
        let Some(&entry) = entries.get(&stored.number) else { continue };
        let known = last.entry(stored.customer.as_str()).or_insert((entry, stored));
        if known.0 < entry {
            *known = (entry, stored);
        }
    }
    for (name, (_, stored)) in last {
        if !is_credited(stored) {
            continue;
        }
        let invoice = documents::open(stored)?;
        let (from, until) = invoice.span.buckets();
        let is_own = |one: &Corrected| names.customers.get(&one.customer).is_some_and(|own| own == name);
        if ledger.corrected(from, until)?.iter().any(is_own) {
            found.push((name.to_owned(), Pin::billed(&invoice)));
        }
    }
    Ok(found)
}

fn is_credited(stored: &StoredInvoice) -> bool {
    stored.state == State::Credited.as_str()
}

/// The pin of a stored invoice, where it is one that stands.
///
/// # Errors
/// A document that was changed.
pub fn standing(stored: &StoredInvoice) -> Result<Option<Pin>, documents::Error> {
    if stored.state != State::Final.as_str() {
        return Ok(None);
    }
    let invoice = documents::open(stored)?;
    Ok(invoice.issuance.credits.is_none().then(|| Pin::billed(&invoice)))
}
