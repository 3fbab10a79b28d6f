//! What was received when other policies were in force than now goes by those.

use super::*;
use crate::exporter::{OutCounters, Policies};

fn over(n: u64) -> SamplingPolicy {
    let over = SamplingRate::new(n, 1, RateSource::Override);
    SamplingPolicy { over, ..SamplingPolicy::default() }
}

fn policies(exporters: &[Exporter]) -> Arc<Policies> {
    Arc::new(Policies::new(None, exporters))
}

/// Octets of the rows, scaled.
fn scaled(drained: &Drained) -> u64 {
    let octets = drained.usage.iter().map(|row| row.sums.octets * u64::from(row.key.rate.numerator()));
    octets.sum()
}

fn metered(processor: &mut StreamProcessor) -> u64 {
    scaled(&processor.drain())
}

/// Each datagram by those that its feeder tells of it, whatever is in force meanwhile, and whatever is taken up in between.
#[test]
fn a_datagram_goes_by_what_its_feeder_says() {
    let (mut processor, registry) = processor(&[exporter(1, over(2))]);
    let (old, new) = (policies(&[exporter(1, over(2))]), policies(&[exporter(1, over(100))]));
    processor.go_by(&old);
    feed(&mut processor, 1, &v5(0));
    registry.configure(&[exporter(1, over(100))], false, Arc::new(Versions::new(Vec::new())));
    feed(&mut processor, 1, &v5(1));
    // The drain takes up what is in force.
    assert_eq!(metered(&mut processor), 4000);
    feed(&mut processor, 1, &v5(2));
    assert_eq!(metered(&mut processor), 2000);
    processor.go_by(&new);
    feed(&mut processor, 1, &v5(3));
    processor.go_by(&old);
    feed(&mut processor, 1, &v5(4));
    assert_eq!(metered(&mut processor), 102_000);
}

/// Without a feeder that says it, what is in force counts from when it is taken up on, which may be told to be now.
#[test]
fn what_is_in_force_is_taken_up_at_once_where_it_is_asked_for() {
    let (mut processor, registry) = processor(&[exporter(1, over(2))]);
    feed(&mut processor, 1, &v5(0));
    registry.configure(&[exporter(1, over(100))], false, Arc::new(Versions::new(Vec::new())));
    processor.take_up_configuration();
    feed(&mut processor, 1, &v5(1));
    assert_eq!(metered(&mut processor), 102_000);
}

/// One that a reload took away before this run began: it has its name, and the operator's word.
#[test]
fn who_is_gone_has_the_name_and_the_word_of_then() {
    let (mut processor, _) = processor(&[exporter(2, over(1))]);
    processor.trust_feeder();
    let gone = Exporter { out_counters: Some(OutCounters::Reverse), ..exporter(1, over(100)) };
    processor.go_by(&policies(&[gone]));
    assert_eq!(feed(&mut processor, 1, &v5(0)), Taken::Yes);
    let drained = processor.drain();
    assert_eq!(scaled(&drained), 100_000);
    let names: Vec<&str> = drained.exporters.iter().map(|(_, one)| one.name.as_str()).collect();
    assert!(names.contains(&"r1") && !names.contains(&"127.0.0.1"), "{names:?}");
    // Where nobody has a word of it, it has none.
    processor.go_by(&policies(&[]));
    feed(&mut processor, 1, &v5(1));
    assert_eq!(metered(&mut processor), 1000);
}

/// What waits is let go by the word that is in force when it is asked for, in this run and in the next.
#[test]
fn what_waits_goes_by_the_newest_word() {
    let required = SamplingPolicy { require: true, ..SamplingPolicy::default() };
    let (mut processor, _) = processor(&[exporter(1, required.clone())]);
    processor.go_by(&policies(&[exporter(1, required)]));
    feed(&mut processor, 1, &v5(0));
    assert_eq!((metered(&mut processor), processor.held().records), (0, 1));
    processor.go_by(&policies(&[exporter(1, over(7))]));
    processor.expire(NOW.plus(1000));
    assert_eq!((metered(&mut processor), processor.held().records), (7000, 0));
}
