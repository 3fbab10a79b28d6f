//! Input that is wrong, and surroundings that fail: counted and said, never a panic, never a wrong total.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::live_support::{Daemon, NETWORK, Site, number, output, shipped, v5};

/// Makes the n-th datagram of its kind.
type Make<'a> = &'a dyn Fn(u8) -> Vec<u8>;

const CAMPUS: [u8; 4] = [203, 0, 113, 1];

#[test]
fn malformed_datagrams_are_counted_by_kind_and_logged_once_a_minute() {
    let site = Site::new(NETWORK);
    let daemon = site.start();
    let whole = v5(0, CAMPUS, &[(1, 100); 3]);
    // A header alone, that claims more.
    let ipfix = |length: u16, sequence: u8| {
        let mut out = [0_u16.to_be_bytes(); 8].concat();
        out[..2].copy_from_slice(&10_u16.to_be_bytes());
        out[2..4].copy_from_slice(&length.to_be_bytes());
        out[11] = sequence;
        out
    };
    let mut v9 = whole[..20].to_vec();
    v9[1] = 9;
    // The last octet makes each differ from the others: none is a duplicate.
    let kinds: [(&str, Make<'_>); 5] = [
        ("truncated", &|n| vec![0, 5, 0, n]),
        ("unknown-version", &|n| vec![0, 77, n]),
        ("count-beyond-data", &|n| [&whole[..80], &[n]].concat()),
        ("message-length", &|n| ipfix(1000, n)),
        ("set-length", &|n| [&v9[..], &[1, 0, 0, 2, n]].concat()),
    ];
    for n in 0..200 {
        daemon.send("127.0.0.1", &kinds.map(|(_, make)| make(n)));
        if n % 20 == 0 {
            daemon.flush(); // So that no socket buffer is too small.
        }
    }
    daemon.send("127.0.0.1", &[vec![], whole.clone()]);
    daemon.flush();
    let status = daemon.status();
    let (exporter, processor) = (&status["exporters"][0], &status["processors"][0]);
    // The empty datagram is a truncated one, too.
    for (kind, _) in kinds {
        let expected = if kind == "truncated" { 201 } else { 200 };
        assert_eq!(exporter["malformed_by_kind"][kind], expected, "{kind}: {exporter}");
    }
    assert_eq!(exporter["malformed_by_kind"].as_object().map(serde_json::Map::len), Some(5), "{exporter}");
    for (counter, expected) in
        [("datagrams", 1002), ("malformed", 1001), ("decoded", 1), ("journalled", 1002), ("records", 3)]
    {
        assert_eq!(processor[counter], expected, "{counter}: {processor}");
    }
    assert_eq!(daemon.count("Malformed datagram"), 1, "{}", daemon.log());
    assert_eq!(site.raw_volume(), (3, 300));
}

#[test]
fn unknown_exporters_are_rejected_and_counted() {
    let site = Site::new(NETWORK);
    let daemon = site.start();
    daemon.send("127.0.0.2", &[v5(0, CAMPUS, &[(1, 5)]), v5(1, CAMPUS, &[(1, 6)]), vec![1, 2, 3]]);
    daemon.send("127.0.0.1", &[v5(0, CAMPUS, &[(1, 70)])]);
    daemon.flush();
    let status = daemon.status();
    let processor = &status["processors"][0];
    for (counter, expected) in
        [("datagrams", 4), ("rejected", 3), ("journalled", 1), ("decoded", 1), ("malformed", 0)]
    {
        assert_eq!(processor[counter], expected, "{counter}: {processor}");
    }
    assert_eq!(status["exporters"].as_array().map(Vec::len), Some(1));
    assert_eq!(site.raw_volume(), (1, 70));
    drop(daemon);

    // Unless they are accepted: then they are named after their address.
    site.configure(&NETWORK.replace("[receive]\n", "[receive]\nunknown_exporters = \"accept\"\n"));
    let daemon = site.start();
    daemon.send("127.0.0.2", &[v5(0, CAMPUS, &[(1, 5)])]);
    daemon.flush();
    assert_eq!(daemon.status()["exporters"][1]["name"], "127.0.0.2");
    let rows = site.usage("exporter");
    assert_eq!((&rows[0]["exporter"], &rows[0]["raw_bytes"]), (&"127.0.0.2".into(), &5.into()));
}

fn code_and_errors(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn everything_wrong_in_a_configuration_is_said_at_once_with_line_and_caret() {
    let wrong = NETWORK
        .replace("flush = \"300ms\"", "flush = \"300 parsecs\"")
        .replace("address = \"127.0.0.1\"", "adress = \"127.0.0.1\"")
        .replace("exporter = \"edge\"", "exporter = \"egde\"");
    let site = Site::new(&format!("{wrong}\n[customers]\nfiles = [\"more.toml\"]\n"));
    std::fs::write(
        site.path("more.toml"),
        "[[customer]]\nname = \"museum\"\nprefixes = [\"198.51.100.0/24\", \"192.0.2.0/33\"]\n",
    )
    .unwrap();
    let line = |text: &str| wrong.lines().position(|line| line.contains(text)).unwrap() + 1;
    let expected = [
        format!("flux.toml:{}:", line("parsecs")),
        format!("flux.toml:{}:", line("adress")),
        format!("flux.toml:{}:", line("egde")),
        "more.toml:3:".to_owned(),
    ];
    let capture = shipped("ops/demo/capture.pcap");
    for arguments in [&["check"][..], &["run"], &["replay", capture.to_str().unwrap()]] {
        let (code, errors) = code_and_errors(&site.run(arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {errors}");
        for place in &expected {
            assert!(errors.contains(place), "{arguments:?}: no {place} in\n{errors}");
        }
        let carets = errors.lines().filter(|line| line.contains('^')).count();
        assert!(carets >= 4, "{carets} carets in\n{errors}");
        assert!(errors.contains("parsecs") && errors.contains("192.0.2.0/33"), "{errors}");
    }
    // Nothing was begun.
    assert!(!site.state().exists());

    // A file that is no TOML, and one that is not there.
    site.configure("[receive\nlisten = 1\n");
    let (code, errors) = code_and_errors(&site.run(&["check"]));
    assert!(code == Some(2) && errors.contains("flux.toml:1:") && errors.contains('^'), "{errors}");
    site.configure("[customers]\nfiles = [\"absent.toml\"]\n");
    let (code, errors) = code_and_errors(&site.run(&["check"]));
    assert!(code == Some(2) && errors.contains("absent.toml"), "{errors}");
    std::fs::remove_file(site.configuration()).unwrap();
    let (code, errors) = code_and_errors(&site.run(&["check"]));
    assert!(code == Some(2) && errors.contains("flux.toml"), "{errors}");
}

/// Runs a few lines of Python; they must succeed.
fn python(script: &str) -> String {
    output("python3", &["-c", script])
}

#[test]
fn a_ledger_of_a_newer_version_is_refused() {
    let site = Site::new(NETWORK);
    let capture = shipped("ops/demo/capture.pcap");
    let capture = capture.to_str().unwrap();
    site.out(&["replay", capture]);
    let ledger = site.state().join("ledger.sqlite");
    python(&format!(
        "import sqlite3; c = sqlite3.connect({:?}); \
         c.execute(\"INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')\"); c.commit()",
        ledger.to_str().unwrap()
    ));
    let before = std::fs::read(&ledger).unwrap();
    for arguments in [&["run"][..], &["replay", capture], &["usage"]] {
        let (code, errors) = code_and_errors(&site.run(arguments));
        assert_eq!(code, Some(1), "{arguments:?}: {errors}");
        assert!(errors.contains("9999") && errors.contains("newer version"), "{arguments:?}: {errors}");
    }
    assert!(std::fs::read(&ledger).unwrap() == before, "the refused ledger was written to");
}

/// Another process that has the ledger for itself until it is released.
pub(crate) struct Lock(Child);

impl Lock {
    pub(crate) fn take(site: &Site) -> Self {
        let path = site.state().join("ledger.sqlite");
        let script = format!(
            "import sqlite3, sys; c = sqlite3.connect({:?}, isolation_level=None, timeout=30); \
             c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.readline(); c.execute('ROLLBACK')",
            path.to_str().unwrap()
        );
        let mut child = Command::new("python3")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "locked\n");
        Self(child)
    }

    pub(crate) fn release(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_locked_ledger_makes_usage_wait_and_loses_none() {
    let site = Site::new(NETWORK);
    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5(0, CAMPUS, &[(1, 100)])]);
    daemon.flush();
    let quiet = daemon.status();
    assert_eq!(quiet["commit_failures"], 0);

    // Short enough for SQLite to wait by itself: a wait all the same.
    let lock = Lock::take(&site);
    daemon.send("127.0.0.1", &[v5(1, CAMPUS, &[(1, 1)])]);
    let begun = std::time::Instant::now();
    while daemon.status()["ledger_writer"]["current"] == 0 {
        assert!(begun.elapsed().as_secs() < 30);
        std::thread::yield_now();
    }
    // The flush begins its transaction after it says so; it must meet the lock.
    let meet = begun.elapsed() + std::time::Duration::from_secs(1);
    while begun.elapsed() < meet {
        assert_eq!(daemon.status()["commits"], quiet["commits"]);
    }
    lock.release();
    daemon.flush();
    // On a busy machine a flush may have waited before, for its turn.
    let before = number(&quiet["ledger_writer"]["waits"]);
    let quiet = daemon.status();
    assert!(number(&quiet["ledger_writer"]["waits"]) > before, "{quiet}");
    assert!(number(&quiet["ledger_writer"]["wait_micros"]) >= 5000);

    let lock = Lock::take(&site);
    let first = number(&quiet["commits"]);
    for n in 2..=21 {
        daemon.send("127.0.0.1", &[v5(n, CAMPUS, &[(1, 1000)])]);
    }
    // Longer than SQLite waits by itself.
    daemon.wait_for("The ledger is busy; usage waits");
    daemon.send("127.0.0.1", &[v5(22, CAMPUS, &[(1, 7)])]);
    let busy = daemon.status();
    assert_eq!(number(&busy["commits"]), first);
    assert!(
        number(&busy["commit_failures"]) >= 1 && number(&busy["ledger_writer"]["current"]) >= 1,
        "{busy}"
    );
    // Readers are not kept out.
    assert_eq!(site.raw_volume(), (2, 101));
    lock.release();
    daemon.flush();

    let status = daemon.status();
    let writer = &status["ledger_writer"];
    assert!(number(&writer["waits"]) >= 2 && number(&writer["failures"]) >= 1, "{writer}");
    assert!(number(&writer["wait_micros"]) > 1_000_000 && writer["current"] == 0, "{writer}");
    assert_eq!(site.raw_volume(), (23, 20_108));
    assert_eq!(status["exporters"][0]["lost"], 0);
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(site.raw_volume(), (23, 20_108));
}

/// The octets that a file of the daemon may have, until it may have more: as on a full disk, writing fails beyond.
const FILE_KIB: u32 = 1250;

fn processor(daemon: &Daemon) -> Value {
    daemon.status()["processors"][0].clone()
}

#[test]
fn a_journal_that_cannot_be_written_costs_replay_protection_and_no_volume() {
    let site = Site::new(NETWORK);
    let run = site.command(&["run"]);
    let mut limited = Command::new("bash");
    limited.args(["-c", &format!("trap '' XFSZ; ulimit -S -f {FILE_KIB}; exec \"$@\""), "run"]);
    limited.arg(run.get_program()).args(run.get_args());
    let daemon = Daemon::spawn(&site, limited);

    // Datagrams of 30 flows: 1464 octets each, so 1000 of them are beyond what the journal's file may have.
    let mut sent = 0;
    let mut send = |daemon: &Daemon, count: u32| {
        for _ in 0..count / 50 {
            let datagrams: Vec<_> =
                (0..50).map(|n| v5((sent + n) * 30, CAMPUS, &[(1, 1000 + sent + n); 30])).collect();
            daemon.send("127.0.0.1", &datagrams);
            daemon.flush();
            sent += 50;
        }
        // 30 packets a datagram; of the n-th, 30 * (1000 + n) octets.
        (u64::from(30 * sent), (0..u64::from(sent)).map(|n| 30 * (1000 + n)).sum::<u64>())
    };
    let total = send(&daemon, 1000);
    daemon.wait_for("Journal cannot be written");
    assert_eq!(site.raw_volume(), total);
    let total = send(&daemon, 200);
    daemon.wait_for("no replay protection");
    let full = processor(&daemon);
    assert!(number(&full["unjournalled"]) >= 200, "{full}");
    assert_eq!(number(&full["journalled"]) + number(&full["unjournalled"]), 1200, "{full}");
    assert_eq!((&full["dropped"], &full["decoded"]), (&0.into(), &1200.into()), "{full}");
    assert_eq!(site.raw_volume(), total);

    // Room again: it goes on with a new segment by itself.
    output("prlimit", &["--pid", &daemon.pid(), "--fsize=unlimited:"]);
    // What was being given up at that moment is told a little later, so the first rounds may not be clean.
    daemon.wait_for("Journal is written again");
    let mut before = processor(&daemon);
    let mut round = 0;
    let (after, total) = loop {
        let total = send(&daemon, 100);
        let after = processor(&daemon);
        assert_eq!(site.raw_volume(), total);
        let grown = |counter: &str| number(&after[counter]).checked_sub(number(&before[counter]));
        if (grown("journalled"), grown("unjournalled")) == (Some(100), Some(0)) {
            break (after, total);
        }
        round += 1;
        assert!(round < 10, "{before}\n{after}");
        before = after;
    };
    let datagrams = u32::try_from(number(&after["datagrams"])).unwrap();
    assert_eq!(daemon.status()["exporters"][0]["lost"], 0);

    // What is committed is not read again, and what the failed writes left is not believed.
    daemon.kill();
    tear(&site);
    let daemon = site.start();
    daemon.flush();
    assert_eq!(site.raw_volume(), total);
    daemon.send("127.0.0.1", &[v5(datagrams * 30, CAMPUS, &[(5, 500)])]);
    daemon.flush();
    assert_eq!(site.raw_volume(), (total.0 + 5, total.1 + 500));
    assert_eq!(daemon.status()["exporters"][0]["lost"], 0);
}

/// Leaves half a frame at the end of the newest segment, as a crash amid a write does.
fn tear(site: &Site) {
    let directory = std::fs::read_dir(site.state().join("journal/0")).unwrap();
    let files = directory.map(|file| file.unwrap().path()).filter(|path| !path.ends_with("lock"));
    let newest = files.max().unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&newest).unwrap();
    file.write_all(&bytes[bytes.len() - 1600..bytes.len() - 700]).unwrap();
}

#[test]
fn exit_codes_tell_what_happened() {
    let site = Site::new(NETWORK);
    let code = |arguments: &[&str]| code_and_errors(&site.run(arguments));
    assert_eq!(code(&["check"]).0, Some(0));
    assert_eq!(code(&["--help"]).0, Some(0));
    // Done in vain: 1.
    let (failed, said) = code(&["usage"]);
    assert!(failed == Some(1) && said.contains("no ledger yet"), "{said}");
    let (failed, said) = code(&["ctl", "status"]);
    assert!(failed == Some(1) && said.contains("no daemon answers"), "{said}");
    let (failed, said) = code(&["replay", "/nonexistent.pcap"]);
    assert!(failed == Some(1) && said.contains("/nonexistent.pcap"), "{said}");
    let (failed, said) = code(&["replay", site.configuration().to_str().unwrap()]);
    assert!(failed == Some(1) && said.contains("flux.toml"), "{said}");
    // Asked wrongly: 2.
    for wrong in [
        &["usage", "--by", "colour"][..],
        &["usage", "--by", "link,customer,link"],
        &["usage", "--from", "yesterday"],
        &["usage", "--format", "xml"],
        &["frobnicate"],
        &["ctl", "stop"],
        &[],
        &["mrtg"],
    ] {
        let (failed, said) = code(wrong);
        assert!(failed == Some(2) && !said.is_empty(), "{wrong:?}: {failed:?} {said}");
    }
    for arguments in [&["mib"][..], &["man"], &["completions", "bash"], &["completions", "zsh"]] {
        // A reader that goes away is no failure; a full disk is one.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = site.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(code_and_errors(&gone), (Some(0), String::new()), "{arguments:?}");
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let full = site.command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let (failed, said) = code_and_errors(&full);
        assert!(failed == Some(1) && said.starts_with("error: "), "{arguments:?}: {failed:?} {said}");
    }
}

#[test]
fn check_says_what_is_wrong_with_tariffs_whatever_else_is_wrong() {
    let with_tariffs = NETWORK
        .replace("name = \"campus\"", "name = \"campus\"\ntariff = \"transit-per-gb\"")
        .replace("name = \"institute\"", "name = \"institute\"\ntariff = \"transit-per-bg\"");
    let site = Site::new(&with_tariffs);
    let check = || code_and_errors(&site.run(&["check"]));
    // Without any file: what is active may be in the ledger.
    let (code, said) = check();
    assert!(code == Some(0) && said.contains("warning: ") && said.contains("`transit-per-gb`"), "{said}");

    let tariff = std::fs::read_to_string(shipped("tariffs/transit-per-gb.toml")).unwrap();
    std::fs::create_dir(site.path("tariffs")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(site.path("tariffs").join(name), text).unwrap();
    put("a.toml", &tariff);
    let (code, said) = check();
    assert_eq!((code, said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("`transit-per-bg` of customer `institute` is in no file"), "{said}");

    // The same version twice is one; with another content it is two.
    site.configure(&with_tariffs.replace("transit-per-bg", "transit-per-gb"));
    put("b.toml", &tariff);
    assert_eq!(check(), (Some(0), String::new()));
    put("b.toml", &format!("{tariff}# cheaper\n"));
    let (code, said) = check();
    assert!(
        code == Some(2) && said.contains("a.toml and, different, in ") && said.contains("b.toml"),
        "{said}"
    );

    // A wrong tariff is told beside a wrong configuration, and nobody is said to be missing it.
    put("b.toml", &tariff.replace("version", "versoin"));
    put("a.toml", "");
    site.configure(&with_tariffs.replace("transit-per-bg", "transit-per-gb").replace("flush", "flsh"));
    let (code, said) = check();
    assert_eq!(code, Some(2));
    for expected in ["flsh", "versoin", "a.toml"] {
        assert!(said.contains(expected), "no {expected} in\n{said}");
    }
    site.configure(&with_tariffs.replace("transit-per-bg", "transit-per-gb"));
    let (_, said) = check();
    assert!(said.contains("versoin") && !said.contains("is in no file"), "{said}");
}

#[test]
fn whose_an_address_is_and_where_a_spreadsheet_is_wrong() {
    let campus = "name = \"campus\"\nvalid_to = \"2026-07-01\"";
    let site = Site::new(&NETWORK.replace("name = \"campus\"", campus));
    let whois = |address: &str| {
        site.run(&["customer", "whois", address, "--format", "csv", "--at", "2026-06-30T23:59:59Z"])
    };
    for (address, row) in [
        ("203.0.113.255", "203.0.113.255,campus,203.0.113.0/24"),
        ("::ffff:198.51.100.9", "198.51.100.9,institute,198.51.100.0/24"),
        ("2001:db8:50:ffff::1", "2001:db8:50:ffff::1,institute,2001:db8:50::/48"),
    ] {
        let output = whois(address);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), text.lines().nth(1)), (Some(0), Some(row)));
    }
    let (code, said) = code_and_errors(&whois("203.0.114.0"));
    assert!(code == Some(1) && said.contains("interface or AS number"), "{said}");
    let (code, said) =
        code_and_errors(&site.run(&["customer", "whois", "203.0.113.1", "--at", "2026-07-01"]));
    assert!(code == Some(1) && said.contains("203.0.113.0/24 is `campus`'s at other times"), "{said}");

    let sheet = site.path("new customers.csv");
    std::fs::write(&sheet, "name,prefix\nmuseum,192.0.2.0/33\n").unwrap();
    let (code, said) = code_and_errors(&site.run(&["customer", "import", sheet.to_str().unwrap()]));
    assert!(code == Some(2) && said.contains("new customers.csv:2:8"), "{said}");
}

#[test]
fn the_demo_overwrites_nothing_and_its_hints_work_as_they_stand() {
    let site = Site::new("");
    let place = site.path("it's kept");
    let keep = place.to_str().unwrap();
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("fluxoscope.toml"), "mine").unwrap();
    let (code, said) = code_and_errors(&site.run(&["demo", "--keep", keep]));
    assert!(code == Some(1) && said.contains("is not empty"), "{said}");
    assert_eq!(std::fs::read_to_string(place.join("fluxoscope.toml")).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1);

    std::fs::remove_file(place.join("fluxoscope.toml")).unwrap();
    let shown = site.out(&["demo", "--keep", keep]);
    let (_, hints) = shown.split_once("To try next:").unwrap();
    let lines: Vec<_> = hints.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let (daemon, others) = lines.split_last().unwrap();
    assert!(daemon.ends_with(" run") && others.len() == 3, "{hints}");
    for line in others {
        assert!(!output("sh", &["-c", line]).is_empty(), "{line}");
    }
    assert_eq!(std::fs::read_dir(place.join("invoices")).unwrap().count(), 3);
}

#[test]
fn usage_is_printed_in_forms_that_programs_read() {
    let site = Site::new(NETWORK.replace("address = \"127.0.0.1\"", "address = \"192.0.2.1\"").as_str());
    let capture = shipped("ops/demo/capture.pcap");
    let report = site.out(&["replay", capture.to_str().unwrap(), "--format", "json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(number(&report["records"]) > 100, "{report}");
    let by = "class,customer,direction,hour";
    let rows = site.usage(by);
    assert!(rows.len() > 4);
    let csv = site.out(&["usage", "--by", by, "--format", "csv"]);
    let mut lines = csv.lines();
    let header: Vec<_> = lines.next().unwrap().split(',').collect();
    assert_eq!(header.join(","), format!("{by},flows,packets,bytes,raw_packets,raw_bytes,relative_error"));
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (line, row) in lines.zip(&rows) {
        let fields: Vec<_> = line.split(',').collect();
        assert_eq!(fields.len(), header.len());
        for (column, field) in header.iter().zip(fields) {
            match field.parse::<f64>() {
                // relative_error has six decimals in one, and as many as it needs in the other.
                Ok(value) => assert_eq!(row[column].as_f64(), Some(value), "{column}"),
                Err(_) => assert_eq!(field, plain(&row[column]), "{column}"),
            }
        }
    }
    assert_eq!(csv.lines().count(), 1 + rows.len());
    // The sum by anything is the sum by anything else, and what the replay said.
    let sum = |by: &str| site.usage(by).iter().map(|row| number(&row["raw_bytes"])).sum::<u64>();
    for by in ["customer", "link,exporter", "bucket", "day,family", "month"] {
        assert_eq!(sum(by), number(&report["raw_bytes"]), "{by}");
    }
    // The same capture again is a no-op that says so.
    let again = site.run(&["replay", capture.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&again.stderr).contains("replayed before"));
    assert_eq!(sum("month"), number(&report["raw_bytes"]));
}

#[test]
fn completions_and_manual_are_what_their_readers_take() {
    let site = Site::new(NETWORK);
    let check = |program: &str, arguments: &[&str], text: &str| {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        // A reader that stops early shows in its status.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{program}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let bash = site.out(&["completions", "bash"]);
    check("bash", &["-n"], &bash);
    assert!(bash.contains("complete -F _fluxoscope"));
    assert!(site.out(&["completions", "zsh"]).starts_with("#compdef fluxoscope"));
    assert!(site.out(&["completions", "fish"]).contains("complete -c fluxoscope"));
    let manual = site.out(&["man"]);
    assert!(manual.contains(".TH fluxoscope 1"), "{}", &manual[..200]);
    for verb in ["run", "ctl", "replay", "usage", "mrtg", "completions", "customer whois"] {
        assert!(verb.split(' ').all(|word| bash.contains(&format!("__{word}\""))), "{verb}");
        assert!(manual.contains(&format!(".SH \"FLUXOSCOPE {}\"", verb.to_uppercase())), "{verb}");
    }
    if Command::new("groff").arg("--version").output().is_ok() {
        let text = check("groff", &["-man", "-Tascii", "-ww", "-P-cbou"], &manual);
        assert!(text.contains("SYNOPSIS") && text.contains("--state-dir"), "{text}");
    }
}

/// A start that has something to write (a new configuration version) waits for a ledger that another process has.
#[test]
fn a_daemon_that_starts_beside_a_locked_ledger_waits_for_it() {
    let site = Site::new(NETWORK);
    site.start().stop();
    site.configure(&format!("{NETWORK}\n[[customer]]\nname = \"new\"\nprefixes = [\"192.0.2.0/24\"]\n"));
    let lock = Lock::take(&site);
    let mut child = site.command(&["run"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("The ledger is busy; the start waits for it")));
    lock.release();
    assert!(lines.any(|line| line.starts_with("listening on ")), "it goes on once the ledger is free");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A stop is heard in the middle of a reload that waits for the ledger, and what was received is there afterwards.
#[test]
fn a_stop_is_heard_while_a_reload_waits_for_the_ledger() {
    let site = Site::new(NETWORK);
    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5(0, CAMPUS, &[(1, 100)])]);
    daemon.flush();
    let lock = Lock::take(&site);
    daemon.send("127.0.0.1", &[v5(1, CAMPUS, &[(1, 11)])]);
    daemon.wait_for("The ledger is busy; usage waits");
    site.configure(&format!("{NETWORK}\n[[customer]]\nname = \"new\"\nprefixes = [\"192.0.2.0/24\"]\n"));
    daemon.signal("HUP");
    daemon.signal("TERM");
    let begun = std::time::Instant::now();
    daemon.stop();
    assert!(begun.elapsed().as_secs() < 60);
    lock.release();
    let daemon = site.start();
    daemon.flush();
    assert_eq!(site.raw_volume(), (2, 111));
    daemon.stop();
}
