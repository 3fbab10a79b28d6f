//! Small integer identities. A name is looked up once, when a configuration is compiled; the hot path carries these.
//!
//! Links, customers and classes have the numbers that the ledger gave their names: they never change and are never
//! reused, so that usage rows, SNMP indexes and reports agree across restarts.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);
    };
}

id! {
    /// An exporter. Inside a running process: the dense index of its entry in the registry of exporters.
    /// In the ledger: the number of its name there. The ledger's writer maps one to the other.
    ExporterId(u16)
}
id! {
    /// An upstream link; the ledger's number of its name. [`LinkId::NONE`] where a flow crosses none.
    LinkId(u16)
}
id! {
    /// A customer, or one of the reserved names; the ledger's number of its name.
    CustomerId(u32)
}
id! {
    /// A traffic class; the ledger's number of its name.
    ClassId(u16)
}
id! {
    /// Something that datagrams come from and positions count in: a processor's journal, or a capture file.
    SourceId(u32)
}

impl ExporterId {
    /// In the ledger: one of those that nobody configured and that it had no number left for.
    pub const OTHERS: Self = Self(0);
    /// Their name in reports.
    pub const OTHERS_NAME: &'static str = "(others)";
}

impl LinkId {
    /// The flow crosses no link.
    pub const NONE: Self = Self(0);
}

impl ClassId {
    /// The class of a flow that no rule matches; its name is `default`.
    pub const DEFAULT: Self = Self(0);
}

impl CustomerId {
    /// Crossed a link, but belongs to no customer.
    pub const UNASSIGNED: Self = Self(1);
    /// Entered on one link and left on another.
    pub const THROUGH: Self = Self(2);
    /// Crossed no link.
    pub const LOCAL: Self = Self(3);
    /// The router dropped it.
    pub const DISCARDED: Self = Self(4);
    /// The first number that a customer of the operator's can have.
    pub const FIRST: Self = Self(16);

    /// The names that no customer of the operator's may have, with their fixed numbers.
    pub const RESERVED: [(Self, &'static str); 4] = [
        (Self::UNASSIGNED, "unassigned"),
        (Self::THROUGH, "through"),
        (Self::LOCAL, "local"),
        (Self::DISCARDED, "discarded"),
    ];
}

/// A transport session: one TCP connection of an exporter (RFC 7011 10.4). The number is its own among the sessions that
/// the exporter has at one time, and comes again after its end: so each begins with a **boundary**.
///
/// A boundary is a message without an octet, which IPFIX does not have. It says that all that was remembered under the
/// session's number is void, because the session begins here or has ended. It takes a place in the journal, so that
/// reading the journal again gives what reading the connection gave, but it counts as no datagram.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Session(pub u16);

/// A place in a source: octets from its beginning. A journal counts on over all its segments; a capture is its file.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// A configuration version: the SHA-256 of its text, as the ledger stores it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct VersionHash(pub [u8; 32]);

impl VersionHash {
    /// Of 64 hexadecimal digits; `None` where they are something else.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut octets = [0; 32];
        for (octet, at) in octets.iter_mut().zip((0..64).step_by(2)) {
            *octet = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
        }
        Some(Self(octets))
    }
}
