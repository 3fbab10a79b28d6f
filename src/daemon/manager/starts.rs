//! Routers that have started anew and whose interfaces have not been read since: their flows wait.
//!
//! A start shows in the router's own flows, at the first datagram after it, or in its uptime. Until its interfaces have been
//! read, nobody knows what their numbers mean, and nobody knows how long that takes: it may be silent, or show none. The
//! registry of exporters lets the flows wait, whatever is put in force meanwhile; here it is said until when: the first
//! reading after the start is in force, or [`AWAITED_MS`] are over. A reading comes only where the uptime says that the
//! router did not start while it was read; where it has not started at all, the reading says what was known.

use core::net::IpAddr;
use core::sync::atomic::Ordering::Relaxed;
use std::collections::HashSet;

use tracing::{info, warn};

use super::Manager;
use crate::classify::named::AWAITED_MS;
use crate::config::Config;
use crate::processor::exporters::Entry;
use crate::units::UnixMillis;

/// The exporters whose links go by names, and that are asked for them.
pub(super) fn asked(config: &Config) -> HashSet<IpAddr> {
    let is_asked = |name: &str| config.targets.iter().any(|target| target.exporter == name);
    let exporters = config.exporters.iter();
    let asked = exporters.filter(|one| is_asked(&one.name) && config.network.has_names(&one.name));
    asked.map(|one| one.address).collect()
}

impl Manager {
    /// A poll has found that a router has started, and has not read its interfaces.
    pub(super) fn started(&self, exporter: &str, at: UnixMillis) {
        let config = self.config.load();
        if let Some(found) = config.exporters.iter().find(|one| one.name == exporter) {
            // Who waits already is not told again.
            let _ = self.registry.has_started(found.address, at);
        }
    }

    /// Ends the waits for readings after starts: those in `read`, whose readings are in the ledger, and those that are over.
    pub(super) fn end_starts(&self, read: &[(IpAddr, u64)], now: i64) {
        let (read, overdue) =
            (self.registry.end_read(read), self.registry.end_overdue(UnixMillis(now - AWAITED_MS)));
        if !(read.is_empty() && overdue.is_empty()) {
            self.unforced.store(true, Relaxed);
        }
        let held = |entry: &Entry| entry.counters.held.load(Relaxed);
        for entry in read {
            info!(exporter = %entry.counters.name, held = held(&entry), "The router's interfaces have been read since it started; its flows go by them.");
        }
        for entry in overdue {
            warn!(exporter = %entry.counters.name, held = held(&entry), "The router's interfaces could not be read since it started; its flows wait no longer, and go by what is known.");
        }
    }
}
