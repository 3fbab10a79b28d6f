//! What other tariffs would cost, on real usage: `tariff simulate` and `tariff diff --replay`. Nothing is kept.
//!
//! All usage of the period counts, also what came late. What an invoice of the period charges of former periods does not: it
//! is no matter of the tariffs that are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::billing_ledger::{count_links, link_kinds, names};
use super::tariff::{self, find, understand};
use crate::classify::rules::Network;
use crate::invoice::run::{Inputs, Outcome, Reason, run, standings};
use crate::ledger::Ledger;
use crate::ledger::records::TariffVersion;
use crate::money::Money;
use crate::period::{AnchorDay, Period, Zone};
use crate::rate::standing::Standing;
use crate::rate::tariff::Tariff;
use crate::units::UnixMillis;
use crate::usage::{BucketStart, UsageRow};

/// A tariff by file, or by `ID` or `ID@VERSION` among the active ones; what is a file, or ends in `.toml`, is one.
/// `active` gives the versions of an id, and is asked only where they are needed.
///
/// # Errors
/// As [`tariff::load`] and [`find`], or what `active` says.
pub fn named<E: From<tariff::Error>>(
    text: &str,
    active: impl FnOnce(&str) -> Result<Vec<TariffVersion>, E>,
) -> Result<Tariff, E> {
    let path = Path::new(text);
    if path.is_file() || path.extension().is_some_and(|extension| extension == "toml") {
        return Ok(tariff::load(path)?.0);
    }
    let (id, version) = match text.split_once('@') {
        None => (text, None),
        Some((id, version)) => match version.parse() {
            Ok(version) => (id, Some(version)),
            // A name with an @ is no tariff's: it is said to be unknown.
            Err(_) => (text, None),
        },
    };
    let versions = active(id)?;
    let stored = find(&versions, id, version)?;
    let understood = understand(std::slice::from_ref(stored))?.pop();
    Ok(understood.ok_or_else(|| tariff::Error::NoTariff(id.to_owned()))?)
}

/// What a customer pays by two tariffs, before tax; `None` where it could not be rated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Priced {
    /// Its name.
    pub customer: String,
    /// By the first.
    pub before: Option<Money>,
    /// By the second.
    pub after: Option<Money>,
}

/// Columns of [`rows`].
pub const COLUMNS: [&str; 5] = ["customer", "currency", "before", "after", "difference"];

/// A row a customer; empty cells for what could not be rated or not be compared.
#[must_use]
pub fn rows(priced: &[Priced]) -> Vec<[String; 5]> {
    let text = |money: Option<Money>| money.map(|money| money.to_string()).unwrap_or_default();
    let row = |one: &Priced| {
        let currency = one.after.or(one.before).map(|money| money.currency().to_string()).unwrap_or_default();
        let difference = one.after.zip(one.before).and_then(|(after, before)| after.checked_sub(before).ok());
        [one.customer.clone(), currency, text(one.before), text(one.after), text(difference)]
    };
    priced.iter().map(row).collect()
}

/// Columns of [`standing_rows`].
pub const STANDING_COLUMNS: [&str; 8] =
    ["customer", "charge", "unit", "included", "used", "percent", "alert", "projected"];

/// A row an allowance. `alert` is the greatest of the tariff's percentages that is reached.
#[must_use]
pub fn standing_rows(standings: &[(String, Standing)]) -> Vec<[String; 8]> {
    let row = |(customer, one): &(String, Standing)| {
        [
            customer.clone(),
            one.charge.clone(),
            one.unit.to_owned(),
            one.included.to_decimal_string(3),
            one.used.to_decimal_string(3),
            one.percent().map(|percent| percent.to_string()).unwrap_or_default(),
            one.alert.map(|percent| percent.to_string()).unwrap_or_default(),
            one.projected.as_ref().map(|projected| projected.to_decimal_string(3)).unwrap_or_default(),
        ]
    };
    standings.iter().map(row).collect()
}

/// What came of it, and what could not be rated, in words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Compared {
    /// By customer.
    pub priced: Vec<Priced>,
    /// Problems.
    pub problems: Vec<String>,
}

/// Where a supposition starts from.
pub struct Ground<'a> {
    /// The ledger.
    pub ledger: &'a mut Ledger,
    /// The configuration.
    pub network: &'a Network,
    /// The period.
    pub period: Period,
    /// Only this customer.
    pub customer: Option<&'a str>,
    /// The time, for a configuration that no daemon has stored yet.
    pub now: UnixMillis,
}

impl Ground<'_> {
    /// `tariff simulate`: what those who have a tariff of this id (or the one customer that was asked for) pay now, and
    /// what they would pay by this version.
    ///
    /// # Errors
    /// A stored tariff that is not understood, or what the ledger says.
    pub fn simulate(&mut self, supposed: &Tariff) -> anyhow::Result<Compared> {
        let active = understand(&self.ledger.tariff_versions(None)?)?;
        let now = self.run(&active, None)?;
        let chosen = self.having(&[&supposed.id])?;
        let then = self.supposing(supposed, &chosen)?;
        Ok(compare(&chosen, &now, &then))
    }

    /// `tariff diff --replay`: what those who have a tariff of one of the two ids would pay by each.
    ///
    /// # Errors
    /// As [`Ground::simulate`].
    pub fn replay(&mut self, before: &Tariff, after: &Tariff) -> anyhow::Result<Compared> {
        let chosen = self.having(&[&before.id, &after.id])?;
        let (first, second) = (self.supposing(before, &chosen)?, self.supposing(after, &chosen)?);
        Ok(compare(&chosen, &first, &second))
    }

    /// `tariff standing`: where customers stand with their allowances now.
    ///
    /// # Errors
    /// As [`Ground::simulate`].
    pub fn standings(&mut self) -> anyhow::Result<Vec<(String, Standing)>> {
        let active = understand(&self.ledger.tariff_versions(None)?)?;
        let (names, mut kinds) = (names(self.ledger)?, link_kinds(self.ledger, self.network, self.now)?);
        count_links(self.ledger, &mut kinds, &active, self.period)?;
        let late = self.late()?;
        let inputs = Inputs {
            network: self.network,
            kinds: &kinds,
            tariffs: &active,
            names: &names,
            seller: None,
            period: self.period,
            customer: self.customer,
            late: &late,
        };
        Ok(standings(&inputs, self.now, |filter, each| self.ledger.for_each_usage(filter, each))?)
    }

    /// The customers that have one of these tariffs in the period; the one that was asked for, whatever it has.
    fn having(&mut self, ids: &[&String]) -> anyhow::Result<BTreeSet<String>> {
        if let Some(name) = self.customer {
            return Ok(BTreeSet::from([name.to_owned()]));
        }
        let kinds = link_kinds(self.ledger, self.network, self.now)?;
        let month = self.period.span(&Zone::named("UTC")?, AnchorDay::FIRST);
        let has = |name: &str| {
            let assigned = kinds.assignments().of(name, month.to);
            assigned.iter().any(|one| ids.contains(&&one.tariff))
        };
        let names = self.network.customers.iter().map(|rule| &rule.name);
        Ok(names.filter(|name| has(name)).cloned().collect())
    }

    /// The run of the period where all of `chosen` have always had this tariff.
    fn supposing(&mut self, tariff: &Tariff, chosen: &BTreeSet<String>) -> anyhow::Result<Outcome> {
        let mut always = tariff.clone();
        always.effective = jiff::civil::date(1970, 1, 1);
        let mut network = self.network.clone();
        network.assignments.clear();
        network.customers.retain(|rule| chosen.contains(&rule.name));
        for rule in &mut network.customers {
            rule.tariff = Some(tariff.id.clone());
        }
        self.run(&[always], Some(&network))
    }

    fn run(&mut self, tariffs: &[Tariff], supposed: Option<&Network>) -> anyhow::Result<Outcome> {
        let (names, mut kinds) = (names(self.ledger)?, link_kinds(self.ledger, self.network, self.now)?);
        if let Some(network) = supposed {
            kinds = kinds.supposing(network);
        }
        count_links(self.ledger, &mut kinds, tariffs, self.period)?;
        let late = self.late()?;
        let inputs = Inputs {
            network: supposed.unwrap_or(self.network),
            kinds: &kinds,
            tariffs,
            names: &names,
            seller: None,
            period: self.period,
            customer: self.customer,
            late: &late,
        };
        Ok(run(&inputs, |filter, each| self.ledger.for_each_usage(filter, each))?)
    }

    /// All that came late: it counts where it belongs in time, so that a closed month is supposed with all that was used in
    /// it, whichever invoice it was charged with.
    fn late(&mut self) -> anyhow::Result<Vec<UsageRow>> {
        let mut rows = Vec::new();
        // A month at either end of the period has the edges of all zones and anchor days, and what rolls over.
        let utc = Zone::named("UTC")?;
        let months = [self.period.preceding().unwrap_or(self.period), self.period.following().following()];
        let [from, to] = months.map(|month| month.span(&utc, AnchorDay::FIRST).from.seconds());
        let from = from - 31 * 86_400;
        let all = (BucketStart(i64::MIN), BucketStart(i64::MAX));
        self.ledger.for_each_late_usage(all.0, all.1, &mut |_, row| {
            if (from..to + 31 * 86_400).contains(&row.key.bucket.0) {
                rows.push(row);
            }
        })?;
        Ok(rows)
    }
}

/// Net amounts of the chosen customers, side by side. Someone without an invoice pays nothing.
fn compare(chosen: &BTreeSet<String>, before: &Outcome, after: &Outcome) -> Compared {
    let nets = |outcome: &Outcome| -> BTreeMap<String, Money> {
        outcome.invoices.iter().map(|invoice| (invoice.customer.name.clone(), invoice.net)).collect()
    };
    let failed =
        |outcome: &Outcome, name: &str| outcome.problems.iter().any(|problem| problem.customer == name);
    let (first, second) = (nets(before), nets(after));
    let mut compared = Compared::default();
    for name in chosen {
        let currency = second.get(name).or_else(|| first.get(name)).map(|money| money.currency());
        let net = |of: &BTreeMap<String, Money>, outcome: &Outcome| match of.get(name) {
            Some(net) => Some(*net),
            None if failed(outcome, name) => None,
            None => currency.map(Money::zero),
        };
        let (before, after) = (net(&first, before), net(&second, after));
        if before.is_some() || after.is_some() {
            compared.priced.push(Priced { customer: name.clone(), before, after });
        }
    }
    let of_chosen =
        before.problems.iter().chain(&after.problems).filter(|problem| chosen.contains(&problem.customer));
    let words: BTreeSet<String> = of_chosen
        .filter(|problem| !matches!(problem.reason, Reason::NoTariff { .. }))
        .map(ToString::to_string)
        .collect();
    compared.problems = words.into_iter().collect();
    compared
}
