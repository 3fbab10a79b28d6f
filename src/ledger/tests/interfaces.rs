//! Interfaces in time and their octets.

use super::super::records::interfaces::{Card, CardFailures, Interface, InterfaceOctets, InterfacePart};
use super::*;
use crate::units::{IfIndex, UnixMillis};
use std::collections::BTreeMap;

fn interface(ifindex: u32, name: &str) -> Interface {
    Interface {
        ifindex: IfIndex(ifindex),
        name: name.to_owned(),
        description: format!("port {name}"),
        alias: "to a\tneighbour".to_owned(),
        speed: 10_000_000_000,
        kind: 6,
    }
}

/// By instant: number, name, presence.
fn told(ledger: &mut Ledger) -> Vec<(i64, u32, String, bool)> {
    let entries = ledger.interfaces().unwrap();
    let told = |entry: &records::interfaces::InterfaceEntry| {
        let interface = &entry.interface;
        (entry.valid_from.0, interface.ifindex.0, interface.name.clone(), entry.present)
    };
    entries.iter().map(told).collect()
}

#[test]
fn an_interface_that_moves_is_followed_and_the_change_stays() {
    on_each(|place| {
        let mut ledger = place.open();
        let row = |at, ifindex, name: &str, present| (at, ifindex, name.to_owned(), present);
        let before = [interface(7, "xe-0/0/1"), interface(8, "xe-0/0/2")];
        assert_eq!(ledger.put_interfaces(3, UnixMillis(1000), true, &before).unwrap().len(), 3);
        // Nothing new, nothing added.
        assert_eq!(ledger.put_interfaces(3, UnixMillis(2000), true, &before).unwrap(), []);
        // After a restart the first has another number, which the second had; the clock was set back meanwhile.
        let after = [interface(8, "xe-0/0/1"), interface(9, "xe-0/0/2")];
        ledger.put_interfaces(3, UnixMillis(900), true, &after).unwrap();
        let first = [row(1000, 0, "", true), row(1000, 7, "xe-0/0/1", true), row(1000, 8, "xe-0/0/2", true)];
        let moved =
            [row(1001, 7, "xe-0/0/1", false), row(1001, 8, "xe-0/0/1", true), row(1001, 9, "xe-0/0/2", true)];
        assert_eq!(told(&mut ledger), [first, moved].concat());
        assert_eq!(ledger.interfaces().unwrap()[1].interface, before[0]);
        // It comes back, and another exporter has nothing to do with it.
        ledger.put_interfaces(3, UnixMillis(5000), true, &before[..1]).unwrap();
        ledger.put_interfaces(4, UnixMillis(10), true, &[]).unwrap();
        assert_eq!(told(&mut ledger).len(), 3 + 3 + 3 + 1);
        for statement in [
            "UPDATE interface SET name = 'x'",
            "DELETE FROM interface",
            "INSERT INTO interface SELECT exporter, ifindex, valid_from - 1, present, name, description, alias, speed, kind \
             FROM interface WHERE exporter = 4",
        ] {
            assert!(sql(&mut ledger, statement).unwrap_err().contains("never changed"), "{statement}");
        }
    });
}

/// A router that has just started shows its interfaces one by one. Those that it does not show yet are there, but not
/// under a number from which their name has moved.
#[test]
fn what_a_part_of_the_interfaces_does_not_show_stays() {
    on_each(|place| {
        let mut ledger = place.open();
        let all = [interface(7, "xe-0/0/1"), interface(8, "xe-0/0/2"), interface(9, "xe-1/0/1")];
        ledger.put_interfaces(3, UnixMillis(1000), true, &all).unwrap();
        let here = |ledger: &mut Ledger| {
            let mut here = BTreeMap::new();
            for (_, ifindex, name, present) in told(ledger) {
                here.insert(ifindex, present.then_some(name));
            }
            let here: Vec<_> = here.into_iter().filter_map(|(n, name)| Some((n, name?))).skip(1).collect();
            here
        };
        let named =
            |all: &[(u32, &str)]| all.iter().map(|(n, name)| (*n, (*name).to_owned())).collect::<Vec<_>>();
        ledger.put_interfaces(3, UnixMillis(2000), false, &[interface(8, "xe-0/0/1")]).unwrap();
        assert_eq!(here(&mut ledger), named(&[(8, "xe-0/0/1"), (9, "xe-1/0/1")]));
        let more = [interface(8, "xe-0/0/1"), interface(10, "xe-0/0/2")];
        ledger.put_interfaces(3, UnixMillis(3000), false, &more).unwrap();
        assert_eq!(here(&mut ledger), named(&[(8, "xe-0/0/1"), (9, "xe-1/0/1"), (10, "xe-0/0/2")]));
        ledger.put_interfaces(3, UnixMillis(4000), true, &more).unwrap();
        assert_eq!(here(&mut ledger), named(&[(8, "xe-0/0/1"), (10, "xe-0/0/2")]));
    });
}

/// Whether all interfaces show is told when it changes, and by each start anew where they do not.
#[test]
fn from_when_on_not_all_interfaces_show_is_kept() {
    on_each(|place| {
        let mut ledger = place.open();
        let tell = |ledger: &mut Ledger, at, all| ledger.put_all_shown(3, UnixMillis(at), all).unwrap();
        assert!(!tell(&mut ledger, 10, true), "nothing else was known");
        assert_eq!(told(&mut ledger), []);
        ledger.put_interfaces(3, UnixMillis(1000), true, &[interface(7, "xe-0/0/1")]).unwrap();
        assert!(!tell(&mut ledger, 1500, true));
        assert!(tell(&mut ledger, 2000, false));
        assert!(!tell(&mut ledger, 2000, false));
        ledger.put_interfaces(3, UnixMillis(2000), false, &[interface(7, "xe-0/0/2")]).unwrap();
        assert!(!tell(&mut ledger, 2000, false), "of the same start");
        assert!(tell(&mut ledger, 3000, false), "of another one");
        // The clock was set back.
        assert!(tell(&mut ledger, 500, true));
        let of_all: Vec<_> = told(&mut ledger).into_iter().filter(|row| row.1 == 0).collect();
        let row = |at, present| (at, 0, String::new(), present);
        assert_eq!(of_all, [row(1000, true), row(2000, false), row(3000, false), row(3001, true)]);
    });
}

fn part(bucket: i64, from: i64, to: i64, octets: u64) -> InterfaceOctets {
    let part = InterfacePart {
        bucket: BucketStart(bucket),
        from: UnixMillis(from),
        to: UnixMillis(to),
        in_octets: octets,
        out_octets: 2 * octets,
        in_packets: Some(octets / 100),
        out_packets: None,
    };
    InterfaceOctets { exporter: 1, ifindex: IfIndex(12), part }
}

#[test]
fn what_crossed_an_interface_is_kept_once() {
    on_each(|place| {
        let mut ledger = place.open();
        let rows = [
            part(300, 300_000, 360_000, 7),
            part(300, 420_000, 600_000, 1 << 61),
            part(600, 600_000, 900_000, 0),
        ];
        ledger.put_interface_octets(&rows).unwrap();
        assert_eq!(ledger.interface_octets(BucketStart(300), BucketStart(900)).unwrap(), rows);
        assert_eq!(ledger.interface_octets(BucketStart(600), BucketStart(900)).unwrap(), rows[2..]);
        // The same again, what overlaps, and what would leave its bucket: all or nothing.
        for wrong in [rows[0], part(300, 359_999, 360_001, 1), part(300, 590_000, 600_001, 1)] {
            let good = part(900, 900_000, 900_001, 1);
            assert!(ledger.put_interface_octets(&[good, wrong]).is_err(), "{wrong:?}");
        }
        ledger.put_interface_octets(&[part(300, 360_000, 420_000, 9)]).unwrap();
        assert_eq!(ledger.interface_octets(BucketStart(0), BucketStart(9000)).unwrap().len(), 4);
        for statement in [
            "UPDATE interface_octets SET in_octets = 0",
            "DELETE FROM interface_octets",
            "UPDATE interface_octets_seal SET bucket = 0",
            "DELETE FROM interface_octets_seal",
        ] {
            assert!(sql(&mut ledger, statement).unwrap_err().contains("never changed"), "{statement}");
        }
    });
}

/// As long as anybody's usage of a bucket can change, so can what was counted in it; all or nothing is kept.
#[test]
fn a_bucket_that_is_closed_for_everybody_takes_no_more_counters() {
    on_each(|place| {
        let mut ledger = place.open();
        let ann = records::books::Actor { by: "ann", at: 1_800_000_000_000 };
        let names = ledger.intern(NameKind::Customer, &["campus", "town"]).unwrap();
        let (campus, town) = (names[0], names[1]);
        ledger.put_interface_octets(&[part(300, 300_000, 360_000, 7)]).unwrap();
        ledger.close(&[(Some(campus), BucketStart(900))], ann).unwrap();
        ledger.put_interface_octets(&[part(300, 360_000, 420_000, 7)]).unwrap();
        ledger.close(&[(None, BucketStart(900)), (Some(town), BucketStart(600))], ann).unwrap();
        let late = [part(600, 600_000, 660_000, 7), part(300, 420_000, 480_000, 7)];
        let refused = ledger.put_interface_octets(&late).unwrap_err();
        assert!(
            matches!(&refused, Error::CountersClosed { bucket } if bucket == "1970-01-01T00:05:00Z"),
            "{refused}"
        );
        assert!(!refused.is_transient(), "it is not tried again");
        ledger.put_interface_octets(&late[..1]).unwrap();
        assert_eq!(ledger.interface_octets(BucketStart(0), BucketStart(9000)).unwrap().len(), 3);
    });
}

/// By hand: two buckets of one exporter and one of another, on three days. Whoever takes the guards away is noticed, and where.
#[test]
fn what_interfaces_counted_is_sealed() {
    fn counted(ledger: &mut Ledger) -> (u64, Vec<(i64, u32)>) {
        let mut wrong = Vec::new();
        let all = ledger.counted(&mut |bucket, exporter| wrong.push((bucket.0, exporter))).unwrap();
        (all, wrong)
    }
    on_each(|place| {
        let mut ledger = place.open();
        let day = 86_400;
        let mut later = part(2 * day, 2 * day * 1000, 2 * day * 1000 + 1, 5);
        later.exporter = 2;
        ledger.put_interface_octets(&[part(300, 300_000, 360_000, 7), later]).unwrap();
        ledger.put_interface_octets(&[part(day, day * 1000, day * 1000 + 1, 5)]).unwrap();
        // More of a bucket is no change of what it had.
        ledger.put_interface_octets(&[part(300, 360_000, 420_000, 9)]).unwrap();
        assert_eq!(counted(&mut ledger), (3, vec![]));
        for trigger in ["interface_octets_update", "interface_octets_delete", "interface_octets_change"] {
            let on = if place.is_sqlite() { "" } else { " ON interface_octets" };
            sql(&mut ledger, &format!("DROP TRIGGER IF EXISTS {trigger}{on}")).unwrap();
        }
        sql(&mut ledger, "UPDATE interface_octets SET out_octets = out_octets * 2 WHERE bucket = 300")
            .unwrap();
        assert_eq!(counted(&mut ledger), (3, vec![(300, 1)]));
        sql(&mut ledger, "UPDATE interface_octets SET in_packets = NULL WHERE bucket = 86400").unwrap();
        sql(&mut ledger, "DELETE FROM interface_octets WHERE exporter = 2").unwrap();
        assert_eq!(counted(&mut ledger), (2, vec![(300, 1), (86_400, 1), (172_800, 2)]));
    });
}

#[test]
fn failures_of_a_router_s_tables_are_kept() {
    on_each(|place| {
        let mut ledger = place.open();
        let state = Card { name: "module 3".to_owned(), utilisation: Some(99), ..Card::default() };
        let row = CardFailures { exporter: 1, card: 3, at: UnixMillis(5), state, failures: 17 };
        ledger.put_card_failures(core::slice::from_ref(&row)).unwrap();
        assert_eq!(ledger.card_failures(UnixMillis(0), UnixMillis(6)).unwrap(), [row]);
        assert_eq!(ledger.card_failures(UnixMillis(6), UnixMillis(9)).unwrap(), []);
        assert!(sql(&mut ledger, "DELETE FROM card_failures").unwrap_err().contains("never changed"));
    });
}
