//! Who may read what: the View-based Access Control Model (RFC 3415), read-only, and nothing for anybody by default.
//!
//! A view is a list of subtrees, included or excluded; the longest that an object lies in decides, and what lies in
//! none is not in the view. Communities share one view, each user has one. There is no view for writing, so nothing
//! can be set. A user's requests must have at least the level of security that the configuration asks for.
//!
//! For the tree, a view is worked out once as a [`Scope`]: whether it covers each leaf whole, in part or not at all.

use std::collections::{BTreeMap, BTreeSet};
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
///
/// A subtree is all names from its own to the end of those below it, so a view with any number of subtrees comes down to
/// spans of names, ascending and apart: whether a name is in the view, and which is the next that is, are binary searches.
#[derive(Debug)]
pub(super) struct Scope {
    /// First name, and the first beyond; `None`: there is no end.
    spans: Vec<(Vec<u32>, Option<Vec<u32>>)>,
    leaves: Vec<Cover>,
}

impl Scope {
    pub(super) fn new(rules: ViewRules, tree: &Tree) -> Self {
        let mut scope = Self { spans: spans(&rules), leaves: Vec::new() };
        scope.leaves = tree.leaves().iter().map(|leaf| scope.cover_of(&leaf.oid)).collect();
        scope
    }

    fn cover_of(&self, subtree: &[u32]) -> Cover {
        let end = beyond(subtree);
        let ends_before =
            |span: &(Vec<u32>, Option<Vec<u32>>)| span.1.as_deref().is_some_and(|end| end <= subtree);
        let span = self.spans.get(self.spans.partition_point(ends_before));
        match span {
            Some((from, to)) if from.as_slice() <= subtree && reaches(to.as_deref(), end.as_deref()) => {
                Cover::Whole
            }
            Some((from, _)) if end.as_ref().is_none_or(|end| from < end) => Cover::Part,
            _ => Cover::None,
        }
    }

    /// How much it covers of the leaf at a position of the tree.
    pub(super) fn cover(&self, leaf: usize) -> Cover {
        self.leaves[leaf]
    }

    /// Whether an instance of a leaf that is covered in part is in the view.
    pub(super) fn allows(&self, oid: &[u32]) -> bool {
        let after = self.spans.partition_point(|(from, _)| from.as_slice() <= oid);
        let span = after.checked_sub(1).map(|at| &self.spans[at]);
        span.is_some_and(|(_, to)| to.as_deref().is_none_or(|to| oid < to))
    }

    /// Where the view goes on after a name that is not in it.
    pub(super) fn resumes(&self, oid: &[u32]) -> Option<&[u32]> {
        let after = self.spans.partition_point(|(from, _)| from.as_slice() <= oid);
        self.spans.get(after).map(|(from, _)| from.as_slice())
    }
}

/// The first name after all that begin with this one.
fn beyond(subtree: &[u32]) -> Option<Vec<u32>> {
    let last = subtree.iter().rposition(|&arc| arc < u32::MAX)?;
    let mut beyond = subtree[..=last].to_vec();
    beyond[last] += 1;
    Some(beyond)
}

/// Whether what ends at `to` has all of what ends at `end`.
fn reaches(to: Option<&[u32]>, end: Option<&[u32]>) -> bool {
    to.is_none_or(|to| end.is_some_and(|end| end <= to))
}

/// The names in a view. Between two borders of subtrees all names are in the same subtrees, so the first tells for all.
fn spans(rules: &ViewRules) -> Vec<(Vec<u32>, Option<Vec<u32>>)> {
    // Of a subtree that is both, nothing is seen.
    let mut subtrees: BTreeMap<&[u32], bool> =
        rules.include.iter().map(|subtree| (subtree.as_slice(), true)).collect();
    subtrees.extend(rules.exclude.iter().map(|subtree| (subtree.as_slice(), false)));
    let is_in = |name: &[u32]| {
        (0..=name.len()).rev().find_map(|length| subtrees.get(&name[..length]).copied()).unwrap_or(false)
    };
    let ends = subtrees.keys().filter_map(|subtree| beyond(subtree));
    let borders: BTreeSet<Vec<u32>> = subtrees.keys().map(|subtree| subtree.to_vec()).chain(ends).collect();
    let mut spans: Vec<(Vec<u32>, Option<Vec<u32>>)> = Vec::new();
    let mut open = None;
    for border in borders {
        match (open.take(), is_in(&border)) {
            (None, true) => open = Some(border),
            (Some(from), false) => spans.push((from, Some(border))),
            (before, _) => open = before,
        }
    }
    spans.extend(open.map(|from| (from, None)));
    spans
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
        let names: Vec<&str> = known.values().map(|user| user.name.as_str()).collect();
        for user in config.unknown_senders(&names) {
            warn!(
                user,
                "Notifications by this SNMP user are not sent: it has no keys. Add it with `fluxoscope snmp user add`."
            );
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_view_is_spans_of_names() {
        let rules = ViewRules {
            include: vec![vec![1, 3], vec![1, 3, 6, 1, 7], vec![1, 5, u32::MAX], vec![2, 9]],
            exclude: vec![vec![1, 3, 6], vec![2, 9]],
        };
        let expected = [
            (vec![1, 3], Some(vec![1, 3, 6])),
            (vec![1, 3, 6, 1, 7], Some(vec![1, 3, 6, 1, 8])),
            (vec![1, 3, 7], Some(vec![1, 4])),
            (vec![1, 5, u32::MAX], Some(vec![1, 6])),
        ];
        assert_eq!(spans(&rules), expected);
        let scope = Scope::new(rules, &Tree::new(&[]));
        assert_eq!(scope.resumes(&[1, 3, 6, 1]), Some(&[1, 3, 6, 1, 7][..]));
        assert_eq!(scope.resumes(&[1, 4, 2]), Some(&[1, 5, u32::MAX][..]));
        assert_eq!(scope.resumes(&[1, 6]), Option::None);
        let covers = [&[1, 3][..], &[1, 3, 6], &[1, 3, 6, 1, 7, 2], &[1, 4], &[1, 5], &[2, 9], &[]];
        let covers = covers.map(|subtree| scope.cover_of(subtree));
        use Cover::{None, Part, Whole};
        assert_eq!(covers, [Part, Part, Whole, None, Part, None, Part]);
        // Everything, without an end.
        let all = ViewRules { include: vec![Vec::new()], exclude: vec![vec![u32::MAX]] };
        assert_eq!(spans(&all), [(Vec::new(), Some(vec![u32::MAX]))]);
        let all = ViewRules { include: vec![vec![u32::MAX, u32::MAX]], exclude: Vec::new() };
        assert_eq!(spans(&all), [(vec![u32::MAX, u32::MAX], Option::None)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Spans say of every name what the longest subtree says (RFC 3415, vacmViewTreeFamilyTable).
        #[test]
        fn spans_say_what_the_longest_subtree_says(
            include in prop::collection::vec(names(), 0..8),
            exclude in prop::collection::vec(names(), 0..8),
            names in prop::collection::vec(names(), 1..20),
        ) {
            let longest = |of: &[Vec<u32>], name: &[u32]| {
                of.iter().filter(|one| name.starts_with(one)).map(|one| one.len() + 1).max().unwrap_or(0)
            };
            let rules = ViewRules { include, exclude };
            let scope = Scope::new(rules.clone(), &Tree::new(&[]));
            for name in names {
                let expected = longest(&rules.include, &name) > longest(&rules.exclude, &name);
                prop_assert_eq!(scope.allows(&name), expected, "{:?}", name);
                if let Some(next) = scope.resumes(&name) {
                    prop_assert!(next > name.as_slice() && scope.allows(next));
                }
            }
        }
    }

    /// Few numbers, so that names meet; the greatest has nothing after it.
    fn names() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(prop::sample::select(&[0, 1, 2, u32::MAX][..]), 0..5)
    }
}
