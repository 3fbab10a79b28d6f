//! Tiers: which part of a volume lies in which tier.
//!
//! A tier covers what lies above the end of the tier before it, up to its own end and this included. As quantities
//! are exact, no volume falls between two tiers and none is in two.

use super::tariff::{Tier, TierMode};
use crate::money::Exact;

/// The part of a volume that one tier prices.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// The tier's position.
    pub tier: usize,
    /// Where it begins, in units.
    pub from: Exact,
    /// Where it ends.
    pub up_to: Option<Exact>,
    /// Units in it.
    pub quantity: Exact,
}

/// Cuts `volume` (in units) by `tiers`, whose ends are scaled by `share`. Tiers that it does not reach are left out,
/// but there is always one.
#[must_use]
pub fn slices(volume: &Exact, mode: TierMode, tiers: &[Tier], share: &Exact) -> Vec<Slice> {
    let end = |tier: &Tier| tier.up_to.map(|up_to| Exact::from(up_to).times(share));
    if mode == TierMode::Volume {
        return reached(volume, tiers, end).into_iter().collect();
    }
    let mut slices = Vec::new();
    let mut from = Exact::zero();
    for (at, tier) in tiers.iter().enumerate() {
        let above = volume.minus(&from);
        if !above.is_positive() && !slices.is_empty() {
            break;
        }
        let up_to = end(tier);
        let quantity = match &up_to {
            Some(up_to) => above.least(up_to.minus(&from)),
            None => above,
        };
        let next = up_to.clone();
        slices.push(Slice { tier: at, from: from.clone(), up_to, quantity });
        match next {
            Some(up_to) => from = up_to,
            None => break,
        }
    }
    slices
}

/// All of the volume in the tier that it reaches.
fn reached(volume: &Exact, tiers: &[Tier], end: impl Fn(&Tier) -> Option<Exact>) -> Option<Slice> {
    let tier = tiers
        .iter()
        .position(|tier| end(tier).is_none_or(|up_to| *volume <= up_to))
        .or_else(|| tiers.len().checked_sub(1))?;
    let from = tier.checked_sub(1).and_then(|before| end(&tiers[before])).unwrap_or_else(Exact::zero);
    Some(Slice { tier, from, up_to: end(&tiers[tier]), quantity: volume.clone() })
}
