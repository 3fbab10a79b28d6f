//! Link layers: where the IP packet begins in a captured frame.
//!
//! Link types by the numbers of the tcpdump group's registry (<https://www.tcpdump.org/linktypes.html>). Captures of a
//! provider's links have the packet behind VLAN tags, MPLS labels, PPPoE or PPP, in any order.

/// Headers one behind the other that are looked through; a stack of labels is one.
const STEPS_MAX: usize = 8;

/// LLC that says that SNAP follows, and SNAP that says that an EtherType does (RFC 1042).
const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];

/// A link layer that is understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Link {
    /// 1: Ethernet.
    Ethernet,
    /// 0 and 108: BSD loopback, a protocol family of 4 octets in either byte order.
    Loopback,
    /// 12, 14, 101, 228, 229: the IP packet itself.
    Raw,
    /// 113: Linux "cooked" v1.
    Cooked1,
    /// 276: Linux "cooked" v2.
    Cooked2,
    /// 9 and 50: PPP, with or without the address and control octets of HDLC; or what 104 is.
    Ppp,
    /// 51: PPPoE, from its own header on.
    Pppoe,
    /// 104: Cisco's HDLC, an address, a control octet and an EtherType (RFC 1547 4.3.1).
    CiscoHdlc,
    /// 219: an MPLS label stack.
    Mpls,
}

/// Why a frame has no IP packet for us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoPacket {
    /// Another protocol.
    NotIp,
    /// The capture cut the frame inside the link header.
    Cut,
}

/// A header that leads to the packet, and its offset.
#[derive(Clone, Copy)]
enum Step {
    /// An EtherType, and what it announces this far behind.
    Type(usize, usize),
    /// MPLS labels.
    Labels(usize),
    /// PPPoE.
    Session(usize),
    /// A PPP protocol number.
    Ppp(usize),
    /// The packet.
    Packet(usize),
}

impl Link {
    /// The link layer of that number.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        match number {
            0 | 108 => Some(Self::Loopback),
            1 => Some(Self::Ethernet),
            9 | 50 => Some(Self::Ppp),
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            51 => Some(Self::Pppoe),
            104 => Some(Self::CiscoHdlc),
            113 => Some(Self::Cooked1),
            219 => Some(Self::Mpls),
            276 => Some(Self::Cooked2),
            _ => None,
        }
    }

    /// The offset of the IP packet in `frame`.
    pub(super) fn packet_offset(self, frame: &[u8]) -> Result<usize, NoPacket> {
        let mut step = self.first(frame)?;
        for _ in 0..=STEPS_MAX {
            step = match step {
                Step::Packet(at) if at <= frame.len() => return Ok(at),
                Step::Packet(_) => return Err(NoPacket::Cut),
                Step::Type(at, next) => behind_type(frame, at, next)?,
                Step::Labels(at) => behind_labels(frame, at)?,
                Step::Session(at) => behind_session(frame, at)?,
                Step::Ppp(at) => behind_ppp(frame, at)?,
            };
        }
        Err(NoPacket::NotIp)
    }

    /// What the frame begins with.
    fn first(self, frame: &[u8]) -> Result<Step, NoPacket> {
        match self {
            Self::Raw => Ok(Step::Packet(0)),
            Self::Ethernet => Ok(Step::Type(12, 14)),
            Self::Cooked1 => Ok(Step::Type(14, 16)),
            Self::Cooked2 => Ok(Step::Type(0, 20)),
            Self::CiscoHdlc => Ok(Step::Type(2, 4)),
            Self::Pppoe => Ok(Step::Session(0)),
            Self::Mpls => Ok(Step::Labels(0)),
            Self::Ppp => match frame {
                // All stations, unnumbered information (RFC 1662 3.1).
                [0xff, 0x03, ..] => Ok(Step::Ppp(2)),
                // Unicast and broadcast of Cisco's HDLC, neither of which a PPP protocol begins with.
                [0x0f | 0x8f, 0, ..] => Ok(Step::Type(2, 4)),
                [0xff | 0x0f | 0x8f] => Err(NoPacket::Cut),
                _ => Ok(Step::Ppp(0)),
            },
            Self::Loopback => {
                let family: [u8; 4] =
                    frame.get(..4).and_then(|bytes| bytes.try_into().ok()).ok_or(NoPacket::Cut)?;
                let (little, big) = (u32::from_le_bytes(family), u32::from_be_bytes(family));
                // AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24, 28 or 30 on the BSDs.
                match little.min(big) {
                    2 | 10 | 24 | 28 | 30 => Ok(Step::Packet(4)),
                    _ => Err(NoPacket::NotIp),
                }
            }
        }
    }
}

/// The octets at `at`.
fn octets<const N: usize>(frame: &[u8], at: usize) -> Result<[u8; N], NoPacket> {
    frame.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or(NoPacket::Cut)
}

/// What the EtherType at `at` announces, which is at `next`.
fn behind_type(frame: &[u8], at: usize, next: usize) -> Result<Step, NoPacket> {
    match u16::from_be_bytes(octets(frame, at)?) {
        0x0800 | 0x86dd => Ok(Step::Packet(next)),
        // 802.1Q, 802.1ad, and what was used before 802.1ad: two octets of tag, then an EtherType again.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => Ok(Step::Type(next + 2, next + 4)),
        0x8847 | 0x8848 => Ok(Step::Labels(next)),
        0x8864 => Ok(Step::Session(next)),
        // A length: 802.3 with LLC.
        0..=1500 => match frame.get(next..).unwrap_or_default() {
            rest if rest.starts_with(&SNAP) => Ok(Step::Type(next + 6, next + 8)),
            rest if SNAP.starts_with(rest) => Err(NoPacket::Cut),
            _ => Err(NoPacket::NotIp),
        },
        _ => Err(NoPacket::NotIp),
    }
}

/// Behind the last label of a stack, which has the bottom bit (RFC 3032 2.1). What follows says itself whether it is IP:
/// pseudowires begin with another nibble (RFC 4928 3).
fn behind_labels(frame: &[u8], mut at: usize) -> Result<Step, NoPacket> {
    while octets::<4>(frame, at)?[2] & 1 == 0 {
        at += 4;
    }
    let [first] = octets(frame, at + 4)?;
    if matches!(first >> 4, 4 | 6) { Ok(Step::Packet(at + 4)) } else { Err(NoPacket::NotIp) }
}

/// Behind a header of PPPoE (RFC 2516 4): version and type, both 1; code, 0 for data; session; length.
fn behind_session(frame: &[u8], at: usize) -> Result<Step, NoPacket> {
    match octets::<2>(frame, at)? {
        [0x11, 0] => Ok(Step::Ppp(at + 6)),
        _ => Err(NoPacket::NotIp),
    }
}

/// What the PPP protocol number at `at` announces. Both ends may have agreed to leave its first octet out where that is 0
/// (RFC 1661 6.5): only the last octet of a number is odd.
fn behind_ppp(frame: &[u8], at: usize) -> Result<Step, NoPacket> {
    let [first] = octets(frame, at)?;
    let (protocol, next) = if first & 1 == 1 {
        (u16::from(first), at + 1)
    } else {
        (u16::from_be_bytes(octets(frame, at)?), at + 2)
    };
    match protocol {
        0x0021 | 0x0057 => Ok(Step::Packet(next)),
        // RFC 3032 4.3.
        0x0281 | 0x0283 => Ok(Step::Labels(next)),
        _ => Err(NoPacket::NotIp),
    }
}
