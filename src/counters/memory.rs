//! What decoding and sampling remember of an exporter, as the agent shows it: templates, transport sessions, announced
//! sampling rates. Made anew with each flush, from what goes into the checkpoint anyway, so that nothing is kept twice
//! while records come.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::Session;

/// What is remembered of an exporter. Empty before its first flush.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    /// Rates, in the order of domain, kind and number.
    pub samplers: Vec<Sampler>,
    /// Sessions that carry templates: that of all datagrams first, then TCP connections.
    pub transports: Vec<Transport>,
    /// Templates, by session, domain and id. Of a domain that speaks two protocol versions, the greater one's are kept.
    pub templates: Vec<Template>,
}

/// What an announced rate is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Sampled {
    /// All of the domain.
    Domain = 1,
    /// Records that name a sampler.
    Sampler = 2,
    /// What comes in by an interface.
    Ingress = 3,
    /// What leaves by an interface.
    Egress = 4,
    /// Whatever passes an interface.
    Interface = 5,
    /// Something else: the records of a template, or what no record can be traced to (a line card, a VRF).
    Other = 6,
}

/// An announced rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sampler {
    /// The observation domain.
    pub domain: u32,
    /// What it is about.
    pub kind: Sampled,
    /// The number of that: sampler, interface; 0 for the domain.
    pub number: u64,
    /// The rate; 0/0 where something was announced that gives none.
    pub rate: (u32, u32),
}

/// How an exporter's messages come.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Transport {
    /// The TCP session; `None`: datagrams.
    pub session: Option<Session>,
    /// The version that was heard last.
    pub version: u16,
    /// When the last message came, milliseconds since the epoch.
    pub heard_at: i64,
    /// Since the process began, or since the session did.
    pub counts: TransportCounts,
}

/// What came by a transport.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TransportCounts {
    /// Messages.
    pub messages: u64,
    /// Octets of them.
    pub octets: u64,
    /// Messages that were malformed or came twice, and those that sequence numbers say are missing. Where numbers count
    /// records (IPFIX), each gap is one.
    pub discarded: u64,
    /// Data records, those of options too.
    pub records: u64,
    /// Templates, each time that one came.
    pub templates: u64,
    /// The same of options templates.
    pub options_templates: u64,
}

impl TransportCounts {
    /// Adds what came by another domain.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.octets += other.octets;
        self.discarded += other.discarded;
        self.records += other.records;
        self.templates += other.templates;
        self.options_templates += other.options_templates;
    }
}

/// A template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// The session that it belongs to.
    pub session: Option<Session>,
    /// The observation domain.
    pub domain: u32,
    /// Its number.
    pub id: u16,
    /// Whether it describes options.
    pub is_options: bool,
    /// When it came last, milliseconds since the epoch.
    pub defined_at: i64,
    /// Records that came by it since the process began.
    pub records: u64,
    /// How many of the fields, from the first on, are the scope of options; 0 where that is not known.
    pub scopes: u16,
    /// Its fields.
    pub fields: Arc<[Field]>,
}

/// A field of a template. It is part of checkpoints.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Field {
    /// Private enterprise number; 0 for the elements of IANA's registry.
    pub enterprise: u32,
    /// Element number, without the enterprise bit.
    pub element: u16,
    /// Length in octets; 65535: variable.
    pub length: u16,
}

impl Field {
    /// What stands for the enterprise of a v9 scope type (RFC 3954 6.1), which is no element number.
    pub const SCOPE: u32 = u32::MAX;

    /// Whether it is a v9 scope type.
    #[must_use]
    pub const fn is_scope(&self) -> bool {
        self.enterprise == Self::SCOPE
    }
}
