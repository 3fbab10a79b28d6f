//! Corrections: usage that was somebody else's is taken off here and added there, beside the rows that were metered.
//!
//! Rows of usage are never edited. A correction has the signed differences, all of them in one transaction, with what the
//! books have to say of it; it is sealed by a hash over itself, its rows and the correction before. What an exporter
//! reported stays: in each bucket and sampling rate, the differences come to nothing, which the schema proves.
//!
//! Whoever reads usage ([`Ledger::for_each_usage`], [`Ledger::for_each_late_usage`], [`Ledger::usage_totals`]) is shown both
//! together. The hash of a closed period stays that of the rows as they were metered.

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::DefaultLoadingMode;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sha2::{Digest, Sha256};

use super::Ledger;
use super::books::{BATCH, accounts, date, enter, enter_day, missing, octet_names};
use super::connection::{Db, with_connection, write_transaction};
use super::error::Error;
use super::flush::number_series;
use super::records::NameKind;
use super::records::books::{Actor, EntryKind, GENESIS, hex};
use super::records::corrections::{Change, Corrected, Correction, Difference, NewCorrection};
use super::registers::stored;
use super::schema;
use super::series::Series;
use super::usage::{SeriesKeys, SeriesRow, series_keys};
use crate::ids::CustomerId;
use crate::usage::{BucketStart, UsageKey};

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// A row of `correction_row`, without the number of its correction: bucket, customer, series, carried, and the sums.
type Stored = [i64; 9];

/// The series of changes, and their numbers.
#[derive(Default)]
struct Numbered(BTreeMap<usize, (Series, Option<i64>)>, std::collections::HashMap<Series, usize>);

impl Numbered {
    fn of(changes: &[Change]) -> Self {
        let mut numbered = Self::default();
        for change in changes {
            let series = Series::of(&change.key);
            let next = numbered.0.len();
            if *numbered.1.entry(series).or_insert(next) == next {
                numbered.0.insert(next, (series, None));
            }
        }
        numbered
    }

    /// Those whose numbers are not known yet.
    fn unknown(&mut self) -> impl Iterator<Item = (&Series, &mut Option<i64>)> {
        self.0.values_mut().map(|(series, number)| (&*series, number))
    }

    fn number(&self, key: &UsageKey) -> i64 {
        let place = self.1.get(&Series::of(key));
        let known = place.and_then(|place| self.0.get(place)?.1);
        known.expect("each series of the changes was numbered")
    }
}

/// The changes as they are stored, in the order of the key, and the hash over their lines.
fn rows(changes: &[Change], series: &Numbered) -> Result<(Vec<Stored>, String), Error> {
    let mut rows = Vec::with_capacity(changes.len());
    for change in changes {
        let mut row: Stored = [0; 9];
        row[0] = change.key.bucket.0;
        row[1] = i64::from(change.key.customer.0);
        row[2] = series.number(&change.key);
        row[3] = change.carried.map_or(0, |carried| carried.0);
        for (place, sum) in row[4..].iter_mut().zip(change.difference.0) {
            *place = i64::try_from(sum).map_err(|_| Error::Range("a difference of more than 63 bits"))?;
        }
        rows.push((row, change));
    }
    rows.sort_unstable_by_key(|(row, _)| *row);
    let (mut hash, mut line) = (Sha256::new(), String::new());
    for (_, change) in &rows {
        line.clear();
        change.push_line(&mut line);
        hash.update(line.as_bytes());
    }
    Ok((rows.into_iter().map(|(row, _)| row).collect(), hex(&hash.finalize())))
}

impl Ledger {
    /// Makes a correction: keeps its rows, and enters what it means for days that are in the books already, or are
    /// sealed. Its number.
    ///
    /// # Errors
    /// [`Error::Corrected`] where another one was made since; what the database says: the schema refuses a correction that
    /// takes off more than there is, or that changes what an exporter reported.
    pub fn correct(&mut self, new: &NewCorrection<'_>, actor: Actor<'_>) -> Result<u64, Error> {
        use schema::correction::dsl as d;
        use schema::correction_row::dsl as r;
        let days: BTreeSet<i64> = new.changes.iter().map(|change| day_of(change.key.bucket)).collect();
        let mut series = Numbered::of(&new.changes);
        self.run("correct usage", |db| {
            write_transaction!(db, c => {
                let last: Option<(i64, String)> =
                    d::correction.order(d::seq.desc()).select((d::seq, d::hash)).first(c).optional()?;
                let (last, prev) = last.unwrap_or_else(|| (0, GENESIS.to_owned()));
                if last.unsigned_abs() != new.after {
                    return Err(Error::Corrected);
                }
                let seq = last + 1;
                number_series!(c, series);
                let (rows, root) = rows(&new.changes, &series)?;
                // What another program may have left there, without a correction.
                diesel::delete(r::correction_row.filter(r::correction.ge(seq))).execute(c)?;
                for batch in rows.chunks(BATCH) {
                    let values: Vec<_> = batch
                        .iter()
                        .map(|[bucket, customer, series, carried, octets, packets, flows, low, high]| {
                            (
                                r::bucket.eq(*bucket),
                                r::customer.eq(*customer),
                                r::series.eq(*series),
                                r::carried.eq(*carried),
                                r::correction.eq(seq),
                                r::octets.eq(*octets),
                                r::packets.eq(*packets),
                                r::flows.eq(*flows),
                                r::squares_low.eq(*low),
                                r::squares_high.eq(*high),
                            )
                        })
                        .collect();
                    diesel::insert_into(r::correction_row).values(&values).execute(c)?;
                }
                let made = Correction {
                    seq: seq.unsigned_abs(),
                    from: new.from,
                    until: new.until,
                    config: new.config.to_owned(),
                    reason: new.reason.to_owned(),
                    at: actor.at,
                    by: actor.by.to_owned(),
                    changes: rows.len() as u64,
                    root,
                };
                let hash = made.hash(&prev);
                diesel::insert_into(d::correction)
                    .values((
                        d::seq.eq(seq),
                        d::from_bucket.eq(made.from.0),
                        d::until_bucket.eq(made.until.0),
                        d::config.eq(&made.config),
                        d::reason.eq(&made.reason),
                        d::at.eq(made.at),
                        d::made_by.eq(&made.by),
                        d::changes.eq(i64::try_from(made.changes).unwrap_or(i64::MAX)),
                        d::root.eq(&made.root),
                        d::prev.eq(&prev),
                        d::hash.eq(&hash),
                    ))
                    .execute(c)?;
                let closures: Vec<(i64, i64)> = schema::closure::table
                    .filter(schema::closure::customer.lt(i64::from(CustomerId::FIRST.0)))
                    .select((schema::closure::customer, schema::closure::until_bucket))
                    .load(c)?;
                let sealed = sealed_until(&closures);
                for &day in &days {
                    let entered: i64 = schema::entry::table
                        .filter(schema::entry::kind.eq_any([EntryKind::Octets.as_str(), EntryKind::Late.as_str()]))
                        .filter(schema::entry::day.eq(date(day)))
                        .count()
                        .get_result(c)?;
                    // A day that no closing has entered yet is entered by the one that does, with all corrections. But
                    // closings are over with a sealed day, even where nothing was to be entered: all that it had came late.
                    let is_sealed = day.saturating_add(DAY_SECONDS) <= sealed;
                    for kind in [EntryKind::Octets, EntryKind::Late] {
                        if entered > 0 || is_sealed {
                            enter_day!(c, kind, day, actor, &hash);
                        }
                    }
                }
                Ok(made.seq)
            })
        })
    }

    /// The number of the last correction; 0 where there is none.
    ///
    /// # Errors
    /// What the database says.
    pub fn last_correction(&mut self) -> Result<u64, Error> {
        use schema::correction::dsl as d;
        let last: Option<i64> = self.run("read corrections", |db| {
            Ok(with_connection!(db, c => d::correction.select(diesel::dsl::max(d::seq)).first(c))?)
        })?;
        Ok(last.unwrap_or(0).unsigned_abs())
    }

    /// The buckets that were read again, up to the first one after them, and SHA-256 of the configuration version by which
    /// they were: of all corrections in their order.
    ///
    /// # Errors
    /// What the database says.
    pub fn corrected_by(&mut self) -> Result<Vec<(BucketStart, BucketStart, String)>, Error> {
        use schema::correction::dsl as d;
        let rows: Vec<(i64, i64, String)> = self.run("read corrections", |db| {
            Ok(with_connection!(db, c => d::correction
                .select((d::from_bucket, d::until_bucket, d::config))
                .order(d::seq)
                .load(c))?)
        })?;
        let of = |(from, until, config)| (BucketStart(from), BucketStart(until), config);
        Ok(rows.into_iter().map(of).collect())
    }

    /// The first bucket from `from` on of which a correction added or took off usage in time.
    ///
    /// # Errors
    /// What the database says.
    pub fn next_corrected(&mut self, from: i64) -> Result<Option<i64>, Error> {
        use schema::correction_row::dsl as r;
        let first: Option<i64> = self.run("read corrections", |db| {
            Ok(with_connection!(db, c => r::correction_row
                .filter(r::bucket.ge(from))
                .filter(r::carried.eq(0))
                .select(diesel::dsl::min(r::bucket))
                .first(c))?)
        })?;
        Ok(first)
    }

    /// The customers, and reserved names, of which something was corrected in the buckets of `[from, until)`.
    ///
    /// # Errors
    /// What the database says.
    pub fn corrected(&mut self, from: BucketStart, until: BucketStart) -> Result<Vec<Corrected>, Error> {
        let query = format!(
            "SELECT customer, min(bucket), max(bucket) FROM correction_row \
             WHERE bucket >= {} AND bucket < {} GROUP BY customer ORDER BY customer",
            from.0, until.0
        );
        let rows: Vec<(i64, i64, i64)> = self.run("read corrections", |db| {
            Ok(with_connection!(db, c => sql::<(BigInt, BigInt, BigInt)>(&query).load(c))?)
        })?;
        let corrected = |(customer, first, last)| {
            let customer = stored(customer, "a customer")?;
            Ok(Corrected { customer, first: BucketStart(first), last: BucketStart(last) })
        };
        rows.into_iter().map(corrected).collect()
    }

    /// The periods, by their first buckets, into which usage of these buckets is carried that was taken off a customer
    /// after it had come late.
    ///
    /// # Errors
    /// What the database says.
    pub fn corrected_late(
        &mut self,
        customer: u32,
        (from, until): (BucketStart, BucketStart),
    ) -> Result<Vec<BucketStart>, Error> {
        use schema::correction_row::dsl as r;
        let rows: Vec<i64> = self.run("read corrections", |db| {
            Ok(with_connection!(db, c => r::correction_row
                .filter(r::bucket.ge(from.0))
                .filter(r::bucket.lt(until.0))
                .filter(r::customer.eq(i64::from(customer)))
                .filter(r::carried.ne(0))
                .select(r::carried)
                .distinct()
                .order(r::carried)
                .load(c))?)
        })?;
        Ok(rows.into_iter().map(BucketStart).collect())
    }

    /// All corrections in their order, and what is wrong with them, in words: with their chain, their rows, or what they come
    /// to with usage.
    ///
    /// # Errors
    /// What the database says.
    pub fn corrections(&mut self) -> Result<(Vec<Correction>, Vec<String>), Error> {
        use schema::correction::dsl as d;
        let mut sums: BTreeMap<u64, Sums> = BTreeMap::new();
        let read = format!(
            "SELECT {ROW_COLUMNS}, correction_row.correction FROM correction_row \
             ORDER BY bucket, customer, series, carried, correction"
        );
        let (headers, negative): (Vec<Header>, i64) = self.run("read corrections", |db| match db {
            #[cfg(feature = "postgres")]
            Db::Postgres(c) => super::connection::postgres_snapshot(c, |c| {
                let keys = series_keys!(c)?;
                for row in sql::<RowSql>(&read).load_iter::<Row, diesel::pg::PgRowByRowLoadingMode>(c)? {
                    take(&mut sums, &keys, row?)?;
                }
                Ok((d::correction.order(d::seq).load(c)?, sql::<BigInt>(NEGATIVE).get_result(c)?))
            }),
            Db::Sqlite(c) => super::connection::sqlite_snapshot(c, |c| {
                let keys = series_keys!(c)?;
                for row in sql::<RowSql>(&read).load_iter::<Row, DefaultLoadingMode>(c)? {
                    take(&mut sums, &keys, row?)?;
                }
                Ok((d::correction.order(d::seq).load(c)?, sql::<BigInt>(NEGATIVE).get_result(c)?))
            }),
        })?;
        let (mut found, mut wrong) = (Vec::with_capacity(headers.len()), Vec::new());
        let (mut next, mut before) = (1, GENESIS.to_owned());
        for (seq, from, until, config, reason, at, by, changes, root, prev, hash) in headers {
            let seq = stored(seq, "a correction's number")?;
            let (from, until) = (BucketStart(from), BucketStart(until));
            let changes = stored(changes, "a count")?;
            let correction = Correction { seq, from, until, config, reason, at, by, changes, root };
            if seq != next {
                wrong.push(format!("correction {next} is missing"));
            }
            if prev != before || correction.hash(&prev) != hash {
                wrong.push(format!("correction {seq} has been changed: its hash is another"));
            }
            let own = sums.remove(&seq).unwrap_or_default();
            if own.rows != changes || hex(&own.hash.finalize()) != correction.root {
                wrong.push(format!("rows of correction {seq} have been changed"));
            }
            for (bucket, exporter) in own.reported.into_keys() {
                let at = crate::period::rfc3339(bucket.start());
                wrong.push(format!("correction {seq} changes what exporter {exporter} reported at {at}"));
            }
            (next, before) = (seq + 1, hash);
            found.push(correction);
        }
        wrong.extend(
            sums.into_keys().map(|seq| format!("there are rows of a correction {seq} that was never made")),
        );
        if negative > 0 {
            wrong.push(format!("{negative} rows of corrections take off more than there is"));
        }
        Ok((found, wrong))
    }
}

/// What the rows of a correction come to.
#[derive(Default)]
struct Sums {
    rows: u64,
    hash: Sha256,
    /// What does not come to nothing, by bucket and exporter.
    reported: BTreeMap<(BucketStart, u16), ByRate>,
}

/// Differences by numerator, denominator and source of a rate.
type ByRate = BTreeMap<(u32, u32, u8), Difference>;

fn take(sums: &mut BTreeMap<u64, Sums>, keys: &SeriesKeys, row: Row) -> Result<(), Error> {
    let (bucket, customer, series, octets, packets, flows, low, high, carried, correction) = row;
    let key = keys.key((bucket, customer, series))?;
    let difference = Difference([octets, packets, flows, low, high].map(i128::from));
    let carried = (carried != 0).then_some(BucketStart(carried));
    let own = sums.entry(stored(correction, "a correction's number")?).or_default();
    let mut line = String::new();
    Change { key, carried, difference }.push_line(&mut line);
    own.rows += 1;
    own.hash.update(line.as_bytes());
    let rate = (key.rate.numerator(), key.rate.denominator(), key.rate.source() as u8);
    let place = (key.bucket, key.exporter.0);
    let rates = own.reported.entry(place).or_default();
    let sum = rates.entry(rate).or_default();
    sum.add(&difference);
    if sum.is_zero() {
        rates.remove(&rate);
        if rates.is_empty() {
            own.reported.remove(&place);
        }
    }
    Ok(())
}

/// A row of `correction`.
type Header = (i64, i64, i64, String, String, i64, String, i64, String, String, String);
/// A row of `correction_row`: bucket, customer, series, octets, packets, flows, squares, carried, correction.
type Row = (i64, i64, i64, i64, i64, i64, i64, i64, i64, i64);
/// The same in the types of SQL.
type RowSql = (BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt);

/// The columns in the order of [`Row`], but for the last.
const ROW_COLUMNS: &str = "correction_row.bucket, correction_row.customer, correction_row.series, correction_row.octets, \
    correction_row.packets, correction_row.flows, correction_row.squares_low, correction_row.squares_high, \
    correction_row.carried";

/// Counts keys for which usage and its corrections are less than nothing.
const NEGATIVE: &str = "SELECT count(*) FROM ( \
        SELECT bucket, customer, series, carried, sum(octets) AS octets, sum(packets) AS packets, sum(flows) AS flows \
        FROM correction_row GROUP BY bucket, customer, series, carried) AS own \
    WHERE own.carried = 0 AND EXISTS (SELECT 1 FROM (SELECT 1 AS one) AS one LEFT JOIN usage_row ON \
            usage_row.bucket = own.bucket AND usage_row.customer = own.customer AND usage_row.series = own.series \
            WHERE coalesce(usage_row.octets, 0) + own.octets < 0 OR coalesce(usage_row.packets, 0) + own.packets < 0 \
                OR coalesce(usage_row.flows, 0) + own.flows < 0) \
        OR own.carried <> 0 AND EXISTS (SELECT 1 FROM (SELECT 1 AS one) AS one LEFT JOIN late_usage_row AS late ON \
            late.carried = own.carried AND late.bucket = own.bucket AND late.customer = own.customer \
            AND late.series = own.series \
            WHERE coalesce(late.octets, 0) + own.octets < 0 OR coalesce(late.packets, 0) + own.packets < 0 \
                OR coalesce(late.flows, 0) + own.flows < 0)";

/// Up to where all reserved names are sealed, by their closures (customer, end): every day before it was entered by a
/// closing, as far as there was something.
fn sealed_until(closures: &[(i64, i64)]) -> i64 {
    let until = |reserved: CustomerId| {
        let own = closures.iter().filter(|(customer, _)| *customer == i64::from(reserved.0));
        own.map(|(_, until)| *until).max().unwrap_or(i64::MIN)
    };
    CustomerId::RESERVED.into_iter().map(|(reserved, _)| until(reserved)).min().unwrap_or(i64::MIN)
}

fn day_of(bucket: BucketStart) -> i64 {
    bucket.0.div_euclid(DAY_SECONDS) * DAY_SECONDS
}
