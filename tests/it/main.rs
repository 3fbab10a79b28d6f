//! Integration tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod books;
mod crash;
mod differential;
mod double_counting;
mod exporters;
mod fuzz_corpus;
mod generated;
mod journals;
mod live;
mod live_support;
mod message_files;
mod oldflow;
mod poll;
mod rating;
mod sflow;
mod snmp;
mod standby;
mod support;
mod tcp;
mod tidy;
mod ubl;
