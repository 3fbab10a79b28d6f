//! Bounds of volumes that were estimated from sampled packets (RFC 3176 and RFC 5475 style sampling, each packet kept
//! with probability 1/N): the variance is known from the usage rows, and a bound is the estimate and so many standard
//! errors, by integers alone.
//!
//! What is taken for the variance is its upper bound (the sizes of packets inside a flow record are not known), so
//! that a bound is on the side of the customer. What the bounds do not cover: lost export datagrams, a wrong sampling
//! rate, a sampler that is not independent of the traffic.

use num_bigint::BigInt;

use crate::money::Exact;

/// How sure a bound is: a one-sided lower bound holds with this probability.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Confidence {
    /// 90 %.
    P90,
    /// 95 %.
    #[default]
    P95,
    /// 97.5 %.
    P975,
    /// 99 %.
    P99,
    /// 99.5 %.
    P995,
    /// 99.9 %.
    P999,
}

impl Confidence {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::P90, Self::P95, Self::P975, Self::P99, Self::P995, Self::P999];

    /// As tariffs write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P90 => "0.90",
            Self::P95 => "0.95",
            Self::P975 => "0.975",
            Self::P99 => "0.99",
            Self::P995 => "0.995",
            Self::P999 => "0.999",
        }
    }

    /// Standard errors of a one-sided bound, in 10^-7: the quantile of the normal distribution.
    #[must_use]
    pub const fn one_sided(self) -> u64 {
        match self {
            Self::P90 => 12_815_516,
            Self::P95 => 16_448_536,
            Self::P975 => 19_599_640,
            Self::P99 => 23_263_479,
            Self::P995 => 25_758_293,
            Self::P999 => 30_902_323,
        }
    }

    /// Standard errors to either side of an interval that holds with this probability, in 10^-7.
    #[must_use]
    pub const fn two_sided(self) -> u64 {
        match self {
            Self::P90 => 16_448_536,
            Self::P95 => 19_599_640,
            Self::P975 => 22_414_027,
            Self::P99 => 25_758_293,
            Self::P995 => 28_070_338,
            Self::P999 => 32_905_267,
        }
    }
}

/// The square of 10^7, in which quantiles are told.
fn unit_squared() -> BigInt {
    BigInt::from(100_000_000_000_000_u64)
}

/// `z` standard errors, rounded up to a whole octet: the least integer whose square is not below z^2 V.
fn errors_up(z: u64, variance: u128) -> BigInt {
    let square = BigInt::from(z) * BigInt::from(z) * BigInt::from(variance);
    let root = (&square / unit_squared()).sqrt();
    if &root * &root * unit_squared() < square { root + 1 } else { root }
}

/// The lower bound of an estimate of octets with this variance (octets squared); never below zero.
#[must_use]
pub fn lower_bound(estimate: &Exact, variance: u128, confidence: Confidence) -> Exact {
    let bound = estimate.minus(&Exact::whole(errors_up(confidence.one_sided(), variance)));
    if bound.is_positive() { bound } else { Exact::zero() }
}

/// True where the interval reaches further than `share` of the estimate to either side: z^2 V > share^2 X^2.
#[must_use]
pub fn is_wider(estimate: &Exact, variance: u128, confidence: Confidence, share: &Exact) -> bool {
    let z = BigInt::from(confidence.two_sided());
    let squared = Exact::new(&z * &z * BigInt::from(variance), unit_squared());
    let most = share.times(estimate);
    squared > most.times(&most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example: four records at 1 in 1000, estimate 7 580 000 octets.
    const VARIANCE: u128 = 11_241_946_800_000;

    #[test]
    fn the_lower_bound_of_the_worked_example() {
        let estimate = Exact::whole(7_580_000);
        assert_eq!(lower_bound(&estimate, VARIANCE, Confidence::P95), Exact::whole(2_064_968));
        // 2.3263479 x 3352901.3 = 7 800 015: more than the estimate.
        assert_eq!(lower_bound(&estimate, VARIANCE, Confidence::P99), Exact::zero());
        assert_eq!(lower_bound(&estimate, 0, Confidence::P999), estimate);
    }

    /// 1.9599640 x 3352901.3 / 7580000 = 0.866966
    #[test]
    fn the_half_width_of_the_worked_example() {
        let estimate = Exact::whole(7_580_000);
        let wider = |millionths: u32| {
            let share = Exact::whole(millionths).over(1_000_000);
            is_wider(&estimate, VARIANCE, Confidence::P95, &share)
        };
        assert!(wider(866_960) && !wider(866_970));
        assert!(!is_wider(&estimate, 0, Confidence::P95, &Exact::zero()));
        assert!(is_wider(&Exact::zero(), 1, Confidence::P95, &Exact::whole(1)), "an error of nothing");
    }

    #[test]
    fn roots_are_rounded_up_to_the_octet() {
        // z = 1: the unit itself.
        for (variance, root) in [(0_u128, 0), (1, 1), (2, 2), (4, 2), (5, 3), (1 << 126, 1_i128 << 63)] {
            assert_eq!(errors_up(10_000_000, variance), BigInt::from(root), "{variance}");
        }
    }

    #[test]
    fn more_confidence_is_a_wider_interval() {
        assert!(Confidence::ALL.is_sorted_by_key(|confidence| confidence.one_sided()));
        assert!(Confidence::ALL.is_sorted_by_key(|confidence| confidence.two_sided()));
        assert!(Confidence::ALL.iter().all(|confidence| confidence.one_sided() < confidence.two_sided()));
    }
}
