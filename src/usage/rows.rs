//! Usage rows on their way from the meter to the ledger: in the order of their keys, and small, because a flush has up to
//! two million, and each page of new memory costs as much as writing a hundred of them.

use std::sync::Arc;

use super::packed::PackedRow;
use super::{UsageKey, UsageRow};
use crate::ids::ExporterId;
use crate::units::SamplingRate;

/// Rows of usage, each key once, in the order of the keys where they come from a meter.
#[derive(Clone, Debug, Default)]
pub struct UsageRows {
    runs: Vec<Run>,
    len: usize,
}

/// Rows side by side.
#[derive(Clone, Debug)]
enum Run {
    /// Of one bucket.
    Packed(Packed),
    /// Of any, and of any size.
    Whole(Vec<UsageRow>),
}

/// Rows of one bucket, without what they share.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    /// Its start, divided by 300 seconds.
    pub(crate) bucket: i32,
    /// By the number that keys have of them.
    pub(crate) rates: Arc<[SamplingRate]>,
    pub(crate) rows: Vec<PackedRow>,
    /// Lower and upper sum of squares by row; empty where all are 0.
    pub(crate) squares: Vec<[u64; 2]>,
}

impl Packed {
    fn row(&self, n: usize) -> UsageRow {
        let row = &self.rows[n];
        let rate = self.rates[row.key.rate() as usize];
        let sums = row.sums(self.squares.get(n).copied().unwrap_or_default());
        UsageRow { key: row.key.unpack(self.bucket, rate), sums }
    }

    /// True where each key comes before the next one.
    fn is_sorted(&self) -> bool {
        (1..self.rows.len()).all(|n| {
            let [before, after] = [n - 1, n].map(|n| self.rows[n].key.before_rate());
            before < after || before == after && self.row(n - 1).key < self.row(n).key
        })
    }
}

impl Run {
    fn len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.rows.len(),
            Self::Whole(rows) => rows.len(),
        }
    }

    fn row(&self, n: usize) -> UsageRow {
        match self {
            Self::Packed(packed) => packed.row(n),
            Self::Whole(rows) => rows[n],
        }
    }

    fn is_sorted(&self) -> bool {
        match self {
            Self::Packed(packed) => packed.is_sorted(),
            Self::Whole(rows) => rows.is_sorted_by(|a, b| a.key < b.key),
        }
    }
}

impl UsageRows {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The rows in their order.
    pub fn iter(&self) -> impl Iterator<Item = UsageRow> + '_ {
        self.runs.iter().flat_map(|run| (0..run.len()).map(|n| run.row(n)))
    }

    /// Puts the rows of a bucket behind the others.
    pub(crate) fn push_packed(&mut self, packed: Packed) {
        self.push(Run::Packed(packed));
    }

    /// Puts rows behind the others.
    pub(crate) fn push_whole(&mut self, rows: Vec<UsageRow>) {
        self.push(Run::Whole(rows));
    }

    fn push(&mut self, run: Run) {
        self.len += run.len();
        if run.len() > 0 {
            self.runs.push(run);
        }
    }

    /// Gives the exporters other numbers. The rows stay where they are, in order or not.
    pub fn renumber_exporters(&mut self, number: impl Fn(ExporterId) -> ExporterId) {
        for run in &mut self.runs {
            match run {
                Run::Packed(packed) => {
                    packed.rows.iter_mut().for_each(|row| row.key.set_exporter(number(row.key.exporter())));
                }
                Run::Whole(rows) => {
                    rows.iter_mut().for_each(|row| row.key.exporter = number(row.key.exporter));
                }
            }
        }
    }

    /// True where they are in the order of their keys, each once.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        let key = |run: &Run, n: usize| -> UsageKey { run.row(n).key };
        self.runs.iter().all(Run::is_sorted)
            && self.runs.windows(2).all(|two| key(&two[0], two[0].len() - 1) < key(&two[1], 0))
    }

    /// The rows in their order, to be changed.
    #[must_use]
    pub fn into_vec(self) -> Vec<UsageRow> {
        let mut runs = self.runs;
        match &mut runs[..] {
            [Run::Whole(rows)] => core::mem::take(rows),
            runs => {
                let mut all = Vec::with_capacity(self.len);
                for run in runs {
                    all.extend((0..run.len()).map(|n| run.row(n)));
                }
                all
            }
        }
    }
}

impl PartialEq for UsageRows {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UsageRows {}

impl From<Vec<UsageRow>> for UsageRows {
    fn from(rows: Vec<UsageRow>) -> Self {
        let mut all = Self::default();
        all.push_whole(rows);
        all
    }
}

impl IntoIterator for UsageRows {
    type Item = UsageRow;
    type IntoIter = std::vec::IntoIter<UsageRow>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_vec().into_iter()
    }
}

#[cfg(test)]
mod tests;
