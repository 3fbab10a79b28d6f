//! Journals that a daemon finds at its start, made here frame by frame: damaged ones, those of a former number of
//! processors, and what an exporter that is no longer allowed left in them.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use fluxoscope::journal;
use fluxoscope::units::UnixMillis;
use serde_json::Value;

use crate::bad_input::Lock;
use crate::live_support::{Daemon, NETWORK, Site, now_ms, number, v5};

const CAMPUS: [u8; 4] = [203, 0, 113, 1];

/// Appends datagrams to the n-th journal of the site, in segments of at most `segment` octets; back when all of them
/// are on disk. Without anything to append the journal is there all the same.
fn write(site: &Site, index: usize, segment: u64, datagrams: impl IntoIterator<Item = (u8, Vec<u8>)>) {
    let config = journal::Config { segment_octets: segment, sync_octets: 1, ..journal::Config::default() };
    let (mut writer, syncer, durable) = journal::open(&directory(site, index), &config).unwrap();
    let syncer = std::thread::spawn(move || syncer.run());
    for (host, datagram) in datagrams {
        let source = SocketAddr::new(Ipv4Addr::new(127, 0, 0, host).into(), 2055);
        let end = writer.append(UnixMillis(now_ms()), source, &datagram).unwrap();
        assert!(durable.wait_until(end, std::time::Duration::from_secs(60)));
    }
    drop(writer);
    syncer.join().unwrap();
}

fn directory(site: &Site, index: usize) -> PathBuf {
    site.state().join(format!("journal/{index}"))
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|it| it == "journal")).collect();
    segments.sort();
    segments
}

/// Section 6, item 1, of a daemon at rest: nothing is received and not accounted for, or decoded and not received.
fn balanced(daemon: &Daemon) -> Value {
    let processor = daemon.status()["processors"][0].clone();
    let sum = |names: &[&str]| names.iter().map(|name| number(&processor[*name])).sum::<u64>();
    let kept = sum(&["journalled", "unjournalled"]);
    assert_eq!(sum(&["datagrams"]), kept + sum(&["rejected", "dropped"]), "{processor}");
    assert_eq!(kept, sum(&["decoded", "malformed", "duplicates"]), "{processor}");
    processor
}

/// What is behind a damaged frame is lost up to the end of its segment, however many segments are damaged; what other
/// segments hold is not.
#[test]
fn each_damaged_segment_costs_its_own_rest_only() {
    let site = Site::new(NETWORK);
    // Segments of two frames (72 octets and what says when and where from); the octets tell the datagrams apart.
    let two = 2 * (72 + 23);
    let datagrams = (0..10).map(|n| (1, v5(n, CAMPUS, &[(1, 1 << n)])));
    write(&site, 0, two, datagrams);
    let files = segments(&directory(&site, 0));
    assert_eq!(files.len(), 5);
    for damaged in [&files[1], &files[3]] {
        let mut bytes = std::fs::read(damaged).unwrap();
        let second = 24 + (bytes.len() - 24) / 2;
        bytes[second + 50] ^= 1;
        std::fs::write(damaged, bytes).unwrap();
    }
    let daemon = site.start();
    daemon.flush();
    // All but the second frames of the second and fourth segment.
    assert_eq!(site.raw_volume(), (8, 0b11_1111_1111 - (1 << 3) - (1 << 7)), "{}", daemon.log());
    assert_eq!(balanced(&daemon)["decoded"], 8);
}

/// Journals that no processor writes any more are read to their end, and then kept no longer than retention says.
#[test]
fn journals_of_former_processors_are_metered_and_retained_like_others() {
    let settings = |size: &str| {
        let journal = format!("[journal]\nretain_size = \"{size}\"\n\n[ledger]");
        NETWORK.replace("[ledger]", &journal).replace("[receive]\n", "[receive]\nprocessors = 1\n")
    };
    let site = Site::new(&settings("1GiB"));
    let two = 2 * (72 + 23);
    let frames = |from: u32| (from..from + 6).map(|n| (1, v5(n, CAMPUS, &[(1, 1 << n)])));
    write(&site, 2, two, frames(0));
    let former = directory(&site, 2);
    assert_eq!(segments(&former).len(), 3);
    let daemon = site.start();
    daemon.flush();
    assert_eq!(site.raw_volume(), (6, 0b11_1111));
    balanced(&daemon);
    daemon.stop();
    assert_eq!(segments(&former).len(), 3, "there is room for all");

    // A smaller size, and frames that are not committed: a daemon that is told to stop before the ledger takes them
    // removes nothing that it has not.
    write(&site, 2, two, frames(6));
    let newest = segments(&former);
    assert_eq!(newest.len(), 6);
    site.configure(&settings("1B"));
    let lock = Lock::take(&site);
    let daemon = site.start();
    daemon.wait_for("The ledger is busy; usage waits");
    assert_eq!(daemon.stop().code(), Some(0), "a stop is no failure, also while it waits for the ledger");
    assert_eq!(segments(&former), newest[3..], "what is committed goes, what is not stays");
    lock.release();

    let daemon = site.start();
    daemon.flush();
    assert_eq!(site.raw_volume(), (12, 0b1111_1111_1111));
    balanced(&daemon);
    daemon.stop();
    assert_eq!(segments(&former), newest[5..], "the newest always stays");
    // And nothing of it is read again.
    let daemon = site.start();
    daemon.flush();
    assert_eq!(daemon.count("beyond the last commit"), 0);
    assert_eq!(site.raw_volume(), (12, 0b1111_1111_1111));
}

/// What catching up finds of exporters that are not allowed any more was allowed when it was journalled.
#[test]
fn catching_up_meters_exporters_that_are_gone() {
    let site = Site::new(NETWORK);
    write(&site, 0, 1 << 20, (0..9).map(|n| (1 + u8::from(n % 3 == 0), v5(n, CAMPUS, &[(1, 10)]))));
    let daemon = site.start();
    daemon.flush();
    let processor = balanced(&daemon);
    assert_eq!((&processor["datagrams"], &processor["rejected"]), (&9.into(), &0.into()));
    assert_eq!(site.raw_volume(), (9, 90));
    daemon.send("127.0.0.2", &[v5(99, CAMPUS, &[(1, 10)])]);
    daemon.flush();
    assert_eq!((&balanced(&daemon)["rejected"], site.raw_volume()), (&1.into(), (9, 90)));
}

/// A reload takes an exporter away while its datagrams wait in the journal for room in the usage table: they were allowed when
/// they came, and are metered.
#[test]
fn datagrams_read_back_after_their_exporter_was_taken_away_are_metered() {
    let gone = "[[exporter]]\nname = \"gone\"\naddress = \"127.0.0.2\"\n";
    let meter = "[meter]\nrows = 1\n";
    let site = Site::new(&format!("{NETWORK}{meter}{gone}"));
    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5(0, CAMPUS, &[(1, 100)])]);
    daemon.flush();
    let lock = Lock::take(&site);
    // The table is full after each batch of 512 records; two flushes wait for the ledger, and the third stays in it.
    const SENT: u32 = 400;
    let mut sent = 0;
    while sent < SENT {
        let datagrams: Vec<_> = (sent..sent + 50).map(|n| v5(n * 30, CAMPUS, &[(1, 7); 30])).collect();
        daemon.send("127.0.0.2", &datagrams);
        sent += 50;
        let received = || number(&daemon.status()["processors"][0]["datagrams"]);
        while received() < u64::from(sent) + 1 {
            std::thread::yield_now();
        }
    }
    daemon.wait_for("The usage table is full");
    site.configure(&format!("{NETWORK}{meter}"));
    daemon.signal("HUP");
    daemon.wait_for("The ledger is busy; usage waits");
    lock.release();
    daemon.wait_for("Configuration reloaded");
    daemon.flush();
    let processor = balanced(&daemon);
    assert_eq!(processor["datagrams"], SENT + 1);
    let sent = u64::from(SENT);
    assert_eq!((number(&processor["decoded"]), number(&processor["rejected"])), (sent + 1, 0), "{processor}");
    assert_eq!(site.raw_volume(), (1 + 30 * sent, 100 + 30 * 7 * sent));
}
