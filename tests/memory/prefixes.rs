//! A full routing table: what the prefix table takes of memory and time, and that it says what a trie says.

#![expect(clippy::cast_possible_truncation, reason = "random numbers are cut to whatever width is wanted")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use fluxoscope::classify::prefix::PrefixTable;
use fluxoscope::classify::rules::Prefix;
use fluxoscope::flow::{Address, Family};
use ipnet::{Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::count::octets;

/// Prefixes of the Internet's routing tables, and some room.
const V4: u32 = 1_000_000;
const V6: u32 = 200_000;

/// A small generator (xorshift), so that every run sees the same input.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }
}

/// 1.0.0.0/8 to 223.0.0.0/8: allocations of /8 to /16, and most prefixes nested in those, 60 % of them /24.
fn v4(random: &mut Random) -> (u32, u8) {
    let length = match random.below(1000) {
        0 => 8,
        1..20 => 9 + random.below(8) as u8,
        20..400 => 17 + random.below(7) as u8,
        _ => 24,
    };
    let first = 1 + random.below(222) as u32;
    let bits = first << 24 | random.next() as u32 & 0x00ff_ffff;
    (bits & (u32::MAX << (32 - length)), length)
}

/// 2000::/3 with allocations of /19 to /32, in some thousand of which lie the /33 to /48.
fn v6(random: &mut Random) -> (u128, u8) {
    let length = [19, 29, 32, 32, 36, 40, 44, 48, 48, 48, 48, 48][random.below(12) as usize];
    let holder = u128::from(0x2001_0000 + random.below(0x4000) * 0x40);
    let bits = holder << 96 | u128::from(random.next()) << 64 >> 32;
    (bits & (u128::MAX << (128 - length)), length)
}

#[test]
fn a_full_routing_table_fits_and_says_what_a_trie_says() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut trie4, mut trie6) = (PrefixMap::<Ipv4Net, u32>::new(), PrefixMap::<Ipv6Net, u32>::new());
    let mut prefixes = Vec::new();
    while prefixes.len() < V4 as usize {
        let (bits, length) = v4(&mut random);
        let value = prefixes.len() as u32;
        // Given twice, the last one wins in both.
        trie4.insert(Ipv4Net::new(bits.into(), length).unwrap(), value);
        prefixes.push((Prefix { address: IpAddr::V4(bits.into()), length }, value));
    }
    while prefixes.len() < (V4 + V6) as usize {
        let (bits, length) = v6(&mut random);
        let value = prefixes.len() as u32;
        trie6.insert(Ipv6Net::new(bits.into(), length).unwrap(), value);
        prefixes.push((Prefix { address: IpAddr::V6(bits.into()), length }, value));
    }
    let (before, begun) = (octets(), Instant::now());
    let table = PrefixTable::build(prefixes.iter().copied());
    let built = begun.elapsed();
    let used = octets() - before;
    assert_eq!(used, i64::try_from(table.heap_octets()).unwrap());
    // 64 MiB: what a small machine can spare twice, since a reload needs the old table beside the new one.
    assert!(used < 64 << 20, "{used} octets");

    // Half of the questions are about addresses inside of a prefix, half about any.
    let mut found = 0;
    for n in 0..100_000 {
        let (prefix, _) = prefixes[random.below(u64::from(V4)) as usize];
        let IpAddr::V4(first) = prefix.address else { unreachable!("the first ones are IPv4") };
        let host = random.next() as u32;
        let address = if n % 2 == 0 { u32::from(first) | host & 0x7f } else { host };
        let expected = trie4.get_lpm(&Ipv4Net::new(address.into(), 32).unwrap()).map(|(_, value)| *value);
        let value = table.lookup(Family::V4, Address(address.into()));
        assert_eq!(value, expected.unwrap_or(PrefixTable::NOTHING), "{address:#x}");
        found += u32::from(expected.is_some());

        let (prefix, _) = prefixes[V4 as usize + random.below(u64::from(V6)) as usize];
        let IpAddr::V6(first) = prefix.address else { unreachable!("the last ones are IPv6") };
        let host = u128::from(random.next()) << 64 | u128::from(random.next());
        let wide = if n % 2 == 0 { u128::MAX >> 48 } else { u128::MAX >> 4 };
        let address = u128::from(first) & !wide | host & wide;
        let expected = trie6.get_lpm(&Ipv6Net::new(address.into(), 128).unwrap()).map(|(_, value)| *value);
        let value = table.lookup(Family::V6, Address(address));
        assert_eq!(value, expected.unwrap_or(PrefixTable::NOTHING), "{address:#x}");
        found += u32::from(expected.is_some());
    }
    assert!((60_000..200_000).contains(&found), "{found} addresses in a prefix");

    println!("built in {built:?}, {used} octets");
    // Half of them inside of a prefix, as above.
    let questions: Vec<u32> = (0..1 << 18)
        .map(|n| match prefixes[random.below(u64::from(V4)) as usize].0.address {
            IpAddr::V4(first) if n % 2 == 0 => u32::from(first) | random.next() as u32 & 0x7f,
            _ => random.next() as u32,
        })
        .collect();
    let ours = |sum: u32, address: &u32| {
        sum.wrapping_add(table.lookup(Family::V4, Address((*address).into())).wrapping_add(1))
    };
    let theirs = |sum: u32, address: &u32| {
        let found = trie4.get_lpm(&Ipv4Net::new((*address).into(), 32).unwrap());
        sum.wrapping_add(found.map_or(0, |(_, value)| *value + 1))
    };
    faster("IPv4", &questions, ours, theirs);
    let questions: Vec<u128> = (0..1 << 18)
        .map(|n| {
            let IpAddr::V6(first) = prefixes[V4 as usize + random.below(u64::from(V6)) as usize].0.address
            else {
                unreachable!("the last ones are IPv6")
            };
            let host = u128::from(random.next()) << 64 | u128::from(random.next());
            let wide = if n % 2 == 0 { u128::MAX >> 48 } else { u128::MAX >> 4 };
            u128::from(first) & !wide | host & wide
        })
        .collect();
    let ours = |sum: u32, address: &u128| {
        sum.wrapping_add(table.lookup(Family::V6, Address(*address)).wrapping_add(1))
    };
    let theirs = |sum: u32, address: &u128| {
        let found = trie6.get_lpm(&Ipv6Net::new((*address).into(), 128).unwrap());
        sum.wrapping_add(found.map_or(0, |(_, value)| *value + 1))
    };
    faster("IPv6", &questions, ours, theirs);
}

/// How long both take for all questions, at their best of five, one after the other so that a busy machine hurts both. The
/// numbers are those of a test build on whatever machine it may be, and only printed; but the table, which is there to
/// be fast, has to be at least as fast as the trie.
fn faster<T>(family: &str, questions: &[T], ours: impl Fn(u32, &T) -> u32, theirs: impl Fn(u32, &T) -> u32) {
    let (mut table, mut trie) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let begun = Instant::now();
        let sum = questions.iter().fold(0, &ours);
        table = table.min(begun.elapsed());
        let begun = Instant::now();
        assert_eq!(questions.iter().fold(0, &theirs), sum);
        trie = trie.min(begun.elapsed());
    }
    let each = |all: Duration| all.as_nanos() / questions.len() as u128;
    println!("{family}: {} ns a lookup, a trie {} ns", each(table), each(trie));
    assert!(table < trie, "{family}: {table:?}, a trie {trie:?}");
}
