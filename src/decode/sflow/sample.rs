//! One flow sample: what its flow records say of the packet, and the record made of it.

use super::Work;
use super::agent::Agent;
use super::pool::Statement;
use super::xdr::Reader;
use crate::decode::Error;
use crate::decode::frame::{Frame, Link};
use crate::flow::{Address, Family, FlowRecord, Observed, SamplerRef};
use crate::units::{Asn, IfIndex, Octets, Packets, RateSource, SamplingRate};

/// Formats of flow records, of the standard's own enterprise 0.
const RAW_HEADER: u32 = 1;
const ETHERNET: u32 = 2;
const IPV4: u32 = 3;
const IPV6: u32 = 4;
const SWITCH: u32 = 1001;
const ROUTER: u32 = 1002;
const GATEWAY: u32 = 1003;

/// The interface that packets from or for the exporter itself have.
const INTERNAL: u32 = 0x3fff_ffff;

/// The class of data sources that are interfaces.
pub(super) const CLASS_INTERFACE: u32 = 0;

/// What a flow sample says before its flow records.
struct Head {
    source: (u32, u32),
    statement: Statement,
    input: IfIndex,
    output: IfIndex,
    /// As [`FlowRecord::forwarding_status`].
    status: u8,
    records: u32,
}

impl Head {
    /// On which side of its source the packet was sampled.
    fn observed(&self) -> Observed {
        let interface = IfIndex(self.source.1);
        match (self.source.0, self.input == interface, self.output == interface) {
            (CLASS_INTERFACE, true, false) => Observed::Ingress,
            (CLASS_INTERFACE, false, true) => Observed::Egress,
            _ => Observed::Unknown,
        }
    }
}

/// What the flow records of a sample say.
#[derive(Default)]
struct Said {
    /// Frame length, and what was dissected.
    header: Option<(u32, Frame)>,
    /// Length of the Ethernet frame.
    ethernet: Option<u32>,
    /// Length of the packet, and what it is.
    packet: Option<(u32, Frame)>,
    vlan: u16,
    router: Option<Router>,
    gateway: Option<Gateway>,
}

struct Router {
    next_hop: (Family, Address),
    masks: (u8, u8),
}

struct Gateway {
    next_hop: (Family, Address),
    source_as: u32,
    destination_as: u32,
}

impl Work<'_> {
    /// Decodes a flow sample and emits its record.
    pub(super) fn flow_sample(
        &mut self,
        agent: Option<&mut Agent<'_>>,
        mut body: Reader<'_>,
        is_expanded: bool,
    ) -> Result<(), Error> {
        let offset = body.at();
        let head = head(&mut body, is_expanded).ok_or(Error::RecordCut { offset })?;
        self.counts.sflow.flow_samples += 1;
        self.counts.records += 1;
        let multiple = self.multiple(agent, &head);
        let (said, result) = self.said(body, head.records);
        let Some(octets) = said.octets() else {
            self.counts.not_volume += 1;
            return result;
        };
        let flow = self.flow(&head, &said, octets, multiple);
        self.counts.flows_emitted += 1;
        self.counts.raw_octets = self.counts.raw_octets.saturating_add(octets.into());
        self.counts.raw_packets = self.counts.raw_packets.saturating_add(1);
        self.out.push(flow);
        result
    }

    /// How many times its stated rate the sample takes.
    fn multiple(&mut self, agent: Option<&mut Agent<'_>>, head: &Head) -> u64 {
        let counts = &mut self.counts.sflow;
        let Some(agent) = agent else { return 1 };
        let Some(verdict) = agent.sample(head.source, head.statement, head.observed(), self.received) else {
            counts.source_refusals += 1;
            return 1;
        };
        counts.samples_lost += u64::from(verdict.lost);
        counts.samples_lost = counts.samples_lost.saturating_sub(u64::from(verdict.found));
        counts.samples_dropped += u64::from(verdict.dropped);
        counts.pool_contradictions += u64::from(verdict.contradicted);
        counts.packets_unpaid = counts.packets_unpaid.saturating_add(verdict.unpaid);
        verdict.multiple
    }

    /// Reads the flow records of a sample. Of several that say the same thing the first one counts. One that is shorter than
    /// its format wants is skipped and is an error; what the others say stands.
    fn said(&mut self, mut body: Reader<'_>, records: u32) -> (Said, Result<(), Error>) {
        let (mut said, mut result) = (Said::default(), Ok(()));
        for _ in 0..records {
            let cut = Err(Error::RecordCut { offset: body.at() });
            let record = body.u32().and_then(|format| {
                let length = body.u32()?;
                Some((format, body.opaque(length)?))
            });
            let Some((format, mut record)) = record else {
                return (said, result.and(cut));
            };
            let read = match format {
                RAW_HEADER => raw_header(&mut record).map(|header| first(&mut said.header, header)),
                ETHERNET => record.u32().map(|length| first(&mut said.ethernet, length)),
                IPV4 => packet(&mut record, true).map(|packet| first(&mut said.packet, packet)),
                IPV6 => packet(&mut record, false).map(|packet| first(&mut said.packet, packet)),
                // The VLAN of the packet as it came in; 0 and numbers above 4094 are none.
                SWITCH => record.u32().map(|vlan| {
                    said.vlan = u16::try_from(vlan).ok().filter(|vlan| *vlan < 4095).unwrap_or(0);
                }),
                ROUTER => router(&mut record).map(|router| said.router = Some(router)),
                GATEWAY => gateway(&mut record).map(|gateway| said.gateway = Some(gateway)),
                _ => {
                    self.counts.sflow.skipped_formats += 1;
                    Some(())
                }
            };
            if read.is_none() {
                result = result.and(cut);
            }
        }
        (said, result)
    }

    fn flow(&self, head: &Head, said: &Said, octets: u32, multiple: u64) -> FlowRecord {
        let source = if multiple == 1 { RateSource::Record } else { RateSource::Pool };
        let rate = SamplingRate::new(u64::from(head.statement.rate) * multiple, 1, source);
        let mut flow = FlowRecord {
            octets: Octets::new(octets.into()),
            packets: Packets::new(1),
            start: self.received,
            end: self.received,
            // A rate of 0 is none.
            sampler: rate.map_or(SamplerRef::Silent, SamplerRef::Stated),
            domain: self.domain,
            input: head.input,
            output: head.output,
            exporter: self.exporter,
            vlan: said.vlan,
            forwarding_status: head.status,
            observed: head.observed(),
            ..FlowRecord::default()
        };
        for (_, frame) in [said.header, said.packet].iter().flatten() {
            frame.fill(&mut flow);
        }
        let own = |(family, address): (Family, Address)| (family == flow.family).then_some(address);
        let hops = [said.router.as_ref().map(|r| r.next_hop), said.gateway.as_ref().map(|g| g.next_hop)];
        flow.next_hop = hops.into_iter().flatten().filter_map(own).find(|hop| hop.0 != 0).unwrap_or_default();
        if let Some(Router { masks, .. }) = said.router {
            (flow.source_mask, flow.destination_mask) = masks;
        }
        if let Some(Gateway { source_as, destination_as, .. }) = said.gateway {
            (flow.source_as, flow.destination_as) = (Asn(source_as), Asn(destination_as));
        }
        flow
    }
}

/// Whether `body` is a flow sample, and all flow records that it says it has are in it.
pub(super) fn is_whole(format: u32, mut body: Reader<'_>) -> bool {
    let is_expanded = match format {
        super::FLOW => false,
        super::FLOW_EXPANDED => true,
        _ => return false,
    };
    // Each step reads what is there or ends: the datagram bounds the loop.
    head(&mut body, is_expanded).is_some_and(|head| {
        (0..head.records).all(|_| {
            let record = body.u32().and_then(|_format| {
                let length = body.u32()?;
                body.opaque(length)
            });
            record.is_some()
        })
    })
}

impl Said {
    /// The octets of the sampled packet, by the most complete statement. A length of 0 is none: where nobody states
    /// another, they are what the header that was sampled says itself.
    fn octets(&self) -> Option<u32> {
        let length = |(length, _): (u32, Frame)| length;
        let stated = [self.header.map(length), self.ethernet, self.packet.map(length)];
        let stated = stated.into_iter().flatten().find(|&length| length > 0);
        stated.or_else(|| self.header.and_then(|(_, frame)| frame.octets))
    }
}

/// Takes up what was not said before.
fn first<T>(said: &mut Option<T>, saying: T) {
    said.get_or_insert(saying);
}

/// The class and the index of a data source.
pub(super) fn source(body: &mut Reader<'_>, is_expanded: bool) -> Option<(u32, u32)> {
    if is_expanded {
        return Some((body.u32()?, body.u32()?));
    }
    let word = body.u32()?;
    Some((word >> 24, word & 0x00ff_ffff))
}

fn head(body: &mut Reader<'_>, is_expanded: bool) -> Option<Head> {
    let sequence = body.u32()?;
    let source = source(body, is_expanded)?;
    let (rate, pool, drops) = (body.u32()?, body.u32()?, body.u32()?);
    let mut interface = || {
        let word = body.u32()?;
        if is_expanded { Some((word, body.u32()?)) } else { Some((word >> 30, word & INTERNAL)) }
    };
    let (input, output) = (interface()?, interface()?);
    Some(Head {
        source,
        statement: Statement { sequence, rate, pool, drops },
        input: index(input),
        output: index(output),
        status: status(output),
        records: body.u32()?,
    })
}

/// The interface that a format and a value name: format 0 is an ifIndex. Of several outputs (format 2), of none (1),
/// and of the exporter itself nothing is left.
const fn index((format, value): (u32, u32)) -> IfIndex {
    match (format, value) {
        (0, INTERNAL | u32::MAX) => IfIndex(0),
        (0, index) => IfIndex(index),
        _ => IfIndex(0),
    }
}

/// The forwarding status (IPFIX element 89) of an output. In format 1 the value is the reason of a discard: ICMP's
/// codes of "destination unreachable" (RFC 1812 5.2.7.1), or from 256 on sFlow's own.
const fn status((format, value): (u32, u32)) -> u8 {
    match (format, value) {
        (1, 0 | 1 | 6 | 7) => 131,     // Unroutable.
        (1, 4 | 262) => 133,           // Too big, and not to be fragmented.
        (1, 9 | 10 | 13 | 258) => 129, // Denied by an access list.
        (1, 257) => 137,               // Time to live.
        (1, 261) => 138,               // Policer.
        (1, 260) => 139,               // Random early detection.
        (1, _) => 128,                 // Dropped, for whatever reason.
        _ => 0,
    }
}

/// The raw packet header: its protocol, the frame's length, what was stripped, the header's octets.
fn raw_header(record: &mut Reader<'_>) -> Option<(u32, Frame)> {
    let (protocol, length, _stripped) = (record.u32()?, record.u32()?, record.u32()?);
    let octets = record.u32()?;
    let header = record.opaque(octets)?;
    let link = match protocol {
        1 => Link::Ethernet,
        7 | 14 => Link::Ppp,
        11 | 12 => Link::Ip,
        13 => Link::Mpls,
        // Token ring, FDDI, frame relay, X.25, ATM, wireless: volume, but nobody's address.
        _ => return Some((length, Frame::default())),
    };
    Some((length, Frame::dissect(link, header.rest(), Some(length))))
}

/// A sampled IPv4 or IPv6 packet, in the exporter's words.
#[expect(clippy::cast_possible_truncation, reason = "words that hold what has 8 or 16 bits")]
fn packet(record: &mut Reader<'_>, is_v4: bool) -> Option<(u32, Frame)> {
    let (length, protocol) = (record.u32()?, record.u32()?);
    let mut address = || if is_v4 { Some(Address(record.u32()?.into())) } else { record.address6() };
    let (source, destination) = (address()?, address()?);
    let (source_port, destination_port) = (record.u32()?, record.u32()?);
    let (tcp_flags, tos) = (record.u32()?, record.u32()?);
    let frame = Frame {
        family: if is_v4 { Family::V4 } else { Family::V6 },
        source,
        destination,
        protocol: protocol as u8,
        tos: tos as u8,
        source_port: source_port as u16,
        destination_port: destination_port as u16,
        tcp_flags: tcp_flags as u16,
        ..Frame::default()
    };
    Some((length, frame))
}

fn router(record: &mut Reader<'_>) -> Option<Router> {
    let kind = record.u32()?;
    let next_hop = record.address(kind)?;
    let mask = |word: u32| u8::try_from(word).unwrap_or_default();
    Some(Router { next_hop, masks: (mask(record.u32()?), mask(record.u32()?)) })
}

/// The kind of a segment of an AS path whose numbers have no order (sFlow version 5, section 5).
const AS_SET: u32 = 1;

/// The destination's AS is the last one of the path. An empty path leads to the exporter's own AS, which is 0 here as
/// in NetFlow. Where the path ends with a set of several, nobody knows which of them it is (RFC 6811 2): then it is 0, too.
fn gateway(record: &mut Reader<'_>) -> Option<Gateway> {
    let kind = record.u32()?;
    let next_hop = record.address(kind)?;
    let (_own, source_as, _source_peer) = (record.u32()?, record.u32()?, record.u32()?);
    let segments = record.u32()?;
    let mut destination_as = 0;
    // Each step reads what is there or ends: the record bounds both loops.
    for _ in 0..segments {
        let (kind, numbers) = (record.u32()?, record.u32()?);
        for _ in 0..numbers {
            destination_as = record.u32()?;
        }
        if kind == AS_SET && numbers > 1 {
            destination_as = 0;
        }
    }
    Some(Gateway { next_hop, source_as, destination_as })
}
