//! Usage that comes after its month was closed: what it costs, what it does not, and where that is counted.

use fluxoscope::ledger::records::ConfigVersion;
use fluxoscope::ledger::{Ledger, Url};

use super::{Billed, COUNTED, GB, PLAIN, amounts, config, version};
use crate::books::{audited, figure};
use crate::support::{dialects, parsed, rows};

/// 20 Mbit/s in every bucket: 20 * 10^6 * 300 / 8 octets.
const TWENTY: u64 = 750_000_000;

/// July: 20 Mbit/s at 3.00 are 60.00, 3 GB 3.00, and 37.00 up to the minimum of 100.00. 50 GB come late: 60 + 53 are 113.00,
/// so 50.00 more and the minimum is lost. What the interfaces counted in August (40 Mbit/s) has nothing to do with it: by
/// that July would have been above the minimum, and by no counters at all below it.
#[test]
fn late_usage_of_a_month_of_counters_is_priced_with_what_they_counted_then() {
    for dialect in dialects() {
        let billed = Billed::new(dialect, &[("a", "tariff = \"p\"")], &[COUNTED]);
        billed.used(&[("2026-07-10T10:00:00Z", 1, 3 * GB)]);
        billed.counted("2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z", (TWENTY, 1000));
        billed.counted("2026-08-01T00:00:00Z", "2026-09-01T00:00:00Z", (2 * TWENTY, 1000));
        billed.bill("2026-07", "2026-08-01");
        let july = [("p95", "60.00"), ("vol", "3.00"), ("minimum", "37.00")];
        let lines = billed.lines("R-000001").into_iter().map(|(charge, _, amount)| (charge, amount));
        assert_eq!(lines.collect::<Vec<_>>(), amounts(&july));
        let explained = billed.explained("R-000001");
        let steps = explained[0]["arithmetic"].to_string();
        assert!(steps.contains("750000000") && steps.contains("of 8928 samples"), "31 * 288: {steps}");

        billed.used(&[("2026-07-11T10:00:00Z", 1, 50 * GB)]);
        billed.bill("2026-08", "2026-09-01");
        assert_eq!(billed.late("R-000002"), amounts(&[("vol", "50.00"), ("minimum", "-37.00")]));
        let explained = billed.explained("R-000002");
        let late = explained.last().unwrap()["arithmetic"].to_string();
        assert!(late.contains("missing to the minimum"), "{late}");
        // A re-rating finds nothing else, and a supposition starts from the same: 60 + 53, and 120 + 53.
        let rerate = ["rerate", "--customer", "a", "--from", "2026-07", "--to", "2026-08", "--format", "csv"];
        assert_eq!(rows(&billed.site.ok(&[&rerate[..], &["--dry-run"]].concat())).len(), 0);
        billed.file(&version(COUNTED, 2, &[("3.00", "6.00")]));
        let simulate = ["tariff", "simulate", "tariff.toml", "--period", "2026-07", "--format", "csv"];
        assert_eq!(rows(&billed.site.ok(&simulate)), [["a", "EUR", "113.00", "173.00", "60.00"]]);
        let replay = ["tariff", "diff", "p@1", "tariff.toml", "--replay", "2026-07", "--format", "csv"];
        assert_eq!(rows(&billed.site.ok(&replay)), [["a", "EUR", "113.00", "173.00", "60.00"]]);
        audited(&billed.site);
    }
}

/// Where a customer stands with an allowance beside a percentile of counters: 53 of 100 GB.
#[test]
fn standing_beside_a_percentile_of_counters() {
    let tariff = COUNTED.replace("price = \"1.00\"", "price = \"1.00\"\nallowance = { quantity = \"100\" }");
    let billed = Billed::new(dialects()[0], &[("a", "tariff = \"p\"")], &[&tariff]);
    billed.used(&[("2026-07-10T10:00:00Z", 1, 53 * GB)]);
    billed.counted("2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z", (TWENTY, 1000));
    let standing = ["tariff", "standing", "--period", "2026-07", "--format", "csv"];
    let text = billed.site.ok(&standing);
    assert_eq!(rows(&text)[0][..6], ["a", "vol", "GB", "100", "53", "53"], "{text}");
}

/// Customer a has its tariff from August on, and b its first version. 5 GB of July that come late are of no tariff: nobody
/// is charged, the bills of August (11 GB: 4.40, and the port) are made, and the audit tells the octets.
#[test]
fn late_usage_of_a_time_without_tariff_is_counted_and_blocks_nothing() {
    let dated = "tariffs = [ { tariff = \"t\", valid_from = 2026-08-01 } ]";
    let first = PLAIN.replace("\"t\"", "\"f\"").replace("2026-01-01", "2026-08-01");
    for dialect in dialects() {
        let billed = Billed::new(dialect, &[("a", dated), ("b", "tariff = \"f\"")], &[PLAIN, &first]);
        let both = |at: &str, octets: u64| billed.used(&[(at, 1, octets), (at, 2, octets)]);
        both("2026-07-10T10:00:00Z", 10 * GB);
        billed.site.ok(&["period", "close", "--period", "2026-07"]);
        both("2026-07-11T10:00:00Z", 5 * GB);
        both("2026-08-10T10:00:00Z", 11 * GB);
        let audit = audited(&billed.site);
        assert_eq!(figure(&audit, "late", "waiting"), 10_000_000_000);
        assert_eq!(figure(&audit, "late", "not_charged"), 0);
        let said = billed.ends(0, &["invoice", "run", "--period", "2026-08"]);
        for customer in ["a", "b"] {
            let what =
                format!("customer `{customer}`: late usage of 2026-07, 5000000000 octets, is not charged: ");
            assert_eq!(said.matches(&what).count(), 1, "{said}");
        }
        billed.site.ok(&["invoice", "finalize", "--period", "2026-08", "--date", "2026-09-01"]);
        for number in ["R-000001", "R-000002"] {
            let invoice = billed.invoice(number);
            assert_eq!((&invoice["net"], &invoice["gross"]), (&"14.40".into(), &"17.42".into()), "{number}");
        }
        let audit = audited(&billed.site);
        assert_eq!(figure(&audit, "late", "not_charged"), 10_000_000_000);
        assert_eq!(figure(&audit, "late", "waiting"), 0);
        assert_eq!(figure(&audit, "late", "charged"), 0);
        assert_eq!(figure(&audit, "usage", "late_octets"), 10_000_000_000);
    }
}

/// 20 GB of July in August's bill, while 7 GB of August wait for September's.
#[test]
fn late_usage_is_counted_by_what_became_of_it() {
    let billed = Billed::new(dialects()[0], &[("a", "tariff = \"t\"")], &[PLAIN]);
    let figures = || {
        let audit = audited(&billed.site);
        ["charged", "waiting", "not_charged"].map(|name| figure(&audit, "late", name) / 1_000_000_000)
    };
    billed.used(&[("2026-07-10T10:00:00Z", 1, 40 * GB)]);
    billed.bill("2026-07", "2026-08-01");
    billed.used(&[("2026-07-11T10:00:00Z", 1, 20 * GB)]);
    assert_eq!(figures(), [0, 20, 0]);
    billed.site.ok(&["invoice", "run", "--period", "2026-08"]);
    assert_eq!(figures(), [0, 20, 0]);
    // Closed, and nobody has made its invoice: the draft has it.
    billed.site.ok(&["period", "close", "--period", "2026-08"]);
    assert_eq!(figures(), [0, 20, 0]);
    billed.bill("2026-08", "2026-09-01");
    assert_eq!(billed.late("R-000002"), amounts(&[("vol", "8.00")]));
    billed.used(&[("2026-08-11T10:00:00Z", 1, 7 * GB)]);
    assert_eq!(figures(), [20, 7, 0]);
    // Taken back, it is charged by nobody; by the next invoice it is.
    billed.site.ok(&["invoice", "credit", "R-000002", "--date", "2026-09-01"]);
    assert_eq!(figures(), [0, 7, 20]);
    billed.bill("2026-08", "2026-09-01");
    assert_eq!(figures(), [20, 7, 0]);
    billed.site.ok(&["period", "close", "--period", "2026-09"]);
    assert_eq!(figures(), [20, 0, 7], "closed, and there is no draft that has it");
}

/// From the 1st to the 15th of August lies a seam: the periods of the second tariff begin on the 15th. It can be accepted
/// once the period after it is over, and what is used in it is billed never, in time or late.
#[test]
fn what_comes_late_for_an_accepted_seam_is_counted_and_blocks_nothing() {
    let other =
        PLAIN.replace("\"t\"", "\"u\"").replace("unit = \"GB\"", "unit = \"GB\"\n[period]\nanchor_day = 15");
    let [before, after] = ["t", "u"].map(|id| format!("tariff = \"{id}\""));
    for dialect in dialects() {
        let billed = Billed::new(dialect, &[("a", &before)], &[]);
        std::fs::create_dir_all(billed.site.state()).unwrap();
        let url = Url::parse(&billed.site.ledger_url(), &billed.site.state()).unwrap();
        let mut ledger = Ledger::open(&url).unwrap();
        for (tariff, valid_from) in [(&before, 0), (&after, 1_785_542_400_000_i64)] {
            let text = serde_json::to_string(
                &parsed(&config(&[("a", tariff)]).replace("LEDGER", "sqlite:x")).network,
            )
            .unwrap();
            let sha256 = fluxoscope::ledger::records::books::digest(&text);
            ledger.put_config_version(&ConfigVersion { sha256, text, valid_from }).unwrap();
        }
        drop(ledger);
        billed.configure(&[("a", &after)]);
        billed.activate(PLAIN, &[]);
        billed.activate(&other, &[]);
        billed.used(&[("2026-07-10T10:00:00Z", 1, 40 * GB), ("2026-08-05T10:00:00Z", 1, 10 * GB)]);
        billed.bill("2026-07", "2026-08-01");
        assert!(billed.ends(1, &["invoice", "run", "--period", "2026-08"]).contains("would be billed never"));
        let accept = |period: &'static str| {
            ["period", "accept-seam", "--period", period, "--customer", "a", "--reason", "agreed"]
        };
        let said = billed.ends(1, &accept("2999-08"));
        assert!(said.contains("2999-08 of `a` lasts until 2999-09-15T00:00:00Z"), "{said}");
        assert!(billed.ends(0, &accept("2026-08")).contains("is billed never"));
        billed.bill("2026-08", "2026-09-20");
        // Late in the seam, and late in the period after it: 20 GB at 0.40.
        billed.used(&[("2026-08-06T10:00:00Z", 1, 3 * GB), ("2026-08-20T10:00:00Z", 1, 20 * GB)]);
        let said = billed.ends(0, &["invoice", "run", "--period", "2026-09"]);
        assert!(said.contains("late usage, 3000000000 octets, is not charged: it lies in a seam"), "{said}");
        billed.bill("2026-09", "2026-10-20");
        assert_eq!(billed.late("R-000003"), amounts(&[("vol", "8.00")]));
        let audit = audited(&billed.site);
        let figures = ["charged", "waiting", "not_charged"].map(|name| figure(&audit, "late", name));
        assert_eq!(figures, [20_000_000_000, 0, 3_000_000_000]);
    }
}

/// The percentile is of flows, but for customer a of what the interfaces counted: 20 Mbit/s at 3.00, and 3 GB; for b 3 GB in
/// one bucket of 8928 are a percentile of 0. What comes late for a is called as a's charge is, by an override, too.
#[test]
fn an_override_is_of_counters_and_has_a_name_of_its_own() {
    let flows =
        COUNTED.replace("\"snmp\"", "\"flow\"").replace("missing = \"exclude\"", "missing = \"zero\"");
    let flows = flows.replace("min_coverage = \"0.5\"\n", "").replace("[minimum]\namount = \"100.00\"\n", "");
    let own = "[[override]]\ncustomer = [\"a\"]\ncharge = \"p95\"\nsource = \"snmp\"\nmissing = \"exclude\"\n\
        [[override]]\ncustomer = [\"a\"]\ncharge = \"vol\"\ndescription = \"Own traffic\"\n";
    for dialect in dialects() {
        let customers = [("a", "tariff = \"p\""), ("b", "tariff = \"p\"")];
        let billed = Billed::new(dialect, &customers, &[&format!("{flows}{own}")]);
        billed.used(&[("2026-07-10T10:00:00Z", 1, 3 * GB), ("2026-07-10T10:00:00Z", 2, 3 * GB)]);
        billed.counted("2026-07-01T00:00:00Z", "2026-09-01T00:00:00Z", (TWENTY, 1000));
        billed.bill("2026-07", "2026-08-01");
        let net = |number: &str| billed.invoice(number)["net"].as_str().unwrap().to_owned();
        assert_eq!([net("R-000001"), net("R-000002")], ["63.00", "3.00"]);
        billed.used(&[("2026-07-11T10:00:00Z", 1, 2 * GB)]);
        billed.bill("2026-08", "2026-09-01");
        let lines = billed.invoice("R-000003")["lines"].clone();
        let late = lines.as_array().unwrap().iter().find(|line| line["detail"]["kind"] == "late").unwrap();
        assert_eq!(late["amount"], "2.00");
        assert!(late["description"].as_str().unwrap().contains("Own traffic"), "{late}");
        audited(&billed.site);
    }
}
