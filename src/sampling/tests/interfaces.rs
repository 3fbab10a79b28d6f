//! Rates that hold for interfaces: as the exporter announces them, and as the operator maps them.

use super::*;

#[test]
fn interfaces_that_agree_speak_for_the_domain() {
    let part = |part, n| Announcement { part: of_interface(part), ..wide(1, n) };
    let none = SamplingPolicy::default();
    let unnamed = record(1, SamplerRef::Unnamed);
    assert_eq!(settle(&[part(1, 100), part(2, 100)], &none, unnamed), Some((100, RateSource::Domain)));
    assert_eq!(settle(&[part(1, 100), part(2, 200)], &none, unnamed), None);
    assert_eq!(settle(&[part(1, 100), part(1, 200)], &none, unnamed), Some((200, RateSource::Domain)));
    assert_eq!(settle(&[part(1, 100), wide(1, 5)], &none, unnamed), Some((5, RateSource::Domain)));
}

/// What is said of interface 5 is nothing that anybody said of 7.
#[test]
fn an_interface_speaks_for_itself() {
    use Observed::{Egress, Ingress, Unknown};
    let part = |part: Part, n| Announcement { part, ..wide(1, n) };
    let (any, ingress) = (|n| of_interface(n), |n| of_ingress(n));
    let flow = |input, output, observed| FlowRecord {
        input: IfIndex(input),
        output: IfIndex(output),
        observed,
        ..record(1, SamplerRef::Unnamed)
    };
    let none = SamplingPolicy::default();
    let five = [part(any(5), 1000)];
    let rate_of = |n| Some((n, RateSource::Domain));
    for (flow, expected) in [
        (flow(5, 8, Unknown), rate_of(1000)),
        (flow(7, 8, Unknown), None),
        // It was observed at 5, since only that is observed; unless it says otherwise.
        (flow(7, 5, Unknown), rate_of(1000)),
        (flow(7, 5, Egress), rate_of(1000)),
        (flow(7, 5, Ingress), None),
        // No interface to tell it by.
        (flow(0, 0, Unknown), rate_of(1000)),
        (flow(0, 8, Unknown), None),
    ] {
        assert_eq!(settle(&five, &none, flow), expected, "{flow:?}");
    }
    let other = flow(7, 8, Unknown);
    let default = SamplingPolicy { default: Some(rate(50, 1, RateSource::Default)), ..none.clone() };
    assert_eq!(settle(&five, &default, other), Some((50, RateSource::Default)));
    assert_eq!(settle(&[part(any(5), 1000), part(any(6), 1000)], &none, other), None);
    // The same where those that are described differ: the operator's word is about what nobody has described.
    let unlike = [part(any(5), 1000), part(any(6), 10)];
    assert_eq!(settle(&unlike, &none, other), None);
    assert_eq!(settle(&unlike, &default, other), Some((50, RateSource::Default)));
    assert_eq!(settle(&unlike, &default, flow(7, 5, Unknown)), None);
    // Without an input it was observed at the output.
    let both = [part(any(5), 1000), part(any(6), 10)];
    assert_eq!(settle(&both, &none, flow(0, 6, Unknown)), rate_of(10));
    assert_eq!(settle(&both, &none, flow(0, 7, Unknown)), None);
    assert_eq!(settle(&[part(ingress(5), 1000)], &none, flow(7, 5, Unknown)), None);
    // What is said of all of the domain, or of the exporter, is said of 7; and line cards are not interfaces.
    assert_eq!(settle(&[part(any(5), 1000), wide(1, 10)], &none, other), rate_of(10));
    let elsewhere = settle(&[part(any(5), 1000), wide(2, 30)], &none, other);
    assert_eq!(elsewhere, Some((30, RateSource::Exporter)));
    assert_eq!(settle(&[part(of_other(141, 0), 1000)], &none, other), rate_of(1000));
}

/// What a part of the domain is said to have, and the rate of a record that came in by interface 1 and left by 2.
fn by_parts(parts: &[(Part, u64)], observed: Observed) -> Option<(u32, RateSource)> {
    let announcements: Vec<_> = parts.iter().map(|&(part, n)| Announcement { part, ..wide(1, n) }).collect();
    let record =
        FlowRecord { input: IfIndex(1), output: IfIndex(2), observed, ..record(1, SamplerRef::Unnamed) };
    settle(&announcements, &SamplingPolicy::default(), record)
}

#[test]
fn interfaces_that_differ_speak_for_their_own_records() {
    use Observed::{Egress, Ingress, Unknown};
    let any = |index| of_interface(index);
    let ingress = |index| of_ingress(index);
    let egress = |index| of_egress(index);
    let rate = |n| Some((n, RateSource::Domain));
    let both = [(any(1), 100), (any(2), 200)];
    assert_eq!(
        [Unknown, Ingress, Egress].map(|side| by_parts(&both, side)),
        [rate(100), rate(100), rate(200)]
    );
    // Of an interface that nobody has described nothing is known.
    let others = [(any(3), 100), (any(4), 200)];
    assert_eq!(by_parts(&others, Ingress), None);
    // The side counts, and beats a statement about both.
    let sides = [(ingress(1), 100), (egress(1), 300), (egress(2), 200), (any(1), 7)];
    assert_eq!([Ingress, Egress].map(|side| by_parts(&sides, side)), [rate(100), rate(200)]);
    assert_eq!(by_parts(&[(ingress(2), 100), (ingress(1), 200)], Egress), None);
    // Line card 1 and template 1 are not interface 1.
    let cards = [(of_other(141, 1), 100), (of_other(141, 2), 200), (of_template(1), 300)];
    assert_eq!(by_parts(&cards, Ingress), None);
    // But where one knows its own interface, it need not know its card.
    assert_eq!(by_parts(&[&cards[..], &both[..]].concat(), Ingress), rate(100));
    // Cards that agree speak for all.
    assert_eq!(by_parts(&[(of_other(141, 1), 100), (of_other(141, 2), 100)], Egress), rate(100));
}

/// A statement about the whole domain is for the interfaces that have none.
#[test]
fn an_interface_beats_its_domain_and_the_operators_map_beats_both() {
    let one = Announcement { part: of_ingress(1), ..wide(1, 100) };
    let at = |input| FlowRecord { input: IfIndex(input), ..record(1, SamplerRef::Unnamed) };
    let none = SamplingPolicy::default();
    assert_eq!(settle(&[one, wide(1, 5)], &none, at(1)), Some((100, RateSource::Domain)));
    assert_eq!(settle(&[one, wide(1, 5)], &none, at(2)), Some((5, RateSource::Domain)));
    let mapped = SamplingPolicy {
        interfaces: [(IfIndex(1), rate(9, 1, RateSource::Override))].into(),
        ..SamplingPolicy::default()
    };
    assert_eq!(settle(&[one, wide(1, 5)], &mapped, at(1)), Some((9, RateSource::Override)));
    // Numbers of interfaces are the exporter's: they hold in its other domains, too, once those have said nothing.
    let two = Announcement { part: of_ingress(2), ..wide(1, 200) };
    let elsewhere = FlowRecord { domain: 8, ..at(2) };
    assert_eq!(settle(&[one, two], &none, elsewhere), Some((200, RateSource::Exporter)));
    // Also one record after the other.
    let (mut sampling, mut records) = (ExporterSampling::default(), Vec::new());
    sampling.announce(D, &[one, two], &none, &mut records);
    records.extend([2, 1, 1, 2].map(|input| FlowRecord { domain: 8, ..at(input) }));
    let config = Config { grace_ms: 0, ..Config::default() };
    sampling.scale(&config, &none, (D, UnixMillis(0)), &mut records, 0);
    let rates: Vec<u32> = records.iter().map(|record| record.rate.numerator()).collect();
    assert_eq!(rates, [200, 100, 100, 200]);
}

/// From octets on: options whose scope is an interface (element 10), and an egress one (14), in one set each.
#[test]
fn scopes_of_interfaces_choose_by_the_record() {
    let options = |scope: u64, id: u16, values: [(u32, u32); 2]| {
        let body = values.iter().fold(octets(), |body, &(part, n)| body.u32(part).u32(n));
        [set(3, options_template(id, 1, &[(scope, 4), (34, 4)])), set(id, body)]
    };
    let fields = [(1, 4), (2, 4), (10, 4), (14, 4), (61, 1)];
    let data = |octets_: u32, input: u32, output: u32, side: u8| {
        set(300, octets().u32(octets_).u32(1).u32(input).u32(output).u8(side))
    };
    let sets = [
        &options(10, 310, [(1, 10), (2, 20)])[..],
        &options(14, 311, [(1, 100), (2, 200)])[..],
        &[set(2, template(300, &fields)), data(1000, 1, 2, 0), data(1000, 2, 1, 0), data(1, 1, 2, 1)],
    ]
    .concat();
    let pipe = Pipe::of(&[ipfix(0, 1, &sets)]);
    assert_eq!(pipe.scaled(), (10 * 1000 + 20 * 1000 + 200, vec![RateSource::Domain; 3]));
    // v9: scope type 2 is the interface both ways; type 3 a line card, whatever its number.
    let nine = |scope, first: u32, second: u32| {
        let body = octets().u32(1).u32(first).u32(2).u32(second);
        [set(1, options_template9(310, &[(scope, 4)], &[(34, 4)])), set(310, body)]
    };
    let flows = [set(0, template(300, &fields)), data(1000, 1, 2, 0), data(1000, 1, 2, 1)];
    let pipe = Pipe::of(&[v9(0, 1, &[&nine(2, 10, 20)[..], &flows[..]].concat())]);
    assert_eq!(pipe.scaled(), (10 * 1000 + 20 * 1000, vec![RateSource::Domain; 2]));
    for scope in [3, 4, 5] {
        let pipe = Pipe::of(&[v9(0, 1, &[&nine(scope, 10, 20)[..], &flows[..]].concat())]);
        assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (0, 2), "{scope}");
    }
}

#[test]
fn the_operator_maps_interfaces_to_rates() {
    let of = |interface: u32, n: u64| (IfIndex(interface), rate(n, 1, RateSource::Override));
    let policy = |over: Option<u64>, at_egress: bool| SamplingPolicy {
        over: over.map(|n| rate(n, 1, RateSource::Override)),
        interfaces: [of(3, 512), of(7, 64)].into(),
        at_egress,
        ..SamplingPolicy::default()
    };
    let flow = |input: u32, output: u32, observed: Observed, sampler: SamplerRef| FlowRecord {
        input: IfIndex(input),
        output: IfIndex(output),
        observed,
        ..record(1, sampler)
    };
    let (stated, named) = (SamplerRef::Stated(rate(9, 1, RateSource::Record)), SamplerRef::Named(5));
    use Observed::{Egress, Ingress, Unknown};
    use RateSource as S;
    for (flow, policy, expected) in [
        // The input interface, whatever the exporter says; also where it says nothing that could be used.
        (flow(3, 7, Unknown, stated), policy(None, false), Some((512, S::Override))),
        (flow(7, 3, Unknown, named), policy(None, false), Some((64, S::Override))),
        (flow(3, 7, Unknown, SamplerRef::Unnamed), policy(None, false), Some((512, S::Override))),
        (flow(3, 7, Unknown, SamplerRef::Silent), policy(None, false), Some((512, S::Override))),
        // The output one where it was observed there.
        (flow(3, 7, Egress, stated), policy(None, false), Some((64, S::Override))),
        (flow(3, 7, Unknown, stated), policy(None, true), Some((64, S::Override))),
        (flow(3, 7, Ingress, stated), policy(None, true), Some((512, S::Override))),
        // Other interfaces: the operator's word on all of them, or the exporter's.
        (flow(4, 7, Unknown, stated), policy(Some(100), false), Some((100, S::Override))),
        (flow(3, 7, Unknown, stated), policy(Some(100), false), Some((512, S::Override))),
        (flow(4, 7, Unknown, stated), policy(None, false), Some((9, S::Record))),
        (flow(4, 7, Unknown, named), policy(None, false), None),
    ] {
        assert_eq!(settle(&[], &policy, flow), expected, "{flow:?}");
    }
}

#[test]
fn a_map_that_comes_later_frees_what_waits_at_its_interfaces() {
    let mut pipe = Pipe::default();
    let template = set(2, template(300, &[(1, 4), (2, 4), (302, 4), (10, 4)]));
    let data = |octets_: u32, input: u32| set(300, octets().u32(octets_).u32(1).u32(5).u32(input));
    pipe.take(&ipfix(0, 1, &[template, data(1000, 3), data(500, 4)]));
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (0, 2));
    pipe.policy.interfaces = [(IfIndex(3), rate(512, 1, RateSource::Override))].into();
    pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(EXPORT_MS), &mut pipe.settled);
    assert_eq!(pipe.scaled(), (512_000, vec![RateSource::Override]));
    assert_eq!(pipe.sampling.held_records(), 1);
}

/// Links by name: nothing is released before it is known what the interfaces are called, not even what states its rate.
#[test]
fn records_wait_for_the_names_of_interfaces() {
    let waits = SamplingPolicy { names_awaited: true, ..SamplingPolicy::default() };
    let known = SamplingPolicy::default();
    let config = Config { hold_records: 3, ..Config::default() };
    let stated = record(1, SamplerRef::Stated(rate(7, 1, RateSource::Record)));
    let (header, unnamed) = (record(1, SamplerRef::Silent), record(1, SamplerRef::Unnamed));
    let over = SamplingPolicy { over: Some(rate(9, 1, RateSource::Override)), ..waits.clone() };
    let mut sampling = ExporterSampling::default();
    let mut records = vec![stated, header, unnamed];
    sampling.scale(&config, &waits, (D, UnixMillis(0)), &mut records, 0);
    assert_eq!((records.len(), sampling.held_records()), (0, 3));
    // Not by an announcement, an override, the end of a grace time or of a capture.
    sampling.announce(D, &[wide(1, 10)], &waits, &mut records);
    sampling.expire(&config, &over, UnixMillis(1000), &mut records);
    sampling.finish(&waits, &mut records);
    assert_eq!((records.len(), sampling.held_records()), (0, 3));
    // A fourth has no room: the oldest goes, and is counted.
    let mut more = vec![header];
    sampling.scale(&config, &waits, (D, UnixMillis(0)), &mut more, 0);
    assert_eq!((sampling.held_records(), sampling.expired_records(), sampling.expired_octets()), (3, 1, 1));
    // Once they are known, each gets the rate that it would have had.
    sampling.expire(&config, &known, UnixMillis(2000), &mut records);
    let mut rates: Vec<u32> = records.iter().map(|record| record.rate.numerator()).collect();
    rates.sort_unstable();
    assert_eq!((rates, sampling.held_records()), (vec![1, 1, 10], 0));
    // What states its rate has kept it; and in vain is waited for an hour.
    let mut sampling = ExporterSampling::default();
    let mut records = vec![stated, header];
    sampling.scale(&config, &waits, (D, UnixMillis(0)), &mut records, 0);
    sampling.expire(&config, &known, UnixMillis(0), &mut records);
    let found: Vec<_> =
        records.iter().map(|record| (record.rate.numerator(), record.rate.source())).collect();
    assert_eq!(found, [(7, RateSource::Record), (1, RateSource::Header)]);
    let mut records = vec![stated];
    sampling.scale(&config, &waits, (D, UnixMillis(0)), &mut records, 0);
    sampling.expire(&config, &waits, UnixMillis(config.hold_ms + 1), &mut records);
    assert_eq!((sampling.held_records(), sampling.expired_records()), (0, 1));
}

/// A router has started anew, and an interface of a link does not show yet: records wait, but none of them is lost.
#[test]
fn records_wait_for_interfaces_that_show_late() {
    let waits = SamplingPolicy { interfaces_awaited: true, ..SamplingPolicy::default() };
    let over = SamplingPolicy { over: Some(rate(9, 1, RateSource::Override)), ..waits.clone() };
    let known = SamplingPolicy::default();
    let config = Config { hold_records: 3, ..Config::default() };
    let stated = |n: u64| record(1, SamplerRef::Stated(rate(n, 1, RateSource::Record)));
    let numerators = |records: &[FlowRecord]| -> Vec<u32> {
        records.iter().map(|record| record.rate.numerator()).collect()
    };
    let mut sampling = ExporterSampling::default();
    let mut records = vec![stated(7), stated(8), record(1, SamplerRef::Named(5))];
    sampling.scale(&config, &waits, (D, UnixMillis(0)), &mut records, 0);
    assert_eq!((records.len(), sampling.held_records()), (0, 3));
    // Not by an override, the end of a grace time, or ten minutes.
    sampling.expire(&config, &over, UnixMillis(600_000), &mut records);
    sampling.finish(&waits, &mut records);
    assert_eq!((records.len(), sampling.held_records(), sampling.expired_records()), (0, 3, 0));
    // A fourth and a fifth have no room: the oldest are metered by their own rates.
    let mut more = vec![stated(10), stated(11)];
    sampling.scale(&config, &waits, (D, UnixMillis(600_000)), &mut more, 0);
    assert_eq!((numerators(&more), sampling.held_records()), (vec![7, 8], 3));
    assert_eq!((sampling.expired_records(), sampling.take_crowded_out()), (0, 2));
    // Once they show, the rest goes; but what names a sampler that nobody has described waits on.
    sampling.expire(&config, &known, UnixMillis(600_001), &mut records);
    assert_eq!((numerators(&records), sampling.held_records()), (vec![10, 11], 1));
}
