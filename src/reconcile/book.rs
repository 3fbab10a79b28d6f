//! What the ledger has of a span, to hold flows against interfaces: versions, names, counters and flows.
//!
//! What a link is in a bucket is said by the configuration version that was in force at its beginning; where its usage was
//! corrected since, by the version that it was corrected by: flows and interfaces are then of the same links. A bucket in
//! which another version came into force goes by neither, for links at exporters that it says something else of.

use std::collections::{BTreeMap, BTreeSet};

use super::{BUCKET_MS, ETHERNET, ETHERNET_OVERHEAD, ETHERNET_PADDING, Error};
use crate::classify::named::{History, Resolved};
use crate::classify::rules::{InterfaceRef, LinkPoint, LinkRule, Network};
use crate::flow::Direction;
use crate::ids::{CustomerId, ExporterId, LinkId};
use crate::ledger::Ledger;
use crate::ledger::records::interfaces::{Interface, InterfacePart};
use crate::ledger::records::{NameKind, UsageFilter};
use crate::units::{IfIndex, UnixMillis};
use crate::usage::{BucketStart, Scaled, UsageRow, Variance};

/// Flows of a link in a direction and bucket.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows {
    octets: Scaled,
    packets: Scaled,
    variance: Variance,
    /// The greatest sampling rate among them, rounded up.
    rate: u128,
}

/// What flows and counters sum to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) flows: u128,
    packets: u128,
    /// Of the samples.
    pub(super) variance: u128,
    pub(super) least: u128,
    pub(super) most: u128,
    pub(super) through: u128,
    /// The greatest sampling rate of a bucket's flows, rounded up; of all buckets together there is none.
    pub(super) rate: u128,
    /// The variance to expect if the interface is right.
    pub(super) expected: u128,
}

/// What the names of interfaces meant in a bucket.
pub(super) struct Meanings {
    pub(super) first: Resolved,
    later: Vec<Resolved>,
}

impl Meanings {
    pub(super) fn of(book: &Book, network: &Network, bucket: BucketStart) -> Self {
        let from = bucket.start().0;
        let mut all =
            book.history.meanings(network, from, from + BUCKET_MS).into_iter().map(|(_, resolved)| resolved);
        Self { first: all.next().unwrap_or_default(), later: all.collect() }
    }

    /// True where a link had other interfaces at the end of the bucket than at its beginning: their counters are then not
    /// the link's over all of it.
    pub(super) fn change(&self, position: usize) -> bool {
        self.later.iter().any(|later| !later.of(position).eq(self.first.of(position)))
    }
}

/// What the ledger has of a span.
pub(super) struct Book {
    versions: Vec<(i64, Network)>,
    /// Buckets whose usage was corrected, up to the first one after them, with the place of the version by which it was;
    /// the latest correction comes last.
    corrected: Vec<(BucketStart, BucketStart, usize)>,
    history: History,
    pub(super) exporters: BTreeMap<String, u32>,
    pub(super) links: BTreeMap<String, u32>,
    pub(super) parts: BTreeMap<(BucketStart, u32, IfIndex), Vec<InterfacePart>>,
    pub(super) flows: BTreeMap<(BucketStart, LinkId, Direction), Flows>,
    through: BTreeMap<(BucketStart, ExporterId), Scaled>,
    /// The greatest sampling rate of each exporter in a bucket, where it is more than 1: for links that had no flows in it.
    rates: BTreeMap<(BucketStart, ExporterId), u128>,
}

impl Sums {
    pub(super) fn add(&mut self, other: &Self) {
        self.flows += other.flows;
        self.packets += other.packets;
        self.variance += other.variance;
        self.least += other.least;
        self.most += other.most;
        self.through += other.through;
        self.expected = self.expected.saturating_add(other.expected);
    }
}

impl Book {
    /// With what interfaces counted.
    pub(super) fn counted(ledger: &mut Ledger, from: BucketStart, to: BucketStart) -> Result<Self, Error> {
        let mut book = Self::without_flows(ledger)?;
        book.read_octets(ledger, from, to)?;
        Ok(book)
    }

    pub(super) fn read_flows(
        &mut self,
        ledger: &mut Ledger,
        from: BucketStart,
        to: BucketStart,
    ) -> Result<(), Error> {
        let filter = UsageFilter { from: Some(from), to: Some(to), customer: None };
        ledger.for_each_usage(&filter, &mut |row| self.take(&row))?;
        // What came after its period was closed crossed the link all the same.
        ledger.for_each_late_usage(BucketStart(i64::MIN), BucketStart(i64::MAX), &mut |_, row| {
            if from <= row.key.bucket && row.key.bucket < to {
                self.take(&row);
            }
        })?;
        Ok(())
    }

    fn read_octets(&mut self, ledger: &mut Ledger, from: BucketStart, to: BucketStart) -> Result<(), Error> {
        for row in ledger.interface_octets(from, to)? {
            self.parts.entry((row.part.bucket, row.exporter, row.ifindex)).or_default().push(row.part);
        }
        Ok(())
    }

    /// Names, versions and what exporters said of their interfaces.
    fn without_flows(ledger: &mut Ledger) -> Result<Self, Error> {
        let (mut versions, mut hashes) = (Vec::new(), BTreeMap::new());
        let mut wrong = None;
        ledger.for_each_config_version(&mut |version| {
            hashes.entry(version.sha256.clone()).or_insert(versions.len());
            // Only links and exporters are asked for.
            match Network::outline_of(&version.text) {
                Ok(network) => versions.push((version.valid_from, network)),
                Err(source) => wrong = Some(Error::Version { sha256: version.sha256, source }),
            }
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
        let corrected = ledger.corrected_by()?.into_iter();
        let corrected =
            corrected.filter_map(|(from, until, sha256)| Some((from, until, *hashes.get(&sha256)?)));
        let corrected = corrected.collect();
        let exporters: BTreeMap<u32, String> = ledger.names(NameKind::Exporter)?.into_iter().collect();
        let links = ledger.names(NameKind::Link)?;
        let history = History::new(&ledger.interfaces()?, |number| exporters.get(&number).cloned());
        Ok(Self {
            versions,
            corrected,
            history,
            exporters: exporters.into_iter().map(|(number, name)| (name, number)).collect(),
            links: links.into_iter().map(|(number, name)| (name, number)).collect(),
            parts: BTreeMap::new(),
            flows: BTreeMap::new(),
            through: BTreeMap::new(),
            rates: BTreeMap::new(),
        })
    }

    pub(super) fn take(&mut self, row: &UsageRow) {
        let key = &row.key;
        let rate = rate_of(row);
        if rate > 1 {
            let most = self.rates.entry((key.bucket, key.exporter)).or_default();
            *most = rate.max(*most);
        }
        if key.link == LinkId::NONE {
            return;
        }
        if key.customer == CustomerId::THROUGH {
            let through = self.through.entry((key.bucket, key.exporter)).or_default();
            through.add(row.sums.octets, key.rate);
        }
        // What was discarded on its way out never left.
        if key.customer == CustomerId::DISCARDED && key.direction == Direction::Out {
            return;
        }
        self.flows.entry((key.bucket, key.link, key.direction)).or_default().add(row);
    }

    /// Adds a row of another link that left by this one.
    pub(super) fn leaves(&mut self, row: &UsageRow, link: LinkId) {
        self.flows.entry((row.key.bucket, link, Direction::Out)).or_default().add(row);
    }

    /// As if no flows had been read.
    pub(super) fn forget_flows(&mut self) {
        self.flows.clear();
        self.through.clear();
        self.rates.clear();
    }

    /// As if usage had been corrected by a configuration version, the last of all.
    pub(super) fn suppose(
        &mut self,
        (from, until): (BucketStart, BucketStart),
        sha256: &str,
        ledger: &mut Ledger,
    ) -> Result<(), Error> {
        let mut versions = ledger.config_beginnings()?.into_iter();
        self.corrected
            .extend(versions.position(|version| version.sha256 == sha256).map(|at| (from, until, at)));
        Ok(())
    }

    /// The version by which the usage of a bucket was corrected, if it was.
    fn corrected(&self, bucket: BucketStart) -> Option<&Network> {
        let (.., at) = self.corrected.iter().rfind(|(from, until, _)| *from <= bucket && bucket < *until)?;
        self.versions.get(*at).map(|(_, network)| network)
    }

    /// The configuration in force at the beginning of a bucket.
    pub(super) fn in_force(&self, bucket: BucketStart) -> Option<&Network> {
        let at = bucket.start().0;
        let place = self.versions.partition_point(|(from, _)| *from <= at).saturating_sub(1);
        self.versions.get(place).map(|(_, network)| network)
    }

    /// The configuration that says which link a bucket's flows belong to, at its beginning.
    pub(super) fn network(&self, bucket: BucketStart) -> Option<&Network> {
        self.corrected(bucket).or_else(|| self.in_force(bucket))
    }

    /// The configurations that say it, or said it before a correction.
    pub(super) fn networks(&self, bucket: BucketStart) -> impl Iterator<Item = &Network> {
        let is_of =
            move |(from, until, _): &&(BucketStart, BucketStart, usize)| *from <= bucket && bucket < *until;
        let corrected = self.corrected.iter().filter(is_of).filter_map(|(.., at)| self.versions.get(*at));
        self.in_force(bucket).into_iter().chain(corrected.map(|(_, network)| network))
    }

    /// Those that came into force inside a bucket, and say it of the rest of it.
    pub(super) fn later(&self, bucket: BucketStart) -> impl Iterator<Item = &Network> {
        let begins = bucket.start().0;
        let is_whole = self.corrected(bucket).is_some();
        let inside = move |from: i64| !is_whole && begins < from && from < begins + BUCKET_MS;
        self.versions.iter().filter(move |(from, _)| inside(*from)).map(|(_, network)| network)
    }

    /// True where another version came into force inside the bucket, which says something else of the link, or of where other
    /// links are at its exporters: flows of a part of the bucket were told apart otherwise.
    pub(super) fn is_reconfigured(&self, bucket: BucketStart, network: &Network, link: &LinkRule) -> bool {
        let is_same = |later: &Network| {
            let own = later.links.iter().find(|other| other.name == link.name);
            own == Some(link) && beside(later, link) == beside(network, link)
        };
        !self.later(bucket).all(is_same)
    }

    /// The sums of a link, and how much of the bucket the counters of all its interfaces cover.
    pub(super) fn sums(
        &self,
        bucket: BucketStart,
        link: u32,
        points: &[&InterfaceRef],
        direction: Direction,
        overhead: Option<u32>,
    ) -> (Sums, i64) {
        let mut sums = Sums::default();
        let link = u16::try_from(link).map(LinkId).unwrap_or(LinkId::NONE);
        if let Some(flows) = self.flows.get(&(bucket, link, direction)) {
            sums.flows = flows.octets.rounded().unsigned_abs();
            sums.packets = flows.packets.rounded().unsigned_abs();
            sums.variance = flows.variance.octets_squared();
            sums.rate = flows.rate;
        }
        let mut covered = if points.is_empty() { 0 } else { BUCKET_MS };
        let mut counted = Vec::with_capacity(points.len());
        let mut at = BTreeSet::new();
        for point in points {
            let number = self.exporters.get(&point.exporter).copied().unwrap_or(0);
            at.extend(u16::try_from(number).ok().map(ExporterId));
            let parts = self.parts.get(&(bucket, number, point.ifindex)).map_or(&[][..], |parts| &parts[..]);
            covered = covered.min(parts.iter().map(InterfacePart::covered_ms).sum());
            counted.push((*point, parts, octets(parts, direction)));
        }
        let all: u128 = counted.iter().map(|(.., octets)| octets).sum();
        let mut passed = 0;
        for (point, parts, octets) in counted {
            // Flows tell the packets of the link; of an interface as many as its part of the octets.
            let until = |octets: u128| (sums.packets * octets).checked_div(all).unwrap_or(0);
            let packets = until(passed + octets) - until(passed);
            passed += octets;
            let interface = self.interface(point, bucket.start());
            let (least, most) = without_overhead((parts, octets), direction, interface, overhead, packets);
            sums.least += least;
            sums.most += most;
        }
        if sums.rate == 0 {
            // A link without flows: as its exporters sampled elsewhere.
            let rates = at.iter().filter_map(|exporter| self.rates.get(&(bucket, *exporter)));
            sums.rate = rates.copied().max().unwrap_or(1);
        }
        if direction == Direction::Out {
            for exporter in at {
                let through = self.through.get(&(bucket, exporter));
                sums.through += through.map_or(0, |sum| sum.rounded().unsigned_abs());
            }
        }
        (sums, covered)
    }

    fn interface(&self, point: &InterfaceRef, at: UnixMillis) -> Option<&Interface> {
        let interfaces = self.history.interfaces(&point.exporter, at)?;
        interfaces.iter().find(|interface| interface.ifindex == point.ifindex)
    }
}

impl Flows {
    fn add(&mut self, row: &UsageRow) {
        self.octets.add(row.sums.octets, row.key.rate);
        self.packets.add(row.sums.packets, row.key.rate);
        self.variance.add(row.sums.squares_high, row.key.rate);
        self.rate = self.rate.max(rate_of(row));
    }
}

/// The sampling rate of a row, rounded up.
fn rate_of(row: &UsageRow) -> u128 {
    u128::from(row.key.rate.numerator()).div_ceil(row.key.rate.denominator().into())
}

/// The exporters of a link, with repetitions.
pub(super) fn exporters(link: &LinkRule) -> impl Iterator<Item = &str> {
    link.points.iter().map(exporter)
}

fn exporter(point: &LinkPoint) -> &str {
    match point {
        LinkPoint::Interface(at) => &at.exporter,
        LinkPoint::Named(name) => &name.exporter,
        LinkPoint::WholeExporter(name) => name,
    }
}

/// Where links are at the exporters of a link, by their names.
fn beside<'a>(network: &'a Network, link: &LinkRule) -> BTreeMap<&'a str, Vec<&'a LinkPoint>> {
    let mut found: BTreeMap<&str, Vec<&LinkPoint>> = BTreeMap::new();
    for other in &network.links {
        let is_at = |point: &&LinkPoint| exporters(link).any(|own| own == exporter(point));
        let points: Vec<&LinkPoint> = other.points.iter().filter(is_at).collect();
        if !points.is_empty() {
            found.insert(&other.name, points);
        }
    }
    found
}

/// What an interface counted in a direction.
fn octets(parts: &[InterfacePart], direction: Direction) -> u128 {
    let of = |part: &InterfacePart| match direction {
        Direction::In => part.in_octets,
        _ => part.out_octets,
    };
    parts.iter().map(|part| u128::from(of(part))).sum()
}

/// Octets of packets in what an interface counted: the least and the most. Where it does not count packets, those of the
/// flows stand in.
fn without_overhead(
    (parts, octets): (&[InterfacePart], u128),
    direction: Direction,
    interface: Option<&Interface>,
    overhead: Option<u32>,
    flow_packets: u128,
) -> (u128, u128) {
    let is_in = direction == Direction::In;
    let packets = |part: &InterfacePart| if is_in { part.in_packets } else { part.out_packets };
    let packets: Option<u128> = parts.iter().map(|part| packets(part).map(u128::from)).sum();
    let packets = packets.unwrap_or(flow_packets);
    let is_ethernet = interface.is_some_and(|interface| ETHERNET.contains(&interface.kind));
    let by_type = if is_ethernet { ETHERNET_OVERHEAD } else { 0 };
    let padding = if is_ethernet { ETHERNET_PADDING } else { 0 };
    let most = octets.saturating_sub(packets * u128::from(overhead.unwrap_or(by_type)));
    (most.saturating_sub(packets * u128::from(padding)), most)
}
