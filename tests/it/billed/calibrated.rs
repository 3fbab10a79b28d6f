//! Volumes that are calibrated by interface counters: from usage and counters in a ledger to invoices, what is said of
//! them, and what comes late.

use serde_json::{Value, json};

use super::{Billed, COUNTED, GB, PLAIN, amounts, version};
use crate::books::audited;
use crate::support::{dialects, rows};

const CUSTOMERS: [(&str, &str); 2] = [("a", "tariff = \"t\""), ("b", "tariff = \"t\"")];

/// 1.00 a GB, calibrated.
fn tariff() -> String {
    let tiers = "tiers = { mode = \"graduated\", rows = [ { up_to = \"100\", price = \"0.40\" }, { price = \"0.30\" } ] }";
    assert!(PLAIN.contains(tiers));
    PLAIN.replace(tiers, "price = \"1.00\"\ncalibrate = true")
}

/// In four intervals of the link, from customers: 1 GB of `a` and 2 GB of `b`, of which the interface counted 3.1 GB; 5 GB of
/// `a` that nobody counted; 4 GB of `a` where it counted 9 GB; and 2 GB of `b` where it counted as much.
fn used(billed: &Billed) {
    billed.used(&[
        ("2026-07-10T10:00:00Z", 1, GB),
        ("2026-07-10T10:00:00Z", 2, 2 * GB),
        ("2026-07-10T10:05:00Z", 1, 5 * GB),
        ("2026-07-10T10:10:00Z", 1, 4 * GB),
        ("2026-07-10T10:15:00Z", 2, 2 * GB),
    ]);
    billed.counted("2026-07-10T10:00:00Z", "2026-07-10T10:05:00Z", (0, 3_100_000_000));
    billed.counted("2026-07-10T10:10:00Z", "2026-07-10T10:20:00Z", (0, 9 * GB));
}

/// As [`Billed::bill`], after everybody's usage was closed.
fn closed_and_billed(billed: &Billed, period: &str, date: &str) {
    billed.site.ok(&["period", "close", "--period", period, "--by", "ann"]);
    billed.bill(period, date);
}

/// Of the 4.8 GB that the interface counted, 1 of 3 GB of flows are 1.6 GB, and 1 of 4 are 1.2: a GB that is nobody's and
/// comes while it is open takes its part. So an invoice waits until nobody's usage can change: nothing is final before, and what
/// comes afterwards is late and moves nothing.
#[test]
fn a_share_is_final_when_all_that_shares_is_closed() {
    for dialect in dialects() {
        let wide = tariff().replace("calibrate = true", "calibrate = { max_difference = \"0.5\" }");
        let billed = Billed::new(dialect, &CUSTOMERS, &[&wide]);
        billed.used(&[("2026-07-10T10:00:00Z", 1, GB), ("2026-07-10T10:00:00Z", 2, 2 * GB)]);
        billed.counted("2026-07-10T10:00:00Z", "2026-07-10T10:05:00Z", (0, 4_800_000_000));
        billed.site.ok(&["invoice", "run", "--period", "2026-07"]);
        let finalize = ["invoice", "finalize", "--period", "2026-07", "--date", "2026-08-01", "--by", "ann"];
        let said = billed.ends(1, &finalize);
        assert!(said.contains("`unassigned`"), "{said}");
        assert!(said.contains("`fluxoscope period close --period 2026-07`"), "{said}");
        let states = billed.site.ok(&["invoice", "list", "--format", "csv"]);
        assert!(!states.contains("R-0"), "{states}");
        // Interface 7 is nobody's.
        billed.used(&[("2026-07-10T10:00:00Z", 7, GB)]);
        closed_and_billed(&billed, "2026-07", "2026-08-01");
        assert_eq!(billed.lines("R-000001")[0].2, "1.20");
        assert_eq!(billed.lines("R-000002")[0].2, "2.40");
        billed.used(&[("2026-07-10T10:00:00Z", 7, 4 * GB)]);
        for customer in ["a", "b"] {
            let rerate =
                ["rerate", "--customer", customer, "--from", "2026-07", "--dry-run", "--format", "csv"];
            assert_eq!(rows(&billed.site.ok(&rerate)).len(), 0, "{customer}");
        }
        billed.explained("R-000001");
        audited(&billed.site);
    }
}

/// July ends at four o'clock in New York, and what has no tariff goes by UTC: where shares go by it, it is closed for as long
/// as they are, and otherwise not.
#[test]
fn who_has_no_tariff_is_closed_as_long_as_shares_go_by_it() {
    for (tariff, until) in [(tariff(), "04"), (PLAIN.to_owned(), "00")] {
        let there = tariff.replace("timezone = \"UTC\"", "timezone = \"America/New_York\"");
        assert_ne!(there, tariff);
        let billed = Billed::new(dialects()[0], &CUSTOMERS, &[&there]);
        used(&billed);
        closed_and_billed(&billed, "2026-07", "2026-08-01");
        let text = billed.site.ok(&["period", "list", "--format", "csv"]);
        let listed = rows(&text);
        let bound = |name: &str| listed.iter().find(|row| row[0] == name).unwrap()[1];
        assert_eq!(bound("a"), "2026-08-01T04:00:00Z");
        assert_eq!(bound("unassigned"), format!("2026-08-01T{until}:00:00Z"));
        audited(&billed.site);
    }
}

/// `a`: a third of 3.1 GB is 1 033 333 333 octets, and 5 and 4 GB stay: 10.033333333 GB, 10.03; 10 % of the 10 GB of its flows
/// were shared out. `b`: 2 066 666 667, and its 2 GB stay, of which the interface counted 9: 4.066666667 GB, 4.07.
#[test]
fn the_total_of_an_interface_is_shared_out() {
    let mut documents = Vec::new();
    for dialect in dialects() {
        let billed = Billed::new(dialect, &CUSTOMERS, &[&tariff()]);
        used(&billed);
        billed.site.ok(&["invoice", "run", "--period", "2026-07"]);
        let draft = billed.site.ok(&["invoice", "show", "DRAFT-2026-07-a", "--format", "json"]);
        billed.site.ok(&["invoice", "run", "--period", "2026-07", "--customer", "a"]);
        let again = billed.site.ok(&["invoice", "show", "DRAFT-2026-07-a", "--format", "json"]);
        assert_eq!(draft, again, "a share does not hang on whose invoice is made");
        documents.push(draft);
        closed_and_billed(&billed, "2026-07", "2026-08-01");
        let lines = |number: &str| -> Vec<(String, String)> {
            billed.lines(number).into_iter().map(|(charge, _, amount)| (charge, amount)).collect()
        };
        assert_eq!(lines("R-000001"), amounts(&[("vol", "10.03"), ("port", "10.00")]));
        assert_eq!(lines("R-000002"), amounts(&[("vol", "4.07"), ("port", "10.00")]));
        let line = billed.invoice("R-000001")["lines"][0].clone();
        assert_eq!(line["quantity"], "10.033333333");
        let calibration = json!({
            "max_difference": "0.1", "intervals": 3, "shared": 1, "flows": "10", "unit": "GB", "share": "0.100000",
        });
        assert_eq!(line["detail"]["calibration"], calibration);
        explained(&billed);
        exported(&billed);
        audited(&billed.site);
    }
    assert!(documents.iter().all(|document| *document == documents[0]), "the same bytes of any database");
}

fn explained(billed: &Billed) {
    let explained = &billed.explained("R-000001")[0];
    let interval = |bucket: &str, octets: u64, more: [Value; 4]| {
        let [interface, flows, share, calibration] = more;
        json!({
            "bucket": format!("2026-07-10T10:{bucket}:00Z"), "link": "transit-a", "direction": "out",
            "interface_octets": interface, "flow_octets": flows, "octets": octets, "share": share,
            "calibration": calibration,
        })
    };
    let of = |number: u64| Value::from(number);
    let none = || Value::Null;
    let expected = [
        interval("00", GB, [of(3_100_000_000), of(3 * GB), of(1_033_333_333), "shared".into()]),
        interval("05", 5 * GB, [none(), none(), none(), "no-counters".into()]),
        interval("10", 4 * GB, [of(9 * GB), of(4 * GB), none(), "too-far-apart".into()]),
    ];
    assert_eq!(explained["calibration"], Value::from(expected.to_vec()), "{explained:#}");
    let value = |what: &str| {
        let steps = explained["arithmetic"].as_array().unwrap();
        steps.iter().find(|step| step["what"] == what).unwrap()["value"].clone()
    };
    assert_eq!(value("left as measured"), "9000000000");
    assert_eq!(value("shares of the totals"), "1033333333");
    assert_eq!(value("calibrated"), "10033333333");
    assert_eq!(explained["usage_root_now"], explained["usage_root"]);
    let table = billed.site.ok(&["invoice", "explain", "R-000001", "1"]);
    assert!(table.contains("octets of interfaces in 1 of 3 intervals"), "{table}");
}

fn exported(billed: &Billed) {
    billed.site.ok(&["invoice", "export", "--period", "2026-07", "--format", "csv,html", "--out", "sent"]);
    let read = |name: &str| std::fs::read_to_string(billed.site.path(name)).unwrap();
    let csv = read("sent/2026-07-a.csv");
    let first = csv.lines().nth(1).unwrap();
    assert!(first.ends_with(",3,1,0.100000,10"), "{first}");
    assert!(csv.lines().nth(2).unwrap().ends_with(",,,,"), "the port has none: {csv}");
    let page = read("sent/2026-07-a.html");
    let said = "calibrated by interface counters in 1 of 3 five-minute intervals (10\u{202f}% of the volume; by flows alone 10 GB)";
    assert!(page.contains(said), "{page}");
}

/// What comes late has no part in what was shared out, since that is all charged; where the flows stand, it counts as ever:
/// 2 GB in the interval without counters and 1 GB in one in which nothing came in time, 3.00. The invoices that stand are rated again to the same, and a supposition that
/// shares nothing out has the 14 and 6 GB of the flows, those that came late among them, beside 13.03 and 4.07.
#[test]
fn late_usage_is_not_charged_beyond_a_total() {
    for dialect in dialects() {
        let billed = Billed::new(dialect, &CUSTOMERS, &[&tariff()]);
        used(&billed);
        billed.counted("2026-07-10T10:20:00Z", "2026-07-10T10:25:00Z", (0, 9 * GB));
        closed_and_billed(&billed, "2026-07", "2026-08-01");
        billed.used(&[("2026-07-10T10:00:00Z", 1, GB), ("2026-07-10T10:05:00Z", 1, 2 * GB)]);
        billed.used(&[("2026-07-10T10:20:00Z", 1, GB)]);
        billed.used(&[("2026-07-10T10:00:00Z", 2, 2 * GB)]);
        closed_and_billed(&billed, "2026-08", "2026-09-01");
        assert_eq!(billed.late("R-000003"), amounts(&[("vol", "3.00")]));
        assert_eq!(billed.late("R-000004"), amounts(&[("late", "0.00")]));
        let explained = billed.explained("R-000003");
        let late = explained.last().unwrap()["calibration"].clone();
        assert_eq!(
            (&late[0]["calibration"], &late[0]["share"]),
            (&json!("shared-before"), &json!(0)),
            "{late:#}"
        );
        assert_eq!(late[1]["calibration"], "no-counters");
        assert_eq!(
            (&late[2]["calibration"], &late[2]["share"]),
            (&json!("nothing-in-time"), &Value::Null),
            "{late:#}"
        );
        for customer in ["a", "b"] {
            let rerate =
                ["rerate", "--customer", customer, "--from", "2026-07", "--to", "2026-08", "--dry-run"];
            let text = billed.site.ok(&[&rerate[..], &["--format", "csv"]].concat());
            assert_eq!(rows(&text).len(), 0, "{customer}: {text}");
        }
        billed.explained("R-000001");
        billed.file(&version(&tariff(), 2, &[("calibrate = true", "calibrate = false")]));
        let simulate = ["tariff", "simulate", "tariff.toml", "--period", "2026-07", "--format", "csv"];
        assert_eq!(
            rows(&billed.site.ok(&simulate)),
            [["a", "EUR", "23.03", "24.00", "0.97"], ["b", "EUR", "14.07", "16.00", "1.93"]]
        );
        audited(&billed.site);
    }
}

/// July was billed by flows, since nothing was counted: counters that come when all is closed come too late, and late usage costs
/// what it would have cost in time. 1 GB at 1.00.
#[test]
fn counters_of_a_closed_time_change_nothing() {
    for dialect in dialects() {
        let billed =
            Billed::new(dialect, &CUSTOMERS, &[&tariff().replace("true", "{ max_difference = \"0.5\" }")]);
        let at = "2026-07-10T10:00:00Z";
        billed.used(&[(at, 1, GB), (at, 2, GB)]);
        closed_and_billed(&billed, "2026-07", "2026-08-01");
        let refused = billed.count(at, "2026-07-10T10:05:00Z", (0, 3 * GB)).unwrap_err().to_string();
        assert!(refused.starts_with("usage at 2026-07-10T10:00:00Z is closed for everybody"), "{refused}");
        billed.used(&[(at, 1, GB)]);
        closed_and_billed(&billed, "2026-08", "2026-09-01");
        assert_eq!(billed.late("R-000003"), amounts(&[("vol", "1.00")]));
        for number in ["R-000001", "R-000003"] {
            billed.explained(number);
        }
        let rerate = [
            "rerate",
            "--customer",
            "a",
            "--from",
            "2026-07",
            "--to",
            "2026-08",
            "--dry-run",
            "--format",
            "csv",
        ];
        assert_eq!(rows(&billed.site.ok(&rerate)).len(), 0);
        audited(&billed.site);
    }
}

/// What a tariff that takes no counters costs, beside one that nobody has activated and that does: 40 GB are 40 * 0.40 + 10.00 =
/// 26.00, and 40.00 with 20 Mbit/s at 3.00, or at 6.00. Where too little was counted, it is said.
#[test]
fn a_supposition_reads_the_samples_of_counters() {
    let billed = Billed::new(dialects()[0], &CUSTOMERS[..1], &[PLAIN]);
    billed.used(&[("2026-07-10T10:00:00Z", 1, 40 * GB)]);
    billed.file(COUNTED);
    let simulate =
        ["tariff", "simulate", "tariff.toml", "--period", "2026-07", "--customer", "a", "--format", "csv"];
    assert!(billed.ends(1, &simulate).contains("there are no samples of interface counters"));
    // 16 of 31 days.
    billed.counted("2026-07-01T00:00:00Z", "2026-07-17T00:00:00Z", (750_000_000, 1000));
    assert_eq!(rows(&billed.site.ok(&simulate)), [["a", "EUR", "26.00", "100.00", "74.00"]]);
    std::fs::write(billed.site.path("dear.toml"), version(COUNTED, 2, &[("3.00", "6.00")])).unwrap();
    let replay = ["tariff", "diff", "tariff.toml", "dear.toml", "--replay", "2026-07", "--customer", "a"];
    let text = billed.site.ok(&[&replay[..], &["--format", "csv"]].concat());
    assert_eq!(rows(&text), [["a", "EUR", "100.00", "160.00", "60.00"]]);
}
