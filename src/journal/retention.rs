//! Deletes old segments, but never one that is not committed.

use std::fs::File;
use std::path::Path;

use super::{Config, Error, segment};
use crate::ids::Position;
use crate::units::UnixMillis;

/// What [`retain`] deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Removed {
    /// Files.
    pub segments: u64,
    /// Their octets.
    pub octets: u64,
    /// Files that are left.
    pub kept_segments: u64,
    /// Their octets.
    pub kept_octets: u64,
}

/// Deletes the oldest segments of the journal in `directory` as long as each is wholly before `committed`, and is
/// wholly older than `retain_ms` or all segments together are larger than `retain_octets`. The newest always stays.
///
/// A segment is as old as the first frame after it: all of its own were received before.
///
/// # Errors
/// When the directory or a file cannot be read or a file not deleted.
pub fn retain(
    directory: &Path,
    config: &Config,
    committed: Position,
    now: UnixMillis,
) -> Result<Removed, Error> {
    let segments = segment::list(directory)?;
    let mut sizes = Vec::with_capacity(segments.len());
    for (_, path) in &segments {
        sizes.push(std::fs::metadata(path).map_err(Error::io("look at", path))?.len());
    }
    let mut total: u64 = sizes.iter().sum();
    let mut removed = Removed::default();
    for (pair, octets) in segments.windows(2).zip(sizes) {
        let [(_, path), (next_start, next_path)] = pair else { break };
        if *next_start > committed {
            break;
        }
        let is_too_much = config.retain_octets.is_some_and(|limit| total > limit);
        let is_too_old = || match config.retain_ms {
            Some(limit) => segment::first_received(next_path, *next_start)
                .map(|received| received.is_some_and(|received| now.since(received) > limit)),
            None => Ok(false),
        };
        if !is_too_much && !is_too_old().map_err(Error::io("read", next_path))? {
            break;
        }
        std::fs::remove_file(path).map_err(Error::io("remove", path))?;
        total -= octets;
        removed.segments += 1;
        removed.octets += octets;
    }
    removed.kept_segments = segments.len() as u64 - removed.segments;
    removed.kept_octets = total;
    if removed.segments > 0 {
        File::open(directory).and_then(|it| it.sync_all()).map_err(Error::io("sync", directory))?;
    }
    Ok(removed)
}
