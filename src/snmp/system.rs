//! The objects of an SNMP entity itself: the system and snmp groups of SNMPv2-MIB (RFC 3418), the counters of
//! SNMP-MPD-MIB (RFC 3412), SNMP-TARGET-MIB (RFC 3413) and SNMP-USER-BASED-SM-MIB (RFC 3414), and the engine of
//! SNMP-FRAMEWORK-MIB (RFC 3411); and the program as NETWORK-SERVICES-MIB (RFC 2788) sees it: an application with
//! associations, which are TCP connections here.

use std::borrow::Cow;

use super::tree::{Branch, Rows, counter32, gauge32, integer, object_id, octets, text, time_ticks};
use super::v3;
use super::{ipfix, objects};

const SYSTEM: &[u32] = &[1, 3, 6, 1, 2, 1, 1];
const SNMP: &[u32] = &[1, 3, 6, 1, 2, 1, 11];
const SNMP_SET: &[u32] = &[1, 3, 6, 1, 6, 3, 1, 1, 6];
const ENGINE: &[u32] = &[1, 3, 6, 1, 6, 3, 10, 2, 1];
const MPD_STATISTICS: &[u32] = &[1, 3, 6, 1, 6, 3, 11, 2, 1];
const TARGET_OBJECTS: &[u32] = &[1, 3, 6, 1, 6, 3, 12, 1];
const APPLICATION_ENTRY: &[u32] = &[1, 3, 6, 1, 2, 1, 27, 1, 1];
const USM_STATISTICS: &[u32] = &[1, 3, 6, 1, 6, 3, 15, 1, 1];

/// The rows of `sysORTable`: what this agent implements.
pub(super) const RESOURCES: [(&[&[u32]], &str); 8] = [
    (&[&[1, 3, 6, 1, 6, 3, 1]], "SNMPv2-MIB (RFC 3418): the system and snmp groups"),
    (&[&[1, 3, 6, 1, 6, 3, 10, 3, 1, 1]], "SNMP-FRAMEWORK-MIB (RFC 3411): the engine"),
    (&[&[1, 3, 6, 1, 6, 3, 15, 2, 1, 1]], "SNMP-USER-BASED-SM-MIB (RFC 3414): statistics"),
    (&[&[1, 3, 6, 1, 6, 3, 16, 2, 1, 1]], "SNMP-VIEW-BASED-ACM-MIB (RFC 3415): read-only"),
    (&[&[1, 3, 6, 1, 6, 3, 11, 3, 1, 1]], "SNMP-MPD-MIB (RFC 3412): counters of message processing"),
    (&[&[1, 3, 6, 1, 2, 1, 27, 4, 2, 1]], "NETWORK-SERVICES-MIB (RFC 2788): applTable"),
    (
        &[objects::ROOT, &[2, 1, 1]],
        "FLUXOSCOPE-MIB: stream processors, exporters, links, customers, contention, books, notifications",
    ),
    (&[ipfix::ROOT, ipfix::COMPLIANCE], "IPFIX-MIB (RFC 6615): a collector's sessions and templates"),
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
        parent: &[APPLICATION_ENTRY],
        rows: Rows::Application,
        objects: &[
            text(2, "applName", |_, _| "fluxoscope".into()),
            text(3, "applDirectoryName", |_, _| "".into()),
            text(4, "applVersion", |_, _| env!("CARGO_PKG_VERSION").into()),
            // Since before the agent: 0.
            time_ticks(5, "applUptime", |_, _| 0),
            // up(1): who is not up does not answer.
            integer(6, "applOperStatus", |_, _| 1),
            time_ticks(7, "applLastChange", |_, _| 0),
            gauge32(8, "applInboundAssociations", |view, _| view.connections()[0]),
            gauge32(9, "applOutboundAssociations", |_, _| 0),
            counter32(10, "applAccumulatedInboundAssociations", |view, _| wrapped(view.connections()[1])),
            counter32(11, "applAccumulatedOutboundAssociations", |_, _| 0),
            counter32(14, "applRejectedInboundAssociations", |view, _| wrapped(view.connections()[2])),
            counter32(15, "applFailedOutboundAssociations", |_, _| 0),
            text(16, "applDescription", |_, _| "flow accounting and billing".into()),
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
            // disabled(2): this agent sends no authenticationFailure; what it does send is in FLUXOSCOPE-MIB.
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
    Branch {
        parent: &[ENGINE],
        rows: Rows::Scalar,
        objects: &[
            octets(1, "snmpEngineID", |view, _| view.engine.id().to_vec()),
            integer(2, "snmpEngineBoots", |view, _| view.engine.clock(view.now.uptime).0.cast_signed()),
            integer(3, "snmpEngineTime", |view, _| view.engine.clock(view.now.uptime).1.cast_signed()),
            integer(4, "snmpEngineMaxMessageSize", |_, _| v3::RECEIVE_OCTETS_MAX.cast_signed()),
        ],
    },
    Branch {
        parent: &[TARGET_OBJECTS],
        rows: Rows::Scalar,
        objects: &[
            // Never counts: the one context is always there.
            counter32(4, "snmpUnavailableContexts", |_, _| 0),
            counter32(5, "snmpUnknownContexts", |view, _| view.statistics.unknown_contexts),
        ],
    },
    Branch {
        parent: &[USM_STATISTICS],
        rows: Rows::Scalar,
        objects: &[
            counter32(1, "usmStatsUnsupportedSecLevels", |view, _| view.statistics.unsupported_sec_levels),
            counter32(2, "usmStatsNotInTimeWindows", |view, _| view.statistics.not_in_time_windows),
            counter32(3, "usmStatsUnknownUserNames", |view, _| view.statistics.unknown_user_names),
            counter32(4, "usmStatsUnknownEngineIDs", |view, _| view.statistics.unknown_engine_ids),
            counter32(5, "usmStatsWrongDigests", |view, _| view.statistics.wrong_digests),
            counter32(6, "usmStatsDecryptionErrors", |view, _| view.statistics.decryption_errors),
        ],
    },
];

/// Hundredths of a second, modulo 2^32 (RFC 2578, 7.1.8): 497 days.
fn ticks(uptime: core::time::Duration) -> u32 {
    u32::try_from(uptime.as_millis() / 10 % (1 << 32)).expect("less than 2^32")
}

/// A counter of 32 bits wraps.
fn wrapped(count: u64) -> u32 {
    u32::try_from(count & u64::from(u32::MAX)).expect("32 bits")
}

fn or_empty(text: Option<&String>) -> Cow<'_, str> {
    text.map_or(Cow::Borrowed(""), |text| Cow::Borrowed(text))
}
