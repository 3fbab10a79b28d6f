//! Documents, their numbers, and the tariff versions that they name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::{Books, Check};
use crate::invoice::issue::{Adjustment, postings};
use crate::invoice::{Invoice, TariffRef, json};
use crate::ledger::records::books::{Closure, EntryKind, Issue, Posting, hex};
use crate::ledger::records::{NameKind, StoredInvoice, TariffVersion};
use crate::ledger::{Error, Ledger};
use crate::rate::parse::parse;
use crate::usage::BucketStart;

/// What other checks ask of a document.
pub(super) struct Known {
    pub(super) number: String,
    pub(super) customer: String,
    pub(super) period: String,
    /// First bucket, and first one after it.
    pub(super) buckets: (BucketStart, BucketStart),
    pub(super) is_draft: bool,
    /// It is final and no credit note.
    pub(super) stands: bool,
    pub(super) adjustments: Vec<Adjustment>,
}

impl Known {
    fn of(stored: &StoredInvoice, invoice: &Invoice) -> Self {
        Self {
            number: stored.number.clone(),
            customer: stored.customer.clone(),
            period: stored.period.clone(),
            buckets: invoice.span.buckets(),
            is_draft: stored.state == "draft",
            stands: stored.state == "final" && invoice.issuance.credits.is_none(),
            adjustments: invoice.issuance.adjustments.clone(),
        }
    }
}

/// Each document adds up, has its hash, is in the books with what it says, and names a tariff version that is kept. The
/// result is what was read of those that could be.
pub(super) fn documents(
    ledger: &mut Ledger,
    (invoices, issues): (&[StoredInvoice], &[Issue]),
    books: &Books,
    check: &mut Check,
    tariffs: &mut Check,
) -> Result<Vec<Known>, Error> {
    let versions = ledger.tariff_versions(None)?;
    versions.iter().for_each(|version| as_its_file(version, tariffs));
    let issues: HashMap<&str, &Issue> = issues.iter().map(|issue| (issue.number.as_str(), issue)).collect();
    let (mut lines, mut finals, mut known) = (0_i128, 0_i128, Vec::new());
    let mut firsts: Firsts<'_> = BTreeMap::new();
    for stored in invoices {
        let number = &stored.number;
        if hex(&Sha256::digest(stored.document.as_bytes())) != stored.sha256 {
            check.differs(format!("the document of {number} has been changed"));
            continue;
        }
        let invoice = match json::read(&stored.document) {
            Ok(invoice) => invoice,
            Err(error) => {
                check.differs(format!("{number}: {error}"));
                continue;
            }
        };
        lines += invoice.lines.len() as i128;
        known.push(Known::of(stored, &invoice));
        check.same(&format!("gross of {number}"), invoice.gross.minor().into(), stored.gross_minor.into());
        let named = (invoice.customer.name.as_str(), invoice.period.to_string(), invoice.currency.code());
        if named != (stored.customer.as_str(), stored.period.clone(), stored.currency.as_str()) {
            check.differs(format!(
                "{number} is kept under another customer, period or currency than it is of"
            ));
        }
        if stored.state == "draft" {
            if issues.contains_key(number.as_str()) {
                check.differs(format!("{number} was issued, and is kept as a draft"));
            }
            continue;
        }
        finals += 1;
        posted(check, stored, &invoice, issues.get(number.as_str()).copied(), books);
        let is_kept = |version: &TariffVersion| {
            version.id == invoice.tariff.id
                && version.version == invoice.tariff.version
                && version.sha256 == invoice.tariff.sha256
        };
        if !versions.iter().any(is_kept) {
            tariffs.differs(format!("{number} names a tariff version that is not kept"));
        }
        if let Some(issue) = issues.get(number.as_str())
            && !issue.is_credit
        {
            let of = (stored.period.clone(), stored.customer.clone());
            let earliest = firsts.entry(of).or_insert_with(|| (issue.entry, number, invoice.tariff.clone()));
            if issue.entry < earliest.0 {
                *earliest = (issue.entry, number, invoice.tariff);
            }
        }
    }
    check.figure("invoices", invoices.len() as i128);
    check.figure("lines", lines);
    check.figure("issued", finals);
    tariffs.figure("versions", versions.len() as i128);
    as_closed(ledger, &firsts, tariffs)?;
    Ok(known)
}

/// A tariff version has the hash of its file, and is kept under what the file says.
fn as_its_file(kept: &TariffVersion, check: &mut Check) {
    let (id, version) = (&kept.id, kept.version);
    if hex(&Sha256::digest(kept.toml.as_bytes())) != kept.sha256 {
        return check.differs(format!("version {version} of tariff `{id}` has been changed"));
    }
    let Ok(tariff) = parse(id, &kept.toml) else {
        return check.differs(format!("version {version} of tariff `{id}` is not understood"));
    };
    if (&tariff.id, tariff.version, tariff.effective.to_string()) != (id, version, kept.effective.clone()) {
        check.differs(format!(
            "version {version} of tariff `{id}`, effective {}, is version {} of `{}`, effective {}, by its file",
            kept.effective, tariff.version, tariff.id, tariff.effective
        ));
    }
}

/// The first invoice of each period and customer: its entry, number and tariff version.
type Firsts<'a> = BTreeMap<(String, String), (u64, &'a str, TariffRef)>;

/// The first invoice of a period was rated by the version that the period was closed with. Those that took its place were
/// rated again on purpose.
fn as_closed(ledger: &mut Ledger, firsts: &Firsts<'_>, check: &mut Check) -> Result<(), Error> {
    let names: HashMap<u32, String> = ledger.names(NameKind::Customer)?.into_iter().collect();
    let mut closed: HashMap<(String, &str), (String, i64)> = HashMap::new();
    for (_, Closure { period, customer, tariff, tariff_version, .. }) in ledger.closures(None)? {
        let Some(name) = names.get(&customer) else { continue };
        closed.insert((period, name), (tariff, tariff_version));
    }
    for ((period, customer), (_, number, tariff)) in firsts {
        match closed.get(&(period.clone(), customer.as_str())) {
            None => check.differs(format!("{number} is of {period}, which was not closed for its customer")),
            Some((id, version)) if *version > 0 && (*id != tariff.id || *version != tariff.version) => {
                check.differs(format!(
                    "{number} was rated by version {} of tariff `{}`, and {period} was closed with version {version} of \
                     `{id}`",
                    tariff.version, tariff.id
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The entry of an issued document has its hash and its amounts; its state is what the books say.
fn posted(
    check: &mut Check,
    stored: &StoredInvoice,
    invoice: &Invoice,
    issue: Option<&Issue>,
    books: &Books,
) {
    let number = &stored.number;
    let Some(issue) = issue else {
        return check.differs(format!("{number} is {} and was never issued", stored.state));
    };
    let Some(entry) = books.entries.get(&issue.entry) else {
        return check.differs(format!("{number} is not in the books"));
    };
    if entry.entry.digest != stored.sha256 {
        check.differs(format!("entry {} is of another document than {number}", entry.seq));
    }
    let sums = |postings: &[Posting]| {
        let mut sums = BTreeMap::new();
        for Posting { account, commodity, amount } in postings {
            *sums.entry((account.clone(), commodity.clone())).or_insert(0_i128) += i128::from(*amount);
        }
        sums
    };
    let says = invoice.issuance.credits.as_ref().or(invoice.issuance.replaces.as_ref());
    if says.map_or("", String::as_str) != issue.corrects {
        check.differs(format!("{number} is of `{}` by its register, and says otherwise", issue.corrects));
    }
    if issue.is_credit != invoice.issuance.credits.is_some() {
        let what = if issue.is_credit { "a credit note" } else { "an invoice" };
        check.differs(format!("{number} is {what} by its register, and says otherwise"));
    }
    if sums(&entry.entry.postings) != sums(&postings(invoice)) {
        check.differs(format!("entry {} has other amounts than {number}", entry.seq));
    }
    let void = books
        .entries
        .values()
        .any(|entry| entry.entry.kind == EntryKind::Void && entry.entry.reference == *number);
    if void != (stored.state == "void") {
        check.differs(format!("{number} is {}, and the books say otherwise", stored.state));
    }
}

/// Numbers have no gaps, each has its document and its entry, and what was credited was credited once.
pub(super) fn numbers(invoices: &[StoredInvoice], issues: &[Issue], books: &Books, check: &mut Check) {
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    for issue in issues {
        let expected = next.entry(&issue.series).or_insert(1);
        if issue.place != *expected {
            check.differs(format!("{}{expected:06} is missing", issue.series));
        }
        *expected = issue.place + 1;
        if issue.number != format!("{}{:06}", issue.series, issue.place) {
            check.differs(format!("{} is at place {} of its series", issue.number, issue.place));
        }
    }
    let there: BTreeSet<&str> = invoices.iter().map(|invoice| invoice.number.as_str()).collect();
    for issue in issues.iter().filter(|issue| !there.contains(issue.number.as_str())) {
        check.differs(format!("{} was issued, and its document is gone", issue.number));
    }
    let entered: BTreeSet<u64> = issues.iter().map(|issue| issue.entry).collect();
    let is_of_document = |kind| matches!(kind, EntryKind::Invoice | EntryKind::Credit);
    let documents = books.entries.values().filter(|entry| is_of_document(entry.entry.kind));
    let mut gone: Vec<(u64, &str)> = documents
        .filter(|entry| !entered.contains(&entry.seq))
        .map(|entry| (entry.seq, entry.entry.reference.as_str()))
        .collect();
    gone.sort_unstable();
    for (entry, number) in gone {
        check.differs(format!("entry {entry} is of {number}, which has no number any more"));
    }
    let credited: BTreeSet<&str> =
        issues.iter().filter(|issue| issue.is_credit).map(|issue| issue.corrects.as_str()).collect();
    for invoice in invoices {
        if (invoice.state == "credited") != credited.contains(invoice.number.as_str()) {
            check.differs(format!(
                "{} is {}, and its credit note says otherwise",
                invoice.number, invoice.state
            ));
        }
    }
    check.figure("series", next.len() as i128);
    check.figure("numbers", issues.len() as i128);
    check.figure("credit_notes", credited.len() as i128);
}
