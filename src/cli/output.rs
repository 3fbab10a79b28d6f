//! Rows for people and for programs: a table, CSV with a header, or a JSON array.

use std::io::{self, Write};

use clap::ValueEnum;

/// How rows are printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// RFC 4180, with a header.
    Csv,
    /// One array of objects; one object for a summary.
    Json,
}

/// A value in a row.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i128),
    /// A decimal number, as text; a JSON number.
    Decimal(String),
    /// No value: empty in tables and CSV, null in JSON.
    Missing,
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Decimal(text) => text.clone(),
            Self::Integer(n) => n.to_string(),
            Self::Missing => String::new(),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Text(text) => serde_json::to_string(text).expect("text is JSON"),
            Self::Decimal(text) => text.clone(),
            Self::Integer(n) => n.to_string(),
            Self::Missing => "null".to_owned(),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

macro_rules! from_integer {
    ($($int:ty),*) => {$(
        impl From<$int> for Cell {
            fn from(n: $int) -> Self {
                Self::Integer(i128::from(n))
            }
        }
    )*};
}
from_integer!(i128, i64, u64, u32, u16);

/// Prints `rows`, whose cells are as many as `columns`.
///
/// # Errors
/// When `out` cannot be written to.
pub fn rows(out: &mut dyn Write, format: Format, columns: &[&str], rows: &[Vec<Cell>]) -> io::Result<()> {
    match format {
        Format::Table => table(out, columns, rows),
        Format::Csv => csv(out, columns, rows),
        Format::Json => {
            write!(out, "[")?;
            for (n, row) in rows.iter().enumerate() {
                write!(out, "{}{}", if n == 0 { "\n  " } else { ",\n  " }, object(columns, row))?;
            }
            writeln!(out, "{}]", if rows.is_empty() { "" } else { "\n" })
        }
    }
}

/// Prints one row as a summary: a list of names and values, or one JSON object.
///
/// # Errors
/// When `out` cannot be written to.
pub fn summary(out: &mut dyn Write, format: Format, columns: &[&str], row: &[Cell]) -> io::Result<()> {
    match format {
        Format::Json => writeln!(out, "{}", object(columns, row)),
        Format::Csv => csv(out, columns, &[row.to_vec()]),
        Format::Table => {
            let width = columns.iter().map(|name| name.len()).max().unwrap_or(0);
            for (name, cell) in columns.iter().zip(row) {
                writeln!(out, "{:width$}  {}", name.replace('_', " "), cell.text())?;
            }
            Ok(())
        }
    }
}

fn object(columns: &[&str], row: &[Cell]) -> String {
    let members: Vec<String> = columns
        .iter()
        .zip(row)
        .map(|(name, cell)| {
            format!("{}: {}", serde_json::to_string(name).expect("text is JSON"), cell.json())
        })
        .collect();
    format!("{{{}}}", members.join(", "))
}

fn csv(out: &mut dyn Write, columns: &[&str], rows: &[Vec<Cell>]) -> io::Result<()> {
    writeln!(out, "{}", columns.join(","))?;
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| csv_field(&cell.text())).collect();
        writeln!(out, "{}", cells.join(","))?;
    }
    Ok(())
}

/// A field of RFC 4180: quoted where it has to be.
#[must_use]
pub fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn table(out: &mut dyn Write, columns: &[&str], rows: &[Vec<Cell>]) -> io::Result<()> {
    use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|name| name.replace('_', " ")));
    for row in rows {
        table.add_row(row.iter().map(|cell| {
            let aligned = comfy_table::Cell::new(match cell {
                Cell::Integer(n) => grouped(*n),
                other => other.text(),
            });
            match cell {
                Cell::Integer(_) | Cell::Decimal(_) => aligned.set_alignment(CellAlignment::Right),
                Cell::Text(_) | Cell::Missing => aligned,
            }
        }));
    }
    writeln!(out, "{table}")
}

/// A whole number with a thin gap every three digits, for people.
#[must_use]
pub fn grouped(n: i128) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    if n < 0 {
        text.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format) -> String {
        let mut out = Vec::new();
        let data = [
            vec![Cell::from("a,\"b\""), Cell::Integer(1_234_567), Cell::Decimal("0.500000".into())],
            vec![Cell::from("c"), Cell::Missing, Cell::Decimal("0".into())],
        ];
        rows(&mut out, format, &["name", "bytes", "error"], &data).expect("memory takes it");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn csv_quotes_and_json_escapes() {
        assert_eq!(printed(Format::Csv), "name,bytes,error\n\"a,\"\"b\"\"\",1234567,0.500000\nc,,0\n");
        let json: serde_json::Value = serde_json::from_str(&printed(Format::Json)).expect("JSON");
        assert_eq!(json[0]["name"], "a,\"b\"");
        assert_eq!(json[0]["bytes"], 1_234_567);
        assert!(json[1]["bytes"].is_null());
        assert!(printed(Format::Table).contains("1 234 567"));
    }

    #[test]
    fn no_rows_are_still_a_document() {
        let mut out = Vec::new();
        rows(&mut out, Format::Json, &["a"], &[]).expect("memory takes it");
        assert_eq!(out, b"[]\n");
    }

    #[test]
    fn digits_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (-1_234_567, "-1 234 567")] {
            assert_eq!(grouped(n), text);
        }
    }
}
