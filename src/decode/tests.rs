//! Datagrams built octet by octet, with values worked out by hand; captures of real exporters; another decoder; noise.

mod aggregates;
pub(crate) mod build;
pub(crate) mod captures;
mod faults;
mod fixed;
mod flows;
mod loss;
mod oracle;
mod order;
mod pools;
mod restart;
mod robust;
mod sections;
mod sessions;
pub(crate) mod sflow;
mod state;
mod times;
mod totals;
