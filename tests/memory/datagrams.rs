//! Export datagrams of the four protocols that are in wide use, and of somebody who means harm.

use core::net::IpAddr;
use std::sync::Arc;

use fluxoscope::classify::Versions;
use fluxoscope::counters::Counters;
use fluxoscope::processor::exporters::Exporters;
use fluxoscope::processor::{Config, StreamProcessor};
use fluxoscope::units::UnixMillis;

/// 2026-01-15T00:00:00Z, the beginning of a bucket.
pub(crate) const EXPORT: u32 = 1_768_435_200;

/// Reception of everything.
pub(crate) const NOW: UnixMillis = UnixMillis(EXPORT as i64 * 1000);

/// A processor that takes anybody's datagrams.
pub(crate) fn processor(config: Config) -> (StreamProcessor, Arc<Counters>, Arc<Exporters>) {
    let counters = Arc::new(Counters::new(1, 0));
    let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
    registry.configure(&[], true, Arc::new(Versions::new(Vec::new())));
    let processor = StreamProcessor::new(0, config, Arc::clone(&registry), Arc::clone(&counters));
    (processor, counters, registry)
}

pub(crate) fn address(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

/// Words of 32 bits, in network order.
pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Words of 16 bits.
pub(crate) fn halves(halves: &[u16]) -> Vec<u8> {
    halves.iter().flat_map(|half| half.to_be_bytes()).collect()
}

/// A set: id, length, body.
pub(crate) fn set(id: u16, body: &[u8]) -> Vec<u8> {
    [&halves(&[id, u16::try_from(body.len() + 4).unwrap()])[..], body].concat()
}

/// A template record of elements and lengths.
pub(crate) fn template(id: u16, fields: &[(u16, u16)]) -> Vec<u8> {
    let mut out = halves(&[id, u16::try_from(fields.len()).unwrap()]);
    out.extend(fields.iter().flat_map(|&(element, length)| halves(&[element, length])));
    out
}

/// An IPFIX options template record with one scope field.
pub(crate) fn options_template(id: u16, fields: &[(u16, u16)]) -> Vec<u8> {
    let mut out = halves(&[id, u16::try_from(fields.len()).unwrap(), 1]);
    out.extend(fields.iter().flat_map(|&(element, length)| halves(&[element, length])));
    out
}

pub(crate) fn ipfix(sequence: u32, domain: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    let body = sets.concat();
    let head = halves(&[10, u16::try_from(body.len() + 16).unwrap()]);
    [head, words(&[EXPORT, sequence, domain]), body].concat()
}

pub(crate) fn v9(sequence: u32, domain: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    let head = halves(&[9, u16::try_from(sets.len()).unwrap()]);
    [head, words(&[1_000_000, EXPORT, sequence, domain]), sets.concat()].concat()
}

/// 30 records of NetFlow v5, of 1000 octets and 10 packets each, sampled one in 100.
pub(crate) fn v5(sequence: u32) -> Vec<u8> {
    let mut out =
        [halves(&[5, 30]), words(&[1_000_000, EXPORT, 0, sequence]), halves(&[0, 0x4000 | 100])].concat();
    for n in 0..30 {
        out.extend(words(&[0x0a00_0000 + n, 0x1400_0001, 0]));
        out.extend(halves(&[3, 4]));
        out.extend(words(&[10, 1000, 1_000_000, 1_000_000]));
        out.extend(halves(&[1234, 443]));
        out.extend([0, 0x1b, 6, 0]);
        out.extend([0; 8]);
    }
    out
}

/// Addresses, octets, packets, times, protocol and ports.
const FIELDS: [(u16, u16); 8] = [(8, 4), (12, 4), (1, 8), (2, 8), (22, 4), (21, 4), (4, 1), (7, 2)];

/// So many records of [`FIELDS`], of 1000 octets and 10 packets each.
fn records(count: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..count {
        out.extend(words(&[0x0a00_0000 + n, 0x1400_0001, 0, 1000, 0, 10, 1_000_000, 1_000_000]));
        out.extend([6, 4, 210]);
    }
    out
}

/// A NetFlow v9 datagram of 30 records; with its templates and its domain's rate of one in 50, if wanted.
pub(crate) fn v9_flows(sequence: u32, with_templates: bool) -> Vec<u8> {
    let mut sets = Vec::new();
    if with_templates {
        sets.push(set(0, &template(256, &FIELDS)));
        // Scope system; elements 34 and 35 (RFC 3954 6.1).
        sets.push(set(1, &halves(&[300, 4, 8, 1, 4, 34, 4, 35, 1])));
        sets.push(set(300, &[words(&[0, 50]), vec![1]].concat()));
    }
    sets.push(set(256, &records(30)));
    v9(sequence, 7, &sets)
}

/// The same in IPFIX, with times in milliseconds and a sampler of one in 100 that the records name.
pub(crate) fn ipfix_flows(sequence: u32, with_templates: bool) -> Vec<u8> {
    let mut sets = Vec::new();
    if with_templates {
        let fields = [(8, 4), (12, 4), (1, 8), (2, 8), (152, 8), (153, 8), (4, 1), (302, 4)];
        sets.push(set(2, &template(256, &fields)));
        sets.push(set(3, &options_template(300, &[(302, 4), (304, 2), (305, 4), (306, 4)])));
        sets.push(set(300, &[words(&[5]), halves(&[1]), words(&[1, 99])].concat()));
    }
    let mut body = Vec::new();
    for n in 0..30 {
        body.extend(words(&[0x0a00_0000 + n, 0x1400_0001, 0, 1000, 0, 10]));
        body.extend(NOW.0.to_be_bytes());
        body.extend(NOW.0.to_be_bytes());
        body.push(6);
        body.extend(words(&[5]));
    }
    sets.push(set(256, &body));
    ipfix(sequence, 7, &sets)
}

/// An sFlow datagram of four samples of an Ethernet frame with IPv4, one in 100.
pub(crate) fn sflow(sequence: u32, agent: u32, source: u32) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend(halves(&[0x0800, 0x4500, 1486, 1, 0, 0x4011, 0]));
    frame.extend(words(&[0x0a00_0001, 0x1400_0001]));
    frame.extend(halves(&[1234, 443, 1466, 0, 0]));
    let octets = u32::try_from(frame.len()).unwrap();
    assert_eq!(octets % 4, 0);
    let mut out = words(&[5, 1, agent, 0, sequence, 1000 + sequence, 4]);
    for n in 0..4 {
        let sample = sequence * 4 + n;
        out.extend(words(&[1, 32 + 24 + octets, sample, source, 100, sample.wrapping_mul(100), 0, 3, 4, 1]));
        out.extend(words(&[1, 16 + octets, 1, 1500, 4, octets]));
        out.extend(&frame);
    }
    out
}
