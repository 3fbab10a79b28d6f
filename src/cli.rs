//! cli
pub mod invoice;
pub mod tariff;
