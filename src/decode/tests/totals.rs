//! Running totals: which records are of one flow, and what each adds.

use super::build::*;
use crate::units::UnixMillis;

/// Where the times of these tests begin.
const BEGUN: u64 = EXPORT_MS.cast_unsigned() - 1_000_000;

const ENDS: [(u64, u16); 2] = [(8, 4), (12, 4)];
const TOTALS: [(u64, u16); 2] = [(85, 8), (86, 8)];
const MILLIS: [(u64, u16); 2] = [(152, 8), (153, 8)];
const REASON: (u64, u16) = (136, 1);

/// Octets that each of the records of one template counts for.
fn counted(fields: &[(u64, u16)], records: &[Octets]) -> Vec<u64> {
    let body = records.iter().fold(octets(), |all, one| all.bytes(&one.0));
    let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, fields)), set(300, body)])]);
    collector.volumes().into_iter().map(|(_, octets)| octets).collect()
}

/// Ends, a total of octets and one of packets (a hundredth), start and end after [`BEGUN`] in milliseconds.
fn flow(total: u64, start: u64, end: u64) -> Octets {
    octets().u32(1).u32(2).u64(total).u64(total / 100).u64(BEGUN + start).u64(BEGUN + end)
}

fn flow_fields() -> Vec<(u64, u16)> {
    [ENDS, TOTALS, MILLIS].concat()
}

/// 1000 octets a second for two hours, told each minute: each difference is of that minute, and not of the hour before.
#[test]
fn a_difference_is_of_the_time_since_the_last_record() {
    let mut collector = decoded(&[]);
    let begun = u64::from(EXPORT - 7200) * 1000;
    for minute in 1..=120_u32 {
        let end = begun + u64::from(minute) * 60_000;
        let record = octets().u32(1).u32(2).u64(u64::from(minute) * 60_000).u64(1).u64(begun).u64(end);
        let sets = [set(2, template(300, &flow_fields())), set(300, record)];
        let export = EXPORT - 7200 + 60 * minute;
        collector.take_at(i64::from(export) * 1000, &ipfix_at(export, minute - 1, 1, &sets)).unwrap();
    }
    let mut starts = begun.cast_signed();
    for flow in &collector.out.records {
        assert_eq!((flow.start, flow.end), (UnixMillis(starts), UnixMillis(starts + 60_000)));
        assert_eq!(flow.octets.as_u64(), 60_000);
        starts += 60_000;
    }
    assert_eq!(collector.out.records.len(), 120);
    // One that is told of first after more than an hour is of its last hour, as all flows are.
    let record = octets().u32(9).u32(2).u64(7000).u64(1).u64(begun).u64(u64::from(EXPORT) * 1000);
    let sets = [set(300, record)];
    collector.take_at(EXPORT_MS, &ipfix_at(EXPORT, 120, 1, &sets)).unwrap();
    let last = collector.out.records.last().unwrap();
    assert_eq!((last.start, last.octets.as_u64()), (UnixMillis(EXPORT_MS - 3_600_000), 7000));
}

#[test]
fn sessions_one_after_the_other_on_one_key_each_count_whole() {
    // A ping a second: each a session of its own, of 5 ms and 84 octets.
    let pings: Vec<Octets> = (0..50).map(|n| flow(84, 1000 * n, 1000 * n + 5)).collect();
    assert_eq!(counted(&flow_fields(), &pings), [84; 50]);
    assert_eq!(counted(&flow_fields(), &[flow(1000, 0, 500), flow(3000, 1500, 2000)]), [1000, 3000]);
    // By a clock of whole seconds.
    let fields = [&ENDS[..], &TOTALS, &[(150, 4), (151, 4)]].concat();
    let second = |n: u32| octets().u32(1).u32(2).u64(1000).u64(1).u32(EXPORT - 50 + n).u32(EXPORT - 50 + n);
    assert_eq!(counted(&fields, &[second(0), second(2), second(3)]), [1000; 3]);
    // What begins while the flow is there is not another one, and what goes on where it ended only if that is said.
    let records = [flow(1000, 0, 5000), flow(1500, 3000, 6000), flow(1700, 6000, 7000)];
    assert_eq!(counted(&flow_fields(), &records), [1000, 500, 200]);
    let fields = [flow_fields(), vec![REASON]].concat();
    let records = [flow(1000, 0, 1500).u8(2), flow(3000, 1500, 3000).u8(0x83)];
    assert_eq!(counted(&fields, &records), [1000, 3000]);
}

/// The end and the duration tell when a flow began as well, to the two seconds that a rounded duration is believed for.
#[test]
fn sessions_are_told_apart_by_their_ends_and_durations() {
    for (duration, factor) in [(161, 1), (162, 1000)] {
        let fields = [&ENDS[..], &TOTALS, &[(153, 8), (duration, 4)]].concat();
        let lasted = |total: u64, end: u64, lasted: u32| {
            octets().u32(1).u32(2).u64(total).u64(total / 100).u64(BEGUN + end).u32(lasted * factor)
        };
        let records = [lasted(1000, 10_000, 9900), lasted(5000, 70_000, 9900), lasted(6000, 130_000, 69_900)];
        assert_eq!(counted(&fields, &records), [1000, 5000, 1000]);
    }
}

/// The header has whole seconds, records have milliseconds: what they tell is compared as they tell it, also where the
/// exporter's clock is a day ahead.
#[test]
fn sessions_are_told_apart_within_the_second_of_their_export() {
    for ahead in [0, 86_400] {
        let mut collector = decoded(&[]);
        for n in 0..3_u32 {
            let export = EXPORT + ahead + n;
            let begun = u64::from(export) * 1000 + 300;
            let record = octets().u32(1).u32(2).u64(84).u64(1).u64(begun).u64(begun + 10);
            let sets = [set(2, template(300, &flow_fields())), set(300, record)];
            let received = i64::from(EXPORT + n) * 1000 + 400;
            collector.take_at(received, &ipfix_at(export, n, 1, &sets)).unwrap();
        }
        assert_eq!(collector.volumes(), [(1, 84); 3]);
    }
}

/// An uptime that runs slower than the clock moves the start of a flow from report to report.
#[test]
fn starts_that_are_told_from_uptimes_may_drift() {
    let fields = [&ENDS[..], &TOTALS, &[(22, 4), (21, 4)]].concat();
    let record =
        |total: u64, last: u32| octets().u32(1).u32(2).u64(total).u64(total / 100).u32(10_000).u32(last);
    let sets = |record| [set(0, template(300, &fields)), set(300, record)];
    // Ten seconds before the first export, nine before that instant by the second one.
    let collector = decoded(&[
        v9_at(20_000, EXPORT - 60, 0, 1, &sets(record(1000, 10_500))),
        v9_at(79_000, EXPORT, 1, 1, &sets(record(1500, 70_500))),
    ]);
    assert_eq!(collector.volumes(), [(10, 1000), (5, 500)]);
}

/// Two flows that differ in one field, told in turns: 1000 and 5000, then 2000 and 6000, so 8000 together.
#[test]
fn whatever_may_be_a_key_tells_flows_apart() {
    let told = [(1, 1000, 100), (2, 5000, 200), (1, 2000, 300), (2, 6000, 400)];
    let together = |others: &[(u64, u16)]| {
        let records = told.map(|(key, total, end)| {
            // The last of the fields is the one that differs.
            let same =
                others[..others.len() - 1].iter().fold(octets(), |all, &(_, len)| all.uint(7, len.into()));
            let (_, length) = others[others.len() - 1];
            let body = same.uint(key << (8 * u64::from(length.min(8) - 1)), length.into());
            body.u64(total).u64(total / 100).u64(BEGUN).u64(BEGUN + end)
        });
        let fields = [others, &TOTALS, &MILLIS].concat();
        counted(&fields, &records).iter().sum::<u64>()
    };
    // Without addresses: MAC addresses, MPLS label, AS numbers, prefixes.
    for others in [&[(80, 6), (56, 6)][..], &[(70, 3)], &[(17, 4), (16, 4)], &[(44, 4), (9, 1)]] {
        assert_eq!(together(others), 8000, "{others:?}");
    }
    // Protocol, VLANs, VRFs, interfaces, flow label, application, segment, next hop, AS number, what an enterprise has.
    for element in [4, 58, 243, 254, 234, 235, 10, 14, 253, 31, 95, 351, 15, 17, enterprise(9, 7)] {
        assert_eq!(together(&[(8, 4), (12, 4), (element, 1)]), 8000, "{element}");
    }
    // Flags, times to live and reasons (2 and up) are no keys. 1000, 4000 more; then a total falls, so there are two: 2000, and
    // 1000 more than 5000.
    for element in [6, 52, 192, 233] {
        let fields = [&[(8, 4), (element, 1)][..], &TOTALS, &MILLIS].concat();
        let records = told.map(|(key, total, end)| {
            let flow = octets().u32(1).uint(4 + key, 1);
            flow.u64(total).u64(total / 100).u64(BEGUN).u64(BEGUN + end)
        });
        assert_eq!(counted(&fields, &records), [1000, 4000, 2000, 1000], "{element}");
    }
}

/// The same octets in other elements: one direction, then the other.
#[test]
fn elements_count_as_much_as_what_they_hold() {
    let back = [&[(12, 4), (8, 4)][..], &TOTALS, &MILLIS].concat();
    let sets = [
        set(2, template(300, &flow_fields())),
        set(2, template(301, &back)),
        set(300, flow(1000, 0, 100)),
        set(301, flow(1500, 0, 200)),
    ];
    assert_eq!(decoded(&[ipfix(0, 1, &sets)]).volumes(), [(10, 1000), (15, 1500)]);
}

/// What the exporter learns while the flow goes on, or gives another number, makes no flow count twice.
#[test]
fn what_is_found_out_late_of_a_flow_does_not_begin_it_anew() {
    for element in [14, 15, 16, 95, enterprise(9, 7)] {
        let fields = [flow_fields(), vec![(element, 4)]].concat();
        let records =
            [flow(1000, 0, 100).u32(0), flow(2500, 0, 200).u32(65_001), flow(4000, 0, 300).u32(65_002)];
        assert_eq!(counted(&fields, &records), [1000, 1500, 1500], "{element}");
    }
    // The next session, of which the same is found out.
    let fields = [flow_fields(), vec![(16, 4)]].concat();
    let records = [
        flow(1000, 0, 100).u32(0),
        flow(2500, 0, 200).u32(65_001),
        flow(70, 300, 400).u32(0),
        flow(90, 300, 500).u32(65_001),
        flow(3000, 0, 200).u32(65_001),
    ];
    assert_eq!(
        counted(&fields, &records),
        [1000, 1500, 70, 20, 500],
        "the last one is of the session before"
    );
    // Another number for the same fields.
    let define = |id| set(2, template(id, &flow_fields()));
    let sets = [define(300), set(300, flow(1000, 0, 100)), define(301), set(301, flow(2500, 0, 200))];
    assert_eq!(decoded(&[ipfix(0, 1, &sets)]).volumes(), [(10, 1000), (15, 1500)]);
    // Or two observation points: each had its own.
    let told = [(300, 1000, 100), (301, 5000, 200), (300, 2000, 300), (301, 6000, 400)];
    let sets: Vec<Octets> = [define(300), define(301)]
        .into_iter()
        .chain(told.map(|(id, total, end)| set(id, flow(total, 0, end))))
        .collect();
    assert_eq!(decoded(&[ipfix(0, 1, &sets)]).counts().raw_octets, 8000);
}

#[test]
fn a_record_that_its_flows_last_one_overtook_adds_nothing() {
    let fields = [flow_fields(), vec![REASON]].concat();
    let records = [
        flow(500, 0, 100).u8(2),
        flow(1000, 0, 300).u8(3),
        flow(800, 0, 200).u8(2),  // overtaken
        flow(1000, 0, 300).u8(3), // once more
        flow(70, 400, 500).u8(2), // the next flow
        flow(800, 0, 200).u8(2),  // overtaken by that as well
        flow(90, 400, 600).u8(3),
    ];
    assert_eq!(counted(&fields, &records), [500, 500, 0, 0, 70, 0, 20]);
    // Where nobody says when flows began, what exceeds the one that is over is of another one.
    let fields = [&ENDS[..], &TOTALS, &[(151, 4), REASON]].concat();
    let record = |total: u64, before: u32, reason: u8| {
        octets().u32(1).u32(2).u64(total).u64(total / 100).u32(EXPORT - before).u8(reason)
    };
    let records = [
        record(500, 50, 2),
        record(1000, 40, 3),
        record(800, 45, 2),
        record(1000, 40, 3),
        record(1200, 40, 3),
        record(300, 30, 3),
    ];
    assert_eq!(counted(&fields, &records), [500, 500, 0, 0, 1200, 300]);
}

/// From 2^32 - 296 to 704 it is 1000, where the total has four octets and the flow is the same.
#[test]
fn a_total_of_four_octets_wraps() {
    let most: u64 = (1 << 32) - 296;
    let pair = |width: u16, before: u64, now: u64, start: u64| {
        let fields = [&ENDS[..], &[(85, width), (86, 4)], &MILLIS].concat();
        let record = |total: u64, packets: u32, start: u64, end: u64| {
            octets().u32(1).u32(2).uint(total, width.into()).u32(packets).u64(BEGUN + start).u64(BEGUN + end)
        };
        counted(&fields, &[record(before, 10, 0, 50_000), record(now, 11, start, 100_000)])
    };
    assert_eq!(pair(4, most, 704, 0), [most, 1000]);
    // Eight octets do not wrap; another flow is no wrap; nor is a fall within one half, which is a beginning.
    assert_eq!(pair(8, most, 704, 0), [most, 704]);
    assert_eq!(pair(4, most, 704, 60_000), [most, 704]);
    assert_eq!(pair(4, (1 << 31) - 1, 704, 0), [(1 << 31) - 1, 704]);
    assert_eq!(pair(4, most, 1 << 31, 0), [most, 1 << 31]);
}

/// Beside a counter of what was added a running total is no second counter: it was counted when it was added.
#[test]
fn a_running_total_stands_in_for_no_counter_of_what_was_added() {
    let fields = [(8, 4), (1, 4), (85, 8), (352, 4)];
    let record = |added: u32, total: u64, layer2: u32| octets().u32(1).u32(added).u64(total).u32(layer2);
    let records = [record(500, 500, 514), record(0, 500, 0), record(200, 700, 214), record(0, 700, 64)];
    assert_eq!(counted(&fields, &records), [500, 0, 200, 64]);
}

/// Fields of a flow of NetFlow v9: ends, totals of octets and packets, begin and end by the uptime.
const UPTIMES: [(u64, u16); 6] = [(8, 4), (12, 4), (85, 4), (86, 4), (22, 4), (21, 4)];

/// Octets that count of records by [`UPTIMES`], each in a datagram of its own: seconds after the first one, uptime of the
/// header, total, first and last.
fn counted_by_uptimes(told: &[(u32, u32, u32, u32, u32)]) -> Vec<u64> {
    let mut collector = decoded(&[]);
    for (&(after, uptime, total, first, last), n) in told.iter().zip(0..) {
        let record = octets().u32(1).u32(2).u32(total).u32(total / 100).u32(first).u32(last);
        let sets = [set(0, template(300, &UPTIMES)), set(300, record)];
        let export = EXPORT + after;
        collector.take_at(i64::from(export) * 1000 + 400, &v9_at(uptime, export, n, 1, &sets)).unwrap();
    }
    collector.volumes().into_iter().map(|(_, octets)| octets).collect()
}

/// One session a second, each somewhat greater than the one before: 100, 101, ... octets.
#[test]
fn sessions_are_told_apart_by_uptimes() {
    let session = |n: u32| (n, 500_000 + 1000 * n, 100 + n, 499_300 + 1000 * n, 499_500 + 1000 * n);
    let told: Vec<_> = (0..20).map(session).collect();
    let whole: Vec<u64> = (100..120).collect();
    assert_eq!(counted_by_uptimes(&told), whole);
    // Told last first, as a cache is emptied in any order, and once more: nothing of that is new.
    let back: Vec<_> =
        (0..20).rev().map(|n| (20, 520_000, 100 + n, 499_300 + 1000 * n, 499_500 + 1000 * n)).collect();
    let twice = [&back[..], &back[..]].concat();
    let whole: Vec<u64> = (100..120).rev().chain([0; 20]).collect();
    assert_eq!(counted_by_uptimes(&twice), whole);
    // While the uptime goes from 2^32 - 2000 to 8000: a flow of before that goes on, then another one.
    let over: [(u32, u32, u32, u32, u32); 3] = [
        (0, u32::MAX - 1999, 1000, u32::MAX - 9999, u32::MAX - 2999),
        (10, 8000, 1500, u32::MAX - 9999, 7000),
        (12, 10_000, 1600, 7001, 9000),
    ];
    assert_eq!(counted_by_uptimes(&over), [1000, 500, 1600]);
}

/// After a restart uptimes are small again, and no flow is one of before, though the same keys and uptimes come again.
#[test]
fn a_restart_begins_all_flows_anew() {
    let told = [
        (0, 900_000, 1000, 840_000, 890_000),
        (60, 960_000, 1500, 840_000, 950_000),
        // Up again half a minute later.
        (95, 5_000, 300, 2_000, 4_000),
        (155, 65_000, 700, 2_000, 64_000),
        // Five minutes later, when what is over has been forgotten.
        (455, 365_000, 900, 2_000, 364_000),
        (855, 765_000, 70, 700_000, 764_000),
        // Where the run before told of a flow, too.
        (990, 900_000, 1200, 840_000, 890_000),
        (1050, 960_000, 1300, 840_000, 950_000),
    ];
    assert_eq!(counted_by_uptimes(&told), [1000, 500, 300, 400, 200, 70, 1200, 100]);
}

/// IPFIX, where each record tells when the exporter started (element 160).
#[test]
fn uptimes_of_ipfix_are_exact_where_their_beginning_is_told() {
    let fields = [&UPTIMES[..], &[(160, 8)]].concat();
    let init = u64::from(EXPORT) * 1000 - 600_300;
    let record = |n: u32| {
        let flow = octets().u32(1).u32(2).u32(100 + n).u32(1);
        flow.u32(500_000 + 1000 * n).u32(500_200 + 1000 * n).u64(init)
    };
    let records: Vec<Octets> = (0..20).map(record).collect();
    assert_eq!(counted(&fields, &records), (100..120).collect::<Vec<u64>>());
}

/// A flow that another one follows is not lost sight of, whatever came in between: begin and end tell which is which.
#[test]
fn a_flow_that_was_followed_by_another_one_is_known_when_it_is_told_again() {
    let fields = [flow_fields(), vec![REASON]].concat();
    let first = |total: u64, end: u64| flow(total, 0, end).u8(2);
    let last = || flow(7000, 20_000, 30_000).u8(3);
    // Repeated, overtaken, grown: the one that was last is over and has begun since.
    assert_eq!(counted(&fields, &[first(1000, 10_000), last(), first(1000, 10_000)]), [1000, 7000, 0]);
    assert_eq!(counted(&fields, &[first(1000, 10_000), last(), first(500, 5000)]), [1000, 7000, 0]);
    let records = [first(1000, 10_000), last(), first(1500, 35_000), last(), first(1600, 40_000)];
    assert_eq!(counted(&fields, &records), [1000, 7000, 500, 0, 100]);
    // And where nothing says that it is over.
    let records =
        [flow(1000, 0, 10_000), flow(70, 20_000, 30_000), flow(1500, 0, 35_000), flow(90, 20_000, 36_000)];
    assert_eq!(counted(&flow_fields(), &records), [1000, 70, 500, 20]);
}

/// What no field tells apart counts as one flow, and what is left out is counted: 84 octets twice, the second time none.
#[test]
fn a_flow_told_twice_at_once_counts_once_and_is_counted_as_unclear() {
    let unclear = |fields: &[(u64, u16)], records: &[Octets]| {
        let body = records.iter().fold(octets(), |all, one| all.bytes(&one.0));
        let counts = decoded(&[ipfix(0, 1, &[set(2, template(300, fields)), set(300, body)])]).counts();
        (counts.raw_octets, counts.totals_unclear, counts.totals_unclear_octets)
    };
    let (first, other) = (flow(900, 0, 500), flow(400, 0, 500));
    assert_eq!(unclear(&flow_fields(), &[first.clone(), first.clone()]), (900, 1, 900));
    assert_eq!(unclear(&flow_fields(), &[first.clone(), other.clone()]), (900, 1, 400));
    assert_eq!(unclear(&flow_fields(), &[other, first]), (900, 1, 400));
    // Both over; with the id of each flow there is no doubt; nor where the flow went on, or is told to be over.
    let fields = [flow_fields(), vec![REASON]].concat();
    assert_eq!(unclear(&fields, &[flow(900, 0, 500).u8(3), flow(900, 0, 500).u8(3)]), (900, 1, 900));
    assert_eq!(unclear(&fields, &[flow(900, 0, 500).u8(2), flow(900, 0, 500).u8(3)]), (900, 0, 0));
    assert_eq!(unclear(&flow_fields(), &[flow(900, 0, 500), flow(950, 0, 510)]), (950, 0, 0));
    let fields = [flow_fields(), vec![(148, 8)]].concat();
    assert_eq!(unclear(&fields, &[flow(900, 0, 500).u64(1), flow(900, 0, 500).u64(2)]), (1800, 0, 0));
}

/// Ends by microseconds before the export time (159), of which 0 is one: the last record of a flow overtook one before it.
#[test]
fn a_total_that_the_last_one_overtook_adds_nothing_also_where_the_flow_ended_as_it_was_exported() {
    let fields = [&ENDS[..], &TOTALS, &[(158, 4), (159, 4), REASON]].concat();
    for before in [0, 1] {
        let mut collector = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields))])]);
        let told = [
            (10, 0, [1000, 10], [10_000_000, 1_000_000], 2),
            (20, 2, [3000, 30], [20_000_000, 500_000], 3),
            (19, 1, [2900, 29], [19_000_000, before], 2),
        ];
        for (at, sequence, totals, times, reason) in told {
            let record = totals.iter().fold(octets().u32(1).u32(2), |body, &n| body.u64(n));
            let record = times.iter().fold(record, |body, &n| body.u32(n)).u8(reason);
            let export = EXPORT + at;
            let datagram = ipfix_at(export, sequence, 1, &[set(300, record)]);
            collector.take_at(i64::from(export) * 1000, &datagram).unwrap();
        }
        let sum: u64 = collector.out.records.iter().map(|flow| flow.octets.as_u64()).sum();
        assert_eq!(sum, 3000, "{before}");
    }
}

/// Octets since the last record, beside packets since the flow began: 10 and 2 of them. And the mirror.
#[test]
fn one_counter_may_be_a_total_and_the_other_not() {
    let volumes = |counters: [(u64, u16); 2], records: [[u64; 2]; 3]| {
        let record = |(n, values): (u64, &[u64; 2])| {
            let end = BEGUN + 9000 + 10_000 * n;
            let value = |at: usize| match counters[at].1 {
                4 => octets().u32(u32::try_from(values[at]).unwrap()),
                _ => octets().u64(values[at]),
            };
            octets().u32(1).u32(2).bytes(&value(0).0).bytes(&value(1).0).u64(BEGUN).u64(end)
        };
        let body = (0..).zip(&records).map(record).fold(octets(), |all, one| all.bytes(&one.0));
        let fields = [&ENDS[..], &counters, &MILLIS].concat();
        let collector = decoded(&[ipfix(0, 1, &[set(2, template(300, &fields)), set(300, body)])]);
        collector
            .out
            .records
            .iter()
            .map(|flow| (flow.octets.as_u64(), flow.packets.as_u64()))
            .collect::<Vec<_>>()
    };
    let expected = [(5000, 10), (800, 2), (700, 1)];
    assert_eq!(volumes([(1, 8), (86, 4)], [[5000, 10], [800, 12], [700, 13]]), expected);
    assert_eq!(volumes([(352, 8), (86, 8)], [[5000, 10], [800, 12], [700, 13]]), expected);
    assert_eq!(volumes([(2, 8), (85, 8)], [[10, 5000], [2, 5800], [1, 6500]]), expected);
    // A total that has wrapped.
    let top = u64::from(u32::MAX);
    assert_eq!(
        volumes([(1, 8), (86, 4)], [[5000, top - 3], [800, top], [700, 4]])[1..],
        [(800, 3), (700, 5)]
    );
}

/// One flow of 60 000 octets told by one template and then, with 100 000, by another one: 40 000 more if it is the same.
#[test]
fn a_flow_is_the_same_in_whatever_order_and_width_a_template_has_its_keys() {
    let narrow = [[(8, 4), (12, 4), (7, 2), (58, 2)].as_slice(), &TOTALS, &MILLIS].concat();
    let record = |fields: &[(u64, u16)], values: &[u64], total: u64, end: u64| {
        let values = [values, &[total, total / 100, BEGUN, BEGUN + end]].concat();
        fields.iter().zip(values).fold(octets(), |all, (&(_, length), value)| {
            let value = value.to_be_bytes();
            all.bytes(value.get(8 - usize::from(length)..).unwrap())
        })
    };
    // From 10.0.0.1 to 10.0.0.2, source port 53, without VLAN.
    let (from, to, port) = (0x0a00_0001, 0x0a00_0002, 53);
    let told = |keys: &[(u64, u16)], values: &[u64]| {
        let other = [keys, &TOTALS, &MILLIS].concat();
        let sets = [
            set(2, template(300, &narrow)),
            set(2, template(301, &other)),
            set(300, record(&narrow, &[from, to, port, 0], 60_000, 60_000)),
            set(301, record(&other, values, 100_000, 120_000)),
        ];
        let collector = decoded(&[ipfix(0, 1, &sets)]);
        collector.volumes().into_iter().map(|(_, octets)| octets).collect::<Vec<_>>()
    };
    let same = vec![60_000, 40_000];
    assert_eq!(told(&[(12, 4), (7, 2), (8, 4), (58, 2)], &[to, port, from, 0]), same, "order");
    assert_eq!(told(&[(8, 4), (12, 4), (7, 4), (58, 4)], &[from, to, port, 0]), same, "width");
    assert_eq!(told(&[(8, 4), (12, 4), (7, 2)], &[from, to, port]), same, "no VLAN");
    let others = vec![60_000, 100_000];
    assert_eq!(told(&[(12, 4), (8, 4), (7, 2)], &[from, to, port]), others, "the way back");
    assert_eq!(told(&[(8, 4), (12, 4), (11, 2)], &[from, to, port]), others, "to the port, not from it");
    assert_eq!(told(&[(8, 4), (12, 4), (7, 2), (58, 2)], &[from, to, port, 5]), others, "in VLAN 5");
    assert_eq!(told(&[(8, 4), (12, 4), (7, 2)], &[from, to, port << 8]), others, "port 13568");
}

/// Messages of one record each: exported so many seconds after another, received in this order, by a clock that is an hour
/// ahead of the exporter's.
fn told(fields: &[(u64, u16)], messages: &[(u32, Octets)]) -> Vec<u64> {
    let mut collector = decoded(&[ipfix_at(EXPORT, 0, 1, &[set(2, template(300, fields))])]);
    for (n, (seconds, record)) in (0..).zip(messages) {
        let export = EXPORT + seconds;
        let last = messages.iter().map(|(seconds, _)| seconds).max().unwrap();
        let received = i64::from(EXPORT + last) * 1000 + 4_000_000 + 10 * n;
        collector.take_at(received, &ipfix_at(export, 0, 1, &[set(300, octets().bytes(&record.0))])).unwrap();
    }
    collector.volumes().into_iter().map(|(_, octets)| octets).collect()
}

/// 100 000 octets a minute. After two minutes the clock is set back by an hour; the begin stays as it was read.
#[test]
fn a_flow_whose_clock_is_set_back_is_the_one_that_began_then() {
    let mut collector = decoded(&[ipfix_at(EXPORT, 0, 1, &[set(2, template(300, &flow_fields()))])]);
    for minute in 1..=6_u32 {
        let now = EXPORT + 60 * minute;
        let stated = now - if minute > 2 { 3600 } else { 0 };
        let times = [EXPORT + 1, stated - 1].map(|seconds| u64::from(seconds) * 1000);
        let record = octets().u32(1).u32(2).u64(100_000 * u64::from(minute)).u64(minute.into());
        let sets = [set(300, record.u64(times[0]).u64(times[1]))];
        collector.take_at(i64::from(now) * 1000, &ipfix_at(stated, minute - 1, 1, &sets)).unwrap();
    }
    assert_eq!(collector.volumes(), [(1, 100_000); 6]);
    // And one that begins by the clock as it is now is another one.
    let now = EXPORT + 420;
    let [start, end] = [now - 3640, now - 3610].map(|seconds| u64::from(seconds) * 1000);
    let sets = [set(300, octets().u32(1).u32(2).u64(700_000).u64(7).u64(start).u64(end))];
    collector.take_at(i64::from(now) * 1000, &ipfix_at(now - 3600, 6, 1, &sets)).unwrap();
    assert_eq!(collector.volumes().last(), Some(&(7, 700_000)));
}

/// Records that state no end: of no time at all, of a begin, of a duration, of an uptime of which nobody knows when it
/// began. One of a minute is overtaken by the one that says that the flow is over, also in the same second.
#[test]
fn what_its_flows_end_overtook_counts_nothing_where_no_end_is_told() {
    let begin = u64::from(EXPORT) * 1000 - 500;
    let up = |seconds: u32| 9_000_000 + 1000 * seconds;
    for (times, is_begun) in
        [(&[][..], false), (&[(152, 8)][..], true), (&[(161, 4)][..], false), (&[(22, 4), (21, 4)][..], true)]
    {
        let fields = [&ENDS[..], &TOTALS, times, &[REASON]].concat();
        let record = |total: u64, lasted: u32, reason: u8| {
            let all = octets().u32(1).u32(2).u64(total).u64(total / 1000);
            let all = match times {
                [(152, _)] => all.u64(begin),
                [(161, _)] => all.u32(1000 * lasted),
                [(22, _), _] => all.u32(up(0)).u32(up(lasted)),
                _ => all,
            };
            all.u8(reason)
        };
        for late in [120, 119] {
            let messages = [
                (60, record(1_000_000, 60, 2)),
                (120, record(2_100_000, 120, 3)),
                (late, record(2_000_000, 119, 2)),
            ];
            assert_eq!(told(&fields, &messages), [1_000_000, 1_100_000, 0], "{times:?}, {late}");
        }
        // The next flow on these keys is no late one: a minute later, or over at once.
        let (next, again) = if is_begun { (0, 0) } else { (300_000, 200_000) };
        if next > 0 {
            let messages = [
                (60, record(1_000_000, 60, 3)),
                (121, record(next, 60, 2)),
                (122, record(500_000, 61, 3)),
                (122, record(again, 1, 3)),
            ];
            assert_eq!(told(&fields, &messages), [1_000_000, next, 500_000 - next, again], "{times:?}");
        }
    }
    // Also where the next one has been told of meanwhile.
    let fields = [&ENDS[..], &TOTALS, &[REASON]].concat();
    let record = |total: u64, reason: u8| octets().u32(1).u32(2).u64(total).u64(total / 1000).u8(reason);
    let messages = [
        (60, record(1_000_000, 2)),
        (120, record(2_100_000, 3)),
        (121, record(50_000, 2)),
        (119, record(2_000_000, 2)),
        (130, record(60_000, 2)),
    ];
    assert_eq!(told(&fields, &messages), [1_000_000, 1_100_000, 50_000, 0, 10_000]);
}

/// 2^32 microseconds are 71 minutes and 35 seconds; 100 000 octets a minute for 80 minutes.
#[test]
fn a_flow_is_the_same_when_the_time_since_its_begin_has_wrapped() {
    let fields = [&ENDS[..], &TOTALS, &[(158, 4), (159, 4)]].concat();
    let mut collector = decoded(&[ipfix_at(EXPORT, 0, 1, &[set(2, template(300, &fields))])]);
    for minute in 1..=80_u32 {
        let ago = (60_000_000 * u64::from(minute)) % (1 << 32);
        let total = 100_000 * u64::from(minute);
        let record = octets().u32(1).u32(2).u64(total).u64(total / 100).u32(u32::try_from(ago).unwrap());
        let export = EXPORT + 60 * minute;
        let sets = [set(300, record.u32(300_000))];
        collector.take_at(i64::from(export) * 1000, &ipfix_at(export, minute - 1, 1, &sets)).unwrap();
    }
    assert_eq!(collector.volumes(), [(1000, 100_000); 80]);
}

/// A flow gets its AS number late, its end is lost, and so does the next one on its keys: 3 000 000 and 2 746 000 octets, of
/// which no record says when they began.
#[test]
fn what_two_flows_got_late_does_not_make_the_second_count_twice() {
    for times in [&[][..], &[(153, 8)]] {
        let fields = [&ENDS[..], &TOTALS, times, &[(16, 4)]].concat();
        let record = |total: u64, seconds: u32, number: u32| {
            let all = octets().u32(1).u32(2).u64(total).u64(total / 1000);
            let end = u64::from(EXPORT + seconds) * 1000;
            let all = if times.is_empty() { all } else { all.u64(end) };
            (seconds, all.u32(number))
        };
        let messages = [
            record(500_000, 60, 0),
            record(3_000_000, 120, 7),
            record(700_000, 420, 0),
            record(1_700_000, 480, 0),
            record(2_746_000, 540, 7),
        ];
        assert_eq!(told(&fields, &messages), [500_000, 2_500_000, 700_000, 1_000_000, 1_046_000]);
    }
}
