//! Bounds of the sum of squared packet sizes of a sampled record.
//!
//! With independent selection of one in N packets, a sum scaled by N has the variance N (N-1) Q, where Q is the sum of
//! the squares of the sampled packets' sizes. A record says how many packets (p) and octets (b) it sampled, not how
//! long each was:
//!
//! - Q is least where all are equally long: b²/p.
//! - Q is greatest where each is as short or as long as can be. With sizes s from m to M, (s - m)(s - M) <= 0, so
//!   s² <= (m + M) s - m M, and Q <= (m + M) b - m M p.
//! - One packet: Q = b², exactly.

/// The packet sizes that the operator takes for possible, in octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacketSizes {
    pub(super) min: u32,
    pub(super) max: u32,
}

/// The greatest size of an IP packet (RFC 791 section 3.1; RFC 8200 section 3, without jumbograms).
const PACKET_OCTETS_LIMIT: u128 = 65_575;

impl PacketSizes {
    /// The lower bound (rounded down) and the upper bound of Q for `packets` of `octets` in all; they stop at the end
    /// of their range. The lower is never above the upper.
    ///
    /// A record whose mean size is not between the configured sizes contradicts them. Then wider limits hold, so that
    /// the error is never understated: sizes from 0 for shorter packets, up to the longest IP packet for longer ones,
    /// and b², the square of a single packet, beyond that and above all. A record with octets and no packets says
    /// nothing of sizes but the configured limits: m b <= Q <= M b.
    #[inline]
    pub(super) fn bounds(self, octets: u64, packets: u64) -> (u64, u64) {
        let (min, max) = (u128::from(self.min.min(self.max)), u128::from(self.max.max(self.min)));
        let (b, p) = (u128::from(octets), u128::from(packets));
        let square = b * b;
        if packets == 1 {
            return (saturated(square), saturated(square));
        }
        if packets == 0 {
            return (saturated((min * b).min(square)), saturated((max * b).min(square)));
        }
        // 64 bits hold the square of nearly every record, and divide much faster.
        let low = u64::try_from(square).map_or_else(|_| square / p, |square| u128::from(square / packets));
        // Two sizes of 32 bits and a count of 64 make 128 bits: nothing here overflows.
        let high = if min * p <= b && b <= max * p {
            ((min + max) * b).saturating_sub(min * max * p)
        } else if b < min * p {
            max * b
        } else if b <= PACKET_OCTETS_LIMIT * p {
            PACKET_OCTETS_LIMIT * b
        } else {
            square
        };
        let high = high.min(square);
        (saturated(low.min(high)), saturated(high))
    }
}

fn saturated(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORKED: PacketSizes = PacketSizes { min: 40, max: 1500 };

    #[track_caller]
    fn check(sizes: PacketSizes, packets: u64, octets: u64, expected: (u64, u64)) {
        assert_eq!(sizes.bounds(octets, packets), expected, "{octets} octets in {packets} packets");
    }

    /// The four records of the worked example: 10 177 212 600 000 and 11 241 946 800 000 over N (N-1) = 999 000.
    #[test]
    fn worked_example() {
        check(WORKED, 1, 1500, (2_250_000, 2_250_000));
        check(WORKED, 1, 40, (1600, 1600));
        // 4500²/3; 1540 * 4500 - 60000 * 3
        check(WORKED, 3, 4500, (6_750_000, 6_750_000));
        // 1540²/2; 1540 * 1540 - 60000 * 2: one of 40 and one of 1500
        check(WORKED, 2, 1540, (1_185_800, 2_251_600));
        assert_eq!((2_250_000 + 1600 + 6_750_000 + 1_185_800) * 999_000_u64, 10_177_212_600_000);
        assert_eq!((2_250_000 + 1600 + 6_750_000 + 2_251_600) * 999_000_u64, 11_241_946_800_000);
    }

    #[test]
    fn contradictions_widen_the_bound() {
        // Two packets in 60 octets: below 40 each. 60²/2 = 1800; the greatest sum is one of 60: 3600.
        check(WORKED, 2, 60, (1800, 3600));
        // 100 packets in 3000 octets: 90 000; 1500 * 3000, which is less than 3000².
        check(WORKED, 100, 3000, (90_000, 4_500_000));
        // Two packets in 18 000 octets, jumbo frames: 162 000 000; b² is less than 65575 b.
        check(WORKED, 2, 18_000, (162_000_000, 324_000_000));
        // Ten in 90 000: 810 000 000; 65575 * 90 000 is less than b².
        check(WORKED, 10, 90_000, (810_000_000, 5_901_750_000));
        check(WORKED, 0, 1000, (40_000, 1_000_000));
        check(WORKED, 0, 10, (100, 100));
        check(WORKED, 5, 0, (0, 0));
        check(WORKED, 0, 0, (0, 0));
        check(WORKED, 1, u64::MAX, (u64::MAX, u64::MAX));
        check(WORKED, u64::MAX, u64::MAX, (u64::MAX, u64::MAX));
    }

    proptest! {
        /// Whatever the sizes were, within the limits, the true sum lies between the bounds.
        #[test]
        fn the_truth_lies_between(sizes in prop::collection::vec(40..=1500_u64, 1..50)) {
            let truth: u64 = sizes.iter().map(|s| s * s).sum();
            let (low, high) = WORKED.bounds(sizes.iter().sum(), sizes.len() as u64);
            prop_assert!(low <= truth && truth <= high, "{} <= {} <= {}", low, truth, high);
        }

        /// Sizes that the configuration takes for impossible: still no understatement.
        #[test]
        fn also_outside_of_the_limits(sizes in prop::collection::vec(1..=65_575_u64, 1..20)) {
            let octets: u64 = sizes.iter().sum();
            let mean_is_possible = (40 * sizes.len() as u64..=1500 * sizes.len() as u64).contains(&octets);
            let truth: u64 = sizes.iter().map(|s| s * s).sum();
            let (low, high) = WORKED.bounds(octets, sizes.len() as u64);
            prop_assert!(low <= truth);
            prop_assert!(mean_is_possible || truth <= high);
        }

        #[test]
        fn the_lower_is_never_above_the_upper(octets: u64, packets: u64, min: u32, max: u32) {
            let (low, high) = PacketSizes { min, max }.bounds(octets, packets);
            prop_assert!(low <= high);
        }
    }
}
