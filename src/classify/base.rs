//! A version that is compiled once, whatever the names of interfaces in it come to mean.

use std::sync::Arc;

use super::named::Resolved;
use super::rules::{LinkPoint, Network};
use super::{Classifier, CompileError, Names};

/// A compiled version, and what its interfaces are worked out anew from where names come to mean others. It has nothing of
/// the customers' prefixes but their table.
#[derive(Debug)]
pub struct Base {
    /// By the numbers of interfaces alone.
    classifier: Arc<Classifier>,
    /// Where links have interfaces by name.
    named: Option<Box<Named>>,
}

/// Exporters and links of a network, and their numbers.
#[derive(Debug)]
struct Named {
    network: Network,
    names: Names,
}

impl Base {
    /// Compiles a configuration version. A prefix table that is the same as that of `like` is shared with it.
    ///
    /// # Errors
    /// As [`Classifier::compile`].
    pub fn compile(
        network: &Network,
        names: &Names,
        like: Option<&Classifier>,
    ) -> Result<Self, CompileError> {
        let mut classifier = Classifier::compile(network, names)?;
        if let Some(like) = like {
            classifier.share_prefixes(like);
        }
        let points = || network.links.iter().flat_map(|link| &link.points);
        let has_names = points().any(|point| matches!(point, LinkPoint::Named(_)));
        let named = has_names.then(|| {
            let (exporters, links) = (network.exporters.clone(), network.links.clone());
            let network = Network { exporters, links, ..Network::default() };
            let (exporters, links) = (names.exporters.clone(), names.links.clone());
            Box::new(Named { network, names: Names { exporters, links, ..Names::default() } })
        });
        Ok(Self { classifier: Arc::new(classifier), named })
    }

    /// The version by the numbers of interfaces alone.
    #[must_use]
    pub fn plain(&self) -> &Arc<Classifier> {
        &self.classifier
    }

    /// Its links, where some have interfaces by name.
    #[must_use]
    pub fn named(&self) -> Option<&Network> {
        self.named.as_ref().map(|named| &named.network)
    }

    /// The version where the names mean this.
    ///
    /// # Errors
    /// As [`Classifier::compile`].
    pub fn meaning(&self, resolved: &Resolved) -> Result<Arc<Classifier>, CompileError> {
        match &self.named {
            Some(named) => {
                Ok(Arc::new(self.classifier.resolved_anew(&named.network, &named.names, resolved)?))
            }
            None => Ok(Arc::clone(&self.classifier)),
        }
    }
}
