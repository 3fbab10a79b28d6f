//! FLUXOSCOPE-MIB and the tree: the same objects, by name, number, type and order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::access::{Scope, ViewRules};
use super::super::engine::Engine;
use super::super::snapshot::{Here, Lists, Now};
use super::super::tree::Kind;
use super::super::{Config, MIB, Statistics, tree};
use super::*;
use crate::counters::{
    AllowanceRow, Books, CardRow, Counters, Exporter, InvoiceState, Managed, Memory, PeriodRow, PolledRow,
    Reconciled, ReconciledRow, Sampled, Sampler, TariffRow, Template, Transport, TransportCounts,
};
use crate::units::UnixMillis;

mod librenms;

/// An OBJECT-TYPE of a module.
#[derive(Debug)]
struct Declared<'a> {
    syntax: String,
    access: &'a str,
    parent: &'a str,
}

type Objects<'a> = BTreeMap<&'a str, Declared<'a>>;
/// Parent and number of every name.
type Nodes<'a> = BTreeMap<&'a str, (&'a str, u32)>;

/// The module's words, without comments and quoted texts.
fn words() -> Vec<&'static str> {
    let mut words = Vec::new();
    for (n, part) in MIB.split('"').enumerate() {
        if n % 2 == 0 {
            let code = part.lines().map(|line| line.split("--").next().unwrap());
            words.extend(code.flat_map(str::split_whitespace));
        }
    }
    words
}

/// Every OBJECT-TYPE by name, and every `name OBJECT IDENTIFIER ::= { parent number }`.
fn module<'a>(words: &[&'a str]) -> (Objects<'a>, Nodes<'a>) {
    let mut objects = BTreeMap::new();
    let mut nodes = BTreeMap::new();
    let assigned = |from: usize| {
        let at = from + words[from..].iter().position(|&word| word == "::=").unwrap();
        assert_eq!((words[at + 1], words[at + 4]), ("{", "}"), "{:?}", &words[from..at + 5]);
        (words[at + 2], words[at + 3].parse::<u32>().unwrap())
    };
    for (at, pair) in words.windows(2).enumerate() {
        match pair {
            [name, "OBJECT-TYPE"] if name.starts_with("flux") => {
                let value =
                    |keyword: &str| at + words[at..].iter().position(|&word| word == keyword).unwrap() + 1;
                let (syntax, access) = (value("SYNTAX"), value("MAX-ACCESS"));
                let end = words[syntax..access]
                    .iter()
                    .position(|word| matches!(*word, "UNITS" | "MAX-ACCESS"))
                    .unwrap();
                let (parent, number) = assigned(at);
                let syntax = words[syntax..syntax + end].join(" ");
                objects.insert(*name, Declared { syntax, access: words[access], parent });
                nodes.insert(*name, (parent, number));
            }
            [name, "MODULE-IDENTITY"] if name.starts_with("flux") => {
                nodes.insert(*name, assigned(at));
            }
            [name, "OBJECT"] if words[at + 2] == "IDENTIFIER" => {
                nodes.insert(*name, assigned(at));
            }
            _ => {}
        }
    }
    (objects, nodes)
}

fn oid(nodes: &Nodes<'_>, name: &str) -> Vec<u32> {
    if name == "enterprises" {
        return vec![1, 3, 6, 1, 4, 1];
    }
    let (parent, number) = nodes[name];
    let mut oid = oid(nodes, parent);
    oid.push(number);
    oid
}

#[test]
fn the_module_and_the_tree_hold_the_same_objects() {
    let words = words();
    let (objects, nodes) = module(&words);
    assert_eq!(oid(&nodes, "fluxoscopeMIB"), ROOT);
    assert_eq!(oid(&nodes, "fluxoscope"), [ROOT, PRODUCT].concat());

    let indexes: Vec<&str> = words
        .iter()
        .enumerate()
        .filter(|(_, word)| **word == "INDEX")
        .flat_map(|(at, _)| words[at + 2..].iter().take_while(|word| **word != "}"))
        .map(|word| word.trim_end_matches(','))
        .collect();
    let tree = tree();
    let served: BTreeMap<_, _> = tree
        .leaves()
        .iter()
        .filter(|leaf| leaf.oid.starts_with(ROOT))
        .map(|leaf| (leaf.name, leaf))
        .collect();
    let mut readable = 0;
    for (name, object) in &objects {
        let table = objects.contains_key(object.parent);
        if object.access != "read-only" {
            assert_eq!(object.access, "not-accessible", "{name}");
            assert!(!served.contains_key(name), "{name} must not be served");
            // Tables, rows, and the columns that are part of their index.
            assert!(
                name.ends_with("Table") || name.ends_with("Entry") || (table && indexes.contains(name)),
                "{name}"
            );
            continue;
        }
        readable += 1;
        let leaf = served.get(name).unwrap_or_else(|| panic!("{name} is not served"));
        assert_eq!(leaf.oid, oid(&nodes, name), "{name}");
        let kind = match object.syntax.as_str() {
            "Counter32" => Kind::Counter32,
            "Counter64" | "FluxGauge64" => Kind::Counter64,
            "Gauge32" => Kind::Gauge32,
            "FluxText" | "DateAndTime" => Kind::Octets,
            "OBJECT IDENTIFIER" => Kind::ObjectId,
            "TruthValue" => Kind::Integer,
            enumerated if enumerated.starts_with("INTEGER {") => Kind::Integer,
            other => panic!("{name} has the unexpected syntax {other}"),
        };
        assert_eq!(leaf.get.kind(), kind, "{name}");
        // On the wire a FluxGauge64 is a Counter64; elsewhere it may fall, and is named so.
        assert_eq!(leaf.get.is_counter(), object.syntax.starts_with("Counter"), "{name}");
        assert_eq!(leaf.rows != Rows::Scalar, table, "{name}");
    }
    assert_eq!(readable, served.len(), "an object is served that the module does not declare");
    // Names that others rely on.
    for name in [
        "fluxProcessorFlushLagMs",
        "fluxExporterSamplingRate",
        "fluxLinkOutPackets",
        "fluxCustomerMonthInOctets",
        "fluxContentionWaitMicros",
    ] {
        assert!(served.contains_key(name), "{name}");
    }
}

#[test]
fn no_object_lies_under_another_and_none_is_there_twice() {
    let tree = tree();
    for pair in tree.leaves().windows(2) {
        assert!(pair[0].oid < pair[1].oid && !pair[1].oid.starts_with(&pair[0].oid), "{pair:?}");
    }
}

/// Reads objects of one exporter, one processor and the contention rows at a given time.
fn read(counters: &Counters, wall: i64, name: &str, index: impl Into<Index>) -> tree::Found {
    let mut lists = Lists::default();
    let uptime = u64::try_from(wall - counters.started_at).unwrap_or(0);
    let now = Now { wall: UnixMillis(wall), uptime: core::time::Duration::from_millis(uptime) };
    lists.refresh(counters, now);
    let (config, statistics, tree) = (Config::default(), Statistics::default(), tree());
    let engine = Engine::new(vec![0x80, 0, 0, 0, 1], 1);
    let scope = Scope::new(ViewRules::standard(), &tree);
    let here = Here { config: &config, counters, statistics: &statistics, engine: &engine, told: None };
    let view = View::new(now, here, &scope, &lists);
    let mut oid = tree.named(name).unwrap().oid.clone();
    oid.extend(index.into().0);
    tree.get(&view, &oid)
}

fn check(counters: &Counters, wall: i64, name: &str, index: impl Into<Index>, expected: tree::Value) {
    let index = index.into();
    let found = read(counters, wall, name, index.clone());
    assert_eq!(found, tree::Found::Value(expected), "{name}.{index:?}");
}

/// The index of a row.
#[derive(Clone, Debug)]
struct Index(Vec<u32>);

impl From<u32> for Index {
    fn from(index: u32) -> Self {
        Self(vec![index])
    }
}

impl<const N: usize> From<[u32; N]> for Index {
    fn from(index: [u32; N]) -> Self {
        Self(index.to_vec())
    }
}

#[test]
fn derived_values_by_hand() {
    use tree::{Found, Value};
    let counters = Counters::new(2, 1_000_000);
    let exporter = Exporter::new("ce1".into(), "2001:db8::1".parse().unwrap());
    exporter.ledger_id.store(9, Relaxed);
    let exporter = Arc::new(exporter);
    counters.exporters.write().unwrap().push(Arc::clone(&exporter));

    // Before anything came: since the start, at 1 000 000 ms.
    check(&counters, 1_007_999, "fluxExporterSilentSeconds", 9, Value::Gauge32(7));
    check(&counters, 1_007_999, "fluxExporterLastSeen", 9, Value::Octets(vec![0; 8]));
    check(&counters, 0, "fluxExporterSamplingRate", 9, Value::Gauge32(0));
    // 2024-02-29T23:59:58.75Z.
    exporter.last_seen.store(1_709_251_198_750, Relaxed);
    let date = vec![0x07, 0xe8, 2, 29, 23, 59, 58, 7, b'+', 0, 0];
    check(&counters, 0, "fluxExporterLastSeen", 9, Value::Octets(date));
    check(&counters, 1_709_251_201_000, "fluxExporterSilentSeconds", 9, Value::Gauge32(2));
    // A clock that was set back.
    check(&counters, 0, "fluxExporterSilentSeconds", 9, Value::Gauge32(0));
    check(&counters, 0, "fluxExporterAddress", 9, Value::Octets(b"2001:db8::1".to_vec()));
    for (numerator, denominator, rate) in
        [(1000, 1, 1000), (3, 2, 2), (4, 3, 1), (5, 2, 3), (u32::MAX, 1, u32::MAX)]
    {
        exporter.rate_numerator.store(numerator, Relaxed);
        exporter.rate_denominator.store(denominator, Relaxed);
        check(&counters, 0, "fluxExporterSamplingRate", 9, Value::Gauge32(rate));
    }
    // Not numbered yet: no row.
    exporter.ledger_id.store(0, Relaxed);
    assert_eq!(read(&counters, 0, "fluxExporterName", 0), Found::NoSuchInstance);

    counters.processors[1].uncommitted_since.store(1_005_000, Relaxed);
    check(&counters, 1_005_250, "fluxProcessorFlushLagMs", 2, Value::Gauge32(250));
    check(&counters, 1_005_250, "fluxProcessorFlushLagMs", 1, Value::Gauge32(0));
    // A gauge stays at its end (RFC 2578, 7.1.7).
    counters.processors[0].held.store(1 << 40, Relaxed);
    check(&counters, 0, "fluxProcessorHeld", 1, Value::Gauge32(u32::MAX));

    // 1 + 2 of 2 * 100 entries: 1.5 percent, rounded down.
    for (processor, current) in counters.processors.iter().zip([1, 2]) {
        processor.templates.limit.store(100, Relaxed);
        processor.templates.set_current(current);
        processor.templates.waited(40);
    }
    check(&counters, 0, "fluxContentionCurrent", 1, Value::Gauge32(3));
    check(&counters, 0, "fluxContentionLimit", 1, Value::Gauge32(200));
    check(&counters, 0, "fluxContentionPercent", 1, Value::Gauge32(1));
    check(&counters, 0, "fluxContentionWaitMicros", 1, Value::Counter64(80));
    check(&counters, 0, "fluxContentionPercent", 5, Value::Gauge32(0));
    counters.ledger_writer.waited(7);
    check(&counters, 0, "fluxContentionWaits", 5, Value::Counter64(1));
    counters.processors[1].held_records.set_current(12);
    check(&counters, 0, "fluxContentionHighWater", 7, Value::Gauge32(12));
    counters.processors[1].connections.set_current(5);
    check(&counters, 0, "fluxContentionHighWater", 8, Value::Gauge32(5));
    counters.processors[0].running_totals.set_current(6);
    check(&counters, 0, "fluxContentionHighWater", 9, Value::Gauge32(6));
    assert_eq!(read(&counters, 0, "fluxContentionWaits", 10), Found::NoSuchInstance);
}

/// A reload moves `ce1` to another address and back, and gives the address another name for a time: its counters are those
/// of all that time, and so is the total.
#[test]
fn counters_of_an_exporter_survive_other_addresses_and_names() {
    use tree::Value;
    let counters = Counters::new(1, 0);
    let add = |name: &str, id: u32, lost: u64| {
        let exporter = Arc::new(Exporter::new(name.into(), "192.0.2.1".parse().unwrap()));
        exporter.ledger_id.store(id, Relaxed);
        exporter.lost_told.store(lost, Relaxed);
        exporter.held.store(lost, Relaxed);
        counters.exporters.write().unwrap().push(Arc::clone(&exporter));
        exporter
    };
    let lost = |id: u32, expected| check(&counters, 0, "fluxExporterLost", id, Value::Counter64(expected));
    let total = |expected| check(&counters, 0, "fluxTotalLost", 0, Value::Counter64(expected));
    let first = add("ce1", 7, 46);
    lost(7, 46);
    first.is_taken_out.store(true, Relaxed);
    first.last_seen.store(1_709_251_198_750, Relaxed);
    let second = add("ce1", 7, 17);
    lost(7, 46 + 17);
    // What is there now is told by whom is there now; what was, by all.
    check(&counters, 0, "fluxExporterHeld", 7, Value::Gauge32(17));
    let date = vec![0x07, 0xe8, 2, 29, 23, 59, 58, 7, b'+', 0, 0];
    check(&counters, 0, "fluxExporterLastSeen", 7, Value::Octets(date));
    first.is_taken_out.store(false, Relaxed);
    second.is_taken_out.store(true, Relaxed);
    check(&counters, 0, "fluxExporterHeld", 7, Value::Gauge32(46));
    lost(7, 46 + 17);
    // The second address has another name from now on, and the first one then, too.
    counters.renamed.write().unwrap().push(second);
    let other = Arc::new(Exporter::new("ce2".into(), "192.0.2.2".parse().unwrap()));
    other.ledger_id.store(8, Relaxed);
    other.lost_told.store(5, Relaxed);
    counters.exporters.write().unwrap()[1] = other;
    lost(7, 46 + 17);
    lost(8, 5);
    total(46 + 17 + 5);
    counters.renamed.write().unwrap().push(first);
    counters.exporters.write().unwrap().remove(0);
    total(46 + 17 + 5);
}

/// The same of what IPFIX-MIB counts.
#[test]
fn sessions_and_templates_of_another_address_count_on() {
    use tree::Value;
    let counters = Counters::new(1, 0);
    let add = |is_taken_out: bool, messages: u64, records: u64| {
        let exporter = Exporter::new("ce1".into(), "192.0.2.1".parse().unwrap());
        exporter.ledger_id.store(7, Relaxed);
        exporter.is_taken_out.store(is_taken_out, Relaxed);
        let counts = TransportCounts { messages, octets: 100 * messages, ..TransportCounts::default() };
        let transport = Transport { version: 10, counts, ..Transport::default() };
        let template = Template {
            session: None,
            domain: 5,
            id: 256,
            is_options: false,
            defined_at: 1,
            records,
            scopes: 0,
            fields: Vec::new().into(),
        };
        let memory = Memory { transports: vec![transport], templates: vec![template], ..Memory::default() };
        exporter.memory.store(Arc::new(memory));
        counters.exporters.write().unwrap().push(Arc::new(exporter));
    };
    add(true, 46, 900);
    add(false, 17, 30);
    check(&counters, 0, "ipfixTransportSessionMessages", 7, Value::Counter64(63));
    check(&counters, 0, "ipfixTransportSessionBytes", 7, Value::Counter64(6300));
    check(&counters, 0, "ipfixTemplateDataRecords", [7, 5, 256], Value::Counter64(930));
}

fn text(text: &str) -> tree::Value {
    tree::Value::Octets(text.as_bytes().to_vec())
}

#[test]
fn routers_tables_samplers_books_and_journals_by_hand() {
    use tree::{Found, Value};
    let counters = Counters::new(1, 0);
    let exporter = Arc::new(Exporter::new("ce1".into(), "192.0.2.1".parse().unwrap()));
    exporter.ledger_id.store(9, Relaxed);
    exporter.restarts.store(2, Relaxed);
    exporter.shared_domains.store(1, Relaxed);
    exporter.rates_taken_up.store(40, Relaxed);
    exporter.unknown_observations.store(41, Relaxed);
    exporter.torn_records.store(42, Relaxed);
    exporter.torn_octets.store(43, Relaxed);
    exporter.sflow.samples_dropped.store(44, Relaxed);
    exporter.sflow.pool_contradictions.store(45, Relaxed);
    exporter.sflow.packets_unpaid.store(46, Relaxed);
    exporter.rates_rounded.store(47, Relaxed);
    let sampler = |kind, number, rate| Sampler { domain: 5, kind, number, rate };
    let samplers = vec![
        sampler(Sampled::Domain, 0, (0, 0)),
        sampler(Sampled::Sampler, (7 << 32) + 3, (1000, 1)),
        sampler(Sampled::Egress, 12, (512, 3)),
    ];
    exporter.memory.store(Arc::new(Memory { samplers, ..Memory::default() }));
    counters.exporters.write().unwrap().push(Arc::clone(&exporter));
    check(&counters, 0, "fluxExporterRestarts", 9, Value::Counter64(2));
    check(&counters, 0, "fluxExporterSharedDomains", 9, Value::Counter64(1));
    let told = [
        "fluxExporterRatesTakenUp",
        "fluxExporterUnknownObservations",
        "fluxExporterTornRecords",
        "fluxExporterTornOctets",
        "fluxExporterSamplesDropped",
        "fluxExporterPoolContradictions",
        "fluxExporterPacketsUnpaid",
        "fluxExporterRatesRounded",
    ];
    for (value, name) in (40..).zip(told) {
        check(&counters, 0, name, 9, Value::Counter64(value));
    }
    check(&counters, 0, "fluxSamplerName", [9, 5, 1, 0], text("domain 5"));
    check(&counters, 0, "fluxSamplerDenominator", [9, 5, 1, 0], Value::Gauge32(0));
    check(&counters, 0, "fluxSamplerNumerator", [9, 5, 2, 3], Value::Gauge32(1000));
    check(&counters, 0, "fluxSamplerName", [9, 5, 4, 12], text("domain 5, out by interface 12"));
    assert_eq!(read(&counters, 0, "fluxSamplerName", [9, 5, 4]), Found::NoSuchInstance);
    assert_eq!(read(&counters, 0, "fluxSamplerName", [9, 5, 4, 12, 0]), Found::NoSuchInstance);

    let card = |card, utilisation, current, limit| CardRow {
        exporter: "ce1".into(),
        exporter_id: 9,
        card,
        name: "flow table of card 5000".into(),
        utilisation,
        current,
        limit,
        high_water: -1,
        failures: 1 << 40,
        read_at: 1,
    };
    let polled = PolledRow { exporter: "ce1".into(), polls: 8, failures: 3, ..PolledRow::default() };
    let stranger = PolledRow { exporter: "nobody".into(), ..PolledRow::default() };
    let inward = Reconciled {
        flow_octets: 1 << 40,
        interface_octets: 3,
        tolerance: 2,
        coverage: 99,
        verdict: 3,
        differences: 4,
    };
    let link = ReconciledRow {
        link: 3,
        name: "transit-a".into(),
        bucket: 1_709_251_200,
        inward,
        ..ReconciledRow::default()
    };
    counters.managed.store(Arc::new(Managed {
        polled: vec![stranger, polled],
        cards: vec![card(5000, 97, 254_161, -1), card(6000, -1, 30, 120)],
        reconciled: vec![link],
    }));
    // The number of a card: the upper 31 bits of (9 * 2^32 + 5000) * 0x9e3779b97f4a7c15 mod 2^64, and 2^31.
    let numbers = [5000_u128, 6000].map(|card| {
        let mixed = ((9_u128 << 32) + card) * 0x9e37_79b9_7f4a_7c15 % (1 << 64);
        u32::try_from((mixed >> 33) + (1 << 31)).unwrap()
    });
    check(&counters, 0, "fluxContentionName", numbers[0], text("ce1: flow table of card 5000"));
    check(&counters, 0, "fluxContentionPercent", numbers[0], Value::Gauge32(97));
    check(&counters, 0, "fluxContentionLimit", numbers[0], Value::Gauge32(0));
    check(&counters, 0, "fluxContentionCurrent", numbers[0], Value::Gauge32(254_161));
    check(&counters, 0, "fluxContentionFailures", numbers[0], Value::Counter64(1 << 40));
    check(&counters, 0, "fluxContentionPercent", numbers[1], Value::Gauge32(25));
    check(&counters, 0, "fluxContentionExporter", numbers[1], Value::Gauge32(9));
    check(&counters, 0, "fluxContentionExporter", 1, Value::Gauge32(0));
    check(&counters, 0, "fluxPolledFailures", 9, Value::Counter64(3));
    check(&counters, 0, "fluxReconcileName", [3, 1], text("transit-a in"));
    check(&counters, 0, "fluxReconcileFlowOctets", [3, 1], Value::Counter64(1 << 40));
    check(&counters, 0, "fluxReconcileVerdict", [3, 1], Value::Integer(3));
    check(&counters, 0, "fluxReconcileVerdict", [3, 2], Value::Integer(0));
    // 2024-03-01T00:00:00Z.
    let date = Value::Octets(vec![0x07, 0xe8, 3, 1, 0, 0, 0, 0, b'+', 0, 0]);
    check(&counters, 0, "fluxReconcileTime", [3, 2], date);

    let allowance = |customer_id, charge: &str| AllowanceRow {
        customer_id,
        customer: "campus".into(),
        charge: charge.into(),
        used_percent: 81,
        alert: "80".into(),
        ..AllowanceRow::default()
    };
    let rows = vec![allowance(17, "z"), allowance(0, "none"), allowance(17, "a")];
    counters.billing.allowances.store(Arc::new(rows));
    check(&counters, 0, "fluxAllowanceName", [17, 2], text("campus: z"));
    check(&counters, 0, "fluxAllowancePercent", [17, 1], Value::Gauge32(81));
    check(&counters, 0, "fluxAllowanceProjected", [17, 1], Value::Gauge32(0));
    assert_eq!(read(&counters, 0, "fluxAllowanceName", [0, 1]), Found::NoSuchInstance);

    let tariff = TariffRow { id: "eu".into(), version: 3, ..TariffRow::default() };
    let period = PeriodRow {
        customer: 17,
        month: 202_611,
        is_closed: true,
        invoice: InvoiceState::Final,
        ..PeriodRow::default()
    };
    counters.books.store(Arc::new(Books {
        flushes: 12,
        tariffs: vec![tariff],
        periods: vec![period],
        ..Books::default()
    }));
    check(&counters, 0, "fluxTariffVersion", 1, Value::Gauge32(3));
    check(&counters, 0, "fluxLedgerTariffVersions", 0, Value::Gauge32(1));
    check(&counters, 0, "fluxLedgerFlushes", 0, Value::Counter64(12));
    check(&counters, 0, "fluxPeriodName", [17, 202_611], text(" 2026-11"));
    check(&counters, 0, "fluxPeriodClosed", [17, 202_611], Value::Integer(1));
    check(&counters, 0, "fluxPeriodInvoice", [17, 202_611], Value::Integer(3));
    let journal = &counters.processors[0].journal;
    journal.end.store(7, Relaxed);
    journal.is_failing.store(true, Relaxed);
    check(&counters, 0, "fluxJournalEnd", 1, Value::Counter64(7));
    check(&counters, 0, "fluxJournalFailing", 1, Value::Integer(1));
}

/// What is shipped for monitoring systems names objects that are served, by number and by name.
#[test]
fn pieces_for_monitoring_name_what_is_there() {
    let (tree, words) = (tree(), words());
    let (objects, nodes) = module(&words);
    let prefix = "1.3.6.1.4.1.32473.2055.1.";
    for text in [
        include_str!("../../../ops/monitoring/zabbix.yaml"),
        include_str!("../../../ops/monitoring/librenms/os_discovery/fluxoscope.yaml"),
        include_str!("../../../ops/monitoring/snmp_exporter.yml"),
    ] {
        for (at, _) in text.match_indices(prefix) {
            let rest = &text[at..];
            let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap();
            let oid: Vec<u32> =
                rest[..end].trim_end_matches('.').split('.').map(|arc| arc.parse().unwrap()).collect();
            let is_there = tree.leaves().iter().any(|leaf| oid == leaf.oid || oid.starts_with(&leaf.oid));
            assert!(is_there, "{oid:?}");
        }
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.starts_with("flux")) {
            let is_name = word.chars().nth(4).is_some_and(|c| c.is_ascii_uppercase());
            assert!(!is_name || objects.contains_key(word) || nodes.contains_key(word), "{word}");
        }
    }
}
