//! Reloads of a great configuration beside all that goes on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::live_support::{Daemon, NETWORK, Site, number, v5};
use crate::support::until;

/// As the customer `campus` of [`NETWORK`] has.
const CAMPUS: [u8; 4] = [203, 0, 113, 9];

/// The network with customers besides, who have so many prefixes together.
fn great(prefixes: u32, more: &str) -> String {
    let mut text = NETWORK.to_owned();
    for customer in 0..prefixes / 100 {
        write!(text, "\n[[customer]]\nname = \"c{customer}\"\nprefixes = [").unwrap();
        for n in customer * 100..customer * 100 + 100 {
            let [_, a, b, _] = (n << 8).to_be_bytes();
            write!(text, "\"{}.{a}.{b}.0/24\", ", 20 + (n >> 16)).unwrap();
        }
        text.push(']');
    }
    text + more
}

/// The directory of the daemon's thread of that name. A thread takes its name when it first runs, which may be after the
/// daemon is seen to be running.
fn thread(daemon: &Daemon, name: &str) -> PathBuf {
    let tasks = PathBuf::from(format!("/proc/{}/task", daemon.pid()));
    let has_name =
        |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|it| it.trim() == name);
    let find = || std::fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().path()).find(has_name);
    until(&format!("a thread `{name}`"), find)
}

/// Processor time that a thread has taken, in ticks, and its priority, as `nice` counts.
fn taken(task: &Path) -> (u64, i32) {
    let stat = std::fs::read_to_string(task.join("stat")).unwrap();
    // Behind the name, which is in parentheses: the state is the third field.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let number = |field: usize| fields[field - 3].parse::<u64>().unwrap();
    (number(14) + number(15), fields[19 - 3].parse().unwrap())
}

/// Compiling takes most of a reload. If the ledger's writer did it, flushes would wait for it; it has next to nothing to do
/// with it. What comes in meanwhile is all there.
#[test]
fn the_ledgers_writer_goes_on_while_a_great_configuration_is_reloaded() {
    let site = Site::new(NETWORK);
    let daemon = site.start();
    daemon.wait_for("Running");
    let pid = daemon.pid();
    let main = PathBuf::from(format!("/proc/{pid}/task/{pid}"));
    let writer = thread(&daemon, "ledger");
    let (mut sequence, mut hashes) = (0, Vec::new());
    for round in 0..2 {
        let more = format!("\n[[customer]]\nname = \"new\"\nprefixes = [\"192.0.{round}.0/24\"]\n");
        site.configure(&great(120_000, &more));
        let before = [&main, &writer].map(|task| taken(task).0);
        std::thread::scope(|scope| {
            let reload = scope.spawn(|| daemon.ask("reload"));
            // Not so many that the writer takes its time for them.
            let last = sequence + 20;
            while !reload.is_finished() && sequence < last {
                daemon.send("127.0.0.1", &[v5(sequence, CAMPUS, &[(1, 10)])]);
                daemon.flush();
                sequence += 1;
            }
            let answer = reload.join().unwrap();
            assert_eq!(answer["ok"], true, "{answer}");
            hashes.push(answer["configuration"].as_str().unwrap().to_owned());
        });
        let [compiled, wrote] =
            [(&main, before[0]), (&writer, before[1])].map(|(task, before)| taken(task).0 - before);
        // The writer stores the text, and commits what came in meanwhile.
        assert!(wrote * 2 < compiled, "{wrote} ticks on the writer's thread, {compiled} on that of reloads");
    }
    assert!(sequence >= 4, "{sequence} flushes in two reloads");
    let ((_, gives_way), (_, plain)) = (taken(&main), taken(&writer));
    assert!(gives_way > plain || plain == 19, "{gives_way} beside {plain}");
    // In force is the last one, and what came in is all there.
    assert_ne!(hashes[0], hashes[1]);
    let status = daemon.status();
    assert_eq!((&status["reloads"], number(&status["reload_failures"])), (&2.into(), 0));
    let campus: u64 = site
        .usage("customer")
        .iter()
        .filter(|row| row["customer"] == "campus")
        .map(|row| number(&row["bytes"]))
        .sum();
    assert_eq!(campus, 10 * u64::from(sequence));
    daemon.send(
        "127.0.0.1",
        &[v5(sequence, [192, 0, 1, 1], &[(1, 7)]), v5(sequence + 1, [20, 0, 5, 1], &[(1, 5)])],
    );
    daemon.flush();
    let volumes = site.usage("customer");
    let of = |name: &str| volumes.iter().find(|row| row["customer"] == name).map(|row| number(&row["bytes"]));
    assert_eq!((of("new"), of("c0")), (Some(7), Some(5)), "{volumes:?}");
    daemon.stop();
}
