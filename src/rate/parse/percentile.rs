//! `[[charge]]` of kind `percentile`: what a contract must say of it, it says; only the percentile itself, the unit
//! and the links have defaults.

use rust_decimal::Decimal;

use super::charge::{Context, read_band_list, read_class_list};
use super::section::{Problems, Section, Value, decimal, one_of};
use crate::rate::class::ClassMatch;
use crate::rate::percentile::{Combine, Links, Missing, Rank, SampleSource};
use crate::rate::tariff::{PercentileRule, RateUnit};

/// Keys of a charge by percentile.
pub(super) const KEYS: [&str; 17] = [
    "id",
    "kind",
    "description",
    "customer",
    "class",
    "band",
    "combine",
    "percentile",
    "rank",
    "links",
    "missing",
    "min_coverage",
    "source",
    "unit",
    "price",
    "commit",
    "overage",
];

/// The rule.
pub(super) fn read_percentile(
    section: &Section<'_>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<PercentileRule> {
    let chosen = read_class_list(section, context, problems);
    let bands = read_band_list(section, context, problems);
    let combine = section.need_text("combine", problems).and_then(|found| {
        one_of(found, "a way to combine directions", &Combine::ALL, Combine::as_str, problems)
    });
    let rank = section
        .need_text("rank", problems)
        .and_then(|found| one_of(found, "a rank", &Rank::ALL, Rank::as_str, problems));
    let links = word_or(
        section,
        "links",
        &[Links::SumThenRank, Links::RankThenSum],
        Some(Links::SumThenRank),
        |l| {
            if l == Links::SumThenRank { "sum-then-rank" } else { "rank-then-sum" }
        },
        problems,
    );
    let missing = word_or(
        section,
        "missing",
        &[Missing::Exclude, Missing::Zero, Missing::Hold],
        None,
        |m| match m {
            Missing::Exclude => "exclude",
            Missing::Zero => "zero",
            Missing::Hold => "hold-if-below",
        },
        problems,
    );
    let source = word_or(
        section,
        "source",
        &[SampleSource::Snmp, SampleSource::Flow],
        None,
        SampleSource::as_str,
        problems,
    );
    let unit = word_or(
        section,
        "unit",
        &[RateUnit::Megabit, RateUnit::Gigabit],
        Some(RateUnit::Megabit),
        RateUnit::as_str,
        problems,
    );
    let percent = match section.get("percentile") {
        None => Some(Decimal::from(95)),
        Some(value) => read_percent(value, problems),
    };
    let min_coverage = read_coverage(section, missing, problems);
    check_source(section, context, source.zip(missing), chosen.as_deref(), problems);
    let (commit, price) = read_money(section, problems)?;
    Some(PercentileRule {
        classes: chosen?,
        bands: bands?,
        combine: combine?,
        percent: percent?,
        rank: rank?,
        links: links?,
        missing: missing?,
        min_coverage: min_coverage?,
        source: source?,
        unit: unit?,
        commit,
        price,
    })
}

/// One of a few words; without a default, it must be there.
fn word_or<T: Copy>(
    section: &Section<'_>,
    key: &str,
    known: &[T],
    default: Option<T>,
    name_of: impl Fn(T) -> &'static str,
    problems: &mut Problems,
) -> Option<T> {
    if section.get(key).is_none() && default.is_some() {
        return default;
    }
    let found = section.need_text(key, problems)?;
    one_of(found, &format!("known for `{key}`"), known, name_of, problems)
}

fn read_percent(value: &Value<'_>, problems: &mut Problems) -> Option<Decimal> {
    let percent = decimal(value, "percentile", problems)?;
    let fits = !percent.is_zero() && percent <= Decimal::ONE_HUNDRED && percent.scale() <= 4;
    if !fits {
        let message = "`percentile` is above 0, at most 100, with at most 4 digits after the point";
        problems.add(value.span(), message, "");
    }
    fits.then_some(percent)
}

fn read_coverage(
    section: &Section<'_>,
    missing: Option<Missing>,
    problems: &mut Problems,
) -> Option<Option<Decimal>> {
    let Some(value) = section.get("min_coverage") else {
        if missing == Some(Missing::Hold) {
            section.need("min_coverage", problems);
            return None;
        }
        return Some(None);
    };
    let share = decimal(value, "min_coverage", problems)?;
    if share > Decimal::ONE {
        problems.add(value.span(), "`min_coverage` is a share: at most 1", "");
        return None;
    }
    Some(Some(share))
}

/// Interface counters know links and nothing of what went over them; flows cannot tell silence from a gap.
fn check_source(
    section: &Section<'_>,
    context: &Context<'_>,
    source: Option<(SampleSource, Missing)>,
    chosen: Option<&[usize]>,
    problems: &mut Problems,
) {
    match source {
        Some((SampleSource::Flow, Missing::Exclude | Missing::Hold)) => {
            let span = section.get("missing").map_or_else(|| section.span.clone(), Value::span);
            let message =
                "flows cannot tell a missing sample from silence: with source \"flow\", missing is \"zero\"";
            problems.add(span, message, "");
        }
        Some((SampleSource::Snmp, _)) => {
            let Some(last) = chosen.and_then(|chosen| chosen.iter().max()) else { return };
            let is_of_link = |matches: &ClassMatch| {
                matches.traffic_class.is_empty() && matches.family.is_empty() && matches.exporter.is_empty()
            };
            let unfit =
                context.classes.iter().take(last + 1).flatten().find(|class| !is_of_link(&class.matches));
            if let Some(class) = unfit {
                let span = section.get("class").map_or_else(|| section.span.clone(), Value::span);
                let message = format!(
                    "interface counters know only links, and class `{}` asks for more than `link` and `link_kind`",
                    class.name
                );
                problems.add(span, message, "put classes of links first");
            }
        }
        _ => {}
    }
}

/// Quantity and price of a unit.
type Commit = Option<(Decimal, Decimal)>;

/// Commit and overage, or a plain price.
fn read_money(section: &Section<'_>, problems: &mut Problems) -> Option<(Commit, Decimal)> {
    let Some(commit) = section.get("commit") else {
        if let Some(value) = section.get("overage") {
            problems.add(value.span(), "`overage` needs a `commit`; without one, use `price`", "");
            return None;
        }
        let value = section.need("price", problems)?;
        return decimal(value, "price", problems).map(|price| (None, price));
    };
    if let Some(value) = section.get("price") {
        problems.add(value.span(), "a charge has `price`, or `commit` and `overage`, not both", "");
    }
    let commit = Section::of(commit, "`commit`", problems)?;
    commit.only(&["quantity", "price"], problems);
    let mut number = |section: &Section<'_>, key: &str| {
        section.need(key, problems).and_then(|value| decimal(value, key, problems))
    };
    let commit = number(&commit, "quantity").zip(number(&commit, "price"));
    let overage =
        section.need("overage", problems).and_then(|value| Section::of(value, "`overage`", problems))?;
    overage.only(&["price"], problems);
    let price = overage.need("price", problems).and_then(|value| decimal(value, "price", problems))?;
    Some((Some(commit?), price))
}
