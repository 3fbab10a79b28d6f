//! Notifications: what an operator should hear of without asking, as traps and informs.
//!
//! Once a second the counters are looked at. A condition that has become true, or a counter of failures that has gone up,
//! is an event; the same event for the same object comes again only after [`Alarms::repeat_ms`], and all of them together
//! no more often than one a second on average. What is held back is counted; for want of room, it is in the history all
//! the same. Informs are sent again until they are acknowledged, three times at most, and a target has at most
//! `PENDING_MAX` of them waiting.
//!
//! What is looked for is arithmetic on two readings, so this module has no clock of its own and no state that a restart
//! could miss: a condition that still holds after a restart is told again.

use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rasn_snmp::v2::{ObjectName, VarBind, VarBindList};

use super::snapshot::{CONTENTION, View};
use super::tree::{Found, Rows, Tree};
use super::{message, objects};
use crate::units::UnixMillis;

mod send;

pub(super) use send::{Origin, Sender};
pub use send::{Protocol, Target};

/// Events that the history keeps.
pub(super) const HISTORY_MAX: usize = 128;
/// Informs of one target that wait for their acknowledgement.
pub(super) const PENDING_MAX: usize = 64;
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
    pub(super) row: u32,
    /// What the row is called.
    pub(super) subject: String,
    pub(super) at: UnixMillis,
    /// Whether it was held back.
    pub(super) throttled: bool,
}

/// What was read last of a counter.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    value: u64,
    other: u64,
    at_ms: i64,
}

/// Watches the counters, and remembers what it saw.
#[derive(Debug)]
pub(super) struct Watch {
    alarms: Alarms,
    looked: Option<Duration>,
    last: BTreeMap<(Kind, u32), Last>,
    told: BTreeMap<(Kind, u32), i64>,
    /// Conditions that hold, so that they are told when they begin.
    holding: BTreeSet<(Kind, u32)>,
    room: u32,
    number: u32,
    pub(super) history: VecDeque<Event>,
    pub(super) throttled: u32,
}

/// How often the counters are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Over how long loss is compared with what came.
const LOSS_WINDOW_MS: i64 = 60_000;

impl Watch {
    pub(super) fn new(alarms: Alarms) -> Self {
        Self {
            alarms,
            looked: None,
            last: BTreeMap::new(),
            told: BTreeMap::new(),
            holding: BTreeSet::new(),
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

    /// Looks at the counters; what has happened, without what is held back.
    pub(super) fn look(&mut self, view: &View<'_>) -> Vec<Event> {
        self.looked = Some(view.now.uptime);
        self.room = (self.room + 1).min(BURST);
        let mut found = Vec::new();
        for row in 0..view.len(Rows::Exporters) {
            self.exporter(view, row, &mut found);
        }
        for (row, processor) in view.counters.processors.iter().enumerate() {
            let index = u32::try_from(row + 1).unwrap_or(u32::MAX);
            let name = || format!("processor {row}");
            let expired = processor.expired_records.load(Relaxed);
            if self.has_grown(Kind::HoldExpired, index, expired) {
                found.push((Kind::HoldExpired, index, name()));
            }
            let backlog = processor.backlog.load(Relaxed);
            if self.begins(Kind::Backlog, index, backlog >= self.alarms.backlog_octets.max(1)) {
                found.push((Kind::Backlog, index, name()));
            }
        }
        for (row, name) in CONTENTION.iter().enumerate() {
            let index = u32::try_from(row + 1).unwrap_or(u32::MAX);
            let failures = view.contended(row).map(|table| table.failures.load(Relaxed)).sum();
            if self.has_grown(Kind::Contention, index, failures) {
                found.push((Kind::Contention, index, (*name).to_owned()));
            }
        }
        let refused = view.counters.commit_failures.load(Relaxed);
        if self.has_grown(Kind::LedgerRefused, 0, refused) {
            found.push((Kind::LedgerRefused, 0, "ledger".to_owned()));
        }
        found
            .into_iter()
            .filter_map(|(kind, row, subject)| self.tell(kind, row, subject, view.now.wall))
            .collect()
    }

    fn exporter(&mut self, view: &View<'_>, row: usize, found: &mut Vec<(Kind, u32, String)>) {
        let exporter = view.exporter(row);
        let index = exporter.ledger_id.load(Relaxed);
        let seen = exporter.last_seen.load(Relaxed);
        // Who was never heard is no news.
        let is_silent = seen != 0 && view.now.wall.0.saturating_sub(seen) >= self.alarms.silent_ms;
        if self.begins(Kind::ExporterSilent, index, is_silent) {
            found.push((Kind::ExporterSilent, index, exporter.name.clone()));
        }
        let (lost, records) = (exporter.lost_told.load(Relaxed), exporter.records.load(Relaxed));
        let now = Last { value: lost, other: records, at_ms: view.now.wall.0 };
        let then = *self.last.entry((Kind::ExporterLoss, index)).or_insert(now);
        if now.at_ms.saturating_sub(then.at_ms) >= LOSS_WINDOW_MS || now.at_ms < then.at_ms {
            self.last.insert((Kind::ExporterLoss, index), now);
        }
        let lost = u128::from(lost.saturating_sub(then.value));
        let all = lost + u128::from(records.saturating_sub(then.other));
        let is_lossy = lost > 0 && lost * 100 >= all * u128::from(self.alarms.loss_percent);
        if self.begins(Kind::ExporterLoss, index, is_lossy) {
            found.push((Kind::ExporterLoss, index, exporter.name.clone()));
        }
    }

    /// Whether a counter of failures is higher than it was. What it was before the first look is no news.
    fn has_grown(&mut self, kind: Kind, row: u32, value: u64) -> bool {
        let now = Last { value, ..Last::default() };
        self.last.insert((kind, row), now).is_some_and(|then| value > then.value)
    }

    /// Whether a condition holds that did not hold before.
    fn begins(&mut self, kind: Kind, row: u32, holds: bool) -> bool {
        if holds {
            return self.holding.insert((kind, row));
        }
        self.holding.remove(&(kind, row));
        false
    }

    /// Puts an event into the history; returns it where it is to be sent.
    fn tell(&mut self, kind: Kind, row: u32, subject: String, at: UnixMillis) -> Option<Event> {
        let told = self.told.get(&(kind, row));
        let is_repeated = told.is_some_and(|&told| (0..self.alarms.repeat_ms).contains(&(at.0 - told)));
        if is_repeated {
            super::count(&mut self.throttled);
            return None;
        }
        let throttled = self.room == 0;
        self.number = self.number.wrapping_add(1).max(1);
        let event = Event { number: self.number, kind, row, subject, at, throttled };
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        // Numbers ascend in the history, also when they begin again.
        if self.history.back().is_some_and(|last| last.number > event.number) {
            self.history.clear();
        }
        self.history.push_back(event.clone());
        if throttled {
            super::count(&mut self.throttled);
            return None;
        }
        self.room -= 1;
        self.told.insert((kind, row), at.0);
        Some(event)
    }
}

impl Tree {
    /// The name of an event's notification, and the objects that go with it, read now.
    pub(super) fn notification(&self, view: &View<'_>, event: &Event) -> (Vec<u32>, VarBindList) {
        let name = [objects::ROOT, objects::NOTIFICATIONS, &[event.kind as u32]].concat();
        let bind = |object: &&str| {
            let mut oid = self.named(object)?.oid.clone();
            oid.push(event.row);
            let Found::Value(value) = self.get(view, &oid) else { return None };
            Some(VarBind { name: ObjectName::new_unchecked(oid.into()), value: message::value(value) })
        };
        (name, event.kind.objects().iter().filter_map(bind).collect())
    }
}

#[cfg(test)]
mod tests;
