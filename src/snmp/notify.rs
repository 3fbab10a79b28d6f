//! Notifications: what an operator should hear of without asking, as traps and informs.
//!
//! Once a second the counters are looked at. A condition that has become true, or a counter of failures that has gone up,
//! is an event; the same event for the same object comes again only after [`Alarms::repeat_ms`], and all of them together
//! no more often than one a second on average. What is held back is counted; for want of room, it is in the history all
//! the same. It waits, and is told when there is room, or when it may be repeated: a condition only if it still stands
//! then. What is wrong with the whole process goes before what is wrong with one exporter, link or customer. Informs are sent again until they are acknowledged, three times at most, and a target has at most
//! `PENDING_MAX` of them waiting.
//!
//! What is looked for is arithmetic on two readings, so this module has no clock of its own, the one that it is told never
//! jumps, and it has no state that a restart
//! could miss: a condition that still holds after a restart is told again.

use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::lists::CARDS_FROM;
use super::objects;
use super::snapshot::{CONTENTION, Now, View};
use super::tree::{self, Rows, Tree};
use crate::counters::Reconciled;
use crate::units::UnixMillis;

mod inform;
mod send;

pub use inform::{InformUser, Passphrase};
pub(super) use send::{Origin, SNMP_TRAP_OID, SYS_UP_TIME, Sender};
pub use send::{Protocol, Target};

/// Events that the history keeps.
pub(super) const HISTORY_MAX: usize = 128;
/// Informs of one target that wait for their acknowledgement.
pub(super) const PENDING_MAX: usize = 64;
/// Events that wait to be told, at most, besides those of the process: of exporters, there is one a kind.
const WAITING_MAX: usize = 16_384;
/// Events that may be sent at once after a pause; one more each second.
const BURST: u32 = 30;

/// When something is worth a notification: `[snmp]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Alarms {
    /// An exporter that was heard of is silent for so many milliseconds.
    pub silent_ms: i64,
    /// Of what an exporter sent in a minute, so many percent were lost.
    pub loss_percent: u64,
    /// So many octets of the journal wait to be decoded.
    pub backlog_octets: u64,
    /// The same event is told again after so many milliseconds.
    pub repeat_ms: i64,
}

impl Alarms {
    /// [`Self::silent_ms`].
    pub(super) fn silence(&self) -> Duration {
        millis(self.silent_ms)
    }
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

impl Default for Alarms {
    fn default() -> Self {
        Self { silent_ms: 300_000, loss_percent: 1, backlog_octets: 64 << 20, repeat_ms: 300_000 }
    }
}

/// What may happen; the number is the notification's, under `fluxNotifications`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    ExporterSilent = 1,
    ExporterLoss = 2,
    HoldExpired = 3,
    Backlog = 4,
    Contention = 5,
    LedgerRefused = 6,
    Reconciliation = 7,
    Allowance = 8,
}

impl Kind {
    /// The objects that go with it, besides the row's name: of the same row, or scalars.
    pub(super) fn objects(self) -> &'static [&'static str] {
        match self {
            Self::ExporterSilent => &["fluxExporterName", "fluxExporterSilentSeconds"],
            Self::ExporterLoss => &["fluxExporterName", "fluxExporterLost", "fluxExporterDatagrams"],
            Self::HoldExpired => &["fluxProcessorName", "fluxProcessorExpiredRecords", "fluxProcessorHeld"],
            Self::Backlog => &["fluxProcessorName", "fluxProcessorBacklog"],
            Self::Contention => &["fluxContentionName", "fluxContentionFailures", "fluxContentionPercent"],
            Self::LedgerRefused => &["fluxCommitFailures"],
            Self::Reconciliation => &[
                "fluxReconcileName",
                "fluxReconcileFlowOctets",
                "fluxReconcileInterfaceOctets",
                "fluxReconcileTolerance",
                "fluxReconcileVerdict",
            ],
            Self::Allowance => {
                &["fluxCustomerName", "fluxAllowanceName", "fluxAllowancePercent", "fluxAllowanceAlert"]
            }
        }
    }

    /// What it is called in the history.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ExporterSilent => "exporter silent",
            Self::ExporterLoss => "loss",
            Self::HoldExpired => "hold expired",
            Self::Backlog => "backlog",
            Self::Contention => "contention",
            Self::LedgerRefused => "ledger refused",
            Self::Reconciliation => "reconciliation",
            Self::Allowance => "allowance",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Event {
    /// From 1, in the order of events.
    pub(super) number: u32,
    pub(super) kind: Kind,
    /// The index of the row; 0 where there is none.
    pub(super) row: Row,
    /// What the row is called.
    pub(super) subject: String,
    pub(super) at: UnixMillis,
    /// Whether it was held back.
    pub(super) throttled: bool,
}

/// The index of a row.
type Row = Vec<u32>;

/// An event before it is told.
#[derive(Clone, Debug)]
struct Found {
    kind: Kind,
    row: Row,
    subject: String,
    /// Its number in the history, where it is there already.
    number: Option<u32>,
}

impl Found {
    fn key(&self) -> (Kind, Row) {
        (self.kind, self.row.clone())
    }

    /// Whether it is about the process and not about one exporter, link or customer of many: whatever else happens, it is
    /// told first. There are few of these.
    fn is_of_process(&self) -> bool {
        match self.kind {
            Kind::LedgerRefused | Kind::Backlog => true,
            // Flow tables of routers are in the same table, further down.
            Kind::Contention => self.row.first().is_some_and(|&row| row < CARDS_FROM),
            Kind::ExporterSilent
            | Kind::ExporterLoss
            | Kind::HoldExpired
            | Kind::Reconciliation
            | Kind::Allowance => false,
        }
    }
}

/// What was read last of a counter.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    value: u64,
    other: u64,
    at: Duration,
}

/// Watches the counters, and remembers what it saw.
#[derive(Debug)]
pub(super) struct Watch {
    alarms: Alarms,
    looked: Option<Duration>,
    last: BTreeMap<(Kind, Row), Last>,
    /// When, on the agent's own clock.
    told: BTreeMap<(Kind, Row), Duration>,
    /// Conditions that hold, so that they are told when they begin.
    holding: BTreeSet<(Kind, Row)>,
    /// The alert of each allowance that was reached when it was last looked at: a greater one is told, too.
    alerts: BTreeMap<Row, (String, String)>,
    /// Those that have ended since the last look.
    ended: BTreeSet<(Kind, Row)>,
    /// What was held back: of the process, then the rest, each in the order in which it happened.
    waiting: VecDeque<Found>,
    room: u32,
    number: u32,
    pub(super) history: VecDeque<Event>,
    pub(super) throttled: u32,
}

/// How often the counters are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Over how long loss is compared with what came.
const LOSS_WINDOW: Duration = Duration::from_secs(60);

impl Watch {
    pub(super) fn new(alarms: Alarms) -> Self {
        Self {
            alarms,
            looked: None,
            last: BTreeMap::new(),
            told: BTreeMap::new(),
            holding: BTreeSet::new(),
            ended: BTreeSet::new(),
            alerts: BTreeMap::new(),
            waiting: VecDeque::new(),
            room: BURST,
            number: 0,
            history: VecDeque::new(),
            throttled: 0,
        }
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, uptime: Duration) -> bool {
        self.looked.is_none_or(|looked| uptime.saturating_sub(looked) >= EVERY)
    }

    /// Looks at the counters; what is to be told now: what has happened, and what was held back before.
    pub(super) fn look(&mut self, view: &View<'_>) -> Vec<Event> {
        self.looked = Some(view.now.uptime);
        self.room = (self.room + 1).min(BURST);
        let mut found = Vec::new();
        for row in 0..view.len(Rows::Exporters) {
            self.exporter(view, row, &mut found);
        }
        for (row, processor) in view.counters.processors.iter().enumerate() {
            let index = index_of(view, Rows::Processors, row);
            let name = || format!("processor {row}");
            let expired = processor.expired_records.load(Relaxed);
            if self.has_grown(Kind::HoldExpired, &index, expired) {
                found.push(event(Kind::HoldExpired, index.clone(), name()));
            }
            let backlog = processor.backlog.load(Relaxed);
            if self.begins(Kind::Backlog, &index, backlog >= self.alarms.backlog_octets.max(1)) {
                found.push(event(Kind::Backlog, index, name()));
            }
        }
        for row in 0..view.len(Rows::Contention) {
            let index = index_of(view, Rows::Contention, row);
            if self.has_grown(Kind::Contention, &index, view.contention_failures(row)) {
                let name = || CONTENTION.get(row).map_or_else(String::new, |name| (*name).to_owned());
                let subject =
                    view.card(row).map_or_else(name, |card| format!("{}: {}", card.exporter, card.name));
                found.push(event(Kind::Contention, index, subject));
            }
        }
        let refused = view.counters.commit_failures.load(Relaxed);
        if self.has_grown(Kind::LedgerRefused, &[0], refused) {
            found.push(event(Kind::LedgerRefused, vec![0], "ledger".to_owned()));
        }
        for row in 0..view.len(Rows::Reconciled) {
            let index = index_of(view, Rows::Reconciled, row);
            let (name, _, Reconciled { differences, .. }) = view.lists.reconciled.row(row);
            // A link is shown from its first comparison on, so that one that is out of tolerance is news.
            let before = self.last.get(&(Kind::Reconciliation, index.clone())).copied().unwrap_or_default();
            self.has_grown(Kind::Reconciliation, &index, *differences);
            if *differences > before.value {
                found.push(event(Kind::Reconciliation, index, name.clone()));
            }
        }
        for row in 0..view.len(Rows::Allowances) {
            self.allowance(view, row, &mut found);
        }
        self.settle(found, view.now)
    }

    fn exporter(&mut self, view: &View<'_>, row: usize, found: &mut Vec<Found>) {
        let exporter = view.exporter(row);
        let index = vec![exporter.ledger_id.load(Relaxed)];
        // Who was never heard is no news, nor is whom the operator took out.
        let is_awaited = view.was_heard(row) && !exporter.is_taken_out.load(Relaxed);
        let is_silent = is_awaited && view.silence(row) >= self.alarms.silence();
        if self.begins(Kind::ExporterSilent, &index, is_silent) {
            found.push(event(Kind::ExporterSilent, index.clone(), exporter.name.clone()));
        }
        let (lost, records) =
            (view.counted(row, |one| &one.lost_told), view.counted(row, |one| &one.records));
        let now = Last { value: lost, other: records, at: view.now.uptime };
        let then = *self.last.entry((Kind::ExporterLoss, index.clone())).or_insert(now);
        if now.at.saturating_sub(then.at) >= LOSS_WINDOW {
            self.last.insert((Kind::ExporterLoss, index.clone()), now);
        }
        let lost = u128::from(lost.saturating_sub(then.value));
        let all = lost + u128::from(records.saturating_sub(then.other));
        let is_lossy = lost > 0 && lost * 100 >= all * u128::from(self.alarms.loss_percent);
        if self.begins(Kind::ExporterLoss, &index, is_lossy) {
            found.push(event(Kind::ExporterLoss, index, exporter.name.clone()));
        }
    }

    /// An alert of an allowance that is reached; another alert than before, or another period, begins anew.
    fn allowance(&mut self, view: &View<'_>, row: usize, found: &mut Vec<Found>) {
        let index = index_of(view, Rows::Allowances, row);
        let now = view.lists.allowances.row(row);
        let reached = (now.period.clone(), now.alert.clone());
        let before = self.alerts.insert(index.clone(), reached);
        if before.is_some_and(|(period, alert)| period != now.period || alert != now.alert) {
            self.begins(Kind::Allowance, &index, false);
            self.told.remove(&(Kind::Allowance, index.clone()));
        }
        if self.begins(Kind::Allowance, &index, !now.alert.is_empty()) {
            let subject = format!("{}: {} {}%", now.customer, now.charge, now.alert);
            found.push(event(Kind::Allowance, index, subject));
        }
    }

    /// Whether a counter of failures is higher than it was. What it was before the first look is no news.
    fn has_grown(&mut self, kind: Kind, row: &[u32], value: u64) -> bool {
        let now = Last { value, ..Last::default() };
        self.last.insert((kind, row.to_vec()), now).is_some_and(|then| value > then.value)
    }

    /// Whether a condition holds that did not hold before. What has ended is not told any more.
    fn begins(&mut self, kind: Kind, row: &[u32], holds: bool) -> bool {
        let key = (kind, row.to_vec());
        if holds {
            return self.holding.insert(key);
        }
        if self.holding.remove(&key) {
            self.ended.insert(key);
        }
        false
    }

    /// Tells what waited, then what was found, as far as there is room: of the whole process first.
    fn settle(&mut self, found: Vec<Found>, now: Now) -> Vec<Event> {
        let mut events = Vec::new();
        let mut waiting = core::mem::take(&mut self.waiting);
        let ended = core::mem::take(&mut self.ended);
        if !ended.is_empty() {
            waiting.retain(|one| !ended.contains(&one.key()));
        }
        let (first, rest): (VecDeque<_>, VecDeque<_>) = waiting.into_iter().partition(Found::is_of_process);
        let (found_first, found_rest): (Vec<_>, Vec<_>) = found.into_iter().partition(Found::is_of_process);
        self.settle_some(first, found_first, now, &mut events);
        let of_process = self.waiting.len();
        self.settle_some(rest, found_rest, now, &mut events);
        // The oldest of the others leave for want of room.
        let too_many = self.waiting.len().saturating_sub(WAITING_MAX);
        self.waiting.drain(of_process..of_process + too_many);
        events
    }

    fn settle_some(
        &mut self,
        waiting: VecDeque<Found>,
        found: Vec<Found>,
        now: Now,
        events: &mut Vec<Event>,
    ) {
        let mut known = BTreeSet::new();
        for waited in waiting {
            match self.tell(waited, now) {
                Ok(event) => events.push(event),
                Err(waits) => {
                    if !found.is_empty() {
                        known.insert(waits.key());
                    }
                    self.waiting.push_back(waits);
                }
            }
        }
        for new in found {
            // What waits already will be told with what the counters say then.
            if known.contains(&new.key()) {
                super::count(&mut self.throttled);
                continue;
            }
            match self.tell(new, now) {
                Ok(event) => events.push(event),
                Err(held_back) => {
                    super::count(&mut self.throttled);
                    self.waiting.push_back(held_back);
                }
            }
        }
    }

    /// An event that may be told now; otherwise what has to wait. For want of room it is in the history meanwhile.
    fn tell(&mut self, mut found: Found, now: Now) -> Result<Event, Found> {
        let key = (found.kind, found.row.clone());
        let told = self.told.get(&key).copied();
        if told.is_some_and(|told| now.uptime.saturating_sub(told) < millis(self.alarms.repeat_ms)) {
            return Err(found);
        }
        let throttled = self.room == 0;
        if throttled && found.number.is_some() {
            return Err(found);
        }
        let number = found.number.unwrap_or_else(|| self.number.wrapping_add(1).max(1));
        let Found { kind, ref row, ref subject, .. } = found;
        let event =
            Event { number, kind, row: row.clone(), subject: subject.clone(), at: now.wall, throttled };
        if found.number.is_none() {
            self.number = number;
            self.remember(event.clone());
        }
        if throttled {
            found.number = Some(number);
            return Err(found);
        }
        if let Ok(place) = self.history.binary_search_by_key(&number, |one| one.number) {
            self.history[place].throttled = false;
        }
        self.room -= 1;
        self.told.insert(key, now.uptime);
        Ok(event)
    }

    fn remember(&mut self, event: Event) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        // Numbers ascend in the history, also when they begin again.
        if self.history.back().is_some_and(|last| last.number > event.number) {
            self.history.clear();
        }
        self.history.push_back(event);
    }
}

fn event(kind: Kind, row: Row, subject: String) -> Found {
    Found { kind, row, subject, number: None }
}

fn index_of(view: &View<'_>, rows: Rows, row: usize) -> Row {
    let mut index = Vec::new();
    view.push_index(rows, row, &mut index);
    index
}

/// A notification: its name, and the objects that go with it.
pub(super) type Notification = (Vec<u32>, Vec<(Vec<u32>, tree::Value)>);

impl Tree {
    /// The notification of an event, with its objects read now.
    pub(super) fn notification(&self, view: &View<'_>, event: &Event) -> Notification {
        let name = [objects::ROOT, objects::NOTIFICATIONS, &[event.kind as u32]].concat();
        let bind = |object: &&str| {
            let oid = &self.named(object)?.oid;
            // Of a row with an index of several numbers, the first may be another table's.
            let rows = [&event.row[..], event.row.get(..1)?];
            rows.into_iter().find_map(|row| {
                let oid = [oid, row].concat();
                let tree::Found::Value(value) = self.get(view, &oid) else { return None };
                Some((oid, value))
            })
        };
        (name, event.kind.objects().iter().filter_map(bind).collect())
    }
}

#[cfg(test)]
mod tests;
