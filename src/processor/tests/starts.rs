//! Records of an exporter that has started anew wait from the datagram on that tells so, where its interfaces are read.

use std::collections::HashSet;

use super::*;
use crate::decode::tests::build::{EXPORT, EXPORT_MS, UPTIME, octets, set, template, v9_at};

fn over() -> SamplingPolicy {
    SamplingPolicy { over: Some(SamplingRate::NOT_ANNOUNCED), ..SamplingPolicy::default() }
}

/// A v9 datagram with its template and one record of 1000 octets.
fn nine(uptime: u32, number: u32) -> Vec<u8> {
    let template = set(0, template(300, &[(1, 4), (2, 4)]));
    v9_at(uptime, EXPORT, number, 1, &[template, set(300, octets().u32(1000).u32(10))])
}

fn take(processor: &mut StreamProcessor, datagram: &[u8]) {
    processor.feed(UnixMillis(EXPORT_MS), address(1), datagram).expect("no unreadable checkpoint");
}

/// Records that are metered now, and that wait.
fn fate(processor: &mut StreamProcessor) -> (u64, u64) {
    let metered = processor.drain().totals.metered_records;
    (metered, processor.held().records)
}

/// An exporter that has sent four datagrams and then starts anew; what becomes of its first record after that.
fn started(is_asked: bool) -> (StreamProcessor, Arc<Exporters>, (u64, u64)) {
    let (mut processor, registry) = processor(&[exporter(1, over())]);
    registry.ask(is_asked.then(|| address(1)).into_iter().collect());
    for number in 100..104 {
        take(&mut processor, &nine(UPTIME, number));
    }
    assert_eq!(fate(&mut processor), (4, 0));
    take(&mut processor, &nine(5000, 1));
    let fate = fate(&mut processor);
    (processor, registry, fate)
}

#[test]
fn the_first_datagram_after_a_start_waits() {
    let configure = |registry: &Exporters| {
        registry.configure(&[exporter(1, over())], false, Arc::new(Versions::new(Vec::new())));
    };
    let (mut processor, registry, fate_of_first) = started(true);
    assert_eq!(fate_of_first, (0, 1));
    let restarts = &registry.entry(address(1)).expect("configured").counters.restarts;
    assert_eq!(restarts.load(Relaxed), 1);
    // A reload for other reasons ends nothing.
    configure(&registry);
    take(&mut processor, &nine(6000, 2));
    processor.expire(UnixMillis(EXPORT_MS + 60_000));
    assert_eq!((fate(&mut processor), registry.read()), ((0, 2), Vec::new()));

    registry.has_been_read(address(1));
    let read = registry.read();
    assert_eq!((registry.end_read(&read).len(), fate(&mut processor)), (1, (0, 2)), "not in force yet");
    configure(&registry);
    processor.expire(UnixMillis(EXPORT_MS + 61_000));
    take(&mut processor, &nine(7000, 3));
    assert_eq!(fate(&mut processor), (3, 0));
}

#[test]
fn who_is_not_asked_does_not_wait() {
    assert_eq!(started(false).2, (1, 0));
    // Nor whoever is asked no longer.
    let (mut processor, registry, _) = started(true);
    registry.ask(HashSet::new());
    processor.expire(UnixMillis(EXPORT_MS + 1000));
    assert_eq!(fate(&mut processor), (1, 0));
}
