//! Writing generated datagrams into a capture: classic pcap, microseconds, raw IP (link type 101).

use core::net::{IpAddr, SocketAddr};
use std::io::{self, Write};

use crate::units::UnixMillis;

/// Where the datagrams go, in documentation address space; nothing depends on it.
const COLLECTOR_PORT: u16 = 2055;

/// A capture being written.
#[derive(Debug)]
pub struct CaptureWriter<W> {
    out: W,
    packet: Vec<u8>,
}

impl<W: Write> CaptureWriter<W> {
    /// Writes the header of a capture.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        for half in [2_u16, 4] {
            out.write_all(&half.to_le_bytes())?;
        }
        for word in [0_u32, 0, 65_535, 101] {
            out.write_all(&word.to_le_bytes())?;
        }
        Ok(Self { out, packet: Vec::new() })
    }

    /// Appends a datagram from `source`, seen at `time`.
    ///
    /// # Errors
    /// When the output cannot be written, or the payload is longer than a datagram can be.
    pub fn datagram(&mut self, time: UnixMillis, source: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::other("a payload longer than a datagram");
        let udp_length = u16::try_from(payload.len() + 8).map_err(too_long)?;
        self.packet.clear();
        match source.ip() {
            IpAddr::V4(v4) => {
                let total = u16::try_from(payload.len() + 28).map_err(too_long)?;
                let mut header = [0_u8; 20];
                header[0] = 0x45;
                header[2..4].copy_from_slice(&total.to_be_bytes());
                header[8..10].copy_from_slice(&[64, 17]);
                header[12..16].copy_from_slice(&v4.octets());
                header[16..20].copy_from_slice(&[192, 0, 2, 254]);
                let sum = checksum(&[&header]);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                self.packet.extend_from_slice(&header);
            }
            IpAddr::V6(v6) => {
                self.packet.extend_from_slice(&[0x60, 0, 0, 0]);
                self.packet.extend_from_slice(&udp_length.to_be_bytes());
                self.packet.extend_from_slice(&[17, 64]);
                self.packet.extend_from_slice(&v6.octets());
                self.packet.extend_from_slice(&[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe]);
            }
        }
        let mut udp = [0_u8; 8];
        udp[0..2].copy_from_slice(&source.port().to_be_bytes());
        udp[2..4].copy_from_slice(&COLLECTOR_PORT.to_be_bytes());
        udp[4..6].copy_from_slice(&udp_length.to_be_bytes());
        // 0 is "no checksum" over IPv4 (RFC 768); IPv6 needs one (RFC 8200 8.1).
        if source.is_ipv6() {
            let pseudo = [&self.packet[8..40], &u32::from(udp_length).to_be_bytes(), &[0, 0, 0, 17]].concat();
            let sum = match checksum(&[&pseudo, &udp, payload]) {
                0 => 0xffff,
                sum => sum,
            };
            udp[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        let length = u32::try_from(self.packet.len() + 8 + payload.len()).map_err(too_long)?;
        let seconds =
            u32::try_from(time.seconds()).map_err(|_| io::Error::other("a time that pcap cannot hold"))?;
        let micros = u32::try_from(time.0.rem_euclid(1000) * 1000).expect("below a million");
        for word in [seconds, micros, length, length] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(&self.packet)?;
        self.out.write_all(&udp)?;
        self.out.write_all(payload)
    }

    /// Flushes, and gives the output back.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The Internet checksum (RFC 1071) over parts; all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_octet_by_octet() {
        let mut capture = CaptureWriter::new(Vec::new()).expect("memory");
        let source = "192.0.2.1:1024".parse().expect("an address");
        capture.datagram(UnixMillis(1_500), source, b"abc").expect("memory");
        let out = capture.finish().expect("memory");
        assert_eq!(out[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
        assert_eq!(out[20..24], [101, 0, 0, 0]);
        assert_eq!(out[24..40], [1, 0, 0, 0, 0x20, 0xa1, 7, 0, 31, 0, 0, 0, 31, 0, 0, 0]);
        let ip = &out[40..60];
        assert_eq!(checksum(&[ip]), 0, "a right checksum sums to nothing");
        assert_eq!(out[60..], [4, 0, 8, 7, 0, 11, 0, 0, b'a', b'b', b'c']);
    }

    /// The example of RFC 1071, section 3: the sum is ddf2.
    #[test]
    fn checksum_of_the_rfc() {
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }

    #[test]
    fn ipv6_has_a_checksum() {
        let mut capture = CaptureWriter::new(Vec::new()).expect("memory");
        capture
            .datagram(UnixMillis(0), "[2001:db8::1]:9".parse().expect("an address"), b"abc")
            .expect("memory");
        let packet = &capture.finish().expect("memory")[40..];
        let pseudo = [&packet[8..40], &[0, 0, 0, 11, 0, 0, 0, 17]].concat();
        assert_eq!(checksum(&[&pseudo, &packet[40..]]), 0);
    }
}
