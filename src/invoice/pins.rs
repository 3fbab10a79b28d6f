//! By what the periods of customers were closed and billed, so that nothing that came since prices them anew.
//!
//! A period that was closed keeps the tariff version that it was closed with: its draft is made by that one, whatever was
//! activated since. Once there is a final invoice of it, that one stands: late usage, and what rolls over from the period,
//! are rated by the parts that it names, versions and bounds. A re-rating makes a new invoice, which stands from then on.
//! So the invoice and what was added to it later always come to what one invoice over all of the usage would have said.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Invoice, PartRef};
use crate::period::Period;
use crate::rate::tariff::Tariff;

/// What a customer's period keeps to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pin {
    /// The parts of the invoice that stands.
    Billed(Vec<PartRef>),
    /// It was closed: of these tariffs, no version above these. They are the tariff that held at the period's end, with its
    /// version, and all others with the newest that was active when it was closed.
    Closed(Arc<BTreeMap<String, i64>>),
}

impl Pin {
    /// That of an invoice that stands.
    #[must_use]
    pub fn billed(invoice: &Invoice) -> Self {
        if invoice.parts.is_empty() {
            return Self::Billed(vec![PartRef { span: invoice.span, tariff: invoice.tariff.clone() }]);
        }
        Self::Billed(invoice.parts.clone())
    }

    /// True where this version may price the period.
    #[must_use]
    pub fn allows(&self, tariff: &Tariff) -> bool {
        match self {
            Self::Billed(parts) => parts.iter().any(|part| names(part, tariff)),
            Self::Closed(versions) => versions.get(&tariff.id).is_none_or(|newest| tariff.version <= *newest),
        }
    }
}

/// True where the part was rated by this very version.
pub(super) fn names(part: &PartRef, tariff: &Tariff) -> bool {
    tariff.id == part.tariff.id
        && tariff.version == part.tariff.version
        && tariff.sha256 == part.tariff.sha256
}

/// The pins of periods and customers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pins {
    of: HashMap<Period, HashMap<String, Pin>>,
}

impl Pins {
    /// Pins a customer's period, in place of what it was pinned to before.
    pub fn set(&mut self, period: Period, customer: &str, pin: Pin) {
        self.of.entry(period).or_default().insert(customer.to_owned(), pin);
    }

    /// What a customer's period keeps to; `None`: to what is active.
    #[must_use]
    pub fn get(&self, period: Period, customer: &str) -> Option<&Pin> {
        self.of.get(&period)?.get(customer)
    }
}
