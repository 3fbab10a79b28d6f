//! What was decided about periods: bounds that closings moved, and seams that somebody accepted. Each decision is sealed by a
//! hash over itself and the one before, so that a bound that was moved without one is noticed.

use diesel::prelude::*;

use super::Ledger;
use super::connection::{with_connection, write_transaction};
use super::error::Error;
use super::records::books::{Actor, Decision, DecisionKind, GENESIS};
use super::registers::stored;
use super::schema;
use crate::usage::BucketStart;

/// Keeps decisions, of which the schema is asked only for the number and the hash of the last one.
macro_rules! decide {
    ($connection:expr, $decisions:expr) => {{
        use diesel::prelude::*;
        use $crate::ledger::schema::decision::dsl as d;
        let last: Option<(i64, String)> =
            d::decision.order(d::seq.desc()).select((d::seq, d::hash)).first($connection).optional()?;
        let (mut seq, mut prev) =
            last.unwrap_or_else(|| (0, $crate::ledger::records::books::GENESIS.to_owned()));
        for decision in $decisions {
            let decision: &$crate::ledger::records::books::Decision = decision;
            seq += 1;
            let hash = decision.hash(seq.unsigned_abs(), &prev);
            diesel::insert_into(d::decision)
                .values((
                    d::seq.eq(seq),
                    d::kind.eq(decision.kind.as_str()),
                    d::customer.eq(i64::from(decision.customer)),
                    d::bucket.eq(decision.bucket.0),
                    d::earlier.eq(decision.earlier.0),
                    d::reason.eq(&decision.reason),
                    d::at.eq(decision.at),
                    d::made_by.eq(&decision.by),
                    d::prev.eq(&prev),
                    d::hash.eq(&hash),
                ))
                .execute($connection)?;
            prev = hash;
        }
    }};
}

pub(super) use decide;

/// A row of `decision`.
type Row = (i64, String, i64, i64, i64, String, i64, String, String, String);

impl Ledger {
    /// Accepts that a customer's period begins at `begins` where the one before ended at `ends`.
    ///
    /// # Errors
    /// What the database says.
    pub fn accept_seam(
        &mut self,
        customer: u32,
        (ends, begins): (BucketStart, BucketStart),
        reason: &str,
        actor: Actor<'_>,
    ) -> Result<(), Error> {
        let decision = Decision {
            kind: DecisionKind::Seam,
            customer,
            bucket: begins,
            earlier: ends,
            reason: reason.to_owned(),
            at: actor.at,
            by: actor.by.to_owned(),
        };
        self.run("accept a seam", |db| {
            write_transaction!(db, c => {
                decide!(c, [&decision]);
                Ok(())
            })
        })
    }

    /// All decisions in their order, and what is wrong with their chain, in words.
    ///
    /// # Errors
    /// What the database says.
    pub fn decisions(&mut self) -> Result<(Vec<Decision>, Vec<String>), Error> {
        use schema::decision::dsl as d;
        let rows: Vec<Row> = self
            .run("read decisions", |db| Ok(with_connection!(db, c => d::decision.order(d::seq).load(c))?))?;
        let (mut decisions, mut wrong) = (Vec::with_capacity(rows.len()), Vec::new());
        let (mut next, mut before) = (1, GENESIS.to_owned());
        for (seq, kind, customer, bucket, earlier, reason, at, by, prev, hash) in rows {
            let decision = Decision {
                kind: DecisionKind::from_name(&kind)
                    .ok_or_else(|| Error::Damaged(format!("`{kind}` is no kind of decision")))?,
                customer: stored(customer, "a customer")?,
                bucket: BucketStart(bucket),
                earlier: BucketStart(earlier),
                reason,
                at,
                by,
            };
            if seq != next {
                wrong.push(format!("decision {next} is missing"));
            }
            if prev != before || decision.hash(seq.unsigned_abs(), &prev) != hash {
                wrong.push(format!("decision {seq} has been changed: its hash is another"));
            }
            (next, before) = (seq + 1, hash);
            decisions.push(decision);
        }
        Ok((decisions, wrong))
    }
}
