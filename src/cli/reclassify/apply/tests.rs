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
    Late {
        of: HashMap::from([(key(), vec![(BucketStart(900), sums(20)), (BucketStart(1200), sums(10))])]),
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
