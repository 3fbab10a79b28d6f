//! A flow as its newest record told of it, and what the next record on the same keys is to it: of the same flow or of
//! another one, and what it adds. The rules are those of [`super`].

use serde::{Deserialize, Serialize};

use super::REORDER_MS;
use crate::units::UnixMillis;

/// What the whole seconds of export times and the rounding of starts explain, where times are told from uptimes.
pub(super) const JITTER_MS: i64 = 2000;

/// A begin told by 158 is that much later when its four octets of microseconds have wrapped.
const DELTA_WRAP_MS: i64 = 4_294_967;

/// What a counter of four octets can tell apart.
const RANGE: u64 = 1 << 32;

/// No packet of IP has more octets, header included, but for jumbograms.
const PACKET_OCTETS: u64 = 40 + 65_535;

/// Octets and packets of a flow since it began, as of its newest record.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Total {
    pub(super) octets: u64,
    pub(super) packets: u64,
    /// When the flow began, if the record said so.
    pub(super) start: Option<UnixMillis>,
    /// End of the flow as of that record.
    pub(super) end: UnixMillis,
    /// Both as the exporter states them by its own clock.
    pub(super) span: Option<(UnixMillis, UnixMillis)>,
    /// When the record was exported.
    pub(super) told: UnixMillis,
    /// It was said that there is no more to come.
    pub(super) over: bool,
    pub(super) detail: u32,
    /// The details under which the flow goes on that had its keys before.
    pub(super) aside: Option<u32>,
    /// As of the report.
    pub(super) shift: i64,
}

/// How the flow of a record and that of an earlier one on the same keys are related in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Relation {
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
pub(super) enum Step {
    /// It is the first one of its flow.
    Whole,
    /// So many octets and packets.
    Added(u64, u64),
    /// A newer record has counted all of it.
    Late,
}

impl Total {
    pub(super) fn new(report: &Report) -> Self {
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

    pub(super) fn relation(&self, report: &Report) -> Relation {
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
            None => self.apart(report, self.end, report.times.end),
        }
    }

    /// By how many milliseconds the record was exported later.
    pub(super) fn told_later(&self, report: &Report) -> i64 {
        self.apart(report, self.told, report.told)
    }

    /// What was moved to when it was received says nothing of the order in which it was sent; the exporter's clock does,
    /// unless it was set meanwhile.
    fn apart(&self, report: &Report, own: UnixMillis, other: UnixMillis) -> i64 {
        let moved = report.shift - self.shift;
        other.since(own) - if moved.abs() <= REORDER_MS { moved } else { 0 }
    }

    /// True where a record tells of a flow with these keys and times once more, though it was not due: in the same second,
    /// or after what was said to be the last one. It is of this flow, or of one that no field tells apart from it.
    pub(super) fn is_alike(&self, is_over: bool, report: &Report) -> bool {
        let is_same_time = match self.span.zip(report.span) {
            Some((own, span)) => own == span,
            None => self.start == report.times.start && self.end == report.times.end,
        };
        // To be told as over where it was told as going on is what a flow comes to.
        is_same_time && if report.over { is_over } else { self.told == report.told }
    }

    /// What a record adds to the flow. `is_over`: the last one said that there is no more to come, or another flow has its
    /// keys by now.
    pub(super) fn step(&self, is_over: bool, report: &Report) -> Step {
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
                if report.tells_end { later <= slack } else { !report.over && self.told_later(report) <= 0 };
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
        if relation == Relation::Overlap && later < 0 && self.told_later(report) >= 0 {
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
pub(in crate::decode) struct Times {
    /// When it began, if that is known.
    pub(in crate::decode) start: Option<UnixMillis>,
    /// An instant at which it had begun, if one is known: also of a flow that is so long that its start was moved.
    pub(in crate::decode) begun_by: Option<UnixMillis>,
    pub(in crate::decode) end: UnixMillis,
}

/// What a record says of its flow, in one direction.
#[derive(Clone, Copy, Debug)]
pub(in crate::decode) struct Report {
    /// Since the flow began.
    pub(in crate::decode) octets: u64,
    /// The same; 0 where only octets are a total.
    pub(in crate::decode) packets: u64,
    /// Octets of the fields that hold them.
    pub(in crate::decode) widths: (u8, u8),
    pub(in crate::decode) times: Times,
    /// Start and end as stated, to the millisecond, by a clock that does not jump while the exporter runs.
    pub(in crate::decode) span: Option<(UnixMillis, UnixMillis)>,
    /// Whether the end is the exporter's word.
    pub(in crate::decode) tells_end: bool,
    /// When it was exported.
    pub(in crate::decode) told: UnixMillis,
    /// Nothing more will come of the flow.
    pub(in crate::decode) over: bool,
    /// The flow goes on where another one was cut off (YAF).
    pub(in crate::decode) continues: bool,
    /// Of the record's details ([`super::Keys::key`]).
    pub(in crate::decode) detail: u32,
    /// Milliseconds from the exporter's clock to that of `times`.
    pub(in crate::decode) shift: i64,
}
