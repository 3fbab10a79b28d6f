//! Decoding: a datagram of NetFlow v5, v9 or IPFIX becomes flow records and sampling announcements.
//!
//! One [`ExporterDecoder`] holds all that decoding remembers of one exporter (templates, sequence numbers, running
//! totals, held sets); it has one owner, so nothing here locks. It does no I/O, reads no clock and never panics on
//! any input. What it remembers goes into the flush's checkpoint.

use serde::{Deserialize, Serialize};

use crate::flow::FlowRecord;
use crate::ids::ExporterId;
use crate::sampling::Announcement;
use crate::units::UnixMillis;

/// Bounds on what one exporter can make us remember.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Templates (data and options) over all domains.
    pub templates: usize,
    /// Fields in one template.
    pub template_fields: usize,
    /// Observation domains.
    pub domains: usize,
    /// Octets of data sets that wait for their template.
    pub hold_octets: usize,
    /// How long a data set waits for its template.
    pub hold_ms: i64,
    /// Flow keys with a running total (element 85).
    pub running_totals: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            templates: 4096,
            template_fields: 512,
            domains: 256,
            hold_octets: 4 << 20,
            hold_ms: 30 * 60 * 1000,
            running_totals: 65_536,
        }
    }
}

/// What decoding one datagram yields. Reused: the caller clears it.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Flow records, in the order of the datagram (released holds first).
    pub records: Vec<FlowRecord>,
    /// What the datagram's options records say of sampling.
    pub announcements: Vec<Announcement>,
}

/// Why a datagram, or the rest of it, could not be decoded; with the offset of the offending octet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Shorter than its header, or than the header claims.
    #[error("truncated at offset {offset}")]
    Truncated {
        /// Where octets are missing.
        offset: usize,
    },
    /// The version word is none of 5, 9, 10.
    #[error("unknown version {version}")]
    UnknownVersion {
        /// The version word.
        version: u16,
    },
}

/// What became of a datagram that is not an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Decoded.
    Decoded,
    /// The very datagram was seen before; nothing was taken from it.
    Duplicate,
}

/// Running counts of one exporter; they only grow, but for the `held` ones.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Counts {
    /// Flow data records decoded (a biflow is one; records of released sets when they are released).
    pub records: u64,
}

/// All that decoding remembers of one exporter.
#[derive(Debug, Deserialize, Serialize)]
pub struct ExporterDecoder {
    counts: Counts,
}

impl ExporterDecoder {
    /// Nothing remembered yet.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: Counts::default() }
    }

    /// Decodes one datagram received at `received`.
    ///
    /// # Errors
    /// When the datagram is malformed. Sets decoded before the error stay decoded.
    pub fn datagram(
        &mut self,
        _exporter: ExporterId,
        _limits: &Limits,
        _received: UnixMillis,
        _payload: &[u8],
        _out: &mut Decoded,
    ) -> Result<Fate, Error> {
        Ok(Fate::Decoded)
    }

    /// The counts.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}
