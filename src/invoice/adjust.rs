//! What came late: usage of a period that was closed and invoiced, charged with a later one.
//!
//! The charge is what the former period would have cost with it, less what it would have cost without it, by the tariff
//! version that held then. So allowances, tiers and minimums of that period are counted once, and it makes no difference
//! in how many parts usage came late, or in which order. Each charge that changes is a line; where none does, one line of
//! zero says that something came.

use super::issue::Adjustment;
use super::{Detail, Invoice, Line, State, TaxLine, draft_number};
use crate::money::{Error, Exact, Money, parse_decimal};
use crate::period::{Period, Span};
use crate::rate::saying::{self, Piece, Said};

/// The charge id of the line that says that something came late and changes no charge.
pub const NOTHING: &str = "late";

/// A draft over nothing, for a customer that has only late usage in a period. Party, currency and tariff are those of
/// `like`.
#[must_use]
pub fn empty(like: &Invoice, period: Period, span: Span) -> Invoice {
    let zero = Money::zero(like.currency);
    Invoice {
        number: draft_number(period, &like.customer.name),
        state: State::Draft,
        period,
        span,
        usage_root: crate::rate::parse::sha256_hex(b""),
        lines: Vec::new(),
        net: zero,
        taxes: Vec::new(),
        tax: zero,
        gross: zero,
        quality: super::Quality::default(),
        volumes: Vec::new(),
        parts: Vec::new(),
        ..like.clone()
    }
}

/// Adds to `draft` what usage of `period` costs that came late: `with` is that period's invoice with it, `without` the one
/// without (`None`: there would be none). `root` is the hash of the rows; `name` says what a charge is called.
///
/// A line that adds something has quantity 1; one that takes something off (late volume may lift all of it into a cheaper
/// tier, or lose a minimum) has quantity -1, as discounts do. Prices are never negative.
///
/// # Errors
/// Other currencies, or an amount that has no room.
pub fn apply(
    draft: &mut Invoice,
    period: Period,
    without: Option<&Invoice>,
    with: &Invoice,
    root: &str,
    name: impl Fn(&str) -> Option<Piece>,
) -> Result<(), Error> {
    let zero = Money::zero(draft.currency);
    let of = |invoice: Option<&Invoice>, charge: &str| -> Result<Money, Error> {
        let lines = invoice.into_iter().flat_map(|invoice| &invoice.lines);
        Money::sum(draft.currency, lines.filter(|line| line.charge == charge).map(|line| line.amount))
    };
    let mut charges: Vec<&str> = Vec::new();
    for line in without.into_iter().chain([with]).flat_map(|invoice| &invoice.lines) {
        if !charges.contains(&line.charge.as_str()) {
            charges.push(&line.charge);
        }
    }
    let mut added: Vec<(String, Money)> = Vec::new();
    for charge in charges {
        let more = of(Some(with), charge)?.checked_sub(of(without, charge)?)?;
        if more != zero {
            added.push((charge.to_owned(), more));
        }
    }
    if added.is_empty() {
        added.push((NOTHING.to_owned(), zero));
    }
    for (charge, amount) in added {
        let like = || {
            let mut lines = with.lines.iter().chain(without.into_iter().flat_map(|invoice| &invoice.lines));
            let line = lines.find(|line| line.charge == charge)?;
            let is_own = line.detail.said.is_empty();
            Some(if is_own { vec![Piece::Own(line.description.clone())] } else { line.detail.said.clone() })
        };
        let what = name(&charge).map(|name| vec![name]).or_else(like);
        let mut said =
            vec![Piece::said(Said::Late, [period.to_string()]), Piece::Own(saying::COLON.to_owned())];
        said.extend(what.unwrap_or_else(|| vec![Piece::said(Said::Nothing, [])]));
        let takes_off = amount.minor() < 0;
        if takes_off {
            said.extend([Piece::Own(saying::COMMA.to_owned()), Piece::said(Said::Less, [])]);
        }
        let price = if takes_off { zero.checked_sub(amount)? } else { amount };
        let line = Line {
            description: saying::english(&said),
            charge,
            quantity: if takes_off { "-1" } else { "1" }.to_owned(),
            unit: "period".to_owned(),
            price: price.to_string(),
            amount,
            relative_error: "0.000000".to_owned(),
            detail: Detail { kind: "late".to_owned(), said, ..Detail::default() },
        };
        draft.lines.push(line);
        draft.net = draft.net.checked_add(amount)?;
        draft.issuance.adjustments.push(Adjustment {
            line: draft.lines.len(),
            period,
            tariff: with.tariff.clone(),
            usage_root: root.to_owned(),
        });
    }
    let taxes = without.into_iter().chain([with]).flat_map(|invoice| invoice.taxes.clone());
    let mut seen: Vec<(String, String, String)> = Vec::new();
    for TaxLine { category, percent, exemption_reason, .. } in taxes {
        let key = (category, percent, exemption_reason);
        if !seen.iter().any(|known| is_same(known, &key)) {
            tax(draft, without, with, &key)?;
            seen.push(key);
        }
    }
    draft.tax = Money::sum(draft.currency, draft.taxes.iter().map(|tax| tax.amount))?;
    draft.gross = draft.net.checked_add(draft.tax)?;
    Ok(())
}

/// True where two taxes are of one category and rate: `21` and `21.0` are one.
fn is_same(one: &(String, String, String), other: &(String, String, String)) -> bool {
    let rate = |tax: &(String, String, String)| parse_decimal(&tax.1);
    let same_rate = one.1 == other.1 || rate(one).is_some() && rate(one) == rate(other);
    same_rate && (&one.0, &one.2) == (&other.0, &other.2)
}

/// Adds the difference of one tax's base, and rounds that tax once again over all of it.
fn tax(
    draft: &mut Invoice,
    without: Option<&Invoice>,
    with: &Invoice,
    key: &(String, String, String),
) -> Result<(), Error> {
    let of = |tax: &TaxLine| (tax.category.clone(), tax.percent.clone(), tax.exemption_reason.clone());
    let is_it = |tax: &&TaxLine| is_same(&of(tax), key);
    let base = |invoice: Option<&Invoice>| {
        let taxes = invoice.into_iter().flat_map(|invoice| &invoice.taxes);
        Money::sum(draft.currency, taxes.filter(is_it).map(|tax| tax.base))
    };
    let more = base(Some(with))?.checked_sub(base(without)?)?;
    let known = draft.taxes.iter().position(|tax| is_it(&tax));
    let at = known.unwrap_or_else(|| {
        let zero = Money::zero(draft.currency);
        let (category, percent, exemption_reason) = key.clone();
        draft.taxes.push(TaxLine { category, percent, base: zero, amount: zero, exemption_reason });
        draft.taxes.len() - 1
    });
    let tax = &mut draft.taxes[at];
    tax.base = tax.base.checked_add(more)?;
    let rate = parse_decimal(&tax.percent).map_or_else(Exact::zero, Exact::from);
    tax.amount = Money::round(&tax.base.exact().times(&rate).over(100), tax.base.currency())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Direction, Family};
    use crate::invoice::{Party, draft, json};
    use crate::rate::parse::parse;
    use crate::rate::usage::{GroupKey, PeriodUsage};
    use crate::units::SamplingRate;
    use crate::usage::UsageSums;

    #[expect(clippy::unnecessary_wraps, reason = "as it is asked for")]
    fn named(charge: &str) -> Option<Piece> {
        Some(Piece::Own(if charge == "transit" { "Transit, in and out" } else { "other" }.to_owned()))
    }

    /// Usage of so many GB of transit.
    fn invoice(month: i8, gigabytes: u64) -> Invoice {
        let tariff = parse("t", include_str!("../../tariffs/regional-isp.toml")).expect("good");
        invoice_by(&tariff, month, gigabytes)
    }

    fn invoice_by(tariff: &crate::rate::tariff::Tariff, month: i8, gigabytes: u64) -> Invoice {
        let mut usage = PeriodUsage::default();
        let key = GroupKey {
            band: 0,
            link: "transit-a".into(),
            link_kind: "upstream".into(),
            direction: Direction::In,
            traffic_class: "default".into(),
            family: Family::V4,
            exporter: "ce1".into(),
        };
        let sums = UsageSums { octets: gigabytes * 1_000_000_000, packets: 1, ..UsageSums::default() };
        usage.add(key, &sums, SamplingRate::NOT_ANNOUNCED);
        let party = Party { name: "campus".into(), ..Party::default() };
        let period = Period::new(2026, month).expect("a month");
        draft(party, None, period, tariff, &usage, "0".repeat(64)).expect("rates")
    }

    /// Tiers: to 10000 GB 0.0430, above 0.0310. March had 9000 GB, and 3000 GB come late: 1000 in the first tier (43.00)
    /// and 2000 in the second (62.00), 105.00 together. April has the port (150.00) and 100 GB (4.30). Net 259.30; 21 % of
    /// it are 54.453, so 54.45.
    #[test]
    fn late_usage_costs_what_it_would_have_cost_in_time() {
        let mut april = invoice(4, 100);
        let march = Period::new(2026, 3).expect("a month");
        apply(&mut april, march, Some(&invoice(3, 9000)), &invoice(3, 12_000), "root", named).expect("fits");
        assert_eq!((april.net.to_string(), april.tax.to_string()), ("259.30".into(), "54.45".into()));
        assert_eq!(april.gross.to_string(), "313.75");
        let last = april.lines.last().expect("a line");
        assert_eq!((last.amount.to_string().as_str(), last.charge.as_str()), ("105.00", "transit"));
        assert_eq!(last.description, "Late usage of 2026-03: Transit, in and out");
        let adjustment = &april.issuance.adjustments[0];
        assert_eq!((adjustment.line, adjustment.period), (april.lines.len(), march));
        assert_eq!((adjustment.tariff.id.as_str(), adjustment.tariff.version), ("regional-isp", 1));
        assert_eq!(json::read(&json::write(&april)).expect("adds up"), april);
    }

    /// The same 3000 GB in two parts: the parts' lines are what the whole's is.
    #[test]
    fn late_usage_costs_the_same_in_any_parts() {
        let march = Period::new(2026, 3).expect("a month");
        let mut april = invoice(4, 100);
        for (before, after) in [(9000, 9500), (9500, 12_000)] {
            apply(&mut april, march, Some(&invoice(3, before)), &invoice(3, after), "root", named)
                .expect("fits");
        }
        assert_eq!(april.gross.to_string(), "313.75");
        assert_eq!(april.issuance.adjustments.len(), 2);
    }

    /// By all-units tiers 9000 GB cost 387.00, and 10001 GB 310.031, rounded 310.03: late volume takes 76.97 off. And 21.0 %
    /// is the tax of 21 %.
    #[test]
    fn late_usage_may_take_something_off_and_taxes_are_numbers() {
        let volume_tiers = |gigabytes: u64, percent: &str| {
            let text = include_str!("../../tariffs/regional-isp.toml").replace("graduated", "volume");
            let mut tariff = parse("t", &text).expect("good");
            tariff.tax.percent = percent.parse().expect("a number");
            invoice_by(&tariff, 3, gigabytes)
        };
        let march = Period::new(2026, 3).expect("a month");
        let mut april = invoice(4, 100);
        let (without, with) = (volume_tiers(9000, "21"), volume_tiers(10_001, "21.0"));
        apply(&mut april, march, Some(&without), &with, "root", named).expect("fits");
        let last = april.lines.last().expect("a line");
        let shown = (last.quantity.as_str(), last.price.as_str(), last.amount.to_string());
        assert_eq!(shown, ("-1", "76.97", "-76.97".to_owned()));
        assert_eq!(last.description, "Late usage of 2026-03: Transit, in and out, less");
        // 150.00 + 4.30 - 76.97 = 77.33; 21 % are 16.2393.
        assert_eq!((april.taxes.len(), april.net.to_string()), (1, "77.33".to_owned()));
        assert_eq!(april.tax.to_string(), "16.24");
        assert_eq!(json::read(&json::write(&april)).expect("adds up"), april);
    }

    #[test]
    fn late_usage_that_costs_nothing_is_visible() {
        let march = invoice(3, 50);
        let mut only = empty(&march, Period::new(2026, 4).expect("a month"), march.span);
        apply(&mut only, march.period, Some(&march), &march, "root", named).expect("fits");
        assert_eq!(
            (only.lines.len(), only.gross.minor(), only.number.as_str()),
            (1, 0, "DRAFT-2026-04-campus")
        );
        assert_eq!(json::read(&json::write(&only)).expect("adds up"), only);
    }

    proptest::proptest! {
        /// Whatever comes late, in whatever parts and order: the adjustments come to what the period costs with all of it less
        /// what it did cost, and the tax is that of the sum.
        #[test]
        fn late_usage_costs_the_same_in_any_parts_and_order(
            base in 0..60_000_u64,
            parts in proptest::collection::vec(0..30_000_u64, 1..6),
            first in 0..6_usize,
            mode in 0..2_usize,
        ) {
            let text = include_str!("../../tariffs/regional-isp.toml");
            let tariff = parse("t", &text.replace("graduated", ["graduated", "volume"][mode])).expect("good");
            let march = Period::new(2026, 3).expect("a month");
            let charged = |parts: &[u64]| {
                let (mut april, mut so_far) = (invoice_by(&tariff, 4, 100), base);
                for part in parts {
                    let (without, with) =
                        (invoice_by(&tariff, 3, so_far), invoice_by(&tariff, 3, so_far + part));
                    apply(&mut april, march, Some(&without), &with, "root", named).expect("fits");
                    so_far += part;
                }
                let lines = Money::sum(april.currency, april.lines.iter().map(|line| line.amount)).expect("fits");
                assert_eq!(lines, april.net, "sum of lines");
                (april.net, april.gross)
            };
            let all: u64 = parts.iter().sum();
            let mut turned = parts.clone();
            turned.rotate_left(first % parts.len());
            let mut reversed = parts.clone();
            reversed.reverse();
            let whole = charged(&[all]);
            let own = invoice_by(&tariff, 4, 100).net.minor();
            let march = invoice_by(&tariff, 3, base + all).net.minor() - invoice_by(&tariff, 3, base).net.minor();
            assert_eq!(whole.0.minor(), own + march);
            for order in [parts, turned, reversed] {
                assert_eq!(charged(&order), whole);
            }
        }
    }
}
