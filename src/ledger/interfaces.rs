//! What routers say over SNMP: interfaces in time, their octets by bucket, and flows that routers had no room for. Only
//! added to.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::Ledger;
use super::connection::{with_connection, write_transaction};
use super::counted::seal_octets;
use super::error::Error;
use super::late::EVERYBODY_ELSE;
use super::records::interfaces::{
    Card, CardFailures, Interface, InterfaceEntry, InterfaceOctets, InterfacePart,
};
use super::registers::{storable, stored};
use super::schema;
use crate::period::rfc3339;
use crate::units::{IfIndex, UnixMillis};
use crate::usage::BucketStart;

type InterfaceRow = (i32, i64, i64, bool, String, String, String, i64, i64);
/// A row of `interface_octets`.
pub(super) type OctetsRow = (i64, i32, i64, i64, i64, i64, i64, Option<i64>, Option<i64>);
type CardRow = (i32, i64, i64, String, Option<i64>, Option<i64>, Option<i64>, i64);

macro_rules! newest_interfaces {
    ($connection:expr, $exporter:expr) => {
        schema::interface::table
            .filter(schema::interface::exporter.eq($exporter))
            .order((schema::interface::ifindex, schema::interface::valid_from))
            .load::<InterfaceRow>($connection)
    };
}

impl Ledger {
    /// Keeps what interfaces an exporter was found to have at an instant: those that are new or are not what they were,
    /// and that those which were there and are not in `found` are gone; unless that is not the whole of it, then only
    /// those whose names have other numbers now. Returns what was added. All of it holds from one instant on: `at`, or
    /// right after the newest entry of the exporter, where that is later (a clock was set back).
    ///
    /// # Errors
    /// What the database says.
    pub fn put_interfaces(
        &mut self,
        exporter: u32,
        at: UnixMillis,
        is_whole: bool,
        found: &[Interface],
    ) -> Result<Vec<InterfaceEntry>, Error> {
        use schema::interface::dsl as i;
        let number = small(exporter)?;
        self.run("keep interfaces", |db| {
            write_transaction!(db, c => {
                let rows = newest_interfaces!(c, number)?;
                let newest = rows.iter().map(|row| row.2).max();
                let valid_from = UnixMillis(newest.map_or(at.0, |newest| at.0.max(newest.saturating_add(1))));
                let mut known: BTreeMap<IfIndex, InterfaceEntry> = BTreeMap::new();
                for row in rows {
                    let entry = into_entry(row)?;
                    known.insert(entry.interface.ifindex, entry);
                }
                let added = changes(exporter, valid_from, &known, is_whole, found);
                for entry in &added {
                    let interface = &entry.interface;
                    diesel::insert_into(i::interface)
                        .values((
                            i::exporter.eq(number),
                            i::ifindex.eq(i64::from(interface.ifindex.0)),
                            i::valid_from.eq(entry.valid_from.0),
                            i::present.eq(entry.present),
                            i::name.eq(plain(&interface.name)),
                            i::description.eq(plain(&interface.description)),
                            i::alias.eq(plain(&interface.alias)),
                            i::speed.eq(i64::try_from(interface.speed).unwrap_or(i64::MAX)),
                            i::kind.eq(i64::from(interface.kind)),
                        ))
                        .execute(c)?;
                }
                Ok(added)
            })
        })
    }

    /// Keeps from when on an exporter shows all interfaces of links that it had before it started, or not. True where that
    /// is new: it is known already, or it was never otherwise. After the newest entry of the exporter, as
    /// [`Self::put_interfaces`].
    ///
    /// # Errors
    /// What the database says.
    pub fn put_all_shown(&mut self, exporter: u32, at: UnixMillis, all_shown: bool) -> Result<bool, Error> {
        use schema::interface::dsl as i;
        let number = small(exporter)?;
        self.run("keep whether all interfaces show", |db| {
            write_transaction!(db, c => {
                let rows = newest_interfaces!(c, number)?;
                let newest = rows.iter().map(|row| row.2).max();
                let known = rows.iter().filter(|row| row.1 == 0).max_by_key(|row| row.2).map(|row| (row.2, row.3));
                // A start after the one that is known is another one.
                let is_known = match known {
                    Some((_, true)) | None => all_shown,
                    Some((from, false)) => !all_shown && at.0 <= from,
                };
                if !is_known {
                    let valid_from = newest.map_or(at.0, |newest| at.0.max(newest.saturating_add(1)));
                    diesel::insert_into(i::interface)
                        .values((
                            i::exporter.eq(number),
                            i::ifindex.eq(0_i64),
                            i::valid_from.eq(valid_from),
                            i::present.eq(all_shown),
                            i::name.eq(""),
                            i::description.eq(""),
                            i::alias.eq(""),
                            i::speed.eq(0_i64),
                            i::kind.eq(0_i64),
                        ))
                        .execute(c)?;
                }
                Ok(!is_known)
            })
        })
    }

    /// All interfaces that were ever found, by exporter, instant and number. An entry of interface 0 says from when on
    /// it is known what interfaces the exporter has; one that is not present, since when it has been known only in part,
    /// because the exporter has started and interfaces of links do not show yet.
    ///
    /// # Errors
    /// What the database says.
    pub fn interfaces(&mut self) -> Result<Vec<InterfaceEntry>, Error> {
        use schema::interface::dsl as i;
        let rows: Vec<InterfaceRow> = self.run("read interfaces", |db| {
            Ok(with_connection!(db, c => i::interface.order((i::exporter, i::valid_from, i::ifindex)).load(c))?)
        })?;
        rows.into_iter().map(into_entry).collect()
    }

    /// Keeps parts of buckets: all of them or none. A bucket that is closed for everybody takes no more, of counters as of
    /// usage: invoices may have shares of what was counted in it. What is closed is read inside the same transaction.
    ///
    /// # Errors
    /// [`Error::CountersClosed`]; where one overlaps what is there; and what the database says.
    pub fn put_interface_octets(&mut self, rows: &[InterfaceOctets]) -> Result<(), Error> {
        use schema::closed::dsl as d;
        use schema::interface_octets::dsl as o;
        let of = rows.iter().map(|row| Ok((row.part.bucket.0, small(row.exporter)?)));
        let of: BTreeSet<(i64, i32)> = of.collect::<Result<_, Error>>()?;
        self.run("keep interface octets", |db| {
            write_transaction!(db, c => {
                let others: Option<i64> = d::closed
                    .filter(d::customer.eq(EVERYBODY_ELSE))
                    .select(d::until)
                    .first(c)
                    .optional()?;
                let least: Option<i64> = d::closed.select(diesel::dsl::min(d::until)).first(c)?;
                let closed = others.and(least);
                let is_closed = |row: &&InterfaceOctets| closed.is_some_and(|until| row.part.bucket.0 < until);
                if let Some(row) = rows.iter().find(is_closed) {
                    return Err(Error::CountersClosed { bucket: rfc3339(row.part.bucket.start()) });
                }
                for InterfaceOctets { exporter, ifindex, part } in rows {
                    let octets = |n| storable(n, "octets of more than 63 bits");
                    let packets = |n: Option<u64>| n.map(|n| storable(n, "packets of more than 63 bits")).transpose();
                    diesel::insert_into(o::interface_octets)
                        .values((
                            o::bucket.eq(part.bucket.0),
                            o::exporter.eq(small(*exporter)?),
                            o::ifindex.eq(i64::from(ifindex.0)),
                            o::from_ms.eq(part.from.0),
                            o::to_ms.eq(part.to.0),
                            o::in_octets.eq(octets(part.in_octets)?),
                            o::out_octets.eq(octets(part.out_octets)?),
                            o::in_packets.eq(packets(part.in_packets)?),
                            o::out_packets.eq(packets(part.out_packets)?),
                        ))
                        .execute(c)?;
                }
                seal_octets!(c, of.iter().copied());
                Ok(())
            })
        })
    }

    /// Parts of the buckets in `[from, to)`, by bucket, exporter, interface and time.
    ///
    /// # Errors
    /// What the database says.
    pub fn interface_octets(
        &mut self,
        from: BucketStart,
        to: BucketStart,
    ) -> Result<Vec<InterfaceOctets>, Error> {
        use schema::interface_octets::dsl as o;
        let rows: Vec<OctetsRow> = self.run("read interface octets", |db| {
            Ok(with_connection!(db, c => o::interface_octets
                .filter(o::bucket.ge(from.0))
                .filter(o::bucket.lt(to.0))
                .order((o::bucket, o::exporter, o::ifindex, o::from_ms))
                .load(c))?)
        })?;
        rows.into_iter().map(into_octets).collect()
    }

    /// Keeps that a router's flow tables had no room. What is there already stays.
    ///
    /// # Errors
    /// What the database says.
    pub fn put_card_failures(&mut self, rows: &[CardFailures]) -> Result<(), Error> {
        use schema::card_failures::dsl as f;
        self.run("keep failures of flow tables", |db| {
            write_transaction!(db, c => {
                for row in rows {
                    let some = |n: Option<u64>| n.map(|n| storable(n, "a flow table of more than 63 bits")).transpose();
                    diesel::insert_into(f::card_failures)
                        .values((
                            f::exporter.eq(small(row.exporter)?),
                            f::card.eq(i64::from(row.card)),
                            f::at.eq(row.at.0),
                            f::name.eq(plain(&row.state.name)),
                            f::utilisation.eq(row.state.utilisation.map(i64::from)),
                            f::active.eq(some(row.state.active)?),
                            f::capacity.eq(some(row.state.capacity)?),
                            f::failures.eq(storable(row.failures, "failures of more than 63 bits")?),
                        ))
                        .execute(c)?;
                }
                Ok(())
            })
        })
    }

    /// Readings of routers' flow tables in which failures had risen, in `[from, to)`, by time.
    ///
    /// # Errors
    /// What the database says.
    pub fn card_failures(&mut self, from: UnixMillis, to: UnixMillis) -> Result<Vec<CardFailures>, Error> {
        use schema::card_failures::dsl as f;
        let rows: Vec<CardRow> = self.run("read failures of flow tables", |db| {
            Ok(with_connection!(db, c => f::card_failures
                .filter(f::at.ge(from.0))
                .filter(f::at.lt(to.0))
                .order((f::at, f::exporter, f::card))
                .load(c))?)
        })?;
        rows.into_iter().map(into_card).collect()
    }
}

/// What is to be added, so that `found` is what the exporter has; all of it, or with what is known besides.
fn changes(
    exporter: u32,
    valid_from: UnixMillis,
    known: &BTreeMap<IfIndex, InterfaceEntry>,
    is_whole: bool,
    found: &[Interface],
) -> Vec<InterfaceEntry> {
    let entry = |interface: Interface, present| InterfaceEntry { exporter, valid_from, interface, present };
    let mut added = Vec::new();
    if !known.contains_key(&IfIndex(0)) {
        added.push(entry(Interface::default(), true));
    }
    let mut here: BTreeMap<IfIndex, &Interface> = BTreeMap::new();
    for interface in found.iter().filter(|interface| interface.ifindex != IfIndex(0)) {
        here.entry(interface.ifindex).or_insert(interface);
    }
    for (ifindex, interface) in &here {
        if !known.get(ifindex).is_some_and(|known| known.present && known.interface == **interface) {
            added.push(entry((*interface).clone(), true));
        }
    }
    let names: BTreeSet<&str> = here.values().map(|interface| interface.name.as_str()).collect();
    for (ifindex, known) in known {
        let is_gone = is_whole || names.contains(known.interface.name.as_str());
        if *ifindex != IfIndex(0) && known.present && !here.contains_key(ifindex) && is_gone {
            added.push(entry(known.interface.clone(), false));
        }
    }
    added
}

/// Text without zero octets, which no database keeps.
fn plain(text: &str) -> String {
    text.replace('\0', "")
}

fn small(exporter: u32) -> Result<i32, Error> {
    i32::try_from(exporter).map_err(|_| Error::Range("an exporter's number of more than 31 bits"))
}

fn into_entry(row: InterfaceRow) -> Result<InterfaceEntry, Error> {
    let (exporter, ifindex, valid_from, present, name, description, alias, speed, kind) = row;
    let interface = Interface {
        ifindex: IfIndex(stored(ifindex, "an interface")?),
        name,
        description,
        alias,
        speed: stored(speed, "a speed")?,
        kind: stored(kind, "a kind of interface")?,
    };
    let exporter = stored(exporter.into(), "an exporter")?;
    Ok(InterfaceEntry { exporter, valid_from: UnixMillis(valid_from), interface, present })
}

fn into_octets(row: OctetsRow) -> Result<InterfaceOctets, Error> {
    let (bucket, exporter, ifindex, from, to, in_octets, out_octets, in_packets, out_packets) = row;
    let sum = |n| stored::<u64>(n, "octets of an interface");
    Ok(InterfaceOctets {
        exporter: stored(exporter.into(), "an exporter")?,
        ifindex: IfIndex(stored(ifindex, "an interface")?),
        part: InterfacePart {
            bucket: BucketStart(bucket),
            from: UnixMillis(from),
            to: UnixMillis(to),
            in_octets: sum(in_octets)?,
            out_octets: sum(out_octets)?,
            in_packets: in_packets.map(sum).transpose()?,
            out_packets: out_packets.map(sum).transpose()?,
        },
    })
}

fn into_card(row: CardRow) -> Result<CardFailures, Error> {
    let (exporter, card, at, name, utilisation, active, capacity, failures) = row;
    let some = |n: Option<i64>| n.map(|n| stored::<u64>(n, "a flow table")).transpose();
    Ok(CardFailures {
        exporter: stored(exporter.into(), "an exporter")?,
        card: stored(card, "a card")?,
        at: UnixMillis(at),
        state: Card {
            name,
            utilisation: utilisation.map(|n| stored(n, "a utilisation")).transpose()?,
            active: some(active)?,
            capacity: some(capacity)?,
            failures: None,
        },
        failures: stored(failures, "failures")?,
    })
}
