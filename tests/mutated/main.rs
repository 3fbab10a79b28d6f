//! A million changed SNMP messages against code compiled as it is released: optimized, without debug assertions and overflow
//! checks (ops/test does so by ops/as-released.toml). Beside that, fewer of them run in every test run, with all checks.
//!
//! The messages to begin with are those of net-snmp's tools, so what is taken apart here was put together elsewhere.
//! Whatever happens to them, the agent goes on, says no more than it may, and counts each message once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use fluxoscope::counters::Counters;
use fluxoscope::snmp::{Agent, Authentication, Config, Level, Now, Privacy, UserRules, Users};
use fluxoscope::units::UnixMillis;
use rasn::ber;
use rasn_smi::v2::{ApplicationSyntax, ObjectSyntax};
use rasn_snmp::v2::{GetRequest, ObjectName, Pdu, Response, VarBind, VarBindValue};
use rasn_snmp::{v2c, v3};

/// Octets of the longest answer.
const ANSWER_OCTETS_MAX: usize = 1472;

/// A request as net-snmp sent it.
struct Recorded {
    octets: Vec<u8>,
    /// It is signed by a user of ours.
    is_signed: bool,
    /// Unchanged, it is answered, and not only told what is wrong with it.
    is_answered: bool,
}

fn recorded() -> Vec<Recorded> {
    let lines = include_str!("requests.txt").lines().filter(|line| !line.starts_with('#'));
    let one = |line: &str| {
        let (what, hex) = line.rsplit_once(' ').unwrap();
        let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Recorded {
            octets: (0..hex.len()).step_by(2).map(octet).collect(),
            is_signed: what.ends_with(" signed"),
            is_answered: !what.ends_with(" told"),
        }
    };
    lines.map(one).collect()
}

/// An agent that the recorded requests are for.
struct Asked {
    agent: Agent,
    out: Vec<u8>,
    _state: tempfile::TempDir,
}

impl Asked {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(state.path().join("snmp")).unwrap();
        let engine = "id 80007ed9050102030405060708090a0b0c\nboots 0\n";
        std::fs::write(state.path().join("snmp/engine"), engine).unwrap();
        let (first, second) = (&b"the first passphrase"[..], &b"the second passphrase"[..]);
        let mut users = Users::open(state.path()).unwrap();
        for (name, authentication, privacy) in [
            ("aes128", Authentication::Sha256, Some(Privacy::Aes128)),
            ("aes256", Authentication::Sha512, Some(Privacy::Aes256)),
            ("des", Authentication::Md5, Some(Privacy::Des)),
            ("plain", Authentication::Sha224, None),
        ] {
            users.add(name, (authentication, first), privacy.map(|privacy| (privacy, second))).unwrap();
        }
        let loose =
            UserRules { name: "loose".into(), view: "default".into(), security: Some(Level::NoAuthNoPriv) };
        let config = Config {
            communities: vec!["see".into()],
            users: vec![loose],
            legacy_authentication: true,
            legacy_privacy: true,
            name: Some("flux".into()),
            ..Config::default()
        };
        let agent = Agent::open(config, Arc::new(Counters::new(2, 0)), state.path()).unwrap();
        Self { agent, out: Vec::new(), _state: state }
    }

    fn ask(&mut self, request: &[u8]) -> Option<&[u8]> {
        let now = Now { wall: UnixMillis(1_795_000_000_000), uptime: Duration::from_secs(3) };
        let source = SocketAddr::from(([127, 0, 0, 1], 4000));
        self.agent.respond(now, source, request, &mut self.out).then_some(&self.out[..])
    }

    /// Objects as numbers, by a request that counts like all others.
    fn read(&mut self, names: &[&[u32]]) -> Vec<u32> {
        let bind = |name: &&[u32]| VarBind {
            name: ObjectName::new_unchecked(name.to_vec().into()),
            value: VarBindValue::Unspecified,
        };
        let pdu = Pdu {
            request_id: 1,
            error_status: 0,
            error_index: 0,
            variable_bindings: names.iter().map(bind).collect(),
        };
        let message =
            v2c::Message { version: 1.into(), community: b"see".to_vec().into(), data: GetRequest(pdu) };
        let answer = self.ask(&ber::encode(&message).unwrap()).unwrap();
        let Response(pdu) = ber::decode::<v2c::Message<Response>>(answer).unwrap().data;
        let number = |binding: &VarBind| match &binding.value {
            VarBindValue::Value(ObjectSyntax::ApplicationWide(ApplicationSyntax::Counter(counter))) => {
                counter.0
            }
            other => panic!("{other:?}"),
        };
        pdu.variable_bindings.iter().map(number).collect()
    }
}

/// snmpInPkts, and what can become of a message: it counts in exactly one of the others, the first of which are
/// fluxAgentResponses and, beside them, fluxAgentReports.
const IN_PACKETS: &[u32] = &[1, 3, 6, 1, 2, 1, 11, 1, 0];
const RESPONSES: &[u32] = &[1, 3, 6, 1, 4, 1, 32473, 2055, 1, 7, 3, 0];
const REPORTS: &[u32] = &[1, 3, 6, 1, 4, 1, 32473, 2055, 1, 7, 4, 0];
const FATES: [&[u32]; 17] = [
    RESPONSES,
    &[1, 3, 6, 1, 2, 1, 11, 3, 0],                // snmpInBadVersions
    &[1, 3, 6, 1, 2, 1, 11, 4, 0],                // snmpInBadCommunityNames
    &[1, 3, 6, 1, 2, 1, 11, 6, 0],                // snmpInASNParseErrs
    &[1, 3, 6, 1, 2, 1, 11, 31, 0],               // snmpSilentDrops
    &[1, 3, 6, 1, 4, 1, 32473, 2055, 1, 7, 1, 0], // fluxAgentRefusedSources
    &[1, 3, 6, 1, 4, 1, 32473, 2055, 1, 7, 2, 0], // fluxAgentLimited
    &[1, 3, 6, 1, 6, 3, 11, 2, 1, 1, 0],          // snmpUnknownSecurityModels
    &[1, 3, 6, 1, 6, 3, 11, 2, 1, 2, 0],          // snmpInvalidMsgs
    &[1, 3, 6, 1, 6, 3, 11, 2, 1, 3, 0],          // snmpUnknownPDUHandlers
    &[1, 3, 6, 1, 6, 3, 12, 1, 5, 0],             // snmpUnknownContexts
    &[1, 3, 6, 1, 6, 3, 15, 1, 1, 1, 0],          // usmStatsUnsupportedSecLevels
    &[1, 3, 6, 1, 6, 3, 15, 1, 1, 2, 0],          // usmStatsNotInTimeWindows
    &[1, 3, 6, 1, 6, 3, 15, 1, 1, 3, 0],          // usmStatsUnknownUserNames
    &[1, 3, 6, 1, 6, 3, 15, 1, 1, 4, 0],          // usmStatsUnknownEngineIDs
    &[1, 3, 6, 1, 6, 3, 15, 1, 1, 5, 0],          // usmStatsWrongDigests
    &[1, 3, 6, 1, 6, 3, 15, 1, 1, 6, 0],          // usmStatsDecryptionErrors
];

/// `whole` with some octets changed, cut out, put in, doubled or cut off. Knuth's generator; its upper bits are good enough.
fn mutated(whole: &[u8], seed: &mut u64) -> Vec<u8> {
    let mut random = |below: usize| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*seed >> 33).unwrap() % below.max(1)
    };
    let mut octets = whole.to_vec();
    for _ in 0..=random(3) {
        let at = random(octets.len());
        let octet = u8::try_from(random(256)).unwrap();
        match (random(9), octets.get_mut(at)) {
            (0, Some(_)) => drop(octets.remove(at)),
            (1, _) => octets.insert(at, octet),
            (2, _) => octets.truncate(at),
            (3, Some(here)) => *here = [0, 1, 0x7f, 0x80, 0xff, 0x84][random(6)],
            (4, Some(here)) => *here ^= 1 << random(8),
            (5, Some(here)) => *here = here.wrapping_add([1, 0xff][random(2)]),
            (6, Some(_)) => octets.extend_from_within(at..),
            (_, Some(here)) => *here = octet,
            (_, None) => octets.push(octet),
        }
    }
    octets
}

/// Whether a message of version 3 claims to be signed. Others have no such flag.
fn claims_to_be_signed(message: &[u8]) -> bool {
    ber::decode::<v3::Message>(message)
        .is_ok_and(|message| message.global_data.flags.first().is_some_and(|flags| flags & 1 != 0))
}

/// So many changed messages.
fn change(rounds: u32) {
    let (mut asked, recorded) = (Asked::new(), recorded());
    assert_eq!(recorded.len(), 12);
    for (at, one) in recorded.iter().enumerate() {
        let before = asked.read(&[RESPONSES])[0];
        asked.ask(&one.octets).unwrap_or_else(|| panic!("request {at} has no answer"));
        let after = asked.read(&[RESPONSES])[0];
        // Reading counts as well.
        assert_eq!(after - before == 2, one.is_answered, "request {at}");
    }
    let before = asked.read(&FATES);
    let began = asked.read(&[IN_PACKETS, REPORTS]);
    let (mut seed, mut sent, mut answers) = (0x2026_1122_u64, 0_u32, 0_u32);
    while sent < rounds {
        let one = &recorded[usize::try_from(sent).unwrap() % recorded.len()];
        let changed = mutated(&one.octets, &mut seed);
        sent += 1;
        let Some(answer) = asked.ask(&changed) else { continue };
        answers += 1;
        assert!(
            !answer.is_empty() && answer.len() <= ANSWER_OCTETS_MAX,
            "{} octets: {changed:02x?}",
            answer.len()
        );
        // What was signed passes as such only where nothing was changed.
        assert!(!one.is_signed || changed == one.octets || !claims_to_be_signed(answer), "{changed:02x?}");
    }
    let ended = asked.read(&[IN_PACKETS, REPORTS]);
    let after = asked.read(&FATES);
    // Counters of 32 bits; the readings count as messages, each but the last one as answered, too.
    assert_eq!(ended[0] - began[0], rounds + 1);
    let moved: Vec<u32> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    assert_eq!(moved.iter().sum::<u32>(), rounds + 3, "{moved:?}");
    assert_eq!(moved[0] + (ended[1] - began[1]), answers + 3, "{moved:?}");
    println!("{rounds} changed messages, {answers} answers; {moved:?}");
    // All but what the source decides, and what only those can reach who sign anew: keys, times and contexts that are wrong.
    assert!(moved.iter().filter(|&&count| count > 0).count() >= 10, "{moved:?}");
}

#[cfg(debug_assertions)]
#[test]
fn changed_messages_with_all_checks() {
    change(50_000);
}

/// Only where the code is compiled as for a release.
#[cfg(not(debug_assertions))]
#[test]
fn a_million_changed_messages_as_released() {
    use std::hint::black_box;
    // Without overflow checks, too.
    assert_eq!(std::panic::catch_unwind(|| black_box(u8::MAX) + black_box(1)).ok(), Some(0));
    change(1_000_000);
}
