//! The traffic is decoded by somebody else's decoder, and classified here by looking at every rule, one after the other.

use core::net::IpAddr;
use std::collections::{BTreeMap, HashMap};
use std::path::Path as FilePath;

use netflow_parser::variable_versions::field_value::FieldValue;
use netflow_parser::variable_versions::ipfix::{self, lookup::IPFixField};
use netflow_parser::variable_versions::v9;
use netflow_parser::{NetflowPacket, NetflowParser};

use super::*;
use crate::classify::rules::{LinkPoint, Network, Prefix};
use crate::exporter::Observes;

mod sflow;

/// Two routers with links, one of them observing both sides, a gateway without interfaces; customers of every kind,
/// one inside another's prefix, one covered completely, one that is only for half of the time.
const CONFIG: &str = r#"
[meter]
packet_min = 40

[[exporter]]
name = "ce1"
address = "127.0.0.1"
[[exporter]]
name = "ce2"
address = "2001:db8::2"
observes = "both"
[[exporter]]
name = "gw"
address = "127.0.0.3"

[[link]]
name = "transit, a"
interfaces = [ { exporter = "ce1", ifindex = 12 }, { exporter = "ce2", ifindex = 12 } ]
[[link]]
name = "transit-b"
interfaces = [ { exporter = "ce1", ifindex = 13 } ]
[[link]]
name = "whole"
interfaces = [ { exporter = "gw" } ]

[[customer]]
name = "wide"
prefixes = ["20.0.0.0/8", "2a00:1::/32"]
[[customer]]
name = "inside"
prefixes = ["20.1.0.0/16", "2a00:1:2::/48"]
[[customer]]
name = "covered"
prefixes = ["20.2.0.0/16"]
[[customer]]
name = "cover"
prefixes = ["20.2.0.0/17", "20.2.128.0/17"]
[[customer]]
name = "asn"
asns = [64500]
[[customer]]
name = "port"
interfaces = [ { exporter = "ce1", ifindex = 7 } ]
[[customer]]
name = "half"
prefixes = ["20.3.0.0/16"]
valid_to = 2026-01-15T00:10:00Z
"#;

fn config() -> Config {
    config_of(CONFIG)
}

fn config_of(text: &str) -> Config {
    Config::parse(text, "test.toml", FilePath::new("")).unwrap_or_else(|problems| panic!("{problems}"))
}

fn options(protocol: Protocol, sampling: u32) -> Options {
    Options { records: 5000, seed: 7, protocol, sampling, ..Options::default() }
}

#[derive(Clone, Copy, Debug)]
struct Record {
    exporter: IpAddr,
    source: IpAddr,
    destination: IpAddr,
    input: u64,
    output: u64,
    source_as: u64,
    destination_as: u64,
    packets: u64,
    octets: u64,
    start: i64,
    end: i64,
    observed: u64,
}

/// What the other decoder makes of everything; sequence numbers and times are checked on the way.
struct Decoded {
    records: Vec<Record>,
    /// Sampling as announced, one entry an announcement.
    announced: Vec<u64>,
}

fn decode(config: &Config, options: &Options) -> (Decoded, Generated) {
    let mut parsers: HashMap<IpAddr, (NetflowParser, u32)> = HashMap::new();
    let mut decoded = Decoded { records: Vec::new(), announced: Vec::new() };
    let mut before = i64::MIN;
    let generated = generate(config, options, |datagram| {
        assert!(datagram.time.0 >= before, "datagrams are ordered by time");
        before = datagram.time.0;
        assert!(datagram.payload.len() <= 1472);
        let exporter = datagram.source.ip();
        if options.protocol == Protocol::Sflow {
            let first = decoded.records.len();
            let sequence = sflow::datagram(exporter, datagram.time.0, datagram.payload, &mut decoded);
            let (_, sent) = parsers.entry(exporter).or_insert_with(|| (NetflowParser::default(), 0));
            *sent += 1;
            assert_eq!(sequence, *sent, "no gap in the sequence of {exporter}");
            assert_eq!(decoded.records.len() - first, datagram.records as usize);
            return Ok(());
        }
        let (parser, expected) = parsers.entry(exporter).or_insert_with(|| (NetflowParser::default(), 0));
        let result = parser.parse_bytes(datagram.payload);
        assert!(result.is_ok(), "{:?}", result.error);
        let [packet] = &result.packets[..] else { panic!("one message a datagram") };
        let first = decoded.records.len();
        let announcements = decoded.announced.len();
        let sequence = match packet {
            NetflowPacket::V5(packet) => v5(exporter, packet, &mut decoded),
            NetflowPacket::V9(packet) => v9_packet(exporter, packet, &mut decoded),
            NetflowPacket::IPFix(packet) => ipfix_packet(exporter, packet, &mut decoded),
            other => panic!("{other:?}"),
        };
        assert_eq!(sequence, *expected, "no gap in the sequence of {exporter}");
        let records = u32::try_from(decoded.records.len() - first).unwrap();
        assert_eq!(records, datagram.records);
        *expected += match options.protocol {
            Protocol::V5 => records,
            Protocol::V9 => 1,
            Protocol::Ipfix => records + u32::try_from(decoded.announced.len() - announcements).unwrap(),
            Protocol::Sflow => unreachable!("read above"),
        };
        for record in &decoded.records[first..] {
            assert!(record.start <= record.end && record.end <= datagram.time.0, "{record:?} {datagram:?}");
            assert!(datagram.time.0 - record.start < 3_600_000, "{record:?}");
        }
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    (decoded, generated)
}

/// An uptime becomes an instant by the signed difference to the header's.
fn instant(header_ms: i64, header_uptime: u32, uptime: u32) -> i64 {
    header_ms + i64::from(uptime.wrapping_sub(header_uptime).cast_signed())
}

fn v5(exporter: IpAddr, packet: &netflow_parser::static_versions::v5::V5, out: &mut Decoded) -> u32 {
    let header = &packet.header;
    let now = i64::from(header.unix_secs) * 1000 + i64::from(header.unix_nsecs) / 1_000_000;
    if header.sampling_interval != 0 {
        out.announced.push(u64::from(header.sampling_interval & 0x3fff));
    }
    out.records.extend(packet.flowsets.iter().map(|flow| Record {
        exporter,
        source: flow.src_addr.into(),
        destination: flow.dst_addr.into(),
        input: flow.input.into(),
        output: flow.output.into(),
        source_as: flow.src_as.into(),
        destination_as: flow.dst_as.into(),
        packets: flow.d_pkts.into(),
        octets: flow.d_octets.into(),
        start: instant(now, header.sys_up_time, flow.first),
        end: instant(now, header.sys_up_time, flow.last),
        observed: 0,
    }));
    header.flow_sequence
}

fn record(
    exporter: IpAddr,
    value: impl Fn(u16) -> Option<FieldValue>,
    time: impl Fn(u64) -> i64,
    times: (u16, u16),
) -> Record {
    let number =
        |element| value(element).and_then(|value| value.as_u64()).unwrap_or_else(|| panic!("{element}"));
    let address = |v4, v6| match value(v4).or_else(|| value(v6)) {
        Some(FieldValue::Ip4Addr(address)) => IpAddr::from(address),
        Some(FieldValue::Ip6Addr(address)) => IpAddr::from(address),
        other => panic!("{other:?}"),
    };
    Record {
        exporter,
        source: address(8, 27),
        destination: address(12, 28),
        input: number(10),
        output: number(14),
        source_as: number(16),
        destination_as: number(17),
        packets: number(2),
        octets: number(1),
        start: time(number(times.0)),
        end: time(number(times.1)),
        observed: number(61),
    }
}

fn v9_packet(exporter: IpAddr, packet: &v9::V9, out: &mut Decoded) -> u32 {
    let header = &packet.header;
    let mut count = 0;
    for set in &packet.flowsets {
        match &set.body {
            v9::FlowSetBody::Data(data) => {
                count += data.fields.len();
                out.records.extend(data.fields.iter().map(|fields| {
                    let value = |element| {
                        fields
                            .iter()
                            .find(|(field, _)| u16::from(*field) == element)
                            .map(|(_, value)| value.clone())
                    };
                    let time = |uptime| {
                        let now = i64::from(header.unix_secs) * 1000;
                        instant(now, header.sys_up_time, u32::try_from(uptime).unwrap())
                    };
                    record(exporter, value, time, (22, 21))
                }));
            }
            v9::FlowSetBody::OptionsData(data) => {
                count += data.fields.len();
                for fields in &data.fields {
                    let interval = fields.options_fields.iter().find(|(field, _)| u16::from(*field) == 34);
                    out.announced.extend(interval.and_then(|(_, value)| value.as_u64()));
                }
            }
            v9::FlowSetBody::Template(templates) => count += templates.templates.len(),
            v9::FlowSetBody::OptionsTemplate(templates) => count += templates.templates.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(usize::from(header.count), count, "the header counts templates and records");
    header.sequence_number
}

fn ipfix_packet(exporter: IpAddr, packet: &ipfix::IPFix, out: &mut Decoded) -> u32 {
    for set in &packet.flowsets {
        match &set.body {
            ipfix::FlowSetBody::Data(data) => {
                out.records.extend(data.fields.iter().map(|fields| {
                    let value = |element| {
                        let wanted = IPFixField::new(element, None);
                        fields.iter().find(|(field, _)| *field == wanted).map(|(_, value)| value.clone())
                    };
                    record(exporter, value, |ms| i64::try_from(ms).unwrap(), (152, 153))
                }));
            }
            ipfix::FlowSetBody::OptionsData(data) => {
                for fields in &data.fields {
                    let number = |element| {
                        let wanted = IPFixField::new(element, None);
                        fields
                            .iter()
                            .find(|(field, _)| *field == wanted)
                            .and_then(|(_, value)| value.as_u64())
                    };
                    assert_eq!(number(305), Some(1));
                    out.announced.push(1 + number(306).expect("a gap"));
                }
            }
            ipfix::FlowSetBody::NoTemplate(_) | ipfix::FlowSetBody::Empty => {
                panic!("data before its template")
            }
            _ => {}
        }
    }
    packet.header.sequence_number
}

fn covers(prefix: &Prefix, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => format!("4{:032b}", u32::from(v4)),
        IpAddr::V6(v6) => format!("6{:0128b}", u128::from(v6)),
    };
    let length = usize::from(prefix.length) + 1;
    bits(address).starts_with(&bits(prefix.address)[..length])
}

/// The rules of the billing point, word by word: customer, link, direction. `None`: the other observation.
fn account(network: &Network, record: &Record) -> Option<(String, String, &'static str)> {
    let exporter =
        network.exporters.iter().find(|exporter| exporter.address == record.exporter).expect("known");
    let link_of = |ifindex: u64| {
        network.links.iter().find(|link| {
            link.points.iter().any(|point| match point {
                LinkPoint::Interface(at) => {
                    at.exporter == exporter.name && u64::from(at.ifindex.0) == ifindex
                }
                LinkPoint::Named(_) | LinkPoint::WholeExporter(_) => false,
            })
        })
    };
    let by_prefix = |address: IpAddr| {
        let all = network
            .customers
            .iter()
            .flat_map(|customer| customer.prefixes.iter().map(move |own| (own, customer)));
        let valid = all.filter(|(_, customer)| {
            customer.validity.from.is_none_or(|from| from.0 <= record.end)
                && customer.validity.to.is_none_or(|to| to.0 > record.end)
        });
        let own = valid.filter(|(own, _)| covers(&own.prefix, address));
        own.max_by_key(|(own, _)| own.prefix.length).map(|(_, customer)| customer.name.clone())
    };
    let customer = |ifindex: u64, address: IpAddr, asn: u64| {
        let port = network.customers.iter().find(|customer| {
            customer
                .interfaces
                .iter()
                .any(|at| at.exporter == exporter.name && u64::from(at.ifindex.0) == ifindex)
        });
        let numbered =
            network.customers.iter().find(|customer| customer.asns.iter().any(|own| u64::from(own.0) == asn));
        port.map(|customer| customer.name.clone())
            .or_else(|| by_prefix(address))
            .or_else(|| numbered.map(|customer| customer.name.clone()))
            .unwrap_or_else(|| "unassigned".to_owned())
    };
    let name = |link: &crate::classify::rules::LinkRule| link.name.clone();
    let whole = network.links.iter().find(|link| {
        link.points.iter().any(|point| matches!(point, LinkPoint::WholeExporter(at) if *at == exporter.name))
    });
    if let Some(whole) = whole {
        return match (by_prefix(record.source), by_prefix(record.destination)) {
            (None, Some(to)) => Some((to, name(whole), "in")),
            (Some(from), None) => Some((from, name(whole), "out")),
            (Some(_), Some(_)) => Some(("local".to_owned(), String::new(), "")),
            (None, None) => panic!("never generated: {record:?}"),
        };
    }
    let (input, output) = (link_of(record.input), link_of(record.output));
    if exporter.observes == Observes::Both {
        let observing = if record.observed == 0 { input } else { output };
        observing?;
    }
    Some(match (input, output) {
        (Some(link), None) => {
            (customer(record.output, record.destination, record.destination_as), name(link), "in")
        }
        (None, Some(link)) => (customer(record.input, record.source, record.source_as), name(link), "out"),
        (Some(link), Some(_)) => ("through".to_owned(), name(link), "in"),
        (None, None) => ("local".to_owned(), String::new(), ""),
    })
}

/// Sums of a truth file by account: flows, packets, octets, and raw ones.
type Sums = BTreeMap<(String, String, String), [u128; 5]>;

fn truth_by_account(generated: &Generated) -> Sums {
    let mut csv = Vec::new();
    generated.truth.write_csv(&mut csv).expect("memory");
    let csv = String::from_utf8(csv).expect("text").replace("\"transit, a\"", "transit; a");
    let mut sums = Sums::new();
    let mut before = Vec::new();
    for line in csv.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), 10, "{line}");
        let key: Vec<String> = fields[..4].iter().map(|field| field.replace(';', ",")).collect();
        assert!(before < key, "sorted, none twice: {line}");
        before.clone_from(&key);
        let row = sums.entry((key[0].clone(), key[1].clone(), key[2].clone())).or_default();
        for (sum, field) in row.iter_mut().zip(&fields[4..9]) {
            *sum += field.parse::<u128>().expect("a number");
        }
    }
    sums
}

fn check(protocol: Protocol, sampling: u32, accounts: &[&str], links: &[&str]) {
    let config = config();
    let (decoded, generated) = decode(&config, &options(protocol, sampling));
    assert_eq!(decoded.records.len(), 5000);
    assert_eq!(generated.truth.records(), 5000);
    assert_eq!(decoded.records.iter().map(|record| record.octets).sum::<u64>(), generated.truth.raw_octets());
    assert_eq!(
        decoded.records.iter().map(|record| record.packets).sum::<u64>(),
        generated.truth.raw_packets()
    );
    let is_sflow = protocol == Protocol::Sflow;
    let stated = if is_sflow { sampling.max(1) } else { sampling };
    assert!(decoded.announced.iter().all(|rate| *rate == u64::from(stated)));
    assert_eq!(decoded.announced.is_empty(), stated == 0);
    let scale = u128::from(sampling.max(1));
    let mut expected = Sums::new();
    for record in &decoded.records {
        let (customer, link, direction) = account(&config.network, record).expect("every record counts");
        let row = expected.entry((customer, link, direction.to_owned())).or_default();
        let (packets, octets) = (u128::from(record.packets), u128::from(record.octets));
        for (sum, n) in row.iter_mut().zip([1, packets * scale, octets * scale, packets, octets]) {
            *sum += n;
        }
    }
    let truth = truth_by_account(&generated);
    assert_eq!(truth, expected);
    for account in accounts {
        assert!(truth.keys().any(|key| key.0 == *account), "no flow of {account}");
    }
    for link in links {
        for direction in ["in", "out"] {
            assert!(
                truth.keys().any(|key| key.1 == *link && key.2 == direction),
                "no flow {direction} {link}"
            );
        }
    }
    for skipped in ["covered", "half"] {
        assert!(generated.skipped.contains(&format!("customer {skipped}")), "{:?}", generated.skipped);
        assert!(!truth.keys().any(|key| key.0 == skipped));
    }
    let crossing = decoded.records.iter().filter(|record| record.start / 300_000 != record.end / 300_000);
    assert!(is_sflow || crossing.count() > 20, "flows span buckets");
}

const ACCOUNTS: [&str; 8] = ["wide", "inside", "cover", "asn", "port", "unassigned", "through", "local"];
const LINKS: [&str; 3] = ["transit, a", "transit-b", "whole"];

#[test]
fn v5_equals_its_truth() {
    check(Protocol::V5, 0, &ACCOUNTS, &LINKS);
    check(Protocol::V5, 100, &ACCOUNTS, &LINKS);
}

#[test]
fn v9_equals_its_truth() {
    check(Protocol::V9, 0, &ACCOUNTS, &LINKS);
    check(Protocol::V9, 1000, &ACCOUNTS, &LINKS);
}

#[test]
fn ipfix_equals_its_truth() {
    check(Protocol::Ipfix, 0, &ACCOUNTS, &LINKS);
    check(Protocol::Ipfix, 512, &ACCOUNTS, &LINKS);
}

#[test]
fn sflow_equals_its_truth() {
    check(Protocol::Sflow, 0, &ACCOUNTS, &LINKS);
    check(Protocol::Sflow, 400, &ACCOUNTS, &LINKS);
}

#[test]
fn both_families_occur() {
    let (decoded, _) = decode(&config(), &options(Protocol::Ipfix, 0));
    let v6 = decoded.records.iter().filter(|record| record.source.is_ipv6()).count();
    assert!((500..4500).contains(&v6), "{v6}");
    assert!(decoded.records.iter().all(|record| record.source.is_ipv6() == record.destination.is_ipv6()));
}

#[test]
fn a_seed_is_a_traffic() {
    let capture = |seed| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("capture");
        let options = Options { seed, ..options(Protocol::V9, 10) };
        let mut seen = Vec::new();
        let generated = to_capture(&config(), &options, &path, &mut |n| seen.push(n)).expect("it fits");
        assert!(seen.is_sorted() && seen.last() == Some(&5000), "progress goes up to all records");
        let mut csv = Vec::new();
        generated.truth.write_csv(&mut csv).expect("memory");
        (std::fs::read(path).expect("written"), csv)
    };
    assert_eq!(capture(3), capture(3));
    assert_ne!(capture(3), capture(4));
}

/// The operator's word beats what is announced, and the truth knows.
#[test]
fn overrides_scale_the_truth() {
    let text = CONFIG
        .replace("address = \"127.0.0.1\"", "address = \"127.0.0.1\"\nsampling = { override = \"2/3\" }");
    let config = config_of(&text);
    let (decoded, generated) = decode(&config, &options(Protocol::V9, 0));
    let mut expected = BTreeMap::<String, (u128, u128)>::new();
    for record in &decoded.records {
        let (customer, ..) = account(&config.network, record).expect("every record counts");
        let ce1 = record.exporter.to_string() == "127.0.0.1";
        let row = expected.entry(customer).or_default();
        row.0 += u128::from(record.octets) * if ce1 { 3 } else { 2 };
        row.1 += 1;
    }
    let truth = truth_by_account(&generated);
    for (customer, (halves, flows)) in expected {
        let sum: u128 = truth.iter().filter(|(key, _)| key.0 == customer).map(|(_, sums)| sums[2]).sum();
        // Each of its rows is rounded once, up by at most a half.
        assert!(2 * sum >= halves && 2 * sum <= halves + 2 * flows, "{customer}: {sum} of {halves}/2");
    }
}

#[test]
fn what_cannot_be_generated_is_said() {
    let nothing = |text: &str, options: &Options| {
        generate(&config_of(text), options, |_| Ok(())).expect_err("an error")
    };
    let v5 = options(Protocol::V5, 0);
    assert!(matches!(nothing("", &v5), Error::NoExporter));
    let both = "[[exporter]]\naddress = \"192.0.2.1\"\nobserves = \"both\"\n";
    assert!(matches!(nothing(both, &v5), Error::NoExporter));
    assert!(matches!(nothing(CONFIG, &options(Protocol::V5, 16_384)), Error::SamplingTooLarge));
    let require = "[[exporter]]\naddress = \"192.0.2.1\"\nsampling.require = true\n";
    assert!(matches!(nothing(require, &v5), Error::AnnouncementRequired(_)));
    let whole = "[[exporter]]\nname = \"gw\"\naddress = \"192.0.2.1\"\n[[link]]\nname = \"a\"\ninterfaces = [{ exporter = \"gw\" }]\n";
    assert!(matches!(nothing(whole, &v5), Error::NoFlow));
    let failing = generate(&config(), &v5, |_| Err(io::Error::other("full"))).expect_err("an error");
    assert!(matches!(failing, Error::Io(_)));
}

/// A customer that has all of IPv4 leaves nobody outside.
#[test]
fn a_customer_of_everything() {
    let text = "
[[exporter]]
name = \"ce1\"
address = \"192.0.2.1\"
[[link]]
name = \"a\"
interfaces = [{ exporter = \"ce1\", ifindex = 70000 }, { exporter = \"ce1\", ifindex = 5 }]
[[customer]]
name = \"all\"
prefixes = [\"0.0.0.0/0\", \"::/0\"]
[[customer]]
name = \"as\"
asns = [64500]
";
    let config = config_of(text);
    for protocol in [Protocol::V5, Protocol::V9, Protocol::Ipfix, Protocol::Sflow] {
        let (decoded, generated) = decode(&config, &Options { records: 300, ..options(protocol, 0) });
        for record in &decoded.records {
            let (customer, ..) = account(&config.network, record).expect("every record counts");
            assert!(customer == "all" || customer == "local" || customer == "through", "{customer}");
        }
        assert_eq!(truth_by_account(&generated).values().map(|sums| sums[0]).sum::<u128>(), 300);
    }
}

#[test]
fn datagrams_leave_from_their_exporter() {
    let text = CONFIG.replace("2001:db8::2", "127.0.0.2");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let target = socket.local_addr().expect("bound");
    // Few enough for the socket's buffer.
    let options = Options { records: 200, ..options(Protocol::V9, 0) };
    let generated = to_network(&config_of(&text), &options, target, 1_000_000, &mut |_| {}).expect("sent");
    socket.set_nonblocking(true).expect("a socket");
    let mut sources = BTreeMap::<IpAddr, u64>::new();
    let mut payload = [0; 2048];
    while let Ok((_, source)) = socket.recv_from(&mut payload) {
        *sources.entry(source.ip()).or_default() += 1;
    }
    assert_eq!(sources.len(), 3, "{sources:?}");
    assert_eq!(sources.values().sum::<u64>(), generated.datagrams);
    let text = text.replace("127.0.0.1", "192.0.2.77");
    let error = to_network(&config_of(&text), &options, target, 0, &mut |_| {}).expect_err("not our address");
    assert!(matches!(error, Error::Io(ref inner) if inner.to_string().contains("192.0.2.77")), "{error}");
}
