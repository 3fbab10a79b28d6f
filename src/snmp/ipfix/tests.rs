//! IPFIX-MIB out of messages that were put together by hand.

use core::time::Duration;
use std::sync::Arc;

use super::super::access::{Scope, ViewRules};
use super::super::engine::Engine;
use super::super::snapshot::{Here, Lists, View};
use super::super::tree::{Found, Value};
use super::super::{Config, Now, Statistics, tree};
use crate::counters::{Counters, Exporter, Memory};
use crate::decode::{Decoded, ExporterDecoder, Limits};
use crate::ids::{ExporterId, Session};
use crate::units::UnixMillis;

const TIME: i64 = 1_700_000_000_000;

/// A message of IPFIX (RFC 7011 3.1) of domain 5 with these sets.
fn ipfix(number: u32, sets: &[(u16, &[u16])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, words) in sets {
        body.extend(id.to_be_bytes());
        body.extend(u16::try_from(4 + 2 * words.len()).unwrap().to_be_bytes());
        body.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    }
    let mut out = 10_u16.to_be_bytes().to_vec();
    out.extend(u16::try_from(16 + body.len()).unwrap().to_be_bytes());
    for word in [u32::try_from(TIME / 1000).unwrap(), number, 5] {
        out.extend(word.to_be_bytes());
    }
    out.extend(body);
    out
}

/// Octets (element 1, 8 octets) and a private element 2 of enterprise 9 with 4; of options, element 149 is the scope.
const TEMPLATE: (u16, &[u16]) = (2, &[256, 2, 1, 8, 0x8002, 4, 0, 9]);
const OPTIONS: (u16, &[u16]) = (3, &[257, 2, 1, 149, 4, 34, 4]);
const RECORDS: (u16, &[u16]) = (256, &[0, 0, 0, 100, 0, 1, 0, 0, 0, 200, 0, 1]);

struct Shown {
    counters: Counters,
    lists: Lists,
    now: Now,
}

impl Shown {
    fn get(&self, name: &str, index: &[u32]) -> Found {
        let (config, tree, statistics) = (Config::default(), tree(), Statistics::default());
        let scope = Scope::new(ViewRules::standard(), &tree);
        let engine = Engine::new(vec![0x80, 0, 0, 0, 1], 1);
        let counters = &self.counters;
        let here = Here { config: &config, counters, statistics: &statistics, engine: &engine, told: None };
        let view = View::new(self.now, here, &scope, &self.lists);
        let oid = [&tree.named(name).unwrap().oid[..], index].concat();
        tree.get(&view, &oid)
    }

    fn check(&self, name: &str, index: &[u32], expected: Value) {
        assert_eq!(self.get(name, index), Found::Value(expected), "{name} {index:?}");
    }
}

#[test]
fn sessions_templates_and_their_statistics() {
    let mut decoder = ExporterDecoder::new();
    let (limits, mut out) = (Limits::default(), Decoded::default());
    let mut take = |session: Option<Session>, message: &[u8]| {
        let (exporter, at) = (ExporterId(0), UnixMillis(TIME));
        match session {
            None => drop(decoder.datagram(exporter, &limits, at, message, &mut out)),
            Some(session) => drop(decoder.message(session, exporter, &limits, at, message, &mut out)),
        }
    };
    let first = ipfix(0, &[TEMPLATE, OPTIONS, RECORDS]);
    take(None, &first);
    take(None, &first); // A duplicate.
    take(None, &ipfix(2, &[TEMPLATE, RECORDS]));
    let gap = ipfix(9, &[RECORDS]); // Five records are missing: a gap.
    take(None, &gap);
    let broken = ipfix(11, &[(256, &[0, 0, 0, 1, 0, 0]), (4, &[])]);
    take(None, &broken);
    take(Some(Session(3)), &ipfix(0, &[TEMPLATE]));
    let (transports, templates) = decoder.remembered();

    let exporter = Exporter::new("ce1".into(), "192.0.2.1".parse().unwrap());
    exporter.ledger_id.store(7, core::sync::atomic::Ordering::Relaxed);
    exporter.memory.store(Arc::new(Memory { samplers: Vec::new(), transports, templates }));
    let counters = Counters::new(1, 0);
    counters.processors[0].template_lifetime_seconds.store(1800, core::sync::atomic::Ordering::Relaxed);
    counters.exporters.write().unwrap().push(Arc::new(exporter));
    let mut lists = Lists::default();
    let now = Now { wall: UnixMillis(TIME), uptime: Duration::from_secs(1) };
    lists.refresh(&counters, now);
    let mut shown = Shown { counters, lists, now };

    // 2^31 + 7 * 2^16 + 3.
    let tcp = 2_147_942_403;
    shown.check("ipfixTransportSessionProtocol", &[7], Value::Gauge32(17));
    shown.check("ipfixTransportSessionProtocol", &[tcp], Value::Gauge32(6));
    shown.check("ipfixTransportSessionSourceAddress", &[7], Value::Octets(vec![192, 0, 2, 1]));
    shown.check("ipfixTransportSessionTemplateRefreshTimeout", &[7], Value::Gauge32(1800));
    shown.check("ipfixTransportSessionTemplateRefreshTimeout", &[tcp], Value::Gauge32(0));
    shown.check("ipfixTransportSessionIpfixVersion", &[7], Value::Gauge32(10));
    shown.check("ipfixTransportSessionStatus", &[7], Value::Integer(2));
    shown.check("ipfixTransportSessionMessages", &[7], Value::Counter64(5));
    let octets = 2 * first.len() + ipfix(2, &[TEMPLATE, RECORDS]).len() + gap.len() + broken.len();
    shown.check("ipfixTransportSessionBytes", &[7], Value::Counter64(octets as u64));
    // The duplicate, the gap, and the broken one.
    shown.check("ipfixTransportSessionDiscardedMessages", &[7], Value::Counter64(3));
    shown.check("ipfixTransportSessionRecords", &[7], Value::Counter64(7));
    shown.check("ipfixTransportSessionTemplates", &[7], Value::Counter64(2));
    shown.check("ipfixTransportSessionOptionsTemplates", &[7], Value::Counter64(1));
    shown.check("ipfixTransportSessionTemplates", &[tcp], Value::Counter64(1));
    shown.check("ipfixTemplateDataRecords", &[7, 5, 256], Value::Counter64(7));
    shown.check("ipfixTemplateDataRecords", &[tcp, 5, 256], Value::Counter64(0));
    shown.check("ipfixTemplateSetId", &[7, 5, 256], Value::Gauge32(2));
    shown.check("ipfixTemplateSetId", &[7, 5, 257], Value::Gauge32(3));
    // 2023-11-14T22:13:20Z.
    let date = vec![0x07, 0xe7, 11, 14, 22, 13, 20, 0, b'+', 0, 0];
    shown.check("ipfixTemplateAccessTime", &[7, 5, 256], Value::Octets(date));
    shown.check("ipfixTemplateDefinitionIeId", &[7, 5, 256, 2], Value::Gauge32(2));
    shown.check("ipfixTemplateDefinitionIeLength", &[7, 5, 256, 1], Value::Gauge32(8));
    shown.check("ipfixTemplateDefinitionEnterpriseNumber", &[7, 5, 256, 2], Value::Gauge32(9));
    shown.check("ipfixTemplateDefinitionEnterpriseNumber", &[7, 5, 256, 1], Value::Gauge32(0));
    shown.check("ipfixTemplateDefinitionFlags", &[7, 5, 257, 1], Value::Octets(vec![0x80]));
    shown.check("ipfixTemplateDefinitionFlags", &[7, 5, 257, 2], Value::Octets(vec![0]));
    for index in
        [&[7, 5, 256, 0][..], &[7, 5, 256, 3], &[7, 5, 256], &[7, 6, 256, 1], &[], &[7, 5, 256, 1, 0]]
    {
        assert_eq!(shown.get("ipfixTemplateDefinitionIeId", index), Found::NoSuchInstance, "{index:?}");
    }
    // Silent for the 300 s of `alarm_silent`, to the millisecond, whatever the time of day was set to.
    for (after, wall, status) in
        [(299_999, TIME + 299_999, 2), (300_000, TIME + 300_000, 1), (299_999, i64::MAX, 2), (300_000, 0, 1)]
    {
        shown.now = Now { wall: UnixMillis(wall), uptime: Duration::from_millis(1_000 + after) };
        shown.check("ipfixTransportSessionStatus", &[7], Value::Integer(status));
        shown.check("ipfixTransportSessionStatus", &[tcp], Value::Integer(status));
    }
    // What GETNEXT finds after every beginning and every longer index is the first that is greater.
    let lists = &shown.lists;
    let all: Vec<_> = (0..lists.fields()).map(|row| lists.field_key(row)).collect();
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted());
    for asked in [
        vec![],
        vec![7],
        vec![7, 5],
        vec![7, 5, 256],
        vec![7, 5, 256, 1, 9],
        vec![7, 5, 256, 9],
        vec![8],
        vec![u32::MAX],
    ]
    .into_iter()
    .chain(all.iter().map(|key| key.to_vec()))
    {
        let expected = all.iter().position(|key| key.as_slice() > asked.as_slice()).unwrap_or(all.len());
        assert_eq!(lists.field_beyond(&asked), expected, "{asked:?}");
    }
}

/// An exporter that is set from IPFIX to NetFlow v9 and back: its session has the version that was heard last, and the
/// template that both have under one number is that version's, with its definition and its records.
#[test]
fn a_session_has_the_version_that_it_speaks_now() {
    let mut decoder = ExporterDecoder::new();
    let (limits, mut out) = (Limits::default(), Decoded::default());
    let (mut versions, mut shown) = (Vec::new(), Vec::new());
    let mut take = |after: i64, message: &[u8]| {
        let at = UnixMillis(TIME + after);
        decoder.datagram(ExporterId(0), &limits, at, message, &mut out).unwrap();
        let (transports, templates) = decoder.remembered();
        assert_eq!(transports.len(), 1);
        versions.push(transports[0].version);
        assert_eq!(transports[0].heard_at, at.0);
        let [template] = &templates[..] else { panic!("{templates:?}") };
        let fields: Vec<_> = template.fields.iter().map(|field| (field.element, field.length)).collect();
        shown.push((template.id, fields, template.records, template.defined_at - TIME));
    };
    take(0, &ipfix(0, &[TEMPLATE, RECORDS]));
    // NetFlow v9 (RFC 3954, 5): a template set with element 1 in 4 octets; count, uptime, seconds, number and source.
    let mut netflow9 = vec![0, 9, 0, 1, 0, 0, 0, 100];
    for word in [u32::try_from(TIME / 1000).unwrap(), 0, 5] {
        netflow9.extend(word.to_be_bytes());
    }
    netflow9.extend([0, 0, 0, 12, 1, 0, 0, 1, 0, 1, 0, 4]);
    take(1000, &netflow9);
    take(2000, &ipfix(2, &[RECORDS]));
    assert_eq!(versions, [10, 9, 10]);
    // Octets in 8 and 4 octets of element 2 of an enterprise, with two records a message; then one field and no record.
    let of_ipfix = vec![(1, 8), (2, 4)];
    assert_eq!(shown, [(256, of_ipfix.clone(), 2, 0), (256, vec![(1, 4)], 0, 1000), (256, of_ipfix, 4, 0)]);
}
