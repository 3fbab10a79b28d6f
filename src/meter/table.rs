//! The usage table: a hash table of rows for each bucket.
//!
//! Metering is bound by the waits for memory, so the layout serves the cache. Nearly all records of a while belong to
//! the same one or two buckets, so each bucket has a table of its own: those in use stay near, those of past buckets
//! leave the cache. A row is half a cache line and lies in the table itself, so that a record touches one line: key,
//! octets, and packets and flows in one word. What would overflow that goes into a wide row beside the table, and
//! both drain as one. The sums of squares, which only sampled records have, lie apart.
//!
//! A batch is looked up as a whole before anything is changed, so that the waits of its records overlap.
//!
//! Rates stand in the keys as numbers, given out in the order in which rates are met. Draining sorts the rows by
//! bucket and by key in the order of [`UsageKey`]; rows that differ in nothing but the rate, by the rate.
//!
//! Invariants: no two rows of a bucket have the same key; no table is more than five eighths full; a wide row has a row;
//! all sums stay within 63 bits.

use core::hash::{BuildHasher, Hasher};
use core::hint::black_box;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::classify::Classified;
use crate::flow::{Direction, Family, FlowRecord};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::units::SamplingRate;
use crate::usage::{BUCKET_SECONDS, BucketStart, UsageKey, UsageRow, UsageSums};

/// A usage key without its bucket, most significant first, in the order of [`UsageKey`]'s fields: customer 32, link
/// 16, direction 2, 14 of the class's 16 | its other 2, family 2, exporter 16, number of the rate 32, 11 unused, 1.
/// The last bit tells a row from a free slot.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct PackedKey(u64, u64);

impl PackedKey {
    const RATE_SHIFT: u32 = 12;

    #[inline]
    fn new(record: &FlowRecord, classified: &Classified, rate: u32) -> Self {
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

    const fn is_free(self) -> bool {
        self.1 == 0
    }

    #[expect(clippy::cast_possible_truncation, reason = "the field is cut to the width it was packed with")]
    const fn rate(self) -> u32 {
        (self.1 >> Self::RATE_SHIFT) as u32
    }

    /// The key in its usual form.
    #[expect(clippy::cast_possible_truncation, reason = "each field is cut to the width it was packed with")]
    fn unpack(self, bucket: i32, rate: SamplingRate) -> UsageKey {
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

/// What is to be added to a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addition {
    key: PackedKey,
    sums: UsageSums,
    /// The place of its bucket in [`Table::buckets`].
    bucket: u32,
}

/// A row of the table: half a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Slot {
    key: PackedKey,
    octets: u64,
    /// Packets, and flows in the low [`Self::FLOWS_BITS`].
    packets_flows: u64,
}

impl Slot {
    const FLOWS_BITS: u32 = 24;
    /// Neither a row nor an addition with more than this many bits of octets or packets adds up in a slot ...
    const OCTETS_BITS: u32 = 60;
    const PACKETS_BITS: u32 = 63 - Self::FLOWS_BITS;
    /// ... nor a row with the top bit of its packets or its flows set: so no sum runs over its field.
    const FULL: u64 = 1 << 63 | 1 << (Self::FLOWS_BITS - 1);

    const fn flows(&self) -> u64 {
        self.packets_flows & ((1 << Self::FLOWS_BITS) - 1)
    }

    const fn packets(&self) -> u64 {
        self.packets_flows >> Self::FLOWS_BITS
    }

    /// Adds octets, packets and flows, of which there is one at most, where they fit.
    #[inline(always)]
    const fn try_add(&mut self, sums: &UsageSums) -> bool {
        let too_much = (self.octets | sums.octets) >> Self::OCTETS_BITS
            | sums.packets >> Self::PACKETS_BITS
            | self.packets_flows & Self::FULL;
        if too_much != 0 {
            return false;
        }
        self.octets += sums.octets;
        self.packets_flows += sums.packets << Self::FLOWS_BITS | sums.flows;
        true
    }
}

/// The rows of one bucket.
#[derive(Debug)]
struct Bucket {
    /// Its start, divided by 300 seconds.
    number: i32,
    /// Slots taken.
    rows: usize,
    /// A power of two of them.
    slots: Vec<Slot>,
    /// Lower and upper sum of squares by slot; empty before the first sampled record.
    squares: Vec<[u64; 2]>,
}

impl Bucket {
    fn new(number: i32, slots: usize) -> Self {
        Self { number, rows: 0, slots: vec![Slot::default(); slots], squares: Vec::new() }
    }

    /// The slot of `key`, or the free one where it belongs; looked for from `hash` on, first in the cache line that it
    /// points to.
    #[inline]
    fn find(&self, key: PackedKey, hash: usize) -> usize {
        let mask = self.slots.len() - 1;
        let line = hash & mask & !1;
        let mut probe = 0;
        loop {
            let place = ((line + (probe & !1)) & mask) | ((hash ^ probe) & 1);
            let slot = &self.slots[place];
            if slot.key == key || slot.key.is_free() {
                return place;
            }
            probe += 1;
        }
    }

    fn add_squares(&mut self, place: usize, sums: &UsageSums) {
        if self.squares.is_empty() {
            self.squares = vec![[0; 2]; self.slots.len()];
        }
        let [low, high] = &mut self.squares[place];
        *low = low.saturating_add(sums.squares_low);
        *high = high.saturating_add(sums.squares_high);
    }

    /// The sums of a slot.
    fn sums(&self, place: usize) -> UsageSums {
        let slot = &self.slots[place];
        let [squares_low, squares_high] = self.squares.get(place).copied().unwrap_or_default();
        UsageSums {
            octets: slot.octets,
            packets: slot.packets(),
            flows: slot.flows(),
            squares_low,
            squares_high,
        }
    }

    /// Doubles the slots.
    fn grow(&mut self, hasher: &RandomState) {
        let mut grown = Self::new(self.number, self.slots.len() * 2);
        grown.rows = self.rows;
        if !self.squares.is_empty() {
            grown.squares = vec![[0; 2]; grown.slots.len()];
        }
        for (n, slot) in self.slots.iter().enumerate().filter(|(_, slot)| !slot.key.is_free()) {
            let place = grown.find(slot.key, hash(hasher, slot.key));
            grown.slots[place] = *slot;
            if let Some(squares) = self.squares.get(n) {
                grown.squares[place] = *squares;
            }
        }
        *self = grown;
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    buckets: Vec<Bucket>,
    rows: usize,
    /// Slots of all buckets.
    slots: usize,
    /// Wide rows, by bucket and key.
    wide: HashMap<(u32, PackedKey), UsageSums, RandomState>,
    /// Place of a bucket by its number.
    places: HashMap<i32, u32, RandomState>,
    /// The buckets that were asked for last, and their places: flows that span two make them alternate.
    last_buckets: [Option<(i32, u32)>; 2],
    rates: Vec<SamplingRate>,
    rate_numbers: HashMap<SamplingRate, u32, RandomState>,
    /// The rate that was asked for last, and its number.
    last_rate: Option<(SamplingRate, u32)>,
    hasher: RandomState,
    /// Hashes of a batch; and the order of rows while draining. Kept for their memory.
    hashes: Vec<usize>,
    order: Vec<Order>,
    /// What was not added since the last drain, because no exporter can have seen so much.
    pub(super) refused: Refused,
}

/// What the rows of a bucket are sorted by: the key up to the rate, and behind it the slot, in one number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Order(u128);

impl Order {
    const SLOT_BITS: u32 = 44;

    fn new(PackedKey(first, second): PackedKey, slot: u32) -> Self {
        let before_rate = second >> Self::SLOT_BITS << Self::SLOT_BITS;
        Self(u128::from(first) << 64 | u128::from(before_rate | u64::from(slot)))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the slot is the low 32 bits")]
    const fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    /// True for keys that are the same but for the rate.
    const fn differs_in_rate(&self, other: &Self) -> bool {
        self.0 >> Self::SLOT_BITS == other.0 >> Self::SLOT_BITS
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
    const SLOTS_MIN: usize = 1 << 6;
    /// New buckets are made in the size of the last one as long as there are no more slots for each row.
    const SLOTS_PER_ROW: usize = 6;
    /// Buckets that the table holds before it counts as full: two weeks.
    const BUCKETS_MAX: usize = 4096;

    pub(super) fn new() -> Self {
        Self {
            buckets: Vec::new(),
            rows: 0,
            slots: 0,
            wide: HashMap::default(),
            places: HashMap::default(),
            last_buckets: [None; 2],
            rates: Vec::new(),
            rate_numbers: HashMap::default(),
            last_rate: None,
            hasher: RandomState::default(),
            hashes: Vec::new(),
            order: Vec::new(),
            refused: Refused::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// True where rows lie in more buckets than is good for a table, however few they are.
    pub(super) fn is_scattered(&self) -> bool {
        self.buckets.len() >= Self::BUCKETS_MAX
    }

    /// What a record adds, in the bucket with number `bucket`. Buckets 20 000 years from the epoch and more count as the
    /// last or first one that fits.
    #[inline]
    pub(super) fn addition(
        &mut self,
        bucket: i64,
        record: &FlowRecord,
        classified: &Classified,
        sums: UsageSums,
    ) -> Addition {
        let rate = match self.last_rate {
            Some((rate, number)) if rate == record.rate => number,
            _ => self.rate_number(record.rate),
        };
        Addition { key: PackedKey::new(record, classified, rate), sums, bucket: self.bucket(bucket) }
    }

    /// The same with other sums in another bucket.
    pub(super) fn addition_in(&mut self, bucket: i64, like: &Addition, sums: UsageSums) -> Addition {
        Addition { bucket: self.bucket(bucket), sums, ..*like }
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
    #[inline]
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
        let like = self.last_buckets[1].map_or(0, |(_, place)| self.buckets[place as usize].slots.len());
        let place = *self.places.entry(number).or_insert_with(|| {
            // A new bucket comes to hold about what the one before it holds; but rows that come scattered must not
            // make many great tables.
            let fits = self.slots + like <= self.rows * Self::SLOTS_PER_ROW;
            let slots = if fits { like.max(Self::SLOTS_MIN) } else { Self::SLOTS_MIN };
            self.slots += slots;
            self.buckets.push(Bucket::new(number, slots));
            u32::try_from(self.buckets.len() - 1).expect("memory holds fewer than 2^32 buckets")
        });
        self.last_buckets[0] = Some((number, place));
        place
    }

    /// Adds each of `batch` to the row of its key.
    pub(super) fn add(&mut self, batch: &[Addition]) {
        let (hasher, buckets) = (&self.hasher, &self.buckets);
        self.hashes.clear();
        self.hashes.extend(batch.iter().map(|addition| hash(hasher, addition.key)));
        // This pass only looks: its reads wait for memory side by side, and the next one finds all of it in the cache.
        let mut touched = 0;
        for (addition, hash) in batch.iter().zip(&self.hashes) {
            let slots = &buckets[addition.bucket as usize].slots;
            touched ^= slots[hash & (slots.len() - 1)].octets;
        }
        black_box(touched);
        for (n, addition) in batch.iter().enumerate() {
            let bucket = &mut self.buckets[addition.bucket as usize];
            let place = bucket.find(addition.key, self.hashes[n]);
            let slot = &mut bucket.slots[place];
            let is_new = slot.key.is_free();
            slot.key = addition.key;
            if !slot.try_add(&addition.sums) {
                let wide = self.wide.entry((addition.bucket, addition.key)).or_default();
                let mut whole = bucket.sums(place);
                whole.add(wide);
                if whole.try_add(&addition.sums) {
                    wide.add(&addition.sums);
                } else {
                    self.refused.add(&addition.sums);
                }
            } else if addition.sums.squares_high != 0 {
                bucket.add_squares(place, &addition.sums);
            }
            if is_new {
                self.rows += 1;
                bucket.rows += 1;
                if bucket.rows * 8 > bucket.slots.len() * 5 {
                    self.slots += bucket.slots.len();
                    bucket.grow(&self.hasher);
                }
            }
        }
    }

    /// Moves all rows behind those in `out`, sorted by key, none twice.
    pub(super) fn drain(&mut self, out: &mut Vec<UsageRow>) {
        out.reserve(self.rows);
        let mut places: Vec<(i32, u32)> = self.buckets.iter().map(|bucket| bucket.number).zip(0..).collect();
        places.sort_unstable();
        for (_, place) in places {
            let bucket = &self.buckets[place as usize];
            self.order.clear();
            let slots = bucket.slots.iter().zip(0..).filter(|(slot, _)| !slot.key.is_free());
            self.order.extend(slots.map(|(slot, n)| Order::new(slot.key, n)));
            self.order.sort_unstable();
            let rate = |order: &Order| self.rates[bucket.slots[order.slot()].key.rate() as usize];
            for same in self.order.chunk_by_mut(Order::differs_in_rate).filter(|same| same.len() > 1) {
                same.sort_unstable_by_key(rate);
            }
            out.extend(self.order.iter().filter_map(|order| {
                let key = bucket.slots[order.slot()].key;
                let mut sums = bucket.sums(order.slot());
                if let Some(wide) = self.wide.get(&(place, key)) {
                    sums.add(wide);
                }
                // A row may be there for volume alone that was refused.
                let row = UsageRow { key: key.unpack(bucket.number, rate(order)), sums };
                (sums != UsageSums::default()).then_some(row)
            }));
        }
        self.wide.clear();
        self.buckets.clear();
        (self.rows, self.slots) = (0, 0);
        self.places.clear();
        self.last_buckets = [None; 2];
        self.rates.clear();
        self.rate_numbers.clear();
        self.last_rate = None;
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low bits tell the slot")]
fn hash(hasher: &RandomState, PackedKey(first, second): PackedKey) -> usize {
    let mut state = hasher.build_hasher();
    state.write_u64(first);
    state.write_u64(second);
    state.finish() as usize
}
