//! Frames written out octet by octet.

use proptest::prelude::*;

use super::{Frame, Link};
use crate::flow::{Address, Family};

/// Octets from hexadecimal digits; blanks are for the reader.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

fn dissect(link: Link, data: &[u8]) -> Frame {
    Frame::dissect(link, data, None)
}

const MACS: &str = "00005e000101 00005e000102";

/// 192.0.2.1 to 198.51.100.2, TCP 443 to 51000, SYN ACK, DSCP 46; 60 octets long.
const TCP4: &str =
    "45b8003c 1c464000 40063187 c0000201 c6336402  01bbc738 00000001 00000002 a0120000 00000000";

/// 2001:db8::1 to 2001:db8:1::2, traffic class 0x2e, payload of 20 octets, next header as given.
fn v6(next: u8) -> String {
    format!("62e00000 0014{next:02x}40 20010db8000000000000000000000001 20010db8000100000000000000000002")
}

fn ethernet(rest: &str) -> Frame {
    dissect(Link::Ethernet, &hex(&format!("{MACS} {rest}")))
}

fn tcp4(vlan: u16, octets: u32) -> Frame {
    Frame {
        family: Family::V4,
        source: Address(0xc000_0201),
        destination: Address(0xc633_6402),
        protocol: 6,
        tos: 0xb8,
        source_port: 443,
        destination_port: 51_000,
        tcp_flags: 0x12,
        vlan,
        octets: Some(octets),
    }
}

#[test]
fn what_leads_to_a_packet() {
    for (rest, vlan, before) in [
        ("0800", 0, 14),
        ("8100 6064 0800", 100, 18),
        ("88a8 0065 8100 00c8 0800", 101, 22),
        ("9100 0066 8100 00c8 8100 012c 0800", 102, 26),
        // A priority tag names no VLAN; the next one does.
        ("8100 e000 8100 0007 0800", 7, 22),
        ("8847 000103ff", 0, 18),
        ("8847 00010040 000203ff", 0, 22),
        ("8100 0064 8848 000103ff", 100, 22),
        ("8864 1100 0001 003e 0021", 0, 22),
        ("8100 0064 8864 1100 0001 003e 0021", 100, 26),
        ("0052 aaaa03 000000 0800", 0, 22),
        ("8864 1100 0001 0042 0281 000103ff", 0, 26),
    ] {
        assert_eq!(ethernet(&format!("{rest} {TCP4}")), tcp4(vlan, before + 60), "{rest}");
    }
    for (link, rest, before) in [
        (Link::Ip, "", 0),
        (Link::Mpls, "00010040 000203ff", 8),
        (Link::Ppp, "0021", 2),
        (Link::Ppp, "ff030021", 4),
    ] {
        assert_eq!(dissect(link, &hex(&format!("{rest} {TCP4}"))), tcp4(0, before + 60), "{rest}");
    }
}

#[test]
fn what_leads_nowhere() {
    for rest in [
        "0806 0001080006040001 00005e000101 c0000201 000000000000 c0000202",
        "0026 424203 0000000000",
        "8847 000103ff 00000000 00005e000101",
        "88cc 0207",
        "8864 1100 0001 0004 c021 0101",
        "0800 f5b8003c",
    ] {
        assert_eq!(ethernet(rest), Frame::default(), "{rest}");
    }
    // Tags without end.
    assert_eq!(ethernet(&format!("{} 0800 {TCP4}", "8100 0001 ".repeat(9))).family, Family::Other);
}

#[test]
fn ipv4_options_fragments_and_ports() {
    // Six words of header, one of them options; UDP.
    let options = "46000028 00004000 4011 0000 c0000201 c6336402 01010100 0035d431";
    let frame = dissect(Link::Ip, &hex(options));
    assert_eq!((frame.source_port, frame.destination_port, frame.octets), (53, 54_321, Some(40)));
    // The first fragment has the ports, a later one what looks like them.
    for (word, ports) in [("2000", (53, 54_321)), ("2001", (0, 0)), ("00b9", (0, 0))] {
        let text = format!("45000028 0000{word} 4011 0000 c0000201 c6336402 0035d431");
        let frame = dissect(Link::Ip, &hex(&text));
        assert_eq!((frame.source_port, frame.destination_port, frame.protocol), (ports.0, ports.1, 17));
    }
    // ICMP "host unreachable": type 3, code 1. SCTP has ports, ESP has none.
    for (protocol, ports) in [("01", (0, 0x0301)), ("84", (0x0301, 0x0bb8)), ("32", (0, 0))] {
        let text = format!("45000028 00000000 40{protocol} 0000 c0000201 c6336402 03010bb8");
        let frame = dissect(Link::Ip, &hex(&text));
        assert_eq!((frame.source_port, frame.destination_port), ports, "{protocol}");
    }
    // A length that is less than the header is none.
    let frame = dissect(Link::Ip, &hex("45000000 00000000 4011 0000 c0000201 c6336402 0035d431"));
    assert_eq!((frame.octets, frame.source_port), (None, 53));
}

#[test]
fn ipv6_extension_headers() {
    let plain = dissect(Link::Ip, &hex(&format!("{} 01bbc738 00000001 00000002 50190000", v6(6))));
    assert_eq!(plain.family, Family::V6);
    assert_eq!(plain.source, Address(0x2001_0db8_0000_0000_0000_0000_0000_0001));
    assert_eq!(plain.destination, Address(0x2001_0db8_0001_0000_0000_0000_0000_0002));
    assert_eq!((plain.protocol, plain.tos, plain.octets), (6, 0x2e, Some(60)));
    assert_eq!((plain.source_port, plain.destination_port, plain.tcp_flags), (443, 51_000, 0x19));
    for (first, rest, protocol, ports) in [
        // Hop by hop (8 octets), destination options (16), UDP.
        (0, "3c00050200000000 1101 010c000000000000 000000000000 0035d431", 17, (53, 54_321)),
        // Authentication header: (4 + 2) words.
        (51, "11040000 00000001 00000002 000000000000000000000000 0035d431", 17, (53, 54_321)),
        // First fragment, later fragment, later fragment of destination options.
        (44, "11000001 00000001 0035d431", 17, (53, 54_321)),
        (44, "110005a8 00000001 0035d431", 17, (0, 0)),
        (44, "3c0005a8 00000001 0035d431", 60, (0, 0)),
        // ICMPv6 packet too big.
        (58, "02000000", 58, (0, 0x0200)),
        (59, "0035d431", 59, (0, 0)),
        // Cut in the extension header.
        (43, "11", 43, (0, 0)),
        (44, "1100", 44, (0, 0)),
    ] {
        let frame = dissect(Link::Ip, &hex(&format!("{} {rest}", v6(first))));
        assert_eq!(
            (frame.protocol, (frame.source_port, frame.destination_port)),
            (protocol, ports),
            "{rest}"
        );
    }
    // Extension headers without end.
    let endless = format!("{} {}", v6(60), "3c00010400000000".repeat(20));
    assert_eq!(dissect(Link::Ip, &hex(&endless)).protocol, 60);
    // A payload length of 0 is a jumbogram's: not stated.
    let jumbo = v6(6).replace("0014", "0000");
    assert_eq!(dissect(Link::Ip, &hex(&jumbo)).octets, None);
}

/// What a part of the frame tells is what the whole tells, or nothing.
fn is_part(part: &Frame, whole: &Frame) {
    let numbers = |f: &Frame| {
        [
            f.source.0,
            f.destination.0,
            f.protocol.into(),
            f.source_port.into(),
            f.destination_port.into(),
            f.tcp_flags.into(),
            f.vlan.into(),
            f.octets.unwrap_or_default().into(),
        ]
    };
    for (part, whole) in numbers(part).into_iter().zip(numbers(whole)) {
        assert!(part == 0 || part == whole, "{part} of {whole}");
    }
    assert!(part.family == Family::Other || part.family == whole.family);
}

#[test]
fn frames_cut_at_every_octet() {
    for rest in [
        format!("88a8 0065 8100 00c8 0800 {TCP4}"),
        format!("8847 00010040 000203ff {TCP4}"),
        format!("8864 1100 0001 003e 0021 {TCP4}"),
        format!("86dd {} 01bbc738 00000001 00000002 50190000", v6(6)),
        "0800 45000028 00000000 4001 0000 c0000201 c6336402 0301".into(),
    ] {
        let frame = hex(&format!("{MACS} {rest}"));
        let whole = dissect(Link::Ethernet, &frame);
        for cut in 0..frame.len() {
            is_part(&dissect(Link::Ethernet, &frame[..cut]), &whole);
        }
        // An address needs all of its octets, and nothing behind them.
        let v4 =
            rest.contains("c0000201").then(|| frame.windows(4).position(|w| w == hex("c0000201")).unwrap());
        if let Some(at) = v4 {
            assert_eq!(dissect(Link::Ethernet, &frame[..at + 4]).source, Address(0xc000_0201));
        }
    }
}

/// What is behind labels, in a frame of so many octets; `after`: what follows the label stack, from its first octet.
fn behind_labels(label: &str, after: &str, length: Option<u32>) -> Frame {
    Frame::dissect(Link::Ethernet, &hex(&format!("{MACS} 8847 {label} {after}")), length)
}

/// The frame of a pseudowire without control word begins with a MAC address (RFC 4928): 4c96.14 and 6487.88 here.
#[test]
fn a_pseudowire_is_no_packet() {
    const INNER: &str = "4c9614 040506 0800 4500 05dc 1234 4000 4006 0000 0a000001 0a000002 01bb c738 00000001 00000002 50190000 00000000 00000000";
    for length in [None, Some(1536)] {
        let four = behind_labels("000113ff", &format!("4c9614 010203 {INNER}"), length);
        assert_eq!((four.family, four.destination, four.octets), (Family::Other, Address(0), None));
        let six = behind_labels("000113ff", &format!("648788 010203 {INNER}"), length);
        assert_eq!((six.family, six.octets), (Family::Other, None));
    }
    // IPv4 is known by its header's check sum; where that is cut off, by its length.
    let whole = |after: &str, length| behind_labels("000113ff", after, length).family;
    assert_eq!(whole(TCP4, None), Family::V4);
    assert_eq!(whole(&TCP4.replace("3187", "3180"), None), Family::Other);
    assert_eq!(whole(&TCP4[..22], Some(18 + 60)), Family::V4);
    assert_eq!(whole(&TCP4[..22], Some(18 + 59)), Family::Other);
    // IPv6 by its length: 60 octets, and padding or a check sequence behind it.
    let six = format!("{} 01bbc738 00000001 00000002 50190000 00000000", v6(6));
    for (length, family) in
        [(18 + 59, Family::Other), (18 + 60, Family::V6), (18 + 64, Family::V6), (18 + 200, Family::Other)]
    {
        assert_eq!(whole(&six, Some(length)), family, "{length}");
    }
    assert_eq!(whole(&format!("{} 01bb", v6(0x64)), None), Family::Other);
    // Explicit null says what it is.
    assert_eq!(behind_labels("000001ff", &TCP4.replace("3187", "0000"), None).family, Family::V4);
    assert_eq!(behind_labels("000021ff", &six, Some(1500)).family, Family::V6);
}

proptest! {
    #[test]
    fn noise_is_read_without_a_panic(
        link in prop::sample::select(vec![Link::Ethernet, Link::Ip, Link::Mpls, Link::Ppp]),
        kind in prop::sample::select(vec!["0800", "86dd", "8100", "8847", "8864", "0020aaaa03000000", ""]),
        noise in prop::collection::vec(any::<u8>(), 0..140),
    ) {
        let frame = [hex(&format!("{MACS} {kind}")), noise.clone()].concat();
        dissect(Link::Ethernet, &frame);
        dissect(link, &noise);
    }

    /// Extension headers of IPv6 in any order, lengths and fragments included.
    #[test]
    fn noise_behind_an_ipv6_header(
        next in prop::sample::select(vec![0_u8, 6, 17, 43, 44, 50, 51, 58, 59, 60, 135]),
        noise in prop::collection::vec(prop_oneof![Just(0_u8), Just(44), Just(60), Just(255), any::<u8>()], 0..90),
    ) {
        let packet = [hex(&v6(next)), noise].concat();
        for cut in 0..packet.len() {
            dissect(Link::Ip, &packet[..cut]);
        }
    }
}
