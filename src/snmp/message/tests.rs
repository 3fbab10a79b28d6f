//! Messages on the wire: by hand, against snmp-parser, and broken in every way.

use proptest::prelude::*;
use rasn_snmp::v2::{Pdu, VarBind};

use super::super::v3;
use super::*;

/// GetRequest of sysUpTime.0 and nothing else, request-id -129 (two octets), version 2c, community "public".
pub(crate) const GET: &[u8] = &[
    0x30, 0x27, // message
    0x02, 0x01, 0x01, // version: 2c
    0x04, 0x06, b'p', b'u', b'b', b'l', b'i', b'c', //
    0xa0, 0x1a, // GetRequest
    0x02, 0x02, 0xff, 0x7f, // request-id
    0x02, 0x01, 0x00, 0x02, 0x01, 0x00, // error-status, error-index
    0x30, 0x0e, 0x30, 0x0c, //
    0x06, 0x08, 0x2b, 0x06, 0x01, 0x02, 0x01, 0x01, 0x03, 0x00, // 1.3.6.1.2.1.1.3.0
    0x05, 0x00, // NULL
];

/// GetBulk with non-repeaters -1 and max-repetitions -2^31.
const BULK: &[u8] = &[
    0x30, 0x28, 0x02, 0x01, 0x01, 0x04, 0x06, b'p', b'u', b'b', b'l', b'i', b'c', 0xa5, 0x1b, //
    0x02, 0x01, 0x07, 0x02, 0x01, 0xff, 0x02, 0x04, 0x80, 0x00, 0x00, 0x00, //
    0x30, 0x0d, 0x30, 0x0b, 0x06, 0x07, 0x2b, 0x06, 0x01, 0x02, 0x01, 0x01, 0x03, 0x05, 0x00,
];

fn decode(datagram: &[u8]) -> Result<Message, Refused> {
    Message::decode(datagram, version(datagram)?)
}

fn refused(datagram: &[u8]) -> Refused {
    decode(datagram).map(|message| format!("{message:?}")).unwrap_err()
}

#[test]
fn a_request_by_hand() {
    let message = decode(GET).unwrap();
    assert_eq!(message.version, Version::V2c);
    assert_eq!(&message.community[..], b"public");
    assert_eq!(message.request_id, -129);
    assert!(matches!(message.operation, Operation::Get));
    assert_eq!(&message.bindings[0].name[..], [1, 3, 6, 1, 2, 1, 1, 3, 0]);

    let bulk = decode(BULK).unwrap();
    assert!(
        matches!(bulk.operation, Operation::GetBulk { non_repeaters: -1, max_repetitions: i32::MIN }),
        "{:?}",
        bulk.operation
    );
}

#[test]
fn versions_are_told_apart_before_anything_else() {
    let of_version = |version: u8| {
        let mut datagram = GET.to_vec();
        datagram[4] = version;
        datagram
    };
    assert_eq!(decode(&of_version(0)).unwrap().version, Version::V1);
    for other in [2, 4, 0x7f, 0x80, 0xff] {
        assert_eq!(refused(&of_version(other)), Refused::Version);
    }
    // Says 3, but is shaped like 2c.
    assert_eq!(v3::parse(&of_version(3)).unwrap_err(), Refused::Malformed);
    // Version 1 has no GetBulk.
    let mut bulk = BULK.to_vec();
    bulk[4] = 0;
    assert_eq!(refused(&bulk), Refused::Malformed);
}

#[test]
fn version_3_is_recognised() {
    // RFC 3412, 6: version, header (msgID 1, max size 65507, flags, USM), empty security parameters, scoped PDU.
    let v3 = |flags: u8| {
        let mut datagram = vec![
            0x30, 0x37, 0x02, 0x01, 0x03, //
            0x30, 0x0f, 0x02, 0x02, 0x00, 0xa1, 0x02, 0x03, 0x00, 0xff, 0xe3, 0x04, 0x01, flags, 0x02, 0x01,
            0x03, //
            0x04, 0x10, 0x30, 0x0e, 0x04, 0x00, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00,
            0x04, 0x00,
        ];
        // Plain: context engine, context name, an empty GetRequest. Private: octets.
        if flags & 2 == 0 {
            datagram.extend([0x30, 0x11, 0x04, 0x00, 0x04, 0x00, 0xa0, 0x0b]);
            datagram.extend([0x02, 0x01, 0x05, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x30, 0x00]);
        } else {
            datagram.extend([0x04, 0x11]);
            datagram.extend([0; 17]);
        }
        datagram[1] = u8::try_from(datagram.len() - 2).unwrap();
        datagram
    };
    let parsed = |datagram: &[u8]| v3::parse(datagram).map(|_| ());
    assert_eq!((parsed(&v3(4)), version(&v3(4))), (Ok(()), Ok(Version::V3)));
    assert_eq!(parsed(&v3(3)), Ok(()));
    assert_eq!(parsed(&v3(2)), Err(Refused::InvalidFlags));
    // Another security model than USM.
    let mut other = v3(2);
    other[21] = 4;
    assert_eq!(parsed(&other), Err(Refused::SecurityModel));
    let whole = v3(4);
    for end in 0..whole.len() {
        assert_eq!(parsed(&whole[..end]), Err(Refused::Malformed));
    }
}

#[test]
fn traps_and_responses_are_nobodys() {
    let mut response = GET.to_vec();
    response[13] = 0xa2;
    assert!(matches!(decode(&response).unwrap().operation, Operation::Unhandled));
    // RFC 1157, 4.1.6: enterprise, agent-addr, generic, specific, time-stamp, bindings.
    let trap = [
        0x30, 0x24, 0x02, 0x01, 0x00, 0x04, 0x01, b'x', 0xa4, 0x1c, 0x06, 0x06, 0x2b, 0x06, 0x01, 0x04, 0x01,
        0x09, //
        0x40, 0x04, 192, 0, 2, 1, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x43, 0x02, 0x2e, 0x9c, 0x30, 0x00,
    ];
    let mut trap = trap.to_vec();
    let length = trap.len();
    trap[1] = u8::try_from(length - 2).unwrap();
    trap[9] = u8::try_from(length - 10).unwrap();
    assert!(matches!(decode(&trap).unwrap().operation, Operation::Unhandled));
}

#[test]
fn what_is_cut_or_followed_by_more_is_malformed() {
    for whole in [GET, BULK] {
        for end in 0..whole.len() {
            assert_eq!(refused(&whole[..end]), Refused::Malformed, "{end} octets");
        }
        assert_eq!(refused(&[whole, &[0]].concat()), Refused::Malformed);
    }
}

#[test]
fn bounds_of_rfc_2578_hold() {
    let with_oid = |arcs: usize, value: &[u8]| {
        // Sub-identifiers of one octet each; the first octet holds two.
        let mut oid = vec![0x2b];
        oid.resize(arcs - 1, 1);
        let element = |tag: u8, content: Vec<u8>| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [vec![tag, 0x82, length[0], length[1]], content].concat()
        };
        let binding = element(0x30, [element(0x06, oid), value.to_vec()].concat());
        let pdu = [vec![2, 1, 1, 2, 1, 0, 2, 1, 0], element(0x30, binding)].concat();
        element(0x30, [vec![2, 1, 1, 4, 1, b'x'], element(0xa3, pdu)].concat())
    };
    let null: &[u8] = &[5, 0];
    assert!(decode(&with_oid(128, null)).is_ok());
    assert_eq!(refused(&with_oid(129, null)), Refused::Malformed);
    // INTEGER values: 2^31-1 and 2^31.
    assert!(decode(&with_oid(9, &[2, 4, 0x7f, 0xff, 0xff, 0xff])).is_ok());
    assert_eq!(refused(&with_oid(9, &[2, 5, 0, 0x80, 0, 0, 0])), Refused::Malformed);
    // A sub-identifier of 2^32 in the value.
    assert_eq!(refused(&with_oid(9, &[6, 6, 0x2b, 0x90, 0x80, 0x80, 0x80, 0])), Refused::Malformed);
}

#[test]
fn every_single_octet_may_be_wrong() {
    let mut compared = 0;
    // The same with positive numbers, which snmp-parser takes too.
    let (mut get, mut bulk) = (GET.to_vec(), BULK.to_vec());
    get[17] = 0x01;
    bulk[20] = 0x01;
    bulk[23] = 0x01;
    for whole in [GET, BULK, &get, &bulk] {
        for at in 0..whole.len() {
            for octet in 0..=u8::MAX {
                let mut broken = whole.to_vec();
                broken[at] = octet;
                compared += u32::from(compare(&broken));
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}

/// Where both decoders take a message they must agree. snmp-parser refuses negative numbers and communities that are
/// not UTF-8, and takes truncated object identifiers and trailing fields, so it has no say on what is refused; it
/// keeps an object identifier as it came, so only those that it can print as short arcs are compared. True where
/// there was something to compare.
fn compare(datagram: &[u8]) -> bool {
    let Ok(message) = decode(datagram) else { return false };
    let other = match message.version {
        Version::V3 => return false,
        Version::V1 => snmp_parser::parse_snmp_v1(datagram),
        Version::V2c => snmp_parser::parse_snmp_v2c(datagram),
    };
    let Ok((_, other)) = other else { return false };
    assert_eq!(message.community, other.community.as_bytes());
    let bulk = match &other.pdu {
        snmp_parser::SnmpPdu::Generic(pdu) => {
            assert_eq!(message.request_id, i32::try_from(pdu.req_id).unwrap_or(message.request_id));
            None
        }
        snmp_parser::SnmpPdu::Bulk(pdu) => {
            assert_eq!(i64::from(message.request_id), i64::from(pdu.req_id));
            Some((i64::from(pdu.non_repeaters), i64::from(pdu.max_repetitions)))
        }
        snmp_parser::SnmpPdu::TrapV1(_) => None,
    };
    if let Operation::GetBulk { non_repeaters, max_repetitions } = message.operation {
        assert_eq!(Some((non_repeaters.into(), max_repetitions.into())), bulk);
    }
    if matches!(message.operation, Operation::Unhandled) {
        return false;
    }
    assert_eq!(message.bindings.len(), other.vars_iter().count());
    for (mine, theirs) in message.bindings.iter().zip(other.vars_iter()) {
        // snmp-parser splits a first sub-identifier of 120 (which is 2.40) and more wrongly.
        if let Some(arcs) = theirs.oid.iter().filter(|_| theirs.oid.as_bytes()[0] < 120) {
            let mine: Vec<u64> = mine.name.iter().copied().map(u64::from).collect();
            assert_eq!(mine, arcs.collect::<Vec<_>>(), "{datagram:02x?}");
        }
    }
    true
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i32>().prop_map(Value::Integer),
        any::<u32>().prop_map(Value::Counter32),
        any::<u32>().prop_map(Value::Gauge32),
        any::<u32>().prop_map(Value::TimeTicks),
        (any::<u64>(), 0u32..64).prop_map(|(value, shift)| Value::Counter64(value >> shift)),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Octets),
        any_oid().prop_map(|oid| Value::ObjectId(oid.into())),
    ]
}

fn any_oid() -> impl Strategy<Value = Vec<u32>> {
    let arc = (any::<u32>(), 0u32..32).prop_map(|(arc, shift)| arc >> shift);
    (prop_oneof![(0u32..2, 0u32..40), (Just(2), 0u32..5000)], prop::collection::vec(arc, 0..40))
        .prop_map(|((first, second), rest)| [vec![first, second], rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The size is known before encoding; and what is encoded decodes to the same.
    #[test]
    fn sizes_are_right_and_responses_survive_the_wire(
        bindings in prop::collection::vec((any_oid(), any_value()), 0..20),
        request_id in any::<i32>(),
        community in prop::collection::vec(any::<u8>(), 0..200),
        status in 0u32..19,
        index in 0u32..1000,
    ) {
        let request = Message {
            version: Version::V2c,
            secured: None,
            community: community.into(),
            request_id,
            operation: Operation::Get,
            bindings: Vec::new(),
        };
        let bindings: VarBindList = bindings
            .into_iter()
            .map(|(name, bound)| VarBind { name: ObjectIdentifier::new(name).unwrap(), value: value(bound) })
            .collect();
        let length = request.response_length(status, index, bindings.iter().map(binding_length).sum());
        let mut out = b"what was there before".to_vec();
        let response = ResponsePdu { error_status: status, error_index: index, bindings: bindings.clone() };
        prop_assert!(request.encode_response(response, &mut out));
        prop_assert_eq!(out.len(), length);
        let decoded: v2c::Message<Response> = ber::decode(&out).unwrap();
        let expected =
            Pdu { request_id, error_status: status, error_index: index, variable_bindings: bindings };
        prop_assert_eq!(decoded.data.0, expected);
        prop_assert_eq!(decoded.community, request.community);
    }

    /// Several octets wrong at once, or any octets at all.
    #[test]
    fn nothing_makes_decoding_panic(
        base in prop_oneof![Just(GET), Just(BULK)],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        noise in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut broken = base.to_vec();
        for (at, octet) in changes {
            let at = at.index(broken.len());
            broken[at] = octet;
        }
        compare(&broken);
        let _ = decode(&noise);
        let cut = noise.len().min(base.len());
        compare(&[&base[..cut], &noise].concat());
    }
}
