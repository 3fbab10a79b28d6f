//! Series: what usage rows of one link, direction, class, family, exporter and rate have in common.
//!
//! The ledger gives each series a number, and a stored row holds the number: a flush of a million rows names a few
//! hundred series. They are known from flush to flush, so that as a rule none is looked up.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::error::Error;
use super::registers::storable;
use crate::usage::{BUCKET_SECONDS, UsageKey, UsageRow};

/// Series that are remembered, at most: an exporter that tells another rate with each record does not make this grow.
const REMEMBERED: usize = 1 << 16;

/// The part of a usage row's key beside bucket and customer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Series {
    pub(super) link: i32,
    pub(super) direction: i32,
    pub(super) class: i32,
    pub(super) family: i32,
    pub(super) exporter: i32,
    pub(super) rate_numerator: i64,
    pub(super) rate_denominator: i64,
    pub(super) rate_source: i32,
}

impl Series {
    fn of(key: &UsageKey) -> Self {
        Self {
            link: i32::from(key.link.0),
            direction: key.direction as i32,
            class: i32::from(key.class.0),
            family: key.family as i32,
            exporter: i32::from(key.exporter.0),
            rate_numerator: i64::from(key.rate.numerator()),
            rate_denominator: i64::from(key.rate.denominator()),
            rate_source: key.rate.source() as i32,
        }
    }
}

/// The ledger's numbers of series, as far as transactions that are committed have used them.
#[derive(Default)]
pub(super) struct Numbers(HashMap<Series, i64, FixedState>);

impl Numbers {
    /// Remembers what a committed transaction used.
    pub(super) fn remember(&mut self, rows: &Rows) {
        if self.0.len() > REMEMBERED {
            self.0.clear();
        }
        let numbered = rows.series.iter().zip(&rows.numbers);
        self.0.extend(numbered.filter_map(|(series, number)| Some((*series, (*number)?))).take(REMEMBERED));
    }

    /// Forgets them: what is connected to next may be another ledger.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// A row of `usage_row`: its eight columns in order, bucket, customer, series, octets, packets, flows, and the squares'
/// lower and upper bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row(pub(super) [i64; 8]);

/// The column of the series.
const SERIES: usize = 2;

/// The rows of a flush on their way into the ledger.
#[derive(Default)]
pub(super) struct Rows {
    /// In the order of the key. Until [`Rows::number`], a row's series is a place in `series`.
    rows: Vec<Row>,
    /// Each once.
    series: Vec<Series>,
    /// What is known of their numbers.
    numbers: Vec<Option<i64>>,
}

impl Rows {
    /// As they are stored.
    ///
    /// # Errors
    /// [`Error::Range`] where a row cannot be stored as it is.
    pub(super) fn new(usage: &[UsageRow], known: &Numbers) -> Result<Self, Error> {
        let mut places = HashMap::<Series, i64, FixedState>::default();
        let mut all = Self { rows: Vec::with_capacity(usage.len()), ..Self::default() };
        let square = |sum: u64| i64::try_from(sum).unwrap_or(i64::MAX);
        for UsageRow { key, sums } in usage {
            // Months are found by their buckets; one that is between two would belong to none.
            if key.bucket.0.rem_euclid(BUCKET_SECONDS) != 0 {
                return Err(Error::Range("a bucket that does not begin at a multiple of 300 seconds"));
            }
            let series = Series::of(key);
            let next = places.len();
            let place = *places.entry(series).or_insert_with(|| {
                all.series.push(series);
                all.numbers.push(known.0.get(&series).copied());
                i64::try_from(next).expect("a series takes memory")
            });
            all.rows.push(Row([
                key.bucket.0,
                i64::from(key.customer.0),
                place,
                storable(sums.octets, "octets of more than 63 bits")?,
                storable(sums.packets, "packets of more than 63 bits")?,
                storable(sums.flows, "flows of more than 63 bits")?,
                square(sums.squares_low),
                square(sums.squares_high),
            ]));
        }
        Ok(all)
    }

    /// The series whose numbers are not known, and where the numbers go.
    pub(super) fn unknown(&mut self) -> impl Iterator<Item = (&Series, &mut Option<i64>)> {
        self.series.iter().zip(&mut self.numbers).filter(|(_, number)| number.is_none())
    }

    /// The rows with the numbers of their series, in the order of the table. To be called once, when all are known.
    pub(super) fn number(&mut self) -> &[Row] {
        for Row(columns) in &mut self.rows {
            let place = usize::try_from(columns[SERIES]).expect("it is a place");
            columns[SERIES] = self.numbers[place].expect("each series has a number by now");
        }
        // Only the rows of one customer in one bucket may be out of order.
        for own in self.rows.chunk_by_mut(|Row(a), Row(b)| a[..SERIES] == b[..SERIES]) {
            own.sort_unstable_by_key(|Row(columns)| columns[SERIES]);
        }
        &self.rows
    }
}
