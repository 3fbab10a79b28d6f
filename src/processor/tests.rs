mod holds;

use core::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::exporter::{Exporter, SamplingPolicy};
use crate::units::{RateSource, SamplingRate};

const NOW: UnixMillis = UnixMillis(1_768_435_200_000);

/// A NetFlow v5 datagram with one record of 10 packets and 1000 octets, that says nothing of sampling.
fn v5(sequence: u32) -> Vec<u8> {
    let mut datagram = vec![0; 72];
    datagram[..4].copy_from_slice(&[0, 5, 0, 1]);
    datagram[8..12].copy_from_slice(&1_768_435_200_u32.to_be_bytes());
    datagram[16..20].copy_from_slice(&sequence.to_be_bytes());
    datagram[24 + 16..24 + 20].copy_from_slice(&10_u32.to_be_bytes());
    datagram[24 + 20..24 + 24].copy_from_slice(&1000_u32.to_be_bytes());
    datagram
}

fn address(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, n))
}

fn exporter(n: u8, sampling: SamplingPolicy) -> Exporter {
    Exporter { name: format!("r{n}"), sampling, ..Exporter::unconfigured(address(n)) }
}

fn processor(exporters: &[Exporter]) -> (StreamProcessor, Arc<Exporters>) {
    let counters = Arc::new(Counters::new(1, 0));
    let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
    registry.configure(exporters, false, Arc::new(Versions::new(Vec::new())));
    (StreamProcessor::new(0, Config::default(), Arc::clone(&registry), counters), registry)
}

fn feed(processor: &mut StreamProcessor, from: u8, payload: &[u8]) -> Taken {
    processor.feed(NOW, address(from), payload).expect("no unreadable checkpoint")
}

#[test]
fn a_datagram_that_comes_late_takes_its_loss_back_in_a_later_flush() {
    let (mut processor, _) = processor(&[exporter(1, SamplingPolicy::default())]);
    feed(&mut processor, 1, &v5(0));
    feed(&mut processor, 1, &v5(2));
    assert_eq!(processor.drain().totals.lost, 1);
    feed(&mut processor, 1, &v5(1));
    let totals = processor.drain().totals;
    assert_eq!((totals.lost, totals.metered_octets), (-1, 1000));
}

#[test]
fn what_waits_is_released_under_the_number_of_this_run() {
    let require = SamplingPolicy { require: true, ..SamplingPolicy::default() };
    let (mut before, _) = processor(&[exporter(1, require), exporter(2, require)]);
    feed(&mut before, 2, &v5(0));
    let drained = before.drain();
    assert_eq!((drained.usage.len(), before.held().records), (0, 1));

    let rate = SamplingRate::new(10, 1, RateSource::Default).expect("a rate");
    let default = SamplingPolicy { default: Some(rate), ..SamplingPolicy::default() };
    let (mut after, registry) = processor(&[exporter(2, default)]);
    registry.leave_states([(address(2), drained.checkpoints[0].1.clone())]);
    // Anything from the exporter takes its state up.
    feed(&mut after, 2, &[0]);
    after.expire(NOW);
    let drained = after.drain();
    let [row] = drained.usage[..] else { panic!("{:?}", drained.usage) };
    assert_eq!((row.key.exporter.0, row.key.rate, row.sums.octets), (0, rate, 1000));
    assert_eq!((drained.totals.malformed, after.held().records), (1, 0));
}

#[test]
fn v5_without_a_rate_follows_the_operator() {
    let rate = SamplingRate::new(1000, 1, RateSource::Default).expect("a rate");
    let default = SamplingPolicy { default: Some(rate), ..SamplingPolicy::default() };
    let (mut processor, _) = processor(&[exporter(1, default), exporter(2, SamplingPolicy::default())]);
    feed(&mut processor, 1, &v5(0));
    feed(&mut processor, 2, &v5(0));
    let rates: Vec<SamplingRate> = processor.drain().usage.iter().map(|row| row.key.rate).collect();
    assert_eq!(rates, [rate, SamplingRate::NOT_ANNOUNCED.with_source(RateSource::Header)]);
}

#[test]
fn an_exporter_that_a_reload_takes_away_leaves_its_state_in_the_flush() {
    let require = SamplingPolicy { require: true, ..SamplingPolicy::default() };
    let (mut processor, registry) = processor(&[exporter(1, require), exporter(2, require)]);
    feed(&mut processor, 1, &v5(0));
    feed(&mut processor, 2, &v5(0));
    registry.configure(&[exporter(2, require)], false, Arc::new(Versions::new(Vec::new())));
    let drained = processor.drain();
    let mut exporters: Vec<&str> =
        drained.checkpoints.iter().map(|(exporter, _)| exporter.as_str()).collect();
    exporters.sort_unstable();
    assert_eq!(exporters, ["127.0.0.1", "127.0.0.2"]);
    assert_eq!(drained.totals.records, 2);
    assert_eq!(feed(&mut processor, 1, &v5(1)), Taken::Rejected);
}

#[test]
fn a_renamed_exporter_keeps_its_number_and_gets_the_new_name() {
    let (_, registry) = processor(&[exporter(1, SamplingPolicy::default())]);
    let renamed = Exporter { name: "edge".to_owned(), ..exporter(1, SamplingPolicy::default()) };
    registry.configure(&[renamed], false, Arc::new(Versions::new(Vec::new())));
    let entry = registry.entry(address(1)).expect("configured");
    assert_eq!((entry.id.0, entry.counters.name.as_str()), (0, "edge"));
}

#[test]
fn a_set_that_waits_in_vain_for_its_template_is_counted() {
    let (mut processor, _) = processor(&[exporter(1, SamplingPolicy::default())]);
    // IPFIX: a message of 28 octets with one data set of template 256, 8 octets of records.
    let mut message = vec![0, 10, 0, 28];
    message.extend(1_768_435_200_u32.to_be_bytes());
    message.extend([0; 8]);
    message.extend([1, 0, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8]);
    feed(&mut processor, 1, &message);
    assert_eq!(processor.held().sets, 1);
    assert_eq!(processor.drain().totals.expired_records, 0);
    processor.expire(NOW.plus(Config::default().decode.hold_ms + 1));
    let totals = processor.drain().totals;
    assert_eq!((processor.held().sets, totals.expired_records), (0, 1));
    assert!(totals.expired_octets >= 8, "{totals:?}");
}
