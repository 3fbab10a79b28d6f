//! What a journal says that has lost its beginning.

use std::fs;

use tempfile::TempDir;

use super::*;

/// 2026-01-15T00:00:00Z, as in the datagrams.
const NOW: UnixMillis = UnixMillis(1_768_435_200_000);
/// Template 256: octets and packets, 4 octets each.
const TEMPLATE: [u8; 16] = [0, 0, 0, 16, 1, 0, 0, 2, 0, 1, 0, 4, 0, 2, 0, 4];
/// A record of it: 1000 octets, 10 packets.
const RECORD: [u8; 12] = [1, 0, 0, 12, 0, 0, 3, 232, 0, 0, 0, 10];

/// A NetFlow v9 datagram with these sets, of export second `seconds` after [`NOW`].
fn v9(sequence: u8, seconds: u32, sets: &[&[u8]]) -> Vec<u8> {
    let mut datagram = vec![0, 9, 0, u8::try_from(sets.len()).expect("few")];
    datagram.extend([0; 4]);
    datagram.extend((1_768_435_200 + seconds).to_be_bytes());
    datagram.extend([0, 0, 0, sequence, 0, 0, 0, 7]);
    datagram.extend(sets.concat());
    datagram
}

/// A state directory with a journal: a template with a record, and two more records, 300 seconds apart, each datagram in a
/// segment of its own.
fn journal() -> TempDir {
    let directory = TempDir::new().expect("a directory");
    let config = journal::Config { segment_octets: 80, ..journal::Config::default() };
    let (mut writer, syncer, _) = journal::open(&directory.path().join("0"), &config).expect("a journal");
    let thread = std::thread::spawn(move || syncer.run());
    let datagrams =
        [v9(0, 1, &[&TEMPLATE, &RECORD]), v9(1, 300, &[&RECORD]), v9(2, 600, &[&RECORD])].into_iter();
    for (datagram, n) in datagrams.zip(0..) {
        let source = "127.0.0.1:9".parse().expect("an address");
        // The grace time of ten minutes is not over with the last one.
        writer.append(NOW.plus((n * 300_000).max(1000)), source, &datagram).expect("there is room");
        // The next one goes into another segment.
        writer.hand_over();
    }
    drop(writer);
    thread.join().expect("it ends");
    directory
}

/// Octets from a bucket on, read when it is so many milliseconds later; those that came out by waiting apart.
fn read(directory: &TempDir, from: i64, later: i64) -> Result<([u64; 2], Wanting), Error> {
    let config = Config::builtin();
    let registry = registry();
    setup::rehearse(&config, true, &registry)?;
    let mut octets = [0; 2];
    let when = (BucketStart(NOW.seconds() + from), Some(NOW.plus(later)));
    let wanting =
        Stages { registry }.read(&config, directory.path(), &HashMap::new(), when, &mut |part| {
            octets[usize::from(part.waited)] += part.usage.iter().map(|row| row.sums.octets).sum::<u64>();
        })?;
    Ok((octets, wanting))
}

#[test]
fn a_journal_without_the_template_says_what_it_lacks() {
    let directory = journal();
    // Nothing tells the sampling rate: it comes to usage when it has waited long enough.
    let (octets, wanting) = read(&directory, 0, 600_500).expect("reads");
    assert_eq!((octets, wanting), ([0, 0], Wanting { expired: 0, held: 3 }));
    let whole = read(&directory, 0, 3_000_000).expect("reads");
    assert_eq!(whole, ([0, 3000], Wanting::default()));

    let mut segments: Vec<_> = fs::read_dir(directory.path().join("0"))
        .expect("the journal")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .collect();
    segments.sort();
    assert_eq!(segments.len(), 3, "{segments:?}");
    fs::remove_file(&segments[0]).expect("removed");
    // What is retained begins before this bucket, and its template came before that.
    let (octets, wanting) = read(&directory, 600, 3_000_000).expect("reads");
    assert_eq!((octets, wanting), ([0, 0], Wanting { expired: 0, held: 2 }));
    // An hour later they have waited in vain.
    let (octets, wanting) = read(&directory, 600, 5_000_000).expect("reads");
    assert_eq!((octets, wanting.held), ([0, 0], 0));
    assert!(wanting.expired >= 2, "{wanting:?}");
    // And what began before it cannot be told at all.
    let refused = read(&directory, 0, 3_000_000).map_err(|error| error.to_string());
    let oldest = "2026-01-15T00:05:00Z";
    assert!(
        matches!(&refused, Err(said) if said.contains(&format!("retained from {oldest}"))),
        "{refused:?}"
    );
}

/// An IPFIX message of export second `seconds` after [`NOW`]: the template and the record of it.
fn ipfix(seconds: u32) -> Vec<u8> {
    let mut message = vec![0, 10, 0, 44];
    message.extend((1_768_435_200 + seconds).to_be_bytes());
    message.extend([0, 0, 0, 0, 0, 0, 0, 7]);
    // The set of templates is number 2 here.
    message.extend([&[0, 2], &TEMPLATE[2..], &RECORD].concat());
    message
}

/// Within an hour the daemon was killed twenty times, with sixteen connections open each time whose ends nobody wrote down.
#[test]
fn sessions_that_a_crash_cut_off_are_over_in_the_next_run() {
    let directory = TempDir::new().expect("a directory");
    for run in 0..20 {
        let (mut writer, syncer, _) =
            journal::open(&directory.path().join("0"), &journal::Config::default()).expect("a journal");
        let thread = std::thread::spawn(move || syncer.run());
        writer.set_version(None);
        let source = "127.0.0.1:9".parse().expect("an address");
        for n in 0..16 {
            let session = Some(Session(100 * run + n));
            let received = NOW.plus(1000 * i64::from(run));
            for payload in [&[][..], &ipfix(run.into())] {
                writer.append_in(session, received, source, payload).expect("there is room");
            }
        }
        drop(writer);
        thread.join().expect("it ends");
    }
    // Each of them waits to see whether its session announces a sampling rate.
    let (octets, wanting) = read(&directory, 0, 3_000_000).expect("reads");
    assert_eq!((octets[0] + octets[1], wanting), (20 * 16 * 1000, Wanting::default()));
}
