//! What a page says, in all languages.

use super::super::tests::{page_of, sample};
use super::super::{ReconciledLine, csv, json};
use super::*;

#[test]
fn what_was_held_against_counters_is_in_every_language_and_in_csv() {
    let mut invoice = sample();
    invoice.quality.reconciled = vec![
        ReconciledLine { link: "down".into(), buckets: 10, compared: 9, differences: 0 },
        ReconciledLine { link: "up <1>".into(), buckets: 8928, compared: 8900, differences: 2 },
    ];
    for language in Language::ALL {
        invoice.presentation.language = language;
        let page = Page::of(&invoice);
        let said = page.quality.iter().find(|sentence| sentence.starts_with("up <1>"));
        let said = said.unwrap_or_else(|| panic!("{language}: {:?}", page.quality));
        for number in ["8900", "8928", "2"] {
            assert!(said.contains(&language.number(number)), "{language}: {said}");
        }
        assert!(page_of(&invoice).contains("up &lt;1&gt;"), "{language}");
    }
    let text = csv::write(&invoice);
    assert!(
        text.lines().nth(1).is_some_and(|row| row.ends_with(",down 0/9/10; up <1> 2/8900/8928,,,,")),
        "{text}"
    );
}

#[test]
fn how_a_volume_was_calibrated_is_in_every_language() {
    let mut invoice = sample();
    invoice.lines[0].detail.calibration = Some(Calibration {
        max_difference: "0.1".into(),
        intervals: 8928,
        shared: 8900,
        flows: "1234.5".into(),
        unit: "GB".into(),
        share: "0.985000".into(),
    });
    for language in Language::ALL {
        invoice.presentation.language = language;
        let notes = Page::of(&invoice).lines[0].notes.join(", ");
        for number in ["8900", "8928", "98.5", "1234.5"] {
            assert!(notes.contains(&language.number(number)), "{language}: {notes}");
        }
        assert!(page_of(&invoice).contains(&language.number("1234.5")), "{language}");
    }
    assert_eq!(json::read(&json::write(&invoice)).expect("adds up"), invoice);
}
