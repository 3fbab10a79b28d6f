//! Where the wanted fields of a record lie. A template is turned into a layout once; after that a field is one
//! eight-octet load and a shift, and fields that nobody wants cost nothing.
//!
//! Records with variable-length fields (RFC 7011 7) have no fixed layout: each is walked once, which fills in the
//! same table of places.

use super::template::{FieldSpec, VARIABLE};

/// Where a field lies in a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    at: u16,
    /// Octets; 255 where there are more.
    len: u8,
    /// What to shift an eight-octet load by; 64 for a field that is absent or no number, which so reads as 0.
    shift: u8,
}

impl Field {
    const ABSENT: Self = Self { at: 0, len: 0, shift: 64 };

    /// A field of `len` octets at `at`; absent where it has none.
    fn new(at: usize, len: usize) -> Self {
        match (u16::try_from(at), u8::try_from(len).unwrap_or(u8::MAX)) {
            (Ok(at), len @ 1..=8) => Self { at, len, shift: 64 - 8 * len },
            (Ok(at), len @ 9..) => Self { at, len, shift: 64 },
            _ => Self::ABSENT,
        }
    }
}

/// One step of the walk over a record with variable-length fields.
#[derive(Clone, Copy, Debug)]
struct Step {
    length: u16,
    /// The place to fill, or [`NOWHERE`].
    slot: u8,
    /// The only number of octets with which a field of variable length fills it; 0 where any does.
    exact: u8,
}

const NOWHERE: u8 = u8::MAX;

/// The layout of a template's records, for `N` places.
#[derive(Debug)]
pub(super) struct Layout<const N: usize> {
    fields: [Field; N],
    /// Octets of a record; with variable-length fields, the least it can have.
    length: usize,
    steps: Option<Box<[Step]>>,
}

/// One record, to be read through the places of its layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a, const N: usize> {
    /// From the record's first octet to the end of the datagram (or the held set): loads may touch octets behind the
    /// record, never behind this.
    data: &'a [u8],
    fields: &'a [Field; N],
}

impl<const N: usize> Layout<N> {
    /// The layout of `fields`, where `places` says which field fills which place.
    pub(super) fn new(fields: &[FieldSpec], places: &[Option<usize>; N]) -> Self {
        let slot_of = |index: usize| {
            let slot = places.iter().position(|&place| place == Some(index));
            slot.map_or(NOWHERE, |slot| u8::try_from(slot).expect("fewer than 255 places"))
        };
        let variable = fields.iter().any(|field| field.length == VARIABLE);
        let mut layout = Self { fields: [Field::ABSENT; N], length: 0, steps: None };
        for (index, field) in fields.iter().enumerate() {
            let length = if field.length == VARIABLE { 1 } else { usize::from(field.length) };
            if !variable && slot_of(index) != NOWHERE {
                layout.fields[usize::from(slot_of(index))] = Field::new(layout.length, length);
            }
            layout.length += length;
        }
        if variable {
            let step = |(index, field): (usize, &FieldSpec)| Step {
                length: field.length,
                slot: slot_of(index),
                exact: 0,
            };
            layout.steps = Some(fields.iter().enumerate().map(step).collect());
        }
        layout
    }

    /// Of a field of variable length, only `octets` octets fill the place `slot`: a record with others has none.
    pub(super) fn require(&mut self, slot: usize, octets: u8) {
        let steps = self.steps.iter_mut().flat_map(|steps| steps.iter_mut());
        for step in steps.filter(|step| usize::from(step.slot) == slot && step.length == VARIABLE) {
            step.exact = octets;
        }
    }

    /// Octets of a record, or the least it can have.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// Octets of memory beside its own.
    pub(super) fn octets_beside(&self) -> usize {
        self.steps.as_ref().map_or(0, |steps| size_of_val(&**steps))
    }

    /// True where every record has the same layout.
    pub(super) const fn is_fixed(&self) -> bool {
        self.steps.is_none()
    }

    /// Where the field at place `slot` of a fixed layout begins, and its octets (255 where there are more); `None` where
    /// records have none.
    #[inline]
    pub(super) fn place(&self, slot: usize) -> Option<(usize, usize)> {
        let Field { at, len, .. } = self.fields[slot];
        (len > 0).then_some((usize::from(at), usize::from(len)))
    }

    /// The record at `base` of a fixed layout. The caller knows that it lies within `data`.
    #[inline]
    pub(super) fn row<'a>(&'a self, data: &'a [u8], base: usize) -> Row<'a, N> {
        Row { data: &data[base..], fields: &self.fields }
    }

    /// Walks the record at `base`, which ends at `end` at the latest, and fills `found` with its places.
    /// Returns the end of the record; `None` where it is cut off.
    pub(super) fn walk(&self, data: &[u8], base: usize, end: usize, found: &mut Places<N>) -> Option<usize> {
        let Some(steps) = &self.steps else {
            found.0 = self.fields;
            return base.checked_add(self.length).filter(|&next| next <= end);
        };
        let data = &data[..end];
        found.0 = [Field::ABSENT; N];
        let mut at = base;
        for step in steps {
            let mut length = usize::from(step.length);
            if step.length == VARIABLE {
                length = usize::from(*data.get(at)?);
                at += 1;
                if length == 255 {
                    length = usize::from(super::read::u16(data, at)?);
                    at += 2;
                }
            }
            if at + length > end {
                return None;
            }
            if step.slot != NOWHERE && (step.exact == 0 || usize::from(step.exact) == length) {
                found.0[usize::from(step.slot)] = Field::new(at - base, length);
            }
            at += length;
        }
        Some(at)
    }
}

/// The places of one walked record; reused from record to record.
#[derive(Debug)]
pub(super) struct Places<const N: usize>([Field; N]);

impl<const N: usize> Places<N> {
    pub(super) const fn new() -> Self {
        Self([Field::ABSENT; N])
    }

    pub(super) fn row<'a>(&'a self, data: &'a [u8], base: usize) -> Row<'a, N> {
        Row { data: &data[base..], fields: &self.0 }
    }
}

impl<const N: usize> Row<'_, N> {
    /// The number at place `slot`; 0 where the record has none.
    #[inline(always)]
    pub(super) fn number(&self, slot: usize) -> u64 {
        let field = self.fields[slot];
        let at = usize::from(field.at);
        match self.data.get(at..at + 8).and_then(|word| word.first_chunk::<8>()) {
            Some(word) => u64::from_be_bytes(*word).checked_shr(u32::from(field.shift)).unwrap_or(0),
            None => self.number_at_the_end(field),
        }
    }

    /// The same, within the last seven octets of the data.
    #[cold]
    fn number_at_the_end(&self, field: Field) -> u64 {
        if field.len > 8 {
            return 0;
        }
        let at = usize::from(field.at);
        let octets = self.data.get(at..at + usize::from(field.len)).unwrap_or_default();
        octets.iter().fold(0, |number, &octet| number << 8 | u64::from(octet))
    }

    /// The 16 octets at place `slot`; 0 where the record has none.
    #[inline]
    pub(super) fn wide(&self, slot: usize) -> u128 {
        let field = self.fields[slot];
        let at = usize::from(field.at);
        match self.data.get(at..at + 16).and_then(|word| word.first_chunk::<16>()) {
            Some(word) if field.len == 16 => u128::from_be_bytes(*word),
            _ => 0,
        }
    }

    /// The octets at place `slot`, the first 255 at most; none where the record has none.
    pub(super) fn octets(&self, slot: usize) -> &[u8] {
        let Field { at, len, .. } = self.fields[slot];
        let at = usize::from(at);
        self.data.get(at..at + usize::from(len)).unwrap_or_default()
    }

    /// From the record's first octet on, and what follows it.
    pub(super) fn whole(&self) -> &[u8] {
        self.data
    }

    /// Octets of the field at place `slot`, 255 where it has more; 0 where the record has none.
    #[inline]
    pub(super) fn len(&self, slot: usize) -> u8 {
        self.fields[slot].len
    }
}
