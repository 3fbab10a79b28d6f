//! Polling over real sockets: agents of our own that can start anew, renumber, wrap and fall silent, and net-snmp's.

use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rasn::types::ObjectIdentifier;
use rasn_smi::v1::{Counter, Gauge, TimeTicks};
use rasn_smi::v2::{ApplicationSyntax, Counter64, ObjectSyntax, SimpleSyntax};
use rasn_snmp::v2::{Pdu, Pdus, Response, VarBind, VarBindValue};
use rasn_snmp::v2c::Message;

use super::super::columns::{self, Oid, Value};
use crate::ledger::records::interfaces::{Interface, InterfacePart};
use crate::poll::{Authentication, Config, Credentials, Found, Plan, Privacy, Secret, Target, Wanted, run};
use crate::units::{IfIndex, UnixMillis};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "what is polled lives by the clock")]
fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

/// What an agent is.
struct State {
    objects: Mutex<BTreeMap<Oid, Value>>,
    /// When it started, and the uptime that it had then, in hundredths of a second.
    started: Mutex<(Instant, u32)>,
    silent: AtomicBool,
    hides_uptime: AtomicBool,
    /// It does not answer GETBULK.
    without_bulk: AtomicBool,
    asked: AtomicU64,
    over: AtomicBool,
}

/// An agent of SNMPv2c on a thread of its own.
struct Agent {
    state: Arc<State>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(address: &str) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let state = Arc::new(State {
            objects: Mutex::default(),
            started: Mutex::new((Instant::now(), 100_000)),
            silent: AtomicBool::new(false),
            hides_uptime: AtomicBool::new(false),
            without_bulk: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let (address, own) = (socket.local_addr().unwrap(), Arc::clone(&state));
        let thread = thread::spawn(move || serve(&socket, &own));
        Self { state, address, thread: Some(thread) }
    }

    /// Sets an interface's names and counters.
    fn interface(&self, ifindex: u32, name: &str, octets: u64) {
        let mut objects = self.state.objects.lock().unwrap();
        for (column, value) in columns::names().into_iter().zip([
            Value::Text(name.as_bytes().to_vec()),
            Value::Text(b"transit".to_vec()),
            Value::Number(10_000),
            Value::Text(format!("port {name}").into_bytes()),
            Value::Number(6),
            Value::Number(4_294_967_295),
        ]) {
            objects.insert([column, vec![ifindex]].concat(), value);
        }
        for oid in columns::counters(&[IfIndex(ifindex)], false).into_iter().skip(1) {
            let column = oid[oid.len() - 2];
            let value = match column {
                6 | 10 => Value::Counter64(octets),
                19 => Value::Number(0),
                _ => Value::Counter64(octets / 1000),
            };
            objects.insert(oid, value);
        }
    }

    fn clear(&self) {
        self.state.objects.lock().unwrap().clear();
    }

    fn restart(&self) {
        *self.state.started.lock().unwrap() = (Instant::now(), 0);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.state.over.store(true, Relaxed);
        let _ = UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[], self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(socket: &UdpSocket, state: &State) {
    let mut octets = [0; 65_536];
    while let Ok((length, from)) = socket.recv_from(&mut octets) {
        if state.over.load(Relaxed) {
            return;
        }
        state.asked.fetch_add(1, Relaxed);
        if state.silent.load(Relaxed) {
            continue;
        }
        let Ok(message) = rasn::ber::decode::<Message<Pdus>>(&octets[..length]) else { continue };
        let is_bulk = matches!(message.data, Pdus::GetBulkRequest(_));
        if message.community != b"public"[..] || is_bulk && state.without_bulk.load(Relaxed) {
            continue;
        }
        let answer = Message {
            version: 1.into(),
            community: message.community,
            data: Pdus::Response(Response(answer(message.data, state))),
        };
        let _ = socket.send_to(&rasn::ber::encode(&answer).unwrap(), from);
    }
}

fn answer(request: Pdus, state: &State) -> Pdu {
    let mut objects = state.objects.lock().unwrap();
    let (started, before) = *state.started.lock().unwrap();
    let ticks = u32::try_from(started.elapsed().as_millis() / 10).unwrap().wrapping_add(before);
    objects.insert(columns::UPTIME.to_vec(), Value::Number(ticks.into()));
    if state.hides_uptime.load(Relaxed) {
        objects.remove(columns::UPTIME);
    }
    let oids = |asked: &[VarBind]| asked.iter().map(|bound| bound.name.to_vec()).collect::<Vec<Oid>>();
    let (request_id, bound) = match request {
        Pdus::GetRequest(get) => {
            let value = |oid: Oid| {
                let value = objects.get(&oid).cloned().unwrap_or(Value::Absent);
                (oid, value)
            };
            (get.0.request_id, oids(&get.0.variable_bindings).into_iter().map(value).collect())
        }
        Pdus::GetNextRequest(next) => {
            let asked = oids(&next.0.variable_bindings);
            (next.0.request_id, super::bulk(&objects, &asked, 1, 40))
        }
        Pdus::GetBulkRequest(bulk) => {
            let asked = oids(&bulk.0.variable_bindings);
            let repetitions = usize::try_from(bulk.0.max_repetitions).unwrap();
            (bulk.0.request_id, super::bulk(&objects, &asked, repetitions, 40))
        }
        other => panic!("{other:?}"),
    };
    let bind = |(oid, value): (Oid, Value)| VarBind {
        name: ObjectIdentifier::new_unchecked(oid.clone().into()),
        value: wire(&value, &oid),
    };
    Pdu {
        request_id,
        error_status: 0,
        error_index: 0,
        variable_bindings: bound.into_iter().map(bind).collect(),
    }
}

fn wire(value: &Value, oid: &Oid) -> VarBindValue {
    let wide = |syntax| VarBindValue::Value(ObjectSyntax::ApplicationWide(syntax));
    match value {
        Value::Counter32(n) => wide(ApplicationSyntax::Counter(Counter(*n))),
        Value::Counter64(n) => wide(ApplicationSyntax::BigCounter(Counter64(*n))),
        Value::Number(n) if oid.as_slice() == columns::UPTIME || oid[oid.len() - 2] == 19 => {
            wide(ApplicationSyntax::Ticks(TimeTicks(u32::try_from(*n).unwrap())))
        }
        Value::Number(n) => wide(ApplicationSyntax::Unsigned(Gauge(u32::try_from(*n).unwrap()))),
        Value::Text(text) => {
            VarBindValue::Value(ObjectSyntax::Simple(SimpleSyntax::String(text.clone().into())))
        }
        Value::Absent | Value::Other => VarBindValue::EndOfMibView,
    }
}

/// All interfaces; and how often exporters are said to have started anew.
struct All(Arc<AtomicU64>);

impl Wanted for All {
    fn of(&self, _: &str, interfaces: &[Interface]) -> Vec<IfIndex> {
        interfaces.iter().map(|interface| interface.ifindex).collect()
    }

    fn restarts(&self, _: &str) -> u64 {
        self.0.load(Relaxed)
    }
}

fn community(exporter: &str, address: SocketAddr) -> Target {
    let credentials = Credentials::Community(Secret::new("public"));
    Target { exporter: exporter.to_owned(), address, credentials, tables: true }
}

/// A manager that polls these on a thread of its own.
struct Poller {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    found: Receiver<Found>,
    /// What came while something else was waited for: octets are handed over when their bucket ends, which may be at any time.
    came: RefCell<Vec<Found>>,
    restarts: Arc<AtomicU64>,
}

impl Poller {
    fn start(config: Config, targets: Vec<Target>) -> Self {
        let restarts = Arc::new(AtomicU64::new(0));
        let wanted = Box::new(All(Arc::clone(&restarts)));
        let plans = ArcSwap::from_pointee(Plan { config, targets, wanted });
        let (sink, found) = mpsc::channel();
        let sink = Mutex::new(sink);
        let stop = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let sink = Arc::new(move |found| drop(sink.lock().unwrap().send(found)));
            run(&plans, now, &own, sink).unwrap();
        });
        Self { stop, thread: Some(thread), found, came: RefCell::default(), restarts }
    }

    /// Waits for what `pick` takes.
    #[track_caller]
    fn wait<T>(&self, mut pick: impl FnMut(Found) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let found = self.found.recv_timeout(left).expect("nothing of the kind came");
            self.came.borrow_mut().push(found.clone());
            if let Some(picked) = pick(found) {
                return picked;
            }
        }
    }

    /// Ends it; all that it has handed over.
    fn stop(mut self) -> Vec<Found> {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.came.take().into_iter().chain(self.found.iter()).collect()
    }
}

fn quick() -> Config {
    Config { interval_ms: 1_000, timeout_ms: 500, retries: 0, ..Config::default() }
}

/// A poll that went well, with interfaces.
fn went_well(found: Found) -> Option<(usize, u64)> {
    match found {
        Found::Polled { failure: None, interfaces, gaps, .. } => Some((interfaces, gaps)),
        _ => None,
    }
}

fn named(found: Found) -> Option<Vec<(u32, String)>> {
    match found {
        Found::Interfaces { interfaces, .. } => {
            Some(interfaces.into_iter().map(|one| (one.ifindex.0, one.name)).collect())
        }
        _ => None,
    }
}

fn octets(found: impl IntoIterator<Item = Found>) -> Vec<(IfIndex, InterfacePart)> {
    let parts = |found| match found {
        Found::Octets { parts, .. } => parts,
        _ => Vec::new(),
    };
    found.into_iter().flat_map(parts).collect()
}

#[test]
fn a_router_that_starts_anew_is_followed_and_one_that_is_silent_is_told() {
    let agent = Agent::start("127.0.0.1:0");
    agent.interface(1, "xe-0/0/1", 1_000_000);
    agent.interface(2, "xe-0/0/2", 5_000_000);
    let poller = Poller::start(quick(), vec![community("ce1", agent.address)]);
    assert_eq!(poller.wait(named), [(1, "xe-0/0/1".to_owned()), (2, "xe-0/0/2".to_owned())]);
    assert_eq!(poller.wait(went_well), (2, 0));
    agent.interface(1, "xe-0/0/1", 1_700_000);
    assert_eq!(poller.wait(went_well), (2, 0), "no gap where nothing happened");
    let asked = agent.state.asked.load(Relaxed);
    assert!(asked <= 16, "a poll of two interfaces takes few requests: {asked}");

    // It starts anew, and its first interface has another number, from where it counts from 0.
    agent.restart();
    agent.clear();
    agent.interface(2, "xe-0/0/1", 40);
    agent.interface(3, "xe-0/0/2", 50);
    let moved = poller.wait(named);
    assert_eq!(moved, [(2, "xe-0/0/1".to_owned()), (3, "xe-0/0/2".to_owned())]);
    // Just started, it may have others that do not show yet: they are read again with the next poll.
    assert_eq!(poller.wait(went_well).0, 2);
    // What was counted before is handed over, of the numbers that it was counted under; the restart added nothing.
    let parts = octets(poller.came.take());
    let before: u64 = parts.iter().filter(|(at, _)| *at == IfIndex(1)).map(|(_, part)| part.in_octets).sum();
    assert_eq!(before, 700_000);

    agent.state.silent.store(true, Relaxed);
    let failure = poller.wait(|found| match found {
        Found::Polled { failure: Some(failure), .. } => Some(failure),
        _ => None,
    });
    assert!(!failure.contains("public"), "{failure}");
    agent.interface(2, "xe-0/0/1", 540);
    agent.state.silent.store(false, Relaxed);
    poller.wait(went_well);
    // 500 octets crossed meanwhile. Nobody asked for a while, which is a gap only where a bucket ended in it.
    let parts = octets(poller.stop());
    let sum: u64 = parts.iter().filter(|(at, _)| *at == IfIndex(2)).map(|(_, part)| part.in_octets).sum();
    assert!(sum == 500 || sum == 0, "{sum}: {parts:?}");
}

/// A reboot that gives interfaces other numbers: of each that was read, nobody knows what crossed it meanwhile.
#[test]
fn a_renumbering_reboot_is_a_gap_of_each_interface() {
    let agent = Agent::start("127.0.0.1:0");
    agent.interface(1, "xe-0/0/1", 1_000_000);
    agent.interface(2, "xe-0/0/2", 5_000_000);
    agent.interface(3, "xe-0/0/3", 0);
    let poller = Poller::start(quick(), vec![community("ce1", agent.address)]);
    assert_eq!(poller.wait(went_well), (3, 0));
    // Silent meanwhile, so that no poll meets half of it.
    agent.state.silent.store(true, Relaxed);
    let mut gaps = 0;
    let counted = |found: &Found| if let Found::Polled { gaps, .. } = found { *gaps } else { 0 };
    poller.wait(|found| {
        gaps += counted(&found);
        matches!(found, Found::Polled { failure: Some(_), .. }).then_some(())
    });
    assert_eq!(gaps, 0, "nothing is known yet of what the counters say");
    agent.restart();
    agent.clear();
    // The first is the second now, the second the fourth, and the third has gone.
    agent.interface(2, "xe-0/0/1", 40);
    agent.interface(4, "xe-0/0/2", 50);
    agent.state.silent.store(false, Relaxed);
    let both = poller.wait(|found| {
        gaps += counted(&found);
        went_well(found)
    });
    assert_eq!((both.0, gaps), (2, 3));
}

/// What a restart has changed holds from the restart on, which is before anybody asked.
#[test]
fn numbers_hold_from_when_the_router_started() {
    let agent = Agent::start("127.0.0.1:0");
    agent.interface(1, "xe-0/0/1", 0);
    let poller = Poller::start(quick(), vec![community("ce1", agent.address)]);
    poller.wait(went_well);
    poller.wait(went_well);
    // The next poll is nearly a second away.
    let restarted = now();
    agent.restart();
    agent.clear();
    agent.interface(2, "xe-0/0/1", 0);
    let at = poller.wait(|found| match found {
        Found::Interfaces { at, interfaces, .. } if interfaces[0].ifindex == IfIndex(2) => Some(at),
        _ => None,
    });
    // Uptimes are whole hundredths of a second, and were read after the question.
    assert!(at.since(restarted) <= 30, "{} ms after it", at.since(restarted));
}

/// A router that has started answers, and shows no interfaces for a while: when it does, they hold from its start on.
#[test]
fn a_start_is_known_however_late_its_interfaces_show() {
    let agent = Agent::start("127.0.0.1:0");
    agent.interface(1, "xe-0/0/1", 0);
    let poller = Poller::start(quick(), vec![community("ce1", agent.address)]);
    poller.wait(went_well);
    let restarted = now();
    agent.restart();
    agent.clear();
    for _ in 0..2 {
        let failure = poller.wait(|found| match found {
            Found::Polled { failure: Some(failure), .. } => Some(failure),
            _ => None,
        });
        assert!(failure.contains("shows no interfaces"), "{failure}");
    }
    agent.interface(2, "xe-0/0/1", 0);
    let at = poller.wait(|found| match found {
        Found::Interfaces { at, interfaces, .. } if interfaces[0].ifindex == IfIndex(2) => Some(at),
        _ => None,
    });
    assert!(at.since(restarted) <= 30, "{} ms after it", at.since(restarted));
}

/// Two interfaces, one row an answer.
#[test]
fn an_agent_without_getbulk_is_walked_by_getnext() {
    let agent = Agent::start("127.0.0.1:0");
    agent.state.without_bulk.store(true, Relaxed);
    agent.interface(1, "xe-0/0/1", 0);
    agent.interface(2, "xe-0/0/2", 0);
    let poller = Poller::start(quick(), vec![community("ce1", agent.address)]);
    assert_eq!(poller.wait(named), [(1, "xe-0/0/1".to_owned()), (2, "xe-0/0/2".to_owned())]);
    assert_eq!(poller.wait(went_well), (2, 0));
}

/// Without its uptime nobody knows whether a router has started anew: such an answer is as good as none.
#[test]
fn an_answer_without_an_uptime_is_a_failed_poll() {
    let agent = Agent::start("127.0.0.1:0");
    agent.interface(1, "xe-0/0/1", 1_000);
    let poller = Poller::start(quick(), vec![community("ce1", agent.address)]);
    poller.wait(went_well);
    agent.state.hides_uptime.store(true, Relaxed);
    agent.interface(1, "xe-0/0/1", 1_700);
    // A poll that had its answer before is let through.
    let failure = poller.wait(|found| match found {
        Found::Polled { failure: Some(failure), .. } => Some(failure),
        _ => None,
    });
    assert!(failure.contains("sysUpTime"), "{failure}");
    // Nothing was counted meanwhile, and nothing is lost: the counter went on.
    agent.state.hides_uptime.store(false, Relaxed);
    poller.wait(went_well);
    let sum: u64 = octets(poller.stop()).iter().map(|(_, part)| part.in_octets).sum();
    assert!(sum == 700 || sum == 0, "{sum}");
}

/// For the time after a start a router's interfaces are read with each poll, and are not taken for all.
#[test]
fn a_router_that_has_just_started_is_asked_again() {
    let agent = Agent::start("127.0.0.1:0");
    agent.restart();
    agent.interface(1, "xe-0/0/1", 0);
    let poller = Poller::start(quick(), vec![community("ce1", agent.address)]);
    let found = |found| match found {
        Found::Interfaces { is_whole, interfaces, .. } => Some((is_whole, interfaces.len())),
        _ => None,
    };
    assert_eq!(poller.wait(found), (false, 1));
    agent.interface(2, "xe-1/0/1", 0);
    assert_eq!(poller.wait(|news| found(news).filter(|(_, count)| *count == 2)), (false, 2));
    // Ten minutes later these are all, and they are not read again until something changes.
    *agent.state.started.lock().unwrap() = (Instant::now(), 60_000);
    assert_eq!(poller.wait(|news| found(news).filter(|(is_whole, _)| *is_whole)), (true, 2));
    poller.wait(went_well);
    let mut again = None;
    for _ in 0..2 {
        poller.wait(|news| {
            again = again.or_else(|| found(news.clone()));
            went_well(news)
        });
    }
    assert_eq!(again, None);
}

/// Where flows tell of a restart nobody waits for the next turn.
#[test]
fn a_restart_that_flows_tell_of_is_polled_at_once() {
    let agent = Agent::start("127.0.0.1:0");
    agent.interface(1, "xe-0/0/1", 0);
    let hourly = Config { interval_ms: 3_600_000, ..quick() };
    let poller = Poller::start(hourly, vec![community("ce1", agent.address)]);
    poller.wait(went_well);
    poller.restarts.fetch_add(1, Relaxed);
    // Within the minute that is waited for here, not the hour; but not sooner than ten seconds after the first.
    let begun = Instant::now();
    poller.wait(went_well);
    assert!(begun.elapsed() > Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn counters_that_wrap_count_on() {
    let agent = Agent::start("127.0.0.1:0");
    agent.interface(7, "xe-0/0/7", u64::MAX - 299);
    let poller = Poller::start(quick(), vec![community("ce1", agent.address)]);
    assert_eq!(poller.wait(went_well), (1, 0));
    agent.interface(7, "xe-0/0/7", 700);
    assert_eq!(poller.wait(went_well).1, 0, "a wrap is no gap");
    let parts = octets(poller.stop());
    assert_eq!(parts.iter().map(|(_, part)| part.in_octets).sum::<u64>(), 1000);
}

#[test]
fn old_interfaces_have_thirty_two_bits() {
    let agent = Agent::start("127.0.0.1:0");
    let set = |octets: u32| {
        agent.interface(7, "Serial0", 0);
        let mut objects = agent.state.objects.lock().unwrap();
        // No row in ifXTable.
        objects.retain(|oid, _| !oid.starts_with(&[1, 3, 6, 1, 2, 1, 31, 1, 1]));
        objects.insert(vec![1, 3, 6, 1, 2, 1, 2, 2, 1, 5, 7], Value::Number(2_048_000));
        for oid in columns::counters(&[IfIndex(7)], true).into_iter().skip(1) {
            objects.insert(oid, Value::Counter32(octets));
        }
    };
    set(4_294_967_000);
    let poller = Poller::start(quick(), vec![community("ce1", agent.address)]);
    assert_eq!(poller.wait(named), [(7, "port Serial0".to_owned())]);
    assert_eq!(poller.wait(went_well), (1, 0));
    set(704);
    assert_eq!(poller.wait(went_well), (1, 0));
    let parts = octets(poller.stop());
    assert_eq!(parts.iter().map(|(_, part)| part.in_octets).sum::<u64>(), 1000);
}

#[test]
fn two_hundred_routers_are_polled_in_a_cycle() {
    let agents: Vec<Agent> =
        (0..200).map(|n| Agent::start(&format!("127.0.{}.{}:0", 1 + n / 100, 1 + n % 100))).collect();
    for agent in &agents {
        for ifindex in 1..=8 {
            agent.interface(ifindex, &format!("xe-0/0/{ifindex}"), 1000);
        }
    }
    // One of them does not answer, and keeps nobody waiting.
    agents[77].state.silent.store(true, Relaxed);
    let targets =
        agents.iter().enumerate().map(|(n, agent)| community(&format!("r{n}"), agent.address)).collect();
    let config = Config { timeout_ms: 5_000, ..Config::default() };
    let begun = Instant::now();
    let poller = Poller::start(config, targets);
    let mut answered = BTreeSet::new();
    poller.wait(|found| {
        if let Found::Polled { exporter, failure: None, interfaces: 8, .. } = found {
            answered.insert(exporter);
        }
        (answered.len() == 199).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(60), "a cycle: {:?}", begun.elapsed());
    poller.stop();
}

/// net-snmp's agent.
fn snmpd(directory: &std::path::Path) -> (std::process::Child, SocketAddr) {
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let configuration = "rocommunity public\ncreateUser flux SHA-256 \"first passphrase\" AES \"second passphrase\"\nrouser flux authPriv\n\
        createUser old MD5 \"first passphrase\" DES \"second passphrase\"\nrouser old authPriv\n";
    let file = directory.join("snmpd.conf");
    std::fs::write(&file, configuration).unwrap();
    let program = ["/usr/sbin/snmpd", "/usr/local/sbin/snmpd"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .expect("snmpd is needed (ops/test installs it)");
    let child = std::process::Command::new(program)
        .args(["-f", "-C", "-Lf", "/dev/null", "-I", "-smux", "-c"])
        .arg(&file)
        .arg(format!("udp:{address}"))
        .env("SNMP_PERSISTENT_DIR", directory)
        .spawn()
        .unwrap();
    (child, address)
}

#[test]
fn net_snmp_is_polled_by_community_and_by_user() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, address) = snmpd(directory.path());
    let user = Target {
        exporter: "v3".to_owned(),
        address,
        credentials: Credentials::User {
            name: "flux".to_owned(),
            auth: Some((Authentication::Sha256, Secret::new("first passphrase"))),
            privacy: Some((Privacy::Aes128, Secret::new("second passphrase"))),
        },
        tables: true,
    };
    // What routers have that know nothing else.
    let old = Target {
        exporter: "old".to_owned(),
        credentials: Credentials::User {
            name: "old".to_owned(),
            auth: Some((Authentication::Md5, Secret::new("first passphrase"))),
            privacy: Some((Privacy::Des, Secret::new("second passphrase"))),
        },
        ..user
    };
    let wrong = Target {
        exporter: "wrong".to_owned(),
        credentials: Credentials::User {
            name: "flux".to_owned(),
            auth: Some((Authentication::Sha256, Secret::new("another passphrase"))),
            privacy: None,
        },
        ..user
    };
    let poller = Poller::start(quick(), vec![community("v2c", address), user, old, wrong]);
    let (mut named, mut counted, mut refused) = (BTreeMap::new(), BTreeSet::new(), false);
    poller.wait(|found| {
        match found {
            Found::Interfaces { exporter, interfaces, .. } => drop(named.insert(exporter, interfaces)),
            Found::Polled { exporter, failure: None, interfaces, .. } if interfaces > 0 => {
                assert_ne!(exporter, "wrong");
                counted.insert(exporter);
            }
            Found::Polled { exporter, failure: Some(_), .. } if exporter == "wrong" => refused = true,
            _ => {}
        }
        (counted.len() == 3 && refused).then_some(())
    });
    poller.stop();
    child.kill().unwrap();
    child.wait().unwrap();
    for exporter in ["v2c", "v3", "old"] {
        let lo = named[exporter].iter().find(|interface| interface.name == "lo");
        // softwareLoopback(24).
        assert_eq!(lo.map(|lo| lo.kind), Some(24), "{exporter}: {named:?}");
    }
}
