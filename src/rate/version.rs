//! Which version of a tariff holds for a period, and which versions may follow each other.
//!
//! The version with the newest effective date on or before the period's first day holds for all of the period; of
//! two with the same date, the higher version. A tariff's effective date is the first day of one of its periods
//! ([`super::parse`] refuses others), and its versions share zone and anchor day ([`may_follow`]), so that no period
//! is cut by a change of version and no day falls between two periods.

use super::tariff::Tariff;
use crate::period::{Period, Span};

/// Why no version holds for a period, or why a version cannot be added to the others.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Nothing of that id has been activated.
    #[error("tariff `{0}` has no active version")]
    Unknown(String),
    /// All versions begin later.
    #[error("tariff `{id}` has no version for {period}: the first is effective {first}")]
    TooEarly {
        /// The tariff's id.
        id: String,
        /// The period.
        period: Period,
        /// The date of the earliest version.
        first: jiff::civil::Date,
    },
    /// A version begins inside the period.
    #[error(
        "version {version} of tariff `{id}` becomes effective on {effective}, inside the period {period}; \
         a period cannot be split between versions yet"
    )]
    Inside {
        /// The tariff's id.
        id: String,
        /// The version.
        version: i64,
        /// Its date.
        effective: jiff::civil::Date,
        /// The period.
        period: Period,
    },
    /// The version is there, with another content.
    #[error(
        "version {version} of tariff `{id}` is already active with another content; give the new one a new version"
    )]
    Changed {
        /// The tariff's id.
        id: String,
        /// The version.
        version: i64,
    },
    /// The version is not above those that are active.
    #[error("version {version} of tariff `{id}` is not above the active version {active}")]
    NotAbove {
        /// The tariff's id.
        id: String,
        /// The version.
        version: i64,
        /// The newest active one.
        active: i64,
    },
    /// Zone or anchor day differ from the versions before.
    #[error(
        "version {version} of tariff `{id}` changes {what} from {before} to {after}; \
         days would be lost or billed twice, so take a new tariff id"
    )]
    Discontinuous {
        /// The tariff's id.
        id: String,
        /// The version.
        version: i64,
        /// `timezone` or `anchor_day`.
        what: &'static str,
        /// What it was.
        before: String,
        /// What it would be.
        after: String,
    },
}

/// The version of tariff `id`, among `versions` (of any tariffs), that holds for `period`, with what it covers.
///
/// # Errors
/// [`Error::Unknown`], [`Error::TooEarly`], [`Error::Inside`].
pub fn applicable<'a>(versions: &'a [Tariff], id: &str, period: Period) -> Result<(&'a Tariff, Span), Error> {
    let of_id = || versions.iter().filter(|tariff| tariff.id == id);
    let Some(first) = of_id().map(|tariff| tariff.effective).min() else {
        return Err(Error::Unknown(id.to_owned()));
    };
    let chosen = of_id()
        .filter(|tariff| tariff.effective <= tariff.span(period).first_day)
        .max_by_key(|tariff| (tariff.effective, tariff.version));
    let Some(chosen) = chosen else { return Err(Error::TooEarly { id: id.to_owned(), period, first }) };
    let span = chosen.span(period);
    let inside = |tariff: &&Tariff| span.first_day < tariff.effective && tariff.effective < span.end_day;
    if let Some(other) = of_id().find(inside) {
        let (version, effective) = (other.version, other.effective);
        return Err(Error::Inside { id: id.to_owned(), version, effective, period });
    }
    Ok((chosen, span))
}

/// Whether `new` may become active beside `active` (versions of any tariffs).
///
/// `Ok(false)`: it already is, with the same content.
///
/// # Errors
/// [`Error::Changed`], [`Error::NotAbove`], [`Error::Discontinuous`].
pub fn may_follow(active: &[Tariff], new: &Tariff) -> Result<bool, Error> {
    let (id, version) = (new.id.clone(), new.version);
    let same_id = || active.iter().filter(|tariff| tariff.id == new.id);
    if let Some(same) = same_id().find(|tariff| tariff.version == version) {
        return if same.sha256 == new.sha256 { Ok(false) } else { Err(Error::Changed { id, version }) };
    }
    let Some(newest) = same_id().max_by_key(|tariff| tariff.version) else { return Ok(true) };
    if newest.version > version {
        return Err(Error::NotAbove { id, version, active: newest.version });
    }
    let differs = |what, before: String, after: String| {
        if before == after {
            Ok(())
        } else {
            Err(Error::Discontinuous { id: id.clone(), version, what, before, after })
        }
    };
    differs("timezone", newest.zone.name().to_owned(), new.zone.name().to_owned())?;
    differs("anchor_day", newest.anchor.day().to_string(), new.anchor.day().to_string())?;
    Ok(true)
}

/// What a version takes over from versions that were there before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retroactive {
    /// The active version with the newest effective date.
    pub newest: i64,
    /// That date.
    pub newest_effective: jiff::civil::Date,
    /// The first day of the periods that the new version takes over.
    pub from: jiff::civil::Date,
    /// The first day after them; `None`: all that follow.
    pub until: Option<jiff::civil::Date>,
}

/// What `new` takes over from the `active` versions (of any tariffs): `None` where its effective date is after all of
/// theirs, so that it only goes on where they end.
#[must_use]
pub fn retroactive(active: &[Tariff], new: &Tariff) -> Option<Retroactive> {
    let others = || active.iter().filter(|tariff| tariff.id == new.id && tariff.version != new.version);
    let newest = others().max_by_key(|tariff| (tariff.effective, tariff.version))?;
    (new.effective <= newest.effective).then(|| Retroactive {
        newest: newest.version,
        newest_effective: newest.effective,
        from: new.effective,
        until: others().map(|tariff| tariff.effective).filter(|&effective| effective > new.effective).min(),
    })
}
