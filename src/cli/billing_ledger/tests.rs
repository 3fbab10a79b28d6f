use super::*;
use crate::classify::rules::{CustomerRule, LinkRule, Validity};
use crate::flow::{Direction, Family};
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId, Position};
use crate::ledger::Url;
use crate::ledger::records::books::Actor;
use crate::ledger::records::{Advance, ConfigVersion, Flush, FlushTotals, SourceKind, UsageFilter};
use crate::units::SamplingRate;
use crate::usage::{BucketStart, UsageKey, UsageRow, UsageSums};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/regional-isp.toml")
}

const MARCH: &str = "2026-03";

fn march() -> Period {
    MARCH.parse().expect("a month")
}

fn network() -> Network {
    Network {
        links: vec![LinkRule {
            name: "transit-a".into(),
            kind: "upstream".into(),
            points: vec![],
            overhead: None,
        }],
        customers: vec![CustomerRule {
            name: "campus".into(),
            prefixes: vec![],
            asns: vec![],
            interfaces: vec![],
            validity: Validity::default(),
            tariff: Some("regional-isp".into()),
            address: vec![],
        }],
        ..Network::default()
    }
}

/// The run of March at `now`, in the seconds of the epoch.
fn made(ledger: &mut Ledger, network: &Network, now: i64) -> anyhow::Result<Outcome> {
    run_of(ledger, network, None, false, UnixMillis::from_seconds(now))
}

fn run_of(
    ledger: &mut Ledger,
    network: &Network,
    customer: Option<&str>,
    dry_run: bool,
    now: UnixMillis,
) -> anyhow::Result<Outcome> {
    let contacts = Contacts::default();
    let wanted = Wanted { network, seller: None, period: march(), customer, contacts, now, reconcile: None };
    Ok(invoice_run(ledger, &wanted, dry_run)?.outcome)
}

/// A ledger in which campus has 12000 GB of March.
fn metered(dir: &Path) -> Ledger {
    let url = Url::parse("sqlite:ledger.sqlite", dir).expect("a URL");
    let mut ledger = Ledger::open(&url).expect("opens");
    let customer = ledger.intern(NameKind::Customer, &["campus"]).expect("interns")[0];
    let link = ledger.intern(NameKind::Link, &["transit-a"]).expect("interns")[0];
    let exporter = ledger.intern(NameKind::Exporter, &["ce1"]).expect("interns")[0];
    let source = ledger.source(SourceKind::Capture, "00").expect("a source");
    let sums =
        UsageSums { octets: 12_000_000_000_000, packets: 9, flows: 1, squares_low: 1, squares_high: 1 };
    let key = UsageKey {
        bucket: BucketStart(1_772_319_600),
        customer: CustomerId(customer),
        link: LinkId(link.try_into().expect("small")),
        direction: Direction::In,
        class: ClassId::DEFAULT,
        family: Family::V4,
        exporter: ExporterId(exporter.try_into().expect("small")),
        rate: SamplingRate::NOT_ANNOUNCED,
    };
    let totals = FlushTotals {
        datagrams: 1,
        records: 1,
        raw_octets: sums.octets,
        metered_records: 1,
        metered_octets: sums.octets,
        metered_packets: sums.packets,
        ..FlushTotals::default()
    };
    let advance = Advance { source: source.id, from: Position(0), to: Position(1), complete: true, totals };
    let flush = Flush {
        advances: vec![advance],
        usage: vec![UsageRow { key, sums }].into(),
        checkpoints: vec![],
        losses: vec![],
    };
    ledger.commit_flush(&flush).expect("commits");
    ledger
}

/// 10000 GB at 0.0430, 2000 GB at 0.0310 and the port: 430 + 62 + 150 = 642.00; 21 % are 134.82.
#[test]
fn from_usage_in_the_ledger_to_exported_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut ledger, file, network) = (metered(dir.path()), example(), network());
    assert!(matches!(
        tariff_activate(&mut ledger, &file, "ann", UnixMillis(0), false),
        Ok(Activation::New(_))
    ));
    let again = tariff_activate(&mut ledger, &file, "bob", UnixMillis(9), false).expect("the same");
    let Activation::AlreadyActive(first) = again else { panic!("{again:?}") };
    assert_eq!(first.activated_by, "ann");
    assert_eq!(tariff_list(&mut ledger).expect("lists").len(), 1);
    assert_eq!(tariff_show(&mut ledger, "regional-isp", Some(1)).expect("there").sha256, first.sha256);

    let march = march();
    let mut made = |only: Option<&str>, dry_run| {
        run_of(&mut ledger, &network, only, dry_run, UnixMillis(0)).expect("runs")
    };
    let outcome = made(None, true);
    assert_eq!(outcome, made(Some("campus"), false));
    assert_eq!(outcome, made(None, false), "again: the draft is replaced by itself");
    assert_eq!(outcome.problems, []);
    assert_eq!(outcome.invoices[0].gross.to_string(), "776.82");
    assert_eq!(invoice_list(&mut ledger, Some(march), None).expect("lists").len(), 1);
    let (_, shown) = invoice_show(&mut ledger, "DRAFT-2026-03-campus").expect("there");
    assert_eq!(shown, outcome.invoices[0]);
    assert!(invoice_show(&mut ledger, "DRAFT-2026-03-nobody").is_err());
    let files = invoice_export(&mut ledger, march, &Format::ALL, dir.path()).expect("exports");
    assert!(files.iter().all(|file| file.is_file()) && files.len() == 3);
}

/// 12000 GB: 642.00 by the regional tariff; with its first tier at 0.0500 712.00; at 0.05 a GB 600.00.
#[test]
fn what_other_tariffs_would_cost_on_real_usage() {
    use crate::cli::tariff_money::{Ground, named, rows};
    let dir = tempfile::tempdir().expect("a directory");
    let (mut ledger, network) = (metered(dir.path()), network());
    tariff_activate(&mut ledger, &example(), "ann", UnixMillis(0), false).expect("activates");
    made(&mut ledger, &network, 0).expect("runs");
    let before = drafts(&mut ledger);
    let text = std::fs::read_to_string(example()).expect("reads");
    let file = dir.path().join("next.toml");
    std::fs::write(&file, text.replace("version = 1", "version = 2").replace("0.0430", "0.0500"))
        .expect("writes");
    let mut tariff = |text: &str| {
        named(text, |id| -> anyhow::Result<Vec<TariffVersion>> { Ok(ledger.tariff_versions(Some(id))?) })
    };
    let next = tariff(file.to_str().expect("UTF-8")).expect("a file");
    let active = tariff("regional-isp@1").expect("active");
    assert_eq!((next.version, active.version), (2, 1));
    assert_eq!(tariff("regional-isp").expect("the newest"), active);
    for wrong in ["regional-isp@2", "regional-isp@x", "other", "absent.toml"] {
        assert!(tariff(wrong).is_err(), "{wrong}");
    }
    let per_gb = Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/transit-per-gb.toml");
    let per_gb = tariff(per_gb.to_str().expect("UTF-8")).expect("a file");

    let mut ground = Ground {
        ledger: &mut ledger,
        network: &network,
        period: march(),
        customer: None,
        now: UnixMillis(0),
    };
    let row = |before: &str, after: &str, difference: &str| {
        vec![["campus", "EUR", before, after, difference].map(str::to_owned)]
    };
    let simulated = ground.simulate(&next).expect("runs");
    assert_eq!(rows(&simulated.priced), row("642.00", "712.00", "70.00"));
    assert_eq!(simulated.problems, [""; 0]);
    assert_eq!(
        rows(&ground.replay(&active, &per_gb).expect("runs").priced),
        row("642.00", "600.00", "-42.00")
    );
    assert_eq!(ground.simulate(&per_gb).expect("runs").priced, [], "nobody has it");
    assert_eq!(ground.standings().expect("runs"), [], "nothing is included");
    ground.customer = Some("campus");
    assert_eq!(rows(&ground.simulate(&per_gb).expect("runs").priced), row("642.00", "600.00", "-42.00"));
    assert_eq!(drafts(&mut ledger), before, "nothing is kept");

    // 1000 GB that come late for March: 31.00 more by the one, 31.00 by the other, and 50.00 by the third.
    come_late(&mut ledger, "01", APRIL, 1_772_319_600 + 864_000, 1_000);
    let mut ground = Ground {
        ledger: &mut ledger,
        network: &network,
        period: march(),
        customer: None,
        now: UnixMillis(0),
    };
    let simulated = ground.simulate(&next).expect("runs");
    assert_eq!(rows(&simulated.priced), row("673.00", "743.00", "70.00"));
    let replayed = ground.replay(&active, &per_gb).expect("runs");
    assert_eq!(rows(&replayed.priced), row("673.00", "650.00", "-23.00"));
}

fn drafts(ledger: &mut Ledger) -> Vec<(String, String)> {
    let listed = invoice_list(ledger, None, None).expect("lists");
    listed.into_iter().map(|stored| (stored.number, stored.sha256)).collect()
}

#[test]
fn a_run_leaves_no_draft_of_a_former_one_and_a_failed_run_leaves_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = metered(dir.path());
    tariff_activate(&mut ledger, &example(), "ann", UnixMillis(0), false).expect("activates");
    made(&mut ledger, &network(), 0).expect("runs");
    let before = drafts(&mut ledger);
    assert_eq!(before.len(), 1);

    let unknown = run_of(&mut ledger, &network(), Some("nobody"), false, UnixMillis(0));
    assert!(unknown.is_err());
    assert_eq!(drafts(&mut ledger), before, "a failed run");
    let mut without = network();
    without.customers[0].tariff = None;
    let dry = run_of(&mut ledger, &without, None, true, UnixMillis(0));
    assert!(dry.expect("runs").invoices.is_empty());
    assert_eq!(drafts(&mut ledger), before, "a dry run");

    assert!(made(&mut ledger, &without, 0).expect("runs").invoices.is_empty());
    assert_eq!(drafts(&mut ledger), []);
    let out = dir.path().join("out");
    assert!(invoice_export(&mut ledger, march(), &Format::ALL, &out).expect("nothing").is_empty());
    assert!(!out.exists(), "nothing to write, and no directory for it");
}

#[test]
fn a_retroactive_version_names_the_drafts_that_change() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = metered(dir.path());
    let text = std::fs::read_to_string(example()).expect("reads");
    let activate = |ledger: &mut Ledger, version: i64, effective: &str| {
        let text = text.replace("version = 1", &format!("version = {version}"));
        let file = dir.path().join("tariff.toml");
        std::fs::write(&file, text.replace("2026-01-01", effective)).expect("writes");
        let activation = tariff_activate(ledger, &file, "ann", UnixMillis(0), false).expect("activates");
        let Activation::New(version) = activation else { panic!("new") };
        retroactive_warning(ledger, &version).expect("understood")
    };
    assert_eq!(activate(&mut ledger, 1, "2026-01-01"), None);
    made(&mut ledger, &network(), 0).expect("runs");
    assert_eq!(activate(&mut ledger, 2, "2026-04-01"), None);
    let begins = |version: i64, of: &str| {
        format!(
            "version {version} of tariff `regional-isp` does not begin after version {of}: it takes over "
        )
    };
    let april = "the periods from 2026-04-01 on; there are no drafts of them";
    assert_eq!(activate(&mut ledger, 3, "2026-04-01"), Some(begins(3, "2 (2026-04-01)") + april));
    let march =
        "the periods from 2026-02-01 up to 2026-04-01; drafts that change when they are run again: 2026-03";
    assert_eq!(activate(&mut ledger, 4, "2026-02-01"), Some(begins(4, "3 (2026-04-01)") + march));
    let january = "the periods from 2026-01-01 up to 2026-02-01; there are no drafts of them";
    assert_eq!(activate(&mut ledger, 5, "2026-01-01"), Some(begins(5, "3 (2026-04-01)") + january));
}

#[test]
fn the_history_of_an_unknown_tariff_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = metered(dir.path());
    assert_eq!(tariff_history(&mut ledger, None).expect("empty"), []);
    tariff_activate(&mut ledger, &example(), "ann", UnixMillis(0), false).expect("activates");
    assert_eq!(tariff_history(&mut ledger, Some("regional-isp")).expect("there").len(), 1);
    let error = tariff_history(&mut ledger, Some("nope")).expect_err("unknown");
    assert_eq!(error.to_string(), "there is no active tariff `nope`");
}

/// 2026-04-01T00:00 in Amsterdam.
const APRIL: i64 = 1_774_994_400;

#[test]
fn the_kind_of_a_link_is_that_of_the_ledger_s_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = metered(dir.path());
    tariff_activate(&mut ledger, &example(), "ann", UnixMillis(0), false).expect("activates");
    let mut gross = |network: &Network, now: i64, stored: bool| {
        if stored {
            let text = serde_json::to_string(network).expect("JSON");
            let sha256 = crate::rate::parse::sha256_hex(text.as_bytes());
            let version = ConfigVersion { sha256, text, valid_from: now * 1000 };
            assert!(ledger.put_config_version(&version).expect("stores"));
        }
        let outcome = made(&mut ledger, network, now).expect("runs");
        assert_eq!(outcome.problems, []);
        outcome.invoices[0].gross.to_string()
    };
    let mut peering = network();
    peering.links[0].kind = "peering".into();
    let mut removed = network();
    removed.links.clear();
    // 150.00 and 21 % of it: peering is free.
    assert_eq!(gross(&peering, APRIL + 9, false), "181.50", "nothing stored: what there is holds always");
    assert_eq!(gross(&network(), APRIL - 9000, true), "776.82");
    assert_eq!(gross(&peering, APRIL, false), "776.82", "not stored yet, and later than March");
    assert_eq!(gross(&peering, APRIL - 1, false), "181.50", "not stored yet, and in March");
    assert_eq!(gross(&peering, APRIL, true), "776.82");
    assert_eq!(gross(&removed, APRIL + 1, true), "776.82");
    assert_eq!(gross(&removed, APRIL + 2, false), "776.82");
}

/// The usage of campus in Amsterdam's first hour of March is in no period of the new tariff, and `idle` has none.
#[test]
fn a_seam_between_periods_is_a_problem_where_something_would_be_lost() {
    use crate::invoice::run::Reason;
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = metered(dir.path());
    let text = std::fs::read_to_string(example()).expect("reads");
    let changed = [("anchor_day = 1", "anchor_day = 15"), ("Europe/Amsterdam", "America/New_York")];
    for (id, (old, new)) in [("regional-isp", ("", "")), ("m15", changed[0]), ("ny", changed[1])] {
        let file = dir.path().join("tariff.toml");
        let text = text.replace("\"regional-isp\"", &format!("\"{id}\""));
        std::fs::write(&file, if old.is_empty() { text } else { text.replace(old, new) }).expect("writes");
        tariff_activate(&mut ledger, &file, "ann", UnixMillis(0), false).expect("activates");
    }
    let with = |tariff: &str| {
        let mut network = network();
        network.customers.push(CustomerRule { name: "idle".into(), ..network.customers[0].clone() });
        network.customers.iter_mut().for_each(|rule| rule.tariff = Some(tariff.into()));
        network
    };
    let text = serde_json::to_string(&with("regional-isp")).expect("JSON");
    let version = ConfigVersion { sha256: "00".into(), text, valid_from: 0 };
    assert!(ledger.put_config_version(&version).expect("stores"));
    let mut of = |tariff: &str| {
        let outcome = made(&mut ledger, &with(tariff), APRIL - 9000).expect("runs");
        assert!(outcome.problems.iter().all(|problem| matches!(problem.reason, Reason::Seam(_))));
        let problems: Vec<String> = outcome.problems.into_iter().map(|problem| problem.customer).collect();
        let drafts: Vec<String> = outcome.invoices.into_iter().map(|invoice| invoice.customer.name).collect();
        (drafts.join(" "), problems.join(" "))
    };
    assert_eq!(of("regional-isp"), ("campus idle".into(), String::new()));
    assert_eq!(of("ny"), ("idle".into(), "campus".into()), "hours are lost only where they are used");
    assert_eq!(of("m15"), (String::new(), "campus idle".into()));

    // An operator accepts that of campus, and says why.
    let network = with("m15");
    let kinds = link_kinds(&mut ledger, &network, UnixMillis::from_seconds(APRIL - 9000)).expect("kinds");
    let all = tariffs::understand(&ledger.tariff_versions(None).expect("reads")).expect("understood");
    let found = seams::of(&mut ledger, (&kinds, &all), "campus", march()).expect("reads");
    let (number, seam) = found.expect("a seam");
    let ann = Actor { by: "ann", at: 7 };
    ledger.accept_seam(number, (seam.ends, seam.begins), "agreed by letter", ann).expect("keeps");
    let outcome = made(&mut ledger, &network, APRIL - 9000).expect("runs");
    assert_eq!(outcome.invoices.len(), 1);
    assert_eq!((&*outcome.invoices[0].customer.name, &*outcome.problems[0].customer), ("campus", "idle"));
    let decisions = ledger.decisions().expect("reads").0;
    assert_eq!((&*decisions[0].reason, &*decisions[0].by), ("agreed by letter", "ann"));
}

/// Usage of campus that comes after the buckets before `closed` were closed.
fn come_late(ledger: &mut Ledger, source: &str, closed: i64, bucket: i64, gigabytes: u64) {
    let mut row = None;
    ledger.for_each_usage(&UsageFilter::default(), &mut |any| row = Some(any)).expect("reads");
    let mut row = row.expect("campus has usage");
    let ann = Actor { by: "ann", at: 0 };
    ledger.close(&[(Some(row.key.customer.0), BucketStart(closed))], ann).expect("closes");
    row.key.bucket = BucketStart(bucket);
    row.sums.octets = gigabytes * 1_000_000_000;
    let source = ledger.source(SourceKind::Capture, source).expect("a source");
    let totals = FlushTotals {
        datagrams: 1,
        records: 1,
        raw_octets: row.sums.octets,
        metered_records: 1,
        metered_octets: row.sums.octets,
        metered_packets: row.sums.packets,
        ..FlushTotals::default()
    };
    let advance = Advance { source: source.id, from: Position(0), to: Position(1), complete: true, totals };
    let flush =
        Flush { advances: vec![advance], usage: vec![row].into(), checkpoints: vec![], losses: vec![] };
    ledger.commit_flush(&flush).expect("commits");
}

const ROLLING: &str = r#"
[tariff]
id = "regional-isp"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "Europe/Amsterdam"
unit = "GB"
[[class]]
name = "all"
match = {}
[[charge]]
id = "vol"
kind = "volume"
class = ["all"]
direction = "in"
allowance = { quantity = "10000", rollover = "next-period" }
price = "1.00"
[tax]
category = "Z"
percent = "0"
"#;

/// March has 12000 GB and 10000 of its own. February left 10000; with 9000 that came late for it, 1000.
#[test]
fn late_usage_takes_from_what_rolls_over() {
    takes_from_what_rolls_over(ROLLING);
}

/// The same where nothing rolls over but for this one customer.
#[test]
fn late_usage_takes_from_what_rolls_over_by_an_override() {
    let own = "[[override]]\ncustomer = [\"campus\"]\ncharge = \"vol\"\n\
        allowance = { quantity = \"10000\", rollover = \"next-period\" }\n";
    let plain = ROLLING.replace("\"next-period\"", "\"none\"");
    takes_from_what_rolls_over(&format!("{plain}{own}"));
}

fn takes_from_what_rolls_over(tariff: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = metered(dir.path());
    let file = dir.path().join("rolling.toml");
    std::fs::write(&file, tariff).expect("writes");
    tariff_activate(&mut ledger, &file, "ann", UnixMillis(0), false).expect("activates");
    let network = network();
    let net = |ledger: &mut Ledger, month: &str| {
        let (contacts, period) = (Contacts::default(), month.parse().expect("a month"));
        let now = UnixMillis(0);
        let wanted = Wanted {
            network: &network,
            seller: None,
            period,
            customer: None,
            contacts,
            now,
            reconcile: None,
        };
        let made = invoice_make(ledger, &wanted).expect("runs");
        assert_eq!((made.outcome.problems, made.failed), (vec![], vec![]));
        made.outcome.invoices[0].net.to_string()
    };
    assert_eq!(net(&mut ledger, MARCH), "0.00");
    // 2026-03-01T00:00 in Amsterdam; ten days before.
    let march = 1_772_319_600;
    come_late(&mut ledger, "01", march, march - 864_000, 9_000);
    assert_eq!(net(&mut ledger, MARCH), "1000.00", "12000 - 10000 - 1000");
    // March has nothing left when 500 more come for it.
    come_late(&mut ledger, "02", APRIL, march + 864_000, 500);
    assert_eq!(net(&mut ledger, MARCH), "1000.00");
    assert_eq!(net(&mut ledger, "2026-04"), "500.00");
}
