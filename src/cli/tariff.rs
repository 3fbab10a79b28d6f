//! `tariff`.
use super::{Cli, Failure};
use crate::ledger::Ledger;
use std::io::Write;
/// .
#[derive(clap::Subcommand, Debug)]
pub enum TariffVerb {
    /// .
    List,
}
pub(super) fn run(_: &TariffVerb, _: &Cli, _: &mut dyn Write) -> Result<(), Failure> {
    Ok(())
}
pub(super) fn check_all(_: &crate::config::Config, _: &mut dyn Write) -> Result<String, Failure> {
    Ok(String::new())
}
pub(super) fn activate_file(
    _: &mut Ledger,
    _: &std::path::Path,
    _: &str,
    _: i64,
    _: &mut dyn Write,
) -> Result<(), Failure> {
    Ok(())
}
