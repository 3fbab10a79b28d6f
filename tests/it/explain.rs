//! `invoice explain`: whatever the invoice (a tariff that changed inside the month, overrides, caps, late usage, a credit
//! note), the arithmetic ends in the line's amount, and begins with the octets of the usage rows that are shown with it.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::support::Site;

const NETWORK: &str = r#"
[ledger]
url = "LEDGER"
[invoice]
seller = "Example Networks"
series = "R-"
[[exporter]]
name = "ce1"
address = "127.0.1.1"
[[exporter]]
name = "gw"
address = "127.0.1.3"
[[link]]
name = "transit-a"
kind = "upstream"
interfaces = [ { exporter = "ce1", ifindex = 12 } ]
[[link]]
name = "exchange"
kind = "peering"
interfaces = [ { exporter = "gw" } ]
"#;

/// Every way to charge that the shipped tariffs leave out, and an exemption.
const ALL: &str = r#"
[tariff]
id = "all"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "Europe/Amsterdam"
unit = "GiB"
[[band]]
name = "day"
days = "mon-fri"
hours = "07:00-19:00"
[[band]]
name = "night"
otherwise = true
[[class]]
name = "transit"
match = { link_kind = "upstream" }
[[class]]
name = "other"
match = {}
[[exempt]]
name = "free"
match = { family = ["ipv6"] }
[[charge]]
id = "vol"
kind = "volume"
class = ["transit", "other"]
direction = "max"
allowance = { quantity = "0.5", spend_order = ["night", "day"] }
sampled = { basis = "lower" }
tiers = { mode = "graduated", rows = [
    { up_to = "1", price = { day = "0.75", night = "0.31" }, fee = "1.11" },
    { price = { day = "0.52", night = "0.22" } },
] }
cap = "0.05"
[[discount]]
id = "some"
percent = "12.5"
on = ["vol"]
[[credit]]
id = "sorry"
amount = "0.30"
date = 2026-09-12
[minimum]
amount = "5.00"
[tax]
category = "S"
percent = "21"
"#;

/// Customers with all tariffs that need no interface counters, and one whose tariff changes in September.
fn site() -> Site {
    let mut config = NETWORK.to_owned();
    let customers = [
        ("campus", "regional-isp"),
        ("changed", "transit-per-gb"),
        ("council", "flat-share"),
        ("everything", "all"),
        ("host", "hosting-packages"),
        ("member", "exchange-peering"),
        ("museum", "exchange-peering"),
        ("network", "research-network"),
        ("university", "research-daytime"),
    ];
    for (n, (name, tariff)) in (20..).zip(customers) {
        write!(
            config,
            "[[customer]]\nname = \"{name}\"\nprefixes = [\"{n}.0.0.0/8\"]\ntariff = \"{tariff}\"\n"
        )
        .unwrap();
        if name == "changed" {
            config += "tariffs = [ { tariff = \"regional-isp\", valid_from = 2026-09-11 } ]\n";
        }
    }
    let site = Site::new(&config);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs");
    for (_, tariff) in customers.iter().filter(|(_, tariff)| *tariff != "all") {
        let file = shipped.join(format!("{tariff}.toml"));
        site.ok(&["tariff", "activate", file.to_str().unwrap()]);
    }
    std::fs::write(site.path("all.toml"), ALL).unwrap();
    site.ok(&["tariff", "activate", "all.toml"]);
    // From the 11th on: a dearer port, and other tiers.
    let text = std::fs::read_to_string(shipped.join("regional-isp.toml")).unwrap();
    let text = text.replace("version = 1", "version = 2").replace("2026-01-01", "2026-09-11");
    std::fs::write(site.path("two.toml"), text.replace("150.00", "160.00").replace("0.0430", "0.0500"))
        .unwrap();
    site.ok(&["tariff", "activate", "two.toml"]);
    replay(&site, "1");
    site
}

/// Traffic of the 10th to the 12th of September.
fn replay(site: &Site, seed: &str) {
    let file = format!("{seed}.pcap");
    let start = ["--start", "2026-09-10T18:00:00Z", "--span", "150000", "--sampling", "10"];
    site.ok(&[&["generate", "--records", "3000", "--seed", seed, "--out", &file][..], &start].concat());
    site.ok(&["replay", &file]);
}

/// Explains every line of every invoice; the kinds of lines that there were.
fn explained(site: &Site) -> Vec<String> {
    let mut kinds = Vec::new();
    let list: Value = serde_json::from_str(&site.ok(&["invoice", "list", "--format", "json"])).unwrap();
    for invoice in list.as_array().unwrap() {
        let number = invoice["number"].as_str().unwrap();
        let shown: Value =
            serde_json::from_str(&site.ok(&["invoice", "show", number, "--format", "json"])).unwrap();
        for (at, line) in shown["lines"].as_array().unwrap().iter().enumerate() {
            let at = (at + 1).to_string();
            let text = site.ok(&["invoice", "explain", number, &at, "--format", "json"]);
            let explained: Value = serde_json::from_str(&text).unwrap();
            let kind = line["detail"]["kind"].as_str().unwrap();
            check(&explained, line, kind);
            let is_credit = shown["credits"].is_string();
            kinds.push(if is_credit { "taken back".to_owned() } else { kind.to_owned() });
        }
    }
    kinds.sort();
    kinds.dedup();
    kinds
}

fn check(explained: &Value, line: &Value, kind: &str) {
    let steps = explained["arithmetic"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["value"], line["amount"], "{explained:#}");
    assert_eq!(explained["comes_to"], line["amount"]);
    let clause = explained["tariff"]["clause"].as_str().unwrap();
    assert!(line["charge"] == "late" || clause.starts_with('['), "{explained:#}");
    let usage = explained["usage"].as_array().unwrap();
    let is_of_volume = ["volume", "allowance", "rollover", "fee", "cap"].contains(&kind);
    if !is_of_volume {
        assert!(kind == "late" || usage.is_empty(), "{kind} {explained:#}");
        return;
    }
    // What was measured is what the rows come to: the rate is whole, so that no row was rounded.
    let octets: i64 = usage.iter().map(|row| row["octets"].as_i64().unwrap()).sum();
    let measured = steps.iter().find(|step| step["unit"] == "octets").map(|step| &step["value"]);
    if let Some(measured) = measured.filter(|_| kind != "cap") {
        assert_eq!(measured.as_str().unwrap(), octets.to_string(), "{explained:#}");
    }
}

#[test]
fn the_arithmetic_of_every_line_ends_in_its_amount() {
    let site = site();
    site.ok(&["invoice", "run", "--period", "2026-09"]);
    let kinds = explained(&site);
    for kind in ["allowance", "cap", "credit", "discount", "fee", "minimum", "recurring", "volume"] {
        assert!(kinds.iter().any(|known| known == kind), "{kind}: {kinds:?}");
    }
    let finalize = ["invoice", "finalize", "--period", "2026-09", "--date", "2026-11-02", "--by", "ann"];
    site.ok(&finalize);
    let two = site.ok(&["invoice", "explain", "R-000001", "1"]);
    assert!(two.contains("share of the period, by seconds"), "a split period: {two}");
    site.ok(&["invoice", "credit", "R-000001", "--date", "2026-11-02"]);
    // A later version is not theirs, and a customer that is gone is explained by the configuration of its time.
    let text = std::fs::read_to_string(site.path("two.toml")).unwrap().replace("version = 2", "version = 3");
    std::fs::write(site.path("three.toml"), text.replace("160.00", "999.00")).unwrap();
    site.ok(&["tariff", "activate", "three.toml", "--retroactive"]);
    replay(&site, "2");
    site.ok(&["invoice", "run", "--period", "2026-10"]);
    let kinds = explained(&site);
    for kind in ["late", "taken back"] {
        assert!(kinds.iter().any(|known| known == kind), "{kind}: {kinds:?}");
    }
}

/// A draft whose usage has grown since.
#[test]
fn what_does_not_lead_to_the_amount_any_more_is_a_difference() {
    let site = site();
    site.ok(&["invoice", "run", "--period", "2026-09"]);
    replay(&site, "2");
    let mut differing = 0;
    for customer in ["changed", "member", "museum"] {
        for line in ["1", "2"] {
            let output = site.run(&["invoice", "explain", &format!("DRAFT-2026-09-{customer}"), line]);
            if output.status.success() {
                continue;
            }
            differing += 1;
            assert_eq!(output.status.code(), Some(3), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("have changed"), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("quantity times price"), "{output:?}");
        }
    }
    assert!(differing > 0, "twice the traffic is some cents more");
}
