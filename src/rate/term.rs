//! Which time a rated part is about, and what share of a period that is.
//!
//! A period is whole, or a change of tariff or of its version splits it into parts; each is rated for itself, and what
//! a tariff says of a period (amounts, allowances, ends of tiers, commits) counts in it by its share of the period's
//! seconds. The shares of all parts add up to one. With [`Proration::Seconds`] only the time in which the customer was
//! one counts.

use super::tariff::{Proration, Tariff};
use super::working::{How, Working};
use crate::money::Exact;
use crate::period::{Period, Span, Zone, utc_date};
use crate::units::UnixMillis;

/// The time that a part is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Term {
    /// What the part covers.
    pub span: Span,
    /// The period that it is a part of, as its tariff has it.
    pub period: Span,
    /// Its position among the parts.
    pub number: usize,
    /// When the customer is one.
    pub presence: Presence,
}

/// When a customer is one: half-open, `None` for an open end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Presence {
    /// First instant.
    pub from: Option<UnixMillis>,
    /// First instant after it.
    pub to: Option<UnixMillis>,
}

impl Presence {
    /// From dates of the configuration, which are midnights in UTC: for what is charged regardless of usage they are
    /// days of the tariff's zone.
    #[must_use]
    pub fn of_dates(from: Option<UnixMillis>, to: Option<UnixMillis>, zone: &Zone) -> Self {
        let local = |instant: UnixMillis| utc_date(instant).map_or(instant, |day| zone.start_of(day));
        Self { from: from.map(local), to: to.map(local) }
    }

    /// Milliseconds of `[from, to)` in which the customer was one.
    #[must_use]
    pub fn within(&self, from: UnixMillis, to: UnixMillis) -> i64 {
        let begin = self.from.map_or(from, |own| own.max(from));
        let end = self.to.map_or(to, |own| own.min(to));
        end.since(begin).max(0)
    }
}

impl Term {
    /// All of a period, of someone who always was and will be a customer.
    #[must_use]
    pub fn whole(tariff: &Tariff, period: Period) -> Self {
        let span = tariff.span(period);
        Self { span, period: span, number: 0, presence: Presence::default() }
    }

    /// True where the customer was one at any time of the period.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.presence.within(self.period.from, self.period.to) > 0
    }

    /// The share of the period for which amounts are paid.
    #[must_use]
    pub fn share(&self, proration: Proration) -> Exact {
        let counted = match proration {
            Proration::Seconds => self.presence.within(self.span.from, self.span.to),
            Proration::None if self.is_present() => self.span.to.since(self.span.from),
            Proration::None => 0,
        };
        self.of_period(counted)
    }

    /// The share of the period by which allowances and ends of tiers are scaled. Usage of someone who is no customer
    /// any more (dates are midnights in UTC where flows are attributed) is rated as if it were one.
    #[must_use]
    pub fn volume_share(&self, proration: Proration) -> Exact {
        let share = self.share(proration);
        if share.is_positive() { share } else { self.of_period(self.span.to.since(self.span.from)) }
    }

    /// What the tariff says of a period, by its share; a share of one is not worth a step of its own.
    pub(super) fn shared(
        &self,
        working: &mut Working,
        what: &'static str,
        whole: Exact,
        share: &Exact,
        unit: &'static str,
    ) -> Exact {
        if *share == Exact::whole(1) {
            return working.step(what, How::Given(whole), unit);
        }
        let seconds = Exact::whole(self.period.to.since(self.period.from)).over(1000);
        let share =
            working.step("share of the period, by seconds", How::Over(share.times(&seconds), seconds), "");
        working.step(what, How::Times(vec![whole, share]), unit)
    }

    fn of_period(&self, milliseconds: i64) -> Exact {
        let whole = self.period.to.since(self.period.from);
        if milliseconds == whole || whole <= 0 {
            return Exact::whole(1);
        }
        Exact::whole(milliseconds).over(whole)
    }

    /// True where the local day is in the part, and the customer was one on it.
    #[must_use]
    pub fn has_day(&self, day: jiff::civil::Date, zone: &Zone) -> bool {
        let Ok(next) = day.tomorrow() else { return false };
        (self.span.first_day..self.span.end_day).contains(&day)
            && self.presence.within(zone.start_of(day), zone.start_of(next)) > 0
    }

    /// True where the customer begins to be one in the part.
    #[must_use]
    pub fn has_start(&self) -> bool {
        self.presence.from.is_some_and(|from| self.span.from <= from && from < self.span.to)
            && self.is_present()
    }
}
