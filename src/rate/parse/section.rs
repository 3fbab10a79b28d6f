//! Reading TOML so that every mistake is found in one go: values are taken one by one with their places, and what is
//! wrong is noted instead of returned.

use core::ops::Range;

use rust_decimal::Decimal;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Problem;
use crate::money::parse_decimal;

/// A value with its place.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// Notes a problem.
    pub(super) fn add(&mut self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) {
        self.0.push(Problem { message: message.into(), span, label: label.into() });
    }
}

/// A table, with its name in messages and its place.
#[derive(Clone)]
pub(super) struct Section<'a> {
    pub(super) name: String,
    pub(super) span: Range<usize>,
    table: &'a DeTable<'a>,
    /// What holds where `table` says nothing: the charge that an override changes.
    base: Option<&'a DeTable<'a>>,
}

impl<'a> Section<'a> {
    /// The section that `value` is, if it is a table.
    pub(super) fn of(value: &'a Value<'a>, name: &str, problems: &mut Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => {
                Some(Self { name: name.to_owned(), span: value.span(), table, base: None })
            }
            other => {
                expected(name, "a table", other, value.span(), problems);
                None
            }
        }
    }

    /// The whole file.
    pub(super) fn root(root: &'a Spanned<DeTable<'a>>) -> Self {
        Self { name: "the tariff".to_owned(), span: 0..0, table: root.get_ref(), base: None }
    }

    /// This section, with `base` for what it does not say.
    pub(super) fn over(&self, base: &Self) -> Self {
        Self { base: Some(base.table), ..self.clone() }
    }

    /// Notes every key that is not in `known`.
    pub(super) fn only(&self, known: &[&str], problems: &mut Problems) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            let is_of_override = self.base.is_some() && name == "charge";
            if !is_of_override && !known.contains(&name) {
                let message = format!("unknown key `{name}` in {}", self.name);
                problems.add(key.span(), message, format!("expected one of: {}", known.join(", ")));
            }
        }
    }

    /// The value of a key that may be absent.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        let has = |key: &&str| self.table.contains_key(*key);
        let is_shadowed = || match key {
            "price" => ["tiers", "commit", "overage"].iter().any(has),
            "tiers" | "commit" | "overage" => has(&"price"),
            _ => false,
        };
        self.table.get(key).or_else(|| self.base.filter(|_| !is_shadowed())?.get(key))
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &str, problems: &mut Problems) -> Option<&'a Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            problems.add(
                self.span.clone(),
                format!("`{key}` is missing in {}", self.name),
                format!("`{key}` is missing"),
            );
        }
        value
    }

    /// The text of a key that must be there, with its place.
    pub(super) fn need_text(&self, key: &str, problems: &mut Problems) -> Option<(&'a str, Range<usize>)> {
        let value = self.need(key, problems)?;
        text(value, key, problems).map(|text| (text, value.span()))
    }

    /// The text of a key that may be absent.
    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<(&'a str, Range<usize>)> {
        let value = self.get(key)?;
        text(value, key, problems).map(|text| (text, value.span()))
    }

    /// The tables of an array of tables, each called `name` in messages; none where the key is absent.
    pub(super) fn tables(&self, key: &str, name: &str, problems: &mut Problems) -> Vec<Self> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            expected(key, "an array of tables", value.get_ref(), value.span(), problems);
            return Vec::new();
        };
        array.iter().filter_map(|item| Section::of(item, name, problems)).collect()
    }

    /// One text or an array of texts, each with its place; none where the key is absent.
    pub(super) fn texts(&self, key: &str, problems: &mut Problems) -> Vec<(&'a str, Range<usize>)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            return text(value, key, problems).map(|text| (text, value.span())).into_iter().collect();
        };
        if array.is_empty() {
            problems.add(
                value.span(),
                format!("`{key}` is an empty list"),
                "leave it out, or name something",
            );
        }
        array.iter().filter_map(|item| text(item, key, problems).map(|text| (text, item.span()))).collect()
    }
}

/// Notes that `key` is of the wrong type.
pub(super) fn expected(
    key: &str,
    what: &str,
    found: &DeValue<'_>,
    span: Range<usize>,
    problems: &mut Problems,
) {
    let message = format!("`{key}` must be {what}, not {}", with_article(found.type_str()));
    problems.add(span, message, format!("expected {what}"));
}

fn with_article(name: &str) -> String {
    let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {name}")
}

/// A text.
pub(super) fn text<'a>(value: &'a Value<'a>, key: &str, problems: &mut Problems) -> Option<&'a str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        expected(key, "a string", value.get_ref(), value.span(), problems);
    }
    text
}

/// One of a few words, by their names.
pub(super) fn one_of<T: Copy>(
    (name, span): (&str, Range<usize>),
    what: &str,
    known: &[T],
    name_of: impl Fn(T) -> &'static str,
    problems: &mut Problems,
) -> Option<T> {
    let found = known.iter().copied().find(|&one| name_of(one) == name);
    if found.is_none() {
        let names: Vec<&str> = known.iter().map(|&one| name_of(one)).collect();
        problems.add(span, format!("`{name}` is not {what}"), format!("expected {}", names.join(", ")));
    }
    found
}

/// An integer of 64 bits.
pub(super) fn integer(value: &Value<'_>, key: &str, problems: &mut Problems) -> Option<i64> {
    let number = value.get_ref().as_integer().and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
    if number.is_none() {
        expected(key, "an integer", value.get_ref(), value.span(), problems);
    }
    number
}

/// A price, quantity or percentage: a string, so that it stays what was written.
pub(super) fn decimal(value: &Value<'_>, key: &str, problems: &mut Problems) -> Option<Decimal> {
    let written = match value.get_ref() {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(_) | DeValue::Float(_) => {
            let message = format!("`{key}` must be a string, so that no digit of it is changed");
            problems.add(value.span(), message, "put it into quotes");
            return None;
        }
        other => {
            expected(key, "a decimal number in a string", other, value.span(), problems);
            return None;
        }
    };
    let number = parse_decimal(written);
    if number.is_none() {
        let message = format!("`{key}` is not a decimal number of at most 28 digits");
        problems.add(value.span(), message, "expected digits with at most one point, as in \"0.05\"");
    }
    number
}
