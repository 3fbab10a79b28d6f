use core::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::config::{Config, Intake};
use crate::ids::ClassId;
use crate::units::{IfIndex, Octets, Packets, RateSource};

const CAMPUS: CustomerId = CustomerId(16);
const MUSEUM: CustomerId = CustomerId(17);

/// A flow to the port, that took from and to these seconds after midnight, of ten packets.
fn record(exporter: u16, port: u16, seconds: (i64, i64), octets: u64) -> FlowRecord {
    FlowRecord {
        exporter: ExporterId(exporter),
        source: Address(0xc612_0001),
        destination: Address(0xcb00_7101),
        destination_port: port,
        protocol: 6,
        family: Family::V4,
        octets: Octets::new(octets),
        packets: Packets::new(10),
        start: UnixMillis::from_seconds(seconds.0),
        end: UnixMillis::from_seconds(seconds.1),
        rate: SamplingRate::NOT_ANNOUNCED,
        input: IfIndex(1),
        ..FlowRecord::default()
    }
}

fn billed(customer: CustomerId, link: u16, direction: Direction) -> Classified {
    Classified { customer, link: LinkId(link), class: ClassId::DEFAULT, direction, counts: true }
}

/// What is claimed twice of records, each with the link and customer that it was billed at, inwards.
fn found(records: &[(FlowRecord, u16, CustomerId)]) -> Vec<(u16, u16, u64, i128)> {
    let mut claims = Claims::default();
    for (record, link, customer) in records {
        claims.add(&[*record], &[billed(*customer, *link, Direction::In)]);
    }
    let findings = claims.report().findings;
    findings.iter().map(|f| (f.points[0].exporter.0, f.points[1].exporter.0, f.flows, f.octets)).collect()
}

#[test]
fn the_same_flow_at_two_points_is_claimed_twice() {
    let edge = |port, octets| (record(0, port, (10, 50), octets), 1, CAMPUS);
    let core = |port, octets| (record(1, port, (10, 50), octets), 2, CAMPUS);
    assert_eq!(found(&[edge(80, 1000), core(80, 1000), edge(81, 30), core(81, 30)]), [(0, 1, 2, 1030)]);
    // Two exporters on one link are two points as well, and so are two customers.
    let other_end = (record(1, 80, (10, 50), 1000), 1, CAMPUS);
    assert_eq!(found(&[edge(80, 1000), other_end]), [(0, 1, 1, 1000)]);
    let other_customer = (record(1, 80, (10, 50), 1000), 2, MUSEUM);
    assert_eq!(found(&[edge(80, 1000), other_customer]), [(0, 1, 1, 1000)]);
    // A clock that is off by less than a second makes no other flow of it.
    let mut skewed = core(80, 1000);
    skewed.0.start = UnixMillis(50_900);
    skewed.0.end = UnixMillis(60_000);
    assert_eq!(found(&[edge(80, 1000), skewed]), [(0, 1, 1, 1000)]);
}

#[test]
fn other_flows_are_not() {
    let edge = (record(0, 80, (10, 50), 1000), 1, CAMPUS);
    for (what, other) in [
        ("another port", record(1, 81, (10, 50), 1000)),
        ("other octets", record(1, 80, (10, 50), 1001)),
        ("other packets", FlowRecord { packets: Packets::new(11), ..record(1, 80, (10, 50), 1000) }),
        ("later in the same bucket", record(1, 80, (52, 90), 1000)),
        ("another bucket", record(1, 80, (310, 350), 1000)),
        ("another protocol", FlowRecord { protocol: 17, ..record(1, 80, (10, 50), 1000) }),
    ] {
        assert_eq!(found(&[edge, (other, 2, CAMPUS)]), [], "{what}");
    }
    // From a customer and back to one are two crossings of links; what is not billed is no claim; nor is a flow that
    // nothing is known of.
    let flow = [record(0, 80, (10, 50), 1000), record(1, 80, (10, 50), 1000)];
    let nothing = flow.map(|record| FlowRecord { family: Family::Other, ..record });
    let here = billed(CAMPUS, 1, Direction::In);
    let there = |customer, direction| billed(customer, 2, direction);
    for (records, second) in [
        (flow, there(CAMPUS, Direction::Out)),
        (flow, there(CustomerId::LOCAL, Direction::In)),
        (flow, there(CustomerId::THROUGH, Direction::In)),
        (flow, Classified { counts: false, ..there(CAMPUS, Direction::In) }),
        (nothing, there(CAMPUS, Direction::In)),
    ] {
        let mut claims = Claims::default();
        claims.add(&records, &[here, second]);
        assert_eq!(claims.report().findings, [], "{second:?}");
    }
}

#[test]
fn exporters_may_cut_a_long_flow_at_different_moments() {
    let edge: Vec<_> = (0..10)
        .map(|n| {
            (FlowRecord { packets: Packets::new(3), ..record(0, 80, (n * 60, n * 60 + 60), 100) }, 1, CAMPUS)
        })
        .collect();
    let core: Vec<_> = (0..2)
        .map(|n| {
            (
                FlowRecord { packets: Packets::new(15), ..record(1, 80, (n * 299, n * 299 + 299), 500) },
                2,
                CAMPUS,
            )
        })
        .collect();
    // Alone, the records of a flow that follow each other are no claims on the same packets.
    assert_eq!(found(&edge), []);
    assert_eq!(found(&[edge, core].concat()), [(0, 1, 1, 1000)]);
}

#[test]
fn a_flow_that_is_seen_for_longer_at_one_point_counts_where_both_agree() {
    let edge = |from: i64, octets| (record(0, 80, (from, from + 100), octets), 1, CAMPUS);
    let core = |from: i64, octets| (record(1, 80, (from, from + 100), octets), 2, CAMPUS);
    assert_eq!(found(&[edge(0, 700), edge(300, 90), core(300, 90)]), [(0, 1, 1, 90)]);
}

#[test]
fn one_point_that_exports_both_sides_claims_twice() {
    let copies = |observed: [Observed; 2]| {
        observed.map(|observed| (FlowRecord { observed, ..record(0, 80, (10, 50), 1000) }, 1, CAMPUS))
    };
    let [ingress, egress] = [Observed::Ingress, Observed::Egress];
    assert_eq!(found(&copies([ingress, egress])), [(0, 0, 1, 1000)]);
    assert_eq!(found(&copies([Observed::Unknown; 2])), [(0, 0, 1, 1000)]);
    assert_eq!(found(&copies([ingress; 2])), [], "two flows on one side are two flows");
    let instant = (record(0, 80, (10, 10), 1000), 1, CAMPUS);
    assert_eq!(found(&[instant, instant]), [], "so are two packets in one millisecond");
}

#[test]
fn sampled_volumes_agree_within_their_error() {
    let rate = SamplingRate::new(100, 1, RateSource::Header).expect("a rate");
    let at = |exporter, octets| {
        (FlowRecord { rate, ..record(exporter, 80, (10, 50), octets) }, exporter + 1, CAMPUS)
    };
    // The variance of 15 000 raw octets at 1/100 is at most 100 * 99 * 1500 * 15 000, of 12 000 four fifths of it; three
    // roots of both are 1 900 000 octets. The difference is 300 000.
    assert_eq!(found(&[at(0, 15_000), at(1, 12_000)]), [(0, 1, 1, 1_200_000)]);
    // A difference of 2 900 000 between 30 000 and 1 000: three roots are 2 040 000.
    assert_eq!(found(&[at(0, 30_000), at(1, 1_000)]), []);
}

/// What is left when the table was full is complete: each flow in it has both claims.
#[test]
fn a_full_table_keeps_a_part_of_the_flows_whole() {
    let mut claims = Claims::new(64);
    for exporter in 0..2 {
        for port in 0..1000 {
            let link = exporter + 1;
            claims.add(&[record(exporter, port, (10, 50), 7)], &[billed(CAMPUS, link, Direction::In)]);
        }
    }
    let report = claims.report();
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    // 2000 claims into 64 places: a 32nd of the flows at most, give or take what a hash scatters.
    assert!((32..=128).contains(&report.one_in), "{report:?}");
    assert!(report.flows > 0 && report.flows <= 32, "{report:?}");
    assert_eq!((finding.flows, finding.octets), (report.flows, 7 * i128::from(report.flows)));
}

/// A NetFlow v5 datagram with one flow of 10 packets and 1000 octets to 203.0.113.1, from interface 1 to 2.
fn v5() -> Vec<u8> {
    let mut datagram = vec![0; 72];
    datagram[..4].copy_from_slice(&[0, 5, 0, 1]);
    datagram[8..12].copy_from_slice(&1_768_435_200_u32.to_be_bytes());
    datagram[24..32].copy_from_slice(&[198, 18, 0, 1, 203, 0, 113, 1]);
    datagram[24 + 12..24 + 16].copy_from_slice(&[0, 1, 0, 2]);
    datagram[24 + 16..24 + 20].copy_from_slice(&10_u32.to_be_bytes());
    datagram[24 + 20..24 + 24].copy_from_slice(&1000_u32.to_be_bytes());
    datagram
}

#[test]
fn journals_are_read_as_they_are_retained() {
    let config = r#"
        [[exporter]]
        name = "edge"
        address = "192.0.2.1"
        [[exporter]]
        name = "core"
        address = "192.0.2.2"
        [[link]]
        name = "transit"
        interfaces = [{ exporter = "edge", ifindex = 1 }]
        [[link]]
        name = "inner"
        interfaces = [{ exporter = "core", ifindex = 1 }]
        [[customer]]
        name = "campus"
        prefixes = ["203.0.113.0/24"]
    "#;
    let config = Config::parse(config, "test.toml", std::path::Path::new("")).expect("right");
    let directory = tempfile::tempdir().expect("a directory");
    for host in 1..=2 {
        let own = directory.path().join(host.to_string());
        let config = crate::journal::Config { sync_octets: 1, ..Default::default() };
        let (mut writer, syncer, _) = crate::journal::open(&own, &config).expect("new");
        let syncer = std::thread::spawn(move || syncer.run());
        let source = (IpAddr::from(Ipv4Addr::new(192, 0, 2, host)), 2055).into();
        writer.append(UnixMillis(1_768_435_200_000), source, &v5()).expect("room");
        drop(writer);
        syncer.join().expect("it ends");
    }
    std::fs::write(directory.path().join("identity"), "").expect("writable");
    let mut check = Check::new(&config, Intake::Network).expect("compiles");
    check.journals(directory.path()).expect("readable");
    assert_eq!(check.datagrams(), 2);
    let report = check.report();
    let [Finding { points, flows: 1, octets: 1000, packets: 10, .. }] = &report.findings[..] else {
        panic!("{report:?}")
    };
    let named = points.map(|point| check.named(&point));
    let names = |n: usize| [&named[n].exporter[..], &named[n].link, &named[n].customer].join(" ");
    assert_eq!([names(0), names(1)], ["edge transit campus", "core inner campus"]);
}
