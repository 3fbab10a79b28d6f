//! An invoice as CSV (RFC 4180): a header, and one row a line of the invoice. Rows end in CR LF; fields are quoted
//! where they must be.

use super::Invoice;
use crate::period::rfc3339;

/// The header's columns.
pub const COLUMNS: [&str; 15] = [
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
];

/// The invoice's lines.
#[must_use]
pub fn write(invoice: &Invoice) -> String {
    let mut text = String::new();
    row(&mut text, COLUMNS);
    for (at, line) in invoice.lines.iter().enumerate() {
        row(
            &mut text,
            [
                &invoice.number,
                invoice.state.as_str(),
                &invoice.customer.name,
                &invoice.period.to_string(),
                &rfc3339(invoice.span.from),
                &rfc3339(invoice.span.to),
                invoice.currency.code(),
                &(at + 1).to_string(),
                &line.charge,
                &line.description,
                &line.quantity,
                &line.unit,
                &line.price,
                &line.amount.to_string(),
                &line.relative_error,
            ],
        );
    }
    text
}

fn row(text: &mut String, fields: [&str; 15]) {
    for (at, field) in fields.into_iter().enumerate() {
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
