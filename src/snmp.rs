//! The embedded SNMP agent: read-only, SNMPv1, SNMPv2c and SNMPv3.
//!
//! It answers from the counters that the stages keep ([`crate::counters`]) and never makes a writer wait. A datagram
//! goes through `message` or `v3` (decode), `pdu` (what the operation means) and `tree` (which object comes where);
//! `system` and `objects` are the objects, `snapshot` is what one request sees of the program. Messages that deserve no
//! answer (unknown community, source not on the list, not SNMP) get none, and are counted. Responses have at most
//! 1472 octets, and a source gets only so many per second (`limit`): a forged request must not turn the agent against
//! somebody else.
//!
//! Version 3 is secured by the User-based Security Model: `engine` (who we are, since when), `users` (keys at rest),
//! `usm` (HMAC and AES), `v3` (the order in which a message is judged). `access` says who may see what, in all versions.
//! Nothing can be set.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use rasn_snmp::v2::Pdus;
use tracing::{debug, warn};

use crate::classify::rules::Prefix;
use crate::counters::Counters;
use crate::receive::socket;
use crate::units::UnixMillis;

mod access;
mod agentx;
mod ages;
mod engine;
mod ipfix;
mod limit;
mod lists;
mod message;
pub mod metrics;
pub mod mrtg;
mod notify;

/// Where FLUXOSCOPE-MIB begins, for people to type.
pub const ENTERPRISE: &str = "1.3.6.1.4.1.32473.2055";
mod objects;
mod owner;
mod pdu;
mod snapshot;
mod system;
mod tree;
mod users;
mod usm;
mod v3;
mod vacm;

pub use access::{DEFAULT_VIEW, Level, UserRules, ViewRules};
pub use agentx::Master;
pub use notify::{Alarms, InformUser, Passphrase, Protocol, Target};
pub use owner::misplaced;
pub use snapshot::Now;
pub use users::{Listed, Users, check_name, lock};
pub use usm::{Authentication, Privacy};

use access::Access;
use engine::Engine;

/// The text of FLUXOSCOPE-MIB.
pub const MIB: &str = include_str!("../mibs/FLUXOSCOPE-MIB");

/// The `[snmp]` section, typed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Where the agent listens, unless it is part of a master agent.
    pub listen: SocketAddr,
    /// The master agent that answers for it.
    pub agentx: Option<Master>,
    /// Communities that may read. None: nobody may.
    pub communities: Vec<String>,
    /// Sources that may ask. Empty: any.
    pub sources: Vec<Prefix>,
    /// What communities may read: a name in `views`, or [`DEFAULT_VIEW`].
    pub view: String,
    /// `[[snmp.view]]`.
    pub views: BTreeMap<String, ViewRules>,
    /// `[[snmp.user]]`.
    pub users: Vec<UserRules>,
    /// Whether users may authenticate by HMAC-MD5 and HMAC-SHA-1.
    pub legacy_authentication: bool,
    /// Whether users may encrypt by DES.
    pub legacy_privacy: bool,
    /// `[[snmp.notify]]`.
    pub notify: Vec<Target>,
    /// When something is worth a notification.
    pub alarms: Alarms,
    /// `sysContact`.
    pub contact: Option<String>,
    /// `sysLocation`.
    pub location: Option<String>,
    /// `sysName`.
    pub name: Option<String>,
}

impl Config {
    /// Users by whose keys traps are to be sent, and who are not among those `known`.
    pub fn unknown_senders<'a>(&'a self, known: &[&str]) -> Vec<&'a str> {
        let senders = self.notify.iter().filter_map(|target| match &target.protocol {
            Protocol::V3 { user } => Some(user.as_str()),
            Protocol::V2c { .. } | Protocol::V3Inform { .. } => None,
        });
        senders.filter(|user| !known.contains(user)).collect()
    }

    /// What a running agent cannot change: all but who may ask ([`Gate::reload`]).
    #[must_use]
    pub fn fixed(&self) -> Self {
        let fresh = Self::default();
        Self {
            communities: fresh.communities,
            view: fresh.view,
            views: fresh.views,
            users: fresh.users,
            legacy_authentication: fresh.legacy_authentication,
            legacy_privacy: fresh.legacy_privacy,
            ..self.clone()
        }
    }
}

impl Default for Config {
    /// On loopback, for nobody.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 1161)),
            agentx: None,
            communities: Vec::new(),
            sources: Vec::new(),
            view: DEFAULT_VIEW.to_owned(),
            views: BTreeMap::new(),
            users: Vec::new(),
            legacy_authentication: false,
            legacy_privacy: false,
            notify: Vec::new(),
            alarms: Alarms::default(),
            contact: None,
            location: None,
            name: None,
        }
    }
}

/// The agent's own counters (RFC 3418, RFC 3412, RFC 3413, RFC 3414); they wrap.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Statistics {
    in_packets: u32,
    in_bad_versions: u32,
    in_bad_community_names: u32,
    in_bad_community_uses: u32,
    in_asn_parse_errors: u32,
    silent_drops: u32,
    unknown_security_models: u32,
    invalid_messages: u32,
    unknown_pdu_handlers: u32,
    refused_sources: u32,
    limited: u32,
    responses: u32,
    reports: u32,
    unsupported_sec_levels: u32,
    not_in_time_windows: u32,
    unknown_user_names: u32,
    unknown_engine_ids: u32,
    wrong_digests: u32,
    decryption_errors: u32,
    unknown_contexts: u32,
}

impl Statistics {
    /// Counts a datagram that is not a message.
    fn refuse(&mut self, refused: message::Refused) {
        count(match refused {
            message::Refused::InvalidFlags => &mut self.invalid_messages,
            message::Refused::Malformed => &mut self.in_asn_parse_errors,
            message::Refused::SecurityModel => &mut self.unknown_security_models,
            message::Refused::Version => &mut self.in_bad_versions,
        });
    }
}

/// Changes who may ask, while the agent runs.
#[derive(Clone, Debug)]
pub struct Gate {
    access: Arc<ArcSwap<Access>>,
    tree: Arc<tree::Tree>,
    /// Where the keys are, and whose they are.
    keys: Option<(PathBuf, Vec<u8>)>,
    /// The agent's own engine.
    engine: Vec<u8>,
}

impl Gate {
    /// The keys that are on disk now.
    ///
    /// # Errors
    /// Where they cannot be used.
    pub fn keys(&self) -> io::Result<Keys> {
        let keys = self.keys.as_ref();
        keys.map(|(state_dir, engine)| Users::of_engine(state_dir, engine.clone())).transpose().map(Keys)
    }

    /// Puts communities, users and views of a configuration in force, with these keys.
    pub fn reload(&self, config: &Config, Keys(users): &Keys) {
        let users = users.as_ref().map_or(&[][..], Users::all);
        self.access.store(Arc::new(Access::new(config, &self.tree, users).shown(config, &self.engine)));
    }
}

/// Keys of users, where the agent has a place for them.
#[derive(Debug, Default)]
pub struct Keys(Option<Users>);

/// The agent.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    counters: Arc<Counters>,
    tree: Arc<tree::Tree>,
    engine: Engine,
    access: Arc<ArcSwap<Access>>,
    keys: Option<(PathBuf, Vec<u8>)>,
    statistics: Statistics,
    limit: limit::Limit,
    /// Rows and leaves that the request at hand was looked for in.
    looks: u32,
    watch: notify::Watch,
    sender: notify::Sender,
    lists: snapshot::Lists,
    /// What a master agent may see; made when there is one.
    registered: Option<access::Scope>,
    started: Instant,
}

impl Agent {
    /// An agent that shows `counters`. Nothing is kept of it: it has another engine each time, and no users with keys.
    ///
    /// # Errors
    /// Where the system gives no random octets.
    pub fn new(config: Config, counters: Arc<Counters>) -> io::Result<Self> {
        Ok(Self::with(config, counters, Engine::ephemeral()?, None))
    }

    /// An agent that shows `counters`, with the engine and the users of a state directory. The engine has started once
    /// more; that is on disk when this returns.
    ///
    /// # Errors
    /// Where the engine's file cannot be used.
    pub fn open(config: Config, counters: Arc<Counters>, state_dir: &Path) -> io::Result<Self> {
        let _lock = lock(state_dir)?;
        let engine = Engine::start(state_dir)?;
        let keys = (state_dir.to_owned(), engine.id().to_vec());
        Ok(Self::with(config, counters, engine, Some(keys)))
    }

    fn with(
        mut config: Config,
        counters: Arc<Counters>,
        engine: Engine,
        keys: Option<(PathBuf, Vec<u8>)>,
    ) -> Self {
        config.name = config.name.or_else(host_name);
        let tree = Arc::new(tree());
        let access = Arc::new(ArcSwap::from_pointee(Access::new(&Config::default(), &tree, &[])));
        let own = engine.id().to_vec();
        let gate =
            Gate { access: Arc::clone(&access), tree: Arc::clone(&tree), keys: keys.clone(), engine: own };
        let on_disk = gate.keys().unwrap_or_else(|error| {
            warn!(%error, "The keys of SNMP users cannot be used: none of them may ask.");
            Keys::default()
        });
        gate.reload(&config, &on_disk);
        Self {
            watch: notify::Watch::new(config.alarms),
            sender: notify::Sender::new(&config.notify),
            config,
            counters,
            tree,
            engine,
            access,
            keys,
            statistics: Statistics::default(),
            limit: limit::Limit::new(),
            looks: 0,
            lists: snapshot::Lists::default(),
            registered: None,
            started: Instant::now(),
        }
    }

    /// What changes who may ask.
    #[must_use]
    pub fn gate(&self) -> Gate {
        let (access, tree) = (Arc::clone(&self.access), Arc::clone(&self.tree));
        Gate { access, tree, keys: self.keys.clone(), engine: self.engine.id().to_vec() }
    }

    /// The socket to [`run`](Self::run) on.
    ///
    /// # Errors
    /// Where the system does not give the address.
    pub fn bind(config: &Config) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(config.listen)?;
        // An answer comes from where it was asked for (RFC 1157, 4; RFC 3417, 3.1), whichever of our addresses that is.
        if config.listen.ip().is_unspecified()
            && let Err(error) = socket::tell_destinations(&socket)
        {
            warn!(%error, "Answers of the SNMP agent may leave from another address than was asked: listen on one.");
        }
        Ok(socket)
    }

    /// Answers until `stop` is true; looks at it at least five times a second. `clock` tells the time of day.
    ///
    /// # Errors
    /// Where the socket fails for good.
    pub fn run(
        &mut self,
        socket: &UdpSocket,
        stop: &AtomicBool,
        clock: impl Fn() -> UnixMillis,
    ) -> io::Result<()> {
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut request = vec![0; usize::from(u16::MAX)];
        let mut response = Vec::with_capacity(message::RESPONSE_OCTETS_MAX);
        self.notify(self.started.elapsed(), COLD_START.to_vec(), &[]);
        while !stop.load(Relaxed) {
            self.tick(Now { wall: clock(), uptime: self.started.elapsed() });
            let (length, source, asked) = match socket::receive_addressed(socket, &mut request) {
                Ok(received) => received,
                Err(error) if is_passing(error.kind()) => continue,
                Err(error) => return Err(error),
            };
            let now = Now { wall: clock(), uptime: self.started.elapsed() };
            if self.respond(now, source, &request[..length], &mut response)
                && let Err(error) = socket::send_from(socket, &response, source, asked)
            {
                // The other side asks again.
                debug!(%source, %error, "SNMP response not sent.");
            }
        }
        Ok(())
    }

    /// Looks after notifications; to be called at least once a second.
    pub fn tick(&mut self, now: Now) {
        for (name, objects) in self.events(now) {
            self.notify(now.uptime, name, &objects);
        }
    }

    /// What is to be told, after a look at the counters. Takes acknowledgements, too.
    fn events(&mut self, now: Now) -> Vec<notify::Notification> {
        let access = self.access.load_full();
        let origin = notify::Origin { engine: &mut self.engine, access: &access, uptime: now.uptime };
        self.sender.attend(origin);
        if !self.watch.is_due(now.uptime) {
            return Vec::new();
        }
        self.lists.refresh(&self.counters, now);
        let here = snapshot::Here {
            config: &self.config,
            counters: &self.counters,
            statistics: &self.statistics,
            engine: &self.engine,
            told: None,
        };
        let scope = access::Scope::new(ViewRules::standard(), &self.tree);
        let view = snapshot::View::new(now, here, &scope, &self.lists);
        let events = self.watch.look(&view);
        events.into_iter().map(|event| self.tree.notification(&view, &event)).collect()
    }

    fn notify(&mut self, uptime: Duration, name: Vec<u32>, objects: &[(Vec<u32>, tree::Value)]) {
        let access = self.access.load_full();
        let origin = notify::Origin { engine: &mut self.engine, access: &access, uptime };
        self.sender.send(origin, name, objects);
    }

    /// Answers one datagram: true where `out` holds a response to send. All that time does comes in as `now`.
    pub fn respond(&mut self, now: Now, source: SocketAddr, request: &[u8], out: &mut Vec<u8>) -> bool {
        count(&mut self.statistics.in_packets);
        let source = source.ip().to_canonical();
        if !self.allows(source) {
            count(&mut self.statistics.refused_sources);
            return false;
        }
        if !self.limit.admits(source, now.uptime) {
            count(&mut self.statistics.limited);
            return false;
        }
        let access = self.access.load_full();
        let sent = match message::version(request) {
            Ok(message::Version::V3) => self.respond_secured(now, &access, request, out),
            Ok(version) => self.respond_community(now, &access, version, request, out),
            Err(refused) => {
                self.statistics.refuse(refused);
                false
            }
        };
        // What gets no answer costs as well: it was read, and may have been looked for.
        let response = if sent { out.len() } else { 0 };
        let looks = core::mem::take(&mut self.looks);
        self.limit.spend(source, now.uptime, limit::cost(request.len(), response, looks));
        sent
    }

    /// Versions 1 and 2c.
    fn respond_community(
        &mut self,
        now: Now,
        access: &Access,
        version: message::Version,
        request: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let message = match message::Message::decode(request, version) {
            Ok(message) => message,
            Err(refused) => {
                self.statistics.refuse(refused);
                return false;
            }
        };
        let Some(scope) = access.community(&message.community) else {
            count(&mut self.statistics.in_bad_community_names);
            return false;
        };
        if message.is_unhandled() {
            count(&mut self.statistics.unknown_pdu_handlers);
            return false;
        }
        if matches!(message.operation, message::Operation::Set) {
            count(&mut self.statistics.in_bad_community_uses);
        }
        let response = self.answer(now, access, scope, &message);
        let answered = response.is_some_and(|response| message.encode_response(response, out));
        self.count_answer(answered)
    }

    /// Version 3.
    fn respond_secured(&mut self, now: Now, access: &Access, request: &[u8], out: &mut Vec<u8>) -> bool {
        let clock = self.engine.clock(now.uptime);
        let mut judge = v3::Judge { access, engine: &self.engine, statistics: &mut self.statistics, clock };
        let message = match judge.judge(request) {
            Ok(message) => message,
            Err(v3::Verdict::Silence) => return false,
            Err(v3::Verdict::Tell(complaint)) => {
                let sent = v3::encode_report(&complaint, &self.engine, clock, out);
                if sent {
                    count(&mut self.statistics.reports);
                }
                return sent;
            }
        };
        let secured = message.secured.as_ref().expect("messages of version 3 have it");
        let response = if secured.level < secured.user.least {
            pdu::unauthorized(&message)
        } else {
            self.answer(now, access, &secured.user.scope, &message)
        };
        let answered = response.is_some_and(|response| {
            let outgoing = v3::Outgoing {
                message_id: secured.message_id,
                level: secured.level,
                is_reportable: false,
                salt: self.engine.next_salt(),
                engine: self.engine.id(),
                clock,
                user_name: secured.user.name.as_bytes(),
                user: Some(&secured.user),
            };
            outgoing.encode(&secured.context_engine, Pdus::Response(message.response_pdu(response)), out)
        });
        self.count_answer(answered)
    }

    fn answer(
        &mut self,
        now: Now,
        access: &Access,
        scope: &access::Scope,
        message: &message::Message,
    ) -> Option<pdu::ResponsePdu> {
        self.lists.refresh(&self.counters, now);
        let here = snapshot::Here {
            config: &self.config,
            counters: &self.counters,
            statistics: &self.statistics,
            engine: &self.engine,
            told: Some(snapshot::Told { access, watch: &self.watch, sender: &self.sender }),
        };
        let view = snapshot::View::new(now, here, scope, &self.lists);
        let response = pdu::respond(&self.tree, &view, message);
        self.looks = view.looks();
        response
    }

    /// Every request that was taken is answered, or silently dropped.
    fn count_answer(&mut self, answered: bool) -> bool {
        count(if answered { &mut self.statistics.responses } else { &mut self.statistics.silent_drops });
        answered
    }

    fn allows(&self, source: IpAddr) -> bool {
        self.config.sources.is_empty() || self.config.sources.iter().any(|prefix| covers(prefix, source))
    }
}

/// The notification that every agent sends when it starts (RFC 3418).
const COLD_START: [u32; 10] = [1, 3, 6, 1, 6, 3, 1, 1, 5, 1];

/// Every object that is served.
fn tree() -> tree::Tree {
    tree::Tree::new(&[system::BRANCHES, objects::BRANCHES, objects::TABLES, ipfix::BRANCHES, vacm::BRANCHES])
}

fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}

fn count_many(counter: &mut u32, many: usize) {
    *counter = counter.wrapping_add(u32::try_from(many).unwrap_or(u32::MAX));
}

/// A prefix of IPv4-mapped addresses never matches: sources are canonical.
fn covers(prefix: &Prefix, address: IpAddr) -> bool {
    let length = u32::from(prefix.length);
    match (prefix.address, address) {
        (IpAddr::V4(prefix), IpAddr::V4(address)) => {
            (prefix.to_bits() ^ address.to_bits()).checked_shr(32u32.saturating_sub(length)).unwrap_or(0) == 0
        }
        (IpAddr::V6(prefix), IpAddr::V6(address)) => {
            (prefix.to_bits() ^ address.to_bits()).checked_shr(128u32.saturating_sub(length)).unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

/// True for what a later call may not meet again: nothing came, a signal, an ICMP answer to an earlier response.
fn is_passing(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}

/// The host's name, for sysName. A hardened service may not see the kernel's word for it; then the file says it.
fn host_name() -> Option<String> {
    ["/proc/sys/kernel/hostname", "/etc/hostname"].iter().find_map(|path| {
        let name = std::fs::read_to_string(path).ok()?;
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    })
}

#[cfg(test)]
mod tests;
