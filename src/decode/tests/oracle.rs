//! Another decoder, `netflow_parser`, on the same datagrams: the same records, the same numbers.

use netflow_parser::variable_versions::field_value::FieldValue;
use netflow_parser::variable_versions::ipfix::FlowSetBody as BodyX;
use netflow_parser::variable_versions::ipfix::lookup::IPFixField;
use netflow_parser::variable_versions::v9::FlowSetBody as Body9;
use netflow_parser::{NetflowPacket, NetflowParser};
use proptest::prelude::*;

use super::build::*;
use crate::flow::FlowRecord;

/// A record as both sides can tell it: source, destination, ports, protocol, input, output, packets, octets, start and end
/// in milliseconds since the epoch.
type Plain = [u128; 11];

/// The elements of [`Plain`], in its order; and what else may stand in some places: addresses of IPv6, and instants instead
/// of uptimes.
const ELEMENTS: [u16; 11] = [8, 12, 7, 11, 4, 10, 14, 2, 1, 22, 21];
const OTHERS: [(u16, usize); 4] = [(27, 0), (28, 1), (152, 9), (153, 10)];

fn ours(flow: &FlowRecord) -> Plain {
    [
        flow.source.0,
        flow.destination.0,
        flow.source_port.into(),
        flow.destination_port.into(),
        flow.protocol.into(),
        flow.input.0.into(),
        flow.output.0.into(),
        flow.packets.as_u64().into(),
        flow.octets.as_u64().into(),
        u128::try_from(flow.start.0).unwrap(),
        u128::try_from(flow.end.0).unwrap(),
    ]
}

/// The instant of an uptime in a datagram made at `seconds` and `uptime`.
fn instant(at: u128, seconds: u32, uptime: u32) -> u128 {
    u128::from(seconds) * 1000 + at - u128::from(uptime)
}

/// The number in a field of the other decoder, from its octets.
fn number(value: &FieldValue) -> u128 {
    let mut octets = Vec::new();
    value.write_be_bytes(&mut octets).unwrap();
    octets.iter().fold(0, |number, &octet| number << 8 | u128::from(octet))
}

/// The place of an element among [`ELEMENTS`].
fn place(element: u16) -> Option<usize> {
    let other = OTHERS.iter().find(|(other, _)| *other == element).map(|(_, at)| *at);
    ELEMENTS.iter().position(|&known| known == element).or(other)
}

fn plain(fields: impl Iterator<Item = (u16, u128)>) -> Plain {
    let mut plain = [0; 11];
    for (element, number) in fields {
        if let Some(at) = place(element) {
            plain[at] = number;
        }
    }
    plain
}

/// The number of an IPFIX element of the other decoder, if it is one of ours.
fn element(id: &IPFixField) -> u16 {
    let others = OTHERS.map(|(element, _)| element);
    let mut numbers = ELEMENTS.into_iter().chain(others);
    numbers.find(|&number| IPFixField::new(number, None) == *id).unwrap_or_default()
}

fn theirs(parser: &mut NetflowParser, datagram: &[u8]) -> Vec<Plain> {
    let mut found = Vec::new();
    for packet in parser.parse_bytes(datagram).packets {
        match packet {
            NetflowPacket::V5(v5) => found.extend(v5.flowsets.iter().map(|flow| {
                let at = |uptime: u32| instant(uptime.into(), v5.header.unix_secs, v5.header.sys_up_time);
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
                    at(flow.first),
                    at(flow.last),
                ]
            })),
            NetflowPacket::V7(v7) => found.extend(v7.flowsets.iter().map(|flow| {
                let at = |uptime: u32| instant(uptime.into(), v7.header.unix_secs, v7.header.sys_up_time);
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
                    at(flow.first),
                    at(flow.last),
                ]
            })),
            NetflowPacket::V9(v9) => {
                for set in v9.flowsets {
                    let Body9::Data(data) = set.body else { continue };
                    for record in &data.fields {
                        let mut plain =
                            plain(record.iter().map(|(id, value)| (u16::from(*id), number(value))));
                        for uptime in &mut plain[9..] {
                            *uptime = instant(*uptime, v9.header.unix_secs, v9.header.sys_up_time);
                        }
                        found.push(plain);
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
fn fields(is_ipfix: bool, is_v6: bool) -> impl Strategy<Value = Vec<(u64, u16)>> {
    let sizes = (1..=4_u16, 1..=4_u16, 1..=8_u16, 1..=8_u16);
    let order = Just((0..13_usize).collect::<Vec<_>>()).prop_shuffle();
    let [source, destination] = if is_v6 { [(27, 16), (28, 16)] } else { [(8, 4), (12, 4)] };
    let [start, end] = if is_ipfix { [(152, 8), (153, 8)] } else { [(22, 4), (21, 4)] };
    (sizes, order).prop_map(move |((input, output, packets, octets), order)| {
        let all = [
            source,
            destination,
            (7, 2),
            (11, 2),
            (4, 1),
            (10, input),
            (14, output),
            (2, packets),
            (1, octets),
            (5, 1),
            (16, 4),
            start,
            end,
        ];
        order.into_iter().map(|at| all[at]).collect()
    })
}

/// A flow ended so many milliseconds before its export and began so many before that, well within the hour that is
/// believed: another test's matter are those beyond.
fn ago(end: u64, duration: u64) -> [u64; 2] {
    let end = end % 60_000;
    [end + duration % 300_000, end]
}

fn record(fields: &[(u64, u16)], values: &[u64]) -> Octets {
    let [start, end] = ago(values[11], values[12]);
    fields.iter().zip(values).fold(octets(), |body, (&(element, len), &n)| match element {
        22 => body.uint(u64::from(UPTIME) - start, 4),
        21 => body.uint(u64::from(UPTIME) - end, 4),
        152 => body.uint(EXPORT_MS.cast_unsigned() - start, 8),
        153 => body.uint(EXPORT_MS.cast_unsigned() - end, 8),
        27 | 28 => body.u64(n.rotate_left(23)).u64(n),
        // What is too great is implausible, and another test's matter.
        _ if len >= 6 => body.uint(n & ((1 << 47) - 1), len.into()),
        _ => body.uint(n & ((1 << (8 * u64::from(len))) - 1), len.into()),
    })
}

/// A record of v5 or v7 of any octets but for its times, which are in octets 24 to 31.
fn timed(mut record: Vec<u8>) -> Octets {
    let word = |at: usize| u64::from(u32::from_be_bytes(record[at..at + 4].try_into().unwrap()));
    let [start, end] = ago(word(28), word(24)).map(|ago| UPTIME - u32::try_from(ago).unwrap());
    record[24..28].copy_from_slice(&start.to_be_bytes());
    record[28..32].copy_from_slice(&end.to_be_bytes());
    Octets(record)
}

proptest! {
    #[test]
    fn v9_and_ipfix_read_alike(
        (is_ipfix, fields) in any::<(bool, bool)>()
            .prop_flat_map(|(is_ipfix, is_v6)| (Just(is_ipfix), fields(is_ipfix, is_v6))),
        values in prop::collection::vec(prop::collection::vec(any::<u64>(), 13), 1..6),
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
        let records: Vec<Octets> = records.into_iter().map(timed).collect();
        let datagram = v5(0, 1, 0, &records);
        let ours: Vec<Plain> = decoded(std::slice::from_ref(&datagram)).out.records.iter().map(ours).collect();
        prop_assert_eq!(ours, theirs(&mut NetflowParser::default(), &datagram));
    }

    #[test]
    fn v7_reads_alike(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 52), 1..28)) {
        let records: Vec<Octets> = records.into_iter().map(timed).collect();
        let datagram = v7(0, 0, &records);
        let ours: Vec<Plain> = decoded(std::slice::from_ref(&datagram)).out.records.iter().map(ours).collect();
        prop_assert_eq!(ours, theirs(&mut NetflowParser::default(), &datagram));
    }
}
