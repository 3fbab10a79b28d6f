//! Differences of running totals, without datagrams around them.

use super::*;
use crate::decode::template::FieldSpec;

impl Totals {
    /// The octets and packets that a record adds.
    fn count(&mut self, key: Key, report: &Report, limit: usize) -> (u64, u64) {
        let Added { octets, packets, .. } = self.advance(key, report, limit);
        (octets, packets)
    }
}

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
        shift: 0,
    }
}

/// The clock of the exporter is ahead, so times are those of reception: what was overtaken is known by the exporter's clock.
#[test]
fn what_was_overtaken_is_known_where_the_clock_is_ahead() {
    let at = |octets: u64, received: i64, stated: i64| Report {
        shift: received - stated,
        ..report((octets, octets / 1000), times(None, received))
    };
    let sum = |reports: &[Report]| {
        let mut totals = Totals::default();
        reports.iter().map(|report| totals.count(key(1), report, 64).0).sum::<u64>()
    };
    // Both were sent in second 62 of a clock that is two seconds ahead; the first one comes ten milliseconds after the second.
    let overtaken =
        [at(1_500_000, 60_410, 62_000), at(1_000_000, 60_420, 62_000), at(2_000_000, 120_210, 122_000)];
    assert_eq!(sum(&overtaken), 2_000_000);
    // An exporter that has lost its clock, 56 years back, counts anew.
    let anew = [at(1_500_000, 60_410, 62_000), at(1_000_000, 120_420, 62_000 - 56 * 365 * 86_400_000)];
    assert_eq!(sum(&anew), 2_500_000);
}

/// Records on the same keys: total, begin, end, and the octets that each adds.
#[track_caller]
fn each_adds(records: &[((u64, u64), i64, i64, u64)]) {
    let mut totals = Totals::default();
    for (n, &(total, start, end, adds)) in records.iter().enumerate() {
        let (octets, _) = totals.count(key(1), &report(total, times(Some(start), end)), 64);
        assert_eq!(octets, adds, "record {n}");
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
            counted += totals.count(key(n), &report(total, times(Some(0), round * 60_000)), LIMIT).0;
        }
    }
    assert!(counted <= 16 * 1000, "{counted} of 16 flows of 1000 octets");
    assert!(totals.forgotten() > 0);
    // One that began after all of those that were forgotten is new.
    let new = times(Some(600_001), 660_000);
    assert_eq!(totals.count(key(99), &report((70, 1), new), LIMIT), (70, 1));
    assert_eq!(totals.count(key(99), &report((90, 2), new), LIMIT), (20, 1));
    // Without a start nothing can be told.
    assert_eq!(totals.count(key(98), &report((70, 1), times(None, 660_000)), LIMIT), (70, 1));
}

/// Times that are told from an export time in whole seconds: the last record of a flow comes when the next flow on its keys
/// has been told of.
#[test]
fn a_record_that_the_next_flow_overtook_adds_its_difference() {
    let records = [
        ((100_000, 100), 0, 9_000, 100_000),
        ((7_000, 7), 14_000, 15_000, 7_000),
        ((500_000, 500), 100, 11_000, 400_000),
        ((500_000, 500), 0, 11_000, 0),
        ((9_000, 9), 14_100, 20_000, 2_000),
    ];
    each_adds(&records);
}

/// The same where the next ones on its keys were over at once.
#[test]
fn a_record_that_short_flows_overtook_adds_its_difference() {
    let mut totals = Totals::default();
    let mut count = |total, start, end, told, over| {
        let report = report((total, total / 700), times(Some(start), end));
        totals.count(key(1), &Report { over, told: UnixMillis(told), ..report }, 64).0
    };
    assert_eq!(count(345_101, 50_494, 62_645, 63_092, false), 345_101);
    assert_eq!(count(4_144, 84_433, 84_433, 85_068, true), 4_144);
    assert_eq!(count(5_000, 87_000, 87_100, 87_200, true), 5_000);
    assert_eq!(count(963_838, 50_494, 84_431, 87_464, true), 618_737);
    assert_eq!(count(963_838, 50_494, 84_431, 87_464, true), 0, "once more");
    // Without any begin, of an exporter that says which flows are over.
    let mut totals = Totals::default();
    let mut count = |total, told, over| {
        let report = report((total, total / 700), times(None, told));
        totals.count(key(1), &Report { over, ..report }, 64).0
    };
    assert_eq!(count(345_101, 63_092, false), 345_101);
    assert_eq!(count(4_144, 85_068, true), 4_144);
    assert_eq!(count(963_838, 85_464, true), 618_737);
    assert_eq!(count(700, 90_000, false), 700, "the next one");
    assert_eq!(count(900, 99_000, true), 200);
    // Where nothing is said of ends, what falls has begun anew.
    assert_eq!(count(5_000, 100_000, false), 5_000);
    assert_eq!(count(3_000, 160_000, false), 3_000);
    assert_eq!(count(6_000, 220_000, false), 3_000);
}

/// The same of one that nobody had told of before: what comes then of the flow that goes on is its difference, as often as
/// it is told.
#[test]
fn a_flow_goes_on_behind_a_record_that_it_overtook() {
    let records = [
        ((7_000, 7), 14_000, 15_000, 7_000),
        ((500_000, 500), 0, 11_000, 500_000),
        ((9_000, 9), 14_100, 20_000, 2_000),
        ((9_500, 10), 13_900, 400_000, 500),
        ((9_600, 11), 14_000, 900_000, 100),
    ];
    each_adds(&records);
}

/// Room that other exporters need is no reason to bill a flow twice, either.
#[test]
fn a_flow_that_gave_way_is_not_counted_whole_again() {
    const LIMIT: usize = 8;
    let mut totals = Totals::default();
    let at = |end: i64| times(Some(0), end);
    // Five flows: the first four are the older generation.
    for n in 0..5 {
        assert_eq!(totals.count(key(n), &report((1000, 10), at(60_000)), LIMIT), (1000, 10));
    }
    assert!(totals.give_way());
    assert_eq!(totals.count(key(0), &report((1500, 15), at(120_000)), LIMIT), (0, 0));
    assert_eq!(totals.count(key(0), &report((1700, 17), at(180_000)), LIMIT), (200, 2));
    assert_eq!(totals.count(key(4), &report((1100, 11), at(180_000)), LIMIT), (100, 1));
    // Then there is only one.
    assert!(totals.give_way());
    assert_eq!((totals.len(), totals.give_way()), (0, false));
    assert_eq!(totals.count(key(4), &report((1200, 12), at(240_000)), LIMIT), (0, 0));
    let new = times(Some(180_001), 240_000);
    assert_eq!(totals.count(key(9), &report((70, 1), new), LIMIT), (70, 1));
}

/// Totals that were overtaken keep their flow as any others do, and take no more room: an exporter that repeats old
/// ones must not make the table grow.
#[test]
fn overtaken_totals_stay_within_the_limit() {
    const LIMIT: usize = 8;
    let mut totals = Totals::default();
    for round in 0..50 {
        for n in 0..16 {
            totals.count(key(n), &report((1000, 10), times(None, round)), LIMIT);
            assert!(totals.len() <= LIMIT, "{}", totals.len());
        }
        for n in 0..16 {
            // Fewer octets at an earlier time.
            totals.count(key(n), &report((500, 5), times(None, round - 1)), LIMIT);
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
        totals.count(key(n), &report((1000, 10), at(0)), LIMIT);
    }
    for n in 100..1000 {
        let last = Report { over: true, ..report((500, 5), at(10)) };
        assert_eq!(totals.count(key(n), &last, LIMIT), (500, 5));
        assert_eq!(totals.count(key(n), &last, LIMIT), (0, 0), "the same record once more");
        assert!(totals.ended.young.len() <= 8 && totals.ended.old.len() <= 8);
    }
    assert_eq!((totals.len(), totals.forgotten()), (32, 0));
    assert_eq!(totals.count(key(31), &report((1700, 17), at(20)), LIMIT), (700, 7));
    // A minute later the same numbers are those of another flow.
    let last = |told: i64| Report { over: true, told: UnixMillis(told), ..report((500, 5), at(10)) };
    assert_eq!(totals.count(key(999), &last(60_010), LIMIT), (0, 0));
    assert_eq!(totals.count(key(999), &last(60_011), LIMIT), (500, 5));
    // Room that others need is theirs, too.
    totals.give_way();
    assert_eq!(totals.ended.young.len() + totals.ended.old.len(), 0);
}

/// A record by the exporter's own clock.
fn spanned(total: (u64, u64), start: i64, end: i64, told: i64) -> Report {
    let times = times(Some(start), end);
    Report { span: times.start.zip(Some(times.end)), told: UnixMillis(told), ..report(total, times) }
}

/// An exporter whose clock was set back has flows that began before those that it told of: by ten minutes, by two seconds.
#[test]
fn a_clock_that_was_set_back_loses_no_flow() {
    for (back, over) in [(2_000, true), (30_300, true), (30_300, false), (600_000, true), (600_000, false)] {
        let mut totals = Totals::default();
        let mut counted = 0;
        for n in 0..40_i64 {
            let now = 1_000_000 + n * 1000 - if n < 20 { 0 } else { back };
            let last = Report { over, ..spanned((900, 9), now - 700, now - 200, now) };
            counted += totals.count(key(1), &last, 1000).0;
        }
        // Two seconds back is where flows were that were told already: twenty-first and -second are as the nineteenth
        // and twentieth, begin, end and total.
        assert_eq!(counted, if back == 2_000 { 38 * 900 } else { 40 * 900 }, "{back}");
    }
}

/// Exporters tell of flows in any order, also within one datagram: by end, by what ended them, by place in their cache.
#[test]
fn an_earlier_flow_that_is_told_later_counts() {
    for over in [false, true] {
        let mut totals = Totals::default();
        let told = |total, start, end| Report { over, ..spanned((total, 1), start, end, 100_000) };
        let mut count = |report: Report| totals.count(key(1), &report, 1000).0;
        assert_eq!(count(told(100, 88_000, 95_000)), 100);
        assert_eq!(count(told(900_000, 60_000, 80_000)), 900_000);
        assert_eq!(count(told(500, 40_000, 55_000)), 500);
        // The same records once more, and one that was overtaken by its flow's last one.
        assert_eq!(count(told(900_000, 60_000, 80_000)), 0);
        assert_eq!(count(told(300, 40_000, 50_000)), 0);
        assert_eq!(count(told(100, 88_000, 95_000)), 0);
        // More of the flow in the middle.
        assert_eq!(count(told(900_070, 60_000, 80_000)), 70);
    }
}

/// A flow that gave way to the next one on its keys is known for a while, though nobody said that it was over.
#[test]
fn what_a_flow_before_was_told_already_counts_once() {
    let mut totals = Totals::default();
    let mut count = |total, start, end| totals.count(key(1), &spanned((total, 1), start, end, end), 1000).0;
    assert_eq!(count(500, 0, 10_000), 500);
    assert_eq!(count(1000, 0, 20_000), 500);
    assert_eq!(count(70, 20_001, 21_000), 70);
    assert_eq!(count(800, 0, 15_000), 0, "overtaken");
    assert_eq!(count(1200, 0, 20_000), 200, "and one that was not");
    assert_eq!(count(90, 20_001, 22_000), 20);
}

/// One that was told of long ago, and has been over since then, is known for a minute after that, whatever becomes of flows
/// on other keys meanwhile: those of an exporter that tells of a flow every thirty minutes are never told more recently.
#[test]
fn a_flow_is_known_for_a_minute_after_it_was_seen_to_be_over() {
    let mut totals = Totals::default();
    let mut count =
        |id, total, start, end, told| totals.count(key(id), &spanned((total, 1), start, end, told), 1000).0;
    assert_eq!(count(1, 2000, 0, 1_000, 1_000), 2000);
    assert_eq!(count(3, 500, 0, 1_000, 1_000), 500);
    assert_eq!(count(1, 700, 99_000, 99_500, 100_000), 700);
    // Flows that follow others at once, or a hundred seconds after these were told.
    assert_eq!(count(2, 300, 10_000, 11_000, 100_000), 300);
    assert_eq!(count(2, 400, 50_000, 51_000, 100_000), 400);
    assert_eq!(count(3, 600, 98_000, 99_000, 100_000), 600);
    assert_eq!(count(1, 50_000, 0, 98_900, 159_000), 48_000, "since its first 2000");
    // A line card's clock that is behind makes no difference.
    assert_eq!(count(4, 10, 0, 1_000, 2_000), 10);
    assert_eq!(count(4, 20, 5_000, 6_000, 7_000), 20);
    assert_eq!(count(1, 50_009, 0, 98_950, 159_500), 9);
}

/// Times that are told from an export time in whole seconds, flows that begin within two of them: where totals fall there are
/// two, and neither counts on top of the other.
#[test]
fn of_two_flows_that_began_together_each_counts_what_it_grows_by() {
    each_adds(&[
        ((631_791, 902), 80_865, 82_221, 631_791),
        ((181_564, 259), 82_567, 82_570, 181_564),
        ((791_528, 1130), 80_865, 82_900, 159_737),
        ((181_664, 260), 82_567, 83_000, 100),
        ((791_528, 1130), 80_865, 82_900, 0),
        // The next one, and one of the greater of those before it that came late.
        ((50, 1), 90_000, 91_000, 50),
        ((791_628, 1131), 80_865, 83_100, 100),
        ((60, 2), 90_000, 92_000, 10),
    ]);
    // A third one is taken for one of the two.
    let mut totals = Totals::default();
    let mut count =
        |total, start, end| totals.count(key(1), &report((total, 1), times(Some(start), end)), 64).0;
    assert_eq!((count(1000, 0, 1000), count(500, 1000, 1500), count(300, 1500, 1900)), (1000, 500, 0));
    assert_eq!((count(1100, 0, 2000), count(510, 1000, 2100), count(310, 1500, 2200)), (100, 10, 0));
    assert_eq!(totals.unclear().records, 2);
    assert_eq!(totals.unclear().octets, 610);
}

/// By an exact clock, told apart by their begins; where these are the same as well, by their totals. Six minutes of 100 000 and
/// of 30 000 octets.
#[test]
fn two_flows_at_once_count_apart_by_an_exact_clock() {
    for apart in [0, 1, 100, 2100] {
        let mut totals = Totals::default();
        let mut counted = 0;
        for minute in 1..=6_i64 {
            for (total, start, last) in [(100_000 * minute, 500, 400), (30_000 * minute, 500 + apart, 300)] {
                let end = 60_000 * minute - last;
                let report = spanned((total.unsigned_abs(), 1), start, end, 60_000 * minute);
                counted += totals.count(key(1), &report, 64).0;
            }
        }
        assert_eq!(counted, 780_000, "{apart}");
    }
}

/// What is left of two flows, because its last record was lost, is in no later one's way.
#[test]
fn one_that_is_left_of_two_changes_nothing_hours_later() {
    let mut totals = Totals::default();
    let mut count = |total: i64, start, end, over| {
        let report = Report { over, ..report((total.unsigned_abs(), 1), times(Some(start), end)) };
        totals.count(key(1), &report, 64).0
    };
    let mut counted = count(1_000_000, 0, 60_000, false);
    counted += count(5000, 1000, 60_500, false) + count(6000, 1000, 61_000, true);
    let later = 18_000_000;
    for minute in 0..3 {
        let end = later + 60_000 * minute + 59_000;
        counted += count(300_000 + 10_000 * minute, later, end, false);
        counted += count(20_000 + 1000 * minute, later + 1000, end + 500, false);
    }
    assert_eq!(counted, 1_000_000 + 6000 + 320_000 + 22_000);
}

/// Of several flows that others followed the greatest is known, whose last record counts for most; and one whose begin is not
/// told, as it is where it lies in the second of the export, does not begin it anew.
#[test]
fn the_last_record_of_a_long_flow_adds_its_difference_behind_several_short_ones() {
    each_adds(&[
        ((64_820, 64), 8000, 60_000, 64_820),
        ((8204, 8), 90_000, 90_000, 8204),
        ((3813, 3), 95_000, 95_005, 3813),
        ((83_860, 83), 8000, 80_000, 19_040),
    ]);
    let mut totals = Totals::default();
    let mut count = |total, start, end| totals.count(key(1), &report((total, 1), times(start, end)), 64).0;
    assert_eq!(count(64_820, Some(8000), 60_000), 64_820);
    assert_eq!(count(500, None, 90_000), 500);
    assert_eq!(count(83_860, Some(8000), 80_000), 19_040);
}

/// What is known of a flow before it makes none that was forgotten a new one.
#[test]
fn a_flow_that_was_forgotten_counts_nothing_again_although_one_before_it_is_known() {
    const LIMIT: usize = 8;
    let mut totals = Totals::default();
    let at = |start, end| times(Some(start), end);
    let short = Report { over: true, ..report((500, 1), at(0, 500)) };
    assert_eq!(totals.count(key(1), &short, LIMIT), (500, 1));
    assert_eq!(totals.count(key(1), &report((1000, 10), at(1500, 59_500)), LIMIT), (1000, 10));
    for n in 10..30 {
        totals.count(key(n), &report((100, 1), at(60_000, 60_500)), LIMIT);
    }
    assert_eq!(totals.count(key(1), &report((2000, 20), at(1500, 100_000)), LIMIT), (0, 0));
    assert_eq!(totals.count(key(1), &report((2100, 21), at(1500, 110_000)), LIMIT), (100, 1));
}

/// The same in two wraps: a flow that was there for more than two seconds is not followed by one that began with it.
#[test]
fn a_total_of_a_long_flow_that_falls_while_packets_grow_has_wrapped_by_an_uptime_too() {
    let added = |first_end: i64| {
        let mut totals = Totals::default();
        let count = |totals: &mut Totals, total, end| {
            totals.count(key(1), &Report { widths: (4, 4), ..report(total, times(Some(0), end)) }, 64)
        };
        count(&mut totals, (1_500_000_000, 1_000_000), first_end);
        count(&mut totals, (705_032_704, 3_500_000), 120_000)
    };
    // From 1.5e9 by 3.5e9: 5e9 - 2^32 = 705 032 704.
    assert_eq!(added(60_000), (3_500_000_000, 2_500_000));
    assert_eq!(added(1_900), (705_032_704, 3_500_000));
}

/// Two flows on one key at once, the younger one told first: each counts by itself, as soon as it is seen that there are two.
#[test]
fn flows_that_only_their_begins_tell_apart_do_not_grow_on_each_other() {
    let mut totals = Totals::default();
    let mut counted = 0;
    for round in 1..=9_i64 {
        let end = 100_000 + round * 1000;
        for (total, start) in [(10 * round, 70_000), (1000 * round, 40_000)] {
            counted += totals.count(key(1), &spanned((total.unsigned_abs(), 1), start, end, end), 1000).0;
        }
    }
    assert_eq!(counted, 9090);
}

/// What changes with every record of a flow tells nothing of it: uptimes and counters are no details. Otherwise each session
/// of a pair of hosts would be remembered apart from the others, until there is room for none.
#[test]
fn times_and_counters_are_no_details() {
    for element in [1, 21, 22, 85, 86, 152, 153, 158, 159, 161, 194, 353, 355, 359, 420, 431] {
        let fields =
            [(8, 4), (element, 4)].map(|(element, length)| FieldSpec { element, enterprise: 0, length });
        let keys = Keys::compile(&fields);
        let key = |n: u8| keys.key((9, 1, false), 300, &[10, 0, 0, 1, 0, 0, 0, n]);
        assert_eq!(key(1), key(2), "{element}");
    }
    // As flows on one key go by, there is one that goes on.
    let mut totals = Totals::default();
    for n in 0..100 {
        let end = 10_000 * n;
        assert_eq!(totals.count(key(1), &spanned((1000, 10), end - 5000, end, end), 64), (1000, 10));
        assert_eq!(totals.len(), 1);
    }
}

/// In four octets, between two reports: 2^32 = 4 294 967 296 octets hold less than a fast link carries in a minute.
#[test]
fn a_counter_that_falls_while_the_other_one_grows_has_wrapped() {
    let added = |before: (u64, u64), now: (u64, u64), widths: (u8, u8), start: i64| {
        let mut totals = Totals::default();
        totals.count(key(1), &Report { widths, ..spanned(before, 0, 60_000, 60_000) }, 64);
        totals.count(key(1), &Report { widths, ..spanned(now, start, 120_000, 120_000) }, 64)
    };
    // From 1.5e9 by 3.5e9: 5e9 - 2^32 = 705 032 704. In 2.5 million packets of 1400 octets.
    let (before, now) = ((1_500_000_000, 1_000_000), (705_032_704, 3_500_000));
    assert_eq!(added(before, now, (4, 4), 0), (3_500_000_000, 2_500_000));
    // Eight octets do not wrap, nor does another flow.
    assert_eq!(added(before, now, (8, 4), 0), now);
    assert_eq!(added(before, now, (4, 4), 60_001), now);
    // Ten packets hold no 3.5e9 octets: it has begun anew.
    assert_eq!(added(before, (705_032_704, 1_000_010), (4, 4), 0), (705_032_704, 1_000_010));
    // Packets from 1.5e9 to 705 032 704, while octets grow in eight octets.
    let (before, now) = ((90_000_000_000, 1_500_000_000), (300_000_000_000, 705_032_704));
    assert_eq!(added(before, now, (8, 4), 0), (210_000_000_000, 3_500_000_000));
}

/// Two flows that differ in a detail and began together: each is known by itself when it is over and told once more.
#[test]
fn flows_that_are_over_are_known_by_their_details() {
    for (first, second) in [((1, 5000), (2, 1000)), ((1, 1000), (2, 5000))] {
        let mut totals = Totals::default();
        let mut count = |(detail, total): (u32, u64), end: i64, over| {
            let report = Report { detail, over, ..spanned((total, 1), 0, end, end) };
            totals.count(key(1), &report, 64).0
        };
        let mut counted = 0;
        for end in [10_000_i64, 20_000, 30_000] {
            for (detail, total) in [first, second] {
                let (total, end) = (total + end.unsigned_abs() / 1000, end + i64::from(detail));
                counted += count((detail, total), end, end > 30_000);
            }
        }
        assert_eq!(counted, 5030 + 1030);
        for (detail, total) in [first, second] {
            assert_eq!(count((detail, total + 30), 30_000 + i64::from(detail), true), 0, "told once more");
        }
    }
}

/// Total, begin, end, when it was told, details; and the octets that it adds.
type Told = ((u64, u64), i64, i64, i64, u32, u64);

/// Records on the same keys, by an exact clock.
#[track_caller]
fn each_adds_by_clock(records: &[Told]) {
    let mut totals = Totals::default();
    for (n, &(total, start, end, told, detail, adds)) in records.iter().enumerate() {
        let report = Report { detail, ..spanned(total, start, end, told) };
        let (octets, _) = totals.count(key(1), &report, 64);
        assert_eq!(octets, adds, "record {n}");
    }
}

/// An AS number is found out when the next flow on the keys, or one that is there at once, has been told of already.
#[test]
fn what_is_found_out_late_counts_once_behind_the_next_flow() {
    for next_knows in [0, 7, 8] {
        each_adds_by_clock(&[
            ((500_000, 500), 0, 59_900, 60_000, 0, 500_000),
            ((1000, 1), 69_900, 70_200, 70_300, next_knows, 1000),
            ((600_000, 600), 0, 69_800, 70_000, 7, 100_000),
            ((650_000, 650), 0, 69_850, 71_000, 0, 50_000),
            ((1500, 2), 69_900, 71_200, 72_000, 8, 500),
        ]);
        each_adds_by_clock(&[
            ((500_000, 500), 0, 59_900, 60_000, 0, 500_000),
            ((1000, 1), 50_000, 70_200, 70_300, next_knows, 1000),
            ((600_000, 600), 0, 70_800, 71_000, 7, 100_000),
        ]);
    }
}

/// Within a longer flow there is a shorter one, told after it, which ends before.
#[test]
fn a_short_flow_within_a_longer_one_counts() {
    for told in [60_000, 61_000] {
        each_adds_by_clock(&[
            ((400_000, 400), 0, 59_000, 60_000, 0, 400_000),
            ((5000, 5), 30_000, 40_000, told, 0, 5000),
            ((500_000, 500), 0, 119_000, 120_000, 0, 100_000),
            ((6000, 6), 30_000, 100_000, 120_000, 0, 1000),
        ]);
    }
    // One that was sent before is a record of the long flow, which was overtaken, whatever its begin.
    each_adds_by_clock(&[
        ((400_000, 400), 0, 59_000, 60_000, 0, 400_000),
        ((5000, 5), 30_000, 40_000, 59_000, 0, 0),
    ]);
}

/// Octets in four octets and no packets: a record from before the wrap comes behind one from after it.
#[test]
fn a_record_from_before_a_wrap_that_was_overtaken_adds_nothing() {
    let at = |octets, end| Report { widths: (4, 0), ..spanned((octets, 0), 0, end, end) };
    let mut totals = Totals::default();
    let mut add = |report: &Report| totals.count(key(1), report, 64).0;
    assert_eq!(add(&at(4_000_000_000, 60_000)), 4_000_000_000);
    assert_eq!(add(&at(5_032_704, 180_000)), 300_000_000);
    assert_eq!(add(&at(4_200_000_000, 120_000)), 0);
    assert_eq!(add(&at(6_032_704, 240_000)), 1_000_000);
}

/// The total wraps between two records of a flow whose ends are told in the same second.
#[test]
fn a_wrap_within_a_second_is_one() {
    let at = |total, told| Report { widths: (4, 4), ..spanned(total, 0, 60_000, told) };
    let mut totals = Totals::default();
    let mut add = |report: &Report| totals.count(key(1), report, 64).0;
    assert_eq!(add(&at((4_294_967_000, 5_000_000), 60_000)), 4_294_967_000);
    assert_eq!(add(&at((1_204, 5_000_001), 60_000)), 1500);
    // With fewer packets it was overtaken.
    assert_eq!(add(&at((4_294_966_000, 4_999_999), 60_000)), 0);
}

/// By times that are told from the export time: an end overtakes a report by more than two seconds, and so does the next flow.
#[test]
fn a_report_that_comes_behind_two_ends_adds_nothing() {
    let over = |total, start, end| Report { over: true, ..report(total, times(Some(start), end)) };
    let mut totals = Totals::default();
    let mut add = |report: &Report| totals.count(key(1), report, 64).0;
    assert_eq!(add(&over((510_000, 510), 0, 58_500)), 510_000);
    assert_eq!(add(&over((4000, 4), 58_800, 60_900)), 4000);
    assert_eq!(add(&report((500_000, 500), times(Some(0), 58_000))), 0);
    assert_eq!(add(&over((4000, 4), 58_800, 60_900)), 0);
    // The next one begins when those were over.
    assert_eq!(add(&over((3000, 3), 70_000, 80_000)), 3000);
}

/// Records of two templates in turn, of which only one has times.
#[test]
fn a_template_without_times_forgets_no_begin() {
    let mut totals = Totals::default();
    let mut add = |report: &Report| totals.count(key(1), report, 64).0;
    assert_eq!(add(&report((5000, 5), times(Some(0), 50_000))), 5000);
    assert_eq!(add(&report((6000, 6), times(None, 60_000))), 1000);
    // The flow that follows has come to less, and to more, than the first one.
    assert_eq!(add(&report((7000, 7), times(Some(70_000), 80_000))), 7000);
    assert_eq!(add(&report((8000, 8), times(None, 90_000))), 1000);
}

/// The same by times that are told from the export time, where no begin is exact.
#[test]
fn what_is_found_out_late_counts_once_without_an_exact_clock_too() {
    for over in [false, true] {
        let mut totals = Totals::default();
        let mut add = |total, start, end, detail, over| {
            let report = Report { detail, over, ..report(total, times(Some(start), end)) };
            totals.count(key(1), &report, 64).0
        };
        assert_eq!(add((500_000, 500), 0, 59_900, 0, false), 500_000);
        assert_eq!(add((1000, 1), 69_900, 70_200, 7, over), 1000);
        assert_eq!(add((600_000, 600), 0, 69_800, 7, false), 100_000, "{over}");
        assert_eq!(add((650_000, 650), 100, 69_850, 0, false), 50_000, "{over}");
        if !over {
            assert_eq!(add((1500, 2), 69_900, 71_200, 7, false), 500);
        }
        assert_eq!(add((660_000, 660), 0, 69_860, 7, false), 10_000, "{over}");
    }
}
