//! Longest-prefix match over an immutable set of IPv4 and IPv6 prefixes.
//!
//! Rules load seldom and are replaced whole, so a static structure is right: nested prefixes are flattened into
//! disjoint ranges, sorted by their first address, and a directory over the top address bits narrows a search to a
//! handful of them. A lookup is one directory read and a short binary search: tens of nanoseconds at a million
//! prefixes, in about 14 octets a prefix, without pointers to follow.
//!
//! Invariants: the first range starts at address 0; starts ascend strictly; neighbours differ in value; for each
//! directory entry `t`, `directory[t]` is the number of ranges that start before `t << shift`.

use core::net::IpAddr;

use super::rules::Prefix;
use crate::flow::{Address, Family, FlowRecord};

/// A table from prefixes to numbers.
///
/// The number [`PrefixTable::NOTHING`] stands for "no match": a prefix given this value is a hole in the prefixes
/// around it. Where a prefix is given twice, the last one wins; who needs to know about duplicates (customers, whose
/// prefixes carry dates) sorts them out before.
#[derive(Debug)]
pub struct PrefixTable {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl PrefixTable {
    /// The value of addresses that no prefix holds.
    pub const NOTHING: u32 = u32::MAX;

    /// Builds the table. Host bits beyond a prefix's length are ignored.
    #[must_use]
    pub fn build(prefixes: impl IntoIterator<Item = (Prefix, u32)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, value) in prefixes {
            let (first, last) = bounds(prefix);
            let list = if prefix.address.is_ipv4() { &mut v4 } else { &mut v6 };
            list.push(Nested { first, last, value });
        }
        Self {
            v4: Ranges::build(flatten(v4, u128::from(u32::MAX)), 32, 16),
            v6: Ranges::build(flatten(v6, u128::MAX), 128, 20),
        }
    }

    /// The value of the longest prefix that holds `address`; [`Self::NOTHING`] where none does.
    #[inline]
    #[must_use]
    pub fn lookup(&self, family: Family, address: Address) -> u32 {
        match family {
            #[expect(clippy::cast_possible_truncation, reason = "an IPv4 address is the low 32 bits")]
            Family::V4 => self.lookup_v4(address.0 as u32),
            Family::V6 => self.lookup_v6(address.0),
            Family::Other => Self::NOTHING,
        }
    }

    /// The value of a record's source.
    #[inline]
    #[must_use]
    pub fn lookup_source(&self, record: &FlowRecord) -> u32 {
        if record.networks {
            return self.lookup_network(record.family, record.source, record.source_mask);
        }
        self.lookup(record.family, record.source)
    }

    /// The value of a record's destination.
    #[inline]
    #[must_use]
    pub fn lookup_destination(&self, record: &FlowRecord) -> u32 {
        if record.networks {
            return self.lookup_network(record.family, record.destination, record.destination_mask);
        }
        self.lookup(record.family, record.destination)
    }

    /// The value that [`Self::lookup`] gives for every address of a network of `length` bits; [`Self::NOTHING`] where
    /// they have different ones.
    #[must_use]
    pub fn lookup_network(&self, family: Family, address: Address, length: u8) -> u32 {
        match family {
            Family::V4 => self.v4.find_span(span(address.0, 32, length)),
            Family::V6 => self.v6.find_span(span(address.0, 128, length)),
            Family::Other => Self::NOTHING,
        }
    }

    /// As [`Self::lookup`], for an IPv4 address.
    #[inline]
    #[must_use]
    pub fn lookup_v4(&self, address: u32) -> u32 {
        self.v4.find(address, (address >> self.v4.shift) as usize)
    }

    /// As [`Self::lookup`], for an IPv6 address.
    #[inline]
    #[must_use]
    pub fn lookup_v6(&self, address: u128) -> u32 {
        // The directory looks at no more than the top 20 bits, so the upper half is enough to find its entry.
        let top = ((address >> 64) as u64 >> (self.v6.shift - 64)) as usize;
        self.v6.find(address, top)
    }

    /// As [`Self::lookup`], for an address in its usual form.
    #[must_use]
    pub fn lookup_ip(&self, address: IpAddr) -> u32 {
        let (family, address) = Address::from_ip(address);
        self.lookup(family, address)
    }

    /// Heap octets that the table takes.
    #[must_use]
    pub fn heap_octets(&self) -> usize {
        self.v4.heap_octets() + self.v6.heap_octets()
    }
}

impl Default for PrefixTable {
    /// A table without prefixes.
    fn default() -> Self {
        Self::build([])
    }
}

/// First and last address of a prefix, as numbers of its family.
fn bounds(prefix: Prefix) -> (u128, u128) {
    let (width, (_, Address(address))) = match prefix.address {
        IpAddr::V4(_) => (32_u32, Address::from_ip(prefix.address)),
        IpAddr::V6(_) => (128_u32, Address::from_ip(prefix.address)),
    };
    span(address, width, prefix.length)
}

/// First and last address of the network of `length` bits, of `width`, that holds `address`.
fn span(address: u128, width: u32, length: u8) -> (u128, u128) {
    let host_bits = width - u32::from(length).min(width);
    let host_mask = if host_bits == 128 { u128::MAX } else { (1_u128 << host_bits) - 1 };
    (address & !host_mask, address | host_mask)
}

/// A prefix as the addresses it spans. Of two, either one holds the other or they share nothing.
struct Nested {
    first: u128,
    last: u128,
    value: u32,
}

/// Disjoint ranges, each as its first address and its value, that cover all addresses up to `greatest`.
fn flatten(mut prefixes: Vec<Nested>, greatest: u128) -> Vec<(u128, u32)> {
    // Outer prefixes before the inner ones that start at the same address; the sort is stable, so that the last of
    // equal prefixes comes last and wins.
    prefixes.sort_by(|a, b| (a.first, b.last).cmp(&(b.first, a.last)));
    let mut ranges: Vec<(u128, u32)> = vec![(0, PrefixTable::NOTHING)];
    let mut begin = |first: u128, value: u32| {
        if ranges.last().is_some_and(|range| range.0 == first) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|range| range.1 != value) {
            ranges.push((first, value));
        }
    };
    let mut open: Vec<Nested> = Vec::new();
    for prefix in prefixes {
        while let Some(inner) = open.pop_if(|inner| inner.last < prefix.first) {
            let around = open.last().map_or(PrefixTable::NOTHING, |outer| outer.value);
            begin(inner.last + 1, around);
        }
        begin(prefix.first, prefix.value);
        open.push(prefix);
    }
    while let Some(inner) = open.pop() {
        if inner.last < greatest {
            let around = open.last().map_or(PrefixTable::NOTHING, |outer| outer.value);
            begin(inner.last + 1, around);
        }
    }
    ranges
}

/// The flat form, for addresses of one family.
#[derive(Debug)]
struct Ranges<K> {
    /// Address bits below those that the directory looks at.
    shift: u32,
    /// For each value of the top bits, and one more, the number of ranges that start before it.
    directory: Vec<u32>,
    starts: Vec<K>,
    values: Vec<u32>,
}

impl<K: Copy + Ord + Into<u128> + TryFrom<u128>> Ranges<K> {
    /// Takes `ranges` over addresses of `width` bits; the directory looks at no more than `bits_max` of them.
    fn build(ranges: Vec<(u128, u32)>, width: u32, bits_max: u32) -> Self {
        // A few entries for each range; small tables (a rule's prefixes, a small site) stay in the nearest cache.
        let bits = (usize::BITS - ranges.len().leading_zeros() + 4).min(bits_max);
        let shift = width - bits;
        let mut directory = Vec::with_capacity((1 << bits) + 1);
        let mut before = 0;
        for top in 0..1_u128 << bits {
            while ranges.get(before).is_some_and(|range| range.0 < top << shift) {
                before += 1;
            }
            directory.push(u32::try_from(before).expect("fewer than 2^32 prefixes fit into memory"));
        }
        directory.push(u32::try_from(ranges.len()).expect("fewer than 2^32 prefixes fit into memory"));
        let address = |n: u128| K::try_from(n).ok().expect("the addresses are of this family");
        Self {
            shift,
            directory,
            starts: ranges.iter().map(|range| address(range.0)).collect(),
            values: ranges.iter().map(|range| range.1).collect(),
        }
    }

    /// The value of the range that holds `address`, whose top bits are `top`.
    #[inline]
    fn find(&self, address: K, top: usize) -> u32 {
        self.values[self.place(address, top)]
    }

    /// The value of the range that holds all addresses from the first to the last; `NOTHING` where there are several.
    fn find_span(&self, (first, last): (u128, u128)) -> u32 {
        let place = |address: u128| {
            let top = usize::try_from(address >> self.shift).ok()?;
            Some(self.place(K::try_from(address).ok()?, top))
        };
        match (place(first), place(last)) {
            (Some(first), Some(last)) if first == last => self.values[first],
            _ => PrefixTable::NOTHING,
        }
    }

    /// The place of the range that holds `address`, whose top bits are `top`.
    #[inline]
    fn place(&self, address: K, top: usize) -> usize {
        let (from, to) = (self.directory[top] as usize, self.directory[top + 1] as usize);
        // Range `from - 1` reaches into this part of the directory; range 0 starts at address 0, so that for `top`
        // 0 at least one range starts at or before the address.
        let at = from + self.starts[from..to].partition_point(|start| *start <= address);
        at - 1
    }

    fn heap_octets(&self) -> usize {
        size_of::<u32>() * (self.directory.capacity() + self.values.capacity())
            + size_of::<K>() * self.starts.capacity()
    }
}

#[cfg(test)]
mod tests;
