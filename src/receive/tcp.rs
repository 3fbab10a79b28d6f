//! IPFIX over TCP (RFC 7011 10.4): the connections of one stream processor, and the messages in them.
//!
//! A connection is a [`Session`]. Its octets are messages, one behind the other, each as long as its header says; where
//! there is no header, nothing behind it can be found, and the connection is closed. A message goes to whoever takes
//! it, who may want it later: then it stays where it is, and nothing more is read, so that TCP holds up the sender
//! and nothing is dropped. The session's boundary goes before its first message and behind its last one.
//!
//! No peer can hold up another one: nothing here waits, a connection is read once a round, and everything is bounded.
//! A connection holds one message at most. Where an exporter has too many connections, the one that has been without a
//! message for longest gives way, since it may be the half of one that the exporter has forgotten; where there are too
//! many in all, the exporter with most gives one up. Before one that gives way is closed, what it had sent is read, since
//! the kernel has told its sender that it came. Who is not allowed is closed at once.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use socket2::{SockRef, TcpKeepalive};
use tracing::{debug, warn};

use super::socket::Others;
use crate::ids::Session;

#[cfg(test)]
mod tests;

/// The longest message: its length has 16 bits.
const MESSAGE_OCTETS_MAX: usize = 65_535;
/// A message's header.
const HEADER_OCTETS: usize = 16;
/// So much is read at most of a connection that gives way: more than kernels usually keep for one (Linux: 6 MiB).
const READ_OUT_OCTETS_MAX: usize = 8 << 20;
/// The version word of IPFIX.
const VERSION: u16 = 10;
/// Connections accepted in one round.
const ACCEPT_MAX: usize = 16;
/// How long nothing is accepted after that failed: the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// A peer that is silent for so long is asked by the kernel whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// At most one message of a kind in this time.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Bounds on connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one exporter.
    pub exporter: usize,
    /// A connection without a message for so long is closed.
    pub idle: Duration,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Connections taken in.
    pub accepted: u64,
    /// Connections closed at once, because the exporter is not allowed or is another processor's.
    pub refused: u64,
    /// Connections closed at once for want of room, or to make room.
    pub crowded: u64,
    /// Connections that ended within a message, also where they had to give way, or where no header of one was.
    pub broken: u64,
    /// Connections closed because nothing came.
    pub idle: u64,
}

/// What became of a message that was offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offer {
    /// It was taken.
    Taken,
    /// There is no room for it now.
    Later,
}

/// What octets begin with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framed {
    /// A whole message, of so many octets.
    Message(usize),
    /// Perhaps the beginning of one.
    Part,
    /// Nothing that can be one.
    Garbage,
}

/// Finds the message that `octets` begin with.
fn framed(octets: &[u8]) -> Framed {
    let version = VERSION.to_be_bytes();
    if octets.iter().zip(version).any(|(&found, expected)| found != expected) {
        return Framed::Garbage;
    }
    let Some(&[_, _, high, low]) = octets.first_chunk() else { return Framed::Part };
    match usize::from(u16::from_be_bytes([high, low])) {
        length if length < HEADER_OCTETS => Framed::Garbage,
        length if length <= octets.len() => Framed::Message(length),
        _ => Framed::Part,
    }
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reason {
    /// The peer is done, or gone.
    Over,
    Garbage,
    Idle,
    GaveWay,
    NotAllowed,
    /// We want it to begin anew.
    Restart,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// Never an IPv4-mapped IPv6 address.
    peer: SocketAddr,
    session: Session,
    /// The boundary before its first message is taken.
    has_begun: bool,
    /// Why nothing more is read, or only what has come.
    closing: Option<Reason>,
    /// So many octets are read before it is closed, as far as they have come.
    to_read: usize,
    buffer: Box<[u8]>,
    /// What is read and not taken: `buffer[taken..filled]`.
    taken: usize,
    filled: usize,
    /// When its last message was taken, or when it was accepted.
    heard: Instant,
}

/// The listeners and connections of one stream processor.
#[derive(Debug)]
pub struct Streams {
    listeners: Vec<TcpListener>,
    connections: Vec<Connection>,
    limits: Limits,
    counts: Counts,
    accept_again: Option<Instant>,
    reported: Option<Instant>,
}

impl Connection {
    fn rest(&self) -> &[u8] {
        &self.buffer[self.taken..self.filled]
    }

    /// Whether a whole message waits to be taken.
    fn waits(&self) -> bool {
        matches!(framed(self.rest()), Framed::Message(_))
    }

    /// Whether more is to be read.
    const fn reads(&self) -> bool {
        self.closing.is_none() || self.to_read > 0
    }

    /// Lets another one have its place, as soon as what has come is read.
    fn give_way(&mut self) {
        self.close(Reason::GaveWay);
        self.to_read = READ_OUT_OCTETS_MAX;
    }

    /// Whether it gives way, and may have sent what is not read yet, for which there is room.
    fn is_read_out(&self) -> bool {
        self.to_read > 0 && !self.waits()
    }

    /// Reads what there is, once. True: something came.
    fn read(&mut self) -> bool {
        self.buffer.copy_within(self.taken..self.filled, 0);
        (self.taken, self.filled) = (0, self.filled - self.taken);
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => self.close(Reason::Over),
            Ok(octets) => {
                self.filled += octets;
                self.to_read = self.to_read.saturating_sub(octets);
                return true;
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => return false,
                io::ErrorKind::WouldBlock => {}
                _ => {
                    debug!(peer = %self.peer, %error, "A connection broke off.");
                    self.close(Reason::Over);
                }
            },
        }
        self.to_read = 0;
        false
    }

    fn close(&mut self, reason: Reason) {
        self.closing.get_or_insert(reason);
    }

    /// Hands over the messages that are whole. [`Offer::Taken`]: all of them.
    fn hand_over<E>(
        &mut self,
        now: Instant,
        take: &mut impl FnMut(Session, SocketAddr, &[u8]) -> Result<Offer, E>,
    ) -> Result<Offer, E> {
        loop {
            let octets = match framed(&self.buffer[self.taken..self.filled]) {
                Framed::Message(octets) => octets,
                Framed::Part => return Ok(Offer::Taken),
                Framed::Garbage => {
                    self.close(Reason::Garbage);
                    self.to_read = 0;
                    return Ok(Offer::Taken);
                }
            };
            if !self.has_begun {
                if take(self.session, self.peer, &[])? == Offer::Later {
                    return Ok(Offer::Later);
                }
                self.has_begun = true;
            }
            let message = &self.buffer[self.taken..self.taken + octets];
            if take(self.session, self.peer, message)? == Offer::Later {
                return Ok(Offer::Later);
            }
            self.taken += octets;
            self.heard = now;
        }
    }
}

impl Streams {
    /// Takes connections from `listeners`, of which there may be none.
    ///
    /// # Errors
    /// When a listener cannot be used.
    pub fn new(listeners: Vec<TcpListener>, limits: Limits) -> io::Result<Self> {
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        Ok(Self {
            listeners,
            connections: Vec::new(),
            limits,
            counts: Counts::default(),
            accept_again: None,
            reported: None,
        })
    }

    /// The addresses listened on, in the order they were given.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Whether messages wait to be taken; then nothing is accepted.
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        self.connections.iter().any(Connection::waits)
    }

    /// Says in `others` what is to be waited for.
    pub fn watch(&self, others: &mut Others, now: Instant) {
        others.clear();
        if self.listeners.is_empty() {
            return;
        }
        let accepts = self.accept_again.is_none_or(|at| now >= at) && !self.is_held_up();
        for listener in &self.listeners {
            others.add(listener, accepts);
        }
        for connection in &self.connections {
            others.add(&connection.stream, connection.reads() && !connection.waits());
        }
    }

    /// Reads from the connections that are ready according to `others` (filled by [`Streams::watch`] just before), hands
    /// what came to `take`, and accepts connections of those that `admits` allows. True: something came.
    ///
    /// # Errors
    /// That of `take`.
    pub fn take<E>(
        &mut self,
        others: &Others,
        now: Instant,
        mut admits: impl FnMut(IpAddr) -> bool,
        mut take: impl FnMut(Session, SocketAddr, &[u8]) -> Result<Offer, E>,
    ) -> Result<bool, E> {
        if self.listeners.is_empty() {
            return Ok(false);
        }
        let mut something = false;
        let first = self.listeners.len();
        let mut is_over = false;
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let is_ready = connection.closing.is_none() && others.is_ready(first + index);
            if is_ready || connection.is_read_out() {
                something |= connection.read();
            }
            connection.hand_over(now, &mut take)?;
            is_over |= connection.closing.is_some();
        }
        if is_over {
            self.remove_closed(now, &mut take)?;
        }
        for index in 0..first {
            if others.is_ready(index) {
                something |= self.accept(index, now, &mut admits);
            }
        }
        Ok(something)
    }

    /// Removes connections that are to be closed and have handed over what they had.
    fn remove_closed<E>(
        &mut self,
        now: Instant,
        take: &mut impl FnMut(Session, SocketAddr, &[u8]) -> Result<Offer, E>,
    ) -> Result<(), E> {
        let mut at = 0;
        while let Some(connection) = self.connections.get(at) {
            let Some(reason) = connection.closing.filter(|_| !connection.reads() && !connection.waits())
            else {
                at += 1;
                continue;
            };
            // The boundary only frees memory early; where there is no room for it, the number's next session brings one.
            if connection.has_begun {
                take(connection.session, connection.peer, &[])?;
            }
            let connection = self.connections.remove(at);
            self.count_closed(&connection, reason, now);
        }
        Ok(())
    }

    fn count_closed(&mut self, connection: &Connection, reason: Reason, now: Instant) {
        let (peer, left) = (connection.peer, connection.rest().len());
        debug!(%peer, ?reason, octets = left, "A connection is closed.");
        match reason {
            Reason::Idle => self.counts.idle += 1,
            Reason::GaveWay => {
                self.counts.crowded += 1;
                self.counts.broken += u64::from(left > 0);
            }
            Reason::NotAllowed => self.counts.refused += 1,
            Reason::Garbage => {
                self.counts.broken += 1;
                if self.reports(now) {
                    warn!(%peer, "What came over TCP is no IPFIX message; the connection is closed.");
                }
            }
            Reason::Over if left > 0 => {
                self.counts.broken += 1;
                if self.reports(now) {
                    warn!(%peer, octets = left, "A connection ended within a message; its beginning is lost.");
                }
            }
            Reason::Restart => {
                self.counts.broken += 1;
                if self.reports(now) {
                    warn!(%peer, octets = left, "A connection is closed, because messages of it were lost; what had come and was not read is lost, too.");
                }
            }
            Reason::Over => {}
        }
    }

    fn reports(&mut self, now: Instant) -> bool {
        let is_due = self.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY);
        if is_due {
            self.reported = Some(now);
        }
        is_due
    }

    /// Accepts what waits at a listener. True: there was something.
    fn accept(&mut self, index: usize, now: Instant, admits: &mut impl FnMut(IpAddr) -> bool) -> bool {
        for n in 0..ACCEPT_MAX {
            match self.listeners[index].accept() {
                Ok((stream, peer)) => self.begin(stream, peer, now, admits),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return n > 0,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        self.accept_again = Some(now + ACCEPT_PAUSE);
                        if self.reports(now) {
                            warn!(%error, "Connections cannot be accepted.");
                        }
                        return n > 0;
                    }
                },
            }
        }
        true
    }

    fn begin(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
        now: Instant,
        admits: &mut impl FnMut(IpAddr) -> bool,
    ) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if !admits(peer.ip()) {
            self.counts.refused += 1;
            return;
        }
        if !self.make_room(peer.ip()) {
            self.counts.crowded += 1;
            if self.reports(now) {
                warn!(%peer, limit = self.limits.connections, "No room for one more connection (tcp_connections).");
            }
            return;
        }
        // A peer that has vanished without a word is found out. Only a system without such options refuses.
        let alive = TcpKeepalive::new().with_time(KEEPALIVE);
        if stream.set_nonblocking(true).is_err() || SockRef::from(&stream).set_tcp_keepalive(&alive).is_err()
        {
            return;
        }
        self.counts.accepted += 1;
        debug!(%peer, "A connection is accepted.");
        self.connections.push(Connection {
            stream,
            peer,
            session: self.number(peer),
            has_begun: false,
            closing: None,
            to_read: 0,
            buffer: vec![0; MESSAGE_OCTETS_MAX].into_boxed_slice(),
            taken: 0,
            filled: 0,
            heard: now,
        });
    }

    /// A number that no other connection of the exporter has: its port, unless it uses that twice, for two of our
    /// addresses.
    fn number(&self, peer: SocketAddr) -> Session {
        let mut number = peer.port();
        let is_used = |number| {
            self.connections.iter().any(|c| c.peer.ip() == peer.ip() && c.session == Session(number))
        };
        while is_used(number) {
            number = number.wrapping_add(1);
        }
        Session(number)
    }

    /// Makes room for a connection of `address`, if there can be. What gives way is closed when what it had sent is read: in
    /// the next rounds.
    fn make_room(&mut self, address: IpAddr) -> bool {
        let open = |c: &&Connection| c.closing.is_none();
        let of =
            |address: IpAddr| self.connections.iter().filter(open).filter(|c| c.peer.ip() == address).count();
        let silent = |c: &Connection| core::cmp::Reverse(c.heard);
        let all = || self.connections.iter().enumerate().filter(|(_, c)| c.closing.is_none());
        let gives_way = if of(address) >= self.limits.exporter {
            all().filter(|(_, c)| c.peer.ip() == address).max_by_key(|(_, c)| silent(c))
        } else if all().count() >= self.limits.connections {
            let most = all().max_by_key(|(_, c)| (of(c.peer.ip()), silent(c)));
            // Who has only one keeps it.
            let Some(most) = most.filter(|(_, c)| of(c.peer.ip()) > 1) else { return false };
            Some(most)
        } else {
            return true;
        };
        let Some((at, _)) = gives_way else { return false };
        self.connections[at].give_way();
        true
    }

    /// Lets connections without messages age. To be called now and then.
    pub fn expire(&mut self, now: Instant) {
        for connection in &mut self.connections {
            // Who waits for us is not idle.
            if now.saturating_duration_since(connection.heard) >= self.limits.idle && !connection.waits() {
                connection.close(Reason::Idle);
            }
        }
    }

    /// Closes the connections of exporters that are no longer allowed, in the next round.
    pub fn keep_only(&mut self, mut admits: impl FnMut(IpAddr) -> bool) {
        for connection in &mut self.connections {
            if !admits(connection.peer.ip()) {
                connection.close(Reason::NotAllowed);
                connection.to_read = 0;
            }
        }
    }

    /// Closes all connections in the next round: something of theirs was lost, and might have been a template, which an
    /// exporter sends once in a session.
    pub fn restart(&mut self) {
        for connection in &mut self.connections {
            connection.close(Reason::Restart);
            connection.to_read = 0;
        }
    }

    /// Closes all connections now; messages that `take` does not want now are lost.
    ///
    /// # Errors
    /// That of `take`.
    pub fn end<E>(
        &mut self,
        now: Instant,
        mut take: impl FnMut(Session, SocketAddr, &[u8]) -> Result<Offer, E>,
    ) -> Result<(), E> {
        for mut connection in core::mem::take(&mut self.connections) {
            connection.hand_over(now, &mut take)?;
            if connection.has_begun {
                take(connection.session, connection.peer, &[])?;
            }
            let octets = connection.rest().len();
            if octets > 0 {
                let peer = connection.peer;
                warn!(%peer, octets, "A connection is closed before everything it had sent could be taken.");
            }
        }
        Ok(())
    }
}
