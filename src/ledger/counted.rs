//! Seals of what interfaces counted: a digest of the rows of each bucket and exporter, renewed by whoever adds to them. Invoices
//! are calibrated by these rows, so that the audit has to notice who changes them without the guards of the database.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use diesel::prelude::*;

use super::Ledger;
use super::connection::with_connection;
use super::error::Error;
use super::interfaces::OctetsRow;
use super::records::books::digest;
use super::registers::stored;
use super::schema;
use crate::usage::BucketStart;

/// Seconds of a day: what is read at once.
pub(super) const DAY: i64 = 86_400;

/// SHA-256 over rows in the order of their key.
pub(super) fn hash(rows: &[OctetsRow]) -> String {
    let mut text = String::new();
    for (bucket, exporter, ifindex, from, to, octets_in, octets_out, packets_in, packets_out) in rows {
        let packets = |n: &Option<i64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let (packets_in, packets_out) = (packets(packets_in), packets(packets_out));
        writeln!(
            text,
            "{bucket} {exporter} {ifindex} {from} {to} {octets_in} {octets_out} {packets_in} {packets_out}"
        )
        .expect("a string takes everything");
    }
    digest(&text)
}

/// Seals these buckets and exporters as they are.
macro_rules! seal_octets {
    ($connection:expr, $of:expr) => {{
        use diesel::prelude::*;
        use $crate::ledger::schema::interface_octets::dsl as o;
        use $crate::ledger::schema::interface_octets_seal::dsl as s;
        for (bucket, exporter) in $of {
            let rows: Vec<$crate::ledger::interfaces::OctetsRow> = o::interface_octets
                .filter(o::bucket.eq(bucket))
                .filter(o::exporter.eq(exporter))
                .order((o::ifindex, o::from_ms))
                .load($connection)?;
            let hash = $crate::ledger::counted::hash(&rows);
            diesel::insert_into(s::interface_octets_seal)
                .values((s::bucket.eq(bucket), s::exporter.eq(exporter), s::hash.eq(&hash)))
                .on_conflict((s::bucket, s::exporter))
                .do_update()
                .set(s::hash.eq(&hash))
                .execute($connection)?;
        }
    }};
}

/// Seals all that there was before there were seals.
macro_rules! adopt_octets {
    ($connection:expr) => {{
        use diesel::prelude::*;
        use $crate::ledger::schema::interface_octets::dsl as o;
        let mut from = i64::MIN;
        loop {
            let first: Option<i64> = o::interface_octets
                .filter(o::bucket.ge(from))
                .select(diesel::dsl::min(o::bucket))
                .first($connection)?;
            let Some(first) = first else { break };
            from = first.saturating_add($crate::ledger::counted::DAY);
            let of: Vec<(i64, i32)> = o::interface_octets
                .filter(o::bucket.ge(first))
                .filter(o::bucket.lt(from))
                .select((o::bucket, o::exporter))
                .distinct()
                .load($connection)?;
            $crate::ledger::counted::seal_octets!($connection, of);
        }
    }};
}

pub(super) use {adopt_octets, seal_octets};

/// Rows and seals of a day.
type Page = (Vec<OctetsRow>, Vec<(i64, i32, String)>);

impl Ledger {
    /// How many buckets of exporters have something that interfaces counted; and `differs` is told of which one it is not as it
    /// was sealed.
    ///
    /// # Errors
    /// What the database says.
    pub fn counted(&mut self, differs: &mut dyn FnMut(BucketStart, u32)) -> Result<u64, Error> {
        use schema::interface_octets::dsl as o;
        use schema::interface_octets_seal::dsl as s;
        let (mut count, mut from) = (0, i64::MIN);
        loop {
            let page: Option<(i64, Page)> = self.run("read interface octets", |db| {
                with_connection!(db, c => {
                    let row: Option<i64> = o::interface_octets
                        .filter(o::bucket.ge(from))
                        .select(diesel::dsl::min(o::bucket))
                        .first(c)?;
                    let seal: Option<i64> = s::interface_octets_seal
                        .filter(s::bucket.ge(from))
                        .select(diesel::dsl::min(s::bucket))
                        .first(c)?;
                    let Some(first) = [row, seal].into_iter().flatten().min() else { return Ok(None) };
                    let until = first.saturating_add(DAY);
                    let rows: Vec<OctetsRow> = o::interface_octets
                        .filter(o::bucket.ge(first))
                        .filter(o::bucket.lt(until))
                        .order((o::bucket, o::exporter, o::ifindex, o::from_ms))
                        .load(c)?;
                    let seals: Vec<(i64, i32, String)> = s::interface_octets_seal
                        .filter(s::bucket.ge(first))
                        .filter(s::bucket.lt(until))
                        .load(c)?;
                    Ok(Some((until, (rows, seals))))
                })
            })?;
            let Some((until, (rows, seals))) = page else { return Ok(count) };
            from = until;
            let mut sealed: BTreeMap<(i64, i32), String> =
                seals.into_iter().map(|(bucket, exporter, hash)| ((bucket, exporter), hash)).collect();
            let mut wrong = Vec::new();
            for rows in rows.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
                let of = (rows[0].0, rows[0].1);
                count += 1;
                if sealed.remove(&of) != Some(hash(rows)) {
                    wrong.push(of);
                }
            }
            // All of its rows are gone.
            wrong.extend(sealed.into_keys());
            for (bucket, exporter) in wrong {
                differs(BucketStart(bucket), stored(exporter.into(), "an exporter")?);
            }
        }
    }
}
