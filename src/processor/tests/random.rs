//! Any order of datagrams, clocks, reloads, flushes and crashes: nothing that was decoded is without a fate, in records
//! and in octets, and a crash changes nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::holds::{Kept, NAMED, UNNAMED, at, data, sampler, templates};
use super::*;
use crate::decode::tests::build::{EXPORT_MS, Octets, ipfix, octets, set, v5_record};
use crate::usage::{UsageKey, UsageSums};

const EXPORTERS: u32 = 3;

#[derive(Clone, Debug)]
enum Sent {
    Templates,
    Data {
        template: u16,
        records: u32,
    },
    Sampler,
    /// NetFlow v5, which says nothing of sampling.
    Old,
    /// What no template tells how to read.
    Unknown,
    Noise,
    Again,
}

#[derive(Clone, Debug)]
enum Step {
    Feed(u32, Sent),
    Wait(i64),
    Expire,
    /// Which exporters are allowed, and the policy of each.
    Reload([u8; EXPORTERS as usize]),
    Flush,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let sent = prop_oneof![
        3 => Just(Sent::Templates),
        8 => (prop_oneof![Just(NAMED), Just(UNNAMED)], 1..40_u32)
            .prop_map(|(template, records)| Sent::Data { template, records }),
        1 => Just(Sent::Sampler),
        2 => Just(Sent::Old),
        1 => Just(Sent::Unknown),
        1 => Just(Sent::Noise),
        1 => Just(Sent::Again),
    ];
    prop_oneof![
        20 => (0..EXPORTERS, sent).prop_map(|(exporter, sent)| Step::Feed(exporter, sent)),
        3 => prop_oneof![0..1000_i64, 100_000..400_000_i64, Just(2_000_000_i64)].prop_map(Step::Wait),
        2 => Just(Step::Expire),
        2 => [0..6_u8, 0..6, 0..6].prop_map(Step::Reload),
        3 => Just(Step::Flush),
        2 => Just(Step::Crash),
    ]
}

fn config(hold_octets: usize) -> Config {
    Config {
        sampling: sampling::Config {
            hold_records: 150,
            hold_octets,
            hold_ms: 1_500_000,
            ..Default::default()
        },
        decode: decode::Limits { hold_octets: 300, ..Default::default() },
        ..Config::default()
    }
}

/// The name of an exporter of which the operator says that.
fn name(n: u32, said: u8) -> String {
    format!("{}{n}", if said == 1 { "other" } else { "e" })
}

/// What the operator says: 0 nothing, 1 another name, 2 a rate, 3 a default, 4 that a rate must be announced, 5 that the
/// exporter may not send.
fn configure(registry: &Exporters, said: [u8; EXPORTERS as usize]) {
    let rate = SamplingRate::new(7, 1, RateSource::Override);
    let policy = |said| match said {
        2 => SamplingPolicy { over: rate, ..SamplingPolicy::default() },
        3 => SamplingPolicy { default: rate, ..SamplingPolicy::default() },
        4 => SamplingPolicy { require: true, ..SamplingPolicy::default() },
        _ => SamplingPolicy::default(),
    };
    let allowed: Vec<Exporter> = (0..EXPORTERS)
        .zip(said)
        .filter(|(_, said)| *said < 5)
        .map(|(n, said)| Exporter {
            name: name(n, said),
            sampling: policy(said),
            ..Exporter::unconfigured(at(n))
        })
        .collect();
    registry.configure(&allowed, false, Arc::new(Versions::new(Vec::new())));
}

/// The processor, and the ledger that its flushes go to.
struct World {
    config: Config,
    processor: StreamProcessor,
    said: [u8; EXPORTERS as usize],
    /// What was said of each when it was last allowed.
    allowed: [u8; EXPORTERS as usize],
    now: i64,
    messages: u32,
    last: Vec<Vec<u8>>,
    kept: Kept,
    usage: BTreeMap<(String, UsageKey), UsageSums>,
    totals: FlushTotals,
    /// As of the last flush: configuration and who was allowed before, clock, messages.
    flushed: ([[u8; EXPORTERS as usize]; 2], i64, u32, Vec<Vec<u8>>),
    /// Since then.
    since: Vec<Step>,
}

impl World {
    fn new(config: Config) -> Self {
        let last = vec![Vec::new(); EXPORTERS as usize];
        let (said, now) = ([0; EXPORTERS as usize], EXPORT_MS);
        Self {
            config,
            processor: Self::start(config, [said; 2], &Kept::default()),
            said,
            allowed: said,
            now,
            messages: 0,
            last: last.clone(),
            kept: Kept::default(),
            usage: BTreeMap::new(),
            totals: FlushTotals::default(),
            flushed: ([said; 2], now, 0, last),
            since: Vec::new(),
        }
    }

    fn start(config: Config, [said, allowed]: [[u8; EXPORTERS as usize]; 2], kept: &Kept) -> StreamProcessor {
        let counters = Arc::new(Counters::new(1, 0));
        let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
        // Older versions of the configuration come first to names.
        let names: Vec<String> = (0..EXPORTERS).zip(allowed).map(|(n, said)| name(n, said)).collect();
        let named: Vec<_> = (0..EXPORTERS).zip(&names).map(|(n, name)| (name.as_str(), at(n))).collect();
        registry.number(&named, 0).unwrap();
        configure(&registry, said);
        registry.leave_states(kept.states());
        let mut processor = StreamProcessor::new(0, config, registry, counters);
        processor.take_up_waiting(|_| true).unwrap();
        processor
    }

    fn step(&mut self, step: &Step, with_crashes: bool) {
        match step {
            Step::Crash if with_crashes => {
                let since = core::mem::take(&mut self.since);
                let flushed = self.flushed.clone();
                ([self.said, self.allowed], self.now, self.messages, self.last) = flushed;
                self.processor = Self::start(self.config, [self.said, self.allowed], &self.kept);
                for step in &since {
                    self.step(step, false);
                }
                return;
            }
            Step::Crash => return,
            Step::Flush => return self.flush(),
            Step::Feed(exporter, sent) => self.feed(*exporter, sent),
            Step::Wait(ms) => self.now += ms,
            Step::Expire => self.processor.expire(UnixMillis(self.now)),
            Step::Reload(said) => {
                self.said = *said;
                for (allowed, said) in self.allowed.iter_mut().zip(said).filter(|(_, said)| **said < 5) {
                    *allowed = *said;
                }
                configure(&self.processor.registry, *said);
                // Who comes back is taken up, as at a start.
                self.processor.expire(UnixMillis(self.now));
            }
        }
        self.since.push(step.clone());
    }

    fn feed(&mut self, exporter: u32, sent: &Sent) {
        let message = |sets: &[Octets]| ipfix(self.messages, 1, sets);
        let payload = match sent {
            Sent::Templates => message(&templates()),
            Sent::Data { template, records } => message(&[data(*template, self.now, *records)]),
            Sent::Sampler => message(&sampler()),
            Sent::Old => {
                decode::tests::build::v5(self.messages, 0, 0, &[v5_record(3, 900), v5_record(1, 50)])
            }
            Sent::Unknown => message(&[set(700, octets().u64(1).u64(2))]),
            Sent::Noise => message(&[octets().u16(256).u16(3)]),
            Sent::Again => self.last[exporter as usize].clone(),
        };
        self.messages += 1;
        let taken = self.processor.feed(UnixMillis(self.now), at(exporter), &payload).unwrap();
        assert_eq!(taken == Taken::Rejected, self.said[exporter as usize] == 5);
        self.last[exporter as usize] = payload;
    }

    fn flush(&mut self) {
        let Drained { usage, exporters, former, totals, checkpoints, losses: _ } = self.processor.drain();
        let mut metered = (0, 0);
        for (exporters, rows) in former.into_iter().chain([(exporters, usage)]) {
            assert!(rows.is_sorted());
            for row in rows {
                let (_, of) = exporters.iter().find(|(id, _)| *id == row.key.exporter).expect("named");
                let key = UsageKey { exporter: ExporterId(0), ..row.key };
                assert!(self.usage.entry((of.name.clone(), key)).or_default().try_add(&row.sums));
                metered = (metered.0 + row.sums.octets, metered.1 + row.sums.flows);
            }
        }
        assert_eq!(metered, (totals.metered_octets, totals.metered_records), "the books of a flush agree");
        self.totals.add(&totals);
        self.kept.take(checkpoints);
        self.flushed = ([self.said, self.allowed], self.now, self.messages, self.last.clone());
        self.since.clear();
        self.balance();
    }

    /// Every record and octet is metered, expired or waits: in the memory, or in the state of who may not send now.
    fn balance(&self) {
        let (mut records, mut octets) = (0, 0);
        for (exporter, left) in self.kept.states() {
            let memory = Memory::restore(left, ExporterId(0)).unwrap();
            records += memory.sampling.held_records() as u64;
            octets += memory.sampling.held_octets();
            if let Some(state) = self.processor.states.get(&exporter) {
                assert_eq!(state.memory.sampling.held_records(), memory.sampling.held_records());
                assert_eq!(state.memory.sampling.held_octets(), memory.sampling.held_octets());
            }
        }
        let totals = &self.totals;
        assert_eq!(
            totals.records + totals.second_flows,
            totals.metered_records + totals.expired_records + records + totals.not_volume
        );
        assert_eq!(totals.raw_octets, totals.metered_octets + totals.expired_octets + octets);
        let held: usize =
            self.processor.states.values().map(|state| state.memory.sampling.held_memory()).sum();
        assert_eq!(held, self.processor.weight.records);
    }
}

fn end(steps: &[Step], config: Config, with_crashes: bool) -> World {
    let mut world = World::new(config);
    for step in steps {
        world.step(step, with_crashes);
    }
    world.flush();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn crashes_change_nothing(steps in prop::collection::vec(step(), 1..120)) {
        let calm = end(&steps, config(64 << 20), false);
        let rough = end(&steps, config(64 << 20), true);
        prop_assert_eq!(calm.totals, rough.totals);
        prop_assert_eq!(calm.usage, rough.usage);
    }

    /// The same with so little memory for what waits that exporters push each other out: which of them may depend on
    /// how full a chunk is, and so on crashes; that nothing is lost may not.
    #[test]
    fn nothing_is_lost_where_room_is_short(steps in prop::collection::vec(step(), 1..120), room in 0..8000_usize) {
        end(&steps, config(room), true);
    }
}
