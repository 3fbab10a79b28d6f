mod former;
mod holds;
mod policies;
mod random;
mod room;
mod starts;

use core::net::{IpAddr, Ipv4Addr};

use super::publish::add_difference;
use super::*;
use crate::exporter::{Exporter, SamplingPolicy};
use crate::units::{RateSource, SamplingRate};
use crate::usage::UsageRows;

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

/// The same of samples: what is told as lost goes back, flush or not.
#[test]
fn a_sample_that_comes_late_is_no_longer_lost_after_a_flush() {
    use crate::decode::tests::sflow::{datagram, flow_sample, frame, raw_header};
    let (mut processor, registry) = processor(&[exporter(1, SamplingPolicy::default())]);
    let record = [raw_header(1, 1000, &frame())];
    for (number, lost) in [(1, 0), (3, 1), (2, 0), (4, 0), (7, 2), (6, 1), (5, 0)] {
        feed(&mut processor, 1, &datagram(number, &[flow_sample(number, &record)]));
        processor.drain();
        let entry = registry.entry(address(1)).expect("configured");
        assert_eq!(entry.counters.sflow.samples_lost.load(Relaxed), lost, "{number}");
    }
}

/// Loss of an exporter by its name and by the day of the source's clock, also where one flush has two of either, and
/// where a reload has taken the exporter away.
#[test]
fn losses_are_booked_on_their_day_under_their_name() {
    let only = |name: &str| [Exporter { name: name.to_owned(), ..exporter(1, SamplingPolicy::default()) }];
    let (mut processor, registry) = processor(&only("old"));
    let configure = |all: &[Exporter]| registry.configure(all, false, Arc::new(Versions::new(Vec::new())));
    // 2026-01-15T00:00:00Z is the day 20468; a second before it, that day has not begun.
    assert_eq!(NOW.0 / 86_400_000, 20_468);
    for (milliseconds, sequence) in [(-1000, 0), (-1000, 3), (0, 4), (500, 10)] {
        processor.feed(NOW.plus(milliseconds), address(1), &v5(sequence)).expect("no unreadable checkpoint");
    }
    configure(&only("new"));
    // Whoever has another name from now on is met with the next batch, and what came before that is the old name's.
    processor.expire(NOW.plus(1000));
    processor.feed(NOW.plus(2000), address(1), &v5(12)).expect("no unreadable checkpoint");
    configure(&[]);
    let losses = processor.drain().losses;
    let booked: Vec<_> =
        losses.iter().map(|loss| (loss.exporter.as_str(), loss.day, loss.records, loss.lost)).collect();
    assert_eq!(booked, [("old", 20_467, 2, 2), ("old", 20_468, 2, 5), ("new", 20_468, 1, 1)]);
    assert!(processor.drain().losses.is_empty(), "once");
}

/// As a manager sees them, an exporter's counters only grow, and by what happened since.
#[test]
fn the_counters_of_an_exporter_neither_fall_nor_jump() {
    let all = [exporter(1, SamplingPolicy::default())];
    let shown = |registry: &Exporters| {
        let entry = registry.entry(address(1)).expect("configured");
        [&entry.counters.records, &entry.counters.lost_told, &entry.counters.lost].map(|n| n.load(Relaxed))
    };
    let (mut before, registry) = processor(&all);
    for (sequence, expected) in [(0, [1, 0, 0]), (5, [2, 4, 4]), (3, [3, 4, 3]), (7, [4, 5, 4])] {
        feed(&mut before, 1, &v5(sequence));
        let state = before.drain().checkpoints.remove(0).1;
        assert_eq!(shown(&registry), expected, "{sequence}");
        registry.leave_state(address(1), state);
    }
    // In the next run: four records and five lost are the past's.
    let (mut after, again) = processor(&all);
    again.leave_state(address(1), registry.take_state(address(1)).expect("left above"));
    feed(&mut after, 1, &v5(8));
    after.drain();
    assert_eq!(shown(&again), [1, 0, 4]);
}

/// Refused templates are counted as they are refused: what an earlier run refused does not count again, and what an
/// exporter refused does not go with it.
#[test]
fn refused_templates_neither_jump_nor_fall() {
    let all = [exporter(1, SamplingPolicy::default()), exporter(2, SamplingPolicy::default())];
    let config =
        Config { decode: decode::Limits { templates: 1, ..Default::default() }, ..Default::default() };
    let start = |left: Option<Remembered>| {
        let counters = Arc::new(Counters::new(1, 0));
        let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
        registry.configure(&all, false, Arc::new(Versions::new(Vec::new())));
        registry.leave_states(left.map(|state| (address(1), state)));
        (StreamProcessor::new(0, config, Arc::clone(&registry), Arc::clone(&counters)), registry, counters)
    };
    let failures = |counters: &Counters| counters.processors[0].templates.failures.load(Relaxed);
    // One template fits; the others are one too many each.
    let more = |id: u8| [0, 0, 0, 12, 1, id, 0, 1, 0, 1, 0, 4];
    let (mut before, _, counters) = start(None);
    feed(&mut before, 1, &v9(0, 0, &[&TEMPLATE, &more(1), &more(2), &more(3)]));
    let state = before.drain().checkpoints.remove(0).1;
    assert_eq!(failures(&counters), 3);
    let (mut after, registry, counters) = start(Some(state));
    feed(&mut after, 1, &v9(1, 0, &[&more(4)]));
    after.drain();
    assert_eq!(failures(&counters), 1);
    feed(&mut after, 1, &v9(2, 0, &[&more(5)]));
    registry.configure(&all[1..], false, Arc::new(Versions::new(Vec::new())));
    after.drain();
    after.publish_gauges();
    assert_eq!(failures(&counters), 2);
}

/// What an exporter sent last shows, also where a reload takes it away before the next flush.
#[test]
fn an_exporter_that_a_reload_takes_away_is_published_one_last_time() {
    let require = SamplingPolicy { require: true, ..SamplingPolicy::default() };
    let (mut processor, registry) = processor(&[exporter(1, require)]);
    let entry = registry.entry(address(1)).expect("configured");
    let shown =
        || [&entry.counters.records, &entry.counters.held, &entry.counters.lost].map(|n| n.load(Relaxed));
    feed(&mut processor, 1, &v5(0));
    processor.drain();
    assert_eq!(shown(), [1, 1, 0]);
    feed(&mut processor, 1, &v5(4));
    registry.configure(&[], false, Arc::new(Versions::new(Vec::new())));
    processor.drain();
    // What waits does so until it has come to its end.
    assert_eq!(shown(), [2, 2, 3]);
    processor.expire(NOW.plus(1000));
    processor.drain();
    assert_eq!(shown(), [2, 0, 3]);
}

#[test]
fn an_exporter_whose_clock_is_wrong_shows() {
    let (mut processor, registry) = processor(&[exporter(1, SamplingPolicy::default())]);
    for (n, seconds) in
        [(0, 1_768_435_200), (1, 1_768_435_201), (2, 1_768_431_599), (3, 1_768_431_600), (4, 0)]
    {
        let mut datagram = v5(n);
        datagram[8..12].copy_from_slice(&u32::to_be_bytes(seconds));
        feed(&mut processor, 1, &datagram);
    }
    processor.drain();
    let counters = &registry.entry(address(1)).expect("configured").counters;
    let [ahead, behind] = [&counters.clock_ahead, &counters.clock_behind].map(|n| n.load(Relaxed));
    assert_eq!((ahead, behind), (1, 2));
}

#[test]
fn what_waits_is_released_under_the_number_of_this_run() {
    let require = SamplingPolicy { require: true, ..SamplingPolicy::default() };
    let (mut before, _) = processor(&[exporter(1, require.clone()), exporter(2, require)]);
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
    let [row] = drained.usage.into_vec()[..] else { panic!("not one row") };
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
    let (mut processor, registry) = processor(&[exporter(1, require.clone()), exporter(2, require.clone())]);
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

/// What was metered before a reload gave its exporter another name is that of the old name, also where the flush comes
/// after the reload; rows of both names are in one flush, and its totals are those of both.
#[test]
fn what_the_operator_takes_out_and_renames_is_known() {
    let (mut processor, registry) = processor(&[exporter(1, SamplingPolicy::default())]);
    feed(&mut processor, 1, &v5(0));
    let first = Arc::clone(&registry.entry(address(1)).expect("configured").counters);
    let configure = |exporters: &[Exporter], accept| {
        registry.configure(exporters, accept, Arc::new(Versions::new(Vec::new())));
    };
    // Taken out, also where anybody may send; back in.
    configure(&[], true);
    assert!(first.is_taken_out.load(Relaxed));
    configure(&[exporter(1, SamplingPolicy::default())], false);
    assert!(!first.is_taken_out.load(Relaxed));
    // The name moves to another address.
    configure(&[Exporter { name: "r1".to_owned(), ..exporter(2, SamplingPolicy::default()) }], false);
    let moved = Arc::clone(&registry.entry(address(2)).expect("configured").counters);
    assert!(first.is_taken_out.load(Relaxed) && !moved.is_taken_out.load(Relaxed));
    // Another name at the first address: what was counted stays with the old one.
    configure(&[Exporter { name: "edge".to_owned(), ..exporter(1, SamplingPolicy::default()) }], false);
    let renamed = processor.counters.renamed.read().expect("no panics").clone();
    assert!(renamed.len() == 1 && Arc::ptr_eq(&renamed[0], &first));
    assert!(registry.entry(address(1)).expect("configured").counters.was_heard.load(Relaxed));
}

#[test]
fn usage_from_before_a_rename_keeps_the_old_name() {
    let (mut processor, registry) = processor(&[exporter(1, SamplingPolicy::default())]);
    let rename = |name: &str| {
        let renamed = Exporter { name: name.to_owned(), ..exporter(1, SamplingPolicy::default()) };
        registry.configure(&[renamed], false, Arc::new(Versions::new(Vec::new())));
    };
    let part = |exporters: &ExporterNames, rows: &UsageRows| {
        let octets: u64 = rows.iter().map(|row| row.sums.octets).sum();
        (exporters.iter().map(|(_, it)| it.name.clone()).collect::<Vec<_>>().join(" "), octets)
    };
    feed(&mut processor, 1, &v5(0));
    feed(&mut processor, 1, &v5(1));
    processor.settle();
    rename("edge");
    feed(&mut processor, 1, &v5(2));
    let drained = processor.drain();
    let [(exporters, rows)] = &drained.former[..] else { panic!("{:?}", drained.former) };
    assert_eq!(part(exporters, rows), ("r1".to_owned(), 2000));
    assert_eq!(part(&drained.exporters, &drained.usage), ("edge".to_owned(), 1000));
    let totals = drained.totals;
    assert_eq!((totals.metered_records, totals.metered_octets, totals.metered_packets), (3, 3000, 30));

    // A flush on its way when the name changes says itself whose it is.
    feed(&mut processor, 1, &v5(3));
    let drained = processor.drain();
    rename("core");
    assert_eq!(part(&drained.exporters, &drained.usage), ("edge".to_owned(), 1000));
    // A reload without another name sets nothing aside.
    feed(&mut processor, 1, &v5(4));
    processor.settle();
    rename("core");
    let drained = processor.drain();
    assert_eq!((part(&drained.exporters, &drained.usage).0, drained.former.len()), ("core".to_owned(), 0));
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
    // Nobody knows how many records it held, and none of them was decoded.
    assert_eq!((processor.held().sets, totals.expired_sets, totals.expired_set_octets), (0, 1, 8));
    assert_eq!((totals.records, totals.expired_records, totals.expired_octets), (0, 0, 0));
    let own = &processor.counters.processors[0];
    let told = [&own.expired_records, &own.expired_octets, &own.expired_sets].map(|one| one.load(Relaxed));
    assert_eq!(told, [1, 8, 1]);
}

/// A record of two directions (5000 octets, and 700 back) is two flows, and one that says 2^48 octets is none.
#[test]
fn a_record_is_as_many_flows_as_can_be_believed() {
    use crate::decode::tests::build::{ipfix, octets, set, template};
    let over = SamplingPolicy { over: Some(SamplingRate::NOT_ANNOUNCED), ..SamplingPolicy::default() };
    let (mut processor, _) = processor(&[exporter(1, over)]);
    let reverse = |element: u64| (29_305 << 16) | element;
    let biflow = template(300, &[(1, 8), (2, 4), (reverse(1), 4), (reverse(2), 8)]);
    let plain = template(301, &[(1, 8), (2, 4)]);
    let both = octets().u64(5000).u32(5).u32(700).u64(3);
    let message =
        ipfix(0, 1, &[set(2, biflow), set(2, plain), set(300, both), set(301, octets().u64(1 << 48).u32(9))]);
    feed(&mut processor, 1, &message);
    let totals = processor.drain().totals;
    assert_eq!((totals.records, totals.second_flows, totals.not_volume), (2, 1, 1));
    assert_eq!(totals.raw_octets, 5700);
    // Where both directions are looked at, one may be the other observation of a flow.
    assert_eq!(totals.metered_records + totals.duplicate_observations, 2);
    assert_eq!(totals.metered_octets + totals.duplicate_observation_octets, 5700);
    let own = &processor.counters.processors[0];
    assert_eq!([&own.not_volume, &own.implausible].map(|one| one.load(Relaxed)), [0, 1]);
}

/// A record of nProbe's: 1000 octets in 10 packets there, 300 in 3 back.
#[test]
fn the_operator_says_what_elements_23_and_24_count() {
    use crate::decode::tests::build::{ipfix, octets, set, template};
    use crate::exporter::OutCounters;
    let over = SamplingPolicy { over: Some(SamplingRate::NOT_ANNOUNCED), ..SamplingPolicy::default() };
    let fields = [(1, 4), (2, 4), (23, 4), (24, 4), (35_632 << 16 | 118, 2)];
    let record = octets().u32(1000).u32(10).u32(300).u32(3).u16(0);
    let message = ipfix(0, 1, &[set(2, template(300, &fields)), set(300, record)]);
    for (out_counters, second_flows, octets) in
        [(None, 0, 1000), (Some(OutCounters::Same), 0, 1000), (Some(OutCounters::Reverse), 1, 1300)]
    {
        let (mut processor, _) = processor(&[Exporter { out_counters, ..exporter(1, over.clone()) }]);
        feed(&mut processor, 1, &message);
        let totals = processor.drain().totals;
        assert_eq!((totals.records, totals.second_flows, totals.raw_octets), (1, second_flows, octets));
        assert_eq!(totals.metered_octets + totals.duplicate_observation_octets, octets);
    }
}

/// A NetFlow v9 datagram with these sets, of export second `seconds` after [`NOW`].
fn v9(sequence: u8, seconds: u32, sets: &[&[u8]]) -> Vec<u8> {
    let mut datagram = vec![0, 9, 0, u8::try_from(sets.len()).expect("few")];
    datagram.extend([0; 4]);
    datagram.extend((1_768_435_200 + seconds).to_be_bytes());
    datagram.extend([0, 0, 0, sequence, 0, 0, 0, 7]);
    datagram.extend(sets.concat());
    datagram
}

/// Template 256: octets and packets, 4 octets each.
const TEMPLATE: [u8; 16] = [0, 0, 0, 16, 1, 0, 0, 2, 0, 1, 0, 4, 0, 2, 0, 4];
/// A record of it: 1000 octets, 10 packets.
const RECORD: [u8; 12] = [1, 0, 0, 12, 0, 0, 3, 232, 0, 0, 0, 10];
/// Options template 300, scope system, elements 34 (sampling interval) of 4 octets and 35 (algorithm) of 1; and its
/// record: 1 of 50.
const OPTIONS: [u8; 22] = [0, 1, 0, 22, 1, 44, 0, 4, 0, 8, 0, 1, 0, 4, 0, 34, 0, 4, 0, 35, 0, 1];
const SAMPLING: [u8; 13] = [1, 44, 0, 13, 0, 0, 0, 0, 0, 0, 0, 50, 1];

/// A replay that was interrupted looks at the holds at other moments than one that was not.
#[test]
fn what_waits_comes_to_the_same_however_often_somebody_looks() {
    let grace = u32::try_from(Config::default().sampling.grace_ms / 1000).expect("minutes");
    let after = |announced: u32, looks: &[i64]| {
        let (mut processor, _) = processor(&[exporter(1, SamplingPolicy::default())]);
        feed(&mut processor, 1, &v9(0, 0, &[&TEMPLATE, &RECORD]));
        for look in looks {
            processor.expire(NOW.plus(look * 1000));
        }
        let late = v9(1, announced, &[&OPTIONS, &SAMPLING]);
        let received = NOW.plus(i64::from(announced) * 1000);
        processor.feed(received, address(1), &late).expect("no unreadable checkpoint");
        let rates: Vec<SamplingRate> = processor.drain().usage.iter().map(|row| row.key.rate).collect();
        rates
    };
    let in_time = [SamplingRate::new(50, 1, RateSource::Domain).expect("a rate")];
    assert_eq!(after(grace - 1, &[]), in_time);
    assert_eq!(after(grace - 1, &[1, i64::from(grace) - 2]), in_time);
    let too_late = [SamplingRate::NOT_ANNOUNCED];
    assert_eq!(after(grace + 10, &[i64::from(grace) + 5]), too_late);
    assert_eq!(after(grace + 10, &[]), too_late);

    // The same for sets that wait for a template: after an hour they are gone, whoever looked.
    for looks in [&[][..], &[3601]] {
        let (mut processor, _) = processor(&[exporter(1, SamplingPolicy::default())]);
        feed(&mut processor, 1, &v9(0, 0, &[&RECORD]));
        for look in looks {
            processor.expire(NOW.plus(look * 1000));
        }
        let template = v9(1, 3602, &[&TEMPLATE]);
        processor.feed(NOW.plus(3_602_000), address(1), &template).expect("no unreadable checkpoint");
        processor.finish();
        let totals = processor.drain().totals;
        assert_eq!(
            (totals.metered_octets, totals.expired_records, totals.expired_sets),
            (0, 0, 1),
            "{looks:?}"
        );
    }
}

#[test]
fn what_waits_is_taken_up_without_its_exporter() {
    let (mut before, _) =
        processor(&[exporter(1, SamplingPolicy::default()), exporter(2, SamplingPolicy::default())]);
    feed(&mut before, 1, &v9(0, 0, &[&TEMPLATE, &RECORD]));
    feed(&mut before, 2, &v5(0));
    let states = |drained: Drained| {
        drained
            .checkpoints
            .into_iter()
            .map(|(exporter, state)| (exporter.parse().expect("an address"), state))
    };
    let drained = before.drain();
    assert_eq!(drained.totals.metered_octets, 1000);
    let (mut after, registry) =
        processor(&[exporter(1, SamplingPolicy::default()), exporter(2, SamplingPolicy::default())]);
    registry.leave_states(states(drained));
    after.take_up_waiting(|exporter| exporter == address(2)).expect("readable");
    assert_eq!(after.held().records, 0);
    after.take_up_waiting(|_| true).expect("readable");
    assert_eq!(after.held().records, 1);
    // That of the other, in which nothing waits, is left for when it is heard.
    assert_eq!(registry.left(), [address(2)]);
    after.expire(NOW.plus(Config::default().sampling.grace_ms));
    assert_eq!(after.drain().totals.metered_octets, 1000);

    // Of one that is no longer allowed nothing is taken up; it waits on.
    let (mut without, registry) = processor(&[exporter(2, SamplingPolicy::default())]);
    registry.leave_states([(address(1), Remembered { state: vec![0xff], ..Remembered::default() })]);
    without.take_up_waiting(|_| true).expect("nobody looked at it");
    assert_eq!(registry.left(), [address(1)]);
}

#[test]
fn a_checkpoint_of_another_format_is_refused() {
    let (mut before, _) = processor(&[exporter(1, SamplingPolicy::default())]);
    feed(&mut before, 1, &v5(0));
    let state = before.drain().checkpoints[0].1.state.clone();
    let refused = |state: Vec<u8>| {
        let (mut processor, registry) = processor(&[exporter(1, SamplingPolicy::default())]);
        registry.leave_states([(address(1), Remembered { state, ..Remembered::default() })]);
        processor.feed(NOW, address(1), &v5(1)).is_err()
    };
    assert!(!refused(state.clone()));
    assert!(refused([&state[..], &[0]].concat()), "something behind it");
    assert!(refused(state[..state.len() - 1].to_vec()), "cut short");
    assert!(refused(state[1..].to_vec()), "without its format");
    assert!(refused([&state[..2], &[checkpoint::FORMAT + 1], &state[3..]].concat()), "a later format");
    assert!(refused(Vec::new()));
}

#[test]
fn claims_of_several_exporters_together_stop_at_the_end_of_their_range() {
    let (mut processor, _) =
        processor(&[exporter(1, SamplingPolicy::default()), exporter(2, SamplingPolicy::default())]);
    let claims = decode::Counts { raw_octets: u64::MAX, raw_packets: u64::MAX, ..decode::Counts::default() };
    let (none, expired) = (decode::Counts::default(), Expired { records: 1, octets: u64::MAX, seconds: 0 });
    for _ in 0..2 {
        add_difference(&mut processor.totals, &claims, &none, expired, Expired::default());
    }
    let totals = processor.drain().totals;
    assert_eq!(
        (totals.raw_octets, totals.raw_packets, totals.expired_octets),
        (u64::MAX, u64::MAX, u64::MAX)
    );
    let mut sum = totals;
    sum.add(&totals);
    assert_eq!(sum.raw_octets, u64::MAX);
}

/// The boundary of a session is no datagram; and what a run leaves of its sessions is no more in the next one.
#[test]
fn sessions_end_with_their_boundary_and_with_the_run() {
    use crate::decode::tests::build::{ipfix, octets, set, template};
    let all = [exporter(
        1,
        SamplingPolicy { over: Some(SamplingRate::NOT_ANNOUNCED), ..SamplingPolicy::default() },
    )];
    let (mut before, registry) = processor(&all);
    let hear = |processor: &mut StreamProcessor, session, message: &[u8]| {
        processor.feed_in(Some(Session(session)), NOW, address(1), message).expect("readable")
    };
    let data = |id| set(id, octets().u32(1000).u32(10));
    let defined = |id| set(2, template(id, &[(1, 4), (2, 4)]));
    hear(&mut before, 5, &[]);
    hear(&mut before, 5, &ipfix(0, 1, &[defined(300), data(300)]));
    hear(&mut before, 6, &[]);
    // Of the session that ends, one set waits for its template; of the other, two.
    hear(&mut before, 5, &ipfix(1, 1, &[data(301)]));
    hear(&mut before, 6, &ipfix(0, 1, &[defined(300), data(301), data(302)]));
    hear(&mut before, 5, &[]);
    let drained = before.drain();
    let totals = drained.totals;
    assert_eq!((totals.datagrams, totals.malformed, totals.metered_octets), (3, 0, 1000));
    assert_eq!((totals.expired_sets, totals.expired_set_octets), (1, 8));
    let templates =
        |registry: &StreamProcessor| registry.counters.processors[0].templates.current.load(Relaxed);
    assert_eq!((templates(&before), before.held().sets), (1, 2));

    let state = drained.checkpoints[0].1.clone();
    registry.leave_state(address(1), state);
    let (mut after, again) = processor(&all);
    again.leave_state(address(1), registry.take_state(address(1)).expect("left above"));
    after.take_up_waiting(|_| true).expect("readable");
    let drained = after.drain();
    assert_eq!((drained.totals.datagrams, drained.totals.expired_sets), (0, 2));
    assert_eq!((templates(&after), after.held().sets, drained.checkpoints.len()), (0, 0, 1));
    // The same number is another session now.
    hear(&mut after, 6, &[]);
    hear(&mut after, 6, &ipfix(0, 1, &[data(300)]));
    assert_eq!((after.held().sets, after.drain().totals.lost), (1, 0));
}

/// An exporter that observes both sides, and v5, which cannot say which: metered, and counted where a manager sees it.
#[test]
fn observations_from_nobody_knows_where_are_counted() {
    use crate::classify::rules::{ExporterRule, Network};
    use crate::classify::{Classifier, Names};
    use crate::exporter::{Observes, OutputZero};
    let both = [exporter(1, SamplingPolicy::default()), exporter(2, SamplingPolicy::default())];
    let (mut processor, registry) = processor(&both);
    let rule = ExporterRule {
        name: "r1".to_owned(),
        address: address(1),
        observes: Observes::Both,
        output_zero: OutputZero::Unknown,
    };
    let names = Names { exporters: [("r1".to_owned(), ExporterId(0))].into(), ..Names::default() };
    let network = Network { exporters: vec![rule], ..Network::default() };
    let classifier = Classifier::compile(&network, &names).expect("a network without errors");
    let versions = Versions::new(vec![(0, Arc::new(classifier))]);
    registry.configure(&both, false, Arc::new(versions));
    for sequence in 0..3 {
        feed(&mut processor, 1, &v5(sequence));
        feed(&mut processor, 2, &v5(sequence));
    }
    let totals = processor.drain().totals;
    assert_eq!((totals.metered_records, totals.duplicate_observations), (6, 0));
    assert_eq!(processor.counters.processors[0].unknown_observations.load(Relaxed), 3);
    // Whose they are. One that observes one side says nothing of the side, and need not.
    let of = |n: usize| processor.counters.exporters()[n].unknown_observations.load(Relaxed);
    assert_eq!((of(0), of(1)), (3, 0));
}
