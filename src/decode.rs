//! Decoding: a datagram of NetFlow v1, v5, v7, v8, v9, IPFIX or sFlow becomes flow records and sampling announcements.
//!
//! One [`ExporterDecoder`] holds all that decoding remembers of one exporter (templates, sequence numbers, running
//! totals, held sets); it has one owner, so nothing here locks. It does no I/O, reads no clock and never panics on
//! any input. What it remembers goes into the flush's checkpoint.
//!
//! Invariants, shown by [`Counts`]:
//! - every datagram is decoded, malformed or a duplicate;
//! - every record is emitted (a biflow as two flows), not volume, or implausible; a set without template is held,
//!   then released or expired;
//! - what an exporter can make us remember is bounded by [`Limits`], and every refusal is counted.
//!
//! A malformed NetFlow v1, v5, v7 or v8 datagram yields nothing, unless it only goes on behind its last record. In v9, IPFIX and sFlow an error in one set or sample leaves the others
//! alone: what was decoded stays, sets after it are decoded as long as the set lengths can be trusted, and the datagram
//! is counted malformed once, by its first error.

mod clock;
mod element;
mod error;
mod fixed;
mod frame;
mod hold;
mod ipfix;
mod layout;
mod netflow1;
mod netflow5;
mod netflow7;
mod netflow8;
mod netflow9;
mod options;
mod plan;
mod read;
mod recent;
mod sequence;
mod sets;
mod sflow;
mod shown;
mod template;
mod total;

use serde::{Deserialize, Serialize};

use crate::counters::TransportCounts;
use crate::exporter::OutCounters;
use crate::flow::{Announcement, FlowRecord, Order, SelectionSequence};
use crate::ids::{ExporterId, Session};
use crate::units::UnixMillis;

pub use error::{Error, ErrorKind};
pub use sflow::Counts as SflowCounts;

/// A counter that reaches this in one record is not believed: 256 TiB in one flow record is a defect of the exporter.
const IMPLAUSIBLE: u64 = 1 << 48;

/// The same of a running total, which nobody resets: an exabyte is two years of 100 Gbit/s.
const IMPLAUSIBLE_TOTAL: u64 = 1 << 60;

/// A domain that was silent for so long may give way to a new one.
const DOMAIN_IDLE_MS: i64 = 3_600_000;

/// How far an exporter's clock may be behind before it is counted. What is counted still rules, up to a bound.
const CLOCK_BEHIND_MS: i64 = 3_600_000;

/// Bounds on what one exporter can make us remember, and three on what all of a processor can: those the processor keeps, by
/// [`ExporterDecoder::forget_templates`], [`ExporterDecoder::let_oldest_set_go`] and [`ExporterDecoder::forget_totals`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Templates (data and options) over all domains.
    pub templates: usize,
    /// Octets of memory that templates of all exporters of a processor may take.
    pub template_octets_all: usize,
    /// How long a template is used after it was last sent. Far more than the half an hour after which routers repeat
    /// them by default: within a run of the exporter age is a weak doubt, and some repeat them by the day.
    pub template_lifetime_ms: i64,
    /// Fields in one template.
    pub template_fields: usize,
    /// Observation domains, and agents of sFlow.
    pub domains: usize,
    /// Octets of data sets that wait for their template.
    pub hold_octets: usize,
    /// How long a data set waits for its template. Twice the half an hour after which routers repeat them by default, so
    /// that one lost template loses nothing.
    pub hold_ms: i64,
    /// Octets of memory that such sets of all exporters of a processor may take.
    pub hold_octets_all: usize,
    /// Flow keys with a running total (element 85).
    pub running_totals: usize,
    /// Such keys of all exporters of a processor.
    pub running_totals_all: usize,
    /// How far an export time may lie before its reception. Beyond that it is a wrong clock, not a late datagram, and
    /// the time of reception rules: all times move with it.
    pub clock_skew_ms: i64,
    /// Withdrawals of templates are obeyed outside of sessions, too: where messages come from a file (RFC 5655), which is
    /// what its writer made it, and has its order.
    pub obey_withdrawals: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            templates: 4096,
            template_octets_all: 128 << 20,
            template_lifetime_ms: 90 * 24 * 60 * 60 * 1000,
            template_fields: 512,
            domains: 256,
            hold_octets: 4 << 20,
            hold_ms: 60 * 60 * 1000,
            hold_octets_all: 64 << 20,
            running_totals: 65_536,
            running_totals_all: 524_288,
            clock_skew_ms: 365 * 24 * 60 * 60 * 1000,
            obey_withdrawals: false,
        }
    }
}

/// What decoding one datagram yields. Reused: the caller clears it.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Flow records, in the order of the datagram (released holds where their template came).
    pub records: Vec<FlowRecord>,
    /// What the datagram's options records say of sampling.
    pub announcements: Vec<Announcement>,
    /// What they say of selection sequences.
    pub sequences: Vec<SelectionSequence>,
    /// Observation domains in which the datagram shows that the exporter has started anew, or may have, because it is the
    /// first of a session. That was before all that it announces.
    pub restarts: Vec<u32>,
}

/// What became of a datagram that is not an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Decoded.
    Decoded,
    /// The very datagram was seen before; nothing was taken from it.
    Duplicate,
}

/// Running counts of one exporter; they only grow, but for `held_sets`, `held_octets`, `templates` (what there is now)
/// and `lost` (which late datagrams take back).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Counts {
    /// Datagrams: decoded, malformed and duplicates.
    pub datagrams: u64,
    /// Datagrams decoded whole.
    pub decoded: u64,
    /// Datagrams with an error in them.
    pub malformed: u64,
    /// The same, by the kind of their first error, in the order of [`ErrorKind::ALL`].
    pub malformed_by_kind: [u64; ErrorKind::COUNT],
    /// Records that the headers of torn datagrams count, which hold less than these (v1, v5, v7, v8): nothing of them is
    /// taken.
    pub torn_records: u64,
    /// Octets of these datagrams, as far as they came.
    pub torn_octets: u64,
    /// Datagrams seen before.
    pub duplicates: u64,
    /// Flow data records decoded (a biflow is one; records of released sets when they are released).
    pub records: u64,
    /// Options data records decoded.
    pub options_records: u64,
    /// Octets of the flows emitted, both directions, before scaling.
    pub raw_octets: u64,
    /// Their packets.
    pub raw_packets: u64,
    /// Directional flows emitted.
    pub flows_emitted: u64,
    /// Data records without an octet counter.
    pub not_volume: u64,
    /// Data sets of nProbe's with octets in element 23 beside those in 1 that were read as the same packets. Only the operator
    /// knows what they are.
    pub out_counters_unsaid: u64,
    /// Directional flows not emitted because a counter was 2^48 or more.
    pub implausible: u64,
    /// Their octets; stays at the greatest number where they exceed it.
    pub implausible_octets: u64,
    /// Missing by sequence number: records (v5, v7, v8), datagrams (v9, sFlow), data records (IPFIX). v1 has no numbers.
    pub lost: u64,
    /// Times the exporter was seen to start anew.
    pub restarts: u64,
    /// Times that two exporters were found to use one domain of one address: no loss and no new beginning is told there.
    pub shared_domains: u64,
    /// Data sets that wait for their template now.
    pub held_sets: u64,
    /// Octets of their records.
    pub held_octets: u64,
    /// Data sets that waited in vain.
    pub expired_sets: u64,
    /// Octets of their records.
    pub expired_octets: u64,
    /// Of them, those that had to leave for want of room.
    pub crowded_sets: u64,
    /// Running totals forgotten for want of room, and flows whose first sight counted nothing because theirs may be one of
    /// them. Only flows whose records do not say when they began count whole once more.
    pub totals_forgotten: u64,
    /// Records of running totals that agree in keys, begin and end with another one of their export time, or with the last one
    /// of a flow that was over: they are told once more, or of flows that no field tells apart. The greater total counts.
    pub totals_unclear: u64,
    /// Octets that these claim and that did not count, before scaling.
    pub totals_unclear_octets: u64,
    /// Datagrams whose export time was after their reception; the time of reception ruled.
    pub clock_ahead: u64,
    /// Datagrams whose export time was more than an hour before their reception.
    pub clock_behind: u64,
    /// Datagrams whose export time was further back than [`Limits::clock_skew_ms`]; the time of reception ruled.
    pub clock_shifted: u64,
    /// Flows whose times had to be moved: into the hour before the export time, or start before end.
    pub clamped: u64,
    /// Templates there are now, data and options.
    pub templates: u64,
    /// Template definitions refused (no room, or too many fields), or forgotten for want of room.
    pub template_refusals: u64,
    /// Datagrams of a domain that found no room (those without templates are decoded, but not checked for loss and
    /// duplicates).
    pub domain_refusals: u64,
    /// What only sFlow has.
    pub sflow: SflowCounts,
}

/// What is remembered of one observation domain of one protocol version. Over TCP that is a matter of each session
/// (RFC 7011 8); over UDP exporters send from several ports, so it is one for all of them.
#[derive(Debug, Deserialize, Serialize)]
struct Domain {
    session: Option<Session>,
    version: u16,
    id: u32,
    last_seen: UnixMillis,
    sequence: sequence::Sequence,
    recent: recent::Recent,
    templates: template::Templates,
    /// When the exporter started, as its options records say, by its own clock ...
    system_init: Option<UnixMillis>,
    /// ... and for how long it had run when it said so.
    ran: Option<sequence::Uptime>,
    /// NetFlow v9: the run of the exporter by the uptimes of its headers.
    run: Option<clock::Run>,
    /// What came of it since the process began.
    #[serde(skip)]
    seen: TransportCounts,
}

/// All that decoding remembers of one exporter.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(from = "Written")]
pub struct ExporterDecoder {
    counts: Counts,
    /// Sorted by session, version and id.
    domains: Vec<Domain>,
    hold: hold::Hold,
    totals: total::Totals,
    agents: sflow::Agents,
    #[serde(skip)]
    scratch: Vec<template::FieldSpec>,
    #[serde(skip)]
    out_counters: OutCounters,
    /// What came by datagrams of domains that are forgotten.
    #[serde(skip)]
    gone: TransportCounts,
    /// Octets of memory that the templates of all domains take.
    #[serde(skip)]
    template_octets: usize,
}

/// The same as a checkpoint has it.
#[derive(Deserialize)]
struct Written {
    counts: Counts,
    domains: Vec<Domain>,
    hold: hold::Hold,
    totals: total::Totals,
    agents: sflow::Agents,
}

impl From<Written> for ExporterDecoder {
    fn from(Written { counts, mut domains, hold, totals, agents }: Written) -> Self {
        domains.iter_mut().for_each(|domain| domain.templates.weigh());
        let template_octets = domains.iter().map(|domain| domain.templates.octets()).sum();
        Self { counts, domains, hold, totals, agents, template_octets, ..Self::default() }
    }
}

/// What decoding a datagram works with, apart from its domain.
struct Work<'a> {
    exporter: ExporterId,
    limits: &'a Limits,
    counts: &'a mut Counts,
    hold: &'a mut hold::Hold,
    totals: &'a mut total::Totals,
    scratch: &'a mut Vec<template::FieldSpec>,
    out_counters: OutCounters,
    template_octets: &'a mut usize,
    out: &'a mut Decoded,
    /// Where what the datagram says stands among all that its domain has said.
    order: Order,
    /// True where it was sent before the last new beginning of the exporter.
    is_former: bool,
    /// Sets that were read at last, of messages that the sequence does not know.
    settled: Vec<sets::Settled>,
}

impl ExporterDecoder {
    /// Nothing remembered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what the exporter counts in elements 23 and 24. It is the operator who knows, so it is no part of a checkpoint.
    pub const fn read_out_counters(&mut self, out_counters: OutCounters) {
        self.out_counters = out_counters;
    }

    /// Decodes one datagram received at `received`, and appends to `out`.
    ///
    /// # Errors
    /// When the datagram is malformed. Sets decoded before the error, and v9 and IPFIX sets after it where their
    /// lengths can be trusted, stay decoded.
    pub fn datagram(
        &mut self,
        exporter: ExporterId,
        limits: &Limits,
        received: UnixMillis,
        payload: &[u8],
        out: &mut Decoded,
    ) -> Result<Fate, Error> {
        self.counts.datagrams += 1;
        let fixed = fixed::Datagram { exporter, limits, received, payload };
        let result = match read::u16(payload, 0) {
            None => Err(Error::Truncated { offset: payload.len() }),
            Some(0) => self.sflow(exporter, limits, received, payload, out),
            Some(1) => self.netflow1(&fixed, out),
            Some(5) => self.netflow5(&fixed, out),
            Some(7) => self.netflow7(&fixed, out),
            Some(8) => self.netflow8(&fixed, out),
            Some(9) => self.netflow9(exporter, limits, received, payload, out),
            Some(10) => self.ipfix(None, exporter, limits, received, payload, out),
            Some(version) => Err(Error::UnknownVersion { version }),
        };
        self.counts.fate(result);
        result
    }

    /// Decodes one message of a TCP session (RFC 7011 10.4), which can only be IPFIX; otherwise as [`Self::datagram`].
    /// TCP neither doubles nor loses a message, and each session counts from 0: so messages that are alike are several.
    ///
    /// # Errors
    /// As there.
    pub fn message(
        &mut self,
        session: Session,
        exporter: ExporterId,
        limits: &Limits,
        received: UnixMillis,
        payload: &[u8],
        out: &mut Decoded,
    ) -> Result<Fate, Error> {
        self.counts.datagrams += 1;
        let result = match read::u16(payload, 0) {
            None => Err(Error::Truncated { offset: payload.len() }),
            Some(10) => self.ipfix(Some(session), exporter, limits, received, payload, out),
            Some(version) => Err(Error::UnknownVersion { version }),
        };
        self.counts.fate(result);
        result
    }

    /// Forgets what holds only within a session: templates, sequence numbers, and sets that wait for a template, which
    /// can no longer come. Running totals belong to the exporter and stay.
    pub fn end_session(&mut self, session: Session) {
        self.end_sessions(|other| other == session);
    }

    /// Whether something is remembered of a session.
    #[must_use]
    pub fn has_sessions(&self) -> bool {
        // They stand behind what came over UDP.
        self.domains.last().is_some_and(|domain| domain.session.is_some())
    }

    /// The same for all sessions. False: there were none.
    pub fn end_all_sessions(&mut self) -> bool {
        self.end_sessions(|_| true)
    }

    fn end_sessions(&mut self, is_over: impl Fn(Session) -> bool) -> bool {
        let before = self.domains.len();
        let (counts, template_octets) = (&mut self.counts, &mut self.template_octets);
        self.domains.retain(|domain| {
            let goes = domain.session.is_some_and(&is_over);
            if goes {
                counts.templates -= domain.templates.len() as u64;
                *template_octets -= domain.templates.octets();
            }
            !goes
        });
        let expired = self.hold.end_sessions(is_over);
        self.counts.expired(expired, &self.hold);
        self.domains.len() != before
    }

    /// Drops held sets that have waited for `limits.hold_ms` at `now`.
    pub fn expire(&mut self, limits: &Limits, now: UnixMillis) {
        let expired = self.hold.expire(now, limits.hold_ms);
        self.counts.expired(expired, &self.hold);
    }

    /// The counts.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Templates remembered, data and options, over all domains.
    #[must_use]
    pub fn templates(&self) -> usize {
        self.domains.iter().map(|domain| domain.templates.len()).sum()
    }

    /// Octets of memory that they take.
    #[must_use]
    pub const fn template_octets(&self) -> usize {
        self.template_octets
    }

    /// Forgets a quarter of them, those that were defined longest ago, because those of all exporters take too much room.
    /// Data of one of them waits until it is sent again. False: there are none.
    pub fn forget_templates(&mut self) -> bool {
        let defined =
            |domain: &Domain| domain.templates.all().map(|(_, t)| t.defined_at()).collect::<Vec<_>>();
        let mut all: Vec<UnixMillis> = self.domains.iter().flat_map(defined).collect();
        if all.is_empty() {
            return false;
        }
        let go = all.len().div_ceil(4);
        let (older, &mut youngest, _) = all.select_nth_unstable(go - 1);
        // Of those that were defined at the same instant as the youngest that goes, only so many.
        let mut alike = go - older.iter().filter(|&&defined| defined < youngest).count();
        for domain in &mut self.domains {
            domain.templates.retain(|template| {
                let is_last = template.defined_at() == youngest && alike > 0;
                alike -= usize::from(is_last);
                !is_last && template.defined_at() >= youngest
            });
        }
        self.counts.templates -= go as u64;
        self.counts.template_refusals += go as u64;
        self.template_octets = self.domains.iter().map(|domain| domain.templates.octets()).sum();
        true
    }

    /// Observation domains remembered (one that speaks two protocol versions counts twice), and agents of sFlow.
    #[must_use]
    pub fn domains(&self) -> usize {
        self.domains.len() + self.agents.len()
    }

    /// Octets of sets that wait for their template.
    #[must_use]
    pub fn held_octets(&self) -> usize {
        self.hold.octets()
    }

    /// Sets that wait for their template.
    #[must_use]
    pub fn held_sets(&self) -> usize {
        self.hold.sets()
    }

    /// Octets of memory that these sets take.
    #[must_use]
    pub fn held_memory(&self) -> usize {
        self.hold.cost()
    }

    /// Expires the oldest waiting set, because those of all exporters take too much room. False: none waits.
    pub fn let_oldest_set_go(&mut self) -> bool {
        let mut expired = hold::Expired::default();
        let went = self.hold.drop_oldest(&mut expired);
        self.counts.crowded_sets += expired.sets;
        self.counts.expired(expired, &self.hold);
        went
    }

    /// Forgets the older generation of running totals (all, where there is only one), because those of all exporters are
    /// too many. False: there are none.
    pub fn forget_totals(&mut self) -> bool {
        let went = self.totals.give_way();
        self.counts.totals_forgotten = self.totals.forgotten();
        went
    }

    /// Flows whose running total is remembered.
    #[must_use]
    pub fn running_totals(&self) -> usize {
        self.totals.len()
    }

    /// How often a limit was hit: templates, domains and data sources refused, running totals forgotten for want of room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let counts = &self.counts;
        counts.template_refusals
            + counts.domain_refusals
            + counts.sflow.source_refusals
            + counts.totals_forgotten
    }

    /// Splits what is remembered into the domain at `at` and the rest.
    fn work<'a>(
        &'a mut self,
        at: usize,
        exporter: ExporterId,
        limits: &'a Limits,
        out: &'a mut Decoded,
    ) -> (&'a mut Domain, Work<'a>) {
        let Self { counts, domains, hold, totals, scratch, out_counters, template_octets, .. } = self;
        let (out_counters, order) = (*out_counters, Order::default());
        let domain = &mut domains[at];
        // To be weighed again.
        *template_octets -= domain.templates.octets();
        let work = Work {
            exporter,
            limits,
            counts,
            hold,
            totals,
            scratch,
            out_counters,
            template_octets,
            out,
            order,
            is_former: false,
            settled: Vec::new(),
        };
        (domain, work)
    }

    /// The index of a domain, which is made if there is room; one that was long silent gives way.
    fn domain(&mut self, version: u16, id: u32, limits: &Limits, received: UnixMillis) -> Option<usize> {
        self.domain_in(None, version, id, limits, received)
    }

    /// Whether something is remembered of a domain.
    fn has_domain(&self, session: Option<Session>, version: u16, id: u32) -> bool {
        self.domains.binary_search_by_key(&(session, version, id), |d| (d.session, d.version, d.id)).is_ok()
    }

    /// [`Self::domain`] in a session.
    fn domain_in(
        &mut self,
        session: Option<Session>,
        version: u16,
        id: u32,
        limits: &Limits,
        received: UnixMillis,
    ) -> Option<usize> {
        let search = |domains: &[Domain]| {
            domains.binary_search_by_key(&(session, version, id), |d| (d.session, d.version, d.id))
        };
        let mut place = search(&self.domains);
        if place.is_err() && self.domains() >= limits.domains {
            let idlest = (0..self.domains.len()).min_by_key(|&at| self.domains[at].last_seen);
            match idlest {
                Some(at) if received.since(self.domains[at].last_seen) >= DOMAIN_IDLE_MS => {
                    let gone = self.domains.remove(at);
                    if gone.session.is_none() {
                        self.gone.add(&gone.seen);
                    }
                    self.counts.templates -= gone.templates.len() as u64;
                    self.template_octets -= gone.templates.octets();
                    place = search(&self.domains);
                }
                _ => {
                    self.counts.domain_refusals += 1;
                    return None;
                }
            }
        }
        let at = match place {
            Ok(at) => at,
            Err(at) => {
                self.domains.insert(at, Domain::new(session, version, id, received));
                at
            }
        };
        self.domains[at].last_seen = received;
        Some(at)
    }
}

impl Domain {
    fn new(session: Option<Session>, version: u16, id: u32, received: UnixMillis) -> Self {
        Self {
            session,
            version,
            id,
            last_seen: received,
            sequence: sequence::Sequence::default(),
            recent: recent::Recent::default(),
            templates: template::Templates::default(),
            system_init: None,
            ran: None,
            run: None,
            seen: TransportCounts::default(),
        }
    }

    /// True where this very datagram, numbered `number`, is among the last ones of the domain. Never in a session: what
    /// TCP delivers was sent.
    fn is_duplicate(&mut self, number: u32, payload: &[u8]) -> bool {
        if self.session.is_some() {
            return false;
        }
        // A checksum that stays the same over versions, because it is part of the checkpoint. It decides only among
        // datagrams that claim the same sequence number.
        let checksum = crc32fast::hash(payload);
        self.recent.contains_or_add(number, checksum)
    }
}

impl Counts {
    /// The instant at which a datagram counts as exported, and by how many milliseconds that is later than what it
    /// states. No exporter can know the future, so where the export time is after reception, reception rules; and where
    /// it is too far before it. What a datagram says of other instants then moves with it. Clock faults are counted.
    fn export_time(
        &mut self,
        stated: UnixMillis,
        received: UnixMillis,
        limits: &Limits,
    ) -> (UnixMillis, i64) {
        let behind = received.since(stated);
        self.clock_ahead += u64::from(behind < 0);
        self.clock_behind += u64::from(behind > CLOCK_BEHIND_MS);
        if behind > limits.clock_skew_ms {
            self.clock_shifted += 1;
        } else if behind >= 0 {
            return (stated, 0);
        }
        (received, behind)
    }

    /// Counts what became of a datagram.
    fn fate(&mut self, result: Result<Fate, Error>) {
        match result {
            Ok(Fate::Decoded) => self.decoded += 1,
            Ok(Fate::Duplicate) => self.duplicates += 1,
            Err(error) => {
                self.malformed += 1;
                self.malformed_by_kind[error.kind() as usize] += 1;
            }
        }
    }

    fn told(&mut self, told: sequence::Told) {
        self.lost = (self.lost + u64::from(told.lost)).saturating_sub(u64::from(told.found));
        self.restarts += u64::from(told.restarted);
        self.shared_domains += u64::from(told.shared);
    }

    fn expired(&mut self, expired: hold::Expired, hold: &hold::Hold) {
        self.expired_sets += expired.sets;
        self.expired_octets += expired.octets;
        self.held_sets = hold.sets() as u64;
        self.held_octets = hold.octets() as u64;
    }
}

#[cfg(test)]
pub(crate) mod tests;
