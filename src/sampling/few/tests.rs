use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_768_435_200_000);

fn rate(numerator: u64, denominator: u64) -> SamplingRate {
    SamplingRate::new(numerator, denominator, RateSource::Record).expect("a rate")
}

/// A record of each of these rates.
fn records(rates: impl Iterator<Item = SamplingRate>) -> Vec<FlowRecord> {
    rates.map(|rate| FlowRecord { rate, ..FlowRecord::default() }).collect()
}

fn rates(records: &[FlowRecord]) -> Vec<SamplingRate> {
    records.iter().map(|record| record.rate).collect()
}

#[test]
fn as_many_rates_as_anybody_has_stay_what_they_are() {
    let mut few = Few::default();
    let stated = || (0..EXACT as u64).map(|n| rate(1000 + n, 1));
    for _ in 0..2 {
        let mut all = records(stated());
        few.settle(&mut all, NOW);
        assert_eq!(rates(&all), stated().collect::<Vec<_>>());
    }
    assert_eq!(few.rounded(), 0);
}

#[test]
fn more_become_few_and_are_right_in_the_mean() {
    let mut few = Few::default();
    few.settle(&mut records((0..EXACT as u64).map(|n| rate(100_000 + n, 1))), NOW);
    // 20 000 rates of 1000 and more: their sum, by Gauss, is 20 000 * (1000 + 20 999) / 2.
    let mut all = records((0..20_000).map(|n| rate(1000 + n, 1)));
    few.settle(&mut all, NOW);
    let sum: f64 =
        rates(&all).iter().map(|rate| f64::from(rate.numerator()) / f64::from(rate.denominator())).sum();
    let stated = 20_000.0 * 10_999.5;
    // Each is off by a 32nd at most (one standard deviation), so the mean of 20 000 by less than a 4000th; four times that.
    assert!((sum / stated - 1.0).abs() < 0.001, "{sum} for {stated}");
    // From 2^9 to 2^15 there are six powers of two, with 16 steps each.
    let distinct: HashSet<SamplingRate> = rates(&all).into_iter().collect();
    assert!(distinct.len() <= 6 * 16 + 1, "{} rates", distinct.len());
    assert!(few.rounded() > 19_000);
}

#[test]
fn a_lot_falls_up_as_often_as_the_rate_is_near() {
    // 1-in-1000 is between 992 and 1024 (steps of 32), a quarter of the way up.
    let up = (0..10_000).filter(|&n| rounded(rate(1000, 1), lot(n)) == Some(rate(1024, 1))).count();
    let down = (0..10_000).filter(|&n| rounded(rate(1000, 1), lot(n)) == Some(rate(992, 1))).count();
    assert_eq!(up + down, 10_000);
    // Binomial: 2500, give or take 43; four times that.
    assert!((2327..=2673).contains(&up), "{up}");
}

#[test]
fn one_that_is_idle_for_an_hour_gives_way() {
    let mut few = Few::default();
    few.settle(&mut records((0..EXACT as u64).map(|n| rate(1001 + 2 * n, 1))), NOW);
    let new = rate(77_777, 1);
    let mut one = records(core::iter::once(new));
    few.settle(&mut one, NOW.plus(IDLE_MS - 1));
    assert_ne!(one[0].rate, new);
    let mut one = records(core::iter::once(new));
    few.settle(&mut one, NOW.plus(IDLE_MS));
    assert_eq!(one[0].rate, new);
    assert_eq!(few.exact.len(), EXACT);
    assert!(few.exact.is_sorted());
}

/// With each record of another rate the one that is idle for longest would be looked for; what is known of that must not
/// keep a place that has become free in the meantime.
#[test]
fn each_gives_way_as_soon_as_it_is_idle_for_an_hour() {
    let mut few = Few::default();
    let stated = |n: u64| rate(1001 + 2 * n, 1);
    for n in 0..EXACT as u64 {
        few.settle(&mut records(core::iter::once(stated(n))), NOW.plus(n.cast_signed()));
    }
    // The first one is used again, and so it is idle last.
    few.settle(&mut records(core::iter::once(stated(0))), NOW.plus(EXACT as i64));
    for n in 1..EXACT as u64 {
        let idle = NOW.plus(n.cast_signed() + IDLE_MS);
        let new = rate(500_000 + n, 3);
        for (at, is_exact) in [(idle.plus(-1), false), (idle, true)] {
            let mut one = records(core::iter::once(new));
            few.settle(&mut one, at);
            assert_eq!(one[0].rate == new, is_exact, "{n}");
        }
        assert!(!few.exact.iter().any(|(rate, _)| *rate == stated(n)));
    }
    // A clock that is set back, as by a restart: what is used then is idle an hour from then on.
    let mut few = Few::default();
    few.settle(&mut records((0..EXACT as u64).map(stated)), NOW.plus(IDLE_MS));
    few.settle(&mut records(core::iter::once(rate(77_777, 1))), NOW.plus(IDLE_MS));
    few.settle(&mut records(core::iter::once(stated(7))), NOW);
    let mut one = records(core::iter::once(rate(77_777, 1)));
    few.settle(&mut one, NOW.plus(IDLE_MS));
    assert_eq!(one[0].rate, rate(77_777, 1));
}

#[test]
fn the_operators_word_is_never_rounded() {
    let mut few = Few::default();
    few.settle(&mut records((0..EXACT as u64).map(|n| rate(1001 + 2 * n, 1))), NOW);
    let word = rate(77_777, 1).with_source(RateSource::Override);
    let mut all = records([word, SamplingRate::NOT_ANNOUNCED].into_iter());
    few.settle(&mut all, NOW);
    assert_eq!(rates(&all), [word, SamplingRate::NOT_ANNOUNCED]);
}

proptest! {
    #[test]
    fn neighbours_enclose_the_rate(n in 1..=u32::MAX, d in 1..=u32::MAX, draw: u64) {
        let stated = rate(n.max(d).into(), n.min(d).into());
        let value = |rate: SamplingRate| f64::from(rate.numerator()) / f64::from(rate.denominator());
        match rounded(stated, draw) {
            // A step is a sixteenth of the power of two below.
            Some(one) => {
                prop_assert!((value(one) / value(stated) - 1.0).abs() <= 1.0 / 16.0);
                prop_assert_eq!(one.source(), stated.source());
                // On the grid, but for the greatest one there is, whose neighbour above would be 2^32.
                prop_assert!(rounded(one, draw).is_none() || one.numerator() == u32::MAX);
            }
            None => prop_assert_eq!(rounded(stated, !draw), None),
        }
    }
}
