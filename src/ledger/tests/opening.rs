//! Where a ledger is, and whether it is one of ours.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use diesel::sql_types::Text;

use super::super::connection::{SQLITE_MIGRATIONS, versions};
use super::*;

#[test]
fn urls() {
    let state = Path::new("/var/lib/fluxoscope");
    let sqlite = |text: &str| Url::parse(text, state).unwrap().path().map(|path| path.display().to_string());
    assert_eq!(sqlite("sqlite:ledger.sqlite").unwrap(), "/var/lib/fluxoscope/ledger.sqlite");
    assert_eq!(sqlite("sqlite:/srv/l.db").unwrap(), "/srv/l.db");
    assert_eq!(sqlite("sqlite:///srv/l.db").unwrap(), "/srv/l.db");
    assert_eq!(sqlite("sqlite:a b?c#%.db").unwrap(), "/var/lib/fluxoscope/a b?c#%.db");
    let refused = |text: &str| Url::parse(text, state).unwrap_err();
    assert_eq!(refused("sqlite:"), UrlError::Empty);
    assert_eq!(refused("sqlite:dir/"), UrlError::Directory("dir/".into()));
    assert_eq!(refused("sqlite::memory:"), UrlError::Memory);
    assert_eq!(refused("sqlite://ledger.sqlite"), UrlError::SqliteHost);
    assert_eq!(refused("sqlite:a\0b"), UrlError::Nul);
    for text in ["", "ledger.sqlite", "mysql://h/d", "Postgres://h/d", "postgres:h"] {
        assert!(refused(text).to_string().contains("`postgres://...`"), "{text}");
    }
    assert!(!refused("mysql://u:secret@h/d").to_string().contains("secret"));
}

#[cfg(feature = "postgres")]
#[test]
fn a_password_is_never_shown() {
    for (text, shown) in [
        ("postgres://flux:s3cr@t/@db.example/ledger", "postgres://flux@db.example/ledger"),
        (
            "postgresql:///ledger?host=/run&password=s3cr&user=x",
            "postgresql:///ledger?host=/run&password&user=x",
        ),
        ("postgres://h/d?sslpassword=s3cr", "postgres://h/d?sslpassword"),
        ("postgres://h:5432/d", "postgres://h:5432/d"),
    ] {
        let url = Url::parse(text, Path::new("/")).unwrap();
        assert_eq!(url.to_string(), shown);
        assert_eq!(format!("{url:?}"), format!("Url({shown})"));
    }
}

#[cfg(not(feature = "postgres"))]
#[test]
fn postgres_needs_the_feature() {
    assert_eq!(Url::parse("postgres://h/d", Path::new("/")), Err(UrlError::NoPostgres));
}

#[test]
fn a_ledger_has_one_daemon() {
    on_each(|place| {
        let mut first = place.open();
        first.keep().unwrap();
        first.keep().unwrap();
        let mut second = place.open();
        let error = second.keep().unwrap_err();
        assert!(matches!(error, Error::Kept { .. }) && !error.is_transient(), "{error}");
        // Others may read and write.
        second.source(SourceKind::Capture, "00").unwrap();
        drop(first);
        // A server takes a moment to see that a session is over.
        let begun = std::time::Instant::now();
        while let Err(error) = second.keep() {
            assert!(begun.elapsed().as_secs() < 60, "{error}");
            std::thread::yield_now();
        }
        assert!(matches!(place.open().keep(), Err(Error::Kept { .. })));
    });
}

/// A ledger that is reached by a link is the same ledger.
#[test]
fn a_link_to_a_ledger_has_the_same_daemon() {
    let place = Place::sqlite();
    let mut first = place.open();
    first.keep().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("other.sqlite");
    std::os::unix::fs::symlink(place.url.path().unwrap(), &link).unwrap();
    let mut second = Ledger::open(&Url::parse("sqlite:other.sqlite", elsewhere.path()).unwrap()).unwrap();
    assert!(matches!(second.keep(), Err(Error::Kept { .. })));
    drop(first);
    second.keep().unwrap();
}

/// A keeper whose connection broke is the keeper again, or learns that it no longer is.
#[cfg(feature = "postgres")]
#[test]
fn a_keeper_comes_back_with_its_connection() {
    on_each(|place| {
        if place.is_sqlite() {
            return;
        }
        let mut keeper = place.open();
        keeper.keep().unwrap();
        let mut other = place.open();
        let break_it = "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks \
            WHERE locktype = 'advisory' AND objsubid = 1 AND granted \
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        sql(&mut other, break_it).unwrap();
        assert!(keeper.schema_version().is_err(), "the connection is gone");
        keeper.schema_version().unwrap();
        assert!(matches!(other.keep(), Err(Error::Kept { .. })));
        sql(&mut other, break_it).unwrap();
        other.keep().unwrap();
        assert!(keeper.schema_version().is_err(), "the connection is gone");
        for _ in 0..2 {
            let error = keeper.schema_version().unwrap_err();
            assert!(matches!(error, Error::Kept { .. }), "{error}");
        }
    });
}

#[test]
fn readers_do_not_create() {
    let place = Place::sqlite();
    let error = Ledger::open_existing(&place.url).unwrap_err();
    assert!(matches!(error, Error::Absent(_)), "{error}");
    assert!(
        error.to_string().starts_with(&format!("no ledger yet at {}", place.url.path().unwrap().display()))
    );
    assert!(!place.url.path().unwrap().exists());
    // A file or a database without our tables is none either.
    on_each(|place| {
        if let Some(path) = place.url.path() {
            std::fs::write(path, b"").unwrap();
        }
        assert!(matches!(Ledger::open_existing(&place.url), Err(Error::Absent(_))));
        drop(place.open());
        Ledger::open_existing(&place.url).unwrap();
    });
}

#[test]
fn a_ledger_is_reopened_as_it_was() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        ledger
            .commit_flush(&flush(source, 0, 5, &[row(1, 16, 100), row(1, 17, 300), row(2, 16, 500)]))
            .unwrap();
        let before = everything(&mut ledger);
        assert_eq!(ledger.schema_version().unwrap(), "0020");
        assert_eq!(ledger.url(), &place.url);
        drop(ledger);
        assert_eq!(everything(&mut place.open()), before);
        let mut reader = Ledger::open_existing(&place.url).unwrap();
        assert_eq!(everything(&mut reader), before);
    });
}

#[test]
fn another_schema_is_refused() {
    on_each(|place| {
        let mut ledger = place.open();
        sql(&mut ledger, "INSERT INTO __diesel_schema_migrations (version) VALUES ('0999')").unwrap();
        for error in [Ledger::open(&place.url).unwrap_err(), Ledger::open_existing(&place.url).unwrap_err()] {
            assert!(
                matches!(&error, Error::Newer { found, known, .. } if found == "0999" && known == "0020"),
                "{error}"
            );
        }
        sql(&mut ledger, "UPDATE __diesel_schema_migrations SET version = '0000'").unwrap_err();
        sql(&mut ledger, "DELETE FROM __diesel_schema_migrations").unwrap();
        sql(&mut ledger, "INSERT INTO __diesel_schema_migrations (version) VALUES ('0000')").unwrap();
        let error = Ledger::open_existing(&place.url).unwrap_err();
        assert!(matches!(&error, Error::Older { found, .. } if found == "0000"), "{error}");
    });
}

/// A ledger that the first version made: it is brought up to date with all that is in it.
#[test]
fn an_older_ledger_is_migrated() {
    on_each(|place| {
        let first = match place.is_sqlite() {
            true => include_str!("../../../schema/sqlite/0001_ledger/up.sql"),
            false => include_str!("../../../schema/postgres/0001_ledger/up.sql"),
        };
        let mut db = Db::create(&place.url).unwrap();
        let versions = "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
            run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP); \
            INSERT INTO __diesel_schema_migrations (version) VALUES ('0001'); \
            INSERT INTO usage VALUES (300, 16, 1, 1, 0, 1, 1, 1000, 1, 1, 100, 1, 1, 200, 300)";
        for script in [first, versions] {
            with_connection!(&mut db, c => c.batch_execute(script)).unwrap();
        }
        drop(db);
        assert!(
            matches!(Ledger::open_existing(&place.url), Err(Error::Older { found, .. }) if found == "0001")
        );
        let usage = all_usage(&mut place.open());
        assert_eq!((usage.len(), usage[0].sums.octets), (1, 100));
        Ledger::open_existing(&place.url).unwrap();
    });
}

#[test]
fn many_may_create_at_once() {
    on_each(|place| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        match Ledger::open(&place.url) {
                            Ok(mut ledger) => break assert_eq!(ledger.schema_version().unwrap(), "0020"),
                            Err(error) => assert!(error.is_transient(), "{error:?}"),
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn a_file_is_private_and_durable() {
    let place = Place::sqlite();
    let mut ledger = place.open();
    let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
    ledger.commit_flush(&flush(source, 0, 5, &[row(1, 16, 100), row(1, 17, 300), row(2, 16, 500)])).unwrap();
    let path = place.url.path().unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", path.display());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{file}: {mode:o}");
    }
    #[derive(QueryableByName)]
    struct Value {
        #[diesel(sql_type = Text)]
        value: String,
    }
    // synchronous 2 is FULL
    for (pragma, column, expected) in [
        ("journal_mode", "journal_mode", "wal"),
        ("synchronous", "synchronous", "2"),
        ("foreign_keys", "foreign_keys", "1"),
        ("busy_timeout", "timeout", "5000"),
    ] {
        let query = format!("SELECT CAST({column} AS TEXT) AS value FROM pragma_{pragma}");
        let found: Value =
            with_connection!(&mut ledger.db, c => diesel::sql_query(query).get_result(c)).unwrap();
        assert_eq!(found.value, expected, "{pragma}");
    }
    // A table that is not STRICT would take text for a number.
    let query = "SELECT coalesce(group_concat(name), '') AS value FROM pragma_table_list \
                 WHERE type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite%' AND name NOT LIKE '__diesel%'";
    let loose: Value = with_connection!(&mut ledger.db, c => diesel::sql_query(query).get_result(c)).unwrap();
    assert_eq!(loose.value, "");
}

#[test]
fn strange_paths_are_only_paths() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a b.db", "q?mode=memory.db", "h#x.db", "p%20.db", "file:x.db", "ü.db"] {
        let url = Url::parse(&format!("sqlite:{name}"), directory.path()).unwrap();
        drop(Ledger::open(&url).unwrap());
        assert!(directory.path().join(name).is_file(), "{name}");
        Ledger::open_existing(&url).unwrap();
    }
}

#[test]
fn what_is_no_database_is_left_alone() {
    let place = Place::sqlite();
    let path = place.url.path().unwrap();
    let text = "Dear ledger, ".repeat(1000);
    std::fs::write(path, &text).unwrap();
    for error in [Ledger::open(&place.url).unwrap_err(), Ledger::open_existing(&place.url).unwrap_err()] {
        assert!(!error.is_transient(), "{error:?}");
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    let nowhere = Url::parse("sqlite:no/such/directory/l.db", path.parent().unwrap()).unwrap();
    assert!(matches!(Ledger::open(&nowhere), Err(Error::File { .. })));
}

/// The tables and columns that a dialect's migrations declare, read from their text.
fn declared(dialect: &str) -> BTreeMap<String, Vec<String>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(dialect);
    let mut migrations: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    migrations.sort();
    let mut tables = BTreeMap::<String, Vec<String>>::new();
    for migration in migrations {
        let mut table = None;
        for line in std::fs::read_to_string(migration.join("up.sql")).unwrap().lines() {
            if let Some(name) = line.strip_prefix("CREATE TABLE ") {
                table = Some(name.trim_end_matches(" (").to_owned());
            } else if let Some((name, column)) =
                line.strip_prefix("ALTER TABLE ").and_then(|rest| rest.split_once(" ADD COLUMN "))
            {
                let column = column.split(' ').next().unwrap();
                tables.entry(name.to_owned()).or_default().push(column.to_owned());
            } else if line.starts_with(')') {
                table = None;
            } else if let (Some(table), Some(column)) = (&table, line.trim().split(' ').next())
                && column.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
            {
                tables.entry(table.clone()).or_default().push(column.to_owned());
            }
        }
    }
    tables
}

#[test]
fn the_dialects_declare_the_same_tables() {
    let sqlite = declared("sqlite");
    assert_eq!(
        sqlite.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "account",
            "alert",
            "anchor",
            "asset",
            "billing_done",
            "card_failures",
            "checkpoint",
            "closed",
            "closure",
            "config_version",
            "correction",
            "correction_row",
            "decision",
            "delivery",
            "entry",
            "exporter_loss",
            "hold_chunk",
            "interface",
            "interface_octets",
            "interface_octets_seal",
            "invoice",
            "issue",
            "late_usage_row",
            "name",
            "posting",
            "source",
            "source_seal",
            "source_total",
            "tariff_version",
            "usage",
            "usage_row",
            "usage_series",
            "witness"
        ]
    );
    assert_eq!(sqlite["usage"].len(), 15);
    assert_eq!(sqlite, declared("postgres"));
    let known = versions::<diesel::sqlite::Sqlite>(&SQLITE_MIGRATIONS);
    assert!(known.iter().all(|version| version.len() == 4), "versions sort as text: {known:?}");
    #[cfg(feature = "postgres")]
    assert_eq!(known, versions::<diesel::pg::Pg>(&connection::POSTGRES_MIGRATIONS));
    let folders = |dialect: &str| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(dialect);
        let mut names: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(folders("sqlite"), folders("postgres"));
    #[cfg(feature = "postgres")]
    for (text, folder) in guards::POSTGRES_TEXTS.iter().zip(folders("postgres")) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/postgres").join(folder).join("up.sql");
        assert_eq!(*text, std::fs::read_to_string(file).unwrap());
    }
    #[cfg(feature = "postgres")]
    assert_eq!(guards::POSTGRES_TEXTS.len(), folders("postgres").len());
}

/// What the databases themselves say after migrating is what the text declares, in both.
#[test]
fn the_databases_have_the_declared_tables() {
    #[derive(QueryableByName)]
    struct Column {
        #[diesel(sql_type = Text)]
        table: String,
        #[diesel(sql_type = Text)]
        column: String,
    }
    on_each(|place| {
        let mut ledger = place.open();
        let query = if place.is_sqlite() {
            "SELECT t.name AS \"table\", c.name AS \"column\" FROM pragma_table_list t, pragma_table_info(t.name) c \
             WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite%' AND t.name NOT LIKE '__diesel%' ORDER BY 1, c.cid"
        } else {
            "SELECT table_name::text AS \"table\", column_name::text AS \"column\" FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name NOT LIKE '__diesel%' ORDER BY 1, ordinal_position"
        };
        let columns: Vec<Column> =
            with_connection!(&mut ledger.db, c => diesel::sql_query(query).load(c)).unwrap();
        let mut tables = BTreeMap::<String, Vec<String>>::new();
        for Column { table, column } in columns {
            tables.entry(table).or_default().push(column);
        }
        // The view of late usage is that of usage, and where it is carried to.
        let mut late = tables.remove("late_usage").unwrap();
        assert_eq!(late.remove(0), "carried");
        assert_eq!(late, tables["usage"]);
        // That of corrections, too, and which correction it is.
        let mut corrections = tables.remove("usage_correction").unwrap();
        assert_eq!(corrections.drain(..2).collect::<Vec<_>>(), ["correction", "carried"]);
        assert_eq!(corrections, tables["usage"]);
        assert_eq!(tables, declared("sqlite"));
    });
}
