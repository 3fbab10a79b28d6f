//! Catching up at start: what the journals hold beyond the last commit is metered and committed before anything new.
//!
//! An exporter's datagrams may lie in several journals, when the number of processors changed between two crashes.
//! So all tails are read together, in the order in which the datagrams were received. What a flush comes to is told of one
//! of the journals that it moves (see [`Committer::commit`]): totals are true of all journals together, not of each.

use core::sync::atomic::Ordering::Relaxed;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::{Error, Shared};
use crate::commit::{self, Committer};
use crate::exporter::Policies;
use crate::ids::{Position, Session, VersionHash};
use crate::journal::{self, Reader, Runs};
use crate::ledger::records::{Advance, CheckpointScope, Source};
use crate::processor::exporters::Exporters;
use crate::processor::{Config, StreamProcessor, Taken};
use crate::setup;
use crate::units::UnixMillis;
use crate::usage::FlushTotals;

/// Frames between two flushes.
const FLUSH_FRAMES: u64 = 1 << 18;

/// The part of a journal that is not committed.
pub(super) struct Tail<'a> {
    /// Its directory.
    pub(super) directory: &'a Path,
    /// The journal as the ledger knows it.
    pub(super) source: Source,
    /// Where it ended when the daemon started.
    pub(super) end: Position,
}

/// A frame that is next in its tail.
struct Next {
    received: UnixMillis,
    source: core::net::IpAddr,
    session: Option<Session>,
    version: Option<VersionHash>,
    runs: u32,
    end: Position,
    payload: Vec<u8>,
}

struct Stream {
    reader: Reader,
    number: usize,
    source: Source,
    end: Position,
    /// Metered up to here, and committed up to here.
    at: Position,
    committed: Position,
    next: Option<Next>,
    /// Where a damaged frame was met, last.
    damaged_at: Option<Position>,
}

impl Stream {
    fn advance(&mut self) -> Result<(), Error> {
        let mut payload = self.next.take().map(|next| next.payload).unwrap_or_default();
        if self.at >= self.end {
            return Ok(());
        }
        loop {
            match self.reader.next() {
                Ok(Some(frame)) if frame.end <= self.end => {
                    payload.clear();
                    payload.extend_from_slice(frame.payload);
                    let source = frame.source.ip().to_canonical();
                    self.next = Some(Next {
                        received: frame.received,
                        source,
                        session: frame.session,
                        version: frame.version,
                        runs: frame.runs,
                        end: frame.end,
                        payload,
                    });
                    return Ok(());
                }
                // What follows was received in this run.
                Ok(_) => {
                    self.at = self.end;
                    return Ok(());
                }
                Err(error @ journal::Error::Damaged { .. }) => {
                    error!(%error, "A part of the journal cannot be read; it is lost.");
                    let at = self.reader.position();
                    // It goes on at the next segment; where there is none, it stays.
                    if at >= self.end || self.damaged_at.replace(at) == Some(at) {
                        self.at = self.end;
                        return Ok(());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Meters and commits all tails. False: the daemon is to stop, and the rest stays for the next start.
pub(super) fn run(
    tails: Vec<Tail<'_>>,
    config: Config,
    registry: &Arc<Exporters>,
    shared: &Shared,
    committer: &mut Committer,
) -> Result<bool, Error> {
    let counters = &shared.counters;
    let behind: u64 = tails.iter().map(|tail| tail.end.0.saturating_sub(tail.source.position.0)).sum();
    if behind == 0 {
        return Ok(true);
    }
    info!(octets = behind, "Reading what the journal holds beyond the last commit.");
    let mut processor = StreamProcessor::new(0, config, Arc::clone(registry), Arc::clone(counters));
    // Nothing is journalled of who may not send.
    processor.trust_feeder();
    registry.leave_states(super::checkpoints::live(committer.ledger())?);
    let mut known = Known::new(registry);
    let mut streams = Vec::new();
    for (number, tail) in tails.into_iter().enumerate() {
        let at = tail.source.position;
        let reader = Reader::open_marked(tail.directory, at)?;
        let mut stream = Stream {
            reader,
            number,
            source: tail.source,
            end: tail.end,
            at,
            committed: at,
            next: None,
            damaged_at: None,
        };
        stream.advance()?;
        streams.push(stream);
    }
    let mut since_flush = 0_u64;
    let mut rejected = 0_u64;
    let mut runs = Runs::default();
    let own = &counters.processors[0];
    while let Some(earliest) = streams
        .iter_mut()
        .filter(|stream| stream.next.is_some())
        .min_by_key(|stream| stream.next.as_ref().map(|next| next.received))
    {
        let next = earliest.next.as_ref().expect("filtered above");
        // A session's boundary is no datagram.
        let datagrams = u64::from(next.session.is_none() || !next.payload.is_empty());
        own.datagrams.fetch_add(datagrams, Relaxed);
        own.octets.fetch_add(next.payload.len() as u64, Relaxed);
        processor.go_by(known.of(next.version, committer)?);
        if next.session.is_some() && runs.is_another(next.source, earliest.number, next.runs) {
            processor.end_sessions(next.source);
        }
        match processor.feed_in(next.session, next.received, next.source, &next.payload)? {
            Taken::Yes => own.journalled.fetch_add(datagrams, Relaxed),
            Taken::Rejected => {
                rejected += datagrams;
                own.rejected.fetch_add(datagrams, Relaxed)
            }
        };
        earliest.at = next.end;
        earliest.advance()?;
        since_flush += 1;
        if since_flush >= FLUSH_FRAMES || !processor.has_room() {
            since_flush = 0;
            if !flush(&mut processor, &mut streams, committer, shared)? {
                return Ok(false);
            }
        }
        if shared.stopping.load(Relaxed) {
            // The rest is read at the next start.
            return Ok(false);
        }
    }
    if !flush(&mut processor, &mut streams, committer, shared)? {
        return Ok(false);
    }
    info!(rejected, "Caught up with the journal.");
    Ok(true)
}

/// What configuration versions say of how datagrams are read and scaled, as far as it was asked.
struct Known {
    newest: Arc<Policies>,
    /// Of older ones; none: the ledger does not have it.
    older: HashMap<VersionHash, Option<Arc<Policies>>>,
}

impl Known {
    fn new(registry: &Exporters) -> Self {
        Self { newest: registry.policies(), older: HashMap::new() }
    }

    /// What was in force when a frame was received. Where nobody can tell, it goes by what is in force now.
    fn of(
        &mut self,
        version: Option<VersionHash>,
        committer: &mut Committer,
    ) -> Result<&Arc<Policies>, Error> {
        let Some(version) = version.filter(|_| version != self.newest.version()) else {
            return Ok(&self.newest);
        };
        let found = match self.older.entry(version) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let said = setup::policies(version, committer.ledger())?;
                if said.is_none() {
                    warn!(
                        version = setup::hex(&version.0),
                        "The ledger does not have the configuration version that a part of the journal was received under; \
                         it is read and scaled by the newest."
                    );
                }
                place.insert(said.map(Arc::new))
            }
        };
        Ok(found.as_ref().unwrap_or(&self.newest))
    }
}

/// False: the daemon is to stop, and the ledger takes nothing.
fn flush(
    processor: &mut StreamProcessor,
    streams: &mut [Stream],
    committer: &mut Committer,
    shared: &Shared,
) -> Result<bool, Error> {
    let drained = processor.drain();
    let advances = streams
        .iter()
        .filter(|stream| stream.at > stream.committed)
        .map(|stream| Advance {
            source: stream.source.id,
            from: stream.committed,
            to: stream.at,
            complete: false,
            totals: FlushTotals::default(),
        })
        .collect();
    let now = super::now_ms() / 1000;
    match committer.commit(CheckpointScope::Live, advances, drained, now, &shared.stopping) {
        Ok(()) => {}
        Err(commit::Error::Stopped) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    for stream in streams {
        stream.committed = stream.at;
    }
    Ok(true)
}
