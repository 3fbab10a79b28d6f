//! An exporter that means harm takes no more memory than its bounds, and changes nothing of another one's account.

use std::collections::BTreeMap;

use fluxoscope::decode::Limits;
use fluxoscope::processor::{Config, StreamProcessor, Taken};
use fluxoscope::sampling;
use fluxoscope::usage::{UsageKey, UsageSums};

use crate::count::{octets, peak};
use crate::datagrams::{
    NOW, address, halves, ipfix, ipfix_flows, options_template, processor, set, sflow, template, v5, v9,
    v9_flows, words,
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

/// The usage of an honest exporter of each protocol, with `between` before each of their datagrams.
fn honest(mut between: impl FnMut(&mut StreamProcessor, u32)) -> (Usage, i64) {
    let before = octets();
    peak();
    let (mut processor, counters, _) = processor(config());
    let mut usage = Usage::new();
    let mut most = 0;
    for n in 0..DATAGRAMS {
        between(&mut processor, n);
        // One honest round to twenty datagrams of the other.
        if n % 20 == 0 {
            let n = n / 20;
            let numbers = n * 30 + n.div_ceil(20);
            for (from, datagram) in [
                (1, v5(n * 30)),
                (2, v9_flows(n, n % 20 == 0)),
                (3, ipfix_flows(numbers, n % 20 == 0)),
                (4, sflow(n + 1, 0xc000_0201, 3)),
            ] {
                assert_eq!(processor.feed(NOW, address(from), &datagram).unwrap(), Taken::Yes);
            }
        }
        if n % 500 == 499 {
            processor.expire(NOW);
            most = most.max(peak() - before);
            let held =
                counters.processors[0].held_records.current.load(core::sync::atomic::Ordering::Relaxed);
            assert!(held <= 512 << 10, "{held} octets of waiting records");
            let drained = processor.drain();
            assert!(processor.held().set_octets <= 256 << 10);
            // What the flush takes is the writer's.
            for row in drained.usage {
                assert!(usage.entry(row.key).or_default().try_add(&row.sums));
            }
            peak();
        }
    }
    (usage, most)
}

#[test]
fn hostile_exporters_stay_within_their_bounds_and_leave_others_alone() {
    let (alone, _) = honest(|_, _| {});
    // By hand: 300 rounds; 30 records of 1000 octets in three protocols, and four frames of 1500 octets.
    let total: u64 = alone.values().map(|sums| sums.octets).sum();
    assert_eq!(total, 300 * (3 * 30 * 1000 + 4 * 1500));
    for (name, attack) in ATTACKS {
        let mut sent = 0;
        let mut rejected = 0;
        let (mut usage, most) = honest(|processor, n| {
            let datagram = attack(n);
            sent += datagram.len();
            let taken = processor.feed(NOW, address(66), &datagram).unwrap();
            rejected += u32::from(taken == Taken::Rejected);
        });
        assert_eq!(rejected, 0);
        assert!(most < BOUND, "{name}: {most} octets in use, after {sent} octets of datagrams");
        // Exporters have their numbers in the order in which they come: the attacker's is the first.
        usage.retain(|key, _| key.exporter.0 != 0);
        let renumbered = |key: &UsageKey| {
            let mut key = *key;
            key.exporter.0 -= 1;
            key
        };
        let usage: Usage = usage.iter().map(|(key, sums)| (renumbered(key), *sums)).collect();
        assert_eq!(usage, alone, "{name}");
        println!("{name}: {sent} octets sent, at most {most} octets in use");
    }
}

/// All of it at once, from many addresses.
#[test]
fn many_hostile_exporters_leave_others_alone() {
    let (alone, _) = honest(|_, _| {});
    let (usage, _) = honest(|processor, n| {
        if n == 0 {
            // So that numbers are as in the run without attack.
            return;
        }
        let (_, attack) = ATTACKS[usize::try_from(n).unwrap() % ATTACKS.len()];
        let from = 100 + u8::try_from(n % 50).unwrap();
        processor.feed(NOW, address(from), &attack(n)).unwrap();
    });
    let honest: Usage = usage.into_iter().filter(|(key, _)| key.exporter.0 < 4).collect();
    assert_eq!(honest, alone);
}
