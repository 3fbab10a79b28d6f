//! IPFIX over TCP: exporters that are slow, hostile, that come and go, and a daemon that crashes while they send.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use fluxoscope::ids::Position;
use fluxoscope::journal::Reader;
use fluxoscope::receive::Capture;
use serde_json::Value;

use crate::generated::{KEYS, NETWORK};
use crate::live_support::{now_ms, number};
use crate::support::{Daemon, Random, Site, assert_same, queued, until};

const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A daemon on ports that the kernel chooses.
fn settings(receive: &str, rest: &str) -> String {
    format!("[receive]\nlisten = [\"127.0.0.1:0\"]\ntcp = [\"127.0.0.1:0\"]\n{receive}\n{rest}")
}

/// One exporter, of which nobody has to wait for a sampling rate, and one customer.
const EDGE: &str = r#"
[ledger]
url = "LEDGER"
flush = "1h"
[journal]
sync = "5ms"
[[exporter]]
name = "edge"
address = "127.0.0.1"
sampling = { override = "1/1" }
[[link]]
name = "transit"
interfaces = [{ exporter = "edge" }]
[[customer]]
name = "campus"
prefixes = ["203.0.113.0/24"]
"#;

/// Another exporter.
const OTHER: &str =
    "[[exporter]]\nname = \"other\"\naddress = \"127.0.0.2\"\nsampling = { override = \"1/1\" }\n";

fn target(daemon: &Daemon<'_>) -> SocketAddr {
    daemon.status()["listening_tcp"][0].as_str().unwrap().parse().unwrap()
}

/// A connection from an address of the loopback network.
fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Waits for the daemon to close a connection.
#[track_caller]
fn is_closed(stream: &mut TcpStream) {
    match stream.read(&mut [0]) {
        Ok(0) => {}
        Ok(_) => panic!("a collector says nothing"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
}

/// A figure of all processors.
fn figure(daemon: &Daemon<'_>, name: &str) -> u64 {
    let status = daemon.status();
    status["processors"].as_array().unwrap().iter().map(|own| number(&own[name])).sum()
}

/// Waits until a figure is so much, then puts everything into the ledger.
fn heard(daemon: &Daemon<'_>, name: &str, expected: u64) {
    until("what was sent to arrive", || (figure(daemon, name) >= expected).then_some(()));
    assert_eq!(figure(daemon, name), expected, "{name}");
    daemon.flush();
}

/// Packets and octets, before scaling, of all usage.
fn volume(site: &Site) -> (u64, u64) {
    let rows: Vec<Value> =
        serde_json::from_str(&site.ok(&["usage", "--by", "month", "--format", "json"])).unwrap();
    let sum = |column: &str| rows.iter().map(|row| number(&row[column])).sum();
    (sum("raw_packets"), sum("raw_bytes"))
}

fn be(parts: &[(u64, usize)]) -> Vec<u8> {
    parts.iter().flat_map(|&(n, octets)| n.to_be_bytes()[8 - octets..].to_vec()).collect()
}

fn set(id: u64, body: &[u8]) -> Vec<u8> {
    [be(&[(id, 2), (body.len() as u64 + 4, 2)]), body.to_vec()].concat()
}

/// A message of domain 7 that is exported now.
fn message(sequence: u64, sets: &[Vec<u8>]) -> Vec<u8> {
    let body = sets.concat();
    let now = u64::try_from(now_ms() / 1000).unwrap();
    [be(&[(10, 2), (body.len() as u64 + 16, 2), (now, 4), (sequence, 4), (7, 4)]), body].concat()
}

/// Template 256: source, destination, octets, packets.
fn template() -> Vec<u8> {
    set(2, &be(&[(256, 2), (4, 2), (8, 2), (4, 2), (12, 2), (4, 2), (1, 2), (8, 2), (2, 2), (8, 2)]))
}

/// Template 256 as well: packets, octets, destination, source, in other lengths.
fn other_template() -> Vec<u8> {
    set(2, &be(&[(256, 2), (4, 2), (2, 2), (2, 2), (1, 2), (4, 2), (12, 2), (4, 2), (8, 2), (4, 2)]))
}

const FROM: (u64, usize) = (0xc612_0001, 4);
const TO: (u64, usize) = (0xcb00_7101, 4);

fn record(octets: u64, packets: u64) -> Vec<u8> {
    set(256, &be(&[FROM, TO, (octets, 8), (packets, 8)]))
}

fn other_record(octets: u64, packets: u64) -> Vec<u8> {
    set(256, &be(&[(packets, 2), (octets, 4), TO, FROM]))
}

/// Generated messages by exporter, in order, and the usage that must come of them.
fn made(site: &Site, records: &str) -> (BTreeMap<Ipv4Addr, Vec<Vec<u8>>>, String) {
    let options = ["--records", records, "--sampling", "100", "--proto", "ipfix"];
    site.ok(&[&["generate", "--out", "made.pcap", "--truth", "truth.csv"], &options[..]].concat());
    let mut capture = Capture::open(&site.path("made.pcap")).unwrap();
    let mut messages: BTreeMap<_, Vec<_>> = BTreeMap::new();
    while let Some(packet) = capture.next().unwrap() {
        let IpAddr::V4(source) = packet.source.ip() else { panic!("{packet:?}") };
        messages.entry(source).or_default().push(packet.payload.to_vec());
    }
    (messages, std::fs::read_to_string(site.path("truth.csv")).unwrap())
}

/// Three exporters at once: one sends a few octets at a time, one everything it has, one over UDP.
fn equals_its_truth(receive: &str, rest: &str) {
    let site = Site::new(&settings(receive, &format!("{rest}\n[sampling]\ngrace = \"1s\"\n{NETWORK}")));
    let (messages, truth) = made(&site, "6000");
    let daemon = Daemon::start(&site);
    let (tcp, udp) = (target(&daemon), daemon.listening);
    std::thread::scope(|threads| {
        for (n, (&from, messages)) in messages.iter().enumerate() {
            threads.spawn(move || {
                let octets = messages.concat();
                match n {
                    0 => {
                        let (mut stream, mut random, mut at) = (connect(from, tcp), Random(7), 0);
                        while at < octets.len() {
                            let end = octets.len().min(at + 1 + usize::try_from(random.below(700)).unwrap());
                            stream.write_all(&octets[at..end]).unwrap();
                            at = end;
                        }
                    }
                    1 => connect(from, tcp).write_all(&octets).unwrap(),
                    _ => {
                        let socket = UdpSocket::bind((from, 0)).unwrap();
                        for message in messages {
                            // However long the daemon is not let run: no socket overflows.
                            until("room", || queued(udp.port()).filter(|octets| *octets < 64 << 10));
                            socket.send_to(message, udp).unwrap();
                        }
                    }
                }
            });
        }
    });
    heard(&daemon, "datagrams", messages.values().map(|own| own.len() as u64).sum());
    assert_same(&site.usage(KEYS), &truth, receive);
    for exporter in daemon.status()["exporters"].as_array().unwrap() {
        let address: Ipv4Addr = exporter["address"].as_str().unwrap().parse().unwrap();
        assert_eq!(exporter["datagrams"], messages[&address].len() as u64, "{exporter}");
        for none in ["lost", "malformed", "duplicates", "held", "expired_records"] {
            assert_eq!(exporter[none], 0, "{none}: {exporter}");
        }
    }
    until("counters", || (figure(&daemon, "connections_accepted") == 2).then_some(()));
    for (name, expected) in [("connections_refused", 0), ("connections_broken", 0), ("dropped", 0)] {
        assert_eq!(figure(&daemon, name), expected, "{name}");
    }
    daemon.stop();
}

#[test]
fn what_comes_over_tcp_equals_its_truth() {
    equals_its_truth("", "");
}

#[test]
fn an_exporter_has_one_owner_whichever_way_it_comes() {
    equals_its_truth("processors = 3", "");
}

/// The usage table is full all the time, so most is metered when it is read back from the journal.
#[test]
fn it_does_so_with_a_full_table() {
    equals_its_truth("", "[meter]\nrows = 40");
}

/// One octet after the other.
#[test]
fn a_peer_may_be_as_slow_as_it_likes() {
    let site = Site::new(&settings("", EDGE));
    let daemon = Daemon::start(&site);
    let mut slow = connect(HOME, target(&daemon));
    let mut sent = 0;
    for octet in [message(0, &[template(), record(1000, 10)]), message(1, &[record(200, 2)])].concat() {
        slow.write_all(&[octet]).unwrap();
        // Meanwhile others are served.
        sent += 1;
        if sent % 40 == 0 {
            let mut quick = connect(HOME, target(&daemon));
            quick.write_all(&message(0, &[template(), record(1, 1)])).unwrap();
        }
    }
    let quick = sent / 40;
    heard(&daemon, "datagrams", 2 + quick);
    assert_eq!(volume(&site), (12 + quick, 1200 + quick));
}

#[test]
fn sessions_have_templates_and_sequence_numbers_of_their_own() {
    let site = Site::new(&settings("", EDGE));
    let daemon = Daemon::start(&site);
    let to = target(&daemon);
    // Two at once, in one domain, with one number for two templates.
    let (mut a, mut b) = (connect(HOME, to), connect(HOME, to));
    a.write_all(&message(0, &[template()])).unwrap();
    b.write_all(&message(0, &[other_template()])).unwrap();
    heard(&daemon, "datagrams", 2);
    a.write_all(&message(0, &[record(1000, 1)])).unwrap();
    b.write_all(&message(0, &[other_record(20, 2)])).unwrap();
    heard(&daemon, "datagrams", 4);
    // Withdrawn, then defined otherwise; the template of the other session stays.
    a.write_all(&message(1, &[record(3000, 3), set(2, &be(&[(256, 2), (0, 2)])), other_template()])).unwrap();
    a.write_all(&message(2, &[other_record(40, 4)])).unwrap();
    b.write_all(&message(1, &[other_record(50, 5)])).unwrap();
    drop((a, b));
    heard(&daemon, "datagrams", 7);
    assert_eq!(volume(&site), (1 + 2 + 3 + 4 + 5, 1000 + 20 + 3000 + 40 + 50));
    // Sessions that follow begin at 0, with either template; the same message may come again in each of them.
    let again = message(0, &[template(), record(100, 1)]);
    for n in 0..3 {
        connect(HOME, to).write_all(&again).unwrap();
        heard(&daemon, "datagrams", 8 + n);
    }
    connect(HOME, to).write_all(&message(0, &[other_template(), other_record(600, 6)])).unwrap();
    heard(&daemon, "datagrams", 11);
    // Data without a template is not read by another session's: it waits, and waits in vain.
    connect(HOME, to).write_all(&message(0, &[record(7, 7)])).unwrap();
    heard(&daemon, "datagrams", 12);
    assert_eq!(volume(&site), (15 + 3 + 6, 4110 + 300 + 600));
    until("connections to be closed", || {
        let status = daemon.status();
        (status["processors"][0]["connections"]["current"] == 0).then_some(())
    });
    daemon.flush();
    let exporter = &daemon.status()["exporters"][0];
    for none in ["lost", "malformed", "duplicates", "held"] {
        assert_eq!(exporter[none], 0, "{none}: {exporter}");
    }
    assert_eq!(figure(&daemon, "expired_records"), 1);
    assert_eq!(daemon.status()["processors"][0]["templates"]["current"], 0);
    daemon.stop();
}

#[test]
fn garbage_and_strangers_are_closed_and_counted() {
    let site = Site::new(&settings("", EDGE));
    let daemon = Daemon::start(&site);
    let to = target(&daemon);
    let mut good = connect(HOME, to);
    good.write_all(&message(0, &[template(), record(1000, 1)])).unwrap();
    let mut random = Random(0x5eed);
    for n in 0..20 {
        let mut bad = connect(HOME, to);
        let mut octets: Vec<u8> = (0..2000).map(|_| random.next().to_be_bytes()[0]).collect();
        octets[0] = 1;
        // Also behind a whole message, and with a length that is none.
        let before = match n % 3 {
            0 => Vec::new(),
            1 => message(0, &[template(), record(1, 1)]),
            _ => vec![0, 10, 0, 15],
        };
        // It may be closed while this is written.
        let _ = bad.write_all(&[before, octets].concat());
        is_closed(&mut bad);
    }
    let mut stranger = connect(Ipv4Addr::new(127, 0, 0, 9), to);
    is_closed(&mut stranger);
    good.write_all(&message(1, &[record(200, 2)])).unwrap();
    // 7 of 20 had a message of one octet before their garbage.
    heard(&daemon, "datagrams", 2 + 7);
    assert_eq!(volume(&site), (3 + 7, 1200 + 7));
    until("counters", || (figure(&daemon, "connections_broken") == 20).then_some(()));
    until("counters", || (figure(&daemon, "connections_refused") == 1).then_some(()));
    assert_eq!((figure(&daemon, "malformed"), figure(&daemon, "rejected")), (0, 0));
    // Once a minute is enough for the log.
    let log = std::fs::read_to_string(site.path("daemon.log")).unwrap();
    assert_eq!(log.matches("is no IPFIX message").count(), 1, "{log}");
}

/// Whoever holds connections open without a word stops nobody: neither itself, nor another one.
#[test]
fn idle_connections_stand_in_nobodys_way() {
    let two = format!("{EDGE}{OTHER}");
    let site = Site::new(&settings("tcp_connections = 20\ntcp_idle = \"1h\"", &two));
    let daemon = Daemon::start(&site);
    let to = target(&daemon);
    // 40 idle ones, of which 16 may stay; half of them stopped in a message.
    let idle: Vec<TcpStream> = (0..40)
        .map(|n| {
            let mut stream = connect(HOME, to);
            if n % 2 == 0 {
                let _ = stream.write_all(&[0, 10, 1, 0, 0]);
            }
            stream
        })
        .collect();
    let mut all = Vec::new();
    for n in 0..8 {
        let other = Ipv4Addr::new(127, 0, 0, 2);
        let mut stream = connect(other, to);
        stream.write_all(&message(0, &[template(), record(10, 1)])).unwrap();
        all.push(stream);
        until("the message", || (figure(&daemon, "datagrams") == n + 1).then_some(()));
    }
    let mut same = connect(HOME, to);
    same.write_all(&message(0, &[template(), record(1000, 1)])).unwrap();
    heard(&daemon, "datagrams", 9);
    assert_eq!(volume(&site), (9, 1080));
    until("counters", || {
        let connections = &daemon.status()["processors"][0]["connections"];
        let is_full = number(&connections["current"]) <= 20 && number(&connections["limit"]) == 20;
        (is_full && number(&connections["failures"]) >= 29).then_some(())
    });
    drop((idle, all));
    daemon.stop();
}

#[test]
fn a_connection_without_messages_is_closed() {
    let site = Site::new(&settings("tcp_idle = \"300ms\"", EDGE));
    let daemon = Daemon::start(&site);
    let mut idle = connect(HOME, target(&daemon));
    idle.write_all(&[0, 10]).unwrap();
    is_closed(&mut idle);
    until("counters", || (figure(&daemon, "connections_idle") == 1).then_some(()));
    daemon.stop();
}

#[test]
fn a_reload_closes_the_connections_of_who_is_no_longer_allowed() {
    let two = format!("{EDGE}{OTHER}");
    let site = Site::new(&settings("", &two));
    let daemon = Daemon::start(&site);
    let to = target(&daemon);
    let (mut stays, mut goes) = (connect(HOME, to), connect(Ipv4Addr::new(127, 0, 0, 2), to));
    for stream in [&mut stays, &mut goes] {
        stream.write_all(&message(0, &[template(), record(10, 1)])).unwrap();
    }
    heard(&daemon, "datagrams", 2);
    site.configure(&settings("", EDGE));
    site.ok(&["ctl", "reload"]);
    is_closed(&mut goes);
    stays.write_all(&message(1, &[record(20, 2)])).unwrap();
    heard(&daemon, "datagrams", 3);
    assert_eq!(volume(&site), (4, 40));
    daemon.stop();
}

/// What the daemon had acknowledged by taking it from the connection is in the ledger when it has been told to stop.
#[test]
fn a_stop_commits_what_had_come() {
    let site = Site::new(&settings("", EDGE));
    let daemon = Daemon::start(&site);
    let mut stream = connect(HOME, target(&daemon));
    stream.write_all(&message(0, &[template()])).unwrap();
    let burst: Vec<u8> = (0..500).flat_map(|n| message(n, &[record(100, 1)])).collect();
    stream.write_all(&burst).unwrap();
    // All of it is in the kernel: it fits into the buffer of the daemon's end.
    daemon.stop();
    is_closed(&mut stream);
    assert_eq!(volume(&site), (500, 50_000));
    let daemon = Daemon::start(&site);
    daemon.flush();
    assert_eq!(volume(&site), (500, 50_000));
}

/// Messages of sessions, their octets and packets, in the journal.
fn journalled(state: &Path) -> (u64, (u64, u64)) {
    let mut reader = Reader::open(&state.join("journal/0"), Position(0)).unwrap();
    let (mut messages, mut packets, mut octets) = (0, 0, 0);
    while let Ok(Some(frame)) = reader.next() {
        assert!(frame.session.is_some());
        let Some(mut sets) = frame.payload.get(16..) else { continue };
        messages += 1;
        while let [high, low, more, less, ..] = *sets {
            let length = usize::from(u16::from_be_bytes([more, less]));
            if u16::from_be_bytes([high, low]) == 256 {
                octets += u64::from_be_bytes(sets[12..20].try_into().unwrap());
                packets += u64::from_be_bytes(sets[20..28].try_into().unwrap());
            }
            sets = &sets[length..];
        }
    }
    (messages, (packets, octets))
}

/// Killed in the middle of sessions, again and again: usage is what the journal holds, to the octet.
#[test]
fn a_killed_daemon_counts_what_it_journalled_once() {
    let site = Site::new(&settings("", &EDGE.replace("flush = \"1h\"", "flush = \"100ms\"")));
    let mut random = Random(0x5eed_0010);
    let (mut before, mut heard_before) = ((0, 0), 0);
    for round in 0..6 {
        let daemon = Daemon::start(&site);
        let (to, enough) = (target(&daemon), AtomicBool::new(false));
        std::thread::scope(|threads| {
            for sender in 0..3 {
                let enough = &enough;
                threads.spawn(move || {
                    // Sessions of a few hundred messages, until the daemon is gone.
                    for n in 0_u64.. {
                        let Ok(mut stream) = TcpStream::connect(to) else { return };
                        let mut octets = message(0, &[template(), record(sender + 1, 1)]);
                        for sequence in 1..100 + 50 * sender {
                            octets.extend(message(sequence, &[record(sequence * 1000 + n, sequence)]));
                            if sequence % 7 == 0 && stream.write_all(&octets).is_err() {
                                return;
                            }
                            if sequence % 7 == 0 {
                                octets.clear();
                            }
                        }
                        if stream.write_all(&octets).is_err() || enough.load(Relaxed) {
                            return;
                        }
                    }
                });
            }
            // However slow the disk is today.
            until("the journal", || (journalled(&site.state()).0 > heard_before + 100).then_some(()));
            std::thread::sleep(Duration::from_millis(random.below(200)));
            daemon.kill();
            enough.store(true, Relaxed);
        });
        let daemon = Daemon::start(&site);
        daemon.flush();
        let (messages, expected) = journalled(&site.state());
        assert!(
            messages > heard_before && expected > before,
            "round {round}: {messages} messages, {expected:?}"
        );
        assert_eq!(volume(&site), expected, "round {round} of seed 0x5eed0010");
        let exporter = &daemon.status()["exporters"][0];
        for none in ["lost", "malformed", "duplicates", "held", "expired_records"] {
            assert_eq!(exporter[none], 0, "{none} in round {round}: {exporter}");
        }
        (before, heard_before) = (expected, messages);
        if round % 2 == 0 { daemon.stop() } else { daemon.kill() }
    }
}

/// More sessions than domains may be remembered, all in one tail that is read back after a crash.
#[test]
fn sessions_that_are_read_back_end_where_they_ended() {
    const SESSIONS: u64 = 300;
    let site = Site::new(&settings("", EDGE));
    let daemon = Daemon::start(&site);
    let to = target(&daemon);
    let mut last = None;
    for n in 0..SESSIONS {
        let (template, record) =
            if n % 2 == 0 { (template(), record(n, 1)) } else { (other_template(), other_record(n, 1)) };
        let mut stream = connect(HOME, to);
        stream.write_all(&message(0, &[template, record])).unwrap();
        last = (n == SESSIONS - 1).then_some(stream);
        until("the message", || (figure(&daemon, "datagrams") > n).then_some(()));
    }
    until("the disk", || {
        let mut reader = Reader::open(&site.state().join("journal/0"), Position(0)).unwrap();
        let mut messages = 0;
        while let Ok(Some(frame)) = reader.next() {
            messages += u64::from(!frame.payload.is_empty());
        }
        (messages == SESSIONS).then_some(())
    });
    daemon.kill();
    drop(last);
    assert_eq!(volume(&site), (0, 0));
    let daemon = Daemon::start(&site);
    daemon.flush();
    assert_eq!(volume(&site), (SESSIONS, SESSIONS * (SESSIONS - 1) / 2));
    let exporter = &daemon.status()["exporters"][0];
    for none in ["lost", "malformed", "duplicates", "held", "expired_records"] {
        assert_eq!(exporter[none], 0, "{none}: {exporter}");
    }
    daemon.stop();
}

/// What two exporters claim is found in the journal of their TCP connections: each is read by its own templates, two at once
/// in one domain with one number, and across a kill.
#[test]
fn double_counting_is_found_in_the_journal_of_connections() {
    let inner = "[[link]]\nname = \"inner\"\nkind = \"backbone\"\ninterfaces = [{ exporter = \"other\" }]\n";
    let site = Site::new(&settings("", &format!("{EDGE}{OTHER}{inner}")));
    let kill_and_start = |daemon: Daemon<'_>| {
        daemon.kill();
        Daemon::start(&site)
    };
    // All in one second, however slow the machine is.
    let exported = message(0, &[])[4..8].to_vec();
    let message = |sets: &[Vec<u8>]| {
        let mut octets = message(0, sets);
        octets[4..8].copy_from_slice(&exported);
        octets
    };
    // All of this passes the other one, too, and more.
    let passed = [(TO.0, 1000, 10), (TO.0 + 1, 3000, 30), (TO.0 + 2, 7, 1)]
        .map(|(to, octets, packets)| be(&[FROM, (to, 4), (octets, 8), (packets, 8)]));
    let mut daemon = Daemon::start(&site);
    let mut datagrams = 0;
    for _ in 0..2 {
        let to = target(&daemon);
        let (mut a, mut b) = (connect(HOME, to), connect(HOME, to));
        let mut other = connect(Ipv4Addr::new(127, 0, 0, 2), to);
        a.write_all(&message(&[template()])).unwrap();
        b.write_all(&message(&[other_template()])).unwrap();
        heard(&daemon, "datagrams", 2);
        a.write_all(&message(&[record(1000, 10)])).unwrap();
        b.write_all(&message(&[set(256, &be(&[(30, 2), (3000, 4), (TO.0 + 1, 4), FROM]))])).unwrap();
        other.write_all(&message(&[template(), set(256, &passed.concat())])).unwrap();
        heard(&daemon, "datagrams", 5);
        datagrams += 5;
        daemon = kill_and_start(daemon);
    }
    daemon.stop();
    let output = site.run(&["check", "--double-counting", "--format", "json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("{datagrams} datagrams; looked at 3 billed flows")), "{said}");
    assert_eq!(output.status.code(), Some(3), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    // Twice each: 2 * (10 + 30) and 2 * (1000 + 3000).
    for (name, expected) in [
        ("exporter", "edge".into()),
        ("link", "transit".into()),
        ("other_exporter", "other".into()),
        ("other_link", "inner".into()),
        ("flows", Value::from(2)),
        ("packets", 80.into()),
        ("bytes", 8000.into()),
    ] {
        assert_eq!(found[0][name], expected, "{name}: {found}");
    }
}
