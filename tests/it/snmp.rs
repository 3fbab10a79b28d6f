//! The agent and the tools that operators use against it: net-snmp, SNMP_Session.pm, MRTG, smilint.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, in helpers too")]

use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use fluxoscope::counters::{
    AllowanceRow, Books, CardRow, Counters, CustomerRow, Exporter, Field, InvoiceState, LinkRow, Managed,
    Memory, PeriodRow, PolledRow, Reconciled, ReconciledRow, Sampled, Sampler, TariffRow, Template,
    Transport, TransportCounts, Volume, Volumes,
};
use fluxoscope::ids::Session;
use fluxoscope::snmp::{Agent, Config, MIB, mrtg};
use fluxoscope::units::UnixMillis;

use crate::live_support::now_ms;

/// An agent on a free port of loopback; it stops when dropped.
pub(crate) struct Running {
    config: Config,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<std::io::Result<()>>>,
}

impl Running {
    pub(crate) fn start(counters: Counters) -> Self {
        Self::sharing(Arc::new(counters))
    }

    pub(crate) fn sharing(counters: Arc<Counters>) -> Self {
        Self::listening(counters, [127, 0, 0, 1].into())
    }

    fn listening(counters: Arc<Counters>, address: IpAddr) -> Self {
        let config = Config {
            listen: (address, 0).into(),
            communities: vec!["see".into()],
            name: Some("flux.example.net".into()),
            ..Config::default()
        };
        let socket: UdpSocket = Agent::bind(&config).unwrap();
        let config = Config { listen: socket.local_addr().unwrap(), ..config };
        let mut agent = Agent::new(config.clone(), Arc::clone(&counters)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || agent.run(&socket, &stopped, || UnixMillis(now_ms()))));
        Self { config, counters, stop, thread }
    }

    pub(crate) fn peer(&self) -> String {
        self.config.listen.to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

/// Whoever asks takes an answer only from whom it asked (RFC 1157, 4): a connected socket sees no other.
#[test]
fn answers_come_from_the_address_that_was_asked() {
    let agent = Running::listening(Arc::new(counters(1)), [0, 0, 0, 0].into());
    let port = agent.config.listen.port();
    // GET of sysUpTime.0 by SNMPv2c with the community "see".
    let request = b"\x30\x23\x02\x01\x01\x04\x03see\xa0\x19\x02\x01\x07\x02\x01\x00\x02\x01\x00\
        \x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x03\x00\x05\x00";
    for address in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
        let manager = UdpSocket::bind("127.0.0.1:0").unwrap();
        manager.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        manager.connect((address, port)).unwrap();
        manager.send(request).unwrap();
        let mut answer = [0; 100];
        let octets = manager.recv(&mut answer).unwrap_or_else(|error| panic!("{address}: {error}"));
        assert!(
            octets > request.len() && answer[..octets].windows(3).any(|part| part == b"see"),
            "{address}"
        );
    }
}

/// Something in every table.
pub(crate) fn counters(customers: u32) -> Counters {
    let counters = Counters::new(2, 1_795_000_000_000);
    counters.processors[0].datagrams.store(30, Relaxed);
    counters.processors[0].records.store(900, Relaxed);
    counters.processors[1].records.store(100, Relaxed);
    counters.processors[0].usage.limit.store(1000, Relaxed);
    counters.processors[1].usage.limit.store(1000, Relaxed);
    counters.processors[0].usage.set_current(250);
    let exporter = Exporter::new("ce1".into(), [192, 0, 2, 1].into());
    exporter.ledger_id.store(7, Relaxed);
    exporter.lost_told.store(5, Relaxed);
    exporter.rate_numerator.store(3, Relaxed);
    exporter.rate_denominator.store(2, Relaxed);
    exporter.memory.store(Arc::new(memory()));
    counters.exporters.write().unwrap().push(Arc::new(exporter));
    others(&counters);
    let volume = |n: u64| Volume { in_octets: n << 40, out_octets: n, in_packets: n + 1, out_packets: n + 2 };
    let customer = |n: u32| CustomerRow {
        id: 15 + n,
        name: format!("customer {n}"),
        volume: volume(n.into()),
        month_in_octets: n.into(),
        month_out_octets: (2 * n).into(),
    };
    counters.volumes.store(Arc::new(Volumes {
        links: vec![LinkRow { id: 3, name: "transit-a".into(), kind: "upstream".into(), volume: volume(9) }],
        customers: (1..=customers).map(customer).collect(),
    }));
    counters
}

/// What is remembered of the exporter.
fn memory() -> Memory {
    let sampler = |kind, number| Sampler { domain: 1, kind, number, rate: (1000, 1) };
    let counts = TransportCounts {
        messages: 5,
        octets: 7000,
        discarded: 1,
        records: 90,
        templates: 4,
        options_templates: 2,
    };
    let field = |enterprise, element, length| Field { enterprise, element, length };
    let template = |session, id, is_options, fields: &[Field]| Template {
        session,
        domain: 1,
        id,
        is_options,
        defined_at: 1_795_000_000_000,
        records: 45,
        scopes: u16::from(is_options),
        fields: fields.into(),
    };
    Memory {
        samplers: vec![
            sampler(Sampled::Domain, 0),
            sampler(Sampled::Sampler, 3),
            sampler(Sampled::Ingress, 12),
        ],
        transports: vec![
            Transport { session: None, version: 9, heard_at: now_ms(), counts },
            Transport { session: Some(Session(2)), version: 10, heard_at: now_ms(), counts },
        ],
        templates: vec![
            template(None, 256, false, &[field(0, 1, 8), field(0, 2, 4), field(35_632, 3, 65_535)]),
            template(None, 257, true, &[field(0, 149, 4), field(0, 34, 4)]),
            template(Some(Session(2)), 300, false, &[field(0, 1, 8)]),
        ],
    }
}

/// Routers, books and billing.
fn others(counters: &Counters) {
    let card = CardRow {
        exporter: "ce1".into(),
        exporter_id: 7,
        card: 5000,
        name: "flow table of card 5000".into(),
        utilisation: 97,
        current: 254_161,
        limit: -1,
        high_water: 254_161,
        failures: 3,
        read_at: 1_795_000_000_000,
    };
    let side = Reconciled {
        flow_octets: 10,
        interface_octets: 12,
        tolerance: 1,
        coverage: 100,
        verdict: 2,
        differences: 1,
    };
    let link = ReconciledRow {
        link: 3,
        name: "transit-a".into(),
        bucket: 1_795_000_200,
        inward: side,
        outward: side,
    };
    let polled = PolledRow { exporter: "ce1".into(), polls: 9, failures: 1, ..PolledRow::default() };
    counters.managed.store(Arc::new(Managed {
        polled: vec![polled],
        cards: vec![card],
        reconciled: vec![link],
    }));
    let allowance = AllowanceRow {
        customer_id: 16,
        customer: "customer 1".into(),
        charge: "volume".into(),
        period: "2026-11".into(),
        used_percent: 81,
        projected_percent: Some(120),
        alert: "80".into(),
    };
    counters.billing.allowances.store(Arc::new(vec![allowance]));
    let tariff = TariffRow {
        id: "transit-eu".into(),
        version: 2,
        effective: "2026-11-01".into(),
        ..TariffRow::default()
    };
    let period = PeriodRow {
        customer: 16,
        month: 202_611,
        is_closed: true,
        invoice: InvoiceState::Draft,
        number: "DRAFT-1".into(),
        ..PeriodRow::default()
    };
    counters.books.store(Arc::new(Books {
        tariffs: vec![tariff],
        periods: vec![period],
        ..Books::default()
    }));
}

/// The standard output of a command that must succeed.
pub(crate) fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("LANG", "C")
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed (ops/test installs it): {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("SNMP Error"), "{program} {arguments:?}: {errors}");
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{text}\n{errors}", output.status);
    text
}

#[test]
fn net_snmp_reads_it() {
    let agent = Running::start(counters(3));
    let peer = agent.peer();
    let get = |version: &str, oid: &str| output("snmpget", &[version, "-c", "see", "-Oqvn", &peer, oid]);
    assert_eq!(get("-v2c", "1.3.6.1.2.1.1.5.0").trim(), "\"flux.example.net\"");
    // Customer 2 has number 17: 2 * 2^40 octets in.
    assert_eq!(get("-v2c", "1.3.6.1.4.1.32473.2055.1.5.1.3.17").trim(), "2199023255552");
    assert_eq!(get("-v1", "1.3.6.1.4.1.32473.2055.1.5.1.2.17").trim(), "\"customer 2\"");
    // 3/2 is nearest to 2; 900 + 100 records.
    assert_eq!(get("-v2c", "1.3.6.1.4.1.32473.2055.1.3.1.6.7").trim(), "2");
    assert_eq!(get("-v2c", "1.3.6.1.4.1.32473.2055.1.1.8.0").trim(), "1000");

    let walk = |program: &str, version: &str| output(program, &[version, "-c", "see", "-On", &peer, "1.3"]);
    let next = walk("snmpwalk", "-v2c");
    assert!(next.lines().count() > 150, "{next}");
    // Between the two walks the agent's own counters and its clock move.
    let steady = |text: &str| -> Vec<String> {
        let moving = [
            "No more variables",
            "End of MIB",
            "1.3.6.1.2.1.1.3.0",
            "1.3.6.1.2.1.11.",
            "1.3.6.1.6.3.10.2.1.3.0",
            "32473.2055.1.7.",
            "32473.2055.1.3.1.8.",
            ".2.1.25.",
            ".2.1.8.",
        ];
        text.lines().filter(|line| !moving.iter().any(|oid| line.contains(oid))).map(str::to_owned).collect()
    };
    assert_eq!(steady(&walk("snmpbulkwalk", "-v2c")), steady(&next));
    let first = walk("snmpwalk", "-v1");
    assert!(!first.contains("Counter64") && next.contains("Counter64"));
    let narrow: Vec<_> = steady(&next).into_iter().filter(|line| !line.contains("Counter64")).collect();
    assert_eq!(steady(&first), narrow);
}

#[test]
fn sessions_with_negative_request_ids_are_answered() {
    let agent = Running::start(counters(1));
    let script = format!(
        "use SNMP_Session; use BER; for my $n (1..20) {{ \
         my $s = SNMPv2c_Session->open('127.0.0.1', 'see', {}) or die; \
         $s->{{request_id}} = -1000 * $n; $s->{{timeout}} = 2; $s->{{retries}} = 20; \
         $s->get_request_response(encode_oid(1,3,6,1,2,1,1,5,0)) or die \"no answer to $n\"; \
         my ($b) = $s->decode_get_response($s->pdu_buffer); my ($v) = decode_sequence($b); \
         my ($o, $x) = decode_by_template($v, '%O%@'); print pretty_print($x), \"\\n\"; }}",
        agent.config.listen.port()
    );
    assert_eq!(output("perl", &["-e", &script]), "flux.example.net\n".repeat(20));
}

#[test]
fn mrtg_draws_it() {
    let agent = Running::start(counters(1));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let text = mrtg::configuration(&agent.config, &agent.counters, "127.0.0.1", path).unwrap();
    let file = directory.path().join("mrtg.cfg");
    std::fs::write(&file, &text).unwrap();
    for _ in 0..3 {
        let said = output("mrtg", &[file.to_str().unwrap()]);
        assert!(!said.contains("ERROR"), "{said}");
    }
    let targets =
        text.lines().filter_map(|line| line.strip_prefix("Target[")?.split_once(']')).map(|(name, _)| name);
    for target in targets {
        let log = std::fs::read_to_string(directory.path().join(format!("{target}.log"))).unwrap();
        assert!(!log.lines().next().unwrap().contains("-1"), "{target}: {log}");
        let image = std::fs::read(directory.path().join(format!("{target}-day.png"))).unwrap();
        assert!(image.starts_with(b"\x89PNG"));
    }
    // The first line of a log: when, and the two values as they came. Customer 1: 2^40 in, 1 out.
    let log = std::fs::read_to_string(directory.path().join("fluxoscope-customer-16.log")).unwrap();
    assert!(log.lines().next().unwrap().ends_with(" 1099511627776 1"), "{log}");
}

/// Base modules: the real ones where `FLUXOSCOPE_MIBS` names them, else stand-ins that declare what
/// FLUXOSCOPE-MIB imports. (Debian ships none.)
#[test]
#[expect(clippy::disallowed_methods, reason = "where the IETF modules are is a matter of the machine")]
fn smilint_is_silent() {
    let directory = tempfile::tempdir().unwrap();
    let base = std::env::var("FLUXOSCOPE_MIBS").unwrap_or_else(|_| {
        for (name, text) in [
            ("SNMPv2-SMI", include_str!("snmp/SNMPv2-SMI")),
            ("SNMPv2-TC", include_str!("snmp/SNMPv2-TC")),
            ("SNMPv2-CONF", include_str!("snmp/SNMPv2-CONF")),
        ] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory.path().to_str().unwrap().to_owned()
    });
    let settings = directory.path().join("smi.conf");
    std::fs::write(&settings, format!("path {base}\n")).unwrap();
    let module = directory.path().join("FLUXOSCOPE-MIB");
    let lint = |text: &str| {
        std::fs::write(&module, text).unwrap();
        let output = Command::new("smilint")
            .args(["-c", settings.to_str().unwrap(), "-l", "6", module.to_str().unwrap()])
            .output()
            .unwrap_or_else(|error| {
                panic!("smilint is needed (package smitools; ops/test installs it): {error}")
            });
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat()
    };
    // smilint's status is 0 even where it complains: only its words count.
    assert_eq!(lint(MIB), "");
    // And it would complain: an object out of its group, an undeclared import.
    assert!(lint(&MIB.replacen("        fluxVersion,\n", "", 1)).contains("fluxVersion"));
    assert!(lint(&MIB.replacen("Counter32, Counter64", "Counter64", 1)).contains("Counter32"));
}

/// Every column of IPFIX-MIB that a collector has, and every object of ours, by the names that the modules give them;
/// net-snmp says where a value is of another type than its module says.
#[test]
#[expect(clippy::disallowed_methods, reason = "where the IETF modules are is a matter of the machine")]
fn values_are_of_the_types_that_the_modules_say() {
    let Ok(modules) = std::env::var("FLUXOSCOPE_MIBS") else {
        eprintln!("skipped: FLUXOSCOPE_MIBS is not set");
        return;
    };
    let agent = Running::start(counters(2));
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/mibs");
    let walk = |module: &str, root: &str| {
        let path = format!("{modules}:{own}");
        let peer = agent.peer();
        output("snmpbulkwalk", &["-v2c", "-c", "see", "-M", &path, "-m", module, "-Os", &peer, root])
    };
    let ipfix = walk("IPFIX-MIB", "1.3.6.1.2.1.193");
    assert!(!ipfix.contains("Wrong Type") && !ipfix.contains("mib-2"), "{ipfix}");
    for line in [
        "ipfixTransportSessionProtocol.7 = Gauge32: 17",
        "ipfixTransportSessionSourceAddressType.7 = INTEGER: ipv4(1)",
        "ipfixTransportSessionSourceAddress.7 = Hex-STRING: C0 00 02 01 ",
        "ipfixTransportSessionDestinationAddressType.7 = INTEGER: unknown(0)",
        "ipfixTransportSessionDeviceMode.7 = INTEGER: collecting(2)",
        "ipfixTransportSessionStatus.7 = INTEGER: active(2)",
        "ipfixTransportSessionBytes.7 = Counter64: 7000 bytes",
        "ipfixTransportSessionDiscardedMessages.7 = Counter64: 1",
        "ipfixTemplateSetId.7.1.257 = Gauge32: 3",
        "ipfixTemplateDefinitionEnterpriseNumber.7.1.256.3 = Gauge32: 35632",
        "ipfixTemplateDefinitionFlags.7.1.257.1 = BITS: 80 scope(0) ",
        "ipfixTemplateDataRecords.7.1.256 = Counter64: 45",
        // 2^31 + 7 * 2^16 + 2.
        "ipfixTransportSessionProtocol.2147942402 = Gauge32: 6",
    ] {
        assert!(ipfix.lines().any(|found| found == line), "{line}\n{ipfix}");
    }
    // What RFC 6615 has in the groups of a collector, without what is not accessible.
    let text = std::fs::read_to_string(std::path::Path::new(&modules).join("IPFIX-MIB.txt")).unwrap();
    let mut expected = 0;
    for group in ["ipfixCommonGroup OBJECT-GROUP", "ipfixCommonStatsGroup OBJECT-GROUP"] {
        let body = text.split(group).nth(1).unwrap();
        for object in body.split(['{', '}']).nth(1).unwrap().split(',').map(str::trim) {
            assert!(ipfix.contains(&format!("{object}.")), "{object}\n{ipfix}");
            expected += 1;
        }
    }
    assert_eq!(expected, 32);
    let flux = walk("FLUXOSCOPE-MIB", "1.3.6.1.4.1.32473.2055");
    assert!(!flux.contains("Wrong Type") && !flux.contains("enterprises."), "{flux}");
    for line in [
        "fluxSamplerName.7.1.sampler.3 = STRING: domain 1, sampler 3",
        "fluxPeriodInvoice.16.202611 = INTEGER: draft(2)",
        "fluxReconcileVerdict.3.out = INTEGER: flowsMissing(2)",
        "fluxAllowancePercent.16.1 = Gauge32: 81 percent",
    ] {
        assert!(flux.lines().any(|found| found == line), "{line}\n{flux}");
    }
}
