//! Configuration versions side by side: each flow is classified by the one in force at its end, however late it is
//! read.

use std::sync::Arc;

use super::{Classified, Classifier, Tally};
use crate::flow::FlowRecord;
use crate::units::UnixMillis;

/// Classifiers by the instant from which each holds, up to the next. The first also holds for all time before it.
#[derive(Clone, Debug)]
pub struct Versions {
    /// Ascending, never empty.
    versions: Vec<(i64, Arc<Classifier>)>,
}

impl Versions {
    /// Takes the versions with their beginnings, in milliseconds since the epoch. Of two with the same beginning the
    /// later in the list holds. Without any, everything is `local`.
    #[must_use]
    pub fn new(mut versions: Vec<(i64, Arc<Classifier>)>) -> Self {
        versions.sort_by_key(|version| version.0);
        if versions.is_empty() {
            versions.push((i64::MIN, Arc::new(Classifier::default())));
        }
        Self { versions }
    }

    /// Classifies `records`; `out` is cleared first and has an entry a record afterwards, in their order.
    pub fn classify(&self, records: &[FlowRecord], out: &mut Vec<Classified>) -> Tally {
        if let [(_, only)] = self.versions.as_slice() {
            return only.classify(records, out);
        }
        out.clear();
        let mut tally = Tally::default();
        for run in records.chunk_by(|a, b| self.place(a.end) == self.place(b.end)) {
            tally.add(&self.versions[self.place(run[0].end)].1.classify_more(run, out));
        }
        tally
    }

    /// The version in force at an instant.
    #[must_use]
    pub fn at(&self, instant: UnixMillis) -> &Arc<Classifier> {
        &self.versions[self.place(instant)].1
    }

    fn place(&self, instant: UnixMillis) -> usize {
        self.versions.partition_point(|version| version.0 <= instant.0).saturating_sub(1)
    }
}
