//! Bands: the worked tariff with peak and off-peak prices, and local time over clock changes.

use super::*;
use crate::period::Zone;
use crate::rate::percentile::{Count, Sample, SampleSource, Series};
use crate::units::UnixMillis;
use crate::usage::BucketStart;

/// The tariff of the worked example.
const TRANSIT_EU: &str = r#"
[tariff]
id = "transit-eu"
version = 3
effective = 2026-07-01
currency = "EUR"
timezone = "Europe/Amsterdam"
unit = "GB"
rounding = { line = "half-up", tax_scope = "category" }
[period]
anchor_day = 31
grace = "P3D"
proration = "seconds"
[[class]]
name = "upstream"
match = { link = ["transit-*"] }
[[class]]
name = "other"
match = {}
[[band]]
name = "peak"
days = "mon-fri"
hours = "08:00-20:00"
[[band]]
name = "off"
otherwise = true
[[charge]]
id = "vol"
kind = "volume"
class = ["upstream"]
direction = "sum"
allowance = { quantity = "500", rollover = "none", spend_order = ["off", "peak"] }
tiers = { mode = "graduated", rows = [ { up_to = "10000", price = { peak = "0.0430", off = "0.0215" } }, { price = { peak = "0.0310", off = "0.0155" } } ] }
sampled = { basis = "lower", confidence = "0.95", insensitive_below = "100", max_half_width = "0.05" }
[[charge]]
id = "p95"
kind = "percentile"
class = ["upstream"]
combine = "max-of-p95"
rank = "nearest"
links = "sum-then-rank"
missing = "exclude"
min_coverage = "0.98"
source = "snmp"
commit = { quantity = "100", price = "2.00" }
overage = { price = "3.10" }
[[charge]]
id = "port"
kind = "recurring"
amount = "150.00"
[minimum]
amount = "250.00"
[[discount]]
id = "nren"
percent = "10"
on = ["vol"]
[tax]
category = "S"
percent = "21"
"#;

/// Usage by band in octets: peak and off.
fn used(peak: u64, off: u64) -> PeriodUsage {
    let mut usage = PeriodUsage::default();
    for (band, octets_) in [peak, off].into_iter().enumerate() {
        let inward = GroupKey { band, ..key("transit-a", "upstream", Direction::In) };
        let outward = GroupKey { band, ..key("transit-b", "upstream", Direction::Out) };
        usage.add(inward, &octets(octets_ - octets_ / 3), unsampled());
        usage.add(outward, &octets(octets_ / 3), unsampled());
    }
    let sample = Sample { inward: Count::octets(5_381_250_000), outward: Count::octets(5_000_000_000) };
    usage.series.push(Series {
        link: "transit-a".into(),
        class: 0,
        source: SampleSource::Snmp,
        is_sampled: false,
        exempt: vec![],
        samples: vec![sample; 8640],
    });
    usage
}

/// The worked example; its figures were found by hand. peak 9200.123456789 GB, off 3400.987654321 GB, 143.5 Mb/s.
#[test]
fn the_worked_tariff_ends_in_1061_24() {
    let tariff = tariff(TRANSIT_EU);
    let (lines, totals) = bill(&tariff, &used(9_200_123_456_789, 3_400_987_654_321));
    assert_eq!(
        lines,
        [
            "vol 500 0 0.00",
            "vol 7602.709678736 0.0430 326.92",
            "vol 1597.413778053 0.0310 49.52",
            "vol 2397.290321264 0.0215 51.54",
            "vol 503.697333057 0.0155 7.81",
            "p95 100 2.00 200.00",
            "p95 43.5 3.10 134.85",
            "port 1 150.00 150.00",
            "nren -1 43.58 -43.58",
        ]
    );
    assert_eq!(totals, ["877.06", "184.18", "1061.24"]);
    let made = charges(&tariff, &used(9_200_123_456_789, 3_400_987_654_321));
    assert_eq!(made[0].description, "Traffic in and out, upstream: 500 GB included, off");
    assert_eq!(made[2].description, "Traffic in and out, upstream: peak, above 10000 GB");
    assert_eq!(
        (made[2].band.as_deref(), made[2].tier, made[2].kind),
        (Some("peak"), Some(1), LineKind::Volume)
    );
    assert_eq!(made[2].clause, 27);
    assert_eq!(tariff.grace_days, 3);
}

/// 300 GB off-peak are spent first, then 200 of the peak's 1000: 800 x 0.0430 = 34.40.
#[test]
fn an_allowance_is_spent_in_its_order() {
    let tariff = tariff(TRANSIT_EU);
    let (lines, _) = bill(&tariff, &used(1000 * GB, 300 * GB));
    assert_eq!(lines[..3], ["vol 300 0 0.00", "vol 200 0 0.00", "vol 800 0.0430 34.40"]);
    // Less than 100 GB counts as 100 GB, off-peak, where they are the cheapest; they are included.
    let (lines, _) = bill(&tariff, &used(0, 0));
    assert_eq!(lines[..2], ["vol 100 0 0.00", "vol 0 0.0430 0.00"], "a charge without usage has a line");
}

fn at(tariff: &Tariff, zone: &Zone, instant: &str) -> String {
    let instant: jiff::Timestamp = instant.parse().expect("an instant");
    let local = zone.local(UnixMillis::from_seconds(instant.as_second()));
    tariff.bands.name(tariff.bands.at(local).into()).to_owned()
}

#[test]
fn bands_are_told_by_local_time() {
    let tariff = tariff(TRANSIT_EU);
    let zone = tariff.zone.clone();
    for (instant, band) in [
        ("2026-03-27T06:55:00Z", "off"), // a Friday in winter: 07:55
        ("2026-03-27T07:00:00Z", "peak"),
        ("2026-03-27T18:55:00Z", "peak"), // 19:55
        ("2026-03-27T19:00:00Z", "off"),
        ("2026-03-28T12:00:00Z", "off"), // Saturday
        ("2026-03-30T05:55:00Z", "off"), // Monday in summer: 07:55
        ("2026-03-30T06:00:00Z", "peak"),
        ("2026-03-30T17:55:00Z", "peak"),
        ("2026-03-30T18:00:00Z", "off"),
    ] {
        assert_eq!(at(&tariff, &zone, instant), band, "{instant}");
    }
}

/// March 2026 in Amsterdam has 22 working days of 144 buckets; October 22, of which none is touched by the change of
/// the clocks, which is on Sundays.
#[test]
fn buckets_of_a_month_are_counted_over_clock_changes() {
    let tariff = tariff(TRANSIT_EU);
    for (month, buckets, working) in
        [("2026-03", 8916_usize, 22), ("2026-10", 8940, 22), ("2026-02", 8064, 20)]
    {
        let period: Period = month.parse().expect("a month");
        let span = period.span(&tariff.zone, crate::period::AnchorDay::FIRST);
        let (from, to) = span.buckets();
        let bands = tariff.bands.of_buckets(&tariff.zone, from, to);
        assert_eq!(bands.len(), buckets, "{month}");
        assert_eq!(bands.iter().filter(|&&band| band == 0).count(), working * 144, "{month}");
    }
}

/// A band of the night has the hour that comes twice in October twice, and in March not at all.
#[test]
fn the_hour_of_the_clock_change_is_where_the_clock_says() {
    let text = TRANSIT_EU.replace("days = \"mon-fri\"\nhours = \"08:00-20:00\"", "hours = \"02:00-03:00\"");
    let tariff = tariff(&text);
    let of_day = |from: &str, hours: i64| {
        let from: jiff::Timestamp = from.parse().expect("an instant");
        let (from, to) = (BucketStart(from.as_second()), BucketStart(from.as_second() + hours * 3600));
        tariff.bands.of_buckets(&tariff.zone, from, to).iter().filter(|&&band| band == 0).count()
    };
    assert_eq!(of_day("2026-03-28T23:00:00Z", 23), 0, "the 29th of March has no such hour");
    assert_eq!(of_day("2026-10-24T22:00:00Z", 25), 24, "the 25th of October has two");
    assert_eq!(of_day("2026-10-25T23:00:00Z", 24), 12);
}

#[test]
fn holidays_are_no_weekdays() {
    let text = TRANSIT_EU.replace(
        "[[band]]\nname = \"peak\"",
        "[holidays]\ndates = [\"12-25\", 2026-04-06, \"02-29\"]\n[[band]]\nname = \"peak\"",
    );
    let tariff = tariff(&text);
    let zone = tariff.zone.clone();
    for (instant, band) in [
        ("2026-12-25T12:00:00Z", "off"),  // a Friday
        ("2028-12-25T12:00:00Z", "off"),  // a Monday
        ("2026-12-24T12:00:00Z", "peak"), // a Thursday
        ("2026-04-06T12:00:00Z", "off"),  // a Monday
        ("2027-04-06T12:00:00Z", "peak"), // a Tuesday
        ("2028-02-29T12:00:00Z", "off"),
        ("2026-12-24T22:55:00Z", "off"), // 23:55
    ] {
        assert_eq!(at(&tariff, &zone, instant), band, "{instant}");
    }
    let text = text.replace("days = \"mon-fri\"", "days = [\"mon-wed\", \"fri\", \"holiday\"]");
    let tariff = super::tariff(&text);
    assert_eq!(at(&tariff, &zone, "2026-12-25T12:00:00Z"), "peak");
    assert_eq!(at(&tariff, &zone, "2026-12-24T12:00:00Z"), "off", "a Thursday");
}
