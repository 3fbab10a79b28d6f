//! Names and sources.

use super::*;

#[test]
fn names_keep_their_numbers() {
    on_each(|place| {
        let mut ledger = place.open();
        assert_eq!(ledger.intern(NameKind::Customer, &["campus", "local", "library"]).unwrap(), [16, 3, 17]);
        assert_eq!(
            ledger.intern(NameKind::Customer, &["library", "museum", "campus"]).unwrap(),
            [17, 18, 16]
        );
        assert_eq!(ledger.intern(NameKind::Link, &["campus", "campus"]).unwrap(), [1, 1], "kinds are apart");
        assert_eq!(ledger.intern(NameKind::Class, &["web", "default"]).unwrap(), [1, 0]);
        assert_eq!(ledger.intern(NameKind::Exporter, &[]).unwrap(), [0_u32; 0]);
        assert_eq!(ledger.intern(NameKind::Exporter, &["192.0.2.1"]).unwrap(), [1]);
        drop(ledger);
        let mut ledger = place.open();
        assert_eq!(ledger.intern(NameKind::Customer, &["museum", "new"]).unwrap(), [18, 19]);
        let names = ledger.names(NameKind::Customer).unwrap();
        let mut expected: Vec<_> =
            CustomerId::RESERVED.iter().map(|(id, name)| (id.0, (*name).to_owned())).collect();
        expected.extend(
            [(16, "campus"), (17, "library"), (18, "museum"), (19, "new")].map(|(n, s)| (n, s.into())),
        );
        assert_eq!(names, expected);
    });
}

#[test]
fn names_are_compared_byte_by_byte() {
    // Composed and decomposed, upper and lower case, with and without a space: all different.
    let names = [
        "Zürich",
        "Zu\u{308}rich",
        "zürich",
        "zürich ",
        "東京",
        "🛰",
        "a'b",
        "a\"b;--",
        "%_",
        "",
        "\u{202e}x",
    ];
    on_each(|place| {
        let mut ledger = place.open();
        let numbers = ledger.intern(NameKind::Customer, &names).unwrap();
        assert_eq!(numbers, (16..16 + u32::try_from(names.len()).unwrap()).collect::<Vec<_>>());
        assert_eq!(ledger.intern(NameKind::Customer, &names).unwrap(), numbers);
        let stored: Vec<String> =
            ledger.names(NameKind::Customer).unwrap().into_iter().skip(4).map(|(_, name)| name).collect();
        assert_eq!(stored, names);
        assert!(matches!(ledger.intern(NameKind::Link, &["a", "b\0c"]), Err(Error::Range(_))));
        assert_eq!(ledger.names(NameKind::Link).unwrap(), []);
    });
}

#[test]
fn two_that_number_at_once_agree() {
    on_each(|place| {
        drop(place.open());
        let number = |offset: usize| {
            let mut ledger = place.open();
            let mut all = Vec::new();
            for i in 0..40 {
                let names: Vec<String> = (0..5).map(|n| format!("name {}", (i + n * offset) % 50)).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                loop {
                    match ledger.intern(NameKind::Customer, &names) {
                        Ok(numbers) => break all.extend(names.iter().map(|n| n.to_string()).zip(numbers)),
                        Err(error) => assert!(error.is_transient(), "{error:?}"),
                    }
                }
            }
            all
        };
        let found = std::thread::scope(|scope| {
            let threads = [3, 7, 11].map(|offset| scope.spawn(move || number(offset)));
            threads.map(|thread| thread.join().unwrap()).concat()
        });
        let stored: std::collections::HashMap<String, u32> =
            place.open().names(NameKind::Customer).unwrap().into_iter().map(|(n, s)| (s, n)).collect();
        assert_eq!(stored.len(), 4 + 50);
        assert!(found.iter().all(|(name, number)| stored[name] == *number));
        let mut numbers: Vec<u32> = stored.into_values().filter(|&n| n >= 16).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (16..66).collect::<Vec<_>>());
    });
}

#[test]
fn a_kind_can_be_full() {
    on_each(|place| {
        let mut ledger = place.open();
        sql(&mut ledger, "INSERT INTO name (kind, number, name) VALUES ('class', 65534, 'last but one')")
            .unwrap();
        assert_eq!(ledger.intern(NameKind::Class, &["last"]).unwrap(), [65535]);
        assert!(matches!(ledger.intern(NameKind::Class, &["more"]), Err(Error::Full(NameKind::Class))));
        assert_eq!(ledger.intern(NameKind::Class, &["last", "default"]).unwrap(), [65535, 0]);
    });
}

#[test]
fn sources_begin_at_zero_and_are_found_again() {
    on_each(|place| {
        let mut ledger = place.open();
        let journal = ledger.source(SourceKind::Journal, "0").unwrap();
        assert_eq!(
            journal,
            Source {
                id: SourceId(1),
                kind: SourceKind::Journal,
                key: "0".into(),
                position: Position(0),
                complete: false,
                totals: FlushTotals::default(),
            }
        );
        let capture = ledger.source(SourceKind::Capture, "0").unwrap();
        assert_eq!(capture.id, SourceId(2));
        ledger.commit_flush(&flush(journal.id, 0, 4096, &[])).unwrap();
        let again = place.open().source(SourceKind::Journal, "0").unwrap();
        assert_eq!((again.id, again.position), (journal.id, Position(4096)));
        assert_eq!(ledger.sources().unwrap(), [again, capture]);
    });
}

#[test]
fn totals_land_in_their_columns() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let totals = FlushTotals {
            datagrams: 1,
            malformed: 2,
            duplicates: 3,
            records: 4,
            options_records: 5,
            raw_octets: 6,
            raw_packets: 0,
            metered_records: 7,
            metered_octets: 0,
            metered_packets: 0,
            expired_second_flows: 0,
            expired_records: 10,
            expired_octets: 11,
            expired_sets: 16,
            expired_set_octets: 17,
            second_flows: 18,
            not_volume: 12,
            duplicate_observations: 13,
            duplicate_observation_octets: 14,
            lost: 15,
        };
        let advance = Advance { source, from: Position(0), to: Position(1), complete: false, totals };
        ledger.commit_flush(&Flush { advances: vec![advance], ..Flush::default() }).unwrap();
        assert_eq!(ledger.sources().unwrap()[0].totals, totals);
        // By name, so that two columns exchanged both ways would be seen.
        let misplaced = "CREATE TABLE probe AS SELECT 1 AS x FROM source_total JOIN source ON source = id WHERE datagrams = 1 AND malformed = 2 AND \
            duplicates = 3 AND records = 4 AND options_records = 5 AND raw_octets = 6 AND metered_records = 7 AND \
            expired_records = 10 AND expired_octets = 11 AND not_volume = 12 AND duplicate_observations = 13 AND \
            duplicate_observation_octets = 14 AND lost = 15 AND expired_sets = 16 AND expired_set_octets = 17 AND \
            second_flows = 18";
        sql(&mut ledger, misplaced).unwrap();
        let found: i64 = with_connection!(&mut ledger.db, c =>
            diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>("(SELECT count(*) FROM probe)")).get_result(c))
        .unwrap();
        assert_eq!(found, 1);
    });
}
