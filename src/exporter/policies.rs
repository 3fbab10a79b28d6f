//! What the operator says, in one configuration version, of how the exporters' datagrams are read and scaled.
//!
//! A datagram goes by what was in force when it was received, also where it is read again from the journal after a crash:
//! the journal tells the version ([`VersionHash`]), and the ledger has the version's text.

use core::net::IpAddr;
use std::collections::HashMap;

use super::{Exporter, SamplingPolicy};
use crate::ids::VersionHash;

/// The exporters of one configuration version, by address.
#[derive(Debug, Default, PartialEq)]
pub struct Policies {
    version: Option<VersionHash>,
    exporters: HashMap<IpAddr, Exporter>,
}

impl Policies {
    /// Those of `exporters`. `version` is the stored version that says the same; none where there is no such.
    #[must_use]
    pub fn new(version: Option<VersionHash>, exporters: &[Exporter]) -> Self {
        let lasting = |exporter: &Exporter| {
            // Whether somebody waits for names is no part of what a version says.
            let sampling = SamplingPolicy {
                names_awaited: false,
                interfaces_awaited: false,
                ..exporter.sampling.clone()
            };
            (exporter.address, Exporter { sampling, ..exporter.clone() })
        };
        Self { version, exporters: exporters.iter().map(lasting).collect() }
    }

    /// The stored version that says so.
    #[must_use]
    pub const fn version(&self) -> Option<VersionHash> {
        self.version
    }

    /// The exporter with this address, where the version has one.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<&Exporter> {
        self.exporters.get(&address)
    }
}
