//! What routers say of themselves over SNMP, as the ledger keeps it: interfaces and their octets, and flow tables.

use crate::units::{IfIndex, UnixMillis};
use crate::usage::{BUCKET_SECONDS, BucketStart};

/// An interface as IF-MIB tells it (RFC 2863).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Interface {
    /// `ifIndex`.
    pub ifindex: IfIndex,
    /// `ifName`; `ifDescr` where it is empty.
    pub name: String,
    /// `ifDescr`.
    pub description: String,
    /// `ifAlias`: what the operator of the router wrote there.
    pub alias: String,
    /// Bits a second; 0: not known. `ifHighSpeed` tells millions.
    pub speed: u64,
    /// `ifType` (IANAifType); 0: not known.
    pub kind: u32,
}

/// An interface from an instant on, up to its next entry. What was never read has no entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfaceEntry {
    /// The ledger's number of the exporter.
    pub exporter: u32,
    /// When this was found.
    pub valid_from: UnixMillis,
    /// What it was; only the number counts where it is gone.
    pub interface: Interface,
    /// False: the exporter no longer has it.
    pub present: bool,
}

/// What crossed an interface in a part of a bucket, without interruption: from one reading or boundary to another.
/// Octets are those that the interface counts, with framing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InterfacePart {
    /// The bucket.
    pub bucket: BucketStart,
    /// Where the part begins ...
    pub from: UnixMillis,
    /// ... and the first instant after it.
    pub to: UnixMillis,
    /// Octets received.
    pub in_octets: u64,
    /// Octets sent.
    pub out_octets: u64,
    /// Packets received, of any kind; `None`: not known.
    pub in_packets: Option<u64>,
    /// Packets sent.
    pub out_packets: Option<u64>,
}

impl InterfacePart {
    /// How long it is, in milliseconds.
    #[must_use]
    pub const fn covered_ms(&self) -> i64 {
        self.to.since(self.from)
    }
}

/// A part as the ledger has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InterfaceOctets {
    /// The ledger's number of the exporter.
    pub exporter: u32,
    /// The interface.
    pub ifindex: IfIndex,
    /// What crossed it.
    pub part: InterfacePart,
}

/// Milliseconds of a whole bucket.
pub const BUCKET_MS: i64 = BUCKET_SECONDS * 1000;

/// A flow table of a router: of a line card, or of the whole router. What it does not tell is `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Card {
    /// What it is called.
    pub name: String,
    /// Percent in use.
    pub utilisation: Option<u32>,
    /// Flows in it.
    pub active: Option<u64>,
    /// Flows that it can hold.
    pub capacity: Option<u64>,
    /// Flows that found no place in it since the router began to count.
    pub failures: Option<u64>,
}

/// Flows that found no place in a router's table: lost volume.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CardFailures {
    /// The ledger's number of the exporter.
    pub exporter: u32,
    /// The card's number at the router.
    pub card: u32,
    /// When it was read.
    pub at: UnixMillis,
    /// How it stood.
    pub state: Card,
    /// Failures since the reading before.
    pub failures: u64,
}
