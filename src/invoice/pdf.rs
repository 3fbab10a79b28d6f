//! An invoice as PDF: the page of [`super::page`] on A4, with the heads of tables again on every page and the number of
//! pages at each foot. There is no clock in it: the same invoice gives the same bytes.
//!
//! Fonts are built in (Liberation Sans: Latin, Greek and Cyrillic); nothing is looked for on the machine.

#![expect(clippy::float_arithmetic, reason = "places on a page, in points; no amount is computed here")]

mod file;
mod logo;
mod sheet;

use self::file::{About, Writer};
use self::logo::Logo;
pub use self::sheet::NoFonts;
use self::sheet::{ACCENT, DARK, LEFT, RIGHT, RULE, Sheets, Style, WASH};
use super::Invoice;
use super::page::Page;
use super::presentation::{Assets, Missing};

/// The space between the columns of a table.
const GAP: f32 = 10.0;
/// What a logo has room for.
const LOGO: (f32, f32) = (170.0, 52.0);
/// The narrowest that the first column of a table gets.
const NARROWEST: f32 = 130.0;

/// Why there is no PDF.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// A file that the document names is not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The logo cannot be read.
    #[error("the logo cannot be used: {0}")]
    Logo(String),
    /// The fonts cannot be read.
    #[error(transparent)]
    Fonts(#[from] NoFonts),
    /// It cannot be put together.
    #[error("the PDF cannot be put together: {0}")]
    Document(String),
}

/// The PDF.
///
/// # Errors
/// [`Error`].
pub fn write(invoice: &Invoice, assets: &Assets) -> Result<Vec<u8>, Error> {
    let page = Page::of(invoice);
    let logo = assets.get("logo", invoice.presentation.logo.as_ref())?;
    let logo = logo.map(Logo::read).transpose().map_err(Error::Logo)?;
    let head = (format!("{} {}", page.title, page.number), page.customer.name.clone());
    let mut sheets = Sheets::new(head)?;
    letterhead(&mut sheets, &page, logo.as_ref());
    facts(&mut sheets, &page);
    lines(&mut sheets, &page);
    totals(&mut sheets, &page);
    volumes(&mut sheets, &page);
    quality(&mut sheets, &page);
    proof(&mut sheets, &page);
    let words = page.words;
    let about = About {
        title: format!("{} {}", page.title, page.number),
        author: page.seller.as_ref().map(|seller| seller.name.clone()).unwrap_or_default(),
        language: page.language,
        identity: format!("{} {}", page.number, invoice.usage_root),
    };
    let mut writer = Writer::new(sheets.faces().map(file::Face::clone));
    sheets.draw(&mut writer, logo.as_ref(), (page.mark, &page.number), |at, of| {
        format!("{} {at} {} {of}", words.page, words.page_of)
    });
    writer.finish(&about, logo.as_ref()).map_err(Error::Document)
}

/// Title and number to the left, who sends it to the right.
fn letterhead(sheets: &mut Sheets, page: &Page, logo: Option<&Logo>) {
    let top = sheets.y;
    let mut right = top;
    if let Some(logo) = logo {
        let (width, height) = logo.size();
        let (width, height) = (f32::from(width), f32::from(height));
        let scale = (LOGO.0 / width).min(LOGO.1 / height);
        let size = (width * scale, height * scale);
        sheets.logo((RIGHT - size.0, top), size);
        right += size.1 + 6.0;
    }
    if let Some(seller) = &page.seller {
        sheets.text_to((RIGHT, right), &seller.name, Style::Strong);
        right += Style::Strong.leading();
        let tax = Some(format!("{} {}", page.words.tax_number, seller.tax_number));
        let tax = tax.filter(|_| !seller.tax_number.is_empty());
        for line in seller.address.iter().chain(&tax) {
            sheets.text_to((RIGHT, right), line, Style::Plain);
            right += Style::Plain.leading();
        }
    }
    sheets.text((LEFT, top), page.title, Style::Title);
    let mut left = top + Style::Title.leading();
    left = sheets.paragraph((LEFT, left), &page.number, Style::Soft, 240.0);
    if !page.mark.is_empty() {
        sheets.text((LEFT, left + 2.0), &page.mark.to_uppercase(), Style::Warning);
        left += 2.0 + Style::Warning.leading();
    }
    sheets.y = left.max(right) + 6.0;
    sheets.fill((LEFT, sheets.y), (RIGHT - LEFT, 1.6), ACCENT);
    sheets.y += 16.0;
}

/// Who gets it, and what it is about.
fn facts(sheets: &mut Sheets, page: &Page) {
    let (top, middle) = (sheets.y, LEFT + (RIGHT - LEFT) * 0.5);
    sheets.text((LEFT, top), &page.words.recipient.to_uppercase(), Style::Label);
    let mut left = top + Style::Label.leading() + 2.0;
    let most = middle - LEFT - GAP;
    left = sheets.paragraph((LEFT, left), &page.customer.name, Style::Strong, most);
    for line in &page.customer.address {
        left = sheets.paragraph((LEFT, left), line, Style::Plain, most);
    }
    let label = page.facts.iter().map(|(label, _)| sheets.width(label, Style::Soft)).fold(0.0, f32::max);
    let text_at = middle + label + GAP;
    let mut right = top;
    for (label, text) in &page.facts {
        sheets.text((middle, right), label, Style::Soft);
        right = sheets.paragraph((text_at, right), text, Style::Plain, RIGHT - text_at);
    }
    sheets.y = left.max(right) + 14.0;
    for part in &page.parts {
        sheets.y = sheets.paragraph((LEFT, sheets.y), part, Style::Small, RIGHT - LEFT);
    }
    if !page.parts.is_empty() {
        sheets.y += 8.0;
    }
}

/// A column of a table.
struct Column<'a> {
    head: String,
    is_number: bool,
    /// The paragraphs of each row.
    cells: Vec<Vec<(&'a str, Style)>>,
}

impl<'a> Column<'a> {
    fn new(head: &str, is_number: bool, cells: impl Iterator<Item = &'a str>, style: Style) -> Self {
        let cells = cells.map(|cell| vec![(cell, style)]).collect();
        Self { head: head.to_uppercase(), is_number, cells }
    }

    /// As wide as it would like to be.
    fn natural(&self, sheets: &Sheets) -> f32 {
        let cells = self.cells.iter().flatten().map(|(text, style)| sheets.width(text, *style));
        cells.fold(sheets.width(&self.head, Style::Label), f32::max)
    }
}

/// A table over the whole width. Its first column takes what the others leave; where that is too little, the others are
/// wrapped. Its head is there again on each page.
fn table(sheets: &mut Sheets, columns: &[Column<'_>]) {
    let whole = RIGHT - LEFT;
    let mut widths: Vec<f32> = columns.iter().map(|column| column.natural(sheets)).collect();
    let others: f32 = widths.iter().skip(1).map(|width| width + GAP).sum();
    let room = whole - NARROWEST.min(widths[0]);
    if others > room {
        widths.iter_mut().skip(1).for_each(|width| *width = (*width + GAP) * room / others - GAP);
    }
    widths[0] = whole - widths.iter().skip(1).map(|width| width + GAP).sum::<f32>();
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let set = |sheets: &Sheets, row: usize| -> (Vec<Vec<(String, Style)>>, f32) {
        let cell = |(column, width): (&Column<'_>, &f32)| {
            let lines = column.cells[row].iter().flat_map(|(text, style)| {
                sheets.wrapped(text, *style, *width + 0.1).into_iter().map(|line| (line, *style))
            });
            lines.collect::<Vec<_>>()
        };
        let cells: Vec<Vec<(String, Style)>> = columns.iter().zip(&widths).map(cell).collect();
        let height =
            |lines: &Vec<(String, Style)>| lines.iter().map(|(_, style)| style.leading()).sum::<f32>();
        let height = cells.iter().map(height).fold(0.0, f32::max);
        (cells, height + 6.0)
    };
    let first = if rows > 0 { set(sheets, 0).1 } else { 0.0 };
    sheets.reserve(first + 20.0);
    head(sheets, columns, &widths);
    for row in 0..rows {
        let (cells, height) = set(sheets, row);
        if sheets.is_full(height) {
            sheets.next_page();
            head(sheets, columns, &widths);
        }
        let mut x = LEFT;
        for ((lines, width), column) in cells.iter().zip(&widths).zip(columns) {
            let mut y = sheets.y + 3.0;
            for (text, style) in lines {
                if column.is_number {
                    sheets.text_to((x + width, y), text, *style);
                } else {
                    sheets.text((x, y), text, *style);
                }
                y += style.leading();
            }
            x += width + GAP;
        }
        sheets.y += height;
        sheets.fill((LEFT, sheets.y - 0.5), (whole, 0.5), RULE);
    }
}

fn head(sheets: &mut Sheets, columns: &[Column<'_>], widths: &[f32]) {
    let mut x = LEFT;
    for (column, width) in columns.iter().zip(widths) {
        if column.is_number {
            sheets.text_to((x + width, sheets.y), &column.head, Style::Label);
        } else {
            sheets.text((x, sheets.y), &column.head, Style::Label);
        }
        x += width + GAP;
    }
    sheets.y += Style::Label.leading() + 2.0;
    sheets.fill((LEFT, sheets.y), (RIGHT - LEFT, 0.8), DARK);
    sheets.y += 0.8;
}

fn lines(sheets: &mut Sheets, page: &Page) {
    let notes: Vec<String> = page.lines.iter().map(|line| line.notes.join(", ")).collect();
    let both = page.lines.iter().zip(&notes);
    let cells = both
        .map(|(line, notes)| vec![(line.description.as_str(), Style::Plain), (notes.as_str(), Style::Small)])
        .collect();
    let words = page.words;
    let amount = format!("{} {}", words.amount, page.currency);
    let of = |text: fn(&super::page::LineView) -> &str| page.lines.iter().map(text);
    table(
        sheets,
        &[
            Column { head: words.charge.to_uppercase(), is_number: false, cells },
            Column::new(words.quantity, true, of(|line| &line.quantity), Style::Plain),
            Column::new(words.unit, false, of(|line| &line.unit), Style::Plain),
            Column::new(words.price, true, of(|line| &line.price), Style::Plain),
            Column::new(&amount, true, of(|line| &line.amount), Style::Plain),
        ],
    );
}

/// Net, taxes and what is to be paid; never torn apart.
fn totals(sheets: &mut Sheets, page: &Page) {
    let left = LEFT + (RIGHT - LEFT) * 0.46;
    let most = RIGHT - left - 110.0;
    let reasons = page.taxes.iter().map(|tax| {
        let reason =
            if tax.reason.is_empty() { 0 } else { sheets.wrapped(&tax.reason, Style::Small, most).len() };
        (sheets.wrapped(&tax.what, Style::Plain, most).len(), reason)
    });
    let mut height = Style::Plain.leading() * 2.0 + 52.0;
    for (lines, reason) in reasons {
        for _ in 0..lines {
            height += Style::Plain.leading() + 2.0;
        }
        for _ in 0..reason {
            height += Style::Small.leading();
        }
    }
    sheets.y += 10.0;
    sheets.reserve(height);
    let at = left + 6.0;
    sheets.text((at, sheets.y), page.words.net, Style::Plain);
    sheets.text_to((RIGHT - 6.0, sheets.y), &page.net, Style::Plain);
    sheets.y += Style::Plain.leading() + 2.0;
    for tax in &page.taxes {
        let y = sheets.y;
        sheets.text_to((RIGHT - 6.0, y), &tax.amount, Style::Plain);
        sheets.y = sheets.paragraph((at, y), &tax.what, Style::Plain, most);
        if !tax.reason.is_empty() {
            sheets.y = sheets.paragraph((at, sheets.y), &tax.reason, Style::Small, most);
        }
        sheets.y += 2.0;
    }
    sheets.y += 2.0;
    sheets.fill_below((left, sheets.y), (RIGHT - left, 26.0), WASH);
    sheets.fill((left, sheets.y), (RIGHT - left, 1.2), DARK);
    let total = format!("{} {}", page.words.total, page.currency);
    sheets.text((at, sheets.y + 6.0), &total, Style::Total);
    sheets.text_to((RIGHT - 6.0, sheets.y + 6.0), &page.gross, Style::Total);
    sheets.y += 26.0;
}

fn heading(sheets: &mut Sheets, text: &str) {
    sheets.y += 16.0;
    sheets.reserve(70.0);
    sheets.text((LEFT, sheets.y), text, Style::Heading);
    sheets.y += Style::Heading.leading() + 4.0;
}

fn volumes(sheets: &mut Sheets, page: &Page) {
    if page.volumes.is_empty() {
        return;
    }
    let words = page.words;
    heading(sheets, words.volumes);
    let of = |text: fn(&super::page::VolumeView) -> &str| page.volumes.iter().map(text);
    table(
        sheets,
        &[
            Column::new(words.link, false, of(|volume| &volume.link), Style::Plain),
            Column::new(words.kind, false, of(|volume| &volume.kind), Style::Plain),
            Column::new(words.direction, false, of(|volume| &volume.direction), Style::Plain),
            Column::new(words.class, false, of(|volume| &volume.class), Style::Plain),
            Column::new(words.octets, true, of(|volume| &volume.octets), Style::Plain),
            Column::new(words.packets, true, of(|volume| &volume.packets), Style::Plain),
            Column::new(words.error, true, of(|volume| &volume.error), Style::Plain),
        ],
    );
}

fn quality(sheets: &mut Sheets, page: &Page) {
    if page.quality.is_empty() && page.rates.is_empty() {
        return;
    }
    let words = page.words;
    heading(sheets, words.measured);
    for sentence in &page.quality {
        sheets.reserve(Style::Small.leading() * 3.0);
        sheets.y = sheets.paragraph((LEFT, sheets.y), sentence, Style::Small, RIGHT - LEFT);
    }
    sheets.y += 6.0;
    if page.rates.is_empty() {
        return;
    }
    let of = |text: fn(&super::page::RateView) -> &str| page.rates.iter().map(text);
    table(
        sheets,
        &[
            Column::new(words.sampling, false, of(|rate| &rate.rate), Style::Plain),
            Column::new(words.rate_source, false, of(|rate| &rate.source), Style::Plain),
            Column::new(words.octets, true, of(|rate| &rate.octets), Style::Plain),
        ],
    );
}

/// What it was made from, and the seller's lines at the end.
fn proof(sheets: &mut Sheets, page: &Page) {
    let most = RIGHT - LEFT - 20.0;
    let mut lines = Vec::new();
    for sentence in &page.proof {
        lines.extend(sheets.wrapped(sentence, Style::Small, most));
    }
    let mut height = 14.0;
    lines.iter().for_each(|_| height += Style::Small.leading());
    sheets.y += 16.0;
    sheets.reserve(height);
    sheets.fill_below((LEFT, sheets.y), (RIGHT - LEFT, height), WASH);
    let mut y = sheets.y + 6.0;
    for line in &lines {
        sheets.text((LEFT + 10.0, y), line, Style::Small);
        y += Style::Small.leading();
    }
    sheets.y += height;
    let footer = page.seller.as_ref().map(|seller| &seller.footer[..]).unwrap_or_default();
    if footer.is_empty() {
        return;
    }
    sheets.y += 10.0;
    let lines: usize = footer.iter().map(|line| sheets.wrapped(line, Style::Small, RIGHT - LEFT).len()).sum();
    // Together, as long as they are a foot and not a page.
    let height = (0..lines.min(20)).map(|_| Style::Small.leading()).sum::<f32>() + 5.0;
    sheets.reserve(height);
    sheets.fill((LEFT, sheets.y), (RIGHT - LEFT, 0.5), RULE);
    sheets.y += 5.0;
    for line in footer {
        sheets.reserve(Style::Small.leading());
        sheets.y = sheets.paragraph((LEFT, sheets.y), line, Style::Small, RIGHT - LEFT);
    }
}
