//! What part of a domain an options record is about: an interface, a template, and what else it names.
//!
//! All that a record names counts, not only a first one: of (interface 1, template 256) nothing is said of template 257.
//! What records cannot be told by (a VLAN, a line card, a vendor's element, a name) is kept as one number, of which no
//! more is known than whether two are the same.

use super::{OptionSlot, OptionsRow, stated};
use crate::decode::element::OPTION_SLOTS;
use crate::decode::read;
use crate::decode::template::{FieldSpec, VARIABLE};
use crate::flow::{Part, Side, Untold};
use crate::units::IfIndex;

/// Numbers that no record can be told by. The ones with `true` may be 0: there is a slot 0, a port 0 and a VRF 0, but no
/// interface (RFC 2863 wants greater numbers).
const NUMBERS: [(OptionSlot, u16, bool); 12] = [
    (OptionSlot::PhysicalIngress, 252, false),
    (OptionSlot::PhysicalEgress, 253, false),
    (OptionSlot::Port, 142, true),
    (OptionSlot::LineCard, 141, true),
    (OptionSlot::IngressVrf, 234, true),
    (OptionSlot::EgressVrf, 235, true),
    (OptionSlot::Cache, 4, false),
    (OptionSlot::ObservationPoint, 138, true),
    (OptionSlot::MeteringProcess, 143, true),
    (OptionSlot::ExportingProcess, 144, true),
    (OptionSlot::CommonProperties, 137, true),
    (OptionSlot::Vlan, 58, true),
];

/// What a scope may have that is no part of a domain: names and parameters of samplers, the domain, times, and padding.
const NO_PART: [core::ops::RangeInclusive<u16>; 10] = [
    34..=35,
    48..=50,
    149..=149,
    150..=161,
    210..=210,
    301..=302,
    304..=311,
    322..=325,
    390..=390,
    396..=399,
];

/// The system, by scope type of v9: the whole domain.
const SYSTEM: u16 = 1;

/// Fields of a scope that have no place in a row, because nobody knows what they are.
#[derive(Debug)]
pub(super) struct Scope {
    /// All fields up to the last such one, and which are such.
    fields: Box<[(FieldSpec, bool)]>,
}

impl Scope {
    /// The scope of a template, where `places` says which fields have places.
    pub(super) fn new(scope: &[FieldSpec], places: &[Option<usize>; OPTION_SLOTS]) -> Self {
        let unknown = |(at, field): (usize, &FieldSpec)| {
            let is_system = field.is_scope() && field.element == SYSTEM;
            let is_no_part =
                field.enterprise == 0 && NO_PART.iter().any(|range| range.contains(&field.element));
            (*field, !is_system && !is_no_part && !places.contains(&Some(at)) && field.length != 0)
        };
        let all: Vec<_> = scope.iter().enumerate().map(unknown).collect();
        let end = all.iter().rposition(|&(_, is_unknown)| is_unknown).map_or(0, |last| last + 1);
        Self { fields: all[..end].into() }
    }

    /// Octets of memory beside its own.
    pub(super) fn octets_beside(&self) -> usize {
        size_of_val(&*self.fields)
    }

    /// The part that a record is about. A pair of interfaces, or a physical one (which records need not name), is something
    /// that no record can be traced to. Interface 0 is none, and no template has the number 0. An interface with a direction
    /// (element 61) is that side of it, whichever element names it. A direction alone is something else: records that do
    /// not say theirs cannot be traced to it.
    pub(super) fn part(&self, row: &OptionsRow<'_>) -> Part {
        let named = |slot: OptionSlot| Some(row.number(slot as usize)).filter(|&number| number != 0);
        let mut untold = Names::default();
        let direction = stated(row, OptionSlot::Direction as usize);
        let (whole, ingress, egress) =
            (named(OptionSlot::Interface), named(OptionSlot::Ingress), named(OptionSlot::Egress));
        let index = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok()).map(IfIndex);
        let interface = match (whole, ingress, egress) {
            (_, Some(_), Some(_)) => None,
            (Some(_), ..) => index(whole).map(Side::Interface),
            (_, Some(_), _) => index(ingress).map(Side::Ingress),
            _ => index(egress).map(Side::Egress),
        };
        let side = |interface: Side| {
            let (Side::Interface(index) | Side::Ingress(index) | Side::Egress(index)) = interface;
            match direction {
                Some(0) => Side::Ingress(index),
                Some(1) => Side::Egress(index),
                _ => interface,
            }
        };
        for (element, number) in [(2, whole), (10, ingress), (14, egress)] {
            let is_told = match interface {
                Some(Side::Interface(index) | Side::Ingress(index) | Side::Egress(index)) => {
                    number == Some(index.0.into())
                }
                None => false,
            };
            untold.number(element, number.filter(|_| !is_told));
        }
        untold.number(61, direction.filter(|&way| interface.is_none() || way > 1));
        let template = named(OptionSlot::Template);
        let id = template.and_then(|number| u16::try_from(number).ok());
        untold.number(145, template.filter(|_| id.is_none()));
        for (slot, element, may_be_0) in NUMBERS {
            let number = stated(row, slot as usize).filter(|&number| may_be_0 || number != 0);
            untold.number(element, number);
        }
        self.unknown(row.whole(), &mut untold);
        Part { interface: interface.map(side), template: id, untold: untold.all() }
    }

    /// Takes in the fields that nobody knows of the record at the beginning of `data`.
    fn unknown(&self, data: &[u8], into: &mut Names) {
        let mut at = 0;
        for &(field, is_unknown) in &self.fields {
            let mut length = usize::from(field.length);
            if field.length == VARIABLE {
                // The layout has walked over it: it is there.
                length = data.get(at).copied().unwrap_or_default().into();
                at += 1;
                if length == 255 {
                    length = read::u16(data, at).unwrap_or_default().into();
                    at += 2;
                }
            }
            let octets = data.get(at..at + length).unwrap_or_default();
            at += length;
            if is_unknown {
                into.octets(&field, octets);
            }
        }
    }
}

/// What a record names that no record can be told by, as it is taken in.
#[derive(Debug, Default)]
struct Names {
    /// The only one, where it is a number.
    only: Option<Untold>,
    count: u32,
    hash: Hash,
}

impl Names {
    fn number(&mut self, element: u16, number: Option<u64>) {
        let Some(number) = number else { return };
        self.only = Some(Untold { element, number });
        self.take(0, element, &number.to_be_bytes());
    }

    /// A field that nobody knows: a number has the same value in more octets, and a name with zeros behind it.
    fn octets(&mut self, field: &FieldSpec, octets: &[u8]) {
        let &FieldSpec { enterprise, element, length } = field;
        if enterprise == 0 && (1..=8).contains(&length) {
            return self.number(
                element,
                Some(octets.iter().fold(0, |number, &octet| number << 8 | u64::from(octet))),
            );
        }
        self.only = None;
        if length <= 8 {
            let from = octets.iter().position(|&octet| octet != 0).unwrap_or(octets.len());
            return self.take(enterprise, element, &octets[from..]);
        }
        let end = octets.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        self.take(enterprise, element, &octets[..end]);
    }

    fn take(&mut self, enterprise: u32, element: u16, octets: &[u8]) {
        self.count += 1;
        self.hash.take(&enterprise.to_be_bytes());
        self.hash.take(&element.to_be_bytes());
        self.hash.take(&(octets.len() as u64).to_be_bytes());
        self.hash.take(octets);
    }

    fn all(self) -> Option<Untold> {
        match self.count {
            0 => None,
            1 if self.only.is_some() => self.only,
            _ => Some(Untold { element: 0, number: self.hash.0 }),
        }
    }
}

/// FNV-1a. It is part of checkpoints, so it has to be the same in every version.
#[derive(Debug)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn take(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.0 = (self.0 ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
