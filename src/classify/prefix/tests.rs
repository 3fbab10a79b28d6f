#![allow(clippy::cast_possible_truncation, reason = "random numbers are cut to the width wanted")]

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use proptest::prelude::*;

use super::*;

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').expect("a slash");
    Prefix { address: address.parse().expect("an address"), length: length.parse().expect("a length") }
}

/// Looks up each address in a table of the prefixes, numbered from 0.
#[track_caller]
fn check(prefixes: &[&str], expected: &[(&str, Option<u32>)]) {
    let table = PrefixTable::build((0..).zip(prefixes).map(|(n, text)| (prefix(text), n)));
    for &(address, value) in expected {
        let found = table.lookup_ip(address.parse().expect("an address"));
        assert_eq!(found, value.unwrap_or(PrefixTable::NOTHING), "{address} in {prefixes:?}");
    }
}

#[test]
fn nothing_matches_in_an_empty_table() {
    check(&[], &[("0.0.0.0", None), ("255.255.255.255", None), ("::", None), ("2001:db8::1", None)]);
}

#[test]
fn the_longest_prefix_wins() {
    check(
        &["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"],
        &[
            ("9.255.255.255", None),
            ("10.0.0.0", Some(0)),
            ("10.0.255.255", Some(0)),
            ("10.1.0.0", Some(1)),
            ("10.1.1.255", Some(1)),
            ("10.1.2.0", Some(2)),
            ("10.1.2.255", Some(2)),
            ("10.1.3.0", Some(1)),
            ("10.2.0.0", Some(0)),
            ("10.255.255.255", Some(0)),
            ("11.0.0.0", None),
        ],
    );
}

#[test]
fn default_routes_and_single_addresses() {
    check(
        &["0.0.0.0/0", "192.0.2.0/31", "192.0.2.0/32", "255.255.255.255/32", "0.0.0.0/32"],
        &[
            ("0.0.0.0", Some(4)),
            ("0.0.0.1", Some(0)),
            ("192.0.1.255", Some(0)),
            ("192.0.2.0", Some(2)),
            ("192.0.2.1", Some(1)),
            ("192.0.2.2", Some(0)),
            ("255.255.255.254", Some(0)),
            ("255.255.255.255", Some(3)),
            ("::", None),
        ],
    );
    check(
        &["::/0", "2001:db8::/127", "2001:db8::1/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"],
        &[
            ("::", Some(0)),
            ("2001:db8::", Some(1)),
            ("2001:db8::1", Some(2)),
            ("2001:db8::2", Some(0)),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(3)),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", Some(0)),
            ("1.2.3.4", None),
        ],
    );
}

#[test]
fn the_last_of_equal_prefixes_wins_and_host_bits_do_not_count() {
    check(&["10.0.0.0/8", "10.9.9.9/8"], &[("10.1.1.1", Some(1))]);
}

#[test]
fn a_value_of_nothing_is_a_hole() {
    let table = PrefixTable::build([
        (prefix("10.0.0.0/8"), 7),
        (prefix("10.1.0.0/16"), PrefixTable::NOTHING),
        (prefix("10.1.1.0/24"), 8),
    ]);
    let at = |a: &str| table.lookup_ip(a.parse().expect("an address"));
    assert_eq!(
        (at("10.0.0.1"), at("10.1.0.1"), at("10.1.1.1"), at("10.2.0.0")),
        (7, PrefixTable::NOTHING, 8, 7)
    );
}

/// Lengths and the bits that matter are drawn from few values, so that prefixes nest and collide.
fn any_v4() -> impl Strategy<Value = Prefix> {
    (prop_oneof![any::<u32>(), (0..8_u32).prop_map(|n| n << 29 | n), Just(0), Just(u32::MAX)], 0..=32_u8)
        .prop_map(|(bits, length)| {
            let net = Ipv4Net::new(bits.into(), length).expect("a length").trunc();
            Prefix { address: net.addr().into(), length }
        })
}

fn any_v6() -> impl Strategy<Value = Prefix> {
    (
        prop_oneof![
            any::<u128>(),
            (0..16_u128).prop_map(|n| 0x2001_0db8 << 96 | n << 64 | n),
            Just(0),
            Just(u128::MAX)
        ],
        prop_oneof![0..=128_u8, Just(127), Just(128), Just(64)],
    )
        .prop_map(|(bits, length)| {
            let net = Ipv6Net::new(bits.into(), length).expect("a length").trunc();
            Prefix { address: net.addr().into(), length }
        })
}

/// The longest prefix by looking at all of them; of equal ones the last.
fn linear_scan(prefixes: &[(Prefix, u32)], address: IpAddr) -> u32 {
    prefixes
        .iter()
        .filter(|(p, _)| IpNet::new(p.address, p.length).expect("a prefix").contains(&address))
        .max_by_key(|(p, _)| p.length)
        .map_or(PrefixTable::NOTHING, |(_, value)| *value)
}

/// Addresses worth asking for: both ends of each prefix, and their neighbours.
fn edges(prefixes: &[(Prefix, u32)]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for (p, _) in prefixes {
        let (first, last) = bounds(*p);
        for n in [first.wrapping_sub(1), first, last, last.wrapping_add(1)] {
            let family = if p.address.is_ipv4() { Family::V4 } else { Family::V6 };
            addresses.extend(Address(n).to_ip(family));
        }
    }
    addresses
}

proptest! {
    #[test]
    fn equals_a_linear_scan_and_a_trie(
        v4 in prop::collection::vec(any_v4(), 0..60),
        v6 in prop::collection::vec(any_v6(), 0..60),
        more_v4 in prop::collection::vec(any::<u32>(), 40),
        more_v6 in prop::collection::vec(any::<u128>(), 40),
    ) {
        let prefixes: Vec<(Prefix, u32)> = v4.into_iter().chain(v6).zip(0..).collect();
        let table = PrefixTable::build(prefixes.iter().copied());
        let (mut trie4, mut trie6) = (PrefixMap::<Ipv4Net, u32>::new(), PrefixMap::<Ipv6Net, u32>::new());
        for (p, value) in &prefixes {
            match IpNet::new(p.address, p.length).expect("a prefix") {
                IpNet::V4(net) => { trie4.insert(net, *value); }
                IpNet::V6(net) => { trie6.insert(net, *value); }
            }
        }
        let mut addresses = edges(&prefixes);
        addresses.extend(more_v4.into_iter().map(|n| IpAddr::V4(n.into())));
        addresses.extend(more_v6.into_iter().map(|n| IpAddr::V6(n.into())));
        for address in addresses {
            let found = table.lookup_ip(address);
            prop_assert_eq!(found, linear_scan(&prefixes, address), "{}", address);
            let in_trie = match address {
                IpAddr::V4(a) => trie4.get_lpm(&Ipv4Net::from(a)).map(|(_, v)| *v),
                IpAddr::V6(a) => trie6.get_lpm(&Ipv6Net::from(a)).map(|(_, v)| *v),
            };
            prop_assert_eq!(found, in_trie.unwrap_or(PrefixTable::NOTHING), "{} in the trie", address);
        }
    }
}

#[test]
fn a_network_has_a_value_where_all_of_it_has_the_same() {
    let prefixes = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "2001:db8::/32"];
    let table = PrefixTable::build((0..).zip(prefixes).map(|(n, text)| (prefix(text), n)));
    let nothing = PrefixTable::NOTHING;
    for (network, expected) in [
        ("10.2.0.0/16", 0),
        ("10.128.0.0/9", 0),
        ("10.0.0.0/8", nothing),
        ("10.1.0.0/16", nothing),
        ("10.1.0.0/23", 1),
        ("10.1.2.0/24", 2),
        ("10.1.2.3/32", 2),
        ("10.1.2.0/23", nothing),
        ("0.0.0.0/0", nothing),
        ("11.0.0.0/8", nothing),
        ("2001:db8::/32", 3),
        ("2001:db8:1::/48", 3),
        ("2001:db8::/31", nothing),
        ("::/0", nothing),
    ] {
        let Prefix { address, length } = prefix(network);
        let (family, address) = Address::from_ip(address);
        assert_eq!(table.lookup_network(family, address, length), expected, "{network}");
    }
    // Host bits do not count, nor do bits beyond the address.
    assert_eq!(table.lookup_network(Family::V4, Address(0x0a02_0304), 16), 0);
    assert_eq!(table.lookup_network(Family::V4, Address(0x0a01_0203), 200), 2);
    assert_eq!(table.lookup_network(Family::Other, Address(0), 0), nothing);
    // A default route is the value of what no other prefix holds, and of all of it where there is no other.
    let table = PrefixTable::build([(prefix("0.0.0.0/0"), 7)]);
    assert_eq!(table.lookup_network(Family::V4, Address(0), 0), 7);
}

proptest! {
    /// The ends of all prefixes in a network, and its own, are all the places where a value can change.
    #[test]
    fn a_network_by_all_its_edges(
        v4 in prop::collection::vec(any_v4(), 0..12),
        network in any_v4(),
    ) {
        let prefixes: Vec<(Prefix, u32)> = v4.into_iter().zip(0..).collect();
        let table = PrefixTable::build(prefixes.iter().copied());
        let net = IpNet::new(network.address, network.length).expect("a prefix");
        let mut inside = edges(&prefixes);
        inside.extend(edges(&[(network, 0)]));
        inside.retain(|address| net.contains(address));
        let mut values: Vec<u32> = inside.iter().map(|&address| linear_scan(&prefixes, address)).collect();
        values.sort_unstable();
        values.dedup();
        let expected = if let [value] = values[..] { value } else { PrefixTable::NOTHING };
        let (family, address) = Address::from_ip(network.address);
        prop_assert_eq!(table.lookup_network(family, address, network.length), expected);
    }
}

/// Enough prefixes for the full directories, so that ranges cross, begin and end at their entries.
#[test]
fn a_large_table_equals_a_trie() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut trie = PrefixMap::<Ipv4Net, u32>::new();
    let mut prefixes = Vec::new();
    for value in 0..20_000 {
        let (bits, length) = (next() as u32, 4 + (next() % 29) as u8);
        let net = Ipv4Net::new(bits.into(), length).expect("a length").trunc();
        trie.insert(net, value);
        prefixes.push((Prefix { address: net.addr().into(), length }, value));
    }
    let table = PrefixTable::build(prefixes.iter().copied());
    for _ in 0..50_000 {
        let address = next() as u32;
        let expected = trie.get_lpm(&Ipv4Net::from(core::net::Ipv4Addr::from(address))).map(|(_, v)| *v);
        assert_eq!(table.lookup_v4(address), expected.unwrap_or(PrefixTable::NOTHING));
    }
}

/// Prefixes that lie in a regular row and at random, in clusters far from each other, and boundaries at growing
/// distances: whatever a table is like, each boundary is found to the address.
#[test]
fn boundaries_are_found_to_the_address() {
    let row = (0..3000_u32).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256));
    let growing = (0..32).map(|n| format!("{}/32", core::net::Ipv4Addr::from(1_u32 << n)));
    let far = ["0.0.0.0/32", "203.0.113.7/32", "255.255.255.254/32"].map(str::to_owned);
    let texts: Vec<String> = row.chain(growing).chain(far).collect();
    let table = PrefixTable::build((0..).zip(&texts).map(|(n, text)| (prefix(text), n)));
    // Later prefixes are longer, so the last one that holds an address is the longest.
    let expected = |address: u32| {
        let held = |text: &String| prefix(text).contains(core::net::Ipv4Addr::from(address).into());
        texts.iter().rposition(held).map_or(PrefixTable::NOTHING, |n| n as u32)
    };
    for text in &texts {
        let (first, last) = bounds(prefix(text));
        for address in
            [first as u32, (first as u32).wrapping_sub(1), last as u32, (last as u32).wrapping_add(1)]
        {
            assert_eq!(table.lookup_v4(address), expected(address), "{}", core::net::Ipv4Addr::from(address));
        }
    }
}

/// The same prefixes with and without one longer than 64 bits elsewhere, which makes the table look at all 128.
#[test]
fn upper_halves_are_enough_where_no_prefix_is_longer() {
    let texts: Vec<String> = (0..500).map(|n| format!("2001:db8:{n:x}::/48")).collect();
    let all = |more: Option<&str>| {
        let prefixes = texts.iter().map(String::as_str).chain(more).map(prefix);
        PrefixTable::build(prefixes.zip(0..))
    };
    let (halves, whole) = (all(None), all(Some("2001:db8:ffff::1/128")));
    assert!(matches!((&halves.v6, &whole.v6), (V6::Networks(_), V6::Hosts(_))));
    for n in 0..=500_u128 {
        let base = (0x2001_0db8 << 96) | n << 80;
        for address in [base, base + 1, base + (1 << 80) - 1, base.wrapping_sub(1)] {
            assert_eq!(halves.lookup_v6(address), whole.lookup_v6(address), "{address:x}");
        }
    }
    assert_eq!(whole.lookup_v6((0x2001_0db8_ffff << 80) + 1), 500);
    assert_eq!(halves.lookup_v6((0x2001_0db8_ffff << 80) + 1), PrefixTable::NOTHING);
}

proptest! {
    /// Three versions that share some of their prefixes: the older ones as what is different from the next.
    #[test]
    fn layers_say_what_whole_tables_do(
        v4 in prop::collection::vec(any_v4(), 1..30),
        v6 in prop::collection::vec(any_v6(), 0..10),
        networks in prop::collection::vec(any_v4(), 8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..40_u32), 6),
    ) {
        let mut prefixes: Vec<(Prefix, u32)> = v4.into_iter().chain(v6).zip(0..).collect();
        let mut versions = vec![prefixes.clone()];
        for changed in changes.chunks(3) {
            for (which, value) in changed {
                which.get_mut(&mut prefixes).1 = *value;
            }
            prefixes.rotate_left(1);
            versions.push(prefixes.clone());
        }
        let whole: Vec<Arc<PrefixTable>> =
            versions.iter().map(|all| Arc::new(PrefixTable::build(all.iter().copied()))).collect();
        // Of some numbers nobody may say that they mean the same.
        let plain = |value: u32| value != 7;
        // Where the last prefix beyond 64 bits comes to say what is around it, tables are of another kind, and stay whole.
        let layers = whole[1].layered(&whole[2], plain).zip(whole[0].layered(&whole[1], plain));
        prop_assume!(layers.is_some());
        let (middle, oldest) = layers.expect("assumed above");
        let middle = Arc::new(middle);
        let oldest = oldest.above(Arc::clone(&middle));
        prop_assert_eq!((oldest.layers(), middle.layers(), whole[2].layers()), (3, 2, 1));
        prop_assert!(oldest.layered(&whole[2], plain).is_none(), "it is none that can be compared");
        for (layered, whole) in [(&oldest, &whole[0]), (&*middle, &whole[1])] {
            for address in versions.iter().flat_map(|all| edges(all)) {
                prop_assert_eq!(layered.lookup_ip(address), whole.lookup_ip(address), "{}", address);
            }
            for network in versions[0].iter().map(|one| one.0).chain(networks.iter().copied()) {
                let (family, address) = Address::from_ip(network.address);
                let found = [layered, &**whole].map(|one| one.lookup_network(family, address, network.length));
                prop_assert_eq!(found[0], found[1], "{}", network);
            }
        }
    }
}

#[test]
fn a_layer_is_small_where_little_is_different() {
    let prefixes = |changed: u32| {
        let prefix = |n: u32| Prefix { address: (n << 12).to_be_bytes().into(), length: 24 };
        (0..20_000).map(move |n| (prefix(n), if n == 700 { changed } else { n % 50 }))
    };
    let (old, new) = (PrefixTable::build(prefixes(1)), Arc::new(PrefixTable::build(prefixes(2))));
    let over = old.over(&new, |_| true).expect("one prefix is different");
    assert!(over.heap_octets() < 200, "{} octets of {}", over.heap_octets(), old.heap_octets());
    assert_eq!([699, 700, 701].map(|n: u32| over.lookup_v4((n << 12) + 9)), [49, 1, 1]);
    assert_eq!(new.lookup_v4(700 << 12), 2);
    assert!(old.over(&new, |_| false).is_none(), "then all of it would be different");
}
