//! AgentX on the wire (RFC 2741, 5 and 6): PDUs of a header and a payload of words, in either byte order.
//!
//! Reading takes nothing on trust: lengths are bounded before anything is kept, object identifiers have at most 128
//! sub-identifiers, and whatever does not fit is malformed. What is written is in network byte order.

use super::super::tree::Value;

/// Octets of a header.
pub(super) const HEADER_OCTETS: usize = 20;

/// Octets of a payload, read or written, at most: what an SNMP message over UDP may have.
pub(super) const PAYLOAD_OCTETS_MAX: usize = 65_536;

const VERSION: u8 = 1;
const OID_LENGTH_MAX: usize = 128;
const NON_DEFAULT_CONTEXT: u8 = 0x08;
const NETWORK_BYTE_ORDER: u8 = 0x10;

/// Types of PDUs (RFC 2741, 6.1).
pub(super) const OPEN: u8 = 1;
pub(super) const CLOSE: u8 = 2;
pub(super) const REGISTER: u8 = 3;
pub(super) const GET: u8 = 5;
pub(super) const GET_NEXT: u8 = 6;
pub(super) const GET_BULK: u8 = 7;
pub(super) const TEST_SET: u8 = 8;
pub(super) const COMMIT_SET: u8 = 9;
pub(super) const UNDO_SET: u8 = 10;
pub(super) const CLEANUP_SET: u8 = 11;
pub(super) const NOTIFY: u8 = 12;
pub(super) const PING: u8 = 13;
pub(super) const ADD_AGENT_CAPS: u8 = 16;
pub(super) const RESPONSE: u8 = 18;

/// What a PDU belongs to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Context {
    pub(super) session: u32,
    pub(super) transaction: u32,
    pub(super) packet: u32,
}

/// Where to look for an instance (RFC 2741, 5.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Range {
    pub(super) start: Vec<u32>,
    /// Whether `start` itself is meant, too.
    pub(super) include: bool,
    /// The first that is not meant; empty: there is no end.
    pub(super) end: Vec<u32>,
}

/// What a master asks or says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Body {
    Get(Vec<Range>),
    GetNext(Vec<Range>),
    GetBulk {
        non_repeaters: u16,
        max_repetitions: u16,
        ranges: Vec<Range>,
    },
    TestSet,
    CommitSet,
    UndoSet,
    CleanupSet,
    Close {
        reason: u8,
    },
    Response {
        error: u16,
    },
    Ping,
    /// Something of a context that nobody here has.
    OtherContext,
    /// Something that a master does not ask.
    Other,
}

/// A PDU, as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Pdu {
    pub(super) context: Context,
    pub(super) body: Body,
}

/// What no PDU is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

/// The first PDU in `octets` and its length; `None` where it is not all there yet.
///
/// # Errors
/// Where no PDU begins like this: the connection is of no use any more.
pub(super) fn decode(octets: &[u8]) -> Result<Option<(Pdu, usize)>, Malformed> {
    if octets.first().is_some_and(|&version| version != VERSION) {
        return Err(Malformed);
    }
    let Some(header) = octets.get(..HEADER_OCTETS) else { return Ok(None) };
    let (kind, flags) = (header[1], header[2]);
    let mut rest = Reader { octets: &header[4..], is_big: flags & NETWORK_BYTE_ORDER != 0 };
    let context = Context { session: rest.u32()?, transaction: rest.u32()?, packet: rest.u32()? };
    let length = usize::try_from(rest.u32()?).map_err(|_| Malformed)?;
    if length > PAYLOAD_OCTETS_MAX || length % 4 != 0 {
        return Err(Malformed);
    }
    let Some(payload) = octets.get(HEADER_OCTETS..HEADER_OCTETS + length) else { return Ok(None) };
    let payload = Reader { octets: payload, is_big: rest.is_big };
    let body = body(kind, flags & NON_DEFAULT_CONTEXT != 0, payload)?;
    Ok(Some((Pdu { context, body }, HEADER_OCTETS + length)))
}

fn body(kind: u8, has_context: bool, mut payload: Reader<'_>) -> Result<Body, Malformed> {
    // A response has no context, whatever its flags say.
    if has_context && matches!(kind, GET | GET_NEXT | GET_BULK | TEST_SET | PING) {
        payload.string()?;
        return Ok(Body::OtherContext);
    }
    Ok(match kind {
        GET => Body::Get(payload.ranges()?),
        GET_NEXT => Body::GetNext(payload.ranges()?),
        GET_BULK => {
            let (non_repeaters, max_repetitions) = (payload.u16()?, payload.u16()?);
            Body::GetBulk { non_repeaters, max_repetitions, ranges: payload.ranges()? }
        }
        TEST_SET => Body::TestSet,
        COMMIT_SET => Body::CommitSet,
        UNDO_SET => Body::UndoSet,
        CLEANUP_SET => Body::CleanupSet,
        CLOSE => Body::Close { reason: payload.take(4)?[0] },
        PING => Body::Ping,
        RESPONSE => {
            payload.u32()?;
            Body::Response { error: payload.u16()? }
        }
        _ => Body::Other,
    })
}

/// Reads words.
struct Reader<'a> {
    octets: &'a [u8],
    is_big: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.octets.split_at_checked(length).ok_or(Malformed)?;
        self.octets = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        let octets = self.take(2)?.try_into().map_err(|_| Malformed)?;
        Ok(if self.is_big { u16::from_be_bytes(octets) } else { u16::from_le_bytes(octets) })
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let octets = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(if self.is_big { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
    }

    /// An octet string (5.3), padded to whole words.
    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        if length > PAYLOAD_OCTETS_MAX {
            return Err(Malformed);
        }
        let padded = self.take(length.next_multiple_of(4))?;
        Ok(&padded[..length])
    }

    /// An object identifier (5.1), and whether it is to be included.
    fn oid(&mut self) -> Result<(Vec<u32>, bool), Malformed> {
        let head = self.take(4)?;
        let (length, prefix, include) = (usize::from(head[0]), head[1], head[2]);
        let mut oid = Vec::with_capacity(length + 5);
        if prefix != 0 {
            oid.extend([1, 3, 6, 1, u32::from(prefix)]);
        }
        if oid.len() + length > OID_LENGTH_MAX {
            return Err(Malformed);
        }
        for _ in 0..length {
            oid.push(self.u32()?);
        }
        Ok((oid, include != 0))
    }

    /// Ranges to the end of the payload.
    fn ranges(&mut self) -> Result<Vec<Range>, Malformed> {
        let mut ranges = Vec::new();
        while !self.octets.is_empty() {
            let (start, include) = self.oid()?;
            let (end, _) = self.oid()?;
            ranges.push(Range { start, include, end });
        }
        Ok(ranges)
    }
}

/// What is bound to a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Bound {
    Value(Value),
    NoSuchObject,
    NoSuchInstance,
    EndOfMibView,
}

/// A PDU that is being written.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(kind: u8, context: Context) -> Self {
        let mut writer = Self(vec![VERSION, kind, NETWORK_BYTE_ORDER, 0]);
        for word in [context.session, context.transaction, context.packet, 0] {
            writer.u32(word);
        }
        writer
    }

    /// A response, to be followed by its bindings.
    pub(super) fn response(context: Context, error: u16, index: u16) -> Self {
        let mut writer = Self::new(RESPONSE, context);
        // The time is the master's to tell.
        writer.u32(0);
        writer.u16(error);
        writer.u16(index);
        writer
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.0.extend(number.to_be_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.0.extend(number.to_be_bytes());
    }

    pub(super) fn octets(&mut self, octets: [u8; 4]) {
        self.0.extend(octets);
    }

    pub(super) fn string(&mut self, string: &[u8]) {
        self.u32(u32::try_from(string.len()).expect("strings are short"));
        self.0.extend_from_slice(string);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(super) fn oid(&mut self, oid: &[u32]) {
        let length = oid.len().min(OID_LENGTH_MAX);
        self.0.extend([u8::try_from(length).expect("at most 128"), 0, 0, 0]);
        for &arc in &oid[..length] {
            self.u32(arc);
        }
    }

    /// A binding (5.4).
    pub(super) fn bind(&mut self, name: &[u32], bound: &Bound) {
        let kind = match bound {
            Bound::Value(Value::Integer(_)) => 2,
            Bound::Value(Value::Octets(_)) => 4,
            Bound::Value(Value::ObjectId(_)) => 6,
            Bound::Value(Value::Counter32(_)) => 65,
            Bound::Value(Value::Gauge32(_)) => 66,
            Bound::Value(Value::TimeTicks(_)) => 67,
            Bound::Value(Value::Counter64(_)) => 70,
            Bound::NoSuchObject => 128,
            Bound::NoSuchInstance => 129,
            Bound::EndOfMibView => 130,
        };
        self.u16(kind);
        self.u16(0);
        self.oid(name);
        match bound {
            Bound::Value(Value::Integer(number)) => self.u32(number.cast_unsigned()),
            Bound::Value(Value::Octets(octets)) => self.string(octets),
            Bound::Value(Value::ObjectId(oid)) => self.oid(oid),
            Bound::Value(Value::Counter32(number) | Value::Gauge32(number) | Value::TimeTicks(number)) => {
                self.u32(*number);
            }
            Bound::Value(Value::Counter64(number)) => self.0.extend(number.to_be_bytes()),
            Bound::NoSuchObject | Bound::NoSuchInstance | Bound::EndOfMibView => {}
        }
    }

    /// Octets of the payload as yet.
    pub(super) fn payload(&self) -> usize {
        self.0.len() - HEADER_OCTETS
    }

    /// Takes the payload back to a length that it had.
    pub(super) fn truncate(&mut self, payload: usize) {
        self.0.truncate(HEADER_OCTETS + payload);
    }

    /// The PDU.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.payload()).expect("payloads are bounded");
        self.0[16..20].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}
