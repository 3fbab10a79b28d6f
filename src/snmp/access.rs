//! Who may read what: the View-based Access Control Model (RFC 3415), read-only, and nothing for anybody by default.
//!
//! A view is a list of subtrees, included or excluded; the longest that an object lies in decides, and what lies in
//! none is not in the view. Communities share one view, each user has one. There is no view for writing, so nothing
//! can be set. A user's requests must have at least the level of security that the configuration asks for.
//!
//! For the tree, a view is worked out once as a [`Scope`]: whether it covers each leaf whole, in part or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use super::tree::Tree;
use super::users::Credentials;
use super::usm::{Authentication, Key, Privacy};
use super::{Config, vacm};

/// How a message is protected (RFC 3411, SnmpSecurityLevel).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Not at all.
    NoAuthNoPriv,
    /// Authenticated.
    AuthNoPriv,
    /// Authenticated and encrypted.
    AuthPriv,
}

impl Level {
    /// All, with their names.
    pub const ALL: [(&'static str, Self); 3] = [
        ("noAuthNoPriv", Self::NoAuthNoPriv),
        ("authNoPriv", Self::AuthNoPriv),
        ("authPriv", Self::AuthPriv),
    ];

    /// The level in msgFlags (RFC 3412, 6.4); `None`: encrypted without being authenticated.
    pub(super) fn of_flags(flags: u8) -> Option<Self> {
        match flags & 3 {
            0 => Some(Self::NoAuthNoPriv),
            1 => Some(Self::AuthNoPriv),
            3 => Some(Self::AuthPriv),
            _ => None,
        }
    }

    pub(super) fn flags(self) -> u8 {
        match self {
            Self::NoAuthNoPriv => 0,
            Self::AuthNoPriv => 1,
            Self::AuthPriv => 3,
        }
    }
}

/// The view of those for whom the configuration names none.
pub const DEFAULT_VIEW: &str = "default";

/// `[[snmp.view]]`: subtrees, in any order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ViewRules {
    /// What is in it.
    pub include: Vec<Vec<u32>>,
    /// What is not.
    pub exclude: Vec<Vec<u32>>,
}

impl ViewRules {
    /// The internet subtree without what tells about users, views and who gets notifications.
    #[must_use]
    pub fn standard() -> Self {
        let hidden = [12, 13, 15, 16, 18].map(|module| vec![1, 3, 6, 1, 6, 3, module]);
        // snmpUnavailableContexts and snmpUnknownContexts tell nothing about anybody.
        let statistics = [4, 5].map(|number| vec![1, 3, 6, 1, 6, 3, 12, 1, number]);
        let usm_statistics = vec![1, 3, 6, 1, 6, 3, 15, 1, 1];
        let mut include = vec![vec![1, 3, 6, 1], usm_statistics];
        include.extend(statistics);
        Self { include, exclude: hidden.to_vec() }
    }

    fn allows(&self, oid: &[u32]) -> bool {
        let longest = |subtrees: &[Vec<u32>]| {
            subtrees.iter().filter(|one| oid.starts_with(one)).map(|one| one.len() + 1).max().unwrap_or(0)
        };
        longest(&self.include) > longest(&self.exclude)
    }
}

/// `[[snmp.user]]`: what the configuration says of a user. Keys are elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserRules {
    /// The name.
    pub name: String,
    /// The view.
    pub view: String,
    /// The least that its requests must have; `None`: the best that its keys allow.
    pub security: Option<Level>,
}

/// How much of a leaf a view covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cover {
    None,
    Part,
    Whole,
}

/// A view over the tree.
#[derive(Debug)]
pub(super) struct Scope {
    rules: ViewRules,
    leaves: Vec<Cover>,
}

impl Scope {
    pub(super) fn new(rules: ViewRules, tree: &Tree) -> Self {
        let cover = |oid: &[u32]| {
            let below = |one: &Vec<u32>| one.len() > oid.len() && one.starts_with(oid);
            if rules.include.iter().any(below) || rules.exclude.iter().any(below) {
                Cover::Part
            } else if rules.allows(oid) {
                Cover::Whole
            } else {
                Cover::None
            }
        };
        let leaves = tree.leaves().iter().map(|leaf| cover(&leaf.oid)).collect();
        Self { rules, leaves }
    }

    /// How much it covers of the leaf at a position of the tree.
    pub(super) fn cover(&self, leaf: usize) -> Cover {
        self.leaves[leaf]
    }

    /// Whether an instance of a leaf that is covered in part is in the view.
    pub(super) fn allows(&self, oid: &[u32]) -> bool {
        self.rules.allows(oid)
    }
}

/// A user who may ask.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) authentication: Option<(Authentication, Key)>,
    pub(super) privacy: Option<(Privacy, Key)>,
    pub(super) least: Level,
    /// The name of its view.
    pub(super) view: String,
    pub(super) scope: Arc<Scope>,
}

impl User {
    /// The best that its keys allow.
    pub(super) fn best(&self) -> Level {
        match (&self.authentication, &self.privacy) {
            (None, _) => Level::NoAuthNoPriv,
            (Some(_), None) => Level::AuthNoPriv,
            (Some(_), Some(_)) => Level::AuthPriv,
        }
    }
}

/// Everybody who may ask, and what they may see. Replaced whole on reload.
#[derive(Debug)]
pub(super) struct Access {
    communities: Vec<String>,
    community_scope: Arc<Scope>,
    users: BTreeMap<Vec<u8>, Arc<User>>,
    /// The same, to be shown.
    pub(super) tables: vacm::Tables,
}

impl Access {
    pub(super) fn new(config: &Config, tree: &Tree, users: &[Credentials]) -> Self {
        let mut views = BTreeMap::new();
        views.insert(DEFAULT_VIEW.to_owned(), Arc::new(Scope::new(ViewRules::standard(), tree)));
        for (name, rules) in &config.views {
            views.insert(name.clone(), Arc::new(Scope::new(rules.clone(), tree)));
        }
        // A name that nothing is known of is an empty view: who has it sees nothing.
        let view = |name: &str| {
            views.get(name).map_or_else(|| Arc::new(Scope::new(ViewRules::default(), tree)), Arc::clone)
        };
        let mut known = BTreeMap::new();
        for one in users {
            let protocol = one.authentication.0;
            if protocol.is_legacy() && !config.legacy_authentication {
                warn!(user = %one.name, protocol = protocol.name(),
                    "This SNMP user may not ask: the configuration does not allow legacy authentication.");
                continue;
            }
            let privacy = one.privacy.as_ref().map(|(protocol, _)| *protocol);
            if let Some(protocol) = privacy.filter(|protocol| protocol.is_legacy() && !config.legacy_privacy)
            {
                warn!(user = %one.name, protocol = protocol.name(),
                    "This SNMP user may not ask: the configuration does not allow legacy privacy.");
                continue;
            }
            let rules = config.users.iter().find(|rules| rules.name == one.name);
            let view_name = rules.map_or(DEFAULT_VIEW, |rules| &rules.view);
            let mut user = User {
                name: one.name.clone(),
                authentication: Some(one.authentication.clone()),
                privacy: one.privacy.clone(),
                least: Level::AuthPriv,
                view: view_name.to_owned(),
                scope: view(view_name),
            };
            user.least = rules.and_then(|rules| rules.security).unwrap_or_else(|| user.best());
            if user.least > user.best() {
                warn!(user = %one.name, "This SNMP user may not ask: its keys do not give the security that the configuration wants.");
                continue;
            }
            known.insert(one.name.clone().into_bytes(), Arc::new(user));
        }
        for rules in &config.users {
            if known.contains_key(rules.name.as_bytes()) || users.iter().any(|one| one.name == rules.name) {
                continue;
            }
            if rules.security != Some(Level::NoAuthNoPriv) {
                warn!(user = %rules.name, "This SNMP user has no keys: add it with `fluxoscope snmp user add`.");
                continue;
            }
            let user = User {
                name: rules.name.clone(),
                authentication: None,
                privacy: None,
                least: Level::NoAuthNoPriv,
                view: rules.view.clone(),
                scope: view(&rules.view),
            };
            known.insert(rules.name.clone().into_bytes(), Arc::new(user));
        }
        let communities = config.communities.clone();
        Self {
            communities,
            community_scope: view(&config.view),
            users: known,
            tables: vacm::Tables::default(),
        }
    }

    /// With what shows it: users are those of the engine with this identifier.
    pub(super) fn shown(mut self, config: &Config, engine: &[u8]) -> Self {
        let standard = core::iter::once((DEFAULT_VIEW, ViewRules::standard()));
        let views = standard.chain(config.views.iter().map(|(name, rules)| (name.as_str(), rules.clone())));
        self.tables = vacm::Tables::new(&self, &config.view, views, engine);
        self
    }

    /// How many communities there are.
    pub(super) fn communities(&self) -> usize {
        self.communities.len()
    }

    pub(super) fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values().map(Arc::as_ref)
    }

    /// What a community may see.
    pub(super) fn community(&self, name: &[u8]) -> Option<&Arc<Scope>> {
        let is_known = self.communities.iter().any(|known| known.as_bytes() == name);
        is_known.then_some(&self.community_scope)
    }

    pub(super) fn user(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.users.get(name)
    }
}
