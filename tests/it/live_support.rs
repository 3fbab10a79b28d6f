//! A daemon of one's own for a test: on ports that the kernel chose, in a directory that vanishes, ended by its number.
//!
//! What a test waits for is a line of the daemon's log or an answer of its control socket, never a pause.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_fluxoscope");

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a configuration and a state directory.
pub(crate) struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    /// A site with that configuration.
    pub(crate) fn new(configuration: &str) -> Self {
        let site = Self { directory: tempfile::tempdir().unwrap() };
        site.configure(configuration);
        site
    }

    /// A site whose exporter is at loopback and is polled there, at this port, each second. Its link is the interface that
    /// has a name like `ifname`.
    pub(crate) fn polled(port: u16, ifname: &str) -> Self {
        Self::new(&format!(
            r#"
[receive]
listen = ["127.0.0.1:0"]
[ledger]
flush = "300ms"
[poll]
interval = "1s"
timeout = "300ms"
retries = 0
[[exporter]]
name = "edge"
address = "127.0.0.1"
snmp = {{ version = "2c", community = "public", port = {port} }}
[[link]]
name = "transit"
interfaces = [{{ exporter = "edge", ifname = "{ifname}" }}]
[[customer]]
name = "campus"
prefixes = ["203.0.113.0/24"]
"#
        ))
    }

    /// Replaces the configuration.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.configuration(), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.path("flux.toml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The program with this configuration and state, and these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.configuration()).arg("--state-dir").arg(self.state());
        command.args(arguments).env_remove("FLUXOSCOPE_LOG");
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it; it must succeed. Its standard output.
    pub(crate) fn out(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}\n{errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Rows of `usage`.
    pub(crate) fn usage(&self, by: &str) -> Vec<Value> {
        let rows = self.out(&["usage", "--by", by, "--format", "json"]);
        serde_json::from_str(&rows).unwrap()
    }

    /// Packets and octets, before scaling, of all usage.
    pub(crate) fn raw_volume(&self) -> (u64, u64) {
        let rows = self.usage("month");
        let sum = |column: &str| rows.iter().map(|row| number(&row[column])).sum();
        (sum("raw_packets"), sum("raw_bytes"))
    }

    /// Starts the daemon.
    pub(crate) fn start(&self) -> Daemon {
        Daemon::spawn(self, self.command(&["run"]))
    }
}

/// A number of a JSON answer.
#[track_caller]
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// What a daemon has said, line by line.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A running daemon; it is killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Log>,
    control: PathBuf,
    /// Where it takes datagrams.
    pub(crate) listening: String,
}

impl Daemon {
    /// Starts `command`, and waits until it listens.
    pub(crate) fn spawn(site: &Site, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (said, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                said.lines.lock().unwrap().push(line);
                said.more.notify_all();
            }
        });
        let control = site.state().join("control.sock");
        let mut daemon = Self { child, log, control, listening: String::new() };
        let line = daemon.wait_for("listening on ");
        daemon.listening = line["listening on ".len()..].trim_end_matches("/udp").to_owned();
        daemon
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// The first line of the log with `text` in it, once it is there.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let begun = Instant::now();
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "no {text:?} in the log:\n{}", lines.join("\n"));
            (lines, _) = self.log.more.wait_timeout(lines, left).unwrap();
        }
    }

    /// How many lines of the log have `text` in them.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.log.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }

    /// One line in, one line of JSON out.
    pub(crate) fn ask(&self, request: &str) -> Value {
        let mut stream = UnixStream::connect(&self.control).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A request that is too long is answered before its end is read, which may break the pipe.
        let _ = stream.write_all(format!("{request}\n").as_bytes());
        let (mut line, mut rest) = (String::new(), Vec::new());
        let mut stream = BufReader::new(stream);
        stream.read_line(&mut line).unwrap();
        // The end may be an abrupt one, where the daemon had not read the request to its end.
        let _ = stream.read_to_end(&mut rest);
        assert_eq!((line.ends_with('\n'), rest.len()), (true, 0), "{line}");
        serde_json::from_str(&line).unwrap()
    }

    /// Everything sent before is in the ledger after.
    #[track_caller]
    pub(crate) fn flush(&self) {
        let answer = self.ask("flush");
        assert_eq!(answer["ok"], true, "{answer}\n{}", self.log());
    }

    pub(crate) fn status(&self) -> Value {
        let status = self.ask("status");
        assert_eq!(status["ok"], true);
        status
    }

    /// Sends datagrams from `source`, an address of the loopback network.
    pub(crate) fn send(&self, source: &str, datagrams: &[Vec<u8>]) {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        for datagram in datagrams {
            socket.send_to(datagram, &self.listening).unwrap();
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        crate::support::signal(self.child.id(), name);
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().unwrap()
    }

    /// As a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The standard output of an outside program that must succeed.
#[track_caller]
pub(crate) fn output(program: &str, arguments: &[&str]) -> String {
    said(program, arguments).0
}

/// The standard output and the standard error of an outside program that must succeed.
#[track_caller]
pub(crate) fn said(program: &str, arguments: &[&str]) -> (String, String) {
    let output = Command::new(program)
        .args(arguments)
        .env("LANG", "C")
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed (ops/test installs it): {error}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{errors}", output.status);
    (String::from_utf8_lossy(&output.stdout).into_owned(), errors)
}

/// A file of this package.
pub(crate) fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Milliseconds since the epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "a live daemon goes by the clock, and so must what is sent to it"
)]
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Traffic for softflowd: a capture of packets, and by (customer, direction, family) its packets and octets.
pub(crate) struct Traffic {
    pub(crate) capture: PathBuf,
    pub(crate) truth: std::collections::BTreeMap<(String, String, String), (u64, u64)>,
}

impl Traffic {
    /// `flows` flows of about `packets` packets in all, that ended just now.
    pub(crate) fn make(site: &Site, seed: u32, flows: u32, packets: u32) -> Self {
        let (capture, csv) = (site.path("traffic.pcap"), site.path("traffic.csv"));
        let numbers =
            [seed.to_string(), flows.to_string(), packets.to_string(), (now_ms() / 1000).to_string()];
        let mut arguments = vec![capture.to_str().unwrap(), csv.to_str().unwrap()];
        arguments.extend(numbers.iter().map(String::as_str));
        output(shipped("ops/demo/make-traffic").to_str().unwrap(), &arguments);
        let mut truth = std::collections::BTreeMap::new();
        for line in std::fs::read_to_string(csv).unwrap().lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let [family, source, destination, packets, octets] = fields[..] else { panic!("{line}") };
            let (customer, direction) = match (customer(source), customer(destination)) {
                (Some(customer), None) => (customer, "out"),
                (None, Some(customer)) => (customer, "in"),
                _ => panic!("{line}"),
            };
            let key = (customer.to_owned(), direction.to_owned(), format!("ipv{family}"));
            let sums: &mut (u64, u64) = truth.entry(key).or_default();
            sums.0 += packets.parse::<u64>().unwrap();
            sums.1 += octets.parse::<u64>().unwrap();
        }
        Self { capture, truth }
    }

    /// softflowd exports it to `collector`.
    pub(crate) fn export(&self, site: &Site, collector: &str, options: &[&str], filter: &[&str]) {
        let pid = site.path("softflowd.pid");
        let mut arguments = vec!["-d", "-c", "none", "-p", pid.to_str().unwrap()];
        arguments.extend(["-r", self.capture.to_str().unwrap(), "-n", collector]);
        arguments.extend(options.iter().chain(filter));
        let program =
            if Path::new("/usr/sbin/softflowd").exists() { "/usr/sbin/softflowd" } else { "softflowd" };
        output(program, &arguments);
    }
}

/// Whose address it is, in [`NETWORK`] as in what make-traffic writes.
fn customer(address: &str) -> Option<&'static str> {
    let ours = [
        ("203.0.113.", "campus"),
        ("2001:db8:40::", "campus"),
        ("198.51.100.", "institute"),
        ("2001:db8:50::", "institute"),
    ];
    ours.iter().find(|(prefix, _)| address.starts_with(prefix)).map(|(_, name)| *name)
}

/// A daemon on free ports, exporters on loopback, and the customers of make-traffic. softflowd tells no interfaces, so
/// the exporter as a whole is the link.
pub(crate) const NETWORK: &str = r#"
[receive]
listen = ["127.0.0.1:0"]

[ledger]
flush = "300ms"

[sampling]
grace = "1s"

[[exporter]]
name = "edge"
address = "127.0.0.1"

[[link]]
name = "transit"
kind = "upstream"
interfaces = [{ exporter = "edge" }]

[[customer]]
name = "campus"
prefixes = ["203.0.113.0/24", "2001:db8:40::/48"]

[[customer]]
name = "institute"
prefixes = ["198.51.100.0/24", "2001:db8:50::/48"]
"#;

/// A NetFlow v5 datagram of flows from 198.18.0.1 to `destination`, that ended at this very moment. Each has
/// (packets, octets).
pub(crate) fn v5(sequence: u32, destination: [u8; 4], flows: &[(u32, u32)]) -> Vec<u8> {
    const UPTIME: u32 = 3_600_000;
    let now = now_ms();
    let (seconds, nanos) = (now.div_euclid(1000), now.rem_euclid(1000) * 1_000_000);
    let mut out = Vec::new();
    out.extend(5_u16.to_be_bytes());
    out.extend(u16::try_from(flows.len()).unwrap().to_be_bytes());
    out.extend(UPTIME.to_be_bytes());
    out.extend(u32::try_from(seconds).unwrap().to_be_bytes());
    out.extend(u32::try_from(nanos).unwrap().to_be_bytes());
    out.extend(sequence.to_be_bytes());
    out.extend([0; 4]);
    for (packets, octets) in flows {
        out.extend([198, 18, 0, 1]);
        out.extend(destination);
        out.extend([0; 8]);
        for word in [*packets, *octets, UPTIME, UPTIME] {
            out.extend(word.to_be_bytes());
        }
        out.extend([0x01, 0xbb, 0x80, 0, 0, 0x10, 6, 0]);
        out.extend([0; 8]);
    }
    out
}

/// A datagram with one flow of a packet to the customer of [`Site::polled`], that came in by this interface.
pub(crate) fn v5_by(ifindex: u16, sequence: u32, octets: u32) -> Vec<u8> {
    let mut datagram = v5(sequence, [203, 0, 113, 9], &[(1, octets)]);
    // Behind the header, source, destination and next hop.
    datagram[24 + 12..24 + 14].copy_from_slice(&ifindex.to_be_bytes());
    datagram
}
