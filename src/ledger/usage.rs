//! Reading usage: row by row in the order of its key, or summed.

use diesel::connection::DefaultLoadingMode;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::Ledger;
use super::connection::{Db, with_connection};
use super::error::Error;
use super::records::UsageFilter;
use super::records::corrections::Difference;
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

/// A row of the view `late_usage`, but for what it is carried into.
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
                family: family(self.family)?,
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

fn family(number: i32) -> Result<Family, Error> {
    u8::try_from(number)
        .ok()
        .and_then(Family::from_u8)
        .ok_or_else(|| Error::Damaged(format!("a family is {number}")))
}

fn rate(numerator: i64, denominator: i64, source: i32) -> Result<SamplingRate, Error> {
    rate_from_stored(numerator, denominator, source.into())
        .ok_or_else(|| Error::Damaged(format!("a sampling rate is {numerator}/{denominator} from {source}")))
}

/// A row of `usage_row`: bucket, customer, series, octets, packets, flows, and the squares' bounds.
type Row = (i64, i64, i64, i64, i64, i64, i64, i64);
/// The same in the types of SQL.
type RowSql = (BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt);

/// The columns in the order of [`Row`].
const COLUMNS: &str = "usage_row.bucket, usage_row.customer, usage_row.series, usage_row.octets, usage_row.packets, \
    usage_row.flows, usage_row.squares_low, usage_row.squares_high";

/// The order in which rows are stored.
const ORDER: &str = "usage_row.bucket, usage_row.customer, usage_row.series";

/// What the rows of each series have in common. Looked up here and not joined: a month of many customers is a hundred million
/// rows of a few hundred series.
pub(super) struct SeriesKeys(HashMap<i64, UsageKey, FixedState>);

/// A stored series.
pub(super) type SeriesRow = (i64, i32, i32, i32, i32, i32, i64, i64, i32);

impl SeriesKeys {
    pub(super) fn new(rows: Vec<SeriesRow>) -> Result<Self, Error> {
        let key =
            |(id, link, towards, class, family, exporter, numerator, denominator, source): SeriesRow| {
                let key = UsageKey {
                    bucket: BucketStart(0),
                    customer: CustomerId(0),
                    link: LinkId(stored(link.into(), "a link")?),
                    direction: direction(towards)?,
                    class: ClassId(stored(class.into(), "a class")?),
                    family: self::family(family)?,
                    exporter: ExporterId(stored(exporter.into(), "an exporter")?),
                    rate: rate(numerator, denominator, source)?,
                };
                Ok((id, key))
            };
        rows.into_iter().map(key).collect::<Result<_, Error>>().map(Self)
    }

    /// The key of a row, by bucket, customer and series.
    pub(super) fn key(&self, (bucket, customer, series): (i64, i64, i64)) -> Result<UsageKey, Error> {
        let key =
            self.0.get(&series).ok_or_else(|| Error::Damaged(format!("there is no series {series}")))?;
        let customer = CustomerId(stored(customer, "a customer")?);
        Ok(UsageKey { bucket: BucketStart(bucket), customer, ..*key })
    }

    fn row(
        &self,
        (bucket, customer, series, octets, packets, flows, low, high): Row,
    ) -> Result<UsageRow, Error> {
        let sum = |number| stored::<u64>(number, "a sum of usage");
        Ok(UsageRow {
            key: self.key((bucket, customer, series))?,
            sums: UsageSums {
                octets: sum(octets)?,
                packets: sum(packets)?,
                flows: sum(flows)?,
                squares_low: sum(low)?,
                squares_high: sum(high)?,
            },
        })
    }
}

/// All series.
macro_rules! series_keys {
    ($connection:expr) => {{
        use schema::usage_series::dsl as s;
        let columns = (
            s::id,
            s::link,
            s::direction,
            s::class,
            s::family,
            s::exporter,
            s::rate_numerator,
            s::rate_denominator,
            s::rate_source,
        );
        SeriesKeys::new(s::usage_series.select(columns).load::<SeriesRow>($connection)?)
    }};
}

pub(super) use series_keys;

/// Which rows are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    /// Usage as it was metered.
    Metered,
    /// Usage as it was metered and its corrections, one beside the other.
    Corrected,
}

/// The rows of a filter, by bucket and customer.
///
/// A customer's rows are scattered over all buckets. An index by customer would make every flush slower; instead the
/// query goes from one bucket that there is to the next and looks the customer up in each. Corrections come from an index in
/// the same order, so that the database merges the two and sorts nothing.
fn usage_query(filter: &UsageFilter, reading: Reading) -> String {
    let UsageFilter { from, to, customer } = *filter;
    let from = from.map_or(i64::MIN + 1, |bucket| bucket.0);
    let to = to.map_or(i64::MAX, |bucket| bucket.0);
    let metered = match customer {
        None => format!(
            "SELECT {COLUMNS} FROM usage_row WHERE usage_row.bucket >= {from} AND usage_row.bucket < {to}"
        ),
        Some(customer) => format!(
            "WITH RECURSIVE present(bucket) AS ( \
                 SELECT min(usage_row.bucket) FROM usage_row \
                 WHERE usage_row.bucket >= {from} AND usage_row.bucket < {to} \
                 UNION ALL \
                 SELECT (SELECT min(usage_row.bucket) FROM usage_row \
                         WHERE usage_row.bucket > present.bucket AND usage_row.bucket < {to}) \
                 FROM present WHERE present.bucket IS NOT NULL) \
             SELECT {COLUMNS} FROM present CROSS JOIN usage_row \
             WHERE usage_row.bucket = present.bucket AND usage_row.customer = {customer}",
            customer = customer.0
        ),
    };
    if reading == Reading::Metered {
        return format!("{metered} ORDER BY {ORDER}");
    }
    let of = customer.map_or_else(String::new, |customer| format!("AND customer = {} ", customer.0));
    format!(
        "{metered} UNION ALL SELECT bucket, customer, series, octets, packets, flows, squares_low, squares_high \
         FROM correction_row WHERE bucket >= {from} AND bucket < {to} AND carried = 0 {of}ORDER BY 1, 2, 3"
    )
}

/// True where something of a filter's buckets was corrected.
fn is_corrected(filter: &UsageFilter) -> String {
    let from = filter.from.map_or(i64::MIN + 1, |bucket| bucket.0);
    let to = filter.to.map_or(i64::MAX, |bucket| bucket.0);
    format!("EXISTS (SELECT 1 FROM correction_row WHERE bucket >= {from} AND bucket < {to} AND carried = 0)")
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

/// Puts rows and what corrections add to them together, and into the order of their keys. What comes to nothing is left out.
struct Together<'a> {
    /// Of one customer in one bucket.
    waiting: Vec<(UsageKey, Difference)>,
    visit: &'a mut dyn FnMut(UsageRow),
}

impl Together<'_> {
    fn push(&mut self, keys: &SeriesKeys, row: Row) -> Result<(), Error> {
        let (bucket, customer, series, octets, packets, flows, low, high) = row;
        let key = keys.key((bucket, customer, series))?;
        let of = |key: &UsageKey| (key.bucket, key.customer);
        if self.waiting.last().is_some_and(|(last, _)| of(last) != of(&key)) {
            self.pass_on()?;
        }
        self.waiting.push((key, Difference([octets, packets, flows, low, high].map(i128::from))));
        Ok(())
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        self.waiting.sort_unstable_by_key(|(key, _)| *key);
        for parts in self.waiting.chunk_by(|(a, _), (b, _)| a == b) {
            let mut all = Difference::default();
            parts.iter().for_each(|(_, part)| all.add(part));
            if !all.is_zero() {
                let sums =
                    all.sums().ok_or_else(|| Error::Damaged("usage of less than nothing".to_owned()))?;
                (self.visit)(UsageRow { key: parts[0].0, sums });
            }
        }
        self.waiting.clear();
        Ok(())
    }
}

/// Reads usage on a connection.
macro_rules! read_usage {
    ($connection:expr, $mode:ty, $filter:expr, $reading:expr, $visit:expr) => {{
        let series = series_keys!($connection)?;
        let is_corrected = $reading == Reading::Corrected
            && diesel::select(sql::<Bool>(&is_corrected($filter))).get_result::<bool>($connection)?;
        let reading = if is_corrected { Reading::Corrected } else { Reading::Metered };
        let query = sql::<RowSql>(&usage_query($filter, reading));
        if is_corrected {
            let mut rows = Together { waiting: Vec::new(), visit: $visit };
            for row in query.load_iter::<Row, $mode>($connection)? {
                rows.push(&series, row?)?;
            }
            rows.pass_on()
        } else {
            let mut rows = InOrder { waiting: Vec::new(), visit: $visit };
            for row in query.load_iter::<Row, $mode>($connection)? {
                rows.push(series.row(row?)?);
            }
            rows.pass_on();
            Ok(())
        }
    }};
}

impl Ledger {
    /// Shows `visit` every usage row of `filter`, with its corrections, in the order of the key, as of one moment. Rows are
    /// read as they are visited: memory does not grow with their number. The exporter in a key is the ledger's number.
    ///
    /// # Errors
    /// What the database says; `visit` may have seen rows before.
    pub fn for_each_usage(
        &mut self,
        filter: &UsageFilter,
        visit: &mut dyn FnMut(UsageRow),
    ) -> Result<(), Error> {
        self.read_usage(filter, Reading::Corrected, visit)
    }

    /// The same as it was metered: without corrections.
    ///
    /// # Errors
    /// As [`Ledger::for_each_usage`].
    pub(super) fn for_each_usage_as_metered(
        &mut self,
        filter: &UsageFilter,
        visit: &mut dyn FnMut(UsageRow),
    ) -> Result<(), Error> {
        self.read_usage(filter, Reading::Metered, visit)
    }

    fn read_usage(
        &mut self,
        filter: &UsageFilter,
        reading: Reading,
        visit: &mut dyn FnMut(UsageRow),
    ) -> Result<(), Error> {
        self.run("read usage", |db| match db {
            #[cfg(feature = "postgres")]
            Db::Postgres(c) => super::connection::postgres_snapshot(c, |c| {
                read_usage!(c, diesel::pg::PgRowByRowLoadingMode, filter, reading, visit)
            }),
            Db::Sqlite(c) => super::connection::sqlite_snapshot(c, |c| {
                read_usage!(c, DefaultLoadingMode, filter, reading, visit)
            }),
        })
    }

    /// Raw sums of the buckets in `[from, to)` (all of them, where left out), of usage in time and late with its
    /// corrections, by customer, link, direction and sampling
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
            "SELECT {key}, {}, {}, {} FROM ({} UNION ALL {} UNION ALL {}) AS all_kinds GROUP BY {key} ORDER BY {key}",
            halves("octets"),
            halves("packets"),
            halves("flows"),
            part("usage"),
            part("late_usage"),
            part("usage_correction"),
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
