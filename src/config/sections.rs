//! The sections that hold settings rather than the network: their defaults, and how they are read.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::path::Path;

use super::reader::{Place, Table, Value, nearest};
use super::value;
use crate::decode::Limits;
use crate::invoice::language::Language;
use crate::ledger::records::Asset;
use crate::meter::{self, BucketRule};
use crate::period::Period;
use crate::{journal, sampling};

/// What to do with datagrams of an address that no `[[exporter]]` has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnknownExporters {
    /// Count them as rejected.
    Reject,
    /// Take them in, named after their address, with every default.
    Accept,
}

/// `[receive]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Receive {
    /// Where NetFlow and IPFIX datagrams are taken.
    pub listen: Vec<SocketAddr>,
    /// Where more datagrams are taken, for sFlow by custom; their content says what they are.
    pub sflow: Vec<SocketAddr>,
    /// Where IPFIX is taken over TCP.
    pub tcp: Vec<SocketAddr>,
    /// TCP connections of one stream processor, at most.
    pub tcp_connections: usize,
    /// A TCP connection without a message for so many milliseconds is closed.
    pub tcp_idle_ms: u64,
    /// Stream processors.
    pub processors: usize,
    /// Datagrams of addresses that are not configured; `None` where the file does not say.
    pub unknown_exporters: Option<UnknownExporters>,
    /// Receive buffer asked of the kernel for each socket, in octets.
    pub socket_buffer: usize,
}

impl Default for Receive {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 2055))],
            sflow: Vec::new(),
            tcp: Vec::new(),
            tcp_connections: 256,
            tcp_idle_ms: 30 * 60 * 1000,
            processors: 1,
            unknown_exporters: None,
            socket_buffer: 4 << 20,
        }
    }
}

/// `[ledger]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ledger {
    /// `sqlite:PATH`, relative to the state directory, or `postgres://...`.
    pub url: String,
    /// Time between two flushes, in milliseconds.
    pub flush_ms: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { url: "sqlite:ledger.sqlite".to_owned(), flush_ms: 10_000 }
    }
}

/// What electronic invoices say of a party.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Contact {
    /// The city.
    pub city: String,
    /// The postal code.
    pub postcode: String,
    /// The country, two letters of ISO 3166.
    pub country: String,
    /// The number for value-added tax; the seller's is `tax_number` of `[invoice]`.
    pub tax_number: String,
    /// The electronic address: scheme and identifier.
    pub endpoint: String,
    /// What the customer wants to see on its invoices.
    pub reference: String,
    /// The account that is paid to.
    pub iban: String,
}

/// `[invoice]`: who invoices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invoice {
    /// What the numbers of invoices and credit notes begin with.
    pub series: String,
    /// Days from the date of an invoice to that up to which it is to be paid.
    pub due_days: u16,
    /// The seller's name.
    pub seller: String,
    /// Lines of the seller's postal address.
    pub address: Vec<String>,
    /// The seller's tax number, as invoices must show it.
    pub tax_number: String,
    /// Lines printed at the foot of each invoice: bank account, terms of payment.
    pub footer: Vec<String>,
    /// What electronic invoices say of the seller besides.
    pub einvoice: Contact,
    /// The language of invoices for customers that have none of their own.
    pub language: Language,
    /// The logo: a PNG or an SVG file.
    pub logo: Option<Asset>,
    /// The template of the HTML page, instead of the one that is built in.
    pub template: Option<Asset>,
}

impl Default for Invoice {
    fn default() -> Self {
        Self {
            series: "INV-".to_owned(),
            due_days: 30,
            seller: String::new(),
            address: Vec::new(),
            tax_number: String::new(),
            footer: Vec::new(),
            einvoice: Contact::default(),
            language: Language::default(),
            logo: None,
            template: None,
        }
    }
}

/// What the daemon does when a customer's period has ended, with its grace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AtPeriodEnd {
    /// Makes the draft of the invoice.
    Draft,
    /// Closes the period, and makes the invoice final.
    Final,
}

/// `[billing]`: what the daemon does by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Billing {
    /// The first period that it bills; `None`: it bills none.
    pub from: Option<Period>,
    /// What it does at the end of a period.
    pub at_period_end: AtPeriodEnd,
    /// The command that is told of alerts, and its arguments; empty: none.
    pub alert_command: Vec<String>,
    /// How long it may take, in milliseconds.
    pub alert_timeout_ms: u64,
    /// How many may run at a time.
    pub alert_commands: usize,
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            from: None,
            at_period_end: AtPeriodEnd::Draft,
            alert_command: Vec::new(),
            alert_timeout_ms: 30_000,
            alert_commands: 4,
        }
    }
}

/// Overwrites `field` where `found` is something.
pub(super) fn set<T>(field: &mut T, found: Option<T>) {
    if let Some(found) = found {
        *field = found;
    }
}

pub(super) fn count(table: &Table<'_>, key: &'static str, most: u64) -> Option<usize> {
    let n = table.get(key)?.integer(&format!("`{key}`"), 1..=most)?;
    usize::try_from(n).ok()
}

pub(super) fn octets(table: &Table<'_>, key: &'static str, least: u64) -> Option<u64> {
    let value = table.get(key)?;
    let found = match value.raw() {
        toml::de::DeValue::Integer(_) => value.integer(&format!("`{key}`"), 0..=i64::MAX.unsigned_abs())?,
        _ => value.parse("a size, such as \"4MiB\"", value::size)?,
    };
    if found < least {
        value.problem(format!("`{key}` must be at least {least} octets"), "too small");
        return None;
    }
    Some(found)
}

/// A duration of at least `least_ms`.
pub(super) fn duration(table: &Table<'_>, key: &'static str, least_ms: i64) -> Option<i64> {
    let value = table.get(key)?;
    let found = value.parse("a duration, such as \"10s\"", value::duration)?;
    if found < least_ms {
        value.problem(format!("`{key}` must be at least {least_ms}ms"), "too short");
        return None;
    }
    Some(found)
}

/// One of a few words.
pub(super) fn word<T: Copy>(value: Value<'_>, words: &[(&'static str, T)]) -> Option<T> {
    let names: Vec<&str> = words.iter().map(|&(name, _)| name).collect();
    let text = value.string("a string")?;
    let found = words.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        let label = nearest(text, &names).map(|near| format!("did you mean \"{near}\"?")).unwrap_or_default();
        let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        value.problem(format!("\"{text}\" is not known here; write {}", names.join(" or ")), label);
    }
    found.map(|&(_, word)| word)
}

/// A list of lines of text.
pub(super) fn lines(table: &Table<'_>, key: &'static str) -> Option<Vec<String>> {
    let value = table.get(key)?;
    let mut lines = Vec::new();
    for line in value.one_or_many() {
        if let Some(text) = line.string("a line of text") {
            if text.chars().any(char::is_control) {
                line.problem("a line must not hold control characters; write a list of lines", "");
            }
            lines.push(text.to_owned());
        }
    }
    Some(lines)
}

pub(super) fn text(table: &Table<'_>, key: &'static str) -> Option<String> {
    let value = table.get(key)?;
    let text = value.string("a string")?;
    if text.chars().any(char::is_control) {
        value.problem(format!("`{key}` must not hold control characters"), "");
    }
    Some(text.to_owned())
}

/// Addresses to listen on; each goes into `taken`, and none may be there already.
fn addresses(value: Value<'_>, taken: &mut BTreeMap<SocketAddr, Place>) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for item in value.one_or_many() {
        found.extend(address(item, taken));
    }
    found
}

pub(super) fn address(value: Value<'_>, taken: &mut BTreeMap<SocketAddr, Place>) -> Option<SocketAddr> {
    let address = value.parse("an address with its port", |text| {
        text.parse::<SocketAddr>().map_err(|_| {
            format!("`{text}` is not an address with a port; write \"0.0.0.0:2055\" or \"[::]:2055\"")
        })
    })?;
    if let Some(other) = taken.get(&address) {
        let at = value.report().at(other);
        value
            .problem(format!("{address} is already listened on, at {at}; give one of them another port"), "");
    } else if address.port() != 0 {
        taken.insert(address, value.place());
    }
    Some(address)
}

/// `[receive]`; what it listens on goes into `taken`.
pub(super) fn receive(table: &Table<'_>, taken: &mut BTreeMap<SocketAddr, Place>) -> Receive {
    let mut section = Receive::default();
    if let Some(value) = table.get("listen") {
        section.listen = addresses(value, taken);
    }
    if let Some(value) = table.get("sflow") {
        section.sflow = addresses(value, taken);
    }
    if let Some(value) = table.get("tcp") {
        // TCP has ports of its own: 4739 is that of IPFIX over both.
        section.tcp = addresses(value, &mut BTreeMap::new());
    }
    set(&mut section.tcp_connections, count(table, "tcp_connections", 16_384));
    set(&mut section.tcp_idle_ms, duration(table, "tcp_idle", 100).map(i64::unsigned_abs));
    set(&mut section.processors, count(table, "processors", 256));
    section.unknown_exporters = table.get("unknown_exporters").and_then(|value| {
        word(value, &[("reject", UnknownExporters::Reject), ("accept", UnknownExporters::Accept)])
    });
    let buffer = octets(table, "socket_buffer", 4096).and_then(|octets| usize::try_from(octets).ok());
    set(&mut section.socket_buffer, buffer);
    section
}

/// `[journal]`.
pub(super) fn journal(table: &Table<'_>) -> journal::Config {
    let mut section = journal::Config::default();
    set(&mut section.segment_octets, octets(table, "segment", 1 << 20));
    set(&mut section.sync_ms, duration(table, "sync", 1).map(i64::unsigned_abs));
    set(&mut section.retain_ms, duration(table, "retain", 0).map(Some));
    set(&mut section.retain_octets, octets(table, "retain_size", 0).map(Some));
    section
}

/// `[decode]`.
pub(super) fn decode(table: &Table<'_>) -> Limits {
    let mut section = Limits::default();
    set(&mut section.templates, count(table, "templates", 1 << 20));
    set(&mut section.template_lifetime_ms, duration(table, "template_lifetime", 1));
    set(&mut section.template_fields, count(table, "template_fields", 16_384));
    set(&mut section.domains, count(table, "domains", 1 << 20));
    let hold = octets(table, "hold_size", 0).and_then(|octets| usize::try_from(octets).ok());
    set(&mut section.hold_octets, hold);
    let all = octets(table, "hold_size_all", 0).and_then(|octets| usize::try_from(octets).ok());
    set(&mut section.hold_octets_all, all);
    set(&mut section.hold_ms, duration(table, "hold", 0));
    set(&mut section.running_totals, count(table, "running_totals", 1 << 24));
    set(&mut section.running_totals_all, count(table, "running_totals_all", 1 << 30));
    set(&mut section.clock_skew_ms, duration(table, "clock_skew", 0));
    section
}

/// `[sampling]`.
pub(super) fn sampling(table: &Table<'_>) -> sampling::Config {
    let mut section = sampling::Config::default();
    set(&mut section.grace_ms, duration(table, "grace", 0));
    set(&mut section.hold_ms, duration(table, "hold", 0));
    set(&mut section.hold_records, count(table, "hold_records", 1 << 24));
    let hold = octets(table, "hold_size", 0).and_then(|octets| usize::try_from(octets).ok());
    set(&mut section.hold_octets, hold);
    section
}

/// `[meter]`.
pub(super) fn meter(table: &Table<'_>) -> meter::Config {
    let mut section = meter::Config::default();
    let bucket = table
        .get("bucket")
        .and_then(|value| word(value, &[("spread", BucketRule::Spread), ("end", BucketRule::End)]));
    set(&mut section.bucket, bucket);
    set(&mut section.rows_max, count(table, "rows", 1 << 30));
    let least = table.get("packet_min");
    let most = table.get("packet_max");
    let octets = |value: Option<Value<'_>>, key: &str| {
        value
            .and_then(|value| value.integer(&format!("`{key}`"), 1..=65_535))
            .and_then(|n| u32::try_from(n).ok())
    };
    set(&mut section.packet_octets_min, octets(least, "packet_min"));
    set(&mut section.packet_octets_max, octets(most, "packet_max"));
    if section.packet_octets_min > section.packet_octets_max
        && let Some(value) = most.or(least)
    {
        let (least, most) = (section.packet_octets_min, section.packet_octets_max);
        value.problem(
            format!("`packet_min` ({least}) is greater than `packet_max` ({most}); exchange them"),
            "",
        );
    }
    section
}

/// `[ledger]`.
pub(super) fn ledger(table: &Table<'_>) -> Ledger {
    let mut section = Ledger::default();
    let url =
        table.get("url").and_then(|value| {
            value.parse("sqlite:PATH or postgres://...", |url| {
                let rest = url
                    .strip_prefix("sqlite:")
                    .or_else(|| url.strip_prefix("postgres://"))
                    .or_else(|| url.strip_prefix("postgresql://"));
                match rest {
                    Some(rest) if !rest.is_empty() => Ok(url.to_owned()),
                    // The address may hold a password: it is not repeated.
                    _ => Err("the ledger's `url` begins with `sqlite:`, then a path, or with `postgres://`"
                        .to_owned()),
                }
            })
        });
    set(&mut section.url, url);
    set(&mut section.flush_ms, duration(table, "flush", 100).map(i64::unsigned_abs));
    section
}

/// `[metrics]`; what it listens on goes into `taken`.
pub(super) fn metrics(table: &Table<'_>, taken: &mut BTreeMap<SocketAddr, Place>) -> Option<SocketAddr> {
    table.get("listen").and_then(|value| address(value, taken))
}

/// A series of invoice numbers: what they begin with.
fn series(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if text.chars().all(is_plain) && text.len() <= 32 && !text.starts_with("DRAFT") {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no beginning of invoice numbers; letters, digits, `-`, `_`, `.` and `/` may be in it"
    ))
}

/// Octets of a logo or a template, at most: the ledger keeps each version of them, and every page holds the logo.
pub const ASSET_OCTETS: u64 = 256 << 10;

/// A language, by its tag.
pub(super) fn language(table: &Table<'_>) -> Option<Language> {
    let words = Language::ALL.map(|language| (language.as_str(), language));
    table.get("language").and_then(|value| word(value, &words))
}

/// A file that documents are set with; `media` says what its content is, or what it should be.
fn asset(
    table: &Table<'_>,
    key: &'static str,
    base_dir: &Path,
    media: fn(&[u8]) -> Result<&'static str, &'static str>,
) -> Option<Asset> {
    let value = table.get(key)?;
    let path = base_dir.join(value.string("the name of a file").filter(|name| !name.is_empty())?);
    let shown = path.display();
    let content = match std::fs::metadata(&path).and_then(|found| match found.len() {
        0..=ASSET_OCTETS => std::fs::read(&path).map(Some),
        _ => Ok(None),
    }) {
        Ok(Some(content)) => content,
        Ok(None) => {
            value.problem(format!("`{shown}` has more than {ASSET_OCTETS} octets"), "make it smaller");
            return None;
        }
        Err(error) => {
            value.problem(format!("cannot read `{shown}`: {error}"), "");
            return None;
        }
    };
    match media(&content) {
        Ok(media) => Some(Asset::new(media, content)),
        Err(wrong) => {
            value.problem(format!("`{shown}` {wrong}"), "");
            None
        }
    }
}

/// What a logo is, by its first octets.
fn picture(content: &[u8]) -> Result<&'static str, &'static str> {
    if content.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok("image/png");
    }
    match core::str::from_utf8(content) {
        Ok(text) if text.contains("<svg") => Ok("image/svg+xml"),
        _ => Err("is neither a PNG nor an SVG picture"),
    }
}

/// What a template is.
fn page(content: &[u8]) -> Result<&'static str, &'static str> {
    core::str::from_utf8(content).map(|_| "text/html").map_err(|_| "is not UTF-8")
}

/// `[invoice]`; files are relative to `base_dir`.
pub(super) fn invoice(table: &Table<'_>, base_dir: &Path) -> Invoice {
    let mut section = Invoice::default();
    set(&mut section.series, table.get("series").and_then(|value| value.parse("a series", series)));
    let days = table.get("due_days").and_then(|value| value.integer("`due_days`", 0..=u64::from(u16::MAX)));
    set(&mut section.due_days, days.and_then(|days| u16::try_from(days).ok()));
    set(&mut section.seller, text(table, "seller"));
    set(&mut section.address, lines(table, "address"));
    set(&mut section.tax_number, text(table, "tax_number"));
    set(&mut section.footer, lines(table, "footer"));
    section.einvoice = table.section("einvoice", contact);
    set(&mut section.language, language(table));
    section.logo = asset(table, "logo", base_dir, picture);
    section.template = asset(table, "template", base_dir, page);
    section
}

/// `[billing]`.
pub(super) fn billing(table: &Table<'_>) -> Billing {
    let from = table.get("from").and_then(|value| {
        value.parse("a period, such as \"2026-11\"", |text| {
            text.parse::<Period>().map_err(|error| error.to_string())
        })
    });
    let mut section = Billing { from, ..Billing::default() };
    let at_end = table
        .get("at_period_end")
        .and_then(|value| word(value, &[("draft", AtPeriodEnd::Draft), ("final", AtPeriodEnd::Final)]));
    set(&mut section.at_period_end, at_end);
    if let Some(value) = table.get("alert_command") {
        let words = value.one_or_many().into_iter();
        section.alert_command.extend(words.filter_map(|word| word.string("a word").map(str::to_owned)));
        if section.alert_command.first().is_some_and(String::is_empty) {
            value.problem("the command has no name; name the program first, then its arguments", "");
        }
    }
    set(&mut section.alert_timeout_ms, duration(table, "alert_timeout", 1).map(i64::unsigned_abs));
    set(&mut section.alert_commands, count(table, "alert_commands", 64));
    section
}

/// `einvoice` in `[invoice]` and `[[customer]]`.
pub(super) fn contact(table: &Table<'_>) -> Contact {
    let country = |text: &str| {
        if text.is_empty() || text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
            return Ok(text.to_owned());
        }
        Err(format!("`{text}` is no country of ISO 3166, such as \"NL\""))
    };
    let endpoint = |text: &str| match text.split_once(':') {
        Some((scheme, id)) if scheme.len() == 4 && !id.is_empty() => Ok(text.to_owned()),
        None if text.is_empty() => Ok(String::new()),
        _ => Err(format!(
            "`{text}` is no electronic address: scheme and identifier, such as \"0106:12345678\""
        )),
    };
    let mut contact = Contact::default();
    set(&mut contact.city, text(table, "city"));
    set(&mut contact.postcode, text(table, "postcode"));
    set(&mut contact.country, table.get("country").and_then(|value| value.parse("a country", country)));
    set(&mut contact.tax_number, text(table, "tax_number"));
    set(&mut contact.endpoint, table.get("endpoint").and_then(|value| value.parse("an address", endpoint)));
    set(&mut contact.reference, text(table, "reference"));
    set(&mut contact.iban, text(table, "iban"));
    contact
}
