//! What the daemon bills by itself: drafts and final invoices of periods that have ended, once each, whatever is killed or
//! runs beside it; and alerts of allowances, told to a command.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Daemon, Dialect, Random, Running, Site, dialects, until};

const NETWORK: &str = r#"
[receive]
listen = ["127.0.0.1:0"]

[ledger]
url = "LEDGER"

[invoice]
seller = "Example Networks"
series = "R-"

[[exporter]]
name = "ce1"
address = "127.0.1.1"

[[link]]
name = "transit-a"
kind = "upstream"
interfaces = [ { exporter = "ce1", ifindex = 12 } ]

[[customer]]
name = "campus"
prefixes = ["20.0.0.0/8"]
tariff = "port"
"#;

const PORT: &str = r#"
[tariff]
id = "port"
version = 1
effective = 2020-01-01
currency = "EUR"
timezone = "UTC"
unit = "GB"
[period]
grace = "P0D"
[[class]]
name = "all"
match = {}
[[charge]]
id = "port"
kind = "recurring"
amount = "10.00"
[[charge]]
id = "vol"
kind = "volume"
class = ["all"]
direction = "sum"
allowance = { quantity = "0.001" }
alerts = ["50", "100"]
price = "1.00"
[tax]
category = "S"
percent = "21"
"#;

/// Days before today, in UTC.
fn days_ago(days: i64) -> jiff::civil::Date {
    #[expect(clippy::disallowed_methods, reason = "the daemon bills by the clock")]
    let now = jiff::Timestamp::now();
    let today = jiff::tz::Offset::UTC.to_datetime(now).date();
    today.checked_sub(jiff::Span::new().days(days)).unwrap()
}

/// The first day of the month before this one.
fn last_month() -> jiff::civil::Date {
    days_ago(0).first_of_month().yesterday().unwrap().first_of_month()
}

fn name_of(month: jiff::civil::Date) -> String {
    format!("{:04}-{:02}", month.year(), month.month())
}

/// A site whose daemon bills from last month on, with `customers` more that have only their ports.
fn site(dialect: Dialect, at_period_end: &str, customers: usize, more: &str) -> Site {
    site_of(dialect, PORT, at_period_end, customers, more)
}

/// The same with another tariff.
fn site_of(dialect: Dialect, tariff: &str, at_period_end: &str, customers: usize, more: &str) -> Site {
    let mut config = NETWORK.to_owned();
    for n in 0..customers {
        let (high, low) = (n / 256, n % 256);
        writeln!(
            config,
            "[[customer]]\nname = \"c{n}\"\nprefixes = [\"22.{high}.{low}.0/24\"]\ntariff = \"port\""
        )
        .unwrap();
    }
    let period = name_of(last_month());
    writeln!(config, "{more}\n[billing]\nfrom = \"{period}\"\nat_period_end = \"{at_period_end}\"").unwrap();
    let site = Site::on(dialect, &config);
    std::fs::write(site.path("port.toml"), tariff).unwrap();
    site.ok(&["tariff", "activate", "port.toml"]);
    site
}

/// The state of each invoice, by customer; each has one.
fn states(site: &Site) -> BTreeMap<String, String> {
    let list: Value = serde_json::from_str(&site.ok(&["invoice", "list", "--format", "json"])).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = list.as_array().unwrap();
    let states: BTreeMap<String, String> =
        rows.iter().map(|row| (text(row, "customer"), text(row, "state"))).collect();
    assert_eq!(states.len(), rows.len(), "one each: {list}");
    states
}

fn billing(daemon: &Daemon<'_>) -> Value {
    daemon.status()["billing"].clone()
}

/// Waits until the daemon has looked at the calendar and has nothing left that it could do.
fn settled(daemon: &Daemon<'_>, drafts_or_finals: &str, expected: u64) {
    until("the daemon to bill", || (billing(daemon)[drafts_or_finals].as_u64()? >= expected).then_some(()));
}

#[test]
fn drafts_are_made_once_and_final_ones_when_the_operator_asks_for_them() {
    for dialect in dialects() {
        let site = site(dialect, "draft", 2, "");
        let daemon = Daemon::start(&site);
        settled(&daemon, "drafts", 3);
        let drafts = states(&site);
        assert_eq!(drafts.values().map(String::as_str).collect::<Vec<_>>(), ["draft"; 3]);
        let document = site.ok(&["invoice", "show", &format!("DRAFT-{}-c1", name_of(last_month()))]);
        daemon.stop();
        // Another start makes none of them anew: one that somebody threw away stays away.
        let daemon = Daemon::start(&site);
        until("a look", || (billing(&daemon)["looked_at"].as_i64()? > 0).then_some(()));
        assert_eq!(billing(&daemon)["drafts"], 0);
        // Asked to, it makes those final that are drafts.
        let config = std::fs::read_to_string(site.path("fluxoscope.toml")).unwrap();
        let changed = config.replace("at_period_end = \"draft\"", "at_period_end = \"final\"");
        std::fs::write(site.path("fluxoscope.toml"), changed).unwrap();
        daemon.stop();
        let daemon = Daemon::start(&site);
        settled(&daemon, "finals", 3);
        daemon.stop();
        assert!(states(&site).values().all(|state| state == "final"));
        let shown = site.ok(&["invoice", "show", "R-000002"]);
        assert_eq!(shown.lines().skip(1).collect::<Vec<_>>(), document.lines().skip(1).collect::<Vec<_>>());
        site.ok(&["audit"]);
    }
}

#[test]
fn whom_nothing_can_be_billed_keeps_nobody_else_from_being_billed() {
    let other = "[[customer]]\nname = \"aaa\"\nprefixes = [\"23.0.0.0/8\"]\ntariff = \"later\"";
    let site = site(Dialect::Sqlite, "final", 1, other);
    // Its tariff began inside the period, and it used something before.
    let begins = last_month().checked_add(jiff::Span::new().days(20)).unwrap().to_string();
    let later = PORT.replace("\"port\"\nversion", "\"later\"\nversion").replace("2020-01-01", &begins);
    std::fs::write(site.path("later.toml"), later).unwrap();
    site.ok(&["tariff", "activate", "later.toml"]);
    let start = format!("{}T12:00:00Z", last_month().checked_add(jiff::Span::new().days(9)).unwrap());
    site.ok(&["generate", "--records", "2000", "--start", &start, "--out", "early.pcap"]);
    site.ok(&["replay", "early.pcap"]);
    let daemon = Daemon::start(&site);
    settled(&daemon, "finals", 2);
    let problem = until("what could not be done", || {
        let status = billing(&daemon);
        (status["due"] == 1).then(|| status["problem"].as_str().unwrap().to_owned())
    });
    daemon.stop();
    assert!(problem.contains("`aaa`"), "{problem}");
    let log = std::fs::read_to_string(site.path("daemon.log")).unwrap();
    assert!(log.contains("to be tried again"), "{log}");
    assert!(states(&site).values().all(|state| state == "final"));
}

#[test]
fn a_killed_daemon_goes_on_and_numbers_have_no_gaps() {
    const CUSTOMERS: usize = 330;
    for dialect in dialects() {
        let site = site(dialect, "final", CUSTOMERS, "");
        let mut random = Random(11);
        for _ in 0..6 {
            let mut daemon = Daemon::spawn(&site);
            std::thread::sleep(Duration::from_millis(400 + random.below(1200)));
            daemon.kill();
            site.ok(&["audit"]);
        }
        let daemon = Daemon::start(&site);
        until("all to be final", || {
            let list = site.ok(&["invoice", "list", "--format", "csv"]);
            (list.matches(",final,").count() == CUSTOMERS + 1).then_some(())
        });
        daemon.stop();
        assert!(states(&site).values().all(|state| state == "final"));
        let audit = site.ok(&["audit", "--format", "csv"]);
        assert!(audit.contains(&format!("numbers={}", CUSTOMERS + 1)), "{audit}");
    }
}

#[test]
fn the_daemon_and_commands_share_the_work() {
    const CUSTOMERS: usize = 250;
    for dialect in dialects() {
        let site = site(dialect, "final", CUSTOMERS, "");
        let period = name_of(last_month());
        let daemon = Daemon::start(&site);
        let mut commands: Vec<Running> = [["invoice", "run"], ["invoice", "finalize"], ["invoice", "run"]]
            .iter()
            .map(|verb| {
                let args = [&verb[..], &["--period", &period]].concat();
                Running::start(site.command(&args).stdout(Stdio::null()).stderr(Stdio::null()))
            })
            .collect();
        for command in &mut commands {
            command.wait();
        }
        until("all to be final", || {
            let list = site.ok(&["invoice", "list", "--format", "csv"]);
            (list.matches(",final,").count() == CUSTOMERS + 1).then_some(())
        });
        daemon.stop();
        assert!(states(&site).values().all(|state| state == "final"), "no draft is left beside a final one");
        let audit = site.ok(&["audit", "--format", "csv"]);
        assert!(audit.contains(&format!("numbers={}", CUSTOMERS + 1)), "{audit}");
    }
}

/// 1 MB is included, by the charge or by an override of it alone; much more than that has been used by now.
#[test]
fn an_alert_is_told_once_whatever_is_restarted() {
    const INCLUDED: &str = "allowance = { quantity = \"0.001\" }\nalerts = [\"50\", \"100\"]\n";
    let own = format!("[[override]]\ncustomer = [\"campus\"]\ncharge = \"vol\"\n{INCLUDED}");
    let overridden = format!("{}{own}", PORT.replace(INCLUDED, ""));
    assert!(!overridden.starts_with(PORT));
    let both = |dialect| [(dialect, PORT), (dialect, overridden.as_str())];
    for (dialect, tariff) in dialects().into_iter().flat_map(both) {
        let site = site_of(dialect, tariff, "draft", 0, "");
        let told = site.path("told");
        let mut config = std::fs::read_to_string(site.path("fluxoscope.toml")).unwrap();
        let script = format!("cat >> {}", told.display());
        writeln!(config, "alert_command = [\"/bin/sh\", \"-c\", \"{script}\"]").unwrap();
        std::fs::write(site.path("fluxoscope.toml"), config).unwrap();
        let start = format!("{}T00:00:00Z", days_ago(0));
        let generate =
            ["--records", "3000", "--seed", "5", "--start", &start, "--span", "60", "--out", "today.pcap"];
        site.ok(&[&["generate"], &generate[..]].concat());
        site.ok(&["replay", "today.pcap"]);
        let lines = || std::fs::read_to_string(&told).unwrap_or_default().lines().count();
        for starts in 1..=2 {
            let daemon = Daemon::start(&site);
            until("allowances", || billing(&daemon)["allowances"].get(0).cloned());
            if starts == 1 {
                until("the command", || (billing(&daemon)["alerts_told"] == 1).then_some(()));
            }
            assert_eq!(lines(), 1);
            let status = billing(&daemon);
            daemon.stop();
            assert_eq!(status["alerts"], 2 - starts, "raised by the first start: {status}");
            let row = &status["allowances"][0];
            assert_eq!((row["customer"].as_str(), row["alert"].as_str()), (Some("campus"), Some("100")));
            assert!(row["used_percent"].as_u64().unwrap() >= 100);
        }
        let text = std::fs::read_to_string(&told).unwrap();
        let message: Value = serde_json::from_str(text.trim()).expect("one, in one line");
        assert_eq!(
            (message["customer"].as_str(), message["percent"].as_str()),
            (Some("campus"), Some("100"))
        );
        // What the command says is what the usage of the ledger is, in GB: in and out.
        let usage = site.ok(&["usage", "--by", "customer", "--format", "json"]);
        let usage: Value = serde_json::from_str(&usage).unwrap();
        let own = usage.as_array().unwrap().iter().find(|row| row["customer"] == "campus").unwrap();
        let octets = own["bytes"].as_u64().unwrap();
        let expected =
            format!("{}.{:03}", (octets + 500_000) / 1_000_000_000, (octets + 500_000) / 1_000_000 % 1000);
        assert_eq!(message["used"], expected.trim_end_matches('0').trim_end_matches('.'));
    }
}
