//! The format of checkpoints: a mark, the format's number, a checksum, then the state as postcard writes it.
//!
//! The checksum (CRC-32, little-endian) is of the state. A database does not notice what a disk does to its blobs, and most
//! damage still reads as a state, of other rates and totals.
//!
//! Postcard writes fields one after the other and says nothing of their names, so a state of another shape would be read
//! as something else, without an error. The number is raised with every change of what is serialised: of decoding, of
//! scaling, or of a waiting record's encoding (`sampling/compact.rs`). A test notices such a change.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format that this program writes, and the only one that it reads.
pub const FORMAT: u8 = 6;

/// What every checkpoint begins with. States of before formats were numbered do not: they begin with two counts, of
/// datagrams and of those among them that were decoded, and 0x58 of 0x46 cannot be.
const MARK: [u8; 2] = *b"FX";

/// Octets of the checksum.
const CHECKSUM: usize = size_of::<u32>();

/// Why a checkpoint cannot be read. Reads on after "the checkpoint ...".
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// Of a version before formats had numbers.
    #[error(
        "has a format without number and this version reads format {FORMAT}: run the version of fluxoscope that wrote \
         it, or see \"Checkpoints of another version\" in docs/OPERATION.md"
    )]
    Unmarked,
    /// Of another version.
    #[error(
        "has format {0} and this version reads format {FORMAT}: run the version of fluxoscope that wrote it, or see \
         \"Checkpoints of another version\" in docs/OPERATION.md"
    )]
    Format(u8),
    /// The right format, but not what was written.
    #[error("is damaged: its checksum is wrong; see \"Damaged checkpoints\" in docs/OPERATION.md")]
    Checksum,
    /// The right format, but not what it should hold.
    #[error("is damaged: {0}")]
    Content(postcard::Error),
    /// The records that wait are not those that it tells of.
    #[error(
        "is damaged: it does not agree with the waiting records that the ledger keeps beside it, or those are; see \
         \"Damaged checkpoints\" in docs/OPERATION.md"
    )]
    Hold,
}

/// Encodes a state.
#[must_use]
pub fn write<T: Serialize>(state: &T) -> Vec<u8> {
    let written = postcard::to_extend(state, head());
    summed(written.expect("no state has a part that cannot be serialised"))
}

/// A checkpoint with these octets as its state, whatever they are: to see what is made of those that are none.
#[must_use]
pub fn seal(state: &[u8]) -> Vec<u8> {
    let mut written = head();
    written.extend_from_slice(state);
    summed(written)
}

/// What goes before a state, with room for the checksum.
fn head() -> Vec<u8> {
    let mut head = vec![MARK[0], MARK[1], FORMAT];
    head.extend([0; CHECKSUM]);
    head
}

/// Fills in the checksum.
fn summed(mut written: Vec<u8>) -> Vec<u8> {
    let (head, state) = written.split_at_mut(MARK.len() + 1 + CHECKSUM);
    head[MARK.len() + 1..].copy_from_slice(&crc32fast::hash(state).to_le_bytes());
    written
}

/// Says whether a checkpoint is of the format that this program reads, and as it was written. The state that it holds, as
/// postcard wrote it.
///
/// # Errors
/// [`Unreadable::Unmarked`], [`Unreadable::Format`] or [`Unreadable::Checksum`].
pub fn check(checkpoint: &[u8]) -> Result<&[u8], Unreadable> {
    match checkpoint.strip_prefix(&MARK) {
        Some([FORMAT, rest @ ..]) => match rest.split_first_chunk::<CHECKSUM>() {
            Some((sum, state)) if u32::from_le_bytes(*sum) == crc32fast::hash(state) => Ok(state),
            _ => Err(Unreadable::Checksum),
        },
        Some([format, ..]) => Err(Unreadable::Format(*format)),
        Some([]) | None => Err(Unreadable::Unmarked),
    }
}

/// Decodes a state.
///
/// # Errors
/// See [`Unreadable`].
pub fn read<T: DeserializeOwned>(checkpoint: &[u8]) -> Result<T, Unreadable> {
    let (state, rest) = postcard::take_from_bytes(check(checkpoint)?).map_err(Unreadable::Content)?;
    if rest.is_empty() {
        Ok(state)
    } else {
        Err(Unreadable::Content(postcard::Error::DeserializeBadEncoding))
    }
}

#[cfg(test)]
mod tests;
