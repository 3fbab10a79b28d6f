//! A file read front to back through one large buffer; what is looked at is borrowed, not copied.
//!
//! The file is what it was when it was opened: what somebody writes behind that is not read. What is read goes through a
//! hash on its way, so that a file read to its end need not be read again to be named.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

/// The most that can be looked at: more than the longest packet that a capture may hold.
const WINDOW_OCTETS: usize = 2 << 20;

/// Octets there should be after reading: few enough to stay in the processor's cache until they are decoded.
const READ_OCTETS: usize = 256 << 10;

/// A view of a file that moves forward.
#[derive(Debug)]
pub(super) struct Window {
    file: File,
    /// Its octets when it was opened.
    octets: u64,
    hash: Sha256,
    /// Octets from its start that are in the hash.
    hashed: u64,
    bytes: Vec<u8>,
    /// What is read and not yet taken: `bytes[taken..filled]`.
    taken: usize,
    filled: usize,
    /// File offset of `bytes[taken]`.
    offset: u64,
}

impl Window {
    /// A window at the start of `file`, which has so many octets.
    pub(super) fn new(file: File, octets: u64) -> Self {
        let bytes = vec![0; WINDOW_OCTETS];
        Self { file, octets, hash: Sha256::new(), hashed: 0, bytes, taken: 0, filled: 0, offset: 0 }
    }

    /// The SHA-256 of the file as it was when it was opened. What has not been read is read now.
    pub(super) fn sha256(&mut self) -> io::Result<[u8; 32]> {
        let mut bytes = vec![0; READ_OCTETS];
        while self.hashed < self.octets {
            let rest = usize::try_from(self.octets - self.hashed).unwrap_or(usize::MAX);
            let into = &mut bytes[..rest.min(READ_OCTETS)];
            self.file.read_exact_at(into, self.hashed)?;
            self.hash.update(&*into);
            self.hashed += into.len() as u64;
        }
        Ok(self.hash.clone().finalize().into())
    }

    /// True where there is more of the file than when it was opened.
    pub(super) fn has_grown(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() > self.octets)
    }

    /// File offset of the first octet that is not taken.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next `octets` octets, not taken; fewer at the end of the file. At most [`WINDOW_OCTETS`].
    pub(super) fn peek(&mut self, octets: usize) -> io::Result<&[u8]> {
        if self.filled - self.taken < octets {
            self.fill(octets)?;
        }
        Ok(&self.bytes[self.taken..self.filled.min(self.taken + octets)])
    }

    /// Takes `octets` octets; ones that have not been looked at are not read.
    pub(super) fn take(&mut self, octets: u64) {
        let here = self.filled - self.taken;
        match usize::try_from(octets) {
            Ok(octets) if octets <= here => self.taken += octets,
            _ => (self.taken, self.filled) = (0, 0),
        }
        self.offset = self.offset.saturating_add(octets);
    }

    /// Where the next octets lie, to borrow them later by [`Window::at`]; good until the next `peek`.
    pub(super) fn mark(&self) -> usize {
        self.taken
    }

    /// `octets` octets from `mark` on that have been looked at, taken or not.
    pub(super) fn at(&self, mark: usize, octets: usize) -> &[u8] {
        &self.bytes[mark..mark + octets]
    }

    /// Goes to `offset`.
    pub(super) fn seek(&mut self, offset: u64) {
        (self.taken, self.filled) = (0, 0);
        self.offset = offset;
    }

    #[cold]
    fn fill(&mut self, octets: usize) -> io::Result<()> {
        debug_assert!(octets <= WINDOW_OCTETS, "packets are bounded");
        self.bytes.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        let limit = octets.clamp(READ_OCTETS, WINDOW_OCTETS);
        while self.filled < octets.min(WINDOW_OCTETS) {
            let at = self.offset + self.filled as u64;
            let rest = usize::try_from(self.octets.saturating_sub(at)).unwrap_or(usize::MAX);
            let into = self.filled..limit.min(self.filled.saturating_add(rest));
            match self.file.read_at(&mut self.bytes[into], at) {
                Ok(0) => break,
                Ok(read) => {
                    // Behind octets that nobody looked at, the hash waits for `sha256`.
                    if at == self.hashed {
                        self.hash.update(&self.bytes[self.filled..self.filled + read]);
                        self.hashed += read as u64;
                    }
                    self.filled += read;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
