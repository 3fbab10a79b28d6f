//! What decoding left of the live exporters in the ledger.

use core::net::IpAddr;

use super::Error;
use crate::counters::Memory;
use crate::ledger::Ledger;
use crate::ledger::records::CheckpointScope;
use crate::processor::{self, BadCheckpoint, checkpoint};
use crate::usage::Remembered;

/// The states of the live exporters. All are of a format that can be read: one that is not is better told at start than
/// with its exporter's first datagram.
pub(super) fn live(ledger: &mut Ledger) -> Result<Vec<(IpAddr, Remembered)>, Error> {
    let all = ledger.checkpoints(CheckpointScope::Live)?;
    let named = all.into_iter().filter_map(|c| Some((c.exporter.parse().ok()?, c.remembered)));
    named
        .map(|(exporter, left): (IpAddr, Remembered)| match checkpoint::check(&left.state) {
            Ok(_) => Ok((exporter, left)),
            Err(reason) => Err(BadCheckpoint { exporter, reason }.into()),
        })
        .collect()
}

/// What a daemon remembered of the exporters when it flushed last: samplers, sessions and templates.
///
/// # Errors
/// Where the ledger cannot be read, or has checkpoints of another version.
pub fn remembered(ledger: &mut Ledger) -> Result<Vec<(IpAddr, Memory)>, Error> {
    let shown = |(exporter, left): (IpAddr, Remembered)| match processor::remembered(&left) {
        Ok(memory) => Ok((exporter, memory)),
        Err(reason) => Err(BadCheckpoint { exporter, reason }.into()),
    };
    live(ledger)?.into_iter().map(shown).collect()
}
