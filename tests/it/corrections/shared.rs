//! Corrections on links of which the totals are shared out: whose shares move besides, and what is refused.

use fluxoscope::ledger::records::NameKind;
use fluxoscope::ledger::records::interfaces::{InterfaceOctets, InterfacePart};
use fluxoscope::ledger::{Ledger, Url};
use fluxoscope::units::{IfIndex, UnixMillis};
use fluxoscope::usage::{BUCKET_SECONDS, BucketStart};

use super::*;

const ALONE: &str = "interfaces = [ { exporter = \"ce1\", ifindex = 12 } ]";
const WITH_OTHER: &str =
    "interfaces = [ { exporter = \"ce1\", ifindex = 12 }, { exporter = \"ce1\", ifindex = 13 } ]";
const OTHER: &str = "[[link]]\nname = \"transit-b\"\nkind = \"upstream\"\n\
                     interfaces = [ { exporter = \"ce1\", ifindex = 13 } ]\n";

/// Interface 13 is of `transit-a`; somebody wrote it down as a link of its own.
fn network(is_right: bool) -> String {
    const WHOLE: &str = "interfaces = [ { exporter = \"ce1\" } ]";
    assert!(WRONG.contains(WHOLE));
    let archive = "[[customer]]\nname = \"archive\"\nprefixes = [\"30.0.0.0/8\"]\ntariff = \"by-volume\"\n";
    let (link, other) = if is_right { (WITH_OTHER, "") } else { (ALONE, OTHER) };
    format!("{}{other}{archive}", WRONG.replace(WHOLE, link))
}

/// 2.50 a GB of links, calibrated, and 10.00 a port.
fn tariff() -> String {
    let mut text = TARIFF.to_owned();
    for (from, to) in [
        (
            "name = \"all\"\nmatch = {}\n",
            "name = \"up\"\nmatch = { link_kind = [\"upstream\"] }\n[[class]]\nname = \"rest\"\nmatch = {}\n",
        ),
        ("class = [\"all\"]", "class = [\"up\"]\ncalibrate = { max_difference = \"0.5\" }"),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

/// As [`v5`], each flow by an interface.
fn by_interface(at_ms: i64, sequence: u32, flows: &[([u8; 4], u32, u16)]) -> Vec<u8> {
    let plain: Vec<([u8; 4], u32)> = flows.iter().map(|(to, packets, _)| (*to, *packets)).collect();
    let mut out = v5(at_ms, sequence, &plain);
    for (n, (.., interface)) in flows.iter().enumerate() {
        let place = 24 + 48 * n + 12;
        out[place..place + 2].copy_from_slice(&interface.to_be_bytes());
        out[place + 2..place + 4].copy_from_slice(&99_u16.to_be_bytes());
    }
    out
}

/// Octets that an interface received in the bucket of that instant.
fn counted(site: &Site, at_ms: i64, (ifindex, octets): (u32, u64)) {
    let mut ledger = Ledger::open_existing(&Url::parse(&site.ledger_url(), &site.state()).unwrap()).unwrap();
    let exporters = ledger.names(NameKind::Exporter).unwrap();
    let exporter = exporters.iter().find(|(_, name)| name == "ce1").unwrap().0;
    let bucket = BucketStart::of(UnixMillis(at_ms));
    let part = InterfacePart {
        bucket,
        from: bucket.start(),
        to: BucketStart(bucket.0 + BUCKET_SECONDS).start(),
        in_octets: octets,
        out_octets: 0,
        in_packets: None,
        out_packets: None,
    };
    ledger.put_interface_octets(&[InterfaceOctets { exporter, ifindex: IfIndex(ifindex), part }]).unwrap();
}

/// In one bucket 3 GB of the campus and 3 GB of the archive by interface 12, which counted as much, and 1 GB of the campus by
/// interface 13, which counted 2 GB or was not counted; billed with the wrong configuration, after all was closed.
fn shared(dialect: Dialect, (period, at): (&str, i64), is_counted: bool) -> Site {
    let site = Site::on(dialect, &network(false));
    std::fs::write(site.path("by-volume.toml"), tariff()).unwrap();
    let flows = [(CAMPUS, 3_000_000, 12), (NOBODY, 3_000_000, 12), (CAMPUS, 1_000_000, 13)];
    metered(&site, &[by_interface(at, 0, &flows)]);
    counted(&site, at, (12, 6_000_000_000));
    if is_counted {
        counted(&site, at, (13, 2_000_000_000));
    }
    site.ok(&["tariff", "activate", "by-volume.toml", "--by", "ann"]);
    site.ok(&["period", "close", "--period", period]);
    final_invoices(&site, period);
    site
}

/// By hand: of interface 12 both are billed their 3 GB, and the campus the 2 GB of interface 13 alone: 5 GB, 12.50 and the port,
/// 22.50 and 20 %: 27.00; the archive 7.50, so 17.50 and 21.00. Right are 4 GB of 7 for the campus of the 8 GB that both
/// interfaces counted, 4 571 428 571 octets: 11.43, so 21.43 and 25.72; and for the archive 3 428 571 429: 8.57, so 18.57 and
/// 22.28, though nothing of its own usage has changed. Before and after, the 8 GB are billed. The museum has only its port.
#[test]
fn who_shares_with_the_corrected_is_rated_again() {
    let (period, at) = last_month();
    for dialect in dialects() {
        let site = shared(dialect, (&period, at), true);
        site.configure(&network(true));
        metered(&site, &[]);
        let output = site.run(&correct(&period));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let done = String::from_utf8(output.stdout).unwrap();
        let gross: Vec<[&str; 2]> = rows(&done).iter().map(|row| [row[2], row[3]]).collect();
        assert_eq!(gross, [["27.00", "25.72"], ["21.00", "22.28"]]);
        assert!(said.contains("shares of `archive` moved with usage of others"), "{said}");
        assert!(!said.contains("`museum`"), "{said}");
        assert_eq!(standing(&site, &period, "archive")["gross"], "22.28");
        assert_eq!(rows(&site.ok(&correct(&period))).len(), 0, "nothing is left");
        audited(&site);
    }
}

/// Nobody counted interface 13, so the link that has it, too, has no total: the flows stand, of which 7 GB were billed before, and
/// are after. The campus has 4 of them, 10.00, so 20.00 and 24.00.
#[test]
fn a_corrected_link_that_was_not_counted_whole_goes_by_flows() {
    let (period, at) = last_month();
    let site = shared(dialects()[0], (&period, at), false);
    site.configure(&network(true));
    metered(&site, &[]);
    site.ok(&correct(&period));
    assert_eq!(standing(&site, &period, "campus")["gross"], "24.00");
    assert_eq!(standing(&site, &period, "archive")["gross"], "21.00");
    audited(&site);
}

/// 0.2 GB of the campus on the shared link came late and are free, since all of the total is charged: what a correction moves
/// there could be of those or of the others. Nothing is written.
#[test]
fn where_late_usage_meets_a_total_nothing_is_corrected() {
    let (period, at) = last_month();
    for dialect in dialects() {
        let site = shared(dialect, (&period, at), true);
        metered(&site, &[by_interface(at, 3, &[(CAMPUS, 200_000, 12)])]);
        site.configure(&network(true));
        metered(&site, &[]);
        let before = (everything(&site), states(&site));
        let refusal = site.run(&correct(&period));
        refused(
            &refusal,
            2,
            "the total of link `transit-a` (in) is shared out, and usage of `campus` came late",
        );
        refused(&refusal, 2, &format!("at {period}-01T12:00:00Z"));
        assert_eq!((everything(&site), states(&site)), before);
        assert_eq!(figure(&audited(&site), "corrections", "corrections"), 0);
    }
}
