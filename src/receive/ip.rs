//! IPv4 (RFC 791), IPv6 (RFC 8200) and UDP (RFC 768) headers of captured packets.
//!
//! Checksums are not looked at: a capture on the sending host has wrong ones where the network card fills them in.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::Range;

use serde::{Deserialize, Serialize};

const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
/// Extension headers one behind the other that are looked through.
const EXTENSIONS_MAX: usize = 16;

/// Why a packet yields no datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Skip {
    NotIp,
    NotUdp,
    /// The capture did not keep all of it.
    Cut,
    /// Its lengths contradict each other.
    Malformed,
}

/// What makes fragments belong together (RFC 791 3.2, RFC 8200 4.5).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct FragmentKey {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) identification: u32,
}

/// A fragment of a packet that carries UDP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fragment {
    pub(super) key: FragmentKey,
    /// Offset in the whole, in octets.
    pub(super) offset: usize,
    /// Not the last one.
    pub(super) more: bool,
    /// The protocol that the whole begins with.
    pub(super) protocol: u8,
    /// Where its octets lie in the packet.
    pub(super) range: Range<usize>,
}

/// What a packet is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Packet {
    Datagram(Datagram),
    Fragment(Fragment),
}

/// A UDP datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Datagram {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    /// Where its payload lies.
    pub(super) payload: Range<usize>,
}

/// Reads the IP packet at the beginning of `bytes`; what follows it (padding, a frame check) is ignored.
pub(super) fn packet(bytes: &[u8]) -> Result<Packet, Skip> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => packet4(bytes),
        Some(6) => packet6(bytes),
        Some(_) => Err(Skip::NotIp),
        None => Err(Skip::Cut),
    }
}

fn packet4(bytes: &[u8]) -> Result<Packet, Skip> {
    let header: &[u8; 20] = bytes.first_chunk().ok_or(Skip::Cut)?;
    let header_octets = usize::from(header[0] & 0xf) * 4;
    let total = match usize::from(u16::from_be_bytes([header[2], header[3]])) {
        // Captured before the network card cut it into segments: as long as the capture says.
        0 => bytes.len(),
        total => total,
    };
    if header_octets < 20 || total < header_octets {
        return Err(Skip::Malformed);
    }
    if header[9] != UDP {
        return Err(Skip::NotUdp);
    }
    if total > bytes.len() {
        return Err(Skip::Cut);
    }
    let source = IpAddr::V4(Ipv4Addr::new(header[12], header[13], header[14], header[15]));
    let destination = IpAddr::V4(Ipv4Addr::new(header[16], header[17], header[18], header[19]));
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let (more, offset) = (fragment & 0x2000 != 0, usize::from(fragment & 0x1fff) * 8);
    if more || offset > 0 {
        let identification = u32::from(u16::from_be_bytes([header[4], header[5]]));
        let key = FragmentKey { source, destination, identification };
        return Ok(Packet::Fragment(Fragment {
            key,
            offset,
            more,
            protocol: UDP,
            range: header_octets..total,
        }));
    }
    datagram(bytes, header_octets..total, source, destination).map(Packet::Datagram)
}

fn packet6(bytes: &[u8]) -> Result<Packet, Skip> {
    let header: &[u8; 40] = bytes.first_chunk().ok_or(Skip::Cut)?;
    let end = match usize::from(u16::from_be_bytes([header[4], header[5]])) {
        0 => bytes.len(),
        octets => 40 + octets,
    };
    let address = |at: usize| {
        let octets: [u8; 16] = header[at..at + 16].try_into().expect("sixteen octets of forty");
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let (source, destination) = (address(8), address(24));
    let kept = &bytes[..bytes.len().min(end)];
    let chain = extensions(kept, header[6], 40)?;
    if end > bytes.len() {
        return Err(Skip::Cut);
    }
    match chain {
        Chain::Udp(at) => datagram(bytes, at..end, source, destination).map(Packet::Datagram),
        // An "atomic fragment" is a whole packet (RFC 6946).
        Chain::Fragment { protocol, offset: 0, more: false, at, .. } => match extensions(kept, protocol, at)?
        {
            Chain::Udp(at) => datagram(bytes, at..end, source, destination).map(Packet::Datagram),
            Chain::Fragment { .. } => Err(Skip::Malformed),
        },
        Chain::Fragment { protocol, offset, more, identification, at } => {
            let key = FragmentKey { source, destination, identification };
            Ok(Packet::Fragment(Fragment { key, offset, more, protocol, range: at..end }))
        }
    }
}

/// What a chain of extension headers leads to.
enum Chain {
    Udp(usize),
    Fragment { protocol: u8, offset: usize, more: bool, identification: u32, at: usize },
}

/// Follows extension headers from the one of kind `protocol` at `at` (RFC 8200 4).
fn extensions(bytes: &[u8], mut protocol: u8, mut at: usize) -> Result<Chain, Skip> {
    for _ in 0..EXTENSIONS_MAX {
        match protocol {
            UDP => return Ok(Chain::Udp(at)),
            // Hop-by-hop, routing, destination options, mobility, HIP, shim6: a length in units of 8 octets.
            0 | 43 | 60 | 135 | 139 | 140 => {
                let &[next, units] = bytes.get(at..at + 2).ok_or(Skip::Cut)? else { return Err(Skip::Cut) };
                (protocol, at) = (next, at + (usize::from(units) + 1) * 8);
            }
            // Authentication header (RFC 4302 2.2): in units of 4 octets, less 2.
            51 => {
                let &[next, units] = bytes.get(at..at + 2).ok_or(Skip::Cut)? else { return Err(Skip::Cut) };
                (protocol, at) = (next, at + (usize::from(units) + 2) * 4);
            }
            44 => {
                let header: &[u8; 8] = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Skip::Cut)?;
                let field = u16::from_be_bytes([header[2], header[3]]);
                return Ok(Chain::Fragment {
                    protocol: header[0],
                    offset: usize::from(field & 0xfff8),
                    more: field & 1 != 0,
                    identification: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
                    at: at + 8,
                });
            }
            _ => return Err(Skip::NotUdp),
        }
    }
    Err(Skip::Malformed)
}

/// Reads a reassembled IP payload that begins with the header of kind `protocol`.
pub(super) fn reassembled(bytes: &[u8], protocol: u8, key: &FragmentKey) -> Result<Datagram, Skip> {
    match extensions(bytes, protocol, 0)? {
        Chain::Udp(at) => datagram(bytes, at..bytes.len(), key.source, key.destination),
        Chain::Fragment { .. } => Err(Skip::Malformed),
    }
}

fn datagram(
    bytes: &[u8],
    range: Range<usize>,
    source: IpAddr,
    destination: IpAddr,
) -> Result<Datagram, Skip> {
    let start = range.start;
    let udp = bytes.get(range).ok_or(Skip::Malformed)?;
    let header: &[u8; UDP_HEADER] = udp.first_chunk().ok_or(Skip::Malformed)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if length < UDP_HEADER || length > udp.len() {
        return Err(Skip::Malformed);
    }
    Ok(Datagram {
        source: SocketAddr::new(source, u16::from_be_bytes([header[0], header[1]])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([header[2], header[3]])),
        payload: start + UDP_HEADER..start + length,
    })
}
