//! The same of a whole network: routers with links, thousands of customers, classes, and traffic of both families that
//! goes on over buckets; and from a socket through the journal.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fluxoscope::config::Config;
use fluxoscope::counters::Counters;
use fluxoscope::generate::{Options, Protocol, generate};
use fluxoscope::journal::{self, Refused};
use fluxoscope::processor::exporters::Exporters;
use fluxoscope::processor::{StreamProcessor, Taken};
use fluxoscope::receive::socket;
use fluxoscope::setup;
use fluxoscope::units::UnixMillis;

use crate::count::allocations;
use crate::datagrams::{NOW, processor, v5};

/// 8 exporters, 16 links, classes, and customers with an IPv4 and an IPv6 prefix each.
fn network(customers: u32) -> Config {
    let mut text = String::from("[sampling]\ngrace = \"0s\"\n");
    for n in 1..=8 {
        text += &format!("[[exporter]]\nname = \"r{n}\"\naddress = \"127.0.1.{n}\"\n");
        for link in 0..2 {
            let point = format!("{{ exporter = \"r{n}\", ifindex = {} }}", 10 + link);
            text += &format!("[[link]]\nname = \"l{n}-{link}\"\ninterfaces = [{point}]\n");
        }
    }
    for (name, rule) in [("web", "protocol = \"tcp\", port = [80, 443]"), ("urgent", "dscp = [46]")] {
        text += &format!("[[traffic_class]]\nname = \"{name}\"\nmatch = {{ {rule} }}\n");
    }
    for n in 0..customers {
        let prefixes = format!("\"10.{}.{}.0/24\", \"2001:db8:{n:x}::/48\"", n / 256, n % 256);
        text += &format!("[[customer]]\nname = \"c{n}\"\nprefixes = [{prefixes}]\n");
    }
    Config::parse(&text, "network.toml", Path::new(".")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Records of generated traffic; the first half warms up.
const RECORDS: u64 = 200_000;

/// What tables may ask for while new rows make them grow, which they do by doubling: there are some buckets and a few
/// thousand rows. What asked once in 2000 records would ask for more.
const GROWTH: u64 = 50;

fn generated(protocol: Protocol) {
    // Most of the customers are silent, so that nearly all rows are there when the first half has passed.
    let (all, busy) = (network(5000), network(8));
    let options = Options {
        records: RECORDS,
        protocol,
        // In the middle of a bucket: flows that went on for a while lie in that and the ones before it.
        start: UnixMillis(NOW.0 + 100_000),
        span_seconds: 120,
        sampling: if protocol == Protocol::V5 { 1 } else { 100 },
        ..Options::default()
    };
    let mut datagrams: Vec<(UnixMillis, IpAddr, Vec<u8>)> = Vec::new();
    let made = generate(&busy, &options, |datagram| {
        datagrams.push((datagram.time, datagram.source.ip(), datagram.payload.to_vec()));
        Ok(())
    })
    .unwrap();
    let counters = Arc::new(Counters::new(1, 0));
    let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
    setup::rehearse(&all, false, &registry).unwrap();
    let mut processor = StreamProcessor::new(0, setup::stages(&all), registry, counters);
    let feed = |processor: &mut StreamProcessor, datagrams: &[(UnixMillis, IpAddr, Vec<u8>)]| {
        for (received, source, payload) in datagrams {
            assert_eq!(processor.feed(*received, *source, payload).unwrap(), Taken::Yes);
        }
    };
    let (first, rest) = datagrams.split_at(datagrams.len() / 2);
    feed(&mut processor, first);
    let (rows, before) = (processor.usage_rows(), allocations());
    feed(&mut processor, rest);
    let asked = allocations() - before;
    let new = processor.usage_rows() - rows;
    assert!(asked <= GROWTH, "{protocol:?}: memory asked for {asked} times, {new} new rows beside {rows}");
    processor.finish();
    let drained = processor.drain();
    let totals = drained.totals;
    assert_eq!((totals.malformed, totals.duplicates, totals.expired_records), (0, 0, 0));
    assert_eq!((totals.records, totals.metered_records), (RECORDS, RECORDS));
    assert_eq!(totals.metered_octets, made.truth.raw_octets());
    // It went over links to customers, in classes, of both families, and over buckets where there are times.
    let count = |what: fn(&fluxoscope::usage::UsageKey) -> i64| {
        let found: std::collections::BTreeSet<i64> = drained.usage.iter().map(|row| what(&row.key)).collect();
        found.len()
    };
    let has_times = protocol != Protocol::Sflow;
    assert!(count(|key| key.customer.0.into()) >= 8 && count(|key| key.link.0.into()) >= 16);
    assert!(count(|key| key.class.0.into()) >= 2);
    assert!(count(|key| key.bucket.0) > if has_times { 2 } else { 0 });
    assert_eq!(count(|key| key.family as i64), if protocol == Protocol::V5 { 1 } else { 2 });
}

#[test]
fn a_network_seen_by_netflow5_takes_no_memory_for_a_record() {
    generated(Protocol::V5);
}

#[test]
fn a_network_seen_by_netflow9_takes_no_memory_for_a_record() {
    generated(Protocol::V9);
}

#[test]
fn a_network_seen_by_ipfix_takes_no_memory_for_a_record() {
    generated(Protocol::Ipfix);
}

#[test]
fn a_network_seen_by_sflow_takes_no_memory_for_a_record() {
    generated(Protocol::Sflow);
}

/// As the daemon does it: a batch from the kernel, each datagram into the journal, and on into the processor. The
/// journal's own thread writes, and asks for what it likes.
#[test]
fn sockets_and_journal_take_no_memory_for_a_datagram() {
    /// As many as a batch holds.
    const BATCH: u32 = 32;
    const BATCHES: u32 = 400;
    let directory = tempfile::tempdir().unwrap();
    let config = journal::Config { sync_octets: 256 << 10, queue_octets: 1 << 20, ..Default::default() };
    let (mut writer, syncer, durable) = journal::open(directory.path(), &config).unwrap();
    let mut sockets = socket::bind(&["127.0.0.1:0".parse().unwrap()], 1, 4 << 20).unwrap().remove(0);
    let target = sockets.local_addresses()[0];
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let source = sender.local_addr().unwrap();
    let (mut processor, _, _) = processor(fluxoscope::processor::Config::default());
    let datagrams: Vec<Vec<u8>> = (0..BATCH * BATCHES).map(|n| v5(n * 30)).collect();

    // Before anybody writes, the queue fills up: all buffers that there may be are made now, whatever the disk does.
    let mut waiting = 0;
    while writer.append(NOW, source, &datagrams[0]).is_ok() {
        waiting += 1;
    }
    assert!(waiting > 100, "{waiting} datagrams");
    let thread = std::thread::spawn(move || syncer.run());

    let mut taken = 0;
    let mut pass = |datagrams: &[Vec<u8>]| {
        for batch in datagrams.chunks(BATCH as usize) {
            for datagram in batch {
                sender.send_to(datagram, target).unwrap();
            }
            let mut here = 0;
            while here < batch.len() {
                let received = sockets.receive(Duration::from_secs(60)).unwrap();
                assert!(!received.is_empty(), "a datagram on loopback was lost");
                for datagram in received.iter() {
                    while let Err(refused) = writer.append(NOW, datagram.source, datagram.payload) {
                        assert_eq!(refused, Refused::Full);
                        writer.hand_over();
                        assert!(durable.wait_until(writer.end(), Duration::from_secs(60)));
                    }
                    processor.feed(NOW, datagram.source.ip(), datagram.payload).unwrap();
                    here += 1;
                }
                writer.tick(Instant::now());
            }
            taken += here;
        }
        allocations()
    };
    let (first, rest) = datagrams.split_at(datagrams.len() / 4);
    let before = pass(first);
    assert_eq!(pass(rest) - before, 0);
    assert_eq!(taken, datagrams.len());
    let totals = processor.drain().totals;
    assert_eq!((totals.metered_records, totals.duplicates), (u64::from(BATCH * BATCHES * 30), 0));
    let end = writer.end();
    drop(writer);
    thread.join().unwrap();
    assert_eq!((durable.position(), durable.lost()), (end, journal::Lost::default()));
}
