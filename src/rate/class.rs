//! Tariff classes: a tariff's own grouping of usage, by everything that a usage row is keyed by except its customer and
//! its bucket. The first class that matches wins, and the last matches everything, so that no usage is without one.

use super::usage::GroupKey;
use crate::flow::Family;

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

/// Usage that some or all charges by volume and percentile leave out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exemption {
    /// Its name.
    pub name: String,
    /// What is exempt.
    pub matches: ClassMatch,
    /// From which charges, by id; empty: from all.
    pub charges: Vec<String>,
}

impl Exemption {
    /// True where `charge` leaves this usage out.
    #[must_use]
    pub fn exempts(&self, charge: &str, key: &GroupKey) -> bool {
        (self.charges.is_empty() || self.charges.iter().any(|id| id == charge)) && self.matches.accepts(key)
    }
}
