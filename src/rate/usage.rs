//! What rating reads: one customer's usage of one part of a period, grouped by everything that a tariff can ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calibrate::Calibrated;
use super::percentile::Series;
use crate::flow::{Direction, Family};
use crate::money::Exact;
use crate::units::SamplingRate;
use crate::usage::{Scaled, UsageSums, Variance};

/// What a group of usage has in common. Names, not numbers: tariffs are written in names.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupKey {
    /// The link's name.
    pub link: String,
    /// The link's kind; empty where the link is no longer configured.
    pub link_kind: String,
    /// Direction, seen from the customer.
    pub direction: Direction,
    /// The traffic class that the meter gave.
    pub traffic_class: String,
    /// Address family.
    pub family: Family,
    /// The exporter's name.
    pub exporter: String,
    /// The position of the tariff's band; 0 where it has none.
    pub band: usize,
}

/// Volume with its uncertainty and where its scaling came from. Sums are exact.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Volume {
    /// Octets, scaled.
    pub octets: Scaled,
    /// Packets, scaled.
    pub packets: Scaled,
    /// Upper bound of the variance of `octets`.
    pub variance: Variance,
    /// Raw octets by sampling rate and the rate's source; unsampled ones too. Shares of interface totals are not among them.
    pub raw_by_rate: BTreeMap<SamplingRate, u128>,
    /// Octets that are shares of interface totals by flows that were sampled.
    pub sampled_shares: u128,
}

impl Volume {
    /// Adds raw sums counted at `rate`.
    pub fn add(&mut self, sums: &UsageSums, rate: SamplingRate) {
        self.octets.add(sums.octets, rate);
        self.packets.add(sums.packets, rate);
        self.variance.add(sums.squares_high, rate);
        let raw = self.raw_by_rate.entry(rate).or_default();
        *raw = raw.checked_add(sums.octets.into()).expect("2^64 rows of 2^64 octets fit");
    }

    /// Adds a share of an interface total: octets, their variance, and whether flows that were sampled say whose they are.
    pub fn add_share(&mut self, octets: u128, variance: Variance, is_sampled: bool) {
        self.octets.add_sum(octets, SamplingRate::NOT_ANNOUNCED);
        self.variance.merge(variance);
        if is_sampled {
            self.sampled_shares =
                self.sampled_shares.checked_add(octets).expect("2^64 shares of 2^63 octets fit");
        }
    }

    /// Adds another volume.
    pub fn merge(&mut self, other: &Self) {
        self.sampled_shares =
            self.sampled_shares.checked_add(other.sampled_shares).expect("2^64 shares of 2^63 octets fit");
        self.octets.merge(&other.octets);
        self.packets.merge(&other.packets);
        self.variance.merge(other.variance);
        for (&rate, &octets) in &other.raw_by_rate {
            let raw = self.raw_by_rate.entry(rate).or_default();
            *raw = raw.checked_add(octets).expect("2^64 rows of 2^64 octets fit");
        }
    }

    /// Octets, scaled and not rounded.
    #[must_use]
    pub fn exact_octets(&self) -> Exact {
        exact(&self.octets)
    }

    /// The part of the octets that was estimated from sampled packets, scaled.
    #[must_use]
    pub fn sampled_octets(&self) -> Exact {
        self.raw_by_rate
            .iter()
            .filter(|(rate, _)| rate.is_sampled())
            .fold(Exact::whole(self.sampled_shares), |sum, (&rate, &raw)| sum.plus(&scaled(raw, rate)))
    }

    /// Standard error over estimate in millionths, by the upper bound of the variance.
    #[must_use]
    pub fn relative_error_millionths(&self) -> u128 {
        self.variance.relative_error_millionths(self.octets.rounded())
    }
}

/// `raw` octets counted at `rate`, scaled and not rounded.
#[must_use]
pub fn scaled(raw: u128, rate: SamplingRate) -> Exact {
    Exact::whole(raw).times(&Exact::whole(rate.numerator())).over(rate.denominator())
}

/// A scaled sum as an exact number.
#[must_use]
pub fn exact(sum: &Scaled) -> Exact {
    // The denominator grows with each part that has another one. So two halves are added, not one part after the other:
    // numbers of one size, and most of them small. Exporters may state as many rates as they send records.
    let mut sums: Vec<Exact> =
        sum.parts().map(|(denominator, numerator)| Exact::whole(numerator).over(denominator)).collect();
    while sums.len() > 1 {
        sums = sums
            .chunks(2)
            .map(|pair| match pair {
                [one, other] => one.plus(other),
                rest => rest[0].clone(),
            })
            .collect();
    }
    sums.pop().unwrap_or_else(Exact::zero)
}

/// One customer's usage of one part of a period.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PeriodUsage {
    /// Volume by group.
    pub groups: BTreeMap<GroupKey, Volume>,
    /// Samples of five minutes, for charges by percentile.
    pub series: Vec<Series>,
    /// The band of each bucket; empty where the tariff has no bands.
    pub band_of_bucket: Arc<[u8]>,
    /// Units that are left of the allowances of the period before, by charge.
    pub carried: BTreeMap<String, Exact>,
    /// What the volume of charges that are calibrated comes to, by charge, direction and band.
    pub calibrated: BTreeMap<(String, Direction, usize), Calibrated>,
}

impl PeriodUsage {
    /// Adds raw sums of one usage row.
    pub fn add(&mut self, key: GroupKey, sums: &UsageSums, rate: SamplingRate) {
        self.groups.entry(key).or_default().add(sums, rate);
    }

    /// The volume of the groups that `chosen` accepts.
    #[must_use]
    pub fn volume(&self, mut chosen: impl FnMut(&GroupKey) -> bool) -> Volume {
        let mut sum = Volume::default();
        for (_, volume) in self.groups.iter().filter(|(key, _)| chosen(key)) {
            sum.merge(volume);
        }
        sum
    }

    /// True where nothing was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}
