//! What operators hear without asking: net-snmp's trap daemon gets traps and informs, and Prometheus' format is served
//! beside it.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use fluxoscope::counters::{AllowanceRow, Managed, Reconciled, ReconciledRow};
use fluxoscope::snmp::{Agent, Authentication, Config, InformUser, Passphrase, Privacy, Protocol, Target};
use fluxoscope::units::UnixMillis;

use crate::live_support::{Site, now_ms, v5};
use crate::snmp::{counters, output};

/// snmptrapd, which writes what it gets to its log, a line each; it is killed when dropped.
struct TrapDaemon {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl TrapDaemon {
    fn start(site: &Site, port: u16, settings: &str) -> Self {
        let file = site.path("snmptrapd.conf");
        fs::write(&file, settings).unwrap();
        let state = site.path("snmptrapd");
        fs::create_dir_all(&state).unwrap();
        let mut child = Command::new("snmptrapd")
            .args(["-f", "-Le", "-n", "-On", "-C", "-c", file.to_str().unwrap()])
            .args(["-F", "%P|%v\\n", &format!("udp:127.0.0.1:{port}")])
            .env("SNMP_PERSISTENT_DIR", &state)
            .env("LANG", "C")
            .env("MIBS", "")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("snmptrapd is needed (ops/test installs it): {error}"));
        let (sender, lines) = mpsc::channel();
        let output = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line that has all of these.
    fn wait_for(&self, parts: &[&str]) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) if parts.iter().all(|part| line.contains(part)) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("{error}: no {parts:?} in {seen:#?}"),
            }
        }
    }
}

impl Drop for TrapDaemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn configuration(port: u16) -> String {
    format!(
        r#"
[receive]
listen = ["127.0.0.1:0"]
unknown_exporters = "accept"

[ledger]
flush = "200ms"

[snmp]
listen = "127.0.0.1:0"
communities = ["see"]
alarm_silent = "1s"

[metrics]
listen = "127.0.0.1:0"

[[snmp.notify]]
address = "127.0.0.1:{port}"
community = "traps"

[[snmp.notify]]
address = "127.0.0.1:{port}"
community = "informs"
inform = true

[[snmp.notify]]
address = "127.0.0.1:{port}"
version = "3"
user = "flux"
"#
    )
}

#[test]
fn traps_and_informs_arrive() {
    let port = free_port();
    let site = Site::new(&configuration(port));
    let secrets = site.path("secrets");
    fs::write(&secrets, "the first passphrase\nthe second passphrase\n").unwrap();
    let secrets = secrets.to_str().unwrap();
    site.out(&[
        "snmp",
        "user",
        "add",
        "flux",
        "--auth",
        "SHA-256",
        "--priv",
        "AES-128",
        "--secrets",
        secrets,
    ]);
    let engine = fs::read_to_string(site.state().join("snmp/engine")).unwrap();
    let engine = engine.lines().next().unwrap().strip_prefix("id ").unwrap().to_owned();
    let traps = TrapDaemon::start(
        &site,
        port,
        &format!(
            "authCommunity log traps\nauthCommunity log informs\n\
             createUser -e 0x{engine} flux SHA-256 \"the first passphrase\" AES \"the second passphrase\"\n\
             authUser log flux priv\n"
        ),
    );
    let daemon = site.start();
    let peer = daemon.status()["snmp"].as_str().unwrap().to_owned();

    // An exporter says something, and then nothing.
    daemon.send("127.0.0.1", &[v5(0, [10, 0, 0, 1], &[(1, 100)])]);
    daemon.flush();
    let alarm = "32473.2055.0.1";
    let silent = "32473.2055.1.3.1.8.";
    let mut kinds: Vec<String> = Vec::new();
    while kinds.len() < 3 {
        let line = traps.wait_for(&[alarm, silent, "127.0.0.1"]);
        kinds.push(line);
    }
    let is_there = |part: &str| kinds.iter().any(|line| line.contains(part));
    assert!(is_there("community traps") && is_there("INFORM") && is_there("community informs"), "{kinds:#?}");
    assert!(is_there("user flux"), "{kinds:#?}");

    // The history has it, and the inform was acknowledged.
    let get = |oid: &str| {
        let output =
            Command::new("snmpget").args(["-v2c", "-c", "see", "-Oqvn", &peer, oid]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(get("1.3.6.1.4.1.32473.2055.1.8.1.2.1"), "\"exporter silent\"");
    assert_eq!(get("1.3.6.1.4.1.32473.2055.1.8.1.3.1"), "\"127.0.0.1\"");
    assert_eq!(get("1.3.6.1.4.1.32473.2055.1.8.1.5.1"), ".1.3.6.1.4.1.32473.2055.0.1");
    let begun = now_ms();
    while get("1.3.6.1.4.1.32473.2055.1.7.6.0") == "0" {
        assert!(now_ms() - begun < 60_000, "no acknowledgement was counted");
    }
    assert!(daemon.stop().success());
}

#[test]
fn prometheus_reads_metrics() {
    let site = Site::new(&configuration(free_port()));
    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5(0, [10, 0, 0, 1], &[(1, 100), (2, 200)])]);
    daemon.flush();
    let address = daemon.status()["metrics"].as_str().unwrap().to_owned();
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    // Who connects and says nothing, each of them for up to two seconds, keeps nobody waiting.
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let begun = Instant::now();
    let answer = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(silent);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains(&format!("Content-Length: {}", body.len()))
    );
    for line in [
        "fluxoscope_processor_records_total{processor=\"processor 0\",index=\"1\"} 2",
        "fluxoscope_total_datagrams_total 1",
        "fluxoscope_exporters 1",
    ] {
        assert!(body.lines().any(|found| found == line), "{line}\n{body}");
    }
    assert!(ask("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask("POST /metrics HTTP/1.1\r\nHost: here\r\n\r\n").starts_with("HTTP/1.1 405 "));
    // One who says nothing does not keep others out for long.
    let _mute = TcpStream::connect(&address).unwrap();
    assert!(ask("GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").contains("fluxoscope_exporters 1"));
    assert!(daemon.stop().success());
}

/// Informs of SNMPv3: snmptrapd is the authoritative engine, which has to be discovered; and again when it is another one.
#[test]
fn informs_of_version_3_are_acknowledged_by_an_engine_that_was_discovered() {
    let site = Site::new("");
    let port = free_port();
    let user = |name: &str, authentication, privacy: Option<Privacy>| InformUser {
        name: name.into(),
        authentication: Some((authentication, Passphrase::new("the first passphrase"))),
        privacy: privacy.map(|protocol| (protocol, Passphrase::new("the second passphrase"))),
    };
    let target =
        |user| Target { address: ([127, 0, 0, 1], port).into(), protocol: Protocol::V3Inform { user } };
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        communities: vec!["see".into()],
        notify: vec![
            target(user("flux", Authentication::Sha256, Some(Privacy::Aes128))),
            target(user("signed", Authentication::Sha256, None)),
            target(user("old", Authentication::Md5, Some(Privacy::Des))),
        ],
        ..Config::default()
    };
    let settings = "createUser flux SHA-256 \"the first passphrase\" AES \"the second passphrase\"\n\
        createUser signed SHA-256 \"the first passphrase\"\nauthUser log flux priv\nauthUser log signed auth\n\
        createUser old MD5 \"the first passphrase\" DES \"the second passphrase\"\nauthUser log old priv\n";
    let traps = TrapDaemon::start(&site, port, settings);
    traps.wait_for(&["NET-SNMP version"]);
    let counters = Arc::new(counters(1));
    // Nothing is out of tolerance and no allowance is reached yet.
    counters.managed.store(Arc::new(Managed::default()));
    counters.billing.allowances.store(Arc::new(Vec::new()));
    let socket = Agent::bind(&config).unwrap();
    let peer = socket.local_addr().unwrap().to_string();
    let mut agent = Agent::new(config, Arc::clone(&counters)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let running = std::thread::spawn(move || agent.run(&socket, &stopped, || UnixMillis(now_ms())));
    let get = |oid: &str| output("snmpget", &["-v2c", "-c", "see", "-Oqvn", &peer, oid]).trim().to_owned();
    let wait_until = |oid: &str, least: u64| {
        let begun = now_ms();
        while get(oid).parse::<u64>().unwrap() < least {
            assert!(now_ms() - begun < 60_000, "{oid} is {}, not {least}", get(oid));
        }
    };
    let acknowledged = "1.3.6.1.4.1.32473.2055.1.7.6.0";
    // coldStart, to each user.
    wait_until(acknowledged, 3);

    let outward = Reconciled {
        flow_octets: 10,
        interface_octets: 99,
        tolerance: 5,
        coverage: 100,
        verdict: 2,
        differences: 1,
    };
    let link = ReconciledRow { link: 3, name: "transit-a".into(), outward, ..ReconciledRow::default() };
    counters.managed.store(Arc::new(Managed { reconciled: vec![link], ..Managed::default() }));
    for user in ["flux", "signed", "old"] {
        let line = traps.wait_for(&["32473.2055.0.7", "transit-a out", &format!("user {user}")]);
        assert!(line.contains("INFORM") && line.contains(".1.20.1.5.3.2 = Counter64: 99"), "{line}");
    }
    wait_until(acknowledged, 6);

    // Another receiver stands in its place, which is another engine.
    drop(traps);
    let traps = TrapDaemon::start(&site, port, settings);
    traps.wait_for(&["NET-SNMP version"]);
    let allowance = AllowanceRow {
        customer_id: 16,
        customer: "customer 1".into(),
        charge: "volume".into(),
        period: "2026-11".into(),
        used_percent: 81,
        projected_percent: None,
        alert: "80".into(),
    };
    counters.billing.allowances.store(Arc::new(vec![allowance]));
    let line = traps.wait_for(&["32473.2055.0.8", "customer 1: volume", "user flux"]);
    assert!(line.contains(".1.14.1.4.16.1 = Gauge32: 81") && line.contains("\"80\""), "{line}");
    wait_until(acknowledged, 9);
    assert_eq!(get("1.3.6.1.4.1.32473.2055.1.7.7.0"), "0", "none failed");
    stop.store(true, Relaxed);
    running.join().unwrap().unwrap();
}
