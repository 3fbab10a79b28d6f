//! The embedded SNMP agent: read-only, SNMPv1 and SNMPv2c.
//!
//! It answers from the counters that the stages keep ([`crate::counters`]) and never makes a writer wait. A datagram
//! goes through `message` (decode), `pdu` (what the operation means) and `tree` (which object comes where);
//! `system` and `objects` are the objects, `snapshot` is what one request sees of the program. Messages that deserve no
//! answer (unknown community, source not on the list, not SNMP) get none, and are counted. Responses have at most
//! 1472 octets, and a source gets only so many per second (`limit`): a forged request must not turn the agent against
//! somebody else.
//!
//! SNMPv3 is recognised and counted, not answered. Nothing can be set.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Instant;

use tracing::debug;

use crate::classify::rules::Prefix;
use crate::counters::Counters;
use crate::units::UnixMillis;

mod limit;
mod message;
pub mod mrtg;

/// Where FLUXOSCOPE-MIB begins, for people to type.
pub const ENTERPRISE: &str = "1.3.6.1.4.1.32473.2055";
mod objects;
mod pdu;
mod snapshot;
mod system;
mod tree;

pub use snapshot::Now;

/// The text of FLUXOSCOPE-MIB.
pub const MIB: &str = include_str!("../mibs/FLUXOSCOPE-MIB");

/// The `[snmp]` section, typed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Where the agent listens.
    pub listen: SocketAddr,
    /// Communities that may read. None: nobody may.
    pub communities: Vec<String>,
    /// Sources that may ask. Empty: any.
    pub sources: Vec<Prefix>,
    /// `sysContact`.
    pub contact: Option<String>,
    /// `sysLocation`.
    pub location: Option<String>,
    /// `sysName`.
    pub name: Option<String>,
}

impl Default for Config {
    /// On loopback, for nobody.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 1161)),
            communities: Vec::new(),
            sources: Vec::new(),
            contact: None,
            location: None,
            name: None,
        }
    }
}

/// The agent's own counters (RFC 3418, RFC 3412); they wrap.
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
}

/// The agent.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    counters: Arc<Counters>,
    tree: tree::Tree,
    statistics: Statistics,
    limit: limit::Limit,
    lists: snapshot::Lists,
    started: Instant,
}

impl Agent {
    /// An agent that shows `counters`.
    #[must_use]
    pub fn new(mut config: Config, counters: Arc<Counters>) -> Self {
        config.name = config.name.or_else(host_name);
        Self {
            config,
            counters,
            tree: tree(),
            statistics: Statistics::default(),
            limit: limit::Limit::new(),
            lists: snapshot::Lists::default(),
            started: Instant::now(),
        }
    }

    /// The socket to [`run`](Self::run) on.
    ///
    /// # Errors
    /// Where the system does not give the address.
    pub fn bind(config: &Config) -> io::Result<UdpSocket> {
        UdpSocket::bind(config.listen)
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
        let mut response = Vec::with_capacity(pdu::RESPONSE_OCTETS_MAX);
        while !stop.load(Relaxed) {
            let (length, source) = match socket.recv_from(&mut request) {
                Ok(received) => received,
                Err(error) if is_passing(error.kind()) => continue,
                Err(error) => return Err(error),
            };
            let now = Now { wall: clock(), uptime: self.started.elapsed() };
            if self.respond(now, source, &request[..length], &mut response)
                && let Err(error) = socket.send_to(&response, source)
            {
                // The other side asks again.
                debug!(%source, %error, "SNMP response not sent.");
            }
        }
        Ok(())
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
        let Some(message) = self.accept(request) else { return false };
        if matches!(message.operation, message::Operation::Set) {
            count(&mut self.statistics.in_bad_community_uses);
        }
        self.lists.refresh(&self.counters, now.uptime);
        let view = snapshot::View::new(now, &self.config, &self.counters, &self.statistics, &self.lists);
        let response = pdu::respond(&self.tree, &view, &message);
        let answered = response.is_some_and(|response| message.encode_response(response, out));
        if answered {
            count(&mut self.statistics.responses);
            self.limit.spend(source, now.uptime, out.len());
        } else {
            count(&mut self.statistics.silent_drops);
        }
        answered
    }

    /// The message, where it is one that somebody with a known community may send.
    fn accept(&mut self, request: &[u8]) -> Option<message::Message> {
        let message = match message::Message::decode(request) {
            Ok(message) => message,
            Err(refused) => {
                count(match refused {
                    message::Refused::InvalidFlags => &mut self.statistics.invalid_messages,
                    message::Refused::Malformed => &mut self.statistics.in_asn_parse_errors,
                    message::Refused::SecurityModel => &mut self.statistics.unknown_security_models,
                    message::Refused::Version => &mut self.statistics.in_bad_versions,
                });
                return None;
            }
        };
        let known = |community: &String| community.as_bytes() == &message.community[..];
        if !self.config.communities.iter().any(known) {
            count(&mut self.statistics.in_bad_community_names);
            return None;
        }
        if matches!(message.operation, message::Operation::Unhandled) {
            count(&mut self.statistics.unknown_pdu_handlers);
            return None;
        }
        Some(message)
    }

    fn allows(&self, source: IpAddr) -> bool {
        self.config.sources.is_empty() || self.config.sources.iter().any(|prefix| covers(prefix, source))
    }
}

/// Every object that is served.
fn tree() -> tree::Tree {
    tree::Tree::new(&[system::BRANCHES, objects::BRANCHES])
}

fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
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
