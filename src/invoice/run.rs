//! An invoice run: the drafts of one period for all customers, or for one.
//!
//! Every customer with a tariff gets an invoice if it used anything in its period, or if the tariff charges
//! something regardless of usage and it was a customer at any time of the period. A period is not prorated. What
//! keeps a customer with usage from being invoiced is a [`Problem`] and never silence.
//!
//! The dates of a customer are midnights in UTC where flows are attributed. For what is charged regardless of usage
//! they are days of the tariff's zone: a customer up to the first of November owes nothing of the kind for November,
//! also where November began an hour before that midnight, and if it used something in that hour, only the volume.
//!
//! The run reads usage once for all customers, over the span from the earliest to the latest of their periods
//! (tariffs may differ in zone and anchor day), and gives the same invoices whenever it is repeated.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::collect::{Collected, Collector, Names, OutOfOrder};
use super::kinds::LinkKinds;
use super::{Invoice, Party, Seller, draft};
use crate::classify::rules::{CustomerRule, Network, Validity};
use crate::ids::CustomerId;
use crate::ledger::records::UsageFilter;
use crate::period::{AnchorDay, Period, Span, Zone, utc_date};
use crate::rate::tariff::Tariff;
use crate::rate::{self, version};
use crate::usage::UsageRow;

/// What a run starts from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The configuration: who is a customer.
    pub network: &'a Network,
    /// What kind a link was of.
    pub kinds: &'a LinkKinds,
    /// All active tariff versions.
    pub tariffs: &'a [Tariff],
    /// The ledger's names.
    pub names: &'a Names,
    /// Who sends the invoices.
    pub seller: Option<&'a Seller>,
    /// The period.
    pub period: Period,
    /// Only this customer.
    pub customer: Option<&'a str>,
}

/// What came of it; both by customer's name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Drafts.
    pub invoices: Vec<Invoice>,
    /// Customers that could not be invoiced.
    pub problems: Vec<Problem>,
}

/// A customer that could not be invoiced.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("customer `{customer}`: {reason}")]
pub struct Problem {
    /// The customer's name.
    pub customer: String,
    /// Why.
    pub reason: Reason,
}

/// Why a customer could not be invoiced.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reason {
    /// It has usage, and no tariff.
    #[error("has usage of {octets} octets and no tariff")]
    NoTariff {
        /// Its usage in the UTC month, rounded half up.
        octets: i128,
    },
    /// The ledger has usage of it, and the configuration does not know it.
    #[error("has usage of {octets} octets and is not in the configuration")]
    NotConfigured {
        /// Its usage in the UTC month, rounded half up.
        octets: i128,
    },
    /// It has traffic over links that no configuration version knows, which therefore has no price.
    #[error("has traffic over {}, which no configuration version knows", quoted(.links))]
    UnknownLinks {
        /// Their names.
        links: BTreeSet<String>,
    },
    /// No version of its tariff holds for the period.
    #[error(transparent)]
    Tariff(#[from] version::Error),
    /// An amount has no room.
    #[error(transparent)]
    Rating(#[from] rate::Error),
}

fn quoted(names: &BTreeSet<String>) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Why a run was given up.
#[derive(Debug, thiserror::Error)]
pub enum Error<E: core::error::Error + 'static> {
    /// The customer that was asked for is unknown.
    #[error("there is no customer `{0}`, neither in the configuration nor in the ledger")]
    UnknownCustomer(String),
    /// Usage could not be read.
    #[error("usage could not be read")]
    Usage(#[source] E),
    /// It came in a wrong order.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

/// What is planned for a customer.
struct Planned<'a> {
    id: Option<CustomerId>,
    /// `None`: the configuration does not know it.
    rule: Option<&'a CustomerRule>,
    /// `None`: it has no tariff.
    tariff: Option<Result<(&'a Tariff, Span), version::Error>>,
    /// What is read of its usage.
    span: Span,
}

/// Makes the drafts. `read` gives the rows of a filter, by bucket (the order of the ledger's primary key).
///
/// # Errors
/// [`Error`]; what concerns one customer is in the outcome instead.
pub fn run<E: core::error::Error + 'static>(
    inputs: &Inputs<'_>,
    read: impl FnOnce(&UsageFilter, &mut dyn FnMut(UsageRow)) -> Result<(), E>,
) -> Result<Outcome, Error<E>> {
    let plan = plan(inputs);
    if let Some(name) = inputs.customer
        && !plan.contains_key(name)
    {
        return Err(Error::UnknownCustomer(name.to_owned()));
    }
    let mut collector = Collector::default();
    for planned in plan.values() {
        if let Some(id) = planned.id {
            let (from, to) = planned.span.buckets();
            collector.expect(id, from, to);
        }
    }
    if let Some((from, to)) = collector.range() {
        let customer = inputs.customer.and_then(|name| plan.get(name)?.id);
        let filter = UsageFilter { from: Some(from), to: Some(to), customer };
        let mut order = Ok(());
        read(&filter, &mut |row| {
            if order.is_ok() {
                order = collector.add(&row, inputs.names);
            }
        })
        .map_err(Error::Usage)?;
        order?;
    }
    let mut collected = collector.finish(inputs.names, inputs.kinds);
    let mut outcome = Outcome::default();
    for (name, planned) in &plan {
        let used = planned.id.and_then(|id| collected.remove(&id));
        match invoice(inputs, name, planned, used) {
            Ok(None) => {}
            Ok(Some(invoice)) => outcome.invoices.push(invoice),
            Err(reason) => outcome.problems.push(Problem { customer: (*name).to_owned(), reason }),
        }
    }
    Ok(outcome)
}

/// The customers of the configuration, and those that only the ledger knows, by name.
fn plan<'a>(inputs: &Inputs<'a>) -> BTreeMap<&'a str, Planned<'a>> {
    let utc = Zone::named("UTC").expect("UTC is in every database");
    // Usage that belongs to no tariff is looked for in the UTC month.
    let month = inputs.period.span(&utc, AnchorDay::FIRST);
    let wanted = |name: &str| inputs.customer.is_none_or(|only| only == name);
    let ids: BTreeMap<&str, CustomerId> =
        inputs.names.customers.iter().map(|(&id, name)| (name.as_str(), CustomerId(id))).collect();
    let mut plan = BTreeMap::new();
    for rule in inputs.network.customers.iter().filter(|rule| wanted(&rule.name)) {
        let tariff = rule.tariff.as_deref().map(|id| version::applicable(inputs.tariffs, id, inputs.period));
        let span = match &tariff {
            Some(Ok((_, span))) => *span,
            _ => month,
        };
        let id = ids.get(rule.name.as_str()).copied();
        plan.insert(rule.name.as_str(), Planned { id, rule: Some(rule), tariff, span });
    }
    let known: HashSet<&str> = inputs.network.customers.iter().map(|rule| rule.name.as_str()).collect();
    for (&name, &id) in
        ids.iter().filter(|&(name, id)| wanted(name) && !known.contains(name) && *id >= CustomerId::FIRST)
    {
        plan.insert(name, Planned { id: Some(id), rule: None, tariff: None, span: month });
    }
    plan
}

/// The customer's draft; `None` where there is nothing to bill.
fn invoice(
    inputs: &Inputs<'_>,
    name: &str,
    planned: &Planned<'_>,
    used: Option<Collected>,
) -> Result<Option<Invoice>, Reason> {
    // A customer without a number in the ledger has never had usage.
    let Collected { usage, root, unknown_links } = used.unwrap_or_else(|| Collected {
        usage: rate::usage::PeriodUsage::default(),
        root: rate::parse::sha256_hex(b""),
        unknown_links: BTreeSet::new(),
    });
    let octets = || usage.volume(|_| true).octets.rounded();
    let Some(rule) = planned.rule else {
        return if usage.is_empty() { Ok(None) } else { Err(Reason::NotConfigured { octets: octets() }) };
    };
    let present = overlaps(rule.validity, &planned.span);
    let (tariff, _) = match &planned.tariff {
        None if usage.is_empty() => return Ok(None),
        None => return Err(Reason::NoTariff { octets: octets() }),
        // Before its tariff began, a customer without usage owes nothing.
        Some(Err(version::Error::TooEarly { .. })) if usage.is_empty() => return Ok(None),
        Some(Err(_)) if usage.is_empty() && !present => return Ok(None),
        Some(Err(error)) => return Err(Reason::Tariff(error.clone())),
        Some(Ok(found)) => *found,
    };
    if !unknown_links.is_empty() {
        return Err(Reason::UnknownLinks { links: unknown_links });
    }
    if usage.is_empty() && !(present && tariff.has_recurring()) {
        return Ok(None);
    }
    let volume_only;
    let tariff = if present {
        tariff
    } else {
        volume_only = tariff.volume_only();
        &volume_only
    };
    let party = Party { name: name.to_owned(), address: rule.address.clone() };
    draft(party, inputs.seller.cloned(), inputs.period, tariff, &usage, root)
        .map(Some)
        .map_err(Reason::Rating)
}

/// True where a customer is one at any time of the span; its dates are days of the span's zone.
fn overlaps(validity: Validity, span: &Span) -> bool {
    let begins = validity.from.is_none_or(|from| match utc_date(from) {
        Some(day) => day < span.end_day,
        None => from < span.to,
    });
    let ends_later = validity.to.is_none_or(|to| match utc_date(to) {
        Some(day) => day > span.first_day,
        None => to > span.from,
    });
    begins && ends_later
}
