//! Reads frames back: from a position on, across segments, also while the journal grows.

use core::net::{IpAddr, SocketAddr};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::Error;
use super::frame::{self, Decoded, FRAME_OCTETS_MAX, MARK_OCTETS, Mark};
use super::segment::{self, HEADER_OCTETS};
use crate::ids::{Position, Session, VersionHash};
use crate::units::UnixMillis;

/// Octets read at once.
const WINDOW_OCTETS: usize = 16 * FRAME_OCTETS_MAX;

/// A datagram from the journal, or a message of a TCP session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// When it was received.
    pub received: UnixMillis,
    /// Where it came from.
    pub source: SocketAddr,
    /// The session that it came in; none over UDP. Without a payload it is the session's boundary.
    pub session: Option<Session>,
    /// What it said.
    pub payload: &'a [u8],
    /// The configuration version that it was received under, where the journal says it: see [`Reader::open_marked`].
    pub version: Option<VersionHash>,
    /// So many runs of the daemon began between the first frame that was read and this one: where it is more than that of the
    /// frame before, the TCP sessions that were open then are over.
    pub runs: u32,
    /// The position after it: where to go on once it is committed.
    pub end: Position,
}

/// Which run of the daemon has received what of whom, for those who read several journals together.
#[derive(Debug, Default)]
pub struct Runs {
    /// By exporter: the journal, and [`Frame::runs`] there.
    last: HashMap<IpAddr, (usize, u32)>,
}

impl Runs {
    /// True where the exporter's messages up to now came in another run than this one, of the journal with that number: sessions
    /// that were open then are over. So are those of before reading began, if a run has begun since.
    pub fn is_another(&mut self, source: IpAddr, journal: usize, runs: u32) -> bool {
        let now = (journal, runs);
        self.last.insert(source, now).map_or(runs > 0, |last| last != now)
    }
}

/// Reads a journal.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    segment: Option<OpenSegment>,
    /// The position of the next frame.
    at: Position,
    /// Octets of the file from `at` on: `window[taken..filled]`.
    window: Vec<u8>,
    taken: usize,
    filled: usize,
    gap_octets: u64,
    /// What the last mark said.
    version: Option<VersionHash>,
    run: Option<u16>,
    /// How often that was something else than before.
    runs: u32,
}

#[derive(Debug)]
struct OpenSegment {
    file: File,
    path: PathBuf,
    start: Position,
}

/// What stands at the reader's position, with the borrow of the window left out.
#[derive(Clone, Copy)]
enum Next {
    /// A frame of so many octets.
    Frame(usize),
    Mark(Mark),
    /// Nothing yet, or nothing any more in this segment.
    End,
    Damaged,
}

impl Reader {
    /// Reads the journal in `directory` from `from` on. A place inside a lost stretch, or behind the end, is fine.
    ///
    /// # Errors
    /// When `from` is no longer retained, or a segment cannot be read.
    pub fn open(directory: &Path, from: Position) -> Result<Self, Error> {
        let mut reader = Self {
            directory: directory.to_owned(),
            segment: None,
            at: from,
            window: vec![0; WINDOW_OCTETS],
            taken: 0,
            filled: 0,
            gap_octets: 0,
            version: None,
            run: None,
            runs: 0,
        };
        let segments = segment::list(directory)?;
        if let Some(&(oldest, _)) = segments.first()
            && from < oldest
        {
            return Err(Error::NotRetained { from, oldest });
        }
        if let Some((start, path)) = reader.successor()? {
            reader.enter(start, path)?;
        }
        Ok(reader)
    }

    /// As [`Self::open`], where it matters under which version the frames were received: what is before `from` in its segment
    /// is read for the last mark. A segment written by who marks begins with a mark.
    ///
    /// # Errors
    /// As there. What is damaged before `from` is none: the mark before the damage is taken.
    pub fn open_marked(directory: &Path, from: Position) -> Result<Self, Error> {
        let mut reader = Self::open(directory, from)?;
        if let Some(start) = reader.segment.as_ref().map(|segment| segment.start)
            && start < from
        {
            let mut before = Self::open(directory, start)?;
            while before.at < from
                && let Ok(Some(_)) = before.step()
            {}
            (reader.version, reader.run) = (before.version, before.run);
        }
        Ok(reader)
    }

    /// The next frame; `None` at the current end, where a later call goes on. All has been read exactly if
    /// [`Reader::position`] is then [`super::Durable::position`]: a frame with a damaged length looks like an end.
    ///
    /// # Errors
    /// [`Error::Damaged`] at a frame that was never written like this: what follows it in its segment is out of
    /// reach, a later call goes on at the next segment. Otherwise when a file cannot be read.
    #[expect(clippy::should_implement_trait, reason = "frames borrow from the reader")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let octets = loop {
            match self.step()? {
                Some(Next::Frame(octets)) => break octets,
                Some(_) => {}
                None => return Ok(None),
            }
        };
        // It begins where the window was taken up to before the step.
        let bytes = &self.window[self.taken - octets..self.taken];
        let Some(parts) = frame::accepted(bytes, octets) else { return Ok(None) };
        Ok(Some(Frame {
            received: parts.received,
            source: parts.source,
            session: parts.session,
            payload: parts.payload,
            version: self.version,
            runs: self.runs,
            end: self.at,
        }))
    }

    /// Goes past the next frame or mark, and says what it was; `None` at the current end.
    fn step(&mut self) -> Result<Option<Next>, Error> {
        let next = loop {
            match self.look()? {
                next @ (Next::Frame(_) | Next::Mark(_)) => break next,
                Next::End => {
                    let Some((start, path)) = self.successor()? else { return Ok(None) };
                    // The successor was made after the last write to this segment: look once more.
                    if let next @ (Next::Frame(_) | Next::Mark(_)) = self.look()? {
                        break next;
                    }
                    // Nothing more is written to it: what is left over is no frame and will not become one.
                    let damage = (self.filled > self.taken).then(|| self.damaged());
                    self.enter(start, path)?;
                    if let Some(error) = damage {
                        return Err(error);
                    }
                }
                Next::Damaged => {
                    let error = self.damaged();
                    if let Some((start, path)) = self.successor()? {
                        self.enter(start, path)?;
                    }
                    return Err(error);
                }
            }
        };
        let octets = match next {
            Next::Frame(octets) => octets,
            Next::Mark(Mark { version, run, .. }) => {
                self.version = version;
                let former = self.run.replace(run);
                self.runs += u32::from(former.is_some_and(|former| former != run));
                MARK_OCTETS
            }
            Next::End | Next::Damaged => return Ok(None),
        };
        self.taken += octets;
        self.at.0 += octets as u64;
        Ok(Some(next))
    }

    /// The position after the last frame read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.at
    }

    /// Octets of lost or damaged stretches that were passed over.
    #[must_use]
    pub fn gap_octets(&self) -> u64 {
        self.gap_octets
    }

    /// Makes sure that the window holds what stands at the position.
    fn look(&mut self) -> Result<Next, Error> {
        let mut is_fresh = false;
        loop {
            match frame::decode(&self.window[self.taken..self.filled], self.at) {
                Decoded::Frame(parts) => return Ok(Next::Frame(parts.octets)),
                Decoded::Mark(mark) => return Ok(Next::Mark(mark)),
                Decoded::Incomplete if is_fresh => return Ok(Next::End),
                Decoded::Bad if is_fresh => return Ok(Next::Damaged),
                Decoded::Incomplete | Decoded::Bad => {}
            }
            // What was read before may have changed since: a torn end that was cut off, an old block in a cache.
            is_fresh = true;
            (self.taken, self.filled) = (0, 0);
            let Some(segment) = &self.segment else { return Ok(Next::End) };
            let offset = HEADER_OCTETS + (self.at.0 - segment.start.0);
            while self.filled < self.window.len() {
                let into = &mut self.window[self.filled..];
                let read = segment::read_at(&segment.file, into, offset + self.filled as u64)
                    .map_err(Error::io("read", &segment.path))?;
                if read == 0 {
                    break;
                }
                self.filled += read;
            }
        }
    }

    /// The segment to go on in after the current one, if there is one.
    fn successor(&self) -> Result<Option<(Position, PathBuf)>, Error> {
        let mut segments = segment::list(&self.directory)?;
        let first = match &self.segment {
            Some(current) => segments.partition_point(|&(start, _)| start <= current.start),
            None => segments.partition_point(|&(start, _)| start <= self.at).saturating_sub(1),
        };
        for (start, path) in segments.drain(first.min(segments.len())..) {
            // One without a header is still being made, or an attempt that failed.
            if is_begun(start, &path)? {
                return Ok(Some((start, path)));
            }
        }
        Ok(None)
    }

    /// Goes on in the segment that starts at `start`, at the position or at its beginning.
    fn enter(&mut self, start: Position, path: PathBuf) -> Result<(), Error> {
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        self.segment = Some(OpenSegment { file, path, start });
        (self.taken, self.filled) = (0, 0);
        self.gap_octets += start.0.saturating_sub(self.at.0);
        self.at.0 = self.at.0.max(start.0);
        Ok(())
    }

    fn damaged(&self) -> Error {
        let (path, start) = match &self.segment {
            Some(segment) => (segment.path.clone(), segment.start),
            None => (self.directory.clone(), self.at),
        };
        Error::Damaged { path, offset: HEADER_OCTETS + (self.at.0 - start.0), position: self.at }
    }
}

/// Whether the file is a segment that starts at `start`, rather than the torn beginning of one.
fn is_begun(start: Position, path: &Path) -> Result<bool, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    if segment::header_is(&file, start).map_err(Error::io("read", path))? {
        return Ok(true);
    }
    let octets = file.metadata().map_err(Error::io("look at", path))?.len();
    if octets > HEADER_OCTETS { Err(Error::NotASegment { path: path.to_owned() }) } else { Ok(false) }
}
