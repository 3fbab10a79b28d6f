//! Integration tests.

mod crash;
mod generated;
mod snmp;
mod support;
mod tidy;
