//! Loss between exporter and us, from sequence numbers.
//!
//! NetFlow v5, v7 and v8 count flow records, v9 and sFlow datagrams, IPFIX data records (options records too, templates
//! not; RFC 7011 3.1).
//! A number ahead of the expected one is a loss, until the missing datagrams arrive late and take it back. A number far
//! ahead or far behind, or an uptime that went back, is an exporter that started anew: no loss.
//!
//! What is to be believed before a datagram is decoded, and in which order it was sent, is told in `place`.
//!
//! A number that is behind, but fills no known gap, changes nothing by itself; when the next number continues it, the
//! exporter started anew. Where one that is far behind was taken for a new beginning, and the numbers before it go on after
//! all, it was a very late datagram: the way back is no loss.
//!
//! Two exporters behind one address that use the same domain look like one that starts anew all the time. They are
//! recognised when the numbers of the one that seemed to have ended go on; from then on there is neither loss nor a new
//! beginning in that domain, until for a long while only one of them was heard.
//!
//! Some IPFIX exporters (softflowd) number a message by the records sent *through* it, not before it as RFC 7011 3.1
//! wants, and leave options records out. They are recognised for each domain, see [`Numbering`].
//!
//! Of a message that cannot be counted it is known what it takes at least and at most, see `gaps`.

mod gaps;
mod place;

use serde::{Deserialize, Serialize};

use crate::flow::Mark;
use crate::units::UnixMillis;

pub(super) use gaps::Count;
use gaps::{Filled, Gaps};
pub(super) use place::Place;
use place::{Doubtful, EndedRun};

/// An uptime that goes back by more than this is a restart; by less, a late datagram.
const UPTIME_BACK_MS: i32 = 60_000;

/// An uptime that goes back while both clocks go on, so that the start has moved by more than this, is a restart soon after
/// a start. No datagram is so long on its way, and no exporter's uptime is so much older than its export time.
const START_MOVED_MS: i64 = 10_000;

/// An uptime that goes back by no more than this is a late datagram's more likely than not.
const LATE_MS: i32 = 2000;

/// After a silence of more than this, an uptime is compared with the time that has passed.
const SILENCE_MS: i64 = 300_000;

/// An uptime that has run so much more than the time that has passed is another run's, modulo 2^32 milliseconds.
const UPTIME_AHEAD_MS: i64 = 86_400_000;

/// Datagrams after a new beginning before another one is believed: where two exporters share an address and a domain,
/// each datagram looks like one.
const STEADY: u8 = 16;

/// A datagram whose uptime is so much later than that of a greater number was not overtaken on its way: the number went
/// back, which it does where the process that exports starts anew and the router runs on.
const LATER_MS: i32 = 1000;

/// Numbers that a sequence may have gone on by, and datagrams that may have come meanwhile, when it is taken up again by
/// another exporter than the one heard since.
const FORMER_AHEAD: u32 = 256;
const FORMER_AGE: u8 = u8::MAX;

/// So many times that makes two exporters.
const SHARED: u8 = 3;

/// So many datagrams one after another, none of which goes back, and it is one exporter again. Many, because of two that
/// share a domain one may be quiet for long, and when it speaks it must not be taken for a new beginning.
const ALONE: u16 = u16::MAX;

/// For an exporter that sends little, so long a time in which all went on from one another is as good: an exporter over
/// UDP says its templates again within half an hour, so the other one has missed two occasions. Two datagrams an hour
/// apart would tell nothing, so a few are needed.
const ALONE_MS: i64 = 3_600_000;
const ALONE_FEW: u16 = 16;

/// Numbers that may be left out between two of them.
const ALONE_AHEAD: u32 = 256;

/// The uptime that a header states, in milliseconds, and when.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Uptime {
    pub(super) millis: u32,
    /// By the exporter's clock.
    pub(super) stated: UnixMillis,
    /// By ours.
    pub(super) received: UnixMillis,
}

impl Uptime {
    /// The uptime of an exporter that tells when it started, by its own clock, at the export time `stated`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^32 is meant")]
    pub(super) fn since(started: UnixMillis, stated: UnixMillis, received: UnixMillis) -> Self {
        Self { millis: stated.since(started) as u32, stated, received }
    }

    /// True where it started when the exporter of `other` did, by its own clock; headers state whole seconds.
    fn is_of_one_run_with(self, other: Self) -> bool {
        let ran = i64::from(self.millis.wrapping_sub(other.millis).cast_signed());
        (ran - self.stated.since(other.stated)).abs() <= i64::from(LATE_MS)
    }

    /// True where the exporter has started anew since `before`: its uptime went back, but not its clock by as much (then
    /// this is an old datagram); or it ran less than the time that has passed during a silence, or impossibly more.
    /// Either clock may have been set meanwhile, so both must say that.
    pub(super) fn began_after(self, before: Self) -> bool {
        let ran = self.millis.wrapping_sub(before.millis);
        if ran == 0 {
            return false;
        }
        if ran.cast_signed() < -UPTIME_BACK_MS {
            let stated = self.stated.since(before.stated);
            return (stated - i64::from(ran.cast_signed())).abs() > i64::from(UPTIME_BACK_MS);
        }
        if ran.cast_signed() < 0 {
            // An old datagram's export time goes back with its uptime. By little, it may be one whatever the clocks say.
            let least = if ran.cast_signed() < -LATE_MS { START_MOVED_MS } else { i64::from(UPTIME_BACK_MS) };
            let moved = |passed: i64| passed - i64::from(ran.cast_signed()) > least;
            return moved(self.stated.since(before.stated)) && moved(self.received.since(before.received));
        }
        let differs = |passed: i64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "modulo 2^32 is meant"
            )]
            let behind = i64::from((passed as u32).wrapping_sub(ran).cast_signed());
            let tolerated = i64::from(UPTIME_BACK_MS) + passed / 1000;
            passed >= 0 && (behind < -UPTIME_AHEAD_MS || passed > SILENCE_MS && behind > tolerated)
        };
        differs(self.received.since(before.received)) && differs(self.stated.since(before.stated))
    }
}

/// What a sequence number counts, and so what a plausible step is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    /// A greater step ahead is a restart.
    restart: u32,
    /// A greater step back is a restart.
    reorder: u32,
}

impl Unit {
    /// Flows or records.
    pub(super) const RECORDS: Self = Self { restart: 1 << 20, reorder: 1 << 13 };
    /// Datagrams.
    pub(super) const DATAGRAMS: Self = Self { restart: 1 << 16, reorder: 1 << 8 };
}

impl Unit {
    /// True where `number` is behind `from`, or, where it is ahead by more than may be lost, small as of one that has begun
    /// at 0: of the numbers beyond 2^31 the way back to 0 is the longer one.
    const fn goes_back(self, from: u32, number: u32) -> bool {
        let (ahead, behind) = (number.wrapping_sub(from), from.wrapping_sub(number));
        behind >= 1 && behind <= u32::MAX / 2 || ahead > self.restart && number < self.restart
    }
}

/// The datagram that is farthest on, where its records could not be counted: what it takes of the numbers behind its own
/// is not known until others go on from there.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Uncounted {
    number: u32,
    count: Count,
    /// Datagrams since that were behind it.
    behind: u8,
}

/// No message has more octets, and so no more records.
const MESSAGE_MAX: u32 = u16::MAX as u32;

/// So many datagrams behind one that could not be counted are late; after that, one is a new beginning.
const BEHIND_UNCOUNTED_MAX: u8 = 16;

/// What a sequence number told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Told {
    /// Newly missing.
    pub(super) lost: u32,
    /// No longer missing.
    pub(super) found: u32,
    /// The exporter started anew.
    pub(super) restarted: bool,
    /// It turned out that two exporters use this domain.
    pub(super) shared: bool,
}

impl From<Filled> for Told {
    fn from(Filled { found, lost }: Filled) -> Self {
        Self { lost, found, ..Self::default() }
    }
}

/// Records of an IPFIX message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    /// Data records, options data too.
    pub(super) all: Count,
    /// Without options data; what they are counts where all could be counted.
    pub(super) flows: u32,
}

/// Messages that only the other way of numbering explains, after which it is believed. One might be a loss that happens
/// to fit; so many, without a message to the contrary between them, are not.
const DOUBTS_MAX: u8 = 3;

/// How an exporter numbers its IPFIX messages: by the records sent before a message, or through it.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Numbering {
    through: bool,
    /// Messages that only the other way explains, since the last one that only this way does.
    doubts: u8,
    /// Loss told since then that the other way would not have told.
    charged: i64,
    /// What is missing by the other way.
    other: Gaps,
    /// The message that is farthest on: its number, and its records, where they could be counted.
    last: Option<(u32, Option<u32>)>,
    begun: bool,
}

/// What a message tells of the way of numbering.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Judged {
    /// It goes on as it was, and the other way would tell so much loss; what it would take back is negative.
    Open(i64),
    /// Only the way that is believed explains it.
    Confirmed,
    /// The other way is right.
    Turned,
}

impl Numbering {
    /// Takes in a message. `fits`: it is late, and fits into what is missing.
    fn judge(&mut self, number: u32, records: Records, fits: bool) -> Judged {
        let all = records.all.exact();
        if !core::mem::replace(&mut self.begun, true) {
            // An exporter's very first message, by its number: a presumption, which one message refutes.
            self.through = all.is_some() && records.flows > 0 && number == records.flows;
            self.doubts = if self.through { DOUBTS_MAX - 1 } else { 0 };
            self.last = Some((number, all));
            return Judged::Open(0);
        }
        let back = self.last.map_or(u32::MAX, |(last, _)| last.wrapping_sub(number));
        if (1..=Unit::RECORDS.reorder).contains(&back) {
            return self.judge_late(number, records, fits);
        }
        // A template that its data may have overtaken has the number of that.
        if (back, all) == (0, Some(0)) {
            return Judged::Open(0);
        }
        let last = self.last.replace((number, all));
        let (Some((before, Some(count))), Some(all)) = (last, all) else { return Judged::Open(0) };
        let step = number.wrapping_sub(before);
        let (own, other) = if self.through { (records.flows, count) } else { (count, records.flows) };
        match (step == own, step == other) {
            (true, false) => return self.confirm(),
            (false, true) => self.doubts += 1,
            // Both explain it, or something is missing: that tells nothing.
            _ => {}
        }
        if self.doubts >= DOUBTS_MAX {
            return Judged::Turned;
        }
        let lost = if step <= Unit::RECORDS.restart { step.saturating_sub(other) } else { 0 };
        let (first, _) = span(!self.through, number, (all, records.flows));
        self.other.note(first.wrapping_sub(lost), lost);
        Judged::Open(i64::from(lost))
    }

    /// A message that others have overtaken says nothing by its step.
    fn judge_late(&mut self, number: u32, records: Records, fits: bool) -> Judged {
        let Some(all) = records.all.exact() else { return Judged::Open(0) };
        let (first, count) = span(!self.through, number, (all, records.flows));
        let other_fits = self.other.fits(first, count);
        let found = self.other.fill(first, Count::exactly(count)).map_or(0, |filled| filled.found);
        if fits && !other_fits { self.confirm() } else { Judged::Open(-i64::from(found)) }
    }

    fn confirm(&mut self) -> Judged {
        (self.doubts, self.charged) = (0, 0);
        Judged::Confirmed
    }
}

/// The number of the first record of a message that has so many records, and flows, and how many numbers it takes.
const fn span(through: bool, number: u32, (all, flows): (u32, u32)) -> (u32, u32) {
    if through { (number.wrapping_sub(flows), flows) } else { (number, all) }
}

/// The sequence of one observation domain.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Sequence {
    /// The number expected next; none at first, and after a datagram whose records could not be counted.
    next: Option<u32>,
    uncounted: Option<Uncounted>,
    /// What would follow a number that was behind without filling a gap.
    odd: Option<u32>,
    /// Where a message that could not be counted was left with a loss behind it, and that loss: another exporter may have
    /// been heard instead.
    leap: Option<(u32, u32)>,
    uptime: Option<Uptime>,
    gaps: Gaps,
    numbering: Numbering,
    /// Datagrams that continued the ones before, since the last that did not.
    in_order: u8,
    /// Datagrams since the exporter was last believed, or not believed, to have started anew; none before that.
    steady: Option<u8>,
    /// Where the sequence was left when it last did not go on.
    former: Option<Former>,
    /// How often it was taken up again there after all. From [`SHARED`] on, two exporters share address and domain, and
    /// nothing that numbers and uptimes say of loss or of a new beginning means anything.
    taken_up: u8,
    /// The datagram that is farthest on, where there is an order: not of what two exporters send.
    head: Option<Mark>,
    /// Messages of which it is not known yet whether they are late or of a new run.
    doubtful: Option<Doubtful>,
    /// The run before the last new beginning that was believed before decoding.
    ended: Option<Box<EndedRun>>,
    /// Datagrams of a shared domain that went on from the one before, one after another.
    alone: u16,
    /// When the first of them came. Not kept over a restart: then it begins anew.
    #[serde(skip)]
    alone_since: Option<UnixMillis>,
}

/// A sequence that was left.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Former {
    next: u32,
    uptime: Option<Uptime>,
    /// Datagrams since.
    age: u8,
}

impl Sequence {
    /// True where two exporters use the domain.
    pub(super) const fn is_shared(&self) -> bool {
        self.taken_up >= SHARED
    }

    /// True where the datagram of this number, which was seen just now, has come behind others that were sent later.
    pub(super) fn is_late(&self, number: u32, unit: Unit) -> bool {
        let is_behind = |next: u32| (2..=unit.reorder).contains(&next.wrapping_sub(number));
        !self.is_shared() && self.next.is_some_and(is_behind)
    }

    /// True where what looks like a new beginning is a sequence that was left a short while ago, and now goes on.
    fn takes_up_former(&self, number: u32, uptime: Option<Uptime>) -> bool {
        self.former.is_some_and(|former| {
            let ended = former.uptime.zip(uptime).is_some_and(|(before, now)| now.began_after(before));
            number.wrapping_sub(former.next) <= FORMER_AHEAD && former.age < FORMER_AGE && !ended
        })
    }

    /// The exporter has started anew, as something else than its numbers says.
    pub(super) fn start_anew(&mut self) {
        self.leave();
        self.begin(None, None);
        (self.steady, self.head, self.doubtful) = (Some(0), None, None);
        self.numbering.last = None;
    }

    /// The next datagram does not go on where this one left off.
    fn leave(&mut self) {
        self.former = self.next.map(|next| Former { next, uptime: self.uptime, age: 0 });
    }

    /// Takes in the number of an IPFIX message with `records`, received at `now`.
    pub(super) fn see_message(&mut self, number: u32, records: Records, now: UnixMillis) -> Told {
        let (first, count) = self.span(number, records);
        if self.is_shared() {
            // Two ways of numbering may be mixed here, and neither could be told.
            self.numbering.last = None;
            return self.see_count(first, count, None, now, Unit::RECORDS);
        }
        let fits = count.exact().is_some_and(|count| self.gaps.fits(first, count));
        let judged = self.numbering.judge(number, records, fits);
        if judged == Judged::Turned {
            return self.turn(number, records);
        }
        if self.numbering.through && records.all.exact().is_none() {
            // It ends before its number, but where it begins, and what is missing there, nobody knows.
            let ahead = self.next.map(|next| number.wrapping_sub(next));
            if ahead.is_some_and(|ahead| ahead <= Unit::RECORDS.restart) {
                (self.next, self.in_order) = (Some(number), 0);
            }
            return Told::default();
        }
        // The first message may have told how it is numbered.
        let (first, count) = self.span(number, records);
        let told = self.see_count(first, count, None, now, Unit::RECORDS);
        if told.restarted {
            // What was farthest on is so no more.
            self.numbering.last = Some((number, records.all.exact()));
            self.numbering.charged = 0;
        } else if let Judged::Open(other) = judged {
            self.numbering.charged += i64::from(told.lost) - i64::from(told.found) - other;
        }
        told
    }

    /// The exporter numbers the other way: what was told of loss by the one is taken back, and what is missing by the
    /// other may still come.
    fn turn(&mut self, number: u32, records: Records) -> Told {
        let Numbering { through, charged, ref mut other, last, .. } = self.numbering;
        let (missing, was) = (core::mem::take(other), core::mem::take(&mut self.gaps));
        self.begin(None, None);
        self.gaps = missing;
        self.numbering =
            Numbering { through: !through, last, begun: true, other: was, ..Numbering::default() };
        let (first, count) = self.span(number, records);
        self.expect(first, count, None);
        let part = |n: i64| u32::try_from(n).unwrap_or(0);
        Told { lost: part(-charged), found: part(charged), ..Told::default() }
    }

    /// The number of a message's first record, and how many numbers it takes.
    fn span(&self, number: u32, records: Records) -> (u32, Count) {
        let Some(all) = records.all.exact() else { return (number, records.all) };
        let (first, count) = span(self.numbering.through, number, (all, records.flows));
        (first, Count::exactly(count))
    }

    /// Of the message with this number a set that waited, of so many octets, has `records`: what is missing behind it, as
    /// far as that is known now. `None` where the message is not known.
    pub(super) fn settle(&mut self, number: u32, octets: u32, records: u32) -> Option<Told> {
        let Some(head) = self.uncounted.as_mut().filter(|head| head.number == number) else {
            let lost = self.gaps.settle(number, octets, records)?;
            return Some(Told { lost, ..Told::default() });
        };
        head.count.settle(octets, records);
        if let Some(count) = head.count.exact() {
            (self.next, self.uncounted, self.in_order) = (Some(number.wrapping_add(count)), None, 0);
        }
        Some(Told::default())
    }

    /// Takes in the number of a datagram that has `count` units and was received at `now`.
    pub(super) fn see(
        &mut self,
        number: u32,
        count: u32,
        uptime: Option<Uptime>,
        now: UnixMillis,
        unit: Unit,
    ) -> Told {
        self.see_count(number, Count::exactly(count), uptime, now, unit)
    }

    /// The same where the units may not be known.
    fn see_count(
        &mut self,
        number: u32,
        count: Count,
        uptime: Option<Uptime>,
        now: UnixMillis,
        unit: Unit,
    ) -> Told {
        if self.is_shared() {
            self.see_shared(number, count.exact(), uptime, now);
            return Told::default();
        }
        if let Some(former) = &mut self.former {
            former.age = former.age.saturating_add(1);
        }
        let went_back = self.uptime.zip(uptime).is_some_and(|(before, now)| now.began_after(before));
        let after = count.exact().map(|count| number.wrapping_add(count));
        let Some(expected) = self.next.filter(|_| !went_back) else {
            if went_back {
                return self.begin_anew(number, after, uptime);
            }
            return self.go_on_uncounted(number, count, uptime, unit);
        };
        let ahead = number.wrapping_sub(expected);
        let behind = expected.wrapping_sub(number);
        if ahead <= unit.restart {
            if let Some(lost) = self.resumes(number, ahead, uptime) {
                self.resume(number, lost, after, uptime);
                return Told { lost, ..Told::default() };
            }
            self.in_order =
                if ahead == 0 { self.in_order.saturating_add(u8::from(count.exact() != Some(0))) } else { 0 };
            if ahead > 0 {
                self.leave();
                self.gaps.note(expected, ahead);
            }
            self.expect(number, count, uptime);
            return Told { lost: ahead, ..Told::default() };
        }
        if behind <= unit.reorder && self.odd != Some(number) {
            // A late IPFIX message with templates only fills nothing, and what follows it is no new beginning.
            if count.exact() == Some(0) {
                return Told::default();
            }
            let filled = self.fill(number, count);
            self.odd = if filled.is_none() { after } else { None };
            return filled.unwrap_or_default();
        }
        self.begin_anew(number, after, uptime)
    }

    /// The same where nothing is known of what comes next: at first, and behind a datagram that could not be counted.
    fn go_on_uncounted(&mut self, number: u32, count: Count, uptime: Option<Uptime>, unit: Unit) -> Told {
        let Some(before) = &mut self.uncounted else {
            self.begin(None, uptime);
            self.expect(number, count, uptime);
            return Told::default();
        };
        let ahead = number.wrapping_sub(before.number);
        if before.number.wrapping_sub(number) <= unit.reorder && before.behind < BEHIND_UNCOUNTED_MAX {
            // Late, or a template that its data has overtaken.
            before.behind += 1;
            let filled = if count.exact() == Some(0) { None } else { self.fill(number, count) };
            return filled.unwrap_or_default();
        }
        let (left, taken) = (before.number, before.count);
        let mut told = Told::default();
        if ahead > unit.restart {
            told.found = self.take_leap_back(number);
            self.begin(None, uptime);
            self.numbering.last = None;
        } else if let Some(lost) = self.resumes(number, ahead, uptime) {
            told.lost = lost;
            self.gaps.note(number.wrapping_sub(lost), lost);
        } else {
            told.lost = self.gaps.note_behind(left, taken, number);
            if told.lost > 0 && self.leap.is_none_or(|(_, lost)| told.lost > lost) {
                self.leap = Some((left.wrapping_add(taken.least), told.lost));
            }
        }
        self.in_order = 0;
        self.expect(number, count, uptime);
        told
    }

    /// What seemed to be missing behind a message that could not be counted, where its numbers go on after all.
    fn take_leap_back(&mut self, number: u32) -> u32 {
        let Some((from, _)) = self.leap.take().filter(|&(from, _)| number.wrapping_sub(from) <= FORMER_AHEAD)
        else {
            return 0;
        };
        let behind = self.gaps.told().map(|gap| (gap.start.wrapping_sub(from), gap.len));
        behind.filter(|&(far, _)| far <= MESSAGE_MAX).min().map_or(0, |(_, len)| len)
    }

    /// A datagram is the one that is farthest on.
    fn expect(&mut self, number: u32, count: Count, uptime: Option<Uptime>) {
        let after = count.exact().map(|count| number.wrapping_add(count));
        (self.next, self.odd, self.uptime) = (after, None, uptime);
        self.uncounted = if after.is_none() { Some(Uncounted { number, count, behind: 0 }) } else { None };
    }

    /// What a late datagram tells that fills a gap.
    fn fill(&mut self, number: u32, count: Count) -> Option<Told> {
        self.gaps.fill(number, count).map(Told::from)
    }

    /// What is missing where a number that is `ahead` goes on from before the last new beginning, so that this was none: a
    /// datagram came later than any that is late, or another exporter was heard. What lies between is not missing. Of a
    /// gap, what was left is behind what was expected since, and never nearer.
    fn resumes(&self, number: u32, ahead: u32, uptime: Option<Uptime>) -> Option<u32> {
        let former = self.former.filter(|_| ahead > 0 && self.takes_up_former(number, uptime))?;
        let lost = number.wrapping_sub(former.next);
        (lost < ahead).then_some(lost)
    }

    /// Goes on there, with what is `lost` before `number`.
    fn resume(&mut self, number: u32, lost: u32, after: Option<u32>, uptime: Option<Uptime>) {
        self.leave();
        self.begin(after, uptime);
        self.gaps.note(number.wrapping_sub(lost), lost);
    }

    /// A new beginning, or another exporter that goes on.
    fn begin_anew(&mut self, number: u32, after: Option<u32>, uptime: Option<Uptime>) -> Told {
        let (is_taken_up, left) = (self.takes_up_former(number, uptime), self.former);
        // One that was shared before needs no more than a sign.
        let is_sign = is_taken_up || self.taken_up == SHARED - 1;
        self.taken_up = self.taken_up.saturating_add(u8::from(is_sign));
        // What seemed to be missing where the other one was heard instead was not.
        let at_former = |start| is_taken_up && left.is_some_and(|former| former.next == start);
        let leap = self.take_leap_back(number);
        let found = self.gaps.told().find(|gap| at_former(gap.start)).map_or(leap, |gap| gap.len);
        self.leave();
        self.begin(after, uptime);
        // Numbers of before say nothing of the order from here on.
        self.head = None;
        Told { restarted: true, shared: self.is_shared(), found, ..Told::default() }
    }

    /// Numbers of a domain that two exporters share tell only whether there are still two of them.
    fn see_shared(&mut self, number: u32, count: Option<u32>, uptime: Option<Uptime>, now: UnixMillis) {
        if self.next.is_some_and(|next| number.wrapping_sub(next) <= ALONE_AHEAD) {
            self.alone += 1;
        } else {
            (self.alone, self.alone_since) = (0, None);
        }
        let since = *self.alone_since.get_or_insert(now);
        self.next = count.map(|count| number.wrapping_add(count));
        self.uptime = uptime;
        if self.alone == ALONE || self.alone >= ALONE_FEW && now.since(since) >= ALONE_MS {
            // The first sign of the other one makes it shared again.
            (self.alone, self.alone_since, self.taken_up) = (0, None, SHARED - 1);
            (self.former, self.steady) = (None, Some(0));
            self.begin(self.next, uptime);
        }
    }

    fn begin(&mut self, next: Option<u32>, uptime: Option<Uptime>) {
        (self.next, self.odd, self.uptime, self.in_order) = (next, None, uptime, 0);
        (self.uncounted, self.leap) = (None, None);
        self.gaps.clear();
        self.numbering.other.clear();
    }
}
