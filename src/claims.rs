//! Flows that two billing points claim: a check of the configuration, on captures or on the journals.
//!
//! A *billing point* is an exporter and a link. A flow is charged where it crosses a link, once; where links are
//! configured at two places that the same packets pass, or an exporter reports both sides and its configuration does
//! not say so, customers pay twice, and nothing in the ledger looks wrong. This check puts datagrams through the same
//! stages as billing does (decode, scale, classify), remembers who was billed for which flow and where, and reports
//! flows that were billed twice in the same direction. It touches no ledger.
//!
//! What counts as the same flow: the same addresses, ports, protocol and family, at overlapping times, in one of
//! these ways. *Two points*: their volumes agree in a five-minute bucket, or over all buckets (exporters cut long
//! flows at different moments): exactly where both are unsampled, else within three standard errors. *One point
//! twice*: two records that agree in everything, both instants and both counters, as those of a flow's input and
//! output interfaces do. Records of a flow that follow each other are neither.
//!
//! Memory is bounded. When the table is full, it keeps half of the flows, by a hash of what makes them the same, and so
//! on; what is left is looked at completely, and the report says which part that is. Invariant: every claim on a
//! flow that is in the table is in the table.

mod read;

use std::collections::{BTreeMap, HashMap};

use crate::classify::Classified;
use crate::flow::{Address, Direction, Family, FlowRecord, Observed};
use crate::ids::{CustomerId, ExporterId, LinkId};
use crate::units::{SamplingRate, UnixMillis};
use crate::usage::{BucketStart, Scaled, Variance};

pub use read::{Check, Error, Named};

/// Claims remembered at most: about a hundred megaoctets.
const CLAIMS_MAX: usize = 1 << 19;

/// Clocks of two exporters differ by less than that.
const SKEW_MS: i64 = 1000;

/// The longest packet that is assumed where sampling makes volumes uncertain, in octets.
const PACKET_OCTETS: u64 = 1500;

/// A flow is kept where so many high bits of its hash are zero, at most.
const SHIFT_MAX: u32 = 40;

/// What makes two records ones of the same flow.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Flow {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Address family.
    pub family: Family,
}

impl Flow {
    /// `None` where the record does not tell one flow from another.
    fn of(record: &FlowRecord) -> Option<Self> {
        let &FlowRecord { source, destination, source_port, destination_port, protocol, family, .. } = record;
        let is_told = family != Family::Other && (source, destination) != Default::default();
        is_told.then_some(Self { source, destination, source_port, destination_port, protocol, family })
    }
}

/// Where somebody was billed, and who.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Point {
    /// The exporter, by its number in this process.
    pub exporter: ExporterId,
    /// The link.
    pub link: LinkId,
    /// The direction, seen from the customer.
    pub direction: Direction,
    /// The customer.
    pub customer: CustomerId,
}

impl Point {
    fn is_elsewhere(&self, other: &Self) -> bool {
        (self.exporter, self.link) != (other.exporter, other.link)
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Key {
    flow: Flow,
    /// Of the records' ends.
    bucket: BucketStart,
    /// In [`Claims::points`].
    point: u32,
    rate: SamplingRate,
}

/// What tells the copy of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Copy {
    start: UnixMillis,
    end: UnixMillis,
    octets: u64,
    packets: u64,
}

/// Raw sums of the records of one key.
#[derive(Clone, Copy, Debug)]
struct Claim {
    octets: u64,
    packets: u64,
    start: UnixMillis,
    end: UnixMillis,
    /// The newest record, and where it was observed.
    last: (Copy, Observed),
    /// Of records that are copies of the one before.
    copied_octets: u64,
    copied_packets: u64,
}

/// Who was billed for which flow, where and when.
#[derive(Debug)]
pub struct Claims {
    entries: HashMap<Key, Claim, foldhash::quality::FixedState>,
    points: Vec<Point>,
    numbers: HashMap<Point, u32>,
    /// Flows are kept whose hash has so many leading zeros.
    shift: u32,
    max: usize,
}

impl Default for Claims {
    fn default() -> Self {
        Self::new(CLAIMS_MAX)
    }
}

/// Flows that were claimed by the same two points.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// One of the points. Both are the same where one point claims a flow twice.
    pub points: [Point; 2],
    /// How many flows.
    pub flows: u64,
    /// What was claimed twice, scaled: the lesser of both claims on each flow.
    pub octets: i128,
    /// Packets of it.
    pub packets: i128,
    /// The flow with the most of it, when it began, and its octets.
    pub example: (Flow, UnixMillis, i128),
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The most octets first.
    pub findings: Vec<Finding>,
    /// Flows that were looked at to the end.
    pub flows: u64,
    /// One in so many of all flows was. 1: all of them.
    pub one_in: u64,
}

impl Claims {
    /// A table of so many claims.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            entries: HashMap::default(),
            points: Vec::new(),
            numbers: HashMap::new(),
            shift: 0,
            max: max.max(1),
        }
    }

    /// Takes what was billed of `records`, classified as `classified` (an entry a record, in their order).
    pub fn add(&mut self, records: &[FlowRecord], classified: &[Classified]) {
        for (record, classified) in records.iter().zip(classified) {
            if classified.counts && classified.customer >= CustomerId::FIRST {
                self.add_one(record, classified);
            }
        }
    }

    fn add_one(&mut self, record: &FlowRecord, classified: &Classified) {
        let Some(flow) = Flow::of(record) else { return };
        if !self.keeps(&flow) {
            return;
        }
        let &Classified { customer, link, direction, .. } = classified;
        let point = Point { exporter: record.exporter, link, direction, customer };
        let next = u32::try_from(self.points.len()).expect("points are bounded by the configuration");
        let point = *self.numbers.entry(point).or_insert_with(|| {
            self.points.push(point);
            next
        });
        let key = Key { flow, bucket: BucketStart::of(record.end), point, rate: record.rate };
        let (octets, packets) = (record.octets.as_u64(), record.packets.as_u64());
        let copy = Copy { start: record.start, end: record.end, octets, packets };
        if let Some(claim) = self.entries.get_mut(&key) {
            claim.octets = claim.octets.saturating_add(octets);
            claim.packets = claim.packets.saturating_add(packets);
            claim.start = claim.start.min(record.start);
            claim.end = claim.end.max(record.end);
            let (before, observed) = claim.last;
            // Of flows without duration two may well be alike.
            let may_be_copy = observed != record.observed || observed == Observed::Unknown;
            if before == copy && may_be_copy && record.start < record.end {
                claim.copied_octets = claim.copied_octets.saturating_add(octets);
                claim.copied_packets = claim.copied_packets.saturating_add(packets);
            }
            claim.last = (copy, record.observed);
            return;
        }
        let (start, end, last) = (record.start, record.end, (copy, record.observed));
        let claim = Claim { octets, packets, start, end, last, copied_octets: 0, copied_packets: 0 };
        while self.entries.len() >= self.max && self.shift < SHIFT_MAX {
            self.shift += 1;
            let (shift, hasher) = (self.shift, self.entries.hasher().clone());
            self.entries.retain(|key, _| is_kept(&hasher, shift, &key.flow));
        }
        if self.entries.len() < self.max && self.keeps(&flow) {
            self.entries.insert(key, claim);
        }
    }

    fn keeps(&self, flow: &Flow) -> bool {
        is_kept(self.entries.hasher(), self.shift, flow)
    }

    /// What was claimed twice.
    #[must_use]
    pub fn report(self) -> Report {
        let one_in = 1 << self.shift;
        let mut entries: Vec<(Key, Claim)> = self.entries.into_iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let mut found: BTreeMap<[Point; 2], Finding> = BTreeMap::new();
        let mut flows = 0;
        for claims in entries.chunk_by(|a, b| a.0.flow == b.0.flow) {
            flows += 1;
            for (points, twice) in claimed_twice(&sides(claims, &self.points)) {
                let example = (claims[0].0.flow, twice.start, twice.octets.rounded());
                let finding = found.entry(points).or_insert_with(|| Finding {
                    points,
                    flows: 0,
                    octets: 0,
                    packets: 0,
                    example,
                });
                finding.flows += 1;
                finding.octets += twice.octets.rounded();
                finding.packets += twice.packets.rounded();
                if example.2 > finding.example.2 {
                    finding.example = example;
                }
            }
        }
        let mut findings: Vec<Finding> = found.into_values().collect();
        findings.sort_by_key(|finding| -finding.octets);
        Report { findings, flows, one_in }
    }
}

fn is_kept(hasher: &foldhash::quality::FixedState, shift: u32, flow: &Flow) -> bool {
    use core::hash::BuildHasher;
    shift == 0 || hasher.hash_one(flow) >> (u64::BITS - shift) == 0
}

/// The claim of one point on a flow, over a time.
#[derive(Clone, Debug)]
struct Volume {
    octets: Scaled,
    packets: Scaled,
    variance: Variance,
    copied: [Scaled; 2],
    start: UnixMillis,
    end: UnixMillis,
}

impl Volume {
    const NOTHING_YET: (UnixMillis, UnixMillis) = (UnixMillis(i64::MAX), UnixMillis(i64::MIN));

    fn new() -> Self {
        let (start, end) = Self::NOTHING_YET;
        let (octets, packets, copied) = (Scaled::default(), Scaled::default(), Default::default());
        Self { octets, packets, variance: Variance::default(), copied, start, end }
    }

    fn add(&mut self, claim: &Claim, rate: SamplingRate) {
        self.octets.add(claim.octets, rate);
        self.packets.add(claim.packets, rate);
        if rate.is_sampled() {
            self.variance.add(claim.octets.saturating_mul(PACKET_OCTETS), rate);
        }
        self.copied[0].add(claim.copied_octets, rate);
        self.copied[1].add(claim.copied_packets, rate);
        self.start = self.start.min(claim.start);
        self.end = self.end.max(claim.end);
    }

    fn merge(&mut self, other: &Self) {
        self.octets.merge(&other.octets);
        self.packets.merge(&other.packets);
        self.variance.merge(other.variance);
        for (sum, more) in self.copied.iter_mut().zip(&other.copied) {
            sum.merge(more);
        }
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
    }

    fn total<'a>(volumes: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut total = Self::new();
        volumes.into_iter().for_each(|volume| total.merge(volume));
        total
    }

    /// Whether both are claims on the same packets.
    fn is_like(&self, other: &Self) -> bool {
        if self.start.since(other.end) > SKEW_MS || other.start.since(self.end) > SKEW_MS {
            return false;
        }
        let mut variance = self.variance;
        variance.merge(other.variance);
        let difference = self.octets.rounded().abs_diff(other.octets.rounded());
        if variance.octets_squared() == 0 {
            return difference == 0 && self.packets.rounded() == other.packets.rounded();
        }
        difference <= variance.standard_error().saturating_mul(3)
    }

    fn lesser<'a>(&'a self, other: &'a Self) -> &'a Self {
        if other.octets.rounded() < self.octets.rounded() { other } else { self }
    }
}

/// The claims of one point by bucket.
type Side = (Point, BTreeMap<BucketStart, Volume>);

/// The claims on one flow, by point.
fn sides(claims: &[(Key, Claim)], points: &[Point]) -> Vec<Side> {
    let mut sides: BTreeMap<Point, BTreeMap<BucketStart, Volume>> = BTreeMap::new();
    for (key, claim) in claims {
        let side = sides.entry(points[key.point as usize]).or_default();
        side.entry(key.bucket).or_insert_with(Volume::new).add(claim, key.rate);
    }
    sides.into_iter().collect()
}

/// What was claimed twice of one flow, by the points that did.
fn claimed_twice(sides: &[Side]) -> Vec<([Point; 2], Volume)> {
    let mut found = Vec::new();
    for (n, (point, buckets)) in sides.iter().enumerate() {
        let total = Volume::total(buckets.values());
        if total.copied[0].rounded() > 0 {
            let [octets, packets] = total.copied.clone();
            found.push(([*point; 2], Volume { octets, packets, ..total.clone() }));
        }
        for (other, others) in &sides[n + 1..] {
            // To and from customers are two crossings, both to be paid for, also where both are of one customer.
            if !point.is_elsewhere(other) || point.direction != other.direction {
                continue;
            }
            let others_total = Volume::total(others.values());
            let both = buckets.iter().filter_map(|(bucket, volume)| Some((volume, others.get(bucket)?)));
            let alike: Vec<&Volume> = both.filter(|(a, b)| a.is_like(b)).map(|(a, b)| a.lesser(b)).collect();
            if total.is_like(&others_total) {
                found.push(([*point, *other], total.lesser(&others_total).clone()));
            } else if !alike.is_empty() {
                found.push(([*point, *other], Volume::total(alike)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
