//! The shipped tariffs, each with an invoice worked out by hand.

use super::*;
use crate::rate::percentile::{Count, Sample, SampleSource, Series};
use crate::units::UnixMillis;

const DAYTIME: &str = include_str!("../../../tariffs/research-daytime.toml");
const P95: &str = include_str!("../../../tariffs/transit-95th.toml");
const HOSTING: &str = include_str!("../../../tariffs/hosting-packages.toml");
const FLAT: &str = include_str!("../../../tariffs/flat-share.toml");
const EXCHANGE: &str = include_str!("../../../tariffs/exchange-peering.toml");

const TB: u64 = 1_000_000_000_000;

fn in_band(band: usize, key: GroupKey) -> GroupKey {
    GroupKey { band, ..key }
}

/// 1234.5 GB by day, of which 40 are the mirror's: 1194.5 - 200 included = 994.5, and 100 left from February: 894.5 x
/// 0.035 = 31.3075. Night, outgoing and research traffic are free. 8.1 % of 31.31 are 2.53611.
#[test]
fn research_daytime() {
    let tariff = tariff(DAYTIME);
    let (day, night) = (0, 1);
    let mut usage = PeriodUsage::default();
    let mirror = GroupKey { traffic_class: "mirror".into(), ..key("a", "upstream", Direction::In) };
    for (key, gb10) in [
        (in_band(day, key("a", "upstream", Direction::In)), 11_945),
        (in_band(day, mirror), 400),
        (in_band(night, key("a", "upstream", Direction::In)), 90_000),
        (in_band(day, key("a", "upstream", Direction::Out)), 80_000),
        (in_band(day, key("geant", "research", Direction::In)), 70_000),
    ] {
        usage.add(key, &octets(gb10 * GB / 10), unsampled());
    }
    usage.carried.insert("commodity-day".into(), Exact::whole(100));
    let (lines, totals) = bill(&tariff, &usage);
    let expected =
        ["commodity-day 200 0 0.00", "commodity-day 100 0 0.00", "commodity-day 894.5 0.035 31.31"];
    assert_eq!(lines, expected);
    assert_eq!(totals, ["31.31", "2.54", "33.85"]);

    // February used 120 of its 200: 80 are left. Whoever used 200 or more has nothing left.
    let left = |gb: u64| {
        let mut usage = PeriodUsage::default();
        usage.add(in_band(day, key("a", "upstream", Direction::In)), &octets(gb * GB), unsampled());
        usage.add(in_band(night, key("a", "upstream", Direction::In)), &octets(900 * GB), unsampled());
        left_over(&[whole(&tariff, &usage)]).expect("known").remove("commodity-day")
    };
    assert_eq!((left(120), left(200), left(999)), (Some(Exact::whole(80)), None, None));
}

/// A steady 143.5 Mbit/s out are 143.5 x 10^6 x 300 / 8 octets in five minutes: 100 x 2.00 + 43.5 x 3.10 = 334.85.
#[test]
fn transit_95th() {
    let tariff = tariff(P95);
    let sample = Sample { inward: Count::octets(1), outward: Count::octets(5_381_250_000) };
    let series = |missing: usize| {
        let mut samples = vec![sample; 8916];
        samples[..missing].fill(Sample::MISSING);
        Series {
            link: "transit-a".into(),
            class: 0,
            source: SampleSource::Snmp,
            is_sampled: false,
            exempt: vec![],
            samples,
        }
    };
    let of = |missing| PeriodUsage { series: vec![series(missing)], ..PeriodUsage::default() };
    let usage = of(0);
    let (lines, totals) = bill(&tariff, &usage);
    assert_eq!(lines, ["p95 100 2.00 200.00", "p95 43.5 3.10 134.85"]);
    assert_eq!(totals, ["334.85", "70.32", "405.17"]);
    let made = charges(&tariff, &usage);
    assert_eq!(
        made[1].description,
        "95th percentile of the greater direction: above 100 Mb/s, of 143.5 Mb/s"
    );
    assert_eq!(made[1].coverage, Some(1_000_000));

    // 178 of 8916 missing: 98.0036 % are there; with one more 97.9924 %.
    assert_eq!(charges(&tariff, &of(178))[0].coverage, Some(980_035));
    let refused = rate(&whole(&tariff, &of(179)));
    assert!(matches!(refused, Err(Error::Coverage { .. })), "{refused:?}");
    assert!(matches!(rate(&whole(&tariff, &PeriodUsage::default())), Err(Error::NoSamples { .. })));
}

/// 4.2 TB: plan M. 23.1 TB: plan L, and 3.1 TB beyond 20 in 4 packages. Set up on the day it begins, and then no more.
#[test]
fn hosting_packages() {
    let tariff = tariff(HOSTING);
    let used = |tenths: u64| {
        let mut usage = PeriodUsage::default();
        usage.add(key("a", "upstream", Direction::Out), &octets(tenths * TB / 10), unsampled());
        usage.add(key("a", "upstream", Direction::In), &octets(99 * TB), unsampled());
        usage
    };
    let plan = |tenths: u64| -> Vec<String> {
        bill(&tariff, &used(tenths)).0.into_iter().filter(|line| !line.ends_with(" 0.00")).collect()
    };
    assert_eq!(plan(0), ["plan 1 10.00 10.00"]);
    assert_eq!(plan(10), ["plan 1 10.00 10.00"], "a whole terabyte is in plan S");
    assert_eq!(plan(42), ["plan 1 40.00 40.00"]);
    assert_eq!(plan(231), ["plan 1 120.00 120.00", "extra 4 5.00 20.00"]);
    assert_eq!(plan(230), ["plan 1 120.00 120.00", "extra 3 5.00 15.00"]);
    let usage = used(42);
    let mut part = whole(&tariff, &usage);
    part.term.presence.from = Some(UnixMillis(part.term.span.from.0 + 86_400_000));
    let (lines, totals) = bill_parts(&[part]);
    assert_eq!(lines[0], "setup 1 25.00 25.00");
    assert_eq!(totals, ["65.00", "0.00", "65.00"]);
    let reason = &rate_period(&[part]).expect("rates").totals.taxes[0].exemption_reason;
    assert_eq!(reason, "Not subject to sales tax");
}

/// 700 GB in, 300 out: 700 - 500 = 200 x 0.05 = 10.00. 1500 in: 1000 x 0.05 = 50.00, capped at 20.00.
#[test]
fn flat_share_with_a_cap() {
    let tariff = tariff(FLAT);
    let used = |inward: u64, outward: u64| {
        let mut usage = PeriodUsage::default();
        usage.add(key("a", "upstream", Direction::In), &octets(inward * GB), unsampled());
        usage.add(key("b", "peering", Direction::Out), &octets(outward * GB), unsampled());
        usage
    };
    let (lines, totals) = bill(&tariff.for_customer("flat-7"), &used(700, 300));
    assert_eq!(lines, ["flat 1 19.90 19.90", "over 500 0 0.00", "over 200 0.05 10.00"]);
    assert_eq!(totals, ["29.90", "5.68", "35.58"]);
    let (lines, totals) = bill(&tariff.for_customer("flat-7"), &used(300, 1500));
    let capped = ["flat 1 19.90 19.90", "over 500 0 0.00", "over 1000 0.05 50.00", "over -1 30.00 -30.00"];
    assert_eq!(lines, capped);
    assert_eq!(totals[0], "39.90");
    // The council pays half: 39.90 / 2 = 19.95.
    let (lines, totals) = bill(&tariff.for_customer("council"), &used(300, 1500));
    assert_eq!(lines[4], "council -1 19.95 -19.95");
    assert_eq!(totals, ["19.95", "3.79", "23.74"]);

    // From the 15th of March to the 15th of April in Berlin are 31 days less an hour: 743 hours. Who came 100 hours before
    // the end pays 100/743 of the fee (2.678...), has 100/743 of the fair share (67.2947...) and of the cap (2.69...).
    let usage = used(700, 0);
    let own = tariff.for_customer("flat-7");
    let mut part = whole(&own, &usage);
    part.term.presence.from = Some(UnixMillis(part.term.span.to.0 - 100 * 3_600_000));
    let (lines, _) = bill_parts(&[part]);
    assert_eq!(
        lines,
        [
            "flat 0.134589502 19.90 2.68",
            "over 67.294751009 0 0.00",
            "over 632.705248991 0.05 31.64",
            "over -1 28.95 -28.95",
        ]
    );
}

/// 1200 GB of transit are all in the second tier: 60.00, lifted to 100.00. Half a petabyte of peering is free.
#[test]
fn exchange_with_free_peering() {
    let tariff = tariff(EXCHANGE);
    let used = |gb: u64| {
        let mut usage = PeriodUsage::default();
        usage.add(key("ix", "peering", Direction::In), &octets(500_000 * GB), unsampled());
        usage.add(key("a", "upstream", Direction::In), &octets(gb * GB), unsampled());
        usage
    };
    let of = |customer: &str, gb| bill(&tariff.for_customer(customer), &used(gb));
    let (lines, totals) = of("campus", 1200);
    assert_eq!(lines, ["ports 2 250.00 500.00", "transit 1200 0.05 60.00", "minimum 1 40.00 40.00"]);
    assert_eq!(totals, ["600.00", "0.00", "600.00"]);
    assert_eq!(of("campus", 1000).0[1], "transit 1000 0.06 60.00", "the end of a tier belongs to it");
    assert_eq!(of("campus", 10_001).0[1..], ["transit 10001 0.04 400.04"]);
    let (lines, _) = of("museum", 1200);
    assert_eq!(lines, ["ports 2 125.00 250.00", "transit 1200 0.05 60.00"]);
}

/// 450 of 500 GB are used after 310 of 743 hours: 1078.548 at the end. With 100 of an older allowance it would be 75 %.
#[test]
fn where_a_customer_stands_with_its_allowance() {
    use crate::rate::standing::standings;
    let text = FLAT.replace(
        "allowance = { quantity = \"500\" }",
        "allowance = { quantity = \"500\" }\nalerts = [\"80\", \"90\", \"100.5\"]",
    );
    let tariff = tariff(&text);
    let used = |gb: u64| {
        let mut usage = PeriodUsage::default();
        usage.add(key("a", "upstream", Direction::In), &octets(gb * GB), unsampled());
        usage
    };
    let at = |gb: u64, hours: i64| {
        let usage = used(gb);
        let part = whole(&tariff, &usage);
        let until = UnixMillis(part.term.span.from.0 + hours * 3_600_000);
        standings(&part, until).expect("known").remove(0)
    };
    let standing = at(450, 310);
    assert_eq!((standing.charge.as_str(), standing.unit, standing.percent()), ("over", "GB", Some(90)));
    assert_eq!(standing.alert, Some(Decimal::from(90)));
    let projected = standing.projected.map(|projected| projected.to_decimal_string(3));
    assert_eq!(projected.as_deref(), Some("1078.548"));
    assert_eq!((at(399, 310).alert, at(400, 310).alert), (None, Some(Decimal::from(80))));
    assert_eq!(
        (at(502, 310).alert, at(503, 310).alert),
        (Some(Decimal::from(90)), Some(Decimal::new(1005, 1)))
    );
    assert_eq!(at(10, 0).projected, None);
    assert_eq!(at(10, 9999).projected, Some(Exact::whole(10)), "the period is over");
    let tariff = super::tariff(DAYTIME);
    let mut usage = PeriodUsage::default();
    usage.add(in_band(0, key("a", "upstream", Direction::In)), &octets(225 * GB), unsampled());
    usage.carried.insert("commodity-day".into(), Exact::whole(100));
    let standing = standings(&whole(&tariff, &usage), UnixMillis(0)).expect("known").remove(0);
    assert_eq!((standing.percent(), standing.included), (Some(75), Exact::whole(300)));
}
