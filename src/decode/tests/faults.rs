//! Malformed datagrams: what is said of them, what of them is still taken.

use super::build::*;
use super::sflow::{datagram, flow_sample, frame, raw_header};
use crate::decode::{Error, ErrorKind};

fn good() -> [Octets; 2] {
    [set(2, template(300, &[(1, 4), (2, 4)])), set(300, octets().u32(100).u32(1))]
}

/// Takes a datagram that must fail; the kind of failure and the volumes taken all the same.
fn check(datagram: &[u8], expected: ErrorKind, volumes: &[(u64, u64)]) -> Error {
    let mut collector = Collector::default();
    let error = collector.take(datagram).unwrap_err();
    assert_eq!(error.kind(), expected, "{error}");
    assert_eq!(collector.volumes(), volumes, "{error}");
    let counts = collector.counts();
    assert_eq!((counts.datagrams, counts.malformed, counts.decoded), (1, 1, 0));
    assert_eq!(counts.malformed_by_kind[expected as usize], 1);
    error
}

#[test]
fn headers() {
    check(&[], ErrorKind::Truncated, &[]);
    check(&[0], ErrorKind::Truncated, &[]);
    check(&[0, 5, 0, 1], ErrorKind::Truncated, &[]);
    for version in [0, 2, 3, 4, 6, 11] {
        check(&[0, version, 0, 1, 0, 0], ErrorKind::UnknownVersion, &[]);
    }
    for version in [1, 7, 8] {
        check(&[0, version, 0, 1, 0, 0], ErrorKind::Truncated, &[]);
    }
    check(&v9(0, 0, &[])[..19], ErrorKind::Truncated, &[]);
    check(&ipfix(0, 0, &[])[..15], ErrorKind::Truncated, &[]);
    let mut short = ipfix(0, 1, &good());
    short[3] = 15;
    check(&short, ErrorKind::MessageLength, &[]);
    let mut long = ipfix(0, 1, &good());
    long[3] += 1;
    check(&long, ErrorKind::MessageLength, &[(1, 100)]);
}

#[test]
fn a_v5_header_that_claims_more_than_there_is_bills_nothing() {
    let mut datagram = v5(0, 1, 0, &[v5_record(1, 10), v5_record(1, 20)]);
    datagram[3] = 3;
    let error = check(&datagram, ErrorKind::CountBeyondData, &[]);
    assert_eq!(error, Error::CountBeyondData { count: 3, offset: 24 + 96 });
}

/// Behind what a header declares there may be zeros. Anything else is not read, and counted.
#[test]
fn what_is_behind_the_end_is_counted_and_not_read() {
    let [template, data] = good();
    let message = ipfix(0, 1, &[template, data.clone()]);
    let cases = [
        // A second message in the datagram.
        (message.clone(), ipfix(1, 1, &[data]), (1, 100)),
        (v5(0, 1, 0, &[v5_record(1, 10)]), v5_record(1, 20).0, (1, 10)),
        (v7(0, 0, &[v7_record(1, 10)]), v7_record(1, 20).0, (1, 10)),
        (v8(0, 3, 1, 0, &[v8_record(1, 10)]), v8_record(1, 20).0, (1, 10)),
    ];
    for (first, behind, volume) in cases {
        let padded = [&first[..], &[0; 7]].concat();
        assert_eq!(decoded(std::slice::from_ref(&padded)).volumes(), [volume], "{first:?}");
        let both = [&first[..], &behind[..]].concat();
        let error = check(&both, ErrorKind::MessageLength, &[volume]);
        assert_eq!(error, Error::Trailing { offset: first.len() });
    }
    // sFlow has devices that fill their datagrams up with anything: decoded, and counted as a format not understood.
    let sample = flow_sample(1, &[raw_header(1, 1500, &frame())]);
    let one = datagram(1, std::slice::from_ref(&sample));
    for (behind, skipped) in [(&sample.0[..], 1), (&[0xb1, 0xde], 1), (&[0; 60], 0)] {
        let collector = decoded(&[[&one[..], behind].concat()]);
        let counts = collector.counts();
        assert_eq!(collector.volumes(), [(1, 1500)]);
        assert_eq!((counts.decoded, counts.sflow.skipped_formats), (1, skipped), "{behind:?}");
    }
    // What the second message had is missing in the numbers.
    let mut collector = Collector::default();
    let second = ipfix(1, 1, &[set(300, octets().u32(50).u32(1))]);
    collector.take(&[&message[..], &second[..]].concat()).unwrap_err();
    collector.take(&ipfix(2, 1, &[set(300, octets().u32(25).u32(1))])).unwrap();
    assert_eq!((collector.volumes(), collector.counts().lost), (vec![(1, 100), (1, 25)], 1));
}

#[test]
fn sets_that_cannot_be_framed_end_the_datagram_and_leave_what_was_before() {
    let [template, data] = good();
    for (id, length) in [(300, 0), (300, 3), (2, 13), (3, 0xffff), (255, 13)] {
        let bad = octets().u16(id).u16(length).u32(7).u32(7);
        let error =
            check(&ipfix(0, 1, &[template.clone(), data.clone(), bad]), ErrorKind::SetLength, &[(1, 100)]);
        assert_eq!(error, Error::SetLength { length, offset: 16 + 16 + 12 });
    }
}

/// The last set says that it is longer than what is left of the datagram.
#[test]
fn of_a_data_set_that_claims_too_much_the_records_that_are_wholly_there_are_taken() {
    let [template, data] = good();
    // One more record, and seven octets of the next.
    let long = |length| octets().u16(300).u16(length).u32(7).u32(8).bytes(&[9; 7]);
    for length in [20, 24, 0xffff] {
        let error = check(
            &ipfix(0, 1, &[template.clone(), data.clone(), long(length)]),
            ErrorKind::SetLength,
            &[(1, 100), (8, 7)],
        );
        assert_eq!(error, Error::SetLength { length, offset: 16 + 16 + 12 });
        let template = set(0, super::build::template(300, &[(1, 4), (2, 4)]));
        check(&v9(0, 1, &[template, long(length)]), ErrorKind::SetLength, &[(8, 7)]);
    }
    // What lies behind the end of the message is not its own, also where the datagram goes on.
    let mut datagram = ipfix(0, 1, &[template.clone(), set(300, octets().u32(1).u32(2).u32(3).u32(4))]);
    datagram[3] -= 1;
    check(&datagram, ErrorKind::SetLength, &[(2, 1)]);
    // Variable lengths.
    let named = set(2, super::build::template(301, &[(96, 65_535), (1, 4), (2, 4)]));
    let body = octets().u8(1).bytes(b"x").u32(7).u32(8).u8(1).bytes(b"y").u32(9);
    let cut = octets().u16(301).u16(0x100).bytes(&body.0);
    check(&ipfix(0, 1, &[named, cut]), ErrorKind::SetLength, &[(8, 7)]);
    // Announcements as well.
    let options = [set(3, options_template(310, 1, &[(149, 4), (34, 4)])), octets().u16(310).u16(99)];
    let mut collector = Collector::default();
    let [templates, head] = options;
    collector.take(&ipfix(0, 1, &[templates, head.u32(1).u32(50).u32(1)])).unwrap_err();
    assert_eq!((collector.out.announcements.len(), collector.counts().options_records), (1, 1));
    // A set that ends with its header has none, and nothing waits.
    let mut collector = Collector::default();
    collector.take(&ipfix(0, 1, &[octets().u16(300).u16(20)])).unwrap_err();
    collector.take(&ipfix(0, 1, &[set(301, octets())])).unwrap();
    assert_eq!(collector.counts().held_sets, 0);
    // Where the template is not known yet, they wait for it.
    let mut collector = Collector::default();
    collector.take(&ipfix(0, 1, &[long(24)])).unwrap_err();
    assert_eq!((collector.counts().held_sets, collector.counts().held_octets), (1, 15));
    let _ = collector.take(&ipfix(1, 1, &[template]));
    assert_eq!(collector.volumes(), [(8, 7)]);
}

#[test]
fn sets_that_are_wrong_in_themselves_leave_the_others_alone() {
    let [template, data] = good();
    let with = |bad: Octets| ipfix(0, 1, &[template.clone(), bad, data.clone()]);
    let taken = &[(1, 100)];
    check(&with(set(4, octets().u32(1))), ErrorKind::ReservedSet, taken);
    check(&with(set(1, octets().u32(1))), ErrorKind::ReservedSet, taken);
    check(&with(set(2, octets().u16(255).u16(1).u16(1).u16(4))), ErrorKind::TemplateId, taken);
    check(&with(set(2, octets().u16(400).u16(2).u16(1).u16(4))), ErrorKind::Truncated, taken);
    check(&with(set(2, octets().u16(400).u16(1).u16(0x8001).u16(4))), ErrorKind::Truncated, taken);
    check(&with(set(3, octets().u16(400).u16(1).u16(0).u16(149).u16(4))), ErrorKind::Scope, taken);
    check(&with(set(3, octets().u16(400).u16(1).u16(2).u16(149).u16(4))), ErrorKind::Scope, taken);
    // A record cut off by its set: eight octets, then four that are no padding.
    let error =
        check(&with(set(300, octets().u32(5).u32(1).u32(9))), ErrorKind::RecordCut, &[(1, 5), (1, 100)]);
    assert_eq!(error, Error::RecordCut { offset: 16 + 16 + 4 + 8 });
    // Records of no length.
    let empty = [set(2, super::build::template(301, &[(1, 0)])), set(301, octets().u32(0))];
    let sets = [template.clone(), empty[0].clone(), empty[1].clone(), data.clone()];
    check(&ipfix(0, 1, &sets), ErrorKind::EmptyRecord, taken);
    let nine =
        |bad: Octets| v9(0, 1, &[set(0, super::build::template(300, &[(1, 4), (2, 4)])), bad, data.clone()]);
    check(&nine(set(2, octets().u32(1))), ErrorKind::ReservedSet, taken);
    check(&nine(set(0, octets().u16(400).u16(0).u16(1).u16(1))), ErrorKind::TemplateEmpty, taken);
    check(&nine(set(1, octets().u16(400).u16(3).u16(4).u32(0))), ErrorKind::Scope, taken);
}

#[test]
fn a_variable_length_record_that_runs_over_its_set_is_not_taken() {
    let template = set(2, template(300, &[(96, 65_535), (1, 4), (2, 4)]));
    let good = octets().u8(2).bytes(b"ok").u32(100).u32(1);
    let cut = octets().u8(9).bytes(b"0123456789");
    let data = set(300, octets().bytes(&good.0).bytes(&cut.0));
    check(&ipfix(0, 1, &[template, data]), ErrorKind::RecordCut, &[(1, 100)]);
}

#[test]
fn padding_is_no_fault() {
    let fields = [(1, 4), (2, 4)];
    let collector = decoded(&[
        v9(0, 1, &[set(0, template(300, &fields).u32(0)), set(300, octets().u32(100).u32(1).u16(0))]),
        ipfix(
            0,
            1,
            &[set(2, template(300, &fields).u16(0)), set(300, octets().u32(50).u32(1).u32(0).u16(0))],
        ),
        v9(1, 1, &[set(300, octets().u32(25).u32(1)), octets().u16(0)]),
    ]);
    assert_eq!(collector.volumes(), [(1, 100), (1, 50), (1, 25)]);
}

/// NetFlow v9 does not say how long a datagram is: some exporters fill them up with zeros (nfdump's issue 73).
#[test]
fn zeros_behind_all_that_a_v9_header_counts_are_padding() {
    let template = set(0, template(300, &[(1, 4), (2, 4)]));
    let data = set(300, octets().u32(100).u32(1).u32(50).u32(1));
    let padded = |sequence: u32, count: u16, sets: &[Octets], zeros: usize| {
        let mut datagram = v9(sequence, 1, sets);
        datagram[2..4].copy_from_slice(&count.to_be_bytes());
        datagram.resize(datagram.len() + zeros, 0);
        datagram
    };
    let both = [template.clone(), data.clone()];
    // The header counts a template and two records; or, as some exporters understand it, two sets; or nothing.
    for (count, zeros) in [(3, 1300), (2, 4), (3, 5), (0, 60)] {
        let collector = decoded(&[padded(0, count, &both, zeros)]);
        assert_eq!(collector.volumes(), [(1, 100), (1, 50)], "{count} {zeros}");
    }
    decoded(&[
        padded(0, 1, std::slice::from_ref(&template), 1380),
        padded(1, 2, std::slice::from_ref(&data), 1348),
    ]);
    // Of sets that wait nobody knows how many records they have.
    let collector = decoded(&[padded(0, 9, std::slice::from_ref(&data), 40)]);
    assert_eq!((collector.counts().held_sets, collector.counts().malformed), (1, 0));
    // A record that the header counts is not there; or there is something behind the zeros.
    let mut behind = padded(0, 3, &both, 60);
    *behind.last_mut().unwrap() = 1;
    for datagram in [padded(0, 4, &both, 60), behind] {
        let error = check(&datagram, ErrorKind::SetLength, &[(1, 100), (1, 50)]);
        assert_eq!(error, Error::SetLength { length: 0, offset: 20 + 16 + 20 });
    }
    // IPFIX says how long a message is: within it they are a set without a length.
    let message = ipfix(0, 1, &[template2(), set(300, octets().u32(100).u32(1)), octets().u32(0).u32(0)]);
    check(&message, ErrorKind::SetLength, &[(1, 100)]);
}

fn template2() -> Octets {
    set(2, template(300, &[(1, 4), (2, 4)]))
}

#[test]
fn kinds_have_names_of_their_own() {
    let mut names: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ErrorKind::COUNT);
    for (n, kind) in ErrorKind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, n);
    }
}
