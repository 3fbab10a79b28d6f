//! Where a datagram of v9 or IPFIX stands among those of its domain, asked before it is decoded: what it defines and
//! states may be older than what is known already, and what is known may be of a run of the exporter that has ended.
//!
//! - **It goes on**, or nothing tells that it does not: what it says is the newest.
//! - **It was overtaken**: it fills a known gap, or was sent earlier, by its uptime or its export time, than the datagram
//!   that is farthest on. Then it is compared with what was said since ([`Order`]).
//! - **The exporter has started anew**: see [`Sequence::is_sign`]. Nothing said before may be used to read it.
//! - **It is doubtful**: an IPFIX message that goes back by less than reordering may, fills no gap, and has the export
//!   second of the one that is farthest on, where all was in order. It was long on its way, or it is the first one heard
//!   of a new run. The next message tells: one that goes on from it shows a new run, any other one that it was a stray.
//!   Its data waits until then, no longer than for a few messages.
//!
//! - **It is of the run that has ended**: it was sent before the new one was first heard, by its export time, and goes on from
//!   the uptime or the numbers of the former one rather than from those of the new one. It is read as the former one was, and
//!   says nothing of what is missing.
//!
//! What stays unknown: an exporter that starts anew, whose first messages are lost, within the second in which it ended,
//! while messages were missing already, or with numbers that go on from the old ones.

use serde::{Deserialize, Serialize};

use super::{Gaps, LATER_MS, Records, SHARED, STEADY, Sequence, Told, Unit, Uptime};
use crate::flow::{Mark, Order};

/// An IPFIX message with a smaller number that states an export time so much later was sent later: the number went back.
/// Header times are whole seconds, so that is more than one.
const SENT_LATER_MS: i64 = 2000;

/// No datagram is longer on its way. An export time that is further back is of a clock that was set.
const ON_ITS_WAY_MS: i64 = 60_000;

/// Doubtful messages in a row, after which numbers tell nothing and all is read.
const DOUBTFUL_MAX: u8 = 8;

/// What is to be done before a datagram is decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::decode) enum Place {
    /// Nothing: [`Sequence::order`] says where it stands.
    Known,
    /// What is not defined in it, or in doubtful ones before it, waits.
    Doubtful,
    /// Nothing said before may be used to read it.
    Anew(Told),
    /// Only what was said before the last new beginning may be used to read it.
    Former,
}

/// The run before the last new beginning.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct EndedRun {
    next: Option<u32>,
    uptime: Option<Uptime>,
    /// What was missing of it, and may still come.
    pub(super) gaps: Gaps,
    /// The first datagram heard of the new one.
    followed_by: Mark,
}

/// Messages that went back for no known reason.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Doubtful {
    /// The number of the last one.
    last: u32,
    /// How many in a row.
    count: u8,
}

impl Sequence {
    /// Asked before a datagram is decoded.
    pub(in crate::decode) fn place(&mut self, at: Mark, uptime: Option<Uptime>, unit: Unit) -> Place {
        if self.is_of_ended_run(at, uptime, unit) {
            return Place::Former;
        }
        if self.is_sign(at, uptime, unit) {
            return self.believe(at, uptime);
        }
        self.steady = self.steady.map(|steady| steady.saturating_add(1));
        let Some(head) = self.head.filter(|_| !self.is_shared()) else { return self.go_on(at) };
        let behind = head.number.wrapping_sub(at.number);
        if behind > unit.reorder {
            return self.go_on(at);
        }
        if self.is_earlier(at, head, uptime) || behind > 0 && self.is_missing(at.number) {
            self.doubtful = None;
            return Place::Known;
        }
        if uptime.is_some() || behind == 0 || self.next.is_none() || self.in_order < 2 {
            return self.go_on(at);
        }
        match self.doubtful {
            // It goes on from one that was doubtful.
            Some(Doubtful { last, .. }) if (1..=unit.reorder).contains(&at.number.wrapping_sub(last)) => {
                self.believe(at, uptime)
            }
            Some(Doubtful { count: DOUBTFUL_MAX.., .. }) => self.go_on(at),
            _ if self.takes_up_former(at.number, uptime) => self.go_on(at),
            before => {
                let count = before.map_or(1, |before| before.count + 1);
                self.doubtful = Some(Doubtful { last: at.number, count });
                Place::Doubtful
            }
        }
    }

    /// What a datagram of the run that has ended tells: it may have been missing.
    pub(in crate::decode) fn see_former(&mut self, number: u32, records: Records) -> Told {
        let (number, count) = self.span(number, records);
        let filled = self.ended.as_mut().and_then(|ended| ended.gaps.fill(number, count));
        filled.map_or_else(Told::default, Told::from)
    }

    /// True from a doubtful datagram until one that is not.
    pub(in crate::decode) const fn is_in_doubt(&self) -> bool {
        self.doubtful.is_some()
    }

    /// Where what a datagram says stands among all that its domain has said.
    pub(in crate::decode) fn order(&self, stream: u64, at: Mark) -> Order {
        // Of one that may be of a new run, all is the newest.
        Order { stream, at, head: self.head.filter(|&head| head != at && self.doubtful.is_none()) }
    }

    /// The same of a message without data records. Its number says how many there were before it (RFC 7011 3.1), so it was sent
    /// before the one of this number that has some. All must have been in order, and nothing spoken for numbers through messages.
    pub(in crate::decode) fn order_without_records(&self, stream: u64, at: Mark) -> Order {
        let order = self.order(stream, at);
        let has_records = |next: u32| (1..=Unit::RECORDS.reorder).contains(&next.wrapping_sub(at.number));
        let is_overtaken = self.head == Some(at)
            && self.doubtful.is_none()
            && self.in_order >= 2
            && (!self.numbering.through && self.numbering.doubts == 0)
            && self.next.is_some_and(has_records);
        if !is_overtaken {
            return order;
        }
        // Export times are whole seconds: nothing else stands there.
        Order { at: Mark { stated: at.stated.plus(-1), ..at }, head: Some(at), ..order }
    }

    /// It is the newest, as far as anybody knows. Of two exporters in one domain there is no order.
    fn go_on(&mut self, at: Mark) -> Place {
        self.doubtful = None;
        self.head = (!self.is_shared()).then_some(at);
        Place::Known
    }

    /// True where a datagram that is not ahead was sent before the one that is farthest on.
    fn is_earlier(&self, at: Mark, head: Mark, uptime: Option<Uptime>) -> bool {
        let by = match self.uptime.zip(uptime) {
            Some((before, now)) => i64::from(before.millis.wrapping_sub(now.millis).cast_signed()),
            None => head.stated.since(at.stated),
        };
        (1..=ON_ITS_WAY_MS).contains(&by)
    }

    /// True where the number is one of those that are missing. Those who number through a message end there.
    fn is_missing(&self, number: u32) -> bool {
        let number = number.wrapping_sub(u32::from(self.numbering.through));
        self.gaps.iter().any(|gap| number.wrapping_sub(gap.start) < gap.len)
    }

    /// True where a datagram looks like one of an exporter that has started anew. More is needed for that than to give up
    /// counting what is missing: an uptime that went back; or, where there is an uptime, a number that went back while it
    /// ran on; or, where there is none, a number that went back while the export time did not; or one far behind, or the
    /// number 0 where it is not late.
    fn is_sign(&self, at: Mark, uptime: Option<Uptime>, unit: Unit) -> bool {
        if self.uptime.zip(uptime).is_some_and(|(before, now)| now.began_after(before)) {
            return true;
        }
        let has_uptimes = self.uptime.is_some() && uptime.is_some();
        let is_sent_later = self.is_sent_later(at, uptime);
        // What is missing may be late, but not sent after what is farthest on.
        if !is_sent_later && self.is_missing(at.number) {
            return false;
        }
        let by_number = self.in_order >= 2
            && self.next.is_some_and(|expected| {
                let (ahead, behind) = (at.number.wrapping_sub(expected), expected.wrapping_sub(at.number));
                let went_back =
                    if has_uptimes { is_sent_later } else { at.number == 0 || behind > unit.reorder };
                ahead > unit.restart && went_back && unit.goes_back(expected, at.number)
            });
        // Whoever numbers badly goes back at any time, which `believe` tells by how often that happens.
        let by_export_time = uptime.is_none()
            && self.head.is_some_and(|head| is_sent_later && unit.goes_back(head.number, at.number));
        by_number || by_export_time
    }

    /// True where a datagram was sent after the one that is farthest on, by its uptime, or by its export time.
    fn is_sent_later(&self, at: Mark, uptime: Option<Uptime>) -> bool {
        match self.uptime.zip(uptime) {
            Some((before, now)) => now.millis.wrapping_sub(before.millis).cast_signed() >= LATER_MS,
            None => self.head.is_some_and(|head| at.stated.since(head.stated) >= SENT_LATER_MS),
        }
    }

    /// True where a datagram was sent before the last new beginning: see [`EndedRun`].
    fn is_of_ended_run(&self, at: Mark, uptime: Option<Uptime>, unit: Unit) -> bool {
        let Some(ended) = self.ended.as_ref().filter(|_| !self.is_shared()) else { return false };
        if !(1..=ON_ITS_WAY_MS).contains(&ended.followed_by.stated.since(at.stated)) {
            return false;
        }
        if let (Some(former), Some(new), Some(now)) = (ended.uptime, self.uptime, uptime) {
            let (is_formers, is_news) = (now.is_of_one_run_with(former), now.is_of_one_run_with(new));
            if is_formers != is_news {
                return is_formers;
            }
        }
        // The uptime runs on, or there is none: whose number is nearer.
        let apart = |number: u32| number.wrapping_sub(at.number).min(at.number.wrapping_sub(number));
        let news = self.next.map_or(u32::MAX, apart).min(apart(ended.followed_by.number));
        ended.next.is_some_and(|next| apart(next) < news && apart(next) <= unit.reorder)
    }

    /// Believes a sign of a new beginning, where that is not seen all the time.
    fn believe(&mut self, at: Mark, uptime: Option<Uptime>) -> Place {
        let is_steady = self.steady.replace(0).is_none_or(|steady| steady >= STEADY);
        // After two takings-up, or where two exporters once were, it is rather the other one.
        if !is_steady || self.taken_up >= SHARED - 1 || self.takes_up_former(at.number, uptime) {
            return self.go_on(at);
        }
        let (next, former, gaps) = (self.next, self.uptime, self.gaps.clone());
        let told = self.begin_anew(at.number, None, uptime);
        let gaps = if told.found == 0 { gaps } else { Gaps::default() };
        self.ended = Some(Box::new(EndedRun { next, uptime: former, gaps, followed_by: at }));
        self.numbering.last = None;
        self.go_on(at);
        Place::Anew(told)
    }
}
