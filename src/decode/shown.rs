//! What decoding remembers of an exporter, for those who watch: sessions, templates, and what came by each.
//!
//! Counts here begin with the process: they are for watching, and no part of a checkpoint.

use super::ExporterDecoder;
use crate::counters::{Template, Transport, TransportCounts};
use crate::units::UnixMillis;

/// A protocol of templates is one of these versions or above.
const TEMPLATES_FROM: u16 = 9;

impl ExporterDecoder {
    /// The sessions that carry templates, and the templates: in the order that [`crate::counters::Memory`] wants.
    #[must_use]
    pub fn remembered(&self) -> (Vec<Transport>, Vec<Template>) {
        let mut transports: Vec<Transport> = Vec::new();
        let mut templates: Vec<(UnixMillis, Template)> = Vec::new();
        let mut heard = UnixMillis(i64::MIN);
        // They stand in the order of session, version and domain.
        for domain in self.domains.iter().filter(|domain| domain.version >= TEMPLATES_FROM) {
            match transports.last_mut().filter(|last| last.session == domain.session) {
                Some(last) => {
                    // An exporter may be set to another protocol: the one that was heard last is what it speaks.
                    if domain.last_seen >= heard {
                        (last.version, heard) = (domain.version, domain.last_seen);
                    }
                    last.heard_at = last.heard_at.max(domain.last_seen.0);
                    last.counts.add(&domain.seen);
                }
                None => {
                    heard = domain.last_seen;
                    transports.push(Transport {
                        session: domain.session,
                        version: domain.version,
                        heard_at: domain.last_seen.0,
                        counts: domain.seen,
                    });
                }
            }
            let of = domain.templates.all().filter(|(_, template)| template.defined_at().0 != 0);
            let of = of.map(|(id, template)| {
                let shown = Template {
                    session: domain.session,
                    domain: domain.id,
                    id,
                    is_options: template.kind().is_options(),
                    defined_at: template.defined_at().0,
                    records: template.records,
                    scopes: template.scopes(),
                    fields: template.fields(),
                };
                (domain.last_seen, shown)
            });
            templates.extend(of);
        }
        if let Some(datagrams) = transports.first_mut().filter(|first| first.session.is_none()) {
            datagrams.counts.add(&self.gone);
        }
        // Two versions in one domain may use the same id: the one that was heard last is what the session speaks. Of two
        // at one instant the later place, which is the greater version's, as above.
        templates.reverse();
        templates.sort_by_key(|(heard, template)| {
            (template.session, template.domain, template.id, core::cmp::Reverse(*heard))
        });
        templates.dedup_by_key(|(_, template)| (template.session, template.domain, template.id));
        let templates = templates.into_iter().map(|(_, template)| template).collect();
        (transports, templates)
    }
}

/// Counts a message of a session and what became of it.
pub(super) fn count(seen: &mut TransportCounts, octets: usize) {
    seen.messages += 1;
    seen.octets += octets as u64;
}
