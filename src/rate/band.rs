//! Bands of local time: which part of the day and week a bucket falls into.
//!
//! A day is a weekday, or a holiday where the tariff's calendar says so; a holiday is never a weekday. Each of these
//! eight kinds of days is cut into 288 cells of five minutes of local time, and each cell belongs to exactly one band:
//! [`super::parse`] proves it. A bucket takes the band of the cell in which it begins. Usage is kept by buckets of UTC,
//! so that clock changes need no rule of their own: the hour that comes twice is in its band twice, the one that is
//! left out is in none.

use jiff::civil::{Date, DateTime};

use crate::period::Zone;
use crate::usage::{BUCKET_SECONDS, BucketStart};

/// Kinds of days: Monday to Sunday, and holidays.
pub const DAY_KINDS: usize = 8;
/// The kind of holidays.
pub const HOLIDAY: usize = 7;
/// Cells of a day.
pub const CELLS: usize = 288;
/// Names of the kinds of days.
pub const DAY_NAMES: [&str; DAY_KINDS] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday"];

/// The bands of a tariff.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bands {
    /// Their names; one, empty, where the tariff has no bands.
    names: Vec<String>,
    /// The band of each cell, by kind of day and then by time; empty where there is one band.
    cells: Vec<u8>,
    /// Days that are no weekdays.
    holidays: Holidays,
}

/// A calendar of holidays.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holidays {
    /// Every year on this month and day.
    pub yearly: Vec<(i8, i8)>,
    /// Once.
    pub dates: Vec<Date>,
}

impl Holidays {
    /// True on a holiday.
    #[must_use]
    pub fn holds(&self, day: Date) -> bool {
        self.yearly.contains(&(day.month(), day.day())) || self.dates.contains(&day)
    }
}

impl Default for Bands {
    fn default() -> Self {
        Self { names: vec![String::new()], cells: Vec::new(), holidays: Holidays::default() }
    }
}

impl Bands {
    /// Bands with these names; `cells` holds the band of every cell of every kind of day.
    #[must_use]
    pub fn new(names: Vec<String>, cells: Vec<u8>, holidays: Holidays) -> Self {
        assert_eq!(cells.len(), DAY_KINDS * CELLS, "a band for every cell");
        Self { names, cells, holidays }
    }

    /// How many there are, at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// True where the tariff has bands.
    #[must_use]
    pub fn are_there(&self) -> bool {
        !self.cells.is_empty()
    }

    /// The name of a band; empty where the tariff has none.
    #[must_use]
    pub fn name(&self, band: usize) -> &str {
        self.names.get(band).map_or("", String::as_str)
    }

    /// Their names, in the order of the file.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When a band is, in words: `mon-fri 08:00-20:00`; nothing where the tariff has no bands.
    #[must_use]
    pub fn when(&self, band: usize) -> String {
        let Some(days) = self.are_there().then(|| self.cells.chunks(CELLS).collect::<Vec<_>>()) else {
            return String::new();
        };
        let hours: Vec<String> = days.iter().map(|cells| hours_of(cells, band)).collect();
        let (mut words, mut first) = (Vec::new(), 0);
        while first < hours.len() {
            // Holidays are no part of a range of weekdays.
            let same = |day: &usize| *day < HOLIDAY && first < HOLIDAY && hours[*day] == hours[first];
            let last = (first + 1..hours.len()).take_while(same).last().unwrap_or(first);
            if !hours[first].is_empty() {
                let days = if first == last {
                    DAY_NAMES[first].to_owned()
                } else {
                    format!("{}-{}", DAY_NAMES[first], DAY_NAMES[last])
                };
                words.push(format!("{days} {}", hours[first]));
            }
            first = last + 1;
        }
        words.join(", ")
    }

    /// The days that are no weekdays.
    #[must_use]
    pub const fn holidays(&self) -> &Holidays {
        &self.holidays
    }

    /// The band at a local time.
    #[must_use]
    pub fn at(&self, local: DateTime) -> u8 {
        let day = if self.holidays.holds(local.date()) {
            HOLIDAY
        } else {
            local.weekday().to_monday_zero_offset().unsigned_abs().into()
        };
        let minutes =
            usize::from(local.hour().unsigned_abs()) * 60 + usize::from(local.minute().unsigned_abs());
        self.cells.get(day * CELLS + minutes / 5).copied().unwrap_or(0)
    }

    /// The band of every bucket in `[from, to)`, in a zone; empty where there is only one.
    #[must_use]
    pub fn of_buckets(&self, zone: &Zone, from: BucketStart, to: BucketStart) -> Vec<u8> {
        if !self.are_there() {
            return Vec::new();
        }
        let buckets = (to.0 - from.0).max(0) / BUCKET_SECONDS;
        (0..buckets).map(|n| self.at(zone.local(BucketStart(from.0 + n * BUCKET_SECONDS).start()))).collect()
    }
}

/// The hours of a band in a day: `08:00-20:00`, several joined by `and`.
fn hours_of(cells: &[u8], band: usize) -> String {
    let is_own = |at: usize| cells.get(at).is_some_and(|&cell| usize::from(cell) == band);
    let time = |cell: usize| format!("{:02}:{:02}", cell * 5 / 60, cell * 5 % 60);
    let begins = (0..cells.len()).filter(|&at| is_own(at) && (at == 0 || !is_own(at - 1)));
    let ranges = begins.map(|from| {
        let to = (from..=cells.len()).find(|&at| !is_own(at)).unwrap_or(cells.len());
        format!("{}-{}", time(from), time(to))
    });
    ranges.collect::<Vec<_>>().join(" and ")
}
