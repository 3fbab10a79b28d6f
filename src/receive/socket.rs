//! UDP sockets of the stream processors, and listeners for TCP. Nearly the only file with `unsafe`: `recvmmsg`, `poll` and
//! socket options have no safe wrapper that would do.
//!
//! Each processor has one socket for each listen address. The sockets of one address share its port
//! (`SO_REUSEPORT`), and a filter in the kernel picks the one a datagram goes to by a hash of the **source address
//! alone**. All groups have their members in the same order, so an exporter always reaches the same processor,
//! whichever of its ports it sends from (line cards do differ) and whichever of ours it sends to. The same filter picks
//! the listener for a TCP connection, so that an exporter has one owner whichever way it comes.
//!
//! While the groups are being put together every socket drops all that comes, so that nothing reaches a processor which is
//! not its own; datagrams dropped then show up in [`Sockets::kernel_drops`], like those for which a socket had no room.
//!
//! Beside them stands what answers need that leave by the address they were asked at: [`receive_addressed`] and
//! [`send_from`].
//!
//! Every slot of the arena holds the longest datagram there is, so none is ever truncated. The arena is 2 MiB of
//! address space, but only pages that datagrams have touched take memory.
#![allow(unsafe_code)]

use core::mem;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, MsgHdr, Protocol, SockAddr, SockAddrStorage, SockFilter, SockRef, Socket, Type};

#[cfg(test)]
mod tests;

/// Datagrams taken by one system call.
const BATCH: usize = 32;

/// The longest datagram, and a bit more, so that slots do not begin at the same place of the processor's caches.
const SLOT_OCTETS: usize = 65_536 + 2048;

/// Where the kernel's filters see the network header.
const NETWORK_HEADER: u32 = 0xfff0_0000;

/// Of asm-generic/socket.h.
const SO_MEMINFO: libc::c_int = 55;
const SO_ATTACH_REUSEPORT_CBPF: libc::c_int = 51;

/// `SK_MEMINFO_DROPS` of linux/sock_diag.h: the place of the drops among the numbers of `SO_MEMINFO`.
const MEMINFO_DROPS: usize = 8;

/// Why sockets cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {transport} {address}")]
pub struct Error {
    /// What was tried.
    pub action: &'static str,
    /// UDP or TCP.
    pub transport: &'static str,
    /// For which listen address.
    pub address: SocketAddr,
    /// What the operating system said.
    pub source: io::Error,
}

/// A datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Datagram<'a> {
    /// Where it came from; never an IPv4-mapped IPv6 address.
    pub source: SocketAddr,
    /// What it said.
    pub payload: &'a [u8],
}

/// The sockets of one stream processor.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<Open>,
    /// The socket to begin with, so that a busy one does not starve the others.
    first: usize,
    batch: Batch,
}

#[derive(Debug)]
struct Open {
    socket: Socket,
    local: SocketAddr,
    /// What the kernel's 32-bit counter said last.
    drops_seen: u32,
    drops: u64,
}

/// Datagrams received by one call.
#[derive(Debug)]
pub struct Batch {
    arena: Box<[u8]>,
    received: Vec<Received>,
}

#[derive(Clone, Copy, Debug)]
struct Received {
    source: SocketAddr,
    octets: usize,
}

impl Batch {
    fn new() -> Self {
        Self { arena: vec![0; BATCH * SLOT_OCTETS].into_boxed_slice(), received: Vec::with_capacity(BATCH) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// True if none came in time.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// True if there may be more than had room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.received.len() == BATCH
    }

    /// The datagrams, those of one socket in the order they came.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        let slots = self.arena.chunks_exact(SLOT_OCTETS);
        self.received
            .iter()
            .zip(slots)
            .map(|(received, slot)| Datagram { source: received.source, payload: &slot[..received.octets] })
    }
}

/// Opens sockets for `processors` processors on all `addresses`, with `buffer_octets` of kernel buffer each.
///
/// With port 0 the kernel chooses; all processors share the port that it chose for the first.
///
/// # Errors
/// When an address is not there, its port is taken, or an option is refused.
pub fn bind(
    addresses: &[SocketAddr],
    processors: usize,
    buffer_octets: usize,
) -> Result<Vec<Sockets>, Error> {
    for &address in addresses {
        let is_ipv6_only = has_ipv4_of_its_own(addresses, address.port());
        refuse_taken(address, is_ipv6_only, Type::DGRAM, "UDP")?;
    }
    let mut all: Vec<Sockets> =
        (0..processors).map(|_| Sockets { sockets: Vec::new(), first: 0, batch: Batch::new() }).collect();
    for &address in addresses {
        let is_ipv6_only = has_ipv4_of_its_own(addresses, address.port());
        let mut shared = address;
        for sockets in &mut all {
            let open = open(shared, is_ipv6_only, processors, buffer_octets)?;
            shared = open.local;
            sockets.sockets.push(open);
        }
    }
    for open in all.iter_mut().flat_map(|sockets| &mut sockets.sockets) {
        open.socket.detach_filter().map_err(|source| Error {
            action: "receive from",
            transport: "UDP",
            address: open.local,
            source,
        })?;
    }
    Ok(all)
}

/// Opens listeners for `processors` processors on all `addresses`, one of each address for each of them. A connection
/// reaches the listener of its exporter's [`owner`], but for a moment while they are being opened.
///
/// # Errors
/// As [`bind`].
pub fn listen(addresses: &[SocketAddr], processors: usize) -> Result<Vec<Vec<TcpListener>>, Error> {
    /// Connections that the kernel keeps until they are accepted.
    const BACKLOG: libc::c_int = 128;
    for &address in addresses {
        let is_ipv6_only = has_ipv4_of_its_own(addresses, address.port());
        refuse_taken(address, is_ipv6_only, Type::STREAM, "TCP")?;
    }
    let mut all: Vec<Vec<TcpListener>> = (0..processors).map(|_| Vec::new()).collect();
    for &address in addresses {
        let is_ipv6_only = has_ipv4_of_its_own(addresses, address.port());
        let mut shared = address;
        for listeners in &mut all {
            let fail = |action| move |source| Error { action, transport: "TCP", address: shared, source };
            let socket = Socket::new(Domain::for_address(shared), Type::STREAM, Some(Protocol::TCP))
                .map_err(fail("open a socket for"))?;
            if shared.is_ipv6() {
                socket.set_only_v6(is_ipv6_only).map_err(fail("set IPV6_V6ONLY for"))?;
            }
            socket.set_nonblocking(true).map_err(fail("set non-blocking mode for"))?;
            // Connections of a former run that the kernel still remembers are no hindrance.
            socket.set_reuse_address(true).map_err(fail("set SO_REUSEADDR for"))?;
            socket.set_reuse_port(true).map_err(fail("set SO_REUSEPORT for"))?;
            socket.bind(&shared.into()).map_err(fail("listen on"))?;
            socket.listen(BACKLOG).map_err(fail("listen on"))?;
            attach_choice(&socket, processors).map_err(fail("attach the choice of processors to"))?;
            shared = socket.local_addr().map_err(fail("look at"))?.as_socket().unwrap_or(shared);
            listeners.push(socket.into());
        }
    }
    Ok(all)
}

/// Another daemon's sockets would let ours beside them, since both share their port, and the kernel would give part of the
/// datagrams to either. One that shares with nobody finds out.
fn refuse_taken(
    address: SocketAddr,
    is_ipv6_only: bool,
    kind: Type,
    transport: &'static str,
) -> Result<(), Error> {
    let fail = |action| move |source| Error { action, transport, address, source };
    let socket = Socket::new(Domain::for_address(address), kind, None).map_err(fail("open a socket for"))?;
    if address.is_ipv6() {
        socket.set_only_v6(is_ipv6_only).map_err(fail("set IPV6_V6ONLY for"))?;
    }
    if kind == Type::STREAM {
        // As there: those that the kernel still remembers are no hindrance.
        socket.set_reuse_address(true).map_err(fail("set SO_REUSEADDR for"))?;
    }
    socket.bind(&address.into()).map_err(fail("listen on"))
}

/// A wildcard IPv6 socket also takes IPv4, unless IPv4 has sockets of its own on that port.
fn has_ipv4_of_its_own(addresses: &[SocketAddr], port: u16) -> bool {
    addresses
        .iter()
        .any(|other| other.is_ipv4() && other.port() == port && port != 0 && other.ip().is_unspecified())
}

fn open(
    address: SocketAddr,
    is_ipv6_only: bool,
    processors: usize,
    buffer_octets: usize,
) -> Result<Open, Error> {
    let fail = |action| move |source| Error { action, transport: "UDP", address, source };
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
        .map_err(fail("open a socket for"))?;
    if address.is_ipv6() {
        socket.set_only_v6(is_ipv6_only).map_err(fail("set IPV6_V6ONLY for"))?;
    }
    socket.set_nonblocking(true).map_err(fail("set non-blocking mode for"))?;
    socket.set_reuse_port(true).map_err(fail("set SO_REUSEPORT for"))?;
    set_buffer(&socket, address, buffer_octets)?;
    let drop_all = [SockFilter::new(u16::try_from(libc::BPF_RET | libc::BPF_K).expect("16 bits"), 0, 0, 0)];
    socket.attach_filter(&drop_all).map_err(fail("attach a filter to"))?;
    socket.bind(&address.into()).map_err(fail("listen on"))?;
    attach_choice(&socket, processors).map_err(fail("attach the choice of processors to"))?;
    let local = socket.local_addr().map_err(fail("look at"))?.as_socket().unwrap_or(address);
    Ok(Open { socket, local, drops_seen: 0, drops: 0 })
}

/// Asks for a kernel buffer beyond the system's limit, if we may, else up to it.
fn set_buffer(socket: &Socket, address: SocketAddr, octets: usize) -> Result<(), Error> {
    let fail = |source| Error { action: "set the receive buffer of", transport: "UDP", address, source };
    let wanted = libc::c_int::try_from(octets).unwrap_or(libc::c_int::MAX);
    if set_option(socket, libc::SO_RCVBUFFORCE, &wanted).is_ok() {
        return Ok(());
    }
    socket.set_recv_buffer_size(octets).map_err(fail)?;
    // The kernel says twice what it was asked for (socket(7)).
    let granted = socket.recv_buffer_size().map_err(fail)? / 2;
    if granted < octets {
        tracing::warn!(%address, wanted = octets, granted, "Receive buffer smaller than asked for (net.core.rmem_max).");
    }
    Ok(())
}

impl Sockets {
    /// The addresses listened on, in the order they were given.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|open| open.local).collect()
    }

    /// Takes what has come; waits for at most `timeout` if nothing has. An empty batch: nothing came, or a signal.
    ///
    /// # Errors
    /// When the sockets cannot be read.
    pub fn receive(&mut self, timeout: Duration) -> io::Result<&Batch> {
        self.receive_beside(&mut Others::default(), timeout)
    }

    /// [`Sockets::receive`], which also finds out which of `others` are ready, and does not wait where one is.
    ///
    /// # Errors
    /// As there.
    pub fn receive_beside(&mut self, others: &mut Others, timeout: Duration) -> io::Result<&Batch> {
        self.batch.received.clear();
        self.drain()?;
        if self.batch.is_empty() {
            if others.wait(&self.sockets, timeout)? {
                self.drain()?;
            }
        } else if !others.polls.is_empty() {
            others.wait(&[], Duration::ZERO)?;
        }
        Ok(&self.batch)
    }

    /// Datagrams that the kernel dropped on the way into these sockets, since they were opened. Asks the kernel: call it
    /// now and then, and at least once in 2^31 drops.
    pub fn kernel_drops(&mut self) -> u64 {
        let mut total = 0;
        for open in &mut self.sockets {
            if let Ok(now) = drops(&open.socket) {
                // The counter wraps, but does not run backwards.
                let more = now.wrapping_sub(open.drops_seen);
                open.drops += u64::from(more);
                open.drops_seen = now;
            }
            total += open.drops;
        }
        total
    }

    /// Octets of kernel buffer of each socket, as the kernel reports them (twice what was asked for).
    #[must_use]
    pub fn buffer_octets(&self) -> Vec<usize> {
        self.sockets.iter().map(|open| open.socket.recv_buffer_size().unwrap_or(0)).collect()
    }

    /// Takes what is there, until the batch is full.
    fn drain(&mut self) -> io::Result<()> {
        let count = self.sockets.len();
        for at in 0..count {
            if self.batch.received.len() == BATCH {
                break;
            }
            let at = (self.first + at) % count;
            receive_from(self.sockets[at].socket.as_raw_fd(), &mut self.batch)?;
        }
        self.first = (self.first + 1) % count.max(1);
        Ok(())
    }
}

/// Fills the free slots of `batch` with datagrams that wait in `socket`.
fn receive_from(socket: RawFd, batch: &mut Batch) -> io::Result<()> {
    let taken = batch.received.len();
    // SAFETY: zero octets are a valid value of each of these structures: integers and null pointers.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut vectors: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut names: [libc::sockaddr_storage; BATCH] = unsafe { mem::zeroed() };
    let slots = batch.arena.chunks_exact_mut(SLOT_OCTETS).skip(taken);
    let mut free = 0;
    for (((slot, header), vector), name) in slots.zip(&mut headers).zip(&mut vectors).zip(&mut names) {
        vector.iov_base = slot.as_mut_ptr().cast();
        vector.iov_len = slot.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = core::ptr::from_mut(name).cast();
        header.msg_hdr.msg_namelen = octets_of::<libc::sockaddr_storage>();
        free += 1;
    }
    // SAFETY: the first `free` headers point to names, vectors and, through these, slots of the arena, all of the
    // lengths given, all distinct, and all alive and not otherwise used until the call returns.
    let count = unsafe {
        libc::recvmmsg(socket, headers.as_mut_ptr(), free, libc::MSG_DONTWAIT, core::ptr::null_mut())
    };
    let Ok(count) = usize::try_from(count) else {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
            _ => Err(error),
        };
    };
    for (header, name) in headers.iter().zip(&names).take(count) {
        debug_assert!(header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0, "slots hold the longest datagram");
        let octets = (header.msg_len as usize).min(SLOT_OCTETS);
        batch.received.push(Received { source: source_address(name), octets });
    }
    Ok(())
}

/// Which of our addresses a datagram came to; an answer leaves from there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Destination {
    address: IpAddr,
    /// The interface, where the address means nothing without it (link-local IPv6); 0 otherwise.
    interface: u32,
}

/// Makes the kernel tell the [`Destination`] of each datagram that a socket on a wildcard address takes.
///
/// # Errors
/// Where the kernel refuses.
pub fn tell_destinations(socket: &UdpSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    let socket_ref = SockRef::from(socket);
    if socket.local_addr()?.is_ipv4() {
        return set_option_of(libc::IPPROTO_IP, &socket_ref, libc::IP_PKTINFO, &on);
    }
    set_option_of(libc::IPPROTO_IPV6, &socket_ref, libc::IPV6_RECVPKTINFO, &on)
}

/// Takes a datagram: its octets, where it came from, and what it came to, where the kernel tells that.
///
/// # Errors
/// As of [`UdpSocket::recv_from`].
pub fn receive_addressed(
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr, Option<Destination>)> {
    // All zeros end a list of control messages.
    let mut control = [0_u8; CONTROL_OCTETS];
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: zero octets are a valid value: integers and null pointers.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_OCTETS as _;
    let receive = |name: *mut SockAddrStorage, length: *mut libc::socklen_t| {
        header.msg_name = name.cast();
        // SAFETY: both pointers are good for as long as this runs, and the length is that of the name's room. The header
        // points to them, to the vector and through it to the buffer, and to the control messages, all of the lengths
        // given, all distinct, and all alive and not otherwise used until the call returns.
        let octets = unsafe {
            header.msg_namelen = *length;
            let octets = libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0);
            *length = header.msg_namelen;
            octets
        };
        usize::try_from(octets).map_err(|_| io::Error::last_os_error())
    };
    // SAFETY: where it succeeds, the kernel has written an address, and its length.
    let (octets, source) = unsafe { SockAddr::try_init(receive) }?;
    let source = source.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok((octets, source, destination(&control)))
}

/// Sends an answer from where the question came to, where that is known.
///
/// # Errors
/// As of [`UdpSocket::send_to`].
pub fn send_from(
    socket: &UdpSocket,
    octets: &[u8],
    to: SocketAddr,
    from: Option<Destination>,
) -> io::Result<usize> {
    let Some(from) = from else { return socket.send_to(octets, to) };
    let (to, control, buffers) = (to.into(), from.control(), [io::IoSlice::new(octets)]);
    let message = MsgHdr::new().with_addr(&to).with_buffers(&buffers).with_control(&control);
    SockRef::from(socket).sendmsg(&message, 0)
}

/// Room for control messages: one about the destination has 40 octets at most.
const CONTROL_OCTETS: usize = 64;
/// Octets of a word, to which control messages are aligned; and of what begins one: length, level and type.
const WORD: usize = size_of::<usize>();
const CONTROL_HEADER: usize = (WORD + 8).next_multiple_of(WORD);

/// What control messages tell of the destination (ip(7), RFC 3542, 6.1). A group is no address of ours.
fn destination(mut control: &[u8]) -> Option<Destination> {
    let int = |octets: &[u8]| Some(libc::c_int::from_ne_bytes(octets.try_into().ok()?));
    loop {
        let (header, _) = control.split_at_checked(CONTROL_HEADER)?;
        let length = usize::from_ne_bytes(header[..WORD].try_into().ok()?);
        let body = control.get(CONTROL_HEADER..length)?;
        match (int(&header[WORD..WORD + 4])?, int(&header[WORD + 4..WORD + 8])?) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // Interface, our address, the header's.
                let address: [u8; 4] = body.get(4..8)?.try_into().ok()?;
                return Some(Destination { address: address.into(), interface: 0 });
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let address: [u8; 16] = body.get(..16)?.try_into().ok()?;
                let address = Ipv6Addr::from(address);
                let interface = u32::from_ne_bytes(body.get(16..20)?.try_into().ok()?);
                let interface = if address.is_unicast_link_local() { interface } else { 0 };
                let is_ours = !address.to_canonical().is_multicast();
                return is_ours.then_some(Destination { address: address.into(), interface });
            }
            _ => control = control.get(length.next_multiple_of(WORD)..)?,
        }
    }
}

impl Destination {
    /// The control message that makes it the source.
    fn control(self) -> Vec<u8> {
        let (level, kind, body) = match self.address {
            IpAddr::V4(address) => {
                let body = [&[0; 4][..], &address.octets(), &[0; 4]].concat();
                (libc::IPPROTO_IP, libc::IP_PKTINFO, body)
            }
            IpAddr::V6(address) => {
                let body = [&address.octets()[..], &self.interface.to_ne_bytes()].concat();
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, body)
            }
        };
        let mut control = (CONTROL_HEADER + body.len()).to_ne_bytes().to_vec();
        control.extend(level.to_ne_bytes());
        control.extend(kind.to_ne_bytes());
        control.resize(CONTROL_HEADER, 0);
        control.extend(body);
        control.resize(control.len().next_multiple_of(WORD), 0);
        control
    }
}

/// The address in `name`; IPv4-mapped IPv6 addresses as IPv4.
fn source_address(name: &libc::sockaddr_storage) -> SocketAddr {
    if libc::c_int::from(name.ss_family) == libc::AF_INET {
        // SAFETY: the family says that it holds a sockaddr_in, which is smaller and no more aligned.
        let name = unsafe { &*core::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
        let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        return SocketAddr::new(IpAddr::V4(address), u16::from_be(name.sin_port));
    }
    // SAFETY: our sockets are IPv4 or IPv6; a sockaddr_in6 is smaller and no more aligned, and any octets are valid.
    let name = unsafe { &*core::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
    let address = IpAddr::V6(Ipv6Addr::from(name.sin6_addr.s6_addr)).to_canonical();
    SocketAddr::new(address, u16::from_be(name.sin6_port))
}

/// Sockets of other kinds, to be waited for beside those for datagrams. Told apart by the order they were added in.
#[derive(Debug, Default)]
pub struct Others {
    polls: Vec<libc::pollfd>,
}

impl Others {
    /// Forgets them.
    pub fn clear(&mut self) {
        self.polls.clear();
    }

    /// Adds a socket, which must stay open until the wait is over; one that is not `wanted` only takes its place.
    pub fn add(&mut self, socket: &impl AsRawFd, wanted: bool) {
        // The kernel passes over a negative one.
        let fd = if wanted { socket.as_raw_fd() } else { -1 };
        self.polls.push(libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    }

    /// Whether the `index`th has something to read or to accept, or is at its end.
    #[must_use]
    pub fn is_ready(&self, index: usize) -> bool {
        self.polls.get(index).is_some_and(|poll| poll.revents != 0)
    }

    /// Waits until one of them or one of `sockets` has something: whether one of `sockets` does. False after
    /// `timeout`, or a signal.
    fn wait(&mut self, sockets: &[Open], timeout: Duration) -> io::Result<bool> {
        let own = self.polls.len();
        for open in sockets {
            self.add(&open.socket, true);
        }
        let count = self.polls.len() as libc::nfds_t;
        // A wait shorter than a millisecond is one of a millisecond, not a busy loop.
        let milliseconds = timeout.as_micros().div_ceil(1000);
        let milliseconds = libc::c_int::try_from(milliseconds).unwrap_or(libc::c_int::MAX);
        // SAFETY: `polls` has `count` entries; a socket that was closed meanwhile is an error in its entry, no more.
        let ready = unsafe { libc::poll(self.polls.as_mut_ptr(), count, milliseconds) };
        let error = io::Error::last_os_error();
        let is_ready = self.polls[own..].iter().any(|poll| poll.revents != 0);
        self.polls.truncate(own);
        match ready {
            0.. => Ok(is_ready),
            _ if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            _ => Err(error),
        }
    }
}

/// Makes the kernel choose the socket of a group by the source address.
fn attach_choice(socket: &Socket, processors: usize) -> io::Result<()> {
    let Ok(processors) = u32::try_from(processors) else { return Err(io::ErrorKind::InvalidInput.into()) };
    if processors < 2 {
        return Ok(());
    }
    let mut program = choice(processors);
    let length = u16::try_from(program.len()).expect("a short program");
    let program_at = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // The pointer in it is good until the end of this function; the kernel copies the program.
    set_option(socket, SO_ATTACH_REUSEPORT_CBPF, &program_at)
}

/// Knuth's multiplier: 2^32 over the golden ratio, odd.
const GOLDEN: u32 = 0x9e37_79b1;

/// The processor that the kernel chooses for datagrams from `address`; see `choice`, which tells the kernel the same.
#[must_use]
pub fn owner(address: IpAddr, processors: usize) -> usize {
    let hash = match address.to_canonical() {
        IpAddr::V4(address) => u32::from(address).wrapping_mul(GOLDEN),
        IpAddr::V6(address) => {
            let octets = address.octets();
            let (words, _) = octets.as_chunks::<4>();
            let add =
                |hash: u32, word: &[u8; 4]| hash.wrapping_add(u32::from_be_bytes(*word)).wrapping_mul(GOLDEN);
            words.iter().fold(0, add)
        }
    };
    (hash >> 16) as usize % processors.max(1)
}

/// A filter that computes the number of a processor from the source address of a datagram.
///
/// Each word of the address is added and multiplied by an odd constant, so that neighbouring addresses spread; the upper
/// half of the product decides.
fn choice(processors: u32) -> [libc::sock_filter; 22] {
    let word = |at| filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, NETWORK_HEADER + at);
    let multiply = filter(libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K, 0, GOLDEN);
    let add = filter(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X, 0, 0);
    let keep = filter(libc::BPF_MISC | libc::BPF_TAX, 0, 0);
    [
        // The version is in the upper half of the first octet. If it is 4, go to the one word of IPv4.
        filter(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, NETWORK_HEADER),
        filter(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, 0, 4),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 14, 4),
        // IPv6: four words from octet 8 on.
        word(8),
        multiply,
        keep,
        word(12),
        add,
        multiply,
        keep,
        word(16),
        add,
        multiply,
        keep,
        word(20),
        add,
        filter(libc::BPF_JMP | libc::BPF_JA, 0, 1),
        // IPv4.
        word(12),
        // Both.
        multiply,
        filter(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, 0, 16),
        filter(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, processors),
        filter(libc::BPF_RET | libc::BPF_A, 0, 0),
    ]
}

/// One instruction; `jump`: how many to pass over if a comparison holds.
fn filter(code: u32, jump: u8, operand: u32) -> libc::sock_filter {
    let code = u16::try_from(code).expect("instructions have 16 bits");
    libc::sock_filter { code, jt: jump, jf: 0, k: operand }
}

fn set_option<T>(socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    set_option_of(libc::SOL_SOCKET, socket, option, value)
}

fn set_option_of<T>(level: libc::c_int, socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    let pointer = core::ptr::from_ref(value).cast();
    // SAFETY: the pointer is to a `T` that lives until the call returns, and the length is that of a `T`.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, pointer, octets_of::<T>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel dropped on the way into `socket`: modulo 2^32. Unlike `SO_RXQ_OVFL`, which comes with the next
/// datagram, it is up to date when nothing comes any more, and costs nothing with each datagram.
fn drops(socket: &Socket) -> io::Result<u32> {
    let mut numbers = [0_u32; MEMINFO_DROPS + 1];
    let mut octets = octets_of::<[u32; MEMINFO_DROPS + 1]>();
    // SAFETY: the pointer is to an array of as many octets as `octets` says, which lives until the call returns.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &raw mut octets,
        )
    };
    if result == 0 { Ok(numbers[MEMINFO_DROPS]) } else { Err(io::Error::last_os_error()) }
}

fn octets_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("small structures")
}
