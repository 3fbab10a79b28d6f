//! The usage table: a hash table of rows for each bucket.
//!
//! Metering is bound by the waits for memory, so the layout serves the cache. Nearly all records of a while belong to
//! the same one or two buckets, so each bucket has a table of its own: those in use stay near, those of past buckets
//! leave the cache. A row is half a cache line and lies in the table itself, so that a record touches one line: key,
//! octets, and packets and flows in one word. What would overflow that goes into a wide row beside the table, and
//! both drain as one. The sums of squares, which only sampled records have, lie apart.
//!
//! Additions wait at their bucket, in the form of rows, until [`Table::settle`]: then those of a bucket are looked up as
//! a whole before anything is changed, so that the waits of its records overlap.
//!
//! Rates stand in the keys as numbers, given out in the order in which rates are met. Draining sorts the rows by
//! bucket and by key in the order of [`UsageKey`](crate::usage::UsageKey); rows that differ in nothing but the rate, by
//! the rate.
//!
//! Invariants: no two rows of a bucket have the same key; no table is more than five eighths full; a wide row has a row;
//! all sums stay within 63 bits.

mod bucket;

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use bucket::{Bucket, Wide};

use crate::classify::Classified;
use crate::flow::FlowRecord;
use crate::units::SamplingRate;
use crate::usage::packed::{PackedKey, PackedRow as Row};
use crate::usage::{Packed, UsageRow, UsageRows, UsageSums};

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    buckets: Vec<Bucket>,
    /// Places of buckets where additions wait.
    unsettled: Vec<u32>,
    rows: usize,
    /// Rows that all buckets have room for.
    room: usize,
    wide: Wide,
    /// Place of a bucket by its number.
    places: HashMap<i32, u32, RandomState>,
    /// The buckets that were asked for last, and their places: flows that span two make them alternate.
    last_buckets: [Option<(i32, u32)>; 2],
    rates: Vec<SamplingRate>,
    rate_numbers: HashMap<SamplingRate, u32, RandomState>,
    /// The rate that was asked for last, and its number.
    last_rate: Option<(SamplingRate, u32)>,
    hasher: RandomState,
    /// Hashes of a batch. Kept for their memory.
    hashes: Vec<usize>,
}

/// What the rows of a bucket are sorted by: the key up to the rate, and behind it the row's number, in one number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Order(u128);

impl Order {
    const NUMBER_BITS: u32 = 44;

    fn new(key: PackedKey, number: u32) -> Self {
        Self(key.before_rate() | u128::from(number))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the number is the low 32 bits")]
    const fn number(self) -> usize {
        self.0 as u32 as usize
    }

    /// True for keys that are the same but for the rate.
    const fn differs_in_rate(&self, other: &Self) -> bool {
        self.0 >> Self::NUMBER_BITS == other.0 >> Self::NUMBER_BITS
    }
}

/// Volume that is not believed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refused {
    pub(super) octets: u128,
    pub(super) packets: u128,
    pub(super) flows: u64,
}

impl Refused {
    fn add(&mut self, sums: &UsageSums) {
        self.octets += u128::from(sums.octets);
        self.packets += u128::from(sums.packets);
        self.flows += sums.flows;
    }
}

impl Table {
    const ROOM_MIN: usize = 1 << 6;
    /// New buckets are made in the size of the last one as long as there is no more room for each row.
    const ROOM_PER_ROW: usize = 6;
    /// Rows that are brought near before they are drained.
    const LOOK_AHEAD: usize = 64;
    /// Buckets that the table holds before it counts as full: two weeks.
    const BUCKETS_MAX: usize = 4096;

    pub(super) fn new() -> Self {
        Self {
            buckets: Vec::new(),
            unsettled: Vec::new(),
            rows: 0,
            room: 0,
            wide: Wide::default(),
            places: HashMap::default(),
            last_buckets: [None; 2],
            rates: Vec::new(),
            rate_numbers: HashMap::default(),
            last_rate: None,
            hasher: RandomState::default(),
            hashes: Vec::new(),
        }
    }

    /// Rows; those that are to be made for what waits do not count yet.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// True where rows lie in more buckets than is good for a table, however few they are.
    pub(super) fn is_scattered(&self) -> bool {
        self.buckets.len() >= Self::BUCKETS_MAX
    }

    /// What was not added, because no exporter can have seen so much.
    pub(super) const fn refused(&self) -> &Refused {
        &self.wide.refused
    }

    /// The key that a record adds to, whatever the bucket.
    #[inline(always)]
    pub(super) fn key(&mut self, record: &FlowRecord, classified: &Classified) -> Key {
        let rate = match self.last_rate {
            Some((rate, number)) if rate == record.rate => number,
            _ => self.rate_number(record.rate),
        };
        let Classified { customer, link, direction, class, .. } = *classified;
        Key(PackedKey::new(customer, link, direction, class, record.family, record.exporter, rate))
    }

    /// As [`Self::stage`], for one flow without squares. False, and nothing is done, where the row of a line has no room
    /// for it.
    #[inline(always)]
    pub(super) fn stage_plain(&mut self, bucket: i64, Key(key): Key, octets: u64, packets: u64) -> bool {
        let flow = UsageSums { octets, packets, flows: 1, squares_low: 0, squares_high: 0 };
        let Some(addition) = Row::addition(key, &flow) else { return false };
        let place = self.bucket(bucket);
        let bucket = &mut self.buckets[place as usize];
        if bucket.is_settled() {
            self.unsettled.push(place);
        }
        bucket.stage_plain(addition);
        true
    }

    /// Puts on the stage what is to be added to the row of `key` in the bucket with number `bucket`. Buckets 20 000
    /// years from the epoch and more count as the last or first one that fits.
    #[inline(always)]
    pub(super) fn stage(&mut self, bucket: i64, Key(key): Key, sums: &UsageSums) {
        let place = self.bucket(bucket);
        let bucket = &mut self.buckets[place as usize];
        let Some(addition) = Row::addition(key, sums) else {
            let room = bucket.places();
            self.rows += bucket.add_wide(key, sums, &self.hasher, &mut self.wide);
            self.room += bucket.places() - room;
            return;
        };
        if bucket.is_settled() {
            self.unsettled.push(place);
        }
        bucket.stage(addition, [sums.squares_low, sums.squares_high]);
    }

    /// Adds all that is on the stage.
    pub(super) fn settle(&mut self) {
        for place in self.unsettled.drain(..) {
            let bucket = &mut self.buckets[place as usize];
            let room = bucket.places();
            self.rows += bucket.settle(&self.hasher, &mut self.hashes, &mut self.wide);
            self.room += bucket.places() - room;
        }
    }

    #[inline(never)]
    fn rate_number(&mut self, rate: SamplingRate) -> u32 {
        let number = *self.rate_numbers.entry(rate).or_insert_with(|| {
            self.rates.push(rate);
            u32::try_from(self.rates.len() - 1).expect("memory holds fewer than 2^32 rates")
        });
        self.last_rate = Some((rate, number));
        number
    }

    /// The place of a bucket, which is made where it is new.
    #[inline(always)]
    fn bucket(&mut self, number: i64) -> u32 {
        let number = i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX });
        match self.last_buckets {
            [Some((last, place)), _] if last == number => place,
            _ => self.find_bucket(number),
        }
    }

    #[inline(never)]
    fn find_bucket(&mut self, number: i32) -> u32 {
        self.last_buckets.swap(0, 1);
        if let Some((last, place)) = self.last_buckets[0]
            && last == number
        {
            return place;
        }
        let like = self.last_buckets[1].map_or(0, |(_, place)| self.buckets[place as usize].places());
        let place = *self.places.entry(number).or_insert_with(|| {
            // A new bucket comes to hold about what the one before it holds; but rows that come scattered must not
            // make many great tables.
            let fits = self.room + like <= self.rows * Self::ROOM_PER_ROW;
            let room = if fits { like.max(Self::ROOM_MIN) } else { Self::ROOM_MIN };
            self.room += room;
            self.buckets.push(Bucket::new(number, room));
            u32::try_from(self.buckets.len() - 1).expect("memory holds fewer than 2^32 buckets")
        });
        self.last_buckets[0] = Some((number, place));
        place
    }

    /// All rows, sorted by key, none twice.
    pub(super) fn sorted(mut self) -> UsageRows {
        debug_assert!(self.unsettled.is_empty(), "whoever takes a table settles it before");
        debug_assert_eq!(self.room, self.buckets.iter().map(Bucket::places).sum::<usize>());
        let mut out = UsageRows::default();
        let mut order: Vec<Order> = Vec::new();
        let wide = self.wide.buckets();
        let rates: Arc<[SamplingRate]> = self.rates.into();
        self.buckets.sort_unstable_by_key(|bucket| bucket.number);
        // A bucket is given back as soon as its rows are in `out`, so that both are not in memory whole.
        for bucket in self.buckets {
            order.clear();
            order.extend(bucket.keys().map(|(key, n)| Order::new(key, n)));
            order.sort_unstable();
            let rate = |order: &Order| rates[bucket.packed(order.number()).key.rate() as usize];
            for same in order.chunk_by_mut(Order::differs_in_rate).filter(|same| same.len() > 1) {
                same.sort_unstable_by_key(rate);
            }
            if wide.contains(&bucket.number) {
                out.push_whole(wide_rows(&bucket, &order, &rates, &self.wide));
            } else {
                out.push_packed(packed_rows(&bucket, &order, &rates));
            }
        }
        out
    }
}

/// The rows of a bucket that has no wide ones, in this order.
fn packed_rows(bucket: &Bucket, order: &[Order], rates: &Arc<[SamplingRate]>) -> Packed {
    let mut rows = Vec::with_capacity(order.len());
    let mut squares = Vec::with_capacity(if bucket.has_squares() { order.len() } else { 0 });
    for part in order.chunks(Table::LOOK_AHEAD) {
        bucket.fetch(part.iter().map(|order| order.number()));
        rows.extend(part.iter().map(|order| *bucket.packed(order.number())));
        if bucket.has_squares() {
            squares.extend(part.iter().map(|order| bucket.squares(order.number())));
        }
    }
    Packed { bucket: bucket.number, rates: Arc::clone(rates), rows, squares }
}

/// The rows of a bucket, in this order, with what lies beside it.
fn wide_rows(bucket: &Bucket, order: &[Order], rates: &[SamplingRate], wide: &Wide) -> Vec<UsageRow> {
    let whole = order.iter().filter_map(|order| {
        let packed = bucket.packed(order.number());
        let mut sums = packed.sums(bucket.squares(order.number()));
        if let Some(wide) = wide.get(bucket.number, packed.key) {
            sums.add(wide);
        }
        // A row may be there for volume alone that was refused.
        let key = packed.key.unpack(bucket.number, rates[packed.key.rate() as usize]);
        (sums != UsageSums::default()).then_some(UsageRow { key, sums })
    });
    whole.collect()
}

/// A row's key, whatever its bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(PackedKey);
