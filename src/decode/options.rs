//! What is said of sampling, by options records and by data records; and when the exporter started.
//!
//! The algorithm rules, then its own parameters (RFC 5476 6.5.2, RFC 5477 8.2): systematic count-based sampling (304 = 1)
//! is (305 + 306) / 305, random n-out-of-N (3) is 310 / 309, uniform probabilistic (4) is 1 / 311. An algorithm without
//! its parameters, or any other one, gives no rate: "random, interval 1" is a statement that can be read in two ways,
//! and neither may end up on an invoice unseen. So are flows selected (RFC 7014: 390, and 396 and 397 in place of 305 and
//! 306); their rate is marked, since of whole flows it is right in the mean only.
//!
//! Where no algorithm is given, or it has none of its parameters, all that the record says has to come to the same rate: an
//! interval of 500 beside one packet in 1000 is one such statement too many, and gives none.
//!
//! Sampling by time (2, with 307 and 308; of flows 398 and 399) has no rate in packets: who says so samples, and does not
//! say how much. A number of packets beside it changes that only where the algorithm is the one whose parameter it is.
//!
//! A record may give a sampler two names (48 and 302). It describes both: which one data records use is not said.
//!
//! A record in which every parameter is 0 or missing says nothing, whatever its algorithm: some exporters send such
//! records beside those that have the rate.
//!
//! Some firewalls send options data that is not laid out as their template says (nfdump's issue 77 shows FortiOS): what
//! stands at element 34 is then part of some counter, and would multiply a bill. Element 35 gives it away. It has three
//! values, and one that it cannot have is a record that cannot be believed, nor those of the same layout that follow it, in
//! which chance may put one that it can, until several of them agree.
//!
//! A record may say which selectors a selection sequence consists of (RFC 5476 6.5.1), to which data records then refer.

mod scope;

use super::element::{self, OPTION_SLOTS, OPTIONS, OptionSlot, Width};
use super::layout::{Layout, Row};
use super::template::FieldSpec;
use crate::flow::{Announcement, Order, SelectionSequence};
use crate::units::{RateSource, SamplingRate, UnixMillis};
use scope::Scope;

/// Fractions of a probability that is not 1/n are given in billionths.
const BILLION: u64 = 1_000_000_000;

/// Values of element 35: 1 deterministic, 2 random (RFC 3954 8); 0 where nobody filled it in, and 3 by hash.
const INTERVAL_ALGORITHM_MAX: u64 = 3;

/// A compiled options template.
#[derive(Debug)]
pub(super) struct OptionsPlan {
    pub(super) layout: Layout<OPTION_SLOTS>,
    scope: Scope,
    /// Tells the layout from others. Part of the checkpoint.
    checksum: u32,
}

/// An options record's row.
pub(super) type OptionsRow<'a> = Row<'a, OPTION_SLOTS>;

impl OptionsPlan {
    /// Of the fields, the first `scopes` are the scope.
    pub(super) fn compile(fields: &[FieldSpec], scopes: usize) -> Self {
        let mut places = [None; OPTION_SLOTS];
        for &(slot, elements) in OPTIONS {
            places[slot as usize] = element::find(fields, 0, elements, Width::Number);
        }
        for (slot, scope) in [(OptionSlot::Interface, 2), (OptionSlot::Cache, 4)] {
            places[slot as usize] = element::find(fields, FieldSpec::SCOPE, &[scope], Width::Number);
        }
        for (slot, at) in SELECTORS.iter().zip(element::find_all(fields, 302, Width::Number)) {
            places[*slot as usize] = Some(at);
        }
        let scope = Scope::new(&fields[..scopes.min(fields.len())], &places);
        let mut checksum = crc32fast::Hasher::new();
        for &FieldSpec { enterprise, element, length } in fields {
            checksum.update(&enterprise.to_be_bytes());
            checksum.update(&element.to_be_bytes());
            checksum.update(&length.to_be_bytes());
        }
        Self { layout: Layout::new(fields, &places), scope, checksum: checksum.finalize() }
    }

    /// Octets of memory beside its own.
    pub(super) fn octets_beside(&self) -> usize {
        self.layout.octets_beside() + self.scope.octets_beside()
    }

    /// What a record of `domain` says of sampling, if anything: once for each name that it gives the sampler.
    pub(super) fn announcement(
        &self,
        domain: u32,
        row: &OptionsRow<'_>,
        order: Order,
    ) -> impl Iterator<Item = Announcement> {
        let one = announcement(domain, row, &self.scope);
        let one = one.map(|one| Announcement { layout: self.checksum, order, ..one });
        let second = one.zip(names(row)[1]).map(|(one, name)| Announcement { sampler: Some(name), ..one });
        one.into_iter().chain(second)
    }
}

/// The places of selectors. More than one are those of a selection sequence.
const SELECTORS: [OptionSlot; 5] = [
    OptionSlot::Selector,
    OptionSlot::SecondSelector,
    OptionSlot::ThirdSelector,
    OptionSlot::FourthSelector,
    OptionSlot::FurtherSelector,
];

/// What a record of `domain` says of a selection sequence, if anything.
pub(super) fn sequence(domain: u32, row: &OptionsRow<'_>, order: Order) -> Option<SelectionSequence> {
    let number = |slot: OptionSlot| row.number(slot as usize);
    let id = Some(number(OptionSlot::Sequence)).filter(|&id| id != 0)?;
    let [selectors @ .., further] = SELECTORS.map(number);
    (selectors[0] != 0).then(|| SelectionSequence {
        domain: about(domain, row).0,
        id,
        selectors,
        more: further != 0,
        order,
    })
}

/// The domain that a record is about, and whether that is another one than its own. A statement about domain 5 may come in
/// domain 0, which stands for the whole exporter; then it says nothing of domain 6.
fn about(domain: u32, row: &OptionsRow<'_>) -> (u32, bool) {
    let scope = u32::try_from(row.number(OptionSlot::Domain as usize)).unwrap_or_default();
    if scope == 0 || scope == domain { (domain, false) } else { (scope, true) }
}

/// The names that a record gives a sampler: a first one, and perhaps a second.
fn names(row: &OptionsRow<'_>) -> [Option<u64>; 2] {
    match [OptionSlot::Selector, OptionSlot::Sampler].map(|slot| row.number(slot as usize)) {
        [0, 0] => [None, None],
        [0, one] | [one, 0] => [Some(one), None],
        [one, other] => [Some(one), Some(other).filter(|&other| other != one)],
    }
}

/// When the exporter started, if the record says so.
pub(super) fn system_init(row: &OptionsRow<'_>) -> Option<UnixMillis> {
    let millis = i64::try_from(row.number(OptionSlot::SystemInit as usize)).ok()?;
    (millis != 0).then_some(UnixMillis(millis))
}

/// The same, of whatever layout.
fn announcement(domain: u32, row: &OptionsRow<'_>, scope: &Scope) -> Option<Announcement> {
    let number = |slot: OptionSlot| row.number(slot as usize);
    let [sampler, _] = names(row);
    let source = if sampler.is_some() { RateSource::Sampler } else { RateSource::Domain };
    let parameters = Parameters {
        interval: number(OptionSlot::Interval),
        random_interval: number(OptionSlot::RandomInterval),
        algorithm: number(OptionSlot::Algorithm),
        packet_interval: number(OptionSlot::PacketInterval),
        packet_space: stated(row, OptionSlot::PacketSpace as usize),
        size: number(OptionSlot::Size),
        population: number(OptionSlot::Population),
        probability: probability(row, OptionSlot::Probability as usize),
        by_time: number(OptionSlot::TimeInterval) | number(OptionSlot::TimeSpace) != 0,
    };
    let flows_by_time = number(OptionSlot::FlowTimeInterval) | number(OptionSlot::FlowTimeSpacing) != 0;
    let flows = (number(OptionSlot::FlowInterval), stated(row, OptionSlot::FlowSpacing as usize));
    if !parameters.say_something() && flows.0 == 0 && !flows_by_time {
        return None;
    }
    let rate = match number(OptionSlot::FlowAlgorithm) {
        0 if flows.0 == 0 && !flows_by_time => parameters.rate(source),
        algorithm => {
            let by_time = parameters.by_time || flows_by_time;
            let (packet_interval, packet_space) = flows;
            let flows = Parameters { algorithm, packet_interval, packet_space, by_time, ..parameters };
            flows.rate(RateSource::FlowSelection)
        }
    };
    let garbled = parameters.interval != 0 && number(OptionSlot::IntervalAlgorithm) > INTERVAL_ALGORITHM_MAX;
    let (domain, bound) = about(domain, row);
    let order = Order::default();
    Some(Announcement { domain, sampler, rate, part: scope.part(row), garbled, bound, layout: 0, order })
}

/// What is said of how packets were picked; 0 where it is not said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters {
    pub(super) interval: u64,
    pub(super) random_interval: u64,
    pub(super) algorithm: u64,
    pub(super) packet_interval: u64,
    /// 0 can be meant.
    pub(super) packet_space: Option<u64>,
    pub(super) size: u64,
    pub(super) population: u64,
    pub(super) probability: Option<f64>,
    /// Time is told in which packets are taken, or not.
    pub(super) by_time: bool,
}

impl Parameters {
    /// False where nothing but an algorithm is said.
    pub(super) fn say_something(&self) -> bool {
        let numbers = [self.interval, self.random_interval, self.packet_interval, self.size, self.population];
        numbers.iter().any(|&number| number != 0)
            || self.packet_space.is_some_and(|space| space != 0)
            || self.probability.is_some()
            || self.by_time
    }

    /// The rate; none where it can be read in two ways.
    pub(super) fn rate(&self, source: RateSource) -> Option<SamplingRate> {
        let interval = |interval| SamplingRate::new(interval, 1, source);
        let intervals = [interval(self.random_interval), interval(self.interval)];
        let [first, second, third] = self.by_algorithm(source);
        if self.algorithm != 0 && first.is_some() {
            return first;
        }
        if self.by_time {
            return None;
        }
        let mut stated = [first, second, third].into_iter().chain(intervals).flatten();
        let rate = stated.next()?;
        stated.all(|other| other == rate).then_some(rate)
    }

    /// The rate by the parameters of the algorithm. Without one, the parameters themselves tell which one it is, or which
    /// ones.
    fn by_algorithm(&self, source: RateSource) -> [Option<SamplingRate>; 3] {
        let count_based = || {
            let sum = self.packet_interval.checked_add(self.packet_space?)?;
            SamplingRate::new(sum, self.packet_interval, source)
        };
        let n_of_population = || SamplingRate::new(self.population, self.size, source);
        let uniform = || of_probability(self.probability?, source);
        match self.algorithm {
            0 => [n_of_population(), uniform(), count_based()],
            1 => [count_based(), None, None],
            3 => [n_of_population(), None, None],
            4 => [uniform(), None, None],
            // 2 is time-based, 5 to 9 are filters and flow-state dependent: none has a packet rate.
            _ => [None; 3],
        }
    }
}

/// The number at a place, where there is one; it may be 0.
pub(super) fn stated<const N: usize>(row: &Row<'_, N>, slot: usize) -> Option<u64> {
    (row.len(slot) != 0).then(|| row.number(slot))
}

/// Element 311, a float, which may be anything; none where it is 0.
pub(super) fn probability<const N: usize>(row: &Row<'_, N>, slot: usize) -> Option<f64> {
    let bits = row.number(slot);
    match row.len(slot) {
        _ if bits == 0 => None,
        8 => Some(f64::from_bits(bits)),
        4 => Some(f64::from(f32::from_bits(u32::try_from(bits).ok()?))),
        _ => None,
    }
}

/// The rate of a probability: 1/n for the nearest integer n where that is the probability to six digits, otherwise the
/// nearest fraction in billionths. The only floating point on the way to an invoice, because the exporter sends it.
fn of_probability(probability: f64, source: RateSource) -> Option<SamplingRate> {
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
