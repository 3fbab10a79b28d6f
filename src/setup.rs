//! Putting a configuration in force: names become the ledger's numbers, the network becomes classifiers.
//!
//! Every version of the network is stored in the ledger, with the instant from which it holds. A flow is classified
//! by the version in force at its end, also when it is replayed later; so all versions are compiled, not just the
//! newest. A text is compiled once: what is in force, and what comes back, is not compiled again.

use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracing::warn;

use crate::classify::named::History;
use crate::classify::rules::{InterfaceName, LinkPoint, Network};
use crate::classify::{Classifier, CompileError, Names, Versions};
use crate::config::Config;
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::ledger::records::{ConfigVersion, NameKind};
use crate::ledger::{self, Ledger};
use crate::processor;
use crate::processor::exporters::{Exporters, NUMBERED_MAX};
use crate::units::UnixMillis;

/// Versions that are compiled, at most: the newest ones. Flows that ended before the oldest of these are classified
/// by it.
const VERSIONS_MAX: usize = 256;

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
    registry: &Exporters,
    now_ms: i64,
) -> Result<InForce, Error> {
    let (text, sha256) = canonical(&config.network);
    let mut stored = ledger.config_versions()?;
    let is_new = !config.files.is_empty() && stored.last().is_none_or(|newest| newest.sha256 != sha256);
    if is_new {
        // A clock that was set back does not make a version hold before its predecessor.
        let valid_from = stored.last().map_or(now_ms, |newest| now_ms.max(newest.valid_from));
        stored.push(ConfigVersion { sha256, text: text.clone(), valid_from });
    }
    stored.drain(..stored.len().saturating_sub(VERSIONS_MAX));
    if stored.is_empty() {
        stored.push(ConfigVersion { sha256: String::new(), text, valid_from: 0 });
    }
    let history = history(ledger)?;
    let newest = stored.last().expect("one was put there");
    let in_force = say_in_force(newest, &history, now_ms, ledger, registry)?;
    let (classifiers, compiled) = compile(&stored, &history, ledger, registry)?;
    // Stored last: a version that does not compile must not be found by the next start.
    if is_new && let Some(newest) = stored.last() {
        ledger.put_config_version(newest)?;
    }
    let mut exporters = config.exporters.clone();
    for exporter in &mut exporters {
        exporter.sampling.names_awaited = in_force.waiting.contains(&exporter.name);
        // Where nobody asks any more, nothing comes.
        let is_asked = config.targets.iter().any(|target| target.exporter == exporter.name);
        exporter.sampling.interfaces_awaited = is_asked && in_force.returning.contains(&exporter.name);
    }
    registry.configure(&exporters, accept_unknown, Arc::new(Versions::new(classifiers)));
    registry.keep_compiled(compiled);
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
    registry: &Exporters,
    now_ms: i64,
) -> Result<bool, Error> {
    let (_, sha256) = canonical(&config.network);
    let newest = ledger.config_versions()?.pop();
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
    let newest = ledger.config_versions()?.pop();
    let version = newest.filter(|newest| newest.sha256 == sha256).ok_or(Error::NotInForce)?;
    let history = history(ledger)?;
    let in_force = say_in_force(&version, &history, now_ms, ledger, registry)?;
    let (classifiers, _) = compile(core::slice::from_ref(&version), &history, ledger, registry)?;
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

/// Classifiers by the instant from which each holds; and by the hash of its text.
type Compiled = (Vec<(i64, Arc<Classifier>)>, HashMap<String, Arc<Classifier>>);

/// Compiles the versions, but not what is compiled already: the same text again, or in force before.
fn compile(
    stored: &[ConfigVersion],
    history: &History,
    ledger: &mut Ledger,
    registry: &Exporters,
) -> Result<Compiled, Error> {
    let mut classifiers = Vec::with_capacity(stored.len());
    let mut compiled: HashMap<String, Arc<Classifier>> = HashMap::new();
    let mut meanings = 0;
    for (place, version) in stored.iter().enumerate().rev() {
        // The first version also holds for all time before it, in which names may have had other meanings.
        let from = if place == 0 { i64::MIN } else { version.valid_from };
        let to = stored.get(place + 1).map_or(i64::MAX, |next| next.valid_from);
        let outcome = if version.text.contains(NAMED) && meanings < MEANINGS_MAX {
            compile_meanings(version, (from, to), history, &mut compiled, ledger, registry)
        } else {
            compile_plain(version, &mut compiled, ledger, registry)
                .map(|plain| vec![(version.valid_from, plain)])
        };
        let mut made = match outcome {
            Err(error @ Error::TooMany { .. }) if !classifiers.is_empty() => {
                // As with those before the oldest: flows from then are classified by the next later version.
                warn!(%error, "Configuration versions as old as this one are left out.");
                break;
            }
            outcome => outcome?,
        };
        meanings += made.len();
        made.reverse();
        classifiers.append(&mut made);
    }
    // Of two with the same beginning the later one holds.
    classifiers.reverse();
    Ok((classifiers, compiled))
}

/// A classifier that was compiled already, now or before.
fn known(
    key: &str,
    compiled: &HashMap<String, Arc<Classifier>>,
    registry: &Exporters,
) -> Option<Arc<Classifier>> {
    compiled.get(key).map(Arc::clone).or_else(|| registry.compiled(key))
}

/// The classifier of a version without names of interfaces.
fn compile_plain(
    version: &ConfigVersion,
    compiled: &mut HashMap<String, Arc<Classifier>>,
    ledger: &mut Ledger,
    registry: &Exporters,
) -> Result<Arc<Classifier>, Error> {
    // What nobody wrote has no hash.
    let found = known(&version.sha256, compiled, registry).filter(|_| !version.sha256.is_empty());
    let classifier = match found {
        Some(classifier) => classifier,
        None => {
            let network = parse(version)?;
            let names = number(&network, ledger, registry, SPARE_NUMBERS)?;
            Arc::new(Classifier::compile(&network, &names)?)
        }
    };
    compiled.insert(version.sha256.clone(), Arc::clone(&classifier));
    Ok(classifier)
}

/// The classifiers of a version, one for each meaning that the names in it had while it was in force, in time.
fn compile_meanings(
    version: &ConfigVersion,
    (from, to): (i64, i64),
    history: &History,
    compiled: &mut HashMap<String, Arc<Classifier>>,
    ledger: &mut Ledger,
    registry: &Exporters,
) -> Result<Vec<(i64, Arc<Classifier>)>, Error> {
    let network = parse(version)?;
    let names = number(&network, ledger, registry, SPARE_NUMBERS)?;
    let meanings = history.meanings(&network, from, to);
    let mut made: Vec<(i64, Arc<Classifier>)> = Vec::new();
    for (at, resolved) in meanings.iter().skip(meanings.len().saturating_sub(MEANINGS_MAX)) {
        let key = format!("{}\n{}", version.sha256, resolved.digest());
        let classifier = match (known(&key, compiled, registry), made.last()) {
            (Some(classifier), _) => classifier,
            (None, Some((_, same))) => Arc::new(same.resolved_anew(&network, &names, resolved)?),
            (None, None) => Arc::new(Classifier::compile_resolved(&network, &names, resolved)?),
        };
        compiled.insert(key, Arc::clone(&classifier));
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
mod tests {
    use super::*;
    use crate::classify::rules::{LinkPoint, LinkRule};
    use crate::counters::Counters;

    /// A version that does not compile must not be found by the next start.
    #[test]
    fn a_version_is_stored_only_once_it_compiles() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = ledger::Url::parse("sqlite:ledger.sqlite", directory.path()).expect("a place");
        let mut ledger = Ledger::open(&url).expect("a new ledger");
        let registry = Exporters::new(Arc::new(Counters::new(1, 0)));
        let mut config = Config::builtin();
        config.files.push("fluxoscope.toml".into());
        let points = vec![LinkPoint::WholeExporter("nobody".to_owned())];
        config.network.links.push(LinkRule {
            name: "up".to_owned(),
            kind: String::new(),
            points,
            overhead: None,
        });
        let refused = put_in_force(&config, false, &mut ledger, &registry, 1000);
        assert!(matches!(refused, Err(Error::Compile(_))), "{refused:?}");
        assert_eq!(ledger.config_versions().expect("reads"), []);

        config.network.links.clear();
        let stored = put_in_force(&config, false, &mut ledger, &registry, 2000).expect("compiles");
        // The clock was set back: the next version does not hold before this one.
        config.network.classes.push(crate::classify::rules::ClassRule {
            name: "web".to_owned(),
            matches: crate::classify::rules::FlowMatch::default(),
        });
        put_in_force(&config, false, &mut ledger, &registry, 1500).expect("compiles");
        let versions = ledger.config_versions().expect("reads");
        let valid: Vec<i64> = versions.iter().map(|version| version.valid_from).collect();
        assert_eq!((valid, versions[0].sha256.as_str()), (vec![2000, 2000], stored.sha256.as_str()));
    }

    fn fresh() -> (tempfile::TempDir, Ledger, Exporters, Config) {
        let directory = tempfile::tempdir().expect("a directory");
        let url = ledger::Url::parse("sqlite:ledger.sqlite", directory.path()).expect("a place");
        let ledger = Ledger::open(&url).expect("a new ledger");
        let registry = Exporters::new(Arc::new(Counters::new(1, 0)));
        let mut config = Config::builtin();
        config.files.push("fluxoscope.toml".into());
        (directory, ledger, registry, config)
    }

    /// Exporters at so many addresses from that on, as configured.
    fn at_addresses(config: &mut Config, from: u32, count: u32) {
        use crate::exporter::Exporter;
        let address = |n: u32| IpAddr::from(core::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
        config.exporters = (from..from + count)
            .map(|n| Exporter { name: format!("e{}", n - from), ..Exporter::unconfigured(address(n)) })
            .collect();
        let rule = |exporter: &Exporter| crate::classify::rules::ExporterRule {
            name: exporter.name.clone(),
            address: exporter.address,
            observes: exporter.observes,
            output_zero: exporter.output_zero,
        };
        config.network.exporters = config.exporters.iter().map(rule).collect();
    }

    #[test]
    fn a_text_is_compiled_once() {
        let (_directory, mut ledger, registry, mut config) = fresh();
        let at = |registry: &Exporters, ms| Arc::clone(registry.versions().1.at(UnixMillis(ms)));
        let first = config.network.classes.clone();
        put_in_force(&config, false, &mut ledger, &registry, 1000).expect("compiles");
        let compiled = at(&registry, 1000);
        config.network.classes.push(crate::classify::rules::ClassRule {
            name: "web".to_owned(),
            matches: crate::classify::rules::FlowMatch::default(),
        });
        put_in_force(&config, false, &mut ledger, &registry, 2000).expect("compiles");
        assert!(Arc::ptr_eq(&at(&registry, 1000), &compiled), "it was in force");
        assert!(!Arc::ptr_eq(&at(&registry, 2000), &compiled), "this one is another");
        config.network.classes = first;
        put_in_force(&config, false, &mut ledger, &registry, 3000).expect("compiles");
        assert!(Arc::ptr_eq(&at(&registry, 3000), &compiled), "it came back");

        // A start knows nothing yet, and still compiles a text once.
        let registry = Exporters::new(Arc::new(Counters::new(1, 0)));
        put_in_force(&config, false, &mut ledger, &registry, 4000).expect("compiles");
        assert!(Arc::ptr_eq(&at(&registry, 1000), &at(&registry, 3000)));
        assert!(!Arc::ptr_eq(&at(&registry, 1000), &at(&registry, 2000)));
    }

    /// A registry in which so many numbers are taken by other addresses.
    fn crowded(taken: usize) -> Exporters {
        let registry = Exporters::new(Arc::new(Counters::new(1, 0)));
        let others: Vec<(&str, IpAddr)> = (0x0b00_0000..)
            .take(taken)
            .map(|n| ("other", core::net::Ipv4Addr::from_bits(n).into()))
            .collect();
        assert_eq!(registry.number(&others, 0).map(|ids| ids.len()), Some(taken));
        registry
    }

    #[test]
    fn too_many_addresses_of_exporters_are_an_error_and_the_old_ones_stay() {
        let (_directory, mut ledger, _, mut config) = fresh();
        let registry = crowded(65_530);
        at_addresses(&mut config, 0, 5);
        put_in_force(&config, false, &mut ledger, &registry, 1000).expect("they fit");
        at_addresses(&mut config, 4, 2);
        let refused = put_in_force(&config, false, &mut ledger, &registry, 2000);
        assert!(matches!(refused, Err(Error::TooMany { max: 65_535, .. })), "{refused:?}");
        let address = |n: u32| core::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into();
        assert!(registry.allows(address(0)) && !registry.allows(address(5)));
        assert_eq!(ledger.config_versions().expect("reads").len(), 1);

        // In another process the newest version comes first, and older ones only as far as they leave room.
        for (taken, fits) in [(65_535 - 8192 - 7, true), (65_535 - 8192 - 6, false)] {
            let (_directory, mut ledger, registry, mut config) = fresh();
            at_addresses(&mut config, 0, 5);
            put_in_force(&config, false, &mut ledger, &registry, 1000).expect("they fit");
            at_addresses(&mut config, 10, 2);
            let registry = crowded(taken);
            put_in_force(&config, false, &mut ledger, &registry, 2000).expect("the newest fits");
            assert!(registry.allows(address(11)));
            let at = |ms| Arc::clone(registry.versions().1.at(UnixMillis(ms)));
            assert_eq!(Arc::ptr_eq(&at(1000), &at(2000)), !fits, "{taken}");
        }
    }

    /// A record that came in by interface 7 and left by 9, ended at an instant.
    fn crossing(end: i64) -> crate::flow::FlowRecord {
        use crate::units::IfIndex;
        crate::flow::FlowRecord {
            input: IfIndex(7),
            output: IfIndex(9),
            end: UnixMillis(end),
            ..crate::flow::FlowRecord::default()
        }
    }

    /// The direction of what came in by 7 and left by 9: in where 7 is the link, out where 9 is, none where neither is.
    fn seen(registry: &Exporters, end: i64) -> &'static str {
        let mut out = Vec::new();
        registry.versions().1.classify(&[crossing(end)], &mut out);
        out[0].direction.as_str()
    }

    #[test]
    fn a_name_means_what_it_meant_when_the_flow_ended() {
        use crate::classify::rules::NamedBy;
        use crate::ledger::records::interfaces::Interface;
        use crate::units::IfIndex;
        let (_directory, mut ledger, registry, mut config) = fresh();
        at_addresses(&mut config, 0, 1);
        let name =
            InterfaceName { exporter: "e0".to_owned(), by: NamedBy::Alias, pattern: "transit *".to_owned() };
        let points = vec![LinkPoint::Named(name)];
        config.network.links.push(LinkRule {
            name: "up".to_owned(),
            kind: "upstream".to_owned(),
            points,
            overhead: None,
        });
        let awaits = |registry: &Exporters| {
            registry.entry(config.exporters[0].address).expect("configured").policy.names_awaited
        };
        let waiting = put_in_force(&config, false, &mut ledger, &registry, 1000).expect("compiles").waiting;
        assert_eq!((waiting, awaits(&registry)), (vec!["e0".to_owned()], true), "nobody was told");

        let number = ledger.intern(NameKind::Exporter, &["e0"]).expect("a number")[0];
        let called = |ifindex, alias: &str| Interface {
            ifindex: IfIndex(ifindex),
            alias: alias.to_owned(),
            ..Interface::default()
        };
        // At 2000 interface 7 is the transit, and from 5000 on interface 9 is: the router started anew.
        let mut tell = |at, transit| {
            let interfaces = [called(transit, "transit A"), called(1, "inside")];
            ledger.put_interfaces(number, UnixMillis(at), true, &interfaces).expect("kept");
            let waiting = put_in_force(&config, false, &mut ledger, &registry, at).expect("compiles").waiting;
            assert_eq!((waiting, awaits(&registry)), (vec![], false));
        };
        tell(2000, 7);
        assert_eq!(
            [500, 1500, 2500].map(|end| seen(&registry, end)),
            ["in", "in", "in"],
            "also before it was told"
        );
        tell(5000, 9);
        let expected = ["in", "in", "out", "out"];
        assert_eq!([500, 4999, 5000, 9000].map(|end| seen(&registry, end)), expected);
        // Another start finds the same; so does a configuration that comes later, for what was before it.
        let again = Exporters::new(Arc::new(Counters::new(1, 0)));
        put_in_force(&config, false, &mut ledger, &again, 7000).expect("compiles");
        assert_eq!([500, 4999, 5000, 9000].map(|end| seen(&again, end)), expected);
        config.network.links[0].name = "uplink".to_owned();
        put_in_force(&config, false, &mut ledger, &again, 8000).expect("compiles");
        assert_eq!([500, 4999, 5000, 9000].map(|end| seen(&again, end)), expected);
        // Only the one version was added.
        assert_eq!(ledger.config_versions().expect("reads").len(), 2);
    }

    #[test]
    fn the_past_is_read_by_the_version_in_force_alone() {
        use crate::classify::rules::InterfaceRef;
        use crate::units::IfIndex;
        let (_directory, mut ledger, registry, mut config) = fresh();
        at_addresses(&mut config, 0, 1);
        let on = |ifindex| {
            vec![LinkPoint::Interface(InterfaceRef { exporter: "e0".to_owned(), ifindex: IfIndex(ifindex) })]
        };
        config.network.links.push(LinkRule {
            name: "up".to_owned(),
            kind: "upstream".to_owned(),
            points: on(7),
            overhead: None,
        });
        put_in_force(&config, false, &mut ledger, &registry, 1000).expect("compiles");
        let alone = Exporters::new(Arc::new(Counters::new(1, 0)));
        config.network.links[0].points = on(9);
        let refused = put_alone(&config, false, &mut ledger, &alone, 2000);
        assert!(matches!(refused, Err(Error::NotInForce)), "{refused:?}");
        put_in_force(&config, false, &mut ledger, &registry, 2000).expect("compiles");
        let sha256 = put_alone(&config, false, &mut ledger, &alone, 3000).expect("compiles");
        assert_eq!(Some(sha256), ledger.config_versions().expect("reads").pop().map(|newest| newest.sha256));
        // What ended before the newest version is another thing by it.
        assert_eq!([500, 1500, 2500].map(|end| seen(&registry, end)), ["in", "in", "out"]);
        assert_eq!([500, 1500, 2500].map(|end| seen(&alone, end)), ["out", "out", "out"]);
    }
}
