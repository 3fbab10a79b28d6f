//! The `fluxoscope` command.
fn main() {}
