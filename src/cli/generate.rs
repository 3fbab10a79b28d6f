//! `generate`: export traffic of known totals, for tests and for trying a configuration.
