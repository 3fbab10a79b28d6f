//! NetFlow v1, v5, v7 and v8: the same random datagrams read here and by tshark, field by field; and what is billed of
//! the aggregates of v8.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use fluxoscope::decode::{Decoded, ExporterDecoder, Fate, Limits};
use fluxoscope::flow::{Address, FlowRecord};
use fluxoscope::ids::ExporterId;
use fluxoscope::receive::pcap_write::CaptureWriter;
use fluxoscope::units::UnixMillis;

use crate::live_support::output;
use crate::support::{Random, Site};

/// Export time in seconds (2026-01-01T00:00:00Z), and the uptime then, in milliseconds.
const EXPORT: u32 = 1_767_225_600;
const UPTIME: u32 = 1_000_000;

/// Version, aggregation scheme, octets of the header and of a record, and where the counters stand in it.
type Format = (u8, u8, usize, usize, usize);

const FORMATS: [Format; 17] = [
    (1, 0, 16, 48, 16),
    (5, 0, 24, 48, 16),
    (7, 0, 24, 52, 16),
    (8, 1, 28, 28, 4),
    (8, 2, 28, 28, 4),
    (8, 3, 28, 32, 4),
    (8, 4, 28, 32, 4),
    (8, 5, 28, 40, 4),
    (8, 6, 28, 32, 4),
    (8, 7, 28, 40, 8),
    (8, 8, 28, 44, 12),
    (8, 9, 28, 32, 4),
    (8, 10, 28, 32, 4),
    (8, 11, 28, 32, 4),
    (8, 12, 28, 32, 4),
    (8, 13, 28, 40, 4),
    (8, 14, 28, 40, 4),
];

/// A datagram; `sequence` is not in v1.
fn datagram((version, scheme, header, ..): Format, sequence: u32, records: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap();
    let mut out = [u16::from(version).to_be_bytes(), count.to_be_bytes()].concat();
    for word in [UPTIME, EXPORT, 0, sequence] {
        out.extend(word.to_be_bytes());
    }
    out.extend([0, 0, scheme, 2, 0, 0, 0, 0]);
    out.truncate(header);
    out.extend(records.concat());
    out
}

/// Random octets, but for the times: some seconds before the header, so that nothing has to be moved.
fn random_records(random: &mut Random, (_, _, _, length, counters): Format) -> Vec<Vec<u8>> {
    (0..10)
        .map(|_| {
            let mut record: Vec<u8> = (0..length).map(|_| random.next().to_be_bytes()[0]).collect();
            let last = UPTIME - u32::try_from(random.below(60_000)).unwrap();
            let first = last - u32::try_from(random.below(300_000)).unwrap();
            record[counters + 8..counters + 12].copy_from_slice(&first.to_be_bytes());
            record[counters + 12..counters + 16].copy_from_slice(&last.to_be_bytes());
            record
        })
        .collect()
}

fn capture(path: &Path, datagrams: &[Vec<u8>]) {
    let mut writer = CaptureWriter::create(path).unwrap();
    let at = |host: u8, port: u16| SocketAddr::from(([192, 0, 2, host], port));
    for datagram in datagrams {
        writer.write(UnixMillis::from_seconds(EXPORT.into()), at(1, 40_000), at(2, 2055), datagram).unwrap();
    }
    writer.finish().unwrap();
}

/// A field as tshark names it, and as it stands in a flow record.
type Field = (&'static [&'static str], fn(&FlowRecord) -> u64);

const FIELDS: [Field; 17] = [
    (&["srcaddr", "srcnet"], |flow| number(flow.source)),
    (&["dstaddr", "dstnet"], |flow| number(flow.destination)),
    (&["nexthop"], |flow| number(flow.next_hop)),
    (&["inputint"], |flow| flow.input.0.into()),
    (&["outputint"], |flow| flow.output.0.into()),
    (&["packets"], |flow| flow.packets.as_u64()),
    (&["octets"], |flow| flow.octets.as_u64()),
    (&["timestart"], |flow| uptime(flow.start)),
    (&["timeend"], |flow| uptime(flow.end)),
    (&["srcport"], |flow| flow.source_port.into()),
    (&["dstport"], |flow| flow.destination_port.into()),
    (&["protocol"], |flow| flow.protocol.into()),
    (&["tos"], |flow| flow.tos.into()),
    (&["tcpflags"], |flow| flow.tcp_flags.into()),
    (&["srcas"], |flow| flow.source_as.0.into()),
    (&["dstas"], |flow| flow.destination_as.0.into()),
    (&["srcmask", "dstmask"], |flow| u64::from(flow.source_mask) + u64::from(flow.destination_mask)),
];

/// Where tshark 4.0 is wrong, and is not asked. Cisco's AS-ToS record ("NetFlow ToS-Based Router Aggregation", figure
/// 2) has the interfaces before the type of service; tshark reads them the other way round. In records with two prefix
/// lengths it has the source's first, Cisco and cflowd the destination's; so their sum is compared.
const TSHARK_ERRS: [(u8, &[&str]); 1] = [(9, &["inputint", "outputint", "tos"])];

fn number(address: Address) -> u64 {
    u64::try_from(address.0).unwrap()
}

/// An instant as the uptime at it, in milliseconds.
fn uptime(at: UnixMillis) -> u64 {
    u64::try_from(at.since(UnixMillis::from_seconds(EXPORT.into())) + i64::from(UPTIME)).unwrap()
}

/// A value as tshark writes it: an address, seconds with nine decimals, a hexadecimal or a decimal number.
fn read(text: &str) -> u64 {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return u32::from(address).into();
    }
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        return u64::from_str_radix(hexadecimal, 16).unwrap();
    }
    match text.split_once('.') {
        Some((seconds, decimals)) => {
            let millis = decimals.strip_suffix("000000").unwrap();
            seconds.parse::<u64>().unwrap() * 1000 + millis.parse::<u64>().unwrap()
        }
        None => text.parse().unwrap(),
    }
}

#[test]
fn tshark_reads_every_format_alike() {
    let mut random = Random(2026);
    let datagrams: Vec<(Format, Vec<u8>)> = FORMATS
        .iter()
        .map(|&format| (format, datagram(format, 0, &random_records(&mut random, format))))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.pcap");
    let payloads: Vec<Vec<u8>> = datagrams.iter().map(|(_, payload)| payload.clone()).collect();
    capture(&path, &payloads);
    let names: Vec<&str> = FIELDS.iter().flat_map(|(names, _)| *names).copied().collect();
    let mut arguments = vec!["-r", path.to_str().unwrap(), "-d", "udp.port==2055,cflow"];
    arguments.extend(["-T", "fields", "-E", "separator=;"]);
    let fields: Vec<String> = names.iter().map(|name| format!("cflow.{name}")).collect();
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    let read_by_tshark = output("tshark", &arguments);
    assert_eq!(read_by_tshark.lines().count(), datagrams.len());

    for (line, ((version, scheme, ..), payload)) in read_by_tshark.lines().zip(&datagrams) {
        let what = format!("version {version} scheme {scheme}");
        let (mut decoder, mut out) = (ExporterDecoder::new(), Decoded::default());
        let received = UnixMillis::from_seconds(EXPORT.into());
        let fate = decoder.datagram(ExporterId(0), &Limits::default(), received, payload, &mut out);
        assert_eq!(fate, Ok(Fate::Decoded), "{what}");
        assert_eq!((out.records.len(), decoder.counts().clamped), (10, 0), "{what}");

        let columns: Vec<&str> = line.split(';').collect();
        assert_eq!(columns.len(), names.len(), "{what}");
        let values = |name: &&str| {
            let column = columns[names.iter().position(|n| n == name).unwrap()];
            column.split(',').filter(|text| !text.is_empty()).map(read).collect::<Vec<u64>>()
        };
        let errs = TSHARK_ERRS.iter().find(|(of, _)| of == scheme).map_or(&[][..], |(_, fields)| fields);
        for (names, ours) in &FIELDS {
            if names.iter().any(|name| errs.contains(name)) {
                continue;
            }
            // What the format does not have is 0 here; a host of a Catalyst's destination is a network of 32 bits.
            let mut theirs = vec![if *scheme == 6 && names.contains(&"dstmask") { 32 } else { 0 }; 10];
            for values in names.iter().map(values).filter(|values| !values.is_empty()) {
                assert_eq!(values.len(), 10, "{what} {names:?}");
                theirs.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            assert_eq!(out.records.iter().map(ours).collect::<Vec<_>>(), theirs, "{what} {names:?}");
        }
    }
}

const NETWORK: &str = r#"
[ledger]
url = "LEDGER"

[[exporter]]
name = "edge"
address = "192.0.2.1"

[[link]]
name = "transit"
interfaces = [ { exporter = "edge", ifindex = 1 } ]

[[customer]]
name = "prefix"
prefixes = ["203.0.113.0/24"]
[[customer]]
name = "inside"
prefixes = ["203.0.113.128/25"]
[[customer]]
name = "asn"
asns = [64500]
[[customer]]
name = "port"
interfaces = [ { exporter = "edge", ifindex = 7 } ]
"#;

/// The five words at the beginning of a v8 record of `octets` octets.
fn summed(octets: u32) -> Vec<u8> {
    [9, 1, octets, UPTIME - 5000, UPTIME - 1000].iter().flat_map(|word: &u32| word.to_be_bytes()).collect()
}

/// Octets behind the five words: AS numbers and interfaces (scheme 1).
fn by_as(octets: u32, words: [u16; 4]) -> Vec<u8> {
    [summed(octets), words.iter().flat_map(|word| word.to_be_bytes()).collect()].concat()
}

/// A destination network (scheme 5), in at interface 1 and out at 9.
fn by_prefix(octets: u32, destination: [u8; 4], length: u8) -> Vec<u8> {
    let rest = [0, 0, 0, 0, 0, 0, 0, 1, 0, 9];
    [summed(octets), vec![0; 4], destination.to_vec(), vec![length, 0], rest.to_vec()].concat()
}

#[test]
fn aggregates_are_billed_by_interface_by_as_number_and_by_prefix_where_they_tell_it() {
    let site = Site::new(NETWORK);
    let as_scheme = [
        // In from the link, to an interface and to an AS number of customers, and to nobody's; and out to it.
        by_as(1, [0, 0, 1, 7]),
        by_as(2, [0, 64_500, 1, 9]),
        by_as(4, [0, 64_501, 1, 9]),
        by_as(8, [64_500, 0, 9, 1]),
        // Past the link.
        by_as(16, [0, 0, 9, 7]),
    ];
    let prefix_scheme = [
        by_prefix(32, [203, 0, 113, 0], 25),
        by_prefix(64, [203, 0, 113, 128], 25),
        // Of two customers, of a customer and others: of nobody, rather than of the one who has the first address.
        by_prefix(128, [203, 0, 113, 0], 24),
        by_prefix(256, [203, 0, 112, 0], 23),
    ];
    capture(
        &site.path("aggregates.pcap"),
        &[datagram(FORMATS[3], 0, &as_scheme), datagram(FORMATS[7], 0, &prefix_scheme)],
    );
    site.ok(&["replay", "aggregates.pcap"]);
    let usage = site.usage("customer,link,direction");
    let mut found: Vec<String> = crate::support::rows(&usage)
        .iter()
        .map(|row| format!("{} {} {} {}", row[0], row[1], row[2], row[5]))
        .collect();
    found.sort();
    let expected = [
        "asn transit in 2",
        "asn transit out 8",
        "inside transit in 64",
        "local   16",
        "port transit in 1",
        "prefix transit in 32",
        "unassigned transit in 388",
    ];
    assert_eq!(found, expected, "{usage}");
}
