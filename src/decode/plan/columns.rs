//! The records of a set at once, a field at a time.
//!
//! Which fields a template has, and how wide each is, is the same for all records of a set. So that is asked once a field
//! and set, and what remains is a loop of one load and one store a record. It says of each record what [`Plan::flow`]
//! says.

use super::{Addresses, Plan, SLOTS, Slot, icmp, interface, observed, own_sampling, stated_sampler};
use crate::decode::clock::Context;
use crate::decode::layout::Layout;
use crate::flow::{Address, Family, FlowRecord};
use crate::ids::ExporterId;
use crate::units::{Asn, IfIndex, Octets, Packets};

/// What the records of a set come to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::decode) struct Sums {
    /// Octets and packets, modulo 2^64.
    pub(in crate::decode) octets: u64,
    pub(in crate::decode) packets: u64,
    /// Every bit that any counter of them has.
    pub(in crate::decode) all_bits: u64,
    /// Records whose times had to be moved.
    pub(in crate::decode) clamped: u64,
}

impl Plan {
    /// Appends the flows of `count` records, which begin at `at` of `data`, to `out`; for plans that are simple.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a field wider than its element keeps the low octets"
    )]
    pub(in crate::decode) fn flows(
        &self,
        context: &Context,
        (exporter, template): (ExporterId, u16),
        (data, at): (&[u8], usize),
        count: usize,
        out: &mut Vec<FlowRecord>,
    ) -> Sums {
        let length = self.layout.length();
        let from = out.len();
        let blank = FlowRecord {
            exporter,
            domain: context.domain,
            template,
            family: match self.addresses {
                Addresses::None | Addresses::Either => Family::Other,
                Addresses::V4 => Family::V4,
                Addresses::V6 => Family::V6,
            },
            networks: self.networks,
            ..FlowRecord::default()
        };
        out.resize(from + count, blank);
        let flows = &mut out[from..];
        let mut sums = Sums::default();
        let mut columns = Columns { records: &data[at..at + count * length], layout: &self.layout, flows };

        columns.numbers(Slot::Octets, |flow, n| {
            flow.octets = Octets::new(n);
            sums.octets = sums.octets.wrapping_add(n);
            sums.all_bits |= n;
        });
        columns.numbers(Slot::Packets, |flow, n| {
            flow.packets = Packets::new(n);
            sums.packets = sums.packets.wrapping_add(n);
            sums.all_bits |= n;
        });
        columns.numbers(Slot::SourcePort, |flow, n| flow.source_port = n as u16);
        columns.numbers(Slot::DestinationPort, |flow, n| flow.destination_port = n as u16);
        columns.numbers(Slot::Protocol, |flow, n| flow.protocol = n as u8);
        columns.numbers(Slot::Tos, |flow, n| flow.tos = n as u8);
        columns.numbers(Slot::TcpFlags, |flow, n| flow.tcp_flags = n as u16);
        columns.numbers(Slot::Input, |flow, n| flow.input = IfIndex(n as u32));
        columns.numbers(Slot::Output, |flow, n| flow.output = IfIndex(n as u32));
        columns.numbers(Slot::PhysicalInput, |flow, n| flow.input = interface(flow.input, n));
        columns.numbers(Slot::PhysicalOutput, |flow, n| flow.output = interface(flow.output, n));
        columns.numbers(Slot::SourceAs, |flow, n| flow.source_as = Asn(n as u32));
        columns.numbers(Slot::DestinationAs, |flow, n| flow.destination_as = Asn(n as u32));
        columns.numbers(Slot::SourceMask, |flow, n| flow.source_mask = n as u8);
        columns.numbers(Slot::DestinationMask, |flow, n| flow.destination_mask = n as u8);
        match self.addresses {
            Addresses::None | Addresses::Either => {}
            Addresses::V4 => {
                columns.numbers(Slot::Source4, |flow, n| flow.source = Address(n.into()));
                columns.numbers(Slot::Destination4, |flow, n| flow.destination = Address(n.into()));
                columns.numbers(Slot::NextHop4, |flow, n| flow.next_hop = Address(n.into()));
            }
            Addresses::V6 => {
                columns.addresses(Slot::Source6, |flow, address| flow.source = address);
                columns.addresses(Slot::Destination6, |flow, address| flow.destination = address);
                columns.addresses(Slot::NextHop6, |flow, address| flow.next_hop = address);
            }
        }
        if self.rare {
            columns.numbers(Slot::Vlan, |flow, n| flow.vlan = n as u16);
            columns.numbers(Slot::Status, |flow, n| flow.forwarding_status = n as u8);
            columns.numbers(Slot::ObservedAt, |flow, n| flow.observed = observed(n));
        }
        // What takes more than one field of a record is read record by record.
        let has = |slots: &[Slot]| slots.iter().any(|&slot| self.layout.place(slot as usize).is_some());
        let icmp_type = has(&[Slot::IcmpTypeCode, Slot::IcmpType, Slot::IcmpCode]);
        let sampler = has(&[Slot::Interval, Slot::Sampler, Slot::Selector, Slot::Sequence]);
        let rows = (0..count).map(|n| self.layout.row(data, at + n * length));
        for (flow, row) in columns.flows.iter_mut().zip(rows) {
            let (start, end, moved) = self.span(context, &row);
            (flow.start, flow.end) = (start, end);
            sums.clamped += u64::from(moved);
            if self.addresses == Addresses::Either {
                (flow.family, flow.source, flow.destination, flow.next_hop) = self.addresses(&row);
            }
            if self.addresses != Addresses::V4 {
                flow.unmap();
            }
            if icmp_type {
                icmp(&row, flow);
            }
            if sampler {
                flow.sampler = stated_sampler(&row);
            }
            if self.parameters {
                flow.sampler = own_sampling(&row).unwrap_or(flow.sampler);
            }
        }
        sums
    }
}

/// The records of a set, and the flows that they are to become.
struct Columns<'a> {
    /// As many whole records as there are flows.
    records: &'a [u8],
    layout: &'a Layout<SLOTS>,
    flows: &'a mut [FlowRecord],
}

impl Columns<'_> {
    /// Hands the number that each record has in a place to `set`; nothing where the template has none.
    #[inline(always)]
    fn numbers(&mut self, slot: Slot, mut set: impl FnMut(&mut FlowRecord, u64)) {
        let Some((at, octets)) = self.layout.place(slot as usize) else { return };
        match octets {
            1 => self.each(at, |flow, [octet]| set(flow, octet.into())),
            2 => self.each(at, |flow, octets| set(flow, u16::from_be_bytes(octets).into())),
            4 => self.each(at, |flow, octets| set(flow, u32::from_be_bytes(octets).into())),
            8 => self.each(at, |flow, octets| set(flow, u64::from_be_bytes(octets))),
            _ => self.each_reduced(at, octets, &mut set),
        }
    }

    /// The same for addresses of IPv6.
    #[inline(always)]
    fn addresses(&mut self, slot: Slot, mut set: impl FnMut(&mut FlowRecord, Address)) {
        if let Some((at, 16)) = self.layout.place(slot as usize) {
            self.each(at, |flow, octets| set(flow, Address(u128::from_be_bytes(octets))));
        }
    }

    /// Hands `N` octets of each record to `set`.
    #[inline(always)]
    fn each<const N: usize>(&mut self, at: usize, mut set: impl FnMut(&mut FlowRecord, [u8; N])) {
        let length = self.layout.length();
        // Asked here, and so for none of the records again.
        if at + N > length {
            return;
        }
        for (flow, record) in self.flows.iter_mut().zip(self.records.chunks_exact(length)) {
            let octets = record[at..at + N].first_chunk().expect("as many as were cut out");
            set(flow, *octets);
        }
    }

    /// Numbers of other widths (reduced-size encoding, RFC 7011 6.2).
    #[cold]
    fn each_reduced(&mut self, at: usize, octets: usize, set: &mut dyn FnMut(&mut FlowRecord, u64)) {
        if octets > 8 {
            return;
        }
        let records = self.records.chunks_exact(self.layout.length());
        for (flow, record) in self.flows.iter_mut().zip(records) {
            let octets = record.get(at..at + octets).unwrap_or_default();
            set(flow, octets.iter().fold(0, |number, &octet| number << 8 | u64::from(octet)));
        }
    }
}

#[cfg(test)]
mod tests;
