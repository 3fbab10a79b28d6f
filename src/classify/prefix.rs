//! Longest-prefix match over an immutable set of IPv4 and IPv6 prefixes.
//!
//! Rules load seldom and are replaced whole, so a static structure is right. Nested prefixes are flattened into
//! disjoint ranges, and those are found by interpolation: a node cuts the span from its first to its last range into
//! equal steps, about as many as it has ranges, and a step says whose its addresses are, or names a node that looks at
//! them more closely. Because a node covers only what its ranges span, prefixes that lie close together (an allocation
//! cut into equal parts, the usual case) take a node or two whatever bits they share before, IPv6 as well as IPv4.
//! A lookup is a subtraction, a shift and a read for each node, and no comparison that the processor could guess wrong.
//!
//! Invariants: ranges start ascending; neighbours differ in value; a node's first step begins at its first range, and
//! every node below a step begins after the step does, so that each is strictly narrower and a lookup ends.

use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;

use super::rules::Prefix;
use crate::flow::{Address, Family, FlowRecord};

/// A table from prefixes to numbers.
///
/// The number [`PrefixTable::NOTHING`] stands for "no match": a prefix given this value is a hole in the prefixes
/// around it. Where a prefix is given twice, the last one wins; who needs to know about duplicates (customers, whose
/// prefixes carry dates) sorts them out before.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixTable {
    v4: Steps<u32>,
    v6: V6,
    /// What the steps say, each value once.
    values: Vec<u32>,
    /// What is asked where they say [`Self::SAME`].
    below: Option<Arc<Self>>,
}

/// IPv6: nearly every table knows no prefix longer than 64 bits, and then the upper half of an address decides.
#[derive(Clone, Debug, PartialEq)]
enum V6 {
    Networks(Steps<u64>),
    Hosts(Steps<u128>),
}

impl PrefixTable {
    /// The value of addresses that no prefix holds.
    pub const NOTHING: u32 = u32::MAX;

    /// What another table says; no value of who builds one.
    const SAME: u32 = u32::MAX - 1;

    /// Builds the table. Host bits beyond a prefix's length are ignored.
    #[must_use]
    pub fn build(prefixes: impl IntoIterator<Item = (Prefix, u32)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, value) in prefixes {
            let (first, last) = bounds(prefix);
            #[expect(clippy::cast_possible_truncation, reason = "an IPv4 address is the low 32 bits")]
            match prefix.address {
                IpAddr::V4(_) => v4.push(Nested { first: first as u32, last: last as u32, value }),
                IpAddr::V6(_) => v6.push(Nested { first, last, value }),
            }
        }
        let mut values = Values::default();
        let v4 = Steps::build(flatten(v4, u32::MAX), &mut values);
        let v6 = flatten(v6, u128::MAX);
        #[expect(clippy::cast_possible_truncation, reason = "the halves of IPv6 addresses")]
        let v6 = if v6.iter().all(|range| range.0 as u64 == 0) {
            let upper = v6.into_iter().map(|(first, value)| ((first >> 64) as u64, value)).collect();
            V6::Networks(Steps::build(upper, &mut values))
        } else {
            V6::Hosts(Steps::build(v6, &mut values))
        };
        Self { v4, v6, values: values.all, below: None }
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

    /// The value that [`Self::lookup`] gives for every address of a network of `length` bits, where one prefix and no
    /// part of a longer one holds them all; [`Self::NOTHING`] otherwise.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "IPv4 addresses; the upper halves of IPv6 ones")]
    pub fn lookup_network(&self, family: Family, Address(address): Address, length: u8) -> u32 {
        let found = match (family, &self.v6) {
            (Family::V4, _) => {
                let (first, last) = span(address, 32, length);
                self.v4.find_span(first as u32, last as u32)
            }
            (Family::V6, V6::Networks(steps)) => {
                let (first, last) = span(address, 128, length);
                steps.find_span((first >> 64) as u64, (last >> 64) as u64)
            }
            (Family::V6, V6::Hosts(steps)) => {
                let (first, last) = span(address, 128, length);
                steps.find_span(first, last)
            }
            (Family::Other, _) => None,
        };
        match (found.map(|at| self.values[at]), &self.below) {
            (Some(Self::SAME), Some(below)) => below.lookup_network(family, Address(address), length),
            (value, _) => value.unwrap_or(Self::NOTHING),
        }
    }

    /// As [`Self::lookup`], for an IPv4 address.
    #[inline]
    #[must_use]
    pub fn lookup_v4(&self, address: u32) -> u32 {
        let value = self.values[self.v4.find(address)];
        if value == Self::SAME { self.ask_below(|below| below.lookup_v4(address)) } else { value }
    }

    /// As [`Self::lookup`], for an IPv6 address.
    #[inline]
    #[must_use]
    pub fn lookup_v6(&self, address: u128) -> u32 {
        let at = match &self.v6 {
            V6::Networks(steps) => steps.find((address >> 64) as u64),
            V6::Hosts(steps) => steps.find(address),
        };
        let value = self.values[at];
        if value == Self::SAME { self.ask_below(|below| below.lookup_v6(address)) } else { value }
    }

    /// Of older versions alone: the newest one's table is whole.
    #[cold]
    fn ask_below(&self, ask: impl FnOnce(&Self) -> u32) -> u32 {
        self.below.as_deref().map_or(Self::NOTHING, ask)
    }

    /// The same table as what is different from `newest`, which a lookup then goes on to. `None` where that would not be much
    /// less, or where one of them is such a table already. Only values that are `plain` mean the same in both.
    #[must_use]
    pub(super) fn over(&self, newest: &Arc<Self>, plain: impl Fn(u32) -> bool) -> Option<Self> {
        self.layered(newest, plain).filter(|over| over.heap_octets() < self.heap_octets() / 2)
    }

    fn layered(&self, newest: &Arc<Self>, plain: impl Fn(u32) -> bool) -> Option<Self> {
        if !(self.is_whole() && newest.is_whole()) {
            return None;
        }
        let mut values = Values::default();
        let (own, others) = (&self.values[..], &newest.values[..]);
        let v4 = Steps::build(differing(&self.v4, own, &newest.v4, others, &plain), &mut values);
        let v6 = match (&self.v6, &newest.v6) {
            (V6::Networks(old), V6::Networks(new)) => {
                V6::Networks(Steps::build(differing(old, own, new, others, &plain), &mut values))
            }
            (V6::Hosts(old), V6::Hosts(new)) => {
                V6::Hosts(Steps::build(differing(old, own, new, others, &plain), &mut values))
            }
            _ => return None,
        };
        Some(Self { v4, v6, values: values.all, below: Some(Arc::clone(newest)) })
    }

    /// The same table over another one that says what the one below it does.
    #[must_use]
    pub(super) fn above(&self, below: Arc<Self>) -> Self {
        Self { below: Some(below), ..self.clone() }
    }

    /// The table that lookups go on to.
    #[must_use]
    pub(super) fn below(&self) -> Option<&Arc<Self>> {
        self.below.as_ref()
    }

    /// True where no other table is asked.
    #[must_use]
    pub(super) fn is_whole(&self) -> bool {
        self.below.is_none()
    }

    /// How many tables a lookup may go through.
    #[must_use]
    pub(super) fn layers(&self) -> usize {
        core::iter::successors(Some(self), |table| table.below.as_deref()).count()
    }

    /// As [`Self::lookup`], for an address in its usual form.
    #[must_use]
    pub fn lookup_ip(&self, address: IpAddr) -> u32 {
        let (family, address) = Address::from_ip(address);
        self.lookup(family, address)
    }

    /// Heap octets that the table takes, without another one that it asks.
    #[must_use]
    pub fn heap_octets(&self) -> usize {
        let v6 = match &self.v6 {
            V6::Networks(steps) => steps.heap_octets(),
            V6::Hosts(steps) => steps.heap_octets(),
        };
        self.v4.heap_octets() + v6 + size_of::<u32>() * self.values.capacity()
    }
}

impl Default for PrefixTable {
    /// A table without prefixes.
    fn default() -> Self {
        Self::build([])
    }
}

/// The values met so far, by the number that steps name them by.
#[derive(Default)]
struct Values {
    all: Vec<u32>,
    numbers: HashMap<u32, u32>,
}

impl Values {
    fn number(&mut self, value: u32) -> u32 {
        *self.numbers.entry(value).or_insert_with(|| {
            self.all.push(value);
            number(self.all.len() - 1)
        })
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
struct Nested<K> {
    first: K,
    last: K,
    value: u32,
}

/// Disjoint ranges, each as its first address and its value, that cover all addresses up to `greatest`.
fn flatten<K: Number>(mut prefixes: Vec<Nested<K>>, greatest: K) -> Vec<(K, u32)> {
    // Outer prefixes before the inner ones that start at the same address; the sort is stable, so that the last of
    // equal prefixes comes last and wins.
    prefixes.sort_by(|a, b| (a.first, b.last).cmp(&(b.first, a.last)));
    let mut ranges: Vec<(K, u32)> = Vec::with_capacity(prefixes.len() + 1);
    ranges.push((K::ZERO, PrefixTable::NOTHING));
    let mut begin = |first: K, value: u32| {
        if ranges.last().is_some_and(|range| range.0 == first) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|range| range.1 != value) {
            ranges.push((first, value));
        }
    };
    let mut open: Vec<Nested<K>> = Vec::new();
    for prefix in prefixes {
        while let Some(inner) = open.pop_if(|inner| inner.last < prefix.first) {
            let around = open.last().map_or(PrefixTable::NOTHING, |outer| outer.value);
            begin(inner.last.after(1, 0), around);
        }
        begin(prefix.first, prefix.value);
        open.push(prefix);
    }
    while let Some(inner) = open.pop() {
        if inner.last < greatest {
            let around = open.last().map_or(PrefixTable::NOTHING, |outer| outer.value);
            begin(inner.last.after(1, 0), around);
        }
    }
    ranges
}

/// Ranges of an old table, with [`PrefixTable::SAME`] for those over which a new one says the same throughout. So in what is
/// the same both have the same ranges.
fn differing<K: Number>(
    old: &Steps<K>,
    old_values: &[u32],
    new: &Steps<K>,
    new_values: &[u32],
    plain: &impl Fn(u32) -> bool,
) -> Vec<(K, u32)> {
    let mut ranges: Vec<(K, u32)> = Vec::new();
    let mut at = 0;
    for (n, &start) in old.starts.iter().enumerate() {
        let value = old_values[old.find(start)];
        while new.starts.get(at + 1).is_some_and(|next| *next <= start) {
            at += 1;
        }
        let is_within = match (old.starts.get(n + 1), new.starts.get(at + 1)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(old_end), Some(new_end)) => old_end <= new_end,
        };
        let is_same = is_within && plain(value) && new_values[new.find(start)] == value;
        let value = if is_same { PrefixTable::SAME } else { value };
        if ranges.last().is_none_or(|range| range.1 != value) {
            ranges.push((start, value));
        }
    }
    ranges
}

/// An address as a number.
trait Number: Copy + Ord {
    /// The first address.
    const ZERO: Self;
    /// How many whole steps of `2^shift` addresses lie between `base` and `self`, at most `most`. Only for `self` from
    /// `base` on; otherwise some number up to `most`.
    fn steps_from(self, base: Self, shift: u32, most: u32) -> u32;
    /// The address `steps` steps of `2^shift` after this one.
    fn after(self, steps: u32, shift: u32) -> Self;
    /// Bits of the distance from `base` to `self`.
    fn bits_from(self, base: Self) -> u32;
}

macro_rules! numbers {
    ($($type:ty),*) => { $(
        impl Number for $type {
            const ZERO: Self = 0;
            #[inline(always)]
            fn steps_from(self, base: Self, shift: u32, most: u32) -> u32 {
                // The smaller of two numbers of which one has 32 bits has 32 bits.
                #[allow(clippy::cast_possible_truncation, clippy::unnecessary_cast, reason = "see above")]
                { (self.wrapping_sub(base) >> shift).min(Self::from(most)) as u32 }
            }
            fn after(self, steps: u32, shift: u32) -> Self {
                self + (Self::from(steps) << shift)
            }
            fn bits_from(self, base: Self) -> u32 {
                Self::BITS - (self - base).leading_zeros()
            }
        }
    )* };
}
numbers!(u32, u64, u128);

/// Equal steps over the addresses from the first of some ranges on. The last step has no end.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Node<K> {
    /// Where the first step begins.
    base: K,
    /// A step is `2^shift` addresses.
    shift: u8,
    /// Number of the last step.
    last: u32,
    /// Where the node's entries begin: first one for addresses before `base`, then one a step.
    entries: u32,
}

/// The nodes of one address family.
#[derive(Clone, Debug, PartialEq)]
struct Steps<K> {
    /// The first one is where every lookup begins.
    nodes: Vec<Node<K>>,
    /// Numbers of values, or of nodes with [`Self::NODE`].
    entries: Vec<u32>,
    /// Where the ranges begin, for those who ask about a whole network.
    starts: Vec<K>,
}

impl<K: Number> Steps<K> {
    /// In an entry: a node's number follows.
    const NODE: u32 = 1 << 31;

    /// Takes `ranges`, the first of which begins at address 0.
    fn build(mut ranges: Vec<(K, u32)>, values: &mut Values) -> Self {
        for (_, value) in &mut ranges {
            *value = values.number(*value);
        }
        let starts = ranges.iter().map(|range| range.0).collect();
        let mut table = Self { nodes: Vec::new(), entries: Vec::new(), starts };
        // The first range begins at 0: it is what holds before the second one, and no reason to look from 0 on.
        let (below, spanned) = match ranges.as_slice() {
            [(_, only)] => (*only, 0..1),
            [(_, first), ..] => (*first, 1..ranges.len()),
            [] => unreachable!("ranges cover all addresses"),
        };
        let mut work = vec![(spanned, below, None)];
        while let Some((span, below, parent)) = work.pop() {
            if let Some(parent) = parent {
                table.entries[parent] = Self::NODE | number(table.nodes.len());
            }
            table.node(&ranges, span, below, |inner, below, parent| {
                work.push((inner, below, Some(parent)));
            });
        }
        table.nodes.shrink_to_fit();
        table.entries.shrink_to_fit();
        table
    }

    /// Appends a node over `ranges[span]`, where `below` is what holds before them. `more` is told of each step that
    /// needs a node of its own: its ranges, what holds before them, and the entry that is to name it.
    fn node(
        &mut self,
        ranges: &[(K, u32)],
        span: core::ops::Range<usize>,
        below: u32,
        mut more: impl FnMut(core::ops::Range<usize>, u32, usize),
    ) {
        let mut at = span.start;
        let base = ranges[at].0;
        let last_range = ranges[span.end - 1].0;
        // Steps: from once to four times the ranges.
        let wanted = span.len().next_power_of_two().ilog2() + 1;
        let shift = last_range.bits_from(base).saturating_sub(wanted);
        let last = last_range.steps_from(base, shift, u32::MAX);
        let (place, shift_octet) = (number(self.entries.len()), u8::try_from(shift).expect("at most 128"));
        self.nodes.push(Node { base, shift: shift_octet, last, entries: place });
        self.entries.push(below);
        let mut value = below;
        for step in 0..=last {
            let begin = base.after(step, shift);
            if at < span.end && ranges[at].0 == begin {
                value = ranges[at].1;
                at += 1;
            }
            let inner = at..at
                + ranges[at..span.end]
                    .partition_point(|range| step == last || range.0 < base.after(step + 1, shift));
            let entry = self.entries.len();
            self.entries.push(value);
            if !inner.is_empty() {
                more(inner.clone(), value, entry);
                value = ranges[inner.end - 1].1;
                at = inner.end;
            }
        }
    }

    /// The number of the value of `address`.
    #[inline(always)]
    fn find(&self, address: K) -> usize {
        let mut node = &self.nodes[0];
        loop {
            let step = address.steps_from(node.base, u32::from(node.shift), node.last);
            let place = if address < node.base { 0 } else { 1 + step };
            let entry = self.entries[(node.entries + place) as usize];
            if entry & Self::NODE == 0 {
                return entry as usize;
            }
            node = &self.nodes[(entry & !Self::NODE) as usize];
        }
    }

    /// The number of the value of all addresses from `first` to `last`; `None` where they are of several ranges.
    fn find_span(&self, first: K, last: K) -> Option<usize> {
        let range = |address| self.starts.partition_point(|start| *start <= address);
        (range(first) == range(last)).then(|| self.find(first))
    }

    fn heap_octets(&self) -> usize {
        size_of::<Node<K>>() * self.nodes.capacity()
            + size_of::<u32>() * self.entries.capacity()
            + size_of::<K>() * self.starts.capacity()
    }
}

/// A place in a table.
fn number(place: usize) -> u32 {
    u32::try_from(place).ok().filter(|n| n >> 31 == 0).expect("memory holds fewer than 2^29 prefixes")
}

#[cfg(test)]
mod tests;
