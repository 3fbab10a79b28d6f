//! The `fluxoscope` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    fluxoscope::cli::main()
}
