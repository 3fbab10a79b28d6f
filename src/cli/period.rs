//! `period close`: from then on the usage of a period does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::output::{self, Cell, Format};
use super::{Cli, Failure, billing, billing_ledger, tariff};
use crate::config::Config;
use crate::daemon;
use crate::ids::CustomerId;
use crate::invoice::kinds::LinkKinds;
use crate::invoice::plan::covered;
use crate::ledger::records::NameKind;
use crate::ledger::records::books::{Actor, Closure, EntryKind};
use crate::ledger::{Ledger, Part};
use crate::period::{AnchorDay, Period, Span, Zone};
use crate::rate::tariff::Tariff;
use crate::units::UnixMillis;
use crate::usage::BucketStart;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// Periods.
#[derive(Debug, Subcommand)]
pub enum PeriodVerb {
    /// Close a period that has ended: its usage does not change any more, and what comes late is carried into the next
    Close(CloseArgs),
    /// Up to when usage is closed, by customer
    List {
        /// How rows are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// `period close`.
#[derive(Args, Debug)]
pub struct CloseArgs {
    /// The month in which the period begins, YYYY-MM
    #[arg(long)]
    period: Period,
    /// Only this customer's
    #[arg(long)]
    customer: Option<String>,
    /// Who does it [default: the user's name]
    #[arg(long)]
    by: Option<String>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Does what the verb says.
///
/// # Errors
/// When the period has not ended, or the ledger cannot be used.
pub(super) fn run(verb: &PeriodVerb, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        PeriodVerb::Close(args) => {
            let (config, mut ledger) = (cli.config()?, cli.ledger()?);
            let by = args.by.clone().unwrap_or_else(billing::user);
            let actor = Actor { by: &by, at: daemon::now_ms() };
            let spans = Spans::load(&mut ledger, &config)?;
            let planned = plan(&mut ledger, &config, &spans, args.period, args.customer.as_deref())?;
            let settled = settled(&mut ledger)?;
            close(&mut ledger, args.period, &planned, args.customer.is_none(), actor)?;
            // Before it is sealed: what is sealed is in the books.
            let entered = enter_octets(&mut ledger, &planned, settled, actor)?;
            let sealed = seal(&mut ledger, args.period, &planned, actor)?;
            let columns = ["period", "customers", "sealed", "octet_entries"];
            let row = [args.period.to_string().into(), count(planned.len()), count(sealed), count(entered)];
            Ok(output::summary(out, args.format, &columns, &row)?)
        }
        PeriodVerb::List { format } => list(&mut cli.ledger()?, *format, out),
    }
}

fn count(n: usize) -> Cell {
    Cell::Integer(i128::try_from(n).unwrap_or(i128::MAX))
}

/// Which instants a period covers for whom.
pub(super) struct Spans {
    tariffs: Vec<Tariff>,
    /// What the configuration versions say, of customers' tariffs too.
    kinds: LinkKinds,
}

impl Spans {
    /// What the configuration and the active tariffs say.
    ///
    /// # Errors
    /// A stored tariff that is not understood, or what the ledger says.
    pub(super) fn load(ledger: &mut Ledger, config: &Config) -> Result<Self, Failure> {
        Self::load_at(ledger, config, UnixMillis(daemon::now_ms())).map_err(Failure::Failed)
    }

    /// The same at an instant of the clock.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(super) fn load_at(ledger: &mut Ledger, config: &Config, now: UnixMillis) -> anyhow::Result<Self> {
        let tariffs = tariff::understand(&ledger.tariff_versions(None)?)?;
        let kinds = billing_ledger::link_kinds(ledger, &config.network, now)?;
        Ok(Self { tariffs, kinds })
    }

    /// The span of a customer's period, and the tariff version that holds at its end: the UTC month where there is none.
    pub(super) fn of(&self, customer: &str, period: Period) -> (Span, Option<&Tariff>) {
        covered(&self.kinds, &self.tariffs, customer, period)
    }
}

/// The calendar month in UTC: the period of all that has no tariff.
fn utc_month(period: Period) -> Span {
    period.span(&Zone::named("UTC").expect("UTC is in every database"), AnchorDay::FIRST)
}

/// A customer's period that is to be closed.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// The customer's number.
    pub(super) customer: u32,
    /// What the period covers.
    pub(super) span: Span,
    /// The tariff version that held.
    pub(super) tariff: Option<(String, i64)>,
}

/// What is to be closed: of everybody that the configuration or the ledger knows, or of one customer.
fn plan(
    ledger: &mut Ledger,
    config: &Config,
    spans: &Spans,
    period: Period,
    only: Option<&str>,
) -> Result<Vec<Planned>, Failure> {
    let names: Vec<&str> = config.network.customers.iter().map(|rule| rule.name.as_str()).collect();
    let known = ledger.names(NameKind::Customer)?;
    if let Some(only) = only
        && !names.contains(&only)
        && !known.iter().any(|(_, name)| name == only)
    {
        return Err(Failure::said(format!("there is no customer `{only}`")));
    }
    // A customer that was never seen has no number yet; what is closed needs one.
    let wanted: Vec<&str> =
        names.iter().copied().filter(|name| only.is_none_or(|only| only == *name)).collect();
    ledger.intern(NameKind::Customer, &wanted)?;
    let mut planned = Vec::new();
    for (customer, name) in ledger.names(NameKind::Customer)? {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let (span, tariff) = if CustomerId(customer) < CustomerId::FIRST {
            (utc_month(period), None)
        } else {
            spans.of(&name, period)
        };
        let tariff = tariff.map(|tariff| (tariff.id.clone(), tariff.version));
        planned.push(Planned { customer, span, tariff });
    }
    Ok(planned)
}

/// Closes periods: their usage does not change any more. Where `everybody` is meant, that of those that nobody knows yet,
/// too.
///
/// # Errors
/// When one has not ended, or the ledger cannot be used.
pub(super) fn close(
    ledger: &mut Ledger,
    period: Period,
    planned: &[Planned],
    everybody: bool,
    actor: Actor<'_>,
) -> Result<(), Failure> {
    let mut bounds: Vec<(Option<u32>, BucketStart)> =
        planned.iter().map(|planned| (Some(planned.customer), planned.span.buckets().1)).collect();
    let mut end = planned.iter().map(|planned| planned.span.to).max();
    if everybody {
        let month = utc_month(period);
        bounds.push((None, month.buckets().1));
        end = end.max(Some(month.to));
    }
    if let Some(end) = end.filter(|end| *end > UnixMillis(actor.at)) {
        let end = crate::period::rfc3339(end);
        return Err(Failure::said(format!("{period} has not ended: it ends at {end}")));
    }
    Ok(ledger.close(&bounds)?)
}

/// Seals periods that are closed; how many were not sealed before.
///
/// # Errors
/// What the ledger says.
pub(super) fn seal(
    ledger: &mut Ledger,
    period: Period,
    planned: &[Planned],
    actor: Actor<'_>,
) -> Result<usize, Failure> {
    let name = period.to_string();
    let sealed: BTreeSet<u32> =
        ledger.closures(Some(&name))?.into_iter().map(|(_, closure)| closure.customer).collect();
    let open: Vec<&Planned> = planned.iter().filter(|planned| !sealed.contains(&planned.customer)).collect();
    let parts: Vec<Part> = open
        .iter()
        .map(|planned| {
            let (from, until) = planned.span.buckets();
            Part { customer: planned.customer, from, until }
        })
        .collect();
    let roots = roots(ledger, &parts)?;
    let closure = |((planned, part), root): ((&&Planned, &Part), String)| {
        let (tariff, tariff_version) = planned.tariff.clone().unwrap_or_default();
        let &Part { customer, from, until } = part;
        Closure { customer, period: name.clone(), from, until, tariff, tariff_version, root }
    };
    let closures: Vec<Closure> = open.iter().zip(&parts).zip(roots).map(closure).collect();
    let last = planned.iter().map(|planned| planned.span.end_day).max();
    let day = last.and_then(|day| day.yesterday().ok());
    let day = day.map_or_else(|| format!("{name}-01"), |day| day.to_string());
    Ok(ledger.seal(&name, &day, &closures, actor)?)
}

/// Up to when all octets that came in time are in the books: a full closing enters them before it seals, and it always
/// seals the reserved names.
fn settled(ledger: &mut Ledger) -> Result<i64, Failure> {
    let mut until: BTreeMap<u32, i64> = CustomerId::RESERVED.iter().map(|(id, _)| (id.0, i64::MIN)).collect();
    for (_, closure) in ledger.closures(None)? {
        let known = until.entry(closure.customer).or_insert(i64::MIN);
        *known = closure.until.0.max(*known);
    }
    Ok(until.into_values().min().unwrap_or(i64::MIN))
}

/// The hashes of usage, with a bar that shows how far it was read.
pub(super) fn roots(ledger: &mut Ledger, parts: &[Part]) -> Result<Vec<String>, Failure> {
    let from = parts.iter().map(|part| part.from.0).min().unwrap_or(0);
    let to = parts.iter().map(|part| part.until.0).max().unwrap_or(0);
    let bar = progress_bar(to.abs_diff(from), "seconds of usage");
    let roots = ledger.usage_roots(parts, &mut |bucket| bar.set_position(bucket.0.abs_diff(from)))?;
    bar.finish_and_clear();
    Ok(roots)
}

/// Enters the octets of all days up to the end of what is planned; the number of entries.
fn enter_octets(
    ledger: &mut Ledger,
    planned: &[Planned],
    settled: i64,
    actor: Actor<'_>,
) -> Result<usize, Failure> {
    let end = planned.iter().map(|planned| planned.span.to.seconds()).max().unwrap_or(0);
    let mut entered = 0;
    // Late usage may be of any day.
    for (kind, mut from) in [(EntryKind::Octets, settled), (EntryKind::Late, i64::MIN)] {
        let bar = progress_bar(end.abs_diff(from.max(0)), "seconds of usage");
        from = from.max(0).div_euclid(DAY_SECONDS) * DAY_SECONDS;
        while let Some(bucket) = ledger.next_bucket(kind, from)?.filter(|bucket| *bucket < end) {
            let day = bucket.div_euclid(DAY_SECONDS) * DAY_SECONDS;
            entered += ledger.enter_octets(kind, day, actor)?;
            from = day + DAY_SECONDS;
            bar.inc(DAY_SECONDS.unsigned_abs());
        }
        bar.finish_and_clear();
    }
    Ok(entered)
}

/// `period list`.
fn list(ledger: &mut Ledger, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let closed = ledger.closed()?;
    let instant = |until: Option<BucketStart>| match until {
        Some(until) => Cell::Text(crate::period::rfc3339(until.start())),
        None => Cell::Missing,
    };
    let rows: Vec<Vec<Cell>> = ledger
        .names(NameKind::Customer)?
        .into_iter()
        .map(|(number, name)| vec![Cell::Text(name), instant(closed.until(number))])
        .collect();
    Ok(output::rows(out, format, &["customer", "closed_until"], &rows)?)
}

/// A failure as an error, for who does not end with an exit code.
pub(super) fn in_words(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::Failed(error) => error,
        Failure::Usage(text) | Failure::Difference(text) => {
            anyhow::Error::msg(text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned())
        }
        Failure::BrokenPipe => anyhow::Error::msg("the output was closed"),
    }
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn progress_bar(length: u64, of: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template(&format!("{{wide_bar}} {{human_pos}}/{{human_len}} {of} {{eta}}"))
            .expect("the template is well-formed");
    ProgressBar::new(length).with_style(style)
}
