//! Late usage that was invoiced before it turned out to be somebody else's, and what is in the journal beyond what is committed.

use std::net::SocketAddr;

use fluxoscope::ids::Position;
use fluxoscope::journal;
use fluxoscope::units::UnixMillis;

use super::*;
use crate::billed::tampered::{found, saved};

/// The month before the last one with an instant in it, and the last one.
fn months() -> ((String, i64), String) {
    let (last, _) = last_month();
    let first: jiff::civil::Date = format!("{last}-01").parse().unwrap();
    let month = first.yesterday().unwrap().first_of_month();
    let at: jiff::Timestamp = format!("{month}T12:01:00Z").parse().unwrap();
    ((format!("{:04}-{:02}", month.year(), month.month()), at.as_millisecond()), last)
}

/// From that month on 10.00 a port, 2.50 a GB beyond 6 GB, of which what is not used rolls over.
fn rolling(first: &str) -> String {
    const FLAT: &str = "tiers = { mode = \"graduated\", rows = [ { price = \"2.50\" } ] }";
    assert!(TARIFF.contains(FLAT));
    let allowance = "allowance = { quantity = \"6\", rollover = \"next-period\" }\n";
    TARIFF
        .replace(FLAT, &format!("{allowance}{FLAT}"))
        .replace("effective = 2026-01-01", &format!("effective = {first}-01"))
}

/// What an invoice charges.
fn charged(site: &Site, period: &str, customer: &str) -> [Value; 3] {
    let invoice = standing(site, period, customer);
    ["lines", "net", "adjustments"].map(|part| invoice[part].clone())
}

/// By hand: in the first month the campus has 5 GB in time, so that 1 GB rolls over, and 1.4 GB that come late: 0.4 GB are
/// beyond the allowance, 1.00, and are charged with the second month. Then 2 GB in time and all that came late turn out to be
/// the museum's, and then again the campus's.
#[test]
fn late_usage_that_was_charged_goes_with_a_correction_and_comes_back_late() {
    let ((first, at), second) = months();
    for dialect in dialects() {
        let site = Site::on(dialect, WRONG);
        std::fs::write(site.path("by-volume.toml"), rolling(&first)).unwrap();
        metered(&site, &traffic(at));
        site.ok(&["tariff", "activate", "by-volume.toml", "--by", "ann"]);
        final_invoices(&site, &first);
        site.ok(&["period", "close", "--period", &first]);
        metered(&site, &[v5(at + 300_000, 6, &[(DISPUTED, 1_400_000)])]);
        final_invoices(&site, &second);
        let before =
            ["campus", "museum"].map(|of| [&first, &second].map(|period| charged(&site, period, of)));
        let own = standing(&site, &second, "campus");
        assert_eq!(own["net"], "11.00", "{own:#}");
        let late = own["adjustments"][0]["line"].as_u64().expect("late usage is charged").to_string();
        assert_eq!(figure(&audited(&site), "late", "charged"), 1_400_000_000);

        site.configure(&right());
        metered(&site, &[]);
        site.ok(&correct(&first));
        // The invoice that charged it is credited, and names usage that is there no more.
        let audit = audited(&site);
        assert_eq!(figure(&audit, "late", "charged"), 0);
        assert_eq!(figure(&audit, "corrections", "corrections"), 1);
        assert_eq!(standing(&site, &second, "campus")["net"], "10.00");
        // Whoever asks for the arithmetic of then is told why it leads elsewhere.
        let number = own["number"].as_str().unwrap();
        let explained = site.run(&["invoice", "explain", number, &late]);
        refused(&explained, 0, "(correction 1: 20.128/9 is the museum's)");

        site.configure(WRONG);
        metered(&site, &[]);
        site.ok(&correct(&first));
        let after = ["campus", "museum"].map(|of| [&first, &second].map(|period| charged(&site, period, of)));
        assert_eq!(after, before);
        let audit = audited(&site);
        assert_eq!(figure(&audit, "late", "charged"), 1_400_000_000);
        assert_eq!(figure(&audit, "corrections", "corrections"), 2);

        if dialect == Dialect::Sqlite {
            let saved = saved(&site);
            for (check, script, what) in [
                (
                    "corrections",
                    "DELETE FROM config_version WHERE number > 1",
                    "the configuration version of correction 1 is gone",
                ),
                ("late", "UPDATE late_usage_row SET flows = flows + 1", "it has been changed"),
            ] {
                let differences = found(&site, &saved, check, script);
                assert!(differences.contains(what), "{script}: {differences}");
            }
        }
    }
}

/// By hand: with an allowance of 50 GB neither the 5 GB nor the 1.9 GB that come late cost anything, so that the correction that
/// takes 2 GB and 1.4 GB of what was late off the campus changes no amount, and the invoice stands that names usage of before it.
#[test]
fn an_invoice_that_stands_after_a_correction_names_the_usage_of_before() {
    const FLAT: &str = "tiers = { mode = \"graduated\", rows = [ { price = \"2.50\" } ] }";
    let ((first, at), second) = months();
    for dialect in dialects() {
        let site = Site::on(dialect, WRONG);
        let tariff = TARIFF.replace(FLAT, &format!("allowance = {{ quantity = \"50\" }}\n{FLAT}"));
        std::fs::write(site.path("by-volume.toml"), tariff).unwrap();
        metered(&site, &traffic(at));
        site.ok(&["tariff", "activate", "by-volume.toml", "--by", "ann"]);
        final_invoices(&site, &first);
        site.ok(&["period", "close", "--period", &first]);
        metered(&site, &[v5(at + 300_000, 6, &[(CAMPUS, 500_000), (DISPUTED, 1_400_000)])]);
        final_invoices(&site, &second);
        let own = standing(&site, &second, "campus");
        assert_eq!((&own["net"], own["adjustments"].as_array().unwrap().len()), (&"10.00".into(), 1));
        assert_eq!(figure(&audited(&site), "late", "before_corrections"), 0);

        site.configure(&right());
        metered(&site, &[]);
        site.ok(&correct(&first));
        assert_eq!(standing(&site, &second, "campus"), own, "nothing is to be charged anew");
        let audit = audited(&site);
        assert_eq!(figure(&audit, "corrections", "corrections"), 1);
        assert_eq!(figure(&audit, "late", "before_corrections"), 1);
        if dialect == Dialect::Sqlite {
            let script = "UPDATE late_usage_row SET flows = flows + 1";
            let differences = found(&site, &saved(&site), "late", script);
            assert!(differences.contains("it has been changed"), "{differences}");
        }
    }
}

/// A daemon may have written to the journal what is not in the ledger yet: a correction reads up to what is.
#[test]
fn what_is_not_committed_yet_is_not_corrected() {
    let (period, at) = last_month();
    let site = billed(Dialect::Sqlite, WRONG, &traffic(at));
    site.configure(&right());
    metered(&site, &[]);
    let config = journal::Config { sync_octets: 1, ..journal::Config::default() };
    let (mut writer, syncer, durable) =
        journal::open_at(&site.state().join("journal/0"), &config, Position(0)).unwrap();
    let syncer = std::thread::spawn(move || syncer.run());
    #[expect(clippy::disallowed_methods, reason = "a live daemon goes by the clock")]
    let now = jiff::Timestamp::now().as_millisecond();
    let source = SocketAddr::from(([127, 0, 1, 1], 2055));
    let end = writer.append(UnixMillis(now), source, &v5(at, 6, &[(DISPUTED, 700_000)])).unwrap();
    assert!(durable.wait_until(end, Duration::from_secs(60)));
    drop(writer);
    syncer.join().unwrap();

    let done = site.ok(&correct(&period));
    assert_eq!(
        rows(&done),
        [vec!["R-000001", &period, "27.00", "21.00"], vec!["R-000002", &period, "15.00", "21.00"]]
    );
    audited(&site);
}
