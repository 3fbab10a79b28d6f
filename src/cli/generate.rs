//! `generate`: export traffic of known totals, for tests and for trying a configuration.

use super::{Cli, Failure};
/// .
#[derive(clap::Args, Debug)]
pub struct GenerateArgs {}
pub(super) fn run(_: &GenerateArgs, _: &Cli) -> Result<(), Failure> {
    Ok(())
}
