use proptest::prelude::*;

mod adjusted;
mod banded;
mod examples;
mod monotone;
mod percentiles;
mod sampled;
mod split;
mod wording;
mod working;

use super::parse::parse;
use super::tariff::{ChargeKind, Price, Tariff, Tier, glob};
use super::usage::{GroupKey, PeriodUsage};
use super::version::{self, Days, Retroactive, may_follow, on_day, parts, retroactive};
use super::*;
use crate::flow::{Direction, Family};
use crate::period::Period;
use crate::units::{RateSource, SamplingRate};
use crate::usage::UsageSums;

const GB: u64 = 1_000_000_000;
const TRANSIT: &str = include_str!("../../tariffs/transit-per-gb.toml");
const REGIONAL: &str = include_str!("../../tariffs/regional-isp.toml");
const RESEARCH: &str = include_str!("../../tariffs/research-network.toml");

fn tariff(text: &str) -> Tariff {
    parse("test.toml", text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn key(link: &str, kind: &str, direction: Direction) -> GroupKey {
    GroupKey {
        link: link.to_owned(),
        link_kind: kind.to_owned(),
        direction,
        traffic_class: "default".to_owned(),
        family: Family::V4,
        exporter: "gw".to_owned(),
        band: 0,
    }
}

fn unsampled() -> SamplingRate {
    SamplingRate::NOT_ANNOUNCED
}

fn one_in(n: u64, d: u64) -> SamplingRate {
    SamplingRate::new(n, d, RateSource::Sampler).expect("a rate")
}

fn octets(octets: u64) -> UsageSums {
    UsageSums {
        octets,
        packets: octets / 1000,
        flows: 1,
        squares_low: 0,
        squares_high: octets.saturating_mul(1500),
    }
}

/// All of March 2026, for someone who always was a customer.
fn whole<'a>(tariff: &'a Tariff, usage: &'a PeriodUsage) -> Part<'a> {
    Part { tariff, usage, term: Term::whole(tariff, "2026-03".parse().expect("a month")) }
}

fn charges(tariff: &Tariff, usage: &PeriodUsage) -> Vec<Charge> {
    rate(&whole(tariff, usage)).expect("rates")
}

/// Lines as `charge quantity price amount`.
fn shown(charges: &[Charge]) -> Vec<String> {
    let line = |line: &Charge| {
        format!("{} {} {} {}", line.charge, line.quantity.to_decimal_string(9), line.price, line.amount)
    };
    charges.iter().map(line).collect()
}

/// The lines as `charge quantity price amount`, then net, tax and gross.
fn bill_parts(parts: &[Part<'_>]) -> (Vec<String>, [String; 3]) {
    let Rated { charges, totals } = rate_period(parts).expect("rates");
    (shown(&charges), [totals.net, totals.tax, totals.gross].map(|money| money.to_string()))
}

fn bill(tariff: &Tariff, usage: &PeriodUsage) -> (Vec<String>, [String; 3]) {
    bill_parts(&[whole(tariff, usage)])
}

/// 1234.567890123 GB at 0.05 are 61.72839450615; 987.654321 at 0.02 are 19.75308642. 21 % of 81.48 are 17.1108.
#[test]
fn transit_per_gigabyte_by_hand() {
    let mut usage = PeriodUsage::default();
    usage.add(key("a", "upstream", Direction::In), &octets(1_234_567_890_123), unsampled());
    usage.add(key("a", "upstream", Direction::Out), &octets(987_654_321_000), unsampled());
    let (lines, totals) = bill(&tariff(TRANSIT), &usage);
    assert_eq!(lines, ["in 1234.567890123 0.05 61.73", "out 987.654321 0.02 19.75"]);
    assert_eq!(totals, ["81.48", "17.11", "98.59"]);
}

/// 62601.111111111 GB of transit: 10000 x 0.0430 = 430, 40000 x 0.0310 = 1240, 12601.111111111 x 0.0215 = 270.9238...;
/// with the port 2090.92, of which 21 % are 439.0932. Half a petabyte of peering costs nothing.
#[test]
fn graduated_tiers_a_port_and_free_peering_by_hand() {
    let mut usage = PeriodUsage::default();
    usage.add(key("transit-a", "upstream", Direction::In), &octets(40_000 * GB), unsampled());
    usage.add(key("transit-b", "upstream", Direction::Out), &octets(22_601_111_111_111), unsampled());
    usage.add(key("ix", "peering", Direction::In), &octets(500_000 * GB), unsampled());
    let tariff = tariff(REGIONAL);
    let (lines, totals) = bill(&tariff, &usage);
    assert_eq!(
        lines,
        [
            "port 1 150.00 150.00",
            "transit 10000 0.0430 430.00",
            "transit 40000 0.0310 1240.00",
            "transit 12601.111111111 0.0215 270.92",
        ]
    );
    assert_eq!(totals, ["2090.92", "439.09", "2530.01"]);
    assert_eq!(tariff.free_classes().collect::<Vec<_>>(), ["peering"]);
    let descriptions: Vec<String> =
        charges(&tariff, &usage).into_iter().map(|line| line.description).collect();
    assert_eq!(
        descriptions[1..],
        [
            "Transit, in and out: up to 10000 GB",
            "Transit, in and out: 10000 to 50000 GB",
            "Transit, in and out: above 50000 GB"
        ]
    );
}

/// 5120 GiB, of which 1000 are included: 4120 x 0.012 = 49.44, lifted to 50.00 by 0.56; 8.1 % are 4.05.
#[test]
fn an_allowance_and_a_minimum_by_hand() {
    let tariff = tariff(RESEARCH);
    let mut usage = PeriodUsage::default();
    usage.add(key("a", "upstream", Direction::In), &octets(5 << 40), unsampled());
    usage.add(key("a", "upstream", Direction::Out), &octets(9 << 40), unsampled());
    usage.add(key("geant", "research", Direction::In), &octets(70 << 40), unsampled());
    let (lines, totals) = bill(&tariff, &usage);
    assert_eq!(lines, ["commodity-in 1000 0 0.00", "commodity-in 4120 0.012 49.44", "minimum 1 0.56 0.56"]);
    assert_eq!(totals, ["50.00", "4.05", "54.05"]);

    // 6000 GiB and half a TiB: 5512 x 0.012 = 66.144, above the floor.
    usage.add(key("a", "upstream", Direction::In), &octets(1392 << 30), unsampled());
    let (lines, totals) = bill(&tariff, &usage);
    assert_eq!(lines, ["commodity-in 1000 0 0.00", "commodity-in 5512 0.012 66.14"]);
    assert_eq!(totals, ["66.14", "5.36", "71.50"]);

    // Less than the allowance; and nothing at all.
    let (lines, _) = bill(&tariff, &{
        let mut little = PeriodUsage::default();
        little.add(key("a", "upstream", Direction::In), &octets(1 << 29), unsampled());
        little
    });
    assert_eq!(lines, ["commodity-in 0.5 0 0.00", "commodity-in 0 0.012 0.00", "minimum 1 50.00 50.00"]);
    let (lines, _) = bill(&tariff, &PeriodUsage::default());
    assert_eq!(lines, ["commodity-in 0 0 0.00", "commodity-in 0 0.012 0.00", "minimum 1 50.00 50.00"]);
}

#[test]
fn tier_edges_belong_to_the_tier_they_end() {
    let tariff = tariff(REGIONAL);
    let lines = |octets_: u64| {
        let mut usage = PeriodUsage::default();
        usage.add(key("a", "upstream", Direction::In), &octets(octets_), unsampled());
        bill(&tariff, &usage).0.split_off(1)
    };
    assert_eq!(lines(0), ["transit 0 0.0430 0.00"]);
    assert_eq!(lines(10_000 * GB - 1), ["transit 9999.999999999 0.0430 430.00"]);
    assert_eq!(lines(10_000 * GB), ["transit 10000 0.0430 430.00"]);
    assert_eq!(lines(10_000 * GB + 1), ["transit 10000 0.0430 430.00", "transit 0.000000001 0.0310 0.00"]);
    assert_eq!(lines(50_000 * GB), ["transit 10000 0.0430 430.00", "transit 40000 0.0310 1240.00"]);
    // 99.5 units between "up to 99" and "above" must not fall through: here half a unit above an edge.
    assert_eq!(lines(10_000 * GB + GB / 2)[1], "transit 0.5 0.0310 0.02");
}

#[test]
fn a_fraction_of_an_octet_is_not_rounded_away() {
    // Two of three packets were looked at: 10^9 octets seen are 1.5 GB, 1 octet is 1.5 octets.
    let tariff = tariff(&TRANSIT.replace("\"0.05\"", "\"1000000000\""));
    let mut usage = PeriodUsage::default();
    usage.add(key("a", "upstream", Direction::In), &octets(1), one_in(3, 2));
    usage.add(key("b", "upstream", Direction::In), &octets(1), one_in(4, 3));
    // 3/2 + 4/3 = 17/6 octets at 1 EUR an octet.
    assert_eq!(bill(&tariff, &usage).0[0], "in 0.000000003 1000000000 2.83");
}

/// N = 1000, upper sum of squares 11 253 200: SE / estimate of the worked sampling example is 0.442335.
#[test]
fn lines_carry_the_sampling_error_of_their_volume() {
    let mut usage = PeriodUsage::default();
    let sums = UsageSums { octets: 7580, packets: 7, flows: 4, squares_low: 0, squares_high: 11_253_200 };
    usage.add(key("a", "upstream", Direction::In), &sums, one_in(1000, 1));
    usage.add(key("a", "upstream", Direction::Out), &octets(GB), unsampled());
    let charges = charges(&tariff(TRANSIT), &usage);
    assert_eq!((charges[0].relative_error, charges[1].relative_error), (442_335, 0));
    let volume = usage.volume(|_| true);
    assert_eq!(volume.sampled_octets(), Exact::whole(7_580_000));
    assert_eq!(volume.exact_octets(), Exact::whole(1_007_580_000));
}

#[test]
fn an_amount_without_room_is_an_error_and_not_a_wrong_one() {
    let tariff = tariff(&TRANSIT.replace("\"0.05\"", "\"9999999999999999999999999999\""));
    let mut usage = PeriodUsage::default();
    usage.add(key("a", "upstream", Direction::In), &octets(u64::MAX), one_in(u64::from(u32::MAX), 1));
    let Err(Error::Amount { charge, source, .. }) = rate(&whole(&tariff, &usage)) else {
        panic!("an amount")
    };
    assert_eq!((charge.as_str(), source), ("in", crate::money::Error::OutOfRange));
}

#[test]
fn globs() {
    for (pattern, name, matches) in [
        ("transit-*", "transit-a", true),
        ("transit-*", "transit-", true),
        ("transit-*", "transit", false),
        ("*", "", true),
        ("", "", true),
        ("", "a", false),
        ("*-a", "transit-b-a", true),
        ("*-a*b", "x-a-a-ab", true),
        ("*-a*b", "x-a-a-ac", false),
        ("?", "ü", true),
        ("?", "", false),
        ("a?c", "abc", true),
        ("ABC", "abc", false),
        ("[a]", "[a]", true),
    ] {
        assert_eq!(glob(pattern, name), matches, "{pattern} {name}");
    }
    // No exponential time.
    assert!(!glob(&"*a".repeat(50), &"a".repeat(5000).replace('a', "ab")));
}

#[test]
fn classes_match_on_every_part_of_the_key_and_the_first_wins() {
    let text = TRANSIT.replace(
        "[[class]]\nname = \"all\"",
        r#"[[class]]
name = "one"
match = { link = ["t-?"], link_kind = "upstream", traffic_class = "default", family = "ipv4", exporter = "g*" }
[[class]]
name = "two"
match = { family = ["ipv4", "ipv6"] }
[[class]]
name = "all""#,
    );
    let tariff = tariff(&text);
    let base = key("t-1", "upstream", Direction::In);
    let class = |key: &GroupKey| tariff.classes[tariff.class_of(key)].name.clone();
    assert_eq!(class(&base), "one");
    assert_eq!(class(&GroupKey { link: "t-12".into(), ..base.clone() }), "two");
    assert_eq!(class(&GroupKey { link_kind: "peering".into(), ..base.clone() }), "two");
    assert_eq!(class(&GroupKey { traffic_class: "web".into(), ..base.clone() }), "two");
    assert_eq!(class(&GroupKey { exporter: "ce1".into(), ..base.clone() }), "two");
    assert_eq!(class(&GroupKey { family: Family::V6, ..base.clone() }), "two");
    assert_eq!(class(&GroupKey { family: Family::Other, ..base }), "all");
}

#[test]
fn the_newest_version_that_holds_on_a_day_is_applied_and_splits_the_period() {
    let version = |version: i64, effective: &str| {
        tariff(
            &TRANSIT.replace("version = 1", &format!("version = {version}")).replace("2026-01-01", effective),
        )
    };
    let versions = [
        version(1, "2026-01-01"),
        version(2, "2026-03-01"),
        version(3, "2026-03-01"),
        version(4, "2026-05-10"),
        version(5, "2026-05-31"),
    ];
    let id = "transit-per-gb";
    let month = |text: &str| text.parse::<Period>().expect("a month");
    let applied = |text: &str, days: Days, needed: Option<jiff::civil::Date>| {
        parts(&versions, id, month(text), days, needed).map(|parts| {
            let shown = parts.iter().map(|(tariff, span)| {
                assert_eq!(
                    (tariff.zone.start_of(span.first_day), tariff.zone.start_of(span.end_day)),
                    (span.from, span.to)
                );
                format!("{} {}..{}", tariff.version, span.first_day, span.end_day)
            });
            shown.collect::<Vec<_>>().join(" ")
        })
    };
    let all = |text: &str| applied(text, Days::default(), None).expect("covered");
    assert_eq!(all("2026-01"), "1 2026-01-01..2026-02-01");
    assert_eq!(all("2026-03"), "3 2026-03-01..2026-04-01");
    assert_eq!(all("2026-05"), "3 2026-05-01..2026-05-10 4 2026-05-10..2026-05-31 5 2026-05-31..2026-06-01");
    assert_eq!(all("2027-12"), "5 2027-12-01..2028-01-01");
    assert!(matches!(applied("2025-12", Days::default(), None), Err(version::Error::TooEarly { .. })));
    let day = |month: i8, day: i8| Some(jiff::civil::date(2026, month, day));
    let some_days = Days { from: day(5, 5), to: day(5, 20) };
    assert_eq!(
        applied("2026-05", some_days, None).expect("covered"),
        "3 2026-05-05..2026-05-10 4 2026-05-10..2026-05-20"
    );
    assert_eq!(applied("2026-06", some_days, None).expect("none"), "");

    // Nothing before the first version has to be covered for someone who was no customer yet.
    let late = [version(1, "2026-01-10")];
    let of_late = |needed| parts(&late, id, month("2026-01"), Days::default(), needed);
    assert!(matches!(of_late(None), Err(version::Error::TooEarly { .. })));
    assert!(matches!(of_late(day(1, 9)), Err(version::Error::TooEarly { .. })));
    assert_eq!(of_late(day(1, 10)).expect("covered")[0].1.first_day, jiff::civil::date(2026, 1, 10));

    let unknown = parts(&versions, "other", month("2026-01"), Days::default(), None).unwrap_err();
    assert_eq!(unknown, version::Error::Unknown("other".into()));
    assert_eq!(on_day(&versions, id, jiff::civil::date(2026, 5, 9)).map(|tariff| tariff.version), Some(3));
    assert!(on_day(&versions, id, jiff::civil::date(2025, 12, 31)).is_none());
}

#[test]
fn versions_are_immutable_and_follow_without_a_gap() {
    let first = tariff(TRANSIT);
    assert_eq!(may_follow(&[], &first), Ok(true));
    assert_eq!(may_follow(std::slice::from_ref(&first), &first), Ok(false), "twice is once");
    let changed = tariff(&TRANSIT.replace("0.05", "0.06"));
    assert!(matches!(
        may_follow(std::slice::from_ref(&first), &changed),
        Err(version::Error::Changed { .. })
    ));
    let second = tariff(&TRANSIT.replace("version = 1", "version = 2"));
    assert_eq!(may_follow(std::slice::from_ref(&first), &second), Ok(true));
    assert!(matches!(may_follow(&[second], &first), Err(version::Error::NotAbove { active: 2, .. })));
    let moved = tariff(&TRANSIT.replace("version = 1", "version = 2").replace("Amsterdam", "London"));
    assert!(matches!(
        may_follow(&[first], &moved),
        Err(version::Error::Discontinuous { what: "timezone", .. })
    ));
}

#[test]
fn a_version_that_begins_no_later_than_others_takes_periods_over() {
    let version = |version: i64, effective: &str| {
        let text = TRANSIT.replace("version = 1", &format!("version = {version}"));
        tariff(&text.replace("2026-01-01", effective))
    };
    let active =
        [version(1, "2026-01-01"), version(2, "2026-03-01"), version(3, "2026-06-01"), tariff(REGIONAL)];
    let taken = |effective: &str| retroactive(&active, &version(4, effective));
    let day = |month: i8| jiff::civil::date(2026, month, 1);
    let over = |from: i8, until: Option<i8>| {
        Some(Retroactive { newest: 3, newest_effective: day(6), from: day(from), until: until.map(day) })
    };
    assert_eq!(taken("2026-07-01"), None);
    assert_eq!(taken("2026-06-01"), over(6, None));
    assert_eq!(taken("2026-04-01"), over(4, Some(6)));
    assert_eq!(taken("2026-01-01"), over(1, Some(3)));
    assert_eq!(retroactive(&active[3..], &version(4, "2025-01-01")), None, "the first of its tariff");
    assert_eq!(retroactive(&active[..1], &active[0]), None, "itself");
}

/// A row of usage: octets, and which sampling rate.
type Row = (u64, (u64, u64));

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let rate = prop::sample::select(vec![(1, 1), (1000, 1), (3, 2), (4, 3), (4096, 1), (7, 6)]);
    prop::collection::vec((0..1_u64 << 44, rate), 0..12)
}

fn tiers() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((1..20_000_u32, 0..100_000_u32), 1..5)
}

/// The regional tariff with these tiers: (units in the tier, price in 1/10000); the last one's end is ignored.
fn with_tiers(tiers: &[(u32, u32)]) -> Tariff {
    let mut tariff = tariff(REGIONAL);
    let ChargeKind::Volume(rule) = &mut tariff.charges[1].kind else { panic!("volume") };
    let mut end = 0_u32;
    rule.tiers = tiers
        .iter()
        .enumerate()
        .map(|(at, &(units, price))| {
            end += units;
            let up_to = (at + 1 < tiers.len()).then(|| Decimal::from(end));
            Tier { up_to, price: Price::All(Decimal::new(price.into(), 4)), block: None, fee: None }
        })
        .collect();
    tariff
}

fn usage_of(rows: &[Row]) -> PeriodUsage {
    let mut usage = PeriodUsage::default();
    for &(raw, (n, d)) in rows {
        usage.add(key("a", "upstream", Direction::In), &octets(raw), one_in(n, d));
    }
    usage
}

/// Line amounts in cents, by plain 128-bit integers: volumes in sixths of an octet (6 is the common multiple of the
/// denominators above), prices in 1/10000, and 6 * 10^9 * 10^4 / 100 of their product a cent.
fn oracle(rows: &[Row], tiers: &[(u32, u32)]) -> Vec<i128> {
    let mut left: i128 =
        rows.iter().map(|&(raw, (n, d))| i128::from(raw) * i128::from(n) * (6 / i128::from(d))).sum();
    let mut lines = Vec::new();
    for (at, &(units, price)) in tiers.iter().enumerate() {
        let size = i128::from(units) * 6_000_000_000;
        let part = if at + 1 < tiers.len() { left.min(size) } else { left };
        if part == 0 && at > 0 {
            break;
        }
        left -= part;
        let cent = 6 * 1_000_000_000 * 100_i128;
        lines.push((part * i128::from(price) * 2 + cent) / (cent * 2));
    }
    lines
}

fn volume_cents(tariff: &Tariff, usage: &PeriodUsage) -> Vec<i128> {
    charges(tariff, usage)[1..].iter().map(|line| line.amount.minor().into()).collect()
}

proptest! {
    #[test]
    fn rating_is_exact(rows in rows(), tiers in tiers()) {
        prop_assert_eq!(volume_cents(&with_tiers(&tiers), &usage_of(&rows)), oracle(&rows, &tiers));
    }

    #[test]
    fn more_volume_never_costs_less(rows in rows(), more in rows(), tiers in tiers()) {
        let tariff = with_tiers(&tiers);
        let sum = |rows: &[Row]| volume_cents(&tariff, &usage_of(rows)).iter().sum::<i128>();
        let both: Vec<Row> = rows.iter().chain(&more).copied().collect();
        prop_assert!(sum(&both) >= sum(&rows));
    }

    /// Cut into other buckets, links, exporters, families and classes of one tariff class: the same lines.
    #[test]
    fn splitting_usage_changes_nothing(rows in rows(), cuts in prop::collection::vec((0..=1000_u64, any::<bool>()), 12), tiers in tiers()) {
        let tariff = with_tiers(&tiers);
        let mut split = PeriodUsage::default();
        for (&(raw, (n, d)), &(cut, left_first)) in rows.iter().zip(&cuts) {
            let left = raw / 1000 * cut;
            let mut parts = [left, raw - left];
            if left_first { parts.reverse(); }
            for (at, part) in parts.into_iter().enumerate() {
                let group = GroupKey {
                    exporter: format!("ce{at}"),
                    family: if left_first { Family::V6 } else { Family::V4 },
                    traffic_class: format!("class-{cut}"),
                    ..key(if at == 0 { "b" } else { "a" }, "upstream", if left_first { Direction::Out } else { Direction::In })
                };
                split.add(group, &octets(part), one_in(n, d));
            }
        }
        prop_assert_eq!(volume_cents(&tariff, &split), volume_cents(&tariff, &usage_of(&rows)));
    }

    #[test]
    fn invoices_add_up(rows in rows(), tiers in tiers(), percent in 0..=10_000_i64) {
        let mut tariff = with_tiers(&tiers);
        tariff.tax.percent = Decimal::new(percent, 2);
        let usage = usage_of(&rows);
        let Rated { charges, totals } = rate_period(&[whole(&tariff, &usage)]).expect("rates");
        let net: i64 = charges.iter().map(|line| line.amount.minor()).sum();
        prop_assert_eq!(totals.net.minor(), net);
        prop_assert_eq!(totals.tax.minor(), (net * percent * 2 + 10_000) / 20_000);
        prop_assert_eq!(totals.gross.minor(), net + totals.tax.minor());
    }
}
