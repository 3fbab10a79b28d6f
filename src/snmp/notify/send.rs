//! Traps and informs on their way: encoded once a target, informs sent again until somebody says that they arrived.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;

use rasn::ber;
use rasn_smi::v1::TimeTicks;
use rasn_smi::v2::{ApplicationSyntax, ObjectSyntax, SimpleSyntax};
use rasn_snmp::v2::{InformRequest, ObjectName, Pdu, Pdus, Response, Trap, VarBind, VarBindValue};
use rasn_snmp::v2c;
use tracing::{debug, warn};

use super::super::access::Access;
use super::super::engine::Engine;
use super::super::message;
use super::super::tree::Value;
use super::super::v3::Outgoing;
use super::PENDING_MAX;
use super::inform::{InformUser, Outcome, Peer};

/// How long an acknowledgement may take, and how often an inform is sent in all.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: u32 = 3;
/// An inform is sent again so often, at most, because something was learnt: engine and time, each once more after the
/// receiver has started anew.
const LEARNT_MAX: u32 = 4;

pub(in super::super) const SYS_UP_TIME: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 3, 0];
pub(in super::super) const SNMP_TRAP_OID: &[u32] = &[1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0];

/// How a target is spoken to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// SNMPv2c.
    V2c {
        /// The community.
        community: String,
        /// Whether the target is to acknowledge.
        inform: bool,
    },
    /// SNMPv3 traps, by a user of this agent, with the best security that its keys give.
    V3 {
        /// The user.
        user: String,
    },
    /// SNMPv3 informs, by a user of the target.
    V3Inform {
        /// The user.
        user: InformUser,
    },
}

impl Protocol {
    fn wants_acknowledgement(&self) -> bool {
        matches!(self, Self::V2c { inform: true, .. } | Self::V3Inform { .. })
    }
}

/// `[[snmp.notify]]`: who is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is spoken to.
    pub protocol: Protocol,
}

/// An inform that nobody has acknowledged.
#[derive(Debug)]
struct Pending {
    pdu: Pdu,
    tries: u32,
    /// How often it was sent again because something was learnt of its receiver.
    learnt: u32,
    again_at: Duration,
}

/// A target, and what waits for it.
#[derive(Debug)]
struct Receiver {
    target: Target,
    pending: VecDeque<Pending>,
    /// What is known of its engine, which only informs of SNMPv3 ask for.
    peer: Peer,
}

/// Sends notifications to all targets.
#[derive(Debug)]
pub(in super::super) struct Sender {
    targets: Vec<Receiver>,
    /// For IPv4 and IPv6, where there are such targets.
    sockets: [Option<UdpSocket>; 2],
    last_id: i32,
    pub(in super::super) sent: u32,
    pub(in super::super) acknowledged: u32,
    /// Informs given up, and messages that no room was for or that could not be encoded.
    pub(in super::super) failed: u32,
}

/// What a message needs to know of the agent.
pub(in super::super) struct Origin<'a> {
    pub(in super::super) engine: &'a mut Engine,
    pub(in super::super) access: &'a Access,
    pub(in super::super) uptime: Duration,
}

impl Sender {
    /// A sender to these targets. A socket that the system refuses leaves its targets without messages.
    pub(in super::super) fn new(targets: &[Target]) -> Self {
        let socket = |v6: bool, any: &str| {
            let is_wanted = targets.iter().any(|target| target.address.is_ipv6() == v6);
            is_wanted.then(|| bind(any)).and_then(|socket| {
                socket.map_err(|error| warn!(%error, "There is no socket for SNMP notifications.")).ok()
            })
        };
        Self {
            sockets: [socket(false, "0.0.0.0:0"), socket(true, "[::]:0")],
            targets: targets
                .iter()
                .map(|target| Receiver {
                    target: target.clone(),
                    pending: VecDeque::new(),
                    peer: Peer::new(),
                })
                .collect(),
            last_id: 0,
            sent: 0,
            acknowledged: 0,
            failed: 0,
        }
    }

    /// Sends a notification to everybody.
    pub(in super::super) fn send(
        &mut self,
        mut origin: Origin<'_>,
        name: Vec<u32>,
        objects: &[(Vec<u32>, Value)],
    ) {
        let ticks = u32::try_from(origin.uptime.as_millis() / 10 % (1 << 32)).expect("less than 2^32");
        let mut variable_bindings = vec![
            bound(SYS_UP_TIME.to_vec(), ApplicationSyntax::Ticks(TimeTicks(ticks)).into()),
            bound(
                SNMP_TRAP_OID.to_vec(),
                SimpleSyntax::ObjectId(ObjectName::new_unchecked(name.into())).into(),
            ),
        ];
        let objects = objects.iter().map(|(name, value)| VarBind {
            name: ObjectName::new_unchecked(name.clone().into()),
            value: message::value(value.clone()),
        });
        variable_bindings.extend(objects);
        for at in 0..self.targets.len() {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let request_id = self.last_id;
            let pdu = Pdu {
                request_id,
                error_status: 0,
                error_index: 0,
                variable_bindings: variable_bindings.clone(),
            };
            let Receiver { target, pending, peer } = &mut self.targets[at];
            let Some(message) = encode(target, peer, &pdu, &mut origin) else {
                super::super::count(&mut self.failed);
                debug!(target = %target.address, "A notification has no encoding, or its user is unknown.");
                continue;
            };
            let is_sent = transmit(&self.sockets, target.address, &message);
            if is_sent {
                super::super::count(&mut self.sent);
            } else if !target.protocol.wants_acknowledgement() {
                super::super::count(&mut self.failed);
            }
            if target.protocol.wants_acknowledgement() {
                if pending.len() == PENDING_MAX {
                    pending.pop_front();
                    super::super::count(&mut self.failed);
                }
                let again_at = origin.uptime + PATIENCE;
                pending.push_back(Pending { pdu, tries: 1, learnt: 0, again_at });
            }
        }
    }

    /// Takes acknowledgements, and sends again what waits too long for one.
    pub(in super::super) fn attend(&mut self, mut origin: Origin<'_>) {
        if self.targets.iter().all(|receiver| receiver.pending.is_empty()) {
            return;
        }
        let mut datagram = [0; 2048];
        for at in 0..self.sockets.len() {
            // No more than can wait for it: whoever sends more is heard the next time.
            for _ in 0..PENDING_MAX {
                let Some(Ok((length, source))) =
                    self.sockets[at].as_ref().map(|socket| socket.recv_from(&mut datagram))
                else {
                    break;
                };
                self.take(source, &datagram[..length], &mut origin);
            }
        }
        let uptime = origin.uptime;
        for Receiver { target, pending, peer } in &mut self.targets {
            for one in pending.iter_mut().filter(|one| one.again_at <= uptime) {
                one.tries += 1;
                one.again_at = uptime + PATIENCE;
                if one.tries <= TRIES
                    && let Some(message) = encode(target, peer, &one.pdu, &mut origin)
                {
                    transmit(&self.sockets, target.address, &message);
                }
            }
            let before = pending.len();
            pending.retain(|one| one.tries <= TRIES);
            for _ in pending.len()..before {
                super::super::count(&mut self.failed);
                peer.forget();
                debug!(target = %target.address, "Nobody has acknowledged a notification.");
            }
        }
    }

    /// Takes what came from somebody.
    fn take(&mut self, source: SocketAddr, datagram: &[u8], origin: &mut Origin<'_>) {
        let sockets = &self.sockets;
        for Receiver { target, pending, peer } in self.targets.iter_mut() {
            if target.address != source {
                continue;
            }
            let place = |id: i32| pending.iter().position(|one| one.pdu.request_id == id);
            let may_learn = |id: i32| Some(pending[place(id)?].learnt < LEARNT_MAX);
            let (id, outcome) = match &target.protocol {
                Protocol::V2c { community, inform: true } => acknowledged(community, datagram),
                Protocol::V3Inform { user } => peer.take(user, datagram, may_learn, origin.uptime),
                Protocol::V2c { .. } | Protocol::V3 { .. } => continue,
            };
            let Some(at) = place(id) else { continue };
            match outcome {
                Outcome::Acknowledged => {
                    pending.remove(at);
                    super::super::count(&mut self.acknowledged);
                }
                Outcome::Learnt => {
                    let one = &mut pending[at];
                    one.learnt += 1;
                    one.again_at = origin.uptime + PATIENCE;
                    if let Some(message) = encode(target, peer, &one.pdu, origin) {
                        transmit(sockets, target.address, &message);
                    }
                    // The others have waited for the same, and it is no try of theirs that failed.
                    for other in pending.iter_mut().filter(|other| other.pdu.request_id != id) {
                        if other.again_at > origin.uptime {
                            other.again_at = origin.uptime;
                            other.tries = other.tries.saturating_sub(1);
                        }
                    }
                }
                Outcome::Ignored => {}
            }
        }
    }
}

/// The number of the inform of SNMPv2c that this acknowledges.
fn acknowledged(community: &str, datagram: &[u8]) -> (i32, Outcome) {
    match ber::decode::<v2c::Message<Response>>(datagram) {
        Ok(message) if message.community[..] == *community.as_bytes() => {
            (message.data.0.request_id, Outcome::Acknowledged)
        }
        _ => (0, Outcome::Ignored),
    }
}

pub(in super::super) fn bound(name: Vec<u32>, value: ObjectSyntax) -> VarBind {
    VarBind { name: ObjectName::new_unchecked(name.into()), value: VarBindValue::Value(value) }
}

fn bind(address: &str) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether a message went out. An inform that did not is lost on the way: it is sent again.
fn transmit(sockets: &[Option<UdpSocket>; 2], address: SocketAddr, message: &[u8]) -> bool {
    let Some(socket) = &sockets[usize::from(address.is_ipv6())] else { return false };
    match socket.send_to(message, address) {
        Ok(_) => true,
        Err(error) => {
            debug!(target = %address, %error, "A notification was not sent.");
            false
        }
    }
}

fn encode(target: &Target, peer: &Peer, pdu: &Pdu, origin: &mut Origin<'_>) -> Option<Vec<u8>> {
    let message_id = pdu.request_id;
    let pdu = pdu.clone();
    match &target.protocol {
        Protocol::V3Inform { user } => peer.message(user, &pdu, origin.engine, origin.uptime),
        Protocol::V2c { community, inform } => {
            let community = community.clone().into_bytes().into();
            let version = 1.into();
            if *inform {
                return ber::encode(&v2c::Message { version, community, data: InformRequest(pdu) }).ok();
            }
            ber::encode(&v2c::Message { version, community, data: Trap(pdu) }).ok()
        }
        Protocol::V3 { user } => {
            let user = origin.access.user(user.as_bytes())?;
            let outgoing = Outgoing {
                message_id: message_id.unsigned_abs(),
                level: user.best(),
                is_reportable: false,
                salt: origin.engine.next_salt(),
                engine: origin.engine.id(),
                clock: origin.engine.clock(origin.uptime),
                user_name: user.name.as_bytes(),
                user: Some(user),
            };
            let mut out = Vec::new();
            outgoing.encode(origin.engine.id(), Pdus::Trap(Trap(pdu)), &mut out).then_some(out)
        }
    }
}
