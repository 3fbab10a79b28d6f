#![allow(clippy::cast_possible_truncation, reason = "parts of a test number fit where the number fits")]

use proptest::prelude::*;

use super::*;

fn parts(span: &Span, whole: u64) -> Vec<u64> {
    let mut parts = [0; PARTS_MAX];
    span.split(whole, &mut parts);
    parts[..span.parts].to_vec()
}

/// Splits `whole` over a flow from `start` to `end` milliseconds; expects the first bucket and the parts.
#[track_caller]
fn check(start: i64, end: i64, whole: u64, bucket: i64, expected: &[u64]) {
    let span = Span::of(BucketRule::Spread, UnixMillis(start), UnixMillis(end));
    assert_eq!((span.bucket(0), parts(&span, whole)), (BucketStart(bucket), expected.to_vec()));
}

#[test]
fn one_bucket_takes_all() {
    check(0, 299_999, 7, 0, &[7]);
    check(0, 300_000, 7, 0, &[7]);
    check(300_000, 300_000, 7, 300, &[7]);
    check(299_999, 300_000, 7, 0, &[7]);
    check(-1, 0, 7, -300, &[7]);
    check(500_000, 400_000, 7, 300, &[7]);
}

/// 210 s, of which 90 in the first bucket: 3/7 and 4/7.
/// 10 000 000 001 * 3/7 = 4 285 714 286 + 1/7; * 4/7 = 5 714 285 714 + 6/7: the second gets the unit.
/// 7 000 003 * 3/7 = 3 000 001 + 2/7; * 4/7 = 4 000 001 + 5/7.
#[test]
fn two_buckets_by_hand() {
    check(210_000, 420_000, 10_000_000_001, 0, &[4_285_714_286, 5_714_285_715]);
    check(210_000, 420_000, 7_000_003, 0, &[3_000_001, 4_000_002]);
    // Halves: the tie goes to the earliest.
    check(200_000, 400_000, 5, 0, &[3, 2]);
    check(200_000, 400_000, 1, 0, &[1, 0]);
    check(299_999, 300_001, u64::MAX, 0, &[1 << 63, (1 << 63) - 1]);
    check(299_999, 310_000, 1, 0, &[0, 1]);
}

/// 100 + 300 + 200 s: 1/6, 1/2, 1/3. Of 10: 1 4/6, 5, 3 2/6: the first has the greatest remainder.
/// Of 8: 1 2/6, 4, 2 4/6. Of 3: 0 3/6, 1 3/6, 1: a tie, to the first.
#[test]
fn three_buckets_by_hand() {
    check(200_000, 800_000, 10, 0, &[2, 5, 3]);
    check(200_000, 800_000, 8, 0, &[1, 4, 3]);
    check(200_000, 800_000, 3, 0, &[1, 1, 1]);
}

/// An hour from the middle of a bucket touches thirteen: 150 s, eleven of 300 s, 150 s; 24 halves.
/// Of 26: 1 1/12 at the ends, 2 2/12 between (22 + 2 = 24); the two units left go to the first ones between.
#[test]
fn an_hour() {
    check(150_000, 3_750_000, 26, 0, &[1, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
    check(0, 3_600_000, 12, 0, &[1; 12]);
}

#[test]
fn longer_than_any_flow_is_spread_over_the_last_hour() {
    check(i64::MIN, 3_600_000, 12, 0, &[1; 12]);
    let end = i64::MAX.div_euclid(BUCKET_MS) * BUCKET_MS;
    check(i64::MIN, end, 12, end / 1000 - 3600, &[1; 12]);
}

#[test]
fn the_end_rule_is_literal() {
    for (end, bucket) in [(299_999, 0), (300_000, 300), (0, 0), (-1, -300)] {
        let span = Span::of(BucketRule::End, UnixMillis(end - 200_000), UnixMillis(end));
        assert_eq!((span.bucket(0), parts(&span, 9)), (BucketStart(bucket), vec![9]));
    }
}

/// Largest remainder by its definition: floors, then one unit each by remainder, the earliest first among equals.
fn by_definition(start: i64, end: i64, whole: u64) -> Vec<u64> {
    let (first, last) = (start.div_euclid(300_000), (end - 1).div_euclid(300_000));
    let (whole, total) = (u128::from(whole), (end - start) as u128);
    let time = |n: i64| (end.min((n + 1) * 300_000) - start.max(n * 300_000)) as u128;
    let mut shares: Vec<(u128, u128)> =
        (first..=last).map(|n| (whole * time(n) / total, whole * time(n) % total)).collect();
    let left = whole - shares.iter().map(|s| s.0).sum::<u128>();
    for _ in 0..left {
        let greatest = shares.iter().map(|s| s.1).max().expect("a bucket");
        let winner = shares.iter_mut().find(|s| s.1 == greatest).expect("the greatest is there");
        *winner = (winner.0 + 1, 0);
    }
    shares.into_iter().map(|s| s.0 as u64).collect()
}

proptest! {
    #[test]
    fn conserves_and_is_proportional(
        start in -4_000_000..4_000_000_i64,
        duration in 1..=SPAN_MAX_MS,
        whole in prop_oneof![0..40_u64, any::<u64>()],
    ) {
        let end = start + duration;
        let span = Span::of(BucketRule::Spread, UnixMillis(start), UnixMillis(end));
        let parts = parts(&span, whole);
        prop_assert_eq!(parts.iter().map(|p| u128::from(*p)).sum::<u128>(), u128::from(whole));
        for (n, part) in (0..).zip(&parts) {
            let bucket = span.bucket(n as usize);
            let time = end.min(bucket.end().0) - start.max(bucket.start().0);
            prop_assert!(time > 0, "every bucket has time");
            // |part - whole * time / duration| < 1
            let difference = (u128::from(*part) * duration as u128).abs_diff(u128::from(whole) * time as u128);
            prop_assert!(difference < duration as u128);
        }
        prop_assert_eq!(parts, by_definition(start, end, whole));
    }
}
