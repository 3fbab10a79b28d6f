//! Noise: cut, changed and random datagrams never panic, never grow without bound, and are all counted; and a
//! checkpoint at any point changes nothing.

use proptest::prelude::*;

use super::build::*;
use super::sflow;
use crate::decode::{Counts, Decoded, ExporterDecoder, Limits};
use crate::units::UnixMillis;

/// A stream with a bit of everything.
fn stream() -> Vec<Vec<u8>> {
    let reverse = |element| enterprise(29_305, element);
    let totals = [(8, 4), (12, 4), (85, 8), (86, 8), (reverse(85), 4)];
    let varied = [(8, 4), (96, 65_535), (1, 4), (2, 4), (152, 8), (153, 8), (302, 4)];
    let total = |n: u64| octets().u32(1).u32(2).u64(n).u64(n / 100).u32(7);
    let named = |n: u32| octets().u32(n).u8(3).bytes(b"dns").u32(n).u32(1).u64(0).u64(0).u32(5);
    let options = [(302, 4), (304, 1), (305, 4), (306, 4)];
    let nine = [(8, 4), (12, 4), (1, 4), (2, 4), (22, 4), (21, 4), (48, 1)];
    let record9 = |n: u32| octets().u32(n).u32(2).u32(n).u32(1).u32(UPTIME - 9).u32(UPTIME - 5).u8(3);
    vec![
        v5(0, 1, 100, &[v5_record(1, 10), v5_record(2, 20)]),
        ipfix(0, 1, &[set(300, total(1000)), set(301, named(1))]),
        ipfix(2, 1, &[set(2, template(300, &totals)), set(300, total(2500))]),
        v9(0, 1, &[set(0, template(256, &nine)), set(256, record9(1)), set(257, octets().u32(9))]),
        v5(3, 1, 100, &[v5_record(3, 30)]),
        ipfix(3, 1, &[set(2, template(301, &varied)), set(301, named(2)), set(300, total(4000))]),
        ipfix(
            5,
            1,
            &[set(3, options_template(310, 1, &options)), set(310, octets().u32(5).u8(1).u32(1).u32(9))],
        ),
        v9(2, 1, &[set(1, options_template9(257, &[(1, 2)], &[(34, 2)])), set(256, record9(2))]),
        v5(2, 1, 100, &[v5_record(4, 40)]),
        v5(3, 1, 100, &[v5_record(3, 30)]),
        ipfix(6, 1, &[set(2, octets().u16(301).u16(0)), set(301, named(3)), set(300, total(4100))]),
        v9(3, 1, &[set(256, octets().bytes(&record9(3).0).bytes(&record9(4).0))]),
        ipfix(9, 1, &[set(2, template(301, &varied)), set(300, total(300))]),
        v9_at(50, EXPORT, 0, 1, &[set(256, record9(5))]),
        v1(UPTIME, &[v1_record(1, 50), v1_record(2, 60)]),
        v7(0, 0, &[v7_record(1, 70)]),
        v8(0, 1, 1, 100, &[v8_record(1, 80), v8_record(2, 90)]),
        v1(UPTIME, &[v1_record(1, 50), v1_record(2, 60)]),
        v7(2, 0, &[v7_record(1, 70)]),
        v8(2, 1, 1, 100, &[v8_record(1, 80)]),
    ]
}

/// What must hold of the counts, whatever came.
fn consistent(counts: &Counts, out: &Decoded) {
    assert_eq!(counts.datagrams, counts.decoded + counts.malformed + counts.duplicates);
    assert_eq!(counts.malformed, counts.malformed_by_kind.iter().sum::<u64>());
    assert_eq!(counts.flows_emitted, out.records.len() as u64);
    let octets: u128 = out.records.iter().map(|flow| u128::from(flow.octets.as_u64())).sum();
    assert_eq!(u128::from(counts.raw_octets), octets);
    assert!(counts.flows_emitted + counts.implausible + counts.not_volume >= counts.records);
    for flow in &out.records {
        assert!(flow.start <= flow.end && flow.end.since(flow.start) <= 3_600_000);
        assert!(flow.octets.as_u64() < 1 << 48 && flow.packets.as_u64() < 1 << 48);
    }
}

fn bounded(decoder: &ExporterDecoder, limits: &Limits) {
    assert!(decoder.templates() <= limits.templates && decoder.domains() <= limits.domains);
    assert!(decoder.held_octets() <= limits.hold_octets && decoder.running_totals() <= limits.running_totals);
    assert_eq!(decoder.templates() as u64, decoder.counts().templates);
    assert_eq!(decoder.held_sets() as u64, decoder.counts().held_sets);
    assert_eq!(decoder.held_octets() as u64, decoder.counts().held_octets);
}

fn small() -> Limits {
    let hold = Limits { hold_octets: 1000, hold_ms: 1000, ..Limits::default() };
    Limits { templates: 4, template_fields: 8, domains: 3, running_totals: 4, ..hold }
}

#[test]
fn datagrams_cut_at_every_octet_never_panic_and_take_no_more_than_the_whole() {
    let stream = stream();
    for (n, datagram) in stream.iter().enumerate() {
        for cut in 0..datagram.len() {
            let mut collector = Collector::default();
            stream[..n].iter().for_each(|datagram| collector.take(datagram).map_or((), |_| ()));
            let before = collector.out.records.len();
            let mut whole = Collector::default();
            stream[..=n].iter().for_each(|datagram| whole.take(datagram).map_or((), |_| ()));
            let result = collector.take(&datagram[..cut]);
            // A v9 header has no length: a cut between two flowsets (or within three octets of one) is a whole datagram.
            assert!(result.is_err() || datagram[1] == 9 && cut >= 20, "datagram {n}, cut at {cut}");
            let taken = &collector.out.records[before..];
            assert_eq!(taken, &whole.out.records[before..][..taken.len()], "datagram {n}, cut at {cut}");
            consistent(collector.decoder.counts(), &collector.out);
        }
    }
}

#[test]
fn the_stream_itself() {
    let mut collector = Collector::default();
    stream().iter().for_each(|datagram| collector.take(datagram).map_or((), |_| ()));
    let counts = collector.counts();
    consistent(&counts, &collector.out);
    // By hand: v1 50 + 60 and a duplicate; v7 70 + 70 with one record missing between; v8 80 + 90 + 80;
    // v5 10 + 20 + 30 + 40 and a duplicate; totals 1000 (held until its template came), 1500, 1500, 100, 0 (300 at no later
    // time: overtaken) and reverse totals 7, 0 ...; v9 1 to 4 (5 comes after a restart, and waits
    // for its template); the named ones 1, 2 and 3, of which the last comes with a withdrawal over UDP. Missing are one
    // record of v7, a datagram of v9, and the IPFIX record 8.
    let old = 110 + 140 + 250;
    assert_eq!(counts.raw_octets, old + 100 + (1000 + 1500 + 1500 + 100) + 7 + 10 + 6);
    assert_eq!((counts.duplicates, counts.malformed, counts.lost), (2, 1, 3));
    assert_eq!((counts.records, counts.options_records), (7 + 4 + 5 + 4 + 3, 2));
}

fn run(datagrams: &[Vec<u8>], split: Option<usize>) -> (Vec<crate::flow::FlowRecord>, usize, Counts) {
    let mut collector = Collector::default();
    for (n, datagram) in datagrams.iter().enumerate() {
        if split == Some(n) {
            let saved = postcard::to_stdvec(&collector.decoder).unwrap();
            collector.decoder = postcard::from_bytes(&saved).unwrap();
        }
        let _ = collector.take(datagram);
    }
    (collector.out.records, collector.out.announcements.len(), *collector.decoder.counts())
}

#[test]
fn a_checkpoint_at_any_point_changes_nothing() {
    let stream = stream();
    let expected = run(&stream, None);
    for split in 0..stream.len() {
        assert_eq!(run(&stream, Some(split)), expected, "split at {split}");
    }
}

/// A datagram with a header that leads somewhere, and noise behind it that often looks like sets.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let set = (prop_oneof![0..4_u16, 254..260_u16], prop::collection::vec(0..9_u8, 0..60))
        .prop_map(|(id, body)| set(id, octets().bytes(&body)));
    let sets = prop::collection::vec(set, 0..5);
    // A header of fixed records that claims a few of them; in v8 the scheme is the 23rd octet.
    let fixed = (
        prop::sample::select(vec![1_u8, 5, 7, 8]),
        0..5_u8,
        0..17_u8,
        prop::collection::vec(any::<u8>(), 12..220),
    )
        .prop_map(|(version, count, scheme, rest)| {
            let mut datagram = octets().u8(0).u8(version).u8(0).u8(count).bytes(&rest).0;
            if let Some(octet) = datagram.get_mut(22) {
                *octet = scheme;
            }
            datagram
        });
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        fixed,
        (0..4_u32, 0..4_u32, sets.clone()).prop_map(|(n, domain, sets)| ipfix(n, domain, &sets)),
        (0..4_u32, 0..4_u32, sets).prop_map(|(n, domain, sets)| v9(n, domain, &sets)),
    ]
}

proptest! {
    #[test]
    fn noise_is_counted_and_bounded(datagrams in prop::collection::vec(noise(), 1..30)) {
        let limits = small();
        let mut decoder = ExporterDecoder::new();
        let mut out = Decoded::default();
        for (n, datagram) in (0..).zip(&datagrams) {
            let received = UnixMillis(EXPORT_MS + n * 100);
            let _ = decoder.datagram(crate::ids::ExporterId(0), &limits, received, datagram, &mut out);
            bounded(&decoder, &limits);
            consistent(decoder.counts(), &out);
        }
        decoder.expire(&limits, UnixMillis(i64::MAX));
        prop_assert_eq!(decoder.held_sets(), 0);
    }

    #[test]
    fn changed_datagrams_are_counted_and_bounded(
        changes in prop::collection::vec((0..20_usize, any::<prop::sample::Index>(), any::<u8>()), 1..20),
        split in 0..20_usize,
    ) {
        let mut stream = stream();
        for (n, at, octet) in changes {
            let length = stream[n].len();
            stream[n][at.index(length)] = octet;
        }
        let limits = small();
        let mut collector = Collector { limits, ..Collector::default() };
        for datagram in &stream {
            let _ = collector.take(datagram);
            bounded(&collector.decoder, &limits);
            consistent(collector.decoder.counts(), &collector.out);
        }
        prop_assert_eq!(run(&stream, Some(split)), run(&stream, None));
    }

    /// However late datagrams are shuffled within the window, nothing is lost in the end, and what overtook its template
    /// is read.
    #[test]
    fn reordered_datagrams_are_no_loss(
        protocol in 0..4_u8,
        first in any::<u32>(),
        counts in prop::collection::vec(1..4_u32, 2..12),
        change in 1..12_usize,
        keys in prop::collection::vec(any::<u16>(), 12),
    ) {
        let datagrams = numbered(protocol, first, &counts, change);
        // The first stays first: what was before it cannot be missed. So does the last, which tells of doubtful ones
        // before it what they were.
        let last = datagrams.len() - 1;
        let mut order: Vec<usize> = (1..last).collect();
        order.sort_by_key(|&n| keys[n]);
        let mut collector = decoded(&datagrams[..1]);
        for n in order.into_iter().chain([last]) {
            collector.take(&datagrams[n]).unwrap();
        }
        let counts_now = collector.counts();
        prop_assert_eq!((counts_now.lost, counts_now.restarts, counts_now.held_sets), (0, 0, 0));
        prop_assert_eq!(counts_now.records, u64::from(counts.iter().sum::<u32>()));
    }
}

/// A datagram of so many records for each of `counts`; those of v9 and IPFIX define a second template in the datagram
/// `change`, and use that from there on.
fn numbered(protocol: u8, first: u32, counts: &[u32], change: usize) -> Vec<Vec<u8>> {
    let fields = [(1, 4), (2, 4)];
    let mut before = first;
    let datagram = |(n, &count): (usize, &u32)| {
        let number = before;
        before = before.wrapping_add(if matches!(protocol, 0 | 2) { count } else { 1 });
        let data = |id| {
            let record = |body: Octets, k: u32| body.u32(100 + k).u32(1);
            set(id, (0..count).fold(octets(), record))
        };
        let (define, id) = match n {
            0 => (Some(300), 300),
            _ if n == change => (Some(301), 301),
            _ => (None, if n < change { 300 } else { 301 }),
        };
        let sets = |of: u16| {
            define.map(|id| set(of, template(id, &fields))).into_iter().chain([data(id)]).collect::<Vec<_>>()
        };
        match protocol {
            0 => v5(number, 1, 0, &(0..count).map(|k| v5_record(1, k + 1)).collect::<Vec<_>>()),
            1 => v9(number, 1, &sets(0)),
            2 => ipfix(number, 1, &sets(2)),
            _ => {
                let sample = |k| {
                    sflow::flow_sample(
                        100 * u32::try_from(n).unwrap() + k,
                        &[sflow::raw_header(1, 100, &sflow::frame())],
                    )
                };
                sflow::datagram(number, &(0..count).map(sample).collect::<Vec<_>>())
            }
        }
    };
    counts.iter().enumerate().map(datagram).collect()
}
