//! Errors in files that people write: what is wrong, with file, line and caret; all of them at once.

use core::fmt;
use core::ops::Range;

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

impl fmt::Display for FileProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{}: {}", self.file, problem.message)?;
        }
        Ok(())
    }
}
