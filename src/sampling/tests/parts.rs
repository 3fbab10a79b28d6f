//! Rates that hold for several parts at once, and for parts that no record can be told by.

use super::*;
use crate::flow::{Side, Untold};
use RateSource as S;

pub(super) fn of_interface(n: u32) -> Part {
    Part { interface: Some(Side::Interface(IfIndex(n))), ..Part::WHOLE }
}

pub(super) fn of_ingress(n: u32) -> Part {
    Part { interface: Some(Side::Ingress(IfIndex(n))), ..Part::WHOLE }
}

pub(super) fn of_egress(n: u32) -> Part {
    Part { interface: Some(Side::Egress(IfIndex(n))), ..Part::WHOLE }
}

pub(super) fn of_template(id: u16) -> Part {
    Part { template: Some(id), ..Part::WHOLE }
}

pub(super) fn of_other(element: u16, number: u64) -> Part {
    Part { untold: Some(Untold { element, number }), ..Part::WHOLE }
}

/// IPFIX options with this scope; records of the scope's values, and one packet in so many.
fn told(scope: &[(u64, u16)], records: &[(&[u64], u32)]) -> Vec<u8> {
    let fields: Vec<_> = scope.iter().copied().chain([(34, 4)]).collect();
    let body = records.iter().fold(octets(), |body, (values, n)| {
        let scoped =
            values.iter().zip(scope).fold(body, |body, (&value, &(_, len))| body.uint(value, len.into()));
        scoped.u32(*n)
    });
    let scopes = u16::try_from(scope.len()).unwrap();
    ipfix(0, 1, &[set(3, options_template(310, scopes, &fields)), set(310, body)])
}

/// Of templates 256 and 257, by interfaces 1 and 2, records of 1, 10, 100 and 1000 octets: what each is scaled to; 0 where
/// it waits.
fn scaled(options: &[Vec<u8>]) -> [u64; 4] {
    scaled_with(options, SamplingPolicy::default())
}

fn scaled_with(options: &[Vec<u8>], policy: SamplingPolicy) -> [u64; 4] {
    let mut pipe = Pipe { policy, ..Pipe::default() };
    options.iter().for_each(|options| pipe.take(options));
    let fields = [(1, 4), (2, 4), (10, 4)];
    let data = |id, octets_, input| set(id, octets().u32(octets_).u32(1).u32(input));
    let flows = [data(256, 1, 1), data(256, 10, 2), data(257, 100, 1), data(257, 1000, 2)];
    let templates = [256, 257].map(|id| set(2, template(id, &fields)));
    pipe.take(&ipfix(9, 1, &[&templates[..], &flows].concat()));
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    let of = |octets| {
        let one = pipe.settled.iter().find(|record| record.octets.as_u64() == octets);
        one.map_or(0, |record| octets * u64::from(record.rate.numerator()))
    };
    [1, 10, 100, 1000].map(of)
}

/// The second statement about interface 1 is about another template; it does not replace the first.
#[test]
fn an_interface_and_a_template_at_once_are_both() {
    let both = [(10, 4), (145, 2)];
    assert_eq!(scaled(&[told(&both, &[(&[1, 256], 10), (&[1, 257], 100)])]), [10, 0, 10_000, 0]);
    assert_eq!(scaled(&[told(&both, &[(&[1, 257], 100), (&[1, 256], 10)])]), [10, 0, 10_000, 0]);
    // Also where all that is stated is alike: of interface 2, and of template 257, nobody said it.
    assert_eq!(scaled(&[told(&both, &[(&[1, 256], 10)])]), [10, 0, 0, 0]);
    // Each is of those that are described more widely, where there is nothing closer.
    let (interface, whole) = (|n| told(&[(10, 4)], &[(&[1], n)]), told(&[(149, 4)], &[(&[1], 3)]));
    let one = told(&both, &[(&[1, 256], 10)]);
    assert_eq!(scaled(&[one.clone(), interface(7)]), [10, 0, 700, 0]);
    assert_eq!(scaled(&[one, interface(7), whole]), [10, 30, 700, 3000]);
    // NetFlow v9, scope types 2 and 5; and a system (1), which is all of it.
    let nine = |scope: u64, second: u16| {
        let body = octets().u32(1).u16(256).u32(10).u32(1).u16(second).u32(100);
        let fields = [(1, 4), (2, 4), (10, 4)];
        let data = |id, octets_: u32| set(id, octets().u32(octets_).u32(1).u32(1));
        let options = [set(1, options_template9(310, &[(scope, 4), (5, 2)], &[(34, 4)])), set(310, body)];
        let templates = [256, 257].map(|id| set(0, template(id, &fields)));
        at_end(&[v9(0, 1, &[&options[..], &templates, &[data(256, 1), data(257, 10)]].concat())])
    };
    assert_eq!((nine(2, 257), nine(1, 257)), ((1010, 0), (1010, 0)));
    assert_eq!((nine(2, 258), nine(1, 258)), ((10, 1), (10, 1)));
}

/// What is scaled after the end of the grace time, and how many wait.
fn at_end(datagrams: &[Vec<u8>]) -> (u64, usize) {
    let mut pipe = Pipe::of(datagrams);
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    (pipe.scaled().0, pipe.sampling.held_records())
}

/// Of an interface's two VLANs nobody knows which one a record is of.
#[test]
fn parts_that_differ_in_what_records_do_not_tell_are_ambiguous_where_they_differ() {
    let two = |scope: &[(u64, u16)], first: &[u64], second: &[u64], n: u32| {
        scaled(&[told(scope, &[(first, 10), (second, n)])])
    };
    // VLAN, process, VRF, ... of one interface, or of one template; the others are described by nobody.
    for element in [58, 143, 138, 141, 142, 137, 234, 235, 61, 83, 144, enterprise(9, 1)] {
        let interface = [(10, 4), (element, 2)];
        assert_eq!(two(&interface, &[1, 5], &[1, 6], 10), [10, 0, 1000, 0], "{element}");
        if element != 61 {
            assert_eq!(two(&interface, &[1, 5], &[1, 6], 100), [0; 4], "{element}");
            assert_eq!(two(&interface, &[1, 5], &[2, 5], 100), [10, 1000, 1000, 100_000], "{element}");
        }
        let template = [(element, 2), (145, 2)];
        assert_eq!(two(&template, &[5, 256], &[6, 256], 10), [10, 100, 0, 0], "{element}");
        assert_eq!(two(&template, &[5, 256], &[6, 256], 100), [0; 4], "{element}");
        assert_eq!(two(&template, &[5, 256], &[5, 257], 100), [10, 100, 10_000, 100_000], "{element}");
    }
    // Two of them at once, whichever of the two it is that differs: all of the domain, or nothing.
    for (one, other) in [(143, 58), (138, 58), (144, 143), (141, 143), (141, 142), (234, 235), (10, 14)] {
        for (first, second) in [([1, 5], [1, 6]), ([1, 5], [2, 5])] {
            let scope = [(one, 4), (other, 2)];
            assert_eq!(two(&scope, &first, &second, 100), [0; 4], "{one} {other}");
            assert_eq!(two(&scope, &first, &second, 10), [10, 100, 1000, 10_000], "{one} {other}");
            // The same again is the same part: what it says now is what counts.
            assert_eq!(two(&scope, &first, &first, 100), [100, 1000, 10_000, 100_000], "{one} {other}");
        }
    }
    // A part that nobody can tell, and interface 2: of the others, only the first may be said.
    for element in [137, 143, 144] {
        let part = told(&[(element, 4)], &[(&[1], 10)]);
        assert_eq!(scaled(&[part, told(&[(10, 4)], &[(&[9], 100)])]), [10, 100, 1000, 10_000], "{element}");
    }
    // All of interface 1, and a VLAN of it; and a VLAN of it beside all of the domain.
    let vlan = told(&[(10, 4), (58, 2)], &[(&[1, 5], 100)]);
    let beside = |wide: Vec<u8>| scaled(&[wide, vlan.clone()]);
    assert_eq!(beside(told(&[(10, 4)], &[(&[1], 10)])), [0; 4]);
    assert_eq!(beside(told(&[(10, 4)], &[(&[1], 100)])), [100, 0, 10_000, 0]);
    assert_eq!(beside(told(&[(149, 4)], &[(&[1], 10)])), [0, 100, 0, 10_000]);
    assert_eq!(beside(told(&[(145, 2)], &[(&[256], 10)])), [0, 100, 10_000, 0]);
    // Nobody's default, where what is stated of the record can be read in two ways; the map is for that.
    let options = told(&[(10, 4), (58, 2)], &[(&[1, 5], 100), (&[1, 6], 10)]);
    let interfaces = [(IfIndex(1), rate(7, 1, S::Override))].into();
    let default = Some(rate(3, 1, S::Default));
    let policy = SamplingPolicy { default, ..SamplingPolicy::default() };
    assert_eq!(scaled_with(std::slice::from_ref(&options), policy), [0, 30, 0, 3000]);
    let policy = SamplingPolicy { interfaces, ..SamplingPolicy::default() };
    assert_eq!(scaled_with(&[options], policy), [7, 0, 700, 0]);
}

/// A name, a vendor's element, a type of scope that nobody knows: not the whole domain, if there are several.
#[test]
fn an_unknown_scope_is_a_part_that_nobody_can_tell() {
    let two = |scope: u64, len: u16, first: u64, second: u64, n: u32| {
        scaled(&[told(&[(scope, len)], &[(&[first], 10), (&[second], n)])])
    };
    let (all, other) = ([10, 100, 1000, 10_000], [100, 1000, 10_000, 100_000]);
    for (scope, len) in [(82, 4), (82, 16), (83, 20), (enterprise(9, 12), 4), (130, 4), (131, 16), (400, 8)] {
        assert_eq!(two(scope, len, 5, 6, 10), all, "{scope}");
        assert_eq!(two(scope, len, 5, 6, 100), [0; 4], "{scope}");
        assert_eq!(two(scope, len, 0, 6, 100), [0; 4], "{scope}");
        assert_eq!(two(scope, len, 5, 5, 100), other, "{scope}");
        // Beside the domain, which may be said to be it itself.
        let named = [(149, 4), (scope, len)];
        let of = |second, n| scaled(&[told(&named, &[(&[1, 5], 10), (&[1, second], n)])]);
        assert_eq!((of(6, 100), of(6, 10), of(5, 100)), ([0; 4], all, other), "{scope}");
        // One of a known kind is known all the same, before and behind it.
        let interfaces = |scope: [(u64, u16); 2], first: [u64; 2], second: [u64; 2]| {
            scaled(&[told(&scope, &[(&first, 10), (&second, 100)])])
        };
        let expected = [10, 1000, 1000, 100_000];
        assert_eq!(interfaces([(10, 4), (scope, len)], [1, 5], [2, 5]), expected, "{scope}");
        assert_eq!(interfaces([(scope, len), (10, 4)], [5, 1], [5, 2]), expected, "{scope}");
    }
    // Times and padding are no parts.
    for scope in [150, 210, 322] {
        assert_eq!(two(scope, 4, 5, 6, 100), other, "{scope}");
    }
    // NetFlow v9: a type beyond those of RFC 3954. The system, whatever its number, is all of the domain.
    let nine = |scope| {
        let body = octets().u32(5).u32(10).u32(6).u32(100);
        let options = [set(1, options_template9(310, &[(scope, 4)], &[(34, 4)])), set(310, body)];
        at_end(&[v9(0, 1, &options), v9_volume(1, 1)])
    };
    assert_eq!((nine(1), nine(6), nine(77)), ((100, 0), (0, 1), (0, 1)));
}

/// Names of variable length, the long ones among them; what stands behind them is still found.
#[test]
fn names_of_variable_length_are_told_apart_to_their_last_octet() {
    let fields = [(10, 4), (82, 65_535), (34, 4)];
    let run = |names: [&[u8]; 2]| {
        let record = |body: Octets, name: &[u8], n: u32| {
            let body = body.u32(1).u8(255).u16(u16::try_from(name.len()).unwrap()).bytes(name);
            body.u32(n)
        };
        let body = record(record(octets(), names[0], 10), names[1], 100);
        scaled(&[ipfix(0, 1, &[set(3, options_template(310, 2, &fields)), set(310, body)])])
    };
    let long = |last: u8| [&[b'x'; 300][..], &[last]].concat();
    assert_eq!(run([b"red", b"blue"]), [0; 4]);
    assert_eq!(run([b"red", b"red"]), [100, 0, 10_000, 0]);
    assert_eq!(run([&long(b'a'), &long(b'b')]), [0; 4]);
    assert_eq!(run([&long(b'a'), &long(b'a')]), [100, 0, 10_000, 0]);
    assert_eq!(run([b"", b"red"]), [0; 4]);
}

/// A template that a restart has made of a checkpoint knows which of its fields are the scope.
#[test]
fn a_checkpoint_keeps_which_fields_are_the_scope() {
    let mut pipe = Pipe::of(&[told(&[(82, 4)], &[(&[5], 10)])]);
    let saved = postcard::to_stdvec(&pipe.collector.decoder).unwrap();
    pipe.collector.decoder = postcard::from_bytes(&saved).unwrap();
    let again = set(310, octets().u32(6).u32(100));
    pipe.take(&ipfix(
        1,
        1,
        &[again, set(2, template(256, &[(1, 4), (2, 4)])), set(256, octets().u32(1).u32(1))],
    ));
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (0, 1));
}

/// RFC 7011 3.1: observation domain 0 is the device as a whole.
#[test]
fn domain_0_speaks_for_the_device() {
    let none = SamplingPolicy::default();
    let of = |told: &[Announcement], domain| settle(told, &none, record(domain, SamplerRef::Unnamed));
    let told = [wide(0, 10), wide(2, 20), wide(4, 40)];
    assert_eq!([2, 3].map(|domain| of(&told, domain)), [Some((20, S::Domain)), Some((10, S::Exporter))]);
    assert_eq!(of(&[Announcement { rate: None, ..wide(0, 1) }, wide(2, 20)], 3), None);
    assert_eq!(of(&told[1..], 3), None);
    // By interface, too; of the others it says nothing, so it is what the rest agree on.
    let one = Announcement { part: of_ingress(1), ..wide(0, 10) };
    let at = |input| FlowRecord { input: IfIndex(input), ..record(3, SamplerRef::Unnamed) };
    assert_eq!([1, 5].map(|n| settle(&[one, wide(2, 20)], &none, at(n)).unwrap().0), [10, 20]);
    // A sampler that others describe as well.
    let sampler = |domain, n| Announcement { sampler: Some(5), ..wide(domain, n) };
    let named = |told: &[Announcement]| settle(told, &none, record(3, SamplerRef::Named(5)));
    assert_eq!(named(&[sampler(0, 10), sampler(2, 20)]), Some((10, S::Exporter)));
    assert_eq!(named(&[sampler(1, 10), sampler(2, 20)]), None);
    // Where it has records of its own, it is a domain like others.
    let mut sampling = ExporterSampling::default();
    let mut records = vec![record(0, SamplerRef::Unnamed), record(3, SamplerRef::Unnamed)];
    sampling.announce(D, &told, &none, &mut Vec::new());
    sampling.scale(&Config::default(), &none, (D, UnixMillis(0)), &mut records, 0);
    sampling.finish(&none, &mut records);
    assert_eq!((records.len(), records[0].rate.numerator(), sampling.held_records()), (1, 10, 1));
}

/// Nothing is said of interface 7, whatever is said of others: that is what the operator's default is for.
#[test]
fn an_interface_that_nobody_described_takes_the_default_though_others_differ() {
    let policy = SamplingPolicy { default: Some(rate(50, 1, S::Default)), ..SamplingPolicy::default() };
    let told = [(5, 1000), (6, 10)].map(|(n, rate)| Announcement { part: of_interface(n), ..wide(1, rate) });
    let at = |input, output| {
        let interfaces =
            FlowRecord { input: IfIndex(input), output: IfIndex(output), ..record(1, SamplerRef::Unnamed) };
        [&policy, &SamplingPolicy::default()].map(|policy| settle(&told, policy, interfaces).map(|(n, _)| n))
    };
    assert_eq!(at(7, 8), [Some(50), None]);
    assert_eq!(at(5, 8), [Some(1000); 2]);
    // It may be of one that is described; or of either of them.
    assert_eq!((at(7, 5), at(0, 0)), ([None; 2], [None; 2]));
}

/// What thousands of VLANs of an interface come to is worked out when they change.
#[test]
fn those_who_watch_see_an_interface_once() {
    let vlans: Vec<_> = (1..=2000).map(|vlan| ([1, vlan], 10)).collect();
    let records: Vec<(&[u64], u32)> = vlans.iter().map(|(values, n)| (&values[..], *n)).collect();
    let scope = [(10, 4), (58, 2)];
    let mut pipe = Pipe::of(&[told(&scope, &records)]);
    assert!(pipe.sampling.rates.are_worked_out());
    let shown = |pipe: &Pipe| -> Vec<_> {
        pipe.sampling.announced().iter().map(|one| (one.number, one.rate)).collect()
    };
    assert_eq!(shown(&pipe), [(1, (10, 1))]);
    pipe.take(&told(&scope, &[(&[1, 7], 100)]));
    assert_eq!(shown(&pipe), [(1, (0, 0))]);
}
