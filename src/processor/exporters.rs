//! The registry of exporters: who may send, under which number, and what the operator says of each.
//!
//! Shared by all processors. They ask it only for an exporter that they have not met; what they need then is in an
//! immutable [`Entry`]. A reload makes new entries and raises the generation, which processors compare once a batch.

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::{info, warn};

use crate::classify::{Base, Versions};
use crate::counters::{self, Counters};
use crate::decode;
use crate::exporter::{Exporter, OutCounters, Policies, SamplingPolicy};
use crate::ids::{ExporterId, VersionHash};
use crate::units::UnixMillis;
use crate::usage::Remembered;

/// Exporters that nobody configured, at most: each costs memory that a stranger could make grow.
pub const UNCONFIGURED_MAX: usize = 4096;

/// At most one message an exporter in this time.
const REPORT_EVERY_MS: i64 = 60_000;

/// Exporters that one process can number. Numbers are never used again while it runs, since usage in flight has them.
pub const NUMBERED_MAX: usize = u16::MAX as usize;

/// An exporter that may send.
#[derive(Debug)]
pub struct Entry {
    /// Its number in this process.
    pub id: ExporterId,
    /// What the operator says of its sampling.
    pub policy: SamplingPolicy,
    /// What the operator says that elements 23 and 24 count.
    pub out_counters: Option<OutCounters>,
    /// Its counters.
    pub counters: Arc<counters::Exporter>,
    /// Nobody configured it.
    pub is_stranger: bool,
    reported: AtomicI64,
    asked: AtomicBool,
}

impl Entry {
    fn new(exporter: &Exporter, id: ExporterId, counters: Arc<counters::Exporter>) -> Self {
        let (reported, asked) = (AtomicI64::new(0), AtomicBool::new(false));
        let Exporter { sampling, out_counters, .. } = exporter;
        let (policy, out_counters) = (sampling.clone(), *out_counters);
        Self { id, policy, out_counters, counters, is_stranger: false, reported, asked }
    }

    /// Of one that nobody configured.
    fn of_stranger(address: IpAddr, id: ExporterId, counters: Arc<counters::Exporter>) -> Self {
        Self { is_stranger: true, ..Self::new(&Exporter::unconfigured(address), id, counters) }
    }

    /// The same exporter, by what `policies` say of it. What it waits for is a matter of now.
    fn by(self: Arc<Self>, address: IpAddr, policies: &Policies) -> Arc<Self> {
        let said = policies.of(address);
        let SamplingPolicy { names_awaited, interfaces_awaited, .. } = self.policy;
        let policy = said.map(|exporter| exporter.sampling.clone()).unwrap_or_default();
        let policy = SamplingPolicy { names_awaited, interfaces_awaited, ..policy };
        let out_counters = said.and_then(|exporter| exporter.out_counters);
        if policy == self.policy && out_counters == self.out_counters {
            return self;
        }
        let (id, counters, is_stranger) = (self.id, Arc::clone(&self.counters), self.is_stranger);
        let reported = AtomicI64::new(self.reported.load(Relaxed));
        let asked = AtomicBool::new(self.asked.load(Relaxed));
        Arc::new(Self { id, policy, out_counters, counters, is_stranger, reported, asked })
    }

    /// What was asked of the operator before is not asked again.
    fn take_asked(&mut self, former: Option<&Self>) {
        self.asked = AtomicBool::new(former.is_some_and(|former| former.asked.load(Relaxed)));
    }

    /// Asks the operator once what elements 23 and 24 of the exporter count, which nobody has said.
    pub fn ask_for_out_counters(&self) {
        if self.out_counters.is_none() && !self.asked.swap(true, Relaxed) {
            warn!(
                exporter = %self.counters.name, address = %self.counters.address,
                "nProbe counts the other direction of its flows in elements 23 and 24 (OUT_BYTES, OUT_PKTS), beside 1 and 2. \
                 Nothing says that this one does: they are not billed. Give the exporter `out_counters = \"reverse\"`, or \
                 `\"same\"` where they are the same packets."
            );
        }
    }

    /// Logs a malformed datagram, at most once a minute.
    pub fn report_malformed(&self, now: UnixMillis, error: decode::Error) {
        let last = self.reported.load(Relaxed);
        if last != 0 && now.since(UnixMillis(last)) < REPORT_EVERY_MS {
            return;
        }
        self.reported.store(now.0, Relaxed);
        warn!(exporter = %self.counters.name, address = %self.counters.address, %error, "Malformed datagram.");
    }
}

/// An exporter has started anew, and its interfaces have not been read since.
struct Start {
    /// Of how many such starts it is which: an earlier one may be over when this one comes.
    number: u64,
    at: UnixMillis,
    /// They have been read since; what they are is not in force yet.
    is_read: bool,
    /// They were waited for in vain. Only a reading makes others be waited for.
    is_over: bool,
}

impl Start {
    const fn holds(&self) -> bool {
        !self.is_over
    }
}

struct Inner {
    entries: HashMap<IpAddr, Arc<Entry>>,
    /// Number and counters of every exporter ever met, also of those no longer allowed.
    known: HashMap<IpAddr, (ExporterId, Arc<counters::Exporter>)>,
    /// Who has a section of the configuration in force.
    configured: HashSet<IpAddr>,
    unconfigured: usize,
    /// Whose interfaces are read, and may have other numbers after a start: see [`Exporters::ask`].
    asked: HashSet<IpAddr>,
    /// Starts of these.
    starts: HashMap<IpAddr, Start>,
    /// How many there were so far.
    started: u64,
    accept_unknown: bool,
    versions: Arc<Versions>,
    /// What the newest version says of how datagrams are read and scaled.
    policies: Arc<Policies>,
    /// What they were made of, by the hash of the text that each was compiled from.
    compiled: HashMap<String, Arc<Base>>,
}

/// The registry.
pub struct Exporters {
    inner: Mutex<Inner>,
    generation: AtomicU64,
    renames: AtomicU64,
    /// States that decoding left in an earlier run; each is taken up with its exporter's first datagram, by the
    /// processor that it reaches.
    states: Mutex<HashMap<IpAddr, Remembered>>,
    counters: Arc<Counters>,
}

impl Exporters {
    /// A registry that knows nobody; see [`Self::configure`].
    #[must_use]
    pub fn new(counters: Arc<Counters>) -> Self {
        let inner = Inner {
            entries: HashMap::new(),
            known: HashMap::new(),
            configured: HashSet::new(),
            unconfigured: 0,
            asked: HashSet::new(),
            starts: HashMap::new(),
            started: 0,
            accept_unknown: false,
            versions: Arc::new(Versions::new(Vec::new())),
            policies: Arc::default(),
            compiled: HashMap::new(),
        };
        counters.exporter_table.limit.store(NUMBERED_MAX as u64, Relaxed);
        Self {
            inner: Mutex::new(inner),
            generation: AtomicU64::new(0),
            renames: AtomicU64::new(0),
            states: Mutex::default(),
            counters,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }

    /// The numbers of these exporters, in their order. New ones are registered, without being allowed yet. `None` where
    /// that would leave fewer than `spare` of the [`NUMBERED_MAX`] numbers; then none of them gets one.
    pub fn number(&self, exporters: &[(&str, IpAddr)], spare: usize) -> Option<Vec<ExporterId>> {
        let mut inner = self.lock();
        let new = exporters.iter().filter(|(_, address)| !inner.known.contains_key(address)).count();
        if new > 0 && inner.known.len() + new + spare > NUMBERED_MAX {
            self.counters.exporter_table.failures.fetch_add(1, Relaxed);
            return None;
        }
        exporters.iter().map(|(name, address)| Some(self.known(&mut inner, name, *address)?.0)).collect()
    }

    fn known(
        &self,
        inner: &mut Inner,
        name: &str,
        address: IpAddr,
    ) -> Option<(ExporterId, Arc<counters::Exporter>)> {
        if let Some((id, counters)) = inner.known.get(&address) {
            return Some((*id, Arc::clone(counters)));
        }
        let mut all = self.counters.exporters.write().expect("no holder of this lock panics");
        if all.len() >= NUMBERED_MAX {
            self.counters.exporter_table.failures.fetch_add(1, Relaxed);
            return None;
        }
        let id = ExporterId(u16::try_from(all.len()).expect("NUMBERED_MAX fits"));
        let counters = Arc::new(counters::Exporter::new(name.to_owned(), address));
        all.push(Arc::clone(&counters));
        self.counters.exporter_table.set_current(all.len() as u64);
        inner.known.insert(address, (id, Arc::clone(&counters)));
        Some((id, counters))
    }

    /// Gives the exporter at `address` another name. Its number in this process stays; its counters begin anew, since
    /// they are those of the name.
    fn rename(&self, inner: &mut Inner, name: &str, address: IpAddr) {
        let Some((id, counters)) = inner.known.get_mut(&address) else { return };
        if counters.name == name {
            return;
        }
        self.renames.fetch_add(1, Relaxed);
        let former =
            core::mem::replace(counters, Arc::new(counters::Exporter::new(name.to_owned(), address)));
        let was_heard = former.was_heard.load(Relaxed) || former.last_seen.load(Relaxed) != 0;
        counters.was_heard.store(was_heard, Relaxed);
        self.counters.renamed.write().expect("no holder of this lock panics").push(former);
        let mut all = self.counters.exporters.write().expect("no holder of this lock panics");
        all[usize::from(id.0)] = Arc::clone(counters);
    }

    /// Puts a configuration in force: who may send, under which policy, and how flows are classified. Who got no
    /// [`Self::number`] may not send; a configuration with such exporters is refused before it comes here.
    pub fn configure(&self, exporters: &[Exporter], accept_unknown: bool, versions: Arc<Versions>) {
        self.configure_version(None, exporters, accept_unknown, versions);
    }

    /// The same; `stored` is the version of the ledger that says of these exporters what they say here.
    pub fn configure_version(
        &self,
        stored: Option<VersionHash>,
        exporters: &[Exporter],
        accept_unknown: bool,
        versions: Arc<Versions>,
    ) {
        let policies = Policies::new(stored, exporters);
        let mut inner = self.lock();
        if policies != *inner.policies {
            inner.policies = Arc::new(policies);
        }
        let mut entries = HashMap::new();
        for exporter in exporters {
            self.rename(&mut inner, &exporter.name, exporter.address);
            let Some((id, counters)) = self.known(&mut inner, &exporter.name, exporter.address) else {
                continue;
            };
            let mut entry = Entry::new(exporter, id, counters);
            entry.take_asked(inner.entries.get(&exporter.address).map(Arc::as_ref));
            entry.policy.interfaces_awaited |= inner.starts.get(&exporter.address).is_some_and(Start::holds);
            entries.insert(exporter.address, Arc::new(entry));
        }
        let configured: HashSet<IpAddr> = entries.keys().copied().collect();
        for address in inner.configured.difference(&configured) {
            if let Some((_, counters)) = inner.known.get(address) {
                counters.is_taken_out.store(true, Relaxed);
            }
        }
        for entry in entries.values() {
            entry.counters.is_taken_out.store(false, Relaxed);
        }
        inner.configured = configured;
        if accept_unknown {
            for (address, entry) in &inner.entries {
                entries.entry(*address).or_insert_with(|| {
                    let counters = Arc::clone(&entry.counters);
                    let mut own = Entry::of_stranger(*address, entry.id, counters);
                    own.take_asked(Some(entry.as_ref()));
                    Arc::new(own)
                });
            }
        }
        inner.entries = entries;
        inner.accept_unknown = accept_unknown;
        inner.versions = versions;
        self.generation.fetch_add(1, Relaxed);
        drop(inner);
        self.show(&self.states.lock().expect("no holder of this lock panics"));
    }

    /// Shows of those who may send, and have not been heard in this run, what an earlier one left of them.
    fn show(&self, states: &HashMap<IpAddr, Remembered>) {
        for (address, left) in states {
            let Some(entry) = self.entry(*address) else { continue };
            let counters = &entry.counters;
            if counters.was_heard.swap(true, Relaxed) {
                continue;
            }
            // What cannot be read is told when it is taken up.
            if counters.last_seen.load(Relaxed) == 0
                && let Ok(memory) = super::remembered(left)
            {
                counters.memory.store(Arc::new(memory));
            }
        }
    }

    /// Lets the records of an exporter wait until the next [`Self::configure`]: its interfaces may have other numbers, and
    /// what these mean is not in force yet.
    pub fn await_interfaces(&self, address: IpAddr) {
        let _ = self.wait(&mut self.lock(), address, true);
    }

    /// Lets the records of an exporter wait, or no longer.
    fn wait(&self, inner: &mut Inner, address: IpAddr, interfaces_awaited: bool) -> Option<Arc<Entry>> {
        let entry = inner.entries.get_mut(&address)?;
        let policy = SamplingPolicy { interfaces_awaited, ..entry.policy.clone() };
        let (id, counters) = (entry.id, Arc::clone(&entry.counters));
        let reported = AtomicI64::new(entry.reported.load(Relaxed));
        let asked = AtomicBool::new(entry.asked.load(Relaxed));
        let Entry { out_counters, is_stranger, .. } = **entry;
        *entry = Arc::new(Entry { id, policy, out_counters, counters, is_stranger, reported, asked });
        self.generation.fetch_add(1, Relaxed);
        Some(Arc::clone(entry))
    }

    /// Says whose interfaces somebody reads, and links have by name: [`Self::has_started`] lets their records wait. Those
    /// of others wait no longer.
    pub fn ask(&self, asked: HashSet<IpAddr>) {
        let mut inner = self.lock();
        let (stay, go) =
            core::mem::take(&mut inner.starts).into_iter().partition(|one| asked.contains(&one.0));
        inner.starts = stay;
        inner.asked = asked;
        let go: HashMap<IpAddr, Start> = go;
        for (address, _) in go.iter().filter(|(_, start)| start.holds()) {
            let _ = self.wait(&mut inner, *address, false);
        }
    }

    /// An exporter has started anew: its interfaces may have other numbers. Where they are read, its records wait from now
    /// on, over every [`Self::configure`], until [`Self::end_read`] or [`Self::end_overdue`] and the next `configure`. Its
    /// entry, where they did not wait for that before.
    pub fn has_started(&self, address: IpAddr, at: UnixMillis) -> Option<Arc<Entry>> {
        let mut inner = self.lock();
        if !inner.asked.contains(&address) {
            return None;
        }
        match inner.starts.get(&address) {
            // Of several in a row the first counts: an exporter that starts anew all the time does not wait for ever.
            Some(start) if start.is_over || !start.is_read => return None,
            _ => {}
        }
        inner.started += 1;
        let start = Start { number: inner.started, at, is_read: false, is_over: false };
        let is_new = inner.starts.insert(address, start).is_none();
        let entry = self.wait(&mut inner, address, true).filter(|_| is_new)?;
        drop(inner);
        info!(exporter = %entry.counters.name, "The exporter has started anew; its flows wait until it is known what numbers its interfaces have now.");
        Some(entry)
    }

    /// The interfaces of an exporter have been read.
    pub fn has_been_read(&self, address: IpAddr) {
        let mut inner = self.lock();
        if let Some(start) = inner.starts.get_mut(&address) {
            start.is_read = true;
            if start.is_over {
                inner.starts.remove(&address);
            }
        }
    }

    /// The starts, with their numbers, since which interfaces have been read.
    #[must_use]
    pub fn read(&self) -> Vec<(IpAddr, u64)> {
        let inner = self.lock();
        let read = inner.starts.iter().filter(|(_, start)| start.is_read);
        read.map(|(address, start)| (*address, start.number)).collect()
    }

    /// What was read after these starts is what the next [`Self::configure`] goes by: nothing waits for it from then on.
    /// The exporters.
    pub fn end_read(&self, read: &[(IpAddr, u64)]) -> Vec<Arc<Entry>> {
        let mut inner = self.lock();
        let mut ended = Vec::new();
        for (address, number) in read {
            if inner.starts.get(address).is_some_and(|start| start.number == *number) {
                inner.starts.remove(address);
                ended.extend(inner.entries.get(address).map(Arc::clone));
            }
        }
        ended
    }

    /// With the next [`Self::configure`] nothing waits any more for what was not read since starts before an instant. The
    /// exporters.
    pub fn end_overdue(&self, before: UnixMillis) -> Vec<Arc<Entry>> {
        let mut inner = self.lock();
        let Inner { starts, entries, .. } = &mut *inner;
        let mut ended = Vec::new();
        for (address, start) in starts {
            if start.at <= before && start.holds() && !start.is_read {
                start.is_over = true;
                ended.extend(entries.get(address).map(Arc::clone));
            }
        }
        ended
    }

    /// What was compiled from the text with this hash, where it is in force. It is as good as one
    /// compiled anew: the numbers of names never change, here as in the ledger.
    #[must_use]
    pub fn compiled(&self, sha256: &str) -> Option<Arc<Base>> {
        self.lock().compiled.get(sha256).map(Arc::clone)
    }

    /// True where something was put in force before.
    #[must_use]
    pub fn has_compiled(&self) -> bool {
        !self.lock().compiled.is_empty()
    }

    /// Keeps what is in force for the next configuration; what was kept before is forgotten.
    pub fn keep_compiled(&self, compiled: HashMap<String, Arc<Base>>) {
        // Outside of the lock: it may be large.
        let _before = core::mem::replace(&mut self.lock().compiled, compiled);
    }

    /// Leaves states of decoding for whoever meets their exporters; those left before are forgotten.
    pub fn leave_states(&self, states: impl IntoIterator<Item = (IpAddr, Remembered)>) {
        let states: HashMap<_, _> = states.into_iter().collect();
        // Reading them all takes a while, in which nobody shall wait for one of them.
        self.show(&states);
        *self.states.lock().expect("no holder of this lock panics") = states;
    }

    /// Leaves one more.
    pub fn leave_state(&self, address: IpAddr, state: Remembered) {
        self.states.lock().expect("no holder of this lock panics").insert(address, state);
    }

    /// The exporters for whom a state was left.
    #[must_use]
    pub fn left(&self) -> Vec<IpAddr> {
        self.states.lock().expect("no holder of this lock panics").keys().copied().collect()
    }

    /// Takes the state that was left for an exporter.
    #[must_use]
    pub fn take_state(&self, address: IpAddr) -> Option<Remembered> {
        self.states.lock().expect("no holder of this lock panics").remove(&address)
    }

    /// Raised by every [`Self::configure`].
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Raised by every [`Self::configure`] that gives exporters other names, before it is in force.
    #[must_use]
    pub fn renames(&self) -> u64 {
        self.renames.load(Relaxed)
    }

    /// The classifiers in force, and their generation.
    #[must_use]
    pub fn versions(&self) -> (u64, Arc<Versions>) {
        let inner = self.lock();
        (self.generation(), Arc::clone(&inner.versions))
    }

    /// What the newest version says of how datagrams are read and scaled.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.lock().policies)
    }

    /// `entry`, of the exporter with this address, by what `policies` say; as it is, where they say the same, or there are none.
    #[must_use]
    pub fn entry_by(policies: Option<&Arc<Policies>>, address: IpAddr, entry: Arc<Entry>) -> Arc<Entry> {
        match policies {
            Some(policies) => entry.by(address, policies),
            None => entry,
        }
    }

    /// The entry of an exporter that may send.
    #[must_use]
    pub fn entry(&self, address: IpAddr) -> Option<Arc<Entry>> {
        self.lock().entries.get(&address).map(Arc::clone)
    }

    /// Whether the exporter may send, as far as there is room for it.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let inner = self.lock();
        inner.accept_unknown || inner.entries.contains_key(&address)
    }

    /// Like [`Self::entry`]; where unknown exporters are accepted, an unknown one becomes known.
    pub fn admit(&self, address: IpAddr) -> Option<Arc<Entry>> {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.get(&address) {
            return Some(Arc::clone(entry));
        }
        if !inner.accept_unknown {
            return None;
        }
        if !inner.known.contains_key(&address) && inner.unconfigured >= UNCONFIGURED_MAX {
            self.counters.exporter_table.failures.fetch_add(1, Relaxed);
            return None;
        }
        let is_new = !inner.known.contains_key(&address);
        let exporter = Exporter::unconfigured(address);
        let (id, counters) = self.known(&mut inner, &exporter.name, address)?;
        inner.unconfigured += usize::from(is_new);
        let entry = Arc::new(Entry::of_stranger(address, id, counters));
        inner.entries.insert(address, Arc::clone(&entry));
        Some(entry)
    }

    /// An entry for an exporter that may not send any more, and did when it was allowed: under its last name, as far as that
    /// is known in this run, otherwise under the one that `policies` have, and by what those say of it.
    pub fn admit_former(&self, address: IpAddr, policies: Option<&Arc<Policies>>) -> Option<Arc<Entry>> {
        let mut inner = self.lock();
        let name = policies.and_then(|policies| policies.of(address)).map(|exporter| exporter.name.clone());
        let (id, counters) = self.known(&mut inner, &name.unwrap_or_else(|| address.to_string()), address)?;
        counters.is_taken_out.store(!inner.entries.contains_key(&address), Relaxed);
        Some(Self::entry_by(policies, address, Arc::new(Entry::of_stranger(address, id, counters))))
    }
}
