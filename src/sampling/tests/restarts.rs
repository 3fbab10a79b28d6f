//! An exporter that has started anew: what it announced before is doubted.

use super::*;
use RateSource as S;

/// Seconds after [`EXPORT`] at which the exporter is heard again, with an uptime of a second.
const AFTER: u32 = 60;

/// v9 of the run before, and of the run after.
fn before(number: u32, domain: u32, sets: &[Octets]) -> Vec<u8> {
    v9_at(900_000, EXPORT, 500 + number, domain, sets)
}

fn after(number: u32, domain: u32, sets: &[Octets]) -> Vec<u8> {
    v9_at(1000 + 1000 * number, EXPORT + AFTER + number, number, domain, sets)
}

fn table(sampler: u8, interval: u32) -> Vec<Octets> {
    let template = options_template9(310, &[(1, 4)], &[(48, 1), (49, 1), (50, 4)]);
    vec![set(1, template), set(310, octets().u32(0).u8(sampler).u8(2).u32(interval))]
}

fn flows(sampler: u8, octets_: u32) -> Vec<Octets> {
    let fields = [(1, 4), (2, 4), (48, 1)];
    vec![set(0, template(300, &fields)), set(300, octets().u32(octets_).u32(1).u8(sampler))]
}

fn wide_options(interval: u32) -> Vec<Octets> {
    let template = options_template9(311, &[(1, 4)], &[(34, 4), (35, 1)]);
    vec![set(1, template), set(311, octets().u32(0).u32(interval).u8(1))]
}

/// An exporter that has announced 1:100 and sent 100 octets by it; it starts anew, and sends 100 more.
fn restarted(options: &[Octets], flows: &[Octets]) -> Pipe {
    let mut pipe = Pipe::default();
    pipe.take(&before(0, 1, &[options, flows].concat()));
    assert_eq!(pipe.scaled().0, 10_000);
    pipe.take_at(EXPORT_MS + i64::from(AFTER) * 1000, &after(0, 1, flows));
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (1, 1));
    assert_eq!(pipe.counts().restarts, 1);
    pipe
}

/// At so many seconds after the restart.
fn take_after(pipe: &mut Pipe, number: u32, domain: u32, sets: &[Octets]) {
    pipe.take_at(EXPORT_MS + i64::from(AFTER + number) * 1000, &after(number, domain, sets));
}

#[test]
fn what_is_announced_anew_scales_what_waited() {
    for (old, new, flows) in [
        (table(1, 100), table(1, 1000), flows(1, 100)),
        (wide_options(100), wide_options(1000), flows(0, 100)),
    ] {
        let mut pipe = restarted(&old, &flows);
        take_after(&mut pipe, 10, 1, &new);
        assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (10_000 + 100_000, 0));
        take_after(&mut pipe, 11, 1, &flows);
        assert_eq!(pipe.scaled().0, 10_000 + 100_000 + 100_000);
        // The same rate as before is news as well.
        let mut pipe = restarted(&old, &flows);
        take_after(&mut pipe, 10, 1, &old);
        assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (10_000 + 10_000, 0));
        assert_eq!(pipe.sampling.taken_up(), 0);
    }
}

#[test]
fn what_nobody_announces_anew_is_taken_up_again_and_counted() {
    let grace_ends = EXPORT_MS + i64::from(AFTER) * 1000 + 600_000;
    for (old, flows) in [(table(1, 100), flows(1, 100)), (wide_options(100), flows(0, 100))] {
        let mut pipe = restarted(&old, &flows);
        pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(grace_ends - 1), &mut pipe.settled);
        assert_eq!((pipe.settled.len(), pipe.sampling.taken_up()), (1, 0));
        pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(grace_ends), &mut pipe.settled);
        assert_eq!((pipe.scaled().0, pipe.sampling.taken_up()), (20_000, 1));
        // At the end of a capture, too; and what comes when the time is over does not wait.
        let mut pipe = restarted(&old, &flows);
        pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
        assert_eq!((pipe.scaled().0, pipe.sampling.taken_up()), (20_000, 1));
        let mut pipe = restarted(&old, &flows);
        pipe.take_at(grace_ends, &after(600, 1, &flows));
        assert_eq!((pipe.scaled().0, pipe.sampling.taken_up()), (30_000, 1));
        // The operator's word is not doubted.
        let mut pipe = restarted(&old, &flows);
        pipe.policy.over = Some(rate(7, 1, S::Override));
        take_after(&mut pipe, 1, 1, &flows);
        assert_eq!(pipe.scaled().0, 10_000 + 700 + 700);
    }
}

/// A restart of our own changes nothing of the doubt, whenever it happens.
#[test]
fn a_checkpoint_keeps_the_doubt() {
    let mut pipe = restarted(&table(1, 100), &flows(1, 100));
    let saved = postcard::to_stdvec(&pipe.sampling).unwrap();
    let chunks = pipe.sampling.take_changes().written;
    pipe.sampling = postcard::from_bytes(&saved).unwrap();
    pipe.sampling.restore(ExporterId(0), chunks).unwrap();
    take_after(&mut pipe, 5, 1, &flows(1, 100));
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (1, 2));
    take_after(&mut pipe, 10, 1, &table(1, 1000));
    assert_eq!(pipe.scaled().0, 10_000 + 200_000);
}

/// Cisco IOS XE announces in another domain than that of the records. Both show the one restart, one after the other.
#[test]
fn domains_that_start_anew_soon_after_one_another_are_one_restart() {
    let met = || Pipe::of(&[before(0, 6, &table(1, 100)), before(0, 256, &flows(1, 100))]);
    let mut pipe = met();
    take_after(&mut pipe, 0, 6, &table(1, 1000));
    take_after(&mut pipe, 1, 256, &flows(1, 100));
    assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (10_000 + 100_000, 0));
    // The other way round.
    let mut pipe = met();
    take_after(&mut pipe, 0, 256, &flows(1, 100));
    assert_eq!(pipe.sampling.held_records(), 1);
    take_after(&mut pipe, 1, 6, &table(1, 1000));
    assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (10_000 + 100_000, 0));
}

/// Where the exporter describes itself otherwise than before, what it no longer says does not come back.
#[test]
fn old_statements_beside_new_ones_do_not_come_back() {
    let part = |part, n| Announcement { part: of_interface(part), ..wide(1, n) };
    let at = |input| FlowRecord { input: IfIndex(input), ..record(1, SamplerRef::Unnamed) };
    let (config, policy) = (Config::default(), SamplingPolicy::default());
    let run = |announced: &[Announcement]| {
        let (mut sampling, mut records) = (ExporterSampling::default(), Vec::new());
        sampling.announce(D, &[part(1, 100), wide(1, 10)], &policy, &mut records);
        records.push(at(1));
        sampling.scale(&config, &policy, (D, UnixMillis(0)), &mut records, 0);
        sampling.restarted(&config, D, &[1], UnixMillis(1000));
        sampling.announce(D, announced, &policy, &mut records);
        records.push(at(1));
        sampling.scale(&config, &policy, (D, UnixMillis(1000)), &mut records, 1);
        let held = sampling.held_records();
        sampling.expire(&config, &policy, UnixMillis(601_000), &mut records);
        let rates: Vec<u32> = records.iter().map(|record| record.rate.numerator()).collect();
        (rates, held, sampling.taken_up())
    };
    assert_eq!(run(&[wide(1, 20)]), (vec![100, 20], 1, 0));
    assert_eq!(run(&[wide(1, 20), part(1, 100)]), (vec![100, 100], 0, 0));
    assert_eq!(run(&[]), (vec![100, 100], 1, 1));
}

/// A second restart within the grace time of the first.
#[test]
fn what_was_announced_between_two_restarts_is_doubted_as_well() {
    let mut pipe = restarted(&table(1, 100), &flows(1, 100));
    for number in 1..100 {
        take_after(&mut pipe, number, 1, &table(1, 1000));
    }
    assert_eq!(pipe.scaled().0, 110_000);
    let now = EXPORT_MS + 300_000;
    pipe.take_at(now, &v9_at(1000, EXPORT + 300, 0, 1, &flows(1, 100)));
    assert_eq!((pipe.counts().restarts, pipe.sampling.held_records()), (2, 1));
    pipe.take_at(now + 1000, &v9_at(2000, EXPORT + 301, 1, 1, &table(1, 10)));
    assert_eq!(pipe.scaled().0, 110_000 + 1000);
}

/// What is said of a template is doubted like the rest.
#[test]
fn a_templates_rate_is_doubted_too() {
    let by_template = |interval: u32| {
        let template = options_template9(312, &[(5, 2)], &[(34, 4)]);
        vec![set(1, template), set(312, octets().u16(300).u32(interval))]
    };
    let mut pipe = restarted(&by_template(100), &flows(0, 100));
    take_after(&mut pipe, 1, 1, &by_template(1000));
    assert_eq!((pipe.scaled().0, pipe.sampling.taken_up()), (110_000, 0));
    // Nobody says it again: it holds again after the grace time.
    let mut pipe = restarted(&by_template(100), &flows(0, 100));
    let over = UnixMillis(EXPORT_MS + i64::from(AFTER) * 1000 + 600_000);
    pipe.sampling.expire(&pipe.config, &pipe.policy, over, &mut pipe.settled);
    assert_eq!((pipe.scaled().0, pipe.sampling.taken_up()), (20_000, 1));
}
