//! Periods that do not begin where the one before ends: their customers get no invoice, since usage between the two would be
//! billed never or twice.

use std::collections::{HashMap, HashSet};

use crate::ids::CustomerId;
use crate::invoice::kinds::LinkKinds;
use crate::invoice::plan::{Seam, seam};
use crate::invoice::run::{Inputs, Outcome, Problem, Reason};
use crate::ledger::Ledger;
use crate::ledger::records::books::DecisionKind;
use crate::ledger::records::{NameKind, UsageFilter};
use crate::period::Period;
use crate::rate::tariff::Tariff;
use crate::usage::BucketStart;

/// Takes the drafts of such customers out of `outcome`, with the reason. Hours that lie between two time zones are let pass
/// where nothing was used in them; days are not, which recurring charges count too. A seam that somebody accepted, exactly
/// as it is, is let pass.
///
/// # Errors
/// What the ledger says.
pub fn refuse(ledger: &mut Ledger, inputs: &Inputs<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let Some(before) = inputs.period.preceding() else { return Ok(()) };
    let sealed = sealed(ledger, before)?;
    let accepted: HashSet<(u32, BucketStart, BucketStart)> = all_accepted(ledger)?.collect();
    let ids: HashMap<&str, u32> =
        inputs.names.customers.iter().map(|(&id, name)| (name.as_str(), id)).collect();
    for rule in
        inputs.network.customers.iter().filter(|rule| inputs.customer.is_none_or(|only| only == rule.name))
    {
        let name = &rule.name;
        let id = ids.get(name.as_str()).copied();
        let ended = id.and_then(|id| sealed.get(&id)).copied();
        let Some(seam) = seam(inputs.kinds, inputs.tariffs, name, inputs.period, ended) else { continue };
        if id.is_some_and(|id| accepted.contains(&(id, seam.ends, seam.begins))) {
            continue;
        }
        let draft = outcome.invoices.iter().position(|invoice| invoice.customer.name == *name);
        let has_usage = match id {
            Some(id) => used_between(ledger, id, &seam)?,
            None => false,
        };
        if !has_usage && (draft.is_none() || seam.is_of_hours) {
            continue;
        }
        if let Some(at) = draft {
            outcome.invoices.remove(at);
        }
        if !outcome.problems.iter().any(|problem| problem.customer == *name) {
            outcome.problems.push(Problem { customer: name.clone(), reason: Reason::Seam(seam) });
        }
    }
    outcome.problems.sort_by(|a, b| a.customer.cmp(&b.customer));
    Ok(())
}

/// All seams that were accepted: the customer, where the period before ended, and where the one after begins.
fn all_accepted(
    ledger: &mut Ledger,
) -> Result<impl Iterator<Item = (u32, BucketStart, BucketStart)>, crate::ledger::Error> {
    let (decisions, _) = ledger.decisions()?;
    let seams = decisions.into_iter().filter(|decision| decision.kind == DecisionKind::Seam);
    Ok(seams.map(|decision| (decision.customer, decision.earlier, decision.bucket)))
}

/// The seams of a customer that were accepted: from where to where.
///
/// # Errors
/// What the ledger says.
pub fn accepted(
    ledger: &mut Ledger,
    customer: u32,
) -> Result<Vec<(BucketStart, BucketStart)>, crate::ledger::Error> {
    let own = all_accepted(ledger)?.filter(|(number, ..)| *number == customer);
    Ok(own.map(|(_, ends, begins)| (ends, begins)).collect())
}

/// Up to where a period was sealed, by customer. What was closed without a tariff is the month in UTC, and was billed to
/// nobody.
fn sealed(ledger: &mut Ledger, period: Period) -> Result<HashMap<u32, BucketStart>, crate::ledger::Error> {
    let closures = ledger.closures(Some(&period.to_string()))?.into_iter();
    let with_tariff = closures.filter(|(_, closure)| !closure.tariff.is_empty());
    Ok(with_tariff.map(|(_, closure)| (closure.customer, closure.until)).collect())
}

/// The seam before a customer's period, and the customer's number; `None` where there is none.
///
/// # Errors
/// What the ledger says.
pub fn of(
    ledger: &mut Ledger,
    (kinds, tariffs): (&LinkKinds, &[Tariff]),
    customer: &str,
    period: Period,
) -> anyhow::Result<Option<(u32, Seam)>> {
    let Some(before) = period.preceding() else { return Ok(None) };
    let number = ledger.intern(NameKind::Customer, &[customer])?[0];
    let ended = sealed(ledger, before)?.get(&number).copied();
    Ok(seam(kinds, tariffs, customer, period, ended).map(|seam| (number, seam)))
}

/// True where the customer used anything in the seam.
fn used_between(ledger: &mut Ledger, customer: u32, seam: &Seam) -> anyhow::Result<bool> {
    let (from, to) = (seam.ends.min(seam.begins), seam.ends.max(seam.begins));
    let filter = UsageFilter { from: Some(from), to: Some(to), customer: Some(CustomerId(customer)) };
    let mut is_used = false;
    ledger.for_each_usage(&filter, &mut |_| is_used = true)?;
    Ok(is_used)
}
