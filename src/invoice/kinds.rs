//! Of what kind a link was in a period.
//!
//! Usage names its link and not the link's kind, and prices depend on the kind. So that later edits of the
//! configuration do not re-price traffic that was metered already, the kind comes from the configuration versions
//! that the ledger keeps, by this rule:
//!
//! 1. Of the versions in force before the period's end, the newest that knows the link says what kind it is; for all
//!    of the period, which is not split. The first version holds for all time before it.
//! 2. Where none of those knows it, the oldest of the later ones that does.
//! 3. Where no version knows it, nobody can say what the traffic costs: a problem, and no invoice.
//!
//! A removed or renamed link therefore keeps its kind under its old name.
//!
//! Beside that, what the interfaces of links counted: for charges by a percentile of interface counters, and for those by
//! volume that are calibrated.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::assign::Assignments;
use super::pins::Pins;
use crate::classify::rules::Network;
use crate::rate::calibrate::Totals;
use crate::rate::percentile::Sample;
use crate::units::UnixMillis;
use crate::usage::BucketStart;

/// The kinds of all links, by configuration version, and what else was settled in the past. A copy costs nothing.
#[derive(Clone, Debug, Default)]
pub struct LinkKinds {
    /// Oldest first.
    versions: Arc<Vec<Version>>,
    assignments: Arc<Assignments>,
    pins: Arc<Pins>,
    /// What the interfaces of links counted, by link and bucket.
    counted: Arc<BTreeMap<String, BTreeMap<BucketStart, Sample>>>,
    /// The totals of interfaces, for charges that are calibrated.
    totals: Arc<Totals>,
}

#[derive(Clone, Debug)]
struct Version {
    valid_from: UnixMillis,
    /// Kind by link name.
    kinds: HashMap<String, String>,
}

impl LinkKinds {
    /// Adds a configuration version; they come oldest first.
    pub fn push(&mut self, valid_from: UnixMillis, network: &Network) {
        let kinds = network.links.iter().map(|link| (link.name.clone(), link.kind.clone())).collect();
        Arc::make_mut(&mut self.versions).push(Version { valid_from, kinds });
        Arc::make_mut(&mut self.assignments).push(valid_from, network);
    }

    /// The same kinds, with the tariffs of customers as `network` has them, for all time: to see what something else
    /// would cost.
    #[must_use]
    pub fn supposing(mut self, network: &Network) -> Self {
        let mut assignments = Assignments::default();
        assignments.push(UnixMillis(0), network);
        self.assignments = Arc::new(assignments);
        self
    }

    /// The same, with what closed and billed periods keep to.
    #[must_use]
    pub fn keeping(mut self, pins: Pins) -> Self {
        self.pins = Arc::new(pins);
        self
    }

    /// What closed and billed periods keep to.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// What the same versions say of the tariffs of customers.
    #[must_use]
    pub fn assignments(&self) -> &Assignments {
        &self.assignments
    }

    /// Says what the interfaces of links counted in buckets that the counters cover whole.
    pub fn count(&mut self, counted: BTreeMap<String, BTreeMap<BucketStart, Sample>>) {
        self.counted = Arc::new(counted);
    }

    /// Says what the totals of interfaces were.
    pub fn share_out(&mut self, totals: Totals) {
        self.totals = Arc::new(totals);
    }

    /// The totals of interfaces.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The links of the newest version in force before `end`, and what was counted of each.
    pub fn counted(
        &self,
        end: UnixMillis,
    ) -> impl Iterator<Item = (&str, Option<&BTreeMap<BucketStart, Sample>>)> {
        let version =
            self.versions.iter().rfind(|version| version.valid_from < end).or_else(|| self.versions.first());
        let mut links: Vec<&str> =
            version.into_iter().flat_map(|version| version.kinds.keys()).map(String::as_str).collect();
        links.sort_unstable();
        links.into_iter().map(|link| (link, self.counted.get(link)))
    }

    /// The kind of `link` in a period that ends before `end`; `None` where no version knows the link.
    #[must_use]
    pub fn kind(&self, link: &str, end: UnixMillis) -> Option<&str> {
        let later = self.versions.iter().skip(1).filter(|version| version.valid_from >= end).count();
        let (in_force, later) = self.versions.split_at(self.versions.len() - later);
        in_force.iter().rev().chain(later).find_map(|version| version.kinds.get(link)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::rules::LinkRule;

    #[test]
    fn the_newest_version_before_the_end_that_knows_the_link_says_its_kind() {
        let mut kinds = LinkKinds::default();
        assert_eq!(kinds.kind("a", UnixMillis(0)), None);
        let link = |(name, kind): &(&str, &str)| LinkRule {
            name: (*name).into(),
            kind: (*kind).into(),
            points: vec![],
            overhead: None,
        };
        let versions: [(i64, &[(&str, &str)]); 4] = [
            (100, &[("a", "first"), ("b", "first")]),
            (200, &[("a", "second")]),
            (300, &[("a", "third"), ("c", "third")]),
            (400, &[("c", "fourth")]),
        ];
        for (valid_from, links) in versions {
            let network = Network { links: links.iter().map(link).collect(), ..Network::default() };
            kinds.push(UnixMillis(valid_from), &network);
        }
        for (name, end, kind) in [
            ("a", 50, Some("first")),   // before all versions: the first holds
            ("a", 200, Some("first")),  // the second begins where the period has ended
            ("a", 201, Some("second")), // ... and is in force in its last millisecond
            ("a", 301, Some("third")),
            ("a", 999, Some("third")), // removed: its last kind
            ("b", 999, Some("first")), // removed long ago
            ("c", 150, Some("third")), // only later versions know it: the oldest of them
            ("c", 999, Some("fourth")),
            ("d", 999, None),
        ] {
            assert_eq!(kinds.kind(name, UnixMillis(end)), kind, "{name} before {end}");
        }
    }
}
