//! An exporter that means harm takes no more memory than its bounds, and changes nothing of another one's account.

use core::net::IpAddr;
use core::sync::atomic::Ordering::Relaxed;
use std::collections::BTreeMap;

use fluxoscope::decode::Limits;
use fluxoscope::ids::ExporterId;
use fluxoscope::processor::{Config, StreamProcessor, Taken};
use fluxoscope::sampling;
use fluxoscope::usage::{UsageKey, UsageSums};

use crate::count::{octets, peak};
use crate::datagrams::{
    EXPORT, NOW, address, halves, ipfix, ipfix_flows, options_template, processor, set, sflow, template, v5,
    v9, v9_flows, words,
};

/// Bounds small enough to be reached soon.
fn config() -> Config {
    let decode = Limits {
        templates: 256,
        template_fields: 64,
        domains: 64,
        hold_octets: 256 << 10,
        hold_octets_all: 256 << 10,
        running_totals: 4096,
        ..Limits::default()
    };
    let sampling = sampling::Config { hold_octets: 512 << 10, ..sampling::Config::default() };
    Config { decode, sampling, ..Config::default() }
}

/// What those bounds come to, in octets, generously: 256 templates of 64 fields at 32 octets each with their plans, 512
/// KiB; 64 domains, or agents of sFlow, at 2 KiB; sets, 256 KiB; totals, 4096 of some 128 octets in tables half full, 1 MiB; waiting
/// records, 512 KiB, and as much again while they move; samplers, 16 384 of 64 octets in a vector half full, 2 MiB; data
/// sources of sFlow, 4096 of some 200 octets, 2 MiB; usage rows until they are drained, 4 MiB; batches, 4 MiB.
const BOUND: i64 = 16 << 20;

type Usage = BTreeMap<UsageKey, UsageSums>;

/// Names an attack, and makes its n-th datagram.
type Attack = (&'static str, fn(u32) -> Vec<u8>);

fn named(n: u32) -> Vec<u8> {
    // Records that name a sampler which nobody describes.
    let body: Vec<u8> = (0..60).flat_map(|k| words(&[1000 + k, 3, n])).collect();
    ipfix(n * 60, 1, &[set(2, &template(256, &[(1, 4), (2, 4), (302, 4)])), set(256, &body)])
}

fn id(n: u32) -> u16 {
    u16::try_from(256 + n % 65_000).unwrap()
}

const ATTACKS: [Attack; 12] = [
    ("templates", |n| {
        let many: Vec<u8> =
            (0..40).flat_map(|k| template(id(n * 40 + k), &[(1, 4), (2, 4), (8, 4)])).collect();
        ipfix(0, n % 3, &[set(2, &many)])
    }),
    ("fields", |n| {
        let fields: Vec<(u16, u16)> = (0..if n % 2 == 0 { 64 } else { 15_000 }).map(|k| (k, 1)).collect();
        ipfix(0, 1, &[set(2, &template(id(n), &fields))])
    }),
    ("templates that claim 65535 fields", |n| {
        v9(n, 1, &[set(0, &[halves(&[id(n), 65_535]), vec![1; 400]].concat())])
    }),
    ("scopes that are longer than their options", |n| {
        v9(n, 1, &[set(1, &[halves(&[id(n), 65_532, 65_532]), vec![1; 400]].concat())])
    }),
    ("sets of 65535 octets without template", |n| {
        let mut message = ipfix(n, 1, &[set(id(n), &vec![7; 65_000])]);
        if n % 2 == 0 {
            // The message's and the set's length are the greatest there are; the datagram is shorter.
            message[2..4].fill(0xff);
            message[18..20].fill(0xff);
        }
        message
    }),
    ("sequence numbers that jump", |n| v5(n.wrapping_mul(0x9e37_79b9))),
    ("domains", |n| ipfix(0, n, &[set(2, &template(256, &[(1, 4)])), set(256, &words(&[n]))])),
    ("samplers", |n| {
        let many: Vec<u8> =
            (0..80).flat_map(|k| [words(&[n * 80 + k]), halves(&[1]), words(&[1, k])].concat()).collect();
        let describe = options_template(300, &[(302, 4), (304, 2), (305, 4), (306, 4)]);
        ipfix(0, n % 9, &[set(3, &describe), set(300, &many)])
    }),
    ("running totals", |n| {
        // Flow ids without end, and old totals again and again.
        let body: Vec<u8> =
            (0..80).flat_map(|k| words(&[0, n / 2 * 80 + k, 0, 1000 - n % 2 * 500])).collect();
        ipfix(n * 80, 1, &[set(2, &template(256, &[(148, 8), (85, 8)])), set(256, &body)])
    }),
    ("records that wait", named),
    ("agents of sFlow", |n| sflow(n, 0x0a00_0000 + n, 3)),
    ("data sources of sFlow", |n| sflow(n, 0x0a00_0001, n & 0x00ff_ffff)),
];

/// Datagrams of an attack: each is enough to reach its bound several times.
const DATAGRAMS: u32 = 6000;

/// One honest round comes to so many datagrams of the other.
const PER_ROUND: u32 = 20;

/// What is made of the honest exporters, and the most memory that was in use meanwhile.
struct Outcome {
    /// Each has the last octet of its address for its number.
    usage: Usage,
    /// Records, duplicates, loss and malformed datagrams, by exporter.
    accounts: Vec<[u64; 4]>,
    most: i64,
}

/// The datagrams of round `n` of an honest exporter of each protocol. One round gets lost on the way, and one comes twice.
fn round(n: u32) -> Vec<(u8, Vec<u8>)> {
    let numbers = n * 30 + n.div_ceil(20);
    let all = vec![
        (1, v5(n * 30)),
        (2, v9_flows(n, n.is_multiple_of(20))),
        (3, ipfix_flows(numbers, n.is_multiple_of(20))),
        (4, sflow(n + 1, 0xc000_0201, 3)),
    ];
    match n {
        LOST => Vec::new(),
        TWICE => [all.clone(), all].concat(),
        _ => all,
    }
}

const LOST: u32 = 150;
const TWICE: u32 = 101;

/// `rounds` honest rounds, with `between` before each datagram of an attack, and a flush after `flush_every` of these or
/// where the usage table is full.
fn honest(
    config: Config,
    (rounds, flush_every): (u32, u32),
    mut between: impl FnMut(&mut StreamProcessor, u32),
) -> Outcome {
    let before = octets();
    peak();
    let (mut processor, counters, _) = processor(config);
    let mut usage = Usage::new();
    let mut most = 0;
    for n in 0..rounds * PER_ROUND {
        between(&mut processor, n);
        if n % PER_ROUND == 0 {
            for (from, datagram) in round(n / PER_ROUND) {
                assert_eq!(processor.feed(NOW, address(from), &datagram).unwrap(), Taken::Yes);
            }
        }
        if n % flush_every == flush_every - 1 || !processor.has_room() {
            processor.expire(NOW);
            most = most.max(peak() - before);
            let held = counters.processors[0].held_records.current.load(Relaxed);
            assert!(held <= config.sampling.hold_octets as u64, "{held} octets of waiting records");
            let drained = processor.drain();
            assert!(processor.held().set_octets <= config.decode.hold_octets_all as u64);
            most = most.max(peak() - before);
            let names: BTreeMap<ExporterId, IpAddr> =
                drained.exporters.iter().map(|(id, exporter)| (*id, exporter.address)).collect();
            // What the flush takes is the writer's.
            for row in drained.usage {
                let is_of = |&from: &u8| names[&row.key.exporter] == address(from);
                if let Some(from) = (1..=4).find(is_of) {
                    let key = UsageKey { exporter: ExporterId(from.into()), ..row.key };
                    assert!(usage.entry(key).or_default().try_add(&row.sums));
                }
            }
            peak();
        }
    }
    let exporters = counters.exporters();
    let accounts = (1..=4).map(|from| {
        let one = exporters.iter().find(|one| one.address == address(from)).unwrap();
        [&one.records, &one.duplicates, &one.lost, &one.malformed].map(|count| count.load(Relaxed))
    });
    Outcome { usage, accounts: accounts.collect(), most }
}

/// Nobody else there: what the honest exporters come to, worked out by hand.
fn alone(rounds: u32) -> Outcome {
    let alone = honest(config(), (rounds, 5 * PER_ROUND), |_, _| {});
    let octets: u64 = alone.usage.values().map(|sums| sums.octets).sum();
    // One round is lost. 30 records of 1000 octets in three protocols, and four frames of 1500 octets.
    let arrived = u64::from(rounds) - 1;
    assert_eq!(octets, arrived * (3 * 30 * 1000 + 4 * 1500));
    // NetFlow v5 and IPFIX count records, v9 and sFlow datagrams.
    let by_hand =
        [[arrived * 30, 1, 30, 0], [arrived * 30, 1, 1, 0], [arrived * 30, 1, 30, 0], [arrived * 4, 1, 1, 0]];
    assert_eq!(alone.accounts, by_hand);
    alone
}

#[track_caller]
fn assert_undisturbed(outcome: &Outcome, alone: &Outcome, name: &str) {
    assert_eq!(outcome.accounts, alone.accounts, "{name}");
    assert_eq!(outcome.usage, alone.usage, "{name}");
}

const ROUNDS: u32 = DATAGRAMS / PER_ROUND;

#[test]
fn hostile_exporters_stay_within_their_bounds_and_leave_others_alone() {
    let alone = alone(ROUNDS);
    for (name, attack) in ATTACKS {
        let mut sent = 0;
        let outcome = honest(config(), (ROUNDS, 500), |processor, n| {
            let datagram = attack(n);
            sent += datagram.len();
            assert_eq!(processor.feed(NOW, address(66), &datagram).unwrap(), Taken::Yes);
        });
        let most = outcome.most;
        assert!(most < BOUND, "{name}: {most} octets in use, after {sent} octets of datagrams");
        assert_undisturbed(&outcome, &alone, name);
        println!("{name}: {sent} octets sent, at most {most} octets in use");
    }
}

/// All of it at once, from many addresses. Each sends 20 datagrams of six of the attacks, with at most some 80 things
/// to remember in each: no more than a mebioctet.
#[test]
fn many_hostile_exporters_leave_others_alone() {
    let alone = alone(ROUNDS);
    let outcome = honest(config(), (ROUNDS, 500), |processor, n| {
        let (_, attack) = ATTACKS[usize::try_from(n).unwrap() % ATTACKS.len()];
        let from = 100 + u8::try_from(n % 50).unwrap();
        processor.feed(NOW, address(from), &attack(n)).unwrap();
    });
    let bound = BOUND + (50 << 20);
    assert!(outcome.most < bound, "{} octets in use", outcome.most);
    assert_undisturbed(&outcome, &alone, "many");
    println!("many: at most {} octets in use", outcome.most);
}

/// 45 records, each of which states another sampling rate, from the message's export time and eleven buckets before it.
fn rates(n: u32, export: u32) -> Vec<u8> {
    let fields = [(8, 4), (12, 4), (1, 4), (2, 4), (34, 4), (150, 4), (151, 4)];
    let record = |k: u32| {
        let end = export - k % 12 * 300;
        words(&[0x0a00_0001, 0x0a00_0002, 100, 1, n * 45 + k + 2, end, end])
    };
    let body: Vec<u8> = (0..45).flat_map(record).collect();
    let mut message = ipfix(n * 45, 1, &[set(2, &template(300, &fields)), set(300, &body)]);
    message[4..8].copy_from_slice(&export.to_be_bytes());
    message
}

/// Another sampling rate in each record. With few rates that is a row for each of them and each of 12 buckets, some ten
/// thousand; with all of them it was a row for each record, and a quarter of a gibioctet before it was full.
#[test]
fn a_rate_for_each_record_takes_no_memory_by_default_limits() {
    let alone = alone(ROUNDS);
    let outcome = honest(Config::default(), (ROUNDS, DATAGRAMS), |processor, n| {
        processor.feed(NOW, address(66), &rates(n, EXPORT)).unwrap();
        assert!(processor.usage_rows() < 12 * (256 + 32 * 16) + 1000, "{} rows", processor.usage_rows());
    });
    assert!(outcome.most < 32 << 20, "{} octets in use", outcome.most);
    assert_undisturbed(&outcome, &alone, "rates");
    println!("rates: at most {} octets in use", outcome.most);
}

/// Another bucket with each message, and all its rates in it: a table is full with 4096 buckets or a million rows, of 48
/// octets in tables that are five sixteenths full at least, and 120 while they are drained.
#[test]
fn all_buckets_of_a_year_take_bounded_memory_by_default_limits() {
    let alone = alone(ROUNDS);
    let outcome = honest(Config::default(), (ROUNDS, DATAGRAMS), |processor, n| {
        processor.feed(NOW, address(66), &rates(n, EXPORT - n % 100_000 * 300)).unwrap();
    });
    assert!(outcome.most < 320 << 20, "{} octets in use", outcome.most);
    assert_undisturbed(&outcome, &alone, "buckets");
    println!("buckets: at most {} octets in use", outcome.most);
}

/// Templates of as many fields as are allowed, from 200 addresses, twice what all templates may take. They may stay for as
/// much again until a flush tells who watches what there is now, and be written by that flush.
#[test]
fn templates_from_many_addresses_stay_within_the_default_bound() {
    const ROUNDS: u32 = 160;
    let alone = alone(ROUNDS);
    let bound = Config::default().decode.template_octets_all;
    let fields: Vec<(u16, u16)> = (0..512).map(|k| (k, 1)).collect();
    let outcome = honest(Config::default(), (ROUNDS, 400), |processor, n| {
        let from = IpAddr::from([198, 51, 100, u8::try_from(n % 200).unwrap()]);
        let first = n / 200 * 30;
        let many: Vec<u8> = (0..30).flat_map(|k| template(id(first + k), &fields)).collect();
        processor.feed(NOW, from, &ipfix(0, 1, &[set(2, &many)])).unwrap();
    });
    let most = outcome.most;
    assert!(most < 3 * i64::try_from(bound).unwrap(), "{most} octets in use");
    // The bound was reached, or nothing was shown.
    assert!(most > i64::try_from(bound).unwrap(), "{most} octets in use");
    assert_undisturbed(&outcome, &alone, "templates from 200 addresses");
    println!("templates from 200 addresses: at most {most} octets in use");
}
