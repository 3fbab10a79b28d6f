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
use super::registers::{storable, stored};
use super::schema;
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::units::SamplingRate;
use crate::usage::{BUCKET_SECONDS, BucketStart, UsageKey, UsageRow, UsageSums, rate_from_stored};

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

/// A row of `usage`.
#[derive(Clone, Copy, Queryable)]
pub(super) struct StoredUsage {
    pub(super) bucket: i64,
    pub(super) customer: i64,
    pub(super) link: i32,
    pub(super) direction: i32,
    pub(super) class: i32,
    pub(super) family: i32,
    pub(super) exporter: i32,
    pub(super) rate_numerator: i64,
    pub(super) rate_denominator: i64,
    pub(super) rate_source: i32,
    pub(super) octets: i64,
    pub(super) packets: i64,
    pub(super) flows: i64,
    pub(super) squares_low: i64,
    pub(super) squares_high: i64,
}

impl StoredUsage {
    /// The row as it is stored.
    pub(super) fn new(row: &UsageRow) -> Result<Self, Error> {
        let UsageRow { key, sums } = row;
        // Months are found by their buckets; one that is between two would belong to none.
        if key.bucket.0.rem_euclid(BUCKET_SECONDS) != 0 {
            return Err(Error::Range("a bucket that does not begin at a multiple of 300 seconds"));
        }
        let square = |sum: u64| i64::try_from(sum).unwrap_or(i64::MAX);
        Ok(Self {
            bucket: key.bucket.0,
            customer: i64::from(key.customer.0),
            link: i32::from(key.link.0),
            direction: key.direction as i32,
            class: i32::from(key.class.0),
            family: key.family as i32,
            exporter: i32::from(key.exporter.0),
            rate_numerator: i64::from(key.rate.numerator()),
            rate_denominator: i64::from(key.rate.denominator()),
            rate_source: key.rate.source() as i32,
            octets: storable(sums.octets, "octets of more than 63 bits")?,
            packets: storable(sums.packets, "packets of more than 63 bits")?,
            flows: storable(sums.flows, "flows of more than 63 bits")?,
            squares_low: square(sums.squares_low),
            squares_high: square(sums.squares_high),
        })
    }

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

/// The columns in the order of [`StoredUsage`], and of the key.
const COLUMNS: &str = "usage.bucket, usage.customer, usage.link, usage.direction, usage.class, usage.family, \
    usage.exporter, usage.rate_numerator, usage.rate_denominator, usage.rate_source";

/// The rows of a filter, in the order of the key.
///
/// A customer's rows are scattered over all buckets. An index by customer would make every flush slower; instead the
/// query goes from one bucket that there is to the next and looks the customer up in each.
fn usage_query(filter: &UsageFilter) -> String {
    let UsageFilter { from, to, customer } = *filter;
    let from = from.map_or(i64::MIN + 1, |bucket| bucket.0);
    let to = to.map_or(i64::MAX, |bucket| bucket.0);
    let sums = "usage.octets, usage.packets, usage.flows, usage.squares_low, usage.squares_high";
    match customer {
        None => format!(
            "SELECT {COLUMNS}, {sums} FROM usage WHERE usage.bucket >= {from} AND usage.bucket < {to} ORDER BY {COLUMNS}"
        ),
        Some(customer) => format!(
            "WITH RECURSIVE present(bucket) AS ( \
                 SELECT min(usage.bucket) FROM usage WHERE usage.bucket >= {from} AND usage.bucket < {to} \
                 UNION ALL \
                 SELECT (SELECT min(usage.bucket) FROM usage \
                         WHERE usage.bucket > present.bucket AND usage.bucket < {to}) \
                 FROM present WHERE present.bucket IS NOT NULL) \
             SELECT {COLUMNS}, {sums} FROM present CROSS JOIN usage \
             WHERE usage.bucket = present.bucket AND usage.customer = {customer} ORDER BY {COLUMNS}",
            customer = customer.0
        ),
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
            match db {
                #[cfg(feature = "postgres")]
                Db::Postgres(c) => {
                    for row in query.load_iter::<StoredUsage, diesel::pg::PgRowByRowLoadingMode>(c)? {
                        visit(row?.into_row()?);
                    }
                }
                Db::Sqlite(c) => {
                    for row in query.load_iter::<StoredUsage, DefaultLoadingMode>(c)? {
                        visit(row?.into_row()?);
                    }
                }
            }
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
