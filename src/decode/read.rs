//! Big-endian numbers out of a datagram, checked.

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
