//! The same of each kind of record: IPv6, both directions in one, running totals, fields of variable length, pieces of
//! frames, rates by interface, and flows that went on from one bucket into the next.

use fluxoscope::processor::{Config, StreamProcessor, Taken};
use fluxoscope::sampling;
use fluxoscope::units::UnixMillis;

use crate::allocation::REMEMBERED;
use crate::count::allocations;
use crate::datagrams::{NOW, address, halves, ipfix, options_template, processor, set, template, words};

/// Records that are counted of each kind.
const RECORDS: u32 = 60_000;

/// Records of a datagram.
const EACH: u32 = 20;

/// Datagrams to warm up.
const WARM: u32 = REMEMBERED;

/// A kind of record: its template, other sets that come with it, and the n-th record.
struct Kind {
    template: Vec<u8>,
    others: Vec<Vec<u8>>,
    /// Options records in `others`, which count as records in the message's sequence number.
    options: u32,
    record: fn(u32) -> Vec<u8>,
}

/// What came of it: flows, octets and rows of usage.
type Found = (u64, u64, usize);

/// Feeds records of a kind, its templates with every twentieth datagram; once warmed up it must ask for no memory.
fn steady(kind: &Kind) -> Found {
    let all = WARM + RECORDS / EACH;
    let mut sequence = 0;
    let datagrams: Vec<Vec<u8>> = (0..all)
        .map(|n| {
            let is_told = n % 20 == 0;
            let mut sets = Vec::new();
            if is_told {
                sets.push(set(2, &kind.template));
                sets.extend(kind.others.iter().cloned());
            }
            let records: Vec<u8> = (0..EACH).flat_map(|k| (kind.record)(n * EACH + k)).collect();
            sets.push(set(256, &records));
            let message = ipfix(sequence, 7, &sets);
            sequence += EACH + if is_told { kind.options } else { 0 };
            message
        })
        .collect();
    // What says nothing of sampling is not waited for.
    let sampling = sampling::Config { grace_ms: 0, ..sampling::Config::default() };
    // In the second of their export.
    let received = UnixMillis(NOW.0 + 999);
    let (mut processor, _, _) = processor(Config { sampling, ..Config::default() });
    let feed = |processor: &mut StreamProcessor, datagrams: &[Vec<u8>]| {
        for datagram in datagrams {
            assert_eq!(processor.feed(received, address(1), datagram).unwrap(), Taken::Yes);
        }
    };
    let (first, rest) = datagrams.split_at(usize::try_from(WARM).unwrap());
    feed(&mut processor, first);
    let before = allocations();
    feed(&mut processor, rest);
    assert_eq!(allocations() - before, 0);
    let drained = processor.drain();
    let totals = drained.totals;
    assert_eq!((totals.malformed, totals.duplicates, totals.expired_records), (0, 0, 0));
    assert_eq!(totals.records, u64::from(all * EACH));
    let scaled = drained.usage.iter().map(|row| {
        row.sums.octets * u64::from(row.key.rate.numerator()) / u64::from(row.key.rate.denominator())
    });
    (totals.metered_records, scaled.sum(), drained.usage.len())
}

/// How many records [`steady`] feeds.
const ALL: u64 = (RECORDS + WARM * EACH) as u64;

fn kind(fields: &[(u16, u16)], record: fn(u32) -> Vec<u8>) -> Kind {
    Kind { template: template(256, fields), others: Vec::new(), options: 0, record }
}

/// An address of 2001:db8::/32.
fn address6(n: u32) -> Vec<u8> {
    words(&[0x2001_0db8, 0, 0, n])
}

fn instants(first: i64, last: i64) -> Vec<u8> {
    [first.to_be_bytes(), last.to_be_bytes()].concat()
}

#[test]
fn ipv6() {
    let found = steady(&kind(&[(27, 16), (28, 16), (1, 8), (2, 8), (152, 8), (153, 8)], |n| {
        [address6(n), address6(1), words(&[0, 1000, 0, 10]), instants(NOW.0 - 1000, NOW.0 - 1)].concat()
    }));
    assert_eq!(found, (ALL, ALL * 1000, 1));
}

/// RFC 5103: the reverse counters are those of the way back.
#[test]
fn both_directions_in_one_record() {
    let reverse = |element: u16| [halves(&[0x8000 | element, 4]), words(&[29_305])].concat();
    let plain = template(256, &[(8, 4), (12, 4), (1, 4), (2, 4)]);
    // Two fields more than those.
    let template = [halves(&[256, 6]), plain[4..].to_vec(), reverse(1), reverse(2)].concat();
    let record = |n| words(&[0x0a00_0000 + n, 0x1400_0001, 1000, 10, 300, 3]);
    let found = steady(&Kind { template, others: Vec::new(), options: 0, record });
    assert_eq!(found, (2 * ALL, ALL * 1300, 1));
}

/// 1000 flows, told again and again: what counts of each record is what came since the last one.
#[test]
fn running_totals() {
    let found = steady(&kind(&[(148, 8), (85, 8), (86, 8)], |n| {
        let (flow, round) = (n % 1000, n / 1000 + 1);
        words(&[0, flow, 0, round * 700, 0, round * 7])
    }));
    assert_eq!(found, (ALL, ALL * 700, 1));
}

/// RFC 7011, 7: a length in one octet, or 255 and two octets more.
#[test]
fn fields_of_variable_length() {
    let found = steady(&kind(&[(96, 65_535), (8, 4), (12, 4), (1, 4), (2, 4)], |n| {
        let text = vec![b'x'; (n % 40) as usize];
        let length = u8::try_from(text.len()).unwrap();
        let head = if n % 3 == 0 { vec![255, 0, length] } else { vec![length] };
        [head, text, words(&[0x0a00_0000 + n, 0x1400_0001, 1000, 10])].concat()
    }));
    assert_eq!(found, (ALL, ALL * 1000, 1));
}

/// Element 315 behind the frame's length, 312 (RFC 7133): the packet is found in the frame.
#[test]
fn pieces_of_frames() {
    let found = steady(&kind(&[(312, 2), (315, 65_535)], |n| {
        let mut frame = vec![2; 12];
        frame.extend(halves(&[0x8100, 100, 0x0800, 0x4500, 1400, 1, 0, 0x4011, 0]));
        frame.extend(words(&[0x0a00_0000 + n, 0x1400_0001]));
        frame.extend(halves(&[1234, 443, 1380, 0]));
        [halves(&[1422]), vec![u8::try_from(frame.len()).unwrap()], frame].concat()
    }));
    assert_eq!(found, (ALL, ALL * 1422, 1));
}

/// The rates of two interfaces in options records with the interface as their scope: 1 in 10, and 1 in 30.
#[test]
fn rates_by_interface() {
    let describe = set(3, &options_template(300, &[(10, 4), (34, 4)]));
    let statements = set(300, &words(&[1, 10, 2, 30]));
    let template = template(256, &[(8, 4), (12, 4), (10, 4), (1, 4), (2, 4)]);
    let record = |n| words(&[0x0a00_0000 + n, 0x1400_0001, 1 + n % 2, 1000, 10]);
    let found = steady(&Kind { template, others: vec![describe, statements], options: 2, record });
    // Half of them of each: 20 times on average.
    assert_eq!(found, (ALL, ALL * 20_000, 2));
}

/// The bucket before that of [`NOW`] begins 300 s earlier; flows from 3 s before that to 1 s behind lie in two.
#[test]
fn flows_over_two_buckets() {
    let kind = kind(&[(8, 4), (12, 4), (1, 4), (2, 4), (152, 8), (153, 8)], |n| {
        let ends = words(&[0x0a00_0000 + n, 0x1400_0001, 1000, 10]);
        [ends, instants(NOW.0 - 303_000, NOW.0 - 299_000)].concat()
    });
    assert_eq!(steady(&kind), (ALL, ALL * 1000, 2));
}
