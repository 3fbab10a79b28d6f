//! Percentiles against published series and against the rules of rrdtool and Cacti.

use super::*;
use crate::rate::percentile::{
    Combine, Count, Links, Missing, Rank, Sample, SampleSource, Series, find, rate_of,
};
use crate::rate::tariff::{PercentileRule, RateUnit};

/// Twenty samples in kbit/s, from a vendor's page on the method.
const IN: [u64; 20] =
    [139, 653, 201, 116, 84, 32, 47, 185, 198, 203, 276, 370, 971, 233, 218, 182, 169, 126, 131, 157];
const OUT: [u64; 20] = [
    1347, 1435, 1229, 523, 438, 231, 347, 689, 940, 1248, 1385, 1427, 3988, 1265, 1221, 1013, 992, 874, 896,
    1002,
];

fn rule(combine: Combine) -> PercentileRule {
    PercentileRule {
        classes: vec![0],
        bands: vec![],
        combine,
        percent: Decimal::from(95),
        rank: Rank::Nearest,
        links: Links::SumThenRank,
        missing: Missing::Exclude,
        min_coverage: None,
        source: SampleSource::Snmp,
        unit: RateUnit::Megabit,
        commit: None,
        price: Decimal::ONE,
    }
}

/// Samples of five minutes at these rates in kbit/s: a kbit/s is 37500 octets.
fn series(inward: &[Option<u64>], outward: &[Option<u64>]) -> Series {
    let count = |kbits: &Option<u64>| kbits.map_or(Count::MISSING, |kbits| Count::octets(kbits * 37_500));
    let sample = |(inward, outward)| Sample { inward: count(inward), outward: count(outward) };
    Series {
        link: "a".into(),
        class: 0,
        source: SampleSource::Snmp,
        is_sampled: false,
        exempt: vec![],
        samples: inward.iter().zip(outward).map(sample).collect(),
    }
}

fn known(values: &[u64]) -> Vec<Option<u64>> {
    values.iter().copied().map(Some).collect()
}

fn found(rule: &PercentileRule, series: &[&Series]) -> String {
    let found = find(rule, series, |_| true).expect("samples");
    rate_of(rule, found.octets).to_decimal_string(9)
}

/// Ranks from 1, by n. The columns are those of contracts (discard n * 5 / 100), of Cacti and of rrdtool.
#[test]
fn ranks_of_a_month() {
    for (n, nearest, cacti, rrdtool) in [
        (19, 19, 18, 18),
        (20, 19, 19, 19),
        (8064, 7661, 7660, 7661),
        (8352, 7935, 7934, 7934),
        (8640, 8208, 8208, 8208),
        (8916, 8471, 8470, 8470),
        (8928, 8482, 8481, 8482),
        (8940, 8493, 8493, 8493),
        (1, 1, 1, 1),
    ] {
        let percent = Decimal::from(95);
        assert_eq!(Rank::Nearest.of(n, percent), Some(nearest), "nearest of {n}");
        assert_eq!(Rank::Cacti.of(n, percent), Some(cacti), "cacti of {n}");
        assert_eq!(Rank::Rrdtool.of(n, percent), Some(rrdtool), "rrdtool of {n}");
    }
    assert_eq!(Rank::Nearest.of(0, Decimal::from(95)), None);
    assert_eq!(Rank::Nearest.of(1000, Decimal::new(995, 1)), Some(995));
    assert_eq!(Rank::Nearest.of(7, Decimal::ONE_HUNDRED), Some(7));
    assert_eq!(Rank::Cacti.of(7, Decimal::new(1, 4)), Some(1));
}

#[test]
fn directions_combine_as_the_contract_says() {
    let samples = series(&known(&IN), &known(&OUT));
    for (combine, expected) in [
        (Combine::In, "0.653"),
        (Combine::Out, "1.435"),
        (Combine::MaxOfP95, "1.435"),
        (Combine::P95OfMax, "1.435"),
        (Combine::P95OfSum, "2.088"),
        (Combine::SumOfP95, "2.088"),
        (Combine::Pooled, "1.427"),
    ] {
        assert_eq!(found(&rule(combine), &[&samples]), expected, "{}", combine.as_str());
    }
    let gigabits = PercentileRule { unit: RateUnit::Gigabit, ..rule(Combine::Out) };
    assert_eq!(found(&gigabits, &[&samples]), "0.001435");
}

/// The four lowest samples out are missing: of 16 the greatest is the 95th percentile, and of 20 with zeros it is not.
#[test]
fn gaps_count_as_the_contract_says() {
    let mut outward = known(&OUT);
    for gap in [438, 231, 347, 523] {
        let at = outward.iter().position(|&value| value == Some(gap)).expect("there");
        outward[at] = None;
    }
    let samples = series(&known(&IN), &outward);
    let with = |missing, combine| PercentileRule { missing, ..rule(combine) };
    assert_eq!(found(&with(Missing::Exclude, Combine::Out), &[&samples]), "3.988");
    assert_eq!(found(&with(Missing::Hold, Combine::Out), &[&samples]), "3.988");
    assert_eq!(found(&with(Missing::Zero, Combine::Out), &[&samples]), "1.435");
    // Where one direction is missing, nothing is known of the two together.
    let both = find(&with(Missing::Exclude, Combine::P95OfSum), &[&samples], |_| true).expect("samples");
    assert_eq!((both.ranked, both.present, both.expected), (16, 16, 20));
    let nothing = series(&[None; 20], &[None; 20]);
    assert_eq!(find(&with(Missing::Exclude, Combine::Out), &[&nothing], |_| true), None);
}

/// A second link in silence adds nothing to the sum; as twenty zero rows in one series it would give 1.427.
#[test]
fn links_are_added_up_before_or_after() {
    let (busy, silent) = (series(&known(&IN), &known(&OUT)), series(&[Some(0); 20], &[Some(0); 20]));
    let before = rule(Combine::Out);
    let after = PercentileRule { links: Links::RankThenSum, ..rule(Combine::Out) };
    assert_eq!(found(&before, &[&busy, &silent]), "1.435");
    assert_eq!(found(&after, &[&busy, &silent]), "1.435");
    let appended: Vec<Option<u64>> = known(&OUT).into_iter().chain([Some(0); 20]).collect();
    assert_eq!(found(&before, &[&series(&appended, &appended)]), "1.427");

    // The second link is busy when the first is not: 20 samples of 1000 + 0 and 0 + 1000.
    let turn = |odd: bool| -> Vec<Option<u64>> {
        (0..20).map(|n| Some(if (n % 2 == 0) == odd { 1000 } else { 0 })).collect()
    };
    let (one, two) = (series(&turn(true), &turn(true)), series(&turn(false), &turn(false)));
    assert_eq!(found(&before, &[&one, &two]), "1");
    assert_eq!(found(&after, &[&one, &two]), "2");
    // A sample that one link lacks is missing in the sum.
    let mut gap = turn(false);
    gap[0] = None;
    let two = series(&gap, &gap);
    assert_eq!(find(&before, &[&one, &two], |_| true).map(|found| found.ranked), Some(19));
}

#[test]
fn only_the_samples_of_its_bands_are_ranked() {
    let samples = series(&known(&IN), &known(&OUT));
    let found = find(&rule(Combine::Out), &[&samples], |bucket| bucket < 3).expect("samples");
    assert_eq!(
        (found.ranked, rate_of(&rule(Combine::Out), found.octets)),
        (3, Exact::new(1435.into(), 1000.into()))
    );
}

const FLOW: &str = r#"
[tariff]
id = "t"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "UTC"
unit = "GB"
[[class]]
name = "all"
match = {}
[[charge]]
id = "p95"
kind = "percentile"
class = ["all"]
combine = "out"
rank = "nearest"
missing = "zero"
source = "flow"
price = "10.00"
[tax]
category = "Z"
percent = "0"
"#;

#[test]
fn sampled_flows_have_no_percentile() {
    let tariff = tariff(FLOW);
    let mut of_flow = series(&known(&IN), &known(&OUT));
    of_flow.source = SampleSource::Flow;
    let mut usage = PeriodUsage { series: vec![of_flow], ..PeriodUsage::default() };
    let (lines, totals) = bill(&tariff, &usage);
    assert_eq!(lines, ["p95 1.435 10.00 14.35"]);
    assert_eq!(totals[2], "14.35");
    usage.series[0].is_sampled = true;
    assert!(matches!(rate(&whole(&tariff, &usage)), Err(Error::SampledPercentile { .. })));
    // Exempt from the charge: silence.
    usage.series[0].exempt = vec!["p95".into()];
    assert_eq!(bill(&tariff, &usage).0, ["p95 0 10.00 0.00"]);
    assert_eq!(bill(&tariff, &PeriodUsage::default()).0, ["p95 0 10.00 0.00"]);
}

/// March at 100 Mb/s on one day, and nothing known or used on the others.
fn on_day(source: SampleSource, day: usize, otherwise: Sample) -> PeriodUsage {
    let busy = Sample { inward: Count::octets(3_750_000_000), outward: Count::octets(3_750_000_000) };
    let samples = (0..31 * 288).map(|bucket| if bucket / 288 == day { busy } else { otherwise }).collect();
    let of_day = Series { source, samples, ..series(&[], &[]) };
    PeriodUsage { series: vec![of_day], ..PeriodUsage::default() }
}

/// The first or the last day of March, in UTC.
fn present_on(tariff: &Tariff, day: i8) -> Presence {
    let start = |day: jiff::civil::Date| Some(tariff.zone.start_of(day));
    let day = jiff::civil::date(2026, 3, day);
    Presence { from: start(day), to: start(day.tomorrow().expect("April")) }
}

/// 100 Mb/s on the one day of 31 in which there was a customer: 1/31 of 1000.00 is 32.2580..., paid once and not 1/31
/// of a month that was silent but for a day. Without proration it is all of the price.
#[test]
fn only_the_time_of_a_customer_is_ranked() {
    let seconds = tariff(&format!("{FLOW}[period]\nproration = \"seconds\"\n"));
    for (tariff, line) in
        [(seconds.clone(), "p95 3.225806452 10.00 32.26"), (tariff(FLOW), "p95 100 10.00 1000.00")]
    {
        for day in [1, 31] {
            let at = usize::try_from(day - 1).expect("a day");
            let usage = on_day(SampleSource::Flow, at, Sample::SILENT);
            let mut part = whole(&tariff, &usage);
            part.term.presence = present_on(&tariff, day);
            assert_eq!(bill_parts(&[part]).0, [line], "{day}");
        }
    }
    // A part that ends before the customer begins: no lines by seconds, and otherwise nothing used.
    for (tariff, lines) in [(seconds, vec![]), (tariff(FLOW), vec!["p95 0 10.00 0.00"])] {
        let usage = on_day(SampleSource::Flow, 0, Sample::SILENT);
        let mut part = whole(&tariff, &usage);
        part.term.presence = present_on(&tariff, 31);
        part.term.span.to = tariff.zone.start_of(jiff::civil::date(2026, 3, 16));
        assert_eq!(bill_parts(&[part]).0, lines);
    }
}

/// Of the 288 samples of the one day 6 are missing: 282/288 = 0.979166... are there, whatever the days before had.
#[test]
fn only_the_time_of_a_customer_has_samples_to_miss() {
    let text = FLOW.replace("missing = \"zero\"", "missing = \"exclude\"\nmin_coverage = \"0.98\"");
    let tariff = tariff(&text.replace("source = \"flow\"", "source = \"snmp\""));
    let mut usage = on_day(SampleSource::Snmp, 30, Sample::MISSING);
    let rated = |usage: &PeriodUsage| {
        let mut part = whole(&tariff, usage);
        part.term.presence = present_on(&tariff, 31);
        rate(&part)
    };
    assert_eq!(rated(&usage).expect("rates")[0].coverage, Some(1_000_000));
    let end = usage.series[0].samples.len();
    usage.series[0].samples[end - 6..].fill(Sample::MISSING);
    let Err(Error::Coverage { coverage, .. }) = rated(&usage) else { panic!("too few samples") };
    assert_eq!(coverage, "0.979166");
}

proptest! {
    /// Cacti sorts from the greatest down and takes what stands at a twentieth of their number, rounded up, counted from
    /// none; contracts discard a twentieth, rounded down, and take the next.
    #[test]
    fn ranks_are_those_of_sorting_down(values in prop::collection::vec(0..1000_u64, 2..400)) {
        let mut down = values.clone();
        down.sort_unstable_by(|a, b| b.cmp(a));
        let silent = vec![0; values.len()];
        let samples = series(&known(&values), &known(&silent));
        let of = |rank| {
            let rule = PercentileRule { rank, ..rule(Combine::In) };
            find(&rule, &[&samples], |_| true).expect("samples").octets
        };
        let n = values.len();
        let octets = |at: usize| u128::from(down[at] * 37_500);
        prop_assert_eq!(of(Rank::Cacti), octets((n * 5).div_ceil(100)));
        prop_assert_eq!(of(Rank::Nearest), octets(n * 5 / 100));
    }

    /// However it is ranked, a percentile is one of the samples, and about a twentieth of them are above it.
    #[test]
    fn a_twentieth_is_above(values in prop::collection::vec(0..1000_u64, 1..400)) {
        let samples = series(&known(&values), &known(&values));
        for rank in Rank::ALL {
            let rule = PercentileRule { rank, ..rule(Combine::In) };
            let octets = find(&rule, &[&samples], |_| true).expect("samples").octets;
            let above = values.iter().filter(|&&value| u128::from(value) * 37_500 > octets).count();
            prop_assert!(values.iter().any(|&value| u128::from(value) * 37_500 == octets));
            prop_assert!(above <= values.len() / 20 + 1, "{} of {}", above, values.len());
            if rank == Rank::Nearest {
                prop_assert!(above <= values.len() / 20, "{} of {}", above, values.len());
            }
        }
    }
}
