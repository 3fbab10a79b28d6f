//! The journal: every datagram on disk before it is decoded, so that a crash anywhere replays instead of losing.
//!
//! Each stream processor has one journal in a directory of its own. It is a sequence of **frames** (one datagram with
//! its source and when it was received, see `journal/frame.rs`) in **segment** files named by the position they start
//! at. A [`Position`] counts the octets of frames from the beginning of the journal; segment headers do not count.
//!
//! Three parties:
//!
//! - [`Writer`] belongs to the stream processor's thread. It copies frames into a buffer and does no I/O; full or old
//!   buffers go to the Syncer through a bounded queue and come back empty.
//! - [`Syncer`] is the body of the journal thread: it writes buffers, calls `fdatasync` once for all that had queued
//!   up meanwhile, and publishes how far the journal is on disk.
//! - [`Durable`] is what everybody else looks at: how far the journal is on disk, whether it fails, what was lost.
//!
//! # When the disk fails
//!
//! **A position is handed out once and never again**, whatever the disk does. When a write or sync fails (disk full,
//! I/O error), let P be the last durable position and E the position that the Writer had reached:
//!
//! 1. The Syncer cuts the segment back to P (if that fails too, nothing depends on it), never touches that file again,
//!    and says [`Durable::failed`]. [`Durable::position`] stays at P. Frames in `P..E` are counted in
//!    [`Durable::lost`], exactly once each, as their buffers are given up.
//! 2. [`Writer::append`] returns [`Refused::Failed`]; the processor meters such datagrams without a place in the
//!    journal (`unjournalled`). [`Writer::end`] stays at E.
//! 3. About once a second the Syncer tries whether there is room for a whole buffer, and to begin a new segment that
//!    starts at E. Once that works, `failed` is over, the durable position is E (nothing
//!    before it is left to wait for), and appending goes on at E.
//!
//! A flush always commits the position that its datagrams reach, also one inside or at the end of `P..E`: once with
//! [`Durable::wait_until`] true or [`Durable::failed`], there is nothing left to wait for. After a crash reading goes on
//! from the committed position, so a lost frame that has been metered cannot come back even if the disk kept it, and
//! one that was not metered is replayed if the disk kept it. `journalled` datagrams are those appended without
//! [`Refused`], less [`Lost::frames`]; `unjournalled` are those refused but metered, and [`Lost::frames`].
//!
//! The same rule needs the ledger's help at the start: its committed position may lie beyond what the disk kept.
//! [`open_at`] takes it, so that new frames never get positions that count as committed.
//!
//! # Marks
//!
//! A datagram is decoded and scaled by what was in force when it was received, also where that is done after a crash. So the
//! Writer puts a *mark* with the hash of the configuration version before the frames that were received under it
//! ([`Writer::set_version`]): where it changes, and at the beginning of each buffer, since a segment begins with a buffer.
//! Marks take up positions and are no frames. A journal without any (of an earlier version of this program) tells no
//! versions.
//!
//! # Reading
//!
//! [`Reader`] yields frames from a position on, across segments, also while the journal grows. A missing stretch
//! between two segments is a loss the Writer counted when it happened; [`Reader::gap_octets`] tells its size. A
//! damaged frame is an error, and reading can go on behind it at the next segment.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ids::Position;

mod durable;
mod frame;
mod reader;
mod retention;
mod segment;
mod syncer;
#[cfg(test)]
mod tests;
mod writer;

pub use durable::{Durable, Lost};
pub use frame::PAYLOAD_OCTETS_MAX;
pub use reader::{Frame, Reader, Runs};
pub use retention::{Removed, retain};
pub use syncer::Syncer;
pub use writer::{Refused, Writer};

/// How a journal is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// A segment is closed before it grows beyond so many octets of frames.
    pub segment_octets: u64,
    /// A buffer older than so many milliseconds goes to the disk although it is not full.
    pub sync_ms: u64,
    /// A buffer with so many octets goes to the disk.
    pub sync_octets: usize,
    /// The most octets that may wait for the disk.
    pub queue_octets: usize,
    /// Committed segments older than so many milliseconds are deleted; `None`: age is no reason.
    pub retain_ms: Option<i64>,
    /// Committed segments are deleted, oldest first, while all segments together hold more octets than this; `None`:
    /// size is no reason.
    pub retain_octets: Option<u64>,
}

impl Default for Config {
    /// 64 MiB segments, a sync each 100 ms or 1 MiB, a queue of 16 MiB, 45 days (a month can be
    /// corrected when it is over and billed) and 10 GiB.
    fn default() -> Self {
        Self {
            segment_octets: 64 << 20,
            sync_ms: 100,
            sync_octets: 1 << 20,
            queue_octets: 16 << 20,
            retain_ms: Some(45 * 24 * 3600 * 1000),
            retain_octets: Some(10 << 30),
        }
    }
}

/// Why a journal cannot be opened, read or tidied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system said no.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process, or another writer of this one, has the journal open.
    #[error("journal `{}` is in use by another process", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A segment does not begin with a segment's header, or with that of another position.
    #[error("`{}` is not a journal segment of this version", path.display())]
    NotASegment {
        /// The file.
        path: PathBuf,
    },
    /// A frame does not match its checksum, or has an impossible length.
    #[error("damaged frame in `{}` at offset {offset} (position {})", path.display(), position.0)]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Octets from the beginning of the file.
        offset: u64,
        /// The position of the frame.
        position: Position,
    },
    /// What is asked for has been deleted.
    #[error("the journal begins at position {}, {} is no longer retained", oldest.0, from.0)]
    NotRetained {
        /// What was asked for.
        from: Position,
        /// The oldest position there is.
        oldest: Position,
    },
}

impl Error {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Opens the journal in `directory` for writing, as [`open_at`] with nothing committed.
///
/// # Errors
/// See [`open_at`].
pub fn open(directory: &Path, config: &Config) -> Result<(Writer, Syncer, Arc<Durable>), Error> {
    open_at(directory, config, Position(0))
}

/// Opens the journal in `directory` for writing; creates it when there is none. The end of the newest segment is cut
/// off at the first frame that is torn or damaged; [`Writer::cut_octets`] tells how much that was.
///
/// `committed` is what the ledger has committed of this journal: appending begins there, if the journal ends before.
///
/// # Errors
/// When the directory cannot be written, another writer has it open, or the newest segment is no segment at all.
pub fn open_at(
    directory: &Path,
    config: &Config,
    committed: Position,
) -> Result<(Writer, Syncer, Arc<Durable>), Error> {
    std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    let lock = lock(directory)?;
    let recovered = segment::recover(directory)?;
    let start = Position(recovered.end.0.max(committed.0));
    let segment = match recovered.newest {
        Some(segment) if start == recovered.end => segment,
        _ => {
            segment::Segment::create(directory, start).map_err(Error::io("create a segment in", directory))?
        }
    };
    let (writer, syncer, durable) = writer::connect(directory, config, segment, recovered.cut_octets, lock);
    Ok((writer, syncer, durable))
}

/// Takes the lock of `directory`; it is held as long as the file is open.
fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path }),
        Err(TryLockError::Error(source)) => Err(Error::Io { action: "lock", path, source }),
    }
}
