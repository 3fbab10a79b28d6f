//! Where a correction leaves nothing of an invoice: at what price a later one brings usage back, and who is told of it.

use super::*;

/// 2.50 a GB and 20 % tax, and nothing besides: who used nothing owes nothing.
fn volume_only() -> String {
    const PORT: &str =
        "[[charge]]\nid = \"port\"\nkind = \"recurring\"\ndescription = \"Port\"\namount = \"10.00\"\n";
    assert!(TARIFF.contains(PORT));
    TARIFF.replace(PORT, "")
}

/// All that was the museum's is the archive's.
fn moved(network: &str, prefixes: &str) -> String {
    let archive =
        format!("[[customer]]\nname = \"archive\"\nprefixes = [{prefixes}]\ntariff = \"by-volume\"\n");
    let own = format!("prefixes = [{prefixes}]");
    assert!(network.contains(&own), "{own}");
    network.replace(&own, "prefixes = [\"22.0.0.0/8\"]") + &archive
}

/// The wrong configuration, with the month's traffic billed by volume, and closed.
fn closed(dialect: Dialect) -> Site {
    let (period, at) = last_month();
    let site = Site::on(dialect, WRONG);
    std::fs::write(site.path("by-volume.toml"), volume_only()).unwrap();
    metered(&site, &traffic(at));
    site.ok(&["tariff", "activate", "by-volume.toml", "--by", "ann"]);
    final_invoices(&site, &period);
    site.ok(&["period", "close", "--period", &period]);
    site
}

/// Corrects by that configuration: the rows, and what is said besides.
fn corrected(site: &Site, network: &str, period: &str) -> (String, String) {
    site.configure(network);
    metered(site, &[]);
    let output = site.run(&correct(period));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (String::from_utf8(output.stdout).unwrap(), said)
}

fn is_unbilled(said: &str, customer: &str) -> bool {
    said.contains(&format!("`{customer}` has no final invoice of "))
}

fn is_concerned(said: &str, customer: &str) -> bool {
    said.contains(&format!("usage of `{customer}` was corrected, too"))
}

/// By hand: the campus is billed 5 GB at 2.50, 12.50 and 20 %: 15.00; the museum 1 GB: 2.50 and 3.00. Then a version with
/// 5.00 a GB is there. The right prefixes give each 3 GB: the campus, which was asked for, 15.00 and 18.00 by the tariff of
/// now, the museum 7.50 and 9.00 by that of then. So it is again when all of it was away and has come back.
#[test]
fn what_a_correction_brings_back_has_the_price_that_it_had() {
    let (period, _) = last_month();
    for dialect in dialects() {
        let site = closed(dialect);
        let second = volume_only()
            .replace("version = 1", "version = 2")
            .replace("effective = 2026-01-01", &format!("effective = {period}-01"))
            .replace("2.50", "5.00");
        std::fs::write(site.path("second.toml"), second).unwrap();
        site.ok(&["tariff", "activate", "second.toml", "--retroactive", "--by", "ann"]);
        let (done, _) = corrected(&site, &right(), &period);
        assert_eq!(
            rows(&done),
            [vec!["R-000001", &period, "15.00", "18.00"], vec!["R-000002", &period, "3.00", "9.00"]]
        );

        let away = moved(&right(), "\"20.128.0.0/9\", \"21.0.0.0/8\"");
        let (done, _) = corrected(&site, &away, &period);
        assert_eq!(rows(&done), [["R-000006", period.as_str(), "9.00", ""]]);
        let (done, said) = corrected(&site, &right(), &period);
        assert_eq!(rows(&done).len(), 0, "{done}");
        assert!(is_unbilled(&said, "museum"), "{said}");

        // 3 GB at 2.50 again; R-000007 is the credit note.
        final_invoices(&site, &period);
        let museum = standing(&site, &period, "museum");
        assert_eq!((&museum["number"], &museum["gross"]), (&"R-000008".into(), &"9.00".into()));
        assert_eq!(museum["tariff"]["version"], 1);
        audited(&site);
        // The tariffs of now, when it is asked for itself: 3 GB at 5.00.
        let again = ["rerate", "--customer", "museum", "--from", &period, "--format", "csv"];
        assert_eq!(rows(&site.ok(&again)), [["R-000008", period.as_str(), "9.00", "18.00"]]);
        audited(&site);
    }
}

/// The museum's 1 GB is the archive's for a while. Who has usage and no invoice that stands is told, also where the last one
/// was credited or void, and who has none is not; of whom nothing was corrected and nothing is to be done, nothing is said.
#[test]
fn who_has_usage_and_no_invoice_that_stands_is_told() {
    let (period, _) = last_month();
    let site = closed(Dialect::Sqlite);
    let away = moved(WRONG, "\"21.0.0.0/8\"");
    let (done, said) = corrected(&site, &away, &period);
    assert_eq!(rows(&done), [["R-000002", period.as_str(), "3.00", ""]]);
    assert!(is_unbilled(&said, "archive") && !is_unbilled(&said, "museum"), "{said}");
    assert!(is_concerned(&said, "archive") && is_concerned(&said, "museum"), "{said}");
    assert_eq!(said.matches("has no final invoice").count(), 1, "{said}");

    // Once more: the archive's invoice has still to be made, and the museum is done.
    let (_, said) = corrected(&site, &away, &period);
    assert!(is_unbilled(&said, "archive") && !is_unbilled(&said, "museum"), "{said}");
    assert!(is_concerned(&said, "archive") && !is_concerned(&said, "museum"), "{said}");

    // Back: the museum's last invoice was credited, and the archive has nothing.
    let (_, said) = corrected(&site, WRONG, &period);
    assert!(is_unbilled(&said, "museum") && !is_unbilled(&said, "archive"), "{said}");
    assert!(is_concerned(&said, "museum") && is_concerned(&said, "archive"), "{said}");

    final_invoices(&site, &period);
    let (_, said) = corrected(&site, WRONG, &period);
    assert!(said.contains("nothing is left to correct"), "{said}");
    assert!(!said.contains("`museum`") && !said.contains("`archive`"), "{said}");

    let museum = standing(&site, &period, "museum");
    assert_eq!(museum["gross"], "3.00");
    site.ok(&["invoice", "void", museum["number"].as_str().unwrap()]);
    let (_, said) = corrected(&site, WRONG, &period);
    assert!(is_unbilled(&said, "museum") && is_concerned(&said, "museum"), "{said}");
    assert!(!said.contains("`archive`") && !is_unbilled(&said, "campus"), "{said}");
    audited(&site);
}
