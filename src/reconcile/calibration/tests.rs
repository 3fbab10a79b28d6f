//! Totals worked out by hand, on ledgers that hold what they are about.

use super::super::Verdict;
use super::super::tests::{CUSTOMER, Case, T, at, flows, hash_of, strict};
use super::*;
use crate::ledger::records::ConfigVersion;
use crate::ledger::records::books::Actor;
use crate::ledger::records::corrections::{Change, Difference, NewCorrection};

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

/// Interface 9 becomes a link in the middle of the bucket, or a link that there was gets another interface there. What went from
/// `up` to it, or came from it, was told apart otherwise before, so neither link has a total; elsewhere it is nobody's concern.
#[test]
fn a_link_that_comes_beside_another_leaves_no_total() {
    let case_of = |links: &[&str], has_down: bool| {
        let mut usage = vec![
            flows(1, Direction::In, CustomerId::THROUGH, 10_000, 1),
            flows(1, Direction::Out, CUSTOMER, 50_000, 1),
        ];
        usage.extend(has_down.then(|| flows(2, Direction::In, CUSTOMER, 5_000, 1)));
        // Frames of 10 packets in, and of 60 out.
        Case::of(&mut usage, links).counted(5, 0, 300, (10_180, 61_080), (10, 60)).counted(
            9,
            0,
            300,
            (5_090, 0),
            (5, 0),
        )
    };
    let case = |links: &[&str]| case_of(links, true);
    let down = |point| LinkRule {
        name: "down".to_owned(),
        kind: "upstream".to_owned(),
        points: vec![point],
        overhead: None,
    };
    let moves = Some(Interval::Unknown(Unknown::Interfaces));
    let all = [(1, Direction::In), (1, Direction::Out), (2, Direction::In)];
    assert_eq!(case_of(&["up"], false).total(1, Direction::Out), Some((60_000, 60_000)));
    // What a flow that ended under a later configuration has of this bucket.
    assert_eq!(case(&["up"]).interval(1, Direction::Out), moves);
    let mut added = case(&["up"]).configured(150, |network| network.links.push(down(at(9))));
    let mut changed = case(&["up", "down"]).configured(150, |network| network.links[1].points.push(at(8)));
    for (link, direction) in all {
        assert_eq!(added.interval(link, direction), moves, "{link} {direction:?}");
        assert_eq!(changed.interval(link, direction), moves, "{link} {direction:?}");
    }
    let row = added.verdict(&strict(), "up", Direction::In);
    assert_eq!((row.verdict, row.covered_ms), (Verdict::NoCounters, 0));
    let elsewhere = || LinkPoint::WholeExporter("ce2".to_owned());
    let mut other = case_of(&["up"], false).configured(150, |network| network.links.push(down(elsewhere())));
    assert_eq!(other.total(1, Direction::In), Some((10_000, 10_000)));
    // From the beginning of the bucket on it is there for all of it.
    let mut before = case(&["up"]).configured(0, |network| network.links.push(down(at(9))));
    assert_eq!(before.total(2, Direction::In), Some((5_000, 5_000)));
}

/// Interface 9 should have been of `up`, and its 20000 octets are corrected: what is shared out is then what both interfaces
/// counted, 50900 - 50 * 18, and where one of them was not counted, nothing. By interface 5 alone it was 30000.
#[test]
fn the_total_of_what_was_corrected_is_of_the_corrected_link() {
    let case = |is_counted: bool| {
        let mut usage =
            [flows(1, Direction::In, CUSTOMER, 30_000, 1), flows(2, Direction::In, OTHER, 20_000, 1)];
        let case = Case::new(&mut usage).counted(5, 0, 300, (30_540, 0), (30, 0));
        let case = if is_counted { case.counted(9, 0, 300, (20_360, 0), (20, 0)) } else { case };
        let case = case.configured(86_400, |network| {
            let down = network.links.remove(1);
            network.links[0].points.extend(down.points);
        });
        (case, usage[1])
    };
    for is_counted in [true, false] {
        let (mut case, row) = case(is_counted);
        assert_eq!(case.total(1, Direction::In), Some((30_000, 30_000)));
        let sha256 = hash_of(86_400);
        let place = (BucketStart(T), LinkId(1), Direction::In);
        let span = (BucketStart(T), BucketStart(T + 300));
        let supposed = totals_supposing(&mut case.ledger, span, &sha256, [place].into()).unwrap();
        assert_eq!(supposed.get(place.0, place.1, place.2).is_some(), is_counted);
        let difference = Difference::of(&row.sums);
        let to = crate::usage::UsageKey { link: LinkId(1), ..row.key };
        let changes = vec![
            Change { key: row.key, carried: None, difference: difference.negated() },
            Change { key: to, carried: None, difference },
        ];
        let (from, until) = span;
        let new = NewCorrection { from, until, config: &sha256, reason: "wrong", after: 0, changes };
        case.ledger.correct(&new, Actor { by: "ann", at: 1_800_000_000_000 }).unwrap();
        assert_eq!(case.total(1, Direction::In), is_counted.then_some((50_000, 50_000)));
        let row = case.verdict(&strict(), "up", Direction::In);
        let verdict = if is_counted { Verdict::Agrees } else { Verdict::NoCounters };
        assert_eq!((row.flows, row.verdict), (50_000, verdict));
        // Documents of before quote what was counted of the link as it was then.
        let quoted = super::super::covered(&mut case.ledger, BucketStart(T), BucketStart(T + 300)).unwrap();
        assert_eq!(quoted.get("up"), Some(&1));
        assert_eq!(quoted.get("down"), is_counted.then_some(&1));
    }
}
