//! Loss of IPFIX records where data waits for its template, and where messages have overtaken one another.

use proptest::prelude::*;

use super::build::{Collector, Octets, ipfix, octets, options_template, set, template};

/// A record has eight octets.
const FIELDS: [(u64, u16); 2] = [(1, 4), (2, 4)];

fn defined(number: u32, id: u16) -> Vec<u8> {
    ipfix(number, 1, &[set(2, template(id, &FIELDS))])
}

fn data(id: u16, records: u32) -> Octets {
    set(id, (0..records).fold(octets(), |body, n| body.u32(100 + n).u32(1)))
}

/// So many records of the template 300, and of 301.
fn message(number: u32, known: u32, other: u32) -> Vec<u8> {
    let sets = [data(300, known), data(301, other)];
    ipfix(number, 1, &sets.into_iter().filter(|set| set.0.len() > 4).collect::<Vec<_>>())
}

/// Loss after each of the messages.
fn lost(messages: &[Vec<u8>]) -> Vec<u64> {
    let mut collector = Collector::default();
    let after = messages.iter().map(|message| {
        collector.take(message).unwrap();
        assert_eq!(collector.counts().restarts, 0);
        collector.counts().lost
    });
    after.collect()
}

#[test]
fn a_loss_behind_data_that_waits_is_told_as_far_as_it_is_certain_and_exactly_with_the_template() {
    // Two records, and 16 octets that are 16 records at most: from 3 + 18 on all is lost. They are two.
    let messages =
        [defined(0, 300), message(0, 3, 0), message(3, 2, 2), message(50_010, 3, 0), defined(50_013, 301)];
    assert_eq!(lost(&messages), [0, 0, 0, 49_989, 50_003]);
    // All wait, some in the last one too: 24 octets, then 16, and 3 and 2 records.
    let messages = [message(0, 3, 0), message(100, 2, 0), defined(102, 300), message(105, 1, 0)];
    assert_eq!(lost(&messages), [0, 76, 97, 100]);
    // The template is in a message with data before it and behind it, and three are missing behind that.
    let both = ipfix(0, 1, &[data(300, 2), set(2, template(300, &FIELDS)), data(300, 1)]);
    assert_eq!(lost(&[both, message(6, 1, 0)]), [0, 3]);
    // Nothing is missing, however many wait.
    let messages =
        [message(0, 3, 5), message(8, 0, 7), message(15, 4, 0), defined(19, 301), defined(19, 300)];
    assert_eq!(lost(&messages), [0; 5]);
    // Numbers wrap: two are missing.
    let messages = [message(u32::MAX - 1, 4, 0), message(4, 1, 0), defined(5, 300)];
    assert_eq!(lost(&messages), [0, 0, 2]);
}

#[test]
fn late_messages_whose_data_waits_take_back_what_they_may_have() {
    // 99 are missing, of which 16 octets may be 16 records; they are two. Then one more.
    let messages = [
        defined(0, 300),
        message(0, 1, 0),
        message(100, 1, 0),
        message(10, 0, 2),
        defined(101, 301),
        message(50, 1, 0),
    ];
    assert_eq!(lost(&messages), [0, 0, 99, 83, 97, 96]);
    // A late one begins at 10, so the one before it ends there, and what is behind the late one is lost: 12 to 99.
    let messages = [defined(0, 300), message(0, 0, 3), message(100, 1, 0), message(10, 2, 0)];
    assert_eq!(lost(&messages), [0, 0, 76, 88]);
    // It runs over what was certain and what was not: all but 3 to 9 and 60 to 99.
    let messages =
        [defined(0, 300), message(0, 0, 3), message(100, 1, 0), message(10, 50, 0), defined(101, 301)];
    assert_eq!(lost(&messages), [0, 0, 76, 40, 47]);
}

/// Two exporters take turns, and their data waits: neither lost what the other one sent.
#[test]
fn the_way_to_another_exporter_is_no_loss_behind_data_that_waits() {
    let turns = (0..10).flat_map(|n| [message(1000 + n, 1, 0), message(500_000 + n, 1, 0)]);
    let mut collector = Collector::default();
    for message in turns.chain([message(1010, 1, 0)]) {
        collector.take(&message).unwrap();
    }
    assert_eq!(collector.counts().lost, 0);
}

/// A generator (xorshift) of messages that are as large as chance has it, some with options data.
fn overtaken(seed: u64, within: u64) -> (u64, u64) {
    let mut state = seed;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let options = set(3, options_template(310, 1, &[(149, 4), (34, 4)]));
    let mut number = 4_294_966_000;
    let mut all = Vec::new();
    for n in 0..1500_u64 {
        let flows = u32::try_from(random(4)).unwrap();
        let extra = u32::from(random(10) == 0);
        let mut sets = Vec::new();
        if n % 50 == 0 {
            sets.extend([set(2, template(300, &FIELDS)), options.clone()]);
        }
        if extra > 0 {
            sets.push(set(310, octets().u32(1).u32(9)));
        }
        if flows > 0 {
            sets.push(data(300, flows));
        }
        // Some belong to a template that nobody sends.
        let waits = u32::from(random(20) == 0);
        if waits > 0 {
            sets.push(data(302, waits));
        }
        if !sets.is_empty() {
            let place = if n < 3 { 0 } else { 10 * n + random(within) };
            all.push((place, ipfix(number, 1, &sets)));
            number = number.wrapping_add(flows + extra + waits);
        }
    }
    all.sort_by_key(|&(place, _)| place);
    all.push((0, ipfix(number, 1, &[data(300, 1)])));
    let mut collector = Collector::default();
    for (_, message) in &all {
        collector.take(message).unwrap();
    }
    (collector.counts().lost, collector.counts().restarts)
}

#[test]
fn messages_that_overtake_one_another_are_no_loss() {
    for within in [10, 12, 15, 20, 30, 40] {
        for seed in 1..=12 {
            assert_eq!(overtaken(seed << 40 | seed, within), (0, 0), "{within} {seed}");
        }
    }
}

proptest! {
    /// However late messages come and whichever are lost, with the template the loss is known exactly; before, never more.
    #[test]
    fn with_the_template_the_loss_is_exact(
        first in any::<u32>(),
        messages in prop::collection::vec((0..4_u32, 0..4_u32, 0..4_u8, any::<u16>()), 2..12),
        template_at in 0..12_usize,
    ) {
        let mut number = first;
        let (mut all, mut missing) = (Vec::new(), 0);
        for (n, &(known, other, drop, key)) in messages.iter().enumerate() {
            if n == template_at {
                all.push((key, defined(number, 301)));
            }
            let count = known + other;
            if drop == 0 {
                missing += u64::from(count);
            } else if count > 0 {
                all.push((key, message(number, known, other)));
            }
            number = number.wrapping_add(count);
        }
        all.sort_by_key(|&(key, _)| key);
        let mut collector = Collector::default();
        collector.take(&ipfix(first.wrapping_sub(1), 1, &[set(2, template(300, &FIELDS)), data(300, 1)])).unwrap();
        for (_, message) in &all {
            collector.take(message).unwrap();
        }
        collector.take(&message(number, 1, 0)).unwrap();
        prop_assert!(collector.counts().lost <= missing, "{} of {missing}", collector.counts().lost);
        collector.take(&defined(number.wrapping_add(1), 301)).unwrap();
        let counts = collector.counts();
        prop_assert_eq!((counts.lost, counts.restarts, counts.held_sets), (missing, 0, 0));
    }
}
