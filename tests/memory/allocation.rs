//! Once it has warmed up, the way from a datagram to its usage rows asks for no memory.

use fluxoscope::processor::{Config, StreamProcessor, Taken};

use crate::count::{allocations, octets, peak};
use crate::datagrams::{
    EXPORT, NOW, address, ipfix, ipfix_flows, processor, set, sflow, template, v5, v9_flows, words,
};

/// Records that are counted, of each protocol.
const RECORDS: u32 = 100_000;

/// Datagrams among which duplicates are recognised: room for them is made as they come.
pub(crate) const REMEMBERED: u32 = 1024;

/// Feeds datagrams of `each` records until `RECORDS` have been counted after a tenth of that to warm up, and returns
/// how often memory was asked for meanwhile.
fn steady(each: u32, make: impl Fn(u32) -> Vec<u8>) -> u64 {
    let (mut processor, _, _) = processor(Config::default());
    let warm = (RECORDS / 10 / each).max(REMEMBERED);
    let all = warm + RECORDS.div_ceil(each);
    // What comes is made before, as the kernel would.
    let datagrams: Vec<Vec<u8>> = (0..all).map(make).collect();
    let feed = |processor: &mut StreamProcessor, datagrams: &[Vec<u8>]| {
        for datagram in datagrams {
            assert_eq!(processor.feed(NOW, address(1), datagram).unwrap(), Taken::Yes);
        }
    };
    let (first, rest) = datagrams.split_at(usize::try_from(warm).unwrap());
    feed(&mut processor, first);
    let before = allocations();
    feed(&mut processor, rest);
    let asked = allocations() - before;
    let drained = processor.drain();
    let totals = drained.totals;
    // All of them went the whole way.
    assert_eq!((totals.malformed, totals.duplicates, totals.expired_records), (0, 0, 0));
    assert_eq!((totals.records, totals.metered_records), (u64::from(all * each), u64::from(all * each)));
    assert!(drained.usage.len() < 10, "{} rows", drained.usage.len());
    asked
}

#[test]
fn netflow5_takes_no_memory_for_a_record() {
    assert_eq!(steady(30, |n| v5(n * 30)), 0);
}

/// Templates and options come again with every twentieth datagram, as they do.
#[test]
fn netflow9_takes_no_memory_for_a_record() {
    assert_eq!(steady(30, |n| v9_flows(n, n % 20 == 0)), 0);
}

#[test]
fn ipfix_takes_no_memory_for_a_record() {
    // A message with templates has an options record, too, which counts.
    assert_eq!(steady(30, |n| ipfix_flows(n * 30 + n.div_ceil(20), n % 20 == 0)), 0);
}

#[test]
fn sflow_takes_no_memory_for_a_record() {
    assert_eq!(steady(4, |n| sflow(n + 1, 0xc000_0201, 3)), 0);
}

/// Rows of a thousand buckets and sixty rates, so that a flush has 60 000 of them, some 2 MB.
#[test]
fn rows_change_hands_without_being_touched() {
    let (mut processor, _, _) = processor(Config::default());
    let define = template(300, &[(1, 4), (2, 4), (34, 4)]);
    for n in 0..1000 {
        let body: Vec<u8> = (0..60).flat_map(|rate| words(&[1000, 1, 100 + rate])).collect();
        let mut message = ipfix(n * 60, 1, &[set(2, &define), set(300, &body)]);
        // The export time: each message is of another bucket.
        message[4..8].copy_from_slice(&(EXPORT - 300 * (1000 - n)).to_be_bytes());
        assert_eq!(processor.feed(NOW, address(1), &message).unwrap(), Taken::Yes);
    }
    let before = octets();
    peak();
    let unsorted = processor.drain_unsorted();
    let most = peak() - before;
    // The state of the exporter, and a batch that was not metered yet.
    assert!(most < 256 << 10, "{most} octets");
    assert_eq!(processor.usage_rows(), 0);
    let drained = unsorted.sorted();
    assert!(drained.usage.is_sorted());
    assert_eq!(drained.usage.len(), 60_000);
    assert!(
        drained.usage.iter().all(|row| (row.sums.octets, row.sums.packets, row.sums.flows) == (1000, 1, 1))
    );
}
