//! Usage rows to each customer's usage of its period, and the hash that names those rows.
//!
//! Rows are read once, in the order of their buckets, for all customers; what is kept is a customer's sums by group
//! and one bucket's rows, so that memory grows with customers and links and not with the length of the month.
//!
//! The usage root is the SHA-256 over one line a row, sorted by bucket and then by the line's bytes:
//!
//! ```text
//! bucket link direction class family exporter numerator denominator source octets packets flows low high LF
//! ```
//!
//! apart by tabs, the bucket in seconds since the epoch, names instead of the ledger's numbers (tab, line feed and
//! backslash in a name as `\t`, `\n`, `\\`), raw sums as the ledger has them. So two ledgers that numbered their names
//! differently agree on it, and one can work it out from an export.

use core::fmt::Write;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::kinds::LinkKinds;
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::rate::usage::{GroupKey, PeriodUsage, Volume};
use crate::units::UnixMillis;
use crate::usage::{BucketStart, UsageRow};

/// The names behind the ledger's numbers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Customers.
    pub customers: HashMap<u32, String>,
    /// Links.
    pub links: HashMap<u32, String>,
    /// Traffic classes.
    pub classes: HashMap<u32, String>,
    /// Exporters.
    pub exporters: HashMap<u32, String>,
}

impl Names {
    /// The customer's number.
    #[must_use]
    pub fn customer(&self, name: &str) -> Option<CustomerId> {
        self.customers.iter().find(|(_, known)| *known == name).map(|(&id, _)| CustomerId(id))
    }
}

/// The rows do not come in the order of their buckets: a defect of the ledger, which would change the root.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("usage rows are not in the order of their buckets: {} after {}", .later.0, .earlier.0)]
pub struct OutOfOrder {
    /// The bucket that came first ...
    pub earlier: BucketStart,
    /// ... and the older one that came after it.
    pub later: BucketStart,
}

/// A customer's usage and its root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Collected {
    /// The usage.
    pub usage: PeriodUsage,
    /// SHA-256 over the rows, in hex.
    pub root: String,
    /// Links in it of which nobody knows the kind; their traffic cannot be priced.
    pub unknown_links: BTreeSet<String>,
}

type Group = (LinkId, Direction, ClassId, Family, ExporterId);

#[derive(Default)]
struct Customer {
    from: BucketStart,
    to: BucketStart,
    groups: BTreeMap<Group, Volume>,
    bucket: BucketStart,
    /// The lines of `bucket`, not yet hashed.
    lines: Vec<String>,
    hash: Sha256,
}

impl Customer {
    fn end_bucket(&mut self) {
        self.lines.sort_unstable();
        for line in self.lines.drain(..) {
            self.hash.update(line.as_bytes());
        }
    }
}

/// Collects the usage of the customers that it was told to.
#[derive(Default)]
pub struct Collector {
    customers: HashMap<CustomerId, Customer>,
}

impl Collector {
    /// Collects `customer`'s usage of the buckets in `[from, to)`.
    pub fn expect(&mut self, customer: CustomerId, from: BucketStart, to: BucketStart) {
        self.customers.insert(customer, Customer { from, to, bucket: from, ..Customer::default() });
    }

    /// First bucket that any customer wants, and first bucket after the last one.
    #[must_use]
    pub fn range(&self) -> Option<(BucketStart, BucketStart)> {
        let from = self.customers.values().map(|customer| customer.from).min()?;
        let to = self.customers.values().map(|customer| customer.to).max()?;
        Some((from, to))
    }

    /// Takes a row; those that nobody wants are passed over. A customer's rows come by bucket.
    ///
    /// # Errors
    /// [`OutOfOrder`].
    pub fn add(&mut self, row: &UsageRow, names: &Names) -> Result<(), OutOfOrder> {
        let key = &row.key;
        let Some(customer) = self.customers.get_mut(&key.customer) else { return Ok(()) };
        if key.bucket < customer.from || key.bucket >= customer.to {
            return Ok(());
        }
        if key.bucket < customer.bucket {
            return Err(OutOfOrder { earlier: customer.bucket, later: key.bucket });
        }
        if key.bucket > customer.bucket {
            customer.end_bucket();
            customer.bucket = key.bucket;
        }
        customer.lines.push(line(row, names));
        let group = (key.link, key.direction, key.class, key.family, key.exporter);
        customer.groups.entry(group).or_default().add(&row.sums, key.rate);
        Ok(())
    }

    /// What each customer used; those that used nothing too. The kind of a link is that of the customer's period.
    #[must_use]
    pub fn finish(self, names: &Names, kinds: &LinkKinds) -> HashMap<CustomerId, Collected> {
        let finish = |(id, mut customer): (CustomerId, Customer)| {
            customer.end_bucket();
            let end = UnixMillis::from_seconds(customer.to.0);
            let (mut usage, mut unknown_links) = (PeriodUsage::default(), BTreeSet::new());
            for (group, volume) in &customer.groups {
                let mut key = named(group, names);
                if group.0 != LinkId::NONE {
                    match kinds.kind(&key.link, end) {
                        Some(kind) => kind.clone_into(&mut key.link_kind),
                        None => drop(unknown_links.insert(key.link.clone())),
                    }
                }
                usage.groups.entry(key).or_default().merge(volume);
            }
            (id, Collected { usage, root: hex(&customer.hash.finalize()), unknown_links })
        };
        self.customers.into_iter().map(finish).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// A name, or its number where the ledger has lost it (which its foreign keys forbid).
fn name(names: &HashMap<u32, String>, id: u32) -> String {
    names.get(&id).cloned().unwrap_or_else(|| format!("#{id}"))
}

fn link_name(names: &Names, link: LinkId) -> String {
    if link == LinkId::NONE { String::new() } else { name(&names.links, link.0.into()) }
}

fn class_name(names: &Names, class: ClassId) -> String {
    if class == ClassId::DEFAULT { "default".to_owned() } else { name(&names.classes, class.0.into()) }
}

/// The group by names; the link's kind is empty yet.
fn named(group: &Group, names: &Names) -> GroupKey {
    let &(link, direction, class, family, exporter) = group;
    GroupKey {
        link: link_name(names, link),
        link_kind: String::new(),
        direction,
        traffic_class: class_name(names, class),
        family,
        exporter: name(&names.exporters, exporter.0.into()),
    }
}

fn line(row: &UsageRow, names: &Names) -> String {
    let (key, sums) = (&row.key, &row.sums);
    let escaped = |name: String| name.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n");
    format!(
        "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n",
        key.bucket.0,
        escaped(link_name(names, key.link)),
        key.direction.as_str(),
        escaped(class_name(names, key.class)),
        key.family.as_str(),
        escaped(name(&names.exporters, key.exporter.0.into())),
        key.rate.numerator(),
        key.rate.denominator(),
        key.rate.source().as_str(),
        sums.octets,
        sums.packets,
        sums.flows,
        sums.squares_low,
        sums.squares_high,
    )
}
