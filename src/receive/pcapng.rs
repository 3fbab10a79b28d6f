//! pcapng (draft-ietf-opsawg-pcapng): blocks of a type and a length, in sections of their own byte order.
//!
//! Section headers and interface descriptions say how to read the packets after them: enhanced, simple, and the obsolete
//! packet block. All other blocks are passed over. Simple packets have no time, and none is made up for them: not that of
//! the packet before, which may be of any age.

use super::link::Link;
use super::pcap::{Fault, PACKET_OCTETS_MAX, Record, u32_at};
use super::window::Window;
use crate::units::UnixMillis;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_TIME_OFFSET: u16 = 14;

/// Block type and length in front of a body.
const LEAD: usize = 8;
/// The length again, behind the body.
const TRAIL: usize = 4;
/// Interfaces in one section.
const INTERFACES_MAX: usize = 65_536;
/// The longest block that we look into: a packet with options.
const BLOCK_OCTETS_MAX: usize = PACKET_OCTETS_MAX + (64 << 10);

/// The state of reading a pcapng file.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    is_big_endian: bool,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Option<Link>,
    /// Octets that are kept of a packet; 0: all.
    snap_octets: usize,
    resolution: Resolution,
    offset_ms: i64,
}

/// How long a tick of an interface's clock is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resolution {
    /// So many ticks make a millisecond.
    TicksPerMs(u64),
    /// A tick is so many milliseconds.
    MsPerTick(u64),
    /// `1 << n` ticks make a second.
    Binary(u8),
}

impl Resolution {
    /// By the value of `if_tsresol`.
    fn from_option(value: u8) -> Self {
        let exponent = value & 0x7f;
        if value & 0x80 != 0 {
            return Self::Binary(exponent);
        }
        match exponent {
            0..3 => Self::MsPerTick(10_u64.pow(u32::from(3 - exponent))),
            // A tick too short for 64 bits never adds up to a millisecond.
            _ => Self::TicksPerMs(10_u64.checked_pow(u32::from(exponent - 3)).unwrap_or(u64::MAX)),
        }
    }

    fn milliseconds(self, ticks: u64) -> i64 {
        let milliseconds = match self {
            Self::TicksPerMs(per_ms) => ticks / per_ms,
            Self::MsPerTick(ms) => ticks.saturating_mul(ms),
            Self::Binary(exponent) => {
                u64::try_from((u128::from(ticks) * 1000) >> exponent).unwrap_or(u64::MAX)
            }
        };
        i64::try_from(milliseconds).unwrap_or(i64::MAX)
    }
}

/// A packet inside a block: which interface, when, and which octets of the body.
struct Found {
    interface: usize,
    ticks: Option<u64>,
    start: usize,
    octets: usize,
}

impl Pcapng {
    /// Whether a file begins like this.
    pub(super) fn is(header: &[u8]) -> bool {
        header.len() >= 12
            && u32_at(header, 0, true) == SECTION_HEADER
            && [true, false].map(|is_big_endian| u32_at(header, 8, is_big_endian)).contains(&BYTE_ORDER)
    }

    /// The next packet.
    pub(super) fn record(&mut self, window: &mut Window, file_octets: u64) -> Result<Record, Fault> {
        loop {
            if let Some(record) = self.block(window, file_octets)? {
                return Ok(record);
            }
        }
    }

    /// Reads one block; `None` where it is no packet.
    pub(super) fn block(&mut self, window: &mut Window, file_octets: u64) -> Result<Option<Record>, Fault> {
        let lead = window.peek(LEAD + 4)?;
        if lead.len() < LEAD + 4 {
            return Ok(Some(if lead.is_empty() { Record::End } else { Record::Torn }));
        }
        let kind = u32_at(lead, 0, self.is_big_endian);
        let is_section = u32_at(lead, 0, true) == SECTION_HEADER;
        if is_section {
            self.is_big_endian = match u32_at(lead, 8, true) {
                BYTE_ORDER => true,
                order if order.swap_bytes() == BYTE_ORDER => false,
                _ => return Err(Fault::Damaged("section header without a byte order")),
            };
        }
        let length = u32_at(lead, 4, self.is_big_endian);
        // Some programs write lengths that are not multiples of 4; blocks begin at such.
        let padded = u64::from(length).next_multiple_of(4);
        if (length as usize) < LEAD + TRAIL {
            return Err(Fault::Damaged("block shorter than its own frame"));
        }
        let is_ours =
            matches!(kind, INTERFACE_DESCRIPTION | OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET);
        if !is_ours || is_section {
            if window.offset().saturating_add(padded) > file_octets {
                return Ok(Some(Record::Torn));
            }
            if is_section {
                self.interfaces.clear();
            }
            window.take(padded);
            return Ok(None);
        }
        if length as usize > BLOCK_OCTETS_MAX {
            return Err(Fault::Damaged("impossible block length"));
        }
        let octets = length as usize;
        let block = window.peek(octets)?;
        if block.len() < octets {
            return Ok(Some(Record::Torn));
        }
        if u32_at(block, octets - TRAIL, self.is_big_endian) != length {
            return Err(Fault::Damaged("block with two lengths"));
        }
        let body = &block[LEAD..octets - TRAIL];
        if kind == INTERFACE_DESCRIPTION {
            self.describe(body)?;
            window.take(padded);
            return Ok(None);
        }
        let found = self.packet(kind, body).ok_or(Fault::Damaged("packet longer than its block"))?;
        let mark = window.mark() + LEAD + found.start;
        window.take(padded);
        let interface = self.interfaces.get(found.interface);
        let time = interface.zip(found.ticks).map(|(interface, ticks)| {
            UnixMillis(interface.resolution.milliseconds(ticks)).plus(interface.offset_ms)
        });
        let link = interface.and_then(|interface| interface.link);
        Ok(Some(Record::Packet { time, link, mark, octets: found.octets }))
    }

    /// An interface description block.
    fn describe(&mut self, body: &[u8]) -> Result<(), Fault> {
        if body.len() < 8 || self.interfaces.len() >= INTERFACES_MAX {
            return Err(Fault::Damaged("interface description"));
        }
        let mut interface = Interface {
            link: Link::from_number(u32::from(self.u16_at(body, 0))),
            snap_octets: u32_at(body, 4, self.is_big_endian) as usize,
            resolution: Resolution::TicksPerMs(1000),
            offset_ms: 0,
        };
        let mut options = &body[8..];
        while options.len() >= 4 {
            let (code, octets) = (self.u16_at(options, 0), usize::from(self.u16_at(options, 2)));
            let Some(value) = options.get(4..4 + octets) else { break };
            match (code, value) {
                (0, _) => break,
                (OPTION_TIME_RESOLUTION, &[resolution]) => {
                    interface.resolution = Resolution::from_option(resolution);
                }
                (OPTION_TIME_OFFSET, value) => {
                    if let Ok(value) = <[u8; 8]>::try_from(value) {
                        let seconds = if self.is_big_endian {
                            i64::from_be_bytes(value)
                        } else {
                            i64::from_le_bytes(value)
                        };
                        interface.offset_ms = seconds.saturating_mul(1000);
                    }
                }
                _ => {}
            }
            options = options.get(4 + octets.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// The packet in the body of a packet block; `None` where the block is too short for it.
    fn packet(&self, kind: u32, body: &[u8]) -> Option<Found> {
        let word = |at: usize| u32_at(body, at, self.is_big_endian);
        let (interface, ticks, start, octets) = match kind {
            SIMPLE_PACKET => {
                let original = if body.len() < 4 { return None } else { word(0) as usize };
                let snap = self.interfaces.first().map_or(0, |interface| interface.snap_octets);
                let kept = if snap == 0 { original } else { original.min(snap) };
                // The rest of the block is padding, unless the interface says less than was kept.
                (0, None, 4, kept.min(body.len() - 4))
            }
            ENHANCED_PACKET | OBSOLETE_PACKET => {
                if body.len() < 20 {
                    return None;
                }
                let interface = match kind {
                    ENHANCED_PACKET => word(0) as usize,
                    _ => usize::from(self.u16_at(body, 0)),
                };
                let ticks = u64::from(word(4)) << 32 | u64::from(word(8));
                (interface, Some(ticks), 20, word(12) as usize)
            }
            _ => return None,
        };
        if octets > body.len() - start {
            return None;
        }
        Some(Found { interface, ticks, start, octets })
    }

    fn u16_at(&self, bytes: &[u8], at: usize) -> u16 {
        let octets = [bytes[at], bytes[at + 1]];
        if self.is_big_endian { u16::from_be_bytes(octets) } else { u16::from_le_bytes(octets) }
    }
}
