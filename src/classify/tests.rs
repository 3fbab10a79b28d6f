//! The rules of the billing point, one by one, on a small network:
//!
//! `ce1` observes ingress: interfaces 1 and 2 on link `a`, 3 on link `b`, 70000 on `b`; 11 is the port of `port`.
//! `both` observes both sides: interface 1 on link `a`. `zero` takes output 0 for discarded: interface 1 on link `a`.
//! `gw` is link `w` as a whole. `campus` has 203.0.113.0/24 and 2001:db8:40::/48, `lab` 203.0.113.128/25 from 1000 to
//! 2000 ms, `asn` AS 64500.

#![allow(clippy::cast_possible_truncation, reason = "the numbers of the tests are small")]

use core::net::IpAddr;
use std::sync::Arc;

use super::rules::{
    ClassRule, CustomerPrefix, CustomerRule, ExporterRule, FlowMatch, InterfaceRef, LinkPoint, LinkRule,
    Network, Prefix, Validity,
};
use super::*;
use crate::units::{Asn, Octets, UnixMillis};

const A: LinkId = LinkId(7);
const B: LinkId = LinkId(8);
const W: LinkId = LinkId(9);
const CAMPUS: CustomerId = CustomerId(16);
const LAB: CustomerId = CustomerId(17);
const PORT: CustomerId = CustomerId(18);
const AS: CustomerId = CustomerId(19);

const CE1: ExporterId = ExporterId(0);
const BOTH: ExporterId = ExporterId(1);
const ZERO: ExporterId = ExporterId(2);
const GW: ExporterId = ExporterId(3);
const BOTH_GW: ExporterId = ExporterId(4);
const STRANGER: ExporterId = ExporterId(900);

fn names() -> Names {
    let owned = |name: &str| name.to_owned();
    Names {
        exporters: ["ce1", "both", "zero", "gw", "both-gw"]
            .map(owned)
            .into_iter()
            .zip((0..).map(ExporterId))
            .collect(),
        links: [(owned("a"), A), (owned("b"), B), (owned("w"), W)].into(),
        customers: [("campus", CAMPUS), ("lab", LAB), ("port", PORT), ("asn", AS)]
            .map(|(n, c)| (owned(n), c))
            .into(),
        classes: [(owned("web"), ClassId(3))].into(),
    }
}

fn span(from: i64, to: i64) -> Validity {
    Validity { from: Some(UnixMillis(from)), to: Some(UnixMillis(to)) }
}

fn held(prefix: &str, validity: Validity) -> CustomerPrefix {
    let (address, length) = prefix.split_once('/').expect("a slash");
    let prefix =
        Prefix { address: address.parse().expect("an address"), length: length.parse().expect("a length") };
    CustomerPrefix { prefix, validity }
}

fn customer(name: &str, prefixes: Vec<CustomerPrefix>) -> CustomerRule {
    CustomerRule {
        name: name.to_owned(),
        prefixes,
        asns: vec![],
        interfaces: vec![],
        validity: Validity::default(),
        tariff: None,
        address: vec![],
    }
}

fn interface(exporter: &str, ifindex: u32) -> InterfaceRef {
    InterfaceRef { exporter: exporter.to_owned(), ifindex: IfIndex(ifindex) }
}

fn link(name: &str, points: Vec<LinkPoint>) -> LinkRule {
    LinkRule { name: name.to_owned(), kind: "upstream".to_owned(), points, overhead: None }
}

fn network() -> Network {
    let exporter = |name: &str, observes, output_zero| ExporterRule {
        name: name.to_owned(),
        address: IpAddr::from([192, 0, 2, 1]),
        observes,
        output_zero,
    };
    let at = |exporter: &str, ifindex| LinkPoint::Interface(interface(exporter, ifindex));
    let whole = |name: &str| LinkPoint::WholeExporter(name.to_owned());
    let always = Validity::default();
    Network {
        exporters: vec![
            exporter("ce1", Observes::Ingress, OutputZero::Unknown),
            exporter("both", Observes::Both, OutputZero::Unknown),
            exporter("zero", Observes::Ingress, OutputZero::Discarded),
            exporter("gw", Observes::Ingress, OutputZero::Unknown),
            exporter("both-gw", Observes::Both, OutputZero::Unknown),
        ],
        links: vec![
            link("a", vec![at("ce1", 1), at("ce1", 2), at("both", 1), at("zero", 1)]),
            link("b", vec![at("ce1", 3), at("ce1", 70_000), at("gw", 5)]),
            link("w", vec![whole("gw"), whole("both-gw")]),
        ],
        classes: vec![ClassRule {
            name: "web".to_owned(),
            matches: FlowMatch { protocol: vec![6], port: vec![(443, 443)], ..FlowMatch::default() },
        }],
        customers: vec![
            customer("campus", vec![held("203.0.113.0/24", always), held("2001:db8:40::/48", always)]),
            customer("lab", vec![held("203.0.113.128/25", span(1000, 2000))]),
            CustomerRule { interfaces: vec![interface("ce1", 11)], ..customer("port", vec![]) },
            CustomerRule { asns: vec![Asn(64_500)], ..customer("asn", vec![]) },
        ],
        assignments: vec![],
        policies: vec![],
    }
}

fn classifier() -> Classifier {
    Classifier::compile(&network(), &names()).expect("a network without errors")
}

/// A flow of `exporter` from `source` to `destination`, in at one interface and out at the other.
fn flow(exporter: ExporterId, input: u32, output: u32, source: &str, destination: &str) -> FlowRecord {
    let address = |text: &str| Address::from_ip(text.parse().expect("an address"));
    let ((family, source), (_, destination)) = (address(source), address(destination));
    FlowRecord {
        exporter,
        input: IfIndex(input),
        output: IfIndex(output),
        family,
        source,
        destination,
        octets: Octets::new(100),
        ..FlowRecord::default()
    }
}

fn one(classifier: &Classifier, record: FlowRecord) -> Classified {
    let mut out = Vec::new();
    classifier.classify(&[record], &mut out);
    assert_eq!(out.len(), 1);
    out[0]
}

#[track_caller]
fn check(record: FlowRecord, customer: CustomerId, link: LinkId, direction: Direction) {
    let expected = Classified { customer, link, class: ClassId::DEFAULT, direction, counts: true };
    assert_eq!(one(&classifier(), record), expected);
}

const OUTSIDE: &str = "198.51.100.9";
const INSIDE: &str = "203.0.113.9";

#[test]
fn input_on_a_link_is_in_for_the_destination() {
    check(flow(CE1, 1, 10, OUTSIDE, INSIDE), CAMPUS, A, Direction::In);
    check(flow(CE1, 70_000, 10, OUTSIDE, INSIDE), CAMPUS, B, Direction::In);
    check(flow(CE1, 2, 10, "2001:db8::1", "2001:db8:40::1"), CAMPUS, A, Direction::In);
    check(flow(CE1, 1, 10, INSIDE, OUTSIDE), CustomerId::UNASSIGNED, A, Direction::In);
}

#[test]
fn output_on_a_link_is_out_for_the_source() {
    check(flow(CE1, 10, 3, INSIDE, OUTSIDE), CAMPUS, B, Direction::Out);
    check(flow(CE1, 10, 3, OUTSIDE, INSIDE), CustomerId::UNASSIGNED, B, Direction::Out);
}

#[test]
fn both_on_links_is_through_even_on_one_link() {
    check(flow(CE1, 1, 3, OUTSIDE, INSIDE), CustomerId::THROUGH, A, Direction::In);
    check(flow(CE1, 3, 1, OUTSIDE, INSIDE), CustomerId::THROUGH, B, Direction::In);
    check(flow(CE1, 1, 2, OUTSIDE, INSIDE), CustomerId::THROUGH, A, Direction::In);
}

#[test]
fn no_link_is_local() {
    check(flow(CE1, 10, 11, INSIDE, OUTSIDE), CustomerId::LOCAL, LinkId::NONE, Direction::None);
    check(flow(CE1, 70_001, 0, INSIDE, OUTSIDE), CustomerId::LOCAL, LinkId::NONE, Direction::None);
    check(flow(STRANGER, 1, 3, OUTSIDE, INSIDE), CustomerId::LOCAL, LinkId::NONE, Direction::None);
}

#[test]
fn a_whole_exporter_goes_by_the_customers() {
    check(flow(GW, 0, 0, OUTSIDE, INSIDE), CAMPUS, W, Direction::In);
    check(flow(GW, 0, 0, INSIDE, OUTSIDE), CAMPUS, W, Direction::Out);
    check(flow(GW, 0, 0, INSIDE, INSIDE), CustomerId::LOCAL, LinkId::NONE, Direction::None);
    check(flow(GW, 0, 0, OUTSIDE, OUTSIDE), CustomerId::UNASSIGNED, W, Direction::None);
    // Its one interface on a link of its own comes first.
    check(flow(GW, 5, 0, INSIDE, INSIDE), CAMPUS, B, Direction::In);
}

#[test]
fn interface_before_prefix_before_as_number() {
    check(flow(CE1, 1, 11, OUTSIDE, INSIDE), PORT, A, Direction::In);
    check(flow(CE1, 11, 1, INSIDE, OUTSIDE), PORT, A, Direction::Out);
    let by_as = |source, destination| FlowRecord {
        source_as: Asn(source),
        destination_as: Asn(destination),
        ..flow(CE1, 1, 10, INSIDE, OUTSIDE)
    };
    check(by_as(0, 64_500), AS, A, Direction::In);
    check(by_as(64_500, 0), CustomerId::UNASSIGNED, A, Direction::In);
    let out = FlowRecord { source_as: Asn(64_500), ..flow(CE1, 10, 1, OUTSIDE, INSIDE) };
    check(out, AS, A, Direction::Out);
    let prefix_first = FlowRecord { destination_as: Asn(64_500), ..flow(CE1, 1, 10, OUTSIDE, INSIDE) };
    check(prefix_first, CAMPUS, A, Direction::In);
}

/// A flow between networks, as NetFlow v8 tells it.
fn between(source: (&str, u8), destination: (&str, u8)) -> FlowRecord {
    FlowRecord {
        networks: true,
        source_mask: source.1,
        destination_mask: destination.1,
        ..flow(CE1, 1, 10, source.0, destination.0)
    }
}

#[test]
fn a_network_is_a_customers_where_all_of_it_is() {
    let unknown = ("0.0.0.0", 0);
    let whose = |destination, expected| check(between(unknown, destination), expected, A, Direction::In);
    whose(("203.0.113.0", 25), CAMPUS);
    whose(("203.0.113.64", 26), CAMPUS);
    // The lab's, which has it for a time; campus and lab; campus and others; not told.
    check(
        FlowRecord { end: UnixMillis(1500), ..between(unknown, ("203.0.113.128", 25)) },
        LAB,
        A,
        Direction::In,
    );
    whose(("203.0.113.128", 25), CAMPUS);
    whose(("203.0.113.0", 24), CustomerId::UNASSIGNED);
    whose(("203.0.112.0", 23), CustomerId::UNASSIGNED);
    whose(unknown, CustomerId::UNASSIGNED);
    // An interface comes before, an AS number behind.
    let record = between(unknown, unknown);
    check(FlowRecord { output: IfIndex(11), ..record }, PORT, A, Direction::In);
    check(FlowRecord { destination_as: Asn(64_500), ..record }, AS, A, Direction::In);
    let ambiguous = between(unknown, ("203.0.112.0", 23));
    check(FlowRecord { destination_as: Asn(64_500), ..ambiguous }, AS, A, Direction::In);
    // The other way round.
    let out = FlowRecord { input: IfIndex(10), output: IfIndex(3), ..between(("203.0.113.0", 25), unknown) };
    check(out, CAMPUS, B, Direction::Out);
    // On a link that is a whole exporter the unknown side is nobody's.
    let whole = FlowRecord { exporter: GW, input: IfIndex(0), output: IfIndex(0), ..out };
    check(whole, CAMPUS, W, Direction::Out);
}

#[test]
fn a_class_by_prefix_takes_networks_that_lie_in_it() {
    let mut network = network();
    let prefix = |text: &str, length| Prefix { address: text.parse().expect("an address"), length };
    network.classes[0].matches = FlowMatch {
        source_prefix: vec![
            prefix("203.0.113.0", 25),
            prefix("203.0.113.128", 25),
            prefix("203.0.113.4", 30),
        ],
        ..FlowMatch::default()
    };
    let classifier = Classifier::compile(&network, &names()).expect("a network without errors");
    let class = |address, length| one(&classifier, between((address, length), ("0.0.0.0", 0))).class;
    assert_eq!(class("203.0.113.0", 24), ClassId(3));
    assert_eq!(class("203.0.113.0", 26), ClassId(3));
    assert_eq!(class("203.0.112.0", 23), ClassId::DEFAULT);
    assert_eq!(class("0.0.0.0", 0), ClassId::DEFAULT);
}

#[test]
fn an_expired_prefix_falls_back_to_the_one_around_it() {
    for (end, expected) in [(999, CAMPUS), (1000, LAB), (1999, LAB), (2000, CAMPUS)] {
        let record = flow(CE1, 1, 10, OUTSIDE, "203.0.113.200");
        check(FlowRecord { end: UnixMillis(end), ..record }, expected, A, Direction::In);
        let (address, at) = ("203.0.113.200".parse().expect("an address"), UnixMillis(end));
        assert_eq!(classifier().customer_of_address(address, at), Some(expected));
        let network = network();
        let whois = network.whois(address, at);
        let who = whois.iter().find(|entry| entry.valid).expect("a holder");
        assert_eq!(names().customers[&who.customer.name], expected);
        assert_eq!(whois.len(), 2);
    }
}

/// 10.0.0.0/8 always; /16 of two customers one after the other, with a gap; /24 inside, ended; the customer's own end.
#[test]
fn prefixes_change_hands() {
    let customers = vec![
        customer("campus", vec![held("10.0.0.0/8", Validity::default()), held("10.1.0.0/16", span(0, 100))]),
        customer("lab", vec![held("10.1.0.0/16", span(200, 300)), held("10.1.1.0/24", span(0, 250))]),
        CustomerRule {
            validity: Validity { from: None, to: Some(UnixMillis(50)) },
            ..customer("port", vec![held("10.1.1.128/25", Validity::default())])
        },
    ];
    let network = Network { customers, ..Network::default() };
    let classifier = Classifier::compile(&network, &names()).expect("no conflicts");
    let cases = [
        ("10.1.2.3", [(0, CAMPUS), (99, CAMPUS), (100, CAMPUS), (200, LAB), (299, LAB), (300, CAMPUS)]),
        ("10.1.1.1", [(-1, CAMPUS), (0, LAB), (249, LAB), (250, LAB), (299, LAB), (300, CAMPUS)]),
        ("10.1.1.200", [(-1, PORT), (49, PORT), (50, LAB), (249, LAB), (299, LAB), (300, CAMPUS)]),
    ];
    for (address, times) in cases {
        for (at, expected) in times {
            let found = classifier.customer_of_address(address.parse().expect("an address"), UnixMillis(at));
            assert_eq!(found, Some(expected), "{address} at {at}");
        }
    }
}

#[test]
fn what_the_router_dropped_is_discarded() {
    let dropped = |record| FlowRecord { forwarding_status: 0b1000_0001, ..record };
    check(dropped(flow(CE1, 1, 10, OUTSIDE, INSIDE)), CustomerId::DISCARDED, A, Direction::In);
    check(dropped(flow(CE1, 10, 3, INSIDE, OUTSIDE)), CustomerId::DISCARDED, B, Direction::Out);
    check(dropped(flow(CE1, 10, 10, INSIDE, OUTSIDE)), CustomerId::DISCARDED, LinkId::NONE, Direction::None);
    check(dropped(flow(GW, 0, 0, OUTSIDE, INSIDE)), CustomerId::DISCARDED, W, Direction::In);
    check(flow(ZERO, 1, 0, OUTSIDE, INSIDE), CustomerId::DISCARDED, A, Direction::In);
    // Where output 0 says nothing, it says nothing; forwarded (01) and consumed (11) are not dropped.
    check(flow(CE1, 1, 0, OUTSIDE, INSIDE), CAMPUS, A, Direction::In);
    for status in [0b0100_0000, 0b1100_0000] {
        let record = FlowRecord { forwarding_status: status, ..flow(CE1, 1, 10, OUTSIDE, INSIDE) };
        check(record, CAMPUS, A, Direction::In);
    }
}

#[test]
fn multicast_with_output_zero_goes_by_its_source() {
    for exporter in [CE1, ZERO] {
        check(flow(exporter, 10, 0, INSIDE, "239.1.2.3"), CAMPUS, LinkId::NONE, Direction::Out);
        check(flow(exporter, 1, 0, INSIDE, "224.2.2.2"), CAMPUS, A, Direction::Out);
        check(flow(exporter, 1, 0, OUTSIDE, "239.1.2.3"), CustomerId::UNASSIGNED, A, Direction::In);
        check(flow(exporter, 10, 0, OUTSIDE, "239.1.2.3"), CustomerId::LOCAL, LinkId::NONE, Direction::None);
        check(flow(exporter, 10, 0, "2001:db8:40::1", "ff3e::1"), CAMPUS, LinkId::NONE, Direction::Out);
    }
    check(flow(CE1, 11, 0, OUTSIDE, "239.1.2.3"), PORT, LinkId::NONE, Direction::Out);
    // With an output interface it is like any other flow; 240.0.0.0/4 is no multicast.
    check(flow(CE1, 10, 3, INSIDE, "239.1.2.3"), CAMPUS, B, Direction::Out);
    check(flow(ZERO, 10, 0, INSIDE, "240.0.0.1"), CustomerId::DISCARDED, LinkId::NONE, Direction::None);
    check(flow(GW, 0, 0, INSIDE, "239.1.2.3"), CAMPUS, W, Direction::Out);
    // The egress copies say where it went.
    let ingress = FlowRecord { observed: Observed::Ingress, ..flow(BOTH, 10, 0, INSIDE, "239.1.2.3") };
    check(ingress, CustomerId::LOCAL, LinkId::NONE, Direction::None);
}

/// (input, output, dropped) -> whether the ingress and the egress copy count.
#[test]
fn of_two_observations_one_counts() {
    let cases = [
        (1, 10, 0, true, false),
        (10, 1, 0, false, true),
        (1, 1, 0, true, false),
        (10, 11, 0, true, false),
        (10, 1, 0b1000_0000, true, true),
    ];
    let classifier = classifier();
    for (input, output, forwarding_status, ingress, egress) in cases {
        let record = |observed| FlowRecord {
            observed,
            forwarding_status,
            ..flow(BOTH, input, output, INSIDE, OUTSIDE)
        };
        let records = [record(Observed::Ingress), record(Observed::Egress), record(Observed::Unknown)];
        let mut out = Vec::new();
        let tally = classifier.classify(&records, &mut out);
        let counts: Vec<bool> = out.iter().map(|c| c.counts).collect();
        assert_eq!(counts, [ingress, egress, true], "{input} to {output}");
        let duplicates = [ingress, egress].iter().filter(|counts| !**counts).count() as u64;
        let expected = Tally {
            observation_unknown: 1,
            by_other_version: 0,
            duplicate_observations: duplicates,
            duplicate_observation_octets: duplicates * 100,
        };
        assert_eq!(tally, expected);
    }
    let whole = |observed| FlowRecord { observed, ..flow(BOTH_GW, 0, 0, INSIDE, OUTSIDE) };
    assert!(one(&classifier, whole(Observed::Ingress)).counts);
    assert!(!one(&classifier, whole(Observed::Egress)).counts);
    let single = FlowRecord { observed: Observed::Egress, ..flow(CE1, 1, 10, OUTSIDE, INSIDE) };
    assert!(one(&classifier, single).counts, "an exporter of one side is taken at its word");
}

#[test]
fn classes_come_from_the_rules() {
    let web = FlowRecord { protocol: 6, destination_port: 443, ..flow(CE1, 10, 3, INSIDE, OUTSIDE) };
    assert_eq!(one(&classifier(), web).class, ClassId(3));
}

/// More than a chunk, in one call, is as each record by itself.
#[test]
fn batches_are_as_single_records() {
    let records: Vec<FlowRecord> = (0..1000_u32)
        .map(|n| {
            let inside = format!("203.0.{}.{}", 112 + n % 3, n % 256);
            let end = UnixMillis(i64::from(n % 7) * 500);
            FlowRecord { end, ..flow(ExporterId((n % 6) as u16), n % 12, n % 5, OUTSIDE, &inside) }
        })
        .collect();
    let classifier = classifier();
    let mut out = Vec::new();
    classifier.classify(&records, &mut out);
    let singly: Vec<Classified> = records.iter().map(|record| one(&classifier, *record)).collect();
    assert_eq!(out, singly);
}

#[test]
fn versions_hold_from_their_beginning_and_the_first_before_it() {
    let other = {
        let mut network = network();
        network.customers.remove(0);
        Classifier::compile(&network, &names()).expect("no errors")
    };
    let versions = Versions::new(vec![(10_000, Arc::new(other)), (5_000, Arc::new(classifier()))]);
    let at = |end| FlowRecord { end: UnixMillis(end), ..flow(CE1, 1, 10, OUTSIDE, INSIDE) };
    let records = [9_999, 10_000, 0, 20_000, 5_000].map(at);
    let mut out = vec![one(&classifier(), records[0]); 3];
    versions.classify(&records, &mut out);
    let customers: Vec<CustomerId> = out.iter().map(|c| c.customer).collect();
    let unassigned = CustomerId::UNASSIGNED;
    assert_eq!(customers, [CAMPUS, unassigned, CAMPUS, unassigned, CAMPUS]);
    Versions::new(vec![]).classify(&records, &mut out);
    assert!(out.len() == 5 && out.iter().all(|c| c.customer == CustomerId::LOCAL));
}

#[test]
fn older_versions_are_compiled_when_a_flow_asks_and_kept_as_long_as_there_is_room() {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::sync::Arc;
    let without_campus = || {
        let mut network = network();
        network.customers.remove(0);
        Arc::new(Classifier::compile(&network, &names()).expect("no errors"))
    };
    // From 10 000 on CAMPUS is a customer. Before, in spans of 1000, it is in even ones; the one from 5000 cannot be had, and
    // the one from 8000 had two meanings.
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let older = Older::new(move |instant| {
        count.fetch_add(1, Relaxed);
        let from = instant.0.div_euclid(1000) * 1000;
        let held = |is_even: bool| if is_even { Arc::new(classifier()) } else { without_campus() };
        match from {
            5000 => None,
            8000 => Some(vec![(8000..8500, held(true)), (8500..9000, held(false))]),
            _ => Some(vec![(from..from + 1000, held(from % 2000 == 0))]),
        }
    });
    let versions = Versions::new(vec![(10_000, Arc::new(classifier()))]).after(Some(older));
    let at = |end| FlowRecord { end: UnixMillis(end), ..flow(CE1, 1, 10, OUTSIDE, INSIDE) };
    let seen = |ends: &[i64]| {
        let records: Vec<FlowRecord> = ends.iter().map(|&end| at(end)).collect();
        let mut out = Vec::new();
        let tally = versions.classify(&records, &mut out);
        let is_campus: Vec<bool> = out.iter().map(|c| c.customer == CAMPUS).collect();
        (is_campus, tally.by_other_version, asked.swap(0, Relaxed))
    };
    assert_eq!(seen(&[10_000, 20_000]), (vec![true; 2], 0, 0));
    assert_eq!(seen(&[9_000, 9_999, 10_000, 8_499, 8_500]), (vec![false, false, true, true, false], 0, 2));
    assert_eq!(seen(&[8_000, 9_500, 8_999, 9_001]), (vec![true, false, false, false], 0, 0), "they are kept");
    assert_eq!(seen(&[7_000, 9_500]), (vec![false, false], 0, 1));
    assert_eq!(seen(&[8_000]), (vec![true], 0, 0), "there is room for small ones");
    // Nobody knows that version: the flows count by the next one that is there, and that is counted.
    assert_eq!(seen(&[5_000, 5_999, 10_000]), (vec![true; 3], 2, 1));
    assert_eq!(seen(&[i64::MIN / 2, -1]), (vec![true, false], 0, 2));
}

#[track_caller]
fn check_errors(change: impl FnOnce(&mut Network, &mut Names), expected: &[&str]) {
    let (mut network, mut names) = (network(), names());
    change(&mut network, &mut names);
    let error = Classifier::compile(&network, &names).expect_err("a broken network");
    let told: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, expected);
    assert_eq!(error.to_string(), expected.join("; "));
}

#[test]
fn every_unknown_name_is_named() {
    check_errors(
        |_, names| {
            names.customers.remove("lab");
            names.links.remove("b");
            names.classes.remove("web");
        },
        &[
            "customer `lab` names the customer `lab`, which is not known",
            "link `b` names the link `b`, which is not known",
            "traffic class `web` names the traffic class `web`, which is not known",
        ],
    );
    check_errors(
        |network, _| {
            network.links[0].points.push(LinkPoint::WholeExporter("nobody".to_owned()));
            network.customers[0].interfaces.push(interface("no-one", 1));
            network.classes[0].matches.exporter.push("none".to_owned());
        },
        &[
            "customer `campus` names the exporter `no-one`, which is not known",
            "link `a` names the exporter `nobody`, which is not known",
            "traffic class `web` names the exporter `none`, which is not known",
        ],
    );
}

#[test]
fn contradictions_are_errors() {
    check_errors(
        |network, _| {
            network.links[1].points.push(LinkPoint::Interface(interface("ce1", 2)));
            network.links[0].points.push(LinkPoint::WholeExporter("gw".to_owned()));
        },
        &["interface 2 of `ce1` is on two links, `a` and `b`", "exporter `gw` is on two links, `a` and `w`"],
    );
    check_errors(
        |network, _| {
            network.customers[0].prefixes.push(held("203.0.113.128/25", span(1999, 3000)));
            network.customers[0].asns.push(Asn(64_500));
            network.customers[0].interfaces.push(interface("ce1", 11));
            network.customers[0].interfaces.push(interface("ce1", 0));
        },
        &[
            "customer `campus` names interface 0 of `ce1`, which stands for no interface",
            "interface 11 of `ce1` belongs to `campus` and `port` at the same time",
            "AS 64500 belongs to `campus` and `asn` at the same time",
            "prefix 203.0.113.128/25 belongs to `lab` and `campus` at the same time",
        ],
    );
}

mod model;

/// A million prefixes are stored in some thirty octets each; versions that were stored in more are read as before.
#[test]
fn prefixes_are_stored_as_text_and_read_in_parts_too() {
    let read = |text: &str| serde_json::from_str::<CustomerPrefix>(text);
    let prefix = Prefix { address: "2001:db8::".parse().unwrap(), length: 32 };
    let always = CustomerPrefix { prefix, validity: Validity::default() };
    assert_eq!(serde_json::to_string(&always).unwrap(), r#"{"prefix":"2001:db8::/32"}"#);
    for stored in [
        r#"{"prefix":"2001:db8::/32"}"#,
        r#"{"prefix":"2001:db8::/32","validity":{"from":null,"to":null}}"#,
        r#"{"prefix":{"address":"2001:db8::","length":32},"validity":{"from":null,"to":null}}"#,
    ] {
        assert_eq!(read(stored).unwrap(), always, "{stored}");
    }
    let dated = CustomerPrefix { validity: Validity { from: Some(UnixMillis(1000)), to: None }, ..always };
    assert_eq!(read(&serde_json::to_string(&dated).unwrap()).unwrap(), dated);
    for wrong in [r#"{"prefix":"2001:db8::"}"#, r#"{"prefix":"2001:db8::/x"}"#, r#"{"prefix":{"length":32}}"#]
    {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
