//! PDUs by hand, in both byte orders; and whatever is cut or changed.

use super::pdu::*;
use super::*;

/// A PDU of a master, in either byte order.
struct Maker {
    octets: Vec<u8>,
    is_big: bool,
}

impl Maker {
    fn new(kind: u8, flags: u8, is_big: bool) -> Self {
        let flags = flags | if is_big { 0x10 } else { 0 };
        let mut maker = Self { octets: vec![1, kind, flags, 0], is_big };
        for word in [7, 8, 9, 0] {
            maker.word(word);
        }
        maker
    }

    fn word(&mut self, word: u32) -> &mut Self {
        self.octets.extend(if self.is_big { word.to_be_bytes() } else { word.to_le_bytes() });
        self
    }

    fn half(&mut self, half: u16) -> &mut Self {
        self.octets.extend(if self.is_big { half.to_be_bytes() } else { half.to_le_bytes() });
        self
    }

    fn oid(&mut self, prefix: u8, include: u8, arcs: &[u32]) -> &mut Self {
        self.octets.extend([u8::try_from(arcs.len()).unwrap(), prefix, include, 0]);
        for &arc in arcs {
            self.word(arc);
        }
        self
    }

    fn raw(&mut self, octets: &[u8]) -> &mut Self {
        self.octets.extend(octets);
        self
    }

    /// With the length of the payload in the header.
    fn finish(&self) -> Vec<u8> {
        let mut octets = self.octets.clone();
        let length = u32::try_from(octets.len() - HEADER_OCTETS).unwrap();
        octets[16..20].copy_from_slice(&if self.is_big {
            length.to_be_bytes()
        } else {
            length.to_le_bytes()
        });
        octets
    }
}

/// One of each, with what it means.
fn samples(is_big: bool) -> Vec<(Vec<u8>, Body)> {
    let new = |kind, flags| Maker::new(kind, flags, is_big);
    let range =
        |start: &[u32], include, end: &[u32]| Range { start: start.to_vec(), include, end: end.to_vec() };
    // 1.3.6.1.4.1.32473: prefix 4, then 1.32473.
    let ranges = |maker: &mut Maker| {
        maker.oid(4, 1, &[1, 32473]).oid(0, 0, &[1, 3, 7]).oid(0, 0, &[1, 3]).oid(0, 0, &[]).finish()
    };
    let meant = vec![range(&[1, 3, 6, 1, 4, 1, 32473], true, &[1, 3, 7]), range(&[1, 3], false, &[])];
    vec![
        (ranges(&mut new(GET, 0)), Body::Get(meant.clone())),
        (ranges(&mut new(GET_NEXT, 0)), Body::GetNext(meant.clone())),
        (
            ranges(new(GET_BULK, 0).half(1).half(500)),
            Body::GetBulk { non_repeaters: 1, max_repetitions: 500, ranges: meant },
        ),
        (new(TEST_SET, 0).half(2).half(0).oid(4, 0, &[1, 32473]).word(9).finish(), Body::TestSet),
        (new(COMMIT_SET, 0).finish(), Body::CommitSet),
        (new(UNDO_SET, 0).finish(), Body::UndoSet),
        (new(CLEANUP_SET, 0).finish(), Body::CleanupSet),
        (new(CLOSE, 0).raw(&[5, 0, 0, 0]).finish(), Body::Close { reason: 5 }),
        (new(RESPONSE, 0).word(77).half(263).half(0).finish(), Body::Response { error: 263 }),
        (new(PING, 0).finish(), Body::Ping),
        (new(PING, 8).word(5).raw(b"other\0\0\0").finish(), Body::OtherContext),
        (new(99, 0).finish(), Body::Other),
    ]
}

#[test]
fn both_byte_orders_are_read() {
    for is_big in [true, false] {
        for (octets, body) in samples(is_big) {
            let context = Context { session: 7, transaction: 8, packet: 9 };
            let length = octets.len();
            assert_eq!(decode(&octets), Ok(Some((Pdu { context, body: body.clone() }, length))));
            // What follows is the next one's.
            let twice = [&octets[..], &octets].concat();
            assert_eq!(decode(&twice), Ok(Some((Pdu { context, body }, length))));
        }
    }
}

#[test]
fn what_is_cut_or_changed_is_incomplete_malformed_or_something_else() {
    for is_big in [true, false] {
        for (octets, _) in samples(is_big) {
            for cut in 0..octets.len() {
                assert_eq!(decode(&octets[..cut]), Ok(None), "{octets:?} {cut}");
                // Cut, with a header that knows it: never more than is there.
                if cut >= HEADER_OCTETS {
                    let mut short = octets[..cut].to_vec();
                    let length = u32::try_from(cut - HEADER_OCTETS).unwrap();
                    let length = if is_big { length.to_be_bytes() } else { length.to_le_bytes() };
                    short[16..20].copy_from_slice(&length);
                    match decode(&short) {
                        Ok(Some((_, octets))) => assert_eq!(octets, cut),
                        other => assert_eq!(other, Err(Malformed)),
                    }
                }
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = octets.clone();
                    changed[cut] = value;
                    if let Ok(Some((_, length))) = decode(&changed) {
                        assert!(length <= changed.len());
                    }
                }
            }
        }
    }
    // Another version, a length that is no multiple of a word, one that is too large.
    let ping = Maker::new(PING, 0, true).finish();
    for (at, octet) in [(0, 2), (19, 2), (16, 1)] {
        let mut wrong = ping.clone();
        wrong[at] = octet;
        assert_eq!(decode(&wrong), Err(Malformed));
    }
    // 129 sub-identifiers, and 124 with a prefix.
    for (prefix, length) in [(0, 129), (4, 124)] {
        let get = Maker::new(GET, 0, true).oid(prefix, 0, &vec![1; length]).oid(0, 0, &[]).finish();
        assert_eq!(decode(&get), Err(Malformed));
    }
}

#[test]
fn answers_are_written_as_the_rfc_shows_them() {
    let context = Context { session: 1, transaction: 2, packet: 3 };
    let mut writer = Writer::response(context, 0, 0);
    writer.bind(&[1, 3, 6, 1], &Bound::Value(Value::Octets(b"abcde".to_vec())));
    writer.bind(&[1, 2], &Bound::Value(Value::Counter64(1 << 32)));
    writer.bind(&[1, 2], &Bound::Value(Value::Integer(-2)));
    writer.bind(&[1, 2], &Bound::EndOfMibView);
    #[rustfmt::skip]
    let expected = [
        1, 18, 0x10, 0,  0, 0, 0, 1,  0, 0, 0, 2,  0, 0, 0, 3,  0, 0, 0, 104,
        0, 0, 0, 0,  0, 0, 0, 0,
        0, 4, 0, 0,  4, 0, 0, 0,  0, 0, 0, 1,  0, 0, 0, 3,  0, 0, 0, 6,  0, 0, 0, 1,
        0, 0, 0, 5,  b'a', b'b', b'c', b'd',  b'e', 0, 0, 0,
        0, 70, 0, 0,  2, 0, 0, 0,  0, 0, 0, 1,  0, 0, 0, 2,  0, 0, 0, 1,  0, 0, 0, 0,
        0, 2, 0, 0,  2, 0, 0, 0,  0, 0, 0, 1,  0, 0, 0, 2,  0xff, 0xff, 0xff, 0xfe,
        0, 130, 0, 0,  2, 0, 0, 0,  0, 0, 0, 1,  0, 0, 0, 2,
    ];
    assert_eq!(writer.finish(), expected);
}

/// The answer to a GETBULK of so many non-repeaters and one repeater, of which none has anything to tell: of each, type and
/// name of two numbers are 4 + 4 + 8 octets.
fn bulk(non_repeaters: usize, max_repetitions: u16) -> Vec<u8> {
    let (config, tree, statistics) =
        (super::super::Config::default(), super::super::tree(), super::super::Statistics::default());
    let counters = crate::counters::Counters::new(1, 0);
    let scope = Scope::new(ViewRules::standard(), &tree);
    let engine = super::super::engine::Engine::new(Vec::new(), 0);
    let lists = super::super::snapshot::Lists::default();
    let here = super::super::snapshot::Here {
        config: &config,
        counters: &counters,
        statistics: &statistics,
        engine: &engine,
        told: None,
    };
    let now = Now { wall: UnixMillis(0), uptime: Duration::ZERO };
    let view = View::new(now, here, &scope, &lists);
    let context = Context { session: 1, transaction: 2, packet: 3 };
    let range = Range { start: vec![2, 999], include: false, end: Vec::new() };
    let ranges = vec![range; non_repeaters + 1];
    get_bulk(&tree, &view, context, non_repeaters, max_repetitions, &ranges).finish()
}

#[test]
fn nothing_follows_too_big_in_a_bulk() {
    // 8 octets of the response and 16 for each of the others and of the one that is repeated; the round ends the view.
    assert_eq!(bulk(3, 10).len(), HEADER_OCTETS + 8 + 4 * 16);
    // 65 536 octets are 8 + 4095 * 16 and 8 more: the repeater has no place, and those before it have.
    assert_eq!(bulk(4095, 10).len(), HEADER_OCTETS + 8 + 4095 * 16);
    // One more is too many: no bindings, with the repeater or without.
    let expected = Writer::response(Context { session: 1, transaction: 2, packet: 3 }, TOO_BIG, 0).finish();
    assert_eq!(expected.len(), HEADER_OCTETS + 8);
    for max_repetitions in [0, 1, u16::MAX] {
        assert_eq!(bulk(4096, max_repetitions), expected);
    }
}

/// A session that is open, and the master's end of it.
fn session() -> (Session, UnixStream) {
    let (own, master) = UnixStream::pair().unwrap();
    let mut session = Session::new(Stream::Unix(own));
    session.id = Some(7);
    (session, master)
}

#[test]
fn a_notification_is_told_until_the_master_has_answered() {
    let mut agent = Agent::new(
        super::super::Config::default(),
        std::sync::Arc::new(crate::counters::Counters::new(1, 0)),
    )
    .unwrap();
    let mut outbox = Outbox::default();
    outbox.push((vec![1, 3, 6, 1], Vec::new()));
    // A master that is gone takes nothing.
    let (mut lost, master) = session();
    drop(master);
    assert!(lost.tell_waiting(&mut outbox, Duration::ZERO).is_err());
    assert!(outbox.next().is_some());
    // One that goes before it has answered: told again in the next session.
    let (mut first, _first_master) = session();
    let (mut second, mut master) = session();
    first.tell_waiting(&mut outbox, Duration::ZERO).unwrap();
    assert_eq!((outbox.next(), agent.sender.sent), (None, 0));
    assert_eq!(outbox.put_back(), 0);
    second.tell_waiting(&mut outbox, Duration::ZERO).unwrap();
    let mut header = [0; HEADER_OCTETS];
    master.read_exact(&mut header).unwrap();
    assert_eq!((header[1], header[7]), (NOTIFY, 7));
    // Only the answer makes it a notification that was sent (RFC 2741, 7.2.5); an error makes it a failure.
    let packet = second.last_packet;
    let mut answer = |session: &mut Session, packet: u32, error: u16, outbox: &mut Outbox| {
        let context = Context { session: 7, transaction: 0, packet };
        let pdu = Pdu { context, body: Body::Response { error } };
        let now = Now { wall: UnixMillis(0), uptime: Duration::ZERO };
        session.take(&mut agent, now, &pdu, outbox).unwrap();
        (agent.sender.sent, agent.sender.failed)
    };
    assert_eq!(answer(&mut second, packet, 0, &mut outbox), (1, 0));
    assert_eq!((outbox.put_back(), outbox.next()), (0, None));
    outbox.push((vec![1, 3, 6, 2], Vec::new()));
    second.tell_waiting(&mut outbox, Duration::ZERO).unwrap();
    assert_eq!(answer(&mut second, packet + 1, 268, &mut outbox), (1, 1));
    assert_eq!((outbox.put_back(), outbox.next()), (0, None));
}
