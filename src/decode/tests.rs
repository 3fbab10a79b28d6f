//! Datagrams built octet by octet, with values worked out by hand; captures of real exporters; another decoder; noise.

pub(crate) mod build;
pub(crate) mod captures;
mod faults;
mod flows;
mod oracle;
mod robust;
mod sessions;
mod state;
mod times;
