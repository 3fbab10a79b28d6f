//! Usage: what the meter adds up and the ledger keeps. Raw sums under a key that holds the sampling rate, so that
//! nothing is rounded before a bill or a report is printed.

pub(crate) mod packed;
mod rows;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use rows::Packed;
pub use rows::UsageRows;

use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::units::{RateSource, SamplingRate, UnixMillis};

/// Length of a bucket.
pub const BUCKET_SECONDS: i64 = 300;

/// A bucket of five minutes, UTC-aligned, named by its start in seconds since the epoch.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct BucketStart(pub i64);

impl BucketStart {
    /// The bucket that holds `instant`.
    #[must_use]
    pub const fn of(instant: UnixMillis) -> Self {
        Self(instant.seconds().div_euclid(BUCKET_SECONDS) * BUCKET_SECONDS)
    }

    /// First instant of the bucket.
    #[must_use]
    pub const fn start(self) -> UnixMillis {
        UnixMillis::from_seconds(self.0)
    }

    /// First instant after the bucket.
    #[must_use]
    pub const fn end(self) -> UnixMillis {
        UnixMillis::from_seconds(self.0 + BUCKET_SECONDS)
    }
}

/// What a usage row is about. The order of the fields is the order of the ledger's primary key.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UsageKey {
    /// The five minutes.
    pub bucket: BucketStart,
    /// Who was billed for it, or a reserved name.
    pub customer: CustomerId,
    /// The link that was crossed.
    pub link: LinkId,
    /// Direction, seen from the customer.
    pub direction: Direction,
    /// Traffic class.
    pub class: ClassId,
    /// Address family.
    pub family: Family,
    /// Who reported it.
    pub exporter: ExporterId,
    /// The sampling rate, with its source.
    pub rate: SamplingRate,
}

/// Raw sums: as the exporters counted, not scaled.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UsageSums {
    /// Octets.
    pub octets: u64,
    /// Packets.
    pub packets: u64,
    /// Flow records, each in the bucket of its end.
    pub flows: u64,
    /// Lower bound of the sum of squared packet sizes (octets squared): each record's packets equally long.
    pub squares_low: u64,
    /// Upper bound of it: packets between the configured least and greatest size.
    pub squares_high: u64,
}

impl UsageSums {
    /// More octets or packets in a row than any exporter can have seen in five minutes: 2^62 octets are 120 petabits a
    /// second. It keeps every sum within 63 bits.
    const IMPOSSIBLE: u64 = 1 << 62;

    /// Adds `other`, unless the sum would be impossible: then nothing is added, and the result is false. The sums of
    /// squares stop at the end of their range.
    #[must_use]
    pub fn try_add(&mut self, other: &Self) -> bool {
        let octets = self.octets.saturating_add(other.octets);
        let packets = self.packets.saturating_add(other.packets);
        if octets | packets >= Self::IMPOSSIBLE {
            return false;
        }
        self.add(other);
        true
    }

    /// Adds `other`; sums stop at the end of their range.
    pub fn add(&mut self, other: &Self) {
        self.octets = self.octets.saturating_add(other.octets);
        self.packets = self.packets.saturating_add(other.packets);
        self.flows = self.flows.saturating_add(other.flows);
        self.squares_low = self.squares_low.saturating_add(other.squares_low);
        self.squares_high = self.squares_high.saturating_add(other.squares_high);
    }
}

/// A row: key and sums.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UsageRow {
    /// What it is about.
    pub key: UsageKey,
    /// How much.
    pub sums: UsageSums,
}

/// What a flush adds up to: the datagrams and records that its usage was made from. The ledger adds them up by source,
/// so that usage can be proved against them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FlushTotals {
    /// Datagrams taken from the source.
    pub datagrams: u64,
    /// Of those, not decodable.
    pub malformed: u64,
    /// Of those, seen before.
    pub duplicates: u64,
    /// Flow records decoded.
    pub records: u64,
    /// Options records decoded.
    pub options_records: u64,
    /// Octets of the flow records, raw.
    pub raw_octets: u64,
    /// Packets of the flow records, raw. For the report of a run; the ledger does not keep it.
    pub raw_packets: u64,
    /// Records metered.
    pub metered_records: u64,
    /// Octets metered, raw: the sum of `octets` over the flush's usage.
    pub metered_octets: u64,
    /// Packets metered, raw.
    pub metered_packets: u64,
    /// Flows that waited in vain for a sampling rate.
    pub expired_records: u64,
    /// Of them, those that are the other direction of a record that expired with them. Told by `replay`; no ledger keeps it.
    pub expired_second_flows: u64,
    /// Their octets.
    pub expired_octets: u64,
    /// Data sets that waited in vain for their template. They were never decoded: nobody knows how many records they had.
    pub expired_sets: u64,
    /// Their octets as they came, which are no volume of any flow.
    pub expired_set_octets: u64,
    /// Flows that records brought besides their first one: the other direction.
    pub second_flows: u64,
    /// Records without an octet counter, or whose counters nobody can believe. What these claim is in no octets here.
    pub not_volume: u64,
    /// Records that are the other observation of a flow.
    pub duplicate_observations: u64,
    /// Their octets.
    pub duplicate_observation_octets: u64,
    /// What sequence numbers say is missing; negative where late datagrams took back more than was missed.
    pub lost: i64,
}

/// What came of an exporter in a day, and what its sequence numbers say is missing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Loss {
    /// The exporter's name.
    pub exporter: String,
    /// Days since the epoch, UTC, by the clock of the source.
    pub day: i64,
    /// Flow records decoded.
    pub records: u64,
    /// Missing; negative where late datagrams took back more than was missed.
    pub lost: i64,
}

/// What a flush leaves of one exporter for the next start: all that decoding and scaling remember of it there.
///
/// Handed over by a processor it says what changed since the flush before; read from the ledger it is whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Remembered {
    /// The state, in an encoding of the processor's. Always whole.
    pub state: Vec<u8>,
    /// Records that wait for a sampling rate. They may be many, so only what changed is written.
    pub chunks: ChunkChanges,
}

impl Remembered {
    /// Octets of it that a flush writes.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.state.len() + self.chunks.written.iter().map(|(_, chunk)| chunk.len()).sum::<usize>()
    }
}

/// What became of the chunks of one exporter's waiting records since the flush before. A chunk has a number; numbers
/// ascend with age and are never used again for other records.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ChunkChanges {
    /// `written` is all that there is: whatever is kept besides belongs to nobody.
    pub whole: bool,
    /// Chunks below this number are gone.
    pub first: Option<u64>,
    /// These are gone, too.
    pub removed: Vec<u64>,
    /// Chunks that are new or changed, in ascending order.
    pub written: Vec<(u64, Vec<u8>)>,
}

impl FlushTotals {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.datagrams += other.datagrams;
        self.malformed += other.malformed;
        self.duplicates += other.duplicates;
        self.records += other.records;
        self.options_records += other.options_records;
        // Octets and packets are what exporters claim; a sum of claims stops at the end of its range.
        self.raw_octets = self.raw_octets.saturating_add(other.raw_octets);
        self.raw_packets = self.raw_packets.saturating_add(other.raw_packets);
        self.metered_records += other.metered_records;
        self.metered_octets = self.metered_octets.saturating_add(other.metered_octets);
        self.metered_packets = self.metered_packets.saturating_add(other.metered_packets);
        self.expired_records += other.expired_records;
        self.expired_second_flows += other.expired_second_flows;
        self.expired_octets = self.expired_octets.saturating_add(other.expired_octets);
        self.expired_sets += other.expired_sets;
        self.expired_set_octets = self.expired_set_octets.saturating_add(other.expired_set_octets);
        self.second_flows += other.second_flows;
        self.not_volume += other.not_volume;
        self.duplicate_observations += other.duplicate_observations;
        self.duplicate_observation_octets =
            self.duplicate_observation_octets.saturating_add(other.duplicate_observation_octets);
        self.lost += other.lost;
    }
}

/// Sum of scaled volume over usage rows of any sampling rates: exact, and rounded once, when it is read.
///
/// A row of `n` raw units at rate `a/b` is `n * a / b` units. Rows of one denominator are added as integers; only
/// [`Scaled::rounded`] divides.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scaled {
    /// Sums of `n * a` by denominator `b`. Nearly always one entry, for `b = 1`; but exporters say what rates there are, so
    /// there may be as many as rows, in any order.
    by_denominator: BTreeMap<u32, i128>,
}

impl Scaled {
    /// Adds `raw` units counted at `rate`.
    pub fn add(&mut self, raw: u64, rate: SamplingRate) {
        self.add_part(rate.denominator(), i128::from(raw) * i128::from(rate.numerator()));
    }

    /// Adds a sum of raw units counted at `rate`, of at most 2^31 rows of usage.
    pub fn add_sum(&mut self, raw: u128, rate: SamplingRate) {
        let numerator = i128::try_from(raw).ok().and_then(|raw| raw.checked_mul(rate.numerator().into()));
        self.add_part(rate.denominator(), numerator.expect("2^31 rows of 2^64 units at 2^32 fit"));
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        for (&denominator, &numerator) in &other.by_denominator {
            self.add_part(denominator, numerator);
        }
    }

    fn add_part(&mut self, denominator: u32, numerator: i128) {
        let sum = self.by_denominator.entry(denominator).or_default();
        *sum = sum.checked_add(numerator).expect("2^63 rows of 2^64 units at 2^32 fit");
    }

    /// The sum as it is kept: numerators by denominator, ascending. It is the sum of the quotients; rating reads it
    /// so, because it must not round, and because [`Scaled::fraction`] has an end.
    pub fn parts(&self) -> impl Iterator<Item = (u32, i128)> {
        self.by_denominator.iter().map(|(&denominator, &numerator)| (denominator, numerator))
    }

    /// The sum, rounded half up to a whole number.
    ///
    /// Exact while the least common multiple of the denominators fits into 64 bits; beyond that each further
    /// denominator's part is taken to 2^-60 units, rounded down.
    #[must_use]
    pub fn rounded(&self) -> i128 {
        const FINEST: u128 = 1 << 60;
        let mut whole: i128 = 0;
        let mut common: u128 = 1;
        let mut exact = true;
        for &denominator in self.by_denominator.keys() {
            let b = u128::from(denominator);
            let next = common / gcd128(common, b) * b;
            if next > u128::from(u64::MAX) {
                exact = false;
                break;
            }
            common = next;
        }
        let unit = if exact { common } else { FINEST };
        let mut fraction: i128 = 0;
        for (&denominator, &numerator) in &self.by_denominator {
            let b = i128::from(denominator);
            whole += numerator.div_euclid(b);
            let unit = i128::try_from(unit).expect("at most 64 bits");
            fraction += numerator.rem_euclid(b) * unit / b;
        }
        let unit = i128::try_from(unit).expect("at most 64 bits");
        whole + (fraction * 2 + unit).div_euclid(unit * 2)
    }

    /// The exact value as a reduced fraction, where it fits into 128 bits; rating needs no rounding in between.
    #[must_use]
    pub fn fraction(&self) -> Option<(i128, i128)> {
        let mut numerator: i128 = 0;
        let mut denominator: i128 = 1;
        for (&b, &a) in &self.by_denominator {
            let b = i128::from(b);
            let divisor = i128::try_from(gcd128(denominator.unsigned_abs(), b.unsigned_abs())).ok()?;
            let common = denominator.checked_mul(b / divisor)?;
            numerator =
                numerator.checked_mul(common / denominator)?.checked_add(a.checked_mul(common / b)?)?;
            denominator = common;
        }
        let divisor = i128::try_from(gcd128(numerator.unsigned_abs(), denominator.unsigned_abs())).ok()?;
        Some((numerator / divisor.max(1), denominator / divisor.max(1)))
    }
}

fn gcd128(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Variance of a scaled octet sum, from the bounds of the sum of squares: N (N-1) Q a row of rate N
/// (independent selection with probability 1/N), added over rows, in octets squared, rounded up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Variance {
    octets_squared: u128,
}

impl Variance {
    /// Adds a row with sum of squares `squares` at `rate`.
    pub fn add(&mut self, squares: u64, rate: SamplingRate) {
        let (n, d) = (u128::from(rate.numerator()), u128::from(rate.denominator()));
        // n (n - d) < 2^64 and squares < 2^64, so the product fits.
        let mut term = (n * (n - d)).saturating_mul(u128::from(squares));
        // Nearly always; to divide 128 bits takes longer than all else.
        if d != 1 {
            term = term.div_ceil(d * d);
        }
        self.octets_squared = self.octets_squared.saturating_add(term);
    }

    /// A variance that was worked out elsewhere, in octets squared.
    #[must_use]
    pub const fn of(octets_squared: u128) -> Self {
        Self { octets_squared }
    }

    /// Adds another variance.
    pub fn merge(&mut self, other: Self) {
        self.octets_squared = self.octets_squared.saturating_add(other.octets_squared);
    }

    /// The variance, in octets squared.
    #[must_use]
    pub const fn octets_squared(self) -> u128 {
        self.octets_squared
    }

    /// Standard error in octets, rounded down.
    #[must_use]
    pub const fn standard_error(self) -> u128 {
        self.octets_squared.isqrt()
    }

    /// Standard error over `estimate`, in millionths, rounded half up. 0 where either is 0.
    #[must_use]
    pub fn relative_error_millionths(self, estimate: i128) -> u128 {
        let estimate = estimate.unsigned_abs();
        if self.octets_squared == 0 || estimate == 0 {
            return 0;
        }
        // The root of V * 4^k is the root of V, times 2^k: so many binary places as fit.
        let places = (self.octets_squared.leading_zeros() / 2).min(40);
        let root = (self.octets_squared << (2 * places)).isqrt();
        // root / 2^places * 10^6 / estimate; both factors are below 2^84 and 2^20.
        let scaled = root * 1_000_000;
        let divisor = match estimate.checked_shl(places) {
            Some(shifted) if shifted >> places == estimate && shifted >> 127 == 0 => shifted,
            _ => return (scaled >> places) / estimate,
        };
        (scaled + divisor / 2) / divisor
    }
}

/// Millionths as a decimal with six places: `0.001234`.
#[must_use]
pub fn millionths(n: u128) -> String {
    format!("{}.{:06}", n / 1_000_000, n % 1_000_000)
}

/// A sampling rate from its stored parts; `None` where they are no rate.
#[must_use]
pub fn rate_from_stored(numerator: i64, denominator: i64, source: i64) -> Option<SamplingRate> {
    SamplingRate::new(
        u64::try_from(numerator).ok()?,
        u64::try_from(denominator).ok()?,
        RateSource::from_u8(u8::try_from(source).ok()?)?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(n: u64, d: u64) -> SamplingRate {
        SamplingRate::new(n, d, RateSource::Sampler).expect("a rate")
    }

    #[test]
    fn scaled_sums_are_rounded_once() {
        // 1 * 3/2 + 1 * 3/2 = 3, where rounding each would give 4; 1 * 4/3 + 1 * 3/2 = 17/6 = 2.83
        let mut sum = Scaled::default();
        sum.add(1, rate(3, 2));
        sum.add(1, rate(3, 2));
        assert_eq!(sum.rounded(), 3);
        let mut sum = Scaled::default();
        sum.add(1, rate(4, 3));
        sum.add(1, rate(3, 2));
        assert_eq!((sum.rounded(), sum.fraction()), (3, Some((17, 6))));
        let mut half = Scaled::default();
        half.add(1, rate(5, 2));
        assert_eq!(half.rounded(), 3, "half goes up");
    }

    /// In the order that is worst for a list: 1 + 1/d for each d from 200 001 down to 2. The sum of 1/d from 1 to n is
    /// ln n + 0.577216 + 1/2n, which leaves 12.206 + 0.577 - 1 = 11.783 without the first.
    #[test]
    fn as_many_denominators_as_records_are_added_at_once() {
        let begun = std::time::Instant::now();
        let mut sum = Scaled::default();
        for d in (2..200_002).rev() {
            sum.add(1, rate(d + 1, d));
        }
        assert_eq!(sum.parts().count(), 200_000);
        assert_eq!(sum.rounded(), 200_012);
        // A fraction of a second; minutes where each addition moves half of those before.
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }

    #[test]
    fn many_denominators_do_not_overflow() {
        let mut sum = Scaled::default();
        for d in [4_294_967_291_u64, 4_294_967_279, 4_294_967_231, 4_294_967_197] {
            sum.add(1_000_000, rate(4_294_967_295, d));
        }
        // Each part is 1 000 000 * (1 + about 1..23 / 2^32), so 0.000x above a million.
        assert_eq!(sum.rounded(), 4_000_000);
    }

    /// N = 1000, records (1, 1500) (1, 40) (3, 4500) (2, 1540).
    #[test]
    fn variance_of_the_worked_example() {
        let n = rate(1000, 1);
        let mut low = Variance::default();
        low.add(1500 * 1500 + 40 * 40 + 4500 * 4500 / 3 + 1540 * 1540 / 2, n);
        assert_eq!(low.octets_squared(), 10_177_212_600_000);
        let mut high = Variance::default();
        let upper = |p: u64, b: u64| (40 + 1500) * b - 40 * 1500 * p;
        high.add(1500 * 1500 + 40 * 40 + upper(3, 4500) + upper(2, 1540), n);
        assert_eq!(high.octets_squared(), 11_241_946_800_000);
        assert_eq!(high.standard_error(), 3_352_901);
        // 3352901.3... / 7580000 = 0.442335
        assert_eq!(millionths(high.relative_error_millionths(7_580_000)), "0.442335");
    }

    #[test]
    fn buckets_are_half_open_and_aligned() {
        assert_eq!(BucketStart::of(UnixMillis(299_999)), BucketStart(0));
        assert_eq!(BucketStart::of(UnixMillis(300_000)), BucketStart(300));
        assert_eq!(BucketStart::of(UnixMillis(-1)), BucketStart(-300));
    }
}
