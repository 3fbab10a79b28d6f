//! Tariffs in words, and what differs between two of them.

use super::*;
use crate::rate::words::{clauses, difference};

const DAYTIME: &str = include_str!("../../../tariffs/research-daytime.toml");
const P95: &str = include_str!("../../../tariffs/transit-95th.toml");
const HOSTING: &str = include_str!("../../../tariffs/hosting-packages.toml");

#[test]
fn clauses_are_told_in_a_line_each() {
    assert_eq!(
        clauses(&tariff(DAYTIME)),
        [
            "bands: day, night",
            "exempt from all charges: mirror",
            "commodity-day: 0.035 a GB, in, of commodity, in day, 200 GB included and kept for one period",
        ]
    );
    assert_eq!(
        clauses(&tariff(P95)),
        [
            "p95: 100 Mb/s at 2.00, above at 3.10, of the 95 % percentile (max-of-p95, nearest, links summed, snmp, \
             missing samples left out) of transit, held with less than 0.98 of the samples"
        ]
    );
    assert_eq!(
        clauses(&tariff(HOSTING)),
        [
            "setup: 25.00 once, when the customer begins",
            "plan: by all of the volume: 10.00 up to 1 TB, 40.00 up to 5 TB, 120.00, out, of all",
            "extra: 5.00 a package of 1 TB, out, of all, 20 TB included",
        ]
    );
}

#[test]
fn a_difference_names_what_changed_and_nothing_else() {
    let before = tariff(DAYTIME);
    assert_eq!(difference(&before, &before), [""; 0]);
    let same = tariff(&DAYTIME.replace("version = 1", "version = 2").replace("2026-01-01", "2026-02-01"));
    assert_eq!(difference(&before, &same), [""; 0]);
    let after = tariff(
        &DAYTIME
            .replace("07:00-19:00", "08:00-19:00")
            .replace("0.035", "0.036")
            .replace("2026-04-06", "2027-03-29")
            .replace("\"peering\"]", "\"peering\", \"mirror\"]")
            .replace("[[exempt]]                        # a [[traffic_class]] of the configuration\nname = \"mirror\"\nmatch = { traffic_class = [\"mirror\"] }\n", "")
            .replace("[tax]", "[minimum]\namount = \"5.00\"\n[tax]"),
    );
    assert_eq!(
        difference(&before, &after),
        [
            "- class research: 1 link kind research or peering",
            "+ class research: 1 link kind research or peering or mirror",
            "- exempt mirror: from all charges: traffic class mirror",
            "- band day: mon-fri 07:00-19:00",
            "+ band day: mon-fri 08:00-19:00",
            "- band night: mon-fri 00:00-07:00 and 19:00-24:00, sat-sun 00:00-24:00, holiday 00:00-24:00",
            "+ band night: mon-fri 00:00-08:00 and 19:00-24:00, sat-sun 00:00-24:00, holiday 00:00-24:00",
            "- holidays: 01-01, 08-01, 12-25, 2026-04-06",
            "+ holidays: 01-01, 08-01, 12-25, 2027-03-29",
            "- commodity-day: 0.035 a GB, in, of commodity, in day, 200 GB included and kept for one period",
            "+ commodity-day: 0.036 a GB, in, of commodity, in day, 200 GB included and kept for one period",
            "+ minimum: 5.00 a period",
        ]
    );
}

/// Every digit of the examples that can be another one makes a difference.
#[test]
fn no_difference_is_passed_over() {
    let examples = [
        DAYTIME,
        P95,
        HOSTING,
        REGIONAL,
        RESEARCH,
        include_str!("../../../tariffs/flat-share.toml"),
        include_str!("../../../tariffs/exchange-peering.toml"),
    ];
    let mut changes = 0;
    for text in examples {
        let before = tariff(text);
        for (at, c) in text.match_indices(|c: char| c.is_ascii_digit()) {
            let other = if c == "9" { "8".to_owned() } else { char::from(c.as_bytes()[0] + 1).to_string() };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            let Ok(after) = parse("t", &changed) else { continue };
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let of_version = ["version", "effective"].iter().any(|key| text[line..].starts_with(key));
            let is_told = !of_version && after.id == before.id;
            if is_told && !text[line..at].contains('#') {
                let told = difference(&before, &after);
                assert!(told.len() > 1 && !told[0].starts_with("the tariffs"), "{told:?}: {changed}");
                changes += 1;
            }
        }
    }
    assert!(changes > 100, "{changes}");
}
