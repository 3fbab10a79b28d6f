//! The books: what goes in, what the schema keeps out, and what a closed period does to usage.

use super::super::records::books::*;
use super::*;

const ANN: Actor<'_> = Actor { by: "ann", at: 1_800_000_000_000 };
/// 1970-01-02T00:00Z, in seconds.
const DAY: i64 = 86_400;

fn leg(kind: AccountKind, name: &str, commodity: &str, amount: i64) -> Posting {
    Posting { account: Account::new(kind, name), commodity: commodity.to_owned(), amount }
}

fn invoice(number: &str, customer: &str, state: &str) -> StoredInvoice {
    StoredInvoice {
        number: number.to_owned(),
        period: "2026-07".to_owned(),
        customer: customer.to_owned(),
        state: state.to_owned(),
        currency: "EUR".to_owned(),
        gross_minor: 12_100,
        document: format!("{{\"number\":\"{number}\"}}"),
        sha256: digest(number),
    }
}

/// 100.00 of charges and 21.00 of tax.
fn sale(customer: &str) -> Vec<Posting> {
    vec![
        leg(AccountKind::Receivable, customer, "EUR", 12_100),
        leg(AccountKind::Income, "port", "EUR", -10_000),
        leg(AccountKind::Tax, "S 21", "EUR", -2_100),
    ]
}

fn made(_: &Step<'_>, source: &StoredInvoice, number: &str) -> Result<Ready, String> {
    Ok(Ready {
        invoice: invoice(number, &source.customer, "final"),
        day: "2026-07-31".to_owned(),
        postings: sale(&source.customer),
    })
}

/// Two who issue at once each look at the last date before; the transaction does, too.
#[test]
fn a_greater_number_never_has_an_earlier_date() {
    on_each(|place| {
        let mut ledger = place.open();
        let mut of = |customer: &str, day: &'static str| {
            let draft = invoice(&format!("DRAFT-{customer}"), customer, "draft");
            ledger.put_invoice(&draft).unwrap();
            let mut make = |step: &Step<'_>, source: &StoredInvoice, number: &str| {
                Ok(Ready { day: day.to_owned(), ..made(step, source, number)? })
            };
            ledger.issue("R-", &[Step::Final(&draft)], ANN, &mut make).map(|issued| issued[0].number.clone())
        };
        assert_eq!(of("a", "2026-08-02").unwrap(), "R-000001");
        let error = of("b", "2026-08-01").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the last of the series, R-000001, is of 2026-08-02; no later number is of 2026-08-01"
        );
        assert_eq!(of("b", "2026-08-02").unwrap(), "R-000002");
    });
}

/// A final invoice of `customer`; its number.
fn finalized(ledger: &mut Ledger, customer: &str) -> String {
    let draft = invoice(&format!("DRAFT-{customer}"), customer, "draft");
    ledger.put_invoice(&draft).unwrap();
    ledger.issue("R-", &[Step::Final(&draft)], ANN, &mut made).unwrap()[0].number.clone()
}

fn entries(ledger: &mut Ledger) -> Vec<Entry> {
    let mut all = Vec::new();
    ledger
        .for_each_entry(&mut |entry| {
            all.push(entry);
            Ok(())
        })
        .unwrap();
    all
}

/// What the books have on an account.
fn balance(ledger: &mut Ledger, kind: AccountKind, name: &str, commodity: &str) -> i128 {
    let account = Account::new(kind, name);
    let legs = entries(ledger).into_iter().flat_map(|entry| entry.entry.postings);
    legs.filter(|p| p.account == account && p.commodity == commodity).map(|p| i128::from(p.amount)).sum()
}

/// A ledger with names for what [`row`] is about: customer 16 is `campus`, 17 `town`, exporter 1 `ce1`.
fn named(place: &Place) -> (Ledger, SourceId) {
    let mut ledger = place.open();
    assert_eq!(ledger.intern(NameKind::Customer, &["campus", "town"]).unwrap(), [16, 17]);
    assert_eq!(ledger.intern(NameKind::Exporter, &["ce1"]).unwrap(), [1]);
    let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
    (ledger, source)
}

/// The row's octets were counted at 1/1000.
#[test]
fn octets_of_a_day_are_entered_once_and_conserved() {
    on_each(|place| {
        let (mut ledger, source) = named(place);
        // Bucket 288 is the first of the second day.
        let usage = [row(0, 16, 500), row(287, 3, 7000), row(288, 16, 100), row(288, 17, 200)];
        ledger.commit_flush(&flush(source, 0, 10, &usage)).unwrap();
        assert_eq!(ledger.enter_octets(EntryKind::Octets, 0, ANN).unwrap(), 1);
        assert_eq!(ledger.enter_octets(EntryKind::Octets, 0, ANN).unwrap(), 0, "nothing came meanwhile");
        assert_eq!(ledger.enter_octets(EntryKind::Octets, 5 * DAY, ANN).unwrap(), 0, "no usage");
        let all = entries(&mut ledger);
        let [first] = &all[..] else { panic!("{all:?}") };
        assert_eq!((first.seq, first.prev.as_str()), (1, GENESIS));
        assert_eq!((first.entry.day.as_str(), first.entry.reference.as_str()), ("1970-01-01", "ce1"));
        assert_eq!(
            first.entry.postings,
            [
                leg(AccountKind::Reserved, "local", OCTETS, 7_000_000),
                leg(AccountKind::Reserved, "local", RAW_OCTETS, 7000),
                leg(AccountKind::Customer, "campus", OCTETS, 500_000),
                leg(AccountKind::Customer, "campus", RAW_OCTETS, 500),
                leg(AccountKind::Exporter, "ce1", OCTETS, -7_500_000),
                leg(AccountKind::Exporter, "ce1", RAW_OCTETS, -7500),
            ]
        );
        // More of the same day: the difference, in an entry of its own.
        ledger.commit_flush(&flush(source, 10, 20, &[row(0, 16, 1)])).unwrap();
        assert_eq!(ledger.enter_octets(EntryKind::Octets, 0, ANN).unwrap(), 1);
        assert_eq!(ledger.enter_octets(EntryKind::Octets, DAY, ANN).unwrap(), 1);
        assert_eq!(balance(&mut ledger, AccountKind::Customer, "campus", OCTETS), 601_000);
        assert_eq!(balance(&mut ledger, AccountKind::Customer, "town", RAW_OCTETS), 200);
        assert_eq!(balance(&mut ledger, AccountKind::Exporter, "ce1", RAW_OCTETS), -7801);
        let metered: u64 = ledger.sources().unwrap().iter().map(|s| s.totals.metered_octets).sum();
        assert_eq!(metered, 7801, "what the flushes said");
        let keys: Vec<String> = entries(&mut ledger).into_iter().map(|entry| entry.entry.key).collect();
        assert_eq!(keys, ["octets/1970-01-01/ce1/1", "octets/1970-01-01/ce1/2", "octets/1970-01-02/ce1/1"]);
    });
}

/// What an exporter that lies can claim has room: in several postings, and their sum does not overflow.
#[test]
fn octets_beyond_64_bits_are_entered() {
    on_each(|place| {
        let (mut ledger, source) = named(place);
        let most = (1 << 62) - 1;
        ledger.commit_flush(&flush(source, 0, 1, &[row(0, 16, most)])).unwrap();
        assert_eq!(ledger.enter_octets(EntryKind::Octets, 0, ANN).unwrap(), 1);
        let scaled = i128::from(most) * 1000;
        assert_eq!(balance(&mut ledger, AccountKind::Customer, "campus", OCTETS), scaled);
        assert_eq!(balance(&mut ledger, AccountKind::Exporter, "ce1", OCTETS), -scaled);
        assert_eq!(ledger.enter_octets(EntryKind::Octets, 0, ANN).unwrap(), 0);
    });
}

/// Worked out apart from the program: `printf ... | sha256sum` over the text that the documentation of the hash shows.
#[test]
fn the_hash_is_what_it_says() {
    let entry = NewEntry {
        kind: EntryKind::Octets,
        key: "k".into(),
        day: "2026-07-31".into(),
        reference: "a\tb".into(),
        digest: String::new(),
        at: 5,
        by: "ann".into(),
        postings: vec![leg(AccountKind::Customer, "x\\", "EUR", 1), leg(AccountKind::Tax, "y", "EUR", -1)],
    };
    assert_eq!(entry.hash(1, GENESIS), "e6c177396fc5bbf20a4fd1d6d641e0a49df8648e2ceca96f658309a044c1b788");
}

#[test]
fn invoices_are_numbered_posted_credited_and_void() {
    on_each(|place| {
        let mut ledger = place.open();
        assert_eq!(finalized(&mut ledger, "a"), "R-000001");
        assert_eq!(finalized(&mut ledger, "b"), "R-000002");
        assert_eq!(ledger.invoice("DRAFT-a").unwrap(), None, "the draft became the invoice");
        assert_eq!(ledger.invoice("R-000001").unwrap().unwrap().state, "final");
        assert_eq!(balance(&mut ledger, AccountKind::Receivable, "a", "EUR"), 12_100);

        // A draft that is not there (any more) is not issued, and takes no number.
        let stale = invoice("DRAFT-a", "a", "draft");
        let error = ledger.issue("R-", &[Step::Final(&stale)], ANN, &mut made).unwrap_err();
        assert!(matches!(error, Error::DraftChanged(_)), "{error}");
        // A second invoice of the same period is refused, also one that a program would make.
        let again = invoice("DRAFT-a2", "a", "draft");
        ledger.put_invoice(&again).unwrap();
        let error = ledger.issue("R-", &[Step::Final(&again)], ANN, &mut made).unwrap_err();
        assert!(format!("{error:?}").contains("has a final invoice"), "{error:?}");

        // Credited, and another one instead: one step.
        let steps = [Step::Credit("R-000001"), Step::Instead(&again, "R-000001")];
        let issued = ledger.issue("R-", &steps, ANN, &mut made).unwrap();
        assert_eq!((issued[0].number.as_str(), issued[0].corrects.as_str()), ("R-000003", "R-000001"));
        assert_eq!((issued[1].number.as_str(), issued[1].is_credit), ("R-000004", false));
        assert_eq!(ledger.invoice("R-000001").unwrap().unwrap().state, "credited");
        assert_eq!(balance(&mut ledger, AccountKind::Receivable, "a", "EUR"), 12_100, "only the new one");
        for number in ["R-000001", "R-000003"] {
            let error = ledger.issue("R-", &[Step::Credit(number)], ANN, &mut made).unwrap_err();
            assert!(matches!(error, Error::NotFinal { .. }), "{number}: {error}");
        }

        // Void, and its number is gone for ever.
        ledger.void("R-000002", ANN).unwrap();
        assert_eq!(ledger.invoice("R-000002").unwrap().unwrap().state, "void");
        assert_eq!(balance(&mut ledger, AccountKind::Receivable, "b", "EUR"), 0);
        assert!(matches!(ledger.void("R-000002", ANN), Err(Error::NotFinal { .. })));
        assert_eq!(finalized(&mut ledger, "b"), "R-000005");
        ledger.deliver(&["R-000005", "R-000005", "DRAFT-a2"], ANN).unwrap();
        assert!(matches!(ledger.void("R-000005", ANN), Err(Error::Delivered(_))));
        assert!(matches!(ledger.void("R-999999", ANN), Err(Error::NoInvoice(_))));

        let issues = ledger.issues().unwrap();
        assert!(issues.iter().zip(1..).all(|(issue, place)| issue.place == place), "{issues:?}");
        let all = entries(&mut ledger);
        let mut prev = GENESIS.to_owned();
        for entry in &all {
            assert_eq!((&entry.prev, &entry.hash), (&prev, &entry.entry.hash(entry.seq, &prev)));
            prev.clone_from(&entry.hash);
        }
    });
}

#[test]
fn one_that_cannot_be_made_leaves_nothing_of_those_before_it() {
    on_each(|place| {
        let mut ledger = place.open();
        let drafts = ["a", "b"].map(|customer| invoice(&format!("DRAFT-{customer}"), customer, "draft"));
        drafts.iter().for_each(|draft| ledger.put_invoice(draft).unwrap());
        let steps = [Step::Final(&drafts[0]), Step::Final(&drafts[1])];
        let refused = ledger.issue("R-", &steps, ANN, &mut |step, source, number| {
            if source.customer == "b" { Err("no".to_owned()) } else { made(step, source, number) }
        });
        assert!(matches!(refused, Err(Error::Document { .. })));
        // Nor where it does not balance.
        let unbalanced = ledger.issue("R-", &steps, ANN, &mut |step, source, number| {
            let mut ready = made(step, source, number)?;
            if source.customer == "b" {
                ready.postings[0].amount += 1;
            }
            Ok(ready)
        });
        assert!(format!("{:?}", unbalanced.unwrap_err()).contains("balance"));
        assert_eq!(entries(&mut ledger), []);
        assert_eq!(ledger.issues().unwrap(), []);
        assert_eq!(ledger.invoices(None, None).unwrap(), drafts);
    });
}

#[test]
fn two_who_finalize_at_once_share_the_numbers() {
    on_each(|place| {
        let mut ledger = place.open();
        let drafts: Vec<StoredInvoice> =
            (0..20).map(|n| invoice(&format!("DRAFT-{n}"), &n.to_string(), "draft")).collect();
        drafts.iter().for_each(|draft| ledger.put_invoice(draft).unwrap());
        let won: Vec<usize> = std::thread::scope(|scope| {
            let racers = [(); 2].map(|()| {
                scope.spawn(|| {
                    let mut ledger = place.open();
                    let issue = |draft| loop {
                        match ledger.issue("R-", &[Step::Final(draft)], ANN, &mut made) {
                            Ok(_) => return true,
                            Err(Error::DraftChanged(_)) => return false,
                            Err(error) => assert!(error.is_transient(), "{error:?}"),
                        }
                    };
                    drafts.iter().map(issue).filter(|won| *won).count()
                })
            });
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(won.iter().sum::<usize>(), drafts.len(), "each once: {won:?}");
        assert_eq!(ledger.issues().unwrap().len(), drafts.len());
        assert_eq!(entries(&mut ledger).len(), drafts.len());
    });
}

#[test]
fn closed_buckets_take_no_more_and_what_comes_late_is_kept_beside_them() {
    on_each(|place| {
        let (mut ledger, source) = named(place);
        ledger.commit_flush(&flush(source, 0, 1, &[row(1, 3, 9), row(1, 16, 100), row(9, 17, 5)])).unwrap();
        // Campus up to bucket 2, everybody else up to bucket 9.
        let bucket = |n: i64| BucketStart(n * 300);
        ledger.close(&[(None, bucket(9)), (Some(16), bucket(2))], ANN).unwrap();
        let before = all_usage(&mut ledger);
        // Late: campus in 1, local in 1 and 8. In time: campus in 2, town in 9.
        let more = [row(1, 3, 1), row(1, 16, 10), row(2, 16, 20), row(8, 3, 2), row(9, 17, 30)];
        ledger.commit_flush(&flush(source, 1, 2, &more)).unwrap();
        ledger.commit_flush(&flush(source, 2, 3, &[row(1, 16, 7)])).unwrap();
        let usage = all_usage(&mut ledger);
        assert_eq!(usage.len(), before.len() + 1, "a row of campus in bucket 2");
        assert_eq!(usage[0].sums.octets, 9, "local in bucket 1 as before");
        assert_eq!(usage[1].sums.octets, 100, "campus in bucket 1 as before");
        let late = |ledger: &mut Ledger| {
            let mut late = Vec::new();
            ledger
                .for_each_late_usage(bucket(0), bucket(100), &mut |carried, row| {
                    late.push((carried.0 / 300, row.key.bucket.0 / 300, row.key.customer.0, row.sums.octets));
                })
                .unwrap();
            late
        };
        assert_eq!(late(&mut ledger), [(2, 1, 16, 17), (9, 1, 3, 1), (9, 8, 3, 2)]);
        // The next period is closed: what was carried into this one is closed with it.
        ledger.close(&[(Some(16), bucket(4)), (None, bucket(5))], ANN).unwrap();
        assert_eq!(ledger.closed().unwrap().until(16), Some(bucket(4)));
        assert_eq!(ledger.closed().unwrap().until(3), Some(bucket(9)), "not back");
        ledger.commit_flush(&flush(source, 3, 4, &[row(1, 16, 1000)])).unwrap();
        assert_eq!(late(&mut ledger), [(2, 1, 16, 17), (4, 1, 16, 1000), (9, 1, 3, 1), (9, 8, 3, 2)]);
        // Nothing is lost: usage in time and late is what the flushes said.
        let kept: u64 = all_usage(&mut ledger).iter().map(|row| row.sums.octets).sum::<u64>()
            + late(&mut ledger).iter().map(|row| row.3).sum::<u64>();
        assert_eq!(kept, ledger.sources().unwrap()[0].totals.metered_octets);
        // Late octets are entered under their own day, apart from the others.
        assert_eq!(ledger.enter_octets(EntryKind::Late, 0, ANN).unwrap(), 1);
        assert_eq!(balance(&mut ledger, AccountKind::Customer, "campus", RAW_OCTETS), 1017);
    });
}

#[test]
fn a_period_is_sealed_once_and_after_it_was_closed() {
    on_each(|place| {
        let mut ledger = place.open();
        let closure = |customer: u32, until: i64| Closure {
            customer,
            period: "2026-07".into(),
            from: BucketStart(0),
            until: BucketStart(until),
            tariff: "transit".into(),
            tariff_version: 2,
            root: digest("usage"),
        };
        let open = ledger.seal("2026-07", "2026-07-31", &[closure(16, 600)], ANN).unwrap_err();
        assert!(format!("{open:?}").contains("sealed after it was closed"), "{open:?}");
        ledger.close(&[(Some(16), BucketStart(600)), (Some(17), BucketStart(600))], ANN).unwrap();
        assert_eq!(ledger.seal("2026-07", "2026-07-31", &[closure(16, 600)], ANN).unwrap(), 1);
        let both = [closure(17, 600), closure(16, 600)];
        assert_eq!(ledger.seal("2026-07", "2026-07-31", &both, ANN).unwrap(), 1, "only the other one");
        assert_eq!(ledger.seal("2026-07", "2026-07-31", &both, ANN).unwrap(), 0);
        assert_eq!(ledger.closures(Some("2026-07")).unwrap(), [(1, closure(16, 600)), (2, closure(17, 600))]);
        assert_eq!(ledger.closures(Some("2026-08")).unwrap(), []);
        let all = entries(&mut ledger);
        // What was decided and witnessed is covered, too: two bounds, and the names of an empty ledger.
        let anchor = ledger.anchors().unwrap().remove(1);
        assert_eq!((anchor.entry, anchor.gone.len()), (2, 0));
        assert!(anchor.line.starts_with("witnesses\t5\t") && anchor.line.contains("\ndecisions\t2\t"));
        assert_eq!(all[1].entry.digest, digest(&(closure(17, 600).line() + &anchor.line)));
        assert_eq!(all[1].entry.key, "close/2026-07/2");
    });
}

/// Flushes, closings and entries in any sequence: what was flushed is in time or late, closed rows stay as they were, and
/// the books have what was flushed of each customer.
#[test]
fn any_sequence_of_flushes_and_closings_conserves_octets() {
    on_each(|place| {
        for seed in 1..=3_u64 {
            let (mut ledger, _) = named(place);
            let source = ledger.source(SourceKind::Capture, &format!("of {seed}")).unwrap().id;
            let mut state = seed;
            // A linear congruential generator (Knuth's).
            let mut below = |n: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % n
            };
            let mut position = 0;
            for _ in 0..30 {
                match below(4) {
                    0 => {
                        let bound = BucketStart(i64::try_from(below(600)).unwrap() * 300);
                        let customer =
                            [None, Some(16), Some(17), Some(3)][usize::try_from(below(4)).unwrap()];
                        ledger.close(&[(customer, bound)], ANN).unwrap();
                    }
                    1 => {
                        let day = i64::try_from(below(3)).unwrap() * DAY;
                        for kind in [EntryKind::Octets, EntryKind::Late] {
                            ledger.enter_octets(kind, day, ANN).unwrap();
                        }
                    }
                    _ => {
                        let mut usage: Vec<UsageRow> = (0..=below(20))
                            .map(|_| {
                                let bucket = i64::try_from(below(600)).unwrap();
                                row(bucket, [3, 16, 17][usize::try_from(below(3)).unwrap()], below(1000) + 1)
                            })
                            .collect();
                        usage.sort_by_key(|row| row.key);
                        usage.dedup_by_key(|row| row.key);
                        let closed = ledger.closed().unwrap();
                        let is_closed = |row: &UsageRow| {
                            closed.until(row.key.customer.0).is_some_and(|until| row.key.bucket < until)
                        };
                        let before: Vec<UsageRow> =
                            all_usage(&mut ledger).into_iter().filter(is_closed).collect();
                        ledger.commit_flush(&flush(source, position, position + 1, &usage)).unwrap();
                        position += 1;
                        let after: Vec<UsageRow> =
                            all_usage(&mut ledger).into_iter().filter(is_closed).collect();
                        assert_eq!(after, before, "what is closed");
                    }
                }
            }
            let mut by_customer = std::collections::BTreeMap::<u32, i128>::new();
            let mut add = |row: UsageRow| {
                *by_customer.entry(row.key.customer.0).or_default() += i128::from(row.sums.octets);
            };
            all_usage(&mut ledger).into_iter().for_each(&mut add);
            ledger
                .for_each_late_usage(BucketStart(i64::MIN), BucketStart(i64::MAX), &mut |_, row| add(row))
                .unwrap();
            let flushed: u64 =
                ledger.sources().unwrap().iter().map(|source| source.totals.metered_octets).sum();
            assert_eq!(by_customer.values().sum::<i128>(), i128::from(flushed));
            for day in 0..3 {
                for kind in [EntryKind::Octets, EntryKind::Late] {
                    ledger.enter_octets(kind, day * DAY, ANN).unwrap();
                }
            }
            for (customer, kind, name) in [
                (3, AccountKind::Reserved, "local"),
                (16, AccountKind::Customer, "campus"),
                (17, AccountKind::Customer, "town"),
            ] {
                let used = by_customer.get(&customer).copied().unwrap_or(0);
                assert_eq!(balance(&mut ledger, kind, name, RAW_OCTETS), used, "{name}");
                assert_eq!(balance(&mut ledger, kind, name, OCTETS), used * 1000, "{name}");
            }
            assert_eq!(balance(&mut ledger, AccountKind::Exporter, "ce1", RAW_OCTETS), -i128::from(flushed));
        }
    });
}
