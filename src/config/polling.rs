//! `[poll]`, `[reconcile]`, and `snmp` of an exporter: how routers are asked, and how flows are compared with what they say.

use core::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::reader::{Table, Value};
use super::sections::{count, duration, octets, set, word};
use crate::poll::{self, Authentication, Credentials, Privacy, Secret, Target};
use crate::reconcile;

/// The port of SNMP agents.
const PORT: u16 = 161;

/// Shortest passphrase (RFC 3414 11.2).
const PASSPHRASE_OCTETS_MIN: usize = 8;

/// `[poll]`.
pub(super) fn poll(table: &Table<'_>) -> poll::Config {
    let mut section = poll::Config::default();
    if let Some(interval) = duration(table, "interval", 1_000) {
        section.interval_ms = interval;
        if let Some(value) = table.get("interval")
            && interval > 300_000
        {
            value.problem("`interval` is at most five minutes: buckets are that long", "too long");
        }
    }
    set(&mut section.names_ms, duration(table, "names", 1_000));
    set(&mut section.timeout_ms, duration(table, "timeout", 100).map(i64::unsigned_abs));
    let retries = table.get("retries").and_then(|value| value.integer("`retries`", 0..=10));
    set(&mut section.retries, retries.and_then(|n| u32::try_from(n).ok()));
    set(&mut section.concurrency, count(table, "concurrency", 1024));
    set(&mut section.interfaces, count(table, "interfaces", 1 << 20));
    section
}

/// `[reconcile]`.
pub(super) fn reconcile(table: &Table<'_>) -> reconcile::Config {
    let mut section = reconcile::Config::default();
    let percent = |text: &str| {
        let wrong = || format!("`{text}` is not a percentage, such as \"5%\" or \"0.5%\"");
        let number = text.strip_suffix('%').ok_or_else(wrong)?.trim();
        let share: rust_decimal::Decimal = number.parse().map_err(|_| wrong())?;
        let millionths = share * rust_decimal::Decimal::from(10_000);
        u32::try_from(millionths.trunc()).ok().filter(|n| *n <= 1_000_000).ok_or_else(wrong)
    };
    set(
        &mut section.tolerance_millionths,
        table.get("tolerance").and_then(|value| value.parse("a percentage", percent)),
    );
    set(&mut section.floor_octets, octets(table, "floor", 0));
    let sigmas = table.get("sigmas").and_then(|value| value.integer("`sigmas`", 0..=10));
    set(&mut section.sigmas, sigmas.and_then(|n| u32::try_from(n).ok()));
    section
}

/// `snmp` of `[[exporter]]`. Files are relative to `base`.
pub(super) fn target(value: Value<'_>, exporter: Option<(&str, IpAddr)>, base: &Path) -> Option<Target> {
    let table = value.table("a table: { version = \"2c\", community = \"...\" }")?;
    let version =
        table.require("version", "\"2c\" or \"3\"").and_then(|value| word(value, &[("2c", 2), ("3", 3)]));
    let address = table.get("address").and_then(|value| {
        value.parse("an address", |text| {
            text.parse::<IpAddr>().map_err(|_| format!("`{text}` is not an address"))
        })
    });
    let port = table.get("port").and_then(|value| value.integer("`port`", 1..=65_535));
    let tables = table.get("tables").and_then(Value::boolean);
    let credentials = match version {
        Some(2) => community(&table, base),
        Some(_) => user(&table, base),
        None => {
            table.forget(&[
                "community",
                "community_file",
                "community_env",
                "user",
                "auth",
                "priv",
                "secrets",
                "secrets_env",
            ]);
            None
        }
    };
    table.finish();
    let (name, own) = exporter?;
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(PORT);
    let address = SocketAddr::new(address.unwrap_or(own), port);
    Some(Target {
        exporter: name.to_owned(),
        address,
        credentials: credentials?,
        tables: tables.unwrap_or(true),
    })
}

fn community(table: &Table<'_>, base: &Path) -> Option<Credentials> {
    let secret = secret(table, ["community", "community_file", "community_env"], base)?;
    let community = secret.text.trim_end_matches(['\r', '\n']);
    if community.is_empty() || community.contains('\n') {
        secret.value.problem("a community is one line, and not empty", "");
        return None;
    }
    Some(Credentials::Community(Secret::new(community)))
}

fn user(table: &Table<'_>, base: &Path) -> Option<Credentials> {
    let name = table.require("user", "SNMPv3 has users").and_then(|value| value.string("a user"))?.to_owned();
    let auth = table.get("auth").and_then(|value| {
        word(
            value,
            &[
                ("MD5", Authentication::Md5),
                ("SHA", Authentication::Sha1),
                ("SHA-224", Authentication::Sha224),
                ("SHA-256", Authentication::Sha256),
                ("SHA-384", Authentication::Sha384),
                ("SHA-512", Authentication::Sha512),
            ],
        )
    });
    let privacy_at = table.get("priv");
    let privacy = privacy_at.and_then(|value| {
        word(
            value,
            &[
                ("DES", Privacy::Des),
                ("AES-128", Privacy::Aes128),
                ("AES-192", Privacy::Aes192),
                ("AES-256", Privacy::Aes256),
                ("AES-192-C", Privacy::Aes192Cisco),
                ("AES-256-C", Privacy::Aes256Cisco),
            ],
        )
    });
    let Some(auth) = auth else {
        if let Some(value) = privacy_at {
            value.problem("there is no privacy without authentication; write `auth`, too", "");
        }
        table.forget(&["secrets", "secrets_env"]);
        return table.get("auth").is_none().then_some(Credentials::User { name, auth: None, privacy: None });
    };
    let secret = secret(table, ["", "secrets", "secrets_env"], base)?;
    let (authentication, encryption) = passphrases(&secret, privacy.is_some())?;
    let auth = Some((auth, Secret::new(authentication)));
    Some(Credentials::User { name, auth, privacy: privacy.zip(encryption.map(Secret::new)) })
}

/// The passphrases in a secret: its first line is for authentication, its second, where it is `wanted`, for privacy.
pub(super) fn passphrases(secret: &Found<'_>, wanted: bool) -> Option<(String, Option<String>)> {
    let mut lines = secret.text.lines();
    let mut passphrase = |what: &str| {
        let line = lines.next().unwrap_or_default().trim_end_matches('\r');
        if line.len() < PASSPHRASE_OCTETS_MIN {
            secret.value.problem(
                format!("the passphrase for {what} has less than {PASSPHRASE_OCTETS_MIN} octets; the first line is for authentication, the second for privacy"),
                "",
            );
            return None;
        }
        Some(line.to_owned())
    };
    let authentication = passphrase("authentication")?;
    let encryption = if wanted { Some(passphrase("privacy")?) } else { None };
    Some((authentication, encryption))
}

/// A secret and where it was written. Problems with it never repeat it.
pub(super) struct Found<'a> {
    text: String,
    value: Value<'a>,
}

/// A secret: as it is, in a file, or in a variable of the environment.
pub(super) fn secret<'a>(table: &Table<'a>, keys: [&'static str; 3], base: &Path) -> Option<Found<'a>> {
    let [plain, file, variable] = keys;
    let plain_at = if plain.is_empty() { None } else { table.get(plain) };
    let found: Vec<(usize, Value<'a>)> = [plain_at, table.get(file), table.get(variable)]
        .into_iter()
        .enumerate()
        .filter_map(|(n, value)| Some((n, value?)))
        .collect();
    let [(kind, value)] = found[..] else {
        let names: Vec<String> =
            keys.iter().filter(|key| !key.is_empty()).map(|key| format!("`{key}`")).collect();
        table.problem(format!("one of {} is needed", names.join(", ")), "");
        return None;
    };
    let text = value.string("a string")?;
    let text = match kind {
        0 => text.to_owned(),
        1 => match std::fs::read_to_string(base.join(text)) {
            Ok(secret) => {
                warn_of_readers(&base.join(text));
                secret
            }
            Err(error) => {
                value.problem(format!("cannot read `{}`: {error}", base.join(text).display()), "");
                return None;
            }
        },
        _ => match environment(text) {
            Some(text) => text,
            None => {
                value.problem(format!("the environment has no `{text}`"), "");
                return None;
            }
        },
    };
    Some(Found { text, value })
}

/// Says where everybody may read a secret. A group may: the daemon's, of a file that is root's.
pub fn warn_of_readers(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o007 != 0) {
        tracing::warn!(path = %path.display(), "Everybody may read or change these secrets: chmod o-rwx, and take them for lost.");
    }
}

#[expect(clippy::disallowed_methods, reason = "a secret that the operator keeps out of files")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
