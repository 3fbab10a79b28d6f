//! Invoices as PDF: what `pdftotext` of Poppler reads in them, page by page, is what the document says; and the same
//! invoice gives the same bytes. Only where the feature `pdf` is on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

use fluxoscope::flow::{Direction, Family};
use fluxoscope::invoice::issue::finalized;
use fluxoscope::invoice::language::Language;
use fluxoscope::invoice::presentation::Assets;
use fluxoscope::invoice::{Detail, Invoice, Line, Party, Seller, draft, pdf};
use fluxoscope::ledger::records::Asset;
use fluxoscope::period::Period;
use fluxoscope::rate::parse::parse;
use fluxoscope::rate::usage::{GroupKey, PeriodUsage};
use fluxoscope::units::{RateSource, SamplingRate};
use fluxoscope::usage::UsageSums;

/// One red dot.
const DOT: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0,
    1, 8, 2, 0, 0, 0, 0x90, 0x77, 0x53, 0xde, 0, 0, 0, 12, b'I', b'D', b'A', b'T', 0x08, 0xd7, 0x63, 0xf8,
    0xcf, 0xc0, 0, 0, 3, 1, 1, 0, 0x18, 0xdd, 0x8d, 0xb0, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42,
    0x60, 0x82,
];
/// March of a customer with sampled transit in and out, and free peering.
fn invoice() -> Invoice {
    let text = include_str!("../../tariffs/regional-isp.toml");
    let tariff = parse("t", text).unwrap();
    let mut usage = PeriodUsage::default();
    for (link, kind, direction, gigabytes) in [
        ("transit-a", "upstream", Direction::In, 32_109),
        ("transit-b", "upstream", Direction::Out, 21_098),
        ("exchange", "peering", Direction::In, 98_765),
    ] {
        let key = GroupKey {
            band: 0,
            link: link.into(),
            link_kind: kind.into(),
            direction,
            traffic_class: "default".into(),
            family: Family::V4,
            exporter: "ce1".into(),
        };
        let octets = gigabytes * 1_000_000 + 1234;
        let sums =
            UsageSums { octets, packets: octets / 900, squares_high: octets * 1500, ..UsageSums::default() };
        usage.add(key, &sums, SamplingRate::new(1000, 1, RateSource::Sampler).unwrap());
    }
    let party = Party {
        name: "Universität Straße & Söhne".into(),
        address: vec!["2 College Lane".into(), "1012 AB Leiden".into()],
    };
    let seller = Seller {
        name: "Example Networks".into(),
        address: vec!["1 Exchange Street".into(), "Amsterdam".into()],
        tax_number: "NL123456789B01".into(),
        footer: vec!["IBAN NL91 ABNA 0417 1643 00, 30 days net".into()],
    };
    let period = Period::new(2026, 3).unwrap();
    let draft = draft(party, Some(seller), period, &tariff, &usage, "ab".repeat(32)).unwrap();
    let day = |text: &str| text.parse().unwrap();
    finalized(&draft, "R-000042", day("2026-04-02"), Some(day("2026-05-02")), None)
}

/// The same with many more lines.
fn long() -> Invoice {
    let mut invoice = invoice();
    let like: Line = invoice.lines[1].clone();
    for n in 0..90 {
        invoice.lines.push(Line {
            description: format!("Link number {n} with a description that is long enough to be broken into two lines of its column"),
            charge: format!("link-{n}"),
            amount: fluxoscope::money::Money::new(100_000 + n, invoice.currency),
            detail: Detail::default(),
            ..like.clone()
        });
    }
    invoice
}

/// What a person would read, page by page. Grouping and other narrow blanks are taken out.
fn read(bytes: &[u8]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("invoice.pdf");
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new("pdftotext").args(["-layout", "-enc", "UTF-8"]).arg(&file).arg("-").output();
    let output = output.expect("pdftotext (poppler-utils)");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(['\u{202f}', '\u{2007}', '\u{2008}', '\u{2019}'], "");
    text.split_terminator('\u{c}').map(str::to_owned).collect()
}

fn says(page: &str, text: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    plain(page).contains(&plain(text))
}

#[test]
fn a_pdf_says_what_the_document_says() {
    let invoice = invoice();
    let bytes = pdf::write(&invoice, &Assets::default()).unwrap();
    assert!(bytes.starts_with(b"%PDF-1."));
    let all = read(&bytes).concat();
    for line in &invoice.lines {
        for text in [&line.amount.to_string(), &line.quantity, &line.description] {
            assert!(says(&all, text), "{text}\n{all}");
        }
        let estimate = line.detail.estimate.as_ref();
        assert!(estimate.is_none_or(|one| says(&all, &one.standard_error)), "{all}");
    }
    for text in [
        "Universität Straße & Söhne",
        "1012 AB Leiden",
        "Tax number NL123456789B01",
        "R-000042",
        "2026-05-02",
        "2026-03-01 to 2026-03-31",
        &invoice.net.to_string(),
        &invoice.gross.to_string(),
        "Tax 21 % (S) of",
        "100 % estimated from sampled packets",
        "1/1000 packets",
        "30 days net",
        "Page 1 of 1",
        &"ab".repeat(32),
    ] {
        assert!(says(&all, text), "{text}\n{all}");
    }
    assert!(!all.contains("DRAFT"));
}

#[test]
fn the_same_invoice_is_the_same_bytes_and_another_one_is_not() {
    let once = pdf::write(&invoice(), &Assets::default()).unwrap();
    assert_eq!(once, pdf::write(&invoice(), &Assets::default()).unwrap());
    let mut other = invoice();
    other.number = "R-000043".into();
    assert_ne!(once, pdf::write(&other, &Assets::default()).unwrap());
}

#[test]
fn a_long_invoice_has_the_head_of_its_table_on_each_page() {
    let invoice = long();
    let pages = read(&pdf::write(&invoice, &Assets::default()).unwrap());
    assert!(pages.len() >= 4, "{}", pages.len());
    let last_line = (0..pages.len()).rfind(|&at| says(&pages[at], "link-89")).unwrap();
    for (at, page) in pages.iter().enumerate() {
        assert!(says(page, &format!("Page {} of {}", at + 1, pages.len())), "{page}");
        assert!(page.contains("R-000042"), "the number is on each page");
        assert_eq!(
            at <= last_line,
            page.contains("QUANTITY") && page.contains("AMOUNT EUR"),
            "page {at}\n{page}"
        );
    }
    let all = pages.concat();
    for line in &invoice.lines {
        assert!(says(&all, &line.amount.to_string()), "{}", line.amount);
    }
    assert_eq!(all.matches("Net ").count() + all.matches("Net\n").count(), 1, "one sum");
}

#[test]
fn language_state_and_logo_are_on_the_page() {
    let mut invoice = invoice();
    invoice.presentation.language = Language::German;
    invoice.state = fluxoscope::invoice::State::Draft;
    let all = read(&pdf::write(&invoice, &Assets::default()).unwrap()).concat();
    let total = invoice.gross.to_string().replace('.', ",");
    for text in [
        "Rechnungsentwurf",
        "Zahlbar bis",
        "02.05.2026",
        "Gesamtbetrag EUR",
        "keine Zahlungsaufforderung",
        &total,
    ] {
        assert!(says(&all, text), "{text}\n{all}");
    }
    let plain = pdf::write(&invoice, &Assets::default()).unwrap();
    let logo = Asset::new("image/png", DOT.to_vec());
    invoice.presentation.logo = Some(logo.sha256.clone());
    let missing = pdf::write(&invoice, &Assets::default()).unwrap_err();
    assert!(missing.to_string().contains(&logo.sha256), "{missing}");
    let assets = Assets::of(vec![logo]);
    let with = pdf::write(&invoice, &assets).unwrap();
    assert_ne!(with, plain);
    assert_eq!(with, pdf::write(&invoice, &assets).unwrap());
    read(&with);
    let drawn = Asset::new("image/svg+xml", b"<svg/>".to_vec());
    invoice.presentation.logo = Some(drawn.sha256.clone());
    let refused = pdf::write(&invoice, &Assets::of(vec![drawn])).unwrap_err();
    assert!(refused.to_string().contains("needs a PNG"), "{refused}");
    let broken = Asset::new("image/png", b"\x89PNG\r\n\x1a\nno picture".to_vec());
    invoice.presentation.logo = Some(broken.sha256.clone());
    assert!(matches!(pdf::write(&invoice, &Assets::of(vec![broken])), Err(pdf::Error::Logo(_))));
}

/// From the command line, with a logo of the configuration.
#[test]
fn the_command_writes_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("logo.png"), DOT).unwrap();
    let config = "[invoice]\nseller = \"Net\"\nlanguage = \"fr\"\nlogo = \"logo.png\"\n\
        [[customer]]\nname = \"campus\"\nprefixes = [\"192.0.2.0/24\"]\ntariff = \"regional-isp\"\n";
    std::fs::write(path("fluxoscope.toml"), config).unwrap();
    let tariff = Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/regional-isp.toml");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_fluxoscope"))
            .arg("--config")
            .arg(path("fluxoscope.toml"))
            .arg("--state-dir")
            .arg(directory.path())
            .args(arguments)
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?} {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["tariff", "activate", tariff.to_str().unwrap()]);
    run(&["invoice", "run", "--period", "2026-03"]);
    let export = ["invoice", "export", "--period", "2026-03", "--format", "pdf", "--out", "out"];
    assert_eq!(run(&export), "out/2026-03-campus.pdf\n");
    let bytes = std::fs::read(path("out/2026-03-campus.pdf")).unwrap();
    let all = read(&bytes).concat();
    assert!(says(&all, "Projet de facture") && says(&all, "181,50"), "{all}");
    // The logo of the document is that of its time.
    std::fs::write(path("logo.png"), [DOT, b"more"].concat()).unwrap();
    run(&export);
    assert_eq!(std::fs::read(path("out/2026-03-campus.pdf")).unwrap(), bytes);
}
