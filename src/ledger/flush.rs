//! Committing a flush: positions, usage and checkpoints in one transaction, or nothing of it.

use std::time::{Duration, Instant};

use diesel::connection::LoadConnection;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool};
use diesel::sqlite::Sqlite;
use diesel::upsert::excluded;

use super::Ledger;
use super::connection::Db;
use super::error::Error;
use super::records::{Advance, Checkpoint, CheckpointScope, ChunkChanges, Flush, Loss, Remembered};
use super::registers::{seal_source, storable, stored};
use super::schema;
use super::series::{Numbers, Row, Rows};
use crate::ids::{Position, SourceId};

/// Rows of one statement on SQLite. Half of what a row on its own costs is beginning and ending the statement.
const SQLITE_BATCH_ROWS: usize = 128;

/// A commit that the server may or may not have made: the connection broke before its answer came.
pub(super) struct InDoubt {
    /// The server's number of the transaction.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only a server can be asked"))]
    transaction: i64,
    /// What it would have committed.
    advances: Vec<Advance>,
}

impl InDoubt {
    /// A commit of `advances` by the server's transaction of this number.
    #[cfg(test)]
    pub(super) fn new(transaction: i64, advances: Vec<Advance>) -> Self {
        Self { transaction, advances }
    }
}

/// Moves the sources: only from where the flush says that they stand.
macro_rules! advance_sources {
    ($connection:expr, $advances:expr) => {
        for StoredAdvance { advance, from, to, totals } in $advances {
            use schema::source::dsl as s;
            use schema::source_total::dsl as t;
            let id = i64::from(advance.source.0);
            let [
                datagrams,
                malformed,
                duplicates,
                records,
                options_records,
                raw_octets,
                metered_records,
                metered_octets,
                metered_packets,
                expired_records,
                expired_octets,
                not_volume,
                duplicate_observations,
                duplicate_observation_octets,
                lost,
                expired_sets,
                expired_set_octets,
                second_flows,
            ] = *totals;
            let moved = diesel::update(s::source.filter(s::id.eq(id)).filter(s::position.eq(*from)))
                .set((
                    s::position.eq(*to),
                    s::complete.eq(s::complete.or(advance.complete.into_sql::<Bool>())),
                    s::flushes.eq(s::flushes + 1),
                    s::expired_sets.eq(s::expired_sets + expired_sets),
                    s::expired_set_octets.eq(saturating("expired_set_octets", expired_set_octets)),
                    s::second_flows.eq(s::second_flows + second_flows),
                ))
                .execute($connection)?;
            if moved != 1 {
                let found: Option<i64> =
                    s::source.filter(s::id.eq(id)).select(s::position).first($connection).optional()?;
                return Err(match found {
                    None => Error::UnknownSource(advance.source),
                    Some(found) => Error::Position {
                        source_id: advance.source,
                        expected: advance.from,
                        found: Position(stored(found, "a position")?),
                    },
                });
            }
            diesel::update(t::source_total.find(id))
                .set((
                    t::datagrams.eq(t::datagrams + datagrams),
                    t::malformed.eq(t::malformed + malformed),
                    t::duplicates.eq(t::duplicates + duplicates),
                    t::records.eq(t::records + records),
                    t::options_records.eq(t::options_records + options_records),
                    t::raw_octets.eq(saturating("raw_octets", raw_octets)),
                    t::metered_records.eq(t::metered_records + metered_records),
                    t::metered_octets.eq(saturating("metered_octets", metered_octets)),
                    t::metered_packets.eq(saturating("metered_packets", metered_packets)),
                    t::expired_records.eq(t::expired_records + expired_records),
                    t::expired_octets.eq(saturating("expired_octets", expired_octets)),
                    t::not_volume.eq(t::not_volume + not_volume),
                    t::duplicate_observations.eq(t::duplicate_observations + duplicate_observations),
                    t::duplicate_observation_octets
                        .eq(saturating("duplicate_observation_octets", duplicate_observation_octets)),
                    t::lost.eq(t::lost + lost),
                ))
                .execute($connection)?;
            seal_source!($connection, id);
        }
    };
}

/// Gives each series of the flush its number: the one it has, or a new one.
macro_rules! number_series {
    ($connection:expr, $rows:expr) => {
        for (series, number) in $rows.unknown() {
            use schema::usage_series::dsl as s;
            let stored: Option<i64> = s::usage_series
                .filter(s::link.eq(series.link))
                .filter(s::direction.eq(series.direction))
                .filter(s::class.eq(series.class))
                .filter(s::family.eq(series.family))
                .filter(s::exporter.eq(series.exporter))
                .filter(s::rate_numerator.eq(series.rate_numerator))
                .filter(s::rate_denominator.eq(series.rate_denominator))
                .filter(s::rate_source.eq(series.rate_source))
                .select(s::id)
                .first($connection)
                .optional()?;
            *number = Some(match stored {
                Some(stored) => stored,
                None => diesel::insert_into(s::usage_series)
                    .values((
                        s::link.eq(series.link),
                        s::direction.eq(series.direction),
                        s::class.eq(series.class),
                        s::family.eq(series.family),
                        s::exporter.eq(series.exporter),
                        s::rate_numerator.eq(series.rate_numerator),
                        s::rate_denominator.eq(series.rate_denominator),
                        s::rate_source.eq(series.rate_source),
                    ))
                    .returning(s::id)
                    .get_result($connection)?,
            });
        }
    };
}

pub(super) use number_series;

/// Adds what came and what was lost of exporters to their days.
macro_rules! put_losses {
    ($connection:expr, $losses:expr) => {
        for Loss { exporter, day, records, lost } in $losses {
            use schema::exporter_loss::dsl as l;
            let records = i64::try_from(*records).unwrap_or(i64::MAX);
            diesel::insert_into(l::exporter_loss)
                .values((l::exporter.eq(exporter), l::day.eq(day), l::records.eq(records), l::lost.eq(lost)))
                .on_conflict((l::exporter, l::day))
                .do_update()
                .set((
                    l::records.eq(l::records + excluded(l::records)),
                    l::lost.eq(l::lost + excluded(l::lost)),
                ))
                .execute($connection)?;
        }
    };
}

/// Replaces checkpoints, and those chunks of theirs that changed.
macro_rules! put_checkpoints {
    ($connection:expr, $checkpoints:expr) => {
        for Checkpoint { scope, exporter, remembered } in $checkpoints {
            use schema::checkpoint::dsl as k;
            use schema::hold_chunk::dsl as h;
            let scope = scope.stored();
            diesel::insert_into(k::checkpoint)
                .values((k::scope.eq(scope), k::exporter.eq(exporter), k::state.eq(&remembered.state)))
                .on_conflict((k::scope, k::exporter))
                .do_update()
                .set(k::state.eq(excluded(k::state)))
                .execute($connection)?;
            let ChunkChanges { whole, first, removed, written } = &remembered.chunks;
            let own = || h::hold_chunk.filter(h::scope.eq(scope)).filter(h::exporter.eq(exporter));
            if *whole {
                diesel::delete(own()).execute($connection)?;
            } else if let Some(first) = first {
                diesel::delete(own().filter(h::number.lt(chunk_number(*first)?))).execute($connection)?;
            }
            for number in removed {
                diesel::delete(own().filter(h::number.eq(chunk_number(*number)?))).execute($connection)?;
            }
            for (number, records) in written {
                diesel::insert_into(h::hold_chunk)
                    .values((
                        h::scope.eq(scope),
                        h::exporter.eq(exporter),
                        h::number.eq(chunk_number(*number)?),
                        h::records.eq(records),
                    ))
                    .on_conflict((h::scope, h::exporter, h::number))
                    .do_update()
                    .set(h::records.eq(excluded(h::records)))
                    .execute($connection)?;
            }
        }
    };
}

/// Up to which bucket which customer's usage is closed, where that concerns any of these rows. It is read inside the
/// flush's transaction, so that no closing can come between.
macro_rules! closed {
    ($connection:expr, $rows:expr) => {{
        use schema::closed::dsl as d;
        let newest: QueryResult<Option<i64>> =
            d::closed.select(diesel::dsl::max(d::until)).first($connection);
        match (newest, $rows.first_bucket()) {
            (Ok(Some(newest)), Some(first)) if first < newest => {
                d::closed.select((d::customer, d::until)).load::<(i64, i64)>($connection)
            }
            (Ok(_), _) => Ok(Vec::new()),
            (Err(error), _) => Err(error),
        }
    }};
}

impl Ledger {
    /// Commits `flush`: moves each source from where it stands, adds the totals, adds the usage to the rows that are
    /// there, replaces the checkpoints. In one transaction; after an error nothing of it is there.
    ///
    /// After a transient error the same flush can be tried again. That holds also where the connection to a server
    /// broke during the commit: the server is asked what became of it, and a flush that arrived is not added twice.
    ///
    /// # Errors
    /// [`Error::Position`] where the ledger does not stand where the flush begins, [`Error::Unbalanced`] where its
    /// usage is not what its totals say, [`Error::Range`] and [`Error::Unsorted`] where it cannot be stored as it is.
    /// A sum that does not fit into 63 bits is refused by the database; only sums of squares stop there.
    pub fn commit_flush(&mut self, flush: &Flush) -> Result<(), Error> {
        // A lost connection is replaced before anything is taken from memory: numbers of series are those of the ledger
        // that was connected to, and a server that took over need not have all of them.
        self.run("be reached", |_| Ok(()))?;
        let mut usage = checked_usage(flush, &self.series)?;
        let advances = flush.advances.iter().map(StoredAdvance::new).collect::<Result<Vec<_>, _>>()?;
        if self.arrived_before(flush)? {
            return Ok(());
        }
        #[cfg_attr(
            not(feature = "postgres"),
            expect(unused_mut, reason = "only a server has numbers for them")
        )]
        let mut transaction: Option<i64> = None;
        let asked = Instant::now();
        let mut begun: Option<Duration> = None;
        let result = self.run("commit a flush", |db| match db {
            #[cfg(feature = "postgres")]
            Db::Postgres(connection) => super::connection::postgres_transaction(connection, |c| {
                begun = Some(asked.elapsed());
                transaction = Some(diesel::select(txid_current()).get_result::<i64>(c)?);
                advance_sources!(c, &advances);
                number_series!(c, usage);
                let closed = closed!(c, usage)?;
                let mut late = Vec::new();
                usage.for_each_piece(|rows| {
                    let rows = super::late::split(&closed, rows, &mut late);
                    if rows.is_empty() { Ok(()) } else { upsert_postgres(c, &rows) }
                })?;
                for statement in super::late::upserts(&late) {
                    diesel::sql_query(statement).execute(c)?;
                }
                put_checkpoints!(c, &flush.checkpoints);
                put_losses!(c, &flush.losses);
                Ok(())
            }),
            Db::Sqlite(connection) => super::connection::sqlite_transaction(connection, |c| {
                begun = Some(asked.elapsed());
                advance_sources!(c, &advances);
                number_series!(c, usage);
                let closed = closed!(c, usage)?;
                let mut late = Vec::new();
                usage
                    .for_each_piece(|rows| upsert_sqlite(c, &super::late::split(&closed, rows, &mut late)))?;
                for statement in super::late::upserts(&late) {
                    diesel::sql_query(statement).execute(c)?;
                }
                put_checkpoints!(c, &flush.checkpoints);
                put_losses!(c, &flush.losses);
                Ok(())
            }),
        });
        self.lock_wait = begun.unwrap_or_else(|| asked.elapsed());
        if result.is_err() && self.lost {
            self.in_doubt =
                transaction.map(|transaction| InDoubt { transaction, advances: flush.advances.clone() });
        }
        if result.is_ok() {
            self.series.remember(&usage);
        }
        result
    }

    /// True where the last commit, whose answer was lost, was this flush and did arrive.
    fn arrived_before(&mut self, flush: &Flush) -> Result<bool, Error> {
        let Some(doubt) = self.in_doubt.take_if(|doubt| doubt.advances == flush.advances) else {
            return Ok(false);
        };
        let status: Result<Option<String>, Error> =
            self.run("learn what became of a commit", |db| match db {
                #[cfg(feature = "postgres")]
                Db::Postgres(c) => {
                    Ok(diesel::select(txid_status(doubt.transaction)).get_result::<Option<String>>(c)?)
                }
                Db::Sqlite(_) => Ok(None),
            });
        match status {
            Ok(Some(status)) if status == "committed" => Ok(true),
            // The server has not noticed yet that nobody listens; it will not be for long.
            Ok(Some(status)) if status == "in progress" => {
                self.in_doubt = Some(doubt);
                Err(Error::InProgress)
            }
            Ok(_) => Ok(false),
            Err(error) => {
                self.in_doubt = Some(doubt);
                Err(error)
            }
        }
    }

    /// The checkpoints of a scope, by exporter; each whole.
    ///
    /// # Errors
    /// What the database says.
    pub fn checkpoints(&mut self, scope: CheckpointScope) -> Result<Vec<Checkpoint>, Error> {
        use schema::{checkpoint, hold_chunk};
        type States = Vec<(String, Vec<u8>)>;
        type Chunks = Vec<(String, i64, Vec<u8>)>;
        let of = scope.stored();
        // Whoever reads checkpoints is the one who writes them, so nothing changes between the two. (Where it did, the
        // chunks would not be those that the state tells of, which is an error for the reader.)
        let (states, chunks): (States, Chunks) = self.run("read checkpoints", |db| {
            super::connection::with_connection!(db, c => {
                let states = checkpoint::table
                    .filter(checkpoint::scope.eq(of))
                    .order(checkpoint::exporter)
                    .select((checkpoint::exporter, checkpoint::state))
                    .load(c)?;
                let chunks = hold_chunk::table
                    .filter(hold_chunk::scope.eq(of))
                    .order((hold_chunk::exporter, hold_chunk::number))
                    .select((hold_chunk::exporter, hold_chunk::number, hold_chunk::records))
                    .load(c)?;
                Ok((states, chunks))
            })
        })?;
        let mut chunks = chunks.into_iter().peekable();
        states
            .into_iter()
            .map(|(exporter, state)| {
                // Chunks without a state belong to nobody: somebody deleted it by hand, without the schema's guards.
                while chunks.next_if(|(of, _, _)| *of < exporter).is_some() {}
                let mut written = Vec::new();
                while let Some((_, number, records)) = chunks.next_if(|(of, _, _)| *of == exporter) {
                    written.push((stored(number, "the number of a chunk")?, records));
                }
                let chunks = ChunkChanges { whole: true, written, ..ChunkChanges::default() };
                Ok(Checkpoint { scope, exporter, remembered: Remembered { state, chunks } })
            })
            .collect()
    }
}

impl Ledger {
    /// The states of all checkpoints of all scopes, by scope and exporter; without the records that wait beside them.
    ///
    /// # Errors
    /// What the database says; [`Error::Damaged`] where a scope is none.
    pub fn checkpoint_states(&mut self) -> Result<Vec<(CheckpointScope, String, Vec<u8>)>, Error> {
        use schema::checkpoint::dsl as k;
        let rows: Vec<(i64, String, Vec<u8>)> = self.run("read checkpoints", |db| {
            Ok(super::connection::with_connection!(db, c => k::checkpoint
                .order((k::scope, k::exporter))
                .select((k::scope, k::exporter, k::state))
                .load(c))?)
        })?;
        rows.into_iter()
            .map(|(scope, exporter, state)| Ok((CheckpointScope::from_stored(scope)?, exporter, state)))
            .collect()
    }
}

fn chunk_number(number: u64) -> Result<i64, Error> {
    storable(number, "the number of a chunk of more than 63 bits")
}

impl CheckpointScope {
    /// As stored: 0, or the source's number (which begins at 1).
    fn stored(self) -> i64 {
        match self {
            Self::Capture(source) => i64::from(source.0),
            Self::Live => 0,
        }
    }

    fn from_stored(scope: i64) -> Result<Self, Error> {
        match scope {
            0 => Ok(Self::Live),
            source => Ok(Self::Capture(SourceId(stored(source, "a checkpoint's source")?))),
        }
    }
}

/// The rows as they are stored, once it is certain that they are what the totals say.
fn checked_usage<'a>(flush: &'a Flush, known: &Numbers) -> Result<Rows<'a>, Error> {
    let rows = Rows::new(&flush.usage, known)?;
    let (octets, packets) = (rows.octets(), rows.packets());
    let stated_octets = flush.advances.iter().map(|a| u128::from(a.totals.metered_octets)).sum();
    let stated_packets = flush.advances.iter().map(|a| u128::from(a.totals.metered_packets)).sum();
    // Totals stop at 63 bits, so beyond them there is nothing to compare.
    let bounded = |sum: u128| sum.min(i64::MAX.unsigned_abs().into());
    if (bounded(octets), bounded(packets)) != (bounded(stated_octets), bounded(stated_packets)) {
        return Err(Error::Unbalanced { octets, packets, stated_octets, stated_packets });
    }
    Ok(rows)
}

/// An advance in the types of the database.
struct StoredAdvance<'a> {
    advance: &'a Advance,
    from: i64,
    to: i64,
    totals: [i64; 18],
}

impl<'a> StoredAdvance<'a> {
    fn new(advance: &'a Advance) -> Result<Self, Error> {
        if advance.to < advance.from {
            return Err(Error::Range("a flush that moves backward"));
        }
        let t = &advance.totals;
        let stored = |number| i64::try_from(number).unwrap_or(i64::MAX);
        let totals = [
            stored(t.datagrams),
            stored(t.malformed),
            stored(t.duplicates),
            stored(t.records),
            stored(t.options_records),
            stored(t.raw_octets),
            stored(t.metered_records),
            stored(t.metered_octets),
            stored(t.metered_packets),
            stored(t.expired_records),
            stored(t.expired_octets),
            stored(t.not_volume),
            stored(t.duplicate_observations),
            stored(t.duplicate_observation_octets),
            t.lost,
            stored(t.expired_sets),
            stored(t.expired_set_octets),
            stored(t.second_flows),
        ];
        let position = |position: Position| storable(position.0, "a position of more than 63 bits");
        Ok(Self { advance, from: position(advance.from)?, to: position(advance.to)?, totals })
    }
}

diesel::define_sql_function! {
    /// The number of this transaction.
    fn txid_current() -> BigInt;
}
diesel::define_sql_function! {
    /// What became of a transaction.
    fn txid_status(transaction: BigInt) -> Nullable<Text>;
}

const INSERT: &str = "INSERT INTO usage_row \
    (bucket, customer, series, octets, packets, flows, squares_low, squares_high) ";

/// A total that stops at the end of its range. Only an exporter that lies gets there; a flush that could not be
/// committed for it would stop everybody's accounting.
fn saturating(column: &str, more: i64) -> diesel::expression::SqlLiteral<BigInt> {
    let most = i64::MAX;
    diesel::dsl::sql(&format!("CASE WHEN {column} > {most} - {more} THEN {most} ELSE {column} + {more} END"))
}

/// Sums add up, and stop at the end of their range: only an exporter that lies gets there, and it must not be able to
/// stop the accounting of others (SQLite would store a float, which a STRICT table refuses).
/// Sums of squares stop at the end of their range, as they do in the meter.
const ACCUMULATE: &str = " ON CONFLICT (bucket, customer, series) DO UPDATE SET \
    octets = CASE WHEN usage_row.octets > 9223372036854775807 - excluded.octets \
        THEN 9223372036854775807 ELSE usage_row.octets + excluded.octets END, \
    packets = CASE WHEN usage_row.packets > 9223372036854775807 - excluded.packets \
        THEN 9223372036854775807 ELSE usage_row.packets + excluded.packets END, \
    flows = usage_row.flows + excluded.flows, \
    squares_low = CASE WHEN usage_row.squares_low > 9223372036854775807 - excluded.squares_low \
        THEN 9223372036854775807 ELSE usage_row.squares_low + excluded.squares_low END, \
    squares_high = CASE WHEN usage_row.squares_high > 9223372036854775807 - excluded.squares_high \
        THEN 9223372036854775807 ELSE usage_row.squares_high + excluded.squares_high END";

/// The upsert of many rows on SQLite.
fn upsert_sqlite(connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), Error> {
    for rows in rows.chunk_by(|a, b| a.bucket() == b.bucket()) {
        let (batches, rest) = rows.as_chunks::<SQLITE_BATCH_ROWS>();
        for batch in batches {
            if batch.iter().any(Row::has_squares) {
                UpsertUsage::<_, true>(batch).execute(connection)?;
            } else {
                UpsertUsage::<_, false>(batch).execute(connection)?;
            }
        }
        for row in rest {
            UpsertUsage::<_, true>(core::array::from_ref(row)).execute(connection)?;
        }
    }
    Ok(())
}

/// The upsert of `N` rows of one bucket on SQLite, whose squares are 0 where not `SQUARES`: each number that is bound
/// costs as much as storing it. A query type of its own, because diesel prepares `sql_query` anew each time, while a
/// query with a static id is prepared once a connection: what the text depends on is part of the type.
struct UpsertUsage<'a, const N: usize, const SQUARES: bool>(&'a [Row; N]);

impl<const N: usize, const SQUARES: bool> QueryId for UpsertUsage<'_, N, SQUARES> {
    type QueryId = UpsertUsage<'static, N, SQUARES>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const N: usize, const SQUARES: bool> QueryFragment<Sqlite> for UpsertUsage<'_, N, SQUARES> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(INSERT);
        for (at, Row([bucket, others @ .., low, high])) in self.0.iter().enumerate() {
            if at == 0 {
                out.push_sql("VALUES (");
                out.push_bind_param::<BigInt, _>(bucket)?;
            } else {
                out.push_sql("), (?1");
            }
            for number in others {
                out.push_sql(", ");
                out.push_bind_param::<BigInt, _>(number)?;
            }
            if SQUARES {
                out.push_sql(", ");
                out.push_bind_param::<BigInt, _>(low)?;
                out.push_sql(", ");
                out.push_bind_param::<BigInt, _>(high)?;
            } else {
                out.push_sql(", 0, 0");
            }
        }
        out.push_sql(")");
        out.push_sql(ACCUMULATE);
        Ok(())
    }
}

impl<C: LoadConnection<Backend = Sqlite>, const N: usize, const SQUARES: bool> RunQueryDsl<C>
    for UpsertUsage<'_, N, SQUARES>
{
}

/// The upsert of many rows on PostgreSQL: one array a column.
#[cfg(feature = "postgres")]
fn upsert_postgres(connection: &mut PgConnection, rows: &[Row]) -> Result<(), Error> {
    use diesel::sql_types::Array;
    let column = |number: usize| rows.iter().map(|Row(columns)| columns[number]).collect::<Vec<i64>>();
    diesel::sql_query(format!("{INSERT} SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8){ACCUMULATE}"))
        .bind::<Array<BigInt>, _>(column(0))
        .bind::<Array<BigInt>, _>(column(1))
        .bind::<Array<BigInt>, _>(column(2))
        .bind::<Array<BigInt>, _>(column(3))
        .bind::<Array<BigInt>, _>(column(4))
        .bind::<Array<BigInt>, _>(column(5))
        .bind::<Array<BigInt>, _>(column(6))
        .bind::<Array<BigInt>, _>(column(7))
        .execute(connection)?;
    Ok(())
}
