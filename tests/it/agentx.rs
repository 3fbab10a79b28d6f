//! The agent as a part of net-snmp's: what its master tells is what it would tell itself, also after the master has gone
//! and come again.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fluxoscope::counters::Counters;
use fluxoscope::snmp::{Agent, Config, Master};
use fluxoscope::units::UnixMillis;

use crate::live_support::now_ms;
use crate::snmp::{Running, counters};

const ROOT: &str = "1.3.6.1.4.1.32473.2055";
const VERSION: &str = "1.3.6.1.4.1.32473.2055.1.1.1.0";

/// snmpd as a master; it is killed when dropped.
struct MasterAgent {
    child: Child,
    peer: String,
}

impl MasterAgent {
    /// A master at a port, with its AgentX socket, that sends traps to `sink`.
    fn start(directory: &Path, port: u16, socket: &str, sink: u16) -> Self {
        let file = directory.join("master.conf");
        let settings = format!(
            "rocommunity see 127.0.0.1\nrwcommunity write 127.0.0.1\ntrap2sink 127.0.0.1:{sink} traps\nagentXTimeout 5\n"
        );
        std::fs::write(&file, settings).unwrap();
        let peer = format!("127.0.0.1:{port}");
        let child = Command::new("snmpd")
            .args(["-f", "-Lf", "/dev/null", "-C", "-c", file.to_str().unwrap(), "--master=agentx"])
            .args([&format!("--agentXSocket={socket}"), &format!("udp:{peer}")])
            .env("SNMP_PERSISTENT_DIR", directory)
            .env("MIBS", "")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("snmpd is needed (ops/test installs it): {error}"));
        Self { child, peer }
    }
}

impl Drop for MasterAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A subagent; it ends when dropped.
struct Subagent {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Subagent {
    fn start(master: Master, counters: &Arc<Counters>) -> Self {
        let mut agent = Agent::new(Config::default(), Arc::clone(counters)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || agent.run_under(&master, &stopped, || UnixMillis(now_ms())));
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Subagent {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// What a tool of net-snmp says, on both of its outputs.
fn ask(program: &str, community: &str, peer: &str, rest: &[&str]) -> String {
    let output = Command::new(program)
        .args(["-v2c", "-c", community, "-On", "-r", "0", "-t", "10", peer])
        .args(rest)
        .env("MIBS", "")
        .env("LANG", "C")
        .output()
        .unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

/// Asks until the answer is right.
fn wait_for(peer: &str, oid: &str, is_right: impl Fn(&str) -> bool) {
    let begun = Instant::now();
    loop {
        let said = ask("snmpget", "see", peer, &[oid]);
        if is_right(&said) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{oid}: {said}");
    }
}

/// A walk without what moves by itself: the agent's own counters, and ages.
fn walk(program: &str, peer: &str, root: &str) -> Vec<String> {
    let moving =
        ["2055.1.7.", "2055.1.8.", "2055.1.3.1.8.", "2055.1.2.1.25.", "2055.1.2.1.8.", "No more variables"];
    let said = ask(program, "see", peer, &[root]);
    let lines = said.lines().filter(|line| !moving.iter().any(|oid| line.contains(oid)));
    lines.map(str::to_owned).collect()
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_master_tells_what_the_agent_would_tell() {
    let directory = tempfile::tempdir().unwrap();
    let socket: PathBuf = directory.path().join("master");
    let name = socket.to_str().unwrap().to_owned();
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    sink.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let sink_port = sink.local_addr().unwrap().port();
    let counters = Arc::new(counters(40));
    let own = Running::sharing(Arc::clone(&counters));
    // The subagent is there before its master.
    let subagent = Subagent::start(Master::Unix(socket), &counters);
    let port = free_port();
    let master = MasterAgent::start(directory.path(), port, &name, sink_port);
    let peer = master.peer.clone();
    let is_served = |said: &str| said.contains("STRING: \"");
    wait_for(&peer, VERSION, is_served);
    wait_for(&peer, "1.3.6.1.2.1.27.1.1.2.1", is_served);

    for root in [ROOT, "1.3.6.1.2.1.193", "1.3.6.1.2.1.27"] {
        let expected = walk("snmpwalk", &own.peer(), root);
        assert!(expected.len() > 10, "{expected:#?}");
        assert_eq!(walk("snmpwalk", &peer, root), expected, "{root}");
        assert_eq!(walk("snmpbulkwalk", &peer, root), expected, "{root}");
    }
    // Several at once, one of which is not there; and the master's own beside ours.
    let several = [VERSION, "1.3.6.1.4.1.32473.2055.1.5.1.3.99999", "1.3.6.1.4.1.32473.2055.1.99.0"];
    let said = ask("snmpget", "see", &peer, &several);
    assert!(said.contains("No Such Instance") && said.contains("No Such Object"), "{said}");
    let capabilities = ask("snmpwalk", "see", &peer, &["1.3.6.1.2.1.1.9.1.2"]);
    assert!(
        capabilities.contains("32473.2055.2.1.1") && capabilities.contains("1.2.1.193.2.1.1"),
        "{capabilities}"
    );
    // Nothing can be set.
    let said = ask("snmpset", "write", &peer, &[VERSION, "s", "x"]);
    assert!(said.contains("notWritable"), "{said}");

    // A notification goes out through the master: fluxLedgerRefusedAlarm, 32473.2055.0.6 in BER. The watch has looked by
    // now; what grows after that is news.
    counters.commit_failures.fetch_add(1, Relaxed);
    let alarm = [0x81, 0xfd, 0x59, 0x90, 0x07, 0x00, 0x06];
    let mut datagram = [0; 4096];
    loop {
        let (octets, _) = sink.recv_from(&mut datagram).expect("the trap comes within a minute");
        if datagram[..octets].windows(alarm.len()).any(|window| window == alarm) {
            break;
        }
    }

    // The master is restarted.
    drop(master);
    let master = MasterAgent::start(directory.path(), port, &name, sink_port);
    wait_for(&peer, VERSION, is_served);
    assert_eq!(walk("snmpbulkwalk", &peer, ROOT), walk("snmpbulkwalk", &own.peer(), ROOT));

    // When the subagent ends, it says so: its objects are gone at once.
    drop(subagent);
    wait_for(&peer, VERSION, |said| said.contains("No Such Object"));
    drop(master);
}

#[test]
fn a_master_is_reached_over_tcp() {
    let directory = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{free}");
    let counters = Arc::new(counters(1));
    let master = MasterAgent::start(directory.path(), free_port(), &format!("tcp:{host}"), free_port());
    let subagent = Subagent::start(Master::Tcp(host), &counters);
    wait_for(&master.peer, VERSION, |said| said.contains("STRING: \""));
    drop(subagent);
}

#[test]
fn a_master_that_is_none_does_no_harm() {
    // Somebody who talks another language, and closes: the subagent tries again, and ends when it is told to.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let counters = Arc::new(counters(1));
    let subagent = Subagent::start(Master::Tcp(host), &counters);
    for said in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        &[1, 18, 0, 0],
        &[1, 18, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0],
    ] {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let mut open = [0; 20];
        stream.read_exact(&mut open).unwrap();
        // Version 1, Open, in network byte order.
        assert_eq!(open[..3], [1, 1, 0x10]);
        stream.write_all(said).unwrap();
    }
    drop(subagent);
}

/// A PDU of RFC 2741, 6.1, in network byte order: type, session, packet, payload.
fn pdu(kind: u8, session: u32, packet: u32, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![1, kind, 0x10, 0];
    for word in [session, 1, packet, u32::try_from(payload.len()).unwrap()] {
        octets.extend(word.to_be_bytes());
    }
    octets.extend(payload);
    octets
}

/// The next PDU: type, session, packet, payload.
fn next(stream: &mut std::net::TcpStream) -> (u8, u32, u32, Vec<u8>) {
    use std::io::Read as _;
    let mut header = [0; 20];
    stream.read_exact(&mut header).unwrap();
    let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
    let mut payload = vec![0; word(16) as usize];
    stream.read_exact(&mut payload).unwrap();
    (header[1], word(4), word(12), payload)
}

/// RFC 2741, 7.2.2: a request in a session that is not open gets `notOpen`, a response in one is dropped, and the session
/// that is open goes on.
#[test]
fn what_comes_in_another_session_is_not_ours() {
    use std::io::Write as _;
    const OPEN: u8 = 1;
    const CLOSE: u8 = 2;
    const PING: u8 = 13;
    const RESPONSE: u8 = 18;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let master = Master::Tcp(listener.local_addr().unwrap().to_string());
    let counters = Arc::new(counters(1));
    let subagent = Subagent::start(master, &counters);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (kind, _, packet, _) = next(&mut stream);
    assert_eq!(kind, OPEN);
    // sysUpTime, no error, no index.
    stream.write_all(&pdu(RESPONSE, 77, packet, &[0; 8])).unwrap();
    // It registers now. What comes in another session neither answers that nor ends anything.
    let first = next(&mut stream);
    stream.write_all(&pdu(RESPONSE, 78, first.2, &[0, 0, 0, 0, 1, 1, 0, 0])).unwrap();
    stream.write_all(&pdu(CLOSE, 78, 1, &[1, 0, 0, 0])).unwrap();
    stream.write_all(&pdu(PING, 78, 901, &[])).unwrap();
    stream.write_all(&pdu(PING, 77, 902, &[])).unwrap();
    let (mut asked, mut answers) = (vec![first], Vec::new());
    while answers.len() < 2 {
        // The master is quick to answer, or the subagent would take it for gone.
        if let Some((_, session, packet, _)) = asked.last() {
            stream.write_all(&pdu(RESPONSE, *session, *packet, &[0; 8])).unwrap();
        }
        let (kind, session, packet, payload) = next(&mut stream);
        if kind == RESPONSE {
            answers.push((session, packet, u16::from_be_bytes([payload[4], payload[5]])));
        } else {
            asked.push((kind, session, packet, payload));
        }
    }
    // notOpen(257), and no error.
    assert_eq!(answers, [(78, 901, 257), (77, 902, 0)]);
    assert!(asked.iter().all(|(kind, session, ..)| *session == 77 && *kind != CLOSE), "{asked:?}");
    drop(subagent);
}
