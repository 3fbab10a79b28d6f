//! How the volume of a line was calibrated: for each interval the total of the interfaces, what all flows sum to, what of it
//! is the line's, and its share.

use std::collections::BTreeMap;

use super::super::output::{self, Cell};
use super::behind::Scope;
use crate::flow::Direction;
use crate::ids::LinkId;
use crate::period::rfc3339;
use crate::rate::calibrate::{Interval, weight};
use crate::rate::tariff::{Calibrate, ChargeKind};
use crate::usage::{BucketStart, Scaled, UsageRow};

/// Columns of [`Intervals::rows`]: octets of the interfaces, of all flows, of the line by its flows, and its share.
pub(super) const COLUMNS: [&str; 8] =
    ["bucket", "link", "direction", "interface_octets", "flow_octets", "octets", "share", "calibration"];

/// What a line has of the intervals.
#[derive(Default)]
pub(super) struct Intervals {
    calibrate: Option<Calibrate>,
    own: BTreeMap<(BucketStart, String, Direction), Own>,
}

#[derive(Default)]
struct Own {
    link: LinkId,
    octets: Scaled,
    share: u128,
    is_late: bool,
}

impl Intervals {
    /// Those of a line; none where its volume is not calibrated.
    pub(super) fn of(scope: &Scope) -> Self {
        let calibrate = match &scope.rule.kind {
            ChargeKind::Volume(rule) => rule.calibrate,
            _ => None,
        };
        Self { calibrate, own: BTreeMap::new() }
    }

    /// Adds a row of the line.
    pub(super) fn add(&mut self, scope: &Scope, row: &UsageRow, link: &str) {
        if self.calibrate.is_none() {
            return;
        }
        let key = &row.key;
        let own = self.own.entry((key.bucket, link.to_owned(), key.direction)).or_default();
        own.link = key.link;
        own.octets.add(row.sums.octets, key.rate);
        own.is_late = scope.late.is_some();
        let totals = scope.kinds.totals();
        let total = totals.total(key.bucket, key.link, key.direction).filter(|_| !own.is_late);
        if let Some((total, weight)) = total.zip(weight(row.sums.octets, key.rate)) {
            own.share += u128::from(total.share(weight, || totals.order(key)));
        }
    }

    /// A row an interval. Where its total is not shared out, it is said why, and the flows count.
    pub(super) fn rows(&self, scope: &Scope) -> Vec<Vec<Cell>> {
        let Some(calibrate) = self.calibrate else { return Vec::new() };
        let row = |((bucket, link, direction), own): (&(BucketStart, String, Direction), &Own)| {
            let interval = scope.kinds.totals().get(*bucket, own.link, *direction);
            let (total, why) = match interval {
                None => (None, "no-counters"),
                Some(Interval::Unknown(why)) => (None, why.as_str()),
                Some(Interval::Total(total)) if !total.is_within(calibrate.max_difference) => {
                    (Some(total), "too-far-apart")
                }
                Some(Interval::Total(total)) if own.is_late => (Some(total), "shared-before"),
                Some(Interval::Total(total)) => (Some(total), "shared"),
            };
            let is_shared = why.starts_with("shared");
            vec![
                Cell::Text(rfc3339(bucket.start())),
                Cell::Text(link.clone()),
                direction.as_str().into(),
                total.map_or(Cell::Missing, |total| Cell::Integer(total.interface.into())),
                total.map_or(Cell::Missing, |total| Cell::Integer(total.flows.into())),
                Cell::Integer(own.octets.rounded()),
                if is_shared {
                    Cell::Integer(i128::try_from(own.share).unwrap_or(i128::MAX))
                } else {
                    Cell::Missing
                },
                why.into(),
            ]
        };
        self.own.iter().map(row).collect()
    }
}

/// What they come to, in words.
pub(super) fn summary(rows: &[Vec<Cell>]) -> String {
    let shared: Vec<i128> = rows
        .iter()
        .filter_map(|row| if let Cell::Integer(share) = row[6] { Some(share) } else { None })
        .collect();
    format!(
        "{} octets of interfaces in {} of {} intervals",
        output::grouped(shared.iter().sum()),
        shared.len(),
        rows.len()
    )
}
