//! What readers of a document are shown, in every form of it.

use super::*;

/// The reason of the tariff for not taxing is in every form that has lines or sums.
#[test]
fn why_nothing_is_taxed_is_said_everywhere() {
    let reverse = tariff(include_str!("../../../tariffs/exchange-peering.toml"));
    let party = Party { name: "member".into(), ..Party::default() };
    let period = "2026-03".parse().expect("a month");
    let usage = PeriodUsage::default();
    let invoice = draft(party, None, period, &reverse, &usage, "0".repeat(64)).expect("rates");
    assert_eq!(invoice.taxes[0].exemption_reason, "Reverse charge");
    assert!(json::write(&invoice).contains(r#""amount":"0.00","exemption_reason":"Reverse charge""#));
    assert!(csv::write(&invoice).contains(",AE,0,Reverse charge,"));
    assert!(page_of(&invoice).contains("<small>Reverse charge</small>"));
    assert_eq!(json::read(&json::write(&invoice)).expect("reads"), invoice);
    // Not taken for the same tax with another reason.
    let mut other = invoice.clone();
    other.taxes[0].exemption_reason = "Article 44".into();
    let mut april = invoice.clone();
    adjust::apply(&mut april, period, Some(&other), &invoice, "root", |_| None).expect("fits");
    assert_eq!(april.taxes.len(), 2);
}

#[test]
fn lines_show_how_sure_they_are_in_every_form() {
    let mut sampled = row(MARCH.0, 16, 1, Direction::In, 1_000_000);
    sampled.key.rate = SamplingRate::new(1000, 1, RateSource::Sampler).expect("a rate");
    sampled.sums.squares_high = 1_500_000_000;
    let network = network(vec![customer("campus", Some("transit-per-gb"))]);
    let lower = TRANSIT.replace("price = \"0.05\"", "price = \"0.05\"\nsampled = { basis = \"lower\" }");
    let invoice = march(&network, &[tariff(&lower)], None, &[sampled]).invoices.remove(0);
    // 1 GB, and the root of 1000 x 999 x 1.5e9: 0.038710463; 1.6448536 times that below it: 0.936327..
    let csv = csv::write(&invoice);
    assert!(csv.contains(",volume,1,,1,1,0.038710463,0.93632"), "{csv}");
    assert!(csv.contains(",lower-bound,"), "{csv}");
    let page = page_of(&invoice);
    for text in [
        "estimate 1\u{202f}GB",
        "standard error 0.038710463\u{202f}GB (\u{b1}3.871\u{202f}%)",
        "by its lower bound",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
}

#[test]
fn the_page_speaks_the_customer_s_language() {
    let mut invoice = sample();
    invoice.presentation.language = language::Language::SwissGerman;
    let page = page_of(&invoice);
    for text in [
        "<html lang=\"de-CH\">",
        "Rechnungsentwurf",
        "01.03.2026 bis 31.03.2026",
        ">1\u{2019}234.567890123<",
        "Gesamtbetrag EUR",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    assert!(!page.contains("Quantity"));
}

#[test]
fn an_operator_s_template_and_logo_make_the_page() {
    use crate::ledger::records::Asset;
    let mut invoice = sample();
    invoice.customer.name = "A & B".into();
    let template = |text: &str| Asset::new("text/html", text.as_bytes().to_vec());
    let logo = Asset::new("image/png", b"\x89PNG".to_vec());
    let made = |text: &str, invoice: &mut Invoice| {
        let template = template(text);
        invoice.presentation.template = Some(template.sha256.clone());
        invoice.presentation.logo = Some(logo.sha256.clone());
        html::write(invoice, &presentation::Assets::of(vec![template, logo.clone()]))
    };
    let page = made(
        "{{ page.customer.name }}|{{ page.lines|length }}|{{ page.gross }}|{{ page.logo }}",
        &mut invoice,
    );
    assert_eq!(page.expect("a page"), "A &amp; B|2|98.59|data:image&#x2f;png;base64,iVBORw==");
    for wrong in [
        "{{ page.nothing }}",
        "{% for %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    ] {
        assert!(matches!(made(wrong, &mut invoice), Err(html::Error::Template(_))), "{wrong}");
    }
    let missing = html::write(&invoice, &presentation::Assets::default()).expect_err("not there");
    assert!(missing.to_string().contains("does not have the logo"), "{missing}");
}
