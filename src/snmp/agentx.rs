//! AgentX (RFC 2741): the agent as a part of another one, the master, which has the port, the users and the views.
//!
//! The subagent registers what only it has: FLUXOSCOPE-MIB, IPFIX-MIB and NETWORK-SERVICES-MIB; the system and snmp
//! groups are the master's. It answers Get, GetNext and GetBulk from the same snapshots as on a port of its own, refuses
//! every set, and hands its notifications to the master. A connection that is lost, or was never there, is tried again,
//! after a second at first and after a minute at most; nothing else of the program depends on it. What a master sends
//! is bounded, and what is no AgentX ends the connection; requests in another session than ours are told so.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use tracing::{debug, info, warn};

use super::access::{Scope, ViewRules};
use super::notify::Notification;
use super::snapshot::View;
use super::tree::{Found, Tree, Value};
use super::{Agent, Now, ipfix, is_passing, objects};
use crate::units::UnixMillis;
use outbox::Outbox;
use pdu::{Body, Bound, Context, Malformed, Range, Writer};

mod outbox;
mod pdu;

/// Where a master agent is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Master {
    /// A Unix socket.
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

impl core::fmt::Display for Master {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp:{host}"),
        }
    }
}

/// NETWORK-SERVICES-MIB.
const APPLICATIONS: &[u32] = &[1, 3, 6, 1, 2, 1, 27];

/// What is registered.
const SUBTREES: [&[u32]; 3] = [objects::ROOT, ipfix::ROOT, APPLICATIONS];

/// Time between two attempts to connect, at first and at most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The master has so long to take and to answer what it is sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// A master that says nothing for so long is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(15);
/// How long a read waits: also how soon an event or a stop is noticed.
const READ_WAIT: Duration = Duration::from_millis(100);
/// Seconds that the master may wait for an answer.
const TIMEOUT_SECONDS: u8 = 5;
/// The default priority of a registration (RFC 2741, 6.2.3).
const PRIORITY: u8 = 127;

/// Errors of responses (RFC 2741, 6.2.16).
const TOO_BIG: u16 = 1;
const COMMIT_FAILED: u16 = 14;
const NOT_WRITABLE: u16 = 17;
const NOT_OPEN: u16 = 257;
const UNSUPPORTED_CONTEXT: u16 = 262;
const REQUEST_DENIED: u16 = 267;

/// Reasons of a Close (6.2.2).
const REASON_PARSE_ERROR: u8 = 2;
const REASON_SHUTDOWN: u8 = 5;

/// Either stream.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn connect(master: &Master) -> io::Result<Self> {
        let stream = match master {
            Master::Unix(path) => Self::Unix(UnixStream::connect(path)?),
            Master::Tcp(host) => {
                let mut failed = io::Error::from(ErrorKind::NotFound);
                let mut connected = None;
                for address in host.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, PATIENCE) {
                        Ok(stream) => {
                            connected = Some(stream);
                            break;
                        }
                        Err(error) => failed = error,
                    }
                }
                let Some(stream) = connected else { return Err(failed) };
                stream.set_nodelay(true)?;
                Self::Tcp(stream)
            }
        };
        match &stream {
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(READ_WAIT))?;
                stream.set_write_timeout(Some(PATIENCE))?;
            }
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(READ_WAIT))?;
                stream.set_write_timeout(Some(PATIENCE))?;
            }
        }
        Ok(stream)
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(into),
            Self::Tcp(stream) => stream.read(into),
        }
    }

    fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.write_all(octets),
            Self::Tcp(stream) => stream.write_all(octets),
        }
    }
}

/// What was asked of the master.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Open,
    Register(usize),
    Capability,
    Notify,
    Ping,
}

/// A connection to a master.
struct Session {
    stream: Stream,
    /// The number that the master gave it; `None` before that.
    id: Option<u32>,
    last_packet: u32,
    asked: HashMap<u32, (Asked, Instant)>,
    received: Vec<u8>,
    heard: Instant,
}

/// Why a session ended.
type Ended = String;

impl Agent {
    /// Is part of a master agent until `stop` is true; looks at it some times a second. `clock` tells the time of day.
    pub fn run_under(&mut self, master: &Master, stop: &AtomicBool, clock: impl Fn() -> UnixMillis) {
        let mut pause = PAUSE_MIN;
        let mut outbox = Outbox::default();
        let mut is_told = false;
        while !stop.load(Relaxed) {
            match Stream::connect(master) {
                Ok(stream) => {
                    let mut session = Session::new(stream);
                    let ended = session.run(self, stop, &clock, &mut outbox);
                    super::count_many(&mut self.sender.failed, outbox.put_back());
                    if session.id.is_some() {
                        (pause, is_told) = (PAUSE_MIN, false);
                    }
                    match ended {
                        Ok(()) => return,
                        Err(why) => warn!(%master, why, "The connection to the master agent has ended."),
                    }
                }
                Err(error) if is_told => debug!(%master, %error, "The master agent cannot be reached."),
                Err(error) => {
                    warn!(%master, %error, "The master agent cannot be reached; this is tried again and again.");
                    is_told = true;
                }
            }
            let until = Instant::now() + pause;
            pause = (pause * 2).min(PAUSE_MAX);
            while Instant::now() < until && !stop.load(Relaxed) {
                std::thread::park_timeout(READ_WAIT);
                self.look(Now { wall: clock(), uptime: self.started.elapsed() }, &mut outbox);
            }
        }
    }

    /// Looks after notifications: those for the master wait for it, those for own targets are sent.
    fn look(&mut self, now: Now, outbox: &mut Outbox) {
        for event in self.events(now) {
            self.notify(now.uptime, event.0.clone(), &event.1);
            super::count_many(&mut self.sender.failed, outbox.push(event));
        }
    }

    /// Lets `answer` see everything that is registered.
    fn with_view<T>(&mut self, now: Now, answer: impl FnOnce(&Tree, &View<'_>) -> T) -> T {
        self.lists.refresh(&self.counters, now);
        let access = self.access.load_full();
        // Who may see what is the master's to say.
        let all = ViewRules { include: SUBTREES.map(<[u32]>::to_vec).to_vec(), exclude: Vec::new() };
        let scope = self.registered.get_or_insert_with(|| Scope::new(all, &self.tree));
        let here = super::snapshot::Here {
            config: &self.config,
            counters: &self.counters,
            statistics: &self.statistics,
            engine: &self.engine,
            told: Some(super::snapshot::Told { access: &access, watch: &self.watch, sender: &self.sender }),
        };
        answer(&self.tree, &View::new(now, here, scope, &self.lists))
    }
}

impl Session {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            id: None,
            last_packet: 0,
            asked: HashMap::new(),
            received: Vec::new(),
            heard: Instant::now(),
        }
    }

    /// Serves the master until the daemon stops.
    fn run(
        &mut self,
        agent: &mut Agent,
        stop: &AtomicBool,
        clock: &impl Fn() -> UnixMillis,
        outbox: &mut Outbox,
    ) -> Result<(), Ended> {
        self.open()?;
        let mut part = vec![0; 16_384];
        while !stop.load(Relaxed) {
            agent.look(Now { wall: clock(), uptime: agent.started.elapsed() }, outbox);
            let is_registered = self.id.is_some()
                && !self.asked.values().any(|(asked, _)| matches!(asked, Asked::Register(_)));
            if is_registered {
                self.tell_waiting(outbox, agent.started.elapsed())?;
            }
            self.keep_alive()?;
            match self.stream.read(&mut part) {
                Ok(0) => return Err("the master has closed it".to_owned()),
                Ok(octets) => self.received.extend_from_slice(&part[..octets]),
                Err(error) if is_passing(error.kind()) => continue,
                Err(error) => return Err(error.to_string()),
            }
            self.heard = Instant::now();
            let mut at = 0;
            loop {
                match pdu::decode(&self.received[at..]) {
                    Ok(Some((pdu, octets))) => {
                        at += octets;
                        let now = Now { wall: clock(), uptime: agent.started.elapsed() };
                        self.take(agent, now, &pdu, outbox)?;
                    }
                    Ok(None) => break,
                    Err(Malformed) => {
                        self.close(REASON_PARSE_ERROR);
                        return Err("what it sends is not AgentX".to_owned());
                    }
                }
            }
            self.received.drain(..at);
        }
        self.close(REASON_SHUTDOWN);
        Ok(())
    }

    fn send(&mut self, writer: Writer) -> Result<(), Ended> {
        self.stream.write_all(&writer.finish()).map_err(|error| error.to_string())
    }

    /// Begins a question to the master, which has to be answered in time.
    fn ask(&mut self, kind: u8, asked: Asked) -> Writer {
        self.last_packet = self.last_packet.wrapping_add(1);
        let packet = self.last_packet;
        self.asked.insert(packet, (asked, Instant::now()));
        Writer::new(kind, Context { session: self.id.unwrap_or(0), transaction: 0, packet })
    }

    fn open(&mut self) -> Result<(), Ended> {
        let mut writer = self.ask(pdu::OPEN, Asked::Open);
        writer.octets([TIMEOUT_SECONDS, 0, 0, 0]);
        writer.oid(&[objects::ROOT, objects::PRODUCT].concat());
        writer.string(b"Fluxoscope");
        self.send(writer)
    }

    /// Registers everything, once the session is open.
    fn register(&mut self) -> Result<(), Ended> {
        for (number, subtree) in SUBTREES.iter().enumerate() {
            let mut writer = self.ask(pdu::REGISTER, Asked::Register(number));
            writer.octets([0, PRIORITY, 0, 0]);
            writer.oid(subtree);
            self.send(writer)?;
        }
        for (identity, text) in super::system::RESOURCES {
            let identity = identity.concat();
            if SUBTREES.iter().any(|subtree| identity.starts_with(subtree)) {
                let mut writer = self.ask(pdu::ADD_AGENT_CAPS, Asked::Capability);
                writer.oid(&identity);
                writer.string(text.as_bytes());
                self.send(writer)?;
            }
        }
        Ok(())
    }

    /// Hands what waits to the master.
    fn tell_waiting(&mut self, outbox: &mut Outbox, uptime: Duration) -> Result<(), Ended> {
        while let Some(notification) = outbox.next() {
            self.tell(notification, uptime)?;
            outbox.told(self.last_packet);
        }
        Ok(())
    }

    /// Hands a notification to the master.
    fn tell(&mut self, (name, objects): &Notification, uptime: Duration) -> Result<(), Ended> {
        let mut writer = self.ask(pdu::NOTIFY, Asked::Notify);
        let ticks = u32::try_from(uptime.as_millis() / 10 % (1 << 32)).expect("less than 2^32");
        writer.bind(super::notify::SYS_UP_TIME, &Bound::Value(Value::TimeTicks(ticks)));
        writer.bind(super::notify::SNMP_TRAP_OID, &Bound::Value(Value::ObjectId(name.clone().into())));
        for (name, value) in objects {
            writer.bind(name, &Bound::Value(value.clone()));
        }
        self.send(writer)
    }

    /// Asks a silent master whether it is there. An answer that is late ends the session.
    fn keep_alive(&mut self) -> Result<(), Ended> {
        if let Some((asked, _)) = self.asked.values().find(|(_, at)| at.elapsed() > PATIENCE) {
            return Err(format!("it has not answered in time ({asked:?})"));
        }
        if self.id.is_some() && self.asked.is_empty() && self.heard.elapsed() > PING_AFTER {
            let writer = self.ask(pdu::PING, Asked::Ping);
            self.send(writer)?;
        }
        Ok(())
    }

    /// Says good-bye, if that can be said.
    fn close(&mut self, reason: u8) {
        if self.id.is_some() {
            let mut writer = self.ask(pdu::CLOSE, Asked::Ping);
            writer.octets([reason, 0, 0, 0]);
            let _ = self.send(writer);
        }
    }

    /// Takes what the master sent.
    fn take(
        &mut self,
        agent: &mut Agent,
        now: Now,
        pdu: &pdu::Pdu,
        outbox: &mut Outbox,
    ) -> Result<(), Ended> {
        let context = pdu.context;
        let answer = match &pdu.body {
            Body::Response { error } => return self.answered(agent, context, *error, outbox),
            Body::Close { .. } | Body::CleanupSet if self.id.is_some_and(|own| own != context.session) => {
                return Ok(());
            }
            Body::Close { reason } => return Err(format!("the master closes it, for reason {reason}")),
            Body::CleanupSet => return Ok(()),
            // Of no concern to the session that is open (RFC 2741, 7.2.2).
            _ if self.id != Some(context.session) => Writer::response(context, NOT_OPEN, 0),
            Body::Get(ranges) => agent.with_view(now, |tree, view| get(tree, view, context, ranges)),
            Body::GetNext(ranges) => agent.with_view(now, |tree, view| get_next(tree, view, context, ranges)),
            Body::GetBulk { non_repeaters, max_repetitions, ranges } => agent.with_view(now, |tree, view| {
                get_bulk(tree, view, context, (*non_repeaters).into(), *max_repetitions, ranges)
            }),
            Body::TestSet => Writer::response(context, NOT_WRITABLE, 1),
            Body::CommitSet => Writer::response(context, COMMIT_FAILED, 1),
            // Nothing was done.
            Body::UndoSet | Body::Ping => Writer::response(context, 0, 0),
            Body::OtherContext => Writer::response(context, UNSUPPORTED_CONTEXT, 0),
            Body::Other => Writer::response(context, REQUEST_DENIED, 0),
        };
        super::count(&mut agent.statistics.in_packets);
        super::count(&mut agent.statistics.responses);
        self.send(answer)
    }

    fn answered(
        &mut self,
        agent: &mut Agent,
        context: Context,
        error: u16,
        outbox: &mut Outbox,
    ) -> Result<(), Ended> {
        // The answer to Open tells the number of the session; others that have another number are somebody else's, and what
        // is wrong with a response is not told (RFC 2741, 7.2.2).
        if self.id.is_some_and(|own| own != context.session) {
            debug!(session = context.session, "A response in a session that is not open.");
            return Ok(());
        }
        let Some((asked, _)) = self.asked.remove(&context.packet) else { return Ok(()) };
        match asked {
            Asked::Open if error == 0 => {
                self.id = Some(context.session);
                info!(session = context.session, "Part of the master agent.");
                self.register()
            }
            Asked::Open => Err(format!("the master refuses it, with error {error}")),
            Asked::Register(number) if error != 0 => {
                let subtree = SUBTREES[number].iter().map(u32::to_string).collect::<Vec<_>>().join(".");
                warn!(
                    subtree,
                    error, "The master agent does not take this subtree: somebody else may have it."
                );
                Ok(())
            }
            Asked::Notify => {
                outbox.answered(context.packet);
                let sender = &mut agent.sender;
                super::count(if error == 0 { &mut sender.sent } else { &mut sender.failed });
                if error != 0 {
                    warn!(error, "The master agent does not take a notification.");
                }
                Ok(())
            }
            Asked::Ping if error != 0 => Err(format!("the master does not know it, with error {error}")),
            asked => {
                if error != 0 {
                    debug!(?asked, error, "The master agent refuses.");
                }
                Ok(())
            }
        }
    }
}

fn get(tree: &Tree, view: &View<'_>, context: Context, ranges: &[Range]) -> Writer {
    let mut writer = Writer::response(context, 0, 0);
    for range in ranges {
        let bound = match tree.get(view, &range.start) {
            Found::Value(value) => Bound::Value(value),
            Found::NoSuchObject => Bound::NoSuchObject,
            Found::NoSuchInstance => Bound::NoSuchInstance,
        };
        writer.bind(&range.start, &bound);
        if writer.payload() > pdu::PAYLOAD_OCTETS_MAX {
            return Writer::response(context, TOO_BIG, 0);
        }
    }
    writer
}

fn get_next(tree: &Tree, view: &View<'_>, context: Context, ranges: &[Range]) -> Writer {
    match bind_next(tree, view, context, ranges) {
        (writer, true) => writer,
        (_, false) => Writer::response(context, TOO_BIG, 0),
    }
}

/// What comes next in each range, and whether all of it fits into a response.
fn bind_next(tree: &Tree, view: &View<'_>, context: Context, ranges: &[Range]) -> (Writer, bool) {
    let mut writer = Writer::response(context, 0, 0);
    for range in ranges {
        let (name, bound) = next(tree, view, range);
        writer.bind(&name, &bound);
        if writer.payload() > pdu::PAYLOAD_OCTETS_MAX {
            return (writer, false);
        }
    }
    (writer, true)
}

/// RFC 2741, 7.2.3.3: as many as fit.
fn get_bulk(
    tree: &Tree,
    view: &View<'_>,
    context: Context,
    non_repeaters: usize,
    max_repetitions: u16,
    ranges: &[Range],
) -> Writer {
    let (single, repeated) = ranges.split_at(non_repeaters.min(ranges.len()));
    // Where not even these fit, nothing may come after the error (RFC 2741, 7.2.3.3: tooBig has no bindings).
    let (mut writer, true) = bind_next(tree, view, context, single) else {
        return Writer::response(context, TOO_BIG, 0);
    };
    let mut repeated = repeated.to_vec();
    for _ in 0..max_repetitions {
        let before = writer.payload();
        let mut ended = true;
        for range in &mut repeated {
            let (name, bound) = next(tree, view, range);
            ended &= bound == Bound::EndOfMibView;
            writer.bind(&name, &bound);
            (range.start, range.include) = (name, false);
        }
        if writer.payload() > pdu::PAYLOAD_OCTETS_MAX {
            // Whole rounds only, so that bindings stay in their columns.
            writer.truncate(before);
            break;
        }
        if ended {
            break;
        }
    }
    writer
}

/// The first instance in a range.
fn next(tree: &Tree, view: &View<'_>, range: &Range) -> (Vec<u32>, Bound) {
    if range.include
        && let Found::Value(value) = tree.get(view, &range.start)
    {
        return (range.start.clone(), Bound::Value(value));
    }
    match tree.next(view, &range.start, true) {
        Some((name, value)) if range.end.is_empty() || name < range.end => (name, Bound::Value(value)),
        _ => (range.start.clone(), Bound::EndOfMibView),
    }
}

#[cfg(test)]
mod tests;
