//! `invoice explain NUMBER LINE`: what a line is made of, from the amount down to the buckets of usage.
//!
//! Everything comes from what the ledger keeps: the document, the text of the tariff version that it names by its hash, the
//! configuration versions that say of what kind a link was, and the usage rows.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use super::output::{self, Cell, Format};
use super::{Cli, Failure, billing_ledger, tariff};
use crate::daemon;
use crate::flow::Direction;
use crate::ids::{ClassId, LinkId};
use crate::invoice::collect::Names;
use crate::invoice::issue::Adjustment;
use crate::invoice::kinds::LinkKinds;
use crate::invoice::{Invoice, Line};
use crate::ledger::Ledger;
use crate::ledger::records::{StoredInvoice, TariffVersion, UsageFilter};
use crate::money::{Exact, parse_decimal};
use crate::period::rfc3339;
use crate::rate::tariff::Tariff;
use crate::rate::usage::GroupKey;
use crate::units::UnixMillis;
use crate::usage::{BUCKET_SECONDS, BucketStart, Scaled, UsageRow};

/// Columns of the usage behind a line.
const COLUMNS: [&str; 8] =
    ["bucket", "link", "direction", "class", "exporter", "raw_octets", "rate", "octets"];

/// What of usage a charge is about.
struct Scope {
    /// Tariff classes; empty: all.
    classes: Vec<String>,
    /// `in`, `out`, or another word for both.
    direction: String,
    /// The band; empty: all.
    band: String,
}

/// Explains a line.
///
/// # Errors
/// When there is no such invoice or line, or what it was made from is no longer there.
pub(super) fn run(
    number: &str,
    line: usize,
    format: Format,
    cli: &Cli,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (config, mut ledger) = (cli.config()?, cli.ledger()?);
    let (stored, invoice) = billing_ledger::invoice_show(&mut ledger, number).map_err(Failure::Failed)?;
    let Some(shown) = line.checked_sub(1).and_then(|at| invoice.lines.get(at)) else {
        return Err(Failure::said(format!("{number} has lines 1 to {}", invoice.lines.len())));
    };
    let adjustment = invoice.issuance.adjustments.iter().find(|adjustment| adjustment.line == line);
    let of = adjustment.map_or(&invoice.tariff, |adjustment| &adjustment.tariff);
    let version = ledger
        .tariff_versions(Some(&of.id))?
        .into_iter()
        .find(|version| version.version == of.version && version.sha256 == of.sha256)
        .ok_or_else(|| {
            Failure::said(format!("version {} of tariff `{}` is not kept as it was", of.version, of.id))
        })?;
    let clause = clause(&version.toml, &shown.charge);
    let now = UnixMillis(daemon::now_ms());
    let kinds = billing_ledger::link_kinds(&mut ledger, &config.network, now).map_err(Failure::Failed)?;
    let rows = match scope(&stored, line, &clause) {
        Some(scope) => usage(&mut ledger, &invoice, adjustment, &version, &kinds, &scope)?,
        None => Vec::new(),
    };
    match format {
        Format::Csv => Ok(output::rows(out, format, &COLUMNS, &rows)?),
        Format::Json => {
            let mut usage = Vec::new();
            output::rows(&mut usage, format, &COLUMNS, &rows)?;
            let usage: Value = serde_json::from_slice(&usage)?;
            let explained = json!({
                "number": number, "line": line, "charge": shown.charge, "description": shown.description,
                "quantity": shown.quantity, "unit": shown.unit, "price": shown.price,
                "amount": shown.amount.to_string(), "arithmetic": arithmetic(shown),
                "tariff": { "id": of.id, "version": of.version, "sha256": of.sha256, "clause": clause },
                "period": adjustment.map_or(invoice.period, |adjustment| adjustment.period).to_string(),
                "usage_root": adjustment.map_or(&invoice.usage_root, |adjustment| &adjustment.usage_root),
                "usage": usage,
            });
            Ok(writeln!(out, "{explained:#}")?)
        }
        Format::Table => {
            writeln!(out, "{number}, line {line}: {}", shown.description)?;
            writeln!(out, "{}", arithmetic(shown))?;
            if let Some(adjustment) = adjustment {
                writeln!(out, "late usage of {}, charged as what it adds to that period", adjustment.period)?;
            }
            writeln!(out, "\ntariff {} version {} ({})\n{clause}", of.id, of.version, of.sha256)?;
            if rows.is_empty() {
                return Ok(writeln!(out, "no usage is behind this line")?);
            }
            output::rows(out, format, &COLUMNS, &rows)?;
            let total: i128 = rows.iter().map(|row| if let Cell::Integer(n) = row[7] { n } else { 0 }).sum();
            Ok(writeln!(out, "{} octets in {} rows", output::grouped(total), rows.len())?)
        }
    }
}

/// Quantity times price, exactly and rounded.
fn arithmetic(line: &Line) -> String {
    let exact = parse_decimal(line.quantity.trim_start_matches('-'))
        .zip(parse_decimal(line.price.trim_start_matches('-')))
        .map(|(quantity, price)| Exact::from(quantity).times(&Exact::from(price)).to_decimal_string(12));
    let product = exact.map_or_else(String::new, |exact| format!("{exact}, "));
    format!(
        "{} {} x {} = {product}rounded {} {}",
        line.quantity,
        line.unit,
        line.price,
        line.amount,
        line.amount.currency()
    )
}

/// The clause of a charge in a tariff file: its lines, from the heading to the next one. Empty for a line that is of no
/// clause, such as the minimum.
fn clause(toml: &str, charge: &str) -> String {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    for line in toml.lines() {
        let is_heading = line.starts_with('[');
        if is_heading || blocks.is_empty() {
            blocks.push(Vec::new());
        }
        blocks.last_mut().expect("pushed above").push(line);
    }
    let is_it = |block: &&Vec<&str>| {
        let names = |line: &&str| {
            let id = line.split_once('=').filter(|(key, _)| key.trim() == "id").map(|(_, value)| value);
            id.is_some_and(|value| value.split('"').nth(1) == Some(charge))
        };
        !block[0].starts_with("[tariff]") && block.iter().any(names)
    };
    blocks.iter().find(is_it).map_or_else(String::new, |block| format!("{}\n", block.join("\n").trim_end()))
}

/// What usage the line is about: as the document says, else as the clause says. `None` for charges that are about none.
fn scope(stored: &StoredInvoice, line: usize, clause: &str) -> Option<Scope> {
    let words = |value: Option<&Value>| -> Option<Vec<String>> {
        Some(value?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    };
    let document: Value = serde_json::from_str(&stored.document).ok()?;
    let detail = &document["lines"][line - 1]["detail"];
    if let (Some(classes), Some(direction)) = (words(detail.get("classes")), detail["direction"].as_str()) {
        let band = detail["band"].as_str().unwrap_or_default().to_owned();
        return Some(Scope { classes, direction: direction.to_owned(), band });
    }
    let table: toml::Table = clause.parse().ok()?;
    let charge = table.get("charge")?.as_array()?.first()?.clone();
    let text = |key: &str| charge.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    if !matches!(text("kind").as_deref(), Some("volume" | "percentile")) {
        return None;
    }
    let classes = charge
        .get("class")
        .and_then(toml::Value::as_array)
        .map(|classes| classes.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect());
    let direction = text("direction").unwrap_or_default();
    Some(Scope { classes: classes.unwrap_or_default(), direction, band: String::new() })
}

/// The usage that the line is about, a row for each bucket, link, direction, class, exporter and rate.
fn usage(
    ledger: &mut Ledger,
    invoice: &Invoice,
    adjustment: Option<&Adjustment>,
    version: &TariffVersion,
    kinds: &LinkKinds,
    scope: &Scope,
) -> Result<Vec<Vec<Cell>>, Failure> {
    let tariffs = tariff::understand(core::slice::from_ref(version))?;
    let Some(tariff) = tariffs.first() else { return Ok(Vec::new()) };
    let names = billing_ledger::names(ledger)?;
    let Some(customer) = names.customer(&invoice.customer.name) else { return Ok(Vec::new()) };
    let (from, to) = invoice.span.buckets();
    let mut sums: BTreeMap<[String; 6], (i128, Scaled)> = BTreeMap::new();
    let mut add = |row: UsageRow| {
        let start = row.key.bucket;
        let band = tariff.bands.of_buckets(&tariff.zone, start, BucketStart(start.0 + BUCKET_SECONDS));
        let band = usize::from(band.first().copied().unwrap_or(0));
        if !scope.band.is_empty() && tariff.bands.name(band) != scope.band {
            return;
        }
        let key = GroupKey { band, ..key(&row, &names, kinds, invoice.span.to) };
        let class = tariff.classes.get(tariff.class_of(&key)).map_or("", |class| class.name.as_str());
        let is_direction = match scope.direction.as_str() {
            "in" => key.direction == Direction::In,
            "out" => key.direction == Direction::Out,
            _ => key.direction != Direction::None,
        };
        if !is_direction || !(scope.classes.is_empty() || scope.classes.iter().any(|known| known == class)) {
            return;
        }
        let rate = format!("{} ({})", row.key.rate, row.key.rate.source().as_str());
        let direction = key.direction.as_str().to_owned();
        let bucket = rfc3339(row.key.bucket.start());
        let sum =
            sums.entry([bucket, key.link, direction, class.to_owned(), key.exporter, rate]).or_default();
        sum.0 += i128::from(row.sums.octets);
        sum.1.add(row.sums.octets, row.key.rate);
    };
    match adjustment {
        None => {
            let filter = UsageFilter { from: Some(from), to: Some(to), customer: Some(customer) };
            ledger.for_each_usage(&filter, &mut add)?;
        }
        Some(adjustment) => {
            let of: (BucketStart, BucketStart) = span_of(tariff, adjustment).buckets();
            ledger.for_each_late_usage(from, to, &mut |_, row| {
                if row.key.customer == customer && (of.0..of.1).contains(&row.key.bucket) {
                    add(row);
                }
            })?;
        }
    }
    let cells =
        |([bucket, link, direction, class, exporter, rate], (raw, scaled)): ([String; 6], (i128, Scaled))| {
            vec![
                Cell::Text(bucket),
                Cell::Text(link),
                Cell::Text(direction),
                Cell::Text(class),
                Cell::Text(exporter),
                Cell::Integer(raw),
                Cell::Text(rate),
                Cell::Integer(scaled.rounded()),
            ]
        };
    Ok(sums.into_iter().map(cells).collect())
}

fn span_of(tariff: &Tariff, adjustment: &Adjustment) -> crate::period::Span {
    adjustment.period.span(&tariff.zone, tariff.anchor)
}

/// The row's key by names, as tariffs see it.
fn key(row: &UsageRow, names: &Names, kinds: &LinkKinds, end: UnixMillis) -> GroupKey {
    let key = &row.key;
    let name =
        |of: &std::collections::HashMap<u32, String>, id: u32| of.get(&id).cloned().unwrap_or_default();
    let link = if key.link == LinkId::NONE { String::new() } else { name(&names.links, key.link.0.into()) };
    let traffic_class = if key.class == ClassId::DEFAULT {
        "default".to_owned()
    } else {
        name(&names.classes, key.class.0.into())
    };
    GroupKey {
        band: 0,
        link_kind: kinds.kind(&link, end).unwrap_or_default().to_owned(),
        link,
        direction: key.direction,
        traffic_class,
        family: key.family,
        exporter: name(&names.exporters, key.exporter.0.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_is_from_its_heading_to_the_next() {
        let toml = include_str!("../../tariffs/regional-isp.toml");
        assert!(clause(toml, "port").starts_with("[[charge]]\nid = \"port\"\nkind = \"recurring\"\n"));
        assert!(clause(toml, "port").ends_with("amount = \"150.00\"\n"));
        assert!(clause(toml, "transit").contains("up_to = \"50000\""));
        assert_eq!(clause(toml, "minimum"), "");
        assert_eq!(clause(toml, "regional-isp"), "", "the tariff itself is no clause");
    }
}
