//! Which corrections are refused, and which months are looked at.

use super::*;
use crate::flow::Family;
use crate::ids::ExporterId;
use crate::rate::calibrate::{Interval, Ranks, Unknown};
use crate::units::SamplingRate;

fn key(bucket: i64, customer: u32, link: u16) -> UsageKey {
    UsageKey {
        bucket: BucketStart(bucket),
        customer: CustomerId(customer),
        link: LinkId(link),
        direction: Direction::In,
        class: ClassId::DEFAULT,
        family: Family::V4,
        exporter: ExporterId(1),
        rate: SamplingRate::NOT_ANNOUNCED,
    }
}

/// 10 octets of usage in the first bucket that are another customer's.
fn moved(from: u32, to: u32, links: (u16, u16)) -> Vec<Change> {
    let change = |key, octets| Change { key, carried: None, difference: Difference([octets, 0, 0, 0, 0]) };
    vec![change(key(300, from, links.0), -10), change(key(300, to, links.1), 10)]
}

/// Late usage of a customer; what there is of it, and what was taken off.
fn late(bucket: i64, customer: u32, link: u16, [has, taken]: [i128; 2]) -> Late {
    let [has, taken] = [has, taken].map(|octets| Difference([octets, 0, 0, 0, 0]));
    let carried = Carried { into: BucketStart(900), has, taken };
    Late { of: [(key(bucket, customer, link), vec![carried])].into(), ..Late::default() }
}

/// Link 1 has a total in the first bucket, or would have one.
fn totals() -> Totals {
    let mut totals = Totals::new(Ranks::default());
    totals.put(BucketStart(300), LinkId(1), Direction::In, Interval::Unknown(Unknown::Late));
    totals
}

#[test]
fn who_has_late_usage_where_a_total_is_shared_out_is_not_corrected() {
    let found = |changes: &[Change], late: &Late| {
        let found = first_among_shares(changes, late, |_| Ok([totals(), Totals::default()])).expect("reads");
        found.map(|(key, place)| (key.customer.0, place.1.0))
    };
    let changes = moved(16, 17, (1, 1));
    assert_eq!(found(&changes, &late(300, 16, 1, [5, 0])), Some((16, 1)), "some of it may have been late");
    assert_eq!(found(&changes, &late(300, 17, 1, [5, 0])), Some((17, 1)));
    assert_eq!(
        found(&changes, &late(300, 17, 1, [0, 5])),
        Some((17, 1)),
        "what was taken off comes back late"
    );
    assert_eq!(found(&changes, &late(300, 18, 1, [5, 0])), None, "somebody else's");
    assert_eq!(found(&changes, &late(600, 16, 1, [5, 0])), None, "of another time");
    assert_eq!(found(&changes, &late(300, 16, 2, [5, 0])), None, "on another link");
    assert_eq!(found(&changes, &Late::default()), None);
    // Late on a link that nobody counted, and moved to one that has a total.
    assert_eq!(found(&moved(16, 17, (2, 1)), &late(300, 16, 2, [5, 0])), Some((16, 1)));
    assert_eq!(found(&moved(16, 17, (2, 2)), &late(300, 16, 2, [5, 0])), None, "no total anywhere");
    // In one bucket, but nothing goes from link to link: what was late on the one has no part in the total of the other.
    let both = [moved(16, 17, (2, 2)), moved(16, 17, (1, 1))].concat();
    assert_eq!(found(&both, &late(300, 16, 2, [5, 0])), None);
    assert_eq!(found(&both, &late(300, 16, 1, [5, 0])), Some((16, 1)));
    let mut elsewhere = [moved(16, 17, (2, 2)), moved(16, 17, (3, 1))].concat();
    assert_eq!(found(&elsewhere, &late(300, 16, 2, [5, 0])), Some((16, 1)), "it may be this that moves");
    elsewhere[2..].iter_mut().for_each(|change| change.key.exporter = ExporterId(2));
    assert_eq!(found(&elsewhere, &late(300, 16, 2, [5, 0])), None, "of another exporter");
    // Nobody counts any link as it is, and link 2 as it is going to be.
    let corrected = || {
        let mut totals = Totals::default();
        totals.put(BucketStart(300), LinkId(2), Direction::In, Interval::Unknown(Unknown::Late));
        Ok([Totals::default(), totals])
    };
    let mut asked = BTreeSet::new();
    let of = first_among_shares(&moved(16, 17, (1, 2)), &late(300, 16, 1, [5, 0]), |places| {
        asked = places;
        corrected()
    });
    assert_eq!(of.expect("reads").map(|(key, place)| (key.customer.0, place.1.0)), Some((16, 2)));
    assert_eq!(asked, [1, 2].map(|link| (BucketStart(300), LinkId(link), Direction::In)).into());
}

#[test]
fn months_that_may_have_a_period_of_these_buckets() {
    let of = |first: &str, last: &str| -> Vec<String> {
        let [first, last] = [first, last].map(|at| {
            let at: jiff::Timestamp = at.parse().expect("an instant");
            BucketStart(at.as_second())
        });
        months(first, last).into_iter().map(|period| period.to_string()).collect()
    };
    assert_eq!(of("2026-07-10T10:00:00Z", "2026-07-31T23:55:00Z"), ["2026-06", "2026-07", "2026-08"]);
    let over_a_year = ["2025-11", "2025-12", "2026-01", "2026-02"];
    assert_eq!(of("2025-12-31T23:00:00Z", "2026-01-01T01:00:00Z"), over_a_year);
}
