//! What an exporter has announced, by observation domain; and which domains still have their grace time.

mod domain;
mod streams;

use serde::{Deserialize, Serialize};

use super::Announcement;
use crate::counters::{Sampled, Sampler};
use crate::flow::{Part, SelectionSequence, Side};
use crate::ids::Session;
use crate::units::{IfIndex, RateSource, SamplingRate, UnixMillis};

pub(super) use domain::{Answer, Known};
pub(super) use streams::Origin;
pub use streams::Stream;

use domain::{Domain, Grace};
use streams::Streams;

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
    /// Sorted by origin: by number, and then by stream.
    domains: Vec<Domain>,
    streams: Streams,
    refused: u64,
    /// The exporter's runs are counted, as far as they were seen to begin.
    run: u32,
    /// When the first domain was seen to start anew in this one.
    run_since: UnixMillis,
    /// The runs that sessions have begun: none outlives the process.
    #[serde(skip)]
    begun: Vec<(Stream, u32)>,
    /// Times that what a former run announced was taken up again, since the process began.
    #[serde(skip)]
    taken_up: u64,
    /// Statements over all domains; worked out again after a restart.
    #[serde(skip)]
    statements: Option<usize>,
}

impl Rates {
    fn place(&self, origin: Origin) -> Result<usize, usize> {
        self.domains.binary_search_by_key(&origin, |domain| domain.origin)
    }

    fn find(&self, origin: Origin) -> Option<&Domain> {
        Some(&self.domains[self.place(origin).ok()?])
    }

    fn find_or_add(&mut self, origin: Origin) -> Option<usize> {
        if let Ok(at) = self.place(origin) {
            return Some(at);
        }
        if self.domains.len() >= DOMAINS_MAX && !self.forget_ended() {
            return None;
        }
        let at = self.place(origin).unwrap_or_else(|at| at);
        self.domains.insert(at, Domain::new(origin, self.run));
        Some(at)
    }

    /// All domains of this number, one of each stream that has it.
    fn of_all_streams(&self, id: u32) -> &[Domain] {
        let from = self.domains.partition_point(|domain| domain.origin.domain < id);
        let rest = &self.domains[from..];
        &rest[..rest.partition_point(|domain| domain.origin.domain == id)]
    }

    /// Whether what a domain says may be about the records of another one: not where it is of another stream that has a domain of
    /// that number, too. That is another exporting process, with domains of its own (RFC 7011 3.1). Nor where its session has
    /// ended, and another one says what is so now.
    fn may_speak_for(&self, domain: &Domain, origin: Origin) -> bool {
        let Origin { stream, domain: id } = domain.origin;
        if stream == origin.stream {
            return true;
        }
        let says = |other: &Domain| other.size() > 0 && self.streams.is_there(other.origin.stream);
        self.place(Origin { stream, ..origin }).is_err()
            && (self.streams.is_there(stream) || !self.of_all_streams(id).iter().any(says))
    }

    /// Forgets the stream that ended first; false where there is none.
    fn forget_ended(&mut self) -> bool {
        let Some(oldest) = self.streams.ended().next() else { return false };
        self.streams.forget(oldest);
        self.domains.retain(|domain| domain.origin.stream != oldest);
        self.statements = None;
        true
    }

    /// Where a record that waits comes from: another stream may have taken over its domain. `None`: nothing is known of it any
    /// more, since others had to have its room.
    pub(super) fn origin(&self, domain: u32, stream: Stream) -> Option<Origin> {
        let origin = Origin { domain, stream };
        if stream == Stream::DATAGRAMS || self.find(origin).is_some() {
            return Some(origin);
        }
        let heirs = self.of_all_streams(domain);
        heirs.iter().find(|domain| domain.former == Some(stream)).map(|domain| domain.origin)
    }

    /// The stream that a session is. One that is new, and has begun with `domain`, goes on where an ended one left off that
    /// had the domain. Of several that said different things of it nobody knows which: then it is as if all of them had said
    /// that they do not know ([`Self::restarted`]), and it takes the place of none for which records wait.
    pub(super) fn stream(&mut self, session: Session, domain: Option<u32>, has_waiting: bool) -> Stream {
        if let Some(stream) = self.streams.of(session) {
            return stream;
        }
        let former = domain.and_then(|domain| self.former(domain, has_waiting));
        let stream = self.streams.begin(session, former);
        let streams = &self.streams;
        self.begun.retain(|&(other, _)| other != stream && streams.is_there(other));
        self.begin_run(UnixMillis(i64::MIN));
        self.begun.push((stream, self.run));
        stream
    }

    /// Another run; `since`: those that start anew soon after belong to it.
    const fn begin_run(&mut self, since: UnixMillis) {
        self.run = self.run.saturating_add(1);
        self.run_since = since;
    }

    fn former(&self, domain: u32, has_waiting: bool) -> Option<Stream> {
        let mut formers = self.formers(Origin { domain, stream: Stream::DATAGRAMS });
        let first = formers.next()?;
        let is_sure = formers.all(|other| other.says_as(first));
        (is_sure || !has_waiting).then_some(first.origin.stream)
    }

    pub(super) fn has_sessions(&self) -> bool {
        self.streams.are_open()
    }

    /// Sessions are over. What they announced is remembered for those that follow.
    pub(super) fn end_sessions(&mut self, is_over: impl Fn(Session) -> bool) {
        self.streams.end(is_over);
        let ended: Vec<Stream> = self.streams.ended().collect();
        ended.into_iter().for_each(|stream| self.forget_empty(stream));
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
                all.push(Sampler { domain: domain.origin.domain, kind, number, rate });
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
    pub(super) fn announce(&mut self, stream: Stream, announcement: &Announcement) -> bool {
        let origin = Origin { domain: announcement.domain, stream };
        self.state(origin, |domain, run, room| domain.take(announcement, run, room))
    }

    /// Takes in what a selection sequence consists of; as [`Self::announce`].
    pub(super) fn announce_sequence(&mut self, stream: Stream, told: &SelectionSequence) -> bool {
        let origin = Origin { domain: told.domain, stream };
        self.state(origin, |domain, run, room| domain.take_sequence(told, run, room))
    }

    fn state(&mut self, origin: Origin, take: impl FnOnce(&mut Domain, u32, bool) -> Option<bool>) -> bool {
        while self.size() >= STATEMENTS_MAX && self.forget_ended() {}
        let Some(at) = self.find_or_add(origin) else {
            self.refused += 1;
            return false;
        };
        let total = self.size();
        let domain = &mut self.domains[at];
        let before = domain.size();
        let changed = take(domain, self.run, total < STATEMENTS_MAX);
        self.statements = Some(total + domain.size() - before);
        if changed.is_none() {
            self.refused += 1;
        }
        changed.unwrap_or(false)
    }

    /// Statements over all domains.
    fn size(&mut self) -> usize {
        let domains = &self.domains;
        *self.statements.get_or_insert_with(|| domains.iter().map(Domain::size).sum())
    }

    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) const fn taken_up(&self) -> u64 {
        self.taken_up
    }

    /// The exporter has started anew, as a domain's datagrams show, or may have, where a session is new: what was announced
    /// before is doubted there until it is announced again, or the grace time is over. Each domain shows it for itself, and
    /// those that do soon after one another without sessions, or in one session, speak of the same beginning.
    pub(super) fn restarted(&mut self, origin: Origin, now: UnixMillis, grace_ms: i64, has_waiting: bool) {
        let is_session = origin.stream != Stream::DATAGRAMS;
        if is_session && self.find(origin).is_none() {
            self.inherit(origin, has_waiting);
        }
        let formers: Vec<Origin> =
            self.formers(origin).map(|former| former.origin).filter(|_| is_session).collect();
        let Ok(at) = self.place(origin) else { return };
        let last = self.domains[at].run;
        let begun = self.begun.iter().find(|(stream, _)| *stream == origin.stream).map(|&(_, run)| run);
        let is_same = !is_session && last < self.run && now.since(self.run_since) < grace_ms;
        let run = match begun {
            Some(run) if last < run => run,
            _ => {
                if !is_same {
                    self.begin_run(if is_session { UnixMillis(i64::MIN) } else { now });
                }
                self.run
            }
        };
        let domain = &mut self.domains[at];
        domain.run = run;
        domain.doubt = Some(Grace::Unseen);
        for former in formers {
            self.blur(origin, former);
        }
    }

    /// A session whose other domains come from elsewhere, or from nowhere, begins this one with what an ended one said of it,
    /// and takes it over with the records that wait for it, unless it may be another one's.
    fn inherit(&mut self, origin: Origin, has_waiting: bool) {
        let Some(mut domain) = self.formers(origin).next().cloned() else { return };
        let stream = domain.origin.stream;
        let takes_over = self.former(origin.domain, has_waiting).is_some();
        if takes_over {
            self.domains.retain(|other| other.origin != domain.origin);
            self.forget_empty(stream);
        }
        domain.former = takes_over.then_some(stream);
        domain.origin = origin;
        if let Some(at) = self.find_or_add(origin) {
            self.domains[at] = domain;
            self.statements = None;
        }
    }

    /// Forgets a stream of which nothing is known.
    fn forget_empty(&mut self, stream: Stream) {
        if !self.domains.iter().any(|domain| domain.origin.stream == stream) {
            self.streams.forget(stream);
        }
    }

    /// The same domain of streams that have ended.
    fn formers(&self, origin: Origin) -> impl Iterator<Item = &Domain> {
        self.streams.ended().filter_map(move |stream| self.find(Origin { stream, ..origin }))
    }

    /// Where a session may go on with `former` as well as with what it is: what the two do not both say is not known.
    fn blur(&mut self, origin: Origin, former: Origin) {
        let (Ok(at), Ok(other)) = (self.place(origin), self.place(former)) else { return };
        let Ok([domain, former]) = self.domains.get_disjoint_mut([at, other]) else { return };
        if !domain.says_as(former) {
            domain.blur(former);
            self.statements = None;
        }
    }

    /// True where records of a domain may not go by an answer: it was given before the exporter started anew.
    pub(super) fn doubts(&self, origin: Origin, answer: Answer) -> bool {
        answer.known != Known::Nothing
            && self.find(origin).is_some_and(|domain| domain.doubt.is_some() && answer.run < domain.run)
    }

    /// What a former run announced was taken up again for records that had waited long enough by themselves.
    pub(super) const fn count_taken_up(&mut self) {
        self.taken_up += 1;
    }

    fn end_doubt(&mut self, at: usize) {
        let Domain { run, origin, .. } = self.domains[at];
        self.domains[at].end_doubt();
        self.statements = None;
        let mut speakers = self.domains.iter().filter(|domain| self.may_speak_for(domain, origin));
        self.taken_up += u64::from(speakers.any(|domain| domain.has_older(run)));
    }

    /// The rate of a sampler for records observed at `point`: as its own domain describes it; otherwise as the exporter's
    /// other domains do, if there is only one rate. Where one of those has records of its own, its sampler of that number
    /// need not be this domain's, which may yet describe it: then this is [`Source::Neighbours`].
    ///
    /// A domain that has records means its own samplers first. One that has none can only mean those of others. So where
    /// the two say different things, the one without records is right about a third domain, once the grace time has shown
    /// that it has none. Several without records that differ are ambiguous, but for domain 0, which speaks for the device; and
    /// so are several with records. Domains of the same stream come before those of others.
    pub(super) fn sampler(&self, origin: Origin, sampler: u64, point: Point) -> (Answer, Source) {
        let own = self.find(origin).map_or(Answer::NOTHING, |domain| domain.at(Some(sampler), point));
        if own.known != Known::Nothing {
            return (own, Source::Own);
        }
        let is_near = |domain: &Domain| domain.origin.stream == origin.stream;
        let near = self.sampler_elsewhere(sampler, point, is_near);
        if near.0.known != Known::Nothing {
            return near;
        }
        let is_far = |domain: &Domain| !is_near(domain) && self.may_speak_for(domain, origin);
        self.sampler_elsewhere(sampler, point, is_far)
    }

    fn sampler_elsewhere(
        &self,
        sampler: u64,
        point: Point,
        is_meant: impl Fn(&Domain) -> bool,
    ) -> (Answer, Source) {
        let point = point.elsewhere();
        let (mut by_silent, mut by_others, mut of_device) =
            (Answer::NOTHING, Answer::NOTHING, Answer::NOTHING);
        for domain in self.domains.iter().filter(|domain| is_meant(domain)) {
            if domain.is_device() {
                of_device = of_device.and(domain.at(Some(sampler), point));
            }
            if !domain.whole(Some(sampler)).bound {
                let is_silent = matches!(domain.grace, Grace::Unseen);
                let found = if is_silent { &mut by_silent } else { &mut by_others };
                *found = found.and(domain.at(Some(sampler), point));
            }
        }
        if of_device.known != Known::Nothing {
            by_silent = of_device;
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
    pub(super) fn either(&self, origin: Origin, names: [u64; 2], point: Point) -> (Answer, Source) {
        let [first, second] = names.map(|name| self.sampler(origin, name, point));
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
    pub(super) fn sequence(&self, origin: Origin, sequence: u64, point: Point) -> (Answer, Source) {
        let Some((told, run)) = self.find(origin).and_then(|domain| domain.sequence(sequence)) else {
            return (Answer::NOTHING, Source::Own);
        };
        let (mut rate, mut oldest, mut source) = (None::<SamplingRate>, run, Source::Own);
        for &selector in told.selectors() {
            let (answer, by) = self.sampler(origin, selector, point);
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
    #[cfg(test)]
    pub(super) fn domain(&self, origin: Origin) -> Known {
        match self.find(origin).map(|domain| domain.whole(None)) {
            None => Known::Nothing,
            Some(whole) if whole.differs => Known::Ambiguous,
            Some(whole) => whole.answer.known,
        }
    }

    /// True where records of a domain with the same sampler, or none, may have different rates.
    pub(super) fn is_by_part(&self, origin: Origin, sampler: Option<u64>) -> bool {
        match self.find(origin).map(|domain| domain.whole(sampler)) {
            Some(whole) if whole.is_by_part() || whole.answer.known != Known::Nothing => whole.is_by_part(),
            // What other domains say may stand in for it.
            _ => self.domains.iter().any(|domain| domain.whole(sampler).is_by_part()),
        }
    }

    /// What is said of records of a domain that name no sampler (or could not, where they are `is_mute`) and were observed
    /// at `point`.
    pub(super) fn at(&self, origin: Origin, point: Point, is_mute: bool) -> Answer {
        self.find(origin).map_or(Answer::NOTHING, |domain| domain.unnamed(point, is_mute))
    }

    /// What domain 0 says of such records, or else what all domains agree on: an interface has the same number in each, a
    /// template has not. Those of the same stream are asked before others.
    pub(super) fn exporter(&self, origin: Origin, point: Point, is_mute: bool) -> Answer {
        let is_near = |domain: &Domain| domain.origin.stream == origin.stream;
        let near = self.agreed(point, is_mute, is_near);
        if let Known::Rate(_) | Known::Ambiguous = near.known {
            return near;
        }
        let is_far = |domain: &Domain| !is_near(domain) && self.may_speak_for(domain, origin);
        let all = near.and(self.agreed(point, is_mute, is_far));
        if all.known == Known::Nothing { self.said_before(origin) } else { all }
    }

    /// What domain 0 says of records that name no sampler, or else what all the domains that are meant agree on.
    fn agreed(&self, point: Point, is_mute: bool, is_meant: impl Fn(&Domain) -> bool) -> Answer {
        let point = point.elsewhere();
        let (mut of_device, mut all) = (Answer::NOTHING, Answer::NOTHING);
        for domain in self.domains.iter().filter(|domain| is_meant(domain)) {
            let answer = domain.unnamed_elsewhere(point, is_mute);
            all = all.and(answer);
            if domain.is_device() {
                of_device = of_device.and(answer);
            }
        }
        let found = if let Known::Rate(_) | Known::Ambiguous = of_device.known { of_device } else { all };
        Answer { known: found.known.with_source(RateSource::Exporter), ..found }
    }

    /// Of a session that announces nothing, while an older stream that is still there has the same domain and does announce: it
    /// may be the same process, whose former connection nobody has seen to break, or another one. So the exporter samples, as
    /// far as anybody knows, and does not say how it samples these.
    fn said_before(&self, origin: Origin) -> Answer {
        let older = |domain: &&Domain| {
            domain.origin.stream < origin.stream && self.streams.is_there(domain.origin.stream)
        };
        let announces = |domain: &Domain| {
            let mut all = self.domains.iter().filter(|other| other.origin.stream == domain.origin.stream);
            all.any(|other| other.size() > 0)
        };
        if self.of_all_streams(origin.domain).iter().filter(older).any(announces) {
            return Answer { known: Known::Elsewhere, ..Answer::NOTHING };
        }
        Answer::NOTHING
    }

    /// Sees a record. True where the domain's grace time, or its doubt, ends with it.
    pub(super) fn seen(&mut self, origin: Origin, end: UnixMillis, now: UnixMillis, grace_ms: i64) -> bool {
        let Some(at) = self.find_or_add(origin) else { return false };
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

    pub(super) fn in_grace(&self, origin: Origin) -> bool {
        self.find(origin).is_some_and(|domain| matches!(domain.grace, Grace::Unseen | Grace::Since { .. }))
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
