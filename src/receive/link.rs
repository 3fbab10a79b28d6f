//! Link layers: where the IP packet begins in a captured frame.
//!
//! Link types by the numbers of the tcpdump group's registry (<https://www.tcpdump.org/linktypes.html>).

/// Tags one behind the other that are looked through.
const VLAN_TAGS_MAX: usize = 8;

/// A link layer that is understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Link {
    /// 1: Ethernet, with any 802.1Q and 802.1ad tags.
    Ethernet,
    /// 0 and 108: BSD loopback, a protocol family of 4 octets in either byte order.
    Loopback,
    /// 12, 14, 101, 228, 229: the IP packet itself.
    Raw,
    /// 113: Linux "cooked" v1.
    Cooked1,
    /// 276: Linux "cooked" v2.
    Cooked2,
}

/// Why a frame has no IP packet for us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoPacket {
    /// Another protocol.
    NotIp,
    /// The capture cut the frame inside the link header.
    Cut,
}

impl Link {
    /// The link layer of that number.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        match number {
            0 | 108 => Some(Self::Loopback),
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            113 => Some(Self::Cooked1),
            276 => Some(Self::Cooked2),
            _ => None,
        }
    }

    /// The offset of the IP packet in `frame`.
    pub(super) fn packet_offset(self, frame: &[u8]) -> Result<usize, NoPacket> {
        match self {
            Self::Raw => Ok(0),
            Self::Ethernet => behind_ethertype(frame, 12, 14),
            Self::Cooked1 => behind_ethertype(frame, 14, 16),
            Self::Cooked2 => behind_ethertype(frame, 0, 20),
            Self::Loopback => {
                let family: [u8; 4] =
                    frame.get(..4).and_then(|bytes| bytes.try_into().ok()).ok_or(NoPacket::Cut)?;
                let (little, big) = (u32::from_le_bytes(family), u32::from_be_bytes(family));
                // AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24, 28 or 30 on the BSDs.
                match little.min(big) {
                    2 | 10 | 24 | 28 | 30 => Ok(4),
                    _ => Err(NoPacket::NotIp),
                }
            }
        }
    }
}

/// Follows the EtherType at `at`, with the payload at `next`, through VLAN tags.
fn behind_ethertype(frame: &[u8], mut at: usize, mut next: usize) -> Result<usize, NoPacket> {
    for _ in 0..=VLAN_TAGS_MAX {
        let Some(&[high, low]) = frame.get(at..at + 2) else { return Err(NoPacket::Cut) };
        match u16::from_be_bytes([high, low]) {
            0x0800 | 0x86dd if frame.len() >= next => return Ok(next),
            0x0800 | 0x86dd => return Err(NoPacket::Cut),
            // 802.1Q, 802.1ad, and what was used before 802.1ad: two octets of tag, then an EtherType again.
            0x8100 | 0x88a8 | 0x9100 => (at, next) = (next + 2, next + 4),
            _ => return Err(NoPacket::NotIp),
        }
    }
    Err(NoPacket::NotIp)
}
