//! What is remembered between datagrams: templates, holds, sequence numbers, duplicates.

use super::build::*;
use crate::decode::{Error, ErrorKind, Fate, Limits};
use crate::units::UnixMillis;

fn volume_template(id: u16) -> Octets {
    template(id, &[(1, 4), (2, 4)])
}

fn volume(id: u16, octets_: u32) -> Octets {
    set(id, octets().u32(octets_).u32(1))
}

#[test]
fn sets_before_their_template_are_decoded_when_it_comes_with_their_own_time() {
    let mut collector = decoded(&[v9_at(UPTIME, EXPORT - 60, 0, 1, &[volume(300, 10), volume(301, 5)])]);
    assert_eq!((collector.counts().held_sets, collector.counts().held_octets), (2, 16));
    assert_eq!(collector.counts().records, 0);
    // Held ones first, then what follows the template in its own datagram.
    let sets = [set(0, volume_template(300)), volume(300, 30)];
    collector.take(&v9(1, 1, &sets)).unwrap();
    assert_eq!(collector.volumes(), [(1, 10), (1, 30)]);
    assert_eq!(collector.out.records[0].end, UnixMillis(EXPORT_MS - 60_000));
    assert_eq!(collector.out.records[1].end, UnixMillis(EXPORT_MS));
    assert_eq!((collector.counts().held_sets, collector.counts().held_octets), (1, 8));
    // A set may even stand before its template in the same datagram.
    collector.out.records.clear();
    collector.take(&v9(2, 1, &[volume(302, 7), set(0, volume_template(302)), volume(302, 8)])).unwrap();
    assert_eq!(collector.volumes(), [(1, 7), (1, 8)]);
}

#[test]
fn held_sets_wait_for_their_own_domain_and_version() {
    let mut collector = decoded(&[ipfix(0, 1, &[volume(300, 10)])]);
    collector.take(&ipfix(0, 2, &[set(2, volume_template(300))])).unwrap();
    collector.take(&v9(0, 1, &[set(0, volume_template(300))])).unwrap();
    assert_eq!(collector.volumes(), []);
    collector.take(&ipfix(1, 1, &[set(2, volume_template(300))])).unwrap();
    assert_eq!(collector.volumes(), [(1, 10)]);
}

#[test]
fn held_options_sets_announce_when_their_template_comes() {
    let mut collector = decoded(&[ipfix(0, 1, &[set(310, octets().u32(1).u32(100))])]);
    assert!(collector.out.announcements.is_empty());
    collector.take(&ipfix(1, 1, &[set(3, options_template(310, 1, &[(149, 4), (34, 4)]))])).unwrap();
    assert_eq!(collector.out.announcements.len(), 1);
    assert_eq!(collector.counts().options_records, 1);
}

#[test]
fn holds_expire_by_age_and_oldest_first_when_full() {
    let mut collector =
        Collector { limits: Limits { hold_ms: 1000, ..Limits::default() }, ..Collector::default() };
    collector.take_at(EXPORT_MS, &ipfix(0, 1, &[volume(300, 10)])).unwrap();
    collector.take_at(EXPORT_MS + 600, &ipfix(1, 1, &[volume(300, 20)])).unwrap();
    collector.decoder.expire(&collector.limits, UnixMillis(EXPORT_MS + 999));
    assert_eq!(collector.counts().expired_sets, 0);
    collector.decoder.expire(&collector.limits, UnixMillis(EXPORT_MS + 1000));
    assert_eq!((collector.counts().expired_sets, collector.counts().expired_octets), (1, 8));
    assert_eq!((collector.decoder.held_sets(), collector.decoder.held_octets()), (1, 8));

    // Room for two sets of 8 octets, at 128 each besides.
    let limits = Limits { hold_octets: 2 * 136, ..Limits::default() };
    let mut collector = Collector { limits, ..Collector::default() };
    for n in 0..3 {
        collector.take(&ipfix(n, 1, &[volume(300, 10 * (n + 1))])).unwrap();
    }
    assert_eq!((collector.counts().expired_sets, collector.counts().held_sets), (1, 2));
    collector.take(&ipfix(9, 1, &[set(2, volume_template(300))])).unwrap();
    assert_eq!(collector.volumes(), [(1, 20), (1, 30)]);
    // One that is too great by itself, and leaves the others alone.
    let big = set(301, octets().bytes(&[1; 200]));
    collector.take(&ipfix(10, 1, &[big])).unwrap();
    assert_eq!((collector.counts().expired_sets, collector.counts().expired_octets), (2, 208));
}

#[test]
fn domains_and_versions_have_templates_of_their_own() {
    let other = template(300, &[(2, 4), (1, 4)]);
    let data = || set(300, octets().u32(1000).u32(2));
    let collector = decoded(&[
        ipfix(0, 1, &[set(2, volume_template(300))]),
        ipfix(0, 2, &[set(2, other.clone())]),
        v9(0, 1, &[set(0, other)]),
        ipfix(0, 1, &[data()]),
        ipfix(0, 2, &[data()]),
        v9(1, 1, &[data()]),
    ]);
    assert_eq!(collector.volumes(), [(2, 1000), (1000, 2), (1000, 2)]);
    assert_eq!((collector.decoder.templates(), collector.decoder.domains()), (3, 3));
}

#[test]
fn a_redefinition_replaces() {
    let collector = decoded(&[
        v9(0, 1, &[set(0, volume_template(300)), volume(300, 10)]),
        v9(1, 1, &[set(0, template(300, &[(2, 2), (1, 2)])), set(300, octets().u16(3).u16(44))]),
    ]);
    assert_eq!(collector.volumes(), [(1, 10), (3, 44)]);
    assert_eq!(collector.counts().templates, 1);
}

/// Over UDP a withdrawal is ignored (RFC 7011 8.4): of one template, of all, of all options templates. It is counted, what
/// else is in its message is taken, and the numbers of records go on: 1 + 1 + 0 came, 5 is next, so 3 are missing.
#[test]
fn withdrawals_over_udp_are_counted_and_ignored() {
    let withdraw = |set_id: u16, id: u16| set(set_id, octets().u16(id).u16(0));
    let options = || set(3, options_template(310, 1, &[(149, 4), (34, 4)]));
    let all = [set(2, volume_template(300)), set(2, volume_template(301)), options()];
    let mut collector = decoded(&[ipfix(0, 1, &all)]);
    let withdrawal = |id, offset| Err(Error::Withdrawal { id, offset });
    assert_eq!(collector.take(&ipfix(0, 1, &[withdraw(2, 300), volume(300, 9)])), withdrawal(300, 20));
    let both = [volume(301, 8), withdraw(2, 2)];
    assert_eq!(collector.take(&ipfix(1, 1, &both)), withdrawal(2, 16 + 4 + 8 + 4));
    assert_eq!(collector.take(&ipfix(2, 1, &[withdraw(3, 3)])), withdrawal(3, 20));
    let counts = collector.counts();
    assert_eq!((collector.decoder.templates(), counts.templates, counts.held_sets), (3, 3, 0));
    assert_eq!((counts.malformed, counts.malformed_by_kind[ErrorKind::TemplateEmpty as usize]), (3, 3));
    assert_eq!(collector.volumes(), [(1, 9), (1, 8)]);
    collector.take(&ipfix(5, 1, &[volume(300, 7)])).unwrap();
    assert_eq!((collector.volumes()[2..].to_vec(), collector.counts().lost), (vec![(1, 7)], 3));
    // A definition behind a withdrawal counts.
    let redefined =
        [withdraw(2, 300), set(2, template(300, &[(2, 4), (1, 4)])), set(300, octets().u32(4).u32(60))];
    assert_eq!(collector.take(&ipfix(6, 1, &redefined)), withdrawal(300, 20));
    assert_eq!(collector.volumes()[3..], [(4, 60)]);
}

#[test]
fn loss_is_counted_in_the_units_of_each_version() {
    let flows = [v5_record(1, 10), v5_record(1, 20)];
    let collector = decoded(&[v5(100, 1, 0, &flows), v5(102, 1, 0, &flows), v5(110, 1, 0, &flows)]);
    assert_eq!(collector.counts().lost, 6);
    // Engines count apart.
    let collector = decoded(&[v5(100, 1, 0, &flows), v5(7, 2, 0, &flows), v5(102, 1, 0, &flows)]);
    assert_eq!(collector.counts().lost, 0);

    let sets = [set(0, volume_template(300)), volume(300, 1)];
    let collector = decoded(&[v9(1, 1, &sets), v9(2, 1, &sets), v9(7, 1, &sets)]);
    assert_eq!(collector.counts().lost, 4);

    // IPFIX: data records count, options data too, templates do not.
    let options = [set(3, options_template(310, 1, &[(149, 4), (34, 4)])), set(310, octets().u32(1).u32(9))];
    let collector = decoded(&[
        ipfix(50, 1, &[set(2, volume_template(300))]),
        ipfix(50, 1, &[volume(300, 1), volume(300, 2)]),
        ipfix(52, 1, &options),
        ipfix(53, 1, &[volume(300, 1)]),
        ipfix(64, 1, &[volume(300, 1)]),
    ]);
    assert_eq!(collector.counts().lost, 10);
}

#[test]
fn late_datagrams_take_the_loss_back_and_sequences_wrap() {
    let one = |sequence: u32| v5(sequence, 1, 0, &[v5_record(1, sequence)]);
    let mut collector = decoded(&[one(u32::MAX - 1), one(u32::MAX), one(3)]);
    assert_eq!(collector.counts().lost, 3);
    for (sequence, lost) in [(1, 2), (0, 1), (2, 0), (4, 0)] {
        collector.take(&one(sequence)).unwrap();
        assert_eq!(collector.counts().lost, lost, "{sequence}");
    }
    assert_eq!((collector.counts().duplicates, collector.counts().records), (0, 7));
}

/// The data of such a message waits, so nobody knows how many records it has: neither when its template comes (which
/// has the same number, as it holds no record), nor when others do.
#[test]
fn what_overtook_its_template_is_no_loss() {
    let data = |number, records| {
        ipfix(number, 1, &[set(300, (0..records).fold(octets(), |body, n| body.u32(100 + n).u32(1)))])
    };
    let defined = |number| ipfix(number, 1, &[set(2, template(300, &[(1, 4), (2, 4)]))]);
    let lost = |datagrams: &[Vec<u8>]| {
        let counts = decoded(datagrams).counts();
        (counts.lost, counts.restarts, counts.records)
    };
    assert_eq!(lost(&[data(1000, 5), defined(1000), data(1005, 5), data(1010, 5)]), (0, 0, 15));
    assert_eq!(lost(&[data(0, 1), data(1, 1), defined(0), data(2, 1), data(3, 1)]), (0, 0, 4));
    // What is missing behind the next one that can be counted is lost, nevertheless: 1010 to 1014.
    assert_eq!(lost(&[data(1000, 5), defined(1000), data(1005, 5), data(1015, 5)]), (5, 0, 15));
    // Late ones from between them are no new beginning; nor is what they fill a second time.
    assert_eq!(
        lost(&[data(1000, 5), data(1015, 5), data(1005, 5), defined(1000), data(1020, 5), data(1010, 5)]),
        (0, 0, 25)
    );
}

#[test]
fn an_exporter_that_starts_anew_has_lost_nothing() {
    let one =
        |uptime: u32, sequence: u32| v9_at(uptime, EXPORT, sequence, 1, &[set(0, volume_template(300))]);
    // Uptime back to 5 s: sequence anew.
    let collector = decoded(&[one(UPTIME, 9000), one(5000, 1), one(6000, 2)]);
    assert_eq!((collector.counts().lost, collector.counts().restarts), (0, 1));
    // Uptime wraps: no restart, and the gap is loss.
    let collector = decoded(&[one(u32::MAX - 10, 9000), one(5000, 9003)]);
    assert_eq!((collector.counts().lost, collector.counts().restarts), (2, 0));
    // A jump beyond any plausible loss.
    let collector = decoded(&[one(UPTIME, 9000), one(UPTIME, 9_000_000), one(UPTIME, 9_000_001)]);
    assert_eq!((collector.counts().lost, collector.counts().restarts), (0, 1));
    // Back by a little, and going on from there.
    let datagrams = [one(UPTIME, 100), one(UPTIME, 3), one(UPTIME, 4), one(UPTIME, 5), one(UPTIME, 7)];
    let collector = decoded(&datagrams);
    assert_eq!((collector.counts().lost, collector.counts().restarts), (1, 1));
}

#[test]
fn ipfix_records_that_cannot_be_counted_yet_make_no_false_loss() {
    let collector = decoded(&[
        ipfix(0, 1, &[volume(300, 1), volume(300, 2)]),
        ipfix(2, 1, &[set(2, volume_template(300)), volume(300, 3)]),
        ipfix(3, 1, &[volume(300, 4)]),
        ipfix(6, 1, &[volume(300, 5)]),
    ]);
    assert_eq!((collector.counts().lost, collector.counts().records), (2, 5));
}

#[test]
fn late_messages_without_records_are_no_new_beginning() {
    let templates = |id| ipfix(40, 1, &[set(2, volume_template(id))]);
    let collector = decoded(&[
        ipfix(50, 1, &[set(2, volume_template(300)), volume(300, 1)]),
        templates(301),
        templates(302),
        ipfix(51, 1, &[volume(300, 2)]),
    ]);
    assert_eq!((collector.counts().lost, collector.counts().restarts), (0, 0));
}

#[test]
fn the_same_datagram_twice_counts_once() {
    let datagram = v5(0, 1, 0, &[v5_record(1, 100)]);
    let mut collector = decoded(std::slice::from_ref(&datagram));
    assert_eq!(collector.take(&datagram), Ok(Fate::Duplicate));
    // The same number with other contents is no duplicate.
    assert_eq!(collector.take(&v5(0, 1, 0, &[v5_record(1, 101)])), Ok(Fate::Decoded));
    assert_eq!(collector.volumes(), [(1, 100), (1, 101)]);
    // Nor is the same datagram of another engine.
    assert_eq!(collector.take(&v5(0, 2, 0, &[v5_record(1, 100)])), Ok(Fate::Decoded));
    let counts = collector.counts();
    assert_eq!((counts.datagrams, counts.decoded, counts.duplicates, counts.lost), (4, 3, 1, 0));
    let sets = [set(2, volume_template(300)), volume(300, 1)];
    let mut collector = decoded(&[ipfix(0, 1, &sets), ipfix(1, 1, &sets)]);
    assert_eq!(collector.take(&ipfix(0, 1, &sets)), Ok(Fate::Duplicate));
}

/// 1024 datagrams are remembered, in whatever order the duplicates come; a checkpoint keeps them.
#[test]
fn a_duplicate_is_known_among_the_last_1024_datagrams() {
    let datagram = |n: u32| v5(30 * n, 1, 0, &[v5_record(1, n + 1)]);
    let mut collector = decoded(&[]);
    for n in 0..1024 {
        assert_eq!(collector.take(&datagram(n)), Ok(Fate::Decoded));
    }
    for n in [1023, 0, 64, 1] {
        assert_eq!(collector.take(&datagram(n)), Ok(Fate::Duplicate), "{n}");
    }
    let stored = postcard::to_stdvec(&collector.decoder).unwrap();
    collector.decoder = postcard::from_bytes(&stored).unwrap();
    assert_eq!(collector.take(&datagram(0)), Ok(Fate::Duplicate));
    // One more pushes the oldest out, and only that.
    assert_eq!(collector.take(&datagram(1024)), Ok(Fate::Decoded));
    assert_eq!(collector.take(&datagram(1)), Ok(Fate::Duplicate));
    assert_eq!(collector.take(&datagram(0)), Ok(Fate::Decoded));
    let counts = collector.counts();
    assert_eq!((counts.datagrams, counts.decoded, counts.duplicates), (1032, 1026, 6));
}

#[test]
fn limits_refuse_and_count() {
    let limits = Limits { templates: 2, template_fields: 2, domains: 2, ..Limits::default() };
    let mut collector = Collector { limits, ..Collector::default() };
    let templates = [300, 301, 302].map(|id| set(2, volume_template(id)));
    collector.take(&ipfix(0, 1, &templates)).unwrap_err();
    assert_eq!((collector.decoder.templates(), collector.counts().template_refusals), (2, 1));
    // Known ids can still be redefined; too many fields are refused.
    collector.take(&ipfix(0, 1, &[set(2, template(300, &[(2, 4), (1, 4)]))])).unwrap();
    collector.take(&ipfix(0, 1, &[set(2, template(301, &[(2, 4), (1, 4), (4, 1)]))])).unwrap_err();
    assert_eq!((collector.counts().template_refusals, collector.decoder.refused()), (2, 2));

    collector.take_at(EXPORT_MS + 1, &v5(0, 1, 0, &[v5_record(1, 10)])).unwrap();
    collector.take(&ipfix(0, 9, &[volume(300, 1)])).unwrap_err();
    // v5 needs nothing remembered to be decoded.
    collector.take(&v5(0, 2, 0, &[v5_record(1, 20)])).unwrap();
    assert_eq!(collector.volumes(), [(1, 10), (1, 20)]);
    assert_eq!((collector.decoder.domains(), collector.counts().domain_refusals), (2, 2));
    // An hour later, the domain that was silent longest gives way, with its templates.
    collector.take_at(EXPORT_MS + 3_600_000, &ipfix(0, 9, &[set(2, volume_template(400))])).unwrap();
    assert_eq!((collector.decoder.domains(), collector.decoder.templates()), (2, 1));
    assert_eq!(collector.counts().templates, 1);
}

#[test]
fn the_table_of_running_totals_is_bounded_and_keeps_what_is_reported() {
    let limits = Limits { running_totals: 8, ..Limits::default() };
    let mut collector = Collector { limits, ..Collector::default() };
    collector.take(&ipfix(0, 1, &[set(2, template(300, &[(8, 4), (85, 4)]))])).unwrap();
    let mut total = 0;
    for n in 0..40_u32 {
        // One flow is reported again and again among others that are seen once.
        total += 10;
        let body = octets().u32(1).u32(total).u32(100 + n).u32(7);
        collector.take(&ipfix(n * 2, 1, &[set(300, body)])).unwrap();
        assert!(collector.decoder.running_totals() <= 8);
    }
    let busy: u64 = collector.out.records.iter().filter(|f| f.source.0 == 1).map(|f| f.octets.as_u64()).sum();
    assert_eq!(busy, 400);
    assert!(collector.decoder.refused() > 0);
}

/// A message with so many records of one octet each, and options records before them.
fn message(number: u32, options: u32, flows: u32) -> Vec<u8> {
    let records = |n: u32| (0..n).fold(octets(), |all, n| all.u32(n + 1).u32(1));
    let announced = (0..options).fold(octets(), |all, _| all.u32(1).u32(9));
    let mut sets = vec![set(2, volume_template(300)), set(3, options_template(310, 1, &[(149, 4), (34, 4)]))];
    if options > 0 {
        sets.push(set(310, announced));
    }
    if flows > 0 {
        sets.push(set(300, records(flows)));
    }
    ipfix(number, 1, &sets)
}

/// Loss after each of the messages.
fn lost(messages: &[(u32, u32, u32)]) -> Vec<u64> {
    let mut collector = decoded(&[]);
    let after = messages.iter().map(|&(number, options, flows)| {
        collector.take(&message(number, options, flows)).unwrap();
        collector.counts().lost
    });
    after.collect()
}

#[test]
fn exporters_whose_numbers_go_through_the_message_are_recognised() {
    // From its first message on, as softflowd numbers: flows only, those of the message too.
    assert_eq!(lost(&[(19, 1, 19), (45, 0, 26), (60, 0, 15), (63, 1, 3)]), [0, 0, 0, 0]);
    // A loss of 7 shows, and late ones take it back.
    assert_eq!(lost(&[(19, 1, 19), (45, 0, 26), (62, 0, 10), (72, 1, 10), (52, 0, 7)]), [0, 0, 7, 7, 0]);
    // Met in the middle: by the third message in a row that nothing else explains, and what was booked is taken back.
    let middle = [(1000, 0, 10), (1025, 0, 25), (1030, 0, 5), (1050, 1, 20), (1054, 0, 4), (1070, 0, 6)];
    assert_eq!(lost(&middle), [0, 15, 15, 0, 0, 10]);
    // Also with a real loss of 22 among them, which is what remains.
    let middle = [(1000, 0, 10), (1025, 0, 25), (1052, 0, 5), (1072, 0, 20), (1076, 0, 4), (1082, 0, 6)];
    assert_eq!(lost(&middle), [0, 15, 17, 32, 22, 22]);
}

#[test]
fn a_presumption_is_given_up_at_the_first_message_to_the_contrary() {
    // The first message was lost on the way; the second is numbered as RFC 7011 wants, and so are all others.
    assert_eq!(lost(&[(25, 0, 25), (50, 0, 25), (75, 0, 10), (85, 0, 25), (120, 0, 10)]), [0, 0, 0, 0, 10]);
    // A loss of 25 meanwhile looks the same either way, and stays one.
    assert_eq!(lost(&[(25, 0, 25), (75, 0, 25), (100, 0, 10), (110, 0, 25)]), [0, 25, 25, 25]);
}

#[test]
fn a_loss_that_happens_to_fit_the_other_numbering_is_a_loss() {
    // 15 are missing before the second message, which has as many records as are missing and the first had; then again.
    let messages = [
        (0, 0, 10),
        (25, 0, 25),
        (50, 0, 3),
        (53, 0, 10),
        (78, 0, 25),
        (103, 0, 4),
        (107, 0, 1),
        (117, 0, 10),
    ];
    assert_eq!(lost(&messages), [0, 15, 15, 15, 30, 30, 30, 39]);
}
