//! Writes captures: UDP datagrams as Ethernet frames in a little-endian pcap file with microseconds.

use core::net::{IpAddr, SocketAddr};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::units::UnixMillis;

/// A capture that is being written. Nothing is sure to be in the file before [`CaptureWriter::finish`].
#[derive(Debug)]
pub struct CaptureWriter {
    out: BufWriter<File>,
    /// The next IPv4 identification.
    identification: u16,
    frame: Vec<u8>,
}

impl CaptureWriter {
    /// Makes a capture file, or empties the one that is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        out.write_all(&[2, 0, 4, 0])?;
        // Time zone and accuracy: none.
        out.write_all(&[0; 8])?;
        out.write_all(&262_144_u32.to_le_bytes())?;
        out.write_all(&1_u32.to_le_bytes())?;
        Ok(Self { out, identification: 0, frame: Vec::new() })
    }

    /// Appends a datagram captured at `time`.
    ///
    /// # Errors
    /// When it cannot be written, when it is too long for UDP, when source and destination are of different address
    /// families, or when `time` is not in the years 1970 to 2106.
    pub fn write(
        &mut self,
        time: UnixMillis,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) -> io::Result<()> {
        let seconds = u32::try_from(time.seconds()).map_err(|_| invalid("time outside of pcap's range"))?;
        let micros = u32::try_from(time.0.rem_euclid(1000)).map_or(0, |ms| ms * 1000);
        let udp_octets = u16::try_from(payload.len() + 8).map_err(|_| invalid("payload too long for UDP"))?;
        self.frame.clear();
        self.frame.extend_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let octets =
                    udp_octets.checked_add(20).ok_or_else(|| invalid("payload too long for IPv4"))?;
                self.ipv4(octets, source.octets(), destination.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                self.frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
                self.frame.extend_from_slice(&udp_octets.to_be_bytes());
                self.frame.extend_from_slice(&[17, 64]);
                self.frame.extend_from_slice(&from.octets());
                self.frame.extend_from_slice(&to.octets());
            }
            _ => return Err(invalid("source and destination of different families")),
        }
        self.udp(udp_octets, source, destination, payload);
        let octets = u32::try_from(self.frame.len()).map_err(|_| invalid("frame too long"))?;
        for word in [seconds, micros, octets, octets] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(&self.frame)
    }

    /// Writes the rest to the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<()> {
        self.out.into_inner().map_err(io::IntoInnerError::into_error).map(drop)
    }

    /// EtherType and IPv4 header.
    fn ipv4(&mut self, octets: u16, source: [u8; 4], destination: [u8; 4]) {
        self.frame.extend_from_slice(&[0x08, 0x00]);
        let start = self.frame.len();
        self.frame.extend_from_slice(&[0x45, 0]);
        self.frame.extend_from_slice(&octets.to_be_bytes());
        self.frame.extend_from_slice(&self.identification.to_be_bytes());
        self.frame.extend_from_slice(&[0, 0, 64, 17, 0, 0]);
        self.frame.extend_from_slice(&source);
        self.frame.extend_from_slice(&destination);
        self.identification = self.identification.wrapping_add(1);
        let checksum = checksum(sum(0, &self.frame[start..]));
        self.frame[start + 10..start + 12].copy_from_slice(&checksum.to_be_bytes());
    }

    /// UDP header and payload; the addresses are the 8 or 32 octets before (RFC 768, RFC 8200 8.1).
    fn udp(&mut self, octets: u16, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
        let start = self.frame.len();
        let addresses = if source.is_ipv4() { 8 } else { 32 };
        self.frame.extend_from_slice(&source.port().to_be_bytes());
        self.frame.extend_from_slice(&destination.port().to_be_bytes());
        self.frame.extend_from_slice(&octets.to_be_bytes());
        self.frame.extend_from_slice(&[0, 0]);
        self.frame.extend_from_slice(payload);
        let pseudo = 17 + u64::from(octets);
        let checksum = match checksum(sum(pseudo, &self.frame[start - addresses..])) {
            // 0 would say that there is none.
            0 => 0xffff,
            checksum => checksum,
        };
        self.frame[start + 6..start + 8].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Adds 16-bit words (RFC 1071), the last one filled up with zero.
fn sum(start: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let whole: u64 = words.iter().map(|&word| u64::from(u16::from_be_bytes(word))).sum();
    start + whole + rest.first().map_or(0, |&last| u64::from(last) << 8)
}

#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
fn checksum(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
