//! Registers: the numbers of names, and the sources of datagrams.

use std::collections::HashMap;

use diesel::prelude::*;

use super::Ledger;
use super::connection::{Db, with_connection, write_transaction};
use super::error::Error;
use super::records::books::digest;
use super::records::{FlushTotals, NameKind, Source, SourceKind};
use super::schema;
use super::witnesses::{Item, witness};
use crate::ids::{CustomerId, Position, SourceId};

macro_rules! load_names {
    ($connection:expr, $kind:expr) => {
        schema::name::table
            .filter(schema::name::kind.eq($kind.as_str()))
            .order(schema::name::number)
            .select((schema::name::number, schema::name::text))
            .load::<(i64, String)>($connection)
    };
}

macro_rules! find_source {
    ($connection:expr, $kind:expr, $key:expr) => {
        schema::source::table
            .filter(schema::source::kind.eq($kind.as_str()))
            .filter(schema::source::key.eq($key))
            .inner_join(schema::source_total::table.on(schema::source_total::source.eq(schema::source::id)))
            .first::<(SourceRow, TotalsRow)>($connection)
            .optional()
    };
}

/// Seals a source as it stands.
macro_rules! seal_source {
    ($connection:expr, $id:expr) => {{
        use diesel::prelude::*;
        use $crate::ledger::schema::source_seal::dsl as l;
        use $crate::ledger::schema::{source, source_total};
        let row: $crate::ledger::registers::WholeSource = source::table
            .find($id)
            .inner_join(source_total::table.on(source_total::source.eq(source::id)))
            .first($connection)?;
        let hash = $crate::ledger::registers::seal(&row);
        diesel::insert_into(l::source_seal)
            .values((l::source.eq($id), l::hash.eq(&hash)))
            .on_conflict(l::source)
            .do_update()
            .set(l::hash.eq(&hash))
            .execute($connection)?;
    }};
}

/// The sources that are not as they were sealed, by number.
macro_rules! seals {
    ($connection:expr) => {{
        use $crate::ledger::schema::{source, source_seal, source_total};
        let sealed: std::collections::HashMap<i64, String> =
            source_seal::table.load::<(i64, String)>($connection)?.into_iter().collect();
        let rows: Vec<$crate::ledger::registers::WholeSource> = source::table
            .inner_join(source_total::table.on(source_total::source.eq(source::id)))
            .order(source::id)
            .load($connection)?;
        let mut known: std::collections::BTreeSet<i64> = sealed.keys().copied().collect();
        let mut wrong: Vec<i64> = Vec::new();
        for row in &rows {
            known.remove(&$crate::ledger::registers::number_of(row));
            if sealed.get(&$crate::ledger::registers::number_of(row))
                != Some(&$crate::ledger::registers::seal(row))
            {
                wrong.push($crate::ledger::registers::number_of(row));
            }
        }
        // Its totals are gone, say.
        wrong.extend(known);
        wrong
    }};
}

pub(super) use {seal_source, seals};

impl NameKind {
    /// As stored.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Customer => "customer",
            Self::Exporter => "exporter",
            Self::Link => "link",
        }
    }

    /// The first number that is given, and the last.
    const fn range(self) -> (i64, i64) {
        match self {
            Self::Class | Self::Exporter | Self::Link => (1, u16::MAX as i64),
            Self::Customer => (CustomerId::FIRST.0 as i64, u32::MAX as i64),
        }
    }
}

impl SourceKind {
    /// As stored.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Journal => "journal",
        }
    }

    fn from_stored(text: &str) -> Result<Self, Error> {
        match text {
            "capture" => Ok(Self::Capture),
            "journal" => Ok(Self::Journal),
            other => Err(Error::Damaged(format!("a source of kind `{other}`"))),
        }
    }
}

impl Ledger {
    /// The numbers of `names`, in their order. A name that has none yet gets the next one: numbers are never changed
    /// and never given twice. Either all new names get a number or none.
    ///
    /// # Errors
    /// [`Error::Full`] where the kind has no numbers left.
    pub fn intern(&mut self, kind: NameKind, names: &[&str]) -> Result<Vec<u32>, Error> {
        let numbers = self.number_names(kind, names, None)?;
        numbers.into_iter().map(|number| number.ok_or(Error::Full(kind))).collect()
    }

    /// As [`Self::intern`], for names that strangers can make up: they leave `spare` numbers of the kind to names that
    /// somebody configured. A new name beyond that gets none.
    ///
    /// # Errors
    /// What the database says.
    pub fn intern_sparing(
        &mut self,
        kind: NameKind,
        names: &[&str],
        spare: u32,
    ) -> Result<Vec<Option<u32>>, Error> {
        self.number_names(kind, names, Some(spare))
    }

    fn number_names(
        &mut self,
        kind: NameKind,
        names: &[&str],
        spare: Option<u32>,
    ) -> Result<Vec<Option<u32>>, Error> {
        if names.iter().any(|name| name.contains('\0')) {
            return Err(Error::Range("a name with a zero octet"));
        }
        let (first, last) = kind.range();
        let last = last - i64::from(spare.unwrap_or(0));
        self.run("number names", |db| {
            // Names are seldom new, and looking needs no lock.
            let known = numbers(db, kind)?;
            let found = look_up(&known, names)?;
            let is_full = spare.is_some() && known.values().any(|number| *number >= last);
            if is_full || found.iter().all(Option::is_some) {
                return Ok(found);
            }
            write_transaction!(db, c => {
                let mut known: HashMap<String, i64> = by_name(load_names!(c, kind)?);
                let mut next = known.values().copied().max().map_or(first, |newest| first.max(newest + 1));
                let mut made = Vec::new();
                for &name in names {
                    if known.contains_key(name) {
                        continue;
                    }
                    if next > last {
                        if spare.is_some() {
                            break;
                        }
                        return Err(Error::Full(kind));
                    }
                    diesel::insert_into(schema::name::table)
                        .values((
                            schema::name::kind.eq(kind.as_str()),
                            schema::name::number.eq(next),
                            schema::name::text.eq(name),
                        ))
                        .execute(c)?;
                    made.push(Item::name(kind.as_str(), next, name));
                    known.insert(name.to_owned(), next);
                    next += 1;
                }
                witness!(c, &made);
                look_up(&known, names)
            })
        })
    }

    /// All names of a kind, by number.
    ///
    /// # Errors
    /// What the database says.
    pub fn names(&mut self, kind: NameKind) -> Result<Vec<(u32, String)>, Error> {
        let rows = self.run("read names", |db| Ok(with_connection!(db, c => load_names!(c, kind))?))?;
        rows.into_iter().map(|(number, name)| Ok((stored(number, "a name's number")?, name))).collect()
    }

    /// The source of this kind and key; a new one stands at position 0.
    ///
    /// # Errors
    /// What the database says.
    pub fn source(&mut self, kind: SourceKind, key: &str) -> Result<Source, Error> {
        self.source_after(kind, key, None)
    }

    /// As [`Self::source`]; a new one stands where the source with the key `predecessor` does, and goes on from there.
    ///
    /// # Errors
    /// What the database says.
    pub fn source_after(
        &mut self,
        kind: SourceKind,
        key: &str,
        predecessor: Option<&str>,
    ) -> Result<Source, Error> {
        if key.contains('\0') {
            return Err(Error::Range("a source's key with a zero octet"));
        }
        self.run("register a source", |db| {
            if let Some(row) = with_connection!(db, c => find_source!(c, kind, key))? {
                return into_source(row);
            }
            let row = write_transaction!(db, c => {
                if let Some(row) = find_source!(c, kind, key)? {
                    return Ok(row);
                }
                let newest: Option<i64> =
                    schema::source::table.select(diesel::dsl::max(schema::source::id)).first(c)?;
                let id = newest.unwrap_or(0) + 1;
                let predecessor = match predecessor {
                    Some(key) => find_source!(c, kind, key)?,
                    None => None,
                };
                let position = predecessor.map_or(0, |(before, _)| before.position);
                let row = (SourceRow::new(id, kind, key, position), TotalsRow { source: id, ..TotalsRow::default() });
                diesel::insert_into(schema::source::table).values(&row.0).execute(c)?;
                diesel::insert_into(schema::source_total::table).values(&row.1).execute(c)?;
                witness!(c, &[Item::source(id, kind.as_str(), key)]);
                seal_source!(c, id);
                Ok(row)
            })?;
            into_source(row)
        })
    }

    /// False where no capture of so many octets can have been replayed here, to its end or in part.
    ///
    /// # Errors
    /// What the database says.
    pub fn may_know_capture(&mut self, octets: u64) -> Result<bool, Error> {
        use schema::source::dsl as s;
        let octets = storable(octets, "a capture of more than 63 bits")?;
        self.run("look for a capture", |db| {
            let captures = s::source.filter(s::kind.eq(SourceKind::Capture.as_str()));
            // One that was read to its end stands there, or behind the padding that its last block should have.
            let end = s::position.between(octets, octets.saturating_add(3));
            let like = captures.filter(s::complete.eq(false).or(end));
            Ok(with_connection!(db, c => diesel::select(diesel::dsl::exists(like)).get_result(c))?)
        })
    }

    /// All sources, by number.
    ///
    /// # Errors
    /// What the database says.
    pub fn sources(&mut self) -> Result<Vec<Source>, Error> {
        let rows: Vec<(SourceRow, TotalsRow)> = self.run("read the sources", |db| {
            Ok(with_connection!(db, c => schema::source::table
                .inner_join(schema::source_total::table.on(schema::source_total::source.eq(schema::source::id)))
                .order(schema::source::id)
                .load(c))?)
        })?;
        rows.into_iter().map(into_source).collect()
    }

    /// A number that grows with every flush that anybody commits: where it is the same, usage is the same.
    ///
    /// # Errors
    /// What the database says.
    pub fn data_version(&mut self) -> Result<u64, Error> {
        let flushes: Vec<i64> = self.run("read the sources", |db| {
            Ok(with_connection!(db, c => schema::source::table.select(schema::source::flushes).load(c))?)
        })?;
        flushes.into_iter().map(|n| stored::<u64>(n, "a count of flushes")).sum()
    }
}

fn numbers(db: &mut Db, kind: NameKind) -> Result<HashMap<String, i64>, Error> {
    Ok(by_name(with_connection!(db, c => load_names!(c, kind))?))
}

fn by_name(rows: Vec<(i64, String)>) -> HashMap<String, i64> {
    rows.into_iter().map(|(number, name)| (name, number)).collect()
}

fn look_up(known: &HashMap<String, i64>, names: &[&str]) -> Result<Vec<Option<u32>>, Error> {
    let number = |name: &&str| known.get(*name).map(|number| stored(*number, "a name's number")).transpose();
    names.iter().map(number).collect()
}

/// A stored number in the type that it is of; a number that does not fit was not written by us.
pub(super) fn stored<T: TryFrom<i64>>(number: i64, what: &str) -> Result<T, Error> {
    T::try_from(number).map_err(|_| Error::Damaged(format!("{what} is {number}")))
}

/// A number that is going to be stored.
pub(super) fn storable(number: u64, what: &'static str) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::Range(what))
}

/// A row of `source`.
#[derive(Insertable, Queryable)]
#[diesel(table_name = schema::source)]
pub(super) struct SourceRow {
    id: i64,
    kind: String,
    key: String,
    position: i64,
    complete: bool,
    flushes: i64,
    expired_sets: i64,
    expired_set_octets: i64,
    second_flows: i64,
}

impl SourceRow {
    fn new(id: i64, kind: SourceKind, key: &str, position: i64) -> Self {
        let (kind, key) = (kind.as_str().to_owned(), key.to_owned());
        Self {
            id,
            kind,
            key,
            position,
            complete: false,
            flushes: 0,
            expired_sets: 0,
            expired_set_octets: 0,
            second_flows: 0,
        }
    }
}

/// A row of `source_total`.
#[derive(Default, Insertable, Queryable)]
#[diesel(table_name = schema::source_total)]
pub(super) struct TotalsRow {
    source: i64,
    datagrams: i64,
    malformed: i64,
    duplicates: i64,
    records: i64,
    options_records: i64,
    raw_octets: i64,
    metered_records: i64,
    metered_octets: i64,
    metered_packets: i64,
    expired_records: i64,
    expired_octets: i64,
    not_volume: i64,
    duplicate_observations: i64,
    duplicate_observation_octets: i64,
    lost: i64,
}

/// A source with its totals.
pub(super) type WholeSource = (SourceRow, TotalsRow);

pub(super) const fn number_of((source, _): &WholeSource) -> i64 {
    source.id
}

/// SHA-256 of all that a source says, and of its totals.
pub(super) fn seal((source, totals): &WholeSource) -> String {
    let SourceRow { id, kind, key, position, complete, flushes, .. } = source;
    let t = totals;
    let sums = [
        t.source,
        t.datagrams,
        t.malformed,
        t.duplicates,
        t.records,
        t.options_records,
        t.raw_octets,
        t.metered_records,
        t.metered_octets,
        t.metered_packets,
        t.expired_records,
        t.expired_octets,
        t.not_volume,
        t.duplicate_observations,
        t.duplicate_observation_octets,
        t.lost,
    ];
    let sums = sums.map(|sum| sum.to_string()).join(" ");
    let mut text = format!("{id} {kind} {position} {complete} {flushes}\n{} {key}\n{sums}\n", key.len());
    // Where there are none the seal is that of a ledger from before these columns.
    let others = [source.expired_sets, source.expired_set_octets, source.second_flows];
    if others != [0; 3] {
        text.push_str(&format!("{}\n", others.map(|sum| sum.to_string()).join(" ")));
    }
    digest(&text)
}

fn into_source((source, totals): (SourceRow, TotalsRow)) -> Result<Source, Error> {
    let total = |number| stored::<u64>(number, "a source's total");
    Ok(Source {
        id: SourceId(stored(source.id, "a source's number")?),
        kind: SourceKind::from_stored(&source.kind)?,
        key: source.key,
        position: Position(stored(source.position, "a position")?),
        complete: source.complete,
        totals: FlushTotals {
            datagrams: total(totals.datagrams)?,
            malformed: total(totals.malformed)?,
            duplicates: total(totals.duplicates)?,
            records: total(totals.records)?,
            options_records: total(totals.options_records)?,
            raw_octets: total(totals.raw_octets)?,
            raw_packets: 0,
            metered_records: total(totals.metered_records)?,
            metered_octets: total(totals.metered_octets)?,
            metered_packets: total(totals.metered_packets)?,
            expired_records: total(totals.expired_records)?,
            expired_second_flows: 0,
            expired_octets: total(totals.expired_octets)?,
            expired_sets: total(source.expired_sets)?,
            expired_set_octets: total(source.expired_set_octets)?,
            second_flows: total(source.second_flows)?,
            not_volume: total(totals.not_volume)?,
            duplicate_observations: total(totals.duplicate_observations)?,
            duplicate_observation_octets: total(totals.duplicate_observation_octets)?,
            lost: totals.lost,
        },
    })
}
