//! The working that is shown must lead to the amount, by arithmetic that owes nothing to the rating code: each step as
//! it is printed is worked out again in floating point, and its operands must have been printed before or be given.
#![allow(
    clippy::float_arithmetic,
    reason = "what is printed is worked out again by other means than it was made by"
)]

use super::*;
use crate::rate::percentile::{Count, Sample, SampleSource, Series};
use crate::rate::working::{How, Step};
use crate::units::UnixMillis;

const TARIFFS: [&str; 8] = [
    include_str!("../../../tariffs/exchange-peering.toml"),
    include_str!("../../../tariffs/flat-share.toml"),
    include_str!("../../../tariffs/hosting-packages.toml"),
    include_str!("../../../tariffs/research-daytime.toml"),
    include_str!("../../../tariffs/transit-95th.toml"),
    TRANSIT,
    REGIONAL,
    RESEARCH,
];

/// Every kind of charge that the shipped ones do not have.
const REST: &str = r#"
[tariff]
id = "rest"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "Europe/Amsterdam"
unit = "GiB"
[period]
proration = "seconds"
[[band]]
name = "day"
days = "mon-fri"
hours = "07:00-19:00"
[[band]]
name = "night"
otherwise = true
[[class]]
name = "all"
match = {}
[[charge]]
id = "vol"
kind = "volume"
class = ["all"]
direction = "sum"
allowance = { quantity = "100", rollover = "next-period", spend_order = ["night", "day"] }
sampled = { basis = "lower", insensitive_below = "4" }
tiers = { mode = "graduated", rows = [
    { up_to = "500", price = { day = "0.07", night = "0.03" }, fee = "1.11" },
    { price = { day = "0.05", night = "0.02" } },
] }
cap = "33.33"
[[charge]]
id = "setup"
kind = "one-off"
amount = "25.00"
at = "start"
[[discount]]
id = "some"
amount = "7.77"
[[discount]]
id = "part"
percent = "12.5"
on = ["vol"]
[minimum]
amount = "400.00"
[[credit]]
id = "sorry"
amount = "3.00"
date = 2026-03-25
[tax]
category = "Z"
percent = "0"
"#;

/// A number as it is printed, without the unit behind it.
fn number(text: &str) -> f64 {
    let text = text.trim().trim_end_matches("...");
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What the printed arithmetic comes to.
fn worked_out(text: &str) -> f64 {
    let two = |text: &str| {
        let (one, other) = text.split_once(" and ").expect("two numbers");
        (number(one), number(other))
    };
    if text == "nothing" {
        0.0
    } else if let Some(text) = text.strip_prefix("the smaller of ") {
        let (one, other) = two(text);
        one.min(other)
    } else if let Some(text) = text.strip_prefix("the greater of ") {
        let (one, other) = two(text);
        one.max(other)
    } else if let Some(text) = text.strip_suffix(" rounded up") {
        number(text).ceil()
    } else if let Some(text) = text.strip_suffix(" rounded half up") {
        number(text)
    } else if text.contains(" x ") {
        text.split(" x ").map(number).product()
    } else if text.contains(" + ") {
        text.split(" + ").map(number).sum()
    } else if let Some((of, by)) = text.split_once(" / ") {
        if number(by) == 0.0 { 0.0 } else { number(of) / number(by) }
    } else if let Some((from, less)) = text.split_once(" - ") {
        number(from) - number(less)
    } else {
        number(text)
    }
}

/// Checks one step, as it is printed.
fn check(step: &Step, charge: &Charge) -> f64 {
    let text = step.to_string();
    let (_, text) = text.rsplit_once(": ").expect("what, then how");
    let value = text.rsplit(" = ").next().expect("a value").trim_end_matches(step.unit.as_ref());
    let value = number(value);
    if let Some((how, _)) = text.split_once(" = ") {
        // An amount is the exact number, to half a minor unit.
        let minor = 0.5 / 10_f64.powi(charge.amount.currency().exponent().into());
        let near = if matches!(step.how, How::Money(..)) { minor } else { 0.0 };
        let worked = worked_out(how);
        assert!((worked - value).abs() <= near + worked.abs() * 1e-9 + 1e-9, "{text}");
    }
    value
}

/// Checks a line's working, and that it ends in the amount.
fn proved(charge: &Charge) {
    let working = charge.steps();
    let mut last = f64::NAN;
    for step in working.steps() {
        last = check(step, charge);
    }
    assert_eq!(format!("{last:.2}"), charge.amount.to_string().replace("-0.00", "0.00"), "{working:?}");
    assert_eq!(working.steps().last().expect("steps").how.value(), charge.amount.exact());
    // The quantity is the value of a step, unless nothing had to be worked out for it: one, or minus one of an amount.
    let steps = charge.working.steps();
    let is_amount = charge.quantity == Exact::whole(1) || charge.quantity == Exact::whole(-1);
    let price = Exact::from(charge.price);
    let of = |value: &Exact| steps.iter().any(|step| step.how.value() == *value);
    assert!(of(&charge.quantity) || is_amount, "{} {:?}", charge.description, charge.working);
    let is_derived = matches!(charge.kind, LineKind::Minimum | LineKind::Cap | LineKind::Discount);
    assert!(!is_derived || of(&price), "{} {:?}", charge.description, charge.working);
}

fn used(tariff: &Tariff, gb: u64, rate: SamplingRate) -> PeriodUsage {
    let mut usage = PeriodUsage::default();
    for (n, direction) in (1..).zip([Direction::In, Direction::Out]) {
        for (link, kind) in [("transit-a", "upstream"), ("ix", "peering")] {
            for band in 0..tariff.bands.count() {
                let octets = octets(gb * GB / n + 12_345 * n);
                usage.add(GroupKey { band, ..key(link, kind, direction) }, &octets, rate);
            }
        }
    }
    let sample =
        |n: u64| Sample { inward: Count::octets(n * 997_331), outward: Count::octets(n * 1_000_003) };
    usage.series.push(Series {
        link: "transit-a".into(),
        class: 0,
        source: SampleSource::Snmp,
        is_sampled: false,
        exempt: vec![],
        samples: (0..9000).map(sample).collect(),
    });
    usage.carried = tariff.charges.iter().map(|rule| (rule.id.clone(), Exact::whole(1).over(3))).collect();
    usage
}

#[test]
fn the_working_of_every_line_ends_in_its_amount() {
    let mut kinds = std::collections::BTreeSet::new();
    let mut lines = 0;
    for text in TARIFFS.into_iter().chain([REST]) {
        let all = tariff(text);
        for customer in ["campus", "museum", "council"] {
            let tariff = all.for_customer(customer);
            for gb in [0, 3, 150, 700, 2_000, 30_000, 70_000] {
                for rate in [unsampled(), one_in(1000, 1), one_in(1000, 3)] {
                    let usage = used(&tariff, gb, rate);
                    let mut part = whole(&tariff, &usage);
                    for (hours, number) in [(0, 0), (250, 1)] {
                        // The whole month; what is left of it after 250 hours, for someone who came in it.
                        let from = UnixMillis(part.term.period.from.0 + hours * 3_600_000);
                        part.term.span.from = from;
                        part.term.number = number;
                        part.term.presence.from = (hours > 0).then_some(UnixMillis(from.0 + 1000));
                        let made = rate_period(&[part]).expect("rates").charges;
                        for charge in &made {
                            proved(charge);
                            kinds.insert(charge.kind.as_str());
                        }
                        lines += made.len();
                    }
                }
            }
        }
    }
    assert_eq!(kinds.len(), 12, "every kind of line was there: {kinds:?}");
    assert!(lines > 1000, "{lines}");
}

/// 1500 GB out and 300 in: 1500 - 500 = 1000, at 0.05; what is beyond 20.00 is taken off.
#[test]
fn the_working_of_a_capped_line_by_hand() {
    let tariff = tariff(TARIFFS[1]);
    let mut usage = PeriodUsage::default();
    usage.add(key("a", "upstream", Direction::In), &octets(300 * GB), unsampled());
    usage.add(key("b", "peering", Direction::Out), &octets(1500 * GB), unsampled());
    let made = charges(&tariff.for_customer("flat-7"), &usage);
    let said = |at: usize| made[at].steps().steps().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        said(2),
        [
            "in or out, whichever is more: out: the greater of 1500000000000 and 300000000000 = 1500000000000 octets",
            "billed: 1500000000000 / 1000000000 = 1500 GB",
            "included: 500 GB",
            "used of it: the smaller of 1500 and 500 = 500 GB",
            "beyond: 1500 - 500 = 1000 GB",
            "quantity times price: 1000 x 0.05 = 50 EUR",
            "amount: 50 rounded half up = 50.00 EUR",
        ]
    );
    assert_eq!(
        said(3),
        [
            "at most: 20 EUR",
            "lines of over: 0 + 50 = 50 EUR",
            "beyond the cap: 50 - 20 = 30 EUR",
            "quantity times price: -1 x 30 = -30 EUR",
            "amount: -30 rounded half up = -30.00 EUR",
        ]
    );
}
