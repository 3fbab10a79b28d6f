//! A reload does not stop the stage threads: a configuration is compiled by whoever reloads, and processors only take
//! a reference to what was compiled.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use fluxoscope::classify::rules::{CustomerPrefix, CustomerRule, LinkPoint, LinkRule, Prefix, Validity};
use fluxoscope::config::Config as Configuration;
use fluxoscope::ledger::{Ledger, Url};
use fluxoscope::processor::Config;
use fluxoscope::setup::put_in_force;

use crate::count::allocations;
use crate::datagrams::{NOW, address, processor, v5};

/// Datagrams fed in one pass; whole passes are fed, so that sums are easy.
const PASS: u32 = 64;

fn network() -> Configuration {
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
    // 20.0.0.1 is a customer's since this version; 60 000 prefixes beside it take their time.
    let prefix = |n: u32| CustomerPrefix {
        prefix: Prefix { address: (0x1400_0000_u32 + n * 256).to_be_bytes().into(), length: 24 },
        validity,
    };
    config.network.customers.push(CustomerRule {
        name: "everybody".to_owned(),
        prefixes: (0..60_000).map(prefix).collect(),
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
    let config = network();
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
    let before = drained.former.iter().flat_map(|(_, rows)| rows);
    let customers: Vec<(u32, u64)> =
        before.chain(&drained.usage).map(|row| (row.key.customer.0, row.sums.flows)).collect();
    assert!(customers.iter().any(|new| new.0 != customers[0].0 && new.1 >= 30), "{customers:?}");
}
