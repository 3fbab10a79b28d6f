//! XDR (RFC 4506), as far as sFlow uses it: words of 32 bits, and octet strings padded to whole words.

use crate::decode::read;
use crate::flow::{Address, Family};

/// A piece of a datagram that is read from its beginning on. Places are offsets in the datagram, so that errors can
/// name them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `data` from `at` to `end`, which the caller knows to be within it.
    pub(super) fn new(data: &'a [u8], at: usize, end: usize) -> Self {
        Self { data: &data[..end], at }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn end(&self) -> usize {
        self.data.len()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.data[self.at..]
    }

    /// Whether more than zeros is left.
    pub(super) fn has_rest(&self) -> bool {
        read::trailing(self.data, self.at).is_some()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let word = read::u32(self.data, self.at)?;
        self.at += 4;
        Some(word)
    }

    /// Leaves out so many words.
    pub(super) fn skip(&mut self, words: u32) -> Option<()> {
        for _ in 0..words {
            self.u32()?;
        }
        Some(())
    }

    /// The next `length` octets, and behind them the octets that fill up the last word. These may be missing at the
    /// end: not all exporters send them.
    pub(super) fn opaque(&mut self, length: u32) -> Option<Self> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        if end > self.data.len() {
            return None;
        }
        let piece = Self { data: &self.data[..end], at: self.at };
        self.at = end.next_multiple_of(4).min(self.data.len());
        Some(piece)
    }

    /// All that is left.
    pub(super) const fn take_rest(&mut self) -> Self {
        let rest = *self;
        self.at = self.data.len();
        rest
    }

    /// An address whose type word was `kind`: 0 none, 1 IPv4, 2 IPv6.
    pub(super) fn address(&mut self, kind: u32) -> Option<(Family, Address)> {
        match kind {
            0 => Some((Family::Other, Address(0))),
            1 => Some((Family::V4, Address(self.u32()?.into()))),
            2 => Some((Family::V6, self.address6()?)),
            _ => None,
        }
    }

    pub(super) fn address6(&mut self) -> Option<Address> {
        let octets = self.rest().first_chunk::<16>()?;
        self.at += 16;
        Some(Address(u128::from_be_bytes(*octets)))
    }
}
