//! The writer thread: the only one that writes the ledger while the daemon runs.
//!
//! A flush waits until the journal is on disk up to its position, so that the ledger never stands beyond what a
//! restart can read again. After each commit it publishes the position, and lets journal retention take what is
//! committed.

use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use tracing::{info, warn};

use super::{Event, Shared};
use crate::commit::{self, Committer};
use crate::diagnostic;
use crate::ids::Position;
use crate::journal::{self, Durable};
use crate::ledger::records::{Advance, CheckpointScope};
use crate::processor::Unsorted;

/// How long the writer waits for the journal at a time before it says so.
const DURABLE_WAIT: Duration = Duration::from_secs(10);

/// What the writer is asked to do.
#[expect(clippy::large_enum_variant, reason = "a few of them wait at a time, and nearly all are flushes")]
pub(super) enum Request {
    /// Commit what processor `index` drained.
    Flush {
        /// The processor.
        index: usize,
        /// The part of its journal that the flush covers.
        advance: Advance,
        /// What it drained. Its rows are sorted here: the processor has no time for that.
        drained: Unsorted,
        /// When, in milliseconds since the epoch.
        drained_at: i64,
    },
    /// Everything that `index` drained before is in the queue before this: mark its flush `generation` as done.
    Barrier {
        /// The processor.
        index: usize,
        /// The generation of the request.
        generation: u64,
    },
    /// Run a function on the ledger and the committer (a reload).
    Run(Box<dyn FnOnce(&mut Committer) + Send>),
}

/// The journal of one processor, as the writer sees it.
pub(super) struct JournalView {
    /// Where it is.
    pub(super) directory: PathBuf,
    /// How far it is on disk.
    pub(super) durable: Arc<Durable>,
}

/// Runs until all senders are gone.
pub(super) fn run(
    mut committer: Committer,
    requests: &Receiver<Request>,
    journals: &[JournalView],
    journal_config: &journal::Config,
    shared: &Shared,
    events: &SyncSender<Event>,
) {
    while let Ok(request) = requests.recv() {
        match request {
            Request::Flush { index, advance, drained, drained_at } => {
                if let Err(error) =
                    commit(&mut committer, &journals[index], index, advance, drained, drained_at, shared)
                {
                    // Going on would need the same flush again; a restart reads it from the journal.
                    let _ = events.send(Event::Fatal(diagnostic::with_causes(&error)));
                    return;
                }
                retain(&journals[index], journal_config, shared, index);
            }
            Request::Barrier { index, generation } => {
                shared.flushed[index].store(generation, Relaxed);
            }
            Request::Run(function) => function(&mut committer),
        }
    }
}

fn commit(
    committer: &mut Committer,
    journal: &JournalView,
    index: usize,
    advance: Advance,
    drained: Unsorted,
    drained_at: i64,
    shared: &Shared,
) -> Result<(), commit::Error> {
    let own = &shared.counters.processors[index];
    own.uncommitted_since.store(drained_at, Relaxed);
    shared.counters.ledger_writer.set_current(shared.counters.ledger_writer.current.load(Relaxed) + 1);
    let drained = drained.sorted();
    while !journal.durable.wait_until(advance.to, DURABLE_WAIT) {
        if journal.durable.failed() {
            // The receiver re-reads nothing beyond the failure: what this flush holds of it was counted unjournalled.
            break;
        }
        warn!(
            processor = index,
            position = advance.to.0,
            "The journal is slow to reach the disk; a flush waits for it."
        );
    }
    let to = advance.to;
    committer.commit(
        CheckpointScope::Live,
        vec![advance],
        drained,
        super::now_ms() / 1000,
        &shared.stopping,
    )?;
    shared.committed[index].store(to.0, Relaxed);
    own.journal.committed.store(to.0, Relaxed);
    shared.in_flight[index].fetch_sub(1, Relaxed);
    own.uncommitted_since.store(0, Relaxed);
    let left = shared.counters.ledger_writer.current.load(Relaxed).saturating_sub(1);
    shared.counters.ledger_writer.set_current(left);
    Ok(())
}

fn retain(journal: &JournalView, config: &journal::Config, shared: &Shared, index: usize) {
    let committed = Position(shared.committed[index].load(Relaxed));
    match journal::retain(&journal.directory, config, committed, crate::units::UnixMillis(super::now_ms())) {
        Ok(removed) => {
            let shown = &shared.counters.processors[index].journal;
            shown.segments.store(removed.kept_segments, Relaxed);
            shown.octets.store(removed.kept_octets, Relaxed);
            if removed.segments == 0 {
                return;
            }
            info!(
                processor = index,
                segments = removed.segments,
                octets = removed.octets,
                "Old journal segments removed."
            );
        }
        Err(error) => warn!(processor = index, %error, "Old journal segments could not be removed."),
    }
}
