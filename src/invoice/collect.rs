//! Usage rows to each customer's usage of its period, and the hash that names those rows.
//!
//! Rows are read once, in the order of their buckets, for all customers; what is kept is a customer's sums by part,
//! band and group, and one bucket's rows, so that memory grows with customers and links and not with the length of the
//! month. Only a tariff with a percentile of flows keeps every bucket, in 16 octets a link and tariff class.
//!
//! The usage root is the SHA-256 over one line a row, sorted by bucket and then by the line's bytes:
//!
//! ```text
//! bucket link direction class family exporter numerator denominator source octets packets flows low high LF
//! ```
//!
//! apart by tabs, the bucket in seconds since the epoch, names instead of the ledger's numbers (tab, line feed and
//! backslash in a name as `\t`, `\n`, `\\`), raw sums as the ledger has them. So two ledgers that numbered their names
//! differently agree on it, and one can work it out from an export.
//!
//! Where a percentile of interface counters is charged, its samples belong to what was billed. The root is then the SHA-256
//! over the one above, in hex with a line feed, and one line a sample that was there, by part, link and bucket:
//!
//! ```text
//! bucket link in out LF
//! ```
//!
//! Where a charge is calibrated, so do the totals of the intervals in which the customer used something, what all flows of
//! each sum to, their variance, and the customer's share. The root is then the SHA-256 over the one above and that over
//! lines like these, each in hex with a line feed, sorted as above:
//!
//! ```text
//! bucket link direction interface flows variance share LF
//! ```

mod shared;

use core::fmt::Write;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use sha2::{Digest, Sha256};

use self::shared::Sharing;
use super::kinds::LinkKinds;
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::rate::calibrate::Totals;
use crate::rate::percentile::{Count, Links, Sample, SampleSource, Series};
use crate::rate::tariff::{ChargeKind, PercentileRule, Tariff};
use crate::rate::usage::{GroupKey, PeriodUsage, Volume};
use crate::units::{SamplingRate, UnixMillis};
use crate::usage::{BUCKET_SECONDS, BucketStart, Scaled, UsageRow, UsageSums, Variance};

/// The names behind the ledger's numbers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Customers.
    pub customers: HashMap<u32, String>,
    /// Links.
    pub links: HashMap<u32, String>,
    /// Traffic classes.
    pub classes: HashMap<u32, String>,
    /// Exporters.
    pub exporters: HashMap<u32, String>,
}

impl Names {
    /// The customer's number.
    #[must_use]
    pub fn customer(&self, name: &str) -> Option<CustomerId> {
        self.customers.iter().find(|(_, known)| *known == name).map(|(&id, _)| CustomerId(id))
    }
}

/// The rows do not come in the order of their buckets: a defect of the ledger, which would change the root.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("usage rows are not in the order of their buckets: {} after {}", .later.0, .earlier.0)]
pub struct OutOfOrder {
    /// The bucket that came first ...
    pub earlier: BucketStart,
    /// ... and the older one that came after it.
    pub later: BucketStart,
}

/// Buckets of a customer that are collected together: a part of its period, or of the period before.
#[derive(Clone, Debug)]
pub struct Slot<'a> {
    /// First bucket.
    pub from: BucketStart,
    /// First bucket after the last one.
    pub to: BucketStart,
    /// The band of each bucket; empty where there is one band.
    pub bands: Arc<[u8]>,
    /// The tariff, as it is for the customer; `None` where the usage is only counted.
    pub tariff: Option<&'a Tariff>,
    /// It belongs to the period before, for what is left of allowances; the root does not cover it.
    pub is_before: bool,
}

/// A customer's usage and its root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Collected {
    /// The usage of each slot, in their order.
    pub slots: Vec<PeriodUsage>,
    /// SHA-256 over the rows, in hex.
    pub root: String,
    /// SHA-256 over the intervals, in hex; `None` where nothing is calibrated.
    pub intervals: Option<String>,
    /// Links in it of which nobody knows the kind; their traffic cannot be priced.
    pub unknown_links: BTreeSet<String>,
}

impl Collected {
    /// Octets of all slots, rounded half up.
    #[must_use]
    pub fn octets(&self) -> i128 {
        let mut all = Volume::default();
        for usage in &self.slots {
            all.merge(&usage.volume(|_| true));
        }
        all.octets.rounded()
    }

    /// True where nothing was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(PeriodUsage::is_empty)
    }
}

type Group = (LinkId, Direction, ClassId, Family, ExporterId);

/// What is looked up for each row, of which there are a hundred million: with a hash that is quick.
type Quick<K, V> = hashbrown::HashMap<K, V, FixedState>;

/// Sums of a slot up to which they are looked through one by one.
const FEW_SUMS: usize = 16;

/// What rows of one band, group and rate come to. The rows of a bucket go over all customers, so what is kept of each is
/// small and in one place: most of the time that a row takes is waiting for memory.
struct Sum {
    band: u8,
    group: Group,
    rate: SamplingRate,
    octets: u128,
    packets: u128,
    variance: Variance,
}

impl Sum {
    fn new(band: u8, group: Group, rate: SamplingRate) -> Self {
        Self { band, group, rate, octets: 0, packets: 0, variance: Variance::default() }
    }

    fn add(&mut self, sums: &UsageSums) {
        self.octets = self.octets.saturating_add(sums.octets.into());
        self.packets = self.packets.saturating_add(sums.packets.into());
        self.variance.add(sums.squares_high, self.rate);
    }

    fn volume(&self) -> Volume {
        let (mut octets, mut packets) = (Scaled::default(), Scaled::default());
        octets.add_sum(self.octets, self.rate);
        packets.add_sum(self.packets, self.rate);
        let raw_by_rate = [(self.rate, self.octets)].into();
        Volume { octets, packets, variance: self.variance, raw_by_rate, sampled_shares: 0 }
    }
}

/// What is collected of a slot.
struct Kept<'a> {
    slot: Slot<'a>,
    /// Where the period ends that the slot is a part of.
    end: UnixMillis,
    /// By band, group and rate.
    sums: Vec<Sum>,
    /// Where they are, once they are many.
    places: Quick<(u8, Group, SamplingRate), usize>,
    /// The percentile charges of the tariff that are about flows.
    percentiles: Vec<&'a PercentileRule>,
    /// For each group that was seen, the position of its series, if it has one.
    series_of: Quick<Group, Option<usize>>,
    series: Vec<Series>,
    /// The charges of the tariff that are calibrated, if there are any.
    sharing: Option<Box<Sharing<'a>>>,
}

impl<'a> Kept<'a> {
    fn new(slot: Slot<'a>, end: UnixMillis) -> Self {
        let of_flows = |kind: &'a ChargeKind| match kind {
            ChargeKind::Percentile(rule) if rule.source == SampleSource::Flow => Some(rule),
            _ => None,
        };
        let tariff = slot.tariff.filter(|_| !slot.is_before);
        let percentiles =
            tariff.map(|tariff| tariff.charges.iter().filter_map(|rule| of_flows(&rule.kind)).collect());
        Self {
            sharing: slot.tariff.and_then(Sharing::of).map(Box::new),
            slot,
            end,
            sums: Vec::new(),
            places: Quick::default(),
            percentiles: percentiles.unwrap_or_default(),
            series_of: Quick::default(),
            series: Vec::new(),
        }
    }

    /// The position of a bucket in the slot.
    fn position(&self, bucket: BucketStart) -> usize {
        usize::try_from((bucket.0 - self.slot.from.0) / BUCKET_SECONDS).unwrap_or(0)
    }

    fn add(&mut self, row: &UsageRow, group: Group, is_late: bool, key_of: impl Fn() -> GroupKey) {
        let at = self.position(row.key.bucket);
        let band = self.slot.bands.get(at).copied().unwrap_or(0);
        self.sum_of(band, group, row.key.rate).add(&row.sums);
        if let Some(sharing) = &mut self.sharing {
            sharing.add(row, group, (band, is_late), &key_of);
        }
        if self.percentiles.is_empty() {
            return;
        }
        let known = self.series_of.get(&group).copied();
        let position = known.unwrap_or_else(|| {
            let found = self.series_for(&key_of());
            self.series_of.insert(group, found);
            found
        });
        let Some(series) = position.and_then(|position| self.series.get_mut(position)) else { return };
        series.is_sampled |= row.key.rate.is_sampled();
        let Some(sample) = series.samples.get_mut(at) else { return };
        let count = match row.key.direction {
            Direction::In => &mut sample.inward,
            Direction::Out => &mut sample.outward,
            Direction::None => return,
        };
        // Rows have at most 2^62 octets; a sum that has no room would be none of a link.
        *count = Count::octets(count.known().unwrap_or(0).saturating_add(row.sums.octets).min(u64::MAX - 1));
    }

    fn sum_of(&mut self, band: u8, group: Group, rate: SamplingRate) -> &mut Sum {
        let is_same = |sum: &Sum| sum.band == band && sum.rate == rate && sum.group == group;
        let found = if self.sums.len() <= FEW_SUMS {
            self.sums.iter().position(is_same)
        } else {
            self.places.get(&(band, group, rate)).copied()
        };
        let at = found.unwrap_or_else(|| {
            self.sums.push(Sum::new(band, group, rate));
            if self.sums.len() > FEW_SUMS {
                let all = self.sums.iter().enumerate().skip(self.places.len());
                self.places.extend(all.map(|(at, sum)| ((sum.band, sum.group, sum.rate), at)));
            }
            self.sums.len() - 1
        });
        &mut self.sums[at]
    }

    /// The series that a group is part of; `None` where no percentile is about its class.
    fn series_for(&mut self, key: &GroupKey) -> Option<usize> {
        let tariff = self.slot.tariff?;
        let class = tariff.class_of(key);
        if !self.percentiles.iter().any(|rule| rule.classes.contains(&class)) {
            return None;
        }
        // Where links are only ever added up, they are so here.
        let by_link = self.percentiles.iter().any(|rule| rule.links == Links::RankThenSum);
        let link = if by_link { key.link.clone() } else { String::new() };
        let exempt: Vec<String> = tariff
            .charges
            .iter()
            .map(|rule| &rule.id)
            .filter(|id| tariff.exempts(id, key))
            .cloned()
            .collect();
        let same = |one: &Series| one.link == link && one.class == class && one.exempt == exempt;
        if let Some(position) = self.series.iter().position(same) {
            return Some(position);
        }
        let samples = vec![Sample::SILENT; self.position(self.slot.to)];
        self.series.push(Series {
            link,
            class,
            source: SampleSource::Flow,
            is_sampled: false,
            exempt,
            samples,
        });
        Some(self.series.len() - 1)
    }
}

#[derive(Default)]
struct Customer<'a> {
    slots: Vec<Kept<'a>>,
    bucket: BucketStart,
    /// The lines of `bucket`, not yet hashed, one behind the other.
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
    hash: Sha256,
    /// Over the intervals, where something is calibrated.
    intervals: Option<Sha256>,
}

impl Customer<'_> {
    fn end_bucket(&mut self, totals: &Totals, names: &Names) {
        let mut lines = String::new();
        for kept in &mut self.slots {
            let text = (!kept.slot.is_before).then_some(&mut lines);
            if let Some(sharing) = &mut kept.sharing {
                sharing.end_bucket(totals, names, text);
            }
        }
        if !lines.is_empty() {
            let mut sorted: Vec<&str> = lines.split_inclusive('\n').collect();
            sorted.sort_unstable();
            let hash = self.intervals.get_or_insert_default();
            sorted.iter().for_each(|line| hash.update(line));
        }
        if self.ends.len() > 1 {
            let starts = core::iter::once(0).chain(self.ends.iter().copied());
            let mut lines: Vec<&str> =
                starts.zip(&self.ends).map(|(start, &end)| &self.text[start..end]).collect();
            if !lines.is_sorted() {
                lines.sort_unstable();
                self.text = lines.concat();
            }
        }
        self.hash.update(self.text.as_bytes());
        self.text.clear();
        self.ends.clear();
    }
}

/// The samples of interface counters that a slot's percentiles are about: of each link whose class is theirs, one for each
/// bucket, missing where the counters do not cover it whole. `end`: where the period ends that the slot is a part of.
#[must_use]
pub fn counted_series(slot: &Slot<'_>, kinds: &LinkKinds, end: UnixMillis) -> Vec<Series> {
    let of_counters = |kind: &ChargeKind| match kind {
        ChargeKind::Percentile(rule) if rule.source == SampleSource::Snmp => Some(rule.classes.clone()),
        _ => None,
    };
    let Some(tariff) = slot.tariff.filter(|_| !slot.is_before) else { return Vec::new() };
    let classes: BTreeSet<usize> =
        tariff.charges.iter().filter_map(|rule| of_counters(&rule.kind)).flatten().collect();
    if classes.is_empty() {
        return Vec::new();
    }
    let length = usize::try_from((slot.to.0 - slot.from.0) / BUCKET_SECONDS).unwrap_or(0);
    let mut made = Vec::new();
    for (link, counted) in kinds.counted(end) {
        // Classes that such a charge can be about ask for the link and its kind only.
        let key = GroupKey {
            link: link.to_owned(),
            link_kind: kinds.kind(link, end).unwrap_or_default().to_owned(),
            direction: Direction::In,
            traffic_class: "default".to_owned(),
            family: Family::V4,
            exporter: String::new(),
            band: 0,
        };
        let class = tariff.class_of(&key);
        if !classes.contains(&class) {
            continue;
        }
        let mut samples = vec![Sample::MISSING; length];
        for (bucket, sample) in counted.into_iter().flatten() {
            let at = usize::try_from((bucket.0 - slot.from.0) / BUCKET_SECONDS);
            if bucket.0 >= slot.from.0
                && let Some(place) = at.ok().and_then(|at| samples.get_mut(at))
            {
                *place = *sample;
            }
        }
        let exempt =
            tariff.charges.iter().map(|rule| &rule.id).filter(|id| tariff.exempts(id, &key)).cloned();
        made.push(Series {
            link: link.to_owned(),
            class,
            source: SampleSource::Snmp,
            is_sampled: false,
            exempt: exempt.collect(),
            samples,
        });
    }
    made
}

/// Adds the lines of a series of interface counters whose first bucket is `from`.
pub(super) fn push_samples(text: &mut String, from: BucketStart, series: &Series) {
    let link = escaped(&series.link);
    let buckets = (0..).map(|n| from.0 + n * BUCKET_SECONDS);
    for (bucket, sample) in buckets.zip(&series.samples) {
        if let (Some(inward), Some(outward)) = (sample.inward.known(), sample.outward.known()) {
            writeln!(text, "{bucket}\t{link}\t{inward}\t{outward}")
                .expect("writing to a string does not fail");
        }
    }
}

/// The root over all that is above and the intervals.
pub(super) fn root_with_intervals(root: String, intervals: Option<&String>) -> String {
    let Some(intervals) = intervals else { return root };
    hex(&Sha256::digest(format!("{root}\n{intervals}\n")))
}

/// The root over rows and samples; that over the rows where there are no samples.
pub(super) fn root_with_samples(rows: String, samples: &str) -> String {
    if samples.is_empty() {
        return rows;
    }
    hex(&Sha256::new().chain_update(rows).chain_update("\n").chain_update(samples).finalize())
}

/// A name as it stands in a line.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

/// Series whose text is remembered, at most.
const SERIES_MAX: usize = 1 << 16;

/// Collects the usage of the customers that it was told to.
#[derive(Default)]
pub struct Collector<'a> {
    customers: Quick<CustomerId, Customer<'a>>,
    kinds: Option<&'a LinkKinds>,
    /// What the lines of a series have in common, between bucket and sums.
    middles: Quick<(Group, SamplingRate), Box<str>>,
    /// The totals where there are no kinds.
    nothing: Totals,
}

impl<'a> Collector<'a> {
    /// Collects what classes of links of these kinds need.
    #[must_use]
    pub fn new(kinds: &'a LinkKinds) -> Self {
        Self { kinds: Some(kinds), ..Self::default() }
    }

    /// Collects `customer`'s usage of the buckets in `[from, to)`.
    pub fn expect(&mut self, customer: CustomerId, from: BucketStart, to: BucketStart) {
        let slot = Slot { from, to, bands: Arc::default(), tariff: None, is_before: false };
        self.expect_slots(customer, vec![slot]);
    }

    /// Collects `customer`'s usage of slots, which do not overlap.
    pub fn expect_slots(&mut self, customer: CustomerId, slots: Vec<Slot<'a>>) {
        let first = slots.iter().map(|slot| slot.from).min().unwrap_or_default();
        let ends = [false, true].map(|is_before| {
            let own = slots.iter().filter(|slot| slot.is_before == is_before);
            UnixMillis::from_seconds(own.map(|slot| slot.to.0).max().unwrap_or_default())
        });
        let keep = |slot: Slot<'a>| {
            let end = ends[usize::from(slot.is_before)];
            Kept::new(slot, end)
        };
        let slots = slots.into_iter().map(keep).collect();
        self.customers.insert(customer, Customer { slots, bucket: first, ..Customer::default() });
    }

    /// First bucket that any customer wants, and first bucket after the last one.
    #[must_use]
    pub fn range(&self) -> Option<(BucketStart, BucketStart)> {
        let slots =
            || self.customers.values().flat_map(|customer| customer.slots.iter().map(|kept| &kept.slot));
        let from = slots().map(|slot| slot.from).min()?;
        let to = slots().map(|slot| slot.to).max()?;
        Some((from, to))
    }

    /// Takes a row; those that nobody wants are passed over. A customer's rows come by bucket.
    ///
    /// # Errors
    /// [`OutOfOrder`].
    pub fn add(&mut self, row: &UsageRow, names: &Names) -> Result<(), OutOfOrder> {
        self.take(row, false, names)
    }

    /// Takes a row that came after its period was closed, in its own time.
    ///
    /// # Errors
    /// [`OutOfOrder`].
    pub fn add_late(&mut self, row: &UsageRow, names: &Names) -> Result<(), OutOfOrder> {
        self.take(row, true, names)
    }

    fn take(&mut self, row: &UsageRow, is_late: bool, names: &Names) -> Result<(), OutOfOrder> {
        let key = &row.key;
        let Some(customer) = self.customers.get_mut(&key.customer) else { return Ok(()) };
        let holds = |kept: &Kept<'_>| kept.slot.from <= key.bucket && key.bucket < kept.slot.to;
        let Some(position) = customer.slots.iter().position(holds) else { return Ok(()) };
        if key.bucket < customer.bucket {
            return Err(OutOfOrder { earlier: customer.bucket, later: key.bucket });
        }
        if key.bucket > customer.bucket {
            customer.end_bucket(self.kinds.map_or(&self.nothing, LinkKinds::totals), names);
            customer.bucket = key.bucket;
        }
        let kept = &mut customer.slots[position];
        let group = (key.link, key.direction, key.class, key.family, key.exporter);
        if !kept.slot.is_before {
            if self.middles.len() >= SERIES_MAX {
                self.middles.clear();
            }
            let middle =
                self.middles.entry((group, key.rate)).or_insert_with(|| middle(&group, key.rate, names));
            push_line(&mut customer.text, row, middle);
            customer.ends.push(customer.text.len());
        }
        let (kinds, end) = (self.kinds, kept.end);
        kept.add(row, group, is_late, || {
            let mut key = named(&group, names);
            if let Some(kind) = kinds.and_then(|kinds| kinds.kind(&key.link, end)) {
                kind.clone_into(&mut key.link_kind);
            }
            key
        });
        Ok(())
    }

    /// What each customer used; those that used nothing too. The kind of a link is that of the customer's period.
    #[must_use]
    pub fn finish(self, names: &Names, kinds: &LinkKinds) -> HashMap<CustomerId, Collected> {
        let finish = |(id, mut customer): (CustomerId, Customer<'a>)| {
            customer.end_bucket(kinds.totals(), names);
            let mut unknown_links = BTreeSet::new();
            let mut slots = Vec::new();
            for kept in customer.slots {
                let band_of_bucket = Arc::clone(&kept.slot.bands);
                let mut usage = PeriodUsage { band_of_bucket, series: kept.series, ..PeriodUsage::default() };
                for sum in &kept.sums {
                    let group = &sum.group;
                    let mut key = named(group, names);
                    key.band = usize::from(sum.band);
                    if group.0 != LinkId::NONE {
                        match kinds.kind(&key.link, kept.end) {
                            Some(kind) => kind.clone_into(&mut key.link_kind),
                            None => drop(unknown_links.insert(key.link.clone())),
                        }
                    }
                    usage.groups.entry(key).or_default().merge(&sum.volume());
                }
                usage.calibrated = kept.sharing.map(|sharing| sharing.finish()).unwrap_or_default();
                slots.push(usage);
            }
            (
                id,
                Collected {
                    slots,
                    root: hex(&customer.hash.finalize()),
                    intervals: customer.intervals.map(|hash| hex(&hash.finalize())),
                    unknown_links,
                },
            )
        };
        self.customers.into_iter().map(finish).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// A name, or its number where the ledger has lost it (which its foreign keys forbid).
fn name(names: &HashMap<u32, String>, id: u32) -> String {
    names.get(&id).cloned().unwrap_or_else(|| format!("#{id}"))
}

fn link_name(names: &Names, link: LinkId) -> String {
    if link == LinkId::NONE { String::new() } else { name(&names.links, link.0.into()) }
}

fn class_name(names: &Names, class: ClassId) -> String {
    if class == ClassId::DEFAULT { "default".to_owned() } else { name(&names.classes, class.0.into()) }
}

/// The group by names; the link's kind is empty yet.
fn named(group: &Group, names: &Names) -> GroupKey {
    let &(link, direction, class, family, exporter) = group;
    GroupKey {
        link: link_name(names, link),
        link_kind: String::new(),
        direction,
        traffic_class: class_name(names, class),
        family,
        exporter: name(&names.exporters, exporter.0.into()),
        band: 0,
    }
}

/// What stands in the lines of a series between bucket and sums, with the tabs around it.
fn middle(group: &Group, rate: SamplingRate, names: &Names) -> Box<str> {
    let &(link, direction, class, family, exporter) = group;
    format!(
        "\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t",
        escaped(&link_name(names, link)),
        direction.as_str(),
        escaped(&class_name(names, class)),
        family.as_str(),
        escaped(&name(&names.exporters, exporter.0.into())),
        rate.numerator(),
        rate.denominator(),
        rate.source().as_str(),
    )
    .into_boxed_str()
}

/// The line of a row.
fn push_line(text: &mut String, row: &UsageRow, middle: &str) {
    let (bucket, sums) = (row.key.bucket.0, &row.sums);
    if bucket < 0 {
        text.push('-');
    }
    push_decimal(text, bucket.unsigned_abs());
    text.push_str(middle);
    push_decimal(text, sums.octets);
    for sum in [sums.packets, sums.flows, sums.squares_low, sums.squares_high] {
        text.push('\t');
        push_decimal(text, sum);
    }
    text.push('\n');
}

/// A number in decimal digits: several times as fast as by `format!`.
fn push_decimal(text: &mut String, mut n: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b"0123456789"[usize::try_from(n % 10).unwrap_or(0)];
        n /= 10;
        if n == 0 {
            break;
        }
    }
    text.push_str(core::str::from_utf8(&digits[first..]).expect("digits are ASCII"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash is that of `sha256sum`; a bucket without samples has no line.
    #[test]
    fn samples_of_counters_are_part_of_the_root() {
        let sample =
            |inward, outward| Sample { inward: Count::octets(inward), outward: Count::octets(outward) };
        let series = Series {
            link: "a\tb".to_owned(),
            class: 0,
            source: SampleSource::Snmp,
            is_sampled: false,
            exempt: Vec::new(),
            samples: vec![sample(1, 2), Sample::MISSING, sample(3, 4)],
        };
        let mut text = String::new();
        push_samples(&mut text, BucketStart(300), &series);
        assert_eq!(text, "300\ta\\tb\t1\t2\n900\ta\\tb\t3\t4\n");
        assert_eq!(
            root_with_samples("ab".to_owned(), &text),
            "88dd83d1cedfa4e9664653d879cdd1c2015cf565234f9af698878d0dfe6c8655"
        );
        assert_eq!(root_with_samples("ab".to_owned(), ""), "ab");
    }
}
