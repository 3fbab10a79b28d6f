//! Running totals (elements 85 and 86): a flow's octets since it began, sent again and again. What counts is the
//! difference from the last record of the same flow, in the time since that one's end.
//!
//! What is the same flow: records that agree in their keys ([`key`]), and in when the flow was. A flow that began when
//! the last one on its keys was over is another one, and counts whole: exporters that end a flow at the active timeout
//! (YAF) count what follows from 0, also where it comes to more than before, and a pair of hosts has one session after
//! the other. Where exporters state times by an absolute clock, or by an uptime of which it is known when it began
//! (NetFlow v9; IPFIX with element 160), begin and end are compared to the millisecond. Where they are told from the
//! export time (158 and 159, or an end and a duration) they differ by some, and so does what is compared: sessions
//! that follow each other within two seconds are taken for one flow there, whose greatest total counts, until a total that
//! falls shows that there are two. These are then followed apart, and a record is of the one to which it adds less.
//!
//! The first sight of a flow counts whole; so does a total that is smaller than before, because the exporter must have
//! started to count anew. But a smaller total of no later time was overtaken on the way, and counts nothing. A total in
//! four octets that goes from the upper half of its range to the lower one, of a flow that began when it did before, has
//! wrapped, as counters of SNMP do; so has one that falls while the other counter of the flow grows by enough packets.
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
//! Two records of one export time that agree in keys, begin and end are two tellings of one flow, by what element 85 is
//! (octets since metering began, of all packets with these keys); or of two flows which something tells apart that the
//! exporter keeps to itself. No record says which, and to bill the same packets twice is worse than to bill some not: the
//! greater total counts, and what the other one claims is counted as unclear ([`Totals::unclear`]). So it is where a flow that
//! was said to be over is told again as over, with the same begin and end.
//!
//! The table is bounded: it has two generations, and when the younger one is full the older one is forgotten, so a flow
//! that is still reported survives.
//!
//! What was forgotten for want of room must not be counted whole a second time. So the first sight of a flow that is old
//! enough to be one of those counts nothing, as a beginning to take differences from; it is counted as forgotten, which is
//! an alarm. It errs in favour of who has to pay.

mod key;
mod step;

use std::collections::HashMap;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

pub(super) use self::key::{Key, Keys};
use self::step::{JITTER_MS, Relation, Step, Total};
pub(super) use self::step::{Report, Times};
use crate::units::UnixMillis;

/// For so long after it was exported a record may be overtaken by others, or a copy of it come.
const REORDER_MS: i64 = 60_000;

/// One of so many flows may be over and still be remembered.
const ENDED_PART: usize = 8;

/// What a record adds to what was counted of its flow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Added {
    pub(super) octets: u64,
    pub(super) packets: u64,
    /// The end of the flow as of the record that it is the difference from: nothing of it was before.
    pub(super) since: Option<UnixMillis>,
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

    /// `now`: export time of the record that tells that the flow is over, which may be long after its own last one. A
    /// clock that goes back forgets nothing, because those of line cards may differ: only room does until it comes there.
    fn keep(&mut self, key: Key, total: Total, now: UnixMillis, limit: usize) {
        let is_full = !self.young.contains_key(&key) && self.young.len() >= limit.max(1);
        if is_full || now.since(self.since) > REORDER_MS {
            core::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.since = self.since.max(now);
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
    unclear: Unclear,
}

/// Records that may be of flows of their own, and added less than they claim because nothing shows it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Unclear {
    pub(super) records: u64,
    /// What they claim and did not add.
    pub(super) octets: u64,
}

impl Totals {
    /// Flows that go on.
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn unclear(&self) -> Unclear {
        self.unclear
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

    /// What came to the flow since its last record. At most `limit` flows that go on are remembered, and a quarter as
    /// many entries for those that are over.
    pub(super) fn advance(&mut self, plain: Key, report: &Report, limit: usize) -> Added {
        let (key, aside) = self.apart(plain, report, limit);
        let Some(key) = self.of_two(key, report, limit) else {
            self.doubt(Step::Late, report);
            return Added::default();
        };
        let going = self.young.get(&key).copied().or_else(|| self.old.remove(&key));
        let relation = going.map(|total| total.relation(report));
        let (known, stays) = self.known((key, plain), going.zip(relation), report);
        let step = known.map_or(Step::Whole, |(total, is_over)| total.step(is_over, report));
        if let Some((total, is_over)) = known
            && total.is_alike(is_over, report)
        {
            self.doubt(step, report);
        }
        let begun_by = report.times.begun_by.zip(self.forgotten_until);
        // What went before on its keys says nothing of it.
        let is_first = known.is_none() || going.is_none() && step == Step::Whole;
        let may_be_forgotten = is_first && begun_by.is_some_and(|(begun, until)| begun <= until);
        if let Some(total) = going
            && (step == Step::Late || stays)
        {
            self.keep(key, total, limit);
        }
        if step == Step::Late {
            return Added::default();
        }
        let mut now = Total { aside, ..Total::new(report) };
        if let (Some((total, _)), Step::Added(..)) = (known, step) {
            now.aside = now.aside.or(total.aside);
            // A template without it does not make it unknown.
            now.start = now.start.or(total.start);
        }
        match (going.zip(relation), report.span) {
            // One that was over, beside that which has its keys now, and goes on after all.
            (Some((_, Relation::Next | Relation::Overlap)), Some((start, _))) if stays && !report.over => {
                self.keep(plain.begun(start), now, limit);
            }
            // The same without a span, which takes its keys back.
            (Some((before, Relation::Next)), None) if stays && !report.over => {
                self.end((key, plain), before, report.told, limit);
                self.keep(key, now, limit);
            }
            _ if stays => self.end((key, plain), now, report.told, limit),
            (before, _) => {
                if let Some((before, Relation::Next | Relation::Former)) = before {
                    self.end((key, plain), before, report.told, limit);
                }
                if !report.over {
                    self.keep(key, now, limit);
                } else {
                    self.young.remove(&key);
                    self.end((key, plain), now, report.told, limit);
                }
            }
        }
        match step {
            Step::Added(octets, packets) => {
                Added { octets, packets, since: known.map(|(total, _)| total.end) }
            }
            _ if may_be_forgotten => {
                self.forgotten += 1;
                Added::default()
            }
            _ => Added { octets: report.octets, packets: report.packets, since: None },
        }
    }

    /// What is known of the flow of a record, and whether that was over; and whether the one that goes on under its key is
    /// another one, and stays there.
    fn known(
        &self,
        keys: (Key, Key),
        going: Option<(Total, Relation)>,
        report: &Report,
    ) -> (Option<(Total, bool)>, bool) {
        let as_over = |total| (total, true);
        let Some((total, relation)) = going else {
            return (self.over(keys, report).map(as_over), false);
        };
        if relation == Relation::Same {
            // Or it goes on with one that was over when this one was not told yet.
            let is_late = |last: &&Total| {
                last.relation(report) == Relation::Same && last.step(true, report) == Step::Late
            };
            let former = self.ended.get(&keys.1).filter(|_| total.told_later(report) < 0).filter(is_late);
            let is_former = report.span.is_none() && report.octets > total.octets;
            return match former.filter(|_| is_former) {
                Some(&former) => (Some(as_over(former)), true),
                None => (Some((total, false)), false),
            };
        }
        // A flow that is over and began exactly then is the record's, rather than one that only has its keys.
        let own = self.begun(keys, report).or_else(|| self.superseded(keys.1, report));
        if own.is_some() {
            return (own.map(as_over), true);
        }
        if relation != Relation::Former {
            return (Some((total, false)), false);
        }
        // Flows that go on are those that the exporter tells of by its clock as it is now.
        let own = self.over(keys, report);
        let is_set_back = own.is_none() && !report.over && total.told.since(report.told) > JITTER_MS;
        (own.map(as_over), !is_set_back)
    }

    /// The flow of a record, if it is over: the one that began when the record says, or the last one on its keys, if it may
    /// be that.
    fn over(&self, keys: (Key, Key), report: &Report) -> Option<Total> {
        let last = self.ended.get(&keys.1).filter(|total| total.relation(report) == Relation::Same);
        self.begun(keys, report).or_else(|| last.copied()).or_else(|| self.superseded(keys.1, report))
    }

    /// The flow of a record that states no span, where others have had its keys since.
    fn superseded(&self, plain: Key, report: &Report) -> Option<Total> {
        let may_be = |total: &&Total| total.relation(report) == Relation::Same;
        self.ended.get(&plain.second()).filter(may_be).filter(|_| report.span.is_none()).copied()
    }

    /// The flow that is over and began when the record says, of those with its details if there are several.
    fn begun(&self, (key, plain): (Key, Key), report: &Report) -> Option<Total> {
        let (start, _) = report.span?;
        let began = |total: &&Total| total.span.is_some_and(|(own, _)| own == start);
        let own = Some(key).filter(|&key| key != plain).and_then(|key| self.ended.get(&key)).filter(began);
        own.or_else(|| self.ended.get(&plain.begun(start)).filter(began)).copied()
    }

    /// Remembers a flow that is over: as the last one on its keys, by its begin, and by its details where it had to be told
    /// apart by them. Of two that began together the begin is that of the one which had the keys.
    fn end(&mut self, (key, plain): (Key, Key), total: Total, now: UnixMillis, limit: usize) {
        let limit = limit / ENDED_PART;
        if let Some((start, _)) = total.span {
            let begun = plain.begun(start);
            if key == plain || self.ended.get(&begun).is_none() {
                self.ended.keep(begun, total, now, limit);
            }
        }
        if key != plain {
            self.ended.keep(key, total, now, limit);
        }
        // What was said to be over must not push out one that may still be told of, where no begin tells them apart.
        if total.span.is_some() || total.over {
            let last = self.ended.get(&plain).copied();
            self.ended.keep(plain, total, now, limit);
            // The last one before is superseded in its turn.
            let is_another = |last: &Total| last.span.is_none() && last.start != total.start;
            if let Some(last) = last.filter(is_another) {
                self.supersede(plain, last, now, limit);
            }
            return;
        }
        self.supersede(plain, total, now, limit);
    }

    /// Remembers a flow without a span beside the last one on its keys. Of several one stays that was not said to be over,
    /// since its last record would count for more; of those the greatest.
    fn supersede(&mut self, plain: Key, total: Total, now: UnixMillis, limit: usize) {
        let superseded = plain.second();
        let weight = |total: &Total| (!total.over, total.octets);
        if self.ended.get(&superseded).is_none_or(|other| weight(other) <= weight(&total)) {
            self.ended.keep(superseded, total, now, limit);
        }
    }

    /// Counts what a record claims beyond what it added.
    fn doubt(&mut self, step: Step, report: &Report) {
        let left = match step {
            Step::Whole => return,
            // One that has wrapped has come to more than it claims.
            Step::Added(octets, _) => report.octets.saturating_sub(octets),
            Step::Late => report.octets,
        };
        self.unclear.records += 1;
        self.unclear.octets = self.unclear.octets.saturating_add(left);
    }

    /// The key under which the flow of a record is remembered: its own, or the one with its details. Where the record can
    /// be of another flow only, the one that has the key gives way to it, and goes on under the key with its details: these.
    fn apart(&mut self, key: Key, report: &Report, limit: usize) -> (Key, Option<u32>) {
        if let Some(own) = report.span.map(|(start, _)| key.begun(start))
            && self.going(&own).is_some()
        {
            return (own, None);
        }
        if let Some(own) = self.aside(key, report) {
            return (own, None);
        }
        let plain = self.going(&key).copied();
        let is_it = |total: &Total| total.relation(report) == Relation::Same;
        let own = key.with(report.detail);
        let is_plain = plain.is_some_and(|total| total.detail == report.detail && is_it(&total));
        let known = self.going(&own).map(|total| (total, false));
        let known = known.or_else(|| self.ended.get(&own).map(|total| (total, true)));
        if let Some((total, is_over)) = known.filter(|(total, _)| !is_plain && is_it(total)) {
            // A flow with these details is over if its totals fall where those of the one that has the key do not.
            let goes_on =
                |plain: Total| is_it(&plain) && matches!(plain.step(false, report), Step::Added(..));
            if total.step(is_over, report) != Step::Whole || !plain.is_some_and(goes_on) {
                return (own, None);
            }
        }
        if let Some(total) = plain
            && total.detail == report.detail
        {
            if let Some(((start, _), (other, _))) = total.span.zip(report.span)
                && matches!(total.relation(report), Relation::Overlap | Relation::Same)
                && start != other
                && total.step(false, report) == Step::Whole
            {
                self.set_aside(key, key.begun(start), total, limit);
            }
            return (key, None);
        }
        let mut aside = None;
        if let Some(total) = plain
            && total.step(false, report) == Step::Whole
            && total.relation(report) != Relation::Former
        {
            // By its begin, where that tells it from this one: what differs may yet be found out of it as well.
            let begin = total.span.zip(report.span).filter(|((own, _), (start, _))| own != start);
            let begun = begin.map(|((own, _), _)| key.begun(own)).filter(|begun| self.going(begun).is_none());
            aside = Some(total.detail).filter(|_| begun.is_none());
            self.set_aside(key, begun.unwrap_or_else(|| key.with(total.detail)), total, limit);
        }
        (key, aside)
    }

    /// The key of the flow that gave way to the one which has the key, or had it last, if the record is of that by its begin:
    /// its details may have been found out since.
    fn aside(&self, key: Key, report: &Report) -> Option<Key> {
        let last = self.going(&key).or_else(|| self.ended.get(&key))?;
        let own = key.with(last.aside?);
        let is_it = last.relation(report) == Relation::Former
            && self.going(&own).is_some_and(|total| total.relation(report) == Relation::Same);
        is_it.then_some(own)
    }

    /// The key under which a record's flow goes on, of two on the same keys that began too near each other for what is known
    /// of their begins. That there are two shows where a total falls; from then on a record is of the one to which it adds
    /// less, so that neither of them counts again what it told before. Without any begin, what falls has begun anew; but
    /// where it is over at once, of an exporter that says so, the other one goes on. `None`: it would be a third one.
    fn of_two(&mut self, key: Key, report: &Report, limit: usize) -> Option<Key> {
        // Of sessions within one second, by a clock that tells no more, none need be there together.
        if report.span.is_some_and(|(start, end)| start.0 % 1000 == 0 && end.0 % 1000 == 0) {
            return Some(key);
        }
        let second = key.second();
        let [first, other] = [key, second].map(|key| self.going(&key).copied());
        let is_it = |total: &Total| {
            let begins = total.span.zip(report.span);
            total.relation(report) == Relation::Same
                && begins.is_none_or(|((own, _), (start, _))| own == start)
        };
        let step = |total: Option<Total>| total.filter(is_it).map(|total| total.step(false, report));
        match (step(first), step(other)) {
            (Some(Step::Added(less, _)), Some(Step::Added(more, _))) if more < less => return Some(second),
            (Some(Step::Added(..)), _) => return Some(key),
            (_, Some(Step::Added(..))) => return Some(second),
            (Some(Step::Late), _) => return Some(key),
            (_, Some(Step::Late)) => return Some(second),
            (Some(Step::Whole), Some(Step::Whole)) if report.times.start.is_some() => return None,
            (Some(Step::Whole) | None, Some(Step::Whole) | None) => {}
        }
        let relation = |total: Option<Total>| total.map(|total| total.relation(report));
        let is_timeless = |total: Option<Total>| total.is_none_or(|total| total.start.is_none());
        let begins_anew = is_timeless(first) && report.times.start.is_none() && !report.over;
        // Of two that were there before the greater one stays: its records may come late, and would count for most.
        let greater = || first.into_iter().chain(other).max_by_key(|total| total.octets);
        let (before, place) = match (relation(first), relation(other)) {
            (None, Some(Relation::Same)) if begins_anew => return Some(second),
            // What is left of two gives way to the next one.
            (None, Some(Relation::Next)) => (other, key),
            (Some(Relation::Next), Some(Relation::Next)) => (greater(), key),
            (Some(Relation::Same), _) if begins_anew || !first.is_some_and(|first| is_it(&first)) => {
                (None, key)
            }
            (Some(Relation::Same), Some(Relation::Same)) => (greater(), second),
            (Some(Relation::Same), _) => (first, second),
            _ => (None, key),
        };
        if let Some(before) = before {
            self.set_aside(second, place, before, limit);
        }
        Some(key)
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
