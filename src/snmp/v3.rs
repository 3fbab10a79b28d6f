//! SNMPv3 messages: the header (RFC 3412), the parameters of the User-based Security Model (RFC 3414), and the order in
//! which a message is judged.
//!
//! Coming in, the outer elements are walked without copying anything, so that a message's tag is checked over the
//! octets that came, in their place. What is refused is counted, and reported where the sender may be told. Nothing is
//! decrypted or looked at that is not authentic, where authentication is claimed. Going out, a message is encoded with
//! a tag of zeros, found again by the same walk, and signed in place.

use core::ops::Range;
use std::sync::Arc;

use rasn::ber;
use rasn_smi::v2::{ApplicationSyntax, ObjectSyntax};
use rasn_snmp::v2::{ObjectName, Pdu, Pdus, Report, VarBind, VarBindValue};
use rasn_snmp::v3;
use snmp_parser::asn1_rs::{self, FromBer as _};
use snmp_parser::{HeaderData, SecurityModel};

use super::access::{Access, Level, User};
use super::engine::{BOOTS_MAX, Engine};
use super::message::{self, Message, Refused, element_length, integer_length};
use super::usm::{self, Vector};
use super::{Statistics, count};

pub(super) mod answer;

/// The engine "here", whatever its identifier (RFC 5343, 3.2).
pub(super) const LOCAL_ENGINE: [u8; 5] = [0x80, 0, 0, 0, 6];

/// Seconds that a message's time may be off (RFC 3414, 2.2.3).
pub(super) const WINDOW_SECONDS: u32 = 150;

/// What we say we can receive: the largest UDP payload over IPv4.
pub(super) const RECEIVE_OCTETS_MAX: u32 = 65_507;

/// The smallest msgMaxSize (RFC 3412, 6).
const OCTETS_MAX_MIN: u32 = 484;

const REPORTABLE: u8 = 4;

/// How a request is answered.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) message_id: u32,
    /// Octets of a message that its sender can take.
    pub(super) octets_max: usize,
    pub(super) level: Level,
    pub(super) user: Arc<User>,
    /// Octets of the engine's identifier.
    engine_octets: usize,
    pub(super) context_engine: Vec<u8>,
    context_name: Vec<u8>,
}

impl Secured {
    /// Octets of a message with a PDU of `pdu` octets, at most.
    pub(super) fn message_length(&self, pdu: usize) -> usize {
        const MOST: i64 = BOOTS_MAX as i64;
        let scoped = element_length(
            element_length(self.context_engine.len()) + element_length(self.context_name.len()) + pdu,
        );
        let data = match &self.user.privacy {
            Some((protocol, _)) if self.level == Level::AuthPriv => {
                element_length(protocol.encrypted_octets(scoped))
            }
            _ => scoped,
        };
        let tag = self.user.authentication.as_ref().map_or(0, |(protocol, _)| protocol.tag_octets());
        let parameters = element_length(self.engine_octets)
            + 2 * integer_length(MOST)
            + element_length(self.user.name.len())
            + element_length(tag)
            + element_length(8);
        let header = integer_length(self.message_id.into())
            + integer_length(RECEIVE_OCTETS_MAX.into())
            + element_length(1)
            + integer_length(3);
        element_length(
            integer_length(3) + element_length(header) + element_length(element_length(parameters)) + data,
        )
    }
}

/// A message, taken apart as far as its security parameters go.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    header: HeaderData,
    engine: &'a [u8],
    boots: u32,
    time: u32,
    user: &'a [u8],
    /// Where the tag stands in the datagram.
    tag: Range<usize>,
    salt: &'a [u8],
    /// A scoped PDU, or its encryption as an OCTET STRING.
    data: &'a [u8],
}

impl Incoming<'_> {
    /// The scoped PDU in an encrypted one, with whatever fills it up. Nothing where length or salt are none of the user's
    /// protocol; with another key it is noise.
    fn decrypted(&self, user: &User) -> Option<Vec<u8>> {
        let (protocol, key) = user.privacy.as_ref()?;
        let vector = Vector { boots: self.boots, time: self.time, salt: self.salt.try_into().ok()? };
        let mut data = self.data;
        let octets = element(&mut data, asn1_rs::Tag::OctetString).filter(|_| data.is_empty())?;
        let mut octets = octets.to_vec();
        usm::decrypt(*protocol, key, vector, &mut octets).then_some(octets)
    }
}

/// What a sender is told of a message that was refused.
#[derive(Debug)]
pub(super) struct Complaint {
    /// The name of the counter.
    counter: &'static [u32],
    value: u32,
    message_id: u32,
    request_id: i32,
    /// As the message had it.
    user_name: Vec<u8>,
    /// Signed for this user.
    user: Option<Arc<User>>,
}

/// What becomes of a message that is no request.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Counted; nothing is sent.
    Silence,
    /// Counted, and the sender is told.
    Tell(Complaint),
}

/// Takes a datagram apart that says that it is of version 3.
pub(super) fn parse(datagram: &[u8]) -> Result<Incoming<'_>, Refused> {
    let malformed = Refused::Malformed;
    let mut outer = datagram;
    let mut rest = element(&mut outer, asn1_rs::Tag::Sequence).ok_or(malformed)?;
    element(&mut rest, asn1_rs::Tag::Integer).ok_or(malformed)?;
    // msgGlobalData has four elements and nothing else (RFC 3412, 6).
    let mut global = element(&mut { rest }, asn1_rs::Tag::Sequence).ok_or(malformed)?;
    for tag in
        [asn1_rs::Tag::Integer, asn1_rs::Tag::Integer, asn1_rs::Tag::OctetString, asn1_rs::Tag::Integer]
    {
        element(&mut global, tag).ok_or(malformed)?;
    }
    if !global.is_empty() {
        return Err(malformed);
    }
    let (mut rest, header) = HeaderData::from_ber(rest).map_err(|_| malformed)?;
    let in_range = header.msg_id <= BOOTS_MAX && (OCTETS_MAX_MIN..=BOOTS_MAX).contains(&header.msg_max_size);
    if !outer.is_empty() || !in_range {
        return Err(malformed);
    }
    // Before the flags: what they mean is the security model's.
    if header.msg_security_model != SecurityModel::USM {
        return Err(Refused::SecurityModel);
    }
    if Level::of_flags(header.msg_flags).is_none() {
        return Err(Refused::InvalidFlags);
    }
    let mut parameters = element(&mut rest, asn1_rs::Tag::OctetString).ok_or(malformed)?;
    usm_parameters(&mut parameters, datagram, header, rest).filter(|_| parameters.is_empty()).ok_or(malformed)
}

fn usm_parameters<'a>(
    parameters: &mut &'a [u8],
    datagram: &'a [u8],
    header: HeaderData,
    data: &'a [u8],
) -> Option<Incoming<'a>> {
    use asn1_rs::Tag;
    let mut inner = element(parameters, Tag::Sequence)?;
    let engine = element(&mut inner, Tag::OctetString)?;
    let boots = unsigned(&mut inner)?;
    let time = unsigned(&mut inner)?;
    let user = element(&mut inner, Tag::OctetString)?;
    let tag = element(&mut inner, Tag::OctetString)?;
    let salt = element(&mut inner, Tag::OctetString)?;
    // A part of the datagram, so the difference of their addresses is its place.
    let start = (tag.as_ptr() as usize).checked_sub(datagram.as_ptr() as usize)?;
    let tag = start..start + tag.len();
    if tag.end > datagram.len() {
        return None;
    }
    (inner.is_empty() && user.len() <= 32).then_some(Incoming {
        header,
        engine,
        boots,
        time,
        user,
        tag,
        salt,
        data,
    })
}

/// The content of the next element, which must have this tag and a definite length.
fn element<'a>(input: &mut &'a [u8], tag: asn1_rs::Tag) -> Option<&'a [u8]> {
    let (rest, any) = asn1_rs::Any::from_ber(input).ok()?;
    let is_right = any.header.class() == asn1_rs::Class::Universal
        && any.header.tag() == tag
        && any.header.is_constructed() == (tag == asn1_rs::Tag::Sequence)
        && any.header.length() != asn1_rs::Length::Indefinite;
    *input = rest;
    is_right.then_some(any.data)
}

/// An integer from 0 to 2^31-1.
fn unsigned(input: &mut &[u8]) -> Option<u32> {
    let (rest, value) = u32::from_ber(input).ok()?;
    *input = rest;
    (value <= BOOTS_MAX).then_some(value)
}

/// Judges messages of version 3.
pub(super) struct Judge<'a> {
    pub(super) access: &'a Access,
    pub(super) engine: &'a Engine,
    pub(super) statistics: &'a mut Statistics,
    /// snmpEngineBoots and snmpEngineTime now.
    pub(super) clock: (u32, u32),
}

impl Judge<'_> {
    /// The request in a datagram, in the order of RFC 3414, 3.2, then RFC 3412, 7.2 and RFC 3413, 3.2.
    pub(super) fn judge(&mut self, datagram: &[u8]) -> Result<Message, Verdict> {
        let incoming = match parse(datagram) {
            Ok(incoming) => incoming,
            Err(refused) => {
                self.statistics.refuse(refused);
                return Err(Verdict::Silence);
            }
        };
        let level = Level::of_flags(incoming.header.msg_flags).expect("parsing refuses others");
        let plain = if level == Level::AuthPriv { None } else { peek(incoming.data) };
        if incoming.engine != self.engine.id() {
            return Err(self.complain(&incoming, plain, UNKNOWN_ENGINE, None));
        }
        let Some(user) = self.access.user(incoming.user) else {
            return Err(self.complain(&incoming, plain, UNKNOWN_USER, None));
        };
        if level > user.best() {
            return Err(self.complain(&incoming, plain, UNSUPPORTED_LEVEL, None));
        }
        if level > Level::NoAuthNoPriv {
            let (protocol, key) = user.authentication.as_ref().expect("the level is one that its keys allow");
            if !usm::is_authentic(*protocol, key, datagram, incoming.tag.clone()) {
                return Err(self.complain(&incoming, plain, WRONG_DIGEST, None));
            }
            let (boots, time) = self.clock;
            let is_timely = incoming.boots == boots && incoming.time.abs_diff(time) <= WINDOW_SECONDS;
            if boots == BOOTS_MAX || !is_timely {
                return Err(self.complain(&incoming, plain, NOT_IN_TIME_WINDOW, Some(user)));
            }
        }
        let (message, context) = if level == Level::AuthPriv {
            match decrypt(&incoming, user) {
                Some(scoped) => scoped,
                None => return Err(self.complain(&incoming, plain, DECRYPTION_ERROR, Some(user))),
            }
        } else {
            match Message::decode_scoped(incoming.data, false) {
                Ok(scoped) => scoped,
                Err(refused) => {
                    self.statistics.refuse(refused);
                    return Err(Verdict::Silence);
                }
            }
        };
        let known = Some(Peeked { request_id: message.request_id, is_confirmed: message.is_confirmed() });
        let signed = (level > Level::NoAuthNoPriv).then_some(user);
        // RFC 3412, 7.2.13: nobody here answers for another engine, and nobody takes other PDUs than requests.
        if (context.engine != self.engine.id() && context.engine[..] != LOCAL_ENGINE)
            || message.is_unhandled()
        {
            return Err(self.complain(&incoming, known, UNKNOWN_HANDLER, signed));
        }
        if !context.name.is_empty() {
            return Err(self.complain(&incoming, known, UNKNOWN_CONTEXT, signed));
        }
        let secured = Secured {
            message_id: incoming.header.msg_id,
            octets_max: incoming.header.msg_max_size as usize,
            level,
            user: Arc::clone(user),
            engine_octets: self.engine.id().len(),
            context_engine: context.engine.to_vec(),
            context_name: Vec::new(),
        };
        Ok(Message { secured: Some(secured), ..message })
    }

    /// Counts, and says what to tell the sender, if anything: only where the message asks for it and, as far as it can
    /// be seen, is one that expects an answer (RFC 3412, 7.2.2 and 7.1.3).
    fn complain(
        &mut self,
        incoming: &Incoming<'_>,
        peeked: Option<Peeked>,
        of: Counted,
        user: Option<&Arc<User>>,
    ) -> Verdict {
        let counter = (of.field)(self.statistics);
        count(counter);
        let value = *counter;
        let is_confirmed = peeked.is_none_or(|peeked| peeked.is_confirmed);
        if incoming.header.msg_flags & REPORTABLE == 0 || !is_confirmed {
            return Verdict::Silence;
        }
        Verdict::Tell(Complaint {
            counter: of.name,
            value,
            message_id: incoming.header.msg_id,
            request_id: peeked.map_or(0, |peeked| peeked.request_id),
            user_name: incoming.user.to_vec(),
            user: user.map(Arc::clone),
        })
    }
}

/// A counter, and where it stands.
#[derive(Clone, Copy)]
struct Counted {
    name: &'static [u32],
    field: fn(&mut Statistics) -> &mut u32,
}

macro_rules! counted {
    ($($constant:ident = $field:ident at $name:expr;)*) => {
        $(const $constant: Counted = Counted { name: &$name, field: |statistics| &mut statistics.$field };)*
    };
}

counted! {
    UNSUPPORTED_LEVEL = unsupported_sec_levels at [1, 3, 6, 1, 6, 3, 15, 1, 1, 1, 0];
    NOT_IN_TIME_WINDOW = not_in_time_windows at [1, 3, 6, 1, 6, 3, 15, 1, 1, 2, 0];
    UNKNOWN_USER = unknown_user_names at [1, 3, 6, 1, 6, 3, 15, 1, 1, 3, 0];
    UNKNOWN_ENGINE = unknown_engine_ids at [1, 3, 6, 1, 6, 3, 15, 1, 1, 4, 0];
    WRONG_DIGEST = wrong_digests at [1, 3, 6, 1, 6, 3, 15, 1, 1, 5, 0];
    DECRYPTION_ERROR = decryption_errors at [1, 3, 6, 1, 6, 3, 15, 1, 1, 6, 0];
    UNKNOWN_HANDLER = unknown_pdu_handlers at [1, 3, 6, 1, 6, 3, 11, 2, 1, 3, 0];
    UNKNOWN_CONTEXT = unknown_contexts at [1, 3, 6, 1, 6, 3, 12, 1, 5, 0];
}

/// What a report has to know of a PDU that is not decoded.
#[derive(Clone, Copy, Debug)]
struct Peeked {
    request_id: i32,
    /// It is of the confirmed class (RFC 3411, 2.8): its sender waits for something.
    is_confirmed: bool,
}

fn peek(scoped: &[u8]) -> Option<Peeked> {
    use asn1_rs::Tag;
    let mut outer = scoped;
    let mut rest = element(&mut outer, Tag::Sequence)?;
    element(&mut rest, Tag::OctetString)?;
    element(&mut rest, Tag::OctetString)?;
    let (_, pdu) = asn1_rs::Any::from_ber(rest).ok()?;
    let (_, request_id) = i32::from_ber(pdu.data).ok()?;
    let is_confirmed = pdu.header.class() == asn1_rs::Class::ContextSpecific
        && matches!(pdu.header.tag().0, 0 | 1 | 3 | 5 | 6);
    Some(Peeked { request_id, is_confirmed })
}

/// The request in an encrypted scoped PDU. Octets after it are padding, which DES needs and some managers add for AES, too.
/// With another key it is noise; then the sender had better hear of it (RFC 3414, 3.2.8.b).
fn decrypt(incoming: &Incoming<'_>, user: &User) -> Option<(Message, message::ScopedPdu)> {
    let octets = incoming.decrypted(user)?;
    Message::decode_scoped(&octets, true).ok()
}

/// What goes around a scoped PDU.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) message_id: u32,
    pub(super) level: Level,
    /// Whether a report may come back.
    pub(super) is_reportable: bool,
    /// The authoritative engine, and its boots and time.
    pub(super) engine: &'a [u8],
    pub(super) clock: (u32, u32),
    pub(super) user_name: &'a [u8],
    /// Whose keys sign and encrypt, where the level asks for them.
    pub(super) user: Option<&'a User>,
    /// Never used before.
    pub(super) salt: [u8; 8],
}

impl Outgoing<'_> {
    /// Encodes a message into `out`, in place of what it held. False where it has no encoding.
    pub(super) fn encode(&self, context_engine: &[u8], pdu: Pdus, out: &mut Vec<u8>) -> bool {
        self.try_encode(context_engine, pdu, out).is_some()
    }

    fn try_encode(&self, context_engine: &[u8], pdu: Pdus, out: &mut Vec<u8>) -> Option<()> {
        let authentication = self
            .user
            .filter(|_| self.level > Level::NoAuthNoPriv)
            .and_then(|user| user.authentication.as_ref());
        let privacy =
            self.user.filter(|_| self.level == Level::AuthPriv).and_then(|user| user.privacy.as_ref());
        let scoped =
            v3::ScopedPdu { engine_id: context_engine.to_vec().into(), name: Vec::new().into(), data: pdu };
        let scoped_data = match privacy {
            None => v3::ScopedPduData::CleartextPdu(scoped),
            Some((protocol, key)) => {
                let mut octets = ber::encode(&scoped).ok()?;
                let vector = Vector { boots: self.clock.0, time: self.clock.1, salt: self.salt };
                usm::encrypt(*protocol, key, vector, &mut octets);
                v3::ScopedPduData::EncryptedPdu(octets.into())
            }
        };
        let tag_octets = authentication.map_or(0, |(protocol, _)| protocol.tag_octets());
        let parameters = v3::USMSecurityParameters {
            authoritative_engine_id: self.engine.to_vec().into(),
            authoritative_engine_boots: self.clock.0.into(),
            authoritative_engine_time: self.clock.1.into(),
            user_name: self.user_name.to_vec().into(),
            authentication_parameters: vec![0; tag_octets].into(),
            privacy_parameters: privacy.map_or_else(Vec::new, |_| self.salt.to_vec()).into(),
        };
        let flags = self.level.flags() | if self.is_reportable { REPORTABLE } else { 0 };
        let message = v3::Message {
            version: 3.into(),
            global_data: v3::HeaderData {
                message_id: self.message_id.into(),
                max_size: RECEIVE_OCTETS_MAX.into(),
                flags: vec![flags].into(),
                security_model: 3.into(),
            },
            security_parameters: ber::encode(&parameters).ok()?.into(),
            scoped_data,
        };
        ber::encode_buf(&message, out).ok()?;
        if let Some((protocol, key)) = authentication {
            let place = parse(out).ok()?.tag;
            let tag = usm::tag(*protocol, key, [out, &[], &[]]);
            out[place].copy_from_slice(&tag);
        }
        Some(())
    }
}

/// Encodes what a sender is told (RFC 3412, 7.1): one counter, and its value.
pub(super) fn encode_report(
    complaint: &Complaint,
    engine: &Engine,
    clock: (u32, u32),
    out: &mut Vec<u8>,
) -> bool {
    let binding = VarBind {
        name: ObjectName::new_unchecked(complaint.counter.to_vec().into()),
        value: VarBindValue::Value(ObjectSyntax::from(ApplicationSyntax::Counter(rasn_smi::v1::Counter(
            complaint.value,
        )))),
    };
    let pdu = Pdu {
        request_id: complaint.request_id,
        error_status: 0,
        error_index: 0,
        variable_bindings: vec![binding],
    };
    let user = complaint.user.as_deref();
    let outgoing = Outgoing {
        message_id: complaint.message_id,
        level: if user.is_some() { Level::AuthNoPriv } else { Level::NoAuthNoPriv },
        is_reportable: false,
        engine: engine.id(),
        clock,
        user_name: &complaint.user_name,
        user,
        salt: [0; 8],
    };
    outgoing.encode(engine.id(), Pdus::Report(Report(pdu)), out)
}

#[cfg(test)]
mod tests;
