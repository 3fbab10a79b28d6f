//! The traps among the captures, each made or picked for one of them: what is billed of every one, worked out by hand.
//! `FLUXOSCOPE_CAPTURES` names their folder, which is not part of this package.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::path::{Path, PathBuf};

use fluxoscope::receive::pcap_write::CaptureWriter;
use fluxoscope::units::UnixMillis;
use serde_json::Value;

use crate::differential::{datagrams, folder};
use crate::live_support::{Site, number};

/// Packets and octets, scaled; records that wait for a rate; and datagrams that are malformed.
type Figures = [u64; 4];

/// What `replay` answers.
fn replay(site: &Site, path: &Path) -> Figures {
    let answer = site.out(&["replay", path.to_str().unwrap(), "--format", "json"]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    ["packets", "bytes", "held", "malformed"].map(|name| number(&answer[name]))
}

/// Rows of usage by `key`: that, flows, packets and octets.
fn usage(site: &Site, key: &str) -> Vec<(String, [u64; 3])> {
    let row = |row: &Value| {
        (row[key].as_str().unwrap().to_owned(), ["flows", "packets", "bytes"].map(|name| number(&row[name])))
    };
    site.usage(key).iter().map(row).collect()
}

#[test]
fn what_is_billed_of_each() {
    let Some(folder) = folder() else { return };
    let expected: [(&str, Figures); 15] = [
        // Elements 310 and 309 are 256 and 1: 1 packet of 1000 octets.
        ("synthetic/iosxr_309_310", [256, 256_000, 0, 0]),
        // One packet of 1000 octets each at 1 in 512 and 1 in 64.
        ("synthetic/two_samplers_one_set", [576, 576_000, 0, 0]),
        // Both at 1 in 512, although the first came before that was said.
        ("synthetic/late_sampler_option", [1024, 1_024_000, 0, 0]),
        ("synthetic/reduced_size_ipfix", [56, 6_065_817, 0, 0]),
        // 10 packets in and 9 of them out, of 1000 and 900 octets: the same ones.
        ("synthetic/in_and_out_octets", [10, 1000, 0, 0]),
        // 5 packets of 5000 octets, and 3 of 700 back.
        ("synthetic/biflow_rfc5103", [8, 5700, 0, 0]),
        // One flow told three times: 1000, 2500, 4000 octets.
        ("synthetic/octet_total_count_3_updates", [4, 4000, 0, 0]),
        ("synthetic/data_before_template", [2, 2000, 0, 0]),
        ("synthetic/two_odids_same_template_id", [2, 3000, 0, 0]),
        ("synthetic/v9_sysuptime_wrap", [1, 1500, 0, 0]),
        ("synthetic/long_flow_210s_10G", [7_000_003, 10_000_000_001, 0, 0]),
        // 31 packets of 3989 octets, 1 in 1000 by the header.
        ("logstash-codec-netflow/juniper_mx80_v5_sampled", [31_000, 3_989_000, 0, 0]),
        // In and out are the same.
        ("logstash-codec-netflow/fortigate_fortios542_appid_v9", [105, 29_492, 0, 0]),
        // A datagram whose header claims more than it holds.
        ("logstash-codec-netflow/invalid01_v5", [0, 0, 0, 1]),
        // Random sampling of which only element 305 is told.
        ("netgauze/srv6", [0, 0, 86, 0]),
    ];
    for (file, figures) in expected {
        let site = Site::new("");
        assert_eq!(replay(&site, &folder.join(file).with_extension("pcap")), figures, "{file}");
        let billed =
            usage(&site, "link").iter().fold([0, 0], |sum, (_, row)| [sum[0] + row[1], sum[1] + row[2]]);
        assert_eq!(billed, figures[..2], "{file}");
    }
}

/// The header was made a second after the uptime's wrap, at midnight; the flow began 5 s and ended 1 s before that, so 6 s
/// and 2 s before midnight: it is all of the year before.
#[test]
fn a_flow_from_before_the_wrap_of_the_uptime() {
    let Some(folder) = folder() else { return };
    let site = Site::new("");
    replay(&site, &folder.join("synthetic/v9_sysuptime_wrap.pcap"));
    assert_eq!(usage(&site, "bucket"), [("2025-12-31T23:55:00Z".to_owned(), [1, 1, 1500])]);
}

#[test]
fn both_directions_of_a_biflow() {
    let Some(folder) = folder() else { return };
    let capture = folder.join("synthetic/biflow_rfc5103.pcap");
    // From 10.0.0.1 at interface 1 to 198.51.100.9 at interface 2.
    let site = Site::new(
        "[[exporter]]\nname = \"e\"\naddress = \"192.0.2.10\"\n\
         [[link]]\nname = \"l\"\ninterfaces = [{ exporter = \"e\", ifindex = 2 }]\n\
         [[customer]]\nname = \"c\"\nprefixes = [\"10.0.0.0/24\"]\n",
    );
    replay(&site, &capture);
    let expected = [("out", [1, 5, 5000]), ("in", [1, 3, 700])].map(|(way, row)| (way.to_owned(), row));
    let mut found = usage(&site, "direction");
    found.sort_by_key(|(way, _)| way == "in");
    assert_eq!(found, expected);
    assert_eq!(usage(&site, "customer"), [("c".to_owned(), [2, 8, 5700])]);
}

/// What is ambiguous counts as soon as the operator says what it means: 1070 packets of 133 659 octets, 1 in 1000.
#[test]
fn an_ambiguous_announcement_is_held_until_it_is_mapped() {
    let Some(folder) = folder() else { return };
    let site = Site::new(
        "[[exporter]]\nname = \"e\"\naddress = \"2a02:a90:4007:700::54\"\nsampling = { override = \"1/1000\" }\n",
    );
    assert_eq!(replay(&site, &folder.join("netgauze/srv6.pcap")), [1_070_000, 133_659_000, 0, 0]);
}

/// The long flow lies in one bucket, from 00:00:10 to 00:03:40. The same 200 s later, 90 s of 210 are in that bucket and 120
/// in the next: of its octets 4 285 714 286.1 and 5 714 285 714.9, of its packets 3 000 001.3 and 4 000 001.7. What is
/// left over by rounding down goes to the greater remainder, which the second has.
#[test]
fn a_long_flow_is_the_sum_of_its_parts() {
    let Some(folder) = folder() else { return };
    let capture = folder.join("synthetic/long_flow_210s_10G.pcap");
    let site = Site::new("");
    replay(&site, &capture);
    let bucket = |minute: u32| format!("2026-01-01T00:{minute:02}:00Z");
    assert_eq!(usage(&site, "bucket"), [(bucket(0), [1, 7_000_003, 10_000_000_001])]);

    const MIDNIGHT: u64 = 1_767_225_600_000;
    let site = Site::new("");
    let later: PathBuf = site.path("later.pcap");
    let mut writer = CaptureWriter::create(&later).unwrap();
    for datagram in datagrams(&std::fs::read(capture).unwrap()) {
        let mut payload = datagram.payload;
        let mut replace = |from: &[u8], to: &[u8]| {
            let places: Vec<usize> =
                (0..payload.len()).filter(|&at| payload[at..].starts_with(from)).collect();
            assert_eq!(places.len(), 1, "{from:02x?}");
            payload[places[0]..places[0] + to.len()].copy_from_slice(to);
        };
        for instant in [MIDNIGHT + 10_000, MIDNIGHT + 220_000] {
            replace(&instant.to_be_bytes(), &(instant + 200_000).to_be_bytes());
        }
        // The header, 200 s later.
        let export = u32::try_from(MIDNIGHT / 1000 + 300).unwrap();
        replace(&export.to_be_bytes(), &(export + 200).to_be_bytes());
        let (source, collector) = (([192, 0, 2, 10], 40_000).into(), ([192, 0, 2, 254], 2055).into());
        writer.write(UnixMillis(datagram.at.0 + 200_000), source, collector, &payload).unwrap();
    }
    writer.finish().unwrap();
    replay(&site, &later);
    let parts = [(bucket(0), [0, 3_000_001, 4_285_714_286]), (bucket(5), [1, 4_000_002, 5_714_285_715])];
    assert_eq!(usage(&site, "bucket"), parts);
}
