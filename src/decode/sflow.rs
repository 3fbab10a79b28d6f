//! sFlow version 5 (sflow.org, `sflow_version_5.txt`): a datagram header, then samples that state their own length.
//!
//! **What counts.** A flow sample (format 1, or 3 with wide numbers) is one packet that was picked on its way through
//! the exporter: one record of one packet, scaled by its sampling rate. Its octets are the frame length of the raw
//! packet header, as the exporter states it: all octets of the frame that were received on the link, the frame check
//! sequence and what the exporter `stripped` before it copied the header included, so nothing is added to it or taken
//! away. Without a raw header it is the length of the sampled Ethernet frame, else of the sampled IP packet. A sample
//! with none of them is no volume. A frame that cannot be read has its volume all the same, in the family "other".
//!
//! **What does not.** Counter samples (2 and 4) and notifications of discarded packets (5) are counted and are no volume.
//! The packets that a counter sample tells bear the sample pool of its interface out, or refute it; the rest is skipped. A
//! discard notification names a packet that was not forwarded, and nobody pays for it. A *flow sample* whose output
//! says that the packet was discarded was sampled on the way in; it is a record with that forwarding status. Samples
//! and flow records of vendors' own formats are skipped by their length and counted.
//!
//! **Who sent it.** As for every protocol, the exporter is who sent the UDP datagram: that address can be filtered and
//! is what the operator configured, while the agent address within may be a loopback, or anything. The record's domain
//! is the sub-agent. Sequence numbers and sample pools are kept for each agent address and sub-agent, so that a relay
//! does not look like loss; but interface numbers of several agents behind one relay would mean each other's links, so
//! datagrams of another agent than the first are counted.
//!
//! **When.** sFlow states no times: a sample belongs to the instant at which its datagram was received.
//!
//! **Errors.** A sample with an error inside leaves the others alone. Where a sample ends beyond the datagram nothing
//! of it is taken, and the datagram is malformed; unless it is a flow sample whose flow records are all there: there are
//! switches (Brocade's) that count padding which they do not send. That is counted as a format not understood.

mod agent;
mod counter;
mod pool;
mod sample;
mod xdr;

use serde::{Deserialize, Serialize};

use super::sequence::{Unit, Uptime};
use super::{Decoded, Error, ExporterDecoder, Fate, Limits, read};
use crate::flow::FlowRecord;
use crate::ids::ExporterId;
use crate::units::UnixMillis;

use agent::Agent;
pub(super) use agent::Agents;
use xdr::Reader;

/// The only version there is in the field: its word has 32 bits, so a datagram begins with two zero octets.
const VERSION: u32 = 5;

/// Formats of samples, of the standard's own enterprise 0.
const FLOW: u32 = 1;
const COUNTERS: u32 = 2;
const FLOW_EXPANDED: u32 = 3;
const COUNTERS_EXPANDED: u32 = 4;
const DISCARD: u32 = 5;

/// Running counts of what only sFlow has; they only grow, but for `samples_lost` (which late samples take back).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Flow samples decoded; each is a record.
    pub flow_samples: u64,
    /// Counter samples; never volume.
    pub counter_samples: u64,
    /// Notifications of discarded packets; never volume.
    pub discard_notifications: u64,
    /// Samples and flow records of formats that accounting does not know, or has no use for; datagrams with more than zeros
    /// behind the last sample that their header counts; and flow samples that claim more octets than their datagram has left,
    /// though their records are all there.
    pub skipped_formats: u64,
    /// Flow samples missing by their data sources' sequence numbers.
    pub samples_lost: u64,
    /// Flow samples that the exporter says it had to drop itself. Those that follow make up for them.
    pub samples_dropped: u64,
    /// Spans in which the sample pool moved by more than twice, or less than half, of what the stated rate explains, was
    /// refuted by the interface's counters, in which more samples were dropped than anything bears out, or of two sources in
    /// one.
    pub pool_contradictions: u64,
    /// Packets that dropped samples stood for and that no sample made up for, because their source began anew or was
    /// forgotten.
    pub packets_unpaid: u64,
    /// Datagrams of another agent than the exporter's first one: a relay.
    pub other_agents: u64,
    /// Flow samples whose data source found no room: their stated rate ruled.
    pub source_refusals: u64,
}

/// What the samples of a datagram are decoded with.
struct Work<'a> {
    exporter: ExporterId,
    domain: u32,
    received: UnixMillis,
    counts: &'a mut super::Counts,
    out: &'a mut Vec<FlowRecord>,
}

impl ExporterDecoder {
    pub(super) fn sflow(
        &mut self,
        exporter: ExporterId,
        limits: &Limits,
        received: UnixMillis,
        payload: &[u8],
        out: &mut Decoded,
    ) -> Result<Fate, Error> {
        let truncated = Error::Truncated { offset: payload.len() };
        let version = read::u32(payload, 0).ok_or(truncated)?;
        if version != VERSION {
            let version = u16::try_from(version).unwrap_or_default();
            return Err(Error::UnknownVersion { version });
        }
        let mut datagram = Reader::new(payload, 4, payload.len());
        let kind = datagram.u32().ok_or(truncated)?;
        let address = datagram.address(kind).ok_or(match kind {
            0..=2 => truncated,
            _ => Error::AddressType { kind, offset: 4 },
        })?;
        let mut word = || datagram.u32().ok_or(truncated);
        let (sub_agent, number, uptime, samples) = (word()?, word()?, word()?, word()?);

        let others = self.domains.len();
        let room = limits.domains.saturating_sub(others);
        let unpaid = &mut self.counts.sflow.packets_unpaid;
        *unpaid = unpaid.saturating_add(self.agents.take_unpaid());
        let mut agent = self.agents.find_or_add((address, sub_agent), room, received);
        match &mut agent {
            Some(agent) => {
                if agent.recent.contains_or_add(number, crc32fast::hash(payload)) {
                    return Ok(Fate::Duplicate);
                }
                let uptime = Uptime { millis: uptime, stated: received, received };
                let told = agent.sequence.see(number, 1, Some(uptime), received, Unit::DATAGRAMS);
                self.counts.told(told);
                agent.is_late = agent.sequence.is_late(number, Unit::DATAGRAMS);
                if told.restarted {
                    let unpaid = &mut self.counts.sflow.packets_unpaid;
                    *unpaid = unpaid.saturating_add(agent.forget_sources());
                }
                self.counts.sflow.other_agents += u64::from(!agent.is_first());
            }
            None => self.counts.domain_refusals += 1,
        }
        let work =
            Work { exporter, domain: sub_agent, received, counts: &mut self.counts, out: &mut out.records };
        work.samples(agent, datagram, samples).map(|()| Fate::Decoded)
    }
}

impl Work<'_> {
    /// The samples of a datagram: as many as its header says.
    fn samples(
        mut self,
        mut agent: Option<Agent<'_>>,
        mut datagram: Reader<'_>,
        samples: u32,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        for _ in 0..samples {
            let offset = datagram.at();
            let Some(format) = datagram.u32() else {
                let cut = Error::Truncated { offset: datagram.end() };
                return result.and(Err(cut));
            };
            let body = datagram.u32().and_then(|length| {
                datagram.opaque(length).or_else(|| {
                    let body = Some(datagram.take_rest()).filter(|&body| sample::is_whole(format, body))?;
                    self.counts.sflow.skipped_formats += 1;
                    Some(body)
                })
            });
            let Some(body) = body else {
                return result.and(Err(Error::RecordCut { offset }));
            };
            let counts = &mut self.counts.sflow;
            match format {
                FLOW | FLOW_EXPANDED => {
                    let sample = self.flow_sample(agent.as_mut(), body, format == FLOW_EXPANDED);
                    result = result.and(sample);
                }
                COUNTERS | COUNTERS_EXPANDED => {
                    counts.counter_samples += 1;
                    let told = counter::interface(body, format == COUNTERS_EXPANDED);
                    if let Some((agent, (source, interface))) = agent.as_mut().zip(told) {
                        agent.counters(source, interface);
                    }
                }
                DISCARD => counts.discard_notifications += 1,
                _ => counts.skipped_formats += 1,
            }
        }
        // There are exporters whose datagrams are all of one length, with whatever was in the buffer behind the samples. So
        // that is no fault; but it may as well be a sample that the header forgot, and is counted as one not understood.
        self.counts.sflow.skipped_formats += u64::from(datagram.has_rest());
        result
    }
}
