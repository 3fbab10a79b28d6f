//! Metering: classified records become five-minute usage rows.

use crate::classify::Classified;
use crate::flow::FlowRecord;
use crate::usage::UsageRow;

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
    /// Usage rows kept between two flushes.
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

/// The usage table of one processor.
#[derive(Debug)]
pub struct Meter {}

impl Meter {
    /// An empty table.
    #[must_use]
    pub fn new(_config: Config) -> Self {
        Self {}
    }

    /// Adds `records`, classified as `classified`.
    pub fn add(&mut self, _records: &[FlowRecord], _classified: &[Classified]) {}

    /// Rows in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        0
    }

    /// Moves all rows into `rows`, sorted by key.
    pub fn drain(&mut self, _rows: &mut Vec<UsageRow>) {}
}
