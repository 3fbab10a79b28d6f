//! How fast the ledger takes flushes and gives usage back. SQLite always; PostgreSQL too where
//! `FLUXOSCOPE_TEST_POSTGRES` names an *empty* database.
//!
//! A flush here is what a busy half hour of `replay` hands over: 160 000 rows, sorted, of 5000 customers, 16 links
//! and 2 buckets.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fluxoscope::flow::{Direction, Family};
use fluxoscope::ids::{ClassId, CustomerId, ExporterId, LinkId, Position};
use fluxoscope::ledger::records::{Advance, Flush, FlushTotals, SourceKind, UsageFilter};
use fluxoscope::ledger::{Ledger, Url};
use fluxoscope::units::{RateSource, SamplingRate};
use fluxoscope::usage::{BucketStart, UsageKey, UsageRow, UsageSums};

const BUCKETS: i64 = 2;
const CUSTOMERS: u32 = 5000;
const LINKS: u16 = 16;
const ROWS: u64 = 160_000;

fn rows(first_bucket: i64) -> Vec<UsageRow> {
    let rate = SamplingRate::new(1000, 1, RateSource::Sampler).expect("a rate");
    let mut rows = Vec::new();
    for bucket in first_bucket..first_bucket + BUCKETS {
        for customer in 16..16 + CUSTOMERS {
            for link in 1..=LINKS {
                let octets = 1_000_000_000 + u64::from(customer) * u64::from(link);
                rows.push(UsageRow {
                    key: UsageKey {
                        bucket: BucketStart((5_900_000 + bucket) * 300),
                        customer: CustomerId(customer),
                        link: LinkId(link),
                        direction: Direction::In,
                        class: ClassId::DEFAULT,
                        family: Family::V4,
                        exporter: ExporterId(1 + link % 8),
                        rate,
                    },
                    sums: UsageSums {
                        octets,
                        packets: octets / 700,
                        flows: 40,
                        squares_low: octets * 700,
                        squares_high: octets * 1500,
                    },
                });
            }
        }
    }
    assert_eq!(rows.len() as u64, ROWS);
    rows
}

/// A flush of `usage` that begins where `source` stands.
fn flush(ledger: &mut Ledger, usage: Vec<UsageRow>) -> Flush {
    let source = ledger.source(SourceKind::Journal, "0").expect("a source");
    let totals = FlushTotals {
        metered_octets: usage.iter().map(|row| row.sums.octets).sum(),
        metered_packets: usage.iter().map(|row| row.sums.packets).sum(),
        ..FlushTotals::default()
    };
    let advance = Advance {
        source: source.id,
        from: source.position,
        to: Position(source.position.0 + 1),
        complete: false,
        totals,
    };
    Flush { advances: vec![advance], usage: usage.into(), checkpoints: Vec::new(), losses: Vec::new() }
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit_flush");
    group.sample_size(10).throughput(Throughput::Elements(ROWS));
    group.bench_function("sqlite, fresh file", |b| {
        b.iter_batched(
            || {
                let directory = tempfile::tempdir().expect("a directory");
                let url = Url::parse("sqlite:ledger.sqlite", directory.path()).expect("a URL");
                let mut ledger = Ledger::open(&url).expect("a ledger");
                let flush = flush(&mut ledger, rows(0));
                (directory, ledger, flush)
            },
            |(directory, mut ledger, flush)| {
                ledger.commit_flush(&flush).expect("a commit");
                (directory, ledger, flush)
            },
            BatchSize::PerIteration,
        );
    });
    let mut places: Vec<(String, Url)> = Vec::new();
    let directory = tempfile::tempdir().expect("a directory");
    places.push(("sqlite".into(), Url::parse("sqlite:ledger.sqlite", directory.path()).expect("a URL")));
    #[expect(clippy::disallowed_methods, reason = "only the environment can say where a server is")]
    if let Ok(server) = std::env::var("FLUXOSCOPE_TEST_POSTGRES") {
        places.push(("postgres".into(), Url::parse(&server, Path::new("/")).expect("a URL")));
    }
    for (name, url) in &places {
        let mut ledger = Ledger::open(url).expect("a ledger");
        let mut next = 0;
        group.bench_function(format!("{name}, new buckets"), |b| {
            b.iter_batched(
                || {
                    next += BUCKETS;
                    rows(next)
                },
                |usage| {
                    let flush = flush(&mut ledger, usage);
                    ledger.commit_flush(&flush).expect("a commit");
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("{name}, the same buckets again"), |b| {
            b.iter_batched(
                || rows(next),
                |usage| {
                    let flush = flush(&mut ledger, usage);
                    ledger.commit_flush(&flush).expect("a commit");
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    for (name, url) in &places {
        read(c, name, url);
    }
}

fn read(c: &mut Criterion, name: &str, url: &Url) {
    let mut ledger = Ledger::open_existing(url).expect("a ledger");
    let mut all = 0_u64;
    ledger.for_each_usage(&UsageFilter::default(), &mut |_| all += 1).expect("usage");
    let mut group = c.benchmark_group("read");
    group.sample_size(10).throughput(Throughput::Elements(all));
    group.bench_function(format!("{name}, every row"), |b| {
        b.iter(|| {
            ledger
                .for_each_usage(&UsageFilter::default(), &mut |row| {
                    black_box(row);
                })
                .expect("usage");
        });
    });
    group.bench_function(format!("{name}, totals"), |b| {
        b.iter(|| black_box(ledger.usage_totals(None, None).expect("totals")));
    });
    group.bench_function(format!("{name}, one customer"), |b| {
        let filter = UsageFilter { customer: Some(CustomerId(2000)), ..UsageFilter::default() };
        b.iter(|| {
            ledger
                .for_each_usage(&filter, &mut |row| {
                    black_box(row);
                })
                .expect("usage");
        });
    });
    group.finish();
}

criterion_group!(benches, write);
criterion_main!(benches);
