//! A hold in chunks against a list of records, over changes, flushes and restarts in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::sampling::Stream;
use crate::units::Octets;

/// Chunks by their numbers.
type Chunks = BTreeMap<u64, Vec<u8>>;

/// The chunks as a ledger keeps them.
#[derive(Default)]
struct Kept {
    state: Vec<u8>,
    chunks: BTreeMap<u64, Vec<u8>>,
    written: usize,
}

impl Kept {
    fn take(&mut self, hold: &mut Hold) {
        let ChunkChanges { whole, first, removed, written } = hold.take_changes();
        self.state = postcard::to_stdvec(hold).unwrap();
        if whole {
            self.chunks.clear();
        }
        self.chunks.retain(|number, _| first.is_none_or(|first| *number >= first));
        for number in removed {
            assert!(self.chunks.remove(&number).is_some(), "{number} was never written");
        }
        self.written = written.iter().map(|(_, chunk)| chunk.len()).sum();
        self.chunks.extend(written);
    }

    fn restored(&self) -> Result<Hold, BadHold> {
        let mut hold: Hold = postcard::from_bytes(&self.state).unwrap();
        hold.restore(ExporterId(1), self.chunks.clone().into_iter().collect())?;
        Ok(hold)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Keep {
        records: u64,
        described: bool,
    },
    Pop(usize),
    /// Lets records of this remainder go, and turns the others.
    Retain {
        divisor: u64,
        turned: bool,
    },
    Expire {
        ms: i64,
    },
    Flush,
    /// A kill: what was not flushed is gone.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..900_u64, any::<bool>()).prop_map(|(records, described)| Step::Keep { records, described }),
        2 => (0..1500_usize).prop_map(Step::Pop),
        1 => (1..5_u64, any::<bool>()).prop_map(|(divisor, turned)| Step::Retain { divisor, turned }),
        1 => (0..3000_i64).prop_map(|ms| Step::Expire { ms }),
        4 => Just(Step::Flush),
        2 => Just(Step::Restart),
    ]
}

fn held(n: u64, now: i64, described: bool) -> Held {
    let record = FlowRecord {
        exporter: ExporterId(1),
        octets: Octets::new(n),
        source: crate::flow::Address(u128::from(n * 0x1_0001)),
        family: crate::flow::Family::V6,
        ..FlowRecord::default()
    };
    let waiting = if described { Waiting::Described } else { Waiting::Grace };
    Held { record, stream: Stream(0), since: UnixMillis(now), waiting }
}

fn contents(hold: &Hold) -> Vec<Held> {
    let mut all = Vec::new();
    let mut at = HEADER + hold.used;
    for chunk in &hold.chunks {
        while at < chunk.octets.len() {
            let (held, length) = chunk.record_at(at, hold.exporter);
            all.push(held);
            at += length;
        }
        at = HEADER;
    }
    all
}

fn agree(hold: &Hold, model: &[Held]) {
    assert_eq!(contents(hold), model);
    assert_eq!(hold.len(), model.len());
    assert_eq!(hold.octets(), model.iter().map(|held| held.record.octets.as_u64()).sum::<u64>());
    assert_eq!(hold.memory(), hold.chunks.iter().map(Chunk::cost).sum::<usize>());
    for chunk in &hold.chunks {
        assert!(chunk.records > 0 && chunk.octets.len() <= CHUNK_OCTETS);
        assert!(chunk.octets.capacity() <= CHUNK_OCTETS);
    }
    let described = model.iter().filter(|held| held.waiting == Waiting::Described).count();
    assert_eq!(hold.chunks.iter().map(|chunk| chunk.described).sum::<usize>(), described);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn chunks_hold_what_a_list_would(steps in prop::collection::vec(step(), 1..40)) {
        let (mut hold, mut model) = (Hold::default(), Vec::new());
        let (mut kept, mut kept_model) = (Kept::default(), Vec::new());
        kept.take(&mut hold);
        let mut expired = (0, 0_u64);
        let mut kept_expired = expired;
        let mut n = 0;
        let mut now = 1_767_225_600_000;
        for step in steps {
            now += 700;
            match step {
                Step::Keep { records, described } => for _ in 0..records {
                    n += 1;
                    hold.keep(&held(n, now, described));
                    model.push(held(n, now, described));
                },
                Step::Pop(records) => for _ in 0..records.min(model.len()) {
                    prop_assert_eq!(hold.pop_oldest(), Some(model.remove(0)));
                },
                Step::Retain { divisor, turned } => {
                    let to = if turned { Waiting::Described } else { Waiting::Grace };
                    hold.retain(|held| (held.record.octets.as_u64() % divisor != 0).then_some(to));
                    model.retain(|held| held.record.octets.as_u64() % divisor != 0);
                    model.iter_mut().for_each(|held| held.waiting = to);
                }
                Step::Expire { ms } => {
                    hold.expire(UnixMillis(now), ms);
                    let over = |held: &Held| held.waiting == Waiting::Described && now - held.since.0 >= ms;
                    let gone: Vec<Held> = model.extract_if(.., |held| over(held)).collect();
                    expired.0 += gone.len() as u64;
                    expired.1 += gone.iter().map(|held| held.record.octets.as_u64()).sum::<u64>();
                }
                Step::Flush => {
                    kept.take(&mut hold);
                    kept_model.clone_from(&model);
                    kept_expired = expired;
                }
                Step::Restart => {
                    hold = kept.restored().unwrap();
                    model.clone_from(&kept_model);
                    expired = kept_expired;
                }
            }
            agree(&hold, &model);
            prop_assert_eq!((hold.expired_records(), hold.expired_octets()), expired);
        }
        kept.take(&mut hold);
        agree(&kept.restored().unwrap(), &model);
        prop_assert_eq!(kept.chunks.len(), hold.chunks.len());
    }
}

fn filled(records: u64) -> Hold {
    let mut hold = Hold::default();
    for n in 1..=records {
        hold.keep(&held(n, 0, false));
    }
    hold
}

#[test]
fn a_flush_writes_what_changed() {
    let mut hold = filled(20_000);
    let mut kept = Kept::default();
    kept.take(&mut hold);
    let all = kept.written;
    // Some 40 octets each, and a header of 8 for every 16 KiB.
    assert!(all > 20_000 * 38 && all < 20_000 * 44, "{all}");
    kept.take(&mut hold);
    assert_eq!(kept.written, 0);
    // From the front nothing is written, however much leaves.
    (0..9_999).for_each(|_| assert!(hold.pop_oldest().is_some()));
    kept.take(&mut hold);
    assert_eq!(kept.written, 0);
    // Half of it is there still, and what is used up of the first chunk.
    let left = kept.chunks.values().map(Vec::len).sum::<usize>();
    assert!((all / 2..all / 2 + CHUNK_OCTETS + 100).contains(&left), "{left} of {all}");
    // What comes is written, and not much besides.
    for round in 0..100 {
        (0..5).for_each(|_| {
            hold.keep(&held(1, round, false));
        });
        kept.take(&mut hold);
        assert!(kept.written <= OPEN_OCTETS + 5 * 40, "{}", kept.written);
    }
    assert!(hold.chunks.len() < 40, "{} chunks", hold.chunks.len());
    assert!(kept.state.len() < 40);
}

#[test]
fn chunks_of_another_state_are_refused() {
    let mut hold = filled(1000);
    let mut kept = Kept::default();
    kept.take(&mut hold);
    assert!(kept.chunks.len() >= 3);
    let spoilt = |spoil: &dyn Fn(&mut Chunks)| {
        let mut other = Kept { state: kept.state.clone(), chunks: kept.chunks.clone(), written: 0 };
        spoil(&mut other.chunks);
        other.restored().err()
    };
    assert_eq!(spoilt(&|_| ()), None);
    assert_eq!(spoilt(&|chunks| drop(chunks.remove(&1))), Some(BadHold));
    assert_eq!(spoilt(&|chunks| drop(chunks.insert(99, chunks[&1].clone()))), Some(BadHold));
    assert_eq!(spoilt(&|chunks| drop(chunks.insert(0, Vec::new()))), Some(BadHold));
    assert_eq!(spoilt(&|chunks| chunks.get_mut(&1).unwrap().truncate(100)), Some(BadHold));
    assert_eq!(spoilt(&|chunks| drop(chunks.insert(1, chunks[&0].clone()))), Some(BadHold));
    assert_eq!(spoilt(&BTreeMap::clear), Some(BadHold));
}

/// A bit that turned is another volume, another address or another time, with sums that still agree.
#[test]
fn no_bit_of_a_chunk_may_turn() {
    let mut hold = filled(20);
    let mut kept = Kept::default();
    kept.take(&mut hold);
    assert!(kept.restored().is_ok());
    for bit in 0..kept.chunks[&0].len() * 8 {
        kept.chunks.get_mut(&0).unwrap()[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(kept.restored().err(), Some(BadHold), "bit {bit}");
        kept.chunks.get_mut(&0).unwrap()[bit / 8] ^= 1 << (bit % 8);
    }
}

/// Whoever has waited too long for the end of a grace time is asked about, nobody else, and not twice for nothing.
#[test]
fn those_that_wait_too_long_for_a_grace_time_are_found() {
    let mut hold = Hold::default();
    for (n, now, described) in [(1, 10, false), (2, 20, true), (3, 30, false), (4, 40, false)] {
        hold.keep(&held(n, now, described));
    }
    let asked = |hold: &mut Hold, until, stays: Option<Waiting>| {
        let mut asked = Vec::new();
        hold.retain_grace(UnixMillis(until), |held| {
            asked.push(held.record.octets.as_u64());
            stays
        });
        asked
    };
    assert_eq!(asked(&mut hold, 9, None), [] as [u64; 0]);
    assert_eq!(asked(&mut hold, 30, Some(Waiting::Grace)), [1, 3]);
    assert_eq!(asked(&mut hold, 30, Some(Waiting::Described)), [1, 3]);
    assert_eq!((asked(&mut hold, 39, None), hold.len()), (vec![], 4));
    // One that comes later, and one that waits for it again.
    hold.keep(&held(5, 35, false));
    assert_eq!((asked(&mut hold, 39, None), hold.len()), (vec![5], 4));
    hold.retain(|_| Some(Waiting::Grace));
    assert_eq!((asked(&mut hold, 39, None), hold.len()), (vec![1, 2, 3], 1));
    assert_eq!(asked(&mut hold, 40, None), [4]);
    assert_eq!(hold.memory(), 0);
}
