//! Integration tests.

mod snmp;
