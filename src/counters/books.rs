//! What the ledger and the journals hold, as the agent shows it.

use core::sync::atomic::{AtomicBool, AtomicU64};

/// The journal of a processor. Positions count octets of frames since the journal began.
#[derive(Debug, Default)]
pub struct Journal {
    /// Where it ends.
    pub end: AtomicU64,
    /// What is on disk ends here.
    pub durable: AtomicU64,
    /// What is in the ledger ends here.
    pub committed: AtomicU64,
    /// Segment files, as of the last commit.
    pub segments: AtomicU64,
    /// Octets of them.
    pub octets: AtomicU64,
    /// Datagrams that never got to disk.
    pub lost_frames: AtomicU64,
    /// Octets of those.
    pub lost_octets: AtomicU64,
    /// Whether the disk takes nothing.
    pub is_failing: AtomicBool,
}

/// What the ledger holds besides volumes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Books {
    /// When it was read, milliseconds since the epoch; 0: not yet.
    pub read_at: i64,
    /// Flushes committed, by anybody, ever.
    pub flushes: u64,
    /// Versions of the configuration.
    pub config_versions: u64,
    /// Tariff versions, in the order in which they were activated.
    pub tariffs: Vec<TariffRow>,
    /// Periods of customers that are closed or invoiced: of the newest months, by customer and period.
    pub periods: Vec<PeriodRow>,
}

/// A tariff version.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TariffRow {
    /// The tariff.
    pub id: String,
    /// Its version.
    pub version: u64,
    /// The local date from which it holds.
    pub effective: String,
    /// When it was activated, milliseconds since the epoch.
    pub activated_at: i64,
    /// By whom.
    pub activated_by: String,
    /// SHA-256 of its file, in hex.
    pub sha256: String,
}

/// Whether a period is invoiced.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum InvoiceState {
    /// There is no invoice.
    #[default]
    None = 1,
    /// A draft.
    Draft = 2,
    /// A final invoice.
    Final = 3,
    /// Only invoices that are void or credited.
    Undone = 4,
}

/// A billing month of a customer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PeriodRow {
    /// The ledger's number of the customer.
    pub customer: u32,
    /// Year and month as a number: 202611.
    pub month: u32,
    /// Whether its usage is closed.
    pub is_closed: bool,
    /// Whether it is invoiced.
    pub invoice: InvoiceState,
    /// The number of the invoice; of several, the last one's.
    pub number: String,
    /// The tariff that held when it was closed; empty before.
    pub tariff: String,
    /// Its version; 0 before.
    pub tariff_version: u64,
}
