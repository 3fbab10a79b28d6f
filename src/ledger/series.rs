//! Series: what usage rows of one link, direction, class, family, exporter and rate have in common.
//!
//! The ledger gives each series a number, and a stored row holds the number: a flush of a million rows names a few
//! hundred series. They are known from flush to flush, so that as a rule none is looked up.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::error::Error;
use super::registers::storable;
use crate::usage::{BUCKET_SECONDS, UsageKey, UsageRow, UsageRows};

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
    pub(super) fn of(key: &UsageKey) -> Self {
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
    pub(super) fn remember(&mut self, rows: &Rows<'_>) {
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

impl Row {
    /// The start of its bucket.
    pub(super) const fn bucket(&self) -> i64 {
        self.0[0]
    }

    /// True where its squares are not 0: it is of sampled records.
    pub(super) const fn has_squares(&self) -> bool {
        self.0[6] | self.0[7] != 0
    }
}

/// The column of the series.
const SERIES: usize = 2;

/// Rows that are stored together, where customers have few each: few enough to stay near.
const PIECE: usize = 1 << 15;

/// The rows of a flush on their way into the ledger.
pub(super) struct Rows<'a> {
    /// In the order of the key.
    usage: &'a UsageRows,
    /// By row: the place of its series.
    places: Vec<u32>,
    /// Each once.
    series: Vec<Series>,
    /// What is known of their numbers.
    numbers: Vec<Option<i64>>,
    octets: u128,
    packets: u128,
}

impl<'a> Rows<'a> {
    /// Sees to it that all can be stored as they are. A flush may have a million rows, so they are looked at once.
    ///
    /// # Errors
    /// [`Error::Range`] where one cannot, [`Error::Unsorted`] where they are not in the order of their keys, each once.
    pub(super) fn new(usage: &'a UsageRows, known: &Numbers) -> Result<Self, Error> {
        let mut places = HashMap::<Series, u32, FixedState>::default();
        let (mut series, mut numbers) = (Vec::new(), Vec::new());
        let (mut octets, mut packets) = (0, 0);
        let mut last: Option<UsageKey> = None;
        let place = |UsageRow { key, sums }: UsageRow| {
            if last.replace(key).is_some_and(|last| last >= key) {
                return Err(Error::Unsorted);
            }
            octets += u128::from(sums.octets);
            packets += u128::from(sums.packets);
            // Months are found by their buckets; one that is between two would belong to none.
            if key.bucket.0.rem_euclid(BUCKET_SECONDS) != 0 {
                return Err(Error::Range("a bucket that does not begin at a multiple of 300 seconds"));
            }
            storable(sums.octets, "octets of more than 63 bits")?;
            storable(sums.packets, "packets of more than 63 bits")?;
            storable(sums.flows, "flows of more than 63 bits")?;
            let own = Series::of(&key);
            let next = places.len();
            Ok(*places.entry(own).or_insert_with(|| {
                series.push(own);
                numbers.push(known.0.get(&own).copied());
                u32::try_from(next).expect("memory holds fewer than 2^32 series")
            }))
        };
        let places = usage.iter().map(place).collect::<Result<_, _>>()?;
        Ok(Self { usage, places, series, numbers, octets, packets })
    }

    /// Octets of all rows together.
    pub(super) fn octets(&self) -> u128 {
        self.octets
    }

    /// Packets of all rows together.
    pub(super) fn packets(&self) -> u128 {
        self.packets
    }

    /// The first bucket.
    pub(super) fn first_bucket(&self) -> Option<i64> {
        self.usage.iter().next().map(|row| row.key.bucket.0)
    }

    /// The series whose numbers are not known, and where the numbers go.
    pub(super) fn unknown(&mut self) -> impl Iterator<Item = (&Series, &mut Option<i64>)> {
        self.series.iter().zip(&mut self.numbers).filter(|(_, number)| number.is_none())
    }

    /// Shows `take` the rows with the numbers of their series, in the order of the table: piece by piece, since a flush
    /// may have a million. To be called when all numbers are known.
    ///
    /// # Errors
    /// That of `take`, at the first one.
    pub(super) fn for_each_piece(
        &self,
        mut take: impl FnMut(&[Row]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut piece = Vec::with_capacity(PIECE.min(self.usage.len()));
        // Only the rows of one customer in one bucket may be out of order.
        let sort = |rows: &mut [Row]| rows.sort_unstable_by_key(|Row(columns)| columns[SERIES]);
        let (mut from, mut last) = (0, None);
        for (row, place) in self.usage.iter().zip(&self.places) {
            let own = (row.key.bucket, row.key.customer);
            if last.replace(own) != Some(own) {
                sort(&mut piece[from..]);
                if piece.len() >= PIECE {
                    take(&piece)?;
                    piece.clear();
                }
                from = piece.len();
            }
            piece.push(self.row(&row, *place));
        }
        sort(&mut piece[from..]);
        take(&piece)
    }

    fn row(&self, UsageRow { key, sums }: &UsageRow, place: u32) -> Row {
        // What was found storable has 63 bits; sums of squares stop there.
        let number = |sum: u64| i64::try_from(sum).unwrap_or(i64::MAX);
        Row([
            key.bucket.0,
            i64::from(key.customer.0),
            self.numbers[place as usize].expect("each series has a number by now"),
            number(sums.octets),
            number(sums.packets),
            number(sums.flows),
            number(sums.squares_low),
            number(sums.squares_high),
        ])
    }
}
