//! NetFlow v7, of Catalyst switches: a header of 24 octets, records of 52. It is v5 with two fields of flags and the
//! address of the router that the switch bypassed.
//!
//! - What a switch cannot tell with its flow mask (destination only, source and destination, full) it sends as 0, and 0
//!   is what a flow record has where nothing was said. So the flags, which repeat the flow mask and whose bits are not
//!   published, are not needed.
//! - The bypassed router does not export what the switch forwarded in its place, so nothing counts twice.
//! - The header has no sampling: its last four octets are published as unused. The first two are the engine's type and
//!   number where a switch fills them in, as in v5. A number in the other two is no announcement: taking it for a rate
//!   would multiply a bill by something that no document defines. The operator's word applies.

use super::fixed::{Datagram, Header, as_number, host_flow, word16, word32};
use super::{Decoded, Error, ExporterDecoder, Fate};
use crate::flow::{FlowRecord, SamplerRef};

const HEADER: usize = 24;
const RECORD: usize = 52;

impl ExporterDecoder {
    pub(super) fn netflow7(&mut self, datagram: &Datagram<'_>, out: &mut Decoded) -> Result<Fate, Error> {
        let header = datagram.header::<HEADER>()?;
        let engine = u32::from(word16(header, 20));
        let header = Header {
            version: 7,
            octets: HEADER,
            domain: engine,
            stream: engine,
            number: Some(word32(header, 16)),
            sampler: SamplerRef::Mute,
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
