//! A waiting record in few octets: exact, self-delimiting, and independent of its neighbours.
//!
//! A record lies in memory at 160 octets, many of them zero. Here a field that is zero costs one bit, a number the
//! octets that it needs, and an address what its family needs: 25 to 50 octets for a record of IPv4, up to 90 for one of IPv6.
//! No record refers to another one, so that any of them can be taken out and the others stay as they are; times are
//! told from the instant that all records of a chunk share.
//!
//! The exporter is not written: the owner knows it, and its number is another one in every run. All of this is part of
//! the checkpoint's format, whose number is in `processor/checkpoint.rs`.

use crate::flow::{Address, Family, FlowRecord, Observed, SamplerRef};
use crate::ids::ExporterId;
use crate::units::{Asn, IfIndex, Octets, Packets, RateSource, SamplingRate, UnixMillis};

use super::Stream;

/// What a record waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Waiting {
    /// The end of its domain's grace time, or an announcement before.
    Grace,
    /// A description: of the sampler that it names, of an ambiguous domain, or of any kind where the operator insists.
    Described,
}

/// A record that waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) record: FlowRecord,
    /// What it came in.
    pub(super) stream: Stream,
    pub(super) since: UnixMillis,
    pub(super) waiting: Waiting,
}

/// The most octets that a record takes: every field there, and every number as great as it can be.
pub(super) const OCTETS_MAX: usize = 4 + 3 * 16 + 5 * 10 + 11 + 15 + 6 * 5 + 3 * 3 + 2 * 2 + 5;

// The first octet: family in bits 0 and 1, side of observation in 2 and 3, sampler in 4 and 5.
const SAMPLER_SHIFT: u32 = 4;
const RATED: u8 = 1 << 6;
const DESCRIBED: u8 = 1 << 7;

// The next three: which fields follow, and what has no field.
const DOMAIN: u32 = 1;
const NEXT_HOP: u32 = 1 << 1;
const INPUT: u32 = 1 << 2;
const OUTPUT: u32 = 1 << 3;
const SOURCE_AS: u32 = 1 << 4;
const DESTINATION_AS: u32 = 1 << 5;
const SOURCE_PORT: u32 = 1 << 6;
const DESTINATION_PORT: u32 = 1 << 7;
const VLAN: u32 = 1 << 8;
const TCP_FLAGS: u32 = 1 << 9;
const TOS: u32 = 1 << 10;
const SOURCE_MASK: u32 = 1 << 11;
const DESTINATION_MASK: u32 = 1 << 12;
const FORWARDING_STATUS: u32 = 1 << 13;
const PROTOCOL: u32 = 1 << 14;
/// Addresses have 16 octets, although the family has fewer: nothing sensible, but possible.
const WIDE: u32 = 1 << 15;
/// The addresses are networks.
const NETWORKS: u32 = 1 << 16;
/// The sampler is mute, not silent; zero, not unnamed; a sequence, not a sampler; two names, not a rate.
const OTHER: u32 = 1 << 17;
/// The second flow of its record.
const SECOND: u32 = 1 << 18;
/// Its template's number.
const TEMPLATE: u32 = 1 << 19;
/// What it came in, where that is a session.
const STREAM: u32 = 1 << 20;

/// Templates have numbers from this one on (RFC 7011 3.4.1). It is taken off by bits, so that the first hundred and more
/// need one octet, and what cannot be still comes back as it was.
const FIRST_TEMPLATE: u16 = 256;

/// Appends `held` to `out`; times are told from `base`.
pub(super) fn encode(held: &Held, base: UnixMillis, out: &mut Vec<u8>) {
    let Held { record, stream, since, waiting } = held;
    let mut w = Writer { octets: [0; OCTETS_MAX], at: 4 };
    let mut fields = 0_u32;
    let addresses = [record.source, record.destination, record.next_hop];
    let mut width = address_octets(record.family);
    if addresses.iter().any(|address| width < 16 && address.0 >> (8 * width) != 0) {
        (fields, width) = (WIDE, 16);
    }
    w.signed(since.0.wrapping_sub(base.0));
    w.number(record.octets.as_u64());
    w.number(record.packets.as_u64());
    w.signed(record.end.0.wrapping_sub(base.0));
    w.signed(record.end.0.wrapping_sub(record.start.0));
    w.address(record.source, width);
    w.address(record.destination, width);
    if record.next_hop != Address(0) {
        fields |= NEXT_HOP;
        w.address(record.next_hop, width);
    }
    let rated = record.rate != SamplingRate::default();
    if rated {
        w.rate(record.rate);
    }
    let sampler = match record.sampler {
        SamplerRef::Unnamed => 0,
        SamplerRef::Silent => 1,
        SamplerRef::Mute => {
            fields |= OTHER;
            1
        }
        SamplerRef::Zero => {
            fields |= OTHER;
            0
        }
        SamplerRef::Sequence(sequence) => {
            fields |= OTHER;
            w.number(sequence);
            2
        }
        SamplerRef::Named(sampler) => {
            w.number(sampler);
            2
        }
        SamplerRef::Stated(rate) => {
            w.rate(rate);
            3
        }
        SamplerRef::Either { sampler, selector } => {
            fields |= OTHER;
            w.number(sampler.into());
            w.number(selector);
            3
        }
    };
    for (field, number) in [
        (DOMAIN, record.domain),
        (INPUT, record.input.0),
        (OUTPUT, record.output.0),
        (SOURCE_AS, record.source_as.0),
        (DESTINATION_AS, record.destination_as.0),
        (VLAN, record.vlan.into()),
        (TCP_FLAGS, record.tcp_flags.into()),
        (STREAM, stream.0),
    ] {
        if number != 0 {
            fields |= field;
            w.number(number.into());
        }
    }
    if record.template != 0 {
        fields |= TEMPLATE;
        w.number((record.template ^ FIRST_TEMPLATE).into());
    }
    for (field, port) in [(SOURCE_PORT, record.source_port), (DESTINATION_PORT, record.destination_port)] {
        if port != 0 {
            fields |= field;
            w.octets(port.to_le_bytes());
        }
    }
    for (field, octet) in [
        (PROTOCOL, record.protocol),
        (TOS, record.tos),
        (SOURCE_MASK, record.source_mask),
        (DESTINATION_MASK, record.destination_mask),
        (FORWARDING_STATUS, record.forwarding_status),
    ] {
        if octet != 0 {
            fields |= field;
            w.octets([octet]);
        }
    }
    if record.networks {
        fields |= NETWORKS;
    }
    if record.second {
        fields |= SECOND;
    }
    w.octets[0] = record.family as u8
        | (record.observed as u8) << 2
        | sampler << SAMPLER_SHIFT
        | if rated { RATED } else { 0 }
        | if *waiting == Waiting::Described { DESCRIBED } else { 0 };
    w.octets[1..4].copy_from_slice(&fields.to_le_bytes()[..3]);
    out.extend_from_slice(&w.octets[..w.at]);
}

/// The record that `octets` begin with, as one of `exporter`'s, and how many octets it takes. `None` where they are
/// none of [`encode`]'s making.
pub(super) fn decode(octets: &[u8], base: UnixMillis, exporter: ExporterId) -> Option<(Held, usize)> {
    let mut r = Reader { octets, at: 0 };
    let [head, low, middle, high] = r.octets()?;
    let fields = u32::from_le_bytes([low, middle, high, 0]);
    let family = Family::from_u8(head & 3)?;
    let width = if fields & WIDE == 0 { address_octets(family) } else { 16 };
    let has = |field: u32| fields & field != 0;
    let since = UnixMillis(base.0.wrapping_add(r.signed()?));
    let (octets, packets) = (Octets::new(r.number()?), Packets::new(r.number()?));
    let end = UnixMillis(base.0.wrapping_add(r.signed()?));
    let start = UnixMillis(end.0.wrapping_sub(r.signed()?));
    let (source, destination) = (r.address(width)?, r.address(width)?);
    let next_hop = if has(NEXT_HOP) { r.address(width)? } else { Address(0) };
    let rate = if head & RATED != 0 { r.rate()? } else { SamplingRate::default() };
    let sampler = match head >> SAMPLER_SHIFT & 3 {
        0 if has(OTHER) => SamplerRef::Zero,
        0 => SamplerRef::Unnamed,
        1 if has(OTHER) => SamplerRef::Mute,
        1 => SamplerRef::Silent,
        2 if has(OTHER) => SamplerRef::Sequence(r.number()?),
        2 => SamplerRef::Named(r.number()?),
        _ if has(OTHER) => {
            SamplerRef::Either { sampler: u32::try_from(r.number()?).ok()?, selector: r.number()? }
        }
        _ => SamplerRef::Stated(r.rate()?),
    };
    let mut number = |field| if has(field) { u32::try_from(r.number()?).ok() } else { Some(0) };
    let (domain, input, output) = (number(DOMAIN)?, number(INPUT)?, number(OUTPUT)?);
    let (source_as, destination_as) = (number(SOURCE_AS)?, number(DESTINATION_AS)?);
    let (vlan, tcp_flags) = (u16::try_from(number(VLAN)?).ok()?, u16::try_from(number(TCP_FLAGS)?).ok()?);
    let stream = Stream(number(STREAM)?);
    let template = if has(TEMPLATE) { u16::try_from(r.number()?).ok()? ^ FIRST_TEMPLATE } else { 0 };
    let mut port = |field| if has(field) { r.octets().map(u16::from_le_bytes) } else { Some(0) };
    let (source_port, destination_port) = (port(SOURCE_PORT)?, port(DESTINATION_PORT)?);
    let mut octet = |field| if has(field) { r.octets().map(|[octet]| octet) } else { Some(0) };
    let record = FlowRecord {
        source,
        destination,
        next_hop,
        octets,
        packets,
        start,
        end,
        sampler,
        rate,
        domain,
        input: IfIndex(input),
        output: IfIndex(output),
        source_as: Asn(source_as),
        destination_as: Asn(destination_as),
        exporter,
        source_port,
        destination_port,
        vlan,
        template,
        tcp_flags,
        family,
        protocol: octet(PROTOCOL)?,
        tos: octet(TOS)?,
        source_mask: octet(SOURCE_MASK)?,
        destination_mask: octet(DESTINATION_MASK)?,
        forwarding_status: octet(FORWARDING_STATUS)?,
        networks: has(NETWORKS),
        second: has(SECOND),
        observed: match head >> 2 & 3 {
            0 => Observed::Unknown,
            1 => Observed::Ingress,
            2 => Observed::Egress,
            _ => return None,
        },
    };
    let waiting = if head & DESCRIBED == 0 { Waiting::Grace } else { Waiting::Described };
    Some((Held { record, stream, since, waiting }, r.at))
}

/// Changes what an encoded record waits for. `octets` begin with it.
pub(super) fn set_waiting(octets: &mut [u8], waiting: Waiting) {
    match waiting {
        Waiting::Grace => octets[0] &= !DESCRIBED,
        Waiting::Described => octets[0] |= DESCRIBED,
    }
}

/// Says of an encoded record, with which `octets` begin, that it is no longer the second one of two that wait.
pub(super) fn set_alone(octets: &mut [u8]) {
    // Fields stand in octets 1 to 3, the lowest first.
    octets[3] &= !SECOND.to_le_bytes()[2];
}

const fn address_octets(family: Family) -> usize {
    match family {
        Family::Other => 0,
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

struct Writer {
    octets: [u8; OCTETS_MAX],
    at: usize,
}

impl Writer {
    fn octets<const N: usize>(&mut self, octets: [u8; N]) {
        self.octets[self.at..self.at + N].copy_from_slice(&octets);
        self.at += N;
    }

    fn address(&mut self, address: Address, width: usize) {
        self.octets[self.at..self.at + width].copy_from_slice(&address.0.to_le_bytes()[..width]);
        self.at += width;
    }

    /// Seven bits an octet, the lowest first; the eighth says that more follow.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.octets([number.to_le_bytes()[0] | 0x80]);
            number >>= 7;
        }
        self.octets([number.to_le_bytes()[0]]);
    }

    /// Small numbers of either sign become small ones: 0, -1, 1, -2 are 0, 1, 2, 3.
    fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63).cast_unsigned());
    }

    fn rate(&mut self, rate: SamplingRate) {
        self.number(rate.numerator().into());
        self.number(rate.denominator().into());
        self.octets([rate.source() as u8]);
    }
}

struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn octets<const N: usize>(&mut self) -> Option<[u8; N]> {
        let octets = self.octets.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*octets)
    }

    fn address(&mut self, width: usize) -> Option<Address> {
        let octets = self.octets.get(self.at..)?.get(..width)?;
        self.at += width;
        let mut address = [0; 16];
        address[..width].copy_from_slice(octets);
        Some(Address(u128::from_le_bytes(address)))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [octet] = self.octets()?;
            let bits = u64::from(octet & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if octet & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn rate(&mut self) -> Option<SamplingRate> {
        let (numerator, denominator) = (self.number()?, self.number()?);
        let [source] = self.octets()?;
        let rate = SamplingRate::new(numerator, denominator, RateSource::from_u8(source)?)?;
        // In lowest terms, as written.
        (u64::from(rate.numerator()) == numerator).then_some(rate)
    }
}

#[cfg(test)]
mod tests;
