//! `contention`: flow tables of routers that had no room, and what a router printed about them.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::output::{self, Cell, Format};
use super::{Cli, Failure, parse_instant};
use crate::ledger::records::NameKind;
use crate::ledger::records::interfaces::{Card, CardFailures};
use crate::period::rfc3339;
use crate::poll::cards::{Contention, read_text};
use crate::units::UnixMillis;

/// The longest text that is read.
const TEXT_OCTETS_MAX: u64 = 1 << 20;

/// Verbs about routers' flow tables.
#[derive(Debug, Subcommand)]
pub enum ContentionVerb {
    /// Read from standard input what `show mls netflow table-contention detailed` printed on an exporter
    Import(ImportArgs),
    /// When a router's flow table had no room, and for how many flows
    List(ListArgs),
}

/// Which router printed it.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The exporter
    exporter: String,
    /// When it was printed: RFC 3339 [default: now]
    #[arg(long, value_parser = parse_instant)]
    at: Option<Timestamp>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Which readings to list.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// First instant: RFC 3339, or a date (UTC). All time if left out
    #[arg(long, value_parser = parse_instant)]
    from: Option<Timestamp>,
    /// First instant after it
    #[arg(long, value_parser = parse_instant)]
    to: Option<Timestamp>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Does what the verb says.
///
/// # Errors
/// When the ledger cannot be used, or the text is about no flow table.
pub(super) fn run(verb: &ContentionVerb, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        ContentionVerb::Import(args) => {
            let mut text = String::new();
            std::io::stdin().take(TEXT_OCTETS_MAX).read_to_string(&mut text)?;
            import(args, &text, cli, out)
        }
        ContentionVerb::List(args) => list(args, cli, out),
    }
}

fn import(args: &ImportArgs, text: &str, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let config = cli.config()?;
    if !config.exporters.iter().any(|exporter| exporter.name == args.exporter) {
        return Err(Failure::Usage(format!("error: there is no exporter `{}`", args.exporter)));
    }
    let found = read_text(text).map_err(|unreadable| Failure::said(unreadable.to_string()))?;
    if found.is_empty() {
        return Err(Failure::said(
            "no `Earl in Module N` in it: `show mls netflow table-contention detailed` prints one",
        ));
    }
    if found.iter().any(|card| card.is_aggregate) {
        return Err(Failure::said(
            "`aggregate` counts since the router started, which cannot be added up; feed what `detailed` prints",
        ));
    }
    #[expect(clippy::disallowed_methods, reason = "the command line reads the clock")]
    let at = args.at.unwrap_or_else(Timestamp::now);
    let (_, mut ledger) = cli.ledger_created()?;
    let exporter = ledger.intern(NameKind::Exporter, &[&args.exporter])?.first().copied().unwrap_or(0);
    let at = UnixMillis(at.as_millisecond());
    let kept: Vec<CardFailures> = ledger.card_failures(at, at.plus(1))?;
    let kept: Vec<&CardFailures> = kept.iter().filter(|row| row.exporter == exporter).collect();
    let Additions { new, repeated } = additions(exporter, at, &found, &kept).map_err(|module| {
        Failure::said(format!(
            "module {module} of `{}` is known otherwise at {}, which is never changed; nothing was entered",
            args.exporter,
            rfc3339(at)
        ))
    })?;
    ledger.put_card_failures(&new)?;
    if repeated > 0 {
        eprintln!("note: what is told of {repeated} {} is known already", modules(repeated));
    }
    let columns = [
        "exporter",
        "module",
        "tcam_percent",
        "icam_percent",
        "tcam_flows",
        "icam_flows",
        "creation_failures",
        "aliases",
    ];
    let rows: Vec<Vec<Cell>> = found.iter().map(|card| cells(&args.exporter, card)).collect();
    output::rows(out, args.format, &columns, &rows)?;
    Ok(())
}

fn modules(n: usize) -> &'static str {
    if n == 1 { "module" } else { "modules" }
}

/// What a text adds to what the ledger has of its moment.
#[derive(Debug, Eq, PartialEq)]
struct Additions {
    new: Vec<CardFailures>,
    /// Modules of which it tells what is there already.
    repeated: usize,
}

/// Modules that had no room for something and are not in `kept`, which is what the ledger has of the exporter and the instant.
///
/// # Errors
/// The first module of which the ledger, or the text itself, says something else.
fn additions(
    exporter: u32,
    at: UnixMillis,
    found: &[Contention],
    kept: &[&CardFailures],
) -> Result<Additions, u32> {
    let mut told: BTreeMap<u32, CardFailures> = BTreeMap::new();
    for card in found {
        let state = Card {
            name: format!("module {}", card.module),
            utilisation: card.tcam,
            active: card.tcam_count,
            ..Card::default()
        };
        let failures = card.failures.unwrap_or(0);
        let row = CardFailures { exporter, card: card.module, at, state, failures };
        let first = told.entry(card.module).or_insert_with(|| row.clone());
        if *first != row {
            return Err(card.module);
        }
    }
    let mut additions = Additions { new: Vec::new(), repeated: 0 };
    for (module, row) in told {
        match kept.iter().find(|kept| kept.card == module) {
            Some(kept) if **kept != row => return Err(module),
            Some(_) => additions.repeated += 1,
            // One that had room for everything is not kept.
            None if row.failures == 0 => {}
            None => additions.new.push(row),
        }
    }
    Ok(additions)
}

fn cells(exporter: &str, card: &Contention) -> Vec<Cell> {
    let small = |n: Option<u32>| n.map_or(Cell::Missing, Cell::from);
    let large = |n: Option<u64>| n.map_or(Cell::Missing, Cell::from);
    vec![
        exporter.into(),
        card.module.into(),
        small(card.tcam),
        small(card.icam),
        large(card.tcam_count),
        large(card.icam_count),
        large(card.failures),
        large(card.aliases),
    ]
}

fn list(args: &ListArgs, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let mut ledger = cli.ledger()?;
    let at = |instant: Option<Timestamp>, otherwise| {
        instant.map_or(otherwise, |at| UnixMillis(at.as_millisecond()))
    };
    let (from, to) = (at(args.from, UnixMillis(i64::MIN + 1)), at(args.to, UnixMillis(i64::MAX)));
    let names: std::collections::HashMap<u32, String> =
        ledger.names(NameKind::Exporter)?.into_iter().collect();
    let row = |row: &CardFailures| {
        vec![
            Cell::Text(rfc3339(row.at)),
            names.get(&row.exporter).cloned().unwrap_or_default().into(),
            row.card.into(),
            row.state.name.clone().into(),
            row.state.utilisation.map_or(Cell::Missing, Cell::from),
            row.state.active.map_or(Cell::Missing, Cell::from),
            row.failures.into(),
        ]
    };
    let rows: Vec<Vec<Cell>> = ledger.card_failures(from, to)?.iter().map(row).collect();
    let columns = ["at", "exporter", "card", "name", "utilisation", "active_flows", "failures"];
    output::rows(out, args.format, &columns, &rows)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(module: u32, failures: u64) -> Contention {
        Contention {
            module,
            tcam: Some(30),
            tcam_count: Some(80_763),
            failures: Some(failures),
            ..Contention::default()
        }
    }

    fn row(module: u32, failures: u64) -> CardFailures {
        let state = Card {
            name: format!("module {module}"),
            utilisation: Some(30),
            active: Some(80_763),
            ..Card::default()
        };
        CardFailures { exporter: 3, card: module, at: UnixMillis(1000), state, failures }
    }

    #[test]
    fn the_same_again_adds_nothing_and_other_values_name_the_module() {
        let of = |found: &[Contention], kept: &[&CardFailures]| additions(3, UnixMillis(1000), found, kept);
        let adds = |new: &[CardFailures], repeated| Ok(Additions { new: new.to_vec(), repeated });
        let (five, six) = (row(5, 19), row(6, 23));
        assert_eq!(of(&[told(5, 19)], &[]), adds(std::slice::from_ref(&five), 0));
        assert_eq!(of(&[told(5, 19)], &[&five]), adds(&[], 1));
        assert_eq!(of(&[told(6, 23), told(5, 19)], &[&five]), adds(std::slice::from_ref(&six), 1));
        assert_eq!(of(&[told(6, 23), told(5, 20)], &[&five, &six]), Err(5));
        assert_eq!(of(&[told(5, 0)], &[&five]), Err(5), "no failures are other failures");
        assert_eq!(of(&[told(5, 0)], &[]), adds(&[], 0));
        // Two texts in one.
        assert_eq!(of(&[told(5, 19), told(5, 19)], &[]), adds(&[five], 0));
        assert_eq!(of(&[told(5, 19), told(5, 23)], &[]), Err(5));
    }
}
