//! What `fluxoscope run` bills by itself: the same as `invoice run`, `period close` and `invoice finalize` do by hand, for the
//! customers whose periods have ended, and where customers stand with their allowances.
//!
//! A customer is due once its period and the days of grace of its tariff are over. What was done is kept in the ledger, with
//! the drafts themselves, some hundred customers to a transaction: who stops it loses nothing, and the next look goes on. A
//! customer that cannot be billed keeps no other from being so, and is tried again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::json;

use super::billing_ledger::{self, Wanted};
use super::period::{self, Closing, Spans};
use super::{billing, issue};
use crate::classify::rules::Network;
use crate::config::{AtPeriodEnd, Config};
use crate::counters::AllowanceRow;
use crate::daemon::{Billed, Biller, Standings};
use crate::invoice::plan::covered;
use crate::invoice::run::{Inputs, Reason, standings};
use crate::invoice::{Invoice, stored};
use crate::ledger::Ledger;
use crate::ledger::records::books::Actor;
use crate::ledger::records::{Alert, Stage, StoredInvoice};
use crate::period::Period;
use crate::rate::tariff::{Tariff, may_close_from};
use crate::units::UnixMillis;

/// Customers that are kept in one transaction.
const BATCH: usize = 100;
/// Up to so many customers are read one by one; of more, all usage is read in one pass.
const FEW: usize = 32;
/// A customer that could not be billed is tried again after so many milliseconds.
const AGAIN_MS: i64 = 3_600_000;
/// Who does it, as the books say.
const BY: &str = "fluxoscope run";

/// What has been found out since the start.
#[derive(Debug, Default)]
pub struct Scheduled {
    /// How far each customer's periods have come; read once, since nobody else keeps it.
    done: Option<BTreeMap<(String, String), Stage>>,
    /// When those that failed are tried again, and why they failed.
    again: BTreeMap<(String, Period), (i64, String)>,
}

/// What is due: customers by period.
type Due = BTreeMap<Period, BTreeSet<String>>;

impl Biller for Scheduled {
    fn bill(
        &mut self,
        config: &Config,
        ledger: &mut Ledger,
        now: UnixMillis,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Billed, String> {
        self.bill_due(config, ledger, now, is_over).map_err(|error| format!("{error:#}"))
    }

    fn standings(
        &mut self,
        config: &Config,
        ledger: &mut Ledger,
        now: UnixMillis,
    ) -> Result<Standings, String> {
        allowances(config, ledger, now).map_err(|error| format!("{error:#}"))
    }
}

impl Scheduled {
    fn bill_due(
        &mut self,
        config: &Config,
        ledger: &mut Ledger,
        now: UnixMillis,
        is_over: &dyn Fn() -> bool,
    ) -> anyhow::Result<Billed> {
        let mut billed = Billed::default();
        let Some(from) = config.billing.from else { return Ok(billed) };
        let wanted = match config.billing.at_period_end {
            AtPeriodEnd::Draft => Stage::Draft,
            AtPeriodEnd::Final => Stage::Final,
        };
        if self.done.is_none() {
            self.done = Some(ledger.billing_done()?);
        }
        let spans = Spans::load_at(ledger, config, now)?;
        let (due, waiting) = self.due(config, &spans, from, wanted, now);
        billed.waiting = waiting;
        for (period, names) in due {
            if is_over() {
                break;
            }
            billed.due += names.len();
            let work = Work { config, period, names: &names, wanted, now };
            let outcome = work.run(ledger, is_over)?;
            billed.drafts += outcome.drafts;
            billed.finals += outcome.finals;
            billed.done += outcome.done.len();
            let done = self.done.get_or_insert_default();
            for name in outcome.done {
                done.insert((name, period.to_string()), wanted);
            }
            for (name, problem) in outcome.failed {
                billed.problems.push(problem.clone());
                self.again.insert((name, period), (now.0 + AGAIN_MS, problem));
            }
        }
        Ok(billed)
    }

    /// Who is due. Of a customer one period at a time: the later one may need what is done with the earlier. It begins at
    /// the first period each time, since configurations and tariffs that came into force meanwhile may say otherwise.
    /// Those that failed a short while ago are apart, with the reasons.
    fn due(
        &self,
        config: &Config,
        spans: &Spans,
        from: Period,
        wanted: Stage,
        now: UnixMillis,
    ) -> (Due, Vec<String>) {
        let (mut due, mut waiting) = (Due::new(), Vec::new());
        let done = |key: &(String, String)| self.done.as_ref().and_then(|done| done.get(key).copied());
        for rule in &config.network.customers {
            let mut next = from;
            loop {
                let (span, tariff) = spans.of(&rule.name, next);
                if may_close_from(tariff, &span) > now {
                    break;
                }
                let key = (rule.name.clone(), next.to_string());
                if tariff.is_some() && done(&key).is_none_or(|stage| stage < wanted) {
                    match self.again.get(&(rule.name.clone(), next)) {
                        Some((again, problem)) if *again > now.0 => waiting.push(problem.clone()),
                        _ => _ = due.entry(next).or_default().insert(rule.name.clone()),
                    }
                    break;
                }
                next = next.following();
            }
        }
        (due, waiting)
    }
}

/// The customers of one period that are due.
struct Work<'a> {
    config: &'a Config,
    period: Period,
    names: &'a BTreeSet<String>,
    wanted: Stage,
    now: UnixMillis,
}

/// What became of them.
#[derive(Default)]
struct Outcome {
    drafts: usize,
    finals: usize,
    done: Vec<String>,
    /// By customer, in words.
    failed: Vec<(String, String)>,
}

impl Work<'_> {
    fn run(&self, ledger: &mut Ledger, is_over: &dyn Fn() -> bool) -> anyhow::Result<Outcome> {
        if self.wanted == Stage::Final {
            // First, so that the drafts are of what does not change any more.
            self.close(ledger)?;
        }
        let mut outcome = Outcome::default();
        let made = self.make(ledger, &mut outcome)?;
        let failed: BTreeSet<&str> = outcome.failed.iter().map(|(name, _)| name.as_str()).collect();
        let names: Vec<&str> =
            self.names.iter().map(String::as_str).filter(|name| !failed.contains(name)).collect();
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        for batch in names.chunks(BATCH) {
            if is_over() {
                break;
            }
            let drafts: Vec<StoredInvoice> =
                batch.iter().filter_map(|name| made.get(*name)).map(stored).collect();
            outcome.drafts += ledger.put_drafts(&self.period.to_string(), batch, &drafts, self.now.0)?;
            if self.wanted == Stage::Final {
                let opened = batch.iter().filter_map(|name| made.get(*name));
                let drafts: Vec<(StoredInvoice, &Invoice)> = drafts.iter().cloned().zip(opened).collect();
                match issue::make_final(ledger, self.config, &drafts, BY, self.now.0) {
                    Ok((issued, problems)) => {
                        outcome.finals += issued;
                        refused.extend(problems);
                    }
                    Err(problem) => {
                        refused.extend(batch.iter().map(|name| ((*name).to_owned(), problem.clone())));
                    }
                }
                let good: Vec<&str> = batch
                    .iter()
                    .copied()
                    .filter(|name| !refused.iter().any(|(refused, _)| refused == name))
                    .collect();
                ledger.put_billing_done(&self.period.to_string(), &good, Stage::Final, self.now.0)?;
                done.extend(good.into_iter().map(str::to_owned));
            } else {
                done.extend(batch.iter().map(|name| (*name).to_owned()));
            }
        }
        outcome.done = done;
        outcome.failed.extend(refused);
        Ok(outcome)
    }

    /// The drafts, by customer: none where there is nothing to bill, or what keeps it from being billed is in `outcome`.
    fn make(&self, ledger: &mut Ledger, outcome: &mut Outcome) -> anyhow::Result<BTreeMap<String, Invoice>> {
        let mut made = BTreeMap::new();
        let runs: Vec<Option<&str>> = if self.names.len() <= FEW {
            self.names.iter().map(|name| Some(name.as_str())).collect()
        } else {
            vec![None]
        };
        for customer in runs {
            let wanted = Wanted {
                network: &self.config.network,
                seller: billing::seller(self.config),
                period: self.period,
                customer,
                contacts: billing::contacts(self.config),
                now: self.now,
                reconcile: Some((&self.config.reconcile, self.config.meter.packet_octets_max)),
            };
            let run = billing_ledger::invoice_make(ledger, &wanted)?;
            for problem in run.outcome.problems {
                if self.names.contains(&problem.customer)
                    && !matches!(problem.reason, Reason::NoTariff { .. })
                {
                    let said = format!("{}: {problem}", self.period);
                    outcome.failed.push((problem.customer, said));
                }
            }
            for what in run.uncharged {
                tracing::warn!(period = %self.period, "{what}");
            }
            for said in run.failed {
                let of = |name: &&String| said.starts_with(&format!("customer `{name}`: "));
                if let Some(name) = self.names.iter().find(of) {
                    outcome.failed.push((name.clone(), format!("{}: {said}", self.period)));
                }
            }
            let own = run.outcome.invoices.into_iter().filter(|one| self.names.contains(&one.customer.name));
            made.extend(own.map(|invoice| (invoice.customer.name.clone(), invoice)));
        }
        Ok(made)
    }

    /// As `period close` does for the whole period: everyone for whom it may be closed by now.
    fn close(&self, ledger: &mut Ledger) -> anyhow::Result<()> {
        let closing = Closing { period: self.period, only: None, no_grace: false };
        let actor = Actor { by: BY, at: self.now.0 };
        period::close_due(ledger, self.config, &closing, actor).map_err(period::in_words)?;
        Ok(())
    }
}

/// Where all customers stand whose tariffs include something, in their periods of now.
pub(super) fn allowances(config: &Config, ledger: &mut Ledger, now: UnixMillis) -> anyhow::Result<Standings> {
    let mut found = Standings::default();
    let active = super::tariff::understand(&ledger.tariff_versions(None)?)?;
    if !active.iter().any(Tariff::has_allowance) {
        return Ok(found);
    }
    let names = billing_ledger::names(ledger)?;
    let ids: HashMap<&str, u32> = names.customers.iter().map(|(&id, name)| (name.as_str(), id)).collect();
    let kinds = billing_ledger::link_kinds(ledger, &config.network, now)?;
    let mut groups = Due::new();
    for rule in &config.network.customers {
        for period in periods_near(now) {
            let (span, tariff) = covered(&kinds, &active, &rule.name, period);
            let is_now = span.from <= now && now < span.to;
            if is_now && tariff.is_some_and(|tariff| tariff.for_customer(&rule.name).has_allowance()) {
                groups.entry(period).or_default().insert(rule.name.clone());
                break;
            }
        }
    }
    for (period, customers) in groups {
        let mut rules = config.network.customers.clone();
        rules.retain(|rule| customers.contains(&rule.name));
        let network = Network { customers: rules, ..config.network.clone() };
        let runs: Vec<Option<&str>> = if customers.len() <= FEW {
            customers.iter().map(|name| Some(name.as_str())).collect()
        } else {
            vec![None]
        };
        for customer in runs {
            let inputs = Inputs {
                network: &network,
                kinds: &kinds,
                tariffs: &active,
                names: &names,
                seller: None,
                period,
                customer,
                late: &[],
            };
            for (name, one) in standings(&inputs, now, |filter, each| ledger.for_each_usage(filter, each))? {
                if !customers.contains(&name) {
                    continue;
                }
                let level = one.alert.map(|level| level.normalize().to_string());
                let Some(used_percent) = one.percent() else { continue };
                let projected_percent = one.projected_percent();
                if let Some(level) = &level {
                    let message = json!({
                        "customer": name, "period": period.to_string(), "charge": one.charge, "percent": level,
                        "unit": one.unit, "included": one.included.to_decimal_string(3),
                        "used": one.used.to_decimal_string(3), "used_percent": used_percent,
                        "projected": one.projected.as_ref().map(|projected| projected.to_decimal_string(3)),
                        "at": crate::period::rfc3339(now),
                    });
                    found.reached.push(Alert {
                        customer: name.clone(),
                        period: period.to_string(),
                        part: u32::try_from(one.part).unwrap_or(u32::MAX),
                        charge: one.charge.clone(),
                        level: level.clone(),
                        at: now.0,
                        message: message.to_string(),
                    });
                }
                found.rows.push(AllowanceRow {
                    customer_id: ids.get(name.as_str()).copied().unwrap_or(0),
                    customer: name,
                    charge: one.charge,
                    period: period.to_string(),
                    used_percent,
                    projected_percent,
                    alert: level.unwrap_or_default(),
                });
            }
        }
    }
    found.rows.sort_by(|a, b| (&a.customer, &a.charge).cmp(&(&b.customer, &b.charge)));
    Ok(found)
}

/// The periods that may have an instant in them: those of the months around it.
fn periods_near(now: UnixMillis) -> Vec<Period> {
    let Ok(at) = jiff::Timestamp::from_second(now.seconds()) else { return Vec::new() };
    let date = jiff::tz::Offset::UTC.to_datetime(at).date();
    let Some(this) = Period::new(date.year(), date.month()) else { return Vec::new() };
    [this.preceding(), Some(this), Some(this.following())].into_iter().flatten().collect()
}
