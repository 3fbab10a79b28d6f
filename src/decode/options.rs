//! Options records: what they say of sampling, and when the exporter started.
//!
//! The algorithm rules, then its own parameters (RFC 5476 6.5.2, RFC 5477 8.2): systematic count-based sampling (304 = 1)
//! is (305 + 306) / 305, random n-out-of-N (3) is 310 / 309, uniform probabilistic (4) is 1 / 311. An algorithm without
//! its parameters, or any other one, gives no rate: "random, interval 1" is a statement that can be read in two ways,
//! and neither may end up on an invoice unseen.

use super::element::{self, OPTION_SLOTS, OPTIONS, OptionSlot, Width};
use super::layout::{Layout, Row};
use super::template::FieldSpec;
use crate::flow::{Announcement, Part};
use crate::units::{IfIndex, RateSource, SamplingRate, UnixMillis};

/// Fractions of a probability that is not 1/n are given in billionths.
const BILLION: u64 = 1_000_000_000;

/// A compiled options template.
#[derive(Debug)]
pub(super) struct OptionsPlan {
    pub(super) layout: Layout<OPTION_SLOTS>,
}

/// An options record's row.
pub(super) type OptionsRow<'a> = Row<'a, OPTION_SLOTS>;

impl OptionsPlan {
    pub(super) fn compile(fields: &[FieldSpec]) -> Self {
        let mut places = [None; OPTION_SLOTS];
        for &(slot, elements) in OPTIONS {
            places[slot as usize] = element::find(fields, 0, elements, Width::Number);
        }
        for (slot, scope) in [(OptionSlot::Interface, 2), (OptionSlot::Cache, 4)] {
            places[slot as usize] = element::find(fields, FieldSpec::SCOPE, &[scope], Width::Number);
        }
        Self { layout: Layout::new(fields, &places) }
    }
}

/// When the exporter started, if the record says so.
pub(super) fn system_init(row: &OptionsRow<'_>) -> Option<UnixMillis> {
    let millis = i64::try_from(row.number(OptionSlot::SystemInit as usize)).ok()?;
    (millis != 0).then_some(UnixMillis(millis))
}

/// What a record of `domain` says of sampling, if anything.
pub(super) fn announcement(domain: u32, row: &OptionsRow<'_>) -> Option<Announcement> {
    let has = |slot: OptionSlot| row.len(slot as usize) != 0;
    let number = |slot: OptionSlot| row.number(slot as usize);
    let ipfix = [
        OptionSlot::Algorithm,
        OptionSlot::PacketInterval,
        OptionSlot::PacketSpace,
        OptionSlot::Size,
        OptionSlot::Population,
        OptionSlot::Probability,
    ];
    let described = ipfix.into_iter().any(has) || has(OptionSlot::RandomInterval);
    // An interval of 0 says nothing.
    if !described && number(OptionSlot::Interval) == 0 {
        return None;
    }
    let sampler = Some(number(OptionSlot::Sampler)).filter(|&sampler| sampler != 0);
    let source = if sampler.is_some() { RateSource::Sampler } else { RateSource::Domain };
    let interval = |slot| SamplingRate::new(number(slot), 1, source);
    let rate = by_algorithm(row, source)
        .or_else(|| interval(OptionSlot::RandomInterval))
        .or_else(|| interval(OptionSlot::Interval));
    // A statement about domain 5 may come in domain 0, which stands for the whole exporter.
    let scope = u32::try_from(number(OptionSlot::Domain)).unwrap_or_default();
    let domain = if scope == 0 { domain } else { scope };
    let part = if sampler.is_none() { part(row) } else { None };
    Some(Announcement { domain, sampler, rate, part })
}

/// The part that a record is about; 0 is none. An interface is more than what it belongs to, and a record can be
/// traced to it. A pair of interfaces, or a physical one (which records need not name), is something else.
fn part(row: &OptionsRow<'_>) -> Option<Part> {
    let named = |slot: OptionSlot| Some(row.number(slot as usize)).filter(|&number| number != 0);
    let other = |element, slot| named(slot).map(|number| Part::Other(element, number));
    let pair = named(OptionSlot::Ingress).is_some() && named(OptionSlot::Egress).is_some();
    let interface = |slot: OptionSlot, part: fn(IfIndex) -> Part| {
        named(slot)
            .filter(|_| !pair)
            .and_then(|index| u32::try_from(index).ok())
            .map(|index| part(IfIndex(index)))
    };
    interface(OptionSlot::Interface, Part::Interface)
        .or_else(|| interface(OptionSlot::Ingress, Part::Ingress))
        .or_else(|| interface(OptionSlot::Egress, Part::Egress))
        .or_else(|| other(10, OptionSlot::Ingress))
        .or_else(|| other(14, OptionSlot::Egress))
        .or_else(|| other(252, OptionSlot::PhysicalIngress))
        .or_else(|| other(253, OptionSlot::PhysicalEgress))
        .or_else(|| other(142, OptionSlot::Port))
        .or_else(|| other(141, OptionSlot::LineCard))
        .or_else(|| other(145, OptionSlot::Template))
        .or_else(|| other(4, OptionSlot::Cache))
}

fn by_algorithm(row: &OptionsRow<'_>, source: RateSource) -> Option<SamplingRate> {
    let number = |slot: OptionSlot| row.number(slot as usize);
    let count_based = || {
        let (taken, gap) = (number(OptionSlot::PacketInterval), number(OptionSlot::PacketSpace));
        let stated = row.len(OptionSlot::PacketSpace as usize) != 0;
        SamplingRate::new(taken.checked_add(gap)?, taken, source).filter(|_| stated)
    };
    let n_of_population =
        || SamplingRate::new(number(OptionSlot::Population), number(OptionSlot::Size), source);
    match number(OptionSlot::Algorithm) {
        // No algorithm: the parameters themselves tell which one it is.
        0 => n_of_population().or_else(|| probability(row, source)).or_else(count_based),
        1 => count_based(),
        3 => n_of_population(),
        4 => probability(row, source),
        // 2 is time-based, 5 to 9 are filters and flow-state dependent: none has a packet rate.
        _ => None,
    }
}

/// Element 311, a float: 1/n for the nearest integer n where that is the probability to six digits, otherwise the
/// nearest fraction in billionths. The only floating point on the way to an invoice, because the exporter sends it.
fn probability(row: &OptionsRow<'_>, source: RateSource) -> Option<SamplingRate> {
    let bits = row.number(OptionSlot::Probability as usize);
    let probability = match row.len(OptionSlot::Probability as usize) {
        8 => f64::from_bits(bits),
        4 => f64::from(f32::from_bits(u32::try_from(bits).ok()?)),
        _ => return None,
    };
    if !(probability > 0.0 && probability <= 1.0) {
        return None;
    }
    let inverse = (1.0 / probability).round();
    if (inverse * probability - 1.0).abs() < 1e-6 {
        return SamplingRate::new(whole(inverse), 1, source);
    }
    SamplingRate::new(BILLION, whole((probability * 1e9).round()), source)
}

/// A float that is a non-negative whole number, as one; too great ones end at the greatest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates")]
fn whole(number: f64) -> u64 {
    number as u64
}
