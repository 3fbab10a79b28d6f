//! An invoice with shares of the totals of links is final only when nobody's usage can move them any more.

use crate::invoice::Invoice;
use crate::ledger::Closed;

/// Why an invoice cannot be final yet though its own usage is closed: a charge of it is calibrated, and what others still
/// use of the same links would move its shares.
pub(super) fn open_beside(invoice: &Invoice, closed: &Closed, names: &[(u32, String)]) -> Option<String> {
    /// Names that are told; of more only the number.
    const NAMES_MAX: usize = 10;
    let end = invoice.span.buckets().1;
    let is_calibrated = invoice.lines.iter().any(|line| line.detail.calibration.is_some());
    if !is_calibrated || closed.everybody().is_some_and(|until| until >= end) {
        return None;
    }
    let is_open = |number: u32| closed.until(number).is_none_or(|until| until < end);
    let mut open: Vec<&str> =
        names.iter().filter(|(number, _)| is_open(*number)).map(|(_, name)| name.as_str()).collect();
    open.sort_unstable();
    let more = open.len().saturating_sub(NAMES_MAX);
    let mut told: Vec<String> = open.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
    if more > 0 {
        told.push(format!("{more} more"));
    }
    if told.is_empty() {
        told.push("those that nobody has seen yet".to_owned());
    }
    Some(format!(
        "it has shares of the totals of links, which move with the usage of others up to {}, and that is still open, of \
         {}; close it first with `fluxoscope period close --period {}`, when everybody's has ended",
        crate::period::rfc3339(end.start()),
        told.join(", "),
        invoice.period
    ))
}
