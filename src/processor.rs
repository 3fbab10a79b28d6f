//! The stream processor: decode, scale, classify and meter, over one batch after the other.
//!
//! It belongs to one thread and shares nothing on its way but the immutable compiled configuration. It does no I/O
//! and reads no clock: datagrams and instants are handed to it, and [`StreamProcessor::drain`] hands back what a
//! flush commits: usage, totals and checkpoints. Decoding and scaling run a datagram at a time, since a datagram's
//! options may change the rate of the next one; classification and metering run over a batch of records.

pub mod checkpoint;
mod drained;
pub mod exporters;
mod former;
mod losses;
mod publish;
mod room;

use core::net::IpAddr;
use core::sync::atomic::Ordering::Relaxed;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::classify::{Classified, Versions};
use crate::counters::{self, Counters};
use crate::decode::{self, Decoded, ExporterDecoder, Fate};
use crate::exporter::Policies;
use crate::flow::FlowRecord;
use crate::ids::{ExporterId, Session};
use crate::meter::{self, Meter, Rows};
use crate::sampling::{self, ExporterSampling};
use crate::units::UnixMillis;
use crate::usage::{FlushTotals, Remembered};
use checkpoint::Unreadable;
pub use drained::{Drained, Unsorted};
use exporters::{Entry, Exporters};
use losses::{Booked, Losses};
pub use publish::{Kept, kept, remembered};
use room::Weight;

/// Records that are classified and metered together. Large enough that cache misses overlap, small enough that a
/// batch stays in the second-level cache.
const BATCH_RECORDS: usize = 512;

/// Records that the batch keeps room for: one that had to take a whole hold does not keep that much for ever.
const BATCH_ROOM: usize = 16 * BATCH_RECORDS;

/// The configuration of the stages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Bounds of decoding.
    pub decode: decode::Limits,
    /// Waiting for rates.
    pub sampling: sampling::Config,
    /// Buckets and bounds of metering.
    pub meter: meter::Config,
}

/// What the processor remembers of one exporter.
struct ExporterState {
    entry: Arc<Entry>,
    memory: Memory,
    /// True when something changed since the last checkpoint.
    dirty: bool,
    /// Counts as of the last drain: totals of a flush are differences to it.
    drained: decode::Counts,
    drained_expired: Expired,
    drained_taken_up: u64,
    drained_rounded: u64,
    /// The same for what came and what was lost, which days and names divide.
    booked: Booked,
    /// Instant of its newest datagram.
    seen: UnixMillis,
    /// It is no longer allowed.
    is_former: bool,
}

/// What goes into a checkpoint.
#[derive(Default, Deserialize, Serialize)]
struct Memory {
    decoder: ExporterDecoder,
    sampling: ExporterSampling,
}

impl Memory {
    /// What an earlier process, or this one, left of an exporter that has the number `id` now.
    fn restore(left: Remembered, id: ExporterId) -> Result<Self, Unreadable> {
        let mut memory = checkpoint::read::<Self>(&left.state)?;
        memory.sampling.restore(id, left.chunks.written).map_err(|sampling::BadHold| Unreadable::Hold)?;
        Ok(memory)
    }

    /// True where something that was left waits for a template or a rate, or is of a session that is over.
    fn waits(left: &Remembered) -> Result<bool, Unreadable> {
        let memory = checkpoint::read::<Self>(&left.state)?;
        let waits = memory.decoder.held_octets() > 0 || !left.chunks.written.is_empty();
        Ok(waits || memory.decoder.has_sessions() || memory.sampling.has_sessions())
    }

    /// Ends all TCP sessions; false where there was none.
    fn end_all_sessions(&mut self) -> bool {
        let had_rates = self.sampling.has_sessions();
        self.sampling.end_all_sessions();
        self.decoder.end_all_sessions() || had_rates
    }

    /// What the next flush has to write.
    fn take_changes(&mut self) -> Remembered {
        let chunks = self.sampling.take_changes();
        Remembered { state: checkpoint::write(self), chunks }
    }
}

/// Records that waited for a rate in vain.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Expired {
    records: u64,
    octets: u64,
    /// Of the records, those that are the other direction of one that expired with them.
    seconds: u64,
}

impl Expired {
    fn of(sampling: &ExporterSampling) -> Self {
        Self {
            records: sampling.expired_records(),
            octets: sampling.expired_octets(),
            seconds: sampling.expired_seconds(),
        }
    }
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// Decoded, at least in part, or counted as malformed or duplicate.
    Yes,
    /// Its exporter is not allowed, or there is no room for another one.
    Rejected,
}

/// Who the exporters of a process are: by number, ascending.
pub type ExporterNames = Vec<(ExporterId, Arc<counters::Exporter>)>;

/// A checkpoint that this program cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the checkpoint of exporter {exporter} {reason}")]
pub struct BadCheckpoint {
    /// The exporter's address.
    pub exporter: IpAddr,
    /// Why, and how to go on.
    pub reason: Unreadable,
}

/// Says whether an exporter is this processor's.
type Ours = Box<dyn Fn(IpAddr) -> bool + Send>;

/// Looks at a batch and at what classification found of it, an entry a record.
pub type Observer = Box<dyn FnMut(&[FlowRecord], &[Classified]) + Send>;

/// The stages, and what they remember.
pub struct StreamProcessor {
    index: usize,
    config: Config,
    counters: Arc<Counters>,
    registry: Arc<Exporters>,
    generation: u64,
    /// [`Exporters::renames`] as of then.
    renames: u64,
    versions: Arc<Versions>,
    /// By what the datagrams are read and scaled that are fed now, where whoever feeds it says so; otherwise by the newest.
    policies: Option<Arc<Policies>>,
    states: HashMap<IpAddr, ExporterState, foldhash::fast::RandomState>,
    decoded: Decoded,
    released: Vec<FlowRecord>,
    /// Checkpoints of exporters that a reload took away since the last drain.
    parted: Vec<(String, Remembered)>,
    /// What all exporters together take.
    weight: Weight,
    /// Whose states this processor takes up; nobody's before it is told.
    ours: Option<Ours>,
    /// Records that had to leave for want of room since the last drain.
    crowded_out: u64,
    classified: Vec<Classified>,
    observer: Option<Observer>,
    /// Who the exporters of the rows in the meter are.
    named: BTreeMap<ExporterId, Arc<counters::Exporter>>,
    /// Usage metered under names that a reload has changed since.
    former: Vec<(ExporterNames, Rows)>,
    /// Whoever feeds it has asked who may send.
    trusts: bool,
    meter: Meter,
    totals: FlushTotals,
    losses: Losses,
    /// Records that the meter had refused as of the last drain.
    refused: u64,
    now: UnixMillis,
}

impl StreamProcessor {
    /// The processor with `index`, which accounts for itself in `counters.processors[index]`.
    #[must_use]
    pub fn new(index: usize, config: Config, registry: Arc<Exporters>, counters: Arc<Counters>) -> Self {
        let renames = registry.renames();
        let (generation, versions) = registry.versions();
        let own = &counters.processors[index];
        own.usage.limit.store(config.meter.rows_max as u64, Relaxed);
        let lifetime = u64::try_from(config.decode.template_lifetime_ms / 1000).unwrap_or(0);
        own.template_lifetime_seconds.store(lifetime, Relaxed);
        own.held_records.limit.store(config.sampling.hold_octets as u64, Relaxed);
        own.running_totals.limit.store(config.decode.running_totals_all as u64, Relaxed);
        Self {
            index,
            config,
            registry,
            generation,
            renames,
            versions,
            policies: None,
            states: HashMap::default(),
            decoded: Decoded::default(),
            released: Vec::new(),
            parted: Vec::new(),
            weight: Weight::default(),
            ours: None,
            crowded_out: 0,
            classified: Vec::new(),
            observer: None,
            named: BTreeMap::new(),
            former: Vec::new(),
            trusts: false,
            meter: Meter::new(config.meter),
            totals: FlushTotals::default(),
            losses: Losses::default(),
            refused: 0,
            now: UnixMillis(0),
            counters,
        }
    }

    /// Shows every batch to `observer`, before it is metered.
    pub fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// Says whether what comes next is read from a file of IPFIX messages (RFC 5655), and not from datagrams.
    pub const fn read_messages(&mut self, is_file: bool) {
        self.config.decode.obey_withdrawals = is_file;
    }

    /// What is fed from now on was received when these policies were in force, and goes by them. What waits already goes by
    /// them from now on, too: an operator's word lets go what waits for it.
    pub fn go_by(&mut self, policies: &Arc<Policies>) {
        if self.policies.as_ref().is_some_and(|now| Arc::ptr_eq(now, policies)) {
            return;
        }
        self.policies = Some(Arc::clone(policies));
        for (address, state) in &mut self.states {
            state.entry = Exporters::entry_by(self.policies.as_ref(), *address, Arc::clone(&state.entry));
        }
    }

    /// True while there is room in the usage table.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.meter.is_full() && self.former_rows() < self.config.meter.rows_max
    }

    /// True while there is so much room in it that a drain need not be thought of.
    #[must_use]
    pub fn has_much_room(&self) -> bool {
        !self.meter.is_nearly_full() && self.has_room()
    }

    /// Usage rows waiting for a flush.
    #[must_use]
    pub fn usage_rows(&self) -> usize {
        self.meter.len() + self.former_rows()
    }

    fn former_rows(&self) -> usize {
        self.former.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// True when something happened since the last [`Self::drain`]; also where something that waited has expired, or a
    /// session has ended.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.totals.datagrams > 0
            || self.usage_rows() > 0
            || !self.decoded.records.is_empty()
            || self.states.values().any(|state| state.dirty)
    }

    /// Takes a datagram that came from `source` at `received`.
    ///
    /// # Errors
    /// When the exporter's checkpoint cannot be read: going on without it would count something twice or not at all.
    pub fn feed(
        &mut self,
        received: UnixMillis,
        source: IpAddr,
        payload: &[u8],
    ) -> Result<Taken, BadCheckpoint> {
        self.feed_in(None, received, source, payload)
    }

    /// [`Self::feed`] for a message that came in a session of `source`. Without a payload it is the session's boundary:
    /// what was remembered under its number is forgotten, and nothing is counted.
    ///
    /// # Errors
    /// As there.
    pub fn feed_in(
        &mut self,
        session: Option<Session>,
        received: UnixMillis,
        source: IpAddr,
        payload: &[u8],
    ) -> Result<Taken, BadCheckpoint> {
        self.pass_time(received);
        if self.registry.renames() != self.renames {
            // What waits to be metered came from whoever had the names before; this datagram did not.
            self.take_configuration();
        }
        let is_allowed = match self.states.get(&source) {
            Some(state) => !state.is_former || self.trusts || self.registry.allows(source),
            None => self.admit(source)?,
        };
        if !is_allowed {
            return Ok(Taken::Rejected);
        }
        let state = self.states.get_mut(&source).expect("admitted above");
        let before = Weight::of(&state.memory);
        if state.memory.decoder.held_octets() > 0 {
            // What waited too long is not released any more, however seldom somebody looks.
            state.memory.decoder.expire(&self.config.decode, self.now);
        }
        state.dirty = true;
        if let Some(session) = session
            && payload.is_empty()
        {
            state.memory.decoder.end_session(session);
            state.memory.sampling.end_session(session);
            self.weight.change(before, Weight::of(&state.memory));
            return Ok(Taken::Yes);
        }
        state.seen = received;
        self.totals.datagrams += 1;
        let Entry { id, counters, .. } = &*state.entry;
        counters.datagrams.fetch_add(1, Relaxed);
        counters.octets.fetch_add(payload.len() as u64, Relaxed);
        counters.last_seen.store(received.0, Relaxed);

        let from = self.decoded.records.len();
        let started = state.memory.decoder.counts().restarts;
        let (decoder, limits, out) = (&mut state.memory.decoder, &self.config.decode, &mut self.decoded);
        decoder.read_out_counters(state.entry.out_counters.unwrap_or_default());
        let fate = match session {
            None => decoder.datagram(*id, limits, received, payload, out),
            Some(session) => decoder.message(session, *id, limits, received, payload, out),
        };
        match fate {
            Ok(Fate::Decoded) => {}
            Ok(Fate::Duplicate) => self.totals.duplicates += 1,
            Err(error) => {
                self.totals.malformed += 1;
                state.entry.report_malformed(received, error);
            }
        }
        let started = state.memory.decoder.counts().restarts - started;
        if started > 0 {
            // Told at once: whoever polls the exporter does so sooner.
            counters.restarts.fetch_add(started, Relaxed);
            // What it sends waits from this datagram on.
            if let Some(entry) = self.registry.has_started(source, received) {
                state.entry = Exporters::entry_by(self.policies.as_ref(), source, entry);
            }
        }
        if state.memory.decoder.counts().out_counters_unsaid > 0 {
            state.entry.ask_for_out_counters();
        }
        let Entry { policy, counters, .. } = &*state.entry;
        let sampling = &mut state.memory.sampling;
        let Decoded { announcements, sequences, restarts, .. } = &mut self.decoded;
        if !(announcements.is_empty() && sequences.is_empty() && restarts.is_empty()) {
            sampling.end_graces(&self.config.sampling, policy, self.now, &mut self.released);
        }
        let stream = sampling.stream(session, restarts);
        sampling.restarted(&self.config.sampling, stream, restarts, received);
        sampling.announce_sequences(stream, sequences);
        // Released records are scaled already; they go before the datagram's own only in the sense of time.
        sampling.announce(stream, announcements, policy, &mut self.released);
        restarts.clear();
        sequences.clear();
        announcements.clear();
        let records = &mut self.decoded.records;
        sampling.scale(&self.config.sampling, policy, (stream, received), records, from);
        self.decoded.records.append(&mut self.released);
        sampling.make_few(&mut self.decoded.records[from..], self.now);
        self.crowded_out += sampling.take_crowded_out();
        self.weight.change(before, Weight::of(&state.memory));
        if let Some(newest) = self.decoded.records.last() {
            counters.rate_numerator.store(newest.rate.numerator(), Relaxed);
            counters.rate_denominator.store(newest.rate.denominator(), Relaxed);
        }
        self.make_room();
        if self.decoded.records.len() >= BATCH_RECORDS {
            self.settle();
        }
        Ok(Taken::Yes)
    }

    /// All TCP sessions of an exporter are over: what is fed of it from now on was received by another run of the daemon.
    pub fn end_sessions(&mut self, source: IpAddr) {
        let Some(state) = self.states.get_mut(&source) else { return };
        let before = Weight::of(&state.memory);
        state.dirty |= state.memory.end_all_sessions();
        self.weight.change(before, Weight::of(&state.memory));
    }

    /// Makes room for the state of an exporter not met before in this run. False: it is not allowed.
    fn admit(&mut self, source: IpAddr) -> Result<bool, BadCheckpoint> {
        let by = self.policies.as_ref();
        let former = || self.trusts.then(|| self.registry.admit_former(source, by)).flatten();
        let Some(entry) = self.registry.admit(source).or_else(former) else { return Ok(false) };
        let memory = match self.registry.take_state(source) {
            Some(left) => Memory::restore(left, entry.id)
                .map_err(|reason| BadCheckpoint { exporter: source, reason })?,
            None => Memory::default(),
        };
        self.begin(source, entry, memory);
        Ok(true)
    }

    /// Takes up the states left for `ours` in which something waits. Whoever is heard again takes up his own; but what
    /// waits must come to its end also where its exporter is never heard again. To be called once, before anything that
    /// came in this run is fed: sessions that a former run left in them are over.
    ///
    /// # Errors
    /// See [`Self::feed`].
    pub fn take_up_waiting(
        &mut self,
        ours: impl Fn(IpAddr) -> bool + Send + 'static,
    ) -> Result<(), BadCheckpoint> {
        self.ours = Some(Box::new(ours));
        for address in self.registry.left() {
            self.take_up(address, true)?;
        }
        Ok(())
    }

    /// Takes up the state left for one exporter, where it is ours, and something waits in it. `is_start`: the sessions in it
    /// are over.
    fn take_up(&mut self, address: IpAddr, is_start: bool) -> Result<(), BadCheckpoint> {
        if !self.ours.as_ref().is_some_and(|ours| ours(address)) {
            return Ok(());
        }
        let Some(left) = self.registry.take_state(address) else { return Ok(()) };
        let taken = Memory::waits(&left).and_then(|waits| {
            let former = || self.registry.admit_former(address, self.policies.as_ref());
            let any = || self.registry.admit(address).or_else(former);
            let entry = if waits { any() } else { None };
            entry.map(|entry| Ok((Memory::restore(left.clone(), entry.id)?, entry))).transpose()
        });
        let Ok(Some((mut memory, entry))) = taken else {
            self.registry.leave_state(address, left);
            // Of whom nobody wants to hear any more, nobody need hear that it cannot be read.
            return match taken {
                Err(reason) if self.registry.allows(address) => {
                    Err(BadCheckpoint { exporter: address, reason })
                }
                _ => Ok(()),
            };
        };
        let before = *memory.decoder.counts();
        let had_sessions = is_start && memory.end_all_sessions();
        self.begin(address, entry, memory);
        // What waited in a session has expired just now: the next drain tells the difference.
        let begun = self.states.get_mut(&address).expect("begun above");
        begun.publish_memory();
        (begun.drained, begun.dirty) = (before, had_sessions);
        Ok(())
    }

    fn begin(&mut self, source: IpAddr, entry: Arc<Entry>, memory: Memory) {
        self.weight.change(Weight::default(), Weight::of(&memory));
        let drained = *memory.decoder.counts();
        let drained_expired = Expired::of(&memory.sampling);
        let drained_taken_up = memory.sampling.taken_up();
        let drained_rounded = memory.sampling.rounded();
        let booked = Booked::of(&drained);
        self.named.insert(entry.id, Arc::clone(&entry.counters));
        let entry = Exporters::entry_by(self.policies.as_ref(), source, entry);
        self.states.insert(
            source,
            ExporterState {
                entry,
                memory,
                dirty: false,
                drained,
                drained_expired,
                drained_taken_up,
                drained_rounded,
                booked,
                seen: UnixMillis(0),
                is_former: self.registry.entry(source).is_none(),
            },
        );
    }

    /// Takes up a configuration that was loaded meanwhile at once, and not with the next full batch.
    pub fn take_up_configuration(&mut self) {
        if self.registry.generation() != self.generation {
            self.settle();
        }
    }

    /// Classifies and meters the batch.
    fn settle(&mut self) {
        if self.registry.generation() != self.generation {
            self.take_configuration();
        }
        self.meter_batch();
    }

    fn meter_batch(&mut self) {
        let tally = self.versions.classify(&self.decoded.records, &mut self.classified);
        self.totals.duplicate_observations += tally.duplicate_observations;
        self.totals.duplicate_observation_octets += tally.duplicate_observation_octets;
        if tally.by_other_version > 0 {
            self.own().by_other_version.fetch_add(tally.by_other_version, Relaxed);
        }
        if tally.observation_unknown > 0 {
            self.report_unknown_observations(tally.observation_unknown);
        }
        if let Some(observe) = &mut self.observer {
            observe(&self.decoded.records, &self.classified);
        }
        self.meter.add(&self.decoded.records, &self.classified);
        self.decoded.records.clear();
        if self.decoded.records.capacity() > BATCH_ROOM {
            self.decoded.records.shrink_to(BATCH_ROOM);
            self.classified.clear();
            self.classified.shrink_to(BATCH_ROOM);
        }
    }

    /// Takes up a configuration that was loaded meanwhile: classifiers and the exporters' policies.
    fn take_configuration(&mut self) {
        (self.generation, self.versions) = self.registry.versions();
        // Behind the versions: whatever has come into force with them is in that.
        let renames = self.registry.renames();
        if core::mem::replace(&mut self.renames, renames) != renames {
            self.set_renamed_aside();
        }
        self.part_with_those(|this, address, state| {
            let Some(entry) = this.registry.entry(address) else { return false };
            if entry.counters.name != state.entry.counters.name {
                this.losses.book(state);
            }
            this.named.insert(entry.id, Arc::clone(&entry.counters));
            let entry = Exporters::entry_by(this.policies.as_ref(), address, entry);
            (state.entry, state.is_former) = (entry, false);
            true
        });
        // Who is allowed again is taken up, heard or not, as at a start. What cannot be read stays left, and is told when
        // its exporter is heard.
        for address in self.registry.left() {
            let _ = self.take_up(address, false);
        }
    }

    /// Where a reload has renamed an exporter of ours: what is metered belongs to the old name, and so does the batch, which
    /// came before.
    fn set_renamed_aside(&mut self) {
        let is_renamed = |known: &Arc<counters::Exporter>| {
            let entry = self.registry.entry(known.address);
            entry.is_some_and(|entry| entry.counters.name != known.name)
        };
        if !self.named.values().any(is_renamed) {
            return;
        }
        self.meter_batch();
        if self.meter.is_empty() {
            return;
        }
        let rows = self.take_rows();
        self.former.push((self.names(), rows));
    }

    fn names(&self) -> ExporterNames {
        self.named.iter().map(|(id, exporter)| (*id, Arc::clone(exporter))).collect()
    }

    /// Takes the rows out of the meter; their sums go into the totals.
    fn take_rows(&mut self) -> Rows {
        let totals = &mut self.totals;
        totals.metered_records += self.meter.pending_records();
        totals.metered_octets = totals.metered_octets.saturating_add(self.meter.pending_octets());
        totals.metered_packets = totals.metered_packets.saturating_add(self.meter.pending_packets());
        self.meter.take()
    }

    /// Lets the holds age: to `now` by the clock of the source.
    pub fn expire(&mut self, now: UnixMillis) {
        self.pass_time(now);
        let (config, now) = (self.config, self.now);
        self.each_holder(|state, released| {
            let decoder = &mut state.memory.decoder;
            decoder.expire(&config.decode, now);
            state.memory.sampling.expire(&config.sampling, &state.entry.policy, now, released);
            state.dirty |= !released.is_empty()
                || *decoder.counts() != state.drained
                || Expired::of(&state.memory.sampling) != state.drained_expired;
        });
    }

    /// The source is at its end: nothing more will be announced.
    pub fn finish(&mut self) {
        self.each_holder(|state, released| {
            state.memory.sampling.finish(&state.entry.policy, released);
            state.dirty = true;
        });
    }

    /// Lets `look` see each exporter for which something waits, and meters what it releases. One exporter after the
    /// other: what waited in few octets takes many when it is released.
    fn each_holder(&mut self, mut look: impl FnMut(&mut ExporterState, &mut Vec<FlowRecord>)) {
        if self.registry.generation() != self.generation {
            self.take_configuration();
        }
        let mut states = core::mem::take(&mut self.states);
        for state in states.values_mut() {
            if state.memory.decoder.held_octets() == 0 && state.memory.sampling.held_records() == 0 {
                continue;
            }
            let before = Weight::of(&state.memory);
            look(state, &mut self.released);
            state.memory.sampling.make_few(&mut self.released, self.now);
            self.weight.change(before, Weight::of(&state.memory));
            self.decoded.records.append(&mut self.released);
            if self.decoded.records.len() >= BATCH_RECORDS {
                self.meter_batch();
            }
        }
        self.states = states;
        self.released.shrink_to(BATCH_ROOM);
    }

    /// Records, sets and octets that are held now.
    #[must_use]
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        for state in self.states.values() {
            held.records += state.memory.sampling.held_records() as u64;
            held.seconds += state.memory.sampling.held_seconds() as u64;
            held.sets += state.memory.decoder.held_sets() as u64;
            held.set_octets += state.memory.decoder.held_octets() as u64;
            held.record_octets += state.memory.sampling.held_memory() as u64;
        }
        held
    }
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Flows that wait for a sampling rate.
    pub records: u64,
    /// Of them, those that are the other direction of a record whose first one waits, too.
    pub seconds: u64,
    /// Data sets that wait for a template.
    pub sets: u64,
    /// Octets of those sets.
    pub set_octets: u64,
    /// Octets of memory that those records take.
    pub record_octets: u64,
}

#[cfg(test)]
mod tests;
