//! What closed and billed periods keep to: tariff versions that come afterwards, late usage after a re-rating, months that
//! have not ended.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::path::Path;

use serde_json::Value;

use crate::books::{audited, capture, dated, metered, states};
use crate::support::{Site, dialects, rows};

fn shown(site: &Site, number: &str) -> Value {
    serde_json::from_str(&site.ok(&["invoice", "show", number, "--format", "json"])).unwrap()
}

fn cents(text: &Value) -> i64 {
    text.as_str().unwrap().replace('.', "").parse().unwrap()
}

/// Another version of the regional tariff, with these changes; its file's name.
fn version(site: &Site, version: u32, changes: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/regional-isp.toml");
    let mut text = std::fs::read_to_string(file).unwrap();
    let own = format!("version = {version}");
    for (old, new) in changes.iter().copied().chain([("version = 1", own.as_str())]) {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    let name = format!("v{version}.toml");
    std::fs::write(site.path(&name), text).unwrap();
    name
}

/// What failed, which must say this.
fn refused(site: &Site, args: &[&str], code: i32, why: &str) {
    let output = site.run(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.contains(why), "{args:?}: {said}");
}

/// From the middle of July another price holds, found out after July was billed: the re-rated invoice has two parts, and
/// what comes late after that is priced by them.
#[test]
fn late_usage_follows_the_invoice_that_stands() {
    for dialect in dialects() {
        let site = metered(dialect);
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
        site.ok(&["period", "close", "--period", "2026-07"]);
        let v2 = version(&site, 2, &[("2026-01-01", "2026-07-12"), ("0.0430", "0.9999")]);
        site.ok(&["tariff", "activate", &v2, "--retroactive"]);
        // Late before the re-rating, and charged: by the first version.
        site.ok(&["replay", &capture(&site, 2, 3000)]);
        site.ok(&["invoice", "run", "--period", "2026-08"]);
        let in_august = |site: &Site, number: &str| -> i64 {
            let invoice = shown(site, number);
            let lines = invoice["lines"].as_array().unwrap();
            let late = lines.iter().filter(|line| line["detail"]["kind"] == "late");
            late.map(|line| cents(&line["amount"])).sum()
        };
        let before = in_august(&site, "DRAFT-2026-08-campus");
        site.ok(&["invoice", "finalize", "--period", "2026-08", "--date", "2026-09-02"]);
        let rerate = ["rerate", "--customer", "campus", "--from", "2026-07", "--date", "2026-09-03"];
        let tried = site.ok(&[&rerate[..], &["--format", "csv", "--dry-run"]].concat());
        let done = site.ok(&[&rerate[..], &["--format", "csv"]].concat());
        // August charges late usage of July, and follows it.
        assert_eq!(rows(&done).iter().map(|row| row[1]).collect::<Vec<_>>(), ["2026-07", "2026-08"]);
        assert_eq!(tried, done);
        // Later still, it is charged in September.
        site.ok(&["period", "close", "--period", "2026-08"]);
        site.ok(&["replay", &capture(&site, 3, 1500)]);
        site.ok(&["invoice", "run", "--period", "2026-09"]);
        audited(&site);

        // Another ledger, where everything came in time and both versions were there.
        let other = metered(dialect);
        let v2 = version(&other, 2, &[("2026-01-01", "2026-07-12"), ("0.0430", "0.9999")]);
        other.ok(&["tariff", "activate", &v2]);
        other.ok(&["replay", &capture(&other, 2, 3000)]);
        other.ok(&["replay", &capture(&other, 3, 1500)]);
        other.ok(&["invoice", "run", "--period", "2026-07"]);
        let finals: Vec<String> = states(&site)
            .into_iter()
            .filter(|(_, state)| state == "final")
            .map(|(number, _)| number)
            .collect();
        let of = |period: &str| {
            let mut own = finals.iter().map(|number| shown(&site, number));
            own.find(|one| {
                one["period"]["name"] == period && one["customer"] == "campus" && one.get("credits").is_none()
            })
            .unwrap()
        };
        let (july, august) = (of("2026-07"), of("2026-08"));
        let august = in_august(&site, august["number"].as_str().unwrap());
        assert!(august > before, "{august} {before}");
        let september = in_august(&site, "DRAFT-2026-09-campus");
        let whole = shown(&other, "DRAFT-2026-07-campus");
        assert_eq!(july["parts"].as_array().unwrap().len(), 2, "{july}");
        assert_eq!(cents(&july["net"]) + august + september, cents(&whole["net"]));
    }
}

#[test]
fn a_version_that_reaches_back_into_closed_periods_is_refused_and_changes_none() {
    for dialect in dialects() {
        let site = metered(dialect);
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        site.ok(&dated(&["invoice", "finalize", "DRAFT-2026-07-campus"]));
        site.ok(&["period", "close", "--period", "2026-07"]);
        let v2 = version(&site, 2, &[("2026-01-01", "2026-07-31"), ("150.00", "160.00")]);
        let way_out = "rerate --customer 'campus' --from 2026-07 --to 2026-07";
        refused(
            &site,
            &["tariff", "activate", &v2],
            1,
            "2026-07: `Aalen; tøwn` (closed), `campus` (R-000001)",
        );
        refused(&site, &["tariff", "activate", &v2], 1, way_out);
        assert_eq!(rows(&site.ok(&["tariff", "history", "--format", "csv"])).len(), 1);
        // One that begins when July is over touches nothing.
        let later = version(&site, 2, &[("2026-01-01", "2026-08-01"), ("150.00", "155.00")]);
        site.ok(&["tariff", "activate", &later]);
        let v3 = version(&site, 3, &[("2026-01-01", "2026-07-31"), ("150.00", "160.00")]);
        site.ok(&["tariff", "activate", &v3, "--retroactive"]);
        // What was closed by the first version is billed by it.
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        let draft = shown(&site, "DRAFT-2026-07-Aalen; tøwn");
        assert_eq!(
            (&draft["tariff"]["version"], &draft["parts"]),
            (&Value::from(1), &Value::Null),
            "{draft}"
        );
        site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
        audited(&site);
        // And by the new one when it is rated again: 31 days and a thirty-first.
        let again = ["rerate", "--customer", "Aalen; tøwn", "--from", "2026-07"];
        site.ok(&dated(&again));
        audited(&site);
        assert_eq!(shown(&site, "R-000004")["tariff"]["version"], 3);
    }
}

/// The month that comes has not ended, whenever this is run.
#[test]
fn a_month_that_has_not_ended_has_provisional_drafts() {
    let site = metered(dialects()[0]);
    let now = jiff::Timestamp::from_millisecond(crate::live_support::now_ms()).unwrap();
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let next = today.checked_add(jiff::Span::new().months(1)).unwrap().to_string()[..7].to_owned();
    let made = site.run(&["invoice", "run", "--period", &next]);
    assert!(made.status.success());
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(said.contains("2 drafts are provisional"), "{said}");
    let number = format!("DRAFT-{next}-campus");
    assert_eq!(shown(&site, &number)["quality"]["provisional"], true);
    assert!(
        site.ok(&["invoice", "show", &number]).contains("(draft, provisional: the period has not ended)")
    );
    for args in [&["--period", next.as_str()][..], &[&number]] {
        refused(&site, &[&["invoice", "finalize"], args].concat(), 1, "not closed yet: ");
    }
    assert!(states(&site).iter().all(|(_, state)| state == "draft"));
    site.ok(&["invoice", "run", "--period", "2026-07"]);
    assert!(shown(&site, "DRAFT-2026-07-campus")["quality"].get("provisional").is_none());
}
