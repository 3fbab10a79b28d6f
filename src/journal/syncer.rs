//! The journal thread: writes what the Writer hands over, syncs in groups, and says how far it got.

use core::sync::atomic::Ordering::Relaxed;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use super::durable::Durable;
use super::segment::{self, Segment};
use super::writer::{Buffer, Message};
use crate::ids::Position;

/// How long to leave a failing disk alone.
const RETRY: Duration = Duration::from_secs(1);

/// The most buffers for one sync: the first of a group should not wait for ever.
const GROUP_BUFFERS: usize = 16;

/// Writes the journal to disk. See [`Syncer::run`].
#[derive(Debug)]
pub struct Syncer {
    directory: PathBuf,
    segment_octets: u64,
    sync_octets: usize,
    /// `None` while the journal fails.
    segment: Option<Segment>,
    from_writer: Receiver<Message>,
    give_back: SyncSender<Vec<u8>>,
    durable: Arc<Durable>,
    /// Written, not yet synced.
    pending_frames: u64,
    pending_octets: u64,
    /// Where to go on once the disk works again; known when the Writer has noticed the failure.
    resume: Option<Position>,
    pub(super) retry: Duration,
    _lock: Arc<File>,
}

impl Syncer {
    #[expect(clippy::too_many_arguments, reason = "called in one place, each is stored as it is")]
    pub(super) fn new(
        directory: PathBuf,
        segment_octets: u64,
        sync_octets: usize,
        segment: Segment,
        from_writer: Receiver<Message>,
        give_back: SyncSender<Vec<u8>>,
        durable: Arc<Durable>,
        lock: Arc<File>,
    ) -> Self {
        Self {
            directory,
            segment_octets,
            sync_octets,
            segment: Some(segment),
            from_writer,
            give_back,
            durable,
            pending_frames: 0,
            pending_octets: 0,
            resume: None,
            retry: RETRY,
            _lock: lock,
        }
    }

    /// Writes until the Writer is dropped and all it handed over is on disk, or lost and counted.
    pub fn run(mut self) {
        let mut tried = Instant::now();
        loop {
            let message = if self.segment.is_some() {
                self.from_writer.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.from_writer.recv_timeout(self.retry.saturating_sub(tried.elapsed()))
            };
            match message {
                Ok(Message::Frames(buffer)) if self.segment.is_some() => {
                    if let Err(error) = self.group(buffer) {
                        self.fail(&error);
                        tried = Instant::now();
                    }
                }
                Ok(Message::Frames(buffer)) => self.give_up(buffer),
                Ok(Message::Resume(at)) => self.resume = Some(at),
                Err(RecvTimeoutError::Timeout) => {
                    self.try_to_resume();
                    tried = Instant::now();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes `first` and all that has queued up behind it, then syncs once.
    fn group(&mut self, first: Buffer) -> io::Result<()> {
        self.write(first)?;
        for _ in 1..GROUP_BUFFERS {
            match self.from_writer.try_recv() {
                Ok(Message::Frames(buffer)) => self.write(buffer)?,
                Ok(Message::Resume(_)) => debug_assert!(false, "resumed without a failure"),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        self.sync()
    }

    /// Writes one buffer, into a new segment if it does not fit.
    fn write(&mut self, buffer: Buffer) -> io::Result<()> {
        let room = self.make_room(buffer.bytes.len() as u64);
        self.pending_frames += buffer.frames;
        self.pending_octets += buffer.bytes.len() as u64;
        let result = match &mut self.segment {
            Some(segment) => room.and_then(|()| segment.write(&buffer.bytes)),
            None => room,
        };
        // Written or lost, it is accounted for in the pending sums.
        self.give_back(buffer.bytes);
        result
    }

    /// Begins a new segment if `octets` more would make the current one too large.
    fn make_room(&mut self, octets: u64) -> io::Result<()> {
        let Some(segment) = &self.segment else { return Ok(()) };
        if segment.octets() == 0 || segment.octets() + octets <= self.segment_octets {
            return Ok(());
        }
        let end = segment.end;
        self.sync()?;
        self.segment = Some(Segment::create(&self.directory, end)?);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        segment.file.sync_data()?;
        let end = segment.end;
        self.durable.queue().current.fetch_sub(self.pending_octets, Relaxed);
        self.durable.reached(end, self.pending_frames);
        (self.pending_frames, self.pending_octets) = (0, 0);
        Ok(())
    }

    /// Gives up everything that is not durable.
    fn fail(&mut self, error: &io::Error) {
        let durable = self.durable.position();
        tracing::error!(
            directory = %self.directory.display(), %error, position = durable.0, frames = self.pending_frames,
            "Journal cannot be written."
        );
        if let Some(mut segment) = self.segment.take() {
            // If it cannot be cut, that does no harm (see the module).
            let _ = segment.cut(durable);
        }
        self.durable.queue().current.fetch_sub(self.pending_octets, Relaxed);
        self.durable.lose(self.pending_frames, self.pending_octets);
        (self.pending_frames, self.pending_octets) = (0, 0);
        self.resume = None;
        self.durable.fail();
    }

    /// Counts a buffer that was under way when the journal failed.
    fn give_up(&self, buffer: Buffer) {
        let octets = buffer.bytes.len() as u64;
        self.durable.queue().current.fetch_sub(octets, Relaxed);
        self.durable.lose(buffer.frames, octets);
        self.give_back(buffer.bytes);
    }

    fn try_to_resume(&mut self) {
        let Some(at) = self.resume else { return };
        let room = segment::try_room(&self.directory, self.sync_octets);
        match room.and_then(|()| Segment::create(&self.directory, at)) {
            Ok(segment) => {
                tracing::info!(directory = %self.directory.display(), position = at.0, "Journal is written again.");
                self.segment = Some(segment);
                self.resume = None;
                self.durable.recover(at);
            }
            Err(error) => tracing::debug!(%error, "Journal still cannot be written."),
        }
    }

    fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        // There is a place for every buffer; without a Writer nobody needs it.
        let _ = self.give_back.try_send(bytes);
    }
}
