//! Statements that another program, or somebody with a database shell, could try on the books; and what the schema itself
//! says to each. The databases' own defaults hold: keys are not checked in SQLite, triggers are not recursive.

use super::super::records::books::*;
use super::*;

const ANN: Actor<'_> = Actor { by: "ann", at: 1_800_000_000_000 };

/// Two balanced postings of an entry that is not there yet, and the entry.
fn entry(seq: i64, prev: &str, postings: &str, count: i64) -> String {
    format!(
        "INSERT INTO posting (entry, line, account, commodity, amount) VALUES {postings}; \
         INSERT INTO entry (seq, kind, key, day, reference, digest, at, made_by, postings, prev, hash) VALUES \
         ({seq}, 'invoice', 'k{seq}', '2026-07-31', 'x', '', 0, 'eve', {count}, '{prev}', '{}');",
        digest(&seq.to_string())
    )
}

/// All that is written once.
fn kept(ledger: &mut Ledger) -> String {
    let mut entries = Vec::new();
    ledger
        .for_each_entry(&mut |entry| {
            entries.push(entry);
            Ok(())
        })
        .unwrap();
    let usage = all_usage(ledger);
    let closures = ledger.closures(None).unwrap();
    let (issues, invoices) = (ledger.issues().unwrap(), ledger.invoices(None, None).unwrap());
    format!("{entries:?} {usage:?} {:?} {closures:?} {issues:?} {invoices:?}", ledger.closed().unwrap())
}

/// A ledger with one of everything: entry 1 seals a period, entry 2 is final invoice R-000001, 3 a void one, 4 octets.
fn full(place: &Place) -> Ledger {
    let ann = Actor { by: "ann", at: 1 };
    let mut ledger = place.open();
    ledger.intern(NameKind::Customer, &["campus"]).unwrap();
    ledger.intern(NameKind::Exporter, &["ce1"]).unwrap();
    let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
    let losses = vec![Loss { exporter: "ce1".into(), day: 20_000, records: 5, lost: 1 }];
    ledger
        .commit_flush(&Flush { losses, ..flush(source, 0, 1, &[row(0, 16, 100), row(5, 16, 100)]) })
        .unwrap();
    ledger.close(&[(Some(16), BucketStart(600))], ANN).unwrap();
    ledger.commit_flush(&flush(source, 1, 2, &[row(0, 16, 1)])).unwrap();
    let closure = Closure {
        customer: 16,
        period: "2026-07".into(),
        from: BucketStart(0),
        until: BucketStart(600),
        tariff: String::new(),
        tariff_version: 0,
        root: digest("usage"),
    };
    ledger.seal("2026-07", "2026-07-31", &[closure], ann).unwrap();
    for customer in ["a", "b"] {
        let draft = StoredInvoice {
            number: format!("DRAFT-{customer}"),
            period: "2026-07".into(),
            customer: customer.into(),
            state: "draft".into(),
            currency: "EUR".into(),
            gross_minor: 1,
            document: "{}".into(),
            sha256: digest(customer),
        };
        ledger.put_invoice(&draft).unwrap();
        let leg =
            |kind, amount| Posting { account: Account::new(kind, customer), commodity: "EUR".into(), amount };
        let postings = vec![leg(AccountKind::Receivable, 1), leg(AccountKind::Income, -1)];
        ledger
            .issue("R-", &[Step::Final(&draft)], ann, &mut |_, draft, number| {
                let invoice = StoredInvoice { number: number.into(), state: "final".into(), ..draft.clone() };
                Ok(Ready { invoice, day: "2026-07-31".into(), postings: postings.clone() })
            })
            .unwrap();
    }
    ledger.void("R-000002", ann).unwrap();
    ledger.deliver(&["R-000001"], ann).unwrap();
    ledger.enter_octets(EntryKind::Octets, 0, ann).unwrap();
    ledger
}

#[test]
fn the_schema_itself_keeps_the_books() {
    const BOTH: [(&str, &str); 46] = [
        ("UPDATE account SET name = 'x'", "never changed"),
        ("DELETE FROM account", "never changed"),
        ("UPDATE posting SET amount = amount * 2 WHERE entry = 2", "never changed"),
        ("UPDATE posting SET entry = 99 WHERE entry = 2", "never changed"),
        ("DELETE FROM posting WHERE entry = 2", "sealed"),
        ("INSERT INTO posting VALUES (2, 3, 1, 'EUR', 5)", "sealed"),
        ("UPDATE entry SET day = '2020-01-01'", "never changed"),
        ("DELETE FROM entry WHERE seq = 5", "never changed"),
        ("DELETE FROM closed", "stays closed"),
        ("UPDATE closed SET until = 0", "stays closed"),
        ("UPDATE closed SET customer = 99", "stays closed"),
        ("UPDATE decision SET bucket = 0", "never changed"),
        ("DELETE FROM decision", "never changed"),
        ("INSERT INTO decision VALUES (9, 'close', 16, 0, 0, '', 0, 'eve', '', '')", "without gaps"),
        ("UPDATE witness SET digest = hash", "never changed"),
        ("DELETE FROM witness", "never changed"),
        ("INSERT INTO witness VALUES (999, 'name', 'link 9', '', '', '')", "without gaps"),
        ("DELETE FROM source_seal", "never forgotten"),
        ("UPDATE anchor SET witnesses = 0", "never changed"),
        ("DELETE FROM anchor", "never changed"),
        ("DELETE FROM closure", "never changed"),
        ("UPDATE closure SET root = ''", "never changed"),
        ("DELETE FROM usage_row WHERE bucket = 0", "never forgotten"),
        // Of an open period as well.
        ("UPDATE usage_row SET customer = 17", "never changed"),
        ("UPDATE usage_row SET bucket = bucket + 300", "never changed"),
        ("UPDATE usage_row SET series = 9, octets = octets", "never changed"),
        ("UPDATE source_total SET source = 9", "never forgotten"),
        ("DELETE FROM source_total", "never forgotten"),
        ("UPDATE source_seal SET source = 9", "never forgotten"),
        ("UPDATE exporter_loss SET day = day + 1", "never forgotten"),
        ("DELETE FROM exporter_loss", "never forgotten"),
        ("DELETE FROM late_usage_row", "never forgotten"),
        ("UPDATE late_usage_row SET octets = 0", "only grows"),
        ("INSERT INTO late_usage_row SELECT 300, 0, 16, 9, 1, 1, 1, 1, 1", "open period"),
        ("DELETE FROM issue", "never changed"),
        ("UPDATE issue SET place = 3 WHERE place = 2", "never changed"),
        ("INSERT INTO issue VALUES ('R-000009', 'R-', 9, 'invoice', '', 4)", "without gaps"),
        ("INSERT INTO issue VALUES ('DRAFT-c', 'R-', 3, 'invoice', '', 4)", "in the books"),
        ("INSERT INTO issue VALUES ('R-000003', 'R-', 3, 'credit', 'R-000002', 5)", "in the books"),
        ("DELETE FROM delivery", "never changed"),
        ("UPDATE invoice SET state = 'void' WHERE number = 'R-000001'", "never changed"),
        ("UPDATE invoice SET state = 'credited' WHERE number = 'R-000001'", "never changed"),
        ("UPDATE invoice SET state = 'draft' WHERE number = 'R-000001'", "never changed"),
        ("UPDATE invoice SET state = 'final' WHERE number = 'R-000002'", "never changed"),
        ("UPDATE invoice SET gross_minor = 0 WHERE number = 'R-000001'", "never changed"),
        ("DELETE FROM invoice WHERE number = 'R-000001'", "never changed"),
    ];
    // REPLACE deletes what is in its way without firing a trigger.
    const SQLITE: [(&str, &str); 17] = [
        ("REPLACE INTO witness SELECT * FROM witness WHERE seq = 1", "without gaps"),
        ("REPLACE INTO anchor SELECT entry, 0, 0 FROM anchor", "never changed"),
        ("REPLACE INTO decision SELECT * FROM decision WHERE seq = 1", "without gaps"),
        ("REPLACE INTO account VALUES (1, 'income', 'x')", "never changed"),
        ("REPLACE INTO account SELECT 99, kind, name FROM account WHERE number = 1", "never changed"),
        ("REPLACE INTO posting VALUES (2, 1, 1, 'EUR', 5)", "sealed"),
        ("REPLACE INTO entry SELECT * FROM entry WHERE seq = 2", "without gaps"),
        (
            "REPLACE INTO entry SELECT 6, kind, key, day, reference, digest, at, made_by, 0, hash, hash FROM entry WHERE seq = 5",
            "twice",
        ),
        ("INSERT OR IGNORE INTO posting VALUES (2, 3, 1, 'EUR', 5)", "sealed"),
        ("REPLACE INTO closed VALUES (16, 0)", "stays closed"),
        (
            "REPLACE INTO closure SELECT customer, period, 0, 0, 'x', 1, root, entry FROM closure",
            "never changed",
        ),
        ("REPLACE INTO issue VALUES ('R-000001', 'R-', 3, 'invoice', '', 2)", "never changed"),
        ("REPLACE INTO issue VALUES ('x', 'R-', 1, 'invoice', '', 99)", "without gaps"),
        ("REPLACE INTO delivery VALUES ('R-000001', 0, '')", "never changed"),
        (
            "REPLACE INTO invoice SELECT number, period, customer, 'draft', currency, 0, '', '' FROM invoice",
            "never changed",
        ),
        ("UPDATE OR REPLACE late_usage_row SET bucket = 300", "only grows"),
        ("UPDATE OR REPLACE usage_row SET customer = 17", "never changed"),
    ];
    const POSTGRES: [(&str, &str); 14] = [
        ("TRUNCATE witness", "never changed"),
        ("TRUNCATE source_seal", "never forgotten"),
        ("TRUNCATE source_total", "never forgotten"),
        ("TRUNCATE exporter_loss", "never forgotten"),
        ("TRUNCATE anchor", "never changed"),
        ("TRUNCATE decision", "never changed"),
        ("TRUNCATE account CASCADE", "never changed"),
        ("TRUNCATE posting", "never changed"),
        ("TRUNCATE entry CASCADE", "never changed"),
        ("TRUNCATE closed", "stays closed"),
        ("TRUNCATE usage_row", "never forgotten"),
        ("TRUNCATE late_usage_row", "never forgotten"),
        ("TRUNCATE delivery", "never changed"),
        ("TRUNCATE issue CASCADE", "never changed"),
    ];
    on_each(|place| {
        let mut ledger = full(place);
        let before = kept(&mut ledger);
        if place.is_sqlite() {
            sql(&mut ledger, "PRAGMA recursive_triggers = OFF; PRAGMA foreign_keys = OFF").unwrap();
        }
        let own: &[(&str, &str)] = if place.is_sqlite() { &SQLITE } else { &POSTGRES };
        for (statement, reason) in BOTH.iter().chain(own) {
            let refusal = sql(&mut ledger, statement).expect_err(statement);
            assert!(refusal.contains(reason), "{statement}: {refusal}");
        }
        assert_eq!(kept(&mut ledger), before);
    });
}

#[test]
fn an_entry_that_is_wrong_is_not_sealed() {
    on_each(|place| {
        let mut ledger = full(place);
        let before = kept(&mut ledger);
        let mut last = String::new();
        ledger
            .for_each_entry(&mut |entry| {
                last = entry.hash;
                Ok(())
            })
            .unwrap();
        if place.is_sqlite() {
            sql(&mut ledger, "PRAGMA recursive_triggers = OFF; PRAGMA foreign_keys = OFF").unwrap();
        }
        let high = 1_i64 << 62;
        for (postings, count, reason) in [
            ("(6, 1, 1, 'EUR', 5), (6, 2, 2, 'EUR', -4)".to_owned(), 2, "balance"),
            ("(6, 1, 1, 'EUR', 5)".to_owned(), 1, "balance"),
            ("(6, 1, 1, 'EUR', 5), (6, 2, 2, 'USD', -5)".to_owned(), 2, "balance"),
            ("(6, 1, 1, 'EUR', 4294967296), (6, 2, 2, 'EUR', -4294967297)".to_owned(), 2, "balance"),
            // Sums that wrap around 64 bits, or are taken for zero when halves are dropped.
            (
                format!(
                    "(6, 1, 1, 'EUR', {high}), (6, 2, 1, 'EUR', {high}), (6, 3, 1, 'EUR', {high}), (6, 4, 1, 'EUR', {high})"
                ),
                4,
                "balance",
            ),
            ("(6, 1, 1, 'EUR', 5), (6, 2, 2, 'EUR', -5)".to_owned(), 3, "without gaps"),
            ("(6, 1, 1, 'EUR', 5), (6, 3, 2, 'EUR', -5)".to_owned(), 2, "without gaps"),
        ] {
            let script = format!("BEGIN; {} COMMIT;", entry(6, &last, &postings, count));
            let refusal = sql(&mut ledger, &script).expect_err(&postings);
            let _ = sql(&mut ledger, "ROLLBACK");
            assert!(refusal.contains(reason), "{postings}: {refusal}");
        }
        let good = "(6, 1, 1, 'EUR', 5), (6, 2, 2, 'EUR', -5)";
        for (seq, prev, reason) in [
            (7, last.as_str(), "without gaps"),
            (6, GENESIS, "hash of the one before"),
            (5, last.as_str(), ""),
        ] {
            let script =
                format!("BEGIN; {} COMMIT;", entry(seq, prev, &good.replace("(6,", &format!("({seq},")), 2));
            let refusal = sql(&mut ledger, &script).expect_err(reason);
            let _ = sql(&mut ledger, "ROLLBACK");
            assert!(refusal.contains(reason), "{seq}: {refusal}");
        }
        assert_eq!(kept(&mut ledger), before);
        // Postings that somebody left without an entry are in nobody's way.
        if place.is_sqlite() {
            sql(&mut ledger, "INSERT INTO posting VALUES (6, 1, 1, 'EUR', 5)").unwrap();
            assert_eq!(ledger.unsealed_postings().unwrap(), 1);
        }
        sql(&mut ledger, "PRAGMA foreign_keys = ON").ok();
        ledger.enter_octets(EntryKind::Late, 0, Actor { by: "ann", at: 2 }).unwrap();
        assert_eq!(ledger.unsealed_postings().unwrap(), 0);
        // A right one is taken, whoever makes it; that its hash is wrong is found by who checks the chain.
        let mut newest = String::new();
        ledger
            .for_each_entry(&mut |entry| {
                newest = entry.hash;
                Ok(())
            })
            .unwrap();
        let script = format!("BEGIN; {} COMMIT;", entry(7, &newest, &good.replace("(6,", "(7,"), 2));
        sql(&mut ledger, &script).unwrap();
    });
}

/// Who owns the database takes guards away, and moves a bound. While they are away it is told; what was moved is, for ever.
#[test]
fn guards_that_are_gone_and_bounds_that_were_moved_are_told() {
    on_each(|place| {
        let mut ledger = full(place);
        let (all, missing) = ledger.guards().unwrap();
        assert_eq!(missing, [""; 0]);
        assert!(all > 30, "{all}");
        assert!(ledger.decisions().unwrap().1.is_empty());
        let scripts: [(&str, &str); 3] = if place.is_sqlite() {
            [
                ("DROP TRIGGER closed_update", "the guard closed_update is missing"),
                ("DROP TRIGGER entry_insert", "the guard entry_insert is missing"),
                (
                    "DROP TRIGGER decision_update; CREATE TRIGGER decision_update BEFORE UPDATE ON decision \
                     WHEN 0 BEGIN SELECT 1; END",
                    "the guard decision_update is not what it was made",
                ),
            ]
        } else {
            [
                ("DROP TRIGGER closed_update ON closed", "the guard closed_update is missing"),
                (
                    "ALTER TABLE decision DISABLE TRIGGER decision_change",
                    "the guard decision_change is missing",
                ),
                (
                    "CREATE OR REPLACE FUNCTION entry_checked() RETURNS trigger LANGUAGE plpgsql AS \
                     'BEGIN RETURN NEW; END'",
                    "the guard entry_checked() is not what it was made",
                ),
            ]
        };
        for (script, told) in scripts {
            sql(&mut ledger, script).unwrap();
            let missing = ledger.guards().unwrap().1;
            assert!(missing.iter().any(|one| one == told), "{script}: {missing:?}");
        }
        sql(&mut ledger, "UPDATE decision SET bucket = 900").unwrap();
        assert_eq!(ledger.decisions().unwrap().1, ["decision 1 has been changed: its hash is another"]);
    });
}
