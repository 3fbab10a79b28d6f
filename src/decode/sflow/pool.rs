//! The sample pool of one data source: do its samples stand for as many packets as it says that they do?
//!
//! Each flow sample states a rate *N*, how many packets could have been sampled so far (the pool), how many samples were made so
//! far (its sequence number), and how many were picked but dropped for want of resources (which is 0 too where the exporter cannot
//! tell). Where none is dropped the pool moves by *N* a sample, but for chance. Where some are, it moves by more, and
//! samples at the stated rate would fall short of the traffic.
//!
//! **The rule.** The stated rate rules. An account is kept of the packets by which the pool is ahead of the samples.
//! When it exceeds [`BAND`] samples' worth, the next samples take a multiple of the stated rate, a power of two
//! up to [`MULTIPLE_MAX`], and what they take above it is paid from the account. So scaled packets follow the pool, for
//! good, within the band and one span; which sample takes the multiple depends on nothing that is in the packet.
//!
//! Why so, and not the quotient of the last two samples: that one is right only in the mean, is off by its own size each
//! time, and would give each sample a rate, and a usage row, of its own. This way a source has at most seven rates, and with an
//! exporter that drops nothing hardly ever another one than it states.
//!
//! - The pool is compared over spans of [`SPAN`] samples made or dropped; nothing is concluded from less.
//! - It counts samples *made*, by their sequence numbers. What got lost on the way to us is loss: shown, never billed.
//!   Of a span's excess only the part of the samples that arrived goes to the account.
//! - The account may be negative: that is chance, or a pool that counts less than the samples stand for. The rate is never
//!   taken below what the exporter states, because exporters whose pool stands still, or whose sequence numbers run over
//!   several sources, look the same. A pool that says more than twice what samples and drops explain is not believed
//!   either. Both are counted: there the operator has to say what is right (`sampling.override`).
//! - A pool that does not move says nothing. One whose sequence began anew begins anew.

use serde::{Deserialize, Serialize};

use crate::units::UnixMillis;

/// Samples that the pool may be ahead before it is followed. Chance alone gets there now and then; following it then is
/// right, too, and costs no more than a second rate.
const BAND: u64 = 16;

/// Samples, made or dropped, over which the pool is compared. Of so many, chance alone explains a sixth up or down.
const SPAN: u64 = 32;

/// The greatest multiple of the stated rate that a sample takes.
pub(super) const MULTIPLE_MAX: u64 = 64;

/// A sequence number that is further ahead is a new beginning.
const RESTART: u32 = 1 << 16;

/// One that is behind by no more is a late sample.
const REORDER: u32 = 1 << 8;

/// Keeps the account far from the end of its range.
const ACCOUNT_MAX: i128 = 1 << 48;

/// What a flow sample states of its sampling.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Statement {
    pub(super) sequence: u32,
    pub(super) rate: u32,
    pub(super) pool: u32,
    pub(super) drops: u32,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Verdict {
    /// How many times the stated rate the sample takes.
    pub(super) multiple: u64,
    /// Samples of the source that are newly missing ...
    pub(super) lost: u32,
    /// ... or no longer.
    pub(super) found: u32,
    /// Samples that the exporter dropped since the last one.
    pub(super) dropped: u32,
    /// True where a span ended in which the pool said something else than the samples.
    pub(super) contradicted: bool,
}

impl Verdict {
    /// The stated rate, and nothing else learnt.
    pub(super) const STATED: Self = Self { multiple: 1, lost: 0, found: 0, dropped: 0, contradicted: false };
}

/// The pool of one data source.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Pool {
    pub(super) class: u32,
    pub(super) index: u32,
    pub(super) last_seen: UnixMillis,
    last: Statement,
    span: Span,
    /// Packets by which the pool is ahead of what the samples were scaled to.
    account: i64,
}

/// Sums over the samples of a span.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Span {
    made: u64,
    arrived: u64,
    dropped: u64,
    passed: u64,
}

impl Pool {
    /// The pool of a source whose first sample states `first`.
    pub(super) fn new((class, index): (u32, u32), first: Statement, now: UnixMillis) -> Self {
        Self { class, index, last_seen: now, last: first, span: Span::default(), account: 0 }
    }

    /// Takes in what the next sample states.
    pub(super) fn see(&mut self, next: Statement) -> Verdict {
        let step = next.sequence.wrapping_sub(self.last.sequence);
        if step == 0 {
            return Verdict::STATED;
        }
        if step > RESTART {
            if step.wrapping_neg() <= REORDER {
                self.span.arrived = (self.span.arrived + 1).min(self.span.made);
                return Verdict { found: 1, ..Verdict::STATED };
            }
            *self = Self::new((self.class, self.index), next, self.last_seen);
            return Verdict::STATED;
        }
        let last = core::mem::replace(&mut self.last, next);
        let passed = next.pool.wrapping_sub(last.pool);
        // A dropped sample was a packet of the pool; a counter that says otherwise is none, or began anew.
        let dropped = Some(next.drops.wrapping_sub(last.drops)).filter(|&n| n <= passed).unwrap_or(0);
        let mut contradicted = false;
        if next.rate == last.rate {
            self.span.made += u64::from(step);
            self.span.arrived += 1;
            self.span.dropped += u64::from(dropped);
            self.span.passed += u64::from(passed);
            if self.span.made + self.span.dropped >= SPAN {
                contradicted = self.close(next.rate.into());
            }
        } else {
            // Nobody can say which packets passed at which rate.
            self.span = Span::default();
        }
        Verdict { multiple: self.pay(next.rate.into()), lost: step - 1, found: 0, dropped, contradicted }
    }

    /// Ends a span: its part of the excess goes to the account. True where the pool contradicts the samples.
    fn close(&mut self, rate: u64) -> bool {
        let Span { made, arrived, dropped, passed } = core::mem::take(&mut self.span);
        let (stated, explained) = (rate * made, rate * (made + dropped));
        if passed == 0 {
            return false;
        }
        if passed / 2 > explained {
            return true;
        }
        let excess = i128::from(passed) - i128::from(stated);
        let account = i128::from(self.account) + excess * i128::from(arrived) / i128::from(made);
        let account = account.clamp(-ACCOUNT_MAX, ACCOUNT_MAX);
        self.account = i64::try_from(account).expect("48 bits fit into 64");
        passed < stated / 2
    }

    /// The multiple that the next sample takes, paid from the account.
    fn pay(&mut self, rate: u64) -> u64 {
        let ahead = u64::try_from(self.account).unwrap_or(0);
        if rate == 0 || ahead <= BAND * rate {
            return 1;
        }
        let wanted = (2 * ahead / (BAND * rate)).min(MULTIPLE_MAX);
        // No rate has more than 32 bits.
        let multiple = power_of_two(wanted.min(u64::from(u32::MAX) / rate).max(1));
        self.account -= i64::try_from((multiple - 1) * rate).expect("less than the account");
        multiple
    }
}

/// The greatest power of two that is not more than `n`, which is not 0.
const fn power_of_two(n: u64) -> u64 {
    1 << n.ilog2()
}

#[cfg(test)]
mod tests;
