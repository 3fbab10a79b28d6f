use super::*;
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, LinkId};
use crate::units::RateSource;
use crate::usage::packed::PackedKey;
use crate::usage::{BucketStart, UsageSums};

fn rate(numerator: u32) -> SamplingRate {
    SamplingRate::new(numerator.into(), 1, RateSource::Record).expect("a rate")
}

/// A row of the second bucket after the epoch.
fn row(exporter: u16, rate: SamplingRate, octets: u64) -> UsageRow {
    let key = UsageKey {
        bucket: BucketStart(300),
        customer: CustomerId(u32::MAX - 1),
        link: LinkId(u16::MAX),
        direction: Direction::Out,
        class: ClassId(0x8001),
        family: Family::V6,
        exporter: ExporterId(exporter),
        rate,
    };
    UsageRow { key, sums: UsageSums { octets, packets: 2, flows: 1, squares_low: 3, squares_high: 4 } }
}

/// The same rows as a meter hands them over, which must all be of that bucket.
fn packed(rows: &[UsageRow]) -> UsageRows {
    let rates: Arc<[SamplingRate]> = rows.iter().map(|row| row.key.rate).collect();
    let rows_packed = (0..).zip(rows).map(|(n, UsageRow { key, sums })| {
        let key =
            PackedKey::new(key.customer, key.link, key.direction, key.class, key.family, key.exporter, n);
        PackedRow::addition(key, sums).expect("it fits")
    });
    let rows_packed = rows_packed.collect();
    let squares = rows.iter().map(|row| [row.sums.squares_low, row.sums.squares_high]).collect();
    let mut all = UsageRows::default();
    all.push_packed(Packed { bucket: 1, rates, rows: rows_packed, squares });
    all
}

#[test]
fn packed_rows_are_the_rows() {
    let rows = [row(0, rate(7), 1), row(3, rate(5), (1 << 60) - 1), row(u16::MAX, rate(u32::MAX), 0)];
    let all = packed(&rows);
    assert_eq!((all.len(), all.is_empty(), all.is_sorted()), (3, false, true));
    assert!(all.iter().eq(rows));
    assert_eq!(all, UsageRows::from(rows.to_vec()));
    assert_eq!(all.into_vec(), rows);
}

/// Rates stand in keys by numbers that say nothing of their order; the order is theirs.
#[test]
fn rates_are_in_order_by_what_they_are() {
    assert!(packed(&[row(1, rate(5), 1), row(1, rate(7), 1)]).is_sorted());
    assert!(!packed(&[row(1, rate(7), 1), row(1, rate(5), 1)]).is_sorted());
    assert!(!packed(&[row(1, rate(7), 1), row(1, rate(7), 1)]).is_sorted(), "twice the same");
    assert!(packed(&[row(1, rate(7), 1), row(2, rate(5), 1)]).is_sorted());
}

#[test]
fn other_numbers_of_exporters_can_change_the_order() {
    let rows = [row(1, rate(5), 1), row(2, rate(7), 10)];
    for mut all in [packed(&rows), UsageRows::from(rows.to_vec())] {
        all.renumber_exporters(|id| ExporterId(id.0 + 0xff00));
        assert!(all.is_sorted());
        assert!(all.iter().eq([row(0xff01, rate(5), 1), row(0xff02, rate(7), 10)]));
        // Both become one, which leaves them in order by their rates, and then the other way round.
        let mut one = all.clone();
        one.renumber_exporters(|_| ExporterId(0));
        assert!(one.is_sorted());
        all.renumber_exporters(|id| ExporterId(if id.0 == 0xff01 { 9 } else { 8 }));
        assert!(!all.is_sorted());
        assert!(all.iter().eq([row(9, rate(5), 1), row(8, rate(7), 10)]));
    }
}

/// Runs of rows are in order only where each one comes behind the one before it.
#[test]
fn runs_stand_in_order() {
    let (first, second) = (row(1, rate(5), 1), row(2, rate(5), 1));
    for (rows, is_sorted) in [([first, second], true), ([second, first], false), ([first, first], false)] {
        let mut all = packed(&rows[..1]);
        all.push_whole(Vec::new());
        all.push_whole(rows[1..].to_vec());
        assert_eq!((all.len(), all.is_sorted()), (2, is_sorted));
        assert_eq!(all.into_vec(), rows);
    }
}
