//! Invoices: the document that a customer gets, made from a period's usage by a tariff version.
//!
//! The canonical JSON of an [`Invoice`] ([`json`]) is the document; [`csv`] and [`ubl`] are views of it and are made from
//! it alone; [`html`] and `pdf` from it and from what it names by its hash (a logo, a template: [`presentation`]), by way
//! of one [`page`] in the language of the customer. It holds no wall clock: the same usage, tariff and configuration give the same bytes. What it was
//! made from is named in it: the tariff version by the hash of its file, the usage by the hash of its rows
//! ([`collect`]).
//!
//! [`run`] makes the invoices of a period for all customers.
#![deny(clippy::float_arithmetic)]

pub mod adjust;
pub mod assign;
pub mod collect;
pub mod csv;
pub mod html;
pub mod issue;
pub mod json;
pub mod kinds;
pub mod language;
pub mod page;
#[cfg(feature = "pdf")]
pub mod pdf;
pub mod pins;
pub mod plaintext_accounting;
pub mod plan;
pub mod presentation;
pub mod run;
pub mod ubl;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::flow::Direction;
use crate::ledger::records::{Loss, StoredInvoice};
use crate::money::{Currency, Exact, Money};
use crate::period::{Period, Span};
use crate::rate::saying::{Piece, is_own};
use crate::rate::tariff::Tariff;
use crate::rate::usage::{PeriodUsage, Volume, scaled};
use crate::rate::{self, Charge, Part, Term};
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
    /// What is needed to work it out again.
    pub detail: Detail,
}

/// What of a tariff and of usage a line is. It is in the document as it is here, what is empty left out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Detail {
    /// What of the charge it is: `volume`, `allowance`, `percentile`, ... ([`rate::LineKind`]).
    pub kind: String,
    /// The line of the tariff file where its clause begins; 0 where it has none.
    pub clause: usize,
    /// The part of the period that it is about: its position among [`Invoice::parts`].
    pub part: usize,
    /// The band; empty where the price is not by band.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub band: String,
    /// The position of the tier, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<usize>,
    /// The tariff classes whose usage it covers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Which directions, in the words of tariffs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub direction: String,
    /// How the volume of the charge was estimated; `None` where nothing was sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// How the volume of the charge was calibrated by interface counters; `None` where the tariff does not ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Share of a percentile's samples that were there, six places; empty for others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub coverage: String,
    /// The description piece by piece, so that it can be said in another language; empty where all of it is the tariff's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Piece>,
}

/// How a volume was estimated from samples. Decimal strings, in the unit of the line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub estimate: String,
    /// Its standard error, by the upper bound of the variance.
    pub standard_error: String,
    /// What is billed, before allowances.
    pub billed: String,
    /// `estimate`, `lower-bound` or `insensitive`.
    pub basis: String,
}

/// How a volume was calibrated: totals of interfaces shared out by flows. Decimal strings, volumes in the unit of the tariff.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Calibration {
    /// How far flows and interfaces may be apart in an interval, as a share of what the interfaces counted.
    pub max_difference: String,
    /// Intervals (five minutes of a link in a direction) in which the charge had usage.
    pub intervals: u64,
    /// Of those, intervals whose total was shared out; in the others flows count as they are.
    pub shared: u64,
    /// The volume by flows alone.
    pub flows: String,
    /// Its unit.
    pub unit: String,
    /// Part of it in intervals that were shared out, six places.
    pub share: String,
}

/// A part of the period, and the tariff version that it was rated by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartRef {
    /// What it covers.
    pub span: Span,
    /// The tariff version.
    pub tariff: TariffRef,
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
    /// Why there is none; empty where there is some, or the tariff does not say.
    pub exemption_reason: String,
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
    /// Flow records that sequence numbers say were lost on the way from the exporters that saw the usage, of all their
    /// customers together; `None` where not known. Nothing is billed for them.
    pub lost_records: Option<u64>,
    /// The period had not ended when it was made: more is going to be used, and it cannot become final.
    pub provisional: bool,
    /// The least share of a percentile's samples that were there, six places; `None` where no line is about one.
    pub coverage: Option<String>,
    /// What was lost of the exporters that saw the usage, by exporter: of all that they sent, whoever it was about.
    pub loss: Vec<LossLine>,
    /// How far the links that the volumes crossed were held against their interface counters, by name; without those that
    /// nobody counts.
    pub reconciled: Vec<ReconciledLine>,
}

/// A link's flows, of all customers together, against the counters of its interfaces in the period.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReconciledLine {
    /// The link.
    pub link: String,
    /// Buckets of five minutes in which it had flows or counters.
    pub buckets: u64,
    /// Of those, buckets that the counters cover whole.
    pub compared: u64,
    /// Of those, buckets in which flows and counters contradict each other.
    pub differences: u64,
}

/// What was lost of an exporter's records in the days of the period.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LossLine {
    /// The exporter.
    pub exporter: String,
    /// Lost, in what its protocol counts (flows, packets, records, datagrams).
    pub lost: u64,
    /// Flow records that arrived.
    pub records: u64,
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
    /// The tariff version; the last one where there are several.
    pub tariff: TariffRef,
    /// The parts, where a change of tariff splits the period; empty where it is whole.
    pub parts: Vec<PartRef>,
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
    /// How it looks.
    pub presentation: presentation::Presentation,
}

/// The number of a draft.
#[must_use]
pub fn draft_number(period: Period, customer: &str) -> String {
    format!("DRAFT-{period}-{customer}")
}

/// Makes a draft of a whole period, of someone who always was a customer.
///
/// # Errors
/// [`rate::Error`].
pub fn draft(
    customer: Party,
    seller: Option<Seller>,
    period: Period,
    tariff: &Tariff,
    usage: &PeriodUsage,
    usage_root: String,
) -> Result<Invoice, rate::Error> {
    let own = tariff.for_customer(&customer.name);
    let part = Part { tariff: &own, usage, term: Term::whole(&own, period) };
    draft_of_parts(customer, seller, period, &[part], usage_root)
}

/// Makes a draft of the parts of a period.
///
/// # Errors
/// [`rate::Error`].
pub fn draft_of_parts(
    customer: Party,
    seller: Option<Seller>,
    period: Period,
    parts: &[Part<'_>],
    usage_root: String,
) -> Result<Invoice, rate::Error> {
    let rated = rate::rate_period(parts)?;
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Err(rate::Error::Nothing) };
    let taxes = rated.totals.taxes.into_iter().map(|tax| TaxLine {
        category: tax.category,
        percent: tax.percent.to_string(),
        base: tax.base,
        amount: tax.amount,
        exemption_reason: tax.exemption_reason,
    });
    let lines: Vec<Line> = rated.charges.into_iter().map(line).collect();
    let mut all = Volume::default();
    for part in parts {
        all.merge(&part.usage.volume(|_| true));
    }
    let (begin, end) = (first.term.span, last.term.span);
    let reference = |part: &Part<'_>| TariffRef {
        id: part.tariff.id.clone(),
        version: part.tariff.version,
        sha256: part.tariff.sha256.clone(),
    };
    let part_ref = |part: &Part<'_>| PartRef { span: part.term.span, tariff: reference(part) };
    Ok(Invoice {
        number: draft_number(period, &customer.name),
        state: State::Draft,
        customer,
        seller,
        currency: first.tariff.currency,
        period,
        span: Span { first_day: begin.first_day, end_day: end.end_day, from: begin.from, to: end.to },
        zone: first.tariff.zone.name().to_owned(),
        tariff: reference(last),
        parts: if parts.len() > 1 { parts.iter().map(part_ref).collect() } else { Vec::new() },
        usage_root,
        quality: Quality { coverage: coverage(&lines), ..quality(&all) },
        lines,
        net: rated.totals.net,
        taxes: taxes.collect(),
        tax: rated.totals.tax,
        gross: rated.totals.gross,
        volumes: volumes(parts),
        issuance: issue::Issuance::default(),
        presentation: presentation::Presentation::default(),
    })
}

fn line(charge: Charge) -> Line {
    let places = |quantity: &Exact| quantity.to_decimal_string(QUANTITY_PLACES);
    let detail = Detail {
        kind: charge.kind.as_str().to_owned(),
        clause: charge.clause,
        part: charge.part,
        band: charge.band.unwrap_or_default(),
        tier: charge.tier,
        classes: charge.classes,
        direction: charge.direction.to_owned(),
        estimate: charge.estimate.map(|estimate| Estimate {
            estimate: places(&estimate.estimate),
            standard_error: places(&estimate.standard_error),
            billed: places(&estimate.billed),
            basis: estimate.basis.as_str().to_owned(),
        }),
        calibration: charge.calibration.map(|of| Calibration {
            max_difference: of.max_difference.to_string(),
            intervals: of.intervals,
            shared: of.shared,
            flows: places(&of.flows),
            unit: of.unit.to_owned(),
            share: millionths(of.share),
        }),
        coverage: charge.coverage.map(millionths).unwrap_or_default(),
        said: if is_own(&charge.said) { Vec::new() } else { charge.said },
    };
    Line {
        quantity: places(&charge.quantity),
        charge: charge.charge,
        description: charge.description,
        unit: charge.unit,
        price: charge.price.to_string(),
        amount: charge.amount,
        relative_error: millionths(charge.relative_error),
        detail,
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
        provisional: false,
        coverage: None,
        loss: Vec::new(),
        reconciled: Vec::new(),
    }
}

impl Quality {
    /// Takes over what was lost of the exporters that saw the usage: of all their records, since nobody knows whose the
    /// lost ones were. Late datagrams may have taken back more than was missed in the time: then nothing was.
    pub fn set_loss(&mut self, seen_by: &BTreeSet<String>, losses: &[Loss]) {
        let of_seen = losses.iter().filter(|loss| seen_by.contains(&loss.exporter));
        let line = |loss: &Loss| LossLine {
            exporter: loss.exporter.clone(),
            lost: loss.lost.max(0).unsigned_abs(),
            records: loss.records,
        };
        self.loss = of_seen.map(line).collect();
        self.lost_records = (!self.loss.is_empty()).then(|| self.loss.iter().map(|line| line.lost).sum());
    }
}

/// The least coverage of the lines that have one. All have six places and are at most one, so that text compares.
fn coverage(lines: &[Line]) -> Option<String> {
    lines.iter().map(|line| &line.detail.coverage).filter(|coverage| !coverage.is_empty()).min().cloned()
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

fn volumes(parts: &[Part<'_>]) -> Vec<VolumeLine> {
    let mut sums: BTreeMap<(&str, &str, Direction, usize, &str), Volume> = BTreeMap::new();
    for part in parts {
        for (key, volume) in &part.usage.groups {
            let class = part.tariff.class_of(key);
            let name = part.tariff.classes.get(class).map_or("", |class| class.name.as_str());
            let at = (key.link.as_str(), key.link_kind.as_str(), key.direction, class, name);
            sums.entry(at).or_default().merge(volume);
        }
    }
    sums.into_iter()
        .map(|((link, kind, direction, _, class), volume)| VolumeLine {
            link: link.to_owned(),
            kind: kind.to_owned(),
            direction: direction.as_str().to_owned(),
            class: class.to_owned(),
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
    format!("{period}-{}.{extension}", safe(customer))
}

/// The name of an exported file of a customer that has several in the period: `YYYY-MM-CUSTOMER+NUMBER.EXT`. No name of a
/// customer has a `+` in its form for files, so that it is nobody else's.
#[must_use]
pub fn file_name_of(period: &str, customer: &str, number: &str, extension: &str) -> String {
    format!("{period}-{}+{}.{extension}", safe(customer), safe(number))
}

fn safe(name: &str) -> String {
    use core::fmt::Write;
    let mut safe = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            safe.push(char::from(byte));
        } else {
            write!(safe, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    if safe.len() > 150 {
        safe.truncate(150);
        safe.push('~');
        safe.push_str(&rate::parse::sha256_hex(name.as_bytes())[..16]);
    }
    safe
}
