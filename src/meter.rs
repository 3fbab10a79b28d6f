//! Metering: classified records become five-minute usage rows.
//!
//! A flow that spans buckets is split in proportion to its time; a flow counts in the last bucket in which it has
//! time. Octets, packets, flows and both bounds of the sum of squares are computed for the whole record and split
//! then, so that the parts of every flow sum to the flow. Parts with nothing in them make no row.
//!
//! Invariants: the sums over all rows are [`Meter::pending_octets`] and [`Meter::pending_packets`], and the flows
//! [`Meter::pending_records`]; a record is added whole or, where it does not count, not at all.

mod split;
mod squares;
mod table;

use split::{PARTS_MAX, Span, Window};
use squares::PacketSizes;
use table::{Key, Table};

use crate::classify::Classified;
use crate::flow::FlowRecord;
use crate::usage::{UsageRows, UsageSums};

/// How a flow that spans buckets is booked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BucketRule {
    /// In proportion to time, by integer largest remainder.
    #[default]
    Spread,
    /// Whole, in the bucket of its end.
    End,
}

/// `[meter]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// `bucket`.
    pub bucket: BucketRule,
    /// Usage rows kept between two flushes; in a configuration, by all processors together.
    pub rows_max: usize,
    /// Least packet size assumed for the variance bound, in octets.
    pub packet_octets_min: u32,
    /// Greatest packet size assumed for the variance bound, in octets.
    pub packet_octets_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { bucket: BucketRule::Spread, rows_max: 1 << 20, packet_octets_min: 20, packet_octets_max: 1500 }
    }
}

/// Records that go into the table together.
const CHUNK: usize = 128;

/// Octets or packets in the table that make it full, so that what one flush commits stays within 63 bits.
const SUM_MAX: u128 = 1 << 62;

/// Rows that were taken out of a [`Meter`], as they lay there.
#[derive(Debug)]
pub struct Rows(Table);

impl Rows {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, sorted by key, none twice. A million takes tenths of a second, which a thread that receives does not
    /// have.
    #[must_use]
    pub fn sorted(self) -> UsageRows {
        self.0.sorted()
    }
}

/// The usage table of one processor.
#[derive(Debug)]
pub struct Meter {
    rule: BucketRule,
    rows_max: usize,
    sizes: PacketSizes,
    table: Table,
    /// The bucket in which the last flow that was looked at ended.
    window: Window,
    /// Added to the table, refused or not.
    octets: u128,
    packets: u128,
    records: u64,
    /// Records that were not believed, since the start.
    refused_records: u64,
}

impl Meter {
    /// Of so many parts of the table one is left free when it is nearly full. It is more than one batch of datagrams adds,
    /// unless each of their records spans many buckets.
    const NEARLY: usize = 8;

    /// An empty table.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            rule: config.bucket,
            rows_max: config.rows_max,
            sizes: PacketSizes { min: config.packet_octets_min, max: config.packet_octets_max },
            table: Table::new(),
            window: Window::of(0),
            octets: 0,
            packets: 0,
            records: 0,
            refused_records: 0,
        }
    }

    /// Adds `records`, classified as `classified` (an entry a record, in their order). Records that do not count are
    /// passed over.
    ///
    /// It takes all of them, so a caller who minds [`Self::is_full`] before each batch keeps the table below
    /// `rows_max` and what one batch adds.
    pub fn add(&mut self, records: &[FlowRecord], classified: &[Classified]) {
        assert_eq!(records.len(), classified.len(), "classification gives an entry a record");
        for (records, classified) in records.chunks(CHUNK).zip(classified.chunks(CHUNK)) {
            let (mut octets, mut packets, mut counted, mut bits) = (0_u64, 0_u64, 0, 0);
            for (record, classified) in records.iter().zip(classified) {
                if classified.counts {
                    let more = (record.octets.as_u64(), record.packets.as_u64());
                    (octets, packets) = (octets.wrapping_add(more.0), packets.wrapping_add(more.1));
                    bits |= more.0 | more.1;
                    counted += 1;
                    self.stage(record, classified);
                }
            }
            self.records += counted;
            if bits < u64::MAX / CHUNK as u64 {
                self.octets += u128::from(octets);
                self.packets += u128::from(packets);
            } else {
                self.count_wide(records, classified);
            }
            self.table.settle();
        }
    }

    /// Rows in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True where nothing waits to be drained.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True where there is little room left: a good time to take the rows out, before there is none.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.len() >= self.rows_max - self.rows_max / Self::NEARLY || self.is_full()
    }

    /// True where the table holds as much as it may: time to drain it before more is added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= self.rows_max || self.table.is_scattered() || self.octets | self.packets >= SUM_MAX
    }

    /// Octets in the table, not scaled.
    #[must_use]
    pub fn pending_octets(&self) -> u64 {
        bounded(self.octets - self.table.refused().octets)
    }

    /// Packets in the table, not scaled.
    #[must_use]
    pub fn pending_packets(&self) -> u64 {
        bounded(self.packets - self.table.refused().packets)
    }

    /// Records in the table.
    #[must_use]
    pub fn pending_records(&self) -> u64 {
        self.records.saturating_sub(self.table.refused().flows)
    }

    /// Records since the start that were not believed: their row would hold more than any exporter can have seen.
    #[must_use]
    pub fn refused_records(&self) -> u64 {
        self.refused_records + self.table.refused().flows
    }

    /// Takes all rows out, in a time that does not depend on how many there are. The table is empty then.
    pub fn take(&mut self) -> Rows {
        self.table.settle();
        self.refused_records += self.table.refused().flows;
        (self.octets, self.packets, self.records) = (0, 0, 0);
        Rows(core::mem::replace(&mut self.table, Table::new()))
    }

    /// Counts the octets and packets of a chunk whose sums may not fit in 64 bits.
    #[cold]
    fn count_wide(&mut self, records: &[FlowRecord], classified: &[Classified]) {
        for (record, _) in records.iter().zip(classified).filter(|(_, classified)| classified.counts) {
            self.octets += u128::from(record.octets.as_u64());
            self.packets += u128::from(record.packets.as_u64());
        }
    }

    /// Puts the parts of one record on the stage.
    #[inline(always)]
    fn stage(&mut self, record: &FlowRecord, classified: &Classified) {
        let key = self.table.key(record, classified);
        let is_plain = !record.rate.is_sampled() & self.window.holds(record.start, record.end);
        let (octets, packets) = (record.octets.as_u64(), record.packets.as_u64());
        if !is_plain || !self.table.stage_plain(self.window.bucket, key, octets, packets) {
            self.stage_any(record, key);
        }
    }

    /// The same for every record, of which nearly all are unsampled, or nearly all are sampled.
    #[inline(never)]
    fn stage_any(&mut self, record: &FlowRecord, key: Key) {
        let (octets, packets) = (record.octets.as_u64(), record.packets.as_u64());
        // An unsampled sum has no variance, whatever its squares.
        let (low, high) = if record.rate.is_sampled() { self.sizes.bounds(octets, packets) } else { (0, 0) };
        let whole = UsageSums { octets, packets, flows: 1, squares_low: low, squares_high: high };
        if self.window.holds(record.start, record.end) {
            self.table.stage(self.window.bucket, key, &whole);
        } else {
            self.stage_elsewhere(record, key, &whole);
        }
    }

    /// The same for a record that is not in the window: it moves there.
    fn stage_elsewhere(&mut self, record: &FlowRecord, key: Key, whole: &UsageSums) {
        let span = Span::of(self.rule, record.start, record.end);
        self.window = Window::of(span.last());
        if span.parts == 1 {
            self.table.stage(span.first, key, whole);
        } else {
            self.stage_parts(key, &span, whole);
        }
    }

    fn stage_parts(&mut self, key: Key, span: &Span, whole: &UsageSums) {
        let mut parts = [[0; PARTS_MAX]; 4];
        let [octets, packets, low, high] = &mut parts;
        span.split(whole.octets, octets);
        span.split(whole.packets, packets);
        if whole.squares_high != 0 {
            span.split(whole.squares_low, low);
            span.split(whole.squares_high, high);
        }
        for (n, bucket) in (0..span.parts).zip(span.first..) {
            let sums = UsageSums {
                octets: octets[n],
                packets: packets[n],
                flows: u64::from(n + 1 == span.parts),
                squares_low: low[n],
                squares_high: high[n],
            };
            if sums != UsageSums::default() {
                self.table.stage(bucket, key, &sums);
            }
        }
    }
}

/// A sum for those who count in 63 bits.
fn bounded(sum: u128) -> u64 {
    u64::try_from(sum).unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs())
}

#[cfg(test)]
mod tests;
