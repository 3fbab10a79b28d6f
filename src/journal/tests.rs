//! Properties of the journal as a whole.
#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::ids::Session;
use crate::units::UnixMillis;

mod marks;

/// What was appended, with the position after it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Kept {
    received: UnixMillis,
    source: SocketAddr,
    payload: Vec<u8>,
    end: Position,
}

const SMALL: Config = Config {
    segment_octets: 600,
    sync_ms: 10,
    sync_octets: 200,
    queue_octets: 4000,
    retain_ms: None,
    retain_octets: None,
};

/// The `n`th datagram of a test: told apart by all it holds.
fn datagram(n: u32) -> (UnixMillis, SocketAddr, Vec<u8>) {
    let source = if n.is_multiple_of(3) {
        SocketAddr::new(IpAddr::V6(Ipv6Addr::from(u128::from(n) << 64 | 1)), 2055)
    } else {
        SocketAddr::new(IpAddr::from(n.to_be_bytes()), (n % 60_000) as u16)
    };
    let payload = n.to_be_bytes().into_iter().cycle().take(4 + (n as usize * 7) % 90).collect();
    (UnixMillis(1_700_000_000_000 + i64::from(n)), source, payload)
}

/// Appends datagrams `from..to`, as a processor would: what is refused for want of room is tried again.
fn append(writer: &mut Writer, from: u32, to: u32) -> Vec<Kept> {
    let mut kept = Vec::new();
    for n in from..to {
        let (received, source, payload) = datagram(n);
        let end = loop {
            match writer.append(received, source, &payload) {
                Ok(end) => break end,
                Err(Refused::Full) => thread::yield_now(),
                Err(refused) => panic!("{refused}"),
            }
        };
        kept.push(Kept { received, source, payload, end });
    }
    kept
}

fn run(syncer: Syncer) -> thread::JoinHandle<()> {
    thread::spawn(move || syncer.run())
}

/// A journal with `count` datagrams, closed.
fn written(directory: &Path, config: &Config, count: u32) -> Vec<Kept> {
    let (mut writer, syncer, durable) = open(directory, config).unwrap();
    let thread = run(syncer);
    let kept = append(&mut writer, 0, count);
    let end = writer.end();
    drop(writer);
    thread.join().unwrap();
    assert_eq!(durable.position(), end);
    assert_eq!((durable.frames(), durable.lost()), (u64::from(count), Lost::default()));
    assert_eq!(durable.queue().current.load(std::sync::atomic::Ordering::Relaxed), 0);
    kept
}

/// All frames from `from` on, up to the end or the first damage.
fn read(directory: &Path, from: Position) -> (Vec<Kept>, Option<Error>) {
    let mut reader = Reader::open(directory, from).unwrap();
    let mut kept = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(frame)) => kept.push(own(&frame)),
            Ok(None) => return (kept, None),
            Err(error) => return (kept, Some(error)),
        }
    }
}

fn own(frame: &Frame<'_>) -> Kept {
    Kept { received: frame.received, source: frame.source, payload: frame.payload.to_vec(), end: frame.end }
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    segment::list(directory).unwrap().into_iter().map(|(_, path)| path).collect()
}

#[test]
fn a_frame_is_laid_out_as_described() {
    let directory = TempDir::new().unwrap();
    let (mut writer, syncer, _) = open(directory.path(), &Config::default()).unwrap();
    let thread = run(syncer);
    let end = writer.append(UnixMillis(0x0102), "1.2.3.4:258".parse().unwrap(), b"abc").unwrap();
    drop(writer);
    thread.join().unwrap();
    assert_eq!(end, Position(8 + 8 + 2 + 1 + 4 + 3));
    let path = directory.path().join("00000000000000000000.journal");
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..12], b"fluxjrnl\x01\0\0\0");
    assert_eq!(&bytes[16..24], &[0; 8]);
    let body = b"\x02\x01\0\0\0\0\0\0\x02\x01\x04\x01\x02\x03\x04abc";
    assert_eq!(bytes[24..28], 18_u32.to_le_bytes());
    assert_eq!(&bytes[32..], body);
    let covered = [&[0; 8], &18_u32.to_le_bytes()[..], body].concat();
    assert_eq!(bytes[28..32], crc32fast::hash(&covered).to_le_bytes());
}

#[test]
fn frames_come_back_over_segments_from_any_position() {
    let directory = TempDir::new().unwrap();
    let kept = written(directory.path(), &SMALL, 100);
    assert!(segments(directory.path()).len() > 5);
    for start in 0..=kept.len() {
        let from = if start == 0 { Position(0) } else { kept[start - 1].end };
        let (found, error) = read(directory.path(), from);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(found, kept[start..]);
    }
}

#[test]
fn appending_goes_on_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let mut kept = written(directory.path(), &SMALL, 10);
    for round in 1..5 {
        let (mut writer, syncer, _) = open(directory.path(), &SMALL).unwrap();
        assert_eq!((writer.end(), writer.cut_octets()), (kept.last().unwrap().end, 0));
        let thread = run(syncer);
        kept.extend(append(&mut writer, round * 10, round * 10 + 10));
        drop(writer);
        thread.join().unwrap();
    }
    assert_eq!(read(directory.path(), Position(0)).0, kept);
}

#[test]
fn two_writers_cannot_have_one_journal() {
    let directory = TempDir::new().unwrap();
    let first = open(directory.path(), &SMALL).unwrap();
    assert!(matches!(open(directory.path(), &SMALL), Err(Error::Locked { .. })));
    drop(first);
    open(directory.path(), &SMALL).unwrap();
}

#[test]
fn positions_that_the_ledger_has_committed_are_not_used_again() {
    let directory = TempDir::new().unwrap();
    let kept = written(directory.path(), &SMALL, 10);
    let end = kept.last().unwrap().end;
    let committed = Position(end.0 + 1000);
    let (mut writer, syncer, durable) = open_at(directory.path(), &SMALL, committed).unwrap();
    assert_eq!((writer.end(), durable.position()), (committed, committed));
    let thread = run(syncer);
    let more = append(&mut writer, 10, 20);
    drop(writer);
    thread.join().unwrap();
    assert_eq!(read(directory.path(), committed).0, more);
    // From inside the gap, and over it.
    assert_eq!(read(directory.path(), Position(end.0 + 1)).0, more);
    let mut reader = Reader::open(directory.path(), Position(0)).unwrap();
    let mut found = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        found.push(own(&frame));
    }
    assert_eq!(found, [kept, more].concat());
    assert_eq!(reader.gap_octets(), 1000);
}

#[test]
fn what_is_not_retained_is_said_so() {
    let directory = TempDir::new().unwrap();
    written(directory.path(), &SMALL, 100);
    fs::remove_file(&segments(directory.path())[0]).unwrap();
    let error = Reader::open(directory.path(), Position(0)).unwrap_err();
    assert!(matches!(error, Error::NotRetained { from: Position(0), .. }), "{error}");
}

#[test]
fn a_queue_without_a_syncer_fills_and_refuses_and_keeps_the_position() {
    let directory = TempDir::new().unwrap();
    let (mut writer, syncer, durable) = open(directory.path(), &SMALL).unwrap();
    let mut kept = Vec::new();
    let refused = loop {
        let (received, source, payload) = datagram(kept.len() as u32);
        match writer.append(received, source, &payload) {
            Ok(end) => kept.push(Kept { received, source, payload, end }),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Refused::Full);
    let end = kept.last().unwrap().end;
    assert_eq!(writer.end(), end);
    let table = crate::counters::Table::default();
    durable.publish(&table);
    let numbers = [&table.limit, &table.current, &table.high_water, &table.failures]
        .map(|it| it.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(numbers, [4000, end.0, end.0, 1]);
    assert!(end.0 <= 4000);
    assert!(!durable.wait_until(end, Duration::from_millis(1)));
    // With a syncer, all of it arrives, and the queue takes more.
    let thread = run(syncer);
    writer.hand_over();
    assert!(durable.wait_until(end, Duration::from_secs(60)));
    kept.extend(append(&mut writer, kept.len() as u32, kept.len() as u32 + 5));
    drop(writer);
    thread.join().unwrap();
    assert_eq!(read(directory.path(), Position(0)).0, kept);
}

#[test]
fn a_tick_hands_over_what_is_old_enough() {
    let directory = TempDir::new().unwrap();
    let (mut writer, syncer, durable) = open(directory.path(), &SMALL).unwrap();
    let thread = run(syncer);
    let end = append(&mut writer, 0, 1)[0].end;
    let begun = Instant::now();
    writer.tick(begun);
    writer.tick(begun + Duration::from_millis(9));
    assert_eq!(durable.position(), Position(0));
    writer.tick(begun + Duration::from_millis(10));
    assert!(durable.wait_until(end, Duration::from_secs(60)));
    drop(writer);
    thread.join().unwrap();
}

#[test]
fn a_payload_longer_than_udp_allows_is_refused() {
    let directory = TempDir::new().unwrap();
    let (mut writer, _syncer, _) = open(directory.path(), &Config::default()).unwrap();
    let source = "[::1]:1".parse().unwrap();
    assert_eq!(writer.append(UnixMillis(0), source, &[0; 65_536]), Err(Refused::TooLong));
    assert_eq!(writer.append(UnixMillis(0), source, &[0; 65_535]), Ok(Position(8 + 11 + 16 + 65_535)));
}

#[test]
fn a_reader_follows_the_writer_and_sees_every_frame_once() {
    let directory = TempDir::new().unwrap();
    let (mut writer, syncer, durable) = open(directory.path(), &SMALL).unwrap();
    let thread = run(syncer);
    let path = directory.path().to_owned();
    let follower = thread::spawn(move || {
        let mut reader = Reader::open(&path, Position(0)).unwrap();
        let mut found = Vec::new();
        // Each segment is synchronised, and a disk may be slow: what is waited for is the next frame.
        let mut moved = Instant::now();
        while found.len() < 3000 && moved.elapsed() < Duration::from_secs(60) {
            match reader.next().unwrap() {
                Some(frame) => {
                    found.push(own(&frame));
                    moved = Instant::now();
                }
                None => thread::yield_now(),
            }
        }
        found
    });
    let kept = append(&mut writer, 0, 3000);
    writer.hand_over();
    let found = follower.join().unwrap();
    assert_eq!(found.len(), kept.len());
    assert!(found == kept, "other frames");
    assert!(durable.wait_until(writer.end(), Duration::from_secs(60)));
    drop(writer);
    thread.join().unwrap();
}

/// The disk is full when the next segment is begun, because its name leads to a device that is always full.
#[test]
fn a_full_disk_loses_nothing_silently_and_appending_goes_on() {
    let directory = TempDir::new().unwrap();
    let (mut writer, mut syncer, durable) = open(directory.path(), &SMALL).unwrap();
    syncer.retry = Duration::from_millis(1);
    let thread = run(syncer);
    let first = append(&mut writer, 0, 8);
    writer.hand_over();
    let end = writer.end();
    assert!(durable.wait_until(end, Duration::from_secs(60)));
    std::os::unix::fs::symlink("/dev/full", segment::path(directory.path(), end)).unwrap();
    // More than fits into the first segment, and some that is still in the writer's buffer.
    let lost = append(&mut writer, 8, 11);
    writer.hand_over();
    let stop = writer.end();
    let begun = Instant::now();
    while durable.lost().frames == 0 && begun.elapsed() < Duration::from_secs(60) {
        thread::yield_now();
    }
    assert_eq!(durable.lost(), Lost { frames: 3, octets: stop.0 - end.0 });
    // A refused datagram is not lost but refused; the writer's tick alone makes the journal recover.
    while durable.failed() && begun.elapsed() < Duration::from_secs(60) {
        writer.tick(Instant::now());
        thread::yield_now();
    }
    let second = append(&mut writer, 20, 40);
    drop(writer);
    thread.join().unwrap();
    assert_eq!(durable.frames(), 28);
    assert_eq!(durable.lost().frames, lost.len() as u64);
    assert_eq!(read(directory.path(), Position(0)).0, [first, second].concat());
}

/// Set for the child process of the test below: the directory of its journal.
const CHILD: &str = "JOURNAL_TEST_DIRECTORY";
const CHILD_COUNT: u32 = 20_000;

/// The child's part: appends as fast as it can while every file ends at 64 KiB, and says what became of it.
#[test]
fn writes_to_a_disk_that_fills_again_and_again() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let config = Config { segment_octets: 1 << 20, sync_octets: 4096, queue_octets: 1 << 16, ..SMALL };
    let (mut writer, mut syncer, durable) = open(Path::new(&directory), &config).unwrap();
    syncer.retry = Duration::from_millis(1);
    let thread = run(syncer);
    let (mut appended, mut failed) = (String::new(), 0);
    for n in 0..CHILD_COUNT {
        let (received, source, payload) = datagram(n);
        let result = loop {
            match writer.append(received, source, &payload) {
                Err(Refused::Full) => thread::yield_now(),
                other => break other,
            }
        };
        match result {
            Ok(end) => appended.push_str(&format!("\nappended {n} {}", end.0)),
            Err(_) => {
                failed += 1;
                thread::yield_now();
            }
        }
    }
    drop(writer);
    thread.join().unwrap();
    let lost = durable.lost();
    print!("{appended}\nsummary {failed} {} {}\n", durable.frames(), lost.frames);
}

#[test]
fn writes_cut_short_in_the_middle_lose_nothing_silently() {
    let directory = TempDir::new().unwrap();
    // File sizes count in units of 512 octets; without the trap the signal would end the process.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg("journal::tests::writes_to_a_disk_that_fills_again_and_again")
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let numbers = |word: &str| -> Vec<Vec<u64>> {
        text.lines()
            .filter_map(|line| line.strip_prefix(word))
            .map(|rest| rest.split_whitespace().map(|number| number.parse().unwrap()).collect())
            .collect()
    };
    let [failed, durable, lost] = numbers("summary")[0][..] else { panic!("{text}") };
    let appended: Vec<Kept> = numbers("appended")
        .iter()
        .map(|pair| {
            let (received, source, payload) = datagram(pair[0] as u32);
            Kept { received, source, payload, end: Position(pair[1]) }
        })
        .collect();
    // Every datagram is refused or appended, and every one appended is on disk or counted as lost.
    assert_eq!(appended.len() as u64 + failed, u64::from(CHILD_COUNT));
    assert_eq!(durable + lost, appended.len() as u64);
    assert!(lost > 0, "the limit of 64 KiB was reached");
    let (found, error) = read(directory.path(), Position(0));
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found.len() as u64, durable);
    let ends: BTreeSet<Position> = found.iter().map(|it| it.end).collect();
    let expected: Vec<Kept> = appended.into_iter().filter(|it| ends.contains(&it.end)).collect();
    assert_eq!(found, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// A crash leaves whole segments and a part of the newest: what is read then is what was written first.
    #[test]
    fn any_prefix_of_the_files_recovers_a_prefix_of_the_frames(count in 1_u32..60, keep in 0_f64..=1.0) {
        let directory = TempDir::new().unwrap();
        let kept = written(directory.path(), &SMALL, count);
        let total: u64 = segments(directory.path()).iter().map(|it| fs::metadata(it).unwrap().len()).sum();
        let mut rest = (total as f64 * keep) as u64;
        for path in segments(directory.path()) {
            let octets = fs::metadata(&path).unwrap().len();
            if rest == 0 {
                fs::remove_file(&path).unwrap();
            } else if rest < octets {
                File::options().write(true).open(&path).unwrap().set_len(rest).unwrap();
            }
            rest = rest.saturating_sub(octets);
        }
        let (mut writer, syncer, _) = open(directory.path(), &SMALL).unwrap();
        let survived = kept.iter().take_while(|it| it.end <= writer.end()).count();
        let end = if survived == 0 { Position(0) } else { kept[survived - 1].end };
        prop_assert_eq!(writer.end(), end);
        let thread = run(syncer);
        let more = append(&mut writer, 100, 110);
        drop(writer);
        thread.join().unwrap();
        let (found, error) = read(directory.path(), Position(0));
        prop_assert!(error.is_none());
        prop_assert_eq!(found, [&kept[..survived], &more].concat());
    }

    /// Damage anywhere is noticed: every frame read is one that was written, at its place, in order.
    #[test]
    fn a_flipped_octet_never_yields_a_wrong_frame(count in 1_u32..40, place in 0_f64..1.0, flip in 1_u8..=255) {
        let directory = TempDir::new().unwrap();
        let kept = written(directory.path(), &SMALL, count);
        let paths = segments(directory.path());
        let path = &paths[(paths.len() as f64 * place) as usize];
        let mut bytes = fs::read(path).unwrap();
        let at = (bytes.len() as f64 * (place * 997.0).fract()) as usize;
        bytes[at] ^= flip;
        fs::write(path, &bytes).unwrap();
        let Ok(mut reader) = Reader::open(directory.path(), Position(0)) else { return Ok(()) };
        let (mut found, mut errors) = (Vec::new(), 0);
        while errors < 3 {
            match reader.next() {
                Ok(Some(frame)) => found.push(own(&frame)),
                Ok(None) => break,
                Err(_) => errors += 1,
            }
        }
        prop_assert!(found.len() < kept.len());
        // In the newest segment, damage may look like an end that is still being written.
        prop_assert!(errors > 0 || Some(path) == paths.last());
        prop_assert!(found.iter().all(|it| kept.contains(it)));
        prop_assert!(found.is_sorted_by_key(|it| it.end));
    }

    /// The same once the journal has been repaired: then reading meets no damage in the newest segment, and goes on
    /// into what is appended afterwards.
    #[test]
    fn a_repaired_journal_goes_on(count in 1_u32..40, place in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        let directory = TempDir::new().unwrap();
        let kept = written(directory.path(), &SMALL, count);
        let path = segments(directory.path()).pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = 24 + place.index(bytes.len() - 24);
        bytes[at] ^= flip;
        fs::write(&path, &bytes).unwrap();
        let committed = kept.last().unwrap().end;
        let (mut writer, syncer, _) = open_at(directory.path(), &SMALL, committed).unwrap();
        prop_assert!(writer.cut_octets() > 0);
        prop_assert_eq!(writer.end(), committed);
        let thread = run(syncer);
        let more = append(&mut writer, 100, 110);
        drop(writer);
        thread.join().unwrap();
        let mut reader = Reader::open(directory.path(), Position(0)).unwrap();
        let mut found = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            found.push(own(&frame));
        }
        let survived = found.len() - more.len();
        prop_assert_eq!(&found[..survived], &kept[..survived]);
        prop_assert_eq!(&found[survived..], &more);
        prop_assert!(survived < kept.len() && reader.gap_octets() > 0);
    }

    /// Only what is committed goes, only from the old end, never the newest segment.
    #[test]
    fn retention_never_deletes_what_is_not_committed(
        count in 1_u32..80, commit in 0_f64..=1.0, age in 0_i64..100, limit in 0_u64..6000,
    ) {
        let directory = TempDir::new().unwrap();
        let kept = written(directory.path(), &SMALL, count);
        let committed = kept[((kept.len() - 1) as f64 * commit) as usize].end;
        let config = Config { retain_ms: Some(age), retain_octets: Some(limit), ..SMALL };
        let before: u64 = segments(directory.path()).iter().map(|it| fs::metadata(it).unwrap().len()).sum();
        let now = UnixMillis(1_700_000_000_000 + i64::from(count));
        let removed = retain(directory.path(), &config, committed, now).unwrap();
        let left = segment::list(directory.path()).unwrap();
        let after: u64 = left.iter().map(|(_, it)| fs::metadata(it).unwrap().len()).sum();
        prop_assert_eq!(before - after, removed.octets);
        prop_assert!(!left.is_empty());
        let (found, error) = read(directory.path(), committed);
        prop_assert!(error.is_none());
        let expected: Vec<_> = kept.iter().filter(|it| it.end > committed).cloned().collect();
        prop_assert_eq!(found, expected);
        // What could go did go: the oldest left is needed, newest, or neither old nor too much.
        if let [(_, _), (next, _), ..] = left.as_slice() && *next <= committed {
            prop_assert!(after <= limit);
            let first = kept.iter().find(|it| it.end > *next).unwrap();
            prop_assert!(now.since(first.received) <= age);
        }
    }
}

/// What came over TCP comes back with its session, boundaries too; but a boundary that is lost is no lost datagram.
#[test]
fn sessions_are_kept_and_their_boundaries_not_counted() {
    let directory = TempDir::new().unwrap();
    let (mut writer, syncer, durable) = open(directory.path(), &SMALL).unwrap();
    let thread = run(syncer);
    let source = |text: &str| text.parse::<SocketAddr>().unwrap();
    let kept = [
        (None, source("192.0.2.1:2055"), &b""[..]),
        (Some(Session(40_000)), source("192.0.2.1:40000"), b""),
        (Some(Session(40_000)), source("192.0.2.1:40000"), b"message"),
        (None, source("[2001:db8::1]:2055"), b"datagram"),
        (Some(Session(7)), source("[2001:db8::1]:40001"), b"another"),
        (Some(Session(7)), source("[2001:db8::1]:40001"), b""),
    ];
    for (session, source, payload) in kept {
        writer.append_in(session, UnixMillis(5), source, payload).unwrap();
    }
    drop(writer);
    thread.join().unwrap();
    assert_eq!(durable.frames(), 4);
    let mut reader = Reader::open(directory.path(), Position(0)).unwrap();
    for (session, source, payload) in kept {
        let frame = reader.next().unwrap().unwrap();
        let port = session.map_or_else(|| source.port(), |session| session.0);
        assert_eq!((frame.session, frame.payload), (session, payload));
        assert_eq!(frame.source, SocketAddr::new(source.ip(), port));
    }
    assert_eq!(reader.next().unwrap(), None);
}
