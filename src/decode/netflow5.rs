//! NetFlow v5: a header of 24 octets, records of 48, nothing to remember but sequence numbers.
//!
//! The header's last word is the sampling, see [`sampler`].

use super::fixed::{Datagram, Header, as_number, host_flow, sampler, word16, word32};
use super::{Decoded, Error, ExporterDecoder, Fate};
use crate::flow::FlowRecord;

const HEADER: usize = 24;
const RECORD: usize = 48;

impl ExporterDecoder {
    pub(super) fn netflow5(&mut self, datagram: &Datagram<'_>, out: &mut Decoded) -> Result<Fate, Error> {
        let header = datagram.header::<HEADER>()?;
        let engine = u32::from(word16(header, 20));
        let header = Header {
            version: 5,
            octets: HEADER,
            domain: engine,
            stream: engine,
            number: Some(word32(header, 16)),
            sampler: sampler(word16(header, 22)),
        };
        self.fixed::<RECORD, 16>(datagram, &header, out, flow)
    }
}

#[inline(always)]
fn flow(record: &[u8; RECORD]) -> FlowRecord {
    FlowRecord {
        source_as: as_number(record, 40),
        destination_as: as_number(record, 42),
        tcp_flags: u16::from(record[37]),
        source_mask: record[44],
        destination_mask: record[45],
        ..host_flow(record)
    }
}
