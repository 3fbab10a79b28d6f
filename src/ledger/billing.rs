//! What the daemon has done by itself: whose periods it has billed, and which alerts it has raised. It is remembered so that
//! it is done once, whenever the daemon was stopped.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::upsert::excluded;

use super::Ledger;
use super::connection::{with_connection, write_transaction};
use super::error::Error;
use super::records::{Alert, Stage};
use super::registers::stored;
use super::schema;

impl Ledger {
    /// How far the daemon has come with each customer and period.
    ///
    /// # Errors
    /// What the database says.
    pub fn billing_done(&mut self) -> Result<BTreeMap<(String, String), Stage>, Error> {
        use schema::billing_done::dsl as d;
        let rows: Vec<(String, String, String)> = self.run("read what was billed", |db| {
            Ok(with_connection!(db, c => d::billing_done
                .select((d::customer, d::period, d::stage))
                .load(c))?)
        })?;
        rows.into_iter()
            .map(|(customer, period, stage)| {
                let known = [Stage::Draft, Stage::Final].into_iter().find(|known| known.as_str() == stage);
                let stage = known.ok_or_else(|| Error::Damaged(format!("a stage is {stage}")))?;
                Ok(((customer, period), stage))
            })
            .collect()
    }

    /// Keeps how far the daemon has come with customers' periods, in one transaction.
    ///
    /// # Errors
    /// What the database says.
    pub fn put_billing_done(
        &mut self,
        period: &str,
        customers: &[&str],
        stage: Stage,
        at: i64,
    ) -> Result<(), Error> {
        use schema::billing_done::dsl as d;
        self.run("keep what was billed", |db| {
            write_transaction!(db, c => {
                for customer in customers {
                    diesel::insert_into(d::billing_done)
                        .values((
                            d::customer.eq(customer),
                            d::period.eq(period),
                            d::stage.eq(stage.as_str()),
                            d::at.eq(at),
                        ))
                        .on_conflict((d::customer, d::period))
                        .do_update()
                        .set((d::stage.eq(excluded(d::stage)), d::at.eq(excluded(d::at))))
                        .execute(c)?;
                }
                Ok(())
            })
        })
    }

    /// The alerts of a period that were raised before.
    ///
    /// # Errors
    /// What the database says.
    pub fn alerts(&mut self, period: &str) -> Result<Vec<Alert>, Error> {
        use schema::alert::dsl as a;
        let rows: Vec<AlertRow> = self.run("read alerts", |db| {
            Ok(with_connection!(db, c => a::alert
                .filter(a::period.eq(period))
                .order((a::at, a::customer, a::part, a::charge, a::level))
                .load(c))?)
        })?;
        rows.into_iter().map(AlertRow::into_alert).collect()
    }

    /// The alerts that are still to be told, oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn untold_alerts(&mut self) -> Result<Vec<Alert>, Error> {
        use schema::alert::dsl as a;
        let rows: Vec<AlertRow> = self.run("read alerts", |db| {
            Ok(with_connection!(db, c => a::alert
                .filter(a::told.is_null())
                .order((a::at, a::customer, a::period, a::part, a::charge, a::level))
                .load(c))?)
        })?;
        rows.into_iter().map(AlertRow::into_alert).collect()
    }

    /// Keeps alerts that are raised; those that were raised before stay as they are.
    ///
    /// # Errors
    /// What the database says.
    pub fn raise_alerts(&mut self, alerts: &[Alert]) -> Result<(), Error> {
        use schema::alert::dsl as a;
        self.run("keep an alert", |db| {
            write_transaction!(db, c => {
                for alert in alerts {
                    diesel::insert_into(a::alert)
                        .values((
                            a::customer.eq(&alert.customer),
                            a::period.eq(&alert.period),
                            a::part.eq(i64::from(alert.part)),
                            a::charge.eq(&alert.charge),
                            a::level.eq(&alert.level),
                            a::at.eq(alert.at),
                            a::message.eq(&alert.message),
                        ))
                        .on_conflict_do_nothing()
                        .execute(c)?;
                }
                Ok(())
            })
        })
    }

    /// Keeps that an alert was told.
    ///
    /// # Errors
    /// What the database says.
    pub fn alert_told(&mut self, alert: &Alert, at: i64) -> Result<(), Error> {
        use schema::alert::dsl as a;
        self.run("keep that an alert was told", |db| {
            write_transaction!(db, c => {
                let own = a::alert
                    .filter(a::customer.eq(&alert.customer))
                    .filter(a::period.eq(&alert.period))
                    .filter(a::part.eq(i64::from(alert.part)))
                    .filter(a::charge.eq(&alert.charge))
                    .filter(a::level.eq(&alert.level));
                diesel::update(own).set(a::told.eq(Some(at))).execute(c)?;
                Ok(())
            })
        })
    }
}

#[derive(Queryable)]
struct AlertRow {
    customer: String,
    period: String,
    part: i64,
    charge: String,
    level: String,
    at: i64,
    message: String,
    _told: Option<i64>,
}

impl AlertRow {
    fn into_alert(self) -> Result<Alert, Error> {
        let Self { customer, period, part, charge, level, at, message, _told } = self;
        Ok(Alert { customer, period, part: stored(part, "a part of a period")?, charge, level, at, message })
    }
}
