//! The running daemon with real exporters, managers and operators.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use fluxoscope::receive::pcap_write::CaptureWriter;
use fluxoscope::units::UnixMillis;
use serde_json::Value;

use crate::live_support::{Daemon, NETWORK, Site, Traffic, now_ms, number, output, said, v5};
use crate::support::{free_port, until};

/// What softflowd exports of one capture, in one protocol, unsampled, is in the ledger to the octet.
fn unsampled(options: &[&str], filter: &[&str], families: &[&str]) {
    let site = Site::new(NETWORK);
    let daemon = site.start();
    let traffic = Traffic::make(&site, 7, 300, 20_000);
    traffic.export(&site, &daemon.listening, options, filter);
    daemon.flush();

    let mut truth = traffic.truth;
    truth.retain(|(_, _, family), _| families.contains(&family.as_str()));
    let mut found = BTreeMap::new();
    for row in site.usage("customer,direction,family,link") {
        assert_eq!((&row["link"], row["relative_error"].as_f64()), (&"transit".into(), Some(0.0)), "{row}");
        assert_eq!((&row["packets"], &row["bytes"]), (&row["raw_packets"], &row["raw_bytes"]));
        let text = |column: &str| row[column].as_str().unwrap().to_owned();
        let key = (text("customer"), text("direction"), text("family"));
        found.insert(key, (number(&row["packets"]), number(&row["bytes"])));
    }
    assert_eq!(found, truth);
    assert_eq!(found.len(), 4 * families.len());

    let exporter = &daemon.status()["exporters"][0];
    assert!(number(&exporter["datagrams"]) > 3, "{exporter}");
    for none in ["lost", "malformed", "duplicates", "held", "expired_records"] {
        assert_eq!(exporter[none], 0, "{none}: {exporter}");
    }
}

#[test]
fn softflowd_v1() {
    unsampled(&["-v", "1"], &["ip"], &["ipv4"]);
}

#[test]
fn softflowd_v5() {
    unsampled(&["-v", "5"], &["ip"], &["ipv4"]);
}

#[test]
fn softflowd_v9() {
    unsampled(&["-v", "9"], &[], &["ipv4", "ipv6"]);
}

#[test]
fn softflowd_ipfix() {
    unsampled(&["-v", "10"], &[], &["ipv4", "ipv6"]);
}

/// Takes what softflowd sends, and passes it on from the same address: an independent witness of the datagrams.
fn witness(site: &Site, daemon: &Daemon, traffic: &Traffic, options: &[&str]) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    traffic.export(site, &socket.local_addr().unwrap().to_string(), options, &[]);
    socket.set_nonblocking(true).unwrap();
    let mut datagrams = Vec::new();
    let mut room = [0; 65_536];
    while let Ok(octets) = socket.recv(&mut room) {
        datagrams.push(room[..octets].to_vec());
    }
    daemon.send("127.0.0.1", &datagrams);
    datagrams
}

#[test]
fn softflowd_sampling_is_scaled_by_what_it_announces() {
    let site = Site::new(NETWORK);
    let daemon = site.start();
    let traffic = Traffic::make(&site, 8, 120, 30_000);
    let datagrams = witness(&site, &daemon, &traffic, &["-v", "10", "-s", "10"]);
    daemon.flush();

    // tshark's reading of the same datagrams.
    let capture = site.path("exports.pcap");
    let mut writer = CaptureWriter::create(&capture).unwrap();
    let address = |port: u16| ([127, 0, 0, 1], port).into();
    for datagram in &datagrams {
        writer.write(UnixMillis(now_ms()), address(40_000), address(4739), datagram).unwrap();
    }
    writer.finish().unwrap();
    let decoded = output(
        "tshark",
        &[
            "-r",
            capture.to_str().unwrap(),
            "-d",
            "udp.port==4739,cflow",
            "-T",
            "fields",
            "-E",
            "separator=;",
            "-e",
            "cflow.packets",
            "-e",
            "cflow.octets",
        ],
    );
    let sum = |text: &str| text.split(',').map(|n| n.parse::<u64>().unwrap()).sum::<u64>();
    let (packets, octets) = decoded
        .lines()
        .map(|line| line.split_once(';').unwrap())
        .fold((0, 0), |(p, o), (packets, octets)| (p + sum(packets), o + sum(octets)));
    assert!(packets > 2000, "{decoded}");
    assert_eq!(site.raw_volume(), (packets, octets));

    let rows = site.usage("customer,direction,family");
    assert_eq!(rows.len(), 8);
    for row in &rows {
        assert_eq!(number(&row["packets"]), 10 * number(&row["raw_packets"]), "{row}");
        assert_eq!(number(&row["bytes"]), 10 * number(&row["raw_bytes"]), "{row}");
        assert!(row["relative_error"].as_f64().unwrap() > 0.0, "{row}");
    }
    let exporter = &daemon.status()["exporters"][0];
    assert_eq!((&exporter["lost"], &exporter["options_records"]), (&0.into(), &1.into()), "{exporter}");
    // 1 in 10 looked at, the same flows: the estimate is near the truth.
    let truth: u64 = traffic.truth.values().map(|(_, octets)| octets).sum();
    let estimate = 10 * octets;
    assert!(estimate.abs_diff(truth) < truth / 10, "{estimate} for {truth}");
}

const FLUX: &str = ".1.3.6.1.4.1.32473.2055.1";

/// Object and value of each line of a walk, in its order.
fn walk(program: &str, version: &str, port: u16, from: &str) -> Vec<(String, String)> {
    let peer = format!("127.0.0.1:{port}");
    let text = output(program, &[version, "-c", "see", "-Onqt", &peer, from]);
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(oid, value)| oid.starts_with(".1.3") && !value.starts_with("No more variables"))
        .map(|(oid, value)| (oid.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// A table by name: its columns by number.
fn table(port: u16, table: u32) -> BTreeMap<String, BTreeMap<u32, String>> {
    let root = format!("{FLUX}.{table}.1.");
    let mut rows: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
    for (oid, value) in walk("snmpbulkwalk", "-v2c", port, root.trim_end_matches('.')) {
        let (column, index) = oid[root.len()..].split_once('.').unwrap();
        rows.entry(index.to_owned()).or_default().insert(column.parse().unwrap(), value);
    }
    rows.into_values().map(|columns| (columns[&2].clone(), columns)).collect()
}

/// In and out octets, in and out packets, by the first key.
fn by_direction(rows: &[Value], key: &str) -> BTreeMap<String, [u64; 4]> {
    let mut sums: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    for row in rows {
        let place = usize::from(row["direction"] == "out");
        let entry = sums.entry(row[key].as_str().unwrap().to_owned()).or_default();
        entry[place] += number(&row["bytes"]);
        entry[2 + place] += number(&row["packets"]);
    }
    sums
}

#[test]
fn the_agent_shows_what_the_ledger_has() {
    let port = free_port();
    let site =
        Site::new(&format!("{NETWORK}\n[snmp]\nlisten = \"127.0.0.1:{port}\"\ncommunities = [\"see\"]\n"));
    let early = site.run(&["mrtg"]);
    let notes = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(early.status.success() && notes.starts_with("note: no graphs of exporters `edge`: "), "{notes}");
    let daemon = site.start();
    // Who is configured is shown before anything came.
    assert_eq!(table(port, 3)["edge"][&4], "0");
    let traffic = Traffic::make(&site, 9, 200, 15_000);
    // One protocol at a time, in its own observation domain: exact and estimated volume add up.
    traffic.export(&site, &daemon.listening, &["-v", "9"], &[]);
    traffic.export(&site, &daemon.listening, &["-v", "5", "-s", "10"], &["ip"]);
    daemon.flush();

    for (number_of_table, key) in [(4, "link"), (5, "customer")] {
        let usage = by_direction(&site.usage(&format!("{key},direction")), key);
        assert!(!usage.is_empty());
        let rows = table(port, number_of_table);
        for (name, row) in &rows {
            let shown = [3, 4, 5, 6].map(|column| row[&column].parse::<u64>().unwrap());
            assert_eq!(shown, usage.get(name).copied().unwrap_or_default(), "{key} {name}");
        }
        for name in usage.keys() {
            assert!(rows.contains_key(name), "{key} {name} is not shown");
        }
    }

    let status = daemon.status();
    let exporters = table(port, 3);
    let records: u64 = site.usage("exporter").iter().map(|row| number(&row["flows"])).sum();
    assert_eq!(exporters["edge"][&4], records.to_string());
    assert_eq!(exporters["edge"][&4], status["exporters"][0]["records"].to_string());
    assert_eq!(exporters["edge"][&5], "0");
    assert_eq!(exporters["edge"][&6], "10", "the rate of the newest records");

    contention(&table(port, 6));
    // The agent looks once a second what is remembered of exporters.
    until("the session to be shown", || {
        walk("snmpbulkwalk", "-v2c", port, ".1.3.6.1.2.1.193")
            .iter()
            .any(|(oid, _)| oid.contains(".193."))
            .then_some(())
    });
    whole_walks(port);
    graphs(&site, port);
}

/// A row for each bounded table, with its limit, and how full the usage table was.
fn contention(rows: &BTreeMap<String, BTreeMap<u32, String>>) {
    let limits = [
        ("templates", 4096),
        ("usage", 1 << 20),
        ("journal queue", 16 << 20),
        ("ledger writer", 64),
        ("exporters", 65_535),
        ("connections", 256),
        // One exporter, one processor.
        ("holds", 4 << 20),
        ("held records", 64 << 20),
        ("running totals", 1 << 19),
    ];
    for (name, limit) in limits {
        assert_eq!(rows[name][&3], limit.to_string(), "{name}");
    }
    let of = |name: &str, column| rows[name][&column].parse::<u64>().unwrap();
    assert!(of("usage", 5) > 0, "high water of the usage table");
    assert_eq!(of("usage", 4), 0, "rows left after a flush");
    assert!(of("templates", 5) >= 4, "softflowd has four templates");
    assert!(of("ledger writer", 5) >= 1);
    for (name, row) in rows {
        assert!(of(name, 4) <= of(name, 5) && of(name, 5) <= of(name, 3), "{name}: {row:?}");
        assert_eq!(row[&6], "0", "failures of {name}");
    }
}

/// Walks of everything end by themselves, in order; version 1 has no Counter64.
fn whole_walks(port: u16) {
    let arcs = |oid: &str| oid[1..].split('.').map(|arc| arc.parse::<u32>().unwrap()).collect::<Vec<_>>();
    let mut counts = Vec::new();
    for (program, version) in [("snmpwalk", "-v1"), ("snmpwalk", "-v2c"), ("snmpbulkwalk", "-v2c")] {
        let all = walk(program, version, port, ".1.3");
        let disorder = all.windows(2).find(|pair| arcs(&pair[0].0) >= arcs(&pair[1].0));
        assert_eq!(disorder, None, "{program} {version}");
        assert!(all.iter().any(|(oid, _)| oid == ".1.3.6.1.2.1.1.3.0"), "sysUpTime");
        let wide = format!("{FLUX}.4.1.3.");
        assert_eq!(all.iter().any(|(oid, _)| oid.starts_with(&wide)), version == "-v2c", "Counter64");
        counts.push(all.len());
    }
    assert!(counts[0] > 50 && counts[0] < counts[1], "{counts:?}");
    assert_eq!(counts[1], counts[2]);
}

/// MRTG runs three times on what `mrtg` prints, and draws.
fn graphs(site: &Site, port: u16) {
    let directory = site.path("graphs");
    std::fs::create_dir(&directory).unwrap();
    let relative =
        site.command(&["mrtg", "--work-dir", "graphs"]).current_dir(site.path("")).output().unwrap();
    let text = site.out(&["mrtg", "--work-dir", directory.to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&relative.stdout), text);
    assert_eq!(String::from_utf8_lossy(&relative.stderr), "", "the ledger knows all that is configured");
    // The session of NetFlow v9, as the last flush left it; v5 has none.
    assert_eq!(
        text.lines().filter(|line| line.starts_with("Target[fluxoscope-session-")).count(),
        1,
        "{text}"
    );
    assert!(text.contains(&format!("see@127.0.0.1:{port}:")), "{text}");
    let file = site.path("mrtg.cfg");
    std::fs::write(&file, &text).unwrap();
    for _ in 0..3 {
        let (out, errors) = said("mrtg", &[file.to_str().unwrap()]);
        assert!(!out.contains("ERROR") && !errors.contains("ERROR"), "{out}{errors}");
    }
    let title = text.lines().find_map(|line| line.strip_suffix("]: Link transit")).unwrap();
    let target = title.strip_prefix("Title[").unwrap();
    let log = std::fs::read_to_string(directory.join(format!("{target}.log"))).unwrap();
    let row = &table(port, 4)["transit"];
    let first = log.lines().next().unwrap();
    assert!(first.ends_with(&format!(" {} {}", row[&3], row[&4])), "{first} for {row:?}");
    let images = std::fs::read_dir(&directory).unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.to_str().unwrap().ends_with("-day.png") && std::fs::read(&path).unwrap().starts_with(b"\x89PNG")
    });
    assert_eq!(images.count(), text.lines().filter(|line| line.starts_with("Target[")).count());
}

#[test]
fn a_reload_takes_effect_from_then_on_and_a_broken_one_not_at_all() {
    const MOVING: [u8; 4] = [203, 0, 113, 7];
    let site = Site::new(NETWORK);
    let daemon = site.start();
    let volume = || -> BTreeMap<String, u64> {
        let rows = site.usage("customer");
        rows.iter().map(|row| (row["customer"].as_str().unwrap().to_owned(), number(&row["bytes"]))).collect()
    };
    let expect = |rows: &[(&str, u64)]| {
        assert_eq!(volume(), rows.iter().map(|(name, octets)| ((*name).to_owned(), *octets)).collect());
    };
    daemon.send("127.0.0.1", &[v5(0, MOVING, &[(1, 100)])]);
    daemon.flush();
    expect(&[("campus", 100)]);

    // Two errors, and both are in the log; the daemon goes on as before.
    site.configure(&NETWORK.replace("flush = ", "flsh = ").replace("203.0.113.0/24", "203.0.113.0/240"));
    daemon.signal("HUP");
    daemon.wait_for("The new configuration is refused");
    daemon.wait_for("flsh");
    daemon.wait_for("203.0.113.0/240");
    let answer = daemon.ask("reload");
    assert_eq!(answer["ok"], false);
    assert!(answer["error"].as_str().unwrap().contains("203.0.113.0/240"), "{answer}");
    let refused = site.run(&["ctl", "reload"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("203.0.113.0/240") && said.matches("error: ").count() == 2, "{said}");
    daemon.send("127.0.0.1", &[v5(1, MOVING, &[(1, 20)])]);
    daemon.flush();
    site.configure(NETWORK); // For `usage`; nobody tells the daemon.
    expect(&[("campus", 120)]);
    let status = daemon.status();
    assert_eq!((&status["reloads"], &status["reload_failures"]), (&0.into(), &3.into()));

    // The prefix moves to the other customer: from now on. What was booked stays.
    let moved =
        NETWORK.replace("\"203.0.113.0/24\", ", "").replace("\"198.51.100.0/24\"", "\"203.0.113.0/24\"");
    site.configure(&moved);
    daemon.signal("HUP");
    daemon.wait_for("Configuration reloaded");
    daemon.send("127.0.0.1", &[v5(2, MOVING, &[(1, 3)])]);
    daemon.flush();
    expect(&[("campus", 120), ("institute", 3)]);
    // And once more by the socket: it is the version in force already.
    let answer = daemon.ask("reload");
    assert_eq!((&answer["ok"], answer["configuration"].as_str().map(str::len)), (&true.into(), Some(64)));
    assert_eq!(daemon.status()["reloads"], 2);
    daemon.stop();

    // A start with the first configuration: the third version, which does not change the past either.
    site.configure(NETWORK);
    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5(3, MOVING, &[(1, 4000)])]);
    daemon.flush();
    expect(&[("campus", 4120), ("institute", 3)]);
}

/// What was booked under the old name stays there, and what comes is booked under the new one; what is remembered belongs
/// to the address, so a gap in sequence numbers over the change is one.
#[test]
fn an_exporter_that_a_reload_renames_goes_on_under_its_new_name() {
    const CAMPUS: [u8; 4] = [203, 0, 113, 7];
    let site = Site::new(NETWORK);
    let daemon = site.start();
    let volume = || -> BTreeMap<String, (u64, u64)> {
        let rows = site.usage("exporter");
        let row = |row: &Value| (number(&row["flows"]), number(&row["bytes"]));
        rows.iter().map(|found| (found["exporter"].as_str().unwrap().to_owned(), row(found))).collect()
    };
    let expect = |rows: &[(&str, u64, u64)]| {
        let rows = rows.iter().map(|&(name, flows, octets)| (name.to_owned(), (flows, octets)));
        assert_eq!(volume(), rows.collect());
    };
    daemon.send("127.0.0.1", &[v5(0, CAMPUS, &[(1, 100)])]);
    daemon.flush();
    expect(&[("edge", 1, 100)]);

    site.configure(&NETWORK.replace("\"edge\"", "\"border\""));
    assert_eq!(daemon.ask("reload")["ok"], true);
    daemon.send("127.0.0.1", &[v5(3, CAMPUS, &[(1, 20)])]);
    daemon.flush();
    expect(&[("border", 1, 20), ("edge", 1, 100)]);
    let status = daemon.status();
    let border = status["exporters"].as_array().unwrap().iter().find(|row| row["name"] == "border").unwrap();
    assert_eq!((&border["lost"], &border["address"]), (&2.into(), &"127.0.0.1".into()), "{status}");
    daemon.stop();

    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5(4, CAMPUS, &[(1, 3)])]);
    daemon.flush();
    expect(&[("border", 2, 23), ("edge", 1, 100)]);
    let status = daemon.status();
    assert_eq!(
        (status["exporters"].as_array().unwrap().len(), &status["exporters"][0]["lost"]),
        (1, &2.into())
    );
    // Whose traffic it is has nothing to do with it.
    let campus = site.usage("customer");
    assert_eq!((campus.len(), number(&campus[0]["bytes"])), (1, 123), "{campus:?}");
}

#[test]
fn the_control_socket_answers_one_line_of_json_to_one_line() {
    let site = Site::new(NETWORK);
    let daemon = site.start();
    let status = daemon.status();
    assert_eq!(status["listening"][0], daemon.listening.as_str());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["processors"].as_array().map(Vec::len), Some(1));
    for wrong in ["", "stop", "status now", &"x".repeat(10_000)] {
        let answer = daemon.ask(wrong);
        assert_eq!(answer["ok"], false, "{wrong}: {answer}");
        assert!(answer["error"].is_string());
    }
    // Its user and group, nobody else.
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(site.state().join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // Somebody who connects and says nothing holds up nobody.
    let _silent = std::os::unix::net::UnixStream::connect(site.state().join("control.sock")).unwrap();
    assert_eq!(daemon.ask("flush")["ok"], true);
    // A second daemon on the same state is refused, and the first one stays.
    let second = site.run(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another daemon"), "{second:?}");
    assert_eq!(daemon.ask("status")["ok"], true);
}

#[test]
fn sigterm_ends_it_with_everything_committed() {
    // Nothing would be flushed by itself in the time of this test.
    let site = Site::new(&NETWORK.replace("flush = \"300ms\"", "flush = \"1h\""));
    let daemon = site.start();
    let datagrams: Vec<_> = (0..50).map(|n| v5(2 * n, [198, 51, 100, 1], &[(1, 1000), (2, n)])).collect();
    daemon.send("127.0.0.1", &datagrams);
    assert_eq!(daemon.stop().code(), Some(0));
    // 50 * (1 + 2) packets; 50 * 1000 + (0 + 1 + ... + 49) octets.
    assert_eq!(site.raw_volume(), (150, 51_225));
    assert!(!site.state().join("control.sock").exists());
    let asked = site.run(&["ctl", "status"]);
    assert_eq!(asked.status.code(), Some(1));
    // And nothing is left to be read again.
    let daemon = site.start();
    daemon.flush();
    assert_eq!(daemon.count("beyond the last commit"), 0);
    assert_eq!(site.raw_volume(), (150, 51_225));
    daemon.signal("INT");
    daemon.wait_for("Stopped.");
}

#[test]
fn a_killed_daemon_goes_on_where_its_journal_ends() {
    let site = Site::new(&NETWORK.replace("flush = \"300ms\"", "flush = \"1h\""));
    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5(0, [198, 51, 100, 1], &[(1, 1000)])]);
    daemon.flush();
    let before = journal_octets(&site);
    daemon.send("127.0.0.1", &[v5(1, [198, 51, 100, 1], &[(1, 200)]), v5(2, [198, 51, 100, 1], &[(1, 30)])]);
    // Two datagrams of 72 octets, and less than as much for where each came from.
    let begun = std::time::Instant::now();
    while journal_octets(&site) < before + 2 * 72 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    daemon.kill();
    let daemon = site.start();
    daemon.flush();
    assert_eq!(daemon.count("beyond the last commit"), 1);
    assert_eq!(site.raw_volume(), (3, 1230));
    let exporter = &daemon.status()["exporters"][0];
    assert_eq!((&exporter["lost"], &exporter["duplicates"]), (&0.into(), &0.into()));
}

/// Octets of all segments of the first processor's journal.
fn journal_octets(site: &Site) -> u64 {
    let files = std::fs::read_dir(site.state().join("journal/0")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}
