//! `generate` makes traffic of known totals; `replay` and `usage` must find exactly these.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::process::Command;

use fluxoscope::ledger::{Ledger, Url};
use serde_json::Value;

use crate::support::{Dialect, FIGURES, Site, assert_same, dialects, rows};

pub(crate) const KEYS: &str = "customer,link,direction,bucket";

/// Two routers, one of them seeing both sides of its interfaces, and a gateway that tells no interfaces; customers of
/// every kind, one inside another's prefix.
pub(crate) const NETWORK: &str = r#"
[ledger]
url = "LEDGER"

[[exporter]]
name = "ce1"
address = "127.0.1.1"
[[exporter]]
name = "ce2"
address = "127.0.1.2"
observes = "both"
[[exporter]]
name = "gw"
address = "127.0.1.3"

[[link]]
name = "transit-a"
interfaces = [ { exporter = "ce1", ifindex = 12 }, { exporter = "ce2", ifindex = 12 } ]
[[link]]
name = "transit-b"
interfaces = [ { exporter = "ce1", ifindex = 13 } ]
[[link]]
name = "exchange"
kind = "peering"
interfaces = [ { exporter = "gw" } ]

[[traffic_class]]
name = "web"
match = { protocol = "tcp", port = [80, 443] }

[[customer]]
name = "wide"
prefixes = ["20.0.0.0/8", "2a00:1::/32"]
[[customer]]
name = "inside"
prefixes = ["20.1.0.0/16", "2a00:1:2::/48"]
[[customer]]
name = "asn"
asns = [64500]
[[customer]]
name = "port"
interfaces = [ { exporter = "ce1", ifindex = 7 } ]
"#;

/// Generates, replays, and compares usage and figures with the truth.
fn check(dialect: Dialect, proto: &str, sampling: &str, bucket: &str) {
    let what = format!("{dialect:?} {proto} sampling {sampling} bucket {bucket}");
    let site = Site::on(dialect, &format!("[meter]\nbucket = \"{bucket}\"\n{NETWORK}"));
    site.ok(&[
        "generate",
        "--records",
        "3000",
        "--seed",
        "42",
        "--proto",
        proto,
        "--sampling",
        sampling,
        "--out",
        "made.pcap",
        "--truth",
        "truth.csv",
    ]);
    let truth = std::fs::read_to_string(site.path("truth.csv")).unwrap();
    let figures: Value =
        serde_json::from_str(&site.ok(&["replay", "made.pcap", "--format", "json"])).unwrap();
    assert_same(&site.usage(KEYS), &truth, &what);

    assert!(truth.starts_with(&format!("{KEYS},{FIGURES}\n")), "{what}");
    let sum = |column: usize| rows(&truth).iter().map(|row| row[column].parse::<u64>().unwrap()).sum::<u64>();
    assert_eq!(sum(4), 3000, "every record is a flow: {what}");
    for (figure, expected) in [
        ("records", sum(4)),
        ("raw_packets", sum(7)),
        ("raw_bytes", sum(8)),
        ("packets", sum(5)),
        ("bytes", sum(6)),
    ] {
        assert_eq!(figures[figure], expected, "{figure}: {what}");
    }
    for (figure, expected) in [("malformed", 0), ("held", 0), ("lost", 0), ("duplicates", 0)] {
        assert_eq!(figures[figure], expected, "{figure}: {what}");
    }
    let rate = sampling.parse::<u64>().unwrap().max(1);
    assert_eq!(sum(6), sum(8) * rate, "scaled by the rate: {what}");
    assert_eq!(rows(&truth).iter().any(|row| row[9] != "0.000000"), rate > 1, "{what}");

    // Once more changes nothing, whatever the file is called.
    std::fs::copy(site.path("made.pcap"), site.path("again.pcap")).unwrap();
    let again = site.run(&["replay", "again.pcap", "made.pcap", "--format", "json"]);
    assert!(again.status.success(), "{what}");
    let said = String::from_utf8(again.stderr).unwrap();
    assert_eq!(said.matches("replayed before, nothing to do").count(), 2, "{said}");
    let figures: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&figures["datagrams"], &figures["bytes"]), (&0.into(), &0.into()), "{what}");
    assert_same(&site.usage(KEYS), &truth, &what);
}

fn check_all(proto: &str) {
    for dialect in dialects() {
        for bucket in ["spread", "end"] {
            for sampling in ["0", "100"] {
                check(dialect, proto, sampling, bucket);
            }
        }
    }
}

#[test]
fn v5_equals_its_truth() {
    check_all("v5");
}

#[test]
fn v9_equals_its_truth() {
    check_all("v9");
}

#[test]
fn ipfix_equals_its_truth() {
    check_all("ipfix");
}

#[test]
fn sflow_equals_its_truth() {
    check_all("sflow");
}

/// All of it: every kind of customer, every link, both directions and the reserved names; more than one bucket.
#[test]
fn the_truth_is_worth_comparing() {
    let site = Site::new(NETWORK);
    site.ok(&["generate", "--proto", "ipfix", "--out", "made.pcap", "--truth", "truth.csv"]);
    let truth = std::fs::read_to_string(site.path("truth.csv")).unwrap();
    let found = rows(&truth);
    let has = |column: usize, text: &str| found.iter().any(|row| row[column] == text);
    for customer in ["wide", "inside", "asn", "port", "unassigned", "local"] {
        assert!(has(0, customer), "{customer}");
    }
    for link in ["transit-a", "transit-b", "exchange", ""] {
        assert!(has(1, link), "{link}");
    }
    assert!(has(2, "in") && has(2, "out") && has(2, ""));
    let buckets: std::collections::BTreeSet<&str> = found.iter().map(|row| row[3]).collect();
    assert!(buckets.len() > 6, "{buckets:?}");
    site.ok(&["replay", "made.pcap"]);
    let families = site.usage("family");
    assert!(families.contains("\nipv4,") && families.contains("\nipv6,"), "{families}");
    assert!(site.usage("class").contains("\nweb,"));
}

#[test]
fn what_cannot_be_generated_is_wrong_usage() {
    let site = Site::new(NETWORK);
    for args in [
        &["generate", "--proto", "v5", "--sampling", "16384", "--out", "x.pcap"][..],
        &["generate", "--proto", "v7", "--out", "x.pcap"],
        &["generate", "--proto", "v9"],
        &["generate", "--out", "x.pcap", "--rate", "5"],
        &["generate", "--send", "nowhere"],
    ] {
        assert_eq!(site.run(args).status.code(), Some(2), "{args:?}");
    }
}

/// A replayed file is known by its SHA-256, also where the ledger knows others of the same length, or none at all.
#[test]
fn a_capture_is_known_by_its_content_alone() {
    for dialect in dialects() {
        let site = Site::on(dialect, NETWORK);
        site.ok(&["generate", "--records", "500", "--proto", "v5", "--out", "made.pcap"]);
        let made = std::fs::read(site.path("made.pcap")).unwrap();
        // The same datagrams, the first one a microsecond later: a capture of its own.
        let mut other = made.clone();
        other[24 + 4] ^= 1;
        std::fs::write(site.path("other.pcap"), &other).unwrap();
        std::fs::write(site.path("copy.pcap"), &made).unwrap();
        let records = |files: &[&str]| {
            let args = [&["replay"], files, &["--format", "json"]].concat();
            let figures: Value = serde_json::from_str(&site.ok(&args)).unwrap();
            figures["records"].as_u64().unwrap()
        };
        assert_eq!(records(&["made.pcap"]), 500);
        assert_eq!(records(&["copy.pcap", "other.pcap", "made.pcap"]), 500);
        assert_eq!(records(&["other.pcap", "copy.pcap"]), 0);
        let url = Url::parse(&site.ledger_url(), &site.state()).unwrap();
        let sources = Ledger::open_existing(&url).unwrap().sources().unwrap();
        let found: Vec<_> = sources.iter().map(|s| (s.key.as_str(), s.position.0, s.complete)).collect();
        let hash = |name: &str| {
            let output = Command::new("sha256sum").arg(site.path(name)).output().unwrap();
            String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
        };
        let length = made.len() as u64;
        assert_eq!(found, [(&*hash("made.pcap"), length, true), (&*hash("other.pcap"), length, true)]);
    }
}
