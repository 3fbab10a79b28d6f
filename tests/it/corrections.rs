//! A customer's prefix was wrong: usage is corrected from the journal, and a credit note and a new invoice follow. The
//! documents are compared with those of a site that had it right from the start, and with figures worked out by hand.

mod charged;
mod octets;
mod shared;
mod standing;

use std::net::UdpSocket;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::books::{audited, figure, states};
use crate::support::{Daemon, Dialect, Random, Running, Site, dialects, rows};

/// 20.128.0.0/9 is the museum's; somebody wrote all of 20.0.0.0/8 down as the campus's.
const WRONG: &str = r#"
[receive]
listen = ["127.0.0.1:0"]
[journal]
segment = "1 MiB"
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
interfaces = [ { exporter = "ce1" } ]
[[customer]]
name = "campus"
prefixes = ["20.0.0.0/8"]
tariff = "by-volume"
[[customer]]
name = "museum"
prefixes = ["21.0.0.0/8"]
tariff = "by-volume"
"#;

/// 10.00 a port, 2.50 a GB, 20 % tax.
const TARIFF: &str = r#"
[tariff]
id = "by-volume"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "UTC"
unit = "GB"
rounding = { line = "half-up", tax_scope = "category" }
[period]
anchor_day = 1
[[class]]
name = "all"
match = {}
[[charge]]
id = "port"
kind = "recurring"
description = "Port"
amount = "10.00"
[[charge]]
id = "transit"
kind = "volume"
description = "Transit"
class = ["all"]
direction = "sum"
tiers = { mode = "graduated", rows = [ { price = "2.50" } ] }
[tax]
category = "S"
percent = "20"
"#;

fn right() -> String {
    WRONG.replace("\"21.0.0.0/8\"", "\"20.128.0.0/9\", \"21.0.0.0/8\"")
}

/// The month that is over, and an instant in it.
fn last_month() -> (String, i64) {
    #[expect(clippy::disallowed_methods, reason = "a live daemon goes by the clock")]
    let now = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).date();
    let month = now.first_of_month().yesterday().unwrap().first_of_month();
    let at: jiff::Timestamp = format!("{month}T12:01:00Z").parse().unwrap();
    (format!("{:04}-{:02}", month.year(), month.month()), at.as_millisecond())
}

/// A NetFlow v5 datagram of flows from 198.18.0.1, of 1000 octets a packet, that ended at that instant: destination, and
/// how many packets.
fn v5(at_ms: i64, sequence: u32, flows: &[([u8; 4], u32)]) -> Vec<u8> {
    const UPTIME: u32 = 3_600_000;
    let mut out = Vec::new();
    out.extend(5_u16.to_be_bytes());
    out.extend(u16::try_from(flows.len()).unwrap().to_be_bytes());
    for word in [UPTIME, u32::try_from(at_ms / 1000).unwrap(), 0, sequence, 0] {
        out.extend(word.to_be_bytes());
    }
    for (destination, packets) in flows {
        out.extend([198, 18, 0, 1]);
        out.extend(destination);
        out.extend([0; 8]);
        for word in [*packets, *packets * 1000, UPTIME, UPTIME] {
            out.extend(word.to_be_bytes());
        }
        out.extend([0; 16]);
    }
    out
}

const CAMPUS: [u8; 4] = [20, 1, 1, 1];
/// In the part of 20.0.0.0/8 that is the museum's.
const DISPUTED: [u8; 4] = [20, 200, 1, 1];
const MUSEUM: [u8; 4] = [21, 1, 1, 1];
const NOBODY: [u8; 4] = [30, 1, 1, 1];

/// A month's traffic: 3 GB for the campus, 2 GB that are disputed (in three buckets), 1 GB for the museum.
fn traffic(at: i64) -> Vec<Vec<u8>> {
    vec![
        v5(at, 0, &[(CAMPUS, 3_000_000), (DISPUTED, 1_500_000), (MUSEUM, 1_000_000)]),
        v5(at + 300_000, 3, &[(DISPUTED, 300_000), (NOBODY, 70_000)]),
        v5(at + 86_400_000, 5, &[(DISPUTED, 200_000)]),
    ]
}

/// 0.4 GB of the same month that come when it is closed and billed, all disputed; half of it in a bucket that there is.
fn late(at: i64) -> Vec<Vec<u8>> {
    vec![v5(at + 300_000, 6, &[(DISPUTED, 200_000)]), v5(at + 900_000, 7, &[(DISPUTED, 200_000)])]
}

/// A daemon takes these, and ends.
fn metered(site: &Site, datagrams: &[Vec<u8>]) {
    let daemon = Daemon::start(site);
    let socket = UdpSocket::bind(("127.0.1.1", 0)).unwrap();
    for datagram in datagrams {
        socket.send_to(datagram, daemon.listening).unwrap();
    }
    daemon.flush();
    daemon.stop();
}

fn final_invoices(site: &Site, period: &str) {
    site.ok(&["invoice", "run", "--period", period]);
    site.ok(&["invoice", "finalize", "--period", period, "--by", "ann"]);
}

/// A site of that configuration with the traffic and final invoices of it.
fn billed(dialect: Dialect, network: &str, datagrams: &[Vec<u8>]) -> Site {
    let site = Site::on(dialect, network);
    std::fs::write(site.path("by-volume.toml"), TARIFF).unwrap();
    metered(&site, datagrams);
    site.ok(&["tariff", "activate", "by-volume.toml", "--by", "ann"]);
    final_invoices(&site, &last_month().0);
    site
}

fn shown(site: &Site, number: &str) -> Value {
    serde_json::from_str(&site.ok(&["invoice", "show", number, "--format", "json"])).unwrap()
}

/// The invoice of a customer's period that stands.
fn standing(site: &Site, period: &str, customer: &str) -> Value {
    let list: Value = serde_json::from_str(&site.ok(&[
        "invoice",
        "list",
        "--period",
        period,
        "--customer",
        customer,
        "--format",
        "json",
    ]))
    .unwrap();
    let finals: Vec<Value> = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["state"] == "final")
        .map(|row| shown(site, row["number"].as_str().unwrap()))
        .filter(|document| document["credits"].is_null())
        .collect();
    let [only] = &finals[..] else { panic!("{customer}: {finals:?}") };
    only.clone()
}

fn correct(period: &str) -> [&str; 11] {
    [
        "rerate",
        "--customer",
        "campus",
        "--from",
        period,
        "--reclassify",
        "--reason",
        "20.128/9 is the museum's",
        "--by",
        "bea",
        "--format=csv",
    ]
}

fn everything(site: &Site) -> String {
    site.usage("customer,link,direction,class,family,exporter,bucket")
}

/// What a command says when it fails.
fn refused(output: &Output, code: i32, said: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(code) && errors.contains(said), "{}: {errors}", output.status);
}

/// By hand: the campus is billed 5 GB, 12.50 and the port, 22.50 and 20 %: 27.00; the museum 1 GB: 2.50, so 12.50 and 15.00.
/// Right would be 3 GB (17.50, 21.00) and 3 GB and the late 0.4 GB: 8.50, so 18.50 and 22.20.
#[test]
fn a_wrong_prefix_is_corrected_from_the_journal_and_billed_anew() {
    let (period, at) = last_month();
    for dialect in dialects() {
        let site = billed(dialect, WRONG, &traffic(at));
        let gross = |number: &str| shown(&site, number)["gross"].as_str().unwrap().to_owned();
        assert_eq!([gross("R-000001"), gross("R-000002")], ["27.00", "15.00"]);
        site.ok(&["period", "close", "--period", &period]);
        // Of the campus, as everybody believes, and late.
        metered(&site, &late(at));
        let before = site.usage("exporter,day");
        assert_eq!(rows(&site.usage("customer"))[0][3], "5400000000");

        // Not while the wrong configuration is in force, and not without a reason.
        site.configure(&right());
        refused(&site.run(&correct(&period)), 1, "this configuration is not in force");
        metered(&site, &[]);
        let without = ["rerate", "--customer", "campus", "--from", &period, "--reclassify"];
        refused(&site.run(&without), 2, "--reason");
        let rehearsed = site.ok(&[&without[..], &["--dry-run", "--format", "csv"]].concat());
        assert_eq!(
            rows(&rehearsed),
            [
                vec!["campus", "5400000000", "3000000000", "-2400000000"],
                vec!["museum", "1000000000", "3400000000", "2400000000"]
            ]
        );

        let done = site.ok(&correct(&period));
        assert_eq!(
            rows(&done),
            [vec!["R-000001", &period, "27.00", "21.00"], vec!["R-000002", &period, "15.00", "22.20"]]
        );
        let state = |number: &str| states(&site).into_iter().find(|(of, _)| of == number).unwrap().1;
        assert_eq!([state("R-000001"), state("R-000002")], ["credited", "credited"]);
        assert_eq!([gross("R-000003"), gross("R-000005")], ["-27.00", "-15.00"], "credit notes");
        assert_eq!(shown(&site, "R-000003")["credits"], "R-000001");
        let audit = audited(&site);
        assert_eq!(figure(&audit, "corrections", "corrections"), 1);
        assert_eq!(figure(&audit, "octets", "not_entered_yet"), 0, "the books have it, too");
        assert_eq!(site.usage("exporter,day"), before, "what was reported stays");
        let kept = site.ok(&["ledger", "corrections", "--format", "csv"]);
        let row = &rows(&kept)[0];
        // Four buckets are disputed: four rows for the museum, and five off the campus, of one bucket in time and late.
        let (from, until) =
            (format!("{period}-01T00:00:00Z"), format!("{}T00:00:00Z", period_after(&period).1));
        assert_eq!([row[0], row[2], row[3], row[4], row[6]], ["1", "bea", &from, &until, "9"]);
        assert_eq!((row[5].len(), row[7]), (64, "20.128/9 is the museum's"), "{kept}");

        // As if it had been right from the start, and nothing late.
        let all = [traffic(at), late(at)].concat();
        let other = billed(dialect, &right(), &all);
        assert_eq!(everything(&site), everything(&other));
        for customer in ["campus", "museum"] {
            let (own, expected) = (standing(&site, &period, customer), standing(&other, &period, customer));
            for part in ["lines", "net", "taxes", "tax", "gross", "usage_root", "volumes", "period"] {
                assert_eq!(own[part], expected[part], "{customer}: {part}");
            }
        }
        // Nothing late is left for the open month: who has a port pays for that.
        let (open, _) = period_after(&period);
        site.ok(&["invoice", "run", "--period", &open]);
        let draft = shown(&site, &format!("DRAFT-{open}-campus"));
        assert_eq!((&draft["net"], draft["lines"].as_array().unwrap().len()), (&Value::from("10.00"), 2));

        // A second run finds nothing.
        let documents = states(&site).len();
        let again = site.run(&correct(&period));
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(again.status.success() && said.contains("nothing is left to correct"), "{said}");
        assert_eq!(rows(&String::from_utf8(again.stdout).unwrap()).len(), 0);
        assert_eq!(states(&site).len(), documents);

        // Back again, by a configuration that comes back: another correction, never an edit.
        site.configure(WRONG);
        metered(&site, &[]);
        let back = site.ok(&correct(&period));
        // As it was: 5 GB in time, and what came late is late again: 0.4 GB for the open month, 1.00 and the port.
        assert_eq!(rows(&back).iter().map(|row| row[3]).collect::<Vec<_>>(), ["27.00", "15.00"]);
        site.ok(&["invoice", "run", "--period", &open]);
        assert_eq!(shown(&site, &format!("DRAFT-{open}-campus"))["net"], "11.00");
        assert_eq!(figure(&audited(&site), "corrections", "corrections"), 2);
    }
}

/// The month after one.
fn period_after(period: &str) -> (String, jiff::civil::Date) {
    let month: jiff::civil::Date = format!("{period}-01").parse().unwrap();
    let next = month.last_of_month().tomorrow().unwrap();
    (format!("{:04}-{:02}", next.year(), next.month()), next)
}

/// Wherever it is killed, usage is corrected once and each invoice replaced once; the next run goes on.
#[test]
fn a_killed_correction_goes_on() {
    let (period, at) = last_month();
    for dialect in dialects() {
        let site = billed(dialect, WRONG, &traffic(at));
        site.configure(&right());
        metered(&site, &[]);
        let mut random = Random(11);
        for _ in 0..25 {
            let command = correct(&period);
            let mut process =
                Running::start(site.command(&command).stdout(Stdio::null()).stderr(Stdio::null()));
            std::thread::sleep(Duration::from_millis(random.below(120)));
            process.kill();
            let audit = audited(&site);
            let corrections = figure(&audit, "corrections", "corrections");
            let numbers = figure(&audit, "numbers", "numbers");
            assert!(corrections == 1 || corrections == 0 && numbers == 2, "{audit:?}");
            assert!([2, 4, 6].contains(&numbers), "a credit note and what takes its place, or neither");
        }
        site.ok(&correct(&period));
        let audit = audited(&site);
        assert_eq!(figure(&audit, "corrections", "corrections"), 1);
        assert_eq!(figure(&audit, "numbers", "numbers"), 6);
        let gross = |customer| standing(&site, &period, customer)["gross"].as_str().unwrap().to_owned();
        // 3 GB each: 7.50 and 10.00, and 20 %.
        assert_eq!([gross("campus"), gross("museum")], ["21.00", "21.00"]);
    }
}

/// A journal that has not all of the month says nothing, whoever asks.
#[test]
fn a_journal_that_has_lost_something_is_refused() {
    let (period, at) = last_month();
    let site = billed(Dialect::Sqlite, WRONG, &traffic(at));
    // Datagrams of another month, so many that there is a second segment; then the first one is gone, as by retention.
    let other: Vec<([u8; 4], u32)> = vec![(NOBODY, 1); 30];
    let many: Vec<Vec<u8>> = (0..900).map(|n| v5(at - 40 * 86_400_000, 6 + 30 * n, &other)).collect();
    for part in many.chunks(100) {
        metered(&site, part);
    }
    site.configure(&right());
    metered(&site, &[]);
    let before = (everything(&site), states(&site));
    let mut segments: Vec<_> = std::fs::read_dir(site.state().join("journal/0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    assert!(segments.len() > 1, "{segments:?}");
    std::fs::remove_file(&segments[0]).unwrap();
    refused(&site.run(&correct(&period)), 1, "the journals are retained from");
    assert_eq!((everything(&site), states(&site)), before);
    assert_eq!(figure(&audited(&site), "corrections", "corrections"), 0);
}
