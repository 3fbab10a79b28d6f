// What each fuzz target does with its input: a thin call into the library, and what must hold afterwards. The fuzz
// targets and `tests/it/fuzz_corpus.rs` both include this file, so that the corpus is replayed on every test run
// without a fuzzer. A body panics where something is wrong, and returns otherwise.

use core::cell::RefCell;
use core::net::IpAddr;
use core::time::Duration;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use fluxoscope::classify::Versions;
use fluxoscope::counters::Counters;
use fluxoscope::decode::{Decoded, ExporterDecoder, Fate, Limits};
use fluxoscope::ids::{ExporterId, Position, Session};
use fluxoscope::processor::exporters::Exporters;
use fluxoscope::processor::{Config, StreamProcessor};
use fluxoscope::receive::pcap::Capture;
use fluxoscope::receive::socket::{self, Others, Sockets};
use fluxoscope::receive::tcp::{self, Offer, Streams};
use fluxoscope::snmp;
use fluxoscope::units::UnixMillis;
use fluxoscope::usage::Remembered;

/// What is done with an input.
pub type Body = fn(&[u8]);

/// Name and body of every target; the corpus of each is in `corpus/NAME/`.
pub const TARGETS: [(&str, Body); 15] = [
    ("netflow1", netflow1),
    ("netflow5", netflow5),
    ("netflow7", netflow7),
    ("netflow8", netflow8),
    ("netflow9", netflow9),
    ("ipfix", ipfix),
    ("sflow", sflow),
    ("frame_section", frame_section),
    ("pcap", capture),
    ("pcapng", capture),
    ("message_file", message_file),
    ("tcp", tcp),
    ("journal", journal),
    ("snmp", snmp_message),
    ("checkpoint", checkpoint),
];

/// 2026-01-01T00:00:00Z.
const RECEIVED: i64 = 1_767_225_600_000;

/// Bounds that a few datagrams reach.
fn limits() -> Limits {
    let hold = Limits { hold_octets: 1000, hold_ms: 1000, ..Limits::default() };
    Limits { templates: 4, template_fields: 8, domains: 3, running_totals: 4, ..hold }
}

/// An input of many datagrams: two octets of length (big-endian) before each. The last one may be cut.
fn framed(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (length, rest) = input.split_first_chunk::<2>()?;
        let (datagram, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        input = rest;
        Some(datagram)
    })
}

/// Decodes the datagrams of `input`, each of which begins with `version` whatever it says, through a decoder alone and
/// through a stream processor.
fn datagrams(version: &[u8], input: &[u8]) {
    let limits = limits();
    let (mut decoder, mut out) = (ExporterDecoder::new(), Decoded::default());
    let mut stream = processor();
    let exporter = IpAddr::from([192, 0, 2, 1]);
    for (n, datagram) in (0..).zip(framed(input)) {
        let mut datagram = datagram.to_vec();
        let known = datagram.len().min(version.len());
        datagram[..known].copy_from_slice(&version[..known]);
        let received = UnixMillis(RECEIVED + n * 100);
        let before = (out.records.len(), *decoder.counts());
        let result = decoder.datagram(ExporterId(0), &limits, received, &datagram, &mut out);
        if matches!(result, Ok(Fate::Duplicate)) {
            assert_eq!((out.records.len(), decoder.counts().raw_octets), (before.0, before.1.raw_octets));
        }
        consistent(&decoder, &out);
        bounded(&decoder, &limits);
        stream.feed(received, exporter, &datagram).expect("nothing was left to restore");
    }
    decoder.expire(&limits, UnixMillis(i64::MAX));
    assert_eq!((decoder.held_sets(), decoder.held_octets()), (0, 0));
    accounted(&mut stream);
}

/// Counts and what was handed out tell the same.
fn consistent(decoder: &ExporterDecoder, out: &Decoded) {
    let counts = decoder.counts();
    assert_eq!(counts.datagrams, counts.decoded + counts.malformed + counts.duplicates);
    assert_eq!(counts.malformed, counts.malformed_by_kind.iter().sum::<u64>());
    assert_eq!(counts.flows_emitted, out.records.len() as u64);
    let octets: u128 = out.records.iter().map(|flow| u128::from(flow.octets.as_u64())).sum();
    assert_eq!(u128::from(counts.raw_octets), octets);
    // A biflow is one record and two flows.
    let ends = counts.flows_emitted + counts.implausible + counts.not_volume;
    assert!((counts.records..=2 * counts.records).contains(&ends), "{counts:?}");
    for flow in &out.records {
        assert!(flow.start <= flow.end && flow.end.since(flow.start) <= 3_600_000, "{flow:?}");
        assert!((flow.octets.as_u64() | flow.packets.as_u64()) < 1 << 48, "{flow:?}");
    }
}

/// What is remembered is within its bounds.
fn bounded(decoder: &ExporterDecoder, limits: &Limits) {
    assert!(decoder.templates() <= limits.templates && decoder.domains() <= limits.domains);
    assert!(decoder.held_octets() <= limits.hold_octets && decoder.running_totals() <= limits.running_totals);
    let counts = decoder.counts();
    assert_eq!(decoder.templates() as u64, counts.templates);
    assert_eq!(
        (decoder.held_sets() as u64, decoder.held_octets() as u64),
        (counts.held_sets, counts.held_octets)
    );
}

/// A processor that takes anybody's datagrams.
fn processor() -> StreamProcessor {
    restored(Vec::new())
}

fn restored(left: Vec<(IpAddr, Remembered)>) -> StreamProcessor {
    let counters = Arc::new(Counters::new(1, 0));
    let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
    registry.configure(&[], true, Arc::new(Versions::new(Vec::new())));
    registry.leave_states(left);
    StreamProcessor::new(0, Config { decode: limits(), ..Config::default() }, registry, counters)
}

/// Usage rows add up to the totals, everything left has its count, and the checkpoint can be read.
fn accounted(stream: &mut StreamProcessor) {
    let drained = stream.drain();
    let sum = |drained: &fluxoscope::processor::Drained| {
        let rows = &drained.usage;
        let sums = [0, 1, 2].map(|n| {
            rows.iter()
                .map(|row| u128::from([row.sums.octets, row.sums.packets, row.sums.flows][n]))
                .sum::<u128>()
        });
        let totals = &drained.totals;
        assert_eq!(sums[0], u128::from(totals.metered_octets), "{totals:?}");
        assert_eq!(sums[2], u128::from(totals.metered_records), "{totals:?}");
    };
    sum(&drained);
    let mut totals = drained.totals;
    for (_, left) in drained.checkpoints {
        let mut whole = left;
        whole.chunks.whole = true;
        let mut again = restored(vec![(IpAddr::from([192, 0, 2, 1]), whole)]);
        again.take_up_waiting(|_| true).expect("what a processor writes, a processor reads");
        let (before, after) = (stream.held(), again.held());
        assert_eq!(
            (after.records, after.sets, after.set_octets),
            (before.records, before.sets, before.set_octets)
        );
    }
    stream.expire(UnixMillis(i64::MAX / 2));
    stream.finish();
    let drained = stream.drain();
    sum(&drained);
    totals.add(&drained.totals);
    let held = stream.held();
    assert_eq!((held.records, held.sets), (0, 0));
    assert!(totals.metered_octets <= totals.raw_octets, "{totals:?}");
}

/// NetFlow v1.
pub fn netflow1(input: &[u8]) {
    datagrams(&[0, 1], input);
}

/// NetFlow v5.
pub fn netflow5(input: &[u8]) {
    datagrams(&[0, 5], input);
}

/// NetFlow v7.
pub fn netflow7(input: &[u8]) {
    datagrams(&[0, 7], input);
}

/// NetFlow v8.
pub fn netflow8(input: &[u8]) {
    datagrams(&[0, 8], input);
}

/// NetFlow v9.
pub fn netflow9(input: &[u8]) {
    datagrams(&[0, 9], input);
}

/// IPFIX.
pub fn ipfix(input: &[u8]) {
    datagrams(&[0, 10], input);
}

/// sFlow version 5.
pub fn sflow(input: &[u8]) {
    datagrams(&[0, 0, 0, 5], input);
}

/// The beginning of a frame, in an IPFIX record (element 315 after the frame's length, 312) and in an sFlow sample,
/// where the first octet tells the protocol of the header.
pub fn frame_section(input: &[u8]) {
    let Some((&protocol, frame)) = input.split_first() else { return };
    let frame = &frame[..frame.len().min(1400)];
    let long = u16::try_from(frame.len()).expect("cut above");
    // Template 256: 312 in 4 octets, 315 of variable length (RFC 7011 7: 255, then two octets).
    let mut sets = [0, 2, 0, 16, 1, 0, 0, 2, 1, 56, 0, 4, 1, 59, 255, 255].to_vec();
    sets.extend([1, 0]);
    sets.extend((4 + 4 + 3 + long).to_be_bytes());
    sets.extend([0, 0, 5, 220, 255]);
    sets.extend(long.to_be_bytes());
    sets.extend(frame);
    let length = 16 + u16::try_from(sets.len()).expect("short");
    let mut message = [[0, 10], length.to_be_bytes()].concat();
    message.extend(1_767_225_600_u32.to_be_bytes());
    message.extend([0; 8]);
    message.extend(sets);
    datagrams(&[0, 10], &with_length(&message));

    let padded = frame.len().next_multiple_of(4);
    let mut datagram: Vec<u8> = Vec::new();
    let mut words = |all: &[u32]| datagram.extend(all.iter().flat_map(|word| word.to_be_bytes()));
    let octets = u32::try_from(padded).expect("short");
    // Version, IPv4 agent, sub-agent, sequence, uptime; one flow sample with one raw header.
    words(&[5, 1, 0xc000_0201, 0, 1, 1000, 1]);
    words(&[1, 32 + 8 + 16 + octets, 1, 3, 100, 100, 0, 3, 4, 1]);
    words(&[1, 16 + octets, u32::from(protocol), 1500, 4, u32::from(long)]);
    datagram.extend(frame);
    datagram.resize(datagram.len() + padded - frame.len(), 0);
    datagrams(&[0, 0, 0, 5], &with_length(&datagram));
}

fn with_length(datagram: &[u8]) -> Vec<u8> {
    let length = u16::try_from(datagram.len()).expect("made short");
    [&length.to_be_bytes()[..], datagram].concat()
}

/// A capture file, pcap or pcapng: every datagram once, offsets that only grow, and an end.
pub fn capture(input: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a place for temporary files");
    std::fs::write(file.path(), input).expect("the temporary file is ours");
    let Ok(mut capture) = Capture::open(file.path()) else { return };
    let mut at = 0;
    for _ in 0..=input.len() {
        match capture.next() {
            Ok(Some(datagram)) => {
                assert!(datagram.offset > at && datagram.offset <= input.len() as u64, "{datagram:?}");
                assert!(datagram.payload.len() <= 65_535);
                at = datagram.offset;
            }
            Ok(None) | Err(_) => return,
        }
    }
    panic!("more datagrams than octets");
}

/// The IPFIX messages that `input` begins with, and what is behind the last whole one.
pub fn messages(input: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (mut found, mut rest) = (Vec::new(), input);
    while let [0, 10, high, low, ..] = *rest {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((message, behind)) = rest.split_at_checked(length).filter(|_| length >= 16) else { break };
        found.push(message);
        rest = behind;
    }
    (found, rest)
}

/// A file of IPFIX messages: exactly those that it holds, and then its end where it ends within one or behind the last
/// one, or an error where something else is.
pub fn message_file(input: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a place for temporary files");
    std::fs::write(file.path(), input).expect("the temporary file is ours");
    let exporter = IpAddr::from([192, 0, 2, 1]);
    let Ok(mut capture) = Capture::open_as(file.path(), exporter) else { return };
    if capture.exporter().is_none() {
        return;
    }
    let (expected, rest) = messages(input);
    let mut at = 0;
    for message in expected {
        let found = capture.next().expect("a message is there").expect("and so it is no end");
        at += message.len() as u64;
        assert_eq!((found.payload, found.offset, found.source.ip()), (message, at, exporter));
    }
    // Of what is shorter than a header nothing is known.
    let is_damaged = rest.len() >= 16 && (rest[..2] != [0, 10] || rest[2] == 0 && rest[3] < 16);
    match capture.next() {
        Ok(Some(found)) => panic!("no message is there: {found:?}"),
        Ok(None) => assert_eq!((is_damaged, capture.skipped().torn), (false, u64::from(!rest.is_empty()))),
        Err(_) => assert!(is_damaged),
    }
}

/// Where connections of [`tcp`] arrive. Made once: each takes a port.
struct Listening {
    streams: Streams,
    sockets: Sockets,
    address: SocketAddr,
    /// What came out.
    taken: Vec<Vec<u8>>,
}

impl Listening {
    fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port on loopback");
        let address = listener.local_addr().expect("it has an address");
        let limits = tcp::Limits { connections: 8, exporter: 4, idle: Duration::from_secs(60) };
        let streams = Streams::new(vec![listener], limits).expect("a listener that can be used");
        let sockets = socket::bind(&[], 1, 4096).expect("none of no addresses").remove(0);
        Self { streams, sockets, address, taken: Vec::new() }
    }

    fn round(&mut self) {
        let (mut others, now) = (Others::default(), Instant::now());
        self.streams.watch(&mut others, now);
        self.sockets
            .receive_beside(&mut others, Duration::from_millis(20))
            .expect("sockets that can be read");
        let taken = &mut self.taken;
        let take = |_: Session, _: SocketAddr, octets: &[u8]| {
            taken.push(octets.to_vec());
            Ok::<_, ()>(Offer::Taken)
        };
        self.streams.take(&others, now, |_| true, take).expect("what takes does not fail");
    }

    fn until(&mut self, what: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !what(self) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", self.streams);
            self.round();
        }
    }
}

/// What comes over a TCP connection, in pieces: exactly the messages that it begins with, between two boundaries of the
/// session; and anything behind them breaks the connection.
pub fn tcp(input: &[u8]) {
    thread_local! {
        static LISTENING: RefCell<Listening> = RefCell::new(Listening::new());
    }
    let (expected, rest) = messages(input);
    LISTENING.with_borrow_mut(|listening| {
        let before = listening.streams.counts();
        let mut stream = TcpStream::connect(listening.address).expect("the listener has room");
        listening.until(|it| it.streams.counts().accepted > before.accepted);
        for piece in input.chunks(input.len().div_ceil(2).clamp(1, 4096)) {
            // It may have been closed by now.
            if stream.write_all(piece).is_err() {
                break;
            }
            listening.round();
        }
        let _ = stream.shutdown(Shutdown::Write);
        listening.until(|it| it.streams.is_empty());
        let taken = core::mem::take(&mut listening.taken);
        if expected.is_empty() {
            assert_eq!(taken, Vec::<Vec<u8>>::new());
        } else {
            assert_eq!(taken, [&[&[][..]], &expected[..], &[&[][..]]].concat());
        }
        let broken = listening.streams.counts().broken - before.broken;
        assert_eq!(broken, u64::from(!rest.is_empty()), "{} octets are left", rest.len());
    });
}

/// A segment of the journal that starts at position 0.
pub fn journal(input: &[u8]) {
    let directory = tempfile::tempdir().expect("a place for temporary files");
    let segment = directory.path().join(format!("{:020}.journal", 0));
    std::fs::write(segment, input).expect("the temporary directory is ours");
    let Ok(mut reader) = fluxoscope::journal::Reader::open(directory.path(), Position(0)) else { return };
    let mut at = Position(0);
    for _ in 0..=input.len() {
        match reader.next() {
            Ok(Some(frame)) => {
                assert!(frame.end > at && frame.end.0 + 24 <= input.len() as u64, "{frame:?}");
                at = frame.end;
            }
            Ok(None) | Err(_) => {
                assert_eq!(reader.position(), at);
                return;
            }
        }
    }
    panic!("more frames than octets");
}

/// An agent with a known engine, a user without keys, and one with keys.
pub fn agent() -> snmp::Agent {
    let state = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(state.path().join("snmp")).expect("a directory of its own");
    let engine = "id 8000007ed905464c5558\nboots 0\n";
    std::fs::write(state.path().join("snmp/engine"), engine).expect("a file of its own");
    let mut users = snmp::Users::open(state.path()).expect("an engine without users");
    let keys = (snmp::Authentication::Sha256, &b"maplesyrup"[..]);
    users.add("keys", keys, Some((snmp::Privacy::Aes128, b"maplesyrup"))).expect("a user with keys");
    let look = snmp::UserRules {
        name: "look".to_owned(),
        view: snmp::DEFAULT_VIEW.to_owned(),
        security: Some(snmp::Level::NoAuthNoPriv),
    };
    let config =
        snmp::Config { communities: vec!["see".to_owned()], users: vec![look], ..snmp::Config::default() };
    snmp::Agent::open(config, Arc::new(Counters::new(2, 0)), state.path()).expect("an engine that starts")
}

/// A datagram to the SNMP agent.
pub fn snmp_message(input: &[u8]) {
    thread_local! {
        // Made once: its tree costs more than an answer. Time passes between two requests, so that nobody is limited.
        static AGENT: RefCell<(snmp::Agent, u64)> = RefCell::new((agent(), 0));
    }
    AGENT.with_borrow_mut(|(agent, asked)| {
        *asked += 1;
        let now = snmp::Now { wall: UnixMillis(RECEIVED), uptime: Duration::from_secs(*asked) };
        let mut out = Vec::new();
        if agent.respond(now, ([127, 0, 0, 1], 4000).into(), input, &mut out) {
            assert!(!out.is_empty() && out.len() <= 65_507, "{} octets", out.len());
        }
    });
}

/// What a ledger gives back as a checkpoint. It is the ledger's own, so what is checked is that damage is told, and
/// that nothing is made of it but a state or an error; also where its checksum is right.
pub fn checkpoint(input: &[u8]) {
    let sealed = fluxoscope::processor::checkpoint::seal(input.get(7..).unwrap_or_default());
    for state in [input.to_vec(), sealed] {
        let left = Remembered { state, ..Remembered::default() };
        let mut stream = restored(vec![(IpAddr::from([192, 0, 2, 1]), left)]);
        if let Err(error) = stream.take_up_waiting(|_| true) {
            assert!(error.to_string().starts_with("the checkpoint of exporter 192.0.2.1 "), "{error}");
        }
    }
}

/// The state that a processor writes after the datagrams of `input`.
pub fn checkpoint_after(input: &[u8]) -> Vec<u8> {
    let mut stream = processor();
    for datagram in framed(input) {
        stream.feed(UnixMillis(RECEIVED), IpAddr::from([192, 0, 2, 1]), datagram).expect("nothing was left");
    }
    stream.drain().checkpoints.pop().map(|(_, left)| left.state).unwrap_or_default()
}
