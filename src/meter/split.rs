//! Splitting a flow over the buckets that it spans: in proportion to time, by integer largest remainder.
//!
//! Times are half-open: a flow from 12:04:00.000 to 12:05:00.000 has no time in the bucket of 12:05. The parts of
//! every quantity sum to the whole, each differs from its exact share by less than one, and a tie goes to the
//! earliest bucket.

use super::BucketRule;
use crate::units::UnixMillis;
use crate::usage::BUCKET_SECONDS;
#[cfg(test)]
use crate::usage::BucketStart;

const BUCKET_MS: i64 = BUCKET_SECONDS * 1000;

/// The longest time that a flow is spread over. The decoder sees to it that no flow starts earlier than an hour
/// before its export, so none is longer; of one that were, the last hour takes all.
pub(super) const SPAN_MAX_MS: i64 = 3600 * 1000;

/// The most buckets that an hour touches.
#[expect(clippy::cast_possible_truncation, reason = "twelve and one")]
pub(super) const PARTS_MAX: usize = (SPAN_MAX_MS / BUCKET_MS + 1) as usize;

/// The buckets of one flow, and how much of its time lies in each. Its last bucket is where the flow is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Number of the first bucket: its start over 300 seconds.
    pub(super) first: i64,
    /// How many buckets, at least 1.
    pub(super) parts: usize,
    /// Milliseconds in the first bucket ...
    head_ms: u32,
    /// ... and in the last one; those between are whole.
    tail_ms: u32,
    total_ms: u32,
}

impl Span {
    /// The buckets of a flow.
    ///
    /// With [`BucketRule::End`], and for a flow without duration, that is the bucket of its end alone, literally.
    /// Otherwise the last bucket is that of its last millisecond, so that a flow that ends where a bucket begins
    /// leaves no row there with a flow and no volume.
    #[inline]
    pub(super) fn of(rule: BucketRule, start: UnixMillis, end: UnixMillis) -> Self {
        let duration = end.since(start).min(SPAN_MAX_MS);
        if rule == BucketRule::End || duration <= 0 {
            return Self::single(end.0.div_euclid(BUCKET_MS));
        }
        // The lowest instants of the type stay in range: a duration above 0 was taken off `end` before.
        let start = end.0 - duration;
        let (first, last) = (start.div_euclid(BUCKET_MS), (end.0 - 1).div_euclid(BUCKET_MS));
        if first == last {
            return Self::single(first);
        }
        let ms = |n: i64| u32::try_from(n).expect("no more than the hour of a span");
        Self {
            first,
            parts: usize::try_from(last - first + 1).expect("no more than the buckets of an hour"),
            head_ms: ms(BUCKET_MS - start.rem_euclid(BUCKET_MS)),
            tail_ms: ms((end.0 - 1).rem_euclid(BUCKET_MS) + 1),
            total_ms: ms(duration),
        }
    }

    /// A span within one bucket.
    #[inline]
    pub(super) const fn single(bucket: i64) -> Self {
        Self { first: bucket, parts: 1, head_ms: 0, tail_ms: 0, total_ms: 0 }
    }

    /// Number of the last bucket.
    pub(super) fn last(&self) -> i64 {
        self.first + self.parts as i64 - 1
    }

    /// The start of part `n`'s bucket.
    #[cfg(test)]
    pub(super) fn bucket(&self, n: usize) -> BucketStart {
        BucketStart((self.first + n as i64) * BUCKET_SECONDS)
    }

    /// Writes the parts of `whole` into the first [`Self::parts`] places of `parts`.
    #[inline]
    pub(super) fn split(&self, whole: u64, parts: &mut [u64; PARTS_MAX]) {
        match self.parts {
            1 => parts[0] = whole,
            2 => {
                // With two parts the remainders add up to nothing or to one unit: round half up for the first.
                let (head, remainder) = share(whole, self.head_ms, self.total_ms);
                parts[0] = head + u64::from(remainder * 2 >= u64::from(self.total_ms));
                parts[1] = whole - parts[0];
            }
            _ => self.split_many(whole, parts),
        }
    }

    fn split_many(&self, whole: u64, parts: &mut [u64; PARTS_MAX]) {
        let last = self.parts - 1;
        let whole_bucket_ms = u32::try_from(BUCKET_MS).expect("five minutes");
        let mut remainders = [0_u64; PARTS_MAX];
        (parts[0], remainders[0]) = share(whole, self.head_ms, self.total_ms);
        (parts[last], remainders[last]) = share(whole, self.tail_ms, self.total_ms);
        let between = share(whole, whole_bucket_ms, self.total_ms);
        for n in 1..last {
            (parts[n], remainders[n]) = between;
        }
        let mut left = whole - parts[..=last].iter().sum::<u64>();
        // Fewer units than parts are left; each goes to the greatest remainder that has had none, the earliest first.
        let mut order: [usize; PARTS_MAX] = core::array::from_fn(|n| n);
        order[..=last].sort_by_key(|&n| core::cmp::Reverse(remainders[n]));
        for &n in &order[..=last] {
            if left == 0 {
                break;
            }
            parts[n] += 1;
            left -= 1;
        }
    }
}

/// The instants of one bucket, to tell without a division that a flow lies in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Number of the bucket.
    pub(super) bucket: i64,
    from: i64,
    to: i64,
}

impl Window {
    pub(super) const fn of(bucket: i64) -> Self {
        let from = bucket.saturating_mul(BUCKET_MS);
        Self { bucket, from, to: from.saturating_add(BUCKET_MS) }
    }

    /// True for flows that [`Span::of`] puts into this bucket alone, by either rule; false for some of them, too: those
    /// that end with the bucket.
    #[inline]
    pub(super) const fn holds(&self, start: UnixMillis, end: UnixMillis) -> bool {
        self.from <= start.0 && start.0 <= end.0 && end.0 < self.to
    }
}

/// `whole * part / total`, rounded down, and the remainder of it.
#[inline]
fn share(whole: u64, part_ms: u32, total_ms: u32) -> (u64, u64) {
    let (part, total) = (u64::from(part_ms), u64::from(total_ms));
    if let Some(product) = whole.checked_mul(part) {
        return (product / total, product % total);
    }
    let (product, total) = (u128::from(whole) * u128::from(part), u128::from(total));
    let fits = "a share is no more than the whole, a remainder less than the total";
    (u64::try_from(product / total).expect(fits), u64::try_from(product % total).expect(fits))
}

#[cfg(test)]
mod tests;
