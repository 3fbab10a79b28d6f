//! Charges by a percentile of five-minute rates. What a contract leaves open decides bills by tens of percent, so a
//! tariff says all of it: how the directions become one number, which rank the percentile is, what several links come
//! to, and what a missing sample means.
//!
//! A sample is the octets of one bucket. Ranks are found on integers; only the sample that was found becomes a rate,
//! which is exact. Percentiles of *sampled* flow records are refused: the error of each bucket pushes the upper
//! percentile up (at 10 Mbit/s and 1 in 1000 by a tenth), and no averaging takes that away.

use rust_decimal::Decimal;

use super::line::{Charge, LineKind};
use super::saying::{self, Piece, Said};
use super::tariff::{ChargeRule, PercentileRule};
use super::working::{How, Working};
use super::{Error, Part};
use crate::flow::Direction;
use crate::money::Exact;
use crate::usage::{BUCKET_SECONDS, BucketStart};

/// How the two directions become one number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Combine {
    /// The percentile of what comes in.
    In,
    /// The percentile of what goes out.
    Out,
    /// The greater of the two percentiles.
    MaxOfP95,
    /// The percentile of the greater direction of each sample.
    P95OfMax,
    /// The percentile of both directions together.
    P95OfSum,
    /// The two percentiles together.
    SumOfP95,
    /// The percentile of all samples of both directions as one series, as some legacy contracts have it.
    Pooled,
}

impl Combine {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::In, Self::Out, Self::MaxOfP95, Self::P95OfMax, Self::P95OfSum, Self::SumOfP95, Self::Pooled];

    /// Its name in tariffs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::MaxOfP95 => "max-of-p95",
            Self::P95OfMax => "p95-of-max",
            Self::P95OfSum => "p95-of-sum",
            Self::SumOfP95 => "sum-of-p95",
            Self::Pooled => "pooled",
        }
    }

    /// The only direction that it is about, if it is only one.
    #[must_use]
    pub const fn only(self) -> Option<Direction> {
        match self {
            Self::In => Some(Direction::In),
            Self::Out => Some(Direction::Out),
            _ => None,
        }
    }
}

/// Which sample of `n`, in ascending order, is the percentile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rank {
    /// What is left at the top when the share above the percentile, rounded down to whole samples, is discarded.
    Nearest,
    /// As Cacti counts: the share of samples below, rounded down.
    Cacti,
    /// As rrdtool's PERCENT counts: rounded, between the first sample and the last.
    Rrdtool,
}

impl Rank {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nearest, Self::Cacti, Self::Rrdtool];

    /// Its name in tariffs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Cacti => "cacti",
            Self::Rrdtool => "rrdtool",
        }
    }

    /// The rank of the percentile among `n` samples, from 1; `None` of no samples.
    #[must_use]
    pub fn of(self, n: usize, percent: Decimal) -> Option<usize> {
        if n == 0 {
            return None;
        }
        // Percentages have at most 4 digits after the point, so that the products are far below 2^127.
        let (mantissa, hundred) = (percent.mantissa(), 100 * 10_i128.pow(percent.scale()));
        let n = i128::try_from(n).ok()?;
        let rank = match self {
            Self::Nearest => n - n * (hundred - mantissa) / hundred,
            Self::Cacti => n * mantissa / hundred,
            Self::Rrdtool => ((n - 1) * mantissa * 2 + hundred) / (hundred * 2) + 1,
        };
        usize::try_from(rank.clamp(1, n)).ok()
    }
}

/// How several links become one number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Links {
    /// Their samples are added up, and the sums ranked.
    SumThenRank,
    /// Each is ranked, and the percentiles are added up.
    RankThenSum,
}

/// What a missing sample means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// It is left out: there are fewer samples.
    Exclude,
    /// Nothing was transferred.
    Zero,
    /// It is left out, and the tariff says how many must be there.
    Hold,
}

/// Where samples come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SampleSource {
    /// Interface counters, by SNMP.
    Snmp,
    /// Metered flows.
    Flow,
}

impl SampleSource {
    /// Its name in tariffs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snmp => "snmp",
            Self::Flow => "flow",
        }
    }
}

/// Octets of a bucket in one direction, or that nobody knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Count(u64);

impl Count {
    /// Nobody knows.
    pub const MISSING: Self = Self(u64::MAX);

    /// So many octets; 2^64 - 1 and more than any counter can hold is missing.
    #[must_use]
    pub const fn octets(octets: u64) -> Self {
        Self(octets)
    }

    /// The octets.
    #[must_use]
    pub const fn known(self) -> Option<u64> {
        if self.0 == u64::MAX { None } else { Some(self.0) }
    }
}

/// A sample of a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sample {
    /// Toward the customer.
    pub inward: Count,
    /// From the customer.
    pub outward: Count,
}

impl Sample {
    /// Nothing is known.
    pub const MISSING: Self = Self { inward: Count::MISSING, outward: Count::MISSING };
    /// Nothing was transferred.
    pub const SILENT: Self = Self { inward: Count(0), outward: Count(0) };
}

/// Samples of a link in one tariff class, one for each bucket of the part. A link that was not there at any time of
/// the part has no series; one that was there in silence has one of zeros.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Series {
    /// The link's name.
    pub link: String,
    /// The position of the tariff's class that its usage falls into.
    pub class: usize,
    /// Where the samples come from.
    pub source: SampleSource,
    /// Some of it was counted on sampled packets.
    pub is_sampled: bool,
    /// The charges that leave this usage out, by id.
    pub exempt: Vec<String>,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// What a percentile came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Octets of a bucket; of the sum of several links, their sum.
    pub octets: u128,
    /// How many samples were ranked (of the link that has the fewest).
    pub ranked: usize,
    /// How many samples there should be.
    pub expected: usize,
    /// How many were there.
    pub present: usize,
}

/// One bucket, all links together; `None`: not known.
type Pair = (Option<u128>, Option<u128>);

/// The percentile of these series by a rule. `counts` says whether the bucket at a position counts.
#[must_use]
pub fn find(rule: &PercentileRule, series: &[&Series], counts: impl Fn(usize) -> bool) -> Option<Found> {
    let known = |count: Count| match (count.known(), rule.missing) {
        (None, Missing::Zero) => Some(0),
        (octets, _) => octets.map(u128::from),
    };
    let pairs = |chosen: &[&Series]| -> Vec<Pair> {
        let buckets = chosen.iter().map(|one| one.samples.len()).max().unwrap_or(0);
        let at = |one: &Series, at: usize| one.samples.get(at).copied().unwrap_or(Sample::MISSING);
        let add = |sum: Option<u128>, count: Count| Some(sum? + known(count)?);
        let sum = |bucket: usize| {
            chosen.iter().fold((Some(0), Some(0)), |(inward, outward), one| {
                let sample = at(one, bucket);
                (add(inward, sample.inward), add(outward, sample.outward))
            })
        };
        (0..buckets).filter(|&bucket| counts(bucket)).map(sum).collect()
    };
    match rule.links {
        Links::SumThenRank => ranked(rule, &pairs(series)),
        Links::RankThenSum => {
            let mut all: Option<Found> = None;
            for one in series {
                let found = ranked(rule, &pairs(&[one]))?;
                all = Some(match all {
                    None => found,
                    Some(before) => Found {
                        octets: before.octets + found.octets,
                        ranked: before.ranked.min(found.ranked),
                        expected: before.expected + found.expected,
                        present: before.present + found.present,
                    },
                });
            }
            all
        }
    }
}

fn ranked(rule: &PercentileRule, pairs: &[Pair]) -> Option<Found> {
    let inward = || pairs.iter().filter_map(|pair| pair.0);
    let outward = || pairs.iter().filter_map(|pair| pair.1);
    let both = || pairs.iter().filter_map(|&(inward, outward)| Some((inward?, outward?)));
    let mut fewest = usize::MAX;
    let mut at = |values: &mut dyn Iterator<Item = u128>| {
        let mut values: Vec<u128> = values.collect();
        fewest = fewest.min(values.len());
        let rank = rule.rank.of(values.len(), rule.percent)?;
        Some(*values.select_nth_unstable(rank - 1).1)
    };
    let octets = match rule.combine {
        Combine::In => at(&mut inward())?,
        Combine::Out => at(&mut outward())?,
        Combine::MaxOfP95 => at(&mut inward())?.max(at(&mut outward())?),
        Combine::SumOfP95 => at(&mut inward())? + at(&mut outward())?,
        Combine::P95OfMax => at(&mut both().map(|(inward, outward)| inward.max(outward)))?,
        Combine::P95OfSum => at(&mut both().map(|(inward, outward)| inward + outward))?,
        Combine::Pooled => at(&mut inward().chain(outward()))?,
    };
    let present = match rule.combine {
        Combine::In => inward().count(),
        Combine::Out => outward().count(),
        _ => both().count(),
    };
    Some(Found { octets, ranked: fewest, expected: pairs.len(), present })
}

/// Octets of a bucket as a rate, exact.
#[must_use]
pub fn rate_of(rule: &PercentileRule, octets: u128) -> Exact {
    Exact::whole(octets).times(&Exact::whole(8)).over(BUCKET_SECONDS).over(rule.unit.bits())
}

/// The lines of a charge by percentile.
///
/// # Errors
/// [`Error`].
pub(super) fn charge(
    part: &Part<'_>,
    rule: &ChargeRule,
    percentile: &PercentileRule,
) -> Result<Vec<Charge>, Error> {
    let tariff = part.tariff;
    // With `seconds`, a part that a customer has no time in has no lines either.
    if !part.term.share(tariff.proration).is_positive() {
        return Ok(Vec::new());
    }
    let (tariff_id, charge_id) = (|| tariff.id.clone(), || rule.id.clone());
    let series: Vec<&Series> = part
        .usage
        .series
        .iter()
        .filter(|one| one.source == percentile.source && percentile.classes.contains(&one.class))
        .filter(|one| !one.exempt.contains(&rule.id))
        .collect();
    if series.iter().any(|one| one.is_sampled) {
        return Err(Error::SampledPercentile { tariff: tariff_id(), charge: charge_id() });
    }
    let bands = &part.usage.band_of_bucket;
    let counts = |bucket: usize| {
        percentile.has_band(bands.get(bucket).copied().unwrap_or(0).into()) && is_of_customer(part, bucket)
    };
    let buckets = usize::try_from(part.term.span.bucket_count()).unwrap_or(0);
    let is_silent = series.is_empty() && percentile.source == SampleSource::Flow;
    let mut working = Working::default();
    let (octets, coverage) = if is_silent || !(0..buckets).any(&counts) {
        // Of no sample at all nothing is missing.
        working.step("no sample", How::Given(Exact::zero()), "octets");
        (0, 1_000_000)
    } else {
        let found = find(percentile, &series, counts)
            .ok_or_else(|| Error::NoSamples { tariff: tariff_id(), charge: charge_id() })?;
        let coverage = coverage_millionths(part, percentile, &series, &counts);
        let what = format!(
            "percentile {} ({}, rank {}) of {} samples",
            percentile.percent,
            percentile.combine.as_str(),
            percentile.rank.as_str(),
            found.ranked
        );
        working.step(what, How::Given(Exact::whole(found.octets)), "octets in 300 s");
        (found.octets, coverage)
    };
    if let Some(least) = percentile.min_coverage
        && Exact::whole(coverage).over(1_000_000) < Exact::from(least)
    {
        let coverage = crate::usage::millionths(coverage);
        return Err(Error::Coverage { tariff: tariff_id(), charge: charge_id(), coverage, least });
    }
    let bits = working.step("bits", How::Times(vec![Exact::whole(octets), Exact::whole(8)]), "bit");
    let per_second = working.step("in a second", How::Over(bits, Exact::whole(BUCKET_SECONDS)), "bit/s");
    let (unit, bits) = (percentile.unit.as_str(), percentile.unit.bits());
    let rate = working.step("rate", How::Over(per_second, Exact::whole(bits)), unit);
    lines(part, rule, percentile, (&rate, &working), coverage)
}

/// True for buckets in which the customer was one: the others are no samples, since the price is for that time alone, and
/// not for a month that is empty outside it.
fn is_of_customer(part: &Part<'_>, bucket: usize) -> bool {
    let Ok(bucket) = i64::try_from(bucket) else { return false };
    let (first, _) = part.term.span.buckets();
    let at = |n: i64| BucketStart(first.0 + n * BUCKET_SECONDS).start();
    part.term.presence.within(at(bucket), at(bucket + 1)) > 0
}

/// The share of the samples that were there, rounded down, whatever the rule makes of missing ones.
fn coverage_millionths(
    part: &Part<'_>,
    rule: &PercentileRule,
    series: &[&Series],
    counts: &dyn Fn(usize) -> bool,
) -> u128 {
    let plain = PercentileRule { missing: Missing::Exclude, ..rule.clone() };
    let found = find(&plain, series, counts);
    let (present, expected) =
        found.map_or((0, part.usage.band_of_bucket.len()), |found| (found.present, found.expected));
    if expected == 0 { 0 } else { present as u128 * 1_000_000 / expected as u128 }
}

fn lines(
    part: &Part<'_>,
    rule: &ChargeRule,
    percentile: &PercentileRule,
    (rate, working): (&Exact, &Working),
    coverage: u128,
) -> Result<Vec<Charge>, Error> {
    let share = part.term.share(part.tariff.proration);
    let unit = percentile.unit.as_str();
    let shown = rate.to_decimal_string(3);
    let line = |kind: LineKind, words: Piece, (quantity, mut working): (Exact, Working), price: Decimal| {
        let quantity = part.term.shared(&mut working, "quantity", quantity, &share, unit);
        let mut line = Charge::new(part, kind, &rule.id, (quantity, price))?;
        line.working = working;
        line.says(saying::of_charge(saying::named(&rule.description, rule.said.as_ref()), vec![words]));
        line.unit = unit.to_owned();
        line.clause = rule.line;
        line.classes = percentile.classes.iter().map(|&at| part.tariff.classes[at].name.clone()).collect();
        line.direction = percentile.combine.as_str();
        line.coverage = Some(coverage);
        Ok(line)
    };
    let Some((commit, commit_price)) = percentile.commit else {
        return Ok(vec![line(
            LineKind::Percentile,
            Piece::said(Said::Rate, [shown, unit.to_owned()]),
            (rate.clone(), working.clone()),
            percentile.price,
        )?]);
    };
    let committed = Exact::from(commit);
    let words = Piece::said(Said::Committed, [commit.to_string(), unit.to_owned()]);
    let mut made =
        vec![line(LineKind::Commit, words, (committed.clone(), Working::default()), commit_price)?];
    let mut working = working.clone();
    let over = working.step("above the commit", How::Minus(rate.clone(), committed), unit);
    if over.is_positive() {
        let words = Piece::said(Said::OverCommit, [commit.to_string(), unit.to_owned(), shown]);
        made.push(line(LineKind::Percentile, words, (over, working), percentile.price)?);
    }
    Ok(made)
}
