//! What an invoice run takes: a fiftieth of a large provider's month, in memory that a fiftieth of it would not fit into.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::large_month;

const CUSTOMERS: u32 = 200;
/// Octets of memory that a run may have: pages of the ledger (32 MiB), one bucket's rows, and each customer's sums. The rows
/// alone, kept, would take 112 octets each, 180 MB.
const MEMORY: u64 = 100 << 20;

#[test]
fn a_month_of_many_customers_is_billed_in_bounded_memory() {
    let directory = tempfile::tempdir().unwrap();
    let rows = large_month::make(directory.path(), CUSTOMERS);
    assert!(rows * 112 > MEMORY + MEMORY / 2, "{rows} rows could be kept");
    let fluxoscope = |args: &[&str]| {
        let mut command = Command::new("prlimit");
        command.arg(format!("--data={MEMORY}")).arg(env!("CARGO_BIN_EXE_fluxoscope"));
        command.arg("--config").arg(directory.path().join("fluxoscope.toml"));
        command.arg("--state-dir").arg(directory.path().join("state"));
        let output = command.args(args).args(["--format", "json"]).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let drafts = fluxoscope(&["invoice", "run", "--period", large_month::PERIOD]);
    assert_eq!(drafts.as_array().unwrap().len(), CUSTOMERS as usize);
    // The ledger adds up by itself, in another way.
    let usage = fluxoscope(&["usage", "--by", "customer"]);
    let used: BTreeMap<&str, &Value> = usage
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["customer"].as_str().unwrap(), &row["bytes"]))
        .collect();
    for customer in ["c00000", "c00001", "c00002", "c00199"] {
        let number = format!("DRAFT-{}-{customer}", large_month::PERIOD);
        let invoice = fluxoscope(&["invoice", "show", &number]);
        let octets = invoice["quality"]["octets"].as_str().unwrap();
        assert_eq!(octets, used[customer].to_string(), "{customer}");
    }
}
