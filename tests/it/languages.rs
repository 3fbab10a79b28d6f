//! Invoices with every kind of line, in every language: nothing of the program's English is left in the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use fluxoscope::flow::{Direction, Family};
use fluxoscope::invoice::issue::{credit_note, finalized};
use fluxoscope::invoice::language::Language;
use fluxoscope::invoice::presentation::Assets;
use fluxoscope::invoice::{
    Detail, Invoice, Line, LossLine, Party, Seller, State, adjust, draft_of_parts, html, json,
};
use fluxoscope::money::Exact;
use fluxoscope::period::{Period, Span};
use fluxoscope::rate::parse::parse;
use fluxoscope::rate::percentile::{Count, Sample, SampleSource, Series};
use fluxoscope::rate::saying::{self, Piece, Said};
use fluxoscope::rate::tariff::Tariff;
use fluxoscope::rate::usage::{GroupKey, PeriodUsage};
use fluxoscope::rate::version::{Days, parts};
use fluxoscope::rate::{LineKind, Part, Presence, Term};
use fluxoscope::units::{RateSource, SamplingRate};
use fluxoscope::usage::UsageSums;

const GB: u64 = 1_000_000_000;

/// All words of the operator's begin with `zq`.
const EVERYTHING: &str = r#"
[tariff]
id = "zqtariff"
version = 1
effective = 2026-01-01
currency = "EUR"
timezone = "Europe/Amsterdam"
unit = "GB"
[[band]]
name = "zqday"
hours = "08:00-20:00"
[[band]]
name = "zqnight"
otherwise = true
[[class]]
name = "zqup"
match = { link = ["zq*"] }
[[class]]
name = "zqrest"
match = {}
[[charge]]
id = "zqtiers"
kind = "volume"
class = ["zqup"]
direction = "sum"
allowance = { quantity = "50", rollover = "next-period", spend_order = ["zqday", "zqnight"] }
tiers = { mode = "graduated", rows = [
    { up_to = "10", price = "0.40", fee = "1.00" }, { up_to = "20", price = "0.30" }, { price = "0.20" },
] }
cap = "5.00"
[[charge]]
id = "zqpackages"
kind = "volume"
class = ["zqup"]
direction = "in"
tiers = { mode = "package", rows = [ { price = "0.40", block = "100" } ] }
[[charge]]
id = "zqwhole"
kind = "volume"
class = ["zqup"]
direction = "max"
sampled = { basis = "lower", confidence = "0.95" }
tiers = { mode = "graduated", rows = [ { price = { zqday = "0.10", zqnight = "0.05" }, fee = "2.00" } ] }
[[charge]]
id = "zqout"
kind = "volume"
class = ["zqup"]
direction = "out"
price = "0.01"
[[charge]]
id = "zqcommitted"
kind = "percentile"
class = ["zqup"]
combine = "in"
rank = "nearest"
missing = "exclude"
source = "snmp"
commit = { quantity = "10", price = "2.00" }
overage = { price = "3.10" }
[[charge]]
id = "zqplain"
kind = "percentile"
class = ["zqup"]
combine = "in"
rank = "nearest"
missing = "exclude"
source = "snmp"
price = "3.10"
[[charge]]
id = "zqport"
kind = "recurring"
amount = "10.00"
[[charge]]
id = "zqsetup"
kind = "one-off"
amount = "99.00"
date = 2026-03-20
[[discount]]
id = "zqtenth"
percent = "10"
on = ["zqport"]
[[discount]]
id = "zqmuch"
amount = "5000.00"
on = ["zqport"]
[minimum]
amount = "100000.00"
[[credit]]
id = "zqoutage"
amount = "20.00"
date = 2026-03-20
[tax]
category = "E"
percent = "0"
exemption_reason = "zqexempt"
"#;

fn tariff(text: &str) -> Tariff {
    parse("test.toml", text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn page_of(invoice: &Invoice) -> String {
    html::write(invoice, &Assets::default()).expect("the template is good").replace("&#x2f;", "/")
}

fn march() -> Period {
    Period::new(2026, 3).expect("a month")
}

/// Usage of a part: so many GB of each source of rates, and a steady 20 Mbit/s of counters.
fn used(tariff: &Tariff, span: &Span, gigabytes: u64, carried: u64) -> PeriodUsage {
    let mut usage = PeriodUsage::default();
    for (n, source) in (2..).zip(RateSource::ALL) {
        for (band, direction) in [(0, Direction::In), (1, Direction::Out)] {
            let key = GroupKey {
                band,
                link: "zqlink".into(),
                link_kind: "zqkind".into(),
                direction,
                traffic_class: "default".into(),
                family: Family::V4,
                exporter: "zqrouter".into(),
            };
            let octets = gigabytes * GB / n;
            let sums =
                UsageSums { octets, packets: 9, flows: 1, squares_low: 1, squares_high: octets * 1500 };
            if gigabytes > 0 {
                usage.add(key, &sums, SamplingRate::new(n, 1, source).expect("a rate"));
            }
        }
    }
    let (from, to) = span.buckets();
    let bands: Arc<[u8]> = tariff.bands.of_buckets(&tariff.zone, from, to).into();
    let sample = Sample { inward: Count::octets(750_000_000), outward: Count::octets(1) };
    usage.series = vec![Series {
        link: "zqlink".into(),
        class: 0,
        source: SampleSource::Snmp,
        is_sampled: false,
        exempt: vec![],
        samples: vec![sample; bands.len()],
    }];
    usage.band_of_bucket = bands;
    if carried > 0 {
        usage.carried.insert("zqtiers".into(), Exact::whole(carried));
    }
    usage
}

/// March in two parts by these versions of the tariff, with so many GB in each.
fn invoice(versions: &[Tariff], gigabytes: [u64; 2]) -> Invoice {
    let found = parts(versions, "zqtariff", march(), Days::default(), None).expect("covered");
    let usage: Vec<PeriodUsage> = found
        .iter()
        .zip(gigabytes)
        .map(|((tariff, span), gigabytes)| used(tariff, span, gigabytes, 3))
        .collect();
    let part = |(number, (tariff, span))| Part {
        tariff,
        usage: &usage[number],
        term: Term { span, period: Tariff::span(tariff, march()), number, presence: Presence::default() },
    };
    let rated: Vec<Part<'_>> = found.into_iter().enumerate().map(part).collect();
    let party = Party { name: "zqcustomer".into(), address: vec!["zqstreet".into()] };
    let seller = Seller {
        name: "zqseller".into(),
        address: vec!["zqroad".into()],
        tax_number: "zq1".into(),
        footer: vec!["zqfoot".into()],
    };
    draft_of_parts(party, Some(seller), march(), &rated, "0".repeat(64)).expect("rates")
}

/// Documents with every kind of line and of words, in every state.
fn documents() -> Vec<Invoice> {
    let one = tariff(EVERYTHING);
    let second = EVERYTHING.replace("version = 1", "version = 2").replace("2026-01-01", "2026-03-16");
    let no_cap =
        EVERYTHING.replace("cap = \"5.00\"\n", "").replace("[minimum]\namount = \"100000.00\"\n", "");
    let (two, open) = (tariff(&second), tariff(&no_cap));
    let mut whole = invoice(std::slice::from_ref(&one), [1000, 0]);
    let split = invoice(&[one, two], [0, 500]);
    // Late usage: one charge costs more, the minimum less, and then nothing changes.
    let without = invoice(std::slice::from_ref(&open), [0, 0]);
    let with = invoice(std::slice::from_ref(&open), [1000, 0]);
    adjust::apply(&mut whole, march(), Some(&without), &with, "root", |_| None).expect("fits");
    adjust::apply(&mut whole, march(), Some(&with), &without, "root", |_| None).expect("fits");
    adjust::apply(&mut whole, march(), Some(&with), &with, "root", |_| None).expect("fits");
    whole.quality.lost_records = Some(7);
    whole.quality.loss = vec![LossLine { exporter: "zqrouter".into(), lost: 7, records: 1000 }];
    let mut provisional = split.clone();
    provisional.quality.provisional = true;
    let date = jiff::civil::date(2026, 4, 2);
    let finalized = finalized(&whole, "ZQ1", date, Some(date), Some("ZQ0"));
    let note = credit_note(&finalized, "ZQ2", date).expect("fits");
    let in_state = |state| Invoice { state, ..finalized.clone() };
    vec![in_state(State::Credited), in_state(State::Void), whole, split, provisional, finalized, note]
}

/// The words of a page that a reader sees, in small letters, without those of the operator, hashes, units and codes.
fn words_of(page: &str) -> BTreeSet<String> {
    const DATA: [&str; 9] =
        ["eur", "gb", "mb", "s", "europe", "amsterdam", "draft-2026-03-zqcustomer", "sha", "e"];
    let body = page.split_once("<body>").expect("a body").1;
    let mut text = String::new();
    for piece in body.split('<') {
        text += piece.split_once('>').map_or(piece, |(_, after)| after);
        text.push(' ');
    }
    let text = text.replace("DRAFT-2026-03-zqcustomer", "").to_lowercase();
    let of_letters = |word: &&str| word.chars().any(char::is_alphabetic) && !word.starts_with("zq");
    text.split(|c: char| !c.is_alphanumeric())
        .filter(of_letters)
        .filter(|word| !DATA.contains(word) && word.len() < 64)
        .filter(|word| !word.chars().any(|c| c.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_word_of_the_program_s_english_is_in_another_language() {
    let documents = documents();
    let lines = || documents.iter().flat_map(|document| &document.lines);
    let kinds: BTreeSet<&str> = lines().map(|line| line.detail.kind.as_str()).collect();
    for kind in [
        LineKind::Volume,
        LineKind::Allowance,
        LineKind::Rollover,
        LineKind::Fee,
        LineKind::Cap,
        LineKind::Commit,
        LineKind::Percentile,
        LineKind::Recurring,
        LineKind::OneOff,
        LineKind::Discount,
        LineKind::Minimum,
        LineKind::Credit,
    ] {
        assert!(kinds.contains(kind.as_str()), "{kinds:?}");
    }
    assert!(kinds.contains("late"));
    let said: BTreeSet<&str> = lines()
        .flat_map(|line| &line.detail.said)
        .filter_map(|piece| match piece {
            Piece::Words(words) => words.first().map(String::as_str),
            Piece::Own(_) => None,
        })
        .collect();
    let all: BTreeSet<&str> = Said::ALL.iter().map(|said| said.key()).collect();
    assert_eq!(said, all, "all that can be said");

    let words = |language| -> BTreeSet<String> {
        let shown = documents.iter().map(|document| {
            let mut document = document.clone();
            document.presentation.language = language;
            assert_eq!(json::read(&json::write(&document)).expect("adds up"), document);
            words_of(&page_of(&document))
        });
        shown.flatten().collect()
    };
    let english = words(Language::English);
    assert!(english.len() > 100, "{english:?}");
    // Words that are written alike in both.
    let alike = |language| -> &[&str] {
        match language {
            Language::English => &[],
            Language::German | Language::SwissGerman => {
                // The definition of a percentile (`in`) is as the tariff has it.
                &["an", "flow", "in", "rate", "rest", "std", "version"]
            }
            Language::French | Language::SwissFrench => &[
                "date",
                "in",
                "minimum",
                "net",
                "octets",
                "percentile",
                "percentiles",
                "total",
                "version",
                "volume",
                "volumes",
            ],
            Language::Italian | Language::SwissItalian => {
                &["a", "file", "in", "percentile", "record", "standard", "std", "volume"]
            }
        }
    };
    for language in Language::ALL.into_iter().filter(|language| *language != Language::English) {
        let shared: Vec<&str> = words(language)
            .iter()
            .filter_map(|word| english.get(word))
            .map(String::as_str)
            .filter(|word| !alike(language).contains(word))
            .collect();
        assert_eq!(shared, [""; 0], "{language}");
    }
}

/// The English words in the table are those of the descriptions.
#[test]
fn the_english_of_lines_is_that_of_the_documents() {
    for said in Said::ALL {
        assert_eq!(Language::English.words().said(*said), said.english());
    }
    for document in documents() {
        for line in document.lines.iter().filter(|line| !line.detail.said.is_empty()) {
            assert_eq!(saying::english(&line.detail.said), line.description);
        }
    }
}

/// Numbers in a line are written as the language writes them; what stands before the colon is the tariff's.
#[test]
fn a_line_is_said_in_the_language_of_the_customer() {
    let pieces = |said: Vec<Piece>| Line {
        description: saying::english(&said),
        detail: Detail { said, ..Detail::default() },
        ..documents()[0].lines[0].clone()
    };
    let volume = saying::of_charge(
        Piece::Own("Transit".into()),
        vec![
            Piece::said(Said::Between, ["10000", "50000.5", "GB"].map(str::to_owned)),
            Piece::said(Said::Fee, []),
        ],
    );
    let line = pieces(volume);
    for (language, text) in [
        (Language::English, "Transit: 10000 to 50000.5 GB, fee"),
        (Language::German, "Transit: 10\u{202f}000 bis 50\u{202f}000,5 GB, Grundpreis"),
        (Language::SwissGerman, "Transit: 10\u{2019}000 bis 50\u{2019}000.5 GB, Grundpreis"),
        (Language::French, "Transit\u{202f}: de 10\u{202f}000 à 50\u{202f}000,5 GB, redevance"),
        (Language::SwissItalian, "Transit: da 10\u{2019}000 a 50\u{2019}000.5 GB, canone"),
    ] {
        assert_eq!(language.says(&line), text);
    }
    // Of a document that was made before its pieces were kept, and of one of a newer program.
    let old = Line { detail: Detail::default(), ..line };
    assert_eq!(Language::German.says(&old), "Transit: 10000 to 50000.5 GB, fee");
    let newer = pieces(vec![Piece::Words(vec!["unheard-of".into(), "7".into()])]);
    assert_eq!(Language::German.says(&newer), "unheard-of 7");
}
