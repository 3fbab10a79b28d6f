//! What a receiver may tell, and what is not believed.

use rasn_smi::v2::{ApplicationSyntax, ObjectSyntax};
use rasn_snmp::v2::{ObjectName, VarBind, VarBindValue};

use super::*;

const RECEIVER: [u8; 7] = [0x80, 0, 0, 1, 5, 1, 2];
const UPTIME: Duration = Duration::from_secs(1000);

fn inform_user() -> InformUser {
    InformUser {
        name: "flux".into(),
        authentication: Some((Authentication::Sha256, Passphrase::new("the first passphrase"))),
        privacy: Some((Privacy::Aes128, Passphrase::new("the second passphrase"))),
    }
}

fn pdu(request_id: i32, counter: Option<&[u32]>) -> Pdu {
    let bind = |name: &[u32]| VarBind {
        name: ObjectName::new_unchecked(name.to_vec().into()),
        value: VarBindValue::Value(ObjectSyntax::from(ApplicationSyntax::Counter(rasn_smi::v1::Counter(1)))),
    };
    Pdu {
        request_id,
        error_status: 0,
        error_index: 0,
        variable_bindings: counter.map(bind).into_iter().collect(),
    }
}

/// A message of the receiver, with its clock.
fn message(user: Option<&User>, level: Level, clock: (u32, u32), number: i32, pdu: Pdus) -> Vec<u8> {
    let mut out = Vec::new();
    let outgoing = Outgoing {
        message_id: number.unsigned_abs(),
        level,
        is_reportable: false,
        engine: &RECEIVER,
        clock,
        user_name: user.map_or(b"", |user| user.name.as_bytes()),
        user,
        salt: [7; 8],
    };
    assert!(outgoing.encode(&RECEIVER, pdu, &mut out));
    out
}

#[test]
fn engine_boots_and_time_are_learnt_and_only_from_who_may_tell() {
    let (user, keys) = (inform_user(), inform_user().localised(&RECEIVER));
    let mut own = Engine::new(vec![0x80, 0, 0, 0, 1], 1);
    let mut peer = Peer::new();
    let inform = pdu(5, None);
    let report = |counter: &[u32], signed: bool, clock| {
        let pdu = Pdus::Report(Report(pdu(0, Some(counter))));
        let level = if signed { Level::AuthNoPriv } else { Level::NoAuthNoPriv };
        message(signed.then_some(&keys), level, clock, 5, pdu)
    };
    let response =
        |level, clock| message(Some(&keys), level, clock, 5, Pdus::Response(Response(pdu(5, None))));
    let take = |peer: &mut Peer, datagram: &[u8], uptime| {
        peer.take(&user, datagram, |number| (number == 5).then_some(true), uptime).1
    };
    let is_discovery = |message: &[u8]| !message.windows(RECEIVER.len()).any(|window| window == RECEIVER);
    assert!(is_discovery(&peer.message(&user, &inform, &mut own, UPTIME).unwrap()));

    // Nobody's time is believed before the engine is known, nor a report about what does not wait.
    assert_eq!(take(&mut peer, &report(&NOT_IN_TIME_WINDOWS, false, (3, 3)), UPTIME), Outcome::Ignored);
    let met = report(&UNKNOWN_ENGINE_IDS, false, (0, 0));
    assert_eq!(peer.take(&user, &met, |_| None, UPTIME).1, Outcome::Ignored);
    assert_eq!(peer.take(&user, &met, |_| Some(false), UPTIME).1, Outcome::Ignored);
    assert_eq!(take(&mut peer, &met, UPTIME), Outcome::Learnt);
    assert_eq!(take(&mut peer, &met, UPTIME), Outcome::Ignored, "it is known");

    let clock = |peer: &Peer, own: &mut Engine, uptime| {
        let sent = peer.message(&user, &inform, own, uptime).unwrap();
        // What the receiver reads of it.
        let opened = answer::open(&sent, Some(&keys)).unwrap();
        assert_eq!((opened.level, &opened.engine[..]), (Level::AuthPriv, &RECEIVER[..]));
        assert!(matches!(opened.pdu, Pdus::InformRequest(_)));
        (opened.boots, opened.time)
    };
    assert_eq!(clock(&peer, &mut own, UPTIME), (0, 0));
    // Unsigned, it could be anybody's.
    assert_eq!(take(&mut peer, &report(&NOT_IN_TIME_WINDOWS, false, (7, 100)), UPTIME), Outcome::Ignored);
    assert_eq!(take(&mut peer, &report(&NOT_IN_TIME_WINDOWS, true, (7, 100)), UPTIME), Outcome::Learnt);
    assert_eq!(clock(&peer, &mut own, UPTIME + Duration::from_secs(20)), (7, 120));
    // A replay of what was learnt is no news; one boot more is.
    assert_eq!(take(&mut peer, &report(&NOT_IN_TIME_WINDOWS, true, (7, 99)), UPTIME), Outcome::Ignored);
    assert_eq!(take(&mut peer, &report(&NOT_IN_TIME_WINDOWS, true, (8, 2)), UPTIME), Outcome::Learnt);
    assert_eq!(clock(&peer, &mut own, UPTIME), (8, 2));

    // Acknowledged by a response as well protected as the inform, of this start, not older than 150 s.
    let later = UPTIME + Duration::from_secs(200);
    assert_eq!(take(&mut peer, &response(Level::AuthNoPriv, (8, 202)), later), Outcome::Ignored);
    assert_eq!(take(&mut peer, &response(Level::AuthPriv, (7, 202)), later), Outcome::Ignored);
    assert_eq!(take(&mut peer, &response(Level::AuthPriv, (8, 51)), later), Outcome::Ignored);
    let right = response(Level::AuthPriv, (8, 52));
    for at in 0..right.len() {
        let mut changed = right.clone();
        changed[at] ^= 0x20;
        assert_ne!(take(&mut peer, &changed, later), Outcome::Acknowledged, "octet {at}");
        assert_eq!(take(&mut peer, &right[..at], later), Outcome::Ignored, "{at} octets");
    }
    assert_eq!(take(&mut peer, &right, later), Outcome::Acknowledged);
    peer.forget();
    assert!(is_discovery(&peer.message(&user, &inform, &mut own, UPTIME).unwrap()));
}
