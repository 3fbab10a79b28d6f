//! Export datagrams, written octet by octet: NetFlow v5, NetFlow v9 (RFC 3954) and IPFIX (RFC 7011). Those of sFlow are
//! in `sflow`.

use core::net::SocketAddr;

use super::Protocol;
use super::sflow::Pools;
use crate::flow::Family;
use crate::units::UnixMillis;

/// Octets of payload that a datagram holds at most: below what Ethernet carries unfragmented.
const PAYLOAD_MAX: usize = 1400;
/// Records in a v5 datagram.
const V5_RECORDS: usize = 30;
/// Templates are sent again with every so many datagrams.
const TEMPLATES_EVERY: u32 = 64;
/// The observation domain of v9 and IPFIX.
const DOMAIN: u32 = 1;
const TEMPLATE_V4: u16 = 256;
const TEMPLATE_V6: u16 = 257;
const TEMPLATE_SAMPLING: u16 = 258;

/// Fields of a v9 record: element and length (RFC 3954 section 8). The first three differ by family, as do the masks.
const V9_FIELDS: [(u16, u16); 20] = [
    (8, 4),
    (12, 4),
    (15, 4),
    (10, 4),
    (14, 4),
    (2, 4),
    (1, 4),
    (22, 4),
    (21, 4),
    (7, 2),
    (11, 2),
    (6, 1),
    (4, 1),
    (5, 1),
    (16, 4),
    (17, 4),
    (9, 1),
    (13, 1),
    (61, 1),
    (89, 1),
];

/// One flow, as a router would know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) family: Family,
    pub(super) source: u128,
    pub(super) destination: u128,
    pub(super) input: u32,
    pub(super) output: u32,
    pub(super) source_as: u32,
    pub(super) destination_as: u32,
    pub(super) packets: u32,
    pub(super) octets: u32,
    pub(super) start: UnixMillis,
    pub(super) end: UnixMillis,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) protocol: u8,
    pub(super) tcp_flags: u8,
    pub(super) tos: u8,
    /// Element 61: 0 on the way in, 1 on the way out.
    pub(super) observed: u8,
}

/// A datagram on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// When it is sent; never before the one that was handed out earlier.
    pub time: UnixMillis,
    /// The exporter.
    pub source: SocketAddr,
    /// The UDP payload.
    pub payload: &'a [u8],
    /// Flow records in it.
    pub records: u32,
}

/// The exporting process of one exporter.
#[derive(Debug)]
pub(super) struct Stream {
    protocol: Protocol,
    source: SocketAddr,
    /// When it was switched on: uptimes count from here, modulo 2^32 ms.
    boot: UnixMillis,
    /// 0: sampling is not spoken of.
    sampling: u32,
    sequence: u32,
    until_templates: u32,
    v4: Vec<u8>,
    v6: Vec<u8>,
    records_v4: u32,
    records_v6: u32,
    /// sFlow: what has passed each data source.
    pools: Pools,
    /// When the first record that waits came.
    waiting_since: Option<UnixMillis>,
    payload: Vec<u8>,
}

impl Stream {
    pub(super) fn new(protocol: Protocol, source: SocketAddr, boot: UnixMillis, sampling: u32) -> Self {
        Self {
            protocol,
            source,
            boot,
            sampling,
            sequence: 0,
            until_templates: 0,
            v4: Vec::with_capacity(2048),
            v6: Vec::with_capacity(2048),
            records_v4: 0,
            records_v6: 0,
            pools: Pools::default(),
            waiting_since: None,
            payload: Vec::with_capacity(2048),
        }
    }

    /// When the first of the records that wait came.
    pub(super) fn waiting_since(&self) -> Option<UnixMillis> {
        self.waiting_since
    }

    /// Puts a flow into the next datagram. True when that is full now.
    pub(super) fn push(&mut self, flow: &Flow, now: UnixMillis) -> bool {
        self.waiting_since.get_or_insert(now);
        match self.protocol {
            Protocol::V5 => self.push_v5(flow),
            Protocol::V9 => self.push_v9(flow),
            Protocol::Ipfix => self.push_ipfix(flow),
            Protocol::Sflow => self.pools.sample(flow, self.source.ip(), self.sampling.max(1), &mut self.v4),
        }
        if flow.family == Family::V6 {
            self.records_v6 += 1
        } else {
            self.records_v4 += 1
        }
        match self.protocol {
            Protocol::V5 => self.records_v4 as usize == V5_RECORDS,
            Protocol::Sflow => self.v4.len() + super::sflow::SAMPLE_MAX + 40 > PAYLOAD_MAX,
            // Room for the longest record, the headers, the sets' headers and padding, and the templates when due.
            Protocol::V9 | Protocol::Ipfix => {
                let templates = if self.until_templates == 0 { 260 } else { 0 };
                self.v4.len() + self.v6.len() + templates + 40 + 128 > PAYLOAD_MAX
            }
        }
    }

    /// Makes the datagram of all records that wait, exported at `time` (whole seconds for v9 and IPFIX).
    pub(super) fn datagram(&mut self, time: UnixMillis) -> Datagram<'_> {
        self.payload.clear();
        match self.protocol {
            Protocol::V5 => self.datagram_v5(time),
            Protocol::V9 => self.datagram_v9(time),
            Protocol::Ipfix => self.datagram_ipfix(time),
            Protocol::Sflow => self.datagram_sflow(time),
        }
        let records = self.records_v4 + self.records_v6;
        self.v4.clear();
        self.v6.clear();
        (self.records_v4, self.records_v6) = (0, 0);
        self.waiting_since = None;
        Datagram { time, source: self.source, payload: &self.payload, records }
    }

    /// Milliseconds since the start, as the 32-bit counter of the router shows them.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the counter wraps at 2^32")]
    fn uptime(&self, instant: UnixMillis) -> u32 {
        instant.since(self.boot) as u32
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "v5 fields are narrow; the plan keeps to values that fit"
    )]
    fn push_v5(&mut self, flow: &Flow) {
        let (first, last) = (self.uptime(flow.start), self.uptime(flow.end));
        let mut record = [0_u8; 48];
        let mut put = Cursor { out: &mut record, at: 0 };
        put.u32(flow.source as u32);
        put.u32(flow.destination as u32);
        put.u32(0);
        put.u16(flow.input as u16);
        put.u16(flow.output as u16);
        put.u32(flow.packets);
        put.u32(flow.octets);
        put.u32(first);
        put.u32(last);
        put.u16(flow.source_port);
        put.u16(flow.destination_port);
        put.u8(0);
        put.u8(flow.tcp_flags);
        put.u8(flow.protocol);
        put.u8(flow.tos);
        put.u16(flow.source_as as u16);
        put.u16(flow.destination_as as u16);
        self.v4.extend_from_slice(&record);
    }

    fn datagram_v5(&mut self, time: UnixMillis) {
        let out = &mut self.payload;
        put16(out, 5);
        put16(out, u16::try_from(self.records_v4).expect("at most 30"));
        put32(out, truncated(time.since(self.boot)));
        put32(out, truncated(time.seconds()));
        put32(out, truncated(time.0.rem_euclid(1000) * 1_000_000));
        put32(out, self.sequence);
        put16(out, 0);
        // Two bits of mode (1: one packet in so many), 14 of interval.
        put16(out, if self.sampling == 0 { 0 } else { 1 << 14 | u16::try_from(self.sampling).unwrap_or(0) });
        out.extend_from_slice(&self.v4);
        self.sequence = self.sequence.wrapping_add(self.records_v4);
    }

    fn push_v9(&mut self, flow: &Flow) {
        let times = [self.uptime(flow.start).to_be_bytes(), self.uptime(flow.end).to_be_bytes()].concat();
        self.push_fields(flow, &flow.octets.to_be_bytes(), &times);
    }

    fn push_ipfix(&mut self, flow: &Flow) {
        let octets = u64::from(flow.octets).to_be_bytes();
        let times = [flow.start.0.to_be_bytes(), flow.end.0.to_be_bytes()].concat();
        self.push_fields(flow, &octets, &times);
    }

    /// The fields that v9 and IPFIX share, in the order of the templates.
    fn push_fields(&mut self, flow: &Flow, octets: &[u8], times: &[u8]) {
        let mut record = [0_u8; 128];
        let mut put = Cursor { out: &mut record, at: 0 };
        let masks = if flow.family == Family::V6 {
            put.bytes(&flow.source.to_be_bytes());
            put.bytes(&flow.destination.to_be_bytes());
            put.bytes(&[0; 16]);
            [48, 32]
        } else {
            put.u32(low32(flow.source));
            put.u32(low32(flow.destination));
            put.u32(0);
            [24, 16]
        };
        put.u32(flow.input);
        put.u32(flow.output);
        put.u32(flow.packets);
        put.bytes(octets);
        put.bytes(times);
        put.u16(flow.source_port);
        put.u16(flow.destination_port);
        put.u8(flow.tcp_flags);
        put.u8(flow.protocol);
        put.u8(flow.tos);
        put.u32(flow.source_as);
        put.u32(flow.destination_as);
        put.bytes(&masks);
        put.u8(flow.observed);
        // Forwarded.
        put.u8(0x40);
        let length = put.at;
        let set = if flow.family == Family::V6 { &mut self.v6 } else { &mut self.v4 };
        set.extend_from_slice(&record[..length]);
    }

    fn datagram_v9(&mut self, time: UnixMillis) {
        let mut records = self.records_v4 + self.records_v6;
        let templates = self.templates_due();
        let out = &mut self.payload;
        put16(out, 9);
        put16(out, 0);
        put32(out, truncated(time.since(self.boot)));
        put32(out, truncated(time.seconds()));
        put32(out, self.sequence);
        put32(out, DOMAIN);
        if templates {
            records += 2;
            set(out, 0, |out| {
                for (id, family) in [(TEMPLATE_V4, Family::V4), (TEMPLATE_V6, Family::V6)] {
                    template(out, id, &V9_FIELDS.map(|field| of_family(field, family)));
                }
            });
            if self.sampling > 0 {
                records += 2;
                // An options template counts its scope and option fields in octets (RFC 3954 6.1): scope "system",
                // then sampling interval and algorithm.
                set(out, 1, |out| {
                    for half in [TEMPLATE_SAMPLING, 4, 8, 1, 4, 34, 4, 35, 1] {
                        put16(out, half);
                    }
                });
                set(out, TEMPLATE_SAMPLING, |out| {
                    put32(out, 0);
                    put32(out, self.sampling);
                    out.push(1);
                });
            }
        }
        self.data_sets();
        let count = u16::try_from(records).expect("at most a payload of records");
        self.payload[2..4].copy_from_slice(&count.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn datagram_ipfix(&mut self, time: UnixMillis) {
        let mut records = self.records_v4 + self.records_v6;
        let templates = self.templates_due();
        let out = &mut self.payload;
        put16(out, 10);
        put16(out, 0);
        put32(out, truncated(time.seconds()));
        put32(out, self.sequence);
        put32(out, DOMAIN);
        if templates {
            set(out, 2, |out| {
                for (id, family) in [(TEMPLATE_V4, Family::V4), (TEMPLATE_V6, Family::V6)] {
                    template(out, id, &V9_FIELDS.map(|field| of_family(ipfix_field(field), family)));
                }
            });
            if self.sampling > 0 {
                records += 1;
                // Scope: the observation domain (149). Count-based selection (RFC 5477): algorithm 1, one packet,
                // then a gap.
                set(out, 3, |out| {
                    for half in [TEMPLATE_SAMPLING, 4, 1, 149, 4, 304, 2, 305, 4, 306, 4] {
                        put16(out, half);
                    }
                });
                set(out, TEMPLATE_SAMPLING, |out| {
                    put32(out, DOMAIN);
                    put16(out, 1);
                    put32(out, 1);
                    put32(out, self.sampling - 1);
                });
            }
        }
        self.data_sets();
        let length = u16::try_from(self.payload.len()).expect("at most a payload");
        self.payload[2..4].copy_from_slice(&length.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(records);
    }

    fn datagram_sflow(&mut self, time: UnixMillis) {
        self.sequence = self.sequence.wrapping_add(1);
        let out = &mut self.payload;
        put32(out, 5);
        super::sflow::address(out, self.source.ip());
        put32(out, DOMAIN);
        put32(out, self.sequence);
        put32(out, truncated(time.since(self.boot)));
        put32(out, self.records_v4 + self.records_v6);
        out.extend_from_slice(&self.v4);
    }

    fn templates_due(&mut self) -> bool {
        let due = self.until_templates == 0;
        self.until_templates = if due { TEMPLATES_EVERY - 1 } else { self.until_templates - 1 };
        due
    }

    fn data_sets(&mut self) {
        for (id, records) in [(TEMPLATE_V4, &self.v4), (TEMPLATE_V6, &self.v6)] {
            if !records.is_empty() {
                set(&mut self.payload, id, |out| out.extend_from_slice(records));
            }
        }
    }
}

/// The field as IPFIX has it: milliseconds since the epoch instead of uptimes, and wide octets.
fn ipfix_field(field: (u16, u16)) -> (u16, u16) {
    match field.0 {
        1 => (1, 8),
        22 => (152, 8),
        21 => (153, 8),
        _ => field,
    }
}

/// The field as a template of that family has it.
fn of_family(field: (u16, u16), family: Family) -> (u16, u16) {
    match (family, field.0) {
        (Family::V6, 8) => (27, 16),
        (Family::V6, 12) => (28, 16),
        (Family::V6, 15) => (62, 16),
        (Family::V6, 9) => (29, 1),
        (Family::V6, 13) => (30, 1),
        _ => field,
    }
}

fn template(out: &mut Vec<u8>, id: u16, fields: &[(u16, u16)]) {
    put16(out, id);
    put16(out, u16::try_from(fields.len()).expect("20 fields"));
    for &(element, length) in fields {
        put16(out, element);
        put16(out, length);
    }
}

/// A set: its header, what `fill` writes, and padding to four octets.
fn set(out: &mut Vec<u8>, id: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    put16(out, id);
    put16(out, 0);
    fill(out);
    out.resize(at + (out.len() - at).next_multiple_of(4), 0);
    let length = u16::try_from(out.len() - at).expect("at most a payload");
    out[at + 2..at + 4].copy_from_slice(&length.to_be_bytes());
}

pub(super) fn put16(out: &mut Vec<u8>, n: u16) {
    out.extend_from_slice(&n.to_be_bytes());
}

pub(super) fn put32(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&n.to_be_bytes());
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "fields of 32 bits that wrap")]
fn truncated(n: i64) -> u32 {
    n as u32
}

#[expect(clippy::cast_possible_truncation, reason = "an IPv4 address is the low 32 bits")]
fn low32(n: u128) -> u32 {
    n as u32
}

/// Writes into a record of fixed length: faster than growing a vector field by field.
struct Cursor<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn u8(&mut self, n: u8) {
        self.bytes(&[n]);
    }

    fn u16(&mut self, n: u16) {
        self.bytes(&n.to_be_bytes());
    }

    fn u32(&mut self, n: u32) {
        self.bytes(&n.to_be_bytes());
    }
}
