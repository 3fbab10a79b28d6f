//! What issued documents quote of interface counters, and what interfaces counted.

use std::collections::{BTreeMap, HashMap, btree_map};

use super::Check;
use crate::invoice::json;
use crate::ledger::records::{NameKind, StoredInvoice};
use crate::ledger::{Error, Ledger};
use crate::period::rfc3339;
use crate::reconcile;
use crate::usage::BucketStart;

/// What issued documents quote of interface counters: it is possible, and the counters are still there. (How flows stand
/// against them may change: with late usage and corrections.)
pub(super) fn quoted(
    ledger: &mut Ledger,
    invoices: &[StoredInvoice],
    check: &mut Check,
) -> Result<(), Error> {
    let mut spans: BTreeMap<(BucketStart, BucketStart), BTreeMap<String, u64>> = BTreeMap::new();
    let (mut links, mut compared, mut differing) = (0_i128, 0_i128, 0_i128);
    for stored in invoices.iter().filter(|stored| stored.state != "draft") {
        // One that cannot be read is told of by another check.
        let Ok(invoice) = json::read(&stored.document) else { continue };
        if invoice.quality.reconciled.is_empty() {
            continue;
        }
        let (from, to) = invoice.span.buckets();
        if let btree_map::Entry::Vacant(free) = spans.entry((from, to)) {
            match reconcile::covered(ledger, from, to) {
                Ok(covered) => _ = free.insert(covered),
                Err(reconcile::Error::Ledger(error)) => return Err(error),
                Err(error) => check.differs(format!("{}: {error}", stored.number)),
            }
        }
        for quote in &invoice.quality.reconciled {
            (links, compared) = (links + 1, compared + i128::from(quote.compared));
            differing += i128::from(quote.differences);
            if quote.differences > quote.compared || quote.compared > quote.buckets {
                check.differs(format!("{} quotes more of `{}` than there can be", stored.number, quote.link));
            }
            let covered = spans.get(&(from, to)).and_then(|covered| covered.get(&quote.link)).copied();
            if covered.unwrap_or(0) < quote.compared {
                check.differs(format!("counters of `{}` that {} quotes are gone", quote.link, stored.number));
            }
        }
    }
    check.figure("links", links);
    check.figure("compared", compared);
    check.figure("out_of_tolerance", differing);
    sealed(ledger, check)
}

/// What was counted is as it was sealed: volumes are calibrated by it, and percentiles made of it.
fn sealed(ledger: &mut Ledger, check: &mut Check) -> Result<(), Error> {
    let exporters: HashMap<u32, String> = ledger.names(NameKind::Exporter)?.into_iter().collect();
    let sealed = ledger.counted(&mut |bucket, exporter| {
        let (name, from) = (exporters.get(&exporter).map_or("", String::as_str), rfc3339(bucket.start()));
        check.differs(format!(
            "what interfaces of exporter `{name}` counted in the bucket of {from} has been changed"
        ));
    })?;
    check.figure("sealed", sealed);
    Ok(())
}
