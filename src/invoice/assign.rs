//! Which tariff a customer had, by the configuration versions that the ledger keeps: so that an edit of today does not
//! price anew what was used before. The rule is that of link kinds ([`super::kinds`]):
//!
//! 1. Of the versions in force before the period's end, the newest that knows the customer says which tariffs it has,
//!    with their dates; a change inside the period takes effect on its date, and one without a date for all of the
//!    period in which it came into force.
//! 2. Where none of those knows it, or none ever named a tariff, the oldest of the later ones that does.
//!
//! So a version that comes into force after a period's end never changes that period. To correct the past is a
//! re-rating, not an edit.

use std::collections::HashMap;

use crate::classify::rules::Network;
use crate::period::utc_date;
use crate::rate::version::Days;
use crate::units::UnixMillis;

/// The tariffs of all customers, by configuration version.
#[derive(Clone, Debug, Default)]
pub struct Assignments {
    /// Oldest first.
    versions: Vec<Version>,
}

#[derive(Clone, Debug)]
struct Version {
    valid_from: UnixMillis,
    /// By customer; empty where it has none.
    tariffs: HashMap<String, Vec<Assigned>>,
}

/// A tariff, and the days on which a customer has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assigned {
    /// The tariff's id.
    pub tariff: String,
    /// The days.
    pub days: Days,
}

impl Assignments {
    /// Adds a configuration version; they come oldest first.
    pub fn push(&mut self, valid_from: UnixMillis, network: &Network) {
        let mut tariffs: HashMap<String, Vec<Assigned>> = network
            .customers
            .iter()
            .map(|rule| {
                let plain = rule
                    .tariff
                    .iter()
                    .map(|tariff| Assigned { tariff: tariff.clone(), days: Days::default() });
                (rule.name.clone(), plain.collect())
            })
            .collect();
        for change in &network.assignments {
            let Some(entries) = tariffs.get_mut(&change.customer) else { continue };
            let from = utc_date(change.from);
            if let Some(before) = entries.last_mut() {
                before.days.to = from;
            }
            entries.push(Assigned { tariff: change.tariff.clone(), days: Days { from, to: None } });
        }
        self.versions.push(Version { valid_from, tariffs });
    }

    /// The tariffs of a customer, by date, as they count for a period that ends before `end`; none where it has none.
    #[must_use]
    pub fn of(&self, customer: &str, end: UnixMillis) -> &[Assigned] {
        let later = self.versions.iter().skip(1).filter(|version| version.valid_from >= end).count();
        let (in_force, later) = self.versions.split_at(self.versions.len() - later);
        let said = |version: &'_ Version| version.tariffs.contains_key(customer);
        let names =
            |version: &'_ Version| version.tariffs.get(customer).is_some_and(|entries| !entries.is_empty());
        let found = in_force.iter().rev().find(|version| said(version));
        let found = found
            .filter(|_| in_force.iter().any(names))
            .or_else(|| later.iter().find(|version| names(version)));
        found.and_then(|version| version.tariffs.get(customer)).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::rules::{CustomerRule, TariffAssignment, Validity};

    const DAY: i64 = 86_400;

    fn network(tariff: Option<&str>, changes: &[(&str, i64)]) -> Network {
        let rule = CustomerRule {
            name: "campus".into(),
            prefixes: vec![],
            asns: vec![],
            interfaces: vec![],
            validity: Validity::default(),
            tariff: tariff.map(str::to_owned),
            address: vec![],
        };
        let change = |&(tariff, day): &(&str, i64)| TariffAssignment {
            customer: "campus".into(),
            tariff: tariff.into(),
            from: UnixMillis::from_seconds(day * DAY),
        };
        Network {
            customers: vec![rule],
            assignments: changes.iter().map(change).collect(),
            ..Network::default()
        }
    }

    fn shown(assignments: &Assignments, end: i64) -> Vec<String> {
        let day = |day: Option<jiff::civil::Date>| day.map_or(String::new(), |day| day.to_string());
        let show = |one: &Assigned| format!("{} {}..{}", one.tariff, day(one.days.from), day(one.days.to));
        assignments.of("campus", UnixMillis(end)).iter().map(show).collect()
    }

    #[test]
    fn a_later_version_changes_no_period_that_has_ended() {
        let mut assignments = Assignments::default();
        assert_eq!(shown(&assignments, 9), [""; 0]);
        assignments.push(UnixMillis(100), &network(Some("a"), &[]));
        assignments.push(UnixMillis(200), &network(Some("b"), &[]));
        assignments.push(UnixMillis(300), &network(Some("b"), &[("c", 31), ("d", 59)]));
        assignments.push(UnixMillis(400), &network(None, &[]));
        assert_eq!(shown(&assignments, 50), ["a .."], "the first holds for all time before it");
        assert_eq!(shown(&assignments, 200), ["a .."]);
        assert_eq!(shown(&assignments, 201), ["b .."]);
        let dated = ["b ..1970-02-01", "c 1970-02-01..1970-03-01", "d 1970-03-01.."];
        assert_eq!(shown(&assignments, 301), dated);
        assert_eq!(shown(&assignments, 401), [""; 0], "taken away");
    }

    #[test]
    fn a_customer_that_got_its_first_tariff_late_has_it_from_the_beginning() {
        let mut assignments = Assignments::default();
        assignments.push(UnixMillis(100), &Network::default());
        assignments.push(UnixMillis(200), &network(None, &[]));
        assignments.push(UnixMillis(300), &network(Some("a"), &[]));
        assignments.push(UnixMillis(400), &network(Some("b"), &[]));
        assert_eq!(shown(&assignments, 50), ["a .."]);
        assert_eq!(shown(&assignments, 250), ["a .."]);
        assert_eq!(shown(&assignments, 401), ["b .."]);
    }
}
