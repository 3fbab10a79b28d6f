//! Whether the triggers that guard the ledger are there, as the schema made them. Who owns the database can take them away,
//! and put them back when something was changed; while they are away, the audit tells.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_migrations::MigrationHarness;

use super::Ledger;
use super::connection::{Db, SQLITE_MIGRATIONS};
use super::error::Error;

/// The migrations of PostgreSQL, as texts; a test compares them with the folders.
#[cfg(feature = "postgres")]
pub(super) const POSTGRES_TEXTS: [&str; 12] = [
    include_str!("../../schema/postgres/0001_ledger/up.sql"),
    include_str!("../../schema/postgres/0002_hold_chunks/up.sql"),
    include_str!("../../schema/postgres/0003_usage_series/up.sql"),
    include_str!("../../schema/postgres/0010_books/up.sql"),
    include_str!("../../schema/postgres/0011_decisions/up.sql"),
    include_str!("../../schema/postgres/0012_billing/up.sql"),
    include_str!("../../schema/postgres/0013_documents/up.sql"),
    include_str!("../../schema/postgres/0014_interfaces/up.sql"),
    include_str!("../../schema/postgres/0016_corrections/up.sql"),
    include_str!("../../schema/postgres/0018_witnesses/up.sql"),
    include_str!("../../schema/postgres/0019_expired_sets/up.sql"),
    include_str!("../../schema/postgres/0020_config_beginnings/up.sql"),
];

/// A guard by its name, and what it does.
#[derive(QueryableByName)]
struct Guard {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    body: String,
}

type Guards = BTreeMap<String, String>;

fn by_name(guards: Vec<Guard>) -> Guards {
    guards.into_iter().map(|guard| (guard.name, guard.body)).collect()
}

impl Ledger {
    /// What of the schema's guards is missing, switched off or another than it was made, in words; and how many there are.
    ///
    /// # Errors
    /// What the database says.
    pub fn guards(&mut self) -> Result<(usize, Vec<String>), Error> {
        let (expected, found) = self.run("read the guards of the schema", |db| match db {
            #[cfg(feature = "postgres")]
            Db::Postgres(c) => Ok((declared(&POSTGRES_TEXTS), of_postgres(c)?)),
            Db::Sqlite(c) => {
                let mut fresh = SqliteConnection::establish(":memory:")
                    .map_err(|error| Error::Damaged(error.to_string()))?;
                fresh
                    .run_pending_migrations(SQLITE_MIGRATIONS)
                    .map_err(|error| Error::Damaged(error.to_string()))?;
                Ok((of_sqlite(&mut fresh)?, of_sqlite(c)?))
            }
        })?;
        let differences = expected.iter().filter_map(|(name, body)| match found.get(name) {
            None => Some(format!("the guard {name} is missing")),
            Some(other) if other != body => Some(format!("the guard {name} is not what it was made")),
            Some(_) => None,
        });
        Ok((expected.len(), differences.collect()))
    }
}

/// The triggers of a SQLite database, each with its text.
fn of_sqlite(connection: &mut SqliteConnection) -> Result<Guards, Error> {
    let query = "SELECT name, sql AS body FROM sqlite_schema WHERE type = 'trigger'";
    Ok(by_name(diesel::sql_query(query).load(connection)?))
}

/// The triggers of a PostgreSQL database that are switched on, each with its table and function, and the texts of the
/// functions that triggers need.
#[cfg(feature = "postgres")]
fn of_postgres(connection: &mut PgConnection) -> Result<Guards, Error> {
    let triggers = "SELECT t.tgname::text AS name, c.relname || ' ' || p.proname AS body FROM pg_trigger t \
                    JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid \
                    WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') \
                    AND c.relnamespace = current_schema()::regnamespace";
    let functions = "SELECT proname || '()' AS name, prosrc AS body FROM pg_proc \
                     WHERE pronamespace = current_schema()::regnamespace";
    let mut found = by_name(diesel::sql_query(triggers).load(connection)?);
    found.extend(by_name(diesel::sql_query(functions).load(connection)?));
    Ok(found)
}

/// What migrations declare, in the form of [`of_postgres`].
#[cfg(feature = "postgres")]
pub(super) fn declared(texts: &[&str]) -> Guards {
    let mut guards = Guards::new();
    for text in texts {
        // Comments say nothing, and have semicolons.
        let plain: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        let plain = plain.join(" ");
        for (at, _) in plain.match_indices(" TRIGGER ") {
            let words: Vec<&str> = plain[at..].split_whitespace().take(400).collect();
            let after = |word: &str| {
                let position = words.iter().position(|other| *other == word)?;
                Some(words.get(position + 1)?.trim_end_matches(';'))
            };
            let Some(name) = after("TRIGGER") else { continue };
            if plain[..at].ends_with("DROP") {
                guards.remove(name.trim_end_matches(';'));
            } else if let (true, Some(table), Some(function)) =
                (plain[..at].ends_with("CREATE"), after("ON"), after("FUNCTION"))
            {
                let function = function.split('(').next().unwrap_or_default();
                guards.insert(name.to_owned(), format!("{table} {function}"));
            }
        }
        for (at, _) in text.match_indices("FUNCTION ") {
            let is_made = text[..at].ends_with("CREATE ") || text[..at].ends_with("OR REPLACE ");
            let name = text[at + "FUNCTION ".len()..].split('(').next().unwrap_or_default();
            let mut quoted = text[at..].split("$$");
            if let (true, Some(_), Some(body)) = (is_made, quoted.next(), quoted.next()) {
                guards.insert(format!("{name}()"), body.to_owned());
            }
        }
    }
    guards
}
