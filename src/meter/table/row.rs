//! A row of the usage table: half a cache line of packed key and sums.

use crate::classify::Classified;
use crate::flow::{Direction, Family, FlowRecord};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::units::SamplingRate;
use crate::usage::{BUCKET_SECONDS, BucketStart, UsageKey, UsageSums};

/// A usage key without its bucket, most significant first, in the order of [`UsageKey`]'s fields: customer 32, link
/// 16, direction 2, 14 of the class's 16 | its other 2, family 2, exporter 16, number of the rate 32, 11 unused, 1.
/// The last bit tells a row from a free place.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct PackedKey(pub(super) u64, pub(super) u64);

impl PackedKey {
    const RATE_SHIFT: u32 = 12;

    #[inline]
    pub(super) fn new(record: &FlowRecord, classified: &Classified, rate: u32) -> Self {
        let class = u64::from(classified.class.0);
        let first = u64::from(classified.customer.0) << 32
            | u64::from(classified.link.0) << 16
            | (classified.direction as u64) << 14
            | class >> 2;
        let second = class << 62
            | (record.family as u64) << 60
            | u64::from(record.exporter.0) << 44
            | u64::from(rate) << Self::RATE_SHIFT
            | 1;
        Self(first, second)
    }

    pub(super) const fn is_free(self) -> bool {
        self.1 == 0
    }

    #[expect(clippy::cast_possible_truncation, reason = "the field is cut to the width it was packed with")]
    pub(super) const fn rate(self) -> u32 {
        (self.1 >> Self::RATE_SHIFT) as u32
    }

    /// The key in its usual form.
    #[expect(clippy::cast_possible_truncation, reason = "each field is cut to the width it was packed with")]
    pub(super) fn unpack(self, bucket: i32, rate: SamplingRate) -> UsageKey {
        let Self(first, second) = self;
        UsageKey {
            bucket: BucketStart(i64::from(bucket) * BUCKET_SECONDS),
            customer: CustomerId((first >> 32) as u32),
            link: LinkId((first >> 16) as u16),
            direction: Direction::from_u8((first >> 14 & 3) as u8).expect("it was packed from a direction"),
            class: ClassId((first << 2) as u16 | (second >> 62) as u16),
            family: Family::from_u8((second >> 60 & 3) as u8).expect("it was packed from a family"),
            exporter: ExporterId((second >> 44) as u16),
            rate,
        }
    }
}

/// A row, and what is to be added to one: both are the same half cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub(super) struct Row {
    pub(super) key: PackedKey,
    octets: u64,
    /// Packets, and flows in the low [`Self::FLOWS_BITS`].
    packets_flows: u64,
}

impl Row {
    const FLOWS_BITS: u32 = 24;
    /// Neither a row nor an addition with more than this many bits of octets or packets adds up here ...
    const OCTETS_BITS: u32 = 60;
    const PACKETS_BITS: u32 = 63 - Self::FLOWS_BITS;
    /// ... nor a row with the top bit of its packets or its flows set: so no sum runs over its field.
    const FULL: u64 = 1 << 63 | 1 << (Self::FLOWS_BITS - 1);

    /// Octets, packets and flows, of which there is one at most. `None` where they do not fit.
    #[inline(always)]
    pub(super) const fn addition(key: PackedKey, sums: &UsageSums) -> Option<Self> {
        if sums.octets >> Self::OCTETS_BITS | sums.packets >> Self::PACKETS_BITS != 0 {
            return None;
        }
        Some(Self { key, octets: sums.octets, packets_flows: sums.packets << Self::FLOWS_BITS | sums.flows })
    }

    /// A row with nothing in it.
    pub(super) const fn empty(key: PackedKey) -> Self {
        Self { key, octets: 0, packets_flows: 0 }
    }

    /// Adds an addition, where it fits.
    #[inline(always)]
    pub(super) const fn try_add(&mut self, addition: &Self) -> bool {
        if self.octets >> Self::OCTETS_BITS | self.packets_flows & Self::FULL != 0 {
            return false;
        }
        self.octets += addition.octets;
        self.packets_flows += addition.packets_flows;
        true
    }

    /// Its sums, with squares that are kept elsewhere.
    pub(super) const fn sums(&self, [squares_low, squares_high]: [u64; 2]) -> UsageSums {
        UsageSums {
            octets: self.octets,
            packets: self.packets_flows >> Self::FLOWS_BITS,
            flows: self.packets_flows & ((1 << Self::FLOWS_BITS) - 1),
            squares_low,
            squares_high,
        }
    }

    /// Something of the row, to bring its cache line.
    #[inline(always)]
    pub(super) const fn touch(&self) -> u64 {
        self.octets
    }
}
