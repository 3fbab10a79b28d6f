//! Closing periods: up to which bucket usage takes no more, and what it was then.
//!
//! Closing has two steps. [`Ledger::close`] moves the bounds, in one short transaction; from then on the usage before them
//! never changes. [`Ledger::seal`] enters what it was, once somebody has had the time to read it all. A program that ends
//! between the two leaves a period that is closed and not sealed, and the next one goes on from there.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;

use super::Ledger;
use super::books::{accounts, enter};
use super::connection::{with_connection, write_transaction};
use super::decisions::decide;
use super::error::Error;
use super::late::EVERYBODY_ELSE;
use super::records::books::{
    Actor, Closure, Decision, DecisionKind, EntryKind, GENESIS, NewEntry, digest, hex, push_usage_line,
};
use super::registers::stored;
use super::schema;
use super::witnesses::heads;
use crate::usage::BucketStart;

/// Up to which bucket usage is closed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Closed {
    of: HashMap<u32, BucketStart>,
    /// Of all others.
    others: Option<BucketStart>,
}

impl Closed {
    /// The first bucket of `customer` that still takes usage; `None` where all do.
    #[must_use]
    pub fn until(&self, customer: u32) -> Option<BucketStart> {
        self.of.get(&customer).copied().or(self.others)
    }

    /// Customers that have a bound of their own.
    pub fn customers(&self) -> impl Iterator<Item = (u32, BucketStart)> {
        self.of.iter().map(|(&customer, &until)| (customer, until))
    }

    /// The bound of all others.
    #[must_use]
    pub const fn others(&self) -> Option<BucketStart> {
        self.others
    }

    /// Before it nobody's buckets take usage any more; `None` where nothing is closed for all.
    #[must_use]
    pub fn everybody(&self) -> Option<BucketStart> {
        let others = self.others?;
        Some(self.of.values().copied().fold(others, BucketStart::min))
    }
}

impl Ledger {
    /// Closes the usage of customers up to a bucket, and that of all others (where `None` is named) too. What is closed
    /// further already stays so. Each bound that is moved is a decision.
    ///
    /// # Errors
    /// What the database says.
    pub fn close(&mut self, bounds: &[(Option<u32>, BucketStart)], actor: Actor<'_>) -> Result<(), Error> {
        use schema::closed::dsl as d;
        self.run("close a period", |db| {
            write_transaction!(db, c => {
                let mut known: HashMap<i64, i64> =
                    d::closed.select((d::customer, d::until)).load::<(i64, i64)>(c)?.into_iter().collect();
                // Those that are named first: a bound for all others must not hold for them in between.
                let (others, named): (Vec<_>, Vec<_>) = bounds.iter().partition(|(customer, _)| customer.is_none());
                let mut moved = Vec::new();
                for (of, until) in named.into_iter().chain(others) {
                    let customer = of.map_or(EVERYBODY_ELSE, i64::from);
                    let before = known.get(&customer).copied();
                    match known.get(&customer).copied() {
                        Some(before) if before >= until.0 => {}
                        Some(_) => {
                            diesel::update(d::closed.find(customer)).set(d::until.eq(until.0)).execute(c)?;
                        }
                        None if known.get(&EVERYBODY_ELSE).is_some_and(|others| *others > until.0) => {}
                        None => {
                            diesel::insert_into(d::closed)
                                .values((d::customer.eq(customer), d::until.eq(until.0)))
                                .execute(c)?;
                            known.insert(customer, until.0);
                        }
                    }
                    // A bound of its own that is the same is kept, too.
                    let is_new = before.is_none() && known.contains_key(&customer);
                    if is_new || before.is_some_and(|before| before < until.0) {
                        moved.push(Decision {
                            kind: DecisionKind::Close,
                            customer: of.unwrap_or_default(),
                            bucket: until,
                            earlier: until,
                            reason: String::new(),
                            at: actor.at,
                            by: actor.by.to_owned(),
                        });
                    }
                }
                decide!(c, &moved);
                Ok(())
            })
        })
    }

    /// What is closed.
    ///
    /// # Errors
    /// What the database says.
    pub fn closed(&mut self) -> Result<Closed, Error> {
        use schema::closed::dsl as d;
        let rows: Vec<(i64, i64)> = self.run("read what is closed", |db| {
            Ok(with_connection!(db, c => d::closed.select((d::customer, d::until)).load(c))?)
        })?;
        let mut closed = Closed::default();
        for (customer, until) in rows {
            if customer == EVERYBODY_ELSE {
                closed.others = Some(BucketStart(until));
            } else {
                closed.of.insert(stored(customer, "a customer")?, BucketStart(until));
            }
        }
        Ok(closed)
    }

    /// Seals closed periods of the name `period`, with one entry for all of them. Those that are sealed already stay as
    /// they are. The number of those that were not.
    ///
    /// # Errors
    /// What the database says: a period that is not closed is refused by the schema.
    pub fn seal(
        &mut self,
        period: &str,
        day: &str,
        closures: &[Closure],
        actor: Actor<'_>,
    ) -> Result<usize, Error> {
        use schema::closure::dsl as k;
        self.run("seal a period", |db| {
            write_transaction!(db, c => {
                let sealed: HashSet<i64> = k::closure
                    .filter(k::period.eq(period))
                    .select(k::customer)
                    .load::<i64>(c)?
                    .into_iter()
                    .collect();
                let mut new: Vec<&Closure> = closures
                    .iter()
                    .filter(|closure| !sealed.contains(&i64::from(closure.customer)))
                    .collect();
                if new.is_empty() {
                    return Ok(0);
                }
                // The order in which they are read again.
                new.sort_by_key(|closure| closure.customer);
                let before: i64 = schema::entry::table
                    .filter(schema::entry::kind.eq(EntryKind::Close.as_str()))
                    .filter(schema::entry::reference.eq(period))
                    .count()
                    .get_result(c)?;
                let mut lines: String = new.iter().map(|closure| closure.line()).collect();
                // What was decided and witnessed up to here is covered, too.
                let witness: Option<(i64, String)> = schema::witness::table
                    .order(schema::witness::seq.desc())
                    .select((schema::witness::seq, schema::witness::hash))
                    .first(c)
                    .optional()?;
                let decision: Option<(i64, String)> = schema::decision::table
                    .order(schema::decision::seq.desc())
                    .select((schema::decision::seq, schema::decision::hash))
                    .first(c)
                    .optional()?;
                let [witness, decision] =
                    [witness, decision].map(|last| last.unwrap_or_else(|| (0, GENESIS.to_owned())));
                lines += &heads((witness.0, &witness.1), (decision.0, &decision.1));
                let entry = NewEntry {
                    kind: EntryKind::Close,
                    key: format!("close/{period}/{}", before + 1),
                    day: day.to_owned(),
                    reference: period.to_owned(),
                    digest: digest(&lines),
                    at: actor.at,
                    by: actor.by.to_owned(),
                    postings: Vec::new(),
                };
                let entry = enter!(c, &mut accounts!(c)?, &entry);
                diesel::insert_into(schema::anchor::table)
                    .values((
                        schema::anchor::entry.eq(i64::try_from(entry).unwrap_or(i64::MAX)),
                        schema::anchor::witnesses.eq(witness.0),
                        schema::anchor::decisions.eq(decision.0),
                    ))
                    .execute(c)?;
                for closure in &new {
                    diesel::insert_into(k::closure)
                        .values((
                            k::customer.eq(i64::from(closure.customer)),
                            k::period.eq(&closure.period),
                            k::from_bucket.eq(closure.from.0),
                            k::until_bucket.eq(closure.until.0),
                            k::tariff.eq(&closure.tariff),
                            k::tariff_version.eq(closure.tariff_version),
                            k::root.eq(&closure.root),
                            k::entry.eq(i64::try_from(entry).unwrap_or(i64::MAX)),
                        ))
                        .execute(c)?;
                }
                Ok(new.len())
            })
        })
    }

    /// The sealed periods (of one name, or all) with the number of the entry that sealed them, by entry and customer.
    ///
    /// # Errors
    /// What the database says.
    pub fn closures(&mut self, period: Option<&str>) -> Result<Vec<(u64, Closure)>, Error> {
        use schema::closure::dsl as k;
        let rows: Vec<ClosureRow> = self.run("read closed periods", |db| {
            Ok(with_connection!(db, c => {
                let mut query = k::closure.order((k::entry, k::customer)).into_boxed();
                if let Some(period) = period {
                    query = query.filter(k::period.eq(period));
                }
                query.load(c)
            })?)
        })?;
        rows.into_iter().map(ClosureRow::into_closure).collect()
    }
}

/// A row of `closure`.
#[derive(Queryable)]
struct ClosureRow {
    customer: i64,
    period: String,
    from: i64,
    until: i64,
    tariff: String,
    tariff_version: i64,
    root: String,
    entry: i64,
}

impl ClosureRow {
    fn into_closure(self) -> Result<(u64, Closure), Error> {
        let Self { customer, period, from, until, tariff, tariff_version, root, entry } = self;
        let closure = Closure {
            customer: stored(customer, "a customer")?,
            period,
            from: BucketStart(from),
            until: BucketStart(until),
            tariff,
            tariff_version,
            root,
        };
        Ok((stored(entry, "an entry's number")?, closure))
    }
}

/// Whose usage of which buckets is hashed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// The customer's number.
    pub customer: u32,
    /// First bucket.
    pub from: BucketStart,
    /// First bucket after the last one.
    pub until: BucketStart,
}

impl Ledger {
    /// SHA-256 over the usage of each part as it was metered, in hex, in one reading of the ledger: a line a row
    /// ([`push_usage_line`]), in the order of the key. A customer is there once at most. `progress` is told the bucket that is being read.
    ///
    /// # Errors
    /// What the database says.
    pub fn usage_roots(
        &mut self,
        parts: &[Part],
        progress: &mut dyn FnMut(BucketStart),
    ) -> Result<Vec<String>, Error> {
        use sha2::{Digest, Sha256};
        let places: HashMap<u32, usize> = parts.iter().map(|part| part.customer).zip(0..).collect();
        let mut hashes = vec![Sha256::new(); parts.len()];
        let mut line = String::new();
        let mut bucket = None;
        let (from, to) =
            (parts.iter().map(|part| part.from).min(), parts.iter().map(|part| part.until).max());
        if from.is_some() {
            let customer = match parts {
                [only] => Some(crate::ids::CustomerId(only.customer)),
                _ => None,
            };
            self.for_each_usage_as_metered(
                &super::records::UsageFilter { from, to, customer },
                &mut |row| {
                    let key = &row.key;
                    let Some(&at) = places.get(&key.customer.0) else { return };
                    if key.bucket < parts[at].from || key.bucket >= parts[at].until {
                        return;
                    }
                    if bucket != Some(key.bucket) {
                        bucket = Some(key.bucket);
                        progress(key.bucket);
                    }
                    line.clear();
                    push_usage_line(&mut line, &row);
                    hashes[at].update(line.as_bytes());
                },
            )?;
        }
        Ok(hashes.into_iter().map(|hash| hex(&hash.finalize())).collect())
    }
}
