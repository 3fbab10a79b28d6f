//! What sampling makes of charges: bounds, limits, and what the lines say of them.

use super::*;
use crate::rate::line::{Basis, Estimate};

fn with(sampled: &str) -> Tariff {
    tariff(&TRANSIT.replace("price = \"0.05\"", &format!("price = \"1000\"\nsampled = {sampled}")))
}

/// Four records at 1 in 1000: estimate 7 580 000 octets, upper variance 11 241 946 800 000.
fn worked() -> PeriodUsage {
    worked_of("a")
}

fn worked_of(link: &str) -> PeriodUsage {
    let mut usage = PeriodUsage::default();
    let sums =
        UsageSums { octets: 7580, packets: 7, flows: 4, squares_low: 10_187_400, squares_high: 11_253_200 };
    usage.add(key(link, "upstream", Direction::In), &sums, one_in(1000, 1));
    usage
}

/// The lower bound of the worked example is 2 064 968 octets.
#[test]
fn the_lower_bound_is_billed_where_the_tariff_says_so() {
    let lower = with("{ basis = \"lower\" }");
    assert_eq!(bill(&lower, &worked()).0[0], "in 0.002064968 1000 2.06");
    let line = &charges(&lower, &worked())[0];
    let units = |octets: u64| Exact::whole(octets).over(GB);
    let expected = Estimate {
        estimate: units(7_580_000),
        standard_error: units(3_352_901),
        billed: units(2_064_968),
        basis: Basis::LowerBound,
    };
    assert_eq!((line.estimate.as_ref(), line.relative_error), (Some(&expected), 442_335));
    let plain = with("{ basis = \"estimate\" }");
    assert_eq!(bill(&plain, &worked()).0[0], "in 0.00758 1000 7.58");
    let basis = charges(&plain, &worked())[0].estimate.as_ref().map(|estimate| estimate.basis);
    assert_eq!(basis, Some(Basis::Estimate));
    // 99 %: 2.3263479 x 3352901 is more than the estimate.
    assert_eq!(bill(&with("{ basis = \"lower\", confidence = \"0.99\" }"), &worked()).0[0], "in 0 1000 0.00");
}

#[test]
fn what_was_not_sampled_has_no_bound() {
    let mut usage = PeriodUsage::default();
    usage.add(key("a", "upstream", Direction::In), &octets(GB), unsampled());
    let tariff = with("{ basis = \"lower\", max_half_width = \"0\" }");
    assert_eq!(bill(&tariff, &usage).0[0], "in 1 1000 1000.00");
    assert_eq!(charges(&tariff, &usage)[0].estimate, None);
    // With the worked example beside it: its bound of 2064968 octets, and by 99 % nothing of it, but all that was counted.
    usage.groups.append(&mut worked_of("b").groups);
    let lower = |confidence: &str| with(&format!("{{ basis = \"lower\", confidence = \"{confidence}\" }}"));
    assert_eq!(bill(&lower("0.95"), &usage).0[0], "in 1.002064968 1000 1002.06");
    assert_eq!(bill(&lower("0.99"), &usage).0[0], "in 1 1000 1000.00");
}

/// a + b max(X, L): below 2 GB the volume does not matter, and neither does its error, nor whether anything was sampled; a
/// quarter of a month counts 0.5 GB.
#[test]
fn below_a_volume_the_charge_does_not_depend_on_usage() {
    let tariff = with("{ insensitive_below = \"2\", max_half_width = \"0.05\" }");
    let line = &charges(&tariff, &worked())[0];
    assert_eq!((line.amount.to_string().as_str(), line.quantity.clone()), ("2000.00", Exact::whole(2)));
    assert_eq!(line.estimate.as_ref().map(|estimate| estimate.basis), Some(Basis::Insensitive));
    assert_eq!(bill(&tariff, &PeriodUsage::default()).0[0], "in 2 1000 2000.00");
    let mut counted = PeriodUsage::default();
    counted.add(key("a", "upstream", Direction::In), &octets(GB), unsampled());
    assert_eq!(bill(&tariff, &counted).0[0], "in 2 1000 2000.00");
    let mut part = whole(&tariff, &counted);
    let length = part.term.span.to.since(part.term.span.from);
    part.term.span.to.0 -= length / 4 * 3;
    let none = PeriodUsage::default();
    part.usage = &none;
    assert_eq!(bill_parts(&[part]).0[0], "in 0.5 1000 500.00");
    // Nobody was a customer: nothing is owed.
    part.term.presence.from = Some(part.term.period.to);
    assert_eq!(bill_parts(&[part]).0[0], "in 0 1000 0.00");
}

/// The interval of the worked example is 86.6966 % to either side.
#[test]
fn a_volume_that_is_too_uncertain_is_not_billed() {
    let refused = |most: &str| rate(&whole(&with(&format!("{{ max_half_width = \"{most}\" }}")), &worked()));
    let Err(error) = refused("0.866") else { panic!("too wide") };
    assert_eq!(
        error.to_string(),
        "charge `in` of tariff `transit-per-gb`: the volume was estimated with a relative standard error of 0.442335, \
         so that its interval is wider than the 0.866 to either side that `max_half_width` allows"
    );
    assert!(refused("0.867").is_ok());
}

/// Bands share the bound of the whole: 3/4 of the estimate is peak, so 3/4 of the bound is.
#[test]
fn the_bound_is_of_the_whole_line_group() {
    let text = TRANSIT
        .replace(
            "[[class]]",
            "[[band]]\nname = \"peak\"\nhours = \"08:00-20:00\"\n[[band]]\nname = \"off\"\notherwise = true\n[[class]]",
        )
        .replace("price = \"0.05\"", "price = { peak = \"2000\", off = \"1000\" }\nsampled = { basis = \"lower\" }");
    let tariff = tariff(&text);
    let mut usage = PeriodUsage::default();
    for (band, octets, squares_high) in [(0, 5685, 8_439_900), (1, 1895, 2_813_300)] {
        let sums = UsageSums { octets, packets: 3, flows: 1, squares_low: 0, squares_high };
        usage.add(GroupKey { band, ..key("a", "upstream", Direction::In) }, &sums, one_in(1000, 1));
    }
    // 2064968 x 3/4 = 1548726; x 1/4 = 516242.
    assert_eq!(bill(&tariff, &usage).0[..2], ["in 0.001548726 2000 3.10", "in 0.000516242 1000 0.52"]);
}

proptest! {
    #[test]
    fn a_lower_bound_never_costs_more(raw in 1..1_u64 << 40, squares in 0..u64::MAX, n in 2..10_000_u64) {
        let mut usage = PeriodUsage::default();
        let sums = UsageSums { octets: raw, packets: 1, flows: 1, squares_low: 0, squares_high: squares };
        usage.add(key("a", "upstream", Direction::In), &sums, one_in(n, 1));
        let amount = |tariff: &Tariff| charges(tariff, &usage)[0].amount.minor();
        let (estimate, lower) = (amount(&with("{}")), amount(&with("{ basis = \"lower\" }")));
        let surer = amount(&with("{ basis = \"lower\", confidence = \"0.999\" }"));
        prop_assert!(surer <= lower && lower <= estimate, "{} {} {}", surer, lower, estimate);
    }
}

/// 3/2 + 4/3 + 6/5 + 8/7 + 12/11 = 14477/2310: an odd number of parts, whose denominators have nothing in common.
#[test]
fn a_sum_over_several_rates_is_exact() {
    let mut sum = crate::usage::Scaled::default();
    assert_eq!(usage::exact(&sum), Exact::zero());
    for d in [2, 3, 5, 7, 11] {
        sum.add(1, SamplingRate::new(d + 1, d, RateSource::Sampler).expect("a rate"));
    }
    assert_eq!(usage::exact(&sum), Exact::whole(14_477).over(2310));
}
