//! An invoice with shares of the totals of links is final only when nobody's usage can move them any more.

use std::collections::BTreeMap;

use crate::cli::period::Spans;
use crate::config::Config;
use crate::ids::CustomerId;
use crate::invoice::Invoice;
use crate::ledger::records::NameKind;
use crate::ledger::{Closed, Ledger};
use crate::period::{Period, Span, rfc3339};
use crate::units::UnixMillis;
use crate::usage::BucketStart;

/// What is known of others when invoices are to become final.
pub(super) struct Others {
    closed: Closed,
    names: Vec<(u32, String)>,
    /// `None` where no invoice has shares: nobody asks.
    spans: Option<Spans>,
    now: UnixMillis,
}

impl Others {
    /// What the ledger says now, for these invoices.
    ///
    /// # Errors
    /// What the ledger says, or a stored tariff that is not understood.
    pub(super) fn load<'a>(
        ledger: &mut Ledger,
        config: &Config,
        now: UnixMillis,
        mut invoices: impl Iterator<Item = &'a Invoice>,
    ) -> anyhow::Result<Self> {
        let (closed, names) = (ledger.closed()?, ledger.names(NameKind::Customer)?);
        let spans = if invoices.any(has_shares) { Some(Spans::load_at(ledger, config, now)?) } else { None };
        Ok(Self { closed, names, spans, now })
    }

    /// Why an invoice cannot be final yet though its own usage is closed: a charge of it is calibrated, and what others
    /// still use of the same links would move its shares.
    pub(super) fn open_beside(&self, invoice: &Invoice) -> Option<String> {
        let end = invoice.span.buckets().1;
        if !has_shares(invoice) || self.closed.everybody().is_some_and(|until| until >= end) {
            return None;
        }
        let is_open = |number: u32| self.closed.until(number).is_none_or(|until| until < end);
        let open = self.names.iter().filter(|(number, _)| is_open(*number));
        let open =
            open.map(|(number, name)| (name.as_str(), self.closing(*number, name, invoice.period, end)));
        Some(told(end, invoice.period, open, self.now))
    }

    /// What closes a customer's usage up to `end`; `None` for who has no tariff: that is closed with everybody's.
    fn closing(&self, number: u32, name: &str, period: Period, end: BucketStart) -> Option<Closing> {
        let spans = self.spans.as_ref()?;
        if CustomerId(number) < CustomerId::FIRST || spans.of(name, period).1.is_none() {
            return None;
        }
        closing(period, end, |period| spans.of(name, period).0)
    }
}

fn has_shares(invoice: &Invoice) -> bool {
    invoice.lines.iter().any(|line| line.detail.calibration.is_some())
}

/// A customer's period, and when it ends.
type Closing = (Period, UnixMillis);

/// The customer's first period that lasts up to `end` or beyond it, by its own zone and anchor. Anchors and zones move the
/// ends of periods of one name apart by a month and a day at most, so it is `period` or one of the two after it.
fn closing(period: Period, end: BucketStart, span: impl Fn(Period) -> Span) -> Option<Closing> {
    let near = [period, period.following(), period.following().following()];
    near.into_iter().map(|period| (period, span(period))).find_map(|(period, span)| {
        // The buckets, as they are closed.
        (span.buckets().1 >= end).then_some((period, span.to))
    })
}

/// What is waited for, in words.
fn told<'a>(
    end: BucketStart,
    period: Period,
    open: impl Iterator<Item = (&'a str, Option<Closing>)>,
    now: UnixMillis,
) -> String {
    let mut by_closing: BTreeMap<Option<Closing>, Vec<&str>> = BTreeMap::new();
    for (name, closing) in open {
        by_closing.entry(closing).or_default().push(name);
    }
    let mut parts = Vec::new();
    let nobody = by_closing.is_empty();
    for (closing, mut names) in by_closing {
        names.sort_unstable();
        let names = listed(&names);
        parts.push(match closing {
            None => format!("of {names}: {}", with_everybody(period)),
            Some((period, ends)) if ends > now => {
                format!(
                    "of {names}: {period} of theirs lasts until {}, and is to be closed then",
                    rfc3339(ends)
                )
            }
            Some((period, _)) => {
                format!("of {names}: close it first with `fluxoscope period close --period {period}`")
            }
        });
    }
    if nobody {
        parts.push(format!("of those that nobody has seen yet: {}", with_everybody(period)));
    }
    format!(
        "it has shares of the totals of links, which move with the usage of others up to {}, and that is still open, {}",
        rfc3339(end.start()),
        parts.join("; ")
    )
}

/// Usage without a tariff is closed when a period is closed for all.
fn with_everybody(period: Period) -> String {
    format!("close it first with `fluxoscope period close --period {period}`, when everybody's has ended")
}

/// Names; of many only the number.
fn listed(names: &[&str]) -> String {
    const NAMES_MAX: usize = 10;
    let mut listed: Vec<String> = names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
    if let Some(more) = names.len().checked_sub(NAMES_MAX).filter(|more| *more > 0) {
        listed.push(format!("{more} more"));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::{AnchorDay, Zone};

    fn period(text: &str) -> Period {
        text.parse().unwrap()
    }

    fn at(text: &str) -> UnixMillis {
        UnixMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn closing_in(zone: &str, anchor: i64, of: &str) -> Option<(String, String)> {
        let (zone, anchor) = (Zone::named(zone).unwrap(), AnchorDay::new(anchor).unwrap());
        // October 2026 of a customer in UTC: it ends with the month.
        let end = period(of).span(&Zone::named("UTC").unwrap(), AnchorDay::FIRST).buckets().1;
        let found = closing(period(of), end, |period| period.span(&zone, anchor))?;
        Some((found.0.to_string(), rfc3339(found.1)))
    }

    /// Istanbul is three hours before UTC all year: its October ends at 21:00 of the 31st, and November has the three hours
    /// that are missing. New York's October (four hours behind on 1 November, before the clocks change at 2:00) has them all.
    #[test]
    fn the_period_to_close_is_the_customers_own() {
        let found = |period: &str, ends: &str| Some((period.to_owned(), ends.to_owned()));
        assert_eq!(closing_in("UTC", 1, "2026-10"), found("2026-10", "2026-11-01T00:00:00Z"));
        assert_eq!(closing_in("Europe/Istanbul", 1, "2026-10"), found("2026-11", "2026-11-30T21:00:00Z"));
        assert_eq!(closing_in("America/New_York", 1, "2026-10"), found("2026-10", "2026-11-01T04:00:00Z"));
        assert_eq!(closing_in("UTC", 15, "2026-10"), found("2026-10", "2026-11-15T00:00:00Z"));
        assert_eq!(closing_in("Europe/Istanbul", 1, "2026-12"), found("2027-01", "2027-01-31T21:00:00Z"));
    }

    #[test]
    fn what_is_waited_for_is_told_with_what_helps() {
        let end = period("2026-10").span(&Zone::named("UTC").unwrap(), AnchorDay::FIRST).buckets().1;
        let november = Some((period("2026-11"), at("2026-11-30T21:00:00Z")));
        let of = |open: &[(&str, Option<Closing>)], now: &str| {
            told(end, period("2026-10"), open.iter().copied(), at(now))
        };
        let begins = "it has shares of the totals of links, which move with the usage of others up to \
                      2026-11-01T00:00:00Z, and that is still open, of ";
        let open = of(&[("c", november)], "2026-11-02T00:00:00Z");
        let lasts = "`c`: 2026-11 of theirs lasts until 2026-11-30T21:00:00Z, and is to be closed then";
        assert_eq!(open, format!("{begins}{lasts}"));
        let ended = of(&[("c", november)], "2026-12-02T00:00:00Z");
        let close = "`c`: close it first with `fluxoscope period close --period 2026-11`";
        assert_eq!(ended, format!("{begins}{close}"));
        let everybody =
            "close it first with `fluxoscope period close --period 2026-10`, when everybody's has ended";
        let both = of(&[("through", None), ("c", november), ("local", None)], "2026-11-02T00:00:00Z");
        assert_eq!(both, format!("{begins}`local`, `through`: {everybody}; of {lasts}"));
        let nobody = of(&[], "2026-11-02T00:00:00Z");
        assert_eq!(nobody, format!("{begins}those that nobody has seen yet: {everybody}"));
    }
}
