//! The operator's word: rates of their own, and what must not be let go without one.

use super::*;

/// A record that tells of its own sampling what can be read in two ways.
#[test]
fn an_ambiguous_record_waits_for_the_operator() {
    let fields = [(1, 4), (2, 4), (304, 2), (305, 4)];
    let data = set(300, octets().u32(1000).u32(1).u16(3).u32(1));
    let mut pipe = Pipe::of(&[ipfix(0, 1, &[set(2, template(300, &fields)), data])]);
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (0, 1));
    pipe.policy.over = Some(rate(512, 1, RateSource::Override));
    pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(EXPORT_MS), &mut pipe.settled);
    assert_eq!(pipe.scaled(), (512_000, vec![RateSource::Override]));
}

#[test]
fn where_the_operator_insists_unannounced_records_wait() {
    let policy = SamplingPolicy { require: true, ..SamplingPolicy::default() };
    assert_eq!(settle(&[], &policy, record(1, SamplerRef::Unnamed)), None);
    assert_eq!(settle(&[], &policy, record(1, SamplerRef::Mute)), None);
    assert_eq!(settle(&[wide(1, 1)], &policy, record(1, SamplerRef::Unnamed)), Some((1, RateSource::Domain)));
    let stated = SamplerRef::Stated(rate(1, 1, RateSource::Header));
    assert_eq!(settle(&[], &policy, record(1, stated)), Some((1, RateSource::Header)));
    // When the operator no longer does, they are let go.
    let (config, mut sampling, mut records) =
        (Config::default(), ExporterSampling::default(), vec![record(1, SamplerRef::Unnamed)]);
    sampling.scale(&config, &policy, (D, UnixMillis(0)), &mut records, 0);
    sampling.expire(&config, &policy, UnixMillis(600_000), &mut records);
    assert_eq!((records.len(), sampling.held_records()), (0, 1));
    sampling.expire(&config, &SamplingPolicy::default(), UnixMillis(600_001), &mut records);
    assert_eq!((records.len(), sampling.held_records()), (1, 0));
}

/// A rate for all that is set, taken back, and set again: what came in between is freed as well.
#[test]
fn a_policy_that_comes_back_frees_what_came_meanwhile() {
    let mut pipe = Pipe::of(&[ipfix(0, 1, &[named(), data(5, 10)])]);
    let look = |pipe: &mut Pipe, over: bool| {
        pipe.policy.over = over.then(|| rate(7, 1, RateSource::Override));
        pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(EXPORT_MS), &mut pipe.settled);
        (pipe.settled.len(), pipe.sampling.held_records())
    };
    assert_eq!(look(&mut pipe, true), (1, 0));
    assert_eq!(look(&mut pipe, false), (1, 0));
    pipe.take(&ipfix(1, 1, &[data(5, 20)]));
    // Nobody looked while the rate was taken back.
    assert_eq!(look(&mut pipe, true), (2, 0));
}
