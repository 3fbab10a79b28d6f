//! Templates: what an exporter said its records look like, kept with the plan compiled from it.
//!
//! A template belongs to a protocol version and an observation domain, never to a UDP port (RFC 7011 8, RFC 3954 5.2):
//! exporters send templates and data from different sockets. A new definition replaces the old one. Only the
//! definition is part of a checkpoint; the plan is compiled again.
//!
//! A definition holds until the exporter starts anew, which may have given the id to another layout, and for a lifetime
//! from when it was last sent (RFC 7011 8.4). After that it stays known, but must be sent again before it is used.
//!
//! Datagrams need not come in the order in which they were sent ([`Order`]). The newest definition is the one that was sent
//! last; one that it has overtaken, or replaced, is kept as well until no datagram of before can come any more, for data
//! that was sent before the newest one. Of several such only the last: an id is hardly given away twice in a second.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::options::OptionsPlan;
use super::plan::Plan;
use super::total::Keys;
pub(super) use crate::counters::Field as FieldSpec;
use crate::flow::{Mark, Order};
use crate::units::UnixMillis;

/// The length that means "variable" (RFC 7011 7).
pub(super) const VARIABLE: u16 = 65_535;

/// What a template describes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Kind {
    /// Flow records.
    Data,
    /// Options records, of which so many fields are the scope.
    Options(u16),
}

impl Kind {
    pub(super) const fn is_options(self) -> bool {
        matches!(self, Self::Options(_))
    }
}

/// Numbers after a redefinition for which the definition before it is kept: as far as a datagram may go back.
const KEPT_NUMBERS: u32 = 1 << 13;

/// A definition and the plan made of it.
#[derive(Debug)]
struct Definition {
    kind: Kind,
    fields: Arc<[FieldSpec]>,
    plan: AnyPlan,
}

impl Definition {
    fn new(kind: Kind, fields: Arc<[FieldSpec]>) -> Self {
        let plan = match kind {
            Kind::Data => AnyPlan::Data(Plan::compile(&fields)),
            Kind::Options(scopes) => AnyPlan::Options(OptionsPlan::compile(&fields, scopes.into())),
        };
        Self { kind, fields, plan }
    }

    /// Octets of memory beside its own.
    fn octets_beside(&self) -> usize {
        let plan = match &self.plan {
            AnyPlan::Data(plan) => {
                plan.layout.octets_beside() + plan.keys.as_ref().map_or(0, Keys::octets_beside)
            }
            AnyPlan::Options(plan) => plan.octets_beside(),
        };
        plan + size_of_val(&*self.fields) + ARC
    }

    fn is(&self, kind: Kind, fields: &[FieldSpec]) -> bool {
        self.kind == kind && self.fields[..] == *fields
    }
}

/// Octets that an `Arc` counts its owners in.
const ARC: usize = 2 * size_of::<usize>();

/// Whether a definition was sent in a message that may be of a new run of the exporter, or a stray.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
enum Doubt {
    #[default]
    None,
    /// It was said there, and is no other than before.
    Said,
    /// It replaced another one.
    Replaced,
}

/// What an id stood for before the exporter last started anew.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
enum Former {
    #[default]
    Unknown,
    /// The newest definition.
    Newest,
    /// The one before it.
    Before,
}

/// What an id stands for.
#[derive(Debug)]
pub(super) struct Template {
    newest: Definition,
    /// The first and the last datagram that said so.
    since: Mark,
    until: Mark,
    /// What it stood for before `since`, where that may still be asked for.
    before: Option<Box<Definition>>,
    former: Former,
    /// When it was last received; none where the exporter has started anew since.
    defined: Option<UnixMillis>,
    doubt: Doubt,
    /// Records that came by it since the process began.
    pub(super) records: u64,
}

/// How to read the records of a template.
#[derive(Debug)]
pub(super) enum AnyPlan {
    Data(Plan),
    Options(OptionsPlan),
}

impl Template {
    fn new(newest: Definition, at: Mark, defined: Option<UnixMillis>, doubt: Doubt) -> Self {
        Self {
            newest,
            since: at,
            until: at,
            before: None,
            former: Former::Unknown,
            defined,
            doubt,
            records: 0,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.newest.kind
    }

    /// When it was last received; 0 where the exporter has started anew since.
    pub(super) fn defined_at(&self) -> UnixMillis {
        self.defined.unwrap_or(UnixMillis(0))
    }

    /// Its fields, shared.
    pub(super) fn fields(&self) -> Arc<[FieldSpec]> {
        Arc::clone(&self.newest.fields)
    }

    /// How many of the fields are the scope.
    pub(super) fn scopes(&self) -> u16 {
        match self.newest.kind {
            Kind::Data => 0,
            Kind::Options(scopes) => scopes,
        }
    }

    /// How to read records that stand there.
    #[inline]
    pub(super) fn plan(&self, order: &Order) -> &AnyPlan {
        match &self.before {
            Some(before) if self.former != Former::Before && order.is_before(self.since) => &before.plan,
            _ => &self.newest.plan,
        }
    }

    /// How to read records of the run of the exporter that has ended last.
    fn former_plan(&self) -> Option<&AnyPlan> {
        match self.former {
            Former::Unknown => None,
            Former::Newest => Some(&self.newest.plan),
            Former::Before => self.before.as_ref().map(|before| &before.plan),
        }
    }

    /// True where it was defined in a message that is in doubt itself.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt != Doubt::None
    }

    /// Octets of memory that it takes, with its id.
    fn octets(&self) -> usize {
        let before = self.before.as_ref().map_or(0, |one| size_of::<Definition>() + one.octets_beside());
        size_of::<u16>() + size_of::<Self>() + self.newest.octets_beside() + before
    }

    fn holds_at(&self, now: UnixMillis, lifetime_ms: i64) -> bool {
        self.defined.is_some_and(|defined| now.since(defined) < lifetime_ms)
    }

    /// Takes in what was said before the newest definition was last said.
    fn define_before(&mut self, kind: Kind, fields: &[FieldSpec], order: &Order) {
        let is_before = order.is_before(self.since);
        if self.newest.is(kind, fields) {
            self.since = if is_before { order.at } else { self.since };
            return;
        }
        if !is_before {
            // The newest one was given up in between, and taken up again.
            self.since = self.until;
        }
        if !self.before.as_ref().is_some_and(|before| before.is(kind, fields)) {
            self.before = Some(Box::new(Definition::new(kind, fields.into())));
            self.former = Former::Unknown;
        }
    }

    /// Takes in the newest definition; the one before it counts for what was sent before, where it `held`.
    fn define(&mut self, kind: Kind, fields: &[FieldSpec], order: &Order, held: bool, is_in_doubt: bool) {
        let doubt = if is_in_doubt { Doubt::Said } else { Doubt::None };
        if !self.newest.is(kind, fields) {
            let newest = Definition::new(kind, fields.into());
            let replaced = core::mem::replace(self, Self::new(newest, order.at, self.defined, doubt));
            let is_former = replaced.former == Former::Newest;
            if held || is_former {
                self.before = Some(Box::new(replaced.newest));
            }
            if held {
                self.doubt = if is_in_doubt { Doubt::Replaced } else { Doubt::None };
            } else if is_former {
                self.former = Former::Before;
            }
            return;
        }
        if !held {
            (self.since, self.before) = (order.at, None);
            self.former = if self.former == Former::Before { Former::Unknown } else { self.former };
        } else if order.at.number.wrapping_sub(self.since.number) > KEPT_NUMBERS {
            (self.before, self.former) = (None, Former::Unknown);
        }
        self.until = order.at;
        // What replaced another one in doubt did so, however often it is said there.
        self.doubt = if is_in_doubt && self.doubt == Doubt::Replaced { self.doubt } else { doubt };
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let before = self.before.as_ref().map(|before| (before.kind, &before.fields[..]));
        let Self { newest, since, until, former, defined, doubt, .. } = self;
        (newest.kind, &newest.fields[..], since, until, (before, former), defined, doubt)
            .serialize(serializer)
    }
}

/// A template as a checkpoint has it.
type Written = (Kind, Box<[FieldSpec]>, Mark, Mark, (Option<Fields>, Former), Option<UnixMillis>, Doubt);

/// A definition in it.
type Fields = (Kind, Box<[FieldSpec]>);

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (kind, fields, since, until, (before, former), defined, doubt) =
            Written::deserialize(deserializer)?;
        let template = Self::new(Definition::new(kind, fields.into()), since, defined, doubt);
        let before = before.map(|(kind, fields)| Box::new(Definition::new(kind, fields.into())));
        Ok(Self { until, before, former, ..template })
    }
}

/// The templates of one domain, by id. Ids stand apart from the templates, so that a search touches little memory.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Templates {
    ids: Vec<u16>,
    templates: Vec<Template>,
    /// Octets of memory that they take.
    #[serde(skip)]
    octets: usize,
}

/// What became of a definition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Defined {
    /// The id was free: sets may be waiting for it.
    New,
    /// The id had a definition that held no longer, or was in doubt: sets may be waiting for it.
    Again,
    /// The id had this very definition, or had another one that is now forgotten.
    Known,
    /// No room.
    Refused,
}

impl Templates {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Octets of memory that they take, but for what vectors keep in reserve (once more what they hold, at most).
    pub(super) const fn octets(&self) -> usize {
        self.octets
    }

    /// Works that out anew.
    pub(super) fn weigh(&mut self) {
        self.octets = self.templates.iter().map(Template::octets).sum();
    }

    /// Forgets those for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Template) -> bool) {
        let kept: Vec<bool> = self.templates.iter().map(keep).collect();
        let mut next = kept.iter().copied();
        self.ids.retain(|_| next.next().expect("one template for each id"));
        let mut next = kept.iter().copied();
        self.templates.retain(|_| next.next().expect("one for each template"));
        self.ids.shrink_to(2 * self.ids.len());
        self.templates.shrink_to(2 * self.templates.len());
        self.weigh();
    }

    /// The template of that id, if it holds at `now`.
    pub(super) fn get_mut(&mut self, id: u16, now: UnixMillis, lifetime_ms: i64) -> Option<&mut Template> {
        let at = self.ids.binary_search(&id).ok()?;
        Some(&mut self.templates[at]).filter(|template| template.holds_at(now, lifetime_ms))
    }

    /// How to read records of the run of the exporter that has ended last.
    pub(super) fn former_plan(&self, id: u16) -> Option<&AnyPlan> {
        self.templates[self.ids.binary_search(&id).ok()?].former_plan()
    }

    /// All, by id.
    pub(super) fn all(&self) -> impl Iterator<Item = (u16, &Template)> {
        self.ids.iter().copied().zip(&self.templates)
    }

    /// The exporter has started anew: each must be sent again before it is used. Those that messages in doubt have defined
    /// are of the new run.
    pub(super) fn doubt(&mut self) {
        for template in &mut self.templates {
            let doubt = core::mem::take(&mut template.doubt);
            template.former = match doubt {
                _ if template.defined.is_none() => Former::Unknown,
                Doubt::Replaced => Former::Before,
                Doubt::None | Doubt::Said => Former::Newest,
            };
            if template.former != Former::Before {
                template.before = None;
            }
            if doubt == Doubt::None {
                template.defined = None;
            }
        }
        self.weigh();
    }

    /// Messages in doubt were strays: what they replaced is the newest again.
    pub(super) fn end_doubt(&mut self) {
        for template in &mut self.templates {
            if core::mem::take(&mut template.doubt) == Doubt::Replaced
                && let Some(before) = &mut template.before
            {
                core::mem::swap(&mut template.newest, before);
            }
        }
    }

    /// The same for those received before `begun`; later ones are of the new run. False: there were none.
    pub(super) fn doubt_before(&mut self, begun: UnixMillis) -> bool {
        let mut doubted = false;
        for template in &mut self.templates {
            if template.defined.is_some_and(|defined| defined < begun) {
                template.defined = None;
                doubted = true;
            }
        }
        doubted
    }

    /// Takes in a definition received at `now`, in a message that may be `in doubt`; a new id only if there is `room`.
    pub(super) fn define(
        &mut self,
        id: u16,
        (kind, fields): (Kind, &[FieldSpec]),
        room: bool,
        (now, lifetime_ms): (UnixMillis, i64),
        (order, is_in_doubt): (&Order, bool),
    ) -> Defined {
        match self.ids.binary_search(&id) {
            Ok(at) => {
                let known = &mut self.templates[at];
                let octets = known.octets();
                let held = known.holds_at(now, lifetime_ms);
                let mut is_known = true;
                if held && order.is_before(known.until) {
                    known.define_before(kind, fields, order);
                } else {
                    is_known = held && !is_in_doubt && !known.is_in_doubt();
                    known.define(kind, fields, order, held, is_in_doubt);
                    known.defined = known.defined.max(Some(now));
                }
                self.octets = self.octets - octets + known.octets();
                if is_known { Defined::Known } else { Defined::Again }
            }
            Err(_) if !room => Defined::Refused,
            Err(at) => {
                let doubt = if is_in_doubt { Doubt::Said } else { Doubt::None };
                let newest = Definition::new(kind, fields.into());
                self.ids.insert(at, id);
                let template = Template::new(newest, order.at, Some(now), doubt);
                self.octets += template.octets();
                self.templates.insert(at, template);
                Defined::New
            }
        }
    }

    /// Forgets one template (RFC 7011 8.1).
    pub(super) fn withdraw(&mut self, id: u16) {
        if let Ok(at) = self.ids.binary_search(&id) {
            self.ids.remove(at);
            self.octets -= self.templates.remove(at).octets();
        }
    }

    /// Forgets all templates of a kind (RFC 7011 8.1: "all data templates", "all options templates").
    pub(super) fn withdraw_all(&mut self, kind: Kind) {
        self.retain(|template| template.kind().is_options() != kind.is_options());
    }
}
