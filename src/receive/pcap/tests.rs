//! Captures built octet by octet, from the formats' descriptions.
#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

mod hash;
mod links;
mod others;

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use tempfile::TempDir;

use self::others::{said, tshark};
use super::*;
use crate::receive::pcap_write::CaptureWriter;

/// A datagram as tests compare it: milliseconds, source, destination, payload.
type Seen = (i64, String, String, Vec<u8>);

fn seen(time: i64, source: &str, destination: &str, payload: &[u8]) -> Seen {
    (time, source.to_owned(), destination.to_owned(), payload.to_owned())
}

/// Reads all of a capture with these octets.
fn read(bytes: &[u8]) -> Result<(Vec<Seen>, Skipped), Error> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("capture");
    fs::write(&path, bytes).unwrap();
    let mut capture = Capture::open(&path)?;
    let found = rest(&mut capture)?;
    Ok((found, *capture.skipped()))
}

fn rest(capture: &mut Capture) -> Result<Vec<Seen>, Error> {
    let mut found = Vec::new();
    while let Some(it) = capture.next()? {
        found.push(seen(it.time.0, &it.source.to_string(), &it.destination.to_string(), it.payload));
    }
    Ok(found)
}

/// Reads a capture in which nothing may be skipped.
#[track_caller]
fn check(bytes: &[u8], expected: &[Seen]) {
    let (found, skipped) = read(bytes).unwrap();
    assert_eq!(found, expected);
    assert_eq!(skipped, Skipped::default());
}

/// Reads a capture of which only `skipped` comes out.
#[track_caller]
fn check_skipped(frames: &[Vec<u8>], skipped: Skipped) {
    assert_eq!(read(&pcap(1, frames)).unwrap(), (vec![], skipped));
}

#[derive(Clone, Copy)]
struct Order {
    is_big_endian: bool,
}

const LITTLE: Order = Order { is_big_endian: false };
const BIG: Order = Order { is_big_endian: true };

impl Order {
    fn u16(self, n: u16) -> [u8; 2] {
        if self.is_big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn u32(self, n: u32) -> [u8; 4] {
        if self.is_big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn pcap_header(self, magic: u32, link: u32) -> Vec<u8> {
        let versions = [self.u16(2), self.u16(4)].concat();
        [&self.u32(magic)[..], &versions, &[0; 8], &self.u32(65_535), &self.u32(link)].concat()
    }

    fn pcap_packet(self, seconds: u32, fraction: u32, frame: &[u8]) -> Vec<u8> {
        let octets = self.u32(frame.len() as u32);
        [&self.u32(seconds), &self.u32(fraction), &octets, &octets, frame].concat()
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let length = self.u32((12 + body.len() + padding.len()) as u32);
        [&self.u32(kind)[..], &length, body, &padding, &length].concat()
    }

    fn section(self) -> Vec<u8> {
        let versions = [self.u16(1), self.u16(0)].concat();
        self.block(0x0a0d_0d0a, &[&self.u32(0x1a2b_3c4d)[..], &versions, &[0xff; 8]].concat())
    }

    fn interface(self, link: u16, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&self.u16(link)[..], &[0, 0], &self.u32(0)].concat();
        for (code, value) in options {
            body.extend(self.u16(*code));
            body.extend(self.u16(value.len() as u16));
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    fn enhanced(self, interface: u32, ticks: u64, frame: &[u8]) -> Vec<u8> {
        let octets = self.u32(frame.len() as u32);
        let (high, low) = (self.u32((ticks >> 32) as u32), self.u32(ticks as u32));
        self.block(6, &[&self.u32(interface), &high, &low, &octets, &octets, frame].concat())
    }
}

/// A little-endian capture, one frame each second from second 1 on.
fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = LITTLE.pcap_header(0xa1b2_c3d4, link);
    for (n, frame) in frames.iter().enumerate() {
        bytes.extend(LITTLE.pcap_packet(n as u32 + 1, 0, frame));
    }
    bytes
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let octets = (payload.len() as u16 + 8).to_be_bytes();
    [&[0x1f, 0x90, 0x08, 0x07, octets[0], octets[1], 0, 0], payload].concat()
}

/// 192.0.2.1:8080 to 198.51.100.2:2055. `fragment`: the word with flags and offset.
fn ipv4_fragment(identification: u16, fragment: u16, options: &[u8], content: &[u8]) -> Vec<u8> {
    let octets = (20 + options.len() + content.len()) as u16;
    let mut header = vec![0x45 + (options.len() / 4) as u8, 0];
    header.extend(octets.to_be_bytes());
    header.extend(identification.to_be_bytes());
    header.extend(fragment.to_be_bytes());
    header.extend([64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
    [&header, options, content].concat()
}

fn ipv4(payload: &[u8]) -> Vec<u8> {
    ipv4_fragment(7, 0x4000, &[], &udp(payload))
}

const FROM4: &str = "192.0.2.1:8080";
const TO4: &str = "198.51.100.2:2055";
const FROM6: &str = "[2001:db8::1]:8080";
const TO6: &str = "[2001:db8::2]:2055";

/// 2001:db8::1 to 2001:db8::2, with `content` behind the fixed header.
fn ipv6_with(next: u8, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((content.len() as u16).to_be_bytes());
    header.extend([next, 64]);
    for last in [1, 2] {
        header.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    [&header, content].concat()
}

fn ipv6(payload: &[u8]) -> Vec<u8> {
    ipv6_with(17, &udp(payload))
}

fn ipv6_fragment(identification: u32, offset: u16, more: bool, content: &[u8]) -> Vec<u8> {
    let field = (offset | u16::from(more)).to_be_bytes();
    let id = identification.to_be_bytes();
    ipv6_with(44, &[&[17, 0, field[0], field[1], id[0], id[1], id[2], id[3]], content].concat())
}

fn ethernet(tags: &[u16], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![1; 12];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 5]);
    }
    frame.extend(ethertype.to_be_bytes());
    [&frame, packet].concat()
}

fn ether4(packet: &[u8]) -> Vec<u8> {
    ethernet(&[], 0x0800, packet)
}

fn ether6(packet: &[u8]) -> Vec<u8> {
    ethernet(&[], 0x86dd, packet)
}

#[test]
fn both_byte_orders_and_all_magics() {
    for order in [LITTLE, BIG] {
        for (magic, fraction) in [(0xa1b2_c3d4, 123_456), (0xa1b2_3c4d, 123_999_999)] {
            let packet = order.pcap_packet(1_700_000_000, fraction, &ether4(&ipv4(b"five")));
            let bytes = [order.pcap_header(magic, 1), packet].concat();
            check(&bytes, &[seen(1_700_000_000_123, FROM4, TO4, b"five")]);
        }
        // Eight octets more in front of each packet; the time after 2038 is no negative one.
        let frame = ether4(&ipv4(b"x"));
        let octets = order.u32(frame.len() as u32);
        let lead = [order.u32(4_000_000_000), order.u32(0), octets, octets].concat();
        let bytes = [order.pcap_header(0xa1b2_cd34, 1), lead, vec![9; 8], frame].concat();
        check(&bytes, &[seen(4_000_000_000_000, FROM4, TO4, b"x")]);
    }
}

#[test]
fn every_link_layer() {
    let (four, six) = (ipv4(b"4"), ipv6(b"6"));
    let both = [seen(1000, FROM4, TO4, b"4"), seen(2000, FROM6, TO6, b"6")];
    check(&pcap(1, &[ether4(&four), ether6(&six)]), &both);
    check(&pcap(1, &[ethernet(&[0x8100], 0x0800, &four), ethernet(&[0x88a8, 0x8100], 0x86dd, &six)]), &both);
    for raw in [12, 14, 101, 228, 229] {
        check(&pcap(raw, &[four.clone(), six.clone()]), &both);
    }
    let cooked1 = |ethertype: u16, packet: &[u8]| [&[0; 14], &ethertype.to_be_bytes()[..], packet].concat();
    check(&pcap(113, &[cooked1(0x0800, &four), cooked1(0x86dd, &six)]), &both);
    let cooked2 = |ethertype: u16, packet: &[u8]| [&ethertype.to_be_bytes()[..], &[0; 18], packet].concat();
    check(&pcap(276, &[cooked2(0x0800, &four), cooked2(0x86dd, &six)]), &both);
    for link in [0, 108] {
        for family in [10_u32, 24, 28, 30] {
            for (two, many) in
                [(2_u32.to_be_bytes(), family.to_be_bytes()), (2_u32.to_le_bytes(), family.to_le_bytes())]
            {
                check(&pcap(link, &[[&two[..], &four].concat(), [&many[..], &six].concat()]), &both);
            }
        }
    }
    assert!(matches!(read(&pcap(105, &[])), Err(Error::LinkType { link_type: 105, .. })));
}

#[test]
fn padding_and_check_sequences_are_not_payload() {
    let frame = [ether4(&ipv4(b"ab")), vec![0; 16]].concat();
    check(&pcap(1, &[frame]), &[seen(1000, FROM4, TO4, b"ab")]);
    // The upper bits of the link type: frames end with a check sequence.
    check(&pcap(0x1400_0001, &[ether4(&ipv4(b""))]), &[seen(1000, FROM4, TO4, b"")]);
    // UDP may end before the packet does.
    let mut content = udp(b"abc");
    content.extend(b"tail");
    check(&pcap(1, &[ether4(&ipv4_fragment(1, 0, &[], &content))]), &[seen(1000, FROM4, TO4, b"abc")]);
}

#[test]
fn options_and_extension_headers_are_looked_through() {
    check(&pcap(1, &[ether4(&ipv4_fragment(1, 0, &[1; 8], &udp(b"o")))]), &[seen(1000, FROM4, TO4, b"o")]);
    // Hop-by-hop (8 octets), destination options (16), authentication (24), atomic fragment.
    let chain = [
        &[60, 0, 1, 4, 0, 0, 0, 0][..],
        &[51, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[[44, 4].as_slice(), &[0; 22]].concat(),
        &[17, 0, 0, 0, 0, 0, 0, 9],
        &udp(b"deep"),
    ]
    .concat();
    check(&pcap(1, &[ether6(&ipv6_with(0, &chain))]), &[seen(1000, FROM6, TO6, b"deep")]);
}

#[test]
fn other_packets_are_counted_by_kind() {
    let one = Skipped::default;
    check_skipped(&[ethernet(&[], 0x0806, &[0; 28])], Skipped { not_ip: 1, ..one() });
    check_skipped(&[ether4(&[0x50; 20])], Skipped { not_ip: 1, ..one() });
    check_skipped(&[ether6(&ipv6_with(6, &[0; 20]))], Skipped { not_udp: 1, ..one() });
    let mut tcp = ipv4(b"");
    tcp[9] = 6;
    check_skipped(&[ether4(&tcp)], Skipped { not_udp: 1, ..one() });
    let whole = ether4(&ipv4(b"payload"));
    for octets in 0..whole.len() {
        check_skipped(&[whole[..octets].to_vec()], Skipped { cut: 1, ..one() });
    }
    let whole = ether6(&ipv6(b"payload"));
    for octets in 0..whole.len() {
        check_skipped(&[whole[..octets].to_vec()], Skipped { cut: 1, ..one() });
    }
    for length in [0_u16, 7, 10, 0xffff] {
        let mut content = udp(b"x");
        content[4..6].copy_from_slice(&length.to_be_bytes());
        check_skipped(&[ether4(&ipv4_fragment(1, 0, &[], &content))], Skipped { malformed: 1, ..one() });
        check_skipped(&[ether6(&ipv6_with(17, &content))], Skipped { malformed: 1, ..one() });
    }
    check_skipped(&[ether4(&ipv4_fragment(1, 0, &[], b"short"))], Skipped { malformed: 1, ..one() });
}

/// 24 octets of UDP (16 of payload), cut into three of 8.
fn pieces() -> (Vec<u8>, [Vec<u8>; 3]) {
    let whole = udp(b"0123456789abcdef");
    let pieces = [whole[..8].to_vec(), whole[8..16].to_vec(), whole[16..].to_vec()];
    (b"0123456789abcdef".to_vec(), pieces)
}

#[test]
fn fragments_in_any_order_with_repetitions() {
    let (payload, [a, b, c]) = pieces();
    let four = [
        ether4(&ipv4_fragment(5, 0x2000, &[], &a)),
        ether4(&ipv4_fragment(5, 0x2001, &[], &b)),
        ether4(&ipv4_fragment(5, 0x0002, &[], &c)),
    ];
    let six = [
        ether6(&ipv6_fragment(5, 0, true, &a)),
        ether6(&ipv6_fragment(5, 8, true, &b)),
        ether6(&ipv6_fragment(5, 16, false, &c)),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let pick = |frames: &[Vec<u8>; 3]| order.map(|at| frames[at].clone());
        check(&pcap(1, &pick(&four)), &[seen(3000, FROM4, TO4, &payload)]);
        check(&pcap(1, &pick(&six)), &[seen(3000, FROM6, TO6, &payload)]);
    }
    let [a, b, c] = four;
    check(&pcap(1, &[c.clone(), a.clone(), a, c, b]), &[seen(5000, FROM4, TO4, &payload)]);
}

#[test]
fn packets_under_way_at_once_are_told_apart() {
    let (payload, [a, b, c]) = pieces();
    let mut other = ipv4_fragment(5, 0x2000, &[], &a);
    other[15] = 9;
    let mut frames = vec![ether4(&other)];
    for id in [5, 6] {
        frames.push(ether4(&ipv4_fragment(id, 0x2000, &[], &a)));
    }
    for id in [6, 5] {
        frames.push(ether4(&ipv4_fragment(id, 0x2001, &[], &b)));
        frames.push(ether4(&ipv4_fragment(id, 0x0002, &[], &c)));
    }
    check(&pcap(1, &frames), &[seen(5000, FROM4, TO4, &payload), seen(7000, FROM4, TO4, &payload)]);
}

#[test]
fn overlapping_fragments_spoil_their_packet() {
    let (payload, [a, b, c]) = pieces();
    let first = ether4(&ipv4_fragment(5, 0x2000, &[], &a));
    let last = ether4(&ipv4_fragment(5, 0x0002, &[], &c));
    let middle = ether4(&ipv4_fragment(5, 0x2001, &[], &b));
    for wrong in [
        ether4(&ipv4_fragment(5, 0x2000, &[], b"other 8 ")),
        ether4(&ipv4_fragment(5, 0x2000, &[], &[&a[..], &b].concat())),
        ether4(&ipv4_fragment(5, 0x2001, &[], &[&b[..], &c].concat())),
        ether4(&ipv4_fragment(5, 0x2003, &[], &b)),
        ether4(&ipv4_fragment(5, 0x0001, &[], &b)),
    ] {
        let frames = [first.clone(), last.clone(), wrong, middle.clone()];
        // The wrong one, and the one that comes for the spoilt packet.
        let skipped = Skipped { fragments_refused: 2, ..Skipped::default() };
        check_skipped(&frames, skipped);
    }
    // Not a multiple of 8, nothing at all, beyond the longest packet: refused, without harm to the packet.
    for wrong in [
        ether4(&ipv4_fragment(5, 0x2001, &[], b"seven..")),
        ether4(&ipv4_fragment(5, 0x2001, &[], b"")),
        ether4(&ipv4_fragment(5, 0x1fff, &[], &b)),
    ] {
        let (found, skipped) = read(&pcap(1, &[first.clone(), last.clone(), wrong, middle.clone()])).unwrap();
        assert_eq!(found, [seen(4000, FROM4, TO4, &payload)]);
        assert_eq!(skipped, Skipped { fragments_refused: 1, ..Skipped::default() });
    }
}

#[test]
fn fragments_wait_thirty_seconds() {
    let (payload, [a, b, c]) = pieces();
    let [a, b, c] =
        [(0x2000, a), (0x2001, b), (0x0002, c)].map(|(at, it)| ether4(&ipv4_fragment(5, at, &[], &it)));
    for (wait, is_whole) in [(30, true), (31, false)] {
        let mut bytes = LITTLE.pcap_header(0xa1b2_c3d4, 1);
        bytes.extend(LITTLE.pcap_packet(100, 0, &a));
        bytes.extend(LITTLE.pcap_packet(100, 0, &b));
        bytes.extend(LITTLE.pcap_packet(100 + wait, 0, &c));
        let (found, skipped) = read(&bytes).unwrap();
        if is_whole {
            assert_eq!(found, [seen(130_000, FROM4, TO4, &payload)]);
            assert_eq!(skipped, Skipped::default());
        } else {
            assert_eq!((found, skipped), (vec![], Skipped { incomplete: 1, ..Skipped::default() }));
        }
    }
}

#[test]
fn fragments_that_wait_are_bounded() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("capture");
    let mut bytes = LITTLE.pcap_header(0xa1b2_c3d4, 1);
    for id in 0..5000_u16 {
        bytes.extend(LITTLE.pcap_packet(1, 0, &ether4(&ipv4_fragment(id, 0x2000, &[], &[0; 8]))));
    }
    fs::write(&path, bytes).unwrap();
    let mut capture = Capture::open(&path).unwrap();
    assert_eq!(rest(&mut capture).unwrap(), []);
    assert_eq!((capture.fragments().waiting(), capture.skipped().incomplete), (1024, 5000 - 1024));
}

#[test]
fn pcapng_in_both_byte_orders_with_all_packet_blocks() {
    for order in [LITTLE, BIG] {
        let frame = ether4(&ipv4(b"odd"));
        let octets = order.u32(frame.len() as u32);
        let offset = if order.is_big_endian { 100_i64.to_be_bytes() } else { 100_i64.to_le_bytes() };
        let obsolete =
            [&order.u16(1)[..], &order.u16(0), &order.u32(0), &order.u32(9000), &octets, &octets, &frame]
                .concat();
        let bytes = [
            order.section(),
            order.interface(1, &[(2, b"eth0")]),
            order.interface(1, &[(9, &[3]), (14, &offset), (0, b"")]),
            order.interface(1, &[(9, &[0x80 | 10])]),
            order.interface(1, &[(9, &[9])]),
            order.interface(1, &[(9, &[0])]),
            order.interface(147, &[]),
            order.block(0x0bad_cafe, &[1, 2, 3]),
            order.enhanced(0, 1_700_000_000_123_456, &frame),
            order.enhanced(1, 5000, &frame),
            order.enhanced(2, 3 * 1024 + 512, &frame),
            order.enhanced(3, 7_999_999_999, &frame),
            order.enhanced(4, 8, &frame),
            order.block(2, &obsolete),
            order.block(3, &[&octets[..], &frame].concat()),
            order.enhanced(5, 0, &frame),
            order.enhanced(6, 0, &frame),
        ]
        .concat();
        let (found, skipped) = read(&bytes).unwrap();
        // Microseconds; milliseconds after second 100; 1/1024 s; nanoseconds; seconds; obsolete on the second
        // interface. A simple one has no time.
        let times = [1_700_000_000_123, 105_000, 3500, 7999, 8000, 109_000];
        assert_eq!(found, times.map(|time| seen(time, FROM4, TO4, b"odd")));
        assert_eq!(skipped, Skipped { unknown_link: 2, timeless: 1, ..Skipped::default() });
    }
}

/// Nobody knows when simple packets were captured, so no datagram comes out: not in 1970, and not at another one's time.
#[test]
fn packets_without_a_time_are_counted_and_left_out() {
    let simple = |frame: &[u8]| {
        let octets = u32::try_from(frame.len()).unwrap().to_le_bytes();
        LITTLE.block(3, &[&octets[..], frame].concat())
    };
    let (frame, arp) = (ether4(&ipv4(b"odd")), ethernet(&[], 0x0806, &[0; 28]));
    let head = [LITTLE.section(), LITTLE.interface(1, &[])].concat();
    let (found, skipped) =
        read(&[&head[..], &simple(&frame), &simple(&arp), &simple(&frame)].concat()).unwrap();
    assert_eq!((found, skipped), (vec![], Skipped { timeless: 2, not_ip: 1, ..Skipped::default() }));
    assert_eq!(skipped.doubtful(), 2);
}

#[test]
fn a_new_section_has_its_own_order_and_interfaces() {
    let (four, six) = (ipv4(b"4"), ipv6(b"6"));
    let bytes = [
        LITTLE.section(),
        LITTLE.interface(1, &[]),
        LITTLE.enhanced(0, 1_000_000, &ether4(&four)),
        BIG.section(),
        BIG.interface(101, &[]),
        BIG.enhanced(0, 2_000_000, &six),
    ]
    .concat();
    check(&bytes, &[seen(1000, FROM4, TO4, b"4"), seen(2000, FROM6, TO6, b"6")]);
}

#[test]
fn a_capture_that_ends_within_a_packet_is_read_to_there() {
    let frame = ether4(&ipv4(b"x"));
    let old = pcap(1, &[frame.clone(), frame.clone()]);
    let new = [
        LITTLE.section(),
        LITTLE.interface(1, &[]),
        LITTLE.enhanced(0, 1_000_000, &frame),
        LITTLE.enhanced(0, 2_000_000, &frame),
    ]
    .concat();
    let last = [16 + frame.len(), 32 + frame.len().next_multiple_of(4)];
    for (whole, last) in [old, new].into_iter().zip(last) {
        for octets in whole.len() - last + 1..whole.len() {
            let (found, skipped) = read(&whole[..octets]).unwrap();
            assert_eq!(found, [seen(1000, FROM4, TO4, b"x")]);
            assert_eq!(skipped, Skipped { torn: 1, ..Skipped::default() });
        }
        let (found, skipped) = read(&whole[..whole.len() - last]).unwrap();
        assert_eq!((found.len(), skipped.torn), (1, 0));
    }
}

#[test]
fn damage_is_named_with_its_offset() {
    let mut bytes = pcap(1, &[ether4(&ipv4(b"x"))]);
    let offset = bytes.len() as u64;
    bytes.extend(LITTLE.pcap_packet(1, 0, &[]));
    let at = bytes.len() - 8;
    bytes[at..at + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, Error::Damaged { offset: found, .. } if found == offset), "{error}");
    let mut bytes = [LITTLE.section(), LITTLE.interface(1, &[])].concat();
    let at = bytes.len() - 4;
    bytes[at] ^= 1;
    assert!(matches!(read(&bytes).unwrap_err(), Error::Damaged { offset: 28, .. }));
    for bytes in [&b""[..], b"short", &[0; 100]] {
        assert!(matches!(read(bytes), Err(Error::NotACapture { .. })));
    }
}

/// A capture of all kinds of datagrams, in both formats.
fn mixed() -> [Vec<u8>; 2] {
    let (_, [a, b, c]) = pieces();
    let frames = [
        ether4(&ipv4(b"one")),
        ether4(&ipv4_fragment(5, 0x2000, &[], &a)),
        ether6(&ipv6_fragment(6, 16, false, &c)),
        ether6(&ipv6(b"two")),
        ether4(&ipv4_fragment(5, 0x0002, &[], &c)),
        ethernet(&[], 0x0806, &[0; 28]),
        ether4(&ipv4_fragment(5, 0x2001, &[], &b)),
        ether6(&ipv6_fragment(6, 0, true, &a)),
        ethernet(&[0x8100], 0x0800, &ipv4(b"three")),
        ether6(&ipv6_fragment(6, 8, true, &b)),
    ];
    let mut new = [LITTLE.section(), LITTLE.interface(1, &[])].concat();
    for (n, frame) in frames.iter().enumerate() {
        new.extend(LITTLE.enhanced(0, n as u64 * 1_000_000, frame));
        new.extend(LITTLE.block(5, &[0; 12]));
    }
    [pcap(1, &frames), new]
}

#[test]
fn an_interrupted_reading_goes_on_where_it_was() {
    let directory = TempDir::new().unwrap();
    for bytes in mixed() {
        let path = directory.path().join("capture");
        fs::write(&path, bytes).unwrap();
        let all = rest(&mut Capture::open(&path).unwrap()).unwrap();
        assert_eq!(all.len(), 5);
        for taken in 0..=all.len() {
            let mut first = Capture::open(&path).unwrap();
            let mut found = Vec::new();
            for _ in 0..taken {
                let it = first.next().unwrap().unwrap();
                found.push(seen(it.time.0, &it.source.to_string(), &it.destination.to_string(), it.payload));
            }
            let stored = postcard::to_allocvec(first.fragments()).unwrap();
            let mut second = Capture::open(&path).unwrap();
            second.resume(first.offset(), postcard::from_bytes(&stored).unwrap()).unwrap();
            found.extend(rest(&mut second).unwrap());
            assert_eq!(found, all);
        }
    }
}

#[test]
fn going_on_where_no_packet_ends_is_an_error() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("capture");
    let [old, new] = mixed();
    for (bytes, offset) in
        [(&old, 23), (&old, old.len() as u64 + 1), (&new, 50), (&new, new.len() as u64 + 1)]
    {
        fs::write(&path, bytes).unwrap();
        let mut capture = Capture::open(&path).unwrap();
        let error = capture.resume(offset, Reassembly::default()).unwrap_err();
        assert!(matches!(error, Error::NoBoundary { .. }), "{error}");
    }
}

/// What the writer is given in the tests below.
fn to_write() -> Vec<Seen> {
    let mut all = Vec::new();
    for (n, octets) in [0_usize, 1, 2, 3, 100, 1464, 9000, 65_507].into_iter().enumerate() {
        let payload: Vec<u8> = (0..octets).map(|at| (at * 7 + n) as u8).collect();
        all.push(seen(1_700_000_000_001 + n as i64 * 999, FROM4, TO4, &payload));
        all.push(seen(1_700_000_000_002 + n as i64 * 999, FROM6, TO6, &payload));
    }
    all
}

fn write(path: &Path, all: &[Seen]) {
    let mut writer = CaptureWriter::create(path).unwrap();
    for (time, source, destination, payload) in all {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        writer.write(UnixMillis(*time), source, destination, payload).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn what_is_written_is_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("capture");
    write(&path, &to_write());
    assert_eq!(rest(&mut Capture::open(&path).unwrap()).unwrap(), to_write());
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let directory = TempDir::new().unwrap();
    let mut writer = CaptureWriter::create(&directory.path().join("capture")).unwrap();
    let (four, six): (SocketAddr, SocketAddr) = (FROM4.parse().unwrap(), FROM6.parse().unwrap());
    assert!(writer.write(UnixMillis(0), four, six, b"").is_err());
    assert!(writer.write(UnixMillis(0), four, four, &[0; 65_508]).is_err());
    assert!(writer.write(UnixMillis(0), six, six, &[0; 65_528]).is_err());
    assert!(writer.write(UnixMillis(-1), four, four, b"").is_err());
    writer.write(UnixMillis(0), six, six, &[0; 65_527]).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever becomes of the octets: an end or an error, no panic.
    #[test]
    fn damaged_captures_end_or_fail(
        which in 0_usize..2,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut bytes = mixed()[which].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(&bytes);
        bytes.truncate(keep.index(bytes.len()) + 1);
        let _ = read(&bytes);
    }

    /// The same of packets alone, behind an intact frame.
    #[test]
    fn any_packet_is_a_datagram_or_counted(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..20)) {
        let frames: Vec<_> = frames.into_iter().map(|mut frame| {
            if let Some(first) = frame.first_mut() {
                *first = if *first & 1 == 0 { 0x45 } else { 0x60 };
            }
            if let [0x45, .., ] = frame[..] && frame.len() > 9 { frame[9] = 17 }
            frame
        }).collect();
        let (found, it) = read(&pcap(101, &frames)).unwrap();
        let skipped = it.not_ip + it.not_udp + it.cut + it.malformed + it.fragments_refused;
        prop_assert!(found.len() as u64 + skipped <= frames.len() as u64);
    }
}
