//! Configuration versions side by side: each flow is classified by the one in force at its end, however late it is
//! read.
//!
//! Flows hardly ever end long before they are read, so the older versions need not be there: [`Older`] compiles one when
//! a flow asks for it, and keeps the last few.

use core::ops::Range;
use std::sync::{Arc, Mutex};

use super::{Classified, Classifier, Tally};
use crate::flow::FlowRecord;
use crate::units::UnixMillis;

/// Older versions that are kept once they were asked for, however great they are: flows of one while may have ended in two.
const OLDER_KEPT: usize = 2;

/// Octets of prefix tables up to which more of them are kept.
const OLDER_KEPT_OCTETS: usize = 64 << 20;

/// Classifiers by the instant from which each holds, up to the next. The first also holds for all time before it, unless
/// there are older ones.
#[derive(Clone, Debug)]
pub struct Versions {
    /// Ascending, never empty.
    versions: Vec<(i64, Arc<Classifier>)>,
    /// What holds before the first of these.
    older: Option<Arc<Older>>,
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
        Self { versions, older: None }
    }

    /// The same, with what holds before the first of them.
    #[must_use]
    pub fn after(self, older: Option<Older>) -> Self {
        Self { older: older.map(Arc::new), ..self }
    }

    /// Classifies `records`; `out` is cleared first and has an entry a record afterwards, in their order.
    pub fn classify(&self, records: &[FlowRecord], out: &mut Vec<Classified>) -> Tally {
        let (from, newest) = self.versions.last().expect("there is one");
        let is_only = self.versions.len() == 1 && self.older.is_none();
        if is_only || records.iter().all(|record| record.end.0 >= *from) {
            return newest.classify(records, out);
        }
        out.clear();
        let mut tally = Tally::default();
        for run in records.chunk_by(|a, b| self.place(a.end) == self.place(b.end)) {
            match (self.place(run[0].end), &self.older) {
                (Some(place), _) => tally.add(&self.versions[place].1.classify_more(run, out)),
                (None, None) => tally.add(&self.versions[0].1.classify_more(run, out)),
                (None, Some(older)) => tally.add(&older.classify_more(run, &self.versions[0].1, out)),
            }
        }
        tally
    }

    /// The version in force at an instant.
    #[must_use]
    pub fn at(&self, instant: UnixMillis) -> Arc<Classifier> {
        let first = &self.versions[0].1;
        match (self.place(instant), &self.older) {
            (Some(place), _) => Arc::clone(&self.versions[place].1),
            (None, Some(older)) => older.at(instant).map_or_else(|| Arc::clone(first), |held| held.1),
            (None, None) => Arc::clone(first),
        }
    }

    /// Place of the version in force at an instant; `None` before the first.
    fn place(&self, instant: UnixMillis) -> Option<usize> {
        self.versions.partition_point(|version| version.0 <= instant.0).checked_sub(1)
    }
}

/// Classifiers of a version's time, each with when it holds: more than one where names of interfaces changed their meaning.
pub type Span = Vec<(Range<i64>, Arc<Classifier>)>;

/// Compiles the version in force at an instant. `None` where it cannot be had now; who was asked says why.
type Compile = dyn Fn(UnixMillis) -> Option<Span> + Send + Sync;

/// Versions that are compiled when a flow asks for them.
pub struct Older {
    compile: Box<Compile>,
    /// Those asked for last, the last one at the end.
    kept: Mutex<Vec<Span>>,
}

impl core::fmt::Debug for Older {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Older").finish_non_exhaustive()
    }
}

impl Older {
    /// Versions that `compile` gives: of the time around an instant, for each instant before those that are there.
    #[must_use]
    pub fn new(compile: impl Fn(UnixMillis) -> Option<Span> + Send + Sync + 'static) -> Self {
        Self { compile: Box::new(compile), kept: Mutex::default() }
    }

    /// The classifier in force at an instant, and for how long around it.
    fn at(&self, instant: UnixMillis) -> Option<(Range<i64>, Arc<Classifier>)> {
        let find = |span: &Span| {
            span.iter()
                .find(|(when, _)| when.contains(&instant.0))
                .map(|(when, held)| (when.clone(), Arc::clone(held)))
        };
        // Whoever asks meanwhile would have to compile it as well.
        let mut kept = self.kept.lock().expect("no holder of this lock panics");
        if let Some((place, found)) = kept.iter().enumerate().find_map(|(n, span)| Some((n, find(span)?))) {
            kept[place..].rotate_left(1);
            return Some(found);
        }
        let span = (self.compile)(instant)?;
        let found = find(&span);
        kept.push(span);
        while kept.len() > OLDER_KEPT && kept.iter().map(octets).sum::<usize>() > OLDER_KEPT_OCTETS {
            kept.remove(0);
        }
        found
    }

    /// Classifies `records`, behind what is in `out`; those whose version cannot be had, by `otherwise`.
    fn classify_more(
        &self,
        records: &[FlowRecord],
        otherwise: &Classifier,
        out: &mut Vec<Classified>,
    ) -> Tally {
        let mut tally = Tally::default();
        let mut rest = records;
        while let Some(first) = rest.first() {
            let Some((when, held)) = self.at(first.end) else {
                tally.add(&otherwise.classify_more(rest, out));
                tally.by_other_version += rest.len() as u64;
                break;
            };
            let run = rest.iter().take_while(|record| when.contains(&record.end.0)).count();
            tally.add(&held.classify_more(&rest[..run], out));
            rest = &rest[run..];
        }
        tally
    }
}

/// What the classifiers of a version take: meanings of its names share all but their interfaces.
fn octets(span: &Span) -> usize {
    span.first().map_or(0, |(_, held)| held.prefix_octets())
}
