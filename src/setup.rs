//! Putting a configuration in force: names become the ledger's numbers, the network becomes classifiers.
//!
//! Every version of the network is stored in the ledger, with the instant from which it holds. A flow is classified
//! by the version in force at its end, also when it is replayed later. The newest versions are compiled at once, as many as
//! fit in `OLDER_OCTETS`; an older one is read and compiled when a flow asks for it. A text is compiled once: what is in
//! force, and what comes back, is not compiled again.

use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sha2::{Digest, Sha256};
use tracing::warn;

use crate::classify::named::History;
use crate::classify::rules::{InterfaceName, LinkPoint, Network};
use crate::classify::{Classifier, CompileError, Names, Older, Span, Versions};
use crate::config::Config;
use crate::diagnostic;
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::ledger::records::{ConfigBeginning, ConfigVersion, NameKind};
use crate::ledger::{self, Ledger};
use crate::processor;
use crate::processor::exporters::{Exporters, NUMBERED_MAX};
use crate::units::UnixMillis;

/// Versions before the newest that are compiled at once, at most. Nearly all flows ended a while ago at most.
const VERSIONS_MAX: usize = 256;

/// Octets that the prefix tables of these may take together, but for the last one.
const OLDER_OCTETS: usize = 8 << 20;

/// Meanings of interface names that are compiled, at most, over all versions: the newest ones. Each takes a table of the
/// exporters' interfaces. Flows that ended before the oldest of these are classified by it.
const MEANINGS_MAX: usize = 64;

/// How a network's text shows that it has links by name.
const NAMED: &str = "{\"Named\":";

/// Numbers of exporters that old versions leave to what is yet to come.
const SPARE_NUMBERS: usize = 8192;

/// Why a configuration cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger refused something.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// More names than their numbers can count.
    #[error("more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A stored version cannot be read.
    #[error("configuration version {sha256} in the ledger cannot be read")]
    Stored {
        /// Its hash.
        sha256: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A version of which the ledger has the hash and no text.
    #[error(
        "the text of configuration version {sha256} is not in the ledger any more; `fluxoscope audit` tells more"
    )]
    Missing {
        /// Its hash.
        sha256: String,
    },
    /// A link by the names of interfaces, where no ledger says what they mean.
    #[error(
        "link `{link}` has interfaces by name, which only a ledger can tell; give `ifindex` to look at it without one"
    )]
    ByName {
        /// The link.
        link: String,
    },
    /// The configuration is not the one that is in force.
    #[error(
        "this configuration is not in force: `fluxoscope ctl reload` puts it there, or a start of the daemon"
    )]
    NotInForce,
    /// A version does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// What the newest version says, in the ledger's numbers.
#[derive(Debug, Default)]
pub struct InForce {
    /// Links.
    pub links: Vec<u32>,
    /// Customers.
    pub customers: Vec<CustomerId>,
    /// Names of its exporters.
    pub exporters: Vec<String>,
    /// Kind by link name.
    pub kinds: HashMap<String, String>,
    /// SHA-256 of the newest version's text, in hex; empty where there is none.
    pub sha256: String,
    /// Exporters with links by name whose interfaces nobody was told of yet: their records wait.
    pub waiting: Vec<String>,
    /// Exporters that have started anew and do not show all interfaces of links yet: their records wait for a while.
    pub returning: Vec<String>,
}

/// Stores `config`'s network as a version that holds from `now_ms` on, if it is new, and puts it in force.
/// A configuration that nobody wrote (no file) is not stored: it leaves what the ledger has in force.
///
/// # Errors
/// See [`Error`]. The configuration in force before stays in force.
pub fn put_in_force(
    config: &Config,
    accept_unknown: bool,
    ledger: &mut Ledger,
    registry: &Arc<Exporters>,
    now_ms: i64,
) -> Result<InForce, Error> {
    let (text, sha256) = canonical(&config.network);
    let mut stored = ledger.config_beginnings()?;
    let is_new = !config.files.is_empty() && stored.last().is_none_or(|newest| newest.sha256 != sha256);
    if is_new {
        // A clock that was set back does not make a version hold before its predecessor.
        let valid_from = stored.last().map_or(now_ms, |newest| now_ms.max(newest.valid_from));
        stored.push(ConfigBeginning { sha256: sha256.clone(), valid_from });
    }
    if stored.is_empty() {
        stored.push(ConfigBeginning { sha256: String::new(), valid_from: 0 });
    }
    let newest = stored.last().expect("one was put there");
    let newest = match newest.sha256.is_empty() || newest.sha256 == sha256 {
        true => ConfigVersion { sha256: newest.sha256.clone(), text, valid_from: newest.valid_from },
        false => read(newest, ledger)?,
    };
    let history = Arc::new(history(ledger)?);
    let in_force = say_in_force(&newest, &history, now_ms, ledger, registry)?;
    let Compiled { classifiers, by_text, older } = compile(&stored, &newest, &history, ledger, registry)?;
    // Stored last: a version that does not compile must not be found by the next start.
    if is_new {
        ledger.put_config_version(&newest)?;
    }
    let older = later(stored, older, history, ledger, registry);
    let mut exporters = config.exporters.clone();
    for exporter in &mut exporters {
        exporter.sampling.names_awaited = in_force.waiting.contains(&exporter.name);
        // Where nobody asks any more, nothing comes.
        let is_asked = config.targets.iter().any(|target| target.exporter == exporter.name);
        exporter.sampling.interfaces_awaited = is_asked && in_force.returning.contains(&exporter.name);
    }
    registry.configure(&exporters, accept_unknown, Arc::new(Versions::new(classifiers).after(older)));
    registry.keep_compiled(by_text);
    Ok(in_force)
}

/// Works out anew what the names of interfaces mean by `config`. False where the ledger has another configuration by now: a
/// reload has overtaken this one, which must not come back.
///
/// # Errors
/// As [`put_in_force`].
pub fn put_in_force_again(
    config: &Config,
    accept_unknown: bool,
    ledger: &mut Ledger,
    registry: &Arc<Exporters>,
    now_ms: i64,
) -> Result<bool, Error> {
    let (_, sha256) = canonical(&config.network);
    let newest = ledger.config_beginnings()?.pop();
    if !config.files.is_empty() && newest.is_none_or(|newest| newest.sha256 != sha256) {
        return Ok(false);
    }
    put_in_force(config, accept_unknown, ledger, registry, now_ms)?;
    Ok(true)
}

/// Puts the newest version alone in force, for all time, with what the names of interfaces meant when: to read the past
/// again by it. Its hash.
///
/// # Errors
/// [`Error::NotInForce`] where `config` is not that version; otherwise see [`Error`].
pub fn put_alone(
    config: &Config,
    accept_unknown: bool,
    ledger: &mut Ledger,
    registry: &Exporters,
    now_ms: i64,
) -> Result<String, Error> {
    let (_, sha256) = canonical(&config.network);
    let newest = ledger.config_beginnings()?.pop();
    let beginning = newest.filter(|newest| newest.sha256 == sha256).ok_or(Error::NotInForce)?;
    let version = read(&beginning, ledger)?;
    let history = history(ledger)?;
    let in_force = say_in_force(&version, &history, now_ms, ledger, registry)?;
    let Compiled { classifiers, .. } =
        compile(core::slice::from_ref(&beginning), &version, &history, ledger, registry)?;
    let mut exporters = config.exporters.clone();
    for exporter in &mut exporters {
        exporter.sampling.names_awaited = in_force.waiting.contains(&exporter.name);
    }
    registry.configure(&exporters, accept_unknown, Arc::new(Versions::new(classifiers)));
    Ok(sha256)
}

/// The text that a network is stored as, and its hash.
fn canonical(network: &Network) -> (String, String) {
    let text = serde_json::to_string(network).expect("a network has only string keys");
    let sha256 = hex(&Sha256::digest(text.as_bytes()));
    (text, sha256)
}

/// What exporters said of their interfaces.
fn history(ledger: &mut Ledger) -> Result<History, Error> {
    let entries = ledger.interfaces()?;
    if entries.is_empty() {
        return Ok(History::default());
    }
    let names: HashMap<u32, String> = ledger.names(NameKind::Exporter)?.into_iter().collect();
    Ok(History::new(&entries, |number| names.get(&number).cloned()))
}

fn parse(version: &ConfigVersion) -> Result<Network, Error> {
    serde_json::from_str(&version.text)
        .map_err(|source| Error::Stored { sha256: version.sha256.clone(), source })
}

/// What the newest version says. It comes first to the numbers of exporters in this process.
fn say_in_force(
    version: &ConfigVersion,
    history: &History,
    now_ms: i64,
    ledger: &mut Ledger,
    registry: &Exporters,
) -> Result<InForce, Error> {
    let network = parse(version)?;
    let names = number(&network, ledger, registry, 0)?;
    let resolved = history.resolve(&network, UnixMillis(now_ms));
    for (interface, has, wants) in &resolved.disputed {
        let link = |at: usize| network.links.get(at).map_or("?", |link| link.name.as_str());
        warn!(
            exporter = %interface.exporter, ifindex = interface.ifindex.0, link = link(*has), other = link(*wants),
            "Two links have this interface by name; it counts for the first."
        );
    }
    // Of those that have just started nobody knows yet.
    let is_told = |name: &InterfaceName| !resolved.returning.contains(&name.exporter);
    for (at, name) in resolved.unmatched.iter().filter(|(_, name)| is_told(name)) {
        let link = network.links.get(*at).map_or("?", |link| link.name.as_str());
        warn!(exporter = %name.exporter, link, name = %name.pattern, "No interface is called so: nothing of it is on the link.");
    }
    Ok(InForce {
        waiting: resolved.waiting.into_iter().collect(),
        returning: resolved.returning.into_iter().collect(),
        links: names.links.values().map(|id| u32::from(id.0)).collect(),
        customers: names.customers.values().copied().collect(),
        exporters: network.exporters.into_iter().map(|exporter| exporter.name).collect(),
        kinds: network.links.into_iter().map(|link| (link.name, link.kind)).collect(),
        sha256: version.sha256.clone(),
    })
}

/// A stored version with its text.
fn read(version: &ConfigBeginning, ledger: &mut Ledger) -> Result<ConfigVersion, Error> {
    let ConfigBeginning { sha256, valid_from } = version.clone();
    match ledger.config_text(&sha256)? {
        Some(text) => Ok(ConfigVersion { sha256, text, valid_from }),
        None => Err(Error::Missing { sha256 }),
    }
}

/// The newest versions.
struct Compiled {
    /// By the instant from which each holds.
    classifiers: Vec<(i64, Arc<Classifier>)>,
    /// By the hash of the text.
    by_text: ByText,
    /// How many older ones there are.
    older: usize,
}

type ByText = HashMap<String, Arc<Classifier>>;

/// When a version holds: from its beginning to the next one's. The first version also holds for all time before it, in
/// which names may have had other meanings.
fn holds(stored: &[ConfigBeginning], place: usize) -> (i64, i64) {
    let from = if place == 0 { i64::MIN } else { stored[place].valid_from };
    (from, stored.get(place + 1).map_or(i64::MAX, |next| next.valid_from))
}

/// Compiles the versions from the newest on back, but not what is compiled already: the same text again, or in force before.
fn compile(
    stored: &[ConfigBeginning],
    newest: &ConfigVersion,
    history: &History,
    ledger: &mut Ledger,
    registry: &Exporters,
) -> Result<Compiled, Error> {
    let mut classifiers = Vec::new();
    let mut by_text = ByText::new();
    let (mut meanings, mut octets, mut older) = (0, 0, 0);
    for (place, version) in stored.iter().enumerate().rev() {
        if octets > OLDER_OCTETS || meanings >= MEANINGS_MAX || stored.len() - place > VERSIONS_MAX {
            older = place + 1;
            break;
        }
        let is_newest = place + 1 == stored.len();
        let own = is_newest.then_some(newest);
        let mut made =
            match compile_one(version, own, holds(stored, place), history, &mut by_text, ledger, registry) {
                Err(error @ Error::TooMany { .. }) if !classifiers.is_empty() => {
                    // Flows from then are classified by the next later version.
                    warn!(%error, "Configuration versions as old as this one are left out.");
                    break;
                }
                outcome => outcome?,
            };
        meanings += made.len() - 1;
        octets += if is_newest { 0 } else { made.iter().map(|(_, held)| held.prefix_octets()).sum() };
        made.reverse();
        classifiers.append(&mut made);
    }
    // Of two with the same beginning the later one holds.
    classifiers.reverse();
    Ok(Compiled { classifiers, by_text, older })
}

/// Compiles one version; `own`: with its text, where that is not to be read.
fn compile_one(
    version: &ConfigBeginning,
    own: Option<&ConfigVersion>,
    holds: (i64, i64),
    history: &History,
    by_text: &mut ByText,
    ledger: &mut Ledger,
    registry: &Exporters,
) -> Result<Vec<(i64, Arc<Classifier>)>, Error> {
    // What nobody wrote has no hash, and what has names another key.
    if let Some(plain) = known(&version.sha256, by_text, registry).filter(|_| !version.sha256.is_empty()) {
        by_text.insert(version.sha256.clone(), Arc::clone(&plain));
        return Ok(vec![(version.valid_from, plain)]);
    }
    let read = own.is_none().then(|| read(version, ledger)).transpose()?;
    let version = own.or(read.as_ref()).expect("one of both");
    if version.text.contains(NAMED) {
        return compile_meanings(version, holds, history, by_text, ledger, registry);
    }
    let network = parse(version)?;
    let names = number(&network, ledger, registry, SPARE_NUMBERS)?;
    let plain = Arc::new(Classifier::compile(&network, &names)?);
    by_text.insert(version.sha256.clone(), Arc::clone(&plain));
    Ok(vec![(version.valid_from, plain)])
}

/// The first `count` versions of the ledger, each compiled when a flow asks for it.
fn later(
    stored: Vec<ConfigBeginning>,
    count: usize,
    history: Arc<History>,
    ledger: &Ledger,
    registry: &Arc<Exporters>,
) -> Option<Older> {
    let (url, registry, failures) = (ledger.url().clone(), Arc::downgrade(registry), AtomicU64::new(0));
    (count > 0).then(|| Older::new(move |instant| {
        let registry = registry.upgrade()?;
        let place = stored.partition_point(|version| version.valid_from <= instant.0).saturating_sub(1);
        if place >= count {
            return None; // Of names that had more meanings than are compiled.
        }
        let holds = holds(&stored, place);
        let compiled = Ledger::open_existing(&url).map_err(Error::from).and_then(|mut ledger| {
            compile_one(&stored[place], None, holds, &history, &mut ByText::new(), &mut ledger, &registry)
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

/// A classifier that was compiled already, now or before.
fn known(key: &str, by_text: &ByText, registry: &Exporters) -> Option<Arc<Classifier>> {
    by_text.get(key).map(Arc::clone).or_else(|| registry.compiled(key))
}

/// The classifiers of a version, one for each meaning that the names in it had while it was in force, in time.
fn compile_meanings(
    version: &ConfigVersion,
    (from, to): (i64, i64),
    history: &History,
    by_text: &mut ByText,
    ledger: &mut Ledger,
    registry: &Exporters,
) -> Result<Vec<(i64, Arc<Classifier>)>, Error> {
    let network = parse(version)?;
    let names = number(&network, ledger, registry, SPARE_NUMBERS)?;
    let meanings = history.meanings(&network, from, to);
    let mut made: Vec<(i64, Arc<Classifier>)> = Vec::new();
    for (at, resolved) in meanings.iter().skip(meanings.len().saturating_sub(MEANINGS_MAX)) {
        let key = format!("{}\n{}", version.sha256, resolved.digest());
        let classifier = match (known(&key, by_text, registry), made.last()) {
            (Some(classifier), _) => classifier,
            (None, Some((_, same))) => Arc::new(same.resolved_anew(&network, &names, resolved)?),
            (None, None) => Arc::new(Classifier::compile_resolved(&network, &names, resolved)?),
        };
        by_text.insert(key, Arc::clone(&classifier));
        made.push((*at, classifier));
    }
    Ok(made)
}

/// Numbers for all names of a network, where so many numbers of exporters are left then.
fn number(
    network: &Network,
    ledger: &mut Ledger,
    registry: &Exporters,
    spare: usize,
) -> Result<Names, Error> {
    fn interned<T>(
        ledger: &mut Ledger,
        kind: NameKind,
        names: Vec<&str>,
        number: impl Fn(u32) -> Result<T, Error>,
    ) -> Result<HashMap<String, T>, Error> {
        let ids = ledger.intern(kind, &names)?;
        names.into_iter().zip(ids).map(|(name, id)| Ok((name.to_owned(), number(id)?))).collect()
    }
    let small = |what| move |id: u32| u16::try_from(id).map_err(|_| Error::TooMany { what, max: 65_535 });
    let links = network.links.iter().map(|link| link.name.as_str()).collect();
    let classes = network.classes.iter().map(|class| class.name.as_str()).collect();
    let customers = network.customers.iter().map(|customer| customer.name.as_str()).collect();
    let exporters = network.exporters.iter().map(|exporter| exporter.name.as_str()).collect();
    interned(ledger, NameKind::Exporter, exporters, small("exporters"))?;
    let exporters = number_exporters(network, registry, spare)?;
    Ok(Names {
        exporters,
        links: interned(ledger, NameKind::Link, links, |id| small("links")(id).map(LinkId))?,
        classes: interned(ledger, NameKind::Class, classes, |id| small("traffic classes")(id).map(ClassId))?,
        customers: interned(ledger, NameKind::Customer, customers, |id| Ok(CustomerId(id)))?,
    })
}

/// Numbers of this process for the exporters, where so many are left then.
fn number_exporters(
    network: &Network,
    registry: &Exporters,
    spare: usize,
) -> Result<HashMap<String, ExporterId>, Error> {
    let addresses: Vec<(&str, IpAddr)> =
        network.exporters.iter().map(|exporter| (exporter.name.as_str(), exporter.address)).collect();
    let too_many = || Error::TooMany { what: "addresses of exporters since the start", max: NUMBERED_MAX };
    let numbers = registry.number(&addresses, spare).ok_or_else(too_many)?;
    Ok(addresses.iter().map(|(name, _)| (*name).to_owned()).zip(numbers).collect())
}

/// Puts a configuration in force without any ledger, for all time: to see what it would do. Links, customers and classes
/// are numbered in the order of the configuration.
///
/// # Errors
/// See [`Error`].
pub fn rehearse(config: &Config, accept_unknown: bool, registry: &Exporters) -> Result<Names, Error> {
    let network = &config.network;
    let by_name =
        network.links.iter().find(|link| link.points.iter().any(|at| matches!(at, LinkPoint::Named(_))));
    if let Some(link) = by_name {
        return Err(Error::ByName { link: link.name.clone() });
    }
    let small = |what, n: usize| u16::try_from(n + 1).map_err(|_| Error::TooMany { what, max: 65_535 });
    let mut names = Names { exporters: number_exporters(network, registry, 0)?, ..Names::default() };
    for (n, link) in network.links.iter().enumerate() {
        names.links.insert(link.name.clone(), LinkId(small("links", n)?));
    }
    for (n, class) in network.classes.iter().enumerate() {
        names.classes.insert(class.name.clone(), ClassId(small("traffic classes", n)?));
    }
    for (customer, n) in network.customers.iter().zip(CustomerId::FIRST.0..) {
        names.customers.insert(customer.name.clone(), CustomerId(n));
    }
    let classifier = Arc::new(Classifier::compile(network, &names)?);
    registry.configure(
        &config.exporters,
        accept_unknown,
        Arc::new(Versions::new(vec![(i64::MIN, classifier)])),
    );
    Ok(names)
}

/// What the stages of a stream processor are configured with.
#[must_use]
pub fn stages(config: &Config) -> processor::Config {
    processor::Config { decode: config.decode, sampling: config.sampling, meter: config.meter }
}

/// Octets as lower-case hexadecimal digits.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    use core::fmt::Write;
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        write!(text, "{octet:02x}").expect("writing to a string does not fail");
        text
    })
}

#[cfg(test)]
mod tests;
