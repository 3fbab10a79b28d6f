//! What becomes of what the SNMP manager finds: interfaces and octets go into the ledger, names that moved into force,
//! flow tables and comparisons to the counters and the log.
//!
//! The polling thread never waits for the ledger: what it finds is put into an inbox, and the ledger's writer is asked to
//! empty it. Where the ledger is busy the inbox fills, up to a bound; what has no room is dropped with a count, and its
//! buckets show as not covered.

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use tracing::{debug, error, info, warn};

mod inbox;
mod starts;

use self::inbox::{CardsRead, Inbox, Reading};
use super::writer::Request;
use crate::classify::named::{AWAITED_MS, History};
use crate::classify::rules::{LinkPoint, LinkRule, Network};
use crate::commit::Committer;
use crate::config::Config;
use crate::counters::{CardRow, Counters, Managed, PolledRow, Reconciled, ReconciledRow};
use crate::diagnostic;
use crate::flow::Direction;
use crate::ledger::records::NameKind;
use crate::ledger::records::interfaces::{
    CardFailures, Interface, InterfaceEntry, InterfaceOctets, InterfacePart,
};
use crate::ledger::{self, Ledger};
use crate::poll::{Found, Plan, Wanted, counter};
use crate::processor::exporters::Exporters;
use crate::reconcile;
use crate::setup::Holding;
use crate::units::{IfIndex, UnixMillis};
use crate::usage::{BUCKET_SECONDS, BucketStart};

/// A bucket is compared when it ended so long ago: flows are exported after they end, or at every active timeout.
const RIPE_SECONDS: i64 = 15 * 60;

/// Buckets that are compared at a time, at most: an hour. The writer has other things to do; the rest is compared when it
/// looks again.
const COMPARED_MAX: i64 = 12;

/// Buckets that are compared later than usual, at most: a day. What a longer pause left out is for `reconcile`.
const BELATED_MAX: i64 = 288;

/// The daemon's side of the SNMP manager.
pub(super) struct Manager {
    counters: Arc<Counters>,
    registry: Arc<Exporters>,
    config: ArcSwap<Config>,
    /// What is put in force again where names have moved.
    holding: ArcSwap<Holding>,
    /// What is polled.
    pub(super) plans: Arc<ArcSwap<Plan>>,
    inbox: Mutex<Inbox>,
    /// The writer is asked already.
    asked: AtomicBool,
    /// What names mean has changed and is not in force yet.
    unforced: AtomicBool,
    shown: Mutex<Shown>,
}

/// Failures of a flow table as read, and the router's uptime then, in hundredths of a second.
#[derive(Clone, Copy)]
struct Failed {
    failures: u64,
    at: UnixMillis,
    uptime: u32,
}

/// Waits are ended so much later than they are over by the ledger's times, which may be a little later than those of starts.
const AWAITED_LONGER_MS: i64 = 60_000;

/// What is shown, and what the next comparison goes on from.
#[derive(Default)]
struct Shown {
    polled: BTreeMap<String, PolledRow>,
    /// By exporter and card: with what it has said of failures.
    cards: BTreeMap<(String, u32), (CardRow, Option<Failed>)>,
    reconciled: BTreeMap<u32, ReconciledRow>,
    /// The last reading of each router that has started a short while ago.
    started: BTreeMap<String, Reading>,
    /// Until when flows wait for interfaces of links that have not shown since their router started, by exporter.
    awaited: BTreeMap<String, i64>,
    /// The same of an earlier run of this program, of which only the ledger knows.
    left_until: Option<i64>,
    /// The links that will be compared have their rows.
    listed: bool,
    /// The newest bucket that was compared, or that needs no comparing.
    compared: Option<BucketStart>,
}

/// Interfaces on links, and customers'; and how often exporters have started anew.
struct OfInterest {
    config: Arc<Config>,
    registry: Arc<Exporters>,
    addresses: HashMap<String, IpAddr>,
}

impl Wanted for OfInterest {
    fn of(&self, exporter: &str, interfaces: &[Interface]) -> Vec<IfIndex> {
        self.config.network.of_interest(exporter, interfaces).iter().map(|one| one.ifindex).collect()
    }

    fn restarts(&self, exporter: &str) -> u64 {
        let entry = self.addresses.get(exporter).and_then(|address| self.registry.entry(*address));
        entry.map_or(0, |entry| entry.counters.restarts.load(Relaxed))
    }
}

fn plan(config: &Arc<Config>, registry: &Arc<Exporters>) -> Plan {
    let exporters = config.exporters.iter();
    let addresses = exporters.map(|exporter| (exporter.name.clone(), exporter.address)).collect();
    let (own, registry) = (Arc::clone(config), Arc::clone(registry));
    Plan {
        config: config.poll.clone(),
        targets: config.targets.clone(),
        wanted: Box::new(OfInterest { config: own, registry, addresses }),
    }
}

impl Manager {
    pub(super) fn new(
        (config, holding): (Arc<Config>, Holding),
        counters: Arc<Counters>,
        registry: Arc<Exporters>,
    ) -> Self {
        registry.ask(starts::asked(&config));
        Self {
            counters,
            plans: Arc::new(ArcSwap::from_pointee(plan(&config, &registry))),
            registry,
            config: ArcSwap::new(config),
            holding: ArcSwap::from_pointee(holding),
            inbox: Mutex::default(),
            asked: AtomicBool::new(false),
            unforced: AtomicBool::new(false),
            shown: Mutex::new(Shown { left_until: Some(super::now_ms() + AWAITED_MS), ..Shown::default() }),
        }
    }

    /// Goes on with another configuration.
    pub(super) fn configure(&self, config: Arc<Config>, holding: Holding) {
        self.holding.store(Arc::new(holding));
        self.plans.store(Arc::new(plan(&config, &self.registry)));
        self.registry.ask(starts::asked(&config));
        let mut shown = self.shown();
        shown.polled.retain(|name, _| config.targets.iter().any(|target| target.exporter == *name));
        shown.listed = false;
        // Another router counts by itself.
        let address = |config: &Config, name: &str| {
            config.targets.iter().find(|target| target.exporter == name).map(|target| target.address)
        };
        let before = self.config.load_full();
        for ((exporter, _), (_, failed)) in &mut shown.cards {
            *failed = failed.filter(|_| address(&before, exporter) == address(&config, exporter));
        }
        self.config.store(config);
        self.publish(&shown);
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("no holder of this lock panics")
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().expect("no holder of this lock panics")
    }

    fn publish(&self, shown: &Shown) {
        self.counters.managed.store(Arc::new(Managed {
            polled: shown.polled.values().cloned().collect(),
            cards: shown.cards.values().map(|(row, _)| row.clone()).collect(),
            reconciled: shown.reconciled.values().cloned().collect(),
        }));
    }

    /// Takes what was found, and asks the writer to look. Does not wait.
    pub(super) fn take(self: &Arc<Self>, found: Found, requests: &SyncSender<Request>) {
        match found {
            Found::Polled { exporter, at, failure, interfaces, gaps } => {
                self.polled(&exporter, at, failure, interfaces, gaps);
            }
            Found::Interfaces { exporter, at, is_whole, started, interfaces } => {
                self.take_reading(&exporter, Reading { at, is_whole, started, interfaces });
            }
            Found::Started { exporter, at } => self.started(&exporter, at),
            Found::Octets { exporter, parts } => self.inbox().keep_parts(&exporter, parts),
            Found::Cards { exporter, at, uptime, cards } => {
                self.inbox().cards.push(CardsRead { exporter, at, uptime, cards });
            }
        }
        if !self.asked.swap(true, Relaxed) {
            let manager = Arc::clone(self);
            let look = move |committer: &mut Committer| manager.look(committer);
            if requests.try_send(Request::Run(Box::new(look))).is_err() {
                // The queue is full, or the writer has ended: whatever is found next asks again.
                self.asked.store(false, Relaxed);
            }
        }
    }

    /// Keeps a reading for the ledger. Where the router has started, its flows wait until it is in force what the numbers of
    /// its interfaces mean now, however long the ledger is busy: a record that is metered is not classified again.
    fn take_reading(&self, exporter: &str, reading: Reading) {
        let is_news = {
            let mut shown = self.shown();
            let before = match reading.started {
                Some(_) => shown.started.insert(exporter.to_owned(), reading.clone()),
                None => shown.started.remove(exporter),
            };
            reading.started.is_some() && before.as_ref() != Some(&reading)
        };
        self.inbox().keep_reading(exporter, reading);
        let config = self.config.load();
        let found = config.exporters.iter().find(|one| one.name == exporter);
        let Some(found) = found else { return };
        if is_news && config.network.has_names(exporter) {
            self.registry.await_interfaces(found.address);
            self.unforced.store(true, Relaxed);
        }
        // It is in the inbox: whoever sees this finds it there.
        self.registry.has_been_read(found.address);
    }

    fn polled(&self, exporter: &str, at: UnixMillis, failure: Option<String>, interfaces: usize, gaps: u64) {
        let mut shown = self.shown();
        let row = shown.polled.entry(exporter.to_owned()).or_default();
        exporter.clone_into(&mut row.exporter);
        row.polls += 1;
        row.gaps += gaps;
        let was_silent = !row.failure.is_empty();
        match failure {
            Some(failure) => {
                row.failures += 1;
                if !was_silent {
                    warn!(%exporter, %failure, "The router does not answer over SNMP; what crosses its interfaces is not known meanwhile.");
                }
                row.failure = failure;
            }
            None => {
                row.interfaces = interfaces as u64;
                row.answered_at = at.0;
                row.failure.clear();
                if was_silent {
                    info!(%exporter, "The router answers over SNMP again.");
                }
            }
        }
        self.publish(&shown);
    }

    /// Empties the inbox into the ledger. On the writer's thread.
    pub(super) fn look(&self, committer: &mut Committer) {
        self.asked.store(false, Relaxed);
        let read = self.registry.read();
        let mut inbox = core::mem::take(&mut *self.inbox());
        if inbox.dropped > 0 {
            warn!(
                parts = inbox.dropped,
                "Interface octets found no room while the ledger was busy; their buckets are not covered."
            );
            inbox.dropped = 0;
        }
        let config = self.config.load_full();
        if let Err(error) = self.enter(&mut inbox, &read, &config, committer) {
            if error.is_transient() {
                // With what was found meanwhile.
                let mut now = self.inbox();
                inbox.append(core::mem::take(&mut *now));
                *now = inbox;
            } else {
                error!(error = diagnostic::with_causes(&error), "What routers said could not be kept.");
            }
        }
        if !config.targets.is_empty() {
            self.compare(&config, committer.ledger(), super::now_ms() / 1000);
        }
    }

    /// What is in the ledger is taken out of the inbox, which has all that was read since the starts in `read`.
    fn enter(
        &self,
        inbox: &mut Inbox,
        read: &[(IpAddr, u64)],
        config: &Config,
        committer: &mut Committer,
    ) -> Result<(), ledger::Error> {
        let mut outcome = Ok(());
        while let Some((exporter, reading)) = inbox.next_reading() {
            match enter_interfaces(&exporter, &reading, &config.network, committer.ledger()) {
                Ok(entered) => self.entered(&exporter, &reading, &entered),
                Err(error) => {
                    inbox.put_back(exporter, reading);
                    outcome = Err(error);
                    break;
                }
            }
        }
        // Otherwise flows would go by the numbers before what is still to be entered.
        outcome?;
        self.end_waits(super::now_ms());
        self.end_starts(read, super::now_ms());
        if self.unforced.swap(false, Relaxed) {
            self.put_in_force(committer);
        }
        let ledger = committer.ledger();
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        let named =
            inbox.parts.iter().map(|part| &part.0).chain(inbox.cards.iter().map(|card| &card.exporter));
        for exporter in named {
            if !numbers.contains_key(exporter) {
                numbers.insert(exporter.clone(), number(ledger, exporter)?);
            }
        }
        let row = |(exporter, ifindex, part): &(String, IfIndex, InterfacePart)| InterfaceOctets {
            exporter: numbers[exporter],
            ifindex: *ifindex,
            part: *part,
        };
        let rows: Vec<InterfaceOctets> = inbox.parts.iter().map(row).collect();
        if !rows.is_empty() {
            enter_octets(&rows, ledger)?;
            inbox.parts.clear();
        }
        for read in inbox.cards.drain(..) {
            let number = numbers[&read.exporter];
            inbox.failures.extend(self.cards(number, read));
        }
        if !inbox.failures.is_empty() {
            ledger.put_card_failures(&inbox.failures)?;
            inbox.failures.clear();
        }
        Ok(())
    }

    /// Says what is new of an exporter's interfaces, which is to be put in force, and notes until when others are awaited.
    fn entered(&self, exporter: &str, reading: &Reading, entered: &Entered) {
        tell(exporter, &entered.added);
        let mut shown = self.shown();
        let has_turned = match reading.started.filter(|_| entered.lacks) {
            Some(started) => {
                let until = started.plus(AWAITED_MS + AWAITED_LONGER_MS).0;
                shown.awaited.insert(exporter.to_owned(), until).is_none()
            }
            None => shown.awaited.remove(exporter).is_some(),
        };
        match (entered.is_news, entered.lacks) {
            (true, true) => {
                warn!(%exporter, "The router has started, and interfaces of links do not show yet; its flows wait for them.");
            }
            (true, false) => {
                info!(%exporter, held = self.held(exporter), "Flows no longer wait for interfaces of links to show.");
            }
            (false, _) => {}
        }
        if has_turned || entered.is_news || !entered.added.is_empty() {
            self.unforced.store(true, Relaxed);
        }
    }

    /// Records and sets of an exporter that wait.
    fn held(&self, exporter: &str) -> u64 {
        let config = self.config.load();
        let found = config.exporters.iter().find(|one| one.name == exporter);
        let entry = found.and_then(|one| self.registry.entry(one.address));
        entry.map_or(0, |entry| entry.counters.held.load(Relaxed))
    }

    /// Ends the waits for interfaces that have not shown in time, and any that an earlier run has left.
    fn end_waits(&self, now: i64) {
        let mut shown = self.shown();
        let before = shown.awaited.len();
        shown.awaited.retain(|exporter, until| {
            let is_over = *until <= now;
            if is_over {
                warn!(%exporter, held = self.held(exporter), "Interfaces of links have not shown since the router started; its flows wait no longer, and go by what is known.");
            }
            !is_over
        });
        let was_left = shown.left_until.take_if(|until| *until <= now).is_some();
        if was_left || shown.awaited.len() < before {
            self.unforced.store(true, Relaxed);
        }
    }

    /// Interfaces have other names or numbers than before: what the links' names mean is worked out anew.
    fn put_in_force(&self, committer: &mut Committer) {
        let holding = self.holding.load_full();
        let put = holding.put_again(committer.ledger(), &self.registry, super::now_ms());
        // Tried again with whatever is found next.
        if !matches!(put, Ok(true)) {
            self.unforced.store(true, Relaxed);
        }
        if let Err(error) = put {
            error!(
                error = diagnostic::with_causes(&error),
                "What the interfaces are called now could not be put in force; links go by what was known before."
            );
        }
    }

    /// Shows a router's flow tables; what they had no room for since the reading before.
    fn cards(&self, number: u32, read: CardsRead) -> Vec<CardFailures> {
        let CardsRead { exporter, at, uptime, cards } = read;
        let mut shown = self.shown();
        let mut failed = Vec::new();
        for (card, state) in cards {
            let (row, before) = shown.cards.entry((exporter.clone(), card)).or_default();
            let plain = |n: Option<u64>| n.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1);
            let rise = |(now, before): (u64, Failed)| {
                let has_restarted = counter::has_started((before.at, before.uptime), (at, uptime));
                counter::risen(before.failures, now, has_restarted)
            };
            let failures = state.failures.zip(*before).map_or(0, rise);
            *before = state.failures.map(|failures| Failed { failures, at, uptime }).or(*before);
            *row = CardRow {
                exporter: exporter.clone(),
                exporter_id: number,
                card,
                name: state.name.clone(),
                utilisation: plain(state.utilisation.map(u64::from)),
                current: plain(state.active),
                limit: plain(state.capacity),
                high_water: row.high_water.max(plain(state.active)),
                failures: row.failures + failures,
                read_at: at.0,
            };
            if failures > 0 {
                warn!(
                    %exporter, card, name = %state.name, failures, utilisation = row.utilisation,
                    "A flow table of the router has no room: flows are missing from the accounts."
                );
                failed.push(CardFailures { exporter: number, card, at, state, failures });
            }
        }
        self.publish(&shown);
        failed
    }

    /// Gives each link that is compared its row, before the first comparison: managers ask for it from the start.
    fn list(&self, config: &Config, ledger: &mut Ledger) {
        if self.shown().listed {
            return;
        }
        let numbers = match ledger.names(NameKind::Link) {
            Ok(numbers) => numbers,
            Err(error) => {
                // Tried again with whatever is found next.
                debug!(error = diagnostic::with_causes(&error), "The links could not be read.");
                return;
            }
        };
        let mut shown = self.shown();
        // It may have been replaced meanwhile; who does that has `shown` locked.
        let mut listed = core::ptr::eq(config, Arc::as_ptr(&self.config.load_full()));
        for link in compared_links(config) {
            if let Some((number, name)) = numbers.iter().find(|(_, name)| *name == link.name) {
                let row = shown.reconciled.entry(*number).or_default();
                (row.link, row.name) = (*number, name.clone());
            } else {
                listed = false;
            }
        }
        shown.listed = listed;
        self.publish(&shown);
    }

    /// Compares flows with counters in the buckets that have become ripe.
    fn compare(&self, config: &Config, ledger: &mut Ledger, now: i64) {
        self.list(config, ledger);
        let ripe = ripe(now);
        // What was before this start is for `reconcile`.
        let last = *self.shown().compared.get_or_insert(ripe);
        let Some((from, to)) = to_compare(last, ripe) else { return };
        if from.0 > last.0 + BUCKET_SECONDS {
            warn!("Flows and interface counters of more than a day were not compared here; see `reconcile`.");
        }
        let packet_max = config.meter.packet_octets_max;
        let rows = match reconcile::rows(ledger, &config.reconcile, packet_max, from, to) {
            Ok(rows) => rows,
            Err(error) => {
                warn!(
                    error = diagnostic::with_causes(&error),
                    "Flows could not be compared with interface counters."
                );
                return;
            }
        };
        let mut shown = self.shown();
        shown.compared = Some(BucketStart(to.0 - BUCKET_SECONDS));
        // In the order of buckets: the newest stays.
        for (bucket, row) in rows.iter().filter_map(|row| Some((row.bucket?, row))) {
            let seen = shown.reconciled.entry(row.link).or_default();
            (seen.link, seen.bucket) = (row.link, bucket.0);
            seen.name.clone_from(&row.name);
            let side = if row.direction == Direction::In { &mut seen.inward } else { &mut seen.outward };
            if row.verdict.is_difference() {
                warn!(
                    link = %row.name, direction = row.direction.as_str(), verdict = row.verdict.as_str(), bucket = bucket.0,
                    flows = %row.flows, interface = %row.interface.map_or(0, |(_, most)| most), tolerance = %row.tolerance,
                    "Flows and interface counters of a link contradict each other."
                );
            }
            *side = shown_side(row, side.differences);
        }
        self.publish(&shown);
    }
}

/// Links that are held against interface counters: those of interfaces, of which one router at least is asked.
pub(crate) fn compared_links(config: &Config) -> impl Iterator<Item = &LinkRule> {
    let is_polled = |exporter: &str| config.targets.iter().any(|target| target.exporter == exporter);
    config.network.links.iter().filter(move |link| {
        let is_whole = |point: &LinkPoint| matches!(point, LinkPoint::WholeExporter(_));
        !link.points.iter().any(is_whole)
            && link.points.iter().any(|point| match point {
                LinkPoint::Interface(at) => is_polled(&at.exporter),
                LinkPoint::Named(at) => is_polled(&at.exporter),
                LinkPoint::WholeExporter(_) => false,
            })
    })
}

/// The newest bucket that can be compared at this second.
fn ripe(now: i64) -> BucketStart {
    BucketStart::of(UnixMillis::from_seconds(now - RIPE_SECONDS - BUCKET_SECONDS))
}

/// The buckets to compare, from the first to the one after the last, where `last` was compared last and `ripe` can be.
fn to_compare(last: BucketStart, ripe: BucketStart) -> Option<(BucketStart, BucketStart)> {
    if last >= ripe {
        return None;
    }
    let oldest = ripe.0 - (BELATED_MAX - 1) * BUCKET_SECONDS;
    let from = (last.0 + BUCKET_SECONDS).max(oldest);
    let to = (ripe.0 + BUCKET_SECONDS).min(from + COMPARED_MAX * BUCKET_SECONDS);
    Some((BucketStart(from), BucketStart(to)))
}

fn shown_side(row: &reconcile::Row, differences: u64) -> Reconciled {
    use reconcile::Verdict;
    let plain = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
    Reconciled {
        flow_octets: plain(row.flows),
        interface_octets: plain(row.interface.map_or(0, |(_, most)| most)),
        tolerance: plain(row.tolerance),
        coverage: u32::try_from(row.covered_ms / (BUCKET_SECONDS * 10)).unwrap_or(0),
        verdict: match row.verdict {
            Verdict::Agrees => 1,
            Verdict::FlowsShort => 2,
            Verdict::FlowsOver => 3,
            Verdict::NoCounters => 4,
        },
        differences: differences + u64::from(row.verdict.is_difference()),
    }
}

/// Says what is new of an exporter's interfaces.
fn tell(exporter: &str, added: &[InterfaceEntry]) {
    for InterfaceEntry { interface, present, .. } in
        added.iter().filter(|entry| entry.interface.ifindex.0 != 0)
    {
        let ifindex = interface.ifindex.0;
        if *present {
            info!(%exporter, ifindex, name = %interface.name, alias = %interface.alias, "The router has this interface.");
        } else {
            info!(%exporter, ifindex, name = %interface.name, "The router no longer has this interface.");
        }
    }
}

fn number(ledger: &mut Ledger, exporter: &str) -> Result<u32, ledger::Error> {
    Ok(ledger.intern(NameKind::Exporter, &[exporter])?.first().copied().unwrap_or(0))
}

/// Keeps parts of buckets. One that cannot be kept (a clock was set back, and the time was counted before; a counter that no
/// interface has) does not take the others with it.
fn enter_octets(rows: &[InterfaceOctets], ledger: &mut Ledger) -> Result<(), ledger::Error> {
    match ledger.put_interface_octets(rows) {
        Err(error) if !error.is_transient() => {}
        outcome => return outcome,
    }
    for row in rows {
        match ledger.put_interface_octets(core::slice::from_ref(row)) {
            // Those before are kept by now, and are refused when all come again.
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                warn!(
                    error = diagnostic::with_causes(&error),
                    ifindex = row.ifindex.0,
                    exporter = row.exporter,
                    "Octets of an interface were not kept; their bucket is not covered."
                );
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// What a reading has brought into the ledger.
struct Entered {
    added: Vec<InterfaceEntry>,
    /// Interfaces that links had before the router started have not shown since.
    lacks: bool,
    /// That was otherwise before.
    is_news: bool,
}

/// Keeps the interfaces, and whether those of links all show.
fn enter_interfaces(
    exporter: &str,
    reading: &Reading,
    network: &Network,
    ledger: &mut Ledger,
) -> Result<Entered, ledger::Error> {
    let number = number(ledger, exporter)?;
    let lacks = match reading.started.filter(|_| network.has_names(exporter)) {
        Some(started) => {
            let history =
                History::new(&ledger.interfaces()?, |of| (of == number).then(|| exporter.to_owned()));
            history.lacks(network, exporter, started, &reading.interfaces)
        }
        None => false,
    };
    // Before its numbers: what it had is what it had before that.
    let is_news = ledger.put_all_shown(number, reading.at, !lacks)?;
    let added = ledger.put_interfaces(number, reading.at, reading.is_whole, &reading.interfaces)?;
    Ok(Entered { added, lacks, is_news })
}

#[cfg(test)]
mod tests;
