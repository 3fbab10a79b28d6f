//! What an exporter has announced, by observation domain; and which domains still have their grace time.

mod domain;

use serde::{Deserialize, Serialize};

use super::Announcement;
use crate::counters::{Sampled, Sampler};
use crate::flow::{Part, SelectionSequence, Side};
use crate::units::{IfIndex, RateSource, SamplingRate, UnixMillis};

pub(super) use domain::{Answer, Known};

use domain::{Domain, Grace};

/// Domains remembered of one exporter.
const DOMAINS_MAX: usize = 1024;

/// Samplers, and parts with a rate of their own, remembered of one exporter, over all of its domains: the bound is on
/// memory, and on what each flush writes of it. A chassis with every interface sampled for itself has some thousands.
const STATEMENTS_MAX: usize = 16_384;

/// Who described a sampler.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Source {
    /// Its domain, or domains that only send options.
    Own,
    /// Other domains that have records.
    Neighbours,
}

/// The same rate, learnt from `source`. That whole flows were selected stays marked.
fn learnt_from(rate: SamplingRate, source: RateSource) -> SamplingRate {
    if rate.source() == RateSource::FlowSelection { rate } else { rate.with_source(source) }
}

/// Where a record's packets were looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) interface: IfIndex,
    /// On their way out.
    pub(super) is_egress: bool,
    /// The record's other interface, where nobody says that it was not there; 0 is none.
    pub(super) other: IfIndex,
    /// Its record's template; 0 is none.
    pub(super) template: u16,
}

impl Point {
    /// The same as other domains know it: interfaces have the same numbers there, and templates need not.
    const fn elsewhere(self) -> Self {
        Self { template: 0, ..self }
    }
}

/// What one exporter has announced.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Rates {
    /// Sorted by id.
    domains: Vec<Domain>,
    refused: u64,
    /// The exporter's runs are counted, as far as they were seen to begin.
    run: u32,
    /// When the first domain was seen to start anew in this one.
    run_since: UnixMillis,
    /// Times that what a former run announced was taken up again, since the process began.
    #[serde(skip)]
    taken_up: u64,
    /// Statements over all domains; worked out again after a restart.
    #[serde(skip)]
    statements: Option<usize>,
}

impl Rates {
    fn place(&self, id: u32) -> Result<usize, usize> {
        self.domains.binary_search_by_key(&id, |domain| domain.id)
    }

    fn find(&self, id: u32) -> Option<&Domain> {
        Some(&self.domains[self.place(id).ok()?])
    }

    /// Domain 0, where it stands for the device as a whole (RFC 7011 3.1): it has no records of its own. Where it has, it is a
    /// domain like others, since many exporters have no other one; so it is over NetFlow v9, which gives the number no meaning.
    fn device(&self) -> Option<&Domain> {
        let device = self.find(0).filter(|domain| matches!(domain.grace, Grace::Unseen))?;
        Some(device).filter(|domain| !domain.is_of_netflow9())
    }

    fn find_or_add(&mut self, id: u32) -> Option<usize> {
        match self.place(id) {
            Ok(at) => Some(at),
            Err(_) if self.domains.len() >= DOMAINS_MAX => None,
            Err(at) => {
                self.domains.insert(at, Domain::new(id, self.run));
                Some(at)
            }
        }
    }

    /// Works out what the statements of each domain come to, where that may have changed. To be called after a datagram's
    /// announcements, and after a restart: until then every question goes through all statements of its domain, of which a
    /// large chassis has thousands.
    pub(super) fn work_out(&mut self) {
        self.domains.iter_mut().for_each(Domain::work_out);
    }

    /// Every statement, for those who watch, by domain, kind and number. A sampler with several is one of them.
    pub(super) fn announced(&self) -> Vec<Sampler> {
        let mut all: Vec<Sampler> = Vec::new();
        for domain in &self.domains {
            let mut last = None;
            for statement in &domain.statements {
                let (sampler, part) = (statement.about.sampler, statement.about.part);
                let mut rate = statement.rate;
                if sampler.is_some() {
                    if last == sampler {
                        continue;
                    }
                    last = sampler;
                    let whole = domain.whole(sampler);
                    rate = match whole.answer.known {
                        Known::Rate(rate) if !whole.differs => Some(rate),
                        _ => None,
                    };
                }
                let (kind, number) = match (sampler, part) {
                    (Some(number), _) => (Sampled::Sampler, number),
                    (None, part) => kind_of(part),
                };
                let rate = rate.map_or((0, 0), |rate| (rate.numerator(), rate.denominator()));
                all.push(Sampler { domain: domain.id, kind, number, rate });
            }
        }
        all.sort_by_key(|one| (one.domain, one.kind, one.number));
        // Parts that are the same to those who watch are one, which has a rate where all of them have it.
        all.dedup_by(|next, one| {
            let is_same = (next.domain, next.kind, next.number) == (one.domain, one.kind, one.number);
            if is_same && next.rate != one.rate {
                one.rate = (0, 0);
            }
            is_same
        });
        all
    }

    /// True where no question has to go through statements.
    #[cfg(test)]
    pub(super) fn are_worked_out(&self) -> bool {
        self.domains.iter().all(Domain::is_worked_out)
    }

    /// Takes in an announcement; true where it changed what is known. [`Self::work_out`] is due then.
    pub(super) fn announce(&mut self, announcement: &Announcement) -> bool {
        self.state(announcement.domain, |domain, run, room| domain.take(announcement, run, room))
    }

    /// Takes in what a selection sequence consists of; as [`Self::announce`].
    pub(super) fn announce_sequence(&mut self, told: &SelectionSequence) -> bool {
        self.state(told.domain, |domain, run, room| domain.take_sequence(told, run, room))
    }

    fn state(&mut self, id: u32, take: impl FnOnce(&mut Domain, u32, bool) -> Option<bool>) -> bool {
        let domains = &self.domains;
        let total = *self.statements.get_or_insert_with(|| domains.iter().map(Domain::size).sum());
        let Some(at) = self.find_or_add(id) else {
            self.refused += 1;
            return false;
        };
        let domain = &mut self.domains[at];
        let before = domain.size();
        let changed = take(domain, self.run, total < STATEMENTS_MAX);
        self.statements = Some(total + domain.size() - before);
        if changed.is_none() {
            self.refused += 1;
        }
        changed.unwrap_or(false)
    }

    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) const fn taken_up(&self) -> u64 {
        self.taken_up
    }

    /// The exporter has started anew, as a domain's datagrams show, or may have, where a session is new: what was announced
    /// before is doubted there until it is announced again, or the grace time is over. Each domain shows it for itself, and
    /// those that do soon after one another speak of the same beginning.
    pub(super) fn restarted(&mut self, id: u32, now: UnixMillis, grace_ms: i64) {
        let Ok(at) = self.place(id) else { return };
        let is_same = self.domains[at].run < self.run && now.since(self.run_since) < grace_ms;
        if !is_same {
            self.run = self.run.saturating_add(1);
            self.run_since = now;
        }
        let domain = &mut self.domains[at];
        domain.run = self.run;
        domain.doubt = Some(Grace::Unseen);
    }

    /// True where records of a domain may not go by an answer: it was given before the exporter started anew.
    pub(super) fn doubts(&self, id: u32, answer: Answer) -> bool {
        answer.known != Known::Nothing
            && self.find(id).is_some_and(|domain| domain.doubt.is_some() && answer.run < domain.run)
    }

    fn end_doubt(&mut self, at: usize) {
        let run = self.domains[at].run;
        self.domains[at].end_doubt();
        self.statements = None;
        self.taken_up += u64::from(self.domains.iter().any(|domain| domain.has_older(run)));
    }

    /// The rate of a sampler for records observed at `point`: as its own domain describes it; otherwise as the exporter's
    /// other domains do, if there is only one rate. Where one of those has records of its own, its sampler of that number
    /// need not be this domain's, which may yet describe it: then this is [`Source::Neighbours`].
    ///
    /// A domain that has records means its own samplers first. One that has none can only mean those of others. So where
    /// the two say different things, the one without records is right about a third domain, once the grace time has shown
    /// that it has none. Several without records that differ are ambiguous, but for domain 0, which speaks for the device; and
    /// so are several with records.
    pub(super) fn sampler(&self, id: u32, sampler: u64, point: Point) -> (Answer, Source) {
        let own = self.find(id).map_or(Answer::NOTHING, |domain| domain.at(Some(sampler), point));
        if own.known != Known::Nothing {
            return (own, Source::Own);
        }
        let (mut by_silent, mut by_others) = (Answer::NOTHING, Answer::NOTHING);
        for domain in self.domains.iter().filter(|domain| !domain.whole(Some(sampler)).bound) {
            let found = if matches!(domain.grace, Grace::Unseen) { &mut by_silent } else { &mut by_others };
            *found = found.and(domain.at(Some(sampler), point.elsewhere()));
        }
        let of_device = self.device().map(|domain| domain.at(Some(sampler), point.elsewhere()));
        if let Some(answer) = of_device.filter(|answer| answer.known != Known::Nothing) {
            by_silent = answer;
        }
        let (found, source) = match (by_silent.known, by_others.known) {
            (_, Known::Nothing) => (by_silent, Source::Own),
            (Known::Nothing, _) => (by_others, Source::Neighbours),
            _ => (by_silent, Source::Neighbours),
        };
        (Answer { known: found.known.with_source(RateSource::Exporter), ..found }, source)
    }

    /// The rate of the one of two names that is described; the first one where both are, and alike. Otherwise both are, and
    /// what the record means is anybody's guess. A name that is described where the record is from, or for all, comes
    /// before one that another domain with records describes.
    pub(super) fn either(&self, id: u32, names: [u64; 2], point: Point) -> (Answer, Source) {
        let [first, second] = names.map(|name| self.sampler(id, name, point));
        let alike = |known: Known| known.with_source(RateSource::Sampler);
        match (first.0.known, second.0.known) {
            (Known::Nothing, _) => second,
            (_, Known::Nothing) => first,
            _ if first.1 != second.1 => {
                if first.1 == Source::Own {
                    first
                } else {
                    second
                }
            }
            (one, other) if alike(one) == alike(other) => first,
            _ => (Answer { known: Known::Ambiguous, run: first.0.run.min(second.0.run) }, first.1),
        }
    }

    /// The rate of a selection sequence (RFC 5476 6.5.1): that of its selector; of several, which each pick from what the
    /// one before has picked, their product. One that nobody has described is [`Known::Nothing`].
    pub(super) fn sequence(&self, id: u32, sequence: u64, point: Point) -> (Answer, Source) {
        let Some((told, run)) = self.find(id).and_then(|domain| domain.sequence(sequence)) else {
            return (Answer::NOTHING, Source::Own);
        };
        let (mut rate, mut oldest, mut source) = (None::<SamplingRate>, run, Source::Own);
        for &selector in told.selectors() {
            let (answer, by) = self.sampler(id, selector, point);
            if by == Source::Neighbours {
                source = by;
            }
            oldest = oldest.min(answer.run);
            let known = Answer { known: Known::Ambiguous, run: oldest };
            rate = match (answer.known, rate) {
                (Known::Rate(one), None) => Some(one),
                (Known::Rate(one), Some(rate)) => match product(rate, one) {
                    Some(product) => Some(product),
                    None => return (known, source),
                },
                // It is described, and its selector not yet.
                (Known::Nothing, _) => return (Answer::NOTHING, source),
                _ => return (known, source),
            };
        }
        let known =
            if told.is_whole() { rate.map_or(Known::Ambiguous, Known::Rate) } else { Known::Ambiguous };
        (Answer { known, run: oldest }, source)
    }

    /// The rate that holds for a whole domain, if no interface has another one.
    pub(super) fn domain(&self, id: u32) -> Known {
        match self.find(id).map(|domain| domain.whole(None)) {
            None => Known::Nothing,
            Some(whole) if whole.differs => Known::Ambiguous,
            Some(whole) => whole.answer.known,
        }
    }

    /// True where records of a domain with the same sampler, or none, may have different rates.
    pub(super) fn is_by_part(&self, id: u32, sampler: Option<u64>) -> bool {
        match self.find(id).map(|domain| domain.whole(sampler)) {
            Some(whole) if whole.is_by_part() || whole.answer.known != Known::Nothing => whole.is_by_part(),
            // What other domains say may stand in for it.
            _ => self.domains.iter().any(|domain| domain.whole(sampler).is_by_part()),
        }
    }

    /// What is said of records of a domain that name no sampler (or could not, where they are `is_mute`) and were observed
    /// at `point`.
    pub(super) fn at(&self, id: u32, point: Point, is_mute: bool) -> Answer {
        self.find(id).map_or(Answer::NOTHING, |domain| domain.unnamed(point, is_mute))
    }

    /// What domain 0 says of such records, or else what all domains agree on: an interface has the same number in each, a
    /// template has not.
    pub(super) fn exporter(&self, point: Point, is_mute: bool) -> Answer {
        let point = point.elsewhere();
        let of_device =
            self.device().map_or(Answer::NOTHING, |domain| domain.unnamed_elsewhere(point, is_mute));
        if let Known::Rate(_) | Known::Ambiguous = of_device.known {
            let known = of_device.known.with_source(RateSource::Exporter);
            return Answer { known, ..of_device };
        }
        let answers = self.domains.iter().map(|domain| domain.unnamed_elsewhere(point, is_mute));
        let all = answers.fold(Answer::NOTHING, Answer::and);
        Answer { known: all.known.with_source(RateSource::Exporter), ..all }
    }

    /// Sees a record. True where the domain's grace time, or its doubt, ends with it.
    pub(super) fn seen(&mut self, id: u32, end: UnixMillis, now: UnixMillis, grace_ms: i64) -> bool {
        let Some(at) = self.find_or_add(id) else { return false };
        let domain = &mut self.domains[at];
        let mut is_over = domain.grace.see(end, now, grace_ms);
        if let Some(doubt) = &mut domain.doubt {
            is_over |= doubt.see(end, now, grace_ms);
            if matches!(doubt, Grace::Over) {
                self.end_doubt(at);
            }
        }
        is_over
    }

    /// Ends the grace times and doubts that are over at `now`; true where one was.
    pub(super) fn grace_passes(&mut self, now: UnixMillis, grace_ms: i64) -> bool {
        let mut passed = false;
        for at in 0..self.domains.len() {
            let domain = &mut self.domains[at];
            passed |= domain.grace.passes(now, grace_ms);
            if domain.doubt.as_mut().is_some_and(|doubt| doubt.passes(now, grace_ms)) {
                self.end_doubt(at);
                passed = true;
            }
        }
        passed
    }

    /// Ends the grace time of every domain, and all doubts.
    pub(super) fn end_grace(&mut self) {
        for at in 0..self.domains.len() {
            // A domain without records keeps its own: nothing of it waits, and it stays known for one that only sends options.
            if !matches!(self.domains[at].grace, Grace::Unseen) {
                self.domains[at].grace = Grace::Over;
            }
            // What was not asked for since was not taken up.
            match self.domains[at].doubt {
                Some(Grace::Unseen) => self.domains[at].end_doubt(),
                Some(_) => self.end_doubt(at),
                None => {}
            }
        }
        self.statements = None;
    }

    pub(super) fn in_grace(&self, id: u32) -> bool {
        self.find(id).is_some_and(|domain| matches!(domain.grace, Grace::Unseen | Grace::Since { .. }))
    }
}

/// What those who watch are told that a part is, and its number: of several that it names at once, the interface, or else the
/// template.
fn kind_of(part: Part) -> (Sampled, u64) {
    match part {
        Part { interface: Some(Side::Ingress(interface)), .. } => (Sampled::Ingress, interface.0.into()),
        Part { interface: Some(Side::Egress(interface)), .. } => (Sampled::Egress, interface.0.into()),
        Part { interface: Some(Side::Interface(interface)), .. } => (Sampled::Interface, interface.0.into()),
        Part { template: Some(template), .. } => (Sampled::Other, template.into()),
        Part { untold: Some(untold), .. } => (Sampled::Other, untold.number),
        Part::WHOLE => (Sampled::Domain, 0),
    }
}

/// The rate of two samplers one behind the other. None where one of them picks whole flows, or it is beyond a rate.
fn product(a: SamplingRate, b: SamplingRate) -> Option<SamplingRate> {
    if a.source() == RateSource::FlowSelection || b.source() == RateSource::FlowSelection {
        return None;
    }
    let of = |a: u32, b: u32| u64::from(a) * u64::from(b);
    SamplingRate::new(of(a.numerator(), b.numerator()), of(a.denominator(), b.denominator()), a.source())
}
