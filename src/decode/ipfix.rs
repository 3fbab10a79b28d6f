//! IPFIX (RFC 7011): a header of 16 octets, template sets (id 2), options template sets (id 3), data sets.
//!
//! A template with no fields is a withdrawal (RFC 7011 8.1); with the set's own id, of all templates of that kind. That
//! is so in a session, and in a file of messages (RFC 5655), which has the order that its writer gave it
//! ([`Limits::obey_withdrawals`]). Over UDP nobody knows what it comes before and behind, and anybody can forge it, so it
//! must not be sent and is ignored (RFC 7011 8.4): the message is counted malformed, by [`Error::Withdrawal`], and all
//! else in it is taken.
//!
//! Data that was received before keeps its meaning, because it is decoded when it is received. A redefinition without a
//! withdrawal is taken as well, over TCP too: where messages come in order the newest definition is the one meant.

use super::clock::Context;
use super::sequence::{Records, Told, Unit};
use super::sets::{Outcome, Piece};
use super::template::{FieldSpec, Kind};
use super::{Decoded, Domain, Error, ExporterDecoder, Fate, Limits, Work, read, shown};
use crate::ids::{ExporterId, Session};
use crate::units::UnixMillis;

const HEADER: usize = 16;
const TEMPLATES: u16 = 2;
const OPTIONS_TEMPLATES: u16 = 3;

/// The bit of an element number that announces an enterprise number.
const ENTERPRISE: u16 = 0x8000;

impl ExporterDecoder {
    pub(super) fn ipfix(
        &mut self,
        session: Option<Session>,
        exporter: ExporterId,
        limits: &Limits,
        received: UnixMillis,
        payload: &[u8],
        out: &mut Decoded,
    ) -> Result<Fate, Error> {
        let word = |at| read::u32(payload, at);
        let (Some(length), Some(seconds), Some(number), Some(id)) =
            (read::u16(payload, 2), word(4), word(8), word(12))
        else {
            return Err(Error::Truncated { offset: payload.len() });
        };
        let end = usize::from(length);
        if end < HEADER {
            return Err(Error::MessageLength { length, octets: payload.len() });
        }
        let is_new_session = session.is_some() && !self.has_domain(session, 10, id);
        let at =
            self.domain_in(session, 10, id, limits, received).ok_or(Error::DomainRefused { domain: id })?;
        shown::count(&mut self.domains[at].seen, payload.len());
        if self.domains[at].is_duplicate(number, payload) {
            self.domains[at].seen.discarded += 1;
            return Ok(Fate::Duplicate);
        }
        let stated = UnixMillis::from_seconds(i64::from(seconds));
        let (export, shift) = self.counts.export_time(stated, received, limits);
        let context = Context {
            version: 10,
            domain: id,
            number,
            export,
            shift,
            uptime: None,
            received,
            system_init: None,
            in_run: None,
        };
        let (domain, mut work) = self.work(at, exporter, limits, out);
        let message = Piece { data: payload, at: HEADER, end: end.min(payload.len()) };
        let mut waited = Ok(());
        if session.is_none() {
            waited = work.see_order(domain, &context, None, Unit::RECORDS);
            if !work.is_former && !has_data(&payload[HEADER..message.end]) {
                work.order = domain.sequence.order_without_records(context.stream(), context.mark());
            }
        } else if is_new_session {
            // What the exporter announced in another session it may have announced before it started anew.
            work.out.restarts.push(id);
        }
        let mut outcome = work.sets(domain, &context, message, Work::templates10);
        if end > payload.len() {
            outcome.fail(Error::MessageLength { length, octets: payload.len() });
        }
        // A datagram is one message. What is behind it is no part of it, and does not make its records fewer.
        let Outcome { bounds: mut all, mut options, error, .. } = outcome;
        // A message may define what it has used before.
        for set in work.settled.iter().filter(|set| set.number == number) {
            if all.most > all.least {
                all.settle(set.octets, set.records);
                options += set.options;
            }
        }
        let error = error.or_else(|| read::trailing(payload, end));
        let records = Records { all, flows: all.least.saturating_sub(options) };
        let sequence = &mut domain.sequence;
        let told = match sequence.is_in_doubt() {
            _ if work.is_former => sequence.see_former(number, records),
            // The next one tells what its number means.
            true => Told::default(),
            false => sequence.see_message(number, records, received),
        };
        domain.seen.discarded += u64::from(told.lost > 0) + u64::from(error.is_some());
        work.counts.told(told);
        *work.template_octets += domain.templates.octets();
        waited?;
        error.map_or(Ok(Fate::Decoded), Err)
    }
}

/// True where one of the sets has data records.
fn has_data(mut sets: &[u8]) -> bool {
    while let (Some(id), Some(length)) = (read::u16(sets, 0), read::u16(sets, 2)) {
        if id >= 256 {
            return true;
        }
        match sets.get(usize::from(length)..) {
            Some(rest) if length > 0 => sets = rest,
            _ => return false,
        }
    }
    false
}

impl Work<'_> {
    /// Reads a template set; `None` where the id is reserved.
    fn templates10(&mut self, domain: &mut Domain, id: u16, set: Piece<'_>) -> Option<Result<(), Error>> {
        match id {
            TEMPLATES => Some(self.template_set(domain, Kind::Data, set)),
            OPTIONS_TEMPLATES => Some(self.template_set(domain, Kind::Options(0), set)),
            _ => None,
        }
    }

    fn template_set(&mut self, domain: &mut Domain, mut kind: Kind, set: Piece<'_>) -> Result<(), Error> {
        let Piece { data, mut at, end } = set;
        let mut result = Ok(());
        while end - at >= 4 {
            let (offset, id, count) = (at, half(data, at), half(data, at + 2));
            if id == 0 && count == 0 {
                break; // Padding.
            }
            at += 4;
            if count == 0 && is_withdrawal(kind, id) {
                if domain.session.is_some() || self.limits.obey_withdrawals {
                    self.withdraw(domain, kind, id);
                } else {
                    result = result.and(Err(Error::Withdrawal { id, offset }));
                }
                continue;
            }
            if id < 256 {
                return result.and(Err(Error::TemplateId { id, offset }));
            }
            let mut scopes = 0;
            if kind.is_options() {
                if end - at < 2 {
                    return result.and(Err(Error::Truncated { offset: end }));
                }
                scopes = half(data, at);
                kind = Kind::Options(scopes);
                at += 2;
            }
            at = self.fields10(Piece { data, at, end }, usize::from(count))?;
            let defined = if kind.is_options() && (scopes == 0 || scopes > count) {
                Err(Error::Scope { offset })
            } else {
                self.define_limited(domain, id, kind, count, offset)
            };
            result = result.and(defined);
        }
        result
    }

    /// Forgets what a withdrawal names.
    fn withdraw(&mut self, domain: &mut Domain, kind: Kind, id: u16) {
        let before = domain.templates.len();
        match id {
            256.. => domain.templates.withdraw(id),
            _ => domain.templates.withdraw_all(kind),
        }
        self.counts.templates -= (before - domain.templates.len()) as u64;
    }

    /// Reads `count` field specifiers into the scratch list (no more than the limit); where they end.
    fn fields10(&mut self, set: Piece<'_>, count: usize) -> Result<usize, Error> {
        let Piece { data, mut at, end } = set;
        self.scratch.clear();
        for _ in 0..count {
            if end - at < 4 {
                return Err(Error::Truncated { offset: end });
            }
            let (element, length) = (half(data, at), half(data, at + 2));
            at += 4;
            let mut enterprise = 0;
            if element & ENTERPRISE != 0 {
                if end - at < 4 {
                    return Err(Error::Truncated { offset: end });
                }
                enterprise = read::u32(data, at).unwrap_or_default();
                at += 4;
            }
            if self.scratch.len() < self.limits.template_fields {
                self.scratch.push(FieldSpec { enterprise, element: element & !ENTERPRISE, length });
            }
        }
        Ok(at)
    }
}

/// Whether a template without fields is a withdrawal: of a template, or of all of its set's kind.
const fn is_withdrawal(kind: Kind, id: u16) -> bool {
    matches!((kind, id), (Kind::Data, TEMPLATES) | (Kind::Options(_), OPTIONS_TEMPLATES) | (_, 256..))
}

/// Two octets at a place that the caller has checked.
fn half(data: &[u8], at: usize) -> u16 {
    read::u16(data, at).unwrap_or_default()
}
