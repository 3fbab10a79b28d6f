//! Records per second, stage by stage: `cargo bench --bench stages`. Each stage gets batches of 1024 records, as a
//! stream processor gives them; a name as argument picks benches (`-- meter`).
//!
//! The inputs are like a provider's edge: 100 000 customer prefixes with the length mix of a BGP table, half of the
//! flows in and half out, and as many usage keys as a busy quarter of an hour of 5000 customers makes.

#![expect(clippy::cast_possible_truncation, reason = "random numbers are cut to whatever width is wanted")]

use core::hint::black_box;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fluxoscope::classify::prefix::PrefixTable;
use fluxoscope::classify::rules::{
    ClassRule, CustomerPrefix, CustomerRule, ExporterRule, FlowMatch, InterfaceRef, LinkPoint, LinkRule,
    Network, Prefix, Validity,
};
use fluxoscope::classify::{Classified, Classifier, Names};
use fluxoscope::exporter::{Observes, OutputZero};
use fluxoscope::flow::{Address, Direction, Family, FlowRecord};
use fluxoscope::ids::{ClassId, CustomerId, ExporterId, LinkId};
use fluxoscope::meter::{Config, Meter};
use fluxoscope::units::{IfIndex, Octets, Packets, RateSource, SamplingRate, UnixMillis};

const BATCH: usize = 1024;
/// Lookups or records of one pass.
const RECORDS: usize = 1 << 19;
/// Distinct flow records. A stage finds its batch in the cache, where the stage before has just written it, so a pass
/// must not be about reading records from memory: it goes over the same ones again and again.
const FLOWS: usize = 1 << 14;

/// A small generator (xorshift), so that every run sees the same input.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }
}

/// A length as BGP tables have them: 58 % /24, 20 % /22 and /23, the rest /12 to /21.
fn v4_prefix(random: &mut Random) -> Prefix {
    let length = match random.below(100) {
        0..58 => 24,
        58..78 => 22 + random.below(2) as u8,
        _ => 12 + random.below(10) as u8,
    };
    let bits = random.next() as u32 & (u32::MAX << (32 - length));
    Prefix { address: IpAddr::V4(Ipv4Addr::from(bits)), length }
}

fn v6_prefix(random: &mut Random) -> Prefix {
    let length = [29, 32, 32, 36, 40, 44, 48, 48, 48, 48][random.below(10) as usize];
    let bits = (0x2000 | u128::from(random.below(0x1000))) << 112 | u128::from(random.next()) << 48;
    Prefix { address: IpAddr::V6(Ipv6Addr::from(bits & (u128::MAX << (128 - length)))), length }
}

fn distinct(count: usize, mut one: impl FnMut() -> Prefix) -> Vec<Prefix> {
    let mut known = std::collections::HashSet::new();
    core::iter::repeat_with(&mut one).filter(|prefix| known.insert(*prefix)).take(count).collect()
}

/// An address inside of a prefix.
fn inside(prefix: Prefix, random: &mut Random) -> Address {
    let (_, Address(first)) = Address::from_ip(prefix.address);
    let host_bits = if prefix.address.is_ipv4() { 32 - prefix.length } else { 128 - prefix.length };
    let host = u128::from(random.next()) << 64 | u128::from(random.next());
    Address(first | host & ((1 << host_bits) - 1))
}

fn prefix_lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("prefix");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    group.throughput(Throughput::Elements(RECORDS as u64));
    for count in [1_000, 100_000, 1_000_000] {
        let v4 = distinct(count, || v4_prefix(&mut random));
        let v6 = distinct(count.min(200_000), || v6_prefix(&mut random));
        let table = PrefixTable::build(v4.iter().chain(&v6).copied().zip(0..));
        let mut ask = |of: &[Prefix]| -> Vec<Address> {
            (0..RECORDS).map(|_| inside(of[random.below(of.len() as u64) as usize], &mut random)).collect()
        };
        let (v4, v6) = (ask(&v4), ask(&v6));
        for (family, addresses) in [(Family::V4, v4), (Family::V6, v6)] {
            group.bench_function(BenchmarkId::new(family.as_str(), count), |b| {
                b.iter(|| addresses.iter().map(|a| table.lookup(family, *a)).fold(0_u32, u32::wrapping_add));
            });
        }
    }
    group.finish();
}

/// 8 exporters, 16 links, 5000 customers with 100 000 prefixes, three traffic classes.
fn network(prefixes: &[Prefix]) -> (Network, Names) {
    let mut names = Names::default();
    let mut network = Network::default();
    for n in 0..8_u16 {
        let name = format!("ce{n}");
        names.exporters.insert(name.clone(), ExporterId(n));
        let address = IpAddr::from([192, 0, 2, n as u8]);
        let (observes, output_zero) = (Observes::Ingress, OutputZero::Unknown);
        network.exporters.push(ExporterRule { name, address, observes, output_zero });
    }
    for n in 0..16_u16 {
        let name = format!("link{n}");
        names.links.insert(name.clone(), LinkId(1 + n));
        let at = InterfaceRef { exporter: format!("ce{}", n / 2), ifindex: IfIndex(u32::from(n % 2) + 1) };
        network.links.push(LinkRule {
            name,
            kind: "upstream".to_owned(),
            points: vec![LinkPoint::Interface(at)],
            overhead: None,
        });
    }
    for n in 0..5000_usize {
        let name = format!("customer{n}");
        names.customers.insert(name.clone(), CustomerId(16 + n as u32));
        let validity = Validity::default();
        let held = |prefix: &Prefix| CustomerPrefix { prefix: *prefix, validity };
        network.customers.push(CustomerRule {
            name,
            prefixes: prefixes.iter().skip(n).step_by(5000).map(held).collect(),
            asns: vec![],
            interfaces: vec![],
            validity,
            tariff: None,
            address: vec![],
        });
    }
    for (n, (name, protocol, port)) in (1..).zip([("web", 6, 443), ("quic", 17, 443), ("dns", 17, 53)]) {
        names.classes.insert(name.to_owned(), ClassId(n));
        let matches =
            FlowMatch { protocol: vec![protocol], port: vec![(port, port)], ..FlowMatch::default() };
        network.classes.push(ClassRule { name: name.to_owned(), matches });
    }
    (network, names)
}

/// Flows over the links; one in five spans two buckets.
fn flows(prefixes: &[Prefix], rate: SamplingRate) -> Vec<FlowRecord> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    (0..FLOWS)
        .map(|_| {
            let ours = inside(prefixes[random.below(prefixes.len() as u64) as usize], &mut random);
            let theirs = Address(u128::from(random.next() as u32));
            let (near, far) = (IfIndex(10), IfIndex(1 + random.below(2) as u32));
            let inward = random.below(2) == 0;
            let packets = 1 + random.below(40);
            let end = 1_700_000_100_000 + random.below(900_000) as i64;
            FlowRecord {
                source: if inward { theirs } else { ours },
                destination: if inward { ours } else { theirs },
                input: if inward { far } else { near },
                output: if inward { near } else { far },
                octets: Octets::new(packets * (40 + random.below(1400))),
                packets: Packets::new(packets),
                start: UnixMillis(end - random.below(120_000) as i64),
                end: UnixMillis(end),
                exporter: ExporterId(random.below(8) as u16),
                protocol: if random.below(4) == 0 { 17 } else { 6 },
                source_port: if random.below(3) == 0 { 443 } else { 1024 + random.below(60_000) as u16 },
                destination_port: 1024 + random.below(60_000) as u16,
                family: Family::V4,
                rate,
                ..FlowRecord::default()
            }
        })
        .collect()
}

fn classify(c: &mut Criterion) {
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    let prefixes = distinct(100_000, || v4_prefix(&mut random));
    let (network, names) = network(&prefixes);
    let classifier = Classifier::compile(&network, &names).expect("the network is sound");
    let records = flows(&prefixes, SamplingRate::default());
    let mut group = c.benchmark_group("classify");
    group.throughput(Throughput::Elements(FLOWS as u64));
    let mut out = Vec::new();
    group.bench_function("100k_prefixes", |b| {
        b.iter(|| {
            for batch in records.chunks(BATCH) {
                classifier.classify(batch, &mut out);
                black_box(&out);
            }
        });
    });
    let mut meter = Meter::new(Config::default());
    group.bench_function("and_meter", |b| {
        b.iter(|| {
            for batch in records.chunks(BATCH) {
                classifier.classify(batch, &mut out);
                meter.add(batch, &out);
            }
        });
    });
    group.finish();
    println!("classify/and_meter: {} usage rows", meter.len());
}

/// Customers at random, so that about 200 000 keys are live and next to no two records in a row share one.
fn classified() -> Vec<Classified> {
    let mut random = Random(0xa076_1d64_78bd_642f);
    (0..RECORDS)
        .map(|_| Classified {
            customer: CustomerId(16 + random.below(5000) as u32),
            link: LinkId(1 + random.below(5) as u16),
            class: ClassId::DEFAULT,
            direction: if random.below(2) == 0 { Direction::In } else { Direction::Out },
            counts: true,
        })
        .collect()
}

fn meter(c: &mut Criterion) {
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    let prefixes = distinct(1000, || v4_prefix(&mut random));
    let classified = classified();
    let mut group = c.benchmark_group("meter");
    group.throughput(Throughput::Elements(RECORDS as u64));
    let sampled = SamplingRate::new(1000, 1, RateSource::Header).expect("a rate");
    for (name, rate) in [("unsampled", SamplingRate::default()), ("sampled", sampled)] {
        let mut records = flows(&prefixes, rate);
        records.truncate(2 * BATCH);
        for record in &mut records {
            record.exporter = ExporterId(0);
        }
        let mut meter = Meter::new(Config::default());
        group.bench_function(name, |b| {
            b.iter(|| {
                for (records, classified) in records.chunks(BATCH).cycle().zip(classified.chunks(BATCH)) {
                    meter.add(records, classified);
                }
            });
        });
        println!("meter/{name}: {} usage rows", meter.len());
        let rows = meter.len();
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("drain_{name}"), |b| {
            b.iter_batched_ref(
                || {
                    let mut meter = Meter::new(Config::default());
                    for (records, classified) in records.chunks(BATCH).cycle().zip(classified.chunks(BATCH)) {
                        meter.add(records, classified);
                    }
                    meter
                },
                |meter| meter.take().sorted(),
                BatchSize::PerIteration,
            );
        });
        group.throughput(Throughput::Elements(RECORDS as u64));
    }
    group.finish();
}

// Decoding and the whole path (datagram to usage row) join here as groups of their own.
criterion_group! {
    name = stages;
    config = Criterion::default().sample_size(10).without_plots();
    targets = prefix_lookup, classify, meter
}
criterion_main!(stages);
