//! Pools of exporters that keep up, that drop, that lose, that start anew, and that say nonsense.

use proptest::prelude::*;

use super::*;

const RATE: u32 = 1000;

/// An exporter that states [`RATE`] and counts by the rules.
struct Source {
    pool: Pool,
    stated: Statement,
}

/// What a run of samples came to.
#[derive(Debug, Default, PartialEq)]
struct Run {
    /// Packets that the samples were scaled to.
    scaled: u64,
    /// Samples at each power of two of the stated rate.
    at: [u64; 7],
    lost: i64,
    dropped: u64,
    contradicted: u64,
    unpaid: u64,
}

impl Source {
    fn new(stated: Statement) -> Self {
        Self { pool: Pool::new((0, 3), stated, UnixMillis(0)), stated }
    }

    fn ordinary() -> Self {
        Self::new(Statement { sequence: 1, rate: RATE, pool: RATE, drops: 0 })
    }

    /// `count` samples, of which `shown` tells which arrive; each stands for `passed` packets.
    fn run(&mut self, count: u32, passed: u32, dropped: u32, shown: impl Fn(u32) -> bool) -> Run {
        let mut run = Run::default();
        for n in 0..count {
            self.stated.sequence = self.stated.sequence.wrapping_add(1);
            self.stated.pool = self.stated.pool.wrapping_add(passed);
            self.stated.drops = self.stated.drops.wrapping_add(dropped);
            if shown(n) {
                self.see(&mut run, self.stated);
            }
        }
        run
    }

    fn see(&mut self, run: &mut Run, stated: Statement) {
        let verdict = self.pool.see(stated, Observed::Ingress, (false, false));
        assert!(verdict.multiple.is_power_of_two() && verdict.multiple <= MULTIPLE_MAX);
        run.scaled += verdict.multiple * u64::from(stated.rate);
        run.at[verdict.multiple.ilog2() as usize] += 1;
        run.lost += i64::from(verdict.lost) - i64::from(verdict.found);
        run.dropped += u64::from(verdict.dropped);
        run.contradicted += u64::from(verdict.contradicted);
        run.unpaid += verdict.unpaid;
    }
}

#[test]
fn an_exporter_that_keeps_up_is_scaled_as_it_states() {
    let run = Source::ordinary().run(10_000, RATE, 0, |_| true);
    assert_eq!(run, Run { scaled: 10_000_000, at: [10_000, 0, 0, 0, 0, 0, 0], ..Run::default() });
}

#[test]
fn what_the_exporter_dropped_is_made_up_for() {
    // Every second one is dropped: 2000 packets passed for each sample.
    let run = Source::ordinary().run(10_000, 2 * RATE, 1, |_| true);
    // 20 million passed. 8 samples' worth may be owed, with a span of 16 more at once, and a span of 16 may be open.
    assert!((20_000_000 - 40_000..=20_000_000).contains(&run.scaled), "{run:?}");
    assert_eq!((run.dropped, run.contradicted, run.lost), (10_000, 0, 0));
    // Nine of ten: one sample stands for 10 000 packets.
    let run = Source::ordinary().run(1000, 10 * RATE, 9, |_| true);
    assert!((10_000_000 - 300_000..=10_000_000).contains(&run.scaled), "{run:?}");
    // 32 samples made or dropped are a span: the first that stands for so many is told at once.
    let mut source = Source::ordinary();
    let run = source.run(1, 50 * RATE, 49, |_| true);
    assert_eq!(
        run.at,
        [0, 0, 1, 0, 0, 0, 0],
        "49 000 owed, an eighth is 6 of the rate more: four times the rate"
    );
    // What is left is paid by those that follow, 46 000 but for the last eight; then all is as stated.
    let run = source.run(100, RATE, 0, |_| true);
    assert!((138_000..=146_000).contains(&run.scaled), "{run:?}");
}

#[test]
fn drops_that_the_exporter_cannot_see_show_in_the_pool() {
    // A third of the samples gets lost within the exporter: 1500 packets a sample, and a drop count that stays 0. The
    // pool is ahead by n / 2 after n samples, which is beyond chance, 4 sqrt(n) + 16, from n = 120 on: with the end of
    // the span, 128. So much may be open, and 64 + 8 be owed.
    let run = Source::ordinary().run(10_000, 1500, 0, |_| true);
    assert!((15_000_000 - 136_000..=15_000_000).contains(&run.scaled), "{run:?}");
    assert_eq!(run.contradicted, 0);
}

#[test]
fn what_is_lost_on_the_way_is_counted_and_not_billed() {
    // Every fourth sample never arrives; the exporter drops none.
    let run = Source::ordinary().run(10_000, RATE, 0, |n| n % 4 != 1);
    assert_eq!(run, Run { scaled: 7_500_000, at: [7500, 0, 0, 0, 0, 0, 0], lost: 2500, ..Run::default() });
    // With half of them dropped: those that arrive stand for themselves and their share of the dropped ones.
    let run = Source::ordinary().run(10_000, 2 * RATE, 1, |n| n % 4 != 1);
    assert!((15_000_000 - 40_000..=15_000_000).contains(&run.scaled), "{run:?}");
}

#[test]
fn counters_wrap() {
    let start =
        Statement { sequence: u32::MAX - 40, rate: RATE, pool: u32::MAX - 30_000, drops: u32::MAX - 20 };
    let run = Source::new(start).run(1000, 2 * RATE, 1, |_| true);
    assert!((2_000_000 - 40_000..=2_000_000).contains(&run.scaled), "{run:?}");
    assert_eq!((run.dropped, run.lost), (1000, 0));
}

#[test]
fn an_exporter_that_starts_anew_owes_nothing() {
    let mut source = Source::ordinary();
    source.stated.sequence = 500_000;
    source.run(1, 0, 0, |_| true);
    let run = source.run(15, 40 * RATE, 39, |_| true);
    // 15 samples stand for 40 000 packets each; what they did not take is not billed any more, but counted.
    let unpaid = 600_000 - run.scaled;
    assert!(unpaid > 0);
    // It restarts with all counters at 0, and drops nothing any more.
    source.stated = Statement { sequence: 0, rate: RATE, pool: 0, drops: 0 };
    let run = source.run(1000, RATE, 0, |_| true);
    assert_eq!(run, Run { scaled: 1_000_000, at: [1000, 0, 0, 0, 0, 0, 0], unpaid, ..Run::default() });
}

#[test]
fn pools_that_say_nonsense_are_not_believed() {
    // Still; moving by one a sample; moving by five times the rate with no drop to explain it.
    for (passed, contradicted) in [(0, false), (1, true), (5 * RATE, true)] {
        let run = Source::ordinary().run(3200, passed, 0, |_| true);
        assert_eq!((run.scaled, run.at[0]), (3_200_000, 3200), "{passed}");
        assert_eq!(run.contradicted, if contradicted { 100 } else { 0 }, "{passed}");
    }
    // Drops of which the pool knows nothing.
    let run = Source::ordinary().run(3200, RATE, 4 * RATE, |_| true);
    assert_eq!((run.scaled, run.dropped), (3_200_000, 0));
    let run = Source::ordinary().run(3200, RATE, 9, |_| true);
    // The pool only adds the rate for each sample, so it does not know: as many are believed as there are samples. Four
    // samples are a span, with 36 dropped.
    assert_eq!((run.scaled, run.contradicted), (6_400_000, 800));
    // One that counts, and says that there were none: half the samples' worth of each span is beyond it.
    let mut source = Source::ordinary();
    let mut run = Run::default();
    for n in 0..6400 {
        source.stated.pool =
            source.stated.pool.wrapping_add(if n % 2 == 0 { RATE / 2 } else { 3 * RATE / 2 });
        source.stated.sequence += 1;
        source.stated.drops += 1;
        source.see(&mut run, source.stated);
    }
    // Four spans of 16 samples and 16 drops are ahead by 64 times the rate, and four times the root of 128 and 16 are 61:
    // then it is taken back, and what follows pays for that. Never far more than was sampled.
    assert!((6_400_000..=6_400_000 + 200_000).contains(&run.scaled), "{run:?}");
    // A sequence that runs over two sources: half of its numbers are never seen here. That may look like loss, but
    // costs nothing.
    let run = Source::ordinary().run(6400, RATE / 2, 0, |n| n % 2 == 0);
    assert_eq!((run.scaled, run.at[0]), (3_200_000, 3200));
}

#[test]
fn rates_that_change_and_rates_at_the_end_of_the_range() {
    let mut source = Source::ordinary();
    source.run(20, RATE, 0, |_| true);
    // The exporter backs off to 1 in 2000; nobody knows when, so the span that was open tells nothing.
    source.stated.rate = 2000;
    let run = source.run(1000, 2000, 0, |_| true);
    assert_eq!((run.scaled, run.contradicted), (2_000_000, 0));
    // A rate that has no multiple within 32 bits is left alone; 0 is no rate.
    for rate in [u32::MAX, 0] {
        let mut source = Source::new(Statement { sequence: 1, rate, pool: 0, drops: 0 });
        let run = source.run(1000, 3_000_000_000, 2, |_| true);
        assert_eq!(run.at[0], 1000);
    }
    // Everything at its greatest; what drops go back by a few does not count.
    let mut source = Source::new(Statement { sequence: 1, rate: u32::MAX, pool: 0, drops: 0 });
    let run = source.run(100, u32::MAX, u32::MAX - 256, |_| true);
    assert_eq!((run.at[0], run.dropped), (100, 100 * u64::from(u32::MAX - 256)));
}

/// What was dropped is made up for at the rate of then, and at the new one where none is left.
#[test]
fn drops_survive_a_changed_rate() {
    let mut source = Source::ordinary();
    let before = source.run(15, 2 * RATE, 1, |_| true);
    assert_eq!(before.scaled, 30_000);
    // 39 000 are owed: 1000 are taken at once, fewer than 8 samples' worth above that as twos and fours.
    let last = source.run(1, 40 * RATE, 39, |_| true);
    assert_eq!((last.scaled, source.pool.unpaid()), (4000, 36_000));
    source.stated.rate = 100;
    // 1000 samples of 100 packets, and what was owed.
    let run = source.run(1000, 100, 0, |_| true);
    assert_eq!((run.scaled, source.pool.unpaid()), (100_000 + 36_000, 0));
    assert_eq!((before.dropped, last.dropped, run.dropped, run.contradicted), (15, 39, 0, 0));
    // A rate that changes with each sample: 500 at 1000, 500 at 2000, and 1000 dropped, at 1000 at the least. 8 samples'
    // worth may be owed, and a span of 16 be open.
    let mut source = Source::ordinary();
    let mut scaled = 0;
    for n in 0..1000 {
        source.stated.rate = if n % 2 == 0 { 1000 } else { 2000 };
        let run = source.run(1, 2000, 1, |_| true);
        assert_eq!(run.contradicted, 0);
        scaled += run.scaled;
    }
    assert!((2_500_000 - 32_000..=2_500_000).contains(&scaled), "{scaled}");
}

/// Fewer than make a span count, too: in the very samples that state them.
#[test]
fn few_drops_count_at_once() {
    // 19 samples with one drop each, 15 with three.
    assert_eq!(Source::ordinary().run(19, 2 * RATE, 1, |_| true).scaled, 38_000);
    assert_eq!(Source::ordinary().run(15, 4 * RATE, 3, |_| true).scaled, 60_000);
    // A single one, after any number without.
    let mut source = Source::ordinary();
    source.run(70, RATE, 0, |_| true);
    assert_eq!(source.run(1, 2 * RATE, 1, |_| true).scaled, 2000);
    // hsflowd's way: the pool adds the rate for each sample, drops are counted apart.
    assert_eq!(Source::ordinary().run(20, RATE, 1, |_| true).scaled, 40_000);
}

/// Every 40 samples the interface's own counters come, of 40 times `passed` packets at each side.
fn counted(source: &mut Source, passed: u32, dropped: u32, input: u32, output: u32) -> (Run, u64) {
    let mut run = Run::default();
    let mut total = 0;
    let (mut at, mut out) = (u32::MAX - 5000, 7);
    for _ in 0..50 {
        source.pool.see_counters(Interface { input: Some(at), output: Some(out) });
        let part = source.run(40, passed, dropped, |_| true);
        (at, out) = (at.wrapping_add(40 * input), out.wrapping_add(40 * output));
        total += part.scaled;
        run = Run { contradicted: run.contradicted + part.contradicted, ..Run::default() };
    }
    (run, total)
}

/// Three times the rate, no drop, and as many packets in the interface's counters: 6 million passed. Of the first span the
/// 64 000 that the pool is ahead are not believed, since nobody bears it out before the second counter sample; 16 samples,
/// of which 32 000 are not known yet, are open at the end, and of the 64 000 of the span before these pay all but some.
#[test]
fn the_interfaces_counters_bear_a_pool_out() {
    let (run, total) = counted(&mut Source::ordinary(), 3 * RATE, 0, 3 * RATE, 9 * RATE);
    assert!((6_000_000 - 64_000 - 32_000 - 24_000..=6_000_000 - 64_000 - 32_000).contains(&total), "{total}");
    assert_eq!(run.contradicted, 1);
    // A switch's pool, three times what went into the interface.
    let (run, total) = counted(&mut Source::ordinary(), 3 * RATE, 0, RATE, 3 * RATE);
    assert_eq!((total, run.contradicted), (2_000_000, 2000 / 32));
    // One of both directions, twice what was sampled: believed without counters, and not against them.
    let (_, total) = counted(&mut Source::ordinary(), 2 * RATE, 0, RATE, RATE);
    assert!((2_000_000..2_200_000).contains(&total), "{total}");
    // Nine of ten dropped, and the pool knows nothing of it: 20 million passed, of which the first 40 samples' 400 000 are 80 000.
    let (_, total) = counted(&mut Source::ordinary(), RATE, 9, 10 * RATE, 0);
    assert!((20_000_000 - 320_000 - 200_000..=20_000_000 - 320_000).contains(&total), "{total}");
    // A probe that counts only the packets that it has sampled: its pool agrees with its rate, and stays what it was.
    let (run, total) = counted(&mut Source::ordinary(), 3 * RATE / 2, 0, 1, 1);
    assert_eq!(run.contradicted, 0);
    assert!((3_000_000 - 136_000..=3_000_000).contains(&total), "{total}");
    // Counters that stand still, or are not there, bear witness to nothing.
    let (run, total) = counted(&mut Source::ordinary(), 3 * RATE, 0, 0, 5 * RATE);
    assert_eq!((total, run.contradicted), (2_000_000, 2000 / 32));
}

/// What is lost on the way at random does not bias what is owed: a third of the samples, of which each stands for two.
#[test]
fn loss_at_random_leaves_the_mean_alone() {
    let mut state = 11_u64;
    let mut run = Run::default();
    let mut arrived = 0_u64;
    let mut source = Source::ordinary();
    for _ in 0..30_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let arrives = state >> 33 > u64::from(u32::MAX >> 1) / 3;
        arrived += u64::from(arrives);
        source.stated.sequence += 1;
        source.stated.pool = source.stated.pool.wrapping_add(2 * RATE);
        source.stated.drops += 1;
        if arrives {
            source.see(&mut run, source.stated);
        }
    }
    let expected = 2 * u64::from(RATE) * arrived;
    assert!(run.scaled.abs_diff(expected) < expected / 100, "{} {expected}", run.scaled);
    assert_eq!(run.contradicted, 0);
}

/// A pool that is steadily ahead by three times, without a drop, is the operator's affair: counted, span by span.
#[test]
fn a_pool_that_is_far_ahead_is_counted() {
    let run = Source::ordinary().run(640, 3 * RATE, 0, |_| true);
    assert_eq!((run.scaled, run.contradicted), (640_000, 20));
}

#[test]
fn late_samples_are_found() {
    let mut source = Source::ordinary();
    let at = |sequence: u32| Statement { sequence, rate: RATE, pool: sequence * RATE, drops: 0 };
    let mut run = Run::default();
    for sequence in [2, 3, 6, 4, 5, 7, 7] {
        source.see(&mut run, at(sequence));
    }
    assert_eq!((run.lost, run.scaled), (0, 7000));
}

/// hsflowd with `mod_tcp`: every other sample waits while some more are taken. It has the count of drops from when it was taken,
/// and its number and the pool, which only adds the rate for each sample, from when it is sent.
#[test]
fn samples_may_wait_in_the_exporter() {
    for wait in [1, 2, 5, 20] {
        for each in [2, 5, 20] {
            let (mut waiting, mut sent) = (std::collections::VecDeque::new(), Vec::new());
            let mut drops = 0;
            for taken in 1..=4000_u32 {
                drops += u32::from(taken % each == 0);
                let mut send = |drops| {
                    sent.push(Statement { sequence: 0, rate: RATE, pool: taken * RATE, drops });
                };
                while waiting.front().is_some_and(|&(at, _)| at + wait < taken) {
                    send(waiting.pop_front().unwrap().1);
                }
                if taken % 2 == 0 {
                    waiting.push_back((taken, drops));
                } else {
                    send(drops);
                }
            }
            let mut numbered = (1..).zip(sent).map(|(sequence, stated)| Statement { sequence, ..stated });
            let mut source = Source::new(numbered.next().unwrap());
            let mut run = Run { scaled: RATE.into(), ..Run::default() };
            for stated in numbered {
                source.see(&mut run, stated);
            }
            // All but those that still wait, and what was dropped, but for what the last ones were not told of.
            let samples = 4000 - u64::try_from(waiting.len()).unwrap();
            let expected = (samples + u64::from(drops)) * u64::from(RATE);
            let open = 64 * u64::from(RATE);
            assert!((expected - open..=expected).contains(&run.scaled), "{wait} {each}: {run:?} {expected}");
            // A sample that left together with one that had waited is told of with the next.
            let (dropped, untold) = (u64::from(drops), u64::from(wait / 2 + 1));
            assert!((dropped - untold..=dropped).contains(&run.dropped), "{wait} {each}: {run:?}");
        }
    }
}

/// Random sampling as the standard wants it: each packet is picked with the same probability. On the average the scaled
/// packets are what passed, no more: a rule that followed each chance of the pool upward would be 2 % above.
#[test]
fn what_was_dropped_is_made_up_for_whatever_the_order() {
    // Every second one is dropped, and the samples come in another order: neighbours swapped, by tens the other way round, and
    // every tenth one late by 15.
    let orders: [fn(u32) -> u32; 3] =
        [|n| n ^ 1, |n| n / 10 * 10 + 9 - n % 10, |n| if n % 10 == 5 { n + 15 } else { n }];
    for (at, order) in orders.iter().enumerate() {
        let mut arrivals: Vec<u32> = (0..10_000).collect();
        arrivals.sort_by_key(|&n| order(n));
        let mut source = Source::ordinary();
        let mut run = Run::default();
        for n in arrivals {
            let n = n + 1;
            let stated = Statement { sequence: 1 + n, rate: RATE, pool: RATE + 2 * RATE * n, drops: n };
            source.see(&mut run, stated);
        }
        // 20 million passed. A sample that is not late pays off an eighth of what is owed, so what each has to pay for, one
        // dropped sample or two or ten, is owed eight times; and a span of 32, a late ten and a few more may be open.
        let open = [16 + 48, 80 + 48, 16 + 48][at] * 1000;
        assert!((20_000_000 - open..=20_000_000).contains(&run.scaled), "{at}: {run:?}");
        assert_eq!(run.lost, 0, "{at}");
    }
}

#[test]
fn chance_is_not_billed() {
    const ONE_IN: u32 = 16;
    let mut state = 7_u64;
    // The generator of Knuth's MMIX; the high bits are good.
    let mut picked = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 60 == 0
    };
    let (mut scaled, mut passed) = (0_u64, 0_u64);
    for _ in 0..300 {
        let mut stated = Statement { sequence: 1, rate: ONE_IN, pool: 5, drops: 0 };
        let mut source = Source::new(stated);
        let mut run = Run::default();
        for _ in 0..2000 {
            loop {
                stated.pool += 1;
                if picked() {
                    break;
                }
            }
            stated.sequence += 1;
            source.see(&mut run, stated);
        }
        scaled += run.scaled;
        passed += u64::from(stated.pool - 5);
    }
    // 600 000 samples: one standard deviation is 1 / sqrt(600 000) = 0.13 %.
    assert!(scaled.abs_diff(passed) < passed / 200, "{scaled} {passed}");
}

proptest! {
    /// Where it drops nothing and chance is what moves the pool, an exporter is scaled as it states.
    #[test]
    fn random_sampling_takes_the_stated_rate(skips in prop::collection::vec(1_u32..2 * RATE, 3000)) {
        let mut source = Source::ordinary();
        let mut run = Run::default();
        let mut stated = source.stated;
        for &skip in &skips {
            stated.sequence += 1;
            stated.pool += skip;
            source.see(&mut run, stated);
        }
        prop_assert_eq!(run.scaled, 3000 * u64::from(RATE));
        // A span of random steps comes to less than half of what they stand for once in some millions.
        prop_assert!(run.contradicted <= 1, "{}", run.contradicted);
    }

    /// Whatever is stated, nothing overflows and no sample takes less than its own rate.
    #[test]
    fn noise_is_bounded(statements in prop::collection::vec(any::<(u32, u32, u32, u32)>(), 1..200), dense in any::<bool>()) {
        let mut source = Source::ordinary();
        let mut sequence = 1_u32;
        for (step, rate, pool, drops) in statements {
            sequence = sequence.wrapping_add(if dense { step % 40 } else { step });
            let verdict = source.pool.see(Statement { sequence, rate, pool, drops }, Observed::Egress, (dense, sequence.is_multiple_of(2)));
            prop_assert!(verdict.multiple >= 1 && verdict.multiple * u64::from(rate.max(1)) <= u64::from(u32::MAX).max(1) );
        }
    }
}
