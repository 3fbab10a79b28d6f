//! Every test runs on both dialects: SQLite always, PostgreSQL where `FLUXOSCOPE_TEST_POSTGRES` names a server on which
//! databases may be made (`postgres://user@host:port/postgres`). Each has a database of its own.

mod attacks;
mod books;
mod corrections;
mod documents;
mod flush;
mod interfaces;
mod opening;
mod registers;
mod usage;

use core::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::connection::with_connection;
use super::records::*;
use super::*;
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId, Position, SourceId};
use crate::units::{RateSource, SamplingRate};
use crate::usage::{BucketStart, UsageKey, UsageRow, UsageSums};

/// A place for one ledger, gone when dropped.
pub(super) struct Place {
    pub(super) url: Url,
    directory: Option<tempfile::TempDir>,
    server: Option<(String, String)>,
}

impl Place {
    fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = Url::parse("sqlite:ledger.sqlite", directory.path()).unwrap();
        Self { url, directory: Some(directory), server: None }
    }

    #[cfg(feature = "postgres")]
    fn postgres(server: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fluxoscope_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection =
            PgConnection::establish(server).expect("FLUXOSCOPE_TEST_POSTGRES is a server's URL");
        connection
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"))
            .unwrap();
        let (base, query) = server.split_once('?').map_or((server, ""), |(base, query)| (base, query));
        let (host, _) = base.rsplit_once('/').expect("the server's URL names a database");
        let url = format!("{host}/{name}{}{query}", if query.is_empty() { "" } else { "?" });
        Self {
            url: Url::parse(&url, Path::new("/")).unwrap(),
            directory: None,
            server: Some((server.to_owned(), name)),
        }
    }

    fn is_sqlite(&self) -> bool {
        self.directory.is_some()
    }

    fn open(&self) -> Ledger {
        Ledger::open(&self.url).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        #[cfg(feature = "postgres")]
        if let Some((server, name)) = &self.server
            && let Ok(mut connection) = PgConnection::establish(server)
        {
            let _ = connection.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// Runs `test` on a new place of each dialect.
#[expect(clippy::disallowed_methods, reason = "only the environment can say where a server is")]
fn on_each(test: impl Fn(&Place)) {
    test(&Place::sqlite());
    #[cfg(feature = "postgres")]
    if let Ok(server) = std::env::var("FLUXOSCOPE_TEST_POSTGRES") {
        test(&Place::postgres(&server));
    }
}

/// Runs SQL behind the ledger's back.
fn sql(ledger: &mut Ledger, statement: &str) -> Result<(), String> {
    with_connection!(&mut ledger.db, c => c.batch_execute(statement)).map_err(|error| error.to_string())
}

/// Makes waiting for a lock short.
fn impatient(ledger: &mut Ledger) {
    let statement =
        if ledger.path().is_some() { "PRAGMA busy_timeout = 20" } else { "SET lock_timeout = 20" };
    sql(ledger, statement).unwrap();
}

/// A key that differs from others in its bucket and customer.
fn key(bucket: i64, customer: u32) -> UsageKey {
    UsageKey {
        bucket: BucketStart(bucket * 300),
        customer: CustomerId(customer),
        link: LinkId(1),
        direction: Direction::In,
        class: ClassId::DEFAULT,
        family: Family::V4,
        exporter: ExporterId(1),
        rate: SamplingRate::new(1000, 1, RateSource::Sampler).unwrap(),
    }
}

/// A row of so many octets, a packet for each hundred of them, and one flow.
fn row(bucket: i64, customer: u32, octets: u64) -> UsageRow {
    let sums = UsageSums {
        octets,
        packets: octets / 100,
        flows: 1,
        squares_low: octets * 2,
        squares_high: octets * 3,
    };
    UsageRow { key: key(bucket, customer), sums }
}

/// A flush of `usage` that moves `source` and states what is right.
fn flush(source: SourceId, from: u64, to: u64, usage: &[UsageRow]) -> Flush {
    let totals = FlushTotals {
        datagrams: 1,
        records: usage.len() as u64,
        metered_records: usage.len() as u64,
        metered_octets: usage.iter().map(|row| row.sums.octets).sum(),
        metered_packets: usage.iter().map(|row| row.sums.packets).sum(),
        ..FlushTotals::default()
    };
    let advance = Advance { source, from: Position(from), to: Position(to), complete: false, totals };
    Flush {
        advances: vec![advance],
        usage: usage.to_vec().into(),
        checkpoints: Vec::new(),
        losses: Vec::new(),
    }
}

fn all_usage(ledger: &mut Ledger) -> Vec<UsageRow> {
    usage_of(ledger, &UsageFilter::default())
}

fn usage_of(ledger: &mut Ledger, filter: &UsageFilter) -> Vec<UsageRow> {
    let mut rows = Vec::new();
    ledger.for_each_usage(filter, &mut |row| rows.push(row)).unwrap();
    rows
}

/// All that a flush can change, to see that it has not.
fn everything(ledger: &mut Ledger) -> (Vec<UsageRow>, Vec<Source>, Vec<Checkpoint>, u64) {
    (
        all_usage(ledger),
        ledger.sources().unwrap(),
        ledger.checkpoints(CheckpointScope::Live).unwrap(),
        ledger.data_version().unwrap(),
    )
}
