//! An invoice run: the drafts of one period for all customers, or for one.
//!
//! Every customer with a tariff gets an invoice if it used anything in its period, or if the tariff charges
//! something regardless of usage and it was a customer at any time of the period. What keeps a customer with usage from
//! being invoiced is a [`Problem`] and never silence.
//!
//! A period is rated in parts where the customer's tariff or its version changes inside ([`super::plan`]).
//!
//! The dates of a customer are midnights in UTC where flows are attributed. For what is charged regardless of usage
//! they are days of the tariff's zone: a customer up to the first of November owes nothing of the kind for November,
//! also where November began an hour before that midnight, and if it used something in that hour, only the volume.
//!
//! The run reads usage once for all customers, over the span from the earliest to the latest of their periods
//! (tariffs may differ in zone and anchor day; one whose allowance rolls over needs the period before, too), and gives
//! the same invoices whenever it is repeated.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::collect::{
    Collected, Collector, Names, OutOfOrder, counted_series, push_samples, root_with_intervals,
    root_with_samples,
};
use super::kinds::LinkKinds;
use super::plan::{Planned, Seam, plan};
use super::{Invoice, Party, Seller, draft_of_parts};
use crate::classify::rules::Network;
use crate::diagnostic;
use crate::ids::CustomerId;
use crate::ledger::records::UsageFilter;
use crate::money::Exact;
use crate::period::Period;
use crate::rate::standing::{self, Standing};
use crate::rate::tariff::Tariff;
use crate::rate::usage::PeriodUsage;
use crate::rate::{self, Part, version};
use crate::units::UnixMillis;
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
    /// Usage that came late and is to count in its own time, in any order; whoever's it is.
    pub late: &'a [UsageRow],
}

/// What came of it; both by customer's name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Drafts.
    pub invoices: Vec<Invoice>,
    /// Customers that could not be invoiced.
    pub problems: Vec<Problem>,
    /// The exporters that saw the usage of those who were, by customer.
    pub seen_by: BTreeMap<String, BTreeSet<String>>,
}

/// A customer that could not be invoiced. In words it has all that is behind the reason, too.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("customer `{customer}`: {}", .reason.in_full())]
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
    /// Its period does not begin where the one before ends.
    #[error(transparent)]
    Seam(#[from] Seam),
    /// An amount has no room.
    #[error(transparent)]
    Rating(#[from] rate::Error),
}

impl Reason {
    /// The reason, and the errors behind it.
    #[must_use]
    pub fn in_full(&self) -> String {
        diagnostic::with_causes(self)
    }
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

/// Makes the drafts. `read` gives the rows of a filter, by bucket (the order of the ledger's primary key).
///
/// # Errors
/// [`Error`]; what concerns one customer is in the outcome instead.
pub fn run<E: core::error::Error + 'static>(
    inputs: &Inputs<'_>,
    read: impl FnOnce(&UsageFilter, &mut dyn FnMut(UsageRow)) -> Result<(), E>,
) -> Result<Outcome, Error<E>> {
    let (plan, mut collected) = gather(inputs, read)?;
    let mut outcome = Outcome::default();
    for (name, planned) in &plan {
        let used = planned.id.and_then(|id| collected.remove(&id));
        let used = with_counters(used.unwrap_or_else(|| nothing(planned)), planned, inputs.kinds);
        let keys = used.slots.iter().skip(planned.before.len()).flat_map(|usage| usage.groups.keys());
        let seen_by: BTreeSet<String> = keys.map(|key| key.exporter.clone()).collect();
        match invoice(inputs, name, planned, used) {
            Ok(None) => {}
            Ok(Some(invoice)) => {
                outcome.seen_by.insert((*name).to_owned(), seen_by);
                outcome.invoices.push(invoice);
            }
            Err(reason) => outcome.problems.push(Problem { customer: (*name).to_owned(), reason }),
        }
    }
    Ok(outcome)
}

/// What is planned for all customers, and what they used.
type Gathered<'a> = (BTreeMap<&'a str, Planned<'a>>, HashMap<CustomerId, Collected>);

/// Reads the usage of all customers of a run.
fn gather<'a, E: core::error::Error + 'static>(
    inputs: &Inputs<'a>,
    read: impl FnOnce(&UsageFilter, &mut dyn FnMut(UsageRow)) -> Result<(), E>,
) -> Result<Gathered<'a>, Error<E>> {
    let plan = plan(inputs);
    if let Some(name) = inputs.customer
        && !plan.contains_key(name)
    {
        return Err(Error::UnknownCustomer(name.to_owned()));
    }
    let mut collector = Collector::new(inputs.kinds);
    for planned in plan.values() {
        if let Some(id) = planned.id {
            collector.expect_slots(id, planned.slots());
        }
    }
    if let Some((from, to)) = collector.range() {
        let customer = inputs.customer.and_then(|name| plan.get(name)?.id);
        let filter = UsageFilter { from: Some(from), to: Some(to), customer };
        let mut late: Vec<&UsageRow> =
            inputs.late.iter().filter(|row| from <= row.key.bucket && row.key.bucket < to).collect();
        late.sort_by_key(|row| row.key);
        let mut late = late.into_iter().peekable();
        let mut order = Ok(());
        read(&filter, &mut |row| {
            while let Some(earlier) = late.next_if(|late| late.key.bucket < row.key.bucket) {
                order = order.and_then(|()| collector.add_late(earlier, inputs.names));
            }
            if order.is_ok() {
                order = collector.add(&row, inputs.names);
            }
        })
        .map_err(Error::Usage)?;
        for row in late {
            order = order.and_then(|()| collector.add_late(row, inputs.names));
        }
        order?;
    }
    let collected = collector.finish(inputs.names, inputs.kinds);
    Ok((plan, collected))
}

/// Rates the period of one customer (`inputs.customer`) and hands its parts, with what was used in them, and the root of
/// its usage to `each`: to look behind the lines of its invoice. `None` where it has no tariff.
///
/// # Errors
/// [`Error`]; inside, why it cannot be rated.
pub fn rated<E: core::error::Error + 'static, T>(
    inputs: &Inputs<'_>,
    read: impl FnOnce(&UsageFilter, &mut dyn FnMut(UsageRow)) -> Result<(), E>,
    each: impl FnOnce(&[Part<'_>], &str) -> Result<T, rate::Error>,
) -> Result<Result<Option<T>, Reason>, Error<E>> {
    let (plan, mut collected) = gather(inputs, read)?;
    let Some(planned) = inputs.customer.and_then(|name| plan.get(name)) else { return Ok(Ok(None)) };
    match &planned.tariff {
        None => return Ok(Ok(None)),
        Some(Err(error)) => return Ok(Err(error.clone().into())),
        Some(Ok(())) => {}
    }
    let used = planned.id.and_then(|id| collected.remove(&id)).unwrap_or_else(|| nothing(planned));
    let used = with_counters(used, planned, inputs.kinds);
    let root = used.root;
    let made = own_usage(planned, used.slots).and_then(|own| each(&planned.rated_parts(&own), &root));
    Ok(made.map(Some).map_err(Reason::from))
}

/// Where the customers stand with their allowances at an instant up to which usage is known: the parts of the period
/// that have begun by then, by customer. Those that cannot be rated are left out.
///
/// # Errors
/// [`Error`].
pub fn standings<E: core::error::Error + 'static>(
    inputs: &Inputs<'_>,
    until: UnixMillis,
    read: impl FnOnce(&UsageFilter, &mut dyn FnMut(UsageRow)) -> Result<(), E>,
) -> Result<Vec<(String, Standing)>, Error<E>> {
    let (plan, mut collected) = gather(inputs, read)?;
    let mut found = Vec::new();
    for (name, planned) in &plan {
        let used = planned.id.and_then(|id| collected.remove(&id)).unwrap_or_else(|| nothing(planned));
        let used = with_counters(used, planned, inputs.kinds);
        let Ok(own) = own_usage(planned, used.slots) else { continue };
        let standings = standing::of_period(&planned.rated_parts(&own), until).unwrap_or_default();
        found.extend(standings.into_iter().map(|standing| ((*name).to_owned(), standing)));
    }
    Ok(found)
}

/// The usage of the parts of the period, with what is left of the period before.
fn own_usage(planned: &Planned<'_>, mut slots: Vec<PeriodUsage>) -> Result<Vec<PeriodUsage>, rate::Error> {
    let mut own = slots.split_off(planned.before.len());
    if let Some(first) = own.first_mut().filter(|_| !planned.before.is_empty()) {
        first.carried = rate::left_over(&planned.before_parts(&slots))?;
        // A new version may count in another unit.
        if let Some((before, after)) = planned.units().filter(|(before, after)| before != after) {
            for left in first.carried.values_mut() {
                *left = after.of_octets(&left.times(&Exact::whole(before.octets())));
            }
        }
    }
    Ok(own)
}

/// The usage of a customer that never had any.
fn nothing(planned: &Planned<'_>) -> Collected {
    Collected {
        slots: planned.slots().iter().map(|_| PeriodUsage::default()).collect(),
        root: rate::parse::sha256_hex(b""),
        intervals: None,
        unknown_links: BTreeSet::new(),
    }
}

/// With what the interfaces of links counted, where a tariff asks for that: the samples, and the root over rows and samples.
fn with_counters(mut used: Collected, planned: &Planned<'_>, kinds: &LinkKinds) -> Collected {
    let slots = planned.slots();
    let end = slots.iter().filter(|slot| !slot.is_before).map(|slot| slot.to.0).max().unwrap_or_default();
    let mut samples = String::new();
    for (slot, usage) in slots.iter().zip(&mut used.slots) {
        let counted = counted_series(slot, kinds, UnixMillis::from_seconds(end));
        counted.iter().for_each(|series| push_samples(&mut samples, slot.from, series));
        usage.series.extend(counted);
    }
    used.root = root_with_intervals(root_with_samples(used.root, &samples), used.intervals.as_ref());
    used
}

/// The customer's draft; `None` where there is nothing to bill.
fn invoice(
    inputs: &Inputs<'_>,
    name: &str,
    planned: &Planned<'_>,
    used: Collected,
) -> Result<Option<Invoice>, Reason> {
    let is_empty = used.slots.iter().skip(planned.before.len()).all(PeriodUsage::is_empty);
    let Some(rule) = planned.rule else {
        return if is_empty { Ok(None) } else { Err(Reason::NotConfigured { octets: used.octets() }) };
    };
    match &planned.tariff {
        None if is_empty => return Ok(None),
        None => return Err(Reason::NoTariff { octets: used.octets() }),
        // Before its tariff began, a customer without usage owes nothing.
        Some(Err(version::Error::TooEarly { .. })) if is_empty => return Ok(None),
        Some(Err(_)) if is_empty && !planned.is_present => return Ok(None),
        Some(Err(error)) => return Err(Reason::Tariff(error.clone())),
        Some(Ok(())) => {}
    }
    if !used.unknown_links.is_empty() {
        return Err(Reason::UnknownLinks { links: used.unknown_links });
    }
    let own = own_usage(planned, used.slots)?;
    let parts: Vec<Part<'_>> = planned.rated_parts(&own);
    if parts.is_empty() {
        return Ok(None);
    }
    let party = Party { name: name.to_owned(), address: rule.address.clone() };
    let draft = draft_of_parts(party, inputs.seller.cloned(), inputs.period, &parts, used.root)?;
    let owes_nothing = draft.lines.iter().all(|line| line.amount.minor() == 0);
    Ok((!is_empty || !owes_nothing).then_some(draft))
}
