//! Versions: stored once they compile, compiled once, and what names meant when.

use core::net::IpAddr;

use super::*;
use crate::classify::rules::{LinkPoint, LinkRule};
use crate::counters::Counters;
use crate::ledger::records::NameKind;

/// A version that does not compile must not be found by the next start.
#[test]
fn a_version_is_stored_only_once_it_compiles() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = ledger::Url::parse("sqlite:ledger.sqlite", directory.path()).expect("a place");
    let mut ledger = Ledger::open(&url).expect("a new ledger");
    let registry = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    let mut config = Config::builtin();
    config.files.push("fluxoscope.toml".into());
    let points = vec![LinkPoint::WholeExporter("nobody".to_owned())];
    config.network.links.push(LinkRule {
        name: "up".to_owned(),
        kind: String::new(),
        points,
        overhead: None,
    });
    let refused = put_in_force(&config, false, &mut ledger, &registry, 1000);
    assert!(matches!(refused, Err(Error::Compile(_))), "{refused:?}");
    assert_eq!(ledger.config_versions().expect("reads"), []);

    config.network.links.clear();
    let stored = put_in_force(&config, false, &mut ledger, &registry, 2000).expect("compiles");
    // The clock was set back: the next version does not hold before this one.
    config.network.classes.push(crate::classify::rules::ClassRule {
        name: "web".to_owned(),
        matches: crate::classify::rules::FlowMatch::default(),
    });
    put_in_force(&config, false, &mut ledger, &registry, 1500).expect("compiles");
    let versions = ledger.config_versions().expect("reads");
    let valid: Vec<i64> = versions.iter().map(|version| version.valid_from).collect();
    assert_eq!((valid, versions[0].sha256.as_str()), (vec![2000, 2000], stored.sha256.as_str()));
}

fn fresh() -> (tempfile::TempDir, Ledger, Arc<Exporters>, Config) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = ledger::Url::parse("sqlite:ledger.sqlite", directory.path()).expect("a place");
    let ledger = Ledger::open(&url).expect("a new ledger");
    let registry = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    let mut config = Config::builtin();
    config.files.push("fluxoscope.toml".into());
    (directory, ledger, registry, config)
}

/// Exporters at so many addresses from that on, as configured.
fn at_addresses(config: &mut Config, from: u32, count: u32) {
    use crate::exporter::Exporter;
    let address = |n: u32| IpAddr::from(core::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
    config.exporters = (from..from + count)
        .map(|n| Exporter { name: format!("e{}", n - from), ..Exporter::unconfigured(address(n)) })
        .collect();
    let rule = |exporter: &Exporter| crate::classify::rules::ExporterRule {
        name: exporter.name.clone(),
        address: exporter.address,
        observes: exporter.observes,
        output_zero: exporter.output_zero,
    };
    config.network.exporters = config.exporters.iter().map(rule).collect();
}

#[test]
fn a_text_is_compiled_once() {
    let (_directory, mut ledger, registry, mut config) = fresh();
    let at = |registry: &Exporters, ms| registry.versions().1.at(UnixMillis(ms));
    let first = config.network.classes.clone();
    put_in_force(&config, false, &mut ledger, &registry, 1000).expect("compiles");
    let compiled = at(&registry, 1000);
    config.network.classes.push(crate::classify::rules::ClassRule {
        name: "web".to_owned(),
        matches: crate::classify::rules::FlowMatch::default(),
    });
    put_in_force(&config, false, &mut ledger, &registry, 2000).expect("compiles");
    assert!(Arc::ptr_eq(&at(&registry, 1000), &compiled), "it was in force");
    assert!(!Arc::ptr_eq(&at(&registry, 2000), &compiled), "this one is another");
    config.network.classes = first;
    put_in_force(&config, false, &mut ledger, &registry, 3000).expect("compiles");
    assert!(Arc::ptr_eq(&at(&registry, 3000), &compiled), "it came back");

    // A start knows nothing yet, and still compiles a text once.
    let registry = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    put_in_force(&config, false, &mut ledger, &registry, 4000).expect("compiles");
    assert!(Arc::ptr_eq(&at(&registry, 1000), &at(&registry, 3000)));
    assert!(!Arc::ptr_eq(&at(&registry, 1000), &at(&registry, 2000)));
}

/// A registry in which so many numbers are taken by other addresses.
fn crowded(taken: usize) -> Arc<Exporters> {
    let registry = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    let others: Vec<(&str, IpAddr)> =
        (0x0b00_0000..).take(taken).map(|n| ("other", core::net::Ipv4Addr::from_bits(n).into())).collect();
    assert_eq!(registry.number(&others, 0).map(|ids| ids.len()), Some(taken));
    registry
}

#[test]
fn too_many_addresses_of_exporters_are_an_error_and_the_old_ones_stay() {
    let (_directory, mut ledger, _, mut config) = fresh();
    let registry = crowded(65_530);
    at_addresses(&mut config, 0, 5);
    put_in_force(&config, false, &mut ledger, &registry, 1000).expect("they fit");
    at_addresses(&mut config, 4, 2);
    let refused = put_in_force(&config, false, &mut ledger, &registry, 2000);
    assert!(matches!(refused, Err(Error::TooMany { max: 65_535, .. })), "{refused:?}");
    let address = |n: u32| core::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into();
    assert!(registry.allows(address(0)) && !registry.allows(address(5)));
    assert_eq!(ledger.config_versions().expect("reads").len(), 1);

    // In another process the newest version comes first, and older ones only as far as they leave room.
    for (taken, fits) in [(65_535 - 8192 - 7, true), (65_535 - 8192 - 6, false)] {
        let (_directory, mut ledger, registry, mut config) = fresh();
        at_addresses(&mut config, 0, 5);
        put_in_force(&config, false, &mut ledger, &registry, 1000).expect("they fit");
        at_addresses(&mut config, 10, 2);
        let registry = crowded(taken);
        put_in_force(&config, false, &mut ledger, &registry, 2000).expect("the newest fits");
        assert!(registry.allows(address(11)));
        let at = |ms| registry.versions().1.at(UnixMillis(ms));
        assert_eq!(Arc::ptr_eq(&at(1000), &at(2000)), !fits, "{taken}");
    }
}

/// A record that came in by interface 7 and left by 9, ended at an instant.
fn crossing(end: i64) -> crate::flow::FlowRecord {
    use crate::units::IfIndex;
    crate::flow::FlowRecord {
        input: IfIndex(7),
        output: IfIndex(9),
        end: UnixMillis(end),
        ..crate::flow::FlowRecord::default()
    }
}

/// The direction of what came in by 7 and left by 9: in where 7 is the link, out where 9 is, none where neither is.
fn seen(registry: &Exporters, end: i64) -> &'static str {
    let mut out = Vec::new();
    registry.versions().1.classify(&[crossing(end)], &mut out);
    out[0].direction.as_str()
}

#[test]
fn a_name_means_what_it_meant_when_the_flow_ended() {
    use crate::classify::rules::NamedBy;
    use crate::ledger::records::interfaces::Interface;
    use crate::units::IfIndex;
    let (_directory, mut ledger, registry, mut config) = fresh();
    at_addresses(&mut config, 0, 1);
    let name =
        InterfaceName { exporter: "e0".to_owned(), by: NamedBy::Alias, pattern: "transit *".to_owned() };
    let points = vec![LinkPoint::Named(name)];
    config.network.links.push(LinkRule {
        name: "up".to_owned(),
        kind: "upstream".to_owned(),
        points,
        overhead: None,
    });
    let awaits = |registry: &Exporters| {
        registry.entry(config.exporters[0].address).expect("configured").policy.names_awaited
    };
    let waiting = put_in_force(&config, false, &mut ledger, &registry, 1000).expect("compiles").waiting;
    assert_eq!((waiting, awaits(&registry)), (vec!["e0".to_owned()], true), "nobody was told");

    let number = ledger.intern(NameKind::Exporter, &["e0"]).expect("a number")[0];
    let called = |ifindex, alias: &str| Interface {
        ifindex: IfIndex(ifindex),
        alias: alias.to_owned(),
        ..Interface::default()
    };
    // At 2000 interface 7 is the transit, and from 5000 on interface 9 is: the router started anew.
    let mut tell = |at, transit| {
        let interfaces = [called(transit, "transit A"), called(1, "inside")];
        ledger.put_interfaces(number, UnixMillis(at), true, &interfaces).expect("kept");
        let waiting = put_in_force(&config, false, &mut ledger, &registry, at).expect("compiles").waiting;
        assert_eq!((waiting, awaits(&registry)), (vec![], false));
    };
    tell(2000, 7);
    assert_eq!(
        [500, 1500, 2500].map(|end| seen(&registry, end)),
        ["in", "in", "in"],
        "also before it was told"
    );
    tell(5000, 9);
    let expected = ["in", "in", "out", "out"];
    assert_eq!([500, 4999, 5000, 9000].map(|end| seen(&registry, end)), expected);
    // Another start finds the same; so does a configuration that comes later, for what was before it.
    let again = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    put_in_force(&config, false, &mut ledger, &again, 7000).expect("compiles");
    assert_eq!([500, 4999, 5000, 9000].map(|end| seen(&again, end)), expected);
    config.network.links[0].name = "uplink".to_owned();
    put_in_force(&config, false, &mut ledger, &again, 8000).expect("compiles");
    assert_eq!([500, 4999, 5000, 9000].map(|end| seen(&again, end)), expected);
    // Only the one version was added.
    assert_eq!(ledger.config_versions().expect("reads").len(), 2);
}

#[test]
fn the_past_is_read_by_the_version_in_force_alone() {
    use crate::classify::rules::InterfaceRef;
    use crate::units::IfIndex;
    let (_directory, mut ledger, registry, mut config) = fresh();
    at_addresses(&mut config, 0, 1);
    let on = |ifindex| {
        vec![LinkPoint::Interface(InterfaceRef { exporter: "e0".to_owned(), ifindex: IfIndex(ifindex) })]
    };
    config.network.links.push(LinkRule {
        name: "up".to_owned(),
        kind: "upstream".to_owned(),
        points: on(7),
        overhead: None,
    });
    put_in_force(&config, false, &mut ledger, &registry, 1000).expect("compiles");
    let alone = Exporters::new(Arc::new(Counters::new(1, 0)));
    config.network.links[0].points = on(9);
    let refused = put_alone(&config, false, &mut ledger, &alone, 2000);
    assert!(matches!(refused, Err(Error::NotInForce)), "{refused:?}");
    put_in_force(&config, false, &mut ledger, &registry, 2000).expect("compiles");
    let sha256 = put_alone(&config, false, &mut ledger, &alone, 3000).expect("compiles");
    assert_eq!(Some(sha256), ledger.config_versions().expect("reads").pop().map(|newest| newest.sha256));
    // What ended before the newest version is another thing by it.
    assert_eq!([500, 1500, 2500].map(|end| seen(&registry, end)), ["in", "in", "out"]);
    assert_eq!([500, 1500, 2500].map(|end| seen(&alone, end)), ["out", "out", "out"]);
}
