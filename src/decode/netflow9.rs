//! NetFlow v9 (RFC 3954): a header of 20 octets, template flowsets (id 0), options template flowsets (id 1), data.

use super::clock::{Context, Run};
use super::sequence::{Count, Records, Unit, Uptime};
use super::sets::Piece;
use super::template::{FieldSpec, Kind};
use super::{Decoded, Domain, Error, ExporterDecoder, Fate, Limits, Work, read, shown};
use crate::ids::ExporterId;
use crate::units::UnixMillis;

const HEADER: usize = 20;

impl ExporterDecoder {
    pub(super) fn netflow9(
        &mut self,
        exporter: ExporterId,
        limits: &Limits,
        received: UnixMillis,
        payload: &[u8],
        out: &mut Decoded,
    ) -> Result<Fate, Error> {
        let word = |at| read::u32(payload, at);
        let (Some(uptime), Some(seconds), Some(number), Some(id)) = (word(4), word(8), word(12), word(16))
        else {
            return Err(Error::Truncated { offset: payload.len() });
        };
        let at = self.domain(9, id, limits, received).ok_or(Error::DomainRefused { domain: id })?;
        shown::count(&mut self.domains[at].seen, payload.len());
        if self.domains[at].is_duplicate(number, payload) {
            self.domains[at].seen.discarded += 1;
            return Ok(Fate::Duplicate);
        }
        let stated = UnixMillis::from_seconds(i64::from(seconds));
        let (export, shift) = self.counts.export_time(stated, received, limits);
        let context = Context {
            version: 9,
            domain: id,
            number,
            export,
            shift,
            uptime: Some(uptime),
            received,
            system_init: None,
            in_run: None,
        };
        let (domain, mut work) = self.work(at, exporter, limits, out);
        let uptime = Uptime { millis: uptime, stated, received };
        let waited = work.see_order(domain, &context, Some(uptime), Unit::DATAGRAMS);
        let told = if work.is_former {
            domain.sequence.see_former(number, Records { all: Count::exactly(1), flows: 1 })
        } else {
            // Where two exporters use the domain there is no run to tell instants in.
            let told = domain.sequence.see(number, 1, Some(uptime), received, Unit::DATAGRAMS);
            domain.run = (!domain.sequence.is_shared()).then(|| Run::see(domain.run, uptime));
            told
        };
        domain.seen.discarded += u64::from(told.lost);
        work.counts.told(told);
        let message = Piece { data: payload, at: HEADER, end: payload.len() };
        let templates = |domain: &Domain| domain.seen.templates + domain.seen.options_templates;
        let before = templates(domain);
        let mut outcome = work.sets(domain, &context, message, Work::templates9);
        if let Some(offset) = outcome.padding {
            // Padding is what is behind all that the header counts: records and templates, or, with some exporters, sets.
            // Of sets that wait nobody knows the records.
            let found = outcome.records.map(|records| u64::from(records) + templates(domain) - before);
            if found.is_some_and(|found| found.max(outcome.sets) < half(payload, 2).into()) {
                outcome.fail(Error::SetLength { length: 0, offset });
            }
        }
        domain.seen.discarded += u64::from(outcome.error.is_some());
        *work.template_octets += domain.templates.octets();
        waited?;
        outcome.error.map_or(Ok(Fate::Decoded), Err)
    }
}

impl Work<'_> {
    /// Reads a template flowset; `None` where the id is reserved.
    fn templates9(&mut self, domain: &mut Domain, id: u16, set: Piece<'_>) -> Option<Result<(), Error>> {
        match id {
            0 => Some(self.data_templates9(domain, set)),
            1 => Some(self.options_templates9(domain, set)),
            _ => None,
        }
    }

    fn data_templates9(&mut self, domain: &mut Domain, set: Piece<'_>) -> Result<(), Error> {
        let Piece { data, mut at, end } = set;
        let mut result = Ok(());
        while end - at >= 4 {
            let (offset, id, count) = (at, half(data, at), half(data, at + 2));
            if id == 0 && count == 0 {
                break; // Padding.
            }
            at += 4;
            if id < 256 {
                return result.and(Err(Error::TemplateId { id, offset }));
            }
            let defined = if count == 0 {
                Err(Error::TemplateEmpty { offset })
            } else {
                self.scratch.clear();
                self.fields9(Piece { data, at, end }, usize::from(count), 0)?;
                at += usize::from(count) * 4;
                self.define_limited(domain, id, Kind::Data, count, offset)
            };
            result = result.and(defined);
        }
        result
    }

    fn options_templates9(&mut self, domain: &mut Domain, set: Piece<'_>) -> Result<(), Error> {
        let Piece { data, mut at, end } = set;
        let mut result = Ok(());
        while end - at >= 6 {
            let (offset, id) = (at, half(data, at));
            let (scope, option) = (usize::from(half(data, at + 2)), usize::from(half(data, at + 4)));
            if id == 0 && scope == 0 && option == 0 {
                break; // Padding.
            }
            at += 6;
            if id < 256 {
                return result.and(Err(Error::TemplateId { id, offset }));
            }
            if scope % 4 != 0 || option % 4 != 0 {
                return result.and(Err(Error::Scope { offset }));
            }
            let count = (scope + option) / 4;
            let defined = if count == 0 {
                Err(Error::TemplateEmpty { offset })
            } else {
                self.scratch.clear();
                self.fields9(Piece { data, at, end }, count, scope / 4)?;
                at += count * 4;
                let count = u16::try_from(count).unwrap_or(u16::MAX);
                let scopes = u16::try_from(scope / 4).unwrap_or(u16::MAX);
                self.define_limited(domain, id, Kind::Options(scopes), count, offset)
            };
            result = result.and(defined);
        }
        result
    }

    /// Reads `count` field specifiers, of which the first `scopes` are scopes, into the scratch list.
    fn fields9(&mut self, set: Piece<'_>, count: usize, scopes: usize) -> Result<(), Error> {
        let Some(specifiers) = set.data[..set.end].get(set.at..set.at + count * 4) else {
            return Err(Error::Truncated { offset: set.end });
        };
        self.scratch.extend(specifiers.chunks_exact(4).enumerate().map(|(n, field)| {
            let (element, length) = (half(field, 0), half(field, 2));
            // RFC 3954 6.1: scope types have numbers of their own. A line card (3) and a template (5) are what elements
            // 141 and 145 name, too; an interface (2) is no element's, since it is meant both ways. Beyond 5, exporters
            // mean elements.
            let (enterprise, element) = match element {
                3 if n < scopes => (0, 141),
                5 if n < scopes => (0, 145),
                1 | 2 | 4 if n < scopes => (FieldSpec::SCOPE, element),
                _ => (0, element),
            };
            FieldSpec { enterprise, element, length }
        }));
        Ok(())
    }

    /// Defines the template in the scratch list, unless it has too many fields.
    pub(super) fn define_limited(
        &mut self,
        domain: &mut Domain,
        id: u16,
        kind: Kind,
        fields: u16,
        offset: usize,
    ) -> Result<(), Error> {
        if usize::from(fields) > self.limits.template_fields {
            self.counts.template_refusals += 1;
            return Err(Error::TemplateFields { fields, offset });
        }
        self.define(domain, id, kind, offset)
    }
}

/// Two octets at a place that the caller has checked.
fn half(data: &[u8], at: usize) -> u16 {
    read::u16(data, at).unwrap_or_default()
}
