//! The octets of a closed day that are corrected before any of them is in the books.

use std::collections::BTreeMap;

use super::*;

/// Raw octets by account that the books have of a day, all of its entries together.
fn booked(site: &Site, day: &str) -> BTreeMap<String, i128> {
    let _ = std::fs::remove_dir_all(site.path("books"));
    site.ok(&["ledger", "export", "--format", "hledger", "--out", "books"]);
    let text = std::fs::read_to_string(site.path("books/ledger.journal")).unwrap();
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    let mut is_of_day = false;
    for line in text.lines() {
        let Some(leg) = line.strip_prefix("    ") else {
            is_of_day = line.starts_with(day);
            continue;
        };
        if let Some(leg) = leg.strip_suffix(" RAWOCTET").filter(|_| is_of_day) {
            let (account, amount) = leg.rsplit_once(' ').unwrap();
            *sums.entry(account.trim_end().to_owned()).or_default() += amount.parse::<i128>().unwrap();
        }
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

/// All that a closed day has came late, so that the closing had nothing to enter of it; then its 4 GB turn out to be the
/// museum's. They are in the books at once, and later closings find nothing more.
#[test]
fn a_day_that_had_only_late_usage_is_in_the_books_once_it_is_corrected() {
    let (next, _) = last_month();
    let first: jiff::civil::Date = format!("{next}-01").parse().unwrap();
    let first = first.yesterday().unwrap().first_of_month();
    let period = format!("{:04}-{:02}", first.year(), first.month());
    let day = first.tomorrow().unwrap().to_string();
    let at: jiff::Timestamp = format!("{first}T12:01:00Z").parse().unwrap();
    let at = at.as_millisecond();
    for dialect in dialects() {
        let site = Site::on(dialect, WRONG);
        std::fs::write(site.path("by-volume.toml"), TARIFF).unwrap();
        metered(&site, &[v5(at, 0, &[(CAMPUS, 3_000_000)])]);
        site.ok(&["tariff", "activate", "by-volume.toml", "--by", "ann"]);
        let entries_of_closing = |period: &str| {
            let closed = site.ok(&["period", "close", "--period", period, "--format", "csv"]);
            rows(&closed)[0][3].to_owned()
        };
        assert_eq!(entries_of_closing(&period), "1", "the first day");
        metered(&site, &[v5(at + 86_400_000, 1, &[(DISPUTED, 4_000_000)])]);
        let audit = audited(&site);
        assert_eq!(figure(&audit, "usage", "late_octets"), 4_000_000_000);
        assert_eq!(figure(&audit, "octets", "not_entered_yet"), 4_000_000_000);
        assert_eq!(booked(&site, &day), BTreeMap::new());

        site.configure(&right());
        metered(&site, &[]);
        site.ok(&correct(&period));
        let of = |customer: &str| {
            BTreeMap::from([
                (format!("expenses:octets:customer:{customer}"), 4_000_000_000_i128),
                ("income:octets:exporter:ce1".to_owned(), -4_000_000_000),
            ])
        };
        let right_now = |owner: &str| {
            let audit = audited(&site);
            assert_eq!(figure(&audit, "octets", "entered"), 7_000_000_000);
            assert_eq!(figure(&audit, "octets", "not_entered_yet"), 0);
            assert_eq!(booked(&site, &day), of(owner));
        };
        right_now("museum");
        for closed in [&period, &next] {
            assert_eq!(entries_of_closing(closed), "0", "{closed}");
            right_now("museum");
        }

        // And back: from one to the other, beside what the books have by now.
        site.configure(WRONG);
        metered(&site, &[]);
        site.ok(&correct(&period));
        right_now("campus");
        assert_eq!(entries_of_closing(&next), "0");
    }
}
