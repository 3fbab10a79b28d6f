//! What is behind a line: its period rated once more, from what the ledger keeps, and the working of that rating.
//!
//! The tariff versions are those that the document names, and none that came after them; the kinds of links and the
//! tariffs of customers are those of the configuration versions. Where today's configuration does not lead to the line
//! (a customer left, its dates were changed), the stored ones are tried, the newest first. What none of them leads to
//! is told as a difference, with the working as it is now.

use std::borrow::Cow;

use anyhow::Context;

use super::super::{billing_ledger, late, tariff};
use crate::classify::rules::Network;
use crate::flow::Direction;
use crate::invoice::issue::Adjustment;
use crate::invoice::kinds::LinkKinds;
use crate::invoice::plan::covered;
use crate::invoice::run::{Inputs, rated};
use crate::invoice::{Invoice, TariffRef};
use crate::ledger::Ledger;
use crate::ledger::records::books::{digest, push_usage_line};
use crate::money::{Exact, Money};
use crate::period::{Period, Span};
use crate::rate::tariff::{ChargeKind, ChargeRule, Tariff};
use crate::rate::usage::GroupKey;
use crate::rate::volume::{measure, takes};
use crate::rate::working::{How, Working};
use crate::rate::{Charge, Part, rate_period};
use crate::units::UnixMillis;
use crate::usage::{BucketStart, UsageRow};

/// Which usage a line is about.
pub(super) struct Scope {
    /// The tariff of its part, as it is for the customer.
    pub(super) tariff: Tariff,
    /// The charge.
    pub(super) rule: ChargeRule,
    /// The only direction that counts, if only one does.
    pub(super) direction: Option<Direction>,
    /// What the part covers.
    pub(super) span: Span,
    /// Where the whole period ends: of that time are the kinds of links.
    pub(super) end: UnixMillis,
    /// The rows, where it is only about those that came late.
    pub(super) late: Option<Vec<UsageRow>>,
    /// Of what kind links were, and what their interfaces counted.
    pub(super) kinds: LinkKinds,
}

impl Scope {
    /// True where the charge is about usage of this key.
    pub(super) fn takes(&self, key: &GroupKey) -> bool {
        let is_direction = match self.direction {
            Some(only) => key.direction == only,
            None => key.direction != Direction::None,
        };
        is_direction
            && match &self.rule.kind {
                ChargeKind::Volume(volume) => takes(&self.tariff, &self.rule.id, volume, key),
                ChargeKind::Percentile(percentile) => {
                    percentile.has_band(key.band)
                        && percentile.classes.contains(&self.tariff.class_of(key))
                        && !self.tariff.exempts(&self.rule.id, key)
                }
                ChargeKind::Recurring { .. } | ChargeKind::OneOff { .. } => false,
            }
    }
}

/// What is behind a line.
pub(super) struct Behind {
    /// The steps up to the amount.
    pub(super) working: Working,
    /// What they came to.
    pub(super) amount: Money,
    /// The tariff version of the line.
    pub(super) tariff: TariffRef,
    /// The line of its file where the clause begins; 0 where there is none.
    pub(super) clause: usize,
    /// The root of the usage as it is now.
    pub(super) root: String,
    /// The usage; none where the line is about none.
    pub(super) scope: Option<Scope>,
}

/// The usage of now leads to fewer lines.
#[derive(Debug, thiserror::Error)]
#[error("the period has no such line any more")]
pub(super) struct Gone;

/// What a look behind starts from.
pub(super) struct Looking<'a> {
    /// The ledger.
    pub(super) ledger: &'a mut Ledger,
    /// Today's configuration.
    pub(super) network: &'a Network,
    /// The time, for a configuration that no daemon has stored yet.
    pub(super) now: UnixMillis,
}

impl Looking<'_> {
    /// What is behind a line (from 1) of an invoice.
    ///
    /// # Errors
    /// What the ledger says; a period that can no longer be rated.
    pub(super) fn behind(&mut self, invoice: &Invoice, line: usize) -> anyhow::Result<Behind> {
        if let Some(number) = &invoice.issuance.credits {
            let (_, original) = billing_ledger::invoice_show(self.ledger, number)?;
            let mut behind = self.behind(&original, line)?;
            let opposite = Money::zero(behind.amount.currency()).checked_sub(behind.amount)?;
            let factors = vec![Exact::whole(-1), behind.amount.exact()];
            let exact = behind.working.step(format!("{number} taken back"), How::Times(factors), "");
            behind.working.money("amount", exact, opposite);
            behind.amount = opposite;
            return Ok(behind);
        }
        let wanted = invoice.lines[line - 1].amount;
        let mut first = None;
        for network in self.networks()? {
            let behind = self.with(&network, invoice, line);
            match behind {
                Ok(behind) if behind.amount == wanted => return Ok(behind),
                other => first = first.or(Some(other)),
            }
        }
        first.context("there is no configuration")?
    }

    /// Today's configuration, then the stored ones, the newest first.
    fn networks(&mut self) -> anyhow::Result<Vec<Network>> {
        let mut networks = vec![self.network.clone()];
        for version in self.ledger.config_versions()?.into_iter().rev() {
            let stored: Network = serde_json::from_str(&version.text)
                .with_context(|| format!("configuration version {} is not understood", version.sha256))?;
            if !networks.contains(&stored) {
                networks.push(stored);
            }
        }
        Ok(networks)
    }

    fn with(&mut self, network: &Network, invoice: &Invoice, line: usize) -> anyhow::Result<Behind> {
        let mut tariffs = tariff::understand(&self.ledger.tariff_versions(None)?)?;
        let names = billing_ledger::names(self.ledger)?;
        let adjustment = invoice.issuance.adjustments.iter().find(|adjustment| adjustment.line == line);
        let mut kinds = billing_ledger::link_kinds(self.ledger, self.network, self.now)?;
        let rated = adjustment.map_or(invoice.period, |adjustment| adjustment.period);
        billing_ledger::count_links(self.ledger, &mut kinds, &tariffs, rated)?;
        match adjustment {
            Some(adjustment) => keep_up_to(&mut tariffs, core::iter::once(&adjustment.tariff)),
            None => {
                let parts = invoice.parts.iter().map(|part| &part.tariff);
                keep_up_to(&mut tariffs, parts.chain([&invoice.tariff]));
            }
        }
        let inputs = Inputs {
            network,
            kinds: &kinds,
            tariffs: &tariffs,
            names: &names,
            seller: None,
            period: invoice.period,
            customer: Some(&invoice.customer.name),
            late: &[],
        };
        let mut behind = match adjustment {
            Some(adjustment) => self.late(&inputs, invoice, adjustment)?,
            None => self.in_time(&inputs, line)?,
        };
        if let Some(scope) = &mut behind.scope {
            scope.kinds = kinds;
        }
        Ok(behind)
    }

    /// A line of the period itself.
    fn in_time(&mut self, inputs: &Inputs<'_>, line: usize) -> anyhow::Result<Behind> {
        let span_of = |name: &str, period| covered(inputs.kinds, inputs.tariffs, name, period).0;
        let before = late::before(self.ledger, inputs, span_of)?;
        self.rated(inputs, before, |parts, root| {
            let charge = rate_period(parts)?.charges.into_iter().nth(line - 1);
            Ok(charge.map(|charge| of_charge(parts, root, charge)))
        })?
        .ok_or_else(|| Gone.into())
    }

    /// A line for late usage: what the charge is with it, less what it is without.
    fn late(
        &mut self,
        inputs: &Inputs<'_>,
        invoice: &Invoice,
        adjustment: &Adjustment,
    ) -> anyhow::Result<Behind> {
        let line = &invoice.lines[adjustment.line - 1];
        let period = adjustment.period;
        let inputs = Inputs { period, ..*inputs };
        let rows = self.late_rows(&inputs, invoice, period)?;
        let mut lines = String::new();
        rows.late.iter().for_each(|row| push_usage_line(&mut lines, row));
        let of_charge = |parts: &[Part<'_>], root: &str| {
            let charges = rate_period(parts)?.charges;
            let own = charges.into_iter().filter(|charge| charge.charge == line.charge);
            Ok(own.map(|charge| of_charge(parts, root, charge)).collect::<Vec<_>>())
        };
        let both: Vec<UsageRow> = rows.before.iter().chain(&rows.late).copied().collect();
        let without = self.rated(&inputs, rows.before, of_charge)?;
        let with = self.rated(&inputs, both, of_charge)?;
        let mut working = Working::default();
        let mut sums = Vec::new();
        for (when, lines) in [("without it", &without), ("with it", &with)] {
            for one in lines {
                for step in one.working.steps() {
                    working.step(
                        Cow::from(format!("{when}, {}", step.what)),
                        step.how.clone(),
                        step.unit.clone(),
                    );
                }
            }
            let amounts = lines.iter().map(|one| one.amount.exact()).collect();
            sums.push(working.step(when, How::Sum(amounts), invoice.currency.code()));
        }
        let added = How::Minus(sums[1].clone(), sums[0].clone());
        let exact = working.step("what it adds", added, invoice.currency.code());
        let amount = Money::round(&exact, invoice.currency)?;
        working.money("amount", exact, amount);
        let root = digest(&lines);
        // Of a split period the adjustment names the last tariff, and the charge may be of another one.
        let Some(first) = with.into_iter().next() else {
            let tariff = adjustment.tariff.clone();
            return Ok(Behind { working, amount, tariff, clause: 0, root, scope: None });
        };
        let scope = first.scope.map(|scope| Scope { late: Some(rows.late), direction: None, ..scope });
        Ok(Behind { working, amount, tariff: first.tariff, clause: first.clause, root, scope })
    }

    /// The rows that came late for a period while this invoice's was open, and what had come before.
    fn late_rows(&mut self, inputs: &Inputs<'_>, invoice: &Invoice, period: Period) -> anyhow::Result<Late> {
        let name = &invoice.customer.name;
        let bounds = covered(inputs.kinds, inputs.tariffs, name, period).0.buckets();
        let (from, to) = invoice.span.buckets();
        let number = inputs.names.customer(name);
        let mut late = Late::default();
        let all = (BucketStart(i64::MIN), BucketStart(i64::MAX));
        self.ledger.for_each_late_usage(all.0, all.1, &mut |carried, row| {
            let is_of = (bounds.0..bounds.1).contains(&row.key.bucket);
            if Some(row.key.customer) != number {
                return;
            }
            if is_of && (from..to).contains(&carried) {
                late.late.push(row);
            } else if is_of && carried < from || carried < bounds.1 && row.key.bucket < bounds.0 {
                late.before.push(row);
            }
        })?;
        Ok(late)
    }

    fn rated<T: Default>(
        &mut self,
        inputs: &Inputs<'_>,
        more: Vec<UsageRow>,
        each: impl FnOnce(&[Part<'_>], &str) -> Result<T, crate::rate::Error>,
    ) -> anyhow::Result<T> {
        let inputs = Inputs { late: &more, ..*inputs };
        let made = rated(&inputs, |filter, row| self.ledger.for_each_usage(filter, row), each)?;
        Ok(made?.unwrap_or_default())
    }
}

/// Late rows.
#[derive(Default)]
struct Late {
    late: Vec<UsageRow>,
    before: Vec<UsageRow>,
}

/// Takes away what became active after the versions that a document names.
fn keep_up_to<'a>(tariffs: &mut Vec<Tariff>, named: impl Iterator<Item = &'a TariffRef>) {
    let named: Vec<&TariffRef> = named.collect();
    tariffs.retain(|tariff| {
        let newest = named.iter().filter(|one| one.id == tariff.id).map(|one| one.version).max();
        newest.is_none_or(|newest| tariff.version <= newest)
    });
}

/// What is behind a charge of a part.
fn of_charge(parts: &[Part<'_>], root: &str, charge: Charge) -> Behind {
    let part = parts.iter().find(|part| part.term.number == charge.part);
    let tariff = part.map_or_else(
        || TariffRef { id: String::new(), version: 0, sha256: String::new() },
        |part| TariffRef {
            id: part.tariff.id.clone(),
            version: part.tariff.version,
            sha256: part.tariff.sha256.clone(),
        },
    );
    let end = parts.last().map_or(UnixMillis(0), |part| part.term.span.to);
    let scope = part.and_then(|part| scope(part, &charge.charge, end));
    Behind {
        working: charge.steps(),
        amount: charge.amount,
        tariff,
        clause: charge.clause,
        root: root.to_owned(),
        scope,
    }
}

/// The usage that a charge is about; `None` for what is charged regardless of it.
fn scope(part: &Part<'_>, id: &str, end: UnixMillis) -> Option<Scope> {
    let rule = part.tariff.charges.iter().find(|rule| rule.id == id)?;
    let direction = match &rule.kind {
        ChargeKind::Volume(volume) => {
            measure(part.tariff, rule, volume, part.usage).greater.map(|(direction, _)| direction)
        }
        ChargeKind::Percentile(percentile) => percentile.combine.only(),
        ChargeKind::Recurring { .. } | ChargeKind::OneOff { .. } => return None,
    };
    let (tariff, rule) = (part.tariff.clone(), rule.clone());
    let (span, kinds) = (part.term.span, LinkKinds::default());
    Some(Scope { tariff, rule, direction, span, end, late: None, kinds })
}
