//! NetFlow v1: a header of 16 octets, records of 52.
//!
//! There is no sequence number. So loss cannot be known; a restart shows by the uptime. A datagram that was seen before
//! is one whose octets are all the same as those of one of the last 16, by uptime and checksum: a flow leaves the
//! exporter's cache once, so no two datagrams of the same millisecond carry the same flows with the same counters.
//!
//! There is no place for a sampling rate either, so there is nothing to wait for. The operator's word applies.

use super::fixed::{Datagram, Header, host_flow};
use super::{Decoded, Error, ExporterDecoder, Fate};
use crate::flow::{FlowRecord, SamplerRef};

const HEADER: usize = 16;
const RECORD: usize = 52;

impl ExporterDecoder {
    pub(super) fn netflow1(&mut self, datagram: &Datagram<'_>, out: &mut Decoded) -> Result<Fate, Error> {
        datagram.header::<HEADER>()?;
        let header = Header {
            version: 1,
            octets: HEADER,
            domain: 0,
            stream: 0,
            number: None,
            sampler: SamplerRef::Mute,
        };
        self.fixed::<RECORD, 16>(datagram, &header, out, flow)
    }
}

#[inline(always)]
fn flow(record: &[u8; RECORD]) -> FlowRecord {
    FlowRecord { tcp_flags: u16::from(record[40]), ..host_flow(record) }
}
