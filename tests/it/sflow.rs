//! sFlow against other programs: tshark's reading of the same datagrams, and an exporter from Debian.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fluxoscope::decode::{Decoded, ExporterDecoder, Limits};
use fluxoscope::flow::{Family, SamplerRef};
use fluxoscope::ids::ExporterId;
use fluxoscope::receive::pcap_write::CaptureWriter;
use fluxoscope::units::UnixMillis;

use crate::live_support::{NETWORK, Site, Traffic, now_ms, number, output};
use crate::support::{Random, Running};

/// What tshark reads of each sFlow datagram of a capture: the columns of `fields`, each with all its values.
fn tshark(capture: &Path, fields: &[&str]) -> Vec<Vec<Vec<String>>> {
    let mut arguments = vec!["-r", capture.to_str().unwrap(), "-d", "udp.port==6343,sflow", "-Y", "sflow"];
    arguments.extend(["-T", "fields", "-E", "separator=;", "-E", "occurrence=a"]);
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    let text = output("tshark", &arguments);
    let values = |column: &str| column.split(',').filter(|v| !v.is_empty()).map(str::to_owned).collect();
    text.lines().map(|line| line.split(';').map(values).collect()).collect()
}

/// A capture of datagrams from 198.18.0.1.
fn capture(path: PathBuf, datagrams: &[Vec<u8>]) -> PathBuf {
    let mut writer = CaptureWriter::create(&path).unwrap();
    let (source, destination) = (([198, 18, 0, 1], 40_000).into(), ([198, 18, 0, 2], 6343).into());
    for datagram in datagrams {
        writer.write(UnixMillis(now_ms()), source, destination, datagram).unwrap();
    }
    writer.finish().unwrap();
    path
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A random frame: tags or labels or none, IPv4 or IPv6, TCP, UDP or ICMP; and the ports that it has.
fn frame(random: &mut Random) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let is_v6 = random.below(2) == 1;
    let kind: [u8; 2] = if is_v6 { [0x86, 0xdd] } else { [8, 0] };
    match random.below(5) {
        0 => frame.extend([0x81, 0, 0, 100]),
        1 => frame.extend([0x88, 0xa8, 0, 101, 0x81, 0, 0, 102]),
        2 => frame.extend([0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64]),
        3 => frame.extend([0x88, 0x64, 0x11, 0, 0, 1, 0, 80, 0, if is_v6 { 0x57 } else { 0x21 }]),
        _ => {}
    }
    if !matches!(frame.get(12..14), Some([0x88, 0x47 | 0x64])) {
        frame.extend(kind);
    }
    let protocol = [6, 17, if is_v6 { 58 } else { 1 }][usize::try_from(random.below(3)).unwrap()];
    let mut address = |octets: usize| -> Vec<u8> {
        let first: &[u8] = if octets == 4 { &[198, 51] } else { &[0x20, 1, 0x0d, 0xb8] };
        let rest = octets - first.len();
        first.iter().copied().chain((0..rest).map(|_| u8::try_from(random.below(250) + 1).unwrap())).collect()
    };
    if is_v6 {
        frame.extend([0x60, 0, 0, 0, 0, 24, protocol, 64]);
        frame.extend(address(16));
        frame.extend(address(16));
    } else {
        frame.extend([0x45, 0, 0, 44, 0, 0, 0, 0, 64, protocol, 0, 0]);
        frame.extend(address(4));
        frame.extend(address(4));
    }
    let port = |random: &mut Random| u16::try_from(1024 + random.below(60_000)).unwrap().to_be_bytes();
    let mut rest = [0_u8; 24];
    match protocol {
        6 => rest[12] = 0x60,
        17 => rest[5] = 24,
        _ => rest[0] = if is_v6 { 128 } else { 8 },
    }
    if matches!(protocol, 6 | 17) {
        rest[..2].copy_from_slice(&port(random));
        rest[2..4].copy_from_slice(&port(random));
    }
    frame.extend(rest);
    frame
}

/// A datagram with one flow sample of that frame, plain or expanded.
fn datagram(random: &mut Random, number: u32) -> Vec<u8> {
    let frame = frame(random);
    let mut small = |limit: u64| u32::try_from(random.below(limit)).unwrap();
    let (rate, input, output) = (1 + small(5000), 1 + small(1000), 1 + small(1000));
    let length = u32::try_from(frame.len()).unwrap();
    let mut record = words(&[1, length, 4, length]);
    record[4..8].copy_from_slice(&(length + 4 + small(60)).to_be_bytes());
    record.extend(&frame);
    record.resize(record.len().next_multiple_of(4), 0);
    let is_expanded = small(2) == 1;
    let mut sample = if is_expanded {
        words(&[number, 0, input, rate, number, 0, 0, input, 0, output, 1])
    } else {
        words(&[number, input, rate, number, 0, input, output, 1])
    };
    sample.extend(words(&[1, u32::try_from(record.len()).unwrap()]));
    sample.extend(record);
    let mut datagram = words(&[5, 1, 0xc612_0001, 0, number, number, 1]);
    datagram.extend(words(&[if is_expanded { 3 } else { 1 }, u32::try_from(sample.len()).unwrap()]));
    datagram.extend(sample);
    datagram
}

/// Three hundred random samples, field by field.
#[test]
fn tshark_reads_the_same() {
    let mut random = Random(11);
    let datagrams: Vec<Vec<u8>> = (1..=300).map(|number| datagram(&mut random, number)).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = capture(directory.path().join("sflow.pcap"), &datagrams);
    let rows = tshark(
        &file,
        &[
            "sflow_245.header.frame_length",
            "sflow.flow_sample.sampling_rate",
            "ip.src",
            "ip.dst",
            "ipv6.src",
            "ipv6.dst",
            "udp.srcport",
            "udp.dstport",
            "tcp.srcport",
            "tcp.dstport",
            "ieee8021ad.id",
            "vlan.id",
        ],
    );
    assert_eq!(rows.len(), 300);
    let mut decoder = ExporterDecoder::new();
    for (datagram, row) in datagrams.iter().zip(rows) {
        let mut out = Decoded::default();
        decoder.datagram(ExporterId(0), &Limits::default(), UnixMillis(0), datagram, &mut out).unwrap();
        let [flow] = out.records[..] else { panic!("one record a datagram") };
        let SamplerRef::Stated(rate) = flow.sampler else { panic!("a rate") };
        let address = |of: fluxoscope::flow::Address| of.to_ip(flow.family).unwrap().to_string();
        let ours = [
            flow.octets.to_string(),
            rate.numerator().to_string(),
            address(flow.source),
            address(flow.destination),
            if flow.protocol == 6 || flow.protocol == 17 { flow.source_port } else { 0 }.to_string(),
            if flow.protocol == 6 || flow.protocol == 17 { flow.destination_port } else { 0 }.to_string(),
            flow.vlan.to_string(),
        ];
        // The first address and UDP port are those of the datagram itself.
        let column = |at: usize, outer: usize| row[at].get(outer).cloned().unwrap_or_else(|| "0".into());
        let (v4, v6) = ((column(2, 1), column(3, 1)), (column(4, 0), column(5, 0)));
        let (source, destination) = if flow.family == Family::V4 { v4 } else { v6 };
        let ports = if flow.protocol == 6 { (8, 0) } else { (6, 1) };
        let theirs = [
            column(0, 0),
            column(1, 0),
            source,
            destination,
            column(ports.0, ports.1),
            column(ports.0 + 1, ports.1),
            // Of two tags the outer one counts.
            column(if row[10].is_empty() { 11 } else { 10 }, 0),
        ];
        assert_eq!(ours, theirs);
    }
}

/// Captures of real exporters, whole: as many samples and octets as tshark finds.
#[test]
fn tshark_finds_the_same_in_captures() {
    let Some(folder) = std::env::var_os("FLUXOSCOPE_CAPTURES").map(PathBuf::from) else { return };
    for file in
        ["goflow2/sflow_test", "telegraf/sflow_issue_15918", "vflow/hammer_sflow", "vflow/sflow_decoder_test"]
    {
        let file = folder.join(format!("{file}.pcap"));
        if !file.exists() {
            continue;
        }
        let lengths: Vec<u64> = tshark(&file, &["sflow_245.header.frame_length"])
            .iter()
            .flat_map(|row| row[0].iter().map(|length| length.parse::<u64>().unwrap()))
            .collect();
        let site = Site::new("");
        let answer = site.out(&["replay", file.to_str().unwrap(), "--format", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let found =
            ["records", "raw_packets", "raw_bytes", "malformed", "held", "lost"].map(|n| number(&answer[n]));
        let count = lengths.len() as u64;
        assert_eq!(found[..4], [count, count, lengths.iter().sum(), 0], "{}: {answer}", file.display());
    }
}

/// pmacctd samples a capture with its sFlow probe; its datagrams come to either address.
#[test]
fn pmacctd_with_sfprobe() {
    let site = Site::new(&NETWORK.replace("[receive]\n", "[receive]\nsflow = [\"127.0.0.1:0\"]\n"));
    let daemon = site.start();
    assert_eq!(daemon.count("not decoded"), 0);
    let status = daemon.status();
    let addresses =
        [&status["listening"][0], &status["listening"][1]].map(|a| a.as_str().unwrap().to_owned());

    // No more than what the socket's buffer holds until somebody looks.
    let traffic = Traffic::make(&site, 9, 200, 6000);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let configuration = format!(
        "daemonize: false\npcap_savefile: {}\nplugins: sfprobe\nsfprobe_receiver: {}\nsfprobe_agentip: 127.0.0.1\n\
         sampling_rate: 10\npidfile: {}\n",
        traffic.capture.display(),
        socket.local_addr().unwrap(),
        site.path("pmacctd.pid").display(),
    );
    std::fs::write(site.path("pmacctd.conf"), configuration).unwrap();
    let pmacctd = if Path::new("/usr/sbin/pmacctd").exists() { "/usr/sbin/pmacctd" } else { "pmacctd" };
    // At the end of the file core and plugin race for the end: either may find the other gone, and pmacctd fails after
    // all has been sent. What counts is what came.
    let mut pmacctd = Command::new(pmacctd);
    pmacctd.args(["-f", site.path("pmacctd.conf").to_str().unwrap()]);
    let child = pmacctd.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.unwrap_or_else(|error| panic!("pmacctd is needed (ops/test installs it): {error}"));
    Running::from(child).wait();
    socket.set_nonblocking(true).unwrap();
    let mut room = [0; 65_536];
    let datagrams: Vec<Vec<u8>> =
        core::iter::from_fn(|| socket.recv(&mut room).ok().map(|octets| room[..octets].to_vec())).collect();
    assert!(datagrams.len() > 40, "{} datagrams", datagrams.len());
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let halves = datagrams.split_at(datagrams.len() / 2);
    for (datagrams, address) in [(halves.0, &addresses[0]), (halves.1, &addresses[1])] {
        for datagram in datagrams {
            sender.send_to(datagram, address).unwrap();
        }
        // What is sent to different sockets is in order only if somebody waits.
        daemon.flush();
    }

    // tshark's reading of the same datagrams.
    let file = capture(site.path("sflow.pcap"), &datagrams);
    let rows = tshark(&file, &["sflow_245.header.frame_length", "sflow.flow_sample.sample_pool"]);
    let numbers = |column: usize| -> Vec<u64> {
        rows.iter().flat_map(|row| row[column].iter().map(|n| n.parse::<u64>().unwrap())).collect()
    };
    let (lengths, pools) = (numbers(0), numbers(1));
    let count = lengths.len() as u64;
    assert!(count > 400, "{count} samples");
    assert_eq!(site.raw_volume(), (count, lengths.iter().sum()));

    // It drops nothing, so the stated rate rules; the pool is what it says but for chance: 10 * sqrt(600) is 245.
    let usage = site.usage("link");
    let packets = number(&usage[0]["packets"]);
    let pool = pools.iter().max().unwrap() - pools[0];
    assert_eq!(packets, 10 * count);
    assert!(pool.abs_diff(packets) < 1500, "{packets} packets, the pool says {pool}");
    // And so they come near what passed: 600 samples are off by 4 %, their octets by half as much again. Of each packet
    // sFlow counts the frame: 14 octets of header and 4 of check sequence more.
    let (truth, octets) =
        traffic.truth.values().fold((0, 0), |sum, (packets, octets)| (sum.0 + packets, sum.1 + octets));
    let frames = octets + 18 * truth;
    assert!(truth.abs_diff(packets) < truth / 4, "{packets} of {truth}");
    assert!(frames.abs_diff(number(&usage[0]["bytes"])) < frames / 3, "{} of {frames}", usage[0]);
    // The frames were read: each customer, direction and family of the traffic is there, and nothing else.
    let rows = site.usage("customer,direction,family");
    assert_eq!(rows.len(), traffic.truth.len());
    for row in rows {
        let text = |column: &str| row[column].as_str().unwrap().to_owned();
        assert!(traffic.truth.contains_key(&(text("customer"), text("direction"), text("family"))), "{row}");
        assert!(row["relative_error"].as_f64().unwrap() > 0.0);
    }
    let exporter = &daemon.status()["exporters"][0];
    for none in ["lost", "malformed", "duplicates", "held"] {
        assert_eq!(exporter[none], 0, "{none}: {exporter}");
    }
    assert_eq!(number(&exporter["sflow"]["flow_samples"]), count);
    for none in ["samples_lost", "samples_dropped", "pool_contradictions", "other_agents"] {
        assert_eq!(exporter["sflow"][none], 0, "{none}: {exporter}");
    }
}
