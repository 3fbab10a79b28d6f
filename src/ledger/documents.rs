//! What is kept as it was: configuration versions, tariff versions, invoices.

use std::collections::HashSet;

use diesel::prelude::*;
use diesel::upsert::excluded;

use super::Ledger;
use super::connection::{with_connection, write_transaction};
use super::error::Error;
use super::records::{Asset, ConfigBeginning, ConfigVersion, Loss, Stage, StoredInvoice, TariffVersion};
use super::schema;
use super::witnesses::{Item, witness};

/// The state of an invoice that can still be replaced.
const DRAFT: &str = "draft";

/// The customers that have a final invoice of the period. A draft of theirs could never become final.
macro_rules! invoiced {
    ($connection:expr, $period:expr) => {{
        use schema::{invoice, issue};
        let customers: Vec<String> = invoice::table
            .filter(invoice::period.eq($period))
            .filter(invoice::state.eq("final"))
            .filter(
                invoice::number.eq_any(issue::table.filter(issue::kind.eq("invoice")).select(issue::number)),
            )
            .select(invoice::customer)
            .load($connection)?;
        customers.into_iter().collect::<HashSet<String>>()
    }};
}

impl Ledger {
    /// Keeps a configuration version; false where the newest one is the same already.
    ///
    /// # Errors
    /// [`Error::ConfigOrder`] where it would begin before the newest one: the past is not configured again.
    pub fn put_config_version(&mut self, version: &ConfigVersion) -> Result<bool, Error> {
        use schema::config_version::dsl as v;
        self.run("keep a configuration version", |db| {
            write_transaction!(db, c => {
                let all: Vec<(i64, String, i64)> =
                    v::config_version.select((v::number, v::sha256, v::valid_from)).load(c)?;
                let number = match all.into_iter().max() {
                    Some((_, sha256, _)) if sha256 == version.sha256 => return Ok(false),
                    Some((_, _, newest)) if version.valid_from < newest => {
                        return Err(Error::ConfigOrder { valid_from: version.valid_from, newest });
                    }
                    Some((number, ..)) => number + 1,
                    None => 1,
                };
                diesel::insert_into(v::config_version)
                    .values((
                        v::number.eq(number),
                        v::sha256.eq(&version.sha256),
                        v::text.eq(&version.text),
                        v::valid_from.eq(version.valid_from),
                    ))
                    .execute(c)?;
                witness!(c, &[Item::configuration(number, &version.sha256, version.valid_from)]);
                Ok(true)
            })
        })
    }

    /// All configuration versions, oldest first. Their texts may be large: [`Self::for_each_config_version`] has one at a
    /// time.
    ///
    /// # Errors
    /// What the database says.
    pub fn config_versions(&mut self) -> Result<Vec<ConfigVersion>, Error> {
        let mut versions = Vec::new();
        self.for_each_config_version(&mut |version| versions.push(version))?;
        Ok(versions)
    }

    /// Shows `take` all configuration versions, oldest first, one at a time.
    ///
    /// # Errors
    /// What the database says.
    pub fn for_each_config_version(&mut self, take: &mut dyn FnMut(ConfigVersion)) -> Result<(), Error> {
        use schema::config_version::dsl as v;
        for (number, sha256, valid_from) in self.numbered_beginnings()? {
            let text: Option<String> = self.run("read a configuration version", |db| {
                Ok(with_connection!(db, c => v::config_version
                    .filter(v::number.eq(number))
                    .select(v::text)
                    .first(c)
                    .optional())?)
            })?;
            if let Some(text) = text {
                take(ConfigVersion { sha256, text, valid_from });
            }
        }
        Ok(())
    }

    /// Number, hash and beginning of the configuration versions, oldest first. In no order of the database's: so it takes them
    /// from an index that is without the texts.
    fn numbered_beginnings(&mut self) -> Result<Vec<(i64, String, i64)>, Error> {
        use schema::config_version::dsl as v;
        let mut all: Vec<(i64, String, i64)> = self.run("read configuration versions", |db| {
            Ok(with_connection!(db, c => v::config_version
                .select((v::number, v::sha256, v::valid_from))
                .load(c))?)
        })?;
        all.sort_unstable();
        Ok(all)
    }

    /// All configuration versions without their texts, oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn config_beginnings(&mut self) -> Result<Vec<ConfigBeginning>, Error> {
        let rows = self.numbered_beginnings()?.into_iter();
        Ok(rows.map(|(_, sha256, valid_from)| ConfigBeginning { sha256, valid_from }).collect())
    }

    /// The text of a configuration version, by its hash.
    ///
    /// # Errors
    /// What the database says.
    pub fn config_text(&mut self, sha256: &str) -> Result<Option<String>, Error> {
        use schema::config_version::dsl as v;
        self.run("read a configuration version", |db| {
            Ok(with_connection!(db, c => v::config_version
                .filter(v::sha256.eq(sha256))
                .select(v::text)
                .first(c)
                .optional())?)
        })
    }

    /// Keeps files that documents name. One that is there already stays.
    ///
    /// # Errors
    /// What the database says.
    pub fn put_assets(&mut self, assets: &[Asset]) -> Result<(), Error> {
        use schema::asset::dsl as a;
        if assets.is_empty() {
            return Ok(());
        }
        self.run("keep the files of documents", |db| {
            write_transaction!(db, c => {
                for asset in assets {
                    let kept: Option<String> =
                        a::asset.find(&asset.sha256).select(a::sha256).first(c).optional()?;
                    if kept.is_none() {
                        diesel::insert_into(a::asset)
                            .values((
                                a::sha256.eq(&asset.sha256),
                                a::media.eq(&asset.media),
                                a::content.eq(&asset.content),
                            ))
                            .execute(c)?;
                    }
                }
                Ok(())
            })
        })
    }

    /// What came and what was lost of each exporter in the days from `from` up to `to` (days since the epoch, UTC), by name.
    /// What late datagrams took back of an earlier loss counts with their own day.
    ///
    /// # Errors
    /// What the database says.
    pub fn losses(&mut self, from: i64, to: i64) -> Result<Vec<Loss>, Error> {
        use schema::exporter_loss::dsl as l;
        let rows: Vec<(String, i64, i64, i64)> = self.run("read what was lost", |db| {
            Ok(with_connection!(db, c => l::exporter_loss
                .filter(l::day.ge(from))
                .filter(l::day.lt(to))
                .order((l::exporter, l::day))
                .load(c))?)
        })?;
        let mut losses: Vec<Loss> = Vec::new();
        for (exporter, day, records, lost) in rows {
            if losses.last().is_none_or(|last| last.exporter != exporter) {
                losses.push(Loss { exporter, day, records: 0, lost: 0 });
            }
            if let Some(last) = losses.last_mut() {
                last.records = last.records.saturating_add_signed(records);
                last.lost = last.lost.saturating_add(lost);
            }
        }
        Ok(losses)
    }

    /// All files that documents name, by hash.
    ///
    /// # Errors
    /// What the database says.
    pub fn assets(&mut self) -> Result<Vec<Asset>, Error> {
        use schema::asset::dsl as a;
        let rows: Vec<(String, String, Vec<u8>)> = self.run("read the files of documents", |db| {
            Ok(with_connection!(db, c => a::asset.order(a::sha256).load(c))?)
        })?;
        Ok(rows.into_iter().map(|(sha256, media, content)| Asset { sha256, media, content }).collect())
    }

    /// Keeps a tariff version. One that is there already stays as it is, with its time of activation.
    ///
    /// # Errors
    /// [`Error::TariffChanged`] where the same version is there with other contents.
    pub fn put_tariff_version(&mut self, version: &TariffVersion) -> Result<(), Error> {
        use schema::tariff_version::dsl as t;
        self.run("keep a tariff version", |db| {
            write_transaction!(db, c => {
                let kept: Option<String> = t::tariff_version
                    .filter(t::id.eq(&version.id))
                    .filter(t::version.eq(version.version))
                    .select(t::sha256)
                    .first(c)
                    .optional()?;
                match kept {
                    Some(sha256) if sha256 == version.sha256 => Ok(()),
                    Some(_) => {
                        Err(Error::TariffChanged { id: version.id.clone(), version: version.version })
                    }
                    None => {
                        diesel::insert_into(t::tariff_version)
                            .values((
                                t::id.eq(&version.id),
                                t::version.eq(version.version),
                                t::toml.eq(&version.toml),
                                t::sha256.eq(&version.sha256),
                                t::effective.eq(&version.effective),
                                t::activated_at.eq(version.activated_at),
                                t::activated_by.eq(&version.activated_by),
                            ))
                            .execute(c)?;
                        witness!(c, &[Item::tariff(
                            (&version.id, version.version),
                            [&version.sha256, &version.effective],
                            (version.activated_at, &version.activated_by),
                        )]);
                        Ok(())
                    }
                }
            })
        })
    }

    /// The versions of one tariff, or of all, by id and version.
    ///
    /// # Errors
    /// What the database says.
    pub fn tariff_versions(&mut self, id: Option<&str>) -> Result<Vec<TariffVersion>, Error> {
        use schema::tariff_version::dsl as t;
        let rows: Vec<TariffRow> = self.run("read tariff versions", |db| {
            Ok(with_connection!(db, c => {
                let mut query = t::tariff_version.order((t::id, t::version)).into_boxed();
                if let Some(id) = id {
                    query = query.filter(t::id.eq(id));
                }
                query.load(c)
            })?)
        })?;
        Ok(rows.into_iter().map(TariffRow::into_version).collect())
    }

    /// Keeps an invoice. It replaces a draft of its number.
    ///
    /// # Errors
    /// [`Error::InvoiceFixed`] where the invoice of this number is no draft.
    pub fn put_invoice(&mut self, invoice: &StoredInvoice) -> Result<(), Error> {
        use schema::invoice::dsl as i;
        self.run("keep an invoice", |db| {
            write_transaction!(db, c => {
                let kept: Option<String> = i::invoice
                    .filter(i::number.eq(&invoice.number))
                    .select(i::state)
                    .first(c)
                    .optional()?;
                match kept {
                    Some(state) if state != DRAFT => {
                        return Err(Error::InvoiceFixed { number: invoice.number.clone(), state });
                    }
                    Some(_) => {
                        diesel::delete(i::invoice.filter(i::number.eq(&invoice.number))).execute(c)?;
                    }
                    None => {}
                }
                diesel::insert_into(i::invoice).values(NewInvoice::of(invoice)).execute(c)?;
                Ok(())
            })
        })
    }

    /// Puts `invoices` in the place of all drafts of a period and a customer (of all customers, where left out), in
    /// one transaction: drafts that were not made again are gone. Invoices that are no drafts stay, and who has a final
    /// one, perhaps since a moment ago, gets no draft.
    ///
    /// # Errors
    /// [`Error::InvoiceFixed`] where the invoice of one of the numbers is no draft; nothing has changed then.
    pub fn replace_drafts(
        &mut self,
        period: &str,
        customer: Option<&str>,
        invoices: &[StoredInvoice],
    ) -> Result<(), Error> {
        use schema::invoice::dsl as i;
        self.run("replace drafts", |db| {
            write_transaction!(db, c => {
                let mut stale = diesel::delete(i::invoice)
                    .filter(i::state.eq(DRAFT))
                    .filter(i::period.eq(period))
                    .into_boxed();
                if let Some(customer) = customer {
                    stale = stale.filter(i::customer.eq(customer));
                }
                stale.execute(c)?;
                let invoiced = invoiced!(c, period);
                for invoice in invoices.iter().filter(|invoice| !invoiced.contains(&invoice.customer)) {
                    let kept: Option<String> = i::invoice
                        .filter(i::number.eq(&invoice.number))
                        .filter(i::state.ne(DRAFT))
                        .select(i::state)
                        .first(c)
                        .optional()?;
                    if let Some(state) = kept {
                        return Err(Error::InvoiceFixed { number: invoice.number.clone(), state });
                    }
                    diesel::insert_into(i::invoice).values(NewInvoice::of(invoice)).execute(c)?;
                }
                Ok(())
            })
        })
    }

    /// Puts `invoices` in the place of the drafts of these customers, and keeps that the daemon has made them, in one
    /// transaction: how many. Who has a final invoice gets no draft.
    ///
    /// # Errors
    /// What the database says.
    pub fn put_drafts(
        &mut self,
        period: &str,
        customers: &[&str],
        invoices: &[StoredInvoice],
        at: i64,
    ) -> Result<usize, Error> {
        use schema::billing_done::dsl as d;
        use schema::invoice::dsl as i;
        self.run("keep drafts", |db| {
            write_transaction!(db, c => {
                let invoiced = invoiced!(c, period);
                for &customer in customers {
                    diesel::delete(i::invoice)
                        .filter(i::state.eq(DRAFT))
                        .filter(i::period.eq(period))
                        .filter(i::customer.eq(customer))
                        .execute(c)?;
                    diesel::insert_into(d::billing_done)
                        .values((
                            d::customer.eq(customer),
                            d::period.eq(period),
                            d::stage.eq(Stage::Draft.as_str()),
                            d::at.eq(at),
                        ))
                        .on_conflict((d::customer, d::period))
                        .do_update()
                        .set((d::stage.eq(excluded(d::stage)), d::at.eq(excluded(d::at))))
                        .execute(c)?;
                }
                let mut kept = 0;
                for invoice in invoices.iter().filter(|invoice| !invoiced.contains(&invoice.customer)) {
                    kept += diesel::insert_into(i::invoice).values(NewInvoice::of(invoice)).execute(c)?;
                }
                Ok(kept)
            })
        })
    }

    /// The invoices of a period and a customer (of all, where left out), by period, customer and number.
    ///
    /// # Errors
    /// What the database says.
    pub fn invoices(
        &mut self,
        period: Option<&str>,
        customer: Option<&str>,
    ) -> Result<Vec<StoredInvoice>, Error> {
        use schema::invoice::dsl as i;
        let rows: Vec<InvoiceRow> = self.run("read invoices", |db| {
            Ok(with_connection!(db, c => {
                let mut query = i::invoice.order((i::period, i::customer, i::number)).into_boxed();
                if let Some(period) = period {
                    query = query.filter(i::period.eq(period));
                }
                if let Some(customer) = customer {
                    query = query.filter(i::customer.eq(customer));
                }
                query.load(c)
            })?)
        })?;
        Ok(rows.into_iter().map(InvoiceRow::into_invoice).collect())
    }

    /// Customer, number and state of a period's invoices, without their documents; by customer and number.
    ///
    /// # Errors
    /// What the database says.
    pub fn invoice_states(&mut self, period: &str) -> Result<Vec<(String, String, String)>, Error> {
        use schema::invoice::dsl as i;
        self.run("read the states of invoices", |db| {
            Ok(with_connection!(db, c => {
                i::invoice
                    .filter(i::period.eq(period))
                    .select((i::customer, i::number, i::state))
                    .order((i::customer, i::number))
                    .load(c)
            })?)
        })
    }

    /// The invoice of this number.
    ///
    /// # Errors
    /// What the database says.
    pub fn invoice(&mut self, number: &str) -> Result<Option<StoredInvoice>, Error> {
        use schema::invoice::dsl as i;
        let row: Option<InvoiceRow> = self.run("read an invoice", |db| {
            Ok(with_connection!(db, c => i::invoice.filter(i::number.eq(number)).first(c).optional())?)
        })?;
        Ok(row.map(InvoiceRow::into_invoice))
    }
}

#[derive(Queryable)]
struct TariffRow {
    id: String,
    version: i64,
    toml: String,
    sha256: String,
    effective: String,
    activated_at: i64,
    activated_by: String,
}

impl TariffRow {
    fn into_version(self) -> TariffVersion {
        let Self { id, version, toml, sha256, effective, activated_at, activated_by } = self;
        TariffVersion { id, version, toml, sha256, effective, activated_at, activated_by }
    }
}

#[derive(Insertable)]
#[diesel(table_name = schema::invoice)]
pub(super) struct NewInvoice<'a> {
    number: &'a str,
    period: &'a str,
    customer: &'a str,
    state: &'a str,
    currency: &'a str,
    gross_minor: i64,
    document: &'a str,
    sha256: &'a str,
}

impl<'a> NewInvoice<'a> {
    pub(super) fn of(invoice: &'a StoredInvoice) -> Self {
        Self {
            number: &invoice.number,
            period: &invoice.period,
            customer: &invoice.customer,
            state: &invoice.state,
            currency: &invoice.currency,
            gross_minor: invoice.gross_minor,
            document: &invoice.document,
            sha256: &invoice.sha256,
        }
    }
}

#[derive(Queryable)]
pub(super) struct InvoiceRow {
    number: String,
    period: String,
    customer: String,
    state: String,
    currency: String,
    gross_minor: i64,
    document: String,
    sha256: String,
}

impl InvoiceRow {
    pub(super) fn into_invoice(self) -> StoredInvoice {
        let Self { number, period, customer, state, currency, gross_minor, document, sha256 } = self;
        StoredInvoice { number, period, customer, state, currency, gross_minor, document, sha256 }
    }
}
