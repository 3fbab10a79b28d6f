//! Reading usage: row by row in the order of its key, or summed.

use diesel::connection::DefaultLoadingMode;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::query_builder::AsQuery;
use diesel::sql_types::{BigInt, Integer};

use super::Ledger;
use super::connection::{Db, with_connection};
use super::error::Error;
use super::records::UsageFilter;
use super::registers::stored;
use super::schema;
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::units::SamplingRate;
use crate::usage::{BucketStart, UsageKey, UsageRow, UsageSums, rate_from_stored};

/// Raw sums over buckets, classes, families and exporters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UsageTotal {
    /// Whose.
    pub customer: CustomerId,
    /// Over which link.
    pub link: LinkId,
    /// In which direction.
    pub direction: Direction,
    /// The sampling rate to scale by.
    pub rate: SamplingRate,
    /// Octets.
    pub octets: i128,
    /// Packets.
    pub packets: i128,
    /// Flow records.
    pub flows: i128,
}

/// A row of the view `usage`.
#[derive(Clone, Copy, Queryable)]
pub(super) struct StoredUsage {
    bucket: i64,
    customer: i64,
    link: i32,
    direction: i32,
    class: i32,
    family: i32,
    exporter: i32,
    rate_numerator: i64,
    rate_denominator: i64,
    rate_source: i32,
    octets: i64,
    packets: i64,
    flows: i64,
    squares_low: i64,
    squares_high: i64,
}

impl StoredUsage {
    pub(super) fn into_row(self) -> Result<UsageRow, Error> {
        let sum = |number| stored::<u64>(number, "a sum of usage");
        Ok(UsageRow {
            key: UsageKey {
                bucket: BucketStart(self.bucket),
                customer: CustomerId(stored(self.customer, "a customer")?),
                link: LinkId(stored(self.link.into(), "a link")?),
                direction: direction(self.direction)?,
                class: ClassId(stored(self.class.into(), "a class")?),
                family: u8::try_from(self.family)
                    .ok()
                    .and_then(Family::from_u8)
                    .ok_or_else(|| Error::Damaged(format!("a family is {}", self.family)))?,
                exporter: ExporterId(stored(self.exporter.into(), "an exporter")?),
                rate: rate(self.rate_numerator, self.rate_denominator, self.rate_source)?,
            },
            sums: UsageSums {
                octets: sum(self.octets)?,
                packets: sum(self.packets)?,
                flows: sum(self.flows)?,
                squares_low: sum(self.squares_low)?,
                squares_high: sum(self.squares_high)?,
            },
        })
    }
}

fn direction(number: i32) -> Result<Direction, Error> {
    u8::try_from(number)
        .ok()
        .and_then(Direction::from_u8)
        .ok_or_else(|| Error::Damaged(format!("a direction is {number}")))
}

fn rate(numerator: i64, denominator: i64, source: i32) -> Result<SamplingRate, Error> {
    rate_from_stored(numerator, denominator, source.into())
        .ok_or_else(|| Error::Damaged(format!("a sampling rate is {numerator}/{denominator} from {source}")))
}

/// The columns in the order of [`StoredUsage`].
const COLUMNS: &str = "usage_row.bucket, usage_row.customer, usage_series.link, usage_series.direction, \
    usage_series.class, usage_series.family, usage_series.exporter, usage_series.rate_numerator, \
    usage_series.rate_denominator, usage_series.rate_source, usage_row.octets, usage_row.packets, usage_row.flows, \
    usage_row.squares_low, usage_row.squares_high";

/// How a row finds its series: one whose series is missing is an error when it is read, not nothing.
const SERIES: &str = "LEFT JOIN usage_series ON usage_series.id = usage_row.series";

/// The order in which rows are stored.
const ORDER: &str = "usage_row.bucket, usage_row.customer, usage_row.series";

/// The rows of a filter, by bucket and customer.
///
/// A customer's rows are scattered over all buckets. An index by customer would make every flush slower; instead the
/// query goes from one bucket that there is to the next and looks the customer up in each.
fn usage_query(filter: &UsageFilter) -> String {
    let UsageFilter { from, to, customer } = *filter;
    let from = from.map_or(i64::MIN + 1, |bucket| bucket.0);
    let to = to.map_or(i64::MAX, |bucket| bucket.0);
    match customer {
        None => format!(
            "SELECT {COLUMNS} FROM usage_row {SERIES} \
             WHERE usage_row.bucket >= {from} AND usage_row.bucket < {to} ORDER BY {ORDER}"
        ),
        Some(customer) => format!(
            "WITH RECURSIVE present(bucket) AS ( \
                 SELECT min(usage_row.bucket) FROM usage_row \
                 WHERE usage_row.bucket >= {from} AND usage_row.bucket < {to} \
                 UNION ALL \
                 SELECT (SELECT min(usage_row.bucket) FROM usage_row \
                         WHERE usage_row.bucket > present.bucket AND usage_row.bucket < {to}) \
                 FROM present WHERE present.bucket IS NOT NULL) \
             SELECT {COLUMNS} FROM present CROSS JOIN usage_row {SERIES} \
             WHERE usage_row.bucket = present.bucket AND usage_row.customer = {customer} ORDER BY {ORDER}",
            customer = customer.0
        ),
    }
}

/// Puts rows that come by bucket and customer into the order of their keys.
struct InOrder<'a> {
    /// Of one customer in one bucket.
    waiting: Vec<UsageRow>,
    visit: &'a mut dyn FnMut(UsageRow),
}

impl InOrder<'_> {
    fn push(&mut self, row: UsageRow) {
        let of = |row: &UsageRow| (row.key.bucket, row.key.customer);
        if self.waiting.last().is_some_and(|last| of(last) != of(&row)) {
            self.pass_on();
        }
        self.waiting.push(row);
    }

    fn pass_on(&mut self) {
        self.waiting.sort_unstable_by_key(|row| row.key);
        self.waiting.drain(..).for_each(&mut *self.visit);
    }
}

impl Ledger {
    /// Shows `visit` every usage row of `filter`, in the order of the key, as of one moment. Rows are read as they are
    /// visited: memory does not grow with their number. The exporter in a key is the ledger's number.
    ///
    /// # Errors
    /// What the database says; `visit` may have seen rows before.
    pub fn for_each_usage(
        &mut self,
        filter: &UsageFilter,
        visit: &mut dyn FnMut(UsageRow),
    ) -> Result<(), Error> {
        self.run("read usage", |db| {
            let query = sql::<<schema::usage::table as AsQuery>::SqlType>(&usage_query(filter));
            let mut rows = InOrder { waiting: Vec::new(), visit };
            match db {
                #[cfg(feature = "postgres")]
                Db::Postgres(c) => {
                    for row in query.load_iter::<StoredUsage, diesel::pg::PgRowByRowLoadingMode>(c)? {
                        rows.push(row?.into_row()?);
                    }
                }
                Db::Sqlite(c) => {
                    for row in query.load_iter::<StoredUsage, DefaultLoadingMode>(c)? {
                        rows.push(row?.into_row()?);
                    }
                }
            }
            rows.pass_on();
            Ok(())
        })
    }

    /// Raw sums of the buckets in `[from, to)` (all of them, where left out), of usage in time and late, by customer, link, direction and sampling
    /// rate, in that order. Exact also where a sum is beyond 64 bits.
    ///
    /// # Errors
    /// What the database says.
    pub fn usage_totals(
        &mut self,
        from: Option<BucketStart>,
        to: Option<BucketStart>,
    ) -> Result<Vec<UsageTotal>, Error> {
        // Both halves of a sum over fewer than 2^31 rows stay below 2^63.
        let halves = |column: &str| {
            format!(
                "CAST(sum({column} >> 32) AS BIGINT) AS {column}_high, \
                 CAST(sum({column} & 4294967295) AS BIGINT) AS {column}_low"
            )
        };
        let key = "customer, link, direction, rate_numerator, rate_denominator, rate_source";
        let part = |table: &str| {
            format!(
                "SELECT {key}, octets, packets, flows FROM {table} WHERE bucket >= {} AND bucket < {}",
                from.map_or(i64::MIN + 1, |bucket| bucket.0),
                to.map_or(i64::MAX, |bucket| bucket.0),
            )
        };
        let query = format!(
            "SELECT {key}, {}, {}, {} FROM ({} UNION ALL {}) AS both_kinds GROUP BY {key} ORDER BY {key}",
            halves("octets"),
            halves("packets"),
            halves("flows"),
            part("usage"),
            part("late_usage"),
        );
        let rows: Vec<TotalRow> =
            self.run("add up usage", |db| Ok(with_connection!(db, c => diesel::sql_query(query).load(c))?))?;
        rows.into_iter().map(TotalRow::into_total).collect()
    }
}

#[derive(QueryableByName)]
struct TotalRow {
    #[diesel(sql_type = BigInt)]
    customer: i64,
    #[diesel(sql_type = Integer)]
    link: i32,
    #[diesel(sql_type = Integer)]
    direction: i32,
    #[diesel(sql_type = BigInt)]
    rate_numerator: i64,
    #[diesel(sql_type = BigInt)]
    rate_denominator: i64,
    #[diesel(sql_type = Integer)]
    rate_source: i32,
    #[diesel(sql_type = BigInt)]
    octets_high: i64,
    #[diesel(sql_type = BigInt)]
    octets_low: i64,
    #[diesel(sql_type = BigInt)]
    packets_high: i64,
    #[diesel(sql_type = BigInt)]
    packets_low: i64,
    #[diesel(sql_type = BigInt)]
    flows_high: i64,
    #[diesel(sql_type = BigInt)]
    flows_low: i64,
}

impl TotalRow {
    fn into_total(self) -> Result<UsageTotal, Error> {
        let whole = |high: i64, low: i64| (i128::from(high) << 32) + i128::from(low);
        Ok(UsageTotal {
            customer: CustomerId(stored(self.customer, "a customer")?),
            link: LinkId(stored(self.link.into(), "a link")?),
            direction: direction(self.direction)?,
            rate: rate(self.rate_numerator, self.rate_denominator, self.rate_source)?,
            octets: whole(self.octets_high, self.octets_low),
            packets: whole(self.packets_high, self.packets_low),
            flows: whole(self.flows_high, self.flows_low),
        })
    }
}
