//! What all exporters together may make a processor remember in decoding: sets that wait, running totals, templates; and
//! how many rates one of them may bring.

use super::*;
use crate::decode::Limits;
use crate::decode::tests::build::{EXPORT_MS, Octets, ipfix, octets, set, template};

fn at(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a02_0000 + n))
}

/// A processor that takes anybody's datagrams.
fn open_to_all(decode: Limits) -> StreamProcessor {
    let counters = Arc::new(Counters::new(1, 0));
    let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
    registry.configure(&[], true, Arc::new(Versions::new(Vec::new())));
    StreamProcessor::new(0, Config { decode, ..Config::default() }, registry, counters)
}

fn send(processor: &mut StreamProcessor, exporter: u32, number: u32, sets: &[Octets]) {
    let message = ipfix(number, 1, sets);
    assert_eq!(processor.feed(UnixMillis(EXPORT_MS), at(exporter), &message).unwrap(), Taken::Yes);
}

/// A set that waits costs its 8 octets and 128: there is room for 40, and where a 41st comes, for 39.
#[test]
fn who_floods_the_sets_that_wait_pushes_out_nobody_else() {
    let mut processor = open_to_all(Limits { hold_octets_all: 40 * 136, ..Limits::default() });
    let data = |octets_: u32| set(300, octets().u32(octets_).u32(1));
    for exporter in 1..=4 {
        for number in 0..2 {
            send(&mut processor, exporter, number, &[data(exporter)]);
        }
    }
    for number in 0..100 {
        send(&mut processor, 0, number, &[data(7)]);
        assert!(processor.weight.sets <= 40 * 136);
    }
    // The 41st, 43rd, ... 107th of 108 sets made two go each.
    let totals = processor.drain().totals;
    assert_eq!((totals.expired_sets, totals.expired_set_octets), (68, 68 * 8));
    assert_eq!((totals.expired_records, totals.expired_octets), (0, 0));
    assert_eq!((processor.held().sets, processor.weight.sets), (40, 40 * 136));
    let table = &processor.counters.processors[0].holds;
    let shown = [&table.limit, &table.current, &table.high_water, &table.failures].map(|n| n.load(Relaxed));
    assert_eq!(shown, [40 * 136, 40 * 136, 40 * 136, 68]);
    for exporter in 0..=4 {
        send(&mut processor, exporter, 200, &[set(2, template(300, &[(1, 4), (2, 4)]))]);
    }
    let octets: Vec<u64> =
        (0..=4).map(|n| processor.states[&at(n)].memory.decoder.counts().raw_octets).collect();
    assert_eq!(octets, [32 * 7, 2, 4, 6, 8]);
    assert_eq!(processor.weight, Weight { sets: 0, ..processor.weight });
}

/// Room for 100 running totals. Flows of the exporter that has most are forgotten, and count whole once more, because
/// their records do not say when they began; those of the other one go on.
#[test]
fn who_floods_the_running_totals_makes_nobody_else_count_twice() {
    let mut processor = open_to_all(Limits { running_totals_all: 100, ..Limits::default() });
    let define = set(2, template(300, &[(148, 8), (85, 8)]));
    let ten = |from: u64, octets_: u64| {
        set(300, (from..from + 10).fold(octets(), |body, flow| body.u64(flow).u64(octets_)))
    };
    send(&mut processor, 1, 0, &[define.clone(), ten(0, 1000)]);
    send(&mut processor, 0, 0, &[define]);
    for number in 0..20 {
        send(&mut processor, 0, 10 * number, &[ten(u64::from(10 * number), 50)]);
        assert!(processor.weight.totals <= 100);
    }
    send(&mut processor, 1, 10, &[ten(0, 1500)]);
    send(&mut processor, 0, 200, &[ten(190, 70)]);
    let of = |exporter: u32| {
        let decoder = &processor.states[&at(exporter)].memory.decoder;
        (decoder.counts().raw_octets, decoder.counts().totals_forgotten, decoder.running_totals())
    };
    // 90 were within the bound and ten more not: a hundred went, twice.
    assert_eq!(of(0), (200 * 50 + 10 * 70, 200, 10));
    assert_eq!(of(1), (10 * 1500, 0, 10));
    processor.drain();
    let table = &processor.counters.processors[0].running_totals;
    let shown = [&table.limit, &table.current, &table.failures].map(|n| n.load(Relaxed));
    assert_eq!(shown, [100, 20, 200]);
}

/// Room for 100 templates of two fields. Whoever has most forgets a quarter of them; the other one's go on.
#[test]
fn who_floods_the_templates_makes_nobody_else_wait() {
    let define = |id: u16| set(2, template(id, &[(1, 4), (2, 4)]));
    let mut one = open_to_all(Limits::default());
    send(&mut one, 1, 0, &[define(300)]);
    let limit = 100 * one.weight.templates;
    let mut processor = open_to_all(Limits { template_octets_all: limit, ..Limits::default() });
    for id in 300..304 {
        send(&mut processor, 1, 0, &[define(id)]);
    }
    for id in 300..800 {
        send(&mut processor, 0, 0, &[define(id)]);
        assert!(processor.weight.templates <= limit);
    }
    // The 97th makes 101: a quarter of 97 goes, which is 25 of them. So does each 25th of the 403 that follow.
    let of = |processor: &StreamProcessor, exporter: u32| {
        let decoder = &processor.states[&at(exporter)].memory.decoder;
        (decoder.templates(), decoder.counts().templates, decoder.counts().template_refusals)
    };
    assert_eq!(of(&processor, 0), (75, 75, 17 * 25));
    assert_eq!(of(&processor, 1), (4, 4, 0));
    assert_eq!(processor.weight.templates, 79 * limit / 100);
    let data = |id: u16| set(id, octets().u32(1000).u32(1));
    send(&mut processor, 1, 0, &[data(300), data(303)]);
    // Of what the other one sent, the last ones are there, and the first ones are waited for.
    send(&mut processor, 0, 0, &[data(300), data(799)]);
    let of = |exporter: u32| *processor.states[&at(exporter)].memory.decoder.counts();
    assert_eq!((of(1).records, of(1).held_sets), (2, 0));
    assert_eq!((of(0).records, of(0).held_sets), (1, 1));
    processor.drain();
    assert_eq!(processor.counters.processors[0].templates.failures.load(Relaxed), 425);
}

/// Room for 100 templates. A configured exporter has 70 of them and strangers have the rest, be they ever so few each:
/// theirs go first, and those of the configured one only where there are no others.
#[test]
fn templates_of_strangers_are_forgotten_first() {
    let define = |id: u16| set(2, template(id, &[(1, 4), (2, 4)]));
    let mut one = open_to_all(Limits::default());
    send(&mut one, 1, 0, &[define(300)]);
    let limit = 100 * one.weight.templates;
    let mut processor = open_to_all(Limits { template_octets_all: limit, ..Limits::default() });
    let ours = Exporter { name: "ours".into(), ..Exporter::unconfigured(at(0)) };
    processor.registry.configure(&[ours], true, Arc::new(Versions::new(Vec::new())));
    for id in 300..370 {
        send(&mut processor, 0, 0, &[define(id)]);
    }
    for stranger in 1..=300 {
        send(&mut processor, stranger, 0, &[define(300)]);
        assert!(processor.weight.templates <= limit);
    }
    let kept = |processor: &StreamProcessor, exporter: u32| {
        let decoder = &processor.states[&at(exporter)].memory.decoder;
        (decoder.templates(), decoder.counts().template_refusals)
    };
    assert_eq!(kept(&processor, 0), (70, 0));
    // The 31st stranger makes 101: three go, so that a 64th is free; and so with every third one that follows.
    let strangers: usize = (1..=300).map(|n| kept(&processor, n).0).sum();
    assert_eq!(strangers, 300 - 3 * 90);
    // Nobody else has any when the 101st of the configured one comes.
    for id in 370..401 {
        send(&mut processor, 0, 0, &[define(id)]);
        assert!(processor.weight.templates <= limit);
    }
    assert_eq!((1..=300).map(|n| kept(&processor, n).0).sum::<usize>(), 0);
    assert_eq!(kept(&processor, 0), (101 - 26, 26));
}

/// Two thousand rates make some hundred rows, and come to the volume that they state; wherever flushes fall.
#[test]
fn who_states_another_rate_in_each_record_gets_few() {
    let of = |is_flushed: bool| {
        let mut processor = open_to_all(Limits::default());
        let mut usage = BTreeMap::<_, u64>::new();
        let mut most = 0;
        for n in 0..100 {
            let body = (0..20).fold(octets(), |body, k| body.u32(100).u32(1).u32(1000 + n * 20 + k));
            let define = set(2, template(300, &[(1, 4), (2, 4), (34, 4)]));
            send(&mut processor, 1, n * 20, &[define, set(300, body)]);
            if is_flushed || n == 99 {
                let drained = processor.drain();
                most = most.max(drained.usage.len());
                for row in drained.usage {
                    *usage.entry(row.key).or_default() += row.sums.octets;
                }
            }
        }
        let rounded = processor.counters.exporters()[0].rates_rounded.load(Relaxed);
        (usage, most, rounded)
    };
    let (usage, most, rounded) = of(false);
    assert_eq!((of(true).0, of(true).2), (usage.clone(), rounded));
    // 256 as they are; from 1000 to 3000 there are fewer than two powers of two, with 16 steps each.
    assert!((256..=256 + 33).contains(&most), "{most} rows");
    assert!((1600..=2000 - 256).contains(&rounded), "{rounded} records");
    assert_eq!(usage.values().sum::<u64>(), 2000 * 100);
    let scaled: f64 = usage
        .iter()
        .map(|(key, &octets)| {
            octets as f64 * f64::from(key.rate.numerator()) / f64::from(key.rate.denominator())
        })
        .sum();
    // By Gauss. Each is off by a 32nd at most (a standard deviation), so 1744 of them by a 1300th; four times that.
    let stated = 100.0 * 2000.0 * 1999.5;
    assert!((scaled / stated - 1.0).abs() < 0.003, "{scaled} for {stated}");
}

/// What leaves with a reload, or comes from a checkpoint, is weighed, too.
#[test]
fn what_is_weighed_is_what_there_is() {
    let mut before = open_to_all(Limits::default());
    let sets = [
        set(2, template(300, &[(148, 8), (85, 8)])),
        set(300, octets().u64(1).u64(1000)),
        set(999, octets().u32(1)),
    ];
    send(&mut before, 1, 0, &sets);
    let expected = Weight { sets: 132, totals: 1, ..before.weight };
    assert_eq!(before.weight, expected);
    let templates = before.weight.templates;
    assert!(templates > 0);
    let left = before.drain().checkpoints.remove(0).1;
    let mut after = open_to_all(Limits::default());
    after.registry.leave_state(at(1), left);
    after.take_up_waiting(|_| true).unwrap();
    assert_eq!((after.weight.sets, after.weight.totals, after.weight.templates), (132, 1, templates));
    after.registry.configure(&[], false, Arc::new(Versions::new(Vec::new())));
    // It stays while something waits.
    after.drain();
    assert_eq!((after.weight.sets, after.states.len()), (132, 1));
    after.expire(UnixMillis(EXPORT_MS + 2 * Limits::default().hold_ms));
    after.drain();
    assert_eq!((after.weight, after.states.len()), (Weight::default(), 0));
}

/// Two flows that agree in all that is exported, 900 octets and 400: the greater one is metered, the other one told.
#[test]
fn running_totals_that_are_unclear_are_told() {
    let mut processor = open_to_all(Limits::default());
    let fields = [(8, 4), (12, 4), (85, 8), (150, 4), (151, 4)];
    let second = u32::try_from(EXPORT_MS / 1000).unwrap() - 10;
    let both =
        [900, 400].iter().fold(octets(), |all, &total| all.u32(1).u32(2).u64(total).u32(second).u32(second));
    send(&mut processor, 1, 0, &[set(2, template(300, &fields)), set(300, both)]);
    let totals = processor.drain().totals;
    assert_eq!((totals.records, totals.raw_octets), (2, 900));
    let exporters = processor.counters.exporters();
    let [one] = &exporters[..] else { panic!() };
    let told = [&one.unclear_totals, &one.unclear_total_octets].map(|n| n.load(Relaxed));
    assert_eq!(told, [1, 400]);
    assert_eq!(processor.counters.processors[0].unclear_total_octets.load(Relaxed), 400);
}
