//! Integration tests.

mod bad_input;
mod crash;
mod generated;
mod live;
mod live_support;
mod snmp;
mod support;
mod tidy;
