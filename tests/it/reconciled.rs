//! Invoices quote how the links of their volumes stand against the counters of their interfaces.

use std::collections::{BTreeMap, BTreeSet};

use fluxoscope::ledger::records::NameKind;
use fluxoscope::ledger::records::interfaces::{InterfaceOctets, InterfacePart};
use fluxoscope::ledger::{Ledger, Url};
use fluxoscope::units::{IfIndex, UnixMillis};
use fluxoscope::usage::BucketStart;
use serde_json::{Value, json};

use crate::books::{audited, dated, figure, metered};
use crate::support::{Site, dialects, rows};

/// Counters of the interface of `transit-a` for whole buckets, received and sent.
fn count(site: &Site, buckets: impl IntoIterator<Item = (i64, [u64; 2])>) {
    let mut ledger = Ledger::open_existing(&Url::parse(&site.ledger_url(), &site.state()).unwrap()).unwrap();
    let exporters = ledger.names(NameKind::Exporter).unwrap();
    let exporter = exporters.iter().find(|(_, name)| name == "ce1").unwrap().0;
    let whole = |(bucket, [inward, outward]): (i64, [u64; 2])| {
        let part = InterfacePart {
            bucket: BucketStart(bucket),
            from: UnixMillis(bucket * 1000),
            to: UnixMillis((bucket + 300) * 1000),
            in_octets: inward,
            out_octets: outward,
            in_packets: None,
            out_packets: None,
        };
        InterfaceOctets { exporter, ifindex: IfIndex(12), part }
    };
    let all: Vec<InterfaceOctets> = buckets.into_iter().map(whole).collect();
    ledger.put_interface_octets(&all).unwrap();
}

/// In one bucket the counters are what the flows say, in another they are a terabyte more; of the others nothing is known.
#[test]
fn invoices_quote_what_their_links_were_held_against() {
    for dialect in dialects() {
        let site = metered(dialect);
        let usage = site.usage("bucket,link,direction");
        let mut transit: BTreeMap<i64, [u64; 2]> = BTreeMap::new();
        let mut buckets = BTreeSet::new();
        for row in rows(&usage).iter().filter(|row| !row[1].is_empty()) {
            let bucket = row[0].parse::<jiff::Timestamp>().unwrap().as_second();
            buckets.insert(bucket);
            if row[1] == "transit-a" {
                let sums = transit.entry(bucket).or_default();
                sums[usize::from(row[2] == "out")] += row[5].parse::<u64>().unwrap();
            }
        }
        let mut counted = transit.into_iter();
        let (first, same) = counted.next().unwrap();
        let (second, [inward, outward]) = counted.next().unwrap();
        count(&site, [(first, same), (second, [inward + 1_000_000_000_000, outward])]);

        site.ok(&["invoice", "run", "--period", "2026-07"]);
        site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
        let quoted =
            json!([{ "link": "transit-a", "buckets": buckets.len(), "compared": 2, "differences": 1 }]);
        for number in ["R-000001", "R-000002"] {
            let shown: Value =
                serde_json::from_str(&site.ok(&["invoice", "show", number, "--format", "json"])).unwrap();
            assert_eq!(shown["quality"]["reconciled"], quoted, "{number}");
        }
        let audit = audited(&site);
        assert_eq!(figure(&audit, "reconciled", "links"), 2);
        assert_eq!(figure(&audit, "reconciled", "compared"), 4);
        assert_eq!(figure(&audit, "reconciled", "out_of_tolerance"), 2);
        site.ok(&["invoice", "export", "--period", "2026-07", "--format", "html", "--out", "sent"]);
        let page = std::fs::read_to_string(site.path("sent/2026-07-campus.html")).unwrap();
        assert!(page.contains("transit-a: held against its interface counters in 2 of"), "{page}");
    }
}

/// What a percentile of interface counters was made of is part of the usage root, and `explain` reads it again: 9 of 10
/// samples of 7.5 GB in five minutes are 200 Mb/s, the others of 9 GB 240 Mb/s. 100 Mb/s are committed at 2.00, 140 more cost
/// 3.10 each: 634.00, and 21 %.
#[test]
fn samples_of_counters_are_pinned_by_the_usage_root() {
    const NETWORK: &str = r#"
[[exporter]]
name = "ce1"
address = "127.0.1.1"
[[link]]
name = "transit-a"
kind = "upstream"
interfaces = [ { exporter = "ce1", ifindex = 12 } ]
[[customer]]
name = "campus"
prefixes = ["20.0.0.0/8"]
tariff = "transit-95th"
"#;
    // July in Amsterdam.
    let begins = "2026-06-30T22:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    let billed = |tenth: u64| {
        let site = Site::new(NETWORK);
        let start = ["--start", "2026-07-10T21:00:00Z"];
        site.ok(&[&["generate", "--records", "100", "--out", "a.pcap"][..], &start].concat());
        site.ok(&["replay", "a.pcap"]);
        let tariff = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/transit-95th.toml");
        site.ok(&["tariff", "activate", tariff.to_str().unwrap(), "--by", "ann"]);
        let samples = (0..31 * 288).map(|n| {
            let inward = if n % 10 == 0 { tenth } else { 7_500_000_000 };
            (begins + n * 300, [inward, 1000])
        });
        count(&site, samples);
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        let show = ["invoice", "show", "DRAFT-2026-07-campus", "--format", "json"];
        let shown: Value = serde_json::from_str(&site.ok(&show)).unwrap();
        let explain = ["invoice", "explain", "DRAFT-2026-07-campus", "2", "--format", "json"];
        let explained: Value = serde_json::from_str(&site.ok(&explain)).unwrap();
        assert_eq!(explained["usage_root_now"], shown["usage_root"]);
        assert_eq!(explained["comes_to"], shown["lines"][1]["amount"]);
        shown
    };
    let (one, other) = (billed(9_000_000_000), billed(9_000_000_001));
    assert_eq!((&one["net"], &one["gross"]), (&json!("634.00"), &json!("767.14")));
    assert_ne!(one["usage_root"], other["usage_root"]);
}
