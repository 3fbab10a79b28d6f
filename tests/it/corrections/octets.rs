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

/// A ledger whose correction entered nothing of such a day, as this program once did: the next closing makes it good.
#[test]
fn what_a_correction_has_left_out_of_the_books_is_entered_by_the_next_closing() {
    use diesel::Connection as _;
    use diesel::connection::SimpleConnection as _;
    let (period, at) = last_month();
    let site = Site::on(Dialect::Sqlite, WRONG);
    std::fs::write(site.path("by-volume.toml"), TARIFF).unwrap();
    metered(&site, &[v5(at, 0, &[(CAMPUS, 3_000_000)])]);
    site.ok(&["tariff", "activate", "by-volume.toml", "--by", "ann"]);
    site.ok(&["period", "close", "--period", &period]);
    metered(&site, &[v5(at + 86_400_000, 1, &[(DISPUTED, 4_000_000)])]);
    site.configure(&right());
    metered(&site, &[]);
    site.ok(&correct(&period));
    audited(&site);
    // Its entries are the last ones.
    let path = site.state().join("ledger.sqlite");
    let mut connection = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection
        .batch_execute(
            "PRAGMA foreign_keys = OFF;
             DROP TRIGGER entry_delete; DROP TRIGGER posting_delete;
             DELETE FROM posting WHERE entry IN
                 (SELECT seq FROM entry WHERE digest = (SELECT hash FROM correction));
             DELETE FROM entry WHERE digest = (SELECT hash FROM correction);",
        )
        .unwrap();
    for name in ["entry_delete", "posting_delete"] {
        let text = schema_text("0010_books", name);
        connection.batch_execute(&text).unwrap();
    }
    drop(connection);
    let output = site.run(&["audit"]);
    refused(&output, 3, "not what `ce1` reported: 4000000000 octets are missing");
    let closed = site.ok(&["period", "close", "--period", &period, "--format", "csv"]);
    assert_eq!(rows(&closed)[0][3], "1");
    let audit = audited(&site);
    assert_eq!(figure(&audit, "octets", "not_entered_yet"), 0);
    assert_eq!(figure(&audit, "octets", "entered"), 7_000_000_000);
}

/// A trigger as the schema makes it.
fn schema_text(migration: &str, trigger: &str) -> String {
    let path = format!("{}/schema/sqlite/{migration}/up.sql", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let begin = text.find(&format!("CREATE TRIGGER {trigger} ")).unwrap();
    let end = text[begin..].find("END;").unwrap();
    text[begin..begin + end + 4].to_owned()
}
