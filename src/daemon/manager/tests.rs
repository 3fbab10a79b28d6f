//! Comparisons that are due, failures of flow tables, and interfaces that show late; worked out by hand.

use super::*;
use crate::ids::{ExporterId, LinkId};
use crate::ledger::Url;
use crate::ledger::records::interfaces::Card;
use crate::setup;

/// For managers that put nothing in force again.
fn in_force(config: Config) -> (Arc<Config>, Holding) {
    (Arc::new(config), Holding::default())
}

/// 2026-11-01T00:00:00Z, the start of a bucket.
const T: i64 = 1_793_491_200;

#[test]
fn a_bucket_is_ripe_a_quarter_of_an_hour_after_its_end() {
    // The one from 00:00 to 00:05 at 00:20, and until 00:25.
    assert_eq!(ripe(T + 20 * 60 - 1), BucketStart(T - 300));
    assert_eq!(ripe(T + 20 * 60), BucketStart(T));
    assert_eq!(ripe(T + 25 * 60 - 1), BucketStart(T));
}

/// What `cseCacheEntriesFailed` says a minute apart each, up for a day; then the router starts anew.
#[test]
fn failures_of_flow_tables_are_counted_over_wraps_and_resets() {
    let counters = Arc::new(Counters::new(1, 0));
    let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
    let manager = Manager::new(in_force(Config::builtin()), Arc::clone(&counters), registry);
    let read = |minute: i64, uptime: u32, failures: u64| {
        let card = Card { name: "card 1".to_owned(), failures: Some(failures), ..Card::default() };
        let at = UnixMillis((T + 60 * minute) * 1000);
        let read = CardsRead { exporter: "ce1".to_owned(), at, uptime, cards: BTreeMap::from([(1, card)]) };
        let failed = manager.cards(7, read);
        failed.iter().map(|row| (row.exporter, row.card, row.failures)).collect::<Vec<_>>()
    };
    let up = |minute: u32| 8_640_000 + 6_000 * minute;
    assert_eq!(read(0, up(0), 4_294_967_290), [], "from when on is not known");
    assert_eq!(read(1, up(1), 4_294_967_295), [(7, 1, 5)]);
    assert_eq!(read(2, up(2), 1_000), [(7, 1, 1_001)], "a wrap");
    assert_eq!(read(3, up(3), 1_010), [(7, 1, 10)]);
    assert_eq!(read(4, up(4), 7), [(7, 1, 7)], "cleared");
    assert_eq!(read(5, up(5), 57), [(7, 1, 50)]);
    // Up for 30 s: 90 since then, though that is more than before.
    assert_eq!(read(6, 3_000, 90), [(7, 1, 90)]);
    assert_eq!(read(7, 9_000, 90), []);
    let shown = counters.managed.load();
    assert_eq!(shown.cards[0].failures, 5 + 1_001 + 10 + 7 + 50 + 90);
}

/// From and to in buckets after [`T`], where these were compared last and can be.
fn spans(mut last: i64, ripe: i64) -> Vec<(i64, i64)> {
    let mut spans = Vec::new();
    let at = |bucket: i64| BucketStart(T + bucket * 300);
    while let Some((from, to)) = to_compare(at(last), at(ripe)) {
        let number = |bucket: BucketStart| (bucket.0 - T) / 300;
        spans.push((number(from), number(to)));
        last = number(to) - 1;
    }
    spans
}

#[test]
fn no_bucket_is_passed_over() {
    assert_eq!(spans(5, 5), []);
    assert_eq!(spans(6, 5), [], "a clock that was set back");
    assert_eq!(spans(5, 6), [(6, 7)]);
    assert_eq!(spans(5, 8), [(6, 9)], "the writer was busy for a quarter of an hour");
    assert_eq!(spans(0, 30), [(1, 13), (13, 25), (25, 31)], "an hour at a time");
    // A day at most: 1000 - 287 is 713, and the last one is 1000.
    let belated = spans(0, 1000);
    assert_eq!((belated[0], belated.len()), ((713, 725), 24));
    assert_eq!(belated[23], (989, 1001));
}

const NETWORK: &str = r#"
[[exporter]]
name = "edge"
address = "127.0.0.1"
snmp = { version = "2c", community = "public" }
[[link]]
name = "transit"
interfaces = [{ exporter = "edge", ifname = "up?" }]
[[customer]]
name = "campus"
prefixes = ["203.0.113.0/24"]
"#;

/// A router with links by name, and what becomes of its readings.
struct Edge {
    _directory: tempfile::TempDir,
    ledger: Ledger,
    registry: Arc<Exporters>,
    config: Config,
}

impl Edge {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let url = Url::parse("sqlite:ledger.sqlite", directory.path()).expect("a place");
        let ledger = Ledger::open(&url).expect("a new ledger");
        let registry = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
        let mut config = Config::parse(NETWORK, "flux.toml", directory.path()).expect("good");
        config.files = vec!["flux.toml".into()];
        Self { _directory: directory, ledger, registry, config }
    }

    /// A reading from a second on, of a router that has started at one; whether interfaces are lacking, and that is news.
    fn reads(&mut self, at: i64, started: Option<i64>, names: &[(u32, &str)]) -> (bool, bool) {
        let interface = |&(ifindex, name): &(u32, &str)| Interface {
            ifindex: IfIndex(ifindex),
            name: name.to_owned(),
            ..Interface::default()
        };
        let reading = Reading {
            at: UnixMillis::from_seconds(at),
            is_whole: started.is_none(),
            started: started.map(UnixMillis::from_seconds),
            interfaces: names.iter().map(interface).collect(),
        };
        let entered =
            enter_interfaces("edge", &reading, &self.config.network, &mut self.ledger).expect("kept");
        (entered.lacks, entered.is_news)
    }

    /// Whether flows wait at a second, for the first word of names or for interfaces that have not shown since a start.
    fn waits(&mut self, now: i64) -> (bool, bool) {
        setup::put_in_force(&self.config, false, &mut self.ledger, &self.registry, now * 1000)
            .expect("compiles");
        let entry = self.registry.entry(self.config.exporters[0].address).expect("configured");
        (entry.policy.names_awaited, entry.policy.interfaces_awaited)
    }

    /// Whether what ended at a second and came in by an interface crossed the link.
    fn is_on_link(&self, end: i64, ifindex: u32) -> bool {
        let record = crate::flow::FlowRecord {
            exporter: ExporterId(0),
            input: IfIndex(ifindex),
            output: IfIndex(7),
            end: UnixMillis::from_seconds(end),
            ..crate::flow::FlowRecord::default()
        };
        let mut out = Vec::new();
        self.registry.versions().1.classify(&[record], &mut out);
        out[0].link != LinkId::NONE
    }
}

/// The router starts at second 1000, and shows its upstream, which was interface 100 and is 200, only at the second poll.
#[test]
fn flows_wait_for_interfaces_that_show_late() {
    let mut edge = Edge::new();
    assert_eq!(edge.waits(1), (true, false), "nobody was told");
    assert_eq!(edge.reads(2, None, &[(100, "up0"), (900, "x9")]), (false, false));
    assert_eq!(edge.waits(2), (false, false));
    assert_eq!(edge.reads(1000, Some(1000), &[(100, "x9")]), (true, true));
    assert_eq!(edge.waits(1010), (false, true));
    assert_eq!(edge.reads(1000, Some(1000), &[(100, "x9")]), (true, false), "the same again");
    // Another start of this program waits on.
    edge.registry = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    assert_eq!(edge.waits(1050), (false, true));
    assert_eq!(edge.reads(1000, Some(1000), &[(100, "x9"), (200, "up0")]), (false, true));
    assert_eq!(edge.waits(1061), (false, false));
    // What waited goes by what the numbers were when it ended: since the start, not since they were read.
    let on_link = |end| [100, 200].map(|ifindex| edge.is_on_link(end, ifindex));
    assert_eq!(
        [999, 1001, 1030, 1061].map(on_link),
        [[true, false], [false, true], [false, true], [false, true]]
    );
}

/// Nothing shows for ten minutes: then flows go by what is known, also where no router answers any more.
#[test]
fn the_wait_for_interfaces_ends() {
    let mut edge = Edge::new();
    edge.reads(2, None, &[(100, "up0"), (900, "x9")]);
    assert_eq!(edge.reads(1000, Some(1000), &[(901, "x9")]), (true, true));
    assert_eq!(edge.waits(1599), (false, true));
    assert_eq!(edge.waits(1600), (false, false));
    // The next reading is of all that it has.
    assert_eq!(edge.reads(1630, None, &[(901, "x9")]), (false, true));
    assert_eq!(edge.waits(1630), (false, false));
    // What was gone before a start is not awaited after it.
    assert_eq!(edge.reads(5000, Some(5000), &[(100, "x9")]), (false, false));
}

/// It starts again before everything has shown: what it had before the first start is still awaited, from the second on.
#[test]
fn a_second_start_goes_on_waiting() {
    let mut edge = Edge::new();
    edge.reads(2, None, &[(100, "up0"), (900, "x9")]);
    edge.reads(1000, Some(1000), &[(100, "x9")]);
    assert_eq!(edge.reads(1300, Some(1300), &[(100, "x9")]), (true, true));
    assert_eq!(edge.waits(1899), (false, true));
    assert_eq!(edge.waits(1900), (false, false));
}

/// What no link has by name may be missing, and where nobody asks the router any more, nothing is waited for.
#[test]
fn only_interfaces_of_links_are_awaited_from_routers_that_are_asked() {
    let mut edge = Edge::new();
    edge.reads(2, None, &[(100, "up0"), (900, "x9")]);
    assert_eq!(edge.reads(1000, Some(1000), &[(100, "up0")]), (false, false));
    assert_eq!(edge.reads(1000, Some(1000), &[(100, "x9")]), (true, true));
    assert_eq!(edge.waits(1010), (false, true));
    edge.config.targets.clear();
    assert_eq!(edge.waits(1020), (false, false));
}

/// Whether flows wait is not left to the ledger: it may be busy when a start is found.
#[test]
fn flows_wait_from_the_moment_that_a_start_is_found() {
    let mut edge = Edge::new();
    edge.reads(2, None, &[(100, "up0"), (900, "x9")]);
    let registry = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
    let manager =
        Manager::new(in_force(edge.config.clone()), Arc::new(Counters::new(1, 0)), Arc::clone(&registry));
    let address = edge.config.exporters[0].address;
    let waits = || registry.entry(address).expect("configured").policy.interfaces_awaited;
    let mut put_in_force = |now: i64| {
        setup::put_in_force(&edge.config, false, &mut edge.ledger, &registry, now * 1000).expect("compiles");
    };
    let reading = |at: i64, started: Option<i64>, ifindex: u32| Reading {
        at: UnixMillis::from_seconds(at),
        is_whole: started.is_none(),
        started: started.map(UnixMillis::from_seconds),
        interfaces: vec![Interface {
            ifindex: IfIndex(ifindex),
            name: "up0".to_owned(),
            ..Interface::default()
        }],
    };
    put_in_force(3);
    manager.take_reading("edge", reading(60, None, 100));
    assert!(!waits(), "nothing has started");
    manager.take_reading("edge", reading(100, Some(100), 200));
    assert!(waits() && manager.unforced.load(Relaxed));
    put_in_force(110);
    assert!(!waits(), "it is known what they mean");
    manager.take_reading("edge", reading(100, Some(100), 200));
    assert!(!waits(), "nothing new");
    manager.take_reading("edge", reading(100, Some(100), 201));
    assert!(waits());
    put_in_force(120);
    manager.take_reading("edge", reading(700, None, 201));
    manager.take_reading("edge", reading(900, Some(900), 201));
    assert!(waits(), "another start");
}

/// A manager for the router of [`Edge`], whose starts it is told of.
struct Started {
    edge: Edge,
    registry: Arc<Exporters>,
    manager: Manager,
    address: IpAddr,
}

impl Started {
    fn new() -> Self {
        let mut edge = Edge::new();
        edge.reads(2, None, &[(100, "up0"), (900, "x9")]);
        let registry = Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))));
        let manager =
            Manager::new(in_force(edge.config.clone()), Arc::new(Counters::new(1, 0)), Arc::clone(&registry));
        let address = edge.config.exporters[0].address;
        let mut started = Self { edge, registry, manager, address };
        assert!(!started.waits(3));
        started
    }

    /// Whether flows wait when everything is put in force again at a second.
    fn waits(&mut self, now: i64) -> bool {
        let Edge { config, ledger, .. } = &mut self.edge;
        setup::put_in_force(config, false, ledger, &self.registry, now * 1000).expect("compiles");
        self.waits_now()
    }

    fn waits_now(&self) -> bool {
        self.registry.entry(self.address).expect("configured").policy.interfaces_awaited
    }

    /// The router's flows tell of a start; whether that is new.
    fn flows_tell(&self, at: i64) -> bool {
        self.registry.has_started(self.address, UnixMillis::from_seconds(at)).is_some()
    }

    fn reads(&self, at: i64, started: Option<i64>, ifindex: u32) {
        let reading = Reading {
            at: UnixMillis::from_seconds(at),
            is_whole: started.is_none(),
            started: started.map(UnixMillis::from_seconds),
            interfaces: vec![Interface {
                ifindex: IfIndex(ifindex),
                name: "up0".to_owned(),
                ..Interface::default()
            }],
        };
        self.manager.take_reading("edge", reading);
    }

    /// The writer looks, with everything in the ledger that was read until now.
    fn looks(&self, now: i64) {
        self.manager.end_starts(&self.registry.read(), now * 1000);
    }
}

/// Flows tell of a start at second 1000, and the router is silent: they wait for ten minutes, whatever is put in force
/// meanwhile, and no longer.
#[test]
fn flows_of_a_silent_router_wait_for_ten_minutes() {
    let mut one = Started::new();
    assert!(one.flows_tell(1000) && one.waits_now());
    assert!(!one.flows_tell(1300), "of several in a row the first counts");
    for now in [1001, 1300, 1599] {
        let failure = Some("no answer".to_owned());
        one.manager.polled("edge", UnixMillis::from_seconds(now), failure, 0, 0);
        one.looks(now);
        assert!(one.waits(now), "{now}");
    }
    assert!(!one.manager.unforced.load(Relaxed));
    one.looks(1600);
    assert!(one.manager.unforced.load(Relaxed) && !one.waits(1600));
    // It was in vain; that is tried again when the router has been read once.
    assert!(!one.flows_tell(1700) && !one.waits(1700));
    one.reads(1800, None, 100);
    one.looks(1800);
    assert!(!one.waits(1800));
    assert!(one.flows_tell(2000) && one.waits(2000));
}

/// A poll finds the start, and no interfaces; a minute later they show.
#[test]
fn flows_wait_where_a_start_is_found_and_no_interfaces() {
    let mut one = Started::new();
    one.manager.started("edge", UnixMillis::from_seconds(1000));
    assert!(one.waits_now());
    one.manager.started("edge", UnixMillis::from_seconds(1030));
    one.looks(1031);
    assert!(one.waits(1031));
    one.reads(990, Some(990), 200);
    assert!(one.waits(1060), "it is not in the ledger yet");
    one.looks(1061);
    assert!(one.manager.unforced.load(Relaxed) && !one.waits(1061));
    // Nobody waits for routers that are not asked, or whose links go by numbers.
    one.manager.started("another", UnixMillis::from_seconds(1100));
    let mut config = one.edge.config.clone();
    config.targets.clear();
    let (config, holding) = in_force(config);
    one.manager.configure(config, holding);
    one.manager.started("edge", UnixMillis::from_seconds(1100));
    assert!(!one.flows_tell(1100) && !one.waits_now());
}

/// The flows tell of a start that was none, or only that of a process: the next reading is of a router that goes on.
#[test]
fn the_next_reading_ends_the_wait_for_a_start_that_was_none() {
    let mut one = Started::new();
    assert!(one.flows_tell(1000));
    one.reads(1010, None, 100);
    one.looks(1011);
    assert!(!one.waits(1011));
    // One more, between a reading and its entry: that reading does not end the wait for it.
    assert!(one.flows_tell(1020));
    one.reads(1030, None, 100);
    let read = one.registry.read();
    assert!(!one.flows_tell(1031), "they wait already");
    one.manager.end_starts(&read, 1_032_000);
    assert!(one.waits(1032));
    one.reads(1040, None, 100);
    one.looks(1041);
    assert!(!one.waits(1041));
}

/// What has been read waits for the ledger, however long that is busy.
#[test]
fn the_bound_is_not_for_what_has_been_read() {
    let mut one = Started::new();
    assert!(one.flows_tell(1000));
    one.reads(1010, Some(990), 200);
    one.manager.end_starts(&[], 5_000_000);
    assert!(one.waits(5000));
    one.looks(5001);
    assert!(!one.waits(5001));
}
