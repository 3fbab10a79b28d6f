//! Two replays of one file at the same time, and what a run notes beside usage.

use tempfile::TempDir;

use super::*;
use crate::ledger::Url;

const MESSAGES: u32 = 5000;

/// An IPFIX message of one data record: 10.0.0.1 to 10.0.0.2, 1000 octets, 1 packet; the first one defines it.
fn message(sequence: u32) -> Vec<u8> {
    let halves = |numbers: &[u16]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    let template = halves(&[2, 24, 256, 4, 8, 4, 12, 4, 1, 4, 2, 4]);
    let mut sets = if sequence == 0 { template } else { Vec::new() };
    sets.extend(halves(&[256, 20]));
    sets.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 3, 232, 0, 0, 0, 1]);
    let length = u16::try_from(sets.len() + 16).unwrap();
    let words = [1_767_225_600 + sequence / 100, sequence, 7].map(u32::to_be_bytes).concat();
    [halves(&[10, length]), words, sets].concat()
}

fn session(place: &TempDir) -> Session {
    let url = Url::parse("sqlite:ledger.sqlite", place.path()).unwrap();
    Session::open(&configuration::Config::builtin(), Ledger::open(&url).unwrap(), 0).unwrap()
}

fn octets(session: &mut Session) -> u64 {
    let mut sum = 0;
    let mut add = |row: crate::usage::UsageRow| sum += row.sums.octets;
    session.ledger().for_each_usage(&Default::default(), &mut add).unwrap();
    sum
}

/// While one reads a new file, another puts it into the ledger from end to end.
#[test]
fn who_replays_a_file_that_another_one_replays_is_told_so() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("made.ipfix");
    std::fs::write(&path, (0..MESSAGES).flat_map(message).collect::<Vec<u8>>()).unwrap();
    let length = std::fs::metadata(&path).unwrap().len();
    let mut other = session(&place);
    let mut done = None;
    // Progress is told after 4096 messages, before anything is committed.
    let refused = session(&place).replay(&path, 0, &mut |_, _| {
        if done.is_none() {
            done = Some(other.replay(&path, 0, &mut |_, _| ()).unwrap().totals.records);
        }
    });
    assert_eq!(done, Some(u64::from(MESSAGES)));
    let error = refused.unwrap_err();
    assert!(
        matches!(&error, Error::Overtaken { found, octets, .. } if *found == length && *octets == length),
        "{error:?}"
    );
    let text = error.to_string();
    for part in ["another `replay`", "made.ipfix", "Nothing is counted twice", "run this one again"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(octets(&mut other), u64::from(MESSAGES) * 1000);
    // What the message promises.
    assert!(session(&place).replay(&path, 0, &mut |_, _| ()).unwrap().already_complete);
}

#[test]
fn what_is_noted_is_of_each_file_and_adds_up() {
    let one = |n| Noted { torn_records: n, packets_unpaid: 10 * n, ..Noted::default() };
    let mut report = Report { noted: one(2), ..Report::default() };
    report.merge(&Report { noted: one(3), ..Report::default() });
    assert_eq!(report.noted, one(5));
    let counters = Counters::new(1, 0);
    for address in ["192.0.2.1", "192.0.2.2"] {
        let exporter = crate::counters::Exporter::new(address.to_owned(), address.parse().unwrap());
        exporter.torn_octets.store(7, Relaxed);
        exporter.unknown_observations.store(1, Relaxed);
        counters.exporters.write().unwrap().push(Arc::new(exporter));
    }
    let expected = Noted { torn_octets: 14, unknown_observations: 2, ..Noted::default() };
    assert_eq!(Noted::so_far(&counters), expected);
}

/// A row that two flushes write costs more than two, so a replay keeps more of them than a daemon; but what the operator has
/// said to be too many is.
#[test]
fn a_flush_of_a_replay_has_more_rows_unless_the_operator_says_fewer() {
    let most = |rows: usize| {
        let place = tempfile::tempdir().unwrap();
        let url = Url::parse("sqlite:ledger.sqlite", place.path()).unwrap();
        let mut config = configuration::Config::builtin();
        config.meter.rows_max = rows;
        Session::open(&config, Ledger::open(&url).unwrap(), 0).unwrap().config.meter.rows_max
    };
    let builtin = Config::default().meter.rows_max;
    assert!(FLUSH_ROWS > 2_000_000 && builtin < FLUSH_ROWS);
    assert_eq!([builtin, 1000, FLUSH_ROWS + 1].map(most), [FLUSH_ROWS, 1000, FLUSH_ROWS + 1]);
}
