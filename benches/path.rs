//! The whole path in memory: datagrams to usage rows, and decoding alone.
//!
//! `cargo bench --bench path`. Records per second are printed as `elem/s`. The datagrams are those of
//! `fluxoscope generate`: 5000 customers, 8 exporters, 16 links, 1800 s.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fluxoscope::config::Config;
use fluxoscope::counters::Counters;
use fluxoscope::decode::{Decoded, ExporterDecoder, Limits};
use fluxoscope::generate::{Options, Protocol, generate};
use fluxoscope::ids::ExporterId;
use fluxoscope::ledger::Ledger;
use fluxoscope::ledger::Url;
use fluxoscope::processor::exporters::Exporters;
use fluxoscope::processor::{self, StreamProcessor};
use fluxoscope::setup;
use fluxoscope::units::UnixMillis;

const RECORDS: u64 = 1_000_000;

/// The same datagrams so many times into one table: a real 30 minutes has many records for each usage row.
const PASSES: u64 = 10;

struct Datagram {
    received: UnixMillis,
    source: IpAddr,
    payload: Vec<u8>,
}

/// 8 exporters, 16 links, 5000 customers with an IPv4 and an IPv6 prefix each.
fn configuration() -> Config {
    use std::fmt::Write;
    let mut text = String::from("[sampling]\ngrace = \"0s\"\n");
    for n in 1..=8 {
        writeln!(text, "[[exporter]]\nname = \"r{n}\"\naddress = \"127.0.1.{n}\"").expect("memory takes it");
        for link in 0..2 {
            let ifindex = 10 + link;
            writeln!(
                text,
                "[[link]]\nname = \"l{n}-{link}\"\ninterfaces = [{{ exporter = \"r{n}\", ifindex = {ifindex} }}]"
            )
            .expect("memory takes it");
        }
    }
    for n in 0..5000 {
        let (high, low) = (n / 256, n % 256);
        writeln!(
            text,
            "[[customer]]\nname = \"c{n}\"\nprefixes = [\"10.{high}.{low}.0/24\", \"2001:db8:{n:x}::/48\"]"
        )
        .expect("memory takes it");
    }
    Config::parse(&text, "bench.toml", Path::new(".")).unwrap_or_else(|problems| panic!("{problems}"))
}

fn datagrams(config: &Config, protocol: Protocol) -> Vec<Datagram> {
    let options = Options { records: RECORDS, protocol, sampling: 1, ..Options::default() };
    let mut all = Vec::new();
    generate(config, &options, |datagram| {
        all.push(Datagram {
            received: datagram.time,
            source: datagram.source.ip(),
            payload: datagram.payload.to_vec(),
        });
        Ok(())
    })
    .expect("the sink takes everything");
    all
}

fn path(c: &mut Criterion) {
    let mut config = configuration();
    config.files.push("bench.toml".into());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut group = c.benchmark_group("path");
    group.throughput(Throughput::Elements(RECORDS));
    for (name, protocol) in [("v5", Protocol::V5), ("v9", Protocol::V9), ("ipfix", Protocol::Ipfix)] {
        let datagrams = datagrams(&config, protocol);
        group.bench_function(format!("{name} decode"), |b| {
            b.iter(|| {
                let mut decoders: Vec<ExporterDecoder> = (0..8).map(|_| ExporterDecoder::new()).collect();
                let (mut out, limits) = (Decoded::default(), Limits::default());
                for datagram in &datagrams {
                    let IpAddr::V4(source) = datagram.source else { continue };
                    let n = source.octets()[3] - 1;
                    let decoder = &mut decoders[usize::from(n)];
                    let id = ExporterId(u16::from(n));
                    decoder
                        .datagram(id, &limits, datagram.received, &datagram.payload, &mut out)
                        .expect("generated datagrams are well-formed");
                    if out.records.len() >= 512 {
                        out.records.clear();
                    }
                    out.announcements.clear();
                }
            });
        });
        let counters = Arc::new(Counters::new(1, 0));
        let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
        let url = Url::parse(&format!("sqlite:{name}.sqlite"), directory.path()).expect("a ledger's place");
        let mut ledger = Ledger::open(&url).expect("a new ledger");
        setup::put_in_force(&config, false, &mut ledger, &registry, 0).expect("a good configuration");
        let stages =
            processor::Config { decode: config.decode, sampling: config.sampling, meter: config.meter };
        group.throughput(Throughput::Elements(RECORDS * PASSES));
        let mut rows = 0;
        group.bench_function(format!("{name} decode, scale, classify, meter"), |b| {
            b.iter(|| {
                let mut processor =
                    StreamProcessor::new(0, stages, Arc::clone(&registry), Arc::clone(&counters));
                for _ in 0..PASSES {
                    for datagram in &datagrams {
                        processor
                            .feed(datagram.received, datagram.source, &datagram.payload)
                            .expect("no checkpoint, none unreadable");
                    }
                }
                rows = processor.drain().usage.len();
            });
        });
        println!("path/{name}: {rows} usage rows of {} records", RECORDS * PASSES);
        group.throughput(Throughput::Elements(RECORDS));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).without_plots();
    targets = path
}
criterion_main!(benches);
