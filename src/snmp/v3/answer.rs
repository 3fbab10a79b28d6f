//! Messages of version 3 that answer ours, from an engine that is authoritative for them: the receiver of an inform.

use rasn::ber;
use rasn_snmp::v2::Pdus;
use rasn_snmp::v3::ScopedPdu;

use super::super::access::{Level, User};
use super::super::usm;
use super::parse;

/// An answer that is what it claims to be: signed by the user where its level says so.
#[derive(Debug)]
pub(in super::super) struct Answer {
    pub(in super::super) message_id: u32,
    pub(in super::super) level: Level,
    /// The authoritative engine, with its boots and time.
    pub(in super::super) engine: Vec<u8>,
    pub(in super::super) boots: u32,
    pub(in super::super) time: u32,
    pub(in super::super) pdu: Pdus,
}

/// Opens an answer. `user` has the keys for the engine that answers, where it is known.
pub(in super::super) fn open(datagram: &[u8], user: Option<&User>) -> Option<Answer> {
    let incoming = parse(datagram).ok()?;
    let level = Level::of_flags(incoming.header.msg_flags)?;
    if level > Level::NoAuthNoPriv {
        let user = user.filter(|user| user.name.as_bytes() == incoming.user)?;
        let (protocol, key) = user.authentication.as_ref()?;
        if !usm::is_authentic(*protocol, key, datagram, incoming.tag.clone()) {
            return None;
        }
    }
    let decrypted;
    let octets = if level == Level::AuthPriv {
        decrypted = incoming.decrypted(user?)?;
        &decrypted[..]
    } else {
        incoming.data
    };
    // Octets may follow where there is padding.
    let (scoped, _) = ber::decode_with_remainder::<ScopedPdu>(octets).ok()?;
    Some(Answer {
        message_id: incoming.header.msg_id,
        level,
        engine: incoming.engine.to_vec(),
        boots: incoming.boots,
        time: incoming.time,
        pdu: scoped.data,
    })
}
