//! One configuration version of the network, as the operator wrote it: typed and checked, names not yet numbers.
//!
//! It is stored in the ledger as its own canonical JSON, so that a flow replayed later is classified by the version
//! that was in force at its end.

use core::net::IpAddr;
use std::collections::HashMap;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::exporter::{Exporter, Observes, OutCounters, OutputZero, SamplingPolicy};
use crate::flow::Family;
use crate::ledger::records::interfaces::Interface;
use crate::units::{Asn, IfIndex, SamplingRate, UnixMillis};

/// An address prefix; host bits are zero and `length` fits the family (checked where it is parsed). Stored as people write
/// it, because a version may have a million.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Prefix {
    /// The network address.
    pub address: IpAddr,
    /// Its length in bits.
    pub length: u8,
}

impl Prefix {
    /// True where the prefix holds `address`; never across address families.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= u32::from(self.length)
    }
}

impl core::fmt::Display for Prefix {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A prefix as a ledger may hold it: as text, or in its parts, as versions of before were written.
impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Without the copy that an untagged enum makes of each of a million.
        deserializer.deserialize_any(StoredPrefix)
    }
}

struct StoredPrefix;

impl<'de> Visitor<'de> for StoredPrefix {
    type Value = Prefix;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a prefix, as text or as its address and length")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Prefix, E> {
        let parts = text.split_once('/').and_then(|(address, length)| {
            Some(Prefix { address: address.parse().ok()?, length: length.parse().ok()? })
        });
        parts.ok_or_else(|| E::custom(format!("`{text}` is no prefix")))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Prefix, A::Error> {
        #[derive(Deserialize)]
        struct Parts {
            address: IpAddr,
            length: u8,
        }
        let Parts { address, length } = Parts::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Prefix { address, length })
    }
}

/// A time span, half-open; an open end is `None`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Validity {
    /// First instant.
    pub from: Option<UnixMillis>,
    /// First instant after it.
    pub to: Option<UnixMillis>,
}

impl Validity {
    /// True where neither end is given.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// True where the span holds `at`.
    #[must_use]
    pub fn holds(&self, at: UnixMillis) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }
}

/// What classification needs to know of an exporter.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ExporterRule {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// From which side of its interfaces the records come.
    pub observes: Observes,
    /// What output interface 0 means.
    pub output_zero: OutputZero,
}

/// An interface of a configured exporter.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct InterfaceRef {
    /// The exporter's name.
    pub exporter: String,
    /// The interface.
    pub ifindex: IfIndex,
}

/// By which of its names an interface is known (RFC 2863).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum NamedBy {
    /// `ifName`, or `ifDescr` where the exporter has no `ifName`.
    Name,
    /// `ifAlias`.
    Alias,
    /// `ifDescr`.
    Description,
}

/// Interfaces of a configured exporter by what it calls them. `*` stands for any characters, `?` for any one.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct InterfaceName {
    /// The exporter's name.
    pub exporter: String,
    /// Which name.
    pub by: NamedBy,
    /// The name, or a pattern.
    pub pattern: String,
}

impl InterfaceName {
    /// True where the interface is called so.
    #[must_use]
    pub fn matches(&self, interface: &Interface) -> bool {
        let name = match self.by {
            NamedBy::Name => &interface.name,
            NamedBy::Alias => &interface.alias,
            NamedBy::Description => &interface.description,
        };
        matches(&self.pattern, name)
    }
}

/// Whether a pattern of `*` and `?` takes all of `text`. In time proportional to the product of their lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // The last `*`, and what it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// A part of a link.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum LinkPoint {
    /// One interface.
    Interface(InterfaceRef),
    /// The interfaces that the exporter calls so, whatever their numbers are at a time.
    Named(InterfaceName),
    /// Everything an exporter reports (for exporters that report no interfaces); its name.
    WholeExporter(String),
}

/// An upstream link.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LinkRule {
    /// Its name.
    pub name: String,
    /// Its kind: any word of the operator's.
    pub kind: String,
    /// Where it is.
    pub points: Vec<LinkPoint>,
    /// Octets of each packet that its interfaces count and flows do not; `None`: as the type of the interface has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead: Option<u32>,
}

/// What a flow must be to match; every non-empty list must match, by at least one of its entries.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct FlowMatch {
    /// IP protocol numbers.
    pub protocol: Vec<u8>,
    /// Source or destination port, in any of these inclusive ranges.
    pub port: Vec<(u16, u16)>,
    /// Source port.
    pub source_port: Vec<(u16, u16)>,
    /// Destination port.
    pub destination_port: Vec<(u16, u16)>,
    /// Source or destination address.
    pub prefix: Vec<Prefix>,
    /// Source address.
    pub source_prefix: Vec<Prefix>,
    /// Destination address.
    pub destination_prefix: Vec<Prefix>,
    /// Source or destination AS number.
    pub asn: Vec<Asn>,
    /// Differentiated services code point (the six high bits of the TOS octet).
    pub dscp: Vec<u8>,
    /// Address family.
    pub family: Vec<Family>,
    /// Exporter names.
    pub exporter: Vec<String>,
}

/// A traffic class: the first that matches wins.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ClassRule {
    /// Its name.
    pub name: String,
    /// What matches.
    pub matches: FlowMatch,
}

/// A prefix of a customer, with dates of its own.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CustomerPrefix {
    /// The prefix.
    pub prefix: Prefix,
    /// When it is the customer's.
    #[serde(default, skip_serializing_if = "Validity::is_unbounded")]
    pub validity: Validity,
}

/// A customer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CustomerRule {
    /// Its name; not a reserved one.
    pub name: String,
    /// Prefixes.
    pub prefixes: Vec<CustomerPrefix>,
    /// AS numbers.
    pub asns: Vec<Asn>,
    /// Interfaces at which the customer is connected.
    pub interfaces: Vec<InterfaceRef>,
    /// When it is a customer.
    pub validity: Validity,
    /// The id of its tariff.
    pub tariff: Option<String>,
    /// Lines of its postal address, for invoices.
    pub address: Vec<String>,
}

/// From when on a customer has a tariff. Before the first of these it has the one that its own section names.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TariffAssignment {
    /// The customer's name.
    pub customer: String,
    /// The tariff's id.
    pub tariff: String,
    /// From this date on: a midnight in UTC, read as a day of the tariff's zone.
    pub from: UnixMillis,
}

/// How an exporter's datagrams are read and scaled, where the operator says anything of that.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct PolicyRule {
    /// The exporter's name.
    pub exporter: String,
    /// `sampling.override`.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub over: Option<SamplingRate>,
    /// `sampling.interfaces`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<(IfIndex, SamplingRate)>,
    /// `sampling.default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<SamplingRate>,
    /// `sampling.require`.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub require: bool,
    /// `out_counters`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_counters: Option<OutCounters>,
}

impl PolicyRule {
    /// Of an exporter; `None` where nothing is said of it.
    #[must_use]
    pub fn of(exporter: &Exporter) -> Option<Self> {
        let SamplingPolicy { over, interfaces, default, require, .. } = &exporter.sampling;
        let rule = Self {
            exporter: exporter.name.clone(),
            over: *over,
            interfaces: interfaces.to_vec(),
            default: *default,
            require: *require,
            out_counters: exporter.out_counters,
        };
        let is_silent = rule == Self { exporter: exporter.name.clone(), ..Self::default() };
        (!is_silent).then_some(rule)
    }
}

/// All of it. `serde_json` writes the fields in this order, so the text of a version is canonical.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Network {
    /// Exporters.
    pub exporters: Vec<ExporterRule>,
    /// Links.
    pub links: Vec<LinkRule>,
    /// Traffic classes, in order.
    pub classes: Vec<ClassRule>,
    /// Customers.
    pub customers: Vec<CustomerRule>,
    /// Changes of customers' tariffs with dates, in the order of customers and dates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assignments: Vec<TariffAssignment>,
    /// How exporters' datagrams are read and scaled, in the order of the exporters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyRule>,
}

/// A prefix that holds an address, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whois<'a> {
    /// The prefix, with its own dates.
    pub held: &'a CustomerPrefix,
    /// The customer, with its dates.
    pub customer: &'a CustomerRule,
    /// True where both are valid at the instant asked for.
    pub valid: bool,
}

/// A network as it is stored, of which the prefixes of customers are passed over.
#[derive(Deserialize)]
struct Outline {
    exporters: Vec<ExporterRule>,
    links: Vec<LinkRule>,
    classes: Vec<ClassRule>,
    customers: Vec<OutlinedCustomer>,
    #[serde(default)]
    assignments: Vec<TariffAssignment>,
    #[serde(default)]
    policies: Vec<PolicyRule>,
}

#[derive(Deserialize)]
struct OutlinedCustomer {
    name: String,
    asns: Vec<Asn>,
    interfaces: Vec<InterfaceRef>,
    validity: Validity,
    tariff: Option<String>,
    address: Vec<String>,
}

impl From<OutlinedCustomer> for CustomerRule {
    fn from(stored: OutlinedCustomer) -> Self {
        let OutlinedCustomer { name, asns, interfaces, validity, tariff, address } = stored;
        Self { name, prefixes: Vec::new(), asns, interfaces, validity, tariff, address }
    }
}

impl Network {
    /// Reads the text of a version without the prefixes of its customers, which are nearly all of a large one.
    ///
    /// # Errors
    /// Where it is no such text.
    pub fn outline_of(text: &str) -> serde_json::Result<Self> {
        let Outline { exporters, links, classes, customers, assignments, policies } =
            serde_json::from_str(text)?;
        let customers = customers.into_iter().map(CustomerRule::from).collect();
        Ok(Self { exporters, links, classes, customers, assignments, policies })
    }

    /// Its exporters, with what the operator says of how their datagrams are read and scaled.
    #[must_use]
    pub fn exporters_with_policies(&self) -> Vec<Exporter> {
        let rules: HashMap<&str, &PolicyRule> =
            self.policies.iter().map(|rule| (rule.exporter.as_str(), rule)).collect();
        let with_policy = |exporter: &ExporterRule| {
            let rule = rules.get(exporter.name.as_str());
            let sampling = rule.map(|rule| SamplingPolicy {
                over: rule.over,
                interfaces: rule.interfaces.as_slice().into(),
                default: rule.default,
                require: rule.require,
                ..SamplingPolicy::default()
            });
            let at_egress = exporter.observes == Observes::Egress;
            Exporter {
                name: exporter.name.clone(),
                address: exporter.address,
                observes: exporter.observes,
                output_zero: exporter.output_zero,
                out_counters: rule.and_then(|rule| rule.out_counters),
                sampling: SamplingPolicy { at_egress, ..sampling.unwrap_or_default() },
            }
        };
        self.exporters.iter().map(with_policy).collect()
    }

    /// Forgets the prefixes of its customers: what is compiled needs them no more.
    pub fn forget_prefixes(&mut self) {
        for customer in &mut self.customers {
            customer.prefixes = Vec::new();
        }
    }

    /// All customers' prefixes that hold `address`, the longest first. Who has the address at `at` is the first valid
    /// entry; the others tell what was passed over, or what would apply at other times.
    ///
    /// It reads the rules one by one, for people who want to know why: classification has its own, fast table.
    #[must_use]
    pub fn whois(&self, address: IpAddr, at: UnixMillis) -> Vec<Whois<'_>> {
        let mut found: Vec<Whois<'_>> = self
            .customers
            .iter()
            .flat_map(|customer| customer.prefixes.iter().map(move |held| (customer, held)))
            .filter(|(_, held)| held.prefix.contains(address))
            .map(|(customer, held)| Whois {
                held,
                customer,
                valid: customer.validity.holds(at) && held.validity.holds(at),
            })
            .collect();
        found.sort_by_key(|entry| (core::cmp::Reverse(entry.held.prefix.length), !entry.valid));
        found
    }
}
