//! Running totals (elements 85 and 86): a flow's octets since it began, sent again and again. What counts is the
//! difference from the last record of the same flow.
//!
//! What is the same flow: records that agree in their keys ([`key`]), and in when the flow was. A flow that began when
//! the last one on its keys was over is another one, and counts whole: exporters that end a flow at the active timeout
//! (YAF) count what follows from 0, also where it comes to more than before, and a pair of hosts has one session after
//! the other. Where exporters state times by an absolute clock, begin and end are compared to the millisecond; where
//! times are told from an uptime or the export time they differ by some, and so does what is compared.
//!
//! The first sight of a flow counts whole; so does a total that is smaller than before, because the exporter must have
//! started to count anew. But a smaller total of no later time was overtaken on the way, and counts nothing. A total in
//! four octets that goes from the upper half of its range to the lower one, of a flow that began when it did before, has
//! wrapped, as counters of SNMP do.
//!
//! Where only details differ that may be keys and may not, a record goes on with the flow that is there as long as its
//! totals do not fall. Where they fall there are two flows, which are then followed apart. So such flows count at least
//! what the greatest of them has, and never more than all of them; and what is found out late of one flow (an AS number,
//! an application) never makes it count twice. A template that was announced anew under another number goes on with its
//! flows in the same way.
//!
//! Of two flows on the same keys that are there at once, which only their begins tell apart, each is followed by itself as
//! soon as their totals show that there are two.
//!
//! When a record says that its flow is over (elements 136, 233), or the next flow on its keys has begun, it makes room. It is
//! remembered for a minute or two apart from the others, by its begin, so that its records that were overtaken, or come
//! twice, are known. A record of an earlier flow that is not known counts whole: exporters tell of flows in any order.
//!
//! The table is bounded: it has two generations, and when the younger one is full the older one is forgotten, so a flow
//! that is still reported survives.
//!
//! What was forgotten for want of room must not be counted whole a second time. So the first sight of a flow that is old
//! enough to be one of those counts nothing, as a beginning to take differences from; it is counted as forgotten, which is
//! an alarm. It errs in favour of who has to pay.

mod key;

use std::collections::HashMap;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

pub(super) use self::key::{Key, Keys};
use crate::units::UnixMillis;

/// What the whole seconds of export times and the rounding of starts explain, where times are told from uptimes.
const JITTER_MS: i64 = 2000;

/// For so long after it was exported a record may be overtaken by others, or a copy of it come.
const REORDER_MS: i64 = 60_000;

/// What a counter of four octets can tell apart.
const RANGE: u64 = 1 << 32;

/// One of so many flows may be over and still be remembered.
const ENDED_PART: usize = 8;

/// Octets and packets of a flow since it began, as of its newest record.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Total {
    octets: u64,
    packets: u64,
    /// When the flow began, if the record said so.
    start: Option<UnixMillis>,
    /// End of the flow as of that record.
    end: UnixMillis,
    /// Both as the exporter states them by its own clock.
    span: Option<(UnixMillis, UnixMillis)>,
    /// When the record was exported.
    told: UnixMillis,
    detail: u32,
}

/// How the flow of a record and that of an earlier one on the same keys are related in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Relation {
    /// They began together, as far as that is told: it is one flow.
    Same,
    /// One began while the other was there.
    Overlap,
    /// The record's flow began when the other one was over.
    Next,
    /// The record's flow was over when the other one began: exporters tell of flows in any order, and clocks are set back.
    Former,
}

/// What a record adds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// It is the first one of its flow.
    Whole,
    /// So many octets and packets.
    Added(u64, u64),
    /// A newer record has counted all of it.
    Late,
}

impl Total {
    fn new(report: &Report) -> Self {
        let &Report { octets, packets, times, span, told, detail, .. } = report;
        Self { octets, packets, start: times.start, end: times.end, span, told, detail }
    }

    fn relation(&self, report: &Report) -> Relation {
        if let Some(((own_start, own_end), (start, end))) = self.span.zip(report.span) {
            return if start > own_end || report.continues && start == own_end && start > own_start {
                Relation::Next
            } else if start < own_start && end <= own_start {
                Relation::Former
            } else if start.since(own_start).abs() <= JITTER_MS {
                Relation::Same
            } else {
                Relation::Overlap
            };
        }
        let is_next = |(own, start): (UnixMillis, UnixMillis)| {
            start.since(own) > JITTER_MS && start.since(self.end) >= -JITTER_MS
        };
        if self.start.zip(report.times.start).is_some_and(is_next) { Relation::Next } else { Relation::Same }
    }

    /// True where the records were exported so near each other that one may have overtaken the other.
    fn is_told_with(&self, report: &Report) -> bool {
        report.told.since(self.told).abs() <= REORDER_MS
    }

    /// By how many milliseconds the record's end is later.
    fn later(&self, report: &Report) -> i64 {
        match self.span.zip(report.span) {
            Some(((_, own), (_, end))) => end.since(own),
            None => report.times.end.since(self.end),
        }
    }

    /// What a record adds to the flow. `is_over`: the last one said that there is no more to come.
    fn step(&self, is_over: bool, report: &Report) -> Step {
        let relation = self.relation(report);
        match relation {
            Relation::Next | Relation::Former => return Step::Whole,
            Relation::Same | Relation::Overlap => {}
        }
        let &Report { octets, packets, .. } = report;
        let later = self.later(report);
        let is_known = relation == Relation::Same && self.span.is_some() && report.span.is_some();
        let begins_are_told = self.start.zip(report.times.start).is_some();
        if is_over && !is_known {
            // Nobody says that it is the same flow: only what this one has told already is taken for it.
            let slack = if begins_are_told { JITTER_MS } else { 0 };
            let is_told = octets <= self.octets && packets <= self.packets && later <= slack;
            let is_late = is_told && report.tells_end && self.is_told_with(report);
            return if is_late { Step::Late } else { Step::Whole };
        }
        if octets >= self.octets && packets >= self.packets {
            return Step::Added(octets - self.octets, packets - self.packets);
        }
        if later <= 0 {
            return Step::Late;
        }
        let wrapped = (
            difference(self.octets, octets, report.widths.0),
            difference(self.packets, packets, report.widths.1),
        );
        match wrapped {
            (Some(octets), Some(packets)) if is_known || relation == Relation::Same && begins_are_told => {
                Step::Added(octets, packets)
            }
            _ => Step::Whole,
        }
    }
}

/// What was added to a counter of `width` octets, if it did not begin anew.
fn difference(before: u64, now: u64, width: u8) -> Option<u64> {
    let has_wrapped = width == 4 && (RANGE / 2..RANGE).contains(&before) && now < RANGE / 2;
    now.checked_sub(before).or_else(|| has_wrapped.then(|| now + RANGE - before))
}

/// What a record says of when its flow was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When it began, if that is known.
    pub(super) start: Option<UnixMillis>,
    /// An instant at which it had begun, if one is known: also of a flow that is so long that its start was moved.
    pub(super) begun_by: Option<UnixMillis>,
    pub(super) end: UnixMillis,
}

/// What a record says of its flow, in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    /// Since the flow began.
    pub(super) octets: u64,
    /// The same; 0 where only octets are a total.
    pub(super) packets: u64,
    /// Octets of the fields that hold them.
    pub(super) widths: (u8, u8),
    pub(super) times: Times,
    /// Start and end as stated, by the exporter's own clock: both since 1970, or both since it started.
    pub(super) span: Option<(UnixMillis, UnixMillis)>,
    /// Whether the end is the exporter's word.
    pub(super) tells_end: bool,
    /// When it was exported.
    pub(super) told: UnixMillis,
    /// Nothing more will come of the flow.
    pub(super) over: bool,
    /// The flow goes on where another one was cut off (YAF).
    pub(super) continues: bool,
    /// Of the record's details ([`Keys::key`]).
    pub(super) detail: u32,
}

/// Flows that are over, for as long as one of their records may still come: two generations, by time and by number.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Ended {
    young: HashMap<Key, Total, RandomState>,
    old: HashMap<Key, Total, RandomState>,
    /// When the younger one began.
    since: UnixMillis,
}

impl Ended {
    fn get(&self, key: &Key) -> Option<&Total> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn keep(&mut self, key: Key, total: Total, limit: usize) {
        let is_full = !self.young.contains_key(&key) && self.young.len() >= limit.max(1);
        if is_full || total.told.since(self.since).abs() > REORDER_MS {
            core::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.since = total.told;
        }
        self.young.insert(key, total);
    }
}

/// The totals of all flows of one exporter.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Totals {
    young: HashMap<Key, Total, RandomState>,
    old: HashMap<Key, Total, RandomState>,
    ended: Ended,
    /// Flows forgotten because the table was full, and flows that could be one of those.
    forgotten: u64,
    /// No flow that began later was forgotten.
    forgotten_until: Option<UnixMillis>,
}

impl Totals {
    /// Flows that go on.
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets the older generation, or the only one there is, because the flows of all exporters are too many. False:
    /// there is none.
    pub(super) fn give_way(&mut self) -> bool {
        if self.old.is_empty() {
            core::mem::swap(&mut self.old, &mut self.young);
        }
        let went = self.forget_old();
        self.old = HashMap::default();
        self.ended = Ended::default();
        went
    }

    /// Forgets the older generation, and until when its flows were seen. False: it was empty.
    fn forget_old(&mut self) -> bool {
        let newest = self.old.values().map(|total| total.end).max();
        self.forgotten_until = self.forgotten_until.max(newest);
        self.forgotten += self.old.len() as u64;
        self.old.clear();
        newest.is_some()
    }

    /// Octets and packets since the last record of the flow. At most `limit` flows that go on are remembered, and a quarter as
    /// many entries for those that are over.
    pub(super) fn advance(&mut self, plain: Key, report: &Report, limit: usize) -> (u64, u64) {
        let key = self.apart(plain, report, limit);
        let going = self.young.get(&key).copied().or_else(|| self.old.remove(&key));
        let is_former = going.is_some_and(|total| total.relation(report) == Relation::Former);
        // Flows that go on are those that the exporter tells of by its clock as it is now.
        let is_set_back =
            |total: &Total| is_former && !report.over && total.told.since(report.told) > JITTER_MS;
        let stays = is_former && !going.as_ref().is_some_and(is_set_back);
        let known = going.filter(|_| !is_former).map(|total| (total, false));
        let known = known.or_else(|| self.over(plain, report).map(|total| (total, true)));
        let step = known.map_or(Step::Whole, |(total, is_over)| total.step(is_over, report));
        let begun_by = report.times.begun_by.zip(self.forgotten_until);
        let may_be_forgotten = known.is_none() && begun_by.is_some_and(|(begun, until)| begun <= until);
        if let Some(total) = going
            && (step == Step::Late || stays)
        {
            self.keep(key, total, limit);
        }
        if step == Step::Late {
            return (0, 0);
        }
        if stays {
            self.end(plain, Total::new(report), limit);
        } else if report.over {
            self.young.remove(&key);
            if report.span.is_some() || report.tells_end {
                self.end(plain, Total::new(report), limit);
            }
        } else {
            if let Some(before) = going
                && before.span.is_some()
                && matches!(before.relation(report), Relation::Next | Relation::Former)
            {
                self.end(plain, before, limit);
            }
            self.keep(key, Total::new(report), limit);
        }
        match step {
            Step::Added(octets, packets) => (octets, packets),
            _ if may_be_forgotten => {
                self.forgotten += 1;
                (0, 0)
            }
            _ => (report.octets, report.packets),
        }
    }

    /// The flow of a record, if it is over: the one that began when the record says, or the last one on its keys, if it may
    /// be that.
    fn over(&self, plain: Key, report: &Report) -> Option<Total> {
        let own = report.span.and_then(|(start, _)| self.ended.get(&plain.begun(start)));
        let last = || self.ended.get(&plain);
        own.or_else(|| last().filter(|total| total.relation(report) == Relation::Same)).copied()
    }

    /// Remembers a flow that is over: as the last one on its keys, and by its begin.
    fn end(&mut self, plain: Key, total: Total, limit: usize) {
        let limit = limit / ENDED_PART;
        if let Some((start, _)) = total.span {
            self.ended.keep(plain.begun(start), total, limit);
        }
        self.ended.keep(plain, total, limit);
    }

    /// The key under which the flow of a record is remembered: its own, or the one with its details. Where the record can
    /// be of another flow only, the one that has the key gives way to it, and goes on under the key with its details.
    fn apart(&mut self, key: Key, report: &Report, limit: usize) -> Key {
        if let Some(own) = report.span.map(|(start, _)| key.begun(start))
            && self.going(&own).is_some()
        {
            return own;
        }
        let plain = self.going(&key).copied();
        let is_it = |total: &Total| total.relation(report) == Relation::Same;
        let own = key.with(report.detail);
        let is_plain = plain.is_some_and(|total| total.detail == report.detail && is_it(&total));
        if !is_plain && self.going(&own).or_else(|| self.ended.get(&own)).is_some_and(is_it) {
            return own;
        }
        if let Some(total) = plain
            && total.detail == report.detail
        {
            if let Some((start, _)) = total.span
                && total.relation(report) == Relation::Overlap
                && total.step(false, report) == Step::Whole
            {
                self.set_aside(key, key.begun(start), total, limit);
            }
            return key;
        }
        if let Some(total) = plain
            && total.step(false, report) == Step::Whole
            && total.relation(report) != Relation::Former
        {
            self.set_aside(key, key.with(total.detail), total, limit);
        }
        key
    }

    fn set_aside(&mut self, key: Key, own: Key, total: Total, limit: usize) {
        self.young.remove(&key);
        self.old.remove(&key);
        self.keep(own, total, limit);
    }

    fn going(&self, key: &Key) -> Option<&Total> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Makes a flow one of the younger generation; where that is full it becomes the older one.
    fn keep(&mut self, key: Key, total: Total, limit: usize) {
        if !self.young.contains_key(&key) && self.young.len() >= (limit / 2).max(1) {
            self.forget_old();
            core::mem::swap(&mut self.old, &mut self.young);
        }
        self.young.insert(key, total);
    }
}

#[cfg(test)]
mod tests;
