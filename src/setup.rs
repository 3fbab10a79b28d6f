//! Putting a configuration in force: names become the ledger's numbers, the network becomes classifiers.
//!
//! Every version of the network is stored in the ledger, with the instant from which it holds. A flow is classified
//! by the version in force at its end, also when it is replayed later; so all versions are compiled, not just the
//! newest.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::classify::rules::Network;
use crate::classify::{Classifier, CompileError, Names, Versions};
use crate::config::Config;
use crate::ids::{ClassId, CustomerId, LinkId};
use crate::ledger::records::{ConfigVersion, NameKind};
use crate::ledger::{self, Ledger};
use crate::processor;
use crate::processor::exporters::Exporters;

/// Versions that are compiled, at most: the newest ones. Flows that ended before the oldest of these are classified
/// by it.
const VERSIONS_MAX: usize = 256;

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
        max: u32,
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
    let text = serde_json::to_string(&config.network).expect("a network has only string keys");
    let mut stored = ledger.config_versions()?;
    let sha256 = hex(&Sha256::digest(text.as_bytes()));
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
    let mut classifiers = Vec::with_capacity(stored.len());
    let mut in_force = InForce::default();
    for version in &stored {
        let network: Network = serde_json::from_str(&version.text)
            .map_err(|source| Error::Stored { sha256: version.sha256.clone(), source })?;
        let names = number(&network, ledger, registry)?;
        classifiers.push((version.valid_from, Arc::new(Classifier::compile(&network, &names)?)));
        in_force = InForce {
            links: names.links.values().map(|id| u32::from(id.0)).collect(),
            customers: names.customers.values().copied().collect(),
            exporters: network.exporters.into_iter().map(|exporter| exporter.name).collect(),
            kinds: network.links.into_iter().map(|link| (link.name, link.kind)).collect(),
            sha256: version.sha256.clone(),
        };
    }
    // Stored last: a version that does not compile must not be found by the next start.
    if is_new && let Some(newest) = stored.last() {
        ledger.put_config_version(newest)?;
    }
    registry.configure(&config.exporters, accept_unknown, Arc::new(Versions::new(classifiers)));
    Ok(in_force)
}

/// Numbers for all names of a network.
fn number(network: &Network, ledger: &mut Ledger, registry: &Exporters) -> Result<Names, Error> {
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
    Ok(Names {
        exporters: network
            .exporters
            .iter()
            .map(|exporter| (exporter.name.clone(), registry.number(&exporter.name, exporter.address)))
            .collect(),
        links: interned(ledger, NameKind::Link, links, |id| small("links")(id).map(LinkId))?,
        classes: interned(ledger, NameKind::Class, classes, |id| small("traffic classes")(id).map(ClassId))?,
        customers: interned(ledger, NameKind::Customer, customers, |id| Ok(CustomerId(id)))?,
    })
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
        config.network.links.push(LinkRule { name: "up".to_owned(), kind: String::new(), points });
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
}
