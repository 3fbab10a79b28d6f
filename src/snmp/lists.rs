//! Lists of rows, kept between requests and made anew when what they are made of has been replaced.
//!
//! The list of exporters, and what is remembered of them, is copied at most once a second. Nothing here waits: where the
//! registry of exporters is being written, the last copy serves on.

use core::net::IpAddr;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::ages::{Ages, Stamped};
use super::snapshot::Now;
use crate::counters::{
    AllowanceRow, Books, CardRow, Counters, Exporter, Managed, Memory, PeriodRow, PolledRow, Reconciled,
    Sampler, Template, Transport, TransportCounts, Volumes,
};
use crate::ids::Session;

/// How old a copy of the exporters' list may be.
const EXPORTERS_AGE: Duration = Duration::from_secs(1);

/// Where the numbers of routers' flow tables begin in the contention table.
pub(super) const CARDS_FROM: u32 = 1 << 31;

/// A rate is 0 where nothing came for so long.
const RATE_AGE: Duration = Duration::from_secs(60);

/// Rows with an index of several numbers, ascending.
#[derive(Debug)]
pub(super) struct Listing<K, T>(Vec<(K, T)>);

impl<K, T> Default for Listing<K, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: AsRef<[u32]> + Clone + Ord, T> Listing<K, T> {
    /// Sorts rows; of those with the same index, the first stays.
    pub(super) fn new(mut rows: Vec<(K, T)>) -> Self {
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        rows.dedup_by(|(a, _), (b, _)| a == b);
        Self(rows)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn row(&self, row: usize) -> &T {
        &self.0[row].1
    }

    pub(super) fn key(&self, row: usize) -> K {
        self.0[row].0.clone()
    }

    /// The position of the row with this index.
    pub(super) fn at(&self, index: &[u32]) -> Option<usize> {
        self.0.binary_search_by(|(key, _)| key.as_ref().cmp(index)).ok()
    }

    /// The position of the first row whose index is greater than `index`, which may have any length.
    pub(super) fn beyond(&self, index: &[u32]) -> usize {
        self.0.partition_point(|(key, _)| key.as_ref() <= index)
    }
}

/// A transport session of IPFIX-MIB.
#[derive(Debug)]
pub(super) struct TransportRow {
    pub(super) address: IpAddr,
    pub(super) transport: Transport,
    /// Octets a second, between the newest two flushes that something came with.
    pub(super) rate: u32,
}

/// The lists.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Who has the index now.
    pub(super) exporters: Vec<(u32, Arc<Exporter>)>,
    /// Of each, who had its index before: at another address, or before its name was another one for a time. What they
    /// counted goes on being counted, since a counter never falls (RFC 2578, 7.1.6 and 7.1.10).
    pub(super) former: Vec<Vec<Arc<Exporter>>>,
    /// Those whose index nobody has any more.
    pub(super) departed: Vec<Arc<Exporter>>,
    pub(super) ages: Ages,
    copied_at: Option<Duration>,
    pub(super) volumes: Arc<Volumes>,
    pub(super) books: Arc<Books>,
    pub(super) periods: Listing<[u32; 2], PeriodRow>,
    known_allowances: Arc<Vec<AllowanceRow>>,
    pub(super) allowances: Listing<[u32; 2], AllowanceRow>,
    managed: Arc<Managed>,
    managed_exporters: usize,
    pub(super) cards: Listing<[u32; 1], CardRow>,
    pub(super) polled: Listing<[u32; 1], PolledRow>,
    pub(super) reconciled: Listing<[u32; 2], (String, i64, Reconciled)>,
    /// In the order of `exporters`, then of `former`.
    memories: Vec<Arc<Memory>>,
    pub(super) samplers: Listing<[u32; 4], Sampler>,
    pub(super) transports: Listing<[u32; 1], TransportRow>,
    rates: HashMap<u32, Rate>,
    pub(super) templates: Listing<[u32; 3], Template>,
    /// For each template, how many fields those before it have.
    fields_before: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    octets: u64,
    at: Duration,
    octets_second: u32,
}

impl Lists {
    /// Brings the lists up to date.
    pub(super) fn refresh(&mut self, counters: &Counters, now: Now) {
        let uptime = now.uptime;
        let young = |at: Duration| uptime.checked_sub(at).is_some_and(|age| age < EXPORTERS_AGE);
        if !self.copied_at.is_some_and(young)
            && let Ok(registry) = counters.exporters.try_read()
            && let Ok(renamed) = counters.renamed.try_read()
        {
            self.refresh_exporters(&registry, &renamed);
            drop((registry, renamed));
            self.copied_at = Some(uptime);
            self.refresh_memories(uptime);
            self.refresh_ages(counters, now);
        }
        let volumes = counters.volumes.load();
        if !Arc::ptr_eq(&volumes, &self.volumes) {
            self.volumes = ascending(Arc::clone(&volumes));
        }
        let books = counters.books.load();
        if !Arc::ptr_eq(&books, &self.books) {
            self.books = Arc::clone(&books);
            let periods = books.periods.iter().map(|row| ([row.customer, row.month], row.clone()));
            self.periods = Listing::new(periods.collect());
        }
        let allowances = counters.billing.allowances.load();
        if !Arc::ptr_eq(&allowances, &self.known_allowances) {
            self.known_allowances = Arc::clone(&allowances);
            self.allowances = numbered(&allowances);
        }
        let managed = counters.managed.load();
        if !Arc::ptr_eq(&managed, &self.managed) || self.exporters.len() != self.managed_exporters {
            self.managed = Arc::clone(&managed);
            self.managed_exporters = self.exporters.len();
            self.refresh_managed(&managed);
        }
    }

    fn refresh_exporters(&mut self, registry: &[Arc<Exporter>], renamed: &[Arc<Exporter>]) {
        let numbered = registry.iter().map(|exporter| (ledger_id(exporter), exporter));
        let mut numbered: Vec<_> = numbered.filter(|&(id, _)| id != 0).collect();
        // Of entries with one number, the one in force comes first, then the newest: sorting is stable and the registry
        // only grows.
        numbered.reverse();
        numbered.sort_by_key(|(id, exporter)| (*id, exporter.is_taken_out.load(Relaxed)));
        self.exporters.clear();
        self.former.clear();
        self.departed.clear();
        for (id, exporter) in numbered {
            match (self.exporters.last(), self.former.last_mut()) {
                (Some(&(last, _)), Some(former)) if last == id => former.push(Arc::clone(exporter)),
                _ => {
                    self.exporters.push((id, Arc::clone(exporter)));
                    self.former.push(Vec::new());
                }
            }
        }
        for exporter in renamed {
            let id = ledger_id(exporter);
            match self.exporters.binary_search_by_key(&id, |&(id, _)| id) {
                Ok(row) => self.former[row].push(Arc::clone(exporter)),
                Err(_) => self.departed.push(Arc::clone(exporter)),
            }
        }
    }

    /// When the exporter of a row was last heard, milliseconds since the epoch; 0: not in this process.
    pub(super) fn heard(&self, row: usize) -> i64 {
        let all = self.former[row].iter().chain([&self.exporters[row].1]);
        all.map(|exporter| exporter.last_seen.load(Relaxed)).max().unwrap_or(0)
    }

    fn refresh_ages(&mut self, counters: &Counters, now: Now) {
        let exporters =
            (0..self.exporters.len()).map(|row| (Stamped::Exporter(self.exporters[row].0), self.heard(row)));
        let transports =
            self.transports.0.iter().map(|([key], row)| (Stamped::Transport(*key), row.transport.heard_at));
        let processors = counters.processors.iter().enumerate().flat_map(|(at, one)| {
            let uncommitted = (Stamped::Uncommitted(at), one.uncommitted_since.load(Relaxed));
            [uncommitted, (Stamped::Flushed(at), one.flushed_at.load(Relaxed))]
        });
        let stamps: Vec<_> = exporters.chain(transports).chain(processors).collect();
        self.ages.look(now, stamps.into_iter());
    }

    fn refresh_managed(&mut self, managed: &Managed) {
        self.cards = cards(&managed.cards);
        let ids: HashMap<&str, u32> =
            self.exporters.iter().map(|(id, exporter)| (exporter.name.as_str(), *id)).collect();
        let polled =
            managed.polled.iter().filter_map(|row| Some(([*ids.get(row.exporter.as_str())?], row.clone())));
        self.polled = Listing::new(polled.collect());
        let sides = managed.reconciled.iter().flat_map(|row| {
            [(1, "in", row.inward), (2, "out", row.outward)].map(|(direction, word, side)| {
                ([row.link, direction], (format!("{} {word}", row.name), row.bucket, side))
            })
        });
        self.reconciled = Listing::new(sides.collect());
    }

    /// What is remembered of the exporters, where a flush has brought something new.
    fn refresh_memories(&mut self, uptime: Duration) {
        let now = self.exporters.iter().map(|(_, exporter)| exporter);
        // Those of now in their order, then those of before.
        let memories: Vec<Arc<Memory>> =
            now.chain(self.former.iter().flatten()).map(|exporter| exporter.memory.load_full()).collect();
        let is_same = memories.len() == self.memories.len()
            && memories.iter().zip(&self.memories).all(|(new, old)| Arc::ptr_eq(new, old));
        if !is_same {
            let named = || self.exporters.iter().map(|(id, _)| *id).zip(&memories);
            let samplers = named().flat_map(|(id, memory)| memory.samplers.iter().map(move |one| (id, one)));
            self.samplers = Listing::new(samplers.map(|(id, one)| (sampler_key(id, one), *one)).collect());
            let templates =
                named().flat_map(|(id, memory)| memory.templates.iter().map(move |one| (id, one)));
            let key = template_key;
            let (sessions, records) = &self.counted_before();
            let rows = templates.map(|(id, one)| {
                let key = key(id, one);
                let before = records.get(&key).copied().unwrap_or(0);
                (key, Template { records: one.records.saturating_add(before), ..one.clone() })
            });
            self.templates = Listing::new(rows.collect());
            let mut before = 0;
            let fields = self.templates.0.iter().map(|(_, template)| {
                let of_others = before;
                before += template.fields.len();
                of_others
            });
            self.fields_before = fields.collect();
            let of = self.exporters.iter().zip(&memories).flat_map(|((id, exporter), memory)| {
                memory.transports.iter().map(move |transport| {
                    let key = session_key(*id, transport.session);
                    let mut transport = transport.clone();
                    if let Some(before) = sessions.get(&key) {
                        transport.counts.add(before);
                    }
                    ([key], TransportRow { address: exporter.address, transport, rate: 0 })
                })
            });
            self.transports = Listing::new(of.collect());
            self.memories = memories;
        }
        self.refresh_rates(uptime);
    }

    fn refresh_rates(&mut self, uptime: Duration) {
        let present: BTreeSet<u32> = self.transports.0.iter().map(|([key], _)| *key).collect();
        self.rates.retain(|key, _| present.contains(key));
        for ([key], row) in &mut self.transports.0 {
            let octets = row.transport.counts.octets;
            let first = Rate { octets, at: uptime, octets_second: 0 };
            let rate = self.rates.entry(*key).or_insert(first);
            let millis = uptime.saturating_sub(rate.at).as_millis();
            if octets != rate.octets && millis > 0 {
                let per_second = u128::from(octets.saturating_sub(rate.octets)) * 1000 / millis;
                let octets_second = u32::try_from(per_second).unwrap_or(u32::MAX);
                *rate = Rate { octets, at: uptime, octets_second };
            } else if millis > RATE_AGE.as_millis() {
                rate.octets_second = 0;
            }
            row.rate = rate.octets_second;
        }
    }

    /// What sessions of datagrams and their templates counted for those who had the exporters' indexes before. TCP sessions
    /// ended with them.
    fn counted_before(&self) -> (HashMap<u32, TransportCounts>, HashMap<[u32; 3], u64>) {
        let (mut sessions, mut records) = (HashMap::<u32, TransportCounts>::new(), HashMap::new());
        for ((id, _), former) in self.exporters.iter().zip(&self.former) {
            for memory in former.iter().map(|exporter| exporter.memory.load()) {
                for one in memory.transports.iter().filter(|one| one.session.is_none()) {
                    sessions.entry(session_key(*id, one.session)).or_default().add(&one.counts);
                }
                for one in memory.templates.iter().filter(|one| one.session.is_none()) {
                    *records.entry(template_key(*id, one)).or_insert(0) += one.records;
                }
            }
        }
        (sessions, records)
    }

    /// Fields of all templates.
    pub(super) fn fields(&self) -> usize {
        let last = self.fields_before.len().checked_sub(1);
        last.map_or(0, |last| self.fields_before[last] + self.templates.row(last).fields.len())
    }

    /// The template of a row of fields, and the field's place in it.
    pub(super) fn field(&self, row: usize) -> (&Template, usize) {
        let template = self.fields_before.partition_point(|&before| before <= row).saturating_sub(1);
        (self.templates.row(template), row - self.fields_before[template])
    }

    pub(super) fn field_key(&self, row: usize) -> [u32; 4] {
        let template = self.fields_before.partition_point(|&before| before <= row).saturating_sub(1);
        let [session, domain, id] = self.templates.key(template);
        let place = row - self.fields_before[template] + 1;
        [session, domain, id, u32::try_from(place).unwrap_or(u32::MAX)]
    }

    pub(super) fn field_at(&self, index: &[u32]) -> Option<usize> {
        let (place, template) = index.split_last()?;
        let template = self.templates.at(template)?;
        let place = usize::try_from(*place).ok()?.checked_sub(1)?;
        (place < self.templates.row(template).fields.len()).then(|| self.fields_before[template] + place)
    }

    pub(super) fn field_beyond(&self, index: &[u32]) -> usize {
        if let Some((of, rest)) = index.split_at_checked(3)
            && let Some(template) = self.templates.at(of)
        {
            let fields = self.templates.row(template).fields.len();
            let place = rest.first().map_or(0, |&place| usize::try_from(place).unwrap_or(usize::MAX));
            return self.fields_before[template] + place.min(fields);
        }
        let template = self.templates.beyond(index);
        self.fields_before.get(template).copied().unwrap_or_else(|| self.fields())
    }
}

/// The index of a transport session. All datagrams of an exporter are one session, with the exporter's number; its TCP
/// sessions are above, and have the same numbers for as long as they last.
fn session_key(exporter: u32, session: Option<Session>) -> u32 {
    session.map_or(exporter & (CARDS_FROM - 1), |Session(number)| {
        CARDS_FROM | (exporter & 0x7fff) << 16 | u32::from(number)
    })
}

fn template_key(exporter: u32, one: &Template) -> [u32; 3] {
    [session_key(exporter, one.session), one.domain, one.id.into()]
}

fn sampler_key(exporter: u32, one: &Sampler) -> [u32; 4] {
    let low = u32::try_from(one.number & u64::from(u32::MAX)).expect("32 bits");
    [exporter, one.domain, one.kind as u32, low]
}

/// A customer's allowances, numbered by their names.
fn numbered(rows: &[AllowanceRow]) -> Listing<[u32; 2], AllowanceRow> {
    let mut of: BTreeMap<u32, Vec<&AllowanceRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.customer_id != 0) {
        of.entry(row.customer_id).or_default().push(row);
    }
    let mut all = Vec::with_capacity(rows.len());
    for (customer, mut rows) in of {
        rows.sort_by(|a, b| (&a.charge, &a.period).cmp(&(&b.charge, &b.period)));
        all.extend((1..).zip(rows).map(|(number, row)| ([customer, number], row.clone())));
    }
    Listing::new(all)
}

/// Flow tables of routers by a number that is worked out of the exporter's and the card's: the same after a restart,
/// but where two of them meet, which moves the one with the greater numbers on.
fn cards(rows: &[CardRow]) -> Listing<[u32; 1], CardRow> {
    let mut rows: Vec<&CardRow> = rows.iter().filter(|row| row.exporter_id != 0).collect();
    rows.sort_by_key(|row| (row.exporter_id, row.card));
    rows.dedup_by_key(|row| (row.exporter_id, row.card));
    let mut taken = BTreeMap::new();
    for row in rows {
        // Multiplication by an odd number permutes; its upper bits depend on all bits of both.
        let mixed =
            (u64::from(row.exporter_id) << 32 | u64::from(row.card)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut number = CARDS_FROM | u32::try_from(mixed >> 33).expect("31 bits");
        while taken.contains_key(&number) {
            number = CARDS_FROM | number.wrapping_add(1);
        }
        taken.insert(number, row.clone());
    }
    Listing::new(taken.into_iter().map(|(number, row)| ([number], row)).collect())
}

/// Rows ascend by promise; a walk would loop or skip without it, so the promise is checked once per commit.
fn ascending(volumes: Arc<Volumes>) -> Arc<Volumes> {
    let links = volumes.links.is_sorted_by(|a, b| a.id < b.id);
    if links && volumes.customers.is_sorted_by(|a, b| a.id < b.id) {
        return volumes;
    }
    let mut own = Volumes::clone(&volumes);
    own.links.sort_by_key(|row| row.id);
    own.links.dedup_by_key(|row| row.id);
    own.customers.sort_by_key(|row| row.id);
    own.customers.dedup_by_key(|row| row.id);
    Arc::new(own)
}

fn ledger_id(exporter: &Exporter) -> u32 {
    exporter.ledger_id.load(Relaxed)
}
