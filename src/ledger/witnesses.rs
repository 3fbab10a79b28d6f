//! Witnesses: what each row of a register says, chained by hashes.
//!
//! Names, sources, configuration and tariff versions and deliveries are written once, each in one transaction with its
//! witness: a digest of what it says, which goes on from the hash of the witness before. Whoever takes the guards of the
//! database away and renames a link, say, cannot make the chain fit. Closings cover the heads of this chain and of that of
//! decisions ([`Anchor`]), so that neither loses its end unseen either.
//!
//! What changes with each flush, the position and the totals of a source, has a seal of its own that each flush renews.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;

use super::Ledger;
use super::connection::{Db, with_connection};
use super::error::Error;
use super::records::books::{GENESIS, digest};
use super::registers::{seals, stored};
use super::schema;

/// Witnesses of one statement.
pub(super) const BATCH: usize = 500;

/// A row of a register, by what it is about, with the digest of what it says.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Item {
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) digest: String,
}

impl Item {
    /// Each of the texts counts, and where it ends.
    fn new(kind: &str, subject: String, says: &[&str]) -> Self {
        let text: String = says.iter().map(|said| format!("{} {said}\n", said.len())).collect();
        Self { kind: kind.to_owned(), subject, digest: digest(&text) }
    }

    pub(super) fn name(kind: &str, number: i64, name: &str) -> Self {
        Self::new("name", format!("{kind} {number}"), &[name])
    }

    pub(super) fn source(id: i64, kind: &str, key: &str) -> Self {
        Self::new("source", id.to_string(), &[kind, key])
    }

    pub(super) fn configuration(number: i64, sha256: &str, valid_from: i64) -> Self {
        Self::new("configuration", number.to_string(), &[sha256, &valid_from.to_string()])
    }

    pub(super) fn tariff((id, version): (&str, i64), says: [&str; 2], (at, by): (i64, &str)) -> Self {
        let [sha256, effective] = says;
        Self::new("tariff", format!("{version} {id}"), &[sha256, effective, &at.to_string(), by])
    }

    pub(super) fn delivery(number: &str, at: i64, by: &str) -> Self {
        Self::new("delivery", number.to_owned(), &[&at.to_string(), by])
    }

    /// In words.
    fn is_about(&self) -> String {
        let subject = &self.subject;
        match (self.kind.as_str(), subject.split_once(' ')) {
            ("configuration", _) => format!("configuration version {subject}"),
            ("delivery", _) => format!("the delivery of {subject}"),
            ("tariff", Some((version, id))) => {
                format!("the activation of version {version} of tariff `{id}`")
            }
            ("name", _) => format!("the name of {subject}"),
            (kind, _) => format!("{kind} {subject}"),
        }
    }

    fn hash(&self, seq: i64, prev: &str) -> String {
        let Self { kind, subject, digest: said } = self;
        digest(&format!("{prev}\n{seq} {kind} {said}\n{} {subject}\n", subject.len()))
    }
}

/// A witness: number, hash of the one before, and its own.
pub(super) struct Link<'a> {
    pub(super) item: &'a Item,
    pub(super) seq: i64,
    pub(super) prev: String,
    pub(super) hash: String,
}

/// The witnesses of `items`, going on from the last one there is.
pub(super) fn chained(last: Option<(i64, String)>, items: &[Item]) -> Vec<Link<'_>> {
    let (mut seq, mut before) = last.unwrap_or_else(|| (0, GENESIS.to_owned()));
    let link = |item| {
        seq += 1;
        let hash = Item::hash(item, seq, &before);
        let prev = core::mem::replace(&mut before, hash.clone());
        Link { item, seq, prev, hash }
    };
    items.iter().map(link).collect()
}

/// Keeps witnesses of rows that this transaction writes.
macro_rules! witness {
    ($connection:expr, $items:expr) => {{
        use diesel::prelude::*;
        use $crate::ledger::schema::witness::dsl as w;
        let last: Option<(i64, String)> =
            w::witness.order(w::seq.desc()).select((w::seq, w::hash)).first($connection).optional()?;
        for batch in $crate::ledger::witnesses::chained(last, $items).chunks($crate::ledger::witnesses::BATCH)
        {
            let values: Vec<_> = batch
                .iter()
                .map(|link| {
                    (
                        w::seq.eq(link.seq),
                        w::kind.eq(&link.item.kind),
                        w::subject.eq(&link.item.subject),
                        w::digest.eq(&link.item.digest),
                        w::prev.eq(&link.prev),
                        w::hash.eq(&link.hash),
                    )
                })
                .collect();
            diesel::insert_into(w::witness).values(&values).execute($connection)?;
        }
    }};
}

/// What the registers say now.
macro_rules! present {
    ($connection:expr) => {{
        use diesel::prelude::*;
        use $crate::ledger::schema;
        use $crate::ledger::witnesses::Item;
        let mut items: Vec<Item> = Vec::new();
        let names: Vec<(String, i64, String)> =
            schema::name::table.order((schema::name::kind, schema::name::number)).load($connection)?;
        items.extend(names.iter().map(|(kind, number, name)| Item::name(kind, *number, name)));
        let sources: Vec<(i64, String, String)> = schema::source::table
            .order(schema::source::id)
            .select((schema::source::id, schema::source::kind, schema::source::key))
            .load($connection)?;
        items.extend(sources.iter().map(|(id, kind, key)| Item::source(*id, kind, key)));
        let versions: Vec<(i64, String, i64)> = schema::config_version::table
            .order(schema::config_version::number)
            .select((
                schema::config_version::number,
                schema::config_version::sha256,
                schema::config_version::valid_from,
            ))
            .load($connection)?;
        items.extend(
            versions.iter().map(|(number, sha256, from)| Item::configuration(*number, sha256, *from)),
        );
        let tariffs: Vec<(String, i64, String, String, i64, String)> = {
            use schema::tariff_version::dsl as t;
            t::tariff_version
                .order((t::id, t::version))
                .select((t::id, t::version, t::sha256, t::effective, t::activated_at, t::activated_by))
                .load($connection)?
        };
        items.extend(tariffs.iter().map(|(id, version, sha256, effective, at, by)| {
            Item::tariff((id, *version), [sha256, effective], (*at, by))
        }));
        let deliveries: Vec<(String, i64, String)> =
            schema::delivery::table.order(schema::delivery::number).load($connection)?;
        items.extend(deliveries.iter().map(|(number, at, by)| Item::delivery(number, *at, by)));
        items
    }};
}

/// Witnesses all that there was before there were witnesses.
macro_rules! adopt {
    ($connection:expr) => {{
        use diesel::prelude::*;
        let items = $crate::ledger::witnesses::present!($connection);
        $crate::ledger::witnesses::witness!($connection, &items);
        let sources: Vec<i64> = $crate::ledger::schema::source::table
            .select($crate::ledger::schema::source::id)
            .load($connection)?;
        for id in sources {
            $crate::ledger::registers::seal_source!($connection, id);
        }
    }};
}

pub(super) use {adopt, present, witness};

/// A row of `witness`.
type Row = (i64, String, String, String, String, String);

/// The witnesses, what the registers say, and the sources that are not as the last flush left them.
type Read = (Vec<Row>, Vec<Item>, Vec<i64>);

/// What the entry of a closing covers besides the periods that it closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Anchor {
    /// The entry.
    pub entry: u64,
    /// What its digest covers of them, after the lines of the periods.
    pub line: String,
    /// What it names and is not there any more, in words.
    pub gone: Vec<String>,
}

/// The text that stands for the heads of the two chains in the digest of a closing: number and hash of the last witness and
/// of the last decision.
#[must_use]
pub(super) fn heads(witness: (i64, &str), decision: (i64, &str)) -> String {
    format!("witnesses\t{}\t{}\ndecisions\t{}\t{}\n", witness.0, witness.1, decision.0, decision.1)
}

impl Ledger {
    /// How many witnesses there are, and what is not as they say, in words.
    ///
    /// # Errors
    /// What the database says.
    pub fn witnessed(&mut self) -> Result<(usize, Vec<String>), Error> {
        use schema::witness::dsl as w;
        let (witnesses, present, unsealed): Read = self.run("read witnesses", |db| match db {
            #[cfg(feature = "postgres")]
            Db::Postgres(c) => super::connection::postgres_snapshot(c, |c| {
                Ok((w::witness.order(w::seq).load(c)?, present!(c), seals!(c)))
            }),
            Db::Sqlite(c) => super::connection::sqlite_snapshot(c, |c| {
                Ok((w::witness.order(w::seq).load(c)?, present!(c), seals!(c)))
            }),
        })?;
        let count = witnesses.len();
        let mut wrong = Vec::new();
        let mut said: BTreeMap<(String, String), Item> = BTreeMap::new();
        let (mut next, mut before) = (1, GENESIS.to_owned());
        for (seq, kind, subject, digest, prev, hash) in witnesses {
            let item = Item { kind, subject, digest };
            if seq != next {
                wrong.push(format!("witness {next} is missing"));
            }
            if prev != before || item.hash(seq, &prev) != hash {
                wrong.push(format!("witness {seq} has been changed: its hash is another"));
            }
            (next, before) = (seq + 1, hash);
            said.insert((item.kind.clone(), item.subject.clone()), item);
        }
        for item in present {
            match said.remove(&(item.kind.clone(), item.subject.clone())) {
                Some(witnessed) if witnessed == item => {}
                Some(_) => wrong.push(format!("{} has been changed", item.is_about())),
                None => wrong.push(format!("{} has no witness", item.is_about())),
            }
        }
        wrong.extend(said.into_values().map(|item| format!("{} is gone", item.is_about())));
        wrong.extend(unsealed.into_iter().map(|id| format!("source {id} is not as its last flush left it")));
        Ok((count, wrong))
    }

    /// What the entries of closings cover besides periods. Closings before there were witnesses have none.
    ///
    /// # Errors
    /// What the database says.
    pub fn anchors(&mut self) -> Result<Vec<Anchor>, Error> {
        use schema::{anchor, decision, witness};
        type Hashes = HashMap<i64, String>;
        type Anchors = Vec<(i64, i64, i64)>;
        let (anchors, witnesses, decisions): (Anchors, Hashes, Hashes) = self.run("read closings", |db| {
            with_connection!(db, c => {
                let anchors: Anchors = anchor::table.order(anchor::entry).load(c)?;
                let witnesses: Vec<(i64, String)> =
                    witness::table.select((witness::seq, witness::hash)).load(c)?;
                let decisions: Vec<(i64, String)> =
                    decision::table.select((decision::seq, decision::hash)).load(c)?;
                Ok((anchors, witnesses.into_iter().collect(), decisions.into_iter().collect()))
            })
        })?;
        let of = |(entry, witness, decision): (i64, i64, i64)| {
            let mut gone = Vec::new();
            let mut head = |hashes: &Hashes, what: &str, seq: i64| match (seq, hashes.get(&seq)) {
                (0, _) => GENESIS.to_owned(),
                (_, Some(hash)) => hash.clone(),
                (_, None) => {
                    gone.push(format!("{what} {seq}, which entry {entry} covers, is gone"));
                    String::new()
                }
            };
            let (first, second) =
                (head(&witnesses, "witness", witness), head(&decisions, "decision", decision));
            let line = heads((witness, &first), (decision, &second));
            Ok(Anchor { entry: stored(entry, "an entry's number")?, line, gone })
        };
        anchors.into_iter().map(of).collect()
    }
}
