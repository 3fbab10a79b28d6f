#![allow(clippy::cast_possible_truncation, reason = "the numbers of the tests are small")]

mod model;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::units::{Octets, Packets, RateSource, SamplingRate, UnixMillis};
use crate::usage::{BucketStart, UsageKey, UsageRow, Variance};

const CUSTOMER: Classified = Classified {
    customer: CustomerId(20),
    link: LinkId(3),
    class: ClassId(1),
    direction: Direction::In,
    counts: true,
};

fn rate(n: u64, d: u64) -> SamplingRate {
    SamplingRate::new(n, d, RateSource::Sampler).expect("a rate")
}

fn flow(start: i64, end: i64, octets: u64, packets: u64) -> FlowRecord {
    FlowRecord {
        start: UnixMillis(start),
        end: UnixMillis(end),
        octets: Octets::new(octets),
        packets: Packets::new(packets),
        family: Family::V4,
        ..FlowRecord::default()
    }
}

fn drained(meter: &mut Meter) -> Vec<UsageRow> {
    let rows = meter.take().sorted();
    assert!(rows.is_sorted() && meter.is_empty());
    assert_eq!((meter.pending_octets(), meter.pending_packets(), meter.pending_records()), (0, 0, 0));
    rows.into_vec()
}

/// Meters `records`, all of one customer; expects bucket, octets, packets and flows of each row.
#[track_caller]
fn check(config: Config, records: &[FlowRecord], expected: &[(i64, u64, u64, u64)]) {
    let mut meter = Meter::new(config);
    meter.add(records, &vec![CUSTOMER; records.len()]);
    let rows: Vec<_> = drained(&mut meter)
        .iter()
        .map(|row| (row.key.bucket.0, row.sums.octets, row.sums.packets, row.sums.flows))
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn a_flow_over_a_boundary() {
    let spread = Config::default();
    let long = flow(210_000, 420_000, 10_000_000_001, 7_000_003);
    check(spread, &[long], &[(0, 4_285_714_286, 3_000_001, 0), (300, 5_714_285_715, 4_000_002, 1)]);
    let end = Config { bucket: BucketRule::End, ..spread };
    check(end, &[long], &[(300, 10_000_000_001, 7_000_003, 1)]);
}

/// Two packets of 1510 octets in an hour that ends a millisecond into a bucket. Of the lower sum of squares, 1510^2 / 2,
/// 0.32 belong there, and no remainder but that of the first bucket is greater; of the upper one, 1520 * 1510 - 30000 * 2,
/// 0.62 do, and the remainders of eleven whole buckets are greater.
#[test]
fn a_part_with_one_sum_of_squares_keeps_it() {
    let sampled = FlowRecord { rate: rate(1000, 1), ..flow(-300_000, 3_300_001, 1510, 2) };
    let mut meter = Meter::new(Config::default());
    meter.add(&[sampled], &[CUSTOMER]);
    let rows = drained(&mut meter);
    let squares: Vec<_> = rows.iter().map(|row| (row.sums.squares_low, row.sums.squares_high)).collect();
    assert_eq!((squares.len(), squares[12]), (13, (1, 0)));
    let sums = squares.iter().fold((0, 0), |sums, part| (sums.0 + part.0, sums.1 + part.1));
    assert_eq!(sums, (1_140_050, 2_235_200));
}

#[test]
fn the_end_is_exclusive_where_there_is_time() {
    let spread = Config::default();
    check(spread, &[flow(0, 300_000, 500, 5)], &[(0, 500, 5, 1)]);
    check(spread, &[flow(300_000, 300_000, 500, 5)], &[(300, 500, 5, 1)]);
    let end = Config { bucket: BucketRule::End, ..spread };
    check(end, &[flow(0, 300_000, 500, 5)], &[(300, 500, 5, 1)]);
}

/// One octet in one packet over three buckets: 0.3, 0.4, 0.3 of it, so the middle has it, and the last has the flow.
#[test]
fn parts_without_anything_make_no_row() {
    check(Config::default(), &[flow(75_000, 825_000, 1, 1)], &[(300, 1, 1, 0), (600, 0, 0, 1)]);
    check(Config::default(), &[flow(0, 0, 0, 0)], &[(0, 0, 0, 1)]);
}

#[test]
fn rows_add_up_and_differ_by_every_part_of_the_key() {
    let base = flow(10, 20, 100, 1);
    let records = [
        base,
        base,
        FlowRecord { family: Family::V6, ..base },
        FlowRecord { exporter: ExporterId(u16::MAX), ..base },
        FlowRecord { rate: rate(4_294_967_295, 4_294_967_294), ..base },
        FlowRecord { rate: rate(1000, 1), ..base },
        FlowRecord { rate: rate(1000, 1).with_source(RateSource::Header), ..base },
        FlowRecord { start: UnixMillis(-5), end: UnixMillis(-4), ..base },
        base,
        base,
        base,
        base,
        base,
    ];
    let mut classified = vec![CUSTOMER; records.len()];
    classified[8].customer = CustomerId(u32::MAX);
    classified[9].link = LinkId(u16::MAX);
    classified[10].class = ClassId(u16::MAX);
    classified[11].direction = Direction::Out;
    classified[12].counts = false;
    let mut meter = Meter::new(Config::default());
    meter.add(&records, &classified);
    assert_eq!((meter.len(), meter.pending_octets(), meter.pending_packets()), (11, 1200, 12));
    assert_eq!(meter.pending_records(), 12);
    let rows = drained(&mut meter);
    assert!(rows.is_sorted_by(|a, b| a.key < b.key));
    let flows = |key: UsageKey| rows.iter().find(|row| row.key == key).map(|row| row.sums.flows);
    for (n, (record, classified)) in records.iter().zip(&classified).enumerate() {
        let key = key_of(record, classified, BucketStart(if n == 7 { -300 } else { 0 }));
        assert_eq!(flows(key), Some(if n < 2 || n == 12 { 2 } else { 1 }), "{key:?}");
    }
}

fn key_of(record: &FlowRecord, classified: &Classified, bucket: BucketStart) -> UsageKey {
    UsageKey {
        bucket,
        customer: classified.customer,
        link: classified.link,
        direction: classified.direction,
        class: classified.class,
        family: record.family,
        exporter: record.exporter,
        rate: record.rate,
    }
}

/// N = 1000, records (1, 1500) (1, 40) (3, 4500) (2, 1540), sizes 40 to 1500; the second crosses a boundary.
#[test]
fn variance_of_the_worked_example() {
    let config = Config { packet_octets_min: 40, ..Config::default() };
    let mut meter = Meter::new(config);
    let records = [(1, 1500), (1, 40), (3, 4500), (2, 1540)]
        .map(|(packets, octets)| FlowRecord { rate: rate(1000, 1), ..flow(0, 400_000, octets, packets) });
    meter.add(&records, &[CUSTOMER; 4]);
    let rows = drained(&mut meter);
    assert_eq!(rows.len(), 2);
    let (mut low, mut high) = (Variance::default(), Variance::default());
    for row in rows {
        low.add(row.sums.squares_low, row.key.rate);
        high.add(row.sums.squares_high, row.key.rate);
    }
    assert_eq!(low.octets_squared(), 10_177_212_600_000);
    assert_eq!(high.octets_squared(), 11_241_946_800_000);
    assert_eq!(high.standard_error(), 3_352_901);
}

#[test]
fn unsampled_records_have_no_squares() {
    let mut meter = Meter::new(Config::default());
    meter.add(&[flow(0, 400_000, 4500, 3)], &[CUSTOMER]);
    assert!(drained(&mut meter).iter().all(|row| (row.sums.squares_low, row.sums.squares_high) == (0, 0)));
}

/// A table that grows many times, is drained and filled again, against an ordered map.
#[test]
fn many_rows() {
    let mut meter = Meter::new(Config { rows_max: 50_000, ..Config::default() });
    for round in 0..2 {
        let mut expected: BTreeMap<UsageKey, u64> = BTreeMap::new();
        let mut n = 0_u64;
        while !meter.is_full() {
            let batch: Vec<FlowRecord> = (n..n + 700)
                .map(|n| FlowRecord {
                    exporter: ExporterId((n % 7) as u16),
                    ..flow(0, (n % 5) as i64 * 300_000 + 1, n % 1500, 1)
                })
                .map(|record| FlowRecord { start: record.end, ..record })
                .collect();
            let classified: Vec<Classified> = (n..n + 700)
                .map(|n| Classified { customer: CustomerId((n * 7919 % 60_000) as u32 / 3), ..CUSTOMER })
                .collect();
            for (record, classified) in batch.iter().zip(&classified) {
                let key = key_of(record, classified, BucketStart::of(record.end));
                *expected.entry(key).or_default() += record.octets.as_u64();
            }
            meter.add(&batch, &classified);
            n += 700;
        }
        assert!(meter.len() < 50_700, "no more than one batch beyond the bound");
        let rows: Vec<(UsageKey, u64)> =
            drained(&mut meter).iter().map(|row| (row.key, row.sums.octets)).collect();
        assert_eq!(rows, expected.into_iter().collect::<Vec<_>>(), "round {round}");
    }
}

#[test]
fn what_is_taken_out_is_not_there_any_more() {
    let mut meter = Meter::new(Config::default());
    for octets in [5, 7] {
        meter.add(&[flow(0, 1, octets, 1)], &[CUSTOMER]);
        let rows = meter.take();
        assert_eq!((rows.len(), meter.len(), meter.pending_octets()), (1, 0, 0));
        assert_eq!(rows.sorted().into_vec()[0].sums.octets, octets);
    }
}

proptest! {
    /// Octets, packets, flows and both bounds of whole records reappear in the rows, to the unit.
    #[test]
    fn nothing_is_lost_in_buckets(
        flows in prop::collection::vec(
            (0..10_000_000_i64, -1..4_000_000_i64, 0..1_u64 << 40, 0..1_u64 << 20, any::<bool>()), 1..300),
        end_rule: bool,
    ) {
        let bucket = if end_rule { BucketRule::End } else { BucketRule::Spread };
        let mut meter = Meter::new(Config { bucket, ..Config::default() });
        let records: Vec<FlowRecord> = flows
            .iter()
            .map(|&(start, duration, octets, packets, sampled)| FlowRecord {
                rate: if sampled { rate(512, 1) } else { SamplingRate::default() },
                ..flow(start, start + duration, octets, packets)
            })
            .collect();
        meter.add(&records, &vec![CUSTOMER; records.len()]);
        let (octets, packets) = (meter.pending_octets(), meter.pending_packets());
        let mut sum = UsageSums::default();
        for row in drained(&mut meter) {
            assert!(sum.try_add(&row.sums));
        }
        let mut expected = UsageSums::default();
        for (record, &(.., octets, packets, sampled)) in records.iter().zip(&flows) {
            let sizes = PacketSizes { min: 20, max: 1500 };
            let (squares_low, squares_high) = if sampled { sizes.bounds(octets, packets) } else { (0, 0) };
            assert!(expected.try_add(&UsageSums { octets, packets, flows: 1, squares_low, squares_high }));
            prop_assert_eq!(record.octets.as_u64(), octets);
        }
        prop_assert_eq!((octets, packets), (expected.octets, expected.packets));
        // Sums of squares stop at the end of their range, in whichever order they are added.
        prop_assert_eq!(sum.octets, expected.octets);
        prop_assert_eq!(sum.packets, expected.packets);
        prop_assert_eq!(sum.flows, expected.flows);
        prop_assert_eq!(sum.squares_low, expected.squares_low);
        prop_assert_eq!(sum.squares_high, expected.squares_high);
    }
}

/// 2^14 records of 2^48 octets are 2^62: the last of them does not go in, and what went in is what comes out.
#[test]
fn what_no_exporter_can_have_seen_is_refused_and_the_rest_stays_right() {
    let record = flow(0, 0, (1 << 48) - 1, 1);
    let records = vec![record; (1 << 14) + 100];
    let mut meter = Meter::new(Config::default());
    meter.add(&records, &vec![CUSTOMER; records.len()]);
    assert!(meter.is_full());
    let refused = meter.refused_records();
    assert!(refused > 0 && refused < 200, "{refused}");
    let (octets, taken) = (meter.pending_octets(), meter.pending_records());
    assert_eq!(taken + refused, records.len() as u64);
    let rows = drained(&mut meter);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].sums.octets, rows[0].sums.flows), (octets, taken));
    assert_eq!(octets, taken * ((1 << 48) - 1));
    assert_eq!(meter.refused_records(), refused, "a drain does not forget them");
}

/// Records whose packets or octets are too many for a row's half line, between others, with squares and without: the row
/// that comes out is the sum of all.
#[test]
fn wide_rows_drain_with_the_others() {
    let sizes = PacketSizes { min: 20, max: 1500 };
    let volumes = [(100, 1), ((1 << 47) + 7, (1 << 40) + 3), (5, 1), (1500, 1 << 39), (9, 2)];
    for sampled in [false, true] {
        let mut meter = Meter::new(Config::default());
        let rate = if sampled { rate(64, 1) } else { SamplingRate::default() };
        let mut expected = UsageSums::default();
        for _ in 0..3 {
            for (octets, packets) in volumes {
                meter.add(&[FlowRecord { rate, ..flow(0, 0, octets, packets) }], &[CUSTOMER]);
                let (squares_low, squares_high) =
                    if sampled { sizes.bounds(octets, packets) } else { (0, 0) };
                expected.add(&UsageSums { octets, packets, flows: 1, squares_low, squares_high });
            }
        }
        // Enough octets that the row itself overflows, too.
        let much = flow(0, 0, (1 << 48) - 1, 1);
        for _ in 0..5000 {
            meter.add(&[FlowRecord { rate, ..much }], &[CUSTOMER]);
            let (octets, packets) = (much.octets.as_u64(), 1);
            let (squares_low, squares_high) = if sampled { sizes.bounds(octets, packets) } else { (0, 0) };
            expected.add(&UsageSums { octets, packets, flows: 1, squares_low, squares_high });
        }
        assert_eq!(meter.pending_octets(), expected.octets);
        let rows = drained(&mut meter);
        assert_eq!(rows.iter().map(|row| row.sums).collect::<Vec<_>>(), [expected], "sampled: {sampled}");
        assert_eq!(meter.refused_records(), 0);
    }
}

/// Rows of the same key in many buckets, met in any order; rates that are met in another order than they sort.
#[test]
fn buckets_and_rates_come_out_in_order() {
    let mut meter = Meter::new(Config::default());
    let mut expected = BTreeMap::new();
    for n in 0..2000_i64 {
        let end = n * 7_919 % 101 * 300_000 - 15_000_000;
        let record = FlowRecord { rate: rate((n * 31 % 97 + 1).unsigned_abs(), 1), ..flow(end, end, 1, 1) };
        meter.add(&[record], &[CUSTOMER]);
        *expected.entry(key_of(&record, &CUSTOMER, BucketStart::of(record.end))).or_insert(0) += 1;
    }
    let rows: Vec<(UsageKey, u64)> =
        drained(&mut meter).iter().map(|row| (row.key, row.sums.flows)).collect();
    assert_eq!(rows, expected.into_iter().collect::<Vec<_>>());
}

/// A few rows in each of very many buckets: the table is full before its buckets take more memory than rows would.
#[test]
fn scattered_rows_fill_the_table() {
    let mut meter = Meter::new(Config::default());
    let mut n = 0;
    while !meter.is_full() {
        let at = n * 300_000;
        meter.add(&[flow(at, at, 1, 1)], &[CUSTOMER]);
        n += 1;
    }
    assert_eq!((n, meter.len()), (4096, 4096));
}
