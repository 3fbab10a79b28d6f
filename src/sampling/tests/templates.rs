//! Rates that hold for the records of a template.

use super::*;
use RateSource as S;

/// IPFIX options whose scope is a template (element 145).
fn told(rates: &[(u16, u32)]) -> [Octets; 2] {
    let body = rates.iter().fold(octets(), |body, &(template, n)| body.u16(template).u32(n));
    [set(3, options_template(310, 1, &[(145, 2), (34, 4)])), set(310, body)]
}

/// Two templates of different records.
fn templates() -> [Octets; 2] {
    [set(2, template(256, &[(1, 4), (2, 4)])), set(2, template(257, &[(1, 4), (2, 4), (7, 2)]))]
}

/// A record of each, of 1000 octets.
fn volumes() -> [Octets; 2] {
    [set(256, octets().u32(1000).u32(1)), set(257, octets().u32(1000).u32(1).u16(443))]
}

fn at_once(rates: &[(u16, u32)]) -> Pipe {
    Pipe::of(&[ipfix(0, 1, &[&told(rates)[..], &templates(), &volumes()].concat())])
}

#[test]
fn a_record_goes_by_the_rate_of_its_template() {
    // 10 * 1000 + 5 * 1000.
    assert_eq!(at_once(&[(256, 10), (257, 5)]).scaled(), (15_000, vec![S::Domain; 2]));
    assert_eq!(at_once(&[(256, 10), (257, 10)]).scaled(), (20_000, vec![S::Domain; 2]));
    // NetFlow v9: scope type 5.
    let body = octets().u16(256).u32(10).u16(257).u32(5);
    let options = [set(1, options_template9(310, &[(5, 2)], &[(34, 4)])), set(310, body)];
    let templates = [(256, &[(1, 4), (2, 4)][..]), (257, &[(1, 4), (2, 4), (7, 2)])]
        .map(|(id, fields)| set(0, template(id, fields)));
    let pipe = Pipe::of(&[v9(0, 1, &[&options[..], &templates, &volumes()].concat())]);
    assert_eq!(pipe.scaled(), (15_000, vec![S::Domain; 2]));
    // Sets that came before their templates have them all the same.
    let mut pipe = Pipe::of(&[ipfix(0, 1, &[&told(&[(256, 10), (257, 5)])[..], &volumes()].concat())]);
    assert_eq!(pipe.settled.len(), 0);
    pipe.take(&ipfix(4, 1, &self::templates()));
    assert_eq!(pipe.scaled(), (15_000, vec![S::Domain; 2]));
}

/// What is said of one is nothing that anybody said of the other.
#[test]
fn a_template_that_nobody_described_waits() {
    let mut pipe = at_once(&[(256, 10)]);
    assert_eq!((pipe.scaled(), pipe.sampling.held_records()), ((10_000, vec![S::Domain]), 1));
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (1, 1));
    pipe.policy.default = Some(rate(50, 1, S::Default));
    pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(EXPORT_MS), &mut pipe.settled);
    assert_eq!(pipe.scaled(), (60_000, vec![S::Domain, S::Default]));
    // Or for its own description.
    let mut pipe = at_once(&[(256, 10)]);
    pipe.take(&ipfix(3, 1, &told(&[(257, 5)])));
    assert_eq!(pipe.scaled(), (15_000, vec![S::Domain; 2]));
}

/// A record of a template that came in by interface 3 and left by 4.
fn by(parts: &[(Part, u64)], template: u16, default: Option<u64>) -> Option<(u32, RateSource)> {
    let announcements: Vec<_> = parts.iter().map(|&(part, n)| Announcement { part, ..wide(1, n) }).collect();
    let default = default.map(|n| rate(n, 1, S::Default));
    let policy = SamplingPolicy { default, ..SamplingPolicy::default() };
    let interfaces = FlowRecord { input: IfIndex(3), output: IfIndex(4), ..record(1, SamplerRef::Unnamed) };
    settle(&announcements, &policy, FlowRecord { template, observed: Observed::Ingress, ..interfaces })
}

#[test]
fn a_template_beats_its_domain_and_neither_beats_the_other_with_an_interface() {
    let of = |id, n| (of_template(id), n);
    let ingress = |interface, n| (of_ingress(interface), n);
    let is = |n| Some((n, S::Domain));
    let domain = [of(256, 10), (Part::WHOLE, 7)];
    assert_eq!([256, 257, 0].map(|id| by(&domain, id, None)), [is(10), is(7), is(7)]);
    let two = [of(256, 10), of(257, 5)];
    assert_eq!([256, 257, 258].map(|id| by(&two, id, None)), [is(10), is(5), None]);
    assert_eq!(by(&two, 258, Some(50)), Some((50, S::Default)));
    // A record without a template, and without anything else to tell it by.
    assert_eq!(by(&[of(256, 10)], 0, None), None);
    let interface = [of(256, 10), ingress(3, 100)];
    assert_eq!([256, 257].map(|id| by(&interface, id, None)), [None, is(100)]);
    assert_eq!(by(&[of(256, 10), ingress(3, 10)], 256, None), is(10));
    let other = [of(256, 10), ingress(9, 100)];
    assert_eq!([256, 257].map(|id| by(&other, id, None)), [is(10), None]);
}

/// Templates have numbers of their own in each domain.
#[test]
fn a_template_of_another_domain_is_another_one() {
    let told = [Announcement { part: of_template(256), ..wide(2, 10) }];
    let record = FlowRecord { template: 256, ..record(1, SamplerRef::Unnamed) };
    assert_eq!(settle(&told, &SamplingPolicy::default(), record), None);
    let default = SamplingPolicy { default: Some(rate(50, 1, S::Default)), ..SamplingPolicy::default() };
    assert_eq!(settle(&told, &default, record), Some((50, S::Default)));
    assert_eq!(
        settle(&told, &SamplingPolicy::default(), FlowRecord { domain: 2, ..record }),
        Some((10, S::Domain))
    );
}

#[test]
fn a_sampler_may_be_described_by_template() {
    let of = |id, n| Announcement { sampler: Some(5), part: of_template(id), ..wide(1, n) };
    let rates = [256, 257, 258].map(|template| {
        let record = FlowRecord { template, ..record(1, SamplerRef::Named(5)) };
        settle(&[of(256, 10), of(257, 20)], &SamplingPolicy::default(), record)
    });
    assert_eq!(rates, [Some((10, S::Sampler)), Some((20, S::Sampler)), None]);
}

/// The record that comes back is of the template of its record.
#[test]
fn both_directions_have_the_rate_of_their_template() {
    let fields = [(1, 4), (2, 4), (enterprise(29_305, 1), 4), (enterprise(29_305, 2), 4)];
    let data = set(300, octets().u32(100).u32(1).u32(70).u32(1));
    let sets = [&told(&[(300, 10), (301, 5)])[..], &[set(2, template(300, &fields)), data]].concat();
    // 10 * 100 + 10 * 70.
    assert_eq!(Pipe::of(&[ipfix(0, 1, &sets)]).scaled(), (1700, vec![S::Domain; 2]));
}

#[test]
fn a_checkpoint_keeps_the_templates_of_what_waits() {
    let mut pipe = Pipe::of(&[ipfix(0, 1, &[&templates()[..], &volumes()].concat())]);
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (0, 2));
    let restart = |pipe: &mut Pipe| {
        let saved = postcard::to_stdvec(&pipe.sampling).unwrap();
        let chunks = pipe.sampling.chunks().written;
        pipe.sampling = postcard::from_bytes(&saved).unwrap();
        pipe.sampling.restore(ExporterId(0), chunks).unwrap();
    };
    restart(&mut pipe);
    pipe.take(&ipfix(2, 1, &told(&[(256, 10)])));
    assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (10_000, 1));
    restart(&mut pipe);
    pipe.take(&ipfix(3, 1, &told(&[(257, 5)])));
    assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (15_000, 0));
    // The statements are there as well; also where the template has another layout now.
    restart(&mut pipe);
    let again = [set(2, template(257, &[(1, 8), (2, 4)])), set(257, octets().u64(1000).u32(1))];
    pipe.take(&ipfix(4, 1, &again));
    assert_eq!(pipe.scaled().0, 20_000);
}
