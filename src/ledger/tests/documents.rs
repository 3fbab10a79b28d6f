//! What is kept as it was.

use super::*;

fn config(sha256: &str, valid_from: i64) -> ConfigVersion {
    ConfigVersion { sha256: sha256.into(), text: format!("{{\"of\":\"{sha256}\"}}"), valid_from }
}

fn tariff(id: &str, version: i64, sha256: &str) -> TariffVersion {
    TariffVersion {
        id: id.into(),
        version,
        toml: "[tariff]\nid = \"x\"\n".into(),
        sha256: sha256.into(),
        effective: "2026-07-01".into(),
        activated_at: 1_782_864_000_000 + version,
        activated_by: "Jürgen".into(),
    }
}

fn invoice(number: &str, period: &str, customer: &str, state: &str) -> StoredInvoice {
    StoredInvoice {
        number: number.into(),
        period: period.into(),
        customer: customer.into(),
        state: state.into(),
        currency: "EUR".into(),
        gross_minor: -106_124,
        document: "{\"net\":\"877.06\"}".into(),
        sha256: "ab".repeat(32),
    }
}

/// Keeps an invoice that is no draft, with the entry in the books that the schema asks for.
fn fix(ledger: &mut Ledger, invoice: &StoredInvoice) {
    let StoredInvoice { number, sha256, .. } = invoice;
    let entry = format!(
        "INSERT INTO entry (seq, kind, key, day, reference, digest, at, made_by, postings, prev, hash) \
         SELECT coalesce(max(seq), 0) + 1, 'invoice', '{number}', '2026-07-31', '{number}', '{sha256}', 0, 'ann', 0, \
         coalesce(max(hash), '{}'), '{}' FROM entry",
        "0".repeat(64),
        records::books::digest(number),
    );
    sql(ledger, &entry).unwrap();
    ledger.put_invoice(invoice).unwrap();
}

/// A line of SQLite's plan for a statement.
#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = diesel::sql_types::Text)]
    detail: String,
}

/// Texts are of tens of megabytes, and stand before the beginnings.
#[test]
fn beginnings_of_configuration_versions_are_read_without_their_texts() {
    let place = Place::sqlite();
    let mut ledger = place.open();
    for (valid_from, sha256) in (0..).zip(["b", "a", "b", "c"]) {
        ledger.put_config_version(&config(sha256, valid_from)).unwrap();
    }
    let hashes: Vec<String> = ledger.config_beginnings().unwrap().into_iter().map(|one| one.sha256).collect();
    assert_eq!(hashes, ["b", "a", "b", "c"], "in their order");
    for statement in [
        "SELECT number, sha256, valid_from FROM config_version",
        "SELECT 1 FROM config_version WHERE valid_from > 2",
    ] {
        let explain = diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}"));
        let plan: Vec<Step> = with_connection!(&mut ledger.db, c => explain.load(c)).unwrap();
        let is_covered =
            plan.iter().all(|step| step.detail.contains("COVERING INDEX config_version_beginning"));
        assert!(is_covered, "{statement}: {}", plan[0].detail);
    }
}

#[test]
fn configuration_versions_follow_one_another() {
    on_each(|place| {
        let mut ledger = place.open();
        assert!(ledger.put_config_version(&config("a", 1000)).unwrap());
        assert!(!ledger.put_config_version(&config("a", 2000)).unwrap(), "the same again");
        assert!(
            !ledger.put_config_version(&config("a", 500)).unwrap(),
            "the same again, by a clock that went back"
        );
        assert!(ledger.put_config_version(&config("b", 2000)).unwrap());
        assert!(
            ledger.put_config_version(&config("a", 2000)).unwrap(),
            "back to an old one, in the same instant"
        );
        let error = ledger.put_config_version(&config("c", 1999)).unwrap_err();
        assert!(matches!(error, Error::ConfigOrder { valid_from: 1999, newest: 2000 }), "{error}");
        let kept = place.open().config_versions().unwrap();
        assert_eq!(kept, [config("a", 1000), config("b", 2000), config("a", 2000)]);
    });
}

#[test]
fn tariff_versions_are_immutable() {
    on_each(|place| {
        let mut ledger = place.open();
        ledger.put_tariff_version(&tariff("transit", 2, "aa")).unwrap();
        ledger.put_tariff_version(&tariff("transit", 1, "bb")).unwrap();
        ledger.put_tariff_version(&tariff("research", 1, "cc")).unwrap();
        let again = TariffVersion { activated_by: "somebody else".into(), ..tariff("transit", 2, "aa") };
        ledger.put_tariff_version(&again).unwrap();
        let error = ledger.put_tariff_version(&tariff("transit", 2, "dd")).unwrap_err();
        assert!(matches!(&error, Error::TariffChanged { id, version: 2 } if id == "transit"), "{error}");
        assert_eq!(
            ledger.tariff_versions(None).unwrap(),
            [tariff("research", 1, "cc"), tariff("transit", 1, "bb"), tariff("transit", 2, "aa")]
        );
        assert_eq!(ledger.tariff_versions(Some("research")).unwrap(), [tariff("research", 1, "cc")]);
        assert_eq!(ledger.tariff_versions(Some("Research")).unwrap(), []);
    });
}

#[test]
fn only_drafts_are_replaced() {
    on_each(|place| {
        let mut ledger = place.open();
        ledger.put_invoice(&invoice("draft-2026-07-b", "2026-07", "b", "draft")).unwrap();
        ledger.put_invoice(&invoice("draft-2026-07-a", "2026-07", "a", "draft")).unwrap();
        ledger.put_invoice(&invoice("2026-1", "2026-06", "a", "draft")).unwrap();
        let new = StoredInvoice { gross_minor: 5, ..invoice("draft-2026-07-b", "2026-07", "b", "draft") };
        ledger.put_invoice(&new).unwrap();
        assert_eq!(ledger.invoice("draft-2026-07-b").unwrap(), Some(new.clone()));
        assert_eq!(ledger.invoice("none").unwrap(), None);
        let fixed = invoice("2026-1", "2026-06", "a", "final");
        fix(&mut ledger, &fixed);
        let error = ledger.put_invoice(&invoice("2026-1", "2026-06", "a", "draft")).unwrap_err();
        assert!(matches!(&error, Error::InvoiceFixed { state, .. } if state == "final"), "{error}");
        let first = invoice("draft-2026-07-a", "2026-07", "a", "draft");
        assert_eq!(ledger.invoices(None, None).unwrap(), [fixed.clone(), first.clone(), new.clone()]);
        assert_eq!(ledger.invoices(Some("2026-07"), None).unwrap(), [first.clone(), new]);
        assert_eq!(ledger.invoices(None, Some("a")).unwrap(), [fixed, first.clone()]);
        assert_eq!(ledger.invoices(Some("2026-07"), Some("a")).unwrap(), [first]);
        assert!(ledger.put_invoice(&invoice("x", "2026-07", "a", "paid")).is_err(), "no such state");
    });
}

#[test]
fn drafts_of_a_scope_are_replaced_together_or_not_at_all() {
    on_each(|place| {
        let mut ledger = place.open();
        let july =
            |customer: &str| invoice(&format!("draft-2026-07-{customer}"), "2026-07", customer, "draft");
        let june = invoice("draft-2026-06-a", "2026-06", "a", "draft");
        let fixed = invoice("2026-7", "2026-07", "a", "final");
        fix(&mut ledger, &fixed);
        for kept in [&june, &july("a"), &july("b"), &july("c")] {
            ledger.put_invoice(kept).unwrap();
        }
        let anew = |customer: &str| StoredInvoice { gross_minor: 5, ..july(customer) };
        ledger.replace_drafts("2026-07", Some("b"), &[anew("b")]).unwrap();
        let all = |ledger: &mut Ledger| ledger.invoices(None, None).unwrap();
        let expected = [june.clone(), fixed.clone(), july("a"), anew("b"), july("c")];
        assert_eq!(all(&mut ledger), expected, "others' drafts stay");
        let error = ledger.replace_drafts(
            "2026-07",
            None,
            &[anew("a"), StoredInvoice { number: "2026-7".into(), ..anew("d") }],
        );
        assert!(matches!(error, Err(Error::InvoiceFixed { state, .. }) if state == "final"));
        assert_eq!(all(&mut ledger), expected, "nothing of it");
        ledger.replace_drafts("2026-07", None, &[anew("c")]).unwrap();
        assert_eq!(all(&mut ledger), [june.clone(), fixed.clone(), anew("c")]);
        ledger.replace_drafts("2026-07", Some("c"), &[]).unwrap();
        assert_eq!(all(&mut ledger), [june, fixed]);
    });
}

/// The statements that would rewrite history, by dialect, and what the schema says to each.
#[test]
fn the_schema_itself_refuses_to_rewrite_history() {
    const BOTH: [(&str, &str); 16] = [
        ("UPDATE name SET name = 'x' WHERE number = 16", "never changed"),
        ("DELETE FROM name", "never changed"),
        ("UPDATE source SET position = position - 1", "only moves forward"),
        ("UPDATE source SET key = 'x'", "keeps its name"),
        ("DELETE FROM source", "never forgotten"),
        ("UPDATE config_version SET text = 'x'", "never changed"),
        ("DELETE FROM config_version", "never changed"),
        ("INSERT INTO config_version VALUES (5, 'x', 'x', 9999)", "without gaps"),
        ("INSERT INTO config_version VALUES (3, 'x', 'x', 1)", "before its predecessor"),
        ("UPDATE usage_series SET link = 9", "never changed"),
        ("DELETE FROM usage_series", "never changed"),
        ("UPDATE tariff_version SET toml = 'x'", "never changed"),
        ("DELETE FROM tariff_version", "never changed"),
        ("UPDATE invoice SET gross_minor = 0 WHERE number = 'fixed'", "no draft"),
        ("UPDATE invoice SET state = 'draft' WHERE number = 'fixed'", "no draft"),
        ("DELETE FROM invoice WHERE number = 'fixed'", "no draft"),
    ];
    // REPLACE deletes what is in its way, and fires no trigger for it.
    const SQLITE: [(&str, &str); 13] = [
        ("REPLACE INTO usage_series VALUES (1, 9, 9, 9, 9, 9, 9, 9, 9)", "never changed"),
        (
            "REPLACE INTO usage_series SELECT 9, link, direction, class, family, exporter, rate_numerator, \
          rate_denominator, rate_source FROM usage_series",
            "never changed",
        ),
        ("INSERT OR REPLACE INTO name VALUES ('customer', 16, 'x')", "never changed"),
        ("INSERT OR REPLACE INTO name VALUES ('customer', 99, 'campus')", "never changed"),
        ("REPLACE INTO source VALUES (1, 'journal', 'x', 0, 0, 0, 0, 0, 0)", "never replaced"),
        ("REPLACE INTO source VALUES (7, 'journal', '0', 0, 0, 0, 0, 0, 0)", "never replaced"),
        ("REPLACE INTO config_version VALUES (1, 'x', 'x', 1)", "without gaps"),
        ("REPLACE INTO tariff_version VALUES ('t', 1, 'x', 'x', 'x', 1, 'x')", "never changed"),
        ("REPLACE INTO invoice VALUES ('fixed', 'x', 'x', 'draft', 'EUR', 0, 'x', 'x')", "no draft"),
        ("UPDATE OR REPLACE invoice SET number = 'fixed' WHERE number = 'draft'", "no draft"),
        ("UPDATE OR REPLACE tariff_version SET version = 2", "never changed"),
        ("INSERT INTO usage_row SELECT 0, 16, 0, 'x', 0, 0, 0, 0", "cannot store TEXT"),
        ("INSERT INTO source_total (source) VALUES (77)", "NOT NULL"),
    ];
    const POSTGRES: [(&str, &str); 6] = [
        ("TRUNCATE usage_series", "never changed"),
        ("TRUNCATE name", "never changed"),
        ("TRUNCATE source CASCADE", "never forgotten"),
        ("TRUNCATE config_version", "never changed"),
        ("TRUNCATE tariff_version", "never changed"),
        ("TRUNCATE invoice CASCADE", "never changed"),
    ];
    on_each(|place| {
        let mut ledger = place.open();
        ledger.intern(NameKind::Customer, &["campus"]).unwrap();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        ledger.commit_flush(&flush(source, 0, 10, &[row(1, 16, 100)])).unwrap();
        ledger.put_config_version(&config("a", 1000)).unwrap();
        ledger.put_config_version(&config("b", 1000)).unwrap();
        ledger.put_tariff_version(&tariff("t", 1, "aa")).unwrap();
        fix(&mut ledger, &invoice("fixed", "2026-07", "a", "final"));
        ledger.put_invoice(&invoice("draft", "2026-07", "a", "draft")).unwrap();
        let kept = |ledger: &mut Ledger| {
            (
                ledger.names(NameKind::Customer).unwrap(),
                ledger.sources().unwrap(),
                ledger.config_versions().unwrap(),
                ledger.tariff_versions(None).unwrap(),
                ledger.invoices(None, None).unwrap(),
            )
        };
        let before = kept(&mut ledger);
        let own: &[(&str, &str)] = if place.is_sqlite() { &SQLITE } else { &POSTGRES };
        // As another program would come: with the database's own defaults.
        if place.is_sqlite() {
            sql(&mut ledger, "PRAGMA recursive_triggers = OFF").unwrap();
        }
        for (statement, reason) in BOTH.iter().chain(own) {
            let refusal = sql(&mut ledger, statement).expect_err(statement);
            assert!(refusal.contains(reason), "{statement}: {refusal}");
        }
        assert_eq!(kept(&mut ledger), before);
        // Drafts are free.
        sql(&mut ledger, "UPDATE invoice SET gross_minor = 1 WHERE number = 'draft'").unwrap();
        sql(&mut ledger, "DELETE FROM invoice WHERE number = 'draft'").unwrap();
    });
}

#[test]
fn files_of_documents_are_kept_for_ever() {
    on_each(|place| {
        let mut ledger = place.open();
        let logo = Asset::new("image/png", vec![0, 0xff, b'\'']);
        let page = Asset::new("text/html", b"{{ page.title }}".to_vec());
        ledger.put_assets(&[logo.clone(), page.clone()]).unwrap();
        ledger.put_assets(core::slice::from_ref(&logo)).unwrap();
        let mut both = vec![logo, page];
        both.sort_by(|one, other| one.sha256.cmp(&other.sha256));
        assert_eq!(ledger.assets().unwrap(), both);
        for change in ["UPDATE asset SET media = 'x'", "DELETE FROM asset"] {
            assert!(sql(&mut ledger, change).is_err(), "{change}");
        }
        assert_eq!(ledger.assets().unwrap(), both);
    });
}

/// What is lost is added up by day, in the transaction of the flush that says it.
#[test]
fn losses_are_kept_by_exporter_and_day() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "a").unwrap().id;
        let loss = |exporter: &str, day: i64, records: u64, lost: i64| Loss {
            exporter: exporter.into(),
            day,
            records,
            lost,
        };
        let commit = |ledger: &mut Ledger, at: u64, losses: Vec<Loss>| {
            ledger.commit_flush(&Flush { losses, ..flush(source, at, at + 1, &[]) })
        };
        commit(&mut ledger, 0, vec![loss("ce1", 10, 5, 2), loss("gw", 10, 7, 0)]).unwrap();
        commit(&mut ledger, 1, vec![loss("ce1", 10, 1, -1), loss("ce1", 11, 3, 4)]).unwrap();
        // A flush that is refused leaves nothing.
        commit(&mut ledger, 1, vec![loss("ce1", 10, 100, 100)]).unwrap_err();
        assert_eq!(ledger.losses(10, 12).unwrap(), [loss("ce1", 10, 9, 5), loss("gw", 10, 7, 0)]);
        assert_eq!(ledger.losses(10, 11).unwrap(), [loss("ce1", 10, 6, 1), loss("gw", 10, 7, 0)]);
        assert_eq!(ledger.losses(11, 12).unwrap(), [loss("ce1", 11, 3, 4)]);
        assert_eq!(ledger.losses(12, 99).unwrap(), []);
    });
}
