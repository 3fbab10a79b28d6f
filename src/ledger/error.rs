//! What can go wrong with a ledger, and which of it is worth trying again.

use std::path::PathBuf;

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::records::NameKind;
use crate::ids::{Position, SourceId};

/// Why a `[ledger] url` is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// A path that ends in a slash.
    #[error("`{0}` is a directory; the ledger is a file, as in `sqlite:ledger.sqlite`")]
    Directory(String),
    /// No path.
    #[error("the path is missing, as in `sqlite:ledger.sqlite`")]
    Empty,
    /// `sqlite::memory:`.
    #[error("a ledger in memory would forget what was billed; name a file, as in `sqlite:ledger.sqlite`")]
    Memory,
    /// PostgreSQL in a program without it.
    #[error("this program was built without PostgreSQL (cargo feature `postgres`); use `sqlite:PATH`")]
    NoPostgres,
    /// A zero octet.
    #[error("a ledger's URL holds no zero octet")]
    Nul,
    /// `sqlite://name`.
    #[error(
        "`sqlite://` is followed by an absolute path, as in `sqlite:///var/lib/fluxoscope/ledger.sqlite`"
    )]
    SqliteHost,
    /// Another scheme.
    #[error("`{0}` is no ledger; `sqlite:PATH`, `postgres://...` and `postgresql://...` are")]
    Unknown(String),
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no ledger at this place.
    #[error("no ledger yet at {0}; run `fluxoscope run` or `fluxoscope replay` first")]
    Absent(String),
    /// A configuration version would begin before the newest one.
    #[error("a configuration version cannot begin at {valid_from}, before the newest one ({newest})")]
    ConfigOrder {
        /// The beginning asked for, milliseconds since the epoch.
        valid_from: i64,
        /// That of the newest version.
        newest: i64,
    },
    /// The database cannot be reached.
    #[error("cannot open the ledger {url}: {message}")]
    Connect {
        /// Where.
        url: String,
        /// What the driver says.
        message: String,
        /// It could be reached before.
        again: bool,
    },
    /// Usage was corrected since the differences were worked out.
    #[error("usage was corrected by somebody else meanwhile; try again")]
    Corrected,
    /// Counters of interfaces for a bucket in which nobody's usage changes any more.
    #[error("usage at {bucket} is closed for everybody, and what interfaces counted then with it")]
    CountersClosed {
        /// The bucket.
        bucket: String,
    },
    /// A greater number would have an earlier date.
    #[error("the last of the series, {last}, is of {before}; no later number is of {day}")]
    DateOrder {
        /// The date that was asked for.
        day: String,
        /// The last number of the series.
        last: String,
        /// Its date.
        before: String,
    },
    /// The ledger holds what no program of this kind writes.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// The database refused.
    #[error("the ledger cannot {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: DatabaseError,
    },
    /// An invoice that was delivered would be made void.
    #[error("invoice {0} was delivered; `fluxoscope invoice credit {0}` takes it back")]
    Delivered(String),
    /// A document could not be made.
    #[error("{number}: {message}")]
    Document {
        /// Its number, or that of its draft.
        number: String,
        /// Why.
        message: String,
    },
    /// A draft is gone, or is another one by now.
    #[error("{0} has been made again or removed meanwhile")]
    DraftChanged(String),
    /// The file cannot be made.
    #[error("cannot create the ledger {path}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// All numbers of a kind are given.
    #[error("the ledger has no number left for another {0:?}")]
    Full(NameKind),
    /// The server is still busy with a connection that was lost: a commit, or the lock of the one daemon.
    #[error("the ledger is still busy with an earlier connection of ours")]
    InProgress,
    /// An invoice that is no draft would be replaced.
    #[error("invoice {number} is {state}; only a draft can be replaced")]
    InvoiceFixed {
        /// Its number.
        number: String,
        /// Its state.
        state: String,
    },
    /// Another daemon is running on this ledger.
    #[error(
        "another daemon keeps the ledger {url}: {by}. One ledger has one daemon; a standby is started when the other one has ended"
    )]
    Kept {
        /// Which ledger.
        url: String,
        /// What is known of the other one.
        by: String,
    },
    /// There is no invoice of that number.
    #[error("there is no invoice `{0}`")]
    NoInvoice(String),
    /// What is to be taken back is no final invoice.
    #[error("{number} is {state}; only a final invoice can be taken back")]
    NotFinal {
        /// Its number.
        number: String,
        /// Its state.
        state: String,
    },
    /// A newer program made this ledger.
    #[error(
        "the ledger {url} has schema {found}, made by a newer version of this program (this one knows {known})"
    )]
    Newer {
        /// Where.
        url: String,
        /// Its schema.
        found: String,
        /// The newest schema known here.
        known: String,
    },
    /// An older program made this ledger, and this way of opening does not migrate.
    #[error(
        "the ledger {url} has schema {found}, not {known}; `fluxoscope run` or `fluxoscope replay` bring it up to date"
    )]
    Older {
        /// Where.
        url: String,
        /// Its schema.
        found: String,
        /// The newest schema known here.
        known: String,
    },
    /// The ledger does not stand where a flush begins: it was committed before, or another process reads this source.
    #[error("source {} stands at {}, not at {}", source_id.0, found.0, expected.0)]
    Position {
        /// The source.
        source_id: SourceId,
        /// Where the flush begins.
        expected: Position,
        /// Where the ledger stands.
        found: Position,
    },
    /// A number or a text that the ledger cannot hold.
    #[error("the ledger cannot hold {0}")]
    Range(&'static str),
    /// The same version of a tariff with other contents.
    #[error(
        "tariff {id} version {version} is in the ledger with other contents; give the change a new version"
    )]
    TariffChanged {
        /// The tariff.
        id: String,
        /// Its version.
        version: i64,
    },
    /// A flush's usage is not what its totals say.
    #[error(
        "a flush of {octets} octets and {packets} packets says that it has {stated_octets} and {stated_packets}"
    )]
    Unbalanced {
        /// Octets of its usage.
        octets: u128,
        /// Packets of its usage.
        packets: u128,
        /// Octets by its totals.
        stated_octets: u128,
        /// Packets by its totals.
        stated_packets: u128,
    },
    /// No such source.
    #[error("the ledger has no source {}", .0.0)]
    UnknownSource(SourceId),
    /// Usage of a flush that is not sorted, or has a key twice.
    #[error("the usage of a flush is not in the order of its keys")]
    Unsorted,
}

impl Error {
    /// True where the same call may succeed later, unchanged: somebody else holds the lock, the server dissolved a
    /// conflict or the connection broke (the next call makes a new one), or the disk is full.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { again, .. } => *again,
            Self::Database { source, .. } => source.is_transient(),
            Self::InProgress => true,
            _ => false,
        }
    }

    /// True where the ledger could be read, and holds what no program of this kind writes: a reference to what is not
    /// there, or a value of another kind.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Database { source, .. } => source.is_damage(),
            _ => false,
        }
    }

    /// True where nothing was wrong but the connection.
    pub(super) fn is_connection_loss(&self) -> bool {
        matches!(self, Self::Database { source, .. } if source.is_connection_loss())
    }

    /// Says what was being done.
    pub(super) fn doing(self, doing: &'static str) -> Self {
        match self {
            Self::Database { source, .. } => Self::Database { doing, source },
            other => other,
        }
    }

    /// A ledger that could be reached before.
    pub(super) fn while_reconnecting(self) -> Self {
        match self {
            Self::Connect { url, message, .. } => Self::Connect { url, message, again: true },
            other => other,
        }
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        Self::Database { doing: "be used", source: DatabaseError(error) }
    }
}

/// What the database said.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DatabaseError(DieselError);

impl DatabaseError {
    fn is_damage(&self) -> bool {
        matches!(&self.0, DieselError::DeserializationError(_) | DieselError::NotFound)
    }

    fn is_connection_loss(&self) -> bool {
        matches!(
            &self.0,
            DieselError::BrokenTransactionManager
                | DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _)
                | DieselError::RollbackErrorOnCommit { .. }
        )
    }

    fn is_transient(&self) -> bool {
        match &self.0 {
            DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => true,
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, info) => {
                is_transient_message(info.message())
            }
            DieselError::RollbackErrorOnCommit { commit_error, .. } => match &**commit_error {
                DieselError::DatabaseError(_, info) => is_transient_message(info.message()),
                _ => true,
            },
            _ => self.is_connection_loss(),
        }
    }
}

/// diesel gives no code for these, only the message. SQLite's (`SQLITE_BUSY`, `SQLITE_LOCKED`, `SQLITE_PROTOCOL`,
/// `SQLITE_FULL`) are the same in all languages. PostgreSQL's are translated, but our write transactions cannot come
/// into a deadlock among themselves (one lock for all), and a timeout of that lock is reported as a serialization failure.
fn is_transient_message(message: &str) -> bool {
    const TRANSIENT: [&str; 8] = [
        "database is locked",
        "database table is locked",
        "database schema is locked",
        "locking protocol",
        "database or disk is full",
        "deadlock detected",
        "canceling statement due to lock timeout",
        "No space left on device",
    ];
    TRANSIENT.iter().any(|known| message.contains(known))
}
