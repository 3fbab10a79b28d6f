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

proptest! {
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
