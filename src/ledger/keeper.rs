//! The one daemon of a ledger: a lock for as long as it runs.
//!
//! Two daemons on one ledger would each commit what they remember of the same exporters over the other's memory. So a
//! daemon is the ledger's *keeper* before it reads or writes anything there. Commands and replays need not be: what
//! they write is theirs alone.
//!
//! In SQLite it is a lock on a file beside the ledger, in PostgreSQL an advisory lock of the session. A session is lost
//! with its connection, and its server may hold the lock on until it notices: whoever comes back waits for his own old
//! session, and gives up where it is somebody else's.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use diesel::connection::SimpleConnection;
#[cfg(feature = "postgres")]
use diesel::prelude::*;
#[cfg(feature = "postgres")]
use diesel::sql_types::{BigInt, Bool};

use super::Ledger;
use super::connection::Db;
use super::error::Error;
use super::url::Url;

/// The advisory lock of the keeper's session on PostgreSQL.
#[cfg(feature = "postgres")]
const KEEPER_LOCK: i64 = 0x666c_7578_6b65_6570;

/// What makes this process the keeper.
pub(super) enum Keeper {
    /// The lock goes with the file.
    #[expect(dead_code, reason = "held, not used")]
    File(File),
    /// The server's number of the session that has the lock.
    #[cfg(feature = "postgres")]
    Session(i64),
}

impl Ledger {
    /// Makes this process the one daemon of the ledger, until the value is dropped. Where the connection is lost and
    /// made again, so is the lock, before anything else is done.
    ///
    /// # Errors
    /// [`Error::Kept`] where there is another one. It may be about to end.
    pub fn keep(&mut self) -> Result<(), Error> {
        if self.keeper.is_none() {
            let url = self.url.clone();
            self.keeper = self.run("be kept", |db| db.keep(&url, None))?;
        }
        Ok(())
    }
}

impl Db {
    /// Takes the lock, which `before` may still have. `None`: `before` does have it.
    pub(super) fn keep(&mut self, url: &Url, before: Option<&Keeper>) -> Result<Option<Keeper>, Error> {
        match self {
            // The lock does not depend on the connection.
            Self::Sqlite(_) => match before {
                Some(_) => Ok(None),
                None => lock_file(url).map(Keeper::File).map(Some),
            },
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => {
                let before = before.and_then(|keeper| match keeper {
                    Keeper::Session(session) => Some(*session),
                    Keeper::File(_) => None,
                });
                lock_session(connection, url, before).map(Keeper::Session).map(Some)
            }
        }
    }
}

/// The file that the keeper of a SQLite ledger locks.
fn lock_path(ledger: &Path) -> PathBuf {
    let mut path = ledger.as_os_str().to_owned();
    path.push("-daemon");
    path.into()
}

fn lock_file(url: &Url) -> Result<File, Error> {
    let ledger = url.path().expect("a ledger in SQLite is a file");
    // Whatever links lead there, the ledger is one, and so must the lock be.
    let ledger = ledger.canonicalize().map_err(|source| Error::File { path: ledger.to_owned(), source })?;
    let path = lock_path(&ledger);
    let failed = |source| Error::File { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Kept { url: url.to_string(), by: format!("it has locked {}", path.display()) })
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(feature = "postgres")]
#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Bool)]
    taken: bool,
    #[diesel(sql_type = BigInt)]
    session: i64,
}

#[cfg(feature = "postgres")]
#[derive(QueryableByName)]
struct Holder {
    #[diesel(sql_type = BigInt)]
    session: i64,
}

/// The server's number of the session that has the lock now. A server notices within a minute that a keeper's machine is
/// gone, and not after the hours that are usual.
#[cfg(feature = "postgres")]
fn lock_session(connection: &mut PgConnection, url: &Url, before: Option<i64>) -> Result<i64, Error> {
    connection.batch_execute(
        "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 4",
    )?;
    let take =
        format!("SELECT pg_try_advisory_lock({KEEPER_LOCK}) AS taken, pg_backend_pid()::bigint AS session");
    let Taken { taken, session } = diesel::sql_query(take).get_result(connection)?;
    if taken {
        return Ok(session);
    }
    let (high, low) = (KEEPER_LOCK >> 32, KEEPER_LOCK & 0xffff_ffff);
    let who = format!(
        "SELECT pid::bigint AS session FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted \
         AND classid = {high} AND objid = {low} \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    let holder: Option<Holder> = diesel::sql_query(who).get_result(connection).optional()?;
    match holder {
        Some(Holder { session }) if before == Some(session) => Err(Error::InProgress),
        // Gone meanwhile.
        None if before.is_some() => Err(Error::InProgress),
        holder => {
            let by = holder.map_or_else(
                || "it is about to end".to_owned(),
                |holder| format!("it is process {} of the server", holder.session),
            );
            Err(Error::Kept { url: url.to_string(), by })
        }
    }
}
