//! SNMPv3 from datagram to datagram: what passes, what is reported, what is counted.

use core::time::Duration;

use rasn_smi::v2::SimpleSyntax;
use rasn_snmp::v2::{GetRequest, InformRequest, Response, SetRequest};

use super::super::access::{UserRules, ViewRules};
use super::super::tests::{counters, mutated};
use super::super::users::Users;
use super::super::usm::{Authentication, Privacy};
use super::super::{Agent, Config, Now};
use super::*;
use crate::units::UnixMillis;

const NAME: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 5, 0];
const ENGINE_ID: &[u32] = &[1, 3, 6, 1, 6, 3, 10, 2, 1, 1, 0];

/// An agent with users, and a manager that knows their keys.
struct Manager {
    agent: Agent,
    uptime: Duration,
    /// What it believes of the agent's clock.
    clock: (u32, u32),
    engine: Vec<u8>,
    reportable: bool,
    context: Vec<u8>,
    _state: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        Self::with_legacy_privacy(false)
    }

    fn with_legacy_privacy(legacy_privacy: bool) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut users = Users::open(state.path()).unwrap();
        users
            .add("private", (Authentication::Sha256, b"maplesyrup"), Some((Privacy::Aes128, b"syrupmaple")))
            .unwrap();
        users.add("signed", (Authentication::Sha512, b"maplesyrup"), None).unwrap();
        users
            .add("loose", (Authentication::Sha224, b"maplesyrup"), Some((Privacy::Aes256, b"syrupmaple")))
            .unwrap();
        users.add("legacy", (Authentication::Md5, b"maplesyrup"), None).unwrap();
        users
            .add("des", (Authentication::Sha256, b"maplesyrup"), Some((Privacy::Des, b"syrupmaple")))
            .unwrap();
        let rules =
            |name: &str, view: &str, security| UserRules { name: name.into(), view: view.into(), security };
        let config = Config {
            name: Some("flux".into()),
            legacy_privacy,
            users: vec![
                rules("loose", "default", Some(Level::NoAuthNoPriv)),
                rules("public", "narrow", Some(Level::NoAuthNoPriv)),
                rules("keyless", "default", None),
            ],
            views: [("narrow".to_owned(), ViewRules { include: vec![NAME.to_vec()], exclude: Vec::new() })]
                .into(),
            ..Config::default()
        };
        let agent = Agent::open(config, Arc::new(counters(3)), state.path()).unwrap();
        let engine = agent.engine.id().to_vec();
        Self {
            agent,
            uptime: Duration::from_secs(1000),
            clock: (1, 1000),
            context: engine.clone(),
            engine,
            reportable: true,
            _state: state,
        }
    }

    fn user(&self, name: &str) -> Option<Arc<User>> {
        self.agent.access.load().user(name.as_bytes()).map(Arc::clone)
    }

    fn outgoing<'a>(&'a self, name: &'a str, user: Option<&'a User>, level: Level) -> Outgoing<'a> {
        Outgoing {
            message_id: 77,
            level,
            is_reportable: self.reportable,
            engine: &self.engine,
            clock: self.clock,
            user_name: name.as_bytes(),
            user,
            salt: *b"saltsalt",
        }
    }

    fn encode(&self, name: &str, level: Level, pdu: Pdus) -> Vec<u8> {
        let user = self.user(name);
        let mut out = Vec::new();
        assert!(self.outgoing(name, user.as_deref(), level).encode(&self.context, pdu, &mut out));
        out
    }

    fn get(&self, name: &str, level: Level, oid: &[u32]) -> Vec<u8> {
        self.encode(name, level, Pdus::GetRequest(GetRequest(pdu(oid))))
    }

    fn send(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let now = Now { wall: UnixMillis(1_795_000_000_000), uptime: self.uptime };
        let mut out = Vec::new();
        self.agent.respond(now, ([127, 0, 0, 1], 4000).into(), datagram, &mut out).then_some(out)
    }

    /// The PDU of an answer, whose envelope is checked: level, tag, engine, clock.
    fn open(&self, name: &str, level: Level, datagram: &[u8]) -> v3::ScopedPdu {
        let incoming = parse(datagram).unwrap();
        assert_eq!((incoming.header.msg_id, incoming.header.msg_flags), (77, level.flags()));
        assert_eq!((incoming.engine, incoming.user), (self.agent.engine.id(), name.as_bytes()));
        assert_eq!((incoming.boots, incoming.time), self.agent.engine.clock(self.uptime));
        let user = self.user(name);
        if level > Level::NoAuthNoPriv {
            let (protocol, key) = user.as_ref().unwrap().authentication.as_ref().unwrap();
            assert!(usm::is_authentic(*protocol, key, datagram, incoming.tag.clone()));
        }
        if level < Level::AuthPriv {
            return ber::decode(incoming.data).unwrap();
        }
        let mut octets: Vec<u8> = ber::decode::<rasn::types::OctetString>(incoming.data).unwrap().to_vec();
        let vector =
            Vector { boots: incoming.boots, time: incoming.time, salt: incoming.salt.try_into().unwrap() };
        let user = user.unwrap();
        let (protocol, key) = user.privacy.as_ref().unwrap();
        assert!(usm::decrypt(*protocol, key, vector, &mut octets));
        let (scoped, filling) = ber::decode_with_remainder(&octets).unwrap();
        assert!(filling.len() < if *protocol == Privacy::Des { 8 } else { 1 });
        scoped
    }

    fn response(&mut self, name: &str, level: Level, oid: &[u32]) -> Pdu {
        let answer = self.get(name, level, oid);
        let answer = self.send(&answer).expect("an answer");
        match self.open(name, level, &answer).data {
            Pdus::Response(Response(pdu)) => pdu,
            other => panic!("{other:?}"),
        }
    }

    /// Sends it, and checks that exactly this counter goes up, and which level its report has (`None`: silence).
    #[track_caller]
    fn check(&mut self, datagram: &[u8], counted: Counted, report: Option<(&str, Level)>) {
        let mut expected = self.agent.statistics;
        expected.in_packets += 1;
        *(counted.field)(&mut expected) += 1;
        expected.reports += u32::from(report.is_some());
        let value = *(counted.field)(&mut expected);
        let answer = self.send(datagram);
        assert_eq!(self.agent.statistics, expected);
        assert_eq!(answer.is_some(), report.is_some());
        let (Some(answer), Some((name, level))) = (answer, report) else { return };
        assert!(answer.len() <= datagram.len() + 64, "{} of {}", answer.len(), datagram.len());
        let scoped = self.open(name, level, &answer);
        assert_eq!(&scoped.engine_id[..], self.agent.engine.id());
        let Pdus::Report(Report(pdu)) = scoped.data else { panic!("{:?}", scoped.data) };
        assert_eq!(&pdu.variable_bindings[0].name[..], counted.name);
        let counter = ObjectSyntax::from(ApplicationSyntax::Counter(rasn_smi::v1::Counter(value)));
        assert_eq!(pdu.variable_bindings[0].value, VarBindValue::Value(counter));
    }
}

fn pdu(oid: &[u32]) -> Pdu {
    let name = ObjectName::new_unchecked(oid.to_vec().into());
    let binding = VarBind { name, value: VarBindValue::Unspecified };
    Pdu { request_id: -5, error_status: 0, error_index: 0, variable_bindings: vec![binding] }
}

fn text(value: &VarBindValue) -> Option<&[u8]> {
    match value {
        VarBindValue::Value(ObjectSyntax::Simple(SimpleSyntax::String(octets))) => Some(octets),
        _ => None,
    }
}

const NOBODY: Option<(&str, Level)> = None;

#[test]
fn requests_are_answered_at_their_level() {
    let mut manager = Manager::new();
    for (name, level) in [
        ("private", Level::AuthPriv),
        ("signed", Level::AuthNoPriv),
        ("loose", Level::AuthPriv),
        ("loose", Level::AuthNoPriv),
        ("loose", Level::NoAuthNoPriv),
        ("public", Level::NoAuthNoPriv),
    ] {
        let pdu = manager.response(name, level, NAME);
        assert_eq!((pdu.request_id, pdu.error_status), (-5, 0));
        assert_eq!(text(&pdu.variable_bindings[0].value), Some(&b"flux"[..]), "{name} {level:?}");
    }
    // No two encrypted answers have the same salt.
    let request = manager.get("private", Level::AuthPriv, NAME);
    let [one, other] = [(); 2].map(|()| manager.send(&request).unwrap());
    assert_ne!(parse(&one).unwrap().salt, parse(&other).unwrap().salt);
    // The engine "here" (RFC 5343), and the answer says so again.
    manager.context = LOCAL_ENGINE.to_vec();
    let answer = manager.get("private", Level::AuthPriv, ENGINE_ID);
    let answer = manager.send(&answer).unwrap();
    let scoped = manager.open("private", Level::AuthPriv, &answer);
    assert_eq!(&scoped.engine_id[..], LOCAL_ENGINE);
    let Pdus::Response(Response(pdu)) = scoped.data else { panic!("{:?}", scoped.data) };
    assert_eq!(text(&pdu.variable_bindings[0].value), Some(&manager.engine[..]));
}

#[test]
fn views_and_levels_are_kept() {
    let mut manager = Manager::new();
    // Below what the user needs: authorizationError, and nothing else.
    for (name, level) in
        [("private", Level::AuthNoPriv), ("private", Level::NoAuthNoPriv), ("signed", Level::NoAuthNoPriv)]
    {
        let pdu = manager.response(name, level, NAME);
        assert_eq!((pdu.error_status, &pdu.variable_bindings[0].value), (16, &VarBindValue::Unspecified));
    }
    let value = |manager: &mut Manager, name: &str, level, oid: &[u32]| {
        manager.response(name, level, oid).variable_bindings.remove(0).value
    };
    let plain = Level::NoAuthNoPriv;
    assert_eq!(
        value(&mut manager, "public", plain, &[1, 3, 6, 1, 2, 1, 1, 1, 0]),
        VarBindValue::NoSuchObject
    );
    // Nobody sees the tables of users and views by default; statistics are no secret.
    let vacm = &[1, 3, 6, 1, 6, 3, 16, 1, 5, 1, 0];
    assert_eq!(value(&mut manager, "loose", plain, vacm), VarBindValue::NoSuchObject);
    let statistics = &[1, 3, 6, 1, 6, 3, 15, 1, 1, 3, 0];
    assert!(matches!(value(&mut manager, "loose", plain, statistics), VarBindValue::Value(_)));
    // A walk in a view of one instance is over at once.
    let next =
        manager.encode("public", plain, Pdus::GetNextRequest(rasn_snmp::v2::GetNextRequest(pdu(&[1, 3]))));
    let answer = manager.send(&next).unwrap();
    let Pdus::Response(Response(first)) = manager.open("public", plain, &answer).data else { panic!() };
    assert_eq!(&first.variable_bindings[0].name[..], NAME);
    let next =
        manager.encode("public", plain, Pdus::GetNextRequest(rasn_snmp::v2::GetNextRequest(pdu(NAME))));
    let answer = manager.send(&next).unwrap();
    let Pdus::Response(Response(end)) = manager.open("public", plain, &answer).data else { panic!() };
    assert_eq!(end.variable_bindings[0].value, VarBindValue::EndOfMibView);
    // Nothing can be set.
    let set = manager.encode("private", Level::AuthPriv, Pdus::SetRequest(SetRequest(pdu(NAME))));
    let answer = manager.send(&set).unwrap();
    let Pdus::Response(Response(refused)) = manager.open("private", Level::AuthPriv, &answer).data else {
        panic!()
    };
    assert_eq!((refused.error_status, refused.error_index), (6, 1));
}

#[test]
fn discovery_finds_engine_and_clock() {
    let mut manager = Manager::new();
    manager.engine = Vec::new();
    manager.clock = (0, 0);
    let probe = manager.get("", Level::NoAuthNoPriv, NAME);
    manager.check(&probe, UNKNOWN_ENGINE, Some(("", Level::NoAuthNoPriv)));
    // Then the clock (RFC 3414, 4): told in an authenticated report.
    manager.engine = manager.agent.engine.id().to_vec();
    let request = manager.get("private", Level::AuthPriv, NAME);
    manager.check(&request, NOT_IN_TIME_WINDOW, Some(("private", Level::AuthNoPriv)));
}

#[test]
fn what_is_wrong_is_counted_and_reported() {
    let mut manager = Manager::new();
    let plain = Level::NoAuthNoPriv;
    // Legacy protocols that the configuration does not allow are nobody's.
    for name in ["", "nobody", "legacy", "des", "keyless", "privat", "privatE"] {
        let request = manager.get(name, plain, NAME);
        manager.check(&request, UNKNOWN_USER, Some((name, plain)));
    }
    let other = [manager.engine.clone(), vec![0]].concat();
    manager.engine = other;
    let request = manager.get("private", Level::AuthPriv, NAME);
    manager.check(&request, UNKNOWN_ENGINE, Some(("private", plain)));
    manager.engine = manager.agent.engine.id().to_vec();
    // Flags that ask for more than the user has keys for.
    let mut request = manager.get("signed", Level::AuthNoPriv, NAME);
    let flags = request.windows(3).position(|at| at == [4, 1, 5]).unwrap() + 2;
    request[flags] = 7;
    manager.check(&request, UNSUPPORTED_LEVEL, Some(("signed", plain)));
    // Another context.
    manager.context = b"\x80\0\0\0\x07".to_vec();
    let request = manager.get("private", Level::AuthPriv, NAME);
    manager.check(&request, UNKNOWN_HANDLER, Some(("private", Level::AuthNoPriv)));
    manager.context = manager.engine.clone();
    let inform = manager.encode("signed", Level::AuthNoPriv, Pdus::InformRequest(InformRequest(pdu(NAME))));
    manager.check(&inform, UNKNOWN_HANDLER, Some(("signed", Level::AuthNoPriv)));
    // Who expects no answer gets none: not by the flag, not by the PDU.
    for pdu in [Pdus::Response(Response(pdu(NAME))), Pdus::Report(Report(pdu(NAME)))] {
        let loop_begins = manager.encode("signed", Level::AuthNoPriv, pdu.clone());
        manager.check(&loop_begins, UNKNOWN_HANDLER, NOBODY);
        let stranger = manager.encode("nobody", plain, pdu);
        manager.check(&stranger, UNKNOWN_USER, NOBODY);
    }
    manager.reportable = false;
    let request = manager.get("nobody", plain, NAME);
    manager.check(&request, UNKNOWN_USER, NOBODY);
    // A context name.
    let user = manager.user("signed");
    manager.reportable = true;
    let mut out = Vec::new();
    manager.outgoing("signed", user.as_deref(), plain).encode(
        &manager.context,
        Pdus::GetRequest(GetRequest(pdu(NAME))),
        &mut out,
    );
    let engine_end = out.windows(17).rposition(|at| at == manager.engine).unwrap() + 17;
    assert_eq!(out[engine_end..engine_end + 2], [4, 0]);
    out.splice(engine_end..engine_end + 2, [4, 1, b'x']);
    // The message, and its scoped PDU, are an octet longer.
    out[1] += 1;
    let scoped = engine_end - 17 - 2 - 1;
    out[scoped] += 1;
    manager.check(&out, UNKNOWN_CONTEXT, Some(("signed", plain)));
}

#[test]
fn keys_tags_and_times_must_be_right() {
    let mut manager = Manager::new();
    let plain = Level::NoAuthNoPriv;
    for (name, level) in [("private", Level::AuthPriv), ("signed", Level::AuthNoPriv)] {
        let good = manager.get(name, level, NAME);
        let tag = parse(&good).unwrap().tag;
        // Every bit of the tag, and of what it signs (of the octets after it).
        for at in tag.start..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            if parse(&changed).is_err() || parse(&changed).unwrap().tag != tag {
                continue;
            }
            manager.check(&changed, WRONG_DIGEST, Some((name, plain)));
        }
        assert!(manager.send(&good).is_some());
    }
    // A tag that is shorter than its protocol's, even where it is the beginning of the right one (CVE-2008-0960).
    let good = manager.get("signed", Level::AuthNoPriv, NAME);
    let incoming = parse(&good).unwrap();
    for length in 0..incoming.tag.len() {
        let parameters = v3::USMSecurityParameters {
            authoritative_engine_id: manager.engine.clone().into(),
            authoritative_engine_boots: 1.into(),
            authoritative_engine_time: 1000.into(),
            user_name: b"signed".to_vec().into(),
            authentication_parameters: vec![0; length].into(),
            privacy_parameters: Vec::new().into(),
        };
        let mut message: v3::Message = ber::decode(&good).unwrap();
        message.security_parameters = ber::encode(&parameters).unwrap().into();
        let mut short = ber::encode(&message).unwrap();
        let place = parse(&short).unwrap().tag;
        let user = manager.user("signed").unwrap();
        let (protocol, key) = user.authentication.as_ref().unwrap();
        let tag = usm::tag(*protocol, key, [&short, &[], &[]]);
        short[place].copy_from_slice(&tag[..length]);
        manager.check(&short, WRONG_DIGEST, Some(("signed", plain)));
    }
    // Another privacy key: authentic noise. A salt that is none.
    let user = manager.user("private").unwrap();
    let wrong = User { privacy: manager.user("loose").unwrap().privacy.clone(), ..User::clone(&user) };
    let mut out = Vec::new();
    let request = Pdus::GetRequest(GetRequest(pdu(NAME)));
    manager.outgoing("private", Some(&wrong), Level::AuthPriv).encode(&manager.context, request, &mut out);
    manager.check(&out, DECRYPTION_ERROR, Some(("private", Level::AuthNoPriv)));
}

/// The scoped PDU of a message as the user's keys encrypt it, changed by `change`, and signed.
fn with_encrypted(manager: &Manager, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let good = manager.get(name, Level::AuthPriv, NAME);
    let mut message: v3::Message = ber::decode(&good).unwrap();
    let v3::ScopedPduData::EncryptedPdu(octets) = &message.scoped_data else { panic!("not encrypted") };
    let mut octets = octets.to_vec();
    change(&mut octets);
    message.scoped_data = v3::ScopedPduData::EncryptedPdu(octets.into());
    signed_again(manager, name, ber::encode(&message).unwrap())
}

fn signed_again(manager: &Manager, name: &str, mut message: Vec<u8>) -> Vec<u8> {
    let place = parse(&message).unwrap().tag;
    message[place.clone()].fill(0);
    let user = manager.user(name).unwrap();
    let (protocol, key) = user.authentication.as_ref().unwrap();
    let tag = usm::tag(*protocol, key, [&message, &[], &[]]);
    message[place].copy_from_slice(&tag);
    message
}

#[test]
fn des_is_for_those_who_allow_it() {
    let mut manager = Manager::with_legacy_privacy(true);
    let pdu = manager.response("des", Level::AuthPriv, NAME);
    assert_eq!(text(&pdu.variable_bindings[0].value), Some(&b"flux"[..]));
    // Octets that are no whole blocks, or none at all, and another key: authentic, but nothing that can be read.
    let told = Some(("des", Level::AuthNoPriv));
    let whole = with_encrypted(&manager, "des", |_| ());
    assert!(manager.send(&whole).is_some());
    for less in 1..8 {
        let cut = with_encrypted(&manager, "des", |octets| octets.truncate(octets.len() - less));
        manager.check(&cut, DECRYPTION_ERROR, told);
    }
    let empty = with_encrypted(&manager, "des", Vec::clear);
    manager.check(&empty, DECRYPTION_ERROR, told);
    let last_missing = with_encrypted(&manager, "des", |octets| octets.truncate(octets.len() - 8));
    manager.check(&last_missing, DECRYPTION_ERROR, told);
    // More blocks than it takes are filling like any other.
    let longer = with_encrypted(&manager, "des", |octets| octets.extend([0x5a; 8]));
    assert!(manager.send(&longer).is_some());
    let user = manager.user("des").unwrap();
    let (protocol, key) = user.privacy.clone().unwrap();
    // The pre-IV is the second half of the key: its first octets spoil the outermost element. (The last bit of each octet of
    // the first half is parity.)
    for at in 0..10 {
        let mut other = key.octets().to_vec();
        other[at] ^= 0x10;
        let wrong = User { privacy: Some((protocol, usm::Key::new(other))), ..User::clone(&user) };
        let mut out = Vec::new();
        let request = Pdus::GetRequest(GetRequest(tests::pdu(NAME)));
        let outgoing = manager.outgoing("des", Some(&wrong), Level::AuthPriv);
        assert!(outgoing.encode(&manager.context, request, &mut out));
        manager.check(&out, DECRYPTION_ERROR, told);
    }
    // Salts are boots, and then a count (RFC 3414, 8.1.1.1).
    manager.agent.engine = Engine::new(manager.engine.clone(), 0x0102_0304);
    manager.clock = (0x0102_0304, 1000);
    let request = manager.get("des", Level::AuthPriv, NAME);
    let [one, other] = [(); 2].map(|()| manager.send(&request).unwrap());
    assert_eq!(parse(&one).unwrap().salt, [1, 2, 3, 4, 0, 0, 0, 1]);
    assert_eq!(parse(&other).unwrap().salt, [1, 2, 3, 4, 0, 0, 0, 2]);
}

/// What fills blocks up is counted as part of the message: never longer than its receiver can take, and seldom much shorter.
#[test]
fn sizes_are_kept_with_what_fills_blocks_up() {
    let mut manager = Manager::with_legacy_privacy(true);
    // Boots and time with as many octets as they can have.
    manager.clock = (BOOTS_MAX - 1, BOOTS_MAX - 100);
    manager.agent.engine = Engine::new(manager.engine.clone(), manager.clock.0);
    manager.uptime = Duration::from_secs(manager.clock.1.into());
    let names = [&[1, 3, 6, 1, 2, 1, 1, 2, 0][..]; 30].map(|name| pdu(name).variable_bindings.remove(0));
    for count in 1..30 {
        let request = Pdu { variable_bindings: names[..count].to_vec(), ..pdu(NAME) };
        let request = manager.encode("des", Level::AuthPriv, Pdus::GetRequest(GetRequest(request)));
        let whole = manager.send(&request).unwrap().len();
        if whole < 484 {
            continue;
        }
        // With the room that it needs it is answered, with an octet less it is tooBig.
        for (room, is_whole) in [(whole, true), (whole - 1, false)] {
            let size = request.windows(5).position(|at| at == [2, 3, 0, 255, 227]).unwrap() + 2;
            let mut request = request.clone();
            request[size..size + 3].copy_from_slice(&u32::try_from(room).unwrap().to_be_bytes()[1..]);
            let request = signed_again(&manager, "des", request);
            let answer = manager.send(&request).unwrap();
            assert_eq!(answer.len() == whole, is_whole, "{count} names, {room} octets");
        }
    }
}

#[test]
fn time_passes_and_old_messages_with_it() {
    let mut manager = Manager::new();
    let told = Some(("private", Level::AuthNoPriv));
    let recorded = manager.get("private", Level::AuthPriv, NAME);
    // 150 seconds either way, by 1000 on both sides.
    manager.uptime = Duration::from_secs(1150);
    assert!(manager.send(&recorded).is_some());
    manager.uptime = Duration::from_secs(1151);
    manager.check(&recorded, NOT_IN_TIME_WINDOW, told);
    manager.uptime = Duration::from_secs(850);
    assert!(manager.send(&recorded).is_some());
    manager.uptime = Duration::from_millis(849_999);
    manager.check(&recorded, NOT_IN_TIME_WINDOW, told);
    // After the next start, the same second is another one.
    manager.uptime = Duration::from_secs(1000);
    manager.agent.engine = Engine::new(manager.engine.clone(), 2);
    manager.check(&recorded, NOT_IN_TIME_WINDOW, told);
    manager.clock = (2, 1000);
    let request = manager.get("private", Level::AuthPriv, NAME);
    assert!(manager.send(&request).is_some());
    // Nothing passes any more at the end of all starts, right as it may be.
    manager.agent.engine = Engine::new(manager.engine.clone(), BOOTS_MAX);
    manager.clock = (BOOTS_MAX, 1000);
    let request = manager.get("private", Level::AuthPriv, NAME);
    manager.check(&request, NOT_IN_TIME_WINDOW, told);
}

#[test]
fn sizes_are_kept() {
    let mut manager = Manager::new();
    let bulk = |max_repetitions| {
        let variable_bindings = pdu(&[1, 3]).variable_bindings;
        Pdus::GetBulkRequest(rasn_snmp::v2::GetBulkRequest(rasn_snmp::v2::BulkPdu {
            request_id: 9,
            non_repeaters: 0,
            max_repetitions,
            variable_bindings,
        }))
    };
    for (name, level) in
        [("private", Level::AuthPriv), ("signed", Level::AuthNoPriv), ("loose", Level::NoAuthNoPriv)]
    {
        let request = manager.encode(name, level, bulk(1000));
        // As we announce 65507; then by hand what others may announce.
        let answer = manager.send(&request).unwrap();
        assert!((1300..=1472).contains(&answer.len()), "{}", answer.len());
    }
    let mut request = manager.encode("loose", Level::NoAuthNoPriv, bulk(1000));
    let size = request.windows(5).position(|at| at == [2, 3, 0, 255, 227]).unwrap() + 2;
    for (announced, least) in [(484u32, 400), (700, 600), (60_000, 1300)] {
        request[size..size + 3].copy_from_slice(&announced.to_be_bytes()[1..]);
        let answer = manager.send(&request).unwrap();
        let most = usize::try_from(announced).unwrap().min(1472);
        assert!((least..=most).contains(&answer.len()), "{announced}: {}", answer.len());
    }
    // Less than 484 is no SNMPv3 (RFC 3412, 6).
    request[size..size + 3].copy_from_slice(&483u32.to_be_bytes()[1..]);
    assert_eq!(manager.send(&request), None);
    assert_eq!(manager.agent.statistics.in_asn_parse_errors, 1);
}

#[test]
fn what_is_cut_is_counted_once_and_never_answered() {
    let mut manager = Manager::new();
    for (name, level) in [("private", Level::AuthPriv), ("loose", Level::NoAuthNoPriv)] {
        let whole = manager.get(name, level, NAME);
        for end in 0..whole.len() {
            let before = manager.agent.statistics;
            assert_eq!(manager.send(&whole[..end]), None, "{end}");
            assert_eq!(manager.agent.statistics.in_asn_parse_errors, before.in_asn_parse_errors + 1);
        }
        let before = manager.agent.statistics.in_asn_parse_errors;
        assert_eq!(manager.send(&[&whole[..], &[0]].concat()), None);
        assert_eq!(manager.agent.statistics.in_asn_parse_errors, before + 1);
    }
}

/// A million changed messages: each is counted exactly once, no answer is longer than it may be, and nothing that
/// claims to be authentic passes unless it is as it was sent.
#[test]
fn a_million_changed_messages() {
    let mut manager = Manager::new();
    let seeds: Vec<(Vec<u8>, bool)> = vec![
        (manager.get("private", Level::AuthPriv, NAME), true),
        (manager.get("signed", Level::AuthNoPriv, NAME), true),
        (manager.get("loose", Level::NoAuthNoPriv, NAME), false),
        (manager.get("nobody", Level::NoAuthNoPriv, NAME), false),
        (message::tests::GET.to_vec(), false),
    ];
    let mut seed = 0x2026_1122_u64;
    let mut kinds = std::collections::BTreeSet::new();
    for round in 0..1_000_000usize {
        let (whole, is_signed) = &seeds[round % seeds.len()];
        let changed = mutated(whole, &mut seed);
        let before = manager.agent.statistics;
        let answer = manager.send(&changed);
        let after = manager.agent.statistics;
        let fates = after.fates();
        let moved: Vec<usize> = (0..fates.len()).filter(|&at| fates[at] != before.fates()[at]).collect();
        assert_eq!(moved.len(), 1, "{changed:02x?}");
        kinds.insert(moved[0]);
        let Some(answer) = answer else { continue };
        assert!(answer.len() <= 1472);
        // What was signed is answered only where nothing was changed; or it became an unsigned one, which is none of
        // theirs: "authorizationError" or a report is all that comes.
        if *is_signed && changed != *whole && after.responses > before.responses {
            assert_eq!(parse(&answer).unwrap().header.msg_flags & 1, 0, "{changed:02x?}");
        }
    }
    // Most ways to be refused were seen.
    assert!(kinds.len() >= 9, "{kinds:?}");
}
