//! Scaling: which sampling rate applies to a record, by the algorithm that the exporter states.
//!
//! In this order: the operator's override, that of the interface before that for all; the record's own rate (or the v5 or
//! v8 header's); the options record of the sampler that the record names; options for the interface where the record was observed; options for the whole
//! observation domain; options of the exporter's domain 0 over IPFIX, which is the device (RFC 7011 3.1);
//! those of its other domains, where they all agree; the operator's default. Never a
//! silent 1, never 0:
//!
//! - A record that names a sampler which nobody has described waits for the description; so does one that names a selection
//!   sequence, which is one sampler behind another (RFC 5476 6.5.1). A default does not stand in for it: the exporter says
//!   that a rate exists, so any other number would be wrong. The description may come from another domain of the exporter;
//!   but where that one has records, too, and so perhaps samplers of its own, it has to last out the grace time of the
//!   record's domain, which may yet describe its own. A domain that only sends options comes before one with records.
//! - A record may have two numbers for its sampler (elements 48 and 302). It goes by the one that is described; where both
//!   are, and differ, it waits.
//! - What an options record says of another domain than its own holds for no third one. Records of that one wait, or take
//!   the operator's default: the exporter samples, and does not say how it samples them.
//! - A record that names none, from a domain never seen before, waits until the domain has had time to announce its
//!   rate (`grace_ms`, by the record clock or by the clock of reception, whichever is over first). Then it takes what
//!   the order above still gives, and otherwise counts as unsampled, marked [`RateSource::NotAnnounced`].
//! - A record of a protocol without options (NetFlow v1, v5, v7, v8) that states no rate waits for nothing: the
//!   operator's default, or unsampled; marked [`RateSource::NotAnnounced`] where the protocol has no place for a rate.
//! - A statement that can be read in two ways gives no rate: the records it is about wait for a better one, or for the
//!   operator's override.
//! - A statement about a sampler is none about records that name no sampler. Where they could not name one (their template
//!   has no place for it), nobody can tell whether it was at work: they take the operator's default, or wait.
//! - Where interfaces have statements, a record goes by that of its own: the input one, or the output one where it was
//!   observed on the way out (or where only that is described, and all that are agree; where they differ, it waits). Of
//!   an interface without a statement nothing is known but what is said of the whole domain, or of the exporter: its records
//!   take the operator's default, or wait, whether those that have one agree or not.
//!   A sampler may be described by interface, too.
//! - The same holds of templates: a record is of the one whose number its data set has. That is the domain's own number,
//!   so what another domain says of templates tells only that the exporter samples. A record whose template and interface
//!   are both described goes by both, and waits where they differ.
//! - A statement about an interface and a template at once beats those about one of them.
//! - No record is traced to a line card (element 141 of data records is not read), a port, a VRF, or a scope that nobody
//!   knows: statements about those speak for all of the domain, or of the interface or template that they name beside it,
//!   where they agree, and for nothing where they differ. One about all of the domain comes before those in its parts.
//! - Domain 0 is the device as a whole (RFC 7011 3.1), where it has no records of its own: what it says comes before what
//!   other domains agree on.
//! - When the exporter has started anew, what it announced before is doubted: a router's configuration mostly survives its
//!   restart, but not always. Records wait until it is announced again. If it is not within the grace time, the old rates
//!   are used again, and that is counted ([`ExporterSampling::taken_up`]). So it is in a new session of IPFIX over TCP, which
//!   may be the first one after a start, or after a change of the rate: however soon it follows, that proves nothing.
//! - What a TCP session announces holds for that session (RFC 7011 3.1), and for the one that takes its place. One that announces
//!   nothing while an older one that is open has the same domain and does, takes the operator's default, or waits.
//! - A statement that newer ones have overtaken on its way over UDP does not replace them ([`crate::flow::Order`]).
//!
//! - Of an exporter with links by name, nothing is released before somebody was told what its interfaces are called
//!   ([`SamplingPolicy::names_awaited`]): not even what states its rate. Nor for some minutes after it has started anew,
//!   where interfaces of links have not shown yet ([`SamplingPolicy::interfaces_awaited`]); but there what finds no room is
//!   let go as if they had.
//!
//! Waiting is bounded by `hold_ms`, by `hold_records` for each exporter, and over all exporters of a processor by
//! `hold_octets`, which the processor sees to ([`ExporterSampling::give_way`]). What waited in vain is counted in records
//! and octets. A record that only waits out the grace time is never lost: where the hold is full it is let go early.
//!
//! An exporter that states very many rates gets few all the same ([`ExporterSampling::make_few`]).

mod compact;
mod few;
mod hold;
mod rates;

use serde::{Deserialize, Serialize};

use crate::exporter::SamplingPolicy;
use crate::flow::{Announcement, FlowRecord, Observed, SamplerRef, SelectionSequence};
use crate::ids::{ExporterId, Session};
use crate::units::{IfIndex, RateSource, SamplingRate, UnixMillis};
use crate::usage::ChunkChanges;

pub use hold::BadHold;
pub use rates::Stream;

use compact::{Held, Waiting};
use few::Few;
use hold::Hold;
use rates::{Answer, Known, Origin, Point, Rates, Source};

/// `[sampling]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// How long the records of a domain never seen before wait for domain-wide options, by the record clock.
    pub grace_ms: i64,
    /// How long a record waits for the sampler that it names.
    pub hold_ms: i64,
    /// Records of one exporter that may wait.
    pub hold_records: usize,
    /// Octets of memory that the waiting records of all exporters of a processor may take.
    pub hold_octets: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grace_ms: 10 * 60 * 1000,
            hold_ms: 60 * 60 * 1000,
            hold_records: 65_536,
            hold_octets: 64 << 20,
        }
    }
}

/// Waiting records that are looked at at once when something is announced. Where there are more, they are looked at
/// when holds age, or before a flush: an exporter that announces something else in every datagram must not keep its processor busy.
const LOOK_AT_ONCE: usize = 4096;

/// What a record gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Rate(SamplingRate),
    Wait(Waiting),
}

/// All that scaling remembers of one exporter.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct ExporterSampling {
    rates: Rates,
    hold: Hold,
    few: Few,
    /// The operator's word when waiting records were last looked at.
    #[serde(skip)]
    policy: Option<SamplingPolicy>,
    /// Something was announced, or may have been, since waiting records were last looked at.
    #[serde(skip)]
    stale: bool,
    /// Records that had to leave for want of room, not yet told.
    #[serde(skip)]
    crowded_out: u64,
}

impl ExporterSampling {
    /// What a message came in, which began in these domains anew.
    pub fn stream(&mut self, session: Option<Session>, began: &[u32]) -> Stream {
        let has_waiting = !self.hold.is_empty();
        session.map_or(Stream::DATAGRAMS, |session| {
            self.rates.stream(session, began.first().copied(), has_waiting)
        })
    }

    /// A session has ended. What it announced is doubted by the one that follows; what waits goes on waiting.
    pub fn end_session(&mut self, session: Session) {
        self.rates.end_sessions(|other| other == session);
        self.stale = true;
    }

    /// Whether a session is open, as far as anybody has said.
    #[must_use]
    pub fn has_sessions(&self) -> bool {
        self.rates.has_sessions()
    }

    /// All sessions have.
    pub fn end_all_sessions(&mut self) {
        self.rates.end_sessions(|_| true);
        self.stale = true;
    }

    /// Takes in what one datagram announces. Records that waited for it are appended to `released`, scaled; where very
    /// many wait, at the next [`Self::expire`] or [`Self::settle`].
    pub fn announce(
        &mut self,
        stream: Stream,
        announcements: &[Announcement],
        policy: &SamplingPolicy,
        released: &mut Vec<FlowRecord>,
    ) {
        for announcement in announcements {
            self.stale |= self.rates.announce(stream, announcement);
        }
        if self.stale {
            self.rates.work_out();
        }
        if self.stale && self.hold.len() <= LOOK_AT_ONCE {
            self.release(policy, released);
        }
    }

    /// Takes in what selection sequences consist of. To be followed by [`Self::announce`].
    pub fn announce_sequences(&mut self, stream: Stream, sequences: &[SelectionSequence]) {
        for sequence in sequences {
            self.stale |= self.rates.announce_sequence(stream, sequence);
        }
    }

    /// The exporter has started anew, as datagrams of these domains show. To be followed by what the datagram announces:
    /// what was announced before is not used there until it is announced again, or the grace time is over.
    pub fn restarted(&mut self, config: &Config, stream: Stream, domains: &[u32], now: UnixMillis) {
        for &domain in domains {
            let has_waiting = !self.hold.is_empty();
            self.rates.restarted(Origin { domain, stream }, now, config.grace_ms, has_waiting);
        }
    }

    /// Settles the rates of `records[from..]`, which came in `stream`; those that must wait are taken out and held. The order of the others
    /// stays; records whose wait ends here are appended.
    pub fn scale(
        &mut self,
        config: &Config,
        policy: &SamplingPolicy,
        (stream, now): (Stream, UnixMillis),
        records: &mut Vec<FlowRecord>,
        from: usize,
    ) {
        if let Some(rate) = policy.over.filter(|_| policy.interfaces.is_empty() && !policy.holds_all()) {
            let rate = rate.with_source(RateSource::Override);
            for record in records.iter_mut().skip(from) {
                record.rate = rate;
            }
            self.release(policy, records);
            return;
        }
        let mut grace_over = false;
        let waited = self.hold.len();
        // The record before waits, too.
        let mut waits = false;
        let (mut at, mut kept) = (from, from);
        while at < records.len() {
            let (verdict, is_for_all) =
                self.ask(&records[at], config, policy, (stream, now), &mut grace_over);
            match verdict {
                Verdict::Rate(rate) => {
                    let settled = if is_for_all { alike(&records[at..]) } else { 1 };
                    for record in &mut records[at..at + settled] {
                        record.rate = rate;
                    }
                    if kept != at {
                        records.copy_within(at..at + settled, kept);
                    }
                    (at, kept) = (at + settled, kept + settled);
                    waits = false;
                }
                Verdict::Wait(waiting) => {
                    let second = records[at].second && waits;
                    let record = FlowRecord { second, ..records[at] };
                    self.hold.keep(&Held { record, stream, since: now, waiting });
                    (at, waits) = (at + 1, true);
                }
            }
        }
        records.truncate(kept);
        if self.hold.len() > waited && self.policy.as_ref() != Some(policy) {
            // What waits now waits by the word of this policy. Where an earlier one comes back, it has not seen them.
            self.policy = None;
        }
        if grace_over {
            self.release(policy, records);
        }
        self.make_room(config, policy, records);
    }

    /// The verdict on a record that comes in, and whether it is that of every record of its domain with the same sampler.
    /// `grace_over` becomes true where the domain's grace time ends with it.
    fn ask(
        &mut self,
        record: &FlowRecord,
        config: &Config,
        policy: &SamplingPolicy,
        (stream, now): (Stream, UnixMillis),
        grace_over: &mut bool,
    ) -> (Verdict, bool) {
        let origin = Origin { domain: record.domain, stream };
        if policy.holds_all() {
            if !matches!(record.sampler, SamplerRef::Stated(_) | SamplerRef::Silent | SamplerRef::Mute) {
                *grace_over |= self.rates.seen(origin, record.end, now, config.grace_ms);
            }
            return (self.verdict_on(record, stream, policy), false);
        }
        // Interfaces with a rate by the operator are asked for before anything else.
        let is_for_all = policy.interfaces.is_empty();
        if let Some(rate) = policy.ruling(record) {
            return (Verdict::Rate(rate), is_for_all);
        }
        let sampler = match record.sampler {
            SamplerRef::Stated(rate) => return (Verdict::Rate(rate), is_for_all),
            silent @ (SamplerRef::Silent | SamplerRef::Mute) => {
                let rate = unsampled(silent, policy);
                return (rate.map_or(Verdict::Wait(Waiting::Described), Verdict::Rate), is_for_all);
            }
            SamplerRef::Named(sampler) | SamplerRef::Either { selector: sampler, .. } => Some(sampler),
            SamplerRef::Unnamed | SamplerRef::Zero | SamplerRef::Sequence(_) => None,
        };
        *grace_over |= self.rates.seen(origin, record.end, now, config.grace_ms);
        let verdict = self.announced_for(record, origin, policy);
        let by_part = matches!(record.sampler, SamplerRef::Sequence(_) | SamplerRef::Either { .. })
            || self.rates.is_by_part(origin, sampler);
        (verdict, is_for_all && !by_part)
    }

    /// Ends the waits that are over at `now`: grace times, and `config.hold_ms`. A changed `policy` takes effect, too.
    pub fn expire(
        &mut self,
        config: &Config,
        policy: &SamplingPolicy,
        now: UnixMillis,
        released: &mut Vec<FlowRecord>,
    ) {
        self.end_graces(config, policy, now, released);
        self.settle(policy, released);
        self.hold.expire(now, config.hold_ms);
    }

    /// Of [`Self::expire`] what a datagram that announces something must find done, however seldom somebody looks: a grace time
    /// that was over before is over.
    pub fn end_graces(
        &mut self,
        config: &Config,
        policy: &SamplingPolicy,
        now: UnixMillis,
        released: &mut Vec<FlowRecord>,
    ) {
        if self.hold.is_empty() {
            return;
        }
        let passed = self.rates.grace_passes(now, config.grace_ms);
        let turned = self.policy.as_ref() != Some(policy);
        if turned {
            self.policy = Some(policy.clone());
        }
        if passed || turned {
            self.release(policy, released);
        }
        self.end_long_waits(now.plus(-config.grace_ms), policy, released);
    }

    /// Lets go what has waited out a whole grace time by itself, since `until` or longer. That of its domain may be
    /// another one by now: it begins anew when the exporter starts anew once more.
    fn end_long_waits(&mut self, until: UnixMillis, policy: &SamplingPolicy, released: &mut Vec<FlowRecord>) {
        if policy.holds_all() {
            return;
        }
        let mut hold = core::mem::take(&mut self.hold);
        let before = released.len();
        hold.retain_grace(until, |held| {
            let rate = match self.verdict_by_rate(&held.record, held.stream, policy) {
                Verdict::Rate(rate) => Some(rate),
                Verdict::Wait(Waiting::Grace) => self.early(&held.record, held.stream, policy),
                Verdict::Wait(Waiting::Described) => None,
            };
            let Some(rate) = rate else { return Some(Waiting::Described) };
            released.push(FlowRecord { rate, ..held.record });
            None
        });
        self.hold = hold;
        if released.len() > before {
            self.rates.count_taken_up();
        }
    }

    /// Lets go what was announced for since waiting records were last looked at. Before a flush, so that it has all that
    /// can be metered.
    pub fn settle(&mut self, policy: &SamplingPolicy, released: &mut Vec<FlowRecord>) {
        if self.stale {
            self.release(policy, released);
        }
    }

    /// The end of a capture: nothing more will be announced, so the grace time is over for every domain. Records that
    /// wait for more than that stay held.
    pub fn finish(&mut self, policy: &SamplingPolicy, released: &mut Vec<FlowRecord>) {
        self.rates.end_grace();
        self.release(policy, released);
    }

    /// Lets the oldest waiting records go, some hundred of them, because those of all exporters take too much room:
    /// what waits out the grace time as if it were over, what waits for a description as expired. False: none waits.
    pub fn give_way(&mut self, policy: &SamplingPolicy, released: &mut Vec<FlowRecord>) -> bool {
        let records = self.hold.oldest_chunk();
        for _ in 0..records {
            self.let_oldest_go(policy, released);
        }
        records > 0
    }

    /// Sees to it that `records`, whose rates are settled, and which came or were let go at `now`, have few different ones.
    /// The first hundreds of an exporter stay; others are rounded to a grid by lot, so that volume is right in the mean.
    pub fn make_few(&mut self, records: &mut [FlowRecord], now: UnixMillis) {
        self.few.settle(records, now);
    }

    /// Records whose rate was rounded, because their exporter states too many.
    #[must_use]
    pub const fn rounded(&self) -> u64 {
        self.few.rounded()
    }

    /// The waiting records as they changed since the last call. To be committed together with the serialised rest.
    pub fn take_changes(&mut self) -> ChunkChanges {
        self.hold.take_changes()
    }

    /// The waiting records, all of them.
    #[must_use]
    pub fn chunks(&self) -> ChunkChanges {
        self.hold.chunks()
    }

    /// Completes what was deserialised by its waiting records, and gives them the number that their exporter has in
    /// this process.
    ///
    /// # Errors
    /// Where they are not those that this was serialised with.
    pub fn restore(&mut self, exporter: ExporterId, chunks: Vec<(u64, Vec<u8>)>) -> Result<(), BadHold> {
        self.stale = true;
        self.rates.work_out();
        self.hold.restore(exporter, chunks)
    }

    /// Octets of memory that waiting records take.
    #[must_use]
    pub const fn held_memory(&self) -> usize {
        self.hold.memory()
    }

    /// Records that had to leave for want of room since the last call: let go early, or expired.
    pub fn take_crowded_out(&mut self) -> u64 {
        core::mem::take(&mut self.crowded_out)
    }

    /// Records that wait.
    #[must_use]
    pub fn held_records(&self) -> usize {
        self.hold.len()
    }

    /// Of them, those whose record has another direction that waits, too, and is counted.
    #[must_use]
    pub const fn held_seconds(&self) -> usize {
        self.hold.seconds()
    }

    /// Their octets, before scaling.
    #[must_use]
    pub const fn held_octets(&self) -> u64 {
        self.hold.octets()
    }

    /// Records that waited in vain.
    #[must_use]
    pub const fn expired_records(&self) -> u64 {
        self.hold.expired_records()
    }

    /// Of them, those whose record has another direction that expired with it, and is counted.
    #[must_use]
    pub const fn expired_seconds(&self) -> u64 {
        self.hold.expired_seconds()
    }

    /// Their octets, before scaling.
    #[must_use]
    pub const fn expired_octets(&self) -> u64 {
        self.hold.expired_octets()
    }

    /// Times that what was announced before the exporter started anew was used again, because nobody announced it anew
    /// within the grace time.
    #[must_use]
    pub const fn taken_up(&self) -> u64 {
        self.rates.taken_up()
    }

    /// Announcements that found no room.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.rates.refused()
    }

    /// What was announced, in the order that [`crate::counters::Memory`] wants.
    #[must_use]
    pub fn announced(&self) -> Vec<crate::counters::Sampler> {
        self.rates.announced()
    }

    /// What the domain's options say for records that name no sampler, if they say it.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn domain_rate(&self, domain: u32) -> Option<SamplingRate> {
        match self.rates.domain(Origin { domain, stream: Stream::DATAGRAMS }) {
            Known::Rate(rate) => Some(rate),
            Known::Nothing | Known::Elsewhere | Known::Ambiguous => None,
        }
    }

    /// The verdict on a record for which the operator has no rate of their own, and which states none.
    fn announced_for(&self, record: &FlowRecord, origin: Origin, policy: &SamplingPolicy) -> Verdict {
        let point = point(record, policy);
        let (answer, source) = match record.sampler {
            SamplerRef::Named(sampler) => self.rates.sampler(origin, sampler, point),
            SamplerRef::Either { sampler, selector } => {
                self.rates.either(origin, [selector, sampler.into()], point)
            }
            SamplerRef::Sequence(sequence) => self.rates.sequence(origin, sequence, point),
            _ => return self.unnamed(origin, point, record.sampler != SamplerRef::Zero, policy),
        };
        if self.rates.doubts(origin, answer) {
            return Verdict::Wait(Waiting::Grace);
        }
        match (answer.known, source) {
            (Known::Rate(_), Source::Neighbours) if self.rates.in_grace(origin) => {
                Verdict::Wait(Waiting::Grace)
            }
            (Known::Rate(rate), _) => Verdict::Rate(rate),
            _ => Verdict::Wait(Waiting::Described),
        }
    }

    /// The verdict on a record that names no sampler, or could not (`is_mute`).
    fn unnamed(&self, origin: Origin, point: Point, is_mute: bool, policy: &SamplingPolicy) -> Verdict {
        let own = self.rates.at(origin, point, is_mute);
        if self.rates.doubts(origin, own) {
            return Verdict::Wait(Waiting::Grace);
        }
        match own.known {
            Known::Rate(rate) => return Verdict::Rate(rate),
            Known::Ambiguous => return Verdict::Wait(Waiting::Described),
            _ if self.rates.in_grace(origin) => return Verdict::Wait(Waiting::Grace),
            Known::Nothing | Known::Elsewhere => {}
        }
        let all = self.rates.exporter(origin, point, is_mute);
        if self.rates.doubts(origin, all) {
            return Verdict::Wait(Waiting::Grace);
        }
        after_grace(all, policy).map_or(Verdict::Wait(Waiting::Described), Verdict::Rate)
    }

    /// What a record gets that has to leave before its domain's grace time, or doubt, is over.
    fn early(&self, record: &FlowRecord, stream: Stream, policy: &SamplingPolicy) -> Option<SamplingRate> {
        let (origin, point) = (self.rates.origin(record.domain, stream)?, point(record, policy));
        let rate = |answer: Answer| match answer.known {
            Known::Rate(rate) => Some(rate),
            _ => None,
        };
        match record.sampler {
            SamplerRef::Named(sampler) => rate(self.rates.sampler(origin, sampler, point).0),
            SamplerRef::Either { sampler, selector } => {
                rate(self.rates.either(origin, [selector, sampler.into()], point).0)
            }
            SamplerRef::Sequence(sequence) => rate(self.rates.sequence(origin, sequence, point).0),
            reference => {
                let is_mute = reference != SamplerRef::Zero;
                match self.rates.at(origin, point, is_mute).known {
                    Known::Rate(rate) => Some(rate),
                    Known::Ambiguous => None,
                    _ => after_grace(self.rates.exporter(origin, point, is_mute), policy),
                }
            }
        }
    }

    /// The verdict on a waiting record.
    fn verdict_on(&self, record: &FlowRecord, stream: Stream, policy: &SamplingPolicy) -> Verdict {
        if policy.names_awaited {
            return Verdict::Wait(Waiting::Described);
        }
        if policy.interfaces_awaited {
            // It is not lost, however long it waits.
            return Verdict::Wait(Waiting::Grace);
        }
        self.verdict_by_rate(record, stream, policy)
    }

    /// The verdict on a waiting record, whatever it means where it was seen.
    fn verdict_by_rate(&self, record: &FlowRecord, stream: Stream, policy: &SamplingPolicy) -> Verdict {
        if let Some(rate) = policy.ruling(record) {
            return Verdict::Rate(rate);
        }
        match record.sampler {
            silent @ (SamplerRef::Silent | SamplerRef::Mute) => {
                unsampled(silent, policy).map_or(Verdict::Wait(Waiting::Described), Verdict::Rate)
            }
            SamplerRef::Stated(rate) => Verdict::Rate(rate),
            _ => match self.rates.origin(record.domain, stream) {
                Some(origin) => self.announced_for(record, origin, policy),
                None => Verdict::Wait(Waiting::Described),
            },
        }
    }

    /// Lets go what need not wait any longer.
    fn release(&mut self, policy: &SamplingPolicy, released: &mut Vec<FlowRecord>) {
        self.stale = false;
        if self.hold.is_empty() {
            return;
        }
        let mut hold = core::mem::take(&mut self.hold);
        hold.retain(|held| match self.verdict_on(&held.record, held.stream, policy) {
            Verdict::Rate(rate) => {
                released.push(FlowRecord { rate, ..held.record });
                None
            }
            Verdict::Wait(waiting) => Some(waiting),
        });
        self.hold = hold;
    }

    /// Brings the hold within its bound.
    fn make_room(&mut self, config: &Config, policy: &SamplingPolicy, released: &mut Vec<FlowRecord>) {
        while self.hold.len() > config.hold_records {
            self.let_oldest_go(policy, released);
        }
    }

    /// Takes out the oldest record: what waits out the grace time is let go as if it were over, what waits for a
    /// description is expired.
    fn let_oldest_go(&mut self, policy: &SamplingPolicy, released: &mut Vec<FlowRecord>) {
        let Some(held) = self.hold.pop_oldest() else { return };
        self.crowded_out += 1;
        let verdict = if policy.names_awaited {
            Verdict::Wait(Waiting::Described)
        } else {
            self.verdict_by_rate(&held.record, held.stream, policy)
        };
        let rate = match verdict {
            Verdict::Rate(rate) => Some(rate),
            Verdict::Wait(Waiting::Grace) => self.early(&held.record, held.stream, policy),
            Verdict::Wait(Waiting::Described) => None,
        };
        match rate {
            Some(rate) => released.push(FlowRecord { rate, ..held.record }),
            None => self.hold.count_expired(&held.record),
        }
    }
}

/// Where a record's packets were looked at.
#[inline]
fn point(record: &FlowRecord, policy: &SamplingPolicy) -> Point {
    let (interface, is_egress) = policy.observation_point(record);
    let is_told = record.observed != Observed::Unknown || policy.at_egress;
    let other = if is_told { IfIndex(0) } else { record.output };
    Point { interface, is_egress, other, template: record.template }
}

/// What is left for a record whose domain announced nothing in time; `None` where the operator insists, and where the
/// exporter samples, but does not say how it sampled this one, or says different things: any rate would be a guess.
fn after_grace(all: Answer, policy: &SamplingPolicy) -> Option<SamplingRate> {
    match (all.known, policy.default) {
        (Known::Rate(rate), _) => Some(rate),
        (_, Some(default)) => Some(default.with_source(RateSource::Default)),
        (Known::Ambiguous | Known::Elsewhere, None) => None,
        (Known::Nothing, None) if policy.require => None,
        (Known::Nothing, None) => Some(SamplingRate::NOT_ANNOUNCED),
    }
}

/// How many of `records`, from the first one on, are of its domain and have its sampler.
#[inline]
fn alike(records: &[FlowRecord]) -> usize {
    let is_alike =
        |record: &&FlowRecord| record.domain == records[0].domain && record.sampler == records[0].sampler;
    records.iter().take_while(is_alike).count()
}

/// The rate of a record whose protocol has one place for a rate, which is empty, or none at all; `None` where the
/// operator insists.
fn unsampled(sampler: SamplerRef, policy: &SamplingPolicy) -> Option<SamplingRate> {
    match policy.default {
        Some(default) => Some(default.with_source(RateSource::Default)),
        None if policy.require => None,
        None if sampler == SamplerRef::Mute => Some(SamplingRate::NOT_ANNOUNCED),
        None => Some(SamplingRate::NOT_ANNOUNCED.with_source(RateSource::Header)),
    }
}

#[cfg(test)]
mod tests;
