//! Totals worked out by hand, on ledgers that hold what they are about.

use super::super::tests::{CUSTOMER, Case, T, flows};
use super::*;
use crate::ledger::records::ConfigVersion;

const OTHER: CustomerId = CustomerId(17);

impl Case {
    /// What is known of `up` (1) or `down` (2) in a direction, with 18 octets off each packet.
    fn interval(&mut self, link: u16, direction: Direction) -> Option<Interval> {
        let (from, to) = (BucketStart(T), BucketStart(T + 300));
        let found = totals(&mut self.ledger, from, to).unwrap();
        found.get(BucketStart(T), LinkId(link), direction).copied()
    }

    /// Interface and flows.
    fn total(&mut self, link: u16, direction: Direction) -> Option<(u64, u64)> {
        match self.interval(link, direction)? {
            Interval::Total(total) => Some((total.interface, total.flows)),
            Interval::Unknown(_) => None,
        }
    }
}

/// 50 frames of 1018 octets are 50000 octets of packets, or up to 6 less each: 49700.
#[test]
fn a_total_is_what_of_the_range_of_the_counters_is_nearest_to_all_flows() {
    for (other, total) in [(29_000, 49_700), (34_800, 49_800), (36_000, 50_000)] {
        let mut usage = [
            flows(1, Direction::In, CUSTOMER, 10_000, 1),
            flows(1, Direction::In, CustomerId::UNASSIGNED, 5_000, 1),
            flows(1, Direction::In, OTHER, other, 1),
        ];
        let mut case = Case::new(&mut usage).counted(5, 0, 300, (50_900, 0), (50, 0));
        assert_eq!(case.total(1, Direction::In), Some((total, 15_000 + other)));
        assert_eq!(case.interval(1, Direction::Out), None, "nothing was seen");
    }
}

/// At 22 octets off each of 50 packets, 50900 octets are 49800, or up to 300 less. What a later version says is of later: from
/// the next bucket on; in the middle of one, neither holds for all of it.
#[test]
fn the_overhead_is_that_of_the_version_in_force() {
    let case = || {
        let mut usage = [flows(1, Direction::In, CUSTOMER, 60_000, 1)];
        Case::new(&mut usage).counted(5, 0, 300, (50_900, 0), (50, 0))
    };
    assert_eq!(case().total(1, Direction::In), Some((50_000, 60_000)), "18 octets");
    assert_eq!(case().with_overhead(22, -300).total(1, Direction::In), Some((49_800, 60_000)));
    assert_eq!(case().with_overhead(22, 300).total(1, Direction::In), Some((50_000, 60_000)));
    let changed = case().with_overhead(22, 100).interval(1, Direction::In);
    assert_eq!(changed, Some(Interval::Unknown(Unknown::Interfaces)));
    let twice = case().with_overhead(22, -300).with_overhead(0, 300).total(1, Direction::In);
    assert_eq!(twice, Some((49_800, 60_000)));
}

#[test]
fn a_gap_of_a_second_leaves_no_total() {
    let mut usage = [flows(1, Direction::In, CUSTOMER, 50_000, 1)];
    let mut case = Case::new(&mut usage).counted(5, 0, 299, (50_900, 0), (50, 0));
    assert_eq!(case.interval(1, Direction::In), None);
    let mut case = case.counted(5, 299, 300, (0, 0), (0, 0));
    assert_eq!(case.total(1, Direction::In), Some((50_000, 50_000)));
}

/// At another configuration in the middle of the bucket, `up` is another interface.
#[test]
fn a_link_that_moves_has_no_total() {
    let mut usage = [flows(1, Direction::In, CUSTOMER, 50_000, 1)];
    let mut case = Case::new(&mut usage).counted(5, 0, 300, (50_900, 0), (50, 0));
    let mut network = case.ledger.config_versions().unwrap().pop().unwrap().text;
    let mut change = |from: &str, to: &str, seconds: i64, sha256: &str| {
        network = network.replace(from, to);
        let valid_from = (T + seconds) * 1000;
        let sha256 = sha256.repeat(64);
        case.ledger.put_config_version(&ConfigVersion { sha256, text: network.clone(), valid_from }).unwrap();
        case.interval(1, Direction::In)
    };
    assert!(matches!(change("ce1\",\"address", "ce1\",\"address", 100, "b"), Some(Interval::Total(_))));
    let moved = change("xe-0/0/1", "xe-0/0/2", 200, "c");
    assert_eq!(moved, Some(Interval::Unknown(Unknown::Interfaces)));
}

/// 30000 octets came in by one link and left by one of the two, nobody knows which; what was dropped never left. Where there is
/// only one link, they left by it, and take their part.
#[test]
fn what_goes_through_leaves_no_total_where_it_may_have_left_elsewhere() {
    let usage = |from: u16| {
        [
            flows(from, Direction::In, CustomerId::THROUGH, 30_000, 1),
            flows(1, Direction::Out, CUSTOMER, 50_000, 1),
            flows(1, Direction::Out, CustomerId::DISCARDED, 7_000, 1),
        ]
    };
    for from in [1, 2] {
        let mut case = Case::new(&mut usage(from)).counted(5, 0, 300, (30_540, 81_440), (30, 80));
        assert_eq!(case.interval(1, Direction::Out), Some(Interval::Unknown(Unknown::Through)), "{from}");
    }
    let mut case = Case::of(&mut usage(1), &["up"]).counted(5, 0, 300, (30_540, 81_440), (30, 80));
    assert_eq!(case.total(1, Direction::Out), Some((80_000, 80_000)));
    assert_eq!(case.total(1, Direction::In), Some((30_000, 30_000)));
    let mut usage = usage(1);
    usage[0].key.customer = CustomerId::UNASSIGNED;
    let mut case = Case::new(&mut usage).counted(5, 0, 300, (30_540, 52_000), (30, 50));
    // 52000 - 50 * 24
    assert_eq!(case.total(1, Direction::Out), Some((50_800, 50_000)), "nothing went through");
}
