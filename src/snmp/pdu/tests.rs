//! What the operations answer, by the letter of RFC 1157, 3416 and 3584.

use rasn_snmp::v2::VarBindValue::{self, EndOfMibView, NoSuchInstance, NoSuchObject};

use super::super::tests::{Ask, Asker, counters};
use super::super::{objects, tree};
use super::*;

const UPTIME: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 3, 0];
const LAST: &[u32] = &[1, 3, 6, 1, 6, 3, 15, 1, 1, 6, 0];

fn instance(name: &str, index: u32) -> Vec<u32> {
    [tree().named(name).unwrap().oid.clone(), vec![index]].concat()
}

fn values(pdu: Pdu) -> Vec<VarBindValue> {
    assert_eq!((pdu.error_status, pdu.error_index), (0, 0));
    pdu.variable_bindings.into_iter().map(|binding| binding.value).collect()
}

#[test]
fn get_says_what_is_missing() {
    let mut asker = Asker::new(counters(2));
    let check = |asker: &mut Asker, name: &[u32], expected: VarBindValue| {
        assert_eq!(values(asker.ask(Ask::Get, &[UPTIME, name]))[1], expected, "{name:?}");
        asker.version = 0;
        let pdu = asker.ask(Ask::Get, &[UPTIME, name]);
        asker.version = 1;
        // noSuchName, and the request's bindings.
        assert_eq!((pdu.error_status, pdu.error_index), (2, 2));
        assert!(pdu.variable_bindings.iter().all(|binding| binding.value == VarBindValue::Unspecified));
        assert_eq!(&pdu.variable_bindings[1].name[..], name);
    };
    // sysUpTime without an instance, and with the wrong one.
    check(&mut asker, &UPTIME[..8], NoSuchInstance);
    check(&mut asker, &[UPTIME, &[0]].concat(), NoSuchInstance);
    check(&mut asker, &[1, 3, 6, 1, 2, 1, 1, 3, 1], NoSuchInstance);
    check(&mut asker, &[1, 3, 6, 1, 2, 1, 1, 99, 0], NoSuchObject);
    check(&mut asker, &[1, 3], NoSuchObject);
    check(&mut asker, &[2, 999, 1], NoSuchObject);
    check(&mut asker, &instance("fluxCustomerName", 2), NoSuchInstance);
    check(&mut asker, &instance("fluxCustomerName", u32::MAX), NoSuchInstance);
    // The index is no object to read.
    check(&mut asker, &[objects::ROOT, &[1, 5, 1, 1, 1]].concat(), NoSuchObject);
    // 12 s since the start.
    let expected = VarBindValue::Value(rasn_smi::v1::TimeTicks(1200).into());
    assert_eq!(values(asker.ask(Ask::Get, &[UPTIME])), [expected]);
    assert_eq!(values(asker.ask(Ask::Get, &[])), []);
}

#[test]
fn version_1_has_no_counter64() {
    let mut asker = Asker::new(counters(2));
    asker.version = 0;
    let pdu = asker.ask(Ask::Get, &[&instance("fluxCustomerInOctets", 1)]);
    assert_eq!((pdu.error_status, pdu.error_index), (2, 1));
    // The last name of customers is followed by four columns of Counter64, two of month gauges, then contention.
    let pdu = asker.ask(Ask::Next, &[&instance("fluxCustomerName", 4)]);
    assert_eq!(&pdu.variable_bindings[0].name[..], instance("fluxContentionName", 1));
    let pdu = asker.ask(Ask::Next, &[UPTIME, LAST]);
    assert_eq!((pdu.error_status, pdu.error_index), (2, 2));
}

#[test]
fn get_next_starts_anywhere() {
    let mut asker = Asker::new(counters(3));
    let mut check = |name: &[u32], expected: &[u32]| {
        let pdu = asker.ask(Ask::Next, &[name]);
        assert_eq!(&pdu.variable_bindings[0].name[..], expected, "{name:?}");
    };
    check(&[0, 0], &[1, 3, 6, 1, 2, 1, 1, 1, 0]);
    check(&UPTIME[..8], UPTIME);
    check(UPTIME, &[1, 3, 6, 1, 2, 1, 1, 4, 0]);
    check(&[UPTIME, &[7, 7]].concat(), &[1, 3, 6, 1, 2, 1, 1, 4, 0]);
    // Customers 1, 4 and 7: between rows, below a row, past the last.
    check(&instance("fluxCustomerName", 2), &instance("fluxCustomerName", 4));
    check(&[instance("fluxCustomerName", 4), vec![0]].concat(), &instance("fluxCustomerName", 7));
    check(&instance("fluxCustomerName", u32::MAX), &instance("fluxCustomerInOctets", 1));
    check(&[objects::ROOT, &[1, 5]].concat(), &instance("fluxCustomerName", 1));
    let pdu = asker.ask(Ask::Next, &[LAST]);
    assert_eq!(pdu.variable_bindings[0].value, EndOfMibView);
    assert_eq!(&pdu.variable_bindings[0].name[..], LAST);
}

#[test]
fn get_bulk_repeats_and_stops() {
    let mut asker = Asker::new(counters(3));
    let names = |pdu: Pdu| -> Vec<Vec<u32>> {
        assert_eq!((pdu.error_status, pdu.error_index), (0, 0));
        pdu.variable_bindings.iter().map(|binding| binding.name.to_vec()).collect()
    };
    let customer = |index| instance("fluxCustomerName", index);
    let link = |index| instance("fluxLinkName", index);
    let asked: [&[u32]; 3] = [&UPTIME[..8], &customer(0), &link(0)];
    let got = names(asker.ask(Ask::Bulk(1, 2), &asked));
    assert_eq!(got, [UPTIME.to_vec(), customer(1), link(1), customer(4), link(300)]);
    assert_eq!(names(asker.ask(Ask::Bulk(3, 50), &asked)), [UPTIME.to_vec(), customer(1), link(1)]);
    assert_eq!(names(asker.ask(Ask::Bulk(9, 50), &asked)), [UPTIME.to_vec(), customer(1), link(1)]);
    assert_eq!(names(asker.ask(Ask::Bulk(1, 0), &asked)), [UPTIME.to_vec()]);
    assert!(names(asker.ask(Ask::Bulk(0, 50), &[])).is_empty());
    // Past the end one repetition is enough.
    let pdu = asker.ask(Ask::Bulk(0, 2_147_483_647), &[LAST, LAST]);
    assert_eq!(values(pdu), [EndOfMibView, EndOfMibView]);
    // As much as fits: the next binding would not have.
    let pdu = asker.ask(Ask::Bulk(0, 2_147_483_647), &[&[1, 3]]);
    assert!(pdu.variable_bindings.len() > 20);
    assert!(asker.out.len() > message::RESPONSE_OCTETS_MAX - 100, "{}", asker.out.len());
}

#[test]
fn negative_bulk_numbers_are_zero() {
    let mut asker = Asker::new(counters(3));
    let mut request = asker.encode(Ask::Bulk(1, 1), &[&UPTIME[..8], LAST]);
    // The two numbers are 02 01 01 each, after the request-id 02 01 f9 (-7).
    let at = request.windows(9).position(|octets| octets == [2, 1, 0xf9, 2, 1, 1, 2, 1, 1]).unwrap();
    request[at + 5] = 0x80;
    let pdu = asker.send(&request).unwrap();
    assert_eq!(pdu.variable_bindings.len(), 2);
    request[at + 8] = 0xff;
    assert_eq!(asker.send(&request).unwrap().variable_bindings, []);
}

#[test]
fn nothing_can_be_set() {
    let mut asker = Asker::new(counters(1));
    for (version, status) in [(0, 2), (1, 6)] {
        asker.version = version;
        // sysContact is writable by its MIB; the last does not exist.
        for name in [&[1, 3, 6, 1, 2, 1, 1, 4, 0][..], UPTIME, &[1, 3, 9]] {
            let pdu = asker.ask(Ask::Set, &[name, UPTIME]);
            assert_eq!((pdu.error_status, pdu.error_index), (status, 1));
            let expected: VarBindValue = VarBindValue::Value(5i32.into());
            assert!(pdu.variable_bindings.iter().all(|binding| binding.value == expected));
        }
    }
    assert_eq!(asker.agent.statistics.in_bad_community_uses, 6);
}

#[test]
fn what_does_not_fit_is_too_big() {
    let mut asker = Asker::new(counters(1));
    // sysDescr has more than 40 octets: 60 of them with their names are more than 1472.
    let description: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 1, 0];
    let names = vec![description; 60];
    for ask in [Ask::Get, Ask::Next] {
        let pdu = asker.ask(ask, &names);
        assert_eq!((pdu.error_status, pdu.error_index, pdu.variable_bindings.len()), (1, 0, 0));
    }
    // Version 1 sends the request's bindings back.
    asker.version = 0;
    let pdu = asker.ask(Ask::Get, &names);
    assert_eq!((pdu.error_status, pdu.error_index, pdu.variable_bindings.len()), (1, 0, 60));
    // Which may be too long themselves: then nothing is said, and that is counted.
    let names = vec![description; 200];
    let request = asker.encode(Ask::Get, &names);
    assert_eq!(asker.send(&request), None);
    assert_eq!(asker.agent.statistics.silent_drops, 1);
    asker.version = 1;
    let pdu = asker.ask(Ask::Set, &names);
    assert_eq!((pdu.error_status, pdu.error_index, pdu.variable_bindings.len()), (1, 0, 0));
}

#[test]
fn what_is_not_in_the_view_costs_nothing_to_pass_over() {
    // Customers 1, 4, ... 14 998, of which a view has one, and one that is not there.
    let mut asker = Asker::new(counters(5000));
    let name = |index| instance("fluxCustomerName", index);
    let rules = super::super::ViewRules { include: vec![name(2), name(14_998)], exclude: Vec::new() };
    let scope = super::super::access::Scope::new(rules, &asker.agent.tree);
    let now = super::super::Now {
        wall: crate::units::UnixMillis(1_795_000_000_000),
        uptime: core::time::Duration::ZERO,
    };
    asker.agent.lists.refresh(&asker.agent.counters, now);
    let agent = &asker.agent;
    let here = super::super::snapshot::Here {
        config: &agent.config,
        counters: &agent.counters,
        statistics: &agent.statistics,
        engine: &agent.engine,
        told: None,
    };
    let view = View::new(now, here, &scope, &agent.lists);
    let (found, _) = agent.tree.next(&view, &name(0)[..13], true).expect("the one");
    assert_eq!(found, name(14_998));
    // Rows 1 (nothing), 4 (where the view has 2), 14 998.
    assert_eq!(view.looks(), 3);
    assert_eq!(agent.tree.next(&view, &name(4), true).expect("the one").0, name(14_998));
    assert_eq!(view.looks(), 5);
    assert!(agent.tree.next(&view, &name(14_998), true).is_none());

    // More names than any answer holds are not looked for: 211 of 7 octets are 1477.
    let message = |names: usize| {
        let request = asker.encode(Ask::Next, &vec![&[1u32, 3][..]; names]);
        Message::decode(&request, Version::V1).unwrap()
    };
    let before = view.looks();
    assert!(respond(&asker.agent.tree, &view, &message(3000)).is_none());
    assert!(respond(&asker.agent.tree, &view, &message(211)).is_none());
    assert_eq!(view.looks(), before);
}

#[test]
fn what_gets_no_answer_is_charged_all_the_same() {
    let mut asker = Asker::new(counters(1));
    asker.version = 0;
    asker.source.set_ip([203, 0, 113, 9].into());
    let request = asker.encode(Ask::Next, &vec![UPTIME; 3000]);
    // As many as fill 4 MiB; the last may go beyond.
    let heard = (4usize << 20).div_ceil(request.len());
    for _ in 0..heard {
        assert_eq!(asker.send(&request), None);
    }
    assert_eq!(asker.agent.statistics.limited, 0);
    assert_eq!(asker.send(&request), None);
    assert_eq!((asker.agent.statistics.limited, asker.agent.statistics.silent_drops as usize), (1, heard));
}
