//! The format of checkpoints: a mark, the format's number, then the state as postcard writes it.
//!
//! Postcard writes fields one after the other and says nothing of their names, so a state of another shape would be read
//! as something else, without an error. The number is raised with every change of what is serialised: of decoding, of
//! scaling, or of a waiting record's encoding (`sampling/compact.rs`). A test notices such a change.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format that this program writes, and the only one that it reads.
pub const FORMAT: u8 = 2;

/// What every checkpoint begins with. States of before formats were numbered do not: they begin with two counts, of
/// datagrams and of those among them that were decoded, and 0x58 of 0x46 cannot be.
const MARK: [u8; 2] = *b"FX";

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
    /// The right format, but not what it should hold.
    #[error("is damaged: {0}")]
    Content(postcard::Error),
    /// The records that wait are not those that it tells of.
    #[error("is damaged: it does not agree with the waiting records that the ledger keeps beside it")]
    Hold,
}

/// Encodes a state.
#[must_use]
pub fn write<T: Serialize>(state: &T) -> Vec<u8> {
    let head = vec![MARK[0], MARK[1], FORMAT];
    postcard::to_extend(state, head).expect("no state has a part that cannot be serialised")
}

/// Says whether a checkpoint is of the format that this program reads; what follows is not looked at.
///
/// # Errors
/// [`Unreadable::Unmarked`] or [`Unreadable::Format`].
pub fn check(checkpoint: &[u8]) -> Result<&[u8], Unreadable> {
    match checkpoint.strip_prefix(&MARK) {
        Some([FORMAT, state @ ..]) => Ok(state),
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
