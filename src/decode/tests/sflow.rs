//! sFlow version 5 datagrams, built word by word.

use proptest::prelude::*;

use super::build::*;
use crate::decode::{Error, ErrorKind, Fate};
use crate::flow::{Address, Family, FlowRecord, Observed, SamplerRef};
use crate::units::{Asn, IfIndex, RateSource, SamplingRate, UnixMillis};

/// A datagram of agent 192.0.2.1, sub-agent 7, up for 1000 s.
pub(crate) fn datagram(number: u32, samples: &[Octets]) -> Vec<u8> {
    datagram_of(octets().u32(1).u32(0xc000_0201), 7, number, 1_000_000, samples)
}

pub(super) fn datagram_of(
    agent: Octets,
    sub_agent: u32,
    number: u32,
    uptime: u32,
    samples: &[Octets],
) -> Vec<u8> {
    let count = u32::try_from(samples.len()).unwrap();
    let head = octets().u32(5).bytes(&agent.0).u32(sub_agent).u32(number).u32(uptime).u32(count);
    samples.iter().fold(head, |head, sample| head.bytes(&sample.0)).0
}

/// A format and a length before `body`: a sample or a flow record.
fn tagged(format: u32, body: &Octets) -> Octets {
    octets().u32(format).u32(u32::try_from(body.0.len()).unwrap()).bytes(&body.0)
}

/// A flow sample of source 0:3, rate 1 in 512, from interface 3 to 4.
pub(crate) fn flow_sample(sequence: u32, records: &[Octets]) -> Octets {
    flow_sample_of([sequence, 3, 512, sequence.wrapping_mul(512), 0, 3, 4], records)
}

/// A flow sample: sequence, source, rate, pool, drops, input, output.
pub(super) fn flow_sample_of(head: [u32; 7], records: &[Octets]) -> Octets {
    tagged(1, &sample_body(&head, records))
}

fn sample_body(head: &[u32], records: &[Octets]) -> Octets {
    let body = head.iter().fold(octets(), |body, &word| body.u32(word));
    let body = body.u32(u32::try_from(records.len()).unwrap());
    records.iter().fold(body, |body, record| body.bytes(&record.0))
}

/// A raw packet header.
pub(crate) fn raw_header(protocol: u32, length: u32, header: &[u8]) -> Octets {
    let body = octets().u32(protocol).u32(length).u32(4).u32(u32::try_from(header.len()).unwrap());
    let padding = header.len().next_multiple_of(4) - header.len();
    tagged(1, &body.bytes(header).bytes(&[0; 3][..padding]))
}

/// An Ethernet frame in VLAN 100: 10.1.2.3:53 to 203.0.113.9:40000 over UDP. 46 octets.
pub(crate) fn frame() -> Vec<u8> {
    let ethernet = octets().bytes(&[0; 12]).u16(0x8100).u16(100).u16(0x0800);
    let ip =
        ethernet.u8(0x45).u8(0x20).u16(1400).u32(0).u8(64).u8(17).u16(0).u32(0x0a01_0203).u32(0xcb00_7109);
    ip.u16(53).u16(40_000).u16(1380).u16(0).0
}

fn switch(vlan: u32) -> Octets {
    tagged(1001, &octets().u32(vlan).u32(0).u32(200).u32(0))
}

fn router(next_hop: u32) -> Octets {
    tagged(1002, &octets().u32(1).u32(next_hop).u32(24).u32(22))
}

/// Own AS 65000, source AS 65001, peer 65002, and a path.
fn gateway(path: &[&[u32]]) -> Octets {
    let sequences: Vec<_> = path.iter().map(|&segment| (2, segment)).collect();
    gateway_of(&sequences)
}

/// The same by the kinds of its segments: 1 is a set, 2 a sequence.
fn gateway_of(path: &[(u32, &[u32])]) -> Octets {
    let body = octets().u32(1).u32(0xc633_6401).u32(65_000).u32(65_001).u32(65_002);
    let body = body.u32(u32::try_from(path.len()).unwrap());
    let body = path.iter().fold(body, |body, &(kind, segment)| {
        let body = body.u32(kind).u32(u32::try_from(segment.len()).unwrap());
        segment.iter().fold(body, |body, &asn| body.u32(asn))
    });
    // Two communities and the local preference.
    tagged(1003, &body.u32(2).u32(1).u32(2).u32(100))
}

fn stated(rate: u64, source: RateSource) -> SamplerRef {
    SamplerRef::Stated(SamplingRate::new(rate, 1, source).unwrap())
}

/// The one record of a datagram with one sample.
fn only(sample: Octets) -> FlowRecord {
    let collector = decoded(&[datagram(1, &[sample])]);
    assert_eq!(collector.out.records.len(), 1);
    collector.out.records[0]
}

/// Of a route that was aggregated nobody knows whose the destination is, unless the set has one member.
#[test]
fn a_path_that_ends_with_a_set_has_no_known_origin() {
    let destination = |path: &[(u32, &[u32])]| {
        only(flow_sample(1, &[gateway_of(path), raw_header(1, 1422, &frame())])).destination_as.0
    };
    assert_eq!(destination(&[(2, &[65_002]), (1, &[65_003, 65_004])]), 0);
    assert_eq!(destination(&[(2, &[65_002]), (1, &[65_003])]), 65_003);
    assert_eq!(destination(&[(1, &[65_003, 65_004]), (2, &[65_005])]), 65_005);
}

#[test]
fn a_sample_with_everything() {
    let records = [
        switch(101),
        router(0xc633_6402),
        gateway(&[&[65_002, 65_003], &[65_004]]),
        raw_header(1, 1422, &frame()),
    ];
    let flow = only(flow_sample(1, &records));
    let now = UnixMillis(EXPORT_MS);
    let expected = FlowRecord {
        source: Address(0x0a01_0203),
        destination: Address(0xcb00_7109),
        next_hop: Address(0xc633_6402),
        octets: crate::units::Octets::new(1422),
        packets: crate::units::Packets::new(1),
        start: now,
        end: now,
        sampler: stated(512, RateSource::Record),
        rate: SamplingRate::NOT_ANNOUNCED,
        domain: 7,
        input: IfIndex(3),
        output: IfIndex(4),
        source_as: Asn(65_001),
        destination_as: Asn(65_004),
        exporter: crate::ids::ExporterId(7),
        source_port: 53,
        destination_port: 40_000,
        vlan: 101,
        template: 0,
        tcp_flags: 0,
        family: Family::V4,
        protocol: 17,
        tos: 0x20,
        source_mask: 24,
        destination_mask: 22,
        forwarding_status: 0,
        observed: Observed::Ingress,
        networks: false,
        second: false,
    };
    assert_eq!(flow, expected);
    // Without the switch's word the tag of the frame says the VLAN; without a router the next hop is BGP's.
    let flow = only(flow_sample(1, &[gateway(&[]), raw_header(1, 1422, &frame())]));
    assert_eq!((flow.vlan, flow.next_hop, flow.destination_as), (100, Address(0xc633_6401), Asn(0)));
    // A rate of 0 is none.
    assert_eq!(
        only(flow_sample_of([1, 3, 0, 0, 0, 3, 4], &[raw_header(1, 9, &[])])).sampler,
        SamplerRef::Silent
    );
}

#[test]
fn which_length_is_the_octets() {
    let ethernet = tagged(2, &octets().u32(900).bytes(&[0; 16]).u32(0x0800));
    let v4 = [800, 6, 0x0a00_0001, 0x0a00_0002, 80, 50_000, 0x12, 0x20];
    let v4 = tagged(3, &v4.iter().fold(octets(), |body, &word| body.u32(word)));
    let v6 = octets().u32(700).u32(17).bytes(&[1; 16]).bytes(&[2; 16]).u32(53).u32(60_000).u32(0).u32(0);
    let v6 = tagged(4, &v6);
    let raw = raw_header(1, 1000, &frame());
    for (records, octets, family) in [
        (vec![raw.clone(), ethernet.clone(), v4.clone()], 1000, Family::V4),
        (vec![v4.clone(), ethernet.clone(), raw], 1000, Family::V4),
        (vec![ethernet.clone(), v4.clone()], 900, Family::V4),
        (vec![ethernet], 900, Family::Other),
        (vec![v4.clone()], 800, Family::V4),
        (vec![v6.clone()], 700, Family::V6),
    ] {
        let flow = only(flow_sample(1, &records));
        assert_eq!((flow.octets.as_u64(), flow.packets.as_u64(), flow.family), (octets, 1, family));
    }
    let flow = only(flow_sample(1, &[v4]));
    assert_eq!((flow.source, flow.destination), (Address(0x0a00_0001), Address(0x0a00_0002)));
    assert_eq!((flow.source_port, flow.destination_port), (80, 50_000));
    assert_eq!((flow.protocol, flow.tcp_flags, flow.tos), (6, 0x12, 0x20));
    let flow = only(flow_sample(1, &[v6]));
    assert_eq!(flow.source, Address(u128::from_be_bytes([1; 16])));
    // Of a sample with none of them nobody knows how much it was.
    let collector = decoded(&[datagram(1, &[flow_sample(1, &[switch(5)])])]);
    assert!(collector.out.records.is_empty());
    assert_eq!((collector.counts().records, collector.counts().not_volume), (1, 1));
}

/// A frame length of 0 says nothing: not that the packet had no octets.
#[test]
fn a_length_of_0_is_none() {
    let ethernet = |length| tagged(2, &octets().u32(length).bytes(&[0; 16]).u32(0x0800));
    let raw = |length, header: &[u8]| raw_header(1, length, header);
    for (records, octets) in [
        (vec![raw(0, &frame()), ethernet(900)], 900),
        // Ethernet, a tag, and a packet of 1400 octets by its own header.
        (vec![raw(0, &frame())], 1418),
        (vec![ethernet(0), raw(0, &frame())], 1418),
    ] {
        assert_eq!(only(flow_sample(1, &records)).octets.as_u64(), octets);
    }
    // Of one that is not IP nobody says anything.
    let collector = decoded(&[datagram(1, &[flow_sample(1, &[raw(0, &[0; 30])])])]);
    assert_eq!((collector.counts().records, collector.counts().not_volume), (1, 1));
    assert!(collector.out.records.is_empty());
}

/// A sample is of one packet: where its header is there twice, the first one counts, whatever follows.
#[test]
fn the_first_header_of_a_sample_counts() {
    let other = octets().bytes(&frame()[..14]).bytes(&[0; 20]);
    for second in [raw_header(1, 64, &other.0), raw_header(5, 64, &[]), raw_header(1, 0, &[])] {
        let flow = only(flow_sample(1, &[raw_header(1, 1000, &frame()), second]));
        assert_eq!((flow.octets.as_u64(), flow.packets.as_u64()), (1000, 1));
        assert_eq!((flow.family, flow.source_port), (Family::V4, 53));
    }
}

#[test]
fn headers_of_other_links() {
    let packet = &frame()[18..];
    let mpls = [&[0, 1, 3, 0xff][..], packet].concat();
    let ppp = [&[0xff, 3, 0, 0x21][..], packet].concat();
    for (protocol, header, family) in [
        (11, packet, Family::V4),
        (13, &mpls, Family::V4),
        (14, &ppp, Family::V4),
        (7, &ppp[2..], Family::V4),
        // Frame relay is volume, whoever it belongs to.
        (5, packet, Family::Other),
    ] {
        let flow = only(flow_sample(1, &[raw_header(protocol, 1404, header)]));
        assert_eq!((flow.family, flow.octets.as_u64()), (family, 1404), "{protocol}");
        assert_eq!(flow.source_port, if family == Family::V4 { 53 } else { 0 });
    }
}

#[test]
fn interfaces() {
    let raw = [raw_header(1, 100, &frame())];
    let compact = |input, output| only(flow_sample_of([1, 3, 512, 512, 0, input, output], &raw));
    let expanded = |input: (u32, u32), output: (u32, u32)| {
        let head = [1, 0, 3, 512, 512, 0, input.0, input.1, output.0, output.1];
        only(tagged(3, &sample_body(&head, &raw)))
    };
    for (flow, input, output, status, observed) in [
        (compact(3, 4), 3, 4, 0, Observed::Ingress),
        (compact(4, 3), 4, 3, 0, Observed::Egress),
        (compact(5, 6), 5, 6, 0, Observed::Unknown),
        (compact(3, 3), 3, 3, 0, Observed::Unknown),
        // From and for the exporter itself.
        (compact(0x3fff_ffff, 4), 0, 4, 0, Observed::Unknown),
        (compact(3, 0x3fff_ffff), 3, 0, 0, Observed::Ingress),
        // Discarded: by an access list (258), no route (0), for an unknown reason (256), by a policer (261).
        (compact(3, 0x4000_0000 | 258), 3, 0, 129, Observed::Ingress),
        (compact(3, 0x4000_0000), 3, 0, 131, Observed::Ingress),
        (compact(3, 0x4000_0000 | 256), 3, 0, 128, Observed::Ingress),
        (compact(3, 0x4000_0000 | 261), 3, 0, 138, Observed::Ingress),
        // To six interfaces.
        (compact(3, 0x8000_0006), 3, 0, 0, Observed::Ingress),
        (expanded((0, 3), (0, 0x1234_5678)), 3, 0x1234_5678, 0, Observed::Ingress),
        (expanded((0, 3), (1, 257)), 3, 0, 137, Observed::Ingress),
        (expanded((0, 3), (2, 6)), 3, 0, 0, Observed::Ingress),
        (expanded((0, 0x3fff_ffff), (0, 4)), 0, 4, 0, Observed::Unknown),
        (expanded((0, u32::MAX), (0, 4)), 0, 4, 0, Observed::Unknown),
    ] {
        assert_eq!((flow.input, flow.output), (IfIndex(input), IfIndex(output)));
        assert_eq!((flow.forwarding_status, flow.observed), (status, observed));
        assert_eq!(flow.is_dropped(), status != 0);
    }
}

#[test]
fn what_is_no_volume_is_counted_and_skipped() {
    // Interface counters, their expanded form, a discard notification, and a vendor's sample.
    let discard = octets().u32(1).u32(0).u32(3).u32(0).u32(3).u32(0).u32(258).u32(1);
    let discard = discard.bytes(&raw_header(1, 900, &frame()).0);
    let samples = [
        tagged(2, &octets().u32(1).u32(3).u32(1).bytes(&tagged(1, &octets().bytes(&[0; 88])).0)),
        tagged(4, &octets().u32(1).u32(0).u32(3).u32(0)),
        tagged(5, &discard),
        tagged(1991 << 12 | 1, &octets().u32(7)),
        // A vendor's flow record, and MPLS's, in a sample that counts.
        flow_sample(
            1,
            &[
                tagged(9 << 12 | 1, &octets().u32(1)),
                tagged(1006, &octets().u32(0)),
                raw_header(1, 64, &frame()),
            ],
        ),
    ];
    let collector = decoded(&[datagram(1, &samples)]);
    let counts = collector.counts();
    assert_eq!(collector.volumes(), [(1, 64)]);
    assert_eq!((counts.records, counts.raw_octets, counts.not_volume), (1, 64, 0));
    let sflow = counts.sflow;
    assert_eq!((sflow.flow_samples, sflow.counter_samples, sflow.discard_notifications), (1, 2, 1));
    assert_eq!(sflow.skipped_formats, 3);
}

#[test]
fn losses_duplicates_restarts_and_relays() {
    let one = |number: u32, uptime| {
        let agent = octets().u32(1).u32(0xc000_0201);
        let sample = flow_sample(number, &[raw_header(1, 100 + number, &frame())]);
        datagram_of(agent, 7, number, uptime, &[sample])
    };
    let mut collector = decoded(&[one(1, 1000), one(2, 2000), one(5, 5000)]);
    assert_eq!((collector.counts().lost, collector.counts().sflow.samples_lost), (2, 2));
    // A late one takes its loss back; a second copy is none.
    collector.take(&one(3, 3000)).unwrap();
    assert_eq!(collector.take(&one(3, 3000)), Ok(Fate::Duplicate));
    assert_eq!((collector.counts().lost, collector.counts().sflow.samples_lost), (1, 1));
    // Its uptime went back: it started anew, and nothing is lost by that.
    collector.take(&one(100_000, 4_000_000)).unwrap();
    collector.take(&one(1, 100)).unwrap();
    assert_eq!((collector.counts().lost, collector.counts().restarts), (1, 2));
    assert_eq!(collector.counts().sflow.other_agents, 0);
    // Another sub-agent and another agent have numbers of their own.
    for (agent, sub_agent) in [(octets().u32(1).u32(0xc000_0201), 8), (octets().u32(2).bytes(&[9; 16]), 7)] {
        for number in [70, 71] {
            collector.take(&datagram_of(agent.clone(), sub_agent, number, 1, &[])).unwrap();
        }
    }
    collector.take(&datagram_of(octets().u32(0), 7, 1, 1, &[])).unwrap();
    let counts = collector.counts();
    assert_eq!((counts.lost, counts.restarts, counts.sflow.other_agents), (1, 2, 3));
    assert_eq!((counts.datagrams, counts.duplicates, counts.malformed), (12, 1, 0));
    assert_eq!(collector.decoder.domains(), 4);
}

#[test]
fn a_pool_that_runs_ahead_raises_the_rate() {
    // One sample in ten makes it: 5120 packets each, and nine dropped.
    let sample = |n: u32| flow_sample_of([n, 3, 512, n * 5120, n * 9, 3, 4], &[raw_header(1, 100, &frame())]);
    let datagrams: Vec<Vec<u8>> = (1..=300).map(|n| datagram(n, &[sample(n)])).collect();
    let collector = decoded(&datagrams);
    let mut rates: Vec<(u32, RateSource)> = Vec::new();
    let mut packets = 0;
    for flow in &collector.out.records {
        let SamplerRef::Stated(rate) = flow.sampler else { panic!("no rate") };
        packets += u64::from(rate.numerator());
        rates.push((rate.numerator(), rate.source()));
    }
    // 299 steps of the pool and the first sample at its stated rate. To pay nine a sample up to 8 * 16 are owed, and some
    // more within a span.
    let passed = 299 * 5120 + 512;
    assert!((passed - (8 * 16 + 40) * 512..=passed).contains(&packets), "{packets} of {passed}");
    rates.sort_unstable();
    rates.dedup();
    assert_eq!(rates[0], (512, RateSource::Record));
    assert!(rates[1..].iter().all(|&(rate, source)| rate % 1024 == 0 && source == RateSource::Pool));
    assert!(rates.len() <= 7);
    assert_eq!(collector.counts().sflow.samples_dropped, 299 * 9);
    // Raw octets stay what they are.
    assert_eq!(collector.counts().raw_octets, 300 * 100);
}

#[test]
fn errors() {
    let whole = datagram(1, &[flow_sample(1, &[raw_header(1, 100, &frame())])]);
    let changed = |at: usize, word: u32| {
        let mut datagram = whole.clone();
        datagram[at..at + 4].copy_from_slice(&word.to_be_bytes());
        datagram
    };
    // The header: version, address type, address, sub-agent, number, uptime, samples at 24. The sample at 28: format,
    // length, then sequence (36), source, rate, pool, drops, input, output, records (64); its record at 68.
    for (datagram, kind, records) in [
        (vec![0, 0], ErrorKind::Truncated, 0),
        (changed(0, 4), ErrorKind::UnknownVersion, 0),
        (changed(4, 3), ErrorKind::AddressType, 0),
        (changed(24, 2), ErrorKind::Truncated, 1),
        (changed(32, 24), ErrorKind::RecordCut, 0),
        (changed(64, 2), ErrorKind::RecordCut, 1),
        (changed(72, 200), ErrorKind::RecordCut, 0),
        // A header that claims more than its record has: its frame's length is known all the same ... if there were
        // any.
        (changed(88, 100), ErrorKind::RecordCut, 0),
    ] {
        let mut collector = Collector::default();
        let error = collector.take(&datagram).unwrap_err();
        assert_eq!((error.kind(), collector.out.records.len()), (kind, records), "{error}");
        assert_eq!(collector.counts().malformed, 1);
    }
    // A sample that claims more than there is, whose records are all there (Brocade): counted, and told. With a record that
    // is not, or without its last octets, nothing of it is taken.
    let mut longer = whole.clone();
    let length = u32::from_be_bytes(*whole[32..].first_chunk().unwrap());
    longer[32..36].copy_from_slice(&(length + 4).to_be_bytes());
    let collector = decoded(std::slice::from_ref(&longer));
    assert_eq!((collector.volumes(), collector.counts().sflow.skipped_formats), (vec![(1, 100)], 1));
    let mut more_records = longer.clone();
    more_records[67] = 2;
    let mut more_samples = longer.clone();
    more_samples[27] = 2;
    for (datagram, records) in [(&more_records[..], 0), (&longer[..longer.len() - 4], 0), (&more_samples, 1)]
    {
        let mut collector = Collector::default();
        collector.take(datagram).unwrap_err();
        assert_eq!((collector.out.records.len(), collector.counts().malformed), (records, 1));
    }
    // Of other formats nobody knows what is whole.
    let mut counters = longer;
    counters[31] = 2;
    Collector::default().take(&counters).unwrap_err();
    assert_eq!(Collector::default().take(&changed(4, 3)), Err(Error::AddressType { kind: 3, offset: 4 }));
    // The header rules: octets behind its last sample are nothing.
    assert_eq!(
        (decoded(&[changed(24, 0)]).counts().records, decoded(std::slice::from_ref(&whole)).counts().records),
        (0, 1)
    );
    // An extended record that is too short does not cost the sample its volume.
    let short = [tagged(1002, &octets().u32(1)), raw_header(1, 100, &frame())];
    let mut collector = Collector::default();
    assert!(collector.take(&datagram(1, &[flow_sample(1, &short), flow_sample(2, &short[1..])])).is_err());
    assert_eq!(collector.volumes(), [(1, 100), (1, 100)]);
}

/// The pool of a source moves by three times the rate. Whether it is right the interface's own counters say: 1536 packets a
/// sample came in, over unicast, multicast and broadcast, and none of the other words of the record is any of them.
#[test]
fn counter_samples_bear_a_pool_out() {
    let generic = |index: u32, unicast: u32, others: [u32; 2]| {
        let words = [
            index, 6, 0, 1_000_000, 1, 3, 7, 7, unicast, others[0], others[1], 9, 9, 9, 7, 7, 5, 5, 5, 9, 9,
            0,
        ];
        tagged(1, &words.iter().fold(octets(), |body, &word| body.u32(word)))
    };
    let counter_sample = |is_expanded: bool, index: u32, n: u32| {
        let source: &[u32] = if is_expanded { &[0, 3] } else { &[3] };
        let head = [&[n / 40], source].concat();
        let others = if is_expanded { [u32::MAX; 2] } else { [100 * n, 36 * n] };
        let unicast = if is_expanded { 1536 * n } else { 1400 * n };
        let ethernet = tagged(2, &octets().u32(0).u32(0));
        let format = if is_expanded { 4 } else { 2 };
        tagged(format, &sample_body(&head, &[ethernet, generic(index, unicast, others)]))
    };
    let packets = |is_expanded: bool, index: u32, cut: usize| {
        let mut collector = Collector::default();
        for n in 1..=200 {
            let flow = flow_sample_of([n, 3, 512, n * 1536, 0, 3, 4], &[raw_header(1, 100, &frame())]);
            let mut samples = vec![flow];
            if n % 40 == 0 {
                let mut counters = counter_sample(is_expanded, index, n);
                counters.0.truncate(counters.0.len() - cut);
                let length = u32::try_from(counters.0.len() - 8).unwrap();
                counters.0[4..8].copy_from_slice(&length.to_be_bytes());
                samples.push(counters);
            }
            collector.take(&datagram(n, &samples)).unwrap();
        }
        let rate = |flow: &FlowRecord| match flow.sampler {
            SamplerRef::Stated(rate) => u64::from(rate.numerator()),
            _ => panic!("no rate"),
        };
        assert_eq!(collector.counts().sflow.counter_samples, 5);
        collector.out.records.iter().map(rate).sum::<u64>()
    };
    // The second counter sample is behind 80 samples. The spans closed until then are lost for the pool, two of 32; four are
    // believed then, 128 samples at three times the rate, but for what is owed at the end.
    for is_expanded in [false, true] {
        let found = packets(is_expanded, 3, 0);
        let most = (200 + 2 * 128) * 512;
        assert!((most - 64 * 512..=most).contains(&found), "{found}");
    }
    // Another interface's, and a record that ends before the packets that went out.
    assert_eq!((packets(false, 4, 0), packets(false, 3, 20)), (200 * 512, 200 * 512));
}

#[test]
fn agents_and_sources_are_bounded() {
    let mut collector = Collector::default();
    let agents = u32::try_from(collector.limits.domains).unwrap();
    for agent in 0..agents + 5 {
        let sample = flow_sample(1, &[raw_header(1, 10, &frame())]);
        collector.take(&datagram_of(octets().u32(1).u32(agent), 0, 1, 1, &[sample])).unwrap();
    }
    assert_eq!(collector.decoder.domains(), collector.limits.domains);
    assert_eq!(
        (collector.counts().domain_refusals, collector.counts().flows_emitted),
        (5, u64::from(agents) + 5)
    );

    let mut collector = Collector::default();
    for source in 0..5000_u32 {
        let sample = flow_sample_of([1, source, 512, 0, 0, 3, 4], &[raw_header(1, 10, &frame())]);
        collector.take(&datagram(source, &[sample])).unwrap();
    }
    assert_eq!(collector.counts().sflow.source_refusals, 5000 - 4096);
    assert_eq!((collector.counts().flows_emitted, collector.decoder.refused()), (5000, 5000 - 4096));
    // An hour later the silent ones give way.
    let sample = flow_sample_of([1, 9999, 512, 0, 0, 3, 4], &[raw_header(1, 10, &frame())]);
    collector.take_at(EXPORT_MS + 3_600_000, &datagram(5000, &[sample])).unwrap();
    assert_eq!(collector.counts().sflow.source_refusals, 5000 - 4096);
}

#[test]
fn a_checkpoint_at_any_point_changes_nothing() {
    // Drops, a loss, a duplicate, two sources and two agents.
    let sample = |source: u32, n: u32| {
        flow_sample_of([n, source, 512, n * 1500, n * 2, 3, 4], &[raw_header(1, 100, &frame())])
    };
    let mut datagrams: Vec<Vec<u8>> =
        (1..=80).filter(|n| n % 7 != 0).map(|n| datagram(n, &[sample(3, n), sample(4, n)])).collect();
    datagrams.insert(30, datagrams[29].clone());
    datagrams.insert(40, datagram_of(octets().u32(0), 1, 9, 9, &[sample(3, 9)]));
    let run = |save: bool| {
        let mut collector = Collector::default();
        for datagram in &datagrams {
            if save {
                let saved = postcard::to_stdvec(&collector.decoder).unwrap();
                collector.decoder = postcard::from_bytes(&saved).unwrap();
            }
            collector.take(datagram).unwrap();
        }
        (collector.counts(), collector.out.records)
    };
    let (counts, records) = run(false);
    assert!(records.iter().any(|flow| flow.sampler == stated(1024, RateSource::Pool)));
    assert_eq!((counts.duplicates, counts.lost, counts.sflow.samples_lost), (1, 11, 22));
    assert_eq!(run(true), (counts, records));
}

/// A datagram with all that is read.
fn rich() -> Vec<u8> {
    let v6 = octets().u32(700).u32(17).bytes(&[1; 16]).bytes(&[2; 16]).u32(53).u32(60_000).u32(0).u32(0);
    let records = [
        switch(101),
        router(1),
        gateway(&[&[1, 2], &[3]]),
        tagged(2, &octets().u32(900).bytes(&[0; 16]).u32(0x0800)),
        tagged(4, &v6),
        raw_header(1, 1422, &frame()[..45]),
    ];
    let head = [2, 0, 3, 512, 1024, 0, 0, 3, 1, 258];
    let expanded = tagged(3, &sample_body(&head, &records));
    datagram(
        1,
        &[flow_sample(1, &records), tagged(2, &octets().bytes(&[0; 100])), expanded, tagged(5, &octets())],
    )
}

#[test]
fn a_datagram_cut_at_every_octet() {
    let datagram = rich();
    let whole = decoded(std::slice::from_ref(&datagram));
    assert_eq!(whole.volumes(), [(1, 1422), (1, 1422)]);
    for cut in 0..datagram.len() {
        let mut collector = Collector::default();
        assert!(collector.take(&datagram[..cut]).is_err(), "cut at {cut}");
        let taken = &collector.out.records;
        assert_eq!(taken[..], whole.out.records[..taken.len()], "cut at {cut}");
        let counts = collector.counts();
        assert_eq!((counts.flows_emitted, counts.malformed), (taken.len() as u64, 1));
    }
}

proptest! {
    /// Words changed at random: nothing panics, and every sample is a record or is not.
    #[test]
    fn changed_words(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>(), 0..30_u32), 1..6)) {
        let mut datagram = rich();
        for (at, word, shift) in changes {
            let at = at.index(datagram.len() / 4) * 4;
            datagram[at..at + 4].copy_from_slice(&(word >> shift).to_be_bytes());
        }
        let mut collector = Collector::default();
        let _ = collector.take(&datagram);
        let counts = collector.counts();
        prop_assert_eq!(counts.datagrams, counts.decoded + counts.malformed);
        prop_assert_eq!(counts.flows_emitted + counts.not_volume, counts.records);
        prop_assert_eq!(counts.flows_emitted, collector.out.records.len() as u64);
        let octets: u64 = collector.out.records.iter().map(|flow| flow.octets.as_u64()).sum();
        prop_assert_eq!(octets, counts.raw_octets);
    }

    #[test]
    fn noise_behind_a_header(noise in prop::collection::vec(any::<u8>(), 0..400), format in 0..6_u32, samples in 0..9_u32) {
        let head = octets().u32(5).u32(1).u32(1).u32(0).u32(1).u32(1).u32(samples).u32(format);
        let mut collector = Collector::default();
        let _ = collector.take(&head.u32(u32::try_from(noise.len()).unwrap()).bytes(&noise).0);
        prop_assert_eq!(collector.counts().flows_emitted, collector.out.records.len() as u64);
    }
}
