//! Differences of running totals, without datagrams around them.

use super::*;
use crate::decode::template::FieldSpec;

fn times(start: Option<i64>, end: i64) -> Times {
    let start = start.map(UnixMillis);
    Times { start, begun_by: start, end: UnixMillis(end) }
}

/// The key of the flow of that id (element 148).
fn key(id: u64) -> Key {
    let fields = [FieldSpec { element: 148, enterprise: 0, length: 8 }];
    Keys::compile(&fields).key((10, 1, false), 300, &id.to_be_bytes()).0
}

/// A record whose times are told from an uptime.
fn report((octets, packets): (u64, u64), times: Times) -> Report {
    Report {
        octets,
        packets,
        widths: (8, 8),
        times,
        span: None,
        tells_end: true,
        told: times.end,
        over: false,
        continues: false,
        detail: 0,
    }
}

/// More flows than there is room for, each reported again and again.
#[test]
fn a_flow_that_may_have_been_forgotten_is_not_counted_whole_again() {
    const LIMIT: usize = 8;
    let mut totals = Totals::default();
    let mut counted = 0;
    for round in 1..=10_i64 {
        for n in 0..16 {
            let total = (100 * round.unsigned_abs(), round.unsigned_abs());
            counted += totals.advance(key(n), &report(total, times(Some(0), round * 60_000)), LIMIT).0;
        }
    }
    assert!(counted <= 16 * 1000, "{counted} of 16 flows of 1000 octets");
    assert!(totals.forgotten() > 0);
    // One that began after all of those that were forgotten is new.
    let new = times(Some(600_001), 660_000);
    assert_eq!(totals.advance(key(99), &report((70, 1), new), LIMIT), (70, 1));
    assert_eq!(totals.advance(key(99), &report((90, 2), new), LIMIT), (20, 1));
    // Without a start nothing can be told.
    assert_eq!(totals.advance(key(98), &report((70, 1), times(None, 660_000)), LIMIT), (70, 1));
}

/// Room that other exporters need is no reason to bill a flow twice, either.
#[test]
fn a_flow_that_gave_way_is_not_counted_whole_again() {
    const LIMIT: usize = 8;
    let mut totals = Totals::default();
    let at = |end: i64| times(Some(0), end);
    // Five flows: the first four are the older generation.
    for n in 0..5 {
        assert_eq!(totals.advance(key(n), &report((1000, 10), at(60_000)), LIMIT), (1000, 10));
    }
    assert!(totals.give_way());
    assert_eq!(totals.advance(key(0), &report((1500, 15), at(120_000)), LIMIT), (0, 0));
    assert_eq!(totals.advance(key(0), &report((1700, 17), at(180_000)), LIMIT), (200, 2));
    assert_eq!(totals.advance(key(4), &report((1100, 11), at(180_000)), LIMIT), (100, 1));
    // Then there is only one.
    assert!(totals.give_way());
    assert_eq!((totals.len(), totals.give_way()), (0, false));
    assert_eq!(totals.advance(key(4), &report((1200, 12), at(240_000)), LIMIT), (0, 0));
    let new = times(Some(180_001), 240_000);
    assert_eq!(totals.advance(key(9), &report((70, 1), new), LIMIT), (70, 1));
}

/// Totals that were overtaken keep their flow as any others do, and take no more room: an exporter that repeats old
/// ones must not make the table grow.
#[test]
fn overtaken_totals_stay_within_the_limit() {
    const LIMIT: usize = 8;
    let mut totals = Totals::default();
    for round in 0..50 {
        for n in 0..16 {
            totals.advance(key(n), &report((1000, 10), times(None, round)), LIMIT);
            assert!(totals.len() <= LIMIT, "{}", totals.len());
        }
        for n in 0..16 {
            // Fewer octets at an earlier time.
            totals.advance(key(n), &report((500, 5), times(None, round - 1)), LIMIT);
            assert!(totals.len() <= LIMIT, "{}", totals.len());
        }
    }
}

/// Flows that are over are remembered for a while, and never at the cost of those that go on.
#[test]
fn flows_that_are_over_take_no_room_of_others() {
    const LIMIT: usize = 64;
    let mut totals = Totals::default();
    let at = |end: i64| times(None, end);
    for n in 0..32 {
        totals.advance(key(n), &report((1000, 10), at(0)), LIMIT);
    }
    for n in 100..1000 {
        let last = Report { over: true, ..report((500, 5), at(10)) };
        assert_eq!(totals.advance(key(n), &last, LIMIT), (500, 5));
        assert_eq!(totals.advance(key(n), &last, LIMIT), (0, 0), "the same record once more");
        assert!(totals.ended.young.len() <= 8 && totals.ended.old.len() <= 8);
    }
    assert_eq!((totals.len(), totals.forgotten()), (32, 0));
    assert_eq!(totals.advance(key(31), &report((1700, 17), at(20)), LIMIT), (700, 7));
    // A minute later the same numbers are those of another flow.
    let last = |told: i64| Report { over: true, told: UnixMillis(told), ..report((500, 5), at(10)) };
    assert_eq!(totals.advance(key(999), &last(60_010), LIMIT), (0, 0));
    assert_eq!(totals.advance(key(999), &last(60_011), LIMIT), (500, 5));
    // Room that others need is theirs, too.
    totals.give_way();
    assert_eq!(totals.ended.young.len() + totals.ended.old.len(), 0);
}

/// An exporter whose clock was set back by ten minutes has flows that began before those that it told of.
#[test]
fn a_clock_that_was_set_back_loses_no_flow() {
    let mut totals = Totals::default();
    let span = |start: i64, end: i64, told: i64| {
        let times = times(Some(start), end);
        Report { span: times.start.zip(Some(times.end)), told: UnixMillis(told), ..report((900, 9), times) }
    };
    assert_eq!(totals.advance(key(1), &span(1_000_000, 1_010_000, 1_020_000), 8), (900, 9));
    // This one may have been overtaken ...
    assert_eq!(totals.advance(key(1), &span(980_000, 990_000, 1_010_000), 8), (0, 0));
    // ... this one not.
    assert_eq!(totals.advance(key(1), &span(410_000, 420_000, 430_000), 8), (900, 9));
}
