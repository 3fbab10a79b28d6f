//! Corrections: what is read then, and what the schema keeps out.

use super::super::records::books::{Actor, EntryKind, digest};
use super::super::records::corrections::*;
use super::*;
use crate::usage::UsageKey;

const ANN: Actor<'_> = Actor { by: "ann", at: 1_800_000_000_000 };

/// So many octets more, with packets and squares as [`row`] has them, and flows.
fn change(key: UsageKey, octets: i128, flows: i128) -> Change {
    let difference = Difference([octets, octets / 100, flows, octets * 2, octets * 3]);
    Change { key, carried: None, difference }
}

fn correction(config: &str, after: u64, changes: Vec<Change>) -> NewCorrection<'_> {
    NewCorrection { from: BucketStart(0), until: BucketStart(900), config, reason: "wrong", after, changes }
}

/// Customer 16 has 1000 octets in bucket 1 and 500 in bucket 2, customer 17 has 300 in bucket 1. And a configuration.
fn metered(place: &Place) -> (Ledger, SourceId, String) {
    let mut ledger = place.open();
    let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
    let usage = [row(1, 16, 1000), row(1, 17, 300), row(2, 16, 500)];
    ledger.commit_flush(&flush(source, 0, 5, &usage)).unwrap();
    let sha256 = digest("a configuration");
    let version = ConfigVersion { sha256: sha256.clone(), text: "{}".to_owned(), valid_from: 0 };
    ledger.put_config_version(&version).unwrap();
    (ledger, source, sha256)
}

fn sums(octets: u64, flows: u64) -> UsageSums {
    UsageSums { flows, ..row(1, 16, octets).sums }
}

fn roots(ledger: &mut Ledger) -> Vec<String> {
    let part = |customer| Part { customer, from: BucketStart(0), until: BucketStart(900) };
    ledger.usage_roots(&[part(16), part(17)], &mut |_| {}).unwrap()
}

#[test]
fn usage_and_its_corrections_are_read_together() {
    on_each(|place| {
        let (mut ledger, _, config) = metered(place);
        let before = roots(&mut ledger);
        ledger.enter_octets(EntryKind::Octets, 0, ANN).unwrap();
        // Of the 1000 octets 400 were somebody else's, and so were all of bucket 2.
        let changes = vec![
            change(key(1, 17), 400, 0),
            change(key(1, 16), -400, 0),
            change(key(2, 16), -500, -1),
            change(key(2, 17), 500, 1),
        ];
        assert_eq!(ledger.correct(&correction(&config, 0, changes), ANN).unwrap(), 1);
        let of = |bucket, customer, sums| UsageRow { key: key(bucket, customer), sums };
        let expected = [of(1, 16, sums(600, 1)), of(1, 17, sums(700, 1)), of(2, 17, sums(500, 1))];
        assert_eq!(all_usage(&mut ledger), expected);
        for (customer, rows) in [(16, &expected[..1]), (17, &expected[1..])] {
            let filter = UsageFilter { customer: Some(CustomerId(customer)), ..UsageFilter::default() };
            assert_eq!(usage_of(&mut ledger, &filter), rows, "{customer}");
        }
        let only = UsageFilter { from: Some(BucketStart(600)), ..UsageFilter::default() };
        assert_eq!(usage_of(&mut ledger, &only), expected[2..]);
        let totals = ledger.usage_totals(None, None).unwrap();
        let totals: Vec<_> =
            totals.iter().map(|total| (total.customer.0, total.octets, total.flows)).collect();
        assert_eq!(totals, [(16, 600, 1), (17, 1200, 2)]);
        assert_eq!(roots(&mut ledger), before, "closed periods keep the hash of what was metered");
        // The books have it by now, in an entry of its own: 900 octets from one to the other, at a rate of 1000.
        assert_eq!(ledger.octets_not_entered(EntryKind::Octets, 0).unwrap(), []);
        let mut last = None;
        let mut count = 0;
        ledger
            .for_each_entry(&mut |entry| {
                (last, count) = (Some(entry), count + 1);
                Ok(())
            })
            .unwrap();
        let entry = last.unwrap().entry;
        let amounts: Vec<i64> = entry.postings.iter().map(|posting| posting.amount).collect();
        assert_eq!((count, amounts), (2, vec![-900_000, -900, 900_000, 900]));
        let (found, wrong) = ledger.corrections().unwrap();
        assert_eq!((found.len(), wrong), (1, vec![]));
        assert_eq!((found[0].changes, found[0].by.as_str(), found[0].reason.as_str()), (4, "ann", "wrong"));
        let whom: Vec<u32> = ledger
            .corrected(BucketStart(0), BucketStart(900))
            .unwrap()
            .iter()
            .map(|one| one.customer)
            .collect();
        assert_eq!(whom, [16, 17]);
        assert_eq!(ledger.corrected(BucketStart(0), BucketStart(300)).unwrap(), []);
    });
}

#[test]
fn late_usage_is_taken_off_where_it_was_carried_to() {
    on_each(|place| {
        let (mut ledger, source, config) = metered(place);
        ledger.close(&[(Some(16), BucketStart(600))], ANN).unwrap();
        ledger.commit_flush(&flush(source, 5, 9, &[row(1, 16, 200)])).unwrap();
        let late = |ledger: &mut Ledger| {
            let mut rows = Vec::new();
            ledger
                .for_each_late_usage(BucketStart(i64::MIN), BucketStart(i64::MAX), &mut |carried, row| {
                    rows.push((carried.0, row.sums.octets));
                })
                .unwrap();
            rows
        };
        assert_eq!(late(&mut ledger), [(600, 200)]);
        let off = |octets: i128, flows: i128| Change {
            carried: Some(BucketStart(600)),
            ..change(key(1, 16), -octets, -flows)
        };
        let part = vec![off(50, 0), change(key(1, 17), 50, 0)];
        ledger.correct(&correction(&config, 0, part), ANN).unwrap();
        assert_eq!(late(&mut ledger), [(600, 150)]);
        let more = vec![off(151, 1), change(key(1, 17), 151, 1)];
        let refused = ledger.correct(&correction(&config, 1, more), ANN).unwrap_err();
        assert!(format!("{refused:?}").contains("takes off no more than there is"), "{refused:?}");
        let rest = vec![
            Change { difference: Difference([-150, -2, -1, -300, -450]), ..off(0, 0) },
            Change { difference: Difference([150, 2, 1, 300, 450]), ..change(key(1, 17), 0, 0) },
        ];
        // 200 octets are 2 packets; 50 of them none.
        ledger.correct(&correction(&config, 1, rest), ANN).unwrap();
        assert_eq!(late(&mut ledger), []);
        let carried = ledger.corrected_late(16, (BucketStart(0), BucketStart(900))).unwrap();
        assert_eq!(carried, [BucketStart(600)]);
        let next = [0, 300, 301].map(|from| ledger.next_corrected(from).unwrap());
        assert_eq!(next, [Some(300), Some(300), None]);
        assert_eq!(ledger.corrections().unwrap().1, Vec::<String>::new());
        let octets: i128 = ledger.usage_totals(None, None).unwrap().iter().map(|total| total.octets).sum();
        assert_eq!(octets, 2000, "what was metered");
    });
}

#[test]
fn a_correction_changes_nothing_that_was_reported_and_is_never_changed() {
    on_each(|place| {
        let (mut ledger, _, config) = metered(place);
        let good = || vec![change(key(1, 16), -400, 0), change(key(1, 17), 400, 0)];
        let unknown = digest("another configuration");
        let elsewhere = UsageKey { exporter: ExporterId(2), ..key(1, 17) };
        for (new, why) in [
            (correction(&config, 0, good()[..1].to_vec()), "what an exporter reported is not corrected"),
            (
                correction(&config, 0, vec![change(key(1, 16), -400, 0), change(elsewhere, 400, 0)]),
                "what an exporter reported is not corrected",
            ),
            (
                correction(&config, 0, vec![change(key(1, 16), -1100, 0), change(key(1, 17), 1100, 0)]),
                "takes off no more than there is",
            ),
            (correction(&unknown, 0, good()), "is made by a configuration version"),
            (
                NewCorrection { until: BucketStart(300), ..correction(&config, 0, good()) },
                "is of the buckets that it says",
            ),
        ] {
            let refused = format!("{:?}", ledger.correct(&new, ANN).unwrap_err());
            assert!(refused.contains(why), "{why}: {refused}");
        }
        assert_eq!(ledger.corrections().unwrap(), (vec![], vec![]), "nothing is left of them");
        assert_eq!(all_usage(&mut ledger).len(), 3);

        ledger.correct(&correction(&config, 0, good()), ANN).unwrap();
        assert!(matches!(ledger.correct(&correction(&config, 0, good()), ANN), Err(Error::Corrected)));
        for statement in [
            "UPDATE correction SET reason = 'right'",
            "DELETE FROM correction",
            "UPDATE correction_row SET octets = 0",
            "DELETE FROM correction_row",
            "INSERT INTO correction_row VALUES (300, 18, 1, 0, 1, 1, 1, 1, 1, 1)",
        ] {
            assert!(sql(&mut ledger, statement).is_err(), "{statement}");
        }
        assert_eq!(ledger.corrections().unwrap().1, Vec::<String>::new());
        // Who takes the guards away is found out.
        let unguarded = if place.is_sqlite() {
            "DROP TRIGGER correction_row_update"
        } else {
            "DROP TRIGGER correction_row_change ON correction_row"
        };
        sql(&mut ledger, unguarded).unwrap();
        sql(&mut ledger, "UPDATE correction_row SET octets = octets - 700 WHERE customer = 16").unwrap();
        let wrong = ledger.corrections().unwrap().1.join("\n");
        for why in [
            "rows of correction 1 have been changed",
            "changes what exporter 1 reported",
            "more than there is",
        ] {
            assert!(wrong.contains(why), "{why}: {wrong}");
        }
    });
}
