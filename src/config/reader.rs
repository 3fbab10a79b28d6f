//! Reading TOML with places: a typed reader over the parsed document that goes on after an error.
//!
//! Deserializing into structs stops at the first thing that does not fit. A person who edits a configuration wants all
//! of them, so the document is parsed once, with spans, and read key by key: each reader returns `None` after it has
//! noted what is wrong, and the caller carries on with a default. The value never gets out while any problem is noted.

use core::ops::RangeInclusive;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use toml::de::{DeTable, DeValue};

use crate::diagnostic::{FileProblems, Problem, line_number};

/// A place in one of the files of a configuration. Small, since each of a million prefixes has one.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    file: u32,
    start: u32,
    end: u32,
}

impl Place {
    /// The octets `span` of the file number `file`; in a file of more than 4 GiB, its beginning instead of what is beyond.
    pub(super) fn new(file: usize, span: Range<usize>) -> Self {
        let file = u32::try_from(file).expect("a configuration has fewer than 2^32 files");
        match (u32::try_from(span.start), u32::try_from(span.end)) {
            (Ok(start), Ok(end)) => Self { file, start, end },
            _ => Self { file, start: 0, end: 0 },
        }
    }

    fn file(&self) -> usize {
        self.file as usize
    }

    fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A file, and what is wrong in it.
#[derive(Debug)]
struct Source {
    name: String,
    text: Rc<str>,
    problems: Vec<Problem>,
}

/// The files of a configuration and what is wrong in them. Shared by all readers, hence the cell.
#[derive(Debug, Default)]
pub(super) struct Report {
    files: RefCell<Vec<Source>>,
}

impl Report {
    /// Takes in a file; returns its number.
    pub(super) fn file(&self, name: &str, text: &Rc<str>) -> usize {
        let mut files = self.files.borrow_mut();
        files.push(Source { name: name.to_owned(), text: Rc::clone(text), problems: Vec::new() });
        files.len() - 1
    }

    /// Notes a problem.
    pub(super) fn problem(&self, place: &Place, message: impl Into<String>, label: impl Into<String>) {
        let problem = Problem { message: message.into(), span: place.span(), label: label.into() };
        let mut files = self.files.borrow_mut();
        // One place, one complaint: an error found on the way is not repeated by a later check.
        if let Some(file) = files.get_mut(place.file())
            && !file.problems.contains(&problem)
        {
            file.problems.push(problem);
        }
    }

    /// `file:line` of a place, for a message about another one.
    pub(super) fn at(&self, place: &Place) -> String {
        let files = self.files.borrow();
        match files.get(place.file()) {
            Some(file) => format!("{}:{}", file.name, line_number(&file.text, place.span().start)),
            None => String::new(),
        }
    }

    /// The files in which something is wrong, the problems by place.
    pub(super) fn into_problems(self) -> Vec<FileProblems> {
        let files = self.files.into_inner().into_iter().filter(|file| !file.problems.is_empty());
        files
            .map(|Source { name, text, mut problems }| {
                problems.sort_by_key(|problem| problem.span.start);
                FileProblems { file: name, text: text.as_ref().to_owned(), problems }
            })
            .collect()
    }
}

/// Parses `text`, the file `file` of `report`, and hands its root to `read`. Where the text is not TOML, what the
/// parser could make of it is not read any further: half a table would give false complaints.
pub(super) fn document(report: &Report, file: usize, text: &str, read: impl FnOnce(&Table<'_>)) {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = Place::new(file, error.span().unwrap_or(0..0));
        report.problem(&place, format!("not valid TOML: {}", error.message().trim_end()), "");
    }
    if errors.is_empty() {
        let place = Place::new(file, 0..0);
        let table = Table::new(root.get_ref(), place, report);
        read(&table);
        table.finish();
    }
}

/// A value and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    value: &'a DeValue<'a>,
    file: usize,
    start: usize,
    end: usize,
    report: &'a Report,
}

impl<'a> Value<'a> {
    /// Where it stands.
    pub(super) fn place(self) -> Place {
        Place::new(self.file, self.start..self.end)
    }

    /// The report.
    pub(super) fn report(self) -> &'a Report {
        self.report
    }

    /// Notes a problem here.
    pub(super) fn problem(self, message: impl Into<String>, label: impl Into<String>) {
        self.report.problem(&self.place(), message, label);
    }

    fn expected(self, what: &str) {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("expected {what}, found {found}"), format!("expected {what}"));
    }

    /// The raw value.
    pub(super) fn raw(self) -> &'a DeValue<'a> {
        self.value
    }

    /// Whether it is a table, so that a reader can tell two spellings apart.
    pub(super) fn is_table(self) -> bool {
        self.value.is_table()
    }

    /// A string.
    pub(super) fn string(self, what: &str) -> Option<&'a str> {
        let found = self.value.as_str();
        if found.is_none() {
            self.expected(what);
        }
        found
    }

    /// A string in the form that `parse` takes. Its error says what is wrong with it.
    pub(super) fn parse<T>(self, what: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.string(what)?) {
            Ok(parsed) => Some(parsed),
            Err(message) => {
                self.problem(message, format!("expected {what}"));
                None
            }
        }
    }

    /// An integer in `range`.
    pub(super) fn integer(self, what: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let Some(integer) = self.value.as_integer() else {
            self.expected(what);
            return None;
        };
        let found = u64::from_str_radix(integer.as_str(), integer.radix());
        match found {
            Ok(n) if range.contains(&n) => Some(n),
            _ => {
                let (least, most) = range.into_inner();
                self.problem(format!("{what} must lie between {least} and {most}"), "out of range");
                None
            }
        }
    }

    /// True or false.
    pub(super) fn boolean(self) -> Option<bool> {
        let found = self.value.as_bool();
        if found.is_none() {
            self.expected("true or false");
        }
        found
    }

    /// The elements of a list.
    pub(super) fn list(self, what: &str) -> Vec<Self> {
        let Some(array) = self.value.as_array() else {
            self.expected(what);
            return Vec::new();
        };
        array.iter().map(|item| self.at(item.get_ref(), item.span())).collect()
    }

    /// The elements of a list, or the one value that is not a list.
    pub(super) fn one_or_many(self) -> Vec<Self> {
        if self.value.is_array() { self.list("a list") } else { vec![self] }
    }

    /// A table.
    pub(super) fn table(self, what: &str) -> Option<Table<'a>> {
        let Some(table) = self.value.as_table() else {
            self.expected(what);
            return None;
        };
        Some(Table::new(table, self.place(), self.report))
    }

    fn at(self, value: &'a DeValue<'a>, span: Range<usize>) -> Self {
        Self { value, start: span.start, end: span.end, ..self }
    }
}

/// A table. Each key that is asked for becomes known; [`Table::finish`] complains about the others.
pub(super) struct Table<'a> {
    table: &'a DeTable<'a>,
    place: Place,
    report: &'a Report,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    fn new(table: &'a DeTable<'a>, place: Place, report: &'a Report) -> Self {
        Self { table, place, report, known: RefCell::default() }
    }

    /// Where the table stands: its header or its braces.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The report.
    pub(super) fn report(&self) -> &'a Report {
        self.report
    }

    /// Notes a problem with the table as a whole.
    pub(super) fn problem(&self, message: impl Into<String>, label: impl Into<String>) {
        self.report.problem(&self.place, message, label);
    }

    /// True where nothing is written in it.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.known.borrow_mut().push(key);
        let value = self.table.get(key)?;
        let span = value.span();
        Some(Value {
            value: value.get_ref(),
            file: self.place.file(),
            start: span.start,
            end: span.end,
            report: self.report,
        })
    }

    /// Lets keys be, whatever is there: another problem makes them meaningless.
    pub(super) fn forget(&self, keys: &[&'static str]) {
        self.known.borrow_mut().extend(keys);
    }

    /// The value of `key`; notes a problem where it is not there.
    pub(super) fn require(&self, key: &'static str, why: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.problem(format!("`{key}` is missing: {why}"), "");
        }
        value
    }

    /// The table at `key`, read by `read` and finished; the default where it is not there.
    pub(super) fn section<T: Default>(&self, key: &'static str, read: impl FnOnce(&Self) -> T) -> T {
        self.get(key).and_then(|value| value.table(&format!("a table: [{key}]"))).map_or_else(
            T::default,
            |table| {
                let section = read(&table);
                table.finish();
                section
            },
        )
    }

    /// Each table of the list of tables at `key`, read by `read` and finished.
    pub(super) fn each(&self, key: &'static str, mut read: impl FnMut(&Self)) {
        let Some(value) = self.get(key) else { return };
        for item in value.list(&format!("tables: [[{key}]]")) {
            if let Some(table) = item.table("a table") {
                read(&table);
                table.finish();
            }
        }
    }

    /// Complains about every key that nobody asked for.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let place = Place::new(self.place.file(), key.span());
            let label = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => String::new(),
                None => format!("known here: {}", known.join(", ")),
            };
            self.report.problem(&place, format!("unknown key `{name}`"), label);
        }
    }
}

/// The name that was probably meant.
pub(super) fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let name = name.to_lowercase();
    known
        .iter()
        .map(|&candidate| (distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= 1 + candidate.len() / 4)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: characters inserted, removed, replaced, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(80).collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j - 1] + same).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant() {
        assert_eq!(nearest("listne", &["listen", "sflow"]), Some("listen"));
        assert_eq!(nearest("Address", &["name", "address"]), Some("address"));
        assert_eq!(nearest("prefix", &["prefixes", "asns"]), Some("prefixes"));
        assert_eq!(nearest("colour", &["name", "address"]), None);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
