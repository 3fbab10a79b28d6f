//! The stream processor's end of the journal: copies frames into buffers, never does I/O, never waits.

use core::net::SocketAddr;
use core::sync::atomic::Ordering::Relaxed;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use super::Config;
use super::durable::Durable;
use super::frame::{self, FRAME_OCTETS_MAX, MARK_OCTETS, Mark, PAYLOAD_OCTETS_MAX};
use super::segment::Segment;
use super::syncer::Syncer;
use crate::ids::{Position, Session, VersionHash};
use crate::units::UnixMillis;

/// Frames on the way from the Writer to the Syncer.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    /// Whole frames in `bytes`, but for the boundaries of sessions: nobody counts those as datagrams.
    pub(super) frames: u64,
}

/// What the Writer tells the Syncer.
#[derive(Debug)]
pub(super) enum Message {
    /// Frames that follow those sent before.
    Frames(Buffer),
    /// The Writer knows that the journal fails; nothing of what it sent before matters any more. Go on here.
    Resume(Position),
}

/// Why a datagram did not go into the journal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The disk is slower than the datagrams; the queue is full.
    #[error("the journal's queue is full")]
    Full,
    /// The disk takes nothing.
    #[error("the journal cannot be written")]
    Failed,
    /// Longer than [`PAYLOAD_OCTETS_MAX`].
    #[error("longer than any UDP payload")]
    TooLong,
}

/// Appends frames. Dropping it hands over the rest and ends the Syncer.
#[derive(Debug)]
pub struct Writer {
    to_syncer: SyncSender<Message>,
    empty: Receiver<Vec<u8>>,
    durable: Arc<Durable>,
    current: Option<Buffer>,
    /// When `current` got its first frame, by the last `tick`.
    since: Option<Instant>,
    end: Position,
    /// Which version what is appended is received under, once somebody has said it.
    version: Option<Option<VersionHash>>,
    /// What marks say of the run of the daemon.
    run: u16,
    /// The buffer that is being filled has a mark of it.
    is_marked: bool,
    /// The failure the Syncer was last told to resume from.
    acknowledged: u64,
    /// Buffers that may still be made.
    unmade: usize,
    sync_octets: usize,
    sync: Duration,
    queue_octets: u64,
    cut_octets: u64,
    _lock: Arc<File>,
}

/// A Writer and its Syncer, going on at the end of `segment`.
pub(super) fn connect(
    directory: &Path,
    config: &Config,
    segment: Segment,
    cut_octets: u64,
    lock: File,
) -> (Writer, Syncer, Arc<Durable>) {
    let sync_octets = config.sync_octets.clamp(1, 64 << 20);
    // One to fill while one is written, at least. Nobody ever waits to send: there is a place for each buffer, and
    // one for the Resume.
    let buffers = (config.queue_octets / sync_octets).max(2);
    let (to_syncer, from_writer) = mpsc::sync_channel(buffers + 1);
    let (give_back, empty) = mpsc::sync_channel(buffers);
    let end = segment.end;
    let queue_octets = (buffers * sync_octets) as u64;
    let durable = Arc::new(Durable::new(end, queue_octets));
    // Whoever of the two lives longer keeps the lock.
    let lock = Arc::new(lock);
    let syncer = Syncer::new(
        directory.to_owned(),
        config.segment_octets,
        sync_octets,
        segment,
        from_writer,
        give_back,
        Arc::clone(&durable),
        Arc::clone(&lock),
    );
    let writer = Writer {
        to_syncer,
        empty,
        durable: Arc::clone(&durable),
        current: None,
        since: None,
        end,
        version: None,
        run: run_at(end),
        is_marked: false,
        acknowledged: 0,
        unmade: buffers,
        sync_octets,
        sync: Duration::from_millis(config.sync_ms),
        queue_octets,
        cut_octets,
        _lock: lock,
    };
    (writer, syncer, durable)
}

/// What tells a run that goes on at `end` from the one before, which began elsewhere unless it has written nothing: one time
/// in 65536 it does not. Then sessions that a crash cut off are taken to go on until their numbers come again.
fn run_at(end: Position) -> u16 {
    let sum = crc32fast::hash(&end.0.to_le_bytes()).to_le_bytes();
    u16::from_le_bytes([sum[0], sum[1]])
}

impl Writer {
    /// Appends a datagram; the result is the position after it. It is durable once [`Durable::position`] is there.
    ///
    /// # Errors
    /// When it was not appended. Nothing of it is in the journal then, and [`Writer::end`] is where it was.
    pub fn append(
        &mut self,
        received: UnixMillis,
        source: SocketAddr,
        payload: &[u8],
    ) -> Result<Position, Refused> {
        self.append_in(None, received, source, payload)
    }

    /// [`Writer::append`] for what came in a session; without a payload it is the session's boundary.
    ///
    /// # Errors
    /// As there.
    pub fn append_in(
        &mut self,
        session: Option<Session>,
        received: UnixMillis,
        source: SocketAddr,
        payload: &[u8],
    ) -> Result<Position, Refused> {
        if payload.len() > PAYLOAD_OCTETS_MAX {
            return Err(Refused::TooLong);
        }
        if self.acknowledge() {
            return Err(Refused::Failed);
        }
        let mark = self.mark(received);
        let octets = frame::encoded_octets(source, payload) + if mark.is_some() { MARK_OCTETS } else { 0 };
        let octets = octets as u64;
        if self.durable.queue().current.load(Relaxed) + octets > self.queue_octets {
            return Err(self.full());
        }
        if self.current.is_none() {
            let Some(bytes) = self.empty_buffer() else { return Err(self.full()) };
            self.current = Some(Buffer { bytes, frames: 0 });
        }
        let Some(buffer) = &mut self.current else { return Err(Refused::Full) };
        let mut at = self.end;
        self.end.0 += octets;
        if let Some(mark) = mark {
            frame::encode_mark(&mut buffer.bytes, at, mark);
            at.0 += MARK_OCTETS as u64;
            self.is_marked = true;
        }
        frame::encode(&mut buffer.bytes, at, received, source, session, payload);
        buffer.frames += u64::from(session.is_none() || !payload.is_empty());
        let is_full = buffer.bytes.len() >= self.sync_octets;
        let queue = self.durable.queue();
        let queued = queue.current.fetch_add(octets, Relaxed) + octets;
        queue.high_water.fetch_max(queued, Relaxed);
        let end = self.end;
        if is_full {
            self.hand_over();
        }
        Ok(end)
    }

    /// What is appended from now on is received under this configuration version; `None` where no stored version says what
    /// is in force. A mark says so before the next frame, and at the beginning of each buffer from then on, and so of each
    /// segment. Without a call there are no marks.
    pub fn set_version(&mut self, version: Option<VersionHash>) {
        self.is_marked &= self.version == Some(version);
        self.version = Some(version);
    }

    /// The mark that has to go before the next frame.
    fn mark(&self, received: UnixMillis) -> Option<Mark> {
        let is_marked = self.is_marked && self.current.is_some();
        self.version.filter(|_| !is_marked).map(|version| Mark { received, version, run: self.run })
    }

    /// To be called every few milliseconds, also when nothing is appended: hands over frames older than `sync_ms`.
    /// Frames grow older than that only while the disk is busy with earlier ones.
    pub fn tick(&mut self, now: Instant) {
        if self.acknowledge() {
            return;
        }
        let Some(buffer) = &self.current else { return };
        let since = *self.since.get_or_insert(now);
        // While the disk works on earlier buffers, this one is better filled: handing over many small ones would use
        // up the buffers long before the octets.
        let is_idle = self.durable.queue().current.load(Relaxed) <= buffer.bytes.len() as u64;
        if is_idle && now.saturating_duration_since(since) >= self.sync {
            self.hand_over();
        }
    }

    /// Hands over what there is, now. For a flush; done all the time it would use up the buffers with little in each.
    pub fn hand_over(&mut self) {
        self.since = None;
        let Some(buffer) = self.current.take() else { return };
        if let Err(mpsc::SendError(Message::Frames(buffer))) = self.to_syncer.send(Message::Frames(buffer)) {
            // The Syncer is gone, which it does not do while there is a Writer.
            self.give_up(&buffer);
        }
    }

    /// The position after the last frame appended.
    #[must_use]
    pub fn end(&self) -> Position {
        self.end
    }

    /// Octets that were cut off a torn end when the journal was opened.
    #[must_use]
    pub fn cut_octets(&self) -> u64 {
        self.cut_octets
    }

    /// True while the journal fails. The Syncer is told where to resume, and what it will not get.
    fn acknowledge(&mut self) -> bool {
        let epoch = self.durable.epoch();
        if epoch.is_multiple_of(2) {
            return false;
        }
        if self.acknowledged != epoch {
            self.acknowledged = epoch;
            self.since = None;
            if let Some(buffer) = self.current.take() {
                self.give_up(&buffer);
                self.unmade += 1;
            }
            // Only fails when there is no Syncer; then nothing resumes.
            let _ = self.to_syncer.send(Message::Resume(self.end));
        }
        true
    }

    fn give_up(&self, buffer: &Buffer) {
        let octets = buffer.bytes.len() as u64;
        self.durable.lose(buffer.frames, octets);
        self.durable.queue().current.fetch_sub(octets, Relaxed);
    }

    fn full(&self) -> Refused {
        self.durable.queue().failures.fetch_add(1, Relaxed);
        Refused::Full
    }

    fn empty_buffer(&mut self) -> Option<Vec<u8>> {
        if let Ok(bytes) = self.empty.try_recv() {
            return Some(bytes);
        }
        self.unmade = self.unmade.checked_sub(1)?;
        Some(Vec::with_capacity(self.sync_octets + MARK_OCTETS + FRAME_OCTETS_MAX))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.hand_over();
    }
}
