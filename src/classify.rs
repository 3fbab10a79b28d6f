//! Classification: for each flow record the customer, the link, the direction and the traffic class.
//!
//! A [`Classifier`] is one configuration version, compiled and immutable; [`Versions`] picks the one in force at each
//! flow's end. Nothing here allocates, locks or fails while it classifies.
//!
//! # The billing point
//!
//! A flow is charged where it crosses a link, once. On an exporter with interfaces on links:
//!
//! | input | output | link, direction | customer |
//! | --- | --- | --- | --- |
//! | on a link | not | the input's, `in` | by destination |
//! | not | on a link | the output's, `out` | by source |
//! | on a link | on a link (the same or another) | the input's, `in` | `through` |
//! | not | not | none | `local` |
//!
//! An exporter may also be a link as a whole. Where neither interface of a record is on a link of its own, that link
//! applies, and the customers decide: destination a customer's and source not -> `in`; source and destination not ->
//! `out`; both -> `local` (no link, no direction); neither -> `unassigned` (the link, no direction).
//!
//! The customer of a side is that of its interface (the output for the destination, the input for the source), else
//! of the longest prefix that is valid at the flow's end, else of the AS number; else `unassigned`.
//!
//! A record that the router dropped (forwarding status), or with output interface 0 where that means so, gets the
//! customer `discarded` instead; link and direction stay.
//!
//! **Multicast** (224.0.0.0/4, ff00::/8) with output interface 0 was copied to several interfaces, not discarded, and
//! its destination is nobody's address. So it goes by its source: a customer's -> that customer, direction `out`
//! (`out` means "from the customer"), the link that it was seen on, or none; nobody's, on a link -> `unassigned`,
//! `in`; else `local`.
//!
//! # Where flows are seen twice
//!
//! An exporter that observes `both` sides reports a flow at its input and at its output interface. The copy counts
//! whose interface is on the link: the output's where only the output is on a link, otherwise the input's (so
//! `through` and `local` traffic, and a whole-exporter link, count once, by their ingress copy). A dropped packet is
//! never seen at its output, so ingress records of discarded flows always count. For multicast with output interface
//! 0 the egress copies tell which links were crossed, so its ingress copy goes by its source only where it came in on
//! a link, or on a whole-exporter link. Records that do not say where they were observed all count, rather than lose
//! volume, and are reported in [`Tally`], since that is an error of the exporter's configuration.

mod base;
mod class;
mod compile;
mod customer;
mod interface;
pub mod named;
pub mod prefix;
pub mod rules;
mod versions;

use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;

pub use base::{Base, Moves};
use class::Classes;
use compile::InterfaceHolders;
pub use compile::{CompileError, Problem};
use customer::{Holder, Holders};
use interface::{AsTable, Interfaces, Plan, Port, Ports};
use prefix::PrefixTable;
pub use versions::{Older, Span, Versions};

use crate::exporter::{Observes, OutputZero};
use crate::flow::{Address, Direction, Family, FlowRecord, Observed};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::units::{Asn, IfIndex, UnixMillis};

/// What became of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Classified {
    /// The customer, or a reserved name.
    pub customer: CustomerId,
    /// The link.
    pub link: LinkId,
    /// The traffic class.
    pub class: ClassId,
    /// The direction, seen from the customer.
    pub direction: Direction,
    /// False: the other observation of a flow that is metered elsewhere; not to be metered.
    pub counts: bool,
}

impl Classified {
    const NOTHING: Self = Self {
        customer: CustomerId::UNASSIGNED,
        link: LinkId::NONE,
        class: ClassId::DEFAULT,
        direction: Direction::None,
        counts: true,
    };
}

/// What a batch held beside usage.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Records of exporters that observe both sides which do not say where they were observed. They count, and
    /// their flows may count twice: the exporter does not send element 61, or is configured wrongly.
    pub observation_unknown: u64,
    /// Records that are the other observation of a flow metered elsewhere.
    pub duplicate_observations: u64,
    /// Their octets, before scaling.
    pub duplicate_observation_octets: u64,
    /// Records classified by a later version than the one in force at their end, because that could not be had.
    pub by_other_version: u64,
}

impl Tally {
    /// Adds the tally of another batch.
    pub fn add(&mut self, other: &Self) {
        self.observation_unknown += other.observation_unknown;
        self.by_other_version += other.by_other_version;
        self.duplicate_observations += other.duplicate_observations;
        self.duplicate_observation_octets =
            self.duplicate_observation_octets.saturating_add(other.duplicate_observation_octets);
    }
}

/// The numbers of the names in a configuration.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Exporters.
    pub exporters: HashMap<String, ExporterId>,
    /// Links.
    pub links: HashMap<String, LinkId>,
    /// Customers.
    pub customers: HashMap<String, CustomerId>,
    /// Traffic classes.
    pub classes: HashMap<String, ClassId>,
}

/// One configuration version, compiled. The default one knows no links: everything is `local`.
#[derive(Debug, Default)]
pub struct Classifier {
    interfaces: Interfaces,
    /// Whose interfaces are, from which the table is made anew where a name comes to mean another one.
    ports: Arc<InterfaceHolders>,
    prefixes: Arc<PrefixTable>,
    as_numbers: Arc<AsTable>,
    holders: Arc<Holders>,
    classes: Arc<Classes>,
}

/// Records of a batch that go through the passes together: what the passes hand over stays in the nearest cache.
const CHUNK: usize = 128;

/// What the interfaces alone do not settle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ask {
    /// Nothing: the record is classified.
    Nothing,
    /// Whose the destination is.
    Destination,
    /// Whose the source is.
    Source,
    /// Whose the source of a multicast is; that decides on the direction too.
    Multicast,
    /// Both sides, which decide on everything but the link.
    Sides,
}

/// A side of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Destination,
    Source,
}

impl Side {
    #[inline(always)]
    fn address(self, record: &FlowRecord) -> Address {
        if self == Self::Source { record.source } else { record.destination }
    }

    #[inline(always)]
    fn asn(self, record: &FlowRecord) -> Asn {
        if self == Self::Source { record.source_as } else { record.destination_as }
    }
}

/// What the first pass over a chunk leaves to the second: records of which one side's holder is asked for, in a list for
/// each family.
struct Asked {
    /// IPv4, and IPv6.
    families: [AskedOf; 2],
    /// By record: whose the interface of that side is.
    interfaces: [Holder; CHUNK],
}

/// The records of one family, in the first `len` places.
struct AskedOf {
    /// The record's number in the chunk, with [`Self::SOURCE`] where its source is asked for.
    entries: [u8; CHUNK],
    len: usize,
}

impl AskedOf {
    const SOURCE: u8 = 1 << 7;
    const NOTHING: Self = Self { entries: [0; CHUNK], len: 0 };

    /// Written in any case and counted where something is asked: which records ask for what is beyond guessing, so that a
    /// branch would cost more.
    #[inline(always)]
    fn note(&mut self, entry: u8, is_asked: bool) {
        // Never full before a record is noted: there are as many places as records.
        self.entries[self.len & (CHUNK - 1)] = entry;
        self.len += usize::from(is_asked);
    }

    /// The records, with their sides.
    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = (usize, Side)> {
        self.entries[..self.len.min(CHUNK)].iter().map(|&entry| {
            let side = if entry & Self::SOURCE == 0 { Side::Destination } else { Side::Source };
            (usize::from(entry & !Self::SOURCE), side)
        })
    }
}

impl Asked {
    const NOTHING: Self = Self { families: [AskedOf::NOTHING; 2], interfaces: [Holder::NOBODY; CHUNK] };

    /// Notes what is asked of record `n`, which has addresses if it is asked for any.
    #[inline(always)]
    fn note(&mut self, n: u8, family: Family, ask: Ask, interface: Holder) {
        let source = if ask == Ask::Source { AskedOf::SOURCE } else { 0 };
        self.interfaces[usize::from(n) & (CHUNK - 1)] = interface;
        self.families[usize::from(family == Family::V6)].note(n | source, ask != Ask::Nothing);
    }
}

impl Classifier {
    /// Octets that the table of customers' prefixes takes.
    #[must_use]
    pub fn prefix_octets(&self) -> usize {
        self.prefixes.heap_octets()
    }

    /// Takes the prefix table of another version, where it says the same.
    fn share_prefixes(&mut self, other: &Self) {
        if self.prefixes == other.prefixes {
            self.prefixes = Arc::clone(&other.prefixes);
        }
    }

    /// The same version with another table that says the same.
    fn with_prefixes(&self, prefixes: Arc<PrefixTable>) -> Self {
        Self {
            interfaces: self.interfaces.clone(),
            ports: Arc::clone(&self.ports),
            prefixes,
            as_numbers: Arc::clone(&self.as_numbers),
            holders: Arc::clone(&self.holders),
            classes: Arc::clone(&self.classes),
        }
    }

    /// Its prefix table as what is different from that of a newer version.
    fn prefixes_over(&self, newest: &Self) -> Option<PrefixTable> {
        // Places in chains are of this version alone.
        let is_plain = |value| {
            let holder = Holder::from_u32(value);
            holder == Holder::NOBODY || holder.for_ever().is_some()
        };
        self.prefixes.over(&newest.prefixes, is_plain)
    }

    /// True where the prefix table is that of another version.
    #[must_use]
    pub fn shares_prefixes(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.prefixes, &other.prefixes)
    }

    /// Classifies `records`; `out` is cleared first and has an entry a record afterwards.
    pub fn classify(&self, records: &[FlowRecord], out: &mut Vec<Classified>) -> Tally {
        out.clear();
        self.classify_more(records, out)
    }

    /// True where the operator says that the exporter observes flows on both sides of its interfaces.
    #[must_use]
    pub fn observes_both(&self, exporter: ExporterId) -> bool {
        self.interfaces.of(exporter).plan.observes == Observes::Both
    }

    /// As [`Self::classify`], behind what `out` holds already.
    ///
    /// Two passes over a chunk, interfaces first, then addresses: many lookups in a row let the processor overlap the
    /// waits for memory.
    fn classify_more(&self, records: &[FlowRecord], out: &mut Vec<Classified>) -> Tally {
        let mut tally = Tally::default();
        let from = out.len();
        out.resize(from + records.len(), Classified::NOTHING);
        for (records, out) in records.chunks(CHUNK).zip(out[from..].chunks_mut(CHUNK)) {
            let mut asked = Asked::NOTHING;
            let (mut left, mut n) = (&mut *out, 0);
            // A datagram's records have one exporter.
            for run in records.chunk_by(|a, b| a.exporter == b.exporter) {
                let ports = self.interfaces.of(run[0].exporter);
                let (own, others) = left.split_at_mut(run.len());
                for (record, classified) in run.iter().zip(own) {
                    *classified = self.by_interfaces(&ports, record, n, &mut asked, &mut tally);
                    n = n.wrapping_add(1);
                }
                left = others;
            }
            let [v4, v6] = &asked.families;
            for (n, side) in v4.iter() {
                let address = self.prefixes.lookup_v4(side.address(&records[n]).low());
                out[n].customer = self.asked_customer(&records[n], side, asked.interfaces[n], address);
            }
            for (n, side) in v6.iter() {
                let address = self.prefixes.lookup_v6(side.address(&records[n]).0);
                out[n].customer = self.asked_customer(&records[n], side, asked.interfaces[n], address);
            }
            if !self.classes.is_empty() {
                for (record, classified) in records.iter().zip(out) {
                    classified.class = self.classes.class(record);
                }
            }
        }
        tally
    }

    /// The customer of an address at an instant, as the hot path finds it by prefix alone. Who wants to know why asks
    /// [`rules::Network::whois`].
    #[must_use]
    pub fn customer_of_address(&self, address: IpAddr, at: UnixMillis) -> Option<CustomerId> {
        let (family, address) = Address::from_ip(address);
        self.holders.resolve(Holder::from_u32(self.prefixes.lookup(family, address)), at)
    }

    /// First pass: what the exporter and its interfaces say of record `n`.
    #[inline(always)]
    fn by_interfaces(
        &self,
        ports: &Ports<'_>,
        record: &FlowRecord,
        n: u8,
        asked: &mut Asked,
        tally: &mut Tally,
    ) -> Classified {
        let (input, output) = (ports.at(record.input), ports.at(record.output));
        let is_special = !ports.plan.is_plain
            | (record.output == IfIndex(0))
            | record.is_dropped()
            | record.networks
            | (record.family == Family::Other);
        if is_special {
            let (found, ask) = self.by_rules(ports.plan, record, input, output, tally);
            let interface = if ask == Ask::Source { input.holder } else { output.holder };
            asked.note(n, record.family, ask, interface);
            return found;
        }
        // Which of the interfaces is on a link changes from record to record, so nothing here branches on it.
        let case = usize::from(input.is_on_link()) | usize::from(output.is_on_link()) << 1;
        let (direction, customer, ask) = CASES[case];
        let link = if input.is_on_link() { input.link } else { output.link };
        let interface = if ask == Ask::Source { input.holder } else { output.holder };
        asked.note(n, record.family, ask, interface);
        Classified { customer, link, class: ClassId::DEFAULT, direction, counts: true }
    }

    /// The same for all cases: whole-exporter links, discarded flows, multicast, copies, networks in the place of
    /// addresses, or nothing. What it returns asks for no more than one side, and for an address of a host.
    #[inline(never)]
    fn by_rules(
        &self,
        plan: &Plan,
        record: &FlowRecord,
        input: Port,
        output: Port,
        tally: &mut Tally,
    ) -> (Classified, Ask) {
        let copied = record.output == IfIndex(0) && is_multicast(record.family, record.destination);
        let discarded = record.is_dropped()
            || (record.output == IfIndex(0) && plan.output_zero == OutputZero::Discarded && !copied);
        let case = usize::from(input.is_on_link()) | usize::from(output.is_on_link()) << 1;
        let (direction, customer, ask) = CASES[case];
        let (link, customer, ask) = if input.is_on_link() {
            (input.link, customer, ask)
        } else if output.is_on_link() {
            (output.link, customer, ask)
        } else if plan.whole != LinkId::NONE {
            (plan.whole, CustomerId::UNASSIGNED, Ask::Sides)
        } else {
            (LinkId::NONE, customer, ask)
        };
        let ask = match ask {
            Ask::Sides => Ask::Sides,
            _ if discarded => Ask::Nothing,
            _ if copied && (link != LinkId::NONE || !has_egress_copies(plan, record)) => Ask::Multicast,
            ask => ask,
        };
        let customer = if discarded { CustomerId::DISCARDED } else { customer };
        let counts = plan.observes != Observes::Both || is_counted(record, input, output, discarded, tally);
        let mut classified = Classified { customer, link, class: ClassId::DEFAULT, direction, counts };
        let source = || self.customer(record, Side::Source, input.holder);
        let has_hosts = !record.networks && record.family != Family::Other;
        match ask {
            Ask::Destination if !has_hosts => {
                let destination = self.customer(record, Side::Destination, output.holder);
                classified.customer = destination.unwrap_or(CustomerId::UNASSIGNED);
            }
            Ask::Source if !has_hosts => {
                classified.customer = source().unwrap_or(CustomerId::UNASSIGNED);
            }
            Ask::Nothing | Ask::Destination | Ask::Source => return (classified, ask),
            Ask::Multicast => {
                if let Some(customer) = source() {
                    classified.customer = customer;
                    classified.direction = Direction::Out;
                }
            }
            Ask::Sides => {
                let destination = self.customer(record, Side::Destination, output.holder);
                by_sides(&mut classified, destination, source(), discarded);
            }
        }
        (classified, Ask::Nothing)
    }

    /// Whose a side is, by its interface, address and AS number.
    fn customer(&self, record: &FlowRecord, side: Side, interface: Holder) -> Option<CustomerId> {
        let address = match side {
            Side::Destination => self.prefixes.lookup_destination(record),
            Side::Source => self.prefixes.lookup_source(record),
        };
        let address = Holder::from_u32(address);
        self.resolve(record, side, interface, address)
    }

    fn resolve(
        &self,
        record: &FlowRecord,
        side: Side,
        interface: Holder,
        address: Holder,
    ) -> Option<CustomerId> {
        let at = record.end;
        self.holders
            .resolve(interface, at)
            .or_else(|| self.holders.resolve(address, at))
            .or_else(|| self.holders.resolve(self.as_numbers.holder(side.asn(record)), at))
    }

    /// Second pass: whose the side is that was asked for. `address`: what the prefixes say.
    #[inline(always)]
    fn asked_customer(&self, record: &FlowRecord, side: Side, interface: Holder, address: u32) -> CustomerId {
        let address = Holder::from_u32(address);
        let first = if interface == Holder::NOBODY { address } else { interface };
        first.for_ever().unwrap_or_else(|| {
            self.resolve(record, side, interface, address).unwrap_or(CustomerId::UNASSIGNED)
        })
    }
}

/// On a whole-exporter link the customers decide.
fn by_sides(
    classified: &mut Classified,
    destination: Option<CustomerId>,
    source: Option<CustomerId>,
    discarded: bool,
) {
    (classified.customer, classified.direction) = match (destination, source) {
        (Some(_), Some(_)) => (CustomerId::LOCAL, Direction::None),
        (Some(customer), None) => (customer, Direction::In),
        (None, Some(customer)) => (customer, Direction::Out),
        (None, None) => (CustomerId::UNASSIGNED, Direction::None),
    };
    if classified.customer == CustomerId::LOCAL {
        classified.link = LinkId::NONE;
    }
    if discarded {
        classified.customer = CustomerId::DISCARDED;
    }
}

/// Direction, customer and question, by whether the input (1) and the output (2) are on links.
const CASES: [(Direction, CustomerId, Ask); 4] = [
    (Direction::None, CustomerId::LOCAL, Ask::Nothing),
    (Direction::In, CustomerId::UNASSIGNED, Ask::Destination),
    (Direction::Out, CustomerId::UNASSIGNED, Ask::Source),
    (Direction::In, CustomerId::THROUGH, Ask::Nothing),
];

/// True for 224.0.0.0/4 (RFC 5771 section 3) and ff00::/8 (RFC 4291 section 2.7).
#[inline]
fn is_multicast(family: Family, address: Address) -> bool {
    match family {
        Family::V4 => address.0 >> 28 == 0xe,
        Family::V6 => address.0 >> 120 == 0xff,
        Family::Other => false,
    }
}

/// True where the exporter reports the copies of this packet at their output interfaces, too.
fn has_egress_copies(plan: &Plan, record: &FlowRecord) -> bool {
    plan.observes == Observes::Both && record.observed != Observed::Unknown
}

/// Of an exporter that observes both sides: true where this is the copy that counts.
fn is_counted(record: &FlowRecord, input: Port, output: Port, discarded: bool, tally: &mut Tally) -> bool {
    let only_output = output.is_on_link() && !input.is_on_link();
    let counts = match record.observed {
        Observed::Unknown => {
            tally.observation_unknown += 1;
            true
        }
        Observed::Ingress => !only_output || discarded,
        Observed::Egress => only_output,
    };
    if !counts {
        tally.duplicate_observations += 1;
        tally.duplicate_observation_octets =
            tally.duplicate_observation_octets.saturating_add(record.octets.as_u64());
    }
    counts
}

#[cfg(test)]
mod tests;
