//! Integration tests.

mod bad_input;
mod live;
mod live_support;
mod snmp;
