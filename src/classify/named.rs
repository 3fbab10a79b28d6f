//! Which interfaces a link's names mean, at each time.
//!
//! Exporters tell over SNMP what their interfaces are called; the ledger keeps what they told, and from when on. So what
//! a name meant when a flow ended is the same whenever the flow is read, and a number that moved after a restart is
//! followed from the reading on that found it. The first reading of an exporter also holds for all time before it. Before
//! there is one, nobody knows which of its interfaces are on links, and its records wait. So they do for [`AWAITED_MS`] after
//! a start of the exporter, where interfaces that links had before it have not shown since: other numbers may be theirs now.
//!
//! An interface that a link has by number is that link's, whatever it is called; of several links that have it by name, it
//! is that of the first in the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rules::{InterfaceName, InterfaceRef, LinkPoint, Network};
use crate::ledger::records::interfaces::{Interface, InterfaceEntry};
use crate::units::{IfIndex, UnixMillis};

/// How long after its start an exporter's records wait for interfaces of links that have not shown again. Routers have found
/// their line cards by then.
pub const AWAITED_MS: i64 = 10 * 60 * 1000;

/// From when on an exporter had which interfaces.
type Held = (UnixMillis, Arc<[Interface]>);

/// The interfaces of exporters, by name, as they were at each time.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By exporter: from when on it had which interfaces, ascending.
    exporters: BTreeMap<String, Vec<Held>>,
    /// By exporter, ascending: from when on interfaces of links had not shown since a start, and from when on all had.
    shown: BTreeMap<String, Vec<(UnixMillis, bool)>>,
}

/// What the names of a network mean at a time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Resolved {
    /// Interfaces that are on links by name: which link, by its position. None twice.
    pub(super) points: BTreeMap<InterfaceRef, usize>,
    /// Exporters with names that nobody can tell the meaning of yet.
    pub waiting: BTreeSet<String>,
    /// Exporters that have started anew a short while ago, of which interfaces that links had before have not shown since.
    pub returning: BTreeSet<String>,
    /// Interfaces that more than one link claims: which, the link that has it, and the one that does not.
    pub disputed: Vec<(InterfaceRef, usize, usize)>,
    /// Names that no interface has, of exporters whose interfaces are known; with the position of the link.
    pub unmatched: Vec<(usize, InterfaceName)>,
}

impl Resolved {
    /// The interfaces of the link at a position.
    pub fn of(&self, link: usize) -> impl Iterator<Item = &InterfaceRef> {
        self.points.iter().filter(move |(_, at)| **at == link).map(|(point, _)| point)
    }

    /// A text that differs where the meaning of the names does.
    #[must_use]
    pub fn digest(&self) -> String {
        let points =
            self.points.iter().map(|(at, link)| format!("{}\t{}\t{link}\n", at.exporter, at.ifindex.0));
        points.collect()
    }
}

impl History {
    /// From the ledger's entries. `name` tells the name of an exporter by its number.
    #[must_use]
    pub fn new(entries: &[InterfaceEntry], name: impl Fn(u32) -> Option<String>) -> Self {
        let mut by_exporter: BTreeMap<u32, BTreeMap<UnixMillis, Vec<&InterfaceEntry>>> = BTreeMap::new();
        for entry in entries {
            let times = by_exporter.entry(entry.exporter).or_default();
            times.entry(entry.valid_from).or_default().push(entry);
        }
        let (mut exporters, mut shown) = (BTreeMap::new(), BTreeMap::new());
        for (number, times) in by_exporter {
            let Some(name) = name(number) else { continue };
            let mut now: BTreeMap<IfIndex, Interface> = BTreeMap::new();
            let (mut states, mut all_shown) = (Vec::new(), Vec::new());
            for (at, entries) in times {
                for entry in entries {
                    if entry.interface.ifindex == IfIndex(0) {
                        all_shown.push((at, entry.present));
                    } else if entry.present {
                        now.insert(entry.interface.ifindex, entry.interface.clone());
                    } else {
                        now.remove(&entry.interface.ifindex);
                    }
                }
                states.push((at, now.values().cloned().collect()));
            }
            shown.insert(name.clone(), all_shown);
            exporters.insert(name, states);
        }
        Self { exporters, shown }
    }

    /// The interfaces of an exporter at an instant; `None` where nobody was ever told.
    #[must_use]
    pub fn interfaces(&self, exporter: &str, at: UnixMillis) -> Option<&[Interface]> {
        let states = self.exporters.get(exporter)?;
        let place = states.partition_point(|(from, _)| *from <= at).saturating_sub(1);
        states.get(place).map(|(_, interfaces)| &interfaces[..])
    }

    /// Where interfaces of links have not shown at an instant since a start of the exporter: since when, by the first of
    /// several such starts in a row. It ends by itself [`AWAITED_MS`] after the last.
    #[must_use]
    pub fn incomplete_since(&self, exporter: &str, at: UnixMillis) -> Option<UnixMillis> {
        let told = self.shown.get(exporter)?;
        let told = &told[..told.partition_point(|(from, _)| *from <= at)];
        let mut since: Option<UnixMillis> = None;
        let mut until = at;
        for (from, all) in told.iter().rev() {
            if *all || until.since(*from) >= AWAITED_MS {
                break;
            }
            (since, until) = (Some(*from), *from);
        }
        since
    }

    /// Whether an interface that a link has by name was there before the exporter started, at `started`, and is not among
    /// those that have been `found` since.
    #[must_use]
    pub fn lacks(&self, network: &Network, exporter: &str, started: UnixMillis, found: &[Interface]) -> bool {
        let since = self.incomplete_since(exporter, started).unwrap_or(started);
        let before = self.interfaces(exporter, since.plus(-1)).unwrap_or_default();
        let found: BTreeSet<&str> = found.iter().map(|interface| &*interface.name).collect();
        before.iter().any(|one| network.names(exporter, one) && !found.contains(&*one.name))
    }

    /// What the names in `network` mean at an instant.
    #[must_use]
    pub fn resolve(&self, network: &Network, at: UnixMillis) -> Resolved {
        let mut resolved = Resolved::default();
        let numbered: BTreeSet<&InterfaceRef> = network
            .links
            .iter()
            .flat_map(|link| &link.points)
            .filter_map(|point| if let LinkPoint::Interface(at) = point { Some(at) } else { None })
            .collect();
        for (position, link) in network.links.iter().enumerate() {
            for point in &link.points {
                let LinkPoint::Named(name) = point else { continue };
                let Some(interfaces) = self.interfaces(&name.exporter, at) else {
                    resolved.waiting.insert(name.exporter.clone());
                    continue;
                };
                if self.incomplete_since(&name.exporter, at).is_some() {
                    resolved.returning.insert(name.exporter.clone());
                }
                if !interfaces.iter().any(|interface| name.matches(interface)) {
                    resolved.unmatched.push((position, name.clone()));
                }
                for interface in interfaces.iter().filter(|interface| name.matches(interface)) {
                    let at = InterfaceRef { exporter: name.exporter.clone(), ifindex: interface.ifindex };
                    if numbered.contains(&at) {
                        continue;
                    }
                    match resolved.points.get(&at) {
                        Some(&first) if first != position => resolved.disputed.push((at, first, position)),
                        Some(_) => {}
                        None => drop(resolved.points.insert(at, position)),
                    }
                }
            }
        }
        resolved
    }

    /// What the names in `network` mean from `from` on, before `to`: each meaning with the instant from which it holds,
    /// the first with `from`.
    #[must_use]
    pub fn meanings(&self, network: &Network, from: i64, to: i64) -> Vec<(i64, Resolved)> {
        let exporters: BTreeSet<&str> = network
            .links
            .iter()
            .flat_map(|link| &link.points)
            .filter_map(|point| if let LinkPoint::Named(name) = point { Some(&*name.exporter) } else { None })
            .collect();
        let states = exporters.iter().filter_map(|exporter| self.exporters.get(*exporter)).flatten();
        let times: BTreeSet<i64> =
            states.map(|(at, _)| at.0).filter(|at| from < *at && *at < to).chain([from]).collect();
        let mut meanings: Vec<(i64, Resolved)> = Vec::new();
        for at in times {
            let resolved = self.resolve(network, UnixMillis(at));
            if meanings.last().is_none_or(|(_, last)| last.points != resolved.points) {
                meanings.push((at, resolved));
            }
        }
        meanings
    }
}

impl Network {
    /// Of an exporter's interfaces, those that a link or a customer has, by number or by name.
    #[must_use]
    pub fn of_interest(&self, exporter: &str, interfaces: &[Interface]) -> Vec<Interface> {
        let numbers: BTreeSet<IfIndex> = self.numbers(exporter).collect();
        let wanted =
            |interface: &&Interface| numbers.contains(&interface.ifindex) || self.names(exporter, interface);
        interfaces.iter().filter(wanted).cloned().collect()
    }

    /// Whether a link has interfaces of an exporter by name.
    #[must_use]
    pub fn has_names(&self, exporter: &str) -> bool {
        let is_its = |point: &LinkPoint| matches!(point, LinkPoint::Named(name) if name.exporter == exporter);
        self.links.iter().flat_map(|link| &link.points).any(is_its)
    }

    /// Whether a link has this interface of an exporter by name.
    fn names(&self, exporter: &str, interface: &Interface) -> bool {
        self.links.iter().flat_map(|link| &link.points).any(|point| match point {
            LinkPoint::Named(name) => name.exporter == exporter && name.matches(interface),
            LinkPoint::Interface(_) | LinkPoint::WholeExporter(_) => false,
        })
    }

    /// Interfaces of an exporter that links and customers have by number.
    fn numbers(&self, exporter: &str) -> impl Iterator<Item = IfIndex> {
        let links = self.links.iter().flat_map(|link| &link.points).filter_map(|point| match point {
            LinkPoint::Interface(at) => Some(at),
            LinkPoint::Named(_) | LinkPoint::WholeExporter(_) => None,
        });
        let customers = self.customers.iter().flat_map(|customer| &customer.interfaces);
        links.chain(customers).filter(move |at| at.exporter == exporter).map(|at| at.ifindex)
    }
}
