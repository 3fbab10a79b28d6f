use super::super::collect::Names;
use super::super::kinds::LinkKinds;
use super::super::run::{Inputs, Outcome, Reason, run};
use super::{covered, seam};
use crate::classify::rules::{CustomerRule, LinkRule, Network, TariffAssignment, Validity};
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::rate::parse::parse;
use crate::rate::tariff::Tariff;
use crate::rate::{self, version};
use crate::units::{RateSource, SamplingRate};
use crate::usage::{BucketStart, UsageKey, UsageRow, UsageSums};

const GB: u64 = 1_000_000_000;
const DAYTIME: &str = include_str!("../../../tariffs/research-daytime.toml");
const TRANSIT: &str = include_str!("../../../tariffs/transit-per-gb.toml");
const REGIONAL: &str = include_str!("../../../tariffs/regional-isp.toml");

fn tariff(text: &str) -> Tariff {
    parse("test.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn network(tariff: &str, changes: &[(&str, &str)]) -> Network {
    let link = |name: &str, kind: &str| LinkRule {
        name: name.into(),
        kind: kind.into(),
        points: vec![],
        overhead: None,
    };
    let change = |&(tariff, date): &(&str, &str)| TariffAssignment {
        customer: "campus".into(),
        tariff: tariff.into(),
        from: at(&format!("{date}T00:00:00Z")).start(),
    };
    Network {
        links: vec![link("transit-a", "upstream"), link("ix", "peering")],
        customers: vec![CustomerRule {
            name: "campus".into(),
            prefixes: vec![],
            asns: vec![],
            interfaces: vec![],
            validity: Validity::default(),
            tariff: Some(tariff.into()),
            address: vec![],
        }],
        assignments: changes.iter().map(change).collect(),
        ..Network::default()
    }
}

fn at(instant: &str) -> BucketStart {
    let instant: jiff::Timestamp = instant.parse().expect("an instant");
    BucketStart(instant.as_second())
}

fn row(instant: &str, direction: Direction, octets: u64) -> UsageRow {
    let key = UsageKey {
        bucket: at(instant),
        customer: CustomerId(16),
        link: LinkId(1),
        direction,
        class: ClassId::DEFAULT,
        family: Family::V4,
        exporter: ExporterId(1),
        rate: SamplingRate::NOT_ANNOUNCED,
    };
    UsageRow { key, sums: UsageSums { octets, packets: 2, flows: 1, squares_low: 3, squares_high: 4 } }
}

/// The run of a month; configurations by the instant from which they are in force.
fn made(versions: &[(&str, &Network)], tariffs: &[Tariff], month: &str, rows: &[UsageRow]) -> Outcome {
    let names = Names {
        customers: [(16, "campus".to_owned())].into(),
        links: [(1, "transit-a".to_owned()), (2, "ix".to_owned())].into(),
        classes: [(1, "web".to_owned())].into(),
        exporters: [(1, "ce1".to_owned())].into(),
    };
    let mut kinds = LinkKinds::default();
    for (instant, network) in versions {
        kinds.push(at(instant).start(), network);
    }
    let network = versions.last().expect("a configuration").1;
    let period = month.parse().expect("a month");
    let inputs = Inputs {
        network,
        kinds: &kinds,
        tariffs,
        names: &names,
        seller: None,
        period,
        customer: None,
        late: &[],
    };
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.key);
    run(&inputs, |filter, each| -> Result<(), std::io::Error> {
        rows.iter()
            .filter(|row| filter.from.is_none_or(|from| row.key.bucket >= from))
            .filter(|row| filter.to.is_none_or(|to| row.key.bucket < to))
            .for_each(|row| each(*row));
        Ok(())
    })
    .expect("runs")
}

fn lines(outcome: &Outcome) -> Vec<String> {
    assert_eq!(outcome.problems, []);
    let lines = outcome.invoices.iter().flat_map(|invoice| &invoice.lines);
    lines.map(|line| format!("{} {} {}", line.charge, line.quantity, line.amount)).collect()
}

const JANUARY: &str = "2026-01-01T00:00:00Z";

/// In Zurich, day is 07:00 to 19:00 on working days: until 2026-03-28 from 06:00 UTC, from the 30th on from 05:00 UTC.
#[test]
fn usage_is_sorted_into_bands_by_local_time() {
    let network = network("research-daytime", &[]);
    let rows = [
        row("2026-03-27T05:55:00Z", Direction::In, 1000 * GB), // night
        row("2026-03-27T06:00:00Z", Direction::In, 300 * GB),  // day
        row("2026-03-28T12:00:00Z", Direction::In, 1000 * GB), // Saturday
        row("2026-03-30T04:55:00Z", Direction::In, 1000 * GB), // night
        row("2026-03-30T05:00:00Z", Direction::In, 40 * GB),   // day
        row("2026-03-30T16:55:00Z", Direction::In, 2 * GB),    // day
        row("2026-03-30T17:00:00Z", Direction::In, 1000 * GB), // night
    ];
    let outcome = made(&[(JANUARY, &network)], &[tariff(DAYTIME)], "2026-03", &rows);
    // All of February's 200 GB are left: 342 - 200 - 142.
    assert_eq!(lines(&outcome), ["commodity-day 200 0.00", "commodity-day 142 0.00", "commodity-day 0 0.00"]);
    let april = made(
        &[(JANUARY, &network)],
        &[tariff(DAYTIME)],
        "2026-04",
        &[
            row("2026-03-27T06:00:00Z", Direction::In, 150 * GB),
            row("2026-04-01T10:00:00Z", Direction::In, 300 * GB),
            row("2026-04-06T10:00:00Z", Direction::In, 300 * GB), // Easter Monday
        ],
    );
    // 50 of March are left: 300 - 200 - 50 = 50 x 0.035.
    assert_eq!(lines(&april), ["commodity-day 200 0.00", "commodity-day 50 0.00", "commodity-day 50 1.75"]);
    assert_eq!(april.invoices[0].volumes[0].octets, 600_000_000_000, "March is not April's");
    // January is the tariff's first: nothing is left from before.
    let january = made(
        &[(JANUARY, &network)],
        &[tariff(DAYTIME)],
        "2026-01",
        &[row("2026-01-02T10:00:00Z", Direction::In, 201 * GB)],
    );
    assert_eq!(lines(&january), ["commodity-day 200 0.00", "commodity-day 1 0.04"]);
}

/// The root is over the rows of the period, whether or not the period before was read.
#[test]
fn the_period_before_is_not_in_the_root() {
    let network = network("research-daytime", &[]);
    let of = |rows: &[UsageRow]| {
        let outcome = made(&[(JANUARY, &network)], &[tariff(DAYTIME)], "2026-04", rows);
        outcome.invoices[0].usage_root.clone()
    };
    let april = row("2026-04-01T10:00:00Z", Direction::In, 300 * GB);
    assert_eq!(of(&[april]), of(&[row("2026-03-27T06:00:00Z", Direction::In, GB), april]));
}

/// Per gigabyte up to the 11th (in at 0.05), then regional: 503/743 of the port, and of the ends of its tiers.
#[test]
fn a_customer_changes_its_tariff_inside_a_period() {
    let network = network("transit-per-gb", &[("regional-isp", "2026-03-11")]);
    let rows = [
        row("2026-03-10T22:55:00Z", Direction::In, 100 * GB),
        row("2026-03-10T23:00:00Z", Direction::In, 100 * GB), // midnight in Amsterdam
    ];
    let tariffs = [tariff(TRANSIT), tariff(REGIONAL)];
    let outcome = made(&[(JANUARY, &network)], &tariffs, "2026-03", &rows);
    assert_eq!(lines(&outcome), ["in 100 5.00", "out 0 0.00", "port 0.676985195 101.55", "transit 100 4.30"]);
    let invoice = &outcome.invoices[0];
    assert_eq!(invoice.tariff.id, "regional-isp");
    let parts: Vec<String> = invoice
        .parts
        .iter()
        .map(|part| format!("{} {}..{}", part.tariff.id, part.span.first_day, part.span.end_day))
        .collect();
    assert_eq!(parts, ["transit-per-gb 2026-03-01..2026-03-11", "regional-isp 2026-03-11..2026-04-01"]);
    assert_eq!((invoice.span.first_day, invoice.span.end_day), (parts_day(1), parts_day(32)));
    let text = super::super::json::write(invoice);
    assert_eq!(super::super::json::read(&text).expect("reads"), *invoice);
    // April is regional alone, and its document has no parts.
    let april = made(&[(JANUARY, &network)], &tariffs, "2026-04", &[]);
    assert_eq!(lines(&april), ["port 1 150.00", "transit 0 0.00"]);
    assert!(april.invoices[0].parts.is_empty());
}

fn parts_day(day: i8) -> jiff::civil::Date {
    if day == 32 { jiff::civil::date(2026, 4, 1) } else { jiff::civil::date(2026, 3, day) }
}

/// What the operator writes in April does not price March anew, with or without dates.
#[test]
fn a_later_configuration_does_not_change_a_period_that_has_ended() {
    let (first, edited) = (network("transit-per-gb", &[]), network("regional-isp", &[]));
    let dated = network("transit-per-gb", &[("regional-isp", "2026-03-01")]);
    let tariffs = [tariff(TRANSIT), tariff(REGIONAL)];
    let rows = [row("2026-03-10T12:00:00Z", Direction::In, 100 * GB)];
    let march = |versions: &[(&str, &Network)]| lines(&made(versions, &tariffs, "2026-03", &rows));
    let transit = ["in 100 5.00", "out 0 0.00"];
    let regional = ["port 1 150.00", "transit 100 4.30"];
    assert_eq!(march(&[(JANUARY, &first)]), transit);
    for later in [&edited, &dated] {
        // March ends at 22:00 UTC on the 31st.
        assert_eq!(march(&[(JANUARY, &first), ("2026-03-31T22:00:00Z", later)]), transit);
        assert_eq!(march(&[(JANUARY, &first), ("2026-03-31T21:55:00Z", later)]), regional);
    }
}

#[test]
fn tariffs_that_leave_a_gap_between_them_are_a_problem() {
    let tariffs =
        [tariff(TRANSIT), tariff(&REGIONAL.replace("anchor_day = 1", "anchor_day = 15")), tariff(DAYTIME)];
    let rows = [row("2026-03-10T12:00:00Z", Direction::In, GB)];
    let reason = |network: &Network, month: &str| {
        let mut outcome = made(&[(JANUARY, network)], &tariffs, month, &rows);
        outcome.problems.pop().map(|problem| problem.reason)
    };
    let gap = network("transit-per-gb", &[("regional-isp", "2026-03-10")]);
    assert!(matches!(reason(&gap, "2026-02"), Some(Reason::Tariff(version::Error::Anchors { .. }))));
    // On the 15th a regional period begins: March is the first half by the gigabyte, and a month from the 15th on.
    let fits = network("transit-per-gb", &[("regional-isp", "2026-03-15")]);
    let outcome = made(&[(JANUARY, &fits)], &tariffs, "2026-03", &rows);
    assert_eq!(lines(&outcome), ["in 1 0.05", "out 0 0.00", "port 1 150.00", "transit 0 0.00"]);
    let money = network("transit-per-gb", &[("research-daytime", "2026-03-20")]);
    let refused = reason(&money, "2026-03");
    assert!(matches!(refused, Some(Reason::Rating(rate::Error::Currencies(..)))), "{refused:?}");
    let utc = tariff(&TRANSIT.replace("transit-per-gb", "utc").replace("Europe/Amsterdam", "UTC"));
    let zones = network("transit-per-gb", &[("utc", "2026-03-20")]);
    let outcome = made(&[(JANUARY, &zones)], &[tariffs[0].clone(), utc], "2026-03", &rows);
    assert!(matches!(outcome.problems[0].reason, Reason::Tariff(version::Error::Zones { .. })));
}

/// The same tariff in two zones and with three anchor days.
fn variants() -> Vec<Tariff> {
    let variant = |id: &str, zone: &str, anchor: i8| {
        let text =
            REGIONAL.replace("\"regional-isp\"", &format!("\"{id}\"")).replace("Europe/Amsterdam", zone);
        tariff(&text.replace("anchor_day = 1", &format!("anchor_day = {anchor}")))
    };
    let amsterdam = "Europe/Amsterdam";
    vec![
        variant("ams", amsterdam, 1),
        variant("m15", amsterdam, 15),
        variant("m31", amsterdam, 31),
        variant("ny", "America/New_York", 1),
    ]
}

/// The seam before November 2026, where the second configuration comes into force on 2 November.
fn seam_of(before: &Network, after: &Network, sealed: Option<&str>) -> Option<(String, String, bool)> {
    let mut kinds = LinkKinds::default();
    kinds.push(at(JANUARY).start(), before);
    kinds.push(at("2026-11-02T12:00:00Z").start(), after);
    let november = "2026-11".parse().expect("a month");
    let seam = seam(&kinds, &variants(), "campus", november, sealed.map(at))?;
    let shown = |bucket: BucketStart| crate::period::rfc3339(bucket.start());
    let text = seam.to_string();
    assert!(text.contains(if seam.ends < seam.begins { "billed never" } else { "billed twice" }), "{text}");
    Some((shown(seam.ends), shown(seam.begins), seam.is_of_hours))
}

#[test]
fn a_change_without_a_date_leaves_a_seam_before_its_period() {
    let of = |before: &str, after: &str| seam_of(&network(before, &[]), &network(after, &[]), None);
    let found =
        |ends: &str, begins: &str, is_of_hours| Some((ends.to_owned(), begins.to_owned(), is_of_hours));
    assert_eq!(of("ams", "ams"), None);
    assert_eq!(of("ams", "m15"), found("2026-10-31T23:00:00Z", "2026-11-14T23:00:00Z", false));
    // In New York, the night to the first of November is still one of summer time.
    assert_eq!(of("ams", "ny"), found("2026-10-31T23:00:00Z", "2026-11-01T04:00:00Z", true));
    assert_eq!(of("ny", "ams"), found("2026-11-01T04:00:00Z", "2026-10-31T23:00:00Z", true));
    // With a date on which a period of the new tariff begins, the old one holds up to it.
    let dated = network("ams", &[("m15", "2026-11-15")]);
    assert_eq!(seam_of(&network("ams", &[]), &dated, None), None);
    // What was sealed counts more than what would be sealed now.
    let same = network("ams", &[]);
    assert_eq!(seam_of(&same, &same, Some("2026-10-31T23:00:00Z")), None);
    let other = found("2026-10-31T22:00:00Z", "2026-10-31T23:00:00Z", false);
    assert_eq!(seam_of(&same, &same, Some("2026-10-31T22:00:00Z")), other);
}

#[test]
fn periods_of_dated_changes_follow_each_other() {
    let tariffs = variants();
    for (first, changes) in [
        ("ams", vec![("m15", "2026-06-15")]),
        ("m15", vec![("ams", "2026-06-01")]),
        ("m31", vec![("ams", "2026-06-01")]),
        ("ams", vec![("m31", "2026-05-31")]),
        ("m15", vec![("ams", "2026-06-15")]),
        ("m15", vec![("ams", "2026-07-01")]),
        ("ams", vec![("m15", "2026-05-15"), ("ams", "2026-06-01"), ("m31", "2026-06-30")]),
    ] {
        let network = network(first, &changes);
        let mut kinds = LinkKinds::default();
        kinds.push(at(JANUARY).start(), &network);
        for month in 3..10 {
            let period = crate::period::Period::new(2026, month).expect("a month");
            let what = format!("{first} {changes:?} {period}");
            assert_eq!(seam(&kinds, &tariffs, "campus", period, None), None, "{what}");
            let (own, _) = covered(&kinds, &tariffs, "campus", period);
            let (next, _) = covered(&kinds, &tariffs, "campus", period.following());
            assert_eq!((own.to, own.end_day), (next.from, next.first_day), "{what}");
        }
    }
}

const FLOWS: &str = r#"
[tariff]
id = "flows"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "UTC"
unit = "GB"
[[class]]
name = "transit"
match = { link_kind = "upstream" }
[[class]]
name = "other"
match = {}
[[charge]]
id = "p95"
kind = "percentile"
class = "transit"
combine = "p95-of-max"
rank = "nearest"
missing = "zero"
source = "flow"
price = "1.00"
[tax]
category = "Z"
percent = "0"
"#;

/// February has 8064 buckets, of which 403 may be discarded: 404 busy ones at 37500000 octets are 1 Mb/s, 403 are none.
#[test]
fn percentiles_of_unsampled_flows_are_ranked_over_all_buckets() {
    let network = network("flows", &[]);
    let busy = |buckets: i64| -> Vec<UsageRow> {
        let begin = at("2026-02-10T00:00:00Z").0;
        let mut rows = Vec::new();
        for n in 0..buckets {
            let mut one = row("2026-02-10T00:00:00Z", Direction::In, 30_000_000);
            one.key.bucket = BucketStart(begin + n * 300);
            let mut same_bucket = one;
            same_bucket.key.family = Family::V6;
            same_bucket.sums.octets = 7_500_000;
            let mut other_class = one;
            other_class.key.link = LinkId(2);
            rows.extend([one, same_bucket, other_class]);
        }
        rows
    };
    let of = |rows: &[UsageRow]| made(&[(JANUARY, &network)], &[tariff(FLOWS)], "2026-02", rows);
    assert_eq!(lines(&of(&busy(404))), ["p95 1 1.00"]);
    assert_eq!(lines(&of(&busy(403))), ["p95 0 0.00"]);
    let mut sampled = busy(404);
    sampled[0].key.rate = SamplingRate::new(1000, 1, RateSource::Sampler).expect("a rate");
    let problem = &of(&sampled).problems[0].reason;
    assert!(matches!(problem, Reason::Rating(rate::Error::SampledPercentile { .. })));
    // Sampled traffic of another class is no matter of this.
    let mut other = busy(404);
    other[2].key.rate = SamplingRate::new(1000, 1, RateSource::Sampler).expect("a rate");
    assert_eq!(lines(&of(&other)), ["p95 1 1.00"]);
}
