//! Drafts that are not what usage, tariffs and configuration give any more, re-ratings, and the files of documents.

use std::collections::BTreeSet;

use super::{Billed, COUNTED, GB, PLAIN, amounts, version};
use crate::books::{audited, states};
use crate::support::{dialects, rows};

const A: [(&str, &str); 1] = [("a", "tariff = \"t\"")];
const FINALIZE: [&str; 6] = ["invoice", "finalize", "--period", "2026-07", "--date", "2026-08-01"];

/// 150 GB: by the first version 100 * 0.40 + 50 * 0.30 + 10.00 = 65.00, by the second, which is active when the draft is to
/// become final, 100 * 0.80 + 50 * 0.30 + 10.00 = 105.00. Nothing becomes final at the old price.
#[test]
fn a_draft_of_an_older_tariff_version_does_not_become_final() {
    for dialect in dialects() {
        let billed = Billed::new(dialect, &A, &[PLAIN]);
        billed.used(&[("2026-07-10T10:00:00Z", 1, 150 * GB)]);
        billed.site.ok(&["invoice", "run", "--period", "2026-07"]);
        assert_eq!(billed.invoice("DRAFT-2026-07-a")["net"], "65.00");
        billed.activate(&version(PLAIN, 2, &[("2026-01-01", "2026-07-01"), ("0.40", "0.80")]), &[]);
        let stale = "usage or configuration have changed since it was made; make it again";
        assert!(billed.ends(1, &FINALIZE).contains(stale));
        assert!(billed.ends(1, &FINALIZE).contains(stale), "and not at the second attempt");
        assert_eq!(states(&billed.site), [("DRAFT-2026-07-a".to_owned(), "draft".to_owned())]);
        audited(&billed.site);
        billed.bill("2026-07", "2026-08-01");
        let invoice = billed.invoice("R-000001");
        assert_eq!((&invoice["net"], &invoice["gross"]), (&"105.00".into(), &"127.05".into()));
        assert_eq!(invoice["tariff"]["version"], 2);
        audited(&billed.site);
    }
}

/// The second version begins inside the month: the draft has one part, and the bill has two. 15 of 31 days, by seconds, at a
/// port of 10.00 are 4.84 (4.8387), and 16 at one of 20.00 are 10.32 (10.3226); 40 GB before the 16th at 0.40 are 16.00.
#[test]
fn a_draft_of_other_parts_does_not_become_final() {
    let billed = Billed::new(dialects()[0], &A, &[PLAIN]);
    billed.used(&[("2026-07-10T10:00:00Z", 1, 40 * GB)]);
    billed.site.ok(&["invoice", "run", "--period", "2026-07"]);
    assert_eq!(billed.invoice("DRAFT-2026-07-a")["net"], "26.00");
    let second = version(PLAIN, 2, &[("2026-01-01", "2026-07-16"), ("\"10.00\"", "\"20.00\"")]);
    billed.activate(&second, &[]);
    billed.ends(1, &FINALIZE);
    billed.bill("2026-07", "2026-08-01");
    let invoice = billed.invoice("R-000001");
    assert_eq!(invoice["parts"].as_array().unwrap().len(), 2);
    assert_eq!(invoice["net"], "31.16");
    audited(&billed.site);
}

/// What was used meanwhile (10 GB, 4.00), a customer that left in the month, and another postal address.
#[test]
fn a_draft_of_other_usage_or_another_configuration_does_not_become_final() {
    let left = [("a", "tariff = \"t\"\nvalid_to = 2026-07-16")];
    let moved = [("a", "tariff = \"t\"\naddress = [\"1 Elsewhere\"]")];
    for (customers, more) in [(&A, 10 * GB), (&left, 0), (&moved, 0)] {
        let tariff = PLAIN.replace("unit = \"GB\"", "unit = \"GB\"\n[period]\nproration = \"seconds\"");
        let billed = Billed::new(dialects()[0], &A, &[&tariff]);
        billed.used(&[("2026-07-10T10:00:00Z", 1, 40 * GB)]);
        billed.site.ok(&["invoice", "run", "--period", "2026-07"]);
        if more > 0 {
            billed.used(&[("2026-07-11T10:00:00Z", 1, more)]);
        }
        billed.configure(customers);
        assert!(billed.ends(1, &FINALIZE).contains("have changed since it was made"), "{customers:?} {more}");
        billed.bill("2026-07", "2026-08-01");
        let net = billed.invoice("R-000001")["net"].clone();
        // 16.00, and the port for 15 days of 31: 4.84.
        let expected = if more > 0 {
            "30.00"
        } else if customers == &left {
            "20.84"
        } else {
            "26.00"
        };
        assert_eq!(net, expected, "{customers:?}");
        audited(&billed.site);
    }
}

/// 40 GB cost 16.00 by either version, and 20 GB that come later would cost 8.00 by the first, and by the second, whose row
/// ends at 50 GB, 10 * 0.40 + 10 * 0.10 = 5.00: so the invoice that stands has to be one of the second.
#[test]
fn a_rerating_at_the_same_amount_by_another_version_is_another_invoice() {
    for dialect in dialects() {
        let billed = Billed::new(dialect, &A, &[PLAIN]);
        billed.used(&[("2026-07-10T10:00:00Z", 1, 40 * GB)]);
        billed.bill("2026-07", "2026-08-01");
        let second = [("2026-01-01", "2026-07-01"), ("up_to = \"100\"", "up_to = \"50\""), ("0.30", "0.10")];
        billed.activate(&version(PLAIN, 2, &second), &["--retroactive"]);
        let rerate =
            ["rerate", "--customer", "a", "--from", "2026-07", "--date", "2026-08-02", "--format", "csv"];
        let tried = billed.site.ok(&[&rerate[..], &["--dry-run"]].concat());
        assert_eq!(rows(&tried), [["R-000001", "2026-07", "31.46", "31.46"]]);
        assert_eq!(states(&billed.site).len(), 1);
        assert_eq!(billed.site.ok(&rerate), tried);
        let [note, new] = ["R-000002", "R-000003"].map(|number| billed.invoice(number));
        assert_eq!((&note["credits"], &note["gross"]), (&"R-000001".into(), &"-31.46".into()));
        assert_eq!((&new["replaces"], &new["net"]), (&"R-000001".into(), &"26.00".into()));
        assert_eq!((&note["tariff"]["version"], &new["tariff"]["version"]), (&1.into(), &2.into()));
        assert_eq!(rows(&billed.site.ok(&rerate)).len(), 0, "once");
        audited(&billed.site);

        billed.used(&[("2026-07-11T10:00:00Z", 1, 20 * GB)]);
        billed.bill("2026-08", "2026-09-01");
        assert_eq!(billed.late("R-000004"), amounts(&[("vol", "5.00")]));
        billed.explained("R-000004");
        audited(&billed.site);
    }
}

/// What a customer was sent stays as it was sent: no document that is issued later is written over it.
#[test]
fn no_document_is_written_over_another() {
    let billed = Billed::new(dialects()[0], &A, &[PLAIN]);
    billed.used(&[("2026-07-10T10:00:00Z", 1, 40 * GB)]);
    let exported = |expected: &[(&str, &str)]| {
        billed.site.ok(&[
            "invoice",
            "export",
            "--period",
            "2026-07",
            "--format",
            "json,html",
            "--out",
            "out",
        ]);
        let mut names: BTreeSet<String> = BTreeSet::new();
        for file in std::fs::read_dir(billed.site.path("out")).unwrap() {
            names.insert(file.unwrap().file_name().into_string().unwrap());
        }
        let mut wanted = BTreeSet::new();
        for (name, number) in expected {
            for extension in ["json", "html"] {
                let name = format!("{name}.{extension}");
                let text = std::fs::read_to_string(billed.site.path("out").join(&name)).unwrap();
                assert!(text.contains(number), "{name} is not {number}: {text}");
                wanted.insert(name);
            }
        }
        assert_eq!(names, wanted);
    };
    billed.site.ok(&["invoice", "run", "--period", "2026-07"]);
    exported(&[("2026-07-a", "DRAFT-2026-07-a")]);
    billed.site.ok(&FINALIZE);
    exported(&[("2026-07-a", "\"R-000001\"")].map(|(name, _)| (name, "R-000001")));
    billed.site.ok(&["invoice", "credit", "R-000001", "--date", "2026-08-01"]);
    exported(&[("2026-07-a", "R-000001"), ("2026-07-a+R-000002", "R-000002")]);
    let note = std::fs::read_to_string(billed.site.path("out/2026-07-a.html")).unwrap();
    assert!(!note.contains("Credit note"), "{note}");
    // Drafts of the same month come beside, and are replaced by what they become.
    billed.site.ok(&["invoice", "run", "--period", "2026-07"]);
    let [first, second] = [("2026-07-a", "R-000001"), ("2026-07-a+R-000002", "R-000002")];
    exported(&[first, second, ("2026-07-a+DRAFT-2026-07-a", "DRAFT-2026-07-a")]);
    std::fs::remove_dir_all(billed.site.path("out")).unwrap();
    billed.site.ok(&FINALIZE);
    exported(&[first, second, ("2026-07-a+R-000003", "R-000003")]);
}

/// A month in which the customer changed from one tariff to another was closed, and has no invoice yet. 40 GB before the 16th
/// at 0.40 are 16.00, the port for 15 of 31 days 4.84, and the minimum of 100.00 for 16 of 31 days 51.61. A version of either
/// tariff is refused, and changes nothing where it is activated all the same; rated again, it is 32.00 for the volume.
#[test]
fn a_closed_period_keeps_the_versions_of_all_its_tariffs() {
    let other = COUNTED.replace("\"p\"", "\"u\"").replace("source = \"snmp\"", "source = \"flow\"");
    let other = other.replace("missing = \"exclude\"", "missing = \"zero\"");
    let first = version(PLAIN, 2, &[("2026-01-01", "2026-07-01"), ("0.40", "0.80")]);
    let second = version(&other, 2, &[("2026-01-01", "2026-07-01"), ("1.00", "2.00")]);
    let customer = [("a", "tariff = \"t\"\ntariffs = [ { tariff = \"u\", valid_from = 2026-07-16 } ]")];
    let billed = Billed::new(dialects()[0], &customer, &[PLAIN, &other]);
    billed.used(&[("2026-07-10T10:00:00Z", 1, 40 * GB)]);
    billed.site.ok(&["period", "close", "--period", "2026-07"]);
    for (text, id) in [(&first, "t"), (&second, "u")] {
        billed.file(text);
        let said = billed.ends(1, &["tariff", "activate", "tariff.toml"]);
        assert!(said.contains("2026-07: `a` (closed)"), "{id}: {said}");
        billed.activate(text, &["--retroactive"]);
    }
    billed.bill("2026-07", "2026-08-01");
    let invoice = billed.invoice("R-000001");
    assert_eq!(invoice["net"], "72.45", "{invoice:#}");
    audited(&billed.site);
    billed.site.ok(&["rerate", "--customer", "a", "--from", "2026-07", "--date", "2026-08-01"]);
    assert_eq!(billed.invoice("R-000003")["net"], "88.45");
    audited(&billed.site);
}
