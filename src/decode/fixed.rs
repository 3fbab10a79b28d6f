//! What the formats without templates share: NetFlow v1, v5, v7 and v8 have a header that counts records of one length.
//!
//! Their headers begin with the same 16 octets (version, number of records, uptime, seconds and nanoseconds of the
//! export time), and in each of their records packets, octets, and the uptimes of the first and the last packet stand
//! together in this order. So a format is its header, where those four words are, and a function for the rest.
//!
//! A datagram that holds less than its header claims yields nothing: UDP delivers whole datagrams, so whoever made it does not
//! say what it holds. How many records it claims, and how many octets came, is counted. Zeros behind the last record are padding, which
//! Catalyst switches send (but see `netflow1`). Other octets there belong to nothing: the records that the header counts
//! are taken, and the datagram is counted malformed.

use super::clock::Context;
use super::read;
use super::sequence::{Unit, Uptime};
use super::{Decoded, Error, ExporterDecoder, Fate, Limits};
use crate::flow::{Address, Family, FlowRecord, SamplerRef};
use crate::ids::ExporterId;
use crate::units::{Asn, IfIndex, Octets, Packets, RateSource, SamplingRate, UnixMillis};

/// A datagram, and what is known of it before it is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub(super) exporter: ExporterId,
    pub(super) limits: &'a Limits,
    pub(super) received: UnixMillis,
    pub(super) payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// The first `N` octets.
    pub(super) fn header<const N: usize>(&self) -> Result<&'a [u8; N], Error> {
        self.payload.first_chunk().ok_or(Error::Truncated { offset: self.payload.len() })
    }
}

/// What a header says beyond the 16 octets that all have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) version: u16,
    /// Its length.
    pub(super) octets: usize,
    /// The observation domain of the flows.
    pub(super) domain: u32,
    /// What has sequence numbers of its own: the domain, or a part of it.
    pub(super) stream: u32,
    /// The number of the first record; v1 numbers nothing.
    pub(super) number: Option<u32>,
    pub(super) sampler: SamplerRef,
}

/// What the 16 octets say.
struct Common {
    count: u16,
    uptime: u32,
    export: UnixMillis,
}

impl Common {
    const OCTETS: usize = 16;

    fn read(header: &[u8; Self::OCTETS]) -> Self {
        let seconds = UnixMillis::from_seconds(i64::from(word32(header, 8)));
        let milliseconds = i64::from(word32(header, 12) / 1_000_000).min(999);
        Self { count: word16(header, 2), uptime: word32(header, 4), export: seconds.plus(milliseconds) }
    }
}

impl ExporterDecoder {
    /// Decodes a datagram of records of `R` octets that have their counters at `COUNTERS`; `rest` reads the other
    /// fields of a record.
    #[inline]
    pub(super) fn fixed<const R: usize, const COUNTERS: usize>(
        &mut self,
        datagram: &Datagram<'_>,
        header: &Header,
        out: &mut Decoded,
        rest: impl Fn(&[u8; R]) -> FlowRecord,
    ) -> Result<Fate, Error> {
        let common = Common::read(datagram.header()?);
        let end = header.octets + usize::from(common.count) * R;
        let Some(records) = datagram.payload.get(header.octets..end) else {
            self.counts.torn_records += u64::from(common.count);
            self.counts.torn_octets += datagram.payload.len() as u64;
            return Err(Error::CountBeyondData { count: common.count, offset: datagram.payload.len() });
        };
        let Some(context) = self.fixed_context(datagram, header, &common) else {
            return Ok(Fate::Duplicate);
        };
        let (exporter, sampler) = (datagram.exporter, header.sampler);
        let (mut raw_octets, mut raw_packets, mut clamped) = (0, 0, 0);
        // An iterator of known length fills the vector in place.
        out.records.extend(records.chunks_exact(R).map(|record| {
            let record: &[u8; R] = record.first_chunk().expect("chunks of that size");
            let (packets, octets) = (word32(record, COUNTERS), word32(record, COUNTERS + 4));
            let (start, end, moved) =
                context.uptimes(word32(record, COUNTERS + 8).into(), word32(record, COUNTERS + 12).into());
            raw_octets += u64::from(octets);
            raw_packets += u64::from(packets);
            clamped += u64::from(moved);
            FlowRecord {
                octets: Octets::new(octets.into()),
                packets: Packets::new(packets.into()),
                start,
                end,
                sampler,
                domain: context.domain,
                exporter,
                family: Family::V4,
                ..rest(record)
            }
        }));
        self.counts.records += u64::from(common.count);
        self.counts.flows_emitted += u64::from(common.count);
        self.counts.raw_octets = self.counts.raw_octets.saturating_add(raw_octets);
        self.counts.raw_packets = self.counts.raw_packets.saturating_add(raw_packets);
        self.counts.clamped += clamped;
        read::trailing(datagram.payload, end).map_or(Ok(Fate::Decoded), Err)
    }

    /// Checks for duplicates and loss, and settles the time; `None` for a datagram that was seen before.
    fn fixed_context(
        &mut self,
        datagram: &Datagram<'_>,
        header: &Header,
        common: &Common,
    ) -> Option<Context> {
        let &Datagram { limits, received, payload, .. } = datagram;
        if let Some(at) = self.domain(header.version, header.stream, limits, received) {
            let domain = &mut self.domains[at];
            if domain.is_duplicate(header.number.unwrap_or(common.uptime), payload) {
                return None;
            }
            let uptime = Some(Uptime { millis: common.uptime, stated: common.export, received });
            // Where nothing is numbered, each datagram is what was expected, and only the uptime tells of a restart.
            let (number, count) = header.number.map_or((0, 0), |number| (number, common.count.into()));
            self.counts.told(domain.sequence.see(number, count, uptime, received, Unit::RECORDS));
        }
        let (export, shift) = self.counts.export_time(common.export, received, limits);
        Some(Context {
            version: header.version,
            domain: header.domain,
            number: 0,
            export,
            shift,
            uptime: Some(common.uptime),
            received,
            system_init: None,
            in_run: None,
        })
    }
}

/// The fields that v1, v5 and v7 have in the same places.
#[inline(always)]
pub(super) fn host_flow<const N: usize>(record: &[u8; N]) -> FlowRecord {
    FlowRecord {
        source: address(record, 0),
        destination: address(record, 4),
        next_hop: address(record, 8),
        input: interface(record, 12),
        output: interface(record, 14),
        source_port: word16(record, 32),
        destination_port: word16(record, 34),
        protocol: record[38],
        tos: record[39],
        ..FlowRecord::default()
    }
}

/// The sampling that a header's word states: two bits of mode, 14 bits of interval. Exporters set the interval with
/// mode 0 too, so the interval alone rules; 1 says that every packet is counted, 0 says nothing.
pub(super) fn sampler(word: u16) -> SamplerRef {
    let interval = u64::from(word & 0x3fff);
    SamplingRate::new(interval, 1, RateSource::Header).map_or(SamplerRef::Silent, SamplerRef::Stated)
}

/// Two octets at a place that the array is known to have.
#[inline(always)]
pub(super) fn word16<const N: usize>(data: &[u8; N], at: usize) -> u16 {
    read::u16(data, at).unwrap_or_default()
}

/// Four octets at a place that the array is known to have.
#[inline(always)]
pub(super) fn word32<const N: usize>(data: &[u8; N], at: usize) -> u32 {
    read::u32(data, at).unwrap_or_default()
}

/// An IPv4 address.
#[inline(always)]
pub(super) fn address<const N: usize>(data: &[u8; N], at: usize) -> Address {
    Address(u128::from(word32(data, at)))
}

/// An interface index of two octets.
#[inline(always)]
pub(super) fn interface<const N: usize>(data: &[u8; N], at: usize) -> IfIndex {
    IfIndex(u32::from(word16(data, at)))
}

/// An AS number of two octets.
#[inline(always)]
pub(super) fn as_number<const N: usize>(data: &[u8; N], at: usize) -> Asn {
    Asn(u32::from(word16(data, at)))
}
