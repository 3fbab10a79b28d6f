//! The fuzz targets' corpus, replayed without a fuzzer: every input as it is, cut at every octet, with every octet set
//! to 0 and to 255, and with every second number of two octets, which is where lengths are, one greater and
//! as great as can be.

use std::fs;
use std::path::{Path, PathBuf};

#[allow(unreachable_pub, reason = "the fuzz targets are other crates")]
#[path = "../../fuzz/bodies.rs"]
mod bodies;

use bodies::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The inputs of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    names(&folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

/// Runs `body` over an input and all that is made of it.
fn replay(name: &str, input: &[u8], body: fn(&[u8])) {
    // Says which one it was where a body panics.
    struct Running<'a>(&'a str, String);
    impl Drop for Running<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("while replaying {}, {}", self.0, self.1);
            }
        }
    }
    let run = |input: &[u8], change: String| {
        let running = Running(name, change);
        body(input);
        drop(running);
    };
    run(input, "as it is".to_owned());
    for cut in 0..input.len() {
        run(&input[..cut], format!("cut at {cut}"));
    }
    let mut changed = input.to_vec();
    for at in 0..input.len() {
        for octet in [0, 0xff] {
            changed[at] = octet;
            run(&changed, format!("octet {at} set to {octet}"));
        }
        changed[at] = input[at];
        if at % 2 == 1 {
            continue;
        }
        let Some(&number) = input[at..].first_chunk::<2>() else { continue };
        let number = u16::from_be_bytes(number);
        for other in [number.wrapping_add(1), 0xffff] {
            changed[at..at + 2].copy_from_slice(&other.to_be_bytes());
            run(&changed, format!("number at {at} set to {other}"));
        }
        changed[at..at + 2].copy_from_slice(&input[at..at + 2]);
    }
}

fn replay_target(target: &str) {
    let (_, body) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let inputs = corpus(target);
    assert!(!inputs.is_empty());
    for (name, input) in inputs {
        replay(&format!("{target}/{name}"), &input, body);
    }
}

#[test]
fn every_target_has_a_file_and_a_corpus() {
    let mut targets = TARGETS.map(|(name, _)| name.to_owned()).to_vec();
    targets.sort();
    assert_eq!(names(&fuzz().join("corpus")), targets);
    let files: Vec<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&fuzz().join("fuzz_targets")), files);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for target in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
    }
}

#[test]
fn the_corpus_of_fixed_records() {
    for target in ["netflow1", "netflow5", "netflow7", "netflow8"] {
        replay_target(target);
    }
}

#[test]
fn the_corpus_of_netflow9() {
    replay_target("netflow9");
}

#[test]
fn the_corpus_of_ipfix() {
    replay_target("ipfix");
}

#[test]
fn the_corpus_of_sflow() {
    replay_target("sflow");
}

#[test]
fn the_corpus_of_frame_sections() {
    replay_target("frame_section");
}

#[test]
fn the_corpus_of_captures() {
    replay_target("pcap");
    replay_target("pcapng");
}

#[test]
fn the_corpus_of_message_files() {
    replay_target("message_file");
}

#[test]
fn the_corpus_of_connections() {
    replay_target("tcp");
}

/// Whole messages, and octets behind them, of what is in a file and what comes over TCP.
#[test]
fn the_corpus_of_messages_is_sound() {
    for target in ["message_file", "tcp"] {
        for (name, input) in corpus(target) {
            let (messages, rest) = bodies::messages(&input);
            let expected = match name.as_str() {
                "messages" => (3, 0),
                // Five octets of the last message's header are missing.
                "cut" => (2, 11),
                "something-else-behind" => (2, 18),
                "no-message" => (0, input.len()),
                _ => panic!("{target}/{name}"),
            };
            assert_eq!((messages.len(), rest.len()), expected, "{target}/{name}");
        }
    }
}

#[test]
fn the_corpus_of_the_journal() {
    replay_target("journal");
}

#[test]
fn the_corpus_of_snmp() {
    replay_target("snmp");
}

/// Also states as they are written now, of every input that a decoder takes.
#[test]
fn the_corpus_of_checkpoints() {
    replay_target("checkpoint");
    for target in ["netflow5", "netflow9", "ipfix", "sflow"] {
        for (name, input) in corpus(target).into_iter().take(3) {
            let state = bodies::checkpoint_after(&input);
            assert!(state.len() > 100, "{target}/{name}");
            replay(&format!("the checkpoint after {target}/{name}"), &state, bodies::checkpoint);
        }
    }
}

/// An input does what its name says: the corpus would be worth little if nothing in it were taken.
#[test]
fn the_corpus_reaches_what_it_is_for() {
    use fluxoscope::decode::{Decoded, ExporterDecoder, Limits};
    for target in ["netflow1", "netflow5", "netflow7", "netflow8", "netflow9", "ipfix", "sflow"] {
        for (name, mut input) in corpus(target).iter().map(|(name, input)| (name, &input[..])) {
            let (mut decoder, mut out) = (ExporterDecoder::new(), Decoded::default());
            while let Some((length, rest)) = input.split_first_chunk::<2>() {
                let (datagram, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
                let received = fluxoscope::units::UnixMillis(1_767_225_600_000);
                let id = fluxoscope::ids::ExporterId(0);
                let _ = decoder.datagram(id, &Limits::default(), received, datagram, &mut out);
                input = rest;
            }
            let counts = decoder.counts();
            let is_wrong = ["count-beyond", "empty-record", "withdrawn"].contains(&name.as_str());
            assert_eq!(counts.malformed > 0, is_wrong, "{target}/{name}: {counts:?}");
            let no_flow = ["count-beyond", "empty-record", "counters-discards-vendor", "wide-template"]
                .contains(&name.as_str());
            assert_eq!(out.records.is_empty(), no_flow, "{target}/{name}: {counts:?}");
        }
    }
}

#[test]
fn the_corpus_of_files_and_messages_is_sound() {
    use fluxoscope::{ids::Position, journal, receive::pcap::Capture, snmp, units::UnixMillis};
    let folder = fuzz().join("corpus");
    for (name, expected) in [
        ("pcap/two-datagrams", 2),
        ("pcap/nanoseconds-big-endian", 1),
        ("pcap/fragments", 1),
        ("pcapng/two-interfaces", 2),
        ("pcapng/big-endian", 1),
    ] {
        let mut capture = Capture::open(&folder.join(name)).unwrap();
        let mut datagrams = 0;
        while let Some(datagram) = capture.next().unwrap() {
            assert_eq!(datagram.destination.port(), 2055, "{name}");
            datagrams += 1;
        }
        assert_eq!(datagrams, expected, "{name}");
    }
    let directory = tempfile::tempdir().unwrap();
    let segment = directory.path().join(format!("{:020}.journal", 0));
    fs::copy(folder.join("journal/both-families"), segment).unwrap();
    let mut reader = journal::Reader::open(directory.path(), Position(0)).unwrap();
    let lengths = [72, 3, 0].map(|_| reader.next().unwrap().unwrap().payload.len());
    assert_eq!((lengths, reader.next().unwrap().is_none()), ([72, 3, 0], true));

    let mut agent = bodies::agent();
    for (name, answered) in [
        ("get", true),
        ("next-v1", true),
        ("bulk", true),
        ("set", true),
        ("other-community", false),
        ("v3", true),
        ("v3-get", true),
        ("v3-bulk-here", true),
        ("v3-signed", true),
        ("v3-secret", true),
    ] {
        let request = fs::read(folder.join("snmp").join(name)).unwrap();
        let now = snmp::Now { wall: UnixMillis(0), uptime: core::time::Duration::from_secs(9) };
        let done = agent.respond(now, ([127, 0, 0, 1], 4000).into(), &request, &mut Vec::new());
        assert_eq!(done, answered, "{name}");
    }
}
