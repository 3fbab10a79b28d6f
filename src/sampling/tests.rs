//! Traps of sampling, from octets to scaled volumes; holds and their bounds.

mod interfaces;
mod operator;
mod order;
mod parts;
mod restarts;
mod samplers;
mod sessions;
mod templates;

use super::*;
use crate::decode::tests::build::*;
use crate::decode::{Counts, Decoded};
use crate::flow::{Observed, Order, Part, SamplerRef};
use crate::ids::Session;
use crate::units::IfIndex;
use parts::*;

/// What comes over UDP.
const D: Stream = Stream::DATAGRAMS;

/// Decoder and scaling together, as a stream processor runs them.
#[derive(Default)]
struct Pipe {
    collector: Collector,
    sampling: ExporterSampling,
    config: Config,
    policy: SamplingPolicy,
    settled: Vec<FlowRecord>,
}

impl Pipe {
    fn take(&mut self, datagram: &[u8]) {
        self.take_at(EXPORT_MS, datagram);
    }

    fn take_at(&mut self, now: i64, datagram: &[u8]) {
        self.collector.take_at(now, datagram).unwrap();
        self.settle_at(None, now);
    }

    /// A message of a TCP session.
    fn hear_at(&mut self, session: u16, now: i64, message: &[u8]) {
        let Collector { decoder, limits, out } = &mut self.collector;
        decoder.message(Session(session), ExporterId(7), limits, UnixMillis(now), message, out).unwrap();
        self.settle_at(Some(Session(session)), now);
    }

    fn end_session(&mut self, session: u16) {
        self.collector.decoder.end_session(Session(session));
        self.sampling.end_session(Session(session));
    }

    fn settle_at(&mut self, session: Option<Session>, now: i64) {
        let Decoded { records, announcements, sequences, restarts } =
            core::mem::take(&mut self.collector.out);
        let stream = self.sampling.stream(session, &restarts);
        self.sampling.restarted(&self.config, stream, &restarts, UnixMillis(now));
        self.sampling.announce_sequences(stream, &sequences);
        self.sampling.announce(stream, &announcements, &self.policy, &mut self.settled);
        let from = self.settled.len();
        self.settled.extend(records);
        let at = (stream, UnixMillis(now));
        self.sampling.scale(&self.config, &self.policy, at, &mut self.settled, from);
    }

    fn of(datagrams: &[Vec<u8>]) -> Self {
        let mut pipe = Self::default();
        datagrams.iter().for_each(|datagram| pipe.take(datagram));
        pipe
    }

    fn counts(&self) -> Counts {
        self.collector.counts()
    }

    /// Octets after scaling (whole numbers in these tests), and the source of each rate.
    fn scaled(&self) -> (u64, Vec<RateSource>) {
        let octets = self.settled.iter().map(|record| {
            let scaled = record.octets.as_u64() * u64::from(record.rate.numerator());
            assert_eq!(scaled % u64::from(record.rate.denominator()), 0);
            scaled / u64::from(record.rate.denominator())
        });
        (octets.sum(), self.settled.iter().map(|record| record.rate.source()).collect())
    }
}

fn rate(numerator: u64, denominator: u64, source: RateSource) -> SamplingRate {
    SamplingRate::new(numerator, denominator, source).unwrap()
}

/// A template of octets, packets and the sampler's id.
fn named() -> Octets {
    set(2, template(300, &[(1, 4), (2, 4), (302, 4)]))
}

fn data(sampler: u32, octets_: u32) -> Octets {
    set(300, octets().u32(octets_).u32(1).u32(sampler))
}

/// An IPFIX options template whose scope is the selector (302), and records of it.
fn selectors(fields: &[(u64, u16)], records: &[&[u64]]) -> [Octets; 2] {
    let all: Vec<_> = [(302, 4)].iter().chain(fields).copied().collect();
    let body = records.iter().fold(octets(), |body, values| {
        values.iter().zip(&all).fold(body, |body, (&n, &(_, len))| body.uint(n, len.into()))
    });
    [set(3, options_template(310, 1, &all)), set(310, body)]
}

fn announced(fields: &[(u64, u16)], values: &[u64]) -> Option<SamplingRate> {
    let record: Vec<u64> = [5].iter().chain(values).copied().collect();
    let collector = decoded(&[ipfix(0, 1, &selectors(fields, &[&record]))]);
    let [announcement] = collector.out.announcements[..] else { panic!() };
    assert_eq!((announcement.domain, announcement.sampler, announcement.part), (1, Some(5), Part::WHOLE));
    announcement.rate
}

#[test]
fn the_algorithm_rules_and_then_its_own_parameters() {
    let ipfix = [(304, 1), (305, 4), (306, 4), (309, 4), (310, 4)];
    let is = |numerator, denominator| Some(rate(numerator, denominator, RateSource::Sampler));
    assert_eq!(announced(&ipfix, &[1, 1, 511, 0, 0]), is(512, 1));
    assert_eq!(announced(&ipfix, &[1, 2, 1, 0, 0]), is(3, 2));
    assert_eq!(announced(&ipfix, &[1, 1, 0, 0, 0]), is(1, 1));
    assert_eq!(announced(&ipfix, &[3, 1, 0, 1, 256]), is(256, 1));
    assert_eq!(announced(&ipfix, &[3, 1, 99, 10, 1000]), is(100, 1));
    assert_eq!(announced(&ipfix, &[3, 4096, 0, 1, 4096]), is(4096, 1));
    assert_eq!(announced(&ipfix, &[2, 1, 99, 0, 0]), None);
    assert_eq!(announced(&ipfix, &[6, 1, 99, 1, 100]), None);
    assert_eq!(announced(&ipfix, &[3, 1, 99, 0, 0]), None);
    // Ambiguous: random with an interval only; count-based without the gap.
    assert_eq!(announced(&[(304, 1), (305, 4)], &[3, 1]), None);
    assert_eq!(announced(&[(304, 2), (305, 4)], &[1, 100]), None);
    // Without algorithm the parameters say which one it is.
    assert_eq!(announced(&[(309, 4), (310, 4)], &[1, 64]), is(64, 1));
    assert_eq!(announced(&[(305, 4), (306, 4)], &[1, 63]), is(64, 1));
    // Directly stated intervals.
    assert_eq!(announced(&[(34, 4), (35, 1)], &[100, 1]), is(100, 1));
    assert_eq!(announced(&[(304, 1), (305, 4), (34, 4)], &[3, 1, 1000]), is(1000, 1));
    assert_eq!(announced(&[(49, 1), (50, 2)], &[1, 1000]), is(1000, 1));
    assert_eq!(announced(&[(49, 1), (50, 4)], &[2, 50]), is(50, 1));
}

#[test]
fn probabilities_are_made_fractions() {
    let of = |p: f64| announced(&[(304, 1), (311, 8)], &[4, p.to_bits()]);
    let is = |numerator, denominator| Some(rate(numerator, denominator, RateSource::Sampler));
    assert_eq!(of(0.001), is(1000, 1));
    assert_eq!(of(1.0 / 3.0), is(3, 1));
    assert_eq!(of(1.0), is(1, 1));
    assert_eq!(of(0.3), is(10, 3));
    assert_eq!(of(0.75), is(4, 3));
    for nonsense in [-0.0, -0.5, 1.5, f64::NAN, f64::INFINITY, 1e-300] {
        assert_eq!(of(nonsense), None);
    }
    let single = announced(&[(304, 1), (311, 4)], &[4, u64::from(0.01_f32.to_bits())]);
    assert_eq!(single, is(100, 1));
}

#[test]
fn v9_options_with_scope_system_interface_or_sampler() {
    let announcements = |scopes: &[(u64, u16)], fields: &[(u64, u16)], body: Octets| {
        let sets = [set(1, options_template9(310, scopes, fields)), set(310, body)];
        decoded(&[v9(0, 9, &sets)]).out.announcements
    };
    let [system] = announcements(&[(1, 4)], &[(34, 4), (35, 1)], octets().u32(99).u32(1000).u8(1))[..] else {
        panic!()
    };
    let domain_wide = Some(rate(1000, 1, RateSource::Domain));
    assert_eq!(
        system,
        Announcement {
            domain: 9,
            sampler: None,
            rate: domain_wide,
            part: Part::WHOLE,
            garbled: false,
            bound: false,
            layout: system.layout,
            order: system.order
        }
    );
    let [interface] = announcements(&[(2, 4)], &[(34, 4)], octets().u32(12).u32(1000))[..] else { panic!() };
    assert_eq!(
        interface,
        Announcement {
            domain: 9,
            sampler: None,
            rate: domain_wide,
            part: of_interface(12),
            garbled: false,
            bound: false,
            layout: interface.layout,
            order: interface.order,
        }
    );
    let [sampler] =
        announcements(&[(1, 4)], &[(48, 1), (49, 1), (50, 4)], octets().u32(9).u8(3).u8(2).u32(64))[..]
    else {
        panic!()
    };
    let its_own = Some(rate(64, 1, RateSource::Sampler));
    assert_eq!(
        sampler,
        Announcement {
            domain: 9,
            sampler: Some(3),
            rate: its_own,
            part: Part::WHOLE,
            garbled: false,
            bound: false,
            layout: sampler.layout,
            order: sampler.order
        }
    );
    // A scope type's number is not an element's: type 1 is "system", not octets; and interval 0 says nothing.
    assert_eq!(announcements(&[(1, 4)], &[(34, 4)], octets().u32(50).u32(0)), []);
}

/// v9 options for the whole system: the totals of the exporter, then interval and algorithm of its sampling, as FortiOS
/// has them (documented as its template 256).
fn statistics(n: u32, interval: u32, algorithm: u8) -> Vec<u8> {
    let fields = [(40, 8), (41, 8), (42, 8), (36, 2), (37, 2), (34, 4), (35, 1)];
    let body = octets().u16(1).u64(9).u64(8).u64(7).u16(60).u16(15).u32(interval).u8(algorithm);
    v9(n, 1, &[set(1, options_template9(256, &[(1, 2)], &fields)), set(256, body)])
}

fn v9_volume(n: u32, octets_: u32) -> Vec<u8> {
    v9(n, 1, &[set(0, template(300, &[(1, 4), (2, 4)])), set(300, octets().u32(octets_).u32(1))])
}

#[test]
fn options_data_that_contradicts_itself_multiplies_nothing() {
    // Octets of a counter, where interval and algorithm should stand: algorithm 131 does not exist.
    let mut pipe = Pipe::of(&[statistics(0, 67, 131), v9_volume(1, 1000)]);
    assert_eq!(pipe.sampling.domain_rate(1), None);
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    assert_eq!(pipe.scaled(), (1000, vec![RateSource::NotAnnounced]));
    // Nor does the next one, which by chance has one that exists.
    pipe.take(&statistics(2, 68, 2));
    pipe.take(&v9_volume(3, 500));
    assert_eq!(pipe.scaled().0, 1500);
    // What was believed before is not believed any longer.
    let mut pipe = Pipe::of(&[statistics(0, 67, 1), statistics(1, 67, 241), v9_volume(2, 1000)]);
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    assert_eq!(pipe.scaled(), (1000, vec![RateSource::NotAnnounced]));
    // The operator's word is, and that survives a restart.
    pipe.policy.default = Some(rate(10, 1, RateSource::Default));
    pipe.sampling = postcard::from_bytes(&postcard::to_stdvec(&pipe.sampling).unwrap()).unwrap();
    pipe.take(&statistics(3, 67, 1));
    pipe.take(&v9_volume(4, 100));
    assert_eq!(pipe.scaled().0, 1000 + 1000);
    // One that says that nothing is sampled is fine, whatever its algorithm.
    assert_eq!(decoded(&[statistics(0, 0, 131)]).out.announcements, []);
    assert_eq!(
        Pipe::of(&[statistics(0, 50, 2)]).sampling.domain_rate(1),
        Some(rate(50, 1, RateSource::Domain))
    );
}

/// Juniper's PTX sends one options record with the interval and one with an algorithm and interval 0 (nfdump's issue
/// 187); whichever comes last, the interval rules.
#[test]
fn a_record_without_any_parameter_takes_nothing_back() {
    let options = |n: u32, id: u16, fields: &[(u64, u16)], values: &[u64]| {
        let body = fields.iter().zip(values).fold(octets(), |body, (&(_, len), &n)| body.uint(n, len.into()));
        ipfix(n, 1, &[set(3, options_template(id, 1, fields)), set(id, body)])
    };
    let interval = |n| options(n, 512, &[(144, 4), (34, 4)], &[1, 10_922]);
    for silent in [
        options(1, 513, &[(302, 4), (304, 2), (305, 4), (306, 4)], &[0, 2, 0, 0]),
        options(1, 513, &[(144, 4), (49, 1), (50, 4)], &[1, 2, 0]),
        options(1, 513, &[(144, 4), (304, 2)], &[1, 3]),
        options(1, 513, &[(144, 4), (304, 2), (307, 4), (308, 4)], &[1, 2, 0, 0]),
    ] {
        let mut pipe = Pipe::of(&[interval(0), silent.clone()]);
        assert_eq!(pipe.sampling.domain_rate(1), Some(rate(10_922, 1, RateSource::Domain)));
        // Without the other one nobody has said anything, which is not the same as an ambiguous statement.
        pipe = Pipe::of(&[silent, unnamed(2, 0)]);
        pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
        assert_eq!(pipe.scaled(), (100, vec![RateSource::NotAnnounced]));
    }
}

/// ipt_NETFLOW picks whole flows, and says so in elements of RFC 7014.
#[test]
fn selected_flows_are_scaled_and_marked() {
    let is = |numerator, denominator| Some(rate(numerator, denominator, RateSource::FlowSelection));
    assert_eq!(announced(&[(390, 1), (396, 4), (397, 4)], &[1, 1, 19]), is(20, 1));
    assert_eq!(announced(&[(390, 1), (309, 4), (310, 4)], &[3, 1, 64]), is(64, 1));
    assert_eq!(announced(&[(396, 4), (397, 4)], &[2, 3]), is(5, 2));
    assert_eq!(announced(&[(390, 1), (396, 4)], &[1, 20]), None);
    assert_eq!(announced(&[(390, 1), (309, 4), (310, 4)], &[7, 1, 64]), None);
    let options = selectors(&[(390, 1), (396, 4), (397, 4)], &[&[5, 1, 1, 19]]);
    let mut pipe = Pipe::of(&[ipfix(0, 1, &options), ipfix(1, 1, &[named(), data(5, 1000)])]);
    // In another domain, too, it stays marked.
    pipe.take(&ipfix(0, 2, &[named(), data(5, 100)]));
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    assert_eq!(pipe.scaled(), (22_000, vec![RateSource::FlowSelection; 2]));
}

/// A rate that holds for the records of one line card, or of one VRF, is no rate of the domain where another has another.
#[test]
fn scopes_narrower_than_a_domain_must_agree() {
    let v9_scope = |n: u32, card: u16, interval: u32| {
        let body = octets().u16(card).u32(interval);
        v9(n, 1, &[set(1, options_template9(310, &[(3, 2)], &[(34, 4)])), set(310, body)])
    };
    let agreed = Pipe::of(&[v9_scope(0, 0, 100), v9_scope(1, 1, 100)]);
    assert_eq!(agreed.sampling.domain_rate(1), Some(rate(100, 1, RateSource::Domain)));
    let differing = Pipe::of(&[v9_scope(0, 0, 100), v9_scope(1, 1, 1000), v9_volume(2, 7)]);
    assert_eq!((differing.settled.len(), differing.sampling.held_records()), (0, 1));
    for scope in [58, 137, 138, 143, 144, 145, 234] {
        let fields = [(scope, 4), (34, 4)];
        let body = octets().u32(1).u32(100).u32(2).u32(200);
        let pipe = Pipe::of(&[ipfix(0, 1, &[set(3, options_template(310, 1, &fields)), set(310, body)])]);
        assert_eq!(pipe.sampling.domain_rate(1), None);
    }
}

#[test]
fn random_n_out_of_n_with_305_beside_it() {
    let options = selectors(&[(304, 1), (305, 4), (309, 4), (310, 4)], &[&[1, 3, 1, 1, 256]]);
    let pipe = Pipe::of(&[ipfix(0, 1, &options), ipfix(1, 1, &[named(), data(1, 1000)])]);
    assert_eq!(pipe.scaled(), (256_000, vec![RateSource::Sampler]));
}

#[test]
fn two_samplers_in_one_set() {
    let options = selectors(&[(304, 1), (305, 4), (306, 4)], &[&[5, 1, 1, 511], &[6, 1, 1, 63]]);
    let pipe = Pipe::of(&[ipfix(0, 1, &options), ipfix(2, 1, &[named(), data(5, 1000), data(6, 1000)])]);
    assert_eq!(pipe.scaled().0, 576_000);
    assert_eq!(pipe.counts().options_records, 2);
}

#[test]
fn a_sampler_described_late() {
    let options = selectors(&[(304, 1), (305, 4), (306, 4)], &[&[5, 1, 1, 511]]);
    let mut pipe = Pipe::of(&[ipfix(0, 1, &[named(), data(5, 1000)])]);
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records(), pipe.sampling.held_octets()), (0, 1, 1000));
    pipe.take(&ipfix(1, 1, &options));
    pipe.take(&ipfix(2, 1, &[data(5, 1000)]));
    assert_eq!(pipe.scaled(), (1_024_000, vec![RateSource::Sampler; 2]));
    assert_eq!((pipe.sampling.held_records(), pipe.sampling.held_octets()), (0, 0));
}

#[test]
fn an_ambiguous_sampler_waits_for_the_operator() {
    let options = selectors(&[(304, 1), (305, 4)], &[&[1, 3, 1]]);
    let mut pipe = Pipe::of(&[ipfix(0, 1, &options), ipfix(1, 1, &[named(), data(1, 1000)])]);
    // Neither the end of the grace time nor a default helps.
    pipe.policy.default = Some(rate(10, 1, RateSource::Default));
    pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
    let later = UnixMillis(EXPORT_MS + pipe.config.grace_ms);
    pipe.sampling.expire(&pipe.config, &pipe.policy, later, &mut pipe.settled);
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (0, 1));
    pipe.policy.over = Some(rate(1000, 1, RateSource::Override));
    pipe.sampling.expire(&pipe.config, &pipe.policy, later, &mut pipe.settled);
    assert_eq!(pipe.scaled(), (1_000_000, vec![RateSource::Override]));
}

#[test]
fn what_waits_in_vain_is_counted() {
    let mut pipe = Pipe::of(&[ipfix(0, 1, &[named(), data(5, 1000)])]);
    pipe.take_at(EXPORT_MS + 1000, &ipfix(1, 1, &[data(5, 300)]));
    let mut at = |ms: i64| {
        pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(EXPORT_MS + ms), &mut pipe.settled);
        (pipe.sampling.expired_records(), pipe.sampling.expired_octets(), pipe.sampling.held_octets())
    };
    assert_eq!(at(3_599_999), (0, 0, 1300));
    assert_eq!(at(3_600_000), (1, 1000, 300));
    assert_eq!(at(3_601_000), (2, 1300, 0));
    assert!(pipe.settled.is_empty());
}

#[test]
fn a_full_hold_lets_the_oldest_go() {
    let mut pipe = Pipe { config: Config { hold_records: 2, ..Config::default() }, ..Pipe::default() };
    pipe.take(&ipfix(0, 1, &[named(), data(5, 10), data(0, 20), data(5, 30), data(0, 40)]));
    // The first named one is given up; the first unnamed one is let go as not announced.
    assert_eq!(volumes(&pipe.settled), [(1, 20)]);
    assert_eq!(pipe.settled[0].rate, SamplingRate::NOT_ANNOUNCED);
    assert_eq!((pipe.sampling.expired_records(), pipe.sampling.expired_octets()), (1, 10));
    assert_eq!((pipe.sampling.held_records(), pipe.sampling.held_octets()), (2, 70));
}

/// A template of octets and end in seconds, without sampler; a record `seconds` after the usual export time.
fn unnamed(n: u32, seconds: u32) -> Vec<u8> {
    let sets =
        [set(2, template(301, &[(1, 4), (151, 4)])), set(301, octets().u32(100).u32(EXPORT + seconds))];
    ipfix_at(EXPORT + seconds, n, 1, &sets)
}

#[test]
fn a_new_domain_has_its_grace_time_by_the_record_clock() {
    let mut pipe = Pipe::default();
    let now = EXPORT_MS + 600_000;
    // All received at one instant, as from a file.
    pipe.take_at(now, &unnamed(0, 0));
    pipe.take_at(now, &unnamed(1, 599));
    assert_eq!((pipe.settled.len(), pipe.sampling.held_records()), (0, 2));
    pipe.take_at(now, &unnamed(2, 600));
    assert_eq!(pipe.scaled(), (300, vec![RateSource::NotAnnounced; 3]));
    // From now on none waits; and a rate that comes after all rules what follows.
    pipe.take_at(now, &unnamed(3, 100));
    assert_eq!(pipe.settled.len(), 4);
    pipe.take_at(now, &ipfix(4, 1, &[set(3, options_template(310, 1, &[(149, 4), (34, 4)]))]));
    pipe.take_at(now, &ipfix(4, 1, &[set(310, octets().u32(1).u32(50))]));
    pipe.take_at(now, &unnamed(5, 101));
    assert_eq!(pipe.settled[4].rate, rate(50, 1, RateSource::Domain));
}

#[test]
fn the_grace_time_ends_by_the_clock_of_reception_too() {
    let mut pipe = Pipe::default();
    pipe.take_at(EXPORT_MS, &unnamed(0, 0));
    pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(EXPORT_MS + 599_999), &mut pipe.settled);
    assert!(pipe.settled.is_empty());
    pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(EXPORT_MS + 600_000), &mut pipe.settled);
    assert_eq!(pipe.scaled(), (100, vec![RateSource::NotAnnounced]));
}

#[test]
fn domain_wide_options_within_the_grace_time_scale_what_waited() {
    let mut pipe = Pipe::of(&[unnamed(0, 0)]);
    let options = set(3, options_template(310, 1, &[(149, 4), (34, 4)]));
    // Said in domain 0, of domain 1.
    pipe.take(&ipfix(0, 0, &[options, set(310, octets().u32(1).u32(1000))]));
    assert_eq!(pipe.scaled(), (100_000, vec![RateSource::Domain]));
    assert_eq!(pipe.sampling.domain_rate(1), Some(rate(1000, 1, RateSource::Domain)));
}

fn wide(domain: u32, numerator: u64) -> Announcement {
    let rate = SamplingRate::new(numerator, 1, RateSource::Domain);
    Announcement {
        domain,
        sampler: None,
        rate,
        part: Part::WHOLE,
        garbled: false,
        bound: false,
        layout: 0,
        order: Order::default(),
    }
}

fn record(domain: u32, sampler: SamplerRef) -> FlowRecord {
    FlowRecord { domain, sampler, octets: crate::units::Octets::new(1), ..FlowRecord::default() }
}

/// Announces, scales one record, ends the grace time; the rate, if the record got one.
fn settle(
    announcements: &[Announcement],
    policy: &SamplingPolicy,
    record: FlowRecord,
) -> Option<(u32, RateSource)> {
    let mut sampling = ExporterSampling::default();
    let mut records = Vec::new();
    sampling.announce(D, announcements, policy, &mut records);
    records.push(record);
    sampling.scale(&Config::default(), policy, (D, UnixMillis(0)), &mut records, 0);
    sampling.finish(policy, &mut records);
    records.first().map(|record| (record.rate.numerator(), record.rate.source()))
}

#[test]
fn the_order_of_belief() {
    let policy = |over: Option<u64>, default: Option<u64>| SamplingPolicy {
        over: over.map(|n| rate(n, 1, RateSource::Override)),
        default: default.map(|n| rate(n, 1, RateSource::Default)),
        ..SamplingPolicy::default()
    };
    let none = || policy(None, None);
    let sampler = |domain, id, n| Announcement { sampler: Some(id), ..wide(domain, n) };
    let ambiguous = |domain| Announcement { rate: None, ..wide(domain, 1) };
    let stated = SamplerRef::Stated(rate(7, 1, RateSource::Record));
    let header = SamplerRef::Stated(rate(1, 1, RateSource::Header));
    let (unnamed, named) = (SamplerRef::Unnamed, SamplerRef::Named(5));
    let all = [wide(1, 10), sampler(1, 5, 20), wide(2, 30), sampler(2, 5, 40), sampler(2, 6, 60)];
    use RateSource as S;
    for (announcements, policy, reference, expected) in [
        (&all[..], policy(Some(9), Some(8)), stated, Some((9, S::Override))),
        (&all[..], policy(Some(9), None), named, Some((9, S::Override))),
        (&all[..], policy(None, Some(8)), stated, Some((7, S::Record))),
        (&[], policy(None, Some(8)), header, Some((1, S::Header))),
        (&all[..], none(), named, Some((20, S::Sampler))),
        (&all[..], none(), SamplerRef::Named(6), Some((60, S::Exporter))),
        (&all[..], policy(None, Some(8)), SamplerRef::Named(9), None),
        (&[sampler(2, 5, 40), sampler(3, 5, 41)], none(), named, None),
        (&[sampler(2, 5, 40), sampler(3, 5, 40)], none(), named, Some((40, S::Exporter))),
        (&all[..], none(), unnamed, Some((10, S::Domain))),
        (&[wide(2, 30), wide(3, 30)], none(), unnamed, Some((30, S::Exporter))),
        (&[wide(2, 30)], policy(None, Some(8)), unnamed, Some((30, S::Exporter))),
        // It samples; at which of the two rates would be a guess.
        (&[wide(2, 30), wide(3, 31)], none(), unnamed, None),
        (&[wide(2, 30), wide(3, 31)], policy(None, Some(8)), unnamed, Some((8, S::Default))),
        (&[], policy(None, Some(8)), unnamed, Some((8, S::Default))),
        (&[], none(), unnamed, Some((1, S::NotAnnounced))),
        (&[ambiguous(1)], policy(None, Some(8)), unnamed, None),
        (&[ambiguous(1), wide(1, 10)], none(), unnamed, Some((10, S::Domain))),
        (&[wide(1, 1)], none(), unnamed, Some((1, S::Domain))),
        // Protocols without options: what another one announces for a domain of that number is not theirs.
        (&all[..], none(), SamplerRef::Silent, Some((1, S::Header))),
        (&all[..], policy(None, Some(8)), SamplerRef::Silent, Some((8, S::Default))),
        (&all[..], none(), SamplerRef::Mute, Some((1, S::NotAnnounced))),
        (&all[..], policy(None, Some(8)), SamplerRef::Mute, Some((8, S::Default))),
        (&all[..], policy(Some(9), Some(8)), SamplerRef::Mute, Some((9, S::Override))),
    ] {
        assert_eq!(
            settle(announcements, &policy, record(1, reference)),
            expected,
            "{reference:?} {announcements:?}"
        );
    }
}

#[test]
fn old_protocols_wait_for_no_announcement() {
    let records = [v1_record(1, 100), v1_record(1, 50)];
    let pipe = Pipe::of(&[
        v1(UPTIME, &records),
        v7(0, 0, &[v7_record(1, 20)]),
        v8(0, 0, 1, 0, &[v8_record(1, 3)]),
        v8(1, 0, 1, 0x8000 | 10, &[v8_record(1, 7)]),
    ]);
    use RateSource as S;
    assert_eq!(
        pipe.scaled(),
        (170 + 3 + 70, vec![S::NotAnnounced, S::NotAnnounced, S::NotAnnounced, S::Header, S::Header])
    );
    assert_eq!(pipe.sampling.held_records(), 0);
}

/// Two line cards have a sampler 5 each. Whose options come later must not be scaled by the other's.
#[test]
fn a_sampler_of_another_domain_that_has_records_is_believed_after_the_grace_time() {
    let sampler = |id, n| Announcement { sampler: Some(5), ..wide(id, n) };
    let policy = SamplingPolicy::default();
    let run = |own: Option<u64>, config: &Config| {
        let mut sampling = ExporterSampling::default();
        let mut records = vec![record(2, SamplerRef::Named(5))];
        sampling.announce(D, &[sampler(2, 1000)], &policy, &mut records);
        sampling.scale(config, &policy, (D, UnixMillis(0)), &mut records, 0);
        assert_eq!(records.len(), 1);
        let from = records.len();
        records.push(record(1, SamplerRef::Named(5)));
        sampling.scale(config, &policy, (D, UnixMillis(0)), &mut records, from);
        let waits = sampling.held_records();
        if let Some(own) = own {
            sampling.announce(D, &[sampler(1, own)], &policy, &mut records);
        }
        sampling.finish(&policy, &mut records);
        (waits, records.last().map(|record| (record.rate.numerator(), record.rate.source())))
    };
    let config = Config::default();
    assert_eq!(run(Some(100), &config), (1, Some((100, RateSource::Sampler))));
    assert_eq!(run(None, &config), (1, Some((1000, RateSource::Exporter))));
    // Without a grace time, or without room, it is believed at once.
    for config in [Config { grace_ms: 0, ..config }, Config { hold_records: 0, ..config }] {
        assert_eq!(run(None, &config), (0, Some((1000, RateSource::Exporter))));
    }
    // A domain that only sends options speaks for the others (Cisco IOS XE).
    assert_eq!(
        settle(&[sampler(6, 1000)], &policy, record(256, SamplerRef::Named(5))),
        Some((1000, RateSource::Exporter))
    );
    let mut sampling = ExporterSampling::default();
    let mut records = Vec::new();
    sampling.announce(D, &[sampler(6, 1000)], &policy, &mut records);
    records.push(record(256, SamplerRef::Named(5)));
    sampling.scale(&config, &policy, (D, UnixMillis(0)), &mut records, 0);
    assert_eq!((records.len(), sampling.held_records()), (1, 0));
}

#[test]
fn order_is_kept_and_records_before_from_are_left_alone() {
    let mut sampling = ExporterSampling::default();
    let policy = SamplingPolicy::default();
    let mut records = Vec::new();
    sampling.announce(D, &[wide(1, 10)], &policy, &mut records);
    let octets = |n: u64, record: FlowRecord| FlowRecord { octets: crate::units::Octets::new(n), ..record };
    let before = octets(1, record(2, SamplerRef::Unnamed));
    records.push(before);
    for n in 2..10 {
        let reference = if n % 3 == 0 { SamplerRef::Named(1) } else { SamplerRef::Unnamed };
        records.push(octets(n, record(1, reference)));
    }
    sampling.scale(&Config::default(), &policy, (D, UnixMillis(0)), &mut records, 1);
    let found: Vec<u64> = records.iter().map(|record| record.octets.as_u64()).collect();
    assert_eq!(found, [1, 2, 4, 5, 7, 8]);
    assert_eq!(records[0], before);
    assert!(records[1..].iter().all(|record| record.rate.numerator() == 10));
    assert_eq!(sampling.held_octets(), 3 + 6 + 9);
}

#[test]
fn a_checkpoint_keeps_rates_holds_and_grace_times() {
    let options = selectors(&[(304, 1), (305, 4), (306, 4)], &[&[6, 1, 1, 63]]);
    let mut pipe = Pipe::of(&[unnamed(0, 0), ipfix(1, 1, &options), ipfix(2, 1, &[named(), data(5, 1000)])]);
    let saved = postcard::to_stdvec(&pipe.sampling).unwrap();
    let chunks = pipe.sampling.take_changes().written;
    pipe.sampling = postcard::from_bytes(&saved).unwrap();
    pipe.sampling.restore(ExporterId(0), chunks).unwrap();
    assert_eq!((pipe.sampling.held_records(), pipe.sampling.held_octets()), (2, 1100));
    pipe.take(&ipfix(3, 1, &[data(6, 1)]));
    assert_eq!(pipe.scaled(), (64, vec![RateSource::Sampler]));
    // Only samplers are announced: those that cannot name one take the operator's default.
    pipe.policy.default = Some(rate(3, 1, RateSource::Default));
    pipe.take_at(EXPORT_MS + 600_000, &unnamed(4, 600));
    assert_eq!(pipe.scaled().0, 64 + 600);
}

/// What thousands of statements by interface come to is not worked out for each record, after a restart either.
#[test]
fn statements_by_interface_are_worked_out_before_records_ask() {
    let statements = |ingress: &[(u32, u32)]| {
        let body = ingress.iter().fold(octets(), |body, &(interface, n)| body.u32(interface).u32(n));
        [set(3, options_template(310, 1, &[(10, 4), (34, 4)])), set(310, body)]
    };
    let mut pipe = Pipe::of(&[ipfix(0, 1, &statements(&[(3, 512), (4, 512)]))]);
    assert!(pipe.sampling.rates.are_worked_out());
    pipe.take(&ipfix(2, 1, &statements(&[(3, 512), (4, 64)])));
    assert!(pipe.sampling.rates.are_worked_out());
    let saved = postcard::to_stdvec(&pipe.sampling).unwrap();
    pipe.sampling = postcard::from_bytes(&saved).unwrap();
    pipe.sampling.restore(ExporterId(0), Vec::new()).unwrap();
    assert!(pipe.sampling.rates.are_worked_out());
    let template = set(2, template(300, &[(1, 4), (2, 4), (10, 4)]));
    let data = set(300, octets().u32(1000).u32(1).u32(4));
    pipe.take(&ipfix(4, 1, &[template, data]));
    assert_eq!(pipe.scaled(), (64_000, vec![RateSource::Domain]));
}

#[test]
fn captures_of_real_exporters_scale_as_their_traps_demand() {
    let Some(folder) = crate::decode::tests::captures::folder() else { return };
    for (file, expected, held) in [
        ("synthetic/iosxr_309_310", 256_000, 0),
        ("synthetic/two_samplers_one_set", 576_000, 0),
        ("synthetic/late_sampler_option", 1_024_000, 0),
        ("synthetic/reduced_size_ipfix", 6_065_817, 0),
        ("synthetic/in_and_out_octets", 1000, 0),
        ("synthetic/biflow_rfc5103", 5700, 0),
        ("synthetic/octet_total_count_3_updates", 4000, 0),
        ("synthetic/data_before_template", 2000, 0),
        ("synthetic/two_odids_same_template_id", 3000, 0),
        ("synthetic/long_flow_210s_10G", 10_000_000_001, 0),
        ("logstash-codec-netflow/juniper_mx80_v5_sampled", 3_989_000, 0),
        ("logstash-codec-netflow/fortigate_fortios542_appid_v9", 29_492, 0),
        ("netgauze/srv6", 0, 86),
    ] {
        let capture = std::fs::read(folder.join(file).with_extension("pcap")).unwrap();
        let mut pipe = Pipe::default();
        for (time, _, payload) in crate::decode::tests::captures::payloads(&capture) {
            pipe.take_at(time, &payload);
        }
        pipe.sampling.finish(&pipe.policy, &mut pipe.settled);
        assert_eq!((pipe.scaled().0, pipe.sampling.held_records()), (expected, held), "{file}");
    }
}
