//! What becomes of records and octets, by sums worked out by hand.

use super::*;
use crate::ids::{Position, SourceId};
use crate::ledger::records::SourceKind;
use crate::usage::FlushTotals;

fn records(totals: FlushTotals) -> Check {
    let (kind, key) = (SourceKind::Journal, "0".to_owned());
    let source = Source { id: SourceId(1), kind, key, position: Position(9), complete: false, totals };
    let mut check = Check::new("records");
    fates(&[source], &mut check);
    check
}

fn figure(check: &Check, name: &str) -> i128 {
    check.figures.iter().find(|(figure, _)| *figure == name).unwrap().1
}

/// Two records of 100 octets are metered; a set of 1000 octets waited in vain for its template.
#[test]
fn sets_without_template_are_no_records() {
    let totals = FlushTotals {
        records: 2,
        raw_octets: 200,
        metered_records: 2,
        metered_octets: 200,
        expired_sets: 1,
        expired_set_octets: 1000,
        ..FlushTotals::default()
    };
    let check = records(totals);
    assert!(check.holds(), "{check:?}");
    let told = ["held", "expired", "expired_octets", "expired_sets", "expired_set_octets"];
    assert_eq!(told.map(|name| figure(&check, name)), [0, 0, 0, 1, 1000]);
    // The same as records would be more than were decoded.
    let wrong = FlushTotals { expired_records: 1, expired_octets: 1000, ..totals };
    assert_eq!(
        records(wrong).differences,
        ["source 1: 1 records more than were decoded", "source 1: 1000 octets more than were decoded"]
    );
}

/// A record of two directions is metered as two flows; one whose counters nobody can believe is no volume; one waits.
#[test]
fn a_record_may_be_two_flows_or_none() {
    let totals = FlushTotals {
        records: 3,
        second_flows: 1,
        raw_octets: 5700 + 40,
        metered_records: 2,
        metered_octets: 5700,
        not_volume: 1,
        ..FlushTotals::default()
    };
    let check = records(totals);
    assert!(check.holds(), "{check:?}");
    assert_eq!((figure(&check, "decoded"), figure(&check, "held")), (3, 1));
    assert!(!records(FlushTotals { metered_records: 4, ..totals }).holds());
}
