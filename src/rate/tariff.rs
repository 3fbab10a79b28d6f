//! A tariff version: what a file in `tariffs/` says, checked and typed. [`super::parse`] makes it; `docs/TARIFFS.md`
//! tells operators what each part means.

use std::borrow::Cow;

use jiff::civil::Date;
use num_bigint::BigInt;
use rust_decimal::Decimal;

use super::band::Bands;
pub use super::class::{Class, ClassMatch, Exemption, glob};
use super::error_bound::Confidence;
use super::percentile::{Combine, Links, Missing, Rank, SampleSource};
use super::saying::Piece;
use super::usage::GroupKey;
use crate::flow::Direction;
use crate::money::{Currency, Exact, Money};
use crate::period::{AnchorDay, Period, Span, Zone};
use crate::units::UnixMillis;

/// A tariff version. Everything in it has been checked: classes and bands are total, tiers ascend and end open.
#[derive(Clone, Debug, PartialEq)]
pub struct Tariff {
    /// Its id; versions of one id follow each other.
    pub id: String,
    /// Its version.
    pub version: i64,
    /// The local date from which it holds; inside a period, it splits it.
    pub effective: Date,
    /// The currency of all its amounts.
    pub currency: Currency,
    /// The zone in which its periods begin and its bands are told.
    pub zone: Zone,
    /// The unit of its quantities and prices.
    pub unit: Unit,
    /// The day of the month on which its periods begin.
    pub anchor: AnchorDay,
    /// How many days after its end a period waits for late usage.
    pub grace_days: u32,
    /// What a customer pays of a period in which it came or left.
    pub proration: Proration,
    /// Classes of usage; the first that matches wins, and the last matches everything.
    pub classes: Vec<Class>,
    /// Usage that charges leave out.
    pub exemptions: Vec<Exemption>,
    /// Bands of local time.
    pub bands: Bands,
    /// What is charged, in the order of the invoice's lines.
    pub charges: Vec<ChargeRule>,
    /// What an invoice comes to at least, before credits and tax.
    pub minimum: Option<Minimum>,
    /// What is taken off charges.
    pub discounts: Vec<Discount>,
    /// What is given back.
    pub credits: Vec<Credit>,
    /// Tax on all of it.
    pub tax: Tax,
    /// What holds for some customers instead.
    pub overrides: Vec<Override>,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

impl Tariff {
    /// The class that this usage falls into: its position in `classes`.
    #[must_use]
    pub fn class_of(&self, key: &GroupKey) -> usize {
        let last = self.classes.len().saturating_sub(1);
        self.classes.iter().position(|class| class.matches.accepts(key)).unwrap_or(last)
    }

    /// True where `charge` of this tariff leaves this usage out, whatever its class.
    #[must_use]
    pub fn exempts(&self, charge: &str, key: &GroupKey) -> bool {
        self.exemptions.iter().any(|exemption| exemption.exempts(charge, key))
    }

    /// What a period covers under this tariff.
    #[must_use]
    pub fn span(&self, period: Period) -> Span {
        period.span(&self.zone, self.anchor)
    }

    /// The first instant at which a period that covers `span` may be closed and made final: the local midnight as many days
    /// after its end as `grace` says, and not before [`counted_from`].
    #[must_use]
    pub fn may_close_from(&self, span: &Span) -> UnixMillis {
        let days = jiff::Span::new().days(i64::from(self.grace_days));
        let day = span.end_day.checked_add(days).unwrap_or(span.end_day);
        self.zone.start_of(day).max(counted_from(Some(self), span))
    }

    /// True where a charge goes by what interfaces count.
    fn reads_counters(&self) -> bool {
        let own = self.charges.iter().chain(self.overrides.iter().filter_map(|own| own.charge.as_ref()));
        let mut own = own.map(|rule| &rule.kind);
        let by_counters = |kind: &ChargeKind| matches!(kind, ChargeKind::Percentile(rule) if rule.source == SampleSource::Snmp);
        self.calibrates() || own.any(by_counters)
    }

    /// The tariff as it is for `customer`: charges that are others' alone are gone, and overrides are in place. The
    /// first override of a charge (or of the minimum, or of the tax) that names the customer holds.
    #[must_use]
    pub fn for_customer(&self, customer: &str) -> Cow<'_, Self> {
        let is_plain = self.overrides.is_empty()
            && self.charges.iter().all(|rule| rule.customers.is_empty())
            && self.discounts.iter().all(|discount| discount.customers.is_empty())
            && self.credits.iter().all(|credit| credit.customers.is_empty());
        if is_plain {
            return Cow::Borrowed(self);
        }
        let mut own = self.clone();
        own.overrides.retain(|override_| is_for(&override_.customers, customer));
        own.charges.retain(|rule| is_for(&rule.customers, customer));
        own.discounts.retain(|discount| is_for(&discount.customers, customer));
        own.credits.retain(|credit| is_for(&credit.customers, customer));
        let overrides = std::mem::take(&mut own.overrides);
        for rule in &mut own.charges {
            let replaced = overrides.iter().filter_map(|o| o.charge.as_ref()).find(|new| new.id == rule.id);
            if let Some(new) = replaced {
                *rule = new.clone();
            }
        }
        if let Some(minimum) = overrides.iter().find_map(|o| o.minimum.as_ref()) {
            own.minimum = Some(minimum.clone());
        }
        if let Some(tax) = overrides.iter().find_map(|o| o.tax.as_ref()) {
            own.tax = tax.clone();
        }
        Cow::Owned(own)
    }

    /// All charges as they may apply: those of the tariff, and those that overrides put in their places. What a tariff may
    /// need at all is asked of these; what one customer is charged, of [`Self::for_customer`].
    pub fn possible_charges(&self) -> impl Iterator<Item = &ChargeRule> {
        self.charges.iter().chain(self.overrides.iter().filter_map(|own| own.charge.as_ref()))
    }

    /// True where a charge may be by volume, and that of this kind.
    fn has_volume(&self, is_it: impl Fn(&VolumeRule) -> bool) -> bool {
        self.possible_charges().any(|rule| matches!(&rule.kind, ChargeKind::Volume(volume) if is_it(volume)))
    }

    /// Names of the classes of which neither direction is charged to anybody.
    pub fn free_classes(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().enumerate().filter_map(|(at, class)| {
            let charged = self.possible_charges().any(|rule| rule.kind.classes().contains(&at));
            (!charged).then_some(class.name.as_str())
        })
    }

    /// True where the volume of a charge is calibrated by interface counters.
    #[must_use]
    pub fn calibrates(&self) -> bool {
        self.has_volume(|volume| volume.calibrate.is_some())
    }

    /// True where a charge includes something.
    #[must_use]
    pub fn has_allowance(&self) -> bool {
        self.has_volume(|volume| volume.allowance.is_some())
    }

    /// True where a charge rolls what is left of its allowance over, so that the period before counts too.
    #[must_use]
    pub fn rolls_over(&self) -> bool {
        self.has_volume(|volume| volume.allowance.as_ref().is_some_and(|allowance| allowance.rollover))
    }

    /// True where a charge is by a percentile of what interfaces counted.
    #[must_use]
    pub fn ranks_counters(&self) -> bool {
        self.possible_charges()
            .any(|rule| matches!(&rule.kind, ChargeKind::Percentile(of) if of.source == SampleSource::Snmp))
    }
}

/// The first instant at which a customer's period may be closed and made final: its end, and the grace time of the tariff
/// that holds then; without a tariff nothing is waited for. Everything that closes a period asks here.
#[must_use]
pub fn may_close_from(tariff: Option<&Tariff>, span: &Span) -> UnixMillis {
    tariff.map_or(span.to, |tariff| tariff.may_close_from(span))
}

/// The first instant at which a period that covers `span` may be closed at all, whatever its grace time: its end. Where a
/// charge goes by what interfaces count, [`COUNTED_MS`] later: their last five minutes are read after they have passed, and
/// what is closed takes no more counters.
#[must_use]
pub fn counted_from(tariff: Option<&Tariff>, span: &Span) -> UnixMillis {
    let waits = tariff.is_some_and(Tariff::reads_counters);
    UnixMillis(span.to.0.saturating_add(if waits { COUNTED_MS } else { 0 }))
}

/// So many milliseconds after a period its last counters are in the ledger, or are waited for no longer: a quarter of an
/// hour.
pub const COUNTED_MS: i64 = 15 * 60 * 1000;

/// True where `patterns` name the customer; an empty list names all.
fn is_for(patterns: &[String], customer: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| glob(pattern, customer))
}

/// A unit of volume.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// 10^9 octets.
    Gigabyte,
    /// 2^30 octets.
    Gibibyte,
    /// 10^12 octets.
    Terabyte,
    /// 2^40 octets.
    Tebibyte,
}

impl Unit {
    /// All units, by the names that tariffs use.
    pub const ALL: [Self; 4] = [Self::Gigabyte, Self::Gibibyte, Self::Terabyte, Self::Tebibyte];

    /// `GB` or `GiB`, `TB` or `TiB`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gigabyte => "GB",
            Self::Gibibyte => "GiB",
            Self::Terabyte => "TB",
            Self::Tebibyte => "TiB",
        }
    }

    /// Octets in one.
    #[must_use]
    pub const fn octets(self) -> u64 {
        match self {
            Self::Gigabyte => 1_000_000_000,
            Self::Gibibyte => 1 << 30,
            Self::Terabyte => 1_000_000_000_000,
            Self::Tebibyte => 1 << 40,
        }
    }

    /// Octets in this unit, exact.
    #[must_use]
    pub fn of_octets(self, octets: &Exact) -> Exact {
        octets.over(BigInt::from(self.octets()))
    }
}

/// What a customer pays of a period in which it came or left. A change of tariff inside a period is no matter of
/// this: it always divides by seconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Proration {
    /// All of it.
    #[default]
    None,
    /// The part in which it was a customer, by seconds.
    Seconds,
}

/// Something that is charged.
#[derive(Clone, Debug, PartialEq)]
pub struct ChargeRule {
    /// Its id.
    pub id: String,
    /// What the invoice calls it.
    pub description: String,
    /// The same where the tariff does not say it, and the words are the program's.
    pub said: Option<Piece>,
    /// Whom it is charged, by patterns of names; empty: everyone.
    pub customers: Vec<String>,
    /// How it is charged.
    pub kind: ChargeKind,
    /// The line of the tariff file on which it begins, from 1.
    pub line: usize,
}

/// How something is charged.
#[derive(Clone, Debug, PartialEq)]
pub enum ChargeKind {
    /// By volume.
    Volume(VolumeRule),
    /// By a percentile of five-minute rates.
    Percentile(PercentileRule),
    /// Once a period.
    Recurring {
        /// How much for one.
        amount: Money,
        /// How many.
        quantity: Decimal,
        /// Instead of the tariff's.
        proration: Option<Proration>,
    },
    /// Once.
    OneOff {
        /// How much for one.
        amount: Money,
        /// How many.
        quantity: Decimal,
        /// When.
        when: When,
    },
}

impl ChargeKind {
    /// Positions of the classes whose usage it is about; none for what is charged regardless of usage.
    #[must_use]
    pub fn classes(&self) -> &[usize] {
        match self {
            Self::Volume(rule) => &rule.classes,
            Self::Percentile(rule) => &rule.classes,
            Self::Recurring { .. } | Self::OneOff { .. } => &[],
        }
    }
}

/// When something is charged once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// On this local date.
    On(Date),
    /// On the day on which the customer begins to be one (its `valid_from`).
    Start,
}

/// A charge by volume.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeRule {
    /// Positions of the classes it is about.
    pub classes: Vec<usize>,
    /// The directions it is about.
    pub direction: ChargeDirection,
    /// Positions of the bands it is about; empty: all.
    pub bands: Vec<usize>,
    /// What is free before the tiers begin.
    pub allowance: Option<Allowance>,
    /// How the tiers are meant.
    pub mode: TierMode,
    /// Ascending; only the last is open.
    pub tiers: Vec<Tier>,
    /// What holds for volume that was estimated from samples.
    pub sampled: SampledRule,
    /// Where the totals of interfaces are shared out instead; `None`: flows alone count.
    pub calibrate: Option<Calibrate>,
    /// What it comes to at most.
    pub cap: Option<Money>,
    /// Percentages of the allowance at which somebody wants to know, ascending.
    pub alerts: Vec<Decimal>,
}

impl VolumeRule {
    /// True where usage of this band is part of it.
    #[must_use]
    pub fn has_band(&self, band: usize) -> bool {
        self.bands.is_empty() || self.bands.contains(&band)
    }

    /// True where some tier's price depends on the band.
    #[must_use]
    pub fn is_by_band(&self) -> bool {
        self.tiers.iter().any(|tier| matches!(tier.price, Price::ByBand(_)))
    }
}

/// Units that are free.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowance {
    /// How many.
    pub quantity: Decimal,
    /// What is left of them is free in the next period too, after that period's own.
    pub rollover: bool,
    /// Positions of all bands of the charge, in the order in which the allowance is spent on them.
    pub spend_order: Vec<usize>,
}

/// How tiers are meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TierMode {
    /// One price for everything.
    Flat,
    /// Each tier prices the part of the volume that lies in it.
    Graduated,
    /// The tier that all of the volume reaches prices all of it.
    Volume,
    /// As graduated, but sold in whole blocks: one that was begun is paid.
    Package,
}

impl TierMode {
    /// All modes.
    pub const ALL: [Self; 4] = [Self::Flat, Self::Graduated, Self::Volume, Self::Package];

    /// Its name in tariffs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Graduated => "graduated",
            Self::Volume => "volume",
            Self::Package => "package",
        }
    }
}

/// A tier.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tier {
    /// Where it ends, in units, this quantity included; `None`: nowhere.
    pub up_to: Option<Decimal>,
    /// The price of a unit in it, or of a block.
    pub price: Price,
    /// Units in a block.
    pub block: Option<Decimal>,
    /// What is paid once where the tier is reached.
    pub fee: Option<Money>,
}

/// A price.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Price {
    /// In all bands.
    All(Decimal),
    /// By band, in the order of the tariff's bands.
    ByBand(Vec<Decimal>),
}

impl Price {
    /// The price in a band.
    #[must_use]
    pub fn in_band(&self, band: usize) -> Decimal {
        match self {
            Self::All(price) => *price,
            Self::ByBand(prices) => prices.get(band).copied().unwrap_or_default(),
        }
    }
}

/// What holds for volume that was estimated from samples.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SampledRule {
    /// Bill the lower bound of the estimate.
    pub lower: bool,
    /// How sure bounds are.
    pub confidence: Confidence,
    /// A volume that is estimated as less than so many units is billed as so many.
    pub insensitive_below: Option<Decimal>,
    /// A volume whose interval is wider than this share of it to either side is not billed at all: a person decides.
    pub max_half_width: Option<Decimal>,
}

/// Where the totals of a link's interfaces are shared out by what flows say of them ([`super::calibrate`]).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Calibrate {
    /// How far flows and interfaces may be apart in five minutes, as a share of what the interfaces counted, in millionths.
    /// Beyond it nobody knows what is wrong, and the flows count as they are.
    pub max_difference: u32,
}

impl Calibrate {
    /// The greatest that a tariff may ask for: nothing is ever more than doubled.
    pub const MOST: u32 = 500_000;

    /// The difference as a share.
    #[must_use]
    pub fn share(self) -> Decimal {
        Decimal::new(self.max_difference.into(), 6).normalize()
    }
}

impl Default for Calibrate {
    fn default() -> Self {
        Self { max_difference: 100_000 }
    }
}

/// A charge by a percentile of five-minute rates.
#[derive(Clone, Debug, PartialEq)]
pub struct PercentileRule {
    /// Positions of the classes it is about.
    pub classes: Vec<usize>,
    /// Positions of the bands whose samples count; empty: all.
    pub bands: Vec<usize>,
    /// How the two directions become one number.
    pub combine: Combine,
    /// Which percentile; 95 in most contracts.
    pub percent: Decimal,
    /// Which sample that is.
    pub rank: Rank,
    /// How several links become one number.
    pub links: Links,
    /// What a missing sample means.
    pub missing: Missing,
    /// The share of samples that must be there: with fewer, nothing is billed and a person decides.
    pub min_coverage: Option<Decimal>,
    /// Where samples come from.
    pub source: SampleSource,
    /// The unit of rates and of prices.
    pub unit: RateUnit,
    /// Units that are paid whether or not they are used, and the price of one.
    pub commit: Option<(Decimal, Decimal)>,
    /// The price of a unit above them.
    pub price: Decimal,
}

impl PercentileRule {
    /// True where samples of this band count.
    #[must_use]
    pub fn has_band(&self, band: usize) -> bool {
        self.bands.is_empty() || self.bands.contains(&band)
    }
}

/// A unit of rates.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RateUnit {
    /// 10^6 bits a second.
    #[default]
    Megabit,
    /// 10^9 bits a second.
    Gigabit,
}

impl RateUnit {
    /// `Mb/s` or `Gb/s`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Megabit => "Mb/s",
            Self::Gigabit => "Gb/s",
        }
    }

    /// Bits a second in one.
    #[must_use]
    pub const fn bits(self) -> u64 {
        match self {
            Self::Megabit => 1_000_000,
            Self::Gigabit => 1_000_000_000,
        }
    }
}

/// Which directions a charge is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChargeDirection {
    /// Toward the customer.
    In,
    /// From the customer.
    Out,
    /// Both together.
    Sum,
    /// The one with more volume in the period; toward the customer where they are equal.
    Max,
}

impl ChargeDirection {
    /// True where usage in `direction` may be part of it.
    #[must_use]
    pub const fn includes(self, direction: Direction) -> bool {
        matches!(
            (self, direction),
            (Self::In | Self::Sum | Self::Max, Direction::In)
                | (Self::Out | Self::Sum | Self::Max, Direction::Out)
        )
    }

    /// Its name in tariffs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Sum => "sum",
            Self::Max => "max",
        }
    }

    /// In words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Sum => "in and out",
            Self::Max => "in or out, whichever is more",
        }
    }
}

/// What charges come to at least.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Minimum {
    /// How much a period.
    pub amount: Money,
    /// Which charges, by id; empty: all.
    pub on: Vec<String>,
    /// The line of the tariff file on which it begins, from 1.
    pub line: usize,
}

/// What is taken off charges.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Discount {
    /// Its id.
    pub id: String,
    /// What the invoice calls it.
    pub description: String,
    /// The same where the tariff does not say it, and the words are the program's.
    pub said: Option<Piece>,
    /// How much.
    pub off: Off,
    /// Off which charges, by id; empty: all.
    pub on: Vec<String>,
    /// Who gets it, by patterns of names; empty: everyone.
    pub customers: Vec<String>,
    /// The line of the tariff file on which it begins, from 1.
    pub line: usize,
}

/// How much is taken off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Off {
    /// Percent of the charges.
    Percent(Decimal),
    /// An amount a period, at most what the charges come to.
    Amount(Money),
}

/// What is given back once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credit {
    /// Its id.
    pub id: String,
    /// What the invoice calls it.
    pub description: String,
    /// The same where the tariff does not say it, and the words are the program's.
    pub said: Option<Piece>,
    /// How much.
    pub amount: Money,
    /// On which local date.
    pub date: Date,
    /// Who gets it, by patterns of names; empty: everyone.
    pub customers: Vec<String>,
    /// The line of the tariff file on which it begins, from 1.
    pub line: usize,
}

/// Tax.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tax {
    /// The category (UNCL 5305: `S` standard, `Z` zero, `E` exempt, `AE` reverse charge, ...).
    pub category: String,
    /// Percent of the net amount.
    pub percent: Decimal,
    /// Why there is none, for the categories that must say so; may be empty.
    pub exemption_reason: String,
}

/// What holds for some customers instead of what the tariff says.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// Who they are, by patterns of names.
    pub customers: Vec<String>,
    /// The charge, whole, as it is for them; it replaces the one of the same id.
    pub charge: Option<ChargeRule>,
    /// Their minimum.
    pub minimum: Option<Minimum>,
    /// Their tax.
    pub tax: Option<Tax>,
}
