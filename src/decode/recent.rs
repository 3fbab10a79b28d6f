//! Datagrams that arrive twice.
//!
//! Mirrored ports, redundant paths and relays deliver a datagram twice: within milliseconds, or, where one path is slower,
//! as many datagrams later as came meanwhile. The last [`RECENT`] datagrams of each observation domain (or NetFlow engine,
//! or sFlow sub-agent) are known by number and checksum. Neither would do alone. Numbers come again: from exporters that
//! start anew or number nothing, and from two that share a domain; what is new must not be taken for a duplicate. And
//! among so many checksums one datagram in four million would look like another one, which is hours at best; that it has
//! the same number as well is not to be expected.
//!
//! **The bound.** Neither the order in which datagrams come nor the time between them matters: the window is of datagrams,
//! so it holds at least a second of an exporter that sends a thousand a second, and days of a quiet one. It is not of time,
//! because memory is bounded by datagrams. A duplicate that comes later counts as a datagram of its own: nothing tells it
//! from one of an exporter that counts anew. Checkpoints hold the whole window, so that it does not matter where a run was
//! interrupted.
//!
//! **Cost.** A ring, with chains of equal hashes through it as compressors have them: one or two comparisons a datagram,
//! up to 12 KiB a domain, which grow as they are needed, and up to 6 KiB in a checkpoint.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Datagrams in which a duplicate is recognised.
pub(super) const RECENT: usize = 1024;

/// A place in the ring and one more; 0 is none.
type Link = u16;

/// The last [`RECENT`] datagrams of a domain.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Number and checksum side by side, in a ring.
    seen: Vec<u64>,
    /// Of each, the one before it with the same hash. Where that has left, a newer one stands there.
    before: Vec<Link>,
    /// The newest, by hash. Where that has left, one of another hash stands there, which does no harm.
    newest: Vec<Link>,
    /// Where the next one goes: the oldest, where the ring is full.
    at: usize,
}

impl Recent {
    /// True where the very datagram is among the last ones; otherwise it is one of them now.
    pub(super) fn contains_or_add(&mut self, number: u32, checksum: u32) -> bool {
        let datagram = u64::from(number) << 32 | u64::from(checksum);
        if self.newest.is_empty() {
            self.newest.resize(RECENT, 0);
        }
        // The checksum's bits are as good as random.
        let hash = checksum as usize % RECENT;
        if self.contains(datagram, self.newest[hash]) {
            return true;
        }
        if self.seen.len() < RECENT {
            self.seen.push(datagram);
            self.before.push(self.newest[hash]);
        } else {
            self.seen[self.at] = datagram;
            self.before[self.at] = self.newest[hash];
        }
        self.newest[hash] = Link::try_from(self.at + 1).expect("the ring has 2^10 places");
        self.at = (self.at + 1) % RECENT;
        false
    }

    /// Follows a chain, in which each is older than the one before; a link that leads to a newer one is the end.
    fn contains(&self, datagram: u64, mut link: Link) -> bool {
        let mut age = 0;
        while let Some(place) = usize::from(link).checked_sub(1) {
            let older = (self.at + RECENT - 1 - place) % RECENT + 1;
            if older <= age {
                return false;
            }
            if self.seen[place] == datagram {
                return true;
            }
            (age, link) = (older, self.before[place]);
        }
        false
    }
}

/// The oldest first, each with its number's distance from the one before: five or six octets. The chains follow from them.
impl Serialize for Recent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let at = if self.seen.len() < RECENT { 0 } else { self.at };
        let (newer, older) = self.seen.split_at(at);
        let mut before = 0;
        serializer.collect_seq(older.iter().chain(newer).map(|&datagram| {
            let (number, checksum) = halves(datagram);
            let ahead = number.wrapping_sub(core::mem::replace(&mut before, number));
            (ahead.cast_signed(), checksum.to_le_bytes())
        }))
    }
}

impl<'de> Deserialize<'de> for Recent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut recent = Self::default();
        let mut number = 0_u32;
        for (ahead, checksum) in Vec::<(i32, [u8; 4])>::deserialize(deserializer)? {
            number = number.wrapping_add_signed(ahead);
            recent.contains_or_add(number, u32::from_le_bytes(checksum));
        }
        Ok(recent)
    }
}

/// Number and checksum.
#[expect(clippy::cast_possible_truncation, reason = "halves of 32 bits are meant")]
const fn halves(datagram: u64) -> (u32, u32) {
    ((datagram >> 32) as u32, datagram as u32)
}

#[cfg(test)]
mod tests;
