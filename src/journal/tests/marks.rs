//! Marks: under which configuration version frames were received.

use super::*;
use crate::ids::VersionHash;
use crate::journal::frame::MARK_OCTETS;

fn version(n: u8) -> VersionHash {
    VersionHash([n; 32])
}

/// Which versions frames have that are read from `from` on.
fn versions(directory: &Path, from: Position) -> Vec<Option<VersionHash>> {
    let mut reader = Reader::open_marked(directory, from).unwrap();
    let mut versions = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        versions.push(frame.version);
    }
    versions
}

/// A journal of twelve datagrams in short buffers and segments: six under the first version, three under the second, and
/// three of which no stored version says anything. The places behind each.
fn marked(directory: &Path) -> Vec<Kept> {
    let (mut writer, syncer, durable) = open(directory, &SMALL).unwrap();
    let thread = run(syncer);
    let mut kept = Vec::new();
    for (from, to, under) in [(0, 6, Some(version(1))), (6, 9, Some(version(2))), (9, 12, None)] {
        writer.set_version(under);
        // Saying the same again changes nothing.
        writer.set_version(under);
        kept.append(&mut append(&mut writer, from, to));
    }
    drop(writer);
    thread.join().unwrap();
    // A mark is no frame: nobody counts it as a datagram.
    assert_eq!((durable.frames(), durable.position()), (12, kept[11].end));
    kept
}

fn expected() -> Vec<Option<VersionHash>> {
    [[Some(version(1)); 6].as_slice(), &[Some(version(2)); 3], &[None; 3]].concat()
}

/// From wherever it is read, each frame has its version, and what it held.
#[test]
fn a_frame_has_the_version_that_it_was_received_under() {
    let directory = TempDir::new().unwrap();
    let kept = marked(directory.path());
    assert!(segments(directory.path()).len() > 2, "marks must not depend on the first segment");
    assert_eq!(versions(directory.path(), Position(0)), expected());
    assert_eq!(read(directory.path(), Position(0)).0, kept);
    for (at, one) in kept.iter().enumerate() {
        assert_eq!(versions(directory.path(), one.end), expected()[at + 1..], "behind frame {at}");
    }
}

/// Old segments go; those that are left say all that is needed.
#[test]
fn each_segment_begins_with_a_mark() {
    let directory = TempDir::new().unwrap();
    marked(directory.path());
    let starts: Vec<_> = segment::list(directory.path()).unwrap();
    for (start, path) in &starts {
        let bytes = fs::read(path).unwrap();
        let first = frame::decode(&bytes[segment::HEADER_OCTETS as usize..], *start);
        assert!(matches!(first, frame::Decoded::Mark(_)), "{first:?}");
    }
    let all = versions(directory.path(), Position(0));
    for (start, path) in starts.iter().rev().skip(1).rev() {
        fs::remove_file(path).unwrap();
        let (next, _) = starts.iter().find(|(other, _)| other > start).unwrap();
        let left = versions(directory.path(), *next);
        assert_eq!(left, all[all.len() - left.len()..]);
        assert!(!left.is_empty());
    }
    // A segment is as old as its first frame, which is a mark.
    let (start, path) = starts.last().unwrap();
    assert!(segment::first_received(path, *start).unwrap().unwrap() >= UnixMillis(1_700_000_000_000));
}

/// However much of the last mark, and of the frame behind it, a crash leaves: what is whole stays, what is appended next
/// has a mark of its own.
#[test]
fn a_torn_mark_is_cut_off() {
    let config = Config::default();
    let whole = {
        let directory = TempDir::new().unwrap();
        let (mut writer, syncer, _) = open(directory.path(), &config).unwrap();
        let thread = run(syncer);
        writer.set_version(Some(version(1)));
        let one = append(&mut writer, 0, 1);
        writer.set_version(Some(version(2)));
        append(&mut writer, 1, 2);
        drop(writer);
        thread.join().unwrap();
        (fs::read(&segments(directory.path())[0]).unwrap(), one[0].end.0 as usize)
    };
    let (bytes, behind_one) = (whole.0, segment::HEADER_OCTETS as usize + whole.1);
    for kept in behind_one..bytes.len() {
        let directory = TempDir::new().unwrap();
        let path = segment::path(directory.path(), Position(0));
        fs::write(&path, &bytes[..kept]).unwrap();
        let (mut writer, syncer, _) = open(directory.path(), &config).unwrap();
        // A whole mark with a torn frame behind it may stay.
        let stays = if kept >= behind_one + MARK_OCTETS { MARK_OCTETS } else { 0 };
        assert_eq!(writer.end().0 as usize, whole.1 + stays);
        let thread = run(syncer);
        writer.set_version(Some(version(3)));
        append(&mut writer, 2, 3);
        drop(writer);
        thread.join().unwrap();
        assert_eq!(versions(directory.path(), Position(0)), [Some(version(1)), Some(version(3))]);
    }
}

/// Journals of before there were marks, and such as somebody goes on with who marks.
#[test]
fn a_journal_without_marks_tells_no_version() {
    let directory = TempDir::new().unwrap();
    let kept = written(directory.path(), &SMALL, 7);
    assert_eq!(versions(directory.path(), Position(0)), [None; 7]);
    let (mut writer, syncer, _) = open(directory.path(), &SMALL).unwrap();
    let thread = run(syncer);
    writer.set_version(Some(version(1)));
    append(&mut writer, 7, 9);
    drop(writer);
    thread.join().unwrap();
    let all = versions(directory.path(), Position(0));
    assert_eq!(all, [[None; 7].as_slice(), &[Some(version(1)); 2]].concat());
    assert_eq!(versions(directory.path(), kept[6].end), [Some(version(1)); 2]);
}

/// What was lost has its marks lost with it: the next segment begins with one.
#[test]
fn reading_from_inside_a_lost_stretch_finds_the_mark_behind_it() {
    let directory = TempDir::new().unwrap();
    let (mut writer, syncer, _) = open_at(directory.path(), &SMALL, Position(0)).unwrap();
    let thread = run(syncer);
    writer.set_version(Some(version(1)));
    let first = append(&mut writer, 0, 2);
    drop(writer);
    thread.join().unwrap();
    // The ledger is ahead of what the disk kept.
    let committed = Position(first[1].end.0 + 500);
    let (mut writer, syncer, _) = open_at(directory.path(), &SMALL, committed).unwrap();
    let thread = run(syncer);
    writer.set_version(Some(version(2)));
    append(&mut writer, 2, 4);
    drop(writer);
    thread.join().unwrap();
    assert_eq!(versions(directory.path(), Position(committed.0 - 1)), [Some(version(2)); 2]);
    assert_eq!(versions(directory.path(), committed), [Some(version(2)); 2]);
}

/// Runs are told apart wherever reading begins, and however they ended.
#[test]
fn a_new_run_is_told_from_the_one_before() {
    let directory = TempDir::new().unwrap();
    let mut kept = Vec::new();
    for run in 0..3 {
        let (mut writer, syncer, _) = open(directory.path(), &SMALL).unwrap();
        let thread = super::run(syncer);
        writer.set_version(Some(version(1)));
        kept.append(&mut append(&mut writer, 4 * run, 4 * run + 4));
        drop(writer);
        thread.join().unwrap();
    }
    let runs = |from| {
        let mut reader = Reader::open_marked(directory.path(), from).unwrap();
        let mut runs = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            runs.push(frame.runs);
        }
        runs
    };
    assert_eq!(runs(Position(0)), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!(runs(kept[1].end), [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    // From the end of a run on: the next frame is of another one than what is before.
    assert_eq!(runs(kept[3].end), [1, 1, 1, 1, 2, 2, 2, 2]);

    let exporter = IpAddr::from([192, 0, 2, 1]);
    let mut seen = Runs::default();
    let mut is_another = |journal, runs| seen.is_another(exporter, journal, runs);
    assert_eq!(
        [(0, 0), (0, 0), (0, 1), (1, 1), (1, 1)].map(|(n, runs)| is_another(n, runs)),
        [false, false, true, true, false]
    );
    assert!(Runs::default().is_another(exporter, 0, 1), "what is remembered is of the run before");
}
