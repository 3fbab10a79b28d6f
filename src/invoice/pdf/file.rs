//! The file: pages, two fonts of which only the used glyphs are in it, a picture, and what it says of itself (PDF 1.7,
//! ISO 32000-1). Objects are numbered in the order in which they are written, so the same pages are the same bytes.

#![expect(clippy::float_arithmetic, reason = "places on a page, and widths of glyphs")]

use std::cell::RefCell;
use std::collections::BTreeMap;

use miniz_oxide::deflate::compress_to_vec_zlib;
use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use sha2::{Digest, Sha256};
use subsetter::GlyphRemapper;

use super::logo::Logo;
use super::sheet::{Color, HEIGHT, WIDTH};

/// How hard to compress; the result is the same everywhere.
const LEVEL: u8 = 6;
/// The objects with a fixed number; what follows is numbered as it comes.
const CATALOG: i32 = 1;
const PAGES: i32 = 2;
const INFO: i32 = 3;
const LOGO: i32 = 4;
const MASK: i32 = 5;
const FIRST_FONT: i32 = 6;
/// Objects of a font.
const FONT_OBJECTS: i32 = 5;
const SYSTEM: SystemInfo<'static> =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// A font, to measure with and to draw with.
#[derive(Clone)]
pub(super) struct Face {
    name: &'static str,
    data: &'static [u8],
    read: ttf_parser::Face<'static>,
    /// Which glyphs are used, and as what number they are in the file.
    used: RefCell<Used>,
}

#[derive(Clone, Default)]
struct Used {
    glyphs: GlyphRemapper,
    /// The first character that stands for a number.
    characters: BTreeMap<u16, char>,
}

impl Face {
    pub(super) fn new(name: &'static str, data: &'static [u8]) -> Option<Self> {
        Some(Self { name, data, read: ttf_parser::Face::parse(data, 0).ok()?, used: RefCell::default() })
    }

    fn units(&self) -> f32 {
        f32::from(self.read.units_per_em())
    }

    /// The glyph of a character, and its advance in ems. Blanks that the font may not have are as wide as they should be:
    /// U+2007 a digit, U+2008 a point, U+202F and U+2009 a fifth of an em.
    fn glyph(&self, c: char) -> (u16, f32) {
        let own = |c: char| self.read.glyph_index(c).unwrap_or_default();
        let width = |c: char| self.advance(own(c).0);
        match c {
            '\u{2007}' => (own(' ').0, width('0')),
            '\u{2008}' => (own(' ').0, width('.')),
            '\u{202f}' | '\u{2009}' => (own(' ').0, 0.2),
            c if c.is_control() => (own(' ').0, width(' ')),
            c => (own(c).0, width(c)),
        }
    }

    /// The advance of a glyph, in ems.
    fn advance(&self, glyph: u16) -> f32 {
        f32::from(self.read.glyph_hor_advance(ttf_parser::GlyphId(glyph)).unwrap_or(0)) / self.units()
    }

    /// The width of a text, in ems.
    pub(super) fn width(&self, text: &str) -> f32 {
        text.chars().map(|c| self.glyph(c).1).sum()
    }

    /// The number of a glyph in the file.
    fn number(&self, glyph: u16, c: char) -> u16 {
        let mut used = self.used.borrow_mut();
        let number = used.glyphs.remap(glyph);
        let shown = if c.is_control() || c.is_whitespace() { ' ' } else { c };
        used.characters.entry(number).or_insert(shown);
        number
    }
}

/// What a file says of itself.
pub(super) struct About {
    pub(super) title: String,
    pub(super) author: String,
    pub(super) language: &'static str,
    /// What tells it from others.
    pub(super) identity: String,
}

/// A page that is being written.
pub(super) struct Sheet {
    content: Content,
    faces: [Face; 2],
}

impl Sheet {
    fn color(&mut self, [red, green, blue]: Color) {
        let of = |part: u8| f32::from(part) / 255.0;
        self.content.set_fill_rgb(of(red), of(green), of(blue));
    }

    /// A text from `(x, y)` on, its foot `y` below the top of the page, turned by so many radians against the clock.
    pub(super) fn text(
        &mut self,
        face: &Face,
        (x, y): (f32, f32),
        turn: f32,
        (size, color): (f32, Color),
        text: &str,
    ) {
        let at = self.faces.iter().position(|known| known.name == face.name).unwrap_or(0);
        self.color(color);
        let (content, own) = (&mut self.content, &self.faces[at]);
        content.begin_text();
        content.set_font(Name(font_name(at)), size);
        let (sine, cosine) = turn.sin_cos();
        content.set_text_matrix([cosine, sine, -sine, cosine, x, HEIGHT - y]);
        {
            let mut shown = content.show_positioned();
            let mut items = shown.items();
            let mut run = Vec::new();
            for c in text.chars() {
                let (glyph, advance) = own.glyph(c);
                run.extend(own.number(glyph, c).to_be_bytes());
                let missing = advance - own.advance(glyph);
                if missing != 0.0 {
                    items.show(Str(&run));
                    items.adjust(-missing * 1000.0);
                    run.clear();
                }
            }
            items.show(Str(&run));
        }
        content.end_text();
    }

    /// A filled box, `y` below the top of the page.
    pub(super) fn fill(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), color: Color) {
        self.color(color);
        self.content.rect(x, HEIGHT - y - height, width, height).fill_nonzero();
    }

    /// The logo, its top `y` below that of the page.
    pub(super) fn logo(&mut self, (x, y): (f32, f32), (width, height): (f32, f32)) {
        self.content.save_state();
        self.content.transform([width, 0.0, 0.0, height, x, HEIGHT - y - height]);
        self.content.x_object(Name(b"L"));
        self.content.restore_state();
    }
}

const fn font_name(at: usize) -> &'static [u8] {
    if at == 0 { b"F0" } else { b"F1" }
}

/// The file that is being written.
pub(super) struct Writer {
    faces: [Face; 2],
    contents: Vec<Vec<u8>>,
}

impl Writer {
    pub(super) const fn new(faces: [Face; 2]) -> Self {
        Self { faces, contents: Vec::new() }
    }

    /// The next page.
    pub(super) fn page(&self) -> Sheet {
        Sheet { content: Content::new(), faces: self.faces.clone() }
    }

    /// Ends a page; what it used of the fonts is used by the file.
    pub(super) fn end_page(&mut self, page: Sheet) {
        self.faces = page.faces;
        self.contents.push(page.content.finish().to_vec());
    }

    /// The whole file.
    pub(super) fn finish(self, about: &About, logo: Option<&Logo>) -> Result<Vec<u8>, String> {
        let mut pdf = Pdf::new();
        let mut catalog = pdf.catalog(Ref::new(CATALOG));
        catalog.pages(Ref::new(PAGES)).lang(TextStr(about.language));
        catalog.finish();
        let mut info = pdf.document_info(Ref::new(INFO));
        info.title(TextStr(&about.title)).creator(TextStr("fluxoscope"));
        if !about.author.is_empty() {
            info.author(TextStr(&about.author));
        }
        info.finish();
        for (at, face) in (0..).zip(&self.faces) {
            font(&mut pdf, FIRST_FONT + at * FONT_OBJECTS, face)?;
        }
        if let Some(logo) = logo {
            logo.put(&mut pdf, (Ref::new(LOGO), Ref::new(MASK)));
        }
        let first = FIRST_FONT + 2 * FONT_OBJECTS;
        let numbers = || (0..).map(|at| first + 2 * at).zip(&self.contents);
        let kids = numbers().map(|(number, _)| Ref::new(number));
        let count = i32::try_from(self.contents.len()).map_err(|_| "too many pages".to_owned())?;
        pdf.pages(Ref::new(PAGES)).kids(kids).count(count);
        for (number, content) in numbers() {
            let mut page = pdf.page(Ref::new(number));
            page.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT)).parent(Ref::new(PAGES));
            page.contents(Ref::new(number + 1));
            let mut resources = page.resources();
            let mut fonts = resources.fonts();
            for at in 0..2_u8 {
                let number = FIRST_FONT + i32::from(at) * FONT_OBJECTS;
                fonts.pair(Name(font_name(at.into())), Ref::new(number));
            }
            fonts.finish();
            if logo.is_some() {
                resources.x_objects().pair(Name(b"L"), Ref::new(LOGO));
            }
            resources.finish();
            page.finish();
            stream(&mut pdf, number + 1, content);
        }
        let identity = |text: &str| Sha256::digest(text.as_bytes())[..16].to_vec();
        let all: String =
            self.contents.iter().map(|content| format!("{:x?}", Sha256::digest(content))).collect();
        pdf.set_file_id((identity(&about.identity), identity(&all)));
        Ok(pdf.finish())
    }
}

/// A compressed stream.
fn stream(pdf: &mut Pdf, number: i32, content: &[u8]) {
    let packed = compress_to_vec_zlib(content, LEVEL);
    pdf.stream(Ref::new(number), &packed).filter(Filter::FlateDecode);
}

/// A font, as far as it is used.
fn font(pdf: &mut Pdf, first: i32, face: &Face) -> Result<(), String> {
    let used = face.used.borrow();
    let [cid, descriptor, cmap, file] = [1, 2, 3, 4].map(|at| Ref::new(first + at));
    let name = format!("AAAAAA+{}", face.name);
    let name = Name(name.as_bytes());
    pdf.type0_font(Ref::new(first))
        .base_font(name)
        .encoding_predefined(Name(b"Identity-H"))
        .descendant_font(cid)
        .to_unicode(cmap);
    let mut descendant = pdf.cid_font(cid);
    descendant.subtype(CidFontType::Type2).base_font(name).system_info(SYSTEM).font_descriptor(descriptor);
    descendant.default_width(0.0).cid_to_gid_map_predefined(Name(b"Identity"));
    let widths = used.glyphs.remapped_gids().map(|glyph| face.advance(glyph) * 1000.0);
    descendant.widths().consecutive(0, widths);
    descendant.finish();
    let scale = 1000.0 / face.units();
    let bounds = face.read.global_bounding_box();
    let of = |units: i16| f32::from(units) * scale;
    pdf.font_descriptor(descriptor)
        .name(name)
        .flags(FontFlags::NON_SYMBOLIC)
        .bbox(Rect::new(of(bounds.x_min), of(bounds.y_min), of(bounds.x_max), of(bounds.y_max)))
        .italic_angle(0.0)
        .ascent(of(face.read.ascender()))
        .descent(of(face.read.descender()))
        .cap_height(of(face.read.capital_height().unwrap_or_else(|| face.read.ascender())))
        .stem_v(if face.read.is_bold() { 140.0 } else { 80.0 })
        .font_file2(file);
    let mut map = UnicodeCmap::new(Name(b"Custom"), SYSTEM);
    for (&number, &c) in &used.characters {
        map.pair(number, c);
    }
    stream(pdf, first + 3, map.finish().as_slice());
    let subset = subsetter::subset(face.data, 0, &used.glyphs).map_err(|error| error.to_string())?;
    let packed = compress_to_vec_zlib(&subset, LEVEL);
    let length = i32::try_from(subset.len()).map_err(|_| "a font is too long".to_owned())?;
    pdf.stream(file, &packed).filter(Filter::FlateDecode).pair(Name(b"Length1"), length);
    Ok(())
}
