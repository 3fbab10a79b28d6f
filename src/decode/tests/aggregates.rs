//! NetFlow v8: a record of each aggregation scheme, written down in the order of Cisco's documents, and what it says.

use super::build::*;
use crate::decode::{Error, ErrorKind, Fate};
use crate::flow::{Address, Family, FlowRecord, SamplerRef};
use crate::ids::ExporterId;
use crate::units::{Asn, IfIndex, Octets as Volume, Packets, RateSource, SamplingRate, UnixMillis};

const SOURCE: u32 = 0x1401_0000; // 20.1.0.0
const DESTINATION: u32 = 0x0a02_0300; // 10.2.3.0

/// The first five words of what a router sums up: 9 flows, 31 packets, 3989 octets, two uptimes.
fn summed() -> Octets {
    octets().u32(9).bytes(&v8_counters(31, 3989).0)
}

/// Volume and times that all records here have, of networks that are not told.
fn said() -> FlowRecord {
    FlowRecord {
        octets: Volume::new(3989),
        packets: Packets::new(31),
        start: UnixMillis(EXPORT_MS - 5000),
        end: UnixMillis(EXPORT_MS - 1000),
        sampler: SamplerRef::Silent,
        domain: 0x0203,
        exporter: ExporterId(7),
        family: Family::V4,
        networks: true,
        ..FlowRecord::default()
    }
}

fn source() -> FlowRecord {
    FlowRecord {
        source: Address(SOURCE.into()),
        source_mask: 16,
        source_as: Asn(65_001),
        input: IfIndex(3),
        ..said()
    }
}

fn destination() -> FlowRecord {
    FlowRecord {
        destination: Address(DESTINATION.into()),
        destination_mask: 24,
        destination_as: Asn(65_002),
        output: IfIndex(4),
        ..said()
    }
}

/// Source and destination networks.
fn both() -> FlowRecord {
    FlowRecord {
        destination: Address(DESTINATION.into()),
        destination_mask: 24,
        destination_as: Asn(65_002),
        output: IfIndex(4),
        ..source()
    }
}

fn ports() -> FlowRecord {
    FlowRecord { protocol: 6, source_port: 1234, destination_port: 443, ..said() }
}

/// A record of each scheme, its length by the published layout, and what it says.
fn schemes() -> Vec<(u8, usize, Octets, FlowRecord)> {
    let interfaces = FlowRecord { input: IfIndex(3), output: IfIndex(4), ..said() };
    let autonomous_systems = FlowRecord { source_as: Asn(65_001), destination_as: Asn(65_002), ..interfaces };
    let tos = |flow: FlowRecord| FlowRecord { tos: 0xb8, ..flow };
    // Destination port before source port, output before input: so in all of the Catalyst's.
    let extra = |record: Octets| record.u32(5).u32(0x0a00_00fe);
    let host = FlowRecord { destination_mask: 32, destination_as: Asn(0), ..destination() };
    let hosts = FlowRecord {
        source_mask: 0,
        source_as: Asn(0),
        destination_mask: 0,
        destination_as: Asn(0),
        networks: false,
        ..both()
    };
    let (source_net, destination_net) = (summed().u32(SOURCE), summed().u32(DESTINATION));
    let matrix = summed().u32(SOURCE).u32(DESTINATION).u8(24).u8(16);
    vec![
        (1, 28, summed().u16(65_001).u16(65_002).u16(3).u16(4), autonomous_systems),
        (2, 28, summed().u8(6).u8(0).u16(0).u16(1234).u16(443), ports()),
        (3, 32, source_net.clone().u8(16).u8(0).u16(65_001).u16(3).u16(0), source()),
        (4, 32, destination_net.clone().u8(24).u8(0).u16(65_002).u16(4).u16(0), destination()),
        (5, 40, matrix.clone().u16(0).u16(65_001).u16(65_002).u16(3).u16(4), both()),
        (
            6,
            32,
            extra(octets().u32(DESTINATION).bytes(&v8_counters(31, 3989).0).u16(4).u8(0xb8).u8(0x20)),
            tos(host),
        ),
        (
            7,
            40,
            extra(
                octets()
                    .u32(DESTINATION)
                    .u32(SOURCE)
                    .bytes(&v8_counters(31, 3989).0)
                    .u16(4)
                    .u16(3)
                    .u8(0xb8)
                    .u8(0x20)
                    .u16(0),
            ),
            tos(hosts),
        ),
        (
            8,
            44,
            extra(
                octets()
                    .u32(DESTINATION)
                    .u32(SOURCE)
                    .u16(443)
                    .u16(1234)
                    .bytes(&v8_counters(31, 3989).0)
                    .u16(4)
                    .u16(3)
                    .u8(0xb8)
                    .u8(6)
                    .u8(0x20)
                    .u8(0),
            ),
            FlowRecord { protocol: 6, source_port: 1234, destination_port: 443, ..tos(hosts) },
        ),
        (
            9,
            32,
            summed().u16(65_001).u16(65_002).u16(3).u16(4).u8(0xb8).u8(0).u16(0),
            tos(autonomous_systems),
        ),
        (
            10,
            32,
            summed().u8(6).u8(0xb8).u16(0).u16(1234).u16(443).u16(3).u16(4),
            FlowRecord { input: IfIndex(3), output: IfIndex(4), ..tos(ports()) },
        ),
        (11, 32, source_net.u8(16).u8(0xb8).u16(65_001).u16(3).u16(0), tos(source())),
        (12, 32, destination_net.u8(24).u8(0xb8).u16(65_002).u16(4).u16(0), tos(destination())),
        (13, 40, matrix.clone().u8(0xb8).u8(0).u16(65_001).u16(65_002).u16(3).u16(4), tos(both())),
        (
            14,
            40,
            matrix.u8(0xb8).u8(6).u16(1234).u16(443).u16(3).u16(4),
            FlowRecord {
                source_as: Asn(0),
                destination_as: Asn(0),
                protocol: 6,
                source_port: 1234,
                destination_port: 443,
                ..tos(both())
            },
        ),
    ]
}

#[test]
fn a_record_of_each_scheme_field_by_field() {
    let schemes = schemes();
    assert_eq!(schemes.len(), 14);
    for (scheme, length, record, expected) in schemes {
        assert_eq!(record.0.len(), length, "scheme {scheme}");
        // Two, so that the length is the right one.
        let collector = decoded(&[v8(0, 0x0203, scheme, 0, &[record.clone(), record])]);
        assert_eq!(collector.out.records, [expected, expected], "scheme {scheme}");
        let counts = collector.counts();
        assert_eq!((counts.records, counts.raw_octets, counts.raw_packets), (2, 2 * 3989, 62));
        assert_eq!((counts.clamped, counts.not_volume), (0, 0));
    }
}

#[test]
fn a_datagram_octet_by_octet() {
    let datagram: [u8; 56] = [
        0, 8, 0, 1, // version, one record
        0, 0x0f, 0x42, 0x40, // uptime 1,000,000 ms
        0x69, 0x55, 0xb9, 0x00, 0, 0, 0, 0, // 2026-01-01T00:00:00Z
        0, 0, 0, 9, // sequence number
        2, 3, 1, 2, // engine type and number, aggregation scheme, its version
        0x40, 0x64, 0, 0, // sampling interval 100 (mode 1), reserved
        0, 0, 0, 9, 0, 0, 0, 31, 0, 0, 0x0f, 0x95, // 9 flows, 31 packets, 3989 octets
        0, 0x0f, 0x2e, 0xb8, 0, 0x0f, 0x3e, 0x58, // uptimes 995,000 and 999,000 ms
        0xfd, 0xe9, 0xfd, 0xea, // AS 65001 and 65002
        0, 3, 0, 4, // interfaces
    ];
    let rate = SamplingRate::new(100, 1, RateSource::Header).unwrap();
    let expected = FlowRecord {
        source_as: Asn(65_001),
        destination_as: Asn(65_002),
        input: IfIndex(3),
        output: IfIndex(4),
        sampler: SamplerRef::Stated(rate),
        ..said()
    };
    assert_eq!(decoded(&[datagram.to_vec()]).out.records, [expected]);
}

#[test]
fn each_scheme_cut_at_every_octet_bills_nothing() {
    for (scheme, _, record, _) in schemes() {
        let datagram = v8(0, 0, scheme, 0, &[record]);
        for cut in 0..datagram.len() {
            let mut collector = Collector::default();
            let error = collector.take(&datagram[..cut]).unwrap_err();
            let short = Error::CountBeyondData { count: 1, offset: cut };
            assert_eq!(error, if cut < 28 { Error::Truncated { offset: cut } } else { short });
            assert_eq!((collector.out.records.len(), collector.decoder.domains()), (0, 0));
        }
    }
}

#[test]
fn an_unknown_scheme_is_counted_by_its_own_kind() {
    for scheme in [0, 15, 255] {
        let mut collector = Collector::default();
        let error = collector.take(&v8(0, 0, scheme, 0, &[octets().bytes(&[1; 44])])).unwrap_err();
        assert_eq!(error, Error::UnknownAggregation { scheme });
        let counts = collector.counts();
        assert_eq!((counts.malformed, counts.raw_octets), (1, 0));
        assert_eq!(counts.malformed_by_kind[ErrorKind::UnknownAggregation as usize], 1);
        assert_eq!(collector.decoder.domains(), 0);
    }
}

#[test]
fn prefix_lengths_in_the_other_order_are_recognised_by_the_host_bits() {
    let masks = |source: u32, destination: u32, first, second| {
        let record = summed().u32(source).u32(destination).u8(first).u8(second).bytes(&[0; 10]);
        let flow = decoded(&[v8(0, 0, 5, 0, &[record])]).out.records[0];
        (flow.source_mask, flow.destination_mask)
    };
    // Cisco: the destination's first. 20.1.0.0/16 and 10.2.3.0/24 do not fit the other way: 10.2.3.0/16.
    assert_eq!(masks(SOURCE, DESTINATION, 24, 16), (16, 24));
    assert_eq!(masks(SOURCE, DESTINATION, 16, 24), (16, 24));
    // Both ways fit, or none does: Cisco's.
    assert_eq!(masks(0x1400_0000, 0x0a00_0000, 8, 24), (24, 8));
    assert_eq!(masks(0x1401_0101, 0x0a02_0301, 24, 16), (16, 24));
    assert_eq!(masks(0, 0, 0, 0), (0, 0));
    assert_eq!(masks(0, 0, 200, 33), (33, 200));
    assert_eq!(masks(0x1401_0203, 0, 0, 32), (32, 0));
    assert_eq!(masks(0x1401_0203, 0, 32, 0), (32, 0));
}

#[test]
fn each_scheme_of_each_engine_is_numbered_by_itself() {
    let one = [v8_record(1, 10)];
    let with_tos = [v8_record(1, 10).u32(0)];
    let mut collector = decoded(&[
        v8(100, 1, 1, 0, &one),
        v8(7, 1, 9, 0, &with_tos),
        v8(5000, 2, 1, 0, &one),
        v8(101, 1, 1, 0, &one),
        v8(8, 1, 9, 0, &with_tos),
        v8(5001, 2, 1, 0, &one),
    ]);
    assert_eq!((collector.counts().lost, collector.counts().restarts), (0, 0));
    // Records count, not the flows summed up in them: one record is missing, and then comes.
    collector.take(&v8(103, 1, 1, 0, &one)).unwrap();
    assert_eq!(collector.counts().lost, 1);
    let late = v8(102, 1, 1, 0, &one);
    assert_eq!(collector.take(&late), Ok(Fate::Decoded));
    assert_eq!(collector.take(&late), Ok(Fate::Duplicate));
    assert_eq!((collector.counts().lost, collector.counts().duplicates), (0, 1));
}
