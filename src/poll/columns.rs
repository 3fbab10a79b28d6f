//! The objects that are asked for, and walks over columns of a table.
//!
//! A walk asks for the next rows of all its columns at once. Each column goes on by itself: tables that extend others may
//! lack rows, an agent may cut its answer short anywhere, and some put rows out of order, which ends a column rather
//! than going round for ever.

use std::collections::BTreeMap;

use super::counter::{Counter, Direction, Reading};
use crate::ledger::records::interfaces::Interface;
use crate::units::{IfIndex, UnixMillis};

/// The value of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Value {
    /// Counter32.
    Counter32(u32),
    /// Counter64.
    Counter64(u64),
    /// INTEGER, Gauge32, TimeTicks.
    Number(i64),
    /// OCTET STRING.
    Text(Vec<u8>),
    /// There is no such object, no such instance, or the view ends.
    Absent,
    /// Anything else.
    Other,
}

impl Value {
    /// As a number that is not negative.
    pub(super) fn number(&self) -> Option<u64> {
        match *self {
            Self::Counter32(n) => Some(n.into()),
            Self::Counter64(n) => Some(n),
            Self::Number(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    fn ticks(&self) -> Option<u32> {
        self.number().and_then(|n| u32::try_from(n).ok())
    }

    fn counter(&self) -> Option<Counter> {
        match *self {
            Self::Counter32(n) => Some(Counter::Bits32(n)),
            Self::Counter64(n) => Some(Counter::Bits64(n)),
            _ => None,
        }
    }

    /// As text that can be printed; what is not UTF-8 is taken for Latin-1, as old routers mean it.
    pub(super) fn text(&self) -> Option<String> {
        let Self::Text(octets) = self else { return None };
        let text = match core::str::from_utf8(octets) {
            Ok(text) => text.to_owned(),
            Err(_) => octets.iter().map(|&octet| char::from(octet)).collect(),
        };
        // Some pad with zero octets. A name of any length could be sent.
        let plain = text.trim_end_matches('\0').chars().filter(|c| !c.is_control());
        Some(plain.take(TEXT_CHARS_MAX).collect())
    }
}

/// Longest name, description and alias (RFC 2863 has at most 255 octets).
const TEXT_CHARS_MAX: usize = 255;

/// An object identifier.
pub(super) type Oid = Vec<u32>;

/// `sysUpTime.0`.
pub(super) const UPTIME: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 3, 0];
/// `ifTableLastChange.0`.
pub(super) const TABLE_LAST_CHANGE: &[u32] = &[1, 3, 6, 1, 2, 1, 31, 1, 5, 0];
/// `ifTable`'s rows.
const IF_ENTRY: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1];
/// `ifXTable`'s rows.
const IF_X_ENTRY: &[u32] = &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1];

fn column(entry: &[u32], number: u32) -> Oid {
    [entry, &[number]].concat()
}

/// Columns of a walk for names: `ifName ifAlias ifHighSpeed ifDescr ifType ifSpeed`.
pub(super) fn names() -> Vec<Oid> {
    [1, 18, 15]
        .map(|n| column(IF_X_ENTRY, n))
        .into_iter()
        .chain([2, 3, 5].map(|n| column(IF_ENTRY, n)))
        .collect()
}

/// Interfaces from the rows of a walk over [`names`].
pub(super) fn interfaces(rows: &BTreeMap<Oid, Vec<Option<Value>>>) -> Vec<Interface> {
    let row = |(index, values): (&Oid, &Vec<Option<Value>>)| {
        let [ifindex] = index[..] else { return None };
        let at = |n: usize| values.get(n).and_then(Option::as_ref);
        let text = |n| at(n).and_then(Value::text).unwrap_or_default();
        let number = |n| at(n).and_then(Value::number);
        let description = text(3);
        let name = Some(text(0)).filter(|name| !name.is_empty()).unwrap_or_else(|| description.clone());
        // ifSpeed stops at its greatest value; ifHighSpeed is 0 for what is slower than half a million.
        let high = number(2).filter(|&mega| mega > 0).map(|mega| mega.saturating_mul(1_000_000));
        let low = number(5).filter(|&speed| speed < u64::from(u32::MAX));
        Some(Interface {
            ifindex: IfIndex(ifindex),
            name,
            description,
            alias: text(1),
            speed: high.or(low).unwrap_or(0),
            kind: number(4).and_then(|kind| u32::try_from(kind).ok()).unwrap_or(0),
        })
    };
    rows.iter().filter_map(row).filter(|interface| interface.ifindex != IfIndex(0)).collect()
}

/// Columns of one direction's 64-bit octets and packets, received and sent, and the discontinuity time, in `ifXTable`.
const HIGH: [u32; 9] = [6, 7, 8, 9, 10, 11, 12, 13, 19];
/// The same, as far as `ifTable` has it in 32 bits: octets and unicast packets.
const LOW: [u32; 4] = [10, 11, 16, 17];

/// Interfaces in one request for 64-bit counters: about 40 objects, of which any agent's datagram has room.
pub(super) const AT_ONCE: usize = 4;

/// The objects of a request for the counters of some interfaces, the uptime first.
pub(super) fn counters(interfaces: &[IfIndex], is_low: bool) -> Vec<Oid> {
    let (entry, columns): (_, &[u32]) = if is_low { (IF_ENTRY, &LOW) } else { (IF_X_ENTRY, &HIGH) };
    let of = |ifindex: &IfIndex| {
        let ifindex = ifindex.0;
        columns.iter().map(move |&number| [entry, &[number, ifindex]].concat())
    };
    core::iter::once(UPTIME.to_vec()).chain(interfaces.iter().flat_map(of)).collect()
}

/// The answer to a request, by object.
pub(super) type Answer = BTreeMap<Oid, Value>;

/// The uptime in an answer. There is no agent without one; what has another type is no answer.
pub(super) fn uptime(answer: &Answer) -> Option<u32> {
    answer.get(UPTIME).and_then(Value::ticks)
}

/// `ifTableLastChange` in an answer.
pub(super) fn table_last_change(answer: &Answer) -> Option<u32> {
    answer.get(TABLE_LAST_CHANGE).and_then(Value::ticks)
}

/// A reading from the answer to [`counters`]. `None` where the agent has no octets of the interface in this width.
pub(super) fn reading(
    answer: &Answer,
    interface: &Interface,
    at: UnixMillis,
    uptime: u32,
    is_low: bool,
) -> Option<Reading> {
    let value = |entry: &[u32], number: u32| answer.get(&[entry, &[number, interface.ifindex.0]].concat());
    let counter = |entry, number| value(entry, number).and_then(Value::counter);
    let (inward, outward) = if is_low {
        let direction = |first| Direction {
            octets: counter(IF_ENTRY, first),
            packets: [counter(IF_ENTRY, first + 1), None, None],
        };
        (direction(10), direction(16))
    } else {
        let direction = |first| Direction {
            octets: counter(IF_X_ENTRY, first),
            packets: [1, 2, 3].map(|kind| counter(IF_X_ENTRY, first + kind)),
        };
        (direction(6), direction(10))
    };
    inward.octets.and(outward.octets)?;
    let discontinuity = value(IF_X_ENTRY, 19).and_then(Value::ticks);
    Some(Reading { at, uptime, discontinuity, speed: interface.speed, inward, outward })
}

/// A walk over columns.
#[derive(Debug)]
pub(super) struct Walk {
    columns: Vec<Column>,
    /// What was found: by row, a place for each column.
    pub(super) rows: BTreeMap<Oid, Vec<Option<Value>>>,
    rows_max: usize,
    /// There are more rows than that.
    pub(super) truncated: bool,
}

#[derive(Debug)]
struct Column {
    prefix: Oid,
    /// The last object of it.
    at: Oid,
    done: bool,
}

impl Walk {
    /// A walk over columns, of at most so many rows.
    #[must_use]
    pub(super) fn new(columns: Vec<Oid>, rows_max: usize) -> Self {
        let columns =
            columns.into_iter().map(|prefix| Column { at: prefix.clone(), prefix, done: false }).collect();
        Self { columns, rows: BTreeMap::new(), rows_max, truncated: false }
    }

    /// What to ask for next, an object for each column that goes on; nothing at the end.
    #[must_use]
    pub(super) fn request(&self) -> Vec<Oid> {
        self.columns.iter().filter(|column| !column.done).map(|column| column.at.clone()).collect()
    }

    /// Takes the answer to [`Self::request`].
    pub(super) fn take(&mut self, answer: Vec<(Oid, Value)>) {
        let open: Vec<usize> = (0..self.columns.len()).filter(|&n| !self.columns[n].done).collect();
        let mut went_on = vec![false; self.columns.len()];
        let answered = answer.len().min(open.len());
        let width = self.columns.len();
        for (oid, value) in answer {
            let is_of = |&&n: &&usize| oid.starts_with(&self.columns[n].prefix);
            let Some(&n) = open.iter().find(is_of) else { continue };
            let column = &mut self.columns[n];
            if value == Value::Absent || oid <= column.at {
                continue;
            }
            let row = oid[column.prefix.len()..].to_vec();
            column.at = oid;
            went_on[n] = true;
            if self.rows.len() >= self.rows_max && !self.rows.contains_key(&row) {
                self.truncated = true;
                column.done = true;
                continue;
            }
            self.rows.entry(row).or_insert_with(|| vec![None; width])[n] = Some(value);
        }
        // Of a column that the agent had no room for nothing is known yet; but it has room for the first.
        for &n in &open[..answered.max(1).min(open.len())] {
            self.columns[n].done |= !went_on[n];
        }
    }
}
