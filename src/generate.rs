//! Export traffic of known totals: NetFlow v5, v9, IPFIX or sFlow for a configuration, with the usage that must come of it.
//!
//! Every flow is *made for* an account (customer, link, direction): addresses, AS numbers and interfaces are chosen so
//! that the rules of the billing point leave no other. So the truth is known before anything is decoded, and it is
//! added up from the definitions, without the metering and classification code that it is to test.
//!
//! The same configuration, options and seed give the same octets on every machine. Memory is bounded by the truth.
//!
//! What is left out on purpose, because only one side could decide it: flows that end exactly between two buckets,
//! unassigned traffic on whole-exporter links, and `local` or `through` traffic of exporters that observe both sides.

mod encode;
mod maker;
mod plan;
mod random;
mod send;
mod sflow;
mod truth;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;
use std::io;
use std::path::Path;

use self::encode::Stream;
use self::maker::{Maker, Sample};
use crate::config::Config;
use crate::receive::pcap_write::CaptureWriter;
use crate::units::UnixMillis;

pub use self::encode::Datagram;
pub use self::send::Sender;
pub use self::truth::Truth;

/// An export protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// NetFlow v5: IPv4 only, 16-bit interfaces and AS numbers.
    V5,
    /// NetFlow v9 (RFC 3954).
    V9,
    /// IPFIX (RFC 7011).
    Ipfix,
    /// sFlow version 5: samples of one packet each, with the beginning of its frame.
    Sflow,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "v5" | "5" | "netflow5" => Ok(Self::V5),
            "v9" | "9" | "netflow9" => Ok(Self::V9),
            "ipfix" | "v10" | "10" => Ok(Self::Ipfix),
            "sflow" | "sflow5" => Ok(Self::Sflow),
            _ => Err(format!("`{text}` is not a protocol; write v5, v9, ipfix or sflow")),
        }
    }
}

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Flow records.
    pub records: u64,
    /// What the traffic is derived from.
    pub seed: u64,
    /// The protocol of all exporters.
    pub protocol: Protocol,
    /// When the first record is exported.
    pub start: UnixMillis,
    /// Over how many seconds the export goes.
    pub span_seconds: u32,
    /// The sampling rate that exporters announce: 0 none (in sFlow, where each sample states one, 1), 1 unsampled, n one
    /// of n packets.
    pub sampling: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            records: 10_000,
            seed: 1,
            protocol: Protocol::V9,
            // 2026-01-15T00:00:00Z
            start: UnixMillis::from_seconds(1_768_435_200),
            span_seconds: 1800,
            sampling: 0,
        }
    }
}

/// Why nothing was generated, or not all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No exporter, or none that the protocol can speak for.
    #[error("the configuration has no exporter that could report a flow in this protocol")]
    NoExporter,
    /// Nothing that the configuration has can be the account of a flow.
    #[error(
        "the configuration leaves no flow whose account is certain: add a link with interfaces, or a customer"
    )]
    NoFlow,
    /// NetFlow v5 has 14 bits for the sampling rate.
    #[error("NetFlow v5 cannot announce a sampling rate above 16383")]
    SamplingTooLarge,
    /// The exporter's records would wait forever.
    #[error("exporter `{0}` requires an announced sampling rate, so one must be generated")]
    AnnouncementRequired(String),
    /// More customers, links, rates or buckets than the truth can tell apart.
    #[error("too many customers, links, sampling rates or buckets")]
    TooMany,
    /// A datagram could not be written or sent.
    #[error("cannot write or send a datagram")]
    Io(#[source] io::Error),
}

/// What was generated.
#[derive(Debug)]
pub struct Generated {
    /// The usage that must come of it.
    pub truth: Truth,
    /// Datagrams.
    pub datagrams: u64,
    /// Customers, interfaces and exporters that no flow could be made for: of another family than the protocol's,
    /// covered by others' prefixes, or valid only for a part of the time.
    pub skipped: Vec<String>,
}

/// Generates; hands each datagram to `sink`, in the order of their times.
///
/// # Errors
/// When the configuration or the options allow no traffic, or with the first error of `sink`.
pub fn generate(
    config: &Config,
    options: &Options,
    mut sink: impl FnMut(&Datagram<'_>) -> io::Result<()>,
) -> Result<Generated, Error> {
    let mut maker = Maker::new(config, options)?;
    let mut datagrams = 0;
    let mut emit = |stream: &mut Stream, now| {
        datagrams += 1;
        sink(&stream.datagram(export_time(options.protocol, now))).map_err(Error::Io)
    };
    let mut streams = maker.streams(config, options);
    // sFlow states no times: a sample belongs to the instant at which its datagram is received, so that is when it is
    // booked.
    let mut samples: Vec<Vec<Sample>> = streams.iter().map(|_| Vec::new()).collect();
    let span_ms = u128::from(options.span_seconds) * 1000;
    let mut second = options.start.seconds();
    for n in 0..options.records {
        let passed = u128::from(n) * span_ms / u128::from(options.records);
        let now = options.start.plus(i64::try_from(passed).expect("less than the span"));
        if now.seconds() != second {
            second = now.seconds();
            for (stream, samples) in streams.iter_mut().zip(&mut samples) {
                if stream.waiting_since().is_some_and(|since| now.since(since) >= STALE_MS) {
                    emit(stream, now)?;
                    maker.book(samples, now);
                }
            }
        }
        let (site, flow, sample) = maker.flow(now)?;
        samples[site].extend(sample);
        if streams[site].push(&flow, now) {
            emit(&mut streams[site], now)?;
            maker.book(&mut samples[site], now);
        }
    }
    let end = options.start.plus(i64::from(options.span_seconds) * 1000);
    for stream in streams.iter_mut().filter(|stream| stream.waiting_since().is_some()) {
        emit(stream, end)?;
    }
    samples.iter_mut().for_each(|samples| maker.book(samples, end));
    let (truth, skipped) = maker.finish();
    Ok(Generated { truth, datagrams, skipped })
}

/// Generates into a capture file. `progress` is told how many records are written, a datagram at a time.
///
/// # Errors
/// As [`generate`].
pub fn to_capture(
    config: &Config,
    options: &Options,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Generated, Error> {
    let mut capture = CaptureWriter::create(path).map_err(Error::Io)?;
    let mut records = 0;
    let generated = generate(config, options, |datagram| {
        records += u64::from(datagram.records);
        progress(records);
        capture.write(datagram.time, datagram.source, collector(datagram.source.ip()), datagram.payload)
    })?;
    capture.finish().map_err(Error::Io)?;
    Ok(generated)
}

/// Generates and sends to `target` at `rate` flow records a second (0: as fast as it goes). Each exporter's datagrams
/// leave from its own address, which must be one of this machine: any of 127.0.0.0/8 is. `progress` is told how many
/// records are sent, a datagram at a time.
///
/// # Errors
/// As [`generate`]; also when an exporter's address cannot be bound.
pub fn to_network(
    config: &Config,
    options: &Options,
    target: SocketAddr,
    rate: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Generated, Error> {
    let mut sender = Sender::new(target, rate);
    let mut records = 0;
    generate(config, options, |datagram| {
        records += u64::from(datagram.records);
        progress(records);
        sender.send(datagram)
    })
}

/// Where a capture's datagrams go, in documentation address space (RFC 5737, RFC 3849). Nothing depends on it.
fn collector(source: IpAddr) -> SocketAddr {
    let address = match source {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe)),
    };
    SocketAddr::new(address, 2055)
}

/// Records wait this long at most for their datagram to fill up.
const STALE_MS: i64 = 5_000;

/// When a datagram with records of `now` is exported: v9 and IPFIX headers have whole seconds, and no flow may end
/// after its export.
fn export_time(protocol: Protocol, now: UnixMillis) -> UnixMillis {
    match protocol {
        Protocol::V5 | Protocol::Sflow => now,
        Protocol::V9 | Protocol::Ipfix => UnixMillis::from_seconds(now.plus(999).seconds()),
    }
}

#[cfg(test)]
mod tests;
