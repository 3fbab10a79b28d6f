//! The tables of SNMP-VIEW-BASED-ACM-MIB (RFC 3415) and of users in SNMP-USER-BASED-SM-MIB (RFC 3414), read-only: who may
//! see what. The default view does not have them; a view that includes 1.3.6.1.6.3.15 and 1.3.6.1.6.3.16 does.
//!
//! Each community and each user is a group of its own: communities in the security models 1 and 2, by their places in the
//! configuration, since they are secrets; users in 3, by their names. Keys are never shown: `usmUser` has names and
//! protocols only.

use super::access::{Access, Level, ViewRules};
use super::lists::Listing;
use super::snapshot::View;
use super::tree::{Branch, Rows, integer, object_id, octets, text};
use super::usm::{Authentication, Privacy};

const CONTEXT_ENTRY: &[u32] = &[1, 3, 6, 1, 6, 3, 16, 1, 1, 1];
const GROUP_ENTRY: &[u32] = &[1, 3, 6, 1, 6, 3, 16, 1, 2, 1];
const ACCESS_ENTRY: &[u32] = &[1, 3, 6, 1, 6, 3, 16, 1, 4, 1];
const VIEWS: &[u32] = &[1, 3, 6, 1, 6, 3, 16, 1, 5];
const FAMILY_ENTRY: &[u32] = &[1, 3, 6, 1, 6, 3, 16, 1, 5, 2, 1];
const USERS: &[u32] = &[1, 3, 6, 1, 6, 3, 15, 1, 2];
const USER_ENTRY: &[u32] = &[1, 3, 6, 1, 6, 3, 15, 1, 2, 2, 1];

/// StorageType readOnly(5), RowStatus active(1).
const READ_ONLY: i32 = 5;
const ACTIVE: i32 = 1;

/// A community or a user, and its group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// The view that it reads.
    pub(super) view: String,
}

/// A subtree of a view.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) is_included: bool,
}

/// What a user signs and encrypts with.
#[derive(Debug)]
pub(super) struct UserRow {
    pub(super) name: String,
    pub(super) authentication: Option<Authentication>,
    pub(super) privacy: Option<Privacy>,
}

/// The rows, made when who may ask changes.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) groups: Listing<Vec<u32>, Member>,
    pub(super) accesses: Listing<Vec<u32>, Member>,
    pub(super) families: Listing<Vec<u32>, Family>,
    pub(super) users: Listing<Vec<u32>, UserRow>,
}

/// A string of variable length in an index: its length comes first (RFC 2578, 7.7).
fn counted(string: &[u8]) -> Vec<u32> {
    let length = u32::try_from(string.len()).unwrap_or(u32::MAX);
    core::iter::once(length).chain(string.iter().map(|&octet| octet.into())).collect()
}

impl Tables {
    pub(super) fn new<'a>(
        access: &Access,
        community_view: &str,
        views: impl Iterator<Item = (&'a str, ViewRules)>,
        engine: &[u8],
    ) -> Self {
        let (mut groups, mut accesses, mut users) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |model: u32, level: Level, name: &str, view: &str| {
            let member = || Member { name: name.to_owned(), view: view.to_owned() };
            groups.push(([&[model][..], &counted(name.as_bytes())].concat(), member()));
            let level = level as u32 + 1;
            // The context is the empty one.
            accesses.push(([&counted(name.as_bytes())[..], &[0, model, level]].concat(), member()));
        };
        // Who knows a community may read by it, so it is not told.
        for number in 1..=access.communities() {
            for model in [1, 2] {
                add(model, Level::NoAuthNoPriv, &format!("community {number}"), community_view);
            }
        }
        for user in access.users() {
            add(3, user.least, &user.name, &user.view);
            let row = UserRow {
                name: user.name.clone(),
                authentication: user.authentication.as_ref().map(|(protocol, _)| *protocol),
                privacy: user.privacy.as_ref().map(|(protocol, _)| *protocol),
            };
            users.push(([counted(engine), counted(user.name.as_bytes())].concat(), row));
        }
        let families = views.flat_map(|(name, rules)| {
            let row = move |subtree: &Vec<u32>, is_included| {
                let length = u32::try_from(subtree.len()).unwrap_or(u32::MAX);
                ([&counted(name.as_bytes())[..], &[length], subtree].concat(), Family { is_included })
            };
            // Of a subtree that is both, the longest decides as everywhere, and it is not seen.
            let excluded: Vec<_> = rules.exclude.iter().map(|subtree| row(subtree, false)).collect();
            let included: Vec<_> = rules.include.iter().map(|subtree| row(subtree, true)).collect();
            excluded.into_iter().chain(included)
        });
        Self {
            families: Listing::new(families.collect()),
            groups: Listing::new(groups),
            accesses: Listing::new(accesses),
            users: Listing::new(users),
        }
    }
}

/// Branches of the tree. Only what is accessible stands here.
pub(super) const BRANCHES: &[Branch] = &[
    Branch {
        parent: &[CONTEXT_ENTRY],
        rows: Rows::VacmContexts,
        // The one context is the empty one.
        objects: &[text(1, "vacmContextName", |_, _| "".into())],
    },
    Branch {
        parent: &[GROUP_ENTRY],
        rows: Rows::VacmGroups,
        objects: &[
            text(3, "vacmGroupName", |view, row| view.vacm().groups.row(row).name.as_str().into()),
            integer(4, "vacmSecurityToGroupStorageType", |_, _| READ_ONLY),
            integer(5, "vacmSecurityToGroupStatus", |_, _| ACTIVE),
        ],
    },
    Branch {
        parent: &[ACCESS_ENTRY],
        rows: Rows::VacmAccesses,
        objects: &[
            // exact(1).
            integer(4, "vacmAccessContextMatch", |_, _| 1),
            text(5, "vacmAccessReadViewName", |view, row| view.vacm().accesses.row(row).view.as_str().into()),
            text(6, "vacmAccessWriteViewName", |_, _| "".into()),
            // What is notified is the same for everybody.
            text(7, "vacmAccessNotifyViewName", |_, _| super::DEFAULT_VIEW.into()),
            integer(8, "vacmAccessStorageType", |_, _| READ_ONLY),
            integer(9, "vacmAccessStatus", |_, _| ACTIVE),
        ],
    },
    Branch {
        parent: &[VIEWS],
        rows: Rows::Scalar,
        // Never changes: nothing can be set.
        objects: &[integer(1, "vacmViewSpinLock", |_, _| 0)],
    },
    Branch {
        parent: &[FAMILY_ENTRY],
        rows: Rows::VacmFamilies,
        objects: &[
            // All ones: no wildcards.
            octets(3, "vacmViewTreeFamilyMask", |_, _| Vec::new()),
            // included(1), excluded(2).
            integer(4, "vacmViewTreeFamilyType", |view, row| {
                if view.vacm().families.row(row).is_included { 1 } else { 2 }
            }),
            integer(5, "vacmViewTreeFamilyStorageType", |_, _| READ_ONLY),
            integer(6, "vacmViewTreeFamilyStatus", |_, _| ACTIVE),
        ],
    },
    Branch { parent: &[USERS], rows: Rows::Scalar, objects: &[integer(1, "usmUserSpinLock", |_, _| 0)] },
    Branch {
        parent: &[USER_ENTRY],
        rows: Rows::UsmUsers,
        objects: &[
            text(3, "usmUserSecurityName", |view, row| user(view, row).name.as_str().into()),
            // zeroDotZero: nobody is cloned.
            object_id(4, "usmUserCloneFrom", |_, _| (&[0, 0][..]).into()),
            object_id(5, "usmUserAuthProtocol", |view, row| {
                user(view, row).authentication.map_or(NO_AUTHENTICATION, authentication).into()
            }),
            // Empty when read (RFC 3414, 5): changes of keys are not for reading.
            octets(6, "usmUserAuthKeyChange", |_, _| Vec::new()),
            octets(7, "usmUserOwnAuthKeyChange", |_, _| Vec::new()),
            object_id(8, "usmUserPrivProtocol", |view, row| {
                user(view, row).privacy.map_or(NO_PRIVACY, privacy).into()
            }),
            octets(9, "usmUserPrivKeyChange", |_, _| Vec::new()),
            octets(10, "usmUserOwnPrivKeyChange", |_, _| Vec::new()),
            octets(11, "usmUserPublic", |_, _| Vec::new()),
            integer(12, "usmUserStorageType", |_, _| READ_ONLY),
            integer(13, "usmUserStatus", |_, _| ACTIVE),
        ],
    },
];

/// Protocols by number (RFC 3414, RFC 7860, RFC 3826; AES with longer keys as net-snmp and Cisco number them).
const NO_AUTHENTICATION: &[u32] = &[1, 3, 6, 1, 6, 3, 10, 1, 1, 1];
const NO_PRIVACY: &[u32] = &[1, 3, 6, 1, 6, 3, 10, 1, 2, 1];

fn authentication(protocol: Authentication) -> &'static [u32] {
    match protocol {
        Authentication::Md5 => &[1, 3, 6, 1, 6, 3, 10, 1, 1, 2],
        Authentication::Sha1 => &[1, 3, 6, 1, 6, 3, 10, 1, 1, 3],
        Authentication::Sha224 => &[1, 3, 6, 1, 6, 3, 10, 1, 1, 4],
        Authentication::Sha256 => &[1, 3, 6, 1, 6, 3, 10, 1, 1, 5],
        Authentication::Sha384 => &[1, 3, 6, 1, 6, 3, 10, 1, 1, 6],
        Authentication::Sha512 => &[1, 3, 6, 1, 6, 3, 10, 1, 1, 7],
    }
}

fn privacy(protocol: Privacy) -> &'static [u32] {
    match protocol {
        Privacy::Des => &[1, 3, 6, 1, 6, 3, 10, 1, 2, 2],
        Privacy::Aes128 => &[1, 3, 6, 1, 6, 3, 10, 1, 2, 4],
        Privacy::Aes256 => &[1, 3, 6, 1, 4, 1, 14832, 1, 4],
        Privacy::Aes256Cisco => &[1, 3, 6, 1, 4, 1, 9, 12, 6, 1, 2],
    }
}

fn user<'a>(view: &'a View<'_>, row: usize) -> &'a UserRow {
    view.vacm().users.row(row)
}
