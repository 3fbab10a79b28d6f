//! Usage read ahead: one thread reads the ledger, the other adds up. Each takes about as long as the other where a month of
//! many customers is billed, so that the two processors of a small machine halve the time.

use std::sync::mpsc;
use std::thread;

use crate::ledger::records::UsageFilter;
use crate::ledger::{self, Ledger};
use crate::usage::UsageRow;

/// Rows that are handed over at a time.
const BATCH: usize = 4096;
/// Batches that wait, at most: with those in hand, some two megabytes.
const WAITING: usize = 4;

/// As [`Ledger::for_each_usage`], with `each` on this thread and the reading on another.
///
/// # Errors
/// What the ledger says; `each` may have seen rows before.
pub fn for_each_usage(
    ledger: &mut Ledger,
    filter: &UsageFilter,
    each: &mut dyn FnMut(UsageRow),
) -> Result<(), ledger::Error> {
    let (batches, read) = mpsc::sync_channel::<Vec<UsageRow>>(WAITING);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut batch = Vec::with_capacity(BATCH);
            // Where nobody takes them, the other thread has panicked, and its scope tells.
            let result = ledger.for_each_usage(filter, &mut |row| {
                batch.push(row);
                if batch.len() == BATCH {
                    let _ = batches.send(core::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
                }
            });
            let _ = batches.send(batch);
            result
        });
        for batch in read {
            batch.into_iter().for_each(&mut *each);
        }
        match reader.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
