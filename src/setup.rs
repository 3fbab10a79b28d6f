//! Putting a configuration in force: names become the ledger's numbers, the network becomes classifiers.
//!
//! Every version of the network is stored in the ledger, with the instant from which it holds. A flow is classified
//! by the version in force at its end, also when it is replayed later. A text is compiled once: what is in force, and what
//! comes back, is not compiled again.
//!
//! With a million prefixes that takes seconds, in which a daemon's ledger is needed for flushes. So it goes in steps, of
//! which the longest needs no ledger: a [`Draft`] is hashed, its names are numbered, it is compiled, and what came of it,
//! which is [`Ready`], is stored and put in force, and only then. What holds ([`Holding`]) can be put in force again at little
//! cost.

mod versions;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracing::warn;

pub use self::versions::Wanted;
use self::versions::{Compiled, compile, compile_one, history, later, number_exporters, read};
use crate::classify::named::History;
use crate::classify::rules::{InterfaceName, LinkPoint, LinkRule, Network};
use crate::classify::{Base, Classifier, CompileError, Moves, Names, Versions};
use crate::config::Config;
use crate::exporter::{Exporter, Policies};
use crate::ids::{ClassId, CustomerId, LinkId, VersionHash};
use crate::ledger::records::{ConfigBeginning, ConfigVersion};
use crate::ledger::{self, Ledger};
use crate::processor;
use crate::processor::exporters::Exporters;
use crate::units::UnixMillis;

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

/// A configuration that is to be put in force.
pub struct Draft<'a> {
    config: &'a Config,
    /// Its own, or the ledger's where nobody wrote one.
    network: Cow<'a, Network>,
    /// Of the network's text; empty where nobody wrote it.
    sha256: String,
    accept_unknown: bool,
}

/// The numbers of a draft's names, as the ledger has them, and its newest version then.
pub struct Numbered {
    names: Names,
    /// Its hash, where there is one.
    newest: Option<String>,
}

/// What came of a draft: compiled, and not in force.
#[derive(Debug)]
pub struct Ready {
    /// What is to be stored, where it is new.
    text: Option<String>,
    holding: Holding,
    /// What becomes of the tables that are in force.
    moves: Moves,
}

/// A configuration in force, as far as it is needed to put it in force again: without the customers' prefixes.
#[derive(Debug, Default)]
pub struct Holding {
    sha256: String,
    /// The text with that hash is this configuration's: somebody wrote it.
    is_written: bool,
    base: Option<Arc<Base>>,
    accept_unknown: bool,
    exporters: Vec<Exporter>,
    /// Exporters that are asked over SNMP.
    asked: HashSet<String>,
    /// Names of the network's exporters.
    exporter_names: Vec<String>,
    links: Vec<u32>,
    customers: Vec<CustomerId>,
    kinds: HashMap<String, String>,
}

impl<'a> Draft<'a> {
    /// What somebody wrote.
    #[must_use]
    pub fn new(config: &'a Config, accept_unknown: bool) -> Self {
        let sha256 = digest(&config.network);
        Self { config, network: Cow::Borrowed(&config.network), sha256, accept_unknown }
    }

    /// The same; a configuration that nobody wrote (no file) leaves what the ledger has in force.
    fn of(config: &'a Config, accept_unknown: bool, ledger: &mut Ledger) -> Result<Self, Error> {
        if !config.files.is_empty() {
            return Ok(Self::new(config, accept_unknown));
        }
        let (network, sha256) = match ledger.config_beginnings()?.pop() {
            Some(newest) => {
                let version = read(&newest, ledger)?;
                (Cow::Owned(versions::parse(&version)?), newest.sha256)
            }
            None => (Cow::Borrowed(&config.network), String::new()),
        };
        Ok(Self { config, network, sha256, accept_unknown })
    }

    /// The names that are to be numbered.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted::of(&self.network)
    }

    /// Compiles it. No ledger is needed, and nothing is put in force.
    ///
    /// # Errors
    /// [`Error::Compile`].
    pub fn compile(self, numbered: Numbered, registry: &Exporters) -> Result<Ready, Error> {
        let Numbered { names, newest } = numbered;
        let is_known = !self.sha256.is_empty();
        // What is in force now: nearly always with nearly the same prefixes, and often with the same.
        let now = registry.versions().1.at(UnixMillis(i64::MAX));
        // An older one may be no more than what is different in it.
        let base = match registry.compiled(&self.sha256).filter(|base| is_known && base.layers() == 1) {
            Some(base) => base,
            None => Arc::new(Base::compile(&self.network, &names, Some(&now))?),
        };
        let moves = Moves::of_newest(&now, base.plain());
        let is_new = !self.config.files.is_empty() && newest.as_ref() != Some(&self.sha256);
        let text = is_new
            .then(|| serde_json::to_string(self.network.as_ref()).expect("a network has only string keys"));
        let network = self.network.as_ref();
        let kind = |link: &LinkRule| (link.name.clone(), link.kind.clone());
        let holding = Holding {
            is_written: !self.config.files.is_empty(),
            base: Some(base),
            accept_unknown: self.accept_unknown,
            exporters: self.config.exporters.clone(),
            asked: self.config.targets.iter().map(|target| target.exporter.clone()).collect(),
            exporter_names: network.exporters.iter().map(|exporter| exporter.name.clone()).collect(),
            links: names.links.values().map(|id| u32::from(id.0)).collect(),
            customers: names.customers.values().copied().collect(),
            kinds: network.links.iter().map(kind).collect(),
            sha256: self.sha256,
        };
        Ok(Ready { text, holding, moves })
    }
}

impl Wanted {
    /// Numbers the names, new ones too, where the configuration is to come next.
    ///
    /// # Errors
    /// [`Error::Ledger`], and [`Error::TooMany`].
    pub fn number(&self, ledger: &mut Ledger, registry: &Exporters) -> Result<Numbered, Error> {
        let newest = ledger.config_beginnings()?.pop().map(|newest| newest.sha256);
        Ok(Numbered { names: self.names(ledger, registry, 0)?, newest })
    }
}

impl Ready {
    /// Stores it as a version that holds from `now_ms` on, where it is new, and puts it in force.
    ///
    /// # Errors
    /// See [`Error`]. The configuration in force before stays in force.
    pub fn put(
        self,
        ledger: &mut Ledger,
        registry: &Arc<Exporters>,
        now_ms: i64,
    ) -> Result<(InForce, Holding), Error> {
        let in_force = self.holding.put((self.text, self.moves), ledger, registry, now_ms)?;
        Ok((in_force, self.holding))
    }
}

impl Holding {
    /// Works out anew what the names of interfaces mean. False where the ledger has another configuration by now: a reload
    /// has overtaken this one, which must not come back.
    ///
    /// # Errors
    /// As [`Ready::put`].
    pub fn put_again(
        &self,
        ledger: &mut Ledger,
        registry: &Arc<Exporters>,
        now_ms: i64,
    ) -> Result<bool, Error> {
        match self.put((None, Moves::default()), ledger, registry, now_ms) {
            Err(Error::NotInForce) => Ok(false),
            outcome => outcome.map(|_| true),
        }
    }

    /// Puts it in force; `text`: what is to be stored.
    fn put(
        &self,
        (text, moves): (Option<String>, Moves),
        ledger: &mut Ledger,
        registry: &Arc<Exporters>,
        now_ms: i64,
    ) -> Result<InForce, Error> {
        let mut stored = ledger.config_beginnings()?;
        let is_newest = stored.last().is_some_and(|newest| newest.sha256 == self.sha256);
        let text = text.filter(|_| !is_newest);
        if text.is_some() {
            // A clock that was set back does not make a version hold before its predecessor.
            let valid_from = stored.last().map_or(now_ms, |newest| now_ms.max(newest.valid_from));
            stored.push(ConfigBeginning { sha256: self.sha256.clone(), valid_from });
        }
        if stored.is_empty() {
            stored.push(ConfigBeginning { sha256: String::new(), valid_from: 0 });
        }
        let newest = stored.last().expect("one was put there").clone();
        let Some(base) = self.base.as_ref().filter(|_| newest.sha256 == self.sha256) else {
            return Err(Error::NotInForce);
        };
        let history = Arc::new(history(ledger)?);
        let in_force = self.say(base, &history, now_ms);
        let Compiled { classifiers, by_text, older } =
            compile(&stored, base, moves, &history, ledger, registry)?;
        // Stored once all else is done: a version that does not compile must not be found by the next start.
        if let Some(text) = text {
            let ConfigBeginning { sha256, valid_from } = newest;
            ledger.put_config_version(&ConfigVersion { sha256, text, valid_from })?;
        }
        let older = later(stored, older, base, history, ledger, registry);
        let mut exporters = self.exporters.clone();
        for exporter in &mut exporters {
            exporter.sampling.names_awaited = in_force.waiting.contains(&exporter.name);
            // Where nobody asks any more, nothing comes.
            let is_asked = self.asked.contains(&exporter.name);
            exporter.sampling.interfaces_awaited = is_asked && in_force.returning.contains(&exporter.name);
        }
        let versions = Arc::new(Versions::new(classifiers).after(older));
        // Stored by now: whoever reads this hash in a journal finds the text.
        let version = VersionHash::from_hex(&self.sha256).filter(|_| self.is_written);
        registry.configure_version(version, &exporters, self.accept_unknown, versions);
        registry.keep_compiled(by_text);
        Ok(in_force)
    }

    /// What it says, with what its names mean now.
    fn say(&self, base: &Base, history: &History, now_ms: i64) -> InForce {
        let (waiting, returning) =
            base.named().map(|network| who_waits(network, history, now_ms)).unwrap_or_default();
        InForce {
            links: self.links.clone(),
            customers: self.customers.clone(),
            exporters: self.exporter_names.clone(),
            kinds: self.kinds.clone(),
            sha256: self.sha256.clone(),
            waiting,
            returning,
        }
    }
}

/// Exporters of which nobody was told yet, and those that have started anew; with warnings of names that mean nothing.
fn who_waits(network: &Network, history: &History, now_ms: i64) -> (Vec<String>, Vec<String>) {
    let resolved = history.resolve(network, UnixMillis(now_ms));
    let link = |at: usize| network.links.get(at).map_or("?", |link| link.name.as_str());
    for (interface, has, wants) in &resolved.disputed {
        warn!(
            exporter = %interface.exporter, ifindex = interface.ifindex.0, link = link(*has), other = link(*wants),
            "Two links have this interface by name; it counts for the first."
        );
    }
    // Of those that have just started nobody knows yet.
    let is_told = |name: &InterfaceName| !resolved.returning.contains(&name.exporter);
    for (at, name) in resolved.unmatched.iter().filter(|(_, name)| is_told(name)) {
        warn!(exporter = %name.exporter, link = link(*at), name = %name.pattern, "No interface is called so: nothing of it is on the link.");
    }
    (resolved.waiting.into_iter().collect(), resolved.returning.into_iter().collect())
}

/// Stores `config`'s network as a version that holds from `now_ms` on, if it is new, and puts it in force, all steps at
/// once. A configuration that nobody wrote (no file) is not stored: it leaves what the ledger has in force.
///
/// # Errors
/// See [`Error`]. The configuration in force before stays in force.
pub fn begin(
    config: &Config,
    accept_unknown: bool,
    ledger: &mut Ledger,
    registry: &Arc<Exporters>,
    now_ms: i64,
) -> Result<(InForce, Holding), Error> {
    let draft = Draft::of(config, accept_unknown, ledger)?;
    let numbered = draft.wanted().number(ledger, registry)?;
    draft.compile(numbered, registry)?.put(ledger, registry, now_ms)
}

/// As [`begin`], where it is not put in force again.
///
/// # Errors
/// See there.
pub fn put_in_force(
    config: &Config,
    accept_unknown: bool,
    ledger: &mut Ledger,
    registry: &Arc<Exporters>,
    now_ms: i64,
) -> Result<InForce, Error> {
    Ok(begin(config, accept_unknown, ledger, registry, now_ms)?.0)
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
    let draft = Draft::new(config, accept_unknown);
    let newest = ledger.config_beginnings()?.pop();
    let beginning = newest.filter(|newest| newest.sha256 == draft.sha256).ok_or(Error::NotInForce)?;
    let numbered = draft.wanted().number(ledger, registry)?;
    let holding = draft.compile(numbered, registry)?.holding;
    let base = holding.base.as_ref().expect("it was compiled");
    let history = history(ledger)?;
    let waiting = holding.say(base, &history, now_ms).waiting;
    let classifiers = compile_one(base, beginning.valid_from, (i64::MIN, i64::MAX), &history)?;
    let mut exporters = config.exporters.clone();
    for exporter in &mut exporters {
        exporter.sampling.names_awaited = waiting.contains(&exporter.name);
    }
    registry.configure(&exporters, accept_unknown, Arc::new(Versions::new(classifiers)));
    Ok(beginning.sha256)
}

/// What a stored version says of how exporters' datagrams are read and scaled; `None` where the ledger has no such version.
///
/// # Errors
/// [`Error::Ledger`], and [`Error::Stored`].
pub fn policies(version: VersionHash, ledger: &mut Ledger) -> Result<Option<Policies>, Error> {
    let sha256 = hex(&version.0);
    let Some(text) = ledger.config_text(&sha256)? else { return Ok(None) };
    let network = Network::outline_of(&text).map_err(|source| Error::Stored { sha256, source })?;
    Ok(Some(Policies::new(Some(version), &network.exporters_with_policies())))
}

/// The hash of the text that a network is stored as, which is not made for that.
fn digest(network: &Network) -> String {
    struct Hashed(Sha256);
    impl Write for Hashed {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.update(octets);
            Ok(octets.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hashed = BufWriter::new(Hashed(Sha256::new()));
    serde_json::to_writer(&mut hashed, network).expect("a network has only string keys");
    let hashed = hashed.into_inner().map_err(|_| ()).expect("hashing does not fail");
    hex(&hashed.0.finalize())
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
    let addresses: Vec<_> = network.exporters.iter().map(|one| (one.name.as_str(), one.address)).collect();
    let mut names = Names { exporters: number_exporters(&addresses, registry, 0)?, ..Names::default() };
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
