//! Sheets of paper: text that is measured, wrapped and placed, rules and boxes, page after page. Nothing is drawn before
//! the last page is full, since the foot of the first one says how many there are.

#![expect(clippy::float_arithmetic, reason = "places on a page, in points; no amount is computed here")]

use super::file::{Face, Writer};
use super::logo::Logo;

/// A4, in points.
pub(super) const WIDTH: f32 = 595.276;
pub(super) const HEIGHT: f32 = 841.89;
/// Margins, in points.
pub(super) const LEFT: f32 = 45.0;
pub(super) const RIGHT: f32 = WIDTH - 45.0;
const TOP: f32 = 48.0;
const BOTTOM: f32 = HEIGHT - 54.0;

static REGULAR: &[u8] = include_bytes!("../fonts/LiberationSans-Regular.ttf");
static BOLD: &[u8] = include_bytes!("../fonts/LiberationSans-Bold.ttf");

/// A colour.
pub(super) type Color = [u8; 3];
const INK: Color = [0x16, 0x20, 0x2c];
const SOFT: Color = [0x5b, 0x67, 0x76];
pub(super) const RULE: Color = [0xd4, 0xda, 0xe1];
pub(super) const ACCENT: Color = [0x0b, 0x5c, 0x8f];
pub(super) const WASH: Color = [0xf4, 0xf7, 0xfa];
pub(super) const DARK: Color = INK;
const WARN: Color = [0x9a, 0x4a, 0x00];
const PALE: Color = [0xf8, 0xf2, 0xed];

/// How text is set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    Title,
    Heading,
    Strong,
    Plain,
    Soft,
    Small,
    Label,
    Total,
    Warning,
    Foot,
}

impl Style {
    const fn size(self) -> f32 {
        match self {
            Self::Title => 19.0,
            Self::Total => 12.0,
            Self::Heading => 11.0,
            Self::Strong => 10.0,
            Self::Plain | Self::Soft => 9.0,
            Self::Warning => 8.5,
            Self::Small => 7.6,
            Self::Label | Self::Foot => 7.2,
        }
    }

    /// From one line to the next.
    pub(super) fn leading(self) -> f32 {
        self.size() * 1.36
    }

    const fn is_bold(self) -> bool {
        matches!(self, Self::Title | Self::Heading | Self::Strong | Self::Label | Self::Total | Self::Warning)
    }

    const fn color(self) -> Color {
        match self {
            Self::Soft | Self::Small | Self::Label | Self::Foot => SOFT,
            Self::Warning => WARN,
            _ => INK,
        }
    }
}

/// Something on a page.
enum Mark {
    Text { x: f32, y: f32, style: Style, text: String },
    Box { x: f32, y: f32, width: f32, height: f32, color: Color },
    Behind { text: String },
    Logo { x: f32, y: f32, width: f32, height: f32 },
}

/// The sheets.
pub(super) struct Sheets {
    regular: Face,
    bold: Face,
    pages: Vec<Vec<Mark>>,
    /// Where the next thing goes, from the top.
    pub(super) y: f32,
    /// What stands at the top of every page but the first.
    running_head: (String, String),
}

/// The fonts that are built in cannot be read: a defect of the build.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the fonts that are built in cannot be used")]
pub struct NoFonts;

impl Sheets {
    /// The first page.
    pub(super) fn new(running_head: (String, String)) -> Result<Self, NoFonts> {
        let (regular, bold) = Face::new("LiberationSans", REGULAR)
            .zip(Face::new("LiberationSans-Bold", BOLD))
            .ok_or(NoFonts)?;
        Ok(Self { regular, bold, pages: vec![Vec::new()], y: TOP, running_head })
    }

    /// Both fonts, the regular one first.
    pub(super) const fn faces(&self) -> [&Face; 2] {
        [&self.regular, &self.bold]
    }

    fn face(&self, style: Style) -> &Face {
        if style.is_bold() { &self.bold } else { &self.regular }
    }

    /// The width of a text.
    pub(super) fn width(&self, text: &str, style: Style) -> f32 {
        self.face(style).width(text) * style.size()
    }

    /// A text in lines of at most this width. What has no blank to be broken at is broken anywhere.
    pub(super) fn wrapped(&self, text: &str, style: Style, most: f32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in text.split(' ') {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if self.width(&longer, style) <= most {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            for c in word.chars() {
                line.push(c);
                if self.width(&line, style) > most && line.chars().count() > 1 {
                    line.pop();
                    lines.push(std::mem::replace(&mut line, c.to_string()));
                }
            }
        }
        lines.push(line);
        lines
    }

    fn put(&mut self, mark: Mark) {
        if let Some(page) = self.pages.last_mut() {
            page.push(mark);
        }
    }

    /// One line of text, whose top is at `y`.
    pub(super) fn text(&mut self, (x, y): (f32, f32), text: &str, style: Style) {
        let y = y + style.size();
        self.put(Mark::Text { x, y, style, text: text.to_owned() });
    }

    /// One line of text that ends at `x`.
    pub(super) fn text_to(&mut self, (x, y): (f32, f32), text: &str, style: Style) {
        // Blanks at the end keep points below each other: they count.
        let x = x - self.width(text, style);
        self.text((x, y), text, style);
    }

    /// A text in as many lines as it takes; where the next one goes.
    pub(super) fn paragraph(&mut self, (x, y): (f32, f32), text: &str, style: Style, most: f32) -> f32 {
        let lines = self.wrapped(text, style, most);
        let mut y = y;
        for line in &lines {
            self.text((x, y), line, style);
            y += style.leading();
        }
        y
    }

    /// A filled box.
    pub(super) fn fill(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), color: Color) {
        self.put(Mark::Box { x, y, width, height, color });
    }

    /// A box that lies below what is on the page already.
    pub(super) fn fill_below(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), color: Color) {
        if let Some(page) = self.pages.last_mut() {
            page.insert(0, Mark::Box { x, y, width, height, color });
        }
    }

    /// The logo.
    pub(super) fn logo(&mut self, (x, y): (f32, f32), (width, height): (f32, f32)) {
        self.put(Mark::Logo { x, y, width, height });
    }

    /// True where so much has no room on the page any more.
    pub(super) fn is_full(&self, height: f32) -> bool {
        self.y + height > BOTTOM
    }

    /// Begins a page where so much has no room on this one.
    pub(super) fn reserve(&mut self, height: f32) {
        if self.is_full(height) && self.y > TOP + 40.0 {
            self.next_page();
        }
    }

    /// The next page, with its head.
    pub(super) fn next_page(&mut self) {
        self.pages.push(Vec::new());
        let (left, right) = self.running_head.clone();
        self.text((LEFT, TOP - 16.0), &left, Style::Foot);
        self.text_to((RIGHT, TOP - 16.0), &right, Style::Foot);
        self.fill((LEFT, TOP - 4.0), (RIGHT - LEFT, 0.6), RULE);
        self.y = TOP + 10.0;
    }

    /// Draws all pages: with `behind` across each of them where it is not empty, and at the foot of each `left`, and
    /// what `right` makes of its number and the number of all.
    pub(super) fn draw(
        mut self,
        writer: &mut Writer,
        logo: Option<&Logo>,
        (behind, left): (&str, &str),
        right: impl Fn(usize, usize) -> String,
    ) {
        let count = self.pages.len();
        let y = BOTTOM + 24.0;
        for at in 0..count {
            let text = right(at + 1, count);
            let x = RIGHT - self.width(&text, Style::Foot);
            let page = &mut self.pages[at];
            page.push(Mark::Text { x: LEFT, y, style: Style::Foot, text: left.to_owned() });
            page.push(Mark::Text { x, y, style: Style::Foot, text });
            if !behind.is_empty() {
                page.insert(0, Mark::Behind { text: behind.to_owned() });
            }
        }
        for marks in &self.pages {
            let mut page = writer.page();
            for mark in marks {
                self.draw_mark(&mut page, mark, logo);
            }
            writer.end_page(page);
        }
    }

    fn draw_mark(&self, page: &mut super::file::Sheet, mark: &Mark, logo: Option<&Logo>) {
        match mark {
            Mark::Text { x, y, style, text } => {
                page.text(self.face(*style), (*x, *y), 0.0, (style.size(), style.color()), text);
            }
            Mark::Box { x, y, width, height, color } => page.fill((*x, *y), (*width, *height), *color),
            Mark::Behind { text } => {
                // Turned about the middle of the page by 32 degrees; so pale that what is above can be read.
                let size: f32 = 88.0;
                let width = self.bold.width(text) * size;
                let (turn, half) = (32.0_f32.to_radians(), width / 2.0);
                let x = WIDTH / 2.0 - half * turn.cos() + size / 3.0 * turn.sin();
                let y = HEIGHT / 2.0 + half * turn.sin() + size / 3.0 * turn.cos();
                page.text(&self.bold, (x, y), turn, (size, PALE), text);
            }
            Mark::Logo { x, y, width, height } if logo.is_some() => page.logo((*x, *y), (*width, *height)),
            Mark::Logo { .. } => {}
        }
    }
}
