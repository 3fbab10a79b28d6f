//! Receiving: datagrams from UDP sockets or captures.
//!
//! [`socket`] takes them from the network, one set of sockets for each stream processor; an exporter always reaches
//! the same processor. [`pcap`] takes them from capture files, which are their own journal. [`pcap_write`] makes such
//! files.

mod fragment;
mod ip;
mod link;
pub mod pcap;
pub mod pcap_write;
mod pcapng;
pub mod socket;
mod window;

pub use fragment::Reassembly;
pub use pcap::{Capture, Captured, Error, Skipped};
