//! `invoice explain NUMBER LINE`: what a line is made of, from the amount down to the buckets of usage.
//!
//! Everything comes from what the ledger keeps: the document, the text of the tariff version that it names by its hash, the
//! configuration versions, and the usage rows. The period is rated once more (`behind`), and the arithmetic is the working
//! of that rating: it ends in the line's amount, or the command says that it does not any more and exits with 3. A document
//! that was made before a correction of its usage may lead elsewhere with nothing wrong: that is said, and is no failure.

mod behind;
mod shared;

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use self::behind::{Behind, Gone, Looking, Scope};
use self::shared::Intervals;
use super::output::{self, Cell, Format};
use super::{Cli, Failure, billing_ledger};
use crate::daemon;
use crate::ids::{ClassId, LinkId};
use crate::invoice::collect::Names;
use crate::invoice::kinds::LinkKinds;
use crate::invoice::{Invoice, TariffRef};
use crate::ledger::Ledger;
use crate::ledger::records::UsageFilter;
use crate::period::rfc3339;
use crate::rate::usage::GroupKey;
use crate::rate::working::Step;
use crate::units::UnixMillis;
use crate::usage::{BUCKET_SECONDS, BucketStart, Scaled, UsageRow};

/// Rows that are printed.
type Rows = Vec<Vec<Cell>>;

/// Columns of the usage behind a line.
const COLUMNS: [&str; 9] =
    ["bucket", "link", "direction", "class", "band", "exporter", "raw_octets", "rate", "octets"];

/// Explains a line.
///
/// # Errors
/// When there is no such invoice or line, or what it was made from is no longer there; when it does not lead to the line's
/// amount any more.
pub(super) fn run(
    number: &str,
    line: usize,
    format: Format,
    cli: &Cli,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (config, mut ledger) = (cli.config()?, cli.ledger()?);
    let (_, invoice) = billing_ledger::invoice_show(&mut ledger, number).map_err(Failure::Failed)?;
    let Some(shown) = line.checked_sub(1).and_then(|at| invoice.lines.get(at)) else {
        return Err(Failure::said(format!("{number} has lines 1 to {}", invoice.lines.len())));
    };
    let now = UnixMillis(daemon::now_ms());
    let mut looking = Looking { ledger: &mut ledger, network: &config.network, now };
    let behind = match looking.behind(&invoice, line) {
        Err(error) if error.is::<Gone>() => {
            return unlike(&mut ledger, &invoice, number, format!("{number}, line {line}: {error}"));
        }
        behind => behind.map_err(Failure::Failed)?,
    };
    let clauses = clauses(&mut ledger, &behind, &shown.charge)?;
    let (rows, intervals) = match &behind.scope {
        Some(scope) => usage(&mut ledger, &invoice, scope)?,
        None => Default::default(),
    };
    let explained = Explained { number, line, invoice: &invoice, behind: &behind, clauses, rows, intervals };
    match format {
        Format::Csv => output::rows(out, format, &COLUMNS, &explained.rows)?,
        Format::Json => writeln!(out, "{:#}", explained.json()?)?,
        Format::Table => explained.print(out)?,
    }
    if behind.amount == shown.amount {
        return Ok(());
    }
    let text = format!(
        "{number}, line {line} is {}, and what there is now comes to {}: usage, counters, tariffs or customers have changed",
        shown.amount, behind.amount
    );
    unlike(&mut ledger, &invoice, number, text)
}

/// A line that leads elsewhere now: as it must, where usage was corrected after the document was made, and else something has
/// been changed. A credit note has the lines of what it takes back, so it is of the usage of then.
fn unlike(ledger: &mut Ledger, invoice: &Invoice, number: &str, mut text: String) -> Result<(), Failure> {
    let of = invoice.issuance.credits.as_deref().unwrap_or(number);
    let issue = ledger.issues()?.into_iter().find(|issue| issue.number == of);
    let mut issued = None;
    if let Some(issue) = issue {
        ledger.for_each_entry(&mut |entry| {
            if entry.seq == issue.entry {
                issued = Some(entry.entry.at);
            }
            Ok(())
        })?;
    }
    let (_, until) = invoice.span.buckets();
    let mut is_older = false;
    // Late usage is of a time before.
    for correction in ledger.corrections()?.0.iter().filter(|correction| correction.from < until) {
        let (seq, at) = (correction.seq, rfc3339(UnixMillis(correction.at)));
        text += &format!("; usage was corrected at {at} (correction {seq}: {})", correction.reason);
        is_older |= issued.is_some_and(|issued| issued < correction.at);
    }
    if !is_older {
        return Err(Failure::Difference(text));
    }
    eprintln!("note: {text}; {of} was issued before, and is of the usage of then");
    Ok(())
}

/// What is printed.
struct Explained<'a> {
    number: &'a str,
    line: usize,
    invoice: &'a Invoice,
    behind: &'a Behind,
    clauses: String,
    rows: Vec<Vec<Cell>>,
    /// How the volume was calibrated.
    intervals: Vec<Vec<Cell>>,
}

impl Explained<'_> {
    fn json(&self) -> Result<Value, Failure> {
        let mut usage = Vec::new();
        output::rows(&mut usage, Format::Json, &COLUMNS, &self.rows)?;
        let usage: Value = serde_json::from_slice(&usage)?;
        let mut intervals = Vec::new();
        output::rows(&mut intervals, Format::Json, &shared::COLUMNS, &self.intervals)?;
        let intervals: Value = serde_json::from_slice(&intervals)?;
        let shown = &self.invoice.lines[self.line - 1];
        let adjustment = self.invoice.issuance.adjustments.iter().find(|one| one.line == self.line);
        let step = |step: &Step| {
            json!({
                "what": step.what, "how": step.how.to_string(), "value": step.shown(), "unit": step.unit,
            })
        };
        let TariffRef { id, version, sha256 } = &self.behind.tariff;
        Ok(json!({
            "number": self.number, "line": self.line, "charge": shown.charge, "description": shown.description,
            "quantity": shown.quantity, "unit": shown.unit, "price": shown.price,
            "amount": shown.amount.to_string(),
            "arithmetic": self.behind.working.steps().iter().map(step).collect::<Vec<_>>(),
            "comes_to": self.behind.amount.to_string(),
            "tariff": { "id": id, "version": version, "sha256": sha256, "clause": self.clauses },
            "period": adjustment.map_or(self.invoice.period, |adjustment| adjustment.period).to_string(),
            "usage_root": adjustment.map_or(&self.invoice.usage_root, |adjustment| &adjustment.usage_root),
            "usage_root_now": self.behind.root,
            "usage": usage,
            "calibration": intervals,
        }))
    }

    fn print(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let (number, line) = (self.number, self.line);
        let shown = &self.invoice.lines[line - 1];
        writeln!(out, "{number}, line {line}: {}", shown.description)?;
        writeln!(out, "{} {}", shown.amount, shown.amount.currency())?;
        if let Some(credited) = &self.invoice.issuance.credits {
            writeln!(out, "takes back line {line} of {credited}")?;
        }
        if let Some(adjustment) = self.invoice.issuance.adjustments.iter().find(|one| one.line == line) {
            writeln!(out, "late usage of {}, charged as what it adds to that period", adjustment.period)?;
        }
        let of = &self.behind.tariff;
        writeln!(out, "\ntariff {} version {} ({})\n{}", of.id, of.version, of.sha256, self.clauses)?;
        for step in self.behind.working.steps() {
            writeln!(out, "{step}")?;
        }
        writeln!(out)?;
        if self.rows.is_empty() {
            return Ok(writeln!(out, "no usage is behind this line")?);
        }
        output::rows(out, Format::Table, &COLUMNS, &self.rows)?;
        let octets = |row: &Vec<Cell>| if let Some(Cell::Integer(n)) = row.last() { *n } else { 0 };
        let total: i128 = self.rows.iter().map(octets).sum();
        writeln!(out, "{} octets in {} rows", output::grouped(total), self.rows.len())?;
        if !self.intervals.is_empty() {
            writeln!(out)?;
            output::rows(out, Format::Table, &shared::COLUMNS, &self.intervals)?;
            writeln!(out, "{}", shared::summary(&self.intervals))?;
        }
        Ok(())
    }
}

/// The text of what the tariff says of a line, from the version that it was rated by.
fn clauses(ledger: &mut Ledger, behind: &Behind, charge: &str) -> Result<String, Failure> {
    let of = &behind.tariff;
    let version = ledger
        .tariff_versions(Some(&of.id))?
        .into_iter()
        .find(|version| version.version == of.version && version.sha256 == of.sha256)
        .ok_or_else(|| {
            Failure::said(format!("version {} of tariff `{}` is not kept as it was", of.version, of.id))
        })?;
    Ok(clause_text(&version.toml, charge, behind.clause))
}

/// The clause of a charge in a tariff file; where an override changes it for the customer (its clause begins on another
/// line), that too. Empty for a line that is of no clause.
fn clause_text(toml: &str, charge: &str, line: usize) -> String {
    let blocks = blocks(toml);
    let is_of = |block: &&Block<'_>| {
        let names = |line: &&str| {
            let id = line.split_once('=').filter(|(key, _)| key.trim() == "id").map(|(_, value)| value);
            id.is_some_and(|value| value.split('"').nth(1) == Some(charge))
        };
        !block.lines[0].starts_with("[tariff]") && block.lines.iter().any(names)
    };
    let holds = |block: &&Block<'_>| (block.first..block.first + block.lines.len()).contains(&line);
    let plain = blocks.iter().find(is_of);
    let own = blocks.iter().find(|block| line > 0 && holds(block));
    let mut text = String::new();
    for block in [plain, own.filter(|own| plain.is_none_or(|plain| plain.first != own.first))] {
        let Some(block) = block else { continue };
        if !text.is_empty() {
            text.push('\n');
        }
        text += block.lines.join("\n").trim_end();
        text.push('\n');
    }
    text
}

/// A table of a tariff file.
struct Block<'a> {
    /// The line of its heading, from 1.
    first: usize,
    /// Its lines.
    lines: Vec<&'a str>,
}

/// The tables of a tariff file, each up to the next one beside it: `[charge.x]` is a part of `[[charge]]`.
fn blocks(toml: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (first, line) in (1..).zip(toml.lines()) {
        let name = line.trim_start_matches('[').split(']').next().unwrap_or_default();
        let is_heading = line.starts_with('[') && !name.contains('.');
        match blocks.last_mut() {
            Some(block) if !is_heading => block.lines.push(line),
            _ => blocks.push(Block { first, lines: vec![line] }),
        }
    }
    // What is written above a heading without a blank line is about what comes.
    for at in 1..blocks.len() {
        while blocks[at - 1].lines.last().is_some_and(|line| line.starts_with('#') || line.trim().is_empty())
        {
            blocks[at - 1].lines.pop();
        }
    }
    blocks.retain(|block| !block.lines.is_empty());
    blocks
}

/// The usage that the line is about, a row for each bucket, link, direction, class, exporter and rate, and how it was
/// calibrated.
fn usage(ledger: &mut Ledger, invoice: &Invoice, scope: &Scope) -> Result<(Rows, Rows), Failure> {
    let tariff = &scope.tariff;
    let names = billing_ledger::names(ledger)?;
    let Some(customer) = names.customer(&invoice.customer.name) else { return Ok(Default::default()) };
    let mut intervals = Intervals::of(scope);
    let mut sums: BTreeMap<[String; 7], (i128, Scaled)> = BTreeMap::new();
    let mut add = |row: UsageRow| {
        let start = row.key.bucket;
        let band = tariff.bands.of_buckets(&tariff.zone, start, BucketStart(start.0 + BUCKET_SECONDS));
        let band = usize::from(band.first().copied().unwrap_or(0));
        let key = GroupKey { band, ..key(&row, &names, &scope.kinds, scope.end) };
        if !scope.takes(&key) {
            return;
        }
        intervals.add(scope, &row, &key.link);
        let class = tariff.classes.get(tariff.class_of(&key)).map_or("", |class| class.name.as_str());
        let rate = format!("{} ({})", row.key.rate, row.key.rate.source().as_str());
        let (direction, band) = (key.direction.as_str().to_owned(), tariff.bands.name(band).to_owned());
        let bucket = rfc3339(row.key.bucket.start());
        let of = [bucket, key.link, direction, class.to_owned(), band, key.exporter, rate];
        let sum = sums.entry(of).or_default();
        sum.0 += i128::from(row.sums.octets);
        sum.1.add(row.sums.octets, row.key.rate);
    };
    match &scope.late {
        None => {
            let (from, to) = scope.span.buckets();
            let filter = UsageFilter { from: Some(from), to: Some(to), customer: Some(customer) };
            ledger.for_each_usage(&filter, &mut add)?;
        }
        Some(rows) => rows.iter().for_each(|row| add(*row)),
    }
    let cells = |([bucket, link, direction, class, band, exporter, rate], (raw, scaled)): (
        [String; 7],
        (i128, Scaled),
    )| {
        vec![
            Cell::Text(bucket),
            Cell::Text(link),
            Cell::Text(direction),
            Cell::Text(class),
            Cell::Text(band),
            Cell::Text(exporter),
            Cell::Integer(raw),
            Cell::Text(rate),
            Cell::Integer(scaled.rounded()),
        ]
    };
    Ok((sums.into_iter().map(cells).collect(), intervals.rows(scope)))
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
        let of = |charge: &str| clause_text(toml, charge, 0);
        assert!(of("port").starts_with("[[charge]]\nid = \"port\"\nkind = \"recurring\"\n"));
        assert!(of("port").ends_with("amount = \"150.00\"\n"));
        assert!(of("transit").contains("up_to = \"50000\""));
        assert_eq!(of("minimum"), "");
        assert_eq!(of("regional-isp"), "", "the tariff itself is no clause");
    }

    #[test]
    fn a_minimum_and_an_override_are_found_by_their_lines() {
        let toml = include_str!("../../tariffs/exchange-peering.toml");
        let line = |text: &str| 1 + toml[..toml.find(text).expect("there")].matches('\n').count();
        let minimum = clause_text(toml, "minimum", line("[minimum]"));
        assert_eq!(minimum, "[minimum]\namount = \"100.00\"\non = [\"transit\"]\n");
        let ports = clause_text(toml, "ports", line("customer = [\"museum\"]"));
        assert!(ports.starts_with("[[charge]]\nid = \"ports\""), "{ports}");
        assert!(ports.ends_with("charge = \"ports\"\namount = \"125.00\"\n"), "{ports}");
        assert_eq!(clause_text(toml, "ports", line("id = \"ports\"")).matches("[[").count(), 1);
    }
}
