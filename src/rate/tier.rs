//! Graduated tiers: which part of a volume lies in which tier.
//!
//! A tier covers what lies above the end of the tier before it, up to its own end and this included. As quantities
//! are exact, no volume falls between two tiers and none is in two.

use rust_decimal::Decimal;

use super::tariff::Tier;
use crate::money::Exact;

/// The part of a volume that one tier prices.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// Where the tier begins, in units.
    pub from: Decimal,
    /// Where it ends.
    pub up_to: Option<Decimal>,
    /// Units in it.
    pub quantity: Exact,
    /// The price of a unit.
    pub price: Decimal,
}

/// Cuts `volume` (in units) by `tiers`. Tiers that it does not reach are left out, but the first is always there.
#[must_use]
pub fn slices(volume: &Exact, tiers: &[Tier]) -> Vec<Slice> {
    let mut slices = Vec::new();
    let mut from = Decimal::ZERO;
    for tier in tiers {
        let begin = Exact::from(from);
        let above = volume.minus(&begin);
        if !above.is_positive() && !slices.is_empty() {
            break;
        }
        let quantity = match tier.up_to {
            Some(up_to) => above.least(Exact::from(up_to).minus(&begin)),
            None => above,
        };
        slices.push(Slice { from, up_to: tier.up_to, quantity, price: tier.price });
        match tier.up_to {
            Some(up_to) => from = up_to,
            None => break,
        }
    }
    slices
}
