//! Customers of a large file, some at a time. The parser takes ten times the text while it works, and nearly all of a large
//! file is customers; so it is shown these in pieces, and the rest with blanks in their place.
//!
//! Only a file without any error is read so: one with errors is read again as a whole, which tells them.

use core::ops::Range;

/// A file of more octets is read in pieces.
pub(super) const WHOLE_MAX: usize = 1 << 20;

/// Octets of a piece, and up to a customer more.
const PIECE: usize = 256 << 10;

/// What a line begins, where it is in no value.
enum Line {
    /// `[[customer]]`.
    Customer,
    /// A table of the customer before it.
    OfCustomer,
    /// Another table.
    Other,
    /// None.
    Inner,
}

/// The text without its `[[customer]]` sections, in their places, and where these are, whole ones in a row.
pub(super) fn split(text: &str, piece: usize) -> (String, Vec<Range<usize>>) {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut begun: Option<usize> = None;
    let mut scanner = Scanner { octets: text.as_bytes(), at: 0, depth: 0 };
    while scanner.at < text.len() {
        let start = scanner.at;
        let line = if scanner.depth == 0 { header(&text[start..]) } else { Line::Inner };
        match (line, begun) {
            (Line::Customer, None) => begun = Some(start),
            (Line::Customer, Some(from)) if start - from >= piece => {
                pieces.push(from..start);
                begun = Some(start);
            }
            (Line::Other, Some(from)) => {
                pieces.push(from..start);
                begun = None;
            }
            _ => {}
        }
        scanner.line();
    }
    pieces.extend(begun.map(|from| from..text.len()));
    let mut rest = String::new();
    let mut at = 0;
    for piece in &pieces {
        rest.push_str(&text[at..piece.start]);
        // At the end nothing is needed for the places of what follows.
        if piece.end < text.len() {
            rest.extend(core::iter::repeat_n(' ', piece.len()));
        }
        at = piece.end;
    }
    rest.push_str(&text[at..]);
    (rest, pieces)
}

/// As [`split`], where the text is large enough.
pub(super) fn split_large(text: &str) -> (String, Vec<Range<usize>>) {
    if text.len() > WHOLE_MAX { split(text, PIECE) } else { (text.to_owned(), Vec::new()) }
}

fn header(rest: &str) -> Line {
    let rest = rest.trim_start_matches([' ', '\t']);
    let Some(name) = rest.strip_prefix('[') else { return Line::Inner };
    let (is_array, name) = match name.strip_prefix('[') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let Some(behind) = name.trim_start_matches([' ', '\t']).strip_prefix("customer") else {
        return Line::Other;
    };
    match behind.trim_start_matches([' ', '\t']).as_bytes() {
        [b']', b']', ..] if is_array => Line::Customer,
        [b'.', ..] => Line::OfCustomer,
        _ => Line::Other,
    }
}

/// Knows strings and comments, and so which brackets are some.
struct Scanner<'a> {
    octets: &'a [u8],
    at: usize,
    /// Brackets that are open.
    depth: usize,
}

impl Scanner<'_> {
    /// Goes to the beginning of the next line that is in no string.
    fn line(&mut self) {
        while let Some(&octet) = self.octets.get(self.at) {
            self.at += 1;
            match octet {
                b'\n' => return,
                b'#' => self.comment(),
                b'"' | b'\'' => self.string(octet),
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn comment(&mut self) {
        while self.octets.get(self.at).is_some_and(|octet| *octet != b'\n') {
            self.at += 1;
        }
    }

    /// Goes behind a string whose first quote was passed.
    fn string(&mut self, quote: u8) {
        let is_long = self.octets[self.at..].starts_with(&[quote, quote]);
        if is_long {
            self.at += 2;
        }
        while let Some(&octet) = self.octets.get(self.at) {
            self.at += 1;
            match octet {
                b'\\' if quote == b'"' => self.at += 1,
                // One that is not closed is an error.
                b'\n' if !is_long => {
                    self.at -= 1;
                    return;
                }
                _ if octet == quote && !is_long => return,
                _ if octet == quote && self.octets[self.at..].starts_with(&[quote, quote]) => {
                    self.at += 2;
                    // Up to two quotes may stand before the three that close it.
                    while self.octets.get(self.at) == Some(&quote) {
                        self.at += 1;
                    }
                    return;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
