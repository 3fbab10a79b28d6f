//! Files of IPFIX messages (RFC 5655): one message behind the other, each as long as its header says.

use super::pcap::{Fault, Record};
use super::window::Window;
use crate::units::UnixMillis;

/// A message's header: version, length, export time in seconds, sequence number, observation domain (RFC 7011 3.1).
const HEADER: usize = 16;
/// A set's header: id and length.
const SET_HEADER: usize = 4;

/// Whether a file that begins with `octets` is one of messages: a message's header, and that of a set that fits into the
/// message, or no set at all. The version alone would be found in too many other files.
pub(super) fn is(octets: &[u8]) -> bool {
    let half = |at: usize| Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]));
    let (Some(10), Some(length)) = (half(0), half(2)) else { return false };
    let room = usize::from(length).checked_sub(HEADER);
    match room {
        Some(0) => octets.len() >= HEADER,
        Some(room) if room >= SET_HEADER => {
            let (Some(id), Some(set)) = (half(HEADER), half(HEADER + 2)) else { return false };
            matches!(id, 2 | 3 | 256..) && (SET_HEADER..=room).contains(&usize::from(set))
        }
        _ => false,
    }
}

/// The next message.
pub(super) fn record(window: &mut Window) -> Result<Record, Fault> {
    let header = window.peek(HEADER)?;
    if header.is_empty() {
        return Ok(Record::End);
    }
    let Some(header) = header.first_chunk::<HEADER>() else { return Ok(Record::Torn) };
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[..2] != [0, 10] || length < HEADER {
        return Err(Fault::Damaged("no IPFIX message begins there"));
    }
    let seconds = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    if window.peek(length)?.len() < length {
        return Ok(Record::Torn);
    }
    let mark = window.mark();
    window.take(length as u64);
    Ok(Record::Message { time: UnixMillis::from_seconds(i64::from(seconds)), mark, octets: length })
}
