//! From usage to invoices that are final, and to books that others check: hledger, beancount, and the program's own audit.
//! Commands are killed and run against each other on the way.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fluxoscope::audit;
use fluxoscope::ledger::{Ledger, Url};
use serde_json::Value;

use crate::support::{Dialect, Random, Running, Site, dialects, rows};

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

[[customer]]
name = "campus"
prefixes = ["20.0.0.0/8"]
tariff = "regional-isp"
[[customer]]
name = "Aalen; tøwn"
prefixes = ["21.0.0.0/8"]
tariff = "regional-isp"
"#;

/// A site with traffic of July 2026 in its ledger, and an active tariff.
pub(crate) fn metered(dialect: Dialect) -> Site {
    let site = Site::on(dialect, NETWORK);
    let tariff = Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/regional-isp.toml");
    site.ok(&["replay", &capture(&site, 1, 4000)]);
    site.ok(&["tariff", "activate", tariff.to_str().unwrap(), "--by", "ann"]);
    site
}

/// Export traffic of some days in July; its name.
pub(crate) fn capture(site: &Site, seed: u64, records: u64) -> String {
    let (name, seed, records) = (format!("{seed}.pcap"), seed.to_string(), records.to_string());
    let (start, span) = ("2026-07-10T21:00:00Z", "200000");
    site.ok(&[
        "generate",
        "--records",
        &records,
        "--seed",
        &seed,
        "--start",
        start,
        "--span",
        span,
        "--sampling",
        "100",
        "--out",
        &name,
    ]);
    name
}

const DATED: [&str; 4] = ["--date", "2026-08-02", "--by", "ann"];

pub(crate) fn dated<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &DATED].concat()
}

/// Number and state of all invoices.
pub(crate) fn states(site: &Site) -> Vec<(String, String)> {
    let list: Value = serde_json::from_str(&site.ok(&["invoice", "list", "--format", "json"])).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(|row| (text(row, "number"), text(row, "state"))).collect()
}

/// The audit must find nothing; its figures by name.
pub(crate) fn audited(site: &Site) -> BTreeMap<String, String> {
    let output = site.run(&["audit", "--format", "csv"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}\n{found}\n{said}", output.status);
    rows(&found).iter().map(|row| (row[0].to_owned(), row[3].to_owned())).collect()
}

pub(crate) fn figure(audit: &BTreeMap<String, String>, check: &str, figure: &str) -> i128 {
    let figures = audit[check].split(' ').filter_map(|pair| pair.split_once('='));
    figures.filter(|(name, _)| *name == figure).map(|(_, n)| n.parse::<i128>().unwrap()).sum()
}

/// What hledger has on accounts that begin with `account`, in one commodity.
fn hledger(site: &Site, account: &str, commodity: &str) -> BTreeMap<String, String> {
    let query = [format!("^{account}"), format!("cur:^{commodity}$")];
    let output = Command::new("hledger")
        .args(["-f", "books/ledger.journal", "balance", "--flat", "--no-total", "-O", "csv"])
        .args(&query)
        .current_dir(site.path(""))
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| {
        let fields: Vec<&str> = line.trim_matches('"').split("\",\"").collect();
        let name = fields[0].strip_prefix(account).unwrap();
        (name.trim_start_matches(':').to_owned(), fields[1].split(' ').next().unwrap().to_owned())
    };
    text.lines().skip(1).map(row).collect()
}

/// The books as others see them: their checkers accept them.
fn exported(site: &Site) {
    site.ok(&["ledger", "export", "--format", "hledger,beancount", "--out", "books"]);
    let check = Command::new("hledger")
        .args(["-f", "books/ledger.journal", "check", "--strict"])
        .current_dir(site.path(""))
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(check.status.success(), "hledger: {}", String::from_utf8_lossy(&check.stderr));
    if let Some(bean_check) = python("bean-check") {
        let check = Command::new(bean_check).arg(site.path("books/ledger.beancount")).output().unwrap();
        let said = [check.stdout, check.stderr].concat();
        assert!(check.status.success() && said.is_empty(), "beancount: {}", String::from_utf8_lossy(&said));
    }
}

/// A program beside the Python that has the validators, where there is one.
pub(crate) fn python(program: &str) -> Option<std::path::PathBuf> {
    std::env::var_os("FLUXOSCOPE_TEST_PYTHON").map(|directory| Path::new(&directory).join(program))
}

/// The sum of a column of `usage` by customer.
fn used(site: &Site, column: usize) -> BTreeMap<String, i128> {
    let usage = site.usage("customer");
    rows(&usage).iter().map(|row| (row[0].to_owned(), row[column].parse().unwrap())).collect()
}

#[test]
fn a_month_from_usage_to_books_that_others_accept() {
    let mut documents = Vec::new();
    for dialect in dialects() {
        let site = metered(dialect);
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        let issued = site.ok(&dated(&["invoice", "finalize", "--period", "2026-07", "--format", "csv"]));
        assert_eq!(rows(&issued).iter().map(|row| row[0]).collect::<Vec<_>>(), ["R-000001", "R-000002"]);
        // Again: nothing is left to do. A run makes no second draft.
        let again = site.ok(&dated(&["invoice", "finalize", "--period", "2026-07", "--format", "csv"]));
        assert_eq!(rows(&again).len(), 0, "{again}");
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        assert_eq!(states(&site).len(), 2, "{:?}", states(&site));
        site.ok(&["period", "close", "--period", "2026-07", "--by", "ann"]);
        let shown = |number: &str| site.ok(&["invoice", "show", number, "--format", "json"]);
        documents.push([shown("R-000001"), shown("R-000002")]);

        let audit = audited(&site);
        assert_eq!(figure(&audit, "octets", "not_entered_yet"), 0);
        assert_eq!(figure(&audit, "numbers", "numbers"), 2);
        exported(&site);
        // hledger has of each customer, and of each reserved name, what `usage` says, scaled and raw.
        for (commodity, column) in [("OCTET", 3), ("RAWOCTET", 5)] {
            let mut books = hledger(&site, "expenses:octets:customer", commodity);
            books.extend(hledger(&site, "expenses:octets:reserved", commodity));
            let usage = used(&site, column);
            assert_eq!(books.len(), usage.len());
            for (customer, octets) in usage {
                let name = if customer.is_ascii() { customer } else { "Aalen%3B%20t%C3%B8wn".to_owned() };
                let entered: i128 = books[&name].parse().unwrap();
                // A posting a day is rounded: three days.
                assert!((entered - octets).abs() <= 3, "{name}: {entered} and {octets}");
                assert!(commodity == "OCTET" || entered == octets);
            }
        }
        // 150.00 a port and 21 %; the traffic is of some GB at 0.0430.
        let owed = hledger(&site, "assets:receivable", "EUR");
        let invoice: Value = serde_json::from_str(&documents.last().unwrap()[1]).unwrap();
        assert_eq!(invoice["customer"], "campus");
        assert_eq!(invoice["gross"].as_str().unwrap(), owed["campus"]);
        assert_eq!(invoice["issued"], "2026-08-02");
        assert_eq!(invoice["due"], "2026-09-01");

        // The transit line down to its buckets: their octets are those of the invoice's volumes.
        let explained: Value =
            serde_json::from_str(&site.ok(&["invoice", "explain", "R-000002", "2", "--format", "json"]))
                .unwrap();
        assert!(explained["tariff"]["clause"].as_str().unwrap().contains("id = \"transit\""), "{explained}");
        let octets = |rows: &Value| -> i128 {
            let octets = |row: &Value| match &row["octets"] {
                Value::String(text) => text.parse::<i128>().unwrap(),
                number => number.as_i64().unwrap().into(),
            };
            rows.as_array().unwrap().iter().filter(|row| row["class"] == "transit").map(octets).sum()
        };
        assert_eq!(octets(&explained["usage"]), octets(&invoice["volumes"]));
        assert!(octets(&explained["usage"]) > 0);
        let port = site.ok(&["invoice", "explain", "R-000002", "1"]);
        assert!(port.contains("1 x 150 = 150 EUR") && port.contains("no usage"), "{port}");
        assert_eq!(site.run(&["invoice", "explain", "R-000002", "9"]).status.code(), Some(1));

        // Void before it was delivered; a credit note after.
        site.ok(&["invoice", "void", "R-000001"]);
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
        site.ok(&["invoice", "export", "--period", "2026-07", "--out", "sent"]);
        let refused = site.run(&["invoice", "void", "R-000002"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("was delivered"));
        site.ok(&dated(&["invoice", "credit", "R-000002"]));
        let state = |number: &str| states(&site).into_iter().find(|(of, _)| of == number).unwrap().1;
        let expected =
            [("R-000001", "void"), ("R-000002", "credited"), ("R-000003", "final"), ("R-000004", "final")];
        for (number, expected) in expected {
            assert_eq!(state(number), expected, "{number}");
        }
        audited(&site);
        exported(&site);
        assert!(!hledger(&site, "assets:receivable", "EUR").contains_key("campus"), "all taken back");
    }
    // The same bytes, whatever the database.
    assert!(documents.windows(2).all(|pair| pair[0] == pair[1]), "{documents:?}");
}

/// Neither before the last day of the period nor before the document with the number before.
#[test]
fn a_date_that_is_too_early_is_refused() {
    let site = metered(dialects()[0]);
    let refused = |args: &[&str], why: &str| {
        let output = site.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    };
    let all = |date: &'static str| ["invoice", "finalize", "--period", "2026-07", "--date", date];
    site.ok(&["invoice", "run", "--period", "2026-07"]);
    refused(&all("2026-07-30"), "lasts until 2026-07-31");
    assert!(states(&site).iter().all(|(_, state)| state == "draft"));
    site.ok(&["invoice", "finalize", "DRAFT-2026-07-campus", "--date", "2026-07-31"]);
    site.ok(&all("2026-08-02"));
    let last = "R-000002, is of 2026-08-02";
    refused(&["invoice", "credit", "R-000001", "--date", "2026-08-01"], last);
    site.ok(&["invoice", "void", "R-000002"]);
    site.ok(&["invoice", "run", "--period", "2026-07"]);
    refused(&all("2026-08-01"), last);
    site.ok(&all("2026-08-02"));
    let finals = states(&site).into_iter().filter(|(_, state)| state == "final");
    let mut finals: Vec<String> = finals.map(|(number, _)| number).collect();
    finals.sort();
    assert_eq!(finals, ["R-000001", "R-000003"]);

    refused(&["rerate", "--customer", "nobody", "--from", "2026-07"], "no customer `nobody`");
    refused(&["rerate", "--customer", "campus", "--from", "2026-08", "--to", "2026-07"], "is after --to");
}

#[test]
fn late_usage_is_charged_in_the_next_period_and_names_its_own() {
    for dialect in dialects() {
        let site = metered(dialect);
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        site.ok(&["period", "close", "--period", "2026-07"]);
        site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
        let before = site.ok(&["invoice", "show", "R-000002", "--format", "json"]);
        let in_time = used(&site, 3);
        site.ok(&["replay", &capture(&site, 2, 3000)]);
        let all = used(&site, 3);
        assert!(all["campus"] > in_time["campus"], "usage shows what came late");
        assert_eq!(site.ok(&["invoice", "show", "R-000002", "--format", "json"]), before);
        audited(&site);

        site.ok(&["invoice", "run", "--period", "2026-08"]);
        let drafts: Value =
            serde_json::from_str(&site.ok(&["invoice", "show", "DRAFT-2026-08-campus", "--format", "json"]))
                .unwrap();
        let adjustments = drafts["adjustments"].as_array().unwrap();
        assert_eq!(adjustments[0]["period"], "2026-07");
        assert_eq!(adjustments[0]["tariff"]["id"], "regional-isp");
        let at = usize::try_from(adjustments[0]["line"].as_u64().unwrap()).unwrap();
        let line = &drafts["lines"][at - 1];
        assert!(line["description"].as_str().unwrap().starts_with("Late usage of 2026-07"), "{line}");
        // What July would have cost with all of it, less what it did cost: another ledger, where nothing came late.
        let other = metered(dialect);
        other.ok(&["replay", &capture(&other, 2, 3000)]);
        other.ok(&["invoice", "run", "--period", "2026-07"]);
        let whole: Value =
            serde_json::from_str(&other.ok(&["invoice", "show", "DRAFT-2026-07-campus", "--format", "json"]))
                .unwrap();
        let first: Value = serde_json::from_str(&before).unwrap();
        let cents = |text: &Value| text.as_str().unwrap().replace('.', "").parse::<i64>().unwrap();
        assert_eq!(cents(&line["amount"]), cents(&whole["net"]) - cents(&first["net"]));
        site.ok(&["period", "close", "--period", "2026-07"]);
        let audit = audited(&site);
        assert_eq!(figure(&audit, "octets", "not_entered_yet"), 0, "late octets are in the books");
        assert!(figure(&audit, "usage", "late_octets") > 0);
        exported(&site);
    }
}

/// Two captures come late, in either order: what is charged and what the books have of each
/// customer is the same.
#[test]
fn any_order_of_late_usage_gives_the_same_books() {
    let outcome = |dialect: Dialect, first: u64, second: u64| {
        let site = metered(dialect);
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        site.ok(&["period", "close", "--period", "2026-07"]);
        site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
        for seed in [first, second] {
            site.ok(&["replay", &capture(&site, seed, 1500)]);
        }
        site.ok(&["invoice", "run", "--period", "2026-08"]);
        site.ok(&["period", "close", "--period", "2026-07"]);
        audited(&site);
        exported(&site);
        let show = |number: &str| site.ok(&["invoice", "show", number, "--format", "json"]);
        let documents = [show("DRAFT-2026-08-campus"), show("DRAFT-2026-08-Aalen; tøwn")];
        let octets = ["OCTET", "RAWOCTET"].map(|unit| hledger(&site, "expenses:octets:customer", unit));
        (documents, octets)
    };
    for dialect in dialects() {
        assert_eq!(outcome(dialect, 2, 3), outcome(dialect, 3, 2));
    }
}

#[test]
fn a_wrong_tariff_is_rated_again_with_a_credit_note() {
    for dialect in dialects() {
        let site = metered(dialect);
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
        let rerate = ["rerate", "--customer", "campus", "--from", "2026-07", "--format", "csv"];
        assert_eq!(rows(&site.ok(&dated(&rerate))).len(), 0, "nothing differs");
        let tariff =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/regional-isp.toml"));
        let dearer = tariff.unwrap().replace("version = 1", "version = 2").replace("150.00", "160.00");
        std::fs::write(site.path("dearer.toml"), dearer).unwrap();
        site.ok(&["tariff", "activate", "dearer.toml", "--retroactive"]);
        let dry = site.ok(&[&rerate[..], &["--dry-run"]].concat());
        assert_eq!(rows(&dry)[0][0], "R-000002");
        assert_eq!(states(&site).len(), 2);
        assert_eq!(site.ok(&dated(&rerate)), dry);
        let new: Value =
            serde_json::from_str(&site.ok(&["invoice", "show", "R-000004", "--format", "json"])).unwrap();
        let old: Value =
            serde_json::from_str(&site.ok(&["invoice", "show", "R-000002", "--format", "json"])).unwrap();
        let note: Value =
            serde_json::from_str(&site.ok(&["invoice", "show", "R-000003", "--format", "json"])).unwrap();
        assert_eq!((&new["replaces"], &note["credits"]), (&old["number"], &old["number"]));
        let cents = |text: &Value| text.as_str().unwrap().replace('.', "").parse::<i64>().unwrap();
        assert_eq!(cents(&new["net"]) - cents(&old["net"]), 1000);
        assert_eq!(cents(&note["gross"]), -cents(&old["gross"]));
        assert_eq!(rows(&site.ok(&dated(&rerate))).len(), 0, "once");
        audited(&site);
        exported(&site);
    }
}

/// A site with drafts of so many customers, which have only their ports.
fn crowded(dialect: Dialect, customers: usize) -> Site {
    let mut config = NETWORK.to_owned();
    for n in 0..customers {
        write!(
            config,
            "[[customer]]\nname = \"c{n}\"\nprefixes = [\"22.{}.{}.0/24\"]\ntariff = \"regional-isp\"\n",
            n / 256,
            n % 256
        )
        .unwrap();
    }
    let site = Site::on(dialect, &config);
    let tariff = Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/regional-isp.toml");
    site.ok(&["replay", &capture(&site, 1, 2000)]);
    site.ok(&["tariff", "activate", tariff.to_str().unwrap()]);
    site.ok(&["invoice", "run", "--period", "2026-07"]);
    site
}

#[test]
fn a_killed_command_leaves_nothing_half_done_and_the_next_goes_on() {
    const CUSTOMERS: usize = 250;
    for dialect in dialects() {
        let site = crowded(dialect, CUSTOMERS);
        let mut random = Random(7);
        for command in [
            dated(&["invoice", "finalize", "--period", "2026-07"]),
            vec!["period", "close", "--period", "2026-07"],
        ] {
            for _ in 0..6 {
                let mut process =
                    Running::start(site.command(&command).stdout(Stdio::null()).stderr(Stdio::null()));
                std::thread::sleep(Duration::from_millis(random.below(400)));
                process.kill();
                let audit = audited(&site);
                let states = states(&site);
                assert_eq!(states.len(), CUSTOMERS + 2, "a draft or an invoice each");
                let finals = states.iter().filter(|(_, state)| state == "final").count();
                assert_eq!(figure(&audit, "numbers", "numbers"), finals as i128);
            }
            site.ok(&command);
        }
        let audit = audited(&site);
        assert_eq!(figure(&audit, "numbers", "numbers"), CUSTOMERS as i128 + 2);
        assert_eq!(figure(&audit, "octets", "not_entered_yet"), 0);
        // 252 customers and four reserved names, each sealed once.
        assert_eq!(figure(&audit, "closed", "customers_periods"), CUSTOMERS as i128 + 6);
    }
}

#[test]
fn commands_that_run_at_once_share_the_work() {
    const CUSTOMERS: usize = 150;
    for dialect in dialects() {
        let site = crowded(dialect, CUSTOMERS);
        let finalize = dated(&["invoice", "finalize", "--period", "2026-07", "--format", "csv"]);
        let close = ["period", "close", "--period", "2026-07"];
        let commands: [&[&str]; 4] = [&finalize, &close, &finalize, &close];
        let started: Vec<_> = commands
            .iter()
            .map(|command| {
                site.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let mut issued = 0;
        for process in started {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            issued += String::from_utf8(output.stdout).unwrap().matches("R-0").count();
        }
        assert_eq!(issued, CUSTOMERS + 2, "each by one of the two");
        audited(&site);
        assert!(states(&site).iter().all(|(_, state)| state == "final"));
    }
}

/// Runs beside each other, and runs that are killed: there is one draft for each customer, and it is the one that a run by
/// itself makes.
#[test]
fn runs_at_once_and_killed_runs_leave_one_draft_each() {
    const CUSTOMERS: usize = 100;
    for dialect in dialects() {
        let site = crowded(dialect, CUSTOMERS);
        let run = ["invoice", "run", "--period", "2026-07"];
        let drafts = site.ok(&["invoice", "list", "--format", "csv"]);
        assert_eq!(rows(&drafts).len(), CUSTOMERS + 2);
        let mut random = Random(11);
        let silent = || Running::start(site.command(&run).stdout(Stdio::null()).stderr(Stdio::null()));
        for _ in 0..4 {
            let mut killed = silent();
            let mut beside = [silent(), silent()];
            std::thread::sleep(Duration::from_millis(random.below(300)));
            killed.kill();
            for process in &mut beside {
                assert!(process.wait().success());
            }
            assert_eq!(site.ok(&["invoice", "list", "--format", "csv"]), drafts);
        }
        site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
        audited(&site);
    }
}

/// What others commit while the audit reads is in all that it reads or in nothing of it.
#[test]
fn an_audit_beside_a_writer_finds_nothing_wrong() {
    for dialect in dialects() {
        let site = metered(dialect);
        site.ok(&["invoice", "run", "--period", "2026-07"]);
        site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
        site.ok(&["period", "close", "--period", "2026-07"]);
        let more = capture(&site, 2, 100);
        let url = Url::parse(&site.ledger_url(), &site.state()).unwrap();
        let mut ledger = Ledger::open_existing(&url).unwrap();
        // Between the totals of flushes, the books and the documents; as if each took long.
        let mut between = |step: &str| match step {
            "entries" => drop(site.ok(&["replay", &more])),
            "documents" => drop(site.ok(&dated(&["invoice", "credit", "R-000001"]))),
            _ => {}
        };
        let before = audit::run_told(&mut ledger, &mut between).unwrap();
        assert!(before.iter().all(audit::Check::holds), "{before:#?}");
        let after = audit::run(&mut ledger).unwrap();
        assert!(after.iter().all(audit::Check::holds), "{after:#?}");
        let of = |checks: &[audit::Check], name: &str, figure: &str| {
            let check = checks.iter().find(|check| check.name == name).unwrap();
            check.figures.iter().find(|(name, _)| *name == figure).unwrap().1
        };
        assert_eq!([&before, &after].map(|checks| of(checks, "numbers", "credit_notes")), [0, 1]);
        assert!(of(&after, "records", "decoded") > of(&before, "records", "decoded"));
    }
}

#[test]
fn what_was_tampered_with_is_found() {
    let site = metered(Dialect::Sqlite);
    site.ok(&["invoice", "run", "--period", "2026-07"]);
    site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
    site.ok(&["period", "close", "--period", "2026-07"]);
    audited(&site);
    let state = site.state();
    std::fs::create_dir_all(site.path("saved")).unwrap();
    std::fs::copy(state.join("ledger.sqlite"), site.path("saved/ledger.sqlite")).unwrap();
    // By somebody who takes the triggers away first.
    for (check, script) in [
        ("usage", "UPDATE usage_row SET octets = octets + 1 WHERE rowid_is_any"),
        ("closed", "UPDATE usage_row SET octets = octets + 1 WHERE rowid_is_any"),
        ("chain", "DROP TRIGGER entry_update; UPDATE entry SET day = '2026-01-01' WHERE seq = 2"),
        ("chain", "DROP TRIGGER posting_update; UPDATE posting SET amount = amount * 2 WHERE entry = 2"),
        ("chain", "DROP TRIGGER entry_delete; DELETE FROM entry WHERE seq = 2"),
        (
            "octets",
            "DROP TRIGGER usage_row_update; \
             UPDATE usage_row SET octets = octets + 1, customer = 3 WHERE rowid_is_any",
        ),
        ("balance", "DROP TRIGGER posting_delete; DELETE FROM posting WHERE entry = 2 AND line = 1"),
        (
            "invoices",
            "DROP TRIGGER invoice_update; UPDATE invoice SET document = replace(document, '150.00', '15.00')",
        ),
        ("invoices", "DROP TRIGGER invoice_update; UPDATE invoice SET state = 'void'"),
        ("invoices", "DROP TRIGGER invoice_update; UPDATE invoice SET gross_minor = 1"),
        ("tariffs", "DROP TRIGGER tariff_version_update; UPDATE tariff_version SET toml = toml || ' '"),
        ("numbers", "DROP TRIGGER issue_delete; DELETE FROM issue WHERE place = 1"),
        ("closed", "DROP TRIGGER closure_update; UPDATE closure SET tariff_version = 9"),
        ("closed", "DROP TRIGGER closure_delete; DELETE FROM closure"),
        (
            "closed",
            "UPDATE closed SET until = until + 300 WHERE customer = (SELECT max(customer) FROM closed)",
        ),
        ("closed", "INSERT INTO closed SELECT 9999, max(until) FROM closed"),
        ("closed", "DROP TRIGGER decision_update; UPDATE decision SET bucket = bucket + 300"),
        ("guards", "DROP TRIGGER closed_update"),
    ] {
        let script =
            script.replace("WHERE rowid_is_any", "WHERE bucket = (SELECT max(bucket) FROM usage_row)");
        let _ = std::fs::remove_file(state.join("ledger.sqlite-wal"));
        std::fs::copy(site.path("saved/ledger.sqlite"), state.join("ledger.sqlite")).unwrap();
        let mut connection = <diesel::SqliteConnection as diesel::Connection>::establish(
            state.join("ledger.sqlite").to_str().unwrap(),
        )
        .unwrap();
        let script = format!("PRAGMA foreign_keys = OFF; {script}");
        diesel::connection::SimpleConnection::batch_execute(&mut connection, &script).expect(&script);
        drop(connection);
        let output = site.run(&["audit", "--format", "json"]);
        assert_eq!(output.status.code(), Some(3), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let failed = found.as_array().unwrap().iter().find(|row| row["invariant"] == check).unwrap();
        assert_eq!(failed["result"], "differs", "{script}: {found}");
    }
}
