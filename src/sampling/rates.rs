//! What an exporter has announced, by observation domain; and which domains still have their grace time.

use serde::{Deserialize, Serialize};

use super::Announcement;
use crate::counters::{Sampled, Sampler};
use crate::flow::Part;
use crate::units::{IfIndex, RateSource, SamplingRate, UnixMillis};

/// Domains remembered of one exporter.
const DOMAINS_MAX: usize = 1024;

/// Samplers, and parts with a rate of their own, remembered of one exporter, over all of its domains: the bound is on
/// memory, and on what each flush writes of it. A chassis with every interface sampled for itself has some thousands.
const STATEMENTS_MAX: usize = 16_384;

/// What is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Known {
    /// Nothing was said.
    Nothing,
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
            (Self::Rate(a), Self::Rate(b)) if a == b => self,
            _ => Self::Ambiguous,
        }
    }

    fn with_source(self, source: RateSource) -> Self {
        match self {
            Self::Rate(rate) => Self::Rate(learnt_from(rate, source)),
            other => other,
        }
    }
}

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

/// The grace time of a domain.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
enum Grace {
    /// No record that waited for a rate yet.
    #[default]
    Unseen,
    /// Since the first record: its end, and when it was received.
    Since { record: UnixMillis, received: UnixMillis },
    /// Over.
    Over,
}

type Statement<K> = (K, Option<SamplingRate>);

/// An interface where packets were looked at, and whether that was on their way out.
pub(super) type Point = (IfIndex, bool);

/// What is known of a domain as a whole.
#[derive(Clone, Copy, Debug)]
struct Whole {
    /// The domain-wide statement, or what all parts agree on.
    rate: Known,
    /// Interfaces have statements of their own that say something else.
    by_interface: bool,
}

/// What is known of one observation domain. The lists are sorted by their numbers.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Domain {
    id: u32,
    grace: Grace,
    /// The domain-wide statement, if there was one.
    wide: Option<Option<SamplingRate>>,
    /// Statements about interfaces, line cards and the like.
    parts: Vec<Statement<Part>>,
    /// Statements about samplers.
    samplers: Vec<Statement<u64>>,
    /// Its statements about the whole domain were found to be garbled, and say nothing.
    garbled: bool,
    /// What `wide` and `parts` come to, worked out when they change.
    #[serde(skip)]
    rate: Option<Whole>,
}

impl Domain {
    fn statements(&self) -> usize {
        self.parts.len() + self.samplers.len()
    }

    fn whole(&self) -> Whole {
        self.rate.unwrap_or_else(|| self.work_out())
    }

    fn work_out(&self) -> Whole {
        if self.garbled {
            return Whole { rate: Known::Nothing, by_interface: false };
        }
        let agreed = || {
            let parts = self.parts.iter().map(|&(_, rate)| Known::from_statement(rate));
            parts.fold(Known::Nothing, Known::and)
        };
        let rate = self.wide.map_or_else(agreed, Known::from_statement);
        let by_interface = self
            .parts
            .iter()
            .any(|&(part, own)| !matches!(part, Part::Other(..)) && Known::from_statement(own) != rate);
        Whole { rate, by_interface }
    }

    /// The rate of records without a sampler that were observed at `point`: that of the interface, or of the domain.
    fn at(&self, (interface, is_egress): Point) -> Known {
        let whole = self.whole();
        if !whole.by_interface {
            return whole.rate;
        }
        let way = if is_egress { Part::Egress(interface) } else { Part::Ingress(interface) };
        let own = |part: Part| self.parts.binary_search_by_key(&part, |&(part, _)| part).ok();
        match own(way).or_else(|| own(Part::Interface(interface))) {
            Some(at) => Known::from_statement(self.parts[at].1),
            None => whole.rate,
        }
    }

    fn sampler(&self, sampler: u64) -> Known {
        match self.samplers.binary_search_by_key(&sampler, |&(id, _)| id) {
            Ok(at) => Known::from_statement(self.samplers[at].1),
            Err(_) => Known::Nothing,
        }
    }
}

/// What one exporter has announced.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Rates {
    /// Sorted by id.
    domains: Vec<Domain>,
    refused: u64,
    /// Statements over all domains; worked out again after a restart.
    #[serde(skip)]
    statements: Option<usize>,
}

/// Puts a statement into a list. True where it changed something; `None` where there is no `room` for a new one.
fn state<K: Copy + Ord>(
    list: &mut Vec<Statement<K>>,
    id: K,
    rate: Option<SamplingRate>,
    room: bool,
) -> Option<bool> {
    match list.binary_search_by_key(&id, |&(id, _)| id) {
        Ok(at) => Some(core::mem::replace(&mut list[at].1, rate) != rate),
        Err(_) if !room => None,
        Err(at) => {
            list.insert(at, (id, rate));
            Some(true)
        }
    }
}

impl Rates {
    fn find(&self, id: u32) -> Option<&Domain> {
        let at = self.domains.binary_search_by_key(&id, |domain| domain.id).ok()?;
        Some(&self.domains[at])
    }

    fn find_or_add(&mut self, id: u32) -> Option<&mut Domain> {
        let at = match self.domains.binary_search_by_key(&id, |domain| domain.id) {
            Ok(at) => at,
            Err(_) if self.domains.len() >= DOMAINS_MAX => return None,
            Err(at) => {
                let rate = Some(Domain::default().work_out());
                self.domains.insert(at, Domain { id, rate, ..Domain::default() });
                at
            }
        };
        Some(&mut self.domains[at])
    }

    /// Works out what the statements of each domain come to, where that may have changed. To be called after a datagram's
    /// announcements, and after a restart: until then every question goes through all statements of its domain, of which a
    /// large chassis has thousands.
    pub(super) fn work_out(&mut self) {
        for domain in self.domains.iter_mut().filter(|domain| domain.rate.is_none()) {
            domain.rate = Some(domain.work_out());
        }
    }

    /// Every statement, for those who watch, by domain, kind and number.
    pub(super) fn announced(&self) -> Vec<Sampler> {
        let mut all = Vec::new();
        for domain in self.domains.iter().filter(|domain| !domain.garbled) {
            let mut add = |kind, number, rate: Option<SamplingRate>| {
                let rate = rate.map_or((0, 0), |rate| (rate.numerator(), rate.denominator()));
                all.push(Sampler { domain: domain.id, kind, number, rate });
            };
            if let Some(rate) = domain.wide {
                add(Sampled::Domain, 0, rate);
            }
            for &(number, rate) in &domain.samplers {
                add(Sampled::Sampler, number, rate);
            }
            for &(part, rate) in &domain.parts {
                match part {
                    Part::Ingress(interface) => add(Sampled::Ingress, interface.0.into(), rate),
                    Part::Egress(interface) => add(Sampled::Egress, interface.0.into(), rate),
                    Part::Interface(interface) => add(Sampled::Interface, interface.0.into(), rate),
                    Part::Other(_, number) => add(Sampled::Other, number, rate),
                }
            }
        }
        all.sort_by_key(|one| (one.domain, one.kind, one.number));
        all
    }

    /// True where no question has to go through statements.
    #[cfg(test)]
    pub(super) fn are_worked_out(&self) -> bool {
        self.domains.iter().all(|domain| domain.rate.is_some())
    }

    /// Takes in an announcement; true where it changed what is known. [`Self::work_out`] is due then.
    pub(super) fn announce(&mut self, announcement: &Announcement) -> bool {
        let Announcement { domain, sampler, rate, part, garbled } = *announcement;
        let source = if sampler.is_some() { RateSource::Sampler } else { RateSource::Domain };
        let rate = rate.map(|rate| learnt_from(rate, source));
        let domains = &self.domains;
        let total = *self.statements.get_or_insert_with(|| domains.iter().map(Domain::statements).sum());
        let room = total < STATEMENTS_MAX;
        let mut more = 0;
        let changed = self.find_or_add(domain).and_then(|domain| {
            let before = domain.statements();
            let changed = match (sampler, part) {
                (None, _) if garbled => Some(!core::mem::replace(&mut domain.garbled, true)),
                (Some(sampler), _) => state(&mut domain.samplers, sampler, rate, room),
                (None, Some(part)) => state(&mut domain.parts, part, rate, room),
                (None, None) => Some(domain.wide.replace(rate) != Some(rate)),
            };
            if changed == Some(true) {
                domain.rate = None;
            }
            more = domain.statements() - before;
            changed
        });
        self.statements = Some(total + more);
        if changed.is_none() {
            self.refused += 1;
        }
        changed.unwrap_or(false)
    }

    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// The rate of a sampler: as its own domain describes it; otherwise as the exporter's other domains do, if there is
    /// only one rate. Where one of those has records of its own, its sampler of that number need not be this domain's, which
    /// may yet describe it: then this is [`Source::Neighbours`].
    pub(super) fn sampler(&self, domain: u32, sampler: u64) -> (Known, Source) {
        match self.find(domain).map_or(Known::Nothing, |domain| domain.sampler(sampler)) {
            Known::Nothing => {}
            known => return (known, Source::Own),
        }
        let (mut found, mut source) = (Known::Nothing, Source::Own);
        for domain in &self.domains {
            let known = domain.sampler(sampler);
            if known != Known::Nothing && !matches!(domain.grace, Grace::Unseen) {
                source = Source::Neighbours;
            }
            found = found.and(known);
        }
        (found.with_source(RateSource::Exporter), source)
    }

    /// The rate that holds for a whole domain, if no interface has another one.
    pub(super) fn domain(&self, domain: u32) -> Known {
        match self.find(domain).map(Domain::whole) {
            None => Known::Nothing,
            Some(whole) if whole.by_interface => Known::Ambiguous,
            Some(whole) => whole.rate,
        }
    }

    /// True where records of a domain that name no sampler may have different rates.
    pub(super) fn is_by_interface(&self, domain: u32) -> bool {
        match self.find(domain).map(Domain::whole) {
            Some(whole) if whole.by_interface || whole.rate != Known::Nothing => whole.by_interface,
            // What other domains say may stand in for it.
            _ => self.domains.iter().any(|domain| domain.whole().by_interface),
        }
    }

    /// The rate of records of a domain that were observed at `point`.
    pub(super) fn at(&self, domain: u32, point: Point) -> Known {
        self.find(domain).map_or(Known::Nothing, |domain| domain.at(point))
    }

    /// What all domains agree on for such records: an interface has the same number in each.
    pub(super) fn exporter(&self, point: Point) -> Known {
        self.domains
            .iter()
            .fold(Known::Nothing, |known, domain| known.and(domain.at(point)))
            .with_source(RateSource::Exporter)
    }

    /// Sees a record. True where the domain's grace time ends with it.
    pub(super) fn seen(&mut self, domain: u32, end: UnixMillis, now: UnixMillis, grace_ms: i64) -> bool {
        let Some(domain) = self.find_or_add(domain) else { return false };
        match domain.grace {
            Grace::Unseen if grace_ms <= 0 => domain.grace = Grace::Over,
            Grace::Unseen => domain.grace = Grace::Since { record: end, received: now },
            Grace::Since { record, received } => {
                if end.since(record) < grace_ms && now.since(received) < grace_ms {
                    return false;
                }
                domain.grace = Grace::Over;
                return true;
            }
            Grace::Over => {}
        }
        false
    }

    /// Ends the grace times that are over at `now`; true where one was.
    pub(super) fn grace_passes(&mut self, now: UnixMillis, grace_ms: i64) -> bool {
        let mut passed = false;
        for domain in &mut self.domains {
            if matches!(domain.grace, Grace::Since { received, .. } if now.since(received) >= grace_ms) {
                domain.grace = Grace::Over;
                passed = true;
            }
        }
        passed
    }

    /// Ends the grace time of every domain.
    pub(super) fn end_grace(&mut self) {
        for domain in &mut self.domains {
            domain.grace = Grace::Over;
        }
    }

    pub(super) fn in_grace(&self, domain: u32) -> bool {
        self.find(domain).is_some_and(|domain| matches!(domain.grace, Grace::Unseen | Grace::Since { .. }))
    }
}
