//! The SNMP manager in the daemon, with net-snmp's agent as the router: names of interfaces, flows that wait for them,
//! and the commands about counters and flow tables.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::live_support::{Site, v5_by};
use crate::support::free_port;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// net-snmp's agent; it is killed when dropped.
struct Snmpd(Child);

impl Snmpd {
    fn start(site: &Site, port: u16) -> Self {
        let configuration = site.path("snmpd.conf");
        std::fs::write(&configuration, "rocommunity public\n").unwrap();
        let program = if Path::new("/usr/sbin/snmpd").exists() { "/usr/sbin/snmpd" } else { "snmpd" };
        let child = Command::new(program)
            .args(["-f", "-C", "-Lf", "/dev/null", "-I", "-smux", "-c"])
            .arg(&configuration)
            .arg(format!("udp:127.0.0.1:{port}"))
            .env("SNMP_PERSISTENT_DIR", site.path("snmpd"))
            .spawn()
            .expect("snmpd is needed (ops/test installs it)");
        Self(child)
    }
}

impl Drop for Snmpd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The loopback interface has the number 1 in every network of Linux.
const LOOPBACK: u16 = 1;

#[test]
fn flows_wait_until_it_is_known_what_the_interfaces_are_called() {
    let port = free_port();
    let site = Site::polled(port, "l?");
    let daemon = site.start();
    daemon.wait_for("The router does not answer over SNMP");
    daemon.send("127.0.0.1", &[v5_by(LOOPBACK, 0, 1000)]);
    let begun = Instant::now();
    while daemon.status()["processors"][0]["held"] != 1 {
        assert!(begun.elapsed() < PATIENCE, "{}", daemon.status());
    }
    daemon.flush();
    assert_eq!(site.raw_volume(), (0, 0), "nothing is metered yet, and nothing is lost");

    let listed = site.out(&["link", "list", "--format", "csv"]);
    assert!(listed.ends_with("\ntransit,upstream,edge,ifname l?,,,,waits for the router\n"), "{listed}");

    // The wait is part of the checkpoint: another start waits on.
    daemon.kill();
    let daemon = site.start();
    let snmpd = Snmpd::start(&site, port);
    daemon.wait_for("The router has this interface");
    daemon.send("127.0.0.1", &[v5_by(LOOPBACK, 1, 234)]);
    let begun = Instant::now();
    while site.raw_volume() != (2, 1234) {
        assert!(begun.elapsed() < PATIENCE, "{:?}\n{}", site.raw_volume(), daemon.log());
        daemon.flush();
    }
    let rows = site.usage("customer,link,direction");
    assert_eq!(
        (&rows[0]["customer"], &rows[0]["link"], &rows[0]["direction"]),
        (&"campus".into(), &"transit".into(), &"in".into())
    );
    assert_eq!(rows.len(), 1, "{rows:?}");
    let polled = &daemon.status()["polled"][0];
    assert_eq!((&polled["exporter"], &polled["interfaces"]), (&"edge".into(), &1.into()), "{polled}");
    // The link has its row from the first poll on, long before the first comparison.
    let reconciled = &daemon.status()["reconciled"];
    assert_eq!(reconciled.as_array().map(Vec::len), Some(1), "{reconciled}");
    let row = &reconciled[0];
    assert_eq!((&row["link"], &row["bucket"]), (&"transit".into(), &0.into()), "{row}");
    assert_eq!((&row["in"]["verdict"], &row["out"]["verdict"]), (&0.into(), &0.into()), "{row}");
    // A community is in no log.
    assert!(!daemon.log().contains("public"), "{}", daemon.log());
    assert!(daemon.stop().success());
    drop(snmpd);

    // Another start needs no router: the ledger knows what the names mean.
    let daemon = site.start();
    daemon.send("127.0.0.1", &[v5_by(LOOPBACK, 2, 66)]);
    let begun = Instant::now();
    while site.raw_volume() != (3, 1300) {
        assert!(begun.elapsed() < PATIENCE, "{:?}\n{}", site.raw_volume(), daemon.log());
        daemon.flush();
    }
    assert_eq!(site.usage("link").len(), 1);
    daemon.stop();
    // What was polled for some seconds covers no bucket: nothing is out of tolerance, and nothing is said to agree.
    let rows = site.out(&["reconcile", "--from", "2026-01-01", "--to", "2100-01-01", "--format", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&rows).unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["verdict"] == "no-counters"), "{rows:?}");
}

#[test]
fn what_a_router_printed_about_its_flow_table_is_kept() {
    let site = Site::polled(free_port(), "l?");
    let import = |text: &str| {
        let mut child = site
            .command(&["contention", "import", "edge", "--at", "2026-11-01T00:00:00Z", "--format", "csv"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let both = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(both).unwrap())
    };
    let printed = "Earl in Module 5\nDetailed Netflow CAM (TCAM and ICAM) Utilization\n\
        TCAM Utilization             :   30%\nICAM Utilization             :   59%\n\
        Netflow TCAM count           :   80763\nNetflow ICAM count           :   76\n\
        Netflow Creation Failures    :   19\nNetflow CAM aliases          :   0\n";
    let (code, said) = import(printed);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("edge,5,30,59,80763,76,19,0\n"), "{said}");
    assert_eq!(
        site.out(&["contention", "list", "--format", "csv"]),
        "at,exporter,card,name,utilisation,active_flows,failures\n2026-11-01T00:00:00Z,edge,5,module 5,30,80763,19\n"
    );
    // The same again is known; with another module, that is new; other values, and what cannot be read, are told.
    let listed = site.out(&["contention", "list", "--format", "csv"]);
    let (code, said) = import(printed);
    assert!(code == Some(0) && said.contains("1 module is known already"), "{said}");
    assert_eq!(site.out(&["contention", "list", "--format", "csv"]), listed);
    let both =
        format!("{}{printed}", printed.replace("Module 5", "Module 6").replace("   19\n", "   1,923\n"));
    let (code, said) = import(&both);
    assert!(code == Some(0) && said.contains("1 module is known already"), "{said}");
    let listed = site.out(&["contention", "list", "--format", "csv"]);
    assert!(listed.ends_with(",edge,6,module 6,30,80763,1923\n"), "{listed}");
    let (code, said) = import(&both.replace("   19\n", "   20\n"));
    assert!(code == Some(1) && said.contains("module 5 of `edge`"), "{said}");
    let (code, said) = import(&printed.replace("   19\n", "   99999999999999999999\n"));
    assert!(code == Some(1) && said.contains("line 7: `Netflow Creation Failures"), "{said}");
    assert_eq!(site.out(&["contention", "list", "--format", "csv"]), listed);
    // `aggregate` counts since the router started.
    let (code, said) = import(
        "Earl in Module 5\nAggregate Netflow CAM Contention Information\nNetflow Creation Failures : 3\n",
    );
    assert!(code == Some(1) && said.contains("cannot be added up"), "{said}");
    let (code, said) = import("% Invalid input detected\n");
    assert!(code == Some(1) && said.contains("Earl in Module"), "{said}");
    let audit = site.out(&["audit", "--format", "csv"]);
    assert!(audit.contains("flow_tables"), "{audit}");
}
