//! Files of IPFIX messages (RFC 5655): what their messages would have come to as datagrams, and files that are none.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fluxoscope::ledger::{Ledger, Url};
use fluxoscope::receive::Capture;
use fluxoscope::replay::{Error, Session};
use serde_json::Value;

use crate::generated::{KEYS, NETWORK};
use crate::support::{Random, Site, assert_same};

/// The messages in a capture, by exporter.
fn messages(site: &Site) -> BTreeMap<IpAddr, Vec<Vec<u8>>> {
    let mut capture = Capture::open(&site.path("made.pcap")).unwrap();
    let mut messages: BTreeMap<_, Vec<_>> = BTreeMap::new();
    while let Some(packet) = capture.next().unwrap() {
        messages.entry(packet.source.ip()).or_default().push(packet.payload.to_vec());
    }
    messages
}

fn made(config: &str, records: &str) -> Site {
    let site = Site::new(config);
    let options = ["--records", records, "--sampling", "100", "--proto", "ipfix"];
    site.ok(&[&["generate", "--out", "made.pcap", "--truth", "truth.csv"], &options[..]].concat());
    site
}

/// One exporter only.
fn lone() -> String {
    let (before, rest) = NETWORK.split_once("[[exporter]]\nname = \"ce2\"").unwrap();
    let (_, links) = rest.split_once("[[link]]").unwrap();
    let links = links.replace(", { exporter = \"ce2\", ifindex = 12 }", "");
    let (links, rest) = links.split_once("[[link]]\nname = \"exchange\"").unwrap();
    let (_, rest) = rest.split_once("[[traffic_class]]").unwrap();
    format!("{before}[[link]]{links}[[traffic_class]]{rest}")
}

const FIGURES: [&str; 11] = [
    "datagrams",
    "records",
    "options_records",
    "malformed",
    "duplicates",
    "held",
    "held_sets",
    "lost",
    "raw_packets",
    "raw_bytes",
    "bytes",
];

fn replay(site: &Site, arguments: &[&str]) -> (BTreeMap<&'static str, u64>, String) {
    let output = site.run(&[&["replay", "--format", "json"], arguments].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    (FIGURES.map(|name| (name, figures[name].as_u64().unwrap())).into(), said)
}

#[test]
fn messages_come_to_what_their_datagrams_come_to() {
    let site = made(NETWORK, "5000");
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let all = messages(&site);
    // By name or by address.
    for (name, address) in [("ce1", "127.0.1.1"), ("127.0.1.2", "127.0.1.2"), ("gw", "127.0.1.3")] {
        let file = format!("{address}.ipfix");
        std::fs::write(site.path(&file), all[&address.parse().unwrap()].concat()).unwrap();
        let (figures, said) = replay(&site, &["--exporter", name, &file]);
        assert_eq!(said, "", "{name}");
        for (figure, n) in figures {
            *sums.entry(figure).or_default() += n;
        }
        let (again, said) = replay(&site, &["--exporter", name, &file]);
        assert!(again.values().all(|&n| n == 0) && said.contains("replayed before, nothing to do"), "{said}");
    }
    let truth = std::fs::read_to_string(site.path("truth.csv")).unwrap();
    assert_same(&site.usage(KEYS), &truth, "messages");
    let other = Site::new(NETWORK);
    std::fs::copy(site.path("made.pcap"), other.path("made.pcap")).unwrap();
    assert_eq!(sums, replay(&other, &["made.pcap"]).0);
    let keys = "customer,link,direction,class,family,exporter,bucket";
    assert_same(&site.usage(keys), &other.usage(keys), "the capture's usage");
}

#[test]
fn whose_messages_they_are_is_told_or_asked_for() {
    let several = made(NETWORK, "50");
    std::fs::write(several.path("made.ipfix"), messages(&several).values().next().unwrap().concat()).unwrap();
    for (arguments, reason) in [
        (&["made.ipfix"][..], "say with --exporter whose they are"),
        (&["made.pcap", "made.ipfix"], "say with --exporter whose they are"),
        (&["--exporter", "nobody", "made.ipfix"], "neither a configured exporter nor an address"),
        (&["--exporter", "ce1", "made.pcap"], "there is none"),
    ] {
        let output = several.run(&[&["replay"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(reason), "{said}");
    }
    // Before a ledger is made.
    assert!(!several.state().exists());

    let site = made(&lone(), "50");
    std::fs::write(site.path("made.ipfix"), messages(&site).values().next().unwrap().concat()).unwrap();
    let (figures, said) = replay(&site, &["made.ipfix"]);
    assert!(said.contains("taken for those of ce1 (see --exporter)"), "{said}");
    assert_eq!(figures["records"], 50);
    assert_same(&site.usage(KEYS), &std::fs::read_to_string(site.path("truth.csv")).unwrap(), "the only one");

    // Without a network everything is local.
    let bare = Site::new("[ledger]\nurl = \"LEDGER\"\n");
    std::fs::copy(site.path("made.ipfix"), bare.path("made.ipfix")).unwrap();
    let (same, said) = replay(&bare, &["made.ipfix"]);
    assert!(said.contains("taken for those of 0.0.0.0"), "{said}");
    assert_eq!((same["records"], same["raw_bytes"]), (50, figures["raw_bytes"]));
    assert!(bare.usage("exporter").contains("\n0.0.0.0,50,"), "{}", bare.usage("exporter"));
}

/// A message of one data record: 10.0.0.1 to 10.0.0.2, 1000 octets, 1 packet; the first one defines it.
fn message(sequence: u32) -> Vec<u8> {
    let half = |n: u16| n.to_be_bytes().to_vec();
    let fields = [256, 4, 8, 4, 12, 4, 1, 4, 2, 4].map(half).concat();
    let mut sets = [[half(2), half(24)].concat(), fields].concat();
    if sequence > 0 {
        sets.clear();
    }
    sets.extend([half(256), half(20), vec![10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 3, 232, 0, 0, 0, 1]].concat());
    let length = u16::try_from(sets.len() + 16).unwrap();
    let words = [1_767_225_600 + sequence / 100, sequence, 7].map(u32::to_be_bytes).concat();
    [half(10), half(length), words, sets].concat()
}

#[test]
fn an_interrupted_replay_goes_on() {
    const MESSAGES: u32 = 5000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made.ipfix");
    std::fs::write(&path, (0..MESSAGES).flat_map(message).collect::<Vec<u8>>()).unwrap();
    let url = Url::parse("sqlite:ledger.sqlite", directory.path()).unwrap();
    let open = |exporter: &str| {
        let ledger = Ledger::open(&url).unwrap();
        let session = Session::open(&fluxoscope::config::Config::builtin(), ledger, 0).unwrap();
        session.flush_after(100).exporter(exporter.parse().unwrap())
    };
    let octets = |session: &mut Session| {
        let mut sum = 0;
        let mut add = |row: fluxoscope::usage::UsageRow| sum += row.sums.octets;
        session.ledger().for_each_usage(&Default::default(), &mut add).unwrap();
        sum
    };
    // Progress is told after 4096 messages; many flushes are committed by then.
    let stopped = catch_unwind(AssertUnwindSafe(|| {
        open("192.0.2.1").replay(&path, 0, &mut |_, _| panic!("this far and no further"))
    }));
    assert!(stopped.is_err());
    // As another exporter's the rest would be another story.
    let mut other = open("192.0.2.2");
    let refused = other.replay(&path, 0, &mut |_, _| ());
    assert!(matches!(refused, Err(Error::OtherExporter { .. })), "{refused:?}");
    let mut session = open("192.0.2.1");
    let report = session.replay(&path, 0, &mut |_, _| ()).unwrap();
    let totals = report.totals;
    assert!((1..u64::from(MESSAGES) - 3000).contains(&totals.datagrams), "{}", totals.datagrams);
    assert_eq!((totals.lost, totals.malformed, totals.duplicates, report.held.sets), (0, 0, 0, 0));
    assert_eq!(octets(&mut session), u64::from(MESSAGES) * 1000);
}

#[test]
fn the_beginning_of_a_last_message_is_left_out_and_said() {
    for cut in [1, 19, 20, 21, 35] {
        let site = Site::new("[ledger]\nurl = \"LEDGER\"\n");
        let mut octets = (0..10).flat_map(message).collect::<Vec<u8>>();
        octets.truncate(octets.len() - cut);
        std::fs::write(site.path("torn.ipfix"), octets).unwrap();
        let (figures, said) = replay(&site, &["torn.ipfix"]);
        assert!(said.contains("ends within a message"), "{cut}: {said}");
        assert_eq!((figures["datagrams"], figures["raw_bytes"], figures["lost"]), (9, 9000, 0), "{cut}");
    }
}

#[test]
fn what_is_no_message_file_is_a_clear_error() {
    let site = Site::new("[ledger]\nurl = \"LEDGER\"\n");
    let fails = |octets: &[u8], reason: &str| {
        std::fs::write(site.path("wrong.ipfix"), octets).unwrap();
        let output = site.run(&["replay", "wrong.ipfix"]);
        assert_eq!(output.status.code(), Some(1), "{octets:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(reason), "{said}");
    };
    let neither = "neither a pcap or pcapng capture nor a file of IPFIX messages";
    let mut random = Random(0x5eed);
    for length in [0, 1, 15, 16, 64, 5000] {
        let octets: Vec<u8> = (0..length).map(|_| random.next().to_be_bytes()[0] | 1).collect();
        fails(&octets, neither);
    }
    // The version word alone is not enough; nor is a length, where no set follows that fits.
    fails(&[0, 10], neither);
    fails(&[vec![0, 10, 0, 15], vec![0; 100]].concat(), neither);
    fails(&[vec![0, 10, 0, 40], vec![0; 100]].concat(), neither);
    fails(&[&message(0)[..18], &[0xff, 0xff]].concat(), neither);
    // Something else in the middle: said where.
    let good = message(0);
    let damaged = [&good[..], b"something else in the middle", &message(1)].concat();
    fails(&damaged, &format!("damaged at offset {}: no IPFIX message begins there", good.len()));
}

/// An IPFIX message of domain 7: its sets, each with its id.
fn message_of(export: u32, sequence: u32, sets: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let body: Vec<u8> = sets
        .iter()
        .flat_map(|(id, set)| {
            let length = u16::try_from(set.len() + 4).unwrap();
            [&id.to_be_bytes()[..], &length.to_be_bytes(), set].concat()
        })
        .collect();
    let length = u16::try_from(body.len() + 16).unwrap();
    let header = [&10_u16.to_be_bytes()[..], &length.to_be_bytes(), &export.to_be_bytes()].concat();
    [header, sequence.to_be_bytes().to_vec(), 7_u32.to_be_bytes().to_vec(), body].concat()
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// What a file announces at its end holds for what it held all along, however long that is: domain-wide sampling of one in
/// 1000 (element 34), twelve minutes after the first of two records. And a part of it, replayed by itself, says what it lacks.
#[test]
fn the_grace_time_lasts_to_the_end_of_a_file() {
    const T0: u32 = 1_767_225_600; // 2026-01-01T00:00:00Z
    // Elements 8, 12, 1, 2 and 151 (flowEndSeconds), four octets each.
    let template = words(&[300, 5, 8, 4, 12, 4, 1, 4, 2, 4, 151, 4]);
    let data =
        |octets: u32, end: u32| [0x0a00_0001_u32, 0x0a00_0002, octets, 1, end].map(u32::to_be_bytes).concat();
    // One scope, the observation domain (149), and element 34.
    let options = (3, words(&[301, 2, 1, 149, 4, 34, 4]));
    let rate = (301, [7_u32, 1000].map(u32::to_be_bytes).concat());
    let parts = [
        message_of(T0, 0, &[(2, template), (300, data(100, T0 - 1))]),
        message_of(T0 + 660, 1, &[(300, data(200, T0 + 659))]),
        message_of(T0 + 720, 2, &[options, rate]),
    ];
    let site = Site::new("[ledger]\nurl = \"LEDGER\"\n");
    std::fs::write(site.path("whole.ipfix"), parts.concat()).unwrap();
    let (sums, said) = replay(&site, &["whole.ipfix"]);
    assert_eq!((sums["raw_bytes"], sums["bytes"], sums["held"]), (300, 300_000, 0));
    assert!(!said.contains("in no row"), "{said}");

    let site = Site::new("[ledger]\nurl = \"LEDGER\"\n");
    std::fs::write(site.path("part.ipfix"), &parts[1]).unwrap();
    let (sums, said) = replay(&site, &["part.ipfix"]);
    assert_eq!((sums["bytes"], sums["held"], sums["held_sets"]), (0, 1, 1));
    assert!(said.contains("1 data sets still wait") && said.contains("join the parts"), "{said}");
}
