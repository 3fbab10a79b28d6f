//! `check --double-counting`: captures of routers that pass the same packets on.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use fluxoscope::receive::pcap_write::CaptureWriter;
use fluxoscope::units::UnixMillis;

use crate::live_support::Site;

/// Two routers in a row. Interface 1 of the edge is the upstream; the edge's interface 2 leads to the core's interface 7.
const ROUTERS: &str = r#"
[[exporter]]
name = "edge"
address = "192.0.2.1"
#observes

[[exporter]]
name = "core"
address = "192.0.2.2"

[[link]]
name = "transit"
kind = "upstream"
interfaces = [{ exporter = "edge", ifindex = 1 }]

[[customer]]
name = "campus"
prefixes = ["203.0.113.0/24"]
"#;

/// The mistake: the line between the routers is a link, too.
const INNER_LINK: &str = r#"
[[link]]
name = "inner"
kind = "backbone"
interfaces = [{ exporter = "core", ifindex = 7 }]
"#;

const SECONDS: u32 = 1_768_435_200;
const UPTIME: u32 = 3_600_000;

const HEADER: &str = "exporter,link,customer,other_exporter,other_link,other_customer,direction,flows,packets,bytes,\
                      looked_at,example\n";

/// A NetFlow v5 datagram with a flow a port, from 198.18.0.1 to the customer, that began and ended so many seconds ago.
fn v5(sequence: u32, interfaces: [u16; 2], flows: &[(u16, u32)], ago: [u32; 2]) -> Vec<u8> {
    let mut out = vec![0, 5];
    out.extend(u16::try_from(flows.len()).unwrap().to_be_bytes());
    out.extend([UPTIME, SECONDS, 0, sequence, 0].map(u32::to_be_bytes).concat());
    for (port, octets) in flows {
        out.extend([198, 18, 0, 1, 203, 0, 113, 1, 0, 0, 0, 0]);
        out.extend(interfaces.map(u16::to_be_bytes).concat());
        out.extend([20, *octets].map(u32::to_be_bytes).concat());
        out.extend(ago.map(|seconds| (UPTIME - seconds * 1000).to_be_bytes()).concat());
        out.extend([443, *port].map(u16::to_be_bytes).concat());
        out.extend([0, 0x1b, 6, 0]);
        out.extend([0; 8]);
    }
    out
}

/// A capture of datagrams, each with the last octet of who sent it.
fn capture(site: &Site, name: &str, datagrams: &[(u8, Vec<u8>)]) -> String {
    let path: PathBuf = site.path(name);
    let mut writer = CaptureWriter::create(&path).unwrap();
    let collector = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 100).into(), 2055);
    for (host, datagram) in datagrams {
        let source = SocketAddr::new(Ipv4Addr::new(192, 0, 2, *host).into(), 40_000);
        writer.write(UnixMillis(i64::from(SECONDS) * 1000), source, collector, datagram).unwrap();
    }
    writer.finish().unwrap();
    path.display().to_string()
}

/// Exit code, and what was found, as CSV.
fn check(site: &Site, captures: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["check", "--format", "csv", "--double-counting"], captures].concat();
    let output = site.run(&arguments);
    assert!(!site.state().join("ledger.sqlite").exists(), "a check makes no ledger");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_customer_billed_at_two_routers_in_a_row_is_found() {
    let site = Site::new(&format!("{ROUTERS}{INNER_LINK}"));
    let flows = [(1001, 1000), (1002, 20_000), (1003, 300_000)];
    let edge = capture(
        &site,
        "edge.pcap",
        &[(1, v5(0, [1, 2], &flows, [50, 10])), (1, v5(3, [1, 3], &[(1004, 7)], [50, 10]))],
    );
    let core = capture(&site, "core.pcap", &[(2, v5(0, [7, 8], &flows, [50, 10]))]);
    let found = format!(
        "{HEADER}edge,transit,campus,core,inner,campus,in,3,60,321000,1/1,\
         198.18.0.1:443 > 203.0.113.1:1003 protocol 6 at 2026-01-14T23:59:10Z\n"
    );
    assert_eq!(check(&site, &[&edge, &core]), (Some(3), found.clone()));
    // The order of the captures does not matter, and one that is named twice is read once.
    assert_eq!(check(&site, &[&core, &edge, &core]), (Some(3), found));
    assert_eq!(check(&site, &[&edge]), (Some(0), HEADER.to_owned()));

    // It is found by what is billed: with the link away, the core bills nobody.
    site.configure(ROUTERS);
    assert_eq!(check(&site, &[&edge, &core]), (Some(0), HEADER.to_owned()));
    let output = site.run(&["check", "--double-counting", &edge, &core, "--format", "json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"[]\n"[..]));
    assert!(said.contains("looked at 4 billed flows, 1/1 of all"), "{said}");
}

#[test]
fn records_of_a_long_flow_that_follow_each_other_are_no_double_counting() {
    let site = Site::new(&format!("{ROUTERS}{INNER_LINK}"));
    let long = [(1001, 1000)];
    let datagrams = [(1, v5(0, [1, 2], &long, [130, 70])), (1, v5(1, [1, 2], &long, [70, 10]))];
    let edge = capture(&site, "edge.pcap", &datagrams);
    assert_eq!(check(&site, &[&edge]), (Some(0), HEADER.to_owned()));
}

/// NetFlow v9: a template, and a record of one flow for each of its `observed` sides (element 61).
fn v9(observed: &[u8]) -> Vec<u8> {
    let fields: [(u16, u16); 12] = [
        (8, 4),
        (12, 4),
        (7, 2),
        (11, 2),
        (4, 1),
        (10, 2),
        (14, 2),
        (1, 4),
        (2, 4),
        (22, 4),
        (21, 4),
        (61, 1),
    ];
    let mut template = [256_u16, 12].map(u16::to_be_bytes).concat();
    template
        .extend(fields.iter().flat_map(|(element, length)| [*element, *length]).flat_map(u16::to_be_bytes));
    let mut data = Vec::new();
    for observed in observed {
        data.extend([198, 18, 0, 1, 203, 0, 113, 1]);
        data.extend([443, 1001].map(u16::to_be_bytes).concat());
        data.push(6);
        data.extend([1_u16, 2].map(u16::to_be_bytes).concat());
        data.extend([5000_u32, 20, UPTIME - 50_000, UPTIME - 10_000].map(u32::to_be_bytes).concat());
        data.push(*observed);
    }
    let mut out = [9, u16::try_from(observed.len() + 1).unwrap()].map(u16::to_be_bytes).concat();
    out.extend([UPTIME, SECONDS, 0, 1].map(u32::to_be_bytes).concat());
    for (id, set) in [(0_u16, template), (256, data)] {
        out.extend([id, u16::try_from(set.len() + 4).unwrap()].map(u16::to_be_bytes).concat());
        out.extend(set);
    }
    out
}

#[test]
fn both_observations_of_a_flow_count_twice_only_where_nobody_says_that_there_are_two() {
    let both = ROUTERS.replace("#observes", "observes = \"both\"");
    let site = Site::new(&both);
    let edge = capture(&site, "edge.pcap", &[(1, v9(&[0, 1]))]);
    assert_eq!(check(&site, &[&edge]), (Some(0), HEADER.to_owned()));
    site.configure(ROUTERS);
    let found = format!(
        "{HEADER}edge,transit,campus,edge,transit,campus,in,1,20,5000,1/1,\
         198.18.0.1:443 > 203.0.113.1:1001 protocol 6 at 2026-01-14T23:59:10Z\n"
    );
    assert_eq!(check(&site, &[&edge]), (Some(3), found));
}

#[test]
fn without_captures_or_journals_it_says_so() {
    let site = Site::new(ROUTERS);
    let output = site.run(&["check", "--double-counting"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("state/journal"), "{said}");
    let refused = site.run(&["check", "--format", "csv"]);
    assert_eq!(refused.status.code(), Some(2));
}
