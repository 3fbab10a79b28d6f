//! Big-endian numbers out of a datagram, checked; and what is behind its end.

use super::Error;

/// Two octets at `at`.
#[inline]
pub(super) fn u16(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

/// Four octets at `at`.
#[inline]
pub(super) fn u32(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

/// What to say where a datagram goes on behind `end`, where what its header declares ends. Zeros are padding.
#[inline]
pub(super) fn trailing(data: &[u8], end: usize) -> Option<Error> {
    let rest = data.get(end..).unwrap_or_default();
    rest.iter().any(|&octet| octet != 0).then_some(Error::Trailing { offset: end })
}
