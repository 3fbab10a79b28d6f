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

/// Counters of the interface of `transit-a` for a whole bucket, received and sent.
fn count(site: &Site, bucket: i64, [inward, outward]: [u64; 2]) {
    let mut ledger = Ledger::open_existing(&Url::parse(&site.ledger_url(), &site.state()).unwrap()).unwrap();
    let exporters = ledger.names(NameKind::Exporter).unwrap();
    let exporter = exporters.iter().find(|(_, name)| name == "ce1").unwrap().0;
    let part = InterfacePart {
        bucket: BucketStart(bucket),
        from: UnixMillis(bucket * 1000),
        to: UnixMillis((bucket + 300) * 1000),
        in_octets: inward,
        out_octets: outward,
        in_packets: None,
        out_packets: None,
    };
    ledger.put_interface_octets(&[InterfaceOctets { exporter, ifindex: IfIndex(12), part }]).unwrap();
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
        count(&site, first, same);
        count(&site, second, [inward + 1_000_000_000_000, outward]);

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
