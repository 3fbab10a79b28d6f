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
    for (before, after) in [(50, 0), (900_000, 0), (900_000, 12)] {
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
    // An exporter that numbers nothing.
    let mut collector = decoded(&[ipfix(0, 1, &[defined(&BEFORE), first(1)])]);
    for octets in 2..100 {
        collector.take(&ipfix(0, 1, &[first(octets)])).unwrap();
    }
    assert_eq!(collector.out.records.len(), 99);
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
