//! `usage`: the ledger's volume, grouped by any keys.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::output::{self, Cell, Format};
use super::{Failure, parse_instant};
use crate::flow::{Direction, Family};
use crate::ids::ExporterId;
use crate::ledger::Ledger;
use crate::ledger::records::{NameKind, UsageFilter};
use crate::usage::{BucketStart, Scaled, UsageRow, Variance, millionths};

/// What rows are grouped by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Key {
    /// Customer, or a reserved name.
    Customer,
    /// Upstream link; empty where the flow crosses none.
    Link,
    /// `in`, `out`, or empty.
    Direction,
    /// Traffic class.
    Class,
    /// `ipv4`, `ipv6`, `other`.
    Family,
    /// Exporter.
    Exporter,
    /// Start of the five minutes.
    Bucket,
    /// Start of the hour, UTC.
    Hour,
    /// Start of the day, UTC.
    Day,
    /// Start of the month, UTC.
    Month,
}

/// Volume kept in the ledger, by customer, link, time and more.
#[derive(Args, Debug)]
pub struct UsageArgs {
    /// First instant: RFC 3339, or a date (UTC). All time if left out.
    #[arg(long, value_parser = parse_instant)]
    from: Option<Timestamp>,
    /// First instant after it.
    #[arg(long, value_parser = parse_instant)]
    to: Option<Timestamp>,
    /// Keys, in the order of the columns.
    #[arg(long, value_delimiter = ',', default_value = "customer,link,direction")]
    by: Vec<Key>,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl UsageArgs {
    /// Refuses what the types of the arguments let through.
    ///
    /// # Errors
    /// A key that is named twice: columns, and the members of JSON objects, have different names.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match (0..self.by.len()).find(|&at| self.by[..at].contains(&self.by[at])) {
            Some(at) => Err(Failure::Usage(format!("error: --by names `{}` twice", key_name(self.by[at])))),
            None => Ok(()),
        }
    }
}

/// Sums of one group.
#[derive(Default)]
struct Sums {
    flows: u128,
    raw_packets: u128,
    raw_octets: u128,
    packets: Scaled,
    octets: Scaled,
    variance: Variance,
}

impl Sums {
    fn add(&mut self, row: &UsageRow) {
        let (sums, rate) = (&row.sums, row.key.rate);
        self.flows += u128::from(sums.flows);
        self.raw_packets += u128::from(sums.packets);
        self.raw_octets += u128::from(sums.octets);
        self.packets.add(sums.packets, rate);
        self.octets.add(sums.octets, rate);
        self.variance.add(sums.squares_high, rate);
    }

    fn is_zero(&self) -> bool {
        self.flows == 0 && self.raw_packets == 0 && self.raw_octets == 0
    }

    fn cells(&self) -> impl Iterator<Item = Cell> {
        let octets = self.octets.rounded();
        let count = |n: u128| Cell::Integer(i128::try_from(n).expect("sums of 2^63 rows of 2^63 fit"));
        [
            count(self.flows),
            Cell::Integer(self.packets.rounded()),
            Cell::Integer(octets),
            count(self.raw_packets),
            count(self.raw_octets),
            Cell::Decimal(millionths(self.variance.relative_error_millionths(octets))),
        ]
        .into_iter()
    }
}

/// Prints all usage by customer, link and direction.
///
/// # Errors
/// As [`run`].
pub(super) fn by_default_keys(
    ledger: &mut Ledger,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    run(
        &UsageArgs { from: None, to: None, by: vec![Key::Customer, Key::Link, Key::Direction], format },
        ledger,
        out,
    )
}

/// Prints the usage.
///
/// # Errors
/// When the ledger cannot be read, or `out` not written to.
pub fn run(args: &UsageArgs, ledger: &mut Ledger, out: &mut dyn Write) -> Result<(), Failure> {
    let ceil = |t: Timestamp| {
        // A bucket belongs to the span when its start does.
        let seconds = t.as_second() + i64::from(t.subsec_nanosecond() > 0);
        BucketStart(seconds.div_euclid(300) * 300 + if seconds.rem_euclid(300) == 0 { 0 } else { 300 })
    };
    let filter = UsageFilter { from: args.from.map(ceil), to: args.to.map(ceil), customer: None };
    let names = Names::load(ledger)?;
    let mut groups: BTreeMap<Vec<String>, Sums> = BTreeMap::new();
    let mut last: Option<(Vec<u64>, Vec<String>)> = None;
    let mut add = |row: UsageRow| {
        // Rows come sorted, so most have the key of the one before: its text is made once.
        let plain: Vec<u64> = args.by.iter().map(|key| plain_key(*key, &row)).collect();
        if last.as_ref().is_none_or(|(known, _)| *known != plain) {
            let text = args.by.iter().map(|key| names.text(*key, &row)).collect();
            last = Some((plain, text));
        }
        let (_, text) = last.as_ref().expect("set above");
        match groups.get_mut(text) {
            Some(sums) => sums.add(&row),
            None => groups.entry(text.clone()).or_default().add(&row),
        }
    };
    ledger.for_each_usage(&filter, &mut add)?;
    // What came after its period was closed was used all the same.
    ledger.for_each_late_usage(BucketStart(i64::MIN), BucketStart(i64::MAX), &mut |_, row| {
        let bucket = row.key.bucket;
        if filter.from.is_none_or(|from| bucket >= from) && filter.to.is_none_or(|to| bucket < to) {
            add(row);
        }
    })?;
    let mut columns: Vec<&str> = args.by.iter().map(|key| key_name(*key)).collect();
    columns.extend(["flows", "packets", "bytes", "raw_packets", "raw_bytes", "relative_error"]);
    let rows: Vec<Vec<Cell>> = groups
        .iter()
        .filter(|(_, sums)| !sums.is_zero())
        .map(|(keys, sums)| keys.iter().map(|k| Cell::Text(k.clone())).chain(sums.cells()).collect())
        .collect();
    output::rows(out, args.format, &columns, &rows)?;
    Ok(())
}

const fn key_name(key: Key) -> &'static str {
    match key {
        Key::Customer => "customer",
        Key::Link => "link",
        Key::Direction => "direction",
        Key::Class => "class",
        Key::Family => "family",
        Key::Exporter => "exporter",
        Key::Bucket => "bucket",
        Key::Hour => "hour",
        Key::Day => "day",
        Key::Month => "month",
    }
}

/// The key as a number that differs where the text differs.
fn plain_key(key: Key, row: &UsageRow) -> u64 {
    let k = &row.key;
    match key {
        Key::Customer => u64::from(k.customer.0),
        Key::Link => u64::from(k.link.0),
        Key::Direction => k.direction as u64,
        Key::Class => u64::from(k.class.0),
        Key::Family => k.family as u64,
        Key::Exporter => u64::from(k.exporter.0),
        Key::Bucket => k.bucket.0.cast_unsigned(),
        Key::Hour => k.bucket.0.div_euclid(3600).cast_unsigned(),
        Key::Day | Key::Month => k.bucket.0.div_euclid(86_400).cast_unsigned(),
    }
}

/// The names behind the numbers of usage rows.
struct Names {
    customers: HashMap<u32, String>,
    links: HashMap<u32, String>,
    classes: HashMap<u32, String>,
    exporters: HashMap<u32, String>,
}

impl Names {
    fn load(ledger: &mut Ledger) -> Result<Self, Failure> {
        let mut of = |kind| ledger.names(kind).map(|names| names.into_iter().collect::<HashMap<_, _>>());
        Ok(Self {
            customers: of(NameKind::Customer)?,
            links: of(NameKind::Link)?,
            classes: of(NameKind::Class)?,
            exporters: of(NameKind::Exporter)?,
        })
    }

    fn text(&self, key: Key, row: &UsageRow) -> String {
        let k = &row.key;
        let named = |names: &HashMap<u32, String>, id: u32| {
            names.get(&id).cloned().unwrap_or_else(|| if id == 0 { String::new() } else { format!("#{id}") })
        };
        match key {
            Key::Customer => named(&self.customers, k.customer.0),
            Key::Link => named(&self.links, u32::from(k.link.0)),
            Key::Direction => Direction::as_str(k.direction).to_owned(),
            Key::Class if k.class.0 == 0 => "default".to_owned(),
            Key::Class => named(&self.classes, u32::from(k.class.0)),
            Key::Family => Family::as_str(k.family).to_owned(),
            Key::Exporter if k.exporter == ExporterId::OTHERS => ExporterId::OTHERS_NAME.to_owned(),
            Key::Exporter => named(&self.exporters, u32::from(k.exporter.0)),
            Key::Bucket => time(k.bucket.0),
            Key::Hour => time(k.bucket.0.div_euclid(3600) * 3600),
            Key::Day => time(k.bucket.0.div_euclid(86_400) * 86_400),
            Key::Month => {
                // A capture may state instants that no calendar has.
                let Ok(start) = Timestamp::from_second(k.bucket.0) else { return time(k.bucket.0) };
                let date = start.to_zoned(jiff::tz::TimeZone::UTC).date();
                time(
                    date.first_of_month()
                        .to_zoned(jiff::tz::TimeZone::UTC)
                        .map_or(0, |z| z.timestamp().as_second()),
                )
            }
        }
    }
}

/// RFC 3339 in UTC.
fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClassId, CustomerId, LinkId};
    use crate::units::SamplingRate;
    use crate::usage::{BucketStart, UsageKey, UsageSums};

    /// The last bucket of the meter, where a capture may get with an instant of its own making, is in the year 22385.
    #[test]
    fn a_month_beyond_any_calendar_is_its_number() {
        let names = Names {
            customers: HashMap::new(),
            links: HashMap::new(),
            classes: HashMap::new(),
            exporters: HashMap::new(),
        };
        let key = |bucket| UsageKey {
            bucket: BucketStart(bucket),
            customer: CustomerId::LOCAL,
            link: LinkId::NONE,
            direction: Direction::None,
            class: ClassId::DEFAULT,
            family: Family::V4,
            exporter: ExporterId(1),
            rate: SamplingRate::NOT_ANNOUNCED,
        };
        let month =
            |bucket| names.text(Key::Month, &UsageRow { key: key(bucket), sums: UsageSums::default() });
        assert_eq!(month(644_245_094_100), "644245094100");
        assert_eq!(month(-644_245_094_400), "-644245094400");
        // 2026-01-15T00:05:00Z
        assert_eq!(month(1_768_435_500), "2026-01-01T00:00:00Z");
    }
}
