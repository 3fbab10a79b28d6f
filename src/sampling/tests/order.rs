//! What was said last need not be what came last: statements that others have overtaken, and new sessions.

use super::*;
use crate::flow::Mark;

/// v9 datagrams in the order of their numbers, a tenth of a second apart.
fn nine(number: u32, sets: &[Octets]) -> Vec<u8> {
    v9_at(UPTIME + 100 * number, EXPORT, number, 1, sets)
}

fn table(samplers: &[(u8, u32)]) -> Vec<Octets> {
    let template = options_template9(310, &[(1, 4)], &[(48, 1), (49, 1), (50, 4)]);
    let body = samplers.iter().fold(octets(), |body, &(id, n)| body.u32(0).u8(id).u8(2).u32(n));
    vec![set(1, template), set(310, body)]
}

fn flows(sampler: u8) -> Vec<Octets> {
    let fields = [(1, 4), (2, 4), (48, 1)];
    vec![set(0, template(300, &fields)), set(300, octets().u32(100).u32(1).u8(sampler))]
}

/// 100 octets at 1:10, then the rate is 1:20; an older statement of 1:10 arrives behind that.
#[test]
fn an_overtaken_statement_does_not_replace_the_newer_one() {
    let mut pipe = Pipe::of(&[nine(1, &[table(&[(1, 10)]), flows(1)].concat()), nine(3, &table(&[(1, 20)]))]);
    // What it says of another sampler is the newest that is known of that one.
    pipe.take(&nine(2, &table(&[(1, 10), (2, 7)])));
    pipe.take(&nine(4, &[flows(1), flows(2)].concat()));
    assert_eq!(pipe.scaled().0, 1000 + 2000 + 700);
    // Said in order, the last one counts, whatever it was before.
    pipe.take(&nine(5, &table(&[(1, 10)])));
    pipe.take(&nine(6, &flows(1)));
    assert_eq!(pipe.scaled().0, 3700 + 1000);
}

/// The same of a whole domain, over a checkpoint between the newer and the older statement.
#[test]
fn a_checkpoint_keeps_the_order_of_statements() {
    let wide = |n: u32| {
        let template = options_template9(311, &[(1, 4)], &[(34, 4), (35, 1)]);
        vec![set(1, template), set(311, octets().u32(0).u32(n).u8(1))]
    };
    let mut pipe = Pipe::of(&[nine(1, &wide(10)), nine(3, &wide(20))]);
    pipe.sampling = postcard::from_bytes(&postcard::to_stdvec(&pipe.sampling).unwrap()).unwrap();
    let decoder = postcard::to_stdvec(&pipe.collector.decoder).unwrap();
    pipe.collector.decoder = postcard::from_bytes(&decoder).unwrap();
    pipe.take(&nine(2, &wide(10)));
    pipe.take(&nine(4, &flows(0)));
    assert_eq!(pipe.scaled(), (2000, vec![RateSource::Domain]));
}

/// An exporter that starts anew begins with small numbers: what it says then is no old statement.
#[test]
fn a_new_run_says_new_things() {
    let mut pipe = Pipe::of(&[nine(40, &[table(&[(1, 10)]), flows(1)].concat())]);
    let after = |number: u32, sets: &[Octets]| v9_at(1000 + number, EXPORT + 60, number, 1, sets);
    pipe.take_at(EXPORT_MS + 60_000, &after(35, &flows(1)));
    assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (1000, 1));
    pipe.take_at(EXPORT_MS + 60_000, &after(37, &[]));
    pipe.take_at(EXPORT_MS + 60_000, &after(36, &table(&[(1, 30)])));
    assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (1000 + 3000, 0));
}

#[test]
fn an_overtaken_selection_sequence_does_not_replace_the_newer_one() {
    let mark = |number| Mark { number, stated: UnixMillis(EXPORT_MS) };
    let said = |selector: u64, at: u32, head: Option<u32>| SelectionSequence {
        domain: 1,
        id: 9,
        selectors: [selector, 0, 0, 0],
        more: false,
        order: Order { stream: 1, at: mark(at), head: head.map(mark) },
    };
    let selector = |id, n| Announcement { sampler: Some(id), ..wide(1, n) };
    let rates = |sequences: &[SelectionSequence]| {
        let (mut sampling, mut records) = (ExporterSampling::default(), Vec::new());
        let policy = SamplingPolicy::default();
        sampling.announce_sequences(D, sequences);
        sampling.announce(D, &[selector(1, 10), selector(2, 20)], &policy, &mut records);
        records.push(record(1, SamplerRef::Sequence(9)));
        sampling.scale(&Config::default(), &policy, (D, UnixMillis(0)), &mut records, 0);
        records[0].rate.numerator()
    };
    assert_eq!(rates(&[said(1, 1, None), said(2, 3, None), said(1, 2, Some(3))]), 20);
    assert_eq!(rates(&[said(1, 1, None), said(2, 3, None), said(1, 4, None)]), 10);
    // Numbers of another protocol or domain are no order.
    let other = Order { stream: 2, ..said(1, 2, Some(3)).order };
    assert_eq!(rates(&[said(2, 3, None), SelectionSequence { order: other, ..said(1, 2, None) }]), 10);
}

/// IPFIX options that describe selector 5 as 1:`n` (RFC 5477: 305, 306).
fn selector(n: u64) -> [Octets; 2] {
    selectors(&[(304, 1), (305, 4), (306, 4)], &[&[5, 1, 1, n - 1]])
}

/// A new session may be the first one after a start, or after the operator has changed the rate: what the session before
/// was told is doubted, as after a start that datagrams show.
#[test]
fn a_new_session_doubts_what_another_one_announced() {
    let flows = [named(), data(5, 100)];
    let met = || {
        let mut pipe = Pipe::default();
        pipe.hear_at(1, EXPORT_MS, &ipfix(0, 1, &[&selector(100)[..], &flows].concat()));
        pipe.hear_at(1, EXPORT_MS, &ipfix(2, 1, &flows));
        assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (20_000, 0));
        pipe.end_session(1);
        pipe.hear_at(2, EXPORT_MS + 1000, &ipfix(0, 1, &flows));
        assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (20_000, 1));
        pipe
    };
    // It announces its rate: another one, or the same.
    for n in [1000, 100] {
        let mut pipe = met();
        pipe.hear_at(2, EXPORT_MS + 2000, &ipfix(1, 1, &selector(n)));
        pipe.hear_at(2, EXPORT_MS + 2000, &ipfix(2, 1, &flows));
        assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (20_000 + 200 * n, 0));
        assert_eq!((pipe.sampling.taken_up(), pipe.counts().restarts), (0, 0));
    }
    // It announces none within the grace time.
    let mut pipe = met();
    pipe.hear_at(2, EXPORT_MS + 601_000, &ipfix(1, 1, &flows));
    assert_eq!((pipe.scaled().0, pipe.sampling.taken_up()), (40_000, 1));
}
