//! Where the ledger is: `sqlite:PATH` or `postgres://...`.

use core::fmt;
use std::path::{Path, PathBuf};

use super::error::UrlError;

/// Where the ledger is.
#[derive(Clone, Eq, PartialEq)]
pub enum Url {
    /// A PostgreSQL server and database, as libpq takes it.
    Postgres(String),
    /// A SQLite file.
    Sqlite(PathBuf),
}

impl Url {
    /// Parses `sqlite:PATH` (a relative path is taken from `state_dir`), `postgres://...` or `postgresql://...`.
    ///
    /// # Errors
    /// Anything else: an empty path, an in-memory database, a scheme that nobody knows, or PostgreSQL in a program that
    /// was built without it.
    pub fn parse(text: &str, state_dir: &Path) -> Result<Self, UrlError> {
        if text.contains('\0') {
            return Err(UrlError::Nul);
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            return Self::parse_sqlite(path, state_dir);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return if cfg!(feature = "postgres") {
                Ok(Self::Postgres(text.to_owned()))
            } else {
                Err(UrlError::NoPostgres)
            };
        }
        Err(UrlError::Unknown(redacted(text)))
    }

    fn parse_sqlite(path: &str, state_dir: &Path) -> Result<Self, UrlError> {
        // `sqlite:///abs` is usual elsewhere and means what it looks like; in `sqlite://name` the name would be a host.
        let path = match path.strip_prefix("//") {
            Some(absolute) if absolute.starts_with('/') => absolute,
            Some(_) => return Err(UrlError::SqliteHost),
            None => path,
        };
        if path.is_empty() {
            return Err(UrlError::Empty);
        }
        if path.ends_with('/') {
            return Err(UrlError::Directory(path.to_owned()));
        }
        if path == ":memory:" {
            return Err(UrlError::Memory);
        }
        Ok(Self::Sqlite(state_dir.join(path)))
    }

    /// The file, where it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Postgres(_) => None,
            Self::Sqlite(path) => Some(path),
        }
    }
}

/// As the operator writes it, without a password.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => f.write_str(&redacted(url)),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// A URL without its passwords: in the authority (`user:password@`) and in the query (`password=`).
fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let mut text = format!("{scheme}://");
    // A password may hold anything, even a stray '@' or '/': everything to the last '@' belongs to the login.
    match rest.rsplit_once('@') {
        Some((login, place)) => {
            text.push_str(login.split(':').next().unwrap_or_default());
            text.push('@');
            text.push_str(place);
        }
        None => text.push_str(rest),
    }
    for (i, part) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        text.push(if i == 0 { '?' } else { '&' });
        let key = part.split('=').next().unwrap_or_default();
        text.push_str(if key.contains("password") { key } else { part });
    }
    text
}
