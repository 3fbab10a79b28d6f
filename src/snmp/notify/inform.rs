//! Informs of SNMPv3: their receiver is the authoritative engine, so its identifier, boots and time have to be learnt.
//!
//! Discovery (RFC 3414, 4): a request without an engine draws a report that names it; with keys for that engine, a first
//! signed message, which is the inform itself with boots and time of 0, draws a signed report that tells both. Only
//! what answers a message that waits is looked at. The identifier is believed unsigned, as everywhere in SNMP: with a
//! false one nothing is acknowledged, and after the last try the engine is looked for anew.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use rasn_snmp::v2::{GetRequest, InformRequest, Pdu, Pdus, Report, Response};
use zeroize::Zeroizing;

use super::super::access::{Level, Scope, User, ViewRules};
use super::super::engine::Engine;
use super::super::tree::Tree;
use super::super::usm::{self, Authentication, Privacy};
use super::super::v3::answer::{self, Answer};
use super::super::v3::{Outgoing, WINDOW_SECONDS};

/// Counters that a report may name (RFC 3414, 5).
const UNKNOWN_ENGINE_IDS: [u32; 11] = [1, 3, 6, 1, 6, 3, 15, 1, 1, 4, 0];
const NOT_IN_TIME_WINDOWS: [u32; 11] = [1, 3, 6, 1, 6, 3, 15, 1, 1, 2, 0];

/// A passphrase. It is wiped from memory and never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Keeps a passphrase.
    #[must_use]
    pub fn new(octets: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(octets.into()))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// A user of the receiver of informs. Its keys are made for the receiver's engine when that is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InformUser {
    /// Its name there.
    pub name: String,
    /// How messages are signed, if they are.
    pub authentication: Option<(Authentication, Passphrase)>,
    /// How they are encrypted, if they are.
    pub privacy: Option<(Privacy, Passphrase)>,
}

impl InformUser {
    /// The user with keys for an engine.
    fn localised(&self, engine: &[u8]) -> User {
        let authentication = self.authentication.as_ref().map(|(protocol, passphrase)| {
            (*protocol, usm::authentication_key(*protocol, &passphrase.0, engine))
        });
        let protocol = self.authentication.as_ref().map(|(protocol, _)| *protocol);
        let privacy = protocol.zip(self.privacy.as_ref()).map(|(protocol, (privacy, passphrase))| {
            (*privacy, usm::privacy_key(protocol, *privacy, &passphrase.0, engine))
        });
        // It asks for nothing, so it sees nothing.
        let scope = Arc::new(Scope::new(ViewRules::default(), &Tree::new(&[])));
        User {
            name: self.name.clone(),
            authentication,
            privacy,
            least: Level::NoAuthNoPriv,
            view: String::new(),
            scope,
        }
    }
}

/// What is known of a receiver.
#[derive(Debug)]
struct Known {
    engine: Vec<u8>,
    user: User,
    boots: u32,
    /// Its time at `at`, on our clock.
    time: u32,
    at: Duration,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// The inform has arrived.
    Acknowledged,
    /// More is known of the receiver than before: worth sending again.
    Learnt,
    /// Nothing.
    Ignored,
}

/// A receiver of informs.
#[derive(Debug)]
pub(super) struct Peer {
    known: Option<Known>,
}

impl Peer {
    pub(super) const fn new() -> Self {
        Self { known: None }
    }

    /// The receiver may be another one by now.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// The next message on the way of this inform: itself, or the question for the receiver's engine.
    pub(super) fn message(
        &self,
        user: &InformUser,
        pdu: &Pdu,
        engine: &mut Engine,
        uptime: Duration,
    ) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let message_id = pdu.request_id.unsigned_abs();
        let Some(known) = &self.known else {
            let question = Pdu {
                request_id: pdu.request_id,
                error_status: 0,
                error_index: 0,
                variable_bindings: Vec::new(),
            };
            let discovery = Outgoing {
                message_id,
                level: Level::NoAuthNoPriv,
                is_reportable: true,
                engine: &[],
                clock: (0, 0),
                user_name: b"",
                user: None,
                salt: [0; 8],
            };
            return discovery.encode(&[], Pdus::GetRequest(GetRequest(question)), &mut out).then_some(out);
        };
        let elapsed = u32::try_from(uptime.saturating_sub(known.at).as_secs()).unwrap_or(u32::MAX);
        // Before the first signed report, both are 0.
        let time = if known.boots == 0 {
            0
        } else {
            known.time.saturating_add(elapsed).min(i32::MAX.unsigned_abs())
        };
        let inform = Outgoing {
            message_id,
            level: known.user.best(),
            is_reportable: true,
            engine: &known.engine,
            clock: (known.boots, time),
            user_name: user.name.as_bytes(),
            user: Some(&known.user),
            salt: engine.next_salt(),
        };
        let own = engine.id().to_vec();
        inform.encode(&own, Pdus::InformRequest(InformRequest(pdu.clone())), &mut out).then_some(out)
    }

    /// Takes what came from the receiver; the message that it answers, by its number, and what that comes to.
    /// `may_learn` says of a message that waits whether a report about it is of interest: keys are dear to make, and
    /// reports are easily forged.
    pub(super) fn take(
        &mut self,
        user: &InformUser,
        datagram: &[u8],
        may_learn: impl Fn(i32) -> Option<bool>,
        uptime: Duration,
    ) -> (i32, Outcome) {
        let nothing = (0, Outcome::Ignored);
        let Some(answer) = answer::open(datagram, self.known.as_ref().map(|known| &known.user)) else {
            return nothing;
        };
        let Ok(number) = i32::try_from(answer.message_id) else { return nothing };
        let Some(may_learn) = may_learn(number) else { return nothing };
        let outcome = match &answer.pdu {
            Pdus::Report(Report(pdu)) if may_learn => {
                let counter = pdu.variable_bindings.first().map(|binding| binding.name.to_vec());
                match counter.as_deref() {
                    Some(name) if name == UNKNOWN_ENGINE_IDS => self.meet(user, &answer, uptime),
                    Some(name) if name == NOT_IN_TIME_WINDOWS => self.learn_time(&answer, uptime),
                    _ => Outcome::Ignored,
                }
            }
            Pdus::Response(Response(pdu)) if pdu.request_id == number && self.is_trusted(&answer, uptime) => {
                self.learn_time(&answer, uptime);
                Outcome::Acknowledged
            }
            _ => Outcome::Ignored,
        };
        (number, outcome)
    }

    fn meet(&mut self, user: &InformUser, answer: &Answer, uptime: Duration) -> Outcome {
        let engine = &answer.engine;
        let is_known = self.known.as_ref().is_some_and(|known| known.engine == *engine);
        if is_known || !(5..=32).contains(&engine.len()) {
            return Outcome::Ignored;
        }
        let user = user.localised(engine);
        self.known = Some(Known { engine: engine.clone(), user, boots: 0, time: 0, at: uptime });
        Outcome::Learnt
    }

    /// Boots and time of a signed answer, where they are newer than what is known (RFC 3414, 3.2, 7.b.1).
    fn learn_time(&mut self, answer: &Answer, uptime: Duration) -> Outcome {
        let Some(known) = self.known.as_mut().filter(|known| known.engine == answer.engine) else {
            return Outcome::Ignored;
        };
        let is_newer = (answer.boots, answer.time) > (known.boots, known.time);
        if answer.level == Level::NoAuthNoPriv || !is_newer {
            return Outcome::Ignored;
        }
        (known.boots, known.time, known.at) = (answer.boots, answer.time, uptime);
        Outcome::Learnt
    }

    /// Whether a response is by the receiver, as well protected as the inform was, and no replay (RFC 3414, 3.2, 7.b.2).
    fn is_trusted(&self, answer: &Answer, uptime: Duration) -> bool {
        let Some(known) = self.known.as_ref().filter(|known| known.engine == answer.engine) else {
            return false;
        };
        let elapsed = u32::try_from(uptime.saturating_sub(known.at).as_secs()).unwrap_or(u32::MAX);
        let oldest = known.time.saturating_add(elapsed).saturating_sub(WINDOW_SECONDS);
        let is_timely = answer.boots > known.boots || answer.boots == known.boots && answer.time >= oldest;
        answer.level >= known.user.best() && (is_timely || answer.level == Level::NoAuthNoPriv)
    }
}

#[cfg(test)]
mod tests;
