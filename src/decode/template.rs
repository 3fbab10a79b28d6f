//! Templates: what an exporter said its records look like, kept with the plan compiled from it.
//!
//! A template belongs to a protocol version and an observation domain, never to a UDP port (RFC 7011 8, RFC 3954 5.2):
//! exporters send templates and data from different sockets. A new definition replaces the old one. Only the
//! definition is part of a checkpoint; the plan is compiled again.
//!
//! A definition holds until the exporter starts anew, which may have given the id to another layout, and for a lifetime
//! from when it was last sent (RFC 7011 8.4). After that it stays known, but must be sent again before it is used.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::options::OptionsPlan;
use super::plan::Plan;
pub(super) use crate::counters::Field as FieldSpec;
use crate::units::UnixMillis;

/// The length that means "variable" (RFC 7011 7).
pub(super) const VARIABLE: u16 = 65_535;

/// What a template describes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Kind {
    /// Flow records.
    Data,
    /// Options records.
    Options,
}

/// A definition and the plan made of it.
#[derive(Debug)]
pub(super) struct Template {
    kind: Kind,
    fields: Arc<[FieldSpec]>,
    /// When it was last received; none where the exporter has started anew since.
    defined: Option<UnixMillis>,
    pub(super) plan: AnyPlan,
    /// Records that came by it since the process began.
    pub(super) records: u64,
    /// How many of the fields are the scope; not part of a checkpoint, so 0 after a start until it is sent again.
    scopes: u16,
}

/// How to read the records of a template.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all templates are of data, and are looked at for each set"
)]
pub(super) enum AnyPlan {
    Data(Plan),
    Options(OptionsPlan),
}

impl Template {
    fn new(kind: Kind, fields: Arc<[FieldSpec]>, defined: Option<UnixMillis>) -> Self {
        let plan = match kind {
            Kind::Data => AnyPlan::Data(Plan::compile(&fields)),
            Kind::Options => AnyPlan::Options(OptionsPlan::compile(&fields)),
        };
        let scopes = fields.iter().take_while(|field| field.is_scope()).count();
        let scopes = u16::try_from(scopes).unwrap_or(u16::MAX);
        Self { kind, fields, defined, plan, records: 0, scopes }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// When it was last received; 0 where the exporter has started anew since.
    pub(super) fn defined_at(&self) -> UnixMillis {
        self.defined.unwrap_or(UnixMillis(0))
    }

    /// Its fields, shared.
    pub(super) fn fields(&self) -> Arc<[FieldSpec]> {
        Arc::clone(&self.fields)
    }

    pub(super) fn scopes(&self) -> u16 {
        self.scopes
    }

    fn holds_at(&self, now: UnixMillis, lifetime_ms: i64) -> bool {
        self.defined.is_some_and(|defined| now.since(defined) < lifetime_ms)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.kind, &self.fields[..], self.defined).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (kind, fields, defined): (_, Box<[FieldSpec]>, _) = Deserialize::deserialize(deserializer)?;
        Ok(Self::new(kind, fields.into(), defined))
    }
}

/// The templates of one domain, by id. Ids stand apart from the templates, so that a search touches little memory.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Templates {
    ids: Vec<u16>,
    templates: Vec<Template>,
}

/// What became of a definition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Defined {
    /// The id was free: sets may be waiting for it.
    New,
    /// The id had a definition that held no longer: sets may be waiting for it.
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

    /// The template of that id, if it holds at `now`.
    pub(super) fn get_mut(&mut self, id: u16, now: UnixMillis, lifetime_ms: i64) -> Option<&mut Template> {
        let at = self.ids.binary_search(&id).ok()?;
        Some(&mut self.templates[at]).filter(|template| template.holds_at(now, lifetime_ms))
    }

    /// All, by id.
    pub(super) fn all(&self) -> impl Iterator<Item = (u16, &Template)> {
        self.ids.iter().copied().zip(&self.templates)
    }

    /// Says how many fields of a template are its scope.
    pub(super) fn set_scopes(&mut self, id: u16, scopes: u16) {
        if let Ok(at) = self.ids.binary_search(&id) {
            self.templates[at].scopes = scopes;
        }
    }

    /// The exporter has started anew: each must be sent again before it is used.
    pub(super) fn doubt(&mut self) {
        self.templates.iter_mut().for_each(|template| template.defined = None);
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

    /// Takes in a definition received at `now`; a new id only if there is `room`.
    pub(super) fn define(
        &mut self,
        id: u16,
        kind: Kind,
        fields: &[FieldSpec],
        room: bool,
        (now, lifetime_ms): (UnixMillis, i64),
    ) -> Defined {
        match self.ids.binary_search(&id) {
            Ok(at) => {
                let known = &mut self.templates[at];
                let held = known.holds_at(now, lifetime_ms);
                if known.kind != kind || known.fields[..] != *fields {
                    *known = Template::new(kind, fields.into(), Some(now));
                }
                known.defined = known.defined.max(Some(now));
                if held { Defined::Known } else { Defined::Again }
            }
            Err(_) if !room => Defined::Refused,
            Err(at) => {
                self.ids.insert(at, id);
                self.templates.insert(at, Template::new(kind, fields.into(), Some(now)));
                Defined::New
            }
        }
    }

    /// Forgets one template (RFC 7011 8.1).
    pub(super) fn withdraw(&mut self, id: u16) {
        if let Ok(at) = self.ids.binary_search(&id) {
            self.ids.remove(at);
            self.templates.remove(at);
        }
    }

    /// Forgets all templates of a kind (RFC 7011 8.1: "all data templates", "all options templates").
    pub(super) fn withdraw_all(&mut self, kind: Kind) {
        let mut kept = self.templates.iter().map(|template| template.kind != kind);
        self.ids.retain(|_| kept.next().expect("one template for each id"));
        self.templates.retain(|template| template.kind != kind);
    }
}
