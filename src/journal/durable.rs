//! How far the journal is on disk, for everybody who must know.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::counters::Table;
use crate::ids::Position;

/// How far the journal is on disk, whether it fails, and what it lost. Shared by Writer, Syncer and ledger writer.
#[derive(Debug)]
pub struct Durable {
    position: AtomicU64,
    /// Counts up when the journal begins to fail and again when it has recovered: odd while it fails.
    epoch: AtomicU64,
    lost_frames: AtomicU64,
    lost_octets: AtomicU64,
    durable_frames: AtomicU64,
    queue: Table,
    /// Taken by those who wait, and by who wakes them; never while anything is written.
    gate: Mutex<()>,
    changed: Condvar,
}

/// Frames that were appended and never became durable.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Lost {
    /// How many.
    pub frames: u64,
    /// Their octets, in the journal's positions.
    pub octets: u64,
}

impl Durable {
    pub(super) fn new(position: Position, queue_octets: u64) -> Self {
        let queue = Table::default();
        queue.limit.store(queue_octets, Relaxed);
        Self {
            position: AtomicU64::new(position.0),
            epoch: AtomicU64::new(0),
            lost_frames: AtomicU64::new(0),
            lost_octets: AtomicU64::new(0),
            durable_frames: AtomicU64::new(0),
            queue,
            gate: Mutex::new(()),
            changed: Condvar::new(),
        }
    }

    /// Everything before it is on disk or was counted as lost.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.position.load(Acquire))
    }

    /// True while the disk takes nothing.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.epoch() % 2 == 1
    }

    /// All frames lost since the journal was opened.
    #[must_use]
    pub fn lost(&self) -> Lost {
        Lost { frames: self.lost_frames.load(Acquire), octets: self.lost_octets.load(Acquire) }
    }

    /// Frames that reached the disk since the journal was opened.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.durable_frames.load(Acquire)
    }

    /// Waits until the journal is durable up to `position`, at most for `timeout`. False when it took longer, and at
    /// once when the journal fails: then there is nothing to wait for, and [`Durable::failed`] says so. What the
    /// Writer has not handed over does not get there by waiting: [`super::Writer::hand_over`] before.
    pub fn wait_until(&self, position: Position, timeout: Duration) -> bool {
        if self.position() >= position {
            return true;
        }
        if self.failed() {
            return false;
        }
        let begun = Instant::now();
        let gate = self.gate.lock().expect("no holder of this lock panics");
        let waiting = |_: &mut ()| self.position() < position && !self.failed();
        let waited = self.changed.wait_timeout_while(gate, timeout, waiting);
        drop(waited.expect("no holder of this lock panics"));
        self.queue.waited(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.position() >= position
    }

    /// Octets on the way to the disk, and how often there was no room for more. Waits are those of
    /// [`Durable::wait_until`].
    #[must_use]
    pub fn queue(&self) -> &Table {
        &self.queue
    }

    /// Copies [`Durable::queue`] into a table that others read.
    pub fn publish(&self, table: &Table) {
        for (from, to) in [
            (&self.queue.limit, &table.limit),
            (&self.queue.current, &table.current),
            (&self.queue.high_water, &table.high_water),
            (&self.queue.failures, &table.failures),
            (&self.queue.waits, &table.waits),
            (&self.queue.wait_micros, &table.wait_micros),
        ] {
            to.store(from.load(Relaxed), Relaxed);
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Acquire)
    }

    pub(super) fn lose(&self, frames: u64, octets: u64) {
        self.lost_frames.fetch_add(frames, Release);
        self.lost_octets.fetch_add(octets, Release);
    }

    /// The disk has everything up to `position`, `frames` more than before.
    pub(super) fn reached(&self, position: Position, frames: u64) {
        self.durable_frames.fetch_add(frames, Release);
        self.position.store(position.0, Release);
        self.wake();
    }

    /// The journal begins to fail.
    pub(super) fn fail(&self) {
        debug_assert!(!self.failed(), "it fails once until it has recovered");
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    /// The journal goes on at `position`.
    pub(super) fn recover(&self, position: Position) {
        debug_assert!(self.failed(), "only a failed journal recovers");
        self.position.store(position.0, Release);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    fn wake(&self) {
        // Whoever has just seen the old value holds the gate until it waits.
        drop(self.gate.lock().expect("no holder of this lock panics"));
        self.changed.notify_all();
    }
}
