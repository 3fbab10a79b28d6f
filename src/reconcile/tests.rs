//! Verdicts worked out by hand, on ledgers that hold what they are about.

use super::*;
use crate::classify::rules::Network;
use crate::classify::rules::{ExporterRule, InterfaceName, LinkRule, NamedBy};
use crate::exporter::{Observes, OutputZero};
use crate::flow::Family;
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId, Position};
use crate::ledger::Url;
use crate::ledger::records::interfaces::{Interface, InterfaceOctets};
use crate::ledger::records::{Advance, ConfigVersion, Flush, FlushTotals, NameKind, SourceKind};
use crate::units::{IfIndex, RateSource, SamplingRate, UnixMillis};
use crate::usage::{UsageKey, UsageRow, UsageSums};

/// A bucket in 2026.
pub(super) const T: i64 = 1_793_491_200;

/// A ledger with one exporter, link `up` at its interface `xe-0/0/1` by name, link `down` at interface 9, and flows.
pub(super) struct Case {
    _directory: tempfile::TempDir,
    pub(super) ledger: Ledger,
}

pub(super) fn flows(
    link: u16,
    direction: Direction,
    customer: CustomerId,
    octets: u64,
    rate: u64,
) -> UsageRow {
    // Packets of 1000 octets.
    let packets = octets / 1000;
    let squares = packets * 1_000_000;
    UsageRow {
        key: UsageKey {
            bucket: BucketStart(T),
            customer,
            link: LinkId(link),
            direction,
            class: ClassId::DEFAULT,
            family: Family::V4,
            exporter: ExporterId(1),
            rate: SamplingRate::new(rate, 1, RateSource::Override).unwrap(),
        },
        sums: UsageSums { octets, packets, flows: 1, squares_low: squares, squares_high: squares },
    }
}

impl Case {
    pub(super) fn new(usage: &mut [UsageRow]) -> Self {
        Self::of(usage, &["up", "down"])
    }

    /// With these of the links alone.
    pub(super) fn of(usage: &mut [UsageRow], links: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = Url::parse("sqlite:ledger.sqlite", directory.path()).unwrap();
        let mut ledger = Ledger::open(&url).unwrap();
        let name =
            InterfaceName { exporter: "ce1".to_owned(), by: NamedBy::Name, pattern: "xe-0/0/1".to_owned() };
        let at = InterfaceRef { exporter: "ce1".to_owned(), ifindex: IfIndex(9) };
        let rule = |name: &str, point| LinkRule {
            name: name.to_owned(),
            kind: "upstream".to_owned(),
            points: vec![point],
            overhead: None,
        };
        let network = Network {
            exporters: vec![ExporterRule {
                name: "ce1".to_owned(),
                address: [192, 0, 2, 1].into(),
                observes: Observes::Ingress,
                output_zero: OutputZero::Unknown,
            }],
            links: [rule("up", LinkPoint::Named(name)), rule("down", LinkPoint::Interface(at))]
                .into_iter()
                .filter(|rule| links.contains(&rule.name.as_str()))
                .collect(),
            ..Network::default()
        };
        let text = serde_json::to_string(&network).unwrap();
        ledger.put_config_version(&ConfigVersion { sha256: "a".repeat(64), text, valid_from: 0 }).unwrap();
        assert_eq!(ledger.intern(NameKind::Exporter, &["ce1"]).unwrap(), [1]);
        assert_eq!(ledger.intern(NameKind::Link, &["up", "down"]).unwrap(), [1, 2]);
        let interface = |ifindex, name: &str| Interface {
            ifindex: IfIndex(ifindex),
            name: name.to_owned(),
            kind: 6,
            ..Interface::default()
        };
        ledger
            .put_interfaces(1, UnixMillis(1000), true, &[interface(5, "xe-0/0/1"), interface(9, "xe-0/0/2")])
            .unwrap();
        usage.sort_by_key(|row| row.key);
        let source = ledger.source(SourceKind::Capture, "00").unwrap();
        let totals = FlushTotals {
            records: 100,
            metered_octets: usage.iter().map(|row| row.sums.octets).sum(),
            metered_packets: usage.iter().map(|row| row.sums.packets).sum(),
            ..FlushTotals::default()
        };
        let advance =
            Advance { source: source.id, from: Position(0), to: Position(1), complete: false, totals };
        ledger
            .commit_flush(&Flush {
                advances: vec![advance],
                usage: usage.to_vec().into(),
                checkpoints: vec![],
                losses: vec![],
            })
            .unwrap();
        Self { _directory: directory, ledger }
    }

    /// At another configuration version from so many seconds after the beginning of the bucket: `up` has this overhead.
    pub(super) fn with_overhead(self, octets: u32, seconds: i64) -> Self {
        self.configured(seconds, |network| network.links[0].overhead = Some(octets))
    }

    /// The same with any change of what the newest version says.
    pub(super) fn configured(mut self, seconds: i64, change: impl FnOnce(&mut Network)) -> Self {
        let text = self.ledger.config_versions().unwrap().pop().unwrap().text;
        let mut network: Network = serde_json::from_str(&text).unwrap();
        change(&mut network);
        let text = serde_json::to_string(&network).unwrap();
        let (sha256, valid_from) = (hash_of(seconds), (T + seconds) * 1000);
        self.ledger.put_config_version(&ConfigVersion { sha256, text, valid_from }).unwrap();
        self
    }

    /// Octets that an interface received in the bucket, without packets.
    pub(super) fn counted_octets(mut self, ifindex: u32, octets: u64) -> Self {
        let part = InterfacePart {
            bucket: BucketStart(T),
            from: UnixMillis(T * 1000),
            to: UnixMillis((T + 300) * 1000),
            in_octets: octets,
            out_octets: 0,
            in_packets: None,
            out_packets: None,
        };
        self.ledger
            .put_interface_octets(&[InterfaceOctets { exporter: 1, ifindex: IfIndex(ifindex), part }])
            .unwrap();
        self
    }

    /// Counters of interface 5 from one second of the bucket to another.
    pub(super) fn counted(
        mut self,
        ifindex: u32,
        from: i64,
        to: i64,
        octets: (u64, u64),
        packets: (u64, u64),
    ) -> Self {
        let part = InterfacePart {
            bucket: BucketStart(T),
            from: UnixMillis((T + from) * 1000),
            to: UnixMillis((T + to) * 1000),
            in_octets: octets.0,
            out_octets: octets.1,
            in_packets: Some(packets.0),
            out_packets: Some(packets.1),
        };
        self.ledger
            .put_interface_octets(&[InterfaceOctets { exporter: 1, ifindex: IfIndex(ifindex), part }])
            .unwrap();
        self
    }

    fn rows(&mut self, config: &Config) -> Vec<Row> {
        rows(&mut self.ledger, config, 1500, BucketStart(T), BucketStart(T + 300)).unwrap()
    }

    /// The verdict on a link in a direction, in the bucket.
    pub(super) fn verdict(&mut self, config: &Config, link: &str, direction: Direction) -> Row {
        let rows = self.rows(config);
        let is_it = |row: &&Row| row.bucket.is_some() && row.name == link && row.direction == direction;
        rows.iter().find(is_it).unwrap().clone()
    }
}

/// The hash of the configuration version from so many seconds after the beginning of the bucket.
pub(super) fn hash_of(seconds: i64) -> String {
    format!("{:064}", seconds + 1_000_000)
}

/// An interface of the exporter, by number.
pub(super) fn at(ifindex: u32) -> LinkPoint {
    LinkPoint::Interface(InterfaceRef { exporter: "ce1".to_owned(), ifindex: IfIndex(ifindex) })
}

/// No allowance but for sampling.
pub(super) fn strict() -> Config {
    Config { tolerance_millionths: 0, floor_octets: 0, ..Config::default() }
}

pub(super) const CUSTOMER: CustomerId = CustomerId(16);

#[test]
fn unsampled_flows_are_the_octets_without_framing() {
    // 50 packets of 1000 octets each way make frames of 1018.
    let mut usage =
        [flows(1, Direction::In, CUSTOMER, 50_000, 1), flows(1, Direction::Out, CUSTOMER, 50_000, 1)];
    let mut case = Case::new(&mut usage).counted(5, 0, 300, (50_900, 50_900), (50, 50));
    for direction in [Direction::In, Direction::Out] {
        let row = case.verdict(&strict(), "up", direction);
        // Up to 6 octets of each of the 50 frames may be padding.
        assert_eq!((row.flows, row.interface), (50_000, Some((49_700, 50_000))));
        assert_eq!((row.verdict, row.tolerance, row.covered_ms), (Verdict::Agrees, 0, 300_000));
    }
    // One flow more than can have crossed, or one that is missing.
    let mut case = Case::new(&mut [flows(1, Direction::In, CUSTOMER, 51_000, 1)]).counted(
        5,
        0,
        300,
        (50_900, 0),
        (50, 0),
    );
    assert_eq!(case.verdict(&strict(), "up", Direction::In).verdict, Verdict::FlowsOver);
    let mut case = Case::new(&mut [flows(1, Direction::In, CUSTOMER, 49_000, 1)]).counted(
        5,
        0,
        300,
        (50_900, 0),
        (50, 0),
    );
    assert_eq!(case.verdict(&strict(), "up", Direction::In).verdict, Verdict::FlowsShort);
    // 2 % of 50000 is 1000, and a floor of 300 covers what is missing beyond the padding: 49700 - 49000 = 700.
    let percent = Config { tolerance_millionths: 20_000, ..strict() };
    assert_eq!(case.verdict(&percent, "up", Direction::In).verdict, Verdict::Agrees);
    let floor = Config { floor_octets: 699, ..strict() };
    assert_eq!(case.verdict(&floor, "up", Direction::In).verdict, Verdict::FlowsShort);
    let floor = Config { floor_octets: 700, ..strict() };
    assert_eq!(case.verdict(&floor, "up", Direction::In).verdict, Verdict::Agrees);
}

#[test]
fn a_link_says_its_own_overhead() {
    let mut usage = [flows(1, Direction::In, CUSTOMER, 50_000, 1)];
    let counted = |usage: &mut [UsageRow]| Case::new(usage).counted(5, 0, 300, (50_000, 0), (50, 0));
    let mut case = counted(&mut usage).with_overhead(22, -300);
    // 50000 - 22 * 50 = 48900, less than the flows.
    let row = case.verdict(&strict(), "up", Direction::In);
    assert_eq!((row.interface, row.verdict), (Some((48_600, 48_900)), Verdict::FlowsOver));
    let mut case = counted(&mut usage).with_overhead(0, -300);
    assert_eq!(case.verdict(&strict(), "up", Direction::In).verdict, Verdict::Agrees);
}

#[test]
fn sampled_flows_may_be_off_by_three_standard_errors() {
    // 1 in 1000; 40 packets of 1000 octets were seen: 40 million octets, with a variance of 1000 * 999 * 40 * 10^6,
    // 3.996 * 10^13, whose root is 6321392. If the interface is right with 60 million octets (no framing here), the
    // variance is at most 999 * 1500 * 60 * 10^6 = 8.991 * 10^13, and its root 9482088: the greater one counts.
    let case = |counted| {
        Case::new(&mut [flows(1, Direction::In, CUSTOMER, 40_000, 1000)])
            .counted(5, 0, 300, (counted, 0), (0, 0))
            .with_overhead(0, -300)
    };
    let row = case(60_000_000).verdict(&strict(), "up", Direction::In);
    assert_eq!((row.flows, row.standard_error, row.tolerance), (40_000_000, 9_482_088, 28_446_264));
    assert_eq!(row.verdict, Verdict::Agrees);
    // 80 million: the root of 999 * 1500 * 80 * 10^6 is 10948972, thrice that 32846916, less than the 40 million between.
    let row = case(80_000_000).verdict(&strict(), "up", Direction::In);
    assert_eq!((row.standard_error, row.verdict), (10_948_972, Verdict::FlowsShort));
    // Nothing: the variance of the samples themselves, three times 6321392, does not explain 40 million.
    let row = case(0).verdict(&strict(), "up", Direction::In);
    assert_eq!((row.standard_error, row.verdict), (6_321_392, Verdict::FlowsOver));
}

#[test]
fn a_bucket_that_is_not_covered_is_not_compared() {
    let mut usage = [flows(1, Direction::In, CUSTOMER, 50_000, 1)];
    let mut case = Case::new(&mut usage).counted(5, 0, 60, (1_000_000, 0), (50, 0)).counted(
        5,
        120,
        300,
        (9_000_000, 0),
        (50, 0),
    );
    let row = case.verdict(&strict(), "up", Direction::In);
    assert_eq!((row.verdict, row.interface, row.covered_ms), (Verdict::NoCounters, None, 240_000));
    // No sum is made of it either.
    assert!(case.rows(&strict()).iter().all(|row| row.bucket.is_some()));
    assert_eq!(case.verdict(&strict(), "down", Direction::In).covered_ms, 0);
    let mut case = case.counted(5, 60, 120, (0, 0), (0, 0));
    assert_eq!(case.verdict(&strict(), "up", Direction::In).verdict, Verdict::FlowsShort);
    let found = quality(&case.rows(&strict()));
    let named = |link: &str, compared, differences| Quality {
        link: link.to_owned(),
        buckets: 1,
        compared,
        differences,
    };
    assert_eq!(found, [named("up", 1, 1), named("down", 0, 0)]);
    let (from, to) = (BucketStart(T), BucketStart(T + 300));
    let of_counted = quality_of(&mut case.ledger, &strict(), 1500, from, to).unwrap();
    assert_eq!(of_counted, [("up".to_owned(), named("up", 1, 1))].into(), "nobody counts the other one");
    assert_eq!(covered(&mut case.ledger, from, to).unwrap().get("up"), Some(&1));
    assert_eq!(quality_of(&mut case.ledger, &strict(), 1500, to, BucketStart(T + 600)).unwrap(), [].into());
    let octets = link_octets(&mut case.ledger, BucketStart(T), BucketStart(T + 300)).unwrap();
    // With framing; the sums of the three parts. Of `down` nothing is known.
    assert_eq!(octets, [("up".to_owned(), [(BucketStart(T), (10_000_000, 0))].into())].into());
    let total = case.rows(&strict()).into_iter().find(|row| row.bucket.is_none()).unwrap();
    assert_eq!((total.name.as_str(), total.flows, total.verdict), ("up", 50_000, Verdict::FlowsShort));
}

/// Halfway through the bucket the router gives the link's interface another number. Both numbers are counted over all of
/// the bucket, but neither belongs to the link over all of it.
#[test]
fn a_bucket_in_which_a_links_interface_moves_is_not_compared() {
    let mut usage =
        [flows(1, Direction::In, CUSTOMER, 50_000, 1), flows(2, Direction::In, CUSTOMER, 50_000, 1)];
    let mut case = Case::new(&mut usage);
    let interface = |ifindex, name: &str| Interface {
        ifindex: IfIndex(ifindex),
        name: name.to_owned(),
        kind: 6,
        ..Interface::default()
    };
    let moved = [interface(6, "xe-0/0/1"), interface(9, "xe-0/0/2")];
    case.ledger.put_interfaces(1, UnixMillis((T + 150) * 1000), true, &moved).unwrap();
    let mut case = case
        .counted(5, 0, 300, (50_900, 0), (50, 0))
        .counted(6, 0, 300, (50_900, 0), (50, 0))
        .counted(9, 0, 300, (50_900, 0), (50, 0));
    let row = case.verdict(&strict(), "up", Direction::In);
    assert_eq!((row.verdict, row.interface, row.covered_ms), (Verdict::NoCounters, None, 0));
    // The other link, by number, stays where it was.
    let row = case.verdict(&strict(), "down", Direction::In);
    assert_eq!((row.verdict, row.covered_ms), (Verdict::Agrees, 300_000));
    let octets = link_octets(&mut case.ledger, BucketStart(T), BucketStart(T + 300)).unwrap();
    assert_eq!(octets, [("down".to_owned(), [(BucketStart(T), (50_900, 0))].into())].into());
}

#[test]
fn what_goes_through_leaves_by_another_link() {
    // 30000 octets from `down` to `up` are charged to `down`, toward nobody; `up` sent them beside a customer's 50000.
    let mut usage = [
        flows(2, Direction::In, CustomerId::THROUGH, 30_000, 1),
        flows(1, Direction::Out, CUSTOMER, 50_000, 1),
        // Dropped on its way out: never sent.
        flows(1, Direction::Out, CustomerId::DISCARDED, 7_000, 1),
    ];
    let mut case = Case::new(&mut usage).counted(5, 0, 300, (0, 80_000 + 80 * 18), (0, 80)).counted(
        9,
        0,
        300,
        (30_000 + 30 * 18, 0),
        (30, 0),
    );
    let row = case.verdict(&strict(), "up", Direction::Out);
    assert_eq!((row.flows, row.through, row.verdict), (50_000, 30_000, Verdict::Agrees));
    assert_eq!(case.verdict(&strict(), "down", Direction::In).verdict, Verdict::Agrees);
    // Beyond what went through, the flows of `up` are short; and through traffic is no excuse for too many.
    let mut usage = [
        flows(2, Direction::In, CustomerId::THROUGH, 30_000, 1),
        flows(1, Direction::Out, CUSTOMER, 40_000, 1),
    ];
    let mut case = Case::new(&mut usage).counted(5, 0, 300, (0, 80_000 + 80 * 18), (0, 80));
    assert_eq!(case.verdict(&strict(), "up", Direction::Out).verdict, Verdict::FlowsShort);
}

/// `up` is at interface 7, too, and neither counts packets. Flows say 100 packets of 1000 octets, and 18 of framing make 101800
/// octets: by 76350 and 25450 of them, 75 packets crossed the one and 25 the other. That one is Ethernet: up to 6 octets of each
/// of its packets may be padding.
#[test]
fn packets_of_flows_stand_in_once_for_all_interfaces_of_a_link() {
    let mut case = Case::new(&mut [flows(1, Direction::In, CUSTOMER, 100_000, 1)])
        .configured(-300, |network| {
            network.links[0].overhead = Some(18);
            network.links[0].points.push(at(7));
        })
        .counted_octets(5, 25_450)
        .counted_octets(7, 76_350);
    let row = case.verdict(&strict(), "up", Direction::In);
    assert_eq!((row.interface, row.verdict), (Some((99_850, 100_000)), Verdict::Agrees));
}

/// In the bucket nothing was sampled, and of 50 packets 40 are there. That one in 10000 was looked at in the next one, and how
/// far that may be off, is of that one, whether it is looked at together with the first or not.
#[test]
fn a_verdict_is_the_same_whatever_else_is_looked_at() {
    let mut next = flows(1, Direction::In, CUSTOMER, 40_000, 10_000);
    next.key.bucket = BucketStart(T + 300);
    let mut case = Case::new(&mut [flows(1, Direction::In, CUSTOMER, 40_000, 1), next]).counted(
        5,
        0,
        300,
        (50_900, 0),
        (50, 0),
    );
    for seconds in [300, 600] {
        let (from, to) = (BucketStart(T), BucketStart(T + seconds));
        let found = rows(&mut case.ledger, &strict(), 1500, from, to).unwrap();
        let is_it =
            |row: &&Row| row.name == "up" && row.direction == Direction::In && row.interface.is_some();
        let verdicts: Vec<_> = found.iter().filter(is_it).map(|row| (row.tolerance, row.verdict)).collect();
        assert_eq!(verdicts, [(0, Verdict::FlowsShort); 2], "the bucket, and the sum: {seconds}");
        let quoted = quality_of(&mut case.ledger, &strict(), 1500, from, to).unwrap();
        assert_eq!((quoted["up"].compared, quoted["up"].differences), (1, 1));
    }
}

/// Nothing was seen of 30000 octets on `up`, while the exporter looked at one packet in 1000 elsewhere: the root of 999 * 1500 *
/// 30000 is 212025, and thrice that explains it. What was sampled in another bucket explains nothing.
#[test]
fn a_link_without_flows_may_have_been_missed_by_what_was_sampled_then() {
    let found = |bucket: i64| {
        let mut elsewhere = flows(2, Direction::In, CUSTOMER, 40_000, 1000);
        elsewhere.key.bucket = BucketStart(bucket);
        let mut case = Case::new(&mut [elsewhere]).counted(5, 0, 300, (30_000, 0), (0, 0));
        let found = rows(&mut case.ledger, &strict(), 1500, BucketStart(T), BucketStart(T + 600)).unwrap();
        let is_it = |row: &&Row| row.bucket == Some(BucketStart(T)) && row.name == "up";
        let row = found.iter().find(is_it).unwrap().clone();
        (row.standard_error, row.verdict)
    };
    assert_eq!(found(T), (212_025, Verdict::Agrees));
    assert_eq!(found(T + 300), (0, Verdict::FlowsShort));
}
