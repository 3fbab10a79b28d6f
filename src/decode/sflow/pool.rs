//! The sample pool of one data source: do its samples stand for as many packets as it says that they do?
//!
//! Each flow sample states a rate *N*, how many packets could have been sampled so far (the pool), how many samples
//! were made so far (its sequence number), and how many were picked but dropped for want of resources (which is 0 too
//! where the exporter cannot tell). Where none is dropped the pool moves by *N* a sample, but for chance. Where some
//! are, it moves by more, and samples at the stated rate would fall short of the traffic.
//!
//! **The rule.** The stated rate rules. A sample also stands for those that the exporter dropped since the one before,
//! which is *N* packets for each: they are owed. Samples take a multiple of the stated rate, a power of two up to
//! [`MULTIPLE_MAX`], and so pay off what is owed; which sample does depends on nothing that is in the packet. So scaled
//! packets are *N* for each sample made or dropped, but for what [`SPREAD`] samples and an open span come to.
//!
//! Why so, and not the quotient of the pool's step between two samples: that is right only in the mean, is off by its
//! own size each time, and would give each sample a rate, and a usage row, of its own. This way a source has at most
//! seven rates, and only the stated one while its exporter keeps up.
//!
//! - The pool is the witness, over spans of [`SPAN`] samples made or dropped. Where it moved by less than half, or more
//!   than twice, of what they explain, it contradicts them: nothing of the span is owed, and that is counted. Exporters
//!   whose pool counts other packets too, or whose sequence numbers run over several sources, look so.
//! - An exporter that cannot see its drops reports none. What the pool is ahead of all samples made and dropped is
//!   chance, or such drops: it is owed, too, once it is more than chance explains (see [`Pool::is_beyond_chance`]).
//!   Following every step of the pool would be wrong: a correction in one direction turns chance into volume.
//! - What is behind is never made good for: the rate is not taken below the stated one.
//! - It counts samples *made*, by their sequence numbers. What got lost on the way to us is loss: shown, never billed.
//!   Only the part of the samples of a span that arrived is owed anything.
//! - Where the stated rate changes between two samples, nobody can say which packets passed at which rate. Those dropped
//!   there stand for as many as the lesser rate says, and the pool contradicts only what neither rate explains.
//! - A pool that does not move says nothing. Where the sequence begins anew all of this does; what was still owed then is
//!   counted.
//!
//! A pool that is steadily ahead by more than twice, without a drop, is not believed either: it may be that the stated rate
//! is wrong, or that the pool counts the packets of a whole switch, and a steady load makes both look alike. It could
//! multiply a bill; so each such span is counted (`pool_contradictions`), and which of the two it is the operator says.
//!
//! Where the stated rate is wrong, the operator has the last word (`sampling.override`).

use serde::{Deserialize, Serialize};

use crate::units::UnixMillis;

/// Samples over which what is owed is spread.
const SPREAD: u64 = 8;

/// Samples, made or dropped, over which the pool is compared. Of so many, chance alone explains a sixth up or down.
const SPAN: u64 = 32;

/// The greatest multiple of the stated rate that a sample takes.
pub(super) const MULTIPLE_MAX: u64 = 64;

/// A sequence number that is further ahead is a new beginning.
const RESTART: u32 = 1 << 16;

/// One that is behind by no more is a late sample.
const REORDER: u32 = 1 << 8;

/// Keeps sums of packets far from the end of their range.
const PACKETS_MAX: i128 = 1 << 48;

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
    /// Packets that dropped samples stood for and that no sample will make up for: their source began anew.
    pub(super) unpaid: u64,
}

impl Verdict {
    /// The stated rate, and nothing else learnt.
    pub(super) const STATED: Self =
        Self { multiple: 1, lost: 0, found: 0, dropped: 0, contradicted: false, unpaid: 0 };
}

/// The pool of one data source.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Pool {
    pub(super) class: u32,
    pub(super) index: u32,
    pub(super) last_seen: UnixMillis,
    last: Statement,
    span: Span,
    /// Packets that samples still have to stand for.
    owed: u64,
    /// Packets by which the pool is ahead of the samples made and dropped, over so many of them.
    ahead: i64,
    over: u64,
    /// The greatest rate that was stated meanwhile.
    greatest: u32,
}

/// Sums over the samples of a span.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Span {
    /// Samples made.
    made: u64,
    /// Of them, those that arrived.
    arrived: u64,
    /// Samples made or dropped.
    picked: u64,
    /// Packets that dropped samples stand for.
    dropped: u64,
    /// Packets that all of them stand for: at least, and at most.
    low: u64,
    high: u64,
    /// Packets by which the pool moved.
    passed: u64,
}

impl Pool {
    /// The pool of a source whose first sample states `first`.
    pub(super) fn new((class, index): (u32, u32), first: Statement, now: UnixMillis) -> Self {
        let greatest = first.rate;
        let span = Span::default();
        Self { class, index, last_seen: now, last: first, span, owed: 0, ahead: 0, over: 0, greatest }
    }

    /// Packets that dropped samples stand for and that no sample has made up for yet.
    pub(super) const fn unpaid(&self) -> u64 {
        self.owed.saturating_add(self.span.dropped)
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
            let unpaid = self.unpaid();
            *self = Self::new((self.class, self.index), next, self.last_seen);
            return Verdict { unpaid, ..Verdict::STATED };
        }
        let last = core::mem::replace(&mut self.last, next);
        let passed = next.pool.wrapping_sub(last.pool);
        // A dropped sample was a packet of the pool; a counter that says otherwise is none, or began anew.
        let dropped = Some(next.drops.wrapping_sub(last.drops)).filter(|&n| n <= passed).unwrap_or(0);
        self.greatest = self.greatest.max(next.rate);
        let (low, high) = (u64::from(next.rate.min(last.rate)), u64::from(next.rate.max(last.rate)));
        let picked = u64::from(step) + u64::from(dropped);
        let span = &mut self.span;
        span.made += u64::from(step);
        span.arrived += 1;
        span.picked += picked;
        span.dropped = span.dropped.saturating_add(low * u64::from(dropped));
        // Both are numbers of 32 bits, so their product may just not fit; then it is more than any pool.
        span.low = span.low.saturating_add(low.saturating_mul(picked));
        span.high = span.high.saturating_add(high.saturating_mul(picked));
        span.passed += u64::from(passed);
        let contradicted = span.picked >= SPAN && self.close(next.rate);
        let multiple = self.pay(next.rate.into());
        Verdict { multiple, lost: step - 1, dropped, contradicted, ..Verdict::STATED }
    }

    /// Ends a span: what it leaves owed. True where the pool contradicts the samples.
    fn close(&mut self, rate: u32) -> bool {
        let Span { made, arrived, picked, dropped, low, high, passed } = core::mem::take(&mut self.span);
        if passed == 0 {
            return false;
        }
        if passed / 2 > high || passed < low / 2 {
            return true;
        }
        let part = |packets: i128| packets * i128::from(arrived) / i128::from(made);
        let ahead = i128::from(self.ahead) + part(i128::from(passed) - i128::from(high));
        self.ahead = i64::try_from(ahead.clamp(-PACKETS_MAX, PACKETS_MAX)).expect("48 bits fit into 64");
        self.over = self.over.saturating_add(picked);
        let mut owed = i128::from(self.owed) + part(i128::from(dropped));
        if self.is_beyond_chance() {
            owed += i128::from(self.ahead);
            (self.ahead, self.over, self.greatest) = (0, 0, rate);
        }
        self.owed = u64::try_from(owed.clamp(0, PACKETS_MAX)).expect("48 bits fit into 64");
        false
    }

    /// True where the pool is so far ahead that chance does not explain it. One sample of random 1-in-*N* sampling
    /// stands for *N* packets, give or take *N*; *n* of them are off by *N* times the root of *n*, and by four times
    /// that hardly ever.
    fn is_beyond_chance(&self) -> bool {
        i128::from(self.ahead) > i128::from(self.greatest) * i128::from(4 * self.over.isqrt() + 16)
    }

    /// The multiple that the next sample takes, paid from what is owed.
    fn pay(&mut self, rate: u64) -> u64 {
        if rate == 0 {
            return 1;
        }
        let wanted = (self.owed / (SPREAD * rate) + 1).min(MULTIPLE_MAX);
        // No rate has more than 32 bits.
        let multiple = power_of_two(wanted.min(u64::from(u32::MAX) / rate));
        // The multiple less one is no more than an eighth of what is owed.
        self.owed -= (multiple - 1) * rate;
        multiple
    }
}

/// The greatest power of two that is not more than `n`, which is not 0.
const fn power_of_two(n: u64) -> u64 {
    1 << n.ilog2()
}

#[cfg(test)]
mod tests;
