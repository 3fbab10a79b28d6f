//! The sample pool of one data source: do its samples stand for as many packets as it says that they do?
//!
//! Each flow sample states a rate *N*, how many packets could have been sampled so far (the pool), how many samples
//! were made so far (its sequence number), and how many were picked but dropped for want of resources (which is 0 too
//! where the exporter cannot tell). By the standard the pool moves by *N* for each sample made or dropped, but for
//! chance, and the pool's step over the samples made is the effective rate. In the field there are
//!
//! - exporters that count the pool: the standard's way. Drops they see make it move by more than *N* a sample, and so do
//!   drops that they do not see;
//! - exporters that only add *N* for each sample made (hsflowd, Open vSwitch, most that have no such counter in
//!   hardware). Their pool knows of no drop and says nothing, while hsflowd's count of drops is true;
//! - pools that stand still, count both directions or a whole switch, or begin anew; drop counts that count something else.
//!
//! **The rule.** The stated rate rules. A sample also stands for those that the exporter dropped, which is *N* packets for
//! each, at once; and for what the pool is ahead of all samples made and dropped, once that is more than chance explains:
//! all this is owed. Samples take a multiple of the stated rate, a power of two up to [`MULTIPLE_MAX`], and so pay off what
//! is owed: up to four times the rate at once, more than that spread over some [`SPREAD`] samples. Which sample does depends
//! on nothing that is in the packet. So scaled packets are what passed, but for chance and what is owed at the end.
//!
//! Why so, and not the quotient of the pool's step between two samples: that is right only in the mean, is off by its
//! own size each time, and would give each sample a rate, and a usage row, of its own. This way a source has at most
//! seven rates, and only the stated one while its exporter keeps up.
//!
//! How far that is believed, over spans of [`SPAN`] samples made or dropped:
//!
//! - A pool that moves by less than half of what samples and drops explain refutes the drops, which may be those of a whole
//!   switch: what it is ahead of the samples alone is owed. One that moves by less than half of what the samples explain, or
//!   more than twice, contradicts these, too: nothing of the span is owed (what was paid of it is taken back from what will
//!   be). Both are counted.
//! - Beyond twice it is believed where the interface's own counters bear it out ([`Witness`]): the same exporter's counter
//!   samples. Where these refute it, it is not believed in anything.
//! - A pool that is behind samples and drops by more than chance explains takes back what was paid for drops. The rate is
//!   never taken below the stated one.
//! - A pool that only adds *N* for each sample, or is refuted, is no witness for drops. The exporter's word is good for as
//!   many drops as there are samples, for more where the interface's counters bear them out; what is beyond is counted.
//!   Where samples wait in the exporter before they are sent (hsflowd for what `mod_tcp` finds out), such a pool is ahead of
//!   them by changing multiples of *N*, and the count of drops goes back by a few: over many drops it shows.
//! - It counts samples *made*, by their sequence numbers. What got lost on the way to us is loss: shown, never billed.
//!   Only the part of the samples of a span that arrived is owed anything, so loss on the way does not bias what is owed;
//!   one that arrives later, its span being over, is owed its part of that span then, but no more than twice of what was
//!   dropped from the one late sample to the other, by what they state themselves (see `late`).
//! - Where the pool or the drops go back from an earlier sample to a later one, and do so again before long, two sources
//!   look like one, and nobody can tell their samples apart: until that was long ago, each takes the stated rate. So do two
//!   whose numbers take turns: what looks like a new beginning, or like a leap, goes on from where the numbers were before
//!   the last one. So it is counted, span by span.
//! - Where the stated rate changes between two samples, nobody can say which packets passed at which rate. Those dropped
//!   there stand for as many as the lesser rate says, and the pool contradicts only what neither rate explains.
//! - A pool that does not move says nothing. Where the sequence begins anew all of this does; what was still owed then is
//!   counted.
//!
//! Without counter samples, a pool that is steadily ahead by more than twice without a drop is not believed: it may be that
//! the stated rate is wrong, or that the pool counts the packets of a whole switch, and a steady load makes both look
//! alike. It could multiply a bill; so each such span is counted (`pool_contradictions`), and which of the two it is the
//! operator says: where the stated rate is wrong, he has the last word (`sampling.override`).

mod late;
mod witness;

use serde::{Deserialize, Serialize};

use crate::flow::Observed;
use crate::units::UnixMillis;

use late::{Late, Owed};
pub(super) use witness::Interface;
use witness::{Pooled, Witness};

/// Samples over which what is owed is spread, where it is much.
const SPREAD: u64 = 8;

/// What is owed is paid at once up to so many samples' worth.
const AT_ONCE: u64 = 3;

/// Samples' worth that may be taken back of what was paid.
const TAKEN_BACK_MAX: u64 = 256;

/// How many times what samples and drops explain a pool may move by, where nobody bears it out.
const AHEAD_MAX: u64 = 2;

/// Samples, made or dropped, over which the pool is compared. Of so many, chance alone explains a sixth up or down.
const SPAN: u64 = 32;

/// The greatest multiple of the stated rate that a sample takes.
pub(super) const MULTIPLE_MAX: u64 = 64;

/// A sequence number that is further ahead is a new beginning.
const RESTART: u32 = 1 << 16;

/// One that is behind by no more is a late sample where any is missing, or the one before is of the same datagram. In a
/// datagram that is late itself it is one however far it is behind.
const REORDER: u32 = 1 << 8;

/// Samples for which it is remembered that two contradicted each other, so that they are of two sources.
const DOUBTED: u16 = 1 << 10;

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

impl Statement {
    /// True where this sample was made after `earlier`.
    fn is_behind(self, earlier: Self) -> bool {
        self.sequence != earlier.sequence && !goes_back(earlier.sequence, self.sequence)
    }

    /// True where the pool went back on the way to `later`, and not just once around 32 bits.
    fn pool_contradicts(self, later: Self) -> bool {
        let step = later.sequence.wrapping_sub(self.sequence);
        let explained = u64::from(step) * u64::from(self.rate.max(later.rate));
        explained < 1 << 30 && goes_back(self.pool, later.pool)
    }

    /// True where the drops went back on the way to `later` by more than they do where samples wait in the exporter.
    fn drops_contradict(self, later: Self) -> bool {
        goes_back(self.drops, later.drops) && self.drops.wrapping_sub(later.drops) > REORDER
    }
}

/// True where the shorter way between two counts is the one back.
const fn goes_back(from: u32, to: u32) -> bool {
    to.wrapping_sub(from) > u32::MAX / 2
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
    /// True where a span ended in which the pool said something else than the samples, or was that of two sources.
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
    /// The datagram of the last sample, as the agent numbers those that came.
    pub(super) datagram: u32,
    last: Statement,
    /// The greatest count of drops.
    drops: u32,
    steps: Steps,
    span: Span,
    /// The last sample before the open span.
    closed: Statement,
    late: Late,
    /// Samples that are told as missing.
    missing: u64,
    /// For so many samples more it is remembered that two contradicted each other.
    doubt: u16,
    /// Two did meanwhile for the second time: of two sources in one the stated rate rules.
    shared: bool,
    /// The last sample before the sequence last began anew, or went on from such a one.
    former: Option<Statement>,
    /// Packets that samples still have to stand for, the open span apart; less than 0 where they stood for too many.
    owed: i64,
    /// Packets that samples stood for beyond the stated rate.
    extra: u64,
    /// Packets by which the pool is ahead of the samples made and dropped, or behind them, over so many of them.
    ahead: i64,
    over: u64,
    /// The greatest rate that was stated meanwhile.
    greatest: u32,
    witness: Witness,
}

/// Packets within [`PACKETS_MAX`].
fn bounded(packets: i128) -> i64 {
    i64::try_from(packets.clamp(-PACKETS_MAX, PACKETS_MAX)).expect("48 bits fit into 64")
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
    /// Packets that samples made stand for, at least.
    own: u64,
    /// Packets that dropped samples stand for.
    dropped: u64,
    /// Packets that all of them stand for: at least, and at most.
    low: u64,
    high: u64,
    /// Packets by which the pool moved.
    passed: u64,
    /// True where that is not just the stated rate for each sample made.
    counts: bool,
    /// Packets that samples stood for meanwhile beyond the stated rate.
    paid: u64,
}

/// How a pool moved since the source began: over one span a pool that adds *N* for each sample looks like one that counts,
/// where samples wait in the exporter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Steps {
    /// It did not always move by a multiple of the rate: then it counts packets.
    counts: bool,
    /// By how many times the rate it moved more than for the samples made.
    beyond: i64,
    dropped: i64,
}

impl Steps {
    fn add(&mut self, passed: u32, (step, dropped): (u32, u32), rate: u32) {
        self.counts |= rate <= 1 || !passed.is_multiple_of(rate);
        let times = passed.checked_div(rate).unwrap_or(0);
        self.beyond = self.beyond.saturating_add(i64::from(times) - i64::from(step));
        self.dropped = self.dropped.saturating_add(i64::from(dropped));
    }

    /// True where it moves for what was dropped, too: never do so many samples wait.
    const fn know_of_drops(&self) -> bool {
        self.counts || self.beyond.saturating_mul(2) >= self.dropped || self.beyond > REORDER as i64
    }
}

/// What is to be made of a span.
#[derive(Clone, Copy, Debug)]
struct Judgement {
    /// Packets that are owed for dropped samples.
    dropped: u64,
    /// By how many packets the pool is ahead, or behind.
    ahead: i128,
    contradicted: bool,
}

impl Span {
    /// True where there is enough of it to compare. Where the pool refutes the drops, samples dropped do not make it longer.
    const fn is_over(&self) -> bool {
        self.made >= SPAN || self.picked >= SPAN && !(self.counts && self.refutes_drops())
    }

    /// True where the pool moved by less than half of what samples and drops explain.
    const fn refutes_drops(&self) -> bool {
        self.passed < self.low / 2
    }

    fn judge(&self, witness: &Witness, steps: &Steps) -> Judgement {
        let nothing = Judgement { dropped: 0, ahead: 0, contradicted: false };
        if self.passed == 0 {
            return nothing;
        }
        let counts = self.counts && steps.know_of_drops();
        if !counts || witness.pooled == Pooled::TooMuch {
            let believed = if witness.bears_out_drops { u64::MAX } else { self.own };
            let contradicted = counts || self.dropped > believed;
            return Judgement { dropped: self.dropped.min(believed), contradicted, ..nothing };
        }
        let times = if witness.pooled == Pooled::AsCounted { MULTIPLE_MAX } else { AHEAD_MAX };
        // Where it does not bear out the drops, it may do so for the samples alone.
        let refutes_drops = self.refutes_drops();
        let (dropped, low) = if refutes_drops { (0, self.own) } else { (self.dropped, self.low) };
        let high = self.high.saturating_sub(self.dropped - dropped).max(low);
        if self.passed / times > high || self.passed < low / 2 {
            return Judgement { contradicted: true, ..nothing };
        }
        let passed = i128::from(self.passed);
        let ahead = passed - passed.clamp(low.into(), high.into());
        Judgement { dropped, ahead, contradicted: refutes_drops }
    }

    /// Of `packets` that all samples of the span have to stand for, those of the samples that arrived.
    fn part(&self, packets: i128) -> i128 {
        packets * i128::from(self.arrived) / i128::from(self.made.max(1))
    }
}

impl Pool {
    /// The pool of a source whose first sample states `first`.
    pub(super) fn new((class, index): (u32, u32), first: Statement, now: UnixMillis) -> Self {
        Self {
            class,
            index,
            last_seen: now,
            datagram: 0,
            last: first,
            drops: first.drops,
            steps: Steps::default(),
            span: Span::default(),
            closed: first,
            late: Late::default(),
            missing: 0,
            doubt: 0,
            shared: false,
            former: None,
            owed: 0,
            extra: 0,
            ahead: 0,
            over: 0,
            greatest: first.rate,
            witness: Witness::default(),
        }
    }

    /// Packets that dropped samples stand for and that no sample has made up for yet.
    pub(super) fn unpaid(&self) -> u64 {
        let owed = i128::from(self.owed) + i128::from(self.span.dropped) - i128::from(self.span.paid);
        u64::try_from(owed.max(0)).unwrap_or(u64::MAX)
    }

    /// Takes in what a counter sample says of the interface that is the source.
    pub(super) fn see_counters(&mut self, now: Interface) {
        self.witness.see(now);
    }

    /// Takes in what the next sample states, and on which side of its source it was made. `is_overtaken`: its datagram is late.
    /// `is_with_last`: it came in one datagram with the last one.
    pub(super) fn see(
        &mut self,
        next: Statement,
        observed: Observed,
        (is_overtaken, is_with_last): (bool, bool),
    ) -> Verdict {
        let step = next.sequence.wrapping_sub(self.last.sequence);
        if step == 0 {
            return Verdict::STATED;
        }
        let behind = step.wrapping_neg();
        let may_be_late = behind <= REORDER && (self.missing > 0 || is_with_last);
        let is_late = step > RESTART && (is_overtaken || may_be_late);
        if is_late && behind > RESTART {
            // Of a former run of its source.
            return Verdict::STATED;
        }
        self.doubt = self.doubt.saturating_sub(1);
        let is_anew = step > RESTART && !is_late;
        let takes_turns = !is_late && self.goes_on_from_former(next);
        if self.shared && self.doubt == 0 || is_anew && !takes_turns && !self.shared {
            return self.begin_anew(next);
        }
        let is_doubtful = takes_turns || is_anew || self.is_at_odds(next, is_late);
        if is_doubtful && core::mem::replace(&mut self.doubt, DOUBTED) > 0 && !self.shared {
            // What seemed to be owed lies between two sources.
            (self.shared, self.owed, self.missing) = (true, 0, 0);
            (self.span, self.late) = (Span::default(), Late::default());
        }
        if takes_turns || is_anew {
            self.former = Some(self.last);
        }
        if self.shared {
            return self.see_shared(next, is_late);
        }
        if takes_turns {
            // What lies between the two was not dropped.
            (self.last, self.closed, self.span) = (next, next, Span::default());
            self.drops = next.drops;
            return Verdict::STATED;
        }
        if is_late {
            self.see_late(next);
            let found = u32::from(self.missing > 0);
            self.missing -= u64::from(found);
            return Verdict { found, ..Verdict::STATED };
        }
        let last = core::mem::replace(&mut self.last, next);
        let passed = next.pool.wrapping_sub(last.pool);
        let dropped = self.dropped(next.drops, passed);
        if next.rate == last.rate {
            self.steps.add(passed, (step, dropped), next.rate);
        }
        self.greatest = self.greatest.max(next.rate);
        let (low, high) = (u64::from(next.rate.min(last.rate)), u64::from(next.rate.max(last.rate)));
        let picked = u64::from(step) + u64::from(dropped);
        // Both are numbers of 32 bits, so their product may just not fit; then it is more than any pool.
        let explained = low.saturating_mul(picked);
        self.witness.add(passed, explained, observed);
        let span = &mut self.span;
        span.made += u64::from(step);
        span.arrived += 1;
        span.picked += picked;
        span.own = span.own.saturating_add(low * u64::from(step));
        span.dropped = span.dropped.saturating_add(low * u64::from(dropped));
        span.low = span.low.saturating_add(explained);
        span.high = span.high.saturating_add(high.saturating_mul(picked));
        span.passed += u64::from(passed);
        span.counts |= passed != step.wrapping_mul(next.rate);
        self.missing = self.missing.saturating_add(u64::from(step - 1));
        let contradicted = self.span.is_over() && self.close(next.rate);
        let multiple = self.pay(next.rate.into());
        Verdict { multiple, lost: step - 1, dropped, contradicted, ..Verdict::STATED }
    }

    /// Samples that were dropped while the pool moved by so much.
    fn dropped(&mut self, drops: u32, passed: u32) -> u32 {
        let ahead = drops.wrapping_sub(self.drops);
        // A dropped sample was a packet. Where the pool moved by less, the counter is none, or began anew; or the sample behind
        // one that waited brings word of the packets before both. Of the one that waited all drops are counted already.
        let is_none = ahead > passed;
        if ahead.wrapping_neg() <= REORDER || is_none && ahead <= REORDER {
            return 0;
        }
        self.drops = drops;
        if is_none { 0 } else { ahead }
    }

    /// True where a sample that does not go on from the last one, or leaves out more, goes on from the one before the last
    /// new beginning.
    fn goes_on_from_former(&self, next: Statement) -> bool {
        let step = next.sequence.wrapping_sub(self.last.sequence);
        self.former.is_some_and(|former| {
            let ahead = next.sequence.wrapping_sub(former.sequence);
            (1..=REORDER).contains(&ahead) && ahead < step
        })
    }

    /// The source counts from the beginning, or what seemed to be two is one again.
    fn begin_anew(&mut self, next: Statement) -> Verdict {
        let unpaid = self.unpaid();
        let (former, doubt) = (Some(self.last), self.doubt);
        let datagram = self.datagram;
        *self = Self { former, doubt, datagram, ..Self::new((self.class, self.index), next, self.last_seen) };
        Verdict { unpaid, ..Verdict::STATED }
    }

    /// True where the source of the samples before cannot have made this one: its pool or its drops went back on the way
    /// from an earlier sample to a later one.
    fn is_at_odds(&self, next: Statement, is_late: bool) -> bool {
        if !is_late {
            return self.last.pool_contradicts(next);
        }
        let contradict = |one: Statement, other: Statement| {
            let (earlier, later) = if other.is_behind(one) { (one, other) } else { (other, one) };
            earlier.pool_contradicts(later) || earlier.drops_contradict(later)
        };
        contradict(next, self.last)
            || contradict(self.closed, next)
            || self.late.last.is_some_and(|late| late.sequence != next.sequence && contradict(late, next))
    }

    /// Samples of two sources tell only whether there are still two.
    fn see_shared(&mut self, next: Statement, is_late: bool) -> Verdict {
        if is_late {
            self.late.last = Some(next);
            return Verdict::STATED;
        }
        self.last = next;
        self.span.arrived += 1;
        let contradicted = self.span.arrived >= SPAN;
        if contradicted {
            (self.closed, self.span) = (next, Span::default());
        }
        Verdict { contradicted, ..Verdict::STATED }
    }

    /// A sample that others have overtaken stands for its part of what was dropped as they do.
    fn see_late(&mut self, next: Statement) {
        if next.is_behind(self.closed) {
            self.late.last = Some(next);
            self.span.arrived = (self.span.arrived + 1).min(self.span.made);
            return;
        }
        let (owed, ahead) = self.late.take(next);
        self.owed = bounded(i128::from(self.owed) + i128::from(owed));
        self.ahead = bounded(i128::from(self.ahead) + i128::from(ahead));
    }

    /// Ends a span: what it leaves owed. True where the pool contradicts the samples.
    fn close(&mut self, rate: u32) -> bool {
        let span = core::mem::take(&mut self.span);
        let Judgement { dropped, ahead, contradicted } = span.judge(&self.witness, &self.steps);
        self.closed = self.last;
        let rest = |packets: i128| packets - span.part(packets);
        self.late.add(
            self.closed,
            span.made,
            Owed {
                samples: span.made - span.arrived,
                packets: bounded(rest(dropped.into())),
                ahead: bounded(rest(ahead)),
            },
        );
        let mut owed = i128::from(self.owed) + span.part(dropped.into()) - i128::from(span.paid);
        self.ahead = bounded(i128::from(self.ahead) + span.part(ahead));
        self.over = self.over.saturating_add(span.picked);
        if self.is_beyond_chance() {
            owed += i128::from(self.ahead);
            (self.ahead, self.over, self.greatest) = (0, 0, rate);
        }
        // No sample stands for less than it states, so no more is taken back than was paid. Nor is it for ever.
        let paid = self.extra.min(u64::from(rate) * TAKEN_BACK_MAX);
        self.owed = bounded(owed.max(-i128::from(paid)));
        contradicted
    }

    /// True where the pool is so far ahead or behind that chance does not explain it. One sample of random 1-in-*N*
    /// sampling stands for *N* packets, give or take *N*; *n* of them are off by *N* times the root of *n*, and by four
    /// times that hardly ever.
    fn is_beyond_chance(&self) -> bool {
        i128::from(self.ahead).abs() > i128::from(self.greatest) * i128::from(4 * self.over.isqrt() + 16)
    }

    /// The multiple that the next sample takes, paid from what is owed.
    fn pay(&mut self, rate: u64) -> u64 {
        let open = self.span.part(self.span.judge(&self.witness, &self.steps).dropped.into());
        let owed = i128::from(self.owed) + open - i128::from(self.span.paid);
        // Samples' worth.
        let owed = u64::try_from(owed).unwrap_or(0).checked_div(rate).unwrap_or(0);
        if owed == 0 {
            return 1;
        }
        let wanted = 1 + owed.min(AT_ONCE.max(owed / SPREAD));
        // No rate has more than 32 bits.
        let multiple = power_of_two(wanted.min(MULTIPLE_MAX).min(u64::from(u32::MAX) / rate));
        // The multiple less one is no more than is owed.
        let extra = (multiple - 1) * rate;
        self.span.paid += extra;
        self.extra = self.extra.saturating_add(extra);
        multiple
    }
}

/// The greatest power of two that is not more than `n`, which is not 0.
const fn power_of_two(n: u64) -> u64 {
    1 << n.ilog2()
}

#[cfg(test)]
mod tests;
