//! The captures of real exporters, field by field: each record as tshark reads it, and as it is decoded here. What differs
//! stands in [`EXCUSES`], with who is wrong and why; one that is no longer needed fails, too.
//!
//! tshark tells for each field which octets of the datagram it took it from, and under which name; the values compared are
//! those octets, and the dates that it makes of instants. Records without octets are left out on both sides: nothing is
//! billed of them.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::collections::BTreeMap;
use std::fmt::Write;

use fluxoscope::decode::{Decoded, ExporterDecoder, Limits};
use fluxoscope::flow::FlowRecord;
use fluxoscope::ids::ExporterId;
use fluxoscope::units::UnixMillis;

use crate::differential::{Capture, captures, folder, merged};
use crate::live_support::output;

/// Names of the values of [`Plain`].
const NAMES: [&str; 11] = [
    "source",
    "destination",
    "source port",
    "destination port",
    "protocol",
    "input",
    "output",
    "octets",
    "packets",
    "start",
    "end",
];

/// A flow record as both sides can tell it: times are milliseconds before the datagram's own time.
type Plain = [u128; 11];

/// Capture, value, in how many records it differs, and why. `records`: so many more are there than tshark finds.
type Excuse = (&'static str, &'static str, i64, &'static str);

#[rustfmt::skip]
const EXCUSES: &[Excuse] = &[
    ("logstash-codec-netflow/cisco_asa_1_v9_nsel.pcap", "destination port", 7, "ICMP's type and code stand there (elements 176, 177), as v5 has them"),
    ("logstash-codec-netflow/invalid01_v5.pcap", "records", -30, "it claims more than it holds: none is believed here, tshark shows what is there"),
    ("logstash-codec-netflow/invalid01_v9.pcap", "records", 2, "the header counts 2 flowsets of 6; tshark stops there"),
    ("synthetic/data_before_template.pcap", "records", 1, "tshark drops what comes before its template"),
    ("synthetic/octet_total_count_3_updates.pcap", "octets", 2, "running totals of one flow: what came since the one before"),
    ("synthetic/octet_total_count_3_updates.pcap", "packets", 2, "the same"),
    ("synthetic/octet_total_count_3_updates.pcap", "start", 2, "the same: nothing of it was before the end that the one before told"),
    ("telegraf/ipfix_example.pcap", "start", 17, "YAF tells by how much later the way back begins (6871/21); it is no element of tshark's, and the hour is that of the way there"),
    ("telegraf/ipfix_example.pcap", "end", 17, "the same: all of these flows are days old"),
    ("vflow/ipfix_decoder_test_L58.pcap", "records", 2, "tshark takes none of a message shorter than its datagram"),
];

/// An element of tshark's tree: its name, what it says of it, its value as text, and the octets.
struct Field {
    name: String,
    said: String,
    shown: String,
    octets: Vec<u8>,
}

impl Field {
    fn number(&self) -> u128 {
        self.octets.iter().fold(0, |number, &octet| number << 8 | u128::from(octet))
    }

    /// A date such as `Oct  9, 2015 09:47:47.569000000 UTC` in milliseconds since the epoch.
    fn date(&self) -> i64 {
        let words: Vec<&str> = self.shown.split_whitespace().collect();
        let date = jiff::civil::DateTime::strptime("%b %d, %Y %H:%M:%S%.f UTC", words.join(" "));
        date.unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond()
    }
}

/// An attribute of an element of XML, which tshark writes on a line of its own.
fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
    let found = line.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    found.map_or("", |(value, _)| value)
}

/// What tshark finds in a datagram: fields outside of records, and records.
#[derive(Default)]
struct Tree {
    header: Vec<Field>,
    records: Vec<Vec<Field>>,
}

/// tshark's reading of all captures of NetFlow and IPFIX, datagram by datagram.
fn trees(captures: &[Capture]) -> Vec<Tree> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("netflow.pcap");
    merged(captures, &path);
    let file = path.to_str().unwrap();
    let text =
        output("tshark", &["-n", "-r", file, "-d", "udp.port==2055,cflow", "-T", "pdml", "-J", "cflow"]);
    let (mut trees, mut in_record): (Vec<Tree>, bool) = (Vec::new(), false);
    for line in text.lines() {
        if line.trim() == "<packet>" {
            trees.push(Tree::default());
            in_record = false;
        }
        let Some(tree) = trees.last_mut() else { continue };
        let (name, shown) = (attribute(line, "name"), attribute(line, "show"));
        match (name, shown.split(' ').next()) {
            ("", Some("Flow" | "pdu")) if shown.ends_with(|c: char| c.is_ascii_digit()) => {
                tree.records.push(Vec::new());
                in_record = true;
            }
            // The next set.
            ("", Some("Set" | "FlowSet")) => in_record = false,
            ("", _) => {}
            _ => {
                let hex = attribute(line, "value");
                let octet = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
                let octets = (0..hex.len()).step_by(2).map_while(octet).collect();
                let field = Field {
                    name: name.trim_start_matches("cflow.").to_owned(),
                    said: attribute(line, "showname").to_owned(),
                    shown: shown.to_owned(),
                    octets,
                };
                let place = tree.records.last_mut().filter(|_| in_record).unwrap_or(&mut tree.header);
                place.push(field);
            }
        }
    }
    trees
}

/// A datagram's own time, and when the exporter started, where either tells that; in milliseconds since the epoch.
#[derive(Clone, Copy, Default)]
struct Clock {
    at: i64,
    started: Option<i64>,
}

impl Clock {
    /// What a datagram tells; without an uptime in the header an options record may have told the start, before or now.
    fn of(tree: &Tree, before: Self) -> Self {
        let find = |fields: &[Field], name: &str| {
            fields.iter().find(|field| field.name == name).map(|field| i64::try_from(field.number()).unwrap())
        };
        let number = |name: &str| find(&tree.header, name);
        let seconds = number("unix_secs").or_else(|| number("exporttime")).unwrap_or_default();
        let at = seconds * 1000 + number("unix_nsecs").unwrap_or_default() / 1_000_000;
        let told = tree.records.iter().find_map(|record| find(record, "sys_init_time"));
        let started = number("sysuptime").map(|uptime| at - uptime).or(told).or(before.started);
        Self { at, started }
    }
}

/// The flows of a record of tshark's: one, or two where it tells both directions; none without volume.
fn theirs(record: &[Field], Clock { at, started }: Clock) -> Vec<Plain> {
    let is_reverse = |field: &Field| field.said.contains("Reverse");
    let first = |names: &[&str], reverse: bool| {
        let of = |name: &&str| record.iter().find(|f| f.name == **name && is_reverse(f) == reverse);
        names.iter().find_map(of)
    };
    let number = |names: &[&str]| first(names, false).map_or(0, Field::number);
    // By the rank of counters: elements 1 and 2, totals, initiator's.
    let ahead = |what: &str| number(&[what, &format!("permanent_{what}"), &format!("initiator_{what}")]);
    let back = |what: &str| {
        let field = first(&[what, &format!("permanent_{what}")], true);
        field.or_else(|| first(&[&format!("responder_{what}")], false)).map_or(0, Field::number)
    };
    // The finest clock there is; an uptime modulo 2^32 ms, the nearest such instant to the datagram's time.
    let instant = |what: &str| {
        let name = format!("abstime{what}");
        let dates = record.iter().filter(|field| field.name == name).map(Field::date);
        let fine = dates.max_by_key(|date| date % 1000 != 0);
        let observed = || first(&["observation_time_milliseconds"], false).map(Field::date);
        let uptime =
            || first(&[&format!("time{what}")], false).map(|field| i64::try_from(field.number()).unwrap());
        let near = |uptime: i64| {
            // Without the start's time the duration remains, up to the datagram's time.
            let uptime = match started {
                Some(started) => started + uptime,
                None => at + uptime - i64::try_from(first(&["timeend"], false).unwrap().number()).unwrap(),
            };
            #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is meant")]
            let ago = (at - uptime) as i32;
            at - i64::from(ago)
        };
        fine.or_else(|| uptime().map(near)).or_else(|| (what == "end").then(observed)?)
    };
    // The rules of a flow's times: what is missing, and that they lie in the hour before the datagram.
    let (start, end) = (instant("start"), instant("end"));
    let within = |instant: i64| instant.clamp(at - 3_600_000, at);
    let end = within(end.unwrap_or(at));
    let start = within(start.unwrap_or(end)).min(end);
    let before = |instant: i64| u128::try_from(at - instant).unwrap();
    let both = |what: &str| number(&[&format!("{what}addr"), &format!("{what}addrv6")]);
    let flow = [
        both("src"),
        both("dst"),
        number(&["srcport"]),
        number(&["dstport"]),
        number(&["protocol"]),
        number(&["inputint"]),
        number(&["outputint"]),
        ahead("octets"),
        ahead("packets"),
        before(start),
        before(end),
    ];
    let mut reverse = flow;
    [(0, 1), (2, 3), (5, 6)].into_iter().for_each(|(a, b)| reverse.swap(a, b));
    (reverse[7], reverse[8]) = (back("octets"), back("packets"));
    [flow, reverse].into_iter().filter(|flow| flow[7] > 0).collect()
}

fn ours(flow: &FlowRecord, at: i64) -> Plain {
    let before = |instant: UnixMillis| u128::try_from(at - instant.0).unwrap_or(0);
    [
        flow.source.0,
        flow.destination.0,
        flow.source_port.into(),
        flow.destination_port.into(),
        flow.protocol.into(),
        flow.input.0.into(),
        flow.output.0.into(),
        flow.octets.as_u64().into(),
        flow.packets.as_u64().into(),
        before(flow.start),
        before(flow.end),
    ]
}

#[test]
fn tshark_reads_each_field_alike() {
    let Some(folder) = folder() else { return };
    let captures = captures(&folder);
    let mut trees = trees(&captures).into_iter();
    // By capture and value, how often it differs, and how the first time.
    let mut found: BTreeMap<(&str, &str), (i64, String)> = BTreeMap::new();
    let mut compared = 0;
    for capture in captures.iter().filter(|capture| !capture.is_sflow) {
        let (mut decoder, mut out) = (ExporterDecoder::new(), Decoded::default());
        let (mut here, mut there, mut clock) = (Vec::new(), Vec::new(), Clock::default());
        for datagram in &capture.datagrams {
            let tree = trees.next().expect("tshark sees every datagram");
            clock = Clock::of(&tree, clock);
            // Received when it was sent: what becomes of a clock that is wrong is another test's matter.
            let received = UnixMillis(if clock.at > 0 { clock.at } else { datagram.at.0 });
            let _ =
                decoder.datagram(ExporterId(0), &Limits::default(), received, &datagram.payload, &mut out);
            let volume = |flow: &Plain| flow[7] > 0;
            here.extend(out.records.drain(..).map(|flow| ours(&flow, received.0)).filter(volume));
            there.extend(tree.records.iter().flat_map(|record| theirs(record, clock)));
        }
        let mut differs = |value: &'static str, by: i64, how: String| {
            found.entry((&capture.name, value)).or_insert((0, how)).0 += by;
        };
        if here.len() != there.len() {
            let by = i64::try_from(here.len()).unwrap() - i64::try_from(there.len()).unwrap();
            differs("records", by, format!("{} here, {} there", here.len(), there.len()));
            continue;
        }
        for (here, there) in here.iter().zip(&there) {
            for ((name, ours), theirs) in NAMES.iter().zip(here).zip(there) {
                if ours != theirs {
                    differs(name, 1, format!("{ours:#x} here, {theirs:#x} there"));
                }
            }
        }
        compared += here.len();
    }
    assert!(trees.next().is_none());
    println!("{compared} records compared");
    let mut report = String::new();
    for &(capture, value, times, why) in EXCUSES {
        match found.remove(&(capture, value)) {
            Some((by, _)) if by == times => {}
            other => writeln!(report, "stale: {capture}, {value}, {times} ({why}): {other:?}").unwrap(),
        }
    }
    for ((capture, value), (times, how)) in found {
        writeln!(report, "(\"{capture}\", \"{value}\", {times}, \"{how}\"),").unwrap();
    }
    assert!(report.is_empty(), "\n{report}");
    assert!(compared > 300);
}
