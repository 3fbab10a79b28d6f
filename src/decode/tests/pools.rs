//! sFlow sources whose samples do not all arrive, or not in order, from octets to scaled volume. Frames have 1000 octets.

use super::build::*;
use super::sflow::{datagram_of, flow_sample_of, frame, raw_header};
use crate::flow::SamplerRef;

const RATE: u32 = 100;

/// A sample of one packet in a hundred: its number, and what pool and drops have come to.
fn sample(number: u32, pool: u32, drops: u32) -> Octets {
    flow_sample_of([number, 3, RATE, pool, drops, 3, 4], &[raw_header(1, 1000, &frame())])
}

/// So many samples up to number `last` in a datagram, of a source that drops every second one that it makes.
fn half_dropped(number: u32, uptime: u32, last: u32, samples: u32) -> Vec<u8> {
    let samples: Vec<Octets> = (last + 1 - samples..=last).map(|n| sample(n, 2 * RATE * n, n)).collect();
    datagram_of(octets().u32(1).u32(0xc000_0201), 7, number, uptime, &samples)
}

/// Packets that the samples stand for.
fn packets(collector: &Collector) -> u64 {
    let rate = |sampler: SamplerRef| match sampler {
        SamplerRef::Stated(rate) => u64::from(rate.numerator()),
        _ => panic!("no rate"),
    };
    assert!(collector.out.records.iter().all(|flow| flow.octets.as_u64() == 1000));
    collector.out.records.iter().map(|flow| rate(flow.sampler)).sum()
}

/// What a source stands for that drops half of its samples: the pool, but for what is not owed before its first sample,
/// and what the open span of 32 still owes.
#[track_caller]
fn stands_for(collector: &Collector, samples: u32, runs: u32) {
    let pool = u64::from(2 * RATE * samples);
    let short = u64::from(runs * (1 + 32 + 8) * RATE);
    let found = packets(collector);
    assert!((pool - short..=pool).contains(&found), "{found} of {pool}");
}

/// The switch starts anew when little was heard of its source, and one datagram of the new run is lost.
#[test]
fn a_source_begins_anew_with_its_agent() {
    let before = (1..=25).map(|n| half_dropped(n, 1_000_000 + 1000 * n, 8 * n, 8));
    let after = (1..=25).filter(|&n| n != 12).map(|n| half_dropped(n, 1000 * n, 8 * n, 8));
    let datagrams: Vec<Vec<u8>> = before.chain(after).collect();
    let collector = decoded(&datagrams);
    let counts = collector.counts();
    assert_eq!((counts.restarts, counts.lost, counts.sflow.samples_lost), (1, 1, 8));
    // 200 samples, and 192 of 200.
    stands_for(&collector, 392, 2);
}

/// Each ten datagrams come in the reverse order.
#[test]
fn samples_that_come_late_stand_for_their_part_of_what_was_dropped() {
    let number = |n: u32| n / 10 * 10 + 9 - n % 10 + 1;
    let datagrams: Vec<Vec<u8>> =
        (0..2000).map(number).map(|n| half_dropped(n, 1_000_000 + 10 * n, 8 * n, 8)).collect();
    let collector = decoded(&datagrams);
    assert_eq!(collector.counts().sflow.samples_lost, 0);
    let (found, pool) = (packets(&collector), u64::from(2 * RATE * 16_000));
    // The first ten have nothing before them that they could be compared with, and the last ten are not paid for.
    assert!((pool * 98 / 100..=pool).contains(&found), "{found} of {pool}");
}

/// Datagrams of seven samples of a busy source come forty datagrams late: more samples than are looked for one by one.
#[test]
fn samples_are_late_as_far_as_their_datagram_is() {
    let mut order: Vec<u32> = (1..=200).collect();
    for late in [20, 80, 140] {
        let at = order.iter().position(|&n| n == late).unwrap();
        order.remove(at);
        order.insert(at + 40, late);
    }
    let datagrams: Vec<Vec<u8>> =
        order.into_iter().map(|n| half_dropped(n, 1_000_000 + 10 * n, 7 * n, 7)).collect();
    let collector = decoded(&datagrams);
    let counts = collector.counts();
    // The first sample has nothing to be compared with.
    assert_eq!((counts.lost, counts.sflow.samples_lost, counts.sflow.samples_dropped), (0, 0, 1399));
    stands_for(&collector, 1400, 1);
}

/// Two switches behind one address say that they are the same agent. Neither drops anything meanwhile, but what they once
/// dropped differs: samples of one source, with these numbers, would owe the difference again and again.
fn two_in_one(apart: u32, drops: u32) -> (u64, u64) {
    let datagrams: Vec<Vec<u8>> = (0..1200)
        .map(|n| {
            let (number, dropped) = (1000 + n / 2 + n % 2 * apart, n % 2 * drops);
            let samples = [sample(number, (10_000 + number + dropped) * RATE, dropped)];
            datagram_of(octets().u32(1).u32(0x7f00_0001), 0, number, 10_000_000 + 50 * n, &samples)
        })
        .collect();
    let collector = decoded(&datagrams);
    (packets(&collector), 1200 * u64::from(RATE))
}

#[test]
fn two_agents_in_one_are_billed_by_the_stated_rate() {
    // Far enough apart that the numbers of their datagrams show them.
    for (apart, drops) in [(50, 500), (300, 2000)] {
        let (found, passed) = two_in_one(apart, drops);
        assert!((passed..=passed * 102 / 100).contains(&found), "{apart}: {found} of {passed}");
    }
    // So near that their samples look like late ones of one source, which is found out by what these state.
    let (found, passed) = two_in_one(5, 500);
    assert!((passed..=passed * 106 / 100).contains(&found), "{found} of {passed}");
}

/// The sampler of one interface is configured anew six times, after so many samples, while its agent goes on.
#[test]
fn a_source_begins_anew_while_its_agent_goes_on() {
    for run in [50, 200, 256, 1000] {
        let datagrams: Vec<Vec<u8>> =
            (0..6 * run).map(|n| half_dropped(n + 1, 1_000_000 + 10 * n, n % run + 1, 1)).collect();
        let collector = decoded(&datagrams);
        let counts = collector.counts();
        // The first sample of each run has nothing to be compared with.
        assert_eq!((counts.sflow.samples_lost, counts.sflow.samples_dropped), (0, u64::from(6 * (run - 1))));
        stands_for(&collector, 6 * run, 6);
    }
}

/// A switch samples what comes in and what goes out by two samplers, and calls both of them the same source. Neither drops
/// anything meanwhile, but what they once dropped differs.
#[test]
fn two_samplers_in_one_source_are_billed_by_the_stated_rate() {
    for (apart, drops) in [(300, 0), (300, 3000), (1000, 50_000), (9000, 200_000), (40_000, 7)] {
        for swapped in [false, true] {
            let mut numbers = [5000, 5000 + apart];
            let dropped = if swapped { [drops, 0] } else { [0, drops] };
            let datagrams: Vec<Vec<u8>> = (0..3000_u32)
                .map(|n| {
                    // Two of the one, one of the other, and now and then the other way round.
                    let which = usize::from((n + n / 7) % 3 == 0);
                    numbers[which] += 1;
                    let number = numbers[which];
                    let samples = [sample(number, (number + dropped[which]) * RATE, dropped[which])];
                    datagram_of(octets().u32(1).u32(0xc000_0201), 7, n + 1, 10_000_000 + 50 * n, &samples)
                })
                .collect();
            let collector = decoded(&datagrams);
            let (found, passed) = (packets(&collector), 3000 * u64::from(RATE));
            // Once what lies between them may look like dropped, before they are seen to take turns.
            assert!((passed..=passed * 103 / 100).contains(&found), "{apart} {drops}: {found} of {passed}");
            let lost = collector.counts().sflow.samples_lost;
            assert!(lost <= 2 * u64::from(apart), "{apart}: {lost}");
        }
    }
}

/// Two paths: every other datagram comes so many datagrams late.
#[test]
fn half_of_all_datagrams_may_be_late() {
    for late in [30, 50, 100, 200] {
        let mut order: Vec<u32> = (1..=4000).collect();
        order.sort_by_key(|n| n + n % 2 * late);
        let datagrams: Vec<Vec<u8>> =
            order.into_iter().map(|n| half_dropped(n, 1_000_000 + 10 * n, 2 * n, 2)).collect();
        let collector = decoded(&datagrams);
        let counts = collector.counts();
        let found = (counts.lost, counts.restarts, counts.shared_domains, counts.sflow.samples_lost);
        // What comes behind the first one by its number was not missed.
        assert_eq!(found, (0, 0, 0, 0), "{late}");
        let (found, pool) = (packets(&collector), u64::from(2 * RATE * 8000));
        assert!((pool * 97 / 100..=pool).contains(&found), "{late}: {found} of {pool}");
    }
}

/// A switch states how many samples all of its ports dropped together, in each sample of any port: one in `of`, in bursts.
/// Every tenth datagram is late by `late`. What is found, and what passed.
fn drops_of_all(ports: u32, (of, burst): (u32, u32), late: u32, counts: bool) -> (u64, u64) {
    let all = ports as usize;
    let (mut numbers, mut pools, mut drops) = (vec![0; all], vec![0; all], 0);
    let mut random = 1_u32;
    let mut datagrams = Vec::new();
    let mut left = 0;
    while datagrams.len() < 3000 * all {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let port = ((u64::from(random) * u64::from(ports)) >> 32) as usize;
        // Packets from one that is picked to the next.
        pools[port] += if counts { 1 + (random >> 4) % (2 * RATE - 1) } else { RATE };
        if left > 0 || (random >> 8).is_multiple_of(of * burst) {
            left = if left > 0 { left - 1 } else { burst - 1 };
            drops += 1;
            continue;
        }
        numbers[port] += 1;
        let source = u32::try_from(port).unwrap() + 1;
        let head = [numbers[port], source, RATE, pools[port], drops, source, 100];
        let samples = [flow_sample_of(head, &[raw_header(1, 1000, &frame())])];
        let number = u32::try_from(datagrams.len()).unwrap() + 1;
        let agent = octets().u32(1).u32(0xc000_0201);
        datagrams.push(datagram_of(agent, 7, number, 1_000_000 + 10 * number, &samples));
    }
    let mut order: Vec<(u32, Vec<u8>)> = (0..).zip(datagrams).collect();
    order.sort_by_key(|(n, _)| if n % 10 == 5 { n + late } else { *n });
    let datagrams: Vec<Vec<u8>> = order.into_iter().map(|(_, datagram)| datagram).collect();
    let collector = decoded(&datagrams);
    (packets(&collector), u64::from(3000 * ports + drops) * u64::from(RATE))
}

/// The drops of all ports are more than one port can have dropped; its pool tells how many it has, but for chance: after 3000
/// samples, as many dropped as 4 times the root of them.
#[test]
fn drops_of_an_agent_are_not_those_of_each_of_its_sources() {
    for ports in [2, 8, 24] {
        for (of, burst) in [(11, 1), (11, 10), (3, 1), (3, 30), (100, 1)] {
            for late in [0, 20] {
                let (found, passed) = drops_of_all(ports, (of, burst), late, true);
                let ppm = found * 1_000_000 / passed;
                assert!((930_000..=1_100_000).contains(&ppm), "{ports} {of} {burst} {late}: {ppm}");
            }
        }
    }
}

/// An agent that fills its datagrams from the end.
#[test]
fn samples_of_a_datagram_may_come_in_any_order() {
    let datagrams: Vec<Vec<u8>> = (0..600)
        .map(|n| {
            let samples: Vec<Octets> =
                (1..=7).rev().map(|k| 7 * n + k).map(|k| sample(k, 2 * RATE * k, k)).collect();
            datagram_of(octets().u32(1).u32(0xc000_0201), 7, n + 1, 1_000_000 + 10 * n, &samples)
        })
        .collect();
    let collector = decoded(&datagrams);
    assert_eq!(collector.counts().sflow.samples_lost, 0);
    let (found, pool) = (packets(&collector), u64::from(2 * RATE * 4200));
    assert!((pool * 98 / 100..=pool).contains(&found), "{found} of {pool}");
}

/// How a model's switch samples.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Its pool counts packets.
    Counts,
    /// Its pool adds the rate for each sample made.
    Adds,
    /// So it does, and every third sample waits for four others.
    Waits,
}

/// A switch of one source; what is found of what passed, in millionths. Of those that were lost it is not asked.
fn modelled(kind: Kind, phases: [u32; 2], each: u32, (late_of, late): (u32, u32), lost_of: u32) -> u64 {
    const PHASE: u32 = 400;
    const DATAGRAMS: u32 = 4000;
    let mut state = 9_u64;
    let mut random = |of: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u64::from(of) * (state >> 32)) >> 32) as u32
    };
    let (mut pool, mut drops) = (0, 0);
    let mut waiting = std::collections::VecDeque::new();
    let (mut sent, mut stood_for) = (Vec::new(), Vec::new());
    for taken in 0..each * DATAGRAMS {
        // Of a thousand that are picked, so many are dropped.
        let drop_of = phases[(taken / PHASE % 2) as usize];
        let mut step = || if kind == Kind::Counts { 1 + random(2 * RATE - 1) } else { 0 };
        pool += step();
        let mut picked = 1;
        for _ in 0..40 {
            if (u64::from(taken) * 7919 + picked * 104_729) % 1000 >= u64::from(drop_of) {
                break;
            }
            (picked, drops, pool) = (picked + 1, drops + 1, pool + step());
        }
        if kind == Kind::Waits && taken % 3 == 0 {
            waiting.push_back((taken, picked, drops));
        } else {
            sent.push((taken, picked, drops, if kind == Kind::Counts { pool } else { (taken + 1) * RATE }));
        }
        while waiting.front().is_some_and(|&(at, ..)| at + 4 < taken) {
            let (at, picked, drops) = waiting.pop_front().unwrap();
            sent.push((at, picked, drops, (taken + 1) * RATE));
        }
    }
    let datagrams: Vec<_> = sent
        .chunks(each as usize)
        .enumerate()
        .map(|(n, chunk)| {
            let n = u32::try_from(n).unwrap();
            let samples: Vec<Octets> = (0..)
                .zip(chunk)
                .map(|(k, &(taken, picked, drops, pool))| {
                    let number = n * each + k + 1;
                    stood_for.push((taken / PHASE, picked, n));
                    sample(number, pool, drops)
                })
                .collect();
            datagram_of(octets().u32(1).u32(0xc000_0201), 7, n + 1, 1_000_000 + 10 * n, &samples)
        })
        .collect();
    let mut order: Vec<(u32, u32)> = (0..u32::try_from(datagrams.len()).unwrap())
        .filter_map(|n| {
            let (is_lost, is_late) = (random(1000) < lost_of, random(1000) < late_of);
            (n == 0 || !is_lost).then_some((if n > 0 && is_late { n + late } else { n }, n))
        })
        .collect();
    order.sort_unstable();
    let came: std::collections::BTreeSet<u32> = order.iter().map(|&(_, n)| n).collect();
    // What passed in a phase, times the part of its samples that came.
    let mut sums = std::collections::BTreeMap::<u32, [u64; 3]>::new();
    for (phase, picked, datagram) in stood_for {
        let [passed, made, arrived] = sums.entry(phase).or_default();
        *passed += picked * u64::from(RATE);
        *made += 1;
        *arrived += u64::from(came.contains(&datagram));
    }
    let expected: u64 = sums.values().map(|[passed, made, arrived]| passed * arrived / made).sum();
    let datagrams: Vec<Vec<u8>> = order.into_iter().map(|(_, n)| datagrams[n as usize].clone()).collect();
    packets(&decoded(&datagrams)) * 1_000_000 / expected
}

#[test]
fn what_passed_is_found_whatever_is_dropped_late_or_lost() {
    for kind in [Kind::Counts, Kind::Adds, Kind::Waits] {
        for phases in [[0, 0], [200, 200], [450, 450], [0, 450], [20, 20]] {
            for each in [1, 7] {
                for lates in [(0, 0), (100, 20), (500, 60), (20, 100)] {
                    for lost in [0, 50, 400] {
                        let ppm = modelled(kind, phases, each, lates, lost);
                        let seen = format!("{kind:?} {phases:?} {each} {lates:?} {lost}: {ppm}");
                        assert!((970_000..=1_030_000).contains(&ppm), "{seen}");
                    }
                }
            }
        }
    }
}
