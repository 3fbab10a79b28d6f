//! IPFIX records that carry the beginning of a packet: elements 313 and 315 (RFC 5477, RFC 7133).

use super::build::*;
use super::sflow::frame;
use crate::flow::{Address, Family, FlowRecord, SamplerRef};
use crate::units::IfIndex;

/// The octets of a variable-length field (RFC 7011 7).
fn variable(data: &[u8]) -> Octets {
    octets().u8(u8::try_from(data.len()).unwrap()).bytes(data)
}

fn records(fields: &[(u64, u16)], body: Octets) -> Collector {
    decoded(&[ipfix(0, 1, &[set(2, template(256, fields)), set(256, body)])])
}

fn only(fields: &[(u64, u16)], body: Octets) -> FlowRecord {
    let collector = records(fields, body);
    assert_eq!((collector.counts().records, collector.out.records.len()), (1, 1));
    collector.out.records[0]
}

fn volume(flow: &FlowRecord) -> (u64, u64) {
    (flow.packets.as_u64(), flow.octets.as_u64())
}

/// Sampler, interfaces, time, frame length, frame.
const PSAMP: [(u64, u16); 6] = [(302, 4), (10, 4), (14, 4), (323, 8), (312, 2), (315, 65_535)];

fn psamp(size: u16, section: &[u8]) -> Octets {
    let body = octets().u32(9).u32(3).u32(4).u64(u64::from(EXPORT) * 1000 - 250).u16(size);
    body.bytes(&variable(section).0)
}

#[test]
fn a_sampled_frame_is_a_record_of_one_packet() {
    let flow = only(&PSAMP, psamp(1422, &frame()));
    assert_eq!(volume(&flow), (1, 1422));
    assert_eq!((flow.source, flow.destination), (Address(0x0a01_0203), Address(0xcb00_7109)));
    assert_eq!((flow.source_port, flow.destination_port, flow.protocol), (53, 40_000, 17));
    assert_eq!((flow.family, flow.vlan, flow.tos), (Family::V4, 100, 0x20));
    assert_eq!((flow.input, flow.output, flow.sampler), (IfIndex(3), IfIndex(4), SamplerRef::Named(9)));
    assert_eq!((flow.start.0, flow.end.0), (EXPORT_MS - 250, EXPORT_MS - 250));
    // Two records of different length in one set, the first one not IP.
    let body = psamp(64, &[0; 20]).bytes(&psamp(1422, &frame()).0);
    let collector = records(&PSAMP, body);
    assert_eq!(collector.volumes(), [(1, 64), (1, 1422)]);
    assert_eq!(collector.out.records[0].family, Family::Other);
}

#[test]
fn where_the_octets_come_from() {
    // Ethernet, a tag and a packet of 1400 octets by its own header: 1418.
    let section = frame();
    assert_eq!(volume(&only(&[(315, 65_535)], variable(&section))), (1, 1418));
    // A frame length of 0 is none.
    assert_eq!(volume(&only(&PSAMP, psamp(0, &section))), (1, 1418));
    // Layer-2 octets and octets rank higher, and count as they are.
    let with = |element| {
        only(&[(element, 4), (2, 4), (312, 2), (315, 65_535)], {
            octets().u32(5000).u32(4).u16(1422).bytes(&variable(&section).0)
        })
    };
    assert_eq!((volume(&with(352)), volume(&with(1))), ((4, 5000), (4, 5000)));
    assert_eq!(with(1).source, Address(0x0a01_0203));
    // Where nobody counts packets, the record is one, even of 0 octets.
    let without =
        |element, n: u64| only(&[(element, 8), (315, 65_535)], octets().u64(n).bytes(&variable(&section).0));
    for (element, octets) in [(352, 1514), (1, 1400), (352, 0)] {
        assert_eq!(volume(&without(element, octets)), (1, octets));
    }
    // A running total says nothing of packets, and a flow without a section is no packet.
    assert_eq!(volume(&without(85, 0)), (0, 0));
    assert_eq!(volume(&only(&[(352, 8)], octets().u64(1514))), (0, 1514));
    // A packet section: the packet's own length, the frame's where it is stated, or the total length's element.
    assert_eq!(volume(&only(&[(313, 65_535)], variable(&section[18..]))), (1, 1400));
    let packet =
        |element| only(&[(element, 2), (313, 65_535)], octets().u16(1300).bytes(&variable(&section[18..]).0));
    assert_eq!((volume(&packet(312)), volume(&packet(224))), ((1, 1300), (1, 1300)));
    // The same behind labels that are not there (316).
    let behind = &section[18..];
    assert_eq!(volume(&only(&[(316, 65_535)], variable(behind))), (1, 1400));
    let flow = only(&[(312, 2), (316, 65_535)], octets().u16(1422).bytes(&variable(behind).0));
    assert_eq!((volume(&flow), flow.family, flow.source_port), ((1, 1422), Family::V4, 53));
    // Nobody says how long this was.
    let collector = records(&[(315, 65_535)], variable(&[0; 30]).bytes(&variable(&section).0));
    assert_eq!((collector.counts().records, collector.counts().not_volume), (2, 1));
    assert_eq!(collector.volumes(), [(1, 1418)]);
    // A frame length without a frame is no counter of a flow.
    assert_eq!(records(&[(8, 4), (312, 2)], octets().u32(1).u16(900)).counts().not_volume, 1);
}

#[test]
fn sections_of_fixed_length_and_such_that_cannot_be_read() {
    let section = frame();
    let fields = [(312, 2), (410, 2), (315, 64)];
    let padded = [&section[..], &[0xff; 18]].concat();
    let flow = only(&fields, octets().u16(1422).u16(46).bytes(&padded));
    assert_eq!((volume(&flow), flow.destination_port), ((1, 1422), 40_000));
    // Only 40 octets of it are filled: up to the ports.
    let flow = only(&fields, octets().u16(1422).u16(38).bytes(&padded));
    assert_eq!((flow.destination, flow.destination_port), (Address(0xcb00_7109), 0));
    // A section that begins 18 octets into the frame, or in a wireless frame: volume, nothing else.
    for (element, value) in [(409, 18), (408, 2)] {
        let body = octets().u16(1422).u16(value).bytes(&variable(&section).0);
        let flow = only(&[(312, 2), (element, 2), (315, 65_535)], body);
        assert_eq!((volume(&flow), flow.family), ((1, 1422), Family::Other));
    }
    let body = octets().u16(1422).u16(1).bytes(&variable(&section).0);
    assert_eq!(only(&[(312, 2), (408, 2), (315, 65_535)], body).family, Family::V4);
    // A section of more than 255 octets.
    let long = [&section[..], &[7; 400]].concat();
    let body = octets().u16(1422).u8(255).u16(446).bytes(&long);
    let flow = only(&[(312, 2), (315, 65_535)], body);
    assert_eq!((volume(&flow), flow.source_port), ((1, 1422), 53));
}

#[test]
fn what_the_record_says_itself_stands() {
    let fields = [(8, 4), (12, 4), (58, 2), (312, 2), (315, 65_535)];
    let body = octets().u32(1).u32(2).u16(300).u16(1422).bytes(&variable(&frame()).0);
    let flow = only(&fields, body);
    assert_eq!((flow.source, flow.destination, flow.vlan), (Address(1), Address(2), 300));
    assert_eq!(flow.source_port, 53);
}

#[test]
fn sections_cut_at_every_octet() {
    let section = frame();
    for cut in 0..=section.len() {
        let collector = records(&PSAMP, psamp(1422, &section[..cut]));
        assert_eq!(collector.volumes(), [(1, 1422)], "cut at {cut}");
        let flow = &collector.out.records[0];
        assert!(flow.source.0 == 0 || flow.source.0 == 0x0a01_0203);
        assert_eq!(flow.source_port, if cut >= 40 { 53 } else { 0 }, "cut at {cut}");
    }
}
