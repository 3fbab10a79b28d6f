//! What goes into the ledger and comes out of it, as plain data without any database type.

pub mod books;
pub mod corrections;
pub mod interfaces;

use sha2::{Digest, Sha256};

use crate::ids::{CustomerId, ExporterId, Position, SourceId};
use crate::usage::{BucketStart, UsageRows};
pub use crate::usage::{ChunkChanges, FlushTotals, Loss, Remembered};

/// Kinds of names that the ledger numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NameKind {
    /// Traffic classes; `default` is 0.
    Class,
    /// Customers; the reserved names have their fixed numbers, others start at 16.
    Customer,
    /// Exporters, from 1.
    Exporter,
    /// Links, from 1; 0 is "none".
    Link,
}

/// What positions count in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SourceKind {
    /// The journal of a processor; its key names the state directory and the processor's index.
    Journal,
    /// A capture file; its key is the SHA-256 of the file.
    Capture,
}

/// A source as the ledger knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// Its number.
    pub id: SourceId,
    /// What it is.
    pub kind: SourceKind,
    /// Which one.
    pub key: String,
    /// Everything before it is committed.
    pub position: Position,
    /// A capture that was read to its end.
    pub complete: bool,
    /// Sums over all its flushes.
    pub totals: FlushTotals,
}

/// The part of a source that a flush covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Advance {
    /// The source.
    pub source: SourceId,
    /// Where the ledger must stand before.
    pub from: Position,
    /// Where it stands after.
    pub to: Position,
    /// The source (a capture) is at its end.
    pub complete: bool,
    /// What was taken from it.
    pub totals: FlushTotals,
}

/// Whose decoding state a checkpoint is: the live exporters' or that of one capture.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CheckpointScope {
    /// Live exporters.
    Live,
    /// A capture being replayed.
    Capture(SourceId),
}

/// All that decoding remembers of one exporter, as of the flush's position.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Whose.
    pub scope: CheckpointScope,
    /// The exporter's address, as text.
    pub exporter: String,
    /// What is remembered.
    pub remembered: Remembered,
}

/// What is committed in one transaction, or not at all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Flush {
    /// Positions.
    pub advances: Vec<Advance>,
    /// Usage, sorted by key, none twice. The exporter in each key is the ledger's number.
    pub usage: UsageRows,
    /// Checkpoints that changed.
    pub checkpoints: Vec<Checkpoint>,
    /// What came and what was lost, by exporter and day.
    pub losses: Vec<Loss>,
}

/// A configuration version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigVersion {
    /// SHA-256 of the text, in hex.
    pub sha256: String,
    /// Canonical JSON of the network.
    pub text: String,
    /// In force from this instant, milliseconds since the epoch.
    pub valid_from: i64,
}

/// Which configuration version holds from when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigBeginning {
    /// SHA-256 of its text, in hex.
    pub sha256: String,
    /// In force from this instant, milliseconds since the epoch.
    pub valid_from: i64,
}

/// An activated tariff version. Immutable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TariffVersion {
    /// The tariff's id.
    pub id: String,
    /// Its version.
    pub version: i64,
    /// The file, as it was.
    pub toml: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Local date from which it holds, `YYYY-MM-DD`.
    pub effective: String,
    /// When it was activated, milliseconds since the epoch.
    pub activated_at: i64,
    /// By whom.
    pub activated_by: String,
}

/// An invoice as stored: the canonical JSON document is the truth, the rest is for finding it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredInvoice {
    /// Its number; drafts have one derived from period and customer.
    pub number: String,
    /// `YYYY-MM`.
    pub period: String,
    /// The customer's name.
    pub customer: String,
    /// `draft`, later `final`, `credited`, `void`.
    pub state: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Gross amount in minor units.
    pub gross_minor: i64,
    /// Canonical JSON.
    pub document: String,
    /// SHA-256 of the document, in hex.
    pub sha256: String,
}

/// A file that documents are set with, a logo or a template: they name it by its hash, so that a document can be made
/// again, byte by byte, when the file has long been replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asset {
    /// SHA-256 of the content, in hex.
    pub sha256: String,
    /// Its media type: `image/png`, `image/svg+xml`, `text/html`.
    pub media: String,
    /// The file.
    pub content: Vec<u8>,
}

impl Asset {
    /// A file of this content.
    #[must_use]
    pub fn new(media: &str, content: Vec<u8>) -> Self {
        use core::fmt::Write;
        let digest = Sha256::digest(&content);
        let sha256 = digest.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string does not fail");
            text
        });
        Self { sha256, media: media.to_owned(), content }
    }
}

/// How far the daemon has come with a customer's period by itself.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// The draft was made, after the period's end and grace; or there is nothing to bill.
    Draft,
    /// The invoice is final; or there is nothing to bill, and the period is closed.
    Final,
}

impl Stage {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Final => "final",
        }
    }
}

/// An alert: a customer has used so much of what its tariff includes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alert {
    /// The customer's name.
    pub customer: String,
    /// The period, `YYYY-MM`.
    pub period: String,
    /// The part of the period, from 0.
    pub part: u32,
    /// The tariff's charge that has the allowance.
    pub charge: String,
    /// Percent of the allowance, as the tariff has it.
    pub level: String,
    /// When it was raised, milliseconds since the epoch.
    pub at: i64,
    /// What it says, as JSON.
    pub message: String,
}

/// Which usage rows to read. Half-open in time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UsageFilter {
    /// First bucket.
    pub from: Option<BucketStart>,
    /// First bucket after it.
    pub to: Option<BucketStart>,
    /// Only this customer's.
    pub customer: Option<CustomerId>,
}

/// An exporter's numbers: the process's dense index and the ledger's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExporterNumber {
    /// In this process.
    pub local: ExporterId,
    /// In the ledger.
    pub ledger: u32,
}
