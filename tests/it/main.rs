//! Integration tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agentx;
mod bad_input;
mod billed;
mod books;
mod closing;
mod corrections;
mod crash;
mod differential;
mod double_counting;
mod expected;
mod explain;
mod exporters;
mod fields;
mod flood;
mod fuzz_corpus;
mod generated;
mod invoice_run;
mod journals;
mod languages;
mod large_month;
mod live;
mod live_support;
mod message_files;
mod monitoring;
mod notifications;
mod oldflow;
mod other_snmp;
mod policies;
mod poll;
mod rating;
mod reclassify;
mod reconciled;
mod reload;
mod scheduler;
mod sflow;
mod snmp;
mod snmpv3;
mod sources;
mod standby;
mod support;
mod tcp;
mod tidy;
mod ubl;
