//! Rating against a model in another language: a thousand random tariffs and usages, every line of them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use fluxoscope::flow::{Direction, Family};
use fluxoscope::period::Period;
use fluxoscope::rate::parse::parse;
use fluxoscope::rate::percentile::{Count, Rank, Sample, SampleSource, Series};
use fluxoscope::rate::usage::{GroupKey, PeriodUsage};
use fluxoscope::rate::{Part, Term, rate_period};
use fluxoscope::units::{RateSource, SamplingRate, UnixMillis};
use fluxoscope::usage::UsageSums;
use serde_json::{Value, json};

/// A generator that gives the same numbers everywhere (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.next()).unwrap() % from.len()]
    }

    /// A decimal below `n` with `places` digits after the point.
    fn decimal(&mut self, n: u64, places: u32) -> String {
        let ten = 10_u64.pow(places);
        let digits = self.below(n * ten);
        if places == 0 {
            return digits.to_string();
        }
        format!("{}.{:0width$}", digits / ten, digits % ten, width = places as usize)
    }

    fn price(&mut self) -> String {
        let places = u32::try_from(self.below(6)).unwrap();
        self.decimal(3, places)
    }
}

const CLASSES: [&str; 3] = ["up", "ix", "rest"];

/// What a tariff is made of.
struct Made {
    text: String,
    bands: Vec<&'static str>,
    exponent: u32,
}

fn tariff(random: &mut Random) -> Made {
    let (currency, exponent) = random.pick(&[("EUR", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3)]);
    let unit = random.pick(&["GB", "GiB", "TB"]);
    let bands = match random.below(3) {
        0 => vec![],
        1 => vec!["peak", "off"],
        _ => vec!["peak", "evening", "off"],
    };
    let mut text = format!(
        "[tariff]\nid = \"t\"\nversion = 1\neffective = 2026-01-01\ncurrency = \"{currency}\"\n\
         timezone = \"Europe/Amsterdam\"\nunit = \"{unit}\"\n\
         [[class]]\nname = \"up\"\nmatch = {{ link = \"transit-*\" }}\n\
         [[class]]\nname = \"ix\"\nmatch = {{ link_kind = [\"peering\"] }}\n\
         [[class]]\nname = \"rest\"\nmatch = {{}}\n"
    );
    for band in &bands {
        let when = match *band {
            "peak" => "days = \"mon-fri\"\nhours = \"08:00-18:00\"",
            "evening" => "hours = \"18:00-22:00\"",
            _ => "otherwise = true",
        };
        writeln!(text, "[[band]]\nname = \"{band}\"\n{when}").unwrap();
    }
    let charges = 1 + random.below(4);
    for n in 0..charges {
        match random.below(5) {
            0 => {
                let (amount, quantity) = (random.decimal(500, exponent), random.decimal(4, 1));
                writeln!(
                    text,
                    "[[charge]]\nid = \"c{n}\"\nkind = \"recurring\"\namount = \"{amount}\"\nquantity = \"{quantity}\""
                )
                .unwrap();
            }
            1 => percentile(random, n, &mut text),
            _ => volume(random, n, (&bands, exponent), &mut text),
        }
    }
    adjustments(random, charges, exponent, &mut text);
    Made { text, bands, exponent }
}

fn classes(random: &mut Random) -> String {
    let first = random.pick(&CLASSES);
    let chosen = CLASSES.iter().filter(|&&class| class == first || random.one_in(2));
    let some: Vec<String> = chosen.map(|class| format!("\"{class}\"")).collect();
    format!("[{}]", some.join(", "))
}

fn percentile(random: &mut Random, n: u64, text: &mut String) {
    let combine =
        random.pick(&["in", "out", "max-of-p95", "p95-of-max", "p95-of-sum", "sum-of-p95", "pooled"]);
    let (rank, missing) = (random.pick(&["nearest", "cacti", "rrdtool"]), random.pick(&["exclude", "zero"]));
    let (links, percent) =
        (random.pick(&["sum-then-rank", "rank-then-sum"]), random.pick(&["95", "99.9", "50"]));
    writeln!(
        text,
        "[[charge]]\nid = \"c{n}\"\nkind = \"percentile\"\nclass = [\"up\", \"ix\"]\ncombine = \"{combine}\"\n\
         rank = \"{rank}\"\nmissing = \"{missing}\"\nlinks = \"{links}\"\npercentile = \"{percent}\"\nsource = \"snmp\""
    )
    .unwrap();
    if random.one_in(2) {
        writeln!(text, "price = \"{}\"", random.price()).unwrap();
    } else {
        let (quantity, first, second) = (random.decimal(200, 1), random.price(), random.price());
        writeln!(text, "commit = {{ quantity = \"{quantity}\", price = \"{first}\" }}\noverage = {{ price = \"{second}\" }}")
            .unwrap();
    }
}

fn volume(random: &mut Random, n: u64, (bands, exponent): (&[&str], u32), text: &mut String) {
    let direction = random.pick(&["in", "out", "sum", "max"]);
    let chosen = classes(random);
    writeln!(
        text,
        "[[charge]]\nid = \"c{n}\"\nkind = \"volume\"\nclass = {chosen}\ndirection = \"{direction}\""
    )
    .unwrap();
    let own: Vec<&str> =
        if !bands.is_empty() && random.one_in(3) { vec![bands[0], bands[1]] } else { bands.to_vec() };
    if own.len() < bands.len() {
        writeln!(text, "band = [\"{}\"]", own.join("\", \"")).unwrap();
    }
    if random.one_in(2) {
        let quantity = random.decimal(900, 1);
        let mut order: Vec<String> = own.iter().map(|band| format!("\"{band}\"")).collect();
        if random.one_in(2) {
            order.reverse();
        }
        let order =
            if order.is_empty() { String::new() } else { format!(", spend_order = [{}]", order.join(", ")) };
        writeln!(text, "allowance = {{ quantity = \"{quantity}\"{order} }}").unwrap();
    }
    let mode = random.pick(&["graduated", "volume", "package", "flat"]);
    let rows = if mode == "flat" { 1 } else { 1 + random.below(4) };
    let (mut made, mut end) = (Vec::new(), 0);
    for row in 0..rows {
        let mut cells = Vec::new();
        if row + 1 < rows {
            end += 1 + random.below(2000);
            cells.push(format!("up_to = \"{end}.{}\"", random.below(10)));
        }
        if mode != "package" && !own.is_empty() && random.one_in(2) {
            let each: Vec<String> =
                own.iter().map(|band| format!("{band} = \"{}\"", random.price())).collect();
            cells.push(format!("price = {{ {} }}", each.join(", ")));
        } else {
            cells.push(format!("price = \"{}\"", random.price()));
        }
        match mode {
            "package" => cells.push(format!("block = \"{}.5\"", random.below(300))),
            "graduated" | "volume" if random.one_in(3) => {
                cells.push(format!("fee = \"{}\"", random.decimal(50, exponent)))
            }
            _ => {}
        }
        made.push(format!("{{ {} }}", cells.join(", ")));
    }
    writeln!(text, "tiers = {{ mode = \"{mode}\", rows = [{}] }}", made.join(", ")).unwrap();
    if random.one_in(4) {
        writeln!(text, "cap = \"{}\"", random.decimal(900, exponent)).unwrap();
    }
    match random.below(4) {
        0 => writeln!(
            text,
            "sampled = {{ basis = \"lower\", confidence = \"{}\" }}",
            random.pick(&["0.90", "0.95", "0.99"])
        )
        .unwrap(),
        1 => writeln!(text, "sampled = {{ insensitive_below = \"{}\" }}", random.decimal(300, 1)).unwrap(),
        _ => {}
    }
}

fn adjustments(random: &mut Random, charges: u64, exponent: u32, text: &mut String) {
    let charge = random.below(charges);
    if random.one_in(3) {
        writeln!(
            text,
            "[[exempt]]\nname = \"e\"\nmatch = {{ traffic_class = \"mirror\", family = \"ipv4\" }}"
        )
        .unwrap();
    }
    if random.one_in(2) {
        writeln!(text, "[[discount]]\nid = \"d1\"\npercent = \"{}\"", random.decimal(50, 2)).unwrap();
    }
    if random.one_in(3) {
        let amount = random.decimal(50, exponent);
        writeln!(text, "[[discount]]\nid = \"d2\"\namount = \"{amount}\"\non = [\"c{charge}\"]").unwrap();
    }
    if random.one_in(3) {
        writeln!(text, "[[discount]]\nid = \"d3\"\npercent = \"{}\"", random.decimal(50, 2)).unwrap();
    }
    if random.one_in(2) {
        writeln!(text, "[minimum]\namount = \"{}\"", random.decimal(700, exponent)).unwrap();
        if random.one_in(2) {
            writeln!(text, "on = [\"c{charge}\"]").unwrap();
        }
    }
    writeln!(text, "[tax]\ncategory = \"S\"\npercent = \"{}1\"", random.decimal(25, 2)).unwrap();
}

/// Usage of a case, and the same for the model.
fn usage(random: &mut Random, bands: usize) -> (PeriodUsage, Value, Value) {
    let (mut usage, mut rows) = (PeriodUsage::default(), Vec::new());
    let rates = [(1, 1), (1, 1), (1000, 1), (3, 2), (4, 3), (512, 7)];
    for _ in 0..random.below(14) {
        let (n, d) = random.pick(&rates);
        let key = GroupKey {
            link: random.pick(&["transit-a", "transit-b", "ams-ix", "lab"]).to_owned(),
            link_kind: random.pick(&["upstream", "peering"]).to_owned(),
            direction: random.pick(&[Direction::In, Direction::Out, Direction::None]),
            traffic_class: random.pick(&["default", "mirror"]).to_owned(),
            family: if random.one_in(2) { Family::V4 } else { Family::V6 },
            exporter: "gw".to_owned(),
            band: usize::try_from(random.next()).unwrap() % bands.max(1),
        };
        let bits = 10 + random.below(32);
        let (octets, squares) = (random.below(1 << bits), random.below(1 << (bits + 10)));
        let sums = UsageSums { octets, packets: 1, flows: 1, squares_low: 0, squares_high: squares };
        rows.push(json!({
            "link": key.link, "link_kind": key.link_kind, "direction": key.direction.as_str(),
            "traffic_class": key.traffic_class, "family": key.family.as_str(), "exporter": key.exporter,
            "band": key.band, "octets": octets, "squares": squares, "n": n, "d": d,
        }));
        usage.add(key, &sums, SamplingRate::new(n, d, RateSource::Sampler).unwrap());
    }
    let buckets = 20 + random.below(40);
    let mut series = Vec::new();
    for class in [0, 0, 1] {
        let mut counts = || if random.one_in(9) { None } else { Some(random.below(20_000_000_000)) };
        let values: Vec<[Option<u64>; 2]> = (0..buckets).map(|_| [counts(), counts()]).collect();
        let count = |value: Option<u64>| value.map_or(Count::MISSING, Count::octets);
        let samples =
            values.iter().map(|&[inward, outward]| Sample { inward: count(inward), outward: count(outward) });
        usage.series.push(Series {
            link: format!("link-{}", series.len()),
            class,
            source: SampleSource::Snmp,
            is_sampled: false,
            exempt: vec![],
            samples: samples.collect(),
        });
        series.push(json!([class, values]));
    }
    (usage, Value::from(rows), Value::from(series))
}

/// Lines and totals as the model writes them: quantities and prices in 10^-9, amounts in minor units.
fn rated(part: Part<'_>) -> Value {
    let rated = rate_period(&[part]).unwrap();
    let number =
        |decimal: String| -> Value { decimal.replace('.', "").parse::<i128>().unwrap().to_string().into() };
    let lines: Vec<Value> = rated
        .charges
        .iter()
        .map(|line| {
            let price = fluxoscope::money::Exact::from(line.price).to_fixed_string(9);
            let amount = line.amount.minor().to_string();
            json!([line.charge, number(line.quantity.to_fixed_string(9)), number(price), amount])
        })
        .collect();
    let totals = rated.totals;
    let minor = |money: fluxoscope::money::Money| Value::from(money.minor().to_string());
    json!({ "lines": lines, "net": minor(totals.net), "tax": minor(totals.tax), "gross": minor(totals.gross) })
}

/// All numbers as texts, since JSON readers differ in how large they may be.
fn texts(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.to_string().into(),
        Value::Array(items) => items.iter().map(texts).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), texts(value))).collect(),
        other => other.clone(),
    }
}

fn model(cases: &Value) -> Vec<Value> {
    let mut child = Command::new("python3")
        .args(["-c", include_str!("rating_model.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = cases.to_string();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer.as_array().unwrap().iter().map(texts).collect()
}

#[test]
fn a_thousand_tariffs_cost_what_the_model_says() {
    let mut random = Random(20_260_301);
    let (mut cases, mut found) = (Vec::new(), Vec::new());
    let period: Period = "2026-03".parse().unwrap();
    let mut lines = 0;
    while cases.len() < 1000 {
        let Made { text, bands, exponent } = tariff(&mut random);
        let tariff = parse("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        assert_eq!(u32::from(tariff.currency.exponent()), exponent);
        let (usage, rows, series) = usage(&mut random, bands.len());
        // Whole periods, and parts of the 743 hours of March from the beginning on.
        let hours = if random.one_in(2) { 743 } else { 1 + random.below(742) };
        let mut term = Term::whole(&tariff, period);
        term.span.to = UnixMillis(term.span.from.0 + i64::try_from(hours).unwrap() * 3_600_000);
        let result = rated(Part { tariff: &tariff, usage: &usage, term });
        lines += result["lines"].as_array().unwrap().len();
        found.push(result);
        cases.push(json!({ "tariff": text, "usage": rows, "series": series, "share": [hours, 743] }));
    }
    assert!(lines > 4000, "{lines} lines say little");
    let cases = Value::from(cases);
    let expected = model(&cases);
    assert_eq!(expected.len(), found.len());
    for ((expected, found), case) in expected.iter().zip(&found).zip(cases.as_array().unwrap()) {
        assert_eq!(found, expected, "{}\n{case}", case["tariff"].as_str().unwrap());
    }
}

/// Percentiles of the same series by rrdtool's PERCENT, which `rank = "rrdtool"` stands for.
#[test]
fn the_rank_of_rrdtool_is_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    for n in [11_usize, 19, 20, 21, 40, 100, 333] {
        let file = directory.path().join(format!("{n}.rrd"));
        let file = file.to_str().unwrap();
        let picture = format!("{file}.png");
        let begin = 1_772_323_200_u64;
        let (samples, rows) = (n.to_string(), format!("RRA:AVERAGE:0.5:1:{n}"));
        let start = begin.to_string();
        rrdtool(&["create", file, "--start", &start, "--step", "300", "DS:v:GAUGE:600:0:U", &rows]);
        let values: Vec<u64> = (0..n).map(|_| random.below(1_000_000)).collect();
        for (at, value) in (1_u64..).zip(&values) {
            rrdtool(&["update", file, &format!("{}:{value}", begin + at * 300)]);
        }
        // Up to the beginning of the last sample: further, rrdtool counts one more, which is unknown.
        let end = (begin + 300 * n as u64 - 300).to_string();
        let definition = format!("DEF:v={file}:v:AVERAGE");
        for percent in ["95", "50", "99", "10"] {
            let found = format!("VDEF:p=v,{percent},PERCENT");
            let said = rrdtool(&[
                "graph",
                &picture,
                "--start",
                &start,
                "--end",
                &end,
                "--width",
                &samples,
                &definition,
                &found,
                "PRINT:p:%.0lf",
            ]);
            let rank = Rank::Rrdtool.of(n, percent.parse().unwrap()).unwrap();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let expected = sorted[rank - 1].to_string();
            assert!(
                said.lines().any(|line| line.trim() == expected),
                "{n} {percent}: {expected} and not {said}"
            );
        }
    }
}

fn rrdtool(arguments: &[&str]) -> String {
    let output = Command::new("rrdtool").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
