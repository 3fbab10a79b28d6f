//! Flow times.

use super::build::*;
use crate::decode::{Counts, Limits};
use crate::flow::FlowRecord;

/// Start and end relative to the export time, for one IPFIX record with these time fields, and the counts.
fn span10(fields: &[(u64, u16)], values: &[u64]) -> (i64, i64, Counts) {
    let body =
        fields.iter().zip(values).fold(octets().u32(1), |body, (&(_, len), &n)| body.uint(n, len.into()));
    let fields: Vec<_> = [(1, 4)].iter().chain(fields).copied().collect();
    let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)])]);
    let flow = collector.out.records[0];
    (flow.start.0 - EXPORT_MS, flow.end.0 - EXPORT_MS, collector.counts())
}

fn check(fields: &[(u64, u16)], values: &[u64], start: i64, end: i64) {
    let (found_start, found_end, counts) = span10(fields, values);
    assert_eq!((found_start, found_end, counts.clamped), (start, end, 0), "{fields:?} {values:?}");
}

const SECONDS: u64 = EXPORT as u64;
const MILLIS: u64 = SECONDS * 1000;
/// Seconds since 1900, in the high half.
const NTP: u64 = (SECONDS + 2_208_988_800) << 32;

#[test]
fn the_ways_to_state_an_instant() {
    check(&[(152, 8), (153, 8)], &[MILLIS - 1500, MILLIS - 250], -1500, -250);
    check(&[(150, 4), (151, 4)], &[SECONDS - 9, SECONDS - 4], -9000, -4000);
    // A quarter of a second is 2^30 in the fraction; three seconds and three quarters before, and one and a quarter.
    check(&[(154, 8), (155, 8)], &[NTP - (15 << 30), NTP - (5 << 30)], -3750, -1250);
    check(&[(156, 8), (157, 8)], &[NTP - (15 << 30), NTP - (5 << 30)], -3750, -1250);
    check(&[(158, 4), (159, 4)], &[2_000_000, 500_000], -2000, -500);
    check(&[(152, 8), (161, 4)], &[MILLIS - 900, 300], -900, -600);
    check(&[(153, 8), (161, 4)], &[MILLIS - 600, 300], -900, -600);
    check(&[(152, 8), (162, 4)], &[MILLIS - 900, 300_000], -900, -600);
    check(&[(161, 4)], &[700], -700, 0);
    check(&[(153, 8)], &[MILLIS - 40], -40, -40);
    check(&[(152, 8)], &[MILLIS - 40], -40, 0);
    check(&[(323, 8)], &[MILLIS - 40], -40, -40);
    check(&[], &[], 0, 0);
    check(&[(152, 8), (153, 8)], &[0, 0], 0, 0);
}

#[test]
fn a_clock_that_states_nothing_gives_way_to_the_next() {
    let init = MILLIS - 100_000;
    let fields = [(152, 8), (153, 8), (22, 4), (21, 4), (160, 8)];
    check(&fields, &[0, 0, 95_000, 99_000, init], -5000, -1000);
    check(&fields, &[MILLIS - 1500, MILLIS - 250, 95_000, 99_000, init], -1500, -250);
    check(&[(152, 8), (153, 8), (150, 4), (151, 4)], &[0, 0, SECONDS - 9, SECONDS - 4], -9000, -4000);
    check(&[(152, 8), (153, 8), (323, 8)], &[MILLIS - 90, 0, MILLIS - 40], -90, -40);
    check(&[(152, 8), (153, 8), (22, 4), (21, 4), (160, 8)], &[0, 0, 0, 0, init], 0, 0);
}

#[test]
fn ipfix_uptimes_with_and_without_the_time_of_the_start() {
    let init = MILLIS - 100_000;
    check(&[(22, 4), (21, 4), (160, 8)], &[95_000, 99_000, init], -5000, -1000);
    // The uptime has wrapped once since.
    let init = MILLIS - 100_000 - (1 << 32);
    check(&[(22, 4), (21, 4), (160, 8)], &[95_000, 99_000, init], -5000, -1000);
    // Without it the duration stays, also over a wrap.
    check(&[(22, 4), (21, 4)], &[95_000, 99_000], -4000, 0);
    check(&[(22, 4), (21, 4)], &[u64::from(u32::MAX) - 999, 2000], -3000, 0);
}

#[test]
fn the_time_of_the_start_may_come_in_an_options_record() {
    let options = set(3, options_template(310, 1, &[(149, 4), (160, 8)]));
    let value = set(310, octets().u32(1).u64(MILLIS - 100_000));
    let data = set(300, octets().u32(95_000).u32(99_000).u32(1));
    let sets = [set(2, template(300, &[(22, 4), (21, 4), (1, 4)])), options, value, data];
    let flow = decoded(&[ipfix(0, 1, &sets)]).out.records[0];
    assert_eq!((flow.start.0 - EXPORT_MS, flow.end.0 - EXPORT_MS), (-5000, -1000));
}

#[test]
fn uptimes_survive_their_wrap() {
    // The header's uptime is 1000 ms after the wrap; the flow began 6 s and ended 2 s before it.
    let template = set(0, template(300, &[(22, 4), (21, 4), (1, 4)]));
    let data = set(300, octets().u32(0u32.wrapping_sub(5000)).u32(0u32.wrapping_sub(1000)).u32(1));
    let flow = decoded(&[v9_at(1000, EXPORT, 0, 1, &[template, data])]).out.records[0];
    assert_eq!((flow.start.0 - EXPORT_MS, flow.end.0 - EXPORT_MS), (-6000, -2000));
}

#[test]
fn a_flow_lies_within_the_hour_before_its_export() {
    let fields = [(152, 8), (153, 8)];
    for (start, end, expected) in [
        (MILLIS - 3_600_001, MILLIS, (-3_600_000, 0)),
        (MILLIS - 9_000_000, MILLIS - 8_000_000, (-3_600_000, -3_600_000)),
        (MILLIS - 10, MILLIS + 1000, (-10, 0)),
        (MILLIS - 10, MILLIS - 20, (-20, -20)),
        (MILLIS + 5000, MILLIS + 6000, (0, 0)),
        (u64::MAX, u64::MAX, (0, 0)),
    ] {
        let (found_start, found_end, counts) = span10(&fields, &[start, end]);
        assert_eq!((found_start, found_end, counts.clamped), (expected.0, expected.1, 1));
    }
    // Exactly an hour is allowed; and the header's whole seconds explain an end in the same second.
    check(&fields, &[MILLIS - 3_600_000, MILLIS], -3_600_000, 0);
    check(&fields, &[MILLIS - 10, MILLIS + 999], -10, 0);
}

/// What a header in whole seconds says lies up to a second before what it means, and reception bounds that.
#[test]
fn an_end_may_lie_in_the_second_that_the_header_tells() {
    let span = |fields: &[(u64, u16)], values: &[u64], received: i64| {
        let body =
            fields.iter().zip(values).fold(octets().u32(1), |body, (&(_, len), &n)| body.uint(n, len.into()));
        let fields: Vec<_> = [(1, 4)].iter().chain(fields).copied().collect();
        let mut collector = Collector::default();
        let sets = [set(2, template(300, &fields)), set(300, body)];
        collector.take_at(EXPORT_MS + received, &ipfix(0, 1, &sets)).unwrap();
        let flow = collector.out.records[0];
        (flow.start.0 - EXPORT_MS, flow.end.0 - EXPORT_MS, collector.counts().clamped)
    };
    let both = [(152, 8), (153, 8)];
    let half = [MILLIS - 500, MILLIS + 500];
    assert_eq!(span(&both, &half, 600), (-500, 500, 0));
    // Nothing is known before it has been.
    assert_eq!(span(&both, &half, 300), (-500, 300, 0));
    // The second is over, however late the datagram comes: what it tells beyond is a fault.
    assert_eq!(span(&both, &[MILLIS - 500, MILLIS + 1000], 90_000), (-500, 999, 1));
    // Where no end is told it is the export time, or the beginning.
    assert_eq!(span(&[(152, 8)], &[MILLIS + 400], 600), (400, 400, 0));
    assert_eq!(span(&[(152, 8)], &[MILLIS - 400], 600), (-400, 0, 0));
    // Of a clock that is ahead by ten seconds, the export is its reception.
    assert_eq!(span(&both, &half, -10_000), (-10_500, -10_000, 0));
}

#[test]
fn an_end_of_v9_may_lie_in_the_second_that_the_header_tells() {
    let template = set(0, template(300, &[(22, 4), (21, 4), (1, 4)]));
    let data = set(300, octets().u32(UPTIME - 500).u32(UPTIME + 500).u32(1));
    let mut collector = Collector::default();
    collector.take_at(EXPORT_MS + 600, &v9_at(UPTIME, EXPORT, 0, 1, &[template, data])).unwrap();
    let flow = collector.out.records[0];
    assert_eq!((flow.start.0 - EXPORT_MS, flow.end.0 - EXPORT_MS), (-500, 500));
}

#[test]
fn an_exporter_clock_ahead_of_ours_does_not_rule() {
    let record = [v5_record(1, 100)];
    let mut collector = Collector::default();
    collector.take_at(EXPORT_MS - 10_000, &v5(0, 0, 0, &record)).unwrap();
    let flow = collector.out.records[0];
    assert_eq!((flow.start.0 - EXPORT_MS, flow.end.0 - EXPORT_MS), (-15_000, -11_000));
    assert_eq!((collector.counts().clock_ahead, collector.counts().clock_behind), (1, 0));
    // Behind by more than an hour: counted, and its own time rules.
    collector.take_at(EXPORT_MS + 3_600_001, &v5(1, 0, 0, &record)).unwrap();
    assert_eq!(collector.out.records[1].end.0 - EXPORT_MS, -1000);
    assert_eq!((collector.counts().clock_ahead, collector.counts().clock_behind), (1, 1));
}

/// Clocks that are wrong by so many milliseconds, and so beyond the bound; a flow from 4 s to 1 s before its export.
#[test]
fn flows_of_a_wrong_clock_keep_their_place_before_the_export() {
    const NTP_SECONDS: u64 = 2_208_988_800;
    let limits = Limits { clock_skew_ms: 3_600_000, ..Limits::default() };
    let init = MILLIS - 100_000;
    type Way<'a> = (&'a [(u64, u16)], &'a [u64]);
    let ways: [Way<'_>; 6] = [
        (&[(152, 8), (153, 8)], &[MILLIS - 4000, MILLIS - 1000]),
        (&[(150, 4), (151, 4)], &[SECONDS - 4, SECONDS - 1]),
        (&[(154, 8), (155, 8)], &[(SECONDS + NTP_SECONDS - 4) << 32, (SECONDS + NTP_SECONDS - 1) << 32]),
        (&[(158, 4), (159, 4)], &[4_000_000, 1_000_000]),
        (&[(22, 4), (21, 4), (160, 8)], &[96_000, 99_000, init]),
        (&[(153, 8), (161, 4)], &[MILLIS - 1000, 3000]),
    ];
    for (fields, values) in ways {
        let body =
            fields.iter().zip(values).fold(octets().u32(1), |body, (&(_, len), &n)| body.uint(n, len.into()));
        let fields: Vec<_> = [(1, 4)].iter().chain(fields).copied().collect();
        let message = ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)]);
        // Within the bound its own clock rules; beyond, and ahead by anything, ours does.
        for (received, moved) in [
            (0, 0),
            (3_600_000, 0),
            (3_600_001, 3_600_001),
            (90 * 86_400_000, 90 * 86_400_000),
            (-700, -700),
            (-7_200_000, -7_200_000),
        ] {
            let mut collector = Collector { limits, ..Collector::default() };
            collector.take_at(EXPORT_MS + received, &message).unwrap();
            let flow = collector.out.records[0];
            let (start, end) = (flow.start.0 - EXPORT_MS - moved, flow.end.0 - EXPORT_MS - moved);
            assert_eq!((start, end), (-4000, -1000), "{fields:?} {received}");
            let counts = collector.counts();
            let faults = (counts.clock_ahead, counts.clock_behind, counts.clock_shifted, counts.clamped);
            let expected = (
                u64::from(received < 0),
                u64::from(received > 3_600_000),
                u64::from(received > 3_600_000),
                0,
            );
            assert_eq!(faults, expected, "{fields:?} {received}");
        }
    }
}

/// Start and end of the two directions of one IPFIX biflow of 100 octets and 70 back, relative to the export time.
fn spans_of_biflow(fields: &[(u64, u16)], values: &[u64]) -> ([(i64, i64); 2], u64) {
    let back = [(1, 4), (enterprise(29_305, 1), 4)];
    let body = octets().u32(100).u32(70);
    let body = fields.iter().zip(values).fold(body, |body, (&(_, len), &n)| body.uint(n, len.into()));
    let fields: Vec<_> = back.iter().chain(fields).copied().collect();
    let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)])]);
    let [forward, reverse] = collector.out.records[..] else { panic!() };
    assert_eq!((forward.octets.as_u64(), reverse.octets.as_u64()), (100, 70));
    let span = |flow: FlowRecord| (flow.start.0 - EXPORT_MS, flow.end.0 - EXPORT_MS);
    ([span(forward), span(reverse)], collector.counts().clamped)
}

/// RFC 5103: elements of the reverse direction tell when that was.
#[test]
fn the_way_back_of_a_biflow_has_its_own_times() {
    let back = |element| enterprise(29_305, element);
    let there = [(152, 8), (153, 8)];
    let began = [MILLIS - 900_000, MILLIS - 600_000];
    let check = |fields: &[(u64, u16)], values: &[u64], expected: (i64, i64)| {
        let fields = [&there[..], fields].concat();
        let (spans, clamped) = spans_of_biflow(&fields, &[&began[..], values].concat());
        assert_eq!((spans, clamped), ([(-900_000, -600_000), expected], 0), "{fields:?}");
    };
    // Ten minutes long, five minutes after the way there, which ended ten minutes before the export.
    check(&[(back(152), 8), (back(153), 8)], &[MILLIS - 600_000, MILLIS - 1000], (-600_000, -1000));
    check(&[(back(150), 4), (back(151), 4)], &[SECONDS - 600, SECONDS - 1], (-600_000, -1000));
    check(&[(back(154), 8), (back(155), 8)], &[NTP - (600 << 32), NTP - (1 << 32)], (-600_000, -1000));
    check(&[(back(158), 4), (back(159), 4)], &[600_000_000, 1_000_000], (-600_000, -1000));
    check(&[(back(152), 8), (back(161), 4)], &[MILLIS - 600_000, 5000], (-600_000, -595_000));
    check(&[(back(153), 8), (back(162), 4)], &[MILLIS - 5000, 4_000_000], (-9000, -5000));
    // What is not told is that of the way there, as far as it can be.
    check(&[(back(152), 8)], &[MILLIS - 700_000], (-700_000, -600_000));
    check(&[(back(152), 8)], &[MILLIS - 500_000], (-500_000, -500_000));
    check(&[(back(153), 8)], &[MILLIS - 500_000], (-900_000, -500_000));
    check(&[(back(153), 8)], &[MILLIS - 950_000], (-950_000, -950_000));
    check(&[(back(161), 4)], &[1000], (-601_000, -600_000));
    check(&[], &[], (-900_000, -600_000));
    check(&[(back(152), 8), (back(153), 8)], &[0, 0], (-900_000, -600_000));
    // YAF: milliseconds from the first packet there to the first one back.
    check(&[(enterprise(6871, 21), 4)], &[20], (-899_980, -600_000));
}

#[test]
fn uptimes_of_the_way_back() {
    let back = |element| enterprise(29_305, element);
    let fields = [(22, 4), (21, 4), (back(22), 4), (back(21), 4), (160, 8)];
    let values = [95_000, 97_000, 96_000, 99_000, MILLIS - 100_000];
    assert_eq!(spans_of_biflow(&fields, &values), ([(-5000, -3000), (-4000, -1000)], 0));
    // Where nobody knows when the exporter started, both are told from the end of the way there.
    let spans = spans_of_biflow(&fields[..4], &[95_000, 99_000, 96_000, 98_000]);
    assert_eq!(spans, ([(-4000, 0), (-3000, -1000)], 0));
}

/// Ends before it begins, and begins more than an hour ago: moved, and counted for each direction.
#[test]
fn times_of_the_way_back_are_bounded_as_all_are() {
    let back = |element| enterprise(29_305, element);
    let fields = [(152, 8), (153, 8), (back(152), 8), (back(153), 8)];
    let values = |start, end| [MILLIS - 2000, MILLIS - 1000, start, end];
    let spans = |start, end| spans_of_biflow(&fields, &values(start, end));
    let there = (-2000, -1000);
    assert_eq!(spans(MILLIS - 9_000_000, MILLIS), ([there, (-3_600_000, 0)], 1));
    assert_eq!(spans(MILLIS - 10, MILLIS - 20), ([there, (-20, -20)], 1));
}

/// A router without a clock begins in 1970; its v5 and v9 flows count when they come.
#[test]
fn the_clock_of_a_router_that_has_none() {
    let mut collector = Collector::default();
    let mut five = v5(0, 0, 0, &[v5_record(1, 100)]);
    five[8..12].copy_from_slice(&1000_u32.to_be_bytes());
    collector.take(&five).unwrap();
    let nine = [
        set(0, template(300, &[(22, 4), (21, 4), (1, 4)])),
        set(300, octets().u32(UPTIME - 5000).u32(UPTIME - 1000).u32(7)),
    ];
    collector.take(&v9_at(UPTIME, 1000, 0, 1, &nine)).unwrap();
    for flow in &collector.out.records {
        assert_eq!((flow.start.0 - EXPORT_MS, flow.end.0 - EXPORT_MS), (-5000, -1000));
    }
    let counts = collector.counts();
    assert_eq!((counts.records, counts.clock_behind, counts.clock_shifted), (2, 2, 2));
}

/// What waits for its template keeps the time that it was given when it came.
#[test]
fn a_set_that_waited_has_the_clock_of_its_own_datagram() {
    let limits = Limits { clock_skew_ms: 3_600_000, ..Limits::default() };
    let mut collector = Collector { limits, ..Collector::default() };
    let day = 86_400_000;
    let data = set(300, octets().u64(MILLIS - 4000).u64(MILLIS - 1000).u32(1));
    collector.take_at(EXPORT_MS + day, &ipfix(0, 1, &[data])).unwrap();
    let defined = set(2, template(300, &[(152, 8), (153, 8), (1, 4)]));
    collector.take_at(EXPORT_MS + day + 60_000, &ipfix_at(EXPORT + 86_460, 1, 1, &[defined])).unwrap();
    let flow = collector.out.records[0];
    assert_eq!((flow.start.0 - EXPORT_MS - day, flow.end.0 - EXPORT_MS - day), (-4000, -1000));
}
