//! The canonical JSON of an invoice: keys in a fixed order, no spaces, a line feed at the end. All numbers that are
//! money or decimals are strings; octets are strings too, since many readers take numbers for 64-bit floats.
//!
//! The keys that other programs rely on are `number state customer currency period{from,to}
//! lines[{charge,description,quantity,unit,price,amount,relative_error}] net tax gross`; keys are only ever added.
//! Reading it back proves that it adds up.

use serde::{Deserialize, Serialize};

use super::issue::{Adjustment, Contact, Issuance};
use super::language::Language;
use super::presentation::Presentation;
use super::{
    Detail, Invoice, Line, LossLine, PartRef, Party, Quality, RateLine, ReconciledLine, Seller, State,
    TariffRef, TaxLine, VolumeLine,
};
use crate::money::{Currency, Money};
use crate::period::{Period, Span, rfc3339};
use crate::units::UnixMillis;

/// Why a document is not an invoice.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not the JSON that it should be.
    #[error("the document is not an invoice")]
    Json(#[from] serde_json::Error),
    /// A part of it says something impossible.
    #[error("`{0}` of the invoice is wrong")]
    Part(&'static str),
    /// It does not add up.
    #[error("the invoice does not add up: {0}")]
    Sum(&'static str),
}

#[derive(Deserialize, Serialize)]
struct Document {
    number: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    issued: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    due: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    credits: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    replaces: Option<String>,
    customer: String,
    address: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    seller: Option<SellerPart>,
    currency: String,
    period: PeriodPart,
    tariff: TariffPart,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    parts: Vec<SplitPart>,
    usage_root: String,
    lines: Vec<LinePart>,
    net: String,
    tax: String,
    gross: String,
    taxes: Vec<TaxPart>,
    quality: QualityPart,
    volumes: Vec<VolumePart>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    adjustments: Vec<AdjustmentPart>,
    #[serde(skip_serializing_if = "Contact::is_empty", default)]
    seller_contact: Contact,
    #[serde(skip_serializing_if = "Contact::is_empty", default)]
    customer_contact: Contact,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    presentation: Option<PresentationPart>,
}

/// How it looks; left out where nothing was chosen.
#[derive(Deserialize, Serialize)]
struct PresentationPart {
    language: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    logo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    template: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct AdjustmentPart {
    line: usize,
    period: String,
    tariff: TariffPart,
    usage_root: String,
}

#[derive(Deserialize, Serialize)]
struct SellerPart {
    name: String,
    address: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    tax_number: String,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    footer: Vec<String>,
}

#[derive(Deserialize, Serialize)]
struct PeriodPart {
    name: String,
    from: String,
    to: String,
    timezone: String,
    first_day: String,
    end_day: String,
}

#[derive(Deserialize, Serialize)]
struct TariffPart {
    id: String,
    version: i64,
    sha256: String,
}

#[derive(Deserialize, Serialize)]
struct LinePart {
    charge: String,
    description: String,
    quantity: String,
    unit: String,
    price: String,
    amount: String,
    relative_error: String,
    #[serde(default)]
    detail: Detail,
}

/// A part of a period that a change of tariff splits.
#[derive(Deserialize, Serialize)]
struct SplitPart {
    from: String,
    to: String,
    first_day: String,
    end_day: String,
    tariff: TariffPart,
}

#[derive(Deserialize, Serialize)]
struct TaxPart {
    category: String,
    percent: String,
    base: String,
    amount: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    exemption_reason: String,
}

#[derive(Deserialize, Serialize)]
struct QualityPart {
    octets: String,
    sampled_octets: String,
    sampled_share: String,
    standard_error: String,
    relative_error: String,
    rates: Vec<RatePart>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    lost_records: Option<u64>,
    #[serde(skip_serializing_if = "core::ops::Not::not", default)]
    provisional: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    coverage: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    loss: Vec<LossPart>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    reconciled: Vec<ReconciledPart>,
}

#[derive(Deserialize, Serialize)]
struct ReconciledPart {
    link: String,
    buckets: u64,
    compared: u64,
    differences: u64,
}

#[derive(Deserialize, Serialize)]
struct LossPart {
    exporter: String,
    lost: String,
    records: String,
}

#[derive(Deserialize, Serialize)]
struct RatePart {
    rate: String,
    source: String,
    octets: String,
}

#[derive(Deserialize, Serialize)]
struct VolumePart {
    link: String,
    kind: String,
    direction: String,
    class: String,
    octets: String,
    packets: String,
    relative_error: String,
}

/// The document.
#[must_use]
pub fn write(invoice: &Invoice) -> String {
    let mut text =
        serde_json::to_string(&document(invoice)).expect("strings, lists and structs always serialize");
    text.push('\n');
    text
}

/// Reads a document and proves that it adds up.
///
/// # Errors
/// [`Error`].
pub fn read(text: &str) -> Result<Invoice, Error> {
    let invoice = invoice(serde_json::from_str(text)?)?;
    let sum = |amounts: &mut dyn Iterator<Item = Money>| Money::sum(invoice.currency, amounts).ok();
    if sum(&mut invoice.lines.iter().map(|line| line.amount)) != Some(invoice.net) {
        return Err(Error::Sum("the lines are not the net amount"));
    }
    if sum(&mut invoice.taxes.iter().map(|tax| tax.amount)) != Some(invoice.tax) {
        return Err(Error::Sum("the taxes are not the tax"));
    }
    if invoice.net.checked_add(invoice.tax).ok() != Some(invoice.gross) {
        return Err(Error::Sum("net and tax are not gross"));
    }
    Ok(invoice)
}

fn document(invoice: &Invoice) -> Document {
    let of = invoice.clone();
    Document {
        number: of.number,
        state: of.state.as_str().to_owned(),
        issued: of.issuance.date.map(|date| date.to_string()),
        due: of.issuance.due.map(|date| date.to_string()),
        credits: of.issuance.credits,
        replaces: of.issuance.replaces,
        customer: of.customer.name,
        address: of.customer.address,
        seller: of.seller.map(|Seller { name, address, tax_number, footer }| SellerPart {
            name,
            address,
            tax_number,
            footer,
        }),
        currency: of.currency.code().to_owned(),
        period: PeriodPart {
            name: of.period.to_string(),
            from: rfc3339(of.span.from),
            to: rfc3339(of.span.to),
            timezone: of.zone,
            first_day: of.span.first_day.to_string(),
            end_day: of.span.end_day.to_string(),
        },
        tariff: tariff_part(of.tariff),
        parts: of.parts.into_iter().map(split_part).collect(),
        usage_root: of.usage_root,
        lines: of.lines.into_iter().map(line_part).collect(),
        net: of.net.to_string(),
        tax: of.tax.to_string(),
        gross: of.gross.to_string(),
        taxes: of.taxes.into_iter().map(tax_part).collect(),
        quality: quality_part(of.quality),
        volumes: of.volumes.into_iter().map(volume_part).collect(),
        adjustments: of.issuance.adjustments.into_iter().map(adjustment_part).collect(),
        seller_contact: of.issuance.seller,
        customer_contact: of.issuance.buyer,
        presentation: presentation_part(of.presentation),
    }
}

fn presentation_part(of: Presentation) -> Option<PresentationPart> {
    (of != Presentation::default()).then(|| PresentationPart {
        language: of.language.as_str().to_owned(),
        logo: of.logo,
        template: of.template,
    })
}

fn presentation(part: Option<PresentationPart>) -> Result<Presentation, Error> {
    let Some(part) = part else { return Ok(Presentation::default()) };
    let language = Language::from_tag(&part.language).ok_or(Error::Part("presentation.language"))?;
    Ok(Presentation { language, logo: part.logo, template: part.template })
}

fn adjustment_part(adjustment: Adjustment) -> AdjustmentPart {
    AdjustmentPart {
        line: adjustment.line,
        period: adjustment.period.to_string(),
        tariff: tariff_part(adjustment.tariff),
        usage_root: adjustment.usage_root,
    }
}

fn adjustment(part: AdjustmentPart) -> Result<Adjustment, Error> {
    let TariffPart { id, version, sha256 } = part.tariff;
    Ok(Adjustment {
        line: part.line,
        period: part.period.parse().map_err(|_| Error::Part("adjustments.period"))?,
        tariff: TariffRef { id, version, sha256 },
        usage_root: part.usage_root,
    })
}

fn tariff_part(tariff: TariffRef) -> TariffPart {
    TariffPart { id: tariff.id, version: tariff.version, sha256: tariff.sha256 }
}

fn split_part(part: PartRef) -> SplitPart {
    SplitPart {
        from: rfc3339(part.span.from),
        to: rfc3339(part.span.to),
        first_day: part.span.first_day.to_string(),
        end_day: part.span.end_day.to_string(),
        tariff: tariff_part(part.tariff),
    }
}

fn line_part(line: Line) -> LinePart {
    LinePart {
        charge: line.charge,
        description: line.description,
        quantity: line.quantity,
        unit: line.unit,
        price: line.price,
        amount: line.amount.to_string(),
        relative_error: line.relative_error,
        detail: line.detail,
    }
}

fn tax_part(tax: TaxLine) -> TaxPart {
    TaxPart {
        category: tax.category,
        percent: tax.percent,
        base: tax.base.to_string(),
        amount: tax.amount.to_string(),
        exemption_reason: tax.exemption_reason,
    }
}

fn quality_part(quality: Quality) -> QualityPart {
    QualityPart {
        octets: quality.octets.to_string(),
        sampled_octets: quality.sampled_octets.to_string(),
        sampled_share: quality.sampled_share,
        standard_error: quality.standard_error.to_string(),
        relative_error: quality.relative_error,
        rates: quality
            .rates
            .into_iter()
            .map(|rate| RatePart { rate: rate.rate, source: rate.source, octets: rate.octets.to_string() })
            .collect(),
        lost_records: quality.lost_records,
        provisional: quality.provisional,
        coverage: quality.coverage,
        loss: quality.loss.into_iter().map(loss_part).collect(),
        reconciled: quality.reconciled.into_iter().map(reconciled_part).collect(),
    }
}

fn reconciled_part(line: ReconciledLine) -> ReconciledPart {
    let ReconciledLine { link, buckets, compared, differences } = line;
    ReconciledPart { link, buckets, compared, differences }
}

fn reconciled(part: ReconciledPart) -> ReconciledLine {
    let ReconciledPart { link, buckets, compared, differences } = part;
    ReconciledLine { link, buckets, compared, differences }
}

fn loss_part(loss: LossLine) -> LossPart {
    LossPart { exporter: loss.exporter, lost: loss.lost.to_string(), records: loss.records.to_string() }
}

fn loss(part: LossPart) -> Result<LossLine, Error> {
    let lost = number(&part.lost, "quality.loss.lost")?;
    let records = number(&part.records, "quality.loss.records")?;
    Ok(LossLine { exporter: part.exporter, lost, records })
}

fn volume_part(volume: VolumeLine) -> VolumePart {
    VolumePart {
        link: volume.link,
        kind: volume.kind,
        direction: volume.direction,
        class: volume.class,
        octets: volume.octets.to_string(),
        packets: volume.packets.to_string(),
        relative_error: volume.relative_error,
    }
}

fn invoice(document: Document) -> Result<Invoice, Error> {
    let currency = Currency::from_code(&document.currency).ok_or(Error::Part("currency"))?;
    let money = |text: &str, part| Money::parse(text, currency).map_err(|_| Error::Part(part));
    let state = State::ALL.into_iter().find(|state| state.as_str() == document.state);
    let (period, span) = period(&document.period)?;
    let day =
        |text: Option<String>, part| text.map(|text| text.parse().map_err(|_| Error::Part(part))).transpose();
    let issuance = Issuance {
        date: day(document.issued, "issued")?,
        due: day(document.due, "due")?,
        credits: document.credits,
        replaces: document.replaces,
        adjustments: document.adjustments.into_iter().map(adjustment).collect::<Result<_, _>>()?,
        seller: document.seller_contact,
        buyer: document.customer_contact,
    };
    Ok(Invoice {
        number: document.number,
        state: state.ok_or(Error::Part("state"))?,
        customer: Party { name: document.customer, address: document.address },
        seller: document.seller.map(|SellerPart { name, address, tax_number, footer }| Seller {
            name,
            address,
            tax_number,
            footer,
        }),
        currency,
        period,
        span,
        zone: document.period.timezone,
        tariff: tariff(document.tariff),
        parts: document.parts.into_iter().map(split).collect::<Result<_, _>>()?,
        usage_root: document.usage_root,
        net: money(&document.net, "net")?,
        tax: money(&document.tax, "tax")?,
        gross: money(&document.gross, "gross")?,
        lines: document.lines.into_iter().map(|part| line(part, currency)).collect::<Result<_, _>>()?,
        taxes: document.taxes.into_iter().map(|part| tax(part, currency)).collect::<Result<_, _>>()?,
        quality: quality(document.quality)?,
        volumes: document.volumes.into_iter().map(volume).collect::<Result<_, _>>()?,
        issuance,
        presentation: presentation(document.presentation)?,
    })
}

fn tariff(part: TariffPart) -> TariffRef {
    TariffRef { id: part.id, version: part.version, sha256: part.sha256 }
}

fn instant(text: &str, part: &'static str) -> Result<UnixMillis, Error> {
    let timestamp: jiff::Timestamp = text.parse().map_err(|_| Error::Part(part))?;
    Ok(UnixMillis::from_seconds(timestamp.as_second()))
}

fn day(text: &str, part: &'static str) -> Result<jiff::civil::Date, Error> {
    text.parse().map_err(|_| Error::Part(part))
}

fn split(part: SplitPart) -> Result<PartRef, Error> {
    let span = Span {
        first_day: day(&part.first_day, "parts.first_day")?,
        end_day: day(&part.end_day, "parts.end_day")?,
        from: instant(&part.from, "parts.from")?,
        to: instant(&part.to, "parts.to")?,
    };
    Ok(PartRef { span, tariff: tariff(part.tariff) })
}

fn period(part: &PeriodPart) -> Result<(Period, Span), Error> {
    let span = Span {
        first_day: day(&part.first_day, "period.first_day")?,
        end_day: day(&part.end_day, "period.end_day")?,
        from: instant(&part.from, "period.from")?,
        to: instant(&part.to, "period.to")?,
    };
    Ok((part.name.parse().map_err(|_| Error::Part("period.name"))?, span))
}

fn line(part: LinePart, currency: Currency) -> Result<Line, Error> {
    Ok(Line {
        amount: Money::parse(&part.amount, currency).map_err(|_| Error::Part("lines.amount"))?,
        charge: part.charge,
        description: part.description,
        quantity: part.quantity,
        unit: part.unit,
        price: part.price,
        relative_error: part.relative_error,
        detail: part.detail,
    })
}

fn tax(part: TaxPart, currency: Currency) -> Result<TaxLine, Error> {
    Ok(TaxLine {
        base: Money::parse(&part.base, currency).map_err(|_| Error::Part("taxes.base"))?,
        amount: Money::parse(&part.amount, currency).map_err(|_| Error::Part("taxes.amount"))?,
        category: part.category,
        percent: part.percent,
        exemption_reason: part.exemption_reason,
    })
}

fn number<N: core::str::FromStr>(text: &str, part: &'static str) -> Result<N, Error> {
    text.parse().map_err(|_| Error::Part(part))
}

fn quality(part: QualityPart) -> Result<Quality, Error> {
    let rates = part.rates.into_iter().map(|rate| {
        let octets = number(&rate.octets, "quality.rates.octets")?;
        Ok(RateLine { rate: rate.rate, source: rate.source, octets })
    });
    Ok(Quality {
        octets: number(&part.octets, "quality.octets")?,
        sampled_octets: number(&part.sampled_octets, "quality.sampled_octets")?,
        sampled_share: part.sampled_share,
        standard_error: number(&part.standard_error, "quality.standard_error")?,
        relative_error: part.relative_error,
        rates: rates.collect::<Result<_, Error>>()?,
        lost_records: part.lost_records,
        provisional: part.provisional,
        coverage: part.coverage,
        loss: part.loss.into_iter().map(loss).collect::<Result<_, _>>()?,
        reconciled: part.reconciled.into_iter().map(reconciled).collect(),
    })
}

fn volume(part: VolumePart) -> Result<VolumeLine, Error> {
    Ok(VolumeLine {
        octets: number(&part.octets, "volumes.octets")?,
        packets: number(&part.packets, "volumes.packets")?,
        link: part.link,
        kind: part.kind,
        direction: part.direction,
        class: part.class,
        relative_error: part.relative_error,
    })
}
