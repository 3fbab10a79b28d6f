//! Differences, buckets, turns and walks, worked out by hand.

mod live;

use std::collections::BTreeMap;

use super::bucket::Assembler;
use super::columns::{self, Oid, Value, Walk};
use super::counter::{Counter, Direction, Gap, Reading, span};
use super::schedule;
use crate::ledger::records::interfaces::InterfacePart;
use crate::units::{IfIndex, UnixMillis};
use crate::usage::BucketStart;

/// 2026-11-01T00:00:00Z, in seconds: the start of a bucket.
const T: i64 = 1_793_491_200;

/// Bits a second of the interface in these tests: 10 Gbit/s.
const TEN_GIGABIT: u64 = 10_000_000_000;

fn direction(octets: Counter, packets: u64) -> Direction {
    Direction { octets: Some(octets), packets: [Some(Counter::Bits64(packets)), None, None] }
}

/// A reading `at` seconds after [`T`], of a router that started 1000 s before it.
fn reading(at: i64, octets: u64) -> Reading {
    Reading {
        at: UnixMillis((T + at) * 1000),
        uptime: u32::try_from((1000 + at) * 100).unwrap(),
        discontinuity: Some(0),
        speed: TEN_GIGABIT,
        inward: direction(Counter::Bits64(octets), octets / 100),
        outward: direction(Counter::Bits64(2 * octets), octets / 50),
    }
}

fn narrow(at: i64, octets: u32, speed: u64) -> Reading {
    let direction = direction(Counter::Bits32(octets), 0);
    Reading { speed, inward: direction, outward: direction, ..reading(at, 0) }
}

/// Octets received between two readings.
fn grown(before: &Reading, after: &Reading) -> Result<u64, Gap> {
    span(before, after).map(|span| span.in_octets)
}

/// A line card that reads 0 for a while and then as before, and a counter that was cleared: 100 Mbit/s are 75 * 10^7 octets
/// in a minute.
#[test]
fn no_line_carries_more_than_its_speed_allows() {
    let wide = |at, octets| Reading { speed: 100_000_000, ..reading(at, octets) };
    assert_eq!(grown(&wide(0, 0), &wide(60, 4_000_000_000_000)), Err(Gap::WentBack));
    assert_eq!(grown(&wide(0, 0), &wide(60, 750_000_000)), Ok(750_000_000));
    // A line of more than the speed that is stated (twice as much goes out).
    assert_eq!(grown(&wide(0, 0), &wide(60, 3_750_000_000)), Ok(3_750_000_000));
    // 3 * 10^9 cleared to 500: a wrap would be 1.29 * 10^9.
    assert_eq!(
        grown(&narrow(0, 3_000_000_000, 50_000_000), &narrow(60, 500, 50_000_000)),
        Err(Gap::WentBack)
    );
    assert_eq!(grown(&narrow(0, u32::MAX - 99, 50_000_000), &narrow(60, 400, 50_000_000)), Ok(500));
}

#[test]
fn what_a_counter_grew_by() {
    assert_eq!(grown(&reading(0, 100), &reading(60, 700)), Ok(600));
    let both = span(&reading(0, 100), &reading(60, 700)).unwrap();
    assert_eq!((both.out_octets, both.in_packets, both.out_packets), (1200, Some(6), Some(12)));
    // 2^64 - 1000 to 500 is 1500 octets on the way round.
    let mut before = reading(0, 0);
    before.inward.octets = Some(Counter::Bits64(u64::MAX - 999));
    assert_eq!(grown(&before, &reading(60, 500)), Ok(1500));
    // One that goes from 10^12 to 0 cannot have counted nearly 2^64: 60 s at 10 Gbit/s are 7.5 * 10^10 octets.
    assert_eq!(grown(&reading(0, 1_000_000_000_000), &reading(60, 0)), Err(Gap::WentBack));
    // Where no speed is known nothing is a wrap.
    before.speed = 0;
    assert_eq!(grown(&before, &reading(60, 500)), Err(Gap::WentBack));
}

#[test]
fn a_restart_and_a_discontinuity_are_gaps_and_a_year_of_uptime_is_none() {
    let restarted = Reading { uptime: 3_000, ..reading(60, 700) };
    assert_eq!(grown(&reading(0, 100), &restarted), Err(Gap::Restart));
    // Restarted so early that the uptime is greater than before all the same: 20 s before, 30 s now, 60 s later.
    let young = Reading { uptime: 2_000, ..reading(0, 100) };
    assert_eq!(grown(&young, &Reading { uptime: 3_000, ..reading(60, 700) }), Err(Gap::Restart));
    // 2^32 - 1000 hundredths, and 60 s later: 5000 of them after the wrap.
    let old = Reading { uptime: u32::MAX - 999, ..reading(0, 100) };
    assert_eq!(grown(&old, &Reading { uptime: 5_000, ..reading(60, 700) }), Ok(600));
    let cleared = Reading { discontinuity: Some(104_000), ..reading(60, 700) };
    assert_eq!(grown(&reading(0, 100), &cleared), Err(Gap::Discontinuity));
    // Two readings at one instant, or a clock set back.
    assert_eq!(grown(&reading(60, 100), &reading(60, 700)), Err(Gap::Restart));
    assert_eq!(grown(&reading(60, 100), &reading(0, 700)), Err(Gap::Restart));
}

#[test]
fn thirty_two_bits_count_where_they_cannot_wrap_twice() {
    // 100 Mbit/s for 60 s are 750 million octets: one wrap at most.
    let slow = 100_000_000;
    assert_eq!(grown(&narrow(0, 4_294_967_000, slow), &narrow(60, 704, slow)), Ok(1000));
    // 1 Gbit/s for 60 s are 7.5 * 10^9, more than 2^32.
    let fast = 1_000_000_000;
    assert_eq!(grown(&narrow(0, 0, fast), &narrow(60, 704, fast)), Err(Gap::TooFast));
    // The same for 30 s are 3.75 * 10^9: less.
    assert_eq!(grown(&narrow(0, 0, fast), &narrow(30, 704, fast)), Ok(704));
    assert_eq!(grown(&narrow(0, 0, 0), &narrow(30, 704, 0)), Err(Gap::TooFast));
    // The router came to have the wider one.
    assert_eq!(grown(&narrow(0, 0, slow), &reading(60, 704)), Err(Gap::Missing));
    // Packets that are not counted in the same width are not known; octets are.
    let mut before = reading(0, 100);
    before.inward.packets[0] = None;
    let both = span(&before, &reading(60, 700)).unwrap();
    assert_eq!((both.in_octets, both.in_packets, both.out_packets), (600, None, Some(12)));
}

/// Up for 1000 s at 0.
#[test]
fn a_start_between_two_readings_shows_in_the_later_uptime() {
    let after = |at: i64, uptime: u32| {
        super::counter::has_started((UnixMillis(0), 100_000), (UnixMillis(at * 1000), uptime * 100))
    };
    assert!(!after(60, 1060), "it went on");
    assert!(after(60, 20));
    assert!(after(60, 0));
    // 900 s are no start in the last 60, and no going on: another router, or our clock.
    assert!(!after(60, 900));
    assert!(!after(-60, 1060) && !after(-60, 20));
}

/// Failures of flow tables, which nothing tells the width of.
#[test]
fn a_count_of_events_wraps_or_was_cleared() {
    use super::counter::risen;
    let readings = [4_294_967_290, 4_294_967_295, 1_000, 1_010, 7, 57];
    let rises: Vec<u64> = readings.windows(2).map(|two| risen(two[0], two[1], false)).collect();
    // 2^32 is 4294967296: 1 up to 0, and 1000. From 1010 to 7 it was cleared.
    assert_eq!(rises, [5, 1001, 10, 7, 50]);
    // The router started anew: also where the count is greater than before.
    assert_eq!([risen(4_294_967_295, 1_000, true), risen(10, 30, true)], [1_000, 30]);
    // 2^31 is 2147483648: from there 2^31 - 1 is 2^32 - 1 on, and rather a count that was cleared.
    assert_eq!(risen(2_147_483_648, 2_147_483_647, false), 2_147_483_647);
    assert_eq!(risen(2_147_483_647, 5, false), 5, "the lower half");
    assert_eq!([risen(1 << 40, 9, false), risen(1 << 40, (1 << 40) + 9, false)], [9, 9], "64 bits");
    assert_eq!(risen(u64::MAX, 0, false), 0);
}

/// Bucket (by its number from [`T`]), beginning and end in seconds from [`T`], octets received.
type Told = (i64, i64, i64, u64);

fn told(part: &InterfacePart) -> Told {
    let from_t = |at: UnixMillis| at.0 / 1000 - T;
    ((part.bucket.0 - T) / 300, from_t(part.from), from_t(part.to), part.in_octets)
}

/// The parts of readings, polled each minute, with what is open at the end; and the gaps.
fn parts(readings: &[Reading]) -> (Vec<Told>, Vec<Gap>) {
    let mut assembler = Assembler::default();
    let (mut done, mut gaps) = (Vec::new(), Vec::new());
    for reading in readings {
        gaps.extend(assembler.take(*reading, 90_000, &mut done));
    }
    assembler.finish(&mut done);
    (done.iter().map(told).collect(), gaps)
}

#[test]
fn a_bucket_is_the_sum_of_its_polls_and_its_share_of_those_at_its_ends() {
    assert_eq!(BucketStart(T), BucketStart::of(UnixMillis(T * 1000)));
    // Every 60 s at 10 s past: from 250 to 310 there are 60 octets, 50 of them before the boundary at 300.
    let all: Vec<Reading> =
        [10, 70, 130, 190, 250, 310, 370].map(|at| reading(at, u64::try_from(at).unwrap())).to_vec();
    assert_eq!(parts(&all), (vec![(0, 10, 300, 290), (1, 300, 370, 70)], vec![]));
    // 7 octets over a boundary two thirds of the way: 4 (4.67 rounded down) and the other 3.
    assert_eq!(parts(&[reading(260, 0), reading(320, 7)]).0, [(0, 260, 300, 4), (1, 300, 320, 3)]);
    // A reading at the boundary itself needs no share.
    assert_eq!(
        parts(&[reading(240, 5), reading(300, 8), reading(360, 9)]).0,
        [(0, 240, 300, 3), (1, 300, 360, 1)]
    );
}

#[test]
fn a_missed_poll_costs_nothing_within_a_bucket_and_is_a_gap_at_a_boundary() {
    // From 70 to 190 nobody asked, and the counter knows.
    let (all, gaps) = parts(&[reading(10, 0), reading(70, 60), reading(190, 180)]);
    assert_eq!((all, gaps), (vec![(0, 10, 190, 180)], vec![]));
    // From 250 to 370 nobody knows which of the 120 octets were before 300.
    let (all, gaps) = parts(&[reading(190, 0), reading(250, 60), reading(370, 180), reading(430, 240)]);
    assert_eq!((all, gaps), (vec![(0, 190, 250, 60), (1, 370, 430, 60)], vec![Gap::Silence]));
    // A silence over several buckets is in none of them.
    let (all, gaps) = parts(&[reading(0, 0), reading(60, 60), reading(1860, 99_999), reading(1920, 100_059)]);
    assert_eq!((all, gaps), (vec![(0, 0, 60, 60), (6, 1860, 1920, 60)], vec![Gap::Silence]));
}

#[test]
fn nothing_is_counted_over_a_reset() {
    let after = |at, octets| Reading { discontinuity: Some(107_000), ..reading(at, octets) };
    let (all, gaps) = parts(&[reading(0, 1000), reading(60, 2000), after(120, 30), after(180, 90)]);
    assert_eq!((all, gaps), (vec![(0, 0, 60, 1000), (0, 120, 180, 60)], vec![Gap::Discontinuity]));
}

/// An interface that is given up leaves a gap if it had been read, and only one.
#[test]
fn giving_up_is_a_gap_where_there_was_a_reading() {
    let (mut assembler, mut done) = (Assembler::default(), Vec::new());
    assert!(!assembler.finish(&mut done), "nothing was read");
    assert_eq!(assembler.take(reading(0, 1000), 90_000, &mut done), None);
    assert!(assembler.finish(&mut done), "one reading, from which nothing goes on");
    assert!(!assembler.finish(&mut done), "the same gap");
    // What comes next begins anew: the gap is told already.
    assert_eq!(assembler.take(reading(60, 2000), 90_000, &mut done), None);
    assert_eq!(assembler.take(reading(120, 2500), 90_000, &mut done), None);
    assert!(assembler.finish(&mut done));
    assert_eq!(done.iter().map(told).collect::<Vec<_>>(), [(0, 60, 120, 500)]);
}

proptest::proptest! {
    /// Whatever the polls: what is in parts is what the counter grew by over the spans that are no gap, and parts of a
    /// bucket lie in it, one after the other.
    #[test]
    fn octets_are_booked_once(steps in proptest::collection::vec((1_i64..200, 0_u64..1_000_000), 1..60)) {
        let (mut at, mut octets) = (0, 0);
        let mut assembler = Assembler::default();
        let (mut done, mut booked, mut before) = (Vec::new(), 0_u64, None);
        for (pause, growth) in steps {
            (at, octets) = (at + pause, octets + growth);
            let gap = assembler.take(reading(at, octets), 90_000, &mut done);
            if before.is_some() && gap.is_none() {
                booked += growth;
            }
            before = Some(at);
        }
        assembler.finish(&mut done);
        proptest::prop_assert_eq!(done.iter().map(|part| part.in_octets).sum::<u64>(), booked);
        proptest::prop_assert_eq!(done.iter().map(|part| part.out_octets).sum::<u64>(), 2 * booked);
        for part in &done {
            proptest::prop_assert!(part.bucket.start() <= part.from && part.from < part.to && part.to <= part.bucket.end());
        }
        proptest::prop_assert!(done.is_sorted_by(|a, b| a.to <= b.from));
    }
}

#[test]
fn routers_have_their_turns_at_places_of_their_own() {
    let at = |seconds: i64| UnixMillis((T + seconds) * 1000);
    // At 7 s past each minute.
    assert_eq!(schedule::next(at(0), 7_000, 60_000, 0), at(7));
    assert_eq!(schedule::next(at(7), 7_000, 60_000, 0), at(67));
    assert_eq!(schedule::next(at(66), 7_000, 60_000, 0), at(67));
    // T is a multiple of 8 minutes plus 0: 1793491200 / 60 = 29891520 = 8 * 3736440.
    assert_eq!(schedule::next(at(7), 7_000, 60_000, 12), at(67), "the next turn");
    assert_eq!(schedule::next(at(7), 7_000, 60_000, 13), at(127), "every second turn");
    assert_eq!(schedule::next(at(7), 7_000, 60_000, 14), at(247), "every fourth");
    assert_eq!(schedule::next(at(7), 7_000, 60_000, 15), at(487), "every eighth");
    assert_eq!(schedule::next(at(7), 7_000, 60_000, u32::MAX), at(487), "and no less");
    let places: Vec<i64> = (0..200).map(|n| schedule::place_ms(&format!("router-{n}"), 60_000)).collect();
    assert!(places.iter().all(|place| (0..15_000).contains(place)));
    // 200 routers over 15 s: no second has more than thrice its share of 13.3.
    let crowd = (0..15).map(|second| places.iter().filter(|place| **place / 1000 == second).count()).max();
    assert!(crowd < Some(40), "{crowd:?}");
    assert_eq!(schedule::place_ms("ce1", 60_000), schedule::place_ms("ce1", 60_000));
}

/// An agent: GETBULK over its objects, at most so many values an answer.
fn bulk(agent: &BTreeMap<Oid, Value>, request: &[Oid], repetitions: usize, most: usize) -> Vec<(Oid, Value)> {
    let mut at = request.to_vec();
    let mut answer = Vec::new();
    for _ in 0..repetitions {
        for oid in &mut at {
            let next = agent.range(oid.clone()..).find(|(found, _)| *found != oid);
            let (found, value) = next
                .map_or_else(|| (oid.clone(), Value::Absent), |(oid, value)| (oid.clone(), value.clone()));
            *oid = found.clone();
            answer.push((found, value));
        }
    }
    answer.truncate(most);
    answer
}

fn agent(rows: u32) -> BTreeMap<Oid, Value> {
    let mut agent = BTreeMap::new();
    for row in 1..=rows {
        for (n, column) in columns::names().into_iter().enumerate() {
            // No alias for every third row, and an agent without ifSpeed.
            if n == 5 || n == 1 && row % 3 == 0 {
                continue;
            }
            let value = match n {
                0 => Value::Text(format!("xe-0/0/{row}\0").into_bytes()),
                1 => Value::Text(vec![b'K', 0xf6, b'l', b'n', 7]),
                2 => Value::Number(10_000),
                3 => Value::Text(format!("port {row}").into_bytes()),
                _ => Value::Number(6),
            };
            agent.insert([column, vec![row]].concat(), value);
        }
    }
    agent.insert(vec![1, 3, 6, 1, 9], Value::Number(0));
    agent
}

fn walked(agent: &BTreeMap<Oid, Value>, rows_max: usize, most: usize) -> Walk {
    let mut walk = Walk::new(columns::names(), rows_max);
    for _ in 0..10_000 {
        let request = walk.request();
        if request.is_empty() {
            return walk;
        }
        walk.take(bulk(agent, &request, 8, most));
    }
    panic!("the walk does not end");
}

#[test]
fn a_walk_finds_every_row_however_short_the_answers_are() {
    let agent = agent(20);
    for most in [1, 2, 5, 6, 7, 48, 1000] {
        let interfaces = columns::interfaces(&walked(&agent, 100, most).rows);
        assert_eq!(interfaces.len(), 20, "{most} values an answer");
        let second = &interfaces[1];
        assert_eq!((second.ifindex, second.name.as_str()), (IfIndex(2), "xe-0/0/2"));
        assert_eq!((second.alias.as_str(), second.description.as_str()), ("K\u{f6}ln", "port 2"));
        assert_eq!((second.speed, second.kind), (TEN_GIGABIT, 6));
        assert_eq!(interfaces[2].alias, "");
    }
}

#[test]
fn a_walk_is_bounded_and_an_agent_that_goes_round_ends_it() {
    let walk = walked(&agent(20), 7, 48);
    assert_eq!((walk.rows.len(), walk.truncated), (7, true));
    assert!(!walked(&agent(20), 20, 48).truncated);
    // The same answer again and again.
    let mut walk = Walk::new(columns::names(), 100);
    let answer = bulk(&agent(3), &walk.request(), 2, 48);
    walk.take(answer.clone());
    walk.take(answer);
    assert_eq!(walk.request(), Vec::<Oid>::new());
    // Nothing at all.
    let mut walk = Walk::new(columns::names(), 100);
    for _ in 0..columns::names().len() {
        walk.take(Vec::new());
    }
    assert_eq!(walk.request(), Vec::<Oid>::new());
}

#[test]
fn secrets_do_not_show() {
    let target = super::Target {
        exporter: "ce1".to_owned(),
        address: ([192, 0, 2, 1], 161).into(),
        credentials: super::Credentials::Community(super::Secret::new("s3cret")),
        tables: true,
    };
    assert!(!format!("{target:?}").contains("s3cret"));
}
