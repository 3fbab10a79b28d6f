//! The plan of a data template: which fields fill the record, which counters are its volume, how it states times.
//!
//! Exactly one octet counter a direction is believed, by stated priority: element 1; 23 (post-counters); 231 and 232
//! (initiator and responder: two directions); 85 (a running total); 352 (layer 2). They are never summed: exporters
//! that give several of them count the same octets several times. Those of 231 and 232 are since the previous report (IANA's
//! registry), and of what is behind the headers of layer 4 only. Packets come from the counter's own partner,
//! those of 1 and 352 without one from the running total 86. The reverse
//! direction of a biflow has the times that its own elements state (RFC 5103), and otherwise those of the forward one.
//!
//! nProbe counts in 23 and 24 what comes back, and others there what is in 1 and 2 already, under the same numbers. Only the
//! operator knows, so where element 23 is, there is a second plan for those of whom he has said that it is the reverse
//! direction ([`OutCounters::Reverse`]).
//!
//! Exporters have templates for all their records, and fill only what fits each: the octets of frames without IP only in
//! 352, of firewall events only in 231 and 232. So where the counter of the highest rank is 0 in a record, one of these that
//! is not counts. Element 23 does not beside 1: exporters that watch both sides of an interface fill one on the way in and
//! the other on the way out, and it is the same flow. A running total does not either: beside a counter of what was added,
//! whose 0 says that nothing was, it is not 0 (Barracuda). In the same way a time of 0 gives way to the next clock, and an interface of 0 to the physical one
//! (elements 252 and 253).
//!
//! A record that carries the beginning of a sampled packet (RFC 5476, RFC 7133: element 315 from the link's header on,
//! 313 from the IP header on, 316 from behind MPLS labels on) and none of these counters is one packet. Its octets are element 312, the length of the
//! frame (for 313 and 316 also 224, that of the packet). Where neither is there, they are what the section itself says: the
//! length in the IP header, and the octets of the link's header before it. That leaves out what follows the packet
//! (padding, check sequence), which nobody has stated. What the record has no elements for (addresses, ports, VLAN,
//! ...) is read from the section. With a counter of octets, but none of packets, it is one packet, too.

mod columns;

use super::clock::{Clock, Clocks, Context, Moved};
use super::element::{self, DATA, REVERSE, SLOTS, Slot, Width};
use super::frame::{Frame, Link};
use super::layout::{Layout, Row};
use super::options::{self, Parameters};
use super::template::FieldSpec;
use super::total::Keys;
use crate::exporter::OutCounters;
use crate::flow::{Address, Family, FlowRecord, Observed, SamplerRef};
use crate::ids::ExporterId;
use crate::units::{Asn, IfIndex, Octets, Packets, RateSource, SamplingRate, UnixMillis};
pub(super) use columns::Sums;

/// A record's row.
pub(super) type DataRow<'a> = Row<'a, SLOTS>;

/// What kind of counter gives the volume of a direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counter {
    /// None: the records are no volume in this direction.
    Absent,
    /// Since the last record of the flow.
    Delta,
    /// Since the flow began: the difference from the last record counts. Whether its packets are a total, too.
    Running { packets: bool },
    /// Octets since the last record of the flow, and packets since the flow began.
    RunningPackets,
    /// One packet, whose beginning the record carries.
    Sampled,
}

/// How addresses are found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Addresses {
    None,
    V4,
    V6,
    /// The template has places for both; each record fills one.
    Either,
}

/// A compiled data template.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) layout: Layout<SLOTS>,
    pub(super) forward: Counter,
    pub(super) reverse: Counter,
    clocks: Clocks,
    /// Those of the reverse direction, where it has any.
    reverse_clocks: Option<Clocks>,
    /// Those of the second places, which count where the first ones say nothing.
    other_clocks: Option<Clocks>,
    /// Which fields tell flows apart, where running totals ask for it.
    pub(super) keys: Option<Keys>,
    /// True where a record may have its volume in a second octet counter.
    second_counters: bool,
    addresses: Addresses,
    /// True where the addresses are networks.
    networks: bool,
    /// What the packet section that the records carry begins with.
    section: Option<Link>,
    /// True where any of the rare places is filled.
    rare: bool,
    /// True where more than element 34 tells of the record's own sampling.
    parameters: bool,
    /// True where one is nProbe's, and has octets in element 23 beside those in 1.
    both_ways: bool,
    /// How to read the records where element 23 counts the reverse direction; none where there is no such element.
    reversed: Option<Box<Self>>,
}

/// Places of addresses, by family.
const ADDRESSES4: [Slot; 3] = [Slot::Source4, Slot::Destination4, Slot::NextHop4];
const ADDRESSES6: [Slot; 3] = [Slot::Source6, Slot::Destination6, Slot::NextHop6];

/// Octet counters and their packet counters, most trusted first.
const COUNTERS: [(u16, u16, bool); 5] =
    [(1, 2, false), (23, 24, false), (231, 298, false), (85, 86, true), (352, 2, false)];

/// Octet counters that count where those of higher rank are 0.
const SECOND_COUNTERS: [Slot; 3] = [Slot::InitiatorOctets, Slot::ResponderOctets, Slot::Layer2Octets];

impl Plan {
    pub(super) fn compile(fields: &[FieldSpec]) -> Self {
        let mut plan = Self::compile_as(fields, OutCounters::Same);
        if element::find(fields, 0, &[23], Width::Number).is_some() {
            plan.both_ways = element::find(fields, 0, &[1], Width::Number).is_some()
                && fields.iter().any(element::is_ntop);
            plan.reversed = Some(Box::new(Self::compile_as(fields, OutCounters::Reverse)));
        }
        plan
    }

    /// The plan for an exporter with such counters.
    pub(super) fn read_as(&self, out_counters: OutCounters) -> &Self {
        match (out_counters, &self.reversed) {
            (OutCounters::Reverse, Some(reversed)) => reversed,
            _ => self,
        }
    }

    /// True where elements 23 and 24 may well be the reverse direction.
    pub(super) const fn may_count_both_ways(&self) -> bool {
        self.both_ways
    }

    fn compile_as(fields: &[FieldSpec], out_counters: OutCounters) -> Self {
        let is_reverse =
            out_counters == OutCounters::Reverse && element::find(fields, 0, &[23], Width::Number).is_some();
        let mut places = [None; SLOTS];
        for &(slot, elements) in DATA {
            let width = match slot {
                _ if ADDRESSES4.contains(&slot) => Width::Address(4),
                _ if ADDRESSES6.contains(&slot) => Width::Address(16),
                Slot::FrameSection | Slot::PacketSection => Width::Any,
                _ => Width::Number,
            };
            places[slot as usize] = element::find(fields, 0, elements, width);
        }
        let section = match (places[Slot::FrameSection as usize], places[Slot::PacketSection as usize]) {
            (Some(_), _) => Some(Link::Ethernet),
            (None, Some(_)) => Some(Link::Ip),
            (None, None) => None,
        };
        let ranks = if is_reverse { &COUNTERS[..1] } else { &COUNTERS[..] };
        let (mut forward, octets, packets) = counter(fields, 0, ranks);
        places[Slot::Octets as usize] = octets;
        places[Slot::Packets as usize] = packets;
        // The responder's counters are the reverse of the initiator's; with a counter of higher rank they are neither.
        let ranked = octets.is_some_and(|at| matches!(fields[at].element, 1 | 23));
        let responder = match (is_reverse, ranked) {
            (true, _) => {
                let [octets, packets] =
                    [23, 24].map(|element| element::find(fields, 0, &[element], Width::Number));
                (Counter::Delta, octets, packets)
            }
            (false, true) => (Counter::Absent, None, None),
            (false, false) => counter(fields, 0, &[(232, 299, false)]),
        };
        let (reverse, octets, packets) = match responder {
            (Counter::Absent, ..) => counter(fields, REVERSE, &COUNTERS),
            responder => responder,
        };
        places[Slot::ReverseOctets as usize] = octets;
        places[Slot::ReversePackets as usize] = packets;
        if let Some(link) = section
            && forward == Counter::Absent
            && reverse == Counter::Absent
        {
            let lengths: &[u16] = if link == Link::Ip { &[312, 224] } else { &[312, 103] };
            forward = Counter::Sampled;
            places[Slot::Octets as usize] = element::find(fields, 0, lengths, Width::Number);
        }

        let clocks = clocks(fields, 0, &mut places, [Slot::Start, Slot::End, Slot::Duration]);
        let slots = [Slot::ReverseStart, Slot::ReverseEnd, Slot::ReverseDuration];
        let reverse_clocks = clocks_of_reverse(fields, &mut places, slots);
        let other_clocks = other_clocks(fields, clocks, &mut places);
        // A field that fills a first place fills no second one.
        for slot in Slot::OtherStart as usize..SLOTS {
            if places[..slot].contains(&places[slot]) {
                places[slot] = None;
            }
        }

        let has = |slot: Slot| places[slot as usize].is_some();
        let addresses = match (
            has(Slot::Source4) || has(Slot::Destination4),
            has(Slot::Source6) || has(Slot::Destination6),
        ) {
            (false, false) => Addresses::None,
            (true, false) => Addresses::V4,
            (false, true) => Addresses::V6,
            (true, true) => Addresses::Either,
        };
        let mut layout = Layout::new(fields, &places);
        ADDRESSES4.iter().for_each(|&slot| layout.require(slot as usize, 4));
        ADDRESSES6.iter().for_each(|&slot| layout.require(slot as usize, 16));
        Self {
            layout,
            forward,
            reverse,
            clocks,
            reverse_clocks,
            other_clocks,
            keys: (is_running(forward) || is_running(reverse)).then(|| Keys::compile(fields)),
            second_counters: matches!(
                forward,
                Counter::Delta | Counter::Running { .. } | Counter::RunningPackets
            ) && SECOND_COUNTERS.iter().any(|&slot| has(slot)),
            addresses,
            networks: tells_networks(fields, &places),
            section,
            rare: places[Slot::IcmpTypeCode as usize..Slot::OtherStart as usize].iter().any(Option::is_some),
            parameters: places[Slot::RandomInterval as usize..=Slot::TimeSpace as usize]
                .iter()
                .any(Option::is_some),
            both_ways: false,
            reversed: None,
        }
    }

    /// True where a record states when its flow began, so that the beginning of another flow can be told.
    pub(super) fn states_start(&self, context: &Context, row: &DataRow<'_>) -> bool {
        let (clocks, (first, last)) = self.stated(row);
        // So does the end with the duration.
        let lasted = || clocks.duration_divisor != 0 && row.number(Slot::Duration as usize) != 0;
        context.states(clocks.start, first, row)
            || clocks.start == Clock::Absent && lasted() && context.states(clocks.end, last, row)
    }

    /// The same of the reverse direction, which does not begin before the forward one.
    pub(super) fn states_reverse_start(&self, context: &Context, row: &DataRow<'_>) -> bool {
        let first = row.number(Slot::ReverseStart as usize);
        let own = |clocks: Clocks| context.states(clocks.start, first, row);
        self.reverse_clocks.is_some_and(own) || self.states_start(context, row)
    }

    /// Start and end of the record's reverse direction, and whether they had to be moved; `forward` are those of the
    /// other one.
    pub(super) fn reverse_span(&self, context: &Context, row: &DataRow<'_>, forward: Moved) -> Moved {
        let (clocks, (_, last)) = self.stated(row);
        match self.reverse_clocks {
            Some(reverse) => context.reverse_span((clocks, last), reverse, row, forward),
            None => forward,
        }
    }

    /// The same of its end.
    pub(super) fn states_end(&self, context: &Context, row: &DataRow<'_>) -> bool {
        let (clocks, (_, last)) = self.stated(row);
        // No microseconds before the export time is an end as well.
        clocks.end == Clock::DeltaMicros || context.states(clocks.end, last, row)
    }

    /// Octets of the fields that have the record's running totals of octets and packets, in one direction.
    pub(super) fn total_widths(row: &DataRow<'_>, is_reverse: bool) -> (u8, u8) {
        let (octets, packets) = if is_reverse {
            (Slot::ReverseOctets, Slot::ReversePackets)
        } else {
            (Slot::Octets, Slot::Packets)
        };
        (row.len(octets as usize), row.len(packets as usize))
    }

    /// Start and end of the flow exactly as the exporter states them, by its own clock and wherever they lie, the end before
    /// the start where the clock was set back meanwhile; `None` where they have to be told from the export time.
    pub(super) fn own_span(&self, context: &Context, row: &DataRow<'_>) -> Option<(UnixMillis, UnixMillis)> {
        let (clocks, (first, last)) = self.stated(row);
        context.own(clocks.start, first, row).zip(context.own(clocks.end, last, row))
    }

    /// The clocks by which a record states its times, and what it states. Absolute ones that are 0 state none: then those
    /// of the second places do.
    #[inline(always)]
    fn stated(&self, row: &DataRow<'_>) -> (Clocks, (u64, u64)) {
        let n = |slot: Slot| row.number(slot as usize);
        let (mut clocks, mut first, mut last) = (self.clocks, n(Slot::Start), n(Slot::End));
        if let Some(other) = self.other_clocks
            && n(Slot::OtherStart) | n(Slot::OtherEnd) != 0
        {
            if first == 0 && clocks.start.is_absolute() && other.start != Clock::Absent {
                (clocks.start, first) = (other.start, n(Slot::OtherStart));
            }
            if last == 0 && clocks.end.is_absolute() && other.end != Clock::Absent {
                (clocks.end, last) = (other.end, n(Slot::OtherEnd));
            }
        }
        (clocks, (first, last))
    }

    /// Start and end of a record, and whether they had to be moved.
    #[inline(always)]
    fn span(&self, context: &Context, row: &DataRow<'_>) -> Moved {
        let (clocks, raw) = self.stated(row);
        context.span(clocks, raw, row)
    }

    /// True where each of `count` records, which begin at `at` of `data`, has its octets in the counter of the highest rank
    /// that the template has.
    pub(super) fn counts_first(&self, (data, at): (&[u8], usize), count: usize) -> bool {
        let length = self.layout.length();
        let octets = |n| self.layout.row(data, at + n * length).number(Slot::Octets as usize);
        !self.second_counters || (0..count).all(|n| octets(n) != 0)
    }

    /// Which counters give the volume of a record: where those of the template's highest rank are 0 in both directions, the
    /// next ones that are not fill the flows.
    pub(super) fn counters(
        &self,
        row: &DataRow<'_>,
        (forward, reverse): (&mut FlowRecord, &mut FlowRecord),
    ) -> (Counter, Counter) {
        let n = |slot: Slot| row.number(slot as usize);
        let has = |slot: Slot| row.len(slot as usize) > 0;
        if !self.second_counters || forward.octets != Octets::ZERO || reverse.octets != Octets::ZERO {
            return (self.forward, self.reverse);
        }
        let fill = |flow: &mut FlowRecord, octets: Slot, packets: Slot| {
            flow.octets = Octets::new(n(octets));
            if has(packets) {
                flow.packets = Packets::new(n(packets));
            }
        };
        // A total of packets stays one, whichever octets it is beside.
        let has_total = self.forward == Counter::RunningPackets;
        if n(Slot::InitiatorOctets) | n(Slot::ResponderOctets) != 0 {
            let is_total = has_total && !has(Slot::InitiatorPackets);
            fill(forward, Slot::InitiatorOctets, Slot::InitiatorPackets);
            fill(reverse, Slot::ResponderOctets, Slot::ResponderPackets);
            let back = if has(Slot::ResponderOctets) { Counter::Delta } else { self.reverse };
            return (if is_total { self.forward } else { Counter::Delta }, back);
        } else if n(Slot::Layer2Octets) != 0 {
            forward.octets = Octets::new(n(Slot::Layer2Octets));
        } else {
            return (self.forward, self.reverse);
        }
        (if has_total { self.forward } else { Counter::Delta }, self.reverse)
    }

    /// True where the records need no more than [`Plan::flows`]: one direction, counted since the last record.
    pub(super) fn is_simple(&self) -> bool {
        self.layout.is_fixed()
            && self.forward == Counter::Delta
            && self.reverse == Counter::Absent
            && self.section.is_none()
    }

    /// Adds to `flow` what the packet section of the record says. False where nobody says how long the packet was.
    pub(super) fn read_section(&self, row: &DataRow<'_>, flow: &mut FlowRecord) -> bool {
        let Some(link) = self.section else { return true };
        let slot = if link == Link::Ip { Slot::PacketSection } else { Slot::FrameSection };
        let mut octets = row.octets(slot as usize);
        // A section of fixed length says how much of it is filled.
        let filled = row.number(Slot::SectionOctets as usize);
        if let Ok(filled @ 1..) = usize::try_from(filled) {
            octets = &octets[..filled.min(octets.len())];
        }
        // A section that begins somewhere else, or a frame that is not Ethernet, cannot be read.
        let is_readable = row.number(Slot::SectionOffset as usize) == 0
            && (link == Link::Ip || row.number(Slot::FrameType as usize) <= 1);
        let stated = (self.forward == Counter::Sampled && flow.octets != Octets::ZERO).then_some(flow.octets);
        let length = stated.and_then(|octets| u32::try_from(octets.as_u64()).ok());
        let frame = if is_readable { Frame::dissect(link, octets, length) } else { Frame::default() };
        frame.fill(flow);
        if self.forward != Counter::Sampled {
            if self.forward == Counter::Delta && row.len(Slot::Packets as usize) == 0 {
                flow.packets = Packets::new(1);
            }
            return true;
        }
        flow.packets = Packets::new(1);
        if flow.octets == Octets::ZERO {
            flow.octets = Octets::new(frame.octets.unwrap_or_default().into());
        }
        flow.octets != Octets::ZERO
    }

    /// The record's forward direction, with its counters as they are; and whether its times had to be moved.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a field wider than its element keeps the low octets"
    )]
    pub(super) fn flow(
        &self,
        context: &Context,
        (exporter, template): (ExporterId, u16),
        row: &DataRow<'_>,
    ) -> (FlowRecord, bool) {
        let n = |slot: Slot| row.number(slot as usize);
        let (start, end, moved) = self.span(context, row);
        let (family, source, destination, next_hop) = self.addresses(row);
        let mut flow = FlowRecord {
            source,
            destination,
            next_hop,
            octets: Octets::new(n(Slot::Octets)),
            packets: Packets::new(n(Slot::Packets)),
            start,
            end,
            sampler: SamplerRef::Unnamed,
            rate: SamplingRate::NOT_ANNOUNCED,
            domain: context.domain,
            input: interface(IfIndex(n(Slot::Input) as u32), n(Slot::PhysicalInput)),
            output: interface(IfIndex(n(Slot::Output) as u32), n(Slot::PhysicalOutput)),
            source_as: Asn(n(Slot::SourceAs) as u32),
            destination_as: Asn(n(Slot::DestinationAs) as u32),
            exporter,
            source_port: n(Slot::SourcePort) as u16,
            destination_port: n(Slot::DestinationPort) as u16,
            vlan: 0,
            template,
            tcp_flags: n(Slot::TcpFlags) as u16,
            family,
            protocol: n(Slot::Protocol) as u8,
            tos: n(Slot::Tos) as u8,
            source_mask: n(Slot::SourceMask) as u8,
            destination_mask: n(Slot::DestinationMask) as u8,
            forwarding_status: 0,
            observed: Observed::Unknown,
            networks: self.networks,
            second: false,
        };
        flow.unmap();
        if self.rare {
            rare(row, &mut flow);
        }
        if self.parameters {
            flow.sampler = own_sampling(row).unwrap_or(flow.sampler);
        }
        (flow, moved)
    }

    #[inline(always)]
    fn addresses(&self, row: &DataRow<'_>) -> (Family, Address, Address, Address) {
        let v4 = |slot: Slot| Address(u128::from(row.number(slot as usize)));
        let v6 = |slot: Slot| Address(row.wide(slot as usize));
        let is_v6 = match self.addresses {
            Addresses::None => return (Family::Other, Address(0), Address(0), Address(0)),
            Addresses::V4 => false,
            Addresses::V6 => true,
            Addresses::Either => match row.number(Slot::IpVersion as usize) {
                4 => false,
                6 => true,
                _ => v4(Slot::Source4).0 | v4(Slot::Destination4).0 == 0,
            },
        };
        if is_v6 {
            (Family::V6, v6(Slot::Source6), v6(Slot::Destination6), v6(Slot::NextHop6))
        } else {
            (Family::V4, v4(Slot::Source4), v4(Slot::Destination4), v4(Slot::NextHop4))
        }
    }
}

/// True where a template has prefixes (elements 44, 45, 169, 170) with their lengths, and no host addresses.
fn tells_networks(fields: &[FieldSpec], places: &[Option<usize>; SLOTS]) -> bool {
    let sides = [
        (Slot::Source4, Slot::SourceMask),
        (Slot::Destination4, Slot::DestinationMask),
        (Slot::Source6, Slot::SourceMask),
        (Slot::Destination6, Slot::DestinationMask),
    ];
    let mut told = sides
        .iter()
        .filter_map(|&(side, mask)| Some((fields[places[side as usize]?].element, places[mask as usize])))
        .peekable();
    told.peek().is_some()
        && told.all(|(element, mask)| matches!(element, 44 | 45 | 169 | 170) && mask.is_some())
}

/// Fills in what few templates have.
#[expect(clippy::cast_possible_truncation, reason = "a field wider than its element keeps the low octets")]
fn rare(row: &DataRow<'_>, flow: &mut FlowRecord) {
    let n = |slot: Slot| row.number(slot as usize);
    flow.vlan = n(Slot::Vlan) as u16;
    // v9 has one octet, IPFIX exporters up to four: the status is the lowest.
    flow.forwarding_status = n(Slot::Status) as u8;
    if matches!(row.len(Slot::ObservedAt as usize), 1..=8) {
        flow.observed = observed(n(Slot::ObservedAt));
    }
    icmp(row, flow);
    flow.sampler = stated_sampler(row);
}

/// An interface; where a record leaves it out, the physical one.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a field wider than its element keeps the low octets")]
fn interface(logical: IfIndex, physical: u64) -> IfIndex {
    if logical.0 == 0 { IfIndex(physical as u32) } else { logical }
}

/// Element 61.
fn observed(direction: u64) -> Observed {
    match direction {
        0 => Observed::Ingress,
        1 => Observed::Egress,
        _ => Observed::Unknown,
    }
}

/// Fills in type and code of ICMP where the port is not there that often says them.
#[expect(clippy::cast_possible_truncation, reason = "a field wider than its element keeps the low octets")]
fn icmp(row: &DataRow<'_>, flow: &mut FlowRecord) {
    let n = |slot: Slot| row.number(slot as usize);
    if flow.destination_port == 0 && matches!(flow.protocol, 1 | 58) {
        flow.destination_port = match n(Slot::IcmpTypeCode) {
            0 => (n(Slot::IcmpType) << 8 | n(Slot::IcmpCode)) as u16,
            type_and_code => type_and_code as u16,
        };
    }
}

/// The interval that a record states, or the sampler that it names, or the selection sequence. An interval of 0 says
/// nothing; sampler 0 is none.
fn stated_sampler(row: &DataRow<'_>) -> SamplerRef {
    let n = |slot: Slot| row.number(slot as usize);
    if let Some(rate) = SamplingRate::new(n(Slot::Interval), 1, RateSource::Record) {
        return SamplerRef::Stated(rate);
    }
    match [Slot::Sampler, Slot::Selector, Slot::Sequence].map(n) {
        [0, 0, 0] => {
            let has = |slot: Slot| row.len(slot as usize) != 0;
            if has(Slot::Sampler) || has(Slot::Selector) { SamplerRef::Zero } else { SamplerRef::Unnamed }
        }
        [0, 0, sequence] => SamplerRef::Sequence(sequence),
        [0, name, _] | [name, 0, _] => SamplerRef::Named(name),
        [sampler, selector, _] if sampler == selector => SamplerRef::Named(selector),
        // Who numbers samplers beyond 32 bits means none by element 48, which has 8 (IANA) or, in the field, up to 32.
        [sampler, selector, _] => u32::try_from(sampler)
            .map_or(SamplerRef::Named(selector), |sampler| SamplerRef::Either { sampler, selector }),
    }
}

/// What a record says of its own sampling, if anything. What can be read in two ways is a sampler 0, which nobody can
/// describe: the record waits for the operator's word.
#[cold]
fn own_sampling(row: &DataRow<'_>) -> Option<SamplerRef> {
    let n = |slot: Slot| row.number(slot as usize);
    let parameters = Parameters {
        interval: n(Slot::Interval),
        random_interval: n(Slot::RandomInterval),
        algorithm: n(Slot::Algorithm),
        packet_interval: n(Slot::PacketInterval),
        packet_space: options::stated(row, Slot::PacketSpace as usize),
        size: n(Slot::Size),
        population: n(Slot::Population),
        probability: options::probability(row, Slot::Probability as usize),
        by_time: n(Slot::TimeInterval) | n(Slot::TimeSpace) != 0,
    };
    let rate = || parameters.rate(RateSource::Record).map_or(SamplerRef::Named(0), SamplerRef::Stated);
    parameters.say_something().then(rate)
}

/// The first of `counters` that `fields` has: its kind, its place, and the place of its packets.
fn counter(
    fields: &[FieldSpec],
    enterprise: u32,
    counters: &[(u16, u16, bool)],
) -> (Counter, Option<usize>, Option<usize>) {
    let find = |element: u16| element::find(fields, enterprise, &[element], Width::Number);
    for &(octets, packets, running) in counters {
        if let Some(octets) = find(octets) {
            let own = find(packets);
            let kind = if running { Counter::Running { packets: own.is_some() } } else { Counter::Delta };
            let packets = own.or_else(|| find(2));
            // Octets of the whole direction and no packets of it but a total: that is read by difference.
            if !running
                && packets.is_none()
                && matches!(fields[octets].element, 1 | 352)
                && let Some(total) = find(86)
            {
                return (Counter::RunningPackets, Some(octets), Some(total));
            }
            return (kind, Some(octets), packets);
        }
    }
    (Counter::Absent, None, None)
}

/// The clocks of the elements of `enterprise`; start, end and duration go to the places `slots`.
fn clocks(
    fields: &[FieldSpec],
    enterprise: u32,
    places: &mut [Option<usize>; SLOTS],
    slots: [Slot; 3],
) -> Clocks {
    let [start_slot, end_slot, duration_slot] = slots.map(|slot| slot as usize);
    let (start, at) = clock(fields, enterprise, &Clock::START);
    places[start_slot] = at;
    let (end, at) = clock(fields, enterprise, &Clock::END);
    places[end_slot] = at;
    places[duration_slot] = element::find(fields, enterprise, &[161, 162], Width::Number);
    let duration = places[duration_slot].map(|at| fields[at].element);
    let duration_divisor = duration.map_or(0, |element| if element == 161 { 1 } else { 1000 });
    Clocks { start, end, duration_divisor }
}

/// The clocks of the reverse direction; `None` where nothing tells its times.
fn clocks_of_reverse(
    fields: &[FieldSpec],
    places: &mut [Option<usize>; SLOTS],
    slots: [Slot; 3],
) -> Option<Clocks> {
    let clocks = clocks(fields, REVERSE, places, slots);
    let delay = element::find(fields, element::CERT, &[21], Width::Number);
    places[Slot::ReverseDelay as usize] = delay;
    (slots.iter().any(|&slot| places[slot as usize].is_some()) || delay.is_some()).then_some(clocks)
}

/// The first of `clocks` that `fields` has, with its place. NTP timestamps have eight octets.
fn clock(fields: &[FieldSpec], enterprise: u32, clocks: &[(u16, Clock)]) -> (Clock, Option<usize>) {
    let found = clocks.iter().find_map(|&(element, clock)| {
        let width = if clock == Clock::Ntp { Width::Exact(8) } else { Width::Number };
        element::find(fields, enterprise, &[element], width).map(|at| (clock, Some(at)))
    });
    found.unwrap_or((Clock::Absent, None))
}

/// The next clocks that `fields` has behind `first`; they go to the second places. `None`: there are none.
fn other_clocks(fields: &[FieldSpec], first: Clocks, places: &mut [Option<usize>; SLOTS]) -> Option<Clocks> {
    let next = |clocks: &[(u16, Clock)], taken: Option<usize>| {
        let found =
            clocks.iter().map(|&one| clock(fields, 0, &[one])).find(|&(_, at)| at.is_some() && at != taken);
        found.unwrap_or((Clock::Absent, None))
    };
    let (start, start_at) = next(&Clock::START, places[Slot::Start as usize]);
    let (end, end_at) = next(&Clock::END, places[Slot::End as usize]);
    places[Slot::OtherStart as usize] = start_at;
    places[Slot::OtherEnd as usize] = end_at;
    (start_at.is_some() || end_at.is_some()).then_some(Clocks { start, end, ..first })
}

fn is_running(counter: Counter) -> bool {
    matches!(counter, Counter::Running { .. } | Counter::RunningPackets)
}
