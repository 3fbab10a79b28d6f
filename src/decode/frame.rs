//! The beginning of a frame, as sFlow samples carry it and IPFIX in elements 313 and 315: which packet is in it?
//!
//! Ethernet with any stack of VLAN tags (802.1Q, 802.1ad, and the numbers used before it), MPLS labels, PPPoE, LLC/SNAP
//! and PPP lead to an IPv4 or IPv6 header, and that to the ports. What is cut off stays zero, what is not IP stays
//! [`Family::Other`]: a frame that cannot be read is volume all the same, so nothing here fails. Of a tunnel the outer
//! packet counts, because that is what the router forwarded.

use super::read;
use crate::flow::{Address, Family, FlowRecord};

/// Tags, label stacks and session headers between the link's header and the packet, at most. Real frames have three.
const STEPS_MAX: usize = 8;

/// IPv6 extension headers looked through, at most. RFC 8200 4.1 knows seven.
const EXTENSIONS_MAX: usize = 8;

/// What a frame begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Link {
    /// Two MAC addresses and a type or length.
    Ethernet,
    /// An IPv4 or IPv6 header.
    Ip,
    /// An MPLS label stack.
    Mpls,
    /// A PPP protocol number (RFC 1661), after address and control octets where there are any (RFC 1662).
    Ppp,
}

/// What the beginning of a frame tells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Frame {
    pub(super) family: Family,
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) protocol: u8,
    pub(super) tos: u8,
    pub(super) source_port: u16,
    /// For ICMP, type * 256 + code.
    pub(super) destination_port: u16,
    pub(super) tcp_flags: u16,
    /// VLAN of the outermost tag; 0 without one.
    pub(super) vlan: u16,
    /// Octets from the frame's first one to the packet's last one, by the length in the IP header.
    pub(super) octets: Option<u32>,
}

/// What comes next on the way to the packet.
#[derive(Clone, Copy)]
enum Step {
    Type,
    Labels,
    Ppp,
}

impl Frame {
    /// Reads as much of `data` as there is. `length`: that of the whole frame, if it is known.
    pub(super) fn dissect(link: Link, data: &[u8], length: Option<u32>) -> Self {
        let mut frame = Self::default();
        // Of sections that begin behind the link's header nobody knows how much of the frame was before.
        let length = length.filter(|_| link == Link::Ethernet);
        if let Some(at) = frame.packet(link, data, length) {
            match data.get(at).map(|octet| octet >> 4) {
                Some(4) => frame.ipv4(data, at),
                Some(6) => frame.ipv6(data, at),
                Some(_) => frame.family = Family::Other,
                None => {}
            }
        }
        frame
    }

    /// Puts what the frame tells into the places of `flow` that are still empty.
    pub(super) fn fill(&self, flow: &mut FlowRecord) {
        if flow.family == Family::Other {
            (flow.family, flow.source, flow.destination) = (self.family, self.source, self.destination);
        }
        let empty = |n: u16| n == 0;
        if flow.protocol == 0 {
            flow.protocol = self.protocol;
        }
        if flow.tos == 0 {
            flow.tos = self.tos;
        }
        if empty(flow.source_port) && empty(flow.destination_port) {
            (flow.source_port, flow.destination_port) = (self.source_port, self.destination_port);
        }
        if empty(flow.tcp_flags) {
            flow.tcp_flags = self.tcp_flags;
        }
        if empty(flow.vlan) {
            flow.vlan = self.vlan;
        }
    }

    /// Where the IP header begins.
    fn packet(&mut self, link: Link, data: &[u8], length: Option<u32>) -> Option<usize> {
        let (mut step, mut at) = match link {
            Link::Ip => return Some(0),
            Link::Ethernet => (Step::Type, 12),
            Link::Mpls => (Step::Labels, 0),
            // All stations, unnumbered information (RFC 1662 3.1); left out where both ends agreed on that.
            Link::Ppp => (Step::Ppp, if data.starts_with(&[0xff, 0x03]) { 2 } else { 0 }),
        };
        for _ in 0..STEPS_MAX {
            match step {
                Step::Type => {
                    let kind = read::u16(data, at)?;
                    at += 2;
                    match kind {
                        0x0800 | 0x86dd => return Some(self.found(kind == 0x0800, at)),
                        0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                            let tag = read::u16(data, at)?;
                            if self.vlan == 0 {
                                self.vlan = tag & 0x0fff;
                            }
                            at += 2;
                        }
                        0x8847 | 0x8848 => step = Step::Labels,
                        // PPPoE session (RFC 2516 4): version and type, code, session, length.
                        0x8864 => (step, at) = (Step::Ppp, at + 6),
                        // A length: 802.3 with LLC. SNAP names a type as Ethernet does (RFC 1042).
                        0..=1500 if data.get(at..at + 6) == Some(&[0xaa, 0xaa, 3, 0, 0, 0]) => at += 6,
                        _ => return None,
                    }
                }
                Step::Labels => {
                    // The last label of the stack has the bottom bit (RFC 3032 2.1).
                    while read::u32(data, at)? & 0x100 == 0 {
                        at += 4;
                    }
                    let label = read::u32(data, at)? >> 12;
                    at += 4;
                    let left =
                        length.map(|length| usize::try_from(length).unwrap_or_default().saturating_sub(at));
                    let is_ip = match (label, data.get(at)? >> 4) {
                        // Explicit null.
                        (0, 4) | (2, 6) => true,
                        (_, 4) => is_ipv4(&data[at..], left),
                        (_, 6) => is_ipv6(&data[at..], left),
                        _ => false,
                    };
                    return is_ip.then_some(at);
                }
                Step::Ppp => {
                    let kind = read::u16(data, at)?;
                    at += 2;
                    match kind {
                        0x0021 | 0x0057 => return Some(self.found(kind == 0x0021, at)),
                        0x0281 | 0x0283 => step = Step::Labels,
                        _ => return None,
                    }
                }
            }
        }
        None
    }

    /// The family is known from the type, even if nothing of the packet is there.
    fn found(&mut self, is_v4: bool, at: usize) -> usize {
        self.family = if is_v4 { Family::V4 } else { Family::V6 };
        at
    }

    /// An IPv4 header (RFC 791 3.1).
    fn ipv4(&mut self, data: &[u8], at: usize) {
        let header = &data[at..];
        let octet = |place: usize| header.get(place).copied().unwrap_or_default();
        let address = |place| Address(read::u32(header, place).unwrap_or_default().into());
        self.family = Family::V4;
        (self.tos, self.protocol) = (octet(1), octet(9));
        (self.source, self.destination) = (address(12), address(16));
        let length = read::u16(header, 2).unwrap_or_default();
        self.octets = ends(at, usize::from(length), 20);
        let own = usize::from(octet(0) & 0x0f) * 4;
        // Ports are in the first fragment only.
        let is_first = read::u16(header, 6).is_some_and(|word| word & 0x1fff == 0);
        if own >= 20 && is_first {
            self.transport(header.get(own..).unwrap_or_default());
        }
    }

    /// An IPv6 header (RFC 8200 3) and the extension headers behind it (4.1).
    fn ipv6(&mut self, data: &[u8], at: usize) {
        let header = &data[at..];
        let octet = |place: usize| header.get(place).copied();
        let address = |place: usize| {
            let octets = header.get(place..).and_then(|octets| octets.first_chunk());
            Address(octets.map_or(0, |octets| u128::from_be_bytes(*octets)))
        };
        self.family = Family::V6;
        self.tos = (octet(0).unwrap_or_default() << 4) | (octet(1).unwrap_or_default() >> 4);
        (self.source, self.destination) = (address(8), address(24));
        let length = read::u16(header, 4).unwrap_or_default();
        self.octets = ends(at, usize::from(length) + 40, 41);
        self.protocol = octet(6).unwrap_or_default();
        let mut next = 40;
        for _ in 0..EXTENSIONS_MAX {
            let length = |unit: usize, more: usize| {
                Some((octet(next)?, (usize::from(octet(next + 1)?) + more) * unit))
            };
            let found = match self.protocol {
                // Hop by hop, routing, destination options, mobility, HIP, shim6.
                0 | 43 | 60 | 135 | 139 | 140 => length(8, 1),
                // Authentication (RFC 4302 2.2).
                51 => length(4, 2),
                44 => match (octet(next), read::u16(header, next + 2)) {
                    (Some(protocol), Some(word)) if word >> 3 != 0 => {
                        // A later fragment: what follows is the middle of something.
                        self.protocol = protocol;
                        return;
                    }
                    (Some(protocol), Some(_)) => Some((protocol, 8)),
                    _ => None,
                },
                _ => {
                    self.transport(header.get(next..).unwrap_or_default());
                    return;
                }
            };
            let Some((protocol, length)) = found else { return };
            self.protocol = protocol;
            next += length;
        }
    }

    /// The header that has the ports.
    fn transport(&mut self, header: &[u8]) {
        let word = |place| read::u16(header, place).unwrap_or_default();
        match self.protocol {
            // TCP, UDP, DCCP, SCTP, UDP-Lite.
            6 | 17 | 33 | 132 | 136 => (self.source_port, self.destination_port) = (word(0), word(2)),
            1 | 58 => self.destination_port = word(0),
            _ => {}
        }
        if self.protocol == 6 {
            self.tcp_flags = word(12) & 0x0fff;
        }
    }
}

/// True where what is behind labels, and begins as IPv4 does, is that. No label says what follows: the frame of a pseudowire
/// without control word begins with a MAC address, which may begin with the same digit (RFC 4928).
fn is_ipv4(header: &[u8], left: Option<usize>) -> bool {
    let own = usize::from(header[0] & 0x0f) * 4;
    let length = usize::from(read::u16(header, 2).unwrap_or_default());
    let fits = length == 0 || length >= own && left.is_none_or(|left| length <= left);
    let sum = || -> Option<u32> {
        let words = header.get(..own)?.chunks_exact(2);
        Some(words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum())
    };
    // One's complement, RFC 1071. What is cut off cannot be added up, and what a network card has yet to fill in is 0.
    let is_unset = read::u16(header, 10) == Some(0);
    own >= 20 && fits && (is_unset || sum().is_none_or(|sum| (sum & 0xffff) + (sum >> 16) == 0xffff))
}

/// The same of IPv6, whose header has no checksum: its length has to be that of the rest of the frame, but for padding, and
/// what follows something that does.
fn is_ipv6(header: &[u8], left: Option<usize>) -> bool {
    let Some(length) = read::u16(header, 4).map(usize::from) else { return true };
    let fits = |left: usize| {
        let whole = 40 + length;
        whole <= left && (left - whole <= TRAILER_MAX || left <= PADDED_MAX)
    };
    let next = header.get(6).is_none_or(|next| BEHIND_IPV6.contains(next));
    next && (length == 0 || left.is_none_or(fits))
}

/// Octets behind a packet that is not padded: check sequence, and what else some devices put there, or count for the frame.
const TRAILER_MAX: usize = 64;

/// The shortest frame of Ethernet.
const PADDED_MAX: usize = 64;

/// What follows IPv6 (IANA's protocol numbers): extension headers, transports, tunnels, routing.
const BEHIND_IPV6: &[u8] = &[
    0, 1, 2, 4, 6, 17, 33, 41, 43, 44, 46, 47, 50, 51, 58, 59, 60, 88, 89, 94, 97, 98, 103, 108, 112, 115,
    124, 132, 135, 136, 137, 139, 140, 142, 143,
];

/// Where a packet at `at` ends by the length in its header; `None` where that is less than `least`: not stated, as in
/// packets that a network card cuts up later, and in jumbograms.
fn ends(at: usize, length: usize, least: usize) -> Option<u32> {
    if length < least {
        return None;
    }
    u32::try_from(at + length).ok()
}

#[cfg(test)]
mod tests;
