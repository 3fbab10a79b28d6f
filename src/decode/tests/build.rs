//! Builds export datagrams.

use crate::decode::{Counts, Decoded, Error, ExporterDecoder, Fate, Limits};
use crate::flow::FlowRecord;
use crate::ids::ExporterId;
use crate::units::UnixMillis;

/// Export time of every datagram that does not say otherwise: 2026-01-01T00:00:00Z.
pub(crate) const EXPORT: u32 = 1_767_225_600;

/// The same in milliseconds.
pub(crate) const EXPORT_MS: i64 = 1_767_225_600_000;

/// Uptime in v5 and v9 headers that do not say otherwise.
pub(crate) const UPTIME: u32 = 1_000_000;

/// Octets, in network order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Octets(pub(crate) Vec<u8>);

impl Octets {
    pub(crate) fn u8(mut self, n: u8) -> Self {
        self.0.push(n);
        self
    }
    pub(crate) fn u16(mut self, n: u16) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    pub(crate) fn u32(mut self, n: u32) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    pub(crate) fn u64(mut self, n: u64) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
    /// `n` in `len` octets.
    pub(crate) fn uint(mut self, n: u64, len: usize) -> Self {
        let bytes = n.to_be_bytes();
        let skip = bytes.len().saturating_sub(len);
        self.0.extend(std::iter::repeat_n(0, len.saturating_sub(8)));
        self.0.extend(&bytes[skip..]);
        self
    }
}

pub(crate) fn octets() -> Octets {
    Octets::default()
}

/// A set: id, length, body.
pub(crate) fn set(id: u16, body: Octets) -> Octets {
    let length = u16::try_from(body.0.len() + 4).unwrap();
    octets().u16(id).u16(length).bytes(&body.0)
}

/// A template record; elements above 15 bits are (enterprise << 16 | element).
pub(crate) fn template(id: u16, fields: &[(u64, u16)]) -> Octets {
    specifiers(octets().u16(id).u16(u16::try_from(fields.len()).unwrap()), fields)
}

/// An IPFIX options template record.
pub(crate) fn options_template(id: u16, scopes: u16, fields: &[(u64, u16)]) -> Octets {
    specifiers(octets().u16(id).u16(u16::try_from(fields.len()).unwrap()).u16(scopes), fields)
}

/// A v9 options template record.
pub(crate) fn options_template9(id: u16, scopes: &[(u64, u16)], fields: &[(u64, u16)]) -> Octets {
    let lengths = |fields: &[(u64, u16)]| u16::try_from(fields.len() * 4).unwrap();
    let head = octets().u16(id).u16(lengths(scopes)).u16(lengths(fields));
    specifiers(specifiers(head, scopes), fields)
}

fn specifiers(mut out: Octets, fields: &[(u64, u16)]) -> Octets {
    for &(element, length) in fields {
        let enterprise = u32::try_from(element >> 16).unwrap();
        let number = u16::try_from(element & 0xffff).unwrap();
        out = if enterprise == 0 {
            out.u16(number).u16(length)
        } else {
            out.u16(number | 0x8000).u16(length).u32(enterprise)
        };
    }
    out
}

/// An element of an enterprise.
pub(crate) const fn enterprise(number: u64, element: u64) -> u64 {
    number << 16 | element
}

/// An IPFIX message.
pub(crate) fn ipfix(sequence: u32, domain: u32, sets: &[Octets]) -> Vec<u8> {
    ipfix_at(EXPORT, sequence, domain, sets)
}

pub(crate) fn ipfix_at(export: u32, sequence: u32, domain: u32, sets: &[Octets]) -> Vec<u8> {
    let body: Vec<u8> = sets.iter().flat_map(|set| set.0.clone()).collect();
    let length = u16::try_from(body.len() + 16).unwrap();
    octets().u16(10).u16(length).u32(export).u32(sequence).u32(domain).bytes(&body).0
}

/// A v9 datagram.
pub(crate) fn v9(sequence: u32, domain: u32, sets: &[Octets]) -> Vec<u8> {
    v9_at(UPTIME, EXPORT, sequence, domain, sets)
}

pub(crate) fn v9_at(uptime: u32, export: u32, sequence: u32, domain: u32, sets: &[Octets]) -> Vec<u8> {
    let body: Vec<u8> = sets.iter().flat_map(|set| set.0.clone()).collect();
    let count = u16::try_from(sets.len()).unwrap();
    octets().u16(9).u16(count).u32(uptime).u32(export).u32(sequence).u32(domain).bytes(&body).0
}

/// A v5 datagram; `sampling` is the header's last word.
pub(crate) fn v5(sequence: u32, engine: u16, sampling: u16, records: &[Octets]) -> Vec<u8> {
    let body: Vec<u8> = records.iter().flat_map(|record| record.0.clone()).collect();
    let count = u16::try_from(records.len()).unwrap();
    let head = octets().u16(5).u16(count).u32(UPTIME).u32(EXPORT).u32(0).u32(sequence);
    head.u16(engine).u16(sampling).bytes(&body).0
}

/// A v5 record of 10.0.0.1 to 10.0.0.2, first seen 5 s and last seen 1 s before the header.
pub(crate) fn v5_record(packets: u32, bytes: u32) -> Octets {
    octets()
        .u32(0x0a00_0001)
        .u32(0x0a00_0002)
        .u32(0x0a00_00fe)
        .u16(3)
        .u16(4)
        .u32(packets)
        .u32(bytes)
        .u32(UPTIME - 5000)
        .u32(UPTIME - 1000)
        .u16(1234)
        .u16(443)
        .u8(0)
        .u8(0x1b)
        .u8(6)
        .u8(0xb8)
        .u16(65_001)
        .u16(65_002)
        .u8(24)
        .u8(16)
        .u16(0)
}

/// A v1 datagram.
pub(crate) fn v1(uptime: u32, records: &[Octets]) -> Vec<u8> {
    let body: Vec<u8> = records.iter().flat_map(|record| record.0.clone()).collect();
    let count = u16::try_from(records.len()).unwrap();
    octets().u16(1).u16(count).u32(uptime).u32(EXPORT).u32(0).bytes(&body).0
}

/// A v1 record of 10.0.0.1 to 10.0.0.2, first seen 5 s and last seen 1 s before the header.
pub(crate) fn v1_record(packets: u32, bytes: u32) -> Octets {
    octets()
        .u32(0x0a00_0001)
        .u32(0x0a00_0002)
        .u32(0x0a00_00fe)
        .u16(3)
        .u16(4)
        .u32(packets)
        .u32(bytes)
        .u32(UPTIME - 5000)
        .u32(UPTIME - 1000)
        .u16(1234)
        .u16(443)
        .u16(0)
        .u8(6)
        .u8(0xb8)
        .u8(0x1b)
        .bytes(&[0; 7])
}

/// A v7 datagram; `reserved` is the header's last word.
pub(crate) fn v7(sequence: u32, reserved: u32, records: &[Octets]) -> Vec<u8> {
    let body: Vec<u8> = records.iter().flat_map(|record| record.0.clone()).collect();
    let count = u16::try_from(records.len()).unwrap();
    octets().u16(7).u16(count).u32(UPTIME).u32(EXPORT).u32(0).u32(sequence).u32(reserved).bytes(&body).0
}

/// A v7 record: that of v5, with flags where v5 has padding, and the bypassed router 10.0.0.254.
pub(crate) fn v7_record(packets: u32, bytes: u32) -> Octets {
    let mut record = v5_record(packets, bytes);
    record.0[36] = 0x03;
    record.0[46..].copy_from_slice(&[0x00, 0x05]);
    record.u32(0x0a00_00fe)
}

/// A v8 datagram; `sampling` is the upper half of the header's last word.
pub(crate) fn v8(sequence: u32, engine: u16, scheme: u8, sampling: u16, records: &[Octets]) -> Vec<u8> {
    let body: Vec<u8> = records.iter().flat_map(|record| record.0.clone()).collect();
    let count = u16::try_from(records.len()).unwrap();
    let head = octets().u16(8).u16(count).u32(UPTIME).u32(EXPORT).u32(0).u32(sequence);
    head.u16(engine).u8(scheme).u8(2).u16(sampling).u16(0).bytes(&body).0
}

/// The four words that stand together in each v8 record: packets, octets, uptimes 5 s and 1 s before the header.
pub(crate) fn v8_counters(packets: u32, bytes: u32) -> Octets {
    octets().u32(packets).u32(bytes).u32(UPTIME - 5000).u32(UPTIME - 1000)
}

/// A v8 record by AS numbers (scheme 1): two flows, AS 65001 to 65002, interface 3 to 4.
pub(crate) fn v8_record(packets: u32, bytes: u32) -> Octets {
    let counters = v8_counters(packets, bytes).0;
    octets().u32(2).bytes(&counters).u16(65_001).u16(65_002).u16(3).u16(4)
}

/// A decoder with everything that it has yielded.
#[derive(Default)]
pub(crate) struct Collector {
    pub(crate) decoder: ExporterDecoder,
    pub(crate) out: Decoded,
    pub(crate) limits: Limits,
}

impl Collector {
    pub(crate) fn take(&mut self, datagram: &[u8]) -> Result<Fate, Error> {
        self.take_at(EXPORT_MS, datagram)
    }

    pub(crate) fn take_at(&mut self, received: i64, datagram: &[u8]) -> Result<Fate, Error> {
        self.decoder.datagram(ExporterId(7), &self.limits, UnixMillis(received), datagram, &mut self.out)
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.decoder.counts()
    }

    pub(crate) fn volumes(&self) -> Vec<(u64, u64)> {
        volumes(&self.out.records)
    }
}

/// Packets and octets of each record.
pub(crate) fn volumes(records: &[FlowRecord]) -> Vec<(u64, u64)> {
    records.iter().map(|record| (record.packets.as_u64(), record.octets.as_u64())).collect()
}

/// A collector that has taken `datagrams`, none of them malformed.
pub(crate) fn decoded(datagrams: &[Vec<u8>]) -> Collector {
    let mut collector = Collector::default();
    for datagram in datagrams {
        collector.take(datagram).unwrap();
    }
    collector
}
