//! The operator's logo on paper: a PNG picture (ISO 15948) of eight bits a channel, without interlacing.
//!
//! PDF knows the filters of PNG, so that a picture without transparency goes into it as it is. One with transparency is
//! taken apart, since PDF has that in a picture of its own.

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use pdf_writer::types::Predictor;
use pdf_writer::{Filter, Finish, Name, Pdf, Ref};

use crate::ledger::records::Asset;

/// Octets of a picture, at most: 16 million dots with four channels.
const MOST: usize = 1 << 26;

/// A logo.
pub(super) struct Logo {
    width: u16,
    height: u16,
    /// Channels of colour: 1 or 3; a palette is one.
    channels: u8,
    palette: Option<Vec<u8>>,
    /// Compressed rows, each with its filter.
    colors: Vec<u8>,
    /// The same of opacity.
    opacity: Option<Vec<u8>>,
}

impl Logo {
    /// The logo in a file; why it cannot be used.
    pub(super) fn read(asset: &Asset) -> Result<Self, String> {
        if asset.media != "image/png" {
            return Err(format!("a PDF needs a PNG picture, and the logo is {}", asset.media));
        }
        Self::png(&asset.content).ok_or_else(|| {
            "it is no whole PNG picture of eight bits a channel, without interlacing and up to 65535 dots wide and high"
                .to_owned()
        })
    }

    fn png(file: &[u8]) -> Option<Self> {
        let mut rest = file.get(8..)?;
        let (mut head, mut palette, mut packed, mut is_whole) = (None, None, Vec::new(), false);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (kind, after) = after.split_first_chunk::<4>()?;
            let (data, after) = after.split_at_checked(length)?;
            match kind {
                b"IHDR" => head = data.first_chunk::<13>().copied(),
                b"PLTE" => palette = Some(data.to_vec()),
                b"IDAT" => packed.extend_from_slice(data),
                b"IEND" => is_whole = true,
                _ => {}
            }
            rest = after.get(4..)?;
        }
        let [w0, w1, w2, w3, h0, h1, h2, h3, bits, kind, _, _, interlaced] = head?;
        let side = |of: [u8; 4]| u16::try_from(u32::from_be_bytes(of)).ok().filter(|side| *side > 0);
        let (width, height) = (side([w0, w1, w2, w3])?, side([h0, h1, h2, h3])?);
        if bits != 8 || interlaced != 0 || !is_whole {
            return None;
        }
        let plain =
            |channels, palette, colors| Self { width, height, channels, palette, colors, opacity: None };
        let rows = |stride: usize| {
            let rows = decompress_to_vec_zlib_with_limit(&packed, MOST).ok()?;
            (rows.len() == (usize::from(width) * stride + 1) * usize::from(height)).then_some(rows)
        };
        match kind {
            0 => rows(1).map(|_| plain(1, None, packed.clone())),
            2 => rows(3).map(|_| plain(3, None, packed.clone())),
            3 => rows(1).and_then(|_| Some(plain(1, Some(palette?), packed.clone()))),
            4 | 6 => {
                let channels = if kind == 4 { 1 } else { 3 };
                let stride = usize::from(channels) + 1;
                let dots = unfiltered(&rows(stride)?, usize::from(width) * stride, stride)?;
                let row = usize::from(width) * stride;
                let (mut colors, mut opacity) = (Vec::new(), Vec::new());
                for row in dots.chunks(row) {
                    colors.push(0);
                    opacity.push(0);
                    for dot in row.chunks(stride) {
                        let (alpha, color) = dot.split_last()?;
                        colors.extend_from_slice(color);
                        opacity.push(*alpha);
                    }
                }
                let [colors, opacity] = [colors, opacity].map(|rows| compress_to_vec_zlib(&rows, 6));
                Some(Self { opacity: Some(opacity), ..plain(channels, None, colors) })
            }
            _ => None,
        }
    }

    /// How many dots wide and high.
    pub(super) const fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    /// Puts it into a file.
    pub(super) fn put(&self, pdf: &mut Pdf, (picture, mask): (Ref, Ref)) {
        let (width, height) = (i32::from(self.width), i32::from(self.height));
        let mut image = pdf.image_xobject(picture, &self.colors);
        image.width(width).height(height).bits_per_component(8).filter(Filter::FlateDecode);
        image.decode_parms().predictor(Predictor::PngOptimum).colors(self.channels.into()).columns(width);
        match &self.palette {
            Some(palette) => {
                let last = i32::try_from(palette.len() / 3).unwrap_or(256) - 1;
                let space = image.color_space();
                space.indexed(Name(b"DeviceRGB"), last, palette);
            }
            None if self.channels == 1 => image.color_space().device_gray(),
            None => image.color_space().device_rgb(),
        }
        if self.opacity.is_some() {
            image.s_mask(mask);
        }
        image.finish();
        let Some(opacity) = &self.opacity else { return };
        let mut image = pdf.image_xobject(mask, opacity);
        image.width(width).height(height).bits_per_component(8).filter(Filter::FlateDecode);
        image.decode_parms().predictor(Predictor::PngOptimum).colors(1).columns(width);
        image.color_space().device_gray();
        image.finish();
    }
}

/// Rows without their filters (ISO 15948, 9); `None` for a filter that is none.
fn unfiltered(rows: &[u8], row: usize, stride: usize) -> Option<Vec<u8>> {
    let mut dots: Vec<u8> = Vec::with_capacity(rows.len());
    for line in rows.chunks(row + 1) {
        let (filter, line) = line.split_first()?;
        let above = dots.len().checked_sub(row);
        let begin = dots.len();
        for (at, &octet) in line.iter().enumerate() {
            let left = if at >= stride { dots[begin + at - stride] } else { 0 };
            let up = above.map_or(0, |above| dots[above + at]);
            let corner = above.filter(|_| at >= stride).map_or(0, |above| dots[above + at - stride]);
            let predicted = match filter {
                0 => 0,
                1 => left,
                2 => up,
                3 => u8::midpoint(left, up),
                4 => paeth(left, up, corner),
                _ => return None,
            };
            dots.push(octet.wrapping_add(predicted));
        }
    }
    Some(dots)
}

/// Of the three the one that is nearest to `left + up - corner`.
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, up, corner].map(i16::from);
    let far = |one: i16| (a + b - c - one).abs();
    if far(a) <= far(b) && far(a) <= far(c) {
        left
    } else if far(b) <= far(c) {
        up
    } else {
        corner
    }
}
