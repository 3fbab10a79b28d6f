//! A usage row without its bucket, in half a cache line: what the meter adds to, and what a flush carries.

use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::units::SamplingRate;
use crate::usage::{BUCKET_SECONDS, BucketStart, UsageKey, UsageSums};

/// A usage key without its bucket, most significant first, in the order of [`UsageKey`]'s fields: customer 32, link
/// 16, direction 2, 14 of the class's 16 | its other 2, family 2, exporter 16, number of the rate 32, 11 unused, 1.
/// The last bit tells a row from a free place.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct PackedKey(pub(crate) u64, pub(crate) u64);

impl PackedKey {
    const RATE_SHIFT: u32 = 12;
    const EXPORTER_SHIFT: u32 = 44;

    /// The key of these, and of the rate with number `rate`.
    #[inline]
    pub(crate) fn new(
        customer: CustomerId,
        link: LinkId,
        direction: Direction,
        class: ClassId,
        family: Family,
        exporter: ExporterId,
        rate: u32,
    ) -> Self {
        let class = u64::from(class.0);
        let first =
            u64::from(customer.0) << 32 | u64::from(link.0) << 16 | (direction as u64) << 14 | class >> 2;
        let second = class << 62
            | (family as u64) << 60
            | u64::from(exporter.0) << Self::EXPORTER_SHIFT
            | u64::from(rate) << Self::RATE_SHIFT
            | 1;
        Self(first, second)
    }

    pub(crate) const fn is_free(self) -> bool {
        self.1 == 0
    }

    /// The number of the rate.
    #[expect(clippy::cast_possible_truncation, reason = "the field is cut to the width it was packed with")]
    pub(crate) const fn rate(self) -> u32 {
        (self.1 >> Self::RATE_SHIFT) as u32
    }

    /// All of it but the rate, whose number says nothing of its place; in the order of keys.
    pub(crate) const fn before_rate(self) -> u128 {
        (self.0 as u128) << 64 | (self.1 >> Self::EXPORTER_SHIFT << Self::EXPORTER_SHIFT) as u128
    }

    #[expect(clippy::cast_possible_truncation, reason = "the field is cut to the width it was packed with")]
    pub(super) const fn exporter(self) -> ExporterId {
        ExporterId((self.1 >> Self::EXPORTER_SHIFT) as u16)
    }

    pub(super) fn set_exporter(&mut self, exporter: ExporterId) {
        let others = self.1 & !(0xffff << Self::EXPORTER_SHIFT);
        self.1 = others | u64::from(exporter.0) << Self::EXPORTER_SHIFT;
    }

    /// The key in its usual form; `bucket`: its start, divided by 300 seconds.
    #[expect(clippy::cast_possible_truncation, reason = "each field is cut to the width it was packed with")]
    pub(crate) fn unpack(self, bucket: i32, rate: SamplingRate) -> UsageKey {
        let Self(first, second) = self;
        UsageKey {
            bucket: BucketStart(i64::from(bucket) * BUCKET_SECONDS),
            customer: CustomerId((first >> 32) as u32),
            link: LinkId((first >> 16) as u16),
            direction: Direction::from_u8((first >> 14 & 3) as u8).expect("it was packed from a direction"),
            class: ClassId((first << 2) as u16 | (second >> 62) as u16),
            family: Family::from_u8((second >> 60 & 3) as u8).expect("it was packed from a family"),
            exporter: self.exporter(),
            rate,
        }
    }
}

/// A row, and what is to be added to one: both are the same half cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub(crate) struct PackedRow {
    pub(crate) key: PackedKey,
    octets: u64,
    /// Packets, and flows in the low [`Self::FLOWS_BITS`].
    packets_flows: u64,
}

impl PackedRow {
    const FLOWS_BITS: u32 = 24;
    /// Neither a row nor an addition with more than this many bits of octets or packets adds up here ...
    const OCTETS_BITS: u32 = 60;
    const PACKETS_BITS: u32 = 63 - Self::FLOWS_BITS;
    /// ... nor a row with the top bit of its packets or its flows set: so no sum runs over its field.
    const FULL: u64 = 1 << 63 | 1 << (Self::FLOWS_BITS - 1);

    /// Octets, packets and flows, of which there is one at most. `None` where they do not fit.
    #[inline(always)]
    pub(crate) const fn addition(key: PackedKey, sums: &UsageSums) -> Option<Self> {
        if sums.octets >> Self::OCTETS_BITS | sums.packets >> Self::PACKETS_BITS != 0 {
            return None;
        }
        Some(Self { key, octets: sums.octets, packets_flows: sums.packets << Self::FLOWS_BITS | sums.flows })
    }

    /// A row with nothing in it.
    pub(crate) const fn empty(key: PackedKey) -> Self {
        Self { key, octets: 0, packets_flows: 0 }
    }

    /// Adds an addition, where it fits.
    #[inline(always)]
    pub(crate) const fn try_add(&mut self, addition: &Self) -> bool {
        if self.octets >> Self::OCTETS_BITS | self.packets_flows & Self::FULL != 0 {
            return false;
        }
        self.octets += addition.octets;
        self.packets_flows += addition.packets_flows;
        true
    }

    /// Its sums, with squares that are kept elsewhere.
    pub(crate) const fn sums(&self, [squares_low, squares_high]: [u64; 2]) -> UsageSums {
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
    pub(crate) const fn touch(&self) -> u64 {
        self.octets
    }
}
