//! What somebody changes who takes the guards of the database away, and the audit has to find.

use std::path::PathBuf;

use serde_json::Value;

use super::{Billed, GB, PLAIN};
use crate::books::audited;
use crate::support::Dialect;

/// Two customers; a has an invoice of July (R-000001), one of August with late usage of July (R-000003), which was taken
/// back (R-000005) and made again (R-000006).
fn billed() -> Billed {
    let customers = [("a", "tariff = \"t\""), ("b", "tariff = \"t\"")];
    let billed = Billed::new(Dialect::Sqlite, &customers, &[PLAIN]);
    billed.used(&[("2026-07-10T10:00:00Z", 1, 40 * GB), ("2026-07-10T10:00:00Z", 2, GB)]);
    billed.bill("2026-07", "2026-08-01");
    billed.used(&[("2026-07-11T10:00:00Z", 1, 20 * GB)]);
    billed.bill("2026-08", "2026-09-01");
    billed.site.ok(&["invoice", "credit", "R-000003", "--date", "2026-09-01"]);
    billed.bill("2026-08", "2026-09-01");
    billed.site.ok(&["period", "close", "--period", "2026-08"]);
    audited(&billed.site);
    billed
}

/// Runs the script on a copy of the ledger, without triggers and foreign keys, and audits that: exit code 3, and what
/// differs of a check.
fn found(billed: &Billed, saved: &PathBuf, check: &str, script: &str) -> String {
    use diesel::connection::SimpleConnection;
    let ledger = billed.site.state().join("ledger.sqlite");
    for rest in ["ledger.sqlite-wal", "ledger.sqlite-shm"] {
        let _ = std::fs::remove_file(billed.site.state().join(rest));
    }
    std::fs::copy(saved, &ledger).unwrap();
    let mut connection =
        <diesel::SqliteConnection as diesel::Connection>::establish(ledger.to_str().unwrap()).unwrap();
    let mut triggers = String::from("PRAGMA foreign_keys = OFF;");
    for (table, what) in [
        ("account", "update delete"),
        ("anchor", "update delete"),
        ("closed", "update delete"),
        ("config_version", "update delete"),
        ("decision", "delete"),
        ("delivery", "insert update delete"),
        ("entry", "update"),
        ("invoice", "update delete"),
        ("issue", "update delete"),
        ("late_usage_row", "update"),
        ("name", "insert update delete"),
        ("posting", "update"),
        ("source", "update delete"),
        ("source_seal", "delete"),
        ("tariff_version", "update"),
        ("witness", "update delete"),
        ("usage_row", "update"),
        ("usage_series", "update delete"),
    ] {
        for of in what.split(' ') {
            triggers += &format!("DROP TRIGGER IF EXISTS {table}_{of};");
        }
    }
    connection.batch_execute(&triggers).unwrap();
    connection.batch_execute(script).expect(script);
    drop(connection);
    let output = billed.site.run(&["audit", "--format", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{script}: {said}");
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["invariant"] == check).unwrap();
    assert_eq!(row["result"], "differs", "{script}: {rows:#}");
    row["differences"].to_string()
}

fn saved(billed: &Billed) -> PathBuf {
    let saved = billed.site.path("saved.sqlite");
    std::fs::copy(billed.site.state().join("ledger.sqlite"), &saved).unwrap();
    saved
}

#[test]
fn the_audit_finds_what_was_put_elsewhere_or_taken_away() {
    let billed = billed();
    let saved = saved(&billed);
    let other = "R-000001 is kept under another customer, period or currency than it is of";
    for (check, script, what) in [
        ("invoices", "UPDATE invoice SET customer = 'b' WHERE number = 'R-000001'", other),
        ("invoices", "UPDATE invoice SET period = '2026-06' WHERE number = 'R-000001'", other),
        ("invoices", "UPDATE invoice SET currency = 'USD' WHERE number = 'R-000001'", other),
        (
            "invoices",
            "UPDATE invoice SET state = 'draft' WHERE number = 'R-000001'",
            "R-000001 was issued, and is kept as a draft",
        ),
        (
            "numbers",
            "DELETE FROM invoice WHERE number = 'R-000002'",
            "R-000002 was issued, and its document is gone",
        ),
        // The last of all numbers leaves no gap.
        (
            "numbers",
            "DELETE FROM issue WHERE number = 'R-000006'; DELETE FROM invoice WHERE number = 'R-000006'",
            "is of R-000006, which has no number any more",
        ),
        (
            "late",
            "UPDATE late_usage_row SET flows = flows + 1",
            "late usage of 2026-07 is not what R-000006 charged: it has been changed",
        ),
        (
            "late",
            "UPDATE late_usage_row SET bucket = bucket + 300",
            "late usage of 2026-07 is not what R-000003",
        ),
        (
            "late",
            "UPDATE late_usage_row SET customer = (SELECT number FROM name WHERE kind = 'customer' AND name = 'b')",
            "late usage of 2026-07 is not what R-000006",
        ),
        (
            "configurations",
            "UPDATE config_version SET text = replace(text, 'upstream', 'peering')",
            "configuration version 1 has been changed",
        ),
        (
            "tariffs",
            "UPDATE tariff_version SET effective = '2026-07-02'",
            "version 1 of tariff `t`, effective 2026-07-02, is version 1 of `t`, effective 2026-01-01, by its file",
        ),
        (
            "tariffs",
            "UPDATE tariff_version SET version = 2",
            "version 2 of tariff `t`, effective 2026-01-01, is version 1 of `t`",
        ),
    ] {
        let differences = found(&billed, &saved, check, script);
        assert!(differences.contains(what), "{script}: {differences}");
    }
}

/// References to what is not there are differences, and the other checks go on.
#[test]
fn a_damaged_reference_is_a_difference_and_not_a_failure() {
    let billed = billed();
    let saved = saved(&billed);
    for (check, script) in [
        ("chain", "UPDATE posting SET account = 999 WHERE entry = 2"),
        ("chain", "DELETE FROM account WHERE number = 1"),
        ("usage", "UPDATE usage_row SET series = 999999"),
        ("usage", "UPDATE late_usage_row SET series = 999999"),
        ("usage", "DELETE FROM usage_series"),
        ("octets", "DELETE FROM name WHERE kind = 'exporter'"),
        ("octets", "DELETE FROM name WHERE kind = 'customer'"),
    ] {
        found(&billed, &saved, check, script);
    }
}

/// Registers are witnessed row by row; sources are sealed by each flush; closings cover the ends of both chains.
#[test]
fn the_audit_finds_what_was_changed_in_registers() {
    let billed = billed();
    billed.site.ok(&["invoice", "export", "--period", "2026-07", "--format", "json", "--out", "out"]);
    // A closing after all of it.
    billed.site.ok(&["period", "close", "--period", "2026-09"]);
    audited(&billed.site);
    let saved = saved(&billed);
    for (check, script, what) in [
        (
            "registers",
            "UPDATE name SET name = 'other' WHERE kind = 'link' AND number = 1",
            "the name of link 1 has been changed",
        ),
        (
            "registers",
            "UPDATE name SET name = 'other' WHERE kind = 'class'",
            "the name of class 0 has been changed",
        ),
        (
            "registers",
            "UPDATE name SET name = 'other' WHERE kind = 'exporter'",
            "the name of exporter 1 has been changed",
        ),
        ("registers", "DELETE FROM name WHERE kind = 'link' AND number = 1", "the name of link 1 is gone"),
        ("registers", "INSERT INTO name VALUES ('link', 9, 'new')", "the name of link 9 has no witness"),
        ("registers", "DELETE FROM delivery WHERE number = 'R-000001'", "the delivery of R-000001 is gone"),
        (
            "registers",
            "UPDATE delivery SET at = at - 1 WHERE number = 'R-000001'",
            "the delivery of R-000001 has been changed",
        ),
        (
            "registers",
            "INSERT INTO delivery VALUES ('R-000006', 0, 'nobody')",
            "the delivery of R-000006 has no witness",
        ),
        (
            "registers",
            "UPDATE tariff_version SET activated_by = 'nobody'",
            "the activation of version 1 of tariff `t` has been changed",
        ),
        (
            "registers",
            "UPDATE tariff_version SET activated_at = activated_at - 1",
            "the activation of version 1 of tariff `t` has been changed",
        ),
        ("registers", "DELETE FROM config_version", "configuration version 1 is gone"),
        (
            "registers",
            "UPDATE config_version SET valid_from = valid_from + 1",
            "configuration version 1 has been changed",
        ),
        (
            "registers",
            "UPDATE source SET position = position + 1",
            "source 1 is not as its last flush left it",
        ),
        (
            "registers",
            "UPDATE source SET complete = 1 - complete",
            "source 1 is not as its last flush left it",
        ),
        ("registers", "UPDATE source_total SET lost = lost + 1", "source 1 is not as its last flush left it"),
        (
            "registers",
            "UPDATE source_total SET records = records + 1, not_volume = not_volume + 1",
            "source 1 is not as its last flush left it",
        ),
        (
            "registers",
            "DELETE FROM source_seal WHERE source = 1",
            "source 1 is not as its last flush left it",
        ),
        (
            "registers",
            "DELETE FROM source_total WHERE source = 1",
            "source 1 is not as its last flush left it",
        ),
        // Both a row and its witness: the end of the chain is covered by the closing.
        ("closed", "DELETE FROM delivery; DELETE FROM witness WHERE kind = 'delivery'", ", is gone"),
        ("registers", "UPDATE witness SET digest = prev WHERE seq = 3", "witness 3 has been changed"),
        ("registers", "DELETE FROM witness", "has no witness"),
        ("closed", "DELETE FROM anchor", "closed other periods than those that name it"),
        (
            "closed",
            "UPDATE anchor SET witnesses = witnesses - 1",
            "closed other periods than those that name it",
        ),
        // All decisions, and all bounds with them.
        ("closed", "DELETE FROM decision", "and what was decided is nothing"),
        ("closed", "DELETE FROM decision; DELETE FROM closed", ", is gone"),
        ("chain", "UPDATE entry SET postings = postings + 1 WHERE seq = 1", "and says that it has"),
        (
            "invoices",
            "UPDATE issue SET corrects = 'R-000001' WHERE number = 'R-000005'",
            "R-000005 is of `R-000001` by its register, and says otherwise",
        ),
        (
            "invoices",
            "UPDATE issue SET corrects = 'R-000001' WHERE number = 'R-000006'",
            "R-000006 is of `R-000001` by its register, and says otherwise",
        ),
    ] {
        let differences = found(&billed, &saved, check, script);
        assert!(differences.contains(what), "{script}: {differences}");
    }
}
