//! A datagram is read and scaled by what was in force when it was received: after a crash, in a backlog, and from the
//! moment on in which a reload is answered.

use std::path::PathBuf;

use fluxoscope::ids::{Position, VersionHash};
use fluxoscope::journal::{self, Reader};
use fluxoscope::units::UnixMillis;

use crate::bad_input::Lock;
use crate::live_support::{Daemon, NETWORK, Site, now_ms, number, v5};
use crate::support::until;

const CAMPUS: [u8; 4] = [203, 0, 113, 9];

/// [`NETWORK`] with these settings of its exporter, and with a flush that only `ctl flush` asks for.
fn network(exporter: &str) -> String {
    NETWORK
        .replace("\"300ms\"", "\"1h\"")
        .replace("address = \"127.0.0.1\"\n", &format!("address = \"127.0.0.1\"\n{exporter}\n"))
}

fn sampled(rate: &str) -> String {
    network(&format!("sampling = {{ override = \"{rate}\" }}"))
}

/// Waits until the journals have so many frames on disk.
#[track_caller]
fn journalled(site: &Site, frames: usize) {
    until("the journal to have it all", || {
        let mut found = 0;
        let journals: Vec<PathBuf> = std::fs::read_dir(site.state().join("journal"))
            .ok()?
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        for journal in journals {
            let mut reader = Reader::open(&journal, Position(0)).unwrap();
            while reader.next().unwrap().is_some() {
                found += 1;
            }
        }
        (found == frames).then_some(())
    });
}

fn reload(site: &Site, daemon: &Daemon, configuration: &str) {
    site.configure(configuration);
    let answer = daemon.ask("reload");
    assert_eq!(answer["ok"], true, "{answer}");
}

/// Sorted: (what it is by, octets) of `usage`.
fn volumes(site: &Site, by: &str) -> Vec<(String, u64)> {
    let rows = site.usage(by);
    let mut rows: Vec<_> =
        rows.iter().map(|row| (row[by].as_str().unwrap().to_owned(), number(&row["bytes"]))).collect();
    rows.sort();
    rows
}

fn audited(site: &Site) {
    let output = site.run(&["audit"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Metered under one override, and then under another; killed before a flush, and after the file was changed once more
/// without a reload.
#[test]
fn a_crash_does_not_scale_by_a_later_override() {
    let site = Site::new(&sampled("1/1"));
    let daemon = site.start();
    daemon.wait_for("Metering as datagrams come");
    daemon.send("127.0.0.1", &[v5(0, CAMPUS, &[(1, 1000)])]);
    journalled(&site, 1);
    reload(&site, &daemon, &sampled("1/100"));
    daemon.send("127.0.0.1", &[v5(1, CAMPUS, &[(1, 10)])]);
    journalled(&site, 2);
    site.configure(&sampled("1/7000"));
    daemon.kill();
    // Killed once more while it catches up, or just after.
    site.start().kill();
    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5(2, CAMPUS, &[(1, 1)])]);
    daemon.flush();
    assert_eq!(volumes(&site, "customer"), [("campus".to_owned(), 1000 + 1000 + 7000)]);
    daemon.stop();
    audited(&site);
}

/// A NetFlow v9 datagram with a template, and a flow to [`CAMPUS`] of 1000 octets, with 300 in elements 23 and 24.
fn v9(sequence: u32) -> Vec<u8> {
    const UPTIME: u32 = 3_600_000;
    let fields: [(u16, u16); 9] =
        [(8, 4), (12, 4), (10, 4), (14, 4), (1, 4), (2, 4), (22, 4), (21, 4), (23, 4)];
    let mut template = Vec::new();
    let count = u16::try_from(fields.len()).unwrap() + 1;
    for word in [256, count] {
        template.extend(word.to_be_bytes());
    }
    for (field, length) in fields.into_iter().chain([(24, 4)]) {
        template.extend(field.to_be_bytes());
        template.extend(length.to_be_bytes());
    }
    let mut record = Vec::new();
    record.extend([198, 18, 0, 1]);
    record.extend(CAMPUS);
    for word in [1_u32, 2, 1000, 10, UPTIME, UPTIME, 300, 3] {
        record.extend(word.to_be_bytes());
    }
    let seconds = u32::try_from(now_ms() / 1000).unwrap();
    let mut datagram = Vec::new();
    datagram.extend(9_u16.to_be_bytes());
    datagram.extend(2_u16.to_be_bytes());
    for word in [UPTIME, seconds, sequence, 7] {
        datagram.extend(word.to_be_bytes());
    }
    for (id, body) in [(0_u16, template), (256, record)] {
        datagram.extend(id.to_be_bytes());
        datagram.extend(u16::try_from(body.len() + 4).unwrap().to_be_bytes());
        datagram.extend(body);
    }
    datagram
}

#[test]
fn a_crash_does_not_read_by_later_out_counters() {
    let counters =
        |what: &str| network(&format!("sampling = {{ override = \"1/1\" }}\nout_counters = \"{what}\""));
    let site = Site::new(&counters("reverse"));
    let daemon = site.start();
    daemon.wait_for("Metering as datagrams come");
    daemon.send("127.0.0.1", &[v9(0)]);
    journalled(&site, 1);
    reload(&site, &daemon, &counters("same"));
    daemon.send("127.0.0.1", &[v9(1)]);
    journalled(&site, 2);
    daemon.kill();
    let daemon = site.start();
    daemon.flush();
    // Only of the first one elements 23 and 24 are the other direction.
    let expected = [("in".to_owned(), 2000), ("out".to_owned(), 300)];
    assert_eq!(volumes(&site, "direction"), expected);
    daemon.stop();
    audited(&site);
}

/// A reload has taken the exporter away. Its name and its rate are those of when it sent.
#[test]
fn a_crash_leaves_those_who_are_gone_their_rate() {
    let gone =
        "[[exporter]]\nname = \"gone\"\naddress = \"127.0.0.2\"\nsampling = { override = \"1/100\" }\n";
    let whole = "{ exporter = \"edge\" }, { exporter = \"gone\" }";
    let before = network("").replace("{ exporter = \"edge\" }", whole) + gone;
    let site = Site::new(&before);
    let daemon = site.start();
    daemon.wait_for("Metering as datagrams come");
    daemon.send("127.0.0.2", &[v5(0, CAMPUS, &[(1, 10)])]);
    journalled(&site, 1);
    reload(&site, &daemon, &network(""));
    daemon.kill();
    let daemon = site.start();
    daemon.flush();
    assert_eq!(volumes(&site, "exporter"), [("gone".to_owned(), 1000)]);
    daemon.stop();
    audited(&site);
}

/// Whatever is sent after the answer goes by the new override: the processor has nothing else to do, and would look again
/// half a second later.
#[test]
fn a_reload_is_answered_when_it_holds() {
    let site = Site::new(&sampled("1/1"));
    let daemon = site.start();
    daemon.wait_for("Metering as datagrams come");
    let mut expected = 0;
    for round in 0..12_u32 {
        let rate = if round % 2 == 0 { 100 } else { 1 };
        reload(&site, &daemon, &sampled(&format!("1/{rate}")));
        daemon.send("127.0.0.1", &[v5(round, CAMPUS, &[(1, 10)])]);
        // It has to be there before the next reload holds for it.
        until("it to be received", || {
            let processors = daemon.status()["processors"].clone();
            let all: u64 = processors.as_array().unwrap().iter().map(|one| number(&one["datagrams"])).sum();
            (all == u64::from(round) + 1).then_some(())
        });
        expected += 10 * rate;
    }
    daemon.flush();
    assert_eq!(volumes(&site, "customer"), [("campus".to_owned(), expected)]);
}

/// Datagrams wait in the journal for room in the usage table while a reload changes the override: those that came before it
/// go by the one before.
#[test]
fn a_backlog_goes_by_what_was_in_force_when_it_came() {
    let settings = |rate: &str| {
        let text = sampled(rate).replace("\"1h\"", "\"300ms\"");
        text.replace("[receive]\n", "[receive]\nprocessors = 1\n") + "[meter]\nrows = 1\n"
    };
    let site = Site::new(&settings("1/1"));
    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5(0, CAMPUS, &[(1, 100)])]);
    daemon.flush();
    let lock = Lock::take(&site);
    const SENT: u32 = 400;
    let mut sent = 0;
    let send = |from: u32, to: u32| {
        let datagrams: Vec<_> = (from..to).map(|n| v5(n * 30, CAMPUS, &[(1, 7); 30])).collect();
        daemon.send("127.0.0.1", &datagrams);
        until("them to be received", || {
            (number(&daemon.status()["processors"][0]["datagrams"]) > u64::from(to)).then_some(())
        });
    };
    while sent < SENT {
        send(sent, sent + 50);
        sent += 50;
    }
    daemon.wait_for("The usage table is full");
    daemon.wait_for("The ledger is busy; usage waits");
    site.configure(&settings("1/100"));
    lock.release();
    let answer = daemon.ask("reload");
    assert_eq!(answer["ok"], true, "{answer}");
    send(SENT, SENT + 50);
    daemon.flush();
    let scaled = 100 + 400 * 30 * 7 + 50 * 30 * 7 * 100;
    assert_eq!(volumes(&site, "customer"), [("campus".to_owned(), scaled)]);
    daemon.stop();
    audited(&site);
}

/// Journals that tell no version, as those of before did, or one that the ledger does not have.
#[test]
fn what_nobody_can_tell_goes_by_the_newest() {
    let site = Site::new(&sampled("1/100"));
    let directory = site.state().join("journal/0");
    let (mut writer, syncer, durable) = journal::open(&directory, &journal::Config::default()).unwrap();
    let syncer = std::thread::spawn(move || syncer.run());
    for (sequence, version) in [None, None, Some([9; 32])].into_iter().enumerate() {
        if sequence > 0 {
            writer.set_version(version.map(VersionHash));
        }
        let datagram = v5(u32::try_from(sequence).unwrap(), CAMPUS, &[(1, 10)]);
        writer.append(UnixMillis(now_ms()), "127.0.0.1:2055".parse().unwrap(), &datagram).unwrap();
    }
    drop(writer);
    syncer.join().unwrap();
    assert_eq!(durable.frames(), 3);
    let daemon = site.start();
    daemon.flush();
    assert_eq!(daemon.count("The ledger does not have the configuration version"), 1);
    assert_eq!(volumes(&site, "customer"), [("campus".to_owned(), 3000)]);
    daemon.stop();
    audited(&site);
}
