//! Datagrams that come in another order than they were sent in, and exporters that start anew without a sign of it in
//! the first message that is heard.

use super::build::*;
use crate::decode::{Error, ExporterDecoder, Limits};
use crate::flow::{Mark, Order};
use crate::units::UnixMillis;

/// Octets, then packets; the other way round; and that in fewer octets.
const OLD: [(u64, u16); 2] = [(1, 4), (2, 4)];
const TURNED: [(u64, u16); 2] = [(2, 4), (1, 4)];
const NARROW: [(u64, u16); 2] = [(2, 2), (1, 2)];

/// A datagram of v9 or IPFIX, so many seconds after [`EXPORT`].
fn datagram(version: u16, second: u32, number: u32, sets: &[Octets]) -> Vec<u8> {
    match version {
        9 => v9_at(UPTIME + second * 1000, EXPORT + second, number, 1, sets),
        _ => ipfix_at(EXPORT + second, number, 1, sets),
    }
}

fn defined(version: u16, id: u16, fields: &[(u64, u16)]) -> Octets {
    set(if version == 9 { 0 } else { 2 }, template(id, fields))
}

/// A record of so many packets and octets.
fn data(fields: &[(u64, u16)], packets: u64, octets_: u64) -> Octets {
    let value = |element| if element == 1 { octets_ } else { packets };
    set(300, fields.iter().fold(octets(), |body, &(element, len)| body.uint(value(element), len.into())))
}

fn through_checkpoint(collector: &mut Collector) {
    let stored = postcard::to_stdvec(&collector.decoder).unwrap();
    collector.decoder = postcard::from_bytes::<ExporterDecoder>(&stored).unwrap();
}

#[test]
fn an_older_definition_does_not_undo_a_newer_one() {
    for (version, new) in [(9, TURNED), (9, NARROW), (10, TURNED), (10, NARROW)] {
        let one = |number, sets: &[Octets]| datagram(version, 0, number, sets);
        let mut collector = decoded(&[
            one(1, &[defined(version, 300, &OLD), data(&OLD, 1, 1000)]),
            one(3, &[defined(version, 300, &new), data(&new, 3, 3000)]),
        ]);
        // What was sent before the newer one has its own layout, defined there or not.
        collector.take(&one(2, &[defined(version, 300, &OLD), data(&OLD, 7, 5000)])).unwrap();
        collector.take(&one(4, &[data(&new, 4, 4000)])).unwrap();
        assert_eq!(collector.volumes(), [(1, 1000), (3, 3000), (7, 5000), (4, 4000)], "{version} {new:?}");
        let counts = collector.counts();
        assert_eq!((counts.lost, counts.restarts, counts.held_sets, counts.templates), (0, 0, 0, 1));
        // And in order the last one counts.
        collector.take(&one(5, &[defined(version, 300, &OLD), data(&OLD, 9, 9000)])).unwrap();
        assert_eq!(collector.volumes()[4..], [(9, 9000)]);
    }
}

#[test]
fn data_from_before_a_redefinition_is_read_by_the_layout_of_then() {
    for (version, new) in [(9, TURNED), (9, NARROW), (10, TURNED), (10, NARROW)] {
        for split in 0..6 {
            let mut collector = Collector::default();
            let all = [
                (1, vec![defined(version, 300, &OLD), data(&OLD, 1, 1000)]),
                (4, vec![defined(version, 300, &new), data(&new, 4, 4000)]),
                (3, vec![data(&OLD, 3, 3000)]),
                // Said again in the same layout, it has been the newest since it was said first.
                (6, vec![defined(version, 300, &new), data(&new, 6, 6000)]),
                (2, vec![data(&OLD, 2, 2000)]),
                (5, vec![data(&new, 5, 5000)]),
            ];
            for (n, (number, sets)) in all.iter().enumerate() {
                if n == split {
                    through_checkpoint(&mut collector);
                }
                collector.take(&datagram(version, 0, *number, sets)).unwrap();
            }
            let expected = [(1, 1000), (4, 4000), (3, 3000), (6, 6000), (2, 2000), (5, 5000)];
            assert_eq!(collector.volumes(), expected, "{version} {new:?} {split}");
            assert_eq!((collector.counts().lost, collector.counts().templates), (0, 1));
        }
    }
}

/// The first definition that is heard may be the newer one, and an id may change from options to data.
#[test]
fn a_definition_that_comes_late_counts_for_what_was_sent_then() {
    for version in [9, 10] {
        let one = |number, sets: &[Octets]| datagram(version, 0, number, sets);
        let other = set(301, octets().u32(10).u32(1));
        let mut collector = decoded(&[
            one(1, &[defined(version, 301, &OLD), other.clone()]),
            one(3, &[defined(version, 300, &TURNED), data(&TURNED, 3, 3000)]),
            one(2, &[defined(version, 300, &OLD), data(&OLD, 2, 2000)]),
            one(4, &[data(&TURNED, 4, 4000)]),
        ]);
        assert_eq!(collector.volumes(), [(1, 10), (3, 3000), (2, 2000), (4, 4000)]);
        let options = match version {
            9 => set(1, options_template9(301, &[(1, 4)], &[(34, 4)])),
            _ => set(3, options_template(301, 1, &[(149, 4), (34, 4)])),
        };
        collector.take(&one(6, &[options, set(301, octets().u32(1).u32(64))])).unwrap();
        collector.take(&one(5, &[other])).unwrap();
        assert_eq!(collector.volumes()[4..], [(1, 10)], "{version}");
        assert_eq!((collector.out.announcements.len(), collector.counts().options_records), (1, 1));
    }
}

/// The number of an IPFIX message says how many records there were before it. So one without any was sent before the one of its
/// number that has some, whichever comes first.
#[test]
fn a_message_without_records_was_sent_before_the_one_of_its_number_that_has_some() {
    // Not from 1 on: that would be who numbers through a message.
    let one = |number: u32, sets: &[Octets]| datagram(10, 0, 10 + number, sets);
    for is_overtaken in [false, true] {
        let mut two = vec![
            one(2, &[defined(10, 300, &OLD)]),
            one(2, &[defined(10, 300, &TURNED), data(&TURNED, 2, 2000)]),
        ];
        if is_overtaken {
            two.reverse();
        }
        let mut collector =
            decoded(&[one(0, &[defined(10, 300, &OLD), data(&OLD, 0, 10)]), one(1, &[data(&OLD, 1, 1000)])]);
        for message in &two {
            collector.take(message).unwrap();
        }
        collector.take(&one(3, &[data(&TURNED, 3, 3000)])).unwrap();
        // Behind it, a redefinition has the next number.
        collector.take(&one(4, &[defined(10, 300, &OLD)])).unwrap();
        collector.take(&one(4, &[data(&OLD, 4, 4000)])).unwrap();
        assert_eq!(
            collector.volumes(),
            [(0, 10), (1, 1000), (2, 2000), (3, 3000), (4, 4000)],
            "{is_overtaken}"
        );
        assert_eq!(collector.counts().lost, 0);
    }
}

/// Messages with templates only have one number, so the export time tells their order.
#[test]
fn of_messages_with_one_number_the_export_time_tells_the_order() {
    let mut collector = decoded(&[
        datagram(10, 0, 0, &[defined(10, 300, &OLD), data(&OLD, 1, 1000)]),
        datagram(10, 2, 1, &[defined(10, 300, &TURNED)]),
        datagram(10, 1, 1, &[defined(10, 300, &OLD)]),
        datagram(10, 3, 1, &[data(&TURNED, 2, 2000)]),
    ]);
    assert_eq!(collector.volumes(), [(1, 1000), (2, 2000)]);
    // A clock that was set back by an hour does not make a definition old.
    let back = ipfix_at(EXPORT - 3600, 2, 1, &[defined(10, 300, &OLD)]);
    collector.take(&back).unwrap();
    collector.take(&ipfix_at(EXPORT - 3599, 2, 1, &[data(&OLD, 3, 3000)])).unwrap();
    assert_eq!(collector.volumes()[2..], [(3, 3000)]);
}

/// The definition of before is forgotten where no datagram of then can come any more.
#[test]
fn what_was_replaced_is_not_kept_for_ever() {
    let many = |element: u64| -> Vec<(u64, u16)> { (0..200).map(|n| (element + n, 4)).collect() };
    let size = |collector: &Collector| postcard::to_stdvec(&collector.decoder).unwrap().len();
    let mut collector = decoded(&[
        datagram(9, 0, 1, &[defined(9, 300, &many(1000))]),
        datagram(9, 0, 2, &[defined(9, 300, &many(2000))]),
    ]);
    let both = size(&collector);
    for number in 3..8196 {
        collector.take(&datagram(9, 0, number, &[])).unwrap();
    }
    collector.take(&datagram(9, 0, 8196, &[defined(9, 300, &many(2000))])).unwrap();
    // Each field is four octets or more: enterprise, element (two), length. The datagrams of the duplicate window grew, so
    // the same is asked of a collector that never had another definition.
    let mut one = decoded(&[datagram(9, 0, 2, &[defined(9, 300, &many(2000))])]);
    for number in 3..8196 {
        one.take(&datagram(9, 0, number, &[])).unwrap();
    }
    one.take(&datagram(9, 0, 8196, &[defined(9, 300, &many(2000))])).unwrap();
    assert!(size(&collector) < size(&one) + 100, "{} {}", size(&collector), size(&one));
    assert!(both > 2 * 200 * 4);
}

#[test]
fn order_is_by_numbers_and_times() {
    let mark = |number, second: i64| Mark { number, stated: UnixMillis(EXPORT_MS + second * 1000) };
    let order = |at, head| Order { stream: 0, at, head: Some(head) };
    assert!(order(mark(2, 0), mark(3, 0)).is_before(mark(3, 0)));
    assert!(!order(mark(2, 0), mark(3, 0)).is_before(mark(2, 0)));
    assert!(!order(mark(2, 0), mark(3, 0)).is_before(mark(1, 0)));
    // Numbers wrap; what is beyond the head is of a run before.
    assert!(order(mark(u32::MAX, 0), mark(1, 0)).is_before(mark(0, 0)));
    assert!(!order(mark(0, 0), mark(1, 0)).is_before(mark(u32::MAX, 0)));
    assert!(!order(mark(2, 0), mark(3, 0)).is_before(mark(900, 0)));
    // Sent two seconds later is later, whatever the numbers are.
    assert!(!order(mark(2, 2), mark(3, 2)).is_before(mark(3, 0)));
    assert!(order(mark(2, 1), mark(3, 2)).is_before(mark(3, 0)));
    assert!(!Order { head: None, ..order(mark(2, 0), mark(3, 0)) }.is_before(mark(3, 0)));
}

/// IPFIX: four messages in order, within one second; the next number is 54.
fn met(layout: &[(u64, u16)]) -> Collector {
    let mut collector = decoded(&[datagram(10, 0, 50, &[defined(10, 300, layout), data(layout, 1, 1)])]);
    for number in 51..54 {
        collector.take(&datagram(10, 0, number, &[data(layout, 1, number.into())])).unwrap();
    }
    collector.out.records.clear();
    collector
}

/// The exporter starts anew within a second, and its first messages are lost: the first that is heard may be late as well.
#[test]
fn what_may_be_of_a_new_run_waits_until_the_next_message_tells() {
    for new in [TURNED, NARROW] {
        for split in 0..4 {
            let mut collector = met(&OLD);
            let mut take = |n, number, sets: &[Octets]| {
                if n == split {
                    through_checkpoint(&mut collector);
                }
                collector.take(&datagram(10, 0, number, sets)).unwrap();
                let counts = collector.counts();
                (collector.volumes(), counts.held_sets, counts.restarts)
            };
            assert_eq!(take(0, 20, &[data(&new, 2, 7000)]), (vec![], 1, 0));
            assert_eq!(take(1, 21, &[data(&new, 3, 8000)]), (vec![], 2, 1));
            let all = vec![(2, 7000), (3, 8000), (4, 9000)];
            assert_eq!(take(2, 22, &[defined(10, 300, &new), data(&new, 4, 9000)]), (all, 0, 1));
            assert_eq!(take(3, 23, &[data(&new, 5, 5)]).0[3..], [(5, 5)]);
            let counts = collector.counts();
            assert_eq!((counts.lost, counts.expired_sets, counts.templates), (0, 0, 1), "{new:?} {split}");
        }
    }
}

/// Where it brings its templates it need not wait.
#[test]
fn what_a_doubtful_message_defines_is_used_in_it_and_behind_it() {
    let mut collector = met(&OLD);
    let first = [data(&TURNED, 1, 6000), defined(10, 300, &TURNED), data(&TURNED, 2, 7000)];
    collector.take(&datagram(10, 0, 20, &first)).unwrap();
    assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![(1, 6000), (2, 7000)], 0));
    collector.take(&datagram(10, 0, 22, &[data(&TURNED, 3, 8000)])).unwrap();
    collector.take(&datagram(10, 0, 23, &[data(&TURNED, 4, 9000)])).unwrap();
    assert_eq!(collector.volumes()[2..], [(3, 8000), (4, 9000)]);
    assert_eq!((collector.counts().restarts, collector.counts().lost), (1, 0));
}

#[test]
fn a_stray_is_read_when_the_old_order_goes_on() {
    let mut collector = met(&OLD);
    // One set can be read then, another one waits for a template that nobody has sent.
    let unknown = set(301, octets().u32(1));
    collector.take(&datagram(10, 0, 20, &[data(&OLD, 2, 5000), unknown])).unwrap();
    assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![], 2));
    collector.take(&datagram(10, 0, 54, &[data(&OLD, 3, 3)])).unwrap();
    assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![(2, 5000), (3, 3)], 1));
    let counts = collector.counts();
    assert_eq!((counts.restarts, counts.lost, counts.expired_sets), (0, 0, 0));
    // The definition that it brings is as old as it is.
    let mut collector = met(&TURNED);
    collector.take(&datagram(10, 0, 20, &[defined(10, 300, &OLD), data(&OLD, 2, 5000)])).unwrap();
    collector.take(&datagram(10, 0, 54, &[data(&TURNED, 3, 3000)])).unwrap();
    assert_eq!(collector.volumes(), [(2, 5000), (3, 3000)]);
    // A message that was sent earlier, by its export time, is late, and waits for nothing.
    let mut collector = met(&OLD);
    collector.take(&ipfix_at(EXPORT - 1, 20, 1, &[data(&OLD, 2, 5000)])).unwrap();
    collector.take(&ipfix_at(EXPORT - 1, 21, 1, &[data(&OLD, 2, 6000)])).unwrap();
    assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![(2, 5000), (2, 6000)], 0));
}

/// Numbers that go down and down tell nothing: what waits is read after a few messages.
#[test]
fn doubt_does_not_last() {
    let mut collector = met(&OLD);
    for n in 0..40_u32 {
        collector.take(&datagram(10, 0, 49 - n, &[data(&OLD, 1, n.into())])).unwrap();
        assert!(collector.counts().held_sets <= 8);
    }
    let counts = collector.counts();
    assert_eq!(counts.records, 4 + 40 - counts.held_sets);
    assert_eq!(counts.expired_sets, 0);
}

/// A number that goes back while the export time does not: what is sent later and numbered lower is of a new run, however
/// little was heard of the old one.
#[test]
fn a_number_that_goes_back_in_a_later_message_is_a_new_run() {
    for (numbers, after) in [(50..51, 0), (50..51, 7), (50..54, 1), (50..54, 49)] {
        for new in [TURNED, NARROW] {
            let mut collector = Collector::default();
            for number in numbers.clone() {
                let sets = [defined(10, 300, &OLD), data(&OLD, 1, number.into())];
                collector.take(&datagram(10, 0, number, &sets)).unwrap();
            }
            collector.out.records.clear();
            collector.take(&datagram(10, 50, after, &[data(&new, 2, 7000)])).unwrap();
            collector.take(&datagram(10, 51, after + 1, &[data(&new, 3, 8000)])).unwrap();
            assert_eq!((collector.volumes(), collector.counts().held_sets), (vec![], 2), "{after}");
            collector.take(&datagram(10, 52, after + 2, &[defined(10, 300, &new)])).unwrap();
            assert_eq!(collector.volumes(), [(2, 7000), (3, 8000)], "{after} {new:?}");
            assert_eq!((collector.counts().restarts, collector.counts().lost), (1, 0));
        }
    }
    // Exporters that number messages instead of records, or nothing, do not go back.
    for step in [1, 0] {
        let mut collector = decoded(&[datagram(10, 0, 0, &[defined(10, 300, &OLD)])]);
        for n in 1..100 {
            let pair = [data(&OLD, 1, 1), data(&OLD, 1, n.into())];
            collector.take(&datagram(10, 3 * n, step * n, &pair)).unwrap();
        }
        assert_eq!((collector.counts().records, collector.counts().held_sets), (2 * 99, 0), "{step}");
    }
}

/// A file of messages (RFC 5655) has an order, and nobody forges a part of it: there a withdrawal holds.
#[test]
fn withdrawals_in_files_are_obeyed() {
    let withdrawn = set(2, octets().u16(300).u16(0));
    let read = |obey_withdrawals| {
        let limits = Limits { obey_withdrawals, ..Limits::default() };
        let mut collector = Collector { limits, ..Collector::default() };
        collector.take(&ipfix(0, 1, &[defined(10, 300, &OLD), data(&OLD, 1, 1)])).unwrap();
        let told = collector.take(&ipfix(1, 1, &[withdrawn.clone(), data(&TURNED, 2, 2000)]));
        collector.take(&ipfix(2, 1, &[defined(10, 300, &TURNED)])).unwrap();
        (told.is_ok(), collector.volumes(), collector.counts().malformed)
    };
    assert_eq!(read(true), (true, vec![(1, 1), (2, 2000)], 0));
    assert_eq!(read(false), (false, vec![(1, 1), (2000, 2)], 1));
    let error = Collector::default().take(&ipfix(1, 1, &[withdrawn])).unwrap_err();
    assert_eq!(error, Error::Withdrawal { id: 300, offset: 20 });
}
