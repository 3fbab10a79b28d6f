//! Where a customer stands with its allowances before the period is over: what is used of them, which of the tariff's
//! alerts that has reached, and what it comes to at the period's end if it goes on as it did.

use rust_decimal::Decimal;

use super::tariff::ChargeKind;
use super::volume::{Granted, granted, included, measure};
use super::{Error, Part};
use crate::money::Exact;
use crate::units::UnixMillis;

/// Where a customer stands with one allowance.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The charge's id.
    pub charge: String,
    /// The part of the period, from 0.
    pub part: usize,
    /// The unit of the volumes.
    pub unit: &'static str,
    /// What is included in the part, with what is left from the period before.
    pub included: Exact,
    /// What was used of it, and beyond it; as it would be billed.
    pub used: Exact,
    /// The greatest of the charge's alerts that is reached, in percent of what is included.
    pub alert: Option<Decimal>,
    /// What will have been used at the part's end, in proportion to time; `None` before it has begun.
    pub projected: Option<Exact>,
}

impl Standing {
    /// What is used, in percent of what is included, rounded down; `None` where nothing is included.
    #[must_use]
    pub fn percent(&self) -> Option<u64> {
        self.percent_of(&self.used)
    }

    /// What it comes to at the part's end, in percent of what is included, rounded down.
    #[must_use]
    pub fn projected_percent(&self) -> Option<u64> {
        self.percent_of(self.projected.as_ref()?)
    }

    fn percent_of(&self, volume: &Exact) -> Option<u64> {
        let percent = volume.times(&Exact::whole(100)).divided_by(&self.included)?;
        u64::try_from(percent.rounded_down()).ok()
    }
}

/// The standings of a period's charges with an allowance, at an instant up to which usage is known, of those parts that
/// have begun by then.
///
/// # Errors
/// [`Error::TooUncertain`].
pub fn of_period(parts: &[Part<'_>], until: UnixMillis) -> Result<Vec<Standing>, Error> {
    let mut found = Vec::new();
    for (part, granted) in parts.iter().zip(&granted(parts)?) {
        if part.term.span.from <= until {
            found.extend(of_part(part, granted, until)?);
        }
    }
    Ok(found)
}

/// The standings of a part that is all there is of its period.
///
/// # Errors
/// [`Error::TooUncertain`].
pub fn standings(part: &Part<'_>, until: UnixMillis) -> Result<Vec<Standing>, Error> {
    let granted = granted(core::slice::from_ref(part))?.into_iter().next().unwrap_or_default();
    of_part(part, &granted, until)
}

fn of_part(part: &Part<'_>, granted: &Granted, until: UnixMillis) -> Result<Vec<Standing>, Error> {
    let span = part.term.span;
    let (whole, elapsed) = (span.to.since(span.from), until.min(span.to).since(span.from));
    let mut standings = Vec::new();
    for rule in &part.tariff.charges {
        let ChargeKind::Volume(volume) = &rule.kind else { continue };
        if volume.allowance.is_none() {
            continue;
        }
        let measured = measure(part.tariff, rule, volume, part.usage);
        let used = super::volume::billed_units(part, rule, volume, &measured)?;
        let included = included(part, rule, volume, granted);
        let reached = |percent: &&Decimal| {
            let threshold = included.times(&Exact::from(**percent)).over(100);
            used >= threshold
        };
        standings.push(Standing {
            charge: rule.id.clone(),
            part: part.term.number,
            unit: part.tariff.unit.as_str(),
            alert: volume.alerts.iter().rev().find(reached).copied(),
            projected: (elapsed > 0).then(|| used.times(&Exact::whole(whole)).over(elapsed)),
            included,
            used,
        });
    }
    Ok(standings)
}
