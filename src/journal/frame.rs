//! A frame: one datagram, or one message of a TCP session, on disk; or a mark.
//!
//! | octets | |
//! | --- | --- |
//! | 4 | length: octets of the frame after the checksum |
//! | 4 | CRC-32 (IEEE) over position (8 octets), length and all that follows |
//! | 8 | received, milliseconds since the epoch |
//! | 2 | source port; the session's number where it came over TCP |
//! | 1 | address family: 4 or 6; 20 or 22 where it came over TCP |
//! | 4 or 16 | source address, in network order |
//! | rest | payload |
//!
//! A **mark** says which configuration version what follows was received under, and in which run of the daemon. It is a frame
//! of family 0, without address; its payload is the version's SHA-256, or nothing but zeros where no stored version says what
//! was in force. In place of the port it has a number that it shares with the other marks of the run: where it changes, a run
//! has begun, and the TCP sessions of the one before are over, whether their boundaries were still written or not.
//!
//! Integers are little-endian. The position is in the checksum although it is not in the frame: a frame that a file
//! system brings back at another place (an old block, a misnamed segment) is not believed.
//! The scope of a link-local address is not kept; exporters are told apart by address alone.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::ids::{Position, Session, VersionHash};
use crate::units::UnixMillis;

/// The longest payload a frame may have; longer than any UDP payload.
pub const PAYLOAD_OCTETS_MAX: usize = 65_535;

/// Length and checksum.
const PREFIX: usize = 8;
/// Received, port and family.
const FIXED: usize = 11;
/// Added to the address family of what came over TCP.
const TCP: u8 = 0x10;
const LENGTH_MIN: usize = FIXED + 4;
const LENGTH_MAX: usize = FIXED + 16 + PAYLOAD_OCTETS_MAX;

/// Octets of a mark.
pub(super) const MARK_OCTETS: usize = PREFIX + FIXED + 32;

/// The longest frame.
pub(super) const FRAME_OCTETS_MAX: usize = PREFIX + LENGTH_MAX;

/// What a frame holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Parts<'a> {
    pub(super) received: UnixMillis,
    pub(super) source: SocketAddr,
    pub(super) session: Option<Session>,
    pub(super) payload: &'a [u8],
    /// Octets of the whole frame.
    pub(super) octets: usize,
}

/// What a mark says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    /// When what follows it was received.
    pub(super) received: UnixMillis,
    /// None: no stored version says what was in force.
    pub(super) version: Option<VersionHash>,
    /// Another one than that of the marks before: a run of the daemon has begun.
    pub(super) run: u16,
}

/// What is at the beginning of some octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decoded<'a> {
    /// A frame.
    Frame(Parts<'a>),
    /// A mark.
    Mark(Mark),
    /// The beginning of something that may become a frame.
    Incomplete,
    /// Nothing that was ever written here.
    Bad,
}

impl Decoded<'_> {
    /// Octets of the frame or mark, and when it was received; `None` where there is neither.
    pub(super) const fn whole(&self) -> Option<(usize, UnixMillis)> {
        match self {
            Self::Frame(parts) => Some((parts.octets, parts.received)),
            Self::Mark(mark) => Some((MARK_OCTETS, mark.received)),
            Self::Incomplete | Self::Bad => None,
        }
    }
}

/// Octets of a frame with such a source and payload.
pub(super) fn encoded_octets(source: SocketAddr, payload: &[u8]) -> usize {
    PREFIX + FIXED + if source.is_ipv4() { 4 } else { 16 } + payload.len()
}

/// Appends a frame to `out`. The payload is at most [`PAYLOAD_OCTETS_MAX`] octets, which the writer has seen to.
pub(super) fn encode(
    out: &mut Vec<u8>,
    at: Position,
    received: UnixMillis,
    source: SocketAddr,
    session: Option<Session>,
    payload: &[u8],
) {
    let length = u32::try_from(encoded_octets(source, payload) - PREFIX).expect("payloads are bounded");
    let start = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&received.0.to_le_bytes());
    let port = session.map_or_else(|| source.port(), |session| session.0);
    let tcp = if session.is_some() { TCP } else { 0 };
    out.extend_from_slice(&port.to_le_bytes());
    match source.ip() {
        IpAddr::V4(address) => {
            out.push(4 | tcp);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.push(6 | tcp);
            out.extend_from_slice(&address.octets());
        }
    }
    out.extend_from_slice(payload);
    seal(out, start, at, length);
}

/// Appends a mark to `out`.
pub(super) fn encode_mark(out: &mut Vec<u8>, at: Position, mark: Mark) {
    let length = u32::try_from(MARK_OCTETS - PREFIX).expect("a mark is short");
    let start = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&mark.received.0.to_le_bytes());
    out.extend_from_slice(&mark.run.to_le_bytes());
    out.push(0);
    out.extend_from_slice(&mark.version.map_or([0; 32], |version| version.0));
    seal(out, start, at, length);
}

/// Fills in the checksum of the frame that begins at `start`.
fn seal(out: &mut [u8], start: usize, at: Position, length: u32) {
    let checksum = checksum(at, length, &out[start + PREFIX..]);
    out[start + 4..start + PREFIX].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads the frame that stands at position `at`, at the beginning of `bytes`.
pub(super) fn decode(bytes: &[u8], at: Position) -> Decoded<'_> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Decoded::Incomplete };
    let length = u32::from_le_bytes(*length);
    let octets = usize::try_from(length).unwrap_or(usize::MAX);
    if !(LENGTH_MIN..=LENGTH_MAX).contains(&octets) {
        return Decoded::Bad;
    }
    let Some((expected, rest)) = rest.split_first_chunk::<4>() else { return Decoded::Incomplete };
    let Some(body) = rest.get(..octets) else { return Decoded::Incomplete };
    if checksum(at, length, body) != u32::from_le_bytes(*expected) {
        return Decoded::Bad;
    }
    match mark(body) {
        Some(mark) => Decoded::Mark(mark),
        None => parts(body).map_or(Decoded::Bad, Decoded::Frame),
    }
}

fn mark(body: &[u8]) -> Option<Mark> {
    let (received, rest) = body.split_first_chunk::<8>()?;
    let (run, rest) = rest.split_first_chunk::<2>()?;
    let version = <[u8; 32]>::try_from(rest.strip_prefix(&[0])?).ok()?;
    Some(Mark {
        run: u16::from_le_bytes(*run),
        received: UnixMillis(i64::from_le_bytes(*received)),
        version: (version != [0; 32]).then_some(VersionHash(version)),
    })
}

/// Reads a frame of `octets` octets that [`decode`] has accepted, without looking at the checksum again.
pub(super) fn accepted(bytes: &[u8], octets: usize) -> Option<Parts<'_>> {
    parts(bytes.get(PREFIX..octets)?)
}

fn parts(body: &[u8]) -> Option<Parts<'_>> {
    let (received, rest) = body.split_first_chunk::<8>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (family, rest) = rest.split_first()?;
    let (address, payload) = match family & !TCP {
        4 => {
            let (address, payload) = rest.split_first_chunk::<4>()?;
            (IpAddr::V4(Ipv4Addr::from(*address)), payload)
        }
        6 => {
            let (address, payload) = rest.split_first_chunk::<16>()?;
            (IpAddr::V6(Ipv6Addr::from(*address)), payload)
        }
        _ => return None,
    };
    if payload.len() > PAYLOAD_OCTETS_MAX {
        return None;
    }
    let port = u16::from_le_bytes(*port);
    Some(Parts {
        received: UnixMillis(i64::from_le_bytes(*received)),
        source: SocketAddr::new(address, port),
        session: (family & TCP != 0).then_some(Session(port)),
        payload,
        octets: PREFIX + body.len(),
    })
}

fn checksum(at: Position, length: u32, body: &[u8]) -> u32 {
    let mut prefix = [0; 12];
    prefix[..8].copy_from_slice(&at.0.to_le_bytes());
    prefix[8..].copy_from_slice(&length.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&prefix);
    hasher.update(body);
    hasher.finalize()
}
