//! Captures of real exporters against what an independent decoder counted. They are not part of this package: the
//! environment variable `FLUXOSCOPE_CAPTURES` names their folder; without it there is nothing to check.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::decode::{Counts, Decoded, ExporterDecoder, Limits};
use crate::flow::{FlowRecord, SamplerRef};
use crate::ids::ExporterId;
use crate::units::UnixMillis;

pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os("FLUXOSCOPE_CAPTURES").map(PathBuf::from)
}

/// The UDP payloads of a little-endian pcap of Ethernet frames: time in milliseconds, source address, payload.
pub(crate) fn payloads(file: &[u8]) -> Vec<(i64, Vec<u8>, Vec<u8>)> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 0xa1b2_c3d4);
    let (mut at, mut found) = (24, Vec::new());
    while at < file.len() {
        let length = word(at + 8) as usize;
        let time = i64::from(word(at)) * 1000 + i64::from(word(at + 4)) / 1000;
        let frame = &file[at + 16..at + 16 + length];
        at += 16 + length;
        let (source, udp) = match u16::from_be_bytes([frame[12], frame[13]]) {
            0x0800 => (frame[26..30].to_vec(), &frame[14 + usize::from(frame[14] & 15) * 4..]),
            0x86dd => (frame[22..38].to_vec(), &frame[54..]),
            other => panic!("ethertype {other:x}"),
        };
        let length = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
        found.push((time, source, udp[8..length.min(udp.len())].to_vec()));
    }
    found
}

/// All exporters of a capture, in one.
pub(crate) fn decode(file: &[u8]) -> (Vec<FlowRecord>, Vec<Counts>) {
    let mut exporters: BTreeMap<Vec<u8>, ExporterDecoder> = BTreeMap::new();
    let mut out = Decoded::default();
    for (time, source, payload) in payloads(file) {
        let decoder = exporters.entry(source).or_default();
        let _ = decoder.datagram(ExporterId(0), &Limits::default(), UnixMillis(time), &payload, &mut out);
    }
    (out.records, exporters.values().map(|decoder| *decoder.counts()).collect())
}

/// Where the counter rule, or the rules for malformed datagrams, give something else than a plain sum over elements
/// 1 and 2: records, options records, packets, octets; and why.
const DEPARTURES: &[(&str, [u64; 4], &str)] = &[
    ("logstash-codec-netflow/cisco_asa_1_v9_nsel.pcap", [14, 0, 0, 888], "element 85, each flow seen once"),
    ("logstash-codec-netflow/invalid01_v5.pcap", [0; 4], "claims more than it holds: nothing is billed"),
    (
        "netflow_parser/it_parses_ipfix_mixed_enteprise_and_non_enterprise_fields.pcap",
        [16, 0, 1291 + 64, 223_649 + 225],
        "elements 231 and 232, both directions",
    ),
    ("synthetic/biflow_rfc5103.pcap", [1, 0, 5 + 3, 5000 + 700], "both directions"),
    (
        "synthetic/data_before_template.pcap",
        [2, 0, 2, 2000],
        "the set that came first waits for its template",
    ),
    (
        "synthetic/octet_total_count_3_updates.pcap",
        [3, 0, 4, 4000],
        "one flow's running total: 1000, 2500, 4000",
    ),
    (
        "telegraf/ipfix_example.pcap",
        [29, 2, 457 + 613, 111_492 + 465_945],
        "elements 85 and 86 and their reverses, each flow seen once",
    ),
];

#[test]
fn captures_of_real_exporters_give_what_an_independent_decoder_counted() {
    let Some(folder) = folder() else { return };
    let truth = std::fs::read_to_string(folder.join("TRUTH.tsv")).unwrap();
    let mut wrong = Vec::new();
    for line in truth.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        if columns[0].contains("sflow") {
            continue; // The next test's.
        }
        let number = |column: usize| columns[column].parse::<u64>().unwrap_or(0);
        let departure = DEPARTURES.iter().find(|(file, ..)| *file == columns[0]);
        let expected = departure.map_or_else(|| [1, 2, 3, 4].map(number), |(_, expected, _)| *expected);
        let (records, counts) = decode(&std::fs::read(folder.join(columns[0])).unwrap());
        let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
        let packets = records.iter().map(|record| record.packets.as_u64()).sum();
        let octets = records.iter().map(|record| record.octets.as_u64()).sum();
        let found = [sum(|c| c.records), sum(|c| c.options_records), packets, octets];
        assert_eq!(octets, sum(|c| c.raw_octets), "{}", columns[0]);
        if found != expected {
            wrong.push(format!("{}: {found:?}, not {expected:?}; {} {}", columns[0], columns[5], columns[7]));
            wrong.push(format!("    {counts:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A number that a column of the truth file has behind `name=`; 0 where it has none.
fn named(column: &str, name: &str) -> u64 {
    let pairs = column.split([' ', ';']).filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}

/// Every sFlow capture gives the flow samples, the frame octets (as sampled, and scaled by the stated rates), the
/// counter samples and the discard notifications that the truth file has. There is no departure: no capture is long
/// enough for a sample pool to be followed.
#[test]
fn captures_of_sflow_give_what_an_independent_decoder_counted() {
    let Some(folder) = folder() else { return };
    let truth = std::fs::read_to_string(folder.join("TRUTH.tsv")).unwrap();
    let mut files = 0;
    for line in truth.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        if !columns[0].contains("sflow") {
            continue;
        }
        files += 1;
        let (volume, samples) = (columns[5], columns[7]);
        let flow_samples = named(samples, "sflow_flow_samples");
        let (records, counts) = decode(&std::fs::read(folder.join(columns[0])).unwrap());
        let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
        let octets = records.iter().map(|record| record.octets.as_u64()).sum::<u64>();
        let scaled = records.iter().map(|record| match record.sampler {
            SamplerRef::Stated(rate) => record.octets.as_u64() * u64::from(rate.numerator()),
            _ => panic!("a sample without a rate"),
        });
        let found = [sum(|c| c.records), records.len() as u64, octets, scaled.sum(), sum(|c| c.raw_octets)];
        let octets = named(volume, "sampled_frame_bytes");
        let scaled = named(volume, "scaled_frame_bytes");
        assert_eq!(found, [flow_samples, flow_samples, octets, scaled, octets], "{}", columns[0]);
        let found =
            [sum(|c| c.decoded), sum(|c| c.sflow.counter_samples), sum(|c| c.sflow.discard_notifications)];
        let expected =
            ["msgs_sflow_v5", "sflow_counter_samples", "sflow_drop_samples"].map(|name| named(samples, name));
        assert_eq!(found, expected, "{}: {counts:?}", columns[0]);
    }
    assert!(files >= 1);
}
