use super::*;
use crate::audit;
use crate::classify::rules::{CustomerRule, Validity};
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, ExporterId, LinkId, Position};
use crate::ledger::Url;
use crate::ledger::records::{Advance, Flush, FlushTotals, SourceKind, TariffVersion};
use crate::rate::parse::sha256_hex;
use crate::units::SamplingRate;
use crate::usage::{UsageKey, UsageRow, UsageSums};

fn tariff(id: &str, period: &str) -> TariffVersion {
    let text = include_str!("../../../tariffs/regional-isp.toml")
        .replace("\"regional-isp\"", &format!("\"{id}\""))
        .replace("anchor_day = 1", period);
    TariffVersion {
        id: id.to_owned(),
        version: 1,
        sha256: sha256_hex(text.as_bytes()),
        toml: text,
        effective: "2026-01-01".to_owned(),
        activated_at: 0,
        activated_by: "ann".to_owned(),
    }
}

/// A ledger with these customers, each with a tariff of its own name.
fn site(dir: &std::path::Path, customers: &[(&str, &str)]) -> (Config, Ledger) {
    let url = Url::parse("sqlite:ledger.sqlite", dir).expect("a URL");
    let mut ledger = Ledger::open(&url).expect("opens");
    let mut config = Config::builtin();
    for (name, period) in customers {
        ledger.put_tariff_version(&tariff(name, period)).expect("keeps");
        config.network.customers.push(CustomerRule {
            name: (*name).into(),
            prefixes: vec![],
            asns: vec![],
            interfaces: vec![],
            validity: Validity::default(),
            tariff: Some((*name).into()),
            address: vec![],
        });
    }
    (config, ledger)
}

fn at(instant: &str) -> i64 {
    instant.parse::<jiff::Timestamp>().expect("an instant").as_millisecond()
}

fn closed(
    ledger: &mut Ledger,
    config: &Config,
    now: &str,
    (only, no_grace): (Option<&str>, bool),
) -> Result<(usize, Vec<String>), String> {
    let closing = Closing { period: "2026-03".parse().expect("a month"), only, no_grace };
    match close_due(ledger, config, &closing, Actor { by: "ann", at: at(now) }) {
        Ok(done) => Ok((done.closed, done.waiting.iter().map(ToString::to_string).collect())),
        Err(Failure::Failed(error)) => Err(error.to_string()),
        Err(other) => panic!("{other:?}"),
    }
}

/// One record of so many octets of a customer, in the bucket of an instant.
fn used(ledger: &mut Ledger, source: &str, customer: &str, bucket: &str, octets: u64) {
    let customer = ledger.intern(NameKind::Customer, &[customer]).expect("interns")[0];
    let exporter = ledger.intern(NameKind::Exporter, &["ce1"]).expect("interns")[0];
    let key = UsageKey {
        bucket: BucketStart(at(bucket) / 1000),
        customer: CustomerId(customer),
        link: LinkId::NONE,
        direction: Direction::None,
        class: ClassId::DEFAULT,
        family: Family::V4,
        exporter: ExporterId(exporter.try_into().expect("small")),
        rate: SamplingRate::NOT_ANNOUNCED,
    };
    let sums = UsageSums { octets, packets: 1, flows: 1, squares_low: 1, squares_high: 1 };
    let totals = FlushTotals {
        datagrams: 1,
        records: 1,
        raw_octets: octets,
        metered_records: 1,
        metered_octets: octets,
        metered_packets: 1,
        ..FlushTotals::default()
    };
    let source = ledger.source(SourceKind::Capture, source).expect("a source");
    let advance = Advance { source: source.id, from: Position(0), to: Position(1), complete: true, totals };
    let flush = Flush {
        advances: vec![advance],
        usage: vec![UsageRow { key, sums }].into(),
        checkpoints: vec![],
        losses: vec![],
    };
    ledger.commit_flush(&flush).expect("commits");
}

/// March of `first` ends at Amsterdam's midnight of the 1st of April, that of `middle` at that of the 15th.
#[test]
fn each_customer_s_period_closes_on_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let (config, mut ledger) =
        site(dir.path(), &[("first", "anchor_day = 1"), ("middle", "anchor_day = 15")]);
    used(&mut ledger, "01", "first", "2026-03-20T12:00:00Z", 1000);
    used(&mut ledger, "02", "middle", "2026-03-20T12:00:00Z", 500);
    let not_yet = "not closed yet: `middle`; ends at 2026-04-14T22:00:00Z";
    let early = closed(&mut ledger, &config, "2026-03-31T21:59:59Z", (None, false)).expect_err("nobody");
    assert!(early.contains(not_yet) && early.contains("`first`; ends at 2026-03-31T22:00:00Z"), "{early}");
    assert_eq!(ledger.closed().expect("reads").until(5), None);

    let april = closed(&mut ledger, &config, "2026-04-02T00:00:00Z", (None, false));
    assert_eq!(april, Ok((1, vec![not_yet.to_owned()])));
    let numbers = ledger.intern(NameKind::Customer, &["first", "middle"]).expect("interns");
    let bounds = ledger.closed().expect("reads");
    let end = BucketStart(at("2026-03-31T22:00:00Z") / 1000);
    assert_eq!((bounds.until(numbers[0]), bounds.until(numbers[1])), (Some(end), None));
    // In time for `middle`, of a day that the books have already.
    used(&mut ledger, "03", "middle", "2026-03-21T12:00:00Z", 70);
    used(&mut ledger, "04", "first", "2026-03-21T12:00:00Z", 3);

    let middle = closed(&mut ledger, &config, "2026-04-14T22:00:00Z", (None, false));
    // Two customers and the four reserved names.
    assert_eq!(middle, Ok((6, vec![])));
    let checks = audit::run(&mut ledger).expect("reads");
    assert!(checks.iter().all(audit::Check::holds), "{checks:?}");
    let octets = checks.iter().find(|check| check.name == "octets").expect("a check");
    assert!(octets.figures.contains(&("entered", 1573)), "{octets:?}");
    // Once more does no harm.
    assert_eq!(closed(&mut ledger, &config, "2026-04-14T22:00:00Z", (None, false)), Ok((6, vec![])));
}

/// Three days after the 1st of April, by the clock of Amsterdam.
#[test]
fn a_period_waits_for_its_grace_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let (config, mut ledger) = site(dir.path(), &[("campus", "anchor_day = 1\ngrace = \"P3D\"")]);
    for (now, no_grace) in [("2026-04-03T21:59:59Z", false), ("2026-03-31T21:59:59Z", true)] {
        let refused = closed(&mut ledger, &config, now, (Some("campus"), no_grace)).expect_err("too early");
        let why = "2026-03: not closed yet: `campus`; ends at 2026-03-31T22:00:00Z, may be closed from \
                   2026-04-03T22:00:00Z on (`grace` of the tariff)";
        assert_eq!(refused, why);
    }
    assert_eq!(closed(&mut ledger, &config, "2026-03-31T22:00:00Z", (Some("campus"), true)), Ok((1, vec![])));
    let dir = tempfile::tempdir().expect("a directory");
    let (config, mut ledger) = site(dir.path(), &[("campus", "anchor_day = 1\ngrace = \"P3D\"")]);
    assert_eq!(
        closed(&mut ledger, &config, "2026-04-03T22:00:00Z", (Some("campus"), false)),
        Ok((1, vec![]))
    );
}

/// What interfaces counted in the last five minutes of a period is read afterwards: with charges that go by it, a quarter of an
/// hour is waited for, and also by those who do not wait for a grace time.
#[test]
fn a_period_waits_for_its_last_counters() {
    let mut text = tariff("counted", "anchor_day = 1").toml;
    for (from, to) in [
        ("\nkind = \"volume\"\n", "\nkind = \"volume\"\ncalibrate = true\n"),
        // Only links have interfaces.
        (
            "name = \"transit\"\nmatch = {}",
            "name = \"transit\"\nmatch = { link_kind = \"upstream\" }\n[[class]]\nname = \"rest\"\nmatch = {}",
        ),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    let counted = TariffVersion {
        sha256: sha256_hex(text.as_bytes()),
        toml: text,
        ..tariff("counted", "anchor_day = 1")
    };
    for no_grace in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut config, mut ledger) = site(dir.path(), &[("campus", "anchor_day = 1")]);
        ledger.put_tariff_version(&counted).expect("keeps");
        let mut town = config.network.customers[0].clone();
        (town.name, town.tariff) = ("town".to_owned(), Some("counted".to_owned()));
        config.network.customers.push(town);
        let why = "not closed yet: `town`; ends at 2026-03-31T22:00:00Z, may be closed from 2026-03-31T22:15:00Z on, with what \
                   interfaces counted in its last five minutes";
        let mut close = |now: &str, only: &str| closed(&mut ledger, &config, now, (Some(only), no_grace));
        assert_eq!(
            close("2026-03-31T22:00:00Z", "campus"),
            Ok((1, vec![])),
            "it has nothing to do with counters"
        );
        assert_eq!(close("2026-03-31T22:14:59Z", "town"), Err(format!("2026-03: {why}")));
        assert_eq!(close("2026-03-31T22:15:00Z", "town"), Ok((1, vec![])));
    }
}
