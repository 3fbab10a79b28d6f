//! Which versions of a tariff hold in a period, and which versions may follow each other.
//!
//! On a local day the version with the newest effective date up to that day holds; of two with the same date, the
//! higher version. Where that changes inside a period, the period is split there ([`parts`]). The versions of a tariff
//! share zone and anchor day ([`may_follow`]), so that no day falls between two periods.

use jiff::civil::Date;

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
        first: Date,
    },
    /// A customer changes between tariffs whose days do not begin together.
    #[error(
        "tariff `{before}` is followed by `{after}`, in another time zone; hours would be lost or billed twice"
    )]
    Zones {
        /// The tariff's id.
        before: String,
        /// The id of the one after it.
        after: String,
    },
    /// A customer changes between tariffs on a day that leaves a gap between their periods.
    #[error(
        "tariff `{before}` is followed by `{after}` on {on}, and the two have different anchor days; \
         change on a day on which a period of one of them begins"
    )]
    Anchors {
        /// The tariff's id.
        before: String,
        /// The id of the one after it.
        after: String,
        /// When.
        on: Date,
    },
    /// A customer changes between tariffs of two currencies inside a period.
    #[error(
        "tariff `{before}` is followed by `{after}` on {on}, in another currency; \
         change on a day on which a period of both begins"
    )]
    Currency {
        /// The tariff's id.
        before: String,
        /// The id of the one after it.
        after: String,
        /// When.
        on: Date,
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

/// Local days, half-open; `None` for an open end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Days {
    /// First day.
    pub from: Option<Date>,
    /// First day after it.
    pub to: Option<Date>,
}

/// The version of tariff `id`, among `versions` (of any tariffs), that holds on a day.
#[must_use]
pub fn on_day<'a>(versions: &'a [Tariff], id: &str, day: Date) -> Option<&'a Tariff> {
    newest(versions.iter().filter(|tariff| tariff.id == id), day)
}

/// The version that holds on a day.
fn newest<'a>(versions: impl Iterator<Item = &'a Tariff>, day: Date) -> Option<&'a Tariff> {
    versions.filter(|tariff| tariff.effective <= day).max_by_key(|tariff| (tariff.effective, tariff.version))
}

/// The versions of tariff `id`, among `versions` (of any tariffs), that hold in `period`, each with what it covers, as
/// far as it is within `days` (those on which a customer has the tariff). Before `needed_from` (the customer's first
/// day) nothing has to be covered.
///
/// # Errors
/// [`Error::Unknown`], [`Error::TooEarly`].
pub fn parts<'a>(
    versions: &'a [Tariff],
    id: &str,
    period: Period,
    days: Days,
    needed_from: Option<Date>,
) -> Result<Vec<(&'a Tariff, Span)>, Error> {
    parts_among(versions, id, period, days, needed_from, |_| true)
}

/// As [`parts`], of those `versions` alone that `may` hold.
///
/// # Errors
/// As [`parts`].
pub fn parts_among<'a>(
    versions: &'a [Tariff],
    id: &str,
    period: Period,
    days: Days,
    needed_from: Option<Date>,
    may: impl Fn(&Tariff) -> bool,
) -> Result<Vec<(&'a Tariff, Span)>, Error> {
    let of_id = || versions.iter().filter(|tariff| tariff.id == id && may(tariff));
    let Some(any) = of_id().min_by_key(|tariff| tariff.effective) else {
        return Err(Error::Unknown(id.to_owned()));
    };
    let whole = any.span(period);
    let from = days.from.map_or(whole.first_day, |day| day.max(whole.first_day));
    let end = days.to.map_or(whole.end_day, |day| day.min(whole.end_day));
    if from >= end {
        return Ok(Vec::new());
    }
    let first = any.effective;
    if first > needed_from.map_or(from, |day| day.max(from)) {
        return Err(Error::TooEarly { id: id.to_owned(), period, first });
    }
    let mut cuts: Vec<Date> = of_id().map(|tariff| tariff.effective).collect();
    cuts.push(from.max(first));
    cuts.retain(|&day| from.max(first) <= day && day < end);
    cuts.sort_unstable();
    cuts.dedup();
    let mut parts: Vec<(&Tariff, Span)> = Vec::new();
    for (at, &day) in cuts.iter().enumerate() {
        let next = cuts.get(at + 1).copied().unwrap_or(end);
        let Some(holds) = newest(of_id(), day) else { continue };
        let zone = &holds.zone;
        let span = Span { first_day: day, end_day: next, from: zone.start_of(day), to: zone.start_of(next) };
        match parts.last_mut() {
            // A version that another of the same date supersedes begins nothing.
            Some((before, longer)) if before.version == holds.version => {
                (longer.end_day, longer.to) = (span.end_day, span.to);
            }
            _ => parts.push((holds, span)),
        }
    }
    Ok(parts)
}

/// Whether a customer may change from one tariff to another on a day.
///
/// # Errors
/// [`Error::Zones`], [`Error::Anchors`], [`Error::Currency`].
pub fn may_change(before: &Tariff, after: &Tariff, on: Date) -> Result<(), Error> {
    let begins = |tariff: &Tariff| {
        // A period is named by the month it begins in.
        Period::new(on.year(), on.month()).is_some_and(|period| period.first_day(tariff.anchor) == on)
    };
    let ids = || (before.id.clone(), after.id.clone());
    if before.zone != after.zone {
        let (before, after) = ids();
        return Err(Error::Zones { before, after });
    }
    if before.anchor != after.anchor && !begins(before) && !begins(after) {
        let (before, after) = ids();
        return Err(Error::Anchors { before, after, on });
    }
    if before.currency != after.currency && !(begins(before) && begins(after)) {
        let (before, after) = ids();
        return Err(Error::Currency { before, after, on });
    }
    Ok(())
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
    pub newest_effective: Date,
    /// The first day of the periods that the new version takes over.
    pub from: Date,
    /// The first day after them; `None`: all that follow.
    pub until: Option<Date>,
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
