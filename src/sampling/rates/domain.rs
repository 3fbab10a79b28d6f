//! What is known of one observation domain: its statements, and what they come to for a record.
//!
//! A statement is about records that name no sampler, or about one sampler; and about all of the domain, or a part of
//! it. What those about the same thing come to is worked out when they change, not for each record.
//!
//! Where parts have the same interface and template, and differ in what no record can be told by, nobody knows which of them
//! a record is of: it has the rate that all of them have, or none.

use serde::{Deserialize, Serialize};

use super::{Origin, Point, Stream, learnt_from};
use crate::flow::{Announcement, Order, Part, SelectionSequence, Side};
use crate::units::{IfIndex, RateSource, SamplingRate, UnixMillis};

/// Layouts of options records remembered as garbled.
const GARBLED_MAX: usize = 8;

/// So many records of a garbled layout that state the same rate, one after another, and it is believed again. What
/// chance puts into the place of a rate changes from record to record.
const FORGIVEN: u8 = 3;

/// The version of NetFlow v9, as it stands in [`Order::stream`].
const NETFLOW9: u64 = 9;

/// What of a scope records can be told by: a side of an interface, a template, or both at once.
type Place = (Option<Side>, Option<u16>);

/// What is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::sampling) enum Known {
    /// Nothing was said.
    Nothing,
    /// The exporter samples, but what it says is not about such records.
    Elsewhere,
    /// Something was said that gives no rate, or different ones.
    Ambiguous,
    /// The rate.
    Rate(SamplingRate),
}

impl Known {
    fn from_statement(rate: Option<SamplingRate>) -> Self {
        rate.map_or(Self::Ambiguous, Self::Rate)
    }

    /// What two statements come to: where they differ, neither.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, known) | (known, Self::Nothing) => known,
            (Self::Elsewhere, known) | (known, Self::Elsewhere) => known,
            (Self::Rate(a), Self::Rate(b)) if a == b => self,
            _ => Self::Ambiguous,
        }
    }

    pub(super) fn with_source(self, source: RateSource) -> Self {
        match self {
            Self::Rate(rate) => Self::Rate(learnt_from(rate, source)),
            other => other,
        }
    }

    /// False where packets are known to be all looked at.
    fn samples(self) -> bool {
        !matches!(self, Self::Rate(rate) if rate.numerator() == rate.denominator())
    }
}

/// An answer, and the oldest run of the exporter of which a statement is that it rests on.
#[derive(Clone, Copy, Debug)]
pub(in crate::sampling) struct Answer {
    pub(in crate::sampling) known: Known,
    pub(in crate::sampling) run: u32,
}

impl Answer {
    pub(in crate::sampling) const NOTHING: Self = Self { known: Known::Nothing, run: u32::MAX };

    /// What two answers come to.
    pub(super) fn and(self, other: Self) -> Self {
        Self { known: self.known.and(other.known), run: self.run.min(other.run) }
    }

    fn of(statement: &Statement) -> Self {
        Self { known: Known::from_statement(statement.rate), run: statement.run }
    }
}

/// The grace time of a domain.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) enum Grace {
    /// No record that waited for a rate yet.
    #[default]
    Unseen,
    /// Since the first record: its end, and when it was received.
    Since { record: UnixMillis, received: UnixMillis },
    /// Over.
    Over,
}

impl Grace {
    /// Sees a record. True where the grace time ends with it.
    pub(super) fn see(&mut self, end: UnixMillis, now: UnixMillis, grace_ms: i64) -> bool {
        match *self {
            Self::Unseen if grace_ms <= 0 => *self = Self::Over,
            Self::Unseen => *self = Self::Since { record: end, received: now },
            Self::Since { record, received } => {
                if end.since(record) < grace_ms && now.since(received) < grace_ms {
                    return false;
                }
                *self = Self::Over;
                return true;
            }
            Self::Over => {}
        }
        false
    }

    /// True where it ends at `now`.
    pub(super) fn passes(&mut self, now: UnixMillis, grace_ms: i64) -> bool {
        let passed = matches!(*self, Self::Since { received, .. } if now.since(received) >= grace_ms);
        if passed {
            *self = Self::Over;
        }
        passed
    }
}

/// What a statement is about: the records that name a sampler, or none; in all of the domain, or a part of it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct About {
    pub(super) sampler: Option<u64>,
    pub(super) part: Part,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Statement {
    pub(super) about: About,
    pub(super) rate: Option<SamplingRate>,
    /// The run of the exporter in which it was last made.
    run: u32,
    /// The layout of the options record that made it; 0 where it is about a sampler.
    layout: u32,
    /// When it was sent: one that it has overtaken on its way does not replace it.
    order: Order,
    /// It was made in another domain, and about this one by name: it holds for no third one.
    bound: bool,
}

/// A layout whose records contradicted themselves.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Garbled {
    layout: u32,
    /// What its last record stated, and how many in a row.
    rate: Option<SamplingRate>,
    times: u8,
}

/// What is said of an interface or a template, or both at once.
#[derive(Clone, Copy, Debug)]
struct Found {
    answer: Answer,
    /// It holds for all their records, and not perhaps for some of them.
    is_sure: bool,
}

impl Found {
    const NOTHING: Self = Self { answer: Answer::NOTHING, is_sure: false };

    fn of(statements: &[Statement]) -> Self {
        let answer = statements.iter().map(Answer::of).fold(Answer::NOTHING, Answer::and);
        Self { answer, is_sure: statements.first().is_some_and(|first| first.about.part.untold.is_none()) }
    }

    fn is_nothing(self) -> bool {
        self.answer.known == Known::Nothing
    }

    /// Of two that are about the same record, and neither is more than the other.
    fn and(self, other: Self) -> Self {
        Self { answer: self.answer.and(other.answer), is_sure: self.is_sure || other.is_sure }
    }

    /// Of two of which the other one is about more records. Where this may not be about the record, that may be.
    fn or(self, wider: Self) -> Self {
        if self.is_sure { self } else { self.and(wider) }
    }
}

/// What tells the parts of a group, whose statements differ in nothing that a record can be told by.
fn key(statement: &Statement) -> Place {
    (statement.about.part.interface, statement.about.part.template)
}

/// What the statements about the same records come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    sampler: Option<u64>,
    /// The statement about all of the domain, or what all parts agree on.
    pub(super) answer: Answer,
    /// Interfaces or templates have statements of their own that say something else.
    pub(super) differs: bool,
    /// There are only statements about interfaces and templates, which say nothing of the others.
    limited: bool,
    /// Some are about interfaces, whatever the template.
    has_interfaces: bool,
    /// Some are about an interface and a template at once.
    has_both: bool,
    /// What is said of no interface or template.
    wide: Answer,
    /// Of some it is said that they hold for this domain only.
    pub(super) bound: bool,
}

impl Whole {
    fn of(sampler: Option<u64>, statements: &[Statement]) -> Self {
        let wide = statements.first().filter(|first| first.about.part == Part::WHOLE);
        let agreed = || statements.iter().map(Answer::of).fold(Answer::NOTHING, Answer::and);
        let answer = wide.map_or_else(agreed, Answer::of);
        let differs = statements.iter().any(|statement| {
            statement.about.part.is_traced() && Known::from_statement(statement.rate) != answer.known
        });
        // Who names a sampler says more than where it was.
        let limited = sampler.is_none()
            && !statements.is_empty()
            && statements.iter().all(|statement| statement.about.part.is_traced());
        let has = |template: bool| {
            let is_such = |part: Part| part.interface.is_some() && part.template.is_some() == template;
            statements.iter().any(|statement| is_such(statement.about.part))
        };
        let (has_interfaces, has_both) = (has(false), has(true));
        let untraced = statements.partition_point(|statement| !statement.about.part.is_traced());
        let wide = if wide.is_some() { answer } else { Found::of(&statements[..untraced]).answer };
        let bound = statements.iter().any(|statement| statement.bound);
        Self { sampler, answer, differs, limited, has_interfaces, has_both, wide, bound }
    }

    pub(super) const fn is_by_part(&self) -> bool {
        self.differs || self.limited
    }
}

/// What is worked out of all statements.
#[derive(Clone, Debug, Default)]
struct WorkedOut {
    /// Of what has several statements, sorted by sampler.
    wholes: Vec<Whole>,
    /// Of interfaces and templates that have several statements, sorted by sampler and these.
    groups: Vec<(Option<u64>, Place, Found)>,
    /// A sampler picks packets, and the oldest run in which that was said.
    samples: Option<u32>,
}

/// What is known of one observation domain.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Domain {
    pub(super) origin: Origin,
    /// The stream that it was taken over from, of which records may still wait.
    pub(super) former: Option<Stream>,
    pub(super) grace: Grace,
    /// Sorted.
    pub(super) statements: Vec<Statement>,
    /// Which selectors a selection sequence consists of (RFC 5476 6.5.1), sorted; with the run in which it was said.
    sequences: Vec<(u64, SelectionSequence, u32)>,
    garbled: Vec<Garbled>,
    /// The exporter's run that its datagrams were of when it was last seen to start anew.
    pub(super) run: u32,
    /// How long what was said in the runs before is doubted.
    pub(super) doubt: Option<Grace>,
    #[serde(skip)]
    worked_out: Option<WorkedOut>,
}

impl Domain {
    pub(super) fn new(origin: Origin, run: u32) -> Self {
        Self { origin, run, worked_out: Some(WorkedOut::default()), ..Self::default() }
    }

    /// What counts for the bound.
    pub(super) fn size(&self) -> usize {
        self.statements.len() + self.sequences.len()
    }

    pub(super) const fn is_worked_out(&self) -> bool {
        self.worked_out.is_some()
    }

    pub(super) fn work_out(&mut self) {
        if self.is_worked_out() {
            return;
        }
        let same = |a: &Statement, b: &Statement| a.about.sampler == b.about.sampler;
        let several = self.statements.chunk_by(same).filter(|all| all.len() > 1);
        let wholes = several.map(|all| Whole::of(all[0].about.sampler, all)).collect();
        let is_group = |a: &Statement, b: &Statement| same(a, b) && key(a) == key(b);
        let several = self.statements.chunk_by(is_group).filter(|all| all.len() > 1);
        let groups = several.map(|all| (all[0].about.sampler, key(&all[0]), Found::of(all))).collect();
        self.worked_out = Some(WorkedOut { wholes, groups, samples: self.samples() });
    }

    /// The oldest run in which it was said that a sampler picks packets, if it was.
    fn samples(&self) -> Option<u32> {
        let named = self.statements.iter().filter(|made| made.about.sampler.is_some());
        let picks = named.map(Answer::of).filter(|answer| answer.known.samples());
        picks.map(|answer| answer.run).min()
    }

    /// Statements about one sampler, or about records that name none.
    fn about(&self, sampler: Option<u64>) -> &[Statement] {
        let from = self.statements.partition_point(|statement| statement.about.sampler < sampler);
        let rest = &self.statements[from..];
        &rest[..rest.partition_point(|statement| statement.about.sampler == sampler)]
    }

    /// Domain 0, where it stands for the device as a whole (RFC 7011 3.1): it has no records of its own. Where it has, it is a
    /// domain like others, since many exporters have no other one; so it is over NetFlow v9, which gives the number no meaning.
    pub(super) fn is_device(&self) -> bool {
        self.origin.domain == 0 && matches!(self.grace, Grace::Unseen) && !self.is_of_netflow9()
    }

    /// True where anything that is known of it was said over NetFlow v9.
    fn is_of_netflow9(&self) -> bool {
        self.statements.iter().any(|statement| statement.order.stream >> 32 == NETFLOW9)
    }

    /// True where the same was said of this one as of `other`.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        let what = |made: &Statement| (made.about, made.rate, made.bound);
        let told = |domain: &Self| domain.sequences.len();
        self.statements.iter().map(what).eq(other.statements.iter().map(what))
            && told(self) == told(other)
            && self.sequences.iter().all(|sequence| other.has(sequence))
    }

    fn has(&self, (id, told, _): &(u64, SelectionSequence, u32)) -> bool {
        self.sequence(*id).is_some_and(|(mine, _)| mine.says(told))
    }

    /// What was said of this one, or of `other`, and not of both, is not known any more.
    pub(super) fn blur(&mut self, other: &Self) {
        let same = |made: &Statement, about: &Statement| made.about == about.about && made.rate == about.rate;
        for made in &mut self.statements {
            if !other.about(made.about.sampler).iter().any(|theirs| same(theirs, made)) {
                made.rate = None;
            }
        }
        for theirs in &other.statements {
            if let Err(at) = self.statements.binary_search_by_key(&theirs.about, |made| made.about) {
                self.statements.insert(at, Statement { rate: None, ..*theirs });
            }
        }
        self.sequences.retain(|sequence| other.has(sequence));
        self.worked_out = None;
        self.work_out();
    }

    pub(super) fn whole(&self, sampler: Option<u64>) -> Whole {
        let statements = self.about(sampler);
        if statements.len() > 1
            && let Some(WorkedOut { wholes, .. }) = &self.worked_out
            && let Ok(at) = wholes.binary_search_by_key(&sampler, |whole| whole.sampler)
        {
            return wholes[at];
        }
        Whole::of(sampler, statements)
    }

    /// Takes in a statement of the exporter's run `run`. Whether it changed something; `None` where there is no `room` for
    /// a new one.
    pub(super) fn take(&mut self, announcement: &Announcement, run: u32, room: bool) -> Option<bool> {
        let Announcement { sampler, rate, part, garbled, layout, bound, order, .. } = *announcement;
        let source = if sampler.is_some() { RateSource::Sampler } else { RateSource::Domain };
        let rate = rate.map(|rate| learnt_from(rate, source));
        if sampler.is_none() && garbled {
            return Some(self.garble(layout));
        }
        if sampler.is_none() && !self.forgives(layout, rate) {
            return Some(false);
        }
        let about = About { sampler, part };
        let layout = if sampler.is_none() { layout } else { 0 };
        let statement = Statement { about, rate, run, layout, bound, order: Order { head: None, ..order } };
        let changed = match self.statements.binary_search_by_key(&about, |statement| statement.about) {
            Ok(at) => {
                let newest = &self.statements[at];
                if newest.run == run && order.is_overtaken_by(&newest.order) {
                    return Some(false);
                }
                let was = core::mem::replace(&mut self.statements[at], statement);
                was.rate != rate || was.run != run || was.bound != bound
            }
            Err(_) if !room => return None,
            Err(at) => {
                self.statements.insert(at, statement);
                true
            }
        };
        if changed {
            self.worked_out = None;
        }
        Some(changed)
    }

    /// Options data of such a layout is not what its template says: nothing that it states of whole domains is believed.
    fn garble(&mut self, layout: u32) -> bool {
        let before = self.statements.len();
        self.statements.retain(|made| made.about.sampler.is_some() || made.layout != layout);
        self.garbled.retain(|garbled| garbled.layout != layout);
        if self.garbled.len() == GARBLED_MAX {
            self.garbled.remove(0);
        }
        self.garbled.push(Garbled { layout, rate: None, times: 0 });
        let changed = self.statements.len() != before;
        if changed {
            self.worked_out = None;
        }
        changed
    }

    /// True where what a record of a layout states is believed.
    fn forgives(&mut self, layout: u32, rate: Option<SamplingRate>) -> bool {
        let Some(at) = self.garbled.iter().position(|garbled| garbled.layout == layout) else { return true };
        let garbled = &mut self.garbled[at];
        garbled.times = if garbled.rate == rate && rate.is_some() { garbled.times + 1 } else { 1 };
        garbled.rate = rate;
        if garbled.times < FORGIVEN || rate.is_none() {
            return false;
        }
        self.garbled.remove(at);
        true
    }

    /// Takes in what a selection sequence consists of; as [`Self::take`].
    pub(super) fn take_sequence(&mut self, told: &SelectionSequence, run: u32, room: bool) -> Option<bool> {
        match self.sequences.binary_search_by_key(&told.id, |&(id, ..)| id) {
            Ok(at) => {
                let (_, newest, last) = &self.sequences[at];
                if *last == run && told.order.is_overtaken_by(&newest.order) {
                    return Some(false);
                }
                let (_, was, last) = core::mem::replace(&mut self.sequences[at], (told.id, *told, run));
                Some(last != run || !was.says(told))
            }
            Err(_) if !room => None,
            Err(at) => {
                self.sequences.insert(at, (told.id, *told, run));
                Some(true)
            }
        }
    }

    pub(super) fn sequence(&self, id: u64) -> Option<(&SelectionSequence, u32)> {
        let at = self.sequences.binary_search_by_key(&id, |&(id, ..)| id).ok()?;
        Some((&self.sequences[at].1, self.sequences[at].2))
    }

    /// What is said of records that name `sampler`, or none, and were observed at `point`.
    pub(super) fn at(&self, sampler: Option<u64>, point: Point) -> Answer {
        let whole = self.whole(sampler);
        if !whole.is_by_part() {
            return whole.answer;
        }
        let statements = self.about(sampler);
        let group = |interface, template| self.group(statements, (interface, template));
        // That side of an interface, and then the interface whichever way.
        let at = |interface: IfIndex, is_egress: bool, template: Option<u16>| {
            let way = if is_egress { Side::Egress(interface) } else { Side::Ingress(interface) };
            group(Some(way), template).or(group(Some(Side::Interface(interface)), template))
        };
        let template = Some(point.template).filter(|&template| template != 0);
        // Of both at once, and of the interface alone.
        let of = |interface: IfIndex, is_egress: bool| {
            let both = template.filter(|_| whole.has_both);
            let both = both.map_or(Found::NOTHING, |_| at(interface, is_egress, template));
            [both, at(interface, is_egress, None)]
        };
        let is_found = |[both, alone]: [Found; 2]| !both.is_nothing() || !alone.is_nothing();
        let mut by_interface = of(point.interface, point.is_egress);
        // A record without one of its interfaces was observed at the other one.
        if point.interface == IfIndex(0) && !is_found(by_interface) {
            by_interface = of(point.other, !point.is_egress);
        }
        let [both, alone] = by_interface;
        let by_template = template.map_or(Found::NOTHING, |template| group(None, Some(template)));
        let found = both.or(alone.and(by_template));
        if !found.is_nothing() {
            return found.or(Found { answer: whole.wide, is_sure: true }).answer;
        }
        // The record may be of the other one of its interfaces; one that names none at all is of some that is described, as
        // far as anybody says. That gives a rate where all that is described has one.
        let is_nowhere = point.interface == IfIndex(0) && point.other == IfIndex(0);
        let is_some = is_found(of(point.other, !point.is_egress));
        if is_some || is_nowhere && whole.has_interfaces {
            return whole.answer;
        }
        if !whole.limited {
            // What is said of others is not about it, but what nobody can be told by may be.
            let is_wide = whole.wide.known != Known::Nothing;
            return if is_wide { whole.wide } else { whole.answer };
        }
        Answer { known: Known::Elsewhere, ..whole.answer }
    }

    /// What some of `statements`, all about one sampler, or none, say of an interface, a template, or both at once.
    fn group(&self, statements: &[Statement], wanted: Place) -> Found {
        let from = statements.partition_point(|statement| key(statement) < wanted);
        let rest = &statements[from..];
        let is_wanted = |at: usize| rest.get(at).is_some_and(|statement| key(statement) == wanted);
        if !is_wanted(0) {
            return Found::NOTHING;
        }
        if !is_wanted(1) {
            return Found::of(&rest[..1]);
        }
        let place = (rest[0].about.sampler, wanted);
        if let Some(WorkedOut { groups, .. }) = &self.worked_out
            && let Ok(at) = groups.binary_search_by_key(&place, |&(sampler, key, _)| (sampler, key))
        {
            return groups[at].2;
        }
        Found::of(&rest[..rest.partition_point(|statement| key(statement) == wanted)])
    }

    /// What is said of records that name no sampler. Those that could not name one (`is_mute`) may be of any that there
    /// is, or of none.
    pub(super) fn unnamed(&self, point: Point, is_mute: bool) -> Answer {
        let answer = self.at(None, point);
        if answer.known != Known::Nothing || !is_mute {
            return answer;
        }
        let samples = self.worked_out.as_ref().map_or_else(|| self.samples(), |all| all.samples);
        samples.map_or(answer, |run| Answer { known: Known::Elsewhere, run })
    }

    /// The same for records of another domain. What is said of this one by name tells them no more than that the exporter
    /// samples.
    pub(super) fn unnamed_elsewhere(&self, point: Point, is_mute: bool) -> Answer {
        let answer = self.unnamed(point, is_mute);
        let is_bound = answer.known != Known::Nothing && self.whole(None).bound;
        if is_bound { Answer { known: Known::Elsewhere, ..answer } } else { answer }
    }

    /// The doubt about what was said in former runs is over. Of the statements about records without a sampler the old ones
    /// go where there are new ones: the exporter describes itself otherwise now. The rest holds again.
    pub(super) fn end_doubt(&mut self) {
        self.doubt = None;
        let run = self.run;
        if self.about(None).iter().any(|statement| statement.run >= run) {
            let before = self.statements.len();
            self.statements.retain(|made| made.about.sampler.is_some() || made.run >= run);
            if self.statements.len() != before {
                self.worked_out = None;
                self.work_out();
            }
        }
    }

    /// True where a statement is of a run before `run`.
    pub(super) fn has_older(&self, run: u32) -> bool {
        self.statements.iter().any(|statement| statement.run < run)
    }
}
