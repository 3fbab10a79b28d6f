//! Flow tables of routers: how full they are, and what found no place in them.

use std::collections::BTreeMap;

use super::client::{Error, Session};
use crate::ledger::records::interfaces::Card;

/// The flow tables of a router, by card; none where it has none of the known MIBs.
pub(super) async fn read(_session: &Session) -> Result<BTreeMap<u32, Card>, Error> {
    Ok(BTreeMap::new())
}
