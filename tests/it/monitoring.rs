//! The pieces in `ops/monitoring`, by the programs that they are for.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::snmp::{Running as Agent, counters};
use crate::support::{Running, free_port, until};

const PIECE: &str = include_str!("../../ops/monitoring/snmp_exporter.yml");

fn exporter(arguments: &[&str]) -> Output {
    let program = "prometheus-snmp-exporter";
    Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed (ops/test installs it): {error}"))
}

/// Our input for the generator, with a community instead of the user. Since 0.23 `auths` stand apart from the modules.
fn input() -> String {
    let told = exporter(&["--version"]);
    let told = [told.stdout, told.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    let version = told.split("version ").nth(1).unwrap_or_else(|| panic!("{told}"));
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let has_auths = (parts.next(), parts.next()) >= (Some(0), Some(23));
    let modules = &PIECE[PIECE.find("\nmodules:\n").unwrap()..];
    if has_auths {
        format!("auths:\n  fluxoscope:\n    version: 2\n    community: see{modules}")
    } else {
        format!("{}\n    version: 2\n    auth:\n      community: see\n", modules.trim())
    }
}

/// Makes `snmp.yml` in a directory, by stand-ins for the base modules.
fn generate(directory: &Path) {
    let modules = directory.join("mibs");
    std::fs::create_dir(&modules).unwrap();
    for (name, text) in [
        ("SNMPv2-SMI", include_str!("snmp/SNMPv2-SMI")),
        ("SNMPv2-TC", include_str!("snmp/SNMPv2-TC")),
        ("SNMPv2-CONF", include_str!("snmp/SNMPv2-CONF")),
        ("FLUXOSCOPE-MIB", fluxoscope::snmp::MIB),
    ] {
        std::fs::write(modules.join(name), text).unwrap();
    }
    std::fs::write(directory.join("generator.yml"), input()).unwrap();
    let done = Command::new("prometheus-snmp-generator")
        .arg("generate")
        .current_dir(directory)
        .env("MIBDIRS", &modules)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn snmp_exporter_scrapes_the_agent() {
    let agent = Agent::start(counters(2));
    let directory = tempfile::tempdir().unwrap();
    generate(directory.path());
    let address = format!("127.0.0.1:{}", free_port());
    let _exporter = Running::start(
        Command::new("prometheus-snmp-exporter")
            .arg(format!("--config.file={}", directory.path().join("snmp.yml").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    let mut stream = until("snmp_exporter to listen", || TcpStream::connect(&address).ok());
    let query = format!("module=fluxoscope&auth=fluxoscope&target={}", agent.peer());
    write!(stream, "GET /snmp?{query} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    for line in [
        // 2^40 and 9 * 2^40.
        "fluxCustomerInOctets{fluxCustomerIndex=\"16\",fluxCustomerName=\"customer 1\"} 1.099511627776e+12",
        "fluxLinkInOctets{fluxLinkIndex=\"3\",fluxLinkName=\"transit-a\"} 9.895604649984e+12",
        "fluxExporterLost{fluxExporterIndex=\"7\",fluxExporterName=\"ce1\"} 5",
        "# TYPE fluxCustomerInOctets counter",
        // What SMIv2 has no type for.
        "# TYPE fluxCustomerMonthInOctets gauge",
        "fluxCustomerMonthOutOctets{fluxCustomerIndex=\"17\",fluxCustomerName=\"customer 2\"} 4",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // Every table that is walked has rows with the names of what they are about, and no name is a metric.
    for table in
        ["Processor", "Exporter", "Link", "Customer", "Contention", "Sampler", "Allowance", "Reconcile"]
    {
        let named = format!("flux{table}Name=\"");
        let is_named = |line: &&str| line.split_once(&named).is_some_and(|(_, rest)| !rest.starts_with('"'));
        assert!(text.lines().any(|line| is_named(&line)), "{table}\n{text}");
        assert!(!text.contains(&format!("\nflux{table}Name{{")), "{table}");
    }
}
