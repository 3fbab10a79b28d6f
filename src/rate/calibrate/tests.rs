//! Shares worked out by hand, and what holds of all of them.

use num_bigint::BigUint;
use proptest::prelude::*;

use super::*;

/// The row at a place.
fn at(place: u32) -> Order {
    Order { customer: place, ..Order::default() }
}

/// The total of rows that come in this order.
fn total(interface: u64, weights: &[u64]) -> Option<Total> {
    let rows: Vec<(Order, u64)> = (0..).map(at).zip(weights.iter().copied()).collect();
    Total::shared_out(interface.into(), &rows, (0, false))
}

fn shares(interface: u64, weights: &[u64]) -> Vec<u64> {
    let total = total(interface, weights).unwrap();
    (0..).zip(weights).map(|(place, weight)| total.share(*weight, || at(place))).collect()
}

#[test]
fn shares_by_hand() {
    // 310 / 3 = 103 1/3, twice that is 206 2/3: the octet that is left goes to the greater remainder.
    assert_eq!(shares(310, &[100, 200]), [103, 207]);
    // 101 / 2 = 50 1/2 each: to the first in order.
    assert_eq!(shares(101, &[7, 7]), [51, 50]);
    // 10 / 4 = 2 1/2 each, two octets are left.
    assert_eq!(shares(10, &[3, 3, 3, 3]), [3, 3, 2, 2]);
    // Less than what the flows say; nothing for nothing.
    assert_eq!(shares(100, &[0, 150, 50]), [0, 75, 25]);
    assert_eq!(shares(0, &[10, 20]), [0, 0]);
}

#[test]
fn nothing_seen_is_nothing_shared() {
    assert_eq!(total(1000, &[]), None);
    assert_eq!(total(1000, &[0, 0]), None);
    assert_eq!(total(u64::MAX, &[1]), None, "no link carries that");
}

#[test]
fn how_far_apart_they_are_is_told_in_parts_of_the_interface() {
    let is_within = |flows: u64, tenth: u32| total(1000, &[flows]).unwrap().is_within(tenth);
    assert!(is_within(900, 100_000) && is_within(1100, 100_000) && is_within(1000, 1));
    assert!(!is_within(899, 100_000) && !is_within(1101, 100_000));
    assert!(!is_within(500, 499_999) && is_within(500, 500_000), "never more than doubled");
    assert!(!total(0, &[1]).unwrap().is_within(500_000));
}

/// 1 of 1000; one packet of 1500 octets was seen of this customer, two of others: (2/3)^2 V + (1/3)^2 2 V = 2/3 V, with
/// V = 1000 * 999 * 1500^2 = 2 247 750 000 000.
#[test]
fn the_variance_by_hand() {
    const V: u128 = 2_247_750_000_000;
    const FLOWS: (u128, u128) = (1_500_000, 4_500_000);
    assert_eq!(variance((V, 3 * V), FLOWS, 4_500_000), 1_498_500_000_000);
    // Shares are of the total: where that is 4/3 of the flows, the variance is 16/9 of theirs, and where it is half, a quarter.
    assert_eq!(variance((V, 3 * V), FLOWS, 6_000_000), 2_664_000_000_000);
    assert_eq!(variance((V, 3 * V), FLOWS, 2_250_000), 374_625_000_000);
    assert_eq!(variance((V, 3 * V), FLOWS, 0), 0, "nothing is shared out");
    assert_eq!(variance((3 * V, 3 * V), (4_500_000, 4_500_000), 6_000_000), 0, "all there is");
    // Nothing of it was sampled: a third of the others' error is its own.
    assert_eq!(variance((0, 9), (1, 3), 3), 1);
    assert_eq!(variance((0, 10), (1, 3), 3), 2, "10/9, rounded up");
    assert_eq!(variance((0, 9), (1, 3), 6), 4);
}

#[test]
fn weights_are_whole_octets_rounded_half_up() {
    let rate = |n, d| SamplingRate::new(n, d, crate::units::RateSource::Sampler).unwrap();
    assert_eq!(weight(3, rate(3, 2)), Some(5), "4.5");
    assert_eq!(weight(1, rate(4, 3)), Some(1));
    assert_eq!(weight(7, rate(1000, 1)), Some(7000));
    assert_eq!(weight(1 << 62, rate(1000, 1)), None);
}

/// The names decide, whatever their numbers; reserved customers come first.
#[test]
fn the_order_is_that_of_names() {
    let names = |pairs: &[(u32, &str)]| -> Vec<(u32, String)> {
        pairs.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
    };
    let none = names(&[]);
    let key = |customer| UsageKey {
        bucket: BucketStart(0),
        customer: CustomerId(customer),
        link: LinkId(1),
        direction: Direction::In,
        class: crate::ids::ClassId::DEFAULT,
        family: crate::flow::Family::V4,
        exporter: crate::ids::ExporterId(1),
        rate: SamplingRate::NOT_ANNOUNCED,
    };
    for (a, b) in [(16, 17), (17, 16)] {
        let ranks = Ranks::new(&names(&[(a, "a"), (b, "b")]), &none, &none);
        assert!(ranks.order(&key(a)) < ranks.order(&key(b)));
        assert!(ranks.order(&key(CustomerId::THROUGH.0)) < ranks.order(&key(a)));
    }
}

proptest! {
    /// They add up to the total; who has more has no less; nobody is an octet off; alone or together, each is the same.
    #[test]
    fn shares_add_up_to_the_total(
        weights in proptest::collection::vec(prop_oneof![0..5_u64, 0..1_000_000_u64, 0..1_u64 << 45], 1..40),
        interface in prop_oneof![0..50_u64, 0..1_u64 << 50],
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let found = shares(interface, &weights);
        prop_assert_eq!(found.iter().sum::<u64>(), interface);
        let flows: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        for (share, weight) in found.iter().zip(&weights) {
            let apart = (u128::from(*share) * flows).abs_diff(u128::from(interface) * u128::from(*weight));
            prop_assert!(apart < flows);
            for (other, other_weight) in found.iter().zip(&weights) {
                prop_assert!(weight <= other_weight || share >= other);
            }
        }
        // The order in which rows are told does not matter, only where they stand.
        let rows: Vec<(Order, u64)> = (0..).map(at).zip(weights.iter().copied()).collect();
        let mut turned = rows.clone();
        turned.reverse();
        let [one, other] = [rows, turned].map(|rows| Total::shared_out(interface.into(), &rows, (0, false)));
        prop_assert_eq!(one, other);
    }

    /// Where the interfaces counted what the flows sum to, nothing changes.
    #[test]
    fn a_ratio_of_one_changes_nothing(weights in proptest::collection::vec(1..1_u64 << 50, 1..40)) {
        prop_assert_eq!(shares(weights.iter().sum(), &weights), weights);
    }

    /// What it is, rounded up to whole octets squared.
    #[test]
    fn the_variance_is_rounded_up(
        own in 0..1_u128 << 80,
        others in 0..1_u128 << 80,
        weight in 0..1_u64 << 45,
        rest in 1..1_u64 << 45,
        interface in 0..1_u64 << 45,
    ) {
        let [weight, whole] = [weight.into(), u128::from(weight) + u128::from(rest)];
        let big = BigUint::from;
        let exact = (big(own) * big(whole - weight).pow(2) + big(others) * big(weight).pow(2))
            * BigUint::from(interface).pow(2);
        let found = variance((own, own + others), (weight, whole), interface);
        prop_assert!(big(found) * big(whole).pow(4) >= exact);
        prop_assert!(found == 0 || big(found - 1) * big(whole).pow(4) < exact);
    }
}
