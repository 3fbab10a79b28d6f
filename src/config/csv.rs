//! Customers from a spreadsheet: CSV (RFC 4180) with a header, one row a prefix or AS number, becomes customers TOML.
//!
//! Columns: `name,prefix,asn,tariff,valid_from,valid_to`, in any order; all but `name` may be missing or empty. Rows of
//! one name make one customer. Dates that all rows of a customer share are the customer's; others are their prefix's.

use core::fmt::Write as _;
use core::ops::Range;
use std::collections::HashMap;
use std::io::Read;
use std::rc::Rc;

use super::Problems;
use super::claims::{Claims, disjoint};
use super::network::check_customer_name;
use super::reader::{Place, Report, nearest};
use super::value;
use crate::classify::rules::{CustomerPrefix, CustomerRule, Validity};
use crate::units::{Asn, UnixMillis};

const COLUMNS: [&str; 6] = ["name", "prefix", "asn", "tariff", "valid_from", "valid_to"];

/// A field: its text without quotes, and where it stands.
struct Field {
    text: String,
    span: Range<usize>,
}

/// Reads customers from CSV and writes them as TOML, a `[[customer]]` table each, in the order of their first rows.
/// `file` is what people call it.
///
/// # Errors
/// All that is wrong in any row, by line; or that the input cannot be read or is not UTF-8.
pub fn customers_from_csv(mut reader: impl Read, file: &str) -> Result<String, Problems> {
    let mut text = String::new();
    if let Err(error) = reader.read_to_string(&mut text) {
        return Err(Problems::unreadable(file, &error));
    }
    let report = Report::default();
    let text: Rc<str> = text.into();
    let file = report.file(file, &text);
    let customers = customers(&report, file, &text);
    let problems = report.into_problems();
    if problems.is_empty() { Ok(to_toml(&customers)) } else { Err(Problems(problems)) }
}

/// A row, checked.
struct Row {
    prefix: Option<(CustomerPrefix, Place)>,
    asn: Option<(Asn, Place)>,
    tariff: Option<(String, Place)>,
    validity: Validity,
}

fn customers(report: &Report, file: usize, text: &str) -> Vec<CustomerRule> {
    let records = records(report, file, text);
    let Some((header, rows)) = records.split_first() else {
        report.problem(
            &Place::default(),
            format!("no header; the first line is `{}`", COLUMNS.join(",")),
            "",
        );
        return Vec::new();
    };
    let columns = header_columns(report, file, header);
    if !columns.contains(&Some("name")) {
        let place = Place::new(file, header[0].span.clone());
        report.problem(&place, format!("no column `name`; the header is `{}`", COLUMNS.join(",")), "");
        return Vec::new();
    }
    let mut order: Vec<String> = Vec::new();
    let mut by_name: HashMap<String, Vec<Row>> = HashMap::new();
    for record in rows {
        if record.len() != columns.len() {
            let place = Place::new(file, record[0].span.clone());
            let (found, expected) = (record.len(), columns.len());
            report.problem(&place, format!("{found} fields, but the header has {expected} columns"), "");
            continue;
        }
        let Some((name, row)) = row(report, file, &columns, record) else { continue };
        let rows = by_name.entry(name).or_insert_with_key(|name| {
            order.push(name.clone());
            Vec::new()
        });
        rows.push(row);
    }
    let mut claims = AllClaims::default();
    let mut customers = Vec::new();
    for name in order {
        let rows = by_name.remove(&name).unwrap_or_default();
        customers.push(customer(report, name, customers.len(), rows, &mut claims));
    }
    let show = |prefix: &crate::classify::rules::Prefix| format!("{}/{}", prefix.address, prefix.length);
    disjoint(report, &customers, claims.prefixes, show);
    disjoint(report, &customers, claims.asns, |asn| format!("AS {}", asn.0));
    customers
}

/// What all customers claim, to be compared.
#[derive(Default)]
struct AllClaims {
    prefixes: Claims<crate::classify::rules::Prefix>,
    asns: Claims<Asn>,
}

fn header_columns(report: &Report, file: usize, header: &[Field]) -> Vec<Option<&'static str>> {
    let mut found: Vec<Option<&'static str>> = Vec::new();
    for field in header {
        let place = Place::new(file, field.span.clone());
        let name = field.text.trim();
        let column = COLUMNS.into_iter().find(|column| *column == name);
        if column.is_none() {
            let label = nearest(name, &COLUMNS).map(|near| format!("did you mean `{near}`?"));
            let message = format!("unknown column `{name}`; known are {}", COLUMNS.join(", "));
            report.problem(&place, message, label.unwrap_or_default());
        } else if found.contains(&column) {
            report.problem(&place, format!("column `{name}` is there twice"), "");
        }
        found.push(column);
    }
    found
}

fn row(
    report: &Report,
    file: usize,
    columns: &[Option<&'static str>],
    record: &[Field],
) -> Option<(String, Row)> {
    let cell = |column: &'static str| -> Option<(&str, Place)> {
        let at = columns.iter().position(|&found| found == Some(column))?;
        let text = record[at].text.trim();
        (!text.is_empty()).then(|| (text, Place::new(file, record[at].span.clone())))
    };
    fn check<T>(
        report: &Report,
        cell: Option<(&str, Place)>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<(T, Place)> {
        let (text, place) = cell?;
        parse(text).map_err(|message| report.problem(&place, message, "")).ok().map(|found| (found, place))
    }
    let prefix = check(report, cell("prefix"), value::prefix);
    let asn = check(report, cell("asn"), |text| {
        let digits = text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text);
        match digits.parse::<u32>() {
            Ok(n) if n > 0 => Ok(Asn(n)),
            _ => Err(format!("`{text}` is not an AS number; write 64500")),
        }
    });
    let tariff = check(report, cell("tariff"), |text| value::check_name(text).map(|()| text.to_owned()));
    let from: Option<(UnixMillis, Place)> = check(report, cell("valid_from"), value::instant);
    let to = check(report, cell("valid_to"), value::instant);
    if let (Some((from, _)), Some((to, place))) = (&from, &to)
        && to <= from
    {
        report.problem(
            place,
            "`valid_to` is the first instant after the customer's; it must be after `valid_from`",
            "",
        );
    }
    let Some(name) = cell("name") else {
        report.problem(&Place::new(file, record[0].span.clone()), "a row without a name", "");
        return None;
    };
    let (name, _) = check(report, Some(name), |text| {
        value::check_name(text)?;
        check_customer_name(text)?;
        Ok(text.to_owned())
    })?;
    let validity = Validity { from: from.map(|(from, _)| from), to: to.map(|(to, _)| to) };
    let prefix =
        prefix.map(|(prefix, place)| (CustomerPrefix { prefix, validity: Validity::default() }, place));
    Some((name, Row { prefix, asn, tariff, validity }))
}

/// One customer from its rows.
fn customer(
    report: &Report,
    name: String,
    index: usize,
    rows: Vec<Row>,
    claims: &mut AllClaims,
) -> CustomerRule {
    let shared =
        rows.first().map(|row| row.validity).filter(|first| rows.iter().all(|row| row.validity == *first));
    let mut rule = CustomerRule {
        name,
        prefixes: Vec::new(),
        asns: Vec::new(),
        interfaces: Vec::new(),
        validity: shared.unwrap_or_default(),
        tariff: None,
        address: Vec::new(),
    };
    for row in rows {
        if let Some((mut prefix, place)) = row.prefix {
            if shared.is_none() {
                prefix.validity = row.validity;
            }
            claims.prefixes.push(prefix.prefix, index, row.validity, place);
            rule.prefixes.push(prefix);
        }
        if let Some((asn, place)) = row.asn {
            if shared.is_none() && row.validity != Validity::default() {
                report.problem(
                    &place,
                    format!(
                        "an AS number has no dates of its own; give all rows of `{}` the same dates",
                        rule.name
                    ),
                    "",
                );
            }
            if !rule.asns.contains(&asn) {
                claims.asns.push(asn, index, row.validity, place);
                rule.asns.push(asn);
            }
        }
        if let Some((tariff, place)) = row.tariff {
            if let Some(other) = rule.tariff.as_ref().filter(|other| **other != tariff) {
                let message =
                    format!("`{}` has the tariff `{other}` in an earlier row; a customer has one", rule.name);
                report.problem(&place, message, "");
            }
            rule.tariff = Some(tariff);
        }
    }
    rule
}

/// Splits CSV into records of fields. Empty lines are skipped; a byte order mark is, too.
fn records(report: &Report, file: usize, text: &str) -> Vec<Vec<Field>> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    while at < text.len() {
        let (field, next) = field(report, file, text, at);
        record.push(field);
        at = next;
        let rest = &text[at..];
        if rest.starts_with(',') {
            at += 1;
            if at == text.len() {
                record.push(Field { text: String::new(), span: at..at });
            } else {
                continue;
            }
        } else if rest.starts_with("\r\n") {
            at += 2;
        } else if !rest.is_empty() {
            at += 1;
        }
        let blank = record.len() == 1 && record[0].text.trim().is_empty();
        if blank {
            record.clear();
        } else {
            records.push(core::mem::take(&mut record));
        }
    }
    records
}

/// The field at `at`, and where it ends: at a comma, a line break, or the end.
fn field(report: &Report, file: usize, text: &str, at: usize) -> (Field, usize) {
    let ends = [',', '\n', '\r'];
    let plain_end = |from: usize| text[from..].find(ends).map_or(text.len(), |end| from + end);
    if !text[at..].starts_with('"') {
        let end = plain_end(at);
        return (Field { text: text[at..end].to_owned(), span: at..end }, end);
    }
    let mut found = String::new();
    let mut from = at + 1;
    loop {
        let Some(quote) = text[from..].find('"').map(|quote| from + quote) else {
            report.problem(&Place::new(file, at..at + 1), "this quote is never closed", "");
            return (Field { text: found, span: at..text.len() }, text.len());
        };
        found.push_str(&text[from..quote]);
        if text[quote + 1..].starts_with('"') {
            found.push('"');
            from = quote + 2;
            continue;
        }
        let end = plain_end(quote + 1);
        if !text[quote + 1..end].trim().is_empty() {
            let place = Place::new(file, quote + 1..end);
            report.problem(&place, "text after the closing quote; double a quote inside quotes", "");
        }
        return (Field { text: found, span: at..end }, end);
    }
}

fn to_toml(customers: &[CustomerRule]) -> String {
    let mut out = String::new();
    for customer in customers {
        if !out.is_empty() {
            out.push('\n');
        }
        // Writing to a string does not fail.
        let _ = write_customer(&mut out, customer);
    }
    out
}

fn write_customer(out: &mut String, customer: &CustomerRule) -> core::fmt::Result {
    writeln!(out, "[[customer]]\nname = {}", quoted(&customer.name))?;
    if !customer.prefixes.is_empty() {
        writeln!(out, "prefixes = [")?;
        for CustomerPrefix { prefix, validity } in &customer.prefixes {
            let prefix = format!("\"{}/{}\"", prefix.address, prefix.length);
            if *validity == Validity::default() {
                writeln!(out, "    {prefix},")?;
                continue;
            }
            write!(out, "    {{ prefix = {prefix}")?;
            for (key, instant) in dates(*validity) {
                write!(out, ", {key} = {instant}")?;
            }
            writeln!(out, " }},")?;
        }
        writeln!(out, "]")?;
    }
    if !customer.asns.is_empty() {
        let asns: Vec<String> = customer.asns.iter().map(|asn| asn.0.to_string()).collect();
        writeln!(out, "asns = [{}]", asns.join(", "))?;
    }
    if let Some(tariff) = &customer.tariff {
        writeln!(out, "tariff = {}", quoted(tariff))?;
    }
    for (key, instant) in dates(customer.validity) {
        writeln!(out, "{key} = {instant}")?;
    }
    Ok(())
}

fn dates(validity: Validity) -> impl Iterator<Item = (&'static str, String)> {
    [("valid_from", validity.from), ("valid_to", validity.to)]
        .into_iter()
        .filter_map(|(key, instant)| instant.map(|instant| (key, value::show_instant(instant))))
}

/// A TOML basic string. Names hold no control characters (checked), so two escapes are enough.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
