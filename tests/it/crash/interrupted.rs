//! Replays that end in the middle, at a place that the test chooses, and go on: what waited then is not forgotten.

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fluxoscope::ledger::{Ledger, Url};
use fluxoscope::replay::Session;

use super::*;

/// 2026-01-01T00:00:00Z
const EXPORT: u32 = 1_767_225_600;

fn be(parts: &[(u64, usize)]) -> Vec<u8> {
    parts.iter().flat_map(|&(n, octets)| n.to_be_bytes()[8 - octets..].to_vec()).collect()
}

/// A v9 datagram with a template, and one record of 7000 octets and 7 packets, of which nothing tells the sampling rate.
fn silent_v9() -> Vec<u8> {
    let header = be(&[(9, 2), (2, 2), (1_000_000, 4), (EXPORT.into(), 4), (0, 4), (7, 4)]);
    let fields = be(&[(8, 2), (4, 2), (12, 2), (4, 2), (1, 2), (4, 2), (2, 2), (4, 2)]);
    let template = [be(&[(0, 2), (24, 2), (256, 2), (4, 2)]), fields].concat();
    let record = be(&[(256, 2), (20, 2), (0x0101_0101, 4), (0x0202_0202, 4), (7000, 4), (7, 4)]);
    [header, template, record].concat()
}

/// A v5 datagram with one record of 1000 octets and 10 packets.
fn v5(sequence: u32) -> Vec<u8> {
    let header =
        be(&[(5, 2), (1, 2), (1_000_000, 4), (EXPORT.into(), 4), (0, 4), (sequence.into(), 4), (0, 4)]);
    let figures = be(&[(10, 4), (1000, 4), (1_000_000, 4), (1_000_000, 4)]);
    [header, vec![0; 16], figures, vec![0; 16]].concat()
}

/// Octets and flows of all usage.
fn volume(session: &mut Session) -> (u64, u64) {
    let (mut octets, mut flows) = (0, 0);
    let mut add = |row: fluxoscope::usage::UsageRow| {
        octets += row.sums.octets;
        flows += row.sums.flows;
    };
    session.ledger().for_each_usage(&Default::default(), &mut add).unwrap();
    (octets, flows)
}

/// An exporter whose records wait out the grace time, to the end of the capture, is heard only before the
/// interruption: its records count all the same when the replay has gone on to the end.
#[test]
fn what_waits_for_the_end_of_a_capture_survives_an_interruption() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made.pcap");
    let mut capture = CaptureWriter::create(&path).unwrap();
    let from = |host| SocketAddr::new(Ipv4Addr::new(192, 0, 2, host).into(), 2055);
    let time = UnixMillis(i64::from(EXPORT) * 1000 + 500);
    capture.write(time, from(1), from(9), &silent_v9()).unwrap();
    const REST: u32 = 4200;
    for sequence in 0..REST {
        capture.write(time, from(2), from(9), &v5(sequence)).unwrap();
    }
    capture.finish().unwrap();

    let url = Url::parse("sqlite:ledger.sqlite", directory.path()).unwrap();
    let open = || {
        let ledger = Ledger::open(&url).unwrap();
        Session::open(&fluxoscope::config::Config::builtin(), ledger, 0).unwrap().flush_after(100)
    };
    // Progress is told after 4096 datagrams; many flushes are committed by then.
    let stopped = catch_unwind(AssertUnwindSafe(|| {
        open().replay(&path, 0, &mut |_, _| panic!("this far and no further"))
    }));
    assert!(stopped.is_err());
    let mut session = open();
    let (octets, _) = volume(&mut session);
    assert!((1..u64::from(REST) * 1000).contains(&octets), "interrupted in the middle: {octets}");
    let report = session.replay(&path, 0, &mut |_, _| ()).unwrap();
    assert_eq!((report.held.records, report.held.sets), (0, 0));
    assert_eq!(volume(&mut session), (u64::from(REST) * 1000 + 7000, u64::from(REST) + 1));
}

/// What is written behind a capture while it is read has no part in what the capture is known by: it is told, and not
/// metered, or it would be counted again with the whole file.
#[test]
fn a_capture_that_grows_is_read_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made.pcap");
    let mut capture = CaptureWriter::create(&path).unwrap();
    let (from, to) = ("192.0.2.2:2055".parse().unwrap(), "192.0.2.9:2055".parse().unwrap());
    let time = UnixMillis(i64::from(EXPORT) * 1000 + 500);
    const DATAGRAMS: u32 = 5000;
    for sequence in 0..DATAGRAMS {
        capture.write(time, from, to, &v5(sequence)).unwrap();
    }
    capture.finish().unwrap();
    let made = std::fs::read(&path).unwrap();
    let packet = made[made.len() - (made.len() - 24) / DATAGRAMS as usize..].to_vec();

    let url = Url::parse("sqlite:ledger.sqlite", directory.path()).unwrap();
    let mut session =
        Session::open(&fluxoscope::config::Config::builtin(), Ledger::open(&url).unwrap(), 0).unwrap();
    // Progress is told when 4096 of the datagrams are read.
    let mut grow = |_, _| std::fs::write(&path, [&made[..], &packet].concat()).unwrap();
    let report = session.replay(&path, 0, &mut grow).unwrap();
    assert_eq!(report.grown, 1);
    assert_eq!(volume(&mut session), (u64::from(DATAGRAMS) * 1000, DATAGRAMS.into()));
    // The file as it was is known; the longer one is another.
    std::fs::write(&path, &made).unwrap();
    let again = session.replay(&path, 0, &mut |_, _| ()).unwrap();
    assert!(again.already_complete);
    assert_eq!(again.grown, 0);
}
