//! Scaling: which sampling rate applies to a record, by the algorithm that the exporter states.
//!
//! A record that names a sampler which nobody has described, or that comes from a domain which has not yet had time
//! to announce its rate, is held and released when the announcement comes, or when it has waited long enough.

use serde::{Deserialize, Serialize};

use crate::exporter::SamplingPolicy;
use crate::flow::FlowRecord;
use crate::units::{SamplingRate, UnixMillis};

/// `[sampling]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// How long the records of a domain never seen before wait for domain-wide options, by the record clock.
    pub grace_ms: i64,
    /// How long a record waits for the sampler that it names.
    pub hold_ms: i64,
    /// Records of one exporter that may wait.
    pub hold_records: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { grace_ms: 10 * 60 * 1000, hold_ms: 60 * 60 * 1000, hold_records: 65_536 }
    }
}

/// What one options record says of sampling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Announcement {
    /// The observation domain it came in.
    pub domain: u32,
    /// The sampler it describes (elements 48 or 302); `None`: the whole domain.
    pub sampler: Option<u64>,
    /// The rate; `None` where the statement is ambiguous or of an algorithm that gives none.
    pub rate: Option<SamplingRate>,
    /// The interface or line card that it is about, where it is not about the whole domain.
    pub part: Option<u64>,
}

/// All that scaling remembers of one exporter.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct ExporterSampling {
    held: Vec<FlowRecord>,
}

impl ExporterSampling {
    /// Takes in an announcement. Records that waited for it are appended to `released`, scaled.
    pub fn announce(
        &mut self,
        _announcement: &Announcement,
        _policy: &SamplingPolicy,
        _released: &mut Vec<FlowRecord>,
    ) {
    }

    /// Settles the rates of `records[from..]`; those that must wait are taken out and held.
    pub fn scale(
        &mut self,
        _config: &Config,
        _policy: &SamplingPolicy,
        _now: UnixMillis,
        _records: &mut Vec<FlowRecord>,
        _from: usize,
    ) {
    }
}
