//! Captures: the UDP datagrams in a pcap or pcapng file, or the messages in an IPFIX file, in the order of the file.
//!
//! A capture is its own journal: its SHA-256 names it, and the offset behind a packet is the position to go on from
//! ([`Capture::resume`]). Understood are pcap in both byte orders with micro- and nanoseconds, and its variant with
//! longer packet headers (`a1b2cd34`); pcapng as in `pcapng.rs`; the link layers of `link.rs`; fragments of IPv4 and IPv6.
//!
//! A file that begins with an IPFIX message is one of messages (RFC 5655, `message_file.rs`). It holds no addresses, so it
//! is said whose they are ([`Capture::open_as`]), and its clock is the messages' export time.
//!
//! Only whole UDP payloads come out. Everything else is counted by kind in [`Skipped`]; a datagram that the capture
//! kept only a part of is not decoded. A capture that ends within a packet (the capturing program was stopped) is
//! read to there and the rest counted. Nothing is copied but fragments; everything is bounded.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fragment::{Added, Reassembly};
use super::ip::{self, Datagram, Packet, Skip};
use super::link::{Link, NoPacket};
use super::message_file;
use super::pcapng::Pcapng;
use super::window::Window;
use crate::units::UnixMillis;

#[cfg(test)]
mod tests;

/// The longest packet (or block of packets) that a capture may hold. libpcap's own limit is 256 KiB.
pub(super) const PACKET_OCTETS_MAX: usize = 1 << 20;

/// The header of a pcap file.
const FILE_HEADER: usize = 24;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system said no.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file is none of the kinds that are understood.
    #[error("`{}` is neither a pcap or pcapng capture nor a file of IPFIX messages", path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
    },
    /// It is a pipe, a directory, a device.
    #[error("`{}` is not a regular file; captures are read more than once, so save it to one first", path.display())]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// All its packets are of a link layer that we do not know.
    #[error("`{}` has link type {link_type}, which is not supported", path.display())]
    LinkType {
        /// The file.
        path: PathBuf,
        /// The number of the link type.
        link_type: u32,
    },
    /// The file contradicts itself; nothing behind the offset can be trusted.
    #[error("`{}` is damaged at offset {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset of the packet or block.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// [`Capture::resume`] at an offset where no packet ends.
    #[error("no packet of `{}` ends at offset {offset}", path.display())]
    NoBoundary {
        /// The file.
        path: PathBuf,
        /// The offset asked for.
        offset: u64,
    },
}

/// A datagram from a capture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Captured<'a> {
    /// When it was captured, by the capture's clock; of fragments, the one that made it whole.
    pub time: UnixMillis,
    /// Where it came from.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
    /// What it said.
    pub payload: &'a [u8],
    /// File offset behind the packet.
    pub offset: u64,
}

/// What did not come out as a datagram, by kind.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Skipped {
    /// Packets of other protocols than IPv4 and IPv6.
    pub not_ip: u64,
    /// IP packets that carry no UDP.
    pub not_udp: u64,
    /// Packets that the capture kept only a part of (its snap length).
    pub cut: u64,
    /// Packets whose lengths contradict each other.
    pub malformed: u64,
    /// Packets of interfaces (pcapng) with a link layer that we do not know, or that the file does not describe.
    pub unknown_link: u64,
    /// Datagrams, and fragments of them, without a time of capture (simple packets of pcapng): nobody knows when their
    /// volume was.
    pub timeless: u64,
    /// Fragments that overlap others or fit into no packet.
    pub fragments_refused: u64,
    /// Packets given up because fragments were missing for too long, or too many packets waited.
    pub incomplete: u64,
    /// 1 if the capture ends within a packet or message.
    pub torn: u64,
}

impl Skipped {
    /// Adds those of another capture.
    pub fn add(&mut self, other: &Self) {
        self.not_ip += other.not_ip;
        self.not_udp += other.not_udp;
        self.cut += other.cut;
        self.malformed += other.malformed;
        self.unknown_link += other.unknown_link;
        self.timeless += other.timeless;
        self.fragments_refused += other.fragments_refused;
        self.incomplete += other.incomplete;
        self.torn += other.torn;
    }

    /// Those that may have been export datagrams: what is not UDP over IP is none.
    #[must_use]
    pub fn doubtful(&self) -> u64 {
        self.cut
            + self.malformed
            + self.unknown_link
            + self.timeless
            + self.fragments_refused
            + self.incomplete
            + self.torn
    }
}

/// What a file format finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Record {
    /// A message, where in the window.
    Message { time: UnixMillis, mark: usize, octets: usize },
    /// A packet: when, if that is known, on which link layer, where in the window.
    Packet { time: Option<UnixMillis>, link: Option<Link>, mark: usize, octets: usize },
    /// The end.
    End,
    /// The end, within a packet.
    Torn,
}

/// Why a file format cannot go on.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    Damaged(&'static str),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
    /// IPFIX messages.
    Messages,
}

/// A capture file that is being read.
#[derive(Debug)]
pub struct Capture {
    path: PathBuf,
    octets: u64,
    window: Window,
    format: Format,
    /// Whose messages a file without addresses holds.
    exporter: IpAddr,
    reassembly: Reassembly,
    /// A payload put together from fragments.
    whole: Vec<u8>,
    skipped: Skipped,
    is_over: bool,
}

/// Where a datagram's payload is.
enum Place {
    /// In the window, counted from this mark.
    Window(usize),
    /// In `whole`.
    Whole,
}

impl Capture {
    /// Opens a capture, at its first packet.
    ///
    /// # Errors
    /// When it cannot be read, is no capture, or is one of an unknown link layer.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_as(path, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// [`Capture::open`]; messages without an address are those of `exporter`.
    ///
    /// # Errors
    /// As there.
    pub fn open_as(path: &Path, exporter: IpAddr) -> Result<Self, Error> {
        let io = |action| move |source| Error::Io { action, path: path.to_owned(), source };
        // To open a pipe is to wait for somebody at its other end.
        if !path.metadata().map_err(io("open"))?.is_file() {
            return Err(Error::NotAFile { path: path.to_owned() });
        }
        let file = File::open(path).map_err(io("open"))?;
        let octets = file.metadata().map_err(io("look at"))?.len();
        let mut window = Window::new(file, octets);
        let header = window.peek(FILE_HEADER).map_err(io("read"))?;
        let format = match Pcap::from_header(header) {
            Some(Ok(pcap)) => {
                window.take(FILE_HEADER as u64);
                Format::Pcap(pcap)
            }
            Some(Err(link_type)) => return Err(Error::LinkType { path: path.to_owned(), link_type }),
            None if Pcapng::is(header) => Format::Pcapng(Pcapng::default()),
            None if message_file::is(header) => Format::Messages,
            None => return Err(Error::NotACapture { path: path.to_owned() }),
        };
        Ok(Self {
            path: path.to_owned(),
            octets,
            window,
            format,
            exporter,
            reassembly: Reassembly::default(),
            whole: Vec::new(),
            skipped: Skipped::default(),
            is_over: false,
        })
    }

    /// The exporter whose messages the file holds, where the file cannot say it.
    #[must_use]
    pub fn exporter(&self) -> Option<IpAddr> {
        matches!(self.format, Format::Messages).then_some(self.exporter)
    }

    /// Octets of the file when it was opened.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a capture has a header at least")]
    pub fn len(&self) -> u64 {
        self.octets
    }

    /// The file offset that has been read to.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// What was not a whole datagram, so far.
    #[must_use]
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Fragments that wait for the rest of their packets: what [`Capture::resume`] needs besides the offset.
    #[must_use]
    pub fn fragments(&self) -> &Reassembly {
        &self.reassembly
    }

    /// The SHA-256 of the file as it was when it was opened, in hexadecimal. Reads what has not been read in its order yet:
    /// nothing, at the end of most files.
    ///
    /// # Errors
    /// When it cannot be read, or has become shorter.
    pub fn sha256(&mut self) -> Result<String, Error> {
        let hash = self.window.sha256().map_err(self.io("read"))?;
        Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// True where somebody wrote to the file since it was opened; what is behind [`Capture::len`] is not read.
    ///
    /// # Errors
    /// When the file system cannot tell.
    pub fn has_grown(&self) -> Result<bool, Error> {
        self.window.has_grown().map_err(self.io("look at"))
    }

    /// Goes on behind the packet or message that ends at `offset`, with the fragments that waited there. [`Capture::skipped`]
    /// counts from here.
    ///
    /// # Errors
    /// When no packet ends at `offset` (a pcap file cannot tell), or the file cannot be read.
    pub fn resume(&mut self, offset: u64, fragments: Reassembly) -> Result<(), Error> {
        let no_boundary = Error::NoBoundary { path: self.path.clone(), offset };
        if offset > self.octets {
            return Err(no_boundary);
        }
        match &mut self.format {
            Format::Pcap(_) if offset < FILE_HEADER as u64 => return Err(no_boundary),
            Format::Pcap(_) | Format::Messages => self.window.seek(offset),
            Format::Pcapng(pcapng) => {
                // Packets are described by blocks before them, so these are read again.
                *pcapng = Pcapng::default();
                self.window.seek(0);
                let mut found = Ok(None);
                while self.window.offset() < offset {
                    found = pcapng.block(&mut self.window, self.octets);
                    if !matches!(found, Ok(Some(Record::Packet { .. }) | None)) {
                        break;
                    }
                }
                if let Err(fault) = found {
                    return Err(self.error(fault));
                }
                if self.window.offset() != offset {
                    return Err(no_boundary);
                }
            }
        }
        self.reassembly = fragments;
        self.skipped = Skipped::default();
        self.is_over = false;
        Ok(())
    }

    /// The next datagram; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read, or contradicts itself so that what follows cannot be found.
    #[expect(clippy::should_implement_trait, reason = "datagrams borrow from the capture")]
    pub fn next(&mut self) -> Result<Option<Captured<'_>>, Error> {
        let Some((time, datagram, place)) = self.advance()? else { return Ok(None) };
        let octets = datagram.payload.len();
        let payload = match place {
            Place::Window(mark) => self.window.at(mark + datagram.payload.start, octets),
            Place::Whole => &self.whole[datagram.payload],
        };
        let offset = self.window.offset();
        Ok(Some(Captured {
            time,
            source: datagram.source,
            destination: datagram.destination,
            payload,
            offset,
        }))
    }

    /// Reads packets until one completes a datagram.
    fn advance(&mut self) -> Result<Option<(UnixMillis, Datagram, Place)>, Error> {
        while !self.is_over {
            let record = match &mut self.format {
                Format::Pcap(pcap) => pcap.record(&mut self.window),
                Format::Pcapng(pcapng) => pcapng.record(&mut self.window, self.octets),
                Format::Messages => message_file::record(&mut self.window),
            };
            match record.map_err(|fault| self.error(fault))? {
                Record::Message { time, mark, octets } => {
                    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
                    let source = SocketAddr::new(self.exporter, 0);
                    let datagram = Datagram { source, destination: nowhere, payload: 0..octets };
                    return Ok(Some((time, datagram, Place::Window(mark))));
                }
                Record::Packet { time, link, mark, octets } => {
                    if let Some(found) = self.packet(time, link, mark, octets) {
                        return Ok(Some(found));
                    }
                }
                Record::End => self.is_over = true,
                Record::Torn => {
                    self.is_over = true;
                    self.skipped.torn = 1;
                    let offset = self.window.offset();
                    let what = if self.exporter().is_some() { "message" } else { "packet" };
                    tracing::warn!(path = %self.path.display(), offset, "The file ends within a {what}, which is left out.");
                }
            }
        }
        Ok(None)
    }

    /// Looks at one packet; counts it if it completes no datagram.
    fn packet(
        &mut self,
        time: Option<UnixMillis>,
        link: Option<Link>,
        mark: usize,
        octets: usize,
    ) -> Option<(UnixMillis, Datagram, Place)> {
        let Some(link) = link else {
            self.skipped.unknown_link += 1;
            return None;
        };
        let frame = self.window.at(mark, octets);
        let start = match link.packet_offset(frame) {
            Ok(start) => start,
            Err(NoPacket::NotIp) => return self.skip(Skip::NotIp),
            Err(NoPacket::Cut) => return self.skip(Skip::Cut),
        };
        let bytes = &frame[start..];
        let packet = match ip::packet(bytes) {
            Ok(packet) => packet,
            Err(skip) => return self.skip(skip),
        };
        let Some(time) = time else {
            self.skipped.timeless += 1;
            return None;
        };
        let fragment = match packet {
            Packet::Datagram(datagram) => return Some((time, datagram, Place::Window(mark + start))),
            Packet::Fragment(fragment) => fragment,
        };
        let piece = &bytes[fragment.range.clone()];
        let (added, given_up) = self.reassembly.add(time, &fragment, piece, &mut self.whole);
        self.skipped.incomplete += given_up;
        match added {
            Added::Waits => None,
            Added::Refused => {
                self.skipped.fragments_refused += 1;
                None
            }
            Added::Whole { protocol } => match ip::reassembled(&self.whole, protocol, &fragment.key) {
                Ok(datagram) => Some((time, datagram, Place::Whole)),
                Err(skip) => self.skip(skip),
            },
        }
    }

    fn skip<T>(&mut self, skip: Skip) -> Option<T> {
        let count = match skip {
            Skip::NotIp => &mut self.skipped.not_ip,
            Skip::NotUdp => &mut self.skipped.not_udp,
            Skip::Cut => &mut self.skipped.cut,
            Skip::Malformed => &mut self.skipped.malformed,
        };
        *count += 1;
        None
    }

    fn error(&self, fault: Fault) -> Error {
        match fault {
            Fault::Io(source) => self.io("read")(source),
            Fault::Damaged(what) => {
                Error::Damaged { path: self.path.clone(), offset: self.window.offset(), what }
            }
        }
    }

    fn io(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::Io { action, path, source }
    }
}

/// The original format: a file header, then packets.
#[derive(Debug)]
struct Pcap {
    is_big_endian: bool,
    /// The fraction of a second is in nanoseconds rather than microseconds.
    is_nano: bool,
    /// Octets of a packet's header.
    record_header: usize,
    link: Link,
}

impl Pcap {
    /// Reads the file header; `None` if it is another format, an error with the number of a link type we do not know.
    fn from_header(header: &[u8]) -> Option<Result<Self, u32>> {
        let header: &[u8; FILE_HEADER] = header.first_chunk()?;
        let magic = [header[0], header[1], header[2], header[3]];
        let (is_big_endian, magic) = match header[0] {
            0xa1 => (true, u32::from_be_bytes(magic)),
            _ => (false, u32::from_le_bytes(magic)),
        };
        let (is_nano, record_header) = match magic {
            0xa1b2_c3d4 => (false, 16),
            0xa1b2_3c4d => (true, 16),
            // Packet headers carry interface, protocol and packet type as well.
            0xa1b2_cd34 => (false, 24),
            _ => return None,
        };
        // The upper bits say whether frames end with a check sequence, which the IP length tells apart anyway.
        let link_type = u32_at(header, 20, is_big_endian) & 0xffff;
        let link = Link::from_number(link_type).ok_or(link_type);
        Some(link.map(|link| Self { is_big_endian, is_nano, record_header, link }))
    }

    fn record(&self, window: &mut Window) -> Result<Record, Fault> {
        let header = window.peek(self.record_header)?;
        if header.len() < self.record_header {
            return Ok(if header.is_empty() { Record::End } else { Record::Torn });
        }
        let seconds = u32_at(header, 0, self.is_big_endian);
        let fraction = u32_at(header, 4, self.is_big_endian);
        let octets = u32_at(header, 8, self.is_big_endian) as usize;
        if octets > PACKET_OCTETS_MAX {
            return Err(Fault::Damaged("impossible packet length"));
        }
        let whole = self.record_header + octets;
        if window.peek(whole)?.len() < whole {
            return Ok(Record::Torn);
        }
        let mark = window.mark() + self.record_header;
        window.take(whole as u64);
        let milliseconds = fraction / if self.is_nano { 1_000_000 } else { 1000 };
        let time = UnixMillis(i64::from(seconds) * 1000 + i64::from(milliseconds));
        Ok(Record::Packet { time: Some(time), link: Some(self.link), mark, octets })
    }
}

/// The 32-bit integer at `at` of octets that are known to be there.
pub(super) fn u32_at(bytes: &[u8], at: usize, is_big_endian: bool) -> u32 {
    let octets = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if is_big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) }
}
