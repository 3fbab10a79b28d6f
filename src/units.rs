//! Quantities with their units: octets, packets, flows, instants, interface and AS numbers, sampling rates.
//!
//! A unit is `Copy` and has only the arithmetic that means something. Sums are checked: a sum that overflows is a
//! defect upstream (every counter is bounded where it is decoded), so it stops the program rather than billing a
//! wrapped number.

use core::fmt;
use core::num::NonZeroU32;

use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0);

            /// A quantity of `n`.
            #[must_use]
            pub const fn new(n: u64) -> Self {
                Self(n)
            }

            /// The plain number.
            #[must_use]
            pub const fn as_u64(self) -> u64 {
                self.0
            }
        }

        impl core::ops::Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.checked_add(other.0).expect("quantities are bounded where they are decoded"))
            }
        }

        impl core::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl core::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, |sum, one| sum + one)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

quantity! {
    /// Octets of IP packets, as the exporter counted them (before scaling).
    Octets
}
quantity! {
    /// Packets.
    Packets
}
quantity! {
    /// Flow records.
    Flows
}

/// An interface of an exporter (IF-MIB `ifIndex`). 0 means "none or unknown" in flow records.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct IfIndex(pub u32);

/// An autonomous system number (RFC 6793).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Asn(pub u32);

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The instant `seconds` after the epoch.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This instant moved by `ms` milliseconds; stops at the ends of the range.
    #[must_use]
    pub const fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; negative when it is the other way round.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where a record's sampling rate was learnt from. Kept with the usage, so that an invoice can name it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[repr(u8)]
pub enum RateSource {
    /// Nobody announced a rate; counted as unsampled once the grace time was over, or at once where the protocol
    /// (NetFlow v1, v7) announces none.
    #[default]
    NotAnnounced = 0,
    /// The operator's override.
    Override = 1,
    /// In the data record itself (elements 34, 50, 304 to 311; sFlow samples).
    Record = 2,
    /// The options record of the sampler that the data record names.
    Sampler = 3,
    /// Options that hold for the whole observation domain.
    Domain = 4,
    /// Options of another observation domain of the same exporter, where they agree.
    Exporter = 5,
    /// The operator's default.
    Default = 6,
    /// The datagram's header (NetFlow v5, v8).
    Header = 7,
    /// A multiple of the rate in an sFlow sample, to make up for samples that the exporter dropped.
    Pool = 8,
    /// Options of an exporter that picks whole flows (RFC 7014): right in the mean, but far less certain than a rate of
    /// packets.
    FlowSelection = 9,
}

impl RateSource {
    /// All sources, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::NotAnnounced,
        Self::Override,
        Self::Record,
        Self::Sampler,
        Self::Domain,
        Self::Exporter,
        Self::Default,
        Self::Header,
        Self::Pool,
        Self::FlowSelection,
    ];

    /// The source stored as `n`.
    #[must_use]
    pub fn from_u8(n: u8) -> Option<Self> {
        Self::ALL.get(usize::from(n)).copied()
    }

    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAnnounced => "not-announced",
            Self::Override => "override",
            Self::Record => "record",
            Self::Sampler => "sampler",
            Self::Domain => "domain",
            Self::Exporter => "exporter",
            Self::Default => "default",
            Self::Header => "header",
            Self::Pool => "sample-pool",
            Self::FlowSelection => "flow-selection",
        }
    }
}

/// A packet sampling rate: one of `numerator / denominator` packets was looked at; a fraction in lowest terms, at least 1.
///
/// 1-in-1000 is 1000/1. IPFIX count-based sampling of 1 packet after a gap of 2 is 3/1, of 2 after a gap of 1 is 3/2.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub struct SamplingRate {
    numerator: NonZeroU32,
    denominator: NonZeroU32,
    source: RateSource,
}

impl SamplingRate {
    /// Unsampled, because nobody said otherwise.
    pub const NOT_ANNOUNCED: Self =
        Self { numerator: NonZeroU32::MIN, denominator: NonZeroU32::MIN, source: RateSource::NotAnnounced };

    /// `numerator / denominator` in lowest terms. `None` when it is not a rate: a zero, less than 1, or out of 32 bits.
    #[must_use]
    pub fn new(numerator: u64, denominator: u64, source: RateSource) -> Option<Self> {
        if denominator == 0 || numerator < denominator {
            return None;
        }
        let divisor = gcd(numerator, denominator);
        let numerator = NonZeroU32::new(u32::try_from(numerator / divisor).ok()?)?;
        let denominator = NonZeroU32::new(u32::try_from(denominator / divisor).ok()?)?;
        Some(Self { numerator, denominator, source })
    }

    /// Packets on the wire ...
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator.get()
    }

    /// ... for so many packets looked at.
    #[must_use]
    pub const fn denominator(self) -> u32 {
        self.denominator.get()
    }

    /// Where it was learnt from.
    #[must_use]
    pub const fn source(self) -> RateSource {
        self.source
    }

    /// The same rate, learnt from `source`.
    #[must_use]
    pub const fn with_source(self, source: RateSource) -> Self {
        Self { source, ..self }
    }

    /// True where packets were left out, so that volumes are estimates.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.numerator.get() != self.denominator.get()
    }
}

impl Default for SamplingRate {
    fn default() -> Self {
        Self::NOT_ANNOUNCED
    }
}

impl fmt::Display for SamplingRate {
    /// As the operator writes it in the configuration: `denominator/numerator`, "one of a thousand" is `1/1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.denominator, self.numerator)
    }
}

/// Greatest common divisor (Euclid). `gcd(n, 0)` is `n`.
#[must_use]
pub const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_reduced_and_never_below_one() {
        let rate = SamplingRate::new(512 * 3, 3, RateSource::Sampler).expect("a rate");
        assert_eq!((rate.numerator(), rate.denominator()), (512, 1));
        assert_eq!(rate.to_string(), "1/512");
        for (numerator, denominator) in [(0, 1), (1, 0), (0, 0), (1, 2), (1 << 40, 1)] {
            assert_eq!(SamplingRate::new(numerator, denominator, RateSource::Sampler), None);
        }
        assert!(!SamplingRate::new(7, 7, RateSource::Header).expect("a rate").is_sampled());
    }

    #[test]
    fn seconds_round_down_before_the_epoch_too() {
        assert_eq!(UnixMillis(-1).seconds(), -1);
        assert_eq!(UnixMillis(1999).seconds(), 1);
    }
}
