//! The ledger database: usage, positions, checkpoints, configuration and tariff versions, invoices.
//!
//! One interface over two dialects: a SQLite file beside the journal (the default, nothing to install) or a PostgreSQL
//! server (cargo feature `postgres`). Only this module knows diesel; what goes in and out is plain data, in [`records`].
//!
//! What holds, whatever the dialect:
//!
//! - **Exactly once.** [`Ledger::commit_flush`] moves positions and adds usage in one transaction, and only if the
//!   ledger stands where the flush begins. A repeated flush is an error, never a second addition.
//! - **The books agree.** A flush whose usage is not what its totals say is refused, so the sum of usage equals the sum
//!   of the sources' totals at all times.
//! - **What is written once stays.** Names, configuration versions, tariff versions, entries of the books, closed periods
//!   and invoices that are no drafts are guarded by triggers in the schema, so that another program cannot change them by
//!   accident either.
//! - **What is written once is witnessed.** A digest of each name, source, version and delivery goes into a chain of hashes
//!   with it ([`Ledger::witnessed`]), so that the audit notices who takes the triggers away.
//! - **Usage rows are never edited.** Where somebody else should have had it, a correction says so beside them
//!   ([`Ledger::correct`]); what is read is both together.
//! - **A closed bucket takes no more.** A flush puts what comes for it beside it ([`Ledger::for_each_late_usage`]).
//! - **Integers only.** No number goes through floating point or a decimal type; sums over rows are put together in
//!   128 bits from two exact halves.
//! - **One daemon at a time** keeps a ledger ([`Ledger::keep`]); commands come and go beside it.
//! - **One writer at a time**, in both dialects: `BEGIN IMMEDIATE`, or an advisory lock for the transaction. Waiting for
//!   it is bounded; then the error is transient ([`Error::is_transient`]) and the caller tries again.
//!
//! The schema is in `schema/sqlite` and `schema/postgres`: the same tables, columns and migration names in both, which
//! a test compares. Instants are integers since the epoch; text that is looked up is compared byte by byte.

mod billing;
mod books;
mod connection;
mod corrections;
mod counted;
mod decisions;
mod documents;
mod error;
mod flush;
mod guards;
mod interfaces;
mod issues;
mod keeper;
mod late;
mod periods;
pub mod records;
mod registers;
mod schema;
mod series;
#[cfg(test)]
mod tests;
mod url;
mod usage;
mod witnesses;

pub use error::{Error, UrlError};
pub use issues::{Ready, Step};
pub use periods::{Closed, Part};
pub use url::Url;
pub use usage::UsageTotal;
pub use witnesses::Anchor;

use std::path::Path;
use std::time::Duration;

use connection::Db;

/// The `[ledger]` section.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Where the ledger is.
    pub url: Url,
}

/// An open ledger: one connection.
pub struct Ledger {
    url: Url,
    db: Db,
    /// The connection is not to be used again; the next call makes a new one.
    lost: bool,
    /// A commit whose answer was lost with the connection.
    in_doubt: Option<flush::InDoubt>,
    /// Numbers of series.
    series: series::Numbers,
    /// Where this process is the ledger's one daemon.
    keeper: Option<keeper::Keeper>,
    /// How long the last flush waited for others to finish writing.
    lock_wait: Duration,
    /// All that is read now is of one moment.
    snapshot: bool,
}

impl core::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ledger").field("url", &self.url).field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the ledger; creates it and brings its schema up to date as needed.
    ///
    /// # Errors
    /// [`Error::Newer`] where a newer program made it; otherwise what the database says.
    pub fn open(url: &Url) -> Result<Self, Error> {
        let mut db = Db::create(url)?;
        db.migrate(url)?;
        Ok(Self::new(url, db))
    }

    /// Opens the ledger only if there is one; creates and migrates nothing.
    ///
    /// # Errors
    /// [`Error::Absent`] where there is none, [`Error::Older`] and [`Error::Newer`] where its schema is another one.
    pub fn open_existing(url: &Url) -> Result<Self, Error> {
        let mut db = Db::existing(url)?;
        db.check_schema(url)?;
        Ok(Self::new(url, db))
    }

    fn new(url: &Url, db: Db) -> Self {
        let (series, lock_wait) = (series::Numbers::default(), Duration::ZERO);
        Self {
            url: url.clone(),
            db,
            lost: false,
            in_doubt: None,
            series,
            keeper: None,
            lock_wait,
            snapshot: false,
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The file, where it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.url.path()
    }

    /// How long the last flush, committed or not, waited for others to finish writing.
    #[must_use]
    pub const fn lock_wait(&self) -> Duration {
        self.lock_wait
    }

    /// The version of the schema, as the number of its newest migration.
    ///
    /// # Errors
    /// What the database says.
    pub fn schema_version(&mut self) -> Result<String, Error> {
        self.run("read the schema's version", |db| Ok(db.schema_version()?.unwrap_or_default()))
    }

    /// Runs `work` on a working connection: a lost one is replaced first, and a failure says what was being done.
    fn run<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&mut Db) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.lost {
            let mut db = Db::existing(&self.url).map_err(Error::while_reconnecting)?;
            db.check_schema(&self.url)?;
            if let Some(before) = &self.keeper
                && let Some(again) = db.keep(&self.url, Some(before))?
            {
                self.keeper = Some(again);
            }
            self.db = db;
            self.series.forget();
            self.lost = false;
            if self.snapshot {
                self.db.begin_snapshot()?;
            }
        }
        work(&mut self.db).map_err(|error| {
            self.lost = error.is_connection_loss() || self.db.is_broken(self.snapshot.into());
            error.doing(doing)
        })
    }

    /// Everything that `work` reads is of one moment, whatever others write meanwhile. It must not write. Where the
    /// connection is lost in between, what follows is of a later moment: `work` should end with that error.
    ///
    /// # Errors
    /// What `work` says, and the database.
    pub fn at_one_moment<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.run("begin to read", Db::begin_snapshot)?;
        self.snapshot = true;
        let result = work(self);
        self.snapshot = false;
        // Whatever went wrong, the next call has a connection without a transaction.
        if self.lost || self.db.end_snapshot().is_err() {
            self.lost = true;
        }
        result
    }
}
