//! Another decoder, `netflow_parser`, on the same datagrams: the same records, the same numbers.

use netflow_parser::variable_versions::field_value::FieldValue;
use netflow_parser::variable_versions::ipfix::FlowSetBody as BodyX;
use netflow_parser::variable_versions::ipfix::lookup::IPFixField;
use netflow_parser::variable_versions::v9::FlowSetBody as Body9;
use netflow_parser::{NetflowPacket, NetflowParser};
use proptest::prelude::*;

use super::build::*;
use crate::flow::FlowRecord;

/// A record as both sides can tell it: source, destination, ports, protocol, input, output, packets, octets.
type Plain = [u64; 9];

/// The elements of [`Plain`], in its order.
const ELEMENTS: [u64; 9] = [8, 12, 7, 11, 4, 10, 14, 2, 1];

fn ours(flow: &FlowRecord) -> Plain {
    [
        u64::try_from(flow.source.0).unwrap(),
        u64::try_from(flow.destination.0).unwrap(),
        flow.source_port.into(),
        flow.destination_port.into(),
        flow.protocol.into(),
        flow.input.0.into(),
        flow.output.0.into(),
        flow.packets.as_u64(),
        flow.octets.as_u64(),
    ]
}

/// The number in a field of the other decoder, from its octets.
fn number(value: &FieldValue) -> u64 {
    let mut octets = Vec::new();
    value.write_be_bytes(&mut octets).unwrap();
    octets.iter().fold(0, |number, &octet| number << 8 | u64::from(octet))
}

fn plain(fields: impl Iterator<Item = (u16, u64)>) -> Plain {
    let mut plain = [0; 9];
    for (element, number) in fields {
        if let Some(at) = ELEMENTS.iter().position(|&known| known == u64::from(element)) {
            plain[at] = number;
        }
    }
    plain
}

/// The number of an IPFIX element of the other decoder, if it is one of ours.
fn element(id: &IPFixField) -> u16 {
    let numbers = ELEMENTS.map(|element| u16::try_from(element).unwrap());
    numbers.into_iter().find(|&number| IPFixField::new(number, None) == *id).unwrap_or_default()
}

fn theirs(parser: &mut NetflowParser, datagram: &[u8]) -> Vec<Plain> {
    let mut found = Vec::new();
    for packet in parser.parse_bytes(datagram).packets {
        match packet {
            NetflowPacket::V5(v5) => found.extend(v5.flowsets.iter().map(|flow| {
                [
                    u32::from(flow.src_addr).into(),
                    u32::from(flow.dst_addr).into(),
                    flow.src_port.into(),
                    flow.dst_port.into(),
                    flow.protocol_number.into(),
                    flow.input.into(),
                    flow.output.into(),
                    flow.d_pkts.into(),
                    flow.d_octets.into(),
                ]
            })),
            NetflowPacket::V7(v7) => found.extend(v7.flowsets.iter().map(|flow| {
                [
                    u32::from(flow.src_addr).into(),
                    u32::from(flow.dst_addr).into(),
                    flow.src_port.into(),
                    flow.dst_port.into(),
                    flow.protocol_number.into(),
                    flow.input.into(),
                    flow.output.into(),
                    flow.d_pkts.into(),
                    flow.d_octets.into(),
                ]
            })),
            NetflowPacket::V9(v9) => {
                for set in v9.flowsets {
                    let Body9::Data(data) = set.body else { continue };
                    for record in &data.fields {
                        found.push(plain(record.iter().map(|(id, value)| (u16::from(*id), number(value)))));
                    }
                }
            }
            NetflowPacket::IPFix(ipfix) => {
                for set in ipfix.flowsets {
                    let BodyX::Data(data) = set.body else { continue };
                    for record in &data.fields {
                        found.push(plain(record.iter().map(|(id, value)| (element(id), number(value)))));
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// A template of these elements in some order, with sizes that they may have, and others between them.
fn fields() -> impl Strategy<Value = Vec<(u64, u16)>> {
    let sizes = (1..=4_u16, 1..=4_u16, 1..=8_u16, 1..=8_u16);
    let order = Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle();
    (sizes, order).prop_map(|((input, output, packets, octets), order)| {
        let all = [
            (8, 4),
            (12, 4),
            (7, 2),
            (11, 2),
            (4, 1),
            (10, input),
            (14, output),
            (2, packets),
            (1, octets),
            (5, 1),
            (16, 4),
            (22, 4),
        ];
        order.into_iter().map(|at| all[at]).collect()
    })
}

fn record(fields: &[(u64, u16)], values: &[u64]) -> Octets {
    fields.iter().zip(values).fold(octets(), |body, (&(_, len), &n)| {
        // What is too great is implausible, and another test's matter.
        let mask = if len >= 6 { (1 << 47) - 1 } else { (1 << (8 * u64::from(len))) - 1 };
        body.uint(n & mask, len.into())
    })
}

proptest! {
    #[test]
    fn v9_and_ipfix_read_alike(
        fields in fields(),
        values in prop::collection::vec(prop::collection::vec(any::<u64>(), 12), 1..6),
        is_ipfix in any::<bool>(),
    ) {
        let body = values.iter().fold(octets(), |body, values| body.bytes(&record(&fields, values).0));
        let datagram = if is_ipfix {
            ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)])
        } else {
            v9(0, 1, &[set(0, template(300, &fields)), set(300, body)])
        };
        let collector = decoded(std::slice::from_ref(&datagram));
        let ours: Vec<Plain> = collector.out.records.iter().map(ours).collect();
        prop_assert_eq!(ours.len(), values.len());
        prop_assert_eq!(ours, theirs(&mut NetflowParser::default(), &datagram));
    }

    #[test]
    fn v5_reads_alike(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 48), 1..30)) {
        let records: Vec<Octets> = records.into_iter().map(Octets).collect();
        let datagram = v5(0, 1, 0, &records);
        let ours: Vec<Plain> = decoded(std::slice::from_ref(&datagram)).out.records.iter().map(ours).collect();
        prop_assert_eq!(ours, theirs(&mut NetflowParser::default(), &datagram));
    }

    #[test]
    fn v7_reads_alike(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 52), 1..28)) {
        let records: Vec<Octets> = records.into_iter().map(Octets).collect();
        let datagram = v7(0, 0, &records);
        let ours: Vec<Plain> = decoded(std::slice::from_ref(&datagram)).out.records.iter().map(ours).collect();
        prop_assert_eq!(ours, theirs(&mut NetflowParser::default(), &datagram));
    }
}
