//! NetFlow v5: a header of 24 octets, records of 48, nothing to remember but sequence numbers.
//!
//! The header's last word is the sampling: two bits of mode, 14 bits of interval. Exporters set the interval with mode 0
//! too, so the interval alone rules; 0 and 1 say that every packet is counted.

use super::clock::Context;
use super::read;
use super::sequence::Unit;
use super::{Decoded, Error, ExporterDecoder, Fate, Limits};
use crate::flow::{Address, Family, FlowRecord, Observed, SamplerRef};
use crate::ids::ExporterId;
use crate::units::{Asn, IfIndex, Octets, Packets, RateSource, SamplingRate, UnixMillis};

const HEADER: usize = 24;
const RECORD: usize = 48;

impl ExporterDecoder {
    pub(super) fn netflow5(
        &mut self,
        exporter: ExporterId,
        limits: &Limits,
        received: UnixMillis,
        payload: &[u8],
        out: &mut Decoded,
    ) -> Result<Fate, Error> {
        let Some(header) = payload.first_chunk::<HEADER>() else {
            return Err(Error::Truncated { offset: payload.len() });
        };
        let (count, uptime) = (word16(header, 2), word32(header, 4));
        let octets = usize::from(count) * RECORD;
        let Some(records) = payload.get(HEADER..HEADER + octets) else {
            return Err(Error::CountBeyondData { count, offset: payload.len() });
        };
        let stated = UnixMillis::from_seconds(i64::from(word32(header, 8)))
            .plus(i64::from(word32(header, 12) / 1_000_000).min(999));
        let number = word32(header, 16);
        let domain = u32::from(word16(header, 20));
        if let Some(at) = self.domain(5, domain, limits, received) {
            if self.domains[at].is_duplicate(number, payload) {
                return Ok(Fate::Duplicate);
            }
            let sequence = &mut self.domains[at].sequence;
            self.counts.told(sequence.see(number, Some(u32::from(count)), Some(uptime), Unit::RECORDS));
        }
        let context = Context {
            version: 5,
            domain,
            export: self.counts.export_time(stated, received),
            uptime: Some(uptime),
            received,
            system_init: None,
        };
        let interval = u64::from(word16(header, 22) & 0x3fff);
        let sampler =
            SamplingRate::new(interval, 1, RateSource::Header).map_or(SamplerRef::Silent, SamplerRef::Stated);
        let (mut raw_octets, mut raw_packets, mut clamped) = (0, 0, 0);
        // An iterator of known length fills the vector in place.
        out.records.extend(records.chunks_exact(RECORD).map(|record| {
            let record = record.first_chunk().expect("chunks of that size");
            let (flow, moved) = flow(&context, exporter, sampler, record);
            raw_octets += flow.octets.as_u64();
            raw_packets += flow.packets.as_u64();
            clamped += u64::from(moved);
            flow
        }));
        self.counts.records += u64::from(count);
        self.counts.flows_emitted += u64::from(count);
        self.counts.raw_octets = self.counts.raw_octets.saturating_add(raw_octets);
        self.counts.raw_packets = self.counts.raw_packets.saturating_add(raw_packets);
        self.counts.clamped += clamped;
        Ok(Fate::Decoded)
    }
}

#[inline(always)]
fn flow(
    context: &Context,
    exporter: ExporterId,
    sampler: SamplerRef,
    record: &[u8; RECORD],
) -> (FlowRecord, bool) {
    let (start, end, moved) = context.uptimes(word32(record, 24), word32(record, 28));
    let flow = FlowRecord {
        source: Address(u128::from(word32(record, 0))),
        destination: Address(u128::from(word32(record, 4))),
        next_hop: Address(u128::from(word32(record, 8))),
        octets: Octets::new(u64::from(word32(record, 20))),
        packets: Packets::new(u64::from(word32(record, 16))),
        start,
        end,
        sampler,
        rate: SamplingRate::NOT_ANNOUNCED,
        domain: context.domain,
        input: IfIndex(u32::from(word16(record, 12))),
        output: IfIndex(u32::from(word16(record, 14))),
        source_as: Asn(u32::from(word16(record, 40))),
        destination_as: Asn(u32::from(word16(record, 42))),
        exporter,
        source_port: word16(record, 32),
        destination_port: word16(record, 34),
        vlan: 0,
        tcp_flags: u16::from(record[37]),
        family: Family::V4,
        protocol: record[38],
        tos: record[39],
        source_mask: record[44],
        destination_mask: record[45],
        forwarding_status: 0,
        observed: Observed::Unknown,
    };
    (flow, moved)
}

/// Two octets at a place that the array is known to have.
#[inline(always)]
fn word16<const N: usize>(data: &[u8; N], at: usize) -> u16 {
    read::u16(data, at).unwrap_or_default()
}

/// Four octets at a place that the array is known to have.
#[inline(always)]
fn word32<const N: usize>(data: &[u8; N], at: usize) -> u32 {
    read::u32(data, at).unwrap_or_default()
}
