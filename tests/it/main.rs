//! Integration tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod crash;
mod fuzz_corpus;
mod generated;
mod journals;
mod live;
mod live_support;
mod oldflow;
mod sflow;
mod snmp;
mod support;
mod tidy;
