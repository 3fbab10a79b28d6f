//! The SNMP manager: asks each exporter for the names and counters of the interfaces that matter.
//!
//! Interface counters are the second opinion on flow volume, and what percentile contracts are written for; names let a
//! link be configured by what is written on it. SNMP stays optional: an exporter without `snmp` is not asked, and links by
//! number need nothing from here.
//!
//! # From polls to buckets
//!
//! A router is polled at a fixed place of its own in every `interval` (60 s), in its first quarter at most 15 s from the
//! beginning, so that not all are asked at once and a reading is near each five-minute boundary. What a counter grew by
//! between two readings is booked to the bucket that both lie in, exactly. Where a boundary lies between them it is split
//! in proportion to time, in whole octets that sum to the whole, **if** the readings are at most one and a half intervals
//! apart. Otherwise nobody knows on which side of the boundary the octets were, and the span is a *gap*: it is in no
//! bucket, and the buckets say how much of them was covered. A missed poll within a bucket costs nothing, because the
//! counter kept counting.
//!
//! A gap is also: a restart (the uptime did not go on with the clock), an `ifCounterDiscontinuityTime` that moved, a
//! counter that went back where the speed allows no wrap, a 32-bit counter that may have wrapped more than once at the
//! interface's speed, and a new start of this program. Nothing is invented for a gap.
//!
//! # Numbers that change
//!
//! After a restart interfaces may have other numbers. It shows in the uptime, or in the flows before the next poll is due,
//! which then comes at once. For ten minutes after it the names are read at every poll, and an interface that does not
//! show yet counts as there, unless its name has another number now: line cards take their time. A start is remembered until
//! the interfaces have been read, whether that fails, is cut off by a reload, or shows none for a while; what is read then
//! holds from the start on. So does what only shows later, unless its number was another interface's in a reading meanwhile.
//!
//! # Shape
//!
//! One thread with one single-threaded tokio runtime, here and in `poll/client.rs` only; two sockets for all routers.
//! What is found goes to a function of the caller's. Everything that decides is plain code over readings, without clock
//! or sockets: [`counter`], [`bucket`], [`schedule`]. Credentials are kept as [`Secret`], which no log can print.
//!
//! Bounds: routers asked at one time, attempts and time for each request, rows of an interface table, a router's pause
//! after failures (up to eight intervals). The walk of the names goes by GETBULK over six columns, or by GETNEXT where that is
//! not answered; counters are fetched by
//! GET for the interfaces that the caller wants, some in a datagram, with the uptime among them.

pub mod bucket;
pub mod cards;
mod client;
mod columns;
pub mod counter;
mod cycle;
pub mod schedule;
#[cfg(test)]
mod tests;

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use crate::ledger::records::interfaces::{Card, Interface, InterfacePart};
use crate::units::{IfIndex, UnixMillis};

pub use cycle::run;

/// `[poll]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Milliseconds between two readings of a router's counters.
    pub interval_ms: i64,
    /// Milliseconds after which the names are read again, even where the router says that nothing changed.
    pub names_ms: i64,
    /// Milliseconds to wait for each answer.
    pub timeout_ms: u64,
    /// Times that a request is sent again.
    pub retries: u32,
    /// Routers asked at one time.
    pub concurrency: usize,
    /// Rows of a router's interface table that are read, at most.
    pub interfaces: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval_ms: 60_000,
            names_ms: 600_000,
            timeout_ms: 2_000,
            retries: 2,
            concurrency: 32,
            interfaces: 8_192,
        }
    }
}

impl Config {
    /// The time to wait for an answer.
    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// Octets that must not be seen: a community, a passphrase.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Keeps a secret.
    #[must_use]
    pub fn new(octets: impl Into<Vec<u8>>) -> Self {
        Self(octets.into())
    }

    fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Authentication protocols of USM (RFC 3414, RFC 7860).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Authentication {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Privacy protocols of USM (RFC 3414, RFC 3826). Of AES with longer keys there are two ways to extend a key that is too
/// short; with SHA-256 and longer digests for AES-256 they are the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Privacy {
    Des,
    Aes128,
    Aes192,
    Aes256,
    Aes192Cisco,
    Aes256Cisco,
}

/// How a router is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Credentials {
    /// SNMPv2c.
    Community(Secret),
    /// SNMPv3 with USM. Without authentication there is no privacy.
    User {
        /// The user.
        name: String,
        /// Protocol and passphrase.
        auth: Option<(Authentication, Secret)>,
        /// Protocol and passphrase.
        privacy: Option<(Privacy, Secret)>,
    },
}

/// An exporter that is polled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Its name.
    pub exporter: String,
    /// Where its agent is.
    pub address: SocketAddr,
    /// How it is asked.
    pub credentials: Credentials,
    /// Whether its flow tables are asked for, too.
    pub tables: bool,
}

/// What the flows' side knows of an exporter.
pub trait Wanted: Send + Sync {
    /// Of the interfaces that the exporter has, those whose counters are to be read.
    fn of(&self, exporter: &str, interfaces: &[Interface]) -> Vec<IfIndex>;

    /// How often its export has started anew, as far as that shows. Where it has again, the router is polled at once,
    /// and its interfaces are read: they may have other numbers now.
    fn restarts(&self, exporter: &str) -> u64;
}

/// What is to be polled. Replaced whole when the configuration changes.
pub struct Plan {
    /// Settings.
    pub config: Config,
    /// Routers; no name twice.
    pub targets: Vec<Target>,
    /// Interfaces.
    pub wanted: Box<dyn Wanted>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("config", &self.config).field("targets", &self.targets).finish()
    }
}

/// What polling found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// A router's interfaces as of an instant.
    Interfaces {
        /// Whose.
        exporter: String,
        /// When they were read.
        at: UnixMillis,
        /// False: there may be others, because the router has just started or has more than are read.
        is_whole: bool,
        /// When the router started, where that is a short while ago: what it does not show yet may still come.
        started: Option<UnixMillis>,
        /// By number, ascending.
        interfaces: Vec<Interface>,
    },
    /// A router has started anew, and its interfaces have not been read since.
    Started {
        /// Whose.
        exporter: String,
        /// When that was found.
        at: UnixMillis,
    },
    /// Parts of buckets that are complete.
    Octets {
        /// Whose.
        exporter: String,
        /// By interface, in time.
        parts: Vec<(IfIndex, InterfacePart)>,
    },
    /// Flow tables of a router.
    Cards {
        /// Whose.
        exporter: String,
        /// When they were read.
        at: UnixMillis,
        /// The router's uptime then, in hundredths of a second.
        uptime: u32,
        /// By number.
        cards: BTreeMap<u32, Card>,
    },
    /// How a poll went.
    Polled {
        /// Whose.
        exporter: String,
        /// When.
        at: UnixMillis,
        /// Why it failed, if it did.
        failure: Option<String>,
        /// Interfaces whose counters were read.
        interfaces: usize,
        /// Spans that are in no bucket.
        gaps: u64,
    },
}
