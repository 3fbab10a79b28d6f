//! Exactly once, all or nothing, and what the numbers may be.

use diesel::sql_types::BigInt;

use super::*;

/// A whole state with these chunks.
fn remembered(state: &[u8], chunks: &[(u64, &[u8])]) -> Remembered {
    let written = chunks.iter().map(|&(number, records)| (number, records.to_vec())).collect();
    Remembered {
        state: state.to_vec(),
        chunks: ChunkChanges { whole: true, written, ..ChunkChanges::default() },
    }
}

#[test]
fn a_flush_is_committed_once() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let mut first = flush(source, 0, 100, &[row(1, 16, 1000), row(2, 16, 500)]);
        first.checkpoints = vec![Checkpoint {
            scope: CheckpointScope::Live,
            exporter: "192.0.2.1".into(),
            remembered: remembered(&[1, 2], &[]),
        }];
        ledger.commit_flush(&first).unwrap();
        let before = everything(&mut ledger);
        assert_eq!(before.0, [row(1, 16, 1000), row(2, 16, 500)]);
        assert_eq!(before.1[0].position, Position(100));
        assert_eq!(before.1[0].totals, first.advances[0].totals);
        assert_eq!(before.3, 1);

        let again = ledger.commit_flush(&first).unwrap_err();
        assert!(
            matches!(again, Error::Position { source_id, expected: Position(0), found: Position(100) } if source_id == source),
            "{again}"
        );
        assert!(!again.is_transient());
        assert_eq!(everything(&mut ledger), before);

        ledger.commit_flush(&flush(source, 100, 150, &[row(2, 16, 700), row(2, 17, 100)])).unwrap();
        let UsageRow { key, sums } = all_usage(&mut ledger)[1];
        assert_eq!(key, row(2, 16, 0).key);
        assert_eq!(
            sums,
            UsageSums { octets: 1200, packets: 12, flows: 2, squares_low: 2400, squares_high: 3600 }
        );
        let source = &ledger.sources().unwrap()[0];
        assert_eq!((source.position, source.totals.metered_octets), (Position(150), 2300));
        assert_eq!((source.totals.datagrams, source.totals.records), (2, 4));
        assert_eq!(ledger.data_version().unwrap(), 2);
    });
}

/// Rows go to the database in batches and a rest; some are there already, some are new.
#[test]
fn many_rows_add_up_like_few() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let rows = |customers: core::ops::Range<u32>, each: u64| -> Vec<UsageRow> {
            customers.map(|customer| row(1, customer, u64::from(customer) * each)).collect()
        };
        ledger.commit_flush(&flush(source, 0, 1, &rows(100..250, 100))).unwrap();
        ledger.commit_flush(&flush(source, 1, 2, &rows(200..401, 1000))).unwrap();
        let sums: Vec<(u32, u64, u64)> = all_usage(&mut ledger)
            .iter()
            .map(|row| (row.key.customer.0, row.sums.octets, row.sums.flows))
            .collect();
        let once = |each: u64| move |n: u32| (n, u64::from(n) * each, 1);
        let both = |n: u32| (n, u64::from(n) * 1100, 2);
        let expected: Vec<(u32, u64, u64)> =
            (100..200).map(once(100)).chain((200..250).map(both)).chain((250..401).map(once(1000))).collect();
        assert_eq!(sums, expected);
    });
}

#[test]
fn a_refused_flush_leaves_nothing() {
    on_each(|place| {
        let mut ledger = place.open();
        let one = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let two = ledger.source(SourceKind::Journal, "1").unwrap().id;
        ledger.commit_flush(&flush(one, 0, 10, &[row(1, 16, 1000)])).unwrap();
        let before = everything(&mut ledger);
        let good = || {
            let mut good = flush(one, 10, 20, &[row(1, 16, 1), row(2, 16, 1)]);
            good.checkpoints.push(Checkpoint {
                scope: CheckpointScope::Live,
                exporter: "192.0.2.1".into(),
                remembered: remembered(&[7], &[(0, &[1])]),
            });
            good
        };

        // The first source could move, the second one is not where the flush says.
        let mut bad = good();
        bad.advances.push(Advance { source: two, from: Position(5), to: Position(6), ..bad.advances[0] });
        bad.advances[1].totals = FlushTotals::default();
        assert!(matches!(ledger.commit_flush(&bad), Err(Error::Position { found: Position(0), .. })));
        assert_eq!(everything(&mut ledger), before);

        let mut bad = good();
        bad.advances[0].source = SourceId(99);
        assert!(matches!(ledger.commit_flush(&bad), Err(Error::UnknownSource(SourceId(99)))));

        let mut bad = good();
        bad.advances[0].to = Position(9);
        assert!(matches!(ledger.commit_flush(&bad), Err(Error::Range(_))));

        let mut bad = good();
        bad.advances[0].totals.metered_octets += 1;
        assert!(matches!(
            ledger.commit_flush(&bad),
            Err(Error::Unbalanced { octets: 2, packets: 0, stated_octets: 3, stated_packets: 0 })
        ));
        let mut bad = good();
        bad.advances[0].totals.metered_packets += 1;
        assert!(matches!(ledger.commit_flush(&bad), Err(Error::Unbalanced { .. })));

        let changed = |change: fn(&mut Vec<UsageRow>)| {
            let mut rows = good().usage.into_vec();
            change(&mut rows);
            Flush { usage: rows.into(), ..good() }
        };
        let bad = changed(|rows| rows.reverse());
        assert!(matches!(ledger.commit_flush(&bad), Err(Error::Unsorted)));
        let bad = changed(|rows| rows[1] = rows[0]);
        assert!(matches!(ledger.commit_flush(&bad), Err(Error::Unsorted)));
        let bad = changed(|rows| rows[1].key.bucket.0 += 1);
        assert!(matches!(ledger.commit_flush(&bad), Err(Error::Range(_))));

        assert_eq!(everything(&mut ledger), before);
        ledger.commit_flush(&good()).unwrap();
    });
}

#[test]
fn several_sources_and_no_usage() {
    on_each(|place| {
        let mut ledger = place.open();
        let one = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let two = ledger.source(SourceKind::Capture, "0").unwrap().id;
        assert_ne!(one, two);
        let mut both = flush(one, 0, 10, &[]);
        both.advances.push(Advance { source: two, to: Position(7), complete: true, ..both.advances[0] });
        ledger.commit_flush(&both).unwrap();
        let sources = ledger.sources().unwrap();
        assert_eq!((sources[0].position, sources[0].complete), (Position(10), false));
        assert_eq!((sources[1].position, sources[1].complete), (Position(7), true));
        // What is complete stays so.
        ledger.commit_flush(&flush(two, 7, 7, &[])).unwrap();
        assert!(ledger.source(SourceKind::Capture, "0").unwrap().complete);
        ledger.commit_flush(&Flush::default()).unwrap();
    });
}

#[test]
fn of_two_that_race_one_wins() {
    on_each(|place| {
        let source = place.open().source(SourceKind::Journal, "0").unwrap().id;
        let barrier = std::sync::Barrier::new(2);
        let commit = |customer: u32| {
            let mut ledger = place.open();
            barrier.wait();
            let mut won = 0_u64;
            for i in 0..20_u64 {
                let usage: Vec<_> = (1..200).map(|bucket| row(bucket, customer, 100)).collect();
                barrier.wait();
                loop {
                    match ledger.commit_flush(&flush(source, i, i + 1, &usage)) {
                        Ok(()) => won += 1,
                        Err(error) if error.is_transient() => continue,
                        Err(Error::Position { expected, found, .. }) => {
                            assert_eq!((expected, found), (Position(i), Position(i + 1)));
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                    break;
                }
                barrier.wait();
            }
            won
        };
        let (a, b) = std::thread::scope(|scope| {
            let a = scope.spawn(|| commit(16));
            let b = scope.spawn(|| commit(17));
            (a.join().unwrap(), b.join().unwrap())
        });
        assert_eq!(a + b, 20);
        let mut ledger = place.open();
        let octets: u64 = all_usage(&mut ledger).iter().map(|row| row.sums.octets).sum();
        assert_eq!(octets, 20 * 199 * 100);
        assert_eq!(ledger.sources().unwrap()[0].totals.metered_octets, octets);
    });
}

#[test]
fn a_transaction_that_is_cut_off_never_was() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        ledger.commit_flush(&flush(source, 0, 10, &[row(1, 16, 1000)])).unwrap();
        let before = everything(&mut ledger);
        let mut crashing = place.open();
        sql(&mut crashing, if place.is_sqlite() { "BEGIN IMMEDIATE" } else { "BEGIN" }).unwrap();
        sql(&mut crashing, "UPDATE source SET position = 20; UPDATE usage_row SET octets = 5").unwrap();
        drop(crashing);
        assert_eq!(everything(&mut ledger), before);
        drop(ledger);
        let mut ledger = place.open();
        assert_eq!(everything(&mut ledger), before);
        ledger.commit_flush(&flush(source, 10, 20, &[row(1, 16, 1)])).unwrap();
    });
}

#[test]
fn a_locked_ledger_is_tried_again() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        impatient(&mut ledger);
        let mut other = place.open();
        let lock = if place.is_sqlite() {
            "BEGIN IMMEDIATE".to_owned()
        } else {
            format!("BEGIN; SELECT pg_advisory_xact_lock({})", 0x666c_7578_6c67_6572_i64)
        };
        sql(&mut other, &lock).unwrap();
        let waiting = flush(source, 0, 10, &[row(1, 16, 1000)]);
        let error = ledger.commit_flush(&waiting).unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert_eq!(error.to_string(), "the ledger cannot commit a flush");
        // Readers do not wait, nor does a name that is known.
        assert_eq!(ledger.sources().unwrap()[0].position, Position(0));
        assert_eq!(ledger.intern(NameKind::Customer, &["local"]).unwrap(), [3]);
        assert!(ledger.intern(NameKind::Customer, &["new"]).unwrap_err().is_transient());
        sql(&mut other, "ROLLBACK").unwrap();
        ledger.commit_flush(&waiting).unwrap();
        assert_eq!(all_usage(&mut ledger), [row(1, 16, 1000)]);
    });
}

#[test]
fn sums_are_exact_up_to_63_bits_and_stop_there() {
    const MOST: u64 = i64::MAX as u64;
    let of = |octets: u64, squares: u64| UsageRow {
        key: key(1, 16),
        sums: UsageSums { octets, packets: octets, flows: 1, squares_low: squares, squares_high: squares },
    };
    on_each(|place| {
        let mut ledger = place.open();
        let one = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let two = ledger.source(SourceKind::Journal, "1").unwrap().id;
        ledger.commit_flush(&flush(one, 0, 1, &[of(MOST - 1, MOST - 1)])).unwrap();
        ledger.commit_flush(&flush(two, 0, 1, &[of(1, 2)])).unwrap();
        let sums = all_usage(&mut ledger)[0].sums;
        assert_eq!((sums.octets, sums.packets, sums.flows), (MOST, MOST, 2));
        assert_eq!((sums.squares_low, sums.squares_high), (MOST, MOST), "squares stop");

        // Only an exporter that lies gets here. It must not stop the accounting of others: sums stay at the end.
        ledger.commit_flush(&flush(two, 1, 2, &[of(1, 1)])).unwrap();
        let sums = all_usage(&mut ledger)[0].sums;
        assert_eq!((sums.octets, sums.packets, sums.flows), (MOST, MOST, 3));
        let other = |octets| UsageRow { key: key(2, 16), ..of(octets, 0) };
        ledger.commit_flush(&flush(one, 1, 2, &[other(2)])).unwrap();
        assert_eq!(all_usage(&mut ledger)[1].sums.octets, 2);
        assert_eq!(ledger.sources().unwrap()[0].totals.metered_octets, MOST);
        let before = everything(&mut ledger);

        for bad in
            [of(MOST + 1, 0), UsageRow { sums: UsageSums { flows: u64::MAX, ..of(0, 0).sums }, ..of(0, 0) }]
        {
            assert!(matches!(ledger.commit_flush(&flush(two, 2, 3, &[bad])), Err(Error::Range(_))));
        }
        assert!(matches!(ledger.commit_flush(&flush(two, 2, MOST + 1, &[])), Err(Error::Range(_))));
        assert_eq!(everything(&mut ledger), before);
        // Squares of more than 63 bits stop on the way in.
        let three = UsageRow { key: key(3, 16), ..of(0, u64::MAX) };
        ledger.commit_flush(&flush(two, 2, 3, &[three])).unwrap();
        assert_eq!(all_usage(&mut ledger)[2].sums.squares_high, MOST);
    });
}

#[test]
fn checkpoints_are_replaced_by_scope_and_exporter() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Capture, "ab").unwrap().id;
        let put = |ledger: &mut Ledger, at: u64, scope, exporter: &str, state: &[u8]| {
            let remembered = remembered(state, &[]);
            let checkpoints = vec![Checkpoint { scope, exporter: exporter.into(), remembered }];
            ledger.commit_flush(&Flush { checkpoints, ..flush(source, at, at + 1, &[]) }).unwrap();
        };
        let capture = CheckpointScope::Capture(source);
        put(&mut ledger, 0, CheckpointScope::Live, "2001:db8::1", &[1]);
        put(&mut ledger, 1, CheckpointScope::Live, "192.0.2.1", &[]);
        put(&mut ledger, 2, capture, "192.0.2.1", &[0, 255, 39, 0]);
        put(&mut ledger, 3, CheckpointScope::Live, "2001:db8::1", &[2; 100_000]);
        let live = ledger.checkpoints(CheckpointScope::Live).unwrap();
        let of = |c: &Checkpoint| {
            let state = &c.remembered.state;
            (c.scope, c.exporter.clone(), state.len(), state.first().copied())
        };
        assert_eq!(
            live.iter().map(of).collect::<Vec<_>>(),
            [
                (CheckpointScope::Live, "192.0.2.1".to_owned(), 0, None),
                (CheckpointScope::Live, "2001:db8::1".to_owned(), 100_000, Some(2)),
            ]
        );
        assert_eq!(
            ledger.checkpoints(capture).unwrap(),
            [Checkpoint {
                scope: capture,
                exporter: "192.0.2.1".into(),
                remembered: remembered(&[0, 255, 39, 0], &[])
            }]
        );
        assert_eq!(ledger.checkpoints(CheckpointScope::Capture(SourceId(77))).unwrap(), []);
    });
}

/// The server ends the connection, as an administrator or a restart does.
#[cfg(feature = "postgres")]
#[test]
fn a_lost_connection_is_made_again() {
    on_each(|place| {
        if place.is_sqlite() {
            return;
        }
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Journal, "0").unwrap().id;
        let waiting = flush(source, 0, 10, &[row(1, 16, 1000)]);
        sql(
            &mut place.open(),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .unwrap();
        let error = ledger.commit_flush(&waiting).unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        ledger.commit_flush(&waiting).unwrap();
        assert_eq!(all_usage(&mut ledger), [row(1, 16, 1000)]);
    });
}

/// The answer to a commit is lost: the flush arrived in one case, and did not in the other.
#[cfg(feature = "postgres")]
#[test]
fn a_commit_without_an_answer_is_neither_lost_nor_doubled() {
    on_each(|place| {
        if place.is_sqlite() {
            return;
        }
        for arrives in [true, false] {
            let mut ledger = place.open();
            let source = ledger.source(SourceKind::Journal, &arrives.to_string()).unwrap().id;
            let unanswered = flush(source, 0, 10, &[row(i64::from(arrives), 16, 1000)]);
            let mut other = place.open();
            let Db::Postgres(c) = &mut other.db else { panic!("not PostgreSQL") };
            let aborted: i64 = diesel::sql_query("BEGIN")
                .execute(c)
                .and_then(|_| diesel::select(crate::ledger::flush::txid_current()).get_result(c))
                .unwrap();
            c.batch_execute("ROLLBACK").unwrap();
            // A transaction that came to the wanted end stands for the one whose answer was lost.
            let transaction = if arrives {
                other.commit_flush(&unanswered).unwrap();
                let Db::Postgres(c) = &mut other.db else { panic!("not PostgreSQL") };
                // The one that wrote the row; other tests use the server's numbers, too.
                diesel::dsl::sql::<BigInt>("SELECT xmin::text::bigint FROM usage_row").get_result(c).unwrap()
            } else {
                aborted
            };
            ledger.in_doubt =
                Some(crate::ledger::flush::InDoubt::new(transaction, unanswered.advances.clone()));
            ledger.lost = true;
            ledger.commit_flush(&unanswered).unwrap();
            assert!(matches!(ledger.commit_flush(&unanswered), Err(Error::Position { .. })));
        }
        assert_eq!(all_usage(&mut place.open()), [row(0, 16, 1000), row(1, 16, 1000)]);
    });
}

/// Chunks are written, replaced and removed one by one, for their exporter and scope alone.
#[test]
fn chunks_change_one_by_one() {
    on_each(|place| {
        let mut ledger = place.open();
        let source = ledger.source(SourceKind::Capture, "ab").unwrap().id;
        let (live, capture) = (CheckpointScope::Live, CheckpointScope::Capture(source));
        let mut at = 0;
        let mut put = |ledger: &mut Ledger, scope, exporter: &str, chunks: ChunkChanges| {
            let remembered = Remembered { state: vec![1], chunks };
            let checkpoints = vec![Checkpoint { scope, exporter: exporter.into(), remembered }];
            at += 1;
            ledger.commit_flush(&Flush { checkpoints, ..flush(source, at - 1, at, &[]) }).unwrap();
        };
        let chunks = |ledger: &mut Ledger, scope, exporter: &str| {
            let all = ledger.checkpoints(scope).unwrap();
            let found = all.into_iter().find(|checkpoint| checkpoint.exporter == exporter).unwrap();
            assert!(found.remembered.chunks.whole);
            found.remembered.chunks.written
        };
        let of = |n: u64, octet: u8, len: usize| (n, vec![octet; len]);
        let written = |written: &[(u64, Vec<u8>)]| ChunkChanges {
            written: written.to_vec(),
            ..ChunkChanges::default()
        };
        let first: Vec<_> = (0..6).map(|n| of(n, 1, 16_384)).collect();
        put(&mut ledger, live, "192.0.2.1", written(&first));
        put(&mut ledger, live, "192.0.2.2", written(&[of(0, 7, 1), of(9, 7, 0)]));
        put(&mut ledger, capture, "192.0.2.1", written(&[of(0, 8, 1)]));
        assert_eq!(chunks(&mut ledger, live, "192.0.2.1"), first);

        let changes = ChunkChanges {
            first: Some(2),
            removed: vec![4],
            written: vec![of(3, 2, 5), of(6, 3, 9), of(1 << 40, 4, 1)],
            whole: false,
        };
        put(&mut ledger, live, "192.0.2.1", changes);
        let expected = [of(2, 1, 16_384), of(3, 2, 5), of(5, 1, 16_384), of(6, 3, 9), of(1 << 40, 4, 1)];
        assert_eq!(chunks(&mut ledger, live, "192.0.2.1"), expected);
        // A state that was begun anew owes nothing to what an earlier one left.
        let anew = ChunkChanges { whole: true, ..written(&[of(3, 9, 2)]) };
        put(&mut ledger, live, "192.0.2.1", anew);
        assert_eq!(chunks(&mut ledger, live, "192.0.2.1"), [of(3, 9, 2)]);
        put(&mut ledger, live, "192.0.2.1", ChunkChanges { first: Some(4), ..ChunkChanges::default() });
        assert_eq!(chunks(&mut ledger, live, "192.0.2.1"), []);

        assert_eq!(chunks(&mut ledger, live, "192.0.2.2"), [of(0, 7, 1), of(9, 7, 0)]);
        assert_eq!(chunks(&mut ledger, capture, "192.0.2.1"), [of(0, 8, 1)]);
        // Without their checkpoint chunks are of no use.
        sql(&mut ledger, "DELETE FROM checkpoint WHERE scope = 0").unwrap();
        let query = diesel::sql_query("SELECT count(*) AS count FROM hold_chunk");
        let left: Count = with_connection!(&mut ledger.db, c => query.get_result(c)).unwrap();
        assert_eq!(left.count, 1);
    });
}

/// SQLite's own shell does not mind foreign keys: chunks that it leaves without a checkpoint are not in the way of others.
#[test]
fn chunks_without_a_checkpoint_are_passed_over() {
    let place = Place::sqlite();
    let mut ledger = place.open();
    let source = ledger.source(SourceKind::Capture, "ab").unwrap().id;
    let chunks =
        |octet| ChunkChanges { written: vec![(0, vec![octet]), (1, vec![octet])], ..Default::default() };
    let checkpoints = (1..=4)
        .map(|n| Checkpoint {
            scope: CheckpointScope::Live,
            exporter: format!("192.0.2.{n}"),
            remembered: Remembered { state: vec![n], chunks: chunks(n) },
        })
        .collect();
    ledger.commit_flush(&Flush { checkpoints, ..flush(source, 0, 1, &[]) }).unwrap();
    sql(
        &mut ledger,
        "PRAGMA foreign_keys = OFF; DELETE FROM checkpoint WHERE exporter IN ('192.0.2.1', '192.0.2.3')",
    )
    .unwrap();
    let found: Vec<_> = ledger
        .checkpoints(CheckpointScope::Live)
        .unwrap()
        .into_iter()
        .map(|checkpoint| (checkpoint.exporter, checkpoint.remembered.chunks.written))
        .collect();
    assert_eq!(found, [2, 4].map(|n| (format!("192.0.2.{n}"), vec![(0, vec![n]), (1, vec![n])])).to_vec());
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}
