//! A rated charge: what becomes a line of an invoice, with everything that a person needs to work it out again.

use rust_decimal::Decimal;

use super::saying::{self, Piece};
use super::working::{How, Working};
use super::{Error, Part};
use crate::money::{Exact, Money};
use crate::period::Span;

/// A rated charge.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// The id of the tariff's charge, discount or credit; [`super::MINIMUM`] for the line that the minimum makes.
    pub charge: String,
    /// What it is, in words: the English of `said`.
    pub description: String,
    /// What it says, piece by piece.
    pub said: Vec<Piece>,
    /// How much, in units; exact. Negative where something is taken off.
    pub quantity: Exact,
    /// The unit.
    pub unit: String,
    /// The price of a unit; never negative.
    pub price: Decimal,
    /// Quantity times price, rounded once.
    pub amount: Money,
    /// Standard error over estimate of the whole volume that the charge is about, in millionths; the lines of its
    /// tiers share it. 0 where nothing was sampled.
    pub relative_error: u128,
    /// What of the charge it is.
    pub kind: LineKind,
    /// How the whole volume of the charge was estimated; `None` where nothing was sampled.
    pub estimate: Option<Estimate>,
    /// How the whole volume of the charge was calibrated; `None` where the tariff does not ask for it.
    pub calibration: Option<Calibration>,
    /// The band, where the price is by band.
    pub band: Option<String>,
    /// The position of the tier, from 0.
    pub tier: Option<usize>,
    /// The part of the period that it is about: its position among them.
    pub part: usize,
    /// What the part covers.
    pub span: Span,
    /// The line of the tariff file where the clause begins, from 1; 0 where it has none.
    pub clause: usize,
    /// Names of the tariff classes whose usage it covers.
    pub classes: Vec<String>,
    /// Which directions of it, in the words of tariffs; empty where it is not about usage.
    pub direction: &'static str,
    /// Share of the samples of a percentile that were there, in millionths.
    pub coverage: Option<u128>,
    /// How its quantity and price came about; what follows is their product ([`Charge::steps`]).
    pub working: Working,
}

/// What of a charge a line is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LineKind {
    /// Volume in a tier.
    Volume,
    /// What of the volume is included.
    Allowance,
    /// What of it is paid by what was left in the period before.
    Rollover,
    /// The fee of a tier.
    Fee,
    /// What goes beyond the cap, taken off.
    Cap,
    /// A rate that is paid whether or not it was used.
    Commit,
    /// A percentile, or what of it is above the commit.
    Percentile,
    /// Once a period.
    Recurring,
    /// Once.
    OneOff,
    /// Taken off.
    Discount,
    /// What lifts the sum to the minimum.
    Minimum,
    /// Given back.
    Credit,
}

impl LineKind {
    /// Its name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Allowance => "allowance",
            Self::Rollover => "rollover",
            Self::Fee => "fee",
            Self::Cap => "cap",
            Self::Commit => "commit",
            Self::Percentile => "percentile",
            Self::Recurring => "recurring",
            Self::OneOff => "one-off",
            Self::Discount => "discount",
            Self::Minimum => "minimum",
            Self::Credit => "credit",
        }
    }
}

/// How a volume was estimated from samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate, in units.
    pub estimate: Exact,
    /// Its standard error by the upper bound of the variance, in units; rounded down to the octet.
    pub standard_error: Exact,
    /// What is billed, in units, before allowances.
    pub billed: Exact,
    /// Which of the two it is.
    pub basis: Basis,
}

/// How a volume was calibrated by interface counters.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// How far flows and interfaces may be apart, as a share.
    pub max_difference: Decimal,
    /// Intervals (five minutes of a link in a direction) in which the charge had usage.
    pub intervals: u64,
    /// Of those, intervals whose interface total was shared out.
    pub shared: u64,
    /// The volume by flows alone, in units ...
    pub flows: Exact,
    /// ... which are these.
    pub unit: &'static str,
    /// Part of it in intervals that were shared out, in millionths, rounded down.
    pub share: u128,
}

/// What of an estimate is billed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Basis {
    /// The estimate.
    Estimate,
    /// Its lower bound.
    LowerBound,
    /// The volume below which the charge does not depend on usage.
    Insensitive,
}

impl Basis {
    /// Its name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Estimate => "estimate",
            Self::LowerBound => "lower-bound",
            Self::Insensitive => "insensitive",
        }
    }
}

impl Charge {
    /// A line of `quantity` times `price`, rounded once. What else it says is set afterwards.
    ///
    /// # Errors
    /// An amount beyond 64 bits of minor units.
    pub(super) fn new(
        part: &Part<'_>,
        kind: LineKind,
        id: &str,
        (quantity, price): (Exact, Decimal),
    ) -> Result<Self, Error> {
        let amount = Money::round(&product(&quantity, price), part.tariff.currency)
            .map_err(|source| Error::amount(part.tariff, id, source))?;
        Ok(Self {
            charge: id.to_owned(),
            description: id.to_owned(),
            said: vec![Piece::Own(id.to_owned())],
            quantity,
            unit: "period".to_owned(),
            price,
            amount,
            relative_error: 0,
            kind,
            estimate: None,
            calibration: None,
            band: None,
            tier: None,
            part: part.term.number,
            span: part.term.span,
            clause: 0,
            classes: Vec::new(),
            direction: "",
            coverage: None,
            working: Working::default(),
        })
    }

    /// Says what it is.
    pub(super) fn says(&mut self, said: Vec<Piece>) {
        self.description = saying::english(&said);
        self.said = said;
    }

    /// All of the working, up to the amount.
    #[must_use]
    pub fn steps(&self) -> Working {
        let mut working = self.working.clone();
        let factors = vec![self.quantity.clone(), Exact::from(self.price)];
        let unit = self.amount.currency().code();
        let exact = working.step("quantity times price", How::Times(factors), unit);
        working.money("amount", exact, self.amount);
        working
    }

    /// A line of so many amounts.
    pub(super) fn of_amount(
        part: &Part<'_>,
        kind: LineKind,
        id: &str,
        (quantity, amount): (Exact, Money),
    ) -> Result<Self, Error> {
        let minor = i128::from(amount.minor());
        let price = Decimal::from_i128_with_scale(minor, amount.currency().exponent().into());
        Self::new(part, kind, id, (quantity, price))
    }
}

fn product(quantity: &Exact, price: Decimal) -> Exact {
    quantity.times(&Exact::from(price))
}
