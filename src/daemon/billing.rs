//! What the daemon does with the calendar: it bills periods that have ended, and looks where customers stand with what
//! their tariffs include. On a thread and a connection of its own, so that nothing that counts waits for it.
//!
//! What was done is kept in the ledger. So it goes on after a crash where it was, does nothing twice, and may be ended at any
//! moment; the daemon does not wait for it when it stops.

use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rust_decimal::Decimal;
use tracing::{info, warn};

use super::hook::{self, Command};
use super::{Shared, books, now_ms};
use crate::config::Config;
use crate::counters::AllowanceRow;
use crate::diagnostic;
use crate::ledger::records::Alert;
use crate::ledger::{self, Ledger};
use crate::units::UnixMillis;

/// Time between two looks for periods that have ended.
const BILLING_EVERY: Duration = Duration::from_secs(300);
/// Time until the next one where the ledger was busy.
const BILLING_AGAIN: Duration = Duration::from_secs(10);
/// Time between two looks at allowances ...
const STANDINGS_EVERY: Duration = Duration::from_secs(60);
/// ... and at least so many times as long as one takes: with many customers it reads a month of usage.
const STANDINGS_SHARE: u32 = 20;
/// An alert that could not be told is told again after this time.
const TELL_AGAIN: Duration = Duration::from_secs(600);
/// The pause between two looks at the clock.
const PAUSE: Duration = Duration::from_millis(100);

/// What was billed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Billed {
    /// Customers' periods that were due.
    pub due: usize,
    /// Those that are done, also where there was nothing to bill.
    pub done: usize,
    /// Drafts made.
    pub drafts: usize,
    /// Invoices that became final.
    pub finals: usize,
    /// What could not be done, in words: each is tried again.
    pub problems: Vec<String>,
    /// What could not be done some time ago, and is not tried again yet.
    pub waiting: Vec<String>,
}

/// Where customers stand.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    /// All allowances.
    pub rows: Vec<AllowanceRow>,
    /// The greatest alert of each that is reached.
    pub reached: Vec<Alert>,
}

/// Who bills: the command line, whose verbs do the same by hand.
pub trait Biller: Send {
    /// Bills what is due at `now`. It gives up early where `is_over` says so; what is done stays.
    ///
    /// # Errors
    /// When nothing could be done, in words.
    fn bill(
        &mut self,
        config: &Config,
        ledger: &mut Ledger,
        now: UnixMillis,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Billed, String>;

    /// Where customers stand with what their tariffs include, by the usage in the ledger.
    ///
    /// # Errors
    /// When it cannot be told, in words.
    fn standings(
        &mut self,
        config: &Config,
        ledger: &mut Ledger,
        now: UnixMillis,
    ) -> Result<Standings, String>;
}

/// Runs until the daemon stops.
pub(super) fn run(mut biller: Box<dyn Biller>, url: &ledger::Url, shared: &Arc<Shared>) {
    let mut ledger = None;
    let (mut next_billing, mut next_standings, mut next_telling) =
        (Instant::now(), Instant::now(), Instant::now());
    let mut seen = u64::MAX;
    let mut next_books = Instant::now();
    while !shared.stopping.load(Relaxed) {
        thread::sleep(PAUSE);
        if !shared.caught_up.load(Relaxed) {
            continue;
        }
        let open = match ledger.as_mut() {
            Some(open) => open,
            None => match Ledger::open_existing(url) {
                Ok(opened) => ledger.insert(opened),
                Err(error) => {
                    warn!(error = diagnostic::with_causes(&error), "The ledger cannot be used for billing.");
                    thread::sleep(Duration::from_secs(1));
                    continue;
                }
            },
        };
        let config = shared.config.load_full();
        if next_billing <= Instant::now() {
            let again = bill(biller.as_mut(), &config, open, shared);
            next_billing = Instant::now() + again;
        }
        let commits = shared.counters.commits.load(Relaxed);
        if next_standings <= Instant::now() && commits != seen && !shared.stopping.load(Relaxed) {
            let begun = Instant::now();
            look(biller.as_mut(), &config, open, shared);
            seen = commits;
            next_standings = Instant::now() + STANDINGS_EVERY.max(begun.elapsed() * STANDINGS_SHARE);
            next_telling = begun;
        }
        if next_books <= Instant::now() && !shared.stopping.load(Relaxed) {
            let begun = Instant::now();
            books::show(open, &shared.counters, UnixMillis(now_ms()));
            next_books = Instant::now() + books::EVERY.max(begun.elapsed() * STANDINGS_SHARE);
        }
        if next_telling <= Instant::now() && !shared.stopping.load(Relaxed) {
            tell(&config, open, shared);
            next_telling = Instant::now() + TELL_AGAIN;
        }
    }
}

/// Bills what is due; the time until the next look. Whose period was billed may have a later one that is due, too.
fn bill(biller: &mut dyn Biller, config: &Config, ledger: &mut Ledger, shared: &Shared) -> Duration {
    let counters = &shared.counters.billing;
    let billed = biller.bill(config, ledger, UnixMillis(now_ms()), &|| shared.stopping.load(Relaxed));
    counters.looked_at.store(now_ms(), Relaxed);
    let (again, problem) = match billed {
        Err(problem) => {
            warn!(%problem, "Billing could not be done; it is tried again.");
            counters.failures.fetch_add(1, Relaxed);
            (BILLING_AGAIN, problem)
        }
        Ok(billed) => {
            counters.due.store((billed.due - billed.done + billed.waiting.len()) as u64, Relaxed);
            counters.drafts.fetch_add(billed.drafts as u64, Relaxed);
            counters.finals.fetch_add(billed.finals as u64, Relaxed);
            counters.failures.fetch_add(billed.problems.len() as u64, Relaxed);
            if billed.drafts + billed.finals > 0 {
                info!(drafts = billed.drafts, finals = billed.finals, "Periods that have ended are billed.");
            }
            for problem in &billed.problems {
                warn!("Not billed, to be tried again: {problem}");
            }
            let first = billed.problems.first().or_else(|| billed.waiting.first());
            let again = if billed.done > 0 { Duration::ZERO } else { BILLING_EVERY };
            (again, first.cloned().unwrap_or_default())
        }
    };
    counters.problem.store(Arc::new(problem));
    again
}

/// Looks where customers stand, shows it, and raises alerts that were not raised before.
fn look(biller: &mut dyn Biller, config: &Config, ledger: &mut Ledger, shared: &Shared) {
    let counters = &shared.counters.billing;
    let standings = match biller.standings(config, ledger, UnixMillis(now_ms())) {
        Ok(standings) => standings,
        Err(problem) => return warn!(%problem, "Where customers stand with their allowances cannot be told."),
    };
    counters.allowances.store(Arc::new(standings.rows));
    match raise(ledger, standings.reached) {
        Ok(raised) => {
            counters.alerts.fetch_add(raised.len() as u64, Relaxed);
            for alert in raised {
                let Alert { customer, charge, level, period, .. } = alert;
                warn!(%customer, %charge, %period, percent = %level, "An allowance is used.");
            }
        }
        Err(error) => warn!(error = diagnostic::with_causes(&error), "Alerts could not be kept."),
    }
}

/// Keeps those of `reached` that are new: neither they nor a greater one of the same allowance were raised before.
fn raise(ledger: &mut Ledger, reached: Vec<Alert>) -> Result<Vec<Alert>, ledger::Error> {
    let mut periods: Vec<&str> = reached.iter().map(|alert| alert.period.as_str()).collect();
    periods.sort_unstable();
    periods.dedup();
    let mut before = Vec::new();
    for period in periods {
        before.extend(ledger.alerts(period)?);
    }
    let level = |alert: &Alert| alert.level.parse::<Decimal>().unwrap_or_default();
    let of = |alert: &Alert| (alert.customer.clone(), alert.period.clone(), alert.part, alert.charge.clone());
    let mut highest = std::collections::HashMap::new();
    for alert in &before {
        let known = highest.entry(of(alert)).or_insert(Decimal::MIN);
        *known = level(alert).max(*known);
    }
    let is_new = |alert: &Alert| highest.get(&of(alert)).is_none_or(|known| *known < level(alert));
    let raised: Vec<Alert> = reached.into_iter().filter(is_new).collect();
    if !raised.is_empty() {
        ledger.raise_alerts(&raised)?;
    }
    Ok(raised)
}

/// Tells alerts to the configured command. Without one, the log has told them.
fn tell(config: &Config, ledger: &mut Ledger, shared: &Shared) {
    let alerts = match ledger.untold_alerts() {
        Ok(alerts) => alerts,
        Err(error) => return warn!(error = diagnostic::with_causes(&error), "Alerts could not be read."),
    };
    let told = |ledger: &mut Ledger, alert: &Alert| match ledger.alert_told(alert, now_ms()) {
        Ok(()) => _ = shared.counters.billing.alerts_told.fetch_add(1, Relaxed),
        Err(error) => warn!(
            error = diagnostic::with_causes(&error),
            "That an alert was told could not be kept; it will be told again."
        ),
    };
    let section = &config.billing;
    let Some((program, arguments)) = section.alert_command.split_first() else {
        return alerts.iter().for_each(|alert| told(ledger, alert));
    };
    let command = Command {
        program,
        arguments,
        timeout: Duration::from_millis(section.alert_timeout_ms),
        at_a_time: section.alert_commands,
    };
    let messages: Vec<&str> = alerts.iter().map(|alert| alert.message.as_str()).collect();
    hook::run(&command, &messages, &|| shared.stopping.load(Relaxed), &mut |at, outcome| match outcome {
        Ok(()) => told(ledger, &alerts[at]),
        Err(problem) => {
            shared.counters.billing.alert_failures.fetch_add(1, Relaxed);
            warn!(%program, %problem, "An alert could not be told; it is tried again.");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(charge: &str, level: &str) -> Alert {
        Alert {
            customer: "campus".into(),
            period: "2026-11".into(),
            part: 0,
            charge: charge.into(),
            level: level.into(),
            at: 7,
            message: "{}".into(),
        }
    }

    #[test]
    fn an_alert_is_raised_once_a_period_and_level_and_never_below_one_that_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = ledger::Url::parse("sqlite:l.sqlite", directory.path()).expect("a URL");
        let raised = |reached: &[(&str, &str)]| {
            // As after a restart: what is remembered is in the ledger.
            let mut ledger = Ledger::open(&url).expect("opens");
            let reached = reached.iter().map(|(charge, level)| alert(charge, level)).collect();
            let raised = raise(&mut ledger, reached).expect("keeps");
            raised.into_iter().map(|alert| format!("{} {}", alert.charge, alert.level)).collect::<Vec<_>>()
        };
        assert_eq!(raised(&[("vol", "80")]), ["vol 80"]);
        assert_eq!(raised(&[("vol", "80"), ("other", "50")]), ["other 50"]);
        assert_eq!(raised(&[("vol", "50")]), [""; 0], "a correction took some of it back");
        assert_eq!(raised(&[("vol", "100"), ("other", "50")]), ["vol 100"], "by number, not by letter");
        assert_eq!(raised(&[("vol", "99.5")]), [""; 0]);
        let mut ledger = Ledger::open(&url).expect("opens");
        let untold = ledger.untold_alerts().expect("reads");
        assert_eq!(untold.len(), 3);
        ledger.alert_told(&untold[1], 9).expect("keeps");
        let left: Vec<_> = ledger.untold_alerts().expect("reads").into_iter().map(|a| a.charge).collect();
        assert_eq!(left.len(), 2);
    }
}
