//! Corrections of who had which usage.

use super::books::digest;
use crate::usage::{BucketStart, UsageKey, UsageSums};

/// The sums of a usage row as differences, in the order of [`UsageSums`]: octets, packets, flows, and the bounds of the sum
/// of squares. Less than 0 where something is taken off.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Difference(pub [i128; 5]);

impl Difference {
    /// The sums of a row, as what is added.
    #[must_use]
    pub fn of(sums: &UsageSums) -> Self {
        let UsageSums { octets, packets, flows, squares_low, squares_high } = *sums;
        Self([octets, packets, flows, squares_low, squares_high].map(i128::from))
    }

    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        // Rows have at most 64 bits, and there is no memory for 2^63 of them.
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }

    /// The same, taken off instead of added.
    #[must_use]
    pub fn negated(&self) -> Self {
        Self(self.0.map(|sum| -sum))
    }

    /// True where nothing is added or taken off.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 5]
    }

    /// The sums that it comes to; `None` where one is less than 0 or has no room.
    #[must_use]
    pub fn sums(&self) -> Option<UsageSums> {
        let [octets, packets, flows, squares_low, squares_high] = self.0.map(|sum| u64::try_from(sum).ok());
        Some(UsageSums {
            octets: octets?,
            packets: packets?,
            flows: flows?,
            squares_low: squares_low?,
            squares_high: squares_high?,
        })
    }
}

/// What is added to a usage row, or taken off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change {
    /// Whose, and of what.
    pub key: UsageKey,
    /// Where usage that came late is corrected: the first bucket of the period that it is carried into.
    pub carried: Option<BucketStart>,
    /// How much.
    pub difference: Difference,
}

impl Change {
    /// Adds the line that stands for it in the hash over a correction's rows: the numbers of the ledger,
    ///
    /// ```text
    /// bucket customer carried link direction class family exporter numerator denominator source octets packets flows
    /// low high LF
    /// ```
    ///
    /// apart by tabs; `carried` is 0 for usage that came in time.
    pub fn push_line(&self, text: &mut String) {
        use core::fmt::Write;
        let (key, [octets, packets, flows, low, high]) = (&self.key, self.difference.0);
        writeln!(
            text,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{octets}\t{packets}\t{flows}\t{low}\t{high}",
            key.bucket.0,
            key.customer.0,
            self.carried.map_or(0, |carried| carried.0),
            key.link.0,
            key.direction as u8,
            key.class.0,
            key.family as u8,
            key.exporter.0,
            key.rate.numerator(),
            key.rate.denominator(),
            key.rate.source() as u8,
        )
        .expect("writing to a string does not fail");
    }
}

/// A correction that is to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewCorrection<'a> {
    /// The first bucket that was read again.
    pub from: BucketStart,
    /// The first one after the last.
    pub until: BucketStart,
    /// SHA-256 of the configuration version by which it was.
    pub config: &'a str,
    /// Why.
    pub reason: &'a str,
    /// The number of the last correction that the differences take into account; 0 where there was none.
    pub after: u64,
    /// What differs; no key twice.
    pub changes: Vec<Change>,
}

/// A correction, as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Correction {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// The first bucket that was read again.
    pub from: BucketStart,
    /// The first one after the last.
    pub until: BucketStart,
    /// SHA-256 of the configuration version by which it was.
    pub config: String,
    /// Why.
    pub reason: String,
    /// When it was made, milliseconds since the epoch.
    pub at: i64,
    /// By whom.
    pub by: String,
    /// Its rows.
    pub changes: u64,
    /// SHA-256 over their lines ([`Change::push_line`]), in the order in which they are kept.
    pub root: String,
}

impl Correction {
    /// SHA-256, in hex, over the hash of the correction before and everything that it says. Texts come with their length.
    #[must_use]
    pub fn hash(&self, prev: &str) -> String {
        let Self { seq, from, until, config, reason, at, by, changes, root } = self;
        digest(&format!(
            "{prev}\n{seq} {} {} {config} {changes} {root} {at}\n{} {reason}\n{} {by}\n",
            from.0,
            until.0,
            reason.len(),
            by.len()
        ))
    }
}

/// A customer whose usage was corrected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Corrected {
    /// Its number.
    pub customer: u32,
    /// The first bucket of which something was corrected.
    pub first: BucketStart,
    /// The last one.
    pub last: BucketStart,
}
