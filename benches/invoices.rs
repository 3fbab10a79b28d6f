//! Makes a ledger with a month of many customers, for timing commands on it:
//!
//! ```sh
//! cargo bench --bench invoices -- --customers 10000 --out DIR
//! /usr/bin/time -v fluxoscope --config DIR/fluxoscope.toml --state-dir DIR/state invoice run --period 2026-08
//! ```

#[path = "../tests/it/large_month.rs"]
mod large_month;

use std::path::PathBuf;

fn main() {
    let (mut customers, mut out) = (10_000, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--customers" => customers = arguments.next().and_then(|n| n.parse().ok()).expect("a number"),
            "--out" => out = arguments.next().map(PathBuf::from),
            _ => {}
        }
    }
    let Some(out) = out else {
        println!("nothing made: no --out DIR");
        return;
    };
    std::fs::create_dir_all(&out).expect("a directory");
    let begun = std::time::Instant::now();
    let rows = large_month::make(&out, customers);
    println!("{rows} rows of {} in {:.1} s", large_month::PERIOD, begun.elapsed().as_secs_f32());
}
