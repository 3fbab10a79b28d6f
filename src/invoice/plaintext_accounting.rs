//! The books as text that the programs of plain-text accounting read: hledger, and beancount.
//!
//! Their own checkers are the proof that the books balance, in money and in octets. Accounts are declared with their first
//! use, commodities at the head. Names are encoded so that no name can be read as syntax and no two become one: every
//! octet of a name's UTF-8 form that is neither a letter or digit of ASCII nor (in hledger) `-`, `_` or `.` is written
//! `%XX`, in beancount `-XX`. A beancount name begins with `N`, since it has to begin with a capital.
//!
//! Entries without postings (a period that was closed, an invoice over nothing) are comments.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::ledger::records::books::{Account, AccountKind, Entry, OCTETS, Posting, RAW_OCTETS};
use crate::money::{Currency, Money};

/// For which program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// hledger (and ledger).
    Hledger,
    /// beancount.
    Beancount,
}

/// Commodities, and the accounts with the first day of each: what is declared before the entries.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    commodities: BTreeMap<String, ()>,
    accounts: BTreeMap<Account, String>,
    first_day: String,
}

impl Declared {
    /// Takes note of what an entry uses.
    pub fn see(&mut self, entry: &Entry) {
        let day = &entry.entry.day;
        if self.first_day.is_empty() || *day < self.first_day {
            self.first_day.clone_from(day);
        }
        for posting in &entry.entry.postings {
            self.commodities.insert(posting.commodity.clone(), ());
            let first = self.accounts.entry(posting.account.clone()).or_insert_with(|| day.clone());
            if day < first {
                first.clone_from(day);
            }
        }
    }
}

impl Program {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hledger, Self::Beancount];

    /// Writes the declarations.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn head(self, declared: &Declared, out: &mut dyn Write) -> io::Result<()> {
        for commodity in declared.commodities.keys() {
            match self {
                Self::Hledger => {
                    let digits = Currency::from_code(commodity).map_or(0, Currency::exponent);
                    writeln!(out, "commodity 1000.{} {commodity}", "0".repeat(usize::from(digits)))?;
                }
                Self::Beancount => writeln!(out, "{} commodity {commodity}", declared.first_day)?,
            }
        }
        for (account, day) in &declared.accounts {
            match self {
                Self::Hledger => writeln!(out, "account {}", self.account(account))?,
                Self::Beancount => {
                    writeln!(out, "{day} open {}\n  name: {}", self.account(account), quoted(&account.name))?
                }
            }
        }
        Ok(())
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn entry(self, entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
        let Entry { seq, entry: of, hash, .. } = entry;
        let plain =
            |text: &str| text.replace(|c: char| c.is_control() || matches!(c, ';' | '(' | ')' | '|'), " ");
        let (kind, reference) = (of.kind.as_str(), plain(&of.reference));
        writeln!(out)?;
        if of.postings.is_empty() {
            return writeln!(out, "; {} {kind} {reference}: entry {seq}, hash {hash}", of.day);
        }
        match self {
            Self::Hledger => {
                writeln!(out, "{} * ({reference}) {kind}  ; entry:{seq}, hash:{hash}", of.day)?;
            }
            Self::Beancount => {
                writeln!(out, "{} * {} \"{kind}\"", of.day, quoted(&reference))?;
                writeln!(out, "  entry: {seq}\n  hash: \"{hash}\"")?;
            }
        }
        for Posting { account, commodity, amount } in &of.postings {
            writeln!(out, "    {}  {} {commodity}", self.account(account), number(commodity, *amount))?;
        }
        Ok(())
    }

    fn account(self, account: &Account) -> String {
        // Five roots are all that beancount knows.
        let parent = match account.kind {
            AccountKind::Customer => "Expenses:Octets:Customer",
            AccountKind::Exporter => "Income:Octets:Exporter",
            AccountKind::Income => "Income:Charges",
            AccountKind::Receivable => "Assets:Receivable",
            AccountKind::Reserved => "Expenses:Octets:Reserved",
            AccountKind::Tax => "Liabilities:Tax",
        };
        match self {
            Self::Hledger => format!("{}:{}", parent.to_lowercase(), encoded(&account.name, '%', "-_.")),
            Self::Beancount => format!("{parent}:N{}", encoded(&account.name, '-', "")),
        }
    }
}

fn encoded(name: &str, escape: char, plain: &str) -> String {
    use core::fmt::Write;
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "{escape}{byte:02X}").expect("writing to a string does not fail");
        }
        text
    })
}

/// A string of beancount.
fn quoted(text: &str) -> String {
    let plain = text.replace(char::is_control, " ");
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Money with the digits of its currency; octets as they are.
fn number(commodity: &str, amount: i64) -> String {
    match Currency::from_code(commodity) {
        Some(currency) if commodity != OCTETS && commodity != RAW_OCTETS => {
            Money::new(amount, currency).to_string()
        }
        _ => amount.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::records::books::{EntryKind, GENESIS, NewEntry};

    fn sample() -> Entry {
        let leg = |kind, name: &str, commodity: &str, amount| Posting {
            account: Account::new(kind, name),
            commodity: commodity.to_owned(),
            amount,
        };
        let entry = NewEntry {
            kind: EntryKind::Invoice,
            key: "k".into(),
            day: "2026-07-31".into(),
            reference: "INV-1".into(),
            digest: String::new(),
            at: 0,
            by: "ann".into(),
            postings: vec![
                leg(AccountKind::Receivable, "a; b:é-", "EUR", 12_105),
                leg(AccountKind::Income, "port", "EUR", -12_105),
                leg(AccountKind::Exporter, "ce1", "OCTET", -7),
            ],
        };
        Entry { seq: 2, entry, legs: 4, prev: GENESIS.into(), hash: "h".into() }
    }

    fn written(program: Program) -> String {
        let entry = sample();
        let mut declared = Declared::default();
        declared.see(&entry);
        let mut out = Vec::new();
        program.head(&declared, &mut out).expect("memory takes it");
        program.entry(&entry, &mut out).expect("memory takes it");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn hledger() {
        let expected = "\
commodity 1000.00 EUR
commodity 1000. OCTET
account income:octets:exporter:ce1
account income:charges:port
account assets:receivable:a%3B%20b%3A%C3%A9-

2026-07-31 * (INV-1) invoice  ; entry:2, hash:h
    assets:receivable:a%3B%20b%3A%C3%A9-  121.05 EUR
    income:charges:port  -121.05 EUR
    income:octets:exporter:ce1  -7 OCTET
";
        assert_eq!(written(Program::Hledger), expected);
    }

    #[test]
    fn beancount() {
        let text = written(Program::Beancount);
        assert!(text.starts_with("2026-07-31 commodity EUR\n2026-07-31 commodity OCTET\n"), "{text}");
        assert!(
            text.contains("open Assets:Receivable:Na-3B-20b-3A-C3-A9-2D\n  name: \"a; b:é-\"\n"),
            "{text}"
        );
        assert!(text.contains("\n2026-07-31 * \"INV-1\" \"invoice\"\n  entry: 2\n"), "{text}");
    }
}
