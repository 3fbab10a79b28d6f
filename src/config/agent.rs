//! `[snmp]`: the agent, who may ask it, whom it tells, and the master agent that it may be part of.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::polling::{passphrases, secret};
use super::reader::{Place, Table, Value};
use super::sections::{address, octets, set, text, word};
use super::value;
use crate::snmp;

/// `[snmp]`; what it listens on goes into `taken`.
pub(super) fn snmp(table: &Table<'_>, taken: &mut BTreeMap<SocketAddr, Place>, base: &Path) -> snmp::Config {
    let mut section = snmp::Config::default();
    let listen = table.get("listen");
    section.agentx = table.get("agentx").and_then(|value| value.parse("where a master agent is", master));
    match (listen, &section.agentx) {
        (Some(listen), Some(_)) => listen.problem(
            "`listen` and `agentx` exclude each other: the master agent answers for this one",
            "remove one of them",
        ),
        _ => set(&mut section.listen, listen.and_then(|value| address(value, taken))),
    }
    if let Some(value) = table.get("communities") {
        for item in value.one_or_many() {
            match item.string("a community") {
                Some("") => item.problem("an empty community is no secret; remove it", ""),
                Some(community) => section.communities.push(community.to_owned()),
                None => {}
            }
        }
    }
    if let Some(value) = table.get("sources") {
        for item in value.one_or_many() {
            section.sources.extend(item.parse("an address prefix", value::prefix));
        }
    }
    // A DisplayString (RFC 3418, RFC 2579).
    let display = |text: &str| match text.is_ascii() && text.len() <= 255 {
        true => Ok(text.to_owned()),
        false => Err("SNMP shows at most 255 characters of ASCII here: write it without accents".to_owned()),
    };
    let named = |key| table.get(key)?.parse("a text", display).filter(|text: &String| !text.is_empty());
    section.contact = named("contact");
    section.location = named("location");
    section.name = named("name");
    set(&mut section.legacy_authentication, table.get("legacy_authentication").and_then(Value::boolean));
    set(&mut section.legacy_privacy, table.get("legacy_privacy").and_then(Value::boolean));
    table.each("view", |table| {
        let rules =
            snmp::ViewRules { include: subtrees(table, "include"), exclude: subtrees(table, "exclude") };
        let Some(value) = table.require("name", "a view needs a name") else { return };
        let Some(name) = value.parse("a name", |text| value::check_name(text).map(|()| text.to_owned()))
        else {
            return;
        };
        if name == snmp::DEFAULT_VIEW || section.views.insert(name, rules).is_some() {
            value.problem("there is a view of that name", "");
        }
    });
    let views: Vec<String> = section.views.keys().cloned().chain([snmp::DEFAULT_VIEW.to_owned()]).collect();
    let view = |value: Value<'_>| {
        value.parse("the name of a view", |text| match views.iter().find(|view| *view == text) {
            Some(view) => Ok(view.clone()),
            None => Err(format!("there is no [[snmp.view]] of the name `{text}`")),
        })
    };
    set(&mut section.view, table.get("community_view").and_then(view));
    alarms(table, &mut section.alarms);
    table.each("notify", |table| section.notify.extend(target(table, base)));
    table.each("user", |table| {
        let rules = (
            table.get("view").map_or_else(|| Some(snmp::DEFAULT_VIEW.to_owned()), view),
            table.get("security").and_then(|value| word(value, &snmp::Level::ALL)),
        );
        let Some(value) = table.require("name", "a user needs a name") else { return };
        let name = value.parse("a name", |text| snmp::check_name(text).map(|()| text.to_owned()));
        if let (Some(name), (Some(view), security)) = (name, rules) {
            if section.users.iter().any(|user| user.name == name) {
                value.problem("there is a user of that name", "");
            }
            section.users.push(snmp::UserRules { name, view, security });
        }
    });
    section
}

/// When something is worth a notification.
fn alarms(table: &Table<'_>, alarms: &mut snmp::Alarms) {
    let duration = |key| table.get(key).and_then(|value| value.parse("a duration", value::duration));
    let some_time = |text: &str| match value::duration(text)? {
        0 => Err("every exporter is silent for no time; write one that is longer than it pauses".to_owned()),
        millis => Ok(millis),
    };
    set(
        &mut alarms.silent_ms,
        table.get("alarm_silent").and_then(|value| value.parse("a duration", some_time)),
    );
    set(&mut alarms.repeat_ms, duration("alarm_repeat"));
    let percent = table.get("alarm_loss_percent");
    set(&mut alarms.loss_percent, percent.and_then(|value| value.integer("a share in percent", 0..=100)));
    set(&mut alarms.backlog_octets, octets(table, "alarm_backlog", 1));
}

/// `[[snmp.notify]]`.
fn target(table: &Table<'_>, base: &Path) -> Option<snmp::Target> {
    let versions = [("2c", false), ("3", true)];
    let is_v3 = table.get("version").map_or(Some(false), |value| word(value, &versions));
    let community = text(table, "community").unwrap_or_else(|| "public".to_owned());
    let inform = table.get("inform");
    let wants_inform = inform.and_then(Value::boolean).unwrap_or(false);
    let user = table.get("user").and_then(|value| value.string("a user"));
    let address = table.require("address", "where notifications go")?;
    let address = address.parse("an address with its port", |text| {
        text.parse::<SocketAddr>()
            .ok()
            .filter(|address| address.port() != 0)
            .ok_or_else(|| format!("`{text}` is not an address with a port, such as \"192.0.2.9:162\""))
    })?;
    let protocol = match (is_v3?, user) {
        (false, _) => snmp::Protocol::V2c { community, inform: wants_inform },
        (true, None) => {
            table.problem("`user` is missing: by whose keys notifications of SNMPv3 are secured", "");
            return None;
        }
        (true, Some(user)) if wants_inform => {
            snmp::Protocol::V3Inform { user: inform_user(table, user.to_owned(), base)? }
        }
        (true, Some(user)) => {
            for key in ["auth", "priv", "secrets", "secrets_env"] {
                if let Some(value) = table.get(key) {
                    value.problem(
                        format!("`{key}` is for informs; traps are secured by the keys of `fluxoscope snmp user add`"),
                        "",
                    );
                }
            }
            snmp::Protocol::V3 { user: user.to_owned() }
        }
    };
    Some(snmp::Target { address, protocol })
}

/// A user of the target of informs, with its passphrases. Files are relative to `base`.
fn inform_user(table: &Table<'_>, name: String, base: &Path) -> Option<snmp::InformUser> {
    let auth = table.get("auth").and_then(|value| word(value, &snmp::Authentication::ALL));
    let privacy_at = table.get("priv");
    let privacy = privacy_at.and_then(|value| word(value, &snmp::Privacy::ALL));
    let Some(auth) = auth else {
        if let Some(value) = privacy_at {
            value.problem("there is no privacy without authentication; write `auth`, too", "");
        }
        table.forget(&["secrets", "secrets_env"]);
        let is_plain = table.get("auth").is_none();
        return is_plain.then_some(snmp::InformUser { name, authentication: None, privacy: None });
    };
    let secret = secret(table, ["", "secrets", "secrets_env"], base)?;
    let (authentication, encryption) = passphrases(&secret, privacy.is_some())?;
    let kept = |text: String| snmp::Passphrase::new(text);
    Some(snmp::InformUser {
        name,
        authentication: Some((auth, kept(authentication))),
        privacy: privacy.zip(encryption.map(kept)),
    })
}

/// Where a master agent is: `unix:PATH` or `tcp:HOST:PORT`.
fn master(text: &str) -> Result<snmp::Master, String> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
        return Ok(snmp::Master::Unix(PathBuf::from(path)));
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    match text.strip_prefix("tcp:").and_then(|host| Some((host, host.rsplit_once(':')?))) {
        Some((whole, (host, port))) if !host.is_empty() && is_port(port) => {
            Ok(snmp::Master::Tcp(whole.to_owned()))
        }
        _ => Err(format!("`{text}` is neither \"unix:/var/agentx/master\" nor \"tcp:HOST:PORT\"")),
    }
}

/// Object identifiers by number.
fn subtrees(table: &Table<'_>, key: &'static str) -> Vec<Vec<u32>> {
    let subtree = |text: &str| {
        let arcs = text.strip_prefix('.').unwrap_or(text).split('.').map(|arc| arc.parse::<u32>().ok());
        arcs.collect::<Option<Vec<_>>>()
            .filter(|arcs| arcs.len() <= 128)
            .ok_or_else(|| format!("`{text}` is no object identifier by number, such as \"1.3.6.1.2.1.1\""))
    };
    let Some(value) = table.get(key) else { return Vec::new() };
    value.one_or_many().into_iter().filter_map(|item| item.parse("an object identifier", subtree)).collect()
}
