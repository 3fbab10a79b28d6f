//! When a template may be used: its lifetime, and exporters that start anew with other layouts under the same ids.

use super::build::*;
use crate::decode::{ExporterDecoder, Limits};
use crate::units::UnixMillis;

/// Octets, then packets; and the other way round.
const BEFORE: [(u64, u16); 2] = [(1, 4), (2, 4)];
const AFTER: [(u64, u16); 2] = [(2, 4), (1, 4)];

fn first(number: u32) -> Octets {
    set(300, octets().u32(number).u32(1))
}

fn nine(uptime: u32, export: u32, number: u32, sets: &[Octets]) -> Vec<u8> {
    v9_at(uptime, export, number, 1, sets)
}

/// A collector that has met an exporter with the layout [`BEFORE`]; its next datagram has number 104.
fn met(uptime: u32) -> Collector {
    let mut collector = decoded(&[nine(uptime, EXPORT, 100, &[set(0, template(300, &BEFORE)), first(1000)])]);
    for number in 101..104 {
        collector.take(&nine(uptime, EXPORT, number, &[first(number)])).unwrap();
    }
    collector.out.records.clear();
    collector
}

#[test]
fn data_of_a_restarted_exporter_waits_for_its_layout() {
    let mut collector = met(UPTIME);
    // Its templates were lost on the way. What follows is two packets of 7000 octets, not 2 octets in 7000 packets.
    let data = set(300, octets().u32(2).u32(7000));
    collector.take(&nine(5000, EXPORT, 1, std::slice::from_ref(&data))).unwrap();
    assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![], 1));
    assert_eq!((collector.counts().restarts, collector.counts().templates), (1, 1));
    collector.take(&nine(6000, EXPORT, 2, &[set(0, template(300, &AFTER)), data])).unwrap();
    assert_eq!(collector.volumes(), [(2, 7000), (2, 7000)]);
    assert_eq!((collector.counts().held_sets, collector.counts().templates), (0, 1));
}

#[test]
fn a_restart_with_the_same_layout_frees_what_waited_too() {
    let mut collector = met(UPTIME);
    collector.take(&nine(5000, EXPORT, 1, &[first(10)])).unwrap();
    collector.take(&nine(6000, EXPORT, 2, &[set(0, template(300, &BEFORE)), first(20)])).unwrap();
    assert_eq!(collector.volumes(), [(1, 10), (1, 20)]);
}

/// An exporter that had just started and starts anew: its uptime goes back by less than a minute, while both clocks go on.
#[test]
fn a_restart_soon_after_a_start_is_seen() {
    let at = |seconds: u32, uptime: u32| {
        let mut collector = met(80_000);
        let late = nine(uptime, EXPORT + seconds, 1, &[first(10)]);
        collector.take_at(EXPORT_MS + i64::from(seconds) * 1000, &late).unwrap();
        (collector.counts().held_sets, collector.counts().restarts)
    };
    // Started 80 seconds before, and then 5 seconds after: 85 seconds later.
    assert_eq!(at(31, 26_000), (1, 1));
    // 50 seconds later, 10 of which have gone by: the start was 20 seconds ago and is 5 seconds ago, say.
    assert_eq!(at(10, 40_000), (1, 1));
    // No more than a header that is written in pieces may explain.
    assert_eq!(at(2, 73_000), (0, 0));
    // An uptime by a clock that is set back: the export time goes back with it.
    let mut collector = met(80_000);
    collector.take_at(EXPORT_MS + 10_000, &nine(40_000, EXPORT - 40, 104, &[first(10)])).unwrap();
    assert_eq!(collector.counts().restarts, 0);
    // A datagram that was long on its way, whichever clock was set meanwhile.
    for (received, export) in [(59, 0), (59, 3600), (1, 3600)] {
        let mut collector = met(80_000);
        let late = nine(79_000, EXPORT + export - 1, 99, &[first(10)]);
        collector.take_at(EXPORT_MS + received * 1000, &late).unwrap();
        assert_eq!(collector.counts().restarts, 0, "{received} {export}");
    }
}

#[test]
fn a_restart_is_seen_in_a_restored_checkpoint_although_the_uptime_is_greater() {
    // We were away for two hours; the exporter started anew meanwhile, one and a half hours ago.
    let stored = postcard::to_stdvec(&met(UPTIME).decoder).unwrap();
    let decoder: ExporterDecoder = postcard::from_bytes(&stored).unwrap();
    let mut collector = Collector { decoder, ..Collector::default() };
    let away = |seconds: u32, uptime: u32| nine(uptime, EXPORT + seconds, 104, &[first(30)]);
    collector.take_at(EXPORT_MS + 7_200_000, &away(7200, 5_400_000)).unwrap();
    assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![], 1));
    // Where it ran on, nothing waits; a clock that was set by an hour, theirs or ours, does not matter.
    for (theirs, ours) in [(7200, 7200), (3600, 7200), (10_800, 7200), (7200, 3600), (7200, 10_800)] {
        let decoder: ExporterDecoder = postcard::from_bytes(&stored).unwrap();
        let mut collector = Collector { decoder, ..Collector::default() };
        collector.take_at(EXPORT_MS + ours * 1000, &away(theirs, UPTIME + 7_200_000)).unwrap();
        assert_eq!(collector.volumes(), [(1, 30)], "{theirs} {ours}");
    }
}

#[test]
fn a_restart_after_more_than_half_the_range_of_the_uptime() {
    // 30 days: the difference modulo 2^32 looks like 19.7 days ahead.
    let mut collector = met(2_592_000_000);
    collector.take_at(EXPORT_MS + 120_000, &nine(5000, EXPORT + 120, 1, &[first(10)])).unwrap();
    assert_eq!((collector.volumes(), collector.counts().restarts), (vec![], 1));
    // And 49.7 days: it wraps, and goes on.
    let mut collector = met(u32::MAX - 10_000);
    collector.take_at(EXPORT_MS + 120_000, &nine(109_999, EXPORT + 120, 104, &[first(10)])).unwrap();
    assert_eq!((collector.volumes(), collector.counts().restarts), (vec![(1, 10)], 0));
}

#[test]
fn a_datagram_of_ten_minutes_ago_is_of_the_same_run() {
    let mut collector = met(UPTIME);
    collector.take(&nine(UPTIME - 600_000, EXPORT - 600, 90, &[first(10)])).unwrap();
    assert_eq!((collector.volumes(), collector.counts().restarts), (vec![(1, 10)], 0));
}

#[test]
fn two_exporters_that_take_turns_in_one_domain_are_read_on() {
    let mut collector = met(UPTIME);
    let both = [set(0, template(300, &BEFORE)), first(10)];
    for turn in 0..40 {
        let (uptime, number) = if turn % 2 == 0 { (5000, turn) } else { (UPTIME, 103 + turn) };
        let sets = if turn == 1 { &both[..] } else { &both[1..] };
        collector.take(&nine(uptime, EXPORT, number, sets)).unwrap();
    }
    assert_eq!(collector.volumes(), [(1, 10); 40]);
    assert_eq!(collector.counts().held_sets, 0);
}

#[test]
fn ipfix_tells_a_restart_by_its_numbers() {
    let defined = |fields: &[(u64, u16)]| set(2, template(300, fields));
    let run = |from: u32| {
        let mut collector = decoded(&[ipfix(from, 1, &[defined(&BEFORE), first(1)])]);
        for number in (1..4).map(|n| from + n) {
            collector.take(&ipfix(number, 1, &[first(number)])).unwrap();
        }
        collector.out.records.clear();
        collector
    };
    // From 0 again, soon and late; and far behind, where the first messages were lost.
    // From beyond 2^31 the way back is longer than the way ahead.
    let (high, highest) = (3_000_000_000, u32::MAX - 2_000_000);
    for (before, after) in [(50, 0), (900_000, 0), (900_000, 12), (high, 0), (high, 12), (highest, 900)] {
        let mut collector = run(before);
        let data = set(300, octets().u32(2).u32(7000));
        collector.take(&ipfix(after, 1, std::slice::from_ref(&data))).unwrap();
        assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![], 1), "{before} {after}");
        collector.take(&ipfix(after + 1, 1, &[defined(&AFTER), data])).unwrap();
        assert_eq!(collector.volumes(), [(2, 7000), (2, 7000)]);
    }
    // Late or lost ones, and numbers that wrap, are no restart.
    let mut collector = run(50);
    for number in [57, 54, 55, 56, 58] {
        collector.take(&ipfix(number, 1, &[first(number)])).unwrap();
    }
    let mut wrapped = run(u32::MAX - 3);
    wrapped.take(&ipfix(0, 1, &[first(9)])).unwrap();
    assert_eq!((collector.out.records.len(), wrapped.out.records.len()), (5, 1));
    // Nor a long silence, after which most of what was sent is missing.
    let mut collector = run(high);
    collector.take(&ipfix(high + 5_000_000, 1, &[first(9)])).unwrap();
    assert_eq!(collector.volumes(), [(1, 9)]);
    // An exporter that numbers nothing.
    let mut collector = decoded(&[ipfix(0, 1, &[defined(&BEFORE), first(1)])]);
    for octets in 2..100 {
        collector.take(&ipfix(0, 1, &[first(octets)])).unwrap();
    }
    assert_eq!(collector.out.records.len(), 99);
}

/// A message that goes back in number and was sent seconds later is of a new run, also where messages are missing or came in
/// another order just before.
#[test]
fn ipfix_tells_a_restart_while_messages_are_missing() {
    let defined = |fields: &[(u64, u16)]| set(2, template(300, fields));
    for numbers in [&[5001, 5002, 5004, 5006][..], &[5002, 5001, 5004, 5003], &[5001, 5003]] {
        let mut collector = decoded(&[ipfix_at(EXPORT, 5000, 1, &[defined(&BEFORE), first(1)])]);
        for &number in numbers {
            collector.take(&ipfix_at(EXPORT, number, 1, &[first(number)])).unwrap();
        }
        collector.out.records.clear();
        let data = set(300, octets().u32(2).u32(7000));
        collector.take(&ipfix_at(EXPORT + 3, 2, 1, std::slice::from_ref(&data))).unwrap();
        assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![], 1), "{numbers:?}");
        collector.take(&ipfix_at(EXPORT + 4, 3, 1, &[defined(&AFTER), data])).unwrap();
        assert_eq!(collector.volumes(), [(2, 7000), (2, 7000)]);
        assert_eq!(collector.counts().restarts, 1);
    }
}

/// One of the last messages of a run comes when the first ones of the next one have been heard, with another layout for its template,
/// and is read as the others of its run; it is missing no longer.
#[test]
fn the_last_data_of_a_run_comes_after_the_first_of_the_next() {
    let before = set(300, octets().u32(7000).u32(2));
    let after = set(300, octets().u32(2).u32(7000));
    for version in [9, 10] {
        let say = |run: u32, second: u32, sets: &[Octets]| match (version, run) {
            (9, 0) => v9_at(3_600_000 + second * 1000, EXPORT + second, 500 + second, 1, sets),
            (9, _) => v9_at(500 + (second - 32) * 1000, EXPORT + second, second - 32, 1, sets),
            (_, 0) => ipfix_at(EXPORT + second, 5000 + second, 1, sets),
            _ => ipfix_at(EXPORT + second, second - 32, 1, sets),
        };
        let define = |fields: &[(u64, u16)]| set(if version == 9 { 0 } else { 2 }, template(300, fields));
        let mut collector = Collector::default();
        let mut take = |second: u32, datagram: &[u8]| {
            collector.take_at(EXPORT_MS + i64::from(second) * 1000, datagram).unwrap();
        };
        take(0, &say(0, 0, &[define(&BEFORE), before.clone()]));
        for second in (1..32).filter(|&second| second != 27) {
            take(second, &say(0, second, std::slice::from_ref(&before)));
        }
        take(32, &say(1, 32, &[define(&AFTER), after.clone()]));
        take(33, &say(0, 27, std::slice::from_ref(&before)));
        for second in 33..60 {
            take(second, &say(1, second, std::slice::from_ref(&after)));
        }
        assert_eq!(collector.volumes(), [(2, 7000); 31 + 1 + 1 + 27], "{version}");
        let counts = collector.counts();
        assert_eq!((counts.restarts, counts.lost, counts.held_sets, counts.expired_sets), (1, 0, 0, 0));
    }
}

/// Some of the first messages were lost, and all was well since. After a restart the first one heard has its number, but a
/// message that is late was not sent later than those that are not.
#[test]
fn a_restart_to_a_number_that_is_missing() {
    let ipfix_at = |seconds: u32, number: u32, sets: &[Octets]| ipfix_at(EXPORT + seconds, number, 1, sets);
    let heard = |seconds: u32| {
        let defined = |fields: &[(u64, u16)]| set(2, template(300, fields));
        let mut collector = decoded(&[ipfix_at(0, 0, &[defined(&BEFORE), first(1)])]);
        for number in 3..300 {
            collector.take(&ipfix_at(1 + number / 200, number, &[first(number)])).unwrap();
        }
        collector.out.records.clear();
        let data = set(300, octets().u32(2).u32(7000));
        collector.take(&ipfix_at(seconds, 2, std::slice::from_ref(&data))).unwrap();
        let before = (collector.volumes(), collector.counts().restarts);
        collector.take(&ipfix_at(seconds + 1, 3, &[defined(&AFTER), data])).unwrap();
        (before, collector.volumes().last().copied())
    };
    assert_eq!(heard(300), ((vec![], 1), Some((2, 7000))));
    assert_eq!(heard(2).0.1, 0);
}

/// The process that exports starts anew, and the router's uptime runs on. Numbers go back near and far; the first
/// datagrams may have been lost.
#[test]
fn a_restart_of_the_process_shows_in_the_numbers_of_v9() {
    for (before, after) in [(100, 0), (100, 3), (40_000, 0), (40_000, 2)] {
        let start = [set(0, template(300, &BEFORE)), first(1000)];
        let mut collector = decoded(&[nine(UPTIME, EXPORT, before, &start)]);
        for n in 1..4 {
            collector.take(&nine(UPTIME, EXPORT, before + n, &[first(n)])).unwrap();
        }
        collector.out.records.clear();
        let data = set(300, octets().u32(2).u32(7000));
        let later = UPTIME + 5000;
        collector
            .take_at(EXPORT_MS + 5000, &nine(later, EXPORT + 5, after, std::slice::from_ref(&data)))
            .unwrap();
        assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![], 1), "{before} {after}");
        let defined = [set(0, template(300, &AFTER)), data];
        collector.take_at(EXPORT_MS + 6000, &nine(later + 1000, EXPORT + 6, after + 1, &defined)).unwrap();
        assert_eq!(collector.volumes(), [(2, 7000), (2, 7000)], "{before} {after}");
        assert_eq!((collector.counts().restarts, collector.counts().lost), (1, 0), "{before} {after}");
    }
    // One that was overtaken, even by many, is older than they are; and one that is missing may come late.
    let mut collector = met(UPTIME);
    for (uptime, number) in
        [(UPTIME - 2000, 50), (UPTIME + 2000, 106), (UPTIME + 3000, 107), (UPTIME + 3500, 104)]
    {
        collector.take(&nine(uptime, EXPORT, number, &[first(10)])).unwrap();
    }
    assert_eq!((collector.out.records.len(), collector.counts().restarts), (4, 0));
}

/// One datagram comes ten thousand records late, beyond all that counts as late. It looks like a new beginning, until the
/// numbers of before go on: then nothing is missing but what is.
#[test]
fn a_very_late_datagram_is_no_loss() {
    // Two records each: 100 datagrams, the late one of 10 000 records before, and four more of which one is missing.
    let numbers = (0..100).map(|n| 50_000 + 2 * n).chain([40_000]).chain([50_200, 50_202, 50_206, 50_208]);
    let (mut five, mut ten) = (Collector::default(), Collector::default());
    ten.take(&ipfix(50_000, 1, &[set(2, template(300, &BEFORE))])).unwrap();
    for number in numbers {
        five.take(&v5(number, 1, 0, &[v5_record(1, number), v5_record(2, number)])).unwrap();
        let pair = set(300, octets().u32(number).u32(1).u32(number).u32(2));
        ten.take(&ipfix(number, 1, &[pair])).unwrap();
    }
    let counts = five.counts();
    assert_eq!((counts.restarts, counts.lost, counts.shared_domains), (1, 2, 0));
    // What is missing may come yet: 106 datagrams.
    five.take(&v5(50_204, 1, 0, &[v5_record(1, 7), v5_record(2, 7)])).unwrap();
    assert_eq!((five.counts().lost, five.counts().records), (0, 212));
    // IPFIX has no uptime to say better, so since then data waits for its template: until then nobody can tell what is
    // missing.
    let counts = ten.counts();
    assert_eq!((counts.restarts, counts.lost, counts.held_sets), (1, 0, 5));
    ten.take(&ipfix(50_210, 1, &[set(2, template(300, &BEFORE))])).unwrap();
    let counts = ten.counts();
    assert_eq!((counts.records, counts.lost, counts.held_sets, counts.expired_sets), (210, 2, 0, 0));
    // Where the first that goes on is not the next: it is missing what is between.
    let mut collector = Collector::default();
    for number in [50_000, 50_002, 50_004, 40_000, 50_010, 50_012] {
        collector.take(&v5(number, 1, 0, &[v5_record(1, number), v5_record(2, number)])).unwrap();
    }
    assert_eq!((collector.counts().restarts, collector.counts().lost), (1, 4));
    collector.take(&v5(50_008, 1, 0, &[v5_record(1, 8), v5_record(2, 8)])).unwrap();
    assert_eq!(collector.counts().lost, 2);
    // Whereas a new beginning that is one goes on, and loses there.
    let mut collector = Collector::default();
    for number in [50_000, 50_002, 50_004, 10, 12, 16] {
        collector.take(&v5(number, 1, 0, &[v5_record(1, number), v5_record(2, number)])).unwrap();
    }
    assert_eq!((collector.counts().restarts, collector.counts().lost), (1, 2));
}

/// Options that say when the exporter started, at so many milliseconds since the epoch.
fn init(millis: i64) -> [Octets; 2] {
    let body = octets().u32(1).u64(millis.unsigned_abs());
    [set(3, options_template(310, 1, &[(149, 4), (160, 8)])), set(310, body)]
}

#[test]
fn the_time_of_the_start_tells_a_restart_that_no_number_shows() {
    let data = |octets_: u32| first(octets_);
    let started = EXPORT_MS - 100_000;
    let defined = |fields: &[(u64, u16)]| set(2, template(300, fields));
    let run = || {
        let sets = [&[defined(&BEFORE)][..], &init(started), &[data(1)]].concat();
        let mut collector = decoded(&[ipfix(50, 1, &sets)]);
        for number in 52..55 {
            collector.take(&ipfix(number, 1, &[data(number)])).unwrap();
        }
        collector.out.records.clear();
        collector
    };
    let at = |second: u32, number: u32, sets: &[Octets]| {
        (EXPORT_MS + i64::from(second) * 1000, ipfix_at(EXPORT + second, number, 1, sets))
    };
    let feed = |collector: &mut Collector, (received, message): (i64, Vec<u8>)| {
        collector.take_at(received, &message).unwrap();
    };
    // Its first message with the template is lost; the second says that it started 8 s ago.
    let mut collector = run();
    feed(&mut collector, at(60, 20, &init(EXPORT_MS + 52_000)));
    let swapped = set(300, octets().u32(2).u32(7000));
    feed(&mut collector, at(61, 21, std::slice::from_ref(&swapped)));
    assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![], 1));
    feed(&mut collector, at(62, 22, &[defined(&AFTER), swapped.clone()]));
    assert_eq!(collector.volumes(), [(2, 7000), (2, 7000)]);
    assert_eq!((collector.counts().restarts, collector.counts().lost), (1, 0));

    // What it has sent since it started stays in use, though the options come later.
    let mut collector = run();
    feed(&mut collector, at(60, 20, &[defined(&AFTER)]));
    feed(&mut collector, at(61, 20, &[&init(EXPORT_MS + 59_500)[..], &[swapped]].concat()));
    assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![(2, 7000)], 0));

    // Said again, of another clock, or worked out anew from a clock that was set: the same run.
    let mut collector = run();
    feed(&mut collector, at(60, 55, &init(started)));
    feed(&mut collector, at(120, 56, &init(started + 900)));
    let ahead = ipfix_at(EXPORT + 180 + 7200, 57, 1, &init(started + 7_200_000));
    collector.take_at(EXPORT_MS + 180_000, &ahead).unwrap();
    let unmoved = ipfix_at(EXPORT + 240 + 100_000_000, 58, 1, &init(started + 7_200_000));
    collector.take_at(EXPORT_MS + 240_000, &unmoved).unwrap();
    collector.take_at(EXPORT_MS + 240_000, &ipfix_at(EXPORT + 240, 59, 1, &[data(9)])).unwrap();
    assert_eq!((collector.volumes(), collector.counts().restarts), (vec![(1, 9)], 0));
}

/// Two exporters behind one address that use one domain, by turns of twenty datagrams each: the first turn looks like a
/// new beginning. Afterwards nothing is held, nothing is called lost, and nobody starts anew any more.
#[test]
fn two_exporters_in_one_domain_are_told_from_one_that_starts_anew() {
    let both = [set(0, template(300, &BEFORE)), first(10)];
    for kind in [9, 10] {
        let mut collector = Collector::default();
        let mut next = [30_000_u32, 7];
        for turn in 0..20_u32 {
            let who = turn as usize % 2;
            for n in 0..20 {
                let second = turn * 20 + n;
                let uptime = if who == 0 { UPTIME } else { 5000 } + second * 1000;
                let number = next[who];
                next[who] += 1;
                let sets = if n == 0 && turn < 3 { &both[..] } else { &both[1..] };
                let datagram = match kind {
                    9 => nine(uptime, EXPORT + second, number, sets),
                    _ => {
                        let mut sets = sets.to_vec();
                        if sets.len() == 2 {
                            sets[0] = set(2, template(300, &BEFORE));
                        }
                        ipfix_at(EXPORT + second, number, 1, &sets)
                    }
                };
                collector.take_at(EXPORT_MS + i64::from(second) * 1000, &datagram).unwrap();
            }
            if turn == 9 {
                let counts = collector.counts();
                collector.out.records.clear();
                assert!(counts.restarts <= 6, "{kind}: {}", counts.restarts);
            }
        }
        assert_eq!(collector.volumes(), vec![(1, 10); 200], "{kind}");
        let counts = collector.counts();
        assert_eq!((counts.held_sets, counts.expired_sets, counts.records), (0, 0, 400), "{kind}");
        let stored = postcard::to_stdvec(&collector.decoder).unwrap();
        let mut again = Collector { decoder: postcard::from_bytes(&stored).unwrap(), ..Collector::default() };
        for _ in 0..40 {
            again.take_at(EXPORT_MS + 400_000, &nine(5000, EXPORT + 400, 1, &both[1..])).unwrap();
        }
        assert!(again.counts().lost == counts.lost, "{kind}");
    }
}

/// Two exporters used one domain, and one of them goes away: long afterwards loss and new beginnings are told again.
#[test]
fn a_domain_that_was_shared_is_one_exporters_again() {
    let data = [first(10)];
    let mut collector = Collector::default();
    // Twenty a second, so that all of them come within the hour.
    let mut millis = 0;
    let mut take = |collector: &mut Collector, uptime: u32, number: u32| {
        millis += 50;
        let datagram = nine(uptime + millis, EXPORT + millis / 1000, number, &data);
        collector.take_at(EXPORT_MS + i64::from(millis), &datagram).unwrap();
        collector.out.records.clear();
    };
    collector.take(&nine(UPTIME, EXPORT, 29_999, &[set(0, template(300, &BEFORE))])).unwrap();
    for n in 0..20 {
        take(&mut collector, UPTIME, 30_000 + n);
        take(&mut collector, 5000, 7 + n);
    }
    let (restarts, lost) = (collector.counts().restarts, collector.counts().lost);
    assert_eq!(collector.counts().shared_domains, 1);
    // A datagram left out now and then is no other exporter; while the domain is shared it is no loss either.
    let mut number = 30_020;
    for n in 0..65_536 {
        number += if n % 1000 == 999 { 2 } else { 1 };
        take(&mut collector, UPTIME, number);
    }
    assert_eq!((collector.counts().restarts, collector.counts().lost), (restarts, lost));
    number += 5;
    take(&mut collector, UPTIME, number);
    assert_eq!((collector.counts().restarts, collector.counts().lost), (restarts, lost + 4));
    for _ in 0..20 {
        number += 1;
        take(&mut collector, UPTIME, number);
    }
    // The other one is back. It may be taken for a new beginning once, and no more.
    for n in 0..40 {
        take(&mut collector, 5000, 27 + n);
        number += 1;
        take(&mut collector, UPTIME, number);
    }
    let counts = collector.counts();
    assert_eq!((counts.shared_domains, counts.lost), (2, lost + 4));
    assert!(counts.restarts <= restarts + 2, "{}", counts.restarts);
}

/// The same by time, for exporters that send little: in an hour in which only one was heard, of five minutes between two
/// datagrams. One that is heard within the hour begins it anew, and so does a gap with too few datagrams around it.
#[test]
fn an_hour_of_one_exporter_ends_the_sharing() {
    let data = [first(10)];
    let minutes = |minutes: u32| EXPORT_MS + i64::from(minutes) * 60_000;
    let take = |collector: &mut Collector, minute: u32, number: u32| {
        collector.take_at(minutes(minute), &ipfix_at(EXPORT + minute * 60, number, 1, &data)).unwrap();
    };
    let shared = || {
        let mut collector = Collector::default();
        collector.take(&ipfix(500_000, 1, &[set(2, template(300, &BEFORE))])).unwrap();
        for n in 0..20 {
            take(&mut collector, 0, 500_000 + n);
            take(&mut collector, 0, n);
        }
        assert_eq!(collector.counts().shared_domains, 1);
        collector
    };
    // A datagram each four minutes, of which one is missing in the end; 17 go on from one another by minute 68.
    for (last, lost) in [(15, 0), (18, 1)] {
        let mut collector = shared();
        for n in 0..last {
            take(&mut collector, 4 * n, 500_020 + n);
        }
        take(&mut collector, 4 * last, 500_021 + last);
        assert_eq!(collector.counts().lost, lost, "{last}");
    }
    // The other one speaks in between: at minute 36, and the hour of the first one begins at minute 40.
    let mut collector = shared();
    for n in 0..18 {
        take(&mut collector, 4 * n, 500_020 + n);
        if n == 9 {
            take(&mut collector, 4 * n, 20);
        }
    }
    take(&mut collector, 72, 500_039);
    assert_eq!(collector.counts().lost, 0);
    // An hour of silence is not an hour of one exporter.
    let mut collector = shared();
    for n in 0..10 {
        take(&mut collector, 60 * n, 500_020 + n);
    }
    take(&mut collector, 600, 500_031);
    assert_eq!(collector.counts().lost, 0);
    // It ended, and the other one is back: shared again at once, and nothing is held or lost.
    let mut collector = shared();
    let held = collector.counts().held_sets;
    for n in 0..20 {
        take(&mut collector, 4 * n, 500_020 + n);
    }
    for n in 0..20 {
        take(&mut collector, 80, 20 + n);
        take(&mut collector, 80, 500_040 + n);
    }
    let counts = collector.counts();
    assert_eq!((counts.shared_domains, counts.lost, counts.held_sets), (2, 0, held));
}

/// The quieter of two exporters in one domain, whose numbers are lower, comes back after a very long time: nothing that
/// either says has to wait for a template. What seemed missing when their numbers took turns is not called lost.
#[test]
fn the_other_exporter_of_a_domain_is_no_new_beginning_when_it_is_back() {
    let data = [first(10)];
    let mut collector = Collector::default();
    let take = |collector: &mut Collector, number: u32| {
        collector.take(&ipfix(number, 1, &data)).unwrap();
        collector.out.records.clear();
    };
    collector.take(&ipfix(500_000, 1, &[set(2, template(300, &BEFORE))])).unwrap();
    for n in 0..20 {
        take(&mut collector, 500_000 + n);
        take(&mut collector, n);
    }
    assert_eq!(collector.counts().shared_domains, 1);
    let (restarts, held) = (collector.counts().restarts, collector.counts().held_sets);
    for n in 20..65_600 {
        take(&mut collector, 500_000 + n);
    }
    for n in 0..40 {
        take(&mut collector, 20 + n);
        take(&mut collector, 565_600 + n);
    }
    let counts = collector.counts();
    assert_eq!((counts.shared_domains, counts.held_sets, counts.expired_sets), (2, held, 0));
    assert!(counts.restarts <= restarts + 2, "{}", counts.restarts);
    assert_eq!(counts.lost, 0);
}

#[test]
fn what_waited_for_a_template_of_the_run_before_waits_in_vain() {
    let mut collector = met(UPTIME);
    collector.take(&nine(UPTIME, EXPORT, 104, &[set(301, octets().u32(9).u32(9))])).unwrap();
    collector.take(&nine(5000, EXPORT, 1, &[set(0, template(301, &BEFORE))])).unwrap();
    let counts = collector.counts();
    assert_eq!((counts.held_sets, counts.expired_sets, counts.expired_octets), (0, 1, 8));
    assert_eq!((collector.volumes(), counts.held_octets), (vec![], 0));
}

#[test]
fn a_template_that_is_not_sent_again_in_its_lifetime_is_not_used() {
    let limits = Limits { template_lifetime_ms: 10_000, hold_ms: 60_000, ..Limits::default() };
    let mut collector = Collector { limits, ..Collector::default() };
    let data = |number: u32| ipfix(number, 1, &[first(number + 1)]);
    let defined = |fields| ipfix(1, 1, &[set(2, template(300, fields))]);
    collector.take(&ipfix(0, 1, &[set(2, template(300, &BEFORE)), first(1)])).unwrap();
    collector.take_at(EXPORT_MS + 8000, &defined(&BEFORE)).unwrap();
    collector.take_at(EXPORT_MS + 17_999, &data(1)).unwrap();
    assert_eq!(collector.volumes(), [(1, 1), (1, 2)]);
    collector.take_at(EXPORT_MS + 18_000, &data(2)).unwrap();
    assert_eq!((collector.out.records.len(), collector.counts().held_sets), (2, 1));
    collector.decoder.expire(&collector.limits, UnixMillis(EXPORT_MS + 18_000));
    // It comes again, in the same layout or another one, and with it what waited.
    collector.take_at(EXPORT_MS + 20_000, &defined(&AFTER)).unwrap();
    assert_eq!(collector.volumes(), [(1, 1), (1, 2), (3, 1)]);
    assert_eq!((collector.counts().held_sets, collector.counts().templates), (0, 1));
}
