//! A version that is compiled once, whatever the names of interfaces in it come to mean.

use std::sync::Arc;

use super::named::Resolved;
use super::prefix::PrefixTable;
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
#[derive(Clone, Debug)]
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

    /// The same version: its prefix table is only what is different from that of `newest`, where that is much less.
    #[must_use]
    pub fn over(self, newest: &Classifier) -> Self {
        if self.classifier.shares_prefixes(newest) {
            return self;
        }
        match self.classifier.prefixes_over(newest) {
            Some(table) => self.with_prefixes(Arc::new(table)),
            None => self,
        }
    }

    /// The same version, where its prefix table, or the one that this asks, has moved.
    #[must_use]
    pub fn follow(&self, moves: &mut Moves) -> Option<Self> {
        let table = &self.classifier.prefixes;
        if let Some(now) = moves.of(table) {
            return Some(self.with_prefixes(now));
        }
        let below = moves.of(table.below()?)?;
        let now = Arc::new(table.above(below));
        moves.0.push((Arc::clone(table), Arc::clone(&now)));
        Some(self.with_prefixes(now))
    }

    fn with_prefixes(&self, prefixes: Arc<PrefixTable>) -> Self {
        Self { classifier: Arc::new(self.classifier.with_prefixes(prefixes)), named: self.named.clone() }
    }

    /// How many prefix tables a lookup may go through.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.classifier.prefixes.layers()
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

/// Prefix tables, and those that say the same in their places.
#[derive(Debug, Default)]
pub struct Moves(Vec<(Arc<PrefixTable>, Arc<PrefixTable>)>);

impl Moves {
    /// The table of the version in force becomes what is different from that of the one that comes, where that is much less.
    #[must_use]
    pub fn of_newest(former: &Classifier, newest: &Classifier) -> Self {
        if former.shares_prefixes(newest) {
            return Self::default();
        }
        let over = former.prefixes_over(newest).map(Arc::new);
        Self(over.map(|over| (Arc::clone(&former.prefixes), over)).into_iter().collect())
    }

    fn of(&self, table: &Arc<PrefixTable>) -> Option<Arc<PrefixTable>> {
        self.0.iter().find(|(former, _)| Arc::ptr_eq(former, table)).map(|(_, now)| Arc::clone(now))
    }
}
