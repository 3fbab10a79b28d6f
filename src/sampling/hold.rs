//! Records that wait for their sampling rate, oldest first, packed into chunks.
//!
//! A chunk is one allocation with some hundred records in it, and the unit in which a checkpoint is written: the ledger
//! keeps each under its number, and a flush hands over those that are new or changed and the numbers of those that are
//! gone ([`Hold::take_changes`]). What leaves at the front, as nearly all does, changes no chunk: the place up to which
//! the oldest chunk is used up is part of the state that every flush writes. Records that leave from the middle are
//! closed up, and their chunk is written again.
//!
//! A chunk is written with a checksum behind it (CRC-32 of the rest, little-endian): damage would mostly read as records of
//! other volumes.
//!
//! So what a flush writes is what came since the last one, at most [`OPEN_OCTETS`] more for an exporter, and the rest
//! of chunks that something was taken from.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::compact::{self, Held, OCTETS_MAX, Waiting};
use crate::flow::FlowRecord;
use crate::ids::ExporterId;
use crate::units::UnixMillis;
use crate::usage::ChunkChanges;

/// A chunk that has no room for one more record of the greatest size is complete.
const CHUNK_OCTETS: usize = 16 * 1024;

/// A chunk of that size is not added to after a flush has written it, since it would have to be written again. Smaller
/// ones are, or an exporter that sends little would have a chunk for every flush.
const OPEN_OCTETS: usize = 2 * 1024;

/// What a new chunk has room for.
const CHUNK_OCTETS_FIRST: usize = 512;

/// What a chunk costs besides its records.
const CHUNK_OVERHEAD: usize = size_of::<Chunk>() + 32;

/// A chunk begins with the instant that its times are told from.
const HEADER: usize = size_of::<i64>();

/// What it ends with where it is written.
const CHECKSUM: usize = size_of::<u32>();

#[derive(Debug)]
struct Chunk {
    number: u64,
    /// The header, then records.
    octets: Vec<u8>,
    records: usize,
    /// Records that wait for a description.
    described: usize,
    base: UnixMillis,
    /// No record waits for longer.
    oldest: UnixMillis,
    /// It is not in the ledger as it is.
    changed: bool,
    /// A flush has written it, or it came from the ledger.
    stored: bool,
    /// No record is added any more.
    complete: bool,
}

impl Chunk {
    fn new(number: u64, base: UnixMillis) -> Self {
        let mut octets = Vec::with_capacity(CHUNK_OCTETS_FIRST);
        octets.extend(base.0.to_le_bytes());
        Self {
            number,
            octets,
            records: 0,
            described: 0,
            base,
            oldest: base,
            changed: true,
            stored: false,
            complete: false,
        }
    }

    fn cost(&self) -> usize {
        self.octets.capacity() + CHUNK_OVERHEAD
    }

    /// As it is written: with its checksum.
    fn sealed(&self) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(self.octets.len() + CHECKSUM);
        sealed.extend_from_slice(&self.octets);
        sealed.extend(crc32fast::hash(&self.octets).to_le_bytes());
        sealed
    }

    fn has_room(&self) -> bool {
        !self.complete && self.octets.len() + OCTETS_MAX <= CHUNK_OCTETS
    }

    fn push(&mut self, held: &Held) {
        if self.octets.capacity() - self.octets.len() < OCTETS_MAX {
            let more = self.octets.capacity().min(CHUNK_OCTETS - self.octets.len());
            self.octets.reserve_exact(more.max(OCTETS_MAX));
        }
        compact::encode(held, self.base, &mut self.octets);
        self.oldest = self.oldest.min(held.since);
        self.records += 1;
        self.described += usize::from(held.waiting == Waiting::Described);
        self.changed = true;
    }

    fn record_at(&self, at: usize, exporter: ExporterId) -> (Held, usize) {
        compact::decode(&self.octets[at..], self.base, exporter)
            .expect("what was encoded here, or looked through when it came from the ledger, can be decoded")
    }

    /// Asks about each record from `from` on, and says whether the one before went (at first, and at the end: `went`):
    /// `Some` keeps it, waiting for that. What goes is closed up. A second flow that stays without its first one is from now
    /// on a record of its own.
    fn sift(
        &mut self,
        from: usize,
        exporter: ExporterId,
        went: &mut bool,
        ask: &mut impl FnMut(&Held, bool) -> Option<Waiting>,
    ) {
        let (mut at, mut to) = (from, from);
        while at < self.octets.len() {
            let (held, length) = self.record_at(at, exporter);
            self.described -= usize::from(held.waiting == Waiting::Described);
            match ask(&held, *went) {
                Some(waiting) => {
                    self.described += usize::from(waiting == Waiting::Described);
                    if waiting != held.waiting {
                        compact::set_waiting(&mut self.octets[at..], waiting);
                        self.changed = true;
                    }
                    if held.record.second && *went {
                        compact::set_alone(&mut self.octets[at..]);
                        self.changed = true;
                    }
                    *went = false;
                    if to != at {
                        self.octets.copy_within(at..at + length, to);
                    }
                    to += length;
                }
                None => {
                    self.records -= 1;
                    *went = true;
                }
            }
            at += length;
        }
        if to != at {
            self.octets.truncate(to);
            self.octets.shrink_to(to.max(CHUNK_OCTETS_FIRST));
            self.changed = true;
        }
    }
}

/// Takes the checksum off a chunk; `None` where it is not that of the rest.
fn unseal(stored: &mut Vec<u8>) -> Option<()> {
    let (octets, sum) = stored.split_last_chunk::<CHECKSUM>()?;
    let (is_right, length) = (crc32fast::hash(octets) == u32::from_le_bytes(*sum), octets.len());
    stored.truncate(length);
    is_right.then_some(())
}

/// All waiting records of one exporter. What is serialised is all but the chunks.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Hold {
    #[serde(skip)]
    exporter: ExporterId,
    #[serde(skip)]
    chunks: VecDeque<Chunk>,
    /// What the chunks cost.
    #[serde(skip)]
    memory: usize,
    /// Chunks that the ledger still has.
    #[serde(skip)]
    removed: Vec<u64>,
    /// The ledger has what was here at the last flush, and nothing else.
    #[serde(skip)]
    stored: bool,
    /// No record has waited longer for the end of a grace time. `None`: nobody has looked.
    #[serde(skip)]
    grace_since: Option<UnixMillis>,
    /// The number of the next chunk.
    next: u64,
    /// Octets of the oldest chunk's records that are gone.
    used: usize,
    records: usize,
    octets: u64,
    /// Of the records, those that are the second flow of one whose first flow waits before them.
    seconds: usize,
    expired_records: u64,
    expired_octets: u64,
    /// Of those, the ones whose first flow expired, too.
    expired_seconds: u64,
}

/// Chunks that are not those of the state they came with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadHold;

impl Hold {
    pub(super) fn len(&self) -> usize {
        self.records
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    /// Octets of memory.
    pub(super) const fn memory(&self) -> usize {
        self.memory
    }

    pub(super) const fn seconds(&self) -> usize {
        self.seconds
    }

    pub(super) const fn expired_seconds(&self) -> u64 {
        self.expired_seconds
    }

    pub(super) const fn expired_records(&self) -> u64 {
        self.expired_records
    }

    pub(super) const fn expired_octets(&self) -> u64 {
        self.expired_octets
    }

    /// Records of the oldest chunk.
    pub(super) fn oldest_chunk(&self) -> usize {
        self.chunks.front().map_or(0, |chunk| chunk.records)
    }

    pub(super) fn keep(&mut self, held: &Held) {
        let Held { record, since, waiting, .. } = *held;
        self.exporter = record.exporter;
        if waiting == Waiting::Grace {
            self.grace_since = self.grace_since.map(|oldest| oldest.min(since));
        }
        if !self.chunks.back().is_some_and(Chunk::has_room) {
            self.complete_newest();
            let chunk = Chunk::new(self.next, since);
            self.next += 1;
            self.memory += chunk.cost();
            self.chunks.push_back(chunk);
        }
        let chunk = self.chunks.back_mut().expect("made above where there was none");
        let before = chunk.cost();
        chunk.push(held);
        self.memory += chunk.cost() - before;
        self.records += 1;
        self.seconds += usize::from(record.second);
        // The decoder lets no record of 2^48 octets through, so this takes 65536 of the greatest to overflow.
        self.octets = self.octets.saturating_add(record.octets.as_u64());
    }

    fn complete_newest(&mut self) {
        let Some(chunk) = self.chunks.back_mut() else { return };
        let before = chunk.cost();
        chunk.complete = true;
        chunk.octets.shrink_to_fit();
        self.memory = self.memory - before + chunk.cost();
    }

    /// Asks about each record, in order: `Some` keeps it, waiting for that.
    pub(super) fn retain(&mut self, ask: impl FnMut(&Held) -> Option<Waiting>) {
        self.grace_since = None;
        self.sift(|_| true, ask);
    }

    /// Asks about each record that has waited for the end of a grace time since `until`, or longer, as [`Self::retain`].
    pub(super) fn retain_grace(&mut self, until: UnixMillis, mut ask: impl FnMut(&Held) -> Option<Waiting>) {
        if self.grace_since.is_some_and(|oldest| oldest > until) {
            return;
        }
        let is_concerned = |chunk: &Chunk| chunk.described < chunk.records && chunk.oldest <= until;
        let others =
            self.chunks.iter().filter(|chunk| !is_concerned(chunk) && chunk.described < chunk.records);
        let mut oldest = others.map(|chunk| chunk.oldest).min().unwrap_or(UnixMillis(i64::MAX));
        self.sift(is_concerned, |held| {
            let is_due = held.waiting == Waiting::Grace && held.since <= until;
            let stays = if is_due { ask(held) } else { Some(held.waiting) };
            if stays == Some(Waiting::Grace) {
                oldest = oldest.min(held.since);
            }
            stays
        });
        self.grace_since = Some(oldest);
    }

    /// Drops and counts what has waited `hold_ms` for a description. Records in their grace time end with that.
    pub(super) fn expire(&mut self, now: UnixMillis, hold_ms: i64) {
        let is_over = |since: UnixMillis| now.since(since) >= hold_ms;
        let (records, octets, seconds) = self.sift(
            |chunk| chunk.described > 0 && is_over(chunk.oldest),
            |held| {
                let over = held.waiting == Waiting::Described && is_over(held.since);
                (!over).then_some(held.waiting)
            },
        );
        self.expired_records += records;
        self.expired_octets = self.expired_octets.saturating_add(octets);
        self.expired_seconds += seconds;
    }

    /// Asks about the records of those chunks that are `concerned`; the records and octets that go, and how many of them are
    /// second flows that go with their first one.
    fn sift(
        &mut self,
        concerned: impl Fn(&Chunk) -> bool,
        mut ask: impl FnMut(&Held) -> Option<Waiting>,
    ) -> (u64, u64, u64) {
        let (mut records, mut octets, mut pairs, mut seconds) = (0, 0_u64, 0, self.seconds);
        let mut from = HEADER + self.used;
        // What was before the oldest one is gone, and was counted then.
        let mut went = self.used > 0;
        for chunk in &mut self.chunks {
            if concerned(chunk) {
                let before = chunk.cost();
                chunk.sift(from, self.exporter, &mut went, &mut |held, first_went| {
                    let stays = ask(held);
                    if stays.is_none() {
                        records += 1;
                        octets = octets.saturating_add(held.record.octets.as_u64());
                        pairs += u64::from(held.record.second && first_went);
                    }
                    if held.record.second && (first_went || stays.is_none()) {
                        seconds = seconds.saturating_sub(1);
                    }
                    stays
                });
                self.memory = self.memory - before + chunk.cost();
            } else {
                went = false;
            }
            from = HEADER;
        }
        self.seconds = seconds;
        if records > 0 {
            self.records = self.chunks.iter().map(|chunk| chunk.records).sum();
            self.octets = self.octets.saturating_sub(octets);
            self.drop_empty();
        }
        (records, octets, pairs)
    }

    fn drop_empty(&mut self) {
        if self.chunks.front().is_none_or(|chunk| chunk.records == 0) {
            self.used = 0;
        }
        self.chunks.retain(|chunk| {
            if chunk.records == 0 {
                self.memory -= chunk.cost();
                if chunk.stored {
                    self.removed.push(chunk.number);
                }
            }
            chunk.records > 0
        });
    }

    pub(super) fn pop_oldest(&mut self) -> Option<Held> {
        let chunk = self.chunks.front_mut()?;
        let (held, length) = chunk.record_at(HEADER + self.used, self.exporter);
        self.used += length;
        chunk.records -= 1;
        chunk.described -= usize::from(held.waiting == Waiting::Described);
        self.records -= 1;
        self.seconds = self.seconds.saturating_sub(usize::from(held.record.second));
        self.octets = self.octets.saturating_sub(held.record.octets.as_u64());
        if chunk.records == 0 {
            self.drop_oldest_chunk();
        }
        Some(held)
    }

    fn drop_oldest_chunk(&mut self) {
        let Some(chunk) = self.chunks.pop_front() else { return };
        self.used = 0;
        self.memory -= chunk.cost();
        if chunk.stored {
            self.removed.push(chunk.number);
        }
    }

    pub(super) fn count_expired(&mut self, record: &FlowRecord) {
        self.expired_records += 1;
        self.expired_octets = self.expired_octets.saturating_add(record.octets.as_u64());
        self.expired_seconds += u64::from(record.second);
    }

    /// What became of the chunks since the last call, for the flush that writes the state as it is now.
    pub(super) fn take_changes(&mut self) -> ChunkChanges {
        let first = self.chunks.front().map_or(self.next, |chunk| chunk.number);
        let mut removed = core::mem::take(&mut self.removed);
        let below = removed.iter().any(|&number| number < first);
        removed.retain(|&number| number > first);
        let mut written = Vec::new();
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.changed) {
            chunk.changed = false;
            chunk.stored = true;
            written.push((chunk.number, chunk.sealed()));
        }
        if self.chunks.back().is_some_and(|chunk| !chunk.complete && chunk.octets.len() >= OPEN_OCTETS) {
            self.complete_newest();
        }
        let whole = !core::mem::replace(&mut self.stored, true);
        ChunkChanges { whole, first: below.then_some(first), removed, written }
    }

    /// All chunks as they are now.
    pub(super) fn chunks(&self) -> ChunkChanges {
        let written = self.chunks.iter().map(|chunk| (chunk.number, chunk.sealed())).collect();
        ChunkChanges { whole: true, written, ..ChunkChanges::default() }
    }

    /// Takes up the chunks that belong to this state, as records of `exporter`. Each is looked through.
    pub(super) fn restore(
        &mut self,
        exporter: ExporterId,
        chunks: Vec<(u64, Vec<u8>)>,
    ) -> Result<(), BadHold> {
        self.exporter = exporter;
        self.stored = true;
        let (mut records, mut octets) = (0, 0_u64);
        let mut from = HEADER.checked_add(self.used).ok_or(BadHold)?;
        for (number, mut stored) in chunks {
            unseal(&mut stored).ok_or(BadHold)?;
            let base = UnixMillis(i64::from_le_bytes(*stored.first_chunk::<HEADER>().ok_or(BadHold)?));
            let ascends = self.chunks.back().is_none_or(|last| last.number < number);
            if !ascends || number >= self.next || from > stored.len() {
                return Err(BadHold);
            }
            let mut chunk = Chunk::new(number, base);
            let mut at = from;
            while at < stored.len() {
                let (held, length) = compact::decode(&stored[at..], base, exporter).ok_or(BadHold)?;
                octets = octets.saturating_add(held.record.octets.as_u64());
                chunk.oldest = chunk.oldest.min(held.since);
                chunk.records += 1;
                chunk.described += usize::from(held.waiting == Waiting::Described);
                at += length;
            }
            records += chunk.records;
            chunk.complete = stored.len() >= OPEN_OCTETS;
            chunk.octets = stored;
            (chunk.changed, chunk.stored) = (false, true);
            self.memory += chunk.cost();
            self.chunks.push_back(chunk);
            from = HEADER;
        }
        if (records, octets) == (self.records, self.octets) { Ok(()) } else { Err(BadHold) }
    }
}

#[cfg(test)]
mod tests;
