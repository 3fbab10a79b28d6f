//! Fluxoscope: flow-based accounting and billing, watched over SNMP.
//!
//! Routers export NetFlow, IPFIX or sFlow. Fluxoscope decides for each flow which customer it belongs to and which
//! upstream link it crossed, undoes the router's packet sampling, keeps the volume in a ledger exactly once,
//! prices it by versioned tariffs, and writes monthly invoices.
//!
//! Data flows one way:
//!
//! 1. [`receive`] takes datagrams from sockets or captures; [`journal`] makes them durable.
//! 2. [`decode`] turns datagrams into flow records, [`sampling`] gives each record its sampling rate,
//!    [`classify`] finds customer, link, direction and class, and [`meter`] adds up five-minute usage.
//!    [`processor`] is the thread that runs these stages over one batch after the other.
//! 3. [`commit`] puts usage into the [`ledger`], together with the journal position that it reaches.
//! 4. [`rate`] prices usage by a tariff, [`invoice`] makes documents of it.
//!
//! [`units`], [`ids`], [`flow`], [`usage`], [`exporter`], [`money`], [`period`], [`counters`] and [`diagnostic`] are
//! the vocabulary; they import nothing else of this crate but each other. [`config`] reads the operator's files, and
//! [`setup`] puts them in force. [`daemon`] and [`replay`] run all of it, live or over captures; [`generate`] makes
//! traffic of known totals to try it with, [`claims`] finds flows that would be billed twice, and
//! [`reclassify`] says what usage would be by another configuration. [`poll`] asks routers over SNMP what their interfaces
//! are called and counted, and [`reconcile`] holds the flows against that. [`audit`] proves what a ledger holds. [`snmp`]
//! and [`cli`] read; nothing above imports them, but for the agent's
//! settings in the configuration.
//!
//! `docs/ARCHITECTURE.md` tells the way of a datagram and the invariants; `tests/it/tidy.rs` keeps the imports so.

pub mod audit;
pub mod claims;
pub mod classify;
pub mod cli;
pub mod commit;
pub mod config;
pub mod counters;
pub mod daemon;
pub mod decode;
pub mod diagnostic;
pub mod exporter;
pub mod flow;
pub mod generate;
pub mod ids;
pub mod invoice;
pub mod journal;
pub mod ledger;
pub mod meter;
pub mod money;
pub mod period;
pub mod poll;
pub mod processor;
pub mod rate;
pub mod receive;
pub mod reclassify;
pub mod reconcile;
pub mod replay;
pub mod sampling;
pub mod setup;
pub mod snmp;
pub mod units;
pub mod usage;
