//! An exporter that brings more usage rows than there is room for takes nothing from another one, whether the ledger is
//! there or not: what has no room waits in the journal, and all of it counts in the end.

use std::collections::BTreeMap;

use crate::bad_input::Lock;
use crate::live_support::{Daemon, Site, now_ms, number, v5};
use crate::support::{Random, until};

const ROWS: u64 = 2000;
const CUSTOMERS: u64 = 1000;

/// Rows that a batch of records and the greatest datagram here may bring beyond the table's bound.
const BEYOND: u64 = 512 + 100;

fn configuration() -> String {
    let mut text = format!(
        r#"
[receive]
listen = ["127.0.0.1:0"]
[journal]
sync = "10ms"
[ledger]
flush = "300ms"
[sampling]
grace = "0s"
[meter]
rows = {ROWS}
[[customer]]
name = "campus"
prefixes = ["203.0.113.0/24"]
"#
    );
    for (n, name) in ["honest", "hostile"].into_iter().enumerate() {
        let address = n + 1;
        text += &format!("[[exporter]]\nname = \"{name}\"\naddress = \"127.0.0.{address}\"\n");
        text += &format!("[[link]]\nname = \"{name}\"\ninterfaces = [{{ exporter = \"{name}\" }}]\n");
    }
    for n in 0..CUSTOMERS {
        text += &format!("[[customer]]\nname = \"c{n}\"\nprefixes = [\"10.{}.{}.0/24\"]\n", n / 256, n % 256);
    }
    text
}

/// What the hostile exporter sends, and what it comes to.
struct Hostile {
    random: Random,
    sequence: u32,
    octets: u64,
}

impl Hostile {
    /// A message of flows of random customers that ended at random times of the last hour. Each record has so many octets
    /// of padding.
    fn message(&mut self, records: u32, padding: u16) -> Vec<u8> {
        let now = now_ms();
        let mut body = Vec::new();
        for _ in 0..records {
            let [customer, end, octets] = [CUSTOMERS, 3_000_000, 1500].map(|below| self.random.below(below));
            self.octets += octets + 1;
            body.extend(u32::try_from(octets + 1).unwrap().to_be_bytes());
            body.extend(1_u32.to_be_bytes());
            body.extend([198, 18, 0, 1]);
            let [.., high, low] = customer.to_be_bytes();
            body.extend([10, high, low, 1]);
            let end = (now - end.cast_signed()).to_be_bytes();
            body.extend([end, end].concat());
            body.resize(body.len() + usize::from(padding), 0);
        }
        let fields = [(1, 4), (2, 4), (8, 4), (12, 4), (152, 8), (153, 8), (210, padding)];
        let fields = &fields[..fields.len() - usize::from(padding == 0)];
        // A template for each padding, in every message.
        let id = 256 + padding;
        let mut template = [id, u16::try_from(fields.len()).unwrap()].map(u16::to_be_bytes).concat();
        template.extend(
            fields.iter().flat_map(|&(element, octets)| [element, octets]).flat_map(u16::to_be_bytes),
        );
        let sets: Vec<u8> = [(2, template), (id, body)]
            .into_iter()
            .flat_map(|(id, body)| {
                let length = u16::try_from(body.len() + 4).unwrap();
                [&id.to_be_bytes()[..], &length.to_be_bytes(), &body].concat()
            })
            .collect();
        let mut out = [10, u16::try_from(sets.len() + 16).unwrap()].map(u16::to_be_bytes).concat();
        out.extend(u32::try_from(now / 1000).unwrap().to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend([0, 0, 0, 1]);
        out.extend(sets);
        self.sequence += records;
        out
    }
}

/// Waits until the daemon has taken so many datagrams, so that the kernel never has to drop one.
fn received(daemon: &Daemon, datagrams: u64) {
    until("all datagrams", || {
        (number(&daemon.status()["processors"][0]["datagrams"]) >= datagrams).then_some(())
    });
}

/// Greatest resident memory of the daemon so far, in KiB.
fn memory(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn who_floods_the_usage_table_takes_nothing_from_others() {
    let site = Site::new(&configuration());
    let daemon = site.start();
    daemon.wait_for("Metering as datagrams come");
    let mut hostile = Hostile { random: Random(7), sequence: 0, octets: 0 };
    let (mut sent, mut honest) = (0_u64, 0_u32);
    let mut round = |hostile: &mut Hostile, messages: usize, (records, padding): (u32, u16)| {
        let flood: Vec<_> = (0..messages).map(|_| hostile.message(records, padding)).collect();
        daemon.send("127.0.0.2", &flood);
        daemon.send("127.0.0.1", &[v5(honest * 30, [203, 0, 113, 9], &[(2, 1000); 30])]);
        (sent, honest) = (sent + messages as u64 + 1, honest + 1);
        received(&daemon, sent);
    };
    // 30 000 records make the table full more than ten times while the ledger takes what it can.
    for _ in 0..60 {
        round(&mut hostile, 5, (100, 0));
    }
    let before = memory(&daemon);
    // Here it takes nothing: two flushes wait for it, and behind them the table stays full.
    let lock = Lock::take(&site);
    for _ in 0..20 {
        round(&mut hostile, 5, (100, 0));
    }
    // 20 MiB are more than a processor keeps in memory: the rest of it is read from the journal.
    let mut backlog = 0;
    for _ in 0..10 {
        round(&mut hostile, 32, (8, 8000));
        backlog = until("the journal on disk", || {
            let processor = &daemon.status()["processors"][0];
            let is_written = number(&processor["journal_queue"]["current"]) == 0;
            Some(number(&processor["backlog"])).filter(|&now| is_written && now > backlog)
        });
    }
    assert!(backlog > 18 << 20, "{backlog} octets");
    daemon.wait_for("The ledger is busy; usage waits");
    lock.release();
    daemon.flush();

    let status = daemon.status();
    let processor = &status["processors"][0];
    for none in ["kernel_drops", "dropped", "unjournalled", "rejected", "malformed", "held"] {
        assert_eq!(processor[none], 0, "{none}: {processor}");
    }
    for exporter in status["exporters"].as_array().unwrap() {
        assert_eq!((&exporter["lost"], &exporter["duplicates"]), (&0.into(), &0.into()), "{exporter}");
    }
    let octets: BTreeMap<String, u64> = site
        .usage("exporter")
        .iter()
        .map(|row| (row["exporter"].as_str().unwrap().to_owned(), number(&row["raw_bytes"])))
        .collect();
    let expected =
        [("honest".to_owned(), 30_000 * u64::from(honest)), ("hostile".to_owned(), hostile.octets)];
    assert_eq!(octets, BTreeMap::from(expected));

    let table = &processor["usage"];
    assert!(number(&table["failures"]) >= 1, "it was full at least once: {processor}");
    let high_water = number(&table["high_water"]);
    assert!((ROWS..=ROWS + BEYOND).contains(&high_water), "{processor}");
    assert!(number(&status["commits"]) > 12, "{status}");
    // What waits in memory for its turn, and as much on its way to the disk, with room to grow.
    let more = memory(&daemon) - before;
    assert!(more < 96 << 10, "{more} KiB more");
}
