//! More usage never costs less, and a period in parts is one period: what holds for charges of every kind.

use super::*;
use crate::rate::percentile::{Combine, Count, Links, Missing, Rank, Sample, SampleSource, Series, find};
use crate::rate::tariff::{PercentileRule, RateUnit};
use crate::rate::version::parts_among;

/// A charge by volume with tiers (units, price in 1/100), and other clauses.
fn charged(mode: &str, tiers: &[(u32, u32)], more: &str) -> Tariff {
    let (mut rows, mut end) = (Vec::new(), 0);
    for (at, (units, price)) in tiers.iter().enumerate() {
        end += units;
        let up_to = if at + 1 < tiers.len() { format!("up_to = \"{end}\", ") } else { String::new() };
        let block = if mode == "package" { ", block = \"7\"" } else { "" };
        let fee = if mode == "graduated" && at > 0 { ", fee = \"3.00\"" } else { "" };
        rows.push(format!("{{ {up_to}price = \"{}.{:02}\"{block}{fee} }}", price / 100, price % 100));
    }
    let rows = rows.join(", ");
    tariff(&format!(
        "[tariff]\nid = \"t\"\nversion = 1\neffective = 2026-01-01\ncurrency = \"EUR\"\n\
         timezone = \"Europe/Amsterdam\"\nunit = \"GB\"\n[[class]]\nname = \"all\"\nmatch = {{}}\n\
         [[charge]]\nid = \"vol\"\nkind = \"volume\"\nclass = [\"all\"]\n{more}\n\
         tiers = {{ mode = \"{mode}\", rows = [{rows}] }}\n\
         [minimum]\namount = \"20.00\"\n[tax]\ncategory = \"Z\"\npercent = \"0\"\n"
    ))
}

/// Octets, sampling rate, and whether they went out.
type Used = (u64, (u64, u64), bool);

fn used() -> impl Strategy<Value = Vec<Used>> {
    let rate = prop::sample::select(vec![(1, 1), (1000, 1), (3, 2), (4, 3)]);
    prop::collection::vec((0..1_u64 << 40, rate, any::<bool>()), 0..8)
}

fn usage(rows: &[Used], band: impl Fn(usize) -> usize) -> PeriodUsage {
    let mut usage = PeriodUsage::default();
    for (at, &(raw, (n, d), is_out)) in rows.iter().enumerate() {
        let direction = if is_out { Direction::Out } else { Direction::In };
        usage.add(GroupKey { band: band(at), ..key("a", "upstream", direction) }, &octets(raw), one_in(n, d));
    }
    usage
}

fn net(tariff: &Tariff, usage: &PeriodUsage) -> i64 {
    rate_period(&[whole(tariff, usage)]).expect("rates").totals.net.minor()
}

/// What lines cost before they are rounded.
fn exactly(tariff: &Tariff, usage: &PeriodUsage) -> Exact {
    let lines = rate(&whole(tariff, usage)).expect("rates");
    let costs = lines.iter().filter(|line| line.charge == "vol");
    costs.fold(Exact::zero(), |sum, line| sum.plus(&line.quantity.times(&Exact::from(line.price))))
}

proptest! {
    #[test]
    fn more_volume_never_costs_less_by_any_tiers(
        (rows, more) in (used(), used()),
        mode in prop::sample::select(vec!["flat", "graduated", "package"]),
        direction in prop::sample::select(vec!["in", "out", "sum", "max"]),
        tiers in prop::collection::vec((1..2000_u32, 0..1000_u32), 1..4),
        clauses in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let mut text = format!("direction = \"{direction}\"\n");
        if clauses.0 { text += "allowance = { quantity = \"300\" }\n"; }
        if clauses.1 { text += "cap = \"900.00\"\n"; }
        if clauses.2 { text += "sampled = { insensitive_below = \"50.5\" }\n"; }
        let tiers = if mode == "flat" { &tiers[..1] } else { &tiers[..] };
        let tariff = charged(mode, tiers, &text);
        let both: Vec<Used> = rows.iter().chain(&more).copied().collect();
        prop_assert!(net(&tariff, &usage(&both, |_| 0)) >= net(&tariff, &usage(&rows, |_| 0)));
        // Whether it was sampled is no matter, but for the volume.
        let plain: Vec<Used> = rows.iter().map(|&(raw, (n, d), out)| (raw * n / d, (1, 1), out)).collect();
        if rows.iter().all(|(raw, (n, d), _)| raw * n % d == 0) {
            prop_assert_eq!(net(&tariff, &usage(&rows, |_| 0)), net(&tariff, &usage(&plain, |_| 0)));
        }
    }

    /// Prices by band, with an allowance that is spent on the bands in any order.
    #[test]
    fn more_volume_never_costs_less_by_bands(
        (rows, more) in (used(), used()),
        (peak, off) in (0..500_u32, 0..500_u32),
        order in prop::sample::select(vec!["\"peak\", \"off\"", "\"off\", \"peak\""]),
        least in 0..400_u32,
    ) {
        let price = |cents: u32| format!("{}.{:02}", cents / 100, cents % 100);
        let text = TRANSIT
            .replace("[[class]]", "[[band]]\nname = \"peak\"\nhours = \"08:00-20:00\"\n[[band]]\nname = \"off\"\n\
                otherwise = true\n[[class]]")
            .replace("id = \"in\"", "id = \"vol\"")
            .replace("price = \"0.05\"", &format!(
                "price = {{ peak = \"{}\", off = \"{}\" }}\nsampled = {{ insensitive_below = \"{least}\" }}\n\
                 allowance = {{ quantity = \"100\", spend_order = [{order}] }}", price(peak), price(off)));
        let tariff = tariff(&text);
        let both: Vec<Used> = rows.iter().chain(&more).copied().collect();
        let cost = |rows: &[Used]| exactly(&tariff, &usage(rows, |at| at % 2));
        prop_assert!(cost(&both) >= cost(&rows));
    }

    /// A sample that is larger, in either direction, never lowers a percentile, however it is told.
    #[test]
    fn larger_samples_never_cost_less(
        values in prop::collection::vec((0..1000_u64, 0..1000_u64, 0..500_u64, any::<bool>()), 1..60),
        combine in prop::sample::select(vec![Combine::In, Combine::Out, Combine::MaxOfP95, Combine::P95OfMax,
            Combine::P95OfSum, Combine::SumOfP95, Combine::Pooled]),
        rank in prop::sample::select(vec![Rank::Nearest, Rank::Cacti, Rank::Rrdtool]),
        links in prop::sample::select(vec![Links::SumThenRank, Links::RankThenSum]),
    ) {
        let rule = PercentileRule {
            classes: vec![0], bands: vec![], combine, percent: Decimal::from(95), rank, links,
            missing: Missing::Exclude, min_coverage: None, source: SampleSource::Snmp, unit: RateUnit::Megabit,
            commit: None, price: Decimal::ONE,
        };
        let series = |is_more: bool, link: &str| {
            let sample = |&(inward, outward, more, is_in): &(u64, u64, u64, bool)| {
                let more = if is_more { more } else { 0 };
                let (inward, outward) = if is_in { (inward + more, outward) } else { (inward, outward + more) };
                Sample { inward: Count::octets(inward), outward: Count::octets(outward) }
            };
            Series {
                link: link.into(), class: 0, source: SampleSource::Snmp, is_sampled: false, exempt: vec![],
                samples: values.iter().map(sample).collect(),
            }
        };
        let of = |is_more| {
            let (first, second) = (series(is_more, "a"), series(false, "b"));
            find(&rule, &[&first, &second], |_| true).expect("samples").octets
        };
        prop_assert!(of(true) >= of(false));
    }

    /// Months of any length, over changes of clocks, from any anchor day, cut anywhere: the shares of the parts are one,
    /// and their buckets are the month's, each once.
    #[test]
    fn parts_of_any_month_are_the_month(
        year in 2023..2029_i16, month in 1..=12_i8, anchor in prop::sample::select(vec![1_i64, 15, 28, 29, 30, 31]),
        zone in prop::sample::select(vec!["Europe/Amsterdam", "America/New_York", "Asia/Kathmandu", "UTC"]),
        cuts in prop::collection::btree_set(1..27_i64, 0..4),
    ) {
        let period = Period::new(year, month).expect("a month");
        let made = |version: usize, effective: &str| tariff(&REGIONAL
            .replace("version = 1", &format!("version = {version}"))
            .replace("2026-01-01", effective)
            .replace("anchor_day = 1", &format!("anchor_day = {anchor}"))
            .replace("Europe/Amsterdam", zone));
        let first = made(1, "2020-01-01");
        let span = first.span(period);
        let mut versions = vec![first];
        for (at, day) in cuts.iter().enumerate() {
            let day = span.first_day.checked_add(jiff::Span::new().days(*day)).expect("a day");
            versions.push(made(at + 2, &day.to_string()));
        }
        let parts = parts_among(&versions, "regional-isp", period, Days::default(), None, |_| true).expect("covered");
        prop_assert_eq!(parts.len(), cuts.len() + 1);
        let mut share = Exact::zero();
        let mut bucket = span.buckets().0;
        for (number, (tariff, part)) in parts.iter().enumerate() {
            let term = Term { span: *part, period: tariff.span(period), number, presence: Presence::default() };
            share = share.plus(&term.share(tariff.proration));
            prop_assert_eq!(part.buckets().0, bucket);
            bucket = part.buckets().1;
        }
        prop_assert_eq!(share, Exact::whole(1));
        prop_assert_eq!(bucket, span.buckets().1);
    }
}
