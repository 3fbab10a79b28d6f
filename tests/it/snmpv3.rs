//! SNMPv3 on the running daemon, by other people's tools: every pair of algorithms, every level, keys that change while
//! it runs, a clock that goes on over restarts.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::live_support::{Daemon, Site};

const CONFIGURATION: &str = r#"
[receive]
listen = ["127.0.0.1:0"]

[snmp]
listen = "127.0.0.1:0"
name = "flux.example.net"
legacy_authentication = true
legacy_privacy = true

[[snmp.view]]
name = "names"
include = ["1.3.6.1.2.1.1.5"]

[[snmp.user]]
name = "loose"
security = "noAuthNoPriv"

[[snmp.user]]
name = "narrow"
view = "names"
"#;

const NAME: &str = "1.3.6.1.2.1.1.5.0";
const AUTHENTICATION: &str = "the first passphrase";
const PRIVACY: &str = "the second passphrase";

/// Protocols, with the names that net-snmp's tools have for them.
const AUTHENTICATIONS: [&str; 6] = ["MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512"];
const PRIVACIES: [&str; 4] = ["DES", "AES-128", "AES-256", "AES-256-C"];

fn add(site: &Site, name: &str, authentication: &str, privacy: Option<&str>) {
    let file = site.path("secrets");
    fs::write(&file, format!("{AUTHENTICATION}\n{PRIVACY}\n")).unwrap();
    let mut arguments = vec!["snmp", "user", "add", name, "--auth", authentication];
    arguments.extend(privacy.iter().flat_map(|privacy| ["--priv", privacy]));
    arguments.extend(["--secrets", file.to_str().unwrap()]);
    site.out(&arguments);
}

fn peer(daemon: &Daemon) -> String {
    daemon.status()["snmp"].as_str().unwrap().to_owned()
}

/// A net-snmp tool, which keeps what it learns of engines in the site's directory.
fn tool(site: &Site, program: &str, arguments: &[&str]) -> Output {
    let state: PathBuf = site.path("net-snmp");
    fs::create_dir_all(&state).unwrap();
    Command::new(program)
        .args(["-v3", "-r1", "-t5"])
        .args(arguments)
        .env("LANG", "C")
        .env("MIBS", "")
        .env("SNMP_PERSISTENT_DIR", &state)
        .env("SNMPCONFPATH", &state)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed (ops/test installs it): {error}"))
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    // What the tools say of their own files is of no interest.
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("Created directory")).collect();
    lines.join("\n").trim().to_owned()
}

fn secured<'a>(name: &'a str, authentication: &'a str, privacy: Option<&'a str>) -> Vec<&'a str> {
    let mut arguments = vec!["-u", name, "-a", authentication, "-A", AUTHENTICATION];
    match privacy {
        Some(privacy) => arguments.extend(["-l", "authPriv", "-x", privacy, "-X", PRIVACY]),
        None => arguments.extend(["-l", "authNoPriv"]),
    }
    arguments
}

#[test]
fn net_snmp_reads_it_in_every_pair_of_algorithms() {
    let site = Site::new(CONFIGURATION);
    let mut users = Vec::new();
    for authentication in AUTHENTICATIONS {
        for privacy in PRIVACIES.map(Some).into_iter().chain([None]) {
            let name = format!("{authentication}-{}", privacy.unwrap_or("none"));
            add(&site, &name, authentication, privacy);
            users.push((name, authentication, privacy));
        }
    }
    let daemon = site.start();
    let peer = peer(&daemon);
    for (name, authentication, privacy) in &users {
        let mut arguments = secured(name, authentication, *privacy);
        arguments.extend(["-Oqv", &peer, NAME]);
        assert_eq!(said(&tool(&site, "snmpget", &arguments)), "\"flux.example.net\"", "{name}");
    }
    // A walk, and the same by GETBULK, over many messages.
    let walk = |program: &str, name: &str, authentication, privacy| {
        let mut arguments = secured(name, authentication, privacy);
        arguments.extend(["-On", &peer, "1.3.6.1.4.1.32473"]);
        let output = tool(&site, program, &arguments);
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    let all = walk("snmpwalk", "SHA-256-AES-128", "SHA-256", Some("AES-128"));
    assert!(all > 100, "{all}");
    assert_eq!(walk("snmpbulkwalk", "SHA-512-AES-256", "SHA-512", Some("AES-256")), all);
    assert_eq!(walk("snmpbulkwalk", "SHA-384-none", "SHA-384", None), all);
    // No word of any key or passphrase in the log.
    let log = daemon.log();
    assert!(!log.contains("passphrase") && !log.contains("maplesyrup"), "{log}");
    assert!(daemon.stop().success());
}

/// pysnmp comes from PyPI; where `FLUXOSCOPE_TEST_PYTHON` does not name an environment that has it, there is nothing to
/// compare with.
#[test]
fn pysnmp_reads_it_in_every_pair_of_algorithms() {
    let Some(python) = crate::books::python("python") else { return };
    let known = Command::new(&python).args(["-c", "import pysnmp, cryptography"]).output();
    if !known.is_ok_and(|output| output.status.success()) {
        return;
    }
    let site = Site::new(CONFIGURATION);
    let mut users = Vec::new();
    for authentication in AUTHENTICATIONS {
        for privacy in PRIVACIES.map(Some).into_iter().chain([None]) {
            let privacy_name = privacy.unwrap_or("none");
            let name = format!("{authentication}-{privacy_name}");
            add(&site, &name, authentication, privacy);
            users.push(format!("{name}:{authentication}:{privacy_name}"));
        }
    }
    let daemon = site.start();
    let (host, port) =
        peer(&daemon).rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/snmp/pysnmp_get.py");
    let output = Command::new(&python).args([script, &host, &port, NAME]).args(&users).output().unwrap();
    let expected: String = users.iter().map(|user| format!("{user} flux.example.net\n")).collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", said(&output));
    assert!(daemon.stop().success());
}

/// What is wrong, as net-snmp tells people.
#[test]
fn net_snmp_says_what_is_wrong() {
    let site = Site::new(CONFIGURATION);
    add(&site, "flux", "SHA-256", Some("AES-128"));
    add(&site, "signed", "SHA-256", None);
    add(&site, "narrow", "SHA-512", None);
    let daemon = site.start();
    let peer = peer(&daemon);
    let get = |arguments: &[&str], oid: &str| {
        said(&tool(&site, "snmpget", &[arguments, &["-Oqv", &peer, oid]].concat()))
    };
    let check = |arguments: &[&str], expected: &str| {
        let found = get(arguments, NAME);
        assert!(found.contains(expected), "{arguments:?}: {found}");
    };
    let wrong = |key: &'static str, value: &'static str| {
        let mut arguments = secured("flux", "SHA-256", Some("AES-128"));
        let at = arguments.iter().position(|argument| *argument == key).unwrap();
        arguments[at + 1] = value;
        arguments
    };
    check(&wrong("-u", "nobody"), "Unknown user name");
    check(&wrong("-A", "another passphrase"), "Authentication failure");
    check(&wrong("-a", "SHA-512"), "Authentication failure");
    check(&wrong("-X", "another passphrase"), "Decryption error");
    check(&secured("signed", "SHA-256", Some("AES-128")), "Unsupported security level");
    check(&secured("flux", "SHA-256", None), "authorizationError");
    check(&["-u", "flux", "-l", "noAuthNoPriv"], "authorizationError");
    check(&["-u", "loose", "-l", "noAuthNoPriv"], "flux.example.net");
    check(&[&secured("flux", "SHA-256", Some("AES-128"))[..], &["-n", "other"]].concat(), "");
    // Another start and time than the agent's. It says so, but no manager believes a clock that goes back (RFC 3414,
    // 3.2.7.b), so that one hears nothing.
    check(
        &[&secured("flux", "SHA-256", Some("AES-128"))[..], &["-r0", "-t1", "-Z", "7,77"]].concat(),
        "Timeout",
    );
    // A view.
    check(&secured("narrow", "SHA-512", None), "flux.example.net");
    let hidden = get(&secured("narrow", "SHA-512", None), "1.3.6.1.2.1.1.1.0");
    assert!(hidden.contains("No Such Object"), "{hidden}");
    // Communities: none are configured.
    let community =
        Command::new("snmpget").args(["-v2c", "-c", "public", "-r0", "-t1", &peer, NAME]).output();
    assert!(said(&community.unwrap()).contains("Timeout"));
    // And each of these counted.
    let counter = |number: u32| -> u32 {
        let oid = format!("1.3.6.1.6.3.15.1.1.{number}.0");
        get(&secured("flux", "SHA-256", Some("AES-128")), &oid).parse().unwrap()
    };
    for number in 1..=6 {
        assert!(counter(number) > 0, "usmStats {number}");
    }
    assert!(daemon.stop().success());
}

#[test]
fn users_come_and_go_with_a_reload_and_the_engine_stays() {
    let site = Site::new(CONFIGURATION);
    add(&site, "early", "SHA-256", Some("AES-128"));
    let mode = |name: &str| fs::metadata(site.state().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("snmp/users"), mode("snmp/engine"), mode("snmp")), (0o600, 0o600, 0o700));
    let kept = fs::read_to_string(site.state().join("snmp/users")).unwrap();
    assert!(!kept.contains("passphrase"), "{kept}");

    let daemon = site.start();
    let agent = peer(&daemon);
    let reads = |peer: &str, name: &str, oid: &str| {
        let arguments = [&secured(name, "SHA-256", Some("AES-128"))[..], &["-Oqv", peer, oid]].concat();
        said(&tool(&site, "snmpget", &arguments))
    };
    assert!(reads(&agent, "early", NAME).contains("flux.example.net"));
    add(&site, "late", "SHA-256", Some("AES-128"));
    assert!(reads(&agent, "late", NAME).contains("Unknown user name"));
    site.out(&["ctl", "reload"]);
    assert!(reads(&agent, "late", NAME).contains("flux.example.net"));
    // Keys that cannot be read are no reason to take away those that work.
    let keys = site.state().join("snmp/users");
    let good = fs::read(&keys).unwrap();
    fs::write(&keys, [&good[..], b"user broken SHA-256 zz\n"].concat()).unwrap();
    let refused = site.run(&["ctl", "reload"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("keys of SNMP users"), "{}", said(&refused));
    assert!(reads(&agent, "late", NAME).contains("flux.example.net"));
    fs::write(&keys, &good).unwrap();
    site.out(&["snmp", "user", "remove", "early"]);
    daemon.signal("HUP");
    daemon.wait_for("Configuration reloaded.");
    while daemon.count("Configuration reloaded.") < 2 {
        std::thread::yield_now();
    }
    assert!(reads(&agent, "early", NAME).contains("Unknown user name"));
    let listed = site.out(&["snmp", "user", "list", "--format", "csv"]);
    assert_eq!(listed, "name,auth,priv\nlate,SHA-256,AES-128\n");

    let engine = |peer: &str| reads(peer, "late", "1.3.6.1.6.3.10.2.1.1.0");
    let boots = |peer: &str| reads(peer, "late", "1.3.6.1.6.3.10.2.1.2.0");
    let (first, one) = (engine(&agent), boots(&agent));
    assert!(first.len() > 20, "{first}");
    // Killed without a word, and started again: the same engine, started once more.
    daemon.kill();
    let daemon = site.start();
    let agent = peer(&daemon);
    assert_eq!((engine(&agent), one.as_str(), boots(&agent).as_str()), (first, "1", "2"));
    assert!(daemon.stop().success());
}

/// Users that were added while legacy protocols were allowed may not ask when they are not any more; one allows nothing for
/// the other.
#[test]
fn legacy_protocols_are_off_unless_they_are_allowed() {
    let site = Site::new(CONFIGURATION);
    let users = [("md5", "MD5", "AES-128"), ("des", "SHA-256", "DES"), ("sound", "SHA-256", "AES-128")];
    for (name, authentication, privacy) in users {
        add(&site, name, authentication, Some(privacy));
    }
    let neither = CONFIGURATION.replace("legacy_authentication = true\nlegacy_privacy = true\n", "");
    site.configure(&neither);
    let daemon = site.start();
    let agent = peer(&daemon);
    let answered = || {
        users.map(|(name, authentication, privacy)| {
            let arguments =
                [&secured(name, authentication, Some(privacy))[..], &["-Oqv", &agent, NAME]].concat();
            let text = said(&tool(&site, "snmpget", &arguments));
            let is_answered = text.contains("flux.example.net");
            assert!(is_answered || text.contains("Unknown user name"), "{name}: {text}");
            is_answered
        })
    };
    let allow = |line: &str| {
        site.configure(
            &neither
                .replace("name = \"flux.example.net\"\n", &format!("name = \"flux.example.net\"\n{line}\n")),
        );
        site.out(&["ctl", "reload"]);
    };
    assert_eq!(answered(), [false, false, true]);
    let log = daemon.log();
    assert!(log.contains("does not allow legacy authentication"), "{log}");
    assert!(log.contains("does not allow legacy privacy"), "{log}");
    allow("legacy_authentication = true");
    assert_eq!(answered(), [true, false, true]);
    allow("legacy_privacy = true");
    assert_eq!(answered(), [false, true, true]);
    assert!(daemon.stop().success());
}

#[test]
fn the_command_refuses_what_will_not_do() {
    let site = Site::new("");
    let secrets = site.path("secrets");
    fs::write(&secrets, "long enough\n").unwrap();
    let secrets = secrets.to_str().unwrap();
    let refused = |arguments: &[&str]| {
        let output = site.run(&[&["snmp", "user"], arguments, &["--secrets", secrets]].concat());
        assert!(!output.status.success(), "{arguments:?}");
        (output.status.code().unwrap(), said(&output))
    };
    let (code, text) = refused(&["add", "flux", "--auth", "MD5"]);
    assert!(code == 2 && text.contains("legacy_authentication = true"), "{text}");
    let (code, text) = refused(&["add", "flux", "--auth", "SHA-3"]);
    assert!(code == 2 && text.contains("SHA-224, SHA-256, SHA-384, SHA-512"), "{text}");
    let (code, text) = refused(&["add", "flux", "--priv", "DES"]);
    assert!(code == 2 && text.contains("legacy_privacy = true"), "{text}");
    let (code, text) = refused(&["add", "flux", "--priv", "3DES"]);
    assert!(code == 2 && text.contains("known: DES, AES-128"), "{text}");
    let (code, text) = refused(&["add", "flux", "--auth", "SHA-256", "--priv", "AES-128"]);
    assert!(code == 1 && text.contains("no second line"), "{text}");
    let (code, text) = refused(&["add", "two words"]);
    assert!(code == 1 && text.contains("neither blanks"), "{text}");
    assert_eq!(site.run(&["snmp", "user", "remove", "flux"]).status.code(), Some(1));
    // No terminal, no file: nothing to ask.
    let output = site.command(&["snmp", "user", "add", "flux"]).stdin(std::process::Stdio::null()).output();
    assert_eq!(output.unwrap().status.code(), Some(2));
}

/// RFC 3415's tables, and the users without their keys, for whom the view has them.
#[test]
fn users_and_views_are_shown_where_a_view_has_them() {
    let text = CONFIGURATION.replace("legacy_auth", "communities = [\"unheard-of\"]\nlegacy_auth");
    let text = format!(
        "{text}\n[[snmp.view]]\nname = \"security\"\ninclude = [\"1.3.6.1.6.3\"]\nexclude = [\"1.3.6.1.6.3.11\"]\n\
         [[snmp.user]]\nname = \"chief\"\nview = \"security\"\n"
    );
    let site = Site::new(&text);
    add(&site, "chief", "SHA-256", Some("AES-128"));
    add(&site, "narrow", "SHA-512", None);
    let daemon = site.start();
    let peer = peer(&daemon);
    let walk = |user: &[&str], root: &str| {
        said(&tool(&site, "snmpbulkwalk", &[user, &["-On", &peer, root]].concat()))
    };
    let chief = secured("chief", "SHA-256", Some("AES-128"));
    let vacm = walk(&chief, "1.3.6.1.6.3.16");
    // Names in an index are their length and their letters: narrow is 6.110.97.114.114.111.119.
    for line in [
        ".1.3.6.1.6.3.16.1.1.1.1.0 = \"\"",
        ".1.3.6.1.6.3.16.1.2.1.3.3.6.110.97.114.114.111.119 = STRING: \"narrow\"",
        // authNoPriv(2), and the view that it reads.
        ".1.3.6.1.6.3.16.1.4.1.5.6.110.97.114.114.111.119.0.3.2 = STRING: \"names\"",
        // noAuthNoPriv(1) for loose.
        ".1.3.6.1.6.3.16.1.4.1.5.5.108.111.111.115.101.0.3.1 = STRING: \"default\"",
        // names includes 1.3.6.1.2.1.1.5; security excludes 1.3.6.1.6.3.11.
        ".1.3.6.1.6.3.16.1.5.2.1.4.5.110.97.109.101.115.8.1.3.6.1.2.1.1.5 = INTEGER: 1",
        ".1.3.6.1.6.3.16.1.5.2.1.4.8.115.101.99.117.114.105.116.121.7.1.3.6.1.6.3.11 = INTEGER: 2",
    ] {
        assert!(vacm.lines().any(|found| found == line), "{line}\n{vacm}");
    }
    // Communities are secrets: their places are told, not what they are.
    assert!(vacm.contains("STRING: \"community 1\"") && !vacm.contains("unheard-of"), "{vacm}");
    let users = walk(&chief, "1.3.6.1.6.3.15.1.2");
    let is_there = |end: &str| users.lines().any(|line| line.contains(".15.1.2.2.1.") && line.ends_with(end));
    assert!(is_there(" = STRING: \"chief\"") && is_there("OID: .1.3.6.1.6.3.10.1.1.7"), "{users}");
    // Others do not see them, not even that they exist.
    for user in [&secured("narrow", "SHA-512", None)[..], &["-u", "loose", "-l", "noAuthNoPriv"]] {
        for root in ["1.3.6.1.6.3.16", "1.3.6.1.6.3.15.1.2"] {
            assert!(!walk(user, root).contains("INTEGER"), "{root}");
        }
    }
    assert!(daemon.stop().success());
}
