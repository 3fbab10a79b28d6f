//! Exporters that a reload has taken away.

use super::*;

fn required() -> SamplingPolicy {
    SamplingPolicy { require: true, ..SamplingPolicy::default() }
}

fn allow(registry: &Exporters, exporters: &[Exporter]) {
    registry.configure(exporters, false, Arc::new(Versions::new(Vec::new())));
}

/// What waits is metered without the operator's word that there must be a rate; what comes is rejected meanwhile.
#[test]
fn what_waits_of_one_comes_to_its_end() {
    let (mut processor, registry) = processor(&[exporter(1, required())]);
    feed(&mut processor, 1, &v5(0));
    allow(&registry, &[exporter(2, required())]);
    let drained = processor.drain();
    assert_eq!((drained.totals.records, drained.totals.expired_records), (1, 0));
    assert_eq!((processor.held().records, registry.left().len()), (1, 0));
    assert_eq!(feed(&mut processor, 1, &v5(1)), Taken::Rejected);
    processor.expire(NOW.plus(1000));
    let drained = processor.drain();
    assert_eq!((drained.totals.records, drained.totals.metered_octets), (0, 1000));
    assert_eq!((drained.exporters[0].1.name.as_str(), processor.held().records), ("r1", 0));
    assert_eq!(registry.left(), [address(1)]);
}

/// In the next run, where only the checkpoint tells of it.
#[test]
fn what_waits_of_one_is_taken_up_after_a_restart() {
    let (mut before, _) = processor(&[exporter(1, required())]);
    feed(&mut before, 1, &v5(0));
    let drained = before.drain();
    let left = drained.checkpoints.into_iter().map(|(_, left)| (address(1), left));
    let (mut processor, registry) = processor(&[exporter(2, required())]);
    registry.leave_states(left);
    processor.take_up_waiting(|_| true).expect("it can be read");
    assert_eq!(processor.held().records, 1);
    processor.expire(NOW.plus(1000));
    let drained = processor.drain();
    assert_eq!((drained.totals.metered_octets, drained.totals.expired_records), (1000, 0));
    assert_eq!(drained.exporters[0].1.name, "127.0.0.1");
    assert_eq!((processor.held().records, registry.left()), (0, vec![address(1)]));
    assert_eq!(feed(&mut processor, 1, &v5(1)), Taken::Rejected);
}

/// Whatever is in a journal was allowed when it came.
#[test]
fn what_is_journalled_of_one_is_metered() {
    let (mut processor, registry) = processor(&[exporter(2, required())]);
    // Of an older version of the configuration.
    registry.number(&[("gone", address(1))], 0).expect("there is room");
    assert_eq!(feed(&mut processor, 1, &v5(0)), Taken::Rejected);
    processor.trust_feeder();
    for (datagram, expected) in [(v5(0), (1000, 0)), (v5(0), (0, 1)), (v5(1), (1000, 0))] {
        assert_eq!(feed(&mut processor, 1, &datagram), Taken::Yes);
        let drained = processor.drain();
        assert_eq!((drained.totals.metered_octets, drained.totals.duplicates), expected);
        if expected.0 > 0 {
            assert_eq!(drained.exporters[0].1.name, "gone");
        }
        // Its state goes with each flush, and comes with its next datagram.
        assert_eq!((drained.checkpoints[0].0.as_str(), registry.left()), ("127.0.0.1", vec![address(1)]));
    }
    assert!(registry.entry(address(1)).is_none() && !registry.allows(address(1)));
}

/// Octets under each name, also of what was set aside, in the order of the names.
fn by_name(drained: &Drained) -> Vec<(String, u64)> {
    let mut all = BTreeMap::new();
    let now = [(&drained.exporters, &drained.usage)];
    for (exporters, rows) in now.into_iter().chain(drained.former.iter().map(|(names, rows)| (names, rows))) {
        for row in rows.iter() {
            let (_, exporter) = exporters.iter().find(|(id, _)| *id == row.key.exporter).expect("named");
            *all.entry(exporter.name.clone()).or_default() += row.sums.octets;
        }
    }
    all.into_iter().collect()
}

/// Two exporters change their names with each other, one goes and comes back under another name; nothing settles
/// the batch but what comes next. Each datagram is 1000 octets.
#[test]
fn what_waits_to_be_metered_is_of_the_names_that_it_came_under() {
    let named = |n: u8, name: &str| Exporter { name: name.to_owned(), ..exporter(n, Default::default()) };
    let (mut processor, registry) = processor(&[named(1, "a"), named(2, "b")]);
    feed(&mut processor, 1, &v5(0));
    for sequence in 0..3 {
        feed(&mut processor, 2, &v5(sequence));
    }
    allow(&registry, &[named(1, "b"), named(2, "a")]);
    for sequence in 1..6 {
        feed(&mut processor, 1, &v5(sequence));
    }
    // Of the second one nothing comes before it goes.
    allow(&registry, &[named(1, "b")]);
    feed(&mut processor, 1, &v5(6));
    allow(&registry, &[named(1, "b"), named(2, "c")]);
    feed(&mut processor, 2, &v5(3));
    let drained = processor.drain();
    // b: three of the second exporter, and six of the first one.
    let expected = [("a", 1000), ("b", 9000), ("c", 1000)];
    assert_eq!(by_name(&drained), expected.map(|(name, octets)| (name.to_owned(), octets)));
    assert_eq!((drained.totals.metered_records, drained.totals.metered_octets), (11, 11_000));
}
