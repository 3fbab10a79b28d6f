//! `invoice`.
use super::{Cli, Failure};
use crate::ledger::Ledger;
use std::io::Write;
/// .
#[derive(clap::Subcommand, Debug)]
pub enum InvoiceVerb {
    /// .
    List,
}
pub(super) fn run(_: &InvoiceVerb, _: &Cli, _: &mut dyn Write) -> Result<(), Failure> {
    Ok(())
}
pub(super) fn make(
    _: &mut Ledger,
    _: &crate::config::Config,
    _: &str,
    _: &mut dyn Write,
) -> Result<Vec<String>, Failure> {
    Ok(Vec::new())
}
pub(super) fn print(
    _: &mut Ledger,
    _: &str,
    _: super::output::Format,
    _: &mut dyn Write,
) -> Result<(), Failure> {
    Ok(())
}
