//! An invoice as people see it, before it is set as a page: every text in its language, every number as it is printed.
//! HTML, PDF and templates of operators are made from this alone, so that they say the same.

use serde::Serialize;

use super::language::{Language, Words, filled};
use super::{Calibration, Invoice, Line, State};
use crate::money::{Exact, parse_decimal};
use crate::rate;

/// The page.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The tag of the language.
    pub language: &'static str,
    /// Labels of the language.
    pub words: &'static Words,
    /// `Invoice`, ...
    pub title: &'static str,
    /// The number of the document.
    pub number: String,
    /// The state where it is not final; empty.
    pub mark: &'static str,
    /// `draft`, `final`, `credited` or `void`, in any language.
    pub state: &'static str,
    /// Who sends it; none where nobody is configured.
    pub seller: Option<Seller>,
    /// Who gets it.
    pub customer: Customer,
    /// What is told beside the addresses: label and text.
    pub facts: Vec<(&'static str, String)>,
    /// The currency's code.
    pub currency: &'static str,
    /// Parts of a period that is split: from day to day, and the tariff; empty for others.
    pub parts: Vec<String>,
    /// The lines.
    pub lines: Vec<LineView>,
    /// The sum of the lines.
    pub net: String,
    /// Tax: in words, why there is none, and the amount.
    pub taxes: Vec<TaxView>,
    /// What is to be paid.
    pub gross: String,
    /// Volumes, charged or not.
    pub volumes: Vec<VolumeView>,
    /// How sure the volumes are, in sentences.
    pub quality: Vec<String>,
    /// Octets by sampling rate.
    pub rates: Vec<RateView>,
    /// What the document was made from, in sentences.
    pub proof: Vec<String>,
    /// The logo as a `data:` URI; empty where there is none.
    pub logo: String,
}

/// Who sends it.
#[derive(Clone, Debug, Serialize)]
pub struct Seller {
    /// Name.
    pub name: String,
    /// Lines of the address.
    pub address: Vec<String>,
    /// Tax number; empty where there is none.
    pub tax_number: String,
    /// Lines at the foot.
    pub footer: Vec<String>,
}

/// Who gets it.
#[derive(Clone, Debug, Serialize)]
pub struct Customer {
    /// Name.
    pub name: String,
    /// Lines of the address.
    pub address: Vec<String>,
}

/// A line.
#[derive(Clone, Debug, Serialize)]
pub struct LineView {
    /// In words.
    pub description: String,
    /// The id of the charge.
    pub charge: String,
    /// What is told below it: charge, band, part, and how sure the volume is.
    pub notes: Vec<String>,
    /// Padded, so that points stand below each other.
    pub quantity: String,
    /// The unit.
    pub unit: String,
    /// Padded too.
    pub price: String,
    /// The amount.
    pub amount: String,
}

/// A tax.
#[derive(Clone, Debug, Serialize)]
pub struct TaxView {
    /// Category, percentage and base, in words.
    pub what: String,
    /// Why there is none; empty.
    pub reason: String,
    /// The amount.
    pub amount: String,
}

/// A volume.
#[derive(Clone, Debug, Serialize)]
pub struct VolumeView {
    /// The link.
    pub link: String,
    /// Its kind.
    pub kind: String,
    /// The direction.
    pub direction: String,
    /// The tariff's class.
    pub class: String,
    /// Octets.
    pub octets: String,
    /// Packets.
    pub packets: String,
    /// The standard error; empty where nothing was sampled.
    pub error: String,
}

/// Octets of a sampling rate.
#[derive(Clone, Debug, Serialize)]
pub struct RateView {
    /// The rate, in words.
    pub rate: String,
    /// Where it was learnt from.
    pub source: String,
    /// Octets.
    pub octets: String,
}

impl Page {
    /// The page of an invoice, without its logo.
    #[must_use]
    pub fn of(invoice: &Invoice) -> Self {
        let language = invoice.presentation.language;
        let words = language.words();
        let is_credit = invoice.issuance.credits.is_some();
        let n = |text: &str| language.number(text);
        Self {
            language: language.as_str(),
            words,
            title: match invoice.state {
                State::Draft if invoice.quality.provisional => words.provisional_invoice,
                State::Draft => words.draft_invoice,
                _ if is_credit => words.credit_note,
                _ => words.invoice,
            },
            number: invoice.number.clone(),
            mark: match invoice.state {
                State::Draft => words.draft,
                State::Final => "",
                State::Credited => words.credited,
                State::Void => words.void,
            },
            state: invoice.state.as_str(),
            seller: invoice.seller.as_ref().map(|seller| Seller {
                name: seller.name.clone(),
                address: seller.address.clone(),
                tax_number: seller.tax_number.clone(),
                footer: seller.footer.clone(),
            }),
            customer: Customer {
                name: invoice.customer.name.clone(),
                address: invoice.customer.address.clone(),
            },
            facts: facts(invoice, language),
            currency: invoice.currency.code(),
            parts: parts(invoice, language),
            lines: lines(invoice, language),
            net: n(&invoice.net.to_string()),
            taxes: taxes(invoice, language),
            gross: n(&invoice.gross.to_string()),
            volumes: volumes(invoice, language),
            quality: quality(invoice, language),
            rates: rates(invoice, language),
            proof: proof(invoice, words),
            logo: String::new(),
        }
    }
}

/// From the first day to the last one.
fn days(span: &crate::period::Span, language: Language) -> String {
    let last = span.end_day.yesterday().unwrap_or(span.end_day);
    format!("{} {} {}", language.date(span.first_day), language.words().until, language.date(last))
}

fn facts(invoice: &Invoice, language: Language) -> Vec<(&'static str, String)> {
    let (words, issuance) = (language.words(), &invoice.issuance);
    let mut facts = Vec::new();
    facts.extend(issuance.date.map(|day| (words.date, language.date(day))));
    facts.extend(issuance.due.map(|day| (words.due, language.date(day))));
    facts.extend(issuance.credits.clone().map(|number| (words.takes_back, number)));
    facts.extend(issuance.replaces.clone().map(|number| (words.replaces, number)));
    facts.push((words.period, days(&invoice.span, language)));
    facts.push((words.time_zone, invoice.zone.clone()));
    let tariff = &invoice.tariff;
    facts.push((words.tariff, format!("{}, {} {}", tariff.id, words.version, tariff.version)));
    facts.push((words.currency, invoice.currency.code().to_owned()));
    facts
}

fn parts(invoice: &Invoice, language: Language) -> Vec<String> {
    let words = language.words();
    let part = |(n, part): (usize, &super::PartRef)| {
        let (days, of) = (days(&part.span, language), &part.tariff);
        format!("{} {n}: {days}, {} {}, {} {}", words.part, words.tariff, of.id, words.version, of.version)
    };
    (1..).zip(&invoice.parts).map(part).collect()
}

fn lines(invoice: &Invoice, language: Language) -> Vec<LineView> {
    let quantities = aligned(invoice.lines.iter().map(|line| line.quantity.as_str()), language);
    let prices = aligned(invoice.lines.iter().map(|line| line.price.as_str()), language);
    let line = |(line, (quantity, price)): (&Line, (String, String))| LineView {
        description: language.says(line),
        charge: line.charge.clone(),
        notes: notes(invoice, line, language),
        quantity,
        unit: language.unit(&line.unit).to_owned(),
        price,
        amount: language.number(&line.amount.to_string()),
    };
    invoice.lines.iter().zip(quantities.into_iter().zip(prices)).map(line).collect()
}

/// What is told below a line's description.
fn notes(invoice: &Invoice, line: &Line, language: Language) -> Vec<String> {
    let (words, detail) = (language.words(), &line.detail);
    let n = |text: &str| language.number(text);
    let mut notes = vec![match line.charge.as_str() {
        rate::MINIMUM => words.minimum.to_owned(),
        super::adjust::NOTHING if detail.kind == "late" => words.late.to_owned(),
        id => id.to_owned(),
    }];
    if !detail.band.is_empty() {
        notes.push(format!("{} {}", words.band, detail.band));
    }
    if !invoice.parts.is_empty() && detail.kind != "late" {
        notes.push(format!("{} {}", words.part, detail.part + 1));
    }
    let error = error(&line.relative_error, language);
    match &detail.estimate {
        Some(estimate) => {
            let basis = match estimate.basis.as_str() {
                "lower-bound" => words.basis_lower,
                "insensitive" => words.basis_insensitive,
                _ => words.basis_estimate,
            };
            let volume_unit =
                if line.unit == "package" || line.unit == "period" { "" } else { line.unit.as_str() };
            let of = |text: &str| format!("{}\u{202f}{volume_unit}", n(text)).trim_end().to_owned();
            notes.push(format!("{} {}", words.estimate, of(&estimate.estimate)));
            notes.push(format!("{} {} ({error})", words.standard_error, of(&estimate.standard_error)));
            notes.push(format!("{} {} {basis}", words.billed, of(&estimate.billed)));
        }
        None if !error.is_empty() => notes.push(format!("{} {error}", words.standard_error)),
        None => {}
    }
    notes.extend(detail.calibration.as_ref().map(|of| calibrated(of, language)));
    if !detail.coverage.is_empty() {
        notes.push(format!("{}\u{202f}% {}", percent(&detail.coverage, language), words.samples));
    }
    notes
}

/// How a volume was calibrated, in words.
pub(super) fn calibrated(of: &Calibration, language: Language) -> String {
    let n = |text: &str| language.number(text);
    let [shared, intervals] = [of.shared, of.intervals].map(|count| n(&count.to_string()));
    let with = [&shared, &intervals, &percent(&of.share, language), &n(&of.flows), &of.unit];
    filled(language.words().calibrated, &with.map(String::as_str)).replace(" %", "\u{202f}%")
}

fn taxes(invoice: &Invoice, language: Language) -> Vec<TaxView> {
    let words = language.words();
    let view = invoice.taxes.iter().map(|tax| TaxView {
        what: format!(
            "{} {}\u{202f}% ({}) {} {}",
            words.tax,
            language.number(&tax.percent),
            tax.category,
            words.of,
            language.number(&tax.base.to_string())
        ),
        reason: tax.exemption_reason.clone(),
        amount: language.number(&tax.amount.to_string()),
    });
    view.collect()
}

fn volumes(invoice: &Invoice, language: Language) -> Vec<VolumeView> {
    let words = language.words();
    let view = invoice.volumes.iter().map(|volume| VolumeView {
        link: volume.link.clone(),
        kind: volume.kind.clone(),
        direction: match volume.direction.as_str() {
            "in" => words.inward.to_owned(),
            "out" => words.outward.to_owned(),
            other => other.to_owned(),
        },
        class: volume.class.clone(),
        octets: language.number(&volume.octets.to_string()),
        packets: language.number(&volume.packets.to_string()),
        error: error(&volume.relative_error, language),
    });
    view.collect()
}

fn quality(invoice: &Invoice, language: Language) -> Vec<String> {
    let (words, quality) = (language.words(), &invoice.quality);
    let mut sentences = Vec::new();
    if !quality.rates.is_empty() {
        let octets = language.number(&quality.octets.to_string());
        let mut text = filled(words.sampled, &[&octets, &percent(&quality.sampled_share, language)]);
        let error = percent(&quality.relative_error, language);
        if error != "0" {
            text = format!("{text}; {}", filled(words.whole_error, &[&error]));
        }
        sentences.push(format!("{}.", text.replace(" %", "\u{202f}%")));
    }
    if let Some(coverage) = quality.coverage.as_ref() {
        let text = filled(words.coverage, &[&percent(coverage, language)]);
        sentences.push(text.replace(" %", "\u{202f}%"));
    }
    if let Some(lost) = quality.lost_records {
        sentences.push(filled(words.lost, &[&language.number(&lost.to_string())]));
    }
    for loss in &quality.loss {
        let [lost, records] = [loss.lost, loss.records].map(|n| language.number(&n.to_string()));
        sentences.push(filled(words.lost_by, &[&loss.exporter, &lost, &records]));
    }
    for one in &quality.reconciled {
        let numbers = [one.compared, one.buckets, one.differences].map(|n| language.number(&n.to_string()));
        let [compared, buckets, differences] = &numbers;
        sentences.push(filled(words.reconciled, &[&one.link, compared, buckets, differences]));
    }
    sentences
}

fn rates(invoice: &Invoice, language: Language) -> Vec<RateView> {
    let words = language.words();
    let view = invoice.quality.rates.iter().map(|rate| RateView {
        rate: match rate.rate.as_str() {
            "1/1" => words.every_packet.to_owned(),
            rate => format!("{rate} {}", words.of_packets),
        },
        source: language.rate_source(&rate.source).to_owned(),
        octets: language.number(&rate.octets.to_string()),
    });
    view.collect()
}

fn proof(invoice: &Invoice, words: &Words) -> Vec<String> {
    let mut sentences = vec![filled(words.proof, &[&invoice.usage_root, &invoice.tariff.sha256])];
    sentences.push(words.rounding.to_owned());
    if invoice.state == State::Draft {
        sentences.push(words.no_request.to_owned());
    }
    sentences
}

/// A column's numbers with their points below each other: blanks as wide as a digit and as a point (U+2007 and U+2008)
/// stand where one has fewer places than another.
fn aligned<'a>(column: impl Iterator<Item = &'a str> + Clone, language: Language) -> Vec<String> {
    let places = |number: &str| number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let most = column.clone().map(places).max().unwrap_or(0);
    let pad = |number: &'a str| {
        let missing = most - places(number);
        let mut text = language.number(number);
        if missing == most && most > 0 {
            text.push('\u{2008}');
        }
        text.extend(core::iter::repeat_n('\u{2007}', missing));
        text
    };
    column.map(pad).collect()
}

/// `0.001234` as `±0.1234 %`; nothing for zero.
fn error(relative: &str, language: Language) -> String {
    match percent(relative, language).as_str() {
        "0" => String::new(),
        percent => format!("\u{b1}{percent}\u{202f}%"),
    }
}

/// A share with six places as a percentage, without trailing zeros: `0.500000` is `50`.
fn percent(share: &str, language: Language) -> String {
    match parse_decimal(share) {
        Some(exact) => language.number(&Exact::from(exact).times(&Exact::whole(100)).to_decimal_string(4)),
        None => share.to_owned(),
    }
}

#[cfg(test)]
mod tests;
