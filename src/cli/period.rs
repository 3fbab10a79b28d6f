//! `period close`: from then on the usage of a period does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::output::{self, Cell, Format};
use super::{Cli, Failure, billing, billing_ledger, seams, tariff};
use crate::config::Config;
use crate::daemon;
use crate::ids::CustomerId;
use crate::invoice::kinds::LinkKinds;
use crate::invoice::plan::covered;
use crate::ledger::records::NameKind;
use crate::ledger::records::books::{Actor, Closure, EntryKind};
use crate::ledger::{Ledger, Part};
use crate::period::{AnchorDay, Period, Span, Zone};
use crate::rate::tariff::{COUNTED_MS, Tariff, counted_from, may_close_from};
use crate::units::UnixMillis;
use crate::usage::BucketStart;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// Periods.
#[derive(Debug, Subcommand)]
pub enum PeriodVerb {
    /// Close a period that has ended: its usage does not change any more, and what comes late is carried into the next
    Close(CloseArgs),
    /// Accept that a customer's period does not begin where the one before ended; who and why stays in the ledger
    AcceptSeam(SeamArgs),
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
    /// Do not wait for the grace times of tariffs: close what has ended
    #[arg(long)]
    no_grace: bool,
    /// Who does it [default: the user's name]
    #[arg(long)]
    by: Option<String>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `period accept-seam`.
#[derive(Args, Debug)]
pub struct SeamArgs {
    /// The month in which the period after the seam begins, YYYY-MM
    #[arg(long)]
    period: Period,
    /// The customer
    #[arg(long)]
    customer: String,
    /// Why
    #[arg(long)]
    reason: String,
    /// Who does it [default: the user's name]
    #[arg(long)]
    by: Option<String>,
}

/// Does what the verb says.
///
/// # Errors
/// When the period may be closed for nobody yet, or the ledger cannot be used.
pub(super) fn run(verb: &PeriodVerb, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        PeriodVerb::Close(args) => {
            let (config, mut ledger) = (cli.config()?, cli.ledger()?);
            let by = args.by.clone().unwrap_or_else(billing::user);
            let actor = Actor { by: &by, at: daemon::now_ms() };
            let closing =
                Closing { period: args.period, only: args.customer.as_deref(), no_grace: args.no_grace };
            let done = close_due(&mut ledger, &config, &closing, actor)?;
            done.waiting.iter().for_each(|waiting| eprintln!("note: {}: {waiting}", args.period));
            let columns = ["period", "customers", "sealed", "octet_entries", "waiting"];
            let row = [
                args.period.to_string().into(),
                count(done.closed),
                count(done.sealed),
                count(done.entered),
                count(done.waiting.iter().map(|waiting| waiting.customers.len()).sum()),
            ];
            Ok(output::summary(out, args.format, &columns, &row)?)
        }
        PeriodVerb::AcceptSeam(args) => {
            let (config, mut ledger) = (cli.config()?, cli.ledger()?);
            let by = args.by.clone().unwrap_or_else(billing::user);
            accept_seam(&mut ledger, &config, args, Actor { by: &by, at: daemon::now_ms() }, out)
        }
        PeriodVerb::List { format } => list(&mut cli.ledger()?, *format, out),
    }
}

fn count(n: usize) -> Cell {
    Cell::Integer(i128::try_from(n).unwrap_or(i128::MAX))
}

/// `period accept-seam`: exactly the seam that there is now; another one asks again.
fn accept_seam(
    ledger: &mut Ledger,
    config: &Config,
    args: &SeamArgs,
    actor: Actor<'_>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let SeamArgs { period, customer, reason, .. } = args;
    if reason.trim().is_empty() {
        return Err(Failure::Usage("error: --reason: say why".to_owned()));
    }
    if !config.network.customers.iter().any(|rule| rule.name == *customer) {
        return Err(Failure::Usage(format!("error: there is no customer `{customer}`")));
    }
    let spans = Spans::load(ledger, config, UnixMillis(actor.at))?;
    let (span, _) = spans.of(customer, *period);
    if span.to > UnixMillis(actor.at) {
        return Err(Failure::said(format!(
            "{period} of `{customer}` lasts until {}: up to then its tariff may become another, which can close the seam",
            crate::period::rfc3339(span.to)
        )));
    }
    let found = seams::of(ledger, (&spans.kinds, &spans.tariffs), customer, *period);
    let Some((number, seam)) = found.map_err(Failure::Failed)? else {
        return Err(Failure::said(format!("{period} of `{customer}` begins where the period before ended")));
    };
    ledger.accept_seam(number, (seam.ends, seam.begins), reason, actor)?;
    let [ends, begins] = [seam.ends, seam.begins].map(|bucket| crate::period::rfc3339(bucket.start()));
    let times = if seam.ends < seam.begins { "never" } else { "twice" };
    Ok(writeln!(out, "accepted: usage of `{customer}` between {ends} and {begins} is billed {times}")?)
}

/// What is to be closed.
pub(super) struct Closing<'a> {
    /// The period.
    pub(super) period: Period,
    /// Only this customer's.
    pub(super) only: Option<&'a str>,
    /// What has ended is closed without waiting for its grace time.
    pub(super) no_grace: bool,
}

/// What came of a closing.
#[derive(Debug)]
pub(super) struct Done {
    /// Customers and reserved names whose period is closed now.
    pub(super) closed: usize,
    /// Those that were not sealed before.
    pub(super) sealed: usize,
    /// Entries of octets.
    pub(super) entered: usize,
    /// Who is not closed yet, by when that may be.
    pub(super) waiting: Vec<Waiting>,
}

/// Customers whose period may not be closed yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Waiting {
    /// Their names, in order.
    pub(super) customers: Vec<String>,
    /// When their period ends.
    pub(super) ends: UnixMillis,
    /// When it may be closed.
    pub(super) from: UnixMillis,
}

impl core::fmt::Display for Waiting {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        /// Names that are told; of more only the number.
        const NAMES_MAX: usize = 20;
        let names: Vec<String> =
            self.customers.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
        write!(f, "not closed yet: {}", names.join(", "))?;
        if let Some(more) = self.customers.len().checked_sub(NAMES_MAX).filter(|more| *more > 0) {
            write!(f, " and {more} more")?;
        }
        write!(f, "; ends at {}", crate::period::rfc3339(self.ends))?;
        if self.from == UnixMillis(self.ends.0 + COUNTED_MS) {
            let from = crate::period::rfc3339(self.from);
            write!(
                f,
                ", may be closed from {from} on, with what interfaces counted in its last five minutes"
            )?;
        } else if self.from > self.ends {
            write!(
                f,
                ", may be closed from {} on (`grace` of the tariff)",
                crate::period::rfc3339(self.from)
            )?;
        }
        Ok(())
    }
}

/// Closes and seals the period of everyone (or of one customer) for whom it may be closed by now, each for itself, and
/// enters the octets. The reserved names, and customers that nobody has seen yet, come last, with nobody waiting: so that
/// what an open customer still uses is entered by the closing that closes them.
///
/// # Errors
/// When the period may be closed for nobody yet, the customer is unknown, or the ledger cannot be used.
pub(super) fn close_due(
    ledger: &mut Ledger,
    config: &Config,
    closing: &Closing<'_>,
    actor: Actor<'_>,
) -> Result<Done, Failure> {
    let &Closing { period, only, no_grace } = closing;
    let spans = Spans::load(ledger, config, UnixMillis(actor.at))?;
    let planned = plan(ledger, config, &spans, period, only)?;
    let (mut planned, waiting) = due(ledger, planned, UnixMillis(actor.at), no_grace)?;
    let everybody = only.is_none() && waiting.is_empty();
    if !everybody {
        planned.retain(|planned| CustomerId(planned.customer) >= CustomerId::FIRST || only.is_some());
    }
    if planned.is_empty() {
        let waiting: Vec<String> = waiting.iter().map(ToString::to_string).collect();
        return Err(Failure::said(format!("{period}: {}", waiting.join("\n"))));
    }
    let settled = settled(ledger)?;
    let others = everybody.then(|| {
        let ends = planned.iter().map(|planned| planned.span.buckets().1).filter(|_| spans.calibrates());
        ends.fold(utc_month(period).buckets().1, BucketStart::max)
    });
    close(ledger, &planned, others, actor)?;
    // Before it is sealed: what is sealed is in the books.
    let entered = enter_octets(ledger, &planned, settled, actor)?;
    let sealed = seal(ledger, period, &planned, actor)?;
    Ok(Done { closed: planned.len(), sealed, entered, waiting })
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
    pub(super) fn load(ledger: &mut Ledger, config: &Config, now: UnixMillis) -> Result<Self, Failure> {
        Self::load_at(ledger, config, now).map_err(Failure::Failed)
    }

    /// The same, for those that are no command.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(super) fn load_at(ledger: &mut Ledger, config: &Config, now: UnixMillis) -> anyhow::Result<Self> {
        let tariffs = tariff::understand(&ledger.tariff_versions(None)?)?;
        let kinds = billing_ledger::link_kinds(ledger, &config.network, now)?;
        Ok(Self { tariffs, kinds })
    }

    /// True where totals of links are shared out by any tariff.
    pub(super) fn calibrates(&self) -> bool {
        self.tariffs.iter().any(Tariff::calibrates)
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
    /// Its name.
    pub(super) name: String,
    /// When it may be closed.
    pub(super) from: UnixMillis,
    /// When it may be closed by who does not wait for its grace time.
    pub(super) earliest: UnixMillis,
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
        let (from, earliest) = (may_close_from(tariff, &span), counted_from(tariff, &span));
        let tariff = tariff.map(|tariff| (tariff.id.clone(), tariff.version));
        planned.push(Planned { customer, name, from, earliest, span, tariff });
    }
    Ok(planned)
}

/// Divides what is planned into what may be closed at `now`, or is closed already, and what has to wait, by when it may be
/// closed. With `no_grace`, all that has ended may be closed.
///
/// # Errors
/// What the ledger says.
pub(super) fn due(
    ledger: &mut Ledger,
    planned: Vec<Planned>,
    now: UnixMillis,
    no_grace: bool,
) -> Result<(Vec<Planned>, Vec<Waiting>), Failure> {
    let closed = ledger.closed()?;
    let is_due = |planned: &Planned| {
        let from = if no_grace { planned.earliest } else { planned.from };
        from <= now || closed.until(planned.customer).is_some_and(|until| until >= planned.span.buckets().1)
    };
    let (due, later): (Vec<Planned>, Vec<Planned>) = planned.into_iter().partition(is_due);
    let mut waiting: BTreeMap<(UnixMillis, UnixMillis), Vec<String>> = BTreeMap::new();
    for Planned { name, from, earliest, span, .. } in later {
        // Who does not wait for the grace time is told what is left to wait for.
        let from = if no_grace && span.to <= now { earliest } else { from };
        waiting.entry((from, span.to)).or_default().push(name);
    }
    let waiting = waiting.into_iter().map(|((from, ends), mut customers)| {
        customers.sort();
        Waiting { customers, ends, from }
    });
    Ok((due, waiting.collect()))
}

/// Closes periods: their usage does not change any more. Where `others` is there, everybody is meant: up to it, usage of
/// those that nobody knows yet is closed, too, and of those without a tariff. Their month is that of UTC, and where totals
/// of links are shared out, their usage would move the shares of local months that end later.
///
/// # Errors
/// When the ledger cannot be used.
pub(super) fn close(
    ledger: &mut Ledger,
    planned: &[Planned],
    others: Option<BucketStart>,
    actor: Actor<'_>,
) -> Result<(), Failure> {
    let bound = |planned: &Planned| {
        let (own, others) = (planned.span.buckets().1, others.filter(|_| planned.tariff.is_none()));
        (Some(planned.customer), others.map_or(own, |others| own.max(others)))
    };
    let mut bounds: Vec<(Option<u32>, BucketStart)> = planned.iter().map(bound).collect();
    bounds.extend(others.map(|others| (None, others)));
    Ok(ledger.close(&bounds, actor)?)
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

/// Enters the octets of all days up to the end of what is planned, and of those before that were corrected; the number of
/// entries.
fn enter_octets(
    ledger: &mut Ledger,
    planned: &[Planned],
    settled: i64,
    actor: Actor<'_>,
) -> Result<usize, Failure> {
    let end = planned.iter().map(|planned| planned.span.to.seconds()).max().unwrap_or(0);
    let (mut entered, mut from) = (0, 0);
    // A correction may have added usage in time to a day that had none. What is entered already is not entered again.
    while let Some(bucket) = ledger.next_corrected(from)?.filter(|bucket| *bucket < settled) {
        let day = bucket.div_euclid(DAY_SECONDS) * DAY_SECONDS;
        entered += ledger.enter_octets(EntryKind::Octets, day, actor)?;
        from = day + DAY_SECONDS;
    }
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

#[cfg(test)]
mod tests;
