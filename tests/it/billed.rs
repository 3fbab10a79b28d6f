//! Bills whose amounts were worked out by hand: customers on interfaces of one router, flows of known octets, and what its
//! interfaces counted. What concerns one subject is in a file of its own.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use fluxoscope::ledger::records::NameKind;
use fluxoscope::ledger::records::interfaces::{InterfaceOctets, InterfacePart};
use fluxoscope::ledger::{Ledger, Url};
use fluxoscope::receive::pcap_write::CaptureWriter;
use fluxoscope::units::{IfIndex, UnixMillis};
use fluxoscope::usage::{BUCKET_SECONDS, BucketStart};
use serde_json::Value;

use crate::support::{Dialect, Site};

mod calibrated;
mod drafts;
mod late;
pub(crate) mod tampered;

/// A gigabyte.
const GB: u64 = 1_000_000_000;
/// The interface of the one link.
const UPSTREAM: u16 = 100;

const NETWORK: &str = r#"
[ledger]
url = "LEDGER"
[invoice]
seller = "Example Networks"
series = "R-"
[[exporter]]
name = "ce1"
address = "192.0.2.1"
observes = "ingress"
[[link]]
name = "transit-a"
kind = "upstream"
interfaces = [ { exporter = "ce1", ifindex = 100 } ]
"#;

/// 0.40 a GB up to 100 GB, 0.30 above, and a port for 10.00; 21 % of tax.
const PLAIN: &str = r#"
[tariff]
id = "t"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "UTC"
unit = "GB"
[[class]]
name = "up"
match = { link = ["transit-*"] }
[[class]]
name = "rest"
match = {}
[[charge]]
id = "vol"
kind = "volume"
class = ["up"]
direction = "sum"
tiers = { mode = "graduated", rows = [ { up_to = "100", price = "0.40" }, { price = "0.30" } ] }
[[charge]]
id = "port"
kind = "recurring"
amount = "10.00"
[tax]
category = "S"
percent = "21"
"#;

/// The 95th percentile of what the link's interfaces counted, 3.00 a Mbit/s; 1.00 a GB; at least 100.00.
const COUNTED: &str = r#"
[tariff]
id = "p"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "UTC"
unit = "GB"
[[class]]
name = "up"
match = { link = ["transit-*"] }
[[class]]
name = "rest"
match = {}
[[charge]]
id = "p95"
kind = "percentile"
class = ["up"]
combine = "max-of-p95"
rank = "nearest"
links = "sum-then-rank"
missing = "exclude"
min_coverage = "0.5"
source = "snmp"
price = "3.00"
[[charge]]
id = "vol"
kind = "volume"
class = ["up"]
direction = "sum"
price = "1.00"
[minimum]
amount = "100.00"
[tax]
category = "S"
percent = "21"
"#;

/// A site with such bills.
struct Billed {
    site: Site,
    /// Flows so far: the sequence number of the next datagram.
    flows: Cell<u32>,
    files: Cell<u32>,
}

impl Billed {
    /// Customers by name and what else their sections say, each behind an interface of its own from 1 on; and active
    /// tariffs.
    fn new(dialect: Dialect, customers: &[(&str, &str)], tariffs: &[&str]) -> Self {
        let billed =
            Self { site: Site::on(dialect, &config(customers)), flows: Cell::new(0), files: Cell::new(0) };
        for tariff in tariffs {
            billed.activate(tariff, &[]);
        }
        billed
    }

    fn configure(&self, customers: &[(&str, &str)]) {
        self.site.configure(&config(customers));
    }

    fn activate(&self, tariff: &str, options: &[&str]) {
        self.file(tariff);
        self.site.ok(&[&["tariff", "activate", "tariff.toml", "--by", "ann"], options].concat());
    }

    /// Writes `tariff.toml`.
    fn file(&self, tariff: &str) {
        std::fs::write(self.site.path("tariff.toml"), tariff).unwrap();
    }

    /// Flows from customers' interfaces to the link: the instant, the interface, the octets.
    fn used(&self, flows: &[(&str, u16, u64)]) {
        let name = format!("used{}.pcap", self.files.replace(self.files.get() + 1));
        let mut writer = CaptureWriter::create(&self.site.path(&name)).unwrap();
        let [source, collector] = [(1, 40_000), (9, 2055)]
            .map(|(host, port)| SocketAddr::new(Ipv4Addr::new(192, 0, 2, host).into(), port));
        for (at, interface, octets) in flows {
            let at: jiff::Timestamp = at.parse().unwrap();
            let mut left = *octets;
            while left > 0 {
                let part = left.min(4 * GB);
                left -= part;
                let sequence = self.flows.replace(self.flows.get() + 1);
                let sent = u32::try_from(at.as_second()).unwrap() + 60;
                let datagram = v5(sequence, sent, *interface, u32::try_from(part).unwrap());
                writer.write(UnixMillis(i64::from(sent) * 1000), source, collector, &datagram).unwrap();
            }
        }
        writer.finish().unwrap();
        self.site.ok(&["replay", &name]);
    }

    /// What the link's interface counted in every bucket of the days from one to another: octets in and out.
    fn counted(&self, from: &str, to: &str, octets: (u64, u64)) {
        self.count(from, to, octets).unwrap();
    }

    /// The same, which may be refused.
    fn count(&self, from: &str, to: &str, octets: (u64, u64)) -> Result<(), fluxoscope::ledger::Error> {
        let mut ledger = self.ledger();
        let exporters = ledger.names(NameKind::Exporter).unwrap();
        let exporter = exporters.iter().find(|(_, name)| name == "ce1").unwrap().0;
        let [from, to] = [from, to].map(|at| at.parse::<jiff::Timestamp>().unwrap().as_second());
        let row = |bucket: i64| InterfaceOctets {
            exporter,
            ifindex: IfIndex(u32::from(UPSTREAM)),
            part: InterfacePart {
                bucket: BucketStart(bucket),
                from: BucketStart(bucket).start(),
                to: BucketStart(bucket + BUCKET_SECONDS).start(),
                in_octets: octets.0,
                out_octets: octets.1,
                in_packets: None,
                out_packets: None,
            },
        };
        let buckets = (0..(to - from) / BUCKET_SECONDS).map(|n| row(from + n * BUCKET_SECONDS));
        ledger.put_interface_octets(&buckets.collect::<Vec<_>>())
    }

    fn ledger(&self) -> Ledger {
        Ledger::open_existing(&Url::parse(&self.site.ledger_url(), &self.site.state()).unwrap()).unwrap()
    }

    /// `invoice run` and `invoice finalize` of a period, with its date.
    fn bill(&self, period: &str, date: &str) {
        self.site.ok(&["invoice", "run", "--period", period]);
        self.site.ok(&["invoice", "finalize", "--period", period, "--date", date, "--by", "ann"]);
    }

    fn invoice(&self, number: &str) -> Value {
        serde_json::from_str(&self.site.ok(&["invoice", "show", number, "--format", "json"])).unwrap()
    }

    /// Charge, kind and amount of the lines.
    fn lines(&self, number: &str) -> Vec<(String, String, String)> {
        let invoice = self.invoice(number);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let line =
            |line: &Value| (text(&line["charge"]), text(&line["detail"]["kind"]), text(&line["amount"]));
        invoice["lines"].as_array().unwrap().iter().map(line).collect()
    }

    /// Charge and amount of the lines for late usage.
    fn late(&self, number: &str) -> Vec<(String, String)> {
        let late = self.lines(number).into_iter().filter(|(_, kind, _)| kind == "late");
        late.map(|(charge, _, amount)| (charge, amount)).collect()
    }

    /// What a command that must end with this exit code says on both outputs.
    #[track_caller]
    fn ends(&self, code: i32, args: &[&str]) -> String {
        let output = self.site.run(args);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }

    /// Every line of an invoice is explained up to its amount; what is said of each.
    #[track_caller]
    fn explained(&self, number: &str) -> Vec<Value> {
        let lines = self.lines(number);
        let explain = |(at, (charge, _, amount)): (usize, (String, String, String))| {
            let at = at.to_string();
            let said = self.ends(0, &["invoice", "explain", number, &at, "--format", "json"]);
            let said: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(said["comes_to"], Value::from(amount), "{charge}: {said:#}");
            said
        };
        (1..).zip(lines).map(explain).collect()
    }
}

fn config(customers: &[(&str, &str)]) -> String {
    let mut config = NETWORK.to_owned();
    for (n, (name, more)) in (1..).zip(customers) {
        let interfaces = format!("[ {{ exporter = \"ce1\", ifindex = {n} }} ]");
        write!(config, "[[customer]]\nname = \"{name}\"\ninterfaces = {interfaces}\n{more}\n").unwrap();
    }
    config
}

/// Another version of a tariff, with changes.
fn version(tariff: &str, version: u32, changes: &[(&str, &str)]) -> String {
    let own = format!("version = {version}");
    let mut text = tariff.to_owned();
    for (old, new) in changes.iter().copied().chain([("version = 1", own.as_str())]) {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    text
}

fn amounts(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    lines.iter().map(|(charge, amount)| ((*charge).to_owned(), (*amount).to_owned())).collect()
}

/// A NetFlow v5 datagram of one flow of a second, that ended a second before it was sent.
fn v5(sequence: u32, sent: u32, interface: u16, octets: u32) -> Vec<u8> {
    const UPTIME: u32 = 3_600_000;
    let mut out = vec![0, 5, 0, 1];
    out.extend([UPTIME, sent, 0, sequence, 0].map(u32::to_be_bytes).concat());
    out.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 0]);
    out.extend([interface, UPSTREAM].map(u16::to_be_bytes).concat());
    out.extend([octets / 1000 + 1, octets].map(u32::to_be_bytes).concat());
    out.extend([UPTIME - 2000, UPTIME - 1000].map(u32::to_be_bytes).concat());
    out.extend([1, 2].map(u16::to_be_bytes).concat());
    out.extend([0, 0, 6, 0]);
    out.extend([0; 8]);
    out
}
