//! NetFlow v8: what a router or a Catalyst switch has summed up by one of 14 aggregation schemes. A header of 28
//! octets, records of 28 to 44.
//!
//! - A scheme leaves most of a flow out. What it leaves out is 0, and addresses are networks
//!   ([`FlowRecord::networks`]), of 0 bits where the scheme has none: a record by AS number or by port is IPv4 traffic
//!   of unknown addresses. It can be billed by interface, by link and by AS number, and by prefix where all of a
//!   network is one customer's.
//! - A record is one flow here, however many the router says that it has summed up.
//! - Each scheme is an export stream with sequence numbers of its own, which count records.
//! - Octets 24 and 25 of the header are the sampling interval (Cisco, "NetFlow ToS-Based Router Aggregation", IOS
//!   12.0(15)S), in older documents reserved. It is read as that of v5.
//! - Packets above the contract (schemes 6 to 8) are a part of the packets, not more of them.
//!
//! Where Cisco's field orders and those of other decoders differ (scheme 9), Cisco's stand here; on the order of two
//! prefix lengths see [`masks`]. The version of the aggregation (octet 23) is not looked at: one layout is known.

use super::fixed::{Datagram, Header, address, as_number, interface, sampler, word16, word32};
use super::{Decoded, Error, ExporterDecoder, Fate};
use crate::flow::{Address, FlowRecord};

const HEADER: usize = 28;

impl ExporterDecoder {
    pub(super) fn netflow8(&mut self, datagram: &Datagram<'_>, out: &mut Decoded) -> Result<Fate, Error> {
        let header = datagram.header::<HEADER>()?;
        let (engine, scheme) = (u32::from(word16(header, 20)), header[22]);
        let header = Header {
            version: 8,
            octets: HEADER,
            domain: engine,
            stream: u32::from(scheme) << 16 | engine,
            number: Some(word32(header, 16)),
            sampler: sampler(word16(header, 24)),
        };
        let header = &header;
        match scheme {
            1 => self.fixed::<28, 4>(datagram, header, out, autonomous_systems),
            2 => self.fixed::<28, 4>(datagram, header, out, ports),
            3 => self.fixed::<32, 4>(datagram, header, out, source_prefix),
            4 => self.fixed::<32, 4>(datagram, header, out, destination_prefix),
            5 => self.fixed::<40, 4>(datagram, header, out, prefixes),
            6 => self.fixed::<32, 4>(datagram, header, out, catalyst_destination),
            7 => self.fixed::<40, 8>(datagram, header, out, catalyst_hosts),
            8 => self.fixed::<44, 12>(datagram, header, out, catalyst_full),
            9 => self.fixed::<32, 4>(datagram, header, out, autonomous_systems_tos),
            10 => self.fixed::<32, 4>(datagram, header, out, ports_tos),
            11 => self.fixed::<32, 4>(datagram, header, out, source_prefix_tos),
            12 => self.fixed::<32, 4>(datagram, header, out, destination_prefix_tos),
            13 => self.fixed::<40, 4>(datagram, header, out, prefixes_tos),
            14 => self.fixed::<40, 4>(datagram, header, out, prefixes_ports),
            scheme => Err(Error::UnknownAggregation { scheme }),
        }
    }
}

/// Traffic of networks, 0.0.0.0/0 where a scheme does not say better.
fn of_networks() -> FlowRecord {
    FlowRecord { networks: true, ..FlowRecord::default() }
}

/// Scheme 1, and the beginning of 9.
fn autonomous_systems<const N: usize>(record: &[u8; N]) -> FlowRecord {
    FlowRecord {
        source_as: as_number(record, 20),
        destination_as: as_number(record, 22),
        input: interface(record, 24),
        output: interface(record, 26),
        ..of_networks()
    }
}

/// Scheme 2, and the beginning of 10 but for its type of service.
fn ports<const N: usize>(record: &[u8; N]) -> FlowRecord {
    FlowRecord {
        protocol: record[20],
        source_port: word16(record, 24),
        destination_port: word16(record, 26),
        ..of_networks()
    }
}

/// Scheme 3.
fn source_prefix(record: &[u8; 32]) -> FlowRecord {
    FlowRecord {
        source: address(record, 20),
        source_mask: record[24],
        source_as: as_number(record, 26),
        input: interface(record, 28),
        ..of_networks()
    }
}

/// Scheme 4.
fn destination_prefix(record: &[u8; 32]) -> FlowRecord {
    FlowRecord {
        destination: address(record, 20),
        destination_mask: record[24],
        destination_as: as_number(record, 26),
        output: interface(record, 28),
        ..of_networks()
    }
}

/// What schemes 5, 13 and 14 share.
fn network_matrix(record: &[u8; 40]) -> FlowRecord {
    let (source, destination) = (address(record, 20), address(record, 24));
    let (source_mask, destination_mask) = masks(source, destination, record[28], record[29]);
    FlowRecord {
        source,
        destination,
        source_mask,
        destination_mask,
        input: interface(record, 36),
        output: interface(record, 38),
        ..of_networks()
    }
}

/// The lengths of two prefixes, of source and destination, from the two octets in a record. Cisco's order is the
/// destination's first. Other exporters have the source's first (Junos can be set to either), and it is taken that way
/// where only so both networks have no bits beyond their lengths.
fn masks(source: Address, destination: Address, first: u8, second: u8) -> (u8, u8) {
    let fits =
        |address: Address, length: u8| length <= 32 && address.0 & ((1 << (32 - u32::from(length))) - 1) == 0;
    let usual = fits(destination, first) && fits(source, second);
    let other = fits(source, first) && fits(destination, second);
    if other && !usual { (first, second) } else { (second, first) }
}

/// Scheme 5.
fn prefixes(record: &[u8; 40]) -> FlowRecord {
    FlowRecord {
        source_as: as_number(record, 32),
        destination_as: as_number(record, 34),
        ..network_matrix(record)
    }
}

/// Scheme 6, of a Catalyst switch: by destination host.
fn catalyst_destination(record: &[u8; 32]) -> FlowRecord {
    FlowRecord {
        destination: address(record, 0),
        destination_mask: 32,
        output: interface(record, 20),
        tos: record[22],
        ..of_networks()
    }
}

/// Scheme 7, of a Catalyst switch: by source and destination host.
fn catalyst_hosts(record: &[u8; 40]) -> FlowRecord {
    FlowRecord {
        source: address(record, 4),
        destination: address(record, 0),
        input: interface(record, 26),
        output: interface(record, 24),
        tos: record[28],
        ..FlowRecord::default()
    }
}

/// Scheme 8, of a Catalyst switch: whole flows.
fn catalyst_full(record: &[u8; 44]) -> FlowRecord {
    FlowRecord {
        source: address(record, 4),
        destination: address(record, 0),
        input: interface(record, 30),
        output: interface(record, 28),
        source_port: word16(record, 10),
        destination_port: word16(record, 8),
        protocol: record[33],
        tos: record[32],
        ..FlowRecord::default()
    }
}

/// Scheme 9.
fn autonomous_systems_tos(record: &[u8; 32]) -> FlowRecord {
    FlowRecord { tos: record[28], ..autonomous_systems(record) }
}

/// Scheme 10.
fn ports_tos(record: &[u8; 32]) -> FlowRecord {
    FlowRecord {
        tos: record[21],
        input: interface(record, 28),
        output: interface(record, 30),
        ..ports(record)
    }
}

/// Scheme 11.
fn source_prefix_tos(record: &[u8; 32]) -> FlowRecord {
    FlowRecord { tos: record[25], ..source_prefix(record) }
}

/// Scheme 12.
fn destination_prefix_tos(record: &[u8; 32]) -> FlowRecord {
    FlowRecord { tos: record[25], ..destination_prefix(record) }
}

/// Scheme 13.
fn prefixes_tos(record: &[u8; 40]) -> FlowRecord {
    FlowRecord { tos: record[30], ..prefixes(record) }
}

/// Scheme 14.
fn prefixes_ports(record: &[u8; 40]) -> FlowRecord {
    FlowRecord {
        tos: record[30],
        protocol: record[31],
        source_port: word16(record, 32),
        destination_port: word16(record, 34),
        ..network_matrix(record)
    }
}
