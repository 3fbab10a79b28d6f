//! What customers claim, and that nothing is claimed twice at one time. There may be a million claims while a configuration
//! is read, so they are kept small.

use super::reader::{Place, Report};
use crate::classify::rules::{CustomerRule, Validity};

/// Something that a customer claims for a time.
pub(super) struct Claim<T> {
    /// A prefix, an AS number, an interface.
    pub(super) what: T,
    /// Where that is written.
    pub(super) place: Place,
    /// The index of the customer.
    customer: u32,
    /// For how long: which of [`Claims::times`].
    time: u32,
}

/// Claims to one kind of things.
pub(super) struct Claims<T> {
    all: Vec<Claim<T>>,
    /// Validities, of which a customer's claims in a row have one.
    times: Vec<Validity>,
}

impl<T> Default for Claims<T> {
    fn default() -> Self {
        Self { all: Vec::new(), times: Vec::new() }
    }
}

impl<T> Claims<T> {
    /// Adds a claim of the customer with this index.
    pub(super) fn push(&mut self, what: T, customer: usize, validity: Validity, place: Place) {
        if self.times.last() != Some(&validity) {
            self.times.push(validity);
        }
        let small = |n: usize| u32::try_from(n).expect("memory holds fewer than 2^32 customers and claims");
        let (customer, time) = (small(customer), small(self.times.len() - 1));
        self.all.push(Claim { what, place, customer, time });
    }

    /// All of them, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Claim<T>> {
        self.all.iter()
    }
}

/// What two spans have in common, where they have an instant in common.
pub(super) fn intersection(a: Validity, b: Validity) -> Validity {
    let to = match (a.to, b.to) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Validity { from: a.from.max(b.from), to }
}

/// Whether two spans have an instant in common.
fn overlap(a: Validity, b: Validity) -> bool {
    let both = intersection(a, b);
    match (both.from, both.to) {
        (Some(from), Some(to)) => from < to,
        _ => true,
    }
}

/// Complains about each thing that is claimed twice at one time.
pub(super) fn disjoint<T: Ord>(
    report: &Report,
    customers: &[CustomerRule],
    claims: Claims<T>,
    show: impl Fn(&T) -> String,
) {
    let Claims { mut all, times } = claims;
    let validity = |claim: &Claim<T>| times[claim.time as usize];
    // The later place is the one complained about.
    all.sort_unstable_by(|a, b| (&a.what, &a.place).cmp(&(&b.what, &b.place)));
    for same in all.chunk_by(|a, b| a.what == b.what) {
        for (n, claim) in same.iter().enumerate() {
            let Some(other) = same[..n].iter().find(|other| overlap(validity(other), validity(claim))) else {
                continue;
            };
            let (what, at) = (show(&claim.what), report.at(&other.place));
            let message = if claim.customer == other.customer {
                format!("{what} is already listed, at {at}; remove one of them")
            } else {
                let name = &customers[other.customer as usize].name;
                format!(
                    "{what} already belongs to `{name}` at that time, at {at}; remove one of them, or give them `valid_from` and `valid_to` that do not overlap"
                )
            };
            report.problem(&claim.place, message, "");
        }
    }
}
