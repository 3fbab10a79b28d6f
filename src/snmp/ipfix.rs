//! IPFIX-MIB (RFC 6615), as a collector has it: transport sessions, templates and their definitions, statistics of both.
//!
//! NetFlow v9 has the same things under the same names, so its sessions are here, too, with version 9. All datagrams of an
//! exporter are one session whose ports are not told (0): routers send templates and data from several ports, and what
//! they mean does not depend on them. Each TCP connection is a session of its own. The collector's own address is not
//! told either (unknown(0)): it may listen on several. Statistics are as of the exporter's last flush.

use core::net::IpAddr;
use core::sync::atomic::Ordering::Relaxed;

use super::ages::Stamped;
use super::lists::TransportRow;
use super::objects::date_and_time;
use super::snapshot::View;
use super::tree::{Branch, Rows, counter64, gauge32, integer, octets, time_ticks};
use crate::counters::Template;

/// `ipfixMIB`.
pub(super) const ROOT: &[u32] = &[1, 3, 6, 1, 2, 1, 193];

/// `ipfixCollectorCompliance`, under [`ROOT`].
pub(super) const COMPLIANCE: &[u32] = &[2, 1, 1];

const SESSION_ENTRY: &[u32] = &[1, 1, 1, 1];
const TEMPLATE_ENTRY: &[u32] = &[1, 1, 2, 1];
const DEFINITION_ENTRY: &[u32] = &[1, 1, 3, 1];
const SESSION_STATISTICS_ENTRY: &[u32] = &[1, 2, 1, 1];
const TEMPLATE_STATISTICS_ENTRY: &[u32] = &[1, 2, 2, 1];

/// Numbers of transport protocols.
const TCP: u64 = 6;
const UDP: u64 = 17;

/// Branches of the tree, ascending. The index columns are in the instances' names.
pub(super) const BRANCHES: &[Branch] = &[
    Branch {
        parent: &[ROOT, SESSION_ENTRY],
        rows: Rows::Transports,
        objects: &[
            gauge32(
                2,
                "ipfixTransportSessionProtocol",
                |view, row| {
                    if is_udp(view, row) { UDP } else { TCP }
                },
            ),
            integer(3, "ipfixTransportSessionSourceAddressType", |view, row| {
                if session(view, row).address.is_ipv4() { 1 } else { 2 }
            }),
            octets(4, "ipfixTransportSessionSourceAddress", |view, row| match session(view, row).address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            }),
            integer(5, "ipfixTransportSessionDestinationAddressType", |_, _| 0),
            octets(6, "ipfixTransportSessionDestinationAddress", |_, _| Vec::new()),
            gauge32(7, "ipfixTransportSessionSourcePort", |_, _| 0),
            gauge32(8, "ipfixTransportSessionDestinationPort", |_, _| 0),
            gauge32(9, "ipfixTransportSessionSctpAssocId", |_, _| 0),
            // collecting(2).
            integer(10, "ipfixTransportSessionDeviceMode", |_, _| 2),
            gauge32(11, "ipfixTransportSessionTemplateRefreshTimeout", lifetime),
            gauge32(12, "ipfixTransportSessionOptionsTemplateRefreshTimeout", lifetime),
            // Templates are not forgotten after a number of messages.
            gauge32(13, "ipfixTransportSessionTemplateRefreshPacket", |_, _| 0),
            gauge32(14, "ipfixTransportSessionOptionsTemplateRefreshPacket", |_, _| 0),
            gauge32(15, "ipfixTransportSessionIpfixVersion", |view, row| {
                session(view, row).transport.version.into()
            }),
            integer(16, "ipfixTransportSessionStatus", status),
        ],
    },
    Branch {
        parent: &[ROOT, TEMPLATE_ENTRY],
        rows: Rows::Templates,
        objects: &[
            // IPFIX's set identifiers, for NetFlow v9 too.
            gauge32(3, "ipfixTemplateSetId", |view, row| if template(view, row).is_options { 3 } else { 2 }),
            octets(4, "ipfixTemplateAccessTime", |view, row| date_and_time(template(view, row).defined_at)),
        ],
    },
    Branch {
        parent: &[ROOT, DEFINITION_ENTRY],
        rows: Rows::TemplateFields,
        objects: &[
            gauge32(2, "ipfixTemplateDefinitionIeId", |view, row| field(view, row).0.element.into()),
            gauge32(3, "ipfixTemplateDefinitionIeLength", |view, row| field(view, row).0.length.into()),
            // Scope types of NetFlow v9 are shown as elements of their numbers.
            gauge32(4, "ipfixTemplateDefinitionEnterpriseNumber", |view, row| match field(view, row).0 {
                field if field.is_scope() => 0,
                field => field.enterprise.into(),
            }),
            // BITS { scope(0), flowKey(1) }: the first bit is the greatest one.
            octets(5, "ipfixTemplateDefinitionFlags", |view, row| {
                vec![if field(view, row).1 { 0x80 } else { 0 }]
            }),
        ],
    },
    Branch {
        parent: &[ROOT, SESSION_STATISTICS_ENTRY],
        rows: Rows::Transports,
        objects: &[
            gauge32(1, "ipfixTransportSessionRate", |view, row| session(view, row).rate.into()),
            // Of UDP, a packet is a message. How many packets brought a message over TCP, nobody here is told.
            counter64(2, "ipfixTransportSessionPackets", |view, row| {
                session(view, row).transport.counts.messages
            }),
            counter64(3, "ipfixTransportSessionBytes", |view, row| {
                session(view, row).transport.counts.octets
            }),
            counter64(4, "ipfixTransportSessionMessages", |view, row| {
                session(view, row).transport.counts.messages
            }),
            counter64(5, "ipfixTransportSessionDiscardedMessages", |view, row| {
                session(view, row).transport.counts.discarded
            }),
            counter64(6, "ipfixTransportSessionRecords", |view, row| {
                session(view, row).transport.counts.records
            }),
            counter64(7, "ipfixTransportSessionTemplates", |view, row| {
                session(view, row).transport.counts.templates
            }),
            counter64(8, "ipfixTransportSessionOptionsTemplates", |view, row| {
                session(view, row).transport.counts.options_templates
            }),
            time_ticks(9, "ipfixTransportSessionDiscontinuityTime", |_, _| 0),
        ],
    },
    Branch {
        parent: &[ROOT, TEMPLATE_STATISTICS_ENTRY],
        rows: Rows::Templates,
        objects: &[
            counter64(1, "ipfixTemplateDataRecords", |view, row| template(view, row).records),
            time_ticks(2, "ipfixTemplateDiscontinuityTime", |_, _| 0),
        ],
    },
];

fn session<'a>(view: &'a View<'_>, row: usize) -> &'a TransportRow {
    view.lists.transports.row(row)
}

fn is_udp(view: &View<'_>, row: usize) -> bool {
    session(view, row).transport.session.is_none()
}

fn template<'a>(view: &'a View<'_>, row: usize) -> &'a Template {
    view.lists.templates.row(row)
}

/// A field, and whether it is part of the scope.
fn field(view: &View<'_>, row: usize) -> (crate::counters::Field, bool) {
    let (template, place) = view.lists.field(row);
    (template.fields[place], place < usize::from(template.scopes))
}

/// active(2) where messages come; inactive(1) where a session is only remembered, or has been silent for as long as makes
/// an exporter silent (`[snmp] alarm_silent`): so many milliseconds since its last message, as of the last flush.
fn status(view: &View<'_>, row: usize) -> i32 {
    let transport = &session(view, row).transport;
    let [key] = view.lists.transports.key(row);
    let silence = view.age(Stamped::Transport(key), transport.heard_at);
    if transport.counts.messages > 0 && silence < view.config.alarms.silence() { 2 } else { 1 }
}

/// Seconds; only of UDP.
fn lifetime(view: &View<'_>, row: usize) -> u64 {
    let seconds = || view.counters.processors.first().map(|one| one.template_lifetime_seconds.load(Relaxed));
    if is_udp(view, row) { seconds().unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests;
