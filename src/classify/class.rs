//! Traffic classes: the first of the operator's rules that matches a flow gives its class.
//!
//! Most rules ask for a protocol and a port and nothing else. Those are compiled into tables that give, for a
//! protocol and a port, the first such rule at once. The rest are predicates, tried in order, and only while they
//! stand before the rule already found. A property test holds both against a naive evaluation.

use std::collections::HashMap;

use super::prefix::PrefixTable;
use super::rules::{FlowMatch, Prefix};
use crate::flow::FlowRecord;
use crate::ids::{ClassId, ExporterId};

/// Where no rule matches; also the greatest number of rules.
const NO_RULE: u16 = u16::MAX;

/// Rules in order, compiled.
#[derive(Debug)]
pub(super) struct Classes {
    /// For each IP protocol, the place of its tables.
    by_protocol: [u8; 256],
    tables: Vec<PortTables>,
    /// Rules that need more than the tables, in order.
    predicates: Vec<Predicate>,
    /// The class of each rule.
    classes: Vec<ClassId>,
}

impl Classes {
    /// The most rules there may be.
    pub(super) const RULES_MAX: usize = NO_RULE as usize;

    /// Compiles `rules`, at most [`Self::RULES_MAX`]; `exporters` gives the numbers of the names in them (names that
    /// are not in it match nothing; the caller has complained).
    pub(super) fn build(rules: &[(FlowMatch, ClassId)], exporters: &HashMap<String, ExporterId>) -> Self {
        let mut predicates = Vec::new();
        let mut simple: Vec<(u16, &FlowMatch)> = Vec::new();
        for (n, (rule, _)) in (0..NO_RULE).zip(rules) {
            if is_simple(rule) {
                simple.push((n, rule));
            } else {
                predicates.push(Predicate::new(n, rule, exporters));
            }
        }
        let (by_protocol, tables) = port_tables(&simple);
        Self { by_protocol, tables, predicates, classes: rules.iter().map(|rule| rule.1).collect() }
    }

    /// True where every flow is of the default class.
    pub(super) const fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The class of a flow.
    #[inline]
    pub(super) fn class(&self, record: &FlowRecord) -> ClassId {
        let tables = &self.tables[usize::from(self.by_protocol[usize::from(record.protocol)])];
        let mut first = tables.first(record.source_port, record.destination_port);
        for predicate in &self.predicates {
            if predicate.rule >= first {
                break;
            }
            if predicate.matches(record) {
                first = predicate.rule;
                break;
            }
        }
        self.classes.get(usize::from(first)).copied().unwrap_or(ClassId::DEFAULT)
    }
}

impl Default for Classes {
    /// No rules.
    fn default() -> Self {
        Self::build(&[], &HashMap::new())
    }
}

/// True for rules that the port tables can answer: protocols, and no more than one list of ports.
fn is_simple(rule: &FlowMatch) -> bool {
    let FlowMatch {
        protocol: _,
        port,
        source_port,
        destination_port,
        prefix,
        source_prefix,
        destination_prefix,
        asn,
        dscp,
        family,
        exporter,
    } = rule;
    let port_lists = [port, source_port, destination_port].iter().filter(|list| !list.is_empty()).count();
    port_lists <= 1
        && prefix.is_empty()
        && source_prefix.is_empty()
        && destination_prefix.is_empty()
        && asn.is_empty()
        && dscp.is_empty()
        && family.is_empty()
        && exporter.is_empty()
}

/// The tables of each protocol; protocols that the same rules name share theirs.
fn port_tables(rules: &[(u16, &FlowMatch)]) -> ([u8; 256], Vec<PortTables>) {
    let mut by_protocol = [0; 256];
    let mut tables: Vec<(Vec<u16>, PortTables)> = Vec::new();
    for protocol in 0..=u8::MAX {
        let (numbers, mine): (Vec<u16>, Vec<&FlowMatch>) = rules
            .iter()
            .filter(|(_, rule)| rule.protocol.is_empty() || rule.protocol.contains(&protocol))
            .copied()
            .unzip();
        let place = tables.iter().position(|known| known.0 == numbers).unwrap_or_else(|| {
            let made = PortTables::build(&numbers, &mine);
            tables.push((numbers, made));
            tables.len() - 1
        });
        by_protocol[usize::from(protocol)] = u8::try_from(place).expect("no more tables than protocols");
    }
    (by_protocol, tables.into_iter().map(|table| table.1).collect())
}

/// The first simple rule by source port, by destination port, and whatever the ports.
#[derive(Debug)]
struct PortTables {
    any_port: u16,
    source: PortTable,
    destination: PortTable,
}

impl PortTables {
    fn build(numbers: &[u16], rules: &[&FlowMatch]) -> Self {
        let mut any_port = NO_RULE;
        let (mut source, mut destination) = (Vec::new(), Vec::new());
        for (&number, rule) in numbers.iter().zip(rules) {
            let of = |ports: &[(u16, u16)]| ports.iter().map(|&range| (range, number)).collect::<Vec<_>>();
            source.extend([of(&rule.port), of(&rule.source_port)].concat());
            destination.extend([of(&rule.port), of(&rule.destination_port)].concat());
            if rule.port.is_empty() && rule.source_port.is_empty() && rule.destination_port.is_empty() {
                any_port = any_port.min(number);
            }
        }
        Self { any_port, source: PortTable::build(&source), destination: PortTable::build(&destination) }
    }

    #[inline]
    fn first(&self, source: u16, destination: u16) -> u16 {
        self.any_port.min(self.source.first(source)).min(self.destination.first(destination))
    }
}

/// The first rule for each port. 256 ports with the same rules throughout share a page, so a table is a few pages.
#[derive(Debug)]
struct PortTable {
    /// For the high octet of a port, its page.
    pages: [u8; 256],
    rules: Vec<[u16; 256]>,
}

impl PortTable {
    fn build(ranges: &[((u16, u16), u16)]) -> Self {
        let mut whole = vec![NO_RULE; 1 << 16];
        for &((from, to), rule) in ranges {
            for port in from..=to {
                let first = &mut whole[usize::from(port)];
                *first = rule.min(*first);
            }
        }
        let mut table = Self { pages: [0; 256], rules: Vec::new() };
        for (high, page) in whole.as_chunks::<256>().0.iter().enumerate() {
            let place = table.rules.iter().position(|known| known == page).unwrap_or_else(|| {
                table.rules.push(*page);
                table.rules.len() - 1
            });
            table.pages[high] = u8::try_from(place).expect("no more pages than high octets");
        }
        table
    }

    #[inline]
    fn first(&self, port: u16) -> u16 {
        let [high, low] = port.to_be_bytes();
        self.rules[usize::from(self.pages[usize::from(high)])][usize::from(low)]
    }
}

/// A rule that the port tables cannot answer. Empty lists match everything.
#[derive(Debug)]
struct Predicate {
    /// Its number.
    rule: u16,
    /// One bit for each protocol, code point, family.
    protocols: [u64; 4],
    dscps: u64,
    families: u8,
    port: Vec<(u16, u16)>,
    source_port: Vec<(u16, u16)>,
    destination_port: Vec<(u16, u16)>,
    prefix: Option<PrefixTable>,
    source_prefix: Option<PrefixTable>,
    destination_prefix: Option<PrefixTable>,
    /// Sorted.
    asns: Vec<u32>,
    /// Sorted; `None` matches every exporter.
    exporters: Option<Vec<ExporterId>>,
}

impl Predicate {
    fn new(rule: u16, wanted: &FlowMatch, exporters: &HashMap<String, ExporterId>) -> Self {
        let mut protocols = [0; 4];
        for protocol in &wanted.protocol {
            protocols[usize::from(protocol >> 6)] |= 1 << (protocol & 63);
        }
        let table = |prefixes: &[Prefix]| {
            (!prefixes.is_empty()).then(|| PrefixTable::build(prefixes.iter().map(|prefix| (*prefix, 0))))
        };
        let mut asns: Vec<u32> = wanted.asn.iter().map(|asn| asn.0).collect();
        asns.sort_unstable();
        let named = (!wanted.exporter.is_empty()).then(|| {
            let mut ids: Vec<ExporterId> =
                wanted.exporter.iter().filter_map(|name| exporters.get(name)).copied().collect();
            ids.sort_unstable();
            ids
        });
        Self {
            rule,
            protocols: if wanted.protocol.is_empty() { [u64::MAX; 4] } else { protocols },
            // A code point has six bits; a greater number matches nothing.
            dscps: bits_or_all(wanted.dscp.iter().copied().filter(|n| *n < 64), wanted.dscp.is_empty()),
            #[expect(clippy::cast_possible_truncation, reason = "families are numbered 0 to 2")]
            families: bits_or_all(wanted.family.iter().map(|f| *f as u8), wanted.family.is_empty()) as u8,
            port: wanted.port.clone(),
            source_port: wanted.source_port.clone(),
            destination_port: wanted.destination_port.clone(),
            prefix: table(&wanted.prefix),
            source_prefix: table(&wanted.source_prefix),
            destination_prefix: table(&wanted.destination_prefix),
            asns,
            exporters: named,
        }
    }

    /// The cheap questions first.
    fn matches(&self, record: &FlowRecord) -> bool {
        let asn = |n: u32| self.asns.binary_search(&n).is_ok();
        let (source, destination) = (record.source_port, record.destination_port);
        self.protocols[usize::from(record.protocol >> 6)] & 1 << (record.protocol & 63) != 0
            && self.dscps & 1 << (record.tos >> 2) != 0
            && self.families & 1 << (record.family as u8) != 0
            && (self.port.is_empty() || within(&self.port, source) || within(&self.port, destination))
            && (self.source_port.is_empty() || within(&self.source_port, source))
            && (self.destination_port.is_empty() || within(&self.destination_port, destination))
            && (self.asns.is_empty() || asn(record.source_as.0) || asn(record.destination_as.0))
            && self.exporters.as_ref().is_none_or(|ids| ids.binary_search(&record.exporter).is_ok())
            && self.source_prefix.as_ref().is_none_or(|table| holds(table.lookup_source(record)))
            && self.destination_prefix.as_ref().is_none_or(|table| holds(table.lookup_destination(record)))
            && self.prefix.as_ref().is_none_or(|table| {
                holds(table.lookup_source(record)) || holds(table.lookup_destination(record))
            })
    }
}

fn bits_or_all(numbers: impl Iterator<Item = u8>, all: bool) -> u64 {
    if all { u64::MAX } else { numbers.fold(0, |bits, n| bits | 1 << n) }
}

fn within(ranges: &[(u16, u16)], port: u16) -> bool {
    ranges.iter().any(|&(from, to)| from <= port && port <= to)
}

fn holds(found: u32) -> bool {
    found != PrefixTable::NOTHING
}

#[cfg(test)]
mod tests;
