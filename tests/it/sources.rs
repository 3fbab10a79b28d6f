//! Where datagrams come from: several ports of one exporter, exporters with IPv6 addresses, and a router that starts anew
//! with another layout while the daemon is down.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fluxoscope::receive::pcap_write::CaptureWriter;
use fluxoscope::units::UnixMillis;

use crate::exporters::{nothing_amiss, truth, volumes};
use crate::live_support::{Daemon, NETWORK, Site, Traffic, now_ms, number};

/// Numbers, each in so many octets.
fn be(parts: &[(u64, usize)]) -> Vec<u8> {
    parts.iter().flat_map(|&(n, octets)| n.to_be_bytes()[8 - octets..].to_vec()).collect()
}

fn set(id: u64, body: &[u8]) -> Vec<u8> {
    [be(&[(id, 2), (body.len() as u64 + 4, 2)]), body.to_vec()].concat()
}

fn fields(of: &[(u64, u64)]) -> Vec<u8> {
    of.iter().flat_map(|&(element, length)| be(&[(element, 2), (length, 2)])).collect()
}

/// A template record, alike in both protocols.
fn template(id: u64, of: &[(u64, u64)]) -> Vec<u8> {
    [be(&[(id, 2), (of.len() as u64, 2)]), fields(of)].concat()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Nine,
    Ipfix,
}

use Protocol::{Ipfix, Nine};

impl Protocol {
    /// The set id of templates.
    fn templates(self) -> u64 {
        if self == Nine { 0 } else { 2 }
    }

    /// A datagram of domain 7, exported now by a router that has been up for so long. What `sequence` counts differs.
    fn datagram(self, uptime: u64, sequence: u64, sets: &[Vec<u8>]) -> Vec<u8> {
        let (now, body) = (now_ms().cast_unsigned() / 1000, sets.concat());
        let head = match self {
            Nine => be(&[(9, 2), (sets.len() as u64, 2), (uptime, 4), (now, 4), (sequence, 4), (7, 4)]),
            Ipfix => be(&[(10, 2), (body.len() as u64 + 16, 2), (now, 4), (sequence, 4), (7, 4)]),
        };
        [head, body].concat()
    }

    /// Options that describe sampler 5, one in 100, as template and record: v9 by elements 48 to 50 (RFC 3954 8), IPFIX by
    /// 302 and 304 to 306 (RFC 5477 8.2).
    fn sampler(self) -> Vec<Vec<u8>> {
        match self {
            Nine => {
                let head = be(&[(300, 2), (4, 2), (12, 2)]);
                let of = fields(&[(1, 4), (48, 1), (49, 1), (50, 4)]);
                vec![set(1, &[head, of].concat()), set(300, &be(&[(0, 4), (5, 1), (2, 1), (100, 4)]))]
            }
            Ipfix => {
                let head = be(&[(300, 2), (4, 2), (1, 2)]);
                let of = fields(&[(302, 4), (304, 2), (305, 4), (306, 4)]);
                vec![set(3, &[head, of].concat()), set(300, &be(&[(5, 4), (1, 2), (1, 4), (99, 4)]))]
            }
        }
    }
}

/// From 198.18.0.1 to the customer of these tests.
const WAY: [(u64, u64); 2] = [(8, 4), (12, 4)];

fn way() -> Vec<u8> {
    be(&[(0xc612_0001, 4), (0xcb00_7109, 4)])
}

/// One exporter, of which `exporter` says the rest, that is the link as a whole, and one customer.
fn network(listen: &str, exporter: &str) -> String {
    format!(
        "[receive]\nlisten = [\"{listen}\"]\n[[exporter]]\nname = \"edge\"\n{exporter}\n\
         [[link]]\nname = \"transit\"\ninterfaces = [{{ exporter = \"edge\" }}]\n\
         [[customer]]\nname = \"campus\"\nprefixes = [\"203.0.113.0/24\", \"2001:db8:40::/48\"]\n"
    )
}

/// Flows, packets and octets, scaled, of the customer: there is nothing else.
fn campus(site: &Site) -> [u64; 3] {
    let rows = site.usage("customer,direction,exporter");
    let [row] = &rows[..] else {
        assert!(rows.is_empty(), "{rows:?}");
        return [0; 3];
    };
    assert_eq!(
        (&row["customer"], &row["direction"], &row["exporter"]),
        (&"campus".into(), &"in".into(), &"edge".into())
    );
    ["flows", "packets", "bytes"].map(|column| number(&row[column]))
}

/// Templates, records and the description of their sampler come from three line cards, each with a port of its own, in
/// whatever order: it is one exporter, and one domain.
#[test]
fn three_ports_of_an_exporter_are_one_exporter() {
    for protocol in [Nine, Ipfix] {
        let (sampler, octets) = if protocol == Nine { (48, 1) } else { (302, 4) };
        let data = |bytes, packets| {
            [way(), be(&[(bytes, 4), (packets, 4)]), be(&[(5, usize::try_from(octets).unwrap())])].concat()
        };
        let layout = [&WAY[..], &[(1, 4), (2, 4), (sampler, octets)]].concat();
        // Sets, and the records among them, which are what IPFIX counts.
        let cards: [(Vec<Vec<u8>>, u64); 3] = [
            (vec![set(protocol.templates(), &template(256, &layout))], 0),
            (vec![set(256, &[data(1000, 10), data(500, 5)].concat())], 2),
            (protocol.sampler(), 1),
        ];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let what = format!("{protocol:?} {order:?}");
            let site = Site::new(&network("127.0.0.1:0", "address = \"192.0.2.1\""));
            let mut writer = CaptureWriter::create(&site.path("cards.pcap")).unwrap();
            let mut sequence = 0;
            for card in order {
                let (sets, records) = &cards[card];
                let source = SocketAddr::from(([192, 0, 2, 1], 40_000 + u16::try_from(card).unwrap()));
                let datagram = protocol.datagram(1_000_000, sequence, sets);
                sequence += if protocol == Nine { 1 } else { *records };
                let collector = SocketAddr::from(([192, 0, 2, 254], 2055));
                writer.write(UnixMillis(now_ms()), source, collector, &datagram).unwrap();
            }
            writer.finish().unwrap();
            let answer = site.out(&["replay", site.path("cards.pcap").to_str().unwrap(), "--format", "json"]);
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            let figures = ["records", "options_records", "held", "lost", "malformed", "duplicates"];
            assert_eq!(figures.map(|n| number(&answer[n])), [2, 1, 0, 0, 0, 0], "{what}: {answer}");
            // 15 packets of 1500 octets together, a hundred times.
            assert_eq!(campus(&site), [2, 1500, 150_000], "{what}");
        }
    }
}

const UNSAMPLED: &str = "address = \"127.0.0.1\"\nsampling = { override = \"1/1\" }";

/// A daemon is stopped and started. Where the router went on meanwhile, its records are read by the layout of before;
/// where the router began anew with another layout under the same number, they wait until it has been told. v9 shows
/// that by its uptime, IPFIX only by numbers that are far behind.
#[test]
fn a_layout_of_before_a_restart_of_the_router_is_not_applied() {
    const OLD: [(u64, u64); 2] = [(1, 4), (2, 4)];
    const NEW: [(u64, u64); 2] = [(2, 4), (1, 4)];
    for protocol in [Nine, Ipfix] {
        let site = Site::new(&network("127.0.0.1:0", UNSAMPLED));
        let layout = |of: &[(u64, u64)]| set(protocol.templates(), &template(256, &[&WAY[..], of].concat()));
        let data = |first, second| set(256, &[way(), be(&[(first, 4), (second, 4)])].concat());
        let send = |daemon: &Daemon, datagrams: &[Vec<u8>]| {
            daemon.send("127.0.0.1", datagrams);
            daemon.flush();
        };
        let mut daemon = site.start();
        let mut datagrams = vec![protocol.datagram(3_600_000, 500_000, &[layout(&OLD), data(1000, 10)])];
        datagrams.extend((1..4).map(|n| protocol.datagram(3_600_000, 500_000 + n, &[data(1000, 10)])));
        send(&daemon, &datagrams);
        assert_eq!(campus(&site), [4, 40, 4000], "{protocol:?}");

        // The same run of the router, after one of ours.
        assert!(daemon.stop().success());
        daemon = site.start();
        send(&daemon, &[protocol.datagram(3_601_000, 500_004, &[data(1000, 10)])]);
        assert_eq!(campus(&site), [5, 50, 5000], "{protocol:?}");

        // Another one. Its template has not come yet, or was lost: 2 packets of 7000 octets, and not the other way round.
        assert!(daemon.stop().success());
        daemon = site.start();
        send(&daemon, &[protocol.datagram(5000, 1, &[data(2, 7000)])]);
        assert_eq!(campus(&site), [5, 50, 5000], "{protocol:?}: {}", daemon.status());
        send(&daemon, &[protocol.datagram(6000, 2, &[layout(&NEW), data(4, 9000)])]);
        assert_eq!(campus(&site), [7, 56, 21_000], "{protocol:?}");
        let exporter = &daemon.status()["exporters"][0];
        for none in ["lost", "malformed", "duplicates", "held"] {
            assert_eq!(exporter[none], 0, "{none}: {exporter}");
        }
        assert!(daemon.stop().success());
    }
}

/// An sFlow datagram of an agent with an IPv6 address: one sample, of every packet, of an IPv6 packet to the customer in
/// a frame of 1500 octets.
fn sflow(sequence: u64) -> Vec<u8> {
    let addresses =
        [be(&[(0x2001_0db8, 4), (0, 8), (1, 4)]), be(&[(0x2001_0db8, 4), (0x0040_0000, 4), (9, 8)])];
    let packet = [be(&[(0x6000_0000, 4), (1446, 2), (17, 1), (64, 1)]), addresses.concat()].concat();
    let frame =
        [vec![2; 12], be(&[(0x86dd, 2)]), packet, be(&[(1234, 2), (443, 2), (1446, 2), (0, 2)])].concat();
    let padded = [frame.clone(), vec![0; frame.len().next_multiple_of(4) - frame.len()]].concat();
    let length = frame.len() as u64;
    let raw = [be(&[(1, 4), (1500, 4), (4, 4), (length, 4)]), padded].concat();
    let record = [be(&[(1, 4), (raw.len() as u64, 4)]), raw].concat();
    let words = [sequence, 3, 1, sequence, 0, 3, 4, 1].map(|word| (word, 4));
    let sample = [be(&words), record].concat();
    let agent = be(&[(5, 4), (2, 4), (0, 8), (1, 8), (0, 4), (sequence, 4), (1000 * sequence, 4), (1, 4)]);
    [agent, be(&[(1, 4), (sample.len() as u64, 4)]), sample].concat()
}

/// The three protocols from `::1`, to a listener of that address and to one of all addresses; to that one IPv4 exporters
/// come, too, and are known by their IPv4 address.
#[test]
fn exporters_with_ipv6_addresses() {
    for listen in ["[::1]:0", "[::]:0"] {
        let other =
            "[[exporter]]\nname = \"four\"\naddress = \"127.0.0.1\"\nsampling = { override = \"1/1\" }\n";
        let six = UNSAMPLED.replace("127.0.0.1", "::1");
        let site = Site::new(&format!("{}{other}", network(listen, &six)));
        let mut daemon = site.start();
        let port = daemon.listening.parse::<SocketAddr>().unwrap().port();
        daemon.listening = format!("[::1]:{port}");
        let layout = [(27, 16), (28, 16), (1, 4), (2, 4)];
        let data = |octets, packets| {
            let ends = be(&[(0x2001_0db8, 4), (0, 8), (1, 4), (0x2001_0db8, 4), (0x0040_0000, 4), (9, 8)]);
            set(256, &[ends, be(&[(octets, 4), (packets, 4)])].concat())
        };
        for (protocol, octets, packets) in [(Nine, 1000, 10), (Ipfix, 500, 5)] {
            let told = set(protocol.templates(), &template(256, &layout));
            daemon.send("::1", &[protocol.datagram(1_000_000, 0, &[told, data(octets, packets)])]);
        }
        daemon.send("::1", &[sflow(1)]);
        daemon.flush();
        assert_eq!(campus(&site), [3, 16, 3000], "{listen}");
        let status = daemon.status();
        let exporter = status["exporters"].as_array().unwrap().iter().find(|e| e["name"] == "edge").unwrap();
        assert_eq!((&exporter["address"], &exporter["datagrams"]), (&"::1".into(), &3.into()), "{exporter}");
        nothing_amiss(exporter);
        if listen == "[::]:0" {
            daemon.listening = format!("127.0.0.1:{port}");
            daemon.send("127.0.0.1", &[crate::live_support::v5(0, [203, 0, 113, 9], &[(1, 70)])]);
            daemon.flush();
            let rows = site.usage("exporter");
            let found: Vec<_> =
                rows.iter().map(|r| (r["exporter"].as_str().unwrap(), number(&r["bytes"]))).collect();
            assert_eq!(found, [("edge", 3000), ("four", 70)]);
        }
    }
}

fn softflowd(version: &str) {
    let site = Site::new(&NETWORK.replace("127.0.0.1:0", "[::1]:0").replace("127.0.0.1", "::1"));
    let daemon = site.start();
    let traffic = Traffic::make(&site, 17, 200, 5000);
    traffic.export(&site, &daemon.listening, &["-v", version], &[]);
    daemon.flush();
    let expected = truth(&traffic, &["ipv4", "ipv6"]);
    assert_eq!(volumes(&site), BTreeMap::from([("edge".to_owned(), expected)]));
    nothing_amiss(&daemon.status()["exporters"][0]);
}

#[test]
fn softflowd_over_ipv6() {
    softflowd("9");
    softflowd("10");
}
