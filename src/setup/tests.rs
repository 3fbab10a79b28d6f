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

/// A customer with a prefix.
fn customer(name: &str, prefix: [u8; 4]) -> crate::classify::rules::CustomerRule {
    use crate::classify::rules::{CustomerPrefix, CustomerRule, Prefix, Validity};
    let prefix = Prefix { address: prefix.into(), length: 24 };
    let validity = Validity::default();
    CustomerRule {
        name: name.to_owned(),
        prefixes: vec![CustomerPrefix { prefix, validity }],
        asns: vec![],
        interfaces: vec![],
        validity,
        tariff: None,
        address: vec![],
    }
}

/// The daemon's steps: names are numbered, and stored and put in force is what was compiled between.
#[test]
fn a_reload_in_steps_comes_into_force_at_the_last_one() {
    let (_directory, mut ledger, registry, mut config) = fresh();
    config.network.customers.push(customer("a", [192, 0, 2, 0]));
    let (first, before) = begin(&config, false, &mut ledger, &registry, 1000).expect("compiles");
    let whose = |last: u8| {
        let classifier = registry.versions().1.at(UnixMillis(i64::MAX));
        classifier.customer_of_address(IpAddr::from([198, 51, 100, last]), UnixMillis(9000))
    };

    config.network.customers.push(customer("b", [198, 51, 100, 0]));
    let draft = Draft::new(&config, false);
    let numbered = draft.wanted().number(&mut ledger, &registry).expect("numbers");
    let ready = draft.compile(numbered, &registry).expect("compiles");
    assert_eq!((whose(1), ledger.config_beginnings().expect("reads").len()), (None, 1), "not yet");
    // The old one can be put in force again meanwhile, as when interfaces are found to have moved.
    assert!(before.put_again(&mut ledger, &registry, 1500).expect("it is in force"));

    let (second, after) = ready.put(&mut ledger, &registry, 2000).expect("stores");
    assert!(whose(1).is_some() && second.sha256 != first.sha256);
    assert!(!before.put_again(&mut ledger, &registry, 2500).expect("no error"), "overtaken");
    assert!(whose(1).is_some(), "the old one has not come back");
    // Nothing is needed of the configuration for that, and its prefixes are still whose they were.
    drop(config);
    assert!(after.put_again(&mut ledger, &registry, 3000).expect("it is in force"));
    assert!(whose(1).is_some());
    let versions = ledger.config_versions().expect("reads");
    let stored: Vec<_> =
        versions.iter().map(|version| (version.sha256.as_str(), version.valid_from)).collect();
    assert_eq!(stored, [(first.sha256.as_str(), 1000), (second.sha256.as_str(), 2000)]);
    assert_eq!(versions[1].sha256, hex(&Sha256::digest(versions[1].text.as_bytes())), "its text's hash");
}

/// Reloads hold from when they are put in force on, in that order, whenever they were compiled.
#[test]
fn of_two_reloads_the_later_one_stays() {
    let (_directory, mut ledger, registry, mut config) = fresh();
    let mut make = |name: &str, prefix, ledger: &mut Ledger| {
        config.network.customers = vec![customer(name, prefix)];
        let draft = Draft::new(&config, false);
        let numbered = draft.wanted().number(ledger, &registry).expect("numbers");
        draft.compile(numbered, &registry).expect("compiles")
    };
    let one = make("a", [192, 0, 2, 0], &mut ledger);
    let other = make("b", [192, 0, 2, 0], &mut ledger);
    let (other, _) = other.put(&mut ledger, &registry, 1000).expect("stores");
    let (one, _) = one.put(&mut ledger, &registry, 2000).expect("stores");
    let stored = ledger.config_beginnings().expect("reads");
    let hashes: Vec<&str> = stored.iter().map(|version| version.sha256.as_str()).collect();
    assert_eq!(hashes, [other.sha256.as_str(), one.sha256.as_str()]);
    let at = |instant| {
        let held = registry.versions().1.at(UnixMillis(instant));
        held.customer_of_address(IpAddr::from([192, 0, 2, 1]), UnixMillis(instant))
    };
    assert_eq!((at(1500), at(2500)), (Some(other.customers[0]), Some(one.customers[0])));
}

#[test]
fn versions_with_the_same_prefixes_share_their_table() {
    let (_directory, mut ledger, registry, mut config) = fresh();
    let mut put = |config: &Config, registry: &Arc<Exporters>, at| {
        put_in_force(config, false, &mut ledger, registry, at).expect("compiles");
        registry.versions().1.at(UnixMillis(at))
    };
    config.network.customers.push(customer("a", [192, 0, 2, 0]));
    let first = put(&config, &registry, 1000);
    config.network.classes.push(crate::classify::rules::ClassRule {
        name: "web".to_owned(),
        matches: crate::classify::rules::FlowMatch::default(),
    });
    let second = put(&config, &registry, 2000);
    assert!(!Arc::ptr_eq(&first, &second) && second.shares_prefixes(&first));
    config.network.customers.push(customer("b", [198, 51, 100, 0]));
    let third = put(&config, &registry, 3000);
    assert!(!third.shares_prefixes(&second), "b has come");
    // In a start, which knows nothing yet, those are apart that differ.
    let registry = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    put(&config, &registry, 4000);
    let at = |instant| registry.versions().1.at(UnixMillis(instant));
    assert!(at(4000).shares_prefixes(&at(3000)) && !at(2000).shares_prefixes(&at(3000)));
}

/// A stored text is read with its prefixes, or without them, whichever way these were written.
#[test]
fn a_stored_text_is_read_with_and_without_prefixes() {
    let mut network = Network::default();
    network.customers.push(customer("a", [192, 0, 2, 0]));
    let text = serde_json::to_string(&network).expect("plain data");
    let before = text.replace(r#""192.0.2.0/24""#, r#"{"address":"192.0.2.0","length":24}"#);
    assert_ne!(text, before);
    for stored in [&text, &before] {
        let read: Network = serde_json::from_str(stored).expect("a network");
        assert_eq!(read, network);
        let mut outline = network.clone();
        outline.forget_prefixes();
        assert_eq!(Network::outline_of(stored).expect("a network"), outline);
        assert_eq!((outline.customers.len(), outline.customers[0].prefixes.len()), (1, 0));
    }
    for wrong in ["192.0.2.0", "192.0.2.0/x", "192.0.2/24"] {
        serde_json::from_str::<Network>(&text.replace("192.0.2.0/24", wrong)).expect_err(wrong);
    }
}

/// More reloads in a row than tables that one lookup goes through, each with a customer more.
#[test]
fn versions_in_a_row_are_told_apart() {
    const VERSIONS: u8 = 12;
    let (_directory, mut ledger, registry, mut config) = fresh();
    let many =
        (0..=255).flat_map(|a| (0..=9).map(move |b| customer(&format!("c{a}-{b}"), [20, a, b * 2, 0])));
    config.network.customers.extend(many);
    let from = |version: u8| 1000 * (i64::from(version) + 1);
    for version in 0..VERSIONS {
        config.network.customers.push(customer(&format!("new{version}"), [240, version, 0, 0]));
        put_in_force(&config, false, &mut ledger, &registry, from(version)).expect("compiles");
    }
    let whole = registry.versions().1.at(UnixMillis(i64::MAX)).prefix_octets();
    let again = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    put_in_force(&config, false, &mut ledger, &again, from(VERSIONS)).expect("compiles");
    for registry in [&registry, &again] {
        let versions = registry.versions().1;
        for version in 0..VERSIONS {
            let at = versions.at(UnixMillis(from(version) + 500));
            let whose = |address: [u8; 4]| at.customer_of_address(address.into(), UnixMillis(from(version)));
            assert!(whose([20, 7, 4, 1]).is_some() && whose([20, 7, 5, 1]).is_none());
            let known: Vec<bool> = (0..VERSIONS).map(|other| whose([240, other, 0, 9]).is_some()).collect();
            let expected: Vec<bool> = (0..VERSIONS).map(|other| other <= version).collect();
            assert_eq!(known, expected, "{version}");
            let is_newest = version + 1 == VERSIONS;
            assert!(is_newest || at.prefix_octets() < whole / 4, "{} octets of {whole}", at.prefix_octets());
        }
    }
}

/// What the operator says of reading and scaling is part of a version, and is found in the ledger as it was said.
#[test]
fn a_version_says_how_datagrams_are_read_and_scaled() {
    const TEXT: &str = r#"
[[exporter]]
name = "plain"
address = "192.0.2.1"
[[exporter]]
name = "told"
address = "192.0.2.2"
observes = "egress"
out_counters = "reverse"
sampling = { override = "1/100", interfaces = [{ ifindex = 3, rate = "1/512" }] }
[[exporter]]
name = "strict"
address = "192.0.2.3"
sampling = { require = true }
[[exporter]]
name = "guessed"
address = "192.0.2.4"
sampling = { default = "1/7" }
"#;
    let (_directory, mut ledger, registry, _) = fresh();
    let parse =
        |text: &str| Config::parse(text, "fluxoscope.toml", std::path::Path::new("/")).expect("right");
    let put = |text: &str, ledger: &mut Ledger| {
        put_in_force(&parse(text), false, ledger, &registry, 1000).expect("compiles").sha256
    };
    let hash = |sha256: &str| VersionHash::from_hex(sha256).expect("a hash");
    let first = hash(&put(TEXT, &mut ledger));
    let in_force = registry.policies();
    assert_eq!(in_force.version(), Some(first));
    let second = hash(&put(&TEXT.replace("1/100", "1/1"), &mut ledger));
    let third = hash(&put(&TEXT.replace("reverse", "same"), &mut ledger));
    assert!(first != second && second != third && third != first);
    let stored = policies(first, &mut ledger).expect("reads").expect("is there");
    assert_eq!(stored, *in_force);
    assert_eq!(stored, Policies::new(Some(first), &parse(TEXT).exporters));
    // And the same text again is the same version.
    assert_eq!(hash(&put(TEXT, &mut ledger)), first);
    assert_eq!(registry.policies(), in_force);
    assert!(policies(VersionHash([7; 32]), &mut ledger).expect("reads").is_none());
    // Of a configuration that says nothing of it, the text is what it always was.
    let silent = parse("[[exporter]]\nname = \"plain\"\naddress = \"192.0.2.1\"\n");
    assert!(!serde_json::to_string(&silent.network).expect("a text").contains("policies"));
}
