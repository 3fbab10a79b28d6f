//! What one request sees: the lists of rows, fixed, and the counters behind them.
//!
//! Volumes of links and customers come from one committed state, so a request never sees half a commit. The list of
//! exporters is copied at most once a second. Single counters are relaxed loads of what their owners wrote last.
//! Nothing here waits: where the registry of exporters is being written, the last copy serves on.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::sync::LazyLock;

use super::access::{Access, Scope};
use super::ages::Stamped;
use super::engine::Engine;
use super::lists::CARDS_FROM;
pub(super) use super::lists::Lists;
use super::notify::{Event, Sender, Watch};
use super::tree::Rows;
use super::{Config, Statistics, system, vacm};
use crate::counters::{CardRow, Counters, CustomerRow, Exporter, LinkRow, Processor, Table};
use crate::units::UnixMillis;

/// An instant on two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The time of day, for dates, and for ages of what others stamped with it before anybody looked.
    pub wall: UnixMillis,
    /// Since the agent started, on a clock that never jumps: `sysUpTime`, the rate limit and ages go by it.
    pub uptime: Duration,
}

/// The names of the rows of the contention table; the index is the position here, from 1. Append only: indexes stay.
pub(super) const CONTENTION: [&str; 9] = [
    "templates",
    "usage",
    "holds",
    "journal queue",
    "ledger writer",
    "exporters",
    "held records",
    "connections",
    "running totals",
];

/// What the agent itself has to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here<'a> {
    pub(super) config: &'a Config,
    pub(super) counters: &'a Counters,
    pub(super) statistics: &'a Statistics,
    pub(super) engine: &'a Engine,
    /// Nobody looks back while looking out for what is new.
    pub(super) told: Option<Told<'a>>,
}

/// What was notified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) access: &'a Access,
    pub(super) watch: &'a Watch,
    pub(super) sender: &'a Sender,
}

/// Everything the getters of the tree may read.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) now: Now,
    here: Here<'a>,
    /// What may be seen.
    pub(super) scope: &'a Scope,
    pub(super) lists: &'a Lists,
    /// Rows and leaves that were looked at for this request.
    looks: Cell<u32>,
}

impl<'a> core::ops::Deref for View<'a> {
    type Target = Here<'a>;

    fn deref(&self) -> &Here<'a> {
        &self.here
    }
}

impl<'a> View<'a> {
    pub(super) fn new(now: Now, here: Here<'a>, scope: &'a Scope, lists: &'a Lists) -> Self {
        Self { now, here, scope, lists, looks: Cell::new(0) }
    }

    /// Counts a row or a leaf that is looked at.
    pub(super) fn look(&self) {
        self.looks.set(self.looks.get().saturating_add(1));
    }

    /// How many that were: what the request costs.
    pub(super) fn looks(&self) -> u32 {
        self.looks.get()
    }

    pub(super) fn processor(&self, row: usize) -> &Processor {
        &self.counters.processors[row]
    }

    pub(super) fn exporter(&self, row: usize) -> &Exporter {
        &self.lists.exporters[row].1
    }

    /// A counter of the exporter of a row: what everybody counted who ever had its index.
    pub(super) fn counted(&self, row: usize, of: fn(&Exporter) -> &AtomicU64) -> u64 {
        let all = self.lists.former[row].iter().chain([&self.lists.exporters[row].1]);
        all.fold(0, |sum, exporter| sum.wrapping_add(of(exporter).load(Relaxed)))
    }

    /// The same over all exporters, also those that have no row any more.
    pub(super) fn counted_by_all(&self, of: fn(&Exporter) -> &AtomicU64) -> u64 {
        let rows = (0..self.lists.exporters.len()).map(|row| self.counted(row, of));
        let departed = self.lists.departed.iter().map(|exporter| of(exporter).load(Relaxed));
        rows.chain(departed).fold(0, u64::wrapping_add)
    }

    /// Whether an exporter was ever heard, by this process or an earlier one.
    pub(super) fn was_heard(&self, row: usize) -> bool {
        let mut all = self.lists.former[row].iter().chain([&self.lists.exporters[row].1]);
        self.lists.heard(row) != 0 || all.any(|exporter| exporter.was_heard.load(Relaxed))
    }

    /// For how long it has been silent: since the agent or its row began, where it was not heard.
    pub(super) fn silence(&self, row: usize) -> Duration {
        self.age(Stamped::Exporter(self.lists.exporters[row].0), self.lists.heard(row))
    }

    /// How long ago a stamp of the stages was made.
    pub(super) fn age(&self, what: Stamped, stamp: i64) -> Duration {
        self.lists.ages.age(what, stamp, self.now)
    }

    pub(super) fn link(&self, row: usize) -> &LinkRow {
        &self.lists.volumes.links[row]
    }

    pub(super) fn customer(&self, row: usize) -> &CustomerRow {
        &self.lists.volumes.customers[row]
    }

    /// An event of the history.
    pub(super) fn event(&self, row: usize) -> Option<&Event> {
        self.told.and_then(|told| told.watch.history.get(row))
    }

    fn history(&self) -> usize {
        self.told.map_or(0, |told| told.watch.history.len())
    }

    /// TCP connections now, and taken and refused since the start.
    pub(super) fn connections(&self) -> [u64; 3] {
        let sum = |of: fn(&Processor) -> u64| self.counters.processors.iter().map(of).sum();
        [
            sum(|one| one.connections.current.load(Relaxed)),
            sum(|one| one.connections_accepted.load(Relaxed)),
            sum(|one| one.connections_refused.load(Relaxed)),
        ]
    }

    /// The tables behind a row of the contention table, to be added up.
    pub(super) fn contended(&self, row: usize) -> impl Iterator<Item = &Table> {
        let of_processor: Option<fn(&Processor) -> &Table> = match row {
            0 => Some(|processor| &processor.templates),
            1 => Some(|processor| &processor.usage),
            2 => Some(|processor| &processor.holds),
            3 => Some(|processor| &processor.journal_queue),
            6 => Some(|processor| &processor.held_records),
            7 => Some(|processor| &processor.connections),
            8 => Some(|processor| &processor.running_totals),
            _ => None,
        };
        let whole = match row {
            4 => Some(&self.counters.ledger_writer),
            5 => Some(&self.counters.exporter_table),
            _ => None,
        };
        let processors = self.counters.processors.iter();
        processors.filter_map(move |processor| of_processor.map(|table| table(processor))).chain(whole)
    }

    /// The flow table of a router behind a row of the contention table, if it is one.
    pub(super) fn card(&self, row: usize) -> Option<&CardRow> {
        row.checked_sub(CONTENTION.len()).map(|card| self.lists.cards.row(card))
    }

    /// What found no place in the table behind a row of the contention table.
    pub(super) fn contention_failures(&self, row: usize) -> u64 {
        match self.card(row) {
            Some(card) => card.failures,
            None => self.contended(row).map(|table| table.failures.load(Relaxed)).sum(),
        }
    }

    /// Who may see what; nothing where nobody asks.
    pub(super) fn vacm(&self) -> &vacm::Tables {
        static NOBODY: LazyLock<vacm::Tables> = LazyLock::new(vacm::Tables::default);
        self.told.map_or(&NOBODY, |told| &told.access.tables)
    }

    /// How many rows there are.
    pub(super) fn len(&self, rows: Rows) -> usize {
        let lists = self.lists;
        match rows {
            Rows::Allowances => lists.allowances.len(),
            Rows::Application | Rows::Scalar | Rows::VacmContexts => 1,
            Rows::Contention => CONTENTION.len() + lists.cards.len(),
            Rows::History => self.history(),
            Rows::Customers => lists.volumes.customers.len(),
            Rows::Exporters => lists.exporters.len(),
            Rows::Links => lists.volumes.links.len(),
            Rows::Periods => lists.periods.len(),
            Rows::Polled => lists.polled.len(),
            Rows::Processors => self.counters.processors.len(),
            Rows::Reconciled => lists.reconciled.len(),
            Rows::Resources => system::RESOURCES.len(),
            Rows::Samplers => lists.samplers.len(),
            Rows::Tariffs => lists.books.tariffs.len(),
            Rows::TemplateFields => lists.fields(),
            Rows::Templates => lists.templates.len(),
            Rows::Transports => lists.transports.len(),
            Rows::UsmUsers => self.vacm().users.len(),
            Rows::VacmAccesses => self.vacm().accesses.len(),
            Rows::VacmFamilies => self.vacm().families.len(),
            Rows::VacmGroups => self.vacm().groups.len(),
        }
    }

    /// The position of the row with this index.
    pub(super) fn row_at(&self, rows: Rows, index: &[u32]) -> Option<usize> {
        let lists = self.lists;
        match rows {
            Rows::Allowances => return lists.allowances.at(index),
            Rows::Periods => return lists.periods.at(index),
            Rows::Polled => return lists.polled.at(index),
            Rows::Reconciled => return lists.reconciled.at(index),
            Rows::Samplers => return lists.samplers.at(index),
            Rows::TemplateFields => return lists.field_at(index),
            Rows::Templates => return lists.templates.at(index),
            Rows::Transports => return lists.transports.at(index),
            Rows::UsmUsers => return self.vacm().users.at(index),
            Rows::VacmAccesses => return self.vacm().accesses.at(index),
            Rows::VacmFamilies => return self.vacm().families.at(index),
            Rows::VacmGroups => return self.vacm().groups.at(index),
            _ => {}
        }
        let volumes = &lists.volumes;
        let &[index] = index else { return None };
        match rows {
            // The index of the one context is the empty name, of length 0.
            Rows::Scalar | Rows::VacmContexts => (index == 0).then_some(0),
            Rows::Contention if index >= CARDS_FROM => Some(lists.cards.at(&[index])? + CONTENTION.len()),
            Rows::Contention => {
                let row = usize::try_from(index).ok()?.checked_sub(1)?;
                (row < CONTENTION.len()).then_some(row)
            }
            Rows::Customers => volumes.customers.binary_search_by_key(&index, |row| row.id).ok(),
            Rows::Exporters => lists.exporters.binary_search_by_key(&index, |&(id, _)| id).ok(),
            Rows::History => self.told?.watch.history.binary_search_by_key(&index, |event| event.number).ok(),
            Rows::Links => volumes.links.binary_search_by_key(&index, |row| row.id).ok(),
            _ => {
                let row = usize::try_from(index).ok()?.checked_sub(1)?;
                (row < self.len(rows)).then_some(row)
            }
        }
    }

    /// The position of the first row, or of the first with an index greater than `after`.
    pub(super) fn row_after(&self, rows: Rows, after: Option<&[u32]>) -> Option<usize> {
        let row = after.map_or(Some(0), |after| self.first_beyond(rows, after))?;
        (row < self.len(rows)).then_some(row)
    }

    fn first_beyond(&self, rows: Rows, index: &[u32]) -> Option<usize> {
        let (lists, volumes) = (self.lists, &self.lists.volumes);
        // Of names with more sub-identifiers than an index has, those after it come after the row that it names.
        let Some(&first) = index.first() else { return Some(0) };
        Some(match rows {
            Rows::Scalar | Rows::VacmContexts => return None,
            Rows::Allowances => lists.allowances.beyond(index),
            Rows::Periods => lists.periods.beyond(index),
            Rows::Polled => lists.polled.beyond(index),
            Rows::Reconciled => lists.reconciled.beyond(index),
            Rows::Samplers => lists.samplers.beyond(index),
            Rows::TemplateFields => lists.field_beyond(index),
            Rows::Templates => lists.templates.beyond(index),
            Rows::Transports => lists.transports.beyond(index),
            Rows::UsmUsers => self.vacm().users.beyond(index),
            Rows::VacmAccesses => self.vacm().accesses.beyond(index),
            Rows::VacmFamilies => self.vacm().families.beyond(index),
            Rows::VacmGroups => self.vacm().groups.beyond(index),
            Rows::Contention => {
                let own = usize::try_from(first).ok()?.min(CONTENTION.len());
                if own < CONTENTION.len() { own } else { own + lists.cards.beyond(index) }
            }
            Rows::Customers => volumes.customers.partition_point(|row| row.id <= first),
            Rows::Exporters => lists.exporters.partition_point(|&(id, _)| id <= first),
            Rows::History => self.told?.watch.history.partition_point(|event| event.number <= first),
            Rows::Links => volumes.links.partition_point(|row| row.id <= first),
            Rows::Application | Rows::Processors | Rows::Resources | Rows::Tariffs => {
                usize::try_from(first).ok()?
            }
        })
    }

    /// Appends the index of a row to the name of a column.
    pub(super) fn push_index(&self, rows: Rows, row: usize, oid: &mut Vec<u32>) {
        let lists = self.lists;
        match rows {
            Rows::Allowances => oid.extend(lists.allowances.key(row)),
            Rows::Periods => oid.extend(lists.periods.key(row)),
            Rows::Polled => oid.extend(lists.polled.key(row)),
            Rows::Reconciled => oid.extend(lists.reconciled.key(row)),
            Rows::Samplers => oid.extend(lists.samplers.key(row)),
            Rows::TemplateFields => oid.extend(lists.field_key(row)),
            Rows::Templates => oid.extend(lists.templates.key(row)),
            Rows::Transports => oid.extend(lists.transports.key(row)),
            Rows::UsmUsers => oid.extend(self.vacm().users.key(row)),
            Rows::VacmAccesses => oid.extend(self.vacm().accesses.key(row)),
            Rows::VacmFamilies => oid.extend(self.vacm().families.key(row)),
            Rows::VacmGroups => oid.extend(self.vacm().groups.key(row)),
            Rows::Scalar | Rows::VacmContexts => oid.push(0),
            Rows::Contention if row >= CONTENTION.len() => {
                oid.extend(lists.cards.key(row - CONTENTION.len()))
            }
            Rows::Application | Rows::Contention | Rows::Processors | Rows::Resources | Rows::Tariffs => {
                oid.push(u32::try_from(row + 1).expect("these tables have a row for each of few things"));
            }
            Rows::Customers => oid.push(self.customer(row).id),
            Rows::Exporters => oid.push(lists.exporters[row].0),
            Rows::History => oid.push(self.event(row).map_or(0, |event| event.number)),
            Rows::Links => oid.push(self.link(row).id),
        }
    }
}
