//! NetFlow v1 and v7: what the records say; duplicates, loss and restarts; times over the wrap of the uptime.

use super::build::*;
use crate::decode::{Error, Fate};
use crate::flow::{Address, Family, FlowRecord, Observed, SamplerRef};
use crate::ids::ExporterId;
use crate::units::{Asn, IfIndex, Octets as Volume, Packets, SamplingRate, UnixMillis};

/// What the records of `build` say, whatever the version.
fn expected() -> FlowRecord {
    FlowRecord {
        source: Address(0x0a00_0001),
        destination: Address(0x0a00_0002),
        next_hop: Address(0x0a00_00fe),
        octets: Volume::new(3989),
        packets: Packets::new(31),
        start: UnixMillis(EXPORT_MS - 5000),
        end: UnixMillis(EXPORT_MS - 1000),
        sampler: SamplerRef::Mute,
        rate: SamplingRate::NOT_ANNOUNCED,
        domain: 0,
        input: IfIndex(3),
        output: IfIndex(4),
        source_as: Asn(0),
        destination_as: Asn(0),
        exporter: ExporterId(7),
        source_port: 1234,
        destination_port: 443,
        vlan: 0,
        template: 0,
        tcp_flags: 0x1b,
        family: Family::V4,
        protocol: 6,
        tos: 0xb8,
        source_mask: 0,
        destination_mask: 0,
        forwarding_status: 0,
        observed: Observed::Unknown,
        networks: false,
        second: false,
    }
}

#[test]
fn a_v1_datagram_octet_by_octet() {
    let datagram: [u8; 64] = [
        0, 1, 0, 1, // version, one record
        0, 0x0f, 0x42, 0x40, // uptime 1,000,000 ms
        0x69, 0x55, 0xb9, 0x00, 0x1d, 0xcd, 0x65, 0x00, // 2026-01-01T00:00:00.5Z
        10, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 0xfe, // source, destination, next hop
        0, 3, 0, 4, // interfaces
        0, 0, 0, 31, 0, 0, 0x0f, 0x95, // 31 packets, 3989 octets
        0, 0x0f, 0x2e, 0xb8, 0, 0x0f, 0x3e, 0x58, // uptimes 995,000 and 999,000 ms
        0x04, 0xd2, 0x01, 0xbb, // ports 1234 and 443
        0, 0, 6, 0xb8, 0x1b, // padding, protocol, type of service, TCP flags
        0, 0, 0, 0, 0, 0, 0, // padding
    ];
    let mut collector = Collector::default();
    assert_eq!(collector.take_at(EXPORT_MS + 500, &datagram), Ok(Fate::Decoded));
    let half = |time: UnixMillis| time.plus(500);
    let plain = expected();
    assert_eq!(
        collector.out.records,
        [FlowRecord { start: half(plain.start), end: half(plain.end), ..plain }]
    );
    let counts = collector.counts();
    assert_eq!((counts.records, counts.raw_octets, counts.raw_packets, counts.clamped), (1, 3989, 31, 0));
    // The same by the builder, for the tests that use it.
    assert_eq!(decoded(&[v1(UPTIME, &[v1_record(31, 3989)])]).out.records, [plain]);
}

#[test]
fn a_v7_datagram_octet_by_octet() {
    let datagram: [u8; 76] = [
        0, 7, 0, 1, // version, one record
        0, 0x0f, 0x42, 0x40, // uptime 1,000,000 ms
        0x69, 0x55, 0xb9, 0x00, 0, 0, 0, 0, // 2026-01-01T00:00:00Z
        0, 0, 0, 9, // sequence number
        2, 3, 0, 0, // engine type and number where given; reserved
        10, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 0xfe, // source, destination, next hop
        0, 3, 0, 4, // interfaces
        0, 0, 0, 31, 0, 0, 0x0f, 0x95, // 31 packets, 3989 octets
        0, 0x0f, 0x2e, 0xb8, 0, 0x0f, 0x3e, 0x58, // uptimes 995,000 and 999,000 ms
        0x04, 0xd2, 0x01, 0xbb, // ports 1234 and 443
        1, 0x1b, 6, 0xb8, // flags, TCP flags, protocol, type of service
        0xfd, 0xe9, 0xfd, 0xea, // AS 65001 and 65002
        24, 16, // prefix lengths
        0xff, 0xff, // flags
        192, 0, 2, 1, // the router that was bypassed
    ];
    let plain = FlowRecord {
        source_as: Asn(65_001),
        destination_as: Asn(65_002),
        source_mask: 24,
        destination_mask: 16,
        ..expected()
    };
    let collector = decoded(&[datagram.to_vec()]);
    assert_eq!(collector.out.records, [FlowRecord { domain: 0x0203, ..plain }]);
    assert_eq!(decoded(&[v7(9, 0, &[v7_record(31, 3989)])]).out.records, [plain]);
}

#[test]
fn a_v7_flow_by_destination_only_leaves_the_rest_at_zero() {
    // A Catalyst switch with that flow mask tells destination, output, counters and times.
    let record = octets()
        .u32(0)
        .u32(0x0a00_0002)
        .u32(0)
        .u16(0)
        .u16(4)
        .u32(31)
        .u32(3989)
        .u32(UPTIME - 5000)
        .u32(UPTIME - 1000)
        .bytes(&[0; 4])
        .u8(0x05)
        .bytes(&[0; 15]);
    let flow = decoded(&[v7(0, 0, &[record])]).out.records[0];
    let expected = FlowRecord {
        source: Address(0),
        next_hop: Address(0),
        input: IfIndex(0),
        source_port: 0,
        destination_port: 0,
        tcp_flags: 0,
        protocol: 0,
        tos: 0,
        ..expected()
    };
    assert_eq!(flow, expected);
}

#[test]
fn a_number_in_the_reserved_octets_of_v7_is_no_rate() {
    let flow = decoded(&[v7(0, 0x4064, &[v7_record(1, 40)])]).out.records[0];
    assert_eq!((flow.sampler, flow.domain), (SamplerRef::Mute, 0));
}

#[test]
fn v1_counts_a_repeated_datagram_once_and_knows_no_loss() {
    let first = v1(UPTIME, &[v1_record(1, 10), v1_record(2, 20)]);
    let mut collector = decoded(std::slice::from_ref(&first));
    // Others of the same millisecond, one with the same records in another order.
    collector.take(&v1(UPTIME, &[v1_record(2, 20), v1_record(1, 10)])).unwrap();
    collector.take(&v1(UPTIME, &[v1_record(3, 30)])).unwrap();
    assert_eq!(collector.take(&first), Ok(Fate::Duplicate));
    // The same records at another time are no copy.
    collector.take(&v1(UPTIME + 1, &[v1_record(1, 10), v1_record(2, 20)])).unwrap();
    let counts = collector.counts();
    assert_eq!((counts.decoded, counts.duplicates, counts.raw_octets), (4, 1, 30 + 30 + 30 + 30));
    assert_eq!((counts.lost, counts.restarts), (0, 0));
    // 1024 other datagrams later it is forgotten; there were three.
    for n in 2..1023 {
        collector.take(&v1(UPTIME + n, &[v1_record(1, 1)])).unwrap();
    }
    assert_eq!(collector.take(&first), Ok(Fate::Decoded));
}

#[test]
fn v1_tells_a_restart_by_the_uptime_alone() {
    let uptimes = |uptimes: &[u32]| {
        let mut collector = Collector::default();
        for &uptime in uptimes {
            collector.take(&v1(uptime, &[v1_record(1, 10)])).unwrap();
        }
        (collector.counts().restarts, collector.counts().lost)
    };
    assert_eq!(uptimes(&[5_000_000, 5_000_010, 3000, 4000]), (1, 0));
    // Some seconds back is a late datagram; the wrap after 49.7 days goes forward.
    assert_eq!(uptimes(&[5_000_000, 4_990_500, 5_000_001]), (0, 0));
    assert_eq!(uptimes(&[u32::MAX - 10, 20]), (0, 0));
}

#[test]
fn v7_counts_lost_records_and_finds_late_ones_for_each_engine() {
    let two = [v7_record(1, 10), v7_record(1, 20)];
    let mut collector = decoded(&[v7(0, 0, &two), v7(0, 0x0001_0000, &two), v7(5, 0, &two)]);
    assert_eq!(collector.counts().lost, 3);
    let late = v7(2, 0, &two);
    collector.take(&late).unwrap();
    assert_eq!(collector.counts().lost, 1);
    assert_eq!(collector.take(&late), Ok(Fate::Duplicate));
    let counts = collector.counts();
    assert_eq!((counts.lost, counts.records, counts.restarts), (1, 8, 0));
}

#[test]
fn v1_v5_v7_and_v8_of_one_exporter_do_not_disturb_each_other() {
    let mut collector = Collector::default();
    for n in [7, 8, 9] {
        collector.take(&v1(UPTIME + n, &[v1_record(1, 1)])).unwrap();
        collector.take(&v5(n, 0, 0, &[v5_record(1, 2)])).unwrap();
        collector.take(&v7(n * 2, 0, &[v7_record(1, 3), v7_record(1, 4)])).unwrap();
        collector.take(&v8(n + 100, 0, 1, 0, &[v8_record(1, 5)])).unwrap();
    }
    let counts = collector.counts();
    assert_eq!((counts.lost, counts.restarts, counts.duplicates), (0, 0, 0));
    assert_eq!((counts.records, counts.raw_octets), (15, 3 * (1 + 2 + 7 + 5)));
}

#[test]
fn times_survive_the_wrap_of_the_uptime() {
    // The header's uptime is 1000 ms after the wrap; the flow began 6 s and ended 2 s before it.
    let check = |mut datagram: Vec<u8>, first: usize| {
        datagram[4..8].copy_from_slice(&1000_u32.to_be_bytes());
        datagram[first..first + 4].copy_from_slice(&0_u32.wrapping_sub(5000).to_be_bytes());
        datagram[first + 4..first + 8].copy_from_slice(&0_u32.wrapping_sub(1000).to_be_bytes());
        let collector = decoded(&[datagram]);
        let flow = collector.out.records[0];
        assert_eq!((flow.start.0 - EXPORT_MS, flow.end.0 - EXPORT_MS), (-6000, -2000));
        assert_eq!(collector.counts().clamped, 0);
    };
    check(v1(0, &[v1_record(1, 1)]), 16 + 24);
    check(v5(0, 0, 0, &[v5_record(1, 1)]), 24 + 24);
    check(v7(0, 0, &[v7_record(1, 1)]), 24 + 24);
    check(v8(0, 0, 1, 0, &[v8_record(1, 1)]), 28 + 12);
}

#[test]
fn v1_records_of_both_lengths_are_told_apart_by_the_length_of_the_datagram() {
    let short = v1(UPTIME, &[v1_record(1, 10), v1_record(1, 20), v1_record(1, 30)]);
    let long = v1(UPTIME, &[10, 20, 30].map(|n| v1_record(1, n).u32(0)));
    assert_eq!((short.len(), long.len()), (16 + 3 * 48, 16 + 3 * 52));
    for datagram in [&short, &long] {
        assert_eq!(decoded(std::slice::from_ref(datagram)).volumes(), [(1, 10), (1, 20), (1, 30)]);
    }
    assert_eq!(
        decoded(std::slice::from_ref(&short)).out.records,
        decoded(std::slice::from_ref(&long)).out.records
    );
    // Any other length bills nothing: too short, or records of unknown length.
    for length in (0..long.len()).chain(long.len() + 1..long.len() + 60) {
        let mut datagram = long.clone();
        datagram.resize(length, 0);
        let mut collector = Collector::default();
        let expected = match length {
            0..16 => Error::Truncated { offset: length },
            16..160 => Error::CountBeyondData { count: 3, offset: length },
            // Cut to the length of short records it cannot be told from them; UDP cuts nothing.
            160 => continue,
            _ => Error::RecordLength { count: 3, octets: length },
        };
        assert_eq!(collector.take(&datagram), Err(expected));
        assert_eq!((collector.out.records.len(), collector.decoder.domains()), (0, 0));
    }
    assert_eq!(decoded(&[v1(UPTIME, &[])]).volumes(), []);
}

#[test]
fn zeros_behind_the_records_are_padding_and_missing_ones_bill_nothing() {
    for (datagram, record) in [
        (v7(0, 0, &[v7_record(1, 10), v7_record(1, 20)]), 52),
        (v8(0, 0, 1, 0, &[v8_record(1, 10), v8_record(1, 20)]), 28),
    ] {
        let mut padded = datagram.clone();
        padded.extend([0; 60]);
        assert_eq!(decoded(&[padded]).volumes(), [(1, 10), (1, 20)]);
        let header = datagram.len() - 2 * record;
        // A record that the header does not count.
        let mut fewer = datagram.clone();
        fewer[3] = 1;
        let mut collector = Collector::default();
        assert_eq!(collector.take(&fewer), Err(Error::Trailing { offset: header + record }));
        assert_eq!(collector.volumes(), [(1, 10)]);
        for cut in 0..datagram.len() {
            let mut collector = Collector::default();
            let error = collector.take(&datagram[..cut]).unwrap_err();
            let short = Error::CountBeyondData { count: 2, offset: cut };
            let expected = if cut < header { Error::Truncated { offset: cut } } else { short };
            assert_eq!(error, expected, "version {}", datagram[1]);
            assert_eq!((collector.out.records.len(), collector.decoder.domains()), (0, 0));
            // What was refused: as many records as it claims, as many octets as there are.
            let torn = if cut < header { (0, 0) } else { (2, cut as u64) };
            assert_eq!((collector.counts().torn_records, collector.counts().torn_octets), torn);
        }
        // More than could ever be there.
        let mut many = datagram;
        many[2..4].copy_from_slice(&[0xff, 0xff]);
        let mut collector = Collector::default();
        let error = collector.take(&many).unwrap_err();
        assert_eq!(error, Error::CountBeyondData { count: 0xffff, offset: many.len() });
    }
}
