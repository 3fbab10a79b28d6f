use core::net::SocketAddr;
use std::path::Path;

use super::sections::UnknownExporters;
use super::*;
use crate::classify::rules::{InterfaceName, InterfaceRef, LinkPoint, NamedBy};
use crate::exporter::{Observes, OutCounters, OutputZero};
use crate::flow::Family;
use crate::meter::BucketRule;
use crate::units::{Asn, IfIndex, RateSource, UnixMillis};

/// The design's example, and the other options of the network.
const EXAMPLE: &str = r#"
[receive]
listen = ["0.0.0.0:2055", "[::1]:2055"]
sflow = ["0.0.0.0:6343"]
processors = 2
unknown_exporters = "reject"

[[exporter]]
name = "ce1"
address = "192.0.2.1"
observes = "ingress"
sampling = { override = "1/1000" }

[[exporter]]
address = "2001:db8::1"
output_zero = "discarded"
out_counters = "reverse"
observes = "both"
sampling.require = true
[[exporter]]
name = "gw"
address = "192.0.2.3"
sampling = { default = "2/3", interfaces = [ { ifindex = 7, rate = "1/64" }, { ifindex = 3, rate = "1/512" } ] }

[[link]]
name = "transit-a"
kind = "upstream"
interfaces = [ { exporter = "ce1", ifindex = 12 }, { exporter = "2001:db8::1", ifindex = 12 } ]
[[link]]
name = "whole"
kind = "research"
interfaces = [ { exporter = "gw" } ]

[[traffic_class]]
name = "web"
match = { protocol = "tcp", port = [80, 443, "8000-8099"] }

[[traffic_class]]
name = "ours"
match = { asn = 64500, dscp = [46], family = "ipv6", exporter = "gw", source_prefix = "10.0.0.0/8", protocol = [17, "gre"] }

[[customer]]
name = "campus"
prefixes = ["203.0.113.0/24", { prefix = "2001:db8:40::/48", valid_from = 2026-01-01, valid_to = "2026-02-01T00:00:00+01:00" }]
asns = [64500]
interfaces = [ { exporter = "ce1", ifindex = 3 } ]
tariff = "transit-eu"
valid_from = 2025-01-01
address = ["Campus", "Hill Road"]

[meter]
bucket = "end"

[ledger]
url = "postgres://flux@db/flux"
flush = "30s"

[snmp]
communities = ["public"]
sources = "127.0.0.0/8"
"#;

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, "fluxoscope.toml", Path::new(""))
}

/// Parses what must not parse; each of `expected` must occur in what is said, and there is one problem for each.
fn check(text: &str, expected: &[&str]) {
    let problems = parse(text).expect_err(text);
    let shown = problems.to_string();
    for part in expected {
        assert!(shown.contains(part), "`{part}` is not said of\n{text}\nbut:\n{shown}");
    }
    assert_eq!(problems.count(), expected.len(), "{shown}");
}

#[test]
fn a_customer_s_tariff_may_change_on_dates() {
    let customer = |more: &str| format!("[[customer]]\nname = \"campus\"\ntariff = \"a\"\n{more}\n");
    let dated = "tariffs = [ { tariff = \"b\", valid_from = 2026-02-01 }, { tariff = \"c\", valid_from = 2026-03-10 } ]";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Config::load(&file)
    };
    let network = load(&customer(dated)).unwrap().network;
    assert_eq!(network.customers[0].tariff.as_deref(), Some("a"));
    let shown: Vec<String> = network
        .assignments
        .iter()
        .map(|change| {
            format!("{} {} {}", change.customer, change.tariff, crate::period::rfc3339(change.from))
        })
        .collect();
    assert_eq!(shown, ["campus b 2026-02-01T00:00:00Z", "campus c 2026-03-10T00:00:00Z"]);
    // Configurations without dates are stored as they were.
    let plain = load(&customer("")).unwrap().network;
    assert!(!serde_json::to_string(&plain).unwrap().contains("assignments"));
    for (wrong, said) in [
        (dated.replace("2026-02-01", "2026-03-10"), "dates of tariffs ascend"),
        (
            dated.replace("2026-02-01", "2026-02-01T06:00:00Z"),
            "a tariff changes on a date, not at a time of day",
        ),
        (dated.replace(", valid_from = 2026-02-01", ""), "valid_from"),
    ] {
        let error = load(&customer(&wrong)).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn the_example_is_read() {
    let config = parse(EXAMPLE).unwrap_or_else(|problems| panic!("{problems}"));
    let listen: Vec<SocketAddr> = vec!["0.0.0.0:2055".parse().unwrap(), "[::1]:2055".parse().unwrap()];
    assert_eq!(config.receive.listen, listen);
    assert_eq!(config.receive.processors, 2);
    assert_eq!(config.receive.unknown_exporters, Some(UnknownExporters::Reject));
    assert_eq!(config.meter.bucket, BucketRule::End);
    assert_eq!((config.ledger.url.as_str(), config.ledger.flush_ms), ("postgres://flux@db/flux", 30_000));
    let snmp = config.snmp.expect("an agent");
    assert_eq!((snmp.communities, snmp.sources.len()), (vec!["public".to_owned()], 1));

    let [ce1, unnamed, gw] = &config.exporters[..] else { panic!("three exporters") };
    let over = ce1.sampling.over.expect("an override");
    assert_eq!((over.numerator(), over.denominator(), over.source()), (1000, 1, RateSource::Override));
    assert_eq!((unnamed.name.as_str(), unnamed.observes), ("2001:db8::1", Observes::Both));
    assert_eq!((unnamed.output_zero, unnamed.sampling.require), (OutputZero::Discarded, true));
    assert_eq!((unnamed.out_counters, gw.out_counters), (Some(OutCounters::Reverse), None));
    let default = gw.sampling.default.expect("a default");
    assert_eq!((default.numerator(), default.denominator(), default.source()), (3, 2, RateSource::Default));

    let mapped = gw.sampling.interfaces.iter().map(|(interface, rate)| (interface.0, rate.numerator()));
    assert_eq!(mapped.collect::<Vec<_>>(), [(3, 512), (7, 64)]);

    let network = &config.network;
    let twelve = |exporter: &str| {
        LinkPoint::Interface(InterfaceRef { exporter: exporter.to_owned(), ifindex: IfIndex(12) })
    };
    assert_eq!(network.links[0].points, [twelve("ce1"), twelve("2001:db8::1")]);
    assert_eq!(network.links[1].points, [LinkPoint::WholeExporter("gw".to_owned())]);
    let web = &network.classes[0].matches;
    assert_eq!((&web.protocol[..], &web.port[..]), (&[6][..], &[(80, 80), (443, 443), (8000, 8099)][..]));
    let ours = &network.classes[1].matches;
    assert_eq!(
        (&ours.protocol[..], &ours.family[..], &ours.dscp[..]),
        (&[17, 47][..], &[Family::V6][..], &[46][..])
    );
    let campus = &network.customers[0];
    // 1 January 2026 is day 20454 since the epoch, 1 February day 20485; 2025 began on day 20089.
    let validity = campus.prefixes[1].validity;
    assert_eq!(validity.from, Some(UnixMillis(20_454 * 86_400_000)));
    assert_eq!(validity.to, Some(UnixMillis(20_485 * 86_400_000 - 3_600_000)));
    assert_eq!(campus.validity.from, Some(UnixMillis(20_089 * 86_400_000)));
    assert_eq!((&campus.asns[..], campus.tariff.as_deref()), (&[Asn(64500)][..], Some("transit-eu")));
}

#[test]
fn a_network_survives_the_ledger() {
    let network = parse(EXAMPLE).expect("valid").network;
    let text = serde_json::to_string(&network).expect("plain data");
    let back: Network = serde_json::from_str(&text).expect("its own text");
    assert_eq!(back, network);
    assert_eq!(serde_json::to_string(&back).expect("plain data"), text, "canonical");
}

#[test]
fn nothing_is_every_default() {
    let parsed = parse("").expect("an empty file is a configuration");
    assert_eq!(Config { files: Vec::new(), ..parsed }, Config::builtin());
}

/// The shipped example: as it is, and with every option uncommented, it is the default.
#[test]
fn the_shipped_example_shows_the_defaults() {
    let shipped = include_str!("../../ops/fluxoscope.example.toml");
    let is_option = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    let no_default = |line: &&str| line.ends_with("# no default");
    let options = shipped.lines().filter(is_option).count();
    assert_eq!(options, 74, "every option is there");
    let mut text = String::new();
    for line in shipped.lines().filter(|line| !no_default(line)) {
        text.push_str(if is_option(&line) { &line[1..] } else { line });
        text.push('\n');
    }
    for (text, snmp) in [(shipped, None), (text.as_str(), Some(snmp::Config::default()))] {
        let parsed = parse(text).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(Config { files: Vec::new(), ..parsed }, Config { snmp, ..Config::builtin() });
    }
    // The examples of the network are valid, too.
    let network: String = shipped
        .split_once("by default.")
        .expect("the part about the network")
        .1
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or("")))
        .filter(|line| !line.starts_with("files ="))
        .collect();
    let parsed = parse(&network).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((parsed.exporters.len(), parsed.network.customers.len()), (1, 1));
}

#[test]
fn every_error_at_once_with_its_place() {
    let text = "\
[receive]
listne = [\"0.0.0.0:2055\"]
processors = \"two\"
socket_buffer = 1.5

[ledger]
flush = 10
url = \"oracle://x\"

[metre]
";
    check(
        text,
        &[
            "fluxoscope.toml:2:1",
            "expected an integer",
            "expected a size",
            "expected a duration",
            "the ledger's `url` begins with",
            "did you mean `meter`?",
        ]
        .map(|part| if part.starts_with("expected an integer") { "found a string" } else { part }),
    );
    let shown = parse(text).expect_err("wrong").to_string();
    assert!(shown.contains("did you mean `listen`?") && shown.contains("^^^^^^"), "{shown}");
    assert!(shown.ends_with("6 errors\n"), "{shown}");
}

#[test]
fn a_syntax_error_has_its_place() {
    let problems = parse("[receive]\nlisten = [\n\"a\"\n[meter]\n").expect_err("not TOML").to_string();
    assert!(problems.contains("not valid TOML") && problems.contains("fluxoscope.toml:"), "{problems}");
}

const CE1: &str = "[[exporter]]\nname = \"ce1\"\naddress = \"192.0.2.1\"\n";

#[test]
fn exporters() {
    check(
        &format!("{CE1}[[exporter]]\nname = \"ce1\"\naddress = \"192.0.2.2\"\n"),
        &["there is already exporter `ce1`, at fluxoscope.toml:2"],
    );
    check(
        &format!("{CE1}[[exporter]]\nname = \"ce2\"\naddress = \"192.0.2.1\"\n"),
        &["192.0.2.1 is already the address of an exporter, at fluxoscope.toml:1"],
    );
    check(
        "[[exporter]]\nname = \"a\\tb\"\naddress = \"::\"\n",
        &["control characters", "cannot be the source"],
    );
    check("[[exporter]]\nname = \"a\"\n", &["`address` is missing"]);
    check("[[exporter]]\naddress = \"192.0.2.1:2055\"\n", &["without a port"]);
    check(&format!("{CE1}observes = \"egres\""), &["did you mean \"egress\"?"]);
    check(&format!("{CE1}out_counters = \"revers\""), &["did you mean \"reverse\"?"]);
    let polled = |snmp: &str| format!("{CE1}snmp = {{ {snmp} }}");
    check(&polled("version = \"3\""), &["`user` is missing"]);
    check(&polled("version = \"1\", community = \"x\""), &["write \"2c\" or \"3\""]);
    check(&polled("version = \"2c\""), &["one of `community`, `community_file`, `community_env` is needed"]);
    check(&polled("version = \"2c\", community = \"\""), &["one line, and not empty"]);
    check(&polled("version = \"2c\", community_env = \"FLUXOSCOPE_NO_SUCH\""), &["the environment has no"]);
    check(
        &polled("version = \"3\", user = \"u\", priv = \"AES-128\""),
        &["no privacy without authentication"],
    );
    check(
        &polled("version = \"3\", user = \"u\", auth = \"SHA-256\", secrets = \"nowhere\""),
        &["cannot read `nowhere`"],
    );
    check(
        &format!("{CE1}sampling = {{ override = \"1/10\", default = \"1/5\" }}"),
        &["`default` would never apply"],
    );
    check(&format!("{CE1}sampling = {{ override = \"1/10\", require = true }}"), &["wait for nothing"]);
    check(
        &format!("{CE1}sampling = {{ default = \"1/10\", require = true }}"),
        &["waits for an announcement"],
    );
    check(&format!("{CE1}sampling = {{ override = 1000 }}"), &["expected a sampling rate"]);
    let mapped = |entries: &str| format!("{CE1}sampling.interfaces = [{entries}]");
    check(&mapped("{ ifindex = 3 }"), &["`rate` is missing"]);
    check(&mapped("{ rate = \"1/2\" }"), &["`ifindex` is missing"]);
    check(&mapped("{ ifindex = 3, rate = \"1/2\", name = \"a\" }"), &["name"]);
    let twice = "{ ifindex = 3, rate = \"1/2\" }, { ifindex = 3, rate = \"1/4\" }";
    check(&mapped(twice), &["has a sampling rate already"]);
}

#[test]
fn links() {
    let link =
        |name: &str, interfaces: &str| format!("[[link]]\nname = \"{name}\"\ninterfaces = {interfaces}\n");
    let one = "[ { exporter = \"ce1\", ifindex = 1 } ]";
    let whole = "[ { exporter = \"ce1\" } ]";
    let two = |a: &str, b: &str| format!("{CE1}{}{}", link("a", a), link("b", b));
    check(&two(one, one), &["interface 1 of `ce1` overlaps what is on link `a`, at fluxoscope.toml:6"]);
    check(
        &two(one, whole),
        &["exporter `ce1` as a whole overlaps what is on link `a`, at fluxoscope.toml:6"],
    );
    check(&two(whole, one), &["interface 1 of `ce1` overlaps what is on link `a`"]);
    check(&two(whole, whole), &["as a whole overlaps"]);
    check(&format!("{CE1}{}", link("a", "[]")), &["at least one interface"]);
    check(
        &format!("{CE1}{}", link("a", "[ { exporter = \"ce2\", ifindex = 1 } ]")),
        &["did you mean `ce1`?"],
    );
    check(
        &format!("{CE1}{}", link("a", "[ { exporter = \"ce1\", ifname = \"xe-0/0/1\" } ]")),
        &["`ce1` is not asked over SNMP what its interfaces are called"],
    );
    check(
        &format!("{CE1}{}", link("a", "[ { exporter = \"ce1\", ifindex = 0 } ]")),
        &["between 1 and 4294967295"],
    );
    check(&format!("{CE1}[[link]]\nname = \"a\"\n"), &["`interfaces` is missing"]);
}

#[test]
fn interfaces_by_name() {
    let ce1 = format!("{CE1}snmp = {{ version = \"2c\", community = \"public\" }}\n");
    let link = |name: &str, interface: &str| {
        format!(
            "[[link]]\nname = \"{name}\"\noverhead = 22\ninterfaces = [ {{ exporter = \"ce1\", {interface} }} ]\n"
        )
    };
    let text = format!(
        "{ce1}{}{}{}",
        link("a", "ifname = \"xe-0/0/1\""),
        link("b", "ifalias = \"transit *\""),
        link("c", "ifdescr = \"Ten?\"")
    );
    let config = parse(&text).unwrap();
    let named = |by, pattern: &str| {
        LinkPoint::Named(InterfaceName { exporter: "ce1".to_owned(), by, pattern: pattern.to_owned() })
    };
    let points: Vec<&LinkPoint> = config.network.links.iter().flat_map(|link| &link.points).collect();
    let expected = [
        named(NamedBy::Name, "xe-0/0/1"),
        named(NamedBy::Alias, "transit *"),
        named(NamedBy::Description, "Ten?"),
    ];
    assert_eq!(points, expected.iter().collect::<Vec<_>>());
    assert_eq!(config.network.links.iter().map(|link| link.overhead).collect::<Vec<_>>(), [Some(22); 3]);
    let whole = "[[link]]\nname = \"w\"\ninterfaces = [ { exporter = \"ce1\" } ]\n";
    let a = link("a", "ifname = \"xe-0/0/1\"");
    check(
        &format!("{ce1}{a}{}", link("b", "ifname = \"xe-0/0/1\"")),
        &["`xe-0/0/1` of `ce1` overlaps what is on link `a`"],
    );
    check(&format!("{ce1}{a}{whole}"), &["as a whole overlaps what is on link `a`"]);
    check(&format!("{ce1}{}", link("a", "ifname = \"x\", ifindex = 1")), &["one of `ifindex`, `ifname`"]);
    check(&format!("{ce1}{}", link("a", "ifname = \"\"")), &["no interface is called so"]);
}

#[test]
fn credentials_come_from_files_and_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secrets"), "first passphrase\nsecond passphrase\n").unwrap();
    std::fs::write(dir.path().join("community"), "s3cret\n").unwrap();
    let text = format!(
        "{CE1}snmp = {{ version = \"3\", user = \"flux\", auth = \"SHA-256\", priv = \"AES-128\", secrets = \"secrets\", port = 1161 }}\n\
         [[exporter]]\nname = \"ce2\"\naddress = \"192.0.2.2\"\n\
         snmp = {{ version = \"2c\", community_file = \"community\", address = \"2001:db8::9\", tables = false }}\n"
    );
    let file = dir.path().join("f.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(&file).unwrap();
    use crate::poll::{Authentication, Credentials, Privacy, Secret};
    let user = Credentials::User {
        name: "flux".to_owned(),
        auth: Some((Authentication::Sha256, Secret::new("first passphrase"))),
        privacy: Some((Privacy::Aes128, Secret::new("second passphrase"))),
    };
    assert_eq!(
        (&config.targets[0].credentials, config.targets[0].address.to_string()),
        (&user, "192.0.2.1:1161".to_owned())
    );
    let second = &config.targets[1];
    assert_eq!(second.credentials, Credentials::Community(Secret::new("s3cret")));
    assert_eq!((second.address.to_string(), second.tables), ("[2001:db8::9]:161".to_owned(), false));
    let shown = format!("{config:?}");
    assert!(!shown.contains("passphrase") && !shown.contains("s3cret"), "{shown}");
    // A passphrase that is too short is not repeated.
    std::fs::write(dir.path().join("secrets"), "short12\n").unwrap();
    let said = Config::load(&file).unwrap_err().to_string();
    assert!(said.contains("less than 8 octets") && !said.contains("short12"), "{said}");
}

#[test]
fn traffic_classes() {
    let class = |matches: &str| format!("[[traffic_class]]\nname = \"c\"\nmatch = {matches}\n");
    check(&class("{}"), &["would take every flow"]);
    check(&class("{ port = 70000 }"), &["between 0 and 65535"]);
    check(&class("{ prefix = \"10.0.0.1/8\", dscp = 46 }"), &["write `10.0.0.0/8`"]);
    check(&class("{ protocol = \"quic\", dscp = 46 }"), &["is not a protocol"]);
    check(&class("{ exporter = \"x\", dscp = 46 }"), &["there is no exporter `x`"]);
    check(&class("{ dcsp = 46 }"), &["did you mean `dscp`?"]);
    check("[[traffic_class]]\nname = \"default\"\nmatch = { dscp = 46 }\n", &["choose another name"]);
}

#[test]
fn customers() {
    let customer = |name: &str, rest: &str| format!("[[customer]]\nname = \"{name}\"\n{rest}\n");
    for reserved in ["unassigned", "through", "local", "discarded"] {
        check(&customer(reserved, ""), &["choose another one"]);
    }
    check(&customer("a/b", ""), &["must not hold a slash"]);
    check(&customer("a", "prefixes = [\"10.0.0.0/8\", \"10.0.0.0/8\"]"), &["10.0.0.0/8 is already listed"]);
    let held = "prefixes = [\"10.0.0.0/8\"]\nasns = [1]";
    check(
        &format!("{}{}", customer("a", held), customer("b", held)),
        &[
            "10.0.0.0/8 already belongs to `a` at that time, at fluxoscope.toml:3",
            "AS 1 already belongs to `a` at that time, at fluxoscope.toml:4",
        ],
    );
    let interface = "interfaces = [ { exporter = \"ce1\", ifindex = 1 } ]";
    check(
        &format!("{CE1}{}{}", customer("a", interface), customer("b", interface)),
        &["interface 1 of `ce1` already belongs to `a`"],
    );
    check(
        &format!("{CE1}{}", customer("a", "interfaces = [ { exporter = \"ce1\" } ]")),
        &["`ifindex` is missing"],
    );
    check(
        &customer("a", "valid_from = 2026-02-01\nvalid_to = 2026-01-01"),
        &["ends before it begins (2026-02-01)"],
    );
    check(&customer("a", "valid_from = 2026-02-01T00:00:00"), &["is not an instant"]);
    check(&customer("a", "prefixes = \"10.0.0.0/8\""), &["expected a list of prefixes"]);
}

#[test]
fn a_customers_interface_is_not_on_a_link() {
    let text = format!(
        "{CE1}[[exporter]]\nname = \"gw\"\naddress = \"192.0.2.2\"\n\
         [[link]]\nname = \"a\"\ninterfaces = [{{ exporter = \"ce1\", ifindex = 1 }}, {{ exporter = \"gw\" }}]\n\
         [[customer]]\nname = \"c\"\n\
         interfaces = [{{ exporter = \"ce1\", ifindex = 1 }}, {{ exporter = \"gw\", ifindex = 1 }}]\n"
    );
    check(
        &text,
        &["interface 1 of `ce1` is on link `a`, at fluxoscope.toml:9", "`gw` as a whole is link `a`"],
    );
}

#[test]
fn who_may_send() {
    // What the file says, and whether a stranger is then taken from the network, from a capture, and anybody at all
    // from the network.
    for (choice, exporter, network, capture, nobody) in [
        ("", "", true, true, false),
        ("", CE1, false, true, false),
        ("unknown_exporters = \"accept\"", "", true, true, false),
        ("unknown_exporters = \"accept\"", CE1, true, true, false),
        ("unknown_exporters = \"reject\"", "", false, false, true),
        ("unknown_exporters = \"reject\"", CE1, false, false, false),
    ] {
        let text = format!("[receive]\n{choice}\n{exporter}");
        let config = parse(&text).expect("valid");
        let accepts = |intake| config.accepts_unknown_exporters(intake);
        assert_eq!((accepts(Intake::Network), accepts(Intake::Capture)), (network, capture), "{text}");
        assert_eq!(config.rejects_everything(Intake::Network), nobody, "{text}");
    }
}

proptest::proptest! {
    /// Whatever stands in a file: a configuration or problems, never a panic.
    #[test]
    fn no_text_is_too_strange(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "[receive]", "[[exporter]]", "[[link]]", "[[customer]]", "[[traffic_class]]", "[customers]", "\n", " = ",
            "name", "address", "interfaces", "match", "prefixes", "sampling", "files", "listen", "[", "]", "{", "}",
            "\"", "\"192.0.2.1\"", "\"x/0\"", "1", "-1", "1.5", "2026-01-01", "07:32:00", ",", "ä", "\u{0}", "#",
            "exporter = 1\n", "customer = []\n", "snmp = 5\n", "name = \"ce1\"\n", "address = \"::1\"\n",
        ]), 0..40),
    ) {
        let text: String = parts.concat();
        if let Err(problems) = parse(&text) {
            proptest::prop_assert!(problems.count() > 0 && !problems.to_string().is_empty());
        }
        let _ = customers_from_csv(text.as_bytes(), "new.csv");
    }

    /// What the import writes, the configuration reads, to the same names.
    #[test]
    fn any_name_survives_the_import(name in "[^\\p{Cc}]{1,16}") {
        let csv = format!("prefix,name\n10.0.0.0/8,\"{}\"\n", name.replace('"', "\"\""));
        if let Ok(toml) = customers_from_csv(csv.as_bytes(), "new.csv") {
            let customers = parse(&toml).expect("its own output").network.customers;
            proptest::prop_assert_eq!(customers[0].name.as_str(), name.trim());
        }
    }
}

#[test]
fn a_prefix_may_change_hands() {
    let text = "
[[customer]]
name = \"a\"
prefixes = [{ prefix = \"10.0.0.0/8\", valid_to = 2026-01-01 }, \"10.1.0.0/16\"]
[[customer]]
name = \"b\"
valid_from = 2026-01-01
prefixes = [\"10.0.0.0/8\"]
";
    parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    check(&text.replace("valid_from = 2026-01-01", "valid_from = 2025-12-31"), &["already belongs to `a`"]);
}

#[test]
fn addresses_listened_on_once() {
    check(
        "[receive]\nlisten = [\"0.0.0.0:2055\"]\nsflow = [\"0.0.0.0:2055\"]\n[snmp]\nlisten = \"0.0.0.0:2055\"",
        &["0.0.0.0:2055 is already listened on, at fluxoscope.toml:2", "fluxoscope.toml:5:10"],
    );
    let free = "[receive]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]";
    parse(free).expect("port 0 is any free port");
}

#[test]
fn customer_files_are_read_and_blamed() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let main = write("main.toml", "[customers]\nfiles = [\"one.toml\", \"two.toml\"]\n");
    write("one.toml", "[[customer]]\nname = \"a\"\nprefixes = [\"10.0.0.0/8\"]\n");
    write("two.toml", "[[customer]]\nname = \"b\"\nprefixes = [\"10.0.0.0/16\"]\n");
    let config = Config::load(&main).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.network.customers.len(), 2);
    assert_eq!(config.files.len(), 3);
    assert_eq!(config.tariffs, dir.path().join("tariffs"));

    write("two.toml", "[[customer]]\nname = \"a\"\nprefixes = [\"10.0.0.0/8\"]\n[ledger]\nurl = \"x\"\n");
    let problems = Config::load(&main).expect_err("wrong");
    let shown = problems.to_string();
    assert_eq!(problems.count(), 3, "{shown}");
    for part in ["two.toml:2:8", "two.toml:3:13", "one.toml:2;", "one.toml:3;", "unknown key `ledger`"] {
        let part = part.replace(";", "");
        assert!(shown.contains(&part), "`{part}` is not in\n{shown}");
    }
    std::fs::remove_file(dir.path().join("two.toml")).expect("removed");
    let shown = Config::load(&main).expect_err("wrong").to_string();
    assert!(shown.contains("main.toml:2:22") && shown.contains("cannot read"), "{shown}");
    let shown = Config::load(&dir.path().join("none.toml")).expect_err("wrong").to_string();
    assert!(shown.contains("cannot read") && shown.contains("1 error\n"), "{shown}");
}

#[test]
fn customers_from_a_spreadsheet() {
    let csv = "\u{feff}name,prefix,asn,tariff,valid_from,valid_to\r\n\
        \"Smith, \"\"Jo\"\" & Co\",10.0.0.0/8,,eu,2026-01-01,\r\n\
        campus,192.0.2.0/24,AS64500,,,\r\n\
        \r\n\
        campus,2001:db8::/32,,eu,2026-01-01,2026-07-01\r\n\
        \"Smith, \"\"Jo\"\" & Co\",,64501,,2026-01-01,\r\n";
    let toml = customers_from_csv(csv.as_bytes(), "new.csv").unwrap_or_else(|problems| panic!("{problems}"));
    let customers = parse(&toml).unwrap_or_else(|problems| panic!("{problems}\n{toml}")).network.customers;
    let [smith, campus] = &customers[..] else { panic!("two customers") };
    assert_eq!((smith.name.as_str(), &smith.asns[..]), ("Smith, \"Jo\" & Co", &[Asn(64501)][..]));
    assert_eq!(smith.validity.from, Some(UnixMillis(20_454 * 86_400_000)));
    assert_eq!((campus.name.as_str(), campus.tariff.as_deref()), ("campus", Some("eu")));
    assert_eq!(campus.validity, Default::default());
    assert_eq!(campus.prefixes[0].validity, Default::default());
    assert_eq!(campus.prefixes[1].validity.from, Some(UnixMillis(20_454 * 86_400_000)));
}

#[test]
fn every_error_of_a_spreadsheet() {
    let csv = "name,prefix,asn,valid_to\n\
        a,10.0.0.1/8,,\n\
        b,10.0.0.0/8,0,\n\
        ,,,\n\
        local,,,\n\
        c,10.0.0.0/8,,\n\
        d,x\n\
        e,,,\"2026\n";
    let problems = customers_from_csv(csv.as_bytes(), "new.csv").expect_err("wrong");
    let shown = problems.to_string();
    let expected = [
        ("new.csv:2:3", "10.0.0.0/8"),
        ("new.csv:3:14", "is not an AS number"),
        ("new.csv:4:1", "without a name"),
        ("new.csv:5:1", "choose another one"),
        ("new.csv:6:3", "already belongs to `b` at that time, at new.csv:3"),
        ("new.csv:7:1", "2 fields, but the header has 4"),
        ("new.csv:8:5", "never closed"),
    ];
    for (place, message) in expected {
        assert!(shown.contains(place) && shown.contains(message), "{place} {message} not in\n{shown}");
    }
    assert_eq!(problems.count(), expected.len(), "{shown}");
    assert!(customers_from_csv(&b""[..], "new.csv").is_err());
    assert!(customers_from_csv(&b"\xff\xfe"[..], "new.csv").is_err());
    assert!(customers_from_csv(&b"prefix\n10.0.0.0/8\n"[..], "new.csv").is_err());
}

#[test]
fn who_may_ask_over_snmp_and_who_is_told() {
    let text = "[snmp]\ncommunity_view = \"names\"\nalarm_silent = \"90s\"\n\
        [[snmp.view]]\nname = \"names\"\ninclude = [\"1.3.6.1.2.1.1\", \".1.3.6.1.4.1\"]\nexclude = \"1.3.6.1.4.1.9\"\n\
        [[snmp.user]]\nname = \"a\"\n\
        [[snmp.user]]\nname = \"b\"\nview = \"names\"\nsecurity = \"authNoPriv\"\n\
        [[snmp.notify]]\naddress = \"192.0.2.9:162\"\ninform = true\n\
        [[snmp.notify]]\naddress = \"[2001:db8::9]:162\"\nversion = \"3\"\nuser = \"a\"\n\
        [metrics]\nlisten = \"127.0.0.1:9655\"\n";
    let config = parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.metrics, Some(([127, 0, 0, 1], 9655).into()));
    let snmp = config.snmp.expect("an agent");
    let rules =
        |name: &str, view: &str, security| snmp::UserRules { name: name.into(), view: view.into(), security };
    assert_eq!(snmp.users, [rules("a", "default", None), rules("b", "names", Some(snmp::Level::AuthNoPriv))]);
    let view = &snmp.views["names"];
    assert_eq!(view.include, [vec![1, 3, 6, 1, 2, 1, 1], vec![1, 3, 6, 1, 4, 1]]);
    assert_eq!((&view.exclude[0][..], snmp.view.as_str()), (&[1, 3, 6, 1, 4, 1, 9][..], "names"));
    assert_eq!((snmp.alarms.silent_ms, snmp.alarms.loss_percent), (90_000, 1));
    let protocols: Vec<_> = snmp.notify.into_iter().map(|target| target.protocol).collect();
    let community = "public".to_owned();
    let expected =
        [snmp::Protocol::V2c { community, inform: true }, snmp::Protocol::V3 { user: "a".to_owned() }];
    assert_eq!(protocols, expected);

    check("[snmp]\ncommunity_view = \"nams\"\n", &["there is no [[snmp.view]] of the name `nams`"]);
    check("[snmp]\n[[snmp.view]]\nname = \"default\"\n", &["there is a view of that name"]);
    check(
        "[snmp]\n[[snmp.view]]\nname = \"a\"\ninclude = \"sysName\"\n",
        &["is no object identifier by number"],
    );
    check("[snmp]\n[[snmp.user]]\nname = \"two words\"\n", &["neither blanks nor control characters"]);
    check("[snmp]\n[[snmp.user]]\nname = \"a\"\nview = \"b\"\n", &["there is no [[snmp.view]]"]);
    check("[snmp]\n[[snmp.user]]\nname = \"a\"\nsecurity = \"authpriv\"\n", &["did you mean"]);
    check("[snmp]\n[[snmp.notify]]\naddress = \"192.0.2.9:162\"\nversion = \"3\"\n", &["`user` is missing"]);
    let trap = "[snmp]\n[[snmp.notify]]\naddress = \"192.0.2.9:162\"\nversion = \"3\"\nuser = \"a\"\n";
    check(&format!("{trap}auth = \"SHA-256\"\n"), &["`auth` is for informs"]);
    check(&format!("{trap}inform = true\npriv = \"AES-128\"\n"), &["no privacy without authentication"]);
    check(&format!("{trap}inform = true\nauth = \"SHA-256\"\n"), &["`secrets`, `secrets_env` is needed"]);
    let plain =
        parse(&format!("{trap}inform = true\n")).expect("informs without keys").snmp.expect("an agent");
    let user = snmp::InformUser { name: "a".into(), authentication: None, privacy: None };
    assert_eq!(plain.notify[0].protocol, snmp::Protocol::V3Inform { user });
    check("[snmp]\n[[snmp.notify]]\naddress = \"192.0.2.9\"\n", &["is not an address with a port"]);
    check("[snmp]\n[[snmp.notify]]\naddress = \"192.0.2.9:0\"\n", &["is not an address with a port"]);
    check("[snmp]\ncontact = \"Jürgen\"\n", &["at most 255 characters of ASCII"]);
    check("[snmp]\nalarm_silent = \"0s\"\n", &["every exporter is silent for no time"]);
}

#[test]
fn a_master_agent_and_the_keys_of_informs() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secrets"), "authentic passphrase\nprivate passphrase\n").unwrap();
    let text = "[snmp]\nagentx = \"unix:/var/agentx/master\"\n\
        [[snmp.notify]]\naddress = \"192.0.2.9:162\"\nversion = \"3\"\nuser = \"a\"\ninform = true\n\
        auth = \"SHA-256\"\npriv = \"AES-128\"\nsecrets = \"secrets\"\n";
    let config = Config::parse(text, "fluxoscope.toml", directory.path()).expect("a configuration");
    let snmp = config.snmp.expect("an agent");
    assert_eq!(snmp.agentx, Some(snmp::Master::Unix("/var/agentx/master".into())));
    let user = snmp::InformUser {
        name: "a".into(),
        authentication: Some((snmp::Authentication::Sha256, snmp::Passphrase::new("authentic passphrase"))),
        privacy: Some((snmp::Privacy::Aes128, snmp::Passphrase::new("private passphrase"))),
    };
    assert!(!format!("{user:?}").contains("passphrase\""));
    assert_eq!(snmp.notify[0].protocol, snmp::Protocol::V3Inform { user });
    let tcp = parse("[snmp]\nagentx = \"tcp:[::1]:705\"\n").expect("a configuration").snmp.expect("an agent");
    assert_eq!(tcp.agentx, Some(snmp::Master::Tcp("[::1]:705".into())));
    for wrong in ["/var/agentx/master", "unix:relative", "tcp:host", "tcp::705", "tcp:host:0"] {
        check(&format!("[snmp]\nagentx = \"{wrong}\"\n"), &["is neither"]);
    }
    let both = "[snmp]\nlisten = \"127.0.0.1:1161\"\nagentx = \"tcp:localhost:705\"\n";
    check(both, &["exclude each other"]);
}

/// Files of invoices are named by customers, and some file systems do not tell case apart.
#[test]
fn customers_are_told_apart_by_more_than_case() {
    let of = |names: [&str; 2]| names.map(|name| format!("[[customer]]\nname = \"{name}\"\n")).concat();
    check(&of(["Acme", "acme"]), &["`acme` and `Acme`, at fluxoscope.toml:2"]);
    check(&of(["acme", "acme"]), &["there is already customer `acme`"]);
}
