//! What becomes of records and octets, by sums worked out by hand.

use std::collections::HashMap;

use super::fates::{self, Memories, Memory};
use super::*;
use crate::ids::{Position, SourceId};
use crate::ledger::records::{CheckpointScope, Source, SourceKind};
use crate::usage::FlushTotals;

fn source(kind: SourceKind, id: u32, totals: FlushTotals) -> Source {
    Source { id: SourceId(id), kind, key: id.to_string(), position: Position(9), complete: false, totals }
}

/// The check of these sources, where the checkpoints are as told: how many records they have seen, how many of them wait
/// and with how many octets.
fn checked(sources: &[Source], memories: &[(CheckpointScope, [i128; 3])]) -> Check {
    let memory = |&(scope, [records, held_records, held_octets]): &(CheckpointScope, [i128; 3])| {
        (scope, Memory { records, held_records, held_octets, whole: true })
    };
    let mut check = Check::new("records");
    fates::check(sources, &Memories(memories.iter().map(memory).collect::<HashMap<_, _>>()), &mut check);
    check
}

/// One journal.
fn records(totals: FlushTotals, memory: [i128; 3]) -> Check {
    checked(&[source(SourceKind::Journal, 1, totals)], &[(CheckpointScope::Live, memory)])
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
    let check = records(totals, [2, 0, 0]);
    assert!(check.holds(), "{check:?}");
    let told = ["held", "forgotten", "expired", "expired_octets", "expired_sets", "expired_set_octets"];
    assert_eq!(told.map(|name| figure(&check, name)), [0, 0, 0, 0, 1, 1000]);
    // The same as records would be more than were decoded.
    let wrong = FlushTotals { expired_records: 1, expired_octets: 1000, ..totals };
    assert_eq!(
        records(wrong, [2, 0, 0]).differences,
        ["journals: 1 records more than were decoded", "journals: 1000 octets more than were decoded"]
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
    let check = records(totals, [3, 1, 40]);
    assert!(check.holds(), "{check:?}");
    assert_eq!((figure(&check, "decoded"), figure(&check, "held")), (3, 1));
    assert!(!records(FlushTotals { metered_records: 4, ..totals }, [3, 1, 40]).holds());
}

/// Five records of 100 octets came by the first journal. Two were metered there, three waited when the daemon died; one
/// that catches up metered two of them in the account of the second journal, where one of 70 octets had come.
fn moved() -> [FlushTotals; 2] {
    let first = FlushTotals {
        records: 5,
        raw_octets: 500,
        metered_records: 2,
        metered_octets: 200,
        ..FlushTotals::default()
    };
    let second = FlushTotals {
        records: 1,
        raw_octets: 70,
        metered_records: 3,
        metered_octets: 270,
        ..FlushTotals::default()
    };
    [first, second]
}

fn of_journals([first, second]: [FlushTotals; 2], memory: [i128; 3]) -> Check {
    let sources = [source(SourceKind::Journal, 1, first), source(SourceKind::Journal, 2, second)];
    checked(&sources, &[(CheckpointScope::Live, memory)])
}

#[test]
fn what_waited_may_be_metered_in_the_account_of_another_journal() {
    let check = of_journals(moved(), [6, 1, 100]);
    assert!(check.holds(), "{check:?}");
    assert_eq!(["decoded", "held", "forgotten"].map(|name| figure(&check, name)), [6, 1, 0]);
}

/// Over all journals nothing may be lost, and nothing may count twice, although each of them alone shows nothing.
#[test]
fn a_record_too_many_or_too_few_over_all_journals_is_told() {
    let [first, second] = moved();
    let twice = FlushTotals { metered_records: 4, metered_octets: 370, ..second };
    assert_eq!(
        of_journals([first, twice], [6, 1, 100]).differences,
        ["journals: 1 records more than were decoded", "journals: 100 octets more than were decoded"]
    );
    let lost = FlushTotals { metered_records: 2, metered_octets: 170, ..second };
    assert_eq!(
        of_journals([first, lost], [6, 1, 100]).differences,
        [
            "journals: 1 records were decoded and have no fate",
            "journals: 100 octets were decoded and have no fate"
        ]
    );
    // Octets alone.
    let fewer = FlushTotals { metered_octets: 269, ..second };
    assert_eq!(
        of_journals([first, fewer], [6, 1, 100]).differences,
        ["journals: 1 octets were decoded and have no fate"]
    );
    // One that has left the hold and was not metered.
    assert!(!of_journals(moved(), [6, 0, 0]).holds());
}

/// An operator let the checkpoint of an exporter go, and with it two records that waited: 4 of 6 are remembered.
#[test]
fn what_was_forgotten_is_a_figure() {
    let [first, second] = moved();
    let forgotten = FlushTotals { metered_records: 1, metered_octets: 70, ..second };
    let check = of_journals([first, forgotten], [4, 1, 100]);
    assert!(check.holds(), "{check:?}");
    assert_eq!(["held", "forgotten"].map(|name| figure(&check, name)), [1, 2]);
    // What is remembered must be there all the same.
    assert!(!of_journals([first, second], [4, 2, 200]).holds());
}

/// The memory of a capture is apart: what is missing in one is not made up for by another, nor by a journal.
#[test]
fn each_capture_is_by_itself() {
    let [first, second] = moved();
    let sources = [source(SourceKind::Capture, 1, first), source(SourceKind::Capture, 2, second)];
    let [one, two] = [1, 2].map(|id| CheckpointScope::Capture(SourceId(id)));
    let check = checked(&sources, &[(one, [5, 1, 100]), (two, [1, 0, 0])]);
    assert_eq!(
        check.differences,
        [
            "source 1: 2 records were decoded and have no fate",
            "source 1: 200 octets were decoded and have no fate",
            "source 2: 2 records more than were decoded",
            "source 2: 200 octets more than were decoded"
        ]
    );
}

/// Sums that have stopped at the end of their range say nothing of octets; records are counted all the same.
#[test]
fn octets_beyond_their_range_are_not_compared() {
    let most = i64::MAX.unsigned_abs();
    let totals = FlushTotals {
        records: 3,
        raw_octets: most,
        metered_records: 2,
        metered_octets: most - 5,
        not_volume: 1,
        ..FlushTotals::default()
    };
    assert!(records(totals, [3, 0, 0]).holds());
    assert!(!records(FlushTotals { metered_records: 1, ..totals }, [3, 0, 0]).holds());
}
