//! Segment files: their names and headers, how they are made, found and repaired.
//!
//! A segment is `NNNNNNNNNNNNNNNNNNNN.journal`, by the position of its first frame. It begins with 24 octets: magic,
//! version (u32), CRC-32 over the rest of the header (u32), start position (u64), little-endian; then frames.
//! A segment is synced, with its directory, before frames go into it, and synced before its successor is made. So only
//! the newest can be torn.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Error;
use super::frame::{self, FRAME_OCTETS_MAX};
use crate::ids::Position;

/// Octets before the first frame.
pub(super) const HEADER_OCTETS: u64 = 24;
const HEADER_LEN: usize = 24;
const MAGIC: &[u8; 8] = b"fluxjrnl";
const VERSION: u32 = 1;

/// A segment that is written to.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: File,
    pub(super) start: Position,
    /// Position after the last frame written; the file ends there.
    pub(super) end: Position,
}

impl Segment {
    /// Makes the segment that starts at `start`, on disk with its directory entry. Nothing stays behind if that fails, as
    /// far as the disk lets us.
    ///
    /// A file of that name holds no frames: positions are never used twice. It is the rest of an earlier attempt.
    pub(super) fn create(directory: &Path, start: Position) -> io::Result<Self> {
        let path = path(directory, start);
        let begin = || {
            let mut file = File::options().create(true).truncate(true).write(true).open(&path)?;
            file.write_all(&header(start))?;
            file.sync_all()?;
            File::open(directory)?.sync_all()?;
            Ok(Self { file, start, end: start })
        };
        begin().inspect_err(|_: &io::Error| {
            let _ = std::fs::remove_file(&path);
        })
    }

    /// Octets of frames in it.
    pub(super) fn octets(&self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Writes `frames` behind what is there.
    pub(super) fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.write_all_at(frames, HEADER_OCTETS + self.octets())?;
        self.end.0 += frames.len() as u64;
        Ok(())
    }

    /// Makes it end at `end`.
    pub(super) fn cut(&mut self, end: Position) -> io::Result<()> {
        self.file.set_len(HEADER_OCTETS + (end.0 - self.start.0))?;
        self.end = end;
        self.file.sync_all()
    }
}

/// What a journal looks like after a crash, once it is repaired.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The newest segment, open for writing.
    pub(super) newest: Option<Segment>,
    /// Where the journal ends.
    pub(super) end: Position,
    /// Octets that were cut off.
    pub(super) cut_octets: u64,
}

/// Repairs the journal in `directory`.
pub(super) fn recover(directory: &Path) -> Result<Recovered, Error> {
    let mut cut_octets = 0;
    let mut segments = list(directory)?;
    while let Some((start, path)) = segments.pop() {
        let file = File::options().read(true).write(true).open(&path).map_err(Error::io("open", &path))?;
        let octets = file.metadata().map_err(Error::io("look at", &path))?.len();
        if !header_is(&file, start).map_err(Error::io("read", &path))? {
            // Torn while it was made: no frame can be in it. Anything longer is not ours to delete.
            if octets > HEADER_OCTETS {
                return Err(Error::NotASegment { path });
            }
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            cut_octets += octets;
            continue;
        }
        let end = scan(&file, start).map_err(Error::io("read", &path))?;
        let mut segment = Segment { file, start, end };
        let tail = octets.saturating_sub(HEADER_OCTETS + segment.octets());
        if tail > 0 {
            tracing::warn!(path = %path.display(), octets = tail, position = end.0, "Journal cut at a torn frame.");
            segment.cut(end).map_err(Error::io("cut", &path))?;
            cut_octets += tail;
        }
        return Ok(Recovered { newest: Some(segment), end, cut_octets });
    }
    Ok(Recovered { newest: None, end: Position(0), cut_octets })
}

/// The segments in `directory`, oldest first. Other files are none of ours.
pub(super) fn list(directory: &Path) -> Result<Vec<(Position, PathBuf)>, Error> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let path = entry.map_err(Error::io("list", directory))?.path();
        let name =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".journal"));
        if let Some(digits) = name
            && digits.len() == 20
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(start) = digits.parse()
        {
            segments.push((Position(start), path));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Whether the disk takes `octets` more. Tried on a file of its own: readers look at segments.
pub(super) fn try_room(directory: &Path, octets: usize) -> io::Result<()> {
    let path = directory.join("room");
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(&vec![0; octets])?;
        file.sync_all()
    };
    let result = write();
    let _ = std::fs::remove_file(&path);
    result
}

/// Where the segment that starts at `start` lies.
pub(super) fn path(directory: &Path, start: Position) -> PathBuf {
    directory.join(format!("{:020}.journal", start.0))
}

/// Whether `file` begins with the header of a segment that starts at `start`.
pub(super) fn header_is(file: &File, start: Position) -> io::Result<bool> {
    let mut found = [0; HEADER_LEN];
    match file.read_exact_at(&mut found, 0) {
        Ok(()) => Ok(found == header(start)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn header(start: Position) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..].copy_from_slice(&start.0.to_le_bytes());
    let checksum = crc32fast::hash(&header[16..]);
    header[12..16].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The position after the last whole frame of `file`.
fn scan(file: &File, start: Position) -> io::Result<Position> {
    let mut window = vec![0; 4 * FRAME_OCTETS_MAX];
    let (mut at, mut filled) = (start, 0);
    loop {
        let read = read_at(file, &mut window[filled..], HEADER_OCTETS + (at.0 - start.0) + filled as u64)?;
        filled += read;
        let mut taken = 0;
        while let Some((octets, _)) = frame::decode(&window[taken..filled], at).whole() {
            taken += octets;
            at.0 += octets as u64;
        }
        // The window holds several frames: if none was taken, nothing more will be.
        if taken == 0 && (read == 0 || filled >= FRAME_OCTETS_MAX) {
            return Ok(at);
        }
        window.copy_within(taken..filled, 0);
        filled -= taken;
    }
}

/// Reads once at `offset`, again where a signal interrupts.
pub(super) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// When the first frame of a segment was received; `None` where there is no whole frame.
pub(super) fn first_received(path: &Path, start: Position) -> io::Result<Option<crate::units::UnixMillis>> {
    let mut file = File::open(path)?;
    if !header_is(&file, start)? {
        return Ok(None);
    }
    io::Seek::seek(&mut file, io::SeekFrom::Start(HEADER_OCTETS))?;
    let mut bytes = Vec::new();
    file.take(FRAME_OCTETS_MAX as u64).read_to_end(&mut bytes)?;
    Ok(frame::decode(&bytes, start).whole().map(|(_, received)| received))
}
