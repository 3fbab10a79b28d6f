//! The truth: what usage of the generated traffic must be. Computed apart from the metering and classification code,
//! straight from the definitions, so that both can be wrong only in different ways.

use std::collections::BTreeMap;
use std::io::{self, Write};

use hashbrown::HashMap;

use crate::flow::Direction;
use crate::meter::BucketRule;
use crate::units::SamplingRate;
use crate::usage::{BUCKET_SECONDS, millionths};

/// Who a flow was made for. Indexes into the names of [`Truth`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    /// Customer or reserved name.
    pub(super) customer: u32,
    /// Link; 0 is none.
    pub(super) link: u16,
    /// Direction.
    pub(super) direction: Direction,
    /// Sampling rate.
    pub(super) rate: u8,
}

/// What is to be split over buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Volume {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) packets: u64,
    pub(super) octets: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    flows: u64,
    packets: u64,
    octets: u64,
    /// Upper bound of the sum of squared packet sizes.
    squares: u128,
}

impl Sums {
    fn is_zero(&self) -> bool {
        self.flows == 0 && self.packets == 0 && self.octets == 0
    }
}

/// Account and bucket in one word: 24 bits of customer, 14 of link, 2 of direction, 6 of rate, 18 of bucket.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Key(u64);

impl Key {
    const CUSTOMERS: usize = 1 << 24;
    const LINKS: usize = 1 << 14;
    const RATES: usize = 1 << 6;
    const BUCKETS: i64 = 1 << 18;

    fn new(account: Account, bucket: u64) -> Self {
        Self(
            u64::from(account.customer) << 40
                | u64::from(account.link) << 26
                | (account.direction as u64) << 24
                | u64::from(account.rate) << 18
                | bucket,
        )
    }

    fn parts(self) -> (usize, usize, Direction, usize, i64) {
        let part = |shift: u32, bits: u32| (self.0 >> shift) & ((1 << bits) - 1);
        let index = |shift, bits| usize::try_from(part(shift, bits)).expect("at most 24 bits");
        let direction = match part(24, 2) {
            1 => Direction::In,
            2 => Direction::Out,
            _ => Direction::None,
        };
        (index(40, 24), index(26, 14), direction, index(18, 6), i64::try_from(part(0, 18)).expect("18 bits"))
    }
}

/// The truth table. Its size is that of the usage, whatever the number of records.
#[derive(Debug)]
pub struct Truth {
    customers: Vec<String>,
    links: Vec<String>,
    rates: Vec<SamplingRate>,
    rule: BucketRule,
    packet_min: u64,
    packet_max: u64,
    /// Number of the bucket that keys count from.
    first_bucket: i64,
    rows: HashMap<Key, Sums, foldhash::fast::FixedState>,
    records: u64,
    octets: u64,
    packets: u64,
}

impl Truth {
    /// An empty table over these names (`links[0]` is none) and rates, for flows that begin at `first_ms` or later
    /// and end before `last_ms`. `None` where there is more than a key can hold.
    pub(super) fn new(
        customers: Vec<String>,
        links: Vec<String>,
        rates: Vec<SamplingRate>,
        meter: &crate::meter::Config,
        (first_ms, last_ms): (i64, i64),
    ) -> Option<Self> {
        let first_bucket = bucket_of(first_ms);
        let fits = customers.len() <= Key::CUSTOMERS
            && links.len() <= Key::LINKS
            && rates.len() <= Key::RATES
            && bucket_of(last_ms) - first_bucket < Key::BUCKETS;
        fits.then(|| Self {
            customers,
            links,
            rates,
            rule: meter.bucket,
            packet_min: u64::from(meter.packet_octets_min),
            packet_max: u64::from(meter.packet_octets_max),
            first_bucket,
            rows: HashMap::default(),
            records: 0,
            octets: 0,
            packets: 0,
        })
    }

    /// Flow records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Their octets, before scaling.
    #[must_use]
    pub fn raw_octets(&self) -> u64 {
        self.octets
    }

    /// Their packets, before scaling.
    #[must_use]
    pub fn raw_packets(&self) -> u64 {
        self.packets
    }

    /// Books a flow.
    pub(super) fn add(&mut self, account: Account, volume: Volume) {
        self.records += 1;
        self.octets += volume.octets;
        self.packets += volume.packets;
        let squares = self.squares(volume);
        let (first, last) = (bucket_of(volume.start_ms), bucket_of(volume.end_ms));
        if first == last || self.rule == BucketRule::End {
            let sums = Sums { flows: 1, packets: volume.packets, octets: volume.octets, squares };
            return self.book(account, last, sums);
        }
        // The end is not part of the flow, so its bucket may have a share of nothing; the record still counts there.
        let shares: Vec<u128> = (first..=last)
            .map(|bucket| {
                let (begin, end) = (bucket * BUCKET_SECONDS * 1000, (bucket + 1) * BUCKET_SECONDS * 1000);
                u128::try_from(end.min(volume.end_ms) - begin.max(volume.start_ms)).expect("they overlap")
            })
            .collect();
        let packets = largest_remainder(volume.packets.into(), &shares);
        let octets = largest_remainder(volume.octets.into(), &shares);
        let squares = largest_remainder(squares, &shares);
        let narrow = |n: u128| u64::try_from(n).expect("a part is not more than the whole");
        for (n, bucket) in (first..=last).enumerate() {
            let flows = u64::from(bucket == last);
            let sums =
                Sums { flows, packets: narrow(packets[n]), octets: narrow(octets[n]), squares: squares[n] };
            self.book(account, bucket, sums);
        }
    }

    /// One packet: its size squared. More: the chord above the square between least and greatest size; where the mean
    /// size is outside of these, sizes from 0, or up to the longest packet that IP allows. Never more than the square
    /// of all octets, as if they were one packet.
    fn squares(&self, volume: Volume) -> u128 {
        const IP_OCTETS_MAX: u128 = 65_575;
        let (packets, octets) = (u128::from(volume.packets), u128::from(volume.octets));
        let (least, most) = (u128::from(self.packet_min), u128::from(self.packet_max));
        let sum = if packets == 1 {
            octets * octets
        } else if octets < least * packets {
            most * octets
        } else if octets > most * packets {
            IP_OCTETS_MAX * octets
        } else {
            (least + most) * octets - least * most * packets
        };
        sum.min(octets * octets)
    }

    fn book(&mut self, account: Account, bucket: i64, sums: Sums) {
        let bucket =
            u64::try_from(bucket - self.first_bucket).expect("no flow begins before the first bucket");
        let row = self.rows.entry(Key::new(account, bucket)).or_default();
        row.flows += sums.flows;
        row.packets += sums.packets;
        row.octets += sums.octets;
        row.squares += sums.squares;
    }

    /// Writes the table as `usage --by customer,link,direction,bucket --format csv` must print it.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "customer,link,direction,bucket,flows,packets,bytes,raw_packets,raw_bytes,relative_error"
        )?;
        // Names are compared once each, not once a comparison of rows.
        let (customers, links) = (ranks(&self.customers), ranks(&self.links));
        let mut rows: Vec<(Place, usize, &Sums)> = self
            .rows
            .iter()
            .map(|(key, sums)| {
                let (customer, link, direction, rate, bucket) = key.parts();
                ((customers[customer], links[link], direction, bucket), rate, sums)
            })
            .collect();
        rows.sort_unstable_by_key(|row| (row.0, row.1));
        let names = (in_order(&self.customers, &customers), in_order(&self.links, &links));
        let mut starts: BTreeMap<i64, String> = BTreeMap::new();
        for same in rows.chunk_by(|a, b| a.0 == b.0) {
            let parts: Vec<(SamplingRate, Sums)> =
                same.iter().map(|&(_, rate, sums)| (self.rates[rate], *sums)).collect();
            let mut whole = Sums::default();
            for (_, sums) in &parts {
                whole.flows += sums.flows;
                whole.packets += sums.packets;
                whole.octets += sums.octets;
            }
            if whole.is_zero() {
                continue;
            }
            let packets = scaled(&parts, |sums| sums.packets);
            let octets = scaled(&parts, |sums| sums.octets);
            let error = millionths(relative_error(&parts, octets));
            let (customer, link, direction, bucket) = same[0].0;
            let start = match starts.get(&bucket) {
                Some(start) => start,
                None => {
                    let second = (self.first_bucket + bucket) * BUCKET_SECONDS;
                    let start = jiff::Timestamp::from_second(second).map_err(io::Error::other)?;
                    starts.entry(bucket).or_insert_with(|| start.to_string())
                }
            };
            let (customer, link, direction) = (&names.0[customer], &names.1[link], direction.as_str());
            let Sums { flows, packets: raw_packets, octets: raw_octets, .. } = whole;
            writeln!(
                out,
                "{customer},{link},{direction},{start},{flows},{packets},{octets},{raw_packets},{raw_octets},{error}"
            )?;
        }
        Ok(())
    }
}

/// Ranks of customer and link among their names, direction, and bucket: the order of the file.
type Place = (usize, usize, Direction, i64);

/// The rank of each name, in the order of their octets.
fn ranks(names: &[String]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|&n| &names[n]);
    let mut ranks = vec![0; names.len()];
    for (rank, n) in order.into_iter().enumerate() {
        ranks[n] = rank;
    }
    ranks
}

/// The names by rank, as fields of CSV.
fn in_order(names: &[String], ranks: &[usize]) -> Vec<String> {
    let mut fields = vec![String::new(); names.len()];
    for (name, &rank) in names.iter().zip(ranks) {
        fields[rank] = quoted(name);
    }
    fields
}

/// Number of the bucket that holds an instant.
fn bucket_of(ms: i64) -> i64 {
    ms.div_euclid(BUCKET_SECONDS * 1000)
}

/// `whole` in proportion to `shares`: everyone gets the quotient rounded down, and what is left goes, one each, to
/// the largest remainders, the earlier of two equal ones first.
fn largest_remainder(whole: u128, shares: &[u128]) -> Vec<u128> {
    let all: u128 = shares.iter().sum();
    let mut parts: Vec<u128> = shares.iter().map(|share| whole * share / all).collect();
    let left = whole - parts.iter().sum::<u128>();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|&n| (core::cmp::Reverse(whole * shares[n] % all), n));
    for n in order.into_iter().zip(0..left).map(|(n, _)| n) {
        parts[n] += 1;
    }
    parts
}

/// The sum over rates of `raw * numerator / denominator`, rounded half up once.
fn scaled(parts: &[(SamplingRate, Sums)], raw: impl Fn(&Sums) -> u64) -> u128 {
    let common = parts.iter().fold(1_u128, |common, (rate, _)| {
        let denominator = u128::from(rate.denominator());
        let mut divisor = (common, denominator);
        while divisor.1 != 0 {
            divisor = (divisor.1, divisor.0 % divisor.1);
        }
        common / divisor.0 * denominator
    });
    let sum: u128 = parts
        .iter()
        .map(|(rate, sums)| {
            u128::from(raw(sums)) * u128::from(rate.numerator()) * (common / u128::from(rate.denominator()))
        })
        .sum();
    (2 * sum + common) / (2 * common)
}

/// Standard error over estimate in millionths, rounded half up: floor((floor(2 x) + 1) / 2) for x = 10^6 sqrt(V) / E.
fn relative_error(parts: &[(SamplingRate, Sums)], estimate: u128) -> u128 {
    let variance: u128 = parts
        .iter()
        .map(|(rate, sums)| {
            let (n, d) = (u128::from(rate.numerator()), u128::from(rate.denominator()));
            (n * (n - d)).saturating_mul(sums.squares).div_ceil(d * d)
        })
        .sum();
    if variance == 0 || estimate == 0 {
        return 0;
    }
    // Digits that do not fit are taken from both sides of the fraction under the root.
    let (mut top, mut bottom, mut millions) = (variance, estimate, 1_000_000_u128);
    while top.checked_mul(4 * millions * millions).is_none() {
        if millions > 1 {
            millions /= 10;
            bottom = bottom.div_ceil(10);
        } else {
            top = top.div_ceil(100);
            bottom = bottom.div_ceil(10);
        }
    }
    match bottom.checked_mul(bottom) {
        Some(square) => (top * 4 * millions * millions / square).isqrt().div_ceil(2),
        None => 0,
    }
}

/// A field of CSV, quoted where it must be (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::RateSource;

    fn rate(n: u64, d: u64) -> SamplingRate {
        SamplingRate::new(n, d, RateSource::Header).expect("a rate")
    }

    fn truth(rates: Vec<SamplingRate>) -> Truth {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let meter = crate::meter::Config { packet_octets_min: 40, ..crate::meter::Config::default() };
        Truth::new(names(&["b", "a, b"]), names(&["", "up"]), rates, &meter, (0, 10_000_000))
            .expect("it fits")
    }

    fn csv(truth: &Truth) -> String {
        let mut out = Vec::new();
        truth.write_csv(&mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    const HEADER: &str =
        "customer,link,direction,bucket,flows,packets,bytes,raw_packets,raw_bytes,relative_error\n";

    #[test]
    fn ties_go_to_the_earliest() {
        assert_eq!(largest_remainder(2, &[1, 1, 1]), [1, 1, 0]);
        assert_eq!(largest_remainder(100, &[1, 2]), [33, 67]);
        assert_eq!(largest_remainder(7, &[1, 0, 6]), [1, 0, 6]);
    }

    /// 100 s before the boundary, 200 s behind it; 10 packets and 1000 octets: 3.33 and 6.67, 333.3 and 666.7.
    #[test]
    fn a_flow_over_a_boundary() {
        let mut truth = truth(vec![rate(1, 1)]);
        let account = Account { customer: 1, link: 1, direction: Direction::In, rate: 0 };
        truth.add(account, Volume { start_ms: 200_000, end_ms: 500_000, packets: 10, octets: 1000 });
        let rows = "\"a, b\",up,in,1970-01-01T00:00:00Z,0,3,333,3,333,0.000000\n\
                    \"a, b\",up,in,1970-01-01T00:05:00Z,1,7,667,7,667,0.000000\n";
        assert_eq!(csv(&truth), format!("{HEADER}{rows}"));
    }

    /// The worked example of the variance: N = 1000, (1, 1500) (1, 40) (3, 4500) (2, 1540), sizes 40 to 1500.
    #[test]
    fn the_error_of_the_worked_example() {
        let mut truth = truth(vec![rate(1000, 1)]);
        let account = Account { customer: 0, link: 0, direction: Direction::None, rate: 0 };
        for (packets, octets) in [(1, 1500), (1, 40), (3, 4500), (2, 1540)] {
            truth.add(account, Volume { start_ms: 0, end_ms: 0, packets, octets });
        }
        let row = "b,,,1970-01-01T00:00:00Z,4,7000,7580000,7,7580,0.442335\n";
        assert_eq!(csv(&truth), format!("{HEADER}{row}"));
    }

    /// Two packets of 60 octets in all, with sizes from 40 on: below the least, and 60 is the greatest there can be.
    /// Variance 10 * 9 * 3600 = 324000, its root 569.21, of 600: 0.948683.
    #[test]
    fn the_error_of_a_record_that_contradicts_the_sizes() {
        let mut truth = truth(vec![rate(10, 1)]);
        let account = Account { customer: 0, link: 0, direction: Direction::None, rate: 0 };
        truth.add(account, Volume { start_ms: 0, end_ms: 0, packets: 2, octets: 60 });
        let row = "b,,,1970-01-01T00:00:00Z,1,20,600,2,60,0.948683\n";
        assert_eq!(csv(&truth), format!("{HEADER}{row}"));
    }

    /// 1 * 4/3 + 1 * 3/2 = 2.83 octets; one row, though the rates differ.
    #[test]
    fn rates_meet_in_one_row() {
        let mut truth = truth(vec![rate(4, 3), rate(3, 2)]);
        for rate in [0, 1] {
            let account = Account { customer: 0, link: 0, direction: Direction::None, rate };
            truth.add(account, Volume { start_ms: 0, end_ms: 0, packets: 1, octets: 1 });
        }
        assert!(csv(&truth).contains("b,,,1970-01-01T00:00:00Z,2,3,3,2,2,"), "{}", csv(&truth));
    }
}
