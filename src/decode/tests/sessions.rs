//! IPFIX over TCP: templates and sequence numbers hold within a session (RFC 7011 8, 10.4).

use super::build::*;
use crate::decode::{Counts, Error, ExporterDecoder, Fate};
use crate::ids::{ExporterId, Session};
use crate::units::UnixMillis;

const A: Session = Session(40_000);
const B: Session = Session(40_001);

impl Collector {
    fn hear(&mut self, session: Session, message: &[u8]) -> Result<Fate, Error> {
        let received = UnixMillis(EXPORT_MS);
        self.decoder.message(session, ExporterId(7), &self.limits, received, message, &mut self.out)
    }
}

/// Template 300: octets, then packets.
fn octets_first() -> Octets {
    set(2, template(300, &[(1, 4), (2, 4)]))
}

/// Template 300 as well: packets, then octets.
fn packets_first() -> Octets {
    set(2, template(300, &[(2, 4), (1, 4)]))
}

fn data(id: u16, first: u32, second: u32) -> Octets {
    set(id, octets().u32(first).u32(second))
}

/// A template record without fields: a withdrawal (RFC 7011 8.1).
fn withdrawal(set_id: u16, id: u16) -> Octets {
    set(set_id, octets().u16(id).u16(0))
}

#[test]
fn sessions_of_one_domain_have_templates_of_their_own() {
    let mut collector = Collector::default();
    collector.hear(A, &ipfix(0, 1, &[octets_first()])).unwrap();
    collector.hear(B, &ipfix(0, 1, &[packets_first()])).unwrap();
    collector.hear(A, &ipfix(0, 1, &[data(300, 1000, 1)])).unwrap();
    collector.hear(B, &ipfix(0, 1, &[data(300, 2, 2000)])).unwrap();
    collector.hear(A, &ipfix(1, 1, &[data(300, 3000, 3)])).unwrap();
    assert_eq!(collector.volumes(), [(1, 1000), (2, 2000), (3, 3000)]);
    // What comes over UDP knows neither.
    collector.take(&ipfix(0, 1, &[data(300, 4, 4)])).unwrap();
    assert_eq!((collector.counts().held_sets, collector.counts().records), (1, 3));
    // And a set waits for the template of its own session.
    collector.hear(A, &ipfix(2, 1, &[data(301, 5000, 5)])).unwrap();
    collector.hear(B, &ipfix(1, 1, &[set(2, template(301, &[(2, 4), (1, 4)]))])).unwrap();
    assert_eq!((collector.counts().held_sets, collector.counts().records), (2, 3));
    collector.hear(A, &ipfix(2, 1, &[set(2, template(301, &[(1, 4), (2, 4)]))])).unwrap();
    assert_eq!(collector.volumes()[3..], [(5, 5000)]);
    assert_eq!((collector.counts().lost, collector.counts().restarts), (0, 0));
}

/// What an exporter that starts anew sent over UDP is doubted; its session is of one run.
#[test]
fn a_restart_over_udp_takes_nothing_from_a_session() {
    let mut collector = decoded(&[ipfix(50, 1, &[octets_first(), data(300, 1, 1)])]);
    for number in 51..54 {
        collector.take(&ipfix(number, 1, &[data(300, number, 1)])).unwrap();
    }
    collector.hear(A, &ipfix(0, 1, &[data(301, 5000, 5)])).unwrap();
    collector.out.records.clear();
    collector.take(&ipfix(0, 1, &[data(300, 7, 7)])).unwrap();
    let Counts { expired_sets, held_sets, .. } = collector.counts();
    assert_eq!((collector.volumes(), expired_sets, held_sets), (vec![], 0, 2));
    collector.hear(A, &ipfix(1, 1, &[set(2, template(301, &[(1, 4), (2, 4)]))])).unwrap();
    assert_eq!(collector.volumes(), [(5, 5000)]);
}

#[test]
fn messages_that_are_alike_are_several() {
    let message = ipfix(0, 1, &[octets_first(), data(300, 10, 1)]);
    let mut collector = Collector::default();
    for session in [A, B, B] {
        assert_eq!(collector.hear(session, &message), Ok(Fate::Decoded));
    }
    collector.decoder.end_session(A);
    assert_eq!(collector.hear(A, &message), Ok(Fate::Decoded));
    assert_eq!(collector.volumes(), [(1, 10); 4]);
    assert_eq!((collector.counts().duplicates, collector.counts().lost), (0, 0));
    // Over UDP the second one is the first one again.
    collector.take(&message).unwrap();
    assert_eq!(collector.take(&message), Ok(Fate::Duplicate));
}

#[test]
fn a_session_that_ends_takes_its_memory_with_it() {
    let mut collector = Collector::default();
    collector.take(&ipfix(0, 1, &[data(310, 1, 1)])).unwrap();
    collector.hear(A, &ipfix(0, 1, &[octets_first(), data(300, 10, 1), data(300, 20, 1)])).unwrap();
    collector.hear(A, &ipfix(2, 2, &[data(301, 1, 1), data(302, 1, 1)])).unwrap();
    collector.hear(B, &ipfix(0, 1, &[packets_first()])).unwrap();
    assert_eq!((collector.decoder.domains(), collector.counts().templates), (4, 2));
    collector.decoder.end_session(A);
    // Of the sets that wait, the two of the session have waited in vain: 8 octets each.
    let counts = collector.counts();
    assert_eq!((counts.held_sets, counts.held_octets), (1, 8));
    assert_eq!((counts.expired_sets, counts.expired_octets), (2, 16));
    assert_eq!((collector.decoder.domains(), counts.templates), (2, 1));
    // The number's next session begins at 0 with other templates, and nothing is missing.
    collector.hear(A, &ipfix(0, 1, &[packets_first(), data(300, 7, 70)])).unwrap();
    collector.hear(A, &ipfix(1, 1, &[data(300, 8, 80)])).unwrap();
    assert_eq!(collector.volumes(), [(1, 10), (1, 20), (7, 70), (8, 80)]);
    assert_eq!((collector.counts().lost, collector.counts().restarts), (0, 0));
    // Whereas a gap within a session is told: 2 came, 5 is next.
    collector.hear(A, &ipfix(5, 1, &[data(300, 9, 90)])).unwrap();
    assert_eq!(collector.counts().lost, 3);
    assert!(collector.decoder.end_all_sessions());
    assert!(!collector.decoder.end_all_sessions());
    assert_eq!((collector.decoder.domains(), collector.counts().templates), (1, 0));
    assert_eq!(collector.decoder.held_sets(), 1);
}

#[test]
fn sessions_come_and_go_without_number() {
    let mut collector = Collector::default();
    for n in 0..3000 {
        let session = Session(n);
        collector.hear(session, &ipfix(0, u32::from(n), &[octets_first(), data(300, 1, 1)])).unwrap();
        collector.decoder.end_session(session);
    }
    assert_eq!((collector.counts().records, collector.counts().domain_refusals), (3000, 0));
    assert_eq!((collector.decoder.domains(), collector.counts().templates), (0, 0));
}

#[test]
fn withdrawals_and_redefinitions_hold_from_where_they_stand() {
    let mut collector = Collector::default();
    let sets = [octets_first(), data(300, 10, 1), withdrawal(2, 300), packets_first(), data(300, 2, 20)];
    collector.hear(A, &ipfix(0, 1, &sets)).unwrap();
    assert_eq!(collector.volumes(), [(1, 10), (2, 20)]);
    // All data templates at once; what comes then waits for a new definition.
    collector.hear(A, &ipfix(2, 1, &[withdrawal(2, 2), data(300, 30, 3)])).unwrap();
    assert_eq!((collector.counts().templates, collector.counts().held_sets), (0, 1));
    collector.hear(A, &ipfix(3, 1, &[octets_first()])).unwrap();
    assert_eq!(collector.volumes()[2..], [(3, 30)]);
    // Without a withdrawal between them the newer definition is the one meant.
    collector.hear(A, &ipfix(3, 1, &[packets_first(), data(300, 4, 40)])).unwrap();
    assert_eq!(collector.volumes()[3..], [(4, 40)]);
    assert_eq!((collector.counts().malformed, collector.counts().lost), (0, 0));
}

#[test]
fn a_session_goes_on_behind_a_checkpoint() {
    let mut collector = Collector::default();
    collector.hear(A, &ipfix(0, 1, &[octets_first(), data(300, 10, 1)])).unwrap();
    collector.hear(B, &ipfix(0, 1, &[data(300, 2, 20)])).unwrap();
    let state = postcard::to_stdvec(&collector.decoder).unwrap();
    collector.decoder = postcard::from_bytes::<ExporterDecoder>(&state).unwrap();
    collector.hear(A, &ipfix(1, 1, &[data(300, 30, 3)])).unwrap();
    collector.hear(B, &ipfix(0, 1, &[packets_first()])).unwrap();
    assert_eq!(collector.volumes(), [(1, 10), (3, 30), (2, 20)]);
    assert_eq!(collector.counts().lost, 0);
}

#[test]
fn only_ipfix_comes_over_tcp() {
    let mut collector = Collector::default();
    assert_eq!(collector.hear(A, &v9(0, 1, &[])), Err(Error::UnknownVersion { version: 9 }));
    assert_eq!(collector.hear(A, &[]), Err(Error::Truncated { offset: 0 }));
    assert_eq!((collector.counts().malformed, collector.counts().datagrams), (2, 2));
}
