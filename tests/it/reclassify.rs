//! What usage would be by another configuration, from the journal: compared with a replay of the same traffic by that
//! configuration, and refused where the journal does not have what the ledger has.

use std::collections::BTreeMap;

use crate::support::{Daemon, Site, rows};

const NETWORK: &str = r#"
[receive]
listen = ["127.0.0.1:0"]
[[exporter]]
name = "ce1"
address = "127.0.1.1"
[[link]]
name = "transit-a"
kind = "upstream"
interfaces = [ { exporter = "ce1", ifindex = 12 } ]
[[customer]]
name = "campus"
prefixes = ["20.0.0.0/8"]
[[customer]]
name = "museum"
prefixes = ["21.0.0.0/8"]
"#;

const TRAFFIC: [&str; 7] = ["generate", "--records", "3000", "--seed", "8", "--sampling", "10"];
const RERATE: [&str; 7] = ["rerate", "--customer", "campus", "--reclassify", "--dry-run", "--format", "csv"];

/// A figure of each customer, in the column of the CSV.
fn figures(csv: &str, column: usize) -> BTreeMap<String, i128> {
    rows(csv).iter().map(|row| (row[0].to_owned(), row[column].parse().unwrap())).collect()
}

#[test]
fn the_journal_tells_whose_usage_would_be_another() {
    let site = Site::new(NETWORK);
    // Of a month that is over; not so long ago that nobody believes the exporter.
    #[expect(clippy::disallowed_methods, reason = "a live daemon goes by the clock")]
    let now = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).date();
    let month = now.first_of_month().yesterday().unwrap().first_of_month();
    let (start, period) = (format!("{month}T12:00:00Z"), format!("{:04}-{:02}", month.year(), month.month()));
    let capture = site.path("same.pcap");
    let capture = capture.to_str().unwrap();
    site.ok(&[&TRAFFIC[..], &["--start", &start, "--out", capture]].concat());
    let daemon = Daemon::start(&site);
    let listening = daemon.listening.to_string();
    site.ok(&[&TRAFFIC[..], &["--start", &start, "--send", &listening, "--rate", "20000"]].concat());
    daemon.flush();
    daemon.stop();
    let before = figures(&site.usage("customer"), 3);

    // Half of one customer's addresses were another's, and the museum left.
    let changed = NETWORK.replace("\"museum\"", "\"institute\"").replace("21.0.0.0/8", "20.128.0.0/9");
    site.configure(&changed);
    let rerate = [&RERATE[..], &["--from", &period]].concat();
    let told = site.ok(&rerate);
    let other = Site::new(&changed);
    other.ok(&["replay", capture]);
    let after = figures(&other.usage("customer"), 3);
    assert_ne!(before["campus"], after["campus"]);
    let of = |figures: &BTreeMap<String, i128>, name: &str| figures.get(name).copied().unwrap_or(0);
    let names: Vec<&String> = before.keys().chain(after.keys()).collect();
    let expected: BTreeMap<String, [i128; 3]> = names
        .into_iter()
        .map(|name| (name.clone(), [of(&before, name), of(&after, name)]))
        .filter(|(_, [kept, read])| kept != read)
        .map(|(name, [kept, read])| (name, [kept, read, read - kept]))
        .collect();
    let found: BTreeMap<String, [i128; 3]> = rows(&told)
        .iter()
        .map(|row| (row[0].to_owned(), [1, 2, 3].map(|column| row[column].parse().unwrap())))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(
        found.values().map(|[_, _, difference]| difference).sum::<i128>(),
        0,
        "nothing is made or lost"
    );
    assert_eq!(figures(&site.usage("customer"), 3), before, "nothing has changed");

    let refused = |said: &str| {
        let output = site.run(&rerate);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && errors.contains(said), "{}: {errors}", output.status);
    };
    // Another sampling rate than that of then, which is no correction.
    let address = "address = \"127.0.1.1\"";
    site.configure(&changed.replace(address, &format!("{address}\nsampling = {{ override = \"1/7\" }}")));
    refused("has other sampling rates than the ledger has");
    site.configure(&changed);
    site.ok(&rerate);
    // What never was in the journal, and a journal that is gone.
    site.ok(&["replay", capture]);
    refused("the journal does not have what the ledger has");
    std::fs::remove_dir_all(site.state().join("journal/0")).unwrap();
    refused("the journals have nothing that the ledger has committed");
}
