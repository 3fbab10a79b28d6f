//! The books: entries go in, each sealed by its hash; nothing in them is ever changed.
//!
//! The schema refuses what does not balance, has a gap, or does not go on from the hash of the entry before. The octets of
//! a day are entered by exporter: what it reported, against who used it. An entry brings the books up to what usage says
//! at the moment, so that entering a day again adds only what came meanwhile, and nothing where nothing came.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};

use super::Ledger;
use super::connection::{with_connection, write_transaction};
use super::error::Error;
use super::records::books::{
    Account, AccountKind, Actor, Entry, EntryKind, NewEntry, OCTETS, Posting, RAW_OCTETS, post,
};
use super::records::{NameKind, StoredInvoice};
use super::registers::stored;
use super::schema;
use crate::ids::{CustomerId, ExporterId};
use crate::usage::{Scaled, rate_from_stored};

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// Entries that are read at a time.
const PAGE: i64 = 256;
/// Postings of one statement.
pub(super) const BATCH: usize = 1000;

/// The numbers of all accounts.
macro_rules! accounts {
    ($connection:expr) => {
        $crate::ledger::schema::account::table
            .load::<(i64, String, String)>($connection)
            .map_err($crate::ledger::Error::from)
            .and_then($crate::ledger::books::numbered)
    };
}

/// Enters `$entry`; its number. `$accounts` are those that there are; new ones are made.
macro_rules! enter {
    ($connection:expr, $accounts:expr, $entry:expr) => {{
        use diesel::prelude::*;
        use $crate::ledger::schema::{account, entry, posting};
        let (made, accounts): (
            &$crate::ledger::records::books::NewEntry,
            &mut std::collections::HashMap<_, i64>,
        ) = ($entry, $accounts);
        let last: Option<(i64, String)> = entry::table
            .order(entry::seq.desc())
            .select((entry::seq, entry::hash))
            .first($connection)
            .optional()?;
        let (last, prev) = last.unwrap_or_else(|| (0, $crate::ledger::records::books::GENESIS.to_owned()));
        let seq = last + 1;
        // What another program may have left there, without an entry.
        diesel::delete(posting::table.filter(posting::entry.ge(seq))).execute($connection)?;
        let mut rows = Vec::with_capacity(made.postings.len());
        for (line, leg) in (1_i64..).zip(&made.postings) {
            let number = match accounts.get(&leg.account) {
                Some(&number) => number,
                None => {
                    let number = i64::try_from(accounts.len()).unwrap_or(i64::MAX) + 1;
                    diesel::insert_into(account::table)
                        .values((
                            account::number.eq(number),
                            account::kind.eq(leg.account.kind.as_str()),
                            account::name.eq(&leg.account.name),
                        ))
                        .execute($connection)?;
                    accounts.insert(leg.account.clone(), number);
                    number
                }
            };
            rows.push((
                posting::entry.eq(seq),
                posting::line.eq(line),
                posting::account.eq(number),
                posting::commodity.eq(leg.commodity.as_str()),
                posting::amount.eq(leg.amount),
            ));
        }
        for batch in rows.chunks($crate::ledger::books::BATCH) {
            diesel::insert_into(posting::table).values(batch).execute($connection)?;
        }
        let number = $crate::ledger::registers::stored::<u64>(seq, "an entry's number")?;
        diesel::insert_into(entry::table)
            .values((
                entry::seq.eq(seq),
                entry::kind.eq(made.kind.as_str()),
                entry::key.eq(&made.key),
                entry::day.eq(&made.day),
                entry::reference.eq(&made.reference),
                entry::digest.eq(&made.digest),
                entry::at.eq(made.at),
                entry::made_by.eq(&made.by),
                entry::postings.eq(i64::try_from(made.postings.len()).unwrap_or(i64::MAX)),
                entry::hash.eq(made.hash(number, &prev)),
                entry::prev.eq(prev),
            ))
            .execute($connection)?;
        number
    }};
}

/// The names of customers and exporters, with their numbers.
macro_rules! octet_names {
    ($connection:expr) => {
        schema::name::table
            .filter(schema::name::kind.eq_any([NameKind::Customer.as_str(), NameKind::Exporter.as_str()]))
            .select((schema::name::kind, schema::name::number, schema::name::text))
            .load::<(String, i64, String)>($connection)
    };
}

/// Enters the octets of a day, as far as they are not entered yet, with `$digest` as that of the entries; their number.
macro_rules! enter_day {
    ($connection:expr, $kind:expr, $day:expr, $actor:expr, $digest:expr) => {{
        use diesel::prelude::*;
        let date = $crate::ledger::books::date($day);
        let (used, entered) = $crate::ledger::books::queries($kind, $day, &date);
        let used: Vec<$crate::ledger::books::UsedRow> = diesel::sql_query(&used).load($connection)?;
        let mut made = 0_usize;
        if !used.is_empty() {
            let entered: Vec<$crate::ledger::books::EnteredRow> =
                diesel::sql_query(&entered).load($connection)?;
            let missing = missing(&used, &octet_names!($connection)?, &entered)?;
            let mut accounts = accounts!($connection)?;
            for (exporter, postings) in missing {
                let before: i64 = schema::entry::table
                    .filter(schema::entry::kind.eq($kind.as_str()))
                    .filter(schema::entry::day.eq(&date))
                    .filter(schema::entry::reference.eq(&exporter))
                    .count()
                    .get_result($connection)?;
                let new = $crate::ledger::records::books::NewEntry {
                    kind: $kind,
                    key: format!("{}/{date}/{exporter}/{}", $kind.as_str(), before + 1),
                    day: date.clone(),
                    reference: exporter,
                    digest: $digest.to_owned(),
                    at: $actor.at,
                    by: $actor.by.to_owned(),
                    postings,
                };
                enter!($connection, &mut accounts, &new);
                made += 1;
            }
        }
        made
    }};
}

/// The postings of an entry, in their order.
macro_rules! postings_of {
    ($connection:expr, $entry:expr) => {{
        use diesel::prelude::*;
        use $crate::ledger::schema::{account, posting};
        posting::table
            .inner_join(account::table.on(account::number.eq(posting::account)))
            .filter(posting::entry.eq($entry))
            .order(posting::line)
            .select((account::kind, account::name, posting::commodity, posting::amount))
            .load::<(String, String, String, i64)>($connection)
            .map_err($crate::ledger::Error::from)
            .and_then(|rows| {
                rows.into_iter().map($crate::ledger::books::posting).collect::<Result<Vec<_>, _>>()
            })
    }};
}

pub(super) use {accounts, enter, enter_day, octet_names, postings_of};

/// The accounts by what they are.
pub(super) fn numbered(rows: Vec<(i64, String, String)>) -> Result<HashMap<Account, i64>, Error> {
    rows.into_iter()
        .map(|(number, kind, name)| Ok((Account { kind: account_kind(&kind)?, name }, number)))
        .collect()
}

fn account_kind(text: &str) -> Result<AccountKind, Error> {
    AccountKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| Error::Damaged(format!("an account of kind `{text}`")))
}

pub(super) fn posting(
    (kind, name, commodity, amount): (String, String, String, i64),
) -> Result<Posting, Error> {
    Ok(Posting { account: Account { kind: account_kind(&kind)?, name }, commodity, amount })
}

/// The postings that take back others.
pub(super) fn reversed(postings: &[Posting]) -> Vec<Posting> {
    // Amounts are at most 2^62.
    postings.iter().map(|p| Posting { amount: p.amount.saturating_neg(), ..p.clone() }).collect()
}

impl Ledger {
    /// The first bucket from `from` on of which there is usage: of usage that came in time ([`EntryKind::Octets`]), or
    /// late ([`EntryKind::Late`]).
    ///
    /// # Errors
    /// What the database says.
    pub fn next_bucket(&mut self, kind: EntryKind, from: i64) -> Result<Option<i64>, Error> {
        let (table, which) =
            if kind == EntryKind::Late { ("late_usage_row", "<>") } else { ("usage_row", "=") };
        let query = format!(
            "SELECT min(bucket) AS bucket FROM (SELECT min(bucket) AS bucket FROM {table} WHERE bucket >= {from} \
             UNION ALL SELECT min(bucket) FROM correction_row WHERE bucket >= {from} AND carried {which} 0) AS first"
        );
        let First { bucket } = self
            .run("read usage", |db| Ok(with_connection!(db, c => diesel::sql_query(query).get_result(c))?))?;
        Ok(bucket)
    }

    /// Enters the octets of the day that begins at `day` (seconds; a midnight in UTC), as far as they are not entered
    /// yet: those that came in time, or those that came late. The number of entries made: at most one an exporter.
    ///
    /// # Errors
    /// What the database says. All of the day is entered or nothing.
    pub fn enter_octets(&mut self, kind: EntryKind, day: i64, actor: Actor<'_>) -> Result<usize, Error> {
        self.run("enter octets", |db| write_transaction!(db, c => Ok(enter_day!(c, kind, day, actor, ""))))
    }

    /// What [`Ledger::enter_octets`] would enter of a day: raw octets by exporter. Those of nobody where the books have
    /// all of it.
    ///
    /// # Errors
    /// What the database says.
    pub fn octets_not_entered(&mut self, kind: EntryKind, day: i64) -> Result<Vec<(String, i128)>, Error> {
        let (used, entered) = queries(kind, day, &date(day));
        let missing = self.run("read octets", |db| {
            with_connection!(db, c => {
                let used: Vec<UsedRow> = diesel::sql_query(&used).load(c)?;
                let entered: Vec<EnteredRow> = diesel::sql_query(&entered).load(c)?;
                missing(&used, &octet_names!(c)?, &entered)
            })
        })?;
        let raw = |postings: Vec<Posting>| {
            let raw = postings.iter().filter(|p| p.commodity == RAW_OCTETS && p.amount > 0);
            raw.map(|p| i128::from(p.amount)).sum()
        };
        Ok(missing.into_iter().map(|(exporter, postings)| (exporter, raw(postings))).collect())
    }

    /// Shows `visit` all entries in their order.
    ///
    /// # Errors
    /// What the database says, and that of `visit`, which ends the reading.
    pub fn for_each_entry(&mut self, visit: &mut dyn FnMut(Entry) -> Result<(), Error>) -> Result<(), Error> {
        use schema::entry::dsl as e;
        let mut after = 0_i64;
        loop {
            let page: Vec<(EntryRow, Vec<Posting>)> = self.run("read the books", |db| {
                with_connection!(db, c => {
                    let rows: Vec<EntryRow> =
                        e::entry.filter(e::seq.gt(after)).order(e::seq).limit(PAGE).load(c)?;
                    rows.into_iter()
                        .map(|row| {
                            let postings = postings_of!(c, row.seq)?;
                            Ok((row, postings))
                        })
                        .collect::<Result<_, Error>>()
                })
            })?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = last.seq;
            for (row, postings) in page {
                visit(row.into_entry(postings)?)?;
            }
        }
    }

    /// Postings that no entry has sealed. This program leaves none.
    ///
    /// # Errors
    /// What the database says.
    pub fn unsealed_postings(&mut self) -> Result<u64, Error> {
        let count: i64 = self.run("read the books", |db| {
            let query = "SELECT count(*) AS n FROM posting WHERE NOT EXISTS \
                (SELECT 1 FROM entry WHERE entry.seq = posting.entry)";
            let Count { n } = with_connection!(db, c => diesel::sql_query(query).get_result(c))?;
            Ok(n)
        })?;
        stored(count, "a count")
    }

    /// Entries whose postings have other lines than 1, 2, 3 and so on: the hash of an entry covers their order alone.
    ///
    /// # Errors
    /// What the database says.
    pub fn misnumbered_postings(&mut self) -> Result<Vec<u64>, Error> {
        let rows: Vec<Count> = self.run("read the books", |db| {
            let query = "SELECT entry AS n FROM posting GROUP BY entry \
                HAVING min(line) <> 1 OR max(line) <> count(*) ORDER BY entry";
            Ok(with_connection!(db, c => diesel::sql_query(query).load(c))?)
        })?;
        rows.into_iter().map(|Count { n }| stored(n, "an entry's number")).collect()
    }
}

#[derive(QueryableByName)]
struct First {
    #[diesel(sql_type = Nullable<BigInt>)]
    bucket: Option<i64>,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// Reads what was used on a day, corrections included, and what the books have of it.
pub(super) fn queries(kind: EntryKind, day: i64, date: &str) -> (String, String) {
    let (table, which) = if kind == EntryKind::Late { ("late_usage", "<>") } else { ("usage", "=") };
    let of_day = format!("bucket >= {day} AND bucket < {}", day.saturating_add(DAY_SECONDS));
    let key = "exporter, customer, rate_numerator, rate_denominator, rate_source";
    let used = format!(
        "SELECT {key}, CAST(sum(octets >> 32) AS BIGINT) AS high, CAST(sum(octets & 4294967295) AS BIGINT) AS low \
         FROM (SELECT {key}, octets FROM {table} WHERE {of_day} \
         UNION ALL SELECT {key}, octets FROM usage_correction WHERE {of_day} AND carried {which} 0) AS both_kinds \
         GROUP BY {key}"
    );
    let entered = format!(
        "SELECT entry.reference AS exporter, account.kind AS kind, account.name AS name, \
         posting.commodity AS commodity, CAST(sum(posting.amount >> 32) AS BIGINT) AS high, \
         CAST(sum(posting.amount & 4294967295) AS BIGINT) AS low \
         FROM entry JOIN posting ON posting.entry = entry.seq JOIN account ON account.number = posting.account \
         WHERE entry.kind = '{}' AND entry.day = '{date}' \
         GROUP BY entry.reference, account.kind, account.name, posting.commodity",
        kind.as_str()
    );
    (used, entered)
}

/// What was used at an exporter on a day.
#[derive(QueryableByName)]
pub(super) struct UsedRow {
    #[diesel(sql_type = Integer)]
    exporter: i32,
    #[diesel(sql_type = BigInt)]
    customer: i64,
    #[diesel(sql_type = BigInt)]
    rate_numerator: i64,
    #[diesel(sql_type = BigInt)]
    rate_denominator: i64,
    #[diesel(sql_type = Integer)]
    rate_source: i32,
    #[diesel(sql_type = BigInt)]
    high: i64,
    #[diesel(sql_type = BigInt)]
    low: i64,
}

/// What the books have of it.
#[derive(QueryableByName)]
pub(super) struct EnteredRow {
    #[diesel(sql_type = Text)]
    exporter: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    commodity: String,
    #[diesel(sql_type = BigInt)]
    high: i64,
    #[diesel(sql_type = BigInt)]
    low: i64,
}

fn whole(high: i64, low: i64) -> i128 {
    (i128::from(high) << 32) + i128::from(low)
}

/// Scaled and raw octets.
#[derive(Default)]
struct Sums {
    scaled: Scaled,
    raw: i128,
}

/// The postings by exporter that are still missing in the books.
pub(super) fn missing(
    used: &[UsedRow],
    names: &[(String, i64, String)],
    entered: &[EnteredRow],
) -> Result<BTreeMap<String, Vec<Posting>>, Error> {
    let by_number: HashMap<(&str, i64), &str> =
        names.iter().map(|(kind, number, name)| ((kind.as_str(), *number), name.as_str())).collect();
    let name = |kind: NameKind, number: i64| {
        let known = by_number.get(&(kind.as_str(), number));
        known.map_or_else(|| format!("#{number}"), |name| (*name).to_owned())
    };
    let mut sums: BTreeMap<(i32, i64), Sums> = BTreeMap::new();
    for row in used {
        let rate = rate_from_stored(row.rate_numerator, row.rate_denominator, row.rate_source.into())
            .ok_or_else(|| Error::Damaged("a sampling rate".to_owned()))?;
        let sum = sums.entry((row.exporter, row.customer)).or_default();
        let octets = whole(row.high, row.low);
        sum.raw += octets;
        // In parts that fit into what scaled sums take.
        let mut left = octets.unsigned_abs();
        while left > 0 {
            let part = left.min(u128::from(u64::MAX));
            sum.scaled.add(u64::try_from(part).expect("at most 64 bits"), rate);
            left -= part;
        }
    }
    let mut known: HashMap<(&str, Account, &str), i128> = HashMap::new();
    for row in entered {
        let account = Account { kind: account_kind(&row.kind)?, name: row.name.clone() };
        known.insert((&row.exporter, account, &row.commodity), whole(row.high, row.low));
    }
    let mut found: BTreeMap<String, Vec<Posting>> = BTreeMap::new();
    let exporters: std::collections::BTreeSet<i32> = sums.keys().map(|(exporter, _)| *exporter).collect();
    for exporter in exporters {
        let exporter_name = if exporter == i32::from(ExporterId::OTHERS.0) {
            ExporterId::OTHERS_NAME.to_owned()
        } else {
            name(NameKind::Exporter, exporter.into())
        };
        let mut postings = Vec::new();
        let mut totals = [0_i128; 2];
        for ((_, customer), sum) in sums.range((exporter, i64::MIN)..=(exporter, i64::MAX)) {
            let is_reserved = *customer < i64::from(CustomerId::FIRST.0);
            let kind = if is_reserved { AccountKind::Reserved } else { AccountKind::Customer };
            let account = Account { kind, name: name(NameKind::Customer, *customer) };
            let now = [(OCTETS, sum.scaled.rounded()), (RAW_OCTETS, sum.raw)];
            for ((commodity, octets), total) in now.into_iter().zip(&mut totals) {
                let before = known.get(&(exporter_name.as_str(), account.clone(), commodity)).copied();
                let more = octets - before.unwrap_or(0);
                *total += more;
                post(&mut postings, &account, commodity, more);
            }
        }
        let account = Account { kind: AccountKind::Exporter, name: exporter_name.clone() };
        for (commodity, total) in [OCTETS, RAW_OCTETS].into_iter().zip(totals) {
            post(&mut postings, &account, commodity, -total);
        }
        if !postings.is_empty() {
            found.insert(exporter_name, postings);
        }
    }
    Ok(found)
}

/// The date of an instant, in UTC.
#[must_use]
pub(super) fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| "0000-00-00".to_owned(),
        |at| jiff::tz::Offset::UTC.to_datetime(at).date().to_string(),
    )
}

/// A row of `entry`.
#[derive(Queryable)]
struct EntryRow {
    seq: i64,
    kind: String,
    key: String,
    day: String,
    reference: String,
    digest: String,
    at: i64,
    by: String,
    postings: i64,
    prev: String,
    hash: String,
}

impl EntryRow {
    fn into_entry(self, postings: Vec<Posting>) -> Result<Entry, Error> {
        let kind = EntryKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == self.kind)
            .ok_or_else(|| Error::Damaged(format!("an entry of kind `{}`", self.kind)))?;
        let Self { key, day, reference, digest, at, by, .. } = self;
        Ok(Entry {
            seq: stored(self.seq, "an entry's number")?,
            entry: NewEntry { kind, key, day, reference, digest, at, by, postings },
            legs: stored(self.postings, "a count of postings")?,
            prev: self.prev,
            hash: self.hash,
        })
    }
}

/// The entry of an issued document, or of one that is withdrawn.
pub(super) fn document_entry(
    kind: EntryKind,
    invoice: &StoredInvoice,
    day: String,
    postings: Vec<Posting>,
    actor: Actor<'_>,
) -> NewEntry {
    NewEntry {
        kind,
        key: format!("{}/{}", kind.as_str(), invoice.number),
        day,
        reference: invoice.number.clone(),
        digest: invoice.sha256.clone(),
        at: actor.at,
        by: actor.by.to_owned(),
        postings,
    }
}
