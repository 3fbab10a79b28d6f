//! What somebody changes who takes the guards of the database away, and the audit has to find.

use std::path::{Path, PathBuf};

use serde_json::Value;

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use fluxoscope::ledger::records::books::{EntryKind, digest};
use fluxoscope::ledger::{Ledger, Url};

use super::{Billed, GB, PLAIN};
use crate::books::{audited, figure};
use crate::support::{Dialect, Site};

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
pub(crate) fn found(site: &Site, saved: &Path, check: &str, script: &str) -> String {
    let ledger = site.state().join("ledger.sqlite");
    for rest in ["ledger.sqlite-wal", "ledger.sqlite-shm"] {
        let _ = std::fs::remove_file(site.state().join(rest));
    }
    std::fs::copy(saved, &ledger).unwrap();
    let mut connection = diesel::SqliteConnection::establish(ledger.to_str().unwrap()).unwrap();
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
        ("exporter_loss", "update delete"),
        ("source_seal", "update delete"),
        ("source_total", "update delete"),
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
    let output = site.run(&["audit", "--format", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{script}: {said}");
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["invariant"] == check).unwrap();
    assert_eq!(row["result"], "differs", "{script}: {rows:#}");
    row["differences"].to_string()
}

pub(crate) fn saved(site: &Site) -> PathBuf {
    let saved = site.path("saved.sqlite");
    std::fs::copy(site.state().join("ledger.sqlite"), &saved).unwrap();
    saved
}

#[test]
fn the_audit_finds_what_was_put_elsewhere_or_taken_away() {
    let billed = billed();
    let saved = saved(&billed.site);
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
        let differences = found(&billed.site, &saved, check, script);
        assert!(differences.contains(what), "{script}: {differences}");
    }
}

/// References to what is not there are differences, and the other checks go on.
#[test]
fn a_damaged_reference_is_a_difference_and_not_a_failure() {
    let billed = billed();
    let saved = saved(&billed.site);
    for (check, script) in [
        ("chain", "UPDATE posting SET account = 999 WHERE entry = 2"),
        ("chain", "DELETE FROM account WHERE number = 1"),
        ("usage", "UPDATE usage_row SET series = 999999"),
        ("usage", "UPDATE late_usage_row SET series = 999999"),
        ("usage", "DELETE FROM usage_series"),
        ("octets", "DELETE FROM name WHERE kind = 'exporter'"),
        ("octets", "DELETE FROM name WHERE kind = 'customer'"),
    ] {
        found(&billed.site, &saved, check, script);
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
    let saved = saved(&billed.site);
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
            "UPDATE source SET expired_sets = expired_sets + 1",
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
            "chain",
            "UPDATE posting SET line = line + 1000 WHERE entry = 2 AND line = (SELECT max(line) FROM posting WHERE entry = 2)",
            "the postings of entry 2 are not numbered without gaps",
        ),
        (
            "invoices",
            "UPDATE issue SET kind = 'credit' WHERE number = 'R-000001'",
            "R-000001 is a credit note by its register, and says otherwise",
        ),
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
        let differences = found(&billed.site, &saved, check, script);
        assert!(differences.contains(what), "{script}: {differences}");
    }
}

/// A ledger from before there were witnesses: what it has is witnessed when its schema is brought up to date, the closings of
/// then are as they were, and what is changed from then on is noticed.
#[test]
fn a_ledger_from_before_witnesses_is_as_good() {
    let billed = billed();
    let url = Url::parse(&billed.site.ledger_url(), &billed.site.state()).unwrap();
    let mut ledger = Ledger::open(&url).unwrap();
    let mut lines: std::collections::BTreeMap<u64, String> = std::collections::BTreeMap::new();
    for (entry, closure) in ledger.closures(None).unwrap() {
        lines.entry(entry).or_default().push_str(&closure.line());
    }
    // Closings had the digest of their periods alone, so the chain is another.
    let mut script = String::from(
        "PRAGMA foreign_keys = OFF; DROP TRIGGER entry_update; DROP TABLE witness; DROP TABLE source_seal; \
         DROP TABLE anchor; DROP TRIGGER usage_row_update; DROP TRIGGER source_total_update; \
         DROP TRIGGER source_total_delete; DROP TRIGGER exporter_loss_update; DROP TRIGGER exporter_loss_delete; \
         DROP TABLE interface_octets_seal; ALTER TABLE source DROP COLUMN expired_sets; ALTER TABLE source DROP COLUMN expired_set_octets; \
         ALTER TABLE source DROP COLUMN second_flows; \
         DELETE FROM __diesel_schema_migrations WHERE version >= '0018';",
    );
    let mut prev = fluxoscope::ledger::records::books::GENESIS.to_owned();
    ledger
        .for_each_entry(&mut |mut entry| {
            if entry.entry.kind == EntryKind::Close {
                entry.entry.digest = digest(&lines[&entry.seq]);
            }
            let hash = entry.entry.hash(entry.seq, &prev);
            script += &format!(
                "UPDATE entry SET digest = '{}', prev = '{prev}', hash = '{hash}' WHERE seq = {};",
                entry.entry.digest, entry.seq
            );
            prev = hash;
            Ok(())
        })
        .unwrap();
    script += "CREATE TRIGGER entry_update BEFORE UPDATE ON entry\n\
               BEGIN SELECT RAISE(ABORT, 'an entry is never changed'); END;";
    drop(ledger);
    let path = billed.site.state().join("ledger.sqlite");
    let mut connection = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection.batch_execute(&script).unwrap();
    drop(connection);

    let output = billed.site.run(&["audit"]);
    assert_eq!(output.status.code(), Some(1), "an older schema");
    drop(Ledger::open(&url).unwrap());
    let before = audited(&billed.site);
    billed.site.ok(&["invoice", "export", "--period", "2026-07", "--format", "json", "--out", "out"]);
    billed.site.ok(&["period", "close", "--period", "2026-09"]);
    let after = audited(&billed.site);
    assert!(figure(&before, "registers", "witnesses") < figure(&after, "registers", "witnesses"));
    let saved = saved(&billed.site);
    for (script, what) in [
        ("UPDATE name SET name = 'other' WHERE kind = 'link'", "the name of link 1 has been changed"),
        ("UPDATE source SET position = position + 1", "source 1 is not as its last flush left it"),
        ("DELETE FROM delivery", "the delivery of R-000001 is gone"),
    ] {
        let differences = found(&billed.site, &saved, "registers", script);
        assert!(differences.contains(what), "{script}: {differences}");
    }
}

/// What cannot be shown as it was is a difference that a check found.
#[test]
fn a_changed_document_is_shown_to_nobody() {
    let billed = billed();
    let saved = saved(&billed.site);
    found(
        &billed.site,
        &saved,
        "invoices",
        "UPDATE invoice SET document = document || ' ' WHERE number = 'R-000001'",
    );
    for command in [&["invoice", "show", "R-000001"][..], &["invoice", "explain", "R-000001", "1"]] {
        let output = billed.site.run(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(3) && said.contains("R-000001"), "{}: {said}", output.status);
    }
    // What was never there is no damage.
    assert_eq!(billed.site.run(&["invoice", "show", "R-000099"]).status.code(), Some(1));
}
