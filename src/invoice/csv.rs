//! An invoice as CSV (RFC 4180): a header, and one row a line of the invoice. Rows end in CR LF; fields are quoted
//! where they must be.

use super::{Estimate, Invoice, Line};
use crate::period::rfc3339;

/// The header's columns. More may come after them; these stay as they are.
pub const COLUMNS: [&str; 38] = [
    "number",
    "state",
    "customer",
    "period",
    "from",
    "to",
    "currency",
    "line",
    "charge",
    "description",
    "quantity",
    "unit",
    "price",
    "amount",
    "relative_error",
    "kind",
    "part",
    "band",
    "tier",
    "estimate",
    "standard_error",
    "billed",
    "basis",
    "coverage",
    "late_period",
    "tax_category",
    "tax_percent",
    "tax_exemption_reason",
    "sampled_share",
    "volume_relative_error",
    "least_coverage",
    "lost_records",
    "loss",
    "reconciled",
    "calibration_intervals",
    "calibrated_intervals",
    "calibrated_share",
    "volume_by_flows",
];

/// The invoice's lines. What is about the invoice as a whole (from `sampled_share` to `reconciled`) is the same in each of them, and
/// its tax too; where there are several taxes, their cells are empty.
#[must_use]
pub fn write(invoice: &Invoice) -> String {
    let mut text = String::new();
    row(&mut text, COLUMNS.into_iter());
    for (at, line) in invoice.lines.iter().enumerate() {
        let own = own(invoice, at, line);
        let all = own
            .into_iter()
            .chain(uncertainty(invoice, at, line))
            .chain(whole(invoice))
            .chain(calibration(line));
        row(&mut text, all);
    }
    text
}

/// What a line charges.
fn own(invoice: &Invoice, at: usize, line: &Line) -> [String; 15] {
    [
        invoice.number.clone(),
        invoice.state.as_str().to_owned(),
        invoice.customer.name.clone(),
        invoice.period.to_string(),
        rfc3339(invoice.span.from),
        rfc3339(invoice.span.to),
        invoice.currency.code().to_owned(),
        (at + 1).to_string(),
        line.charge.clone(),
        line.description.clone(),
        line.quantity.clone(),
        line.unit.clone(),
        line.price.clone(),
        line.amount.to_string(),
        line.relative_error.clone(),
    ]
}

/// What of the charge it is, and how sure its volume is.
fn uncertainty(invoice: &Invoice, at: usize, line: &Line) -> [String; 10] {
    let detail = &line.detail;
    let estimate =
        |of: fn(&Estimate) -> &String| detail.estimate.as_ref().map(of).cloned().unwrap_or_default();
    let late = invoice.issuance.adjustments.iter().find(|adjustment| adjustment.line == at + 1);
    [
        detail.kind.clone(),
        (detail.part + 1).to_string(),
        detail.band.clone(),
        detail.tier.map(|tier| (tier + 1).to_string()).unwrap_or_default(),
        estimate(|estimate| &estimate.estimate),
        estimate(|estimate| &estimate.standard_error),
        estimate(|estimate| &estimate.billed),
        estimate(|estimate| &estimate.basis),
        detail.coverage.clone(),
        late.map(|late| late.period.to_string()).unwrap_or_default(),
    ]
}

/// How its volume was calibrated.
fn calibration(line: &Line) -> [String; 4] {
    let Some(of) = &line.detail.calibration else { return Default::default() };
    [of.intervals.to_string(), of.shared.to_string(), of.share.clone(), of.flows.clone()]
}

/// What holds for the whole invoice.
fn whole(invoice: &Invoice) -> [String; 9] {
    let quality = &invoice.quality;
    let tax = match &invoice.taxes[..] {
        [tax] => [tax.category.clone(), tax.percent.clone(), tax.exemption_reason.clone()],
        _ => Default::default(),
    };
    let [category, percent, reason] = tax;
    let loss = quality.loss.iter().map(|loss| format!("{} {}/{}", loss.exporter, loss.lost, loss.records));
    // Buckets that differ, of those that were compared, of those that there were.
    let reconciled = quality
        .reconciled
        .iter()
        .map(|one| format!("{} {}/{}/{}", one.link, one.differences, one.compared, one.buckets));
    [
        category,
        percent,
        reason,
        quality.sampled_share.clone(),
        quality.relative_error.clone(),
        quality.coverage.clone().unwrap_or_default(),
        quality.lost_records.map(|lost| lost.to_string()).unwrap_or_default(),
        loss.collect::<Vec<_>>().join("; "),
        reconciled.collect::<Vec<_>>().join("; "),
    ]
}

fn row(text: &mut String, fields: impl Iterator<Item = impl AsRef<str>>) {
    for (at, field) in fields.enumerate() {
        let field = field.as_ref();
        if at > 0 {
            text.push(',');
        }
        if field.contains([',', '"', '\r', '\n']) {
            text.push('"');
            text.push_str(&field.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(field);
        }
    }
    text.push_str("\r\n");
}
