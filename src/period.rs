//! Billing months: which instants and which usage buckets `2026-03` means for a tariff.
//!
//! A period is named by the local month it starts in. It begins at the first instant of its anchor day in the
//! tariff's time zone and ends where the next one begins, so that periods neither overlap nor leave a gap, whatever
//! clock changes fall between. The anchor day is clamped to the length of each month from the day that was asked
//! for: anchor 31 starts periods on Jan 31, Feb 28, Mar 31, and does not drift to the 28th.
//!
//! Usage is kept in buckets of 300 s, aligned to UTC. A bucket belongs to the period in which it *starts*. Every
//! zone has had offsets of whole quarters of an hour since 1972, so that today midnight is always a bucket's edge.
//! Before (Amsterdam until 1937 at +0:19:32) a midnight may cut a bucket; the bucket then goes whole to the older
//! period. Both periods use the same edge, so nothing is lost or counted twice.
#![deny(clippy::float_arithmetic)]

use core::fmt;
use core::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::units::UnixMillis;
use crate::usage::{BUCKET_SECONDS, BucketStart};

/// Why a period cannot be had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The text is no month.
    #[error("`{0}` is not a month: expected YYYY-MM, from 1970-01 to 9998-12")]
    NotAMonth(String),
    /// The name is not in the time zone database.
    #[error("`{0}` is not a time zone of the IANA database, such as `Europe/Amsterdam`")]
    UnknownZone(String),
    /// The day is not from 1 to 31.
    #[error("{0} is not a day of the month: expected 1 to 31")]
    NotADay(i64),
}

/// A month that a period starts in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Period {
    year: i16,
    month: i8,
}

impl Period {
    /// The period that starts in this month; years 1970 to 9998.
    #[must_use]
    pub fn new(year: i16, month: i8) -> Option<Self> {
        ((1970..=9998).contains(&year) && (1..=12).contains(&month)).then_some(Self { year, month })
    }

    /// The year.
    #[must_use]
    pub const fn year(self) -> i16 {
        self.year
    }

    /// The month, from 1.
    #[must_use]
    pub const fn month(self) -> i8 {
        self.month
    }

    /// The month after it.
    #[must_use]
    pub const fn following(self) -> Self {
        if self.month == 12 {
            Self { year: self.year + 1, month: 1 }
        } else {
            Self { year: self.year, month: self.month + 1 }
        }
    }

    /// The month before it; `None` before the first.
    #[must_use]
    pub fn preceding(self) -> Option<Self> {
        if self.month == 1 { Self::new(self.year - 1, 12) } else { Self::new(self.year, self.month - 1) }
    }

    /// The local date on which the period starts: the anchor day, or the month's last day where that is earlier.
    #[must_use]
    pub fn first_day(self, anchor: AnchorDay) -> Date {
        // Years stay within 1970..=9999, where jiff knows every date.
        let first = Date::constant(self.year, self.month, 1);
        Date::constant(self.year, self.month, anchor.0.min(first.days_in_month()))
    }

    /// The instants it covers, for a tariff in `zone` with this anchor day.
    #[must_use]
    pub fn span(self, zone: &Zone, anchor: AnchorDay) -> Span {
        let (first_day, end_day) = (self.first_day(anchor), self.following().first_day(anchor));
        Span { first_day, end_day, from: zone.start_of(first_day), to: zone.start_of(end_day) }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Period {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error::NotAMonth(text.to_owned());
        let (year, month) = text.split_once('-').ok_or_else(refused)?;
        let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return Err(refused());
        }
        let (Ok(year), Ok(month)) = (year.parse(), month.parse()) else { return Err(refused()) };
        Self::new(year, month).ok_or_else(refused)
    }
}

/// The day of the month on which periods start, as it was asked for: 1 to 31.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AnchorDay(i8);

impl AnchorDay {
    /// The first of the month.
    pub const FIRST: Self = Self(1);

    /// The day.
    ///
    /// # Errors
    /// [`Error::NotADay`].
    pub fn new(day: i64) -> Result<Self, Error> {
        match i8::try_from(day) {
            Ok(day @ 1..=31) => Ok(Self(day)),
            _ => Err(Error::NotADay(day)),
        }
    }

    /// The day.
    #[must_use]
    pub const fn day(self) -> i8 {
        self.0
    }
}

/// A time zone of the IANA database, with its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// The zone of this name, from the system's database or, without one, from the one compiled in.
    ///
    /// # Errors
    /// [`Error::UnknownZone`].
    pub fn named(name: &str) -> Result<Self, Error> {
        let zone = TimeZone::get(name).map_err(|_| Error::UnknownZone(name.to_owned()))?;
        // The database's own spelling: lookups ignore case, documents should not differ by it.
        let name = zone.iana_name().ok_or_else(|| Error::UnknownZone(name.to_owned()))?.to_owned();
        Ok(Self { name, zone })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first instant of a local day. Where clocks jump over midnight, it is the instant after the jump; where
    /// midnight comes twice, the first.
    #[must_use]
    pub fn start_of(&self, day: Date) -> UnixMillis {
        let start = day.to_zoned(self.zone.clone()).expect("years 1970 to 9999 are within jiff's range");
        UnixMillis::from_seconds(start.timestamp().as_second())
    }

    /// The local time of an instant.
    #[must_use]
    pub fn local(&self, instant: UnixMillis) -> DateTime {
        let timestamp = Timestamp::from_second(instant.seconds()).unwrap_or_default();
        self.zone.to_datetime(timestamp)
    }

    /// An instant, from the start of `day` on, at which the zone's offset is no multiple of a bucket, so that local
    /// times of whole buckets are not told by its clocks; `None` where there is none.
    #[must_use]
    pub fn uneven_from(&self, day: Date) -> Option<UnixMillis> {
        let is_uneven = |offset: jiff::tz::Offset| i64::from(offset.seconds()) % BUCKET_SECONDS != 0;
        let start = self.start_of(day);
        let timestamp = Timestamp::from_second(start.seconds()).ok()?;
        if is_uneven(self.zone.to_offset(timestamp)) {
            return Some(start);
        }
        // The rules of today's zones repeat every year; a hundred changes are fifty years of them.
        let later = self.zone.following(timestamp).take(100).find(|change| is_uneven(change.offset()))?;
        Some(UnixMillis::from_seconds(later.timestamp().as_second()))
    }
}

/// What a period covers: half-open, in local dates and in instants.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span {
    /// First local date.
    pub first_day: Date,
    /// First local date of the next period.
    pub end_day: Date,
    /// First instant.
    pub from: UnixMillis,
    /// First instant of the next period.
    pub to: UnixMillis,
}

impl Span {
    /// First bucket, and first bucket of the next period.
    #[must_use]
    pub fn buckets(&self) -> (BucketStart, BucketStart) {
        (bucket_at_or_after(self.from), bucket_at_or_after(self.to))
    }

    /// How many buckets it has.
    #[must_use]
    pub fn bucket_count(&self) -> i64 {
        let (from, to) = self.buckets();
        (to.0 - from.0) / BUCKET_SECONDS
    }
}

fn bucket_at_or_after(instant: UnixMillis) -> BucketStart {
    let bucket = BucketStart::of(instant);
    if bucket.start() < instant { BucketStart(bucket.0 + BUCKET_SECONDS) } else { bucket }
}

/// An instant in RFC 3339, in UTC, to the second: `2026-02-28T23:00:00Z`.
#[must_use]
pub fn rfc3339(instant: UnixMillis) -> String {
    match Timestamp::from_second(instant.seconds()) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) => format!("{}s", instant.seconds()),
    }
}

/// The date whose midnight in UTC `instant` is: how a date of the configuration reads as an instant. `None` for any
/// other instant.
#[must_use]
pub fn utc_date(instant: UnixMillis) -> Option<Date> {
    let timestamp = Timestamp::from_millisecond(instant.0).ok()?;
    let at = jiff::tz::Offset::UTC.to_datetime(timestamp);
    (at.time() == jiff::civil::Time::midnight()).then(|| at.date())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(month: &str, zone: &str, anchor: i64) -> Span {
        let period: Period = month.parse().expect("a month");
        period.span(&Zone::named(zone).expect("a zone"), AnchorDay::new(anchor).expect("a day"))
    }

    #[test]
    fn months_are_read_strictly() {
        assert_eq!("2026-03".parse(), Ok(Period { year: 2026, month: 3 }));
        for text in [
            "2026-3",
            "2026-13",
            "2026-00",
            "202-003",
            "26-03",
            "+026-03",
            "2026-03-01",
            "2026",
            "",
            "9999-01",
            "1969-12",
        ] {
            assert_eq!(text.parse::<Period>(), Err(Error::NotAMonth(text.to_owned())));
        }
        assert_eq!(Period { year: 2026, month: 3 }.to_string(), "2026-03");
    }

    #[test]
    fn months_begin_at_local_midnight_and_know_their_clock_changes() {
        // 31 days of 288 buckets are 8928; an hour is 12.
        for (month, from, to, buckets) in [
            ("2026-01", "2025-12-31T23:00:00Z", "2026-01-31T23:00:00Z", 8928),
            ("2026-03", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z", 8916),
            ("2026-10", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", 8940),
            ("2026-02", "2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z", 8064),
            ("2028-02", "2028-01-31T23:00:00Z", "2028-02-29T23:00:00Z", 8352),
            ("2026-12", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z", 8928),
        ] {
            let span = span(month, "Europe/Amsterdam", 1);
            assert_eq!((rfc3339(span.from).as_str(), rfc3339(span.to).as_str()), (from, to), "{month}");
            assert_eq!(span.bucket_count(), buckets, "{month}");
        }
    }

    #[test]
    fn anchors_are_clamped_from_the_day_that_was_asked_for() {
        let starts = |anchor: i64, year: i16| -> Vec<String> {
            (1..=4)
                .map(|month| {
                    Period { year, month }.first_day(AnchorDay::new(anchor).expect("a day")).to_string()
                })
                .collect()
        };
        assert_eq!(starts(31, 2026), ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]);
        assert_eq!(starts(30, 2026), ["2026-01-30", "2026-02-28", "2026-03-30", "2026-04-30"]);
        assert_eq!(starts(31, 2028), ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]);
        assert_eq!(starts(1, 2026), ["2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01"]);
        for day in [0, 32, -1, i64::MAX] {
            assert_eq!(AnchorDay::new(day), Err(Error::NotADay(day)));
        }
    }

    /// Thirty years of periods, any anchor, zones with odd rules: each begins where the one before it ended.
    #[test]
    fn periods_leave_no_gap_and_do_not_overlap() {
        for zone in [
            "UTC",
            "Europe/Amsterdam",
            "America/New_York",
            "Asia/Kathmandu",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "Africa/Cairo",
            "America/Santiago",
        ] {
            for anchor in [1, 15, 28, 29, 30, 31] {
                let mut before = span("1999-12", zone, anchor);
                for year in 2000..2030 {
                    for month in 1..=12 {
                        let now = span(&format!("{year}-{month:02}"), zone, anchor);
                        assert_eq!(before.to, now.from, "{zone} {anchor} {year}-{month}");
                        assert_eq!(before.buckets().1, now.buckets().0);
                        assert!(now.from < now.to);
                        assert_eq!(now.from.seconds() % BUCKET_SECONDS, 0, "midnight is a bucket's edge");
                        before = now;
                    }
                }
            }
        }
    }

    #[test]
    fn a_midnight_that_does_not_exist_is_the_first_instant_after_the_jump() {
        // Samoa had no 2011-12-30: after 2011-12-29 (UTC-10) came 2011-12-31 (UTC+14), at 10:00 UTC on the 30th.
        let december = span("2011-12", "Pacific/Apia", 30);
        assert_eq!(rfc3339(december.from), "2011-12-30T10:00:00Z");
        // In Santiago clocks went from 24:00 on Saturday 2025-09-06 to 01:00, at 04:00 UTC.
        let september = span("2025-09", "America/Santiago", 7);
        assert_eq!(rfc3339(september.from), "2025-09-07T04:00:00Z");
    }

    /// Liberia was at -0:44:30 until 1972: a bucket that the midnight cuts goes to the older period, once.
    #[test]
    fn a_bucket_that_midnight_cuts_goes_to_the_older_period() {
        let (older, newer) = (span("1970-02", "Africa/Monrovia", 1), span("1970-03", "Africa/Monrovia", 1));
        assert_eq!(newer.from.seconds().rem_euclid(BUCKET_SECONDS), 44 * 60 + 30 - 8 * 300);
        assert_eq!(older.buckets().1, newer.buckets().0);
        assert_eq!(newer.buckets().0.0, newer.from.seconds() + 30, "the next edge, half a minute later");
    }

    #[test]
    fn zones_are_of_the_database() {
        assert_eq!(Zone::named("europe/amsterdam").map(|zone| zone.name), Ok("Europe/Amsterdam".to_owned()));
        for name in ["Europe/Nowhere", "", "+02:00", "../etc/passwd"] {
            assert_eq!(Zone::named(name), Err(Error::UnknownZone(name.to_owned())));
        }
    }
}
