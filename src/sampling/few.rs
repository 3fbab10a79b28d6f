//! Few rates of one exporter, whatever it states.
//!
//! Usage is kept by sampling rate, and holds raw sums: a rate is a row for each bucket and customer, and a series in the
//! ledger. Exporters have a handful of rates. One that states another rate in each record (out of a defect, or to do
//! harm) would fill the usage table of its processor, which others share, and the ledger for good.
//!
//! So the first [`EXACT`] rates of an exporter count as they are; one that was not used for [`IDLE_MS`] gives way to a new one.
//! A rate beyond them becomes one of its two neighbours on a grid of [`STEPS`] steps for each power of two, by lot: the
//! nearer it is to a neighbour, the more often that one is drawn, so that the rate is right in the mean. Nothing is refused, raw
//! volume stays what it is, and scaled volume is unbiased: the lot of a record is off by a 32nd of it at most (one
//! standard deviation), and those of many records cancel out. Which lot a record draws depends on nothing that is in it,
//! but on how many were drawn before; so the same datagrams give the same rates again, wherever flushes fall.
//!
//! What the operator says, and that nobody said anything, is few by itself and always as it is.

use serde::{Deserialize, Serialize};

use crate::flow::FlowRecord;
use crate::units::{RateSource, SamplingRate, UnixMillis};

/// Rates that count as they are.
const EXACT: usize = 256;

/// How long a rate is remembered after it was last used, where another one wants its place.
const IDLE_MS: i64 = 3_600_000;

/// Steps of the grid from a power of two to the next.
const STEPS: u64 = 16;

/// The rates of an exporter. Part of the checkpoint.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Few {
    /// Those that count as they are, ascending, and when each was last used.
    exact: Vec<(SamplingRate, UnixMillis)>,
    /// Records whose rate was rounded.
    rounded: u64,
    /// No rate is idle before this, so that nobody need look for one with each record.
    #[serde(skip)]
    none_idle_before: Option<UnixMillis>,
}

impl Few {
    /// Records whose rate was rounded, since the exporter is remembered.
    pub(super) const fn rounded(&self) -> u64 {
        self.rounded
    }

    /// Makes the rates of `records`, which came or were let go at `now`, few.
    pub(super) fn settle(&mut self, records: &mut [FlowRecord], now: UnixMillis) {
        let mut last = None;
        for record in records {
            if last == Some(record.rate) {
                continue;
            }
            if self.is_exact(record.rate, now) {
                last = Some(record.rate);
            } else if let Some(rate) = rounded(record.rate, lot(self.rounded)) {
                record.rate = rate;
                self.rounded += 1;
            }
        }
    }

    /// True where records of that rate keep it.
    fn is_exact(&mut self, rate: SamplingRate, now: UnixMillis) -> bool {
        use RateSource::{Default, NotAnnounced, Override};
        if matches!(rate.source(), Override | Default | NotAnnounced) {
            return true;
        }
        match self.exact.binary_search_by_key(&rate, |(rate, _)| *rate) {
            Ok(at) => {
                self.exact[at].1 = now;
                // The clock of a source that was left and goes on may stand before what is remembered.
                self.none_idle_before = self.none_idle_before.map(|then| then.min(now.plus(IDLE_MS)));
                true
            }
            Err(at) if self.exact.len() < EXACT => {
                self.exact.insert(at, (rate, now));
                true
            }
            Err(_) => self.replace_idle(rate, now),
        }
    }

    /// Gives a rate the place of the one that was not used for longest, if that was long enough.
    fn replace_idle(&mut self, rate: SamplingRate, now: UnixMillis) -> bool {
        if self.none_idle_before.is_some_and(|then| now < then) {
            return false;
        }
        let idlest = (0..self.exact.len()).min_by_key(|&at| self.exact[at].1);
        let idle_from = idlest.map(|at| self.exact[at].1.plus(IDLE_MS));
        let Some(at) = idlest.filter(|_| idle_from.is_some_and(|then| then <= now)) else {
            self.none_idle_before = idle_from;
            return false;
        };
        self.exact.remove(at);
        let at = self.exact.partition_point(|(other, _)| *other < rate);
        self.exact.insert(at, (rate, now));
        true
    }
}

/// A number of 64 bits that looks like chance: the `n`-th of its sequence (SplitMix64).
const fn lot(n: u64) -> u64 {
    let mut lot = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    lot = (lot ^ lot >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    lot = (lot ^ lot >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    lot ^ lot >> 31
}

/// The neighbour on the grid that `lot` draws for a rate; `None` where it is on the grid itself.
fn rounded(rate: SamplingRate, lot: u64) -> Option<SamplingRate> {
    let (numerator, denominator) = (u64::from(rate.numerator()), u64::from(rate.denominator()));
    let power = (numerator / denominator).ilog2();
    // A step is this over STEPS times the denominator. It is no more than the numerator, so nothing here has 37 bits.
    let step = denominator << power;
    let (below, rest) = (STEPS * numerator / step, STEPS * numerator % step);
    if rest == 0 {
        return None;
    }
    let is_up = (u128::from(lot) * u128::from(step)) >> 64 < u128::from(rest);
    let steps = (below + u64::from(is_up)) << power;
    // The neighbour of the greatest ones would be 2^32, which is no rate.
    SamplingRate::new(steps.min(STEPS * u64::from(u32::MAX)), STEPS, rate.source())
}

#[cfg(test)]
mod tests;
