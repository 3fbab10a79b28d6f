//! `invoice finalize`, `void`, `credit`, and `rerate`: what makes an invoice final, and what takes it back.

mod shares;

use std::collections::BTreeSet;
use std::io::Write;

use clap::Args;
use jiff::civil::Date;

use self::shares::Others;
use super::output::{self, Cell, Format};
use super::period::{self, Planned};
use super::pins::Supposed;
use super::reclassify::Concerned;
use super::{Cli, Failure, billing, billing_ledger, invoice as documents};
use crate::config::Config;
use crate::daemon;
use crate::invoice::issue::{credit_note, finalized, postings};
use crate::invoice::pins::Pin;
use crate::invoice::{Invoice, State, stored};
use crate::ledger::records::books::{Actor, Issue};
use crate::ledger::records::{NameKind, StoredInvoice};
use crate::ledger::{self, Ledger, Ready, Step};
use crate::period::Period;
use crate::rate::tariff::{counted_from, may_close_from};
use crate::units::UnixMillis;

/// Invoices that become final in one transaction.
const BATCH: usize = 100;

/// Who does it, and of which date.
#[derive(Args, Debug)]
pub struct Doing {
    /// The date on the document [default: today, in UTC]
    #[arg(long)]
    date: Option<Date>,
    /// Who does it [default: the user's name]
    #[arg(long)]
    by: Option<String>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Doing {
    fn by(&self) -> String {
        self.by.clone().unwrap_or_else(billing::user)
    }

    fn date(&self, now: i64) -> Date {
        self.date.unwrap_or_else(|| utc_today(now))
    }
}

/// The date of an instant of the clock, in UTC.
fn utc_today(now: i64) -> Date {
    let now = jiff::Timestamp::from_millisecond(now).expect("the clock is of this era");
    jiff::tz::Offset::UTC.to_datetime(now).date()
}

/// `invoice finalize`.
#[derive(Args, Debug)]
pub struct FinalizeArgs {
    /// Numbers of drafts [default: all of the period]
    numbers: Vec<String>,
    /// The month in which the period begins, YYYY-MM
    #[arg(long, required_unless_present = "numbers")]
    period: Option<Period>,
    /// Only this customer's
    #[arg(long)]
    customer: Option<String>,
    /// Do not wait for the grace times of tariffs: close what has ended
    #[arg(long)]
    no_grace: bool,
    #[command(flatten)]
    doing: Doing,
}

/// `rerate`.
#[derive(Args, Debug)]
pub struct RerateArgs {
    /// The customer
    #[arg(long)]
    customer: String,
    /// The month in which the first period begins, YYYY-MM
    #[arg(long)]
    from: Period,
    /// The month in which the last period begins [default: the first]
    #[arg(long)]
    to: Option<Period>,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Read the journal again by the configuration of now: usage that was another customer's is corrected, and the final
    /// invoices of all customers concerned are rated again; with --dry-run, say whose usage would be another, in octets
    #[arg(long)]
    reclassify: bool,
    /// With --reclassify: why usage is corrected; stays in the ledger
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    doing: Doing,
}

/// The series, and the days up to payment, as configured.
struct Terms<'a> {
    series: &'a str,
    due_days: i64,
}

impl<'a> Terms<'a> {
    fn of(config: &'a Config) -> Self {
        Self { series: &config.invoice.series, due_days: config.invoice.due_days.into() }
    }

    fn due(&self, date: Date) -> Option<Date> {
        date.checked_add(jiff::Span::new().days(self.due_days)).ok()
    }
}

/// `invoice finalize`: drafts get their numbers and go into the books. Their periods are closed first; a draft that is
/// not what closed usage gives is refused, and has to be made again; so is one of a calibrated charge where others' usage
/// is open still. Those that are final already are left alone, so that
/// a command that was interrupted is repeated.
///
/// # Errors
/// When the date is before the last day of a period or before the series' last date: then nothing is done. When one could
/// not be made final; the others are.
pub(super) fn finalize(args: &FinalizeArgs, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let (config, mut ledger) = (cli.config()?, cli.ledger()?);
    let (by, now) = (args.doing.by(), daemon::now_ms());
    let actor = Actor { by: &by, at: now };
    let (drafts, is_done) = selected(&mut ledger, args)?;
    if drafts.is_empty() && !is_done {
        let hint = args.period.map_or_else(String::new, |period| {
            format!("; make them with `fluxoscope invoice run --period {period}`")
        });
        return Err(Failure::said(format!("there are no drafts{hint}")));
    }
    let mut opened = Vec::new();
    for draft in drafts {
        let invoice = documents::open(&draft)?;
        opened.push((draft, invoice));
    }
    let (mut issued, mut failed) = (Vec::new(), Vec::new());
    let had_some = !opened.is_empty();
    let (opened, waiting) = due(&mut ledger, &config, opened, UnixMillis(now), args.no_grace)?;
    let nobody_is_due = had_some && opened.is_empty();
    if args.numbers.is_empty() && !nobody_is_due {
        // They come with their own time; the others are not to wait for them.
        waiting.iter().for_each(|why| eprintln!("note: {why}"));
    } else {
        failed.extend(waiting);
    }
    let periods: BTreeSet<Period> = opened.iter().map(|(_, invoice)| invoice.period).collect();
    let (date, terms) = (args.doing.date(now), Terms::of(&config));
    for (_, invoice) in &opened {
        let last_day = invoice.span.end_day.yesterday()?;
        if date < last_day {
            let period = invoice.period;
            return Err(Failure::Usage(format!(
                "error: --date {date}: the period {period} of `{}` lasts until {last_day}",
                invoice.customer.name
            )));
        }
    }
    if !opened.is_empty() {
        in_order(&mut ledger, terms.series, date)?;
    }
    for period in periods {
        let of_period = opened.iter().filter(|(_, invoice)| invoice.period == period);
        let drafts: Vec<&(StoredInvoice, Invoice)> = of_period.collect();
        close(&mut ledger, &config, period, &drafts, actor)?;
        let current = current(&mut ledger, &config, period, args.customer.as_deref(), &mut failed)?;
        let (ready, stale): (Vec<_>, Vec<_>) =
            drafts.into_iter().partition(|(draft, _)| current.contains(&draft.sha256));
        let invoices = ready.iter().map(|(_, invoice)| invoice);
        let others =
            Others::load(&mut ledger, &config, UnixMillis(now), invoices).map_err(Failure::Failed)?;
        let (ready, shared): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|(_, invoice)| others.open_beside(invoice).is_none());
        failed.extend(shared.iter().filter_map(|(draft, invoice)| {
            Some(format!("{}: {}", draft.number, others.open_beside(invoice)?))
        }));
        failed.extend(stale.iter().map(|(draft, invoice)| {
            let why = if invoice.quality.provisional {
                "it is provisional, made before the period ended"
            } else {
                "usage or configuration have changed since it was made"
            };
            format!(
                "{}: {why}; \
                 make it again with `fluxoscope invoice run --period {period} --customer '{}'`",
                draft.number, invoice.customer.name
            )
        }));
        let bar = period::progress_bar(ready.len() as u64, "invoices");
        for batch in ready.chunks(BATCH) {
            let steps: Vec<Step<'_>> = batch.iter().map(|(draft, _)| Step::Final(draft)).collect();
            issued.extend(issue(&mut ledger, &steps, date, &terms, actor, &mut failed)?);
            bar.inc(batch.len() as u64);
        }
        bar.finish_and_clear();
    }
    print(&mut ledger, &issued, args.doing.format, out)?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::said(failed.join("\n"))) }
}

/// Makes drafts final that were just made of a period that is closed, all dated today: how many, and the customers whose
/// drafts were not, with the reason. Those that somebody else has made final meanwhile are done.
///
/// # Errors
/// In words, where none can be: today is before the series' last date, say.
pub(super) fn make_final(
    ledger: &mut Ledger,
    config: &Config,
    drafts: &[(StoredInvoice, &Invoice)],
    by: &str,
    now: i64,
) -> Result<(usize, Vec<(String, String)>), String> {
    if drafts.is_empty() {
        return Ok((0, Vec::new()));
    }
    let in_words = |failure: Failure| format!("{:#}", period::in_words(failure));
    let (terms, actor) = (Terms::of(config), Actor { by, at: now });
    let date = utc_today(now);
    in_order(ledger, terms.series, date).map_err(in_words)?;
    let invoices = drafts.iter().map(|(_, invoice)| *invoice);
    let others = Others::load(ledger, config, UnixMillis(now), invoices);
    let others = others.map_err(|error| format!("{error:#}"))?;
    let (mut steps, mut left) = (Vec::new(), Vec::new());
    for (draft, invoice) in drafts {
        match others.open_beside(invoice) {
            None => steps.push(Step::Final(draft)),
            Some(why) => left.push((invoice.customer.name.clone(), format!("{}: {why}", draft.number))),
        }
    }
    let mut problems = Vec::new();
    let issued = issue(ledger, &steps, date, &terms, actor, &mut problems).map_err(in_words)?.len();
    if let Some(problem) = problems.first() {
        for (draft, invoice) in drafts {
            if left.iter().any(|(name, _)| *name == invoice.customer.name) {
                continue;
            }
            if ledger.invoice(&draft.number).map_err(|error| error.to_string())?.is_some() {
                left.push((invoice.customer.name.clone(), problem.clone()));
            }
        }
    }
    Ok((issued, left))
}

/// Refuses a date before that of the series' last document: the greater number never has the earlier date.
fn in_order(ledger: &mut Ledger, series: &str, date: Date) -> Result<(), Failure> {
    let Some(last) = ledger.issues()?.into_iter().rfind(|issue| issue.series == series) else {
        return Ok(());
    };
    let Some(stored) = ledger.invoice(&last.number)? else { return Ok(()) };
    match documents::open(&stored)?.issuance.date {
        Some(before) if date < before => Err(Failure::Usage(format!(
            "error: --date {date}: the last of the series, {}, is of {before}; no later number has an earlier date",
            last.number
        ))),
        _ => Ok(()),
    }
}

/// Makes drafts final, all in one transaction; where another command was faster with one of them, each by itself, without
/// those that are gone.
fn issue(
    ledger: &mut Ledger,
    steps: &[Step<'_>],
    date: Date,
    terms: &Terms<'_>,
    actor: Actor<'_>,
    failed: &mut Vec<String>,
) -> Result<Vec<Issue>, Failure> {
    let mut make = |_: &Step<'_>, draft: &StoredInvoice, number: &str| {
        let draft = documents::open(draft).map_err(|error| error.to_string())?;
        Ok(ready_of(&finalized(&draft, number, date, terms.due(date), None)))
    };
    match ledger.issue(terms.series, steps, actor, &mut make) {
        Err(ledger::Error::DraftChanged(_)) => {}
        result => return Ok(result?),
    }
    let mut issued = Vec::new();
    for step in steps {
        match ledger.issue(terms.series, core::slice::from_ref(step), actor, &mut make) {
            Err(error @ ledger::Error::DraftChanged(_)) => {
                // Gone: another command made it final. Still there: it was made again.
                if let Step::Final(draft) = step
                    && ledger.invoice(&draft.number)?.is_some()
                {
                    failed.push(error.to_string());
                }
            }
            result => issued.extend(result?),
        }
    }
    Ok(issued)
}

/// The drafts that are meant, and whether there are invoices beyond drafts among what was named.
fn selected(ledger: &mut Ledger, args: &FinalizeArgs) -> Result<(Vec<StoredInvoice>, bool), Failure> {
    let is_draft = |stored: &StoredInvoice| stored.state == State::Draft.as_str();
    let mut all = Vec::new();
    if let Some(period) = args.period {
        all = ledger.invoices(Some(&period.to_string()), args.customer.as_deref())?;
        all.retain(|stored| args.numbers.is_empty() || args.numbers.contains(&stored.number));
    } else {
        for number in &args.numbers {
            all.push(ledger.invoice(number)?.ok_or_else(|| documents::Error::NoInvoice(number.clone()))?);
        }
    }
    let is_done = all.iter().any(|stored| !is_draft(stored));
    all.retain(is_draft);
    Ok((all, is_done))
}

/// A draft as it is stored, and what it says.
type Opened = (StoredInvoice, Invoice);

/// The drafts whose period may be closed by now, and why the others have to wait.
fn due(
    ledger: &mut Ledger,
    config: &Config,
    opened: Vec<Opened>,
    now: UnixMillis,
    no_grace: bool,
) -> Result<(Vec<Opened>, Vec<String>), Failure> {
    let drafts: Vec<&Opened> = opened.iter().collect();
    let planned = planned(ledger, config, now, &drafts)?;
    let (_, later) = period::due(ledger, planned, now, no_grace)?;
    let mut waiting = Vec::new();
    for one in &later {
        let of: BTreeSet<&str> = one.customers.iter().map(String::as_str).collect();
        let is_it =
            |invoice: &Invoice| invoice.span.to == one.ends && of.contains(invoice.customer.name.as_str());
        let found = opened.iter().find(|(_, invoice)| is_it(invoice));
        let period = found.map(|(_, invoice)| invoice.period.to_string()).unwrap_or_default();
        waiting.push(format!("{period}: {one}"));
    }
    let is_later = |invoice: &Invoice| {
        later.iter().any(|one| {
            invoice.span.to == one.ends && one.customers.binary_search(&invoice.customer.name).is_ok()
        })
    };
    Ok((opened.into_iter().filter(|(_, invoice)| !is_later(invoice)).collect(), waiting))
}

/// What of drafts is to be closed: by the tariffs of now, whatever a draft was made by.
fn planned(
    ledger: &mut Ledger,
    config: &Config,
    now: UnixMillis,
    drafts: &[&Opened],
) -> Result<Vec<Planned>, Failure> {
    let names: Vec<&str> = drafts.iter().map(|(draft, _)| draft.customer.as_str()).collect();
    let numbers = ledger.intern(NameKind::Customer, &names)?;
    let spans = period::Spans::load(ledger, config, now)?;
    let planned = |((_, invoice), customer): (&&Opened, u32)| {
        let name = invoice.customer.name.clone();
        let (span, tariff) = spans.of(&name, invoice.period);
        Planned {
            customer,
            name,
            from: may_close_from(tariff, &span),
            earliest: counted_from(tariff, &span),
            span,
            tariff: tariff.map(|tariff| (tariff.id.clone(), tariff.version)),
        }
    };
    Ok(drafts.iter().zip(numbers).map(planned).collect())
}

/// Closes the period for those who have drafts, and seals it.
fn close(
    ledger: &mut Ledger,
    config: &Config,
    period: Period,
    drafts: &[&(StoredInvoice, Invoice)],
    actor: Actor<'_>,
) -> Result<(), Failure> {
    let planned = planned(ledger, config, UnixMillis(actor.at), drafts)?;
    period::close(ledger, &planned, None, actor)?;
    period::seal(ledger, period, &planned, actor)?;
    Ok(())
}

/// The hashes of the drafts that a run gives now.
fn current(
    ledger: &mut Ledger,
    config: &Config,
    period: Period,
    customer: Option<&str>,
    failed: &mut Vec<String>,
) -> Result<BTreeSet<String>, Failure> {
    let made = billing_ledger::invoice_make(ledger, &made_from(config, period, customer))
        .map_err(Failure::Failed)?;
    failed.extend(made.failed);
    Ok(made.outcome.invoices.iter().map(|invoice| stored(invoice).sha256).collect())
}

fn made_from<'a>(
    config: &'a Config,
    period: Period,
    customer: Option<&'a str>,
) -> billing_ledger::Wanted<'a> {
    let now = UnixMillis(daemon::now_ms());
    billing_ledger::Wanted {
        network: &config.network,
        seller: billing::seller(config),
        period,
        customer,
        contacts: billing::contacts(config),
        now,
        reconcile: Some((&config.reconcile, config.meter.packet_octets_max)),
    }
}

/// A document and what it means for the books.
fn ready_of(invoice: &Invoice) -> Ready {
    let day = invoice.issuance.date.map_or_else(|| invoice.span.end_day.to_string(), |date| date.to_string());
    Ready { invoice: stored(invoice), day, postings: postings(invoice) }
}

/// `invoice void NUMBER`.
///
/// # Errors
/// When it is not final, was delivered, or the ledger cannot be used.
pub(super) fn void(number: &str, doing: &Doing, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let mut ledger = cli.ledger()?;
    ledger.void(number, Actor { by: &doing.by(), at: daemon::now_ms() })?;
    rows(&mut ledger, &[number.to_owned()], doing.format, out)
}

/// `invoice credit NUMBER`: a credit note over all of it.
///
/// # Errors
/// When it is not final, the date is before the series' last one, or the ledger cannot be used.
pub(super) fn credit(number: &str, doing: &Doing, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let (config, mut ledger) = (cli.config()?, cli.ledger()?);
    let now = daemon::now_ms();
    let (by, date) = (doing.by(), doing.date(now));
    let series = &config.invoice.series;
    in_order(&mut ledger, series, date)?;
    let issued =
        ledger.issue(series, &[Step::Credit(number)], Actor { by: &by, at: now }, &mut |_, of, number| {
            note(of, number, date)
        })?;
    print(&mut ledger, &issued, doing.format, out)
}

/// The credit note of a stored invoice.
fn note(of: &StoredInvoice, number: &str, date: Date) -> Result<Ready, String> {
    let invoice = documents::open(of).map_err(|error| error.to_string())?;
    let note = credit_note(&invoice, number, date).map_err(|error| error.to_string())?;
    Ok(ready_of(&note))
}

/// `rerate`: rates the final invoices of a customer again, from usage and by what is active and configured now. Where
/// the amounts differ, a credit note takes the invoice back and another takes its place, in one step. With `--reclassify`
/// usage is corrected from the journal before, and the invoices of all customers concerned are rated again.
///
/// # Errors
/// When nobody knows the customer, the last period is before the first, or the date before the series' last one; when an
/// invoice cannot be made, or the ledger cannot be used.
pub(super) fn rerate(args: &RerateArgs, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    if args.reason.is_some() && !args.reclassify {
        return Err(Failure::Usage(
            "error: --reason says why usage is corrected, which only --reclassify does; without it, leave the reason out"
                .to_owned(),
        ));
    }
    let (config, mut ledger) = (cli.config()?, cli.ledger()?);
    let now = daemon::now_ms();
    let (by, date, terms) = (args.doing.by(), args.doing.date(now), Terms::of(&config));
    let actor = Actor { by: &by, at: now };
    let last = args.to.unwrap_or(args.from);
    if last < args.from {
        return Err(Failure::Usage(format!("error: --from {} is after --to {last}", args.from)));
    }
    let is_known = config.network.customers.iter().any(|rule| rule.name == args.customer)
        || ledger.names(NameKind::Customer)?.iter().any(|(_, name)| *name == args.customer);
    if !is_known {
        return Err(Failure::Usage(format!("error: there is no customer `{}`", args.customer)));
    }
    let dry_run = args.dry_run;
    if args.reclassify && dry_run {
        let periods = (args.from, last);
        return super::reclassify::compare(
            &args.customer,
            periods,
            &config,
            cli,
            &mut ledger,
            args.doing.format,
            out,
        );
    }
    let mut all = vec![Concerned::plain(&args.customer, (args.from, last))];
    if args.reclassify {
        let Some(reason) = args.reason.as_deref().filter(|reason| !reason.trim().is_empty()) else {
            return Err(Failure::Usage(
                "error: --reclassify corrects usage; say why with --reason".to_owned(),
            ));
        };
        // Before anything is corrected: what it means for invoices could not be done.
        in_order(&mut ledger, terms.series, date)?;
        all = super::reclassify::apply(&all[0], reason, &config, cli, &mut ledger, actor)?;
    }
    let spans =
        args.reclassify.then(|| period::Spans::load(&mut ledger, &config, UnixMillis(now))).transpose()?;
    let mut changed = Vec::new();
    for concerned in &all {
        let again = Again { concerned, config: &config, date, terms: &terms, actor, dry_run };
        let own = again.run(&mut ledger)?;
        if let Some(spans) = &spans {
            super::reclassify::tell(concerned, !own.is_empty(), spans, &mut ledger)?;
        }
        changed.extend(own);
    }
    Ok(output::rows(out, args.doing.format, &["number", "period", "gross_before", "gross_after"], &changed)?)
}

/// A customer's invoices that are rated again.
struct Again<'a> {
    concerned: &'a Concerned,
    config: &'a Config,
    date: Date,
    terms: &'a Terms<'a>,
    actor: Actor<'a>,
    dry_run: bool,
}

impl Again<'_> {
    /// Rates them; a row for each that changed.
    fn run(&self, ledger: &mut Ledger) -> Result<Vec<Vec<Cell>>, Failure> {
        let &Self { concerned, config, date, terms, actor, dry_run } = self;
        let Concerned { customer, first, last, carried, keeps_price, .. } = concerned;
        let credits: BTreeSet<String> =
            ledger.issues()?.into_iter().filter(|issue| issue.is_credit).map(|issue| issue.number).collect();
        let mut changed = Vec::new();
        // What takes the place of invoices, by period: later ones that charge late usage of it, or what it leaves of an
        // allowance, have to follow.
        let mut instead = Supposed::new();
        let invoices = ledger.invoices(None, Some(customer))?;
        let bar = period::progress_bar(invoices.len() as u64, "invoices");
        for old in invoices {
            bar.inc(1);
            let of: Period = old.period.parse()?;
            let is_final = old.state == State::Final.as_str() && !credits.contains(&old.number);
            let is_asked_for = (*first..=*last).contains(&of);
            let is_carried_into = carried.contains(&of);
            if !is_final || of < *first || (!is_asked_for && !is_carried_into && instead.is_empty()) {
                continue;
            }
            let before = documents::open(&old)?;
            let follows = before.issuance.adjustments.iter().any(|late| instead.contains_key(&late.period))
                || of.preceding().is_some_and(|period| instead.contains_key(&period));
            if !is_asked_for && !is_carried_into && !follows {
                continue;
            }
            let mut supposed = instead.clone();
            if !is_asked_for || *keeps_price {
                // Its own usage keeps the price that it had.
                supposed.insert(of, Pin::billed(&before));
            }
            let wanted = made_from(config, of, Some(customer));
            let made = billing_ledger::invoice_make_supposing(ledger, &wanted, &supposed)
                .map_err(Failure::Failed)?;
            if !made.failed.is_empty() || !made.outcome.problems.is_empty() {
                let problems = made.outcome.problems.iter().map(ToString::to_string);
                return Err(Failure::said(
                    made.failed.into_iter().chain(problems).collect::<Vec<_>>().join("\n"),
                ));
            }
            let after = made.outcome.invoices.into_iter().next();
            let amounts = |invoice: &Invoice| {
                let lines = invoice.lines.iter().map(|line| (line.charge.clone(), line.amount));
                (lines.collect::<Vec<_>>(), invoice.gross, invoice.taxes.clone())
            };
            // The same amount by another version is another invoice: what comes late follows it.
            let is_same = |after: &Invoice| {
                amounts(after) == amounts(&before) && Pin::billed(after) == Pin::billed(&before)
            };
            if after.as_ref().is_some_and(is_same) {
                continue;
            }
            if let Some(after) = &after {
                instead.insert(of, Pin::billed(after));
            }
            if !is_asked_for {
                eprintln!("note: {} of {of} follows from the periods before it", old.number);
            }
            let gross = after.as_ref().map(|invoice| invoice.gross.to_string()).unwrap_or_default();
            changed.push(vec![
                old.number.clone().into(),
                old.period.clone().into(),
                Cell::Text(before.gross.to_string()),
                Cell::Text(gross),
            ]);
            if !dry_run {
                if let Some(after) = &after {
                    let now = UnixMillis(actor.at);
                    let others = Others::load(ledger, config, now, core::iter::once(after));
                    if let Some(why) = others.map_err(Failure::Failed)?.open_beside(after) {
                        return Err(Failure::said(format!("{} of {of}: {why}", old.number)));
                    }
                }
                let draft = after.as_ref().map(stored);
                instead_of(ledger, config, &old.number, draft.as_ref(), (date, terms), actor)?;
            }
        }
        bar.finish_and_clear();
        Ok(changed)
    }
}

/// Takes an invoice back, and puts another in its place where there is one.
fn instead_of(
    ledger: &mut Ledger,
    config: &Config,
    old: &str,
    draft: Option<&StoredInvoice>,
    (date, terms): (Date, &Terms<'_>),
    actor: Actor<'_>,
) -> Result<(), Failure> {
    in_order(ledger, terms.series, date)?;
    ledger.put_assets(&billing::contacts(config).assets)?;
    let mut steps = vec![Step::Credit(old)];
    steps.extend(draft.map(|draft| Step::Instead(draft, old)));
    ledger.issue(terms.series, &steps, actor, &mut |step, of, number| match step {
        Step::Credit(_) => note(of, number, date),
        Step::Final(_) | Step::Instead(..) => {
            let draft = documents::open(of).map_err(|error| error.to_string())?;
            Ok(ready_of(&finalized(&draft, number, date, terms.due(date), Some(old))))
        }
    })?;
    Ok(())
}

/// The rows of what was issued.
fn print(ledger: &mut Ledger, issued: &[Issue], format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let numbers: Vec<String> = issued.iter().map(|issue| issue.number.clone()).collect();
    rows(ledger, &numbers, format, out)
}

fn rows(ledger: &mut Ledger, numbers: &[String], format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let mut invoices = Vec::new();
    for number in numbers {
        invoices.extend(ledger.invoice(number)?);
    }
    billing::texts(out, format, &documents::COLUMNS, documents::rows(&invoices))
}

/// When documents leave the house: the final ones among them are delivered now.
///
/// # Errors
/// What the ledger says.
pub(super) fn delivered(ledger: &mut Ledger, period: Period) -> Result<(), Failure> {
    let invoices = ledger.invoices(Some(&period.to_string()), None)?;
    let is_final = |stored: &&StoredInvoice| stored.state == State::Final.as_str();
    let numbers: Vec<&str> = invoices.iter().filter(is_final).map(|stored| stored.number.as_str()).collect();
    if !numbers.is_empty() {
        ledger.deliver(&numbers, Actor { by: &billing::user(), at: daemon::now_ms() })?;
    }
    Ok(())
}
