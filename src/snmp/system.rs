//! The objects of an SNMP entity itself: the system and snmp groups of SNMPv2-MIB (RFC 3418) and the counters of
//! SNMP-MPD-MIB (RFC 3412).

use std::borrow::Cow;

use super::objects;
use super::tree::{Branch, Rows, counter32, integer, object_id, text, time_ticks};

const SYSTEM: &[u32] = &[1, 3, 6, 1, 2, 1, 1];
const SNMP: &[u32] = &[1, 3, 6, 1, 2, 1, 11];
const SNMP_SET: &[u32] = &[1, 3, 6, 1, 6, 3, 1, 1, 6];
const MPD_STATISTICS: &[u32] = &[1, 3, 6, 1, 6, 3, 11, 2, 1];

/// The rows of `sysORTable`: what this agent implements.
pub(super) const RESOURCES: [(&[&[u32]], &str); 3] = [
    (&[&[1, 3, 6, 1, 6, 3, 1]], "SNMPv2-MIB (RFC 3418): the system and snmp groups"),
    (&[&[1, 3, 6, 1, 6, 3, 11, 3, 1, 1]], "SNMP-MPD-MIB (RFC 3412): counters of message processing"),
    (
        &[objects::ROOT, &[2, 1, 1]],
        "FLUXOSCOPE-MIB: stream processors, exporters, links, customers, contention",
    ),
];

/// Branches of the tree, in any order.
pub(super) const BRANCHES: &[Branch] = &[
    Branch {
        parent: &[SYSTEM],
        rows: Rows::Scalar,
        objects: &[
            text(1, "sysDescr", |_, _| {
                concat!("Fluxoscope ", env!("CARGO_PKG_VERSION"), ": flow accounting and billing").into()
            }),
            object_id(2, "sysObjectID", |_, _| Cow::Owned([objects::ROOT, objects::PRODUCT].concat())),
            time_ticks(3, "sysUpTime", |view, _| ticks(view.now.uptime)),
            text(4, "sysContact", |view, _| or_empty(view.config.contact.as_ref())),
            text(5, "sysName", |view, _| or_empty(view.config.name.as_ref())),
            text(6, "sysLocation", |view, _| or_empty(view.config.location.as_ref())),
            // An application: layer 7, 2^6.
            integer(7, "sysServices", |_, _| 64),
            time_ticks(8, "sysORLastChange", |_, _| 0),
        ],
    },
    Branch {
        parent: &[SYSTEM, &[9, 1]],
        rows: Rows::Resources,
        objects: &[
            object_id(2, "sysORID", |_, row| Cow::Owned(RESOURCES[row].0.concat())),
            text(3, "sysORDescr", |_, row| RESOURCES[row].1.into()),
            time_ticks(4, "sysORUpTime", |_, _| 0),
        ],
    },
    Branch {
        parent: &[SNMP],
        rows: Rows::Scalar,
        objects: &[
            counter32(1, "snmpInPkts", |view, _| view.statistics.in_packets),
            counter32(3, "snmpInBadVersions", |view, _| view.statistics.in_bad_versions),
            counter32(4, "snmpInBadCommunityNames", |view, _| view.statistics.in_bad_community_names),
            counter32(5, "snmpInBadCommunityUses", |view, _| view.statistics.in_bad_community_uses),
            counter32(6, "snmpInASNParseErrs", |view, _| view.statistics.in_asn_parse_errors),
            // disabled(2): this agent sends no notifications.
            integer(30, "snmpEnableAuthenTraps", |_, _| 2),
            counter32(31, "snmpSilentDrops", |view, _| view.statistics.silent_drops),
            // Never counts: there is no proxy here.
            counter32(32, "snmpProxyDrops", |_, _| 0),
        ],
    },
    Branch {
        parent: &[SNMP_SET],
        rows: Rows::Scalar,
        // Never changes: nothing can be set.
        objects: &[integer(1, "snmpSetSerialNo", |_, _| 0)],
    },
    Branch {
        parent: &[MPD_STATISTICS],
        rows: Rows::Scalar,
        objects: &[
            counter32(1, "snmpUnknownSecurityModels", |view, _| view.statistics.unknown_security_models),
            counter32(2, "snmpInvalidMsgs", |view, _| view.statistics.invalid_messages),
            counter32(3, "snmpUnknownPDUHandlers", |view, _| view.statistics.unknown_pdu_handlers),
        ],
    },
];

/// Hundredths of a second, modulo 2^32 (RFC 2578, 7.1.8): 497 days.
fn ticks(uptime: core::time::Duration) -> u32 {
    u32::try_from(uptime.as_millis() / 10 % (1 << 32)).expect("less than 2^32")
}

fn or_empty(text: Option<&String>) -> Cow<'_, str> {
    text.map_or(Cow::Borrowed(""), |text| Cow::Borrowed(text))
}
