//! The program is killed at random moments, again and again, and its ledger must be exact all the same: usage is what
//! was generated, what the journal holds, or what was worked out by hand.
//!
//! Moments are drawn from a fixed seed, which failures name; when exactly they fall is up to the machine.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fluxoscope::generate::{self, Options, Protocol, Sender};
use fluxoscope::ids::Position;
use fluxoscope::journal::Reader;
use fluxoscope::ledger::{Ledger, Url};
use fluxoscope::receive::pcap_write::CaptureWriter;
use fluxoscope::units::UnixMillis;
use netflow_parser::variable_versions::field_value::FieldValue;
use netflow_parser::variable_versions::ipfix::{self, lookup::IPFixField};
use netflow_parser::variable_versions::v9;
use netflow_parser::{NetflowPacket, NetflowParser};

use crate::generated::{KEYS, NETWORK};
use crate::support::{Daemon, Dialect, Random, Running, Site, assert_same, free_port, parsed, rows, until};

mod checkpoints;
mod interrupted;
mod owners;

// A replay that is killed again and again.

/// Replays a generated capture, killed again and again, until it is complete; then once more on a new site, until
/// there were `kills`. Each time usage must be the truth. The ledger is looked at between the kills.
///
/// Two of three kills come when a few flushes more are in the ledger, however long that takes; the third at any moment
/// from the start of the process on.
fn replay_under_fire(dialect: Dialect, proto: &str, kills: u32) {
    let mut random = Random(0x5eed_0001);
    let (mut killed, mut steps) = (0, 0);
    for round in 0..20 {
        if killed >= kills {
            break;
        }
        let what = format!("{dialect:?} {proto}, round {round}, seed 0x5eed0001");
        let site = Site::on(dialect, NETWORK);
        let records = ["--records", "20000", "--sampling", "50", "--proto", proto];
        let files = ["--out", "made.pcap", "--truth", "truth.csv"];
        site.ok(&[&["generate"], &records[..], &files[..]].concat());
        let truth = std::fs::read_to_string(site.path("truth.csv")).unwrap();
        let replay = ["replay", "made.pcap", "--flush-datagrams", "2"];
        let mut before = 0;
        let mut ledger = None;
        while killed < kills {
            let mut process =
                Running::start(site.command(&replay).stdout(Stdio::null()).stderr(Stdio::null()));
            if killed % 3 == 2 {
                std::thread::sleep(Duration::from_millis(random.below(100)));
            } else {
                let wanted = flushes(&site, &mut ledger) + 1 + random.below(8);
                until("flushes", || {
                    (!process.is_running() || flushes(&site, &mut ledger) >= wanted).then_some(())
                });
            }
            if !process.kill() {
                break;
            }
            killed += 1;
            let now = flows(&site);
            assert!(now >= before, "usage never shrinks: {before}, {now}: {what}");
            steps += u32::from(now > before);
            before = now;
        }
        site.ok(&replay);
        assert_same(&site.usage(KEYS), &truth, &what);
        let again = site.run(&replay);
        assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("nothing to do"));
        assert_same(&site.usage(KEYS), &truth, &what);
    }
    assert!(killed >= kills, "only {killed} kills hit a running replay");
    assert!(steps * 4 >= kills, "only {steps} of {killed} kills fell behind a new flush");
}

/// Flushes in the ledger, which is opened once it is there.
fn flushes(site: &Site, ledger: &mut Option<Ledger>) -> u64 {
    let url = Url::parse(&site.ledger_url(), &site.state()).unwrap();
    if ledger.is_none() {
        *ledger = Ledger::open_existing(&url).ok();
    }
    ledger.as_mut().and_then(|ledger| ledger.data_version().ok()).unwrap_or(0)
}

/// Flows in the ledger; none where there is no ledger yet.
fn flows(site: &Site) -> u64 {
    let output = site.run(&["usage", "--by", "direction", "--format", "csv"]);
    if !output.status.success() {
        return 0;
    }
    rows(&String::from_utf8(output.stdout).unwrap()).iter().map(|row| row[1].parse::<u64>().unwrap()).sum()
}

#[test]
fn a_killed_replay_goes_on_exactly() {
    for proto in ["v5", "v9", "ipfix"] {
        replay_under_fire(Dialect::Sqlite, proto, 10);
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_killed_replay_goes_on_exactly_on_postgres() {
    if crate::support::dialects().contains(&Dialect::Postgres) {
        replay_under_fire(Dialect::Postgres, "ipfix", 6);
    }
}

// The daemon under traffic.

/// Packets that each generated one stands for.
const SAMPLING: u32 = 10;

/// Exporters of one protocol, `127.0.NET.1` to 3, each with links on two interfaces.
fn exporters(net: u8) -> String {
    (1..=3)
        .map(|n| {
            format!(
                "[[exporter]]\nname = \"r{net}-{n}\"\naddress = \"127.0.{net}.{n}\"\n\
                 [[link]]\nname = \"a{net}-{n}\"\ninterfaces = [ {{ exporter = \"r{net}-{n}\", ifindex = 12 }} ]\n\
                 [[link]]\nname = \"b{net}-{n}\"\ninterfaces = [ {{ exporter = \"r{net}-{n}\", ifindex = 13 }} ]\n"
            )
        })
        .collect()
}

const CUSTOMERS: &str = "[[customer]]\nname = \"one\"\nprefixes = [\"20.0.0.0/8\", \"2a00:1::/32\"]\n\
                         [[customer]]\nname = \"two\"\nprefixes = [\"20.1.0.0/16\"]\n\
                         [[customer]]\nname = \"three\"\nasns = [64500]\n";

/// Protocols, and the network that their exporters are in.
const PROTOCOLS: [(Protocol, u8); 3] = [(Protocol::V5, 21), (Protocol::V9, 22), (Protocol::Ipfix, 23)];

/// Settings of a daemon that listens on `port`. What is sent has dates of its own, which must count however old they are.
fn settings(port: u16, processors: usize, flush: &str) -> String {
    format!(
        "[receive]\nlisten = [\"127.0.0.1:{port}\"]\nprocessors = {processors}\n\
         [ledger]\nurl = \"LEDGER\"\nflush = \"{flush}\"\n\
         [journal]\nsegment = \"1MiB\"\nsync = \"5ms\"\n\
         [decode]\nclock_skew = \"36500d\"\n[meter]\nbucket = \"end\"\n"
    )
}

/// A datagram that was sent.
type Sent = Vec<(IpAddr, Vec<u8>)>;

/// Sends traffic of one protocol until `enough`; what was sent.
fn send(protocol: Protocol, net: u8, target: SocketAddr, enough: &AtomicBool) -> Sent {
    let config = parsed(&format!("[meter]\nbucket = \"end\"\n{}{CUSTOMERS}", exporters(net)));
    let options = Options {
        // For more than a quarter of an hour: far longer than the slowest machine needs.
        records: 8_000_000,
        seed: net.into(),
        protocol,
        sampling: SAMPLING,
        span_seconds: 288_000,
        ..Options::default()
    };
    let mut sender = Sender::new(target, 8000);
    let mut sent = Sent::new();
    let outcome = generate::generate(&config, &options, |datagram| {
        if enough.load(Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        sender.send(datagram)?;
        sent.push((datagram.source.ip(), datagram.payload.to_vec()));
        Ok(())
    });
    match outcome {
        Err(generate::Error::Io(error)) if error.kind() == io::ErrorKind::Interrupted => sent,
        other => panic!("{other:?}"),
    }
}

/// Ends the sending when dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// How a daemon ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Kill,
    Terminate,
}

/// Ends and restarts a daemon so often under traffic, with a usage table of so many `rows`. Nothing that its journal holds may be missing or counted twice, and
/// what was lost is just what the sequence numbers say.
fn daemon_under_fire(end: End, times: u32, rows: u32, seed: u64) {
    let mut random = Random(seed);
    let network: String = PROTOCOLS.iter().map(|&(_, net)| exporters(net)).collect();
    let port = free_port();
    let site = Site::new(&format!("{}rows = {rows}\n{network}{CUSTOMERS}", settings(port, 2, "100ms")));
    let what = format!("{end:?}, seed {seed:#x}");
    let enough = AtomicBool::new(false);
    let daemon = Daemon::start(&site);
    let target = daemon.listening;
    let (daemon, sent): (_, Vec<Sent>) = std::thread::scope(|threads| {
        // Also when something fails here: the scope waits for the senders.
        let stop = Stop(&enough);
        let senders: Vec<_> = PROTOCOLS
            .iter()
            .map(|&(protocol, net)| {
                let enough = &enough;
                threads.spawn(move || send(protocol, net, target, enough))
            })
            .collect();
        let mut daemon = daemon;
        all_heard(&daemon);
        daemon.flush();
        for n in 0..times {
            // A daemon that is stopped while it still reads its journal leaves the rest to the next one; after a flush
            // it meters what comes, and must leave nothing.
            let is_live = end == End::Terminate && n % 2 == 0;
            if is_live {
                daemon.flush();
            }
            std::thread::sleep(Duration::from_millis(random.below(150)));
            match end {
                End::Kill => daemon.kill(),
                End::Terminate => daemon.stop(),
            }
            if is_live {
                let received = decoded(&site).usage;
                assert!(usage_by_bucket(&site) == received, "what was received is in the ledger: {what}");
            }
            if end == End::Kill && n % 3 == 0 {
                // Also while it starts, catches up, or has just begun to meter.
                let mut process = Daemon::spawn(&site);
                std::thread::sleep(Duration::from_millis(random.below(60)));
                assert!(process.kill());
            }
            daemon = Daemon::start(&site);
        }
        all_heard(&daemon);
        drop(stop);
        (daemon, senders.into_iter().map(|sender| sender.join().unwrap()).collect())
    });
    // What is sent is on its way, or lost in a full socket. A loss behind the last datagram that was received has no
    // number that could tell of it, so there the sending ends for what follows; but the kernel must have counted it.
    // However slow the disk is: what was received is in the journal after a flush.
    let last_sent: HashMap<IpAddr, &[u8]> =
        sent.iter().flatten().map(|(from, sent)| (*from, &sent[..])).collect();
    let begun = Instant::now();
    let last = loop {
        daemon.flush();
        let last = decoded(&site).last;
        let all_came = last.iter().all(|(from, payload)| last_sent[from] == &payload[..]);
        let settled = begun.elapsed() > Duration::from_secs(2);
        if all_came || settled && kernel_drops(&daemon) > 0 {
            break last;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the last datagram was lost by nobody: {what}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut all = Decoder::default();
    for (exporter, payload) in sent.iter().flatten() {
        if all.last.get(exporter) != Some(&last[exporter]) {
            all.add(*exporter, payload);
        }
    }
    daemon.flush();

    let status = daemon.status();
    let received = decoded(&site);
    assert_eq!(usage_by_bucket(&site), received.usage, "{what}");
    crate::books::audited(&site);
    let mut lost_at_all = 0;
    for exporter in status["exporters"].as_array().unwrap() {
        let address: IpAddr = exporter["address"].as_str().unwrap().parse().unwrap();
        let lost = all.units[&address] - received.units[&address];
        assert_eq!(exporter["lost"], lost, "{address}: {what}");
        assert_eq!((&exporter["malformed"], &exporter["duplicates"]), (&0.into(), &0.into()), "{what}");
        lost_at_all += lost;
    }
    assert!(lost_at_all > 0 || end == End::Terminate, "something was lost while the daemon was down");
    same_without_crashes(&site, &format!("[meter]\nbucket = \"end\"\n{network}{CUSTOMERS}"), &what);
}

/// Datagrams that this run's sockets had no room for.
fn kernel_drops(daemon: &Daemon<'_>) -> u64 {
    let status = daemon.status();
    status["processors"].as_array().unwrap().iter().map(|own| own["kernel_drops"].as_u64().unwrap()).sum()
}

/// Waits until every exporter is heard live. After a flush nothing is left to be read back, so what is counted then
/// came out of the sockets.
fn all_heard(daemon: &Daemon<'_>) {
    let heard = || -> Vec<u64> {
        let status = daemon.status();
        let exporters = status["exporters"].as_array().unwrap();
        exporters.iter().map(|exporter| exporter["datagrams"].as_u64().unwrap()).collect()
    };
    daemon.flush();
    let before = heard();
    until("every exporter to be heard", || {
        heard().iter().zip(&before).all(|(now, then)| now > then).then_some(())
    });
}

/// The journal's datagrams in one replay that nobody disturbs: all keys must have the same usage.
fn same_without_crashes(site: &Site, config: &str, what: &str) {
    let calm = Site::new(config);
    let mut capture = CaptureWriter::create(&calm.path("journal.pcap")).unwrap();
    for_each_frame(site, |received, source, payload| {
        capture.write(received, source, "127.0.0.1:2055".parse().unwrap(), payload).unwrap();
    });
    capture.finish().unwrap();
    calm.ok(&["replay", "journal.pcap"]);
    let keys = "customer,link,direction,class,family,exporter,bucket";
    assert_same(&site.usage(keys), &calm.usage(keys), what);
}

#[test]
fn a_killed_daemon_counts_all_that_it_journalled_once() {
    daemon_under_fire(End::Kill, 24, 1 << 20, 0x5eed_0002);
}

/// The table is full all the time, so that most datagrams are metered when they are read back from the journal.
#[test]
fn a_killed_daemon_with_a_full_table_counts_all_once() {
    daemon_under_fire(End::Kill, 8, 40, 0x5eed_0005);
}

#[test]
fn a_stopped_daemon_loses_nothing_that_it_received() {
    daemon_under_fire(End::Terminate, 10, 1 << 20, 0x5eed_0003);
}

/// All of it is in the sockets, or on its way through, when the daemon is told to stop.
#[test]
fn a_stopping_daemon_empties_its_sockets() {
    for (proto, net) in [("v5", 21), ("ipfix", 23)] {
        let network = format!("{}{CUSTOMERS}", exporters(net));
        let site = Site::new(&format!("{}{network}", settings(0, 2, "1h")));
        let daemon = Daemon::start(&site);
        let target = daemon.listening.to_string();
        site.ok(&[
            "generate",
            "--records",
            "3000",
            "--proto",
            proto,
            "--sampling",
            "7",
            "--send",
            &target,
            "--truth",
            "truth.csv",
        ]);
        daemon.stop();
        let truth = std::fs::read_to_string(site.path("truth.csv")).unwrap();
        assert_same(&site.usage(KEYS), &truth, proto);
    }
}

// What the journals hold, decoded by somebody else.

/// Calls `take` with every datagram in the journals, those of one exporter in their order.
fn for_each_frame(site: &Site, mut take: impl FnMut(UnixMillis, SocketAddr, &[u8])) {
    let entries = std::fs::read_dir(site.state().join("journal")).unwrap();
    let mut journals: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    journals.sort();
    for journal in journals {
        let mut reader = Reader::open(&journal, Position(0)).unwrap();
        while let Some(frame) = reader.next().unwrap() {
            take(frame.received, frame.source, frame.payload);
        }
    }
}

/// By exporter's name and bucket: flows, packets, octets, scaled octets.
type Usage = BTreeMap<(String, String), [u64; 4]>;

fn usage_by_bucket(site: &Site) -> Usage {
    let csv = site.usage("exporter,bucket");
    let figure = |row: &[&str], column: usize| row[column].parse::<u64>().unwrap();
    rows(&csv)
        .iter()
        .map(|row| ((row[0].to_owned(), row[1].to_owned()), [2, 5, 6, 4].map(|column| figure(row, column))))
        .collect()
}

fn decoded(site: &Site) -> Decoder {
    let mut decoder = Decoder::default();
    for_each_frame(site, |_, source, payload| decoder.add(source.ip(), payload));
    decoder
}

/// Another decoder, and the simplest accounting.
#[derive(Default)]
struct Decoder {
    parsers: HashMap<IpAddr, NetflowParser>,
    usage: Usage,
    /// What sequence numbers count: flows (v5), datagrams (v9), data records (IPFIX).
    units: HashMap<IpAddr, u64>,
    datagrams: u64,
    /// The last datagram of each exporter.
    last: HashMap<IpAddr, Vec<u8>>,
}

impl Decoder {
    fn add(&mut self, exporter: IpAddr, payload: &[u8]) {
        self.datagrams += 1;
        self.last.insert(exporter, payload.to_vec());
        let parsed = self.parsers.entry(exporter).or_default().parse_bytes(payload);
        let [packet] = &parsed.packets[..] else { panic!("{:?}", parsed.error) };
        let mut records = Vec::new();
        let units = match packet {
            NetflowPacket::V5(packet) => {
                let header = &packet.header;
                let now = i64::from(header.unix_secs) * 1000 + i64::from(header.unix_nsecs) / 1_000_000;
                records.extend(packet.flowsets.iter().map(|flow| {
                    let end = instant(now, header.sys_up_time, flow.last);
                    (end, u64::from(flow.d_pkts), u64::from(flow.d_octets))
                }));
                records.len() as u64
            }
            NetflowPacket::V9(packet) => {
                let now = i64::from(packet.header.unix_secs) * 1000;
                for set in &packet.flowsets {
                    let v9::FlowSetBody::Data(data) = &set.body else { continue };
                    for fields in &data.fields {
                        let value = |element| {
                            let field = fields.iter().find(|(field, _)| u16::from(*field) == element);
                            number(field.map(|(_, value)| value))
                        };
                        let end = u32::try_from(value(21)).unwrap();
                        records.push((instant(now, packet.header.sys_up_time, end), value(2), value(1)));
                    }
                }
                1
            }
            NetflowPacket::IPFix(packet) => {
                let mut options = 0;
                for set in &packet.flowsets {
                    match &set.body {
                        ipfix::FlowSetBody::Data(data) => records.extend(data.fields.iter().map(|fields| {
                            let value = |element| {
                                let wanted = IPFixField::new(element, None);
                                number(
                                    fields.iter().find(|(field, _)| *field == wanted).map(|(_, value)| value),
                                )
                            };
                            (i64::try_from(value(153)).unwrap(), value(2), value(1))
                        })),
                        ipfix::FlowSetBody::OptionsData(data) => options += data.fields.len() as u64,
                        _ => {}
                    }
                }
                records.len() as u64 + options
            }
            other => panic!("{other:?}"),
        };
        *self.units.entry(exporter).or_default() += units;
        let name = exporter.to_string().strip_prefix("127.0.").unwrap().replace('.', "-");
        for (end, packets, octets) in records {
            let bucket = jiff::Timestamp::from_second(end.div_euclid(300_000) * 300).unwrap();
            let row = self.usage.entry((format!("r{name}"), bucket.to_string())).or_default();
            for (sum, n) in row.iter_mut().zip([1, packets, octets, octets * u64::from(SAMPLING)]) {
                *sum += n;
            }
        }
    }
}

/// An uptime becomes an instant by the signed difference to the header's.
fn instant(header_ms: i64, header_uptime: u32, uptime: u32) -> i64 {
    header_ms + i64::from(uptime.wrapping_sub(header_uptime).cast_signed())
}

fn number(value: Option<&FieldValue>) -> u64 {
    value.and_then(FieldValue::as_u64).unwrap()
}
