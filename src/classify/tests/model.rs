//! Classification against the plainest one: rules are read one by one, as the table in [`super::super`] tells them, and
//! everything is small, so that interfaces, prefixes, dates and copies meet in every way.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

const EXPORTERS: u16 = 3;
/// An exporter that nobody configured.
const NEVER_SEEN: u16 = 9;
const LINKS: u16 = 3;
const CUSTOMERS: u32 = 4;
/// Interface numbers: some in arrays, one beyond them.
const INTERFACES: [u32; 6] = [1, 2, 3, 7, 4095, 70_000];

fn name(kind: &str, n: u32) -> String {
    format!("{kind}{n}")
}

fn all_names() -> Names {
    Names {
        exporters: (0..EXPORTERS).map(|n| (name("e", n.into()), ExporterId(n))).collect(),
        links: (0..LINKS).map(|n| (name("l", n.into()), LinkId(20 + n))).collect(),
        customers: (0..CUSTOMERS).map(|n| (name("c", n), CustomerId(40 + n))).collect(),
        classes: HashMap::new(),
    }
}

/// 64 addresses of a family; everything happens among them.
fn address_of(family: Family, host: u8) -> IpAddr {
    let host = host & 63;
    match family {
        Family::V6 => IpAddr::from([0x2001, 0xdb8, 0, u16::from(host), 0, 0, 0, 0]),
        _ => IpAddr::from([10, 0, 0, host]),
    }
}

/// A prefix of 2^(6 - bits) of them.
fn prefix_of(family: Family, host: u8, bits: u8) -> Prefix {
    let first = host & 63 & !((1_u8 << (6 - bits)) - 1);
    let length = if family == Family::V6 { 58 } else { 26 } + bits;
    Prefix { address: address_of(family, first), length }
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![3 => Just(Family::V4), 2 => Just(Family::V6)]
}

/// Instants 0 to 9; a span may be empty.
fn validity() -> impl Strategy<Value = Validity> {
    let instant = || option::weighted(0.3, (0..10_i64).prop_map(UnixMillis));
    (instant(), instant()).prop_map(|(from, to)| Validity { from, to })
}

fn interface_of() -> impl Strategy<Value = InterfaceRef> {
    (0..EXPORTERS, prop::sample::select(&INTERFACES[..]))
        .prop_map(|(exporter, index)| interface(&name("e", exporter.into()), index))
}

fn exporters() -> impl Strategy<Value = Vec<ExporterRule>> {
    let observes = prop_oneof![Just(Observes::Ingress), Just(Observes::Egress), Just(Observes::Both)];
    let zero = prop_oneof![2 => Just(OutputZero::Unknown), 1 => Just(OutputZero::Discarded)];
    vec((observes, zero), usize::from(EXPORTERS)).prop_map(|rules| {
        let numbered = (0..).zip(rules);
        numbered
            .map(|(n, (observes, output_zero))| ExporterRule {
                name: name("e", n),
                address: IpAddr::from([192, 0, 2, 1]),
                observes,
                output_zero,
            })
            .collect()
    })
}

fn links() -> impl Strategy<Value = Vec<LinkRule>> {
    let whole = (0..EXPORTERS).prop_map(|n| LinkPoint::WholeExporter(name("e", n.into())));
    let point = prop_oneof![4 => interface_of().prop_map(LinkPoint::Interface), 1 => whole];
    vec(vec(point, 0..4), usize::from(LINKS))
        .prop_map(|links| (0..).zip(links).map(|(n, points)| link(&name("l", n), points)).collect())
}

fn customers() -> impl Strategy<Value = Vec<CustomerRule>> {
    let held = (family(), 0..64_u8, 0..=6_u8, validity()).prop_map(|(family, host, bits, validity)| {
        CustomerPrefix { prefix: prefix_of(family, host, bits), validity }
    });
    let asns = prop_oneof![3 => Just(vec![]), 1 => (0..3_u32).prop_map(|n| vec![Asn(n)])];
    let one = (vec(held, 0..5), asns, vec(interface_of(), 0..2), validity());
    vec(one, CUSTOMERS as usize).prop_map(|customers| {
        let rules = (0..).zip(customers).map(|(n, (prefixes, asns, interfaces, validity))| CustomerRule {
            asns,
            interfaces,
            validity,
            ..customer(&name("c", n), prefixes)
        });
        rules.collect()
    })
}

fn networks() -> impl Strategy<Value = Network> {
    (exporters(), links(), customers())
        .prop_map(|(exporters, links, customers)| Network {
            exporters,
            links,
            classes: vec![],
            customers,
            assignments: vec![],
            policies: vec![],
        })
        .prop_filter("links and customers contradict each other", |network| {
            Classifier::compile(network, &all_names()).is_ok()
        })
}

fn records() -> impl Strategy<Value = FlowRecord> {
    let who = prop_oneof![8 => 0..EXPORTERS, 1 => Just(NEVER_SEEN)];
    let index = || prop_oneof![1 => Just(0), 8 => prop::sample::select(&INTERFACES[..]), 1 => Just(80_000)];
    let observed = prop_oneof![Just(Observed::Unknown), Just(Observed::Ingress), Just(Observed::Egress)];
    let status = prop_oneof![6 => Just(0_u8), 1 => Just(0x40), 1 => Just(0x80), 1 => Just(0x85)];
    let side = || (0..64_u8, 0..=6_u8, 0..4_u32);
    let multicast = prop::bool::weighted(0.15);
    let networks = prop::bool::weighted(0.2);
    (who, index(), index(), observed, status, family(), (side(), side()), (multicast, networks), 0..10_i64)
        .prop_map(|(who, input, output, observed, status, family, sides, (multicast, networks), at)| {
            let (source, destination) = sides;
            let mut record = FlowRecord {
                exporter: ExporterId(who),
                input: IfIndex(input),
                output: IfIndex(output),
                observed,
                forwarding_status: status,
                family,
                source: Address::from_ip(address_of(family, source.0)).1,
                destination: Address::from_ip(address_of(family, destination.0)).1,
                source_as: Asn(source.2),
                destination_as: Asn(destination.2),
                octets: Octets::new(100),
                end: UnixMillis(at),
                networks,
                ..FlowRecord::default()
            };
            if multicast {
                let group = if family == Family::V6 {
                    [0xff02, 0, 0, 0, 0, 0, 0, 1].into()
                } else {
                    [224, 0, 0, 5].into()
                };
                record.destination = Address::from_ip(group).1;
            }
            if networks {
                let [from, to] = [source, destination].map(|side| prefix_of(family, side.0, side.1));
                (record.source, record.source_mask) = (Address::from_ip(from.address).1, from.length);
                record.destination_mask = to.length;
                if !multicast {
                    record.destination = Address::from_ip(to.address).1;
                }
            }
            record
        })
}

/// Reads the rules one by one.
struct Model<'a> {
    network: &'a Network,
    record: &'a FlowRecord,
    /// Where a longer prefix is a part of a network, nobody has it, even where all of it is one customer's at the time: for
    /// the source, and the destination.
    is_strict: [bool; 2],
}

/// What is asked of a side: its address, the length of its network where it is one, its AS number and its interface.
#[derive(Clone, Copy)]
struct End {
    address: Address,
    mask: u8,
    asn: Asn,
    interface: IfIndex,
    is_strict: bool,
}

impl Model<'_> {
    fn source(&self) -> End {
        let FlowRecord { source: address, source_mask: mask, source_as: asn, input: interface, .. } =
            *self.record;
        End { address, mask, asn, interface, is_strict: self.is_strict[0] }
    }

    fn destination(&self) -> End {
        let record = self.record;
        let FlowRecord { destination: address, destination_mask: mask, .. } = *record;
        End {
            address,
            mask,
            asn: record.destination_as,
            interface: record.output,
            is_strict: self.is_strict[1],
        }
    }

    fn exporter(&self) -> Option<&ExporterRule> {
        self.network.exporters.get(usize::from(self.record.exporter.0))
    }

    fn link_where(&self, is_it: impl Fn(&LinkPoint) -> bool) -> Option<LinkId> {
        let found = (0..).zip(&self.network.links).find(|(_, link)| link.points.iter().any(&is_it));
        found.map(|(n, _)| LinkId(20 + n))
    }

    fn is_at(&self, at: &InterfaceRef, interface: IfIndex) -> bool {
        at.ifindex == interface && Some(&at.exporter) == self.exporter().map(|exporter| &exporter.name)
    }

    fn link_of(&self, interface: IfIndex) -> Option<LinkId> {
        self.link_where(|point| matches!(point, LinkPoint::Interface(at) if self.is_at(at, interface)))
    }

    fn first(&self, is_it: impl Fn(&CustomerRule) -> bool) -> Option<CustomerId> {
        let valid = |one: &CustomerRule| one.validity.holds(self.record.end);
        let found = (0..).zip(&self.network.customers).find(|(_, one)| valid(one) && is_it(one));
        found.map(|(n, _)| CustomerId(40 + n))
    }

    /// Whose an address is: of all prefixes that hold it and are valid, the longest.
    fn of_address(&self, address: IpAddr) -> Option<CustomerId> {
        let lengths = (0..=128).rev();
        lengths.into_iter().find_map(|length| {
            self.first(|one| {
                one.prefixes.iter().any(|held| {
                    held.prefix.length == length
                        && held.prefix.contains(address)
                        && held.validity.holds(self.record.end)
                })
            })
        })
    }

    /// Whose a network is: one customer's, if it has all of the addresses.
    fn of_network(&self, network: Prefix, first: Address, is_strict: bool) -> Option<CustomerId> {
        let family = self.record.family;
        let all: BTreeSet<_> =
            (0..64).map(|host| address_of(family, host)).filter(|&a| network.contains(a)).collect();
        let holders: BTreeSet<_> = all.iter().map(|&address| self.of_address(address)).collect();
        let has_parts = self
            .network
            .customers
            .iter()
            .flat_map(|one| &one.prefixes)
            .any(|held| held.prefix.length > network.length && network.contains(held.prefix.address));
        let is_outside = first.to_ip(family).is_none_or(|first| !all.contains(&first));
        let is_one = holders.len() == 1 && !is_outside && !(has_parts && is_strict);
        holders.into_iter().next().flatten().filter(|_| is_one)
    }

    fn customer(&self, end: End) -> Option<CustomerId> {
        let by_interface = || {
            self.first(|one| {
                end.interface != IfIndex(0) && one.interfaces.iter().any(|at| self.is_at(at, end.interface))
            })
        };
        let by_address = || {
            let address = end.address.to_ip(self.record.family)?;
            if self.record.networks {
                return self.of_network(Prefix { address, length: end.mask }, end.address, end.is_strict);
            }
            self.of_address(address)
        };
        let by_asn = || self.first(|one| end.asn != Asn(0) && one.asns.contains(&end.asn));
        by_interface().or_else(by_address).or_else(by_asn)
    }

    fn classified(&self) -> Classified {
        let record = self.record;
        let unassigned = |found: Option<CustomerId>| found.unwrap_or(CustomerId::UNASSIGNED);
        let (input, output) = (self.link_of(record.input), self.link_of(record.output));
        let whole = self.exporter().and_then(|exporter| {
            self.link_where(|point| matches!(point, LinkPoint::WholeExporter(name) if *name == exporter.name))
        });
        let observes = self.exporter().map_or(Observes::Ingress, |exporter| exporter.observes);
        let multicast = match record.destination.to_ip(record.family) {
            Some(IpAddr::V4(address)) => address.is_multicast(),
            Some(IpAddr::V6(address)) => address.is_multicast(),
            None => false,
        };
        let copied = multicast && record.output == IfIndex(0);
        let zero_is_discarded =
            self.exporter().is_some_and(|exporter| exporter.output_zero == OutputZero::Discarded);
        let dropped = record.forwarding_status & 0xc0 == 0x80;
        let discarded = dropped || record.output == IfIndex(0) && zero_is_discarded && !copied;
        let (source, destination) = (self.customer(self.source()), self.customer(self.destination()));
        let (mut customer, mut link, direction) = match (input, output) {
            (Some(link), Some(_)) => (CustomerId::THROUGH, link, Direction::In),
            (Some(link), None) => (unassigned(destination), link, Direction::In),
            (None, Some(link)) => (unassigned(source), link, Direction::Out),
            (None, None) => match (whole, destination, source) {
                (None, ..) => (CustomerId::LOCAL, LinkId::NONE, Direction::None),
                (Some(_), Some(_), Some(_)) => (CustomerId::LOCAL, LinkId::NONE, Direction::None),
                (Some(link), Some(customer), None) => (customer, link, Direction::In),
                (Some(link), None, Some(customer)) => (customer, link, Direction::Out),
                (Some(link), None, None) => (CustomerId::UNASSIGNED, link, Direction::None),
            },
        };
        let mut direction = direction;
        let by_whole = input.is_none() && output.is_none() && whole.is_some();
        let told_at_output = observes == Observes::Both && record.observed != Observed::Unknown;
        if copied && !discarded && !by_whole && (link != LinkId::NONE || !told_at_output) {
            (customer, direction) = match source {
                Some(customer) => (customer, Direction::Out),
                None if link == LinkId::NONE => (CustomerId::LOCAL, Direction::None),
                None => (CustomerId::UNASSIGNED, Direction::In),
            };
        }
        if discarded {
            customer = CustomerId::DISCARDED;
            // What both customers' prefixes say of a whole-exporter link stays.
            let is_local = by_whole && source.is_some() && destination.is_some();
            link = if is_local { LinkId::NONE } else { link };
        }
        let only_output = input.is_none() && output.is_some();
        let counts = match (observes, record.observed) {
            (Observes::Both, Observed::Ingress) => !only_output || discarded,
            (Observes::Both, Observed::Egress) => only_output,
            _ => true,
        };
        Classified { customer, link, class: ClassId::DEFAULT, direction, counts }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_global_rejects: 65_536, ..ProptestConfig::default() })]

    #[test]
    fn classification_is_that_of_the_plainest_reading(network in networks(), records in vec(records(), 1..300)) {
        let classifier = Classifier::compile(&network, &all_names()).expect("filtered");
        let mut out = Vec::new();
        let tally = classifier.classify(&records, &mut out);
        let mut copies = 0;
        for (record, found) in records.iter().zip(&out) {
            // Of networks with parts of other dates the table says less than it could: either is right.
            let either = [[false; 2], [false, true], [true, false], [true; 2]]
                .map(|is_strict| Model { network: &network, record, is_strict }.classified());
            prop_assert!(either.contains(found), "{:?}: {:?}, not {:?}", record, found, either);
            let [expected, ..] = either;
            copies += u64::from(!expected.counts);
        }
        prop_assert_eq!((tally.duplicate_observations, tally.duplicate_observation_octets), (copies, copies * 100));
    }
}
