//! The two dialects behind one enum: opening, migrating, and write transactions.
//!
//! Only what the dialects do differently is written twice; everything else goes through [`with_connection!`], which
//! repeats the same diesel expression for either connection. diesel's own `MultiConnection` is not used: it has no
//! upsert and no insert of several rows, and its `establish` makes a SQLite file of any mistyped URL.

use std::path::Path;

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::migration::{Migration, MigrationSource};
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::counted::adopt_octets;
use super::error::Error;
use super::url::Url;
use super::witnesses::adopt;

/// SQLite's schema.
pub(super) const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("schema/sqlite");
/// PostgreSQL's schema, under the same names.
#[cfg(feature = "postgres")]
pub(super) const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("schema/postgres");

/// How long a writer waits for another one.
const LOCK_TIMEOUT_MS: u32 = 5_000;
/// SQLite's page cache: the pages that a large flush touches, so that none is written twice.
const SQLITE_CACHE_KIB: u32 = 32 * 1024;
/// The advisory lock of PostgreSQL that every write transaction takes.
#[cfg(feature = "postgres")]
const ADVISORY_LOCK: i64 = 0x666c_7578_6c67_6572;

/// A connection.
pub(super) enum Db {
    #[cfg(feature = "postgres")]
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// The same expression for either connection.
macro_rules! with_connection {
    ($db:expr, $connection:ident => $body:expr) => {
        match $db {
            #[cfg(feature = "postgres")]
            $crate::ledger::connection::Db::Postgres($connection) => $body,
            $crate::ledger::connection::Db::Sqlite($connection) => $body,
        }
    };
}

/// The same expression in a write transaction of either connection. It is a `Result<_, Error>`; an error rolls back.
macro_rules! write_transaction {
    ($db:expr, $connection:ident => $body:expr) => {
        match $db {
            #[cfg(feature = "postgres")]
            $crate::ledger::connection::Db::Postgres(connection) => {
                $crate::ledger::connection::postgres_transaction(connection, |$connection| $body)
            }
            $crate::ledger::connection::Db::Sqlite(connection) => {
                $crate::ledger::connection::sqlite_transaction(connection, |$connection| $body)
            }
        }
    };
}

pub(super) use {with_connection, write_transaction};

impl Db {
    /// Connects; makes the SQLite file if it is not there. A PostgreSQL database has to be there.
    pub(super) fn create(url: &Url) -> Result<Self, Error> {
        if let Url::Sqlite(path) = url {
            create_file(path)?;
        }
        Self::connect(url)
    }

    /// Connects to what is there.
    pub(super) fn existing(url: &Url) -> Result<Self, Error> {
        if let Url::Sqlite(path) = url
            && !path.exists()
        {
            return Err(Error::Absent(path.display().to_string()));
        }
        Self::connect(url)
    }

    fn connect(url: &Url) -> Result<Self, Error> {
        match url {
            #[cfg(feature = "postgres")]
            Url::Postgres(text) => {
                let mut connection = PgConnection::establish(text).map_err(|error| refused(url, &error))?;
                set_up_postgres(&mut connection, url)?;
                Ok(Self::Postgres(connection))
            }
            #[cfg(not(feature = "postgres"))]
            Url::Postgres(_) => Err(refused(url, &super::error::UrlError::NoPostgres)),
            Url::Sqlite(path) => {
                let mut connection =
                    SqliteConnection::establish(&sqlite_uri(path)?).map_err(|error| refused(url, &error))?;
                set_up_sqlite(&mut connection)?;
                Ok(Self::Sqlite(connection))
            }
        }
    }

    /// Brings the schema up to date. All of it or nothing, and only one process at a time.
    pub(super) fn migrate(&mut self, url: &Url) -> Result<(), Error> {
        let known = self.known_version();
        if self.schema_version()?.as_deref() == Some(&known) {
            return Ok(());
        }
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => postgres_transaction(connection, |c| {
                let found = postgres_version(c)?;
                refuse_newer(url, found.clone(), &known)?;
                c.run_pending_migrations(POSTGRES_MIGRATIONS).map_err(migration_error)?;
                if is_before("0018", found.as_deref()) {
                    adopt!(c);
                }
                if is_before("0019", found.as_deref()) {
                    adopt_octets!(c);
                }
                Ok(())
            }),
            Self::Sqlite(connection) => sqlite_transaction(connection, |c| {
                let found = sqlite_version(c)?;
                refuse_newer(url, found.clone(), &known)?;
                c.run_pending_migrations(SQLITE_MIGRATIONS).map_err(migration_error)?;
                if is_before("0018", found.as_deref()) {
                    adopt!(c);
                }
                if is_before("0019", found.as_deref()) {
                    adopt_octets!(c);
                }
                Ok(())
            }),
        }
    }

    /// Refuses any schema but ours.
    pub(super) fn check_schema(&mut self, url: &Url) -> Result<(), Error> {
        let known = self.known_version();
        match self.schema_version()? {
            Some(found) if found == known => Ok(()),
            None => Err(Error::Absent(url.to_string())),
            Some(found) => {
                refuse_newer(url, Some(found.clone()), &known)?;
                Err(Error::Older { url: url.to_string(), found, known })
            }
        }
    }

    /// The newest migration that was applied; `None` in a database without a ledger.
    pub(super) fn schema_version(&mut self) -> Result<Option<String>, Error> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => postgres_version(connection),
            Self::Sqlite(connection) => sqlite_version(connection),
        }
    }

    /// The newest migration that this program knows.
    fn known_version(&self) -> String {
        let names = match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => versions::<diesel::pg::Pg>(&POSTGRES_MIGRATIONS),
            Self::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE_MIGRATIONS),
        };
        names.into_iter().max().expect("a ledger has at least one migration")
    }

    /// True where a failed rollback leaves it unknown what the connection would do next. Within `depth` transactions it is
    /// expected to be.
    pub(super) fn is_broken(&mut self, depth: u32) -> bool {
        with_connection!(self, c => AnsiTransactionManager::is_broken_transaction_manager(c)
            || !AnsiTransactionManager::transaction_manager_status_mut(c)
                .transaction_depth()
                .is_ok_and(|found| found.map_or(0, u32::from) == depth))
    }

    /// From here on all is read as of one moment.
    pub(super) fn begin_snapshot(&mut self) -> Result<(), Error> {
        with_connection!(self, c => AnsiTransactionManager::begin_transaction(c))?;
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(c) => {
                c.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?
            }
            Self::Sqlite(_) => {}
        }
        Ok(())
    }

    /// Up to here.
    pub(super) fn end_snapshot(&mut self) -> Result<(), Error> {
        Ok(with_connection!(self, c => AnsiTransactionManager::rollback_transaction(c))?)
    }
}

/// True where what there was before a migration is to be witnessed or sealed, in the transaction that migrates.
fn is_before(migration: &str, found: Option<&str>) -> bool {
    found.is_none_or(|found| found < migration)
}

/// The versions of embedded migrations.
pub(super) fn versions<B: diesel::backend::Backend>(migrations: &EmbeddedMigrations) -> Vec<String> {
    let migrations: Vec<Box<dyn Migration<B>>> =
        migrations.migrations().expect("they are checked when compiled");
    migrations.iter().map(|migration| migration.name().version().to_string()).collect()
}

/// `BEGIN IMMEDIATE`, so that a reader never has to become a writer (which SQLite refuses without waiting).
pub(super) fn sqlite_transaction<T>(
    connection: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    first_error(|failed| {
        connection.immediate_transaction(|c| {
            work(c).map_err(|error| {
                *failed = Some(error);
                DieselError::RollbackTransaction
            })
        })
    })
}

/// A transaction that is the only writing one.
///
/// The lock makes deadlocks and conflicts among ledgers impossible. Where it is not to be had in time, the error is
/// raised as a serialization failure: of all codes that mean "again", the one that diesel hands on.
#[cfg(feature = "postgres")]
pub(super) fn postgres_transaction<T>(
    connection: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    let lock = format!(
        "DO $$ BEGIN PERFORM pg_advisory_xact_lock({ADVISORY_LOCK}); \
         EXCEPTION WHEN lock_not_available OR deadlock_detected THEN \
         RAISE EXCEPTION 'another process is writing to the ledger' USING ERRCODE = 'serialization_failure'; \
         END $$"
    );
    first_error(|failed| {
        connection.build_transaction().read_committed().read_write().run(|c| {
            let result = c.batch_execute(&lock).map_err(Error::from).and_then(|()| work(c));
            result.map_err(|error| {
                *failed = Some(error);
                DieselError::RollbackTransaction
            })
        })
    })
}

/// Several readings of one moment.
pub(super) fn sqlite_snapshot<T>(
    connection: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    first_error(|failed| {
        connection.transaction(|c| {
            work(c).map_err(|error| {
                *failed = Some(error);
                DieselError::RollbackTransaction
            })
        })
    })
}

/// Several readings of one moment.
#[cfg(feature = "postgres")]
pub(super) fn postgres_snapshot<T>(
    connection: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(connection);
    let is_in_one = matches!(status.transaction_depth(), Ok(Some(_)));
    first_error(|failed| {
        let work = |c: &mut PgConnection| {
            work(c).map_err(|error| {
                *failed = Some(error);
                DieselError::RollbackTransaction
            })
        };
        if is_in_one {
            connection.transaction(work)
        } else {
            connection.build_transaction().repeatable_read().read_only().run(work)
        }
    })
}

/// The error that stopped the work, not that of the rollback after it (SQLite may have rolled back by itself, say).
fn first_error<T>(
    transaction: impl FnOnce(&mut Option<Error>) -> Result<T, DieselError>,
) -> Result<T, Error> {
    let mut failed = None;
    let result = transaction(&mut failed);
    match failed {
        Some(error) => Err(error),
        None => result.map_err(Error::from),
    }
}

fn refused(url: &Url, error: &dyn core::fmt::Display) -> Error {
    Error::Connect { url: url.to_string(), message: error.to_string(), again: false }
}

fn migration_error(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match error.downcast::<DieselError>() {
        Ok(error) => Error::from(*error).doing("be migrated"),
        Err(error) => Error::from(DieselError::QueryBuilderError(error)).doing("be migrated"),
    }
}

fn refuse_newer(url: &Url, found: Option<String>, known: &str) -> Result<(), Error> {
    match found {
        // Versions are digits of one length.
        Some(found) if found.as_str() > known => {
            Err(Error::Newer { url: url.to_string(), found, known: known.to_owned() })
        }
        _ => Ok(()),
    }
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Nullable<Text>)]
    version: Option<String>,
}

#[derive(QueryableByName)]
struct Exists {
    #[diesel(sql_type = Bool)]
    found: bool,
}

const NEWEST_VERSION: &str = "SELECT max(version) AS version FROM __diesel_schema_migrations";

fn sqlite_version(connection: &mut SqliteConnection) -> Result<Option<String>, Error> {
    const EXISTS: &str = "SELECT count(*) > 0 AS found FROM sqlite_schema WHERE type = 'table' AND name = '__diesel_schema_migrations'";
    let Exists { found } = diesel::sql_query(EXISTS).get_result(connection)?;
    if !found {
        return Ok(None);
    }
    Ok(diesel::sql_query(NEWEST_VERSION).get_result::<Version>(connection)?.version)
}

#[cfg(feature = "postgres")]
fn postgres_version(connection: &mut PgConnection) -> Result<Option<String>, Error> {
    const EXISTS: &str = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS found";
    let Exists { found } = diesel::sql_query(EXISTS).get_result(connection)?;
    if !found {
        return Ok(None);
    }
    Ok(diesel::sql_query(NEWEST_VERSION).get_result::<Version>(connection)?.version)
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct Pragma {
    #[diesel(sql_type = BigInt)]
    #[expect(dead_code, reason = "asking is what matters")]
    value: i64,
}

/// A ledger must survive a power cut: WAL with `synchronous=FULL` syncs each commit.
fn set_up_sqlite(connection: &mut SqliteConnection) -> Result<(), Error> {
    connection.batch_execute(&format!(
        "PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; \
         PRAGMA recursive_triggers = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -{SQLITE_CACHE_KIB};"
    ))?;
    // Changing the mode needs the file for itself, so it is not asked for where it is set already.
    let mode: Setting =
        diesel::sql_query("SELECT journal_mode AS value FROM pragma_journal_mode").get_result(connection)?;
    if mode.value != "wal" {
        connection.batch_execute("PRAGMA journal_mode = WAL")?;
    }
    // A file that is no database says so only when it is read.
    let _: Pragma =
        diesel::sql_query("SELECT count(*) AS value FROM sqlite_schema").get_result(connection)?;
    Ok(())
}

#[cfg(feature = "postgres")]
fn set_up_postgres(connection: &mut PgConnection, url: &Url) -> Result<(), Error> {
    connection
        .batch_execute(&format!("SET lock_timeout = {LOCK_TIMEOUT_MS}; SET client_min_messages = warning"))?;
    let setting = |connection: &mut PgConnection, name: &str| -> Result<String, Error> {
        let query = format!("SELECT current_setting('{name}') AS value");
        Ok(diesel::sql_query(query).get_result::<Setting>(connection)?.value)
    };
    if setting(connection, "synchronous_commit")? == "off" {
        connection.batch_execute("SET synchronous_commit = on")?;
    }
    let encoding = setting(connection, "server_encoding")?;
    if encoding != "UTF8" {
        return Err(refused(url, &format!("the database's encoding is {encoding}, not UTF8")));
    }
    Ok(())
}

/// The path as SQLite takes it: a URI, so that the file is not created here and no name is taken for something else.
fn sqlite_uri(path: &Path) -> Result<String, Error> {
    let absolute =
        std::path::absolute(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let text = absolute.to_str().ok_or(Error::Range("a path that is not UTF-8"))?;
    let mut uri = String::from("file://");
    for c in text.chars() {
        match c {
            '%' => uri.push_str("%25"),
            '?' => uri.push_str("%3f"),
            '#' => uri.push_str("%23"),
            c => uri.push(c),
        }
    }
    uri.push_str("?mode=rw");
    Ok(uri)
}

/// Makes the file, if it is not there, readable by the owner and its group: SQLite gives its other files the same mode.
fn create_file(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(Error::File { path: path.to_owned(), source }),
    }
}
