//! `customer`: who they are, and whose an address is.

use core::net::IpAddr;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;

use super::output::{self, Cell, Format};
use super::{Cli, Failure, parse_instant};
use crate::classify::rules::{CustomerPrefix, Prefix, Validity};
use crate::config;
use crate::daemon;
use crate::units::UnixMillis;

/// Customers.
#[derive(Debug, Subcommand)]
pub enum CustomerVerb {
    /// All customers of the configuration
    List {
        /// How rows are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Whose an address is, and by which prefix
    Whois {
        /// The address
        address: IpAddr,
        /// At which instant [default: now]
        #[arg(long, value_parser = parse_instant)]
        at: Option<Timestamp>,
        /// How rows are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Customers TOML from rows `name,prefix,asn,tariff,valid_from,valid_to`, to standard output
    Import {
        /// The CSV file
        file: PathBuf,
    },
}

/// Does it.
///
/// # Errors
/// When the configuration or the file is wrong.
pub(super) fn run(verb: &CustomerVerb, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        CustomerVerb::List { format } => list(&cli.config()?, *format, out),
        CustomerVerb::Whois { address, at, format } => {
            let at = at.map_or_else(daemon::now_ms, Timestamp::as_millisecond);
            whois(&cli.config()?, *address, UnixMillis(at), *format, out)
        }
        CustomerVerb::Import { file } => {
            let opened = File::open(file).map_err(|e| Failure::said(format!("{}: {e}", file.display())))?;
            let toml = config::customers_from_csv(BufReader::new(opened))
                .map_err(|problems| Failure::Usage(problems.render(super::color_on_stderr())))?;
            out.write_all(toml.as_bytes())?;
            Ok(())
        }
    }
}

fn list(config: &config::Config, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let rows: Vec<Vec<Cell>> = config
        .network
        .customers
        .iter()
        .map(|customer| {
            let joined = |parts: Vec<String>| Cell::Text(parts.join(" "));
            vec![
                Cell::from(customer.name.as_str()),
                joined(customer.prefixes.iter().map(|p| prefix(&p.prefix)).collect()),
                joined(customer.asns.iter().map(|asn| asn.0.to_string()).collect()),
                joined(
                    customer.interfaces.iter().map(|i| format!("{}:{}", i.exporter, i.ifindex.0)).collect(),
                ),
                customer.tariff.as_deref().map_or(Cell::Missing, Cell::from),
            ]
        })
        .collect();
    output::rows(out, format, &["customer", "prefixes", "asns", "interfaces", "tariff"], &rows)?;
    Ok(())
}

fn prefix(prefix: &Prefix) -> String {
    format!("{}/{}", prefix.address, prefix.length)
}

fn whois(
    config: &config::Config,
    address: IpAddr,
    at: UnixMillis,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut found: Vec<(&str, &CustomerPrefix)> = config
        .network
        .customers
        .iter()
        .filter(|customer| holds(customer.validity, at))
        .flat_map(|customer| customer.prefixes.iter().map(|p| (customer.name.as_str(), p)))
        .filter(|(_, p)| holds(p.validity, at) && covers(&p.prefix, address))
        .collect();
    found.sort_by_key(|(_, p)| core::cmp::Reverse(p.prefix.length));
    let Some((customer, by)) = found.first() else {
        return Err(Failure::said(format!("{address} belongs to no customer: its traffic is `unassigned`")));
    };
    let row = vec![Cell::from(address.to_string()), Cell::from(*customer), Cell::from(prefix(&by.prefix))];
    output::rows(out, format, &["address", "customer", "prefix"], &[row])?;
    Ok(())
}

fn holds(validity: Validity, at: UnixMillis) -> bool {
    validity.from.is_none_or(|from| from <= at) && validity.to.is_none_or(|to| at < to)
}

fn covers(prefix: &Prefix, address: IpAddr) -> bool {
    match (prefix.address, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let shift = 32 - u32::from(prefix.length);
            u32::from(network).checked_shr(shift) == u32::from(address).checked_shr(shift)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let shift = 128 - u32::from(prefix.length);
            u128::from(network).checked_shr(shift) == u128::from(address).checked_shr(shift)
        }
        _ => false,
    }
}
