//! What flows a configuration allows, by construction: which addresses, AS numbers and interfaces make a flow some
//! customer's on some link. Found apart from the classifier: from ranges of addresses that nobody else holds.

use crate::classify::rules::{CustomerRule, LinkPoint, Network, Prefix, Validity};
use crate::exporter::Observes;
use crate::flow::Family;
use crate::generate::Protocol;
use crate::generate::random::Random;
use crate::units::UnixMillis;

/// Addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) family: Family,
    pub(super) first: u128,
    pub(super) last: u128,
}

impl Range {
    fn of(prefix: &Prefix) -> Self {
        let (family, address) = crate::flow::Address::from_ip(prefix.address);
        let bits = if family == Family::V4 { 32 } else { 128 };
        let host = u128::MAX.checked_shr(128 - (bits - u32::from(prefix.length))).unwrap_or(0);
        Self { family, first: address.0, last: address.0 | host }
    }

    /// An address of it. Of a large range only a part is used: up to 2^32 addresses.
    pub(super) fn pick(&self, random: &mut Random) -> u128 {
        let span = u64::try_from((self.last - self.first).min(0xffff_ffff)).expect("32 bits");
        self.first + u128::from(random.below(span + 1))
    }

    /// What is left of it without `holes`.
    fn without(&self, holes: &[Self]) -> Vec<Self> {
        let mut holes: Vec<&Self> = holes
            .iter()
            .filter(|hole| hole.family == self.family && hole.first <= self.last && hole.last >= self.first)
            .collect();
        holes.sort_by_key(|hole| hole.first);
        let mut left = Vec::new();
        let mut from = Some(self.first);
        for hole in holes {
            let Some(at) = from else { break };
            if hole.first > at {
                left.push(Self { first: at, last: hole.first - 1, ..*self });
            }
            from = hole.last.checked_add(1).map(|next| next.max(at)).filter(|&next| next <= self.last);
        }
        left.extend(from.map(|at| Self { first: at, ..*self }));
        left
    }
}

/// What makes a flow a customer's.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// An address in one of these ranges, which no longer prefix of anybody else covers.
    Addresses(Vec<Range>),
    /// An AS number, with an address that is nobody's.
    Asn(u32),
    /// An interface of a site.
    Interface { site: usize, ifindex: u32 },
}

/// A customer that flows can be made for.
#[derive(Clone, Debug)]
pub(super) struct Customer {
    /// Its index among the truth's names.
    pub(super) name: u32,
    pub(super) identities: Vec<Identity>,
}

/// An exporter that can report flows.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) observes: Observes,
    /// Interfaces on links: ifindex and the link's number.
    pub(super) on_links: Vec<(u32, u16)>,
    /// The link that is the whole exporter.
    pub(super) whole: Option<u16>,
    /// Interfaces that are neither on a link nor a customer's.
    pub(super) inner: [u32; 4],
}

/// Everything.
#[derive(Debug)]
pub(super) struct Plan {
    /// By index; after the customers `through`, `local` and `unassigned`.
    pub(super) names: Vec<String>,
    /// Names of links; 0 is none.
    pub(super) links: Vec<String>,
    pub(super) sites: Vec<Site>,
    pub(super) customers: Vec<Customer>,
    /// Ranges of addresses that are no customer's.
    pub(super) outside: Vec<Range>,
    /// AS numbers that are no customer's.
    pub(super) outside_as: Vec<u32>,
    /// Customers and links that no flow can be made for, with the reason.
    pub(super) skipped: Vec<String>,
}

/// Valid all the time, and valid at any time, between two instants.
fn always_ever(validity: Validity, (first, last): (UnixMillis, UnixMillis)) -> (bool, bool) {
    let always = validity.from.is_none_or(|from| from <= first) && validity.to.is_none_or(|to| to > last);
    let ever = validity.from.is_none_or(|from| from <= last) && validity.to.is_none_or(|to| to > first);
    (always, ever)
}

impl Plan {
    pub(super) fn new(network: &Network, protocol: Protocol, window: (UnixMillis, UnixMillis)) -> Self {
        let mut skipped = Vec::new();
        let links = core::iter::once(String::new()).chain(network.links.iter().map(|link| link.name.clone()));
        let mut names: Vec<String> = network.customers.iter().map(|customer| customer.name.clone()).collect();
        names.extend(["through", "local", "unassigned"].map(str::to_owned));
        let sites = sites(network, protocol, &mut skipped);
        let held = held(network, window);
        let customers = network
            .customers
            .iter()
            .enumerate()
            .filter_map(|(index, customer)| {
                let identities = identities(customer, index, network, &sites, &held, protocol, window);
                if identities.is_empty() {
                    skipped.push(format!("customer {}", customer.name));
                    return None;
                }
                Some(Customer { name: u32::try_from(index).ok()?, identities })
            })
            .collect();
        let ranges: Vec<Range> = held.iter().map(|held| held.range).collect();
        let outside = world(protocol).iter().flat_map(|world| world.without(&ranges)).collect();
        let outside_as = (1001..)
            .filter(|asn| {
                !network.customers.iter().any(|customer| customer.asns.iter().any(|own| own.0 == *asn))
            })
            .take(64)
            .collect();
        Self { names, links: links.collect(), sites, customers, outside, outside_as, skipped }
    }
}

/// Where other people live: unicast, public.
fn world(protocol: Protocol) -> Vec<Range> {
    let v4 = |first: u128, last: u128| Range { family: Family::V4, first, last };
    let mut world =
        vec![v4(0x0b00_0000, 0x7eff_ffff), v4(0x8000_0000, 0xa9ff_ffff), v4(0xc100_0000, 0xdfff_ffff)];
    if protocol != Protocol::V5 {
        world.push(Range { family: Family::V6, first: 0x2a00 << 112, last: (0x2a10 << 112) - 1 });
    }
    world
}

fn sites(network: &Network, protocol: Protocol, skipped: &mut Vec<String>) -> Vec<Site> {
    // v5 has 16 bits for an interface.
    let ifindex_max = if protocol == Protocol::V5 { 0xffff } else { u32::MAX };
    network
        .exporters
        .iter()
        .map(|exporter| {
            let (mut on_links, mut whole) = (Vec::new(), None);
            for (link, number) in network.links.iter().zip(1..) {
                for point in &link.points {
                    match point {
                        LinkPoint::WholeExporter(name) if *name == exporter.name => whole = Some(number),
                        LinkPoint::Interface(at) if at.exporter == exporter.name => {
                            if at.ifindex.0 <= ifindex_max {
                                on_links.push((at.ifindex.0, number));
                            } else {
                                skipped.push(format!("interface {} of {}", at.ifindex.0, at.exporter));
                            }
                        }
                        _ => {}
                    }
                }
            }
            let taken = |ifindex: u32| {
                on_links.iter().any(|&(on_link, _)| on_link == ifindex)
                    || network.customers.iter().any(|customer| {
                        customer
                            .interfaces
                            .iter()
                            .any(|own| own.exporter == exporter.name && own.ifindex.0 == ifindex)
                    })
            };
            let mut inner = [0; 4];
            for (slot, ifindex) in inner.iter_mut().zip((1000..).filter(|&ifindex| !taken(ifindex))) {
                *slot = ifindex;
            }
            Site { observes: exporter.observes, on_links, whole, inner }
        })
        .collect()
}

/// A range that a customer holds at some time in the window.
struct Held {
    range: Range,
    length: u8,
    customer: usize,
}

/// All of them, by first address, the wider first.
fn held(network: &Network, window: (UnixMillis, UnixMillis)) -> Vec<Held> {
    let mut held: Vec<Held> = Vec::new();
    for (index, customer) in network.customers.iter().enumerate() {
        for own in &customer.prefixes {
            if always_ever(own.validity, window).1 && always_ever(customer.validity, window).1 {
                let prefix = &own.prefix;
                held.push(Held { range: Range::of(prefix), length: prefix.length, customer: index });
            }
        }
    }
    held.sort_by_key(|held| (held.range.family, held.range.first, held.length));
    held
}

/// The prefixes inside `prefix` that are others': addresses there would be theirs.
fn holes(held: &[Held], range: &Range, length: u8, customer: usize) -> Vec<Range> {
    let from =
        held.partition_point(|other| (other.range.family, other.range.first) < (range.family, range.first));
    held[from..]
        .iter()
        .take_while(|other| other.range.family == range.family && other.range.first <= range.last)
        // A prefix of the same length is the same prefix at another time: then nothing is certain.
        .filter(|other| other.length >= length && other.customer != customer)
        .map(|other| other.range)
        .collect()
}

fn identities(
    customer: &CustomerRule,
    index: usize,
    network: &Network,
    sites: &[Site],
    held: &[Held],
    protocol: Protocol,
    window: (UnixMillis, UnixMillis),
) -> Vec<Identity> {
    let mut identities = Vec::new();
    if !always_ever(customer.validity, window).0 {
        return identities;
    }
    for own in &customer.prefixes {
        let range = Range::of(&own.prefix);
        let v5_v6 = protocol == Protocol::V5 && range.family == Family::V6;
        if v5_v6 || !always_ever(own.validity, window).0 {
            continue;
        }
        let free = range.without(&holes(held, &range, own.prefix.length, index));
        if !free.is_empty() {
            identities.push(Identity::Addresses(free));
        }
    }
    for asn in &customer.asns {
        if protocol != Protocol::V5 || asn.0 <= 0xffff {
            identities.push(Identity::Asn(asn.0));
        }
    }
    for interface in &customer.interfaces {
        let site = network.exporters.iter().position(|exporter| exporter.name == interface.exporter);
        let Some(site) = site else { continue };
        // On a whole-exporter link prefixes decide; on a link's own interface it would be no customer's port.
        let at = &sites[site];
        let ifindex = interface.ifindex.0;
        let fits = protocol != Protocol::V5 || ifindex <= 0xffff;
        if fits && !at.on_links.is_empty() && !at.on_links.iter().any(|&(on_link, _)| on_link == ifindex) {
            identities.push(Identity::Interface { site, ifindex });
        }
    }
    identities
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(first: u128, last: u128) -> Range {
        Range { family: Family::V4, first, last }
    }

    #[test]
    fn ranges_without_holes() {
        let whole = v4(10, 20);
        assert_eq!(whole.without(&[]), [whole]);
        assert_eq!(whole.without(&[v4(10, 20)]), []);
        assert_eq!(whole.without(&[v4(15, 16), v4(12, 13)]), [v4(10, 11), v4(14, 14), v4(17, 20)]);
        assert_eq!(whole.without(&[v4(0, 10), v4(12, 18), v4(13, 14), v4(20, 99)]), [v4(11, 11), v4(19, 19)]);
        let all = Range { family: Family::V6, first: 0, last: u128::MAX };
        assert_eq!(all.without(&[all]), []);
    }

    #[test]
    fn ranges_of_prefixes() {
        let range =
            |text: &str, length| Range::of(&Prefix { address: text.parse().expect("an address"), length });
        assert_eq!(range("10.0.0.0", 8), v4(0x0a00_0000, 0x0aff_ffff));
        assert_eq!(range("10.1.2.3", 32), v4(0x0a01_0203, 0x0a01_0203));
        assert_eq!(range("0.0.0.0", 0), v4(0, 0xffff_ffff));
        assert_eq!(range("::", 0), Range { family: Family::V6, first: 0, last: u128::MAX });
        assert_eq!(range("2001:db8::", 32).last, 0x2001_0db8_ffff_ffff_ffff_ffff_ffff_ffff);
    }
}
