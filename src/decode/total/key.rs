//! What makes a flow the same flow.
//!
//! A flow is defined by its keys (RFC 7011 2), but records do not say which of their fields these are. So all of them are
//! looked at, in three kinds:
//! - *firm* ones are what exporters use as keys and what does not change while a flow lasts: addresses, ports, VLAN, VRF,
//!   input interface, labels of segments, ... Records that differ in one of them are of different flows;
//! - of *details* nobody can tell: next hops, AS numbers and applications may be keys, or be found out while the flow
//!   goes on; so may whatever an enterprise has elements for; and two templates of the same fields may be two observation
//!   points, or one that was announced anew under another number. Where details differ the totals decide (see
//!   [`super::Totals`]);
//! - counters, times, and what else changes with every packet, tell nothing.
//!
//! In records without addresses and flow id, which are of aggregates, firm is also what these are aggregated by.
//!
//! The firm fields go by their elements, whatever the order and width in which a template has them, and a VLAN, VRF or segment
//! of 0 is none: an exporter may tell of one flow by several templates. They are kept as 128 bits of SHA-256: what two flows
//! have in common by chance or by design of those who sent the packets must not make them one. The details are kept as a CRC-32: where it hides a difference, the firm fields are
//! the same all the same. Both are part of checkpoints, so neither has a random seed.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decode::element::REVERSE;
use crate::decode::template::{FieldSpec, VARIABLE};
use crate::units::UnixMillis;

/// The firm elements of IANA's registry.
const FIRM: &[u16] = &[
    // Protocol, type of service, ports, ICMP types and codes, flow label.
    4, 5, 7, 11, 31, 32, 139, 176, 177, 178, 179, 180, 181, 182, 183, 195,
    // Addresses and prefixes, MAC addresses, flow id.
    8, 12, 27, 28, 44, 45, 169, 170, 56, 80, 148, //
    // Input interfaces, VLANs, VRF, EtherType, segment (VNI), IP version, side of the observation.
    10, 252, 58, 243, 245, 234, 236, 256, 351, 60, 61, //
    // Where it was observed, behind a mediator too.
    130, 131, 138, 141, 142, 143, 144, 149,
];

/// Those that are firm in records of aggregates: prefix lengths, output interfaces, AS numbers, next hops, outer and
/// rewritten layer-2 fields, MPLS labels, output VRF, application.
const AGGREGATED_BY: &[u16] = &[
    9, 13, 29, 30, 14, 253, 16, 17, 128, 129, 15, 18, 62, 63, 46, 47, 140, 57, 81, 59, 254, 255, 70, 71, 72,
    73, 74, 75, 76, 77, 78, 79, 94, 95, 96, 235,
];

/// Those of which 0 says that there is none: VLANs, VRF, segment.
const NONE_IF_0: &[u16] = &[58, 243, 245, 234, 351];

/// So many firm fields a template may have; what it has beyond are details. More than there are elements of either kind.
const FIRM_LIMIT: usize = 96;

/// An address of a host or the id of a flow: records with one of these are of flows, not of aggregates.
const OF_FLOWS: &[u16] = &[8, 12, 27, 28, 148];

/// True for elements that tell nothing of a flow's identity, of IANA's registry or their reverse (RFC 5103): counters,
/// flags, lengths, times to live, end reasons and events, times, sequence numbers, sections of packets.
const fn changes(element: u16) -> bool {
    matches!(
        element,
        1..=3
            | 6
            | 19..=26
            | 40..=42
            | 52
            | 53
            | 85
            | 86
            | 102..=104
            | 132..=136
            | 150..=168
            | 171
            | 172
            | 174
            | 175
            | 184..=192
            | 194
            | 197..=202
            | 204
            | 205
            | 208..=210
            | 218..=224
            | 231..=233
            | 258
            | 298
            | 299
            | 312..=317
            | 322..=325
            | 352..=360
            | 409
            | 410
            | 416..=431
            | 433
            | 40005
    )
}

/// What a field tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Nothing,
    Firm,
    Detail,
}

impl Kind {
    fn of(field: FieldSpec, is_aggregate: bool) -> Self {
        match field.enterprise {
            0 | REVERSE if changes(field.element) => Self::Nothing,
            0 if FIRM.contains(&field.element) => Self::Firm,
            0 if is_aggregate && AGGREGATED_BY.contains(&field.element) => Self::Firm,
            _ => Self::Detail,
        }
    }
}

/// A firm field of a record, or others that stand together and are of one kind: so many octets, or one of variable length.
#[derive(Clone, Copy, Debug)]
struct Step {
    length: u16,
    kind: Kind,
    /// Where a firm field comes, by their elements, and its element.
    firm: (u16, u16),
}

/// Which fields of a template tell its flows apart.
#[derive(Debug)]
pub(in crate::decode) struct Keys {
    steps: Box<[Step]>,
    /// How many of them are firm.
    firm: usize,
}

impl Keys {
    /// Octets of memory beside its own.
    pub(in crate::decode) const fn octets_beside(&self) -> usize {
        size_of_val(&*self.steps)
    }
}

/// A flow of an exporter, as far as its records tell.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(in crate::decode) struct Key {
    firm: [u8; 16],
    /// The details, for one of several flows that differ in nothing else.
    detail: Option<u32>,
}

impl Key {
    /// The key of the flow with these details, where there are several.
    pub(super) fn with(self, detail: u32) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// The key of a second flow, where nothing but their totals tells two apart.
    pub(super) fn second(self) -> Self {
        self.with(!self.detail.unwrap_or_default())
    }

    /// The key of the flow that began then, where there are several.
    pub(super) fn begun(self, start: UnixMillis) -> Self {
        let mixed = start.0.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.with(u32::try_from(mixed).expect("32 bits are left"))
    }
}

impl Keys {
    pub(in crate::decode) fn compile(fields: &[FieldSpec]) -> Self {
        let is_aggregate =
            !fields.iter().any(|field| field.enterprise == 0 && OF_FLOWS.contains(&field.element));
        let mut steps: Vec<Step> = Vec::with_capacity(fields.len());
        let mut firm = 0;
        for &field in fields {
            let mut step =
                Step { length: field.length, kind: Kind::of(field, is_aggregate), firm: (0, field.element) };
            if step.kind == Kind::Firm {
                if firm == FIRM_LIMIT {
                    step.kind = Kind::Detail;
                } else {
                    firm += 1;
                }
            }
            match steps.last_mut() {
                Some(last)
                    if step.kind != Kind::Firm
                        && last.kind == step.kind
                        && last.length < VARIABLE - step.length
                        && step.length != VARIABLE =>
                {
                    last.length += step.length;
                }
                _ => steps.push(step),
            }
        }
        let mut by_element: Vec<&mut Step> =
            steps.iter_mut().filter(|step| step.kind == Kind::Firm).collect();
        by_element.sort_by_key(|step| step.firm.1);
        for (place, step) in (0..).zip(by_element) {
            step.firm.0 = place;
        }
        Self { steps: steps.into(), firm }
    }

    /// The key of the flow of a record, and its details. `source`: protocol version, observation domain, and whether it is
    /// of the reverse direction. `template`: the id of its template. `record` begins with the record.
    pub(in crate::decode) fn key(
        &self,
        (version, domain, is_reverse): (u16, u32, bool),
        template: u16,
        record: &[u8],
    ) -> (Key, u32) {
        let mut fields: [(u16, &[u8]); FIRM_LIMIT] = [(0, &[]); FIRM_LIMIT];
        let mut firm = Sha256::new();
        firm.update(version.to_be_bytes());
        firm.update(domain.to_be_bytes());
        firm.update([u8::from(is_reverse)]);
        let mut detail = crc32fast::Hasher::new();
        detail.update(&template.to_be_bytes());
        let mut at = 0;
        for step in &self.steps {
            let begin = at;
            let mut length = usize::from(step.length);
            if step.length == VARIABLE {
                length = usize::from(record.get(at).copied().unwrap_or_default());
                at += 1;
                if length == 255 {
                    length = usize::from(crate::decode::read::u16(record, at).unwrap_or_default());
                    at += 2;
                }
            }
            at += length;
            let octets = record.get(begin..at).unwrap_or_default();
            match step.kind {
                Kind::Nothing => {}
                Kind::Firm => {
                    let (place, element) = step.firm;
                    if let Some(field) = fields.get_mut(usize::from(place)) {
                        *field = (element, significant(octets));
                    }
                }
                Kind::Detail => detail.update(octets),
            }
        }
        for (element, octets) in fields.iter().take(self.firm) {
            if octets.is_empty() && NONE_IF_0.contains(element) {
                continue;
            }
            // With its length, so that no two records come to the same octets.
            firm.update(element.to_be_bytes());
            firm.update((octets.len() as u64).to_be_bytes());
            firm.update(octets);
        }
        (Key { firm: half(firm), detail: None }, detail.finalize())
    }
}

/// A number without the zeros that lead it.
fn significant(octets: &[u8]) -> &[u8] {
    let zeros = octets.iter().take_while(|&&octet| octet == 0).count();
    octets.get(zeros..).unwrap_or_default()
}

fn half(hash: Sha256) -> [u8; 16] {
    let hash: [u8; 32] = hash.finalize().into();
    *hash.first_chunk().expect("16 of 32 octets")
}
