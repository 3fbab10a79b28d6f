//! Flows against interface counters: for each link and five minutes, whether what the flows sum to is what crossed the
//! link's interfaces.
//!
//! # What is compared
//!
//! Interfaces count frames, flows count IP packets. From an interface's octets the *overhead* of each of its packets is
//! taken off: what `overhead` of the link says (in the configuration that was in force then), or by `ifType` 18 octets for Ethernet (header and check sequence, RFC 3635
//! 3.2.5: the preamble is not counted) and nothing for others. Where an interface does not count packets, those of the flows
//! stand in, shared out among the link's interfaces by their octets. A short packet is padded, which nobody sees from outside: up
//! to 6 octets of each Ethernet packet (a packet of 40 octets in a frame of 64) may be padding, so the interface gives a
//! range, not a number.
//!
//! Toward the customer a link's flows are all that its interfaces received. From the customer they are not all that was
//! sent: what came in on another link, or the same, was charged there (`through`), and the ledger does not say where it
//! left. So what the interfaces sent may be more than the flows by as much as crossed the link's exporters from link to
//! link. Discarded flows were received and never sent.
//!
//! # How far they may be apart
//!
//! `sigmas` standard errors of the flow estimate, plus `tolerance` of the greater of both, plus `floor`. The standard error
//! is the greater of two: that of the samples, and the one to expect if the interface is right: with one of N packets
//! looked at and none above M octets, the variance of the estimate is at most (N - 1) M times the octets (research on
//! packet sampling calls it the Horvitz-Thompson variance). N is the greatest rate of the very bucket's flows; where the link
//! had none, of what its exporters sampled in that bucket elsewhere: a verdict is the same whatever else is looked at. Where nothing was sampled, only the second knows how little
//! that means. `tolerance` is for what no theory has: flows tell their bytes as if spread evenly over their time, routers
//! send packets of their own, and clocks differ.
//!
//! A bucket that the counters do not cover whole is not compared: half a bucket of flows cannot be cut out. Nor is one in
//! which the configuration says something else of the link's interfaces, or of other links at its exporters, than before.

mod book;
pub mod calibration;

use std::collections::{BTreeMap, BTreeSet};

use self::book::{Book, Meanings, Sums};
use crate::classify::named::Resolved;
use crate::classify::rules::{InterfaceRef, LinkPoint, LinkRule};
use crate::flow::Direction;
use crate::ledger::records::interfaces::{BUCKET_MS, InterfacePart};
use crate::ledger::{self, Ledger};
use crate::usage::BucketStart;

/// Octets of an Ethernet frame that are no packet: header and check sequence.
const ETHERNET_OVERHEAD: u32 = 18;
/// The most that padding adds to a TCP packet without content.
const ETHERNET_PADDING: u32 = 6;
/// IANAifType of Ethernet under its names: ethernetCsmacd, iso88023Csmacd, fastEther, fastEtherFX, gigabitEthernet,
/// ieee8023adLag.
const ETHERNET: [u32; 6] = [6, 7, 62, 69, 117, 161];

/// `[reconcile]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Part of the volume by which flows and counters may differ anyway, in millionths.
    pub tolerance_millionths: u32,
    /// Octets in five minutes by which they may differ anyway.
    pub floor_octets: u64,
    /// Standard errors.
    pub sigmas: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { tolerance_millionths: 50_000, floor_octets: 1_000_000, sigmas: 3 }
    }
}

/// What became of a comparison.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// They agree within the tolerance.
    Agrees,
    /// Flows are missing.
    FlowsShort,
    /// There are more flows than can have crossed.
    FlowsOver,
    /// The counters do not cover the bucket.
    NoCounters,
}

impl Verdict {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::FlowsShort => "flows-short",
            Self::FlowsOver => "flows-over",
            Self::NoCounters => "no-counters",
        }
    }

    /// True where flows and counters contradict each other.
    #[must_use]
    pub const fn is_difference(self) -> bool {
        matches!(self, Self::FlowsShort | Self::FlowsOver)
    }
}

/// A link in one direction, in a bucket or over all that were compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// The bucket; `None`: the sum of those that the counters cover.
    pub bucket: Option<BucketStart>,
    /// The ledger's number of the link.
    pub link: u32,
    /// Its name.
    pub name: String,
    /// Toward the customers or from them.
    pub direction: Direction,
    /// Octets of flows, scaled.
    pub flows: u128,
    /// Octets of the interfaces without overhead: the least and the most that they can be. `None`: not known.
    pub interface: Option<(u128, u128)>,
    /// Octets that may have left by this link though another was charged.
    pub through: u128,
    /// By how much they may differ.
    pub tolerance: u128,
    /// The standard error in it.
    pub standard_error: u128,
    /// Milliseconds that the counters cover, of the interface that they cover least.
    pub covered_ms: i64,
    /// What follows.
    pub verdict: Verdict,
}

/// Why flows and counters could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger refused something.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// A stored version cannot be read.
    #[error("configuration version {sha256} in the ledger cannot be read")]
    Version {
        /// Its hash.
        sha256: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// How far the volume of a link was held against its interfaces: for documents that quote it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Quality {
    /// The link's name.
    pub link: String,
    /// Buckets in which it had flows or counters.
    pub buckets: u64,
    /// Of those, buckets that the counters cover whole.
    pub compared: u64,
    /// Of those, buckets in which flows and counters contradict each other, in one direction at least.
    pub differences: u64,
}

/// What [`rows`] come to, by link.
#[must_use]
pub fn quality(rows: &[Row]) -> Vec<Quality> {
    let mut links: BTreeMap<u32, (Quality, BTreeSet<BucketStart>)> = BTreeMap::new();
    let mut buckets: BTreeMap<(u32, BucketStart), bool> = BTreeMap::new();
    for row in rows {
        let Some(bucket) = row.bucket else { continue };
        let (quality, compared) = links.entry(row.link).or_default();
        quality.link.clone_from(&row.name);
        *buckets.entry((row.link, bucket)).or_default() |= row.verdict.is_difference();
        if row.interface.is_some() {
            compared.insert(bucket);
        }
    }
    for ((link, _), differs) in buckets {
        if let Some((quality, _)) = links.get_mut(&link) {
            quality.buckets += 1;
            quality.differences += u64::from(differs);
        }
    }
    let with_compared = |(mut quality, compared): (Quality, BTreeSet<BucketStart>)| {
        quality.compared = compared.len() as u64;
        quality
    };
    links.into_values().map(with_compared).collect()
}

/// Compares all links in the buckets of `[from, to)`: a row for each bucket and direction, then one for each link and
/// direction over all. `packet_max`: the greatest packet, in octets.
///
/// # Errors
/// [`Error`].
pub fn rows(
    ledger: &mut Ledger,
    config: &Config,
    packet_max: u32,
    from: BucketStart,
    to: BucketStart,
) -> Result<Vec<Row>, Error> {
    let mut book = Book::counted(ledger, from, to)?;
    book.read_flows(ledger, from, to)?;
    Ok(compared(&book, config, packet_max))
}

/// How the links whose interfaces were counted at all stand in the buckets of `[from, to)`, by name. Where nothing was
/// counted, no flows are read.
///
/// # Errors
/// [`Error`].
pub fn quality_of(
    ledger: &mut Ledger,
    config: &Config,
    packet_max: u32,
    from: BucketStart,
    to: BucketStart,
) -> Result<BTreeMap<String, Quality>, Error> {
    let mut book = Book::counted(ledger, from, to)?;
    if book.parts.is_empty() {
        return Ok(BTreeMap::new());
    }
    book.read_flows(ledger, from, to)?;
    let found = quality(&compared(&book, config, packet_max)).into_iter();
    Ok(found.filter(|one| one.compared > 0).map(|one| (one.link.clone(), one)).collect())
}

/// In how many buckets of `[from, to)` the counters of a link's interfaces cover all of it, by link: by any configuration that
/// ever said which its interfaces were then, since documents were made before usage was corrected and after it.
///
/// # Errors
/// [`Error`].
pub fn covered(
    ledger: &mut Ledger,
    from: BucketStart,
    to: BucketStart,
) -> Result<BTreeMap<String, u64>, Error> {
    let book = Book::counted(ledger, from, to)?;
    let buckets: BTreeSet<BucketStart> = book.parts.keys().map(|key| key.0).collect();
    let mut found: BTreeMap<String, BTreeSet<BucketStart>> = BTreeMap::new();
    for bucket in buckets {
        for network in book.networks(bucket) {
            let meanings = Meanings::of(&book, network, bucket);
            for (position, link) in network.links.iter().enumerate() {
                let (Some(&number), Some(points)) =
                    (book.links.get(&link.name), points(link, &meanings.first, position))
                else {
                    continue;
                };
                let (_, covered_ms) = book.sums(bucket, number, &points, Direction::In, link.overhead);
                if covered_ms >= BUCKET_MS && !meanings.change(position) {
                    found.entry(link.name.clone()).or_default().insert(bucket);
                }
            }
        }
    }
    Ok(found.into_iter().map(|(link, buckets)| (link, buckets.len() as u64)).collect())
}

/// The interfaces of a link in a bucket; `None` where it is a whole exporter, which nobody counts.
fn points<'a>(link: &'a LinkRule, resolved: &'a Resolved, position: usize) -> Option<Vec<&'a InterfaceRef>> {
    let numbered = |point: &'a LinkPoint| match point {
        LinkPoint::Interface(at) => Some(at),
        LinkPoint::Named(_) | LinkPoint::WholeExporter(_) => None,
    };
    let is_whole = link.points.iter().any(|point| matches!(point, LinkPoint::WholeExporter(_)));
    (!is_whole).then(|| link.points.iter().filter_map(numbered).chain(resolved.of(position)).collect())
}

/// A row for each bucket, link and direction, then one for each link and direction over all.
fn compared(book: &Book, config: &Config, packet_max: u32) -> Vec<Row> {
    let mut buckets: BTreeSet<BucketStart> = book.parts.keys().map(|key| key.0).collect();
    buckets.extend(book.flows.keys().map(|key| key.0));
    let mut rows = Vec::new();
    let mut totals: BTreeMap<(u32, Direction), (String, Sums, i64)> = BTreeMap::new();
    for bucket in buckets {
        let Some(network) = book.network(bucket) else { continue };
        let meanings = Meanings::of(book, network, bucket);
        let resolved = &meanings.first;
        for (position, link) in network.links.iter().enumerate() {
            let Some(&number) = book.links.get(&link.name) else { continue };
            let Some(points) = points(link, resolved, position) else { continue };
            let is_other = meanings.change(position) || book.is_reconfigured(bucket, network, link);
            for direction in [Direction::In, Direction::Out] {
                let (mut sums, mut covered_ms) = book.sums(bucket, number, &points, direction, link.overhead);
                if is_other {
                    covered_ms = 0;
                }
                let rest = sums.rate.saturating_sub(1);
                sums.expected = rest.saturating_mul(packet_max.into()).saturating_mul(sums.most);
                let key = (bucket, number, link.name.as_str(), direction);
                let row = judge(config, key, &sums, covered_ms);
                if row.interface.is_some() {
                    let total = totals.entry((number, direction)).or_default();
                    total.0.clone_from(&link.name);
                    total.1.add(&sums);
                    total.2 += covered_ms;
                }
                rows.push(row);
            }
        }
    }
    for ((number, direction), (name, sums, covered_ms)) in totals {
        let key = (BucketStart(0), number, name.as_str(), direction);
        let row = judge(config, key, &sums, BUCKET_MS);
        rows.push(Row { bucket: None, covered_ms, ..row });
    }
    rows
}

/// Octets toward the customers and from them, by link and bucket.
pub type LinkOctets = BTreeMap<String, BTreeMap<BucketStart, (u64, u64)>>;

/// What the interfaces of each link counted, toward the customers and from them, with framing: buckets of `[from, to)`
/// that the counters of all its interfaces cover whole. The others are not known.
///
/// # Errors
/// [`Error`].
pub fn link_octets(ledger: &mut Ledger, from: BucketStart, to: BucketStart) -> Result<LinkOctets, Error> {
    let book = Book::counted(ledger, from, to)?;
    let buckets: BTreeSet<BucketStart> = book.parts.keys().map(|key| key.0).collect();
    let mut found = LinkOctets::new();
    for bucket in buckets {
        // Samples of a percentile are of then, whatever usage was corrected since.
        let Some(network) = book.in_force(bucket) else { continue };
        let meanings = Meanings::of(&book, network, bucket);
        let resolved = &meanings.first;
        for (position, link) in network.links.iter().enumerate() {
            let points = link.points.iter().filter_map(|point| match point {
                LinkPoint::Interface(at) => Some(at),
                LinkPoint::Named(_) | LinkPoint::WholeExporter(_) => None,
            });
            // A link of which a part cannot be counted has no sum.
            let is_countable = link.points.iter().all(|point| match point {
                LinkPoint::Interface(_) => true,
                LinkPoint::Named(name) => !resolved.waiting.contains(&name.exporter),
                LinkPoint::WholeExporter(_) => false,
            });
            let is_matched = !resolved.unmatched.iter().any(|(at, _)| *at == position);
            if !is_countable || !is_matched || meanings.change(position) {
                continue;
            }
            let mut sum = None;
            for point in points.chain(resolved.of(position)) {
                let number = book.exporters.get(&point.exporter).copied().unwrap_or(0);
                let parts =
                    book.parts.get(&(bucket, number, point.ifindex)).map_or(&[][..], |parts| &parts[..]);
                if parts.iter().map(InterfacePart::covered_ms).sum::<i64>() < BUCKET_MS {
                    sum = None;
                    break;
                }
                let (mut inward, mut outward) = sum.unwrap_or((0_u64, 0_u64));
                for part in parts {
                    inward = inward.saturating_add(part.in_octets);
                    outward = outward.saturating_add(part.out_octets);
                }
                sum = Some((inward, outward));
            }
            if let Some(sum) = sum {
                found.entry(link.name.clone()).or_default().insert(bucket, sum);
            }
        }
    }
    Ok(found)
}

fn judge(
    config: &Config,
    (bucket, link, name, direction): (BucketStart, u32, &str, Direction),
    sums: &Sums,
    covered_ms: i64,
) -> Row {
    let standard_error = sums.variance.max(sums.expected).isqrt();
    let greater = sums.most.max(sums.flows);
    let tolerance = standard_error
        .saturating_mul(config.sigmas.into())
        .saturating_add(greater.saturating_mul(config.tolerance_millionths.into()) / 1_000_000)
        .saturating_add(config.floor_octets.into());
    let is_covered = covered_ms >= BUCKET_MS;
    let verdict = if !is_covered {
        Verdict::NoCounters
    } else if sums.flows + tolerance + sums.through < sums.least {
        Verdict::FlowsShort
    } else if sums.flows > sums.most.saturating_add(tolerance) {
        Verdict::FlowsOver
    } else {
        Verdict::Agrees
    };
    Row {
        bucket: Some(bucket),
        link,
        name: name.to_owned(),
        direction,
        flows: sums.flows,
        interface: is_covered.then_some((sums.least, sums.most)),
        through: sums.through,
        tolerance,
        standard_error,
        covered_ms,
        verdict,
    }
}

#[cfg(test)]
mod tests;
