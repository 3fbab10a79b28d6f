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
        let part = if has_0 { of_other(u16::try_from(element).unwrap(), 0) } else { Part::WHOLE };
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

/// Octets, packets and both names of a sampler.
fn two_names(sampler: u32, selector: u32) -> [Octets; 2] {
    let fields = [(1, 4), (2, 4), (48, 4), (302, 4)];
    [set(2, template(300, &fields)), set(300, octets().u32(100).u32(1).u32(sampler).u32(selector))]
}

/// What was scaled, and how many records still wait at the end of a capture.
fn at_the_end(datagrams: &[Vec<u8>]) -> (u64, usize) {
    let mut pipe = Pipe::of(datagrams);
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    (pipe.scaled().0, pipe.sampling.held_records())
}

/// Huawei's records have the input interface in element 48, and the selector in 302.
#[test]
fn of_two_names_the_described_one_counts() {
    let run = |told: &[&[u64]], sampler, selector| {
        let table = selectors(&[(304, 1), (305, 4), (306, 4)], told);
        at_the_end(&[ipfix(0, 1, &two_names(sampler, selector)), ipfix(1, 1, &table)])
    };
    // 5: one of 100; 6: one of 10; 7: one of 100; 8: a filter, which has no rate.
    let (five, six, seven, eight) =
        (&[5, 1, 1, 99][..], &[6, 1, 1, 9][..], &[7, 1, 1, 99][..], &[8, 5, 1, 9][..]);
    assert_eq!(run(&[five], 12, 5), (10_000, 0));
    assert_eq!(run(&[five], 5, 12), (10_000, 0));
    assert_eq!(run(&[five], 5, 5), (10_000, 0));
    assert_eq!(run(&[five, seven], 7, 5), (10_000, 0));
    // Both are, and differ; neither is.
    for (told, sampler, selector) in
        [(&[five, six][..], 6, 5), (&[five, six], 5, 6), (&[five, eight], 8, 5), (&[five], 12, 13)]
    {
        assert_eq!(run(told, sampler, selector), (0, 1), "{sampler} {selector}");
    }
    // Another line card has a sampler 12; it is not the interface 12 of this one.
    let table = |id: u64, gap: u64| selectors(&[(304, 1), (305, 4), (306, 4)], &[&[id, 1, 1, gap]]);
    let both_cards = [
        ipfix(0, 2, &table(12, 999)),
        ipfix(1, 2, &[named(), data(12, 1)]),
        ipfix(0, 1, &table(5, 99)),
        ipfix(1, 1, &two_names(12, 5)),
    ];
    assert_eq!(at_the_end(&both_cards), (1000 + 10_000, 0));
}

#[test]
fn an_options_record_with_two_names_describes_both() {
    let options = [
        set(3, options_template(311, 1, &[(302, 4), (48, 4), (34, 4)])),
        set(311, octets().u32(6).u32(25).u32(1000)),
    ];
    for (sampler, selector) in [(25, 0), (0, 6), (25, 6), (3, 6), (25, 3)] {
        let run = at_the_end(&[ipfix(0, 1, &options), ipfix(1, 1, &two_names(sampler, selector))]);
        assert_eq!(run, (100_000, 0), "{sampler} {selector}");
    }
    assert_eq!(at_the_end(&[ipfix(0, 1, &options), ipfix(1, 1, &two_names(6, 25))]), (100_000, 0));
    assert_eq!(at_the_end(&[ipfix(0, 1, &options), ipfix(1, 1, &two_names(3, 4))]), (0, 1));
}

#[test]
fn statements_of_one_record_that_contradict_each_other_give_no_rate() {
    let is = |n| Some(rate(n, 1, S::Sampler));
    let beside_count = [(34, 4), (305, 4), (306, 4)];
    assert_eq!(announced(&beside_count, &[500, 1, 999]), None);
    assert_eq!(announced(&beside_count, &[500, 1, 499]), is(500));
    let beside_random = [(34, 4), (49, 1), (50, 4)];
    assert_eq!(announced(&beside_random, &[500, 2, 1000]), None);
    assert_eq!(announced(&beside_random, &[1000, 2, 1000]), is(1000));
    // What is 0 says nothing.
    assert_eq!(announced(&beside_random, &[500, 2, 0]), is(500));
    assert_eq!(announced(&[(305, 4), (306, 4), (309, 4), (310, 4)], &[1, 99, 1, 64]), None);
    assert_eq!(announced(&[(305, 4), (306, 4), (309, 4), (310, 4)], &[1, 63, 2, 128]), is(64));
    // The algorithm says which of them counts, if it has its parameters.
    assert_eq!(announced(&[(304, 1), (305, 4), (306, 4), (34, 4)], &[1, 1, 999, 500]), is(1000));
    assert_eq!(announced(&[(304, 1), (34, 4), (50, 4)], &[3, 500, 1000]), None);
    // The same in a record of flows: it waits.
    let own = [
        set(2, template(300, &[(1, 4), (2, 4), (34, 4), (305, 4), (306, 4)])),
        set(300, octets().u32(100).u32(1).u32(500).u32(1).u32(999)),
    ];
    assert_eq!(at_the_end(&[ipfix(0, 1, &own)]), (0, 1));
}

/// Element 149 says of which domain a statement is: one that names another domain than its own means only that.
#[test]
fn a_statement_about_another_domain_is_about_no_third_one() {
    let volume =
        [set(2, template(300, &[(1, 4), (2, 4), (302, 4)])), set(300, octets().u32(100).u32(1).u32(0))];
    let wide = |about: u32| {
        let fields = [(149, 4), (34, 4)];
        [set(3, options_template(311, 1, &fields)), set(311, octets().u32(about).u32(64))]
    };
    let run = |from, about, of| at_the_end(&[ipfix(0, from, &wide(about)), ipfix(0, of, &volume)]);
    assert_eq!(run(0, 99, 99), (6400, 0));
    assert_eq!(run(0, 99, 5), (0, 1));
    // Its own domain, or 0, is no other one: exporters whose domains agree have one rate.
    for (from, about) in [(0, 5), (0, 0), (5, 5), (7, 7)] {
        assert_eq!(run(from, about, 5), (6400, 0), "{about} in {from}");
    }
    let mut pipe = Pipe::of(&[ipfix(0, 0, &wide(99)), ipfix(0, 5, &volume)]);
    pipe.policy.default = Some(rate(10, 1, S::Default));
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    assert_eq!(pipe.scaled(), (1000, vec![S::Default]));
    // So it is with samplers.
    let sampler = |about: u32| {
        let fields = [(149, 4), (302, 4), (34, 4)];
        [set(3, options_template(311, 2, &fields)), set(311, octets().u32(about).u32(5).u32(64))]
    };
    let run = |about, of| at_the_end(&[ipfix(0, 0, &sampler(about)), ipfix(0, of, &[named(), data(5, 100)])]);
    assert_eq!((run(99, 99), run(99, 5), run(0, 5)), ((6400, 0), (0, 1), (6400, 0)));
}

/// Domain 0 of IPFIX is the device (RFC 7011 3.1): a third domain has its rate, whatever the others say of themselves.
#[test]
fn domain_0_speaks_for_the_device() {
    let policy = SamplingPolicy::default();
    let over = |version: u64, domain: u32, n| {
        let order = Order { stream: version << 32 | u64::from(domain), ..Order::default() };
        Announcement { order, ..wide(domain, n) }
    };
    let third = record(9, SamplerRef::Unnamed);
    let of = |rates: &[Announcement]| settle(rates, &policy, third);
    assert_eq!(of(&[over(10, 0, 64), over(10, 5, 1000)]), Some((64, S::Exporter)));
    // Without it they differ, and nothing is guessed; a domain 0 of v9 is one of them.
    assert_eq!(of(&[over(10, 4, 64), over(10, 5, 1000)]), None);
    assert_eq!(of(&[over(9, 0, 64), over(9, 5, 1000)]), None);
    // Who has a rate of their own has that.
    let own = record(5, SamplerRef::Unnamed);
    assert_eq!(settle(&[over(10, 0, 64), over(10, 5, 1000)], &policy, own), Some((1000, S::Domain)));
}

/// Domain 6 only sends options, for the others; domain 7 has records, which its own options are about. That 6 has no
/// records is known when the grace time is over.
#[test]
fn a_domain_without_records_describes_samplers_of_others_before_one_that_has_some() {
    let sampler = |domain, n| Announcement { sampler: Some(1), ..wide(domain, n) };
    let policy = SamplingPolicy::default();
    let run = |first: Option<u32>| {
        let mut sampling = ExporterSampling::default();
        let mut records: Vec<_> =
            first.into_iter().chain([7, 256]).map(|domain| record(domain, SamplerRef::Named(1))).collect();
        sampling.announce(D, &[sampler(6, 1000), sampler(7, 10_000)], &policy, &mut Vec::new());
        sampling.scale(&Config::default(), &policy, (D, UnixMillis(0)), &mut records, 0);
        let waits = sampling.held_records();
        sampling.finish(&policy, &mut records);
        (waits, records.iter().map(|record| record.rate.numerator()).collect::<Vec<_>>())
    };
    assert_eq!(run(None), (1, vec![10_000, 1000]));
    assert_eq!(run(Some(6)), (1, vec![1000, 10_000]));
}

/// Element 61 beside an interface: of the packets that leave by it, nobody says anything of those that come in.
#[test]
fn a_direction_beside_an_interface_is_one_side_of_it() {
    let options =
        |fields: &[(u64, u16)], body: Octets| [set(3, options_template(311, 1, fields)), set(311, body)];
    let interface =
        |element, way| options(&[(element, 4), (61, 1), (34, 4)], octets().u32(5).u8(way).u32(64));
    for (element, way, part) in
        [(10, 0, of_ingress(5)), (10, 1, of_egress(5)), (14, 0, of_ingress(5)), (14, 1, of_egress(5))]
    {
        let announced = decoded(&[ipfix(0, 1, &interface(element, way))]).out.announcements;
        assert_eq!(announced[0].part, part, "{element} {way}");
    }
    let v9_scope = [
        set(1, options_template9(310, &[(2, 4)], &[(61, 1), (34, 4)])),
        set(310, octets().u32(5).u8(1).u32(64)),
    ];
    assert_eq!(decoded(&[v9(0, 1, &v9_scope)]).out.announcements[0].part, of_egress(5));
    let flow = |input: u32, output: u32| {
        let fields = [(1, 4), (2, 4), (10, 4), (14, 4)];
        [set(2, template(300, &fields)), set(300, octets().u32(100).u32(1).u32(input).u32(output))]
    };
    let run = |way, input, output| {
        at_the_end(&[ipfix(0, 1, &interface(10, way)), ipfix(1, 1, &flow(input, output))])
    };
    assert_eq!((run(0, 5, 6), run(0, 6, 7)), ((6400, 0), (0, 1)));
    assert_eq!((run(1, 5, 6), run(1, 6, 5)), ((0, 1), (6400, 0)));
    // Ways without an interface that differ: records do not say which was theirs.
    let ways = |there: u32, back: u32| {
        let body = octets().u8(0).u32(there).u8(1).u32(back);
        let told = options(&[(61, 1), (34, 4)], body);
        at_the_end(&[ipfix(0, 1, &told), ipfix(2, 1, &flow(5, 6))])
    };
    assert_eq!((ways(64, 64), ways(64, 32)), ((6400, 0), (0, 1)));
}

/// Packets are taken for a millisecond, and not for nine: how many that is of how many, nobody says.
#[test]
fn sampling_by_time_has_no_rate_in_packets() {
    let is = |n| Some(rate(n, 1, S::Sampler));
    assert_eq!(announced(&[(304, 1), (307, 4), (308, 4)], &[2, 1000, 9000]), None);
    assert_eq!(announced(&[(307, 4), (308, 4)], &[1000, 9000]), None);
    assert_eq!(announced(&[(304, 1), (307, 4), (308, 4), (34, 4)], &[2, 1000, 9000, 100]), None);
    // Another algorithm has its own parameters.
    let random = [(304, 1), (307, 4), (308, 4), (309, 4), (310, 4)];
    assert_eq!(announced(&random, &[3, 1000, 9000, 1, 64]), is(64));
    // No time at all is nothing said of it.
    assert_eq!(announced(&[(304, 1), (307, 4), (308, 4), (34, 4)], &[2, 0, 0, 100]), is(100));
    // Flows picked by time, alone and behind a sampler of packets.
    assert_eq!(announced(&[(390, 1), (398, 4), (399, 4)], &[2, 1000, 9000]), None);
    let both = [(304, 1), (305, 4), (306, 4), (398, 4), (399, 4)];
    assert_eq!(announced(&both, &[1, 1, 9, 1000, 9000]), None);

    let options = options_template(310, 1, &[(149, 4), (304, 1), (307, 4), (308, 4)]);
    let options = [set(3, options), set(310, octets().u32(1).u8(2).u32(1000).u32(9000))];
    let mut pipe = Pipe::of(&[ipfix(0, 1, &options), unnamed(1, 0)]);
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (0, 1));
    pipe.policy.over = Some(rate(10, 1, S::Override));
    pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(EXPORT_MS), &mut pipe.settled);
    assert_eq!(pipe.scaled(), (1000, vec![S::Override]));
}
