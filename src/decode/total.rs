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

use std::collections::HashMap;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

pub(super) use self::key::{Key, Keys};
use crate::units::UnixMillis;

/// What the whole seconds of export times and the rounding of starts explain, where times are told from uptimes.
const JITTER_MS: i64 = 2000;

/// A begin told by 158 is that much later when its four octets of microseconds have wrapped.
const DELTA_WRAP_MS: i64 = 4_294_967;

/// For so long after it was exported a record may be overtaken by others, or a copy of it come.
const REORDER_MS: i64 = 60_000;

/// What a counter of four octets can tell apart.
const RANGE: u64 = 1 << 32;

/// No packet of IP has more octets, header included, but for jumbograms.
const PACKET_OCTETS: u64 = 40 + 65_535;

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
    /// It was said that there is no more to come.
    over: bool,
    detail: u32,
    /// The details under which the flow goes on that had its keys before.
    aside: Option<u32>,
    /// As of the report.
    shift: i64,
}

/// What a record adds to what was counted of its flow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Added {
    pub(super) octets: u64,
    pub(super) packets: u64,
    /// The end of the flow as of the record that it is the difference from: nothing of it was before.
    pub(super) since: Option<UnixMillis>,
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
        let &Report { octets, packets, times, span, told, over, detail, shift, .. } = report;
        Self {
            octets,
            packets,
            start: times.start,
            end: times.end,
            span,
            told,
            over,
            detail,
            aside: None,
            shift,
        }
    }

    fn relation(&self, report: &Report) -> Relation {
        if let Some(((own_start, own_end), (start, end))) = self.span.zip(report.span) {
            // Also of a flow that ends before it began, by a clock that was set back.
            return if start == own_start {
                Relation::Same
            } else if start > own_end || report.continues && start == own_end && start > own_start {
                Relation::Next
            } else if start < own_start && end <= own_start {
                Relation::Former
            } else if start.since(own_start).abs() <= JITTER_MS {
                Relation::Same
            } else {
                Relation::Overlap
            };
        }
        let is_behind = |start: UnixMillis, other: UnixMillis, end: UnixMillis| {
            start.since(other) > JITTER_MS && start.since(end) >= -JITTER_MS
        };
        match self.start.zip(report.times.start) {
            Some((own, start)) if (start.since(own) - DELTA_WRAP_MS).abs() <= JITTER_MS => Relation::Same,
            Some((own, start)) if is_behind(start, own, self.end) => Relation::Next,
            Some((own, start)) if is_behind(own, start, report.times.end) => Relation::Former,
            _ => Relation::Same,
        }
    }

    /// True where the records were exported so near each other that one may have overtaken the other.
    fn is_told_with(&self, report: &Report) -> bool {
        report.told.since(self.told).abs() <= REORDER_MS
    }

    /// By how many milliseconds the record's end is later.
    fn later(&self, report: &Report) -> i64 {
        match self.span.zip(report.span) {
            Some(((_, own), (_, end))) => end.since(own),
            None => {
                let later = report.times.end.since(self.end);
                // What was moved to when it was received says nothing of the order in which it was sent; the exporter's clock
                // does, unless it was set meanwhile.
                let moved = report.shift - self.shift;
                if moved.abs() <= REORDER_MS { later - moved } else { later }
            }
        }
    }

    /// True where a record tells of a flow with these keys and times once more, though it was not due: in the same second,
    /// or after what was said to be the last one. It is of this flow, or of one that no field tells apart from it.
    fn is_alike(&self, is_over: bool, report: &Report) -> bool {
        let is_same_time = match self.span.zip(report.span) {
            Some((own, span)) => own == span,
            None => self.start == report.times.start && self.end == report.times.end,
        };
        // To be told as over where it was told as going on is what a flow comes to.
        is_same_time && if report.over { is_over } else { self.told == report.told }
    }

    /// What a record adds to the flow. `is_over`: the last one said that there is no more to come, or another flow has its
    /// keys by now.
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
        if is_over && self.over && !is_known {
            // Nobody says that it is the same flow: only what this one has told already is taken for it.
            let slack = if begins_are_told { JITTER_MS } else { 0 };
            let is_told = octets <= self.octets && packets <= self.packets;
            // Where no end is told, what goes on was sent before it was said to be over, unless it was later.
            let is_before =
                if report.tells_end { later <= slack } else { !report.over && report.told <= self.told };
            let is_late = is_told && is_before && self.is_told_with(report);
            return if is_late { Step::Late } else { Step::Whole };
        }
        // From before a wrap, and overtaken; without packets nothing else tells.
        let is_before_wrap = report.widths.0 == 4 && octets >= RANGE / 2 && self.octets < RANGE / 2;
        if later < 0 && is_before_wrap {
            return Step::Late;
        }
        if octets >= self.octets && packets >= self.packets {
            return Step::Added(octets - self.octets, packets - self.packets);
        }
        if relation == Relation::Overlap && later < 0 && report.told >= self.told {
            // Not sent before, with an earlier end and another begin: a shorter flow that was there meanwhile.
            return Step::Whole;
        }
        let may_have_wrapped = is_known && later == 0 && packets > self.packets;
        if later <= 0 && !may_have_wrapped {
            return Step::Late;
        }
        // The flow goes on where it was, so what fell while the other one grew has not begun anew.
        let more = packets.saturating_sub(self.packets).saturating_mul(PACKET_OCTETS);
        // A flow that follows begins when this one is over, so what began with one that was there for longer is that one.
        let is_it = is_known
            || self.start.zip(report.times.start).is_some_and(|(start, _)| self.end.since(start) > JITTER_MS);
        let most = if is_it { more } else { 0 };
        let any = if is_it && octets > self.octets { RANGE } else { 0 };
        let wrapped = (
            difference(self.octets, octets, report.widths.0, most),
            difference(self.packets, packets, report.widths.1, any),
        );
        match wrapped {
            // Within one second no more comes to a flow than its packets can hold.
            (Some(octets), Some(_)) if later == 0 && octets > more => Step::Late,
            (Some(octets), Some(packets)) if is_known || relation == Relation::Same && begins_are_told => {
                Step::Added(octets, packets)
            }
            _ if later <= 0 => Step::Late,
            _ => Step::Whole,
        }
    }
}

/// What was added to a counter of `width` octets, if it did not begin anew. `most`: so much may have been added, by what else
/// is known of it.
fn difference(before: u64, now: u64, width: u8, most: u64) -> Option<u64> {
    if let Some(added) = now.checked_sub(before) {
        return Some(added);
    }
    let added = (now + RANGE).checked_sub(before).filter(|_| width == 4)?;
    let is_over_the_top = before >= RANGE / 2 && now < RANGE / 2;
    (is_over_the_top || added <= most).then_some(added)
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
    /// Start and end as stated, to the millisecond, by a clock that does not jump while the exporter runs.
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
    /// Milliseconds from the exporter's clock to that of `times`.
    pub(super) shift: i64,
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
            let former = self.ended.get(&keys.1).filter(|_| report.told < total.told).filter(is_late);
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
        if !is_plain && self.going(&own).or_else(|| self.ended.get(&own)).is_some_and(is_it) {
            return (own, None);
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
