//! The network as the operator writes it: exporters, links, traffic classes, customers; and what must hold between
//! them.

use core::net::IpAddr;
use core::ops::Range;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use toml::de::DeValue;

use super::claims::{Claims, disjoint, intersection};
use super::polling;
use super::reader::{Place, Report, Table, Value, document, nearest};
use super::sections::{Contact, contact, language, lines, word};
use super::value;
use crate::classify::rules::{
    ClassRule, CustomerPrefix, CustomerRule, ExporterRule, FlowMatch, InterfaceName, InterfaceRef, LinkPoint,
    LinkRule, NamedBy, Network, PolicyRule, Prefix, TariffAssignment, Validity,
};
use crate::exporter::{Exporter, Observes, OutCounters, OutputZero, SamplingPolicy};
use crate::flow::Family;
use crate::ids::CustomerId;
use crate::invoice::language::Language;
use crate::period::utc_date;
use crate::poll::Target;
use crate::units::{Asn, IfIndex, RateSource, SamplingRate, UnixMillis};

/// A customer file to be read.
pub(super) struct CustomerFile {
    /// As written.
    pub(super) name: String,
    /// Where.
    pub(super) place: Place,
}

/// `[customers]`.
pub(super) fn customer_files(table: &Table<'_>) -> Vec<CustomerFile> {
    let Some(value) = table.get("files") else { return Vec::new() };
    let mut files: Vec<CustomerFile> = Vec::new();
    for item in value.one_or_many() {
        let Some(name) = item.string("the name of a file") else { continue };
        if files.iter().any(|file| file.name == name) {
            item.problem(format!("`{name}` is named twice; remove one of them"), "");
            continue;
        }
        files.push(CustomerFile { name: name.to_owned(), place: item.place() });
    }
    files
}

/// Whether a customer may have this name, which is fit for a name otherwise.
pub(super) fn check_customer_name(name: &str) -> Result<(), String> {
    if CustomerId::RESERVED.iter().any(|(_, reserved)| *reserved == name) {
        return Err(format!("`{name}` is the name of traffic without a customer; choose another one"));
    }
    // The name becomes a part of the file names of exported invoices.
    if name.contains(['/', '\\']) {
        return Err("a customer's name must not hold a slash".to_owned());
    }
    Ok(())
}

/// Puts the network together, in the order exporters, links, classes, customers.
#[derive(Default)]
pub(super) struct Builder {
    network: Network,
    exporters: HashMap<String, Place>,
    links: HashMap<String, Place>,
    classes: HashMap<String, Place>,
    customers: HashMap<String, Place>,
    /// By their names in small letters, of which files are named on systems that do not tell case apart.
    customers_folded: HashMap<String, (String, Place)>,
    /// Which link has an interface, and where that is written.
    interfaces: HashMap<InterfaceRef, (String, Place)>,
    /// Which link has a whole exporter.
    whole: HashMap<String, (String, Place)>,
    prefixes: Claims<Prefix>,
    asns: Claims<Asn>,
    customer_interfaces: Claims<InterfaceRef>,
    /// Which link has interfaces of a name, and where that is written.
    named: HashMap<InterfaceName, (String, Place)>,
    /// What electronic invoices say of customers.
    pub(super) contacts: BTreeMap<String, Contact>,
    /// In which language customers get their invoices.
    pub(super) languages: BTreeMap<String, Language>,
    /// Exporters that are asked over SNMP.
    pub(super) targets: Vec<Target>,
}

/// The name in `table`, which must not be in `names` yet.
fn name(table: &Table<'_>, names: &mut HashMap<String, Place>, what: &str) -> Option<(String, Place)> {
    let value = table.require("name", &format!("every {what} has one"))?;
    let name = value.string("a name")?;
    claim_name(name, value, names, what)
}

fn claim_name(
    name: &str,
    value: Value<'_>,
    names: &mut HashMap<String, Place>,
    what: &str,
) -> Option<(String, Place)> {
    if let Err(message) = value::check_name(name) {
        value.problem(message, "");
        return None;
    }
    if let Some(other) = names.get(name) {
        let at = value.report().at(other);
        value.problem(format!("there is already {what} `{name}`, at {at}; rename or remove one of them"), "");
        return None;
    }
    names.insert(name.to_owned(), value.place());
    Some((name.to_owned(), value.place()))
}

fn address(value: Value<'_>) -> Option<IpAddr> {
    value.parse("an address", value::source_address)
}

fn sampling_policy(table: &Table<'_>) -> SamplingPolicy {
    let rate = |key, source| {
        let value: Option<Value<'_>> = table.get(key);
        let rate = value.and_then(|value| {
            value.parse("a sampling rate, such as \"1/1000\"", |text| value::rate(text, source))
        });
        (value, rate)
    };
    let (over_at, over) = rate("override", RateSource::Override);
    let (default_at, default) = rate("default", RateSource::Default);
    let require_at = table.get("require");
    let require = require_at.and_then(Value::boolean).unwrap_or(false);
    if let Some(value) = over_at {
        if default_at.is_some() {
            value.problem(
                "`override` beats whatever the exporter says, so `default` would never apply; remove one",
                "",
            );
        }
        if require {
            value.problem(
                "`override` needs no announcement, so `require` would wait for nothing; remove one",
                "",
            );
        }
    } else if let Some(value) = default_at
        && require
    {
        value.problem(
            "`default` fills in where nothing is announced, `require` waits for an announcement; remove one",
            "",
        );
    }
    let interfaces = interface_rates(table);
    SamplingPolicy { over, interfaces, default, require, ..SamplingPolicy::default() }
}

/// `interfaces = [ { ifindex = 12, rate = "1/512" } ]`, sorted.
fn interface_rates(table: &Table<'_>) -> Arc<[(IfIndex, SamplingRate)]> {
    let mut found: Vec<(IfIndex, SamplingRate)> = Vec::new();
    table.each("interfaces", |entry| {
        let index_at = entry.require("ifindex", "the interface that packets are looked at on");
        let index = index_at.and_then(|value| value.integer("`ifindex`", 1..=u64::from(u32::MAX)));
        let rate = entry.require("rate", "its sampling rate").and_then(|value| {
            value.parse("a sampling rate, such as \"1/512\"", |text| value::rate(text, RateSource::Override))
        });
        let index = index.and_then(|n| u32::try_from(n).ok()).map(IfIndex);
        if let (Some(index), Some(value)) = (index, index_at)
            && found.iter().any(|&(other, _)| other == index)
        {
            value.problem("this interface has a sampling rate already; remove one", "");
        }
        found.extend(index.zip(rate));
    });
    found.sort_unstable_by_key(|&(index, _)| index);
    found.into()
}

/// A date or time as TOML has it, or a string. Local times are refused: nobody could say where.
fn instant(value: Value<'_>) -> Option<UnixMillis> {
    const WHAT: &str = "a date (midnight UTC), or RFC 3339 with its offset";
    let text = match value.raw() {
        DeValue::Datetime(datetime) => datetime.to_string(),
        _ => value.string(WHAT)?.to_owned(),
    };
    match value::instant(&text) {
        Ok(instant) => Some(instant),
        Err(message) => {
            value.problem(message, format!("expected {WHAT}"));
            None
        }
    }
}

fn validity(table: &Table<'_>) -> Validity {
    let from = table.get("valid_from").and_then(instant);
    let to_at = table.get("valid_to");
    let to = to_at.and_then(instant);
    if let (Some(from), Some(to), Some(value)) = (from, to, to_at)
        && to <= from
    {
        value.problem(
            format!(
                "ends before it begins ({}); `valid_to` is the first instant after it",
                value::show_instant(from)
            ),
            "",
        );
    }
    Validity { from, to }
}

impl Builder {
    /// `[[exporter]]`.
    pub(super) fn exporters(&mut self, root: &Table<'_>, base: &Path) -> Vec<Exporter> {
        let mut found: Vec<Exporter> = Vec::new();
        let mut addresses: HashMap<IpAddr, Place> = HashMap::new();
        root.each("exporter", |table| {
            let place = table.place();
            let address_at = table.require("address", "the source address of the exporter's datagrams");
            let address = address_at.and_then(address);
            let name = match (table.get("name"), address, address_at) {
                // An exporter without a name is named after its address.
                (None, Some(address), Some(value)) => {
                    claim_name(&address.to_string(), value, &mut self.exporters, "an exporter")
                }
                (None, _, _) => None,
                (Some(_), _, _) => name(table, &mut self.exporters, "exporter"),
            };
            let observes = table.get("observes").and_then(|value| {
                word(
                    value,
                    &[("ingress", Observes::Ingress), ("egress", Observes::Egress), ("both", Observes::Both)],
                )
            });
            let output_zero = table.get("output_zero").and_then(|value| {
                word(value, &[("unknown", OutputZero::Unknown), ("discarded", OutputZero::Discarded)])
            });
            let out_counters = table.get("out_counters").and_then(|value| {
                word(value, &[("same", OutCounters::Same), ("reverse", OutCounters::Reverse)])
            });
            let mut sampling = table.section("sampling", sampling_policy);
            sampling.at_egress = observes == Some(Observes::Egress);
            if let Some(value) = table.get("snmp") {
                let known = name.as_ref().map(|(name, _)| name.as_str()).zip(address);
                self.targets.extend(polling::target(value, known, base));
            }
            let (Some((name, _)), Some(address)) = (name, address) else { return };
            if let (Some(other), Some(value)) = (addresses.get(&address), address_at) {
                let at = root.report().at(other);
                value.problem(
                    format!(
                        "{address} is already the address of an exporter, at {at}; an exporter is listed once"
                    ),
                    "",
                );
            }
            addresses.entry(address).or_insert(place);
            found.push(Exporter {
                name,
                address,
                observes: observes.unwrap_or_default(),
                output_zero: output_zero.unwrap_or_default(),
                out_counters,
                sampling,
            });
        });
        self.network.exporters = found
            .iter()
            .map(|exporter| ExporterRule {
                name: exporter.name.clone(),
                address: exporter.address,
                observes: exporter.observes,
                output_zero: exporter.output_zero,
            })
            .collect();
        self.network.policies = found.iter().filter_map(PolicyRule::of).collect();
        found
    }

    /// The name of a configured exporter.
    fn exporter(&self, value: Value<'_>) -> Option<String> {
        let name = value.string("the name of an exporter")?;
        if self.exporters.contains_key(name) {
            return Some(name.to_owned());
        }
        let known: Vec<&str> = self.exporters.keys().map(String::as_str).collect();
        let label = nearest(name, &known).map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
        value.problem(format!("there is no exporter `{name}`; add an [[exporter]] of that name"), label);
        None
    }

    /// `{ exporter, ifindex }`; without `ifindex` where `whole` allows it.
    fn point(&self, value: Value<'_>, whole: bool) -> Option<LinkPoint> {
        let table = value.table("a table: { exporter = \"NAME\", ifindex = NUMBER }")?;
        let exporter = table.require("exporter", "its name").and_then(|value| self.exporter(value));
        let ifindex_at = table.get("ifindex");
        let ifindex = ifindex_at
            .and_then(|value| value.integer("`ifindex`", 1..=u64::from(u32::MAX)))
            .and_then(|n| u32::try_from(n).ok());
        let named =
            [("ifname", NamedBy::Name), ("ifalias", NamedBy::Alias), ("ifdescr", NamedBy::Description)]
                .map(|(key, by)| table.get(key).map(|value| (value, by)));
        let named: Vec<(Value<'_>, NamedBy)> = named.into_iter().flatten().collect();
        if named.len() + usize::from(ifindex_at.is_some()) > 1 {
            table.problem(
                "one of `ifindex`, `ifname`, `ifalias` and `ifdescr` says which interface it is",
                "",
            );
        } else if ifindex_at.is_none() && !whole {
            table.problem("`ifindex` is missing: a customer's interface is one interface", "");
        }
        table.finish();
        let exporter = exporter?;
        match (ifindex, named.first()) {
            (Some(ifindex), _) => {
                Some(LinkPoint::Interface(InterfaceRef { exporter, ifindex: IfIndex(ifindex) }))
            }
            (None, Some(&(value, by))) => self.named_point(exporter, value, by).filter(|_| whole),
            (None, None) if whole && ifindex_at.is_none() => Some(LinkPoint::WholeExporter(exporter)),
            (None, None) => None,
        }
    }

    /// Interfaces by what the exporter calls them.
    fn named_point(&self, exporter: String, value: Value<'_>, by: NamedBy) -> Option<LinkPoint> {
        let pattern = value.string("a name, in which `*` and `?` stand for what they do in file names")?;
        if pattern.is_empty() || pattern.chars().any(char::is_control) {
            value.problem("no interface is called so", "");
            return None;
        }
        if !self.targets.iter().any(|target| target.exporter == exporter) {
            value.problem(
                format!("`{exporter}` is not asked over SNMP what its interfaces are called; give it `snmp`, or write `ifindex`"),
                "",
            );
            return None;
        }
        Some(LinkPoint::Named(InterfaceName { exporter, by, pattern: pattern.to_owned() }))
    }

    /// `[[link]]`.
    pub(super) fn links(&mut self, root: &Table<'_>) {
        root.each("link", |table| {
            let name = name(table, &mut self.links, "link");
            let kind = table.get("kind").and_then(|value| {
                value.parse("a word", |text| value::check_name(text).map(|()| text.to_owned()))
            });
            let overhead = table.get("overhead").and_then(|value| value.integer("`overhead`", 0..=1000));
            let mut points = Vec::new();
            let shown = name.as_ref().map_or("", |(name, _)| name.as_str());
            if let Some(value) = table.require("interfaces", "where the link is") {
                let items = value.list("a list: [ { exporter = \"NAME\", ifindex = NUMBER }, ... ]");
                if items.is_empty() {
                    value.problem("a link needs at least one interface or exporter", "");
                }
                for item in items {
                    if let Some(point) = self.point(item, true) {
                        self.claim_point(&point, item, shown);
                        points.push(point);
                    }
                }
            }
            let Some((name, _)) = name else { return };
            self.network.links.push(LinkRule {
                name,
                kind: kind.unwrap_or_else(|| "upstream".to_owned()),
                points,
                overhead: overhead.and_then(|octets| u32::try_from(octets).ok()),
            });
        });
    }

    /// An interface lies on one link, and an exporter is either a link as a whole or has links at its interfaces:
    /// otherwise a flow would cross two.
    fn claim_point(&mut self, point: &LinkPoint, value: Value<'_>, link: &str) {
        let report = value.report();
        let taken = match point {
            LinkPoint::Interface(interface) => {
                self.interfaces.get(interface).or_else(|| self.whole.get(&interface.exporter))
            }
            LinkPoint::Named(name) => self.named.get(name).or_else(|| self.whole.get(&name.exporter)),
            LinkPoint::WholeExporter(exporter) => self.whole.get(exporter).or_else(|| {
                let interfaces =
                    self.interfaces.iter().filter(|(interface, _)| interface.exporter == *exporter);
                let named = self.named.iter().filter(|(name, _)| name.exporter == *exporter);
                let first = interfaces.min_by_key(|(interface, _)| interface.ifindex).map(|(_, other)| other);
                first.or_else(|| named.min_by_key(|(name, _)| *name).map(|(_, other)| other))
            }),
        };
        if let Some((other, place)) = taken {
            let at = report.at(place);
            let what = match point {
                LinkPoint::Interface(InterfaceRef { exporter, ifindex }) => {
                    format!("interface {} of `{exporter}`", ifindex.0)
                }
                LinkPoint::Named(name) => format!("`{}` of `{}`", name.pattern, name.exporter),
                LinkPoint::WholeExporter(exporter) => format!("exporter `{exporter}` as a whole"),
            };
            value.problem(
                format!("{what} overlaps what is on link `{other}`, at {at}; a flow must not cross two links at once"),
                "",
            );
            return;
        }
        let claim = (link.to_owned(), value.place());
        match point {
            LinkPoint::Interface(interface) => self.interfaces.insert(interface.clone(), claim),
            LinkPoint::Named(name) => self.named.insert(name.clone(), claim),
            LinkPoint::WholeExporter(exporter) => self.whole.insert(exporter.clone(), claim),
        };
    }

    /// `[[traffic_class]]`.
    pub(super) fn classes(&mut self, root: &Table<'_>) {
        root.each("traffic_class", |table| {
            let name = name(table, &mut self.classes, "traffic class");
            if let Some((_, place)) = name.as_ref().filter(|(name, _)| name == "default") {
                root.report().problem(
                    place,
                    "`default` is the class of what no rule matches; choose another name",
                    "",
                );
            }
            let matches = table
                .require("match", "what belongs to the class")
                .and_then(|value| value.table("a table: { protocol = \"tcp\", port = 443 }"))
                .map(|inner| {
                    let matches = self.flow_match(&inner);
                    inner.finish();
                    // One whose entries are all wrong has been told of.
                    if inner.is_empty() {
                        inner.problem(
                            "an empty match would take every flow; say what belongs to the class",
                            "",
                        );
                    }
                    matches
                });
            if let (Some((name, _)), Some(matches)) = (name, matches) {
                self.network.classes.push(ClassRule { name, matches });
            }
        });
    }

    fn flow_match(&self, table: &Table<'_>) -> FlowMatch {
        fn each<T>(
            table: &Table<'_>,
            key: &'static str,
            mut read: impl FnMut(Value<'_>) -> Option<T>,
        ) -> Vec<T> {
            let Some(value) = table.get(key) else { return Vec::new() };
            let items = value.one_or_many();
            if items.is_empty() {
                value.problem(format!("an empty list matches nothing; remove `{key}` or fill it"), "");
            }
            items.into_iter().filter_map(&mut read).collect()
        }
        let small = |value: Value<'_>, what: &str, most: u64| {
            value.integer(what, 0..=most).and_then(|n| u8::try_from(n).ok())
        };
        let port = |value: Value<'_>| match value.raw() {
            DeValue::Integer(_) => {
                let port = u16::try_from(value.integer("a port", 0..=65_535)?).ok()?;
                Some((port, port))
            }
            _ => value.parse("a port or a range of ports", value::ports),
        };
        let prefix = |value: Value<'_>| value.parse("an address prefix", value::prefix);
        FlowMatch {
            protocol: each(table, "protocol", |value| match value.raw() {
                DeValue::Integer(_) => small(value, "a protocol", 255),
                _ => value.parse("a protocol", value::protocol),
            }),
            port: each(table, "port", port),
            source_port: each(table, "source_port", port),
            destination_port: each(table, "destination_port", port),
            prefix: each(table, "prefix", prefix),
            source_prefix: each(table, "source_prefix", prefix),
            destination_prefix: each(table, "destination_prefix", prefix),
            asn: each(table, "asn", asn),
            dscp: each(table, "dscp", |value| small(value, "a code point", 63)),
            family: each(table, "family", |value| {
                word(value, &[("ipv4", Family::V4), ("ipv6", Family::V6), ("other", Family::Other)])
            }),
            exporter: each(table, "exporter", |value| self.exporter(value)),
        }
    }

    /// `[[customer]]`, in the main file or one of the customer files.
    pub(super) fn customers(&mut self, root: &Table<'_>) {
        root.each("customer", |table| self.customer(table));
    }

    /// The same, where the others are read in pieces: any that are left there show that these are not as they seem.
    pub(super) fn customers_beside(&mut self, root: &Table<'_>, pieces: &[Range<usize>]) {
        if pieces.is_empty() {
            return self.customers(root);
        }
        if let Some(value) = root.get("customer") {
            value.problem("customers cannot be read in pieces", "");
        }
    }

    /// Reads pieces of a file, of customers alone.
    pub(super) fn customers_in(&mut self, report: &Report, file: &str, text: &str, pieces: &[Range<usize>]) {
        for piece in pieces {
            // Places are in the piece. Nobody is told of them: the file is read again as a whole.
            let number = report.file(file, &Rc::from(""));
            document(report, number, &text[piece.clone()], |root| self.customers(root));
        }
    }

    fn customer(&mut self, table: &Table<'_>) {
        let name = name(table, &mut self.customers, "customer");
        if let Some((name, place)) = &name {
            if let Err(message) = check_customer_name(name) {
                table.report().problem(place, message, "");
            }
            let own = (name.clone(), *place);
            if let Some((other, at)) = self.customers_folded.insert(name.to_ascii_lowercase(), own) {
                let at = table.report().at(&at);
                let text = format!(
                    "`{name}` and `{other}`, at {at}, are one name for files on some systems; rename one"
                );
                table.report().problem(place, text, "");
            }
        }
        let validity = validity(table);
        let customer = self.network.customers.len();
        let (mut prefixes, mut asns, mut interfaces) = (Vec::new(), Vec::new(), Vec::new());
        let listed = table.get("prefixes").map(|value| value.list("a list of prefixes")).unwrap_or_default();
        prefixes.reserve_exact(listed.len());
        for value in listed {
            let Some(prefix) = customer_prefix(value) else { continue };
            let both = intersection(validity, prefix.validity);
            self.prefixes.push(prefix.prefix, customer, both, value.place());
            prefixes.push(prefix);
        }
        for value in table.get("asns").map(Value::one_or_many).unwrap_or_default() {
            let Some(asn) = asn(value) else { continue };
            self.asns.push(asn, customer, validity, value.place());
            asns.push(asn);
        }
        for value in
            table.get("interfaces").map(|value| value.list("a list of interfaces")).unwrap_or_default()
        {
            let Some(LinkPoint::Interface(interface)) = self.point(value, false) else { continue };
            self.customer_interfaces.push(interface.clone(), customer, validity, value.place());
            interfaces.push(interface);
        }
        let tariff = table.get("tariff").and_then(|value| {
            value.parse("the id of a tariff", |text| value::check_name(text).map(|()| text.to_owned()))
        });
        let name = name.map(|(name, _)| name).unwrap_or_default();
        self.assignments(table, &name);
        let address = lines(table, "address").unwrap_or_default();
        let contact = table.section("einvoice", contact);
        if !name.is_empty() && contact != Contact::default() {
            self.contacts.insert(name.clone(), contact);
        }
        if let Some(language) = language(table) {
            self.languages.insert(name.clone(), language);
        }
        self.network.customers.push(CustomerRule {
            name,
            prefixes,
            asns,
            interfaces,
            validity,
            tariff,
            address,
        });
    }

    /// `tariffs`: from when on a customer has which tariff.
    fn assignments(&mut self, table: &Table<'_>, customer: &str) {
        let Some(value) = table.get("tariffs") else { return };
        let mut before: Option<UnixMillis> = None;
        for item in value.list("a list: [ { tariff = \"NAME\", valid_from = 2026-09-01 }, ... ]") {
            let Some(inner) = item.table("a table: { tariff = \"NAME\", valid_from = 2026-09-01 }") else {
                continue;
            };
            let tariff = inner.require("tariff", "the id of a tariff").and_then(|value| {
                value.parse("the id of a tariff", |text| value::check_name(text).map(|()| text.to_owned()))
            });
            let from = inner.require("valid_from", "a date").and_then(|value| {
                let from = instant(value)?;
                if utc_date(from).is_none() {
                    value.problem("a tariff changes on a date, not at a time of day", "");
                    return None;
                }
                if before.is_some_and(|before| from <= before) {
                    value.problem("dates of tariffs ascend", "");
                }
                before = Some(from);
                Some(from)
            });
            inner.finish();
            if let Some((tariff, from)) = tariff.zip(from) {
                self.network.assignments.push(TariffAssignment {
                    customer: customer.to_owned(),
                    tariff,
                    from,
                });
            }
        }
    }

    /// A customer's interface on a link would never be asked for: the other side of the flow decides there; and on a
    /// whole-exporter link prefixes do.
    fn off_links(&self, report: &Report) {
        for claim in self.customer_interfaces.iter() {
            let InterfaceRef { exporter, ifindex } = &claim.what;
            if let Some((link, place)) = self.interfaces.get(&claim.what) {
                let at = report.at(place);
                let message = format!(
                    "interface {} of `{exporter}` is on link `{link}`, at {at}; a customer's interface is on the other side",
                    ifindex.0
                );
                report.problem(&claim.place, message, "");
            } else if let Some((link, place)) = self.whole.get(exporter) {
                let at = report.at(place);
                let message = format!(
                    "`{exporter}` as a whole is link `{link}`, at {at}, where only prefixes decide; give the customer prefixes"
                );
                report.problem(&claim.place, message, "");
            }
        }
    }

    /// What must hold over all customers; then the network.
    pub(super) fn finish(self, report: &Report) -> Network {
        self.off_links(report);
        let show = |prefix: &Prefix| format!("{}/{}", prefix.address, prefix.length);
        let customers = &self.network.customers;
        disjoint(report, customers, self.prefixes, show);
        disjoint(report, customers, self.asns, |asn| format!("AS {}", asn.0));
        disjoint(report, customers, self.customer_interfaces, |interface| {
            format!("interface {} of `{}`", interface.ifindex.0, interface.exporter)
        });
        self.network
    }
}

fn asn(value: Value<'_>) -> Option<Asn> {
    value.integer("an AS number", 1..=u64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok()).map(Asn)
}

fn customer_prefix(value: Value<'_>) -> Option<CustomerPrefix> {
    const WHAT: &str = "an address prefix";
    if !value.is_table() {
        let prefix = value.parse(WHAT, value::prefix)?;
        return Some(CustomerPrefix { prefix, validity: Validity::default() });
    }
    let table = value.table(WHAT)?;
    let prefix = table.require("prefix", WHAT).and_then(|value| value.parse(WHAT, value::prefix));
    let validity = validity(&table);
    table.finish();
    Some(CustomerPrefix { prefix: prefix?, validity })
}
