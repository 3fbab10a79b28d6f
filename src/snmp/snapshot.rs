//! What one request sees: the lists of rows, fixed, and the counters behind them.
//!
//! Volumes of links and customers come from one committed state, so a request never sees half a commit. The list of
//! exporters is copied at most once a second. Single counters are relaxed loads of what their owners wrote last.
//! Nothing here waits: where the registry of exporters is being written, the last copy serves on.

use core::time::Duration;
use std::sync::Arc;

use super::access::Scope;
use super::engine::Engine;
use super::notify::{Event, Sender, Watch};
use super::tree::Rows;
use super::{Config, Statistics, system};
use crate::counters::{Counters, CustomerRow, Exporter, LinkRow, Processor, Table, Volumes};
use crate::units::UnixMillis;

/// An instant on two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The time of day, for dates and for ages of what others stamped with it.
    pub wall: UnixMillis,
    /// Since the agent started, on a clock that never jumps: `sysUpTime` and the rate limit go by it.
    pub uptime: Duration,
}

/// How old a copy of the exporters' list may be.
const EXPORTERS_AGE: Duration = Duration::from_secs(1);

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

/// The lists of rows, kept between requests.
#[derive(Debug, Default)]
pub(super) struct Lists {
    exporters: Vec<(u32, Arc<Exporter>)>,
    copied_at: Option<Duration>,
    volumes: Arc<Volumes>,
}

impl Lists {
    /// Brings the lists up to date.
    pub(super) fn refresh(&mut self, counters: &Counters, uptime: Duration) {
        let young = |at: Duration| uptime.checked_sub(at).is_some_and(|age| age < EXPORTERS_AGE);
        if !self.copied_at.is_some_and(young)
            && let Ok(registry) = counters.exporters.try_read()
        {
            self.exporters.clear();
            self.exporters
                .extend(registry.iter().map(|exporter| (ledger_id(exporter), Arc::clone(exporter))));
            drop(registry);
            self.exporters.retain(|&(id, _)| id != 0);
            // Of two entries with one number the newer stays: sorting is stable and the registry only grows.
            self.exporters.reverse();
            self.exporters.sort_by_key(|&(id, _)| id);
            self.exporters.dedup_by_key(|&mut (id, _)| id);
            self.copied_at = Some(uptime);
        }
        let volumes = counters.volumes.load();
        if !Arc::ptr_eq(&volumes, &self.volumes) {
            self.volumes = ascending(Arc::clone(&volumes));
        }
    }
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
    exporter.ledger_id.load(core::sync::atomic::Ordering::Relaxed)
}

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
    lists: &'a Lists,
}

impl<'a> core::ops::Deref for View<'a> {
    type Target = Here<'a>;

    fn deref(&self) -> &Here<'a> {
        &self.here
    }
}

impl<'a> View<'a> {
    pub(super) fn new(now: Now, here: Here<'a>, scope: &'a Scope, lists: &'a Lists) -> Self {
        Self { now, here, scope, lists }
    }

    pub(super) fn processor(&self, row: usize) -> &Processor {
        &self.counters.processors[row]
    }

    pub(super) fn exporter(&self, row: usize) -> &Exporter {
        &self.lists.exporters[row].1
    }

    pub(super) fn exporters(&self) -> impl Iterator<Item = &Exporter> {
        self.lists.exporters.iter().map(|(_, exporter)| exporter.as_ref())
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
        use core::sync::atomic::Ordering::Relaxed;
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

    /// How many rows there are.
    pub(super) fn len(&self, rows: Rows) -> usize {
        match rows {
            Rows::Application | Rows::Scalar => 1,
            Rows::Contention => CONTENTION.len(),
            Rows::History => self.history(),
            Rows::Customers => self.lists.volumes.customers.len(),
            Rows::Exporters => self.lists.exporters.len(),
            Rows::Links => self.lists.volumes.links.len(),
            Rows::Processors => self.counters.processors.len(),
            Rows::Resources => system::RESOURCES.len(),
        }
    }

    /// The position of the row with this index.
    pub(super) fn row_at(&self, rows: Rows, index: &[u32]) -> Option<usize> {
        let volumes = &self.lists.volumes;
        let &[index] = index else { return None };
        match rows {
            Rows::Scalar => (index == 0).then_some(0),
            Rows::Application | Rows::Contention | Rows::Processors | Rows::Resources => {
                let row = usize::try_from(index).ok()?.checked_sub(1)?;
                (row < self.len(rows)).then_some(row)
            }
            Rows::Customers => volumes.customers.binary_search_by_key(&index, |row| row.id).ok(),
            Rows::Exporters => self.lists.exporters.binary_search_by_key(&index, |&(id, _)| id).ok(),
            Rows::History => self.told?.watch.history.binary_search_by_key(&index, |event| event.number).ok(),
            Rows::Links => volumes.links.binary_search_by_key(&index, |row| row.id).ok(),
        }
    }

    /// The position of the first row, or of the first with an index greater than `after`.
    pub(super) fn row_after(&self, rows: Rows, after: Option<&[u32]>) -> Option<usize> {
        let volumes = &self.lists.volumes;
        // Of names with more sub-identifiers, the first one decides: they come after the row that it names.
        let after = after.and_then(|index| index.first().copied());
        let row = match (rows, after) {
            (_, None) => 0,
            (Rows::Scalar, Some(_)) => return None,
            (Rows::Application | Rows::Contention | Rows::Processors | Rows::Resources, Some(index)) => {
                usize::try_from(index).ok()?
            }
            (Rows::Customers, Some(index)) => volumes.customers.partition_point(|row| row.id <= index),
            (Rows::Exporters, Some(index)) => self.lists.exporters.partition_point(|&(id, _)| id <= index),
            (Rows::History, Some(index)) => {
                self.told?.watch.history.partition_point(|event| event.number <= index)
            }
            (Rows::Links, Some(index)) => volumes.links.partition_point(|row| row.id <= index),
        };
        (row < self.len(rows)).then_some(row)
    }

    /// Appends the index of a row to the name of a column.
    pub(super) fn push_index(&self, rows: Rows, row: usize, oid: &mut Vec<u32>) {
        oid.push(match rows {
            Rows::Scalar => 0,
            Rows::Application | Rows::Contention | Rows::Processors | Rows::Resources => {
                u32::try_from(row + 1).expect("these tables have a row for each thread, module or kind")
            }
            Rows::Customers => self.customer(row).id,
            Rows::Exporters => self.lists.exporters[row].0,
            Rows::History => self.event(row).map_or(0, |event| event.number),
            Rows::Links => self.link(row).id,
        });
    }
}
