use rust_decimal::Decimal;

use super::*;
use crate::money::Money;
use crate::rate::tariff::{Allowance, ChargeDirection, Price, Tax, Tier, TierMode};

const GOOD: &str = r#"[tariff]
id = "t"
version = 3
effective = 2026-07-01
currency = "EUR"
timezone = "Europe/Amsterdam"
unit = "GB"
[[class]]
name = "up"
match = { link = ["transit-*"] }
[[class]]
name = "rest"
match = {}
[[charge]]
id = "vol"
kind = "volume"
class = ["up"]
direction = "sum"
allowance = { quantity = "500", rollover = "none" }
tiers = { mode = "graduated", rows = [ { up_to = "100.5", price = "0.05" }, { price = "0.03" } ] }
[[charge]]
id = "port"
kind = "recurring"
amount = "150.00"
[tax]
category = "S"
percent = "21"
"#;

/// The problems of the text, each as `line: text under the caret: message`.
fn problems(text: &str) -> Vec<String> {
    let refused = parse("t.toml", text).expect_err("refused");
    assert!(refused.problems.is_sorted_by_key(|problem| problem.span.start));
    let shown = refused.problems.iter().map(|problem| {
        let line = text[..problem.span.start].matches('\n').count() + 1;
        let under = text[problem.span.clone()].lines().next().unwrap_or("");
        format!("{line}: {under}: {}", problem.message)
    });
    shown.collect()
}

/// Replaces `from` in the good tariff, which must then have exactly this problem.
#[track_caller]
fn refused(from: &str, to: &str, expected: &str) {
    assert!(GOOD.contains(from), "{from}");
    assert_eq!(problems(&GOOD.replacen(from, to, 1)), [expected]);
}

#[test]
fn a_good_tariff_is_read_as_written() {
    let tariff = parse("t.toml", GOOD).expect("good");
    assert_eq!((tariff.id.as_str(), tariff.version, tariff.unit), ("t", 3, Unit::Gigabyte));
    assert_eq!(tariff.effective.to_string(), "2026-07-01");
    assert_eq!(tariff.anchor.day(), 1);
    assert_eq!(tariff.classes[0].matches.link, ["transit-*"]);
    let ChargeKind::Volume(rule) = &tariff.charges[0].kind else { panic!("volume") };
    assert_eq!(tariff.charges[0].description, "Traffic in and out, up");
    assert_eq!((rule.classes.as_slice(), rule.direction), (&[0][..], ChargeDirection::Sum));
    let allowance = Allowance { quantity: Decimal::from(500), rollover: false, spend_order: vec![0] };
    assert_eq!(rule.allowance, Some(allowance));
    let tier =
        |up_to, cents| Tier { up_to, price: Price::All(Decimal::new(cents, 2)), block: None, fee: None };
    assert_eq!(rule.tiers, [tier(Some(Decimal::new(1005, 1)), 5), tier(None, 3)]);
    assert_eq!(rule.mode, TierMode::Graduated);
    let amount = Money::new(15_000, tariff.currency);
    let port = ChargeKind::Recurring { amount, quantity: Decimal::ONE, proration: None };
    assert_eq!(tariff.charges[1].kind, port);
    assert_eq!((tariff.charges[0].line, tariff.charges[1].line), (14, 21));
    let tax = Tax { category: "S".into(), percent: Decimal::from(21), exemption_reason: String::new() };
    assert_eq!(tariff.tax, tax);
    let string_date = GOOD.replace("2026-07-01", "\"2026-07-01\"");
    assert_eq!(parse("t", &string_date).expect("good").effective, tariff.effective);
}

#[test]
fn hashes_are_those_of_sha256sum() {
    assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn each_mistake_is_shown_at_its_place() {
    refused("\"t\"", "\"a b\"", "2: \"a b\": `id` is not a name");
    refused("version = 3", "version = 0", "3: 0: `version` must be 1 or more");
    refused("version = 3", "version = \"3\"", "3: \"3\": `version` must be an integer, not a string");
    refused("2026-07-01", "2026-07-01T00:00:00Z", "4: 2026-07-01T00:00:00Z: `effective` is not a local date");
    refused("2026-07-01", "\"2026-02-30\"", "4: \"2026-02-30\": `effective` is not a local date");
    refused("\"EUR\"", "\"XXX\"", "5: \"XXX\": `XXX` is not a currency");
    refused(
        "Europe/Amsterdam",
        "Europe/Nowhere",
        "6: \"Europe/Nowhere\": `Europe/Nowhere` is not a time zone of the IANA database, such as `Europe/Amsterdam`",
    );
    refused("\"GB\"", "\"MB\"", "7: \"MB\": `MB` is not a unit of volume");
    refused("unit = \"GB\"\n", "", "1: [tariff]: `unit` is missing in [tariff]");
    refused("[\"up\"]", "[\"upp\"]", "17: \"upp\": there is no [[class]] `upp`");
    refused("[\"up\"]", "[\"up\", \"up\"]", "17: \"up\": class `up` is in the list twice");
    refused("\"0.05\"", "0.05", "20: 0.05: `price` must be a string, so that no digit of it is changed");
    refused("\"0.05\"", "\"-1\"", "20: \"-1\": `price` is not a decimal number of at most 28 digits");
    refused(
        "\"150.00\"",
        "\"150.005\"",
        "24: \"150.005\": `amount`: not an amount in EUR: expected digits, and at most 2 after the point",
    );
    refused("\"port\"", "\"vol\"", "22: \"vol\": charge `vol` is there twice");
    refused(
        "\"port\"",
        "\"minimum\"",
        "22: \"minimum\": `minimum` is the id of the line that [minimum] makes",
    );
    refused("\"rest\"", "\"up\"", "12: \"up\": class `up` is there twice");
    refused("\"sum\"", "\"both\"", "18: \"both\": `both` is not a direction");
    refused("percent = \"21\"", "percent = \"101\"", "27: \"101\": `percent` is above 100");
    refused("\"S\"", "\"E\"", "27: \"21\": category E has no rate: percent must be \"0\"");
    refused("\"21\"", "\"0\"", "27: \"0\": category S (standard) needs a rate above 0; Z is the zero rate");
    refused("\"S\"", "\"X\"", "26: \"X\": `X` is not a category of tax");
    refused("[tax]\ncategory = \"S\"\npercent = \"21\"\n", "", "1: : section [tax] is missing");
}

mod language;

#[test]
fn classes_must_be_total_and_reachable() {
    let total = "the last class must match everything, so that no usage is without a class";
    refused("match = {}", "match = { family = \"ipv4\" }", &format!("11: [[class]]: {total}"));
    let first = "the classes after this one are never reached, because it matches everything";
    refused("match = { link = [\"transit-*\"] }", "match = {}", &format!("8: [[class]]: {first}"));
    refused(
        "match = { link = [\"transit-*\"] }",
        "match = { family = \"ip5\" }",
        "10: \"ip5\": `ip5` is not an address family",
    );
    refused("match = { link = [\"transit-*\"] }", "match = { link = [] }", "10: []: `link` is an empty list");
}

#[test]
fn an_empty_list_of_classes_or_charges_is_none() {
    let (head, rest) = GOOD.split_once("[[class]]").expect("classes");
    let (_, tax) = rest.split_once("[tax]").expect("a tax");
    assert_eq!(
        problems(&format!("class = []\ncharge = []\n{head}[tax]{tax}")),
        [
            "1: : there is no [[class]]: at least one with `match = {}` is needed",
            "1: : there is no [[charge]]: nothing would ever be billed"
        ]
    );
}

#[test]
fn tiers_must_ascend_and_end_open() {
    let rows = "{ up_to = \"100.5\", price = \"0.05\" }, { price = \"0.03\" }";
    refused(
        rows,
        "{ up_to = \"5\", price = \"1\" }",
        "20: \"5\": the last row must be without `up_to`, or volume above it would have no price",
    );
    refused(
        rows,
        "{ price = \"1\" }, { price = \"2\" }",
        "20: { price = \"1\" }: only the last row may be without `up_to`",
    );
    refused(
        rows,
        "{ up_to = \"5\", price = \"1\" }, { up_to = \"5.0\", price = \"1\" }, { price = \"2\" }",
        "20: \"5.0\": `up_to` must be above 5, where the row before it ends",
    );
    refused(
        rows,
        "{ up_to = \"0\", price = \"1\" }, { price = \"2\" }",
        "20: \"0\": `up_to` must be above 0, where the row before it ends",
    );
    refused(rows, "", "20: { mode = \"graduated\", rows = [  ] }: `tiers` has no rows");
    refused(
        "\"graduated\"",
        "\"flat\"",
        "20: { price = \"0.03\" }: flat is one price for all of the volume, so it has one row; see `graduated`",
    );
}

#[test]
fn unknown_keys_are_refused_everywhere() {
    refused("unit = ", "units = 1\nunit = ", "7: units: unknown key `units` in [tariff]");
    refused("percent = ", "rate = 1\npercent = ", "27: rate: unknown key `rate` in [tax]");
    refused("rollover = ", "roll = 1, rollover = ", "19: roll: unknown key `roll` in `allowance`");
    refused(
        "price = \"0.03\"",
        "prize = \"0\", price = \"0.03\"",
        "20: prize: unknown key `prize` in a row of `tiers`",
    );
    refused("[tax]", "[taxes]\n[tax]", "25: taxes: unknown key `taxes` in the tariff");
}

#[test]
fn all_mistakes_come_at_once() {
    let text = GOOD
        .replace("\"EUR\"", "\"XXX\"")
        .replace("\"sum\"", "\"both\"")
        .replace("\"0.03\"", "0.03")
        .replace("\"21\"", "21")
        .replace("name = \"rest\"", "nam = \"rest\"");
    let lines: Vec<String> =
        problems(&text).iter().map(|problem| problem.split(':').next().expect("a line").to_owned()).collect();
    assert_eq!(lines, ["5", "11", "12", "18", "20", "27"]);
}

#[test]
fn no_text_makes_it_panic() {
    assert_eq!(problems("").len(), 4, "[tariff], [[class]], [[charge]] and [tax] are missing");
    assert!(!problems("[tariff\n x = ").is_empty());
    for end in 0..GOOD.len() {
        let _ = parse("t", &GOOD[..end]);
        for junk in ["\"", "[", "{", "=", "é", "\u{0}", "1", "[[x]]\n", "a.b.c = 1\n"] {
            let _ = parse("t", &format!("{}{junk}{}", &GOOD[..end], &GOOD[end..]));
        }
    }
}
