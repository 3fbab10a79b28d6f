//! A tariff version: what a file in `tariffs/` says, checked and typed. [`super::parse`] makes it.

use jiff::civil::Date;
use num_bigint::BigInt;
use rust_decimal::Decimal;

use super::usage::GroupKey;
use crate::flow::{Direction, Family};
use crate::money::{Currency, Exact, Money};
use crate::period::{AnchorDay, Period, Span, Zone};

/// A tariff version. Everything in it has been checked: classes are total, tiers ascend and end open.
#[derive(Clone, Debug, PartialEq)]
pub struct Tariff {
    /// Its id; versions of one id follow each other.
    pub id: String,
    /// Its version.
    pub version: i64,
    /// The local date from which it holds; always the first day of a period.
    pub effective: Date,
    /// The currency of all its amounts.
    pub currency: Currency,
    /// The zone in which its periods begin.
    pub zone: Zone,
    /// The unit of its quantities and prices.
    pub unit: Unit,
    /// The day of the month on which its periods begin.
    pub anchor: AnchorDay,
    /// Classes of usage; the first that matches wins, and the last matches everything.
    pub classes: Vec<Class>,
    /// What is charged, in the order of the invoice's lines.
    pub charges: Vec<ChargeRule>,
    /// What an invoice comes to at least, before tax.
    pub minimum: Option<Money>,
    /// Tax on all of it.
    pub tax: Tax,
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

    /// What a period covers under this tariff.
    #[must_use]
    pub fn span(&self, period: Period) -> Span {
        period.span(&self.zone, self.anchor)
    }

    /// True where it charges something whether or not there is usage.
    #[must_use]
    pub fn has_recurring(&self) -> bool {
        self.minimum.is_some()
            || self.charges.iter().any(|rule| matches!(rule.kind, ChargeKind::Recurring { .. }))
    }

    /// The same without what it charges whether or not there is usage.
    #[must_use]
    pub fn volume_only(&self) -> Self {
        let mut tariff = Self { minimum: None, ..self.clone() };
        tariff.charges.retain(|rule| matches!(rule.kind, ChargeKind::Volume(_)));
        tariff
    }

    /// Names of the classes of which neither direction is charged.
    pub fn free_classes(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().enumerate().filter_map(|(at, class)| {
            let charged = self
                .charges
                .iter()
                .any(|rule| matches!(&rule.kind, ChargeKind::Volume(volume) if volume.classes.contains(&at)));
            (!charged).then_some(class.name.as_str())
        })
    }
}

/// A unit of volume.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// 10^9 octets.
    Gigabyte,
    /// 2^30 octets.
    Gibibyte,
}

impl Unit {
    /// All units, by the names that tariffs use.
    pub const ALL: [Self; 2] = [Self::Gigabyte, Self::Gibibyte];

    /// `GB` or `GiB`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gigabyte => "GB",
            Self::Gibibyte => "GiB",
        }
    }

    /// Octets in one.
    #[must_use]
    pub const fn octets(self) -> u32 {
        match self {
            Self::Gigabyte => 1_000_000_000,
            Self::Gibibyte => 1 << 30,
        }
    }

    /// Octets in this unit, exact.
    #[must_use]
    pub fn of_octets(self, octets: &Exact) -> Exact {
        octets.over(BigInt::from(self.octets()))
    }
}

/// A tariff's own grouping of usage.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// What falls into it.
    pub matches: ClassMatch,
}

/// What usage must be to match; every list that is not empty must match, by at least one entry. In names, `*` stands
/// for any characters and `?` for one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClassMatch {
    /// Link names.
    pub link: Vec<String>,
    /// Link kinds.
    pub link_kind: Vec<String>,
    /// Traffic classes.
    pub traffic_class: Vec<String>,
    /// Address families.
    pub family: Vec<Family>,
    /// Exporter names.
    pub exporter: Vec<String>,
}

impl ClassMatch {
    /// True where it asks for nothing.
    #[must_use]
    pub fn is_catch_all(&self) -> bool {
        *self == Self::default()
    }

    /// True where this usage matches.
    #[must_use]
    pub fn accepts(&self, key: &GroupKey) -> bool {
        let one = |patterns: &[String], name: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| glob(pattern, name))
        };
        one(&self.link, &key.link)
            && one(&self.link_kind, &key.link_kind)
            && one(&self.traffic_class, &key.traffic_class)
            && (self.family.is_empty() || self.family.contains(&key.family))
            && one(&self.exporter, &key.exporter)
    }
}

/// True where `pattern` matches all of `name`. Goes back only to the last `*`, so the time is at most the product
/// of the lengths.
#[must_use]
pub fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star_p, star_n)) = star else { return false };
                star = Some((star_p, star_n + 1));
                p = star_p + 1;
                n = star_n + 1;
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Something that is charged.
#[derive(Clone, Debug, PartialEq)]
pub struct ChargeRule {
    /// Its id.
    pub id: String,
    /// What the invoice calls it.
    pub description: String,
    /// How it is charged.
    pub kind: ChargeKind,
}

/// How something is charged.
#[derive(Clone, Debug, PartialEq)]
pub enum ChargeKind {
    /// By volume.
    Volume(VolumeRule),
    /// Once a period.
    Recurring {
        /// How much.
        amount: Money,
    },
}

/// A charge by volume.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeRule {
    /// Positions of the classes it is about.
    pub classes: Vec<usize>,
    /// The directions it is about.
    pub direction: ChargeDirection,
    /// Units that are free, before the tiers begin.
    pub allowance: Option<Decimal>,
    /// Graduated tiers: each prices the part of the volume that lies in it. Ascending; only the last is open.
    pub tiers: Vec<Tier>,
}

/// Which directions a charge adds up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChargeDirection {
    /// Toward the customer.
    In,
    /// From the customer.
    Out,
    /// Both.
    Sum,
}

impl ChargeDirection {
    /// True where usage in `direction` is part of it.
    #[must_use]
    pub const fn includes(self, direction: Direction) -> bool {
        matches!(
            (self, direction),
            (Self::In | Self::Sum, Direction::In) | (Self::Out | Self::Sum, Direction::Out)
        )
    }

    /// In words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Sum => "in and out",
        }
    }
}

/// A tier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tier {
    /// Where it ends, in units, this quantity included; `None`: nowhere.
    pub up_to: Option<Decimal>,
    /// The price of a unit in it.
    pub price: Decimal,
}

/// Tax.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tax {
    /// The category (UNCL 5305: `S` standard, `Z` zero, `E` exempt, `AE` reverse charge, ...).
    pub category: String,
    /// Percent of the net amount.
    pub percent: Decimal,
}
