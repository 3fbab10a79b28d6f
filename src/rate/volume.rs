//! Charges by volume: from groups of usage to lines, in this order: which usage it is about; the bound of what was
//! sampled; allowances, spent on bands in their order; tiers over what is left of all bands together, each band's part
//! of a tier being its share of the whole; fees; the cap.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::calibrate::Calibrated;
use super::error_bound::{is_wider, lower_bound};
use super::line::{Basis, Calibration, Charge, Estimate, LineKind};
use super::saying::{self, Piece, Said};
use super::tariff::{
    ChargeDirection, ChargeKind, ChargeRule, Price, SampledRule, Tariff, Tier, TierMode, VolumeRule,
};
use super::tier::{Slice, slices};
use super::usage::{GroupKey, PeriodUsage, Volume, exact};
use super::working::{How, Working};
use super::{Error, Part};
use crate::flow::Direction;
use crate::money::{Exact, Money};

/// True where `charge` is about this usage, its direction aside.
#[must_use]
pub fn takes(tariff: &Tariff, charge: &str, rule: &VolumeRule, key: &GroupKey) -> bool {
    rule.direction.includes(key.direction)
        && rule.has_band(key.band)
        && rule.classes.contains(&tariff.class_of(key))
        && !tariff.exempts(charge, key)
}

/// The volume of a charge by band.
#[derive(Clone, Debug)]
pub struct Measured {
    /// By position of the band.
    pub bands: Vec<Volume>,
    /// All bands together.
    pub total: Volume,
    /// Where the direction with more volume counts: which that is, and the octets of the other.
    pub greater: Option<(Direction, Exact)>,
    /// How it came about where it is calibrated.
    pub calibrated: Option<Calibrated>,
}

/// The volume that a charge is about.
#[must_use]
pub fn measure(tariff: &Tariff, rule: &ChargeRule, volume: &VolumeRule, usage: &PeriodUsage) -> Measured {
    let is_own = |(charge, _, _): &(String, Direction, usize)| *charge == rule.id;
    let is_calibrated = volume.calibrate.is_some() && usage.calibrated.keys().any(is_own);
    let of = |direction: Option<Direction>| {
        let mut bands = vec![Volume::default(); tariff.bands.count()];
        let mut total = Volume::default();
        if is_calibrated {
            let mut all = Calibrated::default();
            for (key, own) in usage.calibrated.iter().filter(|(key, _)| is_own(key)) {
                if direction.is_none_or(|only| only == key.1) {
                    bands[key.2].merge(&own.volume);
                    all.merge(own);
                }
            }
            return Measured { bands, total: all.volume.clone(), greater: None, calibrated: Some(all) };
        }
        for (key, group) in &usage.groups {
            if direction.is_none_or(|only| only == key.direction) && takes(tariff, &rule.id, volume, key) {
                bands[key.band].merge(group);
                total.merge(group);
            }
        }
        Measured { bands, total, greater: None, calibrated: None }
    };
    if volume.direction != ChargeDirection::Max {
        return of(None);
    }
    let (inward, outward) = (of(Some(Direction::In)), of(Some(Direction::Out)));
    let (octets_in, octets_out) = (inward.total.exact_octets(), outward.total.exact_octets());
    if octets_out > octets_in {
        Measured { greater: Some((Direction::Out, octets_in)), ..outward }
    } else {
        Measured { greater: Some((Direction::In, octets_out)), ..inward }
    }
}

/// Writes down what was measured: by band where there are several, and which direction counts.
fn write_measured(tariff: &Tariff, rule: &VolumeRule, measured: &Measured, working: &mut Working) {
    let total = measured.total.exact_octets();
    if let Some(calibrated) = &measured.calibrated {
        let direction =
            measured.greater.as_ref().map_or_else(|| rule.direction.describe(), |(only, _)| only.as_str());
        let [flows, replaced] = [&calibrated.flows, &calibrated.replaced].map(exact);
        working.step(format!("measured by flows, {direction}"), How::Given(flows.clone()), "octets");
        let what = "of it where totals of interfaces are shared out";
        working.step(what, How::Given(replaced.clone()), "octets");
        let rest = working.step("left as measured", How::Minus(flows, replaced), "octets");
        let shares = Exact::whole(calibrated.shared);
        working.step("shares of the totals", How::Given(shares.clone()), "octets");
        working.step("calibrated", How::Sum(vec![rest, shares]), "octets");
    }
    match &measured.greater {
        Some((direction, other)) => {
            let what = format!("in or out, whichever is more: {}", direction.as_str());
            working.step(what, How::Greatest(total, other.clone()), "octets");
        }
        None if measured.calibrated.is_some() => {}
        None => {
            let what = format!("measured, {}", rule.direction.describe());
            working.step(what, How::Given(total), "octets");
        }
    }
    if rule.is_by_band() {
        for (band, volume) in measured.bands.iter().enumerate().filter(|(band, _)| rule.has_band(*band)) {
            let what = format!("of it {}", tariff.bands.name(band));
            working.step(what, How::Given(volume.exact_octets()), "octets");
        }
    }
}

/// What a part may use of allowances besides its own, in units by charge.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// What other parts of the period leave of theirs.
    shared: BTreeMap<String, Exact>,
    /// What is left from the period before.
    carried: BTreeMap<String, Exact>,
}

/// An allowance in a part, in octets.
struct Account<'a> {
    at: usize,
    rule: &'a ChargeRule,
    rolls_over: bool,
    /// What is used beyond the part's own share.
    lacks: Exact,
    /// What the part leaves of its own share.
    leaves: Exact,
}

/// The allowances of all parts by tariff and charge. A part uses its own share first.
fn accounts<'a>(parts: &[Part<'a>]) -> Result<Vec<Vec<Account<'a>>>, Error> {
    let mut found: Vec<(&str, Vec<Account<'a>>)> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        for rule in &part.tariff.charges {
            let ChargeKind::Volume(volume) = &rule.kind else { continue };
            let Some(allowance) = &volume.allowance else { continue };
            let used = billed_units(part, rule, volume, &measure(part.tariff, rule, volume, part.usage))?;
            let (quantity, proration) = (Exact::from(allowance.quantity), part.tariff.proration);
            let octets = |units: Exact| units.times(&Exact::whole(part.tariff.unit.octets()));
            let account = Account {
                at,
                rule,
                rolls_over: allowance.rollover,
                lacks: octets(used.minus(&quantity.times(&part.term.volume_share(proration)))).or_zero(),
                // A part in which nobody was a customer has nothing to leave.
                leaves: octets(quantity.times(&part.term.share(proration)).minus(&used)).or_zero(),
            };
            let id = part.tariff.id.as_str();
            match found.iter_mut().find(|(of, own)| *of == id && own[0].rule.id == rule.id) {
                Some((_, accounts)) => accounts.push(account),
                None => found.push((id, vec![account])),
            }
        }
    }
    Ok(found.into_iter().map(|(_, accounts)| accounts).collect())
}

/// What the parts of a period may use of each other's allowances, and of what is left from the period before.
///
/// An allowance is one of all the period, however a change of version splits that: what a part leaves of its share, before
/// or after, is used by the parts that lack something, earlier ones first. The same holds for what rolled over, after that.
/// What is left of another tariff, or of another charge, is not shared.
///
/// # Errors
/// [`Error::TooUncertain`].
pub fn granted(parts: &[Part<'_>]) -> Result<Vec<Granted>, Error> {
    let mut granted = vec![Granted::default(); parts.len()];
    for accounts in accounts(parts)? {
        let mut pool = accounts.iter().fold(Exact::zero(), |sum, account| sum.plus(&account.leaves));
        let id = &accounts[0].rule.id;
        let octets = |units: &Exact| units.times(&Exact::whole(parts[0].tariff.unit.octets()));
        let carried = parts.first().and_then(|part| part.usage.carried.get(id)).map(octets);
        let mut carried = carried.unwrap_or_else(Exact::zero);
        for account in &accounts {
            let units = |octets: &Exact| parts[account.at].tariff.unit.of_octets(octets);
            let mut lacks = account.lacks.clone();
            if lacks.is_positive() && pool.is_positive() {
                granted[account.at].shared.insert(id.clone(), units(&pool));
                let taken = lacks.clone().least(pool.clone());
                (lacks, pool) = (lacks.minus(&taken), pool.minus(&taken));
            }
            if account.rolls_over && carried.is_positive() {
                granted[account.at].carried.insert(id.clone(), units(&carried));
                carried = carried.minus(&lacks.least(carried.clone()));
            }
        }
    }
    Ok(granted)
}

/// What is included in a part, in units: its allowance, and what is granted beside it.
#[must_use]
pub fn included(part: &Part<'_>, rule: &ChargeRule, volume: &VolumeRule, granted: &Granted) -> Exact {
    let Some(allowance) = &volume.allowance else { return Exact::zero() };
    let own = Exact::from(allowance.quantity).times(&part.term.volume_share(part.tariff.proration));
    let more = [&granted.shared, &granted.carried].into_iter().filter_map(|of| of.get(&rule.id));
    more.fold(own, |sum, more| sum.plus(more))
}

/// What was used of a charge as it would be billed, in units.
///
/// # Errors
/// [`Error::TooUncertain`].
pub(super) fn billed_units(
    part: &Part<'_>,
    rule: &ChargeRule,
    volume: &VolumeRule,
    measured: &Measured,
) -> Result<Exact, Error> {
    let billed = billed(part, rule, &measured.total, &volume.sampled, &mut Working::default())?;
    Ok(part.tariff.unit.of_octets(&billed.octets.plus(&billed.fill)))
}

/// What is left of the allowances of a period's parts and rolls over, by charge, in the unit of the last part.
///
/// # Errors
/// [`Error::TooUncertain`].
pub fn left_over(parts: &[Part<'_>]) -> Result<BTreeMap<String, Exact>, Error> {
    let mut left = BTreeMap::new();
    for accounts in accounts(parts)? {
        let sum = |of: &dyn Fn(&Account<'_>) -> Exact| {
            accounts.iter().fold(Exact::zero(), |sum, account| sum.plus(&of(account)))
        };
        let rolling = sum(&|one| if one.rolls_over { one.leaves.clone() } else { Exact::zero() });
        let remaining = sum(&|one| one.leaves.clone()).minus(&sum(&|one| one.lacks.clone()));
        let octets = rolling.least(remaining);
        if octets.is_positive()
            && let Some(last) = parts.last()
        {
            left.insert(accounts[0].rule.id.clone(), last.tariff.unit.of_octets(&octets));
        }
    }
    Ok(left)
}

/// What of a charge's volume is billed.
struct Billed {
    /// Octets of all bands.
    octets: Exact,
    /// What is billed besides, because less than `insensitive_below` was used.
    fill: Exact,
    /// How it came about; `None` where it is what was counted.
    estimate: Option<Estimate>,
}

/// The octets of all bands that are billed: the estimate or its lower bound, and at least what the charge is insensitive
/// below. That holds for whatever was used, sampled or not, and for nothing, too: as a + b max(X, L) more volume never costs
/// less, and no single packet makes a difference.
fn billed(
    part: &Part<'_>,
    rule: &ChargeRule,
    total: &Volume,
    sampled: &SampledRule,
    working: &mut Working,
) -> Result<Billed, Error> {
    let unit = part.tariff.unit;
    let estimate = total.exact_octets();
    let guessed = total.sampled_octets();
    let variance = total.variance.octets_squared();
    let least = sampled.insensitive_below.map_or_else(Exact::zero, |units| {
        let share = part.term.share(part.tariff.proration);
        Exact::from(units).times(&Exact::whole(unit.octets())).times(&share)
    });
    if let Some(share) = sampled.max_half_width
        && guessed.is_positive()
        && estimate >= least
        && is_wider(&estimate, variance, sampled.confidence, &Exact::from(share))
    {
        return Err(Error::TooUncertain {
            tariff: part.tariff.id.clone(),
            charge: rule.id.clone(),
            relative_error: crate::usage::millionths(total.relative_error_millionths()),
            most: share,
        });
    }
    let (mut octets, mut basis) = (estimate.clone(), Basis::Estimate);
    if sampled.lower && guessed.is_positive() {
        // What was counted packet by packet is sure.
        let sure = estimate.minus(&guessed);
        let margin = estimate.minus(&lower_bound(&estimate, variance, sampled.confidence));
        let what = format!("lower bound, {} sure", sampled.confidence.as_str());
        octets = working.step(what, How::Minus(estimate.clone(), margin), "octets");
        basis = Basis::LowerBound;
        if octets < sure {
            octets = working.step("not below what was not sampled", How::Greatest(octets, sure), "octets");
        }
    }
    let fill = least.minus(&octets).or_zero();
    if fill.is_positive() {
        working.step("billed at least", How::Greatest(octets.clone(), least), "octets");
        basis = Basis::Insensitive;
    }
    let made = (guessed.is_positive() || fill.is_positive()).then(|| Estimate {
        estimate: unit.of_octets(&estimate),
        standard_error: unit.of_octets(&Exact::whole(total.variance.standard_error())),
        billed: unit.of_octets(&octets.plus(&fill)),
        basis,
    });
    Ok(Billed { octets, fill, estimate: made })
}

/// How a volume was calibrated, where the charge asks for it. What was not used was calibrated in no interval.
fn calibration(part: &Part<'_>, rule: &VolumeRule, of: Option<&Calibrated>) -> Option<Calibration> {
    let max_difference = rule.calibrate?.share();
    let nothing = Calibrated::default();
    let of = of.unwrap_or(&nothing);
    let [flows, replaced] = [&of.flows, &of.replaced].map(exact);
    let share = replaced.times(&Exact::whole(1_000_000)).divided_by(&flows).map(|share| share.rounded_down());
    Some(Calibration {
        max_difference,
        intervals: of.intervals,
        shared: of.shared_intervals,
        flows: part.tariff.unit.of_octets(&flows),
        unit: part.tariff.unit.as_str(),
        share: share.and_then(|share| u128::try_from(share).ok()).unwrap_or_default(),
    })
}

/// Everything about a charge that its lines share.
struct Maker<'a> {
    part: &'a Part<'a>,
    rule: &'a ChargeRule,
    volume: &'a VolumeRule,
    relative_error: u128,
    estimate: Option<Estimate>,
    calibration: Option<Calibration>,
    /// What all lines from here on have in common.
    working: Working,
    lines: Vec<Charge>,
}

impl Maker<'_> {
    fn push(
        &mut self,
        kind: LineKind,
        words: Vec<Piece>,
        of: (Exact, Decimal),
        shape: impl FnOnce(&mut Charge),
    ) -> Result<(), Error> {
        let tariff = self.part.tariff;
        let mut line = Charge::new(self.part, kind, &self.rule.id, of)?;
        line.says(saying::of_charge(saying::named(&self.rule.description, self.rule.said.as_ref()), words));
        line.unit = tariff.unit.as_str().to_owned();
        line.relative_error = self.relative_error;
        line.estimate.clone_from(&self.estimate);
        line.calibration.clone_from(&self.calibration);
        line.clause = self.rule.line;
        line.classes = self.volume.classes.iter().map(|&at| tariff.classes[at].name.clone()).collect();
        line.direction = self.volume.direction.as_str();
        line.working.clone_from(&self.working);
        shape(&mut line);
        self.lines.push(line);
        Ok(())
    }

    /// A step that the lines from here on share, in the tariff's unit.
    fn step(&mut self, what: impl Into<std::borrow::Cow<'static, str>>, how: How) -> Exact {
        self.working.step(what, how, self.part.tariff.unit.as_str())
    }

    fn band_name(&self, band: usize) -> String {
        self.part.tariff.bands.name(band).to_owned()
    }

    /// Words of the program about a quantity.
    fn units(&self, said: Said, quantity: &Exact) -> Piece {
        Piece::said(said, [quantity.to_decimal_string(3), self.part.tariff.unit.as_str().to_owned()])
    }
}

/// The lines of a charge by volume.
///
/// # Errors
/// [`Error`].
pub(super) fn charge(
    part: &Part<'_>,
    rule: &ChargeRule,
    volume: &VolumeRule,
    granted: &Granted,
) -> Result<Vec<Charge>, Error> {
    let tariff = part.tariff;
    let measured = measure(tariff, rule, volume, part.usage);
    let mut working = Working::default();
    write_measured(tariff, volume, &measured, &mut working);
    let Billed { octets, fill, estimate } =
        billed(part, rule, &measured.total, &volume.sampled, &mut working)?;
    let all = measured.total.exact_octets();
    let factor = octets.divided_by(&all).filter(|_| octets != all);
    let filled = cheapest(tariff, volume).filter(|_| fill.is_positive());
    let relative_error = measured.total.relative_error_millionths();
    let calibration = calibration(part, volume, measured.calibrated.as_ref());
    let lines = Vec::new();
    let mut maker = Maker { part, rule, volume, relative_error, estimate, calibration, working, lines };
    let mut left = Vec::new();
    let unit = Exact::whole(tariff.unit.octets());
    maker.step("billed", How::Over(octets.plus(&fill), unit.clone()));
    for (band, of) in measured.bands.iter().enumerate() {
        let mut octets = of.exact_octets();
        if let Some(factor) = &factor {
            octets = octets.times(factor);
        }
        if filled == Some(band) {
            octets = octets.plus(&fill);
        }
        left.push(if volume.is_by_band() && volume.has_band(band) {
            maker.step(format!("billed, {}", tariff.bands.name(band)), How::Over(octets, unit.clone()))
        } else {
            tariff.unit.of_octets(&octets)
        });
    }
    let share = part.term.volume_share(tariff.proration);
    if let Some(allowance) = &volume.allowance {
        let unit = tariff.unit.as_str();
        let quantity = Exact::from(allowance.quantity);
        let own = part.term.shared(&mut maker.working, "included", quantity, &share, unit);
        let words = maker.units(Said::Included, &own);
        spend(&mut maker, LineKind::Allowance, &words, &mut left, own)?;
        if let Some(shared) = granted.shared.get(&rule.id) {
            let words = maker.units(Said::LeftOfPeriod, shared);
            let shared = maker.step("left of the rest of the period", How::Given(shared.clone()));
            spend(&mut maker, LineKind::Allowance, &words, &mut left, shared)?;
        }
        if let Some(carried) = granted.carried.get(&rule.id) {
            let words = maker.units(Said::LeftFromBefore, carried);
            let carried = maker.step("left from the period before", How::Given(carried.clone()));
            spend(&mut maker, LineKind::Rollover, &words, &mut left, carried)?;
        }
    }
    tiers(&mut maker, &left, &share)?;
    cap(&mut maker)?;
    Ok(maker.lines)
}

/// The band whose volume is the cheapest to begin with, the first of those.
fn cheapest(tariff: &Tariff, rule: &VolumeRule) -> Option<usize> {
    let price = |band: usize| rule.tiers.first().map(|tier| tier.price.in_band(band));
    (0..tariff.bands.count()).filter(|&band| rule.has_band(band)).min_by_key(|&band| (price(band), band))
}

/// Spends `free` units on the bands, in the order of the allowance.
fn spend(
    maker: &mut Maker<'_>,
    kind: LineKind,
    words: &Piece,
    left: &mut [Exact],
    mut free: Exact,
) -> Result<(), Error> {
    let Some(allowance) = &maker.volume.allowance else { return Ok(()) };
    if !maker.volume.is_by_band() {
        let used = left.iter().fold(Exact::zero(), |sum, band| sum.plus(band));
        let all = maker.step("used of it", How::Least(used.clone(), free.clone()));
        for &band in &allowance.spend_order {
            let spent = left[band].clone().least(free.clone());
            left[band] = left[band].minus(&spent);
            free = free.minus(&spent);
        }
        maker.push(kind, vec![words.clone()], (all.clone(), Decimal::ZERO), |_| {})?;
        maker.step("beyond", How::Minus(used, all));
        return Ok(());
    }
    for &band in &allowance.spend_order {
        let name = maker.band_name(band);
        let before = left[band].clone();
        let spent = maker.step(format!("used of it, {name}"), How::Least(before.clone(), free.clone()));
        free = free.minus(&spent);
        if spent.is_positive() {
            let words = vec![words.clone(), Piece::Own(name.clone())];
            maker.push(kind, words, (spent.clone(), Decimal::ZERO), |line| line.band = Some(name.clone()))?;
        }
        left[band] = maker.step(format!("beyond, {name}"), How::Minus(before, spent));
    }
    Ok(())
}

/// A line for every band and tier, or for every tier where prices are the same in all bands.
fn tiers(maker: &mut Maker<'_>, left: &[Exact], share: &Exact) -> Result<(), Error> {
    let rule = maker.volume;
    let total = left.iter().fold(Exact::zero(), |sum, band| sum.plus(band));
    let slices = slices(&total, rule.mode, &rule.tiers, share);
    let before = maker.lines.len();
    if rule.is_by_band() {
        for (band, volume) in left.iter().enumerate().filter(|(_, volume)| volume.is_positive()) {
            for slice in slices.iter().filter(|slice| slice.quantity.is_positive()) {
                slice_line(maker, slice, (&total, share), Some((band, volume)))?;
            }
        }
    } else {
        for slice in &slices {
            slice_line(maker, slice, (&total, share), None)?;
        }
    }
    if maker.lines.len() == before
        && let Some(first) = slices.first()
    {
        let band = rule.bands.first().copied().unwrap_or(0);
        slice_line(maker, first, (&total, share), Some((band, &Exact::zero())))?;
    }
    if !maker.part.term.is_present() {
        return Ok(());
    }
    for slice in &slices {
        let Some(fee) = rule.tiers[slice.tier].fee else { continue };
        let words = vec![tier_in_words(maker, slice), Piece::said(Said::Fee, [])];
        let price = Decimal::from_i128_with_scale(fee.minor().into(), fee.currency().exponent().into());
        let mut working = maker.working.clone();
        let quantity =
            maker.part.term.shared(&mut working, "fee of the tier", Exact::whole(1), share, "period");
        maker.push(LineKind::Fee, words, (quantity, price), |line| {
            line.unit = "period".to_owned();
            line.tier = Some(slice.tier);
            line.working = working;
        })?;
    }
    Ok(())
}

/// What of the volume is in a tier (and of a band), step by step.
fn in_tier(
    maker: &Maker<'_>,
    slice: &Slice,
    (total, share): (&Exact, &Exact),
    band: Option<(usize, &Exact)>,
) -> (Exact, Working) {
    let (rule, unit) = (maker.volume, maker.part.tariff.unit.as_str());
    let mut working = maker.working.clone();
    let mut quantity = slice.quantity.clone();
    let is_cut = rule.tiers.len() > 1 && rule.mode != TierMode::Volume;
    if is_cut {
        let mut end = total.clone();
        if let Some(up_to) = rule.tiers[slice.tier].up_to {
            let up_to = maker.part.term.shared(&mut working, "end of the tier", up_to.into(), share, unit);
            end = working.step("up to it", How::Least(end, up_to), unit);
        }
        quantity = working.step("in the tier", How::Minus(end, slice.from.clone()), unit);
    }
    if let Some((band, volume)) = band.filter(|_| rule.is_by_band()) {
        let name = maker.part.tariff.bands.name(band);
        let part = working.step(format!("share of {name}"), How::Over(volume.clone(), total.clone()), "");
        quantity = working.step(format!("of it {name}"), How::Times(vec![quantity, part]), unit);
    }
    (quantity, working)
}

fn slice_line(
    maker: &mut Maker<'_>,
    slice: &Slice,
    (total, share): (&Exact, &Exact),
    of_band: Option<(usize, &Exact)>,
) -> Result<(), Error> {
    let tier: &Tier = &maker.volume.tiers[slice.tier];
    let band = of_band.map(|(band, _)| band);
    let (mut quantity, mut working) = in_tier(maker, slice, (total, share), of_band);
    let mut words = Vec::new();
    if let Some(band) = band.filter(|_| maker.part.tariff.bands.are_there()) {
        words.push(Piece::Own(maker.band_name(band)));
    }
    if maker.volume.tiers.len() > 1 {
        words.push(tier_in_words(maker, slice));
    }
    let price = match (&tier.price, band) {
        (Price::All(price), _) => *price,
        (price, band) => price.in_band(band.unwrap_or(0)),
    };
    let mut unit = maker.part.tariff.unit.as_str();
    if let Some(block) = tier.block.filter(|_| maker.volume.mode == TierMode::Package) {
        let with = [quantity.to_decimal_string(3), unit.to_owned(), block.to_string()];
        words.push(Piece::said(Said::InPackages, with));
        unit = "package";
        let packages =
            working.step(format!("in packages of {block}"), How::Over(quantity, block.into()), unit);
        quantity = working.step("packages that were begun", How::Up(packages), unit);
    }
    let name = band.filter(|_| maker.part.tariff.bands.are_there()).map(|band| maker.band_name(band));
    maker.push(LineKind::Volume, words, (quantity, price), |line| {
        line.unit = unit.to_owned();
        line.tier = Some(slice.tier);
        line.band = name;
        line.working = working;
    })
}

fn tier_in_words(maker: &Maker<'_>, slice: &Slice) -> Piece {
    match (slice.from.is_positive(), &slice.up_to) {
        (false, Some(up_to)) => maker.units(Said::UpTo, up_to),
        (true, Some(up_to)) => {
            let [from, up_to] = [&slice.from, up_to].map(|units| units.to_decimal_string(3));
            Piece::said(Said::Between, [from, up_to, maker.part.tariff.unit.as_str().to_owned()])
        }
        (false, None) => Piece::said(Said::All, []),
        (true, None) => maker.units(Said::Above, &slice.from),
    }
}

/// Takes off what the lines come to beyond the cap.
fn cap(maker: &mut Maker<'_>) -> Result<(), Error> {
    let Some(cap) = maker.volume.cap else { return Ok(()) };
    let (part, id) = (maker.part, maker.rule.id.as_str());
    let wrong = |source| Error::amount(part.tariff, id, source);
    let share = part.term.volume_share(part.tariff.proration);
    let unit = cap.currency().code();
    let mut working = Working::default();
    let exact = part.term.shared(&mut working, "at most", cap.exact(), &share, unit);
    let most = Money::round(&exact, cap.currency()).map_err(wrong)?;
    if most.exact() != exact {
        working.money("at most", exact, most);
    }
    let sum = Money::sum(cap.currency(), maker.lines.iter().map(|line| line.amount)).map_err(wrong)?;
    let over = sum.checked_sub(most).map_err(wrong)?;
    if over.minor() > 0 {
        let price = Decimal::from_i128_with_scale(over.minor().into(), over.currency().exponent().into());
        let words = vec![Piece::money(Said::AtMost, most)];
        let lines = maker.lines.iter().map(|line| line.amount.exact()).collect();
        working.step(format!("lines of {id}"), How::Sum(lines), unit);
        working.step("beyond the cap", How::Minus(sum.exact(), most.exact()), unit);
        maker.push(LineKind::Cap, words, (Exact::whole(-1), price), |line| {
            line.unit = "period".to_owned();
            line.working = working;
        })?;
    }
    Ok(())
}
