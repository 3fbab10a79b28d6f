//! What the books are made of: accounts, postings, entries with their hashes, closed periods, issued invoices.

use sha2::{Digest, Sha256};

use crate::usage::{BucketStart, UsageRow};

/// The hash that the first entry goes on from.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The commodity of octets as they are billed: scaled by their sampling rates, rounded once a posting.
pub const OCTETS: &str = "OCTET";
/// The commodity of octets as exporters counted them.
pub const RAW_OCTETS: &str = "RAWOCTET";

/// Largest amount of one posting; what is more goes into several.
const AMOUNT_MAX: i128 = 1 << 62;

/// What kind of account it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AccountKind {
    /// Octets that a customer used.
    Customer,
    /// Octets that an exporter reported; negative.
    Exporter,
    /// Charges by currency; negative.
    Income,
    /// What a customer owes.
    Receivable,
    /// Octets under one of the reserved names.
    Reserved,
    /// Tax that is owed to the state; negative.
    Tax,
}

impl AccountKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Customer, Self::Exporter, Self::Income, Self::Receivable, Self::Reserved, Self::Tax];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Exporter => "exporter",
            Self::Income => "income",
            Self::Receivable => "receivable",
            Self::Reserved => "reserved",
            Self::Tax => "tax",
        }
    }
}

/// An account.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Account {
    /// What kind of account it is.
    pub kind: AccountKind,
    /// Whose, or of what.
    pub name: String,
}

impl Account {
    /// The account of this kind and name.
    #[must_use]
    pub fn new(kind: AccountKind, name: &str) -> Self {
        Self { kind, name: name.to_owned() }
    }
}

/// A leg of an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Posting {
    /// The account.
    pub account: Account,
    /// ISO 4217 code, [`OCTETS`] or [`RAW_OCTETS`].
    pub commodity: String,
    /// Minor units or octets; not zero. What comes in is positive.
    pub amount: i64,
}

/// Adds the postings of an amount of any size: none for zero, several where it is beyond 62 bits (which only exporters
/// that lie can reach).
pub fn post(postings: &mut Vec<Posting>, account: &Account, commodity: &str, mut amount: i128) {
    while amount != 0 {
        let part = amount.clamp(-AMOUNT_MAX, AMOUNT_MAX);
        postings.push(Posting {
            account: account.clone(),
            commodity: commodity.to_owned(),
            amount: i64::try_from(part).expect("at most 2^62"),
        });
        amount -= part;
    }
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EntryKind {
    /// A period was closed. No postings.
    Close,
    /// A credit note.
    Credit,
    /// An invoice became final.
    Invoice,
    /// Octets of a day that came after their period was closed.
    Late,
    /// Octets of a day, by exporter.
    Octets,
    /// An invoice was withdrawn before it was delivered.
    Void,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Close, Self::Credit, Self::Invoice, Self::Late, Self::Octets, Self::Void];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Credit => "credit",
            Self::Invoice => "invoice",
            Self::Late => "late",
            Self::Octets => "octets",
            Self::Void => "void",
        }
    }
}

/// What is entered into the books.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewEntry {
    /// What it is about.
    pub kind: EntryKind,
    /// What it is the entry of: there is never a second one.
    pub key: String,
    /// The day it counts for, `YYYY-MM-DD`.
    pub day: String,
    /// The document or period that it is about; empty where there is none.
    pub reference: String,
    /// SHA-256 of that document, or of what was closed; empty where there is none.
    pub digest: String,
    /// When it was made, milliseconds since the epoch.
    pub at: i64,
    /// By whom.
    pub by: String,
    /// Its postings. They balance in each commodity.
    pub postings: Vec<Posting>,
}

impl NewEntry {
    /// The hash of the entry under number `seq`, going on from `prev`: SHA-256, in hex, over
    ///
    /// ```text
    /// prev LF seq LF kind LF key LF day LF reference LF digest LF at LF by LF
    /// kind-of-account TAB name TAB commodity TAB amount LF        (a line a posting)
    /// ```
    ///
    /// with tab, line feed and backslash in a text as `\t`, `\n` and `\\`.
    #[must_use]
    pub fn hash(&self, seq: u64, prev: &str) -> String {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n");
        let mut hash = Sha256::new();
        let (seq, at) = (seq.to_string(), self.at.to_string());
        let head = [
            prev,
            &seq,
            self.kind.as_str(),
            &self.key,
            &self.day,
            &self.reference,
            &self.digest,
            &at,
            &self.by,
        ];
        for text in head {
            hash.update(escaped(text).as_bytes());
            hash.update(b"\n");
        }
        for Posting { account, commodity, amount } in &self.postings {
            let (kind, name) = (account.kind.as_str(), escaped(&account.name));
            hash.update(format!("{kind}\t{name}\t{commodity}\t{amount}\n").as_bytes());
        }
        hex(&hash.finalize())
    }
}

/// Adds the line that stands for a usage row in the hashes of closed and of late usage: the numbers of the ledger,
///
/// ```text
/// bucket link direction class family exporter numerator denominator source octets packets flows low high LF
/// ```
///
/// apart by tabs.
pub fn push_usage_line(text: &mut String, row: &UsageRow) {
    use core::fmt::Write;
    let (key, sums) = (&row.key, &row.sums);
    writeln!(
        text,
        "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
        key.bucket.0,
        key.link.0,
        key.direction as u8,
        key.class.0,
        key.family as u8,
        key.exporter.0,
        key.rate.numerator(),
        key.rate.denominator(),
        key.rate.source() as u8,
        sums.octets,
        sums.packets,
        sums.flows,
        sums.squares_low,
        sums.squares_high,
    )
    .expect("writing to a string does not fail");
}

/// SHA-256 of a text, in hex.
#[must_use]
pub fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// An entry of the books.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// What was entered.
    pub entry: NewEntry,
    /// The postings that it says it has.
    pub legs: u64,
    /// The hash of the entry before; [`GENESIS`] of the first.
    pub prev: String,
    /// Its hash.
    pub hash: String,
}

/// A customer's period as it was closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Closure {
    /// The customer's number.
    pub customer: u32,
    /// `YYYY-MM`.
    pub period: String,
    /// First bucket.
    pub from: BucketStart,
    /// First bucket of the next period.
    pub until: BucketStart,
    /// The tariff that held; empty where the customer has none.
    pub tariff: String,
    /// Its version; 0 where it has none.
    pub tariff_version: i64,
    /// SHA-256 over the usage that was closed.
    pub root: String,
}

impl Closure {
    /// The line that stands for it in the digest of the closing entry.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { customer, period, from, until, tariff, tariff_version, root } = self;
        format!("{customer}\t{period}\t{}\t{}\t{tariff}\t{tariff_version}\t{root}\n", from.0, until.0)
    }
}

/// An invoice or credit note that has a number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issue {
    /// Its number: series and place.
    pub number: String,
    /// The series.
    pub series: String,
    /// Its place in the series, from 1.
    pub place: u64,
    /// True for a credit note.
    pub is_credit: bool,
    /// The invoice that it takes back (credit note) or takes the place of; empty where there is none.
    pub corrects: String,
    /// The number of its entry.
    pub entry: u64,
}

/// Who does something, and when: it is kept with what was done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Actor<'a> {
    /// Who.
    pub by: &'a str,
    /// When, milliseconds since the epoch.
    pub at: i64,
}

/// What a decision is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DecisionKind {
    /// Usage is closed up to a bucket.
    Close,
    /// A period may begin elsewhere than the one before it ended.
    Seam,
}

impl DecisionKind {
    /// Its name in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Seam => "seam",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Close, Self::Seam].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What was decided about a customer's periods.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// What it is about.
    pub kind: DecisionKind,
    /// The customer's number; 0 stands for all that have no bound of their own.
    pub customer: u32,
    /// The first bucket that still takes usage; of a seam the first one after it.
    pub bucket: BucketStart,
    /// Of a seam the bucket at which the period before ended; else that of the bound.
    pub earlier: BucketStart,
    /// Why; empty for closings.
    pub reason: String,
    /// When, milliseconds since the epoch.
    pub at: i64,
    /// Who.
    pub by: String,
}

impl Decision {
    /// SHA-256, in hex, over the hash of the decision before and everything that it says. Texts come with their length.
    #[must_use]
    pub fn hash(&self, seq: u64, prev: &str) -> String {
        let Self { kind, customer, bucket, earlier, reason, at, by } = self;
        let kind = kind.as_str();
        digest(&format!(
            "{prev}\n{seq} {kind} {customer} {} {} {at}\n{} {reason}\n{} {by}\n",
            bucket.0,
            earlier.0,
            reason.len(),
            by.len()
        ))
    }
}
