//! The time that an exporter of NetFlow v9 has run, by the uptimes of its headers.
//!
//! Headers have the time of day in whole seconds and the uptime in milliseconds, so a flow's uptimes turned into the time
//! of day differ by up to a second from datagram to datagram, and by more where either clock drifts or is set. Counted in
//! the run they are exact: a start that is told twice is the same instant twice.
//!
//! Invariants: within a run, instants differ by what uptimes do, over the wrap after 49.7 days too; those of a later run are
//! all later, whatever the clocks say. An uptime that does not fit the run, nor begins another one, has no instant: it came
//! late from the run before, or there is no reason in it.

use serde::{Deserialize, Serialize};

use super::Context;
use crate::decode::sequence::Uptime;
use crate::units::UnixMillis;

/// By how much the time that has passed may differ from what the uptime says of it: delays, and clocks that are set.
const DELAY_MS: i64 = 60_000;

/// The run of an exporter.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(in crate::decode) struct Run {
    /// The newest uptime.
    last: Uptime,
    /// Its instant: about our time of day when the run was first heard of, and by the uptime since.
    at: UnixMillis,
}

impl Run {
    /// The run after a datagram with this uptime.
    pub(in crate::decode) fn see(run: Option<Self>, now: Uptime) -> Self {
        match run {
            None => Self { last: now, at: now.received },
            Some(run) if now.began_after(run.last) => run.next(now),
            Some(run) => match run.passed(now) {
                Some(passed) if passed > 0 => Self { last: now, at: run.at.plus(passed) },
                Some(_) | None => run,
            },
        }
    }

    /// The run that came after this one.
    fn next(self, now: Uptime) -> Self {
        let ran = i64::from(now.millis);
        let is_later = now.received.plus(-ran).since(self.last.received) >= -DELAY_MS;
        // What did not begin after all that was heard is no later run, but a clock that cannot be believed.
        let earliest = if is_later { self.at.plus(ran).plus(1) } else { now.received };
        Self { last: now, at: now.received.max(earliest) }
    }

    /// Milliseconds of the run from its newest uptime to this one, if that is of the same run.
    fn passed(self, now: Uptime) -> Option<i64> {
        let ran = now.millis.wrapping_sub(self.last.millis);
        let fits = |passed: i64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "modulo 2^32 is meant"
            )]
            let off = i64::from((passed as u32).wrapping_sub(ran).cast_signed());
            (off.abs() <= DELAY_MS).then(|| passed.saturating_sub(off))
        };
        fits(now.stated.since(self.last.stated)).or_else(|| fits(now.received.since(self.last.received)))
    }

    /// The instant of the uptime of a datagram's header, by the run.
    pub(in crate::decode) fn instant(self, context: &Context) -> Option<UnixMillis> {
        let &Context { export, shift, received, .. } = context;
        let now = Uptime { millis: context.uptime?, stated: export.plus(-shift), received };
        self.passed(now).map(|passed| self.at.plus(passed))
    }
}

#[cfg(test)]
mod tests;
