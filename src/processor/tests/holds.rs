//! Records that wait for a sampling rate: their bound over all exporters, who gives way, what a flush writes of them,
//! and that restarts change nothing.

use std::collections::BTreeMap;

use super::*;
use crate::decode::tests::build::{
    EXPORT_MS, Octets, ipfix, octets, options_template, set, template, v5_record,
};
use crate::usage::{UsageKey, UsageSums};

pub(super) const NAMED: u16 = 256;
pub(super) const UNNAMED: u16 = 257;

/// Times, octets, packets, way, interfaces and ports; a named record has its sampler, too.
pub(super) fn templates() -> [Octets; 2] {
    let fields = [(152, 8), (153, 8), (1, 4), (2, 4), (8, 4), (12, 4), (10, 4), (14, 4), (7, 2), (11, 2)];
    let named: Vec<_> = fields.iter().copied().chain([(302, 4)]).collect();
    [set(2, template(NAMED, &named)), set(2, template(UNNAMED, &fields))]
}

/// Records `0..records` of one template, of 1000 octets and more, that end at `end`.
pub(super) fn data(template: u16, end: i64, records: u32) -> Octets {
    let end = end.cast_unsigned();
    let body = (0..records).fold(octets(), |body, n| {
        let body = body.u64(end - 70_000).u64(end).u32(1000 + n).u32(3).u32(0x0a00_0000 + n).u32(0x1400_0001);
        let body = body.u32(12).u32(7).u16(443).u16(1024);
        if template == NAMED { body.u32(5) } else { body }
    });
    set(template, body)
}

/// Sampler 5 takes one packet of a hundred (RFC 5477: 305, 306).
pub(super) fn sampler() -> [Octets; 2] {
    let options = options_template(300, 1, &[(302, 4), (304, 2), (305, 4), (306, 4)]);
    [set(3, options), set(300, octets().u32(5).u16(1).u32(1).u32(99))]
}

pub(super) fn at(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + n))
}

/// A processor that takes anybody's datagrams.
struct Bench {
    processor: StreamProcessor,
    counters: Arc<Counters>,
    totals: FlushTotals,
    /// Messages sent so far: no two are the same.
    sent: u32,
}

impl Bench {
    fn new(sampling: sampling::Config) -> Self {
        Self::with(sampling, Vec::new())
    }

    fn with(sampling: sampling::Config, states: Vec<(IpAddr, Remembered)>) -> Self {
        let counters = Arc::new(Counters::new(1, 0));
        let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
        registry.configure(&[], true, Arc::new(Versions::new(Vec::new())));
        registry.leave_states(states);
        let config = Config { sampling, ..Config::default() };
        let processor = StreamProcessor::new(0, config, registry, Arc::clone(&counters));
        Self { processor, counters, totals: FlushTotals::default(), sent: 0 }
    }

    fn feed(&mut self, exporter: u32, time: i64, sets: &[Octets]) {
        self.sent += 1;
        let message = ipfix(self.sent, 1, sets);
        let taken = self.processor.feed(UnixMillis(time), at(exporter), &message).unwrap();
        assert_eq!(taken, Taken::Yes);
    }

    fn drain(&mut self) -> Drained {
        let drained = self.processor.drain();
        self.totals.add(&drained.totals);
        drained
    }

    /// Octets before scaling that wait.
    fn held_volume(&self) -> u64 {
        self.processor.states.values().map(|state| state.memory.sampling.held_octets()).sum()
    }

    /// What came in has been metered, has expired or waits, in records and in octets.
    fn nothing_is_lost(&self) {
        let totals = &self.totals;
        let held = self.processor.held();
        assert_eq!(totals.records, totals.metered_records + totals.expired_records + held.records);
        assert_eq!(totals.raw_octets, totals.metered_octets + totals.expired_octets + self.held_volume());
        assert_eq!(held.record_octets, self.processor.weight.records as u64);
    }
}

#[test]
fn two_hundred_exporters_stay_within_the_bound_and_nothing_is_lost() {
    const LIMIT: usize = 512 << 10;
    let mut bench = Bench::new(sampling::Config { hold_octets: LIMIT, ..sampling::Config::default() });
    for exporter in 0..200 {
        bench.feed(exporter, EXPORT_MS, &templates());
    }
    for round in 0..16 {
        for exporter in 0..200 {
            let template = if (exporter + round) % 3 == 0 { NAMED } else { UNNAMED };
            bench.feed(exporter, EXPORT_MS, &[data(template, EXPORT_MS, 24)]);
            assert!(bench.processor.weight.records <= LIMIT);
        }
        bench.drain();
        bench.nothing_is_lost();
    }
    let table = &bench.counters.processors[0].held_records;
    assert_eq!(table.limit.load(Relaxed), LIMIT as u64);
    assert!(table.high_water.load(Relaxed) <= LIMIT as u64);
    assert!(table.current.load(Relaxed) > LIMIT as u64 / 2);
    // All that left had to: nothing was announced and no grace time was over.
    let totals = bench.totals;
    assert_eq!(totals.records, 200 * 16 * 24);
    assert!(totals.metered_records > 0 && totals.expired_records > 0);
    assert_eq!(table.failures.load(Relaxed), totals.metered_records + totals.expired_records);

    // In the end what waits only for the grace time is metered, and what names a sampler expires.
    let expired = totals.expired_records;
    bench.processor.expire(UnixMillis(EXPORT_MS + 600_000));
    bench.drain();
    assert_eq!(bench.totals.expired_records, expired);
    bench.processor.expire(UnixMillis(EXPORT_MS + 3_600_000));
    bench.drain();
    bench.nothing_is_lost();
    assert_eq!((bench.processor.held().records, bench.processor.weight.records), (0, 0));
    assert!(bench.totals.expired_records > expired);
}

/// Nothing else comes: what has expired is flushed, counted and shown all the same.
#[test]
fn what_expires_in_silence_is_news() {
    let mut bench = Bench::new(sampling::Config::default());
    bench.feed(0, EXPORT_MS, &[&templates()[..], &[data(NAMED, EXPORT_MS, 24)]].concat());
    assert!(bench.processor.has_news());
    bench.drain();
    assert!(!bench.processor.has_news());
    bench.processor.expire(UnixMillis(EXPORT_MS + 3_599_999));
    assert!(!bench.processor.has_news());
    bench.processor.expire(UnixMillis(EXPORT_MS + 3_600_000));
    assert!(bench.processor.has_news());
    bench.drain();
    assert_eq!(bench.totals.expired_records, 24);
    assert!(!bench.processor.has_news());
}

/// Very many wait: what is announced for them takes effect when holds age, and not in each datagram that announces something.
#[test]
fn what_is_announced_for_very_many_takes_effect_when_holds_age() {
    let mut bench = Bench::new(sampling::Config::default());
    bench.feed(0, EXPORT_MS, &templates());
    for _ in 0..200 {
        bench.feed(0, EXPORT_MS, &[data(NAMED, EXPORT_MS, 24)]);
    }
    bench.feed(0, EXPORT_MS, &sampler());
    bench.feed(0, EXPORT_MS, &[set(300, octets().u32(6).u16(1).u32(1).u32(9))]);
    assert_eq!(bench.processor.held().records, 4800);
    bench.processor.expire(UnixMillis(EXPORT_MS));
    bench.drain();
    assert_eq!((bench.processor.held().records, bench.totals.metered_records), (0, 4800));
}

#[test]
fn who_floods_the_hold_pushes_out_nobody_else() {
    const LIMIT: usize = 256 << 10;
    let mut bench = Bench::new(sampling::Config { hold_octets: LIMIT, ..sampling::Config::default() });
    // Twenty exporters hold less than a share of the bound each.
    for exporter in 1..=20 {
        bench.feed(exporter, EXPORT_MS, &templates());
        for _ in 0..5 {
            bench.feed(exporter, EXPORT_MS, &[data(NAMED, EXPORT_MS, 20)]);
        }
        let held = bench.processor.states[&at(exporter)].memory.sampling.held_memory();
        assert!(held < LIMIT / 21, "{held}");
    }
    bench.feed(0, EXPORT_MS, &templates());
    for _ in 0..2000 {
        bench.feed(0, EXPORT_MS, &[data(NAMED, EXPORT_MS, 24)]);
        assert!(bench.processor.weight.records <= LIMIT);
    }
    bench.drain();
    assert!(bench.totals.expired_records > 0);
    for exporter in 1..=20 {
        assert_eq!(bench.processor.states[&at(exporter)].memory.sampling.held_records(), 100);
        bench.feed(exporter, EXPORT_MS, &sampler());
    }
    let drained = bench.drain();
    bench.nothing_is_lost();
    assert_eq!(bench.totals.metered_records, 20 * 100);
    assert!(drained.usage.iter().all(|row| row.key.rate.numerator() == 100));
}

#[test]
fn a_bound_of_nothing_holds_nothing() {
    let mut bench = Bench::new(sampling::Config { hold_octets: 0, ..sampling::Config::default() });
    bench.feed(0, EXPORT_MS, &templates());
    bench.feed(0, EXPORT_MS, &[data(NAMED, EXPORT_MS, 3), data(UNNAMED, EXPORT_MS, 4)]);
    bench.drain();
    bench.nothing_is_lost();
    assert_eq!((bench.totals.metered_records, bench.totals.expired_records), (4, 3));
}

/// Chunks by their numbers.
type Chunks = BTreeMap<u64, Vec<u8>>;

/// The ledger's part: what is kept of each exporter after each flush.
#[derive(Clone, Default)]
pub(super) struct Kept(BTreeMap<IpAddr, (Vec<u8>, Chunks)>);

impl Kept {
    pub(super) fn take(&mut self, checkpoints: Vec<(String, Remembered)>) -> usize {
        let written = checkpoints.iter().map(|(_, remembered)| remembered.octets()).sum();
        for (exporter, Remembered { state, chunks }) in checkpoints {
            let kept = self.0.entry(exporter.parse().unwrap()).or_default();
            kept.0 = state;
            kept.1.retain(|number, _| {
                !chunks.whole
                    && chunks.first.is_none_or(|first| *number >= first)
                    && !chunks.removed.contains(number)
            });
            kept.1.extend(chunks.written);
        }
        written
    }

    pub(super) fn states(&self) -> Vec<(IpAddr, Remembered)> {
        let whole = |chunks: &BTreeMap<u64, Vec<u8>>| crate::usage::ChunkChanges {
            whole: true,
            written: chunks.clone().into_iter().collect(),
            ..Default::default()
        };
        let each = self.0.iter();
        each.map(|(exporter, (state, chunks))| {
            (*exporter, Remembered { state: state.clone(), chunks: whole(chunks) })
        })
        .collect()
    }
}

/// Usage of a stream in which records wait, leave early, are released by announcements and by the clock, and expire.
/// With a flush after each round, and a restart after each of those rounds.
fn usage_of_rounds(restarts: &[i64]) -> (BTreeMap<UsageKey, UsageSums>, FlushTotals, u64) {
    let config = sampling::Config { hold_records: 900, hold_ms: 1_500_000, ..sampling::Config::default() };
    let mut bench = Bench::new(config);
    let (mut usage, mut kept) = (BTreeMap::<_, UsageSums>::new(), Kept::default());
    let (mut totals, mut held) = (FlushTotals::default(), 0);
    for round in 0..30 {
        let time = EXPORT_MS + round * 100_000;
        for exporter in 0..4_u32 {
            let mut sets = if round == 0 { templates().to_vec() } else { Vec::new() };
            // The third says what its sampler does, late, and the fourth sends so much that it has no room for it.
            if exporter == 2 && round == 9 {
                sets.extend(sampler());
            }
            sets.push(data(NAMED, time, if exporter == 3 { 25 } else { 3 }));
            sets.push(data(UNNAMED, time, 4));
            let message = ipfix(u32::try_from(round).unwrap() * 7, 1, &sets);
            // Round by round in the same order, whatever the processor remembers them in.
            bench.processor.feed(UnixMillis(time), at(exporter), &message).unwrap();
        }
        bench.processor.expire(UnixMillis(time));
        let drained = bench.processor.drain();
        totals.add(&drained.totals);
        for row in drained.usage {
            let sums = usage.entry(row.key).or_default();
            assert!(sums.try_add(&row.sums));
        }
        kept.take(drained.checkpoints);
        held = bench.held_volume();
        if restarts.contains(&round) {
            bench = Bench::with(config, kept.states());
        }
    }
    (usage, totals, held)
}

#[test]
fn restarts_change_nothing() {
    let (usage, totals, held) = usage_of_rounds(&[]);
    assert!(totals.expired_records > 0 && totals.metered_records > 0 && held > 0);
    assert!(usage.keys().any(|key| key.rate.numerator() == 100));
    let all: Vec<i64> = (0..30).collect();
    assert_eq!(usage_of_rounds(&all), (usage.clone(), totals, held));
    for one in 0..30 {
        assert_eq!(usage_of_rounds(&[one]), (usage.clone(), totals, held), "restart after round {one}");
    }
}

#[test]
fn an_exporter_that_comes_back_has_its_records() {
    let mut bench = Bench::new(sampling::Config::default());
    bench.feed(1, EXPORT_MS, &[&templates()[..], &[data(NAMED, EXPORT_MS, 20)]].concat());
    let mut kept = Kept::default();
    kept.take(bench.drain().checkpoints);
    bench.feed(1, EXPORT_MS, &[data(NAMED, EXPORT_MS, 20)]);
    // Taken away by a reload, and allowed again by the next one, within one flush.
    let registry = Arc::clone(&bench.processor.registry);
    let configure = |accept| registry.configure(&[], accept, Arc::new(Versions::new(Vec::new())));
    configure(false);
    bench.processor.expire(UnixMillis(EXPORT_MS));
    assert_eq!((bench.processor.states.len(), bench.processor.held().records), (1, 40));
    configure(true);
    bench.feed(1, EXPORT_MS, &[data(NAMED, EXPORT_MS, 20)]);
    assert_eq!(bench.processor.held().records, 60);
    let drained = bench.drain();
    assert_eq!(drained.checkpoints.len(), 1);
    kept.take(drained.checkpoints);
    let mut after = Bench::with(sampling::Config::default(), kept.states());
    after.feed(1, EXPORT_MS, &sampler());
    assert_eq!(after.drain().totals.metered_records, 60);
}

/// Whoever watches sees it from the start on, whether the exporter speaks or not.
#[test]
fn what_an_earlier_run_left_is_shown_before_its_exporter_speaks() {
    let mut bench = Bench::new(sampling::Config::default());
    bench.feed(1, EXPORT_MS, &[&templates()[..], &[data(NAMED, EXPORT_MS, 20)]].concat());
    let mut kept = Kept::default();
    kept.take(bench.drain().checkpoints);

    let counters = Arc::new(Counters::new(1, 0));
    let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
    let allowed = [Exporter::unconfigured(at(1)), Exporter::unconfigured(at(2))];
    registry.configure(&allowed, false, Arc::new(Versions::new(Vec::new())));
    registry.leave_states(kept.states());
    let [heard, stranger] = [1, 2].map(|n| Arc::clone(&registry.entry(at(n)).unwrap().counters));
    assert!(heard.was_heard.load(Relaxed) && !stranger.was_heard.load(Relaxed));
    let shown = heard.memory.load_full();
    assert_eq!((shown.transports.len(), shown.templates.len()), (1, 2));
    let mut processor = StreamProcessor::new(0, Config::default(), registry, counters);
    processor.take_up_waiting(|_| true).unwrap();
    assert_eq!(heard.held.load(Relaxed), 20);
    assert_eq!((stranger.held.load(Relaxed), stranger.memory.load().templates.len()), (0, 0));
}

/// And what waits of it comes to its end where it is never heard again.
#[test]
fn what_waits_goes_on_waiting_when_its_exporter_comes_back_silent() {
    let mut bench = Bench::new(sampling::Config::default());
    bench.processor.take_up_waiting(|_| true).unwrap();
    bench.feed(1, EXPORT_MS, &[&templates()[..], &[data(UNNAMED, EXPORT_MS, 20)]].concat());
    let registry = Arc::clone(&bench.processor.registry);
    let allow = |allowed: bool| {
        let exporters = allowed.then(|| Exporter::unconfigured(at(1)));
        registry.configure(exporters.as_slice(), false, Arc::new(Versions::new(Vec::new())));
    };
    allow(false);
    bench.processor.expire(UnixMillis(EXPORT_MS + 1));
    assert_eq!(bench.processor.held().records, 20);
    allow(true);
    bench.processor.expire(UnixMillis(EXPORT_MS + 600_000));
    assert_eq!((bench.drain().totals.metered_records, bench.processor.held().records), (20, 0));
}

/// What a flush writes is what came since the flush before, not what is held.
#[test]
fn a_flush_writes_what_changed() {
    let mut bench = Bench::new(sampling::Config::default());
    let mut kept = Kept::default();
    for exporter in 0..50 {
        bench.feed(exporter, EXPORT_MS, &templates());
        for n in 0..1000 {
            bench.feed(exporter, EXPORT_MS + n, &[data(UNNAMED, EXPORT_MS + n, 20)]);
        }
    }
    assert_eq!(bench.processor.held().records, 1_000_000);
    let first = kept.take(bench.drain().checkpoints);
    // By hand: 4, times 1 + 1 + 3, octets 2, packets 1, addresses 8, domain 1, interfaces 2, template 1, ports 4: 28
    // octets, some with one more for a time; a header of 8 for each chunk.
    assert!((28_000_000..29_500_000).contains(&first), "{first}");
    for _ in 0..3 {
        for exporter in 0..50 {
            bench.feed(exporter, EXPORT_MS + 2000, &[data(UNNAMED, EXPORT_MS + 2000, 20)]);
        }
        let next = kept.take(bench.drain().checkpoints);
        // Their 20 records, a chunk still open, templates and sequence numbers; six octets of each of the last datagrams.
        assert!(next < 50 * (20 * 30 + 2048 + 6 * 1024), "{next}");
    }
    let held = bench.processor.held();
    assert!(held.record_octets < held.records * 30, "{held:?}");
}

/// Of many waiting records an announcement lets none go at once, but the next flush has them all.
#[test]
fn a_flush_has_what_was_announced_for() {
    let mut bench = Bench::new(sampling::Config::default());
    bench.feed(1, EXPORT_MS, &templates());
    for _ in 0..300 {
        bench.feed(1, EXPORT_MS, &[data(NAMED, EXPORT_MS, 20)]);
    }
    bench.feed(1, EXPORT_MS, &sampler());
    assert_eq!(bench.processor.held().records, 6000);
    bench.drain();
    bench.nothing_is_lost();
    assert_eq!((bench.totals.metered_records, bench.processor.weight.records), (6000, 0));
}

/// What every part of a checkpoint looks like, so that no change of the format goes by unnoticed.
#[test]
fn the_format_is_the_one_that_its_number_says() {
    let mut bench = Bench::new(sampling::Config::default());
    let total = [(1, 4), (85, 8), (86, 8), (4, 1)];
    bench.feed(1, EXPORT_MS, &templates());
    bench.feed(1, EXPORT_MS, &sampler());
    bench.feed(1, EXPORT_MS, &[data(UNNAMED, EXPORT_MS, 2), set(999, octets().u32(1).u32(2))]);
    let domain = [set(3, options_template(301, 1, &[(149, 4), (34, 4)])), set(301, octets().u32(7).u32(10))];
    bench.feed(1, EXPORT_MS, &domain);
    bench.feed(1, EXPORT_MS, &[set(2, template(258, &total[1..])), set(258, octets().u64(900).u64(9).u8(6))]);
    let v5 = decode::tests::build::v5(0, 3, 0, &[v5_record(1, 100)]);
    assert_eq!(bench.processor.feed(UnixMillis(EXPORT_MS), at(1), &v5).unwrap(), Taken::Yes);
    let drained = bench.drain();
    let [(_, Remembered { state, chunks })] = &drained.checkpoints[..] else { panic!() };
    let [(0, chunk)] = &chunks.written[..] else { panic!() };
    // Without its checksum behind it: with that, every chunk has the same one.
    let found = (
        checkpoint::FORMAT,
        crc32fast::hash(state),
        crc32fast::hash(&chunk[..chunk.len() - size_of::<u32>()]),
    );
    assert_eq!(
        found,
        (6, 1_860_425_191, 1_017_875_516),
        "What a checkpoint holds has changed. A ledger that has one of the old shape must be refused, not misread: raise \
         `checkpoint::FORMAT`, unless it was raised since the last release, and put the new numbers here."
    );
}

/// Records of two directions count as one, also where they wait or expire; and one of which a direction waits, waits.
#[test]
fn a_record_of_two_directions_waits_as_one() {
    let reverse = |element: u64| (29_305 << 16) | element;
    let fields = [(1, 4), (2, 4), (reverse(1), 4), (reverse(2), 4), (10, 4), (14, 4), (302, 4)];
    let record = |body: Octets, back: u32| body.u32(100).u32(1).u32(back).u32(back / 70).u32(3).u32(4).u32(5);
    let body = record(record(record(octets(), 70), 0), 70);
    let sets = [set(2, template(300, &fields)), set(300, body)];
    let mut bench = Bench::new(sampling::Config::default());
    bench.feed(1, EXPORT_MS, &sets);
    assert_eq!((bench.processor.held().records, bench.processor.held().seconds), (5, 2));
    // The sampler is described at the interface where the first directions came in, and at another one: those go.
    let options = options_template(301, 2, &[(302, 4), (10, 4), (34, 4)]);
    let told = octets().u32(5).u32(3).u32(10).u32(5).u32(9).u32(20);
    bench.feed(1, EXPORT_MS, &[set(3, options), set(301, told)]);
    assert_eq!((bench.processor.held().records, bench.processor.held().seconds), (2, 0));
    let left = bench.drain();
    assert_eq!((left.totals.records, left.totals.second_flows, left.totals.metered_records), (3, 2, 3));

    // In vain: five flows, of three records. A restart between changes nothing.
    let mut bench = Bench::new(sampling::Config::default());
    bench.feed(1, EXPORT_MS, &sets);
    let (_, mut left) = bench.drain().checkpoints.pop().unwrap();
    left.chunks.whole = true;
    let mut bench = Bench::with(sampling::Config::default(), vec![(at(1), left)]);
    bench.processor.take_up_waiting(|_| true).unwrap();
    assert_eq!((bench.processor.held().records, bench.processor.held().seconds), (5, 2));
    bench.processor.expire(UnixMillis(EXPORT_MS + 3_600_000));
    let totals = bench.drain().totals;
    assert_eq!((totals.expired_records, totals.expired_second_flows, totals.expired_octets), (5, 2, 440));
    assert_eq!((bench.processor.held().records, bench.processor.held().seconds), (0, 0));
}

#[test]
fn another_format_stops_the_exporter_and_says_how_to_go_on() {
    let mut bench = Bench::new(sampling::Config::default());
    bench.feed(1, EXPORT_MS, &[&templates()[..], &[data(NAMED, EXPORT_MS, 20)]].concat());
    let (_, good) = bench.drain().checkpoints.pop().unwrap();
    let refused = |spoil: &dyn Fn(&mut Remembered)| {
        let mut left = good.clone();
        left.chunks.whole = true;
        spoil(&mut left);
        let mut bench = Bench::with(sampling::Config::default(), vec![(at(1), left)]);
        let error = bench.processor.feed(UnixMillis(EXPORT_MS), at(1), &ipfix(0, 1, &sampler())).unwrap_err();
        assert_eq!(error.exporter, at(1));
        error.to_string()
    };
    let newer = refused(&|left| left.state[2] = 77);
    assert!(
        newer.starts_with("the checkpoint of exporter 10.1.0.1 has format 77 and this version reads format")
    );
    assert!(newer.contains("docs/OPERATION.md"), "{newer}");
    let older = refused(&|left| drop(left.state.drain(..3)));
    assert!(older.contains("a format without number"), "{older}");
    for damaged in [
        refused(&|left| left.chunks.written.clear()),
        refused(&|left| left.chunks.written[0].1.truncate(60)),
        refused(&|left| left.state.truncate(left.state.len() - 1)),
        // These would be read, as something else.
        refused(&|left| left.chunks.written[0].1[20] ^= 1),
        refused(&|left| *left.state.last_mut().unwrap() ^= 1),
    ] {
        assert!(damaged.contains("is damaged"), "{damaged}");
    }
}
