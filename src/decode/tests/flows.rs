//! What the records say: volumes by the counter rule, ends, interfaces, samplers.

use super::build::*;
use crate::decode::Counts;
use crate::exporter::OutCounters;
use crate::flow::{Address, Family, FlowRecord, Observed, SamplerRef};
use crate::ids::ExporterId;
use crate::units::{Asn, IfIndex, RateSource, SamplingRate, UnixMillis};

/// Decodes one IPFIX record of `fields` with `values` and gives packets and octets of its flows, and the counts.
fn volume_of(fields: &[(u64, u16)], values: &[u64]) -> (Vec<(u64, u64)>, Counts) {
    let body = fields.iter().zip(values).fold(octets(), |body, (&(_, len), &n)| body.uint(n, len.into()));
    let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, fields)), set(300, body)])]);
    (collector.volumes(), collector.counts())
}

#[test]
fn a_v5_record_field_by_field() {
    let collector = decoded(&[v5(100, 0x0203, 0x4000 | 1000, &[v5_record(31, 3989)])]);
    let flow = collector.out.records[0];
    assert_eq!(flow.source, Address(0x0a00_0001));
    assert_eq!(flow.destination, Address(0x0a00_0002));
    assert_eq!(flow.next_hop, Address(0x0a00_00fe));
    assert_eq!((flow.input, flow.output), (IfIndex(3), IfIndex(4)));
    assert_eq!((flow.packets.as_u64(), flow.octets.as_u64()), (31, 3989));
    assert_eq!((flow.start, flow.end), (UnixMillis(EXPORT_MS - 5000), UnixMillis(EXPORT_MS - 1000)));
    assert_eq!((flow.source_port, flow.destination_port), (1234, 443));
    assert_eq!((flow.tcp_flags, flow.protocol, flow.tos), (0x1b, 6, 0xb8));
    assert_eq!((flow.source_as, flow.destination_as), (Asn(65_001), Asn(65_002)));
    assert_eq!((flow.source_mask, flow.destination_mask), (24, 16));
    assert_eq!((flow.family, flow.domain, flow.exporter), (Family::V4, 0x0203, ExporterId(7)));
    let rate = SamplingRate::new(1000, 1, RateSource::Header).unwrap();
    assert_eq!(flow.sampler, SamplerRef::Stated(rate));
}

#[test]
fn a_v5_header_with_interval_1_states_that_every_packet_counts_and_with_0_states_nothing() {
    let unsampled = SamplerRef::Stated(SamplingRate::new(1, 1, RateSource::Header).unwrap());
    let silent = SamplerRef::Silent;
    for (word, expected) in [(0, silent), (1, unsampled), (0x4000, silent), (0x8001, unsampled)] {
        let collector = decoded(&[v5(0, 0, word, &[v5_record(1, 40)])]);
        assert_eq!(collector.out.records[0].sampler, expected);
    }
    // All 14 bits of the interval, none of the mode.
    let collector = decoded(&[v5(0, 0, 0xffff, &[v5_record(1, 40)])]);
    let SamplerRef::Stated(rate) = collector.out.records[0].sampler else { panic!() };
    assert_eq!((rate.numerator(), rate.denominator()), (16_383, 1));
}

#[test]
fn prefixes_with_their_lengths_are_networks() {
    let networks = |fields: &[(u64, u16)]| {
        let fields: Vec<_> = fields.iter().copied().chain([(1, 4), (2, 4)]).collect();
        let body = fields.iter().fold(octets(), |body, &(_, len)| body.uint(1, len.into()));
        decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)])]).out.records[0].networks
    };
    assert!(networks(&[(44, 4), (9, 1)]));
    assert!(networks(&[(45, 4), (13, 1)]));
    assert!(networks(&[(44, 4), (45, 4), (9, 1), (13, 1)]));
    assert!(networks(&[(170, 16), (169, 16), (29, 1), (30, 1)]));
    // Hosts, with the lengths of their routes or without; no addresses; a host beside a prefix; a length that is missing.
    assert!(!networks(&[(8, 4), (12, 4), (9, 1), (13, 1)]));
    assert!(!networks(&[(27, 16), (28, 16)]));
    assert!(!networks(&[]));
    assert!(!networks(&[(8, 4), (44, 4), (45, 4), (9, 1), (13, 1)]));
    assert!(!networks(&[(44, 4), (45, 4), (9, 1)]));
}

#[test]
fn a_v9_record_field_by_field() {
    let fields = [
        (8, 4),
        (12, 4),
        (15, 4),
        (10, 2),
        (14, 4),
        (2, 4),
        (1, 8),
        (22, 4),
        (21, 4),
        (7, 2),
        (11, 2),
        (6, 1),
        (4, 1),
        (5, 1),
        (16, 4),
        (17, 2),
        (9, 1),
        (13, 1),
        (58, 2),
        (89, 1),
        (61, 1),
        (48, 1),
    ];
    let record = octets()
        .u32(0xc000_0201)
        .u32(0xcb00_7101)
        .u32(0xc000_02fe)
        .u16(12)
        .u32(70_000)
        .u32(9)
        .u64(5_000_000_000)
        .u32(UPTIME - 61_000)
        .u32(UPTIME - 1000)
        .u16(53)
        .u16(33_000)
        .u8(0x12)
        .u8(17)
        .u8(8)
        .u32(4_200_000_000)
        .u16(65_000)
        .u8(24)
        .u8(25)
        .u16(101)
        .u8(0x80)
        .u8(1)
        .u8(3);
    let collector = decoded(&[v9(1, 42, &[set(0, template(256, &fields)), set(256, record)])]);
    let flow = collector.out.records[0];
    assert_eq!((flow.source, flow.destination), (Address(0xc000_0201), Address(0xcb00_7101)));
    assert_eq!((flow.next_hop, flow.family), (Address(0xc000_02fe), Family::V4));
    assert_eq!((flow.input, flow.output), (IfIndex(12), IfIndex(70_000)));
    assert_eq!((flow.packets.as_u64(), flow.octets.as_u64()), (9, 5_000_000_000));
    assert_eq!((flow.start, flow.end), (UnixMillis(EXPORT_MS - 61_000), UnixMillis(EXPORT_MS - 1000)));
    assert_eq!((flow.source_port, flow.destination_port), (53, 33_000));
    assert_eq!((flow.tcp_flags, flow.protocol, flow.tos), (0x12, 17, 8));
    assert_eq!((flow.source_as, flow.destination_as), (Asn(4_200_000_000), Asn(65_000)));
    assert_eq!((flow.source_mask, flow.destination_mask, flow.vlan), (24, 25, 101));
    assert!(flow.is_dropped());
    assert_eq!((flow.observed, flow.sampler), (Observed::Egress, SamplerRef::Named(3)));
    assert_eq!(flow.domain, 42);
}

#[test]
fn ipv6_and_records_with_places_for_both_families() {
    let (source, destination) = (0x2001_0db8_0001_u128 << 80 | 1, 0x2001_0db8_0002_u128 << 80 | 2);
    let v6 = |body: Octets| body.bytes(&source.to_be_bytes()).bytes(&destination.to_be_bytes());
    let only_v6 = set(2, template(300, &[(27, 16), (28, 16), (1, 4), (2, 4)]));
    let both = set(2, template(301, &[(8, 4), (12, 4), (27, 16), (28, 16), (1, 4)]));
    let told = set(2, template(302, &[(60, 1), (8, 4), (12, 4), (27, 16), (28, 16), (1, 4)]));
    let zeros = [0_u8; 32];
    let data = [
        set(300, v6(octets()).u32(10).u32(1)),
        set(301, v6(octets().u32(0).u32(0)).u32(20)),
        set(301, octets().u32(1).u32(2).bytes(&zeros).u32(30)),
        set(302, v6(octets().u8(6).u32(9).u32(9)).u32(40)),
    ];
    let sets: Vec<Octets> = [only_v6, both, told].into_iter().chain(data).collect();
    let collector = decoded(&[ipfix(0, 1, &sets)]);
    let ends: Vec<_> = collector
        .out
        .records
        .iter()
        .map(|f| (f.family, f.source.0, f.destination.0, f.octets.as_u64()))
        .collect();
    let six = |octets| (Family::V6, source, destination, octets);
    assert_eq!(ends, [six(10), six(20), (Family::V4, 1, 2, 30), six(40)]);
}

/// Both by one template of a simple layout and by one that has something rare.
#[test]
fn ipv4_addresses_in_fields_of_ipv6_are_ipv4_addresses() {
    let mapped = |last: u32| 0xffff_0000_0000 | u128::from(0xcb00_7100 | last);
    let global = 0x2001_0db8_0000_0000_0000_0000_0000_0001;
    for more in [&[][..], &[(58, 2)], &[(60, 1)]] {
        let fields = [&[(27, 16), (28, 16), (62, 16), (29, 1), (30, 1), (1, 4)], more].concat();
        let told = |[source, destination, next_hop]: [u128; 3], masks: [u8; 2]| {
            let body = octets().bytes(&source.to_be_bytes()).bytes(&destination.to_be_bytes());
            let body = body.bytes(&next_hop.to_be_bytes()).bytes(&masks).u32(1000);
            let body = more.iter().fold(body, |body, &(_, length)| body.uint(6, length.into()));
            let flow =
                decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)])]).out.records[0];
            (
                flow.family,
                [flow.source.0, flow.destination.0, flow.next_hop.0],
                [flow.source_mask, flow.destination_mask],
            )
        };
        let ends = [0xcb00_7101, 0xcb00_7102];
        let [source, destination] = [mapped(1), mapped(2)];
        assert_eq!(
            told([source, destination, mapped(9)], [120, 96]),
            (Family::V4, [ends[0], ends[1], 0xcb00_7109], [24, 0])
        );
        // Lengths as IPv4 has them, no next hop; one of another family; one end that nobody told.
        assert_eq!(told([source, destination, 0], [24, 32]), (Family::V4, [ends[0], ends[1], 0], [24, 32]));
        assert_eq!(told([source, destination, global], [24, 0]).1, [ends[0], ends[1], 0]);
        assert_eq!(told([0, destination, 0], [0, 0]), (Family::V4, [0, ends[1], 0], [0, 0]));
        // An address of IPv6 is none of IPv4, and nor is nothing at all.
        assert_eq!(
            told([global, destination, 0], [64, 120]),
            (Family::V6, [global, destination, 0], [64, 120])
        );
        assert_eq!(told([0, 0, mapped(9)], [0, 0]), (Family::V6, [0, 0, mapped(9)], [0, 0]));
    }
}

#[test]
fn reduced_sizes_of_1_to_8_octets() {
    for len in 1..=8_u16 {
        let (volumes, _) = volume_of(&[(1, len), (2, len)], &[200 + u64::from(len), u64::from(len)]);
        assert_eq!(volumes, [(u64::from(len), 200 + u64::from(len))]);
    }
    let (volumes, _) = volume_of(&[(1, 3), (2, 5)], &[0x01_02_03, 0x01_0000_0000]);
    assert_eq!(volumes, [(0x01_0000_0000, 0x01_02_03)]);
}

#[test]
fn one_octet_counter_a_direction_is_believed_in_this_order() {
    /// Fields, their values, and the packets and octets that come of them.
    type Case = (&'static [(u64, u16)], &'static [u64], &'static [(u64, u64)]);
    let cases: &[Case] = &[
        // In and out counters of the same packets.
        (&[(1, 4), (2, 4), (23, 4), (24, 4)], &[1000, 10, 900, 9], &[(10, 1000)]),
        (&[(23, 4), (24, 4), (352, 4), (2, 4)], &[900, 9, 1100, 10], &[(9, 900)]),
        (&[(231, 4), (298, 4), (85, 4), (86, 4)], &[500, 5, 7000, 70], &[(5, 500)]),
        (&[(85, 4), (86, 4), (352, 4)], &[700, 7, 800], &[(7, 700)]),
        (&[(352, 8), (2, 8)], &[64, 1], &[(1, 64)]),
        (&[(352, 8), (1, 4), (2, 8)], &[64, 46, 1], &[(1, 46)]),
        // With a counter of a higher rank, the responder's is no second direction.
        (&[(1, 4), (2, 4), (232, 4), (299, 4)], &[10, 1, 20, 2], &[(1, 10)]),
        // A counter of no length is none.
        (&[(1, 0), (23, 4), (24, 4)], &[0, 900, 9], &[(9, 900)]),
    ];
    for (fields, values, expected) in cases {
        assert_eq!(volume_of(fields, values).0, *expected, "{fields:?}");
    }
}

#[test]
fn where_the_counter_of_the_highest_rank_is_0_the_next_one_counts() {
    /// Fields, their values, and the packets and octets that come of them.
    type Case<'a> = (&'a [(u64, u16)], &'a [u64], &'a [(u64, u64)]);
    let reverse = |element| enterprise(29_305, element);
    let cases: [Case<'_>; 10] = [
        // The same flow on its way out, which was counted on its way in.
        (&[(1, 4), (2, 4), (23, 4), (24, 4)], &[0, 0, 900, 9], &[(0, 0)]),
        (&[(1, 4), (2, 4), (352, 4)], &[0, 5, 900], &[(5, 900)]),
        (&[(1, 4), (2, 4), (352, 4)], &[0, 5, 0], &[(5, 0)]),
        (&[(1, 4), (231, 4), (298, 4), (232, 4), (299, 4)], &[0, 500, 5, 70, 1], &[(5, 500), (1, 70)]),
        (&[(1, 4), (232, 4), (299, 4)], &[0, 70, 1], &[(1, 70)]),
        (&[(1, 4), (85, 8), (86, 8)], &[0, 5000, 50], &[(0, 0)]),
        (&[(352, 8), (1, 4), (2, 8)], &[640, 0, 10], &[(10, 640)]),
        (&[(85, 4), (352, 4), (2, 4)], &[0, 64, 1], &[(1, 64)]),
        (&[(23, 4), (231, 4), (85, 4), (352, 4)], &[0, 0, 0, 64], &[(0, 64)]),
        // The reverse direction of the highest rank is of that rank, too.
        (&[(1, 4), (2, 4), (reverse(1), 4), (reverse(2), 4), (352, 4)], &[0, 0, 70, 1, 900], &[(1, 70)]),
    ];
    for (fields, values, expected) in cases {
        assert_eq!(volume_of(fields, values).0, *expected, "{fields:?}");
    }
    // Each record by itself.
    let fields = [(1, 4), (2, 4), (231, 4), (298, 4)];
    let record = |values: [u32; 4]| values.iter().fold(octets(), |body, &n| body.u32(n));
    let body = [[1000, 10, 900, 9], [0, 0, 800, 8], [500, 5, 0, 0]];
    let body = body.into_iter().fold(octets(), |body, values| body.bytes(&record(values).0));
    let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)])]);
    assert_eq!(collector.volumes(), [(10, 1000), (8, 800), (5, 500)]);
}

#[test]
fn records_without_octet_counter_are_not_volume_and_events_with_one_are() {
    let (volumes, counts) = volume_of(&[(8, 4), (12, 4), (230, 1), (225, 4)], &[1, 2, 1, 3]);
    assert_eq!((volumes.len(), counts.records, counts.not_volume, counts.flows_emitted), (0, 1, 1, 0));
    let (volumes, counts) = volume_of(&[(8, 4), (230, 1), (1, 4), (2, 4)], &[1, 1, 1500, 1]);
    assert_eq!((volumes, counts.not_volume), (vec![(1, 1500)], 0));
    let (volumes, counts) = volume_of(&[(8, 4), (2, 4)], &[1, 12]);
    assert_eq!((volumes.len(), counts.not_volume), (0, 1));
}

#[test]
fn a_biflow_becomes_two_flows_with_ends_and_interfaces_swapped() {
    let reverse = |element| enterprise(29_305, element);
    let fields = [
        (8, 4),
        (12, 4),
        (7, 2),
        (11, 2),
        (4, 1),
        (10, 4),
        (14, 4),
        (61, 1),
        (1, 8),
        (2, 4),
        (reverse(1), 4),
        (reverse(2), 8),
    ];
    let record = octets().u32(1).u32(2).u16(5000).u16(80).u8(6).u32(11).u32(12).u8(0);
    let record = record.u64(5000).u32(5).u32(700).u64(3);
    let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, record)])]);
    let [forward, back] = collector.out.records[..] else { panic!() };
    assert_eq!((forward.packets.as_u64(), forward.octets.as_u64()), (5, 5000));
    assert_eq!((back.packets.as_u64(), back.octets.as_u64()), (3, 700));
    assert_eq!((back.source, back.destination), (Address(2), Address(1)));
    assert_eq!((back.source_port, back.destination_port), (80, 5000));
    assert_eq!((back.input, back.output), (IfIndex(12), IfIndex(11)));
    assert_eq!((forward.observed, back.observed), (Observed::Ingress, Observed::Egress));
    assert_eq!((back.start, back.end), (forward.start, forward.end));
    let counts = collector.counts();
    assert_eq!((counts.records, counts.flows_emitted, counts.raw_octets), (1, 2, 5700));
}

#[test]
fn an_empty_side_of_a_biflow_is_left_out_where_the_other_has_volume() {
    let fields = [(231, 4), (232, 4), (298, 4), (299, 4)];
    for (values, expected) in [
        ([100, 50, 2, 1], vec![(2, 100), (1, 50)]),
        ([100, 0, 2, 0], vec![(2, 100)]),
        ([0, 50, 0, 1], vec![(1, 50)]),
        ([0, 0, 0, 0], vec![(0, 0)]),
        ([100, 0, 2, 1], vec![(2, 100), (1, 0)]),
    ] {
        let (volumes, counts) = volume_of(&fields, &values);
        assert_eq!((volumes, counts.records), (expected, 1));
    }
    // A responder without an initiator is the reverse direction.
    assert_eq!(volume_of(&[(232, 4), (299, 4)], &[50, 1]).0, [(1, 50)]);
}

#[test]
fn running_totals_count_by_difference() {
    let fields = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (85, 8), (86, 8), (136, 1), (151, 4)];
    // The flow's end, in seconds before the export, goes with each record.
    let at = |before: u32, port: u16, total: u64, packets: u64, reason: u8| {
        let flow = octets().u32(1).u32(2).u16(port).u16(443).u8(6).u64(total).u64(packets).u8(reason);
        flow.u32(u32::try_from(EXPORT_MS / 1000).unwrap() - before)
    };
    let record = |port, total, packets, reason| at(50, port, total, packets, reason);
    let mut collector = decoded(&[ipfix(0, 1, &[set(2, template(405, &fields))])]);
    let mut send = |n: u32, record: Octets| {
        collector.out.records.clear();
        collector.take(&ipfix(n, 1, &[set(405, record)])).unwrap();
        collector.volumes()[0]
    };
    assert_eq!(send(0, record(9, 1000, 1, 2)), (1, 1000));
    assert_eq!(send(1, record(9, 2500, 3, 2)), (2, 1500));
    assert_eq!(send(2, record(10, 70, 1, 2)), (1, 70), "another flow");
    assert_eq!(send(3, record(9, 4000, 4, 2)), (1, 1500));
    assert_eq!(send(4, record(9, 4000, 4, 2)), (0, 0));
    assert_eq!(send(5, at(60, 9, 3000, 3, 2)), (0, 0), "overtaken on the way");
    assert_eq!(send(6, record(9, 4200, 5, 2)), (1, 200), "and it changed nothing");
    assert_eq!(send(7, at(40, 9, 300, 2, 2)), (2, 300), "counted anew");
    assert_eq!(send(8, at(40, 9, 500, 3, 3)), (1, 200), "the end of the flow");
    assert_eq!(send(9, at(40, 9, 900, 9, 2)), (9, 900), "a new flow on the same key");
}

/// Exporters that end a flow at the active timeout (YAF) count what follows from 0: it is another flow, which the same
/// key and a total that is no smaller do not tell, but the time at which it began.
#[test]
fn a_flow_that_began_after_the_last_one_on_its_key_counts_whole() {
    const BEGUN: u64 = EXPORT_MS as u64 - 1_000_000;
    let fields = [(152, 8), (153, 8), (8, 4), (12, 4), (85, 8), (86, 8), (136, 1)];
    let mut collector = decoded(&[ipfix(0, 1, &[set(2, template(405, &fields))])]);
    let mut send = |start: u64, end: u64, total: u64, packets: u64, reason: u8| {
        let record = octets().u64(BEGUN + start).u64(BEGUN + end).u32(1).u32(2);
        collector.out.records.clear();
        collector.take(&ipfix(0, 1, &[set(405, record.u64(total).u64(packets).u8(reason))])).unwrap();
        collector.volumes()[0]
    };
    assert_eq!(send(0, 300_000, 1000, 10, 2), (10, 1000));
    assert_eq!(send(0, 600_000, 2500, 30, 2), (20, 1500), "the same flow goes on");
    assert_eq!(send(600_100, 900_000, 4000, 40, 2), (40, 4000), "another one, with more");
    assert_eq!(send(600_100, 950_000, 4700, 45, 2), (5, 700));
    // Starts that are told from the export time are off by its fractions of a second.
    assert_eq!(send(600_900, 951_000, 4800, 46, 2), (1, 100));
    // Flows of one packet each, as YAF marks them; and the end of one that continued another.
    assert_eq!(send(952_000, 952_000, 90, 1, 0x1f), (1, 90));
    assert_eq!(send(952_001, 952_001, 90, 1, 0x1f), (1, 90));
    assert_eq!(send(953_000, 954_000, 300, 3, 0x81), (3, 300));
    assert_eq!(send(954_500, 955_000, 400, 4, 0x83), (4, 400));
}

/// The start is the flow's own for as long as it lasts; one that is an hour ago, or that nobody states, tells nothing.
#[test]
fn a_start_that_is_made_up_begins_no_flow() {
    let totals = |fields: &[(u64, u16)], bodies: [Octets; 2], exports: [u32; 2]| {
        let mut collector = decoded(&[ipfix_at(exports[0], 0, 1, &[set(2, template(405, fields))])]);
        for (body, export) in bodies.into_iter().zip(exports) {
            collector.take_at(i64::from(export) * 1000, &ipfix_at(export, 0, 1, &[set(405, body)])).unwrap();
        }
        collector.volumes()
    };
    let later = EXPORT + 7200;
    // Begun a day ago and told every two hours: each time the start is moved to an hour before.
    let long = |end: u32, total: u32| octets().u32(EXPORT - 86_400).u32(end).u32(total).u32(total / 100);
    let fields = [(150, 4), (151, 4), (85, 4), (86, 4)];
    let found = totals(&fields, [long(EXPORT, 1000), long(later, 2500)], [EXPORT, later]);
    assert_eq!(found, [(10, 1000), (15, 1500)]);
    // No time at all.
    let fields = [(85, 4), (86, 4)];
    let plain = |total: u32| octets().u32(total).u32(total / 100);
    let found = totals(&fields, [plain(1000), plain(2500)], [EXPORT, EXPORT + 60]);
    assert_eq!(found, [(10, 1000), (15, 1500)]);
    // Uptimes in IPFIX from an exporter that does not say when it started.
    let fields = [(22, 4), (21, 4), (85, 4), (86, 4)];
    let up = |last: u32, total: u32| octets().u32(5000).u32(last).u32(total).u32(total / 100);
    let found = totals(&fields, [up(5000, 1000), up(6000, 2500)], [EXPORT, EXPORT + 60]);
    assert_eq!(found, [(10, 1000), (15, 1500)]);
}

/// The longest flows carry most: one of two hours, whose start was moved to an hour before, is not counted whole again
/// either when it was forgotten meanwhile.
#[test]
fn a_long_flow_that_was_forgotten_is_not_counted_whole_again() {
    let fields = [(148, 8), (152, 8), (153, 8), (85, 8)];
    let mut collector = decoded(&[ipfix(0, 1, &[set(2, template(405, &fields))])]);
    // Room for one flow in each of two generations.
    collector.limits.running_totals = 2;
    let now = EXPORT_MS.unsigned_abs();
    let record =
        |body: Octets, flow: u64, ago: u64, total: u64| body.u64(flow).u64(now - ago).u64(now).u64(total);
    let records =
        [(1, 7_200_000, 1000), (2, 900, 10), (3, 800, 20), (1, 7_200_000, 1500), (1, 7_200_000, 1700)];
    let body = records.iter().fold(octets(), |body, &(flow, ago, total)| record(body, flow, ago, total));
    collector.take(&ipfix(0, 1, &[set(405, body)])).unwrap();
    assert_eq!(collector.volumes(), [(0, 1000), (0, 10), (0, 20), (0, 0), (0, 200)]);
}

#[test]
fn running_totals_of_the_two_directions_are_apart() {
    let fields =
        [(8, 4), (12, 4), (85, 4), (86, 4), (enterprise(29_305, 85), 4), (enterprise(29_305, 86), 4)];
    let record = |a, b, c, d| set(300, octets().u32(1).u32(2).u32(a).u32(b).u32(c).u32(d));
    let template = set(2, template(300, &fields));
    let sets = [template, record(100, 1, 1000, 2), record(150, 2, 1800, 3)];
    assert_eq!(decoded(&[ipfix(0, 1, &sets)]).volumes(), [(1, 100), (2, 1000), (1, 50), (1, 800)]);
}

/// A total is not the volume of one record: of an interface of 100 Gbit/s it passes 2^48 octets in six hours.
#[test]
fn a_running_total_may_be_greater_than_any_flow() {
    let fields = [(8, 4), (12, 4), (85, 8)];
    let record = |total: u64| set(300, octets().u32(1).u32(2).u64(total));
    let most: u64 = 1 << 48;
    let sets = [set(2, template(300, &fields)), record(most - 500), record(most + 500), record(most + 1500)];
    let collector = decoded(&[ipfix(0, 1, &sets)]);
    assert_eq!(collector.volumes(), [(0, most - 500), (0, 1000), (0, 1000)]);
    // One that is seen for the first time is not the volume of one record, but what comes after it is.
    let collector =
        decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), record(most), record(most + 7)])]);
    assert_eq!(collector.volumes(), [(0, 7)]);
    assert_eq!(collector.counts().implausible, 1);
}

#[test]
fn impossible_counters_are_counted_not_emitted() {
    let fields = [(1, 8), (2, 8)];
    let record = |octets_: u64, packets: u64| octets().u64(octets_).u64(packets);
    let body = [record(100, 1), record(1 << 48, 1), record(200, 2), record(7, 1 << 60), record(300, 3)];
    let body = body.iter().fold(octets(), |all, one| all.bytes(&one.0));
    let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)])]);
    assert_eq!(collector.volumes(), [(1, 100), (2, 200), (3, 300)]);
    let counts = collector.counts();
    assert_eq!((counts.records, counts.flows_emitted, counts.raw_octets), (5, 3, 600));
    assert_eq!((counts.implausible, counts.implausible_octets), (2, (1 << 48) + 7));
    // One less is believed.
    let most = (1 << 48) - 1;
    assert_eq!(volume_of(&fields, &[most, most]).0, [(most, most)]);
}

#[test]
fn variable_lengths_short_and_long() {
    // An application name of 3 octets, then one of 300 in the long form, around the counters.
    let fields = [(8, 4), (96, 65_535), (1, 4), (enterprise(9, 100), 65_535), (2, 4)];
    let first = octets().u32(1).u8(3).bytes(b"dns").u32(111).u8(0).u32(1);
    let second =
        octets().u32(2).u8(255).u16(300).bytes(&[b'x'; 300]).u32(222).u8(255).u16(2).bytes(b"ok").u32(2);
    let body = octets().bytes(&first.0).bytes(&second.0).u8(0).u8(0);
    let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)])]);
    assert_eq!(collector.volumes(), [(1, 111), (2, 222)]);
    assert_eq!(collector.out.records[1].source, Address(2));
}

/// Any field may be of variable length (RFC 7011 7); an address is one where it has an address's octets.
#[test]
fn addresses_of_variable_length() {
    let v6 = |last| [[0x20, 0x01, 0x0d, 0xb8].as_slice(), &[0; 11], &[last]].concat();
    let wide = |last| Address(0x2001_0db8_u128 << 96 | last);
    let records = |fields: &[(u64, u16)], body: Octets| {
        let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, fields)), set(300, body)])]);
        let told = |flow: &FlowRecord| (flow.family, flow.source, flow.destination, flow.octets.as_u64());
        collector.out.records.iter().map(told).collect::<Vec<_>>()
    };
    // In the short form, in the long one, and beside one of fixed length.
    let body = octets().u8(4).u32(0x0a00_0001).u32(0x0a00_0002).u32(111);
    let body = body.u8(255).u16(4).u32(0x0a00_0003).u32(0x0a00_0004).u32(222);
    assert_eq!(
        records(&[(8, 65_535), (12, 4), (1, 4)], body),
        [
            (Family::V4, Address(0x0a00_0001), Address(0x0a00_0002), 111),
            (Family::V4, Address(0x0a00_0003), Address(0x0a00_0004), 222)
        ]
    );
    // What has other octets than an address is none; the volume counts.
    let body = octets().u8(3).bytes(&[1; 3]).u8(5).bytes(&[2; 5]).u32(111);
    assert_eq!(
        records(&[(8, 65_535), (12, 65_535), (1, 4)], body),
        [(Family::V4, Address(0), Address(0), 111)]
    );
    let body = octets().u8(16).bytes(&v6(1)).u8(16).bytes(&v6(2)).u32(333);
    assert_eq!(records(&[(27, 65_535), (28, 65_535), (1, 4)], body), [(Family::V6, wide(1), wide(2), 333)]);
    // Both families in one template: each record has those of one, and none of the other.
    let both = [(8, 65_535), (12, 65_535), (27, 65_535), (28, 65_535), (1, 4)];
    let body = octets().u8(4).u32(1).u8(4).u32(2).u8(0).u8(0).u32(444);
    let body = body.u8(0).u8(0).u8(16).bytes(&v6(3)).u8(16).bytes(&v6(4)).u32(555);
    assert_eq!(
        records(&both, body),
        [(Family::V4, Address(1), Address(2), 444), (Family::V6, wide(3), wide(4), 555)]
    );
}

#[test]
fn enterprise_elements_with_numbers_of_ours_are_not_ours() {
    let (volumes, _) =
        volume_of(&[(enterprise(9, 1), 4), (1, 4), (2, 4), (enterprise(9, 2), 4)], &[9, 10, 1, 9]);
    assert_eq!(volumes, [(1, 10)]);
}

#[test]
fn icmp_type_and_code_stand_in_the_destination_port() {
    let flow = |fields: &[(u64, u16)], values: &[u64]| {
        let body = fields.iter().zip(values).fold(octets(), |body, (&(_, len), &n)| body.uint(n, len.into()));
        decoded(&[v9(0, 1, &[set(0, template(300, fields)), set(300, body)])]).out.records[0]
    };
    assert_eq!(flow(&[(4, 1), (32, 2), (1, 4)], &[1, 0x0800, 84]).destination_port, 0x0800);
    assert_eq!(flow(&[(4, 1), (11, 2), (32, 2), (1, 4)], &[1, 0, 0x0301, 84]).destination_port, 0x0301);
    assert_eq!(flow(&[(4, 1), (139, 2), (1, 4)], &[58, 0x8000, 84]).destination_port, 0x8000);
    assert_eq!(flow(&[(4, 1), (176, 1), (177, 1), (1, 4)], &[1, 3, 4, 84]).destination_port, 0x0304);
    assert_eq!(flow(&[(4, 1), (11, 2), (32, 2), (1, 4)], &[6, 443, 0x0301, 84]).destination_port, 443);
}

#[test]
fn records_state_their_own_rate_or_name_a_sampler() {
    let sampler = |fields: &[(u64, u16)], values: &[u64]| {
        let body =
            fields.iter().zip(values).fold(octets().u32(1), |body, (&(_, len), &n)| body.uint(n, len.into()));
        let fields: Vec<_> = [(1, 4)].iter().chain(fields).copied().collect();
        decoded(&[v9(0, 1, &[set(0, template(300, &fields)), set(300, body)])]).out.records[0].sampler
    };
    let stated = |n| SamplerRef::Stated(SamplingRate::new(n, 1, RateSource::Record).unwrap());
    assert_eq!(sampler(&[(34, 4), (35, 1)], &[100, 2]), stated(100));
    assert_eq!(sampler(&[(34, 4), (35, 1)], &[1, 1]), stated(1));
    assert_eq!(sampler(&[(34, 4), (35, 1)], &[0, 0]), SamplerRef::Unnamed);
    assert_eq!(sampler(&[(34, 4), (48, 1)], &[0, 9]), SamplerRef::Named(9));
    assert_eq!(sampler(&[(34, 4), (302, 8)], &[50, 9]), stated(50));
    assert_eq!(sampler(&[(302, 8)], &[1 << 40]), SamplerRef::Named(1 << 40));
    assert_eq!(sampler(&[(48, 1)], &[0]), SamplerRef::Zero);
    // The other elements of sampling, in the record itself, by the rules of options records.
    assert_eq!(sampler(&[(49, 1), (50, 4)], &[2, 64]), stated(64));
    assert_eq!(sampler(&[(48, 1), (49, 1), (50, 4)], &[9, 2, 64]), stated(64));
    assert_eq!(sampler(&[(48, 1), (50, 4)], &[9, 0]), SamplerRef::Named(9));
    assert_eq!(sampler(&[(34, 4), (50, 4)], &[100, 0]), stated(100));
    assert_eq!(sampler(&[(305, 4), (306, 4)], &[1, 99]), stated(100));
    assert_eq!(sampler(&[(304, 2), (309, 4), (310, 4)], &[3, 1, 256]), stated(256));
    assert_eq!(sampler(&[(304, 1), (311, 8)], &[4, 0.001_f64.to_bits()]), stated(1000));
    // What can be read in two ways waits for the operator; what says nothing is nothing.
    assert_eq!(sampler(&[(304, 2), (305, 4)], &[3, 1]), SamplerRef::Named(0));
    assert_eq!(sampler(&[(304, 2), (305, 4), (306, 4)], &[0, 0, 0]), SamplerRef::Unnamed);
    // Sampled by time: who knows at which rate of packets.
    assert_eq!(sampler(&[(304, 2), (307, 4), (308, 4)], &[2, 1000, 9000]), SamplerRef::Named(0));
    assert_eq!(sampler(&[(304, 2), (307, 4), (308, 4)], &[2, 0, 0]), SamplerRef::Unnamed);
    assert_eq!(sampler(&[], &[]), SamplerRef::Unnamed);
}

#[test]
fn physical_interfaces_and_the_status_in_four_octets() {
    let fields = [(252, 4), (253, 4), (243, 2), (89, 4), (1, 4)];
    let body = octets().u32(5).u32(6).u16(200).u32(0x82).u32(1);
    let flow = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)])]).out.records[0];
    assert_eq!((flow.input, flow.output, flow.vlan), (IfIndex(5), IfIndex(6), 200));
    assert!(flow.is_dropped());
}

#[test]
fn where_the_interface_is_0_the_physical_one_counts() {
    let fields = [(10, 4), (14, 4), (252, 4), (253, 4)];
    let body = octets().u32(0).u32(0).u32(7).u32(8).u32(1);
    let body = body.u32(5).u32(6).u32(7).u32(8).u32(1);
    // Alone, and beside a total, which is read record by record.
    for counter in [1, 85] {
        let fields = [&fields[..], &[(counter, 4)]].concat();
        let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body.clone())])]);
        let found: Vec<_> = collector.out.records.iter().map(|flow| (flow.input, flow.output)).collect();
        assert_eq!(found, [(IfIndex(7), IfIndex(8)), (IfIndex(5), IfIndex(6))]);
    }
}

/// nProbe: 1000 octets in 10 packets there, 300 in 3 back.
#[test]
fn elements_23_and_24_are_the_other_direction_where_the_operator_says_so() {
    let ends = [(8, 4), (12, 4), (10, 4), (14, 4)];
    let run = |counters: &[(u64, u16)], values: &[u64], out_counters| {
        let fields: Vec<_> = ends.iter().chain(counters).copied().collect();
        let all = [1, 2, 3, 4].iter().chain(values);
        let body = fields.iter().zip(all).fold(octets(), |body, (&(_, len), &n)| body.uint(n, len.into()));
        let mut collector = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields))])]);
        collector.decoder.read_out_counters(out_counters);
        collector.take(&ipfix(0, 1, &[set(300, body)])).unwrap();
        collector
    };
    let both = [(1, 4), (2, 4), (23, 4), (24, 4)];
    assert_eq!(run(&both, &[1000, 10, 300, 3], OutCounters::Same).volumes(), [(10, 1000)]);
    let collector = run(&both, &[1000, 10, 300, 3], OutCounters::Reverse);
    let [there, back] = collector.out.records[..] else { panic!("two flows") };
    assert_eq!(collector.volumes(), [(10, 1000), (3, 300)]);
    let counts = collector.counts();
    assert_eq!((counts.records, counts.flows_emitted, counts.raw_octets), (1, 2, 1300));
    assert_eq!((there.source.0, there.destination.0, there.input.0, there.output.0), (1, 2, 3, 4));
    assert_eq!((back.source.0, back.destination.0, back.input.0, back.output.0), (2, 1, 4, 3));
    assert_eq!((there.second, back.second), (false, true));
    // One direction only.
    let reversed = |counters: &[(u64, u16)], values: &[u64]| run(counters, values, OutCounters::Reverse);
    assert_eq!(reversed(&both, &[1000, 10, 0, 0]).volumes(), [(10, 1000)]);
    let back = reversed(&both, &[0, 0, 300, 3]).out.records[0];
    assert_eq!((back.source.0, back.octets.as_u64(), back.second), (2, 300, false));
    let back = reversed(&[(23, 4), (24, 4)], &[300, 3]).out.records[0];
    assert_eq!((back.source.0, back.octets.as_u64(), back.packets.as_u64()), (2, 300, 3));
    // Nobody says how many packets came back.
    assert_eq!(reversed(&[(1, 4), (2, 4), (23, 4)], &[1000, 10, 300]).volumes(), [(10, 1000), (0, 300)]);
    // Templates without element 23 are as they were.
    let others = [(231, 4), (298, 4), (232, 4), (299, 4)];
    assert_eq!(reversed(&others, &[1000, 10, 300, 3]).volumes(), [(10, 1000), (3, 300)]);
    // Only of nProbe's own templates is it asked what they mean, and only where nobody has said it.
    let own = [(1, 4), (2, 4), (23, 4), (24, 4), (enterprise(35_632, 118), 2)];
    let asked = |fields: &[(u64, u16)], said| run(fields, &[9; 5], said).counts().out_counters_unsaid;
    assert_eq!((asked(&own, OutCounters::Same), asked(&own, OutCounters::Reverse)), (1, 0));
    assert_eq!((asked(&both, OutCounters::Same), asked(&own[..2], OutCounters::Same)), (0, 0));
    // NetFlow v9 has no enterprises: there the number of that element is 57472 greater.
    let asked9 = |element| {
        let fields = [(1, 4), (2, 4), (23, 4), (24, 4), (element, 2)];
        let data = octets().u32(1).u32(1).u32(1).u32(1).u16(1);
        decoded(&[v9(0, 1, &[set(0, template(300, &fields)), set(300, data)])]).counts().out_counters_unsaid
    };
    assert_eq!((asked9(57_590), asked9(56_701)), (1, 0));
}
