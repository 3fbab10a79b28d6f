//! Usage that comes after its period was closed.
//!
//! A closed bucket takes no more. What comes for it is kept apart, under the first bucket of the customer's open period,
//! in which it is going to be invoiced: as an adjustment that names the period that it is of. A flush looks at what is
//! closed inside its own transaction, so a closing either comes before all of it or after all of it.

use std::borrow::Cow;
use std::collections::HashMap;

use diesel::connection::DefaultLoadingMode;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::Ledger;
use super::connection::{Db, with_connection};
use super::error::Error;
use super::records::corrections::Difference;
use super::schema;
use super::series::Row;
use super::usage::{SeriesKeys, SeriesRow, StoredUsage, series_keys};
use crate::usage::{BucketStart, UsageKey, UsageRow};

/// The customer that stands for all those that have no row of their own in `closed`.
pub(super) const EVERYBODY_ELSE: i64 = 0;

/// Rows of one statement.
const BATCH: usize = 64;

/// A row that came late, with the first bucket of the period that was open then.
pub(super) type Late = (i64, Row);

/// The `rows` without those of closed buckets, which go to `late`. `closed` is by customer, and empty where nothing is
/// closed that concerns these rows.
pub(super) fn split<'a>(closed: &[(i64, i64)], rows: &'a [Row], late: &mut Vec<Late>) -> Cow<'a, [Row]> {
    if closed.is_empty() {
        return Cow::Borrowed(rows);
    }
    let closed: HashMap<i64, i64> = closed.iter().copied().collect();
    let others = closed.get(&EVERYBODY_ELSE).copied();
    let mut open = Vec::with_capacity(rows.len());
    for row in rows {
        let Row([bucket, customer, ..]) = row;
        match closed.get(customer).copied().or(others) {
            Some(until) if *bucket < until => late.push((until, *row)),
            _ => open.push(*row),
        }
    }
    Cow::Owned(open)
}

/// The statements that add late rows to those that are there. All values are integers.
pub(super) fn upserts(late: &[Late]) -> impl Iterator<Item = String> {
    late.chunks(BATCH).map(|rows| {
        let values: Vec<String> = rows
            .iter()
            .map(|(carried, Row(columns))| {
                let columns = columns.map(|number| number.to_string());
                format!("({carried}, {})", columns.join(", "))
            })
            .collect();
        let most = i64::MAX;
        let sums: Vec<String> = ["octets", "packets", "flows", "squares_low", "squares_high"]
            .iter()
            .map(|sum| {
                format!(
                    "{sum} = CASE WHEN late_usage_row.{sum} > {most} - excluded.{sum} THEN {most} \
                     ELSE late_usage_row.{sum} + excluded.{sum} END"
                )
            })
            .collect();
        let key = "carried, bucket, customer, series";
        format!(
            "INSERT INTO late_usage_row ({key}, octets, packets, flows, squares_low, squares_high) VALUES {} \
             ON CONFLICT ({key}) DO UPDATE SET {}",
            values.join(", "),
            sums.join(", ")
        )
    })
}

impl Ledger {
    /// Shows `visit` the usage that came late and is carried into a period that begins in `[from, to)`, with its corrections:
    /// first bucket of that period, and row, in this order.
    ///
    /// # Errors
    /// What the database says; `visit` may have seen rows before.
    pub fn for_each_late_usage(
        &mut self,
        from: BucketStart,
        to: BucketStart,
        visit: &mut dyn FnMut(BucketStart, UsageRow),
    ) -> Result<(), Error> {
        self.for_each_late_usage_as_of(u64::MAX, (from, to), visit)
    }

    /// The same as it was after the correction with the number `last`; 0: before any.
    ///
    /// # Errors
    /// As there.
    pub fn for_each_late_usage_as_of(
        &mut self,
        last: u64,
        (from, to): (BucketStart, BucketStart),
        visit: &mut dyn FnMut(BucketStart, UsageRow),
    ) -> Result<(), Error> {
        use schema::late_usage::dsl as l;
        let corrections = self.late_corrections(last, (from, to))?;
        let mut visit = |carried: BucketStart, row: UsageRow| -> Result<(), Error> {
            match corrections.get(&(carried, row.key)) {
                None => visit(carried, row),
                Some(correction) => {
                    let mut all = Difference::of(&row.sums);
                    all.add(correction);
                    if !all.is_zero() {
                        let damaged = || Error::Damaged("late usage of less than nothing".to_owned());
                        visit(carried, UsageRow { sums: all.sums().ok_or_else(damaged)?, ..row });
                    }
                }
            }
            Ok(())
        };
        self.run("read late usage", |db| {
            let query = l::late_usage
                .filter(l::carried.ge(from.0))
                .filter(l::carried.lt(to.0))
                .order((l::carried, l::bucket, l::customer, l::link, l::direction, l::class, l::family))
                .then_order_by((l::exporter, l::rate_numerator, l::rate_denominator, l::rate_source))
                .select((
                    l::carried,
                    (
                        l::bucket,
                        l::customer,
                        l::link,
                        l::direction,
                        l::class,
                        l::family,
                        l::exporter,
                        l::rate_numerator,
                        l::rate_denominator,
                        l::rate_source,
                        l::octets,
                        l::packets,
                        l::flows,
                        l::squares_low,
                        l::squares_high,
                    ),
                ));
            match db {
                #[cfg(feature = "postgres")]
                Db::Postgres(c) => {
                    for row in query.load_iter::<(i64, StoredUsage), diesel::pg::PgRowByRowLoadingMode>(c)? {
                        let (carried, row) = row?;
                        visit(BucketStart(carried), row.into_row()?)?;
                    }
                }
                Db::Sqlite(c) => {
                    for row in query.load_iter::<(i64, StoredUsage), DefaultLoadingMode>(c)? {
                        let (carried, row) = row?;
                        visit(BucketStart(carried), row.into_row()?)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// What corrections up to `last` take off usage that came late. They never add to it more than others took off.
    fn late_corrections(
        &mut self,
        last: u64,
        (from, to): (BucketStart, BucketStart),
    ) -> Result<HashMap<(BucketStart, UsageKey), Difference>, Error> {
        let query = format!(
            "SELECT carried, bucket, customer, series, octets, packets, flows, squares_low, squares_high \
             FROM correction_row WHERE carried >= {} AND carried < {} AND carried <> 0 AND correction <= {}",
            from.0,
            to.0,
            i64::try_from(last).unwrap_or(i64::MAX)
        );
        let (keys, rows) = self.run("read corrections", |db| {
            with_connection!(db, c => {
                let rows = sql::<CorrectionSql>(&query).load::<CorrectionRow>(c)?;
                // None, nearly always.
                let keys = if rows.is_empty() { None } else { Some(series_keys!(c)?) };
                Ok((keys, rows))
            })
        })?;
        let mut found: HashMap<(BucketStart, UsageKey), Difference> = HashMap::new();
        let Some(keys) = keys else { return Ok(found) };
        for (carried, bucket, customer, series, octets, packets, flows, low, high) in rows {
            let key = keys.key((bucket, customer, series))?;
            let difference = Difference([octets, packets, flows, low, high].map(i128::from));
            found.entry((BucketStart(carried), key)).or_default().add(&difference);
        }
        Ok(found)
    }
}

/// A row of `correction_row`: carried, bucket, customer, series, and the sums.
type CorrectionRow = (i64, i64, i64, i64, i64, i64, i64, i64, i64);
/// The same in the types of SQL.
type CorrectionSql = (BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt);
