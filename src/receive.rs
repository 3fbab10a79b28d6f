//! Receiving: datagrams from UDP sockets or captures, messages from TCP connections or files.
//!
//! [`socket`] takes them from the network, one set of sockets for each stream processor; an exporter always reaches
//! the same processor; so do its TCP connections, see [`tcp`]. [`pcap`] takes them from capture files, which are their own journal. [`pcap_write`] makes such
//! files.

mod fragment;
mod ip;
mod link;
mod message_file;
pub mod pcap;
pub mod pcap_write;
mod pcapng;
pub mod socket;
pub mod tcp;
mod window;

pub use fragment::Reassembly;
pub use pcap::{Capture, Captured, Error, Skipped};
