//! Integration tests.

mod snmp;
mod tidy;
