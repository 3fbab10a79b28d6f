//! How a difference is divided between what came in time and what came late.

use super::*;
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, LinkId};
use crate::units::SamplingRate;

fn key() -> UsageKey {
    UsageKey {
        bucket: BucketStart(300),
        customer: CustomerId(16),
        link: LinkId(1),
        direction: Direction::In,
        class: ClassId::DEFAULT,
        family: Family::V4,
        exporter: ExporterId(1),
        rate: SamplingRate::NOT_ANNOUNCED,
    }
}

/// 70 octets in time, 20 carried into 900 and 10 into 1200.
fn late() -> Late {
    let sums = |octets| Difference([octets, 1, 0, 0, 0]);
    let carried =
        |into, octets| Carried { into: BucketStart(into), has: sums(octets), taken: Difference::default() };
    Late {
        of: HashMap::from([(key(), vec![carried(900, 20), carried(1200, 10)])]),
        in_time: HashMap::from([(key(), sums(70))]),
    }
}

#[test]
fn what_is_taken_off_is_first_taken_off_what_came_in_time() {
    let divided = |octets: i128, packets: i128| -> Vec<(Option<i64>, [i128; 2])> {
        let changes = late().changes(key(), &Difference([octets, packets, 0, 0, 0]));
        let of = |change: &Change| {
            let [octets, packets, ..] = change.difference.0;
            (change.carried.map(|bucket| bucket.0), [octets, packets])
        };
        changes.iter().map(of).collect()
    };
    // All of it was somebody else's.
    assert_eq!(divided(-100, -3), [(None, [-70, -1]), (Some(1200), [-10, -1]), (Some(900), [-20, -1])]);
    assert_eq!(divided(-75, -1), [(None, [-70, -1]), (Some(1200), [-5, 0])]);
    assert_eq!(divided(-40, 0), [(None, [-40, 0])]);
    // What is more has come in time.
    assert_eq!(divided(5, 1), [(None, [5, 1])]);
    assert_eq!(divided(5, -2), [(None, [5, -1]), (Some(1200), [0, -1])]);
}

#[test]
fn differences_that_cancel_are_not_kept_and_rates_are_apart() {
    let mut differences = Differences::default();
    let more = Difference([100, 2, 1, 0, 0]);
    differences.add(key(), &more);
    differences.add(key(), &more.negated());
    assert!(differences.0.is_empty());
    // Given to somebody else: the exporter reported the same.
    differences.add(key(), &more.negated());
    differences.add(UsageKey { customer: CustomerId(17), ..key() }, &more);
    assert!(differences.reported().is_empty());
    let rate = SamplingRate::new(10, 1, crate::units::RateSource::Sampler).expect("a rate");
    differences.add(UsageKey { rate, ..key() }, &more);
    assert_eq!(differences.reported().into_values().collect::<Vec<_>>(), [more]);
}

/// 70 octets in time and 30 late; 100 are taken off, and come back in two parts: as they were. What is more has come in time.
#[test]
fn what_was_taken_off_late_usage_is_late_again_when_it_comes_back() {
    let taken = |octets| Difference([octets, 0, 0, 0, 0]);
    let carried =
        |into, octets| Carried { into: BucketStart(into), taken: taken(octets), ..Carried::default() };
    let divided = |late: &Late, octets: i128| -> Vec<(Option<i64>, i128)> {
        let changes = late.changes(key(), &taken(octets));
        changes.iter().map(|change| (change.carried.map(|bucket| bucket.0), change.difference.0[0])).collect()
    };
    let all = Late {
        of: HashMap::from([(key(), vec![carried(900, 20), carried(1200, 10)])]),
        in_time: HashMap::new(),
    };
    assert_eq!(divided(&all, 100), [(None, 70), (Some(1200), 10), (Some(900), 20)]);
    assert_eq!(divided(&all, 25), [(Some(1200), 5), (Some(900), 20)]);
    let rest = Late { of: HashMap::from([(key(), vec![carried(1200, 5)])]), in_time: HashMap::new() };
    assert_eq!(divided(&rest, 75), [(None, 70), (Some(1200), 5)]);
}

/// A ledger whose version is the first number, and which has so many comparisons that are unlike.
#[test]
fn what_is_unlike_is_compared_again_where_something_was_committed() {
    let attempts = |commits: u64, unlike: u32| {
        let mut ledger = (0_u64, 0_u32);
        let found = compared(
            &mut ledger,
            |ledger| Ok(ledger.0),
            |ledger| {
                ledger.1 += 1;
                ledger.0 += u64::from(u64::from(ledger.1) <= commits);
                Ok(ledger.1 <= unlike)
            },
            |is_unlike: &bool| *is_unlike,
        );
        (found.ok(), ledger.1)
    };
    assert_eq!(attempts(0, 0), (Some(false), 1));
    assert_eq!(attempts(9, 0), (Some(false), 1), "what is alike is not compared again");
    assert_eq!(attempts(0, 9), (Some(true), 1), "nothing was committed");
    assert_eq!(attempts(9, 2), (Some(false), 3));
    assert_eq!(attempts(2, 9), (Some(true), 3));
    assert_eq!(attempts(9, 9), (Some(true), ATTEMPTS));
}
