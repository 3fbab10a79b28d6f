//! The stored versions: which of them are compiled at once, what the names in them meant when, and what is left until a
//! flow asks for it.
//!
//! The newest versions are compiled at once, as many as fit in `OLDER_OCTETS`; an older one is read and compiled when a
//! flow asks for it.

use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::warn;

use super::Error;
use crate::classify::named::History;
use crate::classify::rules::Network;
use crate::classify::{Base, Classifier, Moves, Names, Older, Span};
use crate::diagnostic;
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::ledger::Ledger;
use crate::ledger::records::{ConfigBeginning, ConfigVersion, NameKind};
use crate::processor::exporters::{Exporters, NUMBERED_MAX};

/// Versions before the newest that are compiled at once, at most. Nearly all flows ended a while ago at most.
const VERSIONS_MAX: usize = 256;

/// Octets that the prefix tables of these may take together, but for the last one.
const OLDER_OCTETS: usize = 8 << 20;

/// Meanings of interface names that are compiled, at most, over all versions: the newest ones. Each takes a table of the
/// exporters' interfaces. Flows that ended before the oldest of these are classified by it.
const MEANINGS_MAX: usize = 64;

/// Prefix tables that a lookup in an older version goes through, at most: each is what is different from the next newer one's.
const LAYERS_MAX: usize = 8;

/// Numbers of exporters that old versions leave to what is yet to come.
const SPARE_NUMBERS: usize = 8192;

/// What exporters said of their interfaces.
pub(super) fn history(ledger: &mut Ledger) -> Result<History, Error> {
    let entries = ledger.interfaces()?;
    if entries.is_empty() {
        return Ok(History::default());
    }
    let names: HashMap<u32, String> = ledger.names(NameKind::Exporter)?.into_iter().collect();
    Ok(History::new(&entries, |number| names.get(&number).cloned()))
}

pub(super) fn parse(version: &ConfigVersion) -> Result<Network, Error> {
    serde_json::from_str(&version.text)
        .map_err(|source| Error::Stored { sha256: version.sha256.clone(), source })
}

/// A stored version with its text.
pub(super) fn read(version: &ConfigBeginning, ledger: &mut Ledger) -> Result<ConfigVersion, Error> {
    let ConfigBeginning { sha256, valid_from } = version.clone();
    match ledger.config_text(&sha256)? {
        Some(text) => Ok(ConfigVersion { sha256, text, valid_from }),
        None => Err(Error::Missing { sha256 }),
    }
}

/// The newest versions.
pub(super) struct Compiled {
    /// By the instant from which each holds.
    pub(super) classifiers: Vec<(i64, Arc<Classifier>)>,
    /// What they were made of, by the hash of the text.
    pub(super) by_text: ByText,
    /// How many older ones there are.
    pub(super) older: usize,
}

type ByText = HashMap<String, Arc<Base>>;

/// When a version holds: from its beginning to the next one's. The first version also holds for all time before it, in
/// which names may have had other meanings.
fn holds(stored: &[ConfigBeginning], place: usize) -> (i64, i64) {
    let from = if place == 0 { i64::MIN } else { stored[place].valid_from };
    (from, stored.get(place + 1).map_or(i64::MAX, |next| next.valid_from))
}

/// Compiles the versions before the newest, which is compiled, from there on back; but not what is compiled already: the same
/// text again, or in force before. Only in a start: afterwards what was left then is left until a flow asks for it, since the
/// ledger's writer has other things to do.
pub(super) fn compile(
    stored: &[ConfigBeginning],
    newest: &Arc<Base>,
    mut moves: Moves,
    history: &History,
    ledger: &mut Ledger,
    registry: &Exporters,
) -> Result<Compiled, Error> {
    let mut classifiers = Vec::new();
    let mut by_text = ByText::new();
    let (mut meanings, mut octets, mut older) = (0, 0, 0);
    let is_start = !registry.has_compiled();
    for (place, version) in stored.iter().enumerate().rev() {
        if octets > OLDER_OCTETS || meanings >= MEANINGS_MAX || stored.len() - place > VERSIONS_MAX {
            older = place + 1;
            break;
        }
        let is_newest = place + 1 == stored.len();
        let known = if is_newest { Some(Arc::clone(newest)) } else { by_text.get(&version.sha256).cloned() };
        let known = known.or_else(|| {
            let before = registry.compiled(&version.sha256)?;
            Some(before.follow(&mut moves).map_or(before, Arc::new))
        });
        if known.is_none() && !is_start {
            older = place + 1;
            break;
        }
        // What is compiled now counts as if it took as much as the newest: that is about how long it takes.
        octets += if known.is_none() { newest.plain().prefix_octets() } else { 0 };
        let base = match known.map_or_else(|| read_base(version, newest, ledger, registry), Ok) {
            Err(error @ Error::TooMany { .. }) => {
                // Flows from then are classified by the next later version.
                warn!(%error, "Configuration versions as old as this one are left out.");
                break;
            }
            outcome => outcome?,
        };
        if base.layers() > LAYERS_MAX {
            older = place + 1;
            break;
        }
        let mut made = compile_one(&base, version.valid_from, holds(stored, place), history)?;
        meanings += made.len() - 1;
        let is_shared = by_text.values().any(|other| other.plain().shares_prefixes(base.plain()));
        octets += if is_newest || is_shared { 0 } else { base.plain().prefix_octets() };
        made.reverse();
        classifiers.append(&mut made);
        by_text.insert(version.sha256.clone(), base);
    }
    // Of two with the same beginning the later one holds.
    classifiers.reverse();
    Ok(Compiled { classifiers, by_text, older })
}

/// A stored version, compiled. Of prefixes it has what is different from `newest`.
fn read_base(
    version: &ConfigBeginning,
    newest: &Base,
    ledger: &mut Ledger,
    registry: &Exporters,
) -> Result<Arc<Base>, Error> {
    let network = parse(&read(version, ledger)?)?;
    let names = Wanted::of(&network).names(ledger, registry, SPARE_NUMBERS)?;
    Ok(Arc::new(Base::compile(&network, &names, Some(newest.plain()))?.over(newest.plain())))
}

/// The classifiers of a version, one for each meaning that the names in it had while it was in force, in time.
pub(super) fn compile_one(
    base: &Base,
    valid_from: i64,
    (from, to): (i64, i64),
    history: &History,
) -> Result<Vec<(i64, Arc<Classifier>)>, Error> {
    let Some(network) = base.named() else { return Ok(vec![(valid_from, Arc::clone(base.plain()))]) };
    let meanings = history.meanings(network, from, to);
    let newest = meanings.iter().skip(meanings.len().saturating_sub(MEANINGS_MAX));
    newest.map(|(at, resolved)| Ok((*at, base.meaning(resolved)?))).collect()
}

/// The first `count` versions of the ledger, each compiled when a flow asks for it.
pub(super) fn later(
    stored: Vec<ConfigBeginning>,
    count: usize,
    newest: &Arc<Base>,
    history: Arc<History>,
    ledger: &Ledger,
    registry: &Arc<Exporters>,
) -> Option<Older> {
    let (url, registry, failures) = (ledger.url().clone(), Arc::downgrade(registry), AtomicU64::new(0));
    let newest = Arc::clone(newest);
    (count > 0).then(|| Older::new(move |instant| {
        let registry = registry.upgrade()?;
        let place = stored.partition_point(|version| version.valid_from <= instant.0).saturating_sub(1);
        if place >= count {
            return None; // Of names that had more meanings than are compiled.
        }
        let holds = holds(&stored, place);
        let compiled = Ledger::open_existing(&url).map_err(Error::from).and_then(|mut ledger| {
            let base = read_base(&stored[place], &newest, &mut ledger, &registry)?;
            compile_one(&base, stored[place].valid_from, holds, &history)
        });
        match compiled {
            Ok(made) => Some(spans(made, holds)),
            Err(error) => {
                // Each batch of flows from then asks again.
                if failures.fetch_add(1, Relaxed).wrapping_add(1).is_power_of_two() {
                    warn!(
                        error = diagnostic::with_causes(&error), version = stored[place].sha256,
                        "A configuration version could not be had; flows from when it was in force are classified by a later \
                         one, and counted as `by_other_version` in `ctl status`."
                    );
                }
                None
            }
        }
    }))
}

/// When each of a version's classifiers holds.
fn spans(made: Vec<(i64, Arc<Classifier>)>, (from, to): (i64, i64)) -> Span {
    let ends: Vec<i64> = made.iter().skip(1).map(|(at, _)| *at).chain([to]).collect();
    let mut begins = from;
    let span = |((_, held), end)| (core::mem::replace(&mut begins, end)..end, held);
    made.into_iter().zip(ends).map(span).collect()
}

/// Names that are to be numbered.
pub struct Wanted {
    exporters: Vec<(String, IpAddr)>,
    links: Vec<String>,
    classes: Vec<String>,
    customers: Vec<String>,
}

impl Wanted {
    /// All names of a network.
    pub(super) fn of(network: &Network) -> Self {
        Self {
            exporters: network.exporters.iter().map(|one| (one.name.clone(), one.address)).collect(),
            links: network.links.iter().map(|link| link.name.clone()).collect(),
            classes: network.classes.iter().map(|class| class.name.clone()).collect(),
            customers: network.customers.iter().map(|customer| customer.name.clone()).collect(),
        }
    }

    /// Their numbers, where `spare` numbers of exporters are left then.
    pub(super) fn names(
        &self,
        ledger: &mut Ledger,
        registry: &Exporters,
        spare: usize,
    ) -> Result<Names, Error> {
        fn interned<T>(
            ledger: &mut Ledger,
            kind: NameKind,
            names: &[String],
            number: impl Fn(u32) -> Result<T, Error>,
        ) -> Result<HashMap<String, T>, Error> {
            let texts: Vec<&str> = names.iter().map(String::as_str).collect();
            let ids = ledger.intern(kind, &texts)?;
            names.iter().zip(ids).map(|(name, id)| Ok((name.clone(), number(id)?))).collect()
        }
        let small = |what| move |id: u32| u16::try_from(id).map_err(|_| Error::TooMany { what, max: 65_535 });
        let (exporters, addresses): (Vec<String>, Vec<IpAddr>) = self.exporters.iter().cloned().unzip();
        interned(ledger, NameKind::Exporter, &exporters, small("exporters"))?;
        let addressed: Vec<(&str, IpAddr)> = exporters.iter().map(String::as_str).zip(addresses).collect();
        let exporters = number_exporters(&addressed, registry, spare)?;
        let classes = small("traffic classes");
        Ok(Names {
            exporters,
            links: interned(ledger, NameKind::Link, &self.links, |id| small("links")(id).map(LinkId))?,
            classes: interned(ledger, NameKind::Class, &self.classes, |id| classes(id).map(ClassId))?,
            customers: interned(ledger, NameKind::Customer, &self.customers, |id| Ok(CustomerId(id)))?,
        })
    }
}

/// Numbers of this process for the exporters, where so many are left then.
pub(super) fn number_exporters(
    exporters: &[(&str, IpAddr)],
    registry: &Exporters,
    spare: usize,
) -> Result<HashMap<String, ExporterId>, Error> {
    let too_many = || Error::TooMany { what: "addresses of exporters since the start", max: NUMBERED_MAX };
    let numbers = registry.number(exporters, spare).ok_or_else(too_many)?;
    Ok(exporters.iter().map(|(name, _)| (*name).to_owned()).zip(numbers).collect())
}
