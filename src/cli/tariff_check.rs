//! Whether every customer has a tariff at every instant: what `check` says of customers and tariffs together.
//!
//! A customer without any tariff is none of this: it is mentioned when it has usage. One that has a tariff must have
//! one from its first day on, each tariff must be effective from the day on which a customer has it, and tariffs must
//! follow each other without a gap.

use jiff::civil::Date;

use crate::classify::rules::{CustomerRule, Network};
use crate::invoice::assign::{Assigned, Assignments};
use crate::period::utc_date;
use crate::rate::tariff::Tariff;
use crate::rate::version::{may_change, on_day};
use crate::units::UnixMillis;

/// What is wrong, by customer. `tariffs` are all versions at hand; ids that are not among them are none of this.
#[must_use]
pub fn gaps(network: &Network, tariffs: &[Tariff]) -> Vec<String> {
    let mut assignments = Assignments::default();
    assignments.push(UnixMillis(0), network);
    let mut gaps = Vec::new();
    for rule in &network.customers {
        let assigned = assignments.of(&rule.name, UnixMillis(1));
        let found = of_customer(rule, assigned, tariffs);
        gaps.extend(found.into_iter().map(|gap| format!("customer `{}`: {gap}", rule.name)));
    }
    gaps
}

fn of_customer(rule: &CustomerRule, assigned: &[Assigned], tariffs: &[Tariff]) -> Vec<String> {
    let mut gaps = Vec::new();
    let day = |instant: Option<UnixMillis>| instant.and_then(utc_date);
    let (begins, ends) = (day(rule.validity.from), day(rule.validity.to));
    if let Some(first) = assigned.first().and_then(|first| first.days.from)
        && begins.is_none_or(|begins| begins < first)
    {
        let since = begins.map_or_else(
            || "has no tariff".to_owned(),
            |begins| format!("is one from {begins} on, without a tariff"),
        );
        gaps.push(format!("{since} before {first}; `tariff` is the one before the first date"));
    }
    for one in assigned {
        let first =
            tariffs.iter().filter(|tariff| tariff.id == one.tariff).map(|tariff| tariff.effective).min();
        // Where neither has a date, there is no day from which on it would be needed.
        let needed = one.days.from.max(begins).filter(|needed| ends.is_none_or(|ends| *needed < ends));
        if let Some((first, needed)) = first.zip(needed).filter(|(first, needed)| first > needed) {
            gaps.push(format!(
                "has tariff `{}` from {needed} on, which is effective only from {first} on",
                one.tariff
            ));
        }
    }
    for pair in assigned.windows(2) {
        let [before, after] = pair else { continue };
        gaps.extend(change(before, after, tariffs));
    }
    gaps
}

fn change(before: &Assigned, after: &Assigned, tariffs: &[Tariff]) -> Option<String> {
    let on = after.days.from?;
    let holds = |id: &str, day: Date| on_day(tariffs, id, day);
    let last = holds(&before.tariff, on.yesterday().ok()?)?;
    may_change(last, holds(&after.tariff, on)?, on).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::rules::{TariffAssignment, Validity};
    use crate::rate::parse::parse;

    const TRANSIT: &str = include_str!("../../tariffs/transit-per-gb.toml");

    fn tariff(id: &str, changes: &[(&str, &str)]) -> Tariff {
        let text = changes
            .iter()
            .fold(TRANSIT.replace("transit-per-gb", id), |text, (from, to)| text.replace(from, to));
        parse("t", &text).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn at(date: &str) -> UnixMillis {
        let instant: jiff::Timestamp = format!("{date}T00:00:00Z").parse().expect("a date");
        UnixMillis::from_seconds(instant.as_second())
    }

    fn found(plain: Option<&str>, changes: &[(&str, &str)], from: Option<&str>) -> Vec<String> {
        let tariffs = [
            tariff("a", &[]),
            tariff("later", &[("2026-01-01", "2026-05-10")]),
            tariff("mid", &[("[[class]]", "[period]\nanchor_day = 15\n[[class]]")]),
            tariff("utc", &[("Europe/Amsterdam", "UTC")]),
            tariff("chf", &[("EUR", "CHF")]),
        ];
        let rule = CustomerRule {
            name: "campus".into(),
            prefixes: vec![],
            asns: vec![],
            interfaces: vec![],
            validity: Validity { from: from.map(at), to: None },
            tariff: plain.map(str::to_owned),
            address: vec![],
        };
        let change = |&(tariff, date): &(&str, &str)| TariffAssignment {
            customer: "campus".into(),
            tariff: tariff.into(),
            from: at(date),
        };
        let assignments = changes.iter().map(change).collect();
        gaps(&Network { customers: vec![rule], assignments, ..Network::default() }, &tariffs)
    }

    #[test]
    fn every_day_of_a_customer_needs_a_tariff() {
        for (plain, changes, from, said) in [
            (Some("a"), &[][..], None, ""),
            (None, &[], None, ""),
            (Some("elsewhere"), &[], Some("2020-01-01"), ""),
            (Some("a"), &[("later", "2026-05-10")], None, ""),
            (
                Some("a"),
                &[("later", "2026-05-09")],
                None,
                "has tariff `later` from 2026-05-09 on, which is effective only from 2026-05-10 on",
            ),
            (
                Some("later"),
                &[],
                Some("2026-05-09"),
                "has tariff `later` from 2026-05-09 on, which is effective only from 2026-05-10 on",
            ),
            (
                None,
                &[("a", "2026-02-01")],
                None,
                "has no tariff before 2026-02-01; `tariff` is the one before the first date",
            ),
            (
                None,
                &[("a", "2026-02-01")],
                Some("2026-01-31"),
                "is one from 2026-01-31 on, without a tariff before 2026-02-01; `tariff` is the one before the first date",
            ),
            (None, &[("a", "2026-02-01")], Some("2026-02-01"), ""),
            (Some("a"), &[("mid", "2026-02-15")], None, ""),
            (Some("a"), &[("mid", "2026-02-01")], None, ""),
            (
                Some("a"),
                &[("mid", "2026-02-10")],
                None,
                "tariff `a` is followed by `mid` on 2026-02-10, and the two have different anchor days; change on a day on which a period of one of them begins",
            ),
            (
                Some("a"),
                &[("utc", "2026-02-01")],
                None,
                "tariff `a` is followed by `utc`, in another time zone; hours would be lost or billed twice",
            ),
            (Some("a"), &[("chf", "2026-02-01")], None, ""),
            (
                Some("a"),
                &[("chf", "2026-02-02")],
                None,
                "tariff `a` is followed by `chf` on 2026-02-02, in another currency; change on a day on which a period of both begins",
            ),
        ] {
            let expected: Vec<String> =
                if said.is_empty() { vec![] } else { vec![format!("customer `campus`: {said}")] };
            assert_eq!(found(plain, changes, from), expected, "{plain:?} {changes:?} {from:?}");
        }
    }
}
