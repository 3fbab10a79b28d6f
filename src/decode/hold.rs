//! Data sets that wait for their template: their octets as received, with what their header said.
//!
//! Bounded in octets, each set at the cost of keeping it; when full, the oldest gives way. So it does where those of all
//! exporters together take too much room, which their processor sees to. What waits in vain is counted by the owner in
//! sets and octets.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::clock::Context;
use crate::ids::Session;
use crate::units::UnixMillis;

/// What keeping a set costs besides its octets.
const OVERHEAD: usize = 128;

/// A set that waits.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Held {
    session: Option<Session>,
    pub(super) context: Context,
    /// The id of the template that it waits for.
    pub(super) template: u16,
    /// It came in a message of which it is not known yet whether it is of a new run of the exporter: it waits for that.
    in_doubt: bool,
    /// The records, without the set's header.
    pub(super) octets: Vec<u8>,
}

/// All waiting sets of one exporter, oldest first.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Hold {
    sets: VecDeque<Held>,
    octets: usize,
}

/// Sets and octets that waited in vain.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Expired {
    pub(super) sets: u64,
    pub(super) octets: u64,
}

impl Hold {
    pub(super) fn sets(&self) -> usize {
        self.sets.len()
    }

    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Octets of memory.
    pub(super) fn cost(&self) -> usize {
        self.octets + self.sets.len() * OVERHEAD
    }

    /// Keeps a set; the oldest ones give way while there is no room.
    pub(super) fn keep(
        &mut self,
        session: Option<Session>,
        context: &Context,
        (template, in_doubt): (u16, bool),
        octets: &[u8],
        limit: usize,
    ) -> Expired {
        if octets.len() + OVERHEAD > limit {
            return Expired { sets: 1, octets: octets.len() as u64 };
        }
        let mut expired = Expired::default();
        while self.cost() + octets.len() + OVERHEAD > limit && self.drop_oldest(&mut expired) {}
        self.octets += octets.len();
        let octets = octets.to_vec();
        self.sets.push_back(Held { session, context: *context, template, in_doubt, octets });
        expired
    }

    /// Drops what was received `hold_ms` before `now`, or earlier.
    pub(super) fn expire(&mut self, now: UnixMillis, hold_ms: i64) -> Expired {
        let mut expired = Expired::default();
        // Oldest first by arrival; a clock set back only lets a set wait longer.
        while self.sets.front().is_some_and(|set| now.since(set.context.received) >= hold_ms) {
            self.drop_oldest(&mut expired);
        }
        expired
    }

    /// Drops what waits for a template of a domain, but not in a session, whose templates are of one run.
    pub(super) fn forget(&mut self, version: u16, domain: u32) -> Expired {
        self.forget_before(version, domain, UnixMillis(i64::MAX))
    }

    /// The same for what was received before `begun`. What came in doubt is of the new run, and waits for its templates.
    pub(super) fn forget_before(&mut self, version: u16, domain: u32, begun: UnixMillis) -> Expired {
        let (before, octets) = (self.sets.len(), self.octets);
        self.sets.retain_mut(|set| {
            let Context { version: own, domain: id, received, .. } = set.context;
            let is_its = set.session.is_none() && (own, id) == (version, domain);
            let goes = is_its && received < begun && !set.in_doubt;
            set.in_doubt &= !is_its;
            self.octets -= if goes { set.octets.len() } else { 0 };
            !goes
        });
        Expired { sets: (before - self.sets.len()) as u64, octets: (octets - self.octets) as u64 }
    }

    /// The ids of the templates by which sets of a domain can be read that came in doubt, once each. They are so no longer.
    pub(super) fn end_doubt(&mut self, version: u16, domain: u32) -> Vec<u16> {
        let is_its =
            |set: &&mut Held| set.in_doubt && (set.context.version, set.context.domain) == (version, domain);
        let mut templates: Vec<u16> = Vec::new();
        for set in self.sets.iter_mut().filter(is_its) {
            set.in_doubt = false;
            if !templates.contains(&set.template) {
                templates.push(set.template);
            }
        }
        templates
    }

    /// Drops the oldest set. False: there is none.
    pub(super) fn drop_oldest(&mut self, expired: &mut Expired) -> bool {
        let Some(set) = self.sets.pop_front() else { return false };
        self.octets -= set.octets.len();
        expired.sets += 1;
        expired.octets += set.octets.len() as u64;
        true
    }

    /// Drops what waits in sessions that are over.
    pub(super) fn end_sessions(&mut self, is_over: impl Fn(Session) -> bool) -> Expired {
        let mut expired = Expired::default();
        self.sets.retain(|set| {
            let goes = set.session.is_some_and(&is_over);
            if goes {
                expired.sets += 1;
                expired.octets += set.octets.len() as u64;
            }
            !goes
        });
        self.octets -= usize::try_from(expired.octets).expect("what is in memory");
        expired
    }

    /// Takes out the sets that wait for a template, oldest first.
    pub(super) fn take(
        &mut self,
        session: Option<Session>,
        version: u16,
        domain: u32,
        template: u16,
    ) -> Vec<Held> {
        let waits = |set: &Held| {
            (set.session, set.template) == (session, template)
                && (set.context.domain, set.context.version) == (domain, version)
        };
        if !self.sets.iter().any(waits) {
            return Vec::new();
        }
        let (taken, kept): (Vec<_>, Vec<_>) = self.sets.drain(..).partition(waits);
        self.sets = kept.into();
        self.octets -= taken.iter().map(|set| set.octets.len()).sum::<usize>();
        taken
    }
}
