//! The object tree: every object the agent serves, in the order of object identifiers.
//!
//! A leaf is a scalar or a column of a table. Rows ascend by index, which is one integer for most tables, so an
//! instance is found by two binary searches, one over leaves and one over rows, whatever the size of the tables. What
//! the asker's view does not hold is not there.
//! The type of an object follows from its getter, so that the two cannot disagree.
//!
//! What the MIB module says and what stands here are compared, object by object, by a test.

use std::borrow::Cow;

use super::access::Cover;
use super::snapshot::View;

/// A value with its SMIv2 type (RFC 2578, section 7.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Value {
    /// `Counter32`.
    Counter32(u32),
    /// `Counter64`; SNMPv1 cannot carry it.
    Counter64(u64),
    /// `Gauge32`, which is `Unsigned32` on the wire.
    Gauge32(u32),
    /// `INTEGER`.
    Integer(i32),
    /// `OBJECT IDENTIFIER`.
    ObjectId(Cow<'static, [u32]>),
    /// `OCTET STRING`.
    Octets(Vec<u8>),
    /// `TimeTicks`.
    TimeTicks(u32),
}

/// The type of a [`Value`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `Counter32`.
    Counter32,
    /// `Counter64`.
    Counter64,
    /// `Gauge32` and `Unsigned32`.
    Gauge32,
    /// `INTEGER`.
    Integer,
    /// `OBJECT IDENTIFIER`.
    ObjectId,
    /// `OCTET STRING`.
    Octets,
    /// `TimeTicks`.
    TimeTicks,
}

/// Reads one object of one row; the row is a position in the table, 0 for scalars.
#[derive(Clone, Copy, Debug)]
pub(super) enum Get {
    Counter32(fn(&View<'_>, usize) -> u32),
    Counter64(fn(&View<'_>, usize) -> u64),
    /// `FluxGauge64`: a Counter64 on the wire, for want of such a type.
    Gauge64(fn(&View<'_>, usize) -> u64),
    /// Latches at 2^32-1 (RFC 2578, 7.1.7).
    Gauge32(fn(&View<'_>, usize) -> u64),
    Integer(fn(&View<'_>, usize) -> i32),
    ObjectId(fn(&View<'_>, usize) -> Cow<'static, [u32]>),
    Octets(fn(&View<'_>, usize) -> Vec<u8>),
    /// UTF-8 of at most 255 octets; longer texts are cut between characters.
    Text(for<'a> fn(&'a View<'_>, usize) -> Cow<'a, str>),
    TimeTicks(fn(&View<'_>, usize) -> u32),
}

impl Get {
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Counter32(_) => Kind::Counter32,
            Self::Counter64(_) | Self::Gauge64(_) => Kind::Counter64,
            Self::Gauge32(_) => Kind::Gauge32,
            Self::Integer(_) => Kind::Integer,
            Self::ObjectId(_) => Kind::ObjectId,
            Self::Octets(_) | Self::Text(_) => Kind::Octets,
            Self::TimeTicks(_) => Kind::TimeTicks,
        }
    }

    /// Whether it only goes up.
    pub(super) const fn is_counter(self) -> bool {
        matches!(self, Self::Counter32(_) | Self::Counter64(_))
    }

    fn read(self, view: &View<'_>, row: usize) -> Value {
        match self {
            Self::Counter32(get) => Value::Counter32(get(view, row)),
            Self::Counter64(get) | Self::Gauge64(get) => Value::Counter64(get(view, row)),
            Self::Gauge32(get) => Value::Gauge32(u32::try_from(get(view, row)).unwrap_or(u32::MAX)),
            Self::Integer(get) => Value::Integer(get(view, row)),
            Self::ObjectId(get) => Value::ObjectId(get(view, row)),
            Self::Octets(get) => Value::Octets(get(view, row)),
            Self::Text(get) => Value::Octets(cut(&get(view, row), 255).as_bytes().to_vec()),
            Self::TimeTicks(get) => Value::TimeTicks(get(view, row)),
        }
    }
}

/// Which rows an object has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rows {
    /// One instance, `.0`.
    Scalar,
    Allowances,
    Application,
    Contention,
    Customers,
    Exporters,
    History,
    Links,
    Periods,
    Polled,
    Processors,
    Reconciled,
    Resources,
    Samplers,
    Tariffs,
    TemplateFields,
    Templates,
    Transports,
    UsmUsers,
    VacmAccesses,
    VacmContexts,
    VacmFamilies,
    VacmGroups,
}

/// One object under its parent: the last sub-identifier, the descriptor in the MIB, the getter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) get: Get,
}

macro_rules! constructors {
    ($($name:ident = $variant:ident($get:ty);)*) => {
        $(
            pub(super) const fn $name(number: u32, name: &'static str, get: $get) -> Object {
                Object { number, name, get: Get::$variant(get) }
            }
        )*
    };
}

constructors! {
    counter32 = Counter32(fn(&View<'_>, usize) -> u32);
    counter64 = Counter64(fn(&View<'_>, usize) -> u64);
    gauge64 = Gauge64(fn(&View<'_>, usize) -> u64);
    gauge32 = Gauge32(fn(&View<'_>, usize) -> u64);
    integer = Integer(fn(&View<'_>, usize) -> i32);
    object_id = ObjectId(fn(&View<'_>, usize) -> Cow<'static, [u32]>);
    octets = Octets(fn(&View<'_>, usize) -> Vec<u8>);
    text = Text(for<'a> fn(&'a View<'_>, usize) -> Cow<'a, str>);
    time_ticks = TimeTicks(fn(&View<'_>, usize) -> u32);
}

/// Objects with the same parent and the same rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch {
    /// The parent: a node for scalars, the row object (`...Entry`) for columns.
    pub(super) parent: &'static [&'static [u32]],
    pub(super) rows: Rows,
    pub(super) objects: &'static [Object],
}

#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) oid: Vec<u32>,
    pub(super) name: &'static str,
    pub(super) rows: Rows,
    pub(super) get: Get,
}

/// What a GET finds (RFC 3416, section 4.2.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Found {
    Value(Value),
    NoSuchObject,
    NoSuchInstance,
}

/// All objects, ascending; none lies under another.
#[derive(Debug)]
pub(super) struct Tree {
    leaves: Vec<Leaf>,
}

impl Tree {
    pub(super) fn new(branches: &[&[Branch]]) -> Self {
        let mut leaves = Vec::new();
        for branch in branches.iter().copied().flatten() {
            for object in branch.objects {
                let mut oid = branch.parent.concat();
                oid.push(object.number);
                leaves.push(Leaf { oid, name: object.name, rows: branch.rows, get: object.get });
            }
        }
        leaves.sort_by(|a, b| a.oid.cmp(&b.oid));
        Self { leaves }
    }

    /// All objects.
    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The object called `name`.
    pub(super) fn named(&self, name: &str) -> Option<&Leaf> {
        self.leaves.iter().find(|leaf| leaf.name == name)
    }

    pub(super) fn get(&self, view: &View<'_>, oid: &[u32]) -> Found {
        let after = self.leaves.partition_point(|leaf| leaf.oid.as_slice() <= oid);
        let Some((place, leaf, instance)) = self.owner(after, oid) else { return Found::NoSuchObject };
        match view.scope.cover(place) {
            Cover::None => return Found::NoSuchObject,
            Cover::Part if !view.scope.allows(oid) => return Found::NoSuchInstance,
            Cover::Part | Cover::Whole => {}
        }
        match view.row_at(leaf.rows, instance) {
            Some(row) => Found::Value(leaf.get.read(view, row)),
            None => Found::NoSuchInstance,
        }
    }

    /// The first instance after `oid` that is in the view. `counter64` is false where the protocol cannot carry that
    /// type: such objects are passed over (RFC 3584, section 4.2.2.1).
    pub(super) fn next(&self, view: &View<'_>, oid: &[u32], counter64: bool) -> Option<(Vec<u32>, Value)> {
        let served = |leaf: &Leaf| counter64 || leaf.get.kind() != Kind::Counter64;
        let after = self.leaves.partition_point(|leaf| leaf.oid.as_slice() <= oid);
        if let Some((place, leaf, instance)) = self.owner(after, oid)
            && served(leaf)
            && let Some(found) = Self::instance(view, place, leaf, view.row_after(leaf.rows, Some(instance)))
        {
            return Some(found);
        }
        let rest = self.leaves.iter().enumerate().skip(after).filter(|(_, leaf)| served(leaf));
        rest.into_iter().find_map(|(place, leaf)| {
            view.look();
            Self::instance(view, place, leaf, view.row_after(leaf.rows, None))
        })
    }

    /// The leaf that `oid` lies in with its position, and what follows the leaf's own identifier.
    fn owner<'a>(&self, after: usize, oid: &'a [u32]) -> Option<(usize, &Leaf, &'a [u32])> {
        let place = after.checked_sub(1)?;
        let leaf = &self.leaves[place];
        Some((place, leaf, oid.strip_prefix(leaf.oid.as_slice())?))
    }

    /// The first instance that is in the view, from a row on.
    fn instance(
        view: &View<'_>,
        place: usize,
        leaf: &Leaf,
        from: Option<usize>,
    ) -> Option<(Vec<u32>, Value)> {
        let cover = view.scope.cover(place);
        if cover == Cover::None {
            return None;
        }
        let mut oid = Vec::with_capacity(leaf.oid.len() + 4);
        oid.extend_from_slice(&leaf.oid);
        let mut row = from?;
        loop {
            view.look();
            oid.truncate(leaf.oid.len());
            view.push_index(leaf.rows, row, &mut oid);
            if cover == Cover::Whole || view.scope.allows(&oid) {
                return Some((oid, leaf.get.read(view, row)));
            }
            // Rows that the view does not have are passed over at once, however many there are.
            let index = view.scope.resumes(&oid)?.strip_prefix(leaf.oid.as_slice())?;
            let there = || view.row_after(leaf.rows, Some(index));
            row = view.row_at(leaf.rows, index).or_else(there)?;
        }
    }
}

/// The longest beginning of `text` of at most `length` octets that ends between characters.
fn cut(text: &str, length: usize) -> &str {
    if text.len() <= length {
        return text;
    }
    let end = (0..=length).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}
