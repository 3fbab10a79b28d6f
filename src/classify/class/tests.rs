use proptest::prelude::*;

use super::*;
use crate::flow::{Address, Family};
use crate::units::Asn;

fn prefix(address: &str, length: u8) -> Prefix {
    Prefix { address: address.parse().expect("an address"), length }
}

/// A rule evaluated by its definition, without any table.
fn naive(rule: &FlowMatch, record: &FlowRecord, exporters: &HashMap<String, ExporterId>) -> bool {
    let any = |ranges: &[(u16, u16)], ports: &[u16]| {
        ranges.is_empty() || ports.iter().any(|p| ranges.iter().any(|(from, to)| (from..=to).contains(&p)))
    };
    let inside = |prefixes: &[Prefix], addresses: &[Address]| {
        prefixes.is_empty()
            || addresses.iter().filter_map(|a| a.to_ip(record.family)).any(|address| {
                prefixes
                    .iter()
                    .any(|p| ipnet::IpNet::new(p.address, p.length).expect("a prefix").contains(&address))
            })
    };
    (rule.protocol.is_empty() || rule.protocol.contains(&record.protocol))
        && any(&rule.port, &[record.source_port, record.destination_port])
        && any(&rule.source_port, &[record.source_port])
        && any(&rule.destination_port, &[record.destination_port])
        && inside(&rule.prefix, &[record.source, record.destination])
        && inside(&rule.source_prefix, &[record.source])
        && inside(&rule.destination_prefix, &[record.destination])
        && (rule.asn.is_empty()
            || rule.asn.contains(&record.source_as)
            || rule.asn.contains(&record.destination_as))
        && (rule.dscp.is_empty() || rule.dscp.contains(&(record.tos / 4)))
        && (rule.family.is_empty() || rule.family.contains(&record.family))
        && (rule.exporter.is_empty() || rule.exporter.iter().any(|n| exporters[n] == record.exporter))
}

fn exporters() -> HashMap<String, ExporterId> {
    [("a".to_owned(), ExporterId(0)), ("b".to_owned(), ExporterId(300))].into()
}

fn maybe<T: Clone + std::fmt::Debug + 'static>(of: Vec<T>) -> BoxedStrategy<Vec<T>> {
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(prop::sample::select(of), 1..3)].boxed()
}

fn any_ports() -> BoxedStrategy<Vec<(u16, u16)>> {
    maybe(vec![(80, 80), (53, 53), (0, 0), (255, 256), (443, 443), (1024, 65_535), (0, 1023), (9, 2)])
}

fn any_rule() -> impl Strategy<Value = FlowMatch> {
    let nets = vec![prefix("10.0.0.0", 8), prefix("10.1.0.0", 16), prefix("2001:db8::", 32)];
    (
        (maybe(vec![6_u8, 17, 1, 255]), any_ports(), any_ports(), any_ports()),
        (maybe(nets.clone()), maybe(nets.clone()), maybe(nets)),
        maybe(vec![Asn(64_500), Asn(0)]),
        maybe(vec![0_u8, 46, 63, 200]),
        maybe(vec![Family::V4, Family::V6, Family::Other]),
        maybe(vec!["a".to_owned(), "b".to_owned()]),
        any::<bool>(),
    )
        .prop_map(|(ports, nets, asn, dscp, family, exporter, simple)| {
            let rule = FlowMatch {
                protocol: ports.0,
                port: ports.1,
                source_port: ports.2,
                destination_port: ports.3,
                ..FlowMatch::default()
            };
            if simple {
                return rule;
            }
            FlowMatch {
                prefix: nets.0,
                source_prefix: nets.1,
                destination_prefix: nets.2,
                asn,
                dscp,
                family,
                exporter,
                ..rule
            }
        })
}

fn any_record() -> impl Strategy<Value = FlowRecord> {
    let port = prop::sample::select(vec![0_u16, 2, 53, 80, 255, 256, 443, 1023, 1024, 65_535]);
    let address = prop::sample::select(vec![0x0a00_0001_u128, 0x0a01_0001, 0x2001_0db8 << 96, 7]);
    (
        (port.clone(), port, prop::sample::select(vec![6_u8, 17, 1, 255, 64])),
        (address.clone(), address),
        prop::sample::select(vec![Family::V4, Family::V6, Family::Other]),
        prop::sample::select(vec![0_u32, 64_500, 64_501]),
        prop::sample::select(vec![0_u8, 3, 184, 255]),
        prop::sample::select(vec![0_u16, 1, 300]),
    )
        .prop_map(|((from, to, protocol), (source, destination), family, asn, tos, exporter)| {
            FlowRecord {
                source: Address(source),
                destination: Address(destination),
                source_port: from,
                destination_port: to,
                protocol,
                family,
                source_as: Asn(asn),
                tos,
                exporter: ExporterId(exporter),
                ..FlowRecord::default()
            }
        })
}

proptest! {
    #[test]
    fn equals_the_first_rule_by_definition(
        rules in prop::collection::vec(any_rule(), 0..12),
        records in prop::collection::vec(any_record(), 1..40),
    ) {
        let rules: Vec<(FlowMatch, ClassId)> = rules.into_iter().zip((1..).map(ClassId)).collect();
        let exporters = exporters();
        let classes = Classes::build(&rules, &exporters);
        for record in &records {
            let expected = rules
                .iter()
                .find(|(rule, _)| naive(rule, record, &exporters))
                .map_or(ClassId::DEFAULT, |rule| rule.1);
            prop_assert_eq!(classes.class(record), expected, "{:?} by {:?}", record, rules);
        }
    }
}

/// `web` before `tcp` before everything of one exporter.
#[test]
fn the_first_match_wins() {
    let rules = [
        (
            FlowMatch { protocol: vec![6], port: vec![(80, 80), (443, 443)], ..FlowMatch::default() },
            ClassId(5),
        ),
        (FlowMatch { exporter: vec!["b".to_owned()], ..FlowMatch::default() }, ClassId(2)),
        (FlowMatch { protocol: vec![6], ..FlowMatch::default() }, ClassId(9)),
    ];
    let classes = Classes::build(&rules, &exporters());
    let class = |protocol, source_port, exporter| {
        let exporter = ExporterId(exporter);
        classes.class(&FlowRecord { protocol, source_port, exporter, ..FlowRecord::default() })
    };
    assert_eq!(class(6, 443, 300), ClassId(5));
    assert_eq!(class(17, 443, 300), ClassId(2));
    assert_eq!(class(6, 444, 300), ClassId(2));
    assert_eq!(class(6, 444, 0), ClassId(9));
    assert_eq!(class(17, 80, 0), ClassId::DEFAULT);
}
