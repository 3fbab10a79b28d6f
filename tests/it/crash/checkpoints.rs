//! Datagrams made by hand, kills between them, and what must come of them: what decoding remembers is that of the last
//! commit, and nothing newer.

use super::*;
use crate::books::{audited, figure};

/// 2026-01-01T00:00:00Z
pub(super) const EXPORT: u32 = 1_767_225_600;
pub(super) const UPTIME: u32 = 1_000_000;

pub(super) fn be(parts: &[(u64, usize)]) -> Vec<u8> {
    parts.iter().flat_map(|&(n, octets)| n.to_be_bytes()[8 - octets..].to_vec()).collect()
}

pub(super) fn set(id: u64, body: &[u8]) -> Vec<u8> {
    [be(&[(id, 2), (body.len() as u64 + 4, 2)]), body.to_vec()].concat()
}

/// A template of these elements and lengths.
pub(super) fn template(id: u64, fields: &[(u64, u64)]) -> Vec<u8> {
    let head = be(&[(id, 2), (fields.len() as u64, 2)]);
    [head, fields.iter().flat_map(|&(element, length)| be(&[(element, 2), (length, 2)])).collect()].concat()
}

/// Source, destination, input, output; the destination is a customer's, the input a link's.
pub(super) const WAY: [(u64, u64); 4] = [(8, 4), (12, 4), (10, 2), (14, 2)];

pub(super) fn way(host: u64) -> Vec<u8> {
    be(&[(0x0808_0808, 4), (0x1400_0000 + host, 4), (12, 2), (1, 2)])
}

/// An exporter on loopback and the daemon that it sends to, with a flush that comes only when it is asked for.
struct Bench {
    site: Site,
    port: u16,
    processors: [usize; 3],
    starts: usize,
    socket: UdpSocket,
    sequence: u32,
    /// Datagrams sent.
    sent: usize,
}

impl Bench {
    /// `exporter`: settings of the one exporter, 127.0.24.1.
    fn new(exporter: &str) -> Self {
        Self::on(Dialect::Sqlite, exporter)
    }

    fn on(dialect: Dialect, exporter: &str) -> Self {
        let network = format!(
            "[[exporter]]\nname = \"hand\"\naddress = \"127.0.24.1\"\n{exporter}\n[[link]]\nname = \"up\"\n\
             interfaces = [ {{ exporter = \"hand\", ifindex = 12 }} ]\n{CUSTOMERS}"
        );
        Self {
            site: Site::on(dialect, &network),
            port: free_port(),
            processors: [2, 3, 1],
            starts: 0,
            socket: UdpSocket::bind("127.0.24.1:0").unwrap(),
            sequence: 0,
            sent: 0,
        }
        .with(&network)
    }

    fn with(self, network: &str) -> Self {
        std::fs::write(self.site.path("network.toml"), network).unwrap();
        self
    }

    /// Starts the daemon with another number of processors than the last time.
    fn start(&mut self) -> Daemon<'_> {
        let processors = self.processors[self.starts % 3];
        self.starts += 1;
        let network = std::fs::read_to_string(self.site.path("network.toml")).unwrap();
        self.site.configure(&format!("{}{network}", settings(self.port, processors, "1h")));
        Daemon::start(&self.site)
    }

    /// Runs the daemon, sends these datagrams, and kills it once they are in its journal.
    fn killed_after(&mut self, datagrams: &[Vec<u8>]) {
        self.feed(datagrams, End::Kill);
    }

    /// The same, but flushes before the kill.
    fn flushed_after(&mut self, datagrams: &[Vec<u8>]) {
        self.feed(datagrams, End::Terminate);
    }

    fn feed(&mut self, datagrams: &[Vec<u8>], end: End) {
        self.sent += datagrams.len();
        let (socket, sent) = (self.socket.try_clone().unwrap(), self.sent);
        let daemon = self.start();
        for datagram in datagrams {
            socket.send_to(datagram, daemon.listening).unwrap();
        }
        if end == End::Terminate {
            daemon.flush();
        }
        let site = daemon.site();
        until("the journal to have it all", || {
            let mut frames = 0;
            for_each_frame(site, |_, _, _| frames += 1);
            (frames == sent).then_some(())
        });
        daemon.kill();
    }

    /// A v9 datagram, the next in sequence.
    fn v9(&mut self, sets: &[Vec<u8>]) -> Vec<u8> {
        let header = [(9, 2), (sets.len() as u64, 2), (UPTIME.into(), 4), (EXPORT.into(), 4)];
        let header = [&header[..], &[(self.sequence.into(), 4), (7, 4)]].concat();
        self.sequence += 1;
        [be(&header), sets.concat()].concat()
    }

    /// An IPFIX message with so many data records.
    fn ipfix(&mut self, sets: &[Vec<u8>], records: u32) -> Vec<u8> {
        let length = sets.concat().len() as u64 + 16;
        let header = [(10, 2), (length, 2), (EXPORT.into(), 4), (self.sequence.into(), 4), (7, 4)];
        self.sequence += records;
        [be(&header), sets.concat()].concat()
    }

    /// One row: `flows,packets,bytes,raw_packets,raw_bytes` of customer `one` over link `up`; or none. And each record
    /// that was decoded is metered, or waits.
    fn expect(&self, row: &str) {
        let found = self.site.usage("customer,link,direction");
        let found: Vec<String> = rows(&found).iter().map(|row| row[..row.len() - 1].join(",")).collect();
        let expected: Vec<String> =
            if row.is_empty() { Vec::new() } else { vec![format!("one,up,in,{row}")] };
        assert_eq!(found, expected);
        assert_eq!(figure(&audited(&self.site), "records", "forgotten"), 0);
    }
}

const UNSAMPLED: &str = "sampling = { override = \"1/1\" }";

/// A template is redefined, octets and packets exchanged, between a flush and a kill: records before and after are read
/// by their own template, also when the journal is read again.
#[test]
fn a_redefined_template_does_not_reach_back() {
    let mut bench = Bench::new(UNSAMPLED);
    let octets_first = set(0, &template(256, &[&WAY[..], &[(1, 4), (2, 4), (22, 4), (21, 4)]].concat()));
    let packets_first = set(0, &template(256, &[&WAY[..], &[(2, 4), (1, 4), (22, 4), (21, 4)]].concat()));
    let data = |first, second| {
        let times = [(u64::from(UPTIME) - 2000, 4), (u64::from(UPTIME) - 1000, 4)];
        set(256, &[way(1), be(&[(first, 4), (second, 4)]), be(&times)].concat())
    };
    let first = bench.v9(&[octets_first.clone(), data(1000, 10)]);
    bench.flushed_after(&[first]);
    bench.expect("1,10,1000,10,1000");

    // The old template's record, then the new template, its record in the same datagram, and one more.
    let old = bench.v9(&[data(2000, 20)]);
    let new = bench.v9(&[packets_first, data(30, 3000)]);
    let more = bench.v9(&[data(40, 4000)]);
    bench.killed_after(&[old, new, more]);
    bench.expect("1,10,1000,10,1000");

    // Catching up committed the three, and with them the new template.
    let newer = bench.v9(&[data(50, 5000)]);
    bench.killed_after(&[newer]);
    bench.expect("4,100,10000,100,10000");
    let back = bench.v9(&[octets_first, data(6000, 60)]);
    bench.killed_after(&[back]);
    bench.start().stop();
    bench.expect("6,210,21000,210,21000");
}

/// Records wait for their sampler over kills; two of them, one committed as held and one only journalled.
#[test]
fn held_records_survive() {
    let mut bench = Bench::new("");
    let fields = [&WAY[..], &[(1, 4), (2, 4), (22, 4), (21, 4), (48, 1)]].concat();
    let data = |octets, packets| {
        let times = [(u64::from(UPTIME) - 2000, 4), (u64::from(UPTIME) - 1000, 4), (5, 1)];
        set(256, &[way(1), be(&[(octets, 4), (packets, 4)]), be(&times)].concat())
    };
    let options = set(
        1,
        &be(&[(300, 2), (4, 2), (12, 2), (1, 2), (4, 2), (48, 2), (1, 2), (49, 2), (1, 2), (50, 2), (4, 2)]),
    );
    let sampler = |sampler, interval| set(300, &be(&[(0, 4), (sampler, 1), (2, 1), (interval, 4)]));

    let first = bench.v9(&[set(0, &template(256, &fields)), data(700, 7)]);
    bench.flushed_after(&[first]);
    bench.expect("");
    let second = bench.v9(&[data(300, 3)]);
    bench.killed_after(&[second]);
    let another = bench.v9(&[options, sampler(6, 9)]);
    bench.flushed_after(&[another]);
    bench.expect("");
    let this = bench.v9(&[sampler(5, 100)]);
    bench.killed_after(&[this]);
    bench.expect("");
    bench.start().kill();
    bench.expect("2,1000,100000,10,1000");
    bench.start().stop();
    bench.expect("2,1000,100000,10,1000");
}

/// Thousands of records of two samplers wait, in many chunks of a checkpoint that each flush adds to. Kills fall after
/// flushes and between them; then one sampler is described, which leaves holes in all chunks, and later the other.
#[test]
fn many_held_records_survive() {
    for dialect in crate::support::dialects() {
        let mut bench = Bench::on(dialect, "");
        let fields = [&WAY[..], &[(1, 4), (2, 4), (22, 4), (21, 4), (48, 1)]].concat();
        // 40 records, of sampler 5 and 6 in turn: 20 of each, of 1000 octets and 10 packets, and 500 and 5.
        let data = |salt: u64| {
            let record = |n: u64| {
                let (sampler, octets, packets) =
                    if n.is_multiple_of(2) { (5, 1000, 10) } else { (6, 500, 5) };
                let times = [(u64::from(UPTIME) - 2000, 4), (u64::from(UPTIME) - 1000, 4), (sampler, 1)];
                [way(salt * 40 + n), be(&[(octets, 4), (packets, 4)]), be(&times)].concat()
            };
            set(256, &(0..40).flat_map(record).collect::<Vec<u8>>())
        };
        let sampler = |sampler, interval| {
            let scope = [(4, 2), (12, 2), (1, 2), (4, 2), (48, 2), (1, 2), (49, 2), (1, 2), (50, 2), (4, 2)];
            let options = set(1, &be(&[&[(300, 2)], &scope[..]].concat()));
            [options, set(300, &be(&[(0, 4), (sampler, 1), (2, 1), (interval, 4)]))]
        };
        let first = bench.v9(&[set(0, &template(256, &fields))]);
        bench.flushed_after(&[first]);
        // Six runs with 20 datagrams each: 4800 records.
        for run in 0..6 {
            let datagrams: Vec<_> = (0..20).map(|n| bench.v9(&[data(run * 20 + n)])).collect();
            if run % 2 == 0 {
                bench.flushed_after(&datagrams);
            } else {
                bench.killed_after(&datagrams);
            }
            bench.expect("");
        }
        let five = bench.v9(&sampler(5, 100));
        bench.killed_after(&[five]);
        let after = bench.v9(&[data(120)]);
        bench.flushed_after(&[after]);
        // 121 datagrams with 20 records of sampler 5.
        bench.expect("2420,2420000,242000000,24200,2420000");
        let six = bench.v9(&sampler(6, 10));
        bench.killed_after(&[six]);
        bench.start().kill();
        // And as many of sampler 6: 12 100 packets and 1 210 000 octets, ten times.
        bench.expect("4840,2541000,254100000,36300,3630000");
        bench.start().stop();
        bench.expect("4840,2541000,254100000,36300,3630000");
    }
}

/// Sets wait for their template over kills, in the checkpoint and in the journal.
#[test]
fn held_sets_survive() {
    let mut bench = Bench::new(UNSAMPLED);
    let fields = [&WAY[..], &[(1, 4), (2, 4), (152, 8), (153, 8)]].concat();
    let end = u64::from(EXPORT) * 1000;
    let data = |octets, packets| {
        let body = [way(1), be(&[(octets, 4), (packets, 4), (end - 2000, 8), (end - 1000, 8)])].concat();
        set(400, &body)
    };
    let first = bench.ipfix(&[data(800, 8)], 1);
    bench.flushed_after(&[first]);
    let second = bench.ipfix(&[data(900, 9)], 1);
    bench.killed_after(&[second]);
    bench.expect("");
    let known = bench.ipfix(&[set(2, &template(400, &fields)), data(100, 1)], 1);
    bench.killed_after(&[known]);
    bench.expect("");
    let more = bench.ipfix(&[data(200, 2)], 1);
    bench.killed_after(&[more]);
    bench.expect("3,18,1800,18,1800");
    bench.start().stop();
    bench.expect("4,20,2000,20,2000");
}

/// Of running totals (elements 85, 86) only differences count, whatever was committed between them.
#[test]
fn running_totals_survive() {
    let mut bench = Bench::new(UNSAMPLED);
    let fields = [&WAY[..], &[(85, 8), (86, 8), (152, 8), (153, 8), (136, 1)]].concat();
    let end = u64::from(EXPORT) * 1000;
    let between = |start, end, host, octets, packets, reason| {
        let figures = be(&[(octets, 8), (packets, 8), (start, 8), (end, 8), (reason, 1)]);
        set(300, &[way(host), figures].concat())
    };
    let total =
        |host, octets, packets, reason| between(end - 2000, end - 1000, host, octets, packets, reason);
    const ACTIVE: u64 = 2;
    const OVER: u64 = 3;
    let first = bench.ipfix(&[set(2, &template(300, &fields)), total(1, 1000, 10, ACTIVE)], 1);
    bench.flushed_after(&[first]);
    bench.expect("1,10,1000,10,1000");
    let second = bench.ipfix(&[total(1, 2500, 25, ACTIVE)], 1);
    bench.killed_after(&[second]);
    let third = bench.ipfix(&[total(1, 4000, 40, ACTIVE), total(2, 500, 5, ACTIVE)], 2);
    bench.killed_after(&[third]);
    bench.expect("2,25,2500,25,2500");
    // Over at 4600, which is told twice, and another flow with 100.
    let last = bench.ipfix(&[total(1, 4600, 46, OVER)], 1);
    let again = bench.ipfix(&[total(1, 4600, 46, OVER)], 1);
    let anew = bench.ipfix(&[between(end - 900, end - 500, 1, 100, 1, ACTIVE)], 1);
    bench.killed_after(&[last]);
    bench.killed_after(&[again, anew]);
    bench.start().stop();
    bench.expect("7,52,5200,52,5200");
}

/// The daemon is killed as soon as it runs, many times, with a journal to catch up with: nothing is counted twice, and
/// each start gets on.
#[test]
fn kills_while_catching_up() {
    let mut random = Random(0x5eed_0004);
    let network = format!("{}{CUSTOMERS}", exporters(22));
    let site = Site::new(&format!("{}{network}", settings(0, 2, "1h")));
    let daemon = Daemon::start(&site);
    let target = daemon.listening.to_string();
    let args = ["--records", "9000", "--proto", "v9", "--sampling", "3", "--rate", "6000"];
    site.ok(&[&["generate", "--send", &target, "--truth", "truth.csv"][..], &args].concat());
    assert_eq!(daemon.status()["commits"], 0, "nothing was flushed");
    until("the journal", || {
        let mut decoder = Decoder::default();
        for_each_frame(&site, |_, source, payload| decoder.add(source.ip(), payload));
        let flows: u64 = decoder.usage.values().map(|row| row[0]).sum();
        (flows == 9000).then_some(())
    });
    daemon.kill();
    for _ in 0..8 {
        let mut process = Daemon::spawn(&site);
        std::thread::sleep(Duration::from_millis(random.below(80)));
        assert!(process.kill());
    }
    Daemon::start(&site).stop();
    let truth = std::fs::read_to_string(site.path("truth.csv")).unwrap();
    assert_same(&site.usage(KEYS), &truth, "seed 0x5eed0004");
}
