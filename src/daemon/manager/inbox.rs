//! What the SNMP manager found and the ledger does not have yet. Bounded, however long the ledger is busy.

use std::collections::{BTreeMap, VecDeque};

use crate::ledger::records::interfaces::{Card, CardFailures, Interface, InterfacePart};
use crate::units::{IfIndex, UnixMillis};

/// Parts of buckets that may wait for the ledger: a day of 300 interfaces.
const PARTS_MAX: usize = 100_000;

/// Readings of a router's interfaces that may wait, each other than the one before. Of a router that has more to tell, the
/// newest reading takes the place of the one before it.
const READINGS_MAX: usize = 8;

/// The interfaces of a router, as read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reading {
    /// From when on they are so.
    pub(super) at: UnixMillis,
    /// They are all.
    pub(super) is_whole: bool,
    /// When the router started, where that is a short while ago.
    pub(super) started: Option<UnixMillis>,
    /// By number, ascending.
    pub(super) interfaces: Vec<Interface>,
}

impl Reading {
    /// Whether it says what an earlier one said: then that one's time counts.
    fn repeats(&self, earlier: &Self) -> bool {
        earlier.at <= self.at && Self { at: earlier.at, ..self.clone() } == *earlier
    }
}

/// Flow tables of a router, as read.
pub(super) struct CardsRead {
    pub(super) exporter: String,
    pub(super) at: UnixMillis,
    /// Its uptime then, in hundredths of a second.
    pub(super) uptime: u32,
    pub(super) cards: BTreeMap<u32, Card>,
}

/// What waits for the ledger.
#[derive(Default)]
pub(super) struct Inbox {
    /// Interfaces by exporter, in the order in which they were read.
    readings: BTreeMap<String, VecDeque<Reading>>,
    pub(super) parts: Vec<(String, IfIndex, InterfacePart)>,
    pub(super) cards: Vec<CardsRead>,
    /// What cards had no room for, not in the ledger yet.
    pub(super) failures: Vec<CardFailures>,
    /// Parts that found no room.
    pub(super) dropped: u64,
}

impl Inbox {
    /// Keeps a reading behind those that wait already. What it repeats holds from the earlier time on: a reading that tells
    /// of a reboot must not lose its time to the next one, which only tells the same.
    pub(super) fn keep_reading(&mut self, exporter: &str, reading: Reading) {
        if !self.readings.contains_key(exporter) {
            self.readings.insert(exporter.to_owned(), VecDeque::new());
        }
        let Some(waiting) = self.readings.get_mut(exporter) else { return };
        if waiting.back().is_some_and(|last| reading.repeats(last)) {
            return;
        }
        if waiting.len() >= READINGS_MAX {
            waiting.pop_back();
        }
        waiting.push_back(reading);
    }

    /// The next reading that waits; of one exporter in their order.
    pub(super) fn next_reading(&mut self) -> Option<(String, Reading)> {
        let mut first = self.readings.first_entry()?;
        let reading = first.get_mut().pop_front();
        let exporter = first.key().clone();
        if first.get().is_empty() {
            first.remove();
        }
        reading.map(|reading| (exporter, reading))
    }

    /// Puts one back that could not be entered.
    pub(super) fn put_back(&mut self, exporter: String, reading: Reading) {
        self.readings.entry(exporter).or_default().push_front(reading);
    }

    /// Keeps parts of buckets, as far as there is room.
    pub(super) fn keep_parts(&mut self, exporter: &str, parts: Vec<(IfIndex, InterfacePart)>) {
        let room = PARTS_MAX.saturating_sub(self.parts.len());
        self.dropped += parts.len().saturating_sub(room) as u64;
        let parts = parts.into_iter().take(room).map(|(at, part)| (exporter.to_owned(), at, part));
        self.parts.extend(parts);
    }

    /// Puts what was found meanwhile behind what is here.
    pub(super) fn append(&mut self, later: Self) {
        let Self { readings, mut parts, mut cards, mut failures, dropped } = later;
        for (exporter, readings) in readings {
            for reading in readings {
                self.keep_reading(&exporter, reading);
            }
        }
        self.parts.append(&mut parts);
        self.cards.append(&mut cards);
        self.failures.append(&mut failures);
        self.dropped += dropped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: i64, is_whole: bool, names: &[(u32, &str)]) -> Reading {
        let interface = |&(ifindex, name): &(u32, &str)| Interface {
            ifindex: IfIndex(ifindex),
            name: name.to_owned(),
            ..Interface::default()
        };
        Reading {
            at: UnixMillis(at),
            is_whole,
            started: None,
            interfaces: names.iter().map(interface).collect(),
        }
    }

    fn drained(inbox: &mut Inbox) -> Vec<(String, i64, bool)> {
        core::iter::from_fn(|| inbox.next_reading())
            .map(|(exporter, reading)| (exporter, reading.at.0, reading.is_whole))
            .collect()
    }

    const BEFORE: &[(u32, &str)] = &[(100, "up0"), (900, "x9")];
    const AFTER: &[(u32, &str)] = &[(100, "x9"), (200, "up0")];

    fn told(exporter: &str, at: i64, is_whole: bool) -> (String, i64, bool) {
        (exporter.to_owned(), at, is_whole)
    }

    /// A reboot at 10 was found at 25; the ledger is busy until after the polls at 35 and 45.
    #[test]
    fn a_reboot_keeps_its_time_while_the_ledger_is_busy() {
        let mut inbox = Inbox::default();
        for (at, is_whole, names) in [
            (5, true, BEFORE),
            (10, false, AFTER),
            (35, false, AFTER),
            (45, false, AFTER),
            (700, true, AFTER),
        ] {
            inbox.keep_reading("ce1", reading(at, is_whole, names));
        }
        inbox.keep_reading("ce2", reading(1, true, BEFORE));
        let expected = [("ce1", 5, true), ("ce1", 10, false), ("ce1", 700, true), ("ce2", 1, true)]
            .map(|(e, at, w)| told(e, at, w));
        assert_eq!(drained(&mut inbox), expected);
        assert_eq!(drained(&mut inbox), []);
    }

    /// What could not be entered comes before what was found meanwhile; and a clock that was set back repeats nothing.
    #[test]
    fn what_is_put_back_comes_first() {
        let mut inbox = Inbox::default();
        inbox.keep_reading("ce1", reading(10, false, AFTER));
        let (exporter, first) = inbox.next_reading().expect("one");
        inbox.put_back(exporter, first);
        let mut later = Inbox::default();
        later.keep_reading("ce1", reading(35, false, AFTER));
        later.keep_reading("ce1", reading(40, false, BEFORE));
        inbox.append(later);
        inbox.keep_reading("ce1", reading(30, false, BEFORE));
        let expected = [10, 40, 30].map(|at| told("ce1", at, false));
        assert_eq!(drained(&mut inbox), expected);
    }

    /// Twelve other readings: the first seven wait, and the newest.
    #[test]
    fn readings_that_wait_are_bounded() {
        let mut inbox = Inbox::default();
        for at in 0..12_u32 {
            inbox.keep_reading("ce1", reading(at.into(), true, &[(at + 1, "up0")]));
        }
        let times: Vec<i64> = drained(&mut inbox).into_iter().map(|(_, at, _)| at).collect();
        assert_eq!(times, [0, 1, 2, 3, 4, 5, 6, 11]);
    }
}
