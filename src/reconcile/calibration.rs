//! The totals of links that are shared out by flows, for charges that are calibrated.
//!
//! A link has a total in a direction and bucket where the counters of all its interfaces cover the bucket whole, and these
//! are the same interfaces over all of it, as are those of other links at its exporters. It is what the interfaces counted without framing; of the range that padding
//! leaves, what is nearest to the flows, so that nothing is corrected that the counters do not contradict. What framing is
//! is said by the configuration version that was in force, as what a link is: a later one changes nothing that is closed.
//! Where usage was corrected since, both are said by the version that it was corrected by, in all buckets of the correction:
//! what is shared out and what it is shared out by are of the same link.
//!
//! What is shared out is in proportion to all usage of the link and direction, whoever it belongs to. Toward the customer
//! that is all that the interfaces received. From the customer the interfaces also sent what passed from link to link
//! (`through`), which the ledger keeps with the link that it came in by. Where no exporter of the link has another one, it
//! left where it came in and takes its part; nobody is charged for it. Elsewhere nobody knows where it left, and a bucket
//! with any of it has no total in that direction.
//!
//! Usage that came after its period was closed has no part, here as in what is shared out: a total is charged once.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use super::book::{Book, Meanings, Sums, exporters};
use crate::classify::rules::{LinkPoint, LinkRule, Network};
use crate::flow::Direction;
use crate::ids::{CustomerId, LinkId};
use crate::ledger::Ledger;
use crate::ledger::records::interfaces::BUCKET_MS;
use crate::ledger::records::{NameKind, UsageFilter};
use crate::rate::calibrate::{Interval, Order, Ranks, Total, Totals, Unknown, weight};
use crate::usage::{BucketStart, UsageRow};

/// The totals of all links in the buckets of `[from, to)`.
///
/// Usage is read once; what is kept is a total for each bucket, link and direction, and the rows of one bucket.
///
/// # Errors
/// [`Error`].
pub fn totals(ledger: &mut Ledger, from: BucketStart, to: BucketStart) -> Result<Totals, Error> {
    let book = Book::counted(ledger, from, to)?;
    totals_of(book, ledger, (from, to), BTreeSet::new())
}

/// A link in a direction in a bucket.
pub type Place = (BucketStart, LinkId, Direction);

/// The same, as if the usage had been corrected by a configuration version and there were some in these places: what is known
/// of them is right, though not who would have what of it.
///
/// # Errors
/// [`Error`].
pub fn totals_supposing(
    ledger: &mut Ledger,
    (from, to): (BucketStart, BucketStart),
    sha256: &str,
    places: BTreeSet<Place>,
) -> Result<Totals, Error> {
    let mut book = Book::counted(ledger, from, to)?;
    book.suppose((from, to), sha256, ledger)?;
    totals_of(book, ledger, (from, to), places)
}

/// Of `known` places something is known also where there is no usage.
fn totals_of(
    book: Book,
    ledger: &mut Ledger,
    (from, to): (BucketStart, BucketStart),
    mut known: BTreeSet<Place>,
) -> Result<Totals, Error> {
    if book.parts.is_empty() {
        return Ok(Totals::default());
    }
    let [customers, classes, exporters] = [
        ledger.names(NameKind::Customer)?,
        ledger.names(NameKind::Class)?,
        ledger.names(NameKind::Exporter)?,
    ];
    let totals = Totals::new(Ranks::new(&customers, &classes, &exporters));
    let counted = book.parts.keys().map(|key| key.0).collect();
    let mut sharing = Sharing { book, totals, counted, bucket: from, rows: Vec::new() };
    let filter = UsageFilter { from: Some(from), to: Some(to), customer: None };
    ledger.for_each_usage(&filter, &mut |row| sharing.take(row))?;
    sharing.end_bucket();
    ledger.for_each_late_usage(BucketStart(i64::MIN), BucketStart(i64::MAX), &mut |_, row| {
        let key = &row.key;
        if from <= key.bucket && key.bucket < to && key.link != LinkId::NONE {
            known.insert((key.bucket, key.link, key.direction));
        }
    })?;
    sharing.late_alone(&known);
    Ok(sharing.totals)
}

/// The rows of a bucket, and the totals so far.
struct Sharing {
    book: Book,
    totals: Totals,
    /// Buckets of which anything was counted.
    counted: BTreeSet<BucketStart>,
    bucket: BucketStart,
    rows: Vec<UsageRow>,
}

impl Sharing {
    fn take(&mut self, row: UsageRow) {
        if row.key.bucket != self.bucket {
            self.end_bucket();
            self.bucket = row.key.bucket;
        }
        if row.key.link != LinkId::NONE && self.counted.contains(&self.bucket) {
            self.rows.push(row);
        }
    }

    fn end_bucket(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        let mut rows = core::mem::take(&mut self.rows);
        rows.sort_unstable_by_key(|row| (row.key.link, row.key.direction));
        self.book.forget_flows();
        rows.iter().for_each(|row| self.book.take(row));
        let leaving = self.leaving(&rows);
        leaving.iter().for_each(|(row, link)| self.book.leaves(row, *link));
        let found = self.intervals(&rows, &leaving);
        for ((link, direction), interval) in found {
            self.totals.put(self.bucket, link, direction, interval);
        }
        rows.clear();
        self.rows = rows;
    }

    /// Of intervals with late usage that the counters cover, those that nothing came for in time are told apart from gaps.
    fn late_alone(&mut self, late: &BTreeSet<Place>) {
        self.book.forget_flows();
        for &(bucket, link, direction) in late {
            if !self.counted.contains(&bucket) || self.totals.get(bucket, link, direction).is_some() {
                continue;
            }
            self.bucket = bucket;
            if self.is_covered(link, direction) {
                self.totals.put(bucket, link, direction, Interval::Unknown(Unknown::Late));
            }
        }
    }

    /// True where the counters cover the link in the bucket.
    fn is_covered(&self, link: LinkId, direction: Direction) -> bool {
        let Some(network) = self.book.network(self.bucket) else { return false };
        let Some(at) = network.links.iter().position(|rule| self.number(rule) == Some(link)) else {
            return false;
        };
        let meanings = Meanings::of(&self.book, network, self.bucket);
        matches!(self.countable(network, &meanings, at), Countable::Yes)
            && self.counted((network, &meanings, at), (link, direction)).is_some()
    }

    /// What passed from link to link where it is known where it left: at exporters whose only link is this one.
    fn leaving(&self, rows: &[UsageRow]) -> Vec<(UsageRow, LinkId)> {
        let Some(network) = self.book.network(self.bucket) else { return Vec::new() };
        let mut found = Vec::new();
        let through = rows.iter().filter(|row| row.key.customer == CustomerId::THROUGH);
        for row in through.filter(|row| row.sums.octets > 0) {
            let mut links = network.links.iter().filter(|link| self.is_at(link, row));
            if let (Some(only), None) = (links.next(), links.next())
                && self.is_alone(network, only)
                && let Some(link) = self.number(only)
            {
                found.push((*row, link));
            }
        }
        found
    }

    /// True where the row was seen by an exporter of the link.
    fn is_at(&self, link: &LinkRule, row: &UsageRow) -> bool {
        exporters(link).any(|name| self.book.exporters.get(name) == Some(&row.key.exporter.0.into()))
    }

    /// True where no exporter of the link has another one.
    fn is_alone(&self, network: &Network, link: &LinkRule) -> bool {
        let shares = |other: &LinkRule| exporters(other).any(|name| exporters(link).any(|own| own == name));
        !network.links.iter().any(|other| other.name != link.name && shares(other))
    }

    fn number(&self, link: &LinkRule) -> Option<LinkId> {
        u16::try_from(*self.book.links.get(&link.name)?).ok().map(LinkId)
    }

    /// What is known of the links of the bucket. Rows come by link and direction.
    fn intervals(
        &self,
        rows: &[UsageRow],
        leaving: &[(UsageRow, LinkId)],
    ) -> BTreeMap<(LinkId, Direction), Interval> {
        let mut found = BTreeMap::new();
        let Some(network) = self.book.network(self.bucket) else { return found };
        let meanings = Meanings::of(&self.book, network, self.bucket);
        let numbers: BTreeMap<LinkId, usize> = network
            .links
            .iter()
            .enumerate()
            .filter_map(|(at, link)| Some((self.number(link)?, at)))
            .collect();
        let is_through = |row: &&UsageRow| row.key.customer == CustomerId::THROUGH && row.sums.octets > 0;
        let through: Vec<&UsageRow> = rows.iter().filter(is_through).collect();
        // Usage of a link that is not there: a flow that ended under a later configuration, or came after a correction. It may
        // have crossed the interfaces of another.
        let strays: Vec<&UsageRow> = rows.iter().filter(|row| !numbers.contains_key(&row.key.link)).collect();
        let has_passed = |link: &LinkRule| through.iter().any(|row| self.is_at(link, row));
        for own in rows.chunk_by(|a, b| (a.key.link, a.key.direction) == (b.key.link, b.key.direction)) {
            let (link, direction) = (own[0].key.link, own[0].key.direction);
            let Some(&at) = numbers.get(&link) else {
                let mut later = self.book.later(self.bucket).flat_map(|network| &network.links);
                if later.any(|rule| self.number(rule) == Some(link)) {
                    found.insert((link, direction), Interval::Unknown(Unknown::Interfaces));
                }
                continue;
            };
            let rule = &network.links[at];
            let mut all: Vec<&UsageRow> = own.iter().collect();
            let mut is_elsewhere = false;
            if direction == Direction::Out {
                // What was discarded on its way out never left.
                all.retain(|row| row.key.customer != CustomerId::DISCARDED);
                all.extend(leaving.iter().filter(|(_, of)| *of == link).map(|(row, _)| row));
                is_elsewhere = !self.is_alone(network, rule) && has_passed(rule);
            }
            let is_whole = !strays.iter().any(|row| self.is_at(rule, row));
            let interval = match self.countable(network, &meanings, at) {
                Countable::No => None,
                Countable::Moves => Some(Interval::Unknown(Unknown::Interfaces)),
                Countable::Yes => {
                    let total = self.total((network, &meanings, at), (link, direction), &all);
                    // Of what the counters do not cover, nothing else needs to be said.
                    let unknown = (!is_whole).then_some(Unknown::Interfaces);
                    let unknown = unknown.or_else(|| is_elsewhere.then_some(Unknown::Through));
                    total.map(|total| unknown.map_or(Interval::Total(total), Interval::Unknown))
                }
            };
            found.extend(interval.map(|interval| ((link, direction), interval)));
        }
        found
    }

    /// True where counters can be those of all of the link over all of the bucket.
    fn countable(&self, network: &Network, meanings: &Meanings, at: usize) -> Countable {
        let (link, resolved) = (&network.links[at], &meanings.first);
        let is_known = link.points.iter().all(|point| match point {
            LinkPoint::Interface(_) => true,
            LinkPoint::Named(name) => !resolved.waiting.contains(&name.exporter),
            LinkPoint::WholeExporter(_) => false,
        });
        if !is_known || resolved.unmatched.iter().any(|(of, _)| *of == at) {
            return Countable::No;
        }
        if meanings.change(at) || self.book.is_reconfigured(self.bucket, network, link) {
            return Countable::Moves;
        }
        Countable::Yes
    }

    /// The total of an interval in which these rows crossed the link; `None` where the counters do not cover it.
    fn total(
        &self,
        (network, meanings, at): (&Network, &Meanings, usize),
        (number, direction): (LinkId, Direction),
        rows: &[&UsageRow],
    ) -> Option<Total> {
        let sums = self.counted((network, meanings, at), (number, direction))?;
        let weighed: Vec<(Order, u64)> = rows
            .iter()
            .map(|row| Some((self.totals.order(&row.key), weight(row.sums.octets, row.key.rate)?)))
            .collect::<Option<_>>()?;
        let flows: u128 = weighed.iter().map(|(_, weight)| u128::from(*weight)).sum();
        let is_sampled = rows.iter().any(|row| row.key.rate.is_sampled());
        let interface = flows.clamp(sums.least, sums.most);
        Total::shared_out(interface, &weighed, (sums.variance, is_sampled))
    }

    /// The sums of a link whose interfaces' counters cover all of the bucket; `None` where they do not.
    fn counted(
        &self,
        (network, meanings, at): (&Network, &Meanings, usize),
        (number, direction): (LinkId, Direction),
    ) -> Option<Sums> {
        let link = &network.links[at];
        let numbered = link.points.iter().filter_map(|point| match point {
            LinkPoint::Interface(at) => Some(at),
            LinkPoint::Named(_) | LinkPoint::WholeExporter(_) => None,
        });
        let points: Vec<_> = numbered.chain(meanings.first.of(at)).collect();
        let (sums, covered_ms) =
            self.book.sums(self.bucket, number.0.into(), &points, direction, link.overhead);
        (covered_ms >= BUCKET_MS).then_some(sums)
    }
}

/// Whether counters can be a link's.
enum Countable {
    Yes,
    /// Not of all of it.
    No,
    /// Its interfaces were others at the end of the bucket.
    Moves,
}

#[cfg(test)]
mod tests;
