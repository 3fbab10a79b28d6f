//! The flow record: what one exporter says of one flow, in one direction, whatever protocol it came in.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::ids::ExporterId;
use crate::units::{Asn, IfIndex, Octets, Packets, SamplingRate, UnixMillis};

/// The address family of a flow (IANA address family numbers are not used: 4 and 6 read better in a ledger).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[repr(u8)]
pub enum Family {
    /// Neither: the exporter gave no network addresses (layer-2 records).
    #[default]
    Other = 0,
    /// IPv4.
    V4 = 1,
    /// IPv6.
    V6 = 2,
}

impl Family {
    /// The family stored as `n`.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Other),
            1 => Some(Self::V4),
            2 => Some(Self::V6),
            _ => None,
        }
    }

    /// Its name in reports: `ipv4`, `ipv6`, `other`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// The direction of usage, seen from the customer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[repr(u8)]
pub enum Direction {
    /// The flow crosses no link.
    #[default]
    None = 0,
    /// Toward the customer.
    In = 1,
    /// From the customer.
    Out = 2,
}

impl Direction {
    /// The direction stored as `n`.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::None),
            1 => Some(Self::In),
            2 => Some(Self::Out),
            _ => None,
        }
    }

    /// Its name in reports: `in`, `out`, or nothing.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// An address as a number: IPv4 in the low 32 bits. The family stands beside it, in the record.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Address(pub u128);

impl Address {
    /// The address in its usual form; `None` for [`Family::Other`].
    #[must_use]
    pub fn to_ip(self, family: Family) -> Option<IpAddr> {
        match family {
            Family::Other => None,
            #[expect(clippy::cast_possible_truncation, reason = "an IPv4 address is the low 32 bits")]
            Family::V4 => Some(IpAddr::V4(Ipv4Addr::from(self.0 as u32))),
            Family::V6 => Some(IpAddr::V6(Ipv6Addr::from(self.0))),
        }
    }

    /// True for an IPv4 address that is written as an IPv6 one (RFC 4291 2.5.5.2).
    const fn is_mapped(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    /// The low 32 bits: an IPv4 address.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
    pub const fn low(self) -> u32 {
        self.0 as u32
    }

    /// Family and number of an address.
    #[must_use]
    pub fn from_ip(ip: IpAddr) -> (Family, Self) {
        match ip {
            IpAddr::V4(v4) => (Family::V4, Self(u128::from(u32::from(v4)))),
            IpAddr::V6(v6) => (Family::V6, Self(u128::from(v6))),
        }
    }
}

/// At which side of the forwarding process the record was observed (IPFIX element 61).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[repr(u8)]
pub enum Observed {
    /// The record does not say.
    #[default]
    Unknown = 0,
    /// On the way in.
    Ingress = 1,
    /// On the way out.
    Egress = 2,
}

/// How a record refers to its sampler, before [`SamplingRate`] is known.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum SamplerRef {
    /// The record says nothing of sampling: the domain's options rule, or the operator.
    #[default]
    Unnamed,
    /// The protocol has one place for a rate, and nothing is in it (NetFlow v5, v8): unsampled, unless the operator
    /// says otherwise. There is nothing to wait for.
    Silent,
    /// The record names a sampler (elements 48 or 302, not 0) that options records describe.
    Named(u64),
    /// The record has two numbers where a sampler is named, and they are not the same: whichever of them options records
    /// describe is it. (Element 48 is deprecated in favour of 302; there are exporters that keep an interface there.)
    Either {
        /// Element 48.
        sampler: u32,
        /// Element 302.
        selector: u64,
    },
    /// The record, or the datagram's header, carries the rate itself.
    Stated(SamplingRate),
    /// The protocol has no place for a rate (NetFlow v1, v7): nothing is ever announced, there is nothing to wait for.
    /// Unless the operator says otherwise it is counted as unsampled, and marked as not announced.
    Mute,
    /// The record has a place for a sampler and names none (0): it is of none of those that options records describe.
    /// What they say of the domain rules, or the operator.
    Zero,
    /// The record names a selection sequence (element 301), which options records trace to samplers (RFC 5476 6.5.1).
    Sequence(u64),
}

/// One directional flow record.
///
/// `octets` and `packets` are raw: what the exporter counted, before scaling by `rate`. Times are half-open,
/// `start <= end`, and clamped by the decoder (never after the export time, never more than an hour before it).
/// What the exporter did not say is zero.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct FlowRecord {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Next hop, in the record's own family.
    pub next_hop: Address,
    /// Octets by the counter rule (exactly one counter a direction).
    pub octets: Octets,
    /// Packets.
    pub packets: Packets,
    /// Start of the flow.
    pub start: UnixMillis,
    /// End of the flow.
    pub end: UnixMillis,
    /// How the record refers to its sampler. Settled by the sampling stage, which fills `rate`.
    pub sampler: SamplerRef,
    /// The sampling rate, once settled.
    pub rate: SamplingRate,
    /// Observation domain (v9 source id, IPFIX observation domain id, v5, v7 and v8 engine type and id).
    pub domain: u32,
    /// Input interface.
    pub input: IfIndex,
    /// Output interface.
    pub output: IfIndex,
    /// Source AS number.
    pub source_as: Asn,
    /// Destination AS number.
    pub destination_as: Asn,
    /// The exporter.
    pub exporter: ExporterId,
    /// Source port; 0 where the protocol has none.
    pub source_port: u16,
    /// Destination port; for ICMP, type * 256 + code, as v5 and element 32 have it.
    pub destination_port: u16,
    /// 802.1Q VLAN of the input side.
    pub vlan: u16,
    /// The template of its record, by the number of its data set; 0 in protocols without templates.
    pub template: u16,
    /// TCP flags, cumulative (RFC 9293 order, 16 bits as IPFIX element 6).
    pub tcp_flags: u16,
    /// Address family.
    pub family: Family,
    /// IP protocol.
    pub protocol: u8,
    /// Type of service octet.
    pub tos: u8,
    /// Prefix length of the source route.
    pub source_mask: u8,
    /// Prefix length of the destination route.
    pub destination_mask: u8,
    /// Forwarding status (IPFIX element 89): the two high bits are 0 unknown, 1 forwarded, 2 dropped, 3 consumed.
    pub forwarding_status: u8,
    /// Where it was observed.
    pub observed: Observed,
    /// True: source and destination are networks, of as many bits as the masks say (NetFlow v8; elements 44, 45, 169,
    /// 170; 0 bits where the record does not tell). False: hosts, and the masks are those of their routes.
    pub networks: bool,
    /// True: its record has given another flow before it, the forward direction, and is counted with that one.
    pub second: bool,
}

impl FlowRecord {
    /// Makes a flow of IPv4 of one whose addresses are IPv4 ones in fields of IPv6: some exporters have one template for both.
    /// On the wire there are no such addresses.
    #[inline]
    pub(crate) fn unmap(&mut self) {
        let ends = [self.source, self.destination];
        let is_mapped = ends.iter().any(|end| end.is_mapped());
        if self.family != Family::V6 || !is_mapped || !ends.iter().all(|end| end.is_mapped() || end.0 == 0) {
            return;
        }
        let masks = [self.source_mask, self.destination_mask];
        if self.networks && masks.iter().any(|mask| (33..96).contains(mask)) {
            return;
        }
        let mask = |mask: u8| match mask {
            0..=32 => mask,
            _ => mask.saturating_sub(96),
        };
        self.family = Family::V4;
        [self.source, self.destination] = ends.map(|end| Address(end.low().into()));
        self.next_hop = Address(if self.next_hop.is_mapped() { self.next_hop.low().into() } else { 0 });
        [self.source_mask, self.destination_mask] = masks.map(mask);
    }

    /// True where the router says that it dropped the packets (IPFIX element 89, high bits 10).
    #[must_use]
    pub const fn is_dropped(&self) -> bool {
        self.forwarding_status >> 6 == 2
    }
}

/// An interface that an options record is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Side {
    /// An interface, whichever way packets pass it (v9 scope type 2).
    Interface(IfIndex),
    /// The packets that come in by an interface (element 10).
    Ingress(IfIndex),
    /// The packets that leave by an interface (element 14).
    Egress(IfIndex),
}

/// Something that no record can be traced to: a line card, a port, a VRF, something of a vendor's, several of these, ...
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Untold {
    /// The number of the element (or of the v9 scope type) that names it, because each of them counts for itself; 0 where it
    /// is not one number.
    pub element: u16,
    /// Its number; where it is not one number, a hash of all that it is.
    pub number: u64,
}

/// What part of a domain an options record is about: all of what it names at once. Records are sorted into the first two.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Part {
    /// The interface.
    pub interface: Option<Side>,
    /// The template whose records it is about (element 145, v9 scope type 5).
    pub template: Option<u16>,
    /// What else it names.
    pub untold: Option<Untold>,
}

impl Part {
    /// The whole domain.
    pub const WHOLE: Self = Self { interface: None, template: None, untold: None };

    /// True where records can be told by it: it names an interface or a template.
    #[must_use]
    pub const fn is_traced(&self) -> bool {
        self.interface.is_some() || self.template.is_some()
    }
}

/// A datagram's place in the order in which its exporter sent: its sequence number, and its export time as stated.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Mark {
    /// Sequence number.
    pub number: u32,
    /// Export time by the exporter's clock.
    pub stated: UnixMillis,
}

impl Mark {
    /// How far it is behind another one: in numbers, and where these are the same, in milliseconds.
    fn behind(self, head: Self) -> (u32, i64) {
        (head.number.wrapping_sub(self.number), head.stated.since(self.stated))
    }
}

/// An export time that is so much later was later, whatever the numbers say: two processes that number for themselves.
/// Header times are whole seconds.
const SURELY_LATER_MS: i64 = 2000;

/// Where a statement stands among those of its exporter: datagrams need not come in the order in which they were sent,
/// and what is newer is not what came last.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Order {
    /// Tells the protocol version and observation domain whose numbers these are.
    pub stream: u64,
    /// The place of the datagram that says it.
    pub at: Mark,
    /// The datagram that is farthest on, where that is another one, and both are of one run of the exporter as far as
    /// anybody can tell.
    #[serde(skip)]
    pub head: Option<Mark>,
}

impl Order {
    /// True where it was sent before what was sent at `other` of the same stream.
    #[must_use]
    pub fn is_before(&self, other: Mark) -> bool {
        self.head.is_some_and(|head| {
            other.behind(head) < self.at.behind(head) && self.at.stated.since(other.stated) < SURELY_LATER_MS
        })
    }

    /// True where it was sent before what another one of perhaps another stream says.
    #[must_use]
    pub fn is_overtaken_by(&self, other: &Self) -> bool {
        self.stream == other.stream && self.is_before(other.at)
    }
}

/// What one options record says of sampling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Announcement {
    /// The observation domain it is about.
    pub domain: u32,
    /// The sampler it describes (elements 48 or 302); `None`: the whole domain.
    pub sampler: Option<u64>,
    /// The rate; `None` where the statement is ambiguous or of an algorithm that gives none.
    pub rate: Option<SamplingRate>,
    /// What part of the domain it is about.
    pub part: Part,
    /// True where the record contradicts itself: options data of its layout is not what its template says, and nothing
    /// that it states of whole domains is believed.
    pub garbled: bool,
    /// True where the record names another domain (element 149) than the one that it came in: it holds for no third one.
    pub bound: bool,
    /// Tells the layout of the options record from others.
    pub layout: u32,
    /// When it was sent.
    pub order: Order,
}

/// Selectors of a selection sequence that are looked at.
pub const SELECTORS_MAX: usize = 4;

/// What one options record says of a selection sequence (RFC 5476 6.5.1): which selectors packets pass, one behind the
/// other.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SelectionSequence {
    /// The observation domain that it is of.
    pub domain: u32,
    /// Its number (element 301).
    pub id: u64,
    /// Its selectors (element 302), as far as there is room; 0 is none.
    pub selectors: [u64; SELECTORS_MAX],
    /// There are more.
    pub more: bool,
    /// When it was said.
    pub order: Order,
}

impl SelectionSequence {
    /// True where another one says the same, whenever it does.
    #[must_use]
    pub fn says(&self, other: &Self) -> bool {
        (self.id, self.selectors, self.more) == (other.id, other.selectors, other.more)
    }

    /// The selectors.
    #[must_use]
    pub fn selectors(&self) -> &[u64] {
        let count = self.selectors.iter().position(|&selector| selector == 0).unwrap_or(SELECTORS_MAX);
        &self.selectors[..count]
    }

    /// True where these are all.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        !self.more
    }
}
