//! What the ledger says of tariffs, periods and versions, for those who watch. Read now and then by the thread that bills,
//! on its own connection.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::ToSpan as _;
use jiff::tz::Offset;
use tracing::warn;

use crate::counters::{Books, Counters, InvoiceState, PeriodRow, TariffRow};
use crate::diagnostic;
use crate::ledger::{self, Ledger};
use crate::units::UnixMillis;

/// Time between two readings, at least.
pub(super) const EVERY: Duration = Duration::from_secs(30);

/// Months whose periods are shown, the running one among them.
const MONTHS: i32 = 3;

/// Reads the ledger and shows what it says. What cannot be read stays as it was.
pub(super) fn show(ledger: &mut Ledger, counters: &Counters, now: UnixMillis) {
    match read(ledger, counters, now) {
        Ok(books) => counters.books.store(Arc::new(books)),
        Err(error) => warn!(
            error = diagnostic::with_causes(&error),
            "Tariffs and periods could not be read to be shown."
        ),
    }
}

fn read(ledger: &mut Ledger, counters: &Counters, now: UnixMillis) -> Result<Books, ledger::Error> {
    let mut tariffs: Vec<TariffRow> = ledger
        .tariff_versions(None)?
        .into_iter()
        .map(|version| TariffRow {
            id: version.id,
            version: u64::try_from(version.version).unwrap_or(0),
            effective: version.effective,
            activated_at: version.activated_at,
            activated_by: version.activated_by,
            sha256: version.sha256,
        })
        .collect();
    // The place in this order is the row's index, so that it stays.
    tariffs.sort_by(|a, b| (a.activated_at, &a.id, a.version).cmp(&(b.activated_at, &b.id, b.version)));
    let volumes = counters.volumes.load();
    let numbers: HashMap<&str, u32> =
        volumes.customers.iter().map(|customer| (customer.name.as_str(), customer.id)).collect();
    let mut periods = BTreeMap::new();
    for (name, month) in months(now) {
        let row = |customer| PeriodRow { customer, month, ..PeriodRow::default() };
        for (_, closure) in ledger.closures(Some(&name))? {
            let customer = closure.customer;
            let shown = periods.entry((customer, month)).or_insert_with(|| row(customer));
            shown.is_closed = true;
            shown.tariff = closure.tariff;
            shown.tariff_version = u64::try_from(closure.tariff_version).unwrap_or(0);
        }
        for (customer, number, state) in ledger.invoice_states(&name)? {
            let Some(&customer) = numbers.get(customer.as_str()) else { continue };
            let shown = periods.entry((customer, month)).or_insert_with(|| row(customer));
            let state = match state.as_str() {
                "draft" => InvoiceState::Draft,
                "final" => InvoiceState::Final,
                _ => InvoiceState::Undone,
            };
            if shown.number.is_empty() || rank(state) >= rank(shown.invoice) {
                (shown.invoice, shown.number) = (state, number);
            }
        }
    }
    Ok(Books {
        read_at: now.0,
        flushes: ledger.data_version()?,
        config_versions: ledger.config_beginnings()?.len() as u64,
        tariffs,
        periods: periods.into_values().collect(),
    })
}

/// A final invoice says more of a period than a draft, and that more than what was undone.
fn rank(state: InvoiceState) -> u8 {
    match state {
        InvoiceState::None => 0,
        InvoiceState::Undone => 1,
        InvoiceState::Draft => 2,
        InvoiceState::Final => 3,
    }
}

/// The newest months with their names in the ledger. The month of UTC: where a zone is ahead of it, its new month shows
/// some hours late.
fn months(now: UnixMillis) -> Vec<(String, u32)> {
    let Ok(now) = jiff::Timestamp::from_millisecond(now.0) else { return Vec::new() };
    let first = Offset::UTC.to_datetime(now).date().first_of_month();
    let month = |back: i32| {
        let date = first.checked_sub(back.months()).ok()?;
        let (year, month) = (u32::try_from(date.year()).ok()?, u32::try_from(date.month()).ok()?);
        Some((format!("{year:04}-{month:02}"), year * 100 + month))
    };
    (0..MONTHS).filter_map(month).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{CustomerRow, Volume, Volumes};
    use crate::ledger::records::{StoredInvoice, TariffVersion};

    #[test]
    fn months_go_back_over_the_new_year() {
        // 2027-01-31T23:59:59Z.
        let names: Vec<_> = months(UnixMillis(1_801_439_999_000));
        let expected = [("2027-01", 202_701), ("2026-12", 202_612), ("2026-11", 202_611)];
        assert_eq!(names, expected.map(|(name, number)| (name.to_owned(), number)));
    }

    #[test]
    fn tariffs_in_the_order_of_activation_and_the_invoice_that_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = ledger::Url::parse("sqlite:l.sqlite", directory.path()).expect("a URL");
        let mut ledger = Ledger::open(&url).expect("opens");
        for (id, version, at) in [("b", 1, 10), ("a", 1, 20), ("b", 2, 30)] {
            let version = TariffVersion {
                id: id.into(),
                version,
                toml: String::new(),
                sha256: format!("{id}{version}"),
                effective: "2026-11-01".into(),
                activated_at: at,
                activated_by: "ops".into(),
            };
            ledger.put_tariff_version(&version).expect("keeps");
        }
        let invoice = |number: &str, customer: &str, state: &str| StoredInvoice {
            number: number.into(),
            period: "2026-12".into(),
            customer: customer.into(),
            state: state.into(),
            currency: "EUR".into(),
            gross_minor: 1,
            document: "{}".into(),
            sha256: String::new(),
        };
        ledger.put_invoice(&invoice("D-1", "campus", "draft")).expect("keeps");
        ledger.put_invoice(&invoice("D-2", "unknown", "draft")).expect("keeps");
        let counters = Counters::new(1, 0);
        let campus = CustomerRow {
            id: 17,
            name: "campus".into(),
            volume: Volume::default(),
            month_in_octets: 0,
            month_out_octets: 0,
        };
        counters.volumes.store(Arc::new(Volumes { links: Vec::new(), customers: vec![campus] }));
        show(&mut ledger, &counters, UnixMillis(1_801_439_999_000));
        let books = counters.books.load();
        let order: Vec<_> = books.tariffs.iter().map(|row| (row.id.as_str(), row.version)).collect();
        assert_eq!(order, [("b", 1), ("a", 1), ("b", 2)]);
        let period = PeriodRow {
            customer: 17,
            month: 202_612,
            invoice: InvoiceState::Draft,
            number: "D-1".into(),
            ..PeriodRow::default()
        };
        assert_eq!(books.periods, [period]);
    }
}
