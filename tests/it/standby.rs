//! A standby: another state directory on the same ledger.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::time::{Duration, Instant};

use crate::live_support::{Daemon, NETWORK, Site, v5};

const CAMPUS: [u8; 4] = [203, 0, 113, 1];

/// Two sites with one ledger, which commit only when asked to.
fn sites() -> [Site; 2] {
    let network = NETWORK.replace("flush = \"300ms\"", "flush = \"1h\"");
    let first = Site::new(&network);
    let ledger = first.path("ledger.sqlite");
    let network =
        network.replace("[ledger]\n", &format!("[ledger]\nurl = \"sqlite:{}\"\n", ledger.display()));
    assert!(network.contains("url = "));
    first.configure(&network);
    [first, Site::new(&network)]
}

fn journal_octets(site: &Site) -> u64 {
    let files = std::fs::read_dir(site.state().join("journal/0")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Sends so many datagrams of one packet, and waits until they are in the journal's files.
fn journalled(site: &Site, daemon: &Daemon, sequences: core::ops::Range<u32>, octets: u32) {
    let wanted = journal_octets(site) + 72 * u64::from(sequences.end - sequences.start);
    let datagrams: Vec<_> = sequences.map(|sequence| v5(sequence, CAMPUS, &[(1, octets)])).collect();
    daemon.send("127.0.0.1", &datagrams);
    let begun = Instant::now();
    while journal_octets(site) < wanted {
        assert!(begun.elapsed() < Duration::from_secs(60), "not in the journal");
        std::thread::yield_now();
    }
}

#[test]
fn a_second_daemon_on_a_ledger_is_refused() {
    let [first, second] = sites();
    let daemon = first.start();
    let refused = second.run(&["run"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("another daemon keeps the ledger"), "{said}");
    daemon.send("127.0.0.1", &[v5(0, CAMPUS, &[(1, 1000)])]);
    daemon.flush();
    assert_eq!(first.raw_volume(), (1, 1000));
}

/// What the one had journalled and not committed is still counted when it comes back, however much the other one
/// committed meanwhile.
#[test]
fn what_a_machine_had_not_committed_survives_its_standby() {
    let [first, standby] = sites();
    let daemon = first.start();
    journalled(&first, &daemon, 0..1, 1000);
    daemon.flush();
    journalled(&first, &daemon, 1..3, 200);
    daemon.kill();

    let daemon = standby.start();
    journalled(&standby, &daemon, 3..13, 1);
    daemon.flush();
    assert_eq!(first.raw_volume(), (11, 1010));
    journalled(&standby, &daemon, 13..15, 5);
    daemon.kill();

    let daemon = first.start();
    daemon.flush();
    assert_eq!(first.raw_volume(), (13, 1410));
    daemon.kill();
    let daemon = standby.start();
    daemon.flush();
    assert_eq!(first.raw_volume(), (15, 1420));
}
