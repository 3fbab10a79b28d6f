//! From a draft to an invoice that is issued, and to the credit note that takes it back: the documents, and what they
//! mean for the books.
//!
//! A document that is issued is not changed any more, not even by its own state: whether an invoice was credited or made
//! void stands beside it. Its date is given by who issues it, so the same draft and date give the same bytes.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Invoice, Line, State, TariffRef};
use crate::ledger::records::books::{Account, AccountKind, Posting, post};
use crate::money::{Error, Money, parse_decimal};
use crate::period::Period;

/// What an invoice says besides what was rated.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Issuance {
    /// The day on which it was issued; none on drafts.
    pub date: Option<Date>,
    /// The day up to which it is to be paid.
    pub due: Option<Date>,
    /// On a credit note: the invoice that it takes back.
    pub credits: Option<String>,
    /// The invoice whose place it takes.
    pub replaces: Option<String>,
    /// What came late, by line.
    pub adjustments: Vec<Adjustment>,
    /// What electronic invoices say of the seller.
    pub seller: Contact,
    /// What electronic invoices say of the customer.
    pub buyer: Contact,
}

/// What electronic invoices say of a party besides its name and address. What is empty is not known.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Contact {
    /// The city.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub city: String,
    /// The postal code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub postcode: String,
    /// The country, two letters of ISO 3166.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub country: String,
    /// The number for value-added tax.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tax_number: String,
    /// The electronic address: scheme and identifier, `0106:12345678`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// What the customer wants to see on its invoices.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// The account that is paid to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub iban: String,
}

impl Contact {
    /// True where nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A line for usage of a former period that came after that was closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Adjustment {
    /// The line, from 1.
    pub line: usize,
    /// The period that the usage is of.
    pub period: Period,
    /// The tariff version that it was rated by.
    pub tariff: TariffRef,
    /// SHA-256 over the rows that came late.
    pub usage_root: String,
}

/// The document of a draft that becomes final.
#[must_use]
pub fn finalized(
    draft: &Invoice,
    number: &str,
    date: Date,
    due: Option<Date>,
    replaces: Option<&str>,
) -> Invoice {
    Invoice {
        number: number.to_owned(),
        state: State::Final,
        issuance: Issuance {
            date: Some(date),
            due,
            credits: None,
            replaces: replaces.map(str::to_owned),
            ..draft.issuance.clone()
        },
        ..draft.clone()
    }
}

/// The document that takes `invoice` back: its lines with the opposite sign.
///
/// # Errors
/// An amount that has no opposite.
pub fn credit_note(invoice: &Invoice, number: &str, date: Date) -> Result<Invoice, Error> {
    let opposite = |amount: Money| Money::zero(amount.currency()).checked_sub(amount);
    let mut note = Invoice {
        number: number.to_owned(),
        state: State::Final,
        issuance: Issuance {
            date: Some(date),
            due: None,
            credits: Some(invoice.number.clone()),
            replaces: None,
            ..invoice.issuance.clone()
        },
        ..invoice.clone()
    };
    for line in &mut note.lines {
        line.amount = opposite(line.amount)?;
        line.quantity = negated(&line.quantity);
    }
    for tax in &mut note.taxes {
        tax.base = opposite(tax.base)?;
        tax.amount = opposite(tax.amount)?;
    }
    note.net = opposite(invoice.net)?;
    note.tax = opposite(invoice.tax)?;
    note.gross = opposite(invoice.gross)?;
    Ok(note)
}

/// A decimal with the opposite sign; zero has none.
fn negated(number: &str) -> String {
    match number.strip_prefix('-') {
        Some(positive) => positive.to_owned(),
        None if number.bytes().all(|b| matches!(b, b'0' | b'.')) => number.to_owned(),
        None => format!("-{number}"),
    }
}

/// What an invoice means for the books: the customer owes its gross amount, for the charges of its lines and for tax.
/// Nothing for amounts of zero.
#[must_use]
pub fn postings(invoice: &Invoice) -> Vec<Posting> {
    let mut postings = Vec::new();
    let mut add = |kind, name: &str, minor: i128| {
        post(&mut postings, &Account::new(kind, name), invoice.currency.code(), minor);
    };
    add(AccountKind::Receivable, &invoice.customer.name, invoice.gross.minor().into());
    let mut charges: Vec<(&str, i128)> = Vec::new();
    for Line { charge, amount, .. } in &invoice.lines {
        match charges.iter_mut().find(|(name, _)| name == charge) {
            Some((_, sum)) => *sum += i128::from(amount.minor()),
            None => charges.push((charge, amount.minor().into())),
        }
    }
    for (charge, sum) in charges {
        add(AccountKind::Income, charge, -sum);
    }
    for tax in &invoice.taxes {
        // One account for 21 and 21.0.
        let rate = parse_decimal(&tax.percent).map(|rate| rate.normalize().to_string());
        let rate = rate.unwrap_or_else(|| tax.percent.clone());
        add(AccountKind::Tax, &format!("{} {rate}", tax.category), -i128::from(tax.amount.minor()));
    }
    postings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoice::{Party, draft, json};
    use crate::rate::parse::parse;
    use crate::rate::usage::PeriodUsage;

    /// The port for 150.00 and 21 % of tax, 31.50: 181.50.
    fn sample() -> Invoice {
        let tariff = parse("t", include_str!("../../tariffs/regional-isp.toml")).expect("good");
        let period = Period::new(2026, 3).expect("a month");
        let party = Party { name: "campus".into(), ..Party::default() };
        draft(party, None, period, &tariff, &PeriodUsage::default(), "0".repeat(64)).expect("rates")
    }

    fn legs(invoice: &Invoice) -> Vec<(&'static str, String, i64)> {
        postings(invoice).into_iter().map(|p| (p.account.kind.as_str(), p.account.name, p.amount)).collect()
    }

    #[test]
    fn an_invoice_is_posted_by_charge_and_its_credit_note_takes_it_back() {
        let date = Date::constant(2026, 4, 2);
        let invoice = finalized(&sample(), "INV-000007", date, Some(Date::constant(2026, 5, 2)), None);
        let of = |name: &str| name.to_owned();
        assert_eq!(
            legs(&invoice),
            [
                ("receivable", of("campus"), 18_150),
                ("income", of("port"), -15_000),
                ("tax", of("S 21"), -3_150)
            ],
            "nothing of the volume, which was zero"
        );
        let note = credit_note(&invoice, "INV-000008", Date::constant(2026, 4, 9)).expect("fits");
        assert_eq!((note.net.to_string(), note.gross.to_string()), ("-150.00".into(), "-181.50".into()));
        assert_eq!((note.lines[0].quantity.as_str(), note.lines[1].quantity.as_str()), ("-1", "0"));
        let back: Vec<i64> = legs(&note).iter().map(|leg| -leg.2).collect();
        assert_eq!(back, legs(&invoice).iter().map(|leg| leg.2).collect::<Vec<_>>());
        for document in [&invoice, &note] {
            assert_eq!(&json::read(&json::write(document)).expect("adds up"), document);
        }
        let text = json::write(&note);
        assert!(text.contains("\"credits\":\"INV-000007\"") && text.contains("\"issued\":\"2026-04-09\""));
        assert!(!json::write(&sample()).contains("issued"), "a draft has no date");
    }

    #[test]
    fn signs_of_quantities() {
        for (number, opposite) in [("1.5", "-1.5"), ("-1.5", "1.5"), ("0", "0"), ("0.00", "0.00")] {
            assert_eq!(negated(number), opposite);
        }
    }
}
