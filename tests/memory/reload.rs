//! A reload does not stop the stage threads: a configuration is compiled by whoever reloads, and processors only take
//! a reference to what was compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use fluxoscope::classify::rules::{CustomerPrefix, CustomerRule, LinkPoint, LinkRule, Prefix, Validity};
use fluxoscope::config::Config as Configuration;
use fluxoscope::counters::Counters;
use fluxoscope::flow::{Address, Family, FlowRecord};
use fluxoscope::ids::CustomerId;
use fluxoscope::ledger::{Ledger, Url};
use fluxoscope::processor::Config;
use fluxoscope::processor::exporters::Exporters;
use fluxoscope::setup::{Draft, put_in_force};
use fluxoscope::units::UnixMillis;

use crate::count::{allocations, octets, peak};
use crate::datagrams::{NOW, address, processor, v5};

/// Datagrams fed in one pass; whole passes are fed, so that sums are easy.
const PASS: u32 = 64;

fn network(prefixes: u32) -> Configuration {
    let mut config = Configuration::builtin();
    config.files.push("fluxoscope.toml".into());
    config.exporters.push(fluxoscope::exporter::Exporter {
        name: "edge".to_owned(),
        ..fluxoscope::exporter::Exporter::unconfigured(address(1))
    });
    config.network.exporters.push(fluxoscope::classify::rules::ExporterRule {
        name: "edge".to_owned(),
        address: address(1),
        observes: fluxoscope::exporter::Observes::Ingress,
        output_zero: fluxoscope::exporter::OutputZero::Unknown,
    });
    let points = vec![LinkPoint::WholeExporter("edge".to_owned())];
    config.network.links.push(LinkRule {
        name: "up".to_owned(),
        kind: "upstream".to_owned(),
        points,
        overhead: None,
    });
    let validity = Validity::default();
    // 20.0.0.1 is a customer's since this version; the other prefixes, none beside another, take their time.
    let prefix = |n: u32| CustomerPrefix {
        prefix: Prefix { address: (0x1400_0000_u32 + n * 512).to_be_bytes().into(), length: 24 },
        validity,
    };
    config.network.customers.push(CustomerRule {
        name: "everybody".to_owned(),
        prefixes: (0..prefixes).map(prefix).collect(),
        asns: vec![],
        interfaces: vec![],
        validity,
        tariff: None,
        address: vec![],
    });
    config
}

#[test]
fn feeding_goes_on_while_a_configuration_is_put_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let url = Url::parse("sqlite:ledger.sqlite", directory.path()).unwrap();
    let mut ledger = Ledger::open(&url).unwrap();
    let (mut processor, _, registry) = processor(Config::default());
    let config = network(60_000);
    let datagrams: Vec<Vec<u8>> = (0..PASS).map(|n| v5(n * 30)).collect();
    let (fed, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (passed, during, drained) = thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let mut passes = 0;
            let mut asked = 0;
            while !stop.load(Ordering::SeqCst) {
                for datagram in &datagrams {
                    let before = allocations();
                    processor.feed(NOW, address(1), datagram).unwrap();
                    fed.fetch_add(1, Ordering::SeqCst);
                    if passes > 0 {
                        asked = asked.max(allocations() - before);
                    }
                }
                passes += 1;
            }
            // The processor never compiled anything: that would be thousands of allocations in one datagram.
            assert!(asked < 100, "{asked} allocations for one datagram");
            (passes, processor.drain())
        });
        while fed.load(Ordering::SeqCst) < u64::from(PASS) {
            thread::yield_now();
        }
        let before = fed.load(Ordering::SeqCst);
        put_in_force(&config, true, &mut ledger, &registry, NOW.0 - 1000).unwrap();
        let during = fed.load(Ordering::SeqCst) - before;
        // Until some of it is classified by the new version.
        let after = fed.load(Ordering::SeqCst) + 10 * u64::from(PASS);
        while fed.load(Ordering::SeqCst) < after {
            thread::yield_now();
        }
        stop.store(true, Ordering::SeqCst);
        let (passed, drained) = feeder.join().unwrap();
        (passed, during, drained)
    });
    // Nobody waited: some hundred datagrams at least went through meanwhile (thousands, on an idle machine) ...
    assert!(during > 100, "{during} datagrams while a configuration was compiled");
    // ... none was lost, and the customer has what came after.
    let datagrams: u64 = passed * u64::from(PASS);
    assert_eq!(drained.totals.datagrams, datagrams);
    assert_eq!(drained.totals.metered_records, (datagrams - drained.totals.duplicates) * 30);
    // The exporter has another name now, so that what was metered before stands apart.
    let before = drained.former.iter().flat_map(|(_, rows)| rows.iter());
    let customers: Vec<(u32, u64)> =
        before.chain(drained.usage.iter()).map(|row| (row.key.customer.0, row.sums.flows)).collect();
    assert!(customers.iter().any(|new| new.0 != customers[0].0 && new.1 >= 30), "{customers:?}");
}

/// Each version adds a customer to a table of which few fit in memory. How many versions there were makes no difference: to
/// a reload, to a start, or to whose a flow is that ended while one of them was in force.
#[test]
fn versions_of_a_great_table_do_not_add_up() {
    const VERSIONS: u32 = 6;
    let directory = tempfile::tempdir().unwrap();
    let url = Url::parse("sqlite:ledger.sqlite", directory.path()).unwrap();
    let mut ledger = Ledger::open(&url).unwrap();
    let mut config = network(400_000);
    let from = |version: u32| NOW.0 - 1_000_000 + i64::from(version) * 1000;
    let registry = || Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    let first = registry();
    let mut used = Vec::new();
    for version in 0..VERSIONS {
        let prefix = Prefix { address: [240, 0, u8::try_from(version).unwrap(), 0].into(), length: 24 };
        config.network.customers.push(CustomerRule {
            name: format!("new{version}"),
            prefixes: vec![CustomerPrefix { prefix, validity: Validity::default() }],
            ..config.network.customers[0].clone()
        });
        put_in_force(&config, true, &mut ledger, &first, from(version)).unwrap();
        used.push(octets());
    }
    let table = i64::try_from(first.versions().1.at(NOW).prefix_octets()).unwrap();
    assert!(table > 8 << 20, "of smaller ones more are kept: {table} octets");
    // There is always one whole table, and what the versions before it have otherwise.
    let grown: Vec<i64> = used.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(grown.iter().all(|more| *more < 1 << 20), "{grown:?}");
    drop(first);

    let before = octets();
    let again = registry();
    put_in_force(&config, true, &mut ledger, &again, NOW.0).unwrap();
    let started = octets() - before;
    assert!(started < 3 * table, "{started} octets, where a table has {table}");

    // A customer's flow is nobody's before the version that brought the customer.
    let exporter = again.entry(address(1)).unwrap().id;
    let to = |customer: u32, end| FlowRecord {
        exporter,
        end: UnixMillis(end),
        family: Family::V4,
        destination: Address(u128::from(0xf000_0001_u32 + customer * 256)),
        ..FlowRecord::default()
    };
    let versions = again.versions().1;
    for version in (0..VERSIONS).chain([0, 3]) {
        let records: Vec<FlowRecord> =
            (0..VERSIONS).map(|customer| to(customer, from(version) + 500)).collect();
        let mut out = Vec::new();
        let tally = versions.classify(&records, &mut out);
        let is_known: Vec<bool> = out.iter().map(|one| one.customer != CustomerId::UNASSIGNED).collect();
        let expected: Vec<bool> = (0..VERSIONS).map(|customer| customer <= version).collect();
        assert_eq!((is_known, tally.by_other_version), (expected, 0), "{version}");
    }
    // All four older ones were asked for; two are kept, or what there is room for.
    let kept = octets() - before - started;
    assert!(kept < (2 * table).max(64 << 20) + table, "{kept} octets more, where a table has {table}");
}

/// What a reload takes beside the configuration that was read is bounded by its prefixes, and of that only the table stays.
#[test]
fn a_reload_takes_little_beside_its_table() {
    const PREFIXES: u32 = 400_000;
    let directory = tempfile::tempdir().unwrap();
    let url = Url::parse("sqlite:ledger.sqlite", directory.path()).unwrap();
    let mut ledger = Ledger::open(&url).unwrap();
    let registry = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    let mut config = network(PREFIXES);
    let before = octets();
    let _ = peak();
    let draft = Draft::new(&config, false);
    let numbered = draft.wanted().number(&mut ledger, &registry).unwrap();
    let ready = draft.compile(numbered, &registry).unwrap();
    let (_, holding) = ready.put(&mut ledger, &registry, NOW.0).unwrap();
    let most = peak() - before;
    let table = i64::try_from(registry.versions().1.at(NOW).prefix_octets()).unwrap();
    // The claims with their prefixes, and what the table is made of; or the table and the text.
    assert!(most < 200 * i64::from(PREFIXES), "{most} octets");
    let stays = octets() - before;
    assert!(stays < table + (1 << 20), "{stays} octets, where the table has {table}");
    // Each prefix is 56 octets in the configuration, and nobody needs them to put it in force again.
    config.network.forget_prefixes();
    assert!(octets() - before < stays - 50 * i64::from(PREFIXES));
    let _ = peak();
    let now = octets();
    assert!(holding.put_again(&mut ledger, &registry, NOW.0 + 1000).unwrap());
    let again = peak() - now;
    assert!(again < 1 << 20, "{again} octets to put it in force again");
}
