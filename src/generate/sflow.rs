//! Flow samples of sFlow version 5 (sflow.org, `sflow_version_5.txt`), in the expanded form, whose interfaces have 32 bits.
//! Each has two flow records: the beginning of an Ethernet frame, and the AS numbers of its ends.
//!
//! A data source is the interface where the packet was looked at: the output one where it was seen on the way out. Its
//! sample pool grows by exactly the sampling rate from sample to sample, and it drops none, so that the stated rate is the
//! effective one.

use core::net::IpAddr;
use std::collections::HashMap;

use super::encode::{Flow, put16, put32};
use crate::flow::Family;

/// Octets of a sample, at most: 52 before its two records, and 100 and 64 in them; rounded up.
pub(super) const SAMPLE_MAX: usize = 224;

/// The frame's check sequence, which is counted in its length and not copied.
const STRIPPED: u32 = 4;

/// What has passed the data sources of an exporter.
#[derive(Debug, Default)]
pub(super) struct Pools(HashMap<u32, Pool>);

#[derive(Debug, Default)]
struct Pool {
    samples: u32,
    packets: u32,
}

impl Pools {
    /// Writes the sample that a flow of one packet stands for.
    pub(super) fn sample(&mut self, flow: &Flow, agent: IpAddr, rate: u32, out: &mut Vec<u8>) {
        let source = if flow.observed == 1 { flow.output } else { flow.input };
        let pool = self.0.entry(source).or_default();
        pool.samples = pool.samples.wrapping_add(1);
        pool.packets = pool.packets.wrapping_add(rate);
        let (samples, packets) = (pool.samples, pool.packets);
        // Format 3: an expanded flow sample.
        put32(out, 3);
        opaque(out, |out| {
            // Class 0: interfaces; format 0: an ifIndex. No drops; two records.
            for word in [samples, 0, source, rate, packets, 0, 0, flow.input, 0, flow.output, 2] {
                put32(out, word);
            }
            // Format 1: the raw header of an Ethernet frame (protocol 1).
            put32(out, 1);
            opaque(out, |out| {
                for word in [1, flow.octets, STRIPPED] {
                    put32(out, word);
                }
                opaque(out, |out| frame(out, flow));
            });
            // Format 1003: extended gateway. One path segment (2: in sequence) of one AS; no communities.
            put32(out, 1003);
            opaque(out, |out| {
                address(out, agent);
                for word in [0, flow.source_as, 0, 1, 2, 1, flow.destination_as, 0, 100] {
                    put32(out, word);
                }
            });
        });
    }
}

/// An address: its kind (1 IPv4, 2 IPv6) and its octets.
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            put32(out, 1);
            out.extend_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            put32(out, 2);
            out.extend_from_slice(&v6.octets());
        }
    }
}

/// What `fill` writes, with its length before it and padding to four octets behind it (XDR, RFC 4506 4.10).
fn opaque(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    put32(out, 0);
    fill(out);
    let length = u32::try_from(out.len() - at - 4).expect("less than a datagram");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    out.resize(at + (out.len() - at).next_multiple_of(4), 0);
}

/// The headers of the frame: Ethernet, IP, and that of the transport protocol.
fn frame(out: &mut Vec<u8>, flow: &Flow) {
    // 18 octets of the frame are Ethernet's own.
    let packet = u16::try_from(flow.octets - 14 - STRIPPED).expect("an Ethernet frame");
    out.extend_from_slice(&[0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2]);
    let ip = if flow.family == Family::V6 { 40 } else { 20 };
    if flow.family == Family::V6 {
        put16(out, 0x86dd);
        put32(out, 6 << 28 | u32::from(flow.tos) << 20);
        put16(out, packet - ip);
        out.extend_from_slice(&[flow.protocol, 64]);
        out.extend_from_slice(&flow.source.to_be_bytes());
        out.extend_from_slice(&flow.destination.to_be_bytes());
    } else {
        put16(out, 0x0800);
        let at = out.len();
        out.extend_from_slice(&[0x45, flow.tos]);
        put16(out, packet);
        // Not to be fragmented; 64 hops; the checksum comes last.
        out.extend_from_slice(&[0, 0, 0x40, 0, 64, flow.protocol, 0, 0]);
        for end in [flow.source, flow.destination] {
            out.extend_from_slice(&end.to_be_bytes()[12..]);
        }
        let sum = checksum(&out[at..]);
        out[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
    }
    match flow.protocol {
        6 => {
            put16(out, flow.source_port);
            put16(out, flow.destination_port);
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(&[5 << 4, flow.tcp_flags, 0xff, 0xff, 0, 0, 0, 0]);
        }
        17 => {
            put16(out, flow.source_port);
            put16(out, flow.destination_port);
            put16(out, packet - ip);
            put16(out, 0);
        }
        // ICMP: type and code are what other protocols export as the destination port.
        _ => {
            put16(out, flow.destination_port);
            out.extend_from_slice(&[0; 6]);
        }
    }
}

/// The Internet checksum (RFC 1071) of a header that has none yet.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).expect("folded into 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of a header that RFC 1071 implementations are tried with: 172.16.10.99 to 172.16.10.12.
    #[test]
    fn the_checksum_of_a_known_header() {
        let header = [
            0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0x00, 0x00, 0xac, 0x10, 0x0a, 0x63,
            0xac, 0x10, 0x0a, 0x0c,
        ];
        assert_eq!(checksum(&header), 0xb1e6);
    }

    #[test]
    fn opaque_data_is_padded() {
        let mut out = vec![9; 4];
        opaque(&mut out, |out| out.push(7));
        assert_eq!(out, [9, 9, 9, 9, 0, 0, 0, 1, 7, 0, 0, 0]);
    }
}
