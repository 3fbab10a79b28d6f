//! Issuing invoices: number, document, entry and state change together, in one transaction, or not at all.

use diesel::prelude::*;

use super::Ledger;
use super::books::{accounts, document_entry, enter, postings_of, reversed};
use super::connection::{with_connection, write_transaction};
use super::documents::{InvoiceRow, NewInvoice};
use super::error::Error;
use super::records::StoredInvoice;
use super::records::books::{Actor, EntryKind, Issue, Posting};
use super::registers::stored;
use super::schema;
use super::witnesses::{Item, witness};

/// What is to be issued.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A draft that the ledger keeps becomes final.
    Final(&'a StoredInvoice),
    /// A credit note takes back the final invoice of this number.
    Credit(&'a str),
    /// An invoice takes the place of the one of this number, which the step before took back.
    Instead(&'a StoredInvoice, &'a str),
}

/// A document that is ready to be issued.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The document, with its number.
    pub invoice: StoredInvoice,
    /// The day that its entry counts for, `YYYY-MM-DD`.
    pub day: String,
    /// Its postings. A credit note's are those of its invoice, taken back, whatever is said here.
    pub postings: Vec<Posting>,
}

/// The row of an invoice by its number.
macro_rules! invoice_of {
    ($connection:expr, $number:expr) => {
        schema::invoice::table
            .filter(schema::invoice::number.eq($number))
            .first::<InvoiceRow>($connection)
            .optional()?
            .map(InvoiceRow::into_invoice)
            .ok_or_else(|| Error::NoInvoice($number.to_owned()))
    };
}

/// The entry of the final invoice of this number.
macro_rules! final_entry {
    ($connection:expr, $number:expr) => {{
        let found: StoredInvoice = invoice_of!($connection, $number)?;
        if found.state != "final" {
            return Err(Error::NotFinal { number: found.number, state: found.state });
        }
        let entry: Option<(i64, String)> = schema::issue::table
            .filter(schema::issue::number.eq($number))
            .select((schema::issue::entry, schema::issue::kind))
            .first($connection)
            .optional()?;
        match entry {
            Some((entry, kind)) if kind == "invoice" => (found, entry),
            _ => return Err(Error::NotFinal { number: found.number, state: "no invoice".to_owned() }),
        }
    }};
}

impl Ledger {
    /// Issues documents under the next numbers of `series`, one after the other, all of them or none. `make` is given what
    /// there is (draft, or the invoice that is taken back) and the number, and makes the document; why it cannot is told.
    ///
    /// # Errors
    /// [`Error::DraftChanged`] where a draft is no longer what it was; [`Error::NotFinal`] where what is to be taken back
    /// is no final invoice; [`Error::Document`] where it could not be made; [`Error::DateOrder`] where a greater number would
    /// have an earlier date; what the database says.
    pub fn issue(
        &mut self,
        series: &str,
        steps: &[Step<'_>],
        actor: Actor<'_>,
        make: &mut dyn FnMut(&Step<'_>, &StoredInvoice, &str) -> Result<Ready, String>,
    ) -> Result<Vec<Issue>, Error> {
        self.run("issue invoices", |db| {
            write_transaction!(db, c => {
                let mut known = accounts!(c)?;
                let place: Option<i64> = schema::issue::table
                    .filter(schema::issue::series.eq(series))
                    .select(diesel::dsl::max(schema::issue::place))
                    .first(c)?;
                // The day that the last number's entry counts for is the date of its document.
                let mut last: Option<(String, String)> = schema::issue::table
                    .filter(schema::issue::series.eq(series))
                    .filter(schema::issue::place.eq(place.unwrap_or(0)))
                    .inner_join(schema::entry::table.on(schema::entry::seq.eq(schema::issue::entry)))
                    .select((schema::issue::number, schema::entry::day))
                    .first(c)
                    .optional()?;
                let mut place = place.unwrap_or(0);
                let mut issued = Vec::with_capacity(steps.len());
                for step in steps {
                    place += 1;
                    let number = format!("{series}{place:06}");
                    let (kind, corrects, source, taken_back) = match *step {
                        Step::Final(draft) => {
                            let gone = diesel::delete(
                                schema::invoice::table
                                    .filter(schema::invoice::number.eq(&draft.number))
                                    .filter(schema::invoice::state.eq("draft"))
                                    .filter(schema::invoice::sha256.eq(&draft.sha256)),
                            )
                            .execute(c)?;
                            if gone != 1 {
                                return Err(Error::DraftChanged(draft.number.clone()));
                            }
                            (EntryKind::Invoice, "", draft.clone(), None)
                        }
                        Step::Credit(number) => {
                            let (source, entry) = final_entry!(c, number);
                            (EntryKind::Credit, number, source, Some(postings_of!(c, entry)?))
                        }
                        Step::Instead(draft, number) => (EntryKind::Invoice, number, draft.clone(), None),
                    };
                    let Ready { invoice, day, postings } = make(step, &source, &number)
                        .map_err(|message| Error::Document { number: source.number.clone(), message })?;
                    if let Some((last, before)) = last.filter(|(_, before)| day < *before) {
                        return Err(Error::DateOrder { day, last, before });
                    }
                    last = Some((number.clone(), day.clone()));
                    let postings = taken_back.map_or(postings, |postings| reversed(&postings));
                    let entry = document_entry(kind, &invoice, day, postings, actor);
                    let entry = enter!(c, &mut known, &entry);
                    diesel::insert_into(schema::invoice::table).values(NewInvoice::of(&invoice)).execute(c)?;
                    diesel::insert_into(schema::issue::table)
                        .values((
                            schema::issue::number.eq(&number),
                            schema::issue::series.eq(series),
                            schema::issue::place.eq(place),
                            schema::issue::kind.eq(kind.as_str()),
                            schema::issue::corrects.eq(corrects),
                            schema::issue::entry.eq(i64::try_from(entry).unwrap_or(i64::MAX)),
                        ))
                        .execute(c)?;
                    if kind == EntryKind::Credit {
                        diesel::update(schema::invoice::table.filter(schema::invoice::number.eq(corrects)))
                            .set(schema::invoice::state.eq("credited"))
                            .execute(c)?;
                    }
                    issued.push(Issue {
                        number,
                        series: series.to_owned(),
                        place: stored(place, "a place")?,
                        is_credit: kind == EntryKind::Credit,
                        corrects: corrects.to_owned(),
                        entry,
                    });
                }
                Ok(issued)
            })
        })
    }

    /// Withdraws a final invoice that has not been delivered. Its number stays; its entry is taken back on the day that
    /// it counted for.
    ///
    /// # Errors
    /// [`Error::NotFinal`], [`Error::Delivered`], or what the database says.
    pub fn void(&mut self, number: &str, actor: Actor<'_>) -> Result<(), Error> {
        self.run("make an invoice void", |db| {
            write_transaction!(db, c => {
                let (invoice, entry) = final_entry!(c, number);
                let delivered: i64 = schema::delivery::table
                    .filter(schema::delivery::number.eq(number))
                    .count()
                    .get_result(c)?;
                if delivered > 0 {
                    return Err(Error::Delivered(number.to_owned()));
                }
                let day: String =
                    schema::entry::table.find(entry).select(schema::entry::day).first(c)?;
                let postings = reversed(&postings_of!(c, entry)?);
                let entry = document_entry(EntryKind::Void, &invoice, day, postings, actor);
                enter!(c, &mut accounts!(c)?, &entry);
                diesel::update(schema::invoice::table.filter(schema::invoice::number.eq(number)))
                    .set(schema::invoice::state.eq("void"))
                    .execute(c)?;
                Ok(())
            })
        })
    }

    /// Keeps that these left the house. Those that did before keep their first time.
    ///
    /// # Errors
    /// What the database says.
    pub fn deliver(&mut self, numbers: &[&str], actor: Actor<'_>) -> Result<(), Error> {
        use schema::delivery::dsl as d;
        self.run("keep a delivery", |db| {
            write_transaction!(db, c => {
                let mut made = Vec::new();
                for &number in numbers {
                    let before: i64 = d::delivery.filter(d::number.eq(number)).count().get_result(c)?;
                    let issued: i64 = schema::issue::table
                        .filter(schema::issue::number.eq(number))
                        .count()
                        .get_result(c)?;
                    if before == 0 && issued > 0 {
                        diesel::insert_into(d::delivery)
                            .values((d::number.eq(number), d::at.eq(actor.at), d::made_by.eq(actor.by)))
                            .execute(c)?;
                        made.push(Item::delivery(number, actor.at, actor.by));
                    }
                }
                witness!(c, &made);
                Ok(())
            })
        })
    }

    /// All that was issued, by series and place.
    ///
    /// # Errors
    /// What the database says.
    pub fn issues(&mut self) -> Result<Vec<Issue>, Error> {
        use schema::issue::dsl as i;
        type Row = (String, String, i64, String, String, i64);
        let rows: Vec<Row> = self.run("read issued invoices", |db| {
            Ok(with_connection!(db, c => i::issue
                .order((i::series, i::place))
                .select((i::number, i::series, i::place, i::kind, i::corrects, i::entry))
                .load(c))?)
        })?;
        rows.into_iter()
            .map(|(number, series, place, kind, corrects, entry)| {
                Ok(Issue {
                    number,
                    series,
                    place: stored(place, "a place")?,
                    is_credit: kind == "credit",
                    corrects,
                    entry: stored(entry, "an entry's number")?,
                })
            })
            .collect()
    }
}
