//! SNMP by others, on both sides: a router that snmpsim simulates and that gives its interfaces other numbers over a
//! reboot, and async-snmp as a client of the agent, beside net-snmp's.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use async_snmp::transport::UdpTransport;
use async_snmp::{Auth, AuthProtocol, Client, Oid, PrivProtocol, UsmConfig, Value};

use crate::live_support::{Site, output, v5_by};
use crate::support::{Running, free_port, until};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The value of an interface's column, by its name and the octets a second that come in by it.
type Column = fn(&str, u32) -> String;

/// A router in snmpsim's own format, that was up for so many hundredths of a second when it began to answer: an
/// interface's number, its name and the octets a second that come in by it.
fn router(uptime: u32, interfaces: &[(u32, &str, u32)]) -> String {
    let mut text = format!("1.3.6.1.2.1.1.3.0|67:numeric|rate=100,initial={uptime},cumulative=1\n");
    let columns: [(&str, Column); 10] = [
        ("2.2.1.2", |name, _| format!("4|port {name}")),
        ("2.2.1.3", |_, _| "2|6".to_owned()),
        ("2.2.1.5", |_, _| "66|4294967295".to_owned()),
        ("31.1.1.1.1", |name, _| format!("4|{name}")),
        ("31.1.1.1.6", |_, rate| format!("70:numeric|rate={rate},initial=1000000,cumulative=1")),
        ("31.1.1.1.7", |_, rate| format!("70:numeric|rate={},initial=1000,cumulative=1", rate / 1000)),
        ("31.1.1.1.10", |_, _| "70|0".to_owned()),
        ("31.1.1.1.11", |_, _| "70|0".to_owned()),
        ("31.1.1.1.15", |_, _| "66|10000".to_owned()),
        ("31.1.1.1.18", |_, _| "4|transit".to_owned()),
    ];
    for (column, value) in columns {
        for (ifindex, name, rate) in interfaces {
            writeln!(text, "1.3.6.1.2.1.{column}.{ifindex}|{}", value(name, *rate)).unwrap();
        }
    }
    text
}

/// snmpsim answers for `router` on this port.
fn snmpsim(program: &Path, site: &Site, port: u16, router: &str) -> Running {
    let (data, cache) = (site.path("router"), site.path("cache"));
    for directory in [&data, &cache] {
        std::fs::create_dir_all(directory).unwrap();
    }
    std::fs::write(data.join("public.snmprec"), router).unwrap();
    let said = |of: &str| output("id", &[of, "-n"]).trim().to_owned();
    let (user, group) = (said("-u"), said("-g"));
    let said = std::fs::File::create(site.path("snmpsim.log")).unwrap();
    let running = Running::start(
        Command::new(program)
            .arg(format!("--data-dir={}", data.display()))
            .arg(format!("--cache-dir={}", cache.display()))
            .arg(format!("--agent-udpv4-endpoint=127.0.0.1:{port}"))
            .args([format!("--process-user={user}"), format!("--process-group={group}")])
            .args(["--force-index-rebuild", "--log-level=error"])
            .stdout(Stdio::null())
            .stderr(said),
    );
    until("snmpsim to answer", || {
        let get = ["-v2c", "-c", "public", "-t", "0.2", "-r", "0", "-On"];
        let agent = format!("127.0.0.1:{port}");
        let asked = Command::new("snmpget").args(get).args([&agent, "1.3.6.1.2.1.1.3.0"]).output().unwrap();
        asked.status.success().then_some(())
    });
    running
}

/// snmpsim comes from PyPI; where `FLUXOSCOPE_TEST_PYTHON` names no environment there is no such router, and net-snmp's
/// agent and our own have to do (`poll.rs`, and the tests of `src/poll`). One that is named has to have it.
#[test]
fn interfaces_that_a_reboot_renumbers_are_followed() {
    let program: Option<PathBuf> = crate::books::python("snmpsim-command-responder");
    let Some(program) = program else { return };
    assert!(program.exists(), "FLUXOSCOPE_TEST_PYTHON is set, and {} is not there", program.display());
    let port = free_port();
    let site = Site::polled(port, "xe-0/0/1");
    let metered = |daemon: &crate::live_support::Daemon, octets: u64| {
        let begun = Instant::now();
        while site.raw_volume().1 != octets {
            assert!(begun.elapsed() < PATIENCE, "{:?}\n{}", site.raw_volume(), daemon.log());
            daemon.flush();
        }
    };
    let before = router(10_000_000, &[(7, "xe-0/0/1", 125_000), (8, "xe-0/0/2", 1000)]);
    let mut simulator = snmpsim(&program, &site, port, &before);
    let daemon = site.start();
    daemon.wait_for("The router has this interface");
    daemon.send("127.0.0.1", &[v5_by(7, 0, 1000), v5_by(8, 1, 20)]);
    metered(&daemon, 1020);

    let listed = |more: &[&str]| site.out(&[&["link", "list", "--format", "csv"], more].concat());
    let head = "link,kind,exporter,by,ifindex,name,alias,remark\n";
    let first = format!("{head}transit,upstream,edge,ifname xe-0/0/1,7,xe-0/0/1,transit,\n");
    assert_eq!(listed(&[]), first);

    // The router starts anew: the number of the link's interface is another one's now.
    assert!(simulator.kill());
    daemon.wait_for("The router does not answer over SNMP");
    let gaps = || daemon.status()["polled"][0]["gaps"].as_u64().unwrap();
    let gaps_before = gaps();
    let after = router(100, &[(7, "xe-0/0/2", 1000), (9, "xe-0/0/1", 125_000)]);
    let mut simulator = snmpsim(&program, &site, port, &after);
    daemon.wait_for("ifindex=9");
    // Of the link's interface nobody knows what crossed it meanwhile. The other one is on no link, and is not read.
    until("the gap to be counted", || (gaps() > gaps_before).then_some(()));
    // The writer puts in force what the name means now before it flushes again.
    daemon.flush();
    daemon.send("127.0.0.1", &[v5_by(9, 2, 300), v5_by(7, 3, 4000)]);
    metered(&daemon, 5320);
    let by_link: Vec<(String, u64)> = site
        .usage("link")
        .iter()
        .map(|row| (row["link"].as_str().unwrap().to_owned(), crate::live_support::number(&row["raw_bytes"])))
        .collect();
    let of = |name: &str| by_link.iter().find(|(link, _)| link == name).map(|(_, octets)| *octets);
    assert_eq!((of("transit"), by_link.iter().map(|(_, octets)| octets).sum::<u64>()), (Some(1300), 5320));
    assert_eq!(listed(&[]), first.replace(",7,", ",9,"));
    assert_eq!(listed(&["--at", "2026-01-01"]), first, "the first reading holds for all time before it");
    let told = site.out(&["link", "interfaces", "--exporter", "edge", "--format", "csv"]);
    // When each was told, and until when it held.
    let told: Vec<(&str, &str, bool)> = told
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<&str> = line.split(',').collect();
            (columns[1], columns[2], columns[7].is_empty())
        })
        .collect();
    // The other interface matters to no link, and is told all the same: a pattern may come to match it.
    let expected = [
        ("7", "xe-0/0/1", false),
        ("8", "xe-0/0/2", false),
        ("7", "xe-0/0/2", true),
        ("9", "xe-0/0/1", true),
    ];
    assert_eq!(told, expected);
    assert!(simulator.kill());
    assert!(daemon.stop().success());
}

/// What async-snmp reads of the whole tree by GETBULK, authenticated and encrypted.
async fn walked(agent: &str) -> Vec<(String, String)> {
    let user = UsmConfig::new("second")
        .auth_priv(
            AuthProtocol::Sha512,
            "the first passphrase",
            PrivProtocol::Aes256Blumenthal,
            "the second passphrase",
        )
        .unwrap();
    let transport = UdpTransport::bind("127.0.0.1:0").await.unwrap();
    let client = Client::builder(agent.parse::<std::net::SocketAddr>().unwrap(), Auth::from(user))
        .build_with(&transport)
        .await
        .unwrap();
    let (mut found, mut last) = (Vec::new(), Oid::from_slice(&[1, 3]));
    loop {
        for bound in client.get_bulk(&[last.clone()], 0, 40).await.unwrap() {
            if matches!(bound.value, Value::EndOfMibView) {
                return found;
            }
            assert!(bound.oid.arcs() > last.arcs(), "{} after {last}", bound.oid);
            last = bound.oid.clone();
            found.push((format!(".{}", bound.oid), format!("{:?}", bound.value)));
        }
    }
}

#[test]
fn async_snmp_sees_the_tree_that_net_snmp_sees() {
    let site = Site::new(
        "[receive]\nlisten = [\"127.0.0.1:0\"]\n[snmp]\nlisten = \"127.0.0.1:0\"\nname = \"flux.example.net\"\n\
         [[exporter]]\nname = \"edge\"\naddress = \"127.0.0.1\"\n[[customer]]\nname = \"campus\"\nprefixes = [\"203.0.113.0/24\"]\n",
    );
    let secrets = site.path("secrets");
    std::fs::write(&secrets, "the first passphrase\nthe second passphrase\n").unwrap();
    let secrets = secrets.to_str().unwrap();
    site.out(&[
        "snmp",
        "user",
        "add",
        "second",
        "--auth",
        "SHA-512",
        "--priv",
        "AES-256",
        "--secrets",
        secrets,
    ]);
    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5_by(7, 0, 1000)]);
    daemon.flush();
    let agent = daemon.status()["snmp"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ours = runtime.block_on(walked(&agent));
    let passphrases = ["-A", "the first passphrase", "-x", "AES-256", "-X", "the second passphrase"];
    let theirs = Command::new("snmpbulkwalk")
        .args(["-v3", "-u", "second", "-l", "authPriv", "-a", "SHA-512"])
        .args(passphrases)
        .args(["-On", &agent, ".1.3"])
        .env("MIBS", "")
        .env("SNMP_PERSISTENT_DIR", site.path("net-snmp"))
        .output()
        .unwrap();
    let theirs = String::from_utf8(theirs.stdout).unwrap();
    let objects = theirs.lines().filter(|line| line.starts_with(".1") && !line.contains("No more variables"));
    let names: Vec<&str> = objects.filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    let own: Vec<&str> = ours.iter().map(|(name, _)| name.as_str()).collect();
    assert!(own.len() > 100, "{ours:?}");
    assert_eq!(own, names);
    let sys_name = ours.iter().find(|(name, _)| name == ".1.3.6.1.2.1.1.5.0").unwrap();
    assert!(sys_name.1.contains("flux.example.net") || sys_name.1.contains("66"), "{sys_name:?}");
    assert!(daemon.stop().success());
}

/// MRTG runs what stands between backticks: nothing of it is written, and the community is not told.
#[test]
fn mrtg_is_given_no_community_that_it_would_run() {
    for (community, host) in
        [("x`touch pwned`y", "192.0.2.1"), ("a:b", "192.0.2.1"), ("public", "`touch pwned`")]
    {
        let site = Site::new(&format!(
            "[receive]\nlisten = [\"127.0.0.1:0\"]\n[snmp]\nlisten = \"127.0.0.1:0\"\ncommunities = [\"{community}\"]\n"
        ));
        let output = site.run(&["mrtg", "--host", host]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
        assert!(said.contains("error: ") && said.contains("MRTG target"), "{said}");
        assert!(!said.contains("touch") && !said.contains("a:b"), "{said}");
    }
}

/// A wildcard is no address to ask an agent at.
#[test]
fn mrtg_wants_a_host_where_the_agent_listens_everywhere() {
    for wildcard in ["0.0.0.0:1161", "[::]:1161"] {
        let site = Site::new(&format!(
            "[receive]\nlisten = [\"127.0.0.1:0\"]\n[snmp]\nlisten = \"{wildcard}\"\ncommunities = [\"see\"]\n"
        ));
        let output = site.run(&["mrtg"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
        assert!(said.contains("--host NAME"), "{said}");
        assert!(site.run(&["mrtg", "--host", "192.0.2.1"]).status.success());
    }
}
