//! The window of duplicates against a list that is searched from end to end.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[test]
fn a_datagram_is_known_for_as_many_as_the_window_holds() {
    // 7919 is odd, so checksums go through all hashes, and each is in use once.
    let checksum = |n: u32| n.wrapping_mul(7919);
    for later in [1, 128, 195, 1023] {
        let mut recent = Recent::default();
        for n in 0..5000_u32 {
            assert!(!recent.contains_or_add(n, checksum(n)), "{n} is new");
            if let Some(before) = n.checked_sub(later) {
                assert!(recent.contains_or_add(before, checksum(before)), "{before} came {later} before");
            }
        }
    }
    // 1024 others after it, it is forgotten, and is one of the last again.
    let mut recent = Recent::default();
    for n in 0..=1024_u32 {
        assert!(!recent.contains_or_add(n, checksum(n)));
    }
    assert!(!recent.contains_or_add(0, checksum(0)));
    assert!(recent.contains_or_add(0, checksum(0)));
    assert!(recent.contains_or_add(2, checksum(2)));
    assert!(!recent.contains_or_add(1, checksum(1)));
}

#[test]
fn number_and_checksum_must_both_be_the_same() {
    let mut recent = Recent::default();
    assert!(!recent.contains_or_add(1, 7));
    assert!(!recent.contains_or_add(2, 7));
    assert!(!recent.contains_or_add(1, 7 + 1024));
    assert!(recent.contains_or_add(1, 7));
    // The number 0 with the checksum 0 is a datagram as any other.
    assert!(!recent.contains_or_add(0, 0));
    assert!(recent.contains_or_add(0, 0));
}

proptest! {
    /// Few hashes, so that chains are long; checksums that come again under other numbers; and a checkpoint in between.
    #[test]
    fn it_knows_what_a_list_knows(
        steps in prop::collection::vec((0..1500_u32, 0..6_u32), 1..6000),
        interrupted in 0..6000_usize,
    ) {
        let mut recent = Recent::default();
        let mut list: VecDeque<(u32, u32)> = VecDeque::new();
        for (step, (number, hash)) in steps.into_iter().enumerate() {
            if step == interrupted {
                let written = postcard::to_allocvec(&recent).unwrap();
                recent = postcard::from_bytes(&written).unwrap();
            }
            let checksum = hash + 1024 * (number % 3);
            let known = list.contains(&(number, checksum));
            prop_assert_eq!(recent.contains_or_add(number, checksum), known);
            if !known {
                list.push_back((number, checksum));
                if list.len() > 1024 {
                    list.pop_front();
                }
            }
        }
        prop_assert!(recent.seen.len() <= 1024);
    }
}
