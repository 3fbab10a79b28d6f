//! The meter against the plainest one: an ordered map of rows, and parts of a flow by the definition of their shares.
//! Volumes, times and keys lie at the ends of what the types hold and of what the table packs them into.

use super::*;

/// A row without an end: octets, packets, flows, and the sums of squares, which do have one.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    octets: u128,
    packets: u128,
    flows: u64,
    squares: [u64; 2],
}

impl Row {
    /// True where the table must have all of it. What is beyond may be refused in part.
    fn is_possible(&self) -> bool {
        self.octets < 1 << 62 && self.packets < 1 << 62
    }

    /// True where the table may have come to `found`.
    fn may_be(&self, found: &UsageSums) -> bool {
        let (octets, packets) = (u128::from(found.octets), u128::from(found.packets));
        if self.is_possible() {
            let squares = [found.squares_low, found.squares_high];
            return (octets, packets, found.flows, squares)
                == (self.octets, self.packets, self.flows, self.squares);
        }
        let fits = octets < 1 << 63 && packets < 1 << 63;
        fits && octets <= self.octets && packets <= self.packets && found.flows <= self.flows
    }
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<UsageKey, Row>,
}

impl Model {
    fn add(&mut self, config: Config, record: &FlowRecord, classified: &Classified) {
        if !classified.counts {
            return;
        }
        let (octets, packets) = (record.octets.as_u64(), record.packets.as_u64());
        let sizes = PacketSizes { min: config.packet_octets_min, max: config.packet_octets_max };
        let (low, high) = if record.rate.is_sampled() { sizes.bounds(octets, packets) } else { (0, 0) };
        let times = spread(config.bucket, record.start.0, record.end.0);
        let [octets, packets, low, high] = [octets, packets, low, high].map(|whole| shares(whole, &times));
        for (n, &(bucket, _)) in times.iter().enumerate() {
            let flows = u64::from(n + 1 == times.len());
            let sums = UsageSums {
                octets: octets[n],
                packets: packets[n],
                flows,
                squares_low: low[n],
                squares_high: high[n],
            };
            if sums == UsageSums::default() {
                continue;
            }
            let bucket = bucket.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            let row = self.rows.entry(key_of(record, classified, BucketStart(bucket * 300))).or_default();
            row.octets += u128::from(sums.octets);
            row.packets += u128::from(sums.packets);
            row.flows += sums.flows;
            row.squares[0] = row.squares[0].saturating_add(sums.squares_low);
            row.squares[1] = row.squares[1].saturating_add(sums.squares_high);
        }
    }
}

/// The buckets that a flow has time in, by number, with that time.
fn spread(rule: BucketRule, start: i64, end: i64) -> Vec<(i64, i64)> {
    let start = start.max(end.saturating_sub(3_600_000));
    if rule == BucketRule::End || start >= end {
        return vec![(end.div_euclid(300_000), 1)];
    }
    let mut times = Vec::new();
    let mut at = start;
    while at < end {
        let bucket = at.div_euclid(300_000);
        let next = (i128::from(bucket + 1) * 300_000).min(i128::from(end)) as i64;
        times.push((bucket, next - at));
        at = next;
    }
    times
}

/// Parts of `whole` in proportion to times: rounded down, then one more for the greatest remainders, the earliest first.
fn shares(whole: u64, times: &[(i64, i64)]) -> Vec<u64> {
    let total: u128 = times.iter().map(|time| time.1 as u128).sum();
    let exact = |n: usize| u128::from(whole) * times[n].1 as u128;
    let mut parts: Vec<u64> = (0..times.len()).map(|n| (exact(n) / total) as u64).collect();
    let mut missing = whole - parts.iter().sum::<u64>();
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|&a, &b| (exact(b) % total).cmp(&(exact(a) % total)).then(a.cmp(&b)));
    for n in order {
        if missing > 0 {
            parts[n] += 1;
            missing -= 1;
        }
    }
    assert_eq!(missing, 0);
    parts
}

/// A volume: usual, or about where a field ends.
fn volume() -> impl Strategy<Value = u64> {
    let edge = (prop::sample::select(vec![8, 16, 23, 24, 32, 39, 40, 47, 48, 59, 60, 61, 62, 63]), 0..3_u64)
        .prop_map(|(bits, n)| (1_u64 << bits).wrapping_add(n).wrapping_sub(1));
    prop_oneof![6 => 0..2000_u64, 3 => edge, 1 => Just(u64::MAX)]
}

/// An instant: near the edges of buckets, or at the ends of time.
fn instant() -> impl Strategy<Value = i64> {
    prop_oneof![
        20 => (-14..14_i64, -2..3_i64).prop_map(|(bucket, ms)| bucket * 300_000 + ms),
        10 => -4_000_000..4_000_000_i64,
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 3_600_001]),
    ]
}

fn small<T: Clone + core::fmt::Debug + 'static>(of: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(of.to_vec())
}

fn record() -> impl Strategy<Value = (FlowRecord, Classified)> {
    let rates = [(1, 1), (1000, 1), (4_294_967_295, 4_294_967_294), (3, 2), (512, 1)];
    (
        (volume(), volume(), instant(), instant()),
        (small(&rates), small(&[RateSource::Sampler, RateSource::Header]), small(&[0, 1, u16::MAX])),
        (small(&[Family::Other, Family::V4, Family::V6]), small(&[0_u32, 1, u32::MAX])),
        (small(&[0, 1, u16::MAX]), small(&[0, 1, 2, 3, 4, u16::MAX])),
        (small(&[Direction::None, Direction::In, Direction::Out]), prop::bool::weighted(0.9)),
    )
        .prop_map(
            |((octets, packets, start, end), (of, source, exporter), (family, customer), key, last)| {
                let ((link, class), (direction, counts)) = (key, last);
                let record = FlowRecord {
                    family,
                    exporter: ExporterId(exporter),
                    rate: SamplingRate::new(of.0, of.1, source).expect("a rate"),
                    ..flow(start, end, octets, packets)
                };
                let (customer, link, class) = (CustomerId(customer), LinkId(link), ClassId(class));
                (record, Classified { customer, link, class, direction, counts })
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_those_of_the_plainest_meter(
        batches in prop::collection::vec(prop::collection::vec(record(), 0..400), 1..6),
        end_rule: bool,
    ) {
        let bucket = if end_rule { BucketRule::End } else { BucketRule::Spread };
        let config = Config { bucket, ..Config::default() };
        let (mut meter, mut model, mut refused) = (Meter::new(config), Model::default(), 0);
        for (n, batch) in batches.iter().enumerate() {
            let (records, classified): (Vec<_>, Vec<_>) = batch.iter().copied().unzip();
            meter.add(&records, &classified);
            for (record, classified) in batch {
                model.add(config, record, classified);
            }
            if n % 2 == 1 || n + 1 == batches.len() {
                let (octets, packets) = (meter.pending_octets(), meter.pending_packets());
                let records = meter.pending_records();
                let rows: Vec<_> = drained(&mut meter).iter().map(|row| (row.key, row.sums)).collect();
                let bounded = |sum: u128| u64::try_from(sum.min(i64::MAX as u128)).expect("63 bits");
                let sum = |of: fn(&UsageSums) -> u64| rows.iter().map(|row| u128::from(of(&row.1))).sum::<u128>();
                prop_assert_eq!(octets, bounded(sum(|sums| sums.octets)));
                prop_assert_eq!(packets, bounded(sum(|sums| sums.packets)));
                prop_assert_eq!(u128::from(records), sum(|sums| sums.flows));
                let mut expected = core::mem::take(&mut model.rows);
                let flows: u64 = expected.values().map(|row| row.flows).sum();
                let all_possible = expected.values().all(Row::is_possible);
                for (key, found) in rows {
                    let row = expected.remove(&key);
                    prop_assert!(row.is_some_and(|row| row.may_be(&found)), "{:?}: {:?}, not {:?}", key, found, row);
                }
                prop_assert!(expected.values().all(|row| !row.is_possible()), "missing: {:?}", expected);
                prop_assert_eq!(meter.refused_records() - refused, flows - records);
                prop_assert!(flows == records || !all_possible);
                refused = meter.refused_records();
            }
        }
    }
}
