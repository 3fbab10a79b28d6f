//! Invoices of charges that are calibrated, worked out by hand.

use super::*;
use crate::classify::rules::{CustomerRule, LinkRule, Network, Validity};
use crate::flow::Family;
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::invoice::Invoice;
use crate::invoice::kinds::LinkKinds;
use crate::invoice::run::{Inputs, run};
use crate::period::Period;
use crate::rate::calibrate::{Interval, Ranks, Unknown};
use crate::rate::parse::parse;
use crate::units::{RateSource, UnixMillis};
use crate::usage::{BucketStart, UsageKey, UsageSums};

/// 2026-03-01T00:00:00Z.
const MARCH: i64 = 1_772_323_200;

const TARIFF: &str = r#"
[tariff]
id = "t"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "UTC"
unit = "GB"
[[class]]
name = "up"
match = { link_kind = "upstream" }
[[class]]
name = "rest"
match = {}
[[charge]]
id = "vol"
kind = "volume"
class = ["up"]
direction = "sum"
price = "1.00"
calibrate = true
[tax]
category = "S"
percent = "21"
"#;

/// Usage of a customer toward it, in the bucket at a place, at 1 in `rate`; packets are of 1500 octets.
fn row(place: i64, customer: u32, octets: u64, rate: u64) -> UsageRow {
    UsageRow {
        key: UsageKey {
            bucket: BucketStart(MARCH + 300 * place),
            customer: CustomerId(customer),
            link: LinkId(1),
            direction: Direction::In,
            class: ClassId::DEFAULT,
            family: Family::V4,
            exporter: ExporterId(1),
            rate: SamplingRate::new(rate, 1, RateSource::Override).expect("a rate"),
        },
        sums: UsageSums {
            octets,
            packets: octets / 1500,
            flows: 1,
            squares_low: octets * 1500,
            squares_high: octets * 1500,
        },
    }
}

/// The numbers of customers `a` and `b`, their usage, and what the interfaces of the link counted, by place of the bucket.
struct Case {
    a: u32,
    b: u32,
    rows: Vec<UsageRow>,
    late: Vec<UsageRow>,
    counted: Vec<(i64, u128)>,
}

impl Case {
    /// In four buckets: one where a third of an octet is left; one without counters; one in which more than half of the flows
    /// are missing; and one that was sampled.
    fn new(a: u32, b: u32) -> Self {
        let rows = vec![
            row(0, a, 1_000_000_000, 1),
            row(0, b, 2_000_000_000, 1),
            row(1, a, 500_000_000, 1),
            row(2, a, 400_000_000, 1),
            row(3, a, 1_500_000, 1000),
            row(3, b, 3_000_000, 1000),
        ];
        let counted = vec![(0, 3_100_000_000), (2, 900_000_000), (3, 4_320_000_000)];
        Self { a, b, rows, late: Vec::new(), counted }
    }

    fn kinds(&self, network: &Network) -> LinkKinds {
        let mut kinds = LinkKinds::default();
        kinds.push(UnixMillis(0), network);
        let names = [(self.a, "a".to_owned()), (self.b, "b".to_owned())];
        let mut totals = Totals::new(Ranks::new(&names, &[], &[]));
        for (place, interface) in &self.counted {
            let bucket = BucketStart(MARCH + 300 * place);
            let rows = self.rows.iter().filter(|row| row.key.bucket == bucket);
            let mut variance = Variance::default();
            rows.clone().for_each(|row| variance.add(row.sums.squares_high, row.key.rate));
            let is_sampled = rows.clone().any(|row| row.key.rate.is_sampled());
            let weighed: Vec<_> = rows
                .map(|row| (totals.order(&row.key), weight(row.sums.octets, row.key.rate).expect("fits")))
                .collect();
            let total = Total::shared_out(*interface, &weighed, (variance.octets_squared(), is_sampled));
            let interval = total.map_or(Interval::Unknown(Unknown::Through), Interval::Total);
            totals.put(bucket, LinkId(1), Direction::In, interval);
        }
        kinds.share_out(totals);
        kinds
    }

    /// The invoices of `a` and `b`.
    fn invoices(&self, tariff: &str) -> Vec<Invoice> {
        let tariff = parse("t", tariff).expect("good");
        let customer = |name: &str| CustomerRule {
            name: name.to_owned(),
            prefixes: vec![],
            asns: vec![],
            interfaces: vec![],
            validity: Validity::default(),
            tariff: Some("t".to_owned()),
            address: vec![],
        };
        let link =
            LinkRule { name: "transit-a".into(), kind: "upstream".into(), points: vec![], overhead: None };
        let customers = vec![customer("a"), customer("b")];
        let network = Network { links: vec![link], customers, ..Network::default() };
        let names = Names {
            customers: [(self.a, "a".to_owned()), (self.b, "b".to_owned())].into(),
            links: [(1, "transit-a".to_owned())].into(),
            exporters: [(1, "ce1".to_owned())].into(),
            ..Names::default()
        };
        let inputs = Inputs {
            network: &network,
            kinds: &self.kinds(&network),
            tariffs: &[tariff],
            names: &names,
            seller: None,
            period: Period::new(2026, 3).expect("a month"),
            customer: None,
            late: &self.late,
        };
        let outcome = run(&inputs, |_, each| {
            let mut rows = self.rows.clone();
            rows.sort_by_key(|row| row.key);
            rows.into_iter().for_each(each);
            Ok::<(), std::io::Error>(())
        });
        let outcome = outcome.expect("runs");
        assert_eq!(outcome.problems, []);
        outcome.invoices
    }
}

/// Of 3 100 000 000 octets a third is 1 033 333 333 1/3, and two thirds are 2 066 666 666 2/3, to which the last octet goes.
/// 500 000 000 and 400 000 000 stay as they are: half of 900 000 000 is less than what is between. Of 4 320 000 000 a third
/// is 1 440 000 000. So `a` has 3 373 333 333 octets where the flows say 3 400 000 000, 2 500 000 000 of them in intervals
/// that were shared out (0.735294 of it); and `b` 2 066 666 667 and 2 880 000 000.
///
/// The variance of the flows that were sampled is 2/3 of 1000 * 999 * 1000 * 1500^2 = 2 247 750 000 000 000, and that of
/// their share of 4.32 GB instead of 4.5 is 0.96^2 of it, 1 381 017 600 000 000; the root of that is 37 162 045; 1.6448536
/// times the root, rounded up, is 61 126 124.
#[test]
fn four_intervals_by_hand() {
    let invoices = Case::new(16, 17).invoices(TARIFF);
    let [a, b] = &invoices[..] else { panic!("{invoices:?}") };
    let lines = [a, b].map(|invoice| &invoice.lines[0]);
    assert_eq!(lines.map(|line| line.quantity.as_str()), ["3.373333333", "4.946666667"]);
    assert_eq!(lines.map(|line| line.amount.to_string()), ["3.37", "4.95"]);
    let of = lines[0].detail.calibration.as_ref().expect("calibrated");
    assert_eq!((of.intervals, of.shared, of.share.as_str()), (4, 2, "0.735294"));
    assert_eq!((of.flows.as_str(), of.unit.as_str(), of.max_difference.as_str()), ("3.4", "GB", "0.1"));
    let estimate = lines[0].detail.estimate.as_ref().expect("sampled");
    assert_eq!(
        (estimate.estimate.as_str(), estimate.standard_error.as_str()),
        ("3.373333333", "0.037162045")
    );
    // 37162045 / 3373333333
    assert_eq!(lines[0].relative_error, "0.011016");
    // The flows themselves are told beside it.
    assert_eq!(a.quality.octets, 3_400_000_000);
    assert_eq!(a.volumes[0].octets, 3_400_000_000);

    let lower = TARIFF.replace("calibrate = true", "calibrate = true\nsampled = { basis = \"lower\" }");
    let invoices = Case::new(16, 17).invoices(&lower);
    // 3373333333 - 61126124 = 3312207209
    assert_eq!(invoices[0].lines[0].quantity, "3.312207209");
}

/// At 0.5 of difference still not the one that misses more, and at 0.04 only the first is: 4 320 000 000 are 4.17 % less than the flows,
/// and 3 100 000 000 3.2 % more. Without any, the flows are what they are.
#[test]
fn the_tariff_says_how_far_apart_they_may_be() {
    for (calibrate, quantity, shared) in [
        ("calibrate = { max_difference = \"0.5\" }", "3.373333333", Some(2)),
        ("calibrate = { max_difference = \"0.04\" }", "3.433333333", Some(1)),
        ("calibrate = { max_difference = \"0.000001\" }", "3.4", Some(0)),
        ("calibrate = false", "3.4", None),
    ] {
        let invoices = Case::new(16, 17).invoices(&TARIFF.replace("calibrate = true", calibrate));
        let line = &invoices[0].lines[0];
        let found = line.detail.calibration.as_ref().map(|of| of.shared);
        assert_eq!((line.quantity.as_str(), found), (quantity, shared), "{calibrate}");
    }
}

/// 600 octets more in the interval that was shared out are nothing, since all of it is charged; elsewhere they are 600 octets.
#[test]
fn what_comes_late_has_no_part_in_what_was_shared_out() {
    let line = |place: i64| {
        let mut case = Case::new(16, 17);
        case.late = vec![row(place, 16, 600, 1)];
        case.invoices(TARIFF)[0].lines[0].clone()
    };
    assert_eq!(line(0).quantity, "3.373333333");
    assert_eq!(line(0).detail.calibration.expect("calibrated").flows, "3.4000006");
    assert_eq!((line(1).quantity.as_str(), line(2).quantity.as_str()), ("3.373333933", "3.373333933"));
    assert_eq!(line(9).quantity, "3.373333933", "a bucket that had nothing");
}

/// The root of the rows stands for the totals too, and not for the numbers of names. By hand: the lines of `a` are
/// those of three intervals.
#[test]
fn the_root_covers_the_totals() {
    let roots = |case: &Case, tariff: &str| -> Vec<String> {
        case.invoices(tariff).into_iter().map(|invoice| invoice.usage_root).collect()
    };
    let plain = roots(&Case::new(16, 17), &TARIFF.replace("calibrate = true", ""));
    let calibrated = roots(&Case::new(16, 17), TARIFF);
    let v = 3 * 2_247_750_000_000_000_u64;
    let lines = format!(
        "{MARCH}\ttransit-a\tin\t3100000000\t3000000000\t0\t1033333333\n\
         {}\ttransit-a\tin\t900000000\t400000000\t0\t900000000\n\
         {}\ttransit-a\tin\t4320000000\t4500000000\t{v}\t1440000000\n",
        MARCH + 600,
        MARCH + 900
    );
    let hash = |text: &str| crate::rate::parse::sha256_hex(text.as_bytes());
    assert_eq!(calibrated[0], hash(&format!("{}\n{}\n", plain[0], hash(&lines))));
    assert_eq!(roots(&Case::new(30, 20), TARIFF), calibrated);
    let mut more = Case::new(16, 17);
    more.counted[0].1 += 1;
    assert!(roots(&more, TARIFF).iter().zip(&calibrated).all(|(more, less)| more != less));
}

/// Where remainders are equal, the octet goes to the first by name, whatever the numbers are.
#[test]
fn equal_parts_of_an_odd_total() {
    for (a, b) in [(16, 17), (17, 16)] {
        let rows = vec![row(0, a, 5_000_000_000, 1), row(0, b, 5_000_000_000, 1)];
        let case = Case { rows, counted: vec![(0, 10_000_000_001)], ..Case::new(a, b) };
        let quantities: Vec<String> =
            case.invoices(TARIFF).into_iter().map(|invoice| invoice.lines[0].quantity.clone()).collect();
        assert_eq!(quantities, ["5.000000001", "5"]);
    }
}
