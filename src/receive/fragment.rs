//! Puts fragmented packets together again, within bounds.
//!
//! A fragment that overlaps another one with anything but the very same octets at the very same place spoils the whole
//! packet (RFC 5722, RFC 8200 4.5; we ask the same of IPv4). What waits is bounded in packets, in octets and in
//! time of the capture; the oldest gives way. All of it can be stored, so that an interrupted replay can go on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ip::{Fragment, FragmentKey};
use crate::units::UnixMillis;

/// Packets that may wait for fragments.
const PACKETS_MAX: usize = 1024;
/// Octets of fragments that may wait, each counted with [`PIECE_OCTETS`].
const OCTETS_MAX: usize = 16 << 20;
/// What keeping a fragment costs apart from its octets.
const PIECE_OCTETS: usize = 64;
/// The longest IP payload.
const WHOLE_OCTETS_MAX: usize = 65_535;
/// How long the first fragment waits for the last, in time of the capture.
const WAIT_MS: i64 = 30_000;

/// Packets of which some fragments have come.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Reassembly {
    waiting: BTreeMap<FragmentKey, Partial>,
    /// What `waiting` costs.
    octets: usize,
    /// When it was last looked for packets that have waited too long.
    swept: i64,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Partial {
    /// When its first fragment came.
    since: UnixMillis,
    /// Fragments by offset, without overlap.
    pieces: Vec<Piece>,
    /// Octets in them.
    octets: usize,
    /// Octets of the whole, once the last fragment is there.
    total: Option<usize>,
    /// The protocol that the whole begins with, by the fragment at offset 0.
    protocol: Option<u8>,
    /// Fragments overlapped: nothing comes of it any more.
    is_spoilt: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Piece {
    offset: usize,
    bytes: Vec<u8>,
}

/// What adding a fragment led to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Added {
    /// Some are still missing, or this one was a repetition.
    Waits,
    /// The whole payload is there now; `protocol` is what it begins with.
    Whole { protocol: u8 },
    /// It cannot belong to any packet, or contradicts others.
    Refused,
}

impl Reassembly {
    /// Adds a fragment captured at `time`. A payload that becomes whole replaces `whole`. The second number is how many
    /// packets were given up.
    pub(super) fn add(
        &mut self,
        time: UnixMillis,
        fragment: &Fragment,
        bytes: &[u8],
        whole: &mut Vec<u8>,
    ) -> (Added, u64) {
        let mut expired = self.sweep(time);
        let end = fragment.offset + bytes.len();
        if bytes.is_empty() || end > WHOLE_OCTETS_MAX || fragment.more && !bytes.len().is_multiple_of(8) {
            return (Added::Refused, expired);
        }
        if !self.waiting.contains_key(&fragment.key) && self.waiting.len() >= PACKETS_MAX {
            expired += self.give_up_oldest();
        }
        while self.octets + bytes.len() + PIECE_OCTETS > OCTETS_MAX && !self.waiting.is_empty() {
            expired += self.give_up_oldest();
        }
        let partial = self.waiting.entry(fragment.key).or_insert_with(|| Partial {
            since: time,
            pieces: Vec::new(),
            octets: 0,
            total: None,
            protocol: None,
            is_spoilt: false,
        });
        match partial.put(fragment, bytes) {
            Put::Kept => self.octets += bytes.len() + PIECE_OCTETS,
            Put::Repeated => return (Added::Waits, expired),
            Put::Contradicts => {
                self.octets -= partial.spoil();
                return (Added::Refused, expired);
            }
        }
        let Some(protocol) = partial.whole_protocol() else { return (Added::Waits, expired) };
        whole.clear();
        for piece in &partial.pieces {
            whole.extend_from_slice(&piece.bytes);
        }
        self.octets -= partial.cost();
        self.waiting.remove(&fragment.key);
        (Added::Whole { protocol }, expired)
    }

    /// Packets of which fragments are missing.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.values().filter(|partial| !partial.is_spoilt).count() as u64
    }

    /// Gives up what has waited too long; looked for once a second of capture time.
    fn sweep(&mut self, time: UnixMillis) -> u64 {
        if self.waiting.is_empty() || time.0.saturating_sub(self.swept).saturating_abs() < 1000 {
            return 0;
        }
        self.swept = time.0;
        let (mut expired, mut octets) = (0, 0);
        self.waiting.retain(|_, partial| {
            if time.since(partial.since) <= WAIT_MS {
                return true;
            }
            octets += partial.cost();
            expired += u64::from(!partial.is_spoilt);
            false
        });
        self.octets -= octets;
        expired
    }

    fn give_up_oldest(&mut self) -> u64 {
        let oldest = self.waiting.iter().min_by_key(|(_, partial)| partial.since).map(|(key, _)| *key);
        let Some(partial) = oldest.and_then(|key| self.waiting.remove(&key)) else { return 0 };
        self.octets -= partial.cost();
        u64::from(!partial.is_spoilt)
    }
}

enum Put {
    Kept,
    Repeated,
    Contradicts,
}

impl Partial {
    fn cost(&self) -> usize {
        self.octets + self.pieces.len() * PIECE_OCTETS
    }

    /// Forgets the fragments, but not that there is nothing to hope for. What they cost.
    fn spoil(&mut self) -> usize {
        let cost = self.cost();
        self.is_spoilt = true;
        self.pieces.clear();
        self.octets = 0;
        cost
    }

    fn put(&mut self, fragment: &Fragment, bytes: &[u8]) -> Put {
        let (start, end) = (fragment.offset, fragment.offset + bytes.len());
        let at = self.pieces.partition_point(|piece| piece.offset < start);
        if self.is_spoilt {
            return Put::Contradicts;
        }
        if let Some(piece) = self.pieces.get(at)
            && piece.offset == start
            && piece.bytes == bytes
            && (self.total == Some(end)) != fragment.more
        {
            return Put::Repeated;
        }
        let before = at.checked_sub(1).and_then(|at| self.pieces.get(at));
        let overlaps = before.is_some_and(|piece| piece.offset + piece.bytes.len() > start)
            || self.pieces.get(at).is_some_and(|piece| piece.offset < end);
        let last_end = self.pieces.last().map_or(0, |piece| piece.offset + piece.bytes.len());
        let is_beyond = self.total.is_some_and(|total| !fragment.more || end > total);
        let is_short = !fragment.more && last_end > end;
        if overlaps || is_beyond || is_short {
            return Put::Contradicts;
        }
        if !fragment.more {
            self.total = Some(end);
        }
        if start == 0 {
            self.protocol = Some(fragment.protocol);
        }
        self.octets += bytes.len();
        self.pieces.insert(at, Piece { offset: start, bytes: bytes.to_vec() });
        Put::Kept
    }

    /// The protocol that the whole begins with, if nothing is missing.
    fn whole_protocol(&self) -> Option<u8> {
        let total = self.total?;
        // Without overlap, there is no hole exactly if the octets add up.
        if self.octets == total { self.protocol } else { None }
    }
}
