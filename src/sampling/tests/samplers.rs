//! Statements about samplers, line cards and selection sequences: what they are about, and what they are not.

use super::*;
use RateSource as S;

#[test]
fn samplers_say_nothing_of_records_that_cannot_name_one() {
    let sampler = |id, n| Announcement { sampler: Some(id), ..wide(1, n) };
    let none = SamplingPolicy::default();
    let default = SamplingPolicy { default: Some(rate(50, 1, S::Default)), ..SamplingPolicy::default() };
    let (unnamed, zero) = (record(1, SamplerRef::Unnamed), record(1, SamplerRef::Zero));
    let nameless = Announcement { rate: None, ..sampler(3, 1) };
    for announced in [&[sampler(1, 1000)][..], &[sampler(1, 1000), sampler(2, 10)], &[nameless]] {
        assert_eq!(settle(announced, &none, unnamed), None);
        assert_eq!(settle(announced, &default, unnamed), Some((50, S::Default)));
        // Where there is a place for one, and nothing in it, none was at work.
        assert_eq!(settle(announced, &none, zero), Some((1, S::NotAnnounced)));
    }
    // One that looks at each packet, and one beside a statement about all.
    assert_eq!(settle(&[sampler(1, 1)], &none, unnamed), Some((1, S::NotAnnounced)));
    for record in [unnamed, zero] {
        assert_eq!(settle(&[sampler(1, 1000), wide(1, 10)], &none, record), Some((10, S::Domain)));
    }
    // Samplers of another domain may be those of this one.
    let elsewhere = Announcement { sampler: Some(1), ..wide(6, 1000) };
    assert_eq!(settle(&[elsewhere], &none, unnamed), None);
    assert_eq!(settle(&[elsewhere], &none, zero), Some((1, S::NotAnnounced)));
}

/// Cisco's `option sampler-table` without `collect flow sampler`, from octets on: nothing is billed at 1:1, and the
/// operator's word frees what waits.
#[test]
fn a_table_of_samplers_that_records_do_not_name() {
    let table = [
        set(1, options_template9(310, &[(1, 4)], &[(48, 1), (49, 1), (50, 4)])),
        set(310, octets().u32(0).u8(1).u8(2).u32(1000)),
    ];
    let mut pipe = Pipe::of(&[v9(0, 1, &table), v9_volume(1, 100)]);
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (0, 1));
    pipe.policy.default = Some(rate(1000, 1, S::Default));
    pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(EXPORT_MS), &mut pipe.settled);
    assert_eq!(pipe.scaled(), (100_000, vec![S::Default]));
}

/// Numbers of slots, ports and VRFs begin at 0.
#[test]
fn slot_0_is_a_slot() {
    let cards = |first: u32, second: u32| {
        let body = octets().u16(0).u32(first).u8(1).u16(1).u32(second).u8(1);
        let options = [set(1, options_template9(310, &[(3, 2)], &[(34, 4), (35, 1)])), set(310, body)];
        let mut pipe = Pipe::of(&[v9(0, 1, &options), v9_volume(1, 100)]);
        pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
        (pipe.scaled().0, pipe.sampling.held_records())
    };
    assert_eq!(cards(64, 32), (0, 1));
    assert_eq!(cards(64, 64), (6400, 0));
    for (element, has_0) in [(141, true), (142, true), (234, true), (235, true), (10, false), (145, false)] {
        let options =
            [set(3, options_template(310, 1, &[(element, 4), (34, 4)])), set(310, octets().u32(0).u32(100))];
        let [announced] = decoded(&[ipfix(0, 1, &options)]).out.announcements[..] else { panic!() };
        let part = has_0.then(|| Part::Other(u16::try_from(element).unwrap(), 0));
        assert_eq!(announced.part, part);
    }
}

/// The same sampler at two interfaces, with two rates.
#[test]
fn a_sampler_may_be_described_by_interface() {
    let table = |first: u32, second: u32| {
        let body = octets().u32(1).u8(1).u32(first).u32(2).u8(1).u32(second);
        [set(1, options_template9(310, &[(2, 4)], &[(48, 1), (50, 4)])), set(310, body)]
    };
    let template = set(0, template(300, &[(1, 4), (2, 4), (48, 1), (10, 4)]));
    let data = |octets_: u32, input: u32| set(300, octets().u32(octets_).u32(1).u8(1).u32(input));
    let flows = [template, data(100, 1), data(100, 2), data(1, 3)];
    let run = |first, second| {
        let mut pipe = Pipe::of(&[v9(0, 1, &[&table(first, second)[..], &flows[..]].concat())]);
        pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
        (pipe.scaled().0, pipe.sampling.held_records())
    };
    // Of the third interface nobody knows which of the two it has.
    assert_eq!(run(10, 20), (100 * 10 + 100 * 20, 1));
    assert_eq!(run(10, 10), (200 * 10 + 10, 0));
    // For those who watch it is one sampler, with no rate for all.
    let mut pipe = Pipe::of(&[v9(0, 1, &table(10, 20))]);
    let shown: Vec<_> = pipe.sampling.announced().iter().map(|one| (one.number, one.rate)).collect();
    assert_eq!(shown, [(1, (0, 0))]);
    pipe.take(&v9(1, 1, &table(20, 20)));
    let shown: Vec<_> = pipe.sampling.announced().iter().map(|one| (one.number, one.rate)).collect();
    assert_eq!(shown, [(1, (20, 1))]);
}

#[test]
fn a_selector_counts_where_the_sampler_is_0() {
    let options = selectors(&[(304, 1), (305, 4), (306, 4)], &[&[5, 1, 1, 99]]);
    let flows = |fields: &[(u64, u16)], body: Octets| [set(2, template(300, fields)), set(300, body)];
    let both = flows(&[(1, 4), (2, 4), (48, 1), (302, 4)], octets().u32(100).u32(1).u8(0).u32(5));
    let pipe = Pipe::of(&[ipfix(0, 1, &options), ipfix(1, 1, &both)]);
    assert_eq!(pipe.scaled(), (10_000, vec![S::Sampler]));
    // The same in the options record.
    let described = [
        set(3, options_template(311, 1, &[(302, 4), (48, 1), (34, 4)])),
        set(311, octets().u32(5).u8(0).u32(100)),
    ];
    let pipe = Pipe::of(&[ipfix(0, 1, &described), ipfix(1, 1, &both)]);
    assert_eq!(pipe.scaled(), (10_000, vec![S::Sampler]));
}

/// Data names a selection sequence, which options trace to its selectors (RFC 5476 6.5.1).
#[test]
fn a_selection_sequence_multiplies_its_selectors() {
    let sequence = |selectors: &[u32]| {
        let fields: Vec<_> = [(301, 8)].into_iter().chain(selectors.iter().map(|_| (302, 4))).collect();
        let body = selectors.iter().fold(octets().u64(77), |body, &id| body.u32(id));
        [set(3, options_template(311, 1, &fields)), set(311, body)]
    };
    // 5: one of 100; 6: one of 10; 7: a filter, which nobody can scale; 9: nothing is left out.
    let table = selectors(
        &[(304, 1), (305, 4), (306, 4)],
        &[&[5, 1, 1, 99], &[6, 1, 1, 9], &[7, 5, 1, 9], &[9, 1, 1, 0]],
    );
    let flows =
        [set(2, template(300, &[(1, 4), (2, 4), (301, 8)])), set(300, octets().u32(100).u32(1).u64(77))];
    let run = |told: &[u32]| {
        let mut pipe = Pipe::of(&[ipfix(0, 1, &flows), ipfix(1, 1, &sequence(told)), ipfix(2, 1, &table)]);
        pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
        (pipe.scaled().0, pipe.sampling.held_records())
    };
    assert_eq!(run(&[5]), (10_000, 0));
    assert_eq!(run(&[5, 6]), (100_000, 0));
    assert_eq!(run(&[9, 5, 6, 6]), (1_000_000, 0));
    // A filter; more selectors than are looked at; one that nobody has described.
    for held in [&[5, 7][..], &[9, 9, 9, 9, 5], &[5, 8]] {
        assert_eq!(run(held), (0, 1), "{held:?}");
    }
    // A sequence that nobody has described.
    let mut pipe = Pipe::of(&[ipfix(0, 1, &table), ipfix(1, 1, &flows)]);
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (0, 1));
    // It survives a checkpoint.
    let saved =
        postcard::to_stdvec(&Pipe::of(&[ipfix(0, 1, &sequence(&[5, 6])), ipfix(1, 1, &table)]).sampling);
    let mut pipe = Pipe { sampling: postcard::from_bytes(&saved.unwrap()).unwrap(), ..Pipe::default() };
    pipe.take(&ipfix(2, 1, &flows));
    assert_eq!(pipe.scaled(), (100_000, vec![S::Sampler]));
}

/// v9 options of algorithm and interval, in this order or in the other.
fn interval(n: u32, interval_first: bool, interval: u32, algorithm: u8) -> Vec<u8> {
    let (fields, body) = if interval_first {
        ([(34, 4), (35, 1)], octets().u32(0).u32(interval).u8(algorithm))
    } else {
        ([(35, 1), (34, 4)], octets().u32(0).u8(algorithm).u32(interval))
    };
    v9(n, 1, &[set(1, options_template9(310, &[(1, 4)], &fields)), set(310, body)])
}

#[test]
fn what_is_right_replaces_what_was_garbled() {
    // Algorithm 9 does not exist. Another layout is believed at once.
    let pipe = Pipe::of(&[interval(0, true, 64, 9), interval(1, false, 64, 1), v9_volume(2, 100)]);
    assert_eq!(pipe.scaled(), (6400, vec![S::Domain]));
    // The same layout when three records in a row agree, which chance does not.
    let mut pipe = Pipe::of(&[interval(0, true, 64, 9), interval(1, true, 64, 1), interval(2, true, 64, 1)]);
    assert_eq!(pipe.sampling.domain_rate(1), None);
    pipe.take(&interval(3, true, 65, 1));
    pipe.take(&interval(4, true, 64, 1));
    pipe.take(&interval(5, true, 64, 2));
    assert_eq!(pipe.sampling.domain_rate(1), None);
    pipe.sampling = postcard::from_bytes(&postcard::to_stdvec(&pipe.sampling).unwrap()).unwrap();
    pipe.take(&interval(6, true, 64, 1));
    assert_eq!(pipe.sampling.domain_rate(1), Some(rate(64, 1, S::Domain)));
    // A garbled layout says nothing of what another one stated.
    pipe.take(&interval(7, false, 32, 1));
    pipe.take(&interval(8, true, 64, 200));
    assert_eq!(pipe.sampling.domain_rate(1), Some(rate(32, 1, S::Domain)));
}
