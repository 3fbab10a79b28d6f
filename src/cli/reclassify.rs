//! `rerate --reclassify`: who had which usage by the configuration of now, from the journal. With `--dry-run` it says so
//! (`compare`); without, usage is corrected (`apply`), and invoices follow by the ordinary way of a re-rating.

mod apply;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

pub(super) use apply::{Concerned, apply};

use super::output::{self, Cell, Format};
use super::period::{self, Spans};
use super::{Cli, Failure};
use crate::config::Config;
use crate::daemon;
use crate::ids::CustomerId;
use crate::invoice::State;
use crate::ledger::Ledger;
use crate::ledger::records::{NameKind, UsageFilter};
use crate::period::{Period, rfc3339};
use crate::reclassify::{self, Sums};
use crate::units::{SamplingRate, UnixMillis};
use crate::usage::{BucketStart, Scaled, UsageRow};

/// Prints a row for each name whose usage would be another: octets before and after.
///
/// # Errors
/// When the journal does not have all that the ledger has of that time, so that nothing can be said.
pub(super) fn compare(
    customer: &str,
    (first, last): (Period, Period),
    config: &Config,
    cli: &Cli,
    ledger: &mut Ledger,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let spans = Spans::load(ledger, config, UnixMillis(daemon::now_ms()))?;
    let (from, to) = (spans.of(customer, first).0.buckets().0, spans.of(customer, last).0.buckets().1);
    let bar = period::progress_bar(to.0.abs_diff(from.0), "seconds of the journal");
    let journal = cli.state_dir.join("journal");
    let read = reclassify::usage(config, &journal, (from, to), &mut |received| {
        bar.set_position(received.seconds().saturating_sub(from.0).max(0).unsigned_abs());
    });
    // Names get their meaning with a version of the ledger, and this configuration may be none yet.
    let after = read.map_err(|error| match error.link_by_name() {
        Some(link) => Failure::said(format!(
            "link `{link}` has interfaces by name, and what names mean is known of a configuration in force alone: give \
             `ifindex` to look at it beforehand, or put it in force and leave --dry-run out"
        )),
        None => Failure::from(error),
    })?;
    bar.finish_and_clear();
    let before = in_ledger(ledger, from, to)?;
    let places: BTreeSet<_> = before.reported.keys().chain(after.reported.keys()).collect();
    for place in places {
        let (kept, read) = (before.reported.get(place), after.reported.get(place));
        if kept != read {
            return Err(Failure::said(unlike(place, kept, read)));
        }
    }
    let names: BTreeSet<&String> = before.customers.keys().chain(after.customers.keys()).collect();
    let octets = |sums: &Sums, name: &String| {
        let mut all = Scaled::default();
        sums.customers.get(name).into_iter().flatten().for_each(|sum| all.merge(sum));
        all.rounded()
    };
    let mut rows = Vec::new();
    for name in names {
        if before.customers.get(name) == after.customers.get(name) {
            continue;
        }
        let (kept, read) = (octets(&before, name), octets(&after, name));
        rows.push(vec![
            Cell::Text(name.clone()),
            Cell::Integer(kept),
            Cell::Integer(read),
            Cell::Integer(read - kept),
        ]);
    }
    let columns = ["customer", "octets_before", "octets_after", "difference"];
    Ok(output::rows(out, format, &columns, &rows)?)
}

/// Why nothing can be said by the journal, where an exporter reported something else in a bucket than the ledger has.
fn unlike(
    (bucket, exporter): &(BucketStart, String),
    kept: Option<&BTreeMap<SamplingRate, u128>>,
    read: Option<&BTreeMap<SamplingRate, u128>>,
) -> String {
    let octets =
        |rates: Option<&BTreeMap<SamplingRate, u128>>| rates.into_iter().flatten().map(|(_, n)| n).sum();
    let (kept, read): (u128, u128) = (octets(kept), octets(read));
    let at = rfc3339(bucket.start());
    if kept == read {
        return format!(
            "by this configuration, what `{exporter}` reported at {at} has other sampling rates than the ledger has; \
             nothing is corrected by rates that are not those of then"
        );
    }
    format!(
        "the journal does not have what the ledger has: of `{exporter}` at {at}, {read} octets and {kept}; \
         a part of it is gone or not committed yet, or something was replayed from captures"
    )
}

/// Says, after the invoices of a customer were rated again (with or without a change), that it was concerned where another was
/// asked for, and of which periods it has usage and no invoice that stands. Where nothing was to be done, nothing is said.
///
/// # Errors
/// What the ledger says.
pub(super) fn tell(
    concerned: &Concerned,
    has_changed: bool,
    spans: &Spans,
    ledger: &mut Ledger,
) -> Result<(), Failure> {
    let name = &concerned.customer;
    if concerned.is_beside {
        if has_changed {
            eprintln!("note: shares of `{name}` moved with usage of others");
        }
        return Ok(());
    }
    let unbilled = unbilled(concerned, spans, ledger)?;
    // Prices that stay are those of customers beside the one that was asked for.
    if concerned.keeps_price && (concerned.is_corrected || has_changed || !unbilled.is_empty()) {
        eprintln!("note: usage of `{name}` was corrected, too");
    }
    for period in unbilled {
        eprintln!(
            "note: `{name}` has no final invoice of {period}; \
             `fluxoscope invoice run --period {period} --customer '{name}'` makes a draft"
        );
    }
    Ok(())
}

/// The periods concerned of which a customer has usage, corrected as it is, and no invoice stands.
fn unbilled(concerned: &Concerned, spans: &Spans, ledger: &mut Ledger) -> Result<Vec<Period>, Failure> {
    let Concerned { customer, first, last, .. } = concerned;
    let numbers = ledger.names(NameKind::Customer)?;
    let Some((number, _)) = numbers.into_iter().find(|(_, name)| name == customer) else {
        return Ok(Vec::new());
    };
    let credits: BTreeSet<String> =
        ledger.issues()?.into_iter().filter(|issue| issue.is_credit).map(|issue| issue.number).collect();
    let standing: BTreeSet<String> = ledger
        .invoices(None, Some(customer.as_str()))?
        .into_iter()
        .filter(|stored| stored.state == State::Final.as_str() && !credits.contains(&stored.number))
        .map(|stored| stored.period)
        .collect();
    let mut found = Vec::new();
    let periods = core::iter::successors(Some(*first), |period| Some(period.following()));
    for period in periods.take_while(|period| period <= last) {
        if standing.contains(&period.to_string()) {
            continue;
        }
        let (from, to) = spans.of(customer, period).0.buckets();
        let filter = UsageFilter { from: Some(from), to: Some(to), customer: Some(CustomerId(number)) };
        let mut has_used = false;
        ledger.for_each_usage(&filter, &mut |row| has_used |= row.sums.octets > 0)?;
        if has_used {
            found.push(period);
        }
    }
    Ok(found)
}

/// What the ledger has, in time and late.
fn in_ledger(ledger: &mut Ledger, from: BucketStart, to: BucketStart) -> Result<Sums, Failure> {
    let customers: std::collections::HashMap<u32, String> =
        ledger.names(NameKind::Customer)?.into_iter().collect();
    let exporters: std::collections::HashMap<u32, String> =
        ledger.names(NameKind::Exporter)?.into_iter().collect();
    let mut sums = Sums::default();
    let mut add = |row: UsageRow| {
        let customer = customers.get(&row.key.customer.0).map_or("?", String::as_str);
        let exporter = exporters.get(&u32::from(row.key.exporter.0)).map_or("?", String::as_str);
        sums.add(&row, customer, exporter);
    };
    let filter = UsageFilter { from: Some(from), to: Some(to), customer: None };
    ledger.for_each_usage(&filter, &mut add)?;
    ledger.for_each_late_usage(BucketStart(i64::MIN), BucketStart(i64::MAX), &mut |_, row| {
        if from <= row.key.bucket && row.key.bucket < to {
            add(row);
        }
    })?;
    Ok(sums)
}
