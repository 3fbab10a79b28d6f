//! The usage table: rows one behind the other, found by a hash index over their packed keys.
//!
//! Metering is bound by the waits for memory, so the layout serves the cache: a row is one line of 64 octets, the
//! index is 8 octets a place and tells rows apart by 32 bits of hash before it touches them, and a batch goes over
//! the index first, so that the waits of its records overlap. Draining sorts the packed keys, whose order is that of
//! [`UsageKey`].
//!
//! Invariants: every row is in the index once; no two rows have the same key; the index is at most half full.

use core::hash::{BuildHasher, Hasher};
use core::hint::black_box;

use foldhash::fast::RandomState;

use crate::classify::Classified;
use crate::flow::{Direction, Family, FlowRecord};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::units::{RateSource, SamplingRate};
use crate::usage::{BUCKET_SECONDS, BucketStart, UsageKey, UsageRow, UsageSums};

/// A usage key in 192 bits, most significant first, in the order of [`UsageKey`]'s fields:
/// bucket 32 (its number, signed, made unsigned), customer 32 | link 16, direction 2, class 16, family 2, exporter 16,
/// rate numerator 32 (12 here, 20 in the last word), denominator 32, source 12.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct PackedKey([u64; 3]);

const SIGN: u32 = 1 << 31;

impl PackedKey {
    /// The key of a record in the bucket with number `bucket`. Buckets 20 000 years from the epoch and more count as
    /// the last or first one that fits.
    #[inline]
    pub(super) fn new(bucket: i64, record: &FlowRecord, classified: &Classified) -> Self {
        let numerator = u64::from(record.rate.numerator());
        let middle = u64::from(classified.link.0) << 48
            | (classified.direction as u64) << 46
            | u64::from(classified.class.0) << 30
            | (record.family as u64) << 28
            | u64::from(record.exporter.0) << 12
            | numerator >> 20;
        let low = (numerator & 0xf_ffff) << 44
            | u64::from(record.rate.denominator()) << 12
            | record.rate.source() as u64;
        Self([u64::from(classified.customer.0), middle, low]).in_bucket(bucket)
    }

    /// The same in another bucket.
    #[inline]
    pub(super) fn in_bucket(self, bucket: i64) -> Self {
        let bucket = i32::try_from(bucket).unwrap_or(if bucket < 0 { i32::MIN } else { i32::MAX });
        let high = u64::from(bucket.cast_unsigned() ^ SIGN) << 32 | self.0[0] & u64::from(u32::MAX);
        Self([high, self.0[1], self.0[2]])
    }

    /// The key in its usual form. `rate` is the last rate that came out: most neighbours share it.
    #[expect(clippy::cast_possible_truncation, reason = "each field is cut to the width it was packed with")]
    fn unpack(self, rate: &mut SamplingRate) -> UsageKey {
        let Self([high, middle, low]) = self;
        let bucket = ((high >> 32) as u32 ^ SIGN).cast_signed();
        let numerator = (middle & 0xfff) << 20 | low >> 44;
        let denominator = low >> 12 & u64::from(u32::MAX);
        let source = RateSource::from_u8((low & 0xff) as u8).expect("it was packed from a source");
        if u64::from(rate.numerator()) != numerator
            || u64::from(rate.denominator()) != denominator
            || rate.source() != source
        {
            *rate = SamplingRate::new(numerator, denominator, source).expect("it was packed from a rate");
        }
        UsageKey {
            bucket: BucketStart(i64::from(bucket) * BUCKET_SECONDS),
            customer: CustomerId(high as u32),
            link: LinkId((middle >> 48) as u16),
            direction: Direction::from_u8((middle >> 46 & 3) as u8).expect("it was packed from a direction"),
            class: ClassId((middle >> 30) as u16),
            family: Family::from_u8((middle >> 28 & 3) as u8).expect("it was packed from a family"),
            exporter: ExporterId((middle >> 12) as u16),
            rate: *rate,
        }
    }
}

/// A row with its packed key: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Row {
    pub(super) key: PackedKey,
    pub(super) sums: UsageSums,
}

/// A place of the index: 0 where it is free, else the upper half of the row's hash, and the row's number plus 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Place(u64);

impl Place {
    const FREE: Self = Self(0);

    fn new(hash: u64, row: usize) -> Self {
        let number = u32::try_from(row + 1).expect("the table is bounded below 2^32 rows");
        Self(hash & !u64::from(u32::MAX) | u64::from(number))
    }

    /// The row, where the place is taken by one whose hash looks like `hash`.
    #[inline]
    fn row(self, hash: u64) -> Option<usize> {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let number = self.0 as u32;
        (self.0 >> 32 == hash >> 32 && number != 0).then(|| number as usize - 1)
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// A power of two, at least twice the rows.
    index: Vec<Place>,
    hasher: RandomState,
    /// Hashes of the batch; and the order of rows while draining. Kept for their memory.
    hashes: Vec<u64>,
    order: Vec<(u64, u32)>,
    /// What was not added since the last drain, because no exporter can have seen so much.
    pub(super) refused: Refused,
}

/// Volume that is not believed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refused {
    pub(super) octets: u128,
    pub(super) packets: u128,
    pub(super) flows: u64,
}

impl Table {
    const PLACES_MIN: usize = 1 << 10;

    pub(super) fn new() -> Self {
        Self {
            rows: Vec::new(),
            index: vec![Place::FREE; Self::PLACES_MIN],
            hasher: RandomState::default(),
            hashes: Vec::new(),
            order: Vec::new(),
            refused: Refused::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds each of `batch` to the row of its key.
    pub(super) fn add(&mut self, batch: &[Row]) {
        self.make_room(batch.len());
        let mask = self.index.len() - 1;
        self.hashes.clear();
        self.hashes.extend(batch.iter().map(|row| hash(&self.hasher, row.key)));
        // Two passes that only look, first at the index, then at the rows: their reads wait for memory side by side,
        // and the pass that updates, one record after the other, finds all of it in the cache.
        let mut touched = 0;
        for &hash in &self.hashes {
            touched ^= self.index[at(hash, mask)].0;
        }
        for &hash in &self.hashes {
            let row = self.index[at(hash, mask)].row(hash).and_then(|row| self.rows.get(row));
            touched ^= row.map_or(0, |row| row.sums.flows);
        }
        black_box(touched);
        for (addition, &hash) in batch.iter().zip(&self.hashes) {
            let mut place = at(hash, mask);
            loop {
                let found = self.index[place];
                if let Some(row) = found.row(hash)
                    && self.rows[row].key == addition.key
                {
                    if !self.rows[row].sums.try_add(&addition.sums) {
                        self.refused.octets += u128::from(addition.sums.octets);
                        self.refused.packets += u128::from(addition.sums.packets);
                        self.refused.flows += addition.sums.flows;
                    }
                    break;
                }
                if found == Place::FREE {
                    self.index[place] = Place::new(hash, self.rows.len());
                    self.rows.push(*addition);
                    break;
                }
                place = (place + 1) & mask;
            }
        }
    }

    /// Sees to it that `more` rows fit without filling more than half of the index.
    fn make_room(&mut self, more: usize) {
        let places = ((self.rows.len() + more) * 2).next_power_of_two();
        if places <= self.index.len() {
            return;
        }
        self.index.clear();
        self.index.resize(places, Place::FREE);
        for (number, row) in self.rows.iter().enumerate() {
            let hash = hash(&self.hasher, row.key);
            let mut place = at(hash, places - 1);
            while self.index[place] != Place::FREE {
                place = (place + 1) & (places - 1);
            }
            self.index[place] = Place::new(hash, number);
        }
    }

    /// Moves all rows behind those in `out`, sorted by key. The table keeps its memory.
    pub(super) fn drain(&mut self, out: &mut Vec<UsageRow>) {
        self.order.clear();
        let numbers = 0..u32::try_from(self.rows.len()).expect("the table is bounded below 2^32 rows");
        self.order.extend(self.rows.iter().map(|row| row.key.0[0]).zip(numbers));
        let rows = &self.rows;
        let key = |number: u32| rows[number as usize].key;
        self.order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(&key(b.1))));
        let mut rate = SamplingRate::default();
        out.reserve(rows.len());
        out.extend(self.order.iter().map(|&(_, number)| {
            let row = &rows[number as usize];
            UsageRow { key: row.key.unpack(&mut rate), sums: row.sums }
        }));
        self.rows.clear();
        self.index.fill(Place::FREE);
    }
}

#[inline]
fn hash(hasher: &RandomState, PackedKey([high, middle, low]): PackedKey) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u64(high);
    state.write_u64(middle);
    state.write_u64(low);
    state.finish()
}

/// Where in the index a hash belongs.
#[inline]
fn at(hash: u64, mask: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "the mask takes the lower bits")]
    let low = hash as usize;
    low & mask
}
