//! An invoice as a page for reading and printing: A4, one file, nothing loaded from elsewhere.
//!
//! The page is made from the document alone. Numbers are set as tables want them (grouped, their points below each
//! other) and are otherwise those of the document.

use askama::Template;

use super::{Invoice, State};
use crate::money::{Exact, parse_decimal};

#[derive(Template)]
#[template(path = "invoice.html", config = "src/invoice/templates/askama.toml")]
struct Page<'a> {
    invoice: &'a Invoice,
    title: &'static str,
    /// The number, as the text of a CSS string.
    page_foot: String,
    last_day: String,
    lines: Vec<LineView<'a>>,
    net: String,
    gross: String,
    taxes: Vec<TaxView<'a>>,
    volumes: Vec<VolumeView<'a>>,
    octets: String,
    sampled_percent: String,
    error_percent: String,
    rates: Vec<RateView<'a>>,
}

struct LineView<'a> {
    description: &'a str,
    charge: &'a str,
    quantity: String,
    unit: &'a str,
    price: String,
    amount: String,
    error: String,
}

struct TaxView<'a> {
    category: &'a str,
    percent: &'a str,
    base: String,
    amount: String,
}

struct VolumeView<'a> {
    link: &'a str,
    kind: &'a str,
    direction: &'a str,
    class: &'a str,
    octets: String,
    packets: String,
    error: String,
}

struct RateView<'a> {
    rate: &'a str,
    source: &'a str,
    octets: String,
}

/// The page.
#[must_use]
pub fn write(invoice: &Invoice) -> String {
    let page = Page {
        invoice,
        title: match invoice.state {
            State::Draft if invoice.quality.provisional => "Provisional draft of an invoice",
            State::Draft => "Draft invoice",
            State::Final | State::Credited | State::Void if invoice.issuance.credits.is_some() => {
                "Credit note"
            }
            State::Final | State::Credited | State::Void => "Invoice",
        },
        page_foot: css_string(&invoice.number),
        last_day: invoice.span.end_day.yesterday().unwrap_or(invoice.span.end_day).to_string(),
        lines: lines(invoice),
        net: grouped(&invoice.net.to_string()),
        gross: grouped(&invoice.gross.to_string()),
        taxes: taxes(invoice),
        volumes: volumes(invoice),
        octets: grouped(&invoice.quality.octets.to_string()),
        sampled_percent: percent(&invoice.quality.sampled_share),
        error_percent: percent(&invoice.quality.relative_error),
        rates: rates(invoice),
    };
    page.render().expect("writing to a string does not fail")
}

/// The inside of a CSS string (CSS Syntax 3, 4.3.7): everything but plain characters as a code point. Nothing can
/// end the string or the style element with that.
fn css_string(text: &str) -> String {
    use core::fmt::Write;
    text.chars().fold(String::new(), |mut css, c| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ') {
            css.push(c);
        } else {
            write!(css, "\\{:06X}", u32::from(c)).expect("writing to a string does not fail");
        }
        css
    })
}

fn lines(invoice: &Invoice) -> Vec<LineView<'_>> {
    let quantities = aligned(invoice.lines.iter().map(|line| line.quantity.clone()).collect());
    let prices = aligned(invoice.lines.iter().map(|line| line.price.clone()).collect());
    let view =
        invoice.lines.iter().zip(quantities.into_iter().zip(prices)).map(|(line, (quantity, price))| {
            LineView {
                description: &line.description,
                charge: &line.charge,
                quantity,
                unit: &line.unit,
                price,
                amount: grouped(&line.amount.to_string()),
                error: error(&line.relative_error),
            }
        });
    view.collect()
}

fn taxes(invoice: &Invoice) -> Vec<TaxView<'_>> {
    let view = invoice.taxes.iter().map(|tax| TaxView {
        category: &tax.category,
        percent: &tax.percent,
        base: grouped(&tax.base.to_string()),
        amount: grouped(&tax.amount.to_string()),
    });
    view.collect()
}

fn volumes(invoice: &Invoice) -> Vec<VolumeView<'_>> {
    let view = invoice.volumes.iter().map(|volume| VolumeView {
        link: &volume.link,
        kind: &volume.kind,
        direction: &volume.direction,
        class: &volume.class,
        octets: grouped(&volume.octets.to_string()),
        packets: grouped(&volume.packets.to_string()),
        error: error(&volume.relative_error),
    });
    view.collect()
}

fn rates(invoice: &Invoice) -> Vec<RateView<'_>> {
    let view = invoice.quality.rates.iter().map(|rate| RateView {
        rate: &rate.rate,
        source: &rate.source,
        octets: grouped(&rate.octets.to_string()),
    });
    view.collect()
}

/// A column's numbers, grouped, with their points below each other: blanks as wide as a digit and as a point (U+2007
/// and U+2008) stand where one has fewer places than another.
fn aligned(column: Vec<String>) -> Vec<String> {
    let places = |number: &str| number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let most = column.iter().map(|number| places(number)).max().unwrap_or(0);
    let pad = |number: String| {
        let missing = most - places(&number);
        let mut text = grouped(&number);
        if missing == most && most > 0 {
            text.push('\u{2008}');
        }
        text.extend(core::iter::repeat_n('\u{2007}', missing));
        text
    };
    column.into_iter().map(pad).collect()
}

/// Digits in groups of three before the point, apart by a narrow no-break space (ISO 80000-1, 7.3.1).
fn grouped(number: &str) -> String {
    let digits_at = number.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let (sign, rest) = number.split_at(digits_at);
    let (whole, fraction) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    let mut text = sign.replace('-', "\u{2212}");
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text.push_str(fraction);
    text
}

/// `0.001234` as `±0.1234 %`; nothing for zero.
fn error(relative: &str) -> String {
    match percent(relative).as_str() {
        "0" => String::new(),
        percent => format!("\u{b1}{percent}\u{202f}%"),
    }
}

/// A share with six places as a percentage, without trailing zeros: `0.500000` is `50`.
fn percent(share: &str) -> String {
    match parse_decimal(share) {
        Some(exact) => Exact::from(exact).times(&Exact::whole(100)).to_decimal_string(4),
        None => share.to_owned(),
    }
}
