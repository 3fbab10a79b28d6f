//! Sharing the total of a link's interfaces out by what flows say of it: the ratio estimator. Flows that were sampled say
//! well who had which part of a link, and less well how much it all was; interfaces count every octet, and not whose.
//!
//! An *interval* is a link in one direction in one bucket. Of its total `T` a row of usage has `T * S / S_all`, where `S`
//! is its scaled volume and `S_all` that of all rows, whoever they belong to: other customers, nobody (`unassigned`), what
//! only passed (`through`).
//!
//! What always holds:
//!
//! - The shares are whole octets, and those of an interval add up to its total. Rounding down leaves less than an octet a
//!   row; those octets go to the rows with the greatest remainders, one each, and where remainders are equal in the order
//!   of names ([`Order`]). So a share depends on the interval and the row alone, and not on whose invoice is made: where
//!   the last of those octets went is kept with the interval, and any row can be shared out by itself.
//! - Where the total is what the flows sum to, every row keeps its own volume.
//! - Where no flow was seen there is nothing to share out, and nobody has anything.
//! - The variance of the shares of several rows together is `(T / S_all)^2 ((1 - R)^2 V + R^2 (V_all - V))`, with `R` their
//!   part of the flows: it vanishes where they are all there is. It is no sum over rows, so it is worked out for all that a
//!   charge takes.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use num_bigint::BigUint;

use super::usage::Volume;
use crate::flow::Direction;
use crate::ids::{CustomerId, LinkId};
use crate::units::SamplingRate;
use crate::usage::{BucketStart, Scaled, UsageKey};

/// Where a row stands among the others of its interval: by the names of its key, so that ledgers which numbered their names
/// differently agree.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Order {
    customer: u32,
    class: u32,
    exporter: u32,
    family: u8,
    rate: (u32, u32, u8),
    direction: u8,
    /// For a key of which the names are lost.
    numbers: (u32, u16, u16),
}

/// Names by number, as the ledger has them.
pub type Numbered<'a> = &'a [(u32, String)];

/// The ranks of names by number.
#[derive(Clone, Debug, Default)]
pub struct Ranks {
    customers: Ranked,
    classes: Ranked,
    exporters: Ranked,
}

type Ranked = HashMap<u32, u32, FixedState>;

impl Ranks {
    /// The ranks of these names.
    #[must_use]
    pub fn new(customers: Numbered<'_>, classes: Numbered<'_>, exporters: Numbered<'_>) -> Self {
        let ranks = |names: Numbered<'_>| -> Ranked {
            let mut sorted: Vec<&(u32, String)> = names.iter().collect();
            sorted.sort_by(|a, b| a.1.cmp(&b.1));
            sorted.into_iter().zip(1..).map(|((number, _), rank)| (*number, rank)).collect()
        };
        Self { customers: ranks(customers), classes: ranks(classes), exporters: ranks(exporters) }
    }

    /// Where a row of this key stands. Reserved customers are before all others.
    #[must_use]
    pub fn order(&self, key: &UsageKey) -> Order {
        let rank = |ranks: &Ranked, number: u32| ranks.get(&number).copied().unwrap_or(0);
        let is_reserved = key.customer < CustomerId::FIRST;
        Order {
            customer: if is_reserved { 0 } else { rank(&self.customers, key.customer.0) },
            class: rank(&self.classes, key.class.0.into()),
            exporter: rank(&self.exporters, key.exporter.0.into()),
            family: key.family as u8,
            rate: (key.rate.numerator(), key.rate.denominator(), key.rate.source() as u8),
            direction: key.direction as u8,
            numbers: (key.customer.0, key.class.0, key.exporter.0),
        }
    }
}

/// What a row counts for: its scaled octets, rounded half up to whole ones. `None` beyond 63 bits.
#[must_use]
pub fn weight(octets: u64, rate: SamplingRate) -> Option<u64> {
    let (n, d) = (u128::from(rate.numerator()), u128::from(rate.denominator()));
    let doubled = u128::from(octets).checked_mul(n)?.checked_mul(2)?.checked_add(d)?;
    u64::try_from(doubled / (2 * d)).ok().filter(|weight| *weight < 1 << 63)
}

/// The total of an interval, and what decides how it is shared out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Total {
    /// Octets of the interfaces, without framing.
    pub interface: u64,
    /// Octets of all flows, scaled.
    pub flows: u64,
    /// Their variance.
    pub variance: u128,
    /// Some of them were counted on sampled packets.
    pub is_sampled: bool,
    /// The least of the remainders that get one more octet, and the last row in order that does; `None`: none do.
    last: Option<(u64, Order)>,
}

impl Total {
    /// The total of an interval with these rows; `None` where nothing was seen, or more than a link can carry.
    #[must_use]
    pub fn shared_out(
        interface: u128,
        rows: &[(Order, u64)],
        (variance, is_sampled): (u128, bool),
    ) -> Option<Self> {
        let small = |octets: u128| u64::try_from(octets).ok().filter(|octets| *octets < 1 << 63);
        let flows = small(rows.iter().map(|(_, weight)| u128::from(*weight)).sum()).filter(|all| *all > 0)?;
        let mut total = Self { interface: small(interface)?, flows, variance, is_sampled, last: None };
        let mut remainders = Vec::with_capacity(rows.len());
        let mut left = total.interface;
        for &(order, weight) in rows {
            let (whole, remainder) = total.divided(weight);
            left -= whole;
            if remainder > 0 {
                remainders.push((core::cmp::Reverse(remainder), order));
            }
        }
        // The remainders sum to `left` times the flows, and each is less than those: there are more of them than octets left.
        if let Some(last) = usize::try_from(left).ok().and_then(|left| left.checked_sub(1)) {
            let (remainder, order) = *remainders.select_nth_unstable(last).1;
            total.last = Some((remainder.0, order));
        }
        Some(total)
    }

    /// Whole octets of a row, and what is left over, in parts of the flows.
    fn divided(&self, weight: u64) -> (u64, u64) {
        if self.interface == self.flows {
            return (weight, 0);
        }
        // Both factors are below 2^63, and a row is no more than all flows.
        let product = u128::from(self.interface) * u128::from(weight);
        let flows = u128::from(self.flows);
        let fits = |n: u128| u64::try_from(n).expect("a share is below 2^63");
        (fits(product / flows), fits(product % flows))
    }

    /// The share of a row: one of those that the total was made with.
    #[must_use]
    pub fn share(&self, weight: u64, order: impl FnOnce() -> Order) -> u64 {
        let (whole, remainder) = self.divided(weight.min(self.flows));
        let gets_one = match self.last {
            None => false,
            Some((least, last)) => remainder > least || remainder == least && order() <= last,
        };
        whole + u64::from(gets_one)
    }

    /// True where flows and interfaces differ by no more than so many millionths of what the interfaces counted. That is
    /// the same distance to either side of the total, so that choosing such intervals favours neither.
    #[must_use]
    pub fn is_within(&self, millionths: u32) -> bool {
        let apart = u128::from(self.flows.abs_diff(self.interface));
        apart * 1_000_000 <= u128::from(self.interface) * u128::from(millionths)
    }
}

/// The variance of the share of rows that make up `weight` of `whole`, of which the total is `interface`: `own` of `all` is
/// theirs by the flows, in octets squared. Rounded up.
///
/// The share is `T S / S_all`, and what is random in it is the ratio alone, so the variance is that of the flows times
/// `(T / S_all)^2`.
#[must_use]
pub fn variance((own, all): (u128, u128), (weight, whole): (u128, u128), interface: u64) -> u128 {
    if all == 0 || whole == 0 || weight == whole {
        return 0;
    }
    let square = |n: u128| BigUint::from(n) * n;
    let (part, rest) = (square(weight), square(whole.saturating_sub(weight)));
    let sum = rest * own + part * all.saturating_sub(own);
    let (above, below) = (sum * square(interface.into()), square(whole) * square(whole));
    u128::try_from((above + &below - 1_u32) / below).unwrap_or(u128::MAX)
}

/// Why an interval whose counters are there has no total.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unknown {
    /// The link had other interfaces at its end than at its beginning, or nobody can tell which.
    Interfaces,
    /// What passed from link to link may have left here or elsewhere.
    Through,
    /// No flow of it came in time: there is nothing to share it out by.
    Late,
}

impl Unknown {
    /// In words of documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interfaces => "interfaces-changed",
            Self::Through => "through",
            Self::Late => "nothing-in-time",
        }
    }
}

/// What is known of an interval.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interval {
    /// Its total.
    Total(Total),
    /// None.
    Unknown(Unknown),
}

/// The intervals of some time that the counters cover whole and in which flows were seen, in time or late.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    ranks: Ranks,
    intervals: HashMap<(BucketStart, LinkId, Direction), Interval, FixedState>,
}

impl Totals {
    /// None yet; rows stand in this order.
    #[must_use]
    pub fn new(ranks: Ranks) -> Self {
        Self { ranks, intervals: HashMap::default() }
    }

    /// Where a row stands.
    #[must_use]
    pub fn order(&self, key: &UsageKey) -> Order {
        self.ranks.order(key)
    }

    /// Says what is known of an interval.
    pub fn put(&mut self, bucket: BucketStart, link: LinkId, direction: Direction, interval: Interval) {
        self.intervals.insert((bucket, link, direction), interval);
    }

    /// What is known of an interval; `None` where the counters do not cover it.
    #[must_use]
    pub fn get(&self, bucket: BucketStart, link: LinkId, direction: Direction) -> Option<&Interval> {
        self.intervals.get(&(bucket, link, direction))
    }

    /// The total of an interval.
    #[must_use]
    pub fn total(&self, bucket: BucketStart, link: LinkId, direction: Direction) -> Option<&Total> {
        match self.get(bucket, link, direction)? {
            Interval::Total(total) => Some(total),
            Interval::Unknown(_) => None,
        }
    }
}

/// The volume of a charge that is calibrated, in one direction and band.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Calibrated {
    /// What counts: shares where totals were shared out, flows elsewhere.
    pub volume: Volume,
    /// Octets by flows alone.
    pub flows: Scaled,
    /// Of those, octets for which shares stand in.
    pub replaced: Scaled,
    /// The shares.
    pub shared: u128,
    /// Intervals in which the charge had usage.
    pub intervals: u64,
    /// Of those, intervals whose total was shared out.
    pub shared_intervals: u64,
}

impl Calibrated {
    /// Adds another.
    pub fn merge(&mut self, other: &Self) {
        self.volume.merge(&other.volume);
        self.flows.merge(&other.flows);
        self.replaced.merge(&other.replaced);
        self.shared += other.shared;
        self.intervals += other.intervals;
        self.shared_intervals += other.shared_intervals;
    }
}

#[cfg(test)]
mod tests;
