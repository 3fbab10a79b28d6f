//! The rows of one bucket: a hash table of cache lines with two rows each, and what waits to be added to it.

use core::hash::{BuildHasher, Hasher};
use core::hint::black_box;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::Refused;
use crate::usage::UsageSums;
use crate::usage::packed::{PackedKey, PackedRow as Row};

/// Two rows in a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([Row; 2]);

/// Where a row is: its line, and which of the two it is.
#[derive(Clone, Copy, Debug)]
struct Place {
    line: usize,
    side: usize,
}

impl Place {
    /// The row's number among all of the bucket.
    const fn index(self) -> usize {
        self.line * 2 + self.side
    }
}

/// Rows that hold more than a line has room for, beside the tables of all buckets.
#[derive(Debug, Default)]
pub(super) struct Wide {
    /// By bucket and key.
    rows: HashMap<(i32, PackedKey), UsageSums, RandomState>,
    /// What was not added, because no exporter can have seen so much.
    pub(super) refused: Refused,
}

impl Wide {
    pub(super) fn get(&self, bucket: i32, key: PackedKey) -> Option<&UsageSums> {
        self.rows.get(&(bucket, key))
    }

    /// The buckets that have such rows.
    pub(super) fn buckets(&self) -> HashSet<i32, RandomState> {
        self.rows.keys().map(|(bucket, _)| *bucket).collect()
    }
}

/// The rows of one bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Its start, divided by 300 seconds.
    pub(super) number: i32,
    rows: usize,
    /// A power of two of them.
    lines: Vec<Line>,
    /// Lower and upper sum of squares by row; empty before the first sampled record.
    squares: Vec<[u64; 2]>,
    /// What is to be added, of unsampled records ...
    plain: Vec<Row>,
    /// ... and of sampled ones, with their squares.
    sampled: Vec<Row>,
    sampled_squares: Vec<[u64; 2]>,
}

impl Bucket {
    /// An empty one with room for `places` rows, a power of two.
    pub(super) fn new(number: i32, places: usize) -> Self {
        Self {
            number,
            rows: 0,
            lines: vec![Line::default(); places / 2],
            squares: Vec::new(),
            plain: Vec::new(),
            sampled: Vec::new(),
            sampled_squares: Vec::new(),
        }
    }

    /// Rows there is room for, if all were to be used.
    pub(super) const fn places(&self) -> usize {
        self.lines.len() * 2
    }

    /// True where nothing waits to be added.
    #[inline(always)]
    pub(super) const fn is_settled(&self) -> bool {
        self.plain.is_empty() && self.sampled.is_empty()
    }

    /// Puts an addition without squares beside the others.
    #[inline(always)]
    pub(super) fn stage_plain(&mut self, addition: Row) {
        self.plain.push(addition);
    }

    /// Puts an addition beside the others.
    #[inline(always)]
    pub(super) fn stage(&mut self, addition: Row, squares: [u64; 2]) {
        // Of a part of a flow either may be 0 where the other one is not: each is split for itself.
        if squares[0] | squares[1] == 0 {
            self.plain.push(addition);
        } else {
            self.sampled.push(addition);
            self.sampled_squares.push(squares);
        }
    }

    /// Adds all that waits. The result: how many rows are new.
    pub(super) fn settle(&mut self, hasher: &RandomState, hashes: &mut Vec<usize>, wide: &mut Wide) -> usize {
        let before = self.rows;
        self.reserve(self.plain.len() + self.sampled.len(), hasher);
        let mut plain = core::mem::take(&mut self.plain);
        self.add(&plain, &[], hasher, hashes, wide);
        plain.clear();
        self.plain = plain;
        if !self.sampled.is_empty() {
            if self.squares.is_empty() {
                self.squares = vec![[0; 2]; self.places()];
            }
            let mut sampled = core::mem::take(&mut self.sampled);
            let mut squares = core::mem::take(&mut self.sampled_squares);
            self.add(&sampled, &squares, hasher, hashes, wide);
            sampled.clear();
            squares.clear();
            (self.sampled, self.sampled_squares) = (sampled, squares);
        }
        self.rows - before
    }

    /// Adds each of `additions` to the row of its key; for all of them there is room. `squares`: theirs, or nothing.
    #[inline(always)]
    fn add(
        &mut self,
        additions: &[Row],
        squares: &[[u64; 2]],
        hasher: &RandomState,
        hashes: &mut Vec<usize>,
        wide: &mut Wide,
    ) {
        let lines = &mut self.lines[..];
        // This pass only looks: its reads wait for memory side by side, and the next one finds all of it in the cache.
        let mut touched = 0;
        hashes.clear();
        hashes.extend(additions.iter().map(|addition| {
            let hash = hash(hasher, addition.key);
            touched ^= lines[hash >> 1 & (lines.len() - 1)].0[0].touch();
            hash
        }));
        black_box(touched);
        for (n, (addition, hash)) in additions.iter().zip(&*hashes).enumerate() {
            let place = find(lines, addition.key, *hash);
            let row = &mut lines[place.line].0[place.side];
            self.rows += usize::from(row.key.is_free());
            row.key = addition.key;
            if !row.try_add(addition) {
                let kept = self.squares.get(place.index()).copied().unwrap_or_default();
                let more = addition.sums(squares.get(n).copied().unwrap_or_default());
                widen(wide, self.number, row, kept, &more);
            } else if let Some([low, high]) = squares.get(n) {
                let sums = &mut self.squares[place.index()];
                sums[0] = sums[0].saturating_add(*low);
                sums[1] = sums[1].saturating_add(*high);
            }
        }
    }

    /// Adds what no line has room for. The result: how many rows are new.
    #[cold]
    pub(super) fn add_wide(
        &mut self,
        key: PackedKey,
        sums: &UsageSums,
        hasher: &RandomState,
        wide: &mut Wide,
    ) -> usize {
        self.reserve(1, hasher);
        let place = find(&self.lines, key, hash(hasher, key));
        let row = &mut self.lines[place.line].0[place.side];
        let is_new = row.key.is_free();
        if is_new {
            *row = Row::empty(key);
            self.rows += 1;
        }
        let kept = self.squares.get(place.index()).copied().unwrap_or_default();
        widen(wide, self.number, row, kept, sums);
        usize::from(is_new)
    }

    /// Makes room for so many new rows: no more than five eighths of the places are ever taken.
    fn reserve(&mut self, more: usize, hasher: &RandomState) {
        while (self.rows + more) * 8 > self.places() * 5 {
            self.grow(hasher);
        }
    }

    /// Doubles the lines.
    fn grow(&mut self, hasher: &RandomState) {
        let mut lines = vec![Line::default(); self.lines.len() * 2];
        let mut squares = vec![[0; 2]; if self.squares.is_empty() { 0 } else { lines.len() * 2 }];
        for (n, row) in self.taken() {
            let place = find(&lines, row.key, hash(hasher, row.key));
            lines[place.line].0[place.side] = *row;
            if let Some(kept) = self.squares.get(n) {
                squares[place.index()] = *kept;
            }
        }
        (self.lines, self.squares) = (lines, squares);
    }

    fn taken(&self) -> impl Iterator<Item = (usize, &Row)> {
        self.lines.iter().flat_map(|line| &line.0).enumerate().filter(|(_, row)| !row.key.is_free())
    }

    /// The keys of the rows, and their numbers.
    pub(super) fn keys(&self) -> impl Iterator<Item = (PackedKey, u32)> {
        let number = |n| u32::try_from(n).expect("memory holds fewer than 2^32 rows");
        self.taken().map(move |(n, row)| (row.key, number(n)))
    }

    /// Brings rows near that are going to be looked at: these reads wait for memory side by side.
    pub(super) fn fetch(&self, rows: impl Iterator<Item = usize>) {
        black_box(rows.fold(0, |touched, n| touched ^ self.lines[n / 2].0[n % 2].touch()));
    }

    /// The row with number `n`.
    pub(super) fn packed(&self, n: usize) -> &Row {
        &self.lines[n / 2].0[n % 2]
    }

    /// Its sums of squares.
    pub(super) fn squares(&self, n: usize) -> [u64; 2] {
        self.squares.get(n).copied().unwrap_or_default()
    }

    /// True where rows have sums of squares.
    pub(super) const fn has_squares(&self) -> bool {
        !self.squares.is_empty()
    }
}

/// The place of `key`, or the free one where it belongs; looked for from `hash` on, in both places of a line before
/// the next line. One of the lines has a free place.
#[inline(always)]
fn find(lines: &[Line], key: PackedKey, hash: usize) -> Place {
    let mask = lines.len() - 1;
    let mut line = hash >> 1 & mask;
    let first = hash & 1;
    loop {
        for side in [first, first ^ 1] {
            let held = lines[line].0[side].key;
            if held == key || held.is_free() {
                return Place { line, side };
            }
        }
        line = (line + 1) & mask;
    }
}

/// Adds to the wide row beside `row`, unless both together would hold more than can be believed.
#[cold]
fn widen(wide: &mut Wide, bucket: i32, row: &Row, squares: [u64; 2], sums: &UsageSums) {
    let beside = wide.rows.entry((bucket, row.key)).or_default();
    let mut whole = row.sums(squares);
    whole.add(beside);
    if whole.try_add(sums) {
        beside.add(sums);
    } else {
        wide.refused.add(sums);
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low bits tell the place")]
fn hash(hasher: &RandomState, PackedKey(first, second): PackedKey) -> usize {
    let mut state = hasher.build_hasher();
    state.write_u64(first);
    state.write_u64(second);
    state.finish() as usize
}
