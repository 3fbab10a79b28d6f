//! A ledger with a month of usage of many customers, as a provider has it: made through the ledger's own interface, for the
//! test of what an invoice run takes (`invoice_run.rs`) and for `benches/invoices.rs`.
//!
//! Of 20 customers one is large: it uses both links in both directions in every bucket, unsampled, and pays by the 95th
//! percentile. The others have a home link and a busier time of the day; three in ten of their buckets have usage, some of
//! it over the second link, sampled 1 in 1000. Half of them pay by graduated tiers, half by the time of the day.

use std::fmt::Write;
use std::path::Path;

use fluxoscope::flow::{Direction, Family};
use fluxoscope::ids::{ClassId, CustomerId, ExporterId, LinkId, Position};
use fluxoscope::ledger::records::{Advance, Flush, FlushTotals, NameKind, SourceKind};
use fluxoscope::ledger::{Ledger, Url};
use fluxoscope::units::{RateSource, SamplingRate};
use fluxoscope::usage::{BucketStart, UsageKey, UsageRow, UsageSums};

/// The month.
pub(crate) const PERIOD: &str = "2026-08";
/// Its first bucket: midnight in Amsterdam, 22:00 UTC of the day before.
const FIRST: i64 = 1_785_535_200;
/// Its buckets: 31 days.
const BUCKETS: i64 = 8928;
/// Buckets of one flush.
const AT_ONCE: i64 = 12;
/// Of so many customers one is large.
const LARGE_IN: u32 = 20;

const NETWORK: &str = r#"
[[exporter]]
name = "ce1"
address = "192.0.2.1"
[[link]]
name = "transit-a"
kind = "upstream"
interfaces = [ { exporter = "ce1", ifindex = 1 } ]
[[link]]
name = "transit-b"
kind = "upstream"
interfaces = [ { exporter = "ce1", ifindex = 2 } ]
"#;

const HEAD: &str = r#"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "Europe/Amsterdam"
unit = "GB"
[[class]]
name = "all"
match = {}
[tax]
category = "S"
percent = "21"
"#;

const TIERS: &str = r#"
[[charge]]
id = "port"
kind = "recurring"
amount = "15.00"
[[charge]]
id = "vol"
kind = "volume"
class = ["all"]
direction = "sum"
tiers = { mode = "graduated", rows = [ { up_to = "100", price = "0.0430" }, { price = "0.0310" } ] }
"#;

const DAYTIME: &str = r#"
[[band]]
name = "peak"
days = "mon-fri"
hours = "08:30-20:00"
[[band]]
name = "off"
otherwise = true
[[charge]]
id = "vol"
kind = "volume"
class = ["all"]
direction = "in"
price = { peak = "0.05", off = "0.02" }
"#;

const P95: &str = r#"
[[charge]]
id = "p95"
kind = "percentile"
class = ["all"]
combine = "max-of-p95"
rank = "nearest"
links = "sum-then-rank"
missing = "zero"
source = "flow"
price = "3.10"
"#;

/// Numbers that look random and are the same each time.
fn mixed(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn name(customer: u32) -> String {
    format!("c{customer:05}")
}

/// Writes `fluxoscope.toml` and the ledger's `state/ledger.sqlite` into `directory`, and activates the tariffs. The number
/// of usage rows.
///
/// # Panics
/// Where something cannot be written.
pub(crate) fn make(directory: &Path, customers: u32) -> u64 {
    let mut config = NETWORK.to_owned();
    for customer in 0..customers {
        let tariff = match customer {
            large if large % LARGE_IN == 0 => "p95",
            other if other % 2 == 0 => "tiers",
            _ => "daytime",
        };
        let (high, low) = (customer / 256, customer % 256);
        writeln!(
            config,
            "[[customer]]\nname = \"{}\"\nprefixes = [\"10.{high}.{low}.0/24\"]\ntariff = \"{tariff}\"",
            name(customer)
        )
        .expect("memory");
    }
    std::fs::write(directory.join("fluxoscope.toml"), config).expect("writes");
    let state = directory.join("state");
    std::fs::create_dir_all(&state).expect("a directory");
    let mut ledger =
        Ledger::open(&Url::parse("sqlite:ledger.sqlite", &state).expect("a URL")).expect("opens");
    for (id, charges) in [("tiers", TIERS), ("daytime", DAYTIME), ("p95", P95)] {
        let file = directory.join(format!("{id}.toml"));
        std::fs::write(&file, format!("[tariff]\nid = \"{id}\"{HEAD}{charges}")).expect("writes");
        let now = fluxoscope::units::UnixMillis(0);
        fluxoscope::cli::billing_ledger::tariff_activate(&mut ledger, &file, "ann", now, false)
            .expect("activates");
    }
    let names: Vec<String> = (0..customers).map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ids = ledger.intern(NameKind::Customer, &names).expect("interns");
    let links = ledger.intern(NameKind::Link, &["transit-a", "transit-b"]).expect("interns");
    let links: Vec<u16> = links.into_iter().map(|link| link.try_into().expect("small")).collect();
    let exporter = ledger.intern(NameKind::Exporter, &["ce1"]).expect("interns")[0];
    let exporter = ExporterId(exporter.try_into().expect("small"));
    let source = ledger.source(SourceKind::Capture, "00").expect("a source").id;
    let mut all = 0;
    for (flush, first) in (0..BUCKETS).step_by(usize::try_from(AT_ONCE).expect("small")).enumerate() {
        let mut usage = Vec::new();
        for bucket in first..first + AT_ONCE {
            for (customer, &id) in (0..customers).zip(&ids) {
                push(&mut usage, bucket, (customer, id), &links, exporter);
            }
        }
        all += usage.len() as u64;
        let totals = FlushTotals {
            datagrams: 1,
            records: usage.len() as u64,
            metered_records: usage.len() as u64,
            raw_octets: usage.iter().map(|row| row.sums.octets).sum(),
            metered_octets: usage.iter().map(|row| row.sums.octets).sum(),
            metered_packets: usage.iter().map(|row| row.sums.packets).sum(),
            ..FlushTotals::default()
        };
        let (from, to) = (Position(flush as u64), Position(flush as u64 + 1));
        let advance = Advance { source, from, to, complete: to.0 * 12 == BUCKETS.unsigned_abs(), totals };
        ledger
            .commit_flush(&Flush {
                advances: vec![advance],
                usage: usage.into(),
                checkpoints: vec![],
                losses: vec![],
            })
            .expect("commits");
    }
    all
}

/// A customer's rows of a bucket, in the order of their keys.
fn push(
    rows: &mut Vec<UsageRow>,
    bucket: i64,
    (customer, id): (u32, u32),
    links: &[u16],
    exporter: ExporterId,
) {
    let is_large = customer.is_multiple_of(LARGE_IN);
    let dice = mixed((u64::from(customer) << 20) | bucket.unsigned_abs());
    // Busiest twelve hours after its quietest: 10 to 50 of 100 buckets.
    let hour = (bucket / 12 + i64::from(customer % 24)).rem_euclid(24);
    let chance = 10 + 40 * (12 - (hour - 12).abs()) / 12;
    if !is_large && dice % 100 >= chance.unsigned_abs() {
        return;
    }
    let rate = if is_large {
        SamplingRate::NOT_ANNOUNCED
    } else {
        SamplingRate::new(1000, 1, RateSource::Sampler).expect("a rate")
    };
    for (at, &link) in links.iter().enumerate() {
        let is_home = u64::try_from(at).expect("small") == u64::from(customer / 2 % 2);
        if !is_large && !is_home && !(dice >> 8).is_multiple_of(3) {
            continue;
        }
        for direction in [Direction::In, Direction::Out] {
            let packets = if is_large { 100_000 + (dice >> 16) % 900_000 } else { 1 + (dice >> 16) % 100 };
            let octets = packets * (200 + (dice >> 40) % 1200);
            let key = UsageKey {
                bucket: BucketStart(FIRST + bucket * 300),
                customer: CustomerId(id),
                link: LinkId(link),
                direction,
                class: ClassId::DEFAULT,
                family: Family::V4,
                exporter,
                rate,
            };
            let (flows, squares_low, squares_high) =
                (1 + packets / 10, octets * octets / packets, octets * 1500);
            rows.push(UsageRow {
                key,
                sums: UsageSums { octets, packets, flows, squares_low, squares_high },
            });
        }
    }
}
