//! SNMPv1 and v2c messages on the wire (RFC 1157, 1901, 3416), and the PDUs of all versions, with rasn-snmp's types.
//! What version 3 puts around its PDUs is in `v3`.
//!
//! Decoding is stricter than the types: the version is looked at first, nothing may follow the message, lengths are
//! definite and strings in one piece (RFC 3417, 8), object
//! identifiers have at most 128 sub-identifiers (RFC 2578, 7.1.3), integers fit in 32 bits. GetBulk has a type of
//! its own here, because a negative `non-repeaters` or `max-repetitions` is a zero (RFC 3416, 4.2.3), no error.
//!
//! The size of a response is known before anything is encoded, so that GetBulk stops in the right place.

use rasn::ber;
use rasn::prelude::*;
use rasn_smi::v1::{Counter, Gauge, TimeTicks};
use rasn_smi::v2::{ApplicationSyntax, Counter64, ObjectSyntax, SimpleSyntax};
use rasn_snmp::v2::{
    GetNextRequest, GetRequest, InformRequest, Pdu, Report, Response, SetRequest, Trap, VarBind, VarBindList,
    VarBindValue,
};
use rasn_snmp::{v1, v2c};
use snmp_parser::asn1_rs::{self, FromBer as _};

use super::tree::Value;
use super::v3::Secured;

/// The versions. PDUs of version 3 are those of version 2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Version {
    V1,
    V2c,
    V3,
}

/// Why a datagram is not a request, each with a counter of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// Not BER, not this type, or bounds broken: `snmpInASNParseErrs`.
    Malformed,
    /// Neither 0, 1 nor 3: `snmpInBadVersions`.
    Version,
    /// SNMPv3 with another security model than USM: `snmpUnknownSecurityModels`.
    SecurityModel,
    /// SNMPv3 that asks for privacy without authentication: `snmpInvalidMsgs`.
    InvalidFlags,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Operation {
    Get,
    GetNext,
    GetBulk {
        non_repeaters: i32,
        max_repetitions: i32,
    },
    Set,
    /// Nobody here takes these, but their sender waits for an answer.
    Inform,
    /// A response, trap or report: nobody here takes them.
    Unhandled,
}

/// A message with its operation.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) version: Version,
    /// Empty in version 3.
    pub(super) community: OctetString,
    /// How a message of version 3 is answered.
    pub(super) secured: Option<Secured>,
    pub(super) request_id: i32,
    pub(super) operation: Operation,
    pub(super) bindings: VarBindList,
}

impl Message {
    /// Decodes a datagram of version 1 or 2c.
    pub(super) fn decode(datagram: &[u8], version: Version) -> Result<Self, Refused> {
        if strict(datagram, DEPTH_MAX).is_none() {
            return Err(Refused::Malformed);
        }
        let message = match ber::decode_with_remainder::<v2c::Message<Pdus>>(datagram) {
            Ok((message, [])) => message,
            Ok(_) => return Err(Refused::Malformed),
            Err(_) if version == Version::V1 => return Self::decode_trap(datagram),
            Err(_) => return Err(Refused::Malformed),
        };
        let (request_id, operation, bindings) = message.data.split();
        // Version 1 knows no GetBulk.
        if version == Version::V1 && matches!(operation, Operation::GetBulk { .. }) {
            return Err(Refused::Malformed);
        }
        if !bindings.iter().all(within_bounds) {
            return Err(Refused::Malformed);
        }
        Ok(Self { version, community: message.community, secured: None, request_id, operation, bindings })
    }

    /// The request in a scoped PDU, and its context. Octets may follow where there is padding.
    pub(super) fn decode_scoped(octets: &[u8], padded: bool) -> Result<(Self, ScopedPdu), Refused> {
        if strict(octets, DEPTH_MAX).is_none() {
            return Err(Refused::Malformed);
        }
        let (scoped, rest) =
            ber::decode_with_remainder::<ScopedRequest>(octets).map_err(|_| Refused::Malformed)?;
        let (request_id, operation, bindings) = scoped.data.split();
        if !(rest.is_empty() || padded) || !bindings.iter().all(within_bounds) {
            return Err(Refused::Malformed);
        }
        let version = Version::V3;
        let message = Self {
            version,
            community: OctetString::default(),
            secured: None,
            request_id,
            operation,
            bindings,
        };
        Ok((message, ScopedPdu { engine: scoped.engine_id, name: scoped.name }))
    }

    /// A Trap-PDU of version 1, whose shape is like no other.
    fn decode_trap(datagram: &[u8]) -> Result<Self, Refused> {
        match ber::decode_with_remainder::<v1::Message<v1::Trap>>(datagram) {
            Ok((trap, [])) => Ok(Self {
                version: Version::V1,
                community: trap.community,
                secured: None,
                request_id: 0,
                operation: Operation::Unhandled,
                bindings: Vec::new(),
            }),
            _ => Err(Refused::Malformed),
        }
    }

    /// Encodes the response to this message of version 1 or 2c into `out`, in place of what it held. False where it
    /// has no encoding.
    pub(super) fn encode_response(&self, response: ResponsePdu, out: &mut Vec<u8>) -> bool {
        let message = v2c::Message {
            version: i32::from(self.version != Version::V1).into(),
            community: self.community.clone(),
            data: self.response_pdu(response),
        };
        ber::encode_buf(&message, out).is_ok()
    }

    /// The PDU that answers this one.
    pub(super) fn response_pdu(&self, response: ResponsePdu) -> Response {
        Response(Pdu {
            request_id: self.request_id,
            error_status: response.error_status,
            error_index: response.error_index,
            variable_bindings: response.bindings,
        })
    }

    /// Whether nobody here takes it.
    pub(super) fn is_unhandled(&self) -> bool {
        matches!(self.operation, Operation::Inform | Operation::Unhandled)
    }

    /// Whether its sender expects an answer (RFC 3411, 2.8).
    pub(super) fn is_confirmed(&self) -> bool {
        !matches!(self.operation, Operation::Unhandled)
    }

    /// Octets of a response, at most.
    pub(super) fn octets_max(&self) -> usize {
        self.secured
            .as_ref()
            .map_or(RESPONSE_OCTETS_MAX, |secured| secured.octets_max.min(RESPONSE_OCTETS_MAX))
    }

    /// Octets of a response whose bindings take `bindings` octets. In version 3, that is the most that it may take.
    pub(super) fn response_length(&self, error_status: u32, error_index: u32, bindings: usize) -> usize {
        let integers = integer_length(self.request_id.into())
            + integer_length(error_status.into())
            + integer_length(error_index.into());
        let pdu = element_length(integers + element_length(bindings));
        if let Some(secured) = &self.secured {
            return secured.message_length(pdu);
        }
        element_length(integer_length(1) + element_length(self.community.len()) + pdu)
    }
}

/// The largest response: what fits an Ethernet frame over IPv4 without fragments. Never more, whatever is asked, so
/// that a small request cannot draw a large answer.
pub(super) const RESPONSE_OCTETS_MAX: usize = 1472;

/// The context of a request.
#[derive(Debug)]
pub(super) struct ScopedPdu {
    pub(super) engine: OctetString,
    pub(super) name: OctetString,
}

/// As rasn-snmp's, with our PDUs.
#[derive(AsnType, Clone, Debug, Decode, Encode)]
struct ScopedRequest {
    engine_id: OctetString,
    name: OctetString,
    data: Pdus,
}

/// What a response says.
#[derive(Debug)]
pub(super) struct ResponsePdu {
    pub(super) error_status: u32,
    pub(super) error_index: u32,
    pub(super) bindings: VarBindList,
}

/// All PDUs, as RFC 3416 numbers them.
#[derive(AsnType, Clone, Debug, Decode, Encode)]
#[rasn(choice)]
enum Pdus {
    GetRequest(GetRequest),
    GetNextRequest(GetNextRequest),
    Response(Response),
    SetRequest(SetRequest),
    GetBulkRequest(GetBulkRequest),
    InformRequest(InformRequest),
    Trap(Trap),
    Report(Report),
}

/// As rasn-snmp's, with numbers that may be negative.
#[derive(AsnType, Clone, Debug, Decode, Encode)]
#[rasn(tag(5), delegate)]
struct GetBulkRequest(BulkPdu);

#[derive(AsnType, Clone, Debug, Decode, Encode)]
struct BulkPdu {
    request_id: i32,
    non_repeaters: i32,
    max_repetitions: i32,
    variable_bindings: VarBindList,
}

impl Pdus {
    fn split(self) -> (i32, Operation, VarBindList) {
        let (operation, pdu) = match self {
            Self::GetRequest(request) => (Operation::Get, request.0),
            Self::GetNextRequest(request) => (Operation::GetNext, request.0),
            Self::SetRequest(request) => (Operation::Set, request.0),
            Self::GetBulkRequest(GetBulkRequest(bulk)) => {
                let operation = Operation::GetBulk {
                    non_repeaters: bulk.non_repeaters,
                    max_repetitions: bulk.max_repetitions,
                };
                return (bulk.request_id, operation, bulk.variable_bindings);
            }
            Self::InformRequest(InformRequest(pdu)) => (Operation::Inform, pdu),
            Self::Response(Response(pdu)) | Self::Trap(Trap(pdu)) | Self::Report(Report(pdu)) => {
                (Operation::Unhandled, pdu)
            }
        };
        (pdu.request_id, operation, pdu.variable_bindings)
    }
}

/// The version of a message whose outer SEQUENCE fills the datagram exactly.
pub(super) fn version(datagram: &[u8]) -> Result<Version, Refused> {
    let (rest, message) = asn1_rs::Sequence::from_ber(datagram).map_err(|_| Refused::Malformed)?;
    let (_, version) = asn1_rs::Integer::from_ber(&message.content).map_err(|_| Refused::Malformed)?;
    if !rest.is_empty() {
        return Err(Refused::Malformed);
    }
    // An integer that is too large or negative is a version all the same, and not one of ours.
    match version.as_u32() {
        Ok(0) => Ok(Version::V1),
        Ok(1) => Ok(Version::V2c),
        Ok(3) => Ok(Version::V3),
        _ => Err(Refused::Version),
    }
}

/// How deep elements are in each other, at most: message, PDU, bindings, a binding.
const DEPTH_MAX: u32 = 4;

/// What follows the first element, where that is in the form that SNMP allows of BER (RFC 3417, 8): lengths are
/// definite, and only sequences and PDUs are constructed.
fn strict(octets: &[u8], depth: u32) -> Option<&[u8]> {
    let (&[tag, first], rest) = octets.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (first.into(), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked((first & 0x7f).into())?;
            (length.iter().fold(0, |length, &octet| length << 8 | usize::from(octet)), rest)
        }
        _ => return None,
    };
    let (mut content, rest) = rest.split_at_checked(length)?;
    // 0x30 is a sequence; 0xa0 and on are the PDUs, by their numbers.
    let may_be_constructed = tag == 0x30 || tag & 0xe0 == 0xa0;
    if tag & 0x1f == 0x1f || tag & 0x20 != 0 && !may_be_constructed {
        return None;
    }
    if may_be_constructed {
        let depth = depth.checked_sub(1)?;
        while !content.is_empty() {
            content = strict(content, depth)?;
        }
    }
    Some(rest)
}

/// RFC 2578: at most 128 sub-identifiers, and integers of 32 bits.
fn within_bounds(binding: &VarBind) -> bool {
    let short = |oid: &ObjectIdentifier| oid.len() <= OID_LENGTH_MAX;
    short(&binding.name)
        && match &binding.value {
            VarBindValue::Value(ObjectSyntax::Simple(SimpleSyntax::Integer(value))) => {
                i32::try_from(value).is_ok()
            }
            VarBindValue::Value(ObjectSyntax::Simple(SimpleSyntax::ObjectId(oid))) => short(oid),
            _ => true,
        }
}

const OID_LENGTH_MAX: usize = 128;

/// A value as it is bound to a name.
pub(super) fn value(value: Value) -> VarBindValue {
    VarBindValue::Value(match value {
        Value::Counter32(value) => ApplicationSyntax::Counter(Counter(value)).into(),
        Value::Counter64(value) => ApplicationSyntax::BigCounter(Counter64(value)).into(),
        Value::Gauge32(value) => ApplicationSyntax::Unsigned(Gauge(value)).into(),
        Value::Integer(value) => SimpleSyntax::Integer(value.into()).into(),
        Value::ObjectId(oid) => SimpleSyntax::ObjectId(ObjectIdentifier::new_unchecked(oid)).into(),
        Value::Octets(octets) => SimpleSyntax::String(octets.into()).into(),
        Value::TimeTicks(ticks) => ApplicationSyntax::Ticks(TimeTicks(ticks)).into(),
    })
}

/// Octets of an encoded binding.
pub(super) fn binding_length(binding: &VarBind) -> usize {
    let value = match &binding.value {
        VarBindValue::Value(ObjectSyntax::Simple(simple)) => match simple {
            SimpleSyntax::Integer(value) => integer_length(i64::try_from(value).unwrap_or(i64::MAX)),
            SimpleSyntax::ObjectId(oid) => oid_length(oid),
            SimpleSyntax::String(octets) => element_length(octets.len()),
        },
        VarBindValue::Value(ObjectSyntax::ApplicationWide(application)) => match application {
            ApplicationSyntax::Address(_) => element_length(4),
            ApplicationSyntax::Arbitrary(octets) => element_length(octets.as_ref().len()),
            ApplicationSyntax::BigCounter(Counter64(value)) => element_length(unsigned_octets(*value)),
            ApplicationSyntax::Counter(Counter(value)) => element_length(unsigned_octets((*value).into())),
            ApplicationSyntax::Ticks(TimeTicks(value)) => element_length(unsigned_octets((*value).into())),
            ApplicationSyntax::Unsigned(Gauge(value)) => element_length(unsigned_octets((*value).into())),
        },
        _ => 2,
    };
    element_length(oid_length(&binding.name) + value)
}

/// Octets of an element with `content` octets of content: tag, length, content (X.690, 8.1.3).
pub(super) fn element_length(content: usize) -> usize {
    let length = match content {
        0..=0x7f => 1,
        0x80..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 4,
    };
    1 + length + content
}

fn oid_length(oid: &[u32]) -> usize {
    let octets = |arc: u64| (64 - (arc | 1).leading_zeros()).div_ceil(7) as usize;
    // The first two arcs share a sub-identifier (X.690, 8.19.4).
    let (head, tail) = oid.split_at(oid.len().min(2));
    let first =
        head.first().map_or(0, |&first| u64::from(first) * 40) + head.get(1).map_or(0, |&arc| u64::from(arc));
    element_length(octets(first) + tail.iter().map(|&arc| octets(arc.into())).sum::<usize>())
}

pub(super) fn integer_length(value: i64) -> usize {
    let significant = 65 - if value < 0 { value.leading_ones() } else { value.leading_zeros() };
    element_length(significant.div_ceil(8) as usize)
}

/// Content octets of an unsigned number: a leading zero keeps it from being negative.
fn unsigned_octets(value: u64) -> usize {
    (65 - value.leading_zeros()).div_ceil(8) as usize
}

#[cfg(test)]
pub(super) mod tests;
