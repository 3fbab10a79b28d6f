//! Reading usage back.

use proptest::prelude::*;

use super::*;

/// Keys that differ in each field, by numbers from the ends of their ranges.
fn keys() -> Vec<UsageKey> {
    let rate = |n, d, source| SamplingRate::new(n, d, source).unwrap();
    let base = key(0, 16);
    let mut keys = vec![base];
    keys.extend([
        UsageKey { bucket: BucketStart(-300), ..base },
        UsageKey { bucket: BucketStart(253_402_300_500), ..base },
        UsageKey { customer: CustomerId(u32::MAX), ..base },
        UsageKey { customer: CustomerId::UNASSIGNED, ..base },
        UsageKey { link: LinkId(u16::MAX), ..base },
        UsageKey { link: LinkId::NONE, ..base },
        UsageKey { direction: Direction::Out, ..base },
        UsageKey { direction: Direction::None, ..base },
        UsageKey { class: ClassId(u16::MAX), ..base },
        UsageKey { family: Family::V6, ..base },
        UsageKey { family: Family::Other, ..base },
        UsageKey { exporter: ExporterId(u16::MAX), ..base },
        UsageKey { rate: rate(u32::MAX.into(), 1, RateSource::Sampler), ..base },
        UsageKey { rate: rate(u32::MAX.into(), u64::from(u32::MAX) - 1, RateSource::Sampler), ..base },
        UsageKey { rate: rate(1000, 1, RateSource::Header), ..base },
        UsageKey { rate: SamplingRate::NOT_ANNOUNCED, ..base },
    ]);
    keys
}

#[test]
fn rows_come_back_whole_and_in_the_order_of_their_keys() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let sums = |n: u64| UsageSums {
            octets: n,
            packets: n + 1,
            flows: n + 2,
            squares_low: n + 3,
            squares_high: n + 4,
        };
        let rows: Vec<UsageRow> =
            keys().into_iter().zip(100..).map(|(key, n)| UsageRow { key, sums: sums(n) }).collect();
        // Every second row first, the others after it.
        for (at, half) in [0, 1].into_iter().enumerate() {
            let mut part: Vec<UsageRow> = rows.iter().copied().skip(half).step_by(2).collect();
            part.sort_unstable_by_key(|row| row.key);
            ledger.commit_flush(&flush(source, at as u64, at as u64 + 1, &part)).unwrap();
        }
        let mut expected = rows;
        expected.sort_unstable_by_key(|row| row.key);
        assert_eq!(all_usage(&mut ledger), expected);
    });
}

#[test]
fn filters_are_half_open() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let rows: Vec<UsageRow> =
            (0..6).flat_map(|bucket| (16..19).map(move |customer| row(bucket, customer, 100))).collect();
        ledger.commit_flush(&flush(source, 0, 1, &rows)).unwrap();
        let edges: Vec<Option<BucketStart>> =
            (-1..8).map(|b| (b >= 0).then_some(BucketStart(b * 300))).collect();
        for from in edges.iter().copied() {
            for to in edges.iter().copied() {
                for customer in [None, Some(CustomerId(16)), Some(CustomerId(18)), Some(CustomerId(99))] {
                    let filter = UsageFilter { from, to, customer };
                    let expected: Vec<UsageRow> = rows
                        .iter()
                        .copied()
                        .filter(|row| from.is_none_or(|from| row.key.bucket >= from))
                        .filter(|row| to.is_none_or(|to| row.key.bucket < to))
                        .filter(|row| customer.is_none_or(|customer| row.key.customer == customer))
                        .collect();
                    assert_eq!(usage_of(&mut ledger, &filter), expected, "{filter:?}");
                }
            }
        }
    });
}

#[test]
fn totals_are_exact_beyond_64_bits() {
    const MOST: u64 = i64::MAX as u64;
    on_each(|place| {
        let mut ledger = place.open();
        assert_eq!(ledger.usage_totals(None, None).unwrap(), []);
        // A source's totals have 63 bits, so each of these comes from a source of its own.
        for (n, bucket) in (0..5).enumerate() {
            let source = ledger.source(SourceKind::Capture, &n.to_string()).unwrap().id;
            let mut usage = row(bucket, 16, 0);
            usage.sums =
                UsageSums { octets: MOST, packets: MOST - 1, flows: 3, squares_low: 0, squares_high: 0 };
            ledger.commit_flush(&flush(source, 0, 1, &[usage])).unwrap();
        }
        let totals = ledger.usage_totals(None, None).unwrap();
        assert_eq!(totals.len(), 1);
        // 5 * (2^63 - 1) and 5 * (2^63 - 2)
        assert_eq!(totals[0].octets, 46_116_860_184_273_879_035);
        assert_eq!(totals[0].packets, 46_116_860_184_273_879_030);
        assert_eq!(totals[0].flows, 15);
        let part = ledger.usage_totals(Some(BucketStart(300)), Some(BucketStart(900))).unwrap();
        assert_eq!(part[0].octets, 2 * i128::from(MOST), "two buckets, the end left out");
    });
}

#[test]
fn totals_are_apart_by_customer_link_direction_and_rate() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let mut rows: Vec<UsageRow> =
            keys().into_iter().map(|key| UsageRow { key, ..row(0, 0, 100) }).collect();
        rows.sort_unstable_by_key(|row| row.key);
        ledger.commit_flush(&flush(source, 0, 1, &rows)).unwrap();
        let totals = ledger.usage_totals(None, None).unwrap();
        // The plain key, two other buckets, a class, two families and an exporter are one group; two customers, two
        // links, two directions and four rates are each their own.
        assert_eq!(totals.len(), 1 + 2 + 2 + 2 + 4);
        let plain = key(0, 16);
        let group = totals
            .iter()
            .find(|t| {
                (t.customer, t.link, t.direction, t.rate)
                    == (plain.customer, plain.link, plain.direction, plain.rate)
            })
            .unwrap();
        assert_eq!((group.octets, group.packets, group.flows), (700, 7, 7));
        assert_eq!(totals.iter().map(|t| t.octets).sum::<i128>(), 1700);
        assert!(totals.is_sorted_by_key(|t| (t.customer, t.link, t.direction, t.rate)));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the flushes are, the rows are what a map would hold, and the sources' totals are their sum.
    #[test]
    fn flushes_add_up(
        flushes in proptest::collection::vec(
            proptest::collection::btree_map((0_i64..4, 16_u32..19), (0_u64..1 << 40, 0_u64..1 << 62), 0..8),
            1..6,
        )
    ) {
        on_each(|place| {
            let mut ledger = place.open();
            let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
            let mut expected = std::collections::BTreeMap::<UsageKey, UsageSums>::new();
            for (at, part) in flushes.iter().enumerate() {
                let usage: Vec<UsageRow> = part
                    .iter()
                    .map(|(&(bucket, customer), &(octets, squares))| UsageRow {
                        key: key(bucket, customer),
                        sums: UsageSums { octets, packets: octets / 64, flows: 1, squares_low: 0, squares_high: squares },
                    })
                    .collect();
                for row in &usage {
                    let sums = expected.entry(row.key).or_default();
                    assert!(sums.try_add(&row.sums));
                    sums.squares_high = sums.squares_high.min(i64::MAX as u64);
                }
                ledger.commit_flush(&flush(source, at as u64, at as u64 + 1, &usage)).unwrap();
            }
            let expected: Vec<UsageRow> = expected.into_iter().map(|(key, sums)| UsageRow { key, sums }).collect();
            assert_eq!(all_usage(&mut ledger), expected);
            let octets: u64 = expected.iter().map(|row| row.sums.octets).sum();
            assert_eq!(ledger.sources().unwrap()[0].totals.metered_octets, octets);
        });
    }
}

/// A flush that fails takes the numbers of its new series with it; others may get them.
#[test]
fn a_flush_that_failed_leaves_no_series() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let of_link = |link: u16, octets| UsageRow {
            key: UsageKey { link: LinkId(link), ..key(1, 16) },
            ..row(1, 16, octets)
        };
        let too_far = ChunkChanges { written: vec![(u64::MAX, Vec::new())], ..ChunkChanges::default() };
        let remembered = Remembered { state: vec![1], chunks: too_far };
        let (scope, exporter) = (CheckpointScope::Live, "192.0.2.1".to_owned());
        let mut failing = flush(source, 0, 1, &[of_link(7, 100)]);
        failing.checkpoints = vec![Checkpoint { scope, exporter, remembered }];
        assert!(matches!(ledger.commit_flush(&failing), Err(Error::Range(_))));
        place.open().commit_flush(&flush(source, 0, 1, &[of_link(8, 300)])).unwrap();
        ledger.commit_flush(&flush(source, 1, 2, &[of_link(7, 500), of_link(8, 700)])).unwrap();
        assert_eq!(
            all_usage(&mut ledger).iter().map(|row| (row.key.link.0, row.sums.octets)).collect::<Vec<_>>(),
            [(7, 500), (8, 1000)]
        );
    });
}

/// What is connected to after a loss may be another ledger (a server that took over without the last transactions), in
/// which a number is another series'.
#[test]
fn series_are_those_of_the_ledger_that_is_connected_to() {
    let of_link = |link: u16, octets| UsageRow {
        key: UsageKey { link: LinkId(link), ..key(1, 16) },
        ..row(1, 16, octets)
    };
    let (before, after) = (Place::sqlite(), Place::sqlite());
    let mut ledger = before.open();
    let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
    ledger.commit_flush(&flush(source, 0, 1, &[of_link(7, 100)])).unwrap();
    let mut other = after.open();
    assert_eq!(other.source(SourceKind::Journal, "0").unwrap().id, source);
    other.commit_flush(&flush(source, 0, 1, &[of_link(8, 300)])).unwrap();
    drop(other);
    (ledger.url, ledger.lost) = (after.url.clone(), true);
    ledger.commit_flush(&flush(source, 1, 2, &[of_link(7, 500)])).unwrap();
    assert_eq!(
        all_usage(&mut ledger).iter().map(|row| (row.key.link.0, row.sums.octets)).collect::<Vec<_>>(),
        [(7, 500), (8, 300)]
    );
}

#[test]
fn a_row_whose_series_is_missing_is_an_error() {
    on_each(|place| {
        let mut ledger = place.open();
        sql(&mut ledger, "INSERT INTO usage_row VALUES (300, 16, 77, 1, 1, 1, 0, 0)").unwrap();
        assert!(ledger.for_each_usage(&UsageFilter::default(), &mut |row| panic!("{row:?}")).is_err());
        assert!(ledger.usage_totals(None, None).is_err());
    });
}
