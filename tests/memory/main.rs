//! What memory the way from datagram to usage row takes: a binary of its own, because it counts allocations.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod allocation;
mod count;
mod datagrams;
mod hostile;
mod kinds;
mod network;
mod prefixes;
mod reload;
