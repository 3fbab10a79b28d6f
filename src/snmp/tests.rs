//! The agent from datagram to datagram: what is answered, what is counted, whole walks, limits.

use proptest::prelude::*;
use rasn::ber;
use rasn::types::ObjectIdentifier;
use rasn_smi::v2::ObjectSyntax;
use rasn_snmp::v2::{
    BulkPdu, GetBulkRequest, GetNextRequest, GetRequest, Pdu, Pdus, Response, SetRequest, VarBind,
    VarBindValue,
};
use rasn_snmp::v2c;

use super::*;
use crate::counters::{
    AllowanceRow, Books, CardRow, CustomerRow, Exporter, Field, LinkRow, Managed, Memory, PeriodRow,
    PolledRow, ReconciledRow, Sampled, Sampler, TariffRow, Template, Transport, Volume, Volumes,
};
use crate::ids::Session;

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Get,
    Next,
    Bulk(u32, u32),
    Set,
}

/// An agent, and somebody who asks it.
pub(super) struct Asker {
    pub(super) agent: Agent,
    pub(super) version: u64,
    pub(super) community: Vec<u8>,
    pub(super) request_id: i32,
    pub(super) source: SocketAddr,
    pub(super) uptime: Duration,
    pub(super) out: Vec<u8>,
}

impl Asker {
    pub(super) fn new(counters: Counters) -> Self {
        let config = Config { communities: vec!["see".into(), "look".into()], ..Config::default() };
        Self {
            agent: Agent::new(config, Arc::new(counters)).unwrap(),
            version: 1,
            community: b"see".to_vec(),
            request_id: -7,
            source: ([127, 0, 0, 1], 4000).into(),
            uptime: Duration::from_secs(12),
            out: Vec::new(),
        }
    }

    pub(super) fn encode(&self, ask: Ask, names: &[&[u32]]) -> Vec<u8> {
        let binding = |name: &&[u32]| VarBind {
            name: ObjectIdentifier::new(name.to_vec()).unwrap(),
            value: match ask {
                Ask::Set => VarBindValue::Value(ObjectSyntax::from(5i32)),
                _ => VarBindValue::Unspecified,
            },
        };
        let variable_bindings: Vec<_> = names.iter().map(binding).collect();
        let pdu = Pdu { request_id: self.request_id, error_status: 0, error_index: 0, variable_bindings };
        let data = match ask {
            Ask::Get => Pdus::GetRequest(GetRequest(pdu)),
            Ask::Next => Pdus::GetNextRequest(GetNextRequest(pdu)),
            Ask::Set => Pdus::SetRequest(SetRequest(pdu)),
            Ask::Bulk(non_repeaters, max_repetitions) => Pdus::GetBulkRequest(GetBulkRequest(BulkPdu {
                request_id: self.request_id,
                non_repeaters,
                max_repetitions,
                variable_bindings: pdu.variable_bindings,
            })),
        };
        let message =
            v2c::Message { version: self.version.into(), community: self.community.clone().into(), data };
        ber::encode(&message).unwrap()
    }

    pub(super) fn send(&mut self, request: &[u8]) -> Option<Pdu> {
        let now = Now { wall: UnixMillis(1_795_000_000_000), uptime: self.uptime };
        if !self.agent.respond(now, self.source, request, &mut self.out) {
            return None;
        }
        assert!(self.out.len() <= 1472, "{} octets", self.out.len());
        let response: v2c::Message<Response> = ber::decode(&self.out).unwrap();
        assert_eq!(response.version, self.version.into());
        assert_eq!(response.data.0.request_id, self.request_id);
        self.compare(&response.data.0);
        Some(response.data.0)
    }

    /// snmp-parser reads the same in the response (but for negative numbers, which it does not take).
    fn compare(&self, pdu: &Pdu) {
        if self.request_id < 0 {
            return;
        }
        let parse = if self.version == 0 { snmp_parser::parse_snmp_v1 } else { snmp_parser::parse_snmp_v2c };
        let (rest, other) = parse(&self.out).unwrap();
        assert!(rest.is_empty());
        assert_eq!(other.pdu_type(), snmp_parser::PduType::Response);
        assert_eq!(other.vars_iter().count(), pdu.variable_bindings.len());
        for (mine, theirs) in pdu.variable_bindings.iter().zip(other.vars_iter()) {
            use snmp_parser::{ObjectSyntax as Other, VarBindValue as Bound};
            assert_eq!(mine.name.to_string(), theirs.oid.to_string());
            match (&mine.value, &theirs.val) {
                (VarBindValue::Value(ObjectSyntax::ApplicationWide(mine)), Bound::Value(theirs)) => {
                    use rasn_smi::v2::ApplicationSyntax::{BigCounter, Counter, Ticks, Unsigned};
                    match (mine, theirs) {
                        (BigCounter(mine), Other::Counter64(theirs)) => assert_eq!(mine.0, *theirs),
                        (Counter(mine), Other::Counter32(theirs)) => assert_eq!(mine.0, *theirs),
                        (Ticks(mine), Other::TimeTicks(theirs)) => assert_eq!(mine.0, *theirs),
                        (Unsigned(mine), Other::Gauge32(theirs)) => assert_eq!(mine.0, *theirs),
                        other => panic!("{other:?}"),
                    }
                }
                (VarBindValue::Value(_), Bound::Value(_))
                | (VarBindValue::Unspecified, Bound::Unspecified) => {}
                (VarBindValue::EndOfMibView, Bound::EndOfMibView) => {}
                (VarBindValue::NoSuchInstance, Bound::NoSuchInstance) => {}
                (VarBindValue::NoSuchObject, Bound::NoSuchObject) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) fn ask(&mut self, ask: Ask, names: &[&[u32]]) -> Pdu {
        let request = self.encode(ask, names);
        self.send(&request).expect("an answer")
    }

    /// Everything, by GETNEXT; panics where names do not ascend.
    fn walk(&mut self) -> Vec<VarBind> {
        let mut seen: Vec<VarBind> = Vec::new();
        let mut at = vec![1, 3];
        loop {
            let mut pdu = self.ask(Ask::Next, &[&at]);
            let binding = pdu.variable_bindings.pop().unwrap();
            if pdu.error_status == 2 || binding.value == VarBindValue::EndOfMibView {
                return seen;
            }
            assert!(binding.name.as_ref() > at.as_slice(), "{} follows {at:?}", binding.name);
            at = binding.name.to_vec();
            seen.push(binding);
        }
    }
}

pub(super) fn counters(customers: u32) -> Counters {
    let counters = Counters::new(3, 1_794_000_000_000);
    for id in [9, 4, 0, 70_000] {
        let exporter = Exporter::new(format!("router {id}"), [192, 0, 2, 1].into());
        exporter.ledger_id.store(id, Relaxed);
        counters.exporters.write().unwrap().push(Arc::new(exporter));
    }
    let volume = Volume { in_octets: u64::MAX, out_octets: 1 << 40, in_packets: 3, out_packets: 4 };
    let link = |id| LinkRow { id, name: format!("link {id}"), kind: "upstream".into(), volume };
    let customer = |n: u32| CustomerRow {
        id: 3 * n + 1,
        name: format!("customer {n}"),
        volume,
        month_in_octets: 1 << 50,
        month_out_octets: n.into(),
    };
    let links = vec![link(1), link(300)];
    counters.volumes.store(Arc::new(Volumes { links, customers: (0..customers).map(customer).collect() }));
    others(&counters);
    counters
}

/// Rows in the other tables: of exporter 4, of link 300 and of customer 1.
fn others(counters: &Counters) {
    let field = Field { enterprise: 0, element: 1, length: 8 };
    let template = |session, id| Template {
        session,
        domain: u32::MAX,
        id,
        is_options: false,
        defined_at: 1,
        records: 1,
        scopes: 0,
        fields: vec![field; 3].into(),
    };
    let transport = |session| Transport { session, version: 10, ..Transport::default() };
    let sampler = |kind, number| Sampler { domain: 1, kind, number, rate: (1000, 1) };
    let session = Some(Session(u16::MAX));
    let memory = Memory {
        samplers: vec![sampler(Sampled::Domain, 0), sampler(Sampled::Other, u64::MAX)],
        transports: vec![transport(None), transport(session)],
        templates: vec![template(None, 256), template(None, 65_535), template(session, 256)],
    };
    counters.exporters.read().unwrap()[1].memory.store(Arc::new(memory));
    let card = |card| CardRow { exporter: "router 4".into(), exporter_id: 4, card, ..CardRow::default() };
    let link = ReconciledRow { link: 300, ..ReconciledRow::default() };
    let polled = PolledRow { exporter: "router 4".into(), ..PolledRow::default() };
    let cards = vec![card(1), card(2)];
    counters.managed.store(Arc::new(Managed { polled: vec![polled], cards, reconciled: vec![link] }));
    let allowance = AllowanceRow { customer_id: 1, ..AllowanceRow::default() };
    counters.billing.allowances.store(Arc::new(vec![allowance]));
    let period = PeriodRow { customer: 1, month: 202_611, ..PeriodRow::default() };
    let tariffs = vec![TariffRow::default()];
    counters.books.store(Arc::new(Books { tariffs, periods: vec![period], ..Books::default() }));
}

impl Statistics {
    /// What can become of a message: each one counts in exactly one of these.
    pub(super) fn fates(&self) -> [u32; 17] {
        let Self {
            in_packets: _,
            in_bad_versions,
            in_bad_community_names,
            in_bad_community_uses: _,
            in_asn_parse_errors,
            silent_drops,
            unknown_security_models,
            invalid_messages,
            unknown_pdu_handlers,
            refused_sources,
            limited,
            responses,
            reports: _,
            unsupported_sec_levels,
            not_in_time_windows,
            unknown_user_names,
            unknown_engine_ids,
            wrong_digests,
            decryption_errors,
            unknown_contexts,
        } = *self;
        [
            in_bad_versions,
            in_bad_community_names,
            in_asn_parse_errors,
            silent_drops,
            unknown_security_models,
            invalid_messages,
            unknown_pdu_handlers,
            refused_sources,
            limited,
            responses,
            unsupported_sec_levels,
            not_in_time_windows,
            unknown_user_names,
            unknown_engine_ids,
            wrong_digests,
            decryption_errors,
            unknown_contexts,
        ]
    }
}

/// `whole` with some octets changed, cut out, or put in: a step of a generator of random numbers.
pub(super) fn mutated(whole: &[u8], seed: &mut u64) -> Vec<u8> {
    let mut random = |below: usize| {
        // Knuth's generator; the upper bits are good enough here.
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*seed >> 33).unwrap() % below.max(1)
    };
    let mut octets = whole.to_vec();
    for _ in 0..=random(3) {
        let at = random(octets.len());
        let octet = u8::try_from(random(256)).unwrap();
        match (random(8), octets.get_mut(at)) {
            (0, Some(_)) => drop(octets.remove(at)),
            (1, _) => octets.insert(at, octet),
            (2, _) => octets.truncate(at),
            (3, Some(here)) => *here = [0, 1, 0x7f, 0x80, 0xff, 0x84][random(6)],
            (4, Some(here)) => *here ^= 1 << random(8),
            (_, Some(here)) => *here = octet,
            (_, None) => octets.push(octet),
        }
    }
    octets
}

/// Objects that move by being asked for.
fn is_moving(name: &[u32]) -> bool {
    let snmp = [1, 3, 6, 1, 2, 1, 11];
    name.starts_with(&snmp) || name.starts_with(&[objects::ROOT, &[1, 7]].concat())
}

#[test]
fn walks_are_whole_ordered_and_agree() {
    // 7 columns of 5000 customers, and the rest.
    let mut asker = Asker::new(counters(5000));
    asker.request_id = 7;
    let all = asker.walk();
    let under = |name: &str| {
        let leaf = tree().named(name).unwrap().oid.clone();
        all.iter().filter(|binding| binding.name.as_ref().starts_with(&leaf)).count()
    };
    assert_eq!(under("fluxCustomerName"), 5000);
    assert_eq!(under("fluxCustomerMonthOutOctets"), 5000);
    assert_eq!((under("fluxExporterName"), under("fluxLinkKind"), under("fluxProcessorHeld")), (3, 2, 3));
    assert_eq!((under("fluxContentionWaits"), under("sysUpTime"), under("sysORDescr")), (11, 1, 8));
    assert_eq!((under("ipfixTemplateDefinitionIeId"), under("fluxSamplerName")), (9, 2));
    // No leaf without an instance, but for those of what has happened, and those that the default view hides.
    let is_hidden = |oid: &[u32]| {
        oid.starts_with(&[1, 3, 6, 1, 6, 3, 16]) || oid.starts_with(&[1, 3, 6, 1, 6, 3, 15, 1, 2])
    };
    for leaf in tree().leaves() {
        let is_empty = leaf.rows == tree::Rows::History || is_hidden(&leaf.oid);
        assert_eq!(under(leaf.name) == 0, is_empty, "{}", leaf.name);
    }

    // GETBULK sees the same, in the same order.
    let mut bulk: Vec<VarBind> = Vec::new();
    let mut at = vec![1, 3];
    while bulk.last().is_none_or(|binding| binding.value != VarBindValue::EndOfMibView) {
        let answer = asker.ask(Ask::Bulk(0, 1000), &[&at]).variable_bindings;
        assert!(!answer.is_empty());
        bulk.extend(answer);
        at = bulk.last().unwrap().name.to_vec();
    }
    bulk.retain(|binding| binding.value != VarBindValue::EndOfMibView);
    assert_eq!(bulk.len(), all.len());
    for (bulk, next) in bulk.iter().zip(&all) {
        assert!(bulk == next || (bulk.name == next.name && is_moving(&next.name)), "{bulk:?}, {next:?}");
    }

    // And GET has each of them.
    for next in &all {
        let mut pdu = asker.ask(Ask::Get, &[&next.name]);
        let got = pdu.variable_bindings.pop().unwrap();
        assert!(got == *next || (got.name == next.name && is_moving(&next.name)), "{got:?}, {next:?}");
    }

    // Version 1 walks over Counter64 without a gap.
    asker.version = 0;
    let narrow: Vec<_> = asker.walk().into_iter().map(|binding| binding.name).collect();
    let is_wide = |value: &VarBindValue| {
        use rasn_smi::v2::ApplicationSyntax::BigCounter;
        matches!(value, VarBindValue::Value(ObjectSyntax::ApplicationWide(BigCounter(_))))
    };
    let expected: Vec<_> = all.into_iter().filter(|one| !is_wide(&one.value)).map(|one| one.name).collect();
    assert_eq!(narrow, expected);
}

#[test]
fn rows_out_of_order_do_not_make_walks_loop() {
    let mut volumes = Volumes::clone(&counters(3).volumes.load());
    volumes.customers.reverse();
    volumes.customers.push(volumes.customers[0].clone());
    let counters = counters(0);
    counters.volumes.store(Arc::new(volumes));
    let mut asker = Asker::new(counters);
    let name = tree().named("fluxCustomerName").unwrap().oid.clone();
    let walk = asker.walk();
    let names: Vec<_> = walk.iter().filter_map(|binding| binding.name.strip_prefix(&name[..])).collect();
    assert_eq!(names, [[1], [4], [7]]);
}

#[test]
fn an_empty_program_can_be_walked() {
    let mut asker = Asker::new(Counters::new(0, 0));
    assert!(asker.walk().len() > 50);
}

#[test]
fn lists_follow_what_happens() {
    let mut asker = Asker::new(counters(1));
    let shared = Arc::clone(&asker.agent.counters);
    let instance = |name: &str, index: u32| [tree().named(name).unwrap().oid.clone(), vec![index]].concat();
    let known = |asker: &mut Asker, name: &[u32]| {
        !matches!(asker.ask(Ask::Get, &[name]).variable_bindings[0].value, VarBindValue::NoSuchInstance)
    };
    let (exporter, customer) = (instance("fluxExporterName", 11), instance("fluxCustomerName", 4));
    assert!(!known(&mut asker, &exporter) && !known(&mut asker, &customer));
    let late = Exporter::new("late".into(), [192, 0, 2, 9].into());
    late.ledger_id.store(11, Relaxed);
    shared.exporters.write().unwrap().push(Arc::new(late));
    // A commit shows at once, exporters within a second.
    shared.volumes.store(counters(2).volumes.load_full());
    assert!(known(&mut asker, &customer));
    asker.uptime += Duration::from_secs(1);
    // But not while somebody writes: the agent does not wait.
    {
        let _writer = shared.exporters.write().unwrap();
        assert!(!known(&mut asker, &exporter));
    }
    assert!(known(&mut asker, &exporter));
}

/// GET of sysUpTime.0 by SNMPv2c with the community "see" and the request-id 7.
const GET: &[u8] = b"\x30\x23\x02\x01\x01\x04\x03see\xa0\x19\x02\x01\x07\x02\x01\x00\x02\x01\x00\
    \x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x03\x00\x05\x00";

#[test]
fn forms_that_snmp_prohibits_are_no_messages() {
    let mut asker = Asker::new(counters(1));
    asker.request_id = 7;
    assert!(asker.send(GET).is_some());
    // RFC 3417, 8: lengths are definite, what is not a sequence is in one piece.
    let (version, community, pdu) = (&GET[2..5], &GET[5..10], &GET[10..]);
    let framed = |parts: &[&[u8]]| {
        let content = parts.concat();
        [&[0x30, u8::try_from(content.len()).unwrap()][..], &content].concat()
    };
    let ends = &[0, 0][..];
    for prohibited in [
        [&[0x30, 0x80][..], version, community, pdu, ends].concat(),
        framed(&[version, b"\x24\x05\x04\x03see", pdu]),
        framed(&[version, b"\x24\x80\x04\x03see", ends, pdu]),
        framed(&[version, community, &[0xa0, 0x80], &pdu[2..], ends]),
        framed(&[
            version,
            community,
            b"\xa0\x1b",
            &pdu[2..11],
            b"\x30\x10\x30\x0e\x26\x0a",
            &pdu[15..25],
            &pdu[25..],
        ]),
    ] {
        check_refused(&mut asker, &prohibited, |statistics| &mut statistics.in_asn_parse_errors);
    }
}

#[test]
fn global_data_of_version_3_has_four_elements() {
    let mut asker = Asker::new(counters(1));
    let now = Now { wall: UnixMillis(1_795_000_000_000), uptime: asker.uptime };
    // Discovery: number 7, 1472 octets, reportable, USM; no engine, no user; an empty GET.
    let message = |global: &[u8]| {
        let global = [&[0x30, u8::try_from(global.len()).unwrap()][..], global].concat();
        let parameters = b"\x04\x10\x30\x0e\x04\0\x02\x01\0\x02\x01\0\x04\0\x04\0\x04\0";
        let scoped = b"\x30\x11\x04\0\x04\0\xa0\x0b\x02\x01\x07\x02\x01\0\x02\x01\0\x30\0";
        let content = [&b"\x02\x01\x03"[..], &global, parameters, scoped].concat();
        [&[0x30, u8::try_from(content.len()).unwrap()][..], &content].concat()
    };
    let four = b"\x02\x01\x07\x02\x02\x05\xc0\x04\x01\x04\x02\x01\x03";
    assert!(asker.agent.respond(now, asker.source, &message(four), &mut asker.out));
    let five = [&four[..], b"\x02\x01\0"].concat();
    check_refused(&mut asker, &message(&five), |statistics| &mut statistics.in_asn_parse_errors);
}

#[test]
fn what_cannot_be_sent_is_a_failure() {
    // The kernel refuses to broadcast for who did not ask for that.
    let target = Target {
        address: ([255, 255, 255, 255], 9).into(),
        protocol: Protocol::V2c { community: "public".into(), inform: false },
    };
    let config = Config { notify: vec![target], ..Config::default() };
    let mut agent = Agent::new(config, Arc::new(counters(1))).unwrap();
    agent.notify(Duration::ZERO, COLD_START.to_vec(), &[]);
    assert_eq!((agent.sender.sent, agent.sender.failed), (0, 1));
}

#[test]
fn who_is_to_send_traps_has_to_be_known() {
    let target = |user: &str| Target {
        address: ([192, 0, 2, 9], 162).into(),
        protocol: Protocol::V3 { user: user.into() },
    };
    let config = Config { notify: vec![target("a"), target("b")], ..Config::default() };
    assert_eq!(config.unknown_senders(&["a", "c"]), ["b"]);
}

/// Sends `request` and checks that there is no answer and that exactly these counters moved.
#[track_caller]
fn check_refused(asker: &mut Asker, request: &[u8], counted: fn(&mut Statistics) -> &mut u32) {
    let mut expected = asker.agent.statistics;
    expected.in_packets += 1;
    *counted(&mut expected) += 1;
    assert_eq!(asker.send(request), None);
    assert_eq!(asker.agent.statistics, expected);
}

#[test]
fn what_gets_no_answer_is_counted() {
    let name: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 3, 0];
    let mut asker = Asker::new(counters(1));
    let good = asker.encode(Ask::Get, &[name]);
    check_refused(&mut asker, &[], |statistics| &mut statistics.in_asn_parse_errors);
    check_refused(&mut asker, b"\x30\x03\x02\x01\x07", |statistics| &mut statistics.in_bad_versions);
    for end in 0..good.len() {
        check_refused(&mut asker, &good[..end], |statistics| &mut statistics.in_asn_parse_errors);
    }
    for community in [&b""[..], b"se", b"seer", b"SEE", b"\xff"] {
        asker.community = community.to_vec();
        let request = asker.encode(Ask::Get, &[name]);
        check_refused(&mut asker, &request, |statistics| &mut statistics.in_bad_community_names);
    }
    asker.community = b"look".to_vec();
    assert_eq!(asker.ask(Ask::Get, &[name]).error_status, 0);
    assert_eq!(asker.agent.statistics.responses, 1);
    // A response is nothing to respond to.
    let echo = asker.out.clone();
    check_refused(&mut asker, &echo, |statistics| &mut statistics.unknown_pdu_handlers);
    // Without communities nobody is known.
    let nobody = Config { communities: Vec::new(), ..asker.agent.config.clone() };
    asker.agent.gate().reload(&nobody, &Keys::default());
    check_refused(&mut asker, &good, |statistics| &mut statistics.in_bad_community_names);
}

#[test]
fn only_listed_sources_are_heard() {
    let prefix = |address: &str, length| Prefix { address: address.parse().unwrap(), length };
    let mut asker = Asker::new(counters(1));
    let request = asker.encode(Ask::Get, &[&[1, 3, 6, 1, 2, 1, 1, 3, 0]]);
    asker.agent.config.sources = vec![prefix("192.0.2.128", 25), prefix("2001:db8::", 33)];
    for source in ["192.0.2.127", "192.0.3.128", "127.0.0.1", "2001:db8:8000::", "::1", "::ffff:192.0.2.1"] {
        asker.source.set_ip(source.parse().unwrap());
        check_refused(&mut asker, &request, |statistics| &mut statistics.refused_sources);
    }
    for source in ["192.0.2.128", "192.0.2.255", "2001:db8:7fff:ffff::1", "::ffff:192.0.2.200"] {
        asker.source.set_ip(source.parse().unwrap());
        assert!(asker.send(&request).is_some(), "{source}");
    }
    asker.agent.config.sources = vec![prefix("0.0.0.0", 0)];
    for (source, heard) in [("203.0.113.9", true), ("2001:db8::1", false)] {
        asker.source.set_ip(source.parse().unwrap());
        assert_eq!(asker.send(&request).is_some(), heard);
    }
}

#[test]
fn a_source_is_sent_only_so_much() {
    let mut asker = Asker::new(counters(5000));
    let request = asker.encode(Ask::Bulk(0, 1000), &[&tree().named("fluxCustomerName").unwrap().oid]);
    asker.source.set_ip([203, 0, 113, 9].into());
    let mut octets = 0;
    while asker.send(&request).is_some() {
        octets += asker.out.len();
    }
    // The burst of 4 MiB, and at most one response more.
    assert!((4 << 20..(4 << 20) + 1472).contains(&octets), "{octets}");
    assert_eq!(asker.agent.statistics.limited, 1);
    // Half a second buys half a MiB.
    asker.uptime += Duration::from_millis(500);
    let mut octets = 0;
    while asker.send(&request).is_some() {
        octets += asker.out.len();
    }
    assert!(octets.abs_diff(1 << 19) <= 2 * 1472, "{octets}");
    // Loopback cannot be forged from outside.
    asker.source.set_ip([127, 0, 0, 1].into());
    assert!(asker.send(&request).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, it is counted once, and an answer is a message that fits.
    #[test]
    fn every_datagram_is_accounted_for(
        version in 0u64..2,
        ask in prop_oneof![
            Just(Ask::Get),
            Just(Ask::Next),
            Just(Ask::Set),
            (0u32..5, any::<u32>()).prop_map(|(single, many)| Ask::Bulk(single, many >> 1)),
        ],
        names in prop::collection::vec(prop::sample::select(NAMES), 0..30),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut asker = Asker::new(counters(3));
        asker.version = version;
        let mut request = asker.encode(ask, &names);
        for (at, octet) in changes {
            let at = at.index(request.len());
            request[at] = octet;
        }
        let now = Now { wall: UnixMillis(1_795_000_000_000), uptime: asker.uptime };
        let answered = asker.agent.respond(now, asker.source, &request, &mut asker.out);
        let statistics = asker.agent.statistics;
        prop_assert_eq!((statistics.in_packets, statistics.fates().iter().sum::<u32>()), (1, 1));
        prop_assert_eq!(statistics.responses == 1, answered && statistics.reports == 0);
        if answered {
            prop_assert!(asker.out.len() <= 1472);
            prop_assert!(ber::decode::<v2c::Message<Response>>(&asker.out).is_ok());
        }
    }
}

/// Names of all kinds: above everything, objects, instances, nothing, past the end.
const NAMES: &[&[u32]] = &[
    &[0, 0],
    &[1, 3, 6, 1, 2, 1, 1, 1, 0],
    &[1, 3, 6, 1, 2, 1, 1, 3],
    &[1, 3, 6, 1, 4, 1, 32473, 2055, 1, 5, 1, 3, 4],
    &[1, 3, 6, 1, 4, 1, 32473, 2055, 1, 5, 1, 3, 5],
    &[1, 3, 6, 1, 4, 1, 32473, 2055, 1, 3, 1, 7],
    &[2, 999, 3],
];
