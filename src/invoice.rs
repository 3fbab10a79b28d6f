//! Invoices: the document that a customer gets, made from a period's usage by a tariff version.
//!
//! The canonical JSON of an [`Invoice`] ([`json`]) is the document; [`csv`] and [`html`] are views of it and are made
//! from it alone. It holds no wall clock: the same usage, tariff and configuration give the same bytes. What it was
//! made from is named in it: the tariff version by the hash of its file, the usage by the hash of its rows
//! ([`collect`]).
//!
//! [`run`] makes the invoices of a period for all customers.
#![deny(clippy::float_arithmetic)]

pub mod adjust;
pub mod collect;
pub mod csv;
pub mod html;
pub mod issue;
pub mod json;
pub mod kinds;
pub mod plaintext_accounting;
pub mod run;
pub mod ubl;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::flow::Direction;
use crate::ledger::records::StoredInvoice;
use crate::money::{Currency, Exact, Money};
use crate::period::{Period, Span};
use crate::rate::tariff::Tariff;
use crate::rate::usage::{PeriodUsage, Volume, scaled};
use crate::rate::{self, Charge};
use crate::usage::millionths;

/// Digits after the point in printed quantities, at most. A gigabyte's are exact with 9; what has more (GiB, sampling
/// rates that are not whole) is rounded half up for print, while its amount comes from the exact quantity.
pub const QUANTITY_PLACES: u32 = 9;

/// The customer, as invoices name it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Party {
    /// Name.
    pub name: String,
    /// Lines of the postal address.
    pub address: Vec<String>,
}

/// Who sends invoices.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seller {
    /// Name.
    pub name: String,
    /// Lines of the postal address.
    pub address: Vec<String>,
    /// Its tax number; empty where it has none to show.
    pub tax_number: String,
    /// Lines at the foot of the page: bank account, terms of payment.
    pub footer: Vec<String>,
}

/// Where an invoice stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// Made from what is known now; may be made again.
    Draft,
    /// Numbered and sent; never changes.
    Final,
    /// Taken back by a credit note.
    Credited,
    /// Withdrawn before it was delivered; its number stays.
    Void,
}

impl State {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Draft, Self::Final, Self::Credited, Self::Void];

    /// Its name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Final => "final",
            Self::Credited => "credited",
            Self::Void => "void",
        }
    }
}

/// A line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// The id of the tariff's charge.
    pub charge: String,
    /// In words.
    pub description: String,
    /// Decimal string, at most [`QUANTITY_PLACES`].
    pub quantity: String,
    /// The unit of the quantity.
    pub unit: String,
    /// The price of a unit, as the tariff has it.
    pub price: String,
    /// The amount.
    pub amount: Money,
    /// Standard error over estimate of the volume, six places; zero where nothing was sampled.
    pub relative_error: String,
}

/// Tax of one category.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TaxLine {
    /// The category (UNCL 5305).
    pub category: String,
    /// Percent.
    pub percent: String,
    /// Of what.
    pub base: Money,
    /// The amount.
    pub amount: Money,
}

/// The tariff version that it was rated by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TariffRef {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: i64,
    /// SHA-256 of its file, in hex.
    pub sha256: String,
}

/// Volume by link, direction and tariff class, charged or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VolumeLine {
    /// The link; empty where no link was crossed.
    pub link: String,
    /// Its kind.
    pub kind: String,
    /// `in`, `out`, or empty.
    pub direction: String,
    /// The tariff's class.
    pub class: String,
    /// Octets, rounded half up.
    pub octets: i128,
    /// Packets, rounded half up.
    pub packets: i128,
    /// Standard error over estimate, six places.
    pub relative_error: String,
}

/// Octets by the sampling rate that they were counted at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLine {
    /// `1/1000`: one of a thousand packets was looked at.
    pub rate: String,
    /// Where the rate was learnt from.
    pub source: String,
    /// Octets after scaling, rounded half up.
    pub octets: i128,
}

/// How sure the volumes are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Quality {
    /// All octets, rounded half up.
    pub octets: i128,
    /// Of those, estimated from sampled packets.
    pub sampled_octets: i128,
    /// Their share, six places.
    pub sampled_share: String,
    /// Standard error of all octets.
    pub standard_error: u128,
    /// The same over the octets, six places.
    pub relative_error: String,
    /// By sampling rate.
    pub rates: Vec<RateLine>,
    /// Flow records that sequence numbers say were lost on the way from the exporters; `None` where not known.
    /// Nothing is billed for them.
    pub lost_records: Option<u64>,
}

/// An invoice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invoice {
    /// Its number; a draft's is made of period and customer.
    pub number: String,
    /// Where it stands.
    pub state: State,
    /// The customer.
    pub customer: Party,
    /// Who sends it.
    pub seller: Option<Seller>,
    /// The currency of all amounts.
    pub currency: Currency,
    /// The period's name.
    pub period: Period,
    /// What the period covers.
    pub span: Span,
    /// In which zone the period begins and ends.
    pub zone: String,
    /// The tariff version.
    pub tariff: TariffRef,
    /// SHA-256 over the usage rows it was made from.
    pub usage_root: String,
    /// The lines.
    pub lines: Vec<Line>,
    /// Sum of the lines.
    pub net: Money,
    /// Tax by category.
    pub taxes: Vec<TaxLine>,
    /// All tax.
    pub tax: Money,
    /// Net and tax.
    pub gross: Money,
    /// How sure the volumes are.
    pub quality: Quality,
    /// Volumes, charged or not.
    pub volumes: Vec<VolumeLine>,
    /// When it was issued, what it corrects, what came late.
    pub issuance: issue::Issuance,
}

/// The number of a draft.
#[must_use]
pub fn draft_number(period: Period, customer: &str) -> String {
    format!("DRAFT-{period}-{customer}")
}

/// Makes a draft.
///
/// # Errors
/// An amount beyond 64 bits.
pub fn draft(
    customer: Party,
    seller: Option<Seller>,
    period: Period,
    tariff: &Tariff,
    usage: &PeriodUsage,
    usage_root: String,
) -> Result<Invoice, rate::Error> {
    let charges = rate::rate(tariff, usage)?;
    let totals = rate::total(tariff, &charges)?;
    let taxes = totals.taxes.into_iter().map(|tax| TaxLine {
        category: tax.category,
        percent: tax.percent.to_string(),
        base: tax.base,
        amount: tax.amount,
    });
    Ok(Invoice {
        number: draft_number(period, &customer.name),
        state: State::Draft,
        customer,
        seller,
        currency: tariff.currency,
        period,
        span: tariff.span(period),
        zone: tariff.zone.name().to_owned(),
        tariff: TariffRef { id: tariff.id.clone(), version: tariff.version, sha256: tariff.sha256.clone() },
        usage_root,
        lines: charges.into_iter().map(line).collect(),
        net: totals.net,
        taxes: taxes.collect(),
        tax: totals.tax,
        gross: totals.gross,
        quality: quality(&usage.volume(|_| true)),
        volumes: volumes(tariff, usage),
        issuance: issue::Issuance::default(),
    })
}

fn line(charge: Charge) -> Line {
    Line {
        quantity: charge.quantity.to_decimal_string(QUANTITY_PLACES),
        charge: charge.charge,
        description: charge.description,
        unit: charge.unit.to_owned(),
        price: charge.price.to_string(),
        amount: charge.amount,
        relative_error: millionths(charge.relative_error),
    }
}

fn quality(volume: &Volume) -> Quality {
    let (all, sampled) = (volume.exact_octets(), volume.sampled_octets());
    let octets = volume.octets.rounded();
    Quality {
        octets,
        sampled_octets: to_i128(&sampled),
        sampled_share: share(&sampled, &all),
        standard_error: volume.variance.standard_error(),
        relative_error: millionths(volume.relative_error_millionths()),
        rates: volume
            .raw_by_rate
            .iter()
            .map(|(&rate, &raw)| RateLine {
                rate: rate.to_string(),
                source: rate.source().as_str().to_owned(),
                octets: to_i128(&scaled(raw, rate)),
            })
            .collect(),
        lost_records: None,
    }
}

/// Rounded half up to a whole number. Octets of a period are far below 2^127.
fn to_i128(octets: &Exact) -> i128 {
    i128::try_from(octets.rounded(0)).unwrap_or(i128::MAX)
}

/// `part / whole` with six places; 0 of nothing.
fn share(part: &Exact, whole: &Exact) -> String {
    let share = part.divided_by(whole).unwrap_or_else(Exact::zero);
    millionths(u128::try_from(share.rounded(6)).unwrap_or_default())
}

fn volumes(tariff: &Tariff, usage: &PeriodUsage) -> Vec<VolumeLine> {
    let mut sums: BTreeMap<(&str, &str, Direction, usize), Volume> = BTreeMap::new();
    for (key, volume) in &usage.groups {
        let at = (key.link.as_str(), key.link_kind.as_str(), key.direction, tariff.class_of(key));
        sums.entry(at).or_default().merge(volume);
    }
    sums.into_iter()
        .map(|((link, kind, direction, class), volume)| VolumeLine {
            link: link.to_owned(),
            kind: kind.to_owned(),
            direction: direction.as_str().to_owned(),
            class: tariff.classes.get(class).map(|class| class.name.clone()).unwrap_or_default(),
            octets: volume.octets.rounded(),
            packets: volume.packets.rounded(),
            relative_error: millionths(volume.relative_error_millionths()),
        })
        .collect()
}

/// The invoice as the ledger keeps it.
#[must_use]
pub fn stored(invoice: &Invoice) -> StoredInvoice {
    let document = json::write(invoice);
    StoredInvoice {
        number: invoice.number.clone(),
        period: invoice.period.to_string(),
        customer: invoice.customer.name.clone(),
        state: invoice.state.as_str().to_owned(),
        currency: invoice.currency.code().to_owned(),
        gross_minor: invoice.gross.minor(),
        sha256: rate::parse::sha256_hex(document.as_bytes()),
        document,
    }
}

/// The name of an exported file: `YYYY-MM-CUSTOMER.EXT`.
///
/// Letters and digits of ASCII, `.`, `_` and `-` of the customer's name stay; every other byte of its UTF-8 form is
/// written `%XX`. So no name leaves the directory, and no two customers share a file. A name that gets longer than
/// 150 characters is cut there and goes on with `~` and the first 16 hex digits of its SHA-256.
#[must_use]
pub fn file_name(period: &str, customer: &str, extension: &str) -> String {
    use core::fmt::Write;
    let mut safe = String::new();
    for byte in customer.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            safe.push(char::from(byte));
        } else {
            write!(safe, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    if safe.len() > 150 {
        safe.truncate(150);
        safe.push('~');
        safe.push_str(&rate::parse::sha256_hex(customer.as_bytes())[..16]);
    }
    format!("{period}-{safe}.{extension}")
}
