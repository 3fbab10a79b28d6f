//! What a customer has of interface totals, for charges that are calibrated ([`crate::rate::calibrate`]).
//!
//! The variance of a share depends on all that a charge takes of an interval, so the rows of a bucket wait until it is
//! over; there are few of them. What came late has no part: the total was shared out without it, and all of it is charged
//! already. Elsewhere late rows count as the others do.

use core::fmt::Write;
use std::collections::BTreeMap;

use super::{Group, Names, Quick, escaped, link_name};
use crate::flow::Direction;
use crate::rate::calibrate::{Calibrated, Total, Totals, variance, weight};
use crate::rate::tariff::{ChargeKind, ChargeRule, Tariff, VolumeRule};
use crate::rate::usage::GroupKey;
use crate::units::SamplingRate;
use crate::usage::{UsageRow, Variance};

/// A charge that is calibrated, and what it comes to.
struct Charged<'a> {
    rule: &'a ChargeRule,
    volume: &'a VolumeRule,
    /// As the tariff has it, in millionths.
    max_difference: u32,
    sums: BTreeMap<(Direction, usize), Calibrated>,
}

/// A row of the bucket.
struct Waiting {
    row: UsageRow,
    group: Group,
    is_late: bool,
}

/// A row of an interval, with what it counts for and its share, where there is a total.
struct Own<'a> {
    row: &'a UsageRow,
    /// Positions of the charges that take it.
    taken_by: &'a [usize],
    is_late: bool,
    share: Option<(u64, u64)>,
}

/// The charges of a slot's tariff that are calibrated.
pub(super) struct Sharing<'a> {
    tariff: &'a Tariff,
    charges: Vec<Charged<'a>>,
    /// Which of them are about a group, bands aside.
    takers: Quick<Group, Box<[usize]>>,
    waiting: Vec<Waiting>,
    band: usize,
}

impl<'a> Sharing<'a> {
    /// `None` where nothing is calibrated.
    pub(super) fn of(tariff: &'a Tariff) -> Option<Self> {
        let charged = |rule: &'a ChargeRule| match &rule.kind {
            ChargeKind::Volume(volume) => {
                let max_difference = volume.calibrate?.max_difference;
                Some(Charged { rule, volume, max_difference, sums: BTreeMap::new() })
            }
            _ => None,
        };
        let charges: Vec<Charged<'a>> = tariff.charges.iter().filter_map(charged).collect();
        let sharing = Self { tariff, charges, takers: Quick::default(), waiting: Vec::new(), band: 0 };
        (!sharing.charges.is_empty()).then_some(sharing)
    }

    /// Takes a row of the bucket, which lies in `band`.
    pub(super) fn add(
        &mut self,
        row: &UsageRow,
        group: Group,
        (band, is_late): (u8, bool),
        key_of: impl FnOnce() -> GroupKey,
    ) {
        let (tariff, charges) = (self.tariff, &self.charges);
        self.takers.entry(group).or_insert_with(|| {
            let key = key_of();
            let class = tariff.class_of(&key);
            let takes = |charged: &Charged<'_>| {
                charged.volume.direction.includes(key.direction)
                    && charged.volume.classes.contains(&class)
                    && !tariff.exempts(&charged.rule.id, &key)
            };
            (0..charges.len()).filter(|&at| takes(&charges[at])).collect()
        });
        self.band = band.into();
        self.waiting.push(Waiting { row: *row, group, is_late });
    }

    /// The bucket is over. Lines about its intervals go to `text`, where there is one:
    ///
    /// ```text
    /// bucket link direction interface flows variance share LF
    /// ```
    pub(super) fn end_bucket(&mut self, totals: &Totals, names: &Names, mut text: Option<&mut String>) {
        if self.waiting.is_empty() {
            return;
        }
        let Self { charges, takers, waiting, band, .. } = self;
        let interval = |one: &Waiting| (one.row.key.link, one.row.key.direction);
        waiting.sort_unstable_by_key(|one| (interval(one), one.row.key, one.is_late));
        for rows in waiting.chunk_by(|a, b| interval(a) == interval(b)) {
            let key = &rows[0].row.key;
            let total = totals.total(key.bucket, key.link, key.direction);
            let own: Vec<Own<'_>> = rows.iter().map(|one| own(one, total, totals, takers)).collect();
            if let (Some(total), Some(text)) = (total, text.as_deref_mut()) {
                let share: u128 = own.iter().filter_map(|own| Some(u128::from(own.share?.1))).sum();
                let link = escaped(&link_name(names, key.link));
                let (bucket, direction) = (key.bucket.0, key.direction.as_str());
                let Total { interface, flows, variance, .. } = total;
                writeln!(text, "{bucket}\t{link}\t{direction}\t{interface}\t{flows}\t{variance}\t{share}")
                    .expect("writing to a string does not fail");
            }
            for (at, charged) in charges.iter_mut().enumerate() {
                if charged.volume.has_band(*band) {
                    charged.add(
                        (key.direction, *band),
                        own.iter().filter(|own| own.taken_by.contains(&at)),
                        total,
                    );
                }
            }
        }
        waiting.clear();
    }

    /// What the charges come to, by charge, direction and band.
    pub(super) fn finish(self) -> BTreeMap<(String, Direction, usize), Calibrated> {
        let of = |charged: Charged<'a>| {
            let id = &charged.rule.id;
            let sums = charged.sums.into_iter();
            sums.map(|((direction, band), sum)| ((id.clone(), direction, band), sum)).collect::<Vec<_>>()
        };
        self.charges.into_iter().flat_map(of).collect()
    }
}

fn own<'w>(
    one: &'w Waiting,
    total: Option<&Total>,
    totals: &Totals,
    takers: &'w Quick<Group, Box<[usize]>>,
) -> Own<'w> {
    let Waiting { row, group, is_late } = one;
    let weight = weight(row.sums.octets, row.key.rate).filter(|_| !is_late);
    let share =
        total.zip(weight).map(|(total, weight)| (weight, total.share(weight, || totals.order(&row.key))));
    Own { row, taken_by: takers.get(group).map_or(&[], |at| at), is_late: *is_late, share }
}

impl Charged<'_> {
    /// Adds what it takes of an interval.
    fn add<'o>(
        &mut self,
        place: (Direction, usize),
        rows: impl Iterator<Item = &'o Own<'o>>,
        total: Option<&Total>,
    ) {
        let total = total.filter(|total| total.is_within(self.max_difference));
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        let sums = self.sums.entry(place).or_default();
        sums.intervals += 1;
        sums.shared_intervals += u64::from(total.is_some());
        let (mut shared, mut weights, mut own) = (0_u128, 0_u128, Variance::default());
        for Own { row, is_late, share, .. } in rows {
            let (octets, rate): (u64, SamplingRate) = (row.sums.octets, row.key.rate);
            sums.flows.add(octets, rate);
            if total.is_none() {
                sums.volume.add(&row.sums, rate);
                continue;
            }
            sums.replaced.add(octets, rate);
            if let Some((weight, share)) = share.filter(|_| !is_late) {
                shared += u128::from(share);
                weights += u128::from(weight);
                own.add(row.sums.squares_high, rate);
            }
        }
        if let Some(total) = total {
            let all = (own.octets_squared(), total.variance);
            let variance = variance(all, (weights, total.flows.into()), total.interface);
            sums.volume.add_share(shared, Variance::of(variance), total.is_sampled);
            sums.shared += shared;
        }
    }
}

#[cfg(test)]
mod tests;
