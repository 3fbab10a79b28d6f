//! Headers between the frame and the packet, written out octet by octet, and what tshark makes of them.

use super::*;

/// Octets from hexadecimal digits; blanks are for the reader.
fn octets(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

const MACS: &str = "020000000001 020000000002";

/// Link type, what leads to the packet, and whether that is of IPv4.
const WAYS: [(u32, &str, bool); 27] = [
    (1, "9200 0005 0800", true),
    (1, "88a8 0005 9200 0006 86dd", false),
    // MPLS: one label at the bottom of its stack, two and three.
    (1, "8847 00010140", true),
    (1, "8847 00010040 00020140", true),
    (1, "8848 00010040 00020040 00030140", false),
    (1, "8100 0005 8847 00010140", false),
    // PPPoE, in tags or not; with the packet's length, which nobody needs.
    (1, "8864 1100 0007 0000 0021", true),
    (1, "8100 0005 8100 0006 8864 1100 0007 0000 0057", false),
    // PPPoE with labels in it, and in labels nothing but the packet.
    (1, "8864 1100 0007 0000 0281 00010140", true),
    // 802.3 with SNAP.
    (1, "0040 aaaa03 000000 0800", true),
    // PPP with address and control, and without.
    (9, "ff03 0021", true),
    (9, "ff03 0057", false),
    (9, "0021", true),
    (9, "0057", false),
    (9, "ff03 0281 00010140", true),
    // The protocol's first octet left out.
    (9, "ff03 21", true),
    (9, "57", false),
    (50, "ff03 0021", true),
    (50, "ff03 0057", false),
    // Cisco's HDLC under the same number.
    (50, "0f00 0800", true),
    (50, "8f00 86dd", false),
    (51, "1100 0007 0000 0021", true),
    (51, "1100 0007 0000 0057", false),
    (104, "0f00 0800", true),
    (104, "8f00 86dd", false),
    (104, "0f00 8847 00010140", true),
    (219, "00010040 00020140", true),
];

/// The frame, with the length of PPPoE and of 802.3 filled in, since tshark looks at them.
fn frame(link: u32, way: &str, is_v4: bool) -> Vec<u8> {
    let packet = if is_v4 { ipv4(b"four") } else { ipv6(b"six") };
    let mut way = octets(way);
    let session = way.windows(4).position(|four| four == [0x11, 0, 0, 7]);
    if let Some(at) = session {
        let behind = (way.len() - at - 6 + packet.len()) as u16;
        way[at + 4..at + 6].copy_from_slice(&behind.to_be_bytes());
    }
    if way.starts_with(&[0, 0x40]) {
        way[1] = (way.len() - 2 + packet.len()) as u8;
    }
    let macs = if link == 1 { octets(MACS) } else { vec![] };
    [macs, way, packet].concat()
}

fn expected(is_v4: bool) -> Seen {
    if is_v4 { seen(1000, FROM4, TO4, b"four") } else { seen(1000, FROM6, TO6, b"six") }
}

#[test]
fn labels_sessions_and_point_to_point_links_are_looked_through() {
    for (link, way, is_v4) in WAYS {
        let (found, skipped) = read(&pcap(link, &[frame(link, way, is_v4)])).unwrap();
        assert_eq!((found, skipped), (vec![expected(is_v4)], Skipped::default()), "{link}: {way}");
    }
}

/// A capture that ends anywhere before the packet has been cut, and is not taken for one without a packet: it may have
/// been an export datagram.
#[test]
fn frames_that_end_early_are_doubtful() {
    for (link, way, is_v4) in WAYS {
        let whole = frame(link, way, is_v4);
        for length in 1..whole.len() {
            let (found, skipped) = read(&pcap(link, &[whole[..length].to_vec()])).unwrap();
            assert_eq!(found, vec![], "{link}: {way}: {length}");
            let cut = Skipped { cut: 1, ..Skipped::default() };
            assert_eq!(skipped, cut, "{link}: {way}: {length}");
        }
    }
}

#[test]
fn other_protocols_behind_these_headers_are_no_ip() {
    for (link, way) in [
        // A pseudowire with its control word, and PPPoE's discovery.
        (1, "8847 00010140 00000000"),
        (1, "8863 1109 0000 0004 0101 0000"),
        (1, "8864 1165 0007 0004 0021 4500"),
        (1, "8864 2100 0007 0004 0021 4500"),
        // LCP, IS-IS over LLC, spanning tree, and Cisco's keepalive.
        (1, "8864 1100 0007 0004 c021 0101"),
        (9, "ff03 c021 0101 0004"),
        (50, "8f00 8035 00000002 00000000"),
        (104, "8f00 8035 00000002 00000000"),
        (1, "0026 424203 000000"),
        (1, "0026 fefe03 830000"),
    ] {
        let macs = if link == 1 { octets(MACS) } else { vec![] };
        let frame = [macs, octets(way), vec![0; 40]].concat();
        let not_ip = Skipped { not_ip: 1, ..Skipped::default() };
        assert_eq!(read(&pcap(link, &[frame])).unwrap(), (vec![], not_ip), "{link}: {way}");
    }
    // Headers without end.
    let endless = [octets(MACS), octets(&"8100 0005 ".repeat(20)), octets("0800"), ipv4(b"")].concat();
    check_skipped(&[endless], Skipped { not_ip: 1, ..Skipped::default() });
}

/// tshark finds the same datagram in each of these frames. (It does not read captures of labels, and takes 0x9200 for no
/// tag.)
#[test]
fn tshark_sees_the_same_in_these_frames() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("capture");
    for (link, way, is_v4) in WAYS.into_iter().filter(|(link, way, _)| *link != 219 && !way.contains("9200"))
    {
        fs::write(&path, pcap(link, &[frame(link, way, is_v4)])).unwrap();
        let lines = tshark(&path);
        let payloads: Vec<&str> = lines.iter().map(|line| line[3].as_str()).collect();
        assert_eq!(payloads, [hex(&expected(is_v4).3)], "{link}: {way}");
    }
}
