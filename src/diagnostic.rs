//! Errors in files that people write: what is wrong, with file, line and caret; all of them at once.
//!
//! A problem keeps octets of the text rather than lines and columns: that is what parsers give, and the text is at
//! hand when it is shown. Text and messages may hold anything a person can put into a file, so control characters are
//! made visible, and a span that does not fit the text is moved into it.

use core::fmt;
use core::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// An error and all that is behind it, in one line: what failed says little without why.
#[must_use]
pub fn with_causes(error: &dyn core::error::Error) -> String {
    let behind = core::iter::successors(error.source(), |error| error.source());
    behind.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// One thing that is wrong in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// What is wrong, and what to do: one sentence, no full stop.
    pub message: String,
    /// Where: octets of the text. Empty at 0 where there is no better place.
    pub span: Range<usize>,
    /// The label under the caret; may be empty.
    pub label: String,
}

/// All that is wrong in one file. Displays as one block with line and caret a problem.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileProblems {
    /// The file's name as the person gave it.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The problems, by place.
    pub problems: Vec<Problem>,
}

impl FileProblems {
    /// The blocks, one after the other with an empty line between; with ANSI colours or as plain text.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        for problem in &self.problems {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&renderer.render(&[self.group(problem)]));
            out.push('\n');
        }
        out
    }

    /// One block. Only the line in question is handed to the renderer, so that a thousand problems in a long file
    /// cost a thousand lines, not a thousand files.
    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let title = Level::ERROR.primary_title(problem.message.as_str());
        if self.text.is_empty() {
            return title.element(Origin::path(self.file.as_str()));
        }
        let start = floor_boundary(&self.text, problem.span.start);
        let end = floor_boundary(&self.text, problem.span.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let line = &self.text[line_start..line_end];
        let mark = start - line_start..end.min(line_end) - line_start;
        let mut annotation = AnnotationKind::Primary.span(mark);
        if !problem.label.is_empty() {
            annotation = annotation.label(problem.label.as_str());
        }
        title.element(
            Snippet::source(line)
                .line_start(line_number(&self.text, start))
                .path(self.file.as_str())
                .annotation(annotation),
        )
    }
}

/// The line, from 1, in which the octet at `offset` stands.
#[must_use]
pub fn line_number(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|&&octet| octet == b'\n').count()
}

/// The last character boundary at or before `offset`, inside the text.
fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for FileProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, span: Range<usize>, label: &str) -> String {
        let problem = Problem { message: "that is wrong".to_owned(), span, label: label.to_owned() };
        FileProblems { file: "a.toml".to_owned(), text: text.to_owned(), problems: vec![problem] }.to_string()
    }

    #[test]
    fn a_block_has_file_line_column_and_caret() {
        let shown = show("one = 1\ntwo = \"x\"\n", 14..17, "not a number");
        let expected = "\
error: that is wrong
 --> a.toml:2:7
  |
2 | two = \"x\"
  |       ^^^ not a number
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn no_span_makes_it_panic() {
        let text = "ä\u{1b}[31m\r\n\tx = 1\n\nlast";
        for start in 0..text.len() + 3 {
            for end in [0, start, start + 1, text.len(), usize::MAX] {
                let shown = show(text, start..end, "here");
                assert!(shown.contains("a.toml:"), "{shown}");
                assert!(!shown.contains('\u{1b}'), "control characters must not reach a terminal: {shown:?}");
            }
        }
    }

    #[test]
    fn a_file_without_text_is_named() {
        let shown = show("", 0..0, "");
        assert!(shown.contains("that is wrong") && shown.contains("a.toml"), "{shown}");
    }

    #[test]
    fn lines_count_from_one() {
        assert_eq!(line_number("a\nb\nc", 0), 1);
        assert_eq!(line_number("a\nb\nc", 1), 1);
        assert_eq!(line_number("a\nb\nc", 2), 2);
        assert_eq!(line_number("a\nb\nc", 99), 3);
    }
}
