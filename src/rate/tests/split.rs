//! Periods in parts: changes of version, and customers who come and go.

use super::*;
use crate::units::UnixMillis;

const HOUR: i64 = 3_600_000;

/// The parts of March 2026 (743 hours) by versions of the regional tariff, each with the same usage.
fn parts_of<'a>(versions: &'a [Tariff], usage: &'a [PeriodUsage], presence: Presence) -> Vec<Part<'a>> {
    let period: Period = "2026-03".parse().expect("a month");
    let found = parts(versions, "regional-isp", period, Days::default(), None).expect("covered");
    let part = |(number, (tariff, span))| Part {
        tariff,
        usage: &usage[number],
        term: Term { span, period: Tariff::span(tariff, period), number, presence },
    };
    found.into_iter().enumerate().map(part).collect()
}

fn version(version: i64, effective: &str) -> String {
    REGIONAL.replace("version = 1", &format!("version = {version}")).replace("2026-01-01", effective)
}

fn used(gb: u64) -> PeriodUsage {
    let mut usage = PeriodUsage::default();
    usage.add(key("transit-a", "upstream", Direction::In), &octets(gb * GB), unsampled());
    usage
}

/// From the 11th on (240 of 743 hours are over) the port costs 200.00: 150 x 240/743 = 48.4522 and 200 x 503/743 =
/// 135.3970. The first tier ends at 10000 x 240/743 = 3230.148 and at 10000 x 503/743 = 6769.852 GB.
#[test]
fn a_version_inside_a_period_splits_it_by_seconds() {
    let second = version(2, "2026-03-11").replace("150.00", "200.00").replace("0.0430", "0.0500");
    let versions = [tariff(&version(1, "2026-01-01")), tariff(&second)];
    let usage = [used(4000), used(5000)];
    let rated = rate_period(&parts_of(&versions, &usage, Presence::default())).expect("rates");
    assert_eq!(
        shown(&rated.charges),
        [
            "port 0.323014805 150.00 48.45",
            "transit 3230.148048452 0.0430 138.90",
            "transit 769.851951548 0.0310 23.87",
            "port 0.676985195 200.00 135.40",
            "transit 5000 0.0500 250.00",
        ]
    );
    assert_eq!(rated.totals.net.to_string(), "596.62");
    assert_eq!(rated.totals.taxes.len(), 1, "the same tax in both parts");
    assert_eq!((rated.charges[0].part, rated.charges[3].part), (0, 1));
    assert_eq!(rated.charges[3].span.first_day, jiff::civil::date(2026, 3, 11));
}

/// A new tax rate from the 11th on: each part has its own.
#[test]
fn each_part_has_its_own_tax() {
    let second = version(2, "2026-03-11").replace("percent = \"21\"", "percent = \"25\"");
    let versions = [tariff(&version(1, "2026-01-01")), tariff(&second)];
    let usage = [used(0), used(0)];
    let totals = rate_period(&parts_of(&versions, &usage, Presence::default())).expect("rates").totals;
    // 48.45 x 21 % = 10.1745; 101.55 x 25 % = 25.3875
    let taxes: Vec<String> = totals.taxes.iter().map(|tax| format!("{} {}", tax.base, tax.amount)).collect();
    assert_eq!(taxes, ["48.45 10.17", "101.55 25.39"]);
    assert_eq!((totals.net.to_string(), totals.tax.to_string()), ("150.00".into(), "35.56".into()));
}

#[test]
fn currencies_do_not_mix_in_an_invoice() {
    let versions =
        [tariff(&version(1, "2026-01-01")), tariff(&version(2, "2026-03-11").replace("EUR", "CHF"))];
    let usage = [used(0), used(0)];
    let refused = rate_period(&parts_of(&versions, &usage, Presence::default()));
    assert!(matches!(refused, Err(Error::Currencies(..))));
    assert_eq!(rate_period(&[]), Err(Error::Nothing));
}

/// Someone who was there for 100 of 743 hours pays all of the month, or 100/743 of it, as the tariff says; who was not
/// there at all pays only for usage.
#[test]
fn who_comes_or_goes_pays_as_the_tariff_says() {
    let period: Period = "2026-03".parse().expect("a month");
    let seconds = REGIONAL.replace("anchor_day = 1", "anchor_day = 1\nproration = \"seconds\"");
    let full = seconds.replace("amount = \"150.00\"", "amount = \"150.00\"\nproration = \"none\"");
    let end = tariff(REGIONAL).span(period).to.0;
    let last_hours = Presence { from: Some(UnixMillis(end - 100 * HOUR)), to: None };
    let gone = Presence { from: None, to: Some(tariff(REGIONAL).span(period).from) };
    for (text, presence, port) in [
        (REGIONAL, last_hours, Some("150.00")),
        (&seconds, last_hours, Some("20.19")), // 20.1884
        (&full, last_hours, Some("150.00")),
        (REGIONAL, gone, None),
        (&seconds, gone, None),
    ] {
        let (tariff, usage) = (tariff(text), used(100));
        let mut part = whole(&tariff, &usage);
        part.term.presence = presence;
        let (lines, _) = bill_parts(&[part]);
        let found = lines
            .iter()
            .find(|line| line.starts_with("port"))
            .map(|line| line.rsplit_once(' ').expect("a word").1);
        assert_eq!(found, port);
        assert_eq!(lines.last().map(String::as_str), Some("transit 100 0.0430 4.30"));
    }
}

/// 743 GB are included in the 743 hours of March, so 240 up to the 11th and 503 from then on; a GB beyond costs 1.00.
fn with_allowance(rollover: &str) -> [Tariff; 2] {
    let text = |number: i64, effective: &str| {
        tariff(&version(number, effective).replace(
            "tiers = { mode = \"graduated\", rows = [",
            &format!("allowance = {{ quantity = \"743\", rollover = \"{rollover}\" }}\ntiers = {{ mode = \"flat\", rows = ["),
        )
        .replace("    { up_to = \"10000\", price = \"0.0430\" },\n", "")
        .replace("    { up_to = \"50000\", price = \"0.0310\" },\n", "")
        .replace("0.0215", "1.00"))
    };
    [text(1, "2026-01-01"), text(2, "2026-03-11")]
}

/// An allowance is one of all the month: what a part leaves of its share is used by the other, earlier or later.
#[test]
fn what_a_part_leaves_of_an_allowance_is_the_other_part_s() {
    let versions = with_allowance("next-period");
    let rated = |first: u64, second: u64, carried: i64| {
        let mut usage = [used(first), used(second)];
        usage[0].carried.insert("transit".to_owned(), Exact::whole(carried));
        let parts = parts_of(&versions, &usage, Presence::default());
        let lines: Vec<String> =
            bill_parts(&parts).0.into_iter().filter(|line| !line.starts_with("port")).collect();
        let left = left_over(&parts).expect("known").remove("transit").unwrap_or_else(Exact::zero);
        (lines.join("; "), left)
    };
    let is = |lines: &str, left: i64| (lines.to_owned(), Exact::whole(left));
    // 160 beyond the first share, of the 503 that the second leaves: 343 roll over.
    let both =
        "transit 240 0 0.00; transit 160 0 0.00; transit 0 1.00 0.00; transit 0 0 0.00; transit 0 1.00 0.00";
    assert_eq!(rated(400, 0, 0), is(both, 343));
    // 197 beyond the second share, and 140 left of the first: 57 are paid.
    let later = "transit 100 0 0.00; transit 0 1.00 0.00; transit 503 0 0.00; transit 140 0 0.00; transit 57 1.00 57.00";
    assert_eq!(rated(100, 700, 0), is(later, 0));
    // 60 and 97 beyond: 157 are paid, as by 900 in one part.
    let beyond = "transit 240 0 0.00; transit 60 1.00 60.00; transit 503 0 0.00; transit 97 1.00 97.00";
    assert_eq!(rated(300, 600, 0), is(beyond, 0));
    // 100 of the month before: 60 for the first part, 40 for the second.
    let carried = "transit 240 0 0.00; transit 60 0 0.00; transit 0 1.00 0.00; \
                   transit 503 0 0.00; transit 40 0 0.00; transit 57 1.00 57.00";
    assert_eq!(rated(300, 600, 100), is(carried, 0));
}

/// Someone who left before the second part began has nothing of its share; nor has another charge.
#[test]
fn a_part_of_nobody_leaves_nothing() {
    let mut versions = with_allowance("none");
    versions.iter_mut().for_each(|version| version.proration = tariff::Proration::Seconds);
    let usage = [used(400), used(0)];
    let begin = versions[0].span("2026-03".parse().expect("a month")).from.0;
    let gone = Presence { from: None, to: Some(UnixMillis(begin + 240 * HOUR)) };
    let paid = |versions: &[Tariff], presence| {
        let (lines, _) = bill_parts(&parts_of(versions, &usage, presence));
        lines.into_iter().filter(|line| line.contains(" 1.00 ")).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(paid(&versions, gone), "transit 160 1.00 160.00; transit 0 1.00 0.00");
    assert_eq!(paid(&versions, Presence::default()), "transit 0 1.00 0.00; transit 0 1.00 0.00");
    versions[1].charges[1].id = "other".to_owned();
    assert_eq!(paid(&versions, Presence::default()), "transit 160 1.00 160.00; other 0 1.00 0.00");
}

proptest! {
    /// Whatever was used when, and wherever the month is cut: beyond the allowance is what all of it is beyond.
    #[test]
    fn an_allowance_is_one_of_all_the_month(first in 0..1500_u64, second in 0..1500_u64, carried in 0..500_i64) {
        let versions = with_allowance("next-period");
        let mut usage = [used(first), used(second)];
        usage[0].carried.insert("transit".to_owned(), Exact::whole(carried));
        let parts = parts_of(&versions, &usage, Presence::default());
        let rated = rate_period(&parts).expect("rates");
        let paid = rated.charges.iter().filter(|line| line.kind == LineKind::Volume)
            .fold(Exact::zero(), |sum, line| sum.plus(&line.quantity));
        let all = i64::try_from(first + second).expect("small");
        prop_assert_eq!(paid, Exact::whole((all - 743 - carried).max(0)));
        let left = left_over(&parts).expect("known").remove("transit").unwrap_or_else(Exact::zero);
        prop_assert_eq!(left, Exact::whole((743 - all).max(0)));
    }

    /// A version that says the same splits nothing that is priced by one price: the parts' exact quantities are the
    /// whole's, and the amounts differ by the rounding of one more line at most.
    #[test]
    fn parts_equal_the_whole(before in 0..100_000_u64, after in 0..100_000_u64, day in 2..31_i8) {
        let flat = REGIONAL.replace("tiers = { mode = \"graduated\", rows = [", "price = \"0.0431\"\n#")
            .replace("    { up_to = \"10000\", price = \"0.0430\" },", "")
            .replace("    { up_to = \"50000\", price = \"0.0310\" },", "")
            .replace("    { price = \"0.0215\" },", "").replace("] }", "");
        let date = format!("2026-03-{day:02}");
        let second = flat.replace("version = 1", "version = 2").replace("2026-01-01", &date);
        let versions = [tariff(&flat), tariff(&second)];
        let usage = [used(before), used(after)];
        let split = rate_period(&parts_of(&versions, &usage, Presence::default())).expect("rates");
        let all = used(before + after);
        let one = rate_period(&[whole(&versions[0], &all)]).expect("rates");
        for id in ["port", "transit"] {
            let sum = |charges: &[Charge]| charges.iter().filter(|line| line.charge == id)
                .fold(Exact::zero(), |sum, line| sum.plus(&line.quantity));
            prop_assert_eq!(sum(&split.charges), sum(&one.charges));
        }
        prop_assert!((split.totals.net.minor() - one.totals.net.minor()).abs() <= 2);
    }
}
