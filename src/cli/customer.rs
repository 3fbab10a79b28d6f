//! `customer`: who they are, and whose an address is.

use core::net::IpAddr;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;

use super::output::{self, Cell, Format};
use super::{Cli, Failure, parse_instant};
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
    /// Whose an address is by prefix; interfaces come before prefixes, AS numbers after them
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
            let toml = config::customers_from_csv(BufReader::new(opened), &file.display().to_string())
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
                joined(customer.prefixes.iter().map(|p| p.prefix.to_string()).collect()),
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

/// By the prefixes alone: an address does not tell at which interface its traffic came, nor its AS number.
fn whois(
    config: &config::Config,
    address: IpAddr,
    at: UnixMillis,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let address = address.to_canonical();
    let found = config.network.whois(address, at);
    let Some(holder) = found.iter().find(|entry| entry.valid) else {
        let mut text = format!("{address} is in no customer's prefix at that time");
        for passed_over in &found {
            let (prefix, name) = (passed_over.held.prefix, &passed_over.customer.name);
            text += &format!("; {prefix} is `{name}`'s at other times");
        }
        text += ": its traffic is `unassigned`, unless a customer's interface or AS number tells whose it is";
        return Err(Failure::said(text));
    };
    if config.network.customers.iter().any(|customer| !customer.interfaces.is_empty()) {
        eprintln!("note: at a customer's interface, traffic is that customer's whatever its address");
    }
    let (customer, prefix) = (holder.customer.name.as_str(), holder.held.prefix.to_string());
    let row = vec![Cell::from(address.to_string()), Cell::from(customer), Cell::from(prefix)];
    output::rows(out, format, &["address", "customer", "prefix"], &[row])?;
    Ok(())
}
