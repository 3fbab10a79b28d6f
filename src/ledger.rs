//! The ledger database: usage, positions, checkpoints, configuration and tariff versions, invoices.
pub mod records;
