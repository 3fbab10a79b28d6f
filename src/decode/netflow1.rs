//! NetFlow v1: a header of 16 octets, records of 48 or of 52.
//!
//! The fields end within the first 41 octets of a record; the padding behind them is published in two lengths, and
//! exporters of both are about (softflowd sends 48, some switches 52). Count and length of a datagram tell which it is,
//! so they have to match exactly: read with the wrong length, every record but the first would be made of two.
//!
//! There is no sequence number. So loss cannot be known; a restart shows by the uptime. A datagram that was seen before
//! is one whose octets are all the same as those of one of the last 16, by uptime and checksum: a flow leaves the
//! exporter's cache once, so no two datagrams of the same millisecond carry the same flows with the same counters.
//!
//! There is no place for a sampling rate either, so there is nothing to wait for. The operator's word applies.

use super::fixed::{Datagram, Header, host_flow, word16};
use super::{Decoded, Error, ExporterDecoder, Fate};
use crate::flow::{FlowRecord, SamplerRef};

const HEADER: usize = 16;
const RECORD: usize = 48;
const LONG_RECORD: usize = 52;

impl ExporterDecoder {
    pub(super) fn netflow1(&mut self, datagram: &Datagram<'_>, out: &mut Decoded) -> Result<Fate, Error> {
        let count = word16(datagram.header::<HEADER>()?, 2);
        let octets = datagram.payload.len() - HEADER;
        let is_of = |record| octets == usize::from(count) * record;
        let header = Header {
            version: 1,
            octets: HEADER,
            domain: 0,
            stream: 0,
            number: None,
            sampler: SamplerRef::Mute,
        };
        if is_of(LONG_RECORD) {
            self.fixed::<LONG_RECORD, 16>(datagram, &header, out, flow)
        } else if is_of(RECORD) || octets < usize::from(count) * RECORD {
            self.fixed::<RECORD, 16>(datagram, &header, out, flow)
        } else {
            Err(Error::RecordLength { count, octets: datagram.payload.len() })
        }
    }
}

#[inline(always)]
fn flow<const N: usize>(record: &[u8; N]) -> FlowRecord {
    FlowRecord { tcp_flags: u16::from(record[40]), ..host_flow(record) }
}
