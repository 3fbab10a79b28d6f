//! Connections over loopback, one round at a time.

use core::cell::Cell;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::super::socket::{self, Others, Sockets};
use super::*;

const LIMITS: Limits = Limits { connections: 8, exporter: 4, idle: Duration::from_secs(60) };
const PATIENCE: Duration = Duration::from_secs(60);

/// A message of `length` octets, told apart by `n`.
fn message(n: u8, length: u16) -> Vec<u8> {
    let mut octets = vec![n; length.into()];
    octets[..2].copy_from_slice(&VERSION.to_be_bytes());
    octets[2..4].copy_from_slice(&length.to_be_bytes());
    octets
}

/// Streams on one loopback address, and all that came out of them.
struct Site {
    streams: Streams,
    address: SocketAddr,
    sockets: Sockets,
    /// Session and octets, boundaries as well.
    taken: Vec<(u16, Vec<u8>)>,
    now: Instant,
    /// How many offers are still accepted.
    room: Cell<usize>,
}

impl Site {
    fn new(limits: Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let streams = Streams::new(vec![listener], limits).unwrap();
        assert_eq!(streams.local_addresses(), [address]);
        let sockets = socket::bind(&[], 1, 4096).unwrap().remove(0);
        let room = Cell::new(usize::MAX);
        Self { streams, address, sockets, taken: Vec::new(), now: Instant::now(), room }
    }

    /// One round; waits a moment where nothing is there.
    fn round(&mut self) -> bool {
        let others = self.look();
        self.take(&others)
    }

    /// The first half of a round: what is ready.
    fn look(&mut self) -> Others {
        let mut others = Others::default();
        self.streams.watch(&mut others, self.now);
        self.sockets.receive_beside(&mut others, Duration::from_millis(20)).unwrap();
        others
    }

    /// The second half.
    fn take(&mut self, others: &Others) -> bool {
        let (taken, room) = (&mut self.taken, &self.room);
        let take = |session: Session, source: SocketAddr, octets: &[u8]| {
            assert_eq!(source.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
            if room.get() == 0 {
                return Ok::<_, ()>(Offer::Later);
            }
            room.set(room.get() - 1);
            taken.push((session.0, octets.to_vec()));
            Ok(Offer::Taken)
        };
        self.streams.take(others, self.now, |_| true, take).unwrap()
    }

    fn until(&mut self, what: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !what(self) {
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.streams);
            self.round();
        }
    }

    fn connect(&mut self) -> TcpStream {
        let before = self.streams.counts().accepted;
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.until(|site| site.streams.counts().accepted > before);
        stream
    }
}

/// The peer is told of the end, in whichever way.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn the_length_in_the_header_rules() {
    assert_eq!(framed(&[]), Framed::Part);
    assert_eq!(framed(&[0]), Framed::Part);
    assert_eq!(framed(&[0, 10, 0]), Framed::Part);
    assert_eq!(framed(&[0, 10, 0, 16]), Framed::Part);
    assert_eq!(framed(&message(1, 16)), Framed::Message(16));
    assert_eq!(framed(&[message(1, 20), message(2, 30)].concat()), Framed::Message(20));
    assert_eq!(framed(&message(1, 65_535)), Framed::Message(65_535));
    assert_eq!(framed(&message(1, 65_535)[..65_534]), Framed::Part);
    // As early as can be: no peer keeps a buffer busy with what is no message.
    for garbage in [&[1][..], &[0, 9], &[0, 5, 0, 1], &[0, 10, 0, 15], b"GET / HTTP/1.1\r\n"] {
        assert_eq!(framed(garbage), Framed::Garbage, "{garbage:?}");
    }
}

/// Three messages come out the same wherever the octets are cut in two.
#[test]
fn messages_cut_at_every_octet() {
    let messages = [message(1, 16), message(2, 97), message(3, 40)];
    let all = messages.concat();
    let mut site = Site::new(LIMITS);
    for at in 0..=all.len() {
        let mut stream = site.connect();
        let session = stream.local_addr().unwrap().port();
        stream.write_all(&all[..at]).unwrap();
        while site.round() {}
        stream.write_all(&all[at..]).unwrap();
        drop(stream);
        site.until(|site| site.streams.is_empty());
        let taken: Vec<Vec<u8>> = site
            .taken
            .drain(..)
            .map(|(from, octets)| {
                assert_eq!(from, session);
                octets
            })
            .collect();
        // The boundary, the messages, the boundary.
        assert_eq!(taken, [&[Vec::new()][..], &messages, &[Vec::new()]].concat(), "cut at {at}");
    }
    assert_eq!(site.streams.counts().broken, 0);
}

#[test]
fn a_message_may_be_as_long_as_its_length_can_say() {
    let mut site = Site::new(LIMITS);
    let mut stream = site.connect();
    let messages = [message(1, 65_535), message(2, 65_535), message(3, 16)];
    let sent = messages.concat();
    let writer = std::thread::spawn(move || stream.write_all(&sent).unwrap());
    site.until(|site| site.taken.len() == 5);
    writer.join().unwrap();
    let taken: Vec<_> = site.taken.iter().map(|(_, octets)| octets.clone()).collect();
    assert_eq!(taken[1..4], messages);
}

#[test]
fn what_is_not_wanted_now_stays_and_holds_up_its_sender_only() {
    let mut site = Site::new(LIMITS);
    let (mut first, mut second) = (site.connect(), site.connect());
    first.write_all(&[message(1, 30), message(2, 30), message(3, 30)].concat()).unwrap();
    // Room for the boundary and one message.
    site.room.set(2);
    site.until(|site| site.streams.is_held_up());
    assert_eq!(site.taken.len(), 2);
    // Nothing more is read from it, and nobody is accepted; but the end of what it sent stays to be found.
    first.write_all(&message(4, 30)).unwrap();
    drop(first);
    second.write_all(&message(9, 20)).unwrap();
    let waiting = TcpStream::connect(site.address).unwrap();
    for _ in 0..3 {
        site.round();
    }
    assert_eq!((site.taken.len(), site.streams.len()), (2, 2));
    site.room.set(usize::MAX);
    site.until(|site| site.streams.counts().accepted == 3 && site.streams.len() == 2);
    let of_first: Vec<u8> = site.taken.iter().filter(|(_, m)| m.len() == 30).map(|(_, m)| m[29]).collect();
    assert_eq!(of_first, [1, 2, 3, 4]);
    assert_eq!(site.taken.iter().filter(|(_, m)| m.len() == 20).count(), 1);
    drop(waiting);
}

#[test]
fn garbage_ends_its_connection_only() {
    let mut site = Site::new(LIMITS);
    let (mut good, mut bad) = (site.connect(), site.connect());
    good.write_all(&message(1, 30)[..20]).unwrap();
    bad.write_all(&[message(2, 16), vec![0, 10, 0, 3, 1, 1]].concat()).unwrap();
    site.until(|site| site.streams.len() == 1);
    assert!(is_closed(&mut bad));
    good.write_all(&message(1, 30)[20..]).unwrap();
    site.until(|site| site.taken.iter().any(|(_, octets)| octets.len() == 30));
    // What came whole before the garbage was taken; and one that ends in a message is broken, too.
    assert!(site.taken.iter().any(|(_, octets)| octets.len() == 16));
    assert_eq!(site.streams.counts().broken, 1);
    good.write_all(&message(1, 30)[..7]).unwrap();
    drop(good);
    site.until(|site| site.streams.is_empty());
    assert_eq!(site.streams.counts().broken, 2);
}

#[test]
fn the_longest_silent_gives_way_to_a_new_one_of_the_same_exporter() {
    let mut site = Site::new(LIMITS);
    let mut streams: Vec<TcpStream> = Vec::new();
    for _ in 0..4 {
        site.now += Duration::from_secs(1);
        streams.push(site.connect());
    }
    // The oldest one speaks, so the second is the longest silent.
    site.now += Duration::from_secs(1);
    streams[0].write_all(&message(1, 16)).unwrap();
    site.until(|site| site.taken.len() == 2);
    let mut fifth = site.connect();
    site.until(|site| site.streams.len() == 4);
    assert!(is_closed(&mut streams[1]));
    assert_eq!(site.streams.counts().crowded, 1);
    for stream in [&mut streams[0], &mut fifth] {
        stream.write_all(&message(2, 18)).unwrap();
    }
    site.until(|site| site.taken.iter().filter(|(_, octets)| octets.len() == 18).count() == 2);
}

/// The kernel has told the sender that it came.
#[test]
fn what_one_that_gives_way_had_sent_is_read_before_it_is_closed() {
    let mut site = Site::new(LIMITS);
    let mut streams: Vec<TcpStream> = Vec::new();
    for _ in 0..4 {
        site.now += Duration::from_secs(1);
        streams.push(site.connect());
    }
    site.now += Duration::from_secs(1);
    let _fifth = TcpStream::connect(site.address).unwrap();
    let others = site.look();
    // It comes when all have been looked at; then the fifth is accepted, and the first is the longest silent. Only one of
    // its messages finds room at once, and its last one is cut.
    let sent = [message(1, 30), message(2, 20_000), message(3, 30), message(4, 30)[..7].to_vec()].concat();
    streams[0].write_all(&sent).unwrap();
    site.take(&others);
    assert_eq!((site.streams.counts().accepted, site.taken.len()), (5, 0));
    site.room.set(2);
    site.until(|site| site.taken.len() == 2);
    site.round();
    assert_eq!(site.streams.len(), 5, "what it has waits");
    site.room.set(usize::MAX);
    site.until(|site| site.streams.len() == 4);
    // The boundary, the messages, the boundary.
    let lengths: Vec<usize> = site.taken.iter().map(|(_, octets)| octets.len()).collect();
    assert_eq!(lengths, [0, 30, 20_000, 30, 0]);
    assert!(is_closed(&mut streams[0]));
    assert_eq!((site.streams.counts().crowded, site.streams.counts().broken), (1, 1));
}

/// One that sends for ever does not stay for ever.
#[test]
fn one_that_gives_way_is_closed_while_it_still_sends() {
    let mut site = Site::new(Limits { exporter: 1, ..LIMITS });
    let mut first = site.connect();
    let messages = message(1, 60_000).repeat(4);
    let sender = std::thread::spawn(move || while first.write_all(&messages).is_ok() {});
    let _second = site.connect();
    site.until(|site| site.streams.len() == 1);
    sender.join().unwrap();
    assert_eq!(site.streams.counts().crowded, 1);
}

#[test]
fn who_sends_no_message_is_closed_however_busy_it_seems() {
    let mut site = Site::new(LIMITS);
    let mut stream = site.connect();
    for octet in &message(1, 16)[..5] {
        stream.write_all(&[*octet]).unwrap();
        site.now += Duration::from_secs(14);
        while site.round() {}
        site.streams.expire(site.now);
    }
    site.until(|site| site.streams.is_empty());
    assert!(is_closed(&mut stream));
    assert_eq!((site.streams.counts().idle, site.taken.len()), (1, 0));
}

/// Two connections from one port, to two of our addresses, are two sessions.
#[test]
fn sessions_have_numbers_of_their_own() {
    let listeners: Vec<_> = (0..2).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let mut site = Site::new(LIMITS);
    site.streams = Streams::new(listeners, LIMITS).unwrap();
    let mut peers = Vec::new();
    let mut port = 0;
    for (n, address) in (1..).zip(addresses) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        port = stream.local_addr().unwrap().port();
        stream.write_all(&message(n, 16)).unwrap();
        peers.push(stream);
    }
    site.until(|site| site.taken.len() == 4);
    let sessions: std::collections::BTreeSet<u16> = site.taken.iter().map(|(session, _)| *session).collect();
    assert_eq!(sessions, [port, port + 1].into());
}

#[test]
fn all_can_be_made_to_begin_anew_or_to_end() {
    let mut site = Site::new(LIMITS);
    let (mut a, mut b) = (site.connect(), site.connect());
    a.write_all(&message(1, 16)).unwrap();
    site.until(|site| site.taken.len() == 2);
    site.streams.restart();
    site.until(|site| site.streams.is_empty());
    assert!(is_closed(&mut a) && is_closed(&mut b));
    // The boundary of the one that had begun; the other left no trace.
    assert_eq!(site.taken.len(), 3);
    assert_eq!(site.streams.counts().broken, 2);

    let mut c = site.connect();
    site.room.set(0);
    c.write_all(&message(2, 16)).unwrap();
    site.until(|site| site.streams.is_held_up());
    let mut left = Vec::new();
    site.streams
        .end(site.now, |_, _, octets| {
            left.push(octets.len());
            Ok::<_, ()>(Offer::Taken)
        })
        .unwrap();
    assert_eq!((left, site.streams.len()), (vec![0, 16, 0], 0));
    assert!(is_closed(&mut c));
    site.streams.keep_only(|_| false);
    assert!(site.streams.is_empty());
}

#[test]
fn strangers_are_closed_at_once() {
    let mut site = Site::new(LIMITS);
    let mut stranger = TcpStream::connect(site.address).unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut others = Others::default();
    while site.streams.counts().refused == 0 {
        site.streams.watch(&mut others, site.now);
        site.sockets.receive_beside(&mut others, Duration::from_millis(20)).unwrap();
        site.streams.take(&others, site.now, |_| false, |_, _, _| Ok::<_, ()>(Offer::Taken)).unwrap();
    }
    assert!(is_closed(&mut stranger) && site.streams.is_empty());
    assert_eq!(site.streams.counts().accepted, 0);
}

/// The kernel hands a connection to the processor that datagrams from there go to.
#[test]
fn an_exporter_has_one_owner_over_tcp_too() {
    const PROCESSORS: usize = 3;
    let listeners = socket::listen(&["127.0.0.1:0".parse().unwrap()], PROCESSORS).unwrap();
    let target = listeners[0][0].local_addr().unwrap();
    assert!(listeners.iter().all(|own| own.len() == 1 && own[0].local_addr().unwrap() == target));
    let mut seen = [0; PROCESSORS];
    for n in 1..40 {
        let from = Ipv4Addr::new(127, 0, 3, n);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&target.into()).unwrap();
        let owner = socket::owner(from.into(), PROCESSORS);
        let (_, peer) = listeners[owner][0].accept().expect("it is there once it is connected");
        assert_eq!(peer.ip(), IpAddr::V4(from));
        seen[owner] += 1;
    }
    assert!(seen.iter().all(|&n| n > 0), "{seen:?}");
}
